#include "base/log.h"
#include "base/mem.h"
#include "servers/time/time_server.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WALL (1795233157 * NANOS_SEC + 692345678) /* 2026-11-21T03:52:37.692345678Z */

static void *self;
static struct arena arena;

static int open_at(const char *folder) {
    arena_init(&arena, NULL, 0);
    void *conf = arena_zero(&arena, time_server.options_size);
    field_defaults(time_server.options, time_server.option_count, conf, &arena);
    if (field_set(field_find(time_server.options, time_server.option_count, S("zoneinfo")),
                  str_of(folder), conf, &arena))
        return -1;
    return time_server.open(conf, NULL, &self) ? -1 : 0;
}

static int set_up(void **state) {
    return open_at(CORPUS_DIR "/zoneinfo/slim");
}

static int tear_down(void **state) {
    time_server.close(self);
    arena_done(&arena);
    return 0;
}

static json call(const char *tool, const char *arguments) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct call_ctx c = { .arena = &arena, .wall = WALL };
    bool failed;
    json answer;
    server_call(&time_server, self, &c, str_of(tool), str_of(arguments), &out, &failed);
    assert_false(failed);
    assert_null(
        json_parse(&arena, arena_dup(&arena, buf_view(&out)), (struct json_limits){ 0 }, &answer));
    return answer;
}

static const char *compact(json v) {
    SCOPED(buf_done) struct buf out = { 0 };
    json_write(&out, v);
    return arena_text(&arena, buf_view(&out));
}

static json result_of(const char *tool, const char *arguments) {
    json answer = call(tool, arguments);
    if (json_get(answer, S("isError")))
        fail_msg("%s", compact(answer));
    return json_get(answer, S("structuredContent"));
}

static void assert_text(json object, const char *key, const char *want) {
    struct str got = json_get_text(object, str_of(key));
    if (!str_eq(got, str_of(want)))
        fail_msg("%s is %.*s, not %s", key, STR(got), want);
}

static void assert_error(const char *tool, const char *arguments, const char *want) {
    json answer = call(tool, arguments);
    if (!json_get(answer, S("isError")))
        fail_msg("%s took %s", tool, arguments);
    struct str text = json_get_text(json_at(json_get(answer, S("content")), 0), S("text"));
    if (str_find(text, str_of(want)) < 0)
        fail_msg("%.*s", STR(text));
}

/* ---- get_current_time -------------------------------------------------------------- */

static void now_is_utc_without_a_zone(void **state) {
    static const char want[] =
        "{\"time\":\"2026-11-21T03:52:37.692Z\",\"zone\":\"UTC\",\"offset\":\"+00:00\","
        "\"abbreviation\":\"UTC\",\"dst\":false,\"weekday\":\"Saturday\","
        "\"utc\":\"2026-11-21T03:52:37.692Z\",\"unix\":1795233157}";
    assert_string_equal(compact(result_of("get_current_time", "")), want);
    assert_string_equal(compact(result_of("get_current_time", "{\"zone\":\"\"}")), want);
}

static void now_is_shown_on_the_zones_clock(void **state) {
    static const char want[] =
        "{\"time\":\"2026-11-21T14:52:37.692+11:00\",\"zone\":\"Australia/Lord_Howe\","
        "\"offset\":\"+11:00\",\"abbreviation\":\"+11\",\"dst\":true,\"weekday\":\"Saturday\","
        "\"utc\":\"2026-11-21T03:52:37.692Z\",\"unix\":1795233157}";
    assert_string_equal(
        compact(result_of("get_current_time", "{\"zone\":\"Australia/Lord_Howe\"}")), want);
    assert_string_equal(
        compact(result_of("get_current_time", "{\"zone\":\" australia/lord_howe \"}")), want);
    assert_string_equal(
        compact(result_of("get_current_time", "{\"timezone\":\"Australia/Lord_Howe\"}")), want);
}

static void an_unknown_zone_is_named_with_advice(void **state) {
    assert_error("get_current_time", "{\"zone\":\"Europe/Pari\"}",
                 "zone: \"Europe/Pari\" is no IANA time zone; did you mean Europe/Paris?");
    assert_error("get_current_time", "{\"zone\":1}", "zone must be a text");
}

