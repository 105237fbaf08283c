/* http_client_test.c - calls to an upstream that the test plays byte by byte. */
#include "fixture.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the upstream ------------------------------------------------------------------ */

struct stage {
    struct net n;
    struct listen_addr addr;
    int listening;
    struct http_target target;
    struct http_pool *pool;
};

static void open_stage(struct stage *s) {
    net_open(&s->n);
    s->listening = upstream_open(&s->addr);
    s->target = (struct http_target){ .host = S("127.0.0.1"), .port = net_port(&s->addr) };
    s->pool = NULL;
}

static void open_pool(struct stage *s) {
    open_stage(s);
    s->pool = http_pool_new(s->n.w, &s->target);
}

static void close_stage(struct stage *s) {
    http_pool_free(s->pool);
    close(s->listening);
    net_close(&s->n);
}

static const char ask[] = "GET /ask HTTP/1.1\r\nhost: up\r\n\r\n";

static void begin(struct stage *s, struct call *c) {
    call_start(c, &s->n, s->pool, ask);
}

/* Begins a call and takes its request on a new connection. */
static void begin_on(struct stage *s, struct call *c, struct peer *up) {
    begin(s, c);
    upstream_accept(up, &s->n, s->listening);
    assert_int_equal(peer_message(up), 0);
    assert_true(buf_is(&up->head, ask));
}

static void done_with(struct call *c, int kind, int status) {
    call_finish(c);
    assert_int_equal(c->kind, kind);
    assert_int_equal(c->status, status);
}

/* A whole call over a connection that is there. */
static void call_again(struct stage *s, struct peer *up, const char *answer, const char *body) {
    struct call c = { 0 };
    begin(s, &c);
    assert_int_equal(peer_message(up), 0);
    peer_say(up, answer);
    done_with(&c, KIND_OK, 200);
    assert_true(buf_is(&c.body, body));
    call_free(&c);
}

#define OK_2 "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

/* ---- answers ----------------------------------------------------------------------- */

static void a_connection_is_used_again(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    open_pool(&s);
    begin_on(&s, &c, &up);
    peer_say(&up, OK_2);
    done_with(&c, KIND_OK, 200);
    assert_true(buf_is(&c.body, "ok"));
    call_again(&s, &up, OK_2, "ok");
    call_again(&s, &up,
               "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc");
    call_again(&s, &up, OK_2, "ok");
    struct http_pool_stats stats = http_pool_stats(s.pool);
    assert_int_equal(stats.connects, 1);
    assert_int_equal(stats.open, 1);
    assert_int_equal(stats.idle, 1);
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
}

static void answers_arrive_byte_by_byte(void **state) {
    static const char *const answers[] = {
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
         "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nt: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
    };
    struct stage s;
    open_pool(&s);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(answers); i++) {
        struct peer up;
        struct call c = { .stream = i % 2 };
        begin_on(&s, &c, &up);
        for (const char *p = answers[i / 2]; *p; p++) {
            peer_put(&up, str_from(p, 1));
            net_turn(&s.n);
        }
        peer_close(&up);
        done_with(&c, KIND_OK, 200);
        assert_true(buf_is(&c.body, "hello"));
        call_free(&c);
        AWAIT(&s.n, http_pool_stats(s.pool).open == 0);
    }
    close_stage(&s);
}

static unsigned parsed;
enum http_verdict __real_http_parse_response(struct str text, const struct http_limits *limits,
                                             bool to_head, struct http_head *out, const char **why);
enum http_verdict __wrap_http_parse_response(struct str text, const struct http_limits *limits,
                                             bool to_head, struct http_head *out, const char **why);
enum http_verdict __wrap_http_parse_response(struct str text, const struct http_limits *limits,
                                             bool to_head, struct http_head *out,
                                             const char **why) {
    parsed++;
    return __real_http_parse_response(text, limits, to_head, out, why);
}

static void a_dripping_head_is_parsed_once_for_each_line(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    open_pool(&s);
    begin_on(&s, &c, &up);
    parsed = 0;
    for (const char *p = "HTTP/1.1 100 Continue\r\n\r\n" OK_2; *p; p++) {
        peer_put(&up, str_from(p, 1));
        net_settle(&s.n);
    }
    done_with(&c, KIND_OK, 200);
    assert_int_equal(parsed, 5);
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
}

static void bodies_of_all_sizes_arrive_unchanged(void **state) {
    static const size_t sizes[] = { 0, 1, 65536, 262143, 262144, 300000, 4 << 20 };
    struct stage s;
    struct peer up = { .fd = -1 };
    open_pool(&s);
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        size_t n = sizes[i / 2];
        struct call c = { .stream = i % 2 };
        SCOPED(buf_done) struct buf wire = { 0 };
        buf_fmt(&wire, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", n);
        fill(&wire, n, i);
        begin(&s, &c);
        if (up.fd < 0)
            upstream_accept(&up, &s.n, s.listening);
        assert_int_equal(peer_message(&up), 0);
        peer_put(&up, buf_view(&wire));
        done_with(&c, KIND_OK, 200);
        assert_true(filled(buf_view(&c.body), n, i));
        call_free(&c);
    }
    assert_int_equal(http_pool_stats(s.pool).connects, 1);
    peer_close(&up);
    close_stage(&s);
}

