/* fixture.c - see fixture.h. */
#include "fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the clock --------------------------------------------------------------------- */

/* The linker sends clock_mono here (--wrap), so that the test moves the time. */
nanos __real_clock_mono(void);
nanos __wrap_clock_mono(void);
static nanos ahead;

nanos __wrap_clock_mono(void) {
    return __real_clock_mono() + __atomic_load_n(&ahead, __ATOMIC_RELAXED);
}

bool net_patient(bool start) {
    static nanos began;
    if (start)
        began = __real_clock_mono();
    return __real_clock_mono() - began < 60 * NANOS_SEC;
}

/* ---- the world --------------------------------------------------------------------- */

static void serve_nothing(struct task *t, struct http_request *r) {
    (void)t;
    (void)r;
}

static int admit_all(struct http_request *r, size_t *max_body) {
    (void)r;
    (void)max_body;
    return 0;
}

void net_open(struct net *n) {
    struct workers *all = NULL;
    *n = (struct net){ .service = { .admit = admit_all, .serve = serve_nothing } };
    assert_null(
        workers_start(0, (struct worker_limits){ .tasks = 64 }, (struct worker_hooks){ 0 }, &all));
    n->w = workers_control(all);
    net_start(n->w, BUFFERS);
    n->service.arg = n;
    n->conf = (struct http_server_conf){
        .head = { .head = 16 * 1024, .target = 2048, .fields = 64 },
        .max_body = 4 << 20,
        .max_pipelined = 64 * 1024,
        .max_conns = 100,
        .head_timeout = 10 * NANOS_SEC,
        .body_timeout = 30 * NANOS_SEC,
        .idle_timeout = 60 * NANOS_SEC,
        .send_timeout = 20 * NANOS_SEC,
    };
}

uint16_t net_port(const struct listen_addr *addr) {
    return ntohs(((const struct sockaddr_in *)&addr->addr)->sin_port);
}

void net_listen(struct net *n) {
    n->server = http_server_new(n->w, &n->conf, &n->service);
    assert_null(listen_parse(S("127.0.0.1:0"), &n->addr));
    assert_null(listen_probe(&n->addr));
    assert_null(http_server_listen(n->server, &n->addr));
}

void net_turn(struct net *n) {
    struct pollfd loop = { uv_backend_fd(&n->w->loop), POLLIN, 0 };
    poll(&loop, 1, 1);
    uv_run(&n->w->loop, UV_RUN_NOWAIT);
}

void net_settle(struct net *n) {
    net_patient(true);
    struct pollfd loop = { uv_backend_fd(&n->w->loop), POLLIN, 0 };
    for (int quiet = 0; quiet < 3; quiet++) {
        while (poll(&loop, 1, 2) > 0 && net_patient(false))
            uv_run(&n->w->loop, UV_RUN_NOWAIT);
        uv_run(&n->w->loop, UV_RUN_NOWAIT);
    }
}

void net_pass(struct net *n, nanos duration) {
    net_settle(n);
    ahead += duration;
    timers_advance(&n->w->timers, clock_mono());
    worker_run_ready(n->w);
    net_settle(n);
}

void net_close(struct net *n) {
    if (n->server)
        http_server_close(n->server);
    AWAIT(n, task_stats(n->w).running == 0);
    struct net_stats stats = net_stats(n->w);
    assert_int_equal(stats.conns, 0);
    assert_int_equal(stats.buffered, 0);
    assert_int_equal(n->w->timers.count, 0);
    net_stop(n->w);
    struct workers *all = n->w->all;
    workers_stop(all);
    workers_run(all);
    workers_free(all);
    http_server_free(n->server);
}

struct ran {
    task_fn *fn;
    void *arg;
    bool done;
};

static void run_it(struct task *t, void *arg) {
    struct ran *r = arg;
    r->fn(t, r->arg);
    r->done = true;
}

void net_run(struct net *n, task_fn *fn, void *arg) {
    struct ran r = { fn, arg, false };
    assert_non_null(task_spawn(n->w, run_it, &r));
    worker_run_ready(n->w);
    AWAIT(n, r.done);
}

/* ---- peers ------------------------------------------------------------------------- */

