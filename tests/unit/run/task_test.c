#include "base/buf.h"
#include "fixture.h"
#include "run/private.h"

/* What happened, in order, as text. */
static struct buf diary;

static void note(const char *text) {
    buf_put(&diary, text, strlen(text));
}

static int fresh_diary(void **state) {
    buf_clear(&diary);
    return 0;
}

static int drop_diary(void **state) {
    buf_done(&diary);
    return 0;
}

#define assert_diary(text) assert_string_equal(buf_text(&diary), text)

static void write_name(struct task *t, void *arg) {
    note(arg);
}

static void tasks_start_in_the_order_of_spawning(void **state) {
    struct worker *w = still_worker(0);
    task_spawn(w, write_name, "a");
    task_spawn(w, write_name, "b");
    task_spawn(w, write_name, "c");
    assert_diary("");
    worker_run_ready(w);
    assert_diary("abc");
    assert_int_equal(task_stats(w).running, 0);
    assert_int_equal(task_stats(w).peak, 3);
    still_end(w);
}

static void a_stack_is_used_again(void **state) {
    struct worker *w = still_worker(0);
    for (int i = 0; i < 1000; i++) {
        task_spawn(w, write_name, "");
        worker_run_ready(w);
    }
    assert_int_equal(task_stats(w).stacks, 1);
    still_end(w);
}

static void spawns_another(struct task *t, void *arg) {
    note("outer(");
    task_spawn(task_worker(t), write_name, "inner");
    worker_run_ready(task_worker(t)); /* inside a task: does nothing */
    note(")");
}

static void a_task_never_runs_inside_another(void **state) {
    struct worker *w = still_worker(0);
    task_spawn(w, spawns_another, NULL);
    worker_run_ready(w);
    assert_diary("outer()inner");
    still_end(w);
}

struct waiting {
    struct event event;
    struct task *task;
    nanos deadline; /* 0: none */
    int kind;       /* of the first wait */
    bool ended;
};

static void waits_once(struct task *t, void *arg) {
    struct waiting *x = arg;
    SCOPED(deadline_scope) struct deadline d = { 0 };
    if (x->deadline)
        d = deadline_push(t, x->deadline);
    x->kind = kind_of(event_wait(t, &x->event));
    x->ended = true;
}

static void start_waiting(struct worker *w, struct waiting *x) {
    x->kind = 1000;
    x->task = task_spawn(w, waits_once, x);
    worker_run_ready(w);
    assert_false(x->ended);
}

static void a_wait_ends_when_the_event_is_set(void **state) {
    struct worker *w = still_worker(0);
    struct waiting x = { 0 };
    start_waiting(w, &x);
    event_set(&x.event);
    assert_false(x.ended); /* only queued */
    worker_run_ready(w);
    assert_true(x.ended);
    assert_int_equal(x.kind, KIND_OK);
    assert_false(x.event.set); /* consumed */
    still_end(w);
}

static void an_event_set_before_the_wait_is_kept(void **state) {
    struct worker *w = still_worker(0);
    struct waiting x = { 0 };
    event_set(&x.event);
    event_set(&x.event);
    x.task = task_spawn(w, waits_once, &x);
    worker_run_ready(w);
    assert_true(x.ended);
    assert_int_equal(x.kind, KIND_OK);
    assert_false(x.event.set);
    still_end(w);
}

static void a_wait_ends_at_its_deadline(void **state) {
    struct worker *w = still_worker(0);
    struct waiting x = { .deadline = 50 * NANOS_MS };
    start_waiting(w, &x);
    pass_time(w, 49 * NANOS_MS);
    assert_false(x.ended);
    pass_time(w, 3 * NANOS_MS);
    assert_true(x.ended);
    assert_int_equal(x.kind, ERR_TIMEOUT);
    assert_null(x.event.waiter);
    assert_int_equal(w->timers.count, 0);
    still_end(w);
}

static void the_timer_of_a_finished_task_is_gone(void **state) {
    struct worker *w = still_worker(0);
    struct waiting x = { .deadline = 50 * NANOS_MS };
    start_waiting(w, &x);
    event_set(&x.event);
    worker_run_ready(w);
    assert_int_equal(x.kind, KIND_OK);
    assert_int_equal(w->timers.count, 0);
    still_end(w);
}

