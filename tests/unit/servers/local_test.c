#include "servers/time/local.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/servers/samples.h"

/* ---- local times ------------------------------------------------------------------- */

/* PEP 495: fold 0 is what "compatible" means; in a gap the two stand the other way round. */
static void check_local(const struct zone *z, const struct str columns[4]) {
    int64_t local = sample_number(columns[1]);
    int64_t fold0 = sample_number(columns[2]), fold1 = sample_number(columns[3]);
    struct civil c = civil_of(local, 5);
    int64_t want[] = { fold0, fold0 < fold1 ? fold0 : fold1, fold0 < fold1 ? fold1 : fold0 };
    for (int choice = LOCAL_COMPATIBLE; choice <= LOCAL_LATER; choice++) {
        struct local_notes notes = { 0 };
        struct instant at;
        assert_null(local_instant(z, &c, (enum local_choice)choice, &at, &notes));
        if (at.seconds != want[choice] || at.nano != 5)
            fail_msg("%.*s, local %" PRId64 ", %s: %" PRId64 ", Python says %" PRId64,
                     STR(zone_name(z)), local, local_choices[choice], at.seconds, want[choice]);
        assert_int_equal(notes.gap, fold0 > fold1);
        assert_int_equal(notes.overlap, fold0 < fold1);
    }
}

static void local_times_are_resolved_as_python_does(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(sample_trees); i++)
        assert_true(samples_each(sample_trees[i], "locals.tsv", check_local) > 2000);
}

static struct civil clock_of(const char *text) {
    struct iso_time t;
    assert_null(iso_read_time(str_of(text), &t));
    return t.at;
}

static void gaps_and_overlaps_may_be_rejected(void **state) {
    struct zone *paris = sample_zone("slim", S("Europe/Paris"));
    struct local_notes notes = { 0 };
    struct instant at;
    struct civil gap = clock_of("2026-03-29T02:30"), twice = clock_of("2026-10-25T02:30");
    struct civil fine = clock_of("2026-10-25T03:00");
    err_t e = local_instant(paris, &gap, LOCAL_REJECT, &at, &notes);
    assert_non_null(e);
    assert_string_equal(
        e->text, "2026-03-29T02:30:00 does not exist in Europe/Paris: clocks go forward over it");
    e = local_instant(paris, &twice, LOCAL_REJECT, &at, &notes);
    assert_non_null(e);
    assert_string_equal(e->text,
                        "2026-10-25T02:30:00 exists twice in Europe/Paris: clocks go back over it");
    assert_null(local_instant(paris, &fine, LOCAL_REJECT, &at, &notes));
    assert_false(notes.gap || notes.overlap);
    zone_free(paris);
}

static void a_whole_day_may_be_skipped(void **state) {
    struct zone *apia = sample_zone("slim", S("Pacific/Apia"));
    struct local_notes notes = { 0 };
    struct instant early, late;
    struct civil gone = clock_of("2011-12-30T12:00"), shown;
    assert_null(local_instant(apia, &gone, LOCAL_EARLIER, &early, &notes));
    assert_null(local_instant(apia, &gone, LOCAL_LATER, &late, &notes));
    assert_true(notes.gap);
    assert_null(local_civil(apia, early, &shown, NULL));
    assert_int_equal(shown.day, 29);
    assert_null(local_civil(apia, late, &shown, NULL));
    assert_int_equal(shown.day, 31);
    zone_free(apia);
}

static void clocks_do_not_leave_the_years(void **state) {
    struct zone *paris = sample_zone("slim", S("Europe/Paris")),
                *tokyo = sample_zone("slim", S("Asia/Tokyo"));
    struct local_notes notes = { 0 };
    struct instant at, last = { CIVIL_MAX, 0 };
    struct civil c = clock_of("0001-01-01T00:00:00");
    assert_non_null(local_instant(paris, &c, LOCAL_COMPATIBLE, &at, &notes));
    assert_non_null(local_civil(tokyo, last, &c, NULL));
    assert_null(local_civil(zone_utc, last, &c, NULL));
    zone_free(paris);
    zone_free(tokyo);
}

/* ---- arithmetic -------------------------------------------------------------------- */

