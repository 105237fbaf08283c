/* http2.c - see http2.h: from frames to requests and from answers to frames.
 *
 * A stream outlives its request (its answer may wait for the peer's window) and its request
 * may outlive it (a task is running when the peer resets); it is freed when both are gone.
 * nghttp2 must not be entered from its own callbacks: what they cause is sent by `flush`
 * when the input has been read. */
#include "net/http2.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/http_conn.h"
#include "net/metrics.h"
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdio.h>

enum {
    SMALL = 8 * 1024,
    QUEUE = 256 * 1024,     /* bytes handed to the socket before frames wait in nghttp2 */
    BATCH = 64 * 1024,      /* frames joined for one send */
    FRAME = 9 + 16 * 1024,  /* the largest that nghttp2 writes */
    LAG = 256 * 1024,
    REST = 64 * 1024,
    WINDOW = 1024 * 1024,   /* of the connection; a stream has 64 KiB */
    CREDIT = 1000,          /* frames without work that may come at once */
    CREDIT_PER_SECOND = 50,
    RESET_COST = 10,
    FIELDS = 40,            /* of an answer */
    TICK_MS = 500,
    GRACE_MS = 100,         /* between the two GOAWAYs of a drain (RFC 9113 §6.8) */
};

struct http2_stream {
    struct http2_stream *next, **back;
    struct http2_conn *h2;
    int32_t id;
    struct http_request *request; /* NULL before its head is there and after its end */
    struct buf head;      /* fields as lines of HTTP/1.1 */
    struct str method, path, authority; /* in `pseudo` */
    struct buf pseudo;
    unsigned fields;
    struct buf body;      /* as far as it came */
    struct buf out;       /* what the peer's window did not take yet, from out_at on */
    size_t out_at;
    struct event drained; /* for the task that writes */
    nanos until;          /* when patience ends; 0: nobody waits */
    int refusal;          /* status, once the head is complete */
    bool whole;           /* the request has come to its end */
    bool dropping;        /* answered before that: the rest is dropped */
    bool answered, out_ends, closed;
};

