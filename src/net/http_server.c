/* http_server.c - see http_server.h: connections, from accept to close. Answers are in
 * http_answer.c. */
#include "base/log.h"
#include "base/mem.h"
#include "net/http2.h"
#include "net/metrics.h"
#include "net/websocket_conn.h"
#include <stdio.h>
#include <unistd.h>

enum {
    SMALL = 8 * 1024,               /* a body up to this is copied into the request */
    LARGE = 128 * 1024,             /* one beyond this is seldom there when its head is read */
    LINGER_BYTES = 16 * 1024 * 1024,
    SPARE_REQUESTS = 64,
    REFUSALS = 64,                  /* connections beyond the limit that are being told so, */
    TLS_REFUSALS = 16,              /* the same where each costs a handshake */
};
#define LINGER_TIME (5 * NANOS_SEC)

static size_t on_data(struct conn *c, struct str data);
static void on_end(struct conn *c, err_t e);
static void on_drained(struct conn *c);
static void on_gathered(struct conn *c);
static const struct conn_ops server_ops = { .on_data = on_data,
                                            .on_end = on_end,
                                            .on_drained = on_drained,
                                            .on_gathered = on_gathered };

/* ---- requests -------------------------------------------------------------------- */

static void gone_cancels(struct http_request *r) {
    if (r->task)
        task_cancel(r->task);
}

static void give_spare(struct http_server *s, struct http_request *r) {
    r->user = s->spare;
    s->spare = r;
    s->spares++;
}

/* The request that a head is parsed into; it stays spare until the head is complete. */
static struct http_request *draft(struct http_server *s) {
    if (!s->spare)
        give_spare(s, mem_alloc(sizeof(struct http_request)));
    return s->spare;
}

static struct http_request *take_draft(struct http_server *s) {
    struct http_request *r = s->spare;
    s->spare = r->user;
    s->spares--;
    return r;
}

void http_request_free(struct http_request *r) {
    struct http_server *s = r->conn->server;
    if (r->service->done)
        r->service->done(r);
    if (r->user && r->service->release)
        r->service->release(r);
    arena_done(&r->arena);
    net_block_free(s->worker, r->held);
    if (s->spares == SPARE_REQUESTS)
        free(r);
    else
        give_spare(s, r);
}

static void request_release(struct http_conn *hc) {
    if (hc->request)
        http_request_free(TAKE(hc->request));
}

/* Eight digits at once, of the low halves of the bytes. */
static uint64_t hex_digits(uint64_t n) {
    const uint64_t ones = UINT64_C(0x0101010101010101), low = n & ones * 0x0f;
    const uint64_t letters = (low + ones * 6) >> 4 & ones;
    return low + ones * '0' + letters * ('a' - '9' - 1);
}

static void name_request(struct http_request *r) {
    uint64_t n = worker_random(r->worker), digits[2] = { hex_digits(n), hex_digits(n >> 4) };
    memcpy(r->id_text, digits, sizeof digits);
    r->id = str_from(r->id_text, sizeof digits);
}

static struct str moved(struct str s, const char *from, const char *to) {
    return s.p ? str_from(to + (s.p - from), s.n) : s;
}

/* A head that was parsed where it was read, `from`: its text moves to the arena. */
static void move_head(struct http_request *r, const char *from) {
    struct http_head *h = &r->own;
    const char *to = arena_dup(&r->arena, str_from(from, h->bytes)).p;
    h->method = moved(h->method, from, to);
    h->target = moved(h->target, from, to);
    h->path = moved(h->path, from, to);
    h->query = moved(h->query, from, to);
    for (int i = 0; i < HTTP_HEADER_COUNT; i++)
        h->known[i] = moved(h->known[i], from, to);
    for (unsigned i = 0; i < h->field_count; i++) {
        h->fields[i].name = moved(h->fields[i].name, from, to);
        h->fields[i].value = moved(h->fields[i].value, from, to);
    }
}

/* The arena uses what the head did not need of its fields. */
static void init_arena(struct http_request *r) {
    char *end = (char *)&r->own.fields[HTTP_MAX_FIELDS];
    char *begin = (char *)&r->own.fields[r->own.field_count];
    arena_init(&r->arena, begin, (size_t)(end - begin));
}

