/* stdio_link.h - one child process of an upstream and the calls in flight on it.
 *
 * A link is one child for one share value. It numbers nothing and decides nothing: it sends
 * calls, hands what the server says to the call that it belongs to, answers questions, and
 * fails its calls with the reason when the child ends. Who starts and ends links is
 * upstream_stdio.c.
 *
 * Limits   STDIO_QUEUE bytes of calls wait for a child that starts
 * Threads  belongs to the upstream's home worker
 * Memory   counted references: the host's, the child's, the opener's
 */
#pragma once
#include "gateway/stdio_call.h"

enum link_state { LINK_OPENING, LINK_READY, LINK_OVER };

struct stdio_link {
    unsigned refs;             /* the host's, the child's, the opener's */
    struct stdio_host *host;
    uint64_t share;
    unsigned asks;             /* what its callers can be asked; share 0: see upstream_declares */
    enum link_state state;
    unsigned verbosity;        /* of log messages: what it was told; 0: nothing */
    bool modern;               /* never sent a response (P-122) */
    bool changed;              /* share 0: lists are new */
    struct stdio_child *child; /* NULL: not started yet, or gone */
    struct task *opener;       /* other shares: while opening */
    struct err why;            /* it is over */
    struct idmap calls;        /* struct stdio_call by id: in flight */
    uint64_t sent;             /* calls and answers so far */
    uint64_t uris_listen;      /* share 0, modern: id of the listen for watched URIs; 0: none */
    struct stdio_call *first, **last; /* in line until it is ready */
    size_t in_line;            /* their bytes */
    struct stdio_flood junk;
    nanos used;
    struct timer idle;
    struct stdio_link *next, **back; /* of all */
};

struct stdio_host {
    struct upstream *upstream;
    struct stdio_link *main;   /* share 0 */
    struct idmap links;        /* other shares */
    struct stdio_link *all;    /* every link there is, ending ones too */
    struct event news;         /* for the keeper */
    bool open;                 /* between start and stop */
    bool known;                /* era is that of the last handshake */
    enum era era;
    struct err refusal;        /* why the last child of another share did not start, */
    nanos refused_until;       /* and until when no other is tried */
};

static inline struct worker *stdio_home(struct upstream *u) {
    return workers_at(u->all, u->home);
}
static inline struct str stdio_link_name(const struct stdio_link *l) {
    return l->host->upstream->conf->name;
}

struct stdio_link *stdio_link_new(struct stdio_host *host, uint64_t share);
void stdio_link_unref(struct stdio_link *l);
/* Spawns. Errors as stdio_child_start. */
err_t stdio_link_start(struct task *t, struct stdio_link *l);
/* Handshake done: sends what waits in line. */
void stdio_link_ready(struct stdio_link *l);
/* Fails its calls; serves nobody from now on; its child ends in its own time. May free it. */
void stdio_link_over(struct stdio_link *l, const struct err *why);

/* Sends a message that is no call. `tell` makes no error: cleanup calls it too, while another
 * error is on its way up. */
err_t stdio_link_say(struct stdio_link *l, struct str text);
void stdio_link_tell(struct stdio_link *l, struct str text);

/* Sends the call, or puts it in line while the child starts. */
err_t stdio_link_take(struct stdio_link *l, struct stdio_call *c);
/* The caller gave up: cancels, when it was sent (P-243). */
void stdio_link_forget(struct stdio_call *c);
