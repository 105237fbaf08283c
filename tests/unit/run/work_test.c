#include "fixture.h"
#include <alloca.h>
#include <pthread.h>
#include <semaphore.h>

/* ---- the blocking pool ------------------------------------------------------------- */

static volatile size_t much = 1 << 20; /* the pool has big stacks */

struct job {
    pthread_t caller, ran_on;
    sem_t go;           /* the pool thread waits for it before it polls */
    bool fails, polls, saw_cancel;
    int kind;
    struct err error;
    nanos deadline;
    struct event done;
};

static err_t work(void *arg, const bool *cancelled) {
    struct job *j = arg;
    const size_t n = much;
    char *big = alloca(n);
    memset(big, 1, n);
    j->ran_on = pthread_self();
    while (j->polls && !work_cancelled(cancelled))
        sched_yield();
    j->saw_cancel = work_cancelled(cancelled);
    return j->fails ? ERR(CONFLICT, "the work failed %d", big[1000]) : OK;
}

static void run_job(struct task *t, void *arg) {
    struct job *j = arg;
    SCOPED(deadline_scope) struct deadline d = { 0 };
    if (j->deadline)
        d = deadline_push(t, j->deadline);
    j->caller = pthread_self();
    err_t e = work_run(t, work, j);
    j->kind = kind_of(e);
    if (e)
        j->error = *e;
    event_set(&j->done);
}

static void work_runs_on_another_thread(void **state) {
    struct job j = { 0 };
    run_script(0, run_job, &j);
    assert_int_equal(j.kind, KIND_OK);
    assert_false(pthread_equal(j.caller, j.ran_on));
}

static void an_error_of_work_comes_back_with_its_text(void **state) {
    struct job j = { .fails = true };
    run_script(0, run_job, &j);
    assert_int_equal(j.kind, ERR_CONFLICT);
    assert_string_equal(j.error.text, "the work failed 1");
}

static void cancels_a_job(struct task *t, void *arg) {
    struct job *j = arg;
    struct task *runner = task_spawn(task_worker(t), run_job, j);
    task_yield(t);
    task_cancel(runner);
    assert_null(event_wait(t, &j->done));
}

static void work_sees_cancellation_and_is_waited_for(void **state) {
    struct job j = { .polls = true, .fails = true };
    run_script(0, cancels_a_job, &j);
    assert_true(j.saw_cancel || j.kind == ERR_CANCELLED); /* the latter: never started */
}

static void work_sees_the_deadline(void **state) {
    struct job j = { .polls = true, .deadline = 2 * NANOS_MS };
    run_script(0, run_job, &j);
    assert_true(j.saw_cancel || j.kind == ERR_TIMEOUT);
}

/* Fills the pool, so that one more job is still queued when it is cancelled. */
#define POOL 4

static err_t waits_for_go(void *arg, const bool *cancelled) {
    struct job *j = arg;
    sem_wait(&j->go);
    return OK;
}

static void occupies(struct task *t, void *arg) {
    struct job *j = arg;
    j->kind = kind_of(work_run(t, waits_for_go, j));
    event_set(&j->done);
}

static void cancels_queued_work(struct task *t, void *arg) {
    struct job *busy = arg, *queued = &busy[POOL];
    for (int i = 0; i < POOL; i++)
        task_spawn(task_worker(t), occupies, &busy[i]);
    task_yield(t);
    struct task *runner = task_spawn(task_worker(t), run_job, queued);
    task_yield(t);
    task_cancel(runner);
    assert_null(event_wait(t, &queued->done)); /* while all threads are taken */
    for (int i = 0; i < POOL; i++)
        sem_post(&busy[i].go);
    for (int i = 0; i < POOL; i++)
        assert_null(event_wait(t, &busy[i].done));
}

static void work_that_has_not_started_is_taken_back(void **state) {
    struct job jobs[POOL + 1] = { 0 };
    jobs[POOL].kind = 1000;
    for (int i = 0; i < POOL; i++)
        sem_init(&jobs[i].go, 0, 0);
    run_script(0, cancels_queued_work, jobs);
    assert_int_equal(jobs[POOL].kind, ERR_CANCELLED);
    for (int i = 0; i < POOL; i++)
        assert_int_equal(jobs[i].kind, KIND_OK);
}

/* ---- other workers ----------------------------------------------------------------- */

struct errand {
    struct worker *to;
    struct event never;
    bool waits, fails, ran;
    unsigned ran_on;
    int kind_there, kind;
    nanos deadline, deadline_there;
    struct event done;
};

static err_t there(struct task *t, void *arg) {
    struct errand *x = arg;
    x->ran_on = task_worker(t)->index;
    x->deadline_there = task_deadline(t);
    __atomic_store_n(&x->ran, true, __ATOMIC_RELAXED);
    if (x->waits) {
        err_t e = event_wait(t, &x->never);
        x->kind_there = kind_of(e);
        TRY_WRAP(e, "over there");
    }
    return x->fails ? ERR(NOT_FOUND, "not there") : OK;
}

