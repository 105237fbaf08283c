/* json_test.c - documents, writer and cursor of base/json.h. */
#include "base/json.h"
#include "base/mem.h"
#include "tests/unit/corpus.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NO_LIMITS ((struct json_limits){ 0 })

static struct arena arena;

static int set_up(void **state) {
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    arena_done(&arena);
    return 0;
}

static json parsed(const char *text) {
    json v = NULL;
    err_t e = json_parse(&arena, str_of(text), NO_LIMITS, &v);
    if (e)
        fail_msg("%s: %s", text, e->text);
    return v;
}

static const char *refusal(const char *text) {
    json v = NULL;
    err_t e = json_parse(&arena, str_of(text), NO_LIMITS, &v);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_INVALID);
    assert_null(v);
    return e->text;
}

static void assert_str(struct str got, const char *want) {
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", want \"%s\"", STR(got), want);
}

static void assert_written(json v, const char *want) {
    SCOPED(buf_done) struct buf out = { 0 };
    json_write(&out, v);
    assert_string_equal(buf_text(&out), want);
}

/* ---- documents ------------------------------------------------------------------ */

static void numbers_and_order_survive_writing(void **state) {
    const char *text =
        "{\"z\":1.50,\"a\":-0,\"m\":[1E+2,123456789012345678901234567890,0.10],\"e\":{},"
        "\"f\":[],\"t\":true,\"n\":null,\"s\":\"\xc3\xa9\\n\"}";
    assert_written(parsed(text), text);
}

static void white_space_and_needless_escapes_go(void **state) {
    assert_written(parsed(" { \"a\" : [ 1 , \"\\u0041\\/\" ] } "), "{\"a\":[1,\"A/\"]}");
}

static void refusals_name_line_column_and_reason(void **state) {
    assert_non_null(strstr(refusal("{\n  \"a\": 1,\n  \"\xc3\xa9\": x\n}"), "line 3 column 8: "));
    assert_non_null(strstr(refusal(""), "line 1 column 1: empty text"));
    assert_string_equal(refusal("{\"a\":1,\n \"b\":2, \"a\":3}"),
                        "line 2 column 9: duplicate key \"a\"");
    assert_non_null(strstr(refusal("[\"\\ud800\"]"), "surrogate"));
}

static void duplicate_keys_are_found_behind_escapes(void **state) {
    assert_non_null(strstr(refusal("{\"\\u0061b\":1,\"ab\":2}"), "duplicate key \"ab\""));
}

static struct str many_members(size_t n, const char *tail) {
    struct buf b = { 0 };
    buf_char(&b, '{');
    for (size_t i = 0; i < n; i++)
        buf_fmt(&b, "\"k%zu\":%zu,", i, i);
    buf_fmt(&b, "%s}", tail);
    struct str copy = arena_dup(&arena, buf_view(&b));
    buf_done(&b);
    return copy;
}

static void big_objects_are_checked_for_duplicates(void **state) {
    json v = NULL;
    assert_null(json_parse(&arena, many_members(50000, "\"last\":1"), NO_LIMITS, &v));
    assert_int_equal(json_count(v), 50001);
    err_t e = json_parse(&arena, many_members(50000, "\"k777\":1"), NO_LIMITS, &v);
    assert_non_null(e);
    assert_non_null(strstr(e->text, "duplicate key \"k777\""));
}

static void long_keys_are_cut_in_messages(void **state) {
    struct buf b = { 0 };
    for (int i = 0; i < 2; i++) {
        buf_str(&b, i ? S("\":1,\"") : S("{\""));
        for (int k = 0; k < 300; k++)
            buf_char(&b, 'x');
    }
    buf_str(&b, S("\":1}"));
    assert_true(strlen(refusal(buf_text(&b))) < 160);
    buf_done(&b);
}

static void depth_counts_open_containers(void **state) {
    json v = NULL;
    struct json_limits three = { .depth = 3 };
    assert_null(json_parse(&arena, S("[[{\"a\":1}],[[]],{}]"), three, &v));
    err_t e = json_parse(&arena, S("[\"[[[\\\"[\",\n[[], [\n[]]]]"), three, &v);
    assert_non_null(e);
    assert_string_equal(e->text, "line 3 column 1: nested deeper than 3 levels");
}

