/* Event streams: WHATWG HTML §9.2 as P-154 takes it. */
#include "net/sse.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* What a stream said, one line for each event: "type|id|retry|data". */
static struct buf said;
static struct sse_parser parser;

static err_t feed_by(struct str text, size_t step) {
    for (size_t from = 0; from < text.n; from += step) {
        size_t n = text.n - from < step ? text.n - from : step;
        char *piece = memcpy(malloc(n), text.p + from, n); /* gone before the next piece */
        struct str in = { piece, n };
        struct sse_event e;
        err_t err;
        while (sse_next(&parser, &in, &e, &err))
            buf_fmt(&said, "%.*s|%.*s%s|%lld|%.*s\n", STR(e.type), STR(e.id), e.has_id ? "*" : "",
                    (long long)e.retry, STR(e.data));
        free(piece);
        if (err)
            return err;
    }
    return OK;
}

static int start(void **state) {
    sse_done(&parser);
    parser = (struct sse_parser){ 0 };
    buf_clear(&said);
    return 0;
}

/* However the stream is cut, it says the same. */
static void assert_says(struct str text, const char *expected) {
    for (size_t step = 1; step <= text.n; step++) {
        start(NULL);
        assert_null(feed_by(text, step));
        assert_string_equal(buf_text(&said), expected);
    }
}

static void the_default_type_is_message(void **state) {
    assert_says(S("data: {\"a\":1}\n\n"), "message||-1|{\"a\":1}\n");
    assert_says(S("event: message\ndata: x\n\n"), "message||-1|x\n");
    assert_says(S("event: a\nevent: endpoint\ndata: /m\n\ndata: x\n\n"),
                "endpoint||-1|/m\nmessage||-1|x\n");
    assert_says(S("event: a\nevent:\ndata: x\n\n"), "message||-1|x\n");
}

static void lines_end_in_lf_cr_or_crlf(void **state) {
    assert_says(S("data: a\n\ndata: b\r\rdata: c\r\n\r\ndata: d\r\n\ndata: e\n\r\ndata: f\r\r\n"),
                "message||-1|a\nmessage||-1|b\nmessage||-1|c\nmessage||-1|d\nmessage||-1|"
                "e\nmessage||-1|f\n");
}

static void several_data_lines_are_joined_with_lf(void **state) {
    assert_says(S("data: a\ndata:\ndata: c\n\n"), "message||-1|a\n\nc\n");
    assert_says(S("data\ndata\n\n"), "message||-1|\n\n");
    assert_says(S("data: 0123456789abcdef\nevent: t\ndata: b\n\n"), "t||-1|0123456789abcdef\nb\n");
}

static void one_space_after_the_colon_is_dropped(void **state) {
    assert_says(S("data:a\n\ndata: a\n\ndata:  a\n\ndata: a \n\n"),
                "message||-1|a\nmessage||-1|a\nmessage||-1| a\nmessage||-1|a \n");
}

static void a_leading_byte_order_mark_is_dropped(void **state) {
    assert_says(S("\xef\xbb\xbf"
                  "data: a\n\n"),
                "message||-1|a\n");
    assert_says(S("\xef\xbb\xbf\xef\xbb\xbf"
                  "data: a\ndata: b\n\n"),
                "message||-1|b\n");
    assert_says(S("\xef\xbb"
                  "data: a\ndata: b\n\n"),
                "message||-1|b\n");
    assert_says(S("\xef\xbb\n\ndata: \xef\xbb\xbf"
                  "b\n\n"),
                "message||-1|\xef\xbb\xbf"
                "b\n");
}

static void comments_and_unknown_fields_are_ignored(void **state) {
    assert_says(
        S(": keep-alive\n\n:\n:data: x\nfoo: bar\ndatas: x\nDATA: x\n data: x\n\ndata: y\n: z\n\n"),
        "message||-1|y\n");
}

/* P-154: priming events with empty data; P-150: their id counts all the same. */
static void events_with_empty_data_are_swallowed_but_their_id_and_retry_are_kept(void **state) {
    assert_says(S("id: 7\nretry: 500\ndata:\n\n"), "");
    assert_int_equal(sse_last_retry(&parser), 500);
    assert_true(str_eq(sse_last_id(&parser), S("7")));
    assert_says(S("id: 7\nretry: 500\ndata:\n\nevent: x\n\ndata: a\n\ndata: b\n\n"),
                "message|7|500|a\nmessage|7|-1|b\n");
}

static void the_id_stays_until_another_comes(void **state) {
    assert_says(S("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\nid: x\0y\ndata: d\n\n"),
                "message|1*|-1|a\nmessage|1|-1|b\nmessage|*|-1|c\nmessage||-1|d\n");
}

static void an_id_counts_only_when_its_event_is_complete(void **state) {
    assert_null(feed_by(S("id: 1\ndata: a\n\nid: 2\ndata: b\n"), 100));
    assert_true(str_eq(sse_last_id(&parser), S("1")));
}

/* P-449 */
static void another_stream_goes_on_without_the_half_event_of_the_one_that_was_lost(void **state) {
    assert_null(feed_by(S("id: 1\nretry: 7\ndata: a\n\nid: 2\ndata: b\nda"), 100));
    sse_resume(&parser);
    assert_true(str_eq(sse_last_id(&parser), S("1")));
    assert_int_equal(sse_last_retry(&parser), 7);
    buf_clear(&said);
    assert_null(feed_by(S("data: c\n\n"), 100));
    assert_string_equal(buf_text(&said), "message|1|-1|c\n");
}

