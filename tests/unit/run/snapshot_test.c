#include "fixture.h"
#include "run/snapshot.h"

struct value {
    unsigned number, check; /* check is ~number while it lives */
};

static struct {
    unsigned made, freed; /* freed: written by the control worker only */
    bool freed_elsewhere;
} count;

static struct value *value_new(unsigned number) {
    struct value *v = NEW(struct value);
    *v = (struct value){ number, ~number };
    count.made++;
    return v;
}

static void value_free(void *p) {
    struct value *v = p;
    v->check = 0;
    free(v);
    count.freed++;
    if (worker_here() && !worker_here()->control)
        count.freed_elsewhere = true;
}

static int fresh(void **state) {
    memset(&count, 0, sizeof(count));
    return 0;
}

static void start(unsigned n, struct workers **out_all, struct publication **out_p) {
    assert_null(workers_start(n, (struct worker_limits){ 0 }, (struct worker_hooks){ 0 }, out_all));
    *out_p = publication_new(*out_all, value_free);
}

static void end(struct workers *all, struct publication *p) {
    workers_stop(all);
    workers_run(all);
    publication_free(p);
    workers_free(all);
    assert_int_equal(count.freed, count.made);
    assert_false(count.freed_elsewhere);
}

static void nothing_before_the_first_publication(void **state) {
    struct workers *all;
    struct publication *p;
    start(0, &all, &p);
    void *value = &all;
    assert_null(snapshot_pin(workers_control(all), p, &value));
    assert_null(value);
    assert_null(snapshot_peek(workers_control(all), p));
    assert_int_equal(snapshot_generation(workers_control(all), p), 0);
    end(all, p);
}

static void a_pinned_value_outlives_newer_ones(void **state) {
    struct workers *all;
    struct publication *p;
    start(0, &all, &p);
    struct worker *w = workers_control(all);
    void *value = NULL, *newer = NULL;
    publication_set(NULL, p, value_new(1));
    struct pin *pin = snapshot_pin(w, p, &value);
    publication_set(NULL, p, value_new(2));
    publication_set(NULL, p, value_new(3));
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(count.freed, 1); /* 2: nobody holds it */
    assert_int_equal(((struct value *)value)->number, 1);
    assert_int_equal(((struct value *)snapshot_peek(w, p))->number, 3);
    assert_int_equal(snapshot_generation(w, p), 3);
    struct pin *second = snapshot_pin(w, p, &newer);
    assert_ptr_not_equal(newer, value);
    snapshot_unpin(w, second);
    snapshot_unpin(w, pin);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(count.freed, 2);
    end(all, p);
}

/* ---- with other workers ------------------------------------------------------------ */

struct stage {
    struct publication *p;
    unsigned rounds, bad;
    int kind;
};

struct question {
    struct publication *p;
    unsigned number;
};

static err_t number_there(struct task *t, void *arg) {
    struct question *q = arg;
    const struct value *v = snapshot_peek(task_worker(t), q->p);
    q->number = v ? v->number : 0;
    return OK;
}

static void publishes_and_looks(struct task *t, void *arg) {
    struct stage *s = arg;
    for (unsigned i = 1; i <= s->rounds; i++) {
        s->kind = kind_of(publication_set(t, s->p, value_new(i)));
        s->bad += count.freed != i - 1; /* all let the one before go, without further mail */
        for (unsigned k = 0; k <= 2; k++) {
            struct question q = { .p = s->p };
            assert_null(task_on(t, workers_at(task_worker(t)->all, k), number_there, &q));
            s->bad += q.number != i;
        }
    }
    workers_stop(task_worker(t)->all);
}

static void run_stage(unsigned n, struct stage *s, task_fn *fn, task_fn *reader) {
    struct workers *all;
    start(n, &all, &s->p);
    task_spawn(workers_control(all), fn, s);
    if (reader)
        task_spawn(workers_control(all), reader, s);
    workers_run(all);
    publication_free(s->p);
    workers_free(all);
    assert_int_equal(count.freed, count.made);
    assert_false(count.freed_elsewhere);
}

static void after_the_acknowledgement_every_worker_has_it(void **state) {
    struct stage s = { .rounds = 50 };
    run_stage(2, &s, publishes_and_looks, NULL);
    assert_int_equal(s.kind, KIND_OK);
    assert_int_equal(s.bad, 0);
}

/* Readers on all workers pin, yield, look again, unpin, while values are published quickly. */
struct reader {
    struct stage *stage;
    unsigned last, bad;
};

static err_t reads(struct task *t, void *arg) {
    struct reader *r = arg;
    struct worker *w = task_worker(t);
    err_t e = OK;
    while (!e) {
        void *value = NULL;
        struct pin *pin = snapshot_pin(w, r->stage->p, &value);
        e = task_yield(t);
        struct value *v = value;
        if (v) {
            r->bad += v->check != ~v->number || v->number < r->last;
            r->last = v->number;
        }
        snapshot_unpin(w, pin);
    }
    return OK;
}

struct reader_task {
    struct reader reader;
    unsigned worker;
};

static err_t reads_there(struct task *t, void *arg) {
    struct reader_task *r = arg;
    return task_on(t, workers_at(task_worker(t)->all, r->worker), reads, &r->reader);
}

#define READERS 6

static void reads_everywhere(struct task *t, void *arg) {
    struct stage *s = arg;
    struct reader_task readers[READERS];
    SCOPED(task_group_scope) struct task_group g;
    task_group_init(&g, t);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader_task){ { s, 0, 0 }, i % 3 };
        assert_null(task_group_start(&g, reads_there, &readers[i]));
    }
    task_group_wait(&g);
    for (unsigned i = 0; i < READERS; i++)
        s->bad += readers[i].reader.bad;
}

static void publishes_quickly(struct task *t, void *arg) {
    struct stage *s = arg;
    for (unsigned i = 1; i <= s->rounds; i++) {
        publication_set(i % 7 == 0 ? t : NULL, s->p, value_new(i));
        if (i % 3 == 0)
            task_yield(t);
    }
    workers_stop(task_worker(t)->all); /* in the middle of it all */
    for (unsigned i = 0; i < 20; i++)
        publication_set(NULL, s->p, value_new(s->rounds + 1 + i));
}

static void readers_see_whole_values_in_order_while_many_are_published(void **state) {
    struct stage s = { .rounds = 3000 };
    run_stage(2, &s, publishes_quickly, reads_everywhere);
    assert_int_equal(s.bad, 0);
    assert_int_equal(count.made, 3020);
}

static void publishes_with_little_time(struct task *t, void *arg) {
    struct stage *s = arg;
    struct deadline d = deadline_push(t, -1);
    s->kind = kind_of(publication_set(t, s->p, value_new(1)));
    deadline_pop(&d);
    s->bad += publication_set(t, s->p, value_new(2)) != OK;
    workers_stop(task_worker(t)->all);
}

static void a_publisher_may_give_up_waiting(void **state) {
    struct stage s = { 0 };
    run_stage(2, &s, publishes_with_little_time, NULL);
    assert_int_equal(s.kind, ERR_TIMEOUT);
    assert_int_equal(s.bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_before_the_first_publication, fresh),
        cmocka_unit_test_setup(a_pinned_value_outlives_newer_ones, fresh),
        cmocka_unit_test_setup(after_the_acknowledgement_every_worker_has_it, fresh),
        cmocka_unit_test_setup(readers_see_whole_values_in_order_while_many_are_published, fresh),
        cmocka_unit_test_setup(a_publisher_may_give_up_waiting, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
