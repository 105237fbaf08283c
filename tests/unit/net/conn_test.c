/* conn_test.c - connections: reading, keeping, lending, queueing, ending. */
#include "fixture.h"

#include <sys/socket.h>
#include <unistd.h>

/* ---- a connection whose owner writes down what happens ----------------------------- */

struct tale {
    struct net *net;
    struct conn *conn;
    struct buf got;         /* everything used */
    size_t use;             /* at most so many bytes at once; 0: all */
    size_t want;            /* nothing is used before so many are there */
    size_t gather;          /* what follows the first slice up to so many is gathered */
    size_t calls, ends, drains, gathered, first;
    bool hold, pause, close_in_data, respond;
    struct net_block *held;
    struct str held_bytes;
    int end_kind;
    char end_text[ERR_TEXT];
};

static size_t tale_data(struct conn *c, struct str data) {
    struct tale *t = c->owner;
    t->calls++;
    if (t->close_in_data) {
        conn_close(c);
        conn_close(c); /* a second time does nothing */
        t->conn = NULL;
        return data.n;
    }
    if (t->pause)
        conn_pause(c);
    if (t->calls == 1)
        t->first = data.n;
    if (data.n < t->want)
        return 0;
    size_t n = t->use && t->use < data.n ? t->use : data.n;
    if (t->hold && !t->held) {
        t->held = conn_hold(c);
        t->held_bytes = str_head(data, n);
    }
    buf_put(&t->got, data.p, n);
    if (t->calls == 1 && n < t->gather) {
        buf_reserve(&t->got, t->gather - n);
        conn_gather(c, &t->got, t->gather - n);
    }
    return n;
}

static void tale_end(struct conn *c, err_t e) {
    struct tale *t = c->owner;
    t->ends++;
    t->end_kind = kind_of(e);
    if (e)
        memcpy(t->end_text, e->text, sizeof t->end_text);
}

static void tale_drained(struct conn *c) {
    struct tale *t = c->owner;
    t->drains++;
}

static void tale_gathered(struct conn *c) {
    struct tale *t = c->owner;
    t->gathered++;
}

static const struct conn_ops tale_ops = { tale_data, tale_end, tale_drained, tale_gathered };

static void take_over(struct tale *t, struct net *n, int fd, struct tls_context *tls) {
    t->net = n;
    t->conn = conn_new(n->w, fd, tls, S("localhost"), false, &tale_ops, t);
}

/* The peer at the other end of a connection. */
static void join(struct tale *t, struct net *n, struct peer *p, struct tls_context *tls) {
    struct listen_addr addr;
    int listening = upstream_open(&addr);
    peer_connect(p, n, net_port(&addr));
    struct peer here;
    upstream_accept(&here, n, listening);
    close(listening);
    take_over(t, n, here.fd, tls);
}

static void part(struct tale *t, struct peer *p) {
    if (t->conn)
        conn_close(t->conn);
    net_block_free(t->net->w, t->held);
    buf_done(&t->got);
    peer_close(p);
}

static void send_text(struct tale *t, const char *text) {
    struct str piece = str_of(text);
    assert_null(conn_send(t->conn, &piece, 1));
}

/* Sends until the socket takes no more, so that a queue is there. */
static size_t fill_up(struct tale *t) {
    SCOPED(buf_done) struct buf block = { 0 };
    fill(&block, 64 * 1024, 0);
    size_t sent = 0;
    while (conn_queued(t->conn) == 0 && sent < (64 << 20)) {
        struct str piece = buf_view(&block);
        assert_null(conn_send(t->conn, &piece, 1));
        sent += piece.n;
    }
    assert_true(conn_queued(t->conn) > 0);
    return sent;
}

/* ---- reading ----------------------------------------------------------------------- */

static void what_is_not_used_comes_again_in_front_of_what_follows(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .want = 6 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_say(&p, "abc");
    AWAIT(&n, t.calls == 1);
    assert_int_equal(t.got.n, 0);
    peer_say(&p, "def");
    AWAIT(&n, t.got.n == 6);
    assert_true(buf_is(&t.got, "abcdef"));
    assert_int_equal(t.conn->in.cap, 0);
    part(&t, &p);
    net_close(&n);
}

