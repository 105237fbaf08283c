/* http_server.c - see http_server.h. */
#include "net/http_server.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    SMALL = 8 * 1024,          /* a body up to this is copied into the request */
    LAG = 256 * 1024,          /* a stream's unsent bytes before the writer waits */
    REST = 64 * 1024,          /* a whole answer's unsent bytes that may outlive its task */
    LINGER_BYTES = 1024 * 1024,
    HEAD_ROOM = 1536,          /* status line and headers of a common answer */
    SPARE_REQUESTS = 64,
};
#define LINGER_TIME (2 * NANOS_SEC)

enum conn_state {
    AT_HEAD,   /* waiting for a head; `partial` when some of it is there */
    AT_BODY,   /* head admitted, body incomplete */
    AT_BUSY,   /* a request is in flight */
    AT_LINGER, /* answered and closing: what still comes is dropped */
};

struct http_conn {
    struct http_conn *next, **back;
    struct http_server *server;
    struct conn *conn; /* NULL once the peer is gone */
    struct http_request *request;
    struct timer timer;
    enum conn_state state;
    bool partial, close_after;
    unsigned requests;
    size_t lingered;
    struct http_chunks chunks;
    struct buf body; /* decoded chunks */
    struct sockaddr_storage peer;
};

struct http_server {
    struct worker *worker;
    struct http_server_conf conf;
    struct http_service *service;
    struct listener *listeners[8];
    size_t listener_count;
    struct http_conn *conns;
    size_t count, busy;
    bool draining;
    struct http_request *spare;
    size_t spares;
    nanos date_at;
    char date[48]; /* "date: Sat, 21 Nov 2026 02:00:00 GMT\r\n" */
    struct http_head scratch;
};

static size_t on_data(struct conn *c, struct str data);
static void on_end(struct conn *c, err_t e);
static const struct conn_ops server_ops = { .on_data = on_data, .on_end = on_end };

/* ---- requests -------------------------------------------------------------------- */

static void gone_cancels(struct http_request *r) {
    if (r->task)
        task_cancel(r->task);
}

static struct http_request *request_alloc(struct http_server *s) {
    struct http_request *r = s->spare;
    if (!r)
        return mem_alloc(sizeof *r);
    s->spare = (struct http_request *)r->user;
    s->spares--;
    return r;
}

static void request_release(struct http_request *r) {
    struct http_server *s = r->conn->server;
    if (r->user && r->service->release)
        r->service->release(r);
    arena_done(&r->arena);
    net_block_free(s->worker, r->held);
    if (s->spares == SPARE_REQUESTS) {
        free(r);
        return;
    }
    r->user = s->spare;
    s->spare = r;
    s->spares++;
}

static void name_request(struct http_request *r) {
    static const char digits[] = "0123456789abcdef";
    uint64_t n = worker_random(r->worker);
    for (int i = 0; i < 16; i++, n >>= 4)
        r->id_text[i] = digits[n & 15];
    r->id = str_from(r->id_text, 16);
}

static struct str moved(struct str s, const char *from, const char *to) {
    return s.p ? str_from(to + (s.p - from), s.n) : s;
}

/* The head with its text, moved from the read buffer into the request's arena. */
static struct http_head *keep_head(struct http_request *r, const struct http_head *h, const char *from) {
    size_t size = offsetof(struct http_head, fields) + h->field_count * sizeof h->fields[0];
    struct http_head *own = arena_alloc(&r->arena, size);
    const char *to = arena_dup(&r->arena, str_from(from, h->bytes)).p;
    memcpy(own, h, size);
    own->method = moved(h->method, from, to);
    own->target = moved(h->target, from, to);
    own->path = moved(h->path, from, to);
    own->query = moved(h->query, from, to);
    for (int i = 0; i < HTTP_HEADER_COUNT; i++)
        own->known[i] = moved(h->known[i], from, to);
    for (unsigned i = 0; i < h->field_count; i++) {
        own->fields[i].name = moved(h->fields[i].name, from, to);
        own->fields[i].value = moved(h->fields[i].value, from, to);
    }
    return own;
}

