/* conn.h - one hot socket of a worker: a state machine without a stack.
 *
 * uv_poll_t with our own recv and sendmsg serves clients, upstreams and TLS alike
 * (HOTPATH: as cheap as raw epoll). Bytes are read into one buffer that all connections
 * of the worker share; a connection owns memory only while it holds the beginning of a
 * message or bytes that its peer does not take. Interest in reading is kept up all the
 * time: stopping and starting costs two epoll_ctl.
 *
 * Threads  one worker
 * Memory   conn_close frees it after libuv let go of the handle; `owner` is told once
 * Waits    conn_drain only
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "net/tls.h"
#include "run/task.h"
#include <sys/socket.h>

struct conn;

struct conn_ops {
    /* Bytes have come. Returns how many were used; the rest is kept and comes again, in
     * front of what follows, at the next read or conn_resume. Of fresh bytes (none
     * conn_kept) the slice is valid until the tasks that this call made ready have
     * waited or ended; of kept ones only until this call returns. What must live longer
     * is copied, or its memory is taken with conn_hold. */
    size_t (*on_data)(struct conn *c, struct str data);
    /* The peer sent its end (e == NULL) or the socket failed. Called once; closes nothing. */
    void (*on_end)(struct conn *c, err_t e);
    /* The outgoing queue ran empty after conn_send had to queue. May be NULL. */
    void (*on_drained)(struct conn *c);
    /* All that conn_gather asked for has come. NULL when nothing is gathered. */
    void (*on_gathered)(struct conn *c);
};

struct conn {
    struct worker *worker;
    const struct conn_ops *ops;
    void *owner;
    uv_poll_t *poll; /* outlives conn until its close callback */
    int fd;
    struct tls *tls;
    struct buf in;          /* the beginning of a message, from in_at on */
    size_t in_at;
    struct buf *gather;     /* where fresh bytes go, NULL: to on_data */
    size_t gather_left;     /* how many */
    bool little;            /* the next read takes 16 KiB: its owner will gather what follows */
    struct buf out;         /* what the peer did not take yet */
    size_t out_at;
    struct event drained;
    bool connecting;        /* until TCP, and of a client TLS, is there */
    bool greeting;          /* connecting, and in the TLS handshake */
    bool ended, closed, paused, delivering;
    bool writing;           /* bytes wait for the socket to take them */
    bool again;             /* TLS holds bytes, or wants to write first: read at the next turn */
    bool finishing, finished;
    int problem;            /* errno of what broke it; 0: its peer's end, or nothing yet */
    bool failing;           /* nothing can be sent any more; what came before is read yet */
    struct net_block *lent; /* memory behind the slice being delivered, once held */
};

/* Takes the descriptor over. `connecting`: the socket's connect is under way; a TLS
 * handshake is part of it, so that its failure is UNAVAILABLE too. NULL, with the
 * descriptor closed, when the kernel cannot watch one more. */
struct conn *conn_new(struct worker *w, int fd, struct tls_context *tls, struct str host,
                      bool connecting, const struct conn_ops *ops, void *owner);
/* No callback comes after this. Sends close_notify on TLS. Queued bytes are dropped. */
void conn_close(struct conn *c);

/* Sends the pieces in order, queueing what the socket does not take; never waits.
 * CLOSED when the connection is dead; on_end follows, after on_data for what the peer had
 * said before. Pieces are free for reuse when it returns. */
err_t conn_send(struct conn *c, const struct str *pieces, size_t n);
static inline size_t conn_queued(const struct conn *c) {
    return c->out.n - c->out_at;
}
/* Of a connection that ended: its peer had closed before it took in any of the last n bytes
 * sent, so they did nothing. Its end says what it had received (RFC 9293 §3.10.4); a reset alone
 * does not, so that after one this is false, as it is whenever there is doubt. */
bool conn_unheard(const struct conn *c, size_t n);
/* Nothing will be sent any more: says so to the peer once the queue is empty. Reading goes on. */
void conn_finish(struct conn *c);
/* Waits until at most `left` bytes are queued; CLOSED when the connection dies. */
err_t conn_drain(struct task *t, struct conn *c, size_t left);

/* The next `more` bytes, at least one, go behind those of `b`, without a call of on_data, and
 * are read to where they stay: for the rest of a message whose length is known. `b` has the
 * room and belongs to the owner, who leaves it alone until on_gathered or conn_close. Only
 * when nothing is kept: inside of on_data when all of the slice will be used. */
void conn_gather(struct conn *c, struct buf *b, size_t more);

/* Delivers what is kept in `in` again, on the loop, in this turn. */
void conn_resume(struct conn *c);
/* Stops reading until conn_resume: for a peer that floods while nobody can take it. */
void conn_pause(struct conn *c);

/* Bytes kept. Inside on_data they are the slice itself, or none when it is fresh. */
static inline size_t conn_kept(const struct conn *c) {
    return c->in.n - c->in_at;
}

/* Memory behind the slice of on_data, so that a large message is used where it lies. */
struct net_block;
struct net_block *conn_hold(struct conn *c);
void net_block_free(struct worker *w, struct net_block *b); /* NULL is fine */

/* A buffer that holds (a part of) a message outside of a connection, counted like one. */
void net_buf_reserve(struct worker *w, struct buf *b, size_t n);
void net_buf_put(struct worker *w, struct buf *b, struct str bytes);
void net_buf_done(struct worker *w, struct buf *b);
/* Moves the buffer's memory into a block: slices of it stay valid. */
struct net_block *net_buf_hold(struct buf *b);

/* Buffer memory of a worker. Beyond the limit new bodies are refused with 503. */
struct net_stats {
    size_t conns, buffered, buffer_limit;
};
struct net_stats net_stats(struct worker *w);
bool net_may_buffer(struct worker *w, size_t more);

/* Once for each worker, from its start and stop hooks. */
void net_start(struct worker *w, size_t buffer_limit);
void net_limit(struct worker *w, size_t buffer_limit); /* another one from now on */
void net_stop(struct worker *w);
