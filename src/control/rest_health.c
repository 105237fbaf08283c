/* rest_health.c - operation: health, numbers, what this is, what is being worked on. */
#include "base/mem.h"
#include "base/metric.h"
#include "control/private.h"
#include "control/rest.h"
#include "control/rest_routes.h"
#include "gateway/exchange.h"
#include "servers/server.h"

/* ---- health ------------------------------------------------------------------------ */

static const char *const status_words[] = { "ok", "degraded", "not_ready", NULL };

struct health {
    int status;
    struct str version;
};
static const struct field health_fields[] = {
    FIELD_CHOICE(struct health, status, status_words, NULL, 0, "degraded: an upstream is not up; not_ready: a required one, or the gateway ends."),
    FIELD(struct health, version, STR, NULL, NULL, 0, "Version of the gateway."),
};
static const struct schema health_schema = SCHEMA("Health", health_fields, struct health);

struct upstream_health {
    struct str name, kind, state, revision, reason;
    bool required, last_known;
    int64_t failures, restarts, tools, prompts, resources, templates;
};
#define T struct upstream_health
static const struct field upstream_health_fields[] = {
    FIELD(T, name, STR, NULL, NULL, 0, "Its name."),
    FIELD(T, kind, STR, NULL, NULL, 0, "stdio, http or builtin."),
    FIELD(T, state, STR, NULL, NULL, 0, "starting, ready (what it offers can be called), failed or stopped."),
    FIELD(T, required, BOOL, NULL, NULL, 0, "/ready waits for it."),
    FIELD(T, revision, STR, NULL, NULL, 0, "Revision of the protocol that it speaks."),
    FIELD(T, reason, STR, NULL, NULL, 0, "Why it is not ready."),
    FIELD(T, failures, INT, NULL, NULL, 0, "Failures in a row."),
    FIELD(T, restarts, INT, NULL, NULL, 0, "Times it was started again."),
    FIELD(T, tools, INT, NULL, NULL, 0, "Tools it offers."),
    FIELD(T, prompts, INT, NULL, NULL, 0, "Prompts it offers."),
    FIELD(T, resources, INT, NULL, NULL, 0, "Resources it offers."),
    FIELD(T, templates, INT, NULL, NULL, 0, "Templates of resources it offers."),
    FIELD_AS("lastKnown", T, last_known, BOOL, NULL, NULL, 0, "The lists are those of an earlier run."),
};
#undef T

struct detailed_health {
    int status;
    struct str version;
    int64_t uptime, sessions;
    struct item_list upstreams;
};
#define T struct detailed_health
static const struct field detailed_fields[] = {
    FIELD_CHOICE(T, status, status_words, NULL, 0, "As in /health/ready."),
    FIELD(T, version, STR, NULL, NULL, 0, "Version of the gateway."),
    FIELD_AS("uptimeSeconds", T, uptime, INT, NULL, NULL, 0, "Time since the start."),
    FIELD(T, sessions, INT, NULL, NULL, 0, "Sessions of legacy clients."),
    FIELD_NEST(T, upstreams, LIST, upstream_health_fields, struct upstream_health, 0, "Every upstream."),
};
#undef T
static const struct schema detailed_schema = SCHEMA("DetailedHealth", detailed_fields,
                                                    struct detailed_health);

static err_t health_live(struct rest *r) {
    const struct health h = { .version = S(GATESPAN_VERSION) };
    field_write(health_fields, ARRAY_SIZE(health_fields), &h, &r->w);
    return OK;
}

static err_t health_ready(struct rest *r) {
    bool ready = control_health(r->control, r->visit->snapshot, &r->out, false);
    r->status = ready ? 200 : 503;
    return OK;
}

static err_t health_detailed(struct rest *r) {
    control_health(r->control, r->visit->snapshot, &r->out, true);
    return OK;
}

static err_t metrics(struct rest *r) {
    if (!r->visit->snapshot->conf->metrics.enabled)
        return ERR(NOT_FOUND, "metrics are switched off: metrics.enabled is false");
    metric_expose(&r->out);
    return OK;
}

