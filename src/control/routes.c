/* routes.c - see routes.h. Trailing slashes are equal (DESIGN decision 16). */
#include "control/routes.h"
#include "base/mem.h"
#include "base/metric.h"
#include "control/private.h"
#include "gateway/face_http.h"

static void send_text(struct task *t, struct http_request *r, int status, const char *type,
                      const struct buf *b) {
    struct visit *v = r->user;
    struct http_field fields[CORS_FIELDS];
    struct str piece = buf_view(b);
    http_respond(t, r, &(struct http_answer){
        .status = status, .type = str_of(type), .fields = fields, .field_count = visit_cors(v, fields),
        .pieces = &piece, .piece_count = 1 });
}

static struct control *control_of(const struct http_request *r) {
    return r->service->arg;
}

static void serve_health(struct task *t, struct http_request *r) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, S("{\"status\":\"ok\",\"version\":\"" GATESPAN_VERSION "\"}"));
    send_text(t, r, 200, "application/json", &b);
}

static void serve_ready(struct task *t, struct http_request *r) {
    const struct visit *v = r->user;
    SCOPED(buf_done) struct buf b = { 0 };
    bool ready = control_health(control_of(r), v->snapshot, &b, false);
    send_text(t, r, ready ? 200 : 503, "application/json", &b);
}

static void serve_detailed(struct task *t, struct http_request *r) {
    const struct visit *v = r->user;
    SCOPED(buf_done) struct buf b = { 0 };
    control_health(control_of(r), v->snapshot, &b, true);
    send_text(t, r, 200, "application/json", &b);
}

static void serve_metrics(struct task *t, struct http_request *r) {
    SCOPED(buf_done) struct buf b = { 0 };
    metric_expose(&b);
    send_text(t, r, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

const struct route routes[] = {
    { "/mcp", true, "POST GET DELETE OPTIONS", NEED_KEY, REFUSE_RPC, face_http_serve,
      "MCP over Streamable HTTP; /mcp/NAME is a profile." },
    { "/health", false, "GET HEAD", NEED_NOBODY, REFUSE_API, serve_health, "The process answers." },
    { "/ready", false, "GET HEAD", NEED_NOBODY, REFUSE_API, serve_ready,
      "200 when a snapshot is loaded and every required upstream is up, else 503." },
    { "/api/v1/health", false, "GET HEAD", NEED_NOBODY, REFUSE_API, serve_health, "The same as /health." },
    { "/api/v1/health/live", false, "GET HEAD", NEED_NOBODY, REFUSE_API, serve_health, "The same as /health." },
    { "/api/v1/health/ready", false, "GET HEAD", NEED_NOBODY, REFUSE_API, serve_ready, "The same as /ready." },
    { "/api/v1/health/detailed", false, "GET HEAD", NEED_ADMIN, REFUSE_API, serve_detailed,
      "Every upstream with its state, revision, counts and last error." },
    { "/metrics", false, "GET HEAD", NEED_ADMIN, REFUSE_API, serve_metrics, "Prometheus text format." },
};
const size_t route_count = ARRAY_SIZE(routes);

/* ---- finding the row --------------------------------------------------------------- */

static struct str without_slash(struct str path) {
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static bool fits(const struct route *route, struct str path, struct str *rest) {
    struct str own = str_of(route->path);
    *rest = S("");
    if (str_eq(path, own))
        return true;
    if (!route->prefix || !str_starts(path, own) || path.p[own.n] != '/')
        return false;
    *rest = str_skip(path, own.n + 1);
    return true;
}

static const struct route *find(struct str path, struct str *rest) {
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
        if (fits(&routes[i], path, rest))
            return &routes[i];
    return NULL;
}

static bool listed(const char *methods, struct str method) {
    struct str all = str_of(methods);
    while (all.p)
        if (str_eq(str_cut(&all, ' '), method))
            return true;
    return false;
}

static int admit(struct http_request *r, size_t *max_body) {
    struct control *c = control_of(r);
    struct str rest, method = r->head->method;
    const struct route *route = find(without_slash(r->head->path), &rest);
    if (!route)
        return visit_refuse(NULL, r, REFUSE_API, 404, "not_found", "There is nothing at this path");
    if (!listed(route->methods, method) && !str_eq(method, S("OPTIONS")))
        return visit_refuse(NULL, r, route->style, 405, "method", "This path takes %s",
                            route->methods);
    int status = visit_admit(r, control_gateway(c), route->need, route->style);
    struct visit *v = r->user;
    v->route = route; /* of refusals too: they are counted by it */
    if (status)
        return status;
    v->rest = rest;
    *max_body = (size_t)v->snapshot->conf->limits.body;
    return 0;
}

static void serve(struct task *t, struct http_request *r) {
    const struct visit *v = r->user;
    ((const struct route *)v->route)->serve(t, r);
}

struct http_service routes_service(struct control *c) {
    return (struct http_service){
        .admit = admit, .serve = serve, .done = account_request, .release = visit_release, .arg = c
    };
}