static void an_id_that_fits_no_header_is_ignored(void **state) {
    struct buf text = { 0 };
    buf_fmt(&text, "id: 1\nid: %04097d\ndata: a\n\n", 0);
    assert_null(feed_by(buf_view(&text), text.n));
    assert_string_equal(buf_text(&said), "message|1*|-1|a\n");
    buf_done(&text);
}

static void retry_is_digits_only(void **state) {
    assert_says(
        S("retry: 5x\nretry: -5\nretry:\nretry: 1 \nretry: 99999999999999999999\ndata: a\n\n"),
        "message||-1|a\n");
    assert_int_equal(sse_last_retry(&parser), -1);
    assert_says(S("retry: 0\ndata: a\n\n"), "message||0|a\n");
    assert_int_equal(sse_last_retry(&parser), 0);
}

static void an_event_without_blank_line_never_comes(void **state) {
    assert_says(S("data: a\n\ndata: b\n"), "message||-1|a\n");
}

static void a_large_event_in_pieces_arrives_whole(void **state) {
    struct buf text = { 0 };
    buf_str(&text, S("data: "));
    for (unsigned i = 0; i < 20000; i++)
        buf_u64(&text, i);
    size_t n = text.n - 6;
    buf_str(&text, S("\ndata: end\n\ndata: next\n\n"));
    assert_null(feed_by(buf_view(&text), 4096));
    assert_int_equal(said.n, strlen("message||-1|") + n + strlen("\nend\nmessage||-1|next\n"));
    assert_memory_equal(said.p + strlen("message||-1|"), text.p + 6, n);
    assert_true(parser.data.cap < 65536); /* an idle stream does not keep it */
    buf_done(&text);
}

/* P-174: one line and one event are bounded. */
static void an_event_beyond_the_limit_is_too_large(void **state) {
    parser.limit = 20;
    assert_null(feed_by(S("data: 0123456789abcd\n\ndata: 0123456789abcd\n\n"), 3));
    err_t e = feed_by(S("data: 0123456789abcde"), 100);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_TOO_LARGE);
    start(NULL);
    parser.limit = 20;
    assert_non_null(feed_by(S(":0123456789012345678901234567890\n"), 4));
    start(NULL);
    parser.limit = 20;
    assert_non_null(feed_by(S("data: 0123456789\ndata: 0123456789\n\n"), 4));
    start(NULL);
    parser.limit = 20;
    assert_null(feed_by(S(":0123456789\n:0123456789\n:0123456789\n:0123456789\n"), 4));
}

static struct buf written;

static void assert_written(const char *text) {
    assert_string_equal(buf_text(&written), text);
    buf_clear(&written);
}

static void writes_events(void **state) {
    sse_write(&written, S("message"), S("9"), S("{}"));
    assert_written("event: message\nid: 9\ndata: {}\n\n");
    sse_write(&written, S("message"), S(""), S("{}"));
    assert_written(SSE_BEFORE "{}" SSE_AFTER);
    sse_write(&written, (struct str){ 0 }, (struct str){ 0 }, S(" a\nb\r\nc\rd\n"));
    assert_written("data:  a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
}

/* P-151: id with empty data, the time to wait before it. */
static void writes_a_priming_event(void **state) {
    sse_retry(&written, 500);
    sse_write(&written, S(""), S("s-1"), S(""));
    assert_written("retry: 500\nid: s-1\ndata: \n\n");
}

static void types_and_ids_cannot_forge_fields(void **state) {
    sse_write(&written, S("a\ndata: x"), S("1\r\n\r\ndata: y"), S("z"));
    assert_written("event: a\nid: 1\ndata: z\n\n");
}

static void writes_comments(void **state) {
    sse_comment(&written, S("still here"));
    assert_written(": still here\n\n");
    sse_comment(&written, S("a\ndata: b"));
    assert_written(": a\n: data: b\n\n");
}

static int drop_all(void **state) {
    sse_done(&parser);
    buf_done(&said);
    buf_done(&written);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_default_type_is_message, start),
        cmocka_unit_test_setup(lines_end_in_lf_cr_or_crlf, start),
        cmocka_unit_test_setup(several_data_lines_are_joined_with_lf, start),
        cmocka_unit_test_setup(one_space_after_the_colon_is_dropped, start),
        cmocka_unit_test_setup(a_leading_byte_order_mark_is_dropped, start),
        cmocka_unit_test_setup(comments_and_unknown_fields_are_ignored, start),
        cmocka_unit_test_setup(events_with_empty_data_are_swallowed_but_their_id_and_retry_are_kept, start),
        cmocka_unit_test_setup(the_id_stays_until_another_comes, start),
        cmocka_unit_test_setup(an_id_counts_only_when_its_event_is_complete, start),
        cmocka_unit_test_setup(another_stream_goes_on_without_the_half_event_of_the_one_that_was_lost,
                               start),
        cmocka_unit_test_setup(an_id_that_fits_no_header_is_ignored, start),
        cmocka_unit_test_setup(retry_is_digits_only, start),
        cmocka_unit_test_setup(an_event_without_blank_line_never_comes, start),
        cmocka_unit_test_setup(a_large_event_in_pieces_arrives_whole, start),
        cmocka_unit_test_setup(an_event_beyond_the_limit_is_too_large, start),
        cmocka_unit_test(writes_events),
        cmocka_unit_test(writes_a_priming_event),
        cmocka_unit_test(types_and_ids_cannot_forge_fields),
        cmocka_unit_test(writes_comments),
    };
    return cmocka_run_group_tests(tests, NULL, drop_all);
}
