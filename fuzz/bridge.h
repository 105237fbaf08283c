/* bridge.h - what the fuzz target of the bridge remembers (its model): the requests of clients,
 * the runs of tools that they want, the calls that reached upstreams, the questions of these.
 *
 * bridge_model.c checks every message against it; bridge_fuzz.c has the gateway, clients and
 * upstreams around it, and the script. A message carries marks, so that the model knows whose
 * it is: "run=R;" in arguments and results, "<C:K>" (call C, question K) in questions and in
 * the answers to them. */
#pragma once
#include "base/mem.h"
#include "gateway/exchange.h"
#include "mcp/question.h"
#include <assert.h>

enum { REQUESTS = 200, CALLS = 400, ASKED = 8, STATES = 4, NOBODY = -1 };

enum request_kind { IS_INITIALIZE, IS_CALL, IS_LISTEN, IS_OTHER };

struct request { /* one of a client; its id is its index + 1 */
    enum request_kind kind;
    int client, run;
    enum revision revision; /* of the answer */
    unsigned asks;          /* what its client says that it can be asked */
    bool open, cancelled, wants_progress, wants_logs;
};

struct state { /* of an input_required that a client got */
    char text[512];       /* requestState with its quotes; empty: none */
    struct str keys[ASKED]; /* of inputRequests, in `text_of_keys` */
    char text_of_keys[256];
    int call[ASKED], question[ASKED]; /* NOBODY: without a mark */
    enum method methods[ASKED];
    size_t n;
    bool addresses; /* of a call that was not begun (P-438) */
};

struct run { /* what one user wants done, in however many rounds */
    unsigned upstream;
    const struct principal *who;
    bool prompt, modern;     /* modern: its upstream is */
    unsigned allowed, begun; /* by upstream calls that are not the next round of another */
    bool asked;              /* an answer of the upstream was input_required */
    struct state states[STATES];
    size_t state_count;
};

struct asked { /* a question of an upstream */
    enum method method;
    char id[16];
    bool on_wire; /* a request of a legacy upstream; else in input_required */
    int client;   /* who was asked; NOBODY: not yet */
    uint64_t client_id;
    bool open;    /* that client may answer still */
    unsigned answers_given, delivered;
};

struct call { /* one that reached an upstream */
    int run; /* NOBODY: the gateway's own, or of a client that the model does not follow */
    unsigned upstream;
    bool open, answered;
    struct asked asked[ASKED];
    unsigned n;
};

struct model {
    struct request requests[REQUESTS];
    struct run runs[REQUESTS];
    struct call calls[CALLS];
    int request_count, run_count, call_count;
    struct {
        enum revision revision; /* of its session */
        unsigned asks;
        bool opened, initialized, lagged;
    } clients[8];
};
extern struct model model;

/* What is said, to standard error, when BRIDGE_TRACE is set: to look at an input that fails. */
void trace(const char *what, int who, struct str text);

/* What client heard; asserts that it may. `who` is its principal. */
void model_client_hears(int client, const struct principal *who, struct str text);
/* A call begins upstream; gives its index. */
int model_call_begins(unsigned upstream, enum revision revision, bool followed,
                      const struct envelope *m);
/* The gateway says something to the upstream of a call. */
void model_upstream_hears(int call, struct str text);
void model_call_ends(int call);
/* Of those that are open, the n-th, counted around; NOBODY: none. */
int model_open_request(unsigned n, int client);
int model_open_call(unsigned n);
unsigned model_count_open(enum request_kind kind);
