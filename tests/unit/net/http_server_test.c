/* http_server_test.c - what clients of the server see, down to single bytes. */
#include "fixture.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- services ---------------------------------------------------------------------- */

static struct net *net_of_request(struct http_request *r) {
    return r->service->arg;
}

static err_t answer(struct task *t, struct http_request *r, int status, struct str body) {
    return http_respond(t, r, &(struct http_answer){ .status = status, .type = S("text/plain"),
                                                     .pieces = &body, .piece_count = 1 });
}

/* The body as it came, or the path when there is none. */
static void echo(struct task *t, struct http_request *r) {
    answer(t, r, 200, r->body.n ? r->body : r->head->path);
}

static const char get_a[] = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
static const char get_b[] = "GET /b HTTP/1.1\r\nhost: x\r\n\r\n";

static void open_echo(struct net *n, struct peer *p) {
    net_open(n);
    n->service.serve = echo;
    net_listen(n);
    peer_connect(p, n, net_port(&n->addr));
}

static void close_both(struct net *n, struct peer *p) {
    peer_close(p);
    net_close(n);
}

/* A POST of a body of n bytes. */
static void put_post(struct peer *p, size_t n, unsigned seed) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_fmt(&b, "POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: %zu\r\n\r\n", n);
    fill(&b, n, seed);
    peer_put(p, buf_view(&b));
}

/* ---- one after the other ----------------------------------------------------------- */

static void a_connection_is_used_again(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    for (int i = 0; i < 3; i++) {
        peer_say(&p, get_a);
        assert_int_equal(peer_message(&p), 200);
        assert_body(&p, "/a");
        assert_true(peer_head_has(&p, "content-type: text/plain\r\n"));
        assert_true(peer_head_has(&p, "date: "));
        assert_false(peer_head_has(&p, "connection:"));
    }
    assert_int_equal(http_server_conns(n.server), 1);
    close_both(&n, &p);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    SCOPED(buf_done) struct buf all = { 0 };
    for (int i = 0; i < 50; i++)
        buf_fmt(&all, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n%03d", i);
    peer_put(&p, buf_view(&all));
    for (int i = 0; i < 50; i++) {
        char text[4];
        snprintf(text, sizeof text, "%03d", i);
        assert_int_equal(peer_message(&p), 200);
        assert_body(&p, text);
    }
    close_both(&n, &p);
}

static void requests_arrive_byte_by_byte(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    const char text[] = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
                        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
                        "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: v\r\n\r\n"
                        "GET /last HTTP/1.1\r\nhost: x\r\n\r\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        peer_put(&p, str_from(text + i, 1));
        net_turn(&n);
    }
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "hello");
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "abcde");
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "/last");
    close_both(&n, &p);
}

static unsigned parsed;
enum http_verdict __real_http_parse_request(struct str text, const struct http_limits *limits,
                                            struct http_head *out, const char **why);
enum http_verdict __wrap_http_parse_request(struct str text, const struct http_limits *limits,
                                            struct http_head *out, const char **why);
enum http_verdict __wrap_http_parse_request(struct str text, const struct http_limits *limits,
                                            struct http_head *out, const char **why) {
    parsed++;
    return __real_http_parse_request(text, limits, out, why);
}

/* A head that drips in must not be parsed from its start for each drop. */
static void a_dripping_head_is_parsed_once_for_each_line(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    const char text[] =
        "GET /drip HTTP/1.1\r\nhost: x\r\naccept: text/plain, application/json\r\n\r\n";
    parsed = 0;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        peer_put(&p, str_from(text + i, 1));
        net_settle(&n);
    }
    assert_int_equal(peer_message(&p), 200);
    assert_in_range(parsed, 4, 5); /* four lines, and the first byte */
    close_both(&n, &p);
}

static void what_is_sent_while_a_request_is_in_flight_waits(void **state);
static struct event gate;

static void echo_later(struct task *t, struct http_request *r) {
    if (!event_wait(t, &gate))
        echo(t, r);
}

static void open_gate(struct net *n) {
    event_set(&gate);
    worker_run_ready(n->w);
}

static void what_is_sent_while_a_request_is_in_flight_waits(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = echo_later;
    peer_say(&p, get_a);
    AWAIT(&n, http_server_busy(n.server) == 1);
    peer_say(&p, get_b);
    net_settle(&n);
    assert_int_equal(http_server_busy(n.server), 1);
    open_gate(&n);
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "/a");
    open_gate(&n);
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "/b");
    close_both(&n, &p);
}

/* A client that never reads its answers cannot make us keep what it sends. */
static void a_flood_of_pipelined_requests_is_bounded(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = echo_later;
    SCOPED(buf_done) struct buf flood = { 0 };
    while (flood.n < 1 << 20)
        buf_str(&flood, S("GET /flood HTTP/1.1\r\nhost: x\r\n\r\n"));
    for (int i = 0; i < 100; i++) {
        (void)!send(p.fd, flood.p, flood.n / 32 * 32, MSG_NOSIGNAL | MSG_DONTWAIT);
        net_settle(&n);
        open_gate(&n);
        assert_true(net_stats(n.w).buffered < 1 << 20);
    }
    close_both(&n, &p);
}

/* ---- bodies ------------------------------------------------------------------------ */

static void bodies_of_all_sizes_come_back_unchanged(void **state) {
    static const size_t sizes[] = { 1,      8191,   8192,   8193,    65536,  262143,
                                    262144, 262200, 300000, 1 << 20, 4 << 20 };
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        put_post(&p, sizes[i], i);
        assert_int_equal(peer_message(&p), 200);
        assert_true(filled(buf_view(&p.body), sizes[i], i));
    }
    close_both(&n, &p);
}

/* Held memory must be that of the body, and stay while others read. */
static void large_bodies_in_flight_do_not_mix(void **state) {
    struct net n;
    struct peer p[8];
    open_echo(&n, &p[0]);
    n.service.serve = echo_later;
    for (unsigned i = 1; i < 8; i++)
        peer_connect(&p[i], &n, net_port(&n.addr));
    for (unsigned i = 0; i < 8; i++) {
        char head[100];
        snprintf(head, sizeof head, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %u\r\n\r\n",
                 20000 + i * 30000);
        peer_say(&p[i], head);
    }
    net_settle(&n);
    SCOPED(buf_done) struct buf body = { 0 };
    for (unsigned i = 0; i < 8; i++) {
        buf_clear(&body);
        fill(&body, 20000 + i * 30000, i);
        n.service.serve = echo_later;
        peer_put(&p[i], buf_view(&body));
        AWAIT(&n, http_server_busy(n.server) == 1);
        struct peer other; /* somebody else uses the shared buffer meanwhile */
        n.service.serve = echo;
        peer_connect(&other, &n, net_port(&n.addr));
        put_post(&other, 100000, 99);
        assert_int_equal(peer_message(&other), 200);
        peer_close(&other);
        open_gate(&n);
        assert_int_equal(peer_message(&p[i]), 200);
        assert_true(filled(buf_view(&p[i].body), 20000 + i * 30000, i));
    }
    for (unsigned i = 1; i < 8; i++)
        peer_close(&p[i]);
    close_both(&n, &p[0]);
}

