#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "cli/output.h"
#include <cmocka.h>

static json parsed(struct arena *a, const char *text) {
    json v = NULL;
    assert_null(json_parse(a, str_of(text), (struct json_limits){ 0 }, &v));
    return v;
}

#define YAML(expected, text)                                                                       \
    do {                                                                                           \
        SCOPED(arena_scope) struct arena a;                                                        \
        SCOPED(buf_done) struct buf b = { 0 };                                                     \
        arena_init(&a, NULL, 0);                                                                   \
        output_yaml(&b, parsed(&a, text));                                                         \
        assert_string_equal(buf_text(&b), expected);                                               \
    } while (0)

static void yaml_is_in_block_style(void **state) {
    YAML("a: 1\nb:\n- x\n- \"y\": true\nc: {}\nd: []\n",
         "{\"a\":1,\"b\":[\"x\",{\"y\":true}],\"c\":{},\"d\":[]}");
}

static void yaml_quotes_texts_that_would_be_read_as_something_else(void **state) {
    YAML("- \"true\"\n- \"no\"\n- \"1.0\"\n- \"\"\n- \"-3\"\n- \"~\"\n- plain text\n- "
         "\"2026-07-28\"\n",
         "[\"true\",\"no\",\"1.0\",\"\",\"-3\",\"~\",\"plain text\",\"2026-07-28\"]");
}

static void yaml_keeps_the_spelling_of_numbers(void **state) {
    YAML("- 1.50\n- 100000000000000000000\n- null\n", "[1.50,100000000000000000000,null]");
}

static void json_is_indented_and_empty_values_stay_together(void **state) {
    SCOPED(arena_scope) struct arena a;
    SCOPED(buf_done) struct buf b = { 0 };
    arena_init(&a, NULL, 0);
    output_indented(&b, parsed(&a, "{\"a\":[1,{\"b\":\"{,\"}],\"c\":{},\"d\":[]}"));
    assert_string_equal(buf_text(&b),
                        "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"{,\"\n    }\n  ],\n"
                        "  \"c\": {},\n  \"d\": []\n}");
}

static void what_a_terminal_would_obey_is_taken_out(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    output_clean(&b, S("a\033[31mb\nc\x7f"
                       "d\xc2\x9b"
                       "e\xc3\xa4"));
    assert_string_equal(buf_text(&b), "a [31mb c d e\xc3\xa4");
    assert_int_equal(output_width(S("h\xc3\xa4llo")), 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_is_in_block_style),
        cmocka_unit_test(yaml_quotes_texts_that_would_be_read_as_something_else),
        cmocka_unit_test(yaml_keeps_the_spelling_of_numbers),
        cmocka_unit_test(json_is_indented_and_empty_values_stay_together),
        cmocka_unit_test(what_a_terminal_would_obey_is_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