static void goes(struct task *t, void *arg) {
    struct errand *x = arg;
    SCOPED(deadline_scope) struct deadline d = { 0 };
    if (x->deadline)
        d = deadline_push(t, x->deadline);
    if (!x->to)
        x->to = workers_at(task_worker(t)->all, 1);
    x->kind = kind_of(task_on(t, x->to, there, x));
    event_set(&x->done);
}

static void a_task_runs_on_another_worker(void **state) {
    struct errand x = { 0 };
    run_script(2, goes, &x);
    assert_int_equal(x.ran_on, 1);
    assert_int_equal(x.kind, KIND_OK);
    x = (struct errand){ .fails = true };
    run_script(2, goes, &x);
    assert_int_equal(x.kind, ERR_NOT_FOUND);
}

static void goes_home(struct task *t, void *arg) {
    struct errand *x = arg;
    x->to = task_worker(t);
    goes(t, x);
}

static void on_the_own_worker_it_is_a_call(void **state) {
    struct errand x = { .fails = true };
    run_script(1, goes_home, &x);
    assert_int_equal(x.ran_on, 1); /* the control worker */
    assert_int_equal(x.kind, ERR_NOT_FOUND);
}

static void the_deadline_goes_along(void **state) {
    struct errand x = { .waits = true, .deadline = 3 * NANOS_MS };
    run_script(2, goes, &x);
    assert_true(x.kind == ERR_TIMEOUT || x.kind == ERR_CANCELLED); /* whichever came first */
    assert_true(x.deadline_there != NANOS_NEVER);
}

static void cancels_an_errand(struct task *t, void *arg) {
    struct errand *x = arg;
    struct task *runner = task_spawn(task_worker(t), goes, x);
    while (!__atomic_load_n(&x->ran, __ATOMIC_RELAXED))
        task_yield(t);
    task_cancel(runner);
    assert_null(event_wait(t, &x->done));
}

static void cancellation_reaches_the_other_worker(void **state) {
    struct errand x = { .waits = true };
    run_script(2, cancels_an_errand, &x);
    assert_int_equal(x.kind_there, ERR_CANCELLED);
    assert_int_equal(x.kind, ERR_CANCELLED);
}

/* Many short errands, some cancelled at a random moment: nothing may hang or be touched late. */
#define RUNNERS 50
#define ROUNDS 40

struct crowd {
    struct event done;
    unsigned running, odd;
};

static err_t short_errand(struct task *t, void *arg) {
    for (unsigned i = 0; i < (uintptr_t)arg % 4; i++)
        TRY(task_yield(t));
    return OK;
}

static void runner(struct task *t, void *arg) {
    struct crowd *crowd = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct worker *w = task_worker(t);
        struct worker *to = workers_at(w->all, (unsigned)(worker_random(w) % 3));
        err_t e = task_on(t, to, short_errand, (void *)(uintptr_t)i);
        if (e && e->kind != ERR_CANCELLED)
            crowd->odd++;
    }
    if (--crowd->running == 0)
        event_set(&crowd->done);
}

static void crowd_main(struct task *t, void *arg) {
    struct crowd *crowd = arg;
    struct task *runners[RUNNERS];
    crowd->running = RUNNERS;
    for (unsigned i = 0; i < RUNNERS; i++)
        runners[i] = task_spawn(task_worker(t), runner, crowd);
    for (unsigned i = 0; i < RUNNERS / 2 && crowd->running == RUNNERS; i++) {
        task_yield(t);
        if (crowd->running == RUNNERS) /* none has ended: the pointers are valid */
            task_cancel(runners[i]);
    }
    assert_null(event_wait(t, &crowd->done));
}

static void errands_and_cancellations_cross_safely(void **state) {
    struct crowd crowd = { 0 };
    run_script(2, crowd_main, &crowd);
    assert_int_equal(crowd.running, 0);
    assert_int_equal(crowd.odd, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_runs_on_another_thread),
        cmocka_unit_test(an_error_of_work_comes_back_with_its_text),
        cmocka_unit_test(work_sees_cancellation_and_is_waited_for),
        cmocka_unit_test(work_sees_the_deadline),
        cmocka_unit_test(work_that_has_not_started_is_taken_back),
        cmocka_unit_test(a_task_runs_on_another_worker),
        cmocka_unit_test(on_the_own_worker_it_is_a_call),
        cmocka_unit_test(the_deadline_goes_along),
        cmocka_unit_test(cancellation_reaches_the_other_worker),
        cmocka_unit_test(errands_and_cancellations_cross_safely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