static void put_chunked(struct peer *up, struct str body) {
    SCOPED(buf_done) struct buf wire = { 0 };
    buf_str(&wire, S("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"));
    for (size_t step = 1; body.n; step = step * 5 % 90001) {
        struct str piece = str_head(body, step);
        buf_fmt(&wire, "%zx\r\n%.*s\r\n", piece.n, STR(piece));
        body = str_skip(body, piece.n);
    }
    buf_str(&wire, S("0\r\n\r\n"));
    peer_put(up, buf_view(&wire));
}

static void large_chunked_bodies_arrive_unchanged(void **state) {
    struct stage s;
    struct peer up;
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 2 << 20, 3);
    open_pool(&s);
    for (int i = 0; i < 2; i++) {
        struct call c = { .stream = i };
        begin_on(&s, &c, &up);
        put_chunked(&up, buf_view(&body));
        done_with(&c, KIND_OK, 200);
        assert_true(filled(buf_view(&c.body), body.n, 3));
        call_free(&c);
        peer_close(&up);
        AWAIT(&s.n, http_pool_stats(s.pool).open == 0);
    }
    close_stage(&s);
}

/* The pieces of one answer must not lie where another's are read. */
static void answers_that_arrive_in_turns_do_not_mix(void **state) {
    struct stage s;
    struct peer up[4];
    struct call c[4] = { 0 };
    SCOPED(buf_done) struct buf body = { 0 };
    open_pool(&s);
    for (int i = 0; i < 4; i++) {
        c[i].stream = i % 2;
        begin_on(&s, &c[i], &up[i]);
        peer_say(&up[i], "HTTP/1.1 200 OK\r\ncontent-length: 400000\r\n\r\n");
    }
    for (unsigned at = 0; at < 400000; at += 50000)
        for (unsigned i = 0; i < 4; i++) {
            buf_clear(&body);
            fill(&body, 400000, i);
            peer_put(&up[i], str_head(str_skip(buf_view(&body), at), 50000));
            net_turn(&s.n);
        }
    for (unsigned i = 0; i < 4; i++) {
        done_with(&c[i], KIND_OK, 200);
        assert_true(filled(buf_view(&c[i].body), 400000, i));
        call_free(&c[i]);
        peer_close(&up[i]);
    }
    close_stage(&s);
}

static void a_body_beyond_the_limit_is_too_large(void **state) {
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n0123456789a",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n0123456789a",
    };
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct stage s;
        struct peer up;
        struct call c = { .limit = 10 };
        open_pool(&s);
        begin_on(&s, &c, &up);
        peer_say(&up, answers[i]);
        done_with(&c, ERR_TOO_LARGE, 200);
        call_free(&c);
        peer_close(&up);
        close_stage(&s);
    }
}

static void an_answer_beyond_the_memory_of_the_worker_is_too_large(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    open_stage(&s);
    net_stop(s.n.w);
    net_start(s.n.w, 1 << 20);
    s.pool = http_pool_new(s.n.w, &s.target);
    begin_on(&s, &c, &up);
    peer_say(&up, "HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\nx");
    done_with(&c, ERR_TOO_LARGE, 200);
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
}

/* ---- broken answers ---------------------------------------------------------------- */

static void answered(const char *answer, int kind, int status) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    open_pool(&s);
    begin_on(&s, &c, &up);
    peer_say(&up, answer);
    peer_finish(&up);
    done_with(&c, kind, status);
    AWAIT(&s.n, http_pool_stats(s.pool).open == 0);
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
}

static void what_is_not_http_is_an_error_of_the_upstream(void **state) {
    answered("<html>hello</html>\r\n\r\n", ERR_UPSTREAM, 0);
    answered("HTTP/1.1 101 Switching Protocols\r\n\r\n", ERR_UPSTREAM, 0);
    answered("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", ERR_UPSTREAM, 200);
    answered("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", ERR_UPSTREAM, 0);
    SCOPED(buf_done) struct buf large = { 0 };
    buf_str(&large, S("HTTP/1.1 200 OK\r\nx: "));
    fill(&large, 70000, 0);
    answered(buf_text(&large), ERR_UPSTREAM, 0);
}

