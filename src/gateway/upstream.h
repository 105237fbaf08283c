/* upstream.h - one MCP server behind us, alive.
 *
 * A kind (stdio, http, in process) is a constant vtable. What they share is here: state,
 * probing, listing, restarts with backoff (upstream_keep.c), ids, the deadline and the
 * bound on calls in flight. An upstream outlives snapshots: a reload that does not change
 * its specification keeps the very object (DESIGN decision 8).
 *
 * A call is three words, the same for every kind:
 *   SCOPED(upstream_end) struct upstream_call c;
 *   TRY(upstream_begin(t, u, &request, &c));
 *   do TRY(upstream_next(t, &c, &message)); while (message is a notification);
 *
 * Threads  upstream_begin/next/end: any worker. Each upstream has one home worker that
 *          runs its keeper and owns its child process
 * Memory   reference-counted (atomic); a snapshot holds a reference
 */
#pragma once
#include "base/metric.h"
#include "gateway/catalogue.h"
#include "mcp/envelope.h"
#include "net/http_client.h"
#include "net/sse.h"
#include "run/gate.h"
#include "run/warden.h"
#include "servers/server.h"
#include <pthread.h>
#include <stdatomic.h>

enum upstream_state { UP_STARTING, UP_READY, UP_FAILED, UP_STOPPED };
const char *upstream_state_word(enum upstream_state s);

struct upstream;
struct upstream_call;
struct stdio_call;
struct stdio_link;
struct builtin_run;
struct http_flight;

/* One request as it goes to the upstream: built by the exchange, in the upstream's
 * revision, with the upstream's names. */
struct upstream_request {
    uint64_t id;             /* from upstream_next_id; also its progress token */
    char id_text[24];        /* the same as text */
    enum method method;
    /* for the Mcp-Name header (unescaped); empty where the method has none */
    struct str name;
    const struct str *message; /* the whole JSON-RPC message in pieces */
    size_t pieces;
    struct str arguments;    /* tools/call, for servers in process: raw; p NULL when absent */
    struct str principal;    /* id of who calls, for servers that keep things per caller */
    struct str param_headers;  /* ready "Mcp-Param-X: v\r\n" lines (P-420), modern HTTP only */
    struct str traceparent;    /* value for the HTTP header; empty: none */
    /* which upstream session or child may serve it; 0: the gateway's own */
    uint64_t share;
    unsigned asks;           /* what its caller can be asked (mcp/question.h) */
    uint64_t caller;         /* who that is: principal and session; 0: nobody who could be asked */
    bool wants_notes;        /* the client takes progress of this call */
    bool wants_logs;         /* log messages too, of some level */
    unsigned verbosity;      /* that it asked for: 1 emergency … LOG_LEVELS debug; 0: it did not */
    void (*let_go)(void *of); /* the caller need not hold its connection (servers/server.h) */
    void *let_go_of;
    bool takes_task;         /* its caller takes a task for an answer (P-293) */
    bool in_task;            /* it is the work of one, for servers in process */
    bool safe;               /* may be sent again when it is unknown whether it arrived (P-645) */
};

struct upstream_ops {
    const char *kind;
    /* Home worker, from the keeper: make it ready to be probed (spawn, pool). */
    err_t (*start)(struct task *t, struct upstream *u);
    /* Home worker: probes era and revision (P-058, P-059) and shakes hands for share 0;
     * fills u->info. */
    err_t (*probe)(struct task *t, struct upstream *u);
    /* Home worker: waits until the upstream says that a list changed (OK) or is lost (error). */
    err_t (*watch)(struct task *t, struct upstream *u);
    /* Home worker: lets go of everything `start` and `probe` made. Must not fail. */
    void (*stop)(struct task *t, struct upstream *u);
    err_t (*begin)(struct task *t, struct upstream_call *c);
    err_t (*next)(struct task *t, struct upstream_call *c, struct envelope *out);
    void (*end)(struct upstream_call *c, struct upstream *u);
    /* Sends a message that is no call on the session of c; never waits. NULL: there is none. */
    void (*say)(struct upstream_call *c, struct str message);
    /* Home worker, legacy: sends a notification on the session or to the child of that share, where
     * there is one. NULL: there are none. */
    void (*tell)(struct upstream *u, uint64_t share, struct str message);
    /* Home worker, modern: the set of watched URIs is new (P-409). May be NULL. */
    void (*watch_uris)(struct upstream *u);
    /* Each worker, when the upstream was removed: lets go of the worker's side. May be NULL. */
    void (*side_close)(struct worker *w, struct upstream *u);
    /* With the last reference. May be NULL. */
    void (*free)(struct upstream *u);
};
extern const struct upstream_ops upstream_stdio, upstream_http, upstream_builtin, upstream_api;

