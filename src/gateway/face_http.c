/* face_http.c - see face_http.h. The order of refusals is P-072. */
#include "gateway/face_http.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/admit.h"
#include "gateway/batch.h"
#include "gateway/era.h"
#include "gateway/exchange.h"
#include "gateway/forward.h"
#include "gateway/line.h"
#include "gateway/question.h"
#include "gateway/resume.h"
#include "gateway/stream.h"
#include "gateway/subscribe.h"
#include "net/websocket.h"
#include <stdio.h>

enum { FIELDS = CORS_FIELDS + 4 };

struct http_face {
    struct exchange x;
    struct http_request *request;
    struct visit *visit;
    struct http_field fields[FIELDS];
    size_t field_count;
    bool json_ok, stream_ok; /* what Accept allows */
    bool streaming;
    struct resumable *kept; /* the stream, where its client can come back to it */
    nanos kept_alive;       /* when it was last shown to be there */
};

/* ---- towards the client ------------------------------------------------------------ */

static err_t begin_stream(struct http_face *f, struct task *t) {
    f->fields[f->field_count++] = (struct http_field){ S("cache-control"), S("no-cache") };
    f->fields[f->field_count++] = (struct http_field){ S("x-accel-buffering"), S("no") };
    f->streaming = true;
    return http_stream_begin(t, f->request, &(struct http_answer){
        .status = 200, .type = S("text/event-stream"), .fields = f->fields, .field_count = f->field_count });
}

/* Of a call: from now on a legacy client can come back to it. */
static err_t begin_call_stream(struct http_face *f) {
    TRY(begin_stream(f, f->x.task));
    f->kept = resumable_open(&f->x, REPLAY_CALL, f->request, NULL, NULL);
    f->kept_alive = f->x.gw->worker->now;
    resume_watch(f->x.gw);
    return OK;
}

static err_t send_kept(struct http_face *f, const struct str *pieces, size_t n) {
    struct str event[12];
    size_t used = 0;
    for (; used < n && used < ARRAY_SIZE(event); used++)
        event[used] = sse_one_line(f->x.arena, pieces[used]);
    resumable_send(f->x.task, f->kept, event, used);
    return OK;
}

static err_t send_event(struct http_face *f, const struct str *pieces, size_t n) {
    if (f->kept)
        return send_kept(f, pieces, n);
    struct str event[12] = { S(SSE_BEFORE) };
    size_t used = 1;
    for (size_t i = 0; i < n && used < ARRAY_SIZE(event) - 1; i++)
        event[used++] = sse_one_line(f->x.arena, pieces[i]);
    event[used++] = S(SSE_AFTER);
    return http_stream_write(f->x.task, f->request, event, used);
}

static err_t face_notify(struct exchange *x, const struct str *pieces, size_t n) {
    struct http_face *f = x->face_self;
    if (f->request->gone && !f->kept)
        return OK; /* nobody can come back for it */
    if (!f->streaming)
        TRY(begin_call_stream(f));
    return send_event(f, pieces, n);
}

static err_t end_stream(struct http_face *f) {
    if (f->kept)
        resumable_end(f->kept);
    return f->kept && f->request->gone ? OK : http_stream_end(f->x.task, f->request);
}

/* A stream that its client can come back to is begun where nothing else will begin one soon. */
static bool begin_waiting_stream(struct http_face *f) {
    bool may = f->x.era == ERA_LEGACY && f->x.revision == R11 && f->stream_ok && !f->x.answered &&
               f->x.method != METHOD_INITIALIZE;
    if (may && !f->streaming && !f->request->gone && !begin_call_stream(f) && f->kept)
        resumable_prime(f->kept);
    return may && f->kept;
}

static void face_let_go(struct exchange *x) {
    struct http_face *f = x->face_self;
    if (begin_waiting_stream(f))
        resumable_poll(f->kept);
}

/* P-116: what lies between cuts a connection that is silent for long. */
static void keep_alive(struct http_face *f) {
    nanos now = f->x.gw->worker->now;
    if (!f->kept || now - f->kept_alive < KEEP_ALIVE)
        return;
    f->kept_alive = now;
    resumable_keep_alive(f->kept);
}

static void face_still_working(struct exchange *x) {
    struct http_face *f = x->face_self;
    const struct limits_conf *l = &x->snapshot->conf->limits;
    keep_alive(f);
    if (!f->streaming && l->stream_after && x->gw->worker->now - x->began >= l->stream_after)
        begin_waiting_stream(f);
    else if (f->kept && l->poll_after && resumable_read_for(f->kept) >= l->poll_after)
        face_let_go(x);
}