static void unblock(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

void peer_connect(struct peer *p, struct net *n, uint16_t port) {
    *p = (struct peer){ .net = n, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(p->fd, (struct sockaddr *)&to, sizeof to), 0);
    unblock(p->fd);
}

void peer_tls(struct peer *p, SSL_CTX *ctx, bool server, const char *name) {
    p->ssl = SSL_new(ctx);
    SSL_set_fd(p->ssl, p->fd);
    SSL_set_mode(p->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (name)
        SSL_set_tlsext_host_name(p->ssl, name);
    if (server)
        SSL_set_accept_state(p->ssl);
    else
        SSL_set_connect_state(p->ssl);
}

int upstream_open(struct listen_addr *addr) {
    assert_null(listen_parse(S("127.0.0.1:0"), addr));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr->addr, addr->len), 0);
    assert_int_equal(listen(fd, 64), 0);
    getsockname(fd, (struct sockaddr *)&addr->addr, &(socklen_t){ sizeof addr->addr });
    unblock(fd);
    return fd;
}

static int try_accept(int listen_fd) {
    return accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

void upstream_accept(struct peer *p, struct net *n, int listen_fd) {
    *p = (struct peer){ .net = n, .fd = -1 };
    AWAIT(n, (p->fd = try_accept(listen_fd)) >= 0);
    unblock(p->fd);
}

static ssize_t put_some(struct peer *p, const char *bytes, size_t n) {
    if (!p->ssl) {
        ssize_t sent = send(p->fd, bytes, n, MSG_NOSIGNAL);
        return sent < 0 && errno == EAGAIN ? 0 : sent;
    }
    int sent = SSL_write(p->ssl, bytes, (int)n);
    int why = sent > 0 ? SSL_ERROR_NONE : SSL_get_error(p->ssl, sent);
    return sent > 0 ? sent : why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

void peer_put(struct peer *p, struct str bytes) {
    net_patient(true);
    while (bytes.n) {
        assert_true(net_patient(false));
        ssize_t sent = put_some(p, bytes.p, bytes.n);
        if (sent < 0) {
            p->reset = true;
            return;
        }
        bytes = str_skip(bytes, (size_t)sent);
        if (sent == 0)
            net_turn(p->net);
    }
}

void peer_say(struct peer *p, const char *text) {
    peer_put(p, str_of(text));
}

static ssize_t pull_some(struct peer *p, char *into, size_t n) {
    if (!p->ssl) {
        ssize_t got = recv(p->fd, into, n, 0);
        p->reset |= got < 0 && errno != EAGAIN;
        p->eof |= got == 0;
        return got;
    }
    int got = SSL_read(p->ssl, into, (int)n);
    int why = got > 0 ? SSL_ERROR_NONE : SSL_get_error(p->ssl, got);
    p->eof |= why == SSL_ERROR_ZERO_RETURN;
    p->reset |= why == SSL_ERROR_SSL || why == SSL_ERROR_SYSCALL;
    return got;
}

void peer_pull(struct peer *p) {
    static char into[64 * 1024];
    while (!p->eof && !p->reset) {
        ssize_t got = pull_some(p, into, sizeof into);
        if (got <= 0)
            return;
        buf_put(&p->in, into, (size_t)got);
    }
}

static bool pulled(struct peer *p) {
    peer_pull(p);
    return true;
}

bool peer_has(const struct peer *p, const char *text) {
    return str_find(buf_view(&p->in), str_of(text)) >= 0;
}

void peer_await(struct peer *p, const char *text) {
    AWAIT(p->net, pulled(p) && peer_has(p, text));
}

void peer_await_end(struct peer *p) {
    AWAIT(p->net, pulled(p) && (p->eof || p->reset));
}

static bool take_chunked(struct peer *p, size_t from) {
    struct http_chunks chunks = { 0 };
    struct str in = str_skip(buf_view(&p->in), from), piece;
    buf_clear(&p->body);
    enum http_verdict v = HTTP_MORE;
    while (v == HTTP_MORE && in.n) {
        v = http_chunks_next(&chunks, &in, &piece);
        buf_str(&p->body, piece);
    }
    assert_int_not_equal(v, HTTP_BAD);
    if (v == HTTP_OK)
        buf_consume(&p->in, p->in.n - in.n);
    return v == HTTP_OK;
}

static bool take_message(struct peer *p, int *status) {
    peer_pull(p);
    if (!p->in.n)
        return false;
    static struct http_head head;
    const struct http_limits limits = { 64 * 1024, 8192, HTTP_MAX_FIELDS };
    struct str text = buf_view(&p->in);
    bool answer = str_starts(text, S("HTTP/"));
    enum http_verdict v = answer ? http_parse_response(text, &limits, false, &head, NULL)
                                 : http_parse_request(text, &limits, &head, NULL);
    if (v != HTTP_OK)
        return false;
    *status = answer ? head.status : 0;
    buf_clear(&p->head);
    buf_put(&p->head, text.p, head.bytes);
    if (head.chunked)
        return take_chunked(p, head.bytes);
    size_t length = head.content_length > 0 ? (size_t)head.content_length : 0;
    if (text.n < head.bytes + length)
        return false;
    buf_clear(&p->body);
    buf_put(&p->body, text.p + head.bytes, length);
    buf_consume(&p->in, head.bytes + length);
    return true;
}

int peer_message(struct peer *p) {
    int status = -1;
    AWAIT(p->net, take_message(p, &status));
    return status;
}

bool peer_head_has(const struct peer *p, const char *text) {
    return str_find(buf_view(&p->head), str_of(text)) >= 0;
}

void peer_finish(struct peer *p) {
    if (p->ssl)
        SSL_shutdown(p->ssl);
    shutdown(p->fd, SHUT_WR);
}

static void peer_done(struct peer *p) {
    SSL_free(p->ssl);
    buf_done(&p->in);
    buf_done(&p->body);
    buf_done(&p->head);
    if (p->fd >= 0)
        close(p->fd);
    *p = (struct peer){ .fd = -1 };
}

void peer_reset(struct peer *p) {
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
    peer_done(p);
}

void peer_close(struct peer *p) {
    peer_done(p);
}

/* ---- bytes ------------------------------------------------------------------------- */

static char byte_at(size_t i, unsigned seed) {
    return (char)('!' + (i * 31 + i / 256 * 7 + i / 65536 * 13 + seed) % 90);
}

void fill(struct buf *b, size_t n, unsigned seed) {
    buf_reserve(b, n);
    for (size_t i = 0; i < n; i++)
        buf_char(b, byte_at(i, seed));
}

bool filled(struct str s, size_t n, unsigned seed) {
    if (s.n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (s.p[i] != byte_at(i, seed))
            return false;
    return true;
}

/* ---- calls ------------------------------------------------------------------------- */

static err_t read_pieces(struct task *t, struct http_reply *r, struct call *c) {
    for (struct str piece;;) {
        TRY(http_reply_next(t, r, &piece));
        if (!piece.n)
            return OK;
        buf_str(&c->body, piece);
    }
}

static err_t read_whole(struct task *t, struct http_reply *r, struct call *c) {
    struct str body;
    TRY(http_reply_body(t, r, c->limit ? c->limit : 8 << 20, &body));
    buf_str(&c->body, body);
    return OK;
}

static err_t make_call(struct task *t, struct call *c) {
    SCOPED(deadline_scope)
    struct deadline d = deadline_push(t, c->timeout ? c->timeout : 3600 * NANOS_SEC);
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    struct str request = str_of(c->request);
    TRY(http_call(t, c->pool, &request, 1, c->flags, &r));
    c->status = r.status;
    c->headed = true;
    if (c->hold)
        TRY(event_wait(t, &c->go_on));
    return c->stream ? read_pieces(t, &r, c) : read_whole(t, &r, c);
}

static void call_task(struct task *t, void *arg) {
    struct call *c = arg;
    err_t e = make_call(t, c);
    c->kind = kind_of(e);
    if (e)
        c->error = *e;
    c->done = true;
}

void call_start(struct call *c, struct net *n, struct http_pool *pool, const char *request) {
    c->net = n;
    c->pool = pool;
    c->request = request;
    c->task = task_spawn(n->w, call_task, c);
    assert_non_null(c->task);
    worker_run_ready(n->w);
}

void call_release(struct call *c) {
    event_set(&c->go_on);
    worker_run_ready(c->net->w);
}

void call_finish(struct call *c) {
    AWAIT(c->net, c->done);
}

void call_free(struct call *c) {
    buf_done(&c->body);
}
