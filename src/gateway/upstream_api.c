/* upstream_api.c - HTTP APIs as upstreams: each operation is a tool, a call is one request to the
 * one host that is configured. Redirects are answers, not orders: they are not followed, and
 * link-local and metadata addresses are not connected to unless that is allowed. */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/api_ops.h"
#include "gateway/upstream.h"
#include "net/http_server.h"

enum { EXCERPT = 2000 };

struct api_link {
    struct api api;
    struct tls_context *tls;
    struct buf headers; /* the same for every request */
};

/* ---- life ------------------------------------------------------------------------------ */

static err_t open_link(struct upstream *u, struct api_link *link) {
    TRY(api_compile(&u->arena, &u->conf->api, &link->api));
    if (link->api.base.secure) {
        struct tls_conf conf = {
            .cert_file = u->conf->tls.cert_file, .key_file = u->conf->tls.key_file, .ca_file = u->conf->tls.ca_file,
            .server_name = u->conf->tls.server_name, .allow_1_2 = u->conf->tls.allow_tls_1_2,
            .insecure = u->conf->tls.insecure,
        };
        TRY(tls_client_new(&conf, &link->tls));
    }
    buf_fmt(&link->headers,
            "host: %.*s\r\nuser-agent: gatespan/" GATESPAN_VERSION
            "\r\naccept: application/json, */*;q=0.5\r\n",
            STR(link->api.base.authority));
    for (size_t i = 0; i < u->conf->headers.n; i++)
        buf_fmt(&link->headers, "%.*s: %.*s\r\n", STR(u->conf->headers.items[i].name),
                STR(u->conf->headers.items[i].value));
    return OK;
}

static void link_free(struct api_link *link) {
    if (!link)
        return;
    api_done(&link->api);
    tls_context_unref(link->tls);
    if (link->headers.n)
        crypto_wipe(link->headers.p, link->headers.n);
    buf_done(&link->headers);
    free(link);
}

static err_t api_start(struct task *t, struct upstream *u) {
    if (u->impl)
        return OK;
    struct api_link *link = NEW(struct api_link);
    err_t e = open_link(u, link);
    if (!e) {
        u->impl = link;
        return OK;
    }
    struct err why = *e;
    link_free(link);
    return err_again(&why);
}

/* Nothing is asked: what an API is worth shows with the first call. */
static err_t api_probe(struct task *t, struct upstream *u) {
    SCOPED(buf_done) struct buf info = { 0 };
    struct jw w = jw_init(&info);
    jw_object(&w);
    jw_put_string(&w, "name", u->conf->name);
    jw_put_string(&w, "version", S(GATESPAN_VERSION));
    jw_object_end(&w);
    u->info = (struct upstream_info){
        .revision = LATEST_LEGACY, .has = { .tools = true },
        .server_info = arena_dup(&u->info_arena, buf_view(&info)), .instructions = S(""),
    };
    return OK;
}

static err_t api_watch(struct task *t, struct upstream *u) {
    struct event never = { 0 };
    return event_wait(t, &never);
}

static void api_stop(struct task *t, struct upstream *u) {
}

static void api_side_close(struct worker *w, struct upstream *u) {
    struct upstream_side *side = upstream_side(u, w);
    http_pool_free(side->pool);
    side->pool = NULL;
}

static void api_free(struct upstream *u) {
    link_free(u->impl);
}

static struct http_pool *pool_of(struct upstream *u, struct worker *w) {
    struct upstream_side *side = upstream_side(u, w);
    const struct api_link *link = u->impl;
    if (!side->pool && atomic_load(&u->state) != UP_STOPPED)
        side->pool = http_pool_new(w, &(struct http_target){
            .host = link->api.base.host, .port = link->api.base.port, .tls = link->tls,
            .max_conns = (unsigned)u->conf->max_connections, .max_waiting = 20000,
            .connect_timeout = u->conf->connect_timeout, .idle_timeout = u->conf->idle_timeout,
            .no_link_local = !u->conf->api.allow_link_local,
        });
    return side->pool;
}

/* ---- results ------------------------------------------------------------------------------- */

struct api_answer {
    int status;
    struct str type, location, body;
};