struct http2_conn {
    struct http_conn *hc;
    nghttp2_session *session;
    struct http2_stream *streams;
    size_t count;
    double credit;
    nanos credit_at;
    bool inside;   /* nghttp2 is reading */
    bool calm;     /* it was told to be */
    bool draining, parted; /* told that the end is near; that it is there */
    bool refused;  /* its one answer says that it is one connection too many */
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

int http2_preface(struct str data) {
    size_t n = data.n < sizeof preface - 1 ? data.n : sizeof preface - 1;
    if (memcmp(data.p, preface, n) != 0)
        return -1;
    return n == sizeof preface - 1;
}

static struct http_server *server_of(const struct http2_stream *s) {
    return s->h2->hc->server;
}

static size_t unsent(const struct http2_stream *s) {
    return s->out.n - s->out_at;
}

/* ---- streams ----------------------------------------------------------------------- */

static struct http2_stream *stream_new(struct http2_conn *h2, int32_t id) {
    struct http2_stream *s = NEW(struct http2_stream);
    s->h2 = h2;
    s->id = id;
    s->until = h2->hc->server->worker->now + h2->hc->server->conf.head_timeout;
    s->next = h2->streams;
    s->back = &h2->streams;
    if (s->next)
        s->next->back = &s->next;
    h2->streams = s;
    h2->count++;
    return s;
}

static void stream_free(struct http2_stream *s) {
    struct worker *w = server_of(s)->worker;
    *s->back = s->next;
    if (s->next)
        s->next->back = s->back;
    s->h2->count--;
    buf_done(&s->head);
    buf_done(&s->pseudo);
    net_buf_done(w, &s->body);
    net_buf_done(w, &s->out);
    free(s);
}

static void free_if_over(struct http2_stream *s) {
    if (s->closed && !s->request)
        stream_free(s);
}

/* Nobody will read its answer. True when the request is gone already. */
static bool stream_lost(struct http2_stream *s) {
    struct http_request *r = s->request;
    event_set(&s->drained);
    if (!r || r->gone)
        return r == NULL;
    if (r->pinned) {
        r->gone = true;
        return false;
    }
    if (r->task) {
        r->gone = true;
        if (!r->detached) /* else its task is about to return, and tells */
            r->on_gone(r);
        return false;
    }
    if (r->detached) {
        r->on_gone(r);
        server_of(s)->busy--;
    }
    s->request = NULL;
    http_request_free(r);
    return true;
}

/* ---- sending ----------------------------------------------------------------------- */

/* Everything was said (GOAWAY): what tasks still say is not heard any more. */
static void end_politely(struct http2_conn *h2) {
    for (struct http2_stream *s = h2->streams; s; s = s->next)
        stream_lost(s);
    if (h2->hc->state != AT_LINGER)
        http_conn_linger(h2->hc);
}

/* Frames go out together. The last ones of a connection that ends go out, too. */
/* False when the connection is broken; its end follows. */
static bool send_frames(struct http2_conn *h2) {
    static _Thread_local char batch[BATCH];
    struct http_conn *hc = h2->hc;
    ssize_t n = 1;
    while (n > 0 && conn_queued(hc->conn) < QUEUE) {
        const uint8_t *frame;
        size_t used = 0;
        while (used + FRAME <= sizeof batch &&
               (n = nghttp2_session_mem_send(h2->session, &frame)) > 0) {
            memcpy(batch + used, frame, (size_t)n);
            used += (size_t)n;
        }
        struct str piece = str_from(batch, used);
        if (used && conn_send(hc->conn, &piece, 1))
            return false;
    }
    return true;
}

static void flush(struct http2_conn *h2) {
    struct http_conn *hc = h2->hc;
    if (h2->inside || !hc->conn || !send_frames(h2))
        return;
    if (h2->refused && !h2->count) { /* only now: clients take no answer behind a GOAWAY */
        h2->refused = false;
        nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
        if (!send_frames(h2))
            return;
    }
    if (!nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session))
        end_politely(h2);
}

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                        uint32_t *flags, nghttp2_data_source *source, void *arg) {
    struct http2_stream *s = source->ptr;
    size_t n = unsent(s) < room ? unsent(s) : room;
    if (!n && !s->out_ends)
        return NGHTTP2_ERR_DEFERRED;
    if (n)
        memcpy(to, s->out.p + s->out_at, n);
    s->out_at += n;
    s->until = unsent(s) ? server_of(s)->worker->now + server_of(s)->conf.send_timeout : 0;
    if (!unsent(s)) {
        net_buf_done(server_of(s)->worker, &s->out);
        s->out_at = 0;
        *flags |= s->out_ends ? NGHTTP2_DATA_FLAG_EOF : 0;
    }
    if (unsent(s) <= REST)
        event_set(&s->drained);
    return (ssize_t)n;
}

static void put_out(struct http2_stream *s, const struct str *pieces, size_t n) {
    struct worker *w = server_of(s)->worker;
    if (s->out_at && s->out_at >= s->out.n / 2) { /* moved less often than it grows */
        buf_consume(&s->out, s->out_at);
        s->out_at = 0;
    }
    for (size_t i = 0; i < n; i++)
        net_buf_put(w, &s->out, pieces[i]);
    if (unsent(s) && !s->until)
        s->until = w->now + server_of(s)->conf.send_timeout;
}

static nghttp2_nv field_of(struct str name, struct str value) {
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n,
                         NGHTTP2_NV_FLAG_NONE };
}

/* Names are lower case here (RFC 9113 §8.2); what speaks of the connection stays behind. */
static struct str lower(struct arena *a, struct str name) {
    char *to = (char *)arena_dup(a, name).p;
    for (size_t i = 0; i < name.n; i++)
        if (to[i] >= 'A' && to[i] <= 'Z')
            to[i] = (char)(to[i] | 32);
    return str_from(to, name.n);
}