static struct http_request *request_new(struct http_conn *hc, const struct http_head *h, const char *from) {
    struct http_server *s = hc->server;
    struct http_request *r = request_alloc(s);
    memset(r, 0, offsetof(struct http_request, storage));
    r->conn = hc;
    r->worker = s->worker;
    r->service = s->service;
    r->peer = &hc->peer;
    r->began = s->worker->now;
    r->on_gone = gone_cancels;
    r->secure = s->conf.tls != NULL;
    arena_init(&r->arena, r->storage, sizeof r->storage);
    name_request(r);
    r->head = keep_head(r, h, from);
    hc->request = r;
    return r;
}

/* ---- life of a connection ---------------------------------------------------------- */

static void on_timer(struct worker *w, struct timer *t);

static void wait_at_most(struct http_conn *hc, nanos duration) {
    struct worker *w = hc->server->worker;
    timer_set(w, &hc->timer, w->now + duration);
}

static void conn_gone(struct http_conn *hc) {
    struct http_server *s = hc->server;
    timer_unset(s->worker, &hc->timer);
    if (hc->conn)
        conn_close(hc->conn);
    buf_done(&hc->body);
    *hc->back = hc->next;
    if (hc->next)
        hc->next->back = hc->back;
    s->count--;
    free(hc);
}

/* Closes without losing an answer that the peer has not read yet: a close with unread
 * input would reset the connection (RFC 9112 §9.6). */
static void linger(struct http_conn *hc) {
    hc->state = AT_LINGER;
    if (!hc->conn->tls && conn_queued(hc->conn) == 0)
        shutdown(hc->conn->fd, SHUT_WR);
    wait_at_most(hc, conn_queued(hc->conn) ? hc->server->conf.send_timeout : LINGER_TIME);
    if (hc->conn->in.n)
        conn_resume(hc->conn);
}

static void next_request(struct http_conn *hc) {
    hc->state = AT_HEAD;
    hc->partial = false;
    nanos idle = conn_queued(hc->conn) ? hc->server->conf.send_timeout : hc->server->conf.idle_timeout;
    wait_at_most(hc, idle);
    if (hc->conn->in.n || hc->conn->paused)
        conn_resume(hc->conn);
}

static void finish(struct http_request *r) {
    struct http_conn *hc = r->conn;
    hc->request = NULL;
    hc->server->busy--;
    request_release(r);
    if (!hc->conn)
        conn_gone(hc);
    else if (hc->close_after || hc->server->draining)
        linger(hc);
    else
        next_request(hc);
}

/* A connection on which no task works: whatever was begun is dropped. */
static void abandon(struct http_conn *hc) {
    if (hc->request)
        request_release(hc->request);
    hc->request = NULL;
    conn_gone(hc);
}

static void on_end(struct conn *c, err_t e) {
    struct http_conn *hc = c->owner;
    struct http_request *r = hc->request;
    if (r && r->detached && !r->task) {
        r->on_gone(r);
        hc->server->busy--;
    }
    if (!r || !r->task) {
        abandon(hc);
        return;
    }
    timer_unset(hc->server->worker, &hc->timer);
    conn_close(c);
    hc->conn = NULL;
    r->gone = true;
    if (!r->detached) /* else its task is about to return, and tells */
        r->on_gone(r);
}

static void refuse(struct http_conn *hc, int status, const char *why);

static void on_timer(struct worker *w, struct timer *t) {
    struct http_conn *hc = (struct http_conn *)((char *)t - offsetof(struct http_conn, timer));
    bool late = (hc->state == AT_HEAD && hc->partial) || hc->state == AT_BODY;
    if (late && !conn_queued(hc->conn))
        refuse(hc, 408, "the request took too long to arrive");
    else
        abandon(hc);
    worker_run_ready(w);
}