/* ---- convert_time ------------------------------------------------------------------ */

static void a_local_time_is_shown_in_several_zones(void **state) {
    json r = result_of("convert_time",
                       "{\"time\":\"2026-07-28T14:30\",\"zone\":\"Europe/Paris\","
                       "\"target_zones\":[\"Asia/Tokyo\",\"America/New_York\",\"+05:45\"]}");
    json targets = json_get(r, S("targets"));
    assert_int_equal(json_count(targets), 3);
    assert_text(json_get(r, S("source")), "time", "2026-07-28T14:30:00+02:00");
    assert_text(json_at(targets, 0), "time", "2026-07-28T21:30:00+09:00");
    assert_text(json_at(targets, 0), "difference", "+07:00");
    assert_text(json_at(targets, 1), "time", "2026-07-28T08:30:00-04:00");
    assert_text(json_at(targets, 1), "difference", "-06:00");
    assert_text(json_at(targets, 2), "time", "2026-07-28T18:15:00+05:45");
    assert_text(r, "utc", "2026-07-28T12:30:00Z");
    assert_null(json_get(r, S("notes")));
}

struct time_row {
    const char *time, *utc;
};
static const struct time_row spellings[] = { /* in Asia/Tokyo, +09:00 */
    { "now", "2026-11-21T03:52:37.692345678Z" },
    { "", "2026-11-21T03:52:37.692345678Z" },
    { "2026-07-28T14:30:00Z", "2026-07-28T14:30:00Z" },
    { "2026-07-28T14:30:00-01:30", "2026-07-28T16:00:00Z" },
    { "2026-07-28T14:30", "2026-07-28T05:30:00Z" },
    { "2026-07-28", "2026-07-27T15:00:00Z" },
    { " 2026-07-28 ", "2026-07-27T15:00:00Z" },
    { "14:30", "2026-11-21T05:30:00Z" },       /* it is 21 November in Tokyo */
    { "23:00-11:00", "2026-11-21T10:00:00Z" }, /* 20 November at -11:00 */
    { "2026-07-28T24:00", "2026-07-28T15:00:00Z" },
    { "@0", "1970-01-01T00:00:00Z" },
    { "@1785240000.25", "2026-07-28T12:00:00.250Z" },
    { "@-1.5", "1969-12-31T23:59:58.500Z" },
    { "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z" },
    { "2017-01-01T08:59:60.5", "2017-01-01T00:00:00.500Z" },
    { "0001-01-01T09:18:59", "0001-01-01T00:00:00Z" }, /* Tokyo's local mean time */
};

static void a_time_has_many_spellings(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
        struct str arguments = arena_fmt(
            &arena, "{\"time\":\"%s\",\"zone\":\"Asia/Tokyo\",\"target_zones\":[\"UTC\"]}",
            spellings[i].time);
        assert_text(result_of("convert_time", arena_text(&arena, arguments)), "utc",
                    spellings[i].utc);
    }
}

static const struct time_row bad_times[] = {
    { "noon", "time \\\"noon\\\" is not an ISO 8601 date and time" },
    { "2026-02-30T10:00", "2026-02 has days 01 to 28" },
    { "2026-07-28T12:00:60Z", "which only a leap second has" },
    { "2026-07-28T23:59:60Z", "which only a leap second has" },
    { "@", "is not \\\"@\\\" and Unix seconds" },
    { "@1e3", "is not \\\"@\\\" and Unix seconds" },
    { "@1.", "is not \\\"@\\\" and Unix seconds" },
    { "@1.0000000001", "is not \\\"@\\\" and Unix seconds" },
    { "@253402300800", "is not \\\"@\\\" and Unix seconds" },
    { "@99999999999999999999", "is not \\\"@\\\" and Unix seconds" },
    { "0001-01-01T00:00:00+09:00", "outside of the years 0001 to 9999" },
    { "9999-12-31T24:00:00Z", "outside of the years 0001 to 9999" },
};

static void a_time_that_is_none_is_named_with_the_reason(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(bad_times); i++) {
        struct str arguments = arena_fmt(&arena, "{\"time\":\"%s\",\"target_zones\":[\"UTC\"]}",
                                         bad_times[i].time);
        struct str want = json_unquote(&arena, arena_fmt(&arena, "\"%s\"", bad_times[i].utc));
        assert_error("convert_time", arena_text(&arena, arguments), arena_text(&arena, want));
    }
}

