#include "fixture.h"

struct part {
    struct event *gate; /* waited for; NULL: ends at once */
    enum err_kind kind;
    bool fails;
    int kind_of_wait;
    bool ended;
};

static err_t part_main(struct task *t, void *arg) {
    struct part *p = arg;
    err_t e = p->gate ? event_wait(t, p->gate) : OK;
    p->kind_of_wait = kind_of(e);
    p->ended = true;
    TRY(e);
    return p->fails ? err_new(p->kind, "part failed") : OK;
}

struct family {
    struct part part[3];
    bool collect, scope_only;
    nanos deadline;
    int kind;
    struct err error;
    bool ended;
};

static err_t family_run(struct task *t, struct family *f) {
    SCOPED(task_group_scope) struct task_group g;
    task_group_init(&g, t);
    g.collect = f->collect;
    for (size_t i = 0; i < 3; i++)
        TRY(task_group_start(&g, part_main, &f->part[i]));
    if (f->scope_only)
        return ERR(INTERNAL, "left early");
    return task_group_wait(&g);
}

static void family_main(struct task *t, void *arg) {
    struct family *f = arg;
    SCOPED(deadline_scope) struct deadline d = { 0 };
    if (f->deadline)
        d = deadline_push(t, f->deadline);
    err_t e = family_run(t, f);
    f->kind = kind_of(e);
    if (e)
        f->error = *e;
    f->ended = true;
}

static struct task *start(struct worker *w, struct family *f) {
    struct task *t = task_spawn(w, family_main, f);
    worker_run_ready(w);
    return t;
}

static void waits_for_all(void **state) {
    struct worker *w = still_worker(0);
    struct event gate[2] = { 0 };
    struct family f = { .part = { { .gate = &gate[0] }, { .gate = NULL }, { .gate = &gate[1] } } };
    start(w, &f);
    event_set(&gate[1]);
    worker_run_ready(w);
    assert_false(f.ended);
    event_set(&gate[0]);
    worker_run_ready(w);
    assert_true(f.ended);
    assert_int_equal(f.kind, KIND_OK);
    still_end(w);
}

static void the_first_error_cancels_the_others_and_is_returned(void **state) {
    struct worker *w = still_worker(0);
    struct event gate[3] = { 0 };
    struct family f = { .part = { { .gate = &gate[0] },
                                  { .gate = &gate[1], .fails = true, .kind = ERR_CONFLICT },
                                  { .gate = &gate[2] } } };
    start(w, &f);
    event_set(&gate[1]);
    worker_run_ready(w);
    assert_true(f.ended);
    assert_int_equal(f.kind, ERR_CONFLICT);
    assert_string_equal(f.error.text, "part failed");
    assert_int_equal(f.part[0].kind_of_wait, ERR_CANCELLED);
    assert_int_equal(f.part[2].kind_of_wait, ERR_CANCELLED);
    still_end(w);
}

static void collecting_lets_the_others_go_on(void **state) {
    struct worker *w = still_worker(0);
    struct event gate = { 0 };
    struct family f = { .collect = true,
                        .part = { { .fails = true, .kind = ERR_DENIED },
                                  { .gate = &gate },
                                  { .fails = true, .kind = ERR_CONFLICT } } };
    start(w, &f);
    assert_false(f.ended);
    event_set(&gate);
    worker_run_ready(w);
    assert_int_equal(f.part[1].kind_of_wait, KIND_OK);
    assert_int_equal(f.kind, ERR_DENIED);
    still_end(w);
}

static void cancelling_the_owner_cancels_the_members_and_waits_for_them(void **state) {
    struct worker *w = still_worker(0);
    struct event gate[3] = { 0 };
    struct family f = { .part = {
                            { .gate = &gate[0] }, { .gate = &gate[1] }, { .gate = &gate[2] } } };
    task_cancel(start(w, &f));
    worker_run_ready(w);
    assert_true(f.ended);
    assert_int_equal(f.kind, ERR_CANCELLED);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(f.part[i].kind_of_wait, ERR_CANCELLED);
    still_end(w);
}

static void members_have_the_owners_deadline(void **state) {
    struct worker *w = still_worker(0);
    struct event gate = { 0 };
    struct family f = { .deadline = 10 * NANOS_MS, .part = { { .gate = &gate } } };
    start(w, &f);
    assert_false(f.ended);
    pass_time(w, 12 * NANOS_MS);
    assert_true(f.ended);
    assert_int_equal(f.kind, ERR_TIMEOUT);
    assert_int_equal(f.part[0].kind_of_wait, ERR_TIMEOUT);
    still_end(w);
}

static void leaving_the_scope_ends_the_members_first(void **state) {
    struct worker *w = still_worker(0);
    struct event gate = { 0 };
    struct family f = { .scope_only = true, .part = { { .gate = &gate } } };
    start(w, &f);
    assert_true(f.ended);
    assert_int_equal(f.kind, ERR_INTERNAL);
    for (size_t i = 0; i < 3; i++)
        assert_true(f.part[i].ended);
    assert_int_equal(f.part[0].kind_of_wait, ERR_CANCELLED);
    still_end(w);
}

static void a_member_that_cannot_start_fails_the_group(void **state) {
    struct worker *w = still_worker(3); /* the owner and two members */
    struct event gate[3] = { 0 };
    struct family f = { .part = {
                            { .gate = &gate[0] }, { .gate = &gate[1] }, { .gate = &gate[2] } } };
    start(w, &f);
    assert_true(f.ended);
    assert_int_equal(f.kind, ERR_UNAVAILABLE);
    assert_int_equal(f.part[0].kind_of_wait, ERR_CANCELLED);
    assert_false(f.part[2].ended);
    assert_int_equal(task_stats(w).running, 0);
    still_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_all),
        cmocka_unit_test(the_first_error_cancels_the_others_and_is_returned),
        cmocka_unit_test(collecting_lets_the_others_go_on),
        cmocka_unit_test(cancelling_the_owner_cancels_the_members_and_waits_for_them),
        cmocka_unit_test(members_have_the_owners_deadline),
        cmocka_unit_test(leaving_the_scope_ends_the_members_first),
        cmocka_unit_test(a_member_that_cannot_start_fails_the_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