static void nests_deadlines(struct task *t, void *arg) {
    struct event never = { 0 };
    struct deadline outer = deadline_push(t, 100 * NANOS_MS);
    const nanos at = task_deadline(t);
    struct deadline longer = deadline_push(t, 500 * NANOS_MS);
    note(task_deadline(t) == at ? "outer holds;" : "longer holds;");
    deadline_pop(&longer);
    struct deadline shorter = deadline_push(t, 10 * NANOS_MS);
    note(kind_of(event_wait(t, &never)) == ERR_TIMEOUT ? "shorter timed out;" : "?");
    note(kind_of(event_wait(t, &never)) == ERR_TIMEOUT ? "again;" : "?");
    deadline_pop(&shorter);
    note(task_deadline(t) == at ? "outer is back;" : "lost;");
    note(kind_of(event_wait(t, &never)) == ERR_TIMEOUT ? "outer timed out;" : "?");
    deadline_pop(&outer);
    note(task_deadline(t) == NANOS_NEVER ? "none;" : "some;");
    note(kind_of(event_wait(t, &never)) == ERR_CANCELLED ? "cancelled" : "?");
}

static void the_earliest_deadline_holds(void **state) {
    struct worker *w = still_worker(0);
    struct task *t = task_spawn(w, nests_deadlines, NULL);
    worker_run_ready(w);
    assert_diary("outer holds;");
    pass_time(w, 12 * NANOS_MS);
    assert_diary("outer holds;shorter timed out;again;outer is back;");
    pass_time(w, 80 * NANOS_MS);
    assert_diary("outer holds;shorter timed out;again;outer is back;");
    pass_time(w, 10 * NANOS_MS);
    assert_diary("outer holds;shorter timed out;again;outer is back;outer timed out;none;");
    pass_time(w, 1000 * NANOS_SEC);
    task_cancel(t);
    worker_run_ready(w);
    assert_diary(
        "outer holds;shorter timed out;again;outer is back;outer timed out;none;cancelled");
    still_end(w);
}

static void longer_second_wait(struct task *t, void *arg) {
    struct event *e = arg;
    struct deadline d = deadline_push(t, 10 * NANOS_MS);
    note(event_wait(t, e) ? "?" : "first;");
    deadline_pop(&d);
    d = deadline_push(t, 100 * NANOS_MS);
    note(kind_of(event_wait(t, e)) == ERR_TIMEOUT ? "second" : "?");
    deadline_pop(&d);
}

static void a_timer_left_from_an_earlier_wait_does_not_end_a_later_one(void **state) {
    struct worker *w = still_worker(0);
    struct event e = { 0 };
    task_spawn(w, longer_second_wait, &e);
    worker_run_ready(w);
    event_set(&e);
    worker_run_ready(w);
    assert_diary("first;");
    pass_time(w, 50 * NANOS_MS);
    assert_diary("first;");
    pass_time(w, 53 * NANOS_MS);
    assert_diary("first;second");
    still_end(w);
}

static void cancelling_ends_the_present_wait(void **state) {
    struct worker *w = still_worker(0);
    struct waiting x = { 0 };
    start_waiting(w, &x);
    task_cancel(x.task);
    task_cancel(x.task);
    worker_run_ready(w);
    assert_true(x.ended);
    assert_int_equal(x.kind, ERR_CANCELLED);
    event_set(&x.event); /* nobody waits any more */
    assert_true(x.event.set);
    still_end(w);
}

static void cancelling_before_the_wait_ends_it_at_once(void **state) {
    struct worker *w = still_worker(0);
    struct waiting x = { 0 };
    event_set(&x.event); /* cancellation is stronger */
    x.task = task_spawn(w, waits_once, &x);
    task_cancel(x.task);
    worker_run_ready(w);
    assert_true(x.ended);
    assert_int_equal(x.kind, ERR_CANCELLED);
    assert_true(x.event.set);
    still_end(w);
}

static void an_event_that_came_before_the_cancellation_counts(void **state) {
    struct worker *w = still_worker(0);
    struct waiting x = { 0 };
    start_waiting(w, &x);
    event_set(&x.event);
    task_cancel(x.task);
    worker_run_ready(w);
    assert_int_equal(x.kind, KIND_OK);
    still_end(w);
}

static void cleans_up(struct task *t, void *arg) {
    struct event never = { 0 }, *e = arg;
    note(kind_of(event_wait(t, &never)) == ERR_CANCELLED ? "cancelled;" : "?");
    {
        SCOPED(shield_scope) struct shield s = task_shield(t, 100 * NANOS_MS);
        note(event_wait(t, e) ? "?" : "cleaned;");
        note(kind_of(event_wait(t, e)) == ERR_TIMEOUT ? "grace over;" : "?");
    }
    note(task_cancelled(t) ? "still cancelled;" : "?");
    note(kind_of(event_wait(t, e)) == ERR_CANCELLED ? "end" : "?");
}

