/* HTTP operations as tools: templates, documents, requests. */
#include "base/mem.h"
#include "gateway/api_ops.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct arena arena;

static int begin(void **state) {
    arena_init(&arena, NULL, 0);
    return 0;
}

static int end(void **state) {
    arena_done(&arena);
    return 0;
}

static json parse(const char *text) {
    json v = NULL;
    assert_null(json_parse(&arena, arena_dup(&arena, str_of(text)), (struct json_limits){ 0 }, &v));
    return v;
}

static err_t compile_path(const char *path, int method, struct api *out) {
    struct http_tool_conf *row = ARENA_NEW(&arena, struct http_tool_conf);
    *row = (struct http_tool_conf){ .name = S("t"), .method = method, .path = str_of(path) };
    struct api_conf *conf = ARENA_NEW(&arena, struct api_conf);
    *conf = (struct api_conf){ .url = S("http://h:81/base/"), .tools = { row, 1 } };
    return api_compile(&arena, conf, out);
}

static void assert_request(const char *path, int method, const char *arguments, const char *target,
                           const char *body) {
    struct api api;
    struct api_request q = { 0 };
    assert_null(compile_path(path, method, &api));
    assert_null(api_request_make(&arena, &api, &api.ops[0], parse(arguments), &q));
    assert_string_equal(buf_text(&q.target), target);
    assert_int_equal(q.has_body, body != NULL);
    if (body)
        assert_string_equal(buf_text(&q.body), body);
    api_request_done(&q);
    api_done(&api);
}

static void arguments_fill_the_template(void **state) {
    assert_request("/a/{x}/b", 0, "{\"x\":\"1 2\"}", "/base/a/1%202/b", NULL);
    assert_request("/a/{x}", 0, "{\"x\":1.50}", "/base/a/1.50", NULL);
    assert_request("/a?p={p}&q=1&r={r}", 0, "{\"r\":true}", "/base/a?q=1&r=true", NULL);
    assert_request("/a", 0, "{\"l\":[1,2],\"o\":{\"k\":1}}", "/base/a?l=1&l=2&o=%7B%22k%22%3A1%7D",
                   NULL);
    assert_request("/a/{x}", 1, "{\"x\":\"y\",\"n\":null,\"s\":\"t\"}", "/base/a/y",
                   "{\"n\":null,\"s\":\"t\"}");
    assert_request("/a", 4, "{\"x\":1}", "/base/a?x=1", NULL);
}

static void a_value_stays_in_its_segment(void **state) {
    static const char *const values[] = { "..", ".", "" };
    struct api api;
    assert_null(compile_path("/a/{x}/b", 0, &api));
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        struct api_request q = { 0 };
        char text[32];
        snprintf(text, sizeof text, "{\"x\":\"%s\"}", values[i]);
        assert_non_null(api_request_make(&arena, &api, &api.ops[0], parse(text), &q));
        api_request_done(&q);
    }
    api_done(&api);
    assert_request("/a/{x}/b", 0, "{\"x\":\"../c?d#e\"}", "/base/a/..%2Fc%3Fd%23e/b", NULL);
}

static void broken_templates_are_refused(void **state) {
    static const char *const paths[] = { "a", "/{x", "/{}", "/a b", "/a#b", "" };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct api api;
        assert_non_null(compile_path(paths[i], 0, &api));
    }
}

static void recursive_schemas_come_to_an_end(void **state) {
    struct api api;
    struct api_conf conf = {
        .url = S("http://h"),
        .openapi = parse("{\"openapi\":\"3.0.0\",\"paths\":{\"/a\":{\"post\":{\"operationId\":\"a\",\"requestBody\":{\"content\":"
                         "{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/N\"}}}}}}},"
                         "\"components\":{\"schemas\":{\"N\":{\"properties\":{\"l\":{\"$ref\":\"#/components/schemas/N\"},"
                         "\"r\":{\"$ref\":\"#/components/schemas/N\"}}}}}}"),
    };
    assert_null(api_compile(&arena, &conf, &api));
    assert_int_equal(api.n, 1);
    assert_true(api.ops[0].input.n < 1024 * 1024);
    api_done(&api);
}

static void equal_names_in_other_places_are_told_apart(void **state) {
    struct api api;
    struct api_request q = { 0 };
    struct api_conf conf = {
        .url = S("http://h"),
        .openapi = parse("{\"openapi\":\"3.1.0\",\"paths\":{\"/a/{id}\":{\"get\":{\"operationId\":\"a\",\"parameters\":["
                         "{\"name\":\"id\",\"in\":\"query\",\"schema\":{}},{\"name\":\"id\",\"in\":\"path\",\"schema\":{}}]}}}}"),
    };
    assert_null(api_compile(&arena, &conf, &api));
    assert_null(api_request_make(&arena, &api, &api.ops[0], parse("{\"id\":1,\"id_path\":2}"), &q));
    assert_string_equal(buf_text(&q.target), "/a/2?id=1");
    api_request_done(&q);
    api_done(&api);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arguments_fill_the_template, begin, end),
        cmocka_unit_test_setup_teardown(a_value_stays_in_its_segment, begin, end),
        cmocka_unit_test_setup_teardown(broken_templates_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(recursive_schemas_come_to_an_end, begin, end),
        cmocka_unit_test_setup_teardown(equal_names_in_other_places_are_told_apart, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