/* Of the draft, whose head is complete; `copied` bytes of data are in its text, 0 when the
 * head was parsed where it was read. */
static struct http_request *request_new(struct http_conn *hc, struct str data, size_t copied) {
    struct http_server *s = hc->server;
    struct http_request *r = take_draft(s);
    memset(r, 0, offsetof(struct http_request, text));
    r->conn = hc;
    r->worker = s->worker;
    r->service = s->service;
    r->peer = &hc->peer;
    r->began = s->worker->now;
    r->on_gone = gone_cancels;
    r->secure = hc->conn->tls != NULL;
    r->head = &r->own;
    r->copied = copied;
    r->max_body = s->conf.max_body;
    init_arena(r);
    name_request(r);
    if (!copied)
        move_head(r, data.p);
    hc->used = true;
    return r;
}

/* ---- life of a connection ---------------------------------------------------------- */

static atomic_uint *conns_of(struct http_server *s) {
    return s->conf.conns ? s->conf.conns : &s->own_conns;
}

/* The timer stays set from one wait to the next and only moves when it would be late, so
 * that a request in the usual course does not touch the wheel. */
void http_conn_wait(struct http_conn *hc, nanos duration) {
    struct worker *w = hc->server->worker;
    hc->until = w->now + duration;
    if (!timer_is_set(&hc->timer) || hc->timer.at > hc->until)
        timer_set(w, &hc->timer, hc->until);
}

void http_conn_gone(struct http_conn *hc) {
    struct http_server *s = hc->server;
    timer_unset(s->worker, &hc->timer);
    if (hc->conn)
        conn_close(hc->conn);
    net_buf_done(s->worker, &hc->body);
    *hc->back = hc->next;
    if (hc->next)
        hc->next->back = hc->back;
    s->count--;
    atomic_fetch_sub(conns_of(s), 1);
    NET_ADD(client_conns, -1);
    free(hc);
}

/* Closes without losing an answer that the peer has not read yet: a close with unread
 * input would reset the connection (RFC 9112 §9.6). */
void http_conn_linger(struct http_conn *hc) {
    hc->state = AT_LINGER;
    conn_finish(hc->conn);
    http_conn_wait(hc, conn_queued(hc->conn) ? hc->server->conf.send_timeout : LINGER_TIME);
    if (conn_kept(hc->conn) || hc->conn->paused)
        conn_resume(hc->conn);
}

static void count_broken(int status) {
    char text[8];
    snprintf(text, sizeof text, "%d", status);
    metric_add(METRIC_SERIES(&metric_broken, str_of(text)), 1);
}

static void refuse(struct http_conn *hc, int status, const char *why) {
    http_conn_answer_error(hc, status, why);
    if (!hc->request)
        count_broken(status);
    request_release(hc);
    http_conn_linger(hc);
}

static void await_head(struct http_conn *hc) {
    hc->state = AT_HEAD;
    hc->partial = false;
    hc->conn->little = hc->large;
    http_conn_wait(hc, conn_queued(hc->conn) ? hc->server->conf.send_timeout
                                             : hc->server->conf.idle_timeout);
    if (conn_kept(hc->conn) || hc->conn->paused)
        conn_resume(hc->conn);
}

/* After an answer. */
static void go_on(struct http_conn *hc) {
    if (hc->close_after || hc->server->draining)
        http_conn_linger(hc);
    else
        await_head(hc);
}

void http_request_finish(struct http_request *r) {
    if (r->stream) {
        http2_finish(r);
        return;
    }
    struct http_conn *hc = r->conn;
    hc->server->busy--;
    if (r->left) {
        http_request_free(r);
        return;
    }
    request_release(hc);
    if (hc->conn)
        go_on(hc);
    else
        http_conn_gone(hc);
}

