/* face_method.c - see face_method.h. */
#include "gateway/face_method.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/admit.h"
#include "gateway/era.h"
#include "gateway/exchange.h"

#define BASE "/mcp/v1/"

struct method_face {
    struct exchange x;
    struct http_request *request;
    struct str method;
    bool whole; /* the client sent a message, it gets one */
    struct http_field fields[CORS_FIELDS + 1];
    size_t field_count;
};

/* ---- towards the client -------------------- */

static void respond(struct method_face *f, int status, const struct str *pieces, size_t n) {
    err_t e = http_respond(f->x.task, f->request, &(struct http_answer){
        .status = status, .type = S("application/json"), .fields = f->fields, .field_count = f->field_count,
        .pieces = pieces, .piece_count = n });
    if (e)
        log_debug("answer not delivered", F("error", e->text));
}

/* HTTP's word for what JSON-RPC says in a code. */
static int status_of(int status, int code) {
    if (status != 200)
        return status;
    switch (code) {
    case RPC_METHOD_NOT_FOUND: return 404;
    case RPC_INVALID_PARAMS:
    case RPC_INVALID_REQUEST: return 400;
    case -32002: return 404; /* resource not found */
    default: return 502;
    }
}

static err_t face_notify(struct exchange *x, const struct str *pieces, size_t n) {
    return OK; /* can_stream is false */
}

static void face_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    struct method_face *f = x->face_self;
    SCOPED(buf_done) struct buf all = { 0 };
    if (f->whole) {
        respond(f, status, pieces, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        buf_str(&all, pieces[i]);
    struct str result = json_raw_get(buf_view(&all), S("result"));
    struct str bare = result.p ? result
                               : arena_fmt(x->arena, "{\"error\":%.*s}",
                                           STR(json_raw_get(buf_view(&all), S("error"))));
    respond(f, result.p ? 200 : status_of(status, x->rpc_code), &bare, 1);
}

static struct push_stream *face_open_stream(struct exchange *x) {
    return NULL;
}

static const struct face_ops method_ops = {
    .notify = face_notify, .answer = face_answer, .open_stream = face_open_stream,
};

/* ---- the message -------------------- */

static bool refuse(struct method_face *f, int status, const char *word, const char *why) {
    visit_refuse(f->x.task, f->request, REFUSE_API, status, word, "%s", why);
    return false;
}

/* What stands in the body decides: a message names its method. */
static struct str message_of(struct method_face *f, struct str body) {
    struct str params = str_trim(body);
    f->whole = str_starts(params, S("{")) && json_raw_get(params, S("jsonrpc")).p;
    if (f->whole)
        return body;
    return arena_fmt(f->x.arena,
                     "{\"jsonrpc\":\"2.0\",\"id\":\"%.*s\",\"method\":\"%.*s\",\"params\":%.*s}",
                     STR(f->request->id), STR(f->method), STR(params.n ? params : S("{}")));
}

/* json_raw_get wants valid text: the body is scanned by itself first. */
static bool check_body(struct method_face *f, struct str body) {
    struct json_limits limits = { .depth = (unsigned)f->x.snapshot->conf->limits.json_depth };
    json document = NULL;
    if (!str_trim(body).n)
        return true;
    err_t e = json_parse(f->x.arena, body, limits, &document);
    if (e)
        return refuse(f, 400, "invalid", e->text);
    return json_type(document) == JSON_OBJECT ||
           refuse(f, 400, "invalid", "The body must be an object");
}

static bool read_message(struct method_face *f) {
    struct exchange *x = &f->x;
    struct envelope_limits limits = { .depth = (unsigned)x->snapshot->conf->limits.json_depth + 1 };
    if (!check_body(f, f->request->body))
        return false;
    enum envelope_fault fault = envelope_scan(message_of(f, f->request->body), limits, &x->in);
    if (fault)
        return refuse(f, 400, "invalid", envelope_fault_text(fault));
    exchange_read_method(x);
    if (x->in.kind != ENVELOPE_REQUEST)
        return refuse(f, 400, "invalid", "The body must be a request or its params");
    if (!str_eq(x->in.method, f->method))
        return refuse(f, 400, "invalid", "The method of the body is not that of the path");
    return true;
}

/* ---- sessions -------------------- */

static bool open_session(struct method_face *f) {
    struct exchange *x = &f->x;
    if (!era_negotiate(x))
        return false;
    const struct session_start start = { .revision = x->revision, .principal = x->who->digest,
                                         .profile = session_profile(x->profile_name) };
    err_t e = session_open(x->task, x->gw->gateway->sessions, &start, task_now(x->task),
                           &x->session);
    if (e)
        return refuse(f, err_status(e->kind), err_word(e->kind), e->text);
    f->fields[f->field_count++] = (struct http_field){ S("mcp-session-id"),
                                                       str_from(x->session.id, SESSION_ID) };
    return true;
}

static bool find_session(struct method_face *f) {
    struct exchange *x = &f->x;
    struct str id = f->request->head->known[HTTP_MCP_SESSION_ID];
    if (!id.p)
        return true;
    if (!session_find(x->task, x->gw->gateway->sessions, id, x->who->digest,
                      session_profile(x->profile_name), task_now(x->task), &x->session))
        return refuse(f, 404, "not_found", "The session has ended; initialize again");
    x->revision = x->session.revision;
    return true;
}

/* ---- serving -------------------- */

static bool may_go_on(struct method_face *f) {
    struct exchange *x = &f->x;
    struct str type = f->request->head->known[HTTP_CONTENT_TYPE];
    if (f->request->body.n &&
        (!type.p || !str_eq_nocase(str_trim(str_cut(&type, ';')), S("application/json"))))
        return refuse(f, 415, "media_type", "Content-Type must be application/json");
    if (gateway_is_full(x->gw, x->snapshot))
        return refuse(f, 503, "overload", "Too many requests are in flight");
    if (!snapshot_profile_for(x->snapshot, x->who, S(""), &x->profile))
        return refuse(f, 404, "not_found", "This key has profiles of its own: use /mcp/NAME");
    return true;
}

static struct str method_of(const struct http_head *h) {
    struct str path = str_skip(h->path, sizeof BASE - 1);
    while (path.n && path.p[path.n - 1] == '/') /* a slash at the end is equal to none */
        path.n--;
    return path;
}

void face_method_serve(struct task *t, struct http_request *r) {
    struct visit *v = r->user;
    struct method_face f = { .request = r, .method = method_of(r->head) };
    f.x = (struct exchange){
        .face = &method_ops, .face_self = &f, .gw = gateway_here(r->worker), .task = t, .arena = &r->arena,
        .snapshot = v->snapshot, .who = v->who, .profile_name = S(""), .began = r->began, .request_id = r->id,
        .era = ERA_LEGACY, .revision = LATEST_LEGACY,
    };
    f.field_count = visit_cors(v, f.fields);
    if (!may_go_on(&f) || !read_message(&f))
        return;
    bool opens = f.x.method == METHOD_INITIALIZE;
    if (opens ? open_session(&f) : find_session(&f))
        exchange_run(&f.x);
}
