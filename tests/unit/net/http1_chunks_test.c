/* The chunked transfer coding, RFC 9112 §7.1. */
#include "base/buf.h"
#include "net/http1.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct buf body;
static size_t used; /* bytes consumed by the last decode */

/* Decodes text handed over in pieces of `step` bytes, each in a block of its own. */
static enum http_verdict decode_by(struct str text, size_t step) {
    struct http_chunks c = { 0 };
    enum http_verdict v = HTTP_MORE;
    buf_clear(&body);
    for (used = 0; v == HTTP_MORE && used < text.n;) {
        size_t n = text.n - used < step ? text.n - used : step;
        char *piece = memcpy(malloc(n), text.p + used, n);
        struct str in = { piece, n }, data;
        while (v == HTTP_MORE && in.n) {
            v = http_chunks_next(&c, &in, &data);
            buf_str(&body, data);
        }
        used += n - in.n;
        free(piece);
    }
    return v;
}

/* The same however it is cut. */
static enum http_verdict decode(struct str text) {
    enum http_verdict whole = decode_by(text, text.n);
    size_t whole_used = used, whole_n = body.n;
    for (size_t step = 1; step < text.n && step < 8; step++) {
        assert_int_equal(decode_by(text, step), whole);
        assert_int_equal(used, whole_used);
        assert_int_equal(body.n, whole_n);
    }
    return whole;
}

#define assert_body(text)                                                                          \
    do {                                                                                           \
        assert_int_equal(body.n, strlen(text));                                                    \
        assert_memory_equal(body.p, text, body.n);                                                 \
    } while (0)

static void joins_chunks_and_leaves_what_follows(void **state) {
    assert_int_equal(decode(S("5\r\nhello\r\n1;x=y\r\n \r\n00a\r\n0123456789\r\n0\r\n\r\nGET /")),
                     HTTP_OK);
    assert_body("hello 0123456789");
    assert_int_equal(used, 42);
}

static void takes_hex_in_either_case(void **state) {
    assert_int_equal(decode(S("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n")), HTTP_OK);
    assert_int_equal(body.n, 21);
}

static void an_empty_body_is_one_last_chunk(void **state) {
    assert_int_equal(decode(S("0\r\n\r\n")), HTTP_OK);
    assert_int_equal(body.n, 0);
    assert_int_equal(decode(S("000\r\n\r\n")), HTTP_OK);
}

static void an_unfinished_body_wants_more(void **state) {
    struct str text = S("3;a=\"b\"\r\nabc\r\n0\r\nT: v\r\n\r\n");
    for (size_t n = 1; n < text.n; n++)
        assert_int_equal(decode(str_head(text, n)), HTTP_MORE);
    assert_int_equal(decode(text), HTTP_OK);
}

static void stays_ended_and_stays_broken(void **state) {
    struct http_chunks c = { 0 };
    struct str in = S("0\r\n\r\nrest"), data;
    assert_int_equal(http_chunks_next(&c, &in, &data), HTTP_OK);
    assert_int_equal(http_chunks_next(&c, &in, &data), HTTP_OK);
    assert_int_equal(in.n, 4);
    c = (struct http_chunks){ 0 };
    in = S("x0\r\n\r\n");
    assert_int_equal(http_chunks_next(&c, &in, &data), HTTP_BAD);
    in = S("0\r\n\r\n");
    assert_int_equal(http_chunks_next(&c, &in, &data), HTTP_BAD);
    assert_int_equal(data.n, 0);
}

/* RFC 9112 §11.2 and what smugglers try. */
static void refuses_odd_sizes(void **state) {
    static const struct str wrong[] = {
        S_INIT("\r\n"), S_INIT(";a\r\n"), S_INIT("g\r\n"), S_INIT("0x5\r\n"), S_INIT("+5\r\n"), S_INIT("-1\r\n"),
        S_INIT(" 5\r\n"), S_INIT("5 \r\n"), S_INIT("5 ;a\r\n"), S_INIT("5\t\r\n"), S_INIT("5\n"), S_INIT("5\r5"),
        S_INIT("5\r\r\n"), S_INIT("5\0\r\n"), S_INIT("5,5\r\n"), S_INIT("1000000000000000\r\n"),
        S_INIT("0000000000000001\r\n"),
    };
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(decode(wrong[i]), HTTP_BAD);
    assert_int_equal(decode(S("fffffffffffffff\r\n")), HTTP_MORE);
    assert_int_equal(decode(S("000000000000001\r\na\r\n0\r\n\r\n")), HTTP_OK);
}

