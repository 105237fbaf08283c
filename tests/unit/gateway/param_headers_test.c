/* Annotations of schemas (param_schema.c) and what is made of them (param_headers.c). */
#include "base/mem.h"
#include "gateway/param_headers.h"
#include "gateway/param_schema.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct str quoted(struct arena *a, const char *text) {
    char *copy = arena_text(a, str_of(text));
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return str_of(copy);
}

static json parsed(struct arena *a, const char *text) {
    json v = NULL;
    assert_null(json_parse(a, quoted(a, text), (struct json_limits){ 0 }, &v));
    return v;
}

static void reads(const char *schema, const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf b = { 0 };
    json out = NULL;
    err_t e = param_schema_read(&a, parsed(&a, schema), &out);
    if (e)
        fail_msg("%s: %s", schema, e->text);
    if (out)
        json_write(&b, out);
    if (!str_eq(buf_view(&b), quoted(&a, expected)))
        fail_msg("%s: %s", schema, buf_text(&b));
}

static void refuses(const char *schema) {
    SCOPED(arena_scope) struct arena a = { 0 };
    json out = NULL;
    if (!param_schema_read(&a, parsed(&a, schema), &out))
        fail_msg("%s", schema);
}

/* P-077 */
static void annotations_are_found_with_their_paths(void **state) {
    reads("{'type':'object','properties':{'a':{'type':'string'}}}", "");
    reads("{}", "");
    reads("{'properties':{'region':{'type':'string','x-mcp-header':'Region'}}}",
          "[{'header':'Region','path':['region'],'type':'string'}]");
    reads("{'properties':{'where':{'type':'object','properties':{'n':{'type':'integer','x-mcp-"
          "header':'N'}}},"
          "'on':{'type':'boolean','x-mcp-header':'on'}}}",
          "[{'header':'N','path':['where','n'],'type':'integer'},{'header':'on','path':['on'],'"
          "type':'boolean'}]");
}

static void data_that_looks_like_an_annotation_is_none(void **state) {
    reads("{'properties':{'x-mcp-header':{'type':'string'}},'default':{'x-mcp-header':'A'},'"
          "examples':[{'x-mcp-header':1}],"
          "'enum':[{'x-mcp-header':1}],'const':{'x-mcp-header':1}}",
          "");
}

static void invalid_annotations_are_refused(void **state) {
    static const char *const bad[] = {
        "{'properties':{'a':{'type':'string','x-mcp-header':''}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'a b'}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'a:b'}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'a\\r\\nb'}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'\\u00e9'}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':7}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':null}}}",
        "{'properties':{'a':{'type':'number','x-mcp-header':'A'}}}",
        "{'properties':{'a':{'type':'object','x-mcp-header':'A'}}}",
        "{'properties':{'a':{'type':'array','x-mcp-header':'A'}}}",
        "{'properties':{'a':{'type':'null','x-mcp-header':'A'}}}",
        "{'properties':{'a':{'type':['string','null'],'x-mcp-header':'A'}}}",
        "{'properties':{'a':{'x-mcp-header':'A'}}}",
        "{'x-mcp-header':'A'}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'A'},'b':{'type':'string','x-mcp-header':'a'}}}",
        "{'properties':{'a':{'items':{'type':'string','x-mcp-header':'A'}}}}",
        "{'properties':{'a':{'items':[{'type':'string','x-mcp-header':'A'}]}}}",
        "{'properties':{'a':{'prefixItems':[{'type':'string','x-mcp-header':'A'}]}}}",
        "{'properties':{'a':{'additionalProperties':{'type':'string','x-mcp-header':'A'}}}}",
        "{'allOf':[{'properties':{'a':{'type':'string','x-mcp-header':'A'}}}]}",
        "{'properties':{'a':{'anyOf':[{'type':'string','x-mcp-header':'A'}]}}}",
        "{'oneOf':[{'not':{'type':'string','x-mcp-header':'A'}}]}",
        "{'if':{'properties':{'a':{'type':'string','x-mcp-header':'A'}}}}",
        "{'then':{'properties':{'a':{'type':'string','x-mcp-header':'A'}}}}",
        "{'else':{'properties':{'a':{'type':'string','x-mcp-header':'A'}}}}",
        "{'$defs':{'d':{'type':'string','x-mcp-header':'A'}}}",
        "{'patternProperties':{'.':{'type':'string','x-mcp-header':'A'}}}",
        "{'dependentSchemas':{'d':{'properties':{'a':{'type':'string','x-mcp-header':'A'}}}}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        refuses(bad[i]);
}

static void the_number_of_annotations_is_bounded(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, S("{'properties':{"));
    for (int i = 0; i < PARAM_HEADERS_MAX; i++)
        buf_fmt(&b, "%s'a%d':{'type':'string','x-mcp-header':'A%d'}", i ? "," : "", i, i);
    size_t n = b.n;
    buf_str(&b, S("}}"));
    SCOPED(arena_scope) struct arena a = { 0 };
    json out = NULL;
    assert_null(param_schema_read(&a, parsed(&a, buf_text(&b)), &out));
    assert_int_equal(json_count(out), PARAM_HEADERS_MAX);
    b.n = n;
    buf_str(&b, S(",'b':{'type':'string','x-mcp-header':'B'}}}"));
    refuses(buf_text(&b));
}

static void deep_schemas_do_not_break(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    for (int i = 0; i < 30; i++)
        buf_str(&b, S("{'properties':{'a':"));
    buf_str(&b, S("{'type':'string','x-mcp-header':'A'}"));
    for (int i = 0; i < 30; i++)
        buf_str(&b, S("}}"));
    SCOPED(arena_scope) struct arena a = { 0 };
    json out = NULL;
    assert_null(param_schema_read(&a, parsed(&a, buf_text(&b)), &out));
    assert_int_equal(json_count(json_get(json_at(out, 0), S("path"))), 30);
}