static void a_shield_lets_cleanup_wait_for_a_while(void **state) {
    struct worker *w = still_worker(0);
    struct event e = { 0 };
    struct task *t = task_spawn(w, cleans_up, &e);
    worker_run_ready(w);
    task_cancel(t);
    worker_run_ready(w);
    assert_diary("cancelled;");
    task_cancel(t); /* no effect under the shield */
    worker_run_ready(w);
    assert_diary("cancelled;");
    event_set(&e);
    worker_run_ready(w);
    assert_diary("cancelled;cleaned;");
    pass_time(w, 103 * NANOS_MS);
    assert_diary("cancelled;cleaned;grace over;still cancelled;end");
    still_end(w);
}

static void shielded_after_timeout(struct task *t, void *arg) {
    struct event never = { 0 };
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, 5 * NANOS_MS);
    note(kind_of(event_wait(t, &never)) == ERR_TIMEOUT ? "timeout;" : "?");
    struct shield outer = task_shield(t, 20 * NANOS_MS);
    const nanos at = task_deadline(t);
    struct shield inner = task_shield(t, 50 * NANOS_SEC);
    note(task_deadline(t) == at ? "the outer grace bounds;" : "?");
    shield_drop(&inner);
    note(task_sleep(t, 10 * NANOS_MS) ? "?" : "slept;");
    shield_drop(&outer);
    note(kind_of(event_wait(t, &never)) == ERR_TIMEOUT ? "timeout" : "?");
}

static void a_shield_counts_after_a_timeout_too(void **state) {
    struct worker *w = still_worker(0);
    task_spawn(w, shielded_after_timeout, NULL);
    worker_run_ready(w);
    pass_time(w, 7 * NANOS_MS);
    assert_diary("timeout;the outer grace bounds;");
    pass_time(w, 12 * NANOS_MS);
    assert_diary("timeout;the outer grace bounds;slept;timeout");
    still_end(w);
}

static void sleeps(struct task *t, void *arg) {
    note(task_sleep(t, 20 * NANOS_MS) ? "?" : "slept;");
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, 10 * NANOS_MS);
    note(kind_of(task_sleep(t, 20 * NANOS_MS)) == ERR_TIMEOUT ? "deadline;" : "?");
}

static void sleeping_ends_ok_unless_the_deadline_is_earlier(void **state) {
    struct worker *w = still_worker(0);
    task_spawn(w, sleeps, NULL);
    worker_run_ready(w);
    pass_time(w, 19 * NANOS_MS);
    assert_diary("");
    pass_time(w, 3 * NANOS_MS);
    assert_diary("slept;");
    pass_time(w, 12 * NANOS_MS);
    assert_diary("slept;deadline;");
    still_end(w);
}

static void refused_beyond_the_limit(void **state) {
    struct worker *w = still_worker(3);
    struct waiting x[3] = { 0 };
    for (int i = 0; i < 3; i++)
        start_waiting(w, &x[i]);
    assert_int_equal(task_stats(w).limit, 3);
    assert_null(task_spawn(w, write_name, "no"));
    struct task *t = NULL;
    assert_int_equal(kind_of(task_start(w, write_name, "no", &t)), ERR_UNAVAILABLE);
    event_set(&x[1].event);
    worker_run_ready(w);
    assert_non_null(task_spawn(w, write_name, "yes"));
    worker_run_ready(w);
    assert_diary("yes");
    event_set(&x[0].event);
    event_set(&x[2].event);
    worker_run_ready(w);
    still_end(w);
}

struct failing {
    struct event event;
    err_t *out;
    const char *text;
};

static void keeps_an_error_while_waiting(struct task *t, void *arg) {
    struct failing *x = arg;
    err_t e = ERR(NOT_FOUND, "%s", x->text);
    event_wait(t, &x->event);
    note(e->text);
    *x->out = e;
}

static void every_task_has_its_own_error_slot(void **state) {
    struct worker *w = still_worker(0);
    err_t of_a = NULL, of_b = NULL;
    struct failing a = { .out = &of_a, .text = "a's;" }, b = { .out = &of_b, .text = "b's;" };
    err_t mine = ERR(INVALID, "the thread's");
    task_spawn(w, keeps_an_error_while_waiting, &a);
    task_spawn(w, keeps_an_error_while_waiting, &b);
    worker_run_ready(w);
    event_set(&a.event);
    event_set(&b.event);
    worker_run_ready(w);
    assert_diary("a's;b's;");
    assert_string_equal(mine->text, "the thread's");
    assert_ptr_not_equal(of_a, of_b);
    still_end(w);
}

