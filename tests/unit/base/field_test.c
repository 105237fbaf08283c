/* field_test.c - one row of base/field.h reads, writes, checks and describes. */
#include "base/field.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct inner {
    nanos wait;
    int64_t retries;
};
static const struct field inner_rows[] = {
    FIELD(struct inner, wait, DURATION, "5s", "1ms..1m", 0, "Wait."),
    FIELD(struct inner, retries, INT, "2", "0..10", FIELD_REQUIRED, "Retries."),
};

struct server {
    struct str name;
    struct str command;
    struct str_list args;
    struct pair_list env;
};
static const struct field server_rows[] = {
    FIELD(struct server, command, STR, NULL, "1..", FIELD_REQUIRED, "Program."),
    FIELD(struct server, args, STRS, NULL, "..3", 0, "Arguments."),
    FIELD(struct server, env, PAIRS, NULL, NULL, FIELD_PRIVATE, "Environment."),
};

enum mode { MODE_FAST, MODE_SAFE };
static const char *const modes[] = { "fast", "safe", NULL };

struct all {
    bool on;
    int64_t port;
    double share;
    struct str title, token, since;
    nanos timeout;
    int64_t body;
    struct rate limit;
    int mode;
    struct str_list tags;
    struct pair_list labels;
    struct inner inner;
    struct item_list servers, hooks;
    json extra;
};
static const struct field all_rows[] = {
    FIELD(struct all, on, BOOL, "true", NULL, 0, "Switch."),
    FIELD(struct all, port, INT, "8000", "1..65535", FIELD_RESTART, "Port."),
    FIELD(struct all, share, DOUBLE, "0.5", "0..1", 0, "Share."),
    FIELD(struct all, title, STR, "none", "1..8", 0, "Title."),
    FIELD(struct all, token, SECRET, NULL, "..64", 0, "Token."),
    FIELD(struct all, since, TIME, NULL, NULL, 0, "Since."),
    FIELD(struct all, timeout, DURATION, "30s", "1ms..10m", 0, "Longest wait."),
    FIELD(struct all, body, BYTES, "4MiB", "1KiB..1GiB", 0, "Largest body."),
    FIELD(struct all, limit, RATE, "100/s", "..1000/s", 0, "Rate."),
    FIELD_CHOICE(struct all, mode, modes, "safe", 0, "Mode."),
    FIELD(struct all, tags, STRS, "a, b", NULL, 0, "Tags."),
    FIELD(struct all, labels, PAIRS, NULL, NULL, FIELD_LATER, "Labels."),
    FIELD_NEST(struct all, inner, OBJECT, inner_rows, struct inner, 0, "Inner."),
    FIELD_NEST(struct all, servers, MAP, server_rows, struct server, 0, "Servers."),
    FIELD_NEST(struct all, hooks, LIST, inner_rows, struct inner, 0, "Hooks."),
    FIELD(struct all, extra, JSON, NULL, NULL, 0, "Anything."),
    FIELD_AS("listenPort", struct all, port, INT, NULL, "1..65535", FIELD_HIDDEN, "Alias of port."),
};
#define ROWS all_rows, ARRAY_SIZE(all_rows)

static struct arena arena;
static struct field_problems problems;
static struct all all;

static int set_up(void **state) {
    arena_init(&arena, NULL, 0);
    problems = (struct field_problems){ .arena = &arena };
    memset(&all, 0x5a, sizeof(all));
    field_defaults(ROWS, &all, &arena);
    return 0;
}

static int tear_down(void **state) {
    arena_done(&arena);
    return 0;
}

static json parsed(const char *text) {
    json v = NULL;
    err_t e = json_parse(&arena, str_of(text), (struct json_limits){ 0 }, &v);
    if (e)
        fail_msg("%s: %s", text, e->text);
    return v;
}

static void read_all(const char *text) {
    field_read(ROWS, parsed(text), S(""), &all, &arena, &problems);
}

static void read_well(const char *text) {
    read_all(text);
    for (size_t i = 0; i < problems.n; i++)
        if (!problems.items[i].warning)
            fail_msg("%s: %.*s %.*s", text, STR(problems.items[i].path),
                     STR(problems.items[i].message));
    assert_int_equal(problems.errors, 0);
}

