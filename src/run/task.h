/* task.h - straight-line code that may wait: fibers, events, deadlines, cancellation.
 *
 * A task is a fiber of one worker; it never moves. A function that may wait takes
 * `struct task *` first. Waiting ends for one of three reasons: the event was set (OK),
 * the deadline passed (TIMEOUT), the task was cancelled (CANCELLED); the latter two are
 * errors so that scopes unwind.
 * Switching is Boost's fcontext (run/fiber.c), announced to ASan, TSan and Valgrind.
 * Stacks are 64 KiB with a guard page, pooled LIFO.
 *
 * Threads  a task, its events and its timers belong to one worker
 * Memory   struct task is the worker's; invalid once its function returned
 */
#pragma once
#include "base/err.h"
#include "run/worker.h"

typedef void task_fn(struct task *t, void *arg);

/* Starts at the next worker_run_ready; NULL with the thread's error slot UNAVAILABLE when
 * the worker has its limit of tasks in flight. */
struct task *task_spawn(struct worker *w, task_fn *fn, void *arg);

struct worker *task_worker(const struct task *t);
nanos task_now(const struct task *t);
/* Id that log lines of this task carry; borrowed until the task ends or it is changed. */
void task_set_request(struct task *t, struct str id);

/* Something to wait for. Zero-initialised; one waiter at a time. Set and not waited for
 * stays set; a wait consumes it. */
struct event {
    struct task *waiter;
    bool set;
};
/* Same worker only; from a task or from a loop callback (which then calls
 * worker_run_ready before it returns). */
void event_set(struct event *e);
err_t event_wait(struct task *t, struct event *e);

err_t task_sleep(struct task *t, nanos duration);
/* Lets other ready tasks run; returns CANCELLED or TIMEOUT like every wait. */
err_t task_yield(struct task *t);

/* The earliest of all pushed deadlines holds.
 *   SCOPED(deadline_scope) struct deadline d = deadline_push(t, 5 * NANOS_SEC); */
struct deadline {
    struct task *task;
    nanos before;
};
struct deadline deadline_push(struct task *t, nanos duration);
struct deadline deadline_push_at(struct task *t, nanos at);
void deadline_pop(struct deadline *d);
nanos task_deadline(const struct task *t); /* NANOS_NEVER: none */
static inline void deadline_scope(struct deadline *d) {
    deadline_pop(d);
}

/* Idempotent. The task's present or next wait returns CANCELLED, and every one after it,
 * until a shield is up. Same worker only. */
void task_cancel(struct task *t);
bool task_cancelled(const struct task *t);

/* For cleanup that waits after cancellation or timeout: inside the scope neither counts,
 * but `grace` is the deadline.
 *   SCOPED(shield_scope) struct shield s = task_shield(t, 1 * NANOS_SEC); */
struct shield {
    struct task *task;
    nanos before;
    bool was_shielded;
};
struct shield task_shield(struct task *t, nanos grace);
void shield_drop(struct shield *s);
static inline void shield_scope(struct shield *s) {
    shield_drop(s);
}

/* Parallel work that ends before the function that opened it. The first error is kept
 * and cancels the others; task_group_wait returns it, after all have ended.
 *   SCOPED(task_group_scope) struct task_group g; task_group_init(&g, t);
 *   TRY(task_group_start(&g, fetch_one, &arg)); …  TRY(task_group_wait(&g)); */
typedef err_t group_fn(struct task *t, void *arg);
struct group_member;
struct task_group {
    struct task *owner;
    struct group_member *members;
    struct event done;
    size_t running;
    bool failed, collect; /* collect: errors do not cancel the others */
    struct err first;
};
void task_group_init(struct task_group *g, struct task *owner);
err_t task_group_start(struct task_group *g, group_fn *fn, void *arg);
err_t task_group_wait(struct task_group *g);
void task_group_scope(struct task_group *g); /* cancels and waits when still running */

/* Runs fn(arg) on a thread of the blocking pool and waits for it. Not interrupted by
 * cancellation (its arguments may be on our stack): when it is long, fn polls
 * work_cancelled, true after cancellation or the deadline. The result is fn's; CANCELLED
 * or TIMEOUT when it was never started. The pool's threads have 8 MiB stacks. */
typedef err_t work_fn(void *arg, const bool *cancelled);
static inline bool work_cancelled(const bool *cancelled) {
    return __atomic_load_n(cancelled, __ATOMIC_RELAXED);
}
err_t work_run(struct task *t, work_fn *fn, void *arg);

/* Runs fn(arg) as a task on another worker and waits for its end. Cancellation of t
 * cancels the remote task and still waits for it. */
err_t task_on(struct task *t, struct worker *other, group_fn *fn, void *arg);

/* Numbers for /metrics. */
struct task_stats {
    size_t running, peak, stacks, limit;
};
struct task_stats task_stats(const struct worker *w);