/* Whole seconds, rounded up: who comes back then is served. */
static void put_retry_after(struct http_face *f) {
    int64_t seconds = (f->x.retry_after + NANOS_SEC - 1) / NANOS_SEC;
    struct str text = arena_fmt(f->x.arena, "%lld", (long long)(seconds > 1 ? seconds : 1));
    f->fields[f->field_count++] = (struct http_field){ S("retry-after"), text };
}

static void face_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    struct http_face *f = x->face_self;
    err_t e = OK;
    if (status == 200 && !f->json_ok && !f->streaming)
        e = begin_call_stream(f);
    if (!e && f->streaming) {
        e = send_event(f, pieces, n);
        if (!e)
            e = end_stream(f);
    } else if (!e) {
        if (status == 429 || status == 503)
            put_retry_after(f);
        e = http_respond(x->task, f->request, &(struct http_answer){
            .status = status, .type = S("application/json"), .fields = f->fields, .field_count = f->field_count,
            .pieces = pieces, .piece_count = n });
    }
    if (e && !f->request->gone)
        log_debug("answer not delivered", F("error", e->text));
}

static struct push_stream *face_open_stream(struct exchange *x) {
    struct http_face *f = x->face_self;
    if (begin_stream(f, x->task))
        return NULL;
    return stream_over_http(f->x.gw, f->request);
}

static const struct face_ops http_face_ops = {
    .notify = face_notify, .answer = face_answer, .open_stream = face_open_stream,
    .still_working = face_still_working, .let_go = face_let_go,
};

/* ---- heads ------------------------------------------------------------------------- */

static bool has(struct str haystack, struct str needle) {
    return str_find(haystack, needle) >= 0;
}

/* What Accept allows us to send (P-141); no header means everything. */
static void read_accept(struct http_face *f) {
    struct str accept = f->request->head->known[HTTP_ACCEPT];
    if (str_eq(accept, S("application/json, text/event-stream"))) { /* what official clients send */
        f->json_ok = f->stream_ok = true;
        return;
    }
    bool any = !accept.p || has(accept, S("*/*"));
    f->json_ok = any || has(accept, S("application/json")) || has(accept, S("application/*"));
    f->stream_ok = any || has(accept, S("text/event-stream")) || has(accept, S("text/*"));
}

static bool is_json(struct str type) {
    if (str_eq(type, S("application/json")))
        return true;
    struct str kind = str_trim(str_cut(&type, ';'));
    return str_eq_nocase(kind, S("application/json"));
}

static int refuse(struct http_face *f, int status, const char *word, const char *why) {
    return visit_refuse(f->x.task, f->request, REFUSE_RPC, status, word, "%s", why);
}

static void accepted(struct http_face *f) {
    http_respond(f->x.task, f->request, &(struct http_answer){
        .status = 202, .fields = f->fields, .field_count = f->field_count });
}

/* ---- era (P-055, P-056) ------------------------------------------------------------ */

static bool is_modern(const struct http_face *f) {
    const struct envelope *in = &f->x.in;
    if (!era_offers_modern(&f->x))
        return false;
    if (in->protocol_version.p || in->version_not_string)
        return true;
    struct str header = f->request->head->known[HTTP_MCP_PROTOCOL_VERSION];
    enum revision r = header.p ? revision_parse(header) : REV_NONE;
    if (r != REV_NONE)
        return revision_era(r) == ERA_MODERN;
    return header.p && in->meta.p && in->client_capabilities.p;
}

/* Required _meta, then the version header, then the version, then Mcp-Method. */
static bool check_modern(struct http_face *f) {
    struct exchange *x = &f->x;
    const struct http_head *h = f->request->head;
    if (!era_check_meta(x))
        return false;
    struct str header = h->known[HTTP_MCP_PROTOCOL_VERSION];
    if (!str_eq(header, x->in.protocol_version)) {
        answer_error(x, 400, RPC_HEADER_MISMATCH, (struct str){ 0 },
                     "Header mismatch: MCP-Protocol-Version %s",
                     header.p ? "differs from the body" : "is missing");
        return false;
    }
    if (!era_check_version(x))
        return false;
    struct str method = h->known[HTTP_MCP_METHOD];
    if (x->in.kind == ENVELOPE_REQUEST && !str_eq(method, x->in.method)) {
        answer_error(x, 400, RPC_HEADER_MISMATCH, (struct str){ 0 },
                     "Header mismatch: Mcp-Method %s",
                     method.p ? "differs from the body" : "is missing");
        return false;
    }
    return true;
}

