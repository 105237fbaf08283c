#include "fixture.h"
#include "run/fiber.h"
#include <sys/wait.h>
#include <unistd.h>

#define STACK ((size_t)256 << 10)

struct counted {
    struct fiber fiber;
    int steps;
};

static void three_steps(struct fiber *f) {
    struct counted *c = (struct counted *)f;
    for (int i = 0; i < 3; i++) {
        c->steps++;
        if (i < 2)
            fiber_leave(f);
    }
}

static void goes_on_where_it_left(void **state) {
    struct fiber_home home = { 0 };
    struct counted c = { 0 };
    char *low = fiber_map(STACK);
    assert_non_null(low);
    fiber_init(&c.fiber, &home, low, STACK, three_steps);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(c.steps, i - 1);
        fiber_enter(&c.fiber);
        assert_int_equal(c.steps, i);
    }
    fiber_done(&c.fiber);
    fiber_unmap(low, STACK);
}

/* The sum keeps the call from becoming a loop. */
static __attribute__((noinline)) int deeper(volatile char *above) {
    volatile char frame[2048];
    frame[0] = above[0];
    return above[0] ? deeper(frame) + frame[0] : 0;
}

static void overflows(struct fiber *f) {
    volatile char start = 1;
    deeper(&start);
}

static void overflow_hits_the_guard_page(void **state) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct fiber_home home = { 0 };
        struct fiber f;
        char *low = fiber_map(STACK);
        close(STDERR_FILENO); /* a sanitizer would print its report */
        fiber_init(&f, &home, low, STACK, overflows);
        fiber_enter(&f);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

static void the_page_below_a_stack_is_not_accessible(void **state) {
    char *low = fiber_map(STACK);
    assert_non_null(low);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    low[0] = 'x'; /* the kernel reads for us: EFAULT instead of a signal */
    assert_int_equal(write(ends[1], low, 1), 1);
    assert_int_equal(write(ends[1], low - 1, 1), -1);
    assert_int_equal(write(ends[1], low - 4096, 1), -1);
    close(ends[0]);
    close(ends[1]);
    fiber_unmap(low, STACK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_where_it_left),
        cmocka_unit_test(overflow_hits_the_guard_page),
        cmocka_unit_test(the_page_below_a_stack_is_not_accessible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