/* ---- what this is ------------------------------------------------------------------- */

struct info_limits {
    int64_t body, in_flight, page;
};
#define T struct info_limits
static const struct field info_limit_fields[] = {
    FIELD(T, body, BYTES, NULL, NULL, 0, "Largest request body."),
    FIELD(T, in_flight, INT, NULL, NULL, 0, "Requests being worked on at once."),
    FIELD(T, page, INT, NULL, NULL, 0, "Items of one page of an MCP list."),
};
#undef T

struct info {
    struct str name, version, build, compiler;
    int64_t uptime, workers;
    struct str_list revisions, builtins, features;
    struct info_limits limits;
};
#define T struct info
static const struct field info_fields[] = {
    FIELD(T, name, STR, NULL, NULL, 0, "gatespan."),
    FIELD(T, version, STR, NULL, NULL, 0, "Version of the program."),
    FIELD(T, build, STR, NULL, NULL, 0, "How it was built: release or checked."),
    FIELD(T, compiler, STR, NULL, NULL, 0, "Compiler that built it."),
    FIELD(T, uptime, INT, NULL, NULL, 0, "Seconds since the start."),
    FIELD(T, workers, INT, NULL, NULL, 0, "Worker threads."),
    FIELD(T, revisions, STRS, NULL, NULL, 0, "Revisions of MCP that it speaks."),
    FIELD(T, builtins, STRS, NULL, NULL, 0, "Built-in servers there are."),
    FIELD(T, features, STRS, NULL, NULL, 0, "What the running configuration has on: tls, anonymous."),
    FIELD_NEST(T, limits, OBJECT, info_limit_fields, struct info_limits, 0, "Bounds that a client meets."),
};
#undef T
static const struct schema info_schema = SCHEMA("Info", info_fields, struct info);

static struct str_list revisions(const struct gateway_conf *conf, struct arena *a) {
    struct str_list list = { .items = ARENA_ARRAY(a, struct str, REVISIONS) };
    for (int i = conf->protocol.oldest; i <= conf->protocol.newest; i++)
        list.items[list.n++] = revision_text((enum revision)i);
    return list;
}

static struct str_list builtins(struct arena *a) {
    struct str_list list = { .items = ARENA_ARRAY(a, struct str, builtin_count) };
    for (size_t i = 0; i < builtin_count; i++)
        list.items[list.n++] = str_of(builtin_servers[i]->name);
    return list;
}

static struct str_list features(const struct gateway_conf *conf, struct arena *a) {
    struct str_list list = { .items = ARENA_ARRAY(a, struct str, 2) };
    if (conf->tls.cert_file.n)
        list.items[list.n++] = S("tls");
    if (conf->anonymous)
        list.items[list.n++] = S("anonymous");
    return list;
}

static err_t info_show(struct rest *r) {
    const struct gateway *g = control_gateway(r->control);
    const struct gateway_conf *conf = r->visit->snapshot->conf;
    const struct info info = {
        .name = S("gatespan"), .version = S(GATESPAN_VERSION), .compiler = S(__VERSION__),
#ifdef __OPTIMIZE__
        .build = S("release"),
#else
        .build = S("checked"),
#endif
        .uptime = (clock_mono() - g->started) / NANOS_SEC, .workers = workers_count(g->all),
        .revisions = revisions(conf, r->arena), .builtins = builtins(r->arena), .features = features(conf, r->arena),
        .limits = { .body = conf->limits.body, .in_flight = conf->limits.in_flight, .page = conf->limits.page },
    };
    field_write(info_fields, ARRAY_SIZE(info_fields), &info, &r->w);
    return OK;
}

/* ---- calls in flight ------------------------------------------------------------------ */