/* ---- headers ----------------------------------------------------------------------- */

static const char annotations[] =
    "[{'header':'Region','path':['where','region'],'type':'string'},"
    "{'header':'N','path':['n'],'type':'integer'},{'header':'On','path':['on'],'type':'boolean'}]";

static void writes(const char *arguments, const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct str lines = param_headers_write(&a, parsed(&a, annotations), quoted(&a, arguments));
    if (!str_eq(lines, str_of(expected)))
        fail_msg("%s: %.*s", arguments, STR(lines));
}

/* P-073, P-075, P-076, P-420 */
static void arguments_become_header_lines(void **state) {
    writes("{'where':{'region':'us-west1'},'n':42,'on':true}",
           "mcp-param-Region: us-west1\r\nmcp-param-N: 42\r\nmcp-param-On: true\r\n");
    writes("{}", "");
    writes("{'where':null,'n':null,'on':false}", "mcp-param-On: false\r\n");
    writes("{'where':{'region':''}}", "mcp-param-Region: \r\n");
    writes("{'where':'not an object'}", "");
    writes("{'where':{'region':'a\\r\\nEvil: 1'}}",
           "mcp-param-Region: =?base64?YQ0KRXZpbDogMQ==?=\r\n");
    writes("{'where':{'region':'caf\\u00e9'}}", "mcp-param-Region: =?base64?Y2Fmw6k=?=\r\n");
    writes("{'where':{'region':['a','\\u00e9']}}", "mcp-param-Region: [\"a\",\"\\u00e9\"]\r\n");
}

static int answered;
static void take_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    answered = x->rpc_code;
    assert_int_equal(status, 400);
}

static bool match(const char *arguments, struct http_field *fields, size_t n) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct http_head head = { .field_count = (unsigned)n };
    if (n)
        memcpy(head.fields, fields, n * sizeof *fields);
    static const struct face_ops face = { .answer = take_answer };
    static struct gateway_worker gw; /* keeps no history */
    struct exchange x = {
        .gw = &gw, .face = &face, .arena = &a, .head = &head, .era = ERA_MODERN, .revision = R26
    };
    x.in.arguments = quoted(&a, arguments);
    x.in.id = S("1");
    answered = 0;
    bool ok = param_headers_match(&x, parsed(&a, annotations));
    assert_int_equal(answered, ok ? 0 : RPC_HEADER_MISMATCH);
    return ok;
}
#define FIELDS(...) (struct http_field[]){ __VA_ARGS__ }, sizeof((struct http_field[]){ __VA_ARGS__ }) / sizeof(struct http_field)

/* P-070, P-074, P-076, P-450 */
static void headers_equal_their_arguments(void **state) {
    assert_true(match("{}", NULL, 0));
    assert_true(match("{'where':{'region':null}}", NULL, 0));
    assert_true(match("{'where':{'region':'x'}}", FIELDS({ S("MCP-PARAM-REGION"), S("x") })));
    assert_true(match("{'where':{'region':'\\u0078'}}",
                      FIELDS({ S("Mcp-Param-Region"), S("=?base64?eA==?=") })));
    assert_true(match("{'on':true}",
                      FIELDS({ S("Mcp-Param-On"), S("true") }, { S("Mcp-Param-Other"), S("?") })));
    assert_true(match("{'where':{'region':''}}", FIELDS({ S("Mcp-Param-Region"), S("") })));
}

static void a_missing_or_different_header_is_refused(void **state) {
    assert_false(match("{'where':{'region':'x'}}", NULL, 0));
    assert_false(match("{'where':{'region':'x'}}", FIELDS({ S("Mcp-Param-Region"), S("X") })));
    assert_false(
        match("{'where':{'region':'x'}}", FIELDS({ S("Mcp-Param-Region"), S("=?base64?eA?=") })));
    assert_false(match("{'on':true}", FIELDS({ S("Mcp-Param-On"), S("True") })));
}

/* P-075 */
static void integers_compare_by_value(void **state) {
    assert_true(match("{'n':42}", FIELDS({ S("Mcp-Param-N"), S("42.0") })));
    assert_true(match("{'n':42.0}", FIELDS({ S("Mcp-Param-N"), S("42") })));
    assert_true(match("{'n':-7}", FIELDS({ S("Mcp-Param-N"), S("-7") })));
    assert_false(match("{'n':42}", FIELDS({ S("Mcp-Param-N"), S("43") })));
    assert_false(match("{'n':42}", FIELDS({ S("Mcp-Param-N"), S("0x2a") })));
    assert_false(match("{'n':42}", FIELDS({ S("Mcp-Param-N"), S("") })));
    assert_false(match("{'n':42}", FIELDS({ S("Mcp-Param-N"), S("42 x") })));
    assert_false(match("{'where':{'region':'42'}}", FIELDS({ S("Mcp-Param-Region"), S("42.0") })));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(annotations_are_found_with_their_paths),
        cmocka_unit_test(data_that_looks_like_an_annotation_is_none),
        cmocka_unit_test(invalid_annotations_are_refused),
        cmocka_unit_test(the_number_of_annotations_is_bounded),
        cmocka_unit_test(deep_schemas_do_not_break),
        cmocka_unit_test(arguments_become_header_lines),
        cmocka_unit_test(headers_equal_their_arguments),
        cmocka_unit_test(a_missing_or_different_header_is_refused),
        cmocka_unit_test(integers_compare_by_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
