#include "base/clock.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static void monotonic_time_does_not_go_back(void **state) {
    nanos before = clock_mono();
    assert_true(before > 0);
    assert_true(clock_mono() >= before);
}

static void wall_time_is_that_of_the_system(void **state) {
    time_t before = time(NULL);
    nanos now = clock_wall();
    assert_true(now / NANOS_SEC >= before && now / NANOS_SEC <= time(NULL));
}

static void assert_rfc3339(nanos wall, const char *want) {
    char out[CLOCK_TEXT];
    struct str text = clock_rfc3339(wall, out);
    if (!str_eq(text, str_of(want)))
        fail_msg("%" PRId64 " gave %.*s, not %s", wall, STR(text), want);
}

static void instants_are_written_as_rfc3339(void **state) {
    assert_rfc3339(0, "1970-01-01T00:00:00.000Z");
    assert_rfc3339(1785240000123456789, "2026-07-28T12:00:00.123Z");
    assert_rfc3339(951782400 * NANOS_SEC, "2000-02-29T00:00:00.000Z");
    assert_rfc3339(951868799 * NANOS_SEC, "2000-02-29T23:59:59.000Z");
    assert_rfc3339(-1, "1969-12-31T23:59:59.999Z");
    assert_rfc3339(INT64_MAX, "2262-04-11T23:47:16.854Z");
    assert_rfc3339(INT64_MIN, "1677-09-21T00:12:43.145Z");
}

static void instants_agree_with_the_c_library(void **state) {
    for (int64_t s = -9000000000; s < 9000000000; s += 86400 * 13 + 7919) {
        char want[CLOCK_TEXT];
        struct tm tm;
        time_t t = s;
        gmtime_r(&t, &tm);
        strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S.000Z", &tm);
        assert_rfc3339(s * NANOS_SEC, want);
    }
}

struct duration_row {
    const char *text;
    nanos length;
};

static const struct duration_row durations[] = {
    { "0s", 0 },
    { "1ns", 1 },
    { "250us", 250 * NANOS_US },
    { "1500ms", 1500 * NANOS_MS },
    { "30s", 30 * NANOS_SEC },
    { "5m", 300 * NANOS_SEC },
    { "90m", 5400 * NANOS_SEC },
    { "1h", 3600 * NANOS_SEC },
    { "7d", 7 * 86400 * NANOS_SEC },
    { "9223372036854775807ns", NANOS_NEVER },
};

static void durations_are_read_and_written_alike(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
        char out[CLOCK_TEXT];
        nanos d = -1;
        assert_true(clock_parse_duration(str_of(durations[i].text), &d));
        assert_int_equal(d, durations[i].length);
        struct str text = clock_format_duration(d, out);
        assert_true(str_eq(text, str_of(durations[i].text)));
    }
}

static void the_shortest_exact_unit_is_chosen(void **state) {
    char out[CLOCK_TEXT];
    assert_true(str_eq(clock_format_duration(60 * NANOS_SEC, out), S("1m")));
    assert_true(str_eq(clock_format_duration(86400 * NANOS_SEC, out), S("1d")));
    assert_true(str_eq(clock_format_duration(1000 * NANOS_US, out), S("1ms")));
    assert_true(str_eq(clock_format_duration(61 * NANOS_SEC, out), S("61s")));
    assert_true(str_eq(clock_format_duration(-5 * NANOS_SEC, out), S("-5s")));
}

static void what_is_no_duration_is_refused(void **state) {
    const char *const bad[] = { "",    "s",    "5",   "5 s",  " 5s",  "5s ",  "-5s", "+5s",
                                "1.5s", "5S",  "5sec", "1h30m", "106752d", "9223372036854775808ns" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        nanos d;
        if (clock_parse_duration(str_of(bad[i]), &d))
            fail_msg("took \"%s\"", bad[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_does_not_go_back),
        cmocka_unit_test(wall_time_is_that_of_the_system),
        cmocka_unit_test(instants_are_written_as_rfc3339),
        cmocka_unit_test(instants_agree_with_the_c_library),
        cmocka_unit_test(durations_are_read_and_written_alike),
        cmocka_unit_test(the_shortest_exact_unit_is_chosen),
        cmocka_unit_test(what_is_no_duration_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
