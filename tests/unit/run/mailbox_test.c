#include "fixture.h"
#include <pthread.h>

#define POSTERS 4
#define EACH 20000

struct letter {
    struct mail mail;
    unsigned poster, number;
};

/* What the receiver, the control worker, saw. */
struct desk {
    unsigned next[POSTERS]; /* number awaited from each poster */
    unsigned delivered, out_of_order;
    size_t bytes;
};

static void on_letter(struct worker *w, struct mail *m) {
    struct letter *letter = (struct letter *)m;
    struct desk *desk = w->slots[WORKER_TEST];
    desk->delivered++;
    if (desk->next[letter->poster]++ != letter->number)
        desk->out_of_order++;
    desk->bytes += m->bytes;
    free(letter);
    if (desk->delivered == POSTERS * EACH)
        workers_stop(w->all);
}

static struct letter *letter_new(unsigned poster, unsigned number, size_t bytes) {
    struct letter *letter = NEW(struct letter);
    letter->mail = (struct mail){ .deliver = on_letter, .bytes = bytes };
    letter->poster = poster;
    letter->number = number;
    return letter;
}

struct poster {
    struct worker *to;
    unsigned index;
    unsigned refused;
};

static void *post_all(void *arg) {
    struct poster *p = arg;
    for (unsigned i = 0; i < EACH; i++) {
        struct letter *letter = letter_new(p->index, i, i % 3 * 10);
        while (!worker_post(p->to, &letter->mail)) { /* the bound is met: again */
            p->refused++;
            sched_yield();
        }
    }
    return NULL;
}

static void nothing_is_lost_or_reordered_under_load(void **state) {
    struct workers *all = NULL;
    struct desk desk = { 0 };
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    struct worker_limits limits = { .mail_bytes = 2000 };
    assert_null(workers_start(0, limits, (struct worker_hooks){ 0 }, &all));
    workers_control(all)->slots[WORKER_TEST] = &desk;
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){ workers_control(all), i, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    workers_run(all);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(desk.delivered, POSTERS * EACH);
    assert_int_equal(desk.out_of_order, 0);
    workers_free(all);
}

static void mail_beyond_the_byte_bound_is_refused(void **state) {
    struct workers *all = NULL;
    struct desk desk = { 0 };
    struct worker_limits limits = { .mail_bytes = 100 };
    assert_null(workers_start(0, limits, (struct worker_hooks){ 0 }, &all));
    struct worker *w = workers_control(all);
    w->slots[WORKER_TEST] = &desk;
    struct letter *second = letter_new(0, 1, 41);
    struct letter *third = letter_new(0, 1, 40);
    assert_true(worker_post(w, &letter_new(0, 0, 60)->mail));
    assert_false(worker_post(w, &second->mail));
    assert_true(worker_post(w, &third->mail));
    assert_true(worker_post(w, &letter_new(0, 2, 0)->mail)); /* control mail always goes */
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(desk.delivered, 3);
    assert_int_equal(desk.bytes, 100);
    assert_int_equal(desk.out_of_order, 0);
    second->number = 3;
    assert_true(worker_post(w, &second->mail)); /* there is room again */
    still_end(w);
    assert_int_equal(desk.delivered, 4); /* stopping delivers what was accepted */
}

/* Posts until it is refused: every accepted mail must be delivered, exactly. */
struct racer {
    struct worker *to;
    unsigned accepted;
};

static void on_race_letter(struct worker *w, struct mail *m) {
    struct desk *desk = w->slots[WORKER_TEST];
    __atomic_fetch_add(&desk->delivered, 1, __ATOMIC_RELAXED);
    free(m);
}

static void *race(void *arg) {
    struct racer *r = arg;
    for (;;) {
        struct mail *m = NEW(struct mail);
        m->deliver = on_race_letter;
        if (!worker_post(r->to, m)) {
            free(m);
            return NULL;
        }
        r->accepted++;
    }
}

static void mail_that_races_with_the_stop_is_delivered_or_refused(void **state) {
    for (int round = 0; round < 20; round++) {
        struct workers *all = NULL;
        struct desk desk = { 0 };
        struct racer racers[2];
        pthread_t threads[2];
        assert_null(
            workers_start(1, (struct worker_limits){ 0 }, (struct worker_hooks){ 0 }, &all));
        workers_at(all, 0)->slots[WORKER_TEST] = &desk;
        for (int i = 0; i < 2; i++) {
            racers[i] = (struct racer){ workers_at(all, 0), 0 };
            assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
        }
        while (__atomic_load_n(&desk.delivered, __ATOMIC_RELAXED) == 0)
            sched_yield();
        workers_stop(all);
        workers_run(all);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(desk.delivered, racers[0].accepted + racers[1].accepted);
        workers_free(all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_reordered_under_load),
        cmocka_unit_test(mail_beyond_the_byte_bound_is_refused),
        cmocka_unit_test(mail_that_races_with_the_stop_is_delivered_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
