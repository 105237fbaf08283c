/* Trace contexts: what is one, who decides, what goes on. */
#include "obs/trace.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define GOOD "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static const uint64_t random_numbers[3] = { 7, 8, 10 };
static const struct sampling always = { 1, true }, never = { 0, true };

static void a_traceparent_is_read_and_written(void **state) {
    struct trace t;
    char text[TRACEPARENT];
    assert_true(trace_parse(S(GOOD), &t));
    assert_true(t.on && t.sampled);
    assert_int_equal(t.id[0], 0x0af7651916cd43dd);
    assert_int_equal(t.id[1], 0x8448eb211c80319c);
    assert_int_equal(t.span, 0xb7ad6b7169203331);
    trace_write(&t, t.span, text);
    assert_memory_equal(text, GOOD, TRACEPARENT);
    t.sampled = false;
    trace_write(&t, 1, text);
    assert_memory_equal(text + 36, "0000000000000001-00", 19);
}

static void what_is_none_is_refused(void **state) {
    static const char *const bad[] = {
        "", "00", GOOD "0", GOOD "-00", /* version 00 has nothing behind its flags */
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
    };
    struct trace t;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (trace_parse(str_of(bad[i]), &t))
            fail_msg("taken: %s", bad[i]);
}

static void a_later_version_may_say_more(void **state) {
    struct trace t;
    assert_true(trace_parse(S("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"), &t));
    assert_true(trace_parse(S("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), &t));
    assert_false(t.sampled);
}

static void the_caller_is_the_parent_and_decides(void **state) {
    struct trace t = trace_begin(&never, S(GOOD), random_numbers);
    assert_true(t.sampled);
    assert_int_equal(t.parent, 0xb7ad6b7169203331);
    assert_int_equal(t.span, 11); /* never 0 */
    struct sampling own = { 0, false };
    assert_false(trace_begin(&own, S(GOOD), random_numbers).sampled);
}

static void without_a_caller_the_ratio_decides(void **state) {
    struct trace t = trace_begin(&always, S("nonsense"), random_numbers);
    assert_true(t.on && t.sampled);
    assert_int_equal(t.parent, 0);
    assert_false(trace_begin(&never, S(""), random_numbers).sampled);
    const struct sampling half = { 0.5, true };
    const uint64_t low[3] = { 1, UINT64_C(1) << 62, 1 }, high[3] = { 1, UINT64_C(3) << 62, 1 };
    assert_true(trace_begin(&half, S(""), low).sampled);
    assert_false(trace_begin(&half, S(""), high).sampled);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_is_read_and_written),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(a_later_version_may_say_more),
        cmocka_unit_test(the_caller_is_the_parent_and_decides),
        cmocka_unit_test(without_a_caller_the_ratio_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
