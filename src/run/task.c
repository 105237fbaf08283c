/* task.c - see task.h: the pool of tasks, waiting, deadlines, cancellation.
 *
 * A task is made ready by whoever ends its wait and resumed by worker_run_ready, from
 * the loop's stack. Stacks go back to a LIFO pool, so that the next task finds them in
 * the cache; those that were not needed for a second are given back bit by bit.
 * A fiber runs one task after the other: it is made once for each stack. */
#include "run/private.h"

#include "base/log.h"
#include "base/mem.h"
#include <assert.h>

#define STACKS_KEPT 64          /* never given back */
#define STACKS_TRIMMED 64       /* given back at once: each is a system call */
#define TRIM_EVERY NANOS_SEC
#define TRIM_NEXT (NANOS_SEC / 4) /* while there are more to give back: 5,000 go in 20 s */

#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

static nanos later(nanos now, nanos duration) {
    nanos at;
    return __builtin_add_overflow(now, duration, &at) ? NANOS_NEVER : at;
}

static inline void push(struct task_list *list, struct task *t) {
    t->next = NULL;
    if (list->first)
        list->last->next = t;
    else
        list->first = t;
    list->last = t;
}

static inline struct task *pop(struct task_list *list) {
    struct task *t = list->first;
    if (t)
        list->first = t->next;
    return t;
}

/* ---- stacks ----------------------------------------------------------------------- */

static void task_main(struct fiber *f) {
    struct task *t = container_of(f, struct task, fiber);
    while (t->fn) {
        t->fn(t, t->arg);
        t->ended = true;
        fiber_leave(f);
    }
}

static void task_timer(struct worker *w, struct timer *timer);

/* Kept out of line: the registers it saves would be saved for every task. */
static __attribute__((noinline)) struct task *stack_new(struct task_pool *pool) {
    char *low = fiber_map(pool->stack_size);
    if (!low)
        return NULL;
    const size_t size = pool->stack_size - ((sizeof(struct task) + 63) & ~(size_t)63);
    struct task *t = (struct task *)(low + size);
    fiber_init(&t->fiber, &pool->home, low, size, task_main);
    t->worker = pool->worker;
    t->timer.fire = task_timer;
    if (pool->stacks == pool->room) {
        pool->room = pool->room ? pool->room * 2 : 64;
        pool->all = mem_grow(pool->all, pool->room * sizeof(struct task *));
    }
    t->index = (unsigned)pool->stacks;
    pool->all[pool->stacks++] = t;
    return t;
}

static void stack_free(struct task_pool *pool, struct task *t) {
    struct task *moved = pool->all[--pool->stacks];
    pool->all[t->index] = moved;
    moved->index = t->index;
    t->fn = NULL;
    fiber_enter(&t->fiber); /* task_main returns */
    fiber_done(&t->fiber);
    fiber_unmap(t->fiber.low, pool->stack_size);
}

/* Gives back stacks from the cold end of the pool, of those that lay there all the time. */
static void trim(struct worker *w, struct timer *timer) {
    struct task_pool *pool = w->tasks;
    size_t n = pool->free_count > STACKS_KEPT ? pool->free_count - STACKS_KEPT : 0;
    n = n < pool->unused ? n : pool->unused;
    n = n < STACKS_TRIMMED ? n : STACKS_TRIMMED;
    struct task **cut = &pool->free;
    for (size_t i = n; i < pool->free_count; i++)
        cut = &(*cut)->next;
    struct task *t = *cut;
    *cut = NULL;
    pool->free_count -= n;
    pool->unused = pool->free_count;
    while (t) {
        struct task *next = t->next;
        stack_free(pool, t);
        t = next;
    }
    if (pool->free_count > STACKS_KEPT)
        timer_set(w, timer, later(w->now, n == STACKS_TRIMMED ? TRIM_NEXT : TRIM_EVERY));
}

struct task_pool *task_pool_new(struct worker *w, size_t limit, size_t stack_size) {
    struct task_pool *pool = NEW(struct task_pool);
    pool->worker = w;
    pool->limit = limit;
    pool->stack_size = stack_size;
    pool->trim.fire = trim;
    return pool;
}

