#include "base/mem.h"
#include "mcp/header_value.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void writes(struct str text, const char *expected) {
    char out[256];
    assert_true(text.n * 2 + 24 <= sizeof out);
    struct str value = str_from(out, header_value_write(out, text));
    if (!str_eq(value, str_of(expected)))
        fail_msg("%.*s instead of %s", STR(value), expected);
}

/* P-073 */
static void plain_text_stays_plain(void **state) {
    writes(S(""), "");
    writes(S("us-west1"), "us-west1");
    writes(S("a b  c"), "a b  c");
    writes(S("=?base64?"), "=?base64?");
    writes(S("x=?base64?eA==?="), "x=?base64?eA==?=");
}

static void what_a_header_cannot_carry_is_encoded(void **state) {
    writes(S("\xc3\xa9"), "=?base64?w6k=?=");
    writes(S(" x"), "=?base64?IHg=?=");
    writes(S("x\t"), "=?base64?eAk=?=");
    writes(S("a\r\nb"), "=?base64?YQ0KYg==?=");
    writes(S("a\tb"), "=?base64?YQli?=");
    writes(S("\x7f"), "=?base64?fw==?=");
    writes(S("a\0b"), "=?base64?YQBi?=");
    writes(S("=?base64?eA==?="), "=?base64?PT9iYXNlNjQ/ZUE9PT89?=");
}

static bool reads(struct str value, struct str expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct str text;
    if (!header_value_read(&a, value, &text))
        return false;
    if (!str_eq(text, expected))
        fail_msg("%.*s instead of %.*s", STR(text), STR(expected));
    return true;
}

/* P-074 */
static void half_a_sentinel_is_literal(void **state) {
    assert_true(reads(S("=?base64?eA=="), S("=?base64?eA==")));
    assert_true(reads(S("eA==?="), S("eA==?=")));
    assert_true(reads(S("=?BASE64?eA==?="), S("=?BASE64?eA==?=")));
    assert_true(reads(S("=?base64?="), S("=?base64?=")));
    assert_true(reads(S("=?base64?"
                        "?="),
                      S("")));
    assert_true(reads(S("=?base64?eA==?="), S("x")));
}

static void bad_base64_is_refused(void **state) {
    assert_false(reads(S("=?base64?eA?="), S("")));
    assert_false(reads(S("=?base64?e===?="), S("")));
    assert_false(reads(S("=?base64?e A=?="), S("")));
    assert_false(reads(S("=?base64?-_==?="), S("")));
}

static void what_was_written_reads_back(void **state) {
    for (int c = 0; c < 256; c++) {
        char text[] = { 'a', (char)c, 'b', (char)c }, out[64];
        for (size_t n = 0; n <= sizeof text; n++) {
            struct str value = str_from(out, header_value_write(out, str_from(text, n)));
            assert_true(reads(value, str_from(text, n)));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_stays_plain),
        cmocka_unit_test(what_a_header_cannot_carry_is_encoded),
        cmocka_unit_test(half_a_sentinel_is_literal),
        cmocka_unit_test(bad_base64_is_refused),
        cmocka_unit_test(what_was_written_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