/* ---- answers --------------------------------------------------------------------- */

const char *http_status_text(int status) {
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
    }
}

static struct str date_line(struct http_server *s) {
    nanos now = s->worker->now;
    if (s->date_at == 0 || now - s->date_at >= NANOS_SEC / 2) {
        time_t wall = clock_wall() / NANOS_SEC;
        struct tm tm;
        gmtime_r(&wall, &tm);
        strftime(s->date, sizeof s->date, "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        s->date_at = now;
    }
    return str_of(s->date);
}

struct head_writer {
    char *p;
    size_t n, cap;
};

static void add(struct head_writer *w, struct str s) {
    memcpy(w->p + w->n, s.p, s.n);
    w->n += s.n;
}

static void add_number(struct head_writer *w, uint64_t n) {
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    add(w, str_from(digits + at, sizeof digits - at));
}

static size_t head_size(const struct http_answer *a) {
    size_t n = 256 + a->type.n;
    for (size_t i = 0; i < a->field_count; i++)
        n += a->fields[i].name.n + a->fields[i].value.n + 4;
    return n;
}

/* `length` < 0: of unknown length. The room is at least head_size(a). */
static struct str write_head(struct http_request *r, const struct http_answer *a, int64_t length,
                             char *room, size_t size) {
    struct http_conn *hc = r->conn;
    struct head_writer w = { .p = room, .cap = size };
    if (a->status == 200) {
        add(&w, S("HTTP/1.1 200 OK\r\n"));
    } else {
        add(&w, S("HTTP/1.1 "));
        add_number(&w, (uint64_t)a->status);
        add(&w, S(" "));
        add(&w, str_of(http_status_text(a->status)));
        add(&w, S("\r\n"));
    }
    add(&w, date_line(hc->server));
    if (a->type.n) {
        add(&w, S("content-type: "));
        add(&w, a->type);
        add(&w, S("\r\n"));
    }
    if (length >= 0 && a->status != 204 && a->status != 304) {
        add(&w, S("content-length: "));
        add_number(&w, (uint64_t)length);
        add(&w, S("\r\n"));
    } else if (length < 0 && r->head->minor_1) {
        add(&w, S("transfer-encoding: chunked\r\n"));
    }
    for (size_t i = 0; i < a->field_count; i++) {
        add(&w, a->fields[i].name);
        add(&w, S(": "));
        add(&w, a->fields[i].value);
        add(&w, S("\r\n"));
    }
    if (hc->close_after)
        add(&w, S("connection: close\r\n"));
    else if (!r->head->minor_1)
        add(&w, S("connection: keep-alive\r\n"));
    add(&w, S("\r\n"));
    return str_from(w.p, w.n);
}

static void decide_close(struct http_request *r, bool wanted) {
    struct http_conn *hc = r->conn;
    hc->close_after |= wanted || !r->head->keep_alive || hc->server->draining;
}

static err_t send_whole(struct http_request *r, const struct http_answer *a) {
    int64_t length = 0;
    for (size_t i = 0; i < a->piece_count; i++)
        length += (int64_t)a->pieces[i].n;
    char room[HEAD_ROOM];
    size_t size = head_size(a);
    char *head = size <= sizeof room ? room : arena_alloc(&r->arena, size);
    struct str pieces[12] = { write_head(r, a, length, head, size) };
    bool bodyless = str_eq(r->head->method, S("HEAD")) || a->status == 204 || a->status == 304;
    size_t n = 1;
    for (size_t i = 0; !bodyless && i < a->piece_count && n < ARRAY_SIZE(pieces); i++)
        pieces[n++] = a->pieces[i];
    r->answered = true;
    r->status = a->status;
    r->sent = pieces[0].n + (bodyless ? 0 : (size_t)length);
    return conn_send(r->conn->conn, pieces, n);
}

err_t http_respond(struct task *t, struct http_request *r, const struct http_answer *a) {
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    decide_close(r, a->close);
    TRY(send_whole(r, a));
    if (conn_queued(r->conn->conn) <= REST)
        return OK;
    SCOPED(shield_scope) struct shield shield = task_shield(t, r->conn->server->conf.send_timeout);
    return conn_drain(t, r->conn->conn, REST);
}

int http_refuse(struct http_request *r, const struct http_answer *a) {
    bool body_follows = r->head->content_length > 0 || r->head->chunked;
    decide_close(r, a->close || body_follows);
    send_whole(r, a);
    return a->status;
}

/* Broken or late requests, which have no head that could be trusted. */
static void refuse(struct http_conn *hc, int status, const char *why) {
    char text[512];
    int body = snprintf(NULL, 0, "{\"error\":\"bad_request\",\"message\":\"%s\"}", why);
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %d %s\r\n%scontent-type: application/json\r\ncontent-length: %d\r\n"
                     "%sconnection: close\r\n\r\n{\"error\":\"bad_request\",\"message\":\"%s\"}",
                     status, http_status_text(status), date_line(hc->server).p, body,
                     status == 503 ? "retry-after: 1\r\n" : "", why);
    log_debug("request refused", F("status", status), F("why", why));
    if (hc->request)
        request_release(hc->request);
    hc->request = NULL;
    hc->close_after = true;
    struct str piece = str_from(text, (size_t)n);
    conn_send(hc->conn, &piece, 1);
    linger(hc);
}

