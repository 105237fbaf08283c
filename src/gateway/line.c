/* line.c - see line.h. A line is freed when its connection is gone and its last call has ended. */
#include "gateway/line.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/admit.h"
#include "gateway/channel.h"
#include "gateway/metrics.h"
#include "net/websocket.h"
#include "run/gate.h"
#include <limits.h>

#define DRAIN (20 * NANOS_SEC)

struct line {
    struct channel channel;
    struct line *next, **back; /* lines of this worker */
    struct websocket *websocket;   /* one of the two; NULL once it is gone */
    struct http_request *stream;
    bool gone, draining;
    struct gate writers; /* one waits for the peer, the others in line */
    struct arena arena;  /* names of key and profile */
};

/* ---- towards the client -------------------- */

/* The request stays until it is given back, even when the client goes while this waits for it. */
static err_t write_stream(struct task *t, struct http_request *r, const struct str *event,
                          size_t n) {
    http_stream_borrow(t, r);
    err_t e = http_stream_write(t, r, event, n);
    struct err why = e ? *e : (struct err){ 0 };
    http_stream_give_back(r, false);
    return e ? err_again(&why) : OK;
}

static err_t send_now(struct task *t, struct line *l, const struct str *pieces, size_t n) {
    struct str event[12] = { S(SSE_BEFORE) };
    SCOPED(arena_scope) struct arena flat = { 0 };
    if (l->gone)
        return ERR(CLOSED, "the client is gone");
    if (l->websocket)
        return websocket_send(t, l->websocket, pieces, n);
    for (size_t i = 0; i < n && i + 2 < ARRAY_SIZE(event); i++)
        event[i + 1] = sse_one_line(&flat, pieces[i]);
    event[n + 1] = S(SSE_AFTER);
    return write_stream(t, l->stream, event, n + 2);
}

static err_t line_send(struct task *t, void *self, const struct str *pieces, size_t n) {
    struct line *l = self;
    TRY(gate_enter(t, &l->writers));
    err_t e = send_now(t, l, pieces, n);
    gate_leave(&l->writers);
    return e;
}

static bool line_push(void *self, struct str text) {
    struct line *l = self;
    struct str event[] = { S(SSE_BEFORE), text, S(SSE_AFTER) };
    if (l->gone)
        return false;
    return l->websocket ? websocket_push(l->websocket, text)
                        : http_stream_push(l->stream, event, ARRAY_SIZE(event));
}

/* While a writer waits, the line is known to be alive or about to be ended. */
static void line_keep_alive(void *self) {
    struct line *l = self;
    struct str comment = S(": keep-alive\n\n");
    if (l->stream && !l->gone && !l->writers.inside)
        http_stream_push(l->stream, &comment, 1);
}

/* ---- life -------------------- */

static void line_free(struct line *l) {
    struct gateway_worker *gw = l->channel.gw;
    *l->back = l->next;
    if (l->next)
        l->next->back = l->back;
    metric_add(METRIC_SERIES(&metric_lines_open), -1);
    session_close(NULL, gw->gateway->sessions, str_from(l->channel.session.id, SESSION_ID),
                  l->channel.session.principal);
    arena_done(&l->arena);
    free(l);
}

static void free_if_over(void *self) {
    struct line *l = self;
    if (l->gone && !l->draining && !l->channel.calls)
        line_free(l);
}

/* The connection is gone. */
static void line_gone(struct line *l) {
    l->gone = true;
    channel_end(&l->channel);
    channel_cancel(&l->channel);
    free_if_over(l);
}

static bool is_revoked(const struct line *l) {
    struct gateway *g = l->channel.gw->gateway;
    const struct key_index *keys = snapshot_peek(l->channel.gw->worker, g->keys);
    return !atomic_load(&g->draining) && l->channel.who_id.n && keys &&
           !key_index_find(keys, l->channel.who_id, l->channel.who_index);
}

static void close_now(struct line *l) {
    if (l->gone)
        return;
    if (l->websocket) {
        if (is_revoked(l)) /* as at the next message that it would have sent */
            websocket_close(l->websocket, 1008, "not accepted any more");
        else
            websocket_close(l->websocket, 1001, "the server is shutting down");
        return;
    }
    http_stream_close(TAKE(l->stream));
    l->gone = true;
    channel_end(&l->channel);
    channel_cancel(&l->channel);
}

