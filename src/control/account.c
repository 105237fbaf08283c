/* account.c - every HTTP request, once it is over: its metric and its line in the log. */
#include "control/metrics.h"
#include "control/private.h"
#include "control/routes.h"

/* ---- metric ------------------------------------------------------------------------ */

/* Methods of clients are words of strangers: what is not known counts as OpenTelemetry says. */
static struct str known_method(struct str method) {
    static const char *const known[] = {
        "POST", "GET", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_eq(method, str_of(known[i])))
            return str_of(known[i]);
    return S("_OTHER");
}

/* The series of what is asked for again and again; the rest is looked up each time. */
struct usual {
    const struct route *route;
    const char *method; /* by address: known_method's */
    int status;
    metric_series series;
};

static metric_series find_series(const struct route *route, struct str method, int status) {
    char text[12];
    snprintf(text, sizeof text, "%d", status);
    return METRIC_SERIES(&metric_http_duration, method, route ? str_of(route->path) : S(""),
                         str_of(text));
}

static metric_series series_of(const struct route *route, struct str method, int status) {
    static _Thread_local struct usual cache[16];
    size_t slot = ((uintptr_t)route / sizeof(struct route) + (unsigned)status + method.n) %
                  ARRAY_SIZE(cache);
    struct usual *u = &cache[slot];
    if (u->series && u->route == route && u->method == method.p && u->status == status)
        return u->series;
    *u = (struct usual){ route, method.p, status, find_series(route, method, status) };
    return u->series;
}

/* ---- access log -------------------------------------------------------------------- */

/* The path without its query, which may hold what does not belong into a log (P-172). */
static void log_access(const struct http_request *r, const struct visit *v, nanos took) {
    struct str running = log_request();
    const struct log_field fields[] = {
        F("method", r->head->method),
        F("path", r->head->path),
        F("status", r->status),
        F("bytes", (int64_t)r->sent),
        F("ms", (double)took / (double)NANOS_MS),
        F("key", v && v->who ? v->who->name : S("")),
    };
    log_use_request(r->id);
    log_record(LOG_INFO, "request", fields, ARRAY_SIZE(fields));
    log_use_request(running);
}

void account_request(struct http_request *r) {
    const struct visit *v = r->user;
    const struct route *route = v ? v->route : NULL;
    struct control *c = r->service->arg;
    nanos took = worker_now(r->worker) - r->began;
    metric_observe(series_of(route, known_method(r->head->method), r->status), took);
    if (atomic_load_explicit(&c->log_requests, memory_order_relaxed))
        log_access(r, v, took);
}