static void text_beyond_the_size_limit_is_refused(void **state) {
    json v = NULL;
    assert_null(json_parse(&arena, S("[12345678]"), (struct json_limits){ .bytes = 10 }, &v));
    err_t e = json_parse(&arena, S("[123456789]"), (struct json_limits){ .bytes = 10 }, &v);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_TOO_LARGE);
}

static void a_document_outlives_its_text(void **state) {
    char text[] = "{\"name\":\"value\"}";
    json v = parsed(text);
    memset(text, 'x', sizeof(text));
    assert_str(json_get_text(v, S("name")), "value");
}

static void small_documents_take_little_of_the_arena(void **state) {
    size_t before = arena.used;
    parsed("[1,2,3]");
    assert_true(arena.used - before < 256);
}

static void types_are_told_apart(void **state) {
    static const char *const names[] = { "null", "boolean", "number", "string", "array", "object" };
    json v = parsed("[null,true,1,\"s\",[],{}]");
    assert_int_equal(json_count(v), 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(json_type_name(json_type(json_at(v, i))), names[i]);
    assert_int_equal(json_type(NULL), JSON_ABSENT);
}

static void absent_values_answer_every_question(void **state) {
    struct str s = S("kept");
    bool b = true;
    int64_t i = 7;
    double d = 7;
    assert_null(json_get(NULL, S("a")));
    assert_null(json_get(parsed("[1]"), S("a")));
    assert_null(json_at(NULL, 0));
    assert_null(json_at(parsed("[1]"), 1));
    assert_null(json_at(parsed("{\"a\":1}"), 0));
    assert_int_equal(json_count(NULL), 0);
    assert_int_equal(json_count(parsed("\"abc\"")), 0);
    assert_false(json_is_string(NULL, &s));
    assert_false(json_is_bool(NULL, &b));
    assert_false(json_is_i64(NULL, &i));
    assert_false(json_is_double(NULL, &d));
    assert_true(str_empty(json_text(NULL)));
    struct json_iter it = json_iter(NULL);
    assert_false(json_next(&it));
    assert_str(s, "kept");
    assert_int_equal(i, 7);
}

static void members_are_found_by_their_unescaped_name(void **state) {
    json v = parsed("{\"a\\u0000b\":1,\"\":2,\"caf\\u00e9\":\"x\"}");
    assert_str(json_get_text(v, str_from("a\0b", 3)), "1");
    assert_str(json_get_text(v, S("")), "2");
    assert_str(json_get_text(v, S("caf\xc3\xa9")), "x");
    assert_null(json_get(v, S("a")));
}

static void iteration_keeps_document_order(void **state) {
    json v = parsed("{\"b\":[1,[2]],\"a\":{\"x\":{}},\"c\":3}");
    SCOPED(buf_done) struct buf seen = { 0 };
    for (struct json_iter it = json_iter(v); json_next(&it);)
        buf_fmt(&seen, "%.*s%s ", STR(it.key), json_type_name(json_type(it.value)));
    assert_string_equal(buf_text(&seen), "barray aobject cnumber ");
    assert_str(json_text(json_at(json_at(json_get(v, S("b")), 1), 0)), "2");
}

static void integers_are_exact_whatever_their_spelling(void **state) {
    static const struct {
        const char *text;
        int64_t value;
    } exact[] = {
        { "3", 3 },
        { "3.0", 3 },
        { "3e0", 3 },
        { "30e-1", 3 },
        { "0.03E2", 3 },
        { "-0", 0 },
        { "-0.0e5", 0 },
        { "1e18", 1000000000000000000 },
        { "100.00", 100 },
        { "1.20e1", 12 },
        { "-7", -7 },
        { "9223372036854775807", INT64_MAX },
        { "-9223372036854775808", INT64_MIN },
        { "9007199254740993", 9007199254740993 },
        { "0e99999999999999999999999", 0 },
        { "10203", 10203 },
        { "5000000000e-9", 5 },
    };
    static const char *const others[] = {
        "0.5", "1e-1", "9223372036854775808", "-9223372036854775809", "1e19", "1e99999999999999999999999",
        "99999999999999999999", "1e-99999999999999999999", "\"3\"", "true", "[3]",
    };
    for (size_t i = 0; i < ARRAY_SIZE(exact); i++) {
        int64_t n = 77;
        assert_true(json_is_i64(parsed(exact[i].text), &n));
        assert_int_equal(n, exact[i].value);
    }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        int64_t n = 77;
        assert_false(json_is_i64(parsed(others[i]), &n));
        assert_int_equal(n, 77);
    }
}

