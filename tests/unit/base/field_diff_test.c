/* field_diff_test.c - rows of base/field.h: differences, display, schema of files, text as JSON. */
#include "base/field.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct item {
    struct str name, url;
    struct pair_list headers;
};
static const struct field item_rows[] = {
    FIELD(struct item, url, STR, NULL, "1..100", FIELD_REQUIRED, "Address."),
    FIELD(struct item, headers, PAIRS, NULL, NULL, FIELD_PRIVATE, "Headers."),
};

struct inner {
    nanos wait;
};
static const struct field inner_rows[] = {
    FIELD(struct inner, wait, DURATION, "5s", "10ms..1m", 0, "Wait."),
};

struct conf {
    int64_t port, body;
    bool on;
    struct str token;
    struct str_list listen;
    struct pair_list labels;
    struct inner inner;
    struct item_list items;
    json extra;
};
static const struct field rows[] = {
    FIELD(struct conf, port, INT, "80", "1..65535", FIELD_RESTART, "Port."),
    FIELD(struct conf, body, BYTES, "4MiB", "1KiB..1GiB", 0, "Body."),
    FIELD(struct conf, on, BOOL, "true", NULL, 0, "Switch."),
    FIELD(struct conf, token, SECRET, NULL, "16..64", FIELD_LATER, "Token."),
    FIELD(struct conf, listen, STRS, "8000", NULL, 0, "Addresses."),
    FIELD(struct conf, labels, PAIRS, NULL, NULL, 0, "Labels."),
    FIELD_NEST(struct conf, inner, OBJECT, inner_rows, struct inner, 0, "Inner."),
    FIELD_NEST(struct conf, items, MAP, item_rows, struct item, 0, "Items."),
    FIELD(struct conf, extra, JSON, NULL, NULL, FIELD_PRIVATE, "Anything."),
    FIELD_AS("old_port", struct conf, port, INT, NULL, "1..65535", FIELD_HIDDEN, "Port."),
};

static struct arena arena;

static int set_up(void **state) {
    arena_init(&arena, NULL, 0);
    return 0;
}
static int tear_down(void **state) {
    arena_done(&arena);
    return 0;
}

static struct conf *read_conf(const char *text) {
    struct conf *c = ARENA_NEW(&arena, struct conf);
    struct field_problems problems = { .arena = &arena, .lenient = true };
    json v = NULL;
    assert_null(json_parse(&arena, str_of(text), (struct json_limits){ 0 }, &v));
    field_defaults(rows, ARRAY_SIZE(rows), c, &arena);
    field_read(rows, ARRAY_SIZE(rows), v, S(""), c, &arena, &problems);
    assert_int_equal(problems.errors, 0);
    return c;
}

static void tell(void *arg, struct str path, const struct field *row, const void *was,
                 const void *is) {
    struct buf *out = arg;
    bool whole = row->type == FIELD_MAP;
    struct str old = whole ? S("item") : field_show(row, was, &arena);
    struct str new = whole ? S("item") : field_show(row, is, &arena);
    buf_fmt(out, "%.*s: %.*s -> %.*s\n", STR(path), STR(was ? old : S("-")),
            STR(is ? new : S("-")));
}

static void assert_diff(const char *was, const char *is, const char *want) {
    SCOPED(buf_done) struct buf out = { 0 };
    field_diff(rows, ARRAY_SIZE(rows), read_conf(was), read_conf(is), S(""), &arena, tell, &out);
    assert_string_equal(buf_text(&out), want);
}

static void equal_structs_differ_in_nothing(void **state) {
    const char *full = "{\"port\":1,\"listen\":[\"a\"],\"labels\":{\"a\":\"b\"},\"items\":{\"x\":"
                       "{\"url\":\"u\",\"headers\":{\"a\":\"b\"}}},\"extra\":{\"a\":[1]}}";
    assert_diff("{}", "{}", "");
    assert_diff(full, full, "");
    assert_diff("{\"port\":7}", "{\"old_port\":7}", "");
}

static void each_value_that_differs_is_told_once(void **state) {
    assert_diff("{}", "{\"port\":81,\"body\":\"8MiB\",\"on\":false,\"inner\":{\"wait\":\"1s\"}}",
                "port: 80 -> 81\nbody: 4MiB -> 8MiB\non: true -> false\ninner.wait: 5s -> 1s\n");
    assert_diff("{\"listen\":[\"a\",\"b\"]}", "{\"listen\":[\"a\"]}",
                "listen: [\"a\",\"b\"] -> [\"a\"]\n");
    assert_diff("{\"labels\":{\"a\":\"1\"}}", "{\"labels\":{\"a\":\"2\"}}",
                "labels: {\"a\":\"1\"} -> {\"a\":\"2\"}\n");
}

static void items_are_matched_by_name(void **state) {
    assert_diff("{\"items\":{\"a\":{\"url\":\"1\"},\"b\":{\"url\":\"2\"}}}",
                "{\"items\":{\"b\":{\"url\":\"3\"},\"c d\":{\"url\":\"1\"}}}",
                "items.a: item -> -\nitems.b.url: 2 -> 3\nitems.\"c d\": - -> item\n");
    assert_diff("{\"items\":{\"a\":{\"url\":\"1\"},\"b\":{\"url\":\"2\"}}}",
                "{\"items\":{\"b\":{\"url\":\"2\"},\"a\":{\"url\":\"1\"}}}", "");
}

