#include "base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void equality_is_by_bytes_and_length(void **state) {
    assert_true(str_eq(S("abc"), S("abc")));
    assert_false(str_eq(S("abc"), S("abd")));
    assert_false(str_eq(S("abc"), S("ab")));
    assert_true(str_eq(S(""), (struct str){ NULL, 0 }));
    assert_true(str_eq(S("a\0b"), S("a\0b")));
}

static void nocase_folds_ascii_letters_only(void **state) {
    assert_true(str_eq_nocase(S("Content-Type"), S("cONTENT-tYPE")));
    assert_false(str_eq_nocase(S("@"), S("`")));
    assert_false(str_eq_nocase(S("["), S("{")));
    assert_false(str_eq_nocase(S("\xc4"), S("\xe4"))); /* Ä and ä in Latin-1 */
    assert_false(str_eq_nocase(S("a"), S("ab")));
}

static void order_is_by_bytes_then_length(void **state) {
    assert_true(str_cmp(S("a"), S("b")) < 0);
    assert_true(str_cmp(S("a"), S("ab")) < 0);
    assert_true(str_cmp(S("b"), S("ab")) > 0);
    assert_true(str_cmp(S("\xff"), S("a")) > 0);
    assert_int_equal(str_cmp(S(""), (struct str){ NULL, 0 }), 0);
}

static void finds_the_first_occurrence(void **state) {
    assert_int_equal(str_find(S("abcabc"), S("bc")), 1);
    assert_int_equal(str_find(S("abc"), S("")), 0);
    assert_int_equal(str_find(S("abc"), S("abcd")), -1);
    assert_int_equal(str_find(S("aab"), S("ab")), 1);
    assert_int_equal(str_find_char(S("a,b,c"), ','), 1);
    assert_int_equal(str_find_char(S("abc"), 'z'), -1);
    assert_int_equal(str_find_char((struct str){ NULL, 0 }, 'z'), -1);
}

/* Of texts on the heap, so that a read beyond their end is seen. */
static void finds_at_every_place_what_memmem_finds(void **state) {
    const struct str needles[] = { S("a"), S("ab"), S("aab"), S("\"isError\""), S("abaabaaab") };
    for (size_t n = 1; n < 60; n++) {
        char *text = malloc(n);
        assert_non_null(text);
        for (unsigned seed = 0; seed < 200; seed++) {
            const struct str needle = needles[seed % ARRAY_SIZE(needles)];
            unsigned bits = seed * 2654435761u;
            for (size_t i = 0; i < n; i++, bits = bits * 1103515245u + 12345)
                text[i] = "aab"[(bits >> 16) % 3];
            if (seed % 2 && n >= needle.n)
                memcpy(text + bits % (n - needle.n + 1), needle.p, needle.n);
            const char *hit = memmem(text, n, needle.p, needle.n);
            assert_int_equal(str_find(str_from(text, n), needle), hit ? hit - text : -1);
        }
        free(text);
    }
}

static void slices_are_clamped(void **state) {
    assert_true(str_eq(str_skip(S("abc"), 1), S("bc")));
    assert_true(str_empty(str_skip(S("abc"), 4)));
    assert_true(str_eq(str_head(S("abc"), 2), S("ab")));
    assert_true(str_eq(str_head(S("abc"), 9), S("abc")));
    assert_true(str_starts(S("abc"), S("ab")));
    assert_false(str_starts(S("a"), S("ab")));
    assert_true(str_ends(S("abc"), S("bc")));
    assert_false(str_ends(S("c"), S("bc")));
}

static void trims_spaces_and_tabs_but_no_line_ends(void **state) {
    assert_true(str_eq(str_trim(S(" \t a b\t ")), S("a b")));
    assert_true(str_eq(str_trim(S("\ra\n")), S("\ra\n")));
    assert_int_equal(str_trim(S(" \t ")).n, 0);
}

static void cutting_visits_every_piece_empty_ones_too(void **state) {
    const struct str want[] = { S("a"), S(""), S("b"), S("") };
    struct str rest = S("a,,b,");
    size_t n = 0;
    while (rest.p) {
        struct str piece = str_cut(&rest, ',');
        assert_true(n < ARRAY_SIZE(want) && str_eq(piece, want[n]));
        n++;
    }
    assert_int_equal(n, ARRAY_SIZE(want));
}

