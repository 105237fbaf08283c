#include "fixture.h"

#define MANY 4000

struct probe {
    struct timer timer;
    nanos fired_at; /* 0: not yet */
    unsigned times;
    struct probe *unsets;
};

static void on_fire(struct worker *w, struct timer *t) {
    struct probe *p = (struct probe *)t;
    p->fired_at = w->now;
    p->times++;
    if (p->unsets)
        timer_unset(w, &p->unsets->timer);
}

static struct worker *wheel(nanos now) {
    struct worker *w = NEW(struct worker);
    w->now = now;
    timers_init(&w->timers, w, NULL);
    return w;
}

static void set(struct worker *w, struct probe *p, nanos at) {
    p->timer.fire = on_fire;
    timer_set(w, &p->timer, at);
}

/* Advances in steps, as a loop that wakes every `step` would. */
static void advance(struct worker *w, nanos until, nanos step) {
    while (w->now < until) {
        nanos next = w->now + step < until ? w->now + step : until;
        timers_advance(&w->timers, next);
    }
}

static void fires_once_not_before_its_time_and_at_most_2_ms_after(void **state) {
    static const nanos away[] = { 1, NANOS_MS, 255 * NANOS_MS, 256 * NANOS_MS, 257 * NANOS_MS,
                                  65535 * NANOS_MS, 65536 * NANOS_MS, 65537 * NANOS_MS,
                                  16777215 * NANOS_MS, 16777216 * NANOS_MS, 20000000 * NANOS_MS };
    for (size_t i = 0; i < ARRAY_SIZE(away); i++) {
        struct worker *w = wheel(12345);
        struct probe p = { 0 };
        const nanos at = w->now + away[i];
        set(w, &p, at);
        if (away[i] > 10 * NANOS_MS)
            advance(w, at - 10 * NANOS_MS, 777 * NANOS_MS);
        advance(w, at - 1, NANOS_MS / 2);
        assert_int_equal(p.times, 0);
        advance(w, at + 2 * NANOS_MS, NANOS_MS / 2);
        assert_int_equal(p.times, 1);
        assert_in_range(p.fired_at, at, at + 2 * NANOS_MS);
        advance(w, at + NANOS_SEC, 10 * NANOS_MS);
        assert_int_equal(p.times, 1);
        assert_false(timer_is_set(&p.timer));
        free(w);
    }
}

static void many_timers_of_all_levels_fire_in_time(void **state) {
    struct worker *w = wheel(1000 * NANOS_SEC);
    struct probe *all = NEW_ARRAY(struct probe, MANY);
    nanos *at = NEW_ARRAY(nanos, MANY);
    uint64_t seed = 42;
    for (size_t i = 0; i < MANY; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        at[i] = w->now + (nanos)((seed >> 20) % (UINT64_C(1) << (20 + i % 17)));
        set(w, &all[i], at[i]);
        timers_advance(&w->timers, w->now + (nanos)(seed >> 44)); /* the wheel turns meanwhile */
    }
    advance(w, w->now + 80 * NANOS_SEC, NANOS_MS);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(all[i].times, 1);
        assert_true(all[i].fired_at >= at[i]);
        assert_true(all[i].fired_at <= at[i] + 3 * NANOS_MS);
    }
    assert_int_equal(w->timers.count, 0);
    free(at);
    free(all);
    free(w);
}

static void unset_timers_do_not_fire(void **state) {
    struct worker *w = wheel(0);
    struct probe p[3] = { 0 };
    for (size_t i = 0; i < 3; i++)
        set(w, &p[i], 5 * NANOS_MS);
    timer_unset(w, &p[1].timer);
    timer_unset(w, &p[1].timer); /* twice is fine */
    timers_advance(&w->timers, NANOS_SEC);
    assert_int_equal(p[0].times + p[2].times, 2);
    assert_int_equal(p[1].times, 0);
    free(w);
}

static void setting_again_moves(void **state) {
    struct worker *w = wheel(0);
    struct probe p = { 0 };
    set(w, &p, 5 * NANOS_MS);
    set(w, &p, 500 * NANOS_MS);
    assert_int_equal(w->timers.count, 1);
    timers_advance(&w->timers, 499 * NANOS_MS);
    assert_int_equal(p.times, 0);
    timers_advance(&w->timers, 501 * NANOS_MS);
    assert_int_equal(p.times, 1);
    set(w, &p, 600 * NANOS_MS);
    timer_set(w, &p.timer, NANOS_NEVER);
    assert_false(timer_is_set(&p.timer));
    free(w);
}

