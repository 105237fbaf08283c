/* worker.c - see worker.h. */
#include "run/private.h"

#include "base/log.h"
#include "base/mem.h"
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

#define TASKS_IN_ALL 20000 /* two mappings each; max_map_count is 65,530 (DESIGN decision 5) */
#define MAIL_BYTES ((size_t)64 << 20)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_SIZE ((size_t)256 << 10)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define STACK_SIZE ((size_t)256 << 10)
#endif
#endif
#ifndef STACK_SIZE
#define STACK_SIZE ((size_t)64 << 10)
#endif

_Thread_local struct worker *worker_of_thread;

struct worker *worker_here(void) {
    return worker_of_thread;
}

nanos worker_tick(struct worker *w) {
    w->stale = false;
    return w->now = clock_mono();
}

/* xoroshiro128+ of Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators" (2018). */
uint64_t worker_random(struct worker *w) {
    const uint64_t a = w->rng[0], sum = a + w->rng[1], b = w->rng[1] ^ a;
    w->rng[0] = (a << 24 | a >> 40) ^ b ^ (b << 16);
    w->rng[1] = b << 37 | b >> 27;
    return sum;
}

bool worker_post(struct worker *to, struct mail *m) {
    return mailbox_post(&to->private->box, m);
}

void worker_take_mail(struct worker *w) {
    struct mailbox *box = &w->private->box;
    if (!mailbox_waits(box))
        return;
    mailbox_drain(box);
    worker_run_ready(w);
}

/* ---- a turn of the loop ------------------------------------------------------------ */

/* Runs before every sleep: what is ready now, by a callback that forgot to call
 * worker_run_ready or by a closing handle, must not wait for the next event. */
static void before_sleep(uv_prepare_t *prepare) {
    struct worker *w = prepare->data;
    task_pool_turn(w->tasks);
    worker_run_ready(w);
    w->stale = true;
}

static void on_idle(uv_idle_t *idle) {
    (void)idle; /* an active idle handle keeps the loop from sleeping, that is all */
}

void worker_stay_awake(struct worker *w, bool awake) {
    struct worker_private *own = w->private;
    if (awake == own->awake)
        return;
    own->awake = awake;
    if (awake)
        uv_idle_start(&own->idle, on_idle);
    else
        uv_idle_stop(&own->idle);
}

/* ---- stopping ---------------------------------------------------------------------- */

static void on_stop_asked(struct worker *w, struct mail *m) {
    (void)m;
    w->private->stopping = true;
    task_pool_stop(w->tasks);
    uv_stop(&w->loop);
}

static void on_other_ended(struct worker *control, struct mail *m) {
    (void)m;
    control->private->others_ended++;
    uv_stop(&control->loop);
}

static bool may_close(const struct worker *w) {
    return w->tasks->running == 0 && (!w->control || w->private->others_ended == w->all->count);
}

/* uv_stop ends a turn wherever may_close can have become true. */
static void turn_until_idle(struct worker *w) {
    while (!may_close(w))
        uv_run(&w->loop, UV_RUN_ONCE);
}

static void close_handle(uv_handle_t *handle, void *arg) {
    (void)arg;
    if (uv_is_closing(handle))
        return;
    log_error("handle left open by on_stop", F("type", uv_handle_type_name(handle->type)));
    uv_close(handle, NULL);
}

static void close_own(struct worker *w) {
    struct worker_private *own = w->private;
    uv_close((uv_handle_t *)&own->box.async, NULL);
    uv_close((uv_handle_t *)&own->prepare, NULL);
    uv_close((uv_handle_t *)&own->idle, NULL);
    uv_close((uv_handle_t *)&own->timer, NULL);
}

