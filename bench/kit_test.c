/* kit_test.c - the framing and the JSON cursor that all bench programs trust. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kit.h"

static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "5;x=y\r\nhello\r\n10\r\n, world, 16 byte\r\n0\r\nTrailer: 1\r\n\r\n";

/* Framed in two pieces, cut at `at`; returns the bytes that belong to the message. */
static size_t framed(const char *text, size_t n, size_t at, bool *out_done) {
    struct frame f = { 0 };
    size_t have = at, used;
    if (!frame_head(&f, text, have))
        assert_true(frame_head(&f, text, have = n));
    used = f.head + frame_body(&f, text + f.head, have - f.head);
    if (have < n && used == have)
        used += frame_body(&f, text + have, n - have);
    *out_done = f.done;
    return used;
}

static void frames_chunks_wherever_they_are_cut(void **state) {
    for (size_t at = 1; at < sizeof chunked; at++) {
        bool done = false;
        assert_int_equal(framed(chunked, sizeof chunked - 1, at, &done), sizeof chunked - 1);
        assert_true(done);
    }
}

static void leaves_what_follows_a_message(void **state) {
    static const char two[] = "POST / HTTP/1.1\r\ncontent-LENGTH:  3 \r\n\r\nabcPOST";
    bool done = false;
    assert_int_equal(framed(two, sizeof two - 1, 4, &done), sizeof two - 1 - 4);
    assert_true(done);
}

static void wants_more_of_an_unfinished_body(void **state) {
    static const char part[] = "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nabc";
    bool done = true;
    framed(part, sizeof part - 1, sizeof part - 1, &done);
    assert_false(done);
}

static void an_answer_without_length_lasts_until_close(void **state) {
    static const char text[] = "HTTP/1.1 200 OK\r\n\r\nabc";
    struct frame f = { 0 };
    assert_true(frame_head(&f, text, sizeof text - 1));
    assert_int_equal(f.framing, BY_CLOSE);
    assert_false(f.done);
}

static void dechunks_in_place(void **state) {
    char body[] = "5;x=y\r\nhello\r\n10\r\n, world, 16 byte\r\n0\r\n\r\n";
    size_t n = dechunk(body, sizeof body - 1);
    assert_int_equal(n, 21);
    assert_memory_equal(body, "hello, world, 16 byte", n);
}

static void finds_headers_by_whole_name(void **state) {
    struct span head = SPAN("POST / HTTP/1.1\r\nX-Mcp-Session-Id: no\r\nMcp-Session-Id2: "
                            "no\r\nMCP-SESSION-ID:\tyes \r\n\r\n");
    assert_true(span_is(header(head, SPAN("mcp-session-id")), SPAN("yes")));
    assert_null(header(head, SPAN("absent")).p);
}

static void walks_members_past_braces_and_escapes_in_strings(void **state) {
    struct span text = SPAN(
        "{ \"a\" : \"}]\\\\\\\"{\" , \"b\":[1,{\"c\":\"]\"}], \"d\" : -1.5e3 }");
    struct json j = { text.p, text.p + text.n };
    struct span key;
    assert_true(json_open(&j) && json_member(&j, &key) && span_is(key, SPAN("a")));
    assert_true(span_is(json_value(&j), SPAN("\"}]\\\\\\\"{\"")));
    assert_true(json_member(&j, &key) && span_is(key, SPAN("b")));
    assert_true(span_is(json_value(&j), SPAN("[1,{\"c\":\"]\"}]")));
    assert_true(json_member(&j, &key) && span_is(key, SPAN("d")));
    assert_true(span_is(json_value(&j), SPAN("-1.5e3")));
    assert_false(json_member(&j, &key));
    assert_ptr_equal(j.p, j.end);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_chunks_wherever_they_are_cut),
        cmocka_unit_test(leaves_what_follows_a_message),
        cmocka_unit_test(wants_more_of_an_unfinished_body),
        cmocka_unit_test(an_answer_without_length_lasts_until_close),
        cmocka_unit_test(dechunks_in_place),
        cmocka_unit_test(finds_headers_by_whole_name),
        cmocka_unit_test(walks_members_past_braces_and_escapes_in_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
