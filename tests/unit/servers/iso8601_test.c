#include "base/mem.h"
#include "servers/time/iso8601.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- times ------------------------------------------------------------------------- */

struct time_row {
    const char *text;
    const char *written; /* as local time with its offset; date 0000 when there is none */
    bool date, offset, leap;
};
static const struct time_row times[] = {
    { "2026-07-28T12:34:56Z", "2026-07-28T12:34:56+00:00", true, true, false },
    { "2026-07-28t12:34:56z", "2026-07-28T12:34:56+00:00", true, true, false },
    { "2026-07-28 12:34:56+02:00", "2026-07-28T12:34:56+02:00", true, true, false },
    { "2026-07-28T12:34-08:30", "2026-07-28T12:34:00-08:30", true, true, false },
    { "2026-07-28T12:34:56.7", "2026-07-28T12:34:56.700+00:00", true, false, false },
    { "2026-07-28T12:34:56,123456789", "2026-07-28T12:34:56.123456789+00:00", true, false, false },
    { "20260728T123456Z", "2026-07-28T12:34:56+00:00", true, true, false },
    { "20260728T1234+0530", "2026-07-28T12:34:00+05:30", true, true, false },
    { "2026-07-28T12:34:56+02", "2026-07-28T12:34:56+02:00", true, true, false },
    { "1900-01-01T00:00:00+00:09:21", "1900-01-01T00:00:00+00:09:21", true, true, false },
    { "2026-07-28", "2026-07-28T00:00:00+00:00", true, false, false },
    { "20260728", "2026-07-28T00:00:00+00:00", true, false, false },
    { "2024-02-29", "2024-02-29T00:00:00+00:00", true, false, false },
    { "14:30", "0000-00-00T14:30:00+00:00", false, false, false },
    { "T1430", "0000-00-00T14:30:00+00:00", false, false, false },
    { "14:30:05.5+01:00", "0000-00-00T14:30:05.500+01:00", false, true, false },
    { "2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00", true, true, true },
    { "2026-12-31T24:00:00", "2026-12-31T24:00:00+00:00", true, false, false },
    { "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00", true, true, false },
    { "9999-12-31T23:59:59.999999999-23:59", "9999-12-31T23:59:59.999999999-23:59", true, true, false },
};

static void dates_and_times_are_read_in_all_their_forms(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        struct iso_time t;
        char text[ISO_TEXT];
        err_t e = iso_read_time(str_of(times[i].text), &t);
        if (e)
            fail_msg("%s: %s", times[i].text, e->text);
        struct str written = iso_write_time(&t.at, t.offset, text);
        if (!str_eq(written, str_of(times[i].written)))
            fail_msg("%s was read as %.*s", times[i].text, STR(written));
        assert_int_equal(t.has_date, times[i].date);
        assert_int_equal(t.has_offset, times[i].offset);
        assert_int_equal(t.leap_second, times[i].leap);
    }
}

struct bad_row {
    const char *text, *why; /* part of the error */
};
static const struct bad_row bad_times[] = {
    { "", "is not an ISO 8601" },
    { "tomorrow", "is not an ISO 8601" },
    { "2026-7-28", "is not an ISO 8601" },
    { "2026-0728", "is not an ISO 8601" },
    { "202607-28", "is not an ISO 8601" },
    { "26-07-28", "is not an ISO 8601" },
    { "12026-07-28", "is not an ISO 8601" },
    { "-2026-07-28", "is not an ISO 8601" },
    { "2026-07-28T", "is not an ISO 8601" },
    { "2026-07-28T12", "is not an ISO 8601" },
    { "2026-07-28T1:30", "is not an ISO 8601" },
    { "2026-07-28T12:34:", "is not an ISO 8601" },
    { "2026-07-28T12:34:56.", "is not an ISO 8601" },
    { "2026-07-28T12:34:56.1234567890", "is not an ISO 8601" },
    { "2026-07-28T12:34:56 +02:00", "is not an ISO 8601" },
    { "2026-07-28T12:34:56+24:00", "is not an ISO 8601" },
    { "2026-07-28T12:34:56+02:60", "is not an ISO 8601" },
    { "2026-07-28T12:34:56+", "is not an ISO 8601" },
    { "2026-07-28T12:34:56ZZ", "is not an ISO 8601" },
    { "2026-07-28T12:34:56[Europe/Paris]", "is not an ISO 8601" },
    { "2026-07-28Z", "is not an ISO 8601" },
    { "2026-W31-2", "is not an ISO 8601" },
    { "0000-01-01", "years from 0001 to 9999" },
    { "2026-13-01", "months are 01 to 12" },
    { "2026-00-01", "months are 01 to 12" },
    { "2026-02-29", "2026-02 has days 01 to 28" },
    { "1900-02-29", "1900-02 has days 01 to 28" },
    { "2026-04-31", "2026-04 has days 01 to 30" },
    { "2026-04-00", "2026-04 has days 01 to 30" },
    { "2026-04-01T25:00", "hours are 00 to 23" },
    { "2026-04-01T24:00:01", "hours are 00 to 23" },
    { "2026-04-01T24:00:00.5", "hours are 00 to 23" },
    { "2026-04-01T12:60", "minutes are 00 to 59" },
    { "2026-04-01T12:00:61", "seconds are 00 to 59" },
};

