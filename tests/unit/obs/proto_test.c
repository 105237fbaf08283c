/* Protocol Buffers by hand, against bytes that the specification gives. */
#include "base/mem.h"
#include "obs/otlp_encode.h"
#include "obs/proto.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void numbers_are_written_as_specified(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    proto_uint(&b, 1, 150); /* "A Simple Message" of the encoding guide */
    proto_bytes(&b, 2, S("testing"));
    proto_fixed32(&b, 3, 1);
    proto_fixed64(&b, 4, 1);
    static const char wanted[] = "\x08\x96\x01\x12\x07testing\x1d\1\0\0\0\x21\1\0\0\0\0\0\0\0";
    assert_int_equal(b.n, sizeof wanted - 1);
    assert_memory_equal(b.p, wanted, b.n);
    assert_int_equal(proto_varint_size(127), 1);
    assert_int_equal(proto_varint_size(128), 2);
    assert_int_equal(proto_varint_size(UINT64_MAX), 10);
}

static void what_was_written_is_read(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    size_t outer = proto_begin(&b, 1);
    proto_uint(&b, 16, UINT64_MAX);
    proto_bytes(&b, 2, S(""));
    proto_end(&b, outer);
    proto_double(&b, 3, 1.5);
    struct str rest = buf_view(&b);
    struct proto_field f;
    assert_true(proto_next(&rest, &f));
    assert_int_equal(f.number, 1);
    struct str inner = f.bytes;
    assert_true(proto_next(&inner, &f));
    assert_true(f.number == 16 && f.value == UINT64_MAX);
    assert_true(proto_next(&inner, &f) && f.number == 2 && f.bytes.n == 0);
    assert_int_equal(inner.n, 0);
    assert_true(proto_next(&rest, &f) && f.number == 3);
    double d;
    memcpy(&d, &f.value, sizeof d);
    assert_true(d == 1.5);
    assert_false(proto_next(&rest, &f));
}

static void a_rejection_is_understood(void **state) {
    int64_t n;
    struct str why;
    assert_true(otlp_read_rejected(S(""), &n, &why) && n == 0);
    assert_true(otlp_read_rejected(S("\x0a\x06\x08\x05\x12\x02no"), &n, &why));
    assert_int_equal(n, 5);
    assert_true(str_eq(why, S("no")));
}

static void broken_answers_are_none(void **state) {
    static const struct str broken[] = {
        S("\x0a"), S("\x0a\x05\x08"), S("\x0b"), S("\x00\x00"), S("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        S("\x0a\x02\x08\xff"), S("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), S("\x09\x01"), S("\x0d\x01"),
    };
    int64_t n;
    struct str why;
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
        if (otlp_read_rejected(broken[i], &n, &why))
            fail_msg("taken: %zu", i);
}

static bool contains(const struct buf *b, const char *text) {
    return str_find(buf_view(b), str_of(text)) >= 0;
}

static void span_with(struct buf *b, struct str value) {
    const struct trace t = { .id = { 1, 2 }, .on = true, .sampled = true };
    const struct attribute a[] = { { .key = S("a.key"), .text = value },
                                   { .key = S("a.number"), .number = 7 } };
    SCOPED(buf_done) struct buf common = { 0 };
    otlp_put_common(&common, &(struct span_common){ .kind = SPAN_SERVER, .name = S("tools/call"),
                                                    .target = value, .attributes = a, .count = 1 });
    otlp_put_span(b, &(struct span){ .trace = &t, .id = 3, .common = buf_view(&common), .began = 5, .ended = 4,
                                     .attributes = a + 1, .count = 1 });
}

static void a_span_has_its_name_and_attributes(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    span_with(&b, S("echo"));
    assert_true(contains(&b, "tools/call echo") && contains(&b, "a.key") &&
                contains(&b, "a.number"));
}

/* One text that is not UTF-8 would spoil the request for all. */
static void what_is_not_utf8_is_left_out(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    span_with(&b, S("ech\xff"));
    assert_false(contains(&b, "ech") || contains(&b, "a.key"));
    assert_true(contains(&b, "tools/call"));
}

static void long_values_are_cut_between_characters(void **state) {
    char text[ATTRIBUTE_MAX + 3];
    memset(text, 'x', sizeof text);
    memcpy(text + ATTRIBUTE_MAX - 1, "\xc3\xa9", 2); /* begins inside, ends outside */
    SCOPED(buf_done) struct buf b = { 0 };
    span_with(&b, str_from(text, sizeof text));
    assert_false(contains(&b, "\xc3"));
    assert_true(contains(&b, "xxxxxxxx"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_specified),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_rejection_is_understood),
        cmocka_unit_test(broken_answers_are_none),
        cmocka_unit_test(a_span_has_its_name_and_attributes),
        cmocka_unit_test(what_is_not_utf8_is_left_out),
        cmocka_unit_test(long_values_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
