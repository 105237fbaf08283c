/* lazy_test.c - libraries that are loaded at their first use (base/lazy.h), shown with the C
 * library's own mathematics. */
#include "base/lazy.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 8 };

#define MATH_FUNCTIONS(X) X(cbrt) X(hypot)
MATH_FUNCTIONS(LAZY_DECLARE)
MATH_FUNCTIONS(LAZY_DEFINE)
static const struct lazy_symbol symbols[] = { MATH_FUNCTIONS(LAZY_ROW) };
LAZY_NOTE("math", "roots", "libm.so.6");

static struct lazy_library math_library(void) {
    return (struct lazy_library)LAZY_LIBRARY("libm.so.6", "libc6", symbols);
}

static int forget(void **state) {
    sym_cbrt = NULL;
    sym_hypot = NULL;
    return 0;
}

static void every_function_can_be_called_after_loading(void **state) {
    struct lazy_library library = math_library();
    assert_null(lazy_load(&library, "a root"));
    assert_true(fabs(sym_cbrt(27) - 3) < 1e-9);
    assert_true(fabs(sym_hypot(3, 4) - 5) < 1e-9);
}

static double always_one(double x) {
    return 1;
}

static void is_loaded_once(void **state) {
    struct lazy_library library = math_library();
    assert_null(lazy_load(&library, "a root"));
    sym_cbrt = always_one; /* a second load would look it up again */
    assert_null(lazy_load(&library, "another root"));
    assert_ptr_equal(sym_cbrt, always_one);
}

static void a_missing_library_is_named_with_its_package_and_its_user(void **state) {
    struct lazy_library library = LAZY_LIBRARY("libno-such-thing.so.7", "libno-such-thing7",
                                               symbols);
    for (int i = 0; i < 2; i++) { /* it may be installed meanwhile */
        err_t e = lazy_load(&library, "making a backup");
        assert_non_null(e);
        assert_int_equal(e->kind, ERR_UNAVAILABLE);
        assert_non_null(strstr(e->text, "making a backup needs libno-such-thing.so.7"));
        assert_non_null(strstr(e->text, "Debian: libno-such-thing7"));
    }
    assert_null(sym_cbrt);
}

static void a_library_without_a_function_is_an_error_that_names_it(void **state) {
    void *slot = NULL;
    const struct lazy_symbol odd[] = { { "cbrt", &sym_cbrt }, { "no_such_function", &slot } };
    struct lazy_library library = LAZY_LIBRARY("libm.so.6", "libc6", odd);
    err_t e = lazy_load(&library, "a root");
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(e->text, "no_such_function"));
}

struct user {
    struct lazy_library *library;
    pthread_barrier_t *start;
    double root;
};

static void *use(void *arg) {
    struct user *u = arg;
    pthread_barrier_wait(u->start);
    if (!lazy_load(u->library, "a root"))
        u->root = sym_cbrt(8);
    return NULL;
}

static void first_uses_at_the_same_time_all_find_it(void **state) {
    struct lazy_library library = math_library();
    pthread_barrier_t start;
    pthread_t threads[THREADS];
    struct user users[THREADS];
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        users[i] = (struct user){ &library, &start, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        assert_true(fabs(users[i].root - 2) < 1e-9);
    pthread_barrier_destroy(&start);
}

static void the_note_has_the_form_that_packagers_read(void **state) {
    static const char text[] = "[{\"feature\":\"math\",\"description\":\"roots\","
                               "\"priority\":\"recommended\",\"soname\":[\"libm.so.6\"]}]";
    assert_int_equal(lazy_note.head.n_namesz, 4);
    assert_int_equal(lazy_note.head.n_descsz, sizeof text);
    assert_int_equal(lazy_note.head.n_type, 0x407c0c0a);
    assert_string_equal(lazy_note.owner, "FDO");
    assert_string_equal(lazy_note.text, text);
    assert_int_equal(offsetof(typeof(lazy_note), text), sizeof lazy_note.head + 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_function_can_be_called_after_loading, forget),
        cmocka_unit_test_setup(is_loaded_once, forget),
        cmocka_unit_test_setup(a_missing_library_is_named_with_its_package_and_its_user, forget),
        cmocka_unit_test_setup(a_library_without_a_function_is_an_error_that_names_it, forget),
        cmocka_unit_test_setup(first_uses_at_the_same_time_all_find_it, forget),
        cmocka_unit_test(the_note_has_the_form_that_packagers_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
