#include "base/mem.h"
#include "base/metric.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Rows are known for good, so each test has its own. */
static struct metric_def calls = { .name = "t_calls_total", .help = "calls", .kind = METRIC_COUNTER,
                                   .labels = { "tool", "outcome" } };
static struct metric_def busy = { .name = "t_busy", .help = "in flight", .kind = METRIC_GAUGE };
static struct metric_def seconds = { .name = "t_seconds", .help = "time", .kind = METRIC_HISTOGRAM,
                                     .labels = { "tool" } };

static struct str page(struct buf *b) {
    buf_clear(b);
    metric_expose(b);
    return buf_view(b);
}

static void assert_on_page(const char *want) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (str_find(page(&b), str_of(want)) < 0)
        fail_msg("no \"%s\" in\n%s", want, buf_text(&b));
}

static void the_same_labels_are_the_same_series(void **state) {
    metric_series a = METRIC_SERIES(&calls, S("time"), S("ok"));
    metric_series b = METRIC_SERIES(&calls, S("time"), S("failed"));
    metric_series c = METRIC_SERIES(&calls, S("tim"), S("eok"));
    assert_true(a != 0 && b != 0 && a != b && a != c);
    assert_int_equal(METRIC_SERIES(&calls, S("time"), S("ok")), a);
    metric_add(a, 2);
    metric_add(a, 3);
    assert_int_equal(metric_value(a), 5);
    assert_int_equal(metric_value(b), 0);
    assert_on_page("# HELP t_calls_total calls\n# TYPE t_calls_total counter\n");
    assert_on_page("\nt_calls_total{tool=\"time\",outcome=\"ok\"} 5\n");
}

static void missing_labels_are_empty(void **state) {
    assert_int_equal(METRIC_SERIES(&calls, S("x")), METRIC_SERIES(&calls, S("x"), S("")));
}

static void series_zero_counts_nothing(void **state) {
    metric_add(0, 5);
    metric_set(0, 5);
    metric_observe(0, NANOS_SEC);
    metric_observe_value(0, 1);
    assert_int_equal(metric_value(0), 0);
}

static void a_gauge_goes_up_and_down_and_is_set(void **state) {
    metric_series s = metric_find(&busy, NULL, 0);
    metric_add(s, 3);
    metric_add(s, -1);
    assert_int_equal(metric_value(s), 2);
    metric_set(s, -7);
    assert_int_equal(metric_value(s), -7);
    assert_on_page("# TYPE t_busy gauge\nt_busy -7\n");
}

static void latency_falls_into_its_bucket_bounds_included(void **state) {
    metric_series s = METRIC_SERIES(&seconds, S("a"));
    metric_observe(s, 500 * NANOS_US);     /* equal to the first bound */
    metric_observe(s, 500 * NANOS_US + 1); /* just above it */
    metric_observe(s, 3 * NANOS_SEC);
    metric_observe(s, 1000 * NANOS_SEC);
    metric_observe(s, -5); /* a clock that went back */
    assert_int_equal(metric_value(s), 5);
    assert_on_page("t_seconds_bucket{tool=\"a\",le=\"0.0005\"} 2\n"
                   "t_seconds_bucket{tool=\"a\",le=\"0.001\"} 3\n"
                   "t_seconds_bucket{tool=\"a\",le=\"0.002\"} 3\n"
                   "t_seconds_bucket{tool=\"a\",le=\"0.005\"} 3\n"
                   "t_seconds_bucket{tool=\"a\",le=\"0.01\"} 3\n");
    assert_on_page("t_seconds_bucket{tool=\"a\",le=\"2\"} 3\n"
                   "t_seconds_bucket{tool=\"a\",le=\"5\"} 4\n");
    assert_on_page("t_seconds_bucket{tool=\"a\",le=\"300\"} 4\n"
                   "t_seconds_bucket{tool=\"a\",le=\"+Inf\"} 5\n"
                   "t_seconds_sum{tool=\"a\"} 1003.001000001\n"
                   "t_seconds_count{tool=\"a\"} 5\n");
}