/* What the head came with may be read by the task as long as it runs, so the request keeps it. */
void http_conn_leave(struct http_request *r) {
    struct http_conn *hc = r->conn;
    struct sockaddr_storage *peer = ARENA_NEW(&r->arena, struct sockaddr_storage);
    *peer = hc->peer;
    r->peer = peer;
    r->left = true;
    r->conn = &hc->server->nobody;
    hc->request = NULL;
    go_on(hc);
}

void http_conn_end(struct http_conn *hc) {
    struct http_request *r = hc->request;
    if (hc->http2) {
        conn_close(TAKE(hc->conn));
        http2_end(hc);
        return;
    }
    if (r && r->task) {
        conn_close(TAKE(hc->conn));
        r->gone = true;
        if (!r->detached) /* else its task is about to return, and tells */
            r->on_gone(r);
        return;
    }
    if (r && r->detached) {
        r->on_gone(r);
        hc->server->busy--;
    }
    request_release(hc);
    http_conn_gone(hc);
}

static void on_end(struct conn *c, err_t e) {
    http_conn_end(c->owner);
}

static void on_drained(struct conn *c) {
    struct http_conn *hc = c->owner;
    if (hc->state == AT_HTTP2)
        http2_on_drained(hc);
    else if (hc->state == AT_LINGER)
        http_conn_wait(hc, LINGER_TIME);
    else if (hc->state == AT_HEAD && !hc->partial)
        http_conn_wait(hc, hc->server->conf.idle_timeout);
}

static void on_timer(struct worker *w, struct timer *t) {
    struct http_conn *hc = (struct http_conn *)((char *)t - offsetof(struct http_conn, timer));
    if (hc->state == AT_BUSY) /* the next wait sets it again */
        return;
    if (hc->until > w->now) {
        timer_set(w, t, hc->until);
        return;
    }
    if (hc->state == AT_HTTP2 || hc->state == AT_WEBSOCKET) {
        if (hc->state == AT_HTTP2)
            http2_on_timer(hc);
        else
            websocket_on_timer(hc);
        worker_run_ready(w);
        return;
    }
    bool late = (hc->state == AT_HEAD && hc->partial) || hc->state == AT_BODY;
    if (late && !conn_queued(hc->conn))
        refuse(hc, 408, "the request took too long to arrive");
    else
        http_conn_end(hc);
    worker_run_ready(w);
}

/* ---- serving --------------------------------------------------------------------- */

static void answer_nothing(struct task *t, struct http_request *r) {
    struct str body = S("{\"error\":\"internal\",\"message\":\"the request was not answered\"}");
    http_respond(t, r, &(struct http_answer){ .status = 500, .type = S("application/json"),
                                              .pieces = &body, .piece_count = 1 });
}

/* The task has returned, its stream goes on, unless nobody reads it any more. */
static void leave_stream(struct http_request *r) {
    r->task = NULL;
    if (!r->gone)
        return;
    r->on_gone(r);
    http_request_finish(r);
}

static void run_request(struct task *t, void *arg) {
    struct http_request *r = arg;
    task_set_request(t, r->id);
    r->service->serve(t, r);
    if (!r->answered && !r->gone)
        answer_nothing(t, r);
    task_set_request(t, S("")); /* the id goes with the request */
    if (r->detached) {
        leave_stream(r);
        return;
    }
    if (r->streaming && !r->stream) /* ended in the middle: the client must not take it for whole */
        r->conn->close_after = true;
    http_request_finish(r);
}

bool http_request_dispatch(struct http_request *r) {
    r->task = task_spawn(r->worker, run_request, r);
    r->conn->server->busy += r->task != NULL;
    return r->task != NULL;
}

static void dispatch(struct http_conn *hc) {
    if (http_request_dispatch(hc->request))
        hc->state = AT_BUSY;
    else
        refuse(hc, 503, HTTP_WHY_BUSY);
}

/* ---- bodies ------------------------------------------------------------------------ */

/* The whole body lies in the connection's data: copied when small, if that has not been
 * done with the head, else its memory is taken. */
