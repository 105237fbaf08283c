/* private.h - what the files of src/run share and nobody else sees. */
#pragma once
#include "run/fiber.h"
#include "run/mailbox.h"
#include "run/task.h"
#include <pthread.h>

enum wake { WAKE_SET, WAKE_TIMEOUT, WAKE_CANCELLED };

/* Lies at the top of its own stack, so that a task touches one page. What every task
 * touches comes first; the error slot last. */
struct task {
    struct fiber fiber;
    struct worker *worker;
    struct task *next;   /* in the ready list, the list for the next turn, or the free list */
    struct event *event; /* waited for; NULL while not waiting */
    task_fn *fn;         /* NULL: the fiber ends */
    void *arg;
    nanos deadline;
    nanos until;         /* when the present wait ends; NANOS_NEVER for an unconditional one */
    struct timer timer;  /* left set between waits: it fires early rather than is moved */
    struct str request;
    enum wake woken;
    unsigned index;      /* in task_pool.all */
    bool live, ended, cancelled, shielded;
    bool deaf;           /* the present wait is not ended by cancellation */
    struct err error;
};

struct task_list {
    struct task *first, *last;
};

struct task_pool {
    struct worker *worker;
    struct fiber_home home;
    struct task_list ready, later; /* later: yielded, for the next turn of the loop */
    struct task *free;
    size_t free_count, unused;     /* unused: the least of free_count since the last trim */
    struct task **all;             /* every task that has a stack */
    size_t stacks, room;
    size_t running, peak, limit, stack_size;
    struct timer trim;
    bool stopping;                 /* tasks are born cancelled */
};

struct task_pool *task_pool_new(struct worker *w, size_t limit, size_t stack_size);
void task_pool_free(struct task_pool *pool); /* no task runs any more */
void task_pool_stop(struct task_pool *pool); /* cancels all */
/* The yielded tasks become ready. */
void task_pool_turn(struct task_pool *pool);

/* worker_here() without the call. */
extern _Thread_local struct worker *worker_of_thread;

/* task_spawn, with the error in hand. */
err_t task_start(struct worker *w, task_fn *fn, void *arg, struct task **out);
/* Waits whatever happens to the task. For memory that others still use. */
void event_wait_always(struct task *t, struct event *e);
/* The error of a task that may not wait now, OK when it may. */
err_t task_interrupted(struct task *t);
/* What a task started on behalf of another takes over from it. */
void task_inherit(struct task *t, nanos deadline, struct str request);

/* Keeps the loop from sleeping while tasks have yielded. */
void worker_stay_awake(struct worker *w, bool awake);

struct workers {
    struct worker **at; /* N + 1, the control worker last */
    unsigned count;     /* N */
    struct worker_hooks hooks;
    struct worker_limits limits;
    bool stop_asked, ran;
    uv_work_t first_work; /* starts libuv's pool */
};

struct worker_private {
    struct mailbox box;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t timer;
    bool awake;
    struct mail stop, ended;
    bool stopping;
    unsigned others_ended; /* control worker: data workers whose loop has ended */
    pthread_t thread;
    bool has_thread;
    uv_sem_t started;      /* on_start returned; then: */
    bool failed, begun;
    struct err error;
};
