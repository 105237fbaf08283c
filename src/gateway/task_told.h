/* task_told.h - what servers of 2025-11-25 tell of their tasks by themselves (P-290, P-446).
 *
 * notifications/tasks/status come beside any call: on a pipe, on the stream of a session, or on
 * that of another request. Each is put down to the task of that name on that very session. The
 * record (tasks.h) learns from it, and the owner hears of it: a client of 2025-11-25 the same
 * words, with the id that it knows, on its GET stream or pipe; for a modern one, whose form of it
 * carries the outcome too, whatever listens looks at the task at once (task_watch.h).
 *
 * What ended stays as it ended (P-292): a word that comes late is dropped. One that comes before
 * the answer that made the task, since they travel apart, waits for it (task_catch_up).
 *
 * Threads  any
 * Waits    task_told_on_call, while its client lags
 */
#pragma once
#include "gateway/tasks.h"

/* From an upstream, on the session or child `share`. */
void task_told(struct gateway *g, struct upstream *u, uint64_t share, struct str params);
/* On the stream of the call r of x: of the very task whose outcome x waits for it goes on there. */
err_t task_told_on_call(struct exchange *x, const struct envelope *m,
                        const struct upstream_request *r);
/* k is kept from now on. */
void task_catch_up(struct gateway *g, struct kept_task *k);