struct note {
    struct mail mail;
    struct tale *tale;
    bool close;
    size_t calls_before; /* of on_data, when it was delivered */
    bool delivered;
};

static void note_taken(struct worker *w, struct mail *m) {
    struct note *note = (struct note *)m;
    note->delivered = true;
    note->calls_before = note->tale->calls;
    if (note->close) {
        conn_close(note->tale->conn);
        note->tale->conn = NULL;
    }
}

/* The bytes are there first, so their event is: mail comes before them all the same. */
static void mail_that_waits_is_delivered_before_bytes(void **state) {
    for (int close = 0; close < 2; close++) {
        struct net n;
        struct peer p;
        struct tale t = { 0 };
        net_open(&n);
        join(&t, &n, &p, NULL);
        net_settle(&n);
        struct note note = { .mail.deliver = note_taken, .tale = &t, .close = close };
        peer_say(&p, "abc");
        assert_true(worker_post(n.w, &note.mail));
        AWAIT(&n, note.delivered && (close || t.calls == 1));
        assert_int_equal(note.calls_before, 0);
        assert_int_equal(t.calls, close ? 0 : 1);
        part(&t, &p);
        net_close(&n);
    }
}

static void kept_bytes_come_again_at_resume(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .use = 2 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_say(&p, "aabbc");
    AWAIT(&n, t.calls == 1);
    conn_resume(t.conn);
    assert_true(buf_is(&t.got, "aabb"));
    conn_resume(t.conn);
    conn_resume(t.conn);
    assert_true(buf_is(&t.got, "aabbc"));
    assert_int_equal(t.calls, 3);
    part(&t, &p);
    net_close(&n);
}

static void held_memory_survives_what_other_connections_read(void **state) {
    struct net n;
    struct peer p, q;
    struct tale t = { .hold = true }, u = { 0 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    join(&u, &n, &q, NULL);
    peer_say(&p, "mine");
    AWAIT(&n, t.got.n == 4);
    assert_non_null(t.held);
    peer_say(&q, "yours");
    AWAIT(&n, u.got.n == 5);
    assert_true(str_eq(t.held_bytes, S("mine")));
    part(&t, &p);
    part(&u, &q);
    net_close(&n);
}

static void a_large_message_that_was_kept_is_lent_not_copied(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .want = 600000, .hold = true };
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 600003, 3);
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_put(&p, buf_view(&body));
    AWAIT(&n, t.got.n + conn_kept(t.conn) == body.n);
    assert_true(filled(t.held_bytes, t.held_bytes.n, 3));
    assert_true(t.held_bytes.n >= 600000);
    assert_true(net_stats(n.w).buffered >= 600000);
    part(&t, &p);
    net_close(&n);
}

/* A head alone or with a part of its body, then the rest in one piece or many. */
static void gathered_from(size_t with_head, size_t each) {
    struct net n;
    struct peer p;
    struct tale t = { .gather = 300000 };
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, t.gather, 7);
    net_open(&n);
    join(&t, &n, &p, NULL);
    struct str rest = str_skip(buf_view(&body), with_head);
    peer_put(&p, str_head(buf_view(&body), with_head));
    AWAIT(&n, t.calls == 1);
    for (; rest.n; rest = str_skip(rest, each))
        peer_put(&p, str_head(rest, each));
    peer_say(&p, "next");
    AWAIT(&n, t.calls == 2);
    assert_int_equal(t.gathered, 1);
    assert_true(filled(str_head(buf_view(&t.got), body.n), body.n, 7));
    assert_true(str_eq(str_skip(buf_view(&t.got), body.n), S("next")));
    assert_int_equal(t.conn->in.cap, 0);
    part(&t, &p);
    net_close(&n);
}