static void an_upstream_that_goes_in_the_middle_is_closed(void **state) {
    answered("", ERR_CLOSED, 0);
    answered("HTTP/1.1 200 O", ERR_CLOSED, 0);
    answered("HTTP/1.1 100 Continue\r\n\r\n", ERR_CLOSED, 0);
    answered("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", ERR_CLOSED, 200);
    answered("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", ERR_CLOSED, 200);
    answered("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n", ERR_CLOSED, 200);
    answered("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\nhalf", ERR_CLOSED, 200);
    answered("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", ERR_CLOSED, 200);
    answered("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", ERR_CLOSED, 200);
    answered("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", ERR_CLOSED,
             200);
}

static void an_answer_until_close_ends_with_a_proper_close_only(void **state) {
    answered("HTTP/1.1 200 OK\r\n\r\nall of it", KIND_OK, 200);
    answered("HTTP/1.1 200 OK\r\n\r\n", KIND_OK, 200);
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    open_pool(&s);
    begin_on(&s, &c, &up);
    peer_say(&up, "HTTP/1.1 200 OK\r\n\r\nhalf");
    net_settle(&s.n);
    peer_reset(&up);
    done_with(&c, ERR_CLOSED, 200);
    call_free(&c);
    close_stage(&s);
}

/* ---- a task that is busy with something else --------------------------------------- */

static void all_that_came_before_the_end_is_read(const char *head, bool chunked, bool stream) {
    struct stage s;
    struct peer up;
    struct call c = { .hold = true, .stream = stream };
    open_pool(&s);
    begin_on(&s, &c, &up);
    peer_say(&up, head);
    AWAIT(&s.n, c.headed);
    peer_say(&up, chunked ? "5\r\nfirst\r\n" : "first");
    net_settle(&s.n);
    peer_say(&up, chunked ? "6\r\nsecond\r\n0\r\n\r\n" : "second");
    peer_close(&up);
    net_settle(&s.n); /* the task waits for something else all the time */
    call_release(&c);
    done_with(&c, KIND_OK, 200);
    assert_true(buf_is(&c.body, "firstsecond"));
    call_free(&c);
    close_stage(&s);
}