static void doubles_read_back(void **state) {
    double d = 0;
    assert_true(json_is_double(parsed("[0.1,7,-1e-3]") ? json_at(parsed("[0.1,7]"), 0) : NULL, &d));
    assert_true(d == 0.1);
    assert_true(json_is_double(json_at(parsed("[0.1,7]"), 1), &d) && d == 7);
    assert_true(json_is_double(parsed("-12345.678e-3"), &d) && d == -12.345678);
    assert_true(json_is_double(parsed("18446744073709551616"), &d) && d == 18446744073709551616.0);
    assert_true(json_is_double(parsed("-0"), &d) && d == 0);
    assert_false(json_is_double(parsed("1e400"), &d));
    assert_false(json_is_double(parsed("\"1\""), &d));
}

static void equality_is_by_value(void **state) {
    static const char *const same[][2] = {
        { "1", "1.0" }, { "100", "1e2" }, { "0.5", "5E-1" }, { "-0", "0.0" }, { "10.20e1", "102" },
        { "1e99999999999999999999", "1e99999999999999999999" }, { "\"A\"", "\"\\u0041\"" },
        { "{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}" }, { "[]", " [ ] " }, { "null", "null" },
        { "{\"a\":{\"x\":1,\"y\":2},\"b\":3}", "{\"b\":3,\"a\":{\"y\":2,\"x\":1}}" },
        { "12345678901234567890123", "1.2345678901234567890123e22" },
    };
    static const char *const different[][2] = {
        { "1", "-1" }, { "1", "10" }, { "0.1", "0.10000000000000000001" }, { "1", "\"1\"" }, { "true", "false" },
        { "[1,2]", "[2,1]" }, { "[1]", "[1,1]" }, { "{\"a\":1}", "{\"b\":1}" }, { "{\"a\":1}", "{\"a\":2}" },
        { "{\"a\":1,\"b\":2}", "{\"b\":1,\"a\":2}" }, { "[]", "{}" }, { "null", "false" }, { "101", "11" },
        { "1e99999999999999999999", "1e99999999999999999998" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(same); i++)
        if (!json_equal(parsed(same[i][0]), parsed(same[i][1])))
            fail_msg("%s should equal %s", same[i][0], same[i][1]);
    for (size_t i = 0; i < ARRAY_SIZE(different); i++)
        if (json_equal(parsed(different[i][0]), parsed(different[i][1])))
            fail_msg("%s should differ from %s", different[i][0], different[i][1]);
    assert_true(json_equal(NULL, NULL));
    assert_false(json_equal(NULL, parsed("null")));
}

/* ---- corpus ---------------------------------------------------------------------- */

static void write_and_parse_again(const char *name, json v) {
    SCOPED(buf_done) struct buf out = { 0 };
    json_write(&out, v);
    json again = NULL;
    err_t e = json_parse(&arena, buf_view(&out), NO_LIMITS, &again);
    if (e || !json_equal(v, again))
        fail_msg("%s changes by writing: %s", name, e ? e->text : buf_text(&out));
}

static void check_corpus_file(const char *name, struct str text, void *arg) {
    json v = NULL;
    err_t e = json_parse(&arena, text, NO_LIMITS, &v);
    if (name[0] == 'y' && e)
        fail_msg("%s: %s", name, e->text);
    if (name[0] == 'n' && !e)
        fail_msg("%s is accepted", name);
    assert_true(!e == (v != NULL));
    if (v)
        write_and_parse_again(name, v);
}

static void the_corpus_is_judged_right(void **state) {
    assert_true(corpus_each("json", check_corpus_file, NULL) >= 170);
}

/* ---- writer ---------------------------------------------------------------------- */

static void the_writer_puts_commas_by_itself(void **state) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    jw_object(&w);
    jw_put_int(&w, "min", INT64_MIN);
    jw_put_string(&w, "s", S("x"));
    jw_key(&w, S("list"));
    jw_array(&w);
    jw_bool(&w, true);
    jw_null(&w);
    jw_array(&w);
    jw_array_end(&w);
    jw_object(&w);
    jw_object_end(&w);
    jw_raw(&w, S("[1]"));
    jw_array_end(&w);
    jw_put_bool(&w, "b", false);
    jw_put_raw(&w, "raw", S("{}"));
    jw_put_value(&w, "value", parsed("[1.0]"));
    jw_put_value(&w, "absent", NULL);
    jw_put_double(&w, "d", 0.5);
    jw_object_end(&w);
    assert_string_equal(buf_text(&out),
                        "{\"min\":-9223372036854775808,\"s\":\"x\",\"list\":[true,null,[],{},[1]],"
                        "\"b\":false,\"raw\":{},\"value\":[1.0],\"absent\":null,\"d\":0.5}");
}