/* What a handshake or discovery told. Strings live in the upstream until the next probe. */
struct upstream_info {
    enum revision revision;
    struct capabilities has;
    struct str server_info, instructions; /* raw object; text */
};

struct upstream_side { /* one worker's part of an upstream */
    struct http_pool *pool;
    uint64_t next_id;
    struct gate gate;        /* calls in flight: the worker's share of the upstream's bound */
    metric_series ok_series; /* of its answers, found at the first */
    metric_series in_flight, waiting;
    struct idmap sessions;   /* http, legacy: session ids by share that this worker knows */
};

struct upstream {
    atomic_int refs;
    struct arena arena;      /* holds conf */
    struct upstream_conf *conf;
    uint8_t digest[32];      /* of the specification */
    const struct upstream_ops *ops;
    struct workers *all;
    struct warden *warden;
    unsigned home;           /* worker index */
    atomic_int state;        /* enum upstream_state */
    atomic_bool served;      /* since it became ready its lists were published */
    atomic_int revision;     /* enum revision; REV_NONE before the first probe */
    atomic_bool asks_roots;   /* it did: it is told of changes (P-260) */
    atomic_bool takes_levels; /* legacy, with logging: sessions are told a level (P-443) */
    pthread_mutex_t lock;    /* reason and part */
    char reason[256];        /* why it is not ready; the last error */
    struct part *part;       /* newest lists; NULL before the first */
    struct upstream_info info; /* home worker only */
    struct arena info_arena;
    atomic_uint restarts, failures;
    struct upstream_side *sides; /* by worker index */
    struct task *keeper;     /* home worker */
    bool stopping;           /* home worker */
    void *impl;              /* the kind's own */
    const struct server_ops *builtin;
    void *builtin_self;
    struct str data_dir;     /* children run there by default */
    void (*on_change)(struct upstream *u, void *arg); /* any worker: state or part is new */
    void (*on_updated)(struct upstream *u, struct str shown, void *arg); /* a resource is new */
    /* legacy, on the session or child of that share: a task has another status (task_told.h) */
    void (*on_task)(struct upstream *u, uint64_t share, struct str params, void *arg);
    void *on_change_arg;
    struct map watched;        /* under lock: struct watched by its own URI, see subscribe.h */
    struct idmap tasks;        /* under lock: how many it works on by share, as a pointer's value */
};

/* Longest session id of a server that we take. */
enum { UPSTREAM_SESSION = 256 };

struct upstream_call {
    struct upstream *upstream;
    const struct upstream_request *request;
    struct worker *worker;
    struct deadline deadline;
    struct task *task;
    bool began, answered;
    bool let_go;             /* no task has it, see upstream_let_go */
    /* the kind's own */
    struct http_reply reply;
    struct sse_parser sse;
    struct str rest;         /* bytes of a stream not parsed yet */
    struct str session;      /* session id the call was sent with, in session_text */
    bool streaming, retried; /* renewed its session once */
    bool headless;             /* sent; the head of the answer is still to come */
    struct http_flight *flight; /* where the server may speak beside the answer; NULL: nowhere */
    struct stdio_call *stdio;
    struct buf local;        /* in process: the answer */
    struct buf kept;         /* what `rest` points to while the task does something else */
    struct builtin_run *run; /* in process, with progress */
    char session_text[UPSTREAM_SESSION]; /* last: not zeroed for each call */
};

struct upstream *upstream_new(const struct upstream_conf *conf, struct workers *all,
                              struct warden *warden, struct str data_dir);
struct upstream *upstream_ref(struct upstream *u);
void upstream_unref(struct upstream *u);
/* Starts (where none runs) and stops the keeper on the home worker; neither waits. */
void upstream_start(struct upstream *u);
void upstream_stop(struct upstream *u);

/* Where it stands: copies of the text, so any thread may ask. */
enum upstream_state upstream_state(struct upstream *u, char reason[256]);
/* The same for those who look from outside and then call: ready not before upstream_served, so
 * that what it offers can be called by whoever was told so. */
enum upstream_state upstream_state_served(struct upstream *u, char reason[256]);
void upstream_served(struct upstream *u); /* what was published had it as ready */
struct part *upstream_part(struct upstream *u); /* a reference, or NULL */
void upstream_set_part(struct upstream *u, struct part *p); /* takes the reference */
void upstream_set_state(struct upstream *u, enum upstream_state state, const char *reason);