static void refuses_data_that_does_not_end_where_its_size_says(void **state) {
    assert_int_equal(decode(S("3\r\nabcd\r\n0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("3\r\nab\r\n0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("3\r\nabc\n0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("3\r\nabc\r0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("3\r\nabc0\r\n\r\n")), HTTP_BAD);
}

/* RFC 9112 §7.1.1: extensions are ignored, but not what hides in them. */
static void skips_extensions_without_control_bytes(void **state) {
    assert_int_equal(decode(S("1;a;b=c;d=\"e; \\\" \t\xc3\xa9\"\r\nx\r\n0;z\r\n\r\n")), HTTP_OK);
    assert_body("x");
    assert_int_equal(decode(S("1;a=\"\r\nx\r\n0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("1;a=\"b\n\"\r\nx\r\n0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("1;a=\"b\\\r\n\"\r\nx\r\n0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("1;a\n\r\nx\r\n0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("1;a\x7f\r\nx\r\n0\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("1;a\0\r\nx\r\n0\r\n\r\n")), HTTP_BAD);
}

static void bounds_a_size_line(void **state) {
    char text[300] = "1;";
    memset(text + 2, 'a', 252);
    memcpy(text + 254, "\r\nx\r\n0\r\n\r\n", 10);
    assert_int_equal(decode_by(str_from(text, 264), 264), HTTP_OK);
    memset(text + 2, 'a', 253);
    memcpy(text + 255, "\r\nx\r\n0\r\n\r\n", 10);
    assert_int_equal(decode_by(str_from(text, 265), 265), HTTP_BAD);
}

/* RFC 9112 §7.1.2 */
static void drops_trailers_that_are_fields(void **state) {
    assert_int_equal(decode(S("1\r\nx\r\n0\r\nA: b\tc\xc3\xa9\r\nExpires:\r\n\r\nrest")), HTTP_OK);
    assert_body("x");
    assert_int_equal(decode(S("0\r\nA: b\n\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("0\r\nA: b\rC: d\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("0\r\n\n")), HTTP_BAD);
    assert_int_equal(decode(S("0\r\n\rx")), HTTP_BAD);
    assert_int_equal(decode(S("0\r\n A: b\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("0\r\n: b\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("0\r\nA : b\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("0\r\nGET / HTTP/1.1\r\n\r\n")), HTTP_BAD);
    assert_int_equal(decode(S("0\r\nA: \0\r\n\r\n")), HTTP_BAD);
}

static void bounds_all_trailers(void **state) {
    struct buf text = { 0 };
    buf_str(&text, S("0\r\n"));
    while (text.n < 3 + 8192 - 10)
        buf_str(&text, S("A: 34\r\n"));
    size_t rest = 3 + 8192 - 2 - text.n; /* one line that leaves room for the last CR LF only */
    buf_fmt(&text, "B:%0*d\r\n\r\n", (int)rest - 4, 0);
    assert_int_equal(text.n, 3 + 8192);
    assert_int_equal(decode_by(buf_view(&text), text.n), HTTP_OK);
    text.n -= 4;
    buf_str(&text, S("0\r\n\r\n"));
    assert_int_equal(decode_by(buf_view(&text), text.n), HTTP_BAD);
    buf_done(&text);
}

static int drop_body(void **state) {
    buf_done(&body);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_chunks_and_leaves_what_follows),
        cmocka_unit_test(takes_hex_in_either_case),
        cmocka_unit_test(an_empty_body_is_one_last_chunk),
        cmocka_unit_test(an_unfinished_body_wants_more),
        cmocka_unit_test(stays_ended_and_stays_broken),
        cmocka_unit_test(refuses_odd_sizes),
        cmocka_unit_test(refuses_data_that_does_not_end_where_its_size_says),
        cmocka_unit_test(skips_extensions_without_control_bytes),
        cmocka_unit_test(bounds_a_size_line),
        cmocka_unit_test(drops_trailers_that_are_fields),
        cmocka_unit_test(bounds_all_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, drop_body);
}