static bool of_connection(struct str name) {
    return str_eq(name, S("connection")) || str_eq(name, S("keep-alive")) ||
           str_eq(name, S("upgrade")) || str_eq(name, S("transfer-encoding"));
}

static size_t write_fields(struct http_request *r, const struct http_answer *a, int64_t length,
                           nghttp2_nv out[FIELDS]) {
    struct arena *arena = &r->arena;
    size_t n = 0;
    struct str date = http_date_line(r->conn->server); /* "date: …\r\n" */
    out[n++] = field_of(S(":status"), arena_fmt(arena, "%d", a->status));
    out[n++] = field_of(S("date"), str_from(date.p + 6, date.n - 8));
    out[n++] = field_of(S("x-request-id"), r->id);
    if (a->type.n)
        out[n++] = field_of(S("content-type"), a->type);
    if (length >= 0 && a->status != 204 && a->status != 304)
        out[n++] = field_of(S("content-length"), arena_fmt(arena, "%lld", (long long)length));
    for (size_t i = 0; i < a->field_count && n < FIELDS; i++) {
        struct str name = lower(arena, a->fields[i].name);
        if (!of_connection(name))
            out[n++] = field_of(name, a->fields[i].value);
    }
    return n;
}

static bool has_body(const struct http_request *r, const struct http_answer *a) {
    return !str_eq(r->head->method, S("HEAD")) && a->status != 204 && a->status != 304;
}

/* Everything that an answer has, as far as it is known. `length` < 0: a stream of data. */
static void submit(struct http2_stream *s, struct http_request *r, const struct http_answer *a,
                   int64_t length) {
    nghttp2_nv fields[FIELDS];
    size_t n = write_fields(r, a, length, fields);
    nghttp2_data_provider provider = { .source.ptr = s, .read_callback = read_out };
    bool body = has_body(r, a) && length != 0;
    r->answered = s->answered = true;
    r->status = a->status;
    s->until = 0;
    s->out_ends = length >= 0;
    s->dropping = !s->whole;
    if (body && length > 0) {
        put_out(s, a->pieces, a->piece_count);
        r->sent = (size_t)length;
    }
    nghttp2_submit_response(s->h2->session, s->id, fields, n, body ? &provider : NULL);
}

static int64_t length_of(const struct http_answer *a) {
    int64_t length = 0;
    for (size_t i = 0; i < a->piece_count; i++)
        length += (int64_t)a->pieces[i].n;
    return length;
}

static err_t may_answer(const struct http_request *r) {
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    return r->answered ? ERR(INTERNAL, "the request was answered already") : OK;
}

/* Waits until at most `left` bytes wait for the peer's window. */
static err_t drain_out(struct task *t, struct http_request *r, size_t left) {
    struct http2_stream *s = r->stream;
    while (unsent(s) > left && !r->gone) {
        err_t e = event_wait(t, &s->drained);
        if (e && !r->gone)
            nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
        if (e)
            return e;
    }
    return r->gone ? ERR(CLOSED, "the client is gone") : OK;
}

err_t http2_respond(struct task *t, struct http_request *r, const struct http_answer *a) {
    struct http2_stream *s = r->stream;
    TRY(may_answer(r));
    submit(s, r, a, length_of(a));
    flush(s->h2);
    if (unsent(s) <= REST)
        return OK;
    SCOPED(shield_scope) struct shield shield = task_shield(t, server_of(s)->conf.send_timeout);
    return drain_out(t, r, REST);
}

int http2_refuse(struct http_request *r, const struct http_answer *a) {
    submit(r->stream, r, a, length_of(a));
    flush(r->stream->h2);
    return a->status;
}

err_t http2_stream_begin(struct http_request *r, const struct http_answer *a) {
    TRY(may_answer(r));
    submit(r->stream, r, a, -1);
    r->streaming = true;
    flush(r->stream->h2);
    return OK;
}