static void take_whole_body(struct http_conn *hc, struct str body) {
    struct http_request *r = hc->request;
    size_t at = r->head->bytes;
    if (body.n > SMALL) {
        r->held = conn_hold(hc->conn);
        r->body = body;
    } else if (at + body.n <= r->copied) {
        r->body = str_from(r->text + at, body.n);
    } else {
        r->body = arena_dup(&r->arena, body);
    }
    dispatch(hc);
}

/* The body lies in hc->body. */
static void take_joined_body(struct http_conn *hc) {
    struct http_request *r = hc->request;
    struct str body = buf_view(&hc->body);
    if (body.n > SMALL) {
        r->body = body;
        r->held = net_buf_hold(&hc->body);
    } else {
        r->body = arena_dup(&r->arena, body);
        net_buf_done(r->worker, &hc->body);
    }
    dispatch(hc);
}

/* 0, or the status that refuses so many more bytes. */
static int room_for(struct http_conn *hc, size_t more) {
    if (more > hc->request->max_body - hc->body.n)
        return 413;
    return hc->body.n + more > SMALL && !net_may_buffer(hc->server->worker, more) ? 503 : 0;
}

static void refuse_body(struct http_conn *hc, int status) {
    refuse(hc, status, status == 413 ? HTTP_WHY_BODY : HTTP_WHY_MEMORY);
}

static size_t take_chunks(struct http_conn *hc, struct str data) {
    struct str in = data, piece;
    enum http_verdict v = HTTP_MORE;
    while (v == HTTP_MORE && in.n) {
        v = http_chunks_next(&hc->chunks, &in, &piece);
        int status = v == HTTP_BAD ? 400 : room_for(hc, piece.n + hc->chunks.left);
        if (status) {
            if (status == 400)
                refuse(hc, 400, "broken chunk framing");
            else
                refuse_body(hc, status);
            return data.n;
        }
        net_buf_put(hc->server->worker, &hc->body, piece);
    }
    if (v == HTTP_OK)
        take_joined_body(hc);
    return data.n - in.n;
}

/* The beginning is copied, the rest is read to its place. */
static void gather_body(struct http_conn *hc, struct str data, size_t need) {
    net_buf_reserve(hc->server->worker, &hc->body, need);
    buf_str(&hc->body, data);
    conn_gather(hc->conn, &hc->body, need - data.n);
}

static size_t take_body(struct http_conn *hc, struct str data) {
    if (hc->request->head->chunked)
        return take_chunks(hc, data);
    size_t need = (size_t)hc->request->head->content_length;
    hc->large = need > LARGE;
    if (data.n < need) {
        gather_body(hc, data, need);
        return data.n;
    }
    take_whole_body(hc, str_head(data, need));
    return need;
}

static void on_gathered(struct conn *c) {
    take_joined_body(c->owner);
}

/* After the head: what may come now? `data` is what followed it. */
static size_t begin_body(struct http_conn *hc, struct str data) {
    struct http_request *r = hc->request;
    bool chunked = r->head->chunked;
    size_t need = chunked || r->head->content_length < 0 ? 0 : (size_t)r->head->content_length;
    if (need == 0 && !chunked) {
        r->body = S("");
        dispatch(hc);
        return 0;
    }
    int status = room_for(hc, need);
    if (status) {
        refuse_body(hc, status);
        return data.n;
    }
    hc->state = AT_BODY;
    hc->chunks = (struct http_chunks){ 0 };
    http_conn_wait(hc, hc->server->conf.body_timeout);
    if (r->head->expect_continue && data.n == 0) {
        struct str go = S("HTTP/1.1 100 Continue\r\n\r\n");
        conn_send(hc->conn, &go, 1);
    }
    return take_body(hc, data);
}

/* ---- heads ------------------------------------------------------------------------- */

/* A partial head is parsed from its start: only when one more line of it is there. */
static bool worth_parsing(struct http_conn *hc, struct str data) {
    if (!hc->partial)
        return true;
    struct str fresh = str_skip(data, hc->looked);
    hc->looked = data.n;
    return data.n >= hc->server->conf.head.head || memchr(fresh.p, '\n', fresh.n);
}

static void await_rest_of_head(struct http_conn *hc, struct str data) {
    if (!hc->partial)
        http_conn_wait(hc, hc->server->conf.head_timeout);
    hc->partial = true;
    hc->looked = data.n;
}

