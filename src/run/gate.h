/* gate.h - at most so many tasks inside at once; the rest wait in line, first come first
 * served, each under its own deadline.
 *
 * Threads  belongs to one worker
 * Memory   embedded by its owner; waiters live on their tasks' stacks
 */
#pragma once
#include "run/task.h"

struct gate_waiter;
struct gate {
    unsigned limit;       /* inside at once; 0: no limit */
    unsigned max_waiting; /* longest line; more get UNAVAILABLE */
    unsigned inside, waiting;
    struct gate_waiter *first, **last;
};
/* OK: inside, and gate_leave is owed. UNAVAILABLE when the line is full; TIMEOUT, CANCELLED. */
err_t gate_enter(struct task *t, struct gate *g);
void gate_leave(struct gate *g);