void task_pool_free(struct task_pool *pool) {
    if (!pool)
        return;
    assert(pool->running == 0);
    while (pool->stacks)
        stack_free(pool, pool->all[pool->stacks - 1]);
    free(pool->all);
    free(pool);
}

void task_pool_stop(struct task_pool *pool) {
    pool->stopping = true;
    for (size_t i = 0; i < pool->stacks; i++)
        if (pool->all[i]->live)
            task_cancel(pool->all[i]);
}

void task_pool_turn(struct task_pool *pool) {
    if (!pool->later.first)
        return;
    for (struct task *t; (t = pop(&pool->later));)
        push(&pool->ready, t);
    worker_stay_awake(pool->worker, false);
}

/* ---- from spawn to end ------------------------------------------------------------ */

static inline struct task *take(struct task_pool *pool) {
    if (pool->running >= pool->limit)
        return NULL;
    struct task *t = pool->free;
    if (!t)
        return stack_new(pool);
    pool->free = t->next;
    if (--pool->free_count < pool->unused)
        pool->unused = pool->free_count;
    return t;
}

static __attribute__((noinline)) err_t too_many(const struct worker *w) {
    return ERR(UNAVAILABLE, "worker %u has too many requests in flight: %zu", w->index,
               w->tasks->running);
}

struct task *task_spawn(struct worker *w, task_fn *fn, void *arg) {
    struct task_pool *pool = w->tasks;
    struct task *t = take(pool);
    if (!t) {
        too_many(w);
        return NULL;
    }
    if (++pool->running > pool->peak)
        pool->peak = pool->running;
    t->fn = fn;
    t->arg = arg;
    t->event = NULL;
    t->deadline = NANOS_NEVER;
    t->request = S("");
    t->live = true;
    t->ended = t->shielded = t->deaf = false;
    t->cancelled = pool->stopping;
    push(&pool->ready, t);
    return t;
}

err_t task_start(struct worker *w, task_fn *fn, void *arg, struct task **out) {
    struct task *t = task_spawn(w, fn, arg);
    if (!t)
        return too_many(w);
    *out = t;
    return OK;
}

static void release(struct task_pool *pool, struct task *t) {
    struct worker *w = pool->worker;
    if (timer_is_set(&t->timer))
        timer_unset(w, &t->timer);
    t->live = false;
    t->next = pool->free;
    pool->free = t;
    pool->running--;
    if (++pool->free_count > STACKS_KEPT && !timer_is_set(&pool->trim) && !pool->stopping) {
        pool->unused = pool->free_count;
        timer_set(w, &pool->trim, later(w->now, TRIM_EVERY));
    }
    if (pool->stopping && pool->running == 0)
        uv_stop(&w->loop); /* worker.c waits for this moment */
}

void worker_run_ready(struct worker *w) {
    struct task_pool *pool = w->tasks;
    if (w->running || !pool->ready.first)
        return;
    worker_now(w);
    for (struct task *t; (t = pop(&pool->ready));) {
        w->running = t;
        err_use_slot(&t->error);
        log_use_request(t->request);
        fiber_enter(&t->fiber);
        w->running = NULL;
        if (t->ended)
            release(pool, t);
    }
    err_use_slot(NULL);
    log_use_request(S(""));
}

struct worker *task_worker(const struct task *t) {
    return t->worker;
}

nanos task_now(const struct task *t) {
    return t->worker->now;
}

void task_set_request(struct task *t, struct str id) {
    t->request = id;
    if (t->worker->running == t)
        log_use_request(id);
}

void task_inherit(struct task *t, nanos deadline, struct str request) {
    t->deadline = deadline;
    t->request = request;
}

struct task_stats task_stats(const struct worker *w) {
    const struct task_pool *pool = w->tasks;
    return (struct task_stats){ pool->running, pool->peak, pool->stacks, pool->limit };
}

/* ---- waiting ---------------------------------------------------------------------- */

static inline void wake(struct task *t, enum wake why) {
    t->event->waiter = NULL;
    t->event = NULL;
    t->woken = why;
    push(&t->worker->tasks->ready, t);
}