/* Parses a copy, so that nothing of a head has to be moved afterwards; only one that is
 * larger than the room for the copy is parsed where it was read. */
static enum http_verdict parse_head(struct http_server *s, struct str data, size_t *out_copied,
                                    const char **why) {
    struct http_request *r = draft(s);
    struct str copy = str_head(data, sizeof r->text);
    copy.p = memcpy(r->text, data.p, copy.n);
    *out_copied = copy.n;
    enum http_verdict v = http_parse_request(copy, &s->conf.head, &r->own, why);
    if (v != HTTP_MORE || copy.n == data.n)
        return v;
    *out_copied = 0;
    return http_parse_request(data, &s->conf.head, &r->own, why);
}

static size_t take_head(struct http_conn *hc, struct str data) {
    const char *why = "";
    size_t copied;
    if (!worth_parsing(hc, data))
        return 0;
    if (hc->surplus) {
        refuse(hc, 503, HTTP_WHY_SURPLUS);
        return data.n;
    }
    enum http_verdict v = parse_head(hc->server, data, &copied, &why);
    if (v == HTTP_MORE) {
        await_rest_of_head(hc, data);
        return 0;
    }
    if (v != HTTP_OK) {
        refuse(hc, http_verdict_status(v), why);
        return data.n;
    }
    hc->partial = false;
    struct http_request *r = hc->request = request_new(hc, data, copied);
    size_t used = r->head->bytes;
    if (!r->service->admit(r, &r->max_body))
        return used + begin_body(hc, str_skip(data, used));
    request_release(hc);
    go_on(hc);
    return used;
}

int http_request_parse(struct http_conn *hc, struct str text, struct http_request **out,
                       const char **why) {
    struct http_request *r = draft(hc->server);
    enum http_verdict v = http_parse_request(text, &hc->server->conf.head, &r->own, why);
    if (v == HTTP_OK)
        *out = request_new(hc, text, 0);
    return v == HTTP_OK ? 0 : v == HTTP_MORE ? 400 : http_verdict_status(v);
}

/* The first bytes of a connection tell. A beginning of the preface is no head either: its
 * rest is awaited like one's. */
static bool is_http2(const struct http_conn *hc, struct str data) {
    return !hc->used && hc->server->conf.max_streams && data.n >= 3 && http2_preface(data) >= 0;
}

static size_t take_preface(struct http_conn *hc, struct str data) {
    if (http2_preface(data) == 0) {
        await_rest_of_head(hc, data);
        return 0;
    }
    http2_open(hc);
    return http2_on_data(hc, data);
}

/* Several requests may lie in one read; each refused one makes room for the next. */
static size_t take_heads(struct http_conn *hc, struct str data) {
    size_t used = 0, step = 1;
    if (is_http2(hc, data))
        return take_preface(hc, data);
    while (step && used < data.n && hc->state == AT_HEAD) {
        step = take_head(hc, str_skip(data, used));
        used += step;
    }
    return hc->state == AT_LINGER ? data.n : used;
}

static size_t drop(struct http_conn *hc, struct str data) {
    hc->lingered += data.n;
    if (hc->lingered > LINGER_BYTES)
        http_conn_end(hc);
    return data.n;
}

static size_t on_data(struct conn *c, struct str data) {
    struct http_conn *hc = c->owner;
    size_t used = 0;
    switch (hc->state) {
    case AT_HEAD:
        used = take_heads(hc, data);
        break;
    case AT_BODY:
        used = take_body(hc, data);
        break;
    case AT_BUSY:
        break;
    case AT_HTTP2:
        return http2_on_data(hc, data);
    case AT_WEBSOCKET:
        return websocket_on_data(hc, data);
    case AT_LINGER:
        return drop(hc, data);
    }
    if (data.n - used > hc->server->conf.max_pipelined && hc->state == AT_BUSY)
        conn_pause(c);
    return used;
}

/* ---- the server ------------------------------------------------------------------ */