static void assert_str(struct str got, const char *want) {
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", want \"%s\"", STR(got), want);
}

/* Reading `text` gives exactly one problem, "path: message". */
static void assert_problem(const char *text, const char *want) {
    problems = (struct field_problems){ .arena = &arena, .lenient = problems.lenient };
    read_all(text);
    err_t e = field_problems_err(&problems);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_INVALID);
    assert_string_equal(e->text, want);
    assert_int_equal(problems.errors, 1);
}

static void defaults_fill_every_member(void **state) {
    assert_true(all.on);
    assert_int_equal(all.port, 8000);
    assert_true(all.share == 0.5);
    assert_str(all.title, "none");
    assert_int_equal(all.token.n, 0);
    assert_int_equal(all.timeout, 30 * NANOS_SEC);
    assert_int_equal(all.body, 4 << 20);
    assert_true(all.limit.per_second == 100);
    assert_int_equal(all.mode, MODE_SAFE);
    assert_int_equal(all.tags.n, 2);
    assert_str(all.tags.items[1], "b");
    assert_int_equal(all.labels.n, 0);
    assert_int_equal(all.inner.wait, 5 * NANOS_SEC);
    assert_int_equal(all.servers.n, 0);
    assert_null(all.extra);
}

static void scalars_are_read(void **state) {
    read_well("{\"on\":false,\"port\":9.0e1,\"share\":1,\"title\":\"h\xc3\xa9\",\"token\":\"t\","
              "\"since\":\"2026-07-28T12:00:00Z\",\"timeout\":\"250ms\",\"body\":\"100kB\","
              "\"limit\":\"6000/m\",\"mode\":\"fast\",\"extra\":null}");
    assert_false(all.on);
    assert_int_equal(all.port, 90);
    assert_true(all.share == 1);
    assert_str(all.title, "h\xc3\xa9");
    assert_str(all.token, "t");
    assert_int_equal(all.timeout, 250 * NANOS_MS);
    assert_int_equal(all.body, 100000);
    assert_true(all.limit.per_second == 100);
    assert_int_equal(all.mode, MODE_FAST);
    assert_int_equal(json_type(all.extra), JSON_NULL);
}

static void numbers_stand_for_seconds_and_bytes(void **state) {
    read_well("{\"timeout\":1.5,\"body\":2048,\"limit\":\"off\"}");
    assert_int_equal(all.timeout, 1500 * NANOS_MS);
    assert_int_equal(all.body, 2048);
    assert_true(all.limit.per_second == 0);
}

static void nested_values_are_read(void **state) {
    read_well(
        "{\"tags\":[],\"labels\":{\"a\":\"x\",\"n\":1.50,\"b\":true},\"inner\":{\"retries\":3},"
        "\"hooks\":[{\"retries\":1},{\"retries\":0,\"wait\":\"1s\"}],"
        "\"servers\":{\"time\":{\"command\":\"t\",\"args\":[\"-v\"],\"env\":{\"K\":\"V\"}},"
        "\"x.y\":{\"command\":\"u\"}}}");
    assert_int_equal(all.tags.n, 0);
    assert_int_equal(all.labels.n, 3);
    assert_str(all.labels.items[1].name, "n");
    assert_str(all.labels.items[1].value, "1.50");
    assert_str(all.labels.items[2].value, "true");
    assert_int_equal(all.inner.wait, 5 * NANOS_SEC);
    assert_int_equal(all.inner.retries, 3);
    const struct inner *hooks = all.hooks.items;
    assert_int_equal(all.hooks.n, 2);
    assert_int_equal(hooks[0].wait, 5 * NANOS_SEC);
    assert_int_equal(hooks[1].wait, NANOS_SEC);
    const struct server *servers = all.servers.items;
    assert_int_equal(all.servers.n, 2);
    assert_str(servers[0].name, "time");
    assert_str(servers[0].args.items[0], "-v");
    assert_str(servers[0].env.items[0].value, "V");
    assert_str(servers[1].name, "x.y");
}

static void absent_and_null_members_keep_what_is_there(void **state) {
    read_well("{\"port\":7}");
    read_well("{\"title\":\"t\",\"port\":null}");
    assert_int_equal(all.port, 7);
    assert_str(all.title, "t");
    read_well("null");
}