struct add_row {
    const char *zone, *from, *duration, *to; /* with offsets */
    bool clamped, gap, overlap;
};
static const struct add_row additions[] = {
    { "Europe/Paris", "2026-03-28T12:00:00+01:00", "P1D", "2026-03-29T12:00:00+02:00", false, false, false },
    { "Europe/Paris", "2026-03-28T12:00:00+01:00", "PT24H", "2026-03-29T13:00:00+02:00", false, false, false },
    { "Europe/Paris", "2026-03-28T02:30:00+01:00", "P1D", "2026-03-29T03:30:00+02:00", false, true, false },
    { "Europe/Paris", "2026-10-24T02:30:00+02:00", "P1D", "2026-10-25T02:30:00+02:00", false, false, true },
    { "Europe/Paris", "2026-10-26T02:30:00+01:00", "-P1D", "2026-10-25T02:30:00+02:00", false, false, true },
    { "Europe/Paris", "2026-10-25T02:30:00+01:00", "PT0S", "2026-10-25T02:30:00+01:00", false, false, false },
    { "Europe/Paris", "2026-10-25T02:30:00+02:00", "PT1H", "2026-10-25T02:30:00+01:00", false, false, false },
    { "Etc/UTC", "2026-01-31T00:00:00+00:00", "P1M", "2026-02-28T00:00:00+00:00", true, false, false },
    { "Etc/UTC", "2024-01-31T00:00:00+00:00", "P1M1D", "2024-03-01T00:00:00+00:00", true, false, false },
    { "Etc/UTC", "2024-02-29T00:00:00+00:00", "P1Y", "2025-02-28T00:00:00+00:00", true, false, false },
    { "Etc/UTC", "2024-02-29T00:00:00+00:00", "P4Y", "2028-02-29T00:00:00+00:00", false, false, false },
    { "Etc/UTC", "2026-03-31T00:00:00+00:00", "-P1M", "2026-02-28T00:00:00+00:00", true, false, false },
    { "Etc/UTC", "2026-01-01T00:00:00+00:00", "P2W1D", "2026-01-16T00:00:00+00:00", false, false, false },
    { "Etc/UTC", "2026-01-01T00:00:00+00:00", "-PT0.25S", "2025-12-31T23:59:59.750+00:00", false, false, false },
    { "Etc/UTC", "2026-01-01T00:00:00.9Z", "PT0.2S", "2026-01-01T00:00:01.100+00:00", false, false, false },
    { "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", "P1D", "2026-10-04T12:00:00+11:00", false, false, false },
    { "Pacific/Apia", "2011-12-29T12:00:00-10:00", "P1D", "2011-12-31T12:00:00+14:00", false, true, false },
};

static struct instant instant_at(const char *text) {
    struct iso_time t;
    assert_null(iso_read_time(str_of(text), &t));
    return (struct instant){ civil_local(&t.at) - t.offset, t.at.nano };
}

static void assert_shown(const struct zone *z, struct instant at, const char *want) {
    struct civil c;
    struct zone_period p;
    char text[ISO_TEXT];
    assert_null(local_civil(z, at, &c, &p));
    struct str shown = iso_write_time(&c, p.offset, text);
    if (!str_eq(shown, str_of(want)))
        fail_msg("%.*s, not %s", STR(shown), want);
}

static void days_keep_the_clock_and_hours_keep_the_time(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(additions); i++) {
        const struct add_row *row = &additions[i];
        struct zone *z = sample_zone("slim", str_of(row->zone));
        struct local_notes notes = { 0 };
        struct span d;
        struct instant to;
        assert_null(iso_read_duration(str_of(row->duration), &d));
        assert_null(local_add(z, instant_at(row->from), &d, LOCAL_COMPATIBLE, false, &to, &notes));
        assert_shown(z, to, row->to);
        assert_int_equal(notes.clamped, row->clamped);
        assert_int_equal(notes.gap, row->gap);
        assert_int_equal(notes.overlap, row->overlap);
        zone_free(z);
    }
}

static void a_choice_holds_for_the_result_too(void **state) {
    struct zone *z = sample_zone("slim", S("Europe/Paris"));
    struct local_notes notes = { 0 };
    struct span day = { .days = 1 }, month = { .months = 1 };
    struct instant to;
    assert_null(local_add(z, instant_at("2026-10-24T02:30:00+02:00"), &day, LOCAL_LATER, false, &to,
                          &notes));
    assert_shown(z, to, "2026-10-25T02:30:00+01:00");
    assert_null(local_add(z, instant_at("2026-03-28T02:30:00+01:00"), &day, LOCAL_EARLIER, false,
                          &to, &notes));
    assert_shown(z, to, "2026-03-29T01:30:00+01:00");
    assert_non_null(local_add(z, instant_at("2026-03-28T02:30:00+01:00"), &day, LOCAL_REJECT, false,
                              &to, &notes));
    err_t e = local_add(z, instant_at("2026-01-31T12:00:00+01:00"), &month, LOCAL_COMPATIBLE, true,
                        &to, &notes);
    assert_non_null(e);
    assert_string_equal(e->text, "leads to 2026-02-31, which does not exist");
    zone_free(z);
}