/* A drain: what is in flight is answered first. */
static void drain(struct task *t, void *arg) {
    struct line *l = arg;
    channel_wait_idle(&l->channel, t, DRAIN);
    l->draining = false;
    close_now(l);
    free_if_over(l);
}

static void line_drain(void *self) {
    struct line *l = self;
    if (l->gone || l->draining)
        return;
    l->draining = task_spawn(l->channel.gw->worker, drain, l) != NULL;
    if (l->draining)
        return;
    close_now(l);
    free_if_over(l);
}

void lines_drain(struct gateway_worker *gw) {
    for (struct line *l = gw->lines, *next; l; l = next) {
        next = l->next;
        line_drain(l);
    }
}

static const struct channel_ops line_ops = {
    .send = line_send,
    .push = { .message = line_push, .keep_alive = line_keep_alive, .close = line_drain, .says_cancelled = true },
    .over = free_if_over,
};

static err_t line_new(struct http_request *r, enum revision revision, struct line **out) {
    struct visit *v = r->user;
    struct gateway_worker *gw = gateway_here(r->worker);
    struct session_view session;
    const struct session_start start = { .revision = revision, .principal = v->who->digest,
                                         .profile = session_profile(v->rest), .bound = true };
    TRY(session_open(NULL, gw->gateway->sessions, &start, worker_now(r->worker), &session));
    struct line *l = NEW(struct line);
    arena_init(&l->arena, NULL, 0);
    l->writers = (struct gate){ .limit = 1, .max_waiting = UINT_MAX }; /* limits.in_flight bounds */
    l->channel = (struct channel){
        .gw = gw, .ops = &line_ops, .self = l, .who_id = arena_dup(&l->arena, v->who->id),
        .who_index = v->who->index, .profile = arena_dup(&l->arena, v->rest), .session = session,
    };
    session_set_stream(gw->gateway->sessions, str_from(session.id, SESSION_ID),
                       (int)gw->worker->index, 0); /* in use as long as the line is there */
    l->next = gw->lines;
    l->back = &gw->lines;
    if (l->next)
        l->next->back = &l->next;
    gw->lines = l;
    metric_add(METRIC_SERIES(&metric_lines_open), 1);
    *out = l;
    return OK;
}

/* Answers what is wrong. */
static bool may_open(struct task *t, struct http_request *r) {
    struct visit *v = r->user;
    const struct profile_conf *profile;
    if (!snapshot_profile_for(v->snapshot, v->who, v->rest, &profile)) {
        visit_refuse(t, r, REFUSE_API, 404, "not_found",
                     "There is no profile \"%.*s\" for this key", STR(v->rest));
        return false;
    }
    if (atomic_load(&v->gateway->draining)) {
        visit_refuse(t, r, REFUSE_API, 503, "draining", "The server is shutting down");
        return false;
    }
    return true;
}

static struct line *open_line(struct task *t, struct http_request *r, enum revision revision) {
    struct line *l = NULL;
    if (!may_open(t, r))
        return NULL;
    err_t e = line_new(r, revision, &l);
    if (e)
        visit_refuse(t, r, REFUSE_API, 429, "limited", "%s", e->text);
    return l;
}

/* ---- WebSocket -------------------- */

static bool on_message(void *owner, struct str text) {
    struct line *l = owner;
    return channel_post(&l->channel, text);
}

static void on_websocket_gone(void *owner) {
    struct line *l = owner;
    l->websocket = NULL;
    line_gone(l);
}

static const struct websocket_ops websocket_ops = {
    .on_message = on_message, .on_gone = on_websocket_gone,
};

void line_serve_websocket(struct task *t, struct http_request *r) {
    struct visit *v = r->user;
    struct line *l = open_line(t, r, LATEST_LEGACY);
    if (!l)
        return;
    size_t most = (size_t)v->snapshot->conf->limits.body;
    err_t e = websocket_accept(t, r, S("mcp"), most, &websocket_ops, l, &l->websocket);
    if (e) {
        log_debug("no WebSocket", F("error", e->text));
        line_free(l);
        return;
    }
    visit_release(r);
}