static inline struct upstream_side *upstream_side(struct upstream *u, struct worker *w) {
    return &u->sides[w->index];
}
/* REV_NONE before the first probe, which counts as legacy. */
static inline enum revision upstream_revision(const struct upstream *u) {
    return (enum revision)atomic_load_explicit(&u->revision, memory_order_relaxed);
}
static inline bool upstream_is_legacy(const struct upstream *u) {
    return revision_era(upstream_revision(u)) == ERA_LEGACY;
}
/* UNAVAILABLE, with its state and the reason of that. */
err_t upstream_unavailable(struct upstream *u);
static inline err_t upstream_revision_now(struct upstream *u, enum revision *out) {
    *out = upstream_revision(u);
    return *out != REV_NONE ? OK : upstream_unavailable(u);
}
/* Fills id and id_text; never the same twice in a process for one upstream (P-610). */
void upstream_next_id(struct upstream *u, struct worker *w, struct upstream_request *r);

/* Sends. UNAVAILABLE: not sent. Waits in line when the bound on calls in flight is reached. */
err_t upstream_begin(struct task *t, struct upstream *u, const struct upstream_request *r,
                     struct upstream_call *out);
/* The next message of this call: a notification, a question, or the answer (RESULT or
 * ERROR, whose id was compared). Slices are valid until the task waits again. */
err_t upstream_next(struct task *t, struct upstream_call *c, struct envelope *out);
/* Cancels upstream when no answer came (P-243, P-244). Safe on a zeroed call. From a task, or
 * from the loop for a call that was let go of. */
void upstream_end(struct upstream_call *c);
/* Answers what a legacy upstream asked in mid-call: id as it spelled it, and a member
 * `"result":…` or `"error":…`. Never waits. */
void upstream_answer(struct upstream_call *c, struct str id, struct str member);
/* Sends a notification to the session or child of that share, if there is one. Any worker. */
void upstream_tell(struct upstream *u, uint64_t share, struct str message);
/* A server has asked: what it may be told from now on. */
static inline void upstream_asked(struct upstream *u, enum method m) {
    if (m == METHOD_ROOTS_LIST)
        atomic_store_explicit(&u->asks_roots, true, memory_order_relaxed);
}
static inline void upstream_task_told(struct upstream *u, uint64_t share, struct str params) {
    if (u->on_task)
        u->on_task(u, share, params, u->on_change_arg);
}
/* Clients have that many more tasks, which are not over, on the session or child of that share:
 * it is kept and listened to. Any thread. */
void upstream_tasks_add(struct upstream *u, uint64_t share, int more);
bool upstream_has_tasks(struct upstream *u, uint64_t share);
/* From now on it may take that long: people think slower than programs. */
void upstream_patience(struct upstream_call *c, nanos longest);
/* It has answered: what its caller waits for now is no longer its fault. */
void upstream_no_deadline(struct upstream_call *c);
/* The task ends, the call goes on: what comes is kept until a task takes it up again. The
 * bound on calls in flight does not count it meanwhile. Nothing happens to one let go of. */
void upstream_let_go(struct upstream_call *c);
err_t upstream_take_up(struct task *t, struct upstream_call *c);
/* What its sessions and children declare that clients can be asked. */
unsigned upstream_declares(const struct upstream *u, unsigned asks, uint64_t share);

/* ---- for the kinds ----------------------------------------------------------------- */

/* Messages of a handshake, as one text each. */
void handshake_discover(struct buf *out, const char *id_text);
void handshake_initialize(struct buf *out, const char *id_text, enum revision offer, unsigned asks);
struct str handshake_initialized(void);
void handshake_set_level(struct buf *out, const char *id_text, unsigned verbosity);
/* Some servers answer whatever they do not know with an empty result: that is none (P-058). */
bool handshake_is_discovery(struct str result);
/* Reads the result of either into `out`; strings go to `a`. UPSTREAM when it makes no sense. */
err_t handshake_read_discover(struct arena *a, struct str result, struct upstream_info *out);
err_t handshake_read_initialize(struct arena *a, struct str result, struct upstream_info *out);
/* A request that came while a call was in flight: true when its caller may be asked; a ping
 * and what nobody can be asked is answered here (P-245, P-432). */
bool upstream_asks_caller(struct upstream_call *c, const struct envelope *m);
/* The same as a member of an answer: `"result":…` or `"error":…`. `asks` was declared. */
struct str question_refusal(struct buf *out, const struct envelope *m, unsigned asks);
/* The answer to server/discover says "modern but another version" (-32020..-32022, P-043). */
bool handshake_is_modern_error(struct str error, enum revision *out_mutual);
/* A request of the gateway itself (lists, probes): one call, the answer's result copied to
 * *out; an error answer becomes UPSTREAM with its text. */
err_t upstream_ask(struct task *t, struct upstream *u, enum method method, struct str params,
                   struct buf *out);
/* Appends _meta with what a modern upstream requires (P-040): raw object. */
void modern_meta(struct buf *out, enum revision r);
