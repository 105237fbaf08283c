/* http_server.h - HTTP connections of clients: HTTP/1.1, and HTTP/2 in http2.h.
 *
 * A connection is a state machine (head, body, busy, linger). When a head is complete
 * the service's `admit` decides from the head alone, before any body is buffered; when
 * the body is complete the service's `serve` runs as a task. One request of a connection
 * is in flight at a time; what a pipelining client sends meanwhile is kept up to a bound.
 *
 * Memory   a request, its head and body live until `serve` returned; small messages are
 *          copied into the request, large ones stay in the buffer they came in
 * Errors   broken framing is answered with 4xx and a close, here
 */
#pragma once
#include "base/arena.h"
#include "net/conn.h"
#include "net/http1.h"
#include "net/listener.h"
#include <stdatomic.h>

struct http_request;
struct http_server;

struct http_service {
    /* Loop context, must not wait. Returns 0 to go on with `*max_body` as bound, or a
     * status after it answered with http_refuse. */
    int (*admit)(struct http_request *r, size_t *max_body);
    /* Task context. Must answer before it returns; a request left unanswered gets 500. */
    void (*serve)(struct task *t, struct http_request *r);
    /* Once for each request whose head was complete, when it goes, before release: `status`,
     * `sent` and `began` tell how it went; status 0: the client left unanswered. May be NULL. */
    void (*done)(struct http_request *r);
    /* Once for each request whose `user` was set, when it goes: lets go of what admit took. */
    void (*release)(struct http_request *r);
    void *arg;
};

struct http_server_conf {
    struct http_limits head;
    size_t max_body;
    size_t max_pipelined;  /* bytes kept while a request is in flight */
    unsigned max_conns;    /* more get 503 */
    atomic_uint *conns;    /* of all servers that share this bound; NULL: of this one alone */
    unsigned max_streams;  /* of one HTTP/2 connection; 0: HTTP/1 alone */
    nanos head_timeout, body_timeout, idle_timeout, send_timeout;
    struct tls_context *tls; /* NULL: plain */
};

struct http_request {
    struct http_head *head;
    struct str body;
    struct worker *worker;
    struct arena arena;       /* the round's arena: freed when serve returned */
    struct task *task;        /* NULL in admit */
    struct http_service *service;
    void *user;               /* admit to serve: who calls, which route */
    uint64_t user_bits[2];    /* small things from admit, so it need not allocate */
    nanos began;              /* when the head was complete */
    struct str id;            /* request id, 16 hex digits */
    struct sockaddr_storage *peer;
    bool answered, gone, streaming, secure, detached;
    bool pinned;             /* HTTP/2: lost while it is pushed to, it is not freed yet */
    bool left;                /* its connection went on without it, see http_stream_leave */
    /* private */
    struct http_conn *conn;
    struct http2_stream *stream; /* NULL: HTTP/1 */
    struct net_block *held;
    size_t max_body;          /* as admit said */
    /* Called on the loop when the client went away; default cancels the task (P-165). A
     * legacy exchange replaces it with one that lets the task go on (P-144). */
    void (*on_gone)(struct http_request *r);
    int status;               /* of the answer, for the access log and metrics */
    size_t sent;              /* bytes of the answer */
    size_t copied;            /* bytes of `text` */
    char id_text[16];
    char text[2048];          /* head, and what came with it, as far as there is room */
    struct http_head own;     /* the arena begins behind its last field */
};

struct http_answer {
    int status;
    struct str type;                 /* content-type; empty: none */
    const struct http_field *fields; /* more headers */
    size_t field_count;
    const struct str *pieces;        /* the body, in order */
    size_t piece_count;
    bool close;                      /* close the connection after it */
};

/* Whole answers. http_respond waits until the socket took all but a bounded rest. */
err_t http_respond(struct task *t, struct http_request *r, const struct http_answer *a);
/* The same from admit: never waits. Closes when a body is still to come. */
int http_refuse(struct http_request *r, const struct http_answer *a);

/* Answers of unknown length, chunked (or until close for HTTP/1.0). write waits when the
 * client lags by more than 256 KiB, at most send_timeout. */
err_t http_stream_begin(struct task *t, struct http_request *r, const struct http_answer *a);
err_t http_stream_write(struct task *t, struct http_request *r, const struct str *pieces, size_t n);
err_t http_stream_end(struct task *t, struct http_request *r);

/* A stream that outlives its task: serve calls detach and returns; from then on any loop
 * callback or task of the worker pushes. `on_gone` runs once, when the client left or
 * lagged by more than 256 KiB; the request is gone when it returns. push returns false
 * when it ran; while serve has not returned, it waits for that. */
void http_stream_detach(struct http_request *r, void (*on_gone)(struct http_request *r));
bool http_stream_push(struct http_request *r, const struct str *pieces, size_t n);
/* Ends a detached stream properly; on_gone is not called. */
void http_stream_close(struct http_request *r);
/* A task writes to a detached stream, with http_stream_write: from borrow to give_back the request
 * stays, and on_gone waits. give_back ends the connection where writing failed; false: the
 * request is gone, and on_gone ran unless the task closed the stream. */
void http_stream_borrow(struct task *t, struct http_request *r);
bool http_stream_give_back(struct http_request *r, bool failed);
/* Cuts the connection (HTTP/2: the stream) of a request whose task goes on, and sees it gone. */
void http_stream_abort(struct http_request *r);
/* Ends the stream of a request whose task goes on: for the task the client is gone, while its
 * connection takes the next request. On the loop or in the task, but not while that writes. */
void http_stream_leave(struct http_request *r);

/* A per-worker set of connections under one service. */
struct http_server *http_server_new(struct worker *w, const struct http_server_conf *conf,
                                    struct http_service *service);
err_t http_server_listen(struct http_server *s, const struct listen_addr *addr);
/* New certificates or limits for connections accepted from now on; takes a reference. */
void http_server_configure(struct http_server *s, const struct http_server_conf *conf);
/* Stops accepting (the accept queue is served), closes idle connections, answers requests
 * in flight with `connection: close`. */
void http_server_drain(struct http_server *s);
/* Connections still open. */
size_t http_server_conns(const struct http_server *s);
size_t http_server_busy(const struct http_server *s);
/* Closes everything at once; requests in flight are cancelled and waited for by the loop. */
void http_server_close(struct http_server *s);
void http_server_free(struct http_server *s); /* after the loop ended */

const char *http_status_text(int status);