err_t http_stream_begin(struct task *t, struct http_request *r, const struct http_answer *a) {
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    decide_close(r, a->close || !r->head->minor_1);
    size_t size = head_size(a);
    struct str head = write_head(r, a, -1, arena_alloc(&r->arena, size), size);
    r->answered = r->streaming = true;
    r->status = a->status;
    r->sent = head.n;
    return conn_send(r->conn->conn, &head, 1);
}

/* One chunk (RFC 9112 §7.1). */
static err_t send_chunk(struct http_request *r, const struct str *pieces, size_t n) {
    char line[24];
    struct str all[14];
    size_t total = 0, used = 1;
    for (size_t i = 0; i < n && used < ARRAY_SIZE(all) - 1; i++) {
        total += pieces[i].n;
        all[used++] = pieces[i];
    }
    if (total == 0)
        return OK;
    bool chunked = r->head->minor_1;
    all[0] = str_from(line, chunked ? (size_t)snprintf(line, sizeof line, "%zx\r\n", total) : 0);
    if (chunked)
        all[used++] = S("\r\n");
    r->sent += total;
    return conn_send(r->conn->conn, all, used);
}

err_t http_stream_write(struct task *t, struct http_request *r, const struct str *pieces, size_t n) {
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    TRY(send_chunk(r, pieces, n));
    if (conn_queued(r->conn->conn) <= LAG)
        return OK;
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, r->conn->server->conf.send_timeout);
    return conn_drain(t, r->conn->conn, LAG / 2);
}

err_t http_stream_end(struct task *t, struct http_request *r) {
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    r->streaming = false;
    struct str last = S("0\r\n\r\n");
    return r->head->minor_1 ? conn_send(r->conn->conn, &last, 1) : OK;
}

void http_stream_detach(struct http_request *r, void (*on_gone)(struct http_request *r)) {
    r->detached = true;
    r->on_gone = on_gone;
}

bool http_stream_push(struct http_request *r, const struct str *pieces, size_t n) {
    struct http_conn *hc = r->conn;
    if (r->gone)
        return !r->task; /* its task is about to return and tells */
    if (send_chunk(r, pieces, n) == OK && conn_queued(hc->conn) <= LAG)
        return true;
    on_end(hc->conn, OK);
    return false;
}