static void a_histogram_may_have_bounds_of_its_own(void **state) {
    static const double bounds[] = { 1, 1024, 1048576.5 };
    static struct metric_def bytes = { .name = "t_bytes", .help = "sizes", .kind = METRIC_HISTOGRAM,
                                       .bounds = bounds, .bound_count = 3 };
    metric_series s = metric_find(&bytes, NULL, 0);
    metric_observe_value(s, 1024);
    metric_observe_value(s, 2e6);
    metric_observe_value(s, NAN);
    assert_on_page("t_bytes_bucket{le=\"1\"} 0\n"
                   "t_bytes_bucket{le=\"1024\"} 1\n"
                   "t_bytes_bucket{le=\"1048576.5\"} 1\n"
                   "t_bytes_bucket{le=\"+Inf\"} 2\n"
                   "t_bytes_sum 2001024\n"
                   "t_bytes_count 2\n");
}

static void help_and_label_values_are_escaped(void **state) {
    static struct metric_def odd = { .name = "t_odd", .help = "a \\ \"b\"\nc", .kind = METRIC_GAUGE,
                                     .labels = { "l" } };
    metric_add(METRIC_SERIES(&odd, S("q\" b\\ n\n# HELP u\xc3\xa9 x\xff y\xed\xa0\x80")), 1);
    assert_on_page("# HELP t_odd a \\\\ \"b\"\\nc\n");
    assert_on_page("t_odd{l=\"q\\\" b\\\\ n\\n# HELP u\xc3\xa9 x\xef\xbf\xbd "
                   "y\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"} 1\n");
}

static void beyond_the_cap_series_count_as_other(void **state) {
    static struct metric_def capped = { .name = "t_capped", .help = "x", .kind = METRIC_COUNTER,
                                        .labels = { "tenant", "tool" } };
    metric_cap(2);
    metric_series a = METRIC_SERIES(&capped, S("a"), S("t")),
                  b = METRIC_SERIES(&capped, S("b"), S("t"));
    metric_series c = METRIC_SERIES(&capped, S("c"), S("t")),
                  d = METRIC_SERIES(&capped, S("d"), S("t"));
    assert_true(a != b && c != a && c != b);
    assert_int_equal(c, d);
    assert_int_equal(METRIC_SERIES(&capped, S("a"), S("t")), a);
    metric_series alone = metric_find(&busy, NULL, 0);
    assert_int_not_equal(alone, 0);
    metric_cap(1000);
    metric_add(c, 4);
    assert_on_page("t_capped{tenant=\"other\",tool=\"other\"} 4\n");
}

static void long_label_values_are_cut(void **state) {
    char longer[1000];
    memset(longer, 'x', sizeof longer);
    metric_series a = METRIC_SERIES(&calls, str_from(longer, 1000), S("ok"));
    assert_int_equal(METRIC_SERIES(&calls, str_from(longer, 256), S("ok")), a);
}

static struct metric_def computed[] = {
    { .name = "t_aaa", .help = "first", .kind = METRIC_GAUGE },
    { .name = "t_mmm_total", .help = "middle", .kind = METRIC_COUNTER, .labels = { "of" } },
    { .name = "t_zzz", .help = "last", .kind = METRIC_GAUGE },
};

static void collect(struct metric_sink *out, void *arg) {
    metric_series s = metric_find(&busy, NULL, 0); /* the lock is free */
    METRIC_SAMPLE(out, &computed[0], 1.5 + 0 * (double)metric_value(s));
    METRIC_SAMPLE(out, &computed[1], 1e15, S("a"));
    METRIC_SAMPLE(out, &computed[1], 2, S("b"));
    METRIC_SAMPLE(out, &computed[1], 3, S("c"));
    METRIC_SAMPLE(out, &computed[2], -INFINITY);
}

static void computed_values_are_capped_too(void **state) {
    metric_cap(1);
    assert_on_page("t_mmm_total{of=\"a\"} 1000000000000000\nt_mmm_total{of=\"other\"} 5\n");
    metric_cap(1000);
    assert_on_page("t_mmm_total{of=\"b\"} 2\nt_mmm_total{of=\"c\"} 3\n# HELP");
}