static void assert_double_written(double d, const char *want) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    jw_double(&w, d);
    assert_string_equal(buf_text(&out), want);
}

static void doubles_are_written_short_and_exact(void **state) {
    assert_double_written(0.1, "0.1");
    assert_double_written(3, "3");
    assert_double_written(-2.5, "-2.5");
    assert_double_written(1e300, "1e+300");
    assert_double_written(0.1 + 0.2, "0.30000000000000004");
    assert_double_written(NAN, "null");
    assert_double_written(-INFINITY, "null");
}

static void assert_escaped(struct str s, const char *want) {
    SCOPED(buf_done) struct buf out = { 0 };
    json_escape(&out, s);
    assert_string_equal(buf_text(&out), want);
}

static void strings_are_escaped_as_little_as_possible(void **state) {
    assert_escaped(S("\"\\/\b\f\n\r\t\x01\x1f\x7f"), "\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f");
    assert_escaped(str_from("a\0b", 3), "a\\u0000b");
    assert_escaped(S("\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e"),
                   "\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e");
    assert_escaped(S(""), "");
}

#define FFFD "\xEF\xBF\xBD"
static void invalid_utf8_becomes_a_replacement_character(void **state) {
    assert_escaped(S("a\xff"
                     "b"),
                   "a" FFFD "b");
    assert_escaped(S("\xc0\xaf"), FFFD FFFD);         /* overlong */
    assert_escaped(S("\xed\xa0\x80"), FFFD FFFD FFFD); /* surrogate */
    assert_escaped(S("\xf4\x90\x80\x80"), FFFD FFFD FFFD FFFD);
    assert_escaped(S("\xe2\x82"), FFFD FFFD); /* cut */
    assert_escaped(S("\xf0\x90\x80\x80"), "\xf0\x90\x80\x80");
    assert_true(json_is_utf8(S("a\xf0\x90\x80\x80\xc3\xa9")));
    assert_true(json_is_utf8(S("")));
    assert_false(json_is_utf8(S("a\xe2\x82")));
}

/* ---- cursor ---------------------------------------------------------------------- */

static void the_cursor_yields_raw_slices(void **state) {
    SCOPED(buf_done) struct buf seen = { 0 };
    struct str text = S(
        " { \"a\\\"b\" : \"x\\\\\" , \"o\":{\"]\":[1,\"}\"]},\"n\" : -1.50e3 , \"t\":true} ");
    for (struct json_members m = json_members(text); json_member(&m);)
        buf_fmt(&seen, "<%.*s=%.*s>", STR(m.key), STR(m.value));
    assert_string_equal(buf_text(&seen),
                        "<a\\\"b=\"x\\\\\"><o={\"]\":[1,\"}\"]}><n=-1.50e3><t=true>");
}

static void elements_are_walked_the_same_way(void **state) {
    SCOPED(buf_done) struct buf seen = { 0 };
    for (struct json_members m = json_elements(S("[ 1 ,[2,[3]],\"a,b\",{}]")); json_element(&m);)
        buf_fmt(&seen, "<%.*s>", STR(m.value));
    assert_string_equal(buf_text(&seen), "<1><[2,[3]]><\"a,b\"><{}>");
}

static void assert_yields_nothing(const char *text) {
    struct json_members m = json_members(str_of(text));
    assert_false(json_member(&m));
    m = json_elements(str_of(text));
    assert_false(json_element(&m));
}