/* The loop of a worker, to its end (the order is worker.h's). */
static void run_to_end(struct worker *w) {
    struct worker_private *own = w->private;
    while (!own->stopping)
        uv_run(&w->loop, UV_RUN_DEFAULT);
    turn_until_idle(w);
    mailbox_close(&own->box);
    worker_run_ready(w);
    turn_until_idle(w); /* the last mail may have started tasks */
    if (w->all->hooks.on_stop && own->begun)
        w->all->hooks.on_stop(w, w->all->hooks.arg);
    close_own(w);
    uv_walk(&w->loop, close_handle, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert(w->tasks->running == 0);
    task_pool_free(TAKE(w->tasks));
    int failed = uv_loop_close(&w->loop);
    assert(failed == 0);
    (void)failed;
}

void workers_stop(struct workers *all) {
    if (__atomic_exchange_n(&all->stop_asked, true, __ATOMIC_ACQ_REL))
        return;
    for (unsigned i = 0; i <= all->count; i++)
        if (all->at[i]) /* a failed start may have made only some */
            worker_post(all->at[i], &all->at[i]->private->stop);
}

/* ---- starting ---------------------------------------------------------------------- */

static err_t start_hook(struct worker *w) {
    worker_of_thread = w;
    worker_tick(w);
    const struct worker_hooks *hooks = &w->all->hooks;
    if (hooks->on_start)
        TRY(hooks->on_start(w, hooks->arg));
    w->private->begun = true;
    return OK;
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    struct worker_private *own = w->private;
    char name[16];
    snprintf(name, sizeof(name), "worker-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    err_t e = start_hook(w);
    if (e)
        own->error = *e;
    own->failed = e != OK;
    uv_sem_post(&own->started);
    run_to_end(w);
    worker_post(workers_control(w->all), &own->ended);
    return NULL;
}

static err_t uv_checked(int code, const char *what) {
    return code == 0 ? OK : ERR(UNAVAILABLE, "%s: %s", what, uv_strerror(code));
}

static err_t open_handles(struct worker *w) {
    struct worker_private *own = w->private;
    TRY(uv_checked(uv_loop_init(&w->loop), "event loop"));
    int code = mailbox_open(&own->box, w, w->all->limits.mail_bytes);
    if (code) {
        uv_loop_close(&w->loop);
        return uv_checked(code, "wake-up of the event loop");
    }
    w->loop.data = w;
    own->prepare.data = own->timer.data = w;
    uv_prepare_init(&w->loop, &own->prepare); /* these three cannot fail */
    uv_idle_init(&w->loop, &own->idle);
    uv_timer_init(&w->loop, &own->timer);
    uv_prepare_start(&own->prepare, before_sleep);
    return OK;
}

static err_t worker_new(struct workers *all, unsigned index) {
    struct worker *w = NEW(struct worker);
    w->private = NEW(struct worker_private);
    w->index = index;
    w->control = index == all->count;
    w->all = all;
    w->private->stop.deliver = on_stop_asked;
    w->private->ended.deliver = on_other_ended;
    worker_tick(w);
    if (getrandom(w->rng, sizeof(w->rng), 0) != (ssize_t)sizeof(w->rng))
        w->rng[0] = (uint64_t)w->now ^ index;
    w->rng[1] |= 1; /* all zeros would stay zeros */
    err_t e = open_handles(w);
    if (e) {
        free(w->private);
        free(w);
        return e;
    }
    timers_init(&w->timers, w, all->limits.by_hand ? NULL : &w->private->timer);
    w->tasks = task_pool_new(w, all->limits.tasks, all->limits.stack);
    uv_sem_init(&w->private->started, 0);
    all->at[index] = w;
    return OK;
}

static err_t start_thread(struct worker *w) {
    int code = pthread_create(&w->private->thread, NULL, worker_main, w);
    if (code)
        return err_errno(code, "starting a worker thread");
    w->private->has_thread = true;
    return OK;
}

static void no_work(uv_work_t *work) {
    (void)work;
}

/* Threads inherit the mask: only the thread that calls workers_start handles signals.
 * Those that a fault raises stay, or sanitizers could not report. */
static void block_signals(sigset_t *out_before) {
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
    sigset_t most;
    sigfillset(&most);
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        sigdelset(&most, faults[i]);
    pthread_sigmask(SIG_BLOCK, &most, out_before);
}

static err_t start_threads(struct workers *all) {
    uv_queue_work(&workers_control(all)->loop, &all->first_work, no_work, NULL);
    for (unsigned i = 0; i < all->count; i++)
        TRY(start_thread(all->at[i]));
    for (unsigned i = 0; i < all->count; i++) {
        struct worker_private *own = all->at[i]->private;
        uv_sem_wait(&own->started);
        if (own->failed)
            return err_again(&own->error);
    }
    return OK;
}

static err_t start_by_hand(struct workers *all) {
    for (unsigned i = 0; i < all->count; i++)
        TRY(start_hook(all->at[i]));
    worker_of_thread = workers_control(all);
    return OK;
}

static struct worker_limits limits_of(struct worker_limits asked, unsigned n) {
    return (struct worker_limits){
        .mail_bytes = asked.mail_bytes ? asked.mail_bytes : MAIL_BYTES,
        .tasks = asked.tasks ? asked.tasks : TASKS_IN_ALL / (n + 1),
        .stack = asked.stack ? asked.stack : STACK_SIZE,
        .by_hand = asked.by_hand,
    };
}

static err_t start(struct workers *all) {
    for (unsigned i = 0; i <= all->count; i++)
        TRY(worker_new(all, i));
    TRY(start_hook(workers_control(all)));
    if (all->limits.by_hand)
        return start_by_hand(all);
    sigset_t before;
    block_signals(&before);
    err_t e = start_threads(all);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

err_t workers_start(unsigned n, struct worker_limits limits, struct worker_hooks hooks,
                    struct workers **out) {
    struct workers *all = NEW(struct workers);
    all->count = n;
    all->hooks = hooks;
    all->limits = limits_of(limits, n);
    all->at = NEW_ARRAY(struct worker *, n + 1);
    err_t e = start(all);
    if (e) {
        const struct err first = *e;
        workers_free(all);
        return err_again(&first);
    }
    *out = all;
    return OK;
}

struct worker *workers_control(struct workers *all) {
    return all->at[all->count];
}

struct worker *workers_at(struct workers *all, unsigned index) {
    assert(index <= all->count);
    return all->at[index];
}

unsigned workers_count(const struct workers *all) {
    return all->count;
}

void worker_turn(struct worker *w) {
    assert(w->all->limits.by_hand);
    worker_of_thread = w;
    timers_advance(&w->timers, worker_tick(w));
    worker_run_ready(w);
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

/* ---- the control worker's run ------------------------------------------------------ */

void workers_run(struct workers *all) {
    struct worker *control = workers_control(all);
    assert(worker_here() == control && !all->ran);
    run_to_end(control);
    for (unsigned i = 0; i < all->count; i++)
        if (all->at[i]->private->has_thread)
            pthread_join(all->at[i]->private->thread, NULL);
    all->ran = true;
}

static void worker_free(struct worker *w) {
    if (!w)
        return;
    uv_sem_destroy(&w->private->started);
    free(w->private);
    free(w);
}

/* Workers that have no thread (by hand, after a failed start) are run to their end here. */
static void end_unstarted(struct workers *all) {
    for (unsigned i = 0; i < all->count; i++) {
        struct worker *w = all->at[i];
        if (!w || w->private->has_thread)
            continue;
        worker_of_thread = w;
        run_to_end(w);
        if (workers_control(all))
            worker_post(workers_control(all), &w->private->ended);
    }
    worker_of_thread = workers_control(all);
}

void workers_free(struct workers *all) {
    if (!all)
        return;
    if (!all->ran) {
        workers_stop(all);
        end_unstarted(all);
        if (workers_control(all))
            workers_run(all);
    }
    worker_of_thread = NULL;
    for (unsigned i = 0; i <= all->count; i++)
        worker_free(all->at[i]);
    free(all->at);
    free(all);
}