static void a_large_body_and_the_next_request_in_one_write(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    SCOPED(buf_done) struct buf all = { 0 };
    buf_str(&all, S("POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"));
    fill(&all, 100000, 4);
    buf_str(&all, str_of(get_b));
    peer_put(&p, buf_view(&all));
    assert_int_equal(peer_message(&p), 200);
    assert_true(filled(buf_view(&p.body), 100000, 4));
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "/b");
    close_both(&n, &p);
}

/* Heads and bodies around the room for their copy in the request. */
static void heads_of_all_sizes_are_understood(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    for (unsigned size = 1800; size < 2200; size += 7) {
        SCOPED(buf_done) struct buf b = { 0 };
        buf_str(&b, S("POST /path HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\nlong: "));
        fill(&b, size, 0);
        buf_str(&b, S("\r\n\r\n"));
        fill(&b, 50, size);
        buf_str(&b, S("GET /next HTTP/1.1\r\nhost: x\r\n\r\n"));
        peer_put(&p, buf_view(&b));
        assert_int_equal(peer_message(&p), 200);
        assert_true(filled(buf_view(&p.body), 50, size));
        assert_int_equal(peer_message(&p), 200);
        assert_body(&p, "/next");
    }
    close_both(&n, &p);
}

static int admit_and_read(struct http_request *r, size_t *max_body) {
    r->user = r;
    return 0;
}

static void note_head(struct http_request *r) {
    *(bool *)net_of_request(r)->arg = str_eq(r->head->path, S("/path")) &&
                                      str_eq(r->head->query, S("q=1")) &&
                                      str_eq(http_find(r->head, S("last")), S("value")) &&
                                      str_eq(r->head->known[HTTP_HOST], S("x"));
}

/* The head of a request is there until it is released, wherever it was parsed. */
static void a_head_outlives_the_buffer_it_was_read_into(void **state) {
    struct net n;
    struct peer p, q;
    open_echo(&n, &p);
    peer_connect(&q, &n, net_port(&n.addr));
    for (unsigned size = 10; size < 9000; size *= 10) {
        bool intact = false;
        n.arg = &intact;
        n.service.admit = admit_and_read;
        n.service.release = note_head;
        n.service.serve = echo_later;
        SCOPED(buf_done) struct buf b = { 0 };
        buf_str(&b, S("GET /path?q=1 HTTP/1.1\r\nhost: x\r\nlong: "));
        fill(&b, size, 0);
        buf_str(&b, S("\r\nlast: value\r\n\r\n"));
        peer_put(&p, buf_view(&b));
        AWAIT(&n, http_server_busy(n.server) == 1);
        n.service.serve = echo;
        put_post(&q, 100000, 1);
        assert_int_equal(peer_message(&q), 200);
        intact = false;
        open_gate(&n);
        assert_int_equal(peer_message(&p), 200);
        assert_true(intact);
    }
    peer_close(&q);
    n.service.release = NULL;
    close_both(&n, &p);
}

static void large_chunked_bodies_are_joined(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    SCOPED(buf_done) struct buf body = { 0 }, wire = { 0 };
    fill(&body, 1 << 20, 6);
    buf_str(&wire, S("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"));
    for (size_t at = 0, step = 1; at < body.n; at += step, step = step * 3 % 70001) {
        step = step < body.n - at ? step : body.n - at;
        buf_fmt(&wire, "%zx\r\n", step);
        buf_put(&wire, body.p + at, step);
        buf_str(&wire, S("\r\n"));
    }
    buf_str(&wire, S("0\r\n\r\n"));
    buf_str(&wire, str_of(get_a));
    peer_put(&p, buf_view(&wire));
    assert_int_equal(peer_message(&p), 200);
    assert_true(filled(buf_view(&p.body), body.n, 6));
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "/a");
    close_both(&n, &p);
}

static void a_chunked_body_in_flight_is_counted_as_buffered(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    peer_say(&p, "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    SCOPED(buf_done) struct buf chunk = { 0 };
    buf_str(&chunk, S("80000\r\n"));
    fill(&chunk, 0x80000, 0);
    peer_put(&p, buf_view(&chunk));
    net_settle(&n);
    assert_true(net_stats(n.w).buffered >= 0x80000);
    close_both(&n, &p);
}

static void a_client_that_expects_100_gets_it_before_the_body(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    peer_say(&p, "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    peer_await(&p, "HTTP/1.1 100 Continue\r\n\r\n");
    buf_clear(&p.in);
    peer_say(&p, "body");
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "body");
    /* with the body at hand nobody waits for a 100 (RFC 9110 §10.1.1) */
    peer_say(&p,
             "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nmore");
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "more");
    close_both(&n, &p);
}

static int admit_user(struct http_request *r, size_t *max_body) {
    r->user_bits[0] = 11;
    r->user_bits[1] = 22;
    *max_body = 1000;
    return 0;
}

static void serve_bits(struct task *t, struct http_request *r) {
    answer(t, r, r->user_bits[0] == 11 && r->user_bits[1] == 22 ? 200 : 500, r->body);
}

static void what_admit_noted_is_there_when_serving(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.admit = admit_user;
    n.service.serve = serve_bits;
    put_post(&p, 1000, 1);
    assert_int_equal(peer_message(&p), 200);
    put_post(&p, 1001, 1); /* the bound that admit gave */
    assert_int_equal(peer_message(&p), 413);
    close_both(&n, &p);
}

/* ---- refusals ---------------------------------------------------------------------- */

static void refused(const char *request, int status) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    peer_say(&p, request);
    assert_int_equal(peer_message(&p), status);
    assert_true(peer_head_has(&p, "connection: close\r\n"));
    assert_true(peer_head_has(&p, "content-type: application/json\r\n"));
    assert_int_equal(p.body.p[p.body.n - 1], '}');
    peer_await_end(&p);
    assert_false(p.reset);
    close_both(&n, &p);
}

