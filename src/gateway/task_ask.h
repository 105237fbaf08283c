/* task_ask.h - requests about a task to the server that has it, without an exchange.
 *
 * Always on the session on which the task was made, which alone may know it.
 *
 * Threads  any worker
 */
#pragma once
#include "gateway/exchange.h"

struct task_ask {
    struct upstream *upstream;
    struct str id;         /* the upstream's */
    struct str principal;
    uint64_t share;
    unsigned asks;
};

/* The message, as one text. `responses` (raw, may be absent) is for tasks/update. */
void task_ask_write(struct buf *out, const struct task_ask *ask, const struct upstream_request *r,
                    struct str responses);
/* Sends and waits. *failed: *out is a raw error object, else a raw result; in the arena. */
err_t task_ask(struct task *t, struct arena *a, const struct task_ask *ask, enum method method,
               struct str responses, bool *failed, struct str *out);
/* In a task of its own, which nobody waits for: the client gave up. */
void task_ask_cancel(struct worker *w, const struct task_ask *ask);

/* The call c ended with e. When its caller gave up before the upstream said that it made a task of
 * it, and which, that is waited for a little: then the task can be cancelled. Returns e. */
err_t task_ask_forsake(struct task *t, struct upstream_call *c, err_t e);
