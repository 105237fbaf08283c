#include "servers/time/civil.h"
#include "servers/time/posix_tz.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int64_t utc(int year, int month, int day, int hour, int minute) {
    return civil_local(&(struct civil){ year, month, day, hour, minute, 0, 0 });
}

static struct posix_tz rule(const char *text) {
    struct posix_tz tz;
    if (!posix_tz_read(str_of(text), &tz))
        fail_msg("refused %s", text);
    return tz;
}

/* What holds up to the change, and from it on. In Dublin winter is the time that saves. */
struct change_row {
    const char *rule;
    int year, month, day, hour, minute; /* of the change, UTC */
    int before, after;                  /* offsets in minutes */
    bool dst_after;
};
static const struct change_row changes[] = {
    { "CET-1CEST,M3.5.0,M10.5.0/3", 2026, 3, 29, 1, 0, 60, 120, true },
    { "CET-1CEST,M3.5.0,M10.5.0/3", 2026, 10, 25, 1, 0, 120, 60, false },
    { "EST5EDT,M3.2.0,M11.1.0", 2027, 3, 14, 7, 0, -300, -240, true },
    { "EST5EDT,M3.2.0,M11.1.0", 2027, 11, 7, 6, 0, -240, -300, false },
    { "IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 10, 25, 1, 0, 60, 0, true }, /* Dublin */
    { "IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 3, 29, 1, 0, 0, 60, false },
    { "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2026, 10, 3, 15, 30, 630, 660, true },
    { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, 3, 29, 1, 0, -120, -60, true }, /* the day before */
    { "IST-2IDT,M3.4.4/26,M10.5.0", 2026, 3, 27, 0, 0, 120, 180, true },      /* the day after */
    { "AAA0BBB,J60,J300", 2024, 3, 1, 2, 0, 0, 60, true },  /* J60 is 1 March, leap year or not */
    { "AAA0BBB,J60,J300", 2026, 3, 1, 2, 0, 0, 60, true },
    { "AAA0BBB,59,300", 2024, 2, 29, 2, 0, 0, 60, true },   /* 59 counts 29 February */
    { "AAA0BBB,59,300", 2026, 3, 1, 2, 0, 0, 60, true },
    { "AAA0BBB,M2.5.4/0,M9.1.0", 2024, 2, 29, 0, 0, 0, 60, true },
};

static void changes_happen_when_the_rule_says(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        const struct change_row *row = &changes[i];
        struct posix_tz tz = rule(row->rule);
        struct zone_period before, after;
        int64_t at = utc(row->year, row->month, row->day, row->hour, row->minute);
        posix_tz_at(&tz, at - 1, &before);
        posix_tz_at(&tz, at, &after);
        if (before.offset != row->before * 60 || after.offset != row->after * 60)
            fail_msg("row %zu: %d to %d", i, before.offset / 60, after.offset / 60);
        assert_int_equal(after.dst, row->dst_after);
        assert_int_equal(before.dst, !row->dst_after);
        assert_true(before.end == at && after.start == at);
        assert_true(before.start < at && after.end > at);
    }
}

static void names_are_those_of_the_clock_in_force(void **state) {
    struct posix_tz tz = rule("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0");
    struct zone_period p;
    posix_tz_at(&tz, utc(2026, 1, 1, 0, 0), &p);
    assert_true(str_eq(p.abbreviation, S("+11")));
    posix_tz_at(&tz, utc(2026, 7, 1, 0, 0), &p);
    assert_true(str_eq(p.abbreviation, S("+1030")));
}

static void a_zone_without_daylight_saving_never_changes(void **state) {
    struct posix_tz tz = rule("JST-9");
    struct zone_period p;
    posix_tz_at(&tz, utc(2500, 7, 1, 0, 0), &p);
    assert_int_equal(p.offset, 9 * 3600);
    assert_true(p.start == INT64_MIN && p.end == INT64_MAX && !p.dst);
}

/* RFC 9636 §3.3.1 gives this very string. */
static void daylight_saving_may_last_all_year(void **state) {
    struct posix_tz tz = rule("XXX3EDT4,0/0,J365/23");
    for (int month = 1; month <= 12; month++)
        for (int day = 1; day <= 31; day += 10) {
            struct zone_period p;
            posix_tz_at(&tz, utc(2026, month, day, 4, 0), &p);
            assert_int_equal(p.offset, -4 * 3600);
            assert_true(p.dst);
        }
}

static void every_instant_lies_in_its_period(void **state) {
    static const char *const rules[] = {
        "CET-1CEST,M3.5.0,M10.5.0/3", "AAA0BBB,J1/-167,J1/-160", "AAA0BBB,J365/167,J365/160",
        "AAA0BBB,0/0,0/0", "AAA24BBB-24,M1.1.0,M12.5.6/167",
    };
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        struct posix_tz tz = rule(rules[i]);
        for (int64_t t = utc(2023, 1, 1, 0, 0); t < utc(2029, 1, 1, 0, 0); t += 5 * 3600 + 7) {
            struct zone_period p;
            posix_tz_at(&tz, t, &p);
            if (t < p.start || t >= p.end)
                fail_msg("%s at %" PRId64, rules[i], t);
        }
    }
}

static void what_is_no_rule_is_refused(void **state) {
    static const char *const bad[] = {
        "", "CET", "CE-1", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M3.5.0,M10.5.0/3x",
        "CET-25", "CET-1:60", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0",
        "CET-1CEST,M3.0.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J300",
        "CET-1CEST,J366,J300", "CET-1CEST,366,300", "CET-1CEST,M3.5.0/168,M10.5.0", "<CET-1", "<>0",
        ":Europe/Paris", "ABCDEFGHIJKLMNOPQ0", "CET-1CEST,M3.5.0/,M10.5.0", "CET1000",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct posix_tz tz;
        if (posix_tz_read(str_of(bad[i]), &tz))
            fail_msg("took %s", bad[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_happen_when_the_rule_says),
        cmocka_unit_test(names_are_those_of_the_clock_in_force),
        cmocka_unit_test(a_zone_without_daylight_saving_never_changes),
        cmocka_unit_test(daylight_saving_may_last_all_year),
        cmocka_unit_test(every_instant_lies_in_its_period),
        cmocka_unit_test(what_is_no_rule_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
