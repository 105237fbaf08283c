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

/* One GET /a with these parameters, and components. */
static err_t compile_params(const char *parameters, const char *schemas, struct api *out) {
    struct api_conf *conf = ARENA_NEW(&arena, struct api_conf);
    SCOPED(buf_done) struct buf b = { 0 };
    buf_fmt(&b,
            "{\"openapi\":\"3.0.3\",\"paths\":{\"/"
            "a\":{\"get\":{\"operationId\":\"a\",\"parameters\":[%s]}}},"
            "\"components\":{\"schemas\":{%s}}}",
            parameters, schemas);
    *conf = (struct api_conf){ .url = S("http://h"), .openapi = parse(buf_text(&b)) };
    return api_compile(&arena, conf, out);
}

static void styles_of_the_query_are_those_of_the_document(void **state) {
    static const struct {
        const char *how, *arguments, *target;
    } cases[] = {
        { "\"schema\":{}", "{\"q\":[1,2]}", "/a?q=1&q=2" },
        { "\"schema\":{}", "{\"q\":{\"k\":1,\"l\":\"&\"}}", "/a?k=1&l=%26" },
        { "\"explode\":false,\"schema\":{}", "{\"q\":[1,\",\"]}", "/a?q=1,%2C" },
        { "\"explode\":false,\"schema\":{}", "{\"q\":{\"k\":1,\"l\":2}}", "/a?q=k,1,l,2" },
        { "\"explode\":false,\"schema\":{}", "{\"q\":\"x\"}", "/a?q=x" },
        { "\"style\":\"pipeDelimited\",\"schema\":{}", "{\"q\":[1,2]}", "/a?q=1%7C2" },
        { "\"style\":\"spaceDelimited\",\"schema\":{}", "{\"q\":[1,2]}", "/a?q=1%202" },
        { "\"style\":\"deepObject\",\"explode\":true,\"schema\":{}",
          "{\"q\":{\"k\":1,\"l\":[2,3]}}", "/a?q%5Bk%5D=1&q%5Bl%5D=2&q%5Bl%5D=3" },
        { "\"content\":{\"application/json\":{\"schema\":{\"type\":\"array\"}}}", "{\"q\":[1]}",
          "/a?q=%5B1%5D" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct api api;
        struct api_request q = { 0 };
        char text[256];
        snprintf(text, sizeof text, "{\"name\":\"q\",\"in\":\"query\",%s}", cases[i].how);
        assert_null(compile_params(text, "", &api));
        assert_null(api_request_make(&arena, &api, &api.ops[0], parse(cases[i].arguments), &q));
        assert_string_equal(buf_text(&q.target), cases[i].target);
        api_request_done(&q);
        api_done(&api);
    }
}

static bool takes(const struct api *api, const char *arguments) {
    struct api_request q = { 0 };
    bool ok = !api_request_make(&arena, api, &api->ops[0], parse(arguments), &q);
    api_request_done(&q);
    return ok;
}

static void schemas_of_openapi_3_0_mean_what_they_meant(void **state) {
    struct api api;
    assert_null(compile_params(
        "{\"name\":\"q\",\"in\":\"query\",\"schema\":{\"$ref\":\"#/components/schemas/S\"}}",
        "\"S\":{\"type\":\"object\",\"nullable\":true,\"properties\":{"
        "\"n\":{\"type\":\"number\",\"minimum\":0,\"exclusiveMinimum\":true,\"maximum\":9,"
        "\"exclusiveMaximum\":false},"
        "\"s\":{\"type\":\"string\",\"nullable\":true,\"enum\":[\"x\"],\"required\":true},"
        "\"example\":{\"type\":\"integer\"},\"nullable\":{\"type\":\"integer\"}},"
        "\"example\":{\"n\":1},\"default\":{\"$ref\":\"no "
        "reference\"},\"additionalProperties\":false}",
        &api));
    assert_true(takes(&api, "{\"q\":{\"n\":9,\"s\":null,\"example\":1,\"nullable\":2}}"));
    assert_true(takes(&api, "{\"q\":{\"s\":\"x\"}}"));
    assert_true(takes(&api, "{\"q\":null}"));
    assert_false(takes(&api, "{\"q\":{\"n\":0}}"));
    assert_false(takes(&api, "{\"q\":{\"n\":9.5}}"));
    assert_false(takes(&api, "{\"q\":{\"s\":\"y\"}}"));
    assert_false(takes(&api, "{\"q\":{\"example\":\"a\"}}")); /* a property, not the keyword */
    api_done(&api);
}

static void references_that_lead_nowhere_are_named(void **state) {
    static const char *const refs[] = { "#/components/parameters/Nope", "other.yaml#/x", "" };
    for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
        struct api api;
        char text[128];
        snprintf(text, sizeof text, "{\"$ref\":\"%s\"}", refs[i]);
        err_t e = compile_params(text, "", &api);
        assert_non_null(e);
        assert_non_null(strstr(e->text, "leads nowhere"));
        assert_non_null(strstr(e->text, refs[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arguments_fill_the_template, begin, end),
        cmocka_unit_test_setup_teardown(a_value_stays_in_its_segment, begin, end),
        cmocka_unit_test_setup_teardown(broken_templates_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(recursive_schemas_come_to_an_end, begin, end),
        cmocka_unit_test_setup_teardown(equal_names_in_other_places_are_told_apart, begin, end),
        cmocka_unit_test_setup_teardown(styles_of_the_query_are_those_of_the_document, begin, end),
        cmocka_unit_test_setup_teardown(schemas_of_openapi_3_0_mean_what_they_meant, begin, end),
        cmocka_unit_test_setup_teardown(references_that_lead_nowhere_are_named, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
