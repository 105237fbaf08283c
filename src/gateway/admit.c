/* admit.c - see admit.h. */
#include "gateway/admit.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include <stdio.h>

#define ALLOW_METHODS "GET, POST, DELETE, PUT, PATCH, OPTIONS"
#define ALLOW_HEADERS                                                                              \
    "authorization, content-type, accept, mcp-session-id, mcp-protocol-version, mcp-method, "      \
    "mcp-name, last-event-id, traceparent, tracestate, baggage, idempotency-key, if-match"
#define EXPOSE_HEADERS                                                                             \
    "mcp-session-id, www-authenticate, retry-after, etag, location, x-request-id, deprecation, "   \
    "sunset, idempotency-replayed"

/* ---- refusals ---------------------------------------------------------------------- */

static size_t refusal_fields(const struct http_request *r, enum refusal_style style, int status,
                             struct http_field out[8]) {
    size_t n = r->user ? visit_cors(r->user, out) : 0;
    if (style == REFUSE_API)
        out[n++] = (struct http_field){ S("cache-control"), S("no-store") };
    if (status == 401)
        out[n++] = (struct http_field){ S("www-authenticate"), S("Bearer realm=\"gatespan\"") };
    if (status == 429 || status == 503)
        out[n++] = (struct http_field){ S("retry-after"), S("1") };
    if (status == 405 && style == REFUSE_RPC)
        out[n++] = (struct http_field){ S("allow"), S("GET, POST, DELETE, OPTIONS") };
    return n;
}

int visit_refuse_with(struct task *t, struct http_request *r, const struct refusal *what,
                      const struct http_field *more, size_t n) {
    SCOPED(buf_done) struct buf body = { 0 };
    struct http_field fields[16];
    struct http_answer a = { .status = what->status, .type = refusal_write(&body, r, what),
                             .fields = fields, .piece_count = 1 };
    struct str piece = buf_view(&body);
    a.pieces = &piece;
    a.field_count = refusal_fields(r, what->style, what->status, fields);
    for (size_t i = 0; i < n && a.field_count < ARRAY_SIZE(fields); i++)
        fields[a.field_count++] = more[i];
    metric_add(METRIC_SERIES(&metric_refusals, what->word), 1);
    if (t)
        http_respond(t, r, &a);
    else
        http_refuse(r, &a);
    return what->status;
}

int visit_refuse(struct task *t, struct http_request *r, enum refusal_style style, int status,
                 const char *word, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return visit_refuse_with(t, r, &(struct refusal){
        .style = style, .status = status, .word = str_of(word), .message = str_of(text) }, NULL, 0);
}

/* ---- Host and Origin --------------------------------------------------------------- */

static struct str without_port(struct str authority) {
    if (str_starts(authority, S("["))) {
        ptrdiff_t end = str_find_char(authority, ']');
        return end < 0 ? authority : str_head(authority, (size_t)end + 1);
    }
    ptrdiff_t colon = str_find_char(authority, ':');
    return colon < 0 ? authority : str_head(authority, (size_t)colon);
}

/* Digits and dots alone: 127.evil.example is a name that anybody can register. */
static bool is_loopback_v4(struct str host) {
    if (!str_starts(host, S("127.")))
        return false;
    for (size_t i = 0; i < host.n; i++)
        if ((host.p[i] < '0' || host.p[i] > '9') && host.p[i] != '.')
            return false;
    return true;
}

static bool is_loopback_name(struct str host) {
    return is_loopback_v4(host) || str_eq(host, S("[::1]")) || str_eq_nocase(host, S("localhost"));
}

static bool listed(const struct str_list *list, struct str s) {
    for (size_t i = 0; i < list->n; i++)
        if (str_eq_nocase(list->items[i], s))
            return true;
    return false;
}

/* Every listen address is a loopback one: then a foreign Host means DNS rebinding. */
static bool only_loopback(const struct gateway_conf *c) {
    for (size_t i = 0; i < c->listen.n; i++)
        if (!is_loopback_name(without_port(c->listen.items[i])))
            return false;
    return true;
}

static bool host_allowed(const struct gateway_conf *c, struct str authority) {
    struct str host = without_port(authority);
    if (is_loopback_name(host) || listed(&c->hosts, host) || listed(&c->hosts, authority))
        return true;
    return !c->hosts.n && !only_loopback(c);
}

static bool origin_allowed(const struct gateway_conf *c, struct str origin, struct str authority) {
    if (listed(&c->cors.origins, origin) || listed(&c->cors.origins, S("*")))
        return true;
    ptrdiff_t at = str_find(origin, S("://"));
    return at > 0 && str_eq_nocase(str_skip(origin, (size_t)at + 3), authority);
}

size_t visit_cors(const struct visit *v, struct http_field out[CORS_FIELDS]) {
    if (!v->origin.n)
        return 0;
    out[0] = (struct http_field){ S("access-control-allow-origin"), v->origin };
    out[1] = (struct http_field){ S("access-control-expose-headers"), S(EXPOSE_HEADERS) };
    out[2] = (struct http_field){ S("vary"), S("origin") };
    return 3;
}