static void what_came_before_the_end_is_not_lost_on_a_slow_task(void **state) {
    for (int stream = 0; stream < 2; stream++) {
        all_that_came_before_the_end_is_read("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n", false,
                                             stream);
        all_that_came_before_the_end_is_read(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", true, stream);
        all_that_came_before_the_end_is_read("HTTP/1.1 200 OK\r\n\r\n", false, stream);
    }
}

static void what_came_for_a_slow_task_is_bounded(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { .hold = true, .stream = true };
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 16 << 20, 1);
    open_pool(&s);
    begin_on(&s, &c, &up);
    peer_say(&up, "HTTP/1.1 200 OK\r\ncontent-length: 16777216\r\n\r\n");
    AWAIT(&s.n, c.headed);
    struct str rest = buf_view(&body);
    for (int quiet = 0; quiet < 3; quiet++) {
        ssize_t sent;
        while ((sent = send(up.fd, rest.p, rest.n, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
            rest = str_skip(rest, (size_t)sent);
        net_settle(&s.n);
    }
    assert_true(rest.n > 0);
    assert_true(net_stats(s.n.w).buffered < 2 << 20);
    call_release(&c);
    peer_put(&up, rest);
    done_with(&c, KIND_OK, 200);
    assert_true(filled(buf_view(&c.body), body.n, 1));
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
}

/* ---- the pool ---------------------------------------------------------------------- */

static void only_a_safe_call_is_sent_again_when_a_used_connection_dies(void **state) {
    struct stage s;
    struct peer up, next;
    struct call safe = { .flags = HTTP_SAFE }, unsafe = { 0 }, first = { 0 };
    open_pool(&s);
    begin_on(&s, &first, &up);
    peer_say(&up, OK_2);
    done_with(&first, KIND_OK, 200);
    begin(&s, &safe);
    assert_int_equal(peer_message(&up), 0);
    peer_close(&up);
    upstream_accept(&next, &s.n, s.listening);
    assert_int_equal(peer_message(&next), 0);
    peer_say(&next, OK_2);
    done_with(&safe, KIND_OK, 200);

    begin(&s, &unsafe);
    assert_int_equal(peer_message(&next), 0);
    peer_close(&next);
    done_with(&unsafe, ERR_CLOSED, 0);
    assert_int_equal(http_pool_stats(s.pool).connects, 2);
    call_free(&first);
    call_free(&safe);
    call_free(&unsafe);
    close_stage(&s);
}

/* The upstream ends an idle connection in the moment in which we use it: what it never took
 * in, it never did. */
static void a_call_that_meets_a_closed_connection_is_sent_again(void **state) {
    struct stage s;
    struct peer up, next;
    struct call first = { 0 }, unsafe = { 0 };
    open_pool(&s);
    begin_on(&s, &first, &up);
    peer_say(&up, OK_2);
    done_with(&first, KIND_OK, 200);
    peer_close(&up);
    begin(&s, &unsafe); /* before the loop could see that end */
    upstream_accept(&next, &s.n, s.listening);
    assert_int_equal(peer_message(&next), 0);
    assert_true(buf_is(&next.head, ask));
    peer_say(&next, OK_2);
    done_with(&unsafe, KIND_OK, 200);
    assert_int_equal(http_pool_stats(s.pool).connects, 2);
    call_free(&first);
    call_free(&unsafe);
    peer_close(&next);
    close_stage(&s);
}

/* A reset, unlike an end, may come from somebody who had read the call, and had not yet said so. */
static void a_call_that_meets_a_reset_is_not_sent_again(void **state) {
    struct stage s;
    struct peer up;
    struct call first = { 0 }, unsafe = { 0 };
    open_pool(&s);
    begin_on(&s, &first, &up);
    peer_say(&up, OK_2);
    done_with(&first, KIND_OK, 200);
    setsockopt(up.fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 },
               sizeof(struct linger));
    begin(&s, &unsafe);
    peer_close(&up);
    done_with(&unsafe, ERR_CLOSED, 0);
    assert_int_equal(http_pool_stats(s.pool).connects, 1);
    call_free(&first);
    call_free(&unsafe);
    close_stage(&s);
}

static void a_new_connection_that_dies_is_not_tried_again(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { .flags = HTTP_SAFE };
    open_pool(&s);
    begin_on(&s, &c, &up);
    peer_close(&up);
    done_with(&c, ERR_CLOSED, 0);
    assert_int_equal(http_pool_stats(s.pool).connects, 1);
    call_free(&c);
    close_stage(&s);
}

static void an_idle_connection_that_ends_or_speaks_leaves_the_pool(void **state) {
    struct stage s;
    struct peer up;
    open_pool(&s);
    for (int i = 0; i < 2; i++) {
        struct call c = { 0 };
        begin_on(&s, &c, &up);
        peer_say(&up, OK_2);
        done_with(&c, KIND_OK, 200);
        assert_int_equal(http_pool_stats(s.pool).idle, 1);
        if (i)
            peer_say(&up, "HTTP/1.1 408 Request Timeout\r\n\r\n");
        else
            peer_finish(&up);
        AWAIT(&s.n, http_pool_stats(s.pool).open == 0);
        assert_int_equal(http_pool_stats(s.pool).idle, 0);
        call_free(&c);
        peer_close(&up);
    }
    close_stage(&s);
}

static void a_connection_that_is_not_clean_is_not_used_again(void **state) {
    static const char *const answers[] = {
        OK_2 "HTTP/1.1 200 OK\r\n", /* more than was asked for */
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    };
    struct stage s;
    open_pool(&s);
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct peer up;
        struct call c = { 0 };
        begin_on(&s, &c, &up);
        peer_say(&up, answers[i]);
        done_with(&c, KIND_OK, 200);
        assert_int_equal(http_pool_stats(s.pool).open, 0);
        call_free(&c);
        peer_close(&up);
    }
    close_stage(&s);
}

/* Answered before the request was sent whole: what follows would be its rest. */
static void a_connection_that_still_sends_is_not_used_again(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    SCOPED(buf_done) struct buf request = { 0 };
    buf_str(&request, S("POST / HTTP/1.1\r\nhost: up\r\ncontent-length: 16777216\r\n\r\n"));
    fill(&request, 16 << 20, 0);
    open_pool(&s);
    call_start(&c, &s.n, s.pool, buf_text(&request));
    upstream_accept(&up, &s.n, s.listening);
    peer_say(&up, OK_2);
    done_with(&c, KIND_OK, 200);
    assert_int_equal(http_pool_stats(s.pool).open, 0);
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
}

/* It says why and closes, without reading on: that reset must not hide the answer. */
static void an_upstream_that_refuses_a_large_request_is_heard(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    SCOPED(buf_done) struct buf request = { 0 };
    buf_str(&request, S("POST / HTTP/1.1\r\nhost: up\r\ncontent-length: 16777216\r\n\r\n"));
    fill(&request, 16 << 20, 0);
    open_pool(&s);
    call_start(&c, &s.n, s.pool, buf_text(&request));
    upstream_accept(&up, &s.n, s.listening);
    peer_say(&up, "HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig");
    peer_close(&up); /* unread input: a reset */
    done_with(&c, KIND_OK, 413);
    assert_true(buf_is(&c.body, "big"));
    call_free(&c);
    close_stage(&s);
}

static void idle_connections_are_closed_in_time(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    open_stage(&s);
    s.target.idle_timeout = 30 * NANOS_SEC;
    s.pool = http_pool_new(s.n.w, &s.target);
    begin_on(&s, &c, &up);
    peer_say(&up, OK_2);
    done_with(&c, KIND_OK, 200);
    net_pass(&s.n, 20 * NANOS_SEC);
    call_again(&s, &up, OK_2, "ok");
    net_pass(&s.n, 20 * NANOS_SEC);
    assert_int_equal(http_pool_stats(s.pool).idle, 1);
    net_pass(&s.n, 12 * NANOS_SEC);
    assert_int_equal(http_pool_stats(s.pool).open, 0);
    peer_await_end(&up);
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
}

static void calls_beyond_the_limit_wait_in_line(void **state) {
    struct stage s;
    struct peer up[2];
    struct call c[5] = { 0 };
    open_stage(&s);
    s.target.max_conns = 2;
    s.target.max_waiting = 2;
    s.pool = http_pool_new(s.n.w, &s.target);
    begin_on(&s, &c[0], &up[0]);
    begin_on(&s, &c[1], &up[1]);
    begin(&s, &c[2]);
    c[3].timeout = 5 * NANOS_SEC;
    begin(&s, &c[3]);
    begin(&s, &c[4]);
    done_with(&c[4], ERR_UNAVAILABLE, 0);
    assert_int_equal(http_pool_stats(s.pool).waiting, 2);
    net_pass(&s.n, 6 * NANOS_SEC);
    done_with(&c[3], ERR_TIMEOUT, 0);
    peer_say(&up[1], OK_2);
    done_with(&c[1], KIND_OK, 200);
    assert_int_equal(peer_message(&up[1]), 0); /* the one in line takes the connection over */
    peer_say(&up[1], OK_2);
    done_with(&c[2], KIND_OK, 200);
    peer_say(&up[0], OK_2);
    done_with(&c[0], KIND_OK, 200);
    assert_int_equal(http_pool_stats(s.pool).connects, 2);
    for (int i = 0; i < 5; i++)
        call_free(&c[i]);
    peer_close(&up[0]);
    peer_close(&up[1]);
    close_stage(&s);
}

static void the_newest_idle_connection_is_used_first(void **state) {
    struct stage s;
    struct peer up[2];
    struct call c[3] = { 0 };
    open_pool(&s);
    begin_on(&s, &c[0], &up[0]);
    begin_on(&s, &c[1], &up[1]);
    peer_say(&up[1], OK_2);
    done_with(&c[1], KIND_OK, 200);
    peer_say(&up[0], OK_2);
    done_with(&c[0], KIND_OK, 200);
    begin(&s, &c[2]);
    assert_int_equal(peer_message(&up[0]), 0);
    peer_say(&up[0], OK_2);
    done_with(&c[2], KIND_OK, 200);
    for (int i = 0; i < 3; i++)
        call_free(&c[i]);
    peer_close(&up[0]);
    peer_close(&up[1]);
    close_stage(&s);
}

static void a_call_that_is_given_up_closes_its_connection(void **state) {
    struct stage s;
    struct peer up;
    struct call late = { .timeout = 5 * NANOS_SEC }, cancelled = { 0 };
    open_pool(&s);
    begin_on(&s, &late, &up);
    net_pass(&s.n, 6 * NANOS_SEC);
    done_with(&late, ERR_TIMEOUT, 0);
    peer_await_end(&up);
    peer_close(&up);
    begin_on(&s, &cancelled, &up);
    peer_say(&up, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    net_settle(&s.n);
    task_cancel(cancelled.task);
    worker_run_ready(s.n.w);
    done_with(&cancelled, ERR_CANCELLED, 200);
    peer_await_end(&up);
    peer_close(&up);
    assert_int_equal(http_pool_stats(s.pool).open, 0);
    close_stage(&s);
}

static void a_pool_that_is_freed_outlives_its_calls(void **state) {
    struct stage s;
    struct peer up;
    struct call flying = { 0 }, waiting = { 0 };
    open_stage(&s);
    s.target.max_conns = 1;
    s.pool = http_pool_new(s.n.w, &s.target);
    begin_on(&s, &flying, &up);
    begin(&s, &waiting);
    http_pool_free(TAKE(s.pool));
    peer_say(&up, OK_2);
    done_with(&flying, KIND_OK, 200);
    done_with(&waiting, ERR_UNAVAILABLE, 0);
    peer_await_end(&up);
    call_free(&flying);
    peer_close(&up);
    close_stage(&s);
}

/* ---- connecting -------------------------------------------------------------------- */

static void a_refused_connect_is_unavailable_and_tried_once(void **state) {
    struct stage s;
    struct call c = { .flags = HTTP_SAFE };
    open_pool(&s);
    close(s.listening);
    begin(&s, &c);
    done_with(&c, ERR_UNAVAILABLE, 0);
    assert_non_null(strstr(c.error.text, "127.0.0.1:"));
    assert_non_null(strstr(c.error.text, "refused"));
    assert_int_equal(http_pool_stats(s.pool).failures, 1);
    s.listening = -1;
    close_stage(&s);
}

/* The names of the pools are looked up by the test itself. */
static uv_getaddrinfo_t *lookup;
static uv_getaddrinfo_cb lookup_done;
static unsigned lookups;

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb done,
                          const char *node, const char *service, const struct addrinfo *hints);
void __wrap_uv_freeaddrinfo(struct addrinfo *list);

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb done,
                          const char *node, const char *service, const struct addrinfo *hints) {
    assert_string_equal(node, "up.test");
    lookup = request;
    lookup_done = done;
    lookups++;
    return 0;
}