static void strings_outlive_the_document(void **state) {
    char text[] = "{\"title\":\"abc\"}";
    SCOPED(arena_scope) struct arena document;
    arena_init(&document, NULL, 0);
    json v = NULL;
    assert_null(json_parse(&document, str_of(text), (struct json_limits){ 0 }, &v));
    field_read(ROWS, v, S(""), &all, &arena, &problems);
    arena_reset(&document);
    assert_str(all.title, "abc");
}

static void problems_say_where_and_what_is_allowed(void **state) {
    assert_problem("[]", "must be an object, not an array");
    assert_problem("{\"port\":0}", "port: must be an integer from 1 to 65535, not 0");
    assert_problem("{\"port\":1.5}", "port: must be an integer from 1 to 65535, not 1.5");
    assert_problem("{\"port\":\"80\"}", "port: must be an integer from 1 to 65535, not a string");
    assert_problem("{\"on\":1}", "on: must be true or false, not 1");
    assert_problem("{\"share\":2}", "share: must be a number from 0 to 1, not 2");
    assert_problem("{\"title\":\"\"}", "title: must be a text of 1 to 8 characters");
    assert_problem("{\"title\":\"123456789\"}", "title: must be a text of 1 to 8 characters");
    assert_problem("{\"title\":[]}", "title: must be a text of 1 to 8 characters, not an array");
    assert_problem("{\"timeout\":\"1h\"}", "timeout: must be a duration from 1ms to 10m");
    assert_problem("{\"timeout\":-1}", "timeout: must be a duration from 1ms to 10m, not -1");
    assert_problem("{\"body\":\"4mb\"}", "body: must be a size from 1KiB to 1GiB");
    assert_problem("{\"limit\":\"1001/s\"}", "limit: must be a rate of at most 1000/s, or \"off\"");
    assert_problem("{\"mode\":\"slow\"}", "mode: must be one of \"fast\", \"safe\"");
    assert_problem("{\"since\":\"yesterday\"}",
                   "since: must be a date and time such as 2026-07-28T12:00:00Z");
    assert_problem("{\"tags\":\"a\"}", "tags: must be an array of texts, not a string");
    assert_problem("{\"tags\":[\"a\",1]}", "tags[1]: must be a text, not a number");
    assert_problem("{\"labels\":{\"a\":[]}}", "labels.a: must be a text, not an array");
    assert_problem(
        "{\"servers\":{\"a b\":{\"command\":\"x\",\"args\":[\"1\",\"2\",\"3\",\"4\"]}}}",
        "servers.\"a b\".args: must be an array of texts of at most 3 entries, not one of 4");
    assert_problem("{\"hooks\":[{\"retries\":1},{\"retries\":11}]}",
                   "hooks[1].retries: must be an integer from 0 to 10, not 11");
    assert_problem("{\"hooks\":{}}", "hooks: must be an array of objects, not an object");
}

static void a_bad_value_leaves_the_member_alone(void **state) {
    assert_problem("{\"port\":70000}", "port: must be an integer from 1 to 65535, not 70000");
    assert_int_equal(all.port, 8000);
}

static void missing_members_are_named(void **state) {
    assert_problem("{\"inner\":{}}", "inner.retries: is missing: an integer from 0 to 10");
    assert_null(problems.items[0].at);
    assert_int_equal(json_type(problems.items[0].parent), JSON_OBJECT);
    assert_problem("{\"servers\":{\"a\":null}}",
                   "servers.a.command: is missing: a text of at least 1 characters");
}

static void unknown_members_are_refused_with_a_suggestion(void **state) {
    assert_problem("{\"timeuot\":1}", "timeuot: is unknown; did you mean \"timeout\"?");
    assert_problem("{\"inner\":{\"retries\":1,\"something\":2}}",
                   "inner.something: is unknown; known here: wait, retries");
    assert_problem("{\"inner\":{\"retries\":1,\"\":2}}",
                   "inner.\"\": is unknown; known here: wait, retries");
}

static void aliases_read_the_same_member(void **state) {
    read_well("{\"listenPort\":81}");
    assert_int_equal(all.port, 81);
    assert_problem("{\"port\":1,\"listenPort\":2}",
                   "listenPort: is the same as \"port\", which is given too");
}

