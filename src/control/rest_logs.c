/* rest_logs.c - the log as it is written, for `gatespan tail`: an event stream over a tap of the
 * log (log.h). Lines that the reader does not take in time are dropped and counted, so a slow
 * reader costs 1 MiB and nobody his time. */
#include "base/log.h"
#include "base/mem.h"
#include "control/private.h"
#include "control/rest.h"
#include "control/rest_routes.h"
#include "net/sse.h"

enum { TAP_BYTES = 1024 * 1024 };
#define LOOK_EVERY (50 * NANOS_MS)
#define ALIVE_EVERY (15 * NANOS_SEC)

static const char *const levels[] = { "debug", "info", "warn", "error", NULL };

struct logs_query {
    int level;
    struct str upstream, key, request, grep;
};
#define T struct logs_query
static const struct field query_fields[] = {
    FIELD_CHOICE(T, level, levels, "info", 0, "The lowest level that is sent; debug also where the log itself leaves it out."),
    FIELD(T, upstream, STR, NULL, "..64", 0, "Only lines about this upstream."),
    FIELD(T, key, STR, NULL, "..64", 0, "Only lines about this key."),
    FIELD(T, request, STR, NULL, "..128", 0, "Only lines of the request with this id."),
    FIELD(T, grep, STR, NULL, "..200", 0, "Only lines that contain this text."),
};
#undef T
static const struct schema logs_query = SCHEMA("LogsQuery", query_fields, struct logs_query);

static bool says(struct str line, const char *key, struct str wanted) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct str value = wanted.n ? json_raw_get(line, str_of(key)) : S("");
    return !wanted.n || (value.n > 1 && str_eq(json_unquote(&a, value), wanted));
}

static bool is_wanted(const struct logs_query *q, struct str line) {
    return says(line, "upstream", q->upstream) && says(line, "key", q->key) &&
           says(line, "request", q->request) && (!q->grep.n || str_find(line, q->grep) >= 0);
}

static void add_lines(const struct logs_query *q, struct str lines, uint64_t lost,
                      struct buf *out) {
    while (lines.n) {
        struct str line = str_cut(&lines, '\n');
        if (is_wanted(q, line))
            sse_write(out, S("log"), S(""), line);
    }
    if (lost)
        buf_fmt(out, "event: lost\ndata: {\"lines\":%llu}\n\n", (unsigned long long)lost);
}

static err_t send_all(struct task *t, struct http_request *r, struct buf *b) {
    struct str piece = buf_view(b);
    err_t e = b->n ? http_stream_write(t, r, &piece, 1) : OK;
    buf_clear(b);
    return e;
}

/* His key may be gone, or no admin's any more. */
static bool may_read_on(const struct http_request *r) {
    const struct visit *v = r->user;
    const struct key_index *keys = snapshot_peek(r->worker, v->gateway->keys);
    const struct principal *now = keys ? key_index_find(keys, v->who->id, v->who->index) : NULL;
    return now && now->grants.admin && !atomic_load(&v->gateway->draining);
}

/* Until the reader goes, his right does, or the gateway. */
static err_t follow(struct task *t, struct http_request *r, const struct logs_query *q,
                    struct log_tap *tap) {
    SCOPED(buf_done) struct buf lines = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    nanos said = task_now(t);
    sse_comment(&out, S("the log from now on"));
    while (may_read_on(r)) {
        buf_clear(&lines);
        uint64_t lost = log_tap_take(tap, &lines);
        add_lines(q, buf_view(&lines), lost, &out);
        if (!out.n && task_now(t) - said > ALIVE_EVERY)
            sse_comment(&out, S(""));
        if (out.n)
            said = task_now(t);
        TRY(send_all(t, r, &out));
        TRY(task_sleep(t, LOOK_EVERY));
    }
    return http_stream_end(t, r);
}

static void logs_serve(struct task *t, struct http_request *r) {
    struct logs_query *q = arena_zero(&r->arena, sizeof *q);
    bool measure = false;
    err_t e = query_read(&logs_query, r->head->query, q, &r->arena, &measure);
    struct log_tap *tap = e ? NULL : log_tap_new((enum log_level)q->level, TAP_BYTES);
    if (e || !tap) {
        visit_refuse(t, r, REFUSE_API,
                     !e        ? 503
                     : measure ? 422
                               : 400,
                     !e        ? "unavailable"
                     : measure ? "unprocessable"
                               : "invalid",
                     "%s",
                     e ? e->text : "the log is being followed by as many readers as there may be");
        return;
    }
    struct http_field fields[CORS_FIELDS + 1];
    size_t n = visit_cors(r->user, fields);
    fields[n++] = (struct http_field){ S("cache-control"), S("no-store") };
    e = http_stream_begin(t, r, &(struct http_answer){
        .status = 200, .type = S("text/event-stream"), .fields = fields, .field_count = n });
    if (!e)
        follow(t, r, q, tap); /* its error is that the reader has left */
    log_tap_free(tap);
}

static const struct route rows[] = {
    { .methods = "GET", .path = "/api/v1/logs", .need = NEED_ADMIN, .id = "logs_follow", .serve = logs_serve,
      .help = "The log as it is written, as an event stream: events of type log with a line as JSON, lost with a count.",
      .query = &logs_query, .media = "text/event-stream" },
};
const struct route_table log_routes = { "logs", rows, ARRAY_SIZE(rows) };