static void other_text_yields_nothing(void **state) {
    static const char *const texts[] = { "",  " ",     "{}",   "[]",   "{ }", "[ ]",
                                         "1", "\"{\"", "null", "{\"a", "[\"" };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_yields_nothing(texts[i]);
}

static void assert_without(const char *text, const char *key, const char *want) {
    for (struct json_members m = json_members(str_of(text)); json_member(&m);) {
        if (!str_eq(m.key, str_of(key)))
            continue;
        SCOPED(buf_done) struct buf out = { 0 };
        buf_put(&out, text, m.from);
        buf_str(&out, str_skip(str_of(text), m.to));
        assert_string_equal(buf_text(&out), want);
        return;
    }
    fail_msg("%s has no %s", text, key);
}

static void a_member_can_be_cut_out_with_its_comma(void **state) {
    assert_without("{\"a\":1}", "a", "{}");
    assert_without("{\"a\":1, \"b\":2}", "a", "{\"b\":2}");
    assert_without("{\"a\":1, \"b\":2}", "b", "{\"a\":1}");
    assert_without("{\"a\":1,\"b\":2 , \"c\":3}", "b", "{\"a\":1 , \"c\":3}");
    assert_without("{\"a\":1,\"b\":2 , \"c\":3 }", "c", "{\"a\":1,\"b\":2  }");
}

static void raw_members_are_found_behind_escapes(void **state) {
    struct str text = S("{\"x\":1,\"\\u006dethod\":\"m\",\"\\ud834\\udd1e\":2,\"\":3}");
    assert_str(json_raw_get(text, S("method")), "\"m\"");
    assert_str(json_raw_get(text, S("\xf0\x9d\x84\x9e")), "2");
    assert_str(json_raw_get(text, S("")), "3");
    assert_null(json_raw_get(text, S("metho")).p);
    assert_null(json_raw_get(text, S("methods")).p);
    assert_null(json_raw_get(S("[]"), S("x")).p);
}

static void unquoting_borrows_when_it_can(void **state) {
    struct str raw = S("\"plain\"");
    assert_ptr_equal(json_unquote(&arena, raw).p, raw.p + 1);
    assert_str(json_unquote(&arena, S("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"")), "\"\\/\b\f\n\r\t");
    assert_str(json_unquote(&arena, S("\"\\u0041\\u00e9\\u20AC\\ud834\\uDD1E!\"")),
               "A\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e!");
    assert_str(json_unquote(&arena, S("\"\"")), "");
    assert_str(json_unquote(&arena, S("12")), "");
}

static void unquoting_survives_text_nobody_validated(void **state) {
    assert_str(json_unquote(&arena, S("\"\\u\"")), FFFD);
    assert_str(json_unquote(&arena, S("\"\\u12\\ud800\\ud800x\\udc00\"")),
               FFFD "12" FFFD FFFD "x" FFFD);
    assert_str(json_unquote(&arena, S("\"a\\\"")), "a\\");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(numbers_and_order_survive_writing),
        T(white_space_and_needless_escapes_go),
        T(refusals_name_line_column_and_reason),
        T(duplicate_keys_are_found_behind_escapes),
        T(big_objects_are_checked_for_duplicates),
        T(long_keys_are_cut_in_messages),
        T(depth_counts_open_containers),
        T(text_beyond_the_size_limit_is_refused),
        T(a_document_outlives_its_text),
        T(small_documents_take_little_of_the_arena),
        T(types_are_told_apart),
        T(absent_values_answer_every_question),
        T(members_are_found_by_their_unescaped_name),
        T(iteration_keeps_document_order),
        T(integers_are_exact_whatever_their_spelling),
        T(doubles_read_back),
        T(equality_is_by_value),
        T(the_corpus_is_judged_right),
        T(the_writer_puts_commas_by_itself),
        T(doubles_are_written_short_and_exact),
        T(strings_are_escaped_as_little_as_possible),
        T(invalid_utf8_becomes_a_replacement_character),
        T(the_cursor_yields_raw_slices),
        T(elements_are_walked_the_same_way),
        T(other_text_yields_nothing),
        T(a_member_can_be_cut_out_with_its_comma),
        T(raw_members_are_found_behind_escapes),
        T(unquoting_borrows_when_it_can),
        T(unquoting_survives_text_nobody_validated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
