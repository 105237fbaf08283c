/* question.h - what servers ask of clients: sampling, roots and elicitation, as requests on
 * the wire (legacy) or as entries of input_required (modern, MRTR).
 *
 * What a client can be asked is a set of bits, read from its capabilities; the question's
 * params and the answer are said again in the other side's revision (P-402, P-403, P-433,
 * P-439). Works on raw, validated text; unknown members survive (P-011).
 *
 * Threads  any; pure functions
 * Memory   output is appended to a buf
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "mcp/revision.h"
#include "mcp/uri.h"

/* What a client offers to be asked (P-103, P-181). */
enum {
    ASK_ROOTS = 1 << 0,
    ASK_SAMPLING = 1 << 1,
    ASK_SAMPLING_TOOLS = 1 << 2,
    ASK_SAMPLING_CONTEXT = 1 << 3,
    ASK_FORM = 1 << 4,
    ASK_URL = 1 << 5,
    ASK_ALL = (1 << 6) - 1,
    /* no question, but told in the same place: it shows MCP Apps (P-305) */
    SHOWS_APPS = 1 << 7,
    /* no question either: it tells when its roots change (legacy) */
    TELLS_ROOTS = 1 << 8,
    DECLARED_ALL = ASK_ALL | SHOWS_APPS | TELLS_ROOTS, /* by what many callers share */
    /* no question, but told in the same place: it takes a task for an answer (R26, P-293) */
    TAKES_TASK = 1 << 6,
};

/* MCP Apps, and what a client has to show for it. */
#define APPS_EXTENSION "io.modelcontextprotocol/ui"
#define APPS_TYPE "text/html;profile=mcp-app"

/* From a client's capabilities (raw object, may be absent), as its revision means them. */
unsigned asks_read(struct str capabilities, enum revision from);
/* A modern client's declare the tasks extension. */
bool tasks_declared(struct str capabilities);
/* As capabilities towards a server of that revision: raw object. */
void asks_write(struct buf *out, unsigned asks, enum revision to);

/* The bits without which a question must not be put; 0: it is no question at all. */
unsigned question_needs(enum method method, struct str params);

struct question_look {
    unsigned asks;              /* what the client offers */
    struct str upstream;        /* who asks, shown to people (P-274, P-640); empty: not said */
    const struct uri_map *uris; /* NULL: not rewritten */
    struct str elicitation_id;  /* for url mode towards R11 (P-407) */
    struct str key; /* raw inside of the key that it has in inputRequests; empty: none */
    struct str task;            /* for R11: id of the task that asks (P-291); empty: none does */
};
/* The params of a question as a client of `to` expects them: raw object. */
void question_write(struct buf *out, enum method method, struct str params, enum revision to,
                    const struct question_look *look);

/* The key that a gateway before us wrote into params, so that a modern client behind two of them
 * sees those of the server; empty: none that could be one. */
struct str question_key(struct str params);

/* The answer has the members that its question wants. */
bool answer_fits(enum method method, struct str result);
/* The client's result as a server of `to` expects it. */
void answer_write(struct buf *out, struct str result, enum revision to);
/* What a server hears when nobody answers: a member `"result":…` or `"error":…` (P-432, P-435). */
struct str answer_refusal(enum method method);