static void put_stream(struct http_request *r, const struct str *pieces, size_t n) {
    struct http2_stream *s = r->stream;
    size_t before = s->out.n - s->out_at;
    put_out(s, pieces, n);
    r->sent += s->out.n - s->out_at - before;
    nghttp2_session_resume_data(s->h2->session, s->id);
    flush(s->h2);
}

err_t http2_stream_write(struct task *t, struct http_request *r, const struct str *pieces,
                         size_t n) {
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    put_stream(r, pieces, n);
    if (unsent(r->stream) <= LAG)
        return OK;
    SCOPED(deadline_scope)
    struct deadline d = deadline_push(t, server_of(r->stream)->conf.send_timeout);
    return drain_out(t, r, LAG / 2);
}

err_t http2_stream_end(struct http_request *r) {
    struct http2_stream *s = r->stream;
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    r->streaming = false;
    s->out_ends = true;
    nghttp2_session_resume_data(s->h2->session, s->id);
    flush(s->h2);
    return OK;
}

bool http2_stream_abort(struct http_request *r) {
    struct http2_stream *s = r->stream;
    struct http2_conn *h2 = s->h2;
    nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
    bool gone = stream_lost(s);
    flush(h2);
    return gone;
}

/* Frames that go out may end the connection, and with it this very request, which a stream
 * without a task would not survive: it is held meanwhile, and lost afterwards. */
bool http2_stream_push(struct http_request *r, const struct str *pieces, size_t n) {
    struct http2_stream *s = r->stream;
    if (r->gone)
        return true;
    r->pinned = true;
    put_stream(r, pieces, n);
    r->pinned = false;
    if (r->gone && !r->task) {
        r->gone = false;
        stream_lost(s);
        free_if_over(s);
        return false;
    }
    return r->gone || unsent(s) <= LAG || !http2_stream_abort(r);
}

/* ---- requests ---------------------------------------------------------------------- */

/* Before or instead of a request's task. */
static void answer_error(struct http2_stream *s, int status, const char *why) {
    char body[HTTP_ERROR_BODY], code[8];
    size_t n = http_error_body(body, sizeof body, s->request ? s->request->id : S(""), status, why);
    snprintf(code, sizeof code, "%d", status);
    nghttp2_nv fields[] = { field_of(S(":status"), str_of(code)),
                            field_of(S("content-type"), S("application/json")),
                            field_of(S("retry-after"), S("1")) };
    size_t count = ARRAY_SIZE(fields) - (status != 503);
    nghttp2_data_provider provider = { .source.ptr = s, .read_callback = read_out };
    struct str piece = str_from(body, n);
    if (s->request)
        s->request->status = status;
    stream_lost(s);
    metric_add(METRIC_SERIES(&metric_broken, str_of(code)), 1);
    log_debug("request refused", F("status", status), F("why", why));
    s->answered = s->out_ends = true;
    s->dropping = !s->whole;
    put_out(s, &piece, 1);
    nghttp2_submit_response(s->h2->session, s->id, fields, count, &provider);
}

static void dispatch(struct http2_stream *s) {
    struct http_request *r = s->request;
    struct str body = buf_view(&s->body);
    s->until = 0;
    if (body.n > SMALL) {
        r->body = body;
        r->held = net_buf_hold(&s->body);
    } else {
        r->body = arena_dup(&r->arena, body);
        net_buf_done(r->worker, &s->body);
    }
    if (!http_request_dispatch(r))
        answer_error(s, 503, HTTP_WHY_BUSY);
}

/* The head as HTTP/1.1 would have it. */
static void write_head(const struct http2_stream *s, struct buf *out) {
    buf_fmt(out, "%.*s %.*s HTTP/1.1\r\n", STR(s->method), STR(s->path));
    if (s->authority.p)
        buf_fmt(out, "host: %.*s\r\n", STR(s->authority));
    buf_str(out, buf_view(&s->head));
    buf_str(out, S("\r\n"));
}