void __wrap_uv_freeaddrinfo(struct addrinfo *list) {
}

static void found(int status, uint16_t port, const char *first, const char *second) {
    const char *const texts[] = { first, second };
    struct sockaddr_in at[2];
    struct addrinfo list[2] = { 0 };
    for (int i = 0; i < 2 && texts[i]; i++) {
        at[i] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
        inet_pton(AF_INET, texts[i], &at[i].sin_addr);
        list[i] = (struct addrinfo){ .ai_family = AF_INET,
                                     .ai_addr = (struct sockaddr *)&at[i],
                                     .ai_addrlen = sizeof at[i] };
        if (i)
            list[0].ai_next = &list[1];
    }
    lookup_done(TAKE(lookup), status, status ? NULL : list);
}

static void open_named(struct stage *s) {
    open_stage(s);
    s->target.host = S("up.test");
    s->pool = http_pool_new(s->n.w, &s->target);
    lookups = 0;
    lookup = NULL;
}

static void answer_on_new(struct stage *s, struct call *c) {
    struct peer up;
    upstream_accept(&up, &s->n, s->listening);
    assert_int_equal(peer_message(&up), 0);
    peer_say(&up, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
    done_with(c, KIND_OK, 200);
    call_free(c);
    peer_close(&up);
}

static void the_next_address_is_tried_when_one_refuses(void **state) {
    struct stage s;
    struct call c = { 0 };
    open_named(&s);
    begin(&s, &c);
    found(0, s.target.port, "127.0.0.77", "127.0.0.1");
    answer_on_new(&s, &c);
    assert_int_equal(http_pool_stats(s.pool).failures, 0);
    close_stage(&s);
}

/* A socket whose line of connections is full answers no more of them. */
static int silent_listener(uint16_t port, int fillers[4]) {
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, "127.0.0.66", &at.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 0), 0);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&at, sizeof at);
    }
    return fd;
}

