/* worker.h - threads, each with one libuv loop, and how they reach each other.
 *
 * `workers` are the N data-plane threads plus one control worker that runs on the main
 * thread. Everything a worker owns (connections, tasks, timers, pools) is touched by its
 * thread alone; other threads post mail. Data that all read is published (snapshot.h).
 *
 * Threads  worker_post and workers_stop may be called from any thread, all else from the
 *          worker's own
 * Waits    never (worker_run is the loop itself)
 */
#pragma once
#include "base/clock.h"
#include "base/err.h"
#include "run/timer.h"
#include <uv.h>

struct worker;
struct workers;
struct task;
struct task_pool;

/* A message between workers. Embedded in what is sent; the receiver owns it from
 * delivery on and frees it. */
struct mail {
    struct mail *next;
    void (*deliver)(struct worker *w, struct mail *m); /* on the receiver's loop, not in a task */
    size_t bytes; /* counted against the receiver's bound while queued; 0: control, never refused */
};

/* What other layers hang on a worker, each under its own index. */
enum worker_slot {
    WORKER_NET,
    WORKER_CLIENT,
    WORKER_GATEWAY,
    WORKER_CONTROL,
    WORKER_TEST,
    WORKER_SLOTS
};

struct worker {
    unsigned index; /* 0..N-1; the control worker is N */
    bool control;
    struct workers *all;
    uv_loop_t loop;       /* loop.data is the worker */
    nanos now;            /* monotonic, as last read: take it through worker_now in a callback */
    bool stale;           /* the loop has slept since `now` was read */
    struct timers timers;
    struct task *running; /* the task on whose stack we are; NULL on the loop's own */
    struct task_pool *tasks;
    void *slots[WORKER_SLOTS];
    uint64_t rng[2];      /* worker_random */
    struct worker_private *private;
};

/* Starts N threads (0 is allowed: the control worker alone); `on_start` runs on each, the
 * control worker first, before its loop turns. The calling thread becomes the control
 * worker, to be run with workers_run. An error of one on_start stops all and is returned.
 *
 * A worker stops in this order: its tasks are cancelled (those spawned from now on are
 * born cancelled) and run to their ends while the loop turns; mail is refused from now on
 * and what was queued is delivered; `on_stop` closes handles (uv_close, no waiting); the
 * loop turns until they are closed. The control worker stops after all others have.
 * Signals are blocked on the threads started here and on those of libuv's pool. */
struct worker_hooks {
    err_t (*on_start)(struct worker *w, void *arg);
    void (*on_stop)(struct worker *w, void *arg);
    void *arg;
};
struct worker_limits {
    size_t mail_bytes;   /* queued for one worker; 0: 64 MiB */
    unsigned tasks;      /* fibers in flight on one worker; 0: an equal share of 20,000 */
    size_t stack;        /* bytes; 0: 64 KiB (256 KiB under a sanitizer) */
    bool by_hand;        /* no threads: the caller is all workers in turn, see worker_turn */
};
err_t workers_start(unsigned n, struct worker_limits limits, struct worker_hooks hooks,
                    struct workers **out);
struct worker *workers_control(struct workers *all);
struct worker *workers_at(struct workers *all, unsigned index);
unsigned workers_count(const struct workers *all); /* N, without the control worker */
/* Runs the control loop on the calling thread until workers_stop; then joins the rest. */
void workers_run(struct workers *all);
/* Workers by hand, for tests that choose what happens first: timers that are due, then one turn
 * of the loop of w, which never sleeps; from then on the calling thread is w. */
void worker_turn(struct worker *w);
void workers_stop(struct workers *all);
void workers_free(struct workers *all);

/* The worker of the calling thread, or NULL. */
struct worker *worker_here(void);

/* False when the receiver's byte bound is full or it has stopped: the caller keeps m.
 * True: m will be delivered, in the order in which one thread posted. */
bool worker_post(struct worker *to, struct mail *m);

/* Delivers the mail that waits now, not at its turn. Whoever is about to act on word from
 * outside calls it first: what had been posted here before that word was sent is then known,
 * so a client that was answered by one worker finds the same truth at the next. */
void worker_take_mail(struct worker *w);

/* Runs what event_set and task_spawn made ready. Every libuv callback of ours that may
 * have set an event ends with this, so that a reply is handled in the turn it came. */
void worker_run_ready(struct worker *w);

/* Reads the clock into w->now: after long work, or where microseconds count. */
nanos worker_tick(struct worker *w);
/* The clock, read once per loop turn. Before a callback reads w->now it calls this: the
 * loop may have slept for long. Tasks, timers and mail find it read. */
static inline nanos worker_now(struct worker *w) {
    return w->stale ? worker_tick(w) : w->now;
}
/* Fast, not cryptographic: trace ids, jitter. */
uint64_t worker_random(struct worker *w);