static void broken_requests_are_refused_and_the_connection_closed(void **state) {
    refused("GET / HTTP/1.1\nhost: x\n\n", 400);
    refused("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            400);
    refused("GET / HTTP/1.1\r\n\r\n", 400);
    refused("GET / HTTP/2.7\r\nhost: x\r\n\r\n", 505);
    refused("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 400);
    refused("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400);
    refused("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n", 413);
    refused("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n", 413);
    refused(
        "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n",
        413);
}

static void heads_that_are_too_large_are_refused(void **state) {
    SCOPED(buf_done) struct buf text = { 0 };
    buf_str(&text, S("GET / HTTP/1.1\r\nhost: x\r\nx: "));
    fill(&text, 17000, 0); /* no line end: the limit alone makes it parse */
    refused(buf_text(&text), 431);
    buf_clear(&text);
    buf_str(&text, S("GET /"));
    for (int i = 0; i < 3000; i++)
        buf_char(&text, 'a');
    buf_str(&text, S(" HTTP/1.1\r\nhost: x\r\n\r\n"));
    refused(buf_text(&text), 414);
    buf_clear(&text);
    buf_str(&text, S("GET / HTTP/1.1\r\nhost: x\r\n"));
    for (int i = 0; i < 100; i++)
        buf_str(&text, S("a: b\r\n"));
    buf_str(&text, S("\r\n"));
    refused(buf_text(&text), 431);
}

/* The client sends on while it is being refused: it must get to read why. */
static void a_client_that_sends_on_reads_its_refusal(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    put_post(&p, 5 << 20, 0);
    assert_int_equal(peer_message(&p), 413);
    peer_await_end(&p);
    assert_false(p.reset);
    close_both(&n, &p);
}

static void a_slow_head_gets_408(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    peer_say(&p, "GET / HTTP/1.1\r\nhos");
    net_pass(&n, 9 * NANOS_SEC);
    peer_pull(&p);
    assert_int_equal(p.in.n, 0);
    peer_say(&p, "t: x\r\n"); /* more of it is no excuse */
    net_pass(&n, 2 * NANOS_SEC);
    assert_int_equal(peer_message(&p), 408);
    peer_await_end(&p);
    close_both(&n, &p);
}

static void a_slow_body_gets_408(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    peer_say(&p, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    net_pass(&n, 29 * NANOS_SEC);
    peer_pull(&p);
    assert_int_equal(p.in.n, 0);
    net_pass(&n, 2 * NANOS_SEC);
    assert_int_equal(peer_message(&p), 408);
    close_both(&n, &p);
}

static void idle_connections_are_closed_without_a_word(void **state) {
    struct net n;
    struct peer p, q;
    open_echo(&n, &p);
    peer_connect(&q, &n, net_port(&n.addr)); /* never says anything */
    peer_say(&p, get_a);
    assert_int_equal(peer_message(&p), 200);
    net_pass(&n, 11 * NANOS_SEC);
    peer_await_end(&q);
    peer_pull(&p);
    assert_false(p.eof);
    net_pass(&n, 48 * NANOS_SEC);
    peer_pull(&p);
    assert_false(p.eof);
    net_pass(&n, 2 * NANOS_SEC);
    peer_await_end(&p);
    assert_int_equal(p.in.n, 0);
    assert_int_equal(http_server_conns(n.server), 0);
    peer_close(&q);
    close_both(&n, &p);
}

/* The clock of an idle connection starts anew with each request. */
static void a_request_in_flight_is_not_idle(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = echo_later;
    peer_say(&p, get_a);
    AWAIT(&n, http_server_busy(n.server) == 1);
    net_pass(&n, 200 * NANOS_SEC);
    open_gate(&n);
    assert_int_equal(peer_message(&p), 200);
    net_pass(&n, 59 * NANOS_SEC);
    peer_say(&p, get_b);
    AWAIT(&n, http_server_busy(n.server) == 1);
    open_gate(&n);
    assert_int_equal(peer_message(&p), 200);
    net_pass(&n, 59 * NANOS_SEC);
    peer_pull(&p);
    assert_false(p.eof);
    net_pass(&n, 2 * NANOS_SEC);
    peer_await_end(&p);
    close_both(&n, &p);
}

static void more_connections_than_allowed_get_503(void **state) {
    struct net n;
    struct peer p[4];
    net_open(&n);
    n.service.serve = echo;
    n.conf.max_conns = 2;
    net_listen(&n);
    for (int i = 0; i < 3; i++) {
        peer_connect(&p[i], &n, net_port(&n.addr));
        peer_say(&p[i], get_a);
    }
    assert_int_equal(peer_message(&p[0]), 200);
    assert_int_equal(peer_message(&p[1]), 200);
    assert_int_equal(peer_message(&p[2]), 503);
    assert_true(peer_head_has(&p[2], "retry-after: 1\r\n"));
    peer_await_end(&p[2]);
    assert_false(p[2].reset);
    peer_close(&p[2]);
    peer_close(&p[1]);
    AWAIT(&n, http_server_conns(n.server) == 1);
    peer_connect(&p[3], &n, net_port(&n.addr));
    peer_say(&p[3], get_b);
    assert_int_equal(peer_message(&p[3]), 200);
    peer_close(&p[3]);
    close_both(&n, &p[0]);
}

/* The bound is of the process, however the kernel spreads connections over its workers. */
static void connections_of_other_servers_count_too(void **state) {
    struct net n;
    struct peer p[2];
    atomic_uint open = 1; /* on another worker */
    net_open(&n);
    n.service.serve = echo;
    n.conf.max_conns = 2;
    n.conf.conns = &open;
    net_listen(&n);
    for (int i = 0; i < 2; i++) {
        peer_connect(&p[i], &n, net_port(&n.addr));
        peer_say(&p[i], get_a);
    }
    assert_int_equal(peer_message(&p[0]), 200);
    assert_int_equal(peer_message(&p[1]), 503);
    peer_await_end(&p[1]);
    peer_close(&p[1]);
    AWAIT(&n, atomic_load(&open) == 2);
    peer_close(&p[0]);
    AWAIT(&n, atomic_load(&open) == 1);
    net_close(&n);
}

static void hold_a_task(struct task *t, void *arg) {
    (void)!event_wait(t, arg);
}

static void without_a_task_left_the_answer_is_503(void **state) {
    struct net n;
    struct peer p;
    struct event over[64] = { 0 };
    open_echo(&n, &p);
    for (size_t i = 0; i < ARRAY_SIZE(over); i++)
        assert_non_null(task_spawn(n.w, hold_a_task, &over[i]));
    peer_say(&p, get_a);
    assert_int_equal(peer_message(&p), 503);
    assert_true(peer_head_has(&p, "retry-after: 1\r\n"));
    for (size_t i = 0; i < ARRAY_SIZE(over); i++)
        event_set(&over[i]);
    worker_run_ready(n.w);
    close_both(&n, &p);
}

static void without_memory_for_another_body_the_answer_is_503(void **state) {
    struct net n;
    struct peer p, q;
    net_open(&n);
    net_stop(n.w);
    net_start(n.w, 1 << 20);
    n.service.serve = echo;
    net_listen(&n);
    peer_connect(&p, &n, net_port(&n.addr));
    peer_connect(&q, &n, net_port(&n.addr));
    put_post(&p, 2 << 20, 0);
    assert_int_equal(peer_message(&p), 503);
    peer_say(&q, "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n200000\r\n");
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 2 << 20, 0);
    peer_put(&q, buf_view(&body));
    assert_int_equal(peer_message(&q), 503);
    peer_close(&q);
    close_both(&n, &p);
}

/* ---- admit ------------------------------------------------------------------------- */

static unsigned released;

static void count_release(struct http_request *r) {
    assert_ptr_equal(r->user, &released);
    released++;
}

static int admit_by_path(struct http_request *r, size_t *max_body) {
    if (str_eq(r->head->path, S("/a")))
        r->user = &released;
    if (str_eq(r->head->path, S("/a")))
        return 0;
    struct str why = S("no");
    return http_refuse(
        r, &(struct http_answer){
               .status = 403, .type = S("text/plain"), .pieces = &why, .piece_count = 1 });
}

static void admit_decides_from_the_head_alone(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.admit = admit_by_path;
    n.service.release = count_release;
    released = 0;
    peer_say(&p, "GET /b HTTP/1.1\r\nhost: x\r\n\r\nGET /a HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_int_equal(peer_message(&p), 403);
    assert_int_equal(peer_message(&p), 200); /* the connection goes on */
    assert_int_equal(released, 1);
    /* the body that follows is not waited for */
    peer_say(&p, "POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n");
    assert_int_equal(peer_message(&p), 403);
    assert_true(peer_head_has(&p, "connection: close\r\n"));
    peer_await_end(&p);
    close_both(&n, &p);
}

static void what_admit_took_is_released_however_the_request_ends(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.admit = admit_by_path;
    n.service.release = count_release;
    released = 0;
    peer_say(&p, "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    net_settle(&n);
    peer_close(&p); /* gone in the middle of its body */
    AWAIT(&n, http_server_conns(n.server) == 0);
    assert_int_equal(released, 1);
    peer_connect(&p, &n, net_port(&n.addr));
    peer_say(&p, "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n");
    assert_int_equal(peer_message(&p), 413);
    assert_int_equal(released, 2);
    close_both(&n, &p);
}

/* ---- answers ----------------------------------------------------------------------- */

static void serve_nothing(struct task *t, struct http_request *r) {
    (void)t;
    (void)r;
}

static void a_request_left_unanswered_gets_500(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_nothing;
    peer_say(&p, get_a);
    assert_int_equal(peer_message(&p), 500);
    peer_say(&p, get_a);
    assert_int_equal(peer_message(&p), 500);
    close_both(&n, &p);
}

static void head_and_204_have_no_body(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    peer_say(&p, "HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n");
    peer_await(&p, "content-length: 2\r\n\r\n");
    net_settle(&n);
    peer_pull(&p);
    assert_true(str_ends(buf_view(&p.in), S("\r\n\r\n")));
    close_both(&n, &p);
}

static void http_1_0_closes_unless_it_asks_not_to(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    peer_say(&p, "GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    assert_int_equal(peer_message(&p), 200);
    assert_true(peer_head_has(&p, "connection: keep-alive\r\n"));
    peer_say(&p, "GET /old HTTP/1.0\r\n\r\n");
    assert_int_equal(peer_message(&p), 200);
    assert_true(peer_head_has(&p, "connection: close\r\n"));
    peer_await_end(&p);
    close_both(&n, &p);
}

static void serve_many_pieces(struct task *t, struct http_request *r) {
    struct str pieces[40];
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
        pieces[i] = i % 2 ? S("ab") : S("c");
    const struct http_field fields[] = { { S("x-one"), S("1") }, { S("x-two"), S("2") } };
    if (str_eq(r->head->path, S("/whole"))) {
        http_respond(t, r, &(struct http_answer){ .status = 201, .fields = fields, .field_count = 2, .pieces = pieces,
                                                  .piece_count = ARRAY_SIZE(pieces) });
        return;
    }
    http_stream_begin(t, r,
                      &(struct http_answer){ .status = 200, .fields = fields, .field_count = 2 });
    http_stream_write(t, r, pieces, ARRAY_SIZE(pieces));
    http_stream_end(t, r);
}

static void answers_of_many_pieces_are_complete(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_many_pieces;
    for (int i = 0; i < 2; i++) {
        peer_say(&p, i ? "GET /whole HTTP/1.1\r\nhost: x\r\n\r\n"
                       : "GET /stream HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_int_equal(peer_message(&p), i ? 201 : 200);
        assert_true(peer_head_has(&p, "\r\nx-one: 1\r\nx-two: 2\r\n"));
        assert_int_equal(p.body.n, 60);
        assert_true(str_starts(buf_view(&p.body), S("cabcabcab")));
    }
    close_both(&n, &p);
}

static void an_answer_with_a_very_large_head_is_complete(void **state);
static void serve_large_head(struct task *t, struct http_request *r) {
    SCOPED(buf_done) struct buf value = { 0 };
    fill(&value, 5000, 2);
    struct http_field field = { S("x-long"), buf_view(&value) };
    http_respond(t, r, &(struct http_answer){ .status = 200, .fields = &field, .field_count = 1 });
}

static void an_answer_with_a_very_large_head_is_complete(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_large_head;
    peer_say(&p, get_a);
    assert_int_equal(peer_message(&p), 200);
    ptrdiff_t at = str_find(buf_view(&p.head), S("x-long: "));
    assert_true(at > 0 &&
                filled(str_head(str_skip(buf_view(&p.head), (size_t)at + 8), 5000), 5000, 2));
    close_both(&n, &p);
}

static void serve_half_a_stream(struct task *t, struct http_request *r) {
    struct str piece = S("half");
    http_stream_begin(t, r, &(struct http_answer){ .status = 200 });
    http_stream_write(t, r, &piece, 1);
}

static void a_stream_that_is_not_ended_is_cut_visibly(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_half_a_stream;
    peer_say(&p, get_a);
    peer_await_end(&p);
    assert_true(str_ends(buf_view(&p.in), S("4\r\nhalf\r\n")));
    close_both(&n, &p);
}

static void serve_stream(struct task *t, struct http_request *r) {
    struct str pieces[] = { S("one,"), S("two") };
    http_stream_begin(t, r, &(struct http_answer){ .status = 200, .type = S("text/plain") });
    http_stream_write(t, r, pieces, 2);
    http_stream_write(t, r, &S(""), 1); /* an empty chunk would end the body */
    http_stream_write(t, r, pieces, 1);
    http_stream_end(t, r);
}

static void streams_are_chunked_and_the_connection_goes_on(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_stream;
    for (int i = 0; i < 2; i++) {
        peer_say(&p, get_a);
        assert_int_equal(peer_message(&p), 200);
        assert_true(peer_head_has(&p, "transfer-encoding: chunked\r\n"));
        assert_body(&p, "one,twoone,");
    }
    close_both(&n, &p);
}

static void a_stream_to_http_1_0_ends_with_the_connection(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_stream;
    peer_say(&p, "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    peer_await_end(&p);
    assert_false(p.reset);
    assert_false(peer_has(&p, "chunked"));
    assert_true(peer_has(&p, "connection: close\r\n"));
    assert_true(str_ends(buf_view(&p.in), S("\r\n\r\none,twoone,")));
    close_both(&n, &p);
}

static void a_stream_to_head_has_no_body(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_stream;
    peer_say(&p, "HEAD / HTTP/1.1\r\nhost: x\r\n\r\n");
    peer_await(&p, "\r\n\r\n");
    net_settle(&n);
    peer_pull(&p);
    assert_true(str_ends(buf_view(&p.in), S("\r\n\r\n")));
    close_both(&n, &p);
}

/* ---- clients that go or lag -------------------------------------------------------- */

static int ended_as;

static void wait_and_note(struct task *t, struct http_request *r) {
    ended_as = kind_of(event_wait(t, &gate));
    if (ended_as == KIND_OK)
        ended_as = r->gone ? 1000 + kind_of(answer(t, r, 200, S("x"))) : 2000;
}

static void a_client_that_goes_cancels_its_call(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = wait_and_note;
    ended_as = -7;
    peer_say(&p, get_a);
    AWAIT(&n, http_server_busy(n.server) == 1);
    peer_close(&p);
    AWAIT(&n, http_server_busy(n.server) == 0);
    assert_int_equal(ended_as, ERR_CANCELLED);
    assert_int_equal(http_server_conns(n.server), 0);
    net_close(&n);
}

static void stays(struct http_request *r) {
    *(bool *)net_of_request(r)->arg = true;
}

static void wait_detached_from_its_client(struct task *t, struct http_request *r) {
    r->on_gone = stays;
    wait_and_note(t, r);
}

static void a_legacy_call_goes_on_without_its_client(void **state) {
    struct net n;
    struct peer p;
    bool told = false;
    open_echo(&n, &p);
    n.arg = &told;
    n.service.serve = wait_detached_from_its_client;
    ended_as = -7;
    peer_say(&p, get_a);
    AWAIT(&n, http_server_busy(n.server) == 1);
    peer_close(&p);
    AWAIT(&n, told);
    net_settle(&n);
    assert_int_equal(http_server_busy(n.server), 1);
    assert_int_equal(ended_as, -7);
    open_gate(&n);
    assert_int_equal(ended_as, 1000 + ERR_CLOSED);
    assert_int_equal(http_server_conns(n.server), 0);
    net_close(&n);
}

static void stream_for_ever(struct task *t, struct http_request *r) {
    static const char block[16 * 1024];
    struct str piece = { block, sizeof block };
    http_stream_begin(t, r, &(struct http_answer){ .status = 200 });
    err_t e = OK;
    for (int i = 0; i < 4096 && !e; i++)
        e = http_stream_write(t, r, &piece, 1);
    ended_as = kind_of(e);
}

static void a_stream_waits_for_a_slow_reader_and_gives_up(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = stream_for_ever;
    ended_as = -7;
    peer_say(&p, get_a);
    net_settle(&n);
    assert_int_equal(ended_as, -7);
    assert_true(net_stats(n.w).buffered < 1 << 20);
    net_pass(&n, 21 * NANOS_SEC);
    AWAIT(&n, ended_as == ERR_TIMEOUT);
    net_pass(&n, 21 * NANOS_SEC);
    AWAIT(&n, http_server_conns(n.server) == 0);
    close_both(&n, &p);
}

static void serve_large(struct task *t, struct http_request *r) {
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 8 << 20, 8);
    ended_as = kind_of(answer(t, r, 200, buf_view(&body)));
}

static void a_large_answer_reaches_a_slow_reader(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_large;
    ended_as = -7;
    peer_say(&p, get_a);
    net_settle(&n);
    assert_int_equal(ended_as, -7);
    assert_int_equal(peer_message(&p), 200);
    assert_true(filled(buf_view(&p.body), 8 << 20, 8));
    assert_int_equal(ended_as, KIND_OK);
    close_both(&n, &p);
}

static void an_answer_that_nobody_reads_ends_the_connection(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_large;
    peer_say(&p, get_a);
    net_pass(&n, 21 * NANOS_SEC);
    net_pass(&n, 21 * NANOS_SEC);
    AWAIT(&n, http_server_conns(n.server) == 0);
    close_both(&n, &p);
}

/* ---- streams that outlive their task ----------------------------------------------- */

static struct http_request *pushed;
static unsigned gone_told;

static void push_gone(struct http_request *r) {
    assert_ptr_equal(r, pushed);
    gone_told++;
}

static void serve_detached(struct task *t, struct http_request *r) {
    http_stream_begin(t, r, &(struct http_answer){ .status = 200, .type = S("text/event-stream") });
    pushed = r;
    http_stream_detach(r, push_gone);
}

static void open_detached(struct net *n, struct peer *p) {
    open_echo(n, p);
    n->service.serve = serve_detached;
    pushed = NULL;
    gone_told = 0;
    peer_say(p, get_a);
    AWAIT(n, pushed && !pushed->task);
}

static bool push_text(const char *text) {
    struct str piece = str_of(text);
    return http_stream_push(pushed, &piece, 1);
}

static void a_detached_stream_is_pushed_to_and_closed(void **state) {
    struct net n;
    struct peer p;
    open_detached(&n, &p);
    assert_true(push_text("one,"));
    peer_await(&p, "one,");
    net_pass(&n, 1000 * NANOS_SEC); /* no timeout while it is open */
    assert_true(push_text("two"));
    http_stream_close(pushed);
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "one,two");
    assert_int_equal(gone_told, 0);
    n.service.serve = echo; /* the connection goes on */
    peer_say(&p, get_b);
    assert_int_equal(peer_message(&p), 200);
    assert_int_equal(http_server_busy(n.server), 0);
    close_both(&n, &p);
}

static void a_detached_stream_tells_that_its_client_went(void **state) {
    struct net n;
    struct peer p;
    open_detached(&n, &p);
    peer_close(&p);
    AWAIT(&n, gone_told == 1);
    assert_int_equal(http_server_conns(n.server), 0);
    assert_int_equal(http_server_busy(n.server), 0);
    net_close(&n);
    assert_int_equal(gone_told, 1);
}

static void a_detached_stream_whose_client_lags_is_ended(void **state) {
    struct net n;
    struct peer p;
    open_detached(&n, &p);
    SCOPED(buf_done) struct buf block = { 0 };
    fill(&block, 60000, 0);
    bool alive = true;
    for (int i = 0; i < 2000 && alive; i++)
        alive = push_text(buf_text(&block));
    assert_false(alive);
    assert_int_equal(gone_told, 1);
    close_both(&n, &p);
}

/* The task that detached has not returned when the client goes: told once, at its end. */
static void serve_detached_and_wait(struct task *t, struct http_request *r) {
    serve_detached(t, r);
    (void)!event_wait(t, &gate);
    assert_true(r->gone);
    assert_int_equal(gone_told, 0);
    assert_true(push_text("into the void"));
}

static void a_client_that_goes_before_the_task_returned_is_told_once(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_detached_and_wait;
    pushed = NULL;
    gone_told = 0;
    peer_say(&p, get_a);
    AWAIT(&n, pushed);
    peer_close(&p);
    net_settle(&n);
    open_gate(&n);
    AWAIT(&n, gone_told == 1);
    assert_int_equal(http_server_conns(n.server), 0);
    net_close(&n);
}

static void closing_the_server_tells_detached_streams(void **state) {
    struct net n;
    struct peer p;
    open_detached(&n, &p);
    http_server_close(n.server);
    assert_int_equal(gone_told, 1);
    peer_await_end(&p);
    close_both(&n, &p);
}

/* Writes more than the sockets between hold, to a stream that a task before it left open. */
static bool kept_by_writer;

static void write_much(struct task *t, void *arg) {
    static const char block[64 * 1024];
    struct str piece = { block, sizeof block };
    err_t e = OK;
    for (int i = 0; i < 1024 && !e; i++)
        e = http_stream_write(t, pushed, &piece, 1);
    ended_as = kind_of(e);
    kept_by_writer = http_stream_give_back(pushed, e != OK);
}

static void borrow(struct net *n, task_fn *fn) {
    ended_as = -7;
    struct task *t = task_spawn(n->w, fn, NULL);
    assert_non_null(t);
    http_stream_borrow(t, pushed);
    worker_run_ready(n->w);
}

static void a_client_that_goes_while_a_task_writes_is_told_when_it_gives_back(void **state) {
    struct net n;
    struct peer p;
    open_detached(&n, &p);
    borrow(&n, write_much);
    net_settle(&n);
    assert_int_equal(ended_as, -7);
    peer_close(&p);
    AWAIT(&n, ended_as != -7);
    assert_int_equal(ended_as, ERR_CLOSED);
    assert_false(kept_by_writer);
    assert_int_equal(gone_told, 1);
    assert_int_equal(http_server_conns(n.server), 0);
    assert_int_equal(http_server_busy(n.server), 0);
    net_close(&n);
}

static void a_client_that_takes_nothing_is_cut_when_its_writer_gives_up(void **state) {
    struct net n;
    struct peer p;
    open_detached(&n, &p);
    borrow(&n, write_much);
    net_settle(&n);
    net_pass(&n, 21 * NANOS_SEC);
    AWAIT(&n, ended_as == ERR_TIMEOUT);
    assert_false(kept_by_writer);
    assert_int_equal(gone_told, 1);
    AWAIT(&n, http_server_conns(n.server) == 0);
    close_both(&n, &p);
}

static void write_and_keep(struct task *t, void *arg) {
    struct str piece = S("one,");
    assert_null(http_stream_write(t, pushed, &piece, 1));
    kept_by_writer = http_stream_give_back(pushed, false);
    ended_as = KIND_OK;
}

static void write_and_close(struct task *t, void *arg) {
    struct str piece = S("two");
    assert_null(http_stream_write(t, pushed, &piece, 1));
    http_stream_close(pushed);
    kept_by_writer = http_stream_give_back(pushed, false);
    ended_as = KIND_OK;
}

static void a_stream_is_borrowed_again_and_again_until_one_closes_it(void **state) {
    struct net n;
    struct peer p;
    open_detached(&n, &p);
    borrow(&n, write_and_keep);
    AWAIT(&n, ended_as == KIND_OK);
    assert_true(kept_by_writer);
    borrow(&n, write_and_close);
    AWAIT(&n, ended_as == KIND_OK);
    assert_false(kept_by_writer);
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "one,two");
    assert_int_equal(gone_told, 0);
    assert_int_equal(http_server_busy(n.server), 0);
    n.service.serve = echo; /* the connection goes on */
    peer_say(&p, get_b);
    assert_int_equal(peer_message(&p), 200);
    close_both(&n, &p);
}

static void serve_and_leave(struct task *t, struct http_request *r) {
    struct str piece = S("first part");
    http_stream_begin(t, r, &(struct http_answer){ .status = 200 });
    http_stream_write(t, r, &piece, 1);
    http_stream_leave(r);
    assert_true(r->gone);
    wait_and_note(t, r);
    assert_true(str_eq(r->head->path, S("/a"))); /* is read as long as the task runs */
    assert_int_equal(r->peer->ss_family, AF_INET);
}

static void a_connection_goes_on_while_the_task_of_a_request_that_left_it_runs(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_and_leave;
    ended_as = -7;
    peer_say(&p, get_a);
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "first part");
    n.service.serve = echo;
    peer_say(&p, get_b);
    assert_int_equal(peer_message(&p), 200);
    assert_int_equal(ended_as, -7);
    assert_int_equal(http_server_busy(n.server), 1);
    peer_close(&p);
    AWAIT(&n, http_server_conns(n.server) == 0);
    assert_int_equal(ended_as, -7);
    open_gate(&n);
    assert_true(ended_as != -7);
    assert_int_equal(http_server_busy(n.server), 0);
    net_close(&n);
}

static void serve_and_abort(struct task *t, struct http_request *r) {
    r->on_gone = stays;
    http_stream_begin(t, r, &(struct http_answer){ .status = 200 });
    http_stream_abort(r);
    assert_true(r->gone);
    wait_and_note(t, r);
}

static void a_connection_that_is_cut_leaves_its_task_running(void **state) {
    struct net n;
    struct peer p;
    bool told = false;
    open_echo(&n, &p);
    n.arg = &told;
    n.service.serve = serve_and_abort;
    ended_as = -7;
    peer_say(&p, get_a);
    peer_await_end(&p);
    assert_true(told);
    assert_int_equal(ended_as, -7);
    open_gate(&n);
    assert_true(ended_as != -7);
    assert_int_equal(http_server_conns(n.server), 0);
    close_both(&n, &p);
}

/* ---- draining ---------------------------------------------------------------------- */

static void draining_serves_the_accept_queue_and_closes_idle_ones(void **state) {
    struct net n;
    struct peer idle, queued, busy, half;
    open_echo(&n, &idle);
    peer_say(&idle, get_a);
    assert_int_equal(peer_message(&idle), 200);
    peer_connect(&half, &n, net_port(&n.addr));
    peer_say(&half, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nha");
    peer_connect(&busy, &n, net_port(&n.addr));
    n.service.serve = echo_later;
    peer_say(&busy, get_a);
    AWAIT(&n, http_server_busy(n.server) == 1);
    n.service.serve = echo;
    peer_connect(&queued, &n, net_port(&n.addr)); /* nobody has accepted it yet */
    http_server_drain(n.server);
    peer_say(&queued, get_b);
    assert_int_equal(peer_message(&queued), 200);
    assert_true(peer_head_has(&queued, "connection: close\r\n"));
    peer_await_end(&idle);
    peer_say(&half, "lf");
    assert_int_equal(peer_message(&half), 200);
    assert_body(&half, "half");
    open_gate(&n);
    assert_int_equal(peer_message(&busy), 200);
    assert_true(peer_head_has(&busy, "connection: close\r\n"));
    peer_await_end(&busy);
    peer_await_end(&queued);
    peer_await_end(&half);
    peer_close(&queued);
    peer_close(&busy);
    peer_close(&half);
    AWAIT(&n, http_server_conns(n.server) == 0);
    close_both(&n, &idle);
}

/* Idle for us, but its answer is still under way. */
static void draining_lets_answers_under_way_arrive(void **state) {
    struct net n;
    struct peer p;
    open_echo(&n, &p);
    n.service.serve = serve_large;
    ended_as = -7;
    peer_say(&p, get_a);
    AWAIT(&n, (peer_pull(&p), ended_as == KIND_OK)); /* the rest fits the bound of a task */
    http_server_drain(n.server);
    assert_int_equal(peer_message(&p), 200);
    assert_true(filled(buf_view(&p.body), 8 << 20, 8));
    peer_await_end(&p);
    assert_false(p.reset);
    close_both(&n, &p);
}

static void closing_cancels_what_is_in_flight(void **state) {
    struct net n;
    struct peer p, q;
    bool told = false;
    open_echo(&n, &p);
    n.arg = &told;
    n.service.serve = wait_detached_from_its_client;
    peer_say(&p, get_a);
    AWAIT(&n, http_server_busy(n.server) == 1);
    peer_connect(&q, &n, net_port(&n.addr));
    net_settle(&n);
    http_server_close(n.server);
    worker_run_ready(n.w);
    assert_int_equal(ended_as, ERR_CANCELLED);
    assert_int_equal(http_server_conns(n.server), 0);
    peer_await_end(&p);
    peer_close(&q);
    close_both(&n, &p);
}

/* ---- TLS --------------------------------------------------------------------------- */

struct secure {
    struct net n;
    SSL_CTX *ctx;
    struct tls_context *tls;
};

static void open_secure(struct secure *s, struct peer *p) {
    net_open(&s->n);
    s->ctx = raw_client();
    s->tls = server_context(NULL, false);
    s->n.conf.tls = s->tls;
    s->n.service.serve = echo;
    net_listen(&s->n);
    peer_connect(p, &s->n, net_port(&s->n.addr));
    peer_tls(p, s->ctx, false, "localhost");
}

static void close_secure(struct secure *s, struct peer *p) {
    close_both(&s->n, p);
    SSL_CTX_free(s->ctx);
    tls_context_unref(s->tls);
}

static void serve_secure(struct task *t, struct http_request *r) {
    answer(t, r, r->secure ? 200 : 500, r->body.n ? r->body : r->head->path);
}

static void tls_requests_are_served_like_plain_ones(void **state) {
    static const size_t sizes[] = { 1, 8193, 16384, 100000, 300000, 3 << 20 };
    struct secure s;
    struct peer p;
    open_secure(&s, &p);
    s.n.service.serve = serve_secure;
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        put_post(&p, sizes[i], i);
        assert_int_equal(peer_message(&p), 200);
        assert_true(filled(buf_view(&p.body), sizes[i], i));
    }
    SCOPED(buf_done) struct buf all = { 0 };
    buf_str(&all, str_of(get_a));
    buf_str(&all, str_of(get_b));
    peer_put(&p, buf_view(&all));
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "/a");
    assert_int_equal(peer_message(&p), 200);
    assert_body(&p, "/b");
    close_secure(&s, &p);
}

static void a_closing_tls_answer_ends_with_a_goodbye(void **state) {
    struct secure s;
    struct peer p;
    open_secure(&s, &p);
    peer_say(&p, "GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_int_equal(peer_message(&p), 200);
    peer_await_end(&p);
    assert_true(p.eof);
    assert_false(p.reset);
    close_secure(&s, &p);
}

static void tls_refusals_reach_the_client(void **state) {
    struct secure s;
    struct peer p;
    open_secure(&s, &p);
    put_post(&p, 5 << 20, 0);
    assert_int_equal(peer_message(&p), 413);
    peer_await_end(&p);
    assert_true(p.eof);
    close_secure(&s, &p);
}

static void a_handshake_that_stalls_ends_with_the_head_timeout(void **state) {
    struct secure s;
    struct peer p;
    open_secure(&s, &p);
    net_settle(&s.n); /* accepted; not one byte of the handshake comes */
    assert_int_equal(http_server_conns(s.n.server), 1);
    net_pass(&s.n, 11 * NANOS_SEC);
    assert_int_equal(http_server_conns(s.n.server), 0);
    close_secure(&s, &p);
}

static void plain_http_on_a_tls_port_is_closed(void **state) {
    struct secure s;
    struct peer p;
    open_secure(&s, &p);
    SSL_free(TAKE(p.ssl));
    peer_say(&p, get_a);
    peer_await_end(&p);
    AWAIT(&s.n, http_server_conns(s.n.server) == 0);
    close_secure(&s, &p);
}

static void a_tls_client_that_goes_cancels_its_call(void **state) {
    struct secure s;
    struct peer p;
    open_secure(&s, &p);
    s.n.service.serve = wait_and_note;
    ended_as = -7;
    peer_say(&p, get_a);
    AWAIT(&s.n, http_server_busy(s.n.server) == 1);
    peer_close(&p);
    AWAIT(&s.n, ended_as == ERR_CANCELLED);
    p.fd = -1;
    close_secure(&s, &p);
}

static void new_certificates_are_for_new_connections(void **state) {
    struct secure s;
    struct peer p, q;
    open_secure(&s, &p);
    peer_say(&p, get_a);
    assert_int_equal(peer_message(&p), 200);
    struct tls_conf conf = { .cert_file = str_of(cert_path("stranger.crt")),
                             .key_file = str_of(cert_path("stranger.key")) };
    struct tls_context *other = NULL;
    assert_null(tls_server_new(&conf, NULL, &other));
    s.n.conf.tls = other;
    http_server_configure(s.n.server, &s.n.conf);
    tls_context_unref(other);
    peer_say(&p, get_a); /* the old connection does not notice */
    assert_int_equal(peer_message(&p), 200);
    peer_connect(&q, &s.n, net_port(&s.n.addr));
    peer_tls(&q, s.ctx, false, "localhost");
    peer_say(&q, get_a); /* the new one is by an authority that is not trusted */
    peer_await_end(&q);
    assert_true(q.reset);
    peer_close(&q);
    close_secure(&s, &p);
}

static void a_tls_stream_waits_for_a_slow_reader(void **state) {
    struct secure s;
    struct peer p;
    open_secure(&s, &p);
    s.n.service.serve = serve_large;
    peer_say(&p, get_a);
    net_settle(&s.n);
    assert_int_equal(peer_message(&p), 200);
    assert_true(filled(buf_view(&p.body), 8 << 20, 8));
    close_secure(&s, &p);
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
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(requests_arrive_byte_by_byte),
        cmocka_unit_test(a_dripping_head_is_parsed_once_for_each_line),
        cmocka_unit_test(what_is_sent_while_a_request_is_in_flight_waits),
        cmocka_unit_test(a_flood_of_pipelined_requests_is_bounded),
        cmocka_unit_test(bodies_of_all_sizes_come_back_unchanged),
        cmocka_unit_test(large_bodies_in_flight_do_not_mix),
        cmocka_unit_test(a_large_body_and_the_next_request_in_one_write),
        cmocka_unit_test(heads_of_all_sizes_are_understood),
        cmocka_unit_test(a_head_outlives_the_buffer_it_was_read_into),
        cmocka_unit_test(large_chunked_bodies_are_joined),
        cmocka_unit_test(a_chunked_body_in_flight_is_counted_as_buffered),
        cmocka_unit_test(a_client_that_expects_100_gets_it_before_the_body),
        cmocka_unit_test(what_admit_noted_is_there_when_serving),
        cmocka_unit_test(broken_requests_are_refused_and_the_connection_closed),
        cmocka_unit_test(heads_that_are_too_large_are_refused),
        cmocka_unit_test(a_client_that_sends_on_reads_its_refusal),
        cmocka_unit_test(a_slow_head_gets_408),
        cmocka_unit_test(a_slow_body_gets_408),
        cmocka_unit_test(idle_connections_are_closed_without_a_word),
        cmocka_unit_test(a_request_in_flight_is_not_idle),
        cmocka_unit_test(more_connections_than_allowed_get_503),
        cmocka_unit_test(connections_of_other_servers_count_too),
        cmocka_unit_test(without_a_task_left_the_answer_is_503),
        cmocka_unit_test(without_memory_for_another_body_the_answer_is_503),
        cmocka_unit_test(admit_decides_from_the_head_alone),
        cmocka_unit_test(what_admit_took_is_released_however_the_request_ends),
        cmocka_unit_test(a_request_left_unanswered_gets_500),
        cmocka_unit_test(head_and_204_have_no_body),
        cmocka_unit_test(http_1_0_closes_unless_it_asks_not_to),
        cmocka_unit_test(answers_of_many_pieces_are_complete),
        cmocka_unit_test(an_answer_with_a_very_large_head_is_complete),
        cmocka_unit_test(a_stream_that_is_not_ended_is_cut_visibly),
        cmocka_unit_test(streams_are_chunked_and_the_connection_goes_on),
        cmocka_unit_test(a_stream_to_http_1_0_ends_with_the_connection),
        cmocka_unit_test(a_stream_to_head_has_no_body),
        cmocka_unit_test(a_client_that_goes_cancels_its_call),
        cmocka_unit_test(a_legacy_call_goes_on_without_its_client),
        cmocka_unit_test(a_stream_waits_for_a_slow_reader_and_gives_up),
        cmocka_unit_test(a_large_answer_reaches_a_slow_reader),
        cmocka_unit_test(an_answer_that_nobody_reads_ends_the_connection),
        cmocka_unit_test(a_detached_stream_is_pushed_to_and_closed),
        cmocka_unit_test(a_detached_stream_tells_that_its_client_went),
        cmocka_unit_test(a_detached_stream_whose_client_lags_is_ended),
        cmocka_unit_test(a_client_that_goes_before_the_task_returned_is_told_once),
        cmocka_unit_test(closing_the_server_tells_detached_streams),
        cmocka_unit_test(a_client_that_goes_while_a_task_writes_is_told_when_it_gives_back),
        cmocka_unit_test(a_client_that_takes_nothing_is_cut_when_its_writer_gives_up),
        cmocka_unit_test(a_stream_is_borrowed_again_and_again_until_one_closes_it),
        cmocka_unit_test(a_connection_goes_on_while_the_task_of_a_request_that_left_it_runs),
        cmocka_unit_test(a_connection_that_is_cut_leaves_its_task_running),
        cmocka_unit_test(draining_serves_the_accept_queue_and_closes_idle_ones),
        cmocka_unit_test(draining_lets_answers_under_way_arrive),
        cmocka_unit_test(closing_cancels_what_is_in_flight),
        cmocka_unit_test(tls_requests_are_served_like_plain_ones),
        cmocka_unit_test(a_closing_tls_answer_ends_with_a_goodbye),
        cmocka_unit_test(tls_refusals_reach_the_client),
        cmocka_unit_test(a_handshake_that_stalls_ends_with_the_head_timeout),
        cmocka_unit_test(plain_http_on_a_tls_port_is_closed),
        cmocka_unit_test(a_tls_client_that_goes_cancels_its_call),
        cmocka_unit_test(new_certificates_are_for_new_connections),
        cmocka_unit_test(a_tls_stream_waits_for_a_slow_reader),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
