#include "servers/time/civil.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static void every_kind_of_day_goes_to_days_and_back(void **state) {
    int64_t before = civil_days(1, 1, 1) - 1;
    for (int year = 1; year <= 9999; year += year % 100 > 96 || year < 5 ? 1 : 3)
        for (int month = 1; month <= 12; month++)
            for (int day = 1; day <= civil_month_days(year, month); day += 27) {
                int64_t days = civil_days(year, month, day);
                struct civil c = civil_of(days * SECONDS_PER_DAY + 1, 7);
                assert_true(days > before);
                assert_int_equal(c.year, year);
                assert_int_equal(c.month, month);
                assert_int_equal(c.day, day);
                assert_int_equal(c.second, 1);
                assert_int_equal(c.nano, 7);
                before = days;
            }
}

static void the_calendar_agrees_with_the_c_library(void **state) {
    for (int64_t s = CIVIL_MIN; s <= CIVIL_MAX; s += 86400LL * 997 + 7919) {
        struct tm tm;
        time_t t = s;
        struct civil c = civil_of(s, 0);
        assert_non_null(gmtime_r(&t, &tm));
        assert_int_equal(c.year, tm.tm_year + 1900);
        assert_int_equal(c.month, tm.tm_mon + 1);
        assert_int_equal(c.day, tm.tm_mday);
        assert_int_equal(c.hour, tm.tm_hour);
        assert_int_equal(c.minute, tm.tm_min);
        assert_int_equal(c.second, tm.tm_sec);
        assert_int_equal(civil_weekday(floor_div(s, SECONDS_PER_DAY)), (tm.tm_wday + 6) % 7);
        assert_true(civil_local(&c) == s);
    }
}

static void the_range_is_years_1_to_9999(void **state) {
    struct civil first = civil_of(CIVIL_MIN, 0), last = civil_of(CIVIL_MAX, 0);
    assert_int_equal(first.year, 1);
    assert_int_equal(first.month * 100 + first.day, 101);
    assert_int_equal(last.year, 9999);
    assert_int_equal(last.month * 100 + last.day, 1231);
    assert_int_equal(last.second, 59);
    assert_false(civil_in_range(CIVIL_MIN - 1));
    assert_false(civil_in_range(CIVIL_MAX + 1));
}

static void leap_years_are_those_of_the_gregorian_rule(void **state) {
    assert_true(civil_is_leap(2024));
    assert_true(civil_is_leap(2000));
    assert_false(civil_is_leap(1900));
    assert_false(civil_is_leap(2026));
    assert_int_equal(civil_month_days(2024, 2), 29);
    assert_int_equal(civil_month_days(2100, 2), 28);
}

struct months_row {
    int year, month, day;
    int64_t add;
    int to_year, to_month, to_day;
    bool clamped;
};
static const struct months_row months[] = {
    { 2024, 1, 31, 1, 2024, 2, 29, true },   { 2026, 1, 31, 1, 2026, 2, 28, true },
    { 2026, 1, 31, 2, 2026, 3, 31, false },  { 2024, 2, 29, 12, 2025, 2, 28, true },
    { 2024, 2, 29, 48, 2028, 2, 29, false }, { 2026, 3, 31, -1, 2026, 2, 28, true },
    { 2026, 1, 15, -13, 2024, 12, 15, false }, { 1, 1, 1, 9998 * 12 + 11, 9999, 12, 1, false },
};

static void months_keep_the_day_or_cut_it_to_the_last_one(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(months); i++) {
        const struct months_row *row = &months[i];
        struct civil c = { .year = row->year, .month = row->month, .day = row->day };
        bool clamped;
        assert_true(civil_add_months(&c, row->add, &clamped));
        assert_int_equal(c.year, row->to_year);
        assert_int_equal(c.month, row->to_month);
        assert_int_equal(c.day, row->to_day);
        assert_int_equal(clamped, row->clamped);
    }
}

static void months_do_not_leave_the_range(void **state) {
    struct civil c = { .year = 9999, .month = 12, .day = 1 };
    bool clamped;
    assert_false(civil_add_months(&c, 1, &clamped));
    assert_false(civil_add_months(&c, INT64_MAX, &clamped));
    assert_false(civil_add_months(&c, -9999 * 12, &clamped));
}

static void wall_time_before_1970_is_floored(void **state) {
    struct instant at = instant_of(-1);
    assert_true(at.seconds == -1);
    assert_int_equal(at.nano, 999999999);
    assert_true(instant_cmp(at, instant_of(0)) < 0);
    assert_true(instant_cmp(instant_of(1), instant_of(0)) > 0);
    assert_int_equal(instant_cmp(at, at), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_day_goes_to_days_and_back),
        cmocka_unit_test(the_calendar_agrees_with_the_c_library),
        cmocka_unit_test(the_range_is_years_1_to_9999),
        cmocka_unit_test(leap_years_are_those_of_the_gregorian_rule),
        cmocka_unit_test(months_keep_the_day_or_cut_it_to_the_last_one),
        cmocka_unit_test(months_do_not_leave_the_range),
        cmocka_unit_test(wall_time_before_1970_is_floored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