/* Runs it; a call that its client cancelled has no answer, its POST still needs an end (P-243). */
static void run(struct http_face *f) {
    exchange_run(&f->x);
    if (f->x.answered || f->request->gone)
        return;
    if (f->streaming)
        http_stream_end(f->x.task, f->request);
    else
        accepted(f);
}

static void serve_modern(struct http_face *f) {
    struct exchange *x = &f->x;
    x->era = ERA_MODERN;
    x->revision = LATEST_MODERN;
    if (x->in.kind == ENVELOPE_RESULT || x->in.kind == ENVELOPE_ERROR) {
        refuse(f, 400, "response_body", "A response is not accepted here (revision 2026-07-28)");
        return;
    }
    if (!check_modern(f))
        return;
    if (x->in.kind == ENVELOPE_NOTIFICATION)
        accepted(f);
    else
        run(f);
}

/* ---- legacy (PROTOCOL §5.3) -------------------------------------------------------- */

static struct str client_name(struct exchange *x) {
    struct str info = json_raw_get(x->in.params, S("clientInfo"));
    struct str raw = info.p ? json_raw_get(info, S("name")) : info;
    return raw.p && raw.p[0] == '"' ? json_unquote(x->arena, raw) : S("");
}

/* A legacy client keeps its call when its connection goes (P-144). */
static void detached_from_client(struct http_request *r) {
}

static void serve_initialize(struct http_face *f) {
    struct exchange *x = &f->x;
    if (!era_negotiate(x))
        return;
    const struct session_start start = {
        .revision = x->revision, .principal = x->who->digest,
        .profile = session_profile(x->profile_name), .asks = era_asks(x), .client = client_name(x),
    };
    err_t e = session_open(x->task, x->gw->gateway->sessions, &start, task_now(x->task),
                           &x->session);
    if (e) {
        answer_error(x, err_status(e->kind), RPC_INTERNAL, (struct str){ 0 }, "%s", e->text);
        return;
    }
    f->fields[f->field_count++] = (struct http_field){ S("mcp-session-id"),
                                                       str_from(x->session.id, SESSION_ID) };
    exchange_run(x);
    if (x->rpc_code) /* refused by a limit: nobody would end it */
        session_close(x->task, x->gw->gateway->sessions, str_from(x->session.id, SESSION_ID),
                      x->who->digest);
}

/* Looks the session up and holds the request against it; answers what is wrong. */
static bool find_session(struct http_face *f) {
    struct exchange *x = &f->x;
    struct str id = f->request->head->known[HTTP_MCP_SESSION_ID];
    if (!era_offers_legacy(x)) {
        answer_error(x, 400, RPC_HEADER_MISMATCH, (struct str){ 0 },
                     "MCP-Protocol-Version must be 2026-07-28, as must the one in _meta: "
                     "no other revision is spoken here");
        return false;
    }
    if (!id.p) {
        answer_error(x, 400, RPC_INVALID_REQUEST, (struct str){ 0 },
                     "Mcp-Session-Id is missing: initialize first, or send the _meta of revision "
                     "2026-07-28");
        return false;
    }
    if (!session_find(x->task, x->gw->gateway->sessions, id, x->who->digest,
                      session_profile(x->profile_name), task_now(x->task), &x->session)) {
        answer_error(x, 404, RPC_INVALID_REQUEST, (struct str){ 0 },
                     "The session has ended; initialize again");
        return false;
    }
    struct str version = f->request->head->known[HTTP_MCP_PROTOCOL_VERSION];
    x->revision = x->session.revision;
    if (version.p && revision_parse(version) != x->revision) {
        answer_error(x, 400, RPC_INVALID_REQUEST, (struct str){ 0 },
                     "MCP-Protocol-Version differs from what the session negotiated (%.*s)",
                     STR(revision_text(x->revision)));
        return false;
    }
    return true;
}