static void what_is_gathered_goes_to_its_place_and_no_further(void **state) {
    gathered_from(1, SIZE_MAX);
    gathered_from(1, 7001);
    gathered_from(70000, 100000);
    gathered_from(299999, 1);
}

static void the_end_in_the_middle_of_gathering_is_told(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .gather = 1000 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_say(&p, "a beginning");
    AWAIT(&n, t.calls == 1);
    peer_say(&p, " and no end");
    peer_finish(&p);
    AWAIT(&n, t.ends == 1);
    assert_int_equal(t.gathered, 0);
    assert_int_equal(t.calls, 1);
    assert_true(buf_is(&t.got, "a beginning and no end"));
    part(&t, &p);
    net_close(&n);
}

/* So little of a message that will be gathered has to be copied. */
static void a_read_that_is_to_be_little_is(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .gather = 200000 };
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 200000, 1);
    net_open(&n);
    join(&t, &n, &p, NULL);
    t.conn->little = true;
    peer_put(&p, buf_view(&body));
    AWAIT(&n, t.gathered == 1);
    assert_int_equal(t.first, 16 * 1024);
    assert_true(filled(buf_view(&t.got), body.n, 1));
    assert_false(t.conn->little);
    part(&t, &p);
    net_close(&n);
}

static void a_paused_connection_reads_nothing_until_it_is_resumed(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .pause = true };
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_say(&p, "one");
    AWAIT(&n, t.calls == 1);
    peer_say(&p, "two");
    net_settle(&n);
    assert_true(buf_is(&t.got, "one"));
    t.pause = false;
    conn_resume(t.conn);
    AWAIT(&n, t.got.n == 6);
    part(&t, &p);
    net_close(&n);
}

/* The owner pauses again while kept bytes are delivered: that must hold. */
static void pausing_again_during_resume_holds(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .pause = true, .use = 1 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_say(&p, "abc");
    AWAIT(&n, t.calls == 1);
    conn_resume(t.conn);
    peer_say(&p, "def");
    net_settle(&n);
    assert_int_equal(t.calls, 2);
    assert_true(buf_is(&t.got, "ab"));
    part(&t, &p);
    net_close(&n);
}

static void closing_inside_of_on_data_is_fine(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .close_in_data = true };
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_say(&p, "bye");
    peer_await_end(&p);
    assert_int_equal(t.calls, 1);
    assert_int_equal(t.ends, 0);
    part(&t, &p);
    net_close(&n);
}

/* ---- ends -------------------------------------------------------------------------- */

static void the_end_is_told_once_and_without_error(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_say(&p, "last words");
    peer_finish(&p);
    AWAIT(&n, t.ends == 1);
    net_settle(&n);
    assert_int_equal(t.ends, 1);
    assert_int_equal(t.end_kind, KIND_OK);
    assert_true(buf_is(&t.got, "last words"));
    assert_int_equal(kind_of(conn_send(t.conn, &S("x"), 1)), ERR_CLOSED);
    part(&t, &p);
    net_close(&n);
}

static void a_reset_is_told_as_closed_after_what_came_before_it(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    peer_say(&p, "refused, because");
    peer_reset(&p);
    AWAIT(&n, t.ends == 1);
    assert_int_equal(t.end_kind, ERR_CLOSED);
    assert_true(buf_is(&t.got, "refused, because"));
    part(&t, &p);
    net_close(&n);
}

static void a_refused_connect_is_unavailable(void **state) {
    struct net n;
    struct tale t = { .net = &n };
    net_open(&n);
    struct listen_addr addr;
    close(upstream_open(&addr)); /* a port where nobody listens */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(fd, (struct sockaddr *)&addr.addr, addr.len);
    t.conn = conn_new(n.w, fd, NULL, S(""), true, &tale_ops, &t);
    AWAIT(&n, t.ends == 1);
    assert_int_equal(t.end_kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(t.end_text, "refused"));
    conn_close(t.conn);
    net_close(&n);
}

