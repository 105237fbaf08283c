/* What users see of json_schema: messages, limits, references. That the keywords mean what the
 * specification says is shown by the official suite (tests/integration/test_json_schema.py). */
#include "base/mem.h"
#include "mcp/json_schema.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct str compile_error(const char *schema) {
    struct json_schema *s = NULL;
    err_t e = json_schema_compile(str_of(schema), NULL, &s);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_INVALID);
    assert_null(s);
    return str_of(e->text);
}

/* The message of a validation; empty when the instance is valid. */
static struct str verdict(const char *schema, const char *instance) {
    static char text[ERR_TEXT];
    struct json_schema *s = NULL;
    SCOPED(arena_scope) struct arena a = { 0 };
    json v = NULL;
    arena_init(&a, NULL, 0);
    err_t e = json_schema_compile(str_of(schema), NULL, &s);
    if (e)
        fail_msg("%s", e->text);
    assert_null(json_parse(&a, str_of(instance), (struct json_limits){ 0 }, &v));
    e = json_schema_validate(s, v);
    snprintf(text, sizeof text, "%s", e ? e->text : "");
    json_schema_free(s);
    return str_of(text);
}

static void expect(const char *schema, const char *instance, const char *message) {
    struct str got = verdict(schema, instance);
    assert_string_equal(got.p, message);
}

static void a_failure_names_the_place_and_what_is_allowed(void **state) {
    const char *schema = "{\"properties\":{\"to\":{\"items\":{\"properties\":{\"zip\":"
                         "{\"type\":\"string\",\"pattern\":\"^[0-9]{5}$\"}}}}}}";
    expect(schema, "{\"to\":[{},{\"zip\":\"12\"}]}", "/to/1/zip: must match ^[0-9]{5}$");
    expect(schema, "{\"to\":[{\"zip\":5}]}", "/to/0/zip: must be string, is number");
    expect(schema, "{\"to\":[{\"zip\":\"12345\"}]}", "");
    expect("{\"required\":[\"path\"]}", "{}", "/: lacks the required member path");
    expect("{\"enum\":[\"a\",1]}", "2", "/: must be one of [\"a\",1]");
    expect("{\"additionalProperties\":false}", "{\"x\":1}", "/x: is not allowed");
}

static void the_instance_is_never_quoted(void **state) {
    struct str m = verdict("{\"const\":\"a\"}", "\"hunter2\"");
    assert_int_equal(str_find(m, S("hunter2")), -1);
}

static void branches_that_do_not_count_leave_no_message(void **state) {
    expect("{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"number\"}],\"maximum\":3}", "5",
           "/: must be at most 3");
    expect("{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"boolean\"}]}", "5",
           "/: must match at least one of 2 schemas (anyOf)");
}

static void numbers_are_compared_by_their_digits(void **state) {
    expect("{\"multipleOf\":0.0001}", "0.0075", "");
    expect("{\"multipleOf\":0.01}", "19.99", "");
    expect("{\"multipleOf\":0.01}", "19.999", "/: must be a multiple of 0.01");
    expect("{\"multipleOf\":7}", "7e20", "");
    expect("{\"multipleOf\":7}", "1e21", "/: must be a multiple of 7");
    expect("{\"type\":\"integer\"}", "1.0e2", "");
    expect("{\"type\":\"integer\"}", "123456789012345678901234567890", "");
    expect("{\"maximum\":9007199254740992}", "9007199254740993",
           "/: must be at most 9007199254740992");
}

static void a_schema_that_makes_no_sense_is_refused_with_its_place(void **state) {
    assert_string_equal(compile_error("{\"properties\":{\"a\":{\"maxLength\":\"x\"}}}").p,
                        "properties: a: maxLength: must not be string");
    assert_string_equal(compile_error("{\"minItems\":-1}").p,
                        "minItems: must be a whole number, 0 or more");
    assert_true(str_starts(compile_error("{\"pattern\":\"(\"}"),
                           S("pattern: the pattern is not valid at")));
    assert_true(str_find(compile_error("{\"$ref\":\"http://example.com/x\"}"),
                         S("nothing is fetched")) > 0);
    assert_true(str_find(compile_error("{\"$ref\":\"#/nowhere\"}"), S("leads nowhere")) > 0);
    assert_true(str_find(compile_error("[]"), S("an object or a boolean")) > 0);
    assert_true(str_find(compile_error("{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}"),
                         S("not a dialect known")) > 0);
    compile_error("{");
}