/* After the head, before the body: who is it, may it come in. */
static void begin_request(struct http2_stream *s) {
    SCOPED(buf_done) struct buf text = { 0 };
    const char *why = "the header fields are too large";
    struct http_server *server = server_of(s);
    if (s->h2->hc->surplus) {
        s->refusal = 503;
        why = HTTP_WHY_SURPLUS;
    } else if (!s->refusal) {
        write_head(s, &text);
        s->refusal = http_request_parse(s->h2->hc, buf_view(&text), &s->request, &why);
    }
    buf_done(&s->head);
    if (s->refusal) {
        answer_error(s, s->refusal, why);
        s->h2->refused = s->h2->hc->surplus;
        return;
    }
    struct http_request *r = s->request;
    r->stream = s;
    if (r->service->admit(r, &r->max_body)) {
        s->request = NULL;
        http_request_free(r);
        return;
    }
    s->until = server->worker->now + server->conf.body_timeout;
    if (r->head->content_length > (int64_t)r->max_body)
        answer_error(s, 413, HTTP_WHY_BODY);
    else if (r->head->expect_continue && !s->whole)
        nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL,
                               &(nghttp2_nv){ (uint8_t *)":status", (uint8_t *)"100", 7, 3, 0 }, 1,
                               NULL);
}

void http2_finish(struct http_request *r) {
    struct http2_stream *s = r->stream;
    struct http2_conn *h2 = s->h2;
    struct http_conn *hc = h2->hc;
    hc->server->busy--;
    if (r->streaming && !r->gone && !s->closed) /* ended in the middle: not to be taken for whole */
        nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
    s->request = NULL;
    http_request_free(r);
    free_if_over(s);
    if (!hc->conn)
        http2_end(hc);
    else
        flush(h2);
}

/* ---- what the peer may ask of us ----------------------------------------------------- */

static void calm_down(struct http2_conn *h2) {
    if (h2->calm)
        return;
    h2->calm = true;
    metric_add(METRIC_SERIES(&metric_broken, S("h2_calm")), 1);
    log_warn("an HTTP/2 client floods; its connection is ended", F("streams", (int64_t)h2->count));
    nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void spend(struct http2_conn *h2, double cost) {
    nanos now = h2->hc->server->worker->now;
    h2->credit += (double)(now - h2->credit_at) / NANOS_SEC * CREDIT_PER_SECOND;
    h2->credit_at = now;
    if (h2->credit > CREDIT)
        h2->credit = CREDIT;
    h2->credit -= cost;
    if (h2->credit < 0)
        calm_down(h2);
}

static double cost_of(const nghttp2_frame_hd *head) {
    switch (head->type) {
    case NGHTTP2_RST_STREAM: return RESET_COST;
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PING:
    case NGHTTP2_PRIORITY:
    case NGHTTP2_WINDOW_UPDATE: return 1;
    case NGHTTP2_DATA: return head->length == 0 && !(head->flags & NGHTTP2_FLAG_END_STREAM);
    default: return 0;
    }
}

/* ---- nghttp2's callbacks ------------------------------------------------------------- */

static struct http2_stream *stream_of(struct http2_conn *h2, int32_t id) {
    return nghttp2_session_get_stream_user_data(h2->session, id);
}

/* Of every frame, those too that nghttp2 passes over. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *arg) {
    double cost = cost_of(head);
    if (cost > 0)
        spend(arg, cost);
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
    struct http2_conn *h2 = arg;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (h2->count >= h2->hc->server->conf.max_streams || h2->calm) {
        spend(h2, RESET_COST);
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    h2->hc->used = true;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
                                         stream_new(h2, frame->hd.stream_id));
    return 0;
}

static void take_pseudo(struct http2_stream *s, struct str name, struct str value) {
    struct str *to = str_eq(name, S(":method")) ? &s->method
                     : str_eq(name, S(":path")) ? &s->path
                     : str_eq(name, S(":authority")) ? &s->authority
                                                     : NULL;
    if (!to)
        return;
    if (!s->pseudo.p) /* never moves: on_header has bounded all of them together */
        buf_reserve(&s->pseudo, server_of(s)->conf.head.head + 1);
    size_t at = s->pseudo.n;
    buf_str(&s->pseudo, value);
    *to = str_from(s->pseudo.p + at, value.n);
}