static void put_text(struct jw *w, struct str text) {
    jw_object(w);
    jw_put_string(w, "type", S("text"));
    jw_put_string(w, "text", text);
    jw_object_end(w);
}

static void put_result(struct buf *out, struct str text, bool failed) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_key(&w, S("content"));
    jw_array(&w);
    put_text(&w, text);
    jw_array_end(&w);
    if (failed)
        jw_put_bool(&w, "isError", true);
    jw_object_end(&w);
}

/* The model may mend what it did (P-025), so it is told what the API said. */
static void put_failure(struct arena *a, struct buf *out, const struct api_op *op,
                        const struct api_answer *answer) {
    const char *word = http_status_text(answer->status);
    struct str text;
    if (answer->status < 400)
        text = arena_fmt(
            a, "HTTP %d %s: the API answers with a redirect%s%.*s; redirects are not followed",
            answer->status, word, answer->location.n ? " to " : "",
            STR(str_head(answer->location, 200)));
    else
        text = arena_fmt(a, "HTTP %d %s from %.*s %.*s%s%.*s", answer->status, word,
                         STR(op->method), STR(op->path), answer->body.n ? ": " : "",
                         STR(str_head(answer->body, EXCERPT)));
    put_result(out, text, true);
}

/* An object is the structured result; anything else is its member "result". */
static void put_json(struct buf *out, json value, struct str body) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_key(&w, S("content"));
    jw_array(&w);
    put_text(&w, body);
    jw_array_end(&w);
    jw_key(&w, S("structuredContent"));
    if (json_type(value) == JSON_OBJECT) {
        jw_value(&w, value);
    } else {
        jw_object(&w);
        jw_put_value(&w, "result", value);
        jw_object_end(&w);
    }
    jw_object_end(&w);
}

static void put_media(struct buf *out, const char *kind, struct str type, struct str body) {
    SCOPED(buf_done) struct buf data = { 0 };
    struct jw w = jw_init(out);
    base64_put(&data, body.p, body.n);
    jw_object(&w);
    jw_key(&w, S("content"));
    jw_array(&w);
    jw_object(&w);
    jw_put_string(&w, "type", str_of(kind));
    jw_put_string(&w, "data", buf_view(&data));
    jw_put_string(&w, "mimeType", type);
    jw_object_end(&w);
    jw_array_end(&w);
    jw_object_end(&w);
}