static void the_next_address_is_tried_when_one_is_silent(void **state) {
    struct stage s;
    struct call c = { 0 }, d = { .timeout = 3 * NANOS_SEC };
    int fillers[4];
    open_named(&s);
    int silent = silent_listener(s.target.port, fillers);
    begin(&s, &c);
    found(0, s.target.port, "127.0.0.66", "127.0.0.1");
    net_settle(&s.n);
    assert_false(c.done);
    net_pass(&s.n, 6 * NANOS_SEC);
    answer_on_new(&s, &c);
    begin(&s, &d); /* a call whose own deadline is nearer than that of the connect */
    net_pass(&s.n, 4 * NANOS_SEC);
    done_with(&d, ERR_TIMEOUT, 0);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(silent);
    close_stage(&s);
}

static void a_name_is_looked_up_once_for_all_who_wait(void **state) {
    struct stage s;
    struct call c[3] = { 0 };
    open_named(&s);
    for (int i = 0; i < 3; i++)
        begin(&s, &c[i]);
    assert_int_equal(lookups, 1);
    found(0, s.target.port, "127.0.0.1", NULL);
    for (int i = 0; i < 3; i++) {
        struct peer up;
        upstream_accept(&up, &s.n, s.listening);
        assert_int_equal(peer_message(&up), 0);
        peer_say(&up, OK_2);
        net_settle(&s.n);
        peer_close(&up);
    }
    for (int i = 0; i < 3; i++) {
        done_with(&c[i], KIND_OK, 200);
        call_free(&c[i]);
    }
    assert_int_equal(lookups, 1);
    close_stage(&s);
}

static void a_name_that_is_not_known_is_unavailable(void **state) {
    struct stage s;
    struct call c = { .flags = HTTP_SAFE };
    open_named(&s);
    begin(&s, &c);
    found(UV_EAI_NONAME, 0, NULL, NULL);
    done_with(&c, ERR_UNAVAILABLE, 0);
    assert_non_null(strstr(c.error.text, "resolving up.test"));
    close_stage(&s);
}

static void a_call_does_not_wait_for_a_name_longer_than_its_deadline(void **state) {
    struct stage s;
    struct call c = { .timeout = 2 * NANOS_SEC };
    open_named(&s);
    begin(&s, &c);
    net_pass(&s.n, 3 * NANOS_SEC);
    done_with(&c, ERR_TIMEOUT, 0);
    http_pool_free(TAKE(s.pool)); /* while the look-up is under way */
    found(0, s.target.port, "127.0.0.1", NULL);
    close_stage(&s);
}