/* `host` says what :authority says, or the request is malformed (RFC 9113 §8.3.1). */
static void take_field(struct http2_stream *s, struct str name, struct str value) {
    if (str_eq(name, S("host")) && s->authority.p) {
        if (!str_eq_nocase(value, s->authority))
            s->refusal = 400;
        return;
    }
    buf_fmt(&s->head, "%.*s: %.*s\r\n", STR(name), STR(value));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                     void *arg) {
    struct http2_stream *s = stream_of(arg, frame->hd.stream_id);
    if (!s || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* of a refused stream, or trailers */
    const struct http_limits *limits = &server_of(s)->conf.head;
    if (s->pseudo.n + s->head.n + name_n + value_n + 64 > limits->head ||
        s->fields + 1 > limits->fields) {
        s->refusal = 431;
        spend(s->h2, 1);
        return 0;
    }
    struct str n = str_from((const char *)name, name_n), v = str_from((const char *)value, value_n);
    s->fields++;
    if (name_n && name[0] == ':')
        take_pseudo(s, n, v);
    else
        take_field(s, n, v);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
    struct http2_conn *h2 = arg;
    struct http2_stream *s = frame->hd.stream_id ? stream_of(h2, frame->hd.stream_id) : NULL;
    if (!s || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    s->whole |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        begin_request(s);
    if (s->whole && s->request && !s->answered && !s->request->task)
        dispatch(s);
    return 0;
}

static int on_body(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *arg) {
    struct http2_conn *h2 = arg;
    struct http2_stream *s = stream_of(h2, id);
    nghttp2_session_consume(session, id, n);
    if (!s || s->dropping || !s->request)
        return 0;
    struct worker *w = server_of(s)->worker;
    if (n > s->request->max_body - s->body.n)
        answer_error(s, 413, HTTP_WHY_BODY);
    else if (s->body.n + n > SMALL && !net_may_buffer(w, n))
        answer_error(s, 503, HTTP_WHY_MEMORY);
    else
        net_buf_put(w, &s->body, str_from((const char *)data, n));
    return 0;
}

/* An answer that is out before its request was: nobody wants the rest (RFC 9113 §8.1). */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
    struct http2_conn *h2 = arg;
    bool data = frame->hd.type == NGHTTP2_DATA;
    if (data)
        h2->credit += 4; /* the peer may tell of its windows */
    if (!(data || frame->hd.type == NGHTTP2_HEADERS) ||
        !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    h2->credit += 4;
    struct http2_stream *s = stream_of(h2, frame->hd.stream_id);
    if (s && !s->whole)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg) {
    struct http2_stream *s = stream_of(arg, id);
    if (!s)
        return 0;
    bool complete = s->out_ends && !unsent(s);
    s->closed = true;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (!complete)
        stream_lost(s);
    free_if_over(s);
    return 0;
}

/* ---- connections --------------------------------------------------------------------- */

/* One set for all connections of the process. */
static nghttp2_session_callbacks *callbacks;
static pthread_once_t callbacks_once = PTHREAD_ONCE_INIT;

static void make_callbacks(void) {
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_body);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
}

static nghttp2_session *session_new(struct http2_conn *h2) {
    nghttp2_session *session = NULL;
    nghttp2_option *option = NULL;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 200);
    nghttp2_option_set_max_settings(option, 32);
    pthread_once(&callbacks_once, make_callbacks);
    nghttp2_session_server_new2(&session, callbacks, h2, option);
    nghttp2_option_del(option);
    return session;
}