static void the_offset_of_a_time_is_its_zone_when_none_is_given(void **state) {
    json r = result_of("convert_time",
                       "{\"time\":\"2026-07-28T14:30-03:30\",\"target_zones\":[\"UTC\"]}");
    assert_text(json_get(r, S("source")), "zone", "-03:30");
    r = result_of("convert_time",
                  "{\"time\":\"2026-07-28T14:30\",\"target_zones\":[\"Asia/Tokyo\"]}");
    assert_text(json_get(r, S("source")), "time", "2026-07-28T14:30:00Z");
}

static void a_choice_about_a_gap_is_noted(void **state) {
    static const char ask[] = "{\"time\":\"2026-03-29T02:30\",\"zone\":\"Europe/Paris\","
                              "\"target_zones\":[\"UTC\"],\"disambiguation\":\"%s\"}";
    json r = result_of("convert_time", arena_text(&arena, arena_fmt(&arena, ask, "compatible")));
    assert_text(r, "utc", "2026-03-29T01:30:00Z");
    assert_int_equal(json_count(json_get(r, S("notes"))), 1);
    r = result_of("convert_time", arena_text(&arena, arena_fmt(&arena, ask, "earlier")));
    assert_text(r, "utc", "2026-03-29T00:30:00Z");
    assert_error("convert_time", arena_text(&arena, arena_fmt(&arena, ask, "reject")),
                 "2026-03-29T02:30:00 does not exist in Europe/Paris");
    assert_error(
        "convert_time", arena_text(&arena, arena_fmt(&arena, ask, "sooner")),
        "disambiguation must be one of \"compatible\", \"earlier\", \"later\", \"reject\"");
}

static void each_target_zone_is_checked(void **state) {
    assert_error("convert_time", "{\"target_zones\":[\"UTC\",\"Asia/Tokio\"]}",
                 "target_zones[1]: \"Asia/Tokio\" is no IANA time zone; did you mean Asia/Tokyo?");
    assert_error("convert_time", "{\"target_zones\":[]}",
                 "target_zones must be an array of texts of 1 to 50");
    assert_error("convert_time", "{}", "target_zones is missing");
    assert_error("convert_time",
                 "{\"target_zones\":[\"Asia/Tokyo\"],\"time\":\"9999-12-31T23:00Z\"}",
                 "outside of the years 0001 to 9999 in Asia/Tokyo");
}

static void offsets_before_standard_time_keep_their_seconds(void **state) {
    json r = result_of("convert_time",
                       "{\"time\":\"1900-01-01T00:00:00Z\",\"target_zones\":[\"Europe/Paris\"]}");
    json paris = json_at(json_get(r, S("targets")), 0);
    assert_text(paris, "time", "1900-01-01T00:09:21+00:09:21");
    assert_text(paris, "abbreviation", "PMT");
    r = result_of("convert_time",
                  "{\"time\":\"1900-01-01T00:09:21+00:09:21\",\"target_zones\":[\"UTC\"]}");
    assert_text(r, "utc", "1900-01-01T00:00:00Z");
}

/* ---- time_between ------------------------------------------------------------------ */

static void what_lies_between_is_told_in_every_way(void **state) {
    json r = result_of("time_between",
                       "{\"start\":\"2026-03-27T12:00\",\"end\":\"2026-05-29T12:00:01.5\","
                       "\"zone\":\"Europe/Paris\"}");
    assert_string_equal(
        compact(r),
        "{\"start\":\"2026-03-27T12:00:00+01:00\",\"end\":\"2026-05-29T12:00:01.500+02:00\","
        "\"seconds\":5439601.5,\"days\":63,\"duration\":\"P2M2DT1.500S\","
        "\"exact_duration\":\"PT1511H1.500S\",\"calendar\":{\"years\":0,\"months\":2,\"days\":2,"
        "\"hours\":0,"
        "\"minutes\":0,\"seconds\":1.5},\"negative\":false,\"text\":\"2 months, 2 days and 1.5 "
        "seconds\"}");
}

