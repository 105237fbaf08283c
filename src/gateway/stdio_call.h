/* stdio_call.h - one call to a child process, shared by the task that waits for it and the
 * home worker that owns the pipe.
 *
 * The caller's side sees packets: copies of what the server said about this call, or why it
 * failed. They come by mail when the workers differ; each packet has one owner at a time.
 *
 * Limits   STDIO_NEWS bytes of notifications wait for a caller; more are dropped, an answer
 *          never is
 * Threads  each side touches its own members only
 * Memory   reference-counted (atomic); freed with the last reference
 */
#pragma once
#include "gateway/stdio_child.h"

enum { STDIO_NEWS = 1024 * 1024 };

struct stdio_packet {
    struct mail mail;
    struct stdio_packet *next;
    struct stdio_call *call;
    bool failed;              /* text says why, kind how */
    enum err_kind kind;
    struct envelope envelope; /* of text, once it was scanned */
    size_t n;
    char text[];
};

struct stdio_call {
    atomic_int refs;
    struct upstream *upstream; /* a reference */
    struct worker *caller;
    uint64_t id, share;
    uint64_t caller_key;       /* see upstream_request */
    unsigned asks, verbosity;
    struct mail start, end;    /* to the home worker, each at most once */
    /* the caller's */
    struct event news;
    struct stdio_packet *first, **last, *current;
    size_t queued;
    bool ended;                /* nobody waits any more */
    /* the home worker's */
    struct stdio_out *message; /* until it goes to the child */
    struct stdio_link *link;   /* where it is in flight or in line */
    struct stdio_call *next;   /* in that line */
    uint64_t turn;             /* when it was last spoken to, in messages of its link */
    unsigned questions;        /* given to the caller and not yet answered */
};

struct stdio_call *stdio_call_new(struct upstream *u, struct worker *caller, uint64_t id,
                                  uint64_t share, struct stdio_out *message);
struct stdio_call *stdio_call_ref(struct stdio_call *c);
void stdio_call_unref(struct stdio_call *c);

/* Caller: waits for the next packet. The envelope is valid until the next call or the end. */
err_t stdio_call_next(struct task *t, struct stdio_call *c, struct envelope *out);
/* Caller: drops what came and what still comes. */
void stdio_call_end(struct stdio_call *c);

/* Home worker. */
struct stdio_packet *stdio_packet_new(struct str text);
void stdio_call_give(struct stdio_call *c, struct stdio_packet *p); /* takes p */
void stdio_call_fail(struct stdio_call *c, const struct err *why);
