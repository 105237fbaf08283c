#include "fixture.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct seen {
    atomic_uint started, stopped, tasks_cancelled, closed;
    unsigned refuses; /* index of the worker whose on_start fails; UINT_MAX: none */
    bool with_handle, with_task;
    atomic_bool signals_open, here_wrong;
    bool control_last;
};

static void waits_for_ever(struct task *t, void *arg) {
    struct seen *seen = arg;
    struct event never = { 0 };
    err_t e = event_wait(t, &never);
    if (!e || e->kind != ERR_CANCELLED)
        return;
    SCOPED(shield_scope) struct shield s = task_shield(t, 10 * NANOS_SEC);
    if (!task_sleep(t, NANOS_MS)) /* cleanup may wait while the worker stops */
        seen->tasks_cancelled++;
}

static err_t on_start(struct worker *w, void *arg) {
    struct seen *seen = arg;
    seen->started++;
    if (worker_here() != w)
        seen->here_wrong = true;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (!w->control && (!sigismember(&mask, SIGTERM) || !sigismember(&mask, SIGHUP) ||
                        sigismember(&mask, SIGSEGV)))
        seen->signals_open = true;
    if (w->index == seen->refuses)
        return ERR(CONFLICT, "worker %u does not like it", w->index);
    if (seen->with_task)
        task_spawn(w, waits_for_ever, seen);
    if (seen->with_handle) {
        uv_timer_t *timer = NEW(uv_timer_t);
        uv_timer_init(&w->loop, timer);
        timer->data = seen;
        w->slots[WORKER_TEST] = timer;
    }
    return OK;
}

static void on_closed(uv_handle_t *handle) {
    ((struct seen *)handle->data)->closed++;
    free(handle);
}

static void on_stop(struct worker *w, void *arg) {
    struct seen *seen = arg;
    if (w->control)
        seen->control_last = seen->stopped == workers_count(w->all);
    seen->stopped++;
    if (w->slots[WORKER_TEST])
        uv_close(w->slots[WORKER_TEST], on_closed);
}

static struct worker_hooks hooks(struct seen *seen) {
    return (struct worker_hooks){ on_start, on_stop, seen };
}

static void stops_everything_and_the_control_worker_last(void **state) {
    struct seen seen = { .refuses = UINT_MAX, .with_handle = true, .with_task = true };
    struct workers *all = NULL;
    assert_null(workers_start(3, (struct worker_limits){ 0 }, hooks(&seen), &all));
    assert_int_equal(seen.started, 4);
    assert_int_equal(workers_count(all), 3);
    assert_ptr_equal(workers_control(all), workers_at(all, 3));
    workers_stop(all);
    workers_stop(all);
    workers_run(all);
    assert_int_equal(seen.stopped, 4);
    assert_int_equal(seen.closed, 4);
    assert_int_equal(seen.tasks_cancelled, 4);
    assert_true(seen.control_last);
    assert_false(seen.here_wrong);
    struct mail m = { 0 };
    assert_false(worker_post(workers_at(all, 0), &m));
    assert_false(worker_post(workers_control(all), &m));
    workers_free(all);
    assert_null(worker_here());
}

static void threads_are_started_with_signals_blocked(void **state) {
    struct seen seen = { .refuses = UINT_MAX };
    struct workers *all = NULL;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_null(workers_start(2, (struct worker_limits){ 0 }, hooks(&seen), &all));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_false(seen.signals_open);
    assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    workers_free(all); /* without workers_run: stops by itself */
    assert_int_equal(seen.stopped, 3);
}

static void a_failing_start_undoes_the_others(void **state) {
    for (unsigned refuses = 0; refuses <= 3; refuses++) {
        struct seen seen = { .refuses = refuses, .with_handle = true, .with_task = true };
        struct workers *all = NULL;
        err_t e = workers_start(3, (struct worker_limits){ 0 }, hooks(&seen), &all);
        assert_int_equal(kind_of(e), ERR_CONFLICT);
        assert_non_null(strstr(e->text, "does not like it"));
        assert_null(all);
        assert_int_equal(seen.stopped, seen.started - 1);
        assert_int_equal(seen.closed, seen.started - 1);
        assert_int_equal(seen.started, refuses == 3 ? 1 : 4); /* the control worker is first */
    }
}

static void counts(struct task *t, void *arg) {
    atomic_uint *ended = arg;
    ended[0]++;
    if (task_cancelled(t))
        ended[1]++;
}