static void secrets_are_told_but_not_shown(void **state) {
    assert_diff("{\"token\":\"0123456789abcdef\"}", "{\"token\":\"0123456789abcdeX\"}",
                "token: *** -> ***\n");
    assert_diff("{\"items\":{\"a\":{\"url\":\"1\",\"headers\":{\"H\":\"x\"}}}}",
                "{\"items\":{\"a\":{\"url\":\"1\",\"headers\":{\"H\":\"y\"}}}}",
                "items.a.headers: {\"H\":\"***\"} -> {\"H\":\"***\"}\n");
    assert_diff("{\"extra\":1}", "{\"extra\":2}", "extra: *** -> ***\n");
    assert_diff("{\"items\":{\"a\":{\"url\":\"http://h/x?key=1\"}}}",
                "{\"items\":{\"a\":{\"url\":\"http://h/y?key=2\"}}}",
                "items.a.url: http://h/x?*** -> http://h/y?***\n");
}

static void a_line_is_cut_between_characters(void **state) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct item item = { 0 };
    for (int i = 0; i < 150; i++)
        buf_str(&text, S("é"));
    item.url = buf_view(&text);
    struct str shown = field_show(&item_rows[0], &item, &arena);
    assert_true(json_is_utf8(shown));
    assert_true(shown.n < 210 && str_ends(shown, S("…")));
}

static void copies_that_stay_inside_keep_their_secrets(void **state) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    struct conf *c = read_conf("{\"token\":\"0123456789abcdef\",\"extra\":[1],\"items\":{\"a\":"
                               "{\"url\":\"u\",\"headers\":{\"H\":\"x\"}}}}");
    field_write_plain(rows, ARRAY_SIZE(rows), c, &w);
    struct conf *again = read_conf(buf_text(&out));
    assert_true(str_eq(again->token, c->token));
    assert_true(str_eq(((struct item *)again->items.items)->headers.items[0].value, S("x")));
    assert_int_equal(json_count(again->extra), 1);
}

static void variables_come_from_paths(void **state) {
    assert_true(str_eq(field_env(S("limits.body"), &arena), S("GATESPAN_LIMITS_BODY")));
    assert_true(str_eq(field_env(S("mcpServers"), &arena), S("GATESPAN_MCPSERVERS")));
    assert_true(str_eq(field_env(S("$schema"), &arena), S("GATESPAN__SCHEMA")));
}

static void assert_text_json(const char *name, const char *text, const char *want) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    const struct field *row = field_find(rows, ARRAY_SIZE(rows), str_of(name));
    err_t e = field_text_json(row, str_of(text), &arena, &w);
    if (want) {
        assert_null(e);
        assert_string_equal(buf_text(&out), want);
    } else {
        assert_non_null(e);
    }
}

static void text_is_json_as_its_row_wants_it(void **state) {
    assert_text_json("port", " 81 ", "\"81\"");
    assert_text_json("token", " spaces stay ", "\" spaces stay \"");
    assert_text_json("listen", "a, b", "[\"a\",\"b\"]");
    assert_text_json("listen", "", "[]");
    assert_text_json("listen", "[\"a\", 1]", "[\"a\",1]");
    assert_text_json("listen", "[::1]:80,[::2]:81", "[\"[::1]:80\",\"[::2]:81\"]");
    assert_text_json("labels", "a=b,c=d=e", "{\"a\":\"b\",\"c\":\"d=e\"}");
    assert_text_json("labels", "a", NULL);
    assert_text_json("inner", "{\"wait\":1}", "{\"wait\":1}");
    assert_text_json("items", "nonsense", NULL);
    assert_text_json("extra", "[1", NULL);
}

static json file_schema(void) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    json schema = NULL;
    jw_object(&w);
    field_schema_file(rows, ARRAY_SIZE(rows), &w);
    jw_object_end(&w);
    assert_null(json_parse(&arena, buf_view(&out), (struct json_limits){ 0 }, &schema));
    return schema;
}

static void the_schema_of_a_file_says_what_reading_takes(void **state) {
    json properties = json_get(file_schema(), S("properties"));
    json port = json_get(properties, S("port")), inner = json_get(properties, S("inner"));
    json wait = json_get(json_get(inner, S("properties")), S("wait"));
    assert_int_equal(json_count(properties), ARRAY_SIZE(rows));
    assert_string_equal(json_get_text(port, S("description")).p,
                        "Port. A change needs a restart. Environment: GATESPAN_PORT");
    assert_true(str_eq(json_get_text(port, S("maximum")), S("65535")));
    assert_true(str_eq(json_get_text(wait, S("minimum")), S("0.01")));
    assert_true(str_eq(json_get_text(wait, S("maximum")), S("60")));
    assert_true(str_eq(json_get_text(wait, S("default")), S("5s")));
    assert_string_equal(json_get_text(json_get(properties, S("token")), S("pattern")).p,
                        "^[\\s\\S]{16,64}$|\\$");
    json item = json_get(json_get(properties, S("items")), S("additionalProperties"));
    assert_int_equal(json_count(json_get(item, S("required"))), 1);
    json url = json_get(json_get(item, S("properties")), S("url"));
    assert_string_equal(json_get_text(url, S("description")).p, "Address.");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equal_structs_differ_in_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_value_that_differs_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(items_are_matched_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_are_told_but_not_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_line_is_cut_between_characters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copies_that_stay_inside_keep_their_secrets, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(variables_come_from_paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_is_json_as_its_row_wants_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_schema_of_a_file_says_what_reading_takes, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