static void what_is_sent_while_connecting_goes_out_when_connected(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .net = &n };
    struct listen_addr addr;
    net_open(&n);
    int listening = upstream_open(&addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(fd, (struct sockaddr *)&addr.addr, addr.len);
    t.conn = conn_new(n.w, fd, NULL, S(""), true, &tale_ops, &t);
    send_text(&t, "early");
    upstream_accept(&p, &n, listening);
    peer_await(&p, "early");
    close(listening);
    part(&t, &p);
    net_close(&n);
}

/* ---- sending ----------------------------------------------------------------------- */

static void a_queue_is_sent_in_order_and_its_end_is_told_once(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    size_t sent = fill_up(&t);
    send_text(&t, "the end");
    AWAIT(&n, (peer_pull(&p), p.in.n == sent + 7));
    AWAIT(&n, t.drains == 1);
    net_settle(&n);
    assert_int_equal(t.drains, 1);
    assert_true(str_ends(buf_view(&p.in), S("the end")));
    for (size_t at = 0; at < sent; at += 64 * 1024)
        assert_true(filled(str_head(str_skip(buf_view(&p.in), at), 64 * 1024), 64 * 1024, 0));
    assert_int_equal(net_stats(n.w).buffered, 0);
    part(&t, &p);
    net_close(&n);
}

static void many_small_and_empty_pieces_arrive_in_order(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    SCOPED(buf_done) struct buf large = { 0 };
    fill(&large, 9000, 1);
    struct str pieces[40];
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
        pieces[i] = i % 3 ? S("ab") : S("");
    pieces[20] = buf_view(&large);
    assert_null(conn_send(t.conn, pieces, ARRAY_SIZE(pieces)));
    size_t total = 9000 + 2 * 25;
    AWAIT(&n, (peer_pull(&p), p.in.n == total));
    assert_true(filled(str_head(str_skip(buf_view(&p.in), 26), 9000), 9000, 1));
    assert_true(str_ends(buf_view(&p.in), S("abab")));
    part(&t, &p);
    net_close(&n);
}

/* A stream whose reader is always a little behind must not grow its queue for ever. */
static void the_memory_of_a_queue_that_never_runs_empty_is_bounded(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    SCOPED(buf_done) struct buf block = { 0 };
    fill(&block, 32 * 1024, 0);
    net_open(&n);
    join(&t, &n, &p, NULL);
    setsockopt(t.conn->fd, SOL_SOCKET, SO_SNDBUF, &(int){ 8192 }, sizeof(int));
    fill_up(&t);
    net_patient(true);
    for (size_t passed = 0; passed < (8 << 20);) {
        assert_true(net_patient(false));
        while (conn_queued(t.conn) < 128 * 1024) {
            struct str piece = buf_view(&block);
            assert_null(conn_send(t.conn, &piece, 1));
            passed += piece.n;
        }
        static char sink[64 * 1024];
        assert_true(conn_queued(t.conn) > 0);
        (void)!recv(p.fd, sink, sizeof sink, 0);
        net_turn(&n);
    }
    assert_true(net_stats(n.w).buffered < 1 << 20);
    part(&t, &p);
    net_close(&n);
}

static void drain_until(struct task *task, void *arg) {
    struct tale *t = arg;
    t->end_kind = kind_of(conn_drain(task, t->conn, 1000));
}

static void draining_waits_for_the_peer(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .end_kind = -5 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    fill_up(&t);
    assert_non_null(task_spawn(n.w, drain_until, &t));
    worker_run_ready(n.w);
    net_settle(&n);
    assert_int_equal(t.end_kind, -5);
    AWAIT(&n, (peer_pull(&p), t.end_kind == KIND_OK));
    part(&t, &p);
    net_close(&n);
}

static void draining_ends_with_the_connection(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .end_kind = -5 };
    net_open(&n);
    join(&t, &n, &p, NULL);
    fill_up(&t);
    assert_non_null(task_spawn(n.w, drain_until, &t));
    worker_run_ready(n.w);
    conn_close(t.conn);
    worker_run_ready(n.w);
    assert_int_equal(t.end_kind, ERR_CLOSED);
    part(&t, &p);
    net_close(&n);
}