static void messages_never_quote_strings(void **state) {
    problems.lenient = true;
    static const char *const texts[] = {
        "{\"port\":\"hunter2\"}", "{\"on\":\"hunter2\"}", "{\"timeout\":\"hunter2\"}", "{\"mode\":\"hunter2\"}",
        "{\"tags\":\"hunter2\"}", "{\"since\":\"hunter2\"}", "{\"title\":\"hunter2xxx\"}", "{\"inner\":\"hunter2\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        problems.n = problems.errors = 0;
        read_all(texts[i]);
        assert_int_equal(problems.errors, 1);
        assert_true(str_find(problems.items[0].message, S("hunter")) < 0);
    }
    char long_secret[200];
    snprintf(long_secret, sizeof(long_secret), "{\"token\":%065d}", 0);
    long_secret[9] = '1';
    assert_problem(long_secret, "token: must be a text of at most 64 characters, not a number");
}

static void lenient_reading_takes_spellings(void **state) {
    problems.lenient = true;
    read_well("{\"port\":\"81\",\"on\":\"no\",\"share\":\"0.25\",\"title\":1.0,\"token\":12345,"
              "\"tags\":[1,true]}");
    assert_int_equal(all.port, 81);
    assert_false(all.on);
    assert_true(all.share == 0.25);
    assert_str(all.title, "1.0");
    assert_str(all.token, "12345");
    assert_str(all.tags.items[1], "true");
    assert_problem("{\"port\":\"99999\"}", "port: must be an integer from 1 to 65535");
}

static void parts_that_are_not_built_warn(void **state) {
    read_well("{\"labels\":{}}");
    assert_int_equal(problems.n, 1);
    assert_true(problems.items[0].warning);
    assert_null(field_problems_err(&problems));
}

static void problems_beyond_the_room_are_counted(void **state) {
    SCOPED(buf_done) struct buf text = { 0 };
    buf_char(&text, '{');
    for (int i = 0; i < 100; i++)
        buf_fmt(&text, "%s\"unknown%d\":1", i ? "," : "", i);
    buf_char(&text, '}');
    read_all(buf_text(&text));
    assert_int_equal(problems.n, 32);
    assert_int_equal(problems.errors, 100);
    assert_non_null(strstr(field_problems_err(&problems)->text, "(and 99 more)"));
}

static void a_path_goes_in_front(void **state) {
    field_read(ROWS, parsed("{\"port\":0,\"tags\":[1]}"), S("gateway"), &all, &arena, &problems);
    assert_str(problems.items[0].path, "gateway.port");
    assert_str(problems.items[1].path, "gateway.tags[0]");
}

static const struct field *row(const char *name) {
    const struct field *found = field_find(ROWS, str_of(name));
    assert_non_null(found);
    return found;
}

static void one_value_is_set_from_text(void **state) {
    assert_null(field_set(row("port"), S("9"), &all, &arena));
    assert_null(field_set(row("timeout"), S("90"), &all, &arena));
    assert_null(field_set(row("tags"), S("x , y,"), &all, &arena));
    assert_null(field_set(row("labels"), S("a=1,b=x=y"), &all, &arena));
    assert_null(field_set(row("inner"), S("{\"retries\":4}"), &all, &arena));
    assert_null(field_set(row("on"), S("off"), &all, &arena));
    assert_null(field_set(row("extra"), S("[1]"), &all, &arena));
    assert_int_equal(all.port, 9);
    assert_int_equal(all.timeout, 90 * NANOS_SEC);
    assert_int_equal(all.tags.n, 3);
    assert_str(all.tags.items[0], "x");
    assert_str(all.labels.items[1].value, "x=y");
    assert_int_equal(all.inner.retries, 4);
    assert_false(all.on);
    assert_int_equal(json_count(all.extra), 1);
    assert_null(field_set(row("tags"), S("[\"q\"]"), &all, &arena));
    assert_str(all.tags.items[0], "q");
    assert_null(field_set(row("tags"), S(""), &all, &arena));
    assert_int_equal(all.tags.n, 0);
}

