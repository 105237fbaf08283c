#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "cli/call_args.h"
#include <cmocka.h>

#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"                         \
    "\"text\":{\"type\":\"string\"},\"count\":{\"type\":\"integer\"},\"share\":{\"type\":\"number\"}," \
    "\"deep\":{\"type\":\"boolean\"},\"names\":{\"type\":\"array\"},\"where\":{\"type\":\"object\"}," \
    "\"either\":{\"type\":[\"integer\",\"string\"]},\"maybe\":{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]}," \
    "\"any\":{}}}"

static struct arena arena;
static struct buf out;

static int set_up(void **state) {
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    arena_done(&arena);
    buf_done(&out);
    return 0;
}

static err_t read_words(const char *schema_text, const char *const *words, size_t n) {
    struct str slices[8];
    json schema = NULL;
    assert_null(json_parse(&arena, str_of(schema_text), (struct json_limits){ 0 }, &schema));
    for (size_t i = 0; i < n; i++)
        slices[i] = str_of(words[i]);
    buf_clear(&out);
    return call_args_read(&arena, schema, slices, n, &out);
}

#define READ(...)                                                                                  \
    read_words(SCHEMA, (const char *const[]){ __VA_ARGS__ },                                       \
               sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))
#define GIVES(expected, ...)                                                                       \
    do {                                                                                           \
        assert_null(READ(__VA_ARGS__));                                                            \
        assert_string_equal(buf_text(&out), expected);                                             \
    } while (0)
#define REFUSES(expected, ...)                                                                     \
    do {                                                                                           \
        err_t e_ = READ(__VA_ARGS__);                                                              \
        assert_non_null(e_);                                                                       \
        assert_string_equal(e_->text, expected);                                                   \
    } while (0)

static void the_schema_says_what_a_value_is(void **state) {
    GIVES("{\"text\":\"12\"}", "text=12");
    GIVES("{\"count\":12}", "count=12");
    GIVES("{\"share\":0.50}", "share=0.50");
    GIVES("{\"deep\":true}", "deep=true");
    GIVES("{\"names\":[\"a\"]}", "names=[\"a\"]");
    GIVES("{\"where\":{\"a\":1}}", "where={\"a\":1}");
}

static void a_value_of_another_type_is_refused_with_what_is_needed(void **state) {
    REFUSES("count: an integer is needed", "count=many");
    REFUSES("count: an integer is needed", "count=1.5");
    REFUSES("deep: true or false is needed", "deep=yes");
    REFUSES("maybe: an integer or null is needed", "maybe=x");
    REFUSES("names: a JSON array, such as '[\"a\",\"b\"]' is needed", "names=a");
}

static void several_types_prefer_the_narrower(void **state) {
    GIVES("{\"either\":7}", "either=7");
    GIVES("{\"either\":\"seven\"}", "either=seven");
    GIVES("{\"either\":\"true\"}", "either=true");
    GIVES("{\"maybe\":null}", "maybe=null");
}

static void an_open_schema_takes_what_reads_as_json(void **state) {
    GIVES("{\"any\":1}", "any=1");
    GIVES("{\"any\":\"one\"}", "any=one");
    GIVES("{\"any\":\"\\\"1\\\"\"}", "any=\"1\"");
}

static void text_keeps_equal_signs_and_may_be_empty(void **state) {
    GIVES("{\"text\":\"a=b\"}", "text=a=b");
    GIVES("{\"text\":\"\"}", "text=");
}

static void an_object_stands_for_all_arguments(void **state) {
    GIVES("{\"count\":1e2,\"other\":[]}", "{\"count\": 1e2, \"other\": []}");
    assert_non_null(READ("{\"count\":"));
}

static void no_words_are_an_empty_object(void **state) {
    assert_null(read_words(SCHEMA, NULL, 0));
    assert_string_equal(buf_text(&out), "{}");
}

static void mistakes_are_named(void **state) {
    REFUSES("conut: write key=value, or all arguments as one JSON object", "conut");
    REFUSES("=1: write key=value, or all arguments as one JSON object", "=1");
    REFUSES("count is given twice", "count=1", "count=2");
    REFUSES("the tool has no argument conut; did you mean count?", "conut=1");
    REFUSES("the tool has no argument entirely", "entirely=1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_schema_says_what_a_value_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_value_of_another_type_is_refused_with_what_is_needed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_types_prefer_the_narrower, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_open_schema_takes_what_reads_as_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_keeps_equal_signs_and_may_be_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_object_stands_for_all_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_words_are_an_empty_object, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_named, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