/* The Mcp-Param-* headers that the page asks for, behind the fixed ones: their names are the
 * upstreams' (PROTOCOL §4.1), and a list with Authorization in it must name each. */
static struct str allowed_headers(struct http_request *r) {
    struct str asked = http_find(r->head, S("access-control-request-headers")),
               all = S(ALLOW_HEADERS);
    for (int i = 0; i < 64 && asked.p; i++) { /* a stranger asks: no more work than this */
        struct str name = str_trim(str_cut(&asked, ','));
        if (str_eq_nocase(str_head(name, 10), S("mcp-param-")) && http_is_token(name))
            all = arena_fmt(&r->arena, "%.*s, %.*s", STR(all), STR(name));
    }
    return all;
}

static int answer_preflight(struct http_request *r, const struct visit *v, struct str allow) {
    struct http_field fields[CORS_FIELDS + 4];
    size_t n = visit_cors(v, fields);
    fields[n++] = (struct http_field){ S("allow"), allow };
    fields[n++] = (struct http_field){ S("access-control-allow-methods"), S(ALLOW_METHODS) };
    fields[n++] = (struct http_field){ S("access-control-allow-headers"), allowed_headers(r) };
    fields[n++] = (struct http_field){ S("access-control-max-age"), S("600") };
    return http_refuse(r,
                       &(struct http_answer){ .status = 204, .fields = fields, .field_count = n });
}

/* ---- who --------------------------------------------------------------------------- */

static bool from_loopback(const struct http_request *r) {
    const struct sockaddr *a = (const struct sockaddr *)r->peer;
    if (a->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
    if (a->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
    return a->sa_family == AF_UNIX;
}

/* Nobody has to say who he is on this machine itself; under a foreign Host it is a web page
 * whose name was pointed here (P-171). */
static bool may_be_anonymous(const struct http_request *r, const struct gateway_conf *c) {
    struct str authority = r->head->known[HTTP_HOST], host = without_port(authority);
    bool known = is_loopback_name(host) || listed(&c->hosts, host) || listed(&c->hosts, authority);
    return known && from_loopback(r);
}

static const struct principal *identify(struct http_request *r, struct visit *v,
                                        const struct key_index *keys) {
    struct str authorization = r->head->known[HTTP_AUTHORIZATION];
    struct str key = authorization.p ? key_bearer(authorization) : r->head->known[HTTP_X_API_KEY];
    if (key.n)
        return key_verify(gateway_here(r->worker)->keys, keys, key);
    return !authorization.p && may_be_anonymous(r, v->snapshot->conf) ? key_index_anonymous(keys)
                                                                      : NULL;
}

static int authenticate(struct http_request *r, struct visit *v, enum need need,
                        enum refusal_style style) {
    void *keys = NULL;
    v->keys_pin = snapshot_pin(r->worker, v->gateway->keys, &keys);
    v->who = keys ? identify(r, v, keys) : NULL;
    if (!v->who)
        return visit_refuse(NULL, r, style, 401, "unauthenticated",
                            "A key is required: send Authorization: Bearer gs_…");
    if (need == NEED_ADMIN && !v->who->grants.admin)
        return visit_refuse(NULL, r, style, 403, "denied", "This needs an admin key");
    principal_touch(v->who, worker_now(r->worker));
    return 0;
}

/* ---- all of it --------------------------------------------------------------------- */

int visit_admit(struct http_request *r, struct gateway *g, enum need need, enum refusal_style style,
                struct str allow) {
    struct visit *v = ARENA_NEW(&r->arena, struct visit);
    void *snapshot = NULL;
    v->gateway = g;
    v->snapshot_pin = snapshot_pin(r->worker, g->snapshots, &snapshot);
    v->snapshot = snapshot;
    r->user = v;
    if (!snapshot)
        return visit_refuse(NULL, r, style, 503, "starting", "The gateway is starting");
    const struct gateway_conf *conf = v->snapshot->conf;
    struct str host = r->head->known[HTTP_HOST], origin = r->head->known[HTTP_ORIGIN];
    if (host.p && !host_allowed(conf, host))
        return visit_refuse(NULL, r, style, 403, "host",
                            "This Host is not served here; add it to `hosts` if it should be");
    if (origin.p && !origin_allowed(conf, origin, host))
        return visit_refuse(
            NULL, r, style, 403, "origin",
            "This Origin is not allowed; add it to `cors: origins` if it should be");
    v->origin = origin.p ? origin : (struct str){ 0 };
    if (str_eq(r->head->method, S("OPTIONS")))
        return answer_preflight(r, v, allow);
    return need == NEED_NOBODY ? 0 : authenticate(r, v, need, style);
}

void visit_release(struct http_request *r) {
    struct visit *v = r->user;
    snapshot_unpin(r->worker, TAKE(v->snapshot_pin));
    snapshot_unpin(r->worker, TAKE(v->keys_pin));
}