static void addresses_that_worked_are_used_while_they_are_looked_up_again(void **state) {
    struct stage s;
    struct call a = { 0 }, b = { 0 }, c = { 0 };
    open_named(&s);
    begin(&s, &a);
    found(0, s.target.port, "127.0.0.1", NULL);
    answer_on_new(&s, &a);
    net_pass(&s.n, 31 * NANOS_SEC);
    begin(&s, &b);
    assert_int_equal(lookups, 2);
    answer_on_new(&s, &b);
    found(UV_EAI_AGAIN, 0, NULL, NULL); /* no answer is no reason to forget them */
    begin(&s, &c);
    answer_on_new(&s, &c);
    assert_int_equal(lookups, 2);
    close_stage(&s);
}

static void a_failed_connect_asks_for_the_name_again(void **state) {
    struct stage s;
    struct call a = { 0 }, b = { 0 };
    open_named(&s);
    begin(&s, &a);
    found(0, s.target.port, "127.0.0.77", NULL);
    done_with(&a, ERR_UNAVAILABLE, 0);
    net_pass(&s.n, 2 * NANOS_SEC);
    begin(&s, &b); /* waits for the new address instead of trying the old one */
    assert_int_equal(lookups, 2);
    found(0, s.target.port, "127.0.0.1", NULL);
    answer_on_new(&s, &b);
    close_stage(&s);
}

/* ---- TLS --------------------------------------------------------------------------- */

static void open_secure(struct stage *s, const struct tls_conf *conf) {
    open_stage(s);
    struct tls_context *tls = NULL;
    assert_null(tls_client_new(conf, &tls));
    s->target.tls = tls;
    s->pool = http_pool_new(s->n.w, &s->target);
    tls_context_unref(tls);
}

static struct tls_conf trusting(void) {
    return (struct tls_conf){ .ca_file = str_of(cert_path("root.crt")) };
}

static void tls_calls_work_like_plain_ones(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 }, large = { .stream = true };
    struct tls_conf conf = trusting();
    SSL_CTX *server = raw_server("server");
    open_secure(&s, &conf);
    begin(&s, &c);
    upstream_accept(&up, &s.n, s.listening);
    peer_tls(&up, server, true, NULL);
    assert_int_equal(peer_message(&up), 0);
    assert_true(buf_is(&up.head, ask));
    peer_say(&up, OK_2);
    done_with(&c, KIND_OK, 200);
    assert_true(buf_is(&c.body, "ok"));
    begin(&s, &large);
    assert_int_equal(peer_message(&up), 0);
    SCOPED(buf_done) struct buf wire = { 0 };
    buf_str(&wire, S("HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n"));
    fill(&wire, 2000000, 9);
    peer_put(&up, buf_view(&wire));
    done_with(&large, KIND_OK, 200);
    assert_true(filled(buf_view(&large.body), 2000000, 9));
    assert_int_equal(http_pool_stats(s.pool).connects, 1);
    call_free(&c);
    call_free(&large);
    peer_close(&up);
    close_stage(&s);
    SSL_CTX_free(server);
}

/* A call to a server with the named certificate: its kind, and what the error says. */
static void tls_refused(const struct tls_conf *conf, const char *certificate, const char *host,
                        const char *says) {
    struct stage s;
    struct peer up;
    struct call c = { .flags = HTTP_SAFE };
    SSL_CTX *server = raw_server(certificate);
    open_secure(&s, conf);
    begin(&s, &c);
    upstream_accept(&up, &s.n, s.listening);
    peer_tls(&up, server, true, NULL);
    AWAIT(&s.n, (peer_pull(&up), c.done));
    assert_int_equal(c.kind, ERR_UNAVAILABLE);
    if (!strstr(c.error.text, says))
        fail_msg("\"%s\" does not say \"%s\"", c.error.text, says);
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
    SSL_CTX_free(server);
}

static void a_certificate_that_does_not_fit_is_unavailable_and_says_why(void **state) {
    struct tls_conf conf = trusting(), named = trusting();
    tls_refused(&conf, "stranger", NULL, "certificate");
    tls_refused(&conf, "other", NULL, "IP address mismatch");
    tls_refused(&conf, "expired", NULL, "expired");
    named.server_name = S("wrong.test.invalid.");
    tls_refused(&named, "other", NULL, "hostname mismatch");
}

static void a_tls_handshake_that_stalls_is_a_connect_that_timed_out(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    struct tls_conf conf = trusting();
    open_secure(&s, &conf);
    begin(&s, &c);
    upstream_accept(&up, &s.n, s.listening);
    net_pass(&s.n, 6 * NANOS_SEC);
    done_with(&c, ERR_UNAVAILABLE, 0);
    assert_non_null(strstr(c.error.text, "timed out"));
    peer_close(&up);
    close_stage(&s);
}