static void a_timer_may_unset_another_of_the_same_tick(void **state) {
    struct worker *w = wheel(0);
    struct probe p[2] = { 0 };
    p[0].unsets = &p[1];
    p[1].unsets = &p[0];
    set(w, &p[0], 5 * NANOS_MS);
    set(w, &p[1], 5 * NANOS_MS);
    timers_advance(&w->timers, NANOS_SEC);
    assert_int_equal(p[0].times + p[1].times, 1);
    assert_int_equal(w->timers.count, 0);
    free(w);
}

static void again_in_7_ms(struct worker *w, struct timer *t) {
    struct probe *p = (struct probe *)t;
    p->times++;
    timer_set(w, t, w->now + 7 * NANOS_MS);
}

static void a_timer_may_set_itself_anew(void **state) {
    struct worker *w = wheel(3);
    struct probe p = { 0 };
    p.timer.fire = again_in_7_ms;
    timer_set(w, &p.timer, w->now + 7 * NANOS_MS);
    advance(w, w->now + 8000 * NANOS_MS, NANOS_MS);
    assert_in_range(p.times, 995, 1142); /* each up to 2 ms late */
    timer_unset(w, &p.timer);
    free(w);
}

static void a_time_in_the_past_fires_at_the_next_tick(void **state) {
    struct worker *w = wheel(50 * NANOS_SEC);
    struct probe p = { 0 };
    set(w, &p, 10 * NANOS_SEC);
    timers_advance(&w->timers, w->now + NANOS_MS);
    assert_int_equal(p.times, 1);
    free(w);
}

static void a_long_sleep_fires_all_that_came_due(void **state) {
    struct worker *w = wheel(0);
    struct probe p[4] = { 0 };
    set(w, &p[0], 3 * NANOS_MS);
    set(w, &p[1], 3 * NANOS_SEC);
    set(w, &p[2], 3600 * NANOS_SEC);
    set(w, &p[3], 60 * 24 * 3600 * NANOS_SEC); /* beyond the wheel's 49 days */
    timers_advance(&w->timers, 59 * 24 * 3600 * NANOS_SEC);
    assert_int_equal(p[0].times + p[1].times + p[2].times, 3);
    assert_int_equal(p[3].times, 0);
    timers_advance(&w->timers, 61 * 24 * 3600 * NANOS_SEC);
    assert_int_equal(p[3].times, 1);
    free(w);
}

static void due_is_never_after_the_earliest_timer(void **state) {
    struct worker *w = wheel(0);
    struct probe far = { 0 }, near = { 0 };
    set(w, &far, 30 * NANOS_SEC);
    const uint64_t before = w->timers.due;
    assert_true(before <= 30000);
    w->now = 20 * NANOS_SEC; /* the wheel was not turned since */
    set(w, &near, w->now + 5 * NANOS_MS);
    assert_int_equal(w->timers.due, 20005); /* no detour over an upper level */
    timers_advance(&w->timers, w->timers.origin + 20006 * NANOS_MS);
    assert_int_equal(near.times, 1);
    assert_in_range(w->timers.due, 20007, 30000);
    timer_unset(w, &far.timer);
    timers_advance(&w->timers, 40 * NANOS_SEC);
    assert_true(w->timers.due == UINT64_MAX); /* nothing left: nothing armed */
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_once_not_before_its_time_and_at_most_2_ms_after),
        cmocka_unit_test(many_timers_of_all_levels_fire_in_time),
        cmocka_unit_test(unset_timers_do_not_fire),
        cmocka_unit_test(setting_again_moves),
        cmocka_unit_test(a_timer_may_unset_another_of_the_same_tick),
        cmocka_unit_test(a_timer_may_set_itself_anew),
        cmocka_unit_test(a_time_in_the_past_fires_at_the_next_tick),
        cmocka_unit_test(a_long_sleep_fires_all_that_came_due),
        cmocka_unit_test(due_is_never_after_the_earliest_timer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