static void assert_refused(err_t e, const struct bad_row *row) {
    if (!e)
        fail_msg("took \"%s\"", row->text);
    assert_int_equal(e->kind, ERR_INVALID);
    if (str_find(str_of(e->text), str_of(row->why)) < 0)
        fail_msg("\"%s\": %s", row->text, e->text);
}

static void what_is_no_time_is_refused_with_the_reason(void **state) {
    struct iso_time t;
    for (size_t i = 0; i < ARRAY_SIZE(bad_times); i++)
        assert_refused(iso_read_time(str_of(bad_times[i].text), &t), &bad_times[i]);
    assert_non_null(iso_read_time(S("2026-07-28T12:34\0"), &t));
}

static void text_is_never_read_beyond_its_end(void **state) {
    static const char whole[] = "2026-07-28T12:34:56.123456789+02:00";
    struct iso_time t;
    for (size_t n = 0; n < sizeof whole; n++) {
        char *exact = memcpy(malloc(n ? n : 1), whole, n);
        iso_read_time(str_from(exact, n), &t);
        free(exact);
    }
    assert_null(iso_read_time(S(whole), &t));
}

static void offsets_alone_are_read(void **state) {
    int offset;
    assert_true(iso_read_offset(S("+05:30"), &offset));
    assert_int_equal(offset, 19800);
    assert_true(iso_read_offset(S("-0800"), &offset));
    assert_int_equal(offset, -28800);
    assert_true(iso_read_offset(S("Z"), &offset));
    assert_int_equal(offset, 0);
    assert_false(iso_read_offset(S("05:30"), &offset));
    assert_false(iso_read_offset(S("+5"), &offset));
    assert_false(iso_read_offset(S("+05:30x"), &offset));
}

