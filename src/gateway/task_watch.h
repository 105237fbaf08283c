/* task_watch.h - notifications/tasks on a subscriptions/listen with taskIds (P-298).
 *
 * Upstreams of either era tell little by themselves, so the tasks of a listen are looked at by one
 * fiber, as often as their servers want it and whenever one says that something is new
 * (task_told.h); whenever one differs from what was told it is pushed, as tasks/get would tell it.
 * The first look is told too: something may have changed since the client last heard.
 *
 * Limits   limits.subscriptions tasks of one listen
 * Threads  belongs to the worker of its stream
 */
#pragma once
#include "gateway/stream.h"

struct task_watch;

/* The tasks of a raw array that x may look at; NULL: none. */
struct task_watch *task_watch_new(struct exchange *x, struct str ids);
/* Raw JSON array of them, for the acknowledgement. */
void task_watch_put(const struct task_watch *w, struct buf *out);
void task_watch_start(struct task_watch *w, struct push_stream *p);
/* That one has changed; nothing happens when it is none of these. */
void task_watch_look(struct task_watch *w, struct str id);
/* The stream is gone. NULL is fine; frees. */
void task_watch_end(struct task_watch *w);