static void references_reach_ids_anchors_pointers_and_the_meta_schema(void **state) {
    const char *schema =
        "{\"$id\":\"http://x.test/a/b\",\"$defs\":{\"n\":{\"$id\":\"../c\",\"$anchor\":\"here\","
        "\"type\":\"integer\"}},\"properties\":{\"a\":{\"$ref\":\"/c\"},"
        "\"b\":{\"$ref\":\"http://x.test/c#here\"},\"d\":{\"$ref\":\"#/$defs/n\"},"
        "\"e\":{\"$ref\":\"https://json-schema.org/draft/2020-12/schema\"}}}";
    expect(schema, "{\"a\":1,\"b\":2,\"d\":3,\"e\":{\"type\":\"object\"}}", "");
    expect(schema, "{\"a\":\"x\"}", "/a: must be integer, is string");
    expect(schema, "{\"b\":\"x\"}", "/b: must be integer, is string");
    expect(schema, "{\"d\":\"x\"}", "/d: must be integer, is string");
    assert_true(verdict(schema, "{\"e\":{\"minItems\":-1}}").n > 0);
}

static void schemas_that_refer_to_themselves_are_bounded(void **state) {
    expect("{\"properties\":{\"next\":{\"$ref\":\"#\"}},\"type\":\"object\"}",
           "{\"next\":{\"next\":{\"next\":1}}}", "/next/next/next: must be object, is number");
    assert_true(str_find(verdict("{\"$ref\":\"#\"}", "1"), S("too much work")) >= 0);
    assert_true(str_find(verdict("{\"allOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}", "1"),
                         S("too much")) >= 0);
}

static void hostile_patterns_and_shapes_end(void **state) {
    SCOPED(buf_done) struct buf many = { 0 };
    assert_true(str_find(verdict("{\"pattern\":\"^(a+)+$\"}",
                                 "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\""),
                         S("too much")) >= 0);
    buf_char(&many, '[');
    for (int i = 0; i < 20000; i++)
        buf_fmt(&many, "%s%d", i ? "," : "", i);
    buf_char(&many, ']');
    expect("{\"uniqueItems\":true}", buf_text(&many), ""); /* not each against each */
    many.n--;
    buf_str(&many, S(",777.0]"));
    expect("{\"uniqueItems\":true}", buf_text(&many), "/: must not have two equal elements");
}

static void size_is_bounded(void **state) {
    struct json_schema *s = NULL;
    struct json_schema_options o = { .max_bytes = 20 };
    assert_non_null(json_schema_compile(S("{\"title\":\"longer than that\"}"), &o, &s));
    o = (struct json_schema_options){ .max_nodes = 3 };
    err_t e = json_schema_compile(S("{\"allOf\":[{},{},{},{}]}"), &o, &s);
    assert_non_null(e);
    assert_true(str_find(str_of(e->text), S("more than 3 subschemas")) >= 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_names_the_place_and_what_is_allowed),
        cmocka_unit_test(the_instance_is_never_quoted),
        cmocka_unit_test(branches_that_do_not_count_leave_no_message),
        cmocka_unit_test(numbers_are_compared_by_their_digits),
        cmocka_unit_test(a_schema_that_makes_no_sense_is_refused_with_its_place),
        cmocka_unit_test(references_reach_ids_anchors_pointers_and_the_meta_schema),
        cmocka_unit_test(schemas_that_refer_to_themselves_are_bounded),
        cmocka_unit_test(hostile_patterns_and_shapes_end),
        cmocka_unit_test(size_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