/* ---- TLS --------------------------------------------------------------------------- */

static void join_tls(struct tale *t, struct net *n, struct peer *p, SSL_CTX *ctx,
                     struct tls_context *tls) {
    join(t, n, p, tls);
    peer_tls(p, ctx, false, "localhost");
}

static void tls_carries_large_messages_both_ways(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    SSL_CTX *ctx = raw_client();
    struct tls_context *tls = server_context(NULL, false);
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 3 << 20, 5);
    net_open(&n);
    join_tls(&t, &n, &p, ctx, tls);
    peer_put(&p, buf_view(&body));
    AWAIT(&n, t.got.n == body.n);
    assert_true(filled(buf_view(&t.got), body.n, 5));
    struct str piece = buf_view(&body);
    assert_null(conn_send(t.conn, &piece, 1));
    AWAIT(&n, (peer_pull(&p), p.in.n == body.n));
    assert_true(filled(buf_view(&p.in), body.n, 5));
    part(&t, &p);
    net_close(&n);
    tls_context_unref(tls);
    SSL_CTX_free(ctx);
}

/* Records do not end where the gathering does. */
static void tls_is_gathered_too(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .gather = 300000 };
    SSL_CTX *ctx = raw_client();
    struct tls_context *tls = server_context(NULL, false);
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 300007, 5);
    net_open(&n);
    join_tls(&t, &n, &p, ctx, tls);
    peer_put(&p, buf_view(&body));
    AWAIT(&n, t.got.n == body.n);
    assert_int_equal(t.gathered, 1);
    assert_true(filled(buf_view(&t.got), body.n, 5));
    part(&t, &p);
    net_close(&n);
    tls_context_unref(tls);
    SSL_CTX_free(ctx);
}

/* Nothing more comes from the peer: what lies decrypted inside must not be forgotten. */
static void resuming_reads_what_tls_had_decrypted(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .pause = true, .want = 20 * 1024 };
    SSL_CTX *ctx = raw_client();
    struct tls_context *tls = server_context(NULL, false);
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 100 * 1024, 5);
    net_open(&n);
    join_tls(&t, &n, &p, ctx, tls);
    peer_put(&p, buf_view(&body));
    net_settle(&n);
    t.pause = false;
    for (int i = 0; i < 40; i++) { /* each read may pause and be resumed */
        t.pause = i % 2;
        conn_resume(t.conn);
        net_settle(&n);
    }
    t.pause = false;
    conn_resume(t.conn);
    AWAIT(&n, t.got.n + conn_kept(t.conn) == body.n);
    t.want = 0;
    conn_resume(t.conn);
    assert_true(filled(buf_view(&t.got), body.n, 5));
    part(&t, &p);
    net_close(&n);
    tls_context_unref(tls);
    SSL_CTX_free(ctx);
}

static void what_is_sent_before_the_handshake_goes_out_after_it(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    SSL_CTX *ctx = raw_client();
    struct tls_context *tls = server_context(NULL, false);
    net_open(&n);
    join_tls(&t, &n, &p, ctx, tls);
    send_text(&t, "welcome");
    assert_int_equal(conn_queued(t.conn), 7);
    peer_await(&p, "welcome");
    AWAIT(&n, conn_queued(t.conn) == 0);
    assert_int_equal(t.drains, 1);
    part(&t, &p);
    net_close(&n);
    tls_context_unref(tls);
    SSL_CTX_free(ctx);
}

/* A waiter must also be woken when reading, not writing, let the queue go. */
static void draining_ends_when_the_handshake_lets_the_queue_go(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { .end_kind = -5 };
    SSL_CTX *ctx = raw_client();
    struct tls_context *tls = server_context(NULL, false);
    SCOPED(buf_done) struct buf body = { 0 };
    fill(&body, 5000, 5);
    net_open(&n);
    join_tls(&t, &n, &p, ctx, tls);
    struct str piece = buf_view(&body);
    assert_null(conn_send(t.conn, &piece, 1));
    assert_non_null(task_spawn(n.w, drain_until, &t));
    worker_run_ready(n.w);
    AWAIT(&n, (peer_pull(&p), t.end_kind == KIND_OK));
    part(&t, &p);
    net_close(&n);
    tls_context_unref(tls);
    SSL_CTX_free(ctx);
}