static void put_success(struct arena *a, struct buf *out, const struct api_answer *answer) {
    struct str rest = answer->type, type = str_trim(str_cut(&rest, ';')), body = answer->body;
    json value = NULL;
    bool is_json = str_eq_nocase(type, S("application/json")) || str_ends(type, S("+json"));
    if (!body.n)
        put_result(out, arena_fmt(a, "%d %s", answer->status, http_status_text(answer->status)),
                   false);
    else if (is_json && !json_parse(a, body, (struct json_limits){ .bytes = body.n }, &value))
        put_json(out, value, body);
    else if (str_starts(type, S("image/")))
        put_media(out, "image", type, body);
    else if (str_starts(type, S("audio/")))
        put_media(out, "audio", type, body);
    else if (json_is_utf8(body))
        put_result(out, body, false);
    else
        put_result(out,
                   arena_fmt(a, "%zu bytes of %.*s, which is no text", body.n,
                             STR(type.n ? type : S("an unnamed type"))),
                   false);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct str write_head(struct arena *a, const struct api_link *link, const struct api_op *op,
                             const struct upstream_request *r, const struct api_request *q) {
    struct str trace = S(""), framing = S("");
    if (r->traceparent.n)
        trace = arena_fmt(a, "traceparent: %.*s\r\n", STR(r->traceparent));
    if (q->has_body)
        framing = arena_fmt(a, "content-type: application/json\r\ncontent-length: %zu\r\n",
                            q->body.n);
    else if (!str_eq(op->method, S("GET")))
        framing = S("content-length: 0\r\n");
    return arena_fmt(a, "%.*s %.*s HTTP/1.1\r\n%.*s%.*s%.*s%.*s\r\n", STR(op->method),
                     STR(buf_view(&q->target)), STR(buf_view(&link->headers)),
                     STR(buf_view(&q->headers)), STR(trace), STR(framing));
}

static err_t exchange(struct task *t, struct upstream_call *c, struct arena *a,
                      const struct api_op *op, const struct api_request *q,
                      struct http_reply *reply, struct api_answer *out) {
    struct upstream *u = c->upstream;
    struct http_pool *pool = pool_of(u, c->worker);
    struct str pieces[] = { write_head(a, u->impl, op, c->request, q), buf_view(&q->body) };
    if (!pool)
        return ERR(UNAVAILABLE, "upstream %.*s was removed", STR(u->conf->name));
    bool safe = c->request->safe || str_eq(op->method, S("GET"));
    TRY(http_call(t, pool, pieces, q->body.n ? 2 : 1, safe ? HTTP_SAFE : 0, reply));
    out->status = reply->status;
    out->type = arena_dup(a, reply->head->known[HTTP_CONTENT_TYPE]);
    out->location = arena_dup(a, reply->head->known[HTTP_LOCATION]);
    return http_reply_body(t, reply, (size_t)u->conf->max_answer, &out->body);
}

static err_t call_op(struct task *t, struct upstream_call *c, struct arena *a,
                     const struct api_op *op, struct api_request *q) {
    const struct api_link *link = c->upstream->impl;
    struct str text = c->request->arguments.p ? c->request->arguments : S("{}");
    struct api_answer answer = { 0 };
    json arguments;
    err_t e = json_parse(a, text, (struct json_limits){ .bytes = text.n }, &arguments);
    if (!e)
        e = api_request_make(a, &link->api, op, arguments, q);
    if (e) { /* the model can mend it (P-200) */
        put_result(&c->local,
                   arena_fmt(a, "Invalid arguments for %.*s: %s", STR(op->name), e->text), true);
        return OK;
    }
    SCOPED(http_reply_done) struct http_reply reply = { 0 };
    TRY(exchange(t, c, a, op, q, &reply, &answer));
    if (answer.status >= 200 && answer.status < 300)
        put_success(a, &c->local, &answer);
    else
        put_failure(a, &c->local, op, &answer);
    return OK;
}

static err_t call_tool(struct task *t, struct upstream_call *c, bool *failed) {
    const struct api_link *link = c->upstream->impl;
    const struct api_op *op = api_find(&link->api, c->request->name);
    SCOPED(arena_scope) struct arena a;
    SCOPED(api_request_done) struct api_request q = { 0 };
    arena_init(&a, NULL, 0);
    if (op)
        return call_op(t, c, &a, op, &q);
    struct jw w = jw_init(&c->local);
    jw_object(&w);
    jw_put_int(&w, "code", RPC_INVALID_PARAMS);
    jw_put_string(&w, "message", arena_fmt(&a, "Unknown tool: %.*s", STR(c->request->name)));
    jw_object_end(&w);
    *failed = true;
    return OK;
}

static err_t api_begin(struct task *t, struct upstream_call *c) {
    return c->upstream->impl ? OK : ERR(UNAVAILABLE, "not started yet");
}

static err_t api_next(struct task *t, struct upstream_call *c, struct envelope *out) {
    const struct api_link *link = c->upstream->impl;
    bool failed = false;
    if (c->request->method == METHOD_TOOLS_LIST)
        buf_str(&c->local, link->api.listing);
    else
        TRY(call_tool(t, c, &failed));
    struct str answer = buf_view(&c->local);
    *out = (struct envelope){ .kind = failed ? ENVELOPE_ERROR : ENVELOPE_RESULT, .text = answer };
    if (failed)
        out->error = answer;
    else
        out->result = answer;
    return OK;
}

static void api_end(struct upstream_call *c, struct upstream *u) {
    buf_done(&c->local);
}

const struct upstream_ops upstream_api = {
    .kind = "api",
    .start = api_start,
    .probe = api_probe,
    .watch = api_watch,
    .stop = api_stop,
    .begin = api_begin,
    .next = api_next,
    .end = api_end,
    .side_close = api_side_close,
    .free = api_free,
};
