#include "base/mem.h"
#include "mcp/names.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void shows(const char *prefix, struct str name, const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct str shown = name_show(&a, str_of(prefix), name);
    if (!str_eq(shown, str_of(expected)))
        fail_msg("%.*s instead of %s", STR(shown), expected);
}

/* P-600, P-601 */
static void usual_names_get_their_prefix_and_nothing_else(void **state) {
    shows("time", S("get_current_time"), "time__get_current_time");
    shows("", S("get_current_time"), "get_current_time");
    shows("a-b", S("x.y-Z"), "a-b__x.y-Z");
}

/* P-601: the numbers come from `printf '%s' NAME | sha256sum` and stay for ever */
static void foreign_bytes_become_underscores_and_a_hash_keeps_names_apart(void **state) {
    shows("fs", S("a/b"), "fs__a_b_050efbbd");
    shows("fs", S("a b"), "fs__a_b_3d4f4c14");
    shows("", S("\xc3\xa9t\xc3\xa9"), "__t___bd010c64");
}

/* P-191 */
static void long_names_are_cut_to_64_bytes(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    char text[2][300];
    memset(text, 'x', sizeof text);
    text[1][299] = 'y';
    struct str one = name_show(&a, S("p"), str_from(text[0], 300)),
               other = name_show(&a, S("p"), str_from(text[1], 300));
    assert_int_equal(one.n, 64);
    assert_int_equal(other.n, 64);
    assert_false(str_eq(one, other));
    assert_true(str_starts(one, S("p__xxxx")));
    struct str fits = name_show(&a, S("p"), str_from(text[0], 61));
    assert_int_equal(fits.n, 64);
    assert_int_equal(fits.p[63], 'x');
    assert_int_equal(name_show(&a, S("p"), str_from(text[0], 62)).p[55], '_');
}

static void names_with_nul_bytes_stay_distinct(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    assert_false(str_eq(name_show(&a, S("p"), S("a\0b")), name_show(&a, S("p"), S("a\0c"))));
    assert_false(str_eq(name_show(&a, S("p"), S("a\0b")), name_show(&a, S("p"), S("a"))));
}

static void every_shown_name_is_in_the_alphabet(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        struct str shown = name_show(&a, S("u"), str_from(&byte, 1));
        for (size_t i = 0; i < shown.n; i++)
            assert_non_null(
                memchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-",
                       shown.p[i], 65));
    }
}

static void configured_names_are_short_and_plain(void **state) {
    static const char *const good[] = {
        "a", "time", "my-server", "a_b", "9", "-x-", "abcdefghijklmnopqrstuvwxyz012345"
    };
    static const char *const bad[] = { "",     "_a",       "a_",
                                       "a__b", "a.b",      "a b",
                                       "a/b",  "\xc3\xa9", "abcdefghijklmnopqrstuvwxyz0123456" };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(name_valid_upstream(str_of(good[i])));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(name_valid_upstream(str_of(bad[i])));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_names_get_their_prefix_and_nothing_else),
        cmocka_unit_test(foreign_bytes_become_underscores_and_a_hash_keeps_names_apart),
        cmocka_unit_test(long_names_are_cut_to_64_bytes),
        cmocka_unit_test(names_with_nul_bytes_stay_distinct),
        cmocka_unit_test(every_shown_name_is_in_the_alphabet),
        cmocka_unit_test(configured_names_are_short_and_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