static void a_tls_peer_that_goes_leaves_no_busy_loop(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    SSL_CTX *ctx = raw_client();
    struct tls_context *tls = server_context(NULL, false);
    net_open(&n);
    join_tls(&t, &n, &p, ctx, tls);
    peer_say(&p, "hello");
    AWAIT(&n, t.got.n == 5);
    fill_up(&t);
    peer_finish(&p);
    AWAIT(&n, t.ends == 1);
    assert_int_equal(t.end_kind, KIND_OK);
    net_settle(&n);
    assert_false(uv_is_active((uv_handle_t *)t.conn->poll));
    part(&t, &p);
    net_close(&n);
    tls_context_unref(tls);
    SSL_CTX_free(ctx);
}

static void a_tls_stream_cut_without_goodbye_is_an_error(void **state) {
    struct net n;
    struct peer p;
    struct tale t = { 0 };
    SSL_CTX *ctx = raw_client();
    struct tls_context *tls = server_context(NULL, false);
    net_open(&n);
    join_tls(&t, &n, &p, ctx, tls);
    peer_say(&p, "half a mess");
    AWAIT(&n, t.got.n == 11);
    shutdown(p.fd, SHUT_WR);
    AWAIT(&n, t.ends == 1);
    assert_int_equal(t.end_kind, ERR_CLOSED);
    part(&t, &p);
    net_close(&n);
    tls_context_unref(tls);
    SSL_CTX_free(ctx);
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
        cmocka_unit_test(what_is_not_used_comes_again_in_front_of_what_follows),
        cmocka_unit_test(mail_that_waits_is_delivered_before_bytes),
        cmocka_unit_test(kept_bytes_come_again_at_resume),
        cmocka_unit_test(held_memory_survives_what_other_connections_read),
        cmocka_unit_test(a_large_message_that_was_kept_is_lent_not_copied),
        cmocka_unit_test(what_is_gathered_goes_to_its_place_and_no_further),
        cmocka_unit_test(the_end_in_the_middle_of_gathering_is_told),
        cmocka_unit_test(a_read_that_is_to_be_little_is),
        cmocka_unit_test(a_paused_connection_reads_nothing_until_it_is_resumed),
        cmocka_unit_test(pausing_again_during_resume_holds),
        cmocka_unit_test(closing_inside_of_on_data_is_fine),
        cmocka_unit_test(the_end_is_told_once_and_without_error),
        cmocka_unit_test(a_reset_is_told_as_closed_after_what_came_before_it),
        cmocka_unit_test(a_refused_connect_is_unavailable),
        cmocka_unit_test(what_is_sent_while_connecting_goes_out_when_connected),
        cmocka_unit_test(a_queue_is_sent_in_order_and_its_end_is_told_once),
        cmocka_unit_test(many_small_and_empty_pieces_arrive_in_order),
        cmocka_unit_test(the_memory_of_a_queue_that_never_runs_empty_is_bounded),
        cmocka_unit_test(draining_waits_for_the_peer),
        cmocka_unit_test(draining_ends_with_the_connection),
        cmocka_unit_test(tls_carries_large_messages_both_ways),
        cmocka_unit_test(tls_is_gathered_too),
        cmocka_unit_test(resuming_reads_what_tls_had_decrypted),
        cmocka_unit_test(what_is_sent_before_the_handshake_goes_out_after_it),
        cmocka_unit_test(draining_ends_when_the_handshake_lets_the_queue_go),
        cmocka_unit_test(a_tls_peer_that_goes_leaves_no_busy_loop),
        cmocka_unit_test(a_tls_stream_cut_without_goodbye_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