static void an_earlier_end_is_negative(void **state) {
    json r = result_of("time_between",
                       "{\"start\":\"2026-01-02T00:00Z\",\"end\":\"2025-12-31T23:00Z\"}");
    assert_text(r, "duration", "-P1DT1H");
    assert_text(r, "seconds", "-90000");
    assert_text(r, "days", "-2");
    assert_text(r, "text", "1 day and 1 hour");
    bool negative = false;
    assert_true(json_is_bool(json_get(r, S("negative")), &negative) && negative);
}

static void the_end_may_be_now_or_in_another_zone(void **state) {
    json r = result_of("time_between", "{\"start\":\"2026-11-21T03:52:37.692345678Z\"}");
    assert_text(r, "duration", "PT0S");
    assert_text(r, "text", "0 seconds");
    r = result_of("time_between",
                  "{\"start\":\"2026-07-28T10:30\",\"zone\":\"Europe/Paris\","
                  "\"end\":\"2026-07-28T12:45\",\"end_zone\":\"America/New_York\"}");
    assert_text(r, "text", "8 hours and 15 minutes");
    assert_text(r, "end", "2026-07-28T12:45:00-04:00");
}

static void each_end_is_checked_by_its_name(void **state) {
    assert_error("time_between", "{}", "start is missing");
    assert_error("time_between", "{\"start\":\"x\"}", "start \"x\" is not");
    assert_error("time_between", "{\"start\":\"now\",\"end\":\"x\"}", "end \"x\" is not");
    assert_error("time_between", "{\"start\":\"now\",\"end_zone\":\"Asia/X\"}",
                 "end_zone: \"Asia/X\"");
}

/* ---- add_duration ------------------------------------------------------------------ */

static void a_duration_is_added_on_the_zones_calendar(void **state) {
    json r = result_of(
        "add_duration",
        "{\"time\":\"2026-03-28T02:30\",\"zone\":\"Europe/Paris\",\"duration\":\"P1D\"}");
    assert_text(r, "time", "2026-03-29T03:30:00+02:00");
    assert_text(r, "start", "2026-03-28T02:30:00+01:00");
    assert_text(r, "utc", "2026-03-29T01:30:00Z");
    assert_text(r, "unix", "1774747800");
    assert_int_equal(json_count(json_get(r, S("notes"))), 1);
    r = result_of("add_duration", "{\"duration\":\"-PT1H\"}");
    assert_text(r, "time", "2026-11-21T02:52:37.692345678Z");
}

static void a_short_month_cuts_the_day_or_refuses(void **state) {
    json r = result_of("add_duration", "{\"time\":\"2026-01-31\",\"duration\":\"P1M\"}");
    assert_text(r, "time", "2026-02-28T00:00:00Z");
    assert_int_equal(json_count(json_get(r, S("notes"))), 1);
    assert_error("add_duration",
                 "{\"time\":\"2026-01-31\",\"duration\":\"P1M\",\"overflow\":\"reject\"}",
                 "duration \"P1M\" leads to 2026-02-31, which does not exist");
}

static void a_duration_that_is_none_is_refused(void **state) {
    assert_error("add_duration", "{\"duration\":\"1 day\"}",
                 "duration \"1 day\" is not an ISO 8601 duration");
    assert_error("add_duration", "{\"duration\":\"P0.5D\"}", "use hours, minutes or seconds");
    assert_error("add_duration", "{\"duration\":\"P9999Y\"}",
                 "leads outside of the years 0001 to 9999");
    assert_error("add_duration", "{}", "duration is missing");
}

/* ---- list_time_zones --------------------------------------------------------------- */

static void zones_are_listed_in_pages(void **state) {
    int64_t offset = 0, next = 0;
    size_t seen = 0, pages = 0;
    struct str last = S("");
    do {
        struct str arguments = arena_fmt(&arena, "{\"limit\":10,\"offset\":%d}", (int)offset);
        json r = result_of("list_time_zones", arena_text(&arena, arguments));
        assert_text(r, "total", "30");
        for (struct json_iter it = json_iter(json_get(r, S("zones"))); json_next(&it); seen++) {
            struct str name = json_get_text(it.value, S("name"));
            assert_true(str_cmp(last, name) < 0);
            assert_null(json_get(it.value, S("offset")));
            last = name;
        }
        next = 0;
        json_is_i64(json_get(r, S("next_offset")), &next);
        offset = next;
        pages++;
    } while (next);
    assert_int_equal(seen, 30);
    assert_int_equal(pages, 3);
}

