#include "servers/filesystem/diff.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char shown[65536];

static const char *diff(const char *before, const char *after) {
    struct buf out = { 0 };
    diff_unified(&out, S("f"), str_of(before), str_of(after));
    assert_true(out.n < sizeof shown);
    strcpy(shown, out.n ? buf_text(&out) : "");
    buf_done(&out);
    return shown;
}

static void equal_texts_have_none(void **state) {
    assert_string_equal(diff("", ""), "");
    assert_string_equal(diff("a\nb\n", "a\nb\n"), "");
}

/* What `diff -u` prints for the same. */
static void hunks_are_those_of_diff(void **state) {
    assert_string_equal(diff("", "a\n"), "--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+a\n");
    assert_string_equal(diff("a\n", ""), "--- a/f\n+++ b/f\n@@ -1 +0,0 @@\n-a\n");
    assert_string_equal(diff("a\n", "a"),
                        "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n");
    assert_string_equal(diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n"),
                        "--- a/f\n+++ b/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    assert_string_equal(diff("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n"),
                        "--- a/f\n+++ b/f\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n "
                        "5\n 6\n 7\n-b\n+B\n");
}

/* Applies a diff of ours the plain way: what is not in a hunk stays. */
static void apply(struct buf *out, struct str before, struct str patch) {
    size_t line = 1;
    while (patch.n) {
        struct str head = str_cut(&patch, '\n');
        if (str_starts(head, S("@@ -"))) {
            unsigned from, n = 1;
            int got = sscanf(head.p, "@@ -%u,%u", &from, &n);
            from += got == 2 && n == 0;
            for (; line < from; line++) {
                struct str kept = str_cut(&before, '\n');
                buf_str(out, kept);
                buf_char(out, '\n');
            }
        } else if (head.n && head.p[0] == '+' && !str_starts(head, S("+++ "))) {
            buf_str(out, str_skip(head, 1));
            buf_char(out, '\n');
        } else if (head.n && (head.p[0] == ' ' || head.p[0] == '-') &&
                   !str_starts(head, S("--- "))) {
            struct str old = str_cut(&before, '\n');
            assert_true(str_eq(old, str_skip(head, 1)));
            line++;
            if (head.p[0] == ' ') {
                buf_str(out, old);
                buf_char(out, '\n');
            }
        }
    }
    buf_str(out, before);
}

static void random_text(struct buf *b, int lines, int letters) {
    for (int i = 0; i < lines; i++)
        buf_fmt(b, "line %c\n", 'a' + rand() % letters);
}

static void a_diff_leads_from_the_old_text_to_the_new(void **state) {
    srand(7);
    for (int i = 0; i < 3000; i++) {
        struct buf a = { 0 }, b = { 0 }, patch = { 0 }, made = { 0 };
        random_text(&a, rand() % 30, 1 + rand() % 6);
        random_text(&b, rand() % 30, 1 + rand() % 6);
        diff_unified(&patch, S("f"), buf_view(&a), buf_view(&b));
        buf_text(&patch); /* sscanf looks for its NUL */
        apply(&made, buf_view(&a), buf_view(&patch));
        assert_true(str_eq(buf_view(&made), buf_view(&b)));
        buf_done(&a);
        buf_done(&b);
        buf_done(&patch);
        buf_done(&made);
    }
}

/* Beyond the bound on differences it is long, but still true. */
static void texts_that_have_nothing_in_common_end_soon(void **state) {
    struct buf a = { 0 }, b = { 0 }, patch = { 0 }, made = { 0 };
    for (int i = 0; i < 20000; i++) {
        buf_fmt(&a, "old %d\n", i);
        buf_fmt(&b, "new %d\n", i);
    }
    struct diff_counts n = diff_unified(&patch, S("f"), buf_view(&a), buf_view(&b));
    assert_int_equal(n.added, 20000);
    assert_int_equal(n.removed, 20000);
    apply(&made, buf_view(&a), buf_view(&patch));
    assert_true(str_eq(buf_view(&made), buf_view(&b)));
    buf_done(&a);
    buf_done(&b);
    buf_done(&patch);
    buf_done(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_have_none),
        cmocka_unit_test(hunks_are_those_of_diff),
        cmocka_unit_test(a_diff_leads_from_the_old_text_to_the_new),
        cmocka_unit_test(texts_that_have_nothing_in_common_end_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