static void the_page_is_sorted_by_name(void **state) {
    metric_collector(computed, ARRAY_SIZE(computed), collect, NULL);
    assert_on_page("# HELP t_aaa first\n# TYPE t_aaa gauge\nt_aaa 1.5\n");
    assert_on_page("t_mmm_total{of=\"a\"} 1000000000000000\n");
    assert_on_page("t_zzz -Inf\n");
    SCOPED(buf_done) struct buf b = { 0 };
    struct str text = page(&b), before = S("");
    size_t n = 0;
    while (text.p) {
        struct str line = str_cut(&text, '\n'), rest = str_skip(line, 7);
        if (!str_starts(line, S("# HELP ")))
            continue;
        struct str name = str_cut(&rest, ' ');
        assert_true(str_cmp(before, name) < 0);
        before = name;
        n++;
    }
    assert_true(n >= 8);
}

static void rows_are_known_before_their_first_series(void **state) {
    static struct metric_def rows[] = {
        { .name = "t_known_1", .help = "x", .kind = METRIC_COUNTER },
        { .name = "t_known_2", .help = "x", .kind = METRIC_COUNTER, .labels = { "l" } },
    };
    metric_register(rows, 2);
    metric_register(rows, 2);
    size_t seen = 0, at = 0;
    for (const struct metric_def *def; metric_next(&at, &def);)
        seen += def == &rows[0] || def == &rows[1];
    assert_int_equal(seen, 2);
    assert_on_page("# TYPE t_known_2 counter\n");
}

static metric_series shared_counter, shared_histogram;

static void *count_a_lot(void *arg) {
    for (int i = 0; i < 10000; i++) {
        metric_add(shared_counter, 1);
        metric_observe(shared_histogram, i * NANOS_US);
    }
    return NULL;
}

/* Readers run beside the writers: TSan is the judge of that. */
static void threads_add_without_loss_and_outlive_their_end(void **state) {
    shared_counter = METRIC_SERIES(&calls, S("shared"), S("ok"));
    shared_histogram = METRIC_SERIES(&seconds, S("shared"));
    SCOPED(buf_done) struct buf b = { 0 };
    for (int64_t round = 1; round <= 3; round++) {
        pthread_t threads[4];
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, count_a_lot, NULL), 0);
        for (int i = 0; i < 20; i++)
            page(&b);
        for (size_t i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(metric_value(shared_counter), round * 40000);
        assert_int_equal(metric_value(shared_histogram), round * 40000);
    }
}

/* Enough series for several chunks: each keeps its own cells. */
static void many_series_do_not_touch_each_other(void **state) {
    static struct metric_def many = { .name = "t_many", .help = "x", .kind = METRIC_HISTOGRAM,
                                      .labels = { "i" } };
    enum { SERIES = 900 };
    static metric_series s[SERIES];
    for (unsigned i = 0; i < SERIES; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        s[i] = METRIC_SERIES(&many, str_of(text));
    }
    for (unsigned i = 0; i < SERIES; i++)
        for (unsigned k = 0; k < i % 5; k++)
            metric_observe(s[i], (nanos)(k * k) * 100 * NANOS_SEC);
    for (unsigned i = 0; i < SERIES; i++)
        assert_int_equal(metric_value(s[i]), i % 5);
    assert_on_page("t_many_sum{i=\"4\"} 1400\n");
    assert_on_page("t_many_sum{i=\"899\"} 1400\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_labels_are_the_same_series),
        cmocka_unit_test(missing_labels_are_empty),
        cmocka_unit_test(series_zero_counts_nothing),
        cmocka_unit_test(a_gauge_goes_up_and_down_and_is_set),
        cmocka_unit_test(latency_falls_into_its_bucket_bounds_included),
        cmocka_unit_test(a_histogram_may_have_bounds_of_its_own),
        cmocka_unit_test(help_and_label_values_are_escaped),
        cmocka_unit_test(beyond_the_cap_series_count_as_other),
        cmocka_unit_test(long_label_values_are_cut),
        cmocka_unit_test(the_page_is_sorted_by_name),
        cmocka_unit_test(computed_values_are_capped_too),
        cmocka_unit_test(rows_are_known_before_their_first_series),
        cmocka_unit_test(threads_add_without_loss_and_outlive_their_end),
        cmocka_unit_test(many_series_do_not_touch_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
