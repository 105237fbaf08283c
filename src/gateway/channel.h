/* channel.h - one client on a line that carries messages both ways: standard input and
 * output, a WebSocket, the HTTP+SSE of revision 2024-11-05.
 *
 * At most one legacy session, opened by the first initialize; requests in modern form are
 * served beside it, each by itself (P-057). Every request in flight is a task. Notifications,
 * questions and answers of all of them leave through `send`.
 *
 * Threads  the worker of `gw`
 * Memory   the carrier embeds it and outlives its calls: channel_end, then wait for them
 */
#pragma once
#include "gateway/exchange.h"
#include "gateway/stream.h"

struct channel_ops {
    /* One JSON-RPC message in pieces; may wait while the client lags. */
    err_t (*send)(struct task *t, void *self, const struct str *pieces, size_t n);
    struct push_ops push; /* for what no task says; `self` is the carrier */
    /* The last call of an ended channel has ended: nothing of it is used any more. May be NULL. */
    void (*over)(void *self);
};

struct channel_call;
struct channel {
    struct gateway_worker *gw;
    const struct channel_ops *ops;
    void *self;                  /* the carrier */
    const struct principal *who; /* outlives the channel; NULL: looked up for each message */
    struct str who_id;           /* by this: a revoked key ends its channel */
    unsigned who_index;
    struct str profile;          /* name; empty: the whole catalogue; the carrier's memory */
    struct channel_call *calls;
    size_t call_count;
    struct event idle;           /* the last call has ended */
    bool opened;                 /* by initialize */
    bool ending;
    struct session_view session; /* its id is all zero where there is one client alone */
};

/* What becomes of one message, without its line end. NULL: its client's key is gone. */
struct channel_call *channel_call_new(struct channel *ch, struct task *t, struct str text);
/* Reads it; notifications, answers and refusals are done with then, and it returns false. */
bool channel_call_take(struct channel_call *c);
/* A request that was taken goes on: in a task of its own, or in the caller's. */
void channel_call_start(struct channel_call *c);
void channel_call_run(struct channel_call *c, struct task *t);
void channel_call_free(struct channel_call *c);

/* From a loop callback: a task takes the message and runs it. False: too many are in flight, or
 * the key is gone; the carrier ends. */
bool channel_post(struct channel *ch, struct str text);
/* Answers a message that could not be read, such as one that is too long. */
void channel_refuse(struct channel *ch, struct task *t, int code, const char *why);

/* The client is gone: its streams are forgotten, what still comes is passed over. */
void channel_end(struct channel *ch);
void channel_cancel(struct channel *ch);
/* Waits until no call is in flight, at most so long. */
void channel_wait_idle(struct channel *ch, struct task *t, nanos most);