static struct http_conn *http_conn_new(struct http_server *s, int fd,
                                       const struct sockaddr_storage *peer) {
    struct http_conn *hc = NEW(struct http_conn);
    hc->conn = conn_new(s->worker, fd, s->conf.tls, S(""), false, &server_ops, hc);
    if (!hc->conn) {
        log_error("connection dropped", F("remedy", "raise fs.epoll.max_user_watches"));
        free(hc);
        return NULL;
    }
    hc->server = s;
    hc->peer = *peer;
    hc->timer.fire = on_timer;
    hc->next = s->conns;
    hc->back = &s->conns;
    if (s->conns)
        s->conns->back = &hc->next;
    s->conns = hc;
    s->count++;
    atomic_fetch_add(conns_of(s), 1);
    NET_ADD(client_conns, 1);
    return hc;
}

/* Beyond the limit a few are told so: at once, or with TLS, which costs a handshake each, when
 * they ask for something. The rest is closed. */
static void on_accept(struct worker *w, int fd, const struct sockaddr_storage *peer, void *arg) {
    struct http_server *s = arg;
    unsigned open = atomic_load(conns_of(s)), most = s->conf.max_conns;
    unsigned told = s->conf.tls ? TLS_REFUSALS : REFUSALS;
    if (open >= most && open - most >= told) {
        close(fd);
        return;
    }
    struct http_conn *hc = http_conn_new(s, fd, peer);
    if (!hc)
        return;
    hc->surplus = open >= most;
    if (hc->surplus && !s->conf.tls)
        refuse(hc, 503, HTTP_WHY_SURPLUS);
    else
        http_conn_wait(hc, s->conf.head_timeout);
}

struct http_server *http_server_new(struct worker *w, const struct http_server_conf *conf,
                                    struct http_service *service) {
    struct http_server *s = NEW(struct http_server);
    s->worker = w;
    s->service = service;
    s->nobody.server = s;
    http_server_configure(s, conf);
    return s;
}

void http_server_configure(struct http_server *s, const struct http_server_conf *conf) {
    struct tls_context *before = s->conf.tls;
    s->conf = *conf;
    if (conf->tls)
        tls_context_ref(conf->tls);
    tls_context_unref(before);
}

err_t http_server_listen(struct http_server *s, const struct listen_addr *addr) {
    if (s->listener_count == ARRAY_SIZE(s->listeners))
        return ERR(INVALID, "more than %zu listen addresses", ARRAY_SIZE(s->listeners));
    TRY(listener_new(s->worker, addr, 1024, on_accept, s, &s->listeners[s->listener_count]));
    s->listener_count++;
    return OK;
}

static void close_listeners(struct http_server *s) {
    while (s->listener_count)
        listener_close(s->listeners[--s->listener_count]);
}

static bool idle(const struct http_conn *hc) {
    return hc->state == AT_HEAD && !hc->partial && hc->used;
}

void http_server_drain(struct http_server *s) {
    close_listeners(s);
    s->draining = true;
    for (struct http_conn *hc = s->conns, *next; hc; hc = next) {
        next = hc->next;
        if (hc->state == AT_HTTP2 && hc->conn)
            http2_drain(hc);
        else if (idle(hc) && conn_queued(hc->conn))
            http_conn_linger(hc);
        else if (idle(hc))
            http_conn_gone(hc);
    }
}

size_t http_server_conns(const struct http_server *s) {
    return s->count;
}

size_t http_server_busy(const struct http_server *s) {
    return s->busy;
}

void http_server_close(struct http_server *s) {
    close_listeners(s);
    for (struct http_conn *hc = s->conns, *next; hc; hc = next) {
        next = hc->next;
        struct task *task = hc->request ? hc->request->task : NULL;
        if (hc->http2)
            http2_cancel(hc);
        if (hc->conn)
            http_conn_end(hc);
        if (task)
            task_cancel(task);
    }
}

void http_server_free(struct http_server *s) {
    if (!s)
        return;
    while (s->spare) {
        struct http_request *next = s->spare->user;
        free(s->spare);
        s->spare = next;
    }
    tls_context_unref(s->conf.tls);
    free(s);
}
