#include "base/mem.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ASan otherwise ends the process itself where malloc would answer NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1:handle_abort=0";
}

static void zeroed_memory_is_zero(void **state) {
    SCOPED(mem_scope) int *p = NEW_ARRAY(int, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(p[i], 0);
}

static void no_bytes_still_give_a_pointer(void **state) {
    SCOPED(mem_scope) void *a = mem_alloc(0), *z = NULL;
    z = mem_zero(0);
    SCOPED(mem_scope) void *c = mem_copy(NULL, 0);
    SCOPED(mem_scope) char *t = mem_text(NULL, 0);
    assert_non_null(a);
    assert_non_null(z);
    assert_non_null(c);
    assert_string_equal(t, "");
}

static void copies_hold_the_bytes(void **state) {
    SCOPED(mem_scope) char *copy = mem_copy("a\0b", 3);
    SCOPED(mem_scope) char *text = mem_text("abcdef", 3);
    copy = mem_grow(copy, 100);
    assert_memory_equal(copy, "a\0b", 3);
    assert_string_equal(text, "abc");
}

static void take_empties_its_variable(void **state) {
    char *p = mem_text("x", 1), *was = p;
    SCOPED(mem_scope) char *q = TAKE(p);
    assert_null(p);
    assert_ptr_equal(q, was);
}

static void exhaustion_aborts_with_one_line_that_names_the_size(void **state) {
    volatile size_t huge = SIZE_MAX / 4;
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); /* cmocka has a handler */
        dup2(out[1], STDERR_FILENO);
        free(mem_alloc(huge));
        _exit(0);
    }
    close(out[1]);
    SCOPED(mem_scope) char *text = mem_zero(65536), *want = mem_zero(64);
    for (size_t n = 0; n < 65535;) {
        ssize_t got = read(out[0], text + n, 65535 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(out[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    snprintf(want, 64, "%zu bytes", huge);
    assert_non_null(strstr(text, want));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(no_bytes_still_give_a_pointer),
        cmocka_unit_test(copies_hold_the_bytes),
        cmocka_unit_test(take_empties_its_variable),
        cmocka_unit_test(exhaustion_aborts_with_one_line_that_names_the_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