static void take_notification(struct exchange *x) {
    struct sessions *all = x->gw->gateway->sessions;
    enum method m = method_parse(x->in.method);
    if (m == METHOD_N_INITIALIZED)
        session_set_initialized(x->task, all, str_from(x->session.id, SESSION_ID));
    if (m == METHOD_N_ROOTS_CHANGED)
        forward_roots_changed(x);
    if (m == METHOD_N_CANCELLED && x->in.params.p) {
        struct str id = json_raw_get(x->in.params, S("requestId"));
        if (id.p)
            exchange_cancel_request(x->gw->gateway, &x->session, id);
    }
}

static void take_noted(void *self, struct exchange *x) {
    if (x->in.kind == ENVELOPE_NOTIFICATION)
        take_notification(x);
    else
        question_take_answer(x->gw->gateway, &x->session, &x->in);
}

/* Of a session of 2025-03-26 alone (P-008, P-009). */
static void serve_batch(struct http_face *f) {
    struct exchange *x = &f->x;
    SCOPED(buf_done) struct buf answers = { 0 };
    x->era = ERA_LEGACY;
    x->in.id = (struct str){ 0 };
    if (f->request->head->known[HTTP_MCP_SESSION_ID].p && !find_session(f))
        return;
    if (x->revision != R03) {
        struct str header = f->request->head->known[HTTP_MCP_PROTOCOL_VERSION];
        if (x->revision == REV_NONE && header.p)
            x->revision = revision_parse(header); /* it says how an id is left out (P-007) */
        answer_error(x, 400, RPC_INVALID_REQUEST, (struct str){ 0 },
                     "Batches are accepted in sessions of revision 2025-03-26 alone");
        return;
    }
    f->request->on_gone = detached_from_client;
    err_t e = batch_run(x, take_noted, f, &answers);
    struct str piece = buf_view(&answers);
    if (e)
        answer_error(x, 400, RPC_INVALID_REQUEST, (struct str){ 0 }, "%s", e->text);
    else if (piece.n)
        face_answer(x, 200, &piece, 1);
    else
        accepted(f);
}

static void serve_legacy(struct http_face *f) {
    struct exchange *x = &f->x;
    x->era = ERA_LEGACY;
    bool session_named = f->request->head->known[HTTP_MCP_SESSION_ID].p;
    if (x->method == METHOD_INITIALIZE && x->in.kind == ENVELOPE_REQUEST && !session_named) {
        serve_initialize(f);
        return;
    }
    if (!find_session(f))
        return;
    if (x->method == METHOD_INITIALIZE && x->in.kind == ENVELOPE_REQUEST) {
        answer_error(x, 0, RPC_INVALID_REQUEST, (struct str){ 0 },
                     "The session is initialized already (P-034)");
        return;
    }
    f->request->on_gone = detached_from_client;
    if (x->in.kind == ENVELOPE_REQUEST) {
        if (x->revision == R11)
            resume_watch(x->gw);
        run(f);
        return;
    }
    take_noted(f, x);
    accepted(f);
}

/* ---- HTTP methods ------------------------------------------------------------------ */

static void refuse_envelope(struct http_face *f, enum envelope_fault fault) {
    struct str header = f->request->head->known[HTTP_MCP_PROTOCOL_VERSION];
    enum revision r = header.p ? revision_parse(header) : REV_NONE;
    f->x.revision = r;
    f->x.era = r == REV_NONE || revision_era(r) == ERA_LEGACY ? ERA_LEGACY : ERA_MODERN;
    answer_error(&f->x, 400, envelope_fault_code(fault), (struct str){ 0 }, "%s",
                 envelope_fault_text(fault));
}

static void serve_post(struct http_face *f) {
    struct http_request *r = f->request;
    struct exchange *x = &f->x;
    struct str type = r->head->known[HTTP_CONTENT_TYPE];
    if (!type.p || !is_json(type)) {
        refuse(f, 415, "media_type", "Content-Type must be application/json");
        return;
    }
    if (!f->json_ok && !f->stream_ok) {
        refuse(f, 406, "accept", "Accept must allow application/json or text/event-stream");
        return;
    }
    struct envelope_limits limits = { .depth = (unsigned)x->snapshot->conf->limits.json_depth };
    enum envelope_fault fault = envelope_scan(r->body, limits, &x->in);
    if (!fault && x->in.kind == ENVELOPE_BATCH) {
        serve_batch(f);
        return;
    }
    if (fault) {
        refuse_envelope(f, fault);
        return;
    }
    exchange_read_method(x);
    if (is_modern(f))
        serve_modern(f);
    else
        serve_legacy(f);
}