static void text_that_does_not_fit_is_refused(void **state) {
    static const struct {
        const char *name, *text, *error;
    } cases[] = {
        { "port", "0x50", "port must be an integer from 1 to 65535" },
        { "port", "70000", "port must be an integer from 1 to 65535" },
        { "on", "maybe", "on must be true or false" },
        { "share", "nan", "share must be a number from 0 to 1" },
        { "labels", "a", "labels must be an object of texts" },
        { "inner", "{\"retries\":99}", "inner.retries: must be an integer from 0 to 10, not 99" },
        { "inner", "{", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        err_t e = field_set(row(cases[i].name), str_of(cases[i].text), &all, &arena);
        assert_non_null(e);
        if (cases[i].error)
            assert_string_equal(e->text, cases[i].error);
    }
    assert_int_equal(all.port, 8000);
}

static void times_look_like_rfc_3339(void **state) {
    static const char *const good[] = {
        "2026-07-28T12:00:00Z", "2026-07-28t12:00:00.123456z", "2026-12-31 23:59:60+01:30", "0001-01-01T00:00:00-23:59",
    };
    static const char *const bad[] = {
        "2026-07-28", "2026-13-01T00:00:00Z", "2026-07-28T24:00:00Z", "2026-07-28T12:00:00", "2026-07-28T12:00:00.Z",
        "2026-07-28T12:00:00+1:00", "2026-07-28T12:00:00Zx", "2026-00-10T12:00:00Z", "2026-07-28T12:60:00Z", "",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_null(field_set(row("since"), str_of(good[i]), &all, &arena));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_non_null(field_set(row("since"), str_of(bad[i]), &all, &arena));
}

static struct str written(void) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    field_write(ROWS, &all, &w);
    return arena_dup(&arena, buf_view(&out));
}

static void writing_hides_secrets_and_spells_units(void **state) {
    read_well("{\"token\":\"hunter2\",\"limit\":\"10/h\",\"extra\":{\"a\":1.0},"
              "\"servers\":{\"s\":{\"command\":\"c\",\"env\":{\"KEY\":\"hunter2\"}}}}");
    assert_str(written(), "{\"on\":true,\"port\":8000,\"share\":0.5,\"title\":\"none\",\"token\":"
                          "\"***\",\"timeout\":\"30s\","
                          "\"body\":\"4MiB\",\"limit\":\"10/"
                          "h\",\"mode\":\"safe\",\"tags\":[\"a\",\"b\"],\"labels\":{},"
                          "\"inner\":{\"wait\":\"5s\",\"retries\":2},"
                          "\"servers\":{\"s\":{\"command\":\"c\",\"args\":[],\"env\":{\"KEY\":\"***"
                          "\"}}},\"hooks\":[],"
                          "\"extra\":{\"a\":1.0}}");
}

static void what_is_written_reads_back_the_same(void **state) {
    read_well("{\"timeout\":0.25,\"body\":2000,\"limit\":\"7/"
              "d\",\"share\":0.1,\"hooks\":[{\"retries\":1}]}");
    problems.n = problems.errors = 0;
    struct str first = written();
    field_defaults(ROWS, &all, &arena);
    read_well(arena_text(&arena, first));
    struct str second = written();
    assert_true(str_eq(first, second));
    assert_true(str_find(first, S("\"timeout\":\"250ms\",\"body\":\"2kB\",\"limit\":\"7/d\"")) > 0);
}

static void the_schema_says_what_reading_checks(void **state) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    field_schema(ROWS, &w);
    json schema = parsed(buf_text(&out));
    json properties = json_get(schema, S("properties"));
    assert_int_equal(json_count(properties), ARRAY_SIZE(all_rows) - 1);
    assert_null(json_get(properties, S("listenPort")));
    assert_null(json_get(schema, S("required")));
    static const struct {
        const char *name, *schema;
    } cases[] = {
        { "on", "{\"type\":\"boolean\",\"description\":\"Switch.\",\"default\":true}" },
        { "port", "{\"type\":\"integer\",\"description\":\"Port.\",\"minimum\":1,\"maximum\":65535,"
                  "\"default\":8000}" },
        { "title", "{\"type\":\"string\",\"description\":\"Title.\",\"minLength\":1,\"maxLength\":"
                   "8,\"default\":\"none\"}" },
        { "token",
          "{\"type\":\"string\",\"description\":\"Token.\",\"maxLength\":64,\"writeOnly\":true}" },
        { "since", "{\"type\":\"string\",\"description\":\"Since.\",\"format\":\"date-time\"}" },
        { "timeout",
          "{\"type\":[\"string\",\"number\"],"
          "\"description\":\"Longest wait (a duration from 1ms to 10m).\",\"default\":\"30s\","
          "\"pattern\":\"^[0-9]{1,19}(ns|us|ms|s|m|h|d)?$\",\"minimum\":0.001,\"maximum\":600}" },
        { "mode", "{\"type\":\"string\",\"description\":\"Mode.\",\"enum\":[\"fast\",\"safe\"],"
                  "\"default\":\"safe\"}" },
        { "tags", "{\"type\":\"array\",\"description\":\"Tags.\",\"items\":{\"type\":\"string\"},"
                  "\"default\":[\"a\",\"b\"]}" },
        { "extra", "{\"description\":\"Anything.\"}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (!json_equal(json_get(properties, str_of(cases[i].name)), parsed(cases[i].schema)))
            fail_msg("schema of %s is not %s: %s", cases[i].name, cases[i].schema, buf_text(&out));
}

static void nested_schemas_list_what_is_required(void **state) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    field_schema(inner_rows, ARRAY_SIZE(inner_rows), &w);
    assert_non_null(
        strstr(buf_text(&out), "\"required\":[\"retries\"],\"additionalProperties\":false}"));
    json inner = parsed(buf_text(&out));
    buf_clear(&out);
    w = jw_init(&out);
    field_schema(ROWS, &w);
    json properties = json_get(parsed(buf_text(&out)), S("properties"));
    json items = json_get(json_get(properties, S("hooks")), S("items"));
    assert_true(json_equal(items, inner));
    json servers = json_get(json_get(properties, S("servers")), S("additionalProperties"));
    assert_str(json_text(json_at(json_get(servers, S("required")), 0)), "command");
}

static void sizes_use_the_shortest_exact_unit(void **state) {
    static const struct {
        int64_t size;
        const char *text;
    } cases[] = {
        { 0, "0B" }, { 1024, "1KiB" }, { 1000, "1kB" }, { 3 << 20, "3MiB" }, { 1025, "1025B" }
    };
    static const struct field bytes[] = { FIELD(struct all, body, BYTES, NULL, NULL, 0, "Body.") };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        SCOPED(buf_done) struct buf out = { 0 }, want = { 0 };
        struct jw w = jw_init(&out);
        all.body = cases[i].size;
        field_write(bytes, 1, &all, &w);
        buf_fmt(&want, "{\"body\":\"%s\"}", cases[i].text);
        assert_string_equal(buf_text(&out), buf_text(&want));
    }
}

