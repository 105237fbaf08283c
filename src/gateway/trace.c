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

static void add_text(struct attributes *a, struct str key, struct str text) {
    if (text.n)
        a->items[a->n++] = (struct attribute){ .key = key, .text = text };
}

static void add_number(struct attributes *a, struct str key, int64_t number) {
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
        add_text(a, S("gen_ai.operation.name"), S("execute_tool"));
        add_text(a, S("gen_ai.tool.name"), name);
        return;
    case METHOD_PROMPTS_GET: add_text(a, S("gen_ai.prompt.name"), name); return;
    case METHOD_RESOURCES_READ: add_text(a, S("mcp.resource.uri"), uri_public(x->arena, name)); return;
    default: return;
    }
}

typedef void add_fn(struct exchange *x, struct attributes *a, struct str name);

/* The name and the attributes that all calls of an entry share are encoded once: the key has all
 * that they depend on. Addresses are those of one snapshot. A URI is a client's own. */
static struct str common_of(struct exchange *x, enum span_kind kind, unsigned more, struct str name,
                            add_fn *add, struct buf *own) {
    const uint64_t key[SPAN_KEY] = {
        x->snapshot->generation, (uintptr_t)x->entry, (uintptr_t)x->upstream, (uintptr_t)x->profile,
        (unsigned)x->method | kind << 8 | more << 16,
    };
    bool few = x->method != METHOD_RESOURCES_READ;
    struct str known = few ? tracer_common(x->gw->tracer, key) : S("");
    if (known.n)
        return known;
    struct attributes a = { .n = 0 };
    add(x, &a, name);
    otlp_put_common(own, &(struct span_common){
        .kind = kind, .name = method_name(x->method), .target = target_of(x, name),
        .attributes = a.items, .count = a.n });
    return few ? tracer_keep(x->gw->tracer, key, own) : buf_view(own);
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
        add_text(a, S("rpc.response.status_code"), str_from(code, (size_t)n));
    }
    add_text(a, S("error.type"), str_of(x->outcome ? x->outcome : "none"));
}

static bool has_failed(const struct exchange *x) {
    return x->rpc_code || !x->answered || (x->outcome && strcmp(x->outcome, "ok") != 0);
}

static void add_server(struct exchange *x, struct attributes *a, struct str name) {
    add_text(a, S("mcp.method.name"), method_name(x->method));
    add_target(x, a, name);
    add_text(a, S("mcp.protocol.version"), revision_text(x->revision));
    add_text(a, S("rpc.system.name"), S("jsonrpc"));
    add_text(a, S("network.transport"), x->head ? S("tcp") : S("pipe"));
    add_text(a, S("network.protocol.name"), x->head ? S("http") : S(""));
    add_text(a, S("network.protocol.version"), x->head ? S("1.1") : S(""));
    add_text(a, S("gatespan.profile"), x->profile_name);
    add_text(a, S("gatespan.upstream"), x->upstream ? x->upstream->conf->name : S(""));
}

static struct str shown_name(const struct exchange *x) {
    if (x->entry)
        return x->entry->shown;
    return x->method == METHOD_RESOURCES_READ ? x->target : S("");
}

static void put_server(struct exchange *x) {
    SCOPED(buf_done) struct buf own = { 0 };
    struct attributes a = { .n = 0 };
    char code[16];
    bool failed = has_failed(x);
    unsigned more = (unsigned)(x->revision + 1) << 1 | (x->head != NULL);
    struct str common = common_of(x, SPAN_SERVER, more, shown_name(x), add_server, &own);
    if (has_session(x))
        add_text(&a, S("mcp.session.id"), str_from(x->session.id, SESSION_ID));
    add_text(&a, S("jsonrpc.request.id"), request_id(x));
    add_text(&a, S("gatespan.request.id"), log_request());
    add_text(&a, S("gatespan.key.name"), x->who->name);
    if (failed)
        add_failure(x, &a, code);
    tracer_put(x->gw->tracer, &(struct span){
        .trace = &x->trace.context, .id = x->trace.context.span, .common = common,
        .parent = x->trace.context.parent, .remote_parent = x->trace.context.parent, .began = x->began,
        .ended = x->gw->worker->now, .attributes = a.items, .count = a.n, .failed = failed });
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
        add_text(a, S("network.transport"), S("pipe"));
    if (c->type != UPSTREAM_HTTP || http_url_parse(c->url, &url))
        return;
    add_text(a, S("network.transport"), S("tcp"));
    add_text(a, S("network.protocol.name"), S("http"));
    add_text(a, S("server.address"), url.host);
    add_number(a, S("server.port"), url.port);
}

/* The upstream failed, or answered with an error or a failed tool. */
static const char *client_failure(const struct exchange *x) {
    if (x->trace.failure)
        return x->trace.failure;
    return has_failed(x) ? x->outcome : NULL;
}

static void add_client(struct exchange *x, struct attributes *a, struct str name) {
    enum revision r = upstream_revision(x->upstream);
    add_text(a, S("mcp.method.name"), method_name(x->method));
    add_target(x, a, name);
    if (r != REV_NONE)
        add_text(a, S("mcp.protocol.version"), revision_text(r));
    add_text(a, S("rpc.system.name"), S("jsonrpc"));
    add_transport(x->upstream->conf, a);
    add_text(a, S("gatespan.upstream"), x->upstream->conf->name);
}

static void put_client(struct exchange *x) {
    SCOPED(buf_done) struct buf own = { 0 };
    struct attributes a = { .n = 0 };
    const char *failure = client_failure(x);
    unsigned more = (unsigned)(upstream_revision(x->upstream) + 1);
    struct str common = common_of(x, SPAN_CLIENT, more, x->target, add_client, &own);
    if (failure)
        add_text(&a, S("error.type"), str_of(failure));
    tracer_put(x->gw->tracer, &(struct span){
        .trace = &x->trace.context, .id = x->trace.client_span, .common = common,
        .parent = x->trace.context.span, .began = x->trace.sent, .ended = x->trace.received,
        .attributes = a.items, .count = a.n, .failed = failure != NULL });
}

void exchange_trace_end(struct exchange *x) {
    if (x->trace.client_span)
        put_client(x);
    put_server(x);
}