void http_stream_close(struct http_request *r) {
    if (!r->gone) {
        struct str last = S("0\r\n\r\n");
        r->streaming = false;
        if (r->head->minor_1)
            conn_send(r->conn->conn, &last, 1);
    }
    r->detached = false;
    if (!r->task)
        finish(r);
}

/* ---- serving --------------------------------------------------------------------- */

static void run_request(struct task *t, void *arg) {
    struct http_request *r = arg;
    r->task = t;
    task_set_request(t, r->id);
    if (r->gone)
        task_cancel(t);
    r->service->serve(t, r);
    if (!r->answered && !r->gone) {
        struct str body = S("{\"error\":\"internal\",\"message\":\"the request was not answered\"}");
        http_respond(t, r, &(struct http_answer){ .status = 500, .type = S("application/json"),
                                                  .pieces = &body, .piece_count = 1 });
    }
    if (r->detached) {
        r->task = NULL;
        if (r->gone) {
            r->on_gone(r);
            finish(r);
        }
        return;
    }
    if (r->streaming) /* ended in the middle: the client must not take it for whole */
        r->conn->close_after = true;
    finish(r);
}

static void dispatch(struct http_conn *hc) {
    struct http_request *r = hc->request;
    hc->state = AT_BUSY;
    hc->requests++;
    timer_unset(hc->server->worker, &hc->timer);
    r->task = task_spawn(hc->server->worker, run_request, r);
    if (!r->task) {
        refuse(hc, 503, "too many requests in flight");
        return;
    }
    hc->server->busy++;
}

/* The whole body lies at the front of data: copied when small, else its memory is taken. */
static void body_complete(struct http_conn *hc, struct str body) {
    struct http_request *r = hc->request;
    if (body.n <= SMALL) {
        r->body = arena_dup(&r->arena, body);
    } else {
        r->held = conn_hold(hc->conn);
        r->body = body;
    }
    dispatch(hc);
}

static size_t take_chunks(struct http_conn *hc, struct str data) {
    struct str in = data, piece;
    enum http_verdict v = HTTP_MORE;
    size_t max = (size_t)hc->request->user_bits[1];
    while (v == HTTP_MORE && in.n) {
        v = http_chunks_next(&hc->chunks, &in, &piece);
        if (hc->body.n + piece.n > max) {
            refuse(hc, 413, "the body is larger than the limit");
            return data.n;
        }
        buf_put(&hc->body, piece.p, piece.n);
        if (v == HTTP_BAD) {
            refuse(hc, 400, "broken chunk framing");
            return data.n;
        }
    }
    if (v == HTTP_OK) {
        hc->request->body = arena_dup(&hc->request->arena, buf_view(&hc->body));
        buf_done(&hc->body);
        dispatch(hc);
    }
    return data.n - in.n;
}

static size_t take_body(struct http_conn *hc, struct str data) {
    if (hc->request->head->chunked)
        return take_chunks(hc, data);
    size_t need = (size_t)hc->request->head->content_length;
    if (data.n < need) {
        hc->conn->expect = need + 1;
        return 0;
    }
    body_complete(hc, str_head(data, need));
    return need;
}

/* After the head: what may come now? `data` is what followed it. */
static size_t begin_body(struct http_conn *hc, struct str data, size_t max_body) {
    struct http_request *r = hc->request;
    int64_t need = r->head->chunked ? 0 : r->head->content_length;
    if (need > (int64_t)max_body) {
        refuse(hc, 413, "the body is larger than the limit");
        return data.n;
    }
    if (need > SMALL && !net_may_buffer(r->worker, (size_t)need)) {
        refuse(hc, 503, "no memory for another large body now");
        return data.n;
    }
    if (need <= 0 && !r->head->chunked) {
        r->body = S("");
        dispatch(hc);
        return 0;
    }
    hc->state = AT_BODY;
    hc->chunks = (struct http_chunks){ 0 };
    r->user_bits[1] = max_body;
    wait_at_most(hc, hc->server->conf.body_timeout);
    if (r->head->expect_continue && data.n == 0) {
        struct str go_on = S("HTTP/1.1 100 Continue\r\n\r\n");
        conn_send(hc->conn, &go_on, 1);
    }
    return take_body(hc, data);
}