/* ---- HTTP+SSE -------------------- */

static void on_stream_gone(struct http_request *r) {
    for (struct line *l = gateway_here(r->worker)->lines; l; l = l->next)
        if (l->stream == r) {
            l->stream = NULL;
            line_gone(l);
            return;
        }
}

static void send_endpoint(struct line *l, struct http_request *r) {
    struct str profile = l->channel.profile;
    struct str event = arena_fmt(
        &r->arena, "event: endpoint\ndata: /messages%s%.*s?sessionId=%.*s\n\n",
        profile.n ? "/" : "", STR(profile), SESSION_ID, l->channel.session.id);
    http_stream_push(r, &event, 1);
}

void line_serve_sse(struct task *t, struct http_request *r) {
    struct visit *v = r->user;
    struct http_field fields[CORS_FIELDS + 2];
    struct line *l = open_line(t, r, R24);
    if (!l)
        return;
    size_t n = visit_cors(v, fields);
    fields[n++] = (struct http_field){ S("cache-control"), S("no-cache") };
    fields[n++] = (struct http_field){ S("x-accel-buffering"), S("no") };
    err_t e = http_stream_begin(t, r, &(struct http_answer){
        .status = 200, .type = S("text/event-stream"), .fields = fields, .field_count = n });
    if (e) {
        line_free(l);
        return;
    }
    l->stream = r;
    http_stream_detach(r, on_stream_gone);
    send_endpoint(l, r);
    visit_release(r);
}

/* ---- POST /messages -------------------- */

struct delivery {
    char session[SESSION_ID];
    struct str text;
    bool taken;
};

/* On the line's own worker. */
static err_t deliver(struct task *t, void *arg) {
    struct delivery *d = arg;
    struct gateway_worker *gw = gateway_here(task_worker(t));
    for (struct line *l = gw ? gw->lines : NULL; l; l = l->next)
        if (!l->gone && memcmp(l->channel.session.id, d->session, SESSION_ID) == 0) {
            d->taken = channel_post(&l->channel, d->text);
            break;
        }
    return OK;
}

static struct str session_of(struct str query) {
    while (query.p) {
        struct str value = str_cut(&query, '&'), name = str_cut(&value, '=');
        if (str_eq(name, S("sessionId")) || str_eq(name, S("session_id")))
            return value;
    }
    return S("");
}

static bool find_line(struct task *t, struct http_request *r, struct session_view *out) {
    struct visit *v = r->user;
    struct str id = session_of(r->head->query);
    bool found = session_find(t, v->gateway->sessions, id, v->who->digest, session_profile(v->rest),
                              task_now(t), out);
    if (!found || out->stream_worker < 0)
        visit_refuse(t, r, REFUSE_API, 404, "not_found",
                     "There is no open stream of this session: GET /sse opens one");
    return found && out->stream_worker >= 0;
}

void line_serve_message(struct task *t, struct http_request *r) {
    struct visit *v = r->user;
    struct session_view session;
    struct http_field fields[CORS_FIELDS];
    struct str type = r->head->known[HTTP_CONTENT_TYPE];
    if (!type.p || !str_eq_nocase(str_trim(str_cut(&type, ';')), S("application/json"))) {
        visit_refuse(t, r, REFUSE_API, 415, "media_type", "Content-Type must be application/json");
        return;
    }
    if (!find_line(t, r, &session))
        return;
    struct delivery d = { .text = r->body };
    memcpy(d.session, session.id, SESSION_ID);
    err_t e = task_on(t, workers_at(v->gateway->all, (unsigned)session.stream_worker), deliver, &d);
    if (e || !d.taken) {
        visit_refuse(t, r, REFUSE_API, 503, "overload", "%s",
                     e ? e->text : "The stream of this session takes no message now");
        return;
    }
    http_respond(t, r, &(struct http_answer){
        .status = 202, .fields = fields, .field_count = visit_cors(v, fields) });
}