void event_set(struct event *e) {
    if (!e->waiter) {
        e->set = true;
        return;
    }
    assert(e->waiter->worker == worker_of_thread);
    wake(e->waiter, WAKE_SET);
}

/* The timer is set for the earliest `until` there was; a later wait only moves it when it
 * ends earlier, so most waits do not touch the wheel. */
static void task_timer(struct worker *w, struct timer *timer) {
    struct task *t = container_of(timer, struct task, timer);
    if (!t->event)
        return;
    if (t->until <= w->now)
        wake(t, WAKE_TIMEOUT);
    else
        timer_set(w, &t->timer, t->until);
}

static inline enum wake suspend(struct task *t, struct event *e, nanos until) {
    struct worker *w = t->worker;
    assert(w->running == t && !e->waiter);
    e->waiter = t;
    t->event = e;
    t->until = until;
    if (until != NANOS_NEVER && (!timer_is_set(&t->timer) || t->timer.at > until))
        timer_set(w, &t->timer, until);
    fiber_leave(&t->fiber);
    return t->woken;
}

static err_t interruption(enum wake why) {
    switch (why) {
    case WAKE_SET: return OK;
    case WAKE_TIMEOUT: return ERR(TIMEOUT, "timed out");
    case WAKE_CANCELLED: return ERR(CANCELLED, "cancelled");
    }
    return OK;
}

static inline enum wake may_wait(const struct task *t) {
    if (t->cancelled && !t->shielded)
        return WAKE_CANCELLED;
    return t->deadline <= t->worker->now ? WAKE_TIMEOUT : WAKE_SET;
}

err_t task_interrupted(struct task *t) {
    return interruption(may_wait(t));
}

err_t event_wait(struct task *t, struct event *e) {
    enum wake why = may_wait(t);
    if (why == WAKE_SET && e->set)
        e->set = false;
    else if (why == WAKE_SET)
        why = suspend(t, e, t->deadline);
    return why == WAKE_SET ? OK : interruption(why);
}

void event_wait_always(struct task *t, struct event *e) {
    if (!e->set) {
        t->deaf = true;
        suspend(t, e, NANOS_NEVER);
        t->deaf = false;
    }
    e->set = false;
}

err_t task_sleep(struct task *t, nanos duration) {
    TRY(task_interrupted(t));
    struct event never = { 0 };
    const nanos until = later(t->worker->now, duration);
    const bool whole = until < t->deadline;
    const enum wake why = suspend(t, &never, whole ? until : t->deadline);
    return whole && why == WAKE_TIMEOUT ? OK : interruption(why);
}

err_t task_yield(struct task *t) {
    TRY(task_interrupted(t));
    struct task_pool *pool = t->worker->tasks;
    assert(t->worker->running == t);
    push(&pool->later, t);
    worker_stay_awake(t->worker, true);
    fiber_leave(&t->fiber);
    return task_interrupted(t);
}

/* ---- deadlines, cancellation, shields --------------------------------------------- */

struct deadline deadline_push_at(struct task *t, nanos at) {
    const struct deadline d = { t, t->deadline };
    if (at < t->deadline)
        t->deadline = at;
    return d;
}

struct deadline deadline_push(struct task *t, nanos duration) {
    return deadline_push_at(t, later(t->worker->now, duration));
}

void deadline_pop(struct deadline *d) {
    if (d->task)
        d->task->deadline = d->before;
    d->task = NULL;
}

nanos task_deadline(const struct task *t) {
    return t->deadline;
}

void task_cancel(struct task *t) {
    t->cancelled = true;
    if (t->event && !t->shielded && !t->deaf)
        wake(t, WAKE_CANCELLED);
}

bool task_cancelled(const struct task *t) {
    return t->cancelled;
}

struct shield task_shield(struct task *t, nanos grace) {
    const struct shield s = { t, t->deadline, t->shielded };
    const nanos until = later(t->worker->now, grace);
    if (!t->shielded || until < t->deadline)
        t->deadline = until;
    t->shielded = true;
    return s;
}

void shield_drop(struct shield *s) {
    if (!s->task)
        return;
    s->task->deadline = s->before;
    s->task->shielded = s->was_shielded;
    s->task = NULL;
}