/* P-152: what cannot be resumed is refused, the session stays. */
static void serve_resumption(struct http_face *f, struct str last_event_id) {
    struct exchange *x = &f->x;
    struct reader *reader;
    err_t e = resume_ask(x, last_event_id, &reader);
    if (e) {
        bool ours = e->kind != ERR_DENIED && e->kind != ERR_NOT_FOUND;
        struct err why = *e;
        answer_error(x, ours ? 503 : 400, ours ? RPC_INTERNAL : RPC_INVALID_REQUEST,
                     (struct str){ 0 }, "%s", why.text);
        return;
    }
    if (begin_stream(f, x->task))
        reader_free(reader);
    else
        resume_go_on(x->task, reader, f->request);
}

static void serve_get(struct http_face *f) {
    struct exchange *x = &f->x;
    struct str last_event_id = f->request->head->known[HTTP_LAST_EVENT_ID];
    x->era = ERA_LEGACY;
    if (!f->stream_ok) {
        refuse(f, 406, "accept", "Accept must allow text/event-stream");
        return;
    }
    if (!f->request->head->known[HTTP_MCP_SESSION_ID].p) {
        refuse(f, 405, "method", "GET opens the stream of a session and needs Mcp-Session-Id");
        return;
    }
    if (!find_session(f))
        return;
    if (!stream_allowed(x))
        refuse(f, 429, "limited", "Too many streams of this key are open");
    else if (last_event_id.n)
        serve_resumption(f, last_event_id);
    else if (!begin_stream(f, x->task))
        stream_open_get(x, f->request);
}

static void serve_delete(struct http_face *f) {
    struct exchange *x = &f->x;
    x->era = ERA_LEGACY;
    if (!f->request->head->known[HTTP_MCP_SESSION_ID].p) {
        refuse(f, 405, "method", "DELETE ends a session and needs Mcp-Session-Id");
        return;
    }
    if (!find_session(f))
        return;
    stream_end_session(x->gw->gateway, &x->session);
    subscribers_forget(x->gw->gateway, x->gw->worker, x->session.id);
    session_close(x->task, x->gw->gateway->sessions, str_from(x->session.id, SESSION_ID),
                  x->who->digest);
    resume_end_session(x->gw->gateway, &x->session);
    http_respond(x->task, f->request, &(struct http_answer){
        .status = 200, .fields = f->fields, .field_count = f->field_count });
}

static bool find_profile(struct http_face *f) {
    struct exchange *x = &f->x;
    if (snapshot_profile_for(x->snapshot, x->who, x->profile_name, &x->profile))
        return true;
    visit_refuse(x->task, f->request, REFUSE_API, 404, "not_found",
                 "There is no profile \"%.*s\" for this key", STR(x->profile_name));
    return false;
}

static bool room_for_one_more(struct http_face *f) {
    struct exchange *x = &f->x;
    if (!gateway_is_full(x->gw, x->snapshot))
        return true;
    refuse(f, 503, "overload", "Too many requests are in flight");
    return false;
}

void face_http_serve(struct task *t, struct http_request *r) {
    struct visit *v = r->user;
    if (websocket_asked(r->head) && str_eq(r->head->method, S("GET"))) {
        line_serve_websocket(t, r);
        return;
    }
    struct http_face f = { .request = r, .visit = v };
    f.x = (struct exchange){
        .face = &http_face_ops, .face_self = &f, .gw = gateway_here(r->worker), .task = t, .arena = &r->arena,
        .snapshot = v->snapshot, .who = v->who, .profile_name = v->rest, .head = r->head, .began = r->began,
        .request_id = r->id,
        .revision = REV_NONE,
    };
    f.field_count = visit_cors(v, f.fields);
    read_accept(&f);
    f.x.can_stream = f.stream_ok;
    if (!find_profile(&f) || !room_for_one_more(&f))
        return;
    if (str_eq(r->head->method, S("POST")))
        serve_post(&f);
    else if (str_eq(r->head->method, S("GET")))
        serve_get(&f);
    else if (str_eq(r->head->method, S("DELETE")))
        serve_delete(&f);
    else
        refuse(&f, 405, "method", "Only POST, GET and DELETE are served here");
    if (f.kept)
        resumable_release(f.kept);
    if (r->detached) /* a stream reads what is current: it keeps no old snapshot alive */
        visit_release(r);
}
