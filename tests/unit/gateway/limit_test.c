#include "base/mem.h"
#include "gateway/limit.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void without_a_rate_everything_passes(void **state) {
    struct limit l = { 0 };
    nanos retry = 0;
    limit_configure(&l, 0, 0);
    for (int i = 0; i < 1000; i++)
        assert_true(limit_take(&l, 0, &retry));
}

static void a_burst_passes_at_once_and_then_the_rate_holds(void **state) {
    struct limit l = { 0 };
    nanos retry = 0;
    limit_configure(&l, 10, 3);
    for (int i = 0; i < 3; i++)
        assert_true(limit_take(&l, 0, &retry));
    assert_false(limit_take(&l, 0, &retry));
    assert_int_equal(retry, 100 * NANOS_MS);
    assert_false(limit_take(&l, retry - 1, &retry));
    assert_int_equal(retry, 1);
    assert_true(limit_take(&l, 100 * NANOS_MS, &retry));
    assert_false(limit_take(&l, 100 * NANOS_MS, &retry));
}

static void a_bucket_fills_up_but_not_beyond_its_burst(void **state) {
    struct limit l = { 0 };
    nanos retry = 0, late = 3600 * NANOS_SEC;
    limit_configure(&l, 10, 3);
    assert_true(limit_take(&l, 0, &retry));
    for (int i = 0; i < 3; i++)
        assert_true(limit_take(&l, late, &retry));
    assert_false(limit_take(&l, late, &retry));
}

static void a_burst_below_one_still_lets_one_through(void **state) {
    struct limit l = { 0 };
    nanos retry = 0;
    limit_configure(&l, 1, 0);
    assert_true(limit_take(&l, 0, &retry));
    assert_false(limit_take(&l, 0, &retry));
    assert_int_equal(retry, NANOS_SEC);
}

static void a_refusal_costs_nothing(void **state) {
    struct limit l = { 0 };
    nanos retry = 0;
    limit_configure(&l, 10, 1);
    assert_true(limit_take(&l, 0, &retry));
    for (int i = 0; i < 100; i++)
        assert_false(limit_take(&l, 50 * NANOS_MS, &retry));
    assert_true(limit_take(&l, 100 * NANOS_MS, &retry));
}

static void rates_beyond_the_clock_do_not_break(void **state) {
    struct limit l = { 0 };
    nanos retry = 0;
    limit_configure(&l, 1e12, 1);
    assert_true(limit_take(&l, 0, &retry));
    assert_true(limit_take(&l, 1, &retry));
    limit_configure(&l, 1e-30, 1e6);
    assert_true(limit_take(&l, 2, &retry));
    assert_false(limit_take(&l, NANOS_SEC, &retry));
    assert_true(retry > 0);
}

static void the_same_digest_finds_the_same_bucket_configured_anew(void **state) {
    struct limits_table *t = limits_new();
    nanos retry = 0;
    struct limit *l = limits_find(t, 7, 1, 1);
    assert_true(limit_take(l, 0, &retry));
    assert_false(limit_take(l, 0, &retry));
    assert_ptr_equal(limits_find(t, 7, 1, 3), l);
    assert_true(limit_take(l, 0, &retry));
    assert_ptr_not_equal(limits_find(t, 8, 1, 1), l);
    limits_free(t);
    limits_free(NULL);
}

enum { THREADS = 4, TAKES = 20000 };

static void *take_many(void *arg) {
    size_t taken = 0;
    nanos retry;
    for (int i = 0; i < TAKES; i++)
        taken += limit_take(arg, 0, &retry);
    return (void *)taken;
}

static void threads_share_a_bucket_exactly(void **state) {
    struct limit l = { 0 };
    pthread_t threads[THREADS];
    size_t taken = 0;
    limit_configure(&l, 1000, 5000);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, take_many, &l);
    for (int i = 0; i < THREADS; i++) {
        void *own;
        pthread_join(threads[i], &own);
        taken += (size_t)own;
    }
    assert_int_equal(taken, 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rate_everything_passes),
        cmocka_unit_test(a_burst_passes_at_once_and_then_the_rate_holds),
        cmocka_unit_test(a_bucket_fills_up_but_not_beyond_its_burst),
        cmocka_unit_test(a_burst_below_one_still_lets_one_through),
        cmocka_unit_test(a_refusal_costs_nothing),
        cmocka_unit_test(rates_beyond_the_clock_do_not_break),
        cmocka_unit_test(the_same_digest_finds_the_same_bucket_configured_anew),
        cmocka_unit_test(threads_share_a_bucket_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