struct call_item {
    struct str request_id, method, tool, upstream, key, began;
    int64_t ms, worker;
};
#define T struct call_item
static const struct field call_fields[] = {
    FIELD(T, request_id, STR, NULL, NULL, 0, "Id that its log lines carry."),
    FIELD(T, method, STR, NULL, NULL, 0, "Method of MCP."),
    FIELD(T, tool, STR, NULL, NULL, 0, "Tool, prompt or URI, as clients see it."),
    FIELD(T, upstream, STR, NULL, NULL, 0, "Who is to answer it."),
    FIELD(T, key, STR, NULL, NULL, 0, "Name of the key that calls."),
    FIELD(T, began, TIME, NULL, NULL, 0, "When its head had arrived."),
    FIELD(T, ms, INT, NULL, NULL, 0, "Milliseconds since then."),
    FIELD(T, worker, INT, NULL, NULL, 0, "Worker that runs it."),
};
#undef T
static const struct schema call_schema = SCHEMA("Call", call_fields, struct call_item);

struct call_collect {
    struct rest *rest;
    size_t left;
};

enum { MOST_CALLS = 1000 };

static void write_call(struct call_collect *c, const struct exchange *x, nanos now) {
    char when[CLOCK_TEXT];
    nanos took = now - x->began;
    const struct call_item item = {
        .request_id = x->request_id, .method = method_name(x->method), .tool = x->entry ? x->entry->shown : x->target,
        .upstream = x->upstream ? x->upstream->conf->name : S(""), .key = x->who->name,
        .began = clock_rfc3339(clock_wall() - took, when), .ms = took / NANOS_MS, .worker = x->gw->worker->index,
    };
    field_write(call_fields, ARRAY_SIZE(call_fields), &item, &c->rest->w);
}

/* On the worker whose calls they are; the asker waits, so its buffer is ours meanwhile. */
static err_t collect_calls(struct task *t, void *arg) {
    struct call_collect *c = arg;
    struct gateway_worker *gw = gateway_here(task_worker(t));
    for (struct exchange *x = gw ? gw->exchanges : NULL; x && c->left; x = x->next) {
        write_call(c, x, task_now(t));
        c->left--;
    }
    return OK;
}

static err_t calls_list(struct rest *r) {
    struct workers *all = control_gateway(r->control)->all;
    struct call_collect c = { .rest = r, .left = MOST_CALLS };
    jw_object(&r->w);
    jw_key(&r->w, S("items"));
    jw_array(&r->w);
    for (unsigned i = 0; i < workers_count(all); i++)
        TRY(task_on(r->task, workers_at(all, i), collect_calls, &c));
    jw_array_end(&r->w);
    jw_object_end(&r->w);
    return OK;
}

/* ---- rows -------------------------------------------------------------------------- */

static const struct route rows[] = {
    ROUTE(GET, "/health", NOBODY, health_live, "The process answers.", .result = &health_schema),
    ROUTE(GET, "/ready", NOBODY, health_ready, "200 when a snapshot is loaded and every required upstream is up, else 503.",
          .result = &health_schema),
    ROUTE(GET, "/metrics", ADMIN, metrics, "Prometheus text format.", .media = "text/plain; version=0.0.4; charset=utf-8"),
    ROUTE(GET, "/api/v1/health", NOBODY, health_live, "The same as /health.", .result = &health_schema),
    ROUTE(GET, "/api/v1/health/live", NOBODY, health_live, "The same as /health.", .result = &health_schema),
    ROUTE(GET, "/api/v1/health/ready", NOBODY, health_ready, "The same as /ready.", .result = &health_schema),
    ROUTE(GET, "/api/v1/health/detailed", ADMIN, health_detailed,
          "Every upstream with its state, revision, counts and last error.", .result = &detailed_schema),
    ROUTE(GET, "/api/v1/info", KEY, info_show, "Version, build, revisions spoken, features, limits.", .result = &info_schema),
    ROUTE(GET, "/api/v1/calls", ADMIN, calls_list, "Calls in flight on all workers, at most 1000.", .result = &call_schema,
          .flags = ROUTE_LIST),
};
const struct route_table health_routes = { "operation", rows, ARRAY_SIZE(rows) };