void http2_open(struct http_conn *hc) {
    struct http2_conn *h2 = NEW(struct http2_conn);
    const struct http_server_conf *conf = &hc->server->conf;
    *h2 = (struct http2_conn){ .hc = hc, .credit = CREDIT, .credit_at = hc->server->worker->now };
    hc->http2 = h2;
    hc->state = AT_HTTP2;
    hc->partial = false;
    h2->session = session_new(h2);
    nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, conf->max_streams },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)conf->head.head },
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
    };
    nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
    nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
    http_conn_wait(hc, TICK_MS * NANOS_MS);
}

size_t http2_on_data(struct http_conn *hc, struct str data) {
    struct http2_conn *h2 = hc->http2;
    h2->inside = true;
    ssize_t used = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data.p, data.n);
    h2->inside = false;
    if (used < 0) {
        log_debug("broken HTTP/2", F("why", nghttp2_strerror((int)used)));
        metric_add(METRIC_SERIES(&metric_broken, S("h2")), 1);
        nghttp2_session_terminate_session(h2->session, used == NGHTTP2_ERR_FLOODED
                                                           ? NGHTTP2_ENHANCE_YOUR_CALM
                                                           : NGHTTP2_PROTOCOL_ERROR);
    }
    flush(h2);
    return data.n;
}

void http2_on_drained(struct http_conn *hc) {
    flush(hc->http2);
}

static void expire(struct http2_stream *s) {
    struct http2_conn *h2 = s->h2;
    if (!s->answered) {
        answer_error(s, 408, "the request took too long to arrive");
        return;
    }
    nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
    s->until = 0;
    stream_lost(s);
}

/* What was on its way when the notice went has come. */
static void say_goodbye(struct http2_conn *h2) {
    h2->parted = true;
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

void http2_on_timer(struct http_conn *hc) {
    struct http2_conn *h2 = hc->http2;
    struct worker *w = hc->server->worker;
    for (struct http2_stream *s = h2->streams, *next; s; s = next) {
        next = s->next;
        if (s->until && s->until <= w->now)
            expire(s);
    }
    if (h2->draining && !h2->parted)
        say_goodbye(h2);
    nanos quiet = hc->server->conf.idle_timeout;
    if (h2->count || conn_queued(hc->conn))
        hc->idle_at = w->now + quiet;
    else if (!hc->idle_at)
        hc->idle_at = w->now + quiet;
    if (w->now >= hc->idle_at && !h2->count)
        nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
    http_conn_wait(hc, h2->count ? TICK_MS * NANOS_MS
                       : hc->idle_at > w->now ? hc->idle_at - w->now
                                              : NANOS_SEC);
    flush(h2);
}

bool http2_idle(const struct http_conn *hc) {
    return hc->http2->count == 0;
}

void http2_drain(struct http_conn *hc) {
    struct http2_conn *h2 = hc->http2;
    if (h2->draining)
        return;
    h2->draining = true;
    nghttp2_submit_shutdown_notice(h2->session);
    http_conn_wait(hc, GRACE_MS * NANOS_MS);
    flush(h2);
}

void http2_cancel(struct http_conn *hc) {
    for (struct http2_stream *s = hc->http2->streams; s; s = s->next)
        if (s->request && s->request->task)
            task_cancel(s->request->task);
}

void http2_end(struct http_conn *hc) {
    struct http2_conn *h2 = hc->http2;
    for (struct http2_stream *s = h2->streams, *next; s; s = next) {
        next = s->next;
        s->closed = true;
        stream_lost(s);
        free_if_over(s);
    }
    if (h2->streams)
        return; /* the last task that ends comes here again */
    nghttp2_session_del(h2->session);
    free(h2);
    hc->http2 = NULL;
    http_conn_gone(hc);
}