static size_t take_head(struct http_conn *hc, struct str data) {
    struct http_server *s = hc->server;
    const char *why = "";
    enum http_verdict v = http_parse_request(data, &s->conf.head, &s->scratch, &why);
    if (v == HTTP_MORE) {
        if (!hc->partial)
            wait_at_most(hc, s->conf.head_timeout);
        hc->partial = true;
        return 0;
    }
    if (v != HTTP_OK) {
        refuse(hc, http_verdict_status(v), why);
        return data.n;
    }
    struct http_request *r = request_new(hc, &s->scratch, data.p);
    size_t used = r->head->bytes, max_body = s->conf.max_body;
    if (s->service->admit(r, &max_body)) {
        request_release(r);
        hc->request = NULL;
        if (hc->close_after)
            linger(hc);
        else
            next_request(hc);
        return used;
    }
    return used + begin_body(hc, str_skip(data, used), max_body);
}

static size_t on_data(struct conn *c, struct str data) {
    struct http_conn *hc = c->owner;
    switch (hc->state) {
    case AT_HEAD: {
        size_t used = 0, step = 1;
        /* several requests may lie in one read; each refused one makes room for the next */
        while (step && used < data.n && hc->state == AT_HEAD && hc->conn == c && !c->closed) {
            step = take_head(hc, str_skip(data, used));
            used += step;
        }
        return used;
    }
    case AT_BODY:
        return take_body(hc, data);
    case AT_BUSY:
        if (data.n > hc->server->conf.max_pipelined)
            conn_pause(c);
        return 0;
    case AT_LINGER:
        hc->lingered += data.n;
        if (hc->lingered > LINGER_BYTES)
            conn_gone(hc);
        return data.n;
    }
    return data.n;
}

/* ---- the server ------------------------------------------------------------------ */

static void on_accept(struct worker *w, int fd, const struct sockaddr_storage *peer, void *arg) {
    struct http_server *s = arg;
    if (s->count >= s->conf.max_conns) {
        static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"
                                   "content-length: 0\r\nconnection: close\r\n\r\n";
        (void)!send(fd, full, sizeof full - 1, MSG_NOSIGNAL);
        close(fd);
        return;
    }
    struct http_conn *hc = NEW(struct http_conn);
    hc->server = s;
    hc->peer = *peer;
    hc->next = s->conns;
    hc->back = &s->conns;
    if (s->conns)
        s->conns->back = &hc->next;
    s->conns = hc;
    s->count++;
    hc->timer.fire = on_timer;
    hc->conn = conn_new(w, fd, s->conf.tls, S(""), false, &server_ops, hc);
    wait_at_most(hc, s->conf.head_timeout);
}

struct http_server *http_server_new(struct worker *w, const struct http_server_conf *conf,
                                    struct http_service *service) {
    struct http_server *s = NEW(struct http_server);
    s->worker = w;
    s->service = service;
    http_server_configure(s, conf);
    return s;
}

void http_server_configure(struct http_server *s, const struct http_server_conf *conf) {
    struct tls_context *before = s->conf.tls;
    s->conf = *conf;
    if (conf->tls)
        tls_context_ref(conf->tls);
    if (before)
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

void http_server_drain(struct http_server *s) {
    close_listeners(s);
    s->draining = true;
    for (struct http_conn *hc = s->conns, *next; hc; hc = next) {
        next = hc->next;
        if (hc->state == AT_HEAD && !hc->partial && hc->requests)
            conn_gone(hc);
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
        if (hc->state != AT_BUSY)
            abandon(hc);
        else if (hc->conn)
            on_end(hc->conn, OK);
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
    if (s->conf.tls)
        tls_context_unref(s->conf.tls);
    free(s);
}