static void decimals_are_written_in_threes(void **state) {
    static const struct { int nano; const char *text; } rows[] = {
        { 0, "2026-01-02T03:04:05Z" },       { 500000000, "2026-01-02T03:04:05.500Z" },
        { 1000, "2026-01-02T03:04:05.000001Z" }, { 1, "2026-01-02T03:04:05.000000001Z" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[ISO_TEXT];
        struct civil c = { 2026, 1, 2, 3, 4, 5, rows[i].nano };
        assert_true(str_eq(iso_write_utc(&c, text), str_of(rows[i].text)));
    }
}

/* ---- durations --------------------------------------------------------------------- */

static const struct { const char *text; struct span span; const char *written; } durations[] = {
    { "P1Y", { .years = 1 }, "P1Y" },
    { "P1M", { .months = 1 }, "P1M" },
    { "PT1M", { .minutes = 1 }, "PT1M" },
    { "P2W", { .weeks = 2 }, "P2W" },
    { "P1Y2M3W4DT5H6M7S",
      { .years = 1, .months = 2, .weeks = 3, .days = 4, .hours = 5, .minutes = 6, .seconds = 7 },
      "P1Y2M3W4DT5H6M7S" },
    { "-P3D", { .negative = true, .days = 3 }, "-P3D" },
    { "+PT36H", { .hours = 36 }, "PT36H" },
    { "pt1h", { .hours = 1 }, "PT1H" },
    { "PT0.5S", { .nano = 500000000 }, "PT0.500S" },
    { "PT1,000000001S", { .seconds = 1, .nano = 1 }, "PT1.000000001S" },
    { "PT1.5H", { .hours = 1, .seconds = 1800 }, "PT1H1800S" },
    { "PT0.1M", { .seconds = 6 }, "PT6S" },
    { "PT0.000000001H", { .nano = 3600 }, "PT0.000003600S" },
    { "P0D", { 0 }, "PT0S" },
    { "PT0S", { 0 }, "PT0S" },
    { "P999999999999D", { .days = 999999999999 }, "P999999999999D" },
};

static void durations_are_read_and_written(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
        struct span d;
        char text[ISO_TEXT];
        err_t e = iso_read_duration(str_of(durations[i].text), &d);
        if (e)
            fail_msg("%s: %s", durations[i].text, e->text);
        const struct span *want = &durations[i].span;
        assert_int_equal(d.negative, want->negative);
        assert_true(d.years == want->years && d.months == want->months && d.weeks == want->weeks);
        assert_true(d.days == want->days && d.hours == want->hours && d.minutes == want->minutes);
        assert_true(d.seconds == want->seconds && d.nano == want->nano);
        struct str written = iso_write_duration(&d, text);
        if (!str_eq(written, str_of(durations[i].written)))
            fail_msg("%s was written as %.*s", durations[i].text, STR(written));
    }
}

static const struct bad_row bad_durations[] = {
    { "", "is not an ISO 8601 duration" },
    { "P", "is not an ISO 8601 duration" },
    { "-P", "is not an ISO 8601 duration" },
    { "PT", "is not an ISO 8601 duration" },
    { "P1DT", "is not an ISO 8601 duration" },
    { "1D", "is not an ISO 8601 duration" },
    { "P1", "is not an ISO 8601 duration" },
    { "P1H", "is not an ISO 8601 duration" },
    { "PT1D", "is not an ISO 8601 duration" },
    { "P1D1Y", "is not an ISO 8601 duration" },
    { "P1D1D", "is not an ISO 8601 duration" },
    { "P1Y-2M", "is not an ISO 8601 duration" },
    { "P1D ", "is not an ISO 8601 duration" },
    { "PT1H1", "is not an ISO 8601 duration" },
    { "PT1HT1M", "is not an ISO 8601 duration" },
    { "PT1.S", "is not an ISO 8601 duration" },
    { "PT.5S", "is not an ISO 8601 duration" },
    { "PT1.5H30M", "is not an ISO 8601 duration" },
    { "PT1.0000000001S", "is not an ISO 8601 duration" },
    { "P1000000000000D", "is not an ISO 8601 duration" },
    { "P0001-02-03T04:05:06", "is not an ISO 8601 duration" },
    { "P0.5D", "use hours, minutes or seconds" },
    { "P1.5Y", "use hours, minutes or seconds" },
    { "90 minutes", "is not an ISO 8601 duration" },
};

static void what_is_no_duration_is_refused_with_the_reason(void **state) {
    struct span d;
    for (size_t i = 0; i < ARRAY_SIZE(bad_durations); i++)
        assert_refused(iso_read_duration(str_of(bad_durations[i].text), &d), &bad_durations[i]);
}

static void the_longest_duration_fits_its_text(void **state) {
    char text[ISO_TEXT];
    struct span d = { true, INT64_MAX, 999999999999, 999999999999, 999999999999,
                      999999999999, 999999999999, INT64_MAX, 999999999 };
    assert_true(iso_write_duration(&d, text).n < ISO_TEXT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_and_times_are_read_in_all_their_forms),
        cmocka_unit_test(what_is_no_time_is_refused_with_the_reason),
        cmocka_unit_test(text_is_never_read_beyond_its_end),
        cmocka_unit_test(offsets_alone_are_read),
        cmocka_unit_test(decimals_are_written_in_threes),
        cmocka_unit_test(durations_are_read_and_written),
        cmocka_unit_test(what_is_no_duration_is_refused_with_the_reason),
        cmocka_unit_test(the_longest_duration_fits_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