static void spawn_by_mail(struct worker *w, struct mail *m) {
    task_spawn(w, counts, w->slots[WORKER_TEST]);
    free(m);
}

static void mail_of_the_last_moment_may_start_tasks(void **state) {
    struct workers *all = NULL;
    atomic_uint ended[2] = { 0 };
    assert_null(workers_start(0, (struct worker_limits){ 0 }, (struct worker_hooks){ 0 }, &all));
    struct worker *w = workers_control(all);
    w->slots[WORKER_TEST] = ended;
    struct mail *m = NEW(struct mail);
    m->deliver = spawn_by_mail;
    workers_stop(all);
    assert_true(worker_post(w, m));
    workers_run(all);
    assert_int_equal(ended[0], 1);
    assert_int_equal(ended[1], 1); /* born cancelled */
    workers_free(all);
}

static void *stops(void *arg) {
    workers_stop(arg);
    return NULL;
}

static void any_thread_may_stop_the_workers(void **state) {
    for (int i = 0; i < 20; i++) {
        struct workers *all = NULL;
        pthread_t threads[2];
        assert_null(
            workers_start(2, (struct worker_limits){ 0 }, (struct worker_hooks){ 0 }, &all));
        for (int k = 0; k < 2; k++)
            assert_int_equal(pthread_create(&threads[k], NULL, stops, all), 0);
        workers_run(all);
        for (int k = 0; k < 2; k++)
            pthread_join(threads[k], NULL);
        workers_free(all);
    }
}

static void the_clock_is_read_again_after_the_loop_slept(void **state) {
    struct worker *w = still_worker(0);
    const nanos before = w->now;
    assert_int_equal(worker_now(w), before); /* one reading for the whole turn */
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_true(w->stale);
    assert_true(worker_now(w) > before);
    assert_false(w->stale);
    still_end(w);
}

static void count_mail(struct worker *w, struct mail *m) {
    *(unsigned *)w->slots[WORKER_TEST] += 1;
}

static void count_ticks(struct worker *w, struct timer *t) {
    *(unsigned *)w->slots[WORKER_TEST] += 100;
}

static void a_worker_by_hand_does_nothing_before_its_turn(void **state) {
    struct workers *all = NULL;
    struct worker_limits limits = { .by_hand = true };
    unsigned seen[2] = { 0 };
    struct mail mail = { .deliver = count_mail };
    struct timer timer = { .fire = count_ticks };
    assert_null(workers_start(2, limits, (struct worker_hooks){ 0 }, &all));
    for (unsigned i = 0; i < 2; i++)
        workers_at(all, i)->slots[WORKER_TEST] = &seen[i];
    assert_true(worker_post(workers_at(all, 1), &mail));
    timer_set(workers_at(all, 1), &timer, workers_at(all, 1)->now - NANOS_SEC);
    worker_turn(workers_at(all, 0));
    assert_ptr_equal(worker_here(), workers_at(all, 0));
    assert_int_equal(seen[1], 0);
    worker_turn(workers_at(all, 1));
    assert_int_equal(seen[1] % 100, 1);
    while (timer_is_set(&timer)) /* until its tick of a millisecond is over */
        worker_turn(workers_at(all, 1));
    assert_int_equal(seen[1], 101);
    assert_int_equal(seen[0], 0);
    workers_free(all);
}

static void random_numbers_differ_between_workers(void **state) {
    struct workers *all = NULL;
    assert_null(workers_start(1, (struct worker_limits){ 0 }, (struct worker_hooks){ 0 }, &all));
    uint64_t a = worker_random(workers_control(all)), b = worker_random(workers_control(all));
    assert_true(a != b);
    assert_true(memcmp(workers_at(all, 0)->rng, workers_at(all, 1)->rng, 16) != 0);
    workers_free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_everything_and_the_control_worker_last),
        cmocka_unit_test(threads_are_started_with_signals_blocked),
        cmocka_unit_test(a_failing_start_undoes_the_others),
        cmocka_unit_test(mail_of_the_last_moment_may_start_tasks),
        cmocka_unit_test(any_thread_may_stop_the_workers),
        cmocka_unit_test(the_clock_is_read_again_after_the_loop_slept),
        cmocka_unit_test(a_worker_by_hand_does_nothing_before_its_turn),
        cmocka_unit_test(random_numbers_differ_between_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
