#include "base/arena.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool inside(const void *p, const char *storage, size_t n) {
    return (const char *)p >= storage && (const char *)p < storage + n;
}

static void uses_the_owners_storage_first(void **state) {
    char storage[256];
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, storage, sizeof storage);
    assert_true(inside(arena_alloc(&a, 64), storage, sizeof storage));
    assert_null(a.chunks);
    assert_false(inside(arena_alloc(&a, 256), storage, sizeof storage));
    assert_non_null(a.chunks);
}

static void everything_is_aligned_even_in_odd_storage(void **state) {
    _Alignas(16) char storage[100];
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, storage + 1, 99);
    for (size_t n = 0; n < 300; n++)
        assert_int_equal((uintptr_t)arena_alloc(&a, n) % 16, 0);
}

static void storage_too_small_to_align_is_left_alone(void **state) {
    _Alignas(16) char storage[16] = { 0 };
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, storage + 1, 3);
    memset(arena_alloc(&a, 1), 'x', 16);
    for (size_t i = 0; i < sizeof storage; i++)
        assert_int_equal(storage[i], 0);
}

static void pieces_never_overlap(void **state) {
    enum { PIECES = 2000 };
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    SCOPED(mem_scope) unsigned char **pieces = NEW_ARRAY(unsigned char *, PIECES);
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = arena_alloc(&a, i * 7 % 5000);
        memset(pieces[i], (int)(i & 0xff), i * 7 % 5000);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t j = 0; j < i * 7 % 5000; j++)
            assert_int_equal(pieces[i][j], i & 0xff);
}

static void a_large_piece_leaves_the_free_space_in_use(void **state) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    char *before = arena_alloc(&a, 16);
    arena_alloc(&a, 1 << 20);
    assert_ptr_equal(arena_alloc(&a, 16), before + 16);
}

static void reset_starts_over_with_the_storage(void **state) {
    char storage[256];
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, storage, sizeof storage);
    void *first = arena_alloc(&a, 32);
    arena_alloc(&a, 100000);
    assert_int_equal(a.used, 32 + 100000);
    arena_reset(&a);
    assert_null(a.chunks);
    assert_int_equal(a.used, 0);
    assert_ptr_equal(arena_alloc(&a, 32), first);
}

static void zeroed_pieces_are_zero_after_reuse(void **state) {
    char storage[128];
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, storage, sizeof storage);
    memset(arena_alloc(&a, 64), 'x', 64);
    arena_reset(&a);
    uint64_t *p = ARENA_ARRAY(&a, uint64_t, 8);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(p[i], 0);
}

static void copies_belong_to_the_arena(void **state) {
    char text[] = "abc";
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct str copy = arena_dup(&a, str_of(text));
    char *terminated = arena_text(&a, str_from(text, 2));
    memset(text, 'x', 3);
    assert_true(str_eq(copy, S("abc")));
    assert_string_equal(terminated, "ab");
    assert_true(str_eq(arena_dup(&a, (struct str){ NULL, 0 }), S("")));
    assert_string_equal(arena_text(&a, (struct str){ NULL, 0 }), "");
}

static void formats_whether_it_fits_or_not(void **state) {
    char storage[32];
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, storage, sizeof storage);
    assert_true(str_eq(arena_fmt(&a, "%d-%s", 12, "ab"), S("12-ab")));
    struct str wide = arena_fmt(&a, "%5000d", 7);
    assert_int_equal(wide.n, 5000);
    assert_int_equal(wide.p[4999], '7');
    assert_int_equal(wide.p[0], ' ');
    arena_reset(&a);
    assert_true(str_eq(arena_fmt(&a, "%s", "exactly sixteen."), S("exactly sixteen.")));
    assert_true(str_eq(arena_fmt(&a, "%s", ""), S("")));
}

static void a_text_that_fits_but_for_its_alignment_is_whole(void **state) {
    _Alignas(16) char storage[40];
    struct arena a;
    arena_init(&a, storage, sizeof storage);
    arena_alloc(&a, 32);
    struct str text = arena_fmt(&a, "%d", 1234567);
    assert_true(str_eq(text, S("1234567")));
    arena_done(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uses_the_owners_storage_first),
        cmocka_unit_test(everything_is_aligned_even_in_odd_storage),
        cmocka_unit_test(storage_too_small_to_align_is_left_alone),
        cmocka_unit_test(pieces_never_overlap),
        cmocka_unit_test(a_large_piece_leaves_the_free_space_in_use),
        cmocka_unit_test(reset_starts_over_with_the_storage),
        cmocka_unit_test(zeroed_pieces_are_zero_after_reuse),
        cmocka_unit_test(copies_belong_to_the_arena),
        cmocka_unit_test(a_text_that_fits_but_for_its_alignment_is_whole),
        cmocka_unit_test(formats_whether_it_fits_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
