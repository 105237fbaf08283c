/* http_client.h - pooled HTTP/1.1 connections to one upstream, per worker.
 *
 * Idle connections stay armed for reading, so an upstream's close removes them at once
 * (HOTPATH 7); the pool is LIFO and bounded; callers beyond the bound wait in line under
 * their deadline. The caller writes the whole request itself (its head is mostly a
 * prepared prefix), so a call is one send.
 *
 *   SCOPED(http_reply_done) struct http_reply r = { 0 };
 *   TRY(http_call(t, pool, pieces, n, 0, &r));
 *   TRY(http_reply_body(t, &r, limit, &body));
 *
 * Threads  a pool belongs to one worker
 * Memory   slices of a reply are valid until the task waits again, or http_reply_done
 */
#pragma once
#include "net/conn.h"
#include "net/http1.h"

struct http_pool;
struct http_peer;

struct http_target {
    struct str host;        /* name or address to connect to */
    uint16_t port;
    struct tls_context *tls; /* NULL: plain */
    unsigned max_conns;     /* on this worker; 0: 256 */
    unsigned max_waiting;   /* callers in line; 0: 1024 */
    nanos connect_timeout;  /* 0: 5 s */
    nanos idle_timeout;     /* 0: 60 s */
    struct http_limits head; /* of answers; zeros: 64 KiB, 100 fields */
    bool no_link_local;      /* link-local and metadata addresses are UNAVAILABLE, whatever the name
    *resolves to : who chooses the URL must not reach a cloud's credentials */
};
struct http_pool *http_pool_new(struct worker *w, const struct http_target *target); /* copies it */
/* Idle connections close now, those in use when they are done; then it frees itself. */
void http_pool_free(struct http_pool *p);

struct http_pool_stats {
    unsigned open, idle, waiting;
    uint64_t connects, failures;
};
struct http_pool_stats http_pool_stats(const struct http_pool *p);

struct http_reply {
    struct http_head *head; /* valid until the task waits again */
    int status;
    bool event_stream;      /* content-type is text/event-stream */
    bool json;              /* content-type is application/json */
    bool woken;             /* see http_reply_wake; whoever looked at the news unsets it */
    bool retryable;         /* CLOSED before the head: it may be sent again */
    /* private */
    struct http_pool *pool;
    struct http_peer *peer;
    struct task *task;
    struct event ready;
    struct str data;         /* body bytes at hand */
    struct net_block *block; /* memory behind data, when it is not the worker's */
    struct buf body;         /* a body that came in pieces and was asked for whole */
    struct http_chunks chunks;
    int64_t left;            /* of Content-Length, -1: until close */
    bool has_head, taken, chunked, reusable;
    bool reused, safe;       /* the connection has carried a call before; may be sent again */
    size_t sent;             /* bytes */
    bool apart;              /* sent by http_send: the head may come while nobody waits for it */
    bool over, cut;          /* the connection ended, properly or not; bytes may still be kept */
    bool failed, ended;      /* the answer: broken, complete */
    size_t looked;           /* bytes of a partial head in which no more lines end */
    struct err error;        /* last: it is large, and seldom touched */
};

/* May be sent again when a reused connection died unanswered. Without it only what had not left
 * whole, or had not arrived when the peer closed (conn_unheard), is: nobody can have acted on
 * that. */
enum { HTTP_SAFE = 1 << 0 };

/* Sends the request and waits for the head of the answer (1xx skipped). UNAVAILABLE: not
 * connected (TLS included), nothing was sent, so it may be tried elsewhere; CLOSED: the connection died
 * after sending; UPSTREAM: the answer is not HTTP. */
err_t http_call(struct task *t, struct http_pool *p, const struct str *request, size_t pieces,
                unsigned flags, struct http_reply *out);
/* http_call in two steps, for callers who have something else to hear before the answer begins.
 * http_send sends; http_reply_head waits for the head: OK with `woken` set when it is not there
 * yet but http_reply_wake was called. `head` itself is not kept, `status` and the types are. */
err_t http_send(struct task *t, struct http_pool *p, const struct str *request, size_t pieces,
                unsigned flags, struct http_reply *out);
err_t http_reply_head(struct task *t, struct http_reply *r);
/* Same worker: lets http_reply_head and http_reply_next (OK, with an empty piece) return early. */
void http_reply_wake(struct http_reply *r);
/* The whole body; TOO_LARGE beyond `limit` or what the worker may buffer. A body that came
 * in one read is not copied. */
err_t http_reply_body(struct task *t, struct http_reply *r, size_t limit, struct str *out);
/* The next piece of the body as it comes; empty at its end, or when it was woken. */
err_t http_reply_next(struct task *t, struct http_reply *r, struct str *out);
/* Gives the connection back when the body was read to its end, else closes it. */
void http_reply_done(struct http_reply *r);