static void idle_stacks_are_given_back_bit_by_bit(void **state) {
    struct worker *w = still_worker(0);
    struct waiting *x = NEW_ARRAY(struct waiting, 300);
    for (int i = 0; i < 300; i++)
        start_waiting(w, &x[i]);
    for (int i = 0; i < 300; i++)
        event_set(&x[i].event);
    worker_run_ready(w);
    assert_int_equal(task_stats(w).stacks, 300);
    pass_time(w, 1100 * NANOS_MS);
    assert_in_range(task_stats(w).stacks, 64, 299);
    for (int i = 0; i < 10; i++)
        pass_time(w, 1100 * NANOS_MS);
    assert_int_equal(task_stats(w).stacks, 64);
    assert_int_equal(w->timers.count, 0); /* an idle worker sleeps */
    task_spawn(w, write_name, "on");
    worker_run_ready(w);
    assert_diary("on");
    free(x);
    still_end(w);
}

/* ---- with a turning loop ----------------------------------------------------------- */

static void yields(struct task *t, void *arg) {
    for (int i = 0; i < 3; i++) {
        note(arg);
        task_yield(t);
    }
}

static void two_yielders(struct task *t, void *arg) {
    struct task *a = task_spawn(task_worker(t), yields, "a");
    struct task *b = task_spawn(task_worker(t), yields, "b");
    assert_non_null(a);
    assert_non_null(b);
    for (int i = 0; i < 6; i++)
        task_yield(t);
    task_cancel(t);
    note(kind_of(task_yield(t)) == ERR_CANCELLED ? ";cancelled" : "?");
}

static void yielding_lets_the_others_run(void **state) {
    run_script(0, two_yielders, NULL);
    assert_diary("ababab;cancelled");
}

static void on_closed(uv_handle_t *handle) {
    event_set(handle->data); /* no worker_run_ready: the loop itself must not sleep now */
}

static void waits_for_a_close(struct task *t, void *arg) {
    struct event closed = { 0 };
    uv_timer_t *timer = NEW(uv_timer_t);
    uv_timer_init(&task_worker(t)->loop, timer);
    timer->data = &closed;
    uv_close((uv_handle_t *)timer, on_closed);
    note(event_wait(t, &closed) ? "?" : "closed");
    free(timer);
}

static void an_event_set_by_a_forgetful_callback_is_handled_before_the_loop_sleeps(void **state) {
    run_script(0, waits_for_a_close, NULL);
    assert_diary("closed");
}

/* By the worker's own clock: the real one may have run on before the task came to read it. */
static void sleeps_really(struct task *t, void *arg) {
    const nanos before = task_now(t);
    for (int i = 0; i < 3; i++)
        note(task_sleep(t, 5 * NANOS_MS) ? "?" : "slept;");
    note(task_now(t) - before >= 15 * NANOS_MS ? "long enough" : "too short");
}

static void the_loop_wakes_for_timers(void **state) {
    run_script(0, sleeps_really, NULL);
    assert_diary("slept;slept;slept;long enough");
}

int main(void) {
#define DIARY_TEST(f) cmocka_unit_test_setup_teardown(f, fresh_diary, drop_diary)
    const struct CMUnitTest tests[] = {
        DIARY_TEST(tasks_start_in_the_order_of_spawning),
        DIARY_TEST(a_stack_is_used_again),
        DIARY_TEST(a_task_never_runs_inside_another),
        DIARY_TEST(a_wait_ends_when_the_event_is_set),
        DIARY_TEST(an_event_set_before_the_wait_is_kept),
        DIARY_TEST(a_wait_ends_at_its_deadline),
        DIARY_TEST(the_timer_of_a_finished_task_is_gone),
        DIARY_TEST(the_earliest_deadline_holds),
        DIARY_TEST(a_timer_left_from_an_earlier_wait_does_not_end_a_later_one),
        DIARY_TEST(cancelling_ends_the_present_wait),
        DIARY_TEST(cancelling_before_the_wait_ends_it_at_once),
        DIARY_TEST(an_event_that_came_before_the_cancellation_counts),
        DIARY_TEST(a_shield_lets_cleanup_wait_for_a_while),
        DIARY_TEST(a_shield_counts_after_a_timeout_too),
        DIARY_TEST(sleeping_ends_ok_unless_the_deadline_is_earlier),
        DIARY_TEST(refused_beyond_the_limit),
        DIARY_TEST(every_task_has_its_own_error_slot),
        DIARY_TEST(idle_stacks_are_given_back_bit_by_bit),
        DIARY_TEST(yielding_lets_the_others_run),
        DIARY_TEST(an_event_set_by_a_forgetful_callback_is_handled_before_the_loop_sleeps),
        DIARY_TEST(the_loop_wakes_for_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