static bool u64(const char *text, uint64_t want) {
    uint64_t n = 99;
    bool ok = str_to_u64(str_of(text), &n);
    return ok ? n == want : (n == 99 && want == UINT64_MAX - 1);
}
#define NO_U64 (UINT64_MAX - 1)

static void u64_takes_whole_decimals_in_range_only(void **state) {
    assert_true(u64("0", 0));
    assert_true(u64("0042", 42));
    assert_true(u64("18446744073709551615", UINT64_MAX));
    const char *const bad[] = { "", "18446744073709551616", "99999999999999999999", "-1", "+1",
                                " 1", "1 ", "1a", "0x1", "１" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(u64(bad[i], NO_U64));
}

static void i64_takes_its_whole_range(void **state) {
    int64_t n = 7;
    assert_true(str_to_i64(S("-9223372036854775808"), &n) && n == INT64_MIN);
    assert_true(str_to_i64(S("9223372036854775807"), &n) && n == INT64_MAX);
    assert_true(str_to_i64(S("-0"), &n) && n == 0);
    n = 7;
    assert_false(str_to_i64(S("9223372036854775808"), &n));
    assert_false(str_to_i64(S("-9223372036854775809"), &n));
    assert_false(str_to_i64(S("-"), &n));
    assert_false(str_to_i64(S("--1"), &n));
    assert_int_equal(n, 7);
}

struct glob_row {
    const char *pattern, *text;
    bool match;
};

static void glob_matches_the_whole_of_a_text(void **state) {
    static const struct glob_row rows[] = {
        { "", "", true },           { "", "a", false },        { "*", "", true },
        { "*", "anything", true },  { "time__*", "time__now", true },
        { "time__*", "xtime__now", false },                    { "?", "a", true },
        { "?", "", false },         { "a?c", "abc", true },    { "a?c", "ac", false },
        { "*a*b*c*", "xxaxxbxxcxx", true },                    { "*a*b*c*", "xxaxxcxxbxx", false },
        { "*ab", "aab", true },     { "*ab", "aba", false },   { "a**b", "ab", true },
        { "[a]", "[a]", true },     { "[a]", "a", false },     { "a\\*", "a\\x", true },
        { "*.txt", ".txt", true },  { "*?*", "", false },      { "??*", "ab", true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (str_glob(str_of(rows[i].pattern), str_of(rows[i].text)) != rows[i].match)
            fail_msg("%s on %s", rows[i].pattern, rows[i].text);
}

/* Exponential matchers never end here. */
static void glob_survives_many_stars(void **state) {
    static char pattern[201], text[20001];
    for (size_t i = 0; i < 200; i++)
        pattern[i] = i % 2 ? '*' : 'a';
    memset(text, 'a', 20000);
    pattern[199] = 'b';
    assert_false(str_glob(str_of(pattern), str_of(text)));
}

static void distance_counts_edits_up_to_a_limit(void **state) {
    assert_int_equal(str_distance(S("kitten"), S("sitting"), 5), 3);
    assert_int_equal(str_distance(S("kitten"), S("sitting"), 2), 3);
    assert_int_equal(str_distance(S("kitten"), S("sitting"), 1), 2);
    assert_int_equal(str_distance(S(""), S("abc"), 9), 3);
    assert_int_equal(str_distance(S("same"), S("same"), 3), 0);
    assert_int_equal(str_distance(S("timeout"), S("timeuot"), 3), 2);
    char longer[65];
    memset(longer, 'a', sizeof longer);
    assert_int_equal(str_distance(str_from(longer, 65), str_from(longer, 65), 3), 4);
    assert_int_equal(str_distance(str_from(longer, 64), str_from(longer, 63), 3), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_is_by_bytes_and_length),
        cmocka_unit_test(nocase_folds_ascii_letters_only),
        cmocka_unit_test(order_is_by_bytes_then_length),
        cmocka_unit_test(finds_the_first_occurrence),
        cmocka_unit_test(finds_at_every_place_what_memmem_finds),
        cmocka_unit_test(slices_are_clamped),
        cmocka_unit_test(trims_spaces_and_tabs_but_no_line_ends),
        cmocka_unit_test(cutting_visits_every_piece_empty_ones_too),
        cmocka_unit_test(u64_takes_whole_decimals_in_range_only),
        cmocka_unit_test(i64_takes_its_whole_range),
        cmocka_unit_test(glob_matches_the_whole_of_a_text),
        cmocka_unit_test(glob_survives_many_stars),
        cmocka_unit_test(distance_counts_edits_up_to_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