static void an_upstream_without_tls_is_unavailable(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    struct tls_conf conf = trusting();
    open_secure(&s, &conf);
    begin(&s, &c);
    upstream_accept(&up, &s.n, s.listening);
    peer_say(&up, "HTTP/1.1 400 Bad Request\r\n\r\n");
    done_with(&c, ERR_UNAVAILABLE, 0);
    assert_non_null(strstr(c.error.text, "TLS"));
    peer_close(&up);
    close_stage(&s);
}

static void a_tls_answer_that_is_cut_is_an_error(void **state) {
    struct stage s;
    struct peer up;
    struct call c = { 0 };
    struct tls_conf conf = trusting();
    SSL_CTX *server = raw_server("server");
    open_secure(&s, &conf);
    begin(&s, &c);
    upstream_accept(&up, &s.n, s.listening);
    peer_tls(&up, server, true, NULL);
    assert_int_equal(peer_message(&up), 0);
    peer_say(&up, "HTTP/1.1 200 OK\r\n\r\nuntil the end, which an attacker may fake");
    net_settle(&s.n);
    shutdown(up.fd, SHUT_WR); /* without close_notify */
    done_with(&c, ERR_CLOSED, 200);
    call_free(&c);
    peer_close(&up);
    close_stage(&s);
    SSL_CTX_free(server);
}

static int make_certs(void **state) {
    certs_make();
    return 0;
}

static int remove_certs(void **state) {
    certs_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_used_again),
        cmocka_unit_test(answers_arrive_byte_by_byte),
        cmocka_unit_test(a_dripping_head_is_parsed_once_for_each_line),
        cmocka_unit_test(bodies_of_all_sizes_arrive_unchanged),
        cmocka_unit_test(large_chunked_bodies_arrive_unchanged),
        cmocka_unit_test(answers_that_arrive_in_turns_do_not_mix),
        cmocka_unit_test(a_body_beyond_the_limit_is_too_large),
        cmocka_unit_test(an_answer_beyond_the_memory_of_the_worker_is_too_large),
        cmocka_unit_test(what_is_not_http_is_an_error_of_the_upstream),
        cmocka_unit_test(an_upstream_that_goes_in_the_middle_is_closed),
        cmocka_unit_test(an_answer_until_close_ends_with_a_proper_close_only),
        cmocka_unit_test(what_came_before_the_end_is_not_lost_on_a_slow_task),
        cmocka_unit_test(what_came_for_a_slow_task_is_bounded),
        cmocka_unit_test(only_a_safe_call_is_sent_again_when_a_used_connection_dies),
        cmocka_unit_test(a_call_that_meets_a_closed_connection_is_sent_again),
        cmocka_unit_test(a_call_that_meets_a_reset_is_not_sent_again),
        cmocka_unit_test(a_new_connection_that_dies_is_not_tried_again),
        cmocka_unit_test(an_idle_connection_that_ends_or_speaks_leaves_the_pool),
        cmocka_unit_test(a_connection_that_is_not_clean_is_not_used_again),
        cmocka_unit_test(a_connection_that_still_sends_is_not_used_again),
        cmocka_unit_test(an_upstream_that_refuses_a_large_request_is_heard),
        cmocka_unit_test(idle_connections_are_closed_in_time),
        cmocka_unit_test(calls_beyond_the_limit_wait_in_line),
        cmocka_unit_test(the_newest_idle_connection_is_used_first),
        cmocka_unit_test(a_call_that_is_given_up_closes_its_connection),
        cmocka_unit_test(a_pool_that_is_freed_outlives_its_calls),
        cmocka_unit_test(a_refused_connect_is_unavailable_and_tried_once),
        cmocka_unit_test(the_next_address_is_tried_when_one_refuses),
        cmocka_unit_test(the_next_address_is_tried_when_one_is_silent),
        cmocka_unit_test(a_name_is_looked_up_once_for_all_who_wait),
        cmocka_unit_test(a_name_that_is_not_known_is_unavailable),
        cmocka_unit_test(a_call_does_not_wait_for_a_name_longer_than_its_deadline),
        cmocka_unit_test(addresses_that_worked_are_used_while_they_are_looked_up_again),
        cmocka_unit_test(a_failed_connect_asks_for_the_name_again),
        cmocka_unit_test(tls_calls_work_like_plain_ones),
        cmocka_unit_test(a_certificate_that_does_not_fit_is_unavailable_and_says_why),
        cmocka_unit_test(a_tls_handshake_that_stalls_is_a_connect_that_timed_out),
        cmocka_unit_test(an_upstream_without_tls_is_unavailable),
        cmocka_unit_test(a_tls_answer_that_is_cut_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
