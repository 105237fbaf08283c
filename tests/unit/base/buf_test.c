#include "base/buf.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void grows_with_what_is_put(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    for (int i = 0; i < 10000; i++) {
        buf_char(&b, (char)('a' + i % 26));
        buf_put(&b, "0123456789", (size_t)i % 11);
        assert_true(b.n < b.cap); /* the spare byte */
    }
    assert_int_equal(b.p[0], 'a');
    assert_memory_equal(b.p + 1, "b0", 2);
    assert_int_equal(b.n, 10000 + 909 * 55 + 0);
}

static void putting_nothing_changes_nothing(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_put(&b, NULL, 0);
    buf_str(&b, (struct str){ NULL, 0 });
    assert_int_equal(b.n, 0);
    assert_null(b.p);
}

static void text_is_terminated_and_not_longer(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    assert_string_equal(buf_text(&b), "");
    buf_str(&b, S("abc"));
    assert_string_equal(buf_text(&b), "abc");
    assert_int_equal(b.n, 3);
    buf_reserve(&b, 61);
    while (b.n + 1 < b.cap)
        buf_char(&b, 'x');
    size_t cap = b.cap;
    assert_int_equal(strlen(buf_text(&b)), b.n);
    assert_int_equal(b.cap, cap);
}

static void formats_whether_it_fits_or_not(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_fmt(&b, "%s=%d;", "a", 1);
    buf_fmt(&b, "%300d;", 2);
    buf_fmt(&b, "%s", "");
    assert_int_equal(b.n, 4 + 301);
    assert_memory_equal(b.p, "a=1; ", 5);
    assert_memory_equal(b.p + 302, " 2;", 3);
}

static void numbers_are_decimal(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_u64(&b, 0);
    buf_char(&b, ' ');
    buf_u64(&b, 1234567890);
    buf_char(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    assert_string_equal(buf_text(&b), "0 1234567890 18446744073709551615");
}

static void consuming_drops_from_the_front(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, S("abcdef"));
    buf_consume(&b, 2);
    assert_string_equal(buf_text(&b), "cdef");
    buf_consume(&b, 4);
    assert_int_equal(b.n, 0);
    buf_consume(&b, 0);
    buf_str(&b, S("x"));
    assert_string_equal(buf_text(&b), "x");
}

static void taking_leaves_it_empty_and_usable(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, S("abc"));
    struct str s = buf_take(&b);
    buf_str(&b, S("new"));
    assert_true(str_eq(s, S("abc")));
    assert_true(str_eq(buf_view(&b), S("new")));
    free((char *)s.p);
    buf_done(&b);
    buf_str(&b, S("again"));
    assert_string_equal(buf_text(&b), "again");
}

static void reserved_room_is_used_without_moving(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_reserve(&b, 1000);
    const char *before = b.p;
    for (int i = 0; i < 1000; i++)
        buf_char(&b, 'x');
    assert_string_equal(buf_text(&b), b.p);
    assert_ptr_equal(b.p, before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_with_what_is_put),
        cmocka_unit_test(putting_nothing_changes_nothing),
        cmocka_unit_test(text_is_terminated_and_not_longer),
        cmocka_unit_test(formats_whether_it_fits_or_not),
        cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(consuming_drops_from_the_front),
        cmocka_unit_test(taking_leaves_it_empty_and_usable),
        cmocka_unit_test(reserved_room_is_used_without_moving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