static void results_do_not_leave_the_years(void **state) {
    static const char *const durations[] = {
        "P8000Y", "-P2026Y", "P999999999999Y999999999999M", "P999999999999W999999999999D",
        "PT999999999999H999999999999M999999999999S", "-PT999999999999H",
    };
    struct instant to, from = instant_at("2026-01-01T00:00:00Z");
    for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
        struct local_notes notes = { 0 };
        struct span d;
        assert_null(iso_read_duration(str_of(durations[i]), &d));
        err_t e = local_add(zone_utc, from, &d, LOCAL_COMPATIBLE, false, &to, &notes);
        assert_non_null(e);
        assert_string_equal(e->text, "leads outside of the years 0001 to 9999");
    }
}

/* ---- between ----------------------------------------------------------------------- */

static const struct { const char *zone, *start, *end, *duration, *exact; } stretches[] = {
    { "Etc/UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "PT0S", "PT0S" },
    { "Etc/UTC", "1990-05-17T00:00:00Z", "2026-11-21T00:00:00Z", "P36Y6M4D", "PT320088H" },
    { "Etc/UTC", "2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z", "P29D", "PT696H" },
    { "Etc/UTC", "2024-01-31T00:00:00Z", "2024-03-01T00:00:00Z", "P1M1D", "PT720H" },
    { "Etc/UTC", "2024-02-29T00:00:00Z", "2025-02-28T00:00:00Z", "P11M30D", "PT8760H" },
    { "Etc/UTC", "2026-01-01T12:00:00Z", "2026-01-02T11:59:59.5Z", "PT23H59M59.500S", "PT23H59M59.500S" },
    { "Etc/UTC", "2026-01-02T00:00:00Z", "2025-12-31T23:00:00Z", "-P1DT1H", "-PT25H" },
    { "Europe/Paris", "2026-03-28T12:00:00+01:00", "2026-03-29T12:00:00+02:00", "P1D", "PT23H" },
    { "Europe/Paris", "2026-10-24T12:00:00+02:00", "2026-10-25T12:00:00+01:00", "P1D", "PT25H" },
    { "Europe/Paris", "2026-10-25T02:45:00+02:00", "2026-10-25T02:15:00+01:00", "PT30M", "PT30M" },
    { "Europe/Paris", "2026-03-28T02:30:00+01:00", "2026-03-29T03:15:00+02:00", "PT23H45M", "PT23H45M" },
    { "Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00", "P2D", "PT24H" },
};

static void stretches_are_counted_on_the_calendar_and_exactly(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(stretches); i++) {
        struct zone *z = sample_zone("slim", str_of(stretches[i].zone));
        struct instant start = instant_at(stretches[i].start), end = instant_at(stretches[i].end);
        struct span d, exact = span_exact(start, end);
        char text[ISO_TEXT];
        assert_null(local_between(z, start, end, &d));
        struct str written = iso_write_duration(&d, text);
        if (!str_eq(written, str_of(stretches[i].duration)))
            fail_msg("row %zu: %.*s", i, STR(written));
        assert_true(str_eq(iso_write_duration(&exact, text), str_of(stretches[i].exact)));
        zone_free(z);
    }
}

/* Whatever the zone and the changes between: what was counted leads back to the end. */
static void what_lies_between_added_to_the_start_is_the_end(void **state) {
    static const char *const zones[] = { "Europe/Paris", "America/St_Johns", "Pacific/Apia",
                                         "Africa/Casablanca", "Antarctica/Troll" };
    uint64_t chance = 1;
    for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
        struct zone *z = sample_zone("slim", str_of(zones[i]));
        for (int k = 0; k < 2000; k++) {
            struct instant from, to, reached;
            struct local_notes notes = { 0 };
            struct span d;
            chance = chance * 6364136223846793005u + 1442695040888963407u;
            from = (struct instant){ (int64_t)(chance >> 33),
                                     (int)(chance >> 40) % NANOS_PER_SECOND };
            to = (struct instant){ from.seconds + (int64_t)(chance % (k % 2 ? 300000 : 300000000)),
                                   7 };
            if (instant_cmp(from, to) > 0)
                continue;
            assert_null(local_between(z, from, to, &d));
            assert_false(d.negative);
            assert_null(local_add(z, from, &d, LOCAL_COMPATIBLE, false, &reached, &notes));
            if (instant_cmp(reached, to) != 0)
                fail_msg("%s: %" PRId64 " to %" PRId64, zones[i], from.seconds, to.seconds);
        }
        zone_free(z);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_times_are_resolved_as_python_does),
        cmocka_unit_test(gaps_and_overlaps_may_be_rejected),
        cmocka_unit_test(a_whole_day_may_be_skipped),
        cmocka_unit_test(clocks_do_not_leave_the_years),
        cmocka_unit_test(days_keep_the_clock_and_hours_keep_the_time),
        cmocka_unit_test(a_choice_holds_for_the_result_too),
        cmocka_unit_test(results_do_not_leave_the_years),
        cmocka_unit_test(stretches_are_counted_on_the_calendar_and_exactly),
        cmocka_unit_test(what_lies_between_added_to_the_start_is_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
