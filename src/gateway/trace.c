/* trace.c - the spans of an exchange: one of the call that came, one of the call upstream.
 * Names and attributes are those of OpenTelemetry's semantic conventions for MCP and JSON-RPC;
 * what they do not know begins with "gatespan.". Arguments and results are never recorded. */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/exchange.h"
#include "mcp/uri.h"
#include "net/http_url.h"
#include "obs/exporter.h"
#include <stdio.h>

enum { ATTRIBUTES = 24 };

struct attributes {
    struct attribute items[ATTRIBUTES];
    size_t n;
};

static void add_text(struct attributes *a, const char *key, struct str text) {
    if (text.n)
        a->items[a->n++] = (struct attribute){ .key = key, .text = text };
}

static void add_number(struct attributes *a, const char *key, int64_t number) {
    a->items[a->n++] = (struct attribute){ .key = key, .number = number };
}

/* ---- what both have ---------------------------------------------------------------- */

/* What the method is about, as the span's name shows it: few different ones (no URIs). */
static struct str target_of(const struct exchange *x, struct str name) {
    return x->method == METHOD_TOOLS_CALL || x->method == METHOD_PROMPTS_GET ? name : S("");
}

static void add_target(struct exchange *x, struct attributes *a, struct str name) {
    switch (x->method) {
    case METHOD_TOOLS_CALL:
        add_text(a, "gen_ai.operation.name", S("execute_tool"));
        add_text(a, "gen_ai.tool.name", name);
        return;
    case METHOD_PROMPTS_GET: add_text(a, "gen_ai.prompt.name", name); return;
    case METHOD_RESOURCES_READ: add_text(a, "mcp.resource.uri", uri_public(x->arena, name)); return;
    default: return;
    }
}

static void put(struct exchange *x, struct span *s, const struct attributes *a) {
    s->trace = &x->trace.context;
    s->name = method_name(x->method);
    s->attributes = a->items;
    s->count = a->n;
    tracer_put(x->gw->tracer, s);
}

/* ---- towards the client ------------------------------------------------------------ */

void exchange_trace_begin(struct exchange *x) {
    struct str parent = x->in.traceparent;
    if (!parent.p && x->head)
        parent = x->head->known[HTTP_TRACEPARENT];
    x->trace.context = tracer_begin(x->gw->tracer, parent);
}

/* The id as JSON-RPC has it, a string without its quotes. */
static struct str request_id(const struct exchange *x) {
    struct str id = x->in.id;
    return id.n > 2 && id.p[0] == '"' ? str_from(id.p + 1, id.n - 2) : id;
}

static bool has_session(const struct exchange *x) {
    static const char none[SESSION_ID];
    return memcmp(x->session.id, none, SESSION_ID) != 0;
}

static void add_failure(const struct exchange *x, struct attributes *a, char code[16]) {
    if (x->rpc_code) {
        int n = snprintf(code, 16, "%d", x->rpc_code);
        add_text(a, "rpc.response.status_code", str_from(code, (size_t)n));
    }
    add_text(a, "error.type", str_of(x->outcome ? x->outcome : "none"));
}

static bool has_failed(const struct exchange *x) {
    return x->rpc_code || !x->answered || (x->outcome && strcmp(x->outcome, "ok") != 0);
}

static void put_server(struct exchange *x) {
    struct attributes a = { .n = 0 };
    char code[16];
    struct str name = x->entry ? x->entry->shown
                      : x->method == METHOD_RESOURCES_READ ? x->target
                                                           : S("");
    add_text(&a, "mcp.method.name", method_name(x->method));
    add_target(x, &a, name);
    add_text(&a, "mcp.protocol.version", revision_text(x->revision));
    if (has_session(x))
        add_text(&a, "mcp.session.id", str_from(x->session.id, SESSION_ID));
    add_text(&a, "jsonrpc.request.id", request_id(x));
    add_text(&a, "rpc.system.name", S("jsonrpc"));
    add_text(&a, "network.transport", x->head ? S("tcp") : S("pipe"));
    add_text(&a, "network.protocol.name", x->head ? S("http") : S(""));
    add_text(&a, "network.protocol.version", x->head ? S("1.1") : S(""));
    add_text(&a, "gatespan.request.id", log_request());
    add_text(&a, "gatespan.key.name", x->who->name);
    add_text(&a, "gatespan.profile", x->profile_name);
    add_text(&a, "gatespan.upstream", x->upstream ? x->upstream->conf->name : S(""));
    if (has_failed(x))
        add_failure(x, &a, code);
    put(x, &(struct span){
        .id = x->trace.context.span, .parent = x->trace.context.parent, .kind = SPAN_SERVER,
        .target = target_of(x, name), .began = x->began, .ended = x->gw->worker->now,
        .failed = has_failed(x) }, &a);
}

/* ---- towards the upstream ---------------------------------------------------------- */

struct str exchange_trace_call(struct exchange *x) {
    char *text = arena_alloc(x->arena, TRACEPARENT);
    x->trace.client_span = tracer_span_id(x->gw->tracer);
    if (x->trace.context.sampled)
        x->trace.sent = worker_tick(x->gw->worker);
    trace_write(&x->trace.context, x->trace.client_span, text);
    return str_from(text, TRACEPARENT);
}

static void add_transport(const struct upstream_conf *c, struct attributes *a) {
    struct http_url url;
    if (c->type == UPSTREAM_STDIO)
        add_text(a, "network.transport", S("pipe"));
    if (c->type != UPSTREAM_HTTP || http_url_parse(c->url, &url))
        return;
    add_text(a, "network.transport", S("tcp"));
    add_text(a, "network.protocol.name", S("http"));
    add_text(a, "server.address", url.host);
    add_number(a, "server.port", url.port);
}

/* The upstream failed, or answered with an error or a failed tool. */
static const char *client_failure(const struct exchange *x) {
    if (x->trace.failure)
        return x->trace.failure;
    return has_failed(x) ? x->outcome : NULL;
}

static void put_client(struct exchange *x) {
    struct attributes a = { .n = 0 };
    const struct upstream_conf *c = x->upstream->conf;
    const char *failure = client_failure(x);
    enum revision r = (enum revision)atomic_load_explicit(&x->upstream->revision,
                                                          memory_order_relaxed);
    add_text(&a, "mcp.method.name", method_name(x->method));
    add_target(x, &a, x->target);
    if (r != REV_NONE)
        add_text(&a, "mcp.protocol.version", revision_text(r));
    add_text(&a, "rpc.system.name", S("jsonrpc"));
    add_transport(c, &a);
    add_text(&a, "gatespan.upstream", c->name);
    if (failure)
        add_text(&a, "error.type", str_of(failure));
    put(x, &(struct span){
        .id = x->trace.client_span, .parent = x->trace.context.span, .kind = SPAN_CLIENT,
        .target = target_of(x, x->target), .began = x->trace.sent, .ended = x->trace.received,
        .failed = failure != NULL }, &a);
}

void exchange_trace_end(struct exchange *x) {
    if (x->trace.client_span)
        put_client(x);
    put_server(x);
}