static void zones_are_found_and_shown_with_offsets(void **state) {
    json r = result_of("list_time_zones", "{\"country\":\"Japan\",\"offsets\":true}");
    assert_string_equal(
        compact(r), "{\"zones\":[{\"name\":\"Asia/Tokyo\",\"country\":\"JP\",\"offset\":\"+09:00\","
                    "\"abbreviation\":\"JST\"}],\"total\":1}");
    r = result_of("list_time_zones", "{\"search\":\"nowhere\"}");
    assert_string_equal(compact(r), "{\"zones\":[],\"total\":0}");
    r = result_of("list_time_zones", "{\"offset\":10000}");
    assert_string_equal(compact(r), "{\"zones\":[],\"total\":30}");
    assert_error("list_time_zones", "{\"limit\":0}",
                 "limit must be an integer from 1 to 1000, not 0");
}

/* ---- the server -------------------------------------------------------------------- */

static void without_zone_data_there_is_utc_and_a_reason(void **state) {
    tear_down(NULL);
    log_setup((struct log_conf){ .level = LOG_OFF });
    assert_int_equal(open_at("/nonexistent/zoneinfo"), 0);
    result_of("get_current_time", "{}");
    assert_error("get_current_time", "{\"zone\":\"Europe/Paris\"}", "install the package tzdata");
    assert_error("list_time_zones", "{}", "install the package tzdata");
}

/* Every tool only reads; what is hidden is accepted, not offered. */
static void tools_are_announced_as_what_they_are(void **state) {
    SCOPED(buf_done) struct buf out = { 0 };
    json list;
    server_list(&time_server, self, &out);
    assert_null(json_parse(&arena, buf_view(&out), (struct json_limits){ 0 }, &list));
    json tools = json_get(list, S("tools"));
    assert_int_equal(json_count(tools), 5);
    for (struct json_iter it = json_iter(tools); json_next(&it);) {
        bool read_only = false, open_world = true;
        json hints = json_get(it.value, S("annotations"));
        assert_true(json_is_bool(json_get(hints, S("readOnlyHint")), &read_only) && read_only);
        assert_true(json_is_bool(json_get(hints, S("openWorldHint")), &open_world) && !open_world);
        assert_null(json_get(json_get(json_get(it.value, S("inputSchema")), S("properties")),
                             S("timezone")));
        assert_non_null(json_get(it.value, S("outputSchema")));
    }
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SERVER(now_is_utc_without_a_zone),
        WITH_SERVER(now_is_shown_on_the_zones_clock),
        WITH_SERVER(an_unknown_zone_is_named_with_advice),
        WITH_SERVER(a_local_time_is_shown_in_several_zones),
        WITH_SERVER(a_time_has_many_spellings),
        WITH_SERVER(a_time_that_is_none_is_named_with_the_reason),
        WITH_SERVER(the_offset_of_a_time_is_its_zone_when_none_is_given),
        WITH_SERVER(a_choice_about_a_gap_is_noted),
        WITH_SERVER(each_target_zone_is_checked),
        WITH_SERVER(offsets_before_standard_time_keep_their_seconds),
        WITH_SERVER(what_lies_between_is_told_in_every_way),
        WITH_SERVER(an_earlier_end_is_negative),
        WITH_SERVER(the_end_may_be_now_or_in_another_zone),
        WITH_SERVER(each_end_is_checked_by_its_name),
        WITH_SERVER(a_duration_is_added_on_the_zones_calendar),
        WITH_SERVER(a_short_month_cuts_the_day_or_refuses),
        WITH_SERVER(a_duration_that_is_none_is_refused),
        WITH_SERVER(zones_are_listed_in_pages),
        WITH_SERVER(zones_are_found_and_shown_with_offsets),
        WITH_SERVER(without_zone_data_there_is_utc_and_a_reason),
        WITH_SERVER(tools_are_announced_as_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
