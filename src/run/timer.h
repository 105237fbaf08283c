/* timer.h - a hierarchical timer wheel per worker, 1 ms ticks.
 *
 * Setting and unsetting is O(1) and makes no system call: one uv_timer wakes the loop
 * for the earliest slot, and is armed anew only when something earlier comes. Idea:
 * Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987).
 *
 * Threads  belongs to one worker
 * Memory   timers are embedded by their owner, which unsets them before it goes
 */
#pragma once
#include "base/clock.h"
#include <stdbool.h>

struct worker;
struct timer;
typedef void timer_fn(struct worker *w, struct timer *t); /* on the loop, not in a task */

struct timer {
    struct timer *next, **back; /* NULL back: not set */
    nanos at;
    timer_fn *fire;
};

#define TIMER_LEVELS 4
#define TIMER_SLOTS 256

struct timers {
    struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
    uint64_t tick; /* the last tick that was run */
    uint64_t due;  /* no slot has work before this tick; UINT64_MAX: nothing is awaited */
    nanos origin;  /* tick 0 */
    size_t count;
    struct worker *worker;
    void *wake; /* the uv_timer armed for `due`; NULL: somebody else calls timers_advance */
};

/* Fires once at or up to 2 ms after `at`. Setting a set timer moves it; NANOS_NEVER unsets it. */
void timer_set(struct worker *w, struct timer *t, nanos at);
void timer_unset(struct worker *w, struct timer *t);
/* For worker.c, and for tests, which own the clock: w->now becomes `now`, and what is due fires. */
void timers_init(struct timers *ts, struct worker *w, void *wake);
void timers_advance(struct timers *ts, nanos now);
static inline bool timer_is_set(const struct timer *t) {
    return t->back != NULL;
}
