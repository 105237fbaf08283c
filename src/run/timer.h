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
    uint64_t tick;   /* the last tick that was run */
    nanos origin;
    size_t count;
    nanos armed;     /* when the uv_timer fires, NANOS_NEVER when not */
    void *private;
};

/* Fires once at or up to 2 ms after `at`. Setting a set timer moves it. */
void timer_set(struct worker *w, struct timer *t, nanos at);
void timer_unset(struct worker *w, struct timer *t);
static inline bool timer_is_set(const struct timer *t) {
    return t->back != NULL;
}