static void names_are_found_and_guessed(void **state) {
    assert_null(field_find(ROWS, S("ports")));
    assert_string_equal(field_closest(ROWS, S("ports"))->name, "port");
    assert_string_equal(field_closest(ROWS, S("time_out"))->name, "timeout");
    assert_null(field_closest(ROWS, S("completely_else")));
    assert_null(field_closest(ROWS, S("x")));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(defaults_fill_every_member),
        T(scalars_are_read),
        T(numbers_stand_for_seconds_and_bytes),
        T(nested_values_are_read),
        T(absent_and_null_members_keep_what_is_there),
        T(strings_outlive_the_document),
        T(problems_say_where_and_what_is_allowed),
        T(a_bad_value_leaves_the_member_alone),
        T(missing_members_are_named),
        T(unknown_members_are_refused_with_a_suggestion),
        T(aliases_read_the_same_member),
        T(messages_never_quote_strings),
        T(lenient_reading_takes_spellings),
        T(parts_that_are_not_built_warn),
        T(problems_beyond_the_room_are_counted),
        T(a_path_goes_in_front),
        T(one_value_is_set_from_text),
        T(text_that_does_not_fit_is_refused),
        T(times_look_like_rfc_3339),
        T(writing_hides_secrets_and_spells_units),
        T(what_is_written_reads_back_the_same),
        T(the_schema_says_what_reading_checks),
        T(nested_schemas_list_what_is_required),
        T(sizes_use_the_shortest_exact_unit),
        T(names_are_found_and_guessed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
