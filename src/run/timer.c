/* timer.c - see timer.h.
 *
 * Level n holds timers less than 256^(n+1) ticks away, in the slot of their n-th byte;
 * when the clock comes to a slot of level n > 0, its timers move down. `due` is a lower
 * bound for the next tick at which anything has to be done: setting a timer compares
 * with it, and only when it has come is the wheel searched for the next one. */
#include "run/private.h"

#include <assert.h>

#define SLOT_BITS 8
#define SLOT_MASK (TIMER_SLOTS - 1)
#define NEVER_DUE UINT64_MAX
#define FARTHEST ((UINT64_C(1) << (TIMER_LEVELS * SLOT_BITS)) - 1)

static void on_wake(uv_timer_t *wake) {
    struct worker *w = wake->data;
    timers_advance(&w->timers, worker_tick(w));
    worker_run_ready(w);
}

void timers_init(struct timers *ts, struct worker *w, void *wake) {
    *ts = (struct timers){ .due = NEVER_DUE, .origin = w->now, .worker = w, .wake = wake };
}

static uint64_t tick_at(const struct timers *ts, nanos at) {
    return at <= ts->origin ? 0 : (uint64_t)(at - ts->origin) / NANOS_MS;
}

/* The first tick that is not before `at`. */
static uint64_t tick_after(const struct timers *ts, nanos at) {
    return at <= ts->origin ? 0 : ((uint64_t)(at - ts->origin) + NANOS_MS - 1) / NANOS_MS;
}

static void arm(struct timers *ts, uint64_t due) {
    ts->due = due;
    uv_timer_t *wake = ts->wake;
    if (!wake || due == NEVER_DUE)
        return; /* an armed one fires once for nothing */
    /* libuv counts in milliseconds of the same clock and wakes when they are full */
    const uint64_t at = ((uint64_t)ts->origin + due * NANOS_MS + NANOS_MS - 1) / NANOS_MS;
    const uint64_t now = uv_now(wake->loop);
    uv_timer_start(wake, on_wake, at > now ? at - now : 0, 0);
}

static void link_into(struct timer **slot, struct timer *t) {
    t->next = *slot;
    if (t->next)
        t->next->back = &t->next;
    t->back = slot;
    *slot = t;
}

static void unlink_timer(struct timer *t) {
    *t->back = t->next;
    if (t->next)
        t->next->back = t->back;
    t->back = NULL;
}

/* Puts t into its slot; returns the tick at which that slot needs attention. */
static uint64_t place(struct timers *ts, struct timer *t) {
    uint64_t tick = tick_after(ts, t->at);
    if (tick <= ts->tick)
        tick = ts->tick + 1;
    uint64_t away = tick - ts->tick;
    if (away > FARTHEST) { /* 49 days: goes around and is placed again */
        away = FARTHEST;
        tick = ts->tick + FARTHEST;
    }
    unsigned level = away < TIMER_SLOTS ? 0 : (63 - (unsigned)__builtin_clzll(away)) / SLOT_BITS;
    const unsigned shift = level * SLOT_BITS;
    link_into(&ts->slots[level][(tick >> shift) & SLOT_MASK], t);
    return tick >> shift << shift;
}

/* Nothing has to be done before `due`, so the wheel may stand anywhere before it. */
static void catch_up(struct timers *ts, nanos now) {
    const uint64_t tick = tick_at(ts, now);
    const uint64_t free = tick < ts->due ? tick : ts->due - 1;
    if (free > ts->tick)
        ts->tick = free;
}

void timer_set(struct worker *w, struct timer *t, nanos at) {
    struct timers *ts = &w->timers;
    timer_unset(w, t);
    if (at == NANOS_NEVER)
        return;
    t->at = at;
    catch_up(ts, w->now);
    ts->count++;
    const uint64_t due = place(ts, t);
    if (due < ts->due)
        arm(ts, due);
}

void timer_unset(struct worker *w, struct timer *t) {
    if (!timer_is_set(t))
        return;
    unlink_timer(t);
    w->timers.count--;
}

/* The first tick after ts->tick with a filled slot at this level. */
static uint64_t next_at_level(const struct timers *ts, unsigned level) {
    const unsigned shift = level * SLOT_BITS;
    const uint64_t base = ts->tick >> shift;
    for (uint64_t i = 1; i <= TIMER_SLOTS; i++)
        if (ts->slots[level][(base + i) & SLOT_MASK])
            return (base + i) << shift;
    return NEVER_DUE;
}

static uint64_t next_due(const struct timers *ts) {
    uint64_t due = NEVER_DUE;
    for (unsigned level = 0; ts->count && level < TIMER_LEVELS; level++) {
        const uint64_t at = next_at_level(ts, level);
        due = at < due ? at : due;
    }
    return due;
}

/* Takes a slot's list out; its timers stay linked, so they can still be unset. */
static void take_slot(struct timer **slot, struct timer **out_list) {
    *out_list = *slot;
    *slot = NULL;
    if (*out_list)
        (*out_list)->back = out_list;
}

static void move_down(struct timers *ts, unsigned level) {
    struct timer *list;
    take_slot(&ts->slots[level][(ts->tick >> (level * SLOT_BITS)) & SLOT_MASK], &list);
    while (list) {
        struct timer *t = list;
        unlink_timer(t);
        /* one that is due at this very tick must still go to this tick's slot */
        if (tick_after(ts, t->at) <= ts->tick)
            link_into(&ts->slots[0][ts->tick & SLOT_MASK], t);
        else
            place(ts, t);
    }
}

static void fire_slot(struct timers *ts) {
    struct timer *list;
    take_slot(&ts->slots[0][ts->tick & SLOT_MASK], &list);
    while (list) {
        struct timer *t = list;
        unlink_timer(t);
        ts->count--;
        t->fire(ts->worker, t);
    }
}

void timers_advance(struct timers *ts, nanos now) {
    const uint64_t last = tick_at(ts, now);
    ts->worker->now = now;
    uint64_t due = next_due(ts);
    while (due <= last) {
        ts->tick = ts->due = due; /* timers set while these fire arm nothing */
        for (unsigned level = TIMER_LEVELS - 1; level > 0; level--)
            if ((due & ((UINT64_C(1) << (level * SLOT_BITS)) - 1)) == 0)
                move_down(ts, level);
        fire_slot(ts);
        due = next_due(ts);
    }
    if (last > ts->tick)
        ts->tick = last;
    arm(ts, due);
}
