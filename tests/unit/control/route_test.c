/* Paths, methods and queries of control/route.h. */
#include "base/mem.h"
#include "control/route.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static err_t nothing(struct rest *r) {
    return OK;
}

static const struct route rows[] = {
    ROUTE(GET, "/tools", KEY, nothing, ""),
    ROUTE(POST, "/tools", ADMIN, nothing, ""),
    ROUTE(GET, "/tools/search", KEY, nothing, ""),
    ROUTE(GET, "/tools/{name}", KEY, nothing, ""),
    ROUTE(POST, "/tools/{name}/runs/{id}", KEY, nothing, ""),
    { .methods = "POST DELETE", .path = "/mcp" },
};
static const struct route_table table = { "t", rows, ARRAY_SIZE(rows) };
static const struct route_table *const tables[] = { &table };

static enum route_found find(const char *method, const char *path, struct route_match *m) {
    return route_find(tables, 1, str_of(path), str_of(method), m);
}

static void a_parameter_takes_one_segment(void **state) {
    struct route_match m;
    assert_int_equal(find("GET", "/tools/a.b", &m), ROUTE_FOUND);
    assert_true(str_eq(m.params[0], S("a.b")));
    assert_int_equal(find("POST", "/tools/x/runs/7", &m), ROUTE_FOUND);
    assert_true(str_eq(m.params[0], S("x")) && str_eq(m.params[1], S("7")));
    assert_int_equal(find("GET", "/tools/a/b", &m), ROUTE_NO_PATH);
    assert_int_equal(find("POST", "/tools//runs/7", &m), ROUTE_NO_PATH);
    assert_int_equal(find("GET", "/toolsx", &m), ROUTE_NO_PATH);
    assert_int_equal(find("GET", "/", &m), ROUTE_NO_PATH);
    assert_int_equal(find("GET", "", &m), ROUTE_NO_PATH);
}

static void a_literal_path_goes_before_a_parameter(void **state) {
    struct route_match m;
    assert_int_equal(find("GET", "/tools/search", &m), ROUTE_FOUND);
    assert_string_equal(m.route->path, "/tools/search");
    assert_int_equal(m.params[0].n, 0);
}

static void a_slash_at_the_end_makes_no_difference(void **state) {
    struct route_match m;
    assert_int_equal(find("POST", "/tools/", &m), ROUTE_FOUND);
    assert_string_equal(m.route->methods, "POST");
}

static void other_methods_are_told_apart_from_other_paths(void **state) {
    struct route_match m;
    assert_int_equal(find("PUT", "/tools", &m), ROUTE_NO_METHOD);
    assert_int_equal(find("POST", "/tools/search", &m), ROUTE_NO_METHOD);
    assert_int_equal(find("HEAD", "/tools", &m), ROUTE_FOUND);
    assert_int_equal(find("HEAD", "/mcp", &m), ROUTE_NO_METHOD);
    assert_int_equal(find("DELETE", "/mcp", &m), ROUTE_FOUND);
    assert_int_equal(find("DELET", "/mcp", &m), ROUTE_NO_METHOD);
}

static void allow_lists_all_rows_of_the_path(void **state) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    assert_true(str_eq(route_allow(tables, 1, "/tools", &a), S("GET, HEAD, POST, OPTIONS")));
    assert_true(str_eq(route_allow(tables, 1, "/mcp", &a), S("POST, DELETE, OPTIONS")));
}

static void escapes_are_resolved_and_broken_ones_refused(void **state) {
    SCOPED(arena_scope) struct arena a;
    struct str out;
    arena_init(&a, NULL, 0);
    assert_true(percent_decode(S("a%20b%2Fc+d"), false, &a, &out));
    assert_true(str_eq(out, S("a b/c+d")));
    assert_true(percent_decode(S("a+b"), true, &a, &out));
    assert_true(str_eq(out, S("a b")));
    static const char *const broken[] = { "%", "%4", "%zz", "%ff", "\xc3" };
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
        assert_false(percent_decode(str_of(broken[i]), false, &a, &out));
}

struct query {
    int64_t limit;
    struct str word;
    bool flag;
    struct str_list tags;
};
#define T struct query
static const struct field query_fields[] = {
    FIELD(T, limit, INT, "100", "1..1000", 0, ""),
    FIELD(T, word, STR, NULL, "1..8", FIELD_REQUIRED, ""),
    FIELD(T, flag, BOOL, NULL, NULL, 0, ""),
    FIELD(T, tags, STRS, NULL, NULL, 0, ""),
};
#undef T
static const struct schema query_schema = SCHEMA("Query", query_fields, struct query);

static void a_query_fills_its_struct(void **state) {
    SCOPED(arena_scope) struct arena a;
    struct query q;
    arena_init(&a, NULL, 0);
    assert_null(query_read(&query_schema, S("word=a%26b&flag=true&tags=x,y&&"), &q, &a, NULL));
    assert_int_equal(q.limit, 100);
    assert_true(str_eq(q.word, S("a&b")) && q.flag && q.tags.n == 2);
}

static void each_mistake_of_a_query_is_named(void **state) {
    static const struct {
        const char *query, *says;
    } cases[] = {
        { "", "word is missing" },
        { "word=", "1 to 8" },
        { "word=a&limit=0", "1 to 1000" },
        { "word=a&limit=x", "an integer" },
        { "word=a&limt=1", "did you mean limit" },
        { "word=a&something=1", "known here: limit, word, flag, tags" },
        { "word=a&word=b", "given twice" },
        { "word=a&flag=yes", "true or false" },
        { "word=%", "broken escape" },
    };
    SCOPED(arena_scope) struct arena a;
    struct query q;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        err_t e = query_read(&query_schema, str_of(cases[i].query), &q, &a, NULL);
        assert_non_null(e);
        assert_int_equal(e->kind, ERR_INVALID);
        if (!strstr(e->text, cases[i].says))
            fail_msg("%s: %s", cases[i].query, e->text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parameter_takes_one_segment),
        cmocka_unit_test(a_literal_path_goes_before_a_parameter),
        cmocka_unit_test(a_slash_at_the_end_makes_no_difference),
        cmocka_unit_test(other_methods_are_told_apart_from_other_paths),
        cmocka_unit_test(allow_lists_all_rows_of_the_path),
        cmocka_unit_test(escapes_are_resolved_and_broken_ones_refused),
        cmocka_unit_test(a_query_fills_its_struct),
        cmocka_unit_test(each_mistake_of_a_query_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
