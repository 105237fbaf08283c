/* rest_history.c - what was called, and figures over it. A key that is no admin's sees its own
 * calls only. */
#include "base/mem.h"
#include "control/private.h"
#include "control/rest.h"
#include "control/rest_items.h"
#include "control/rest_routes.h"

/* ---- rows of history ----------------------------------------------------------------------- */

struct row_item {
    int64_t id, error_code, request_bytes, response_bytes;
    struct str at, request_id, key_id, key, method, tool, upstream, outcome, trace_id, arguments,
        result;
    double duration_ms;
};
#define T struct row_item
static const struct field row_fields[] = {
    FIELD(T, id, INT, NULL, NULL, 0, "Grows with time."),
    FIELD(T, at, STR, NULL, NULL, 0, "When the answer left."),
    FIELD(T, request_id, STR, NULL, NULL, 0, "Id that its log lines carry."),
    FIELD(T, key_id, STR, NULL, NULL, 0, "Key that called."),
    FIELD(T, key, STR, NULL, NULL, 0, "Its name then."),
    FIELD(T, method, STR, NULL, NULL, 0, "Method of MCP."),
    FIELD(T, tool, STR, NULL, NULL, 0, "Tool, prompt or URI, as clients see it."),
    FIELD(T, upstream, STR, NULL, NULL, 0, "Who answered."),
    FIELD(T, outcome, STR, NULL, NULL, 0, "ok, tool_error, or why it failed."),
    FIELD(T, error_code, INT, NULL, NULL, 0, "Of JSON-RPC; 0: none."),
    FIELD(T, duration_ms, DOUBLE, NULL, NULL, 0, "Time it took."),
    FIELD(T, request_bytes, INT, NULL, NULL, 0, "Size of the request."),
    FIELD(T, response_bytes, INT, NULL, NULL, 0, "Size of the answer."),
    FIELD(T, trace_id, STR, NULL, NULL, 0, "Of W3C Trace Context; empty: none."),
    FIELD(T, arguments, STR, NULL, NULL, 0, "As far as they are kept: raw JSON text."),
    FIELD(T, result, STR, NULL, NULL, 0, "The same."),
};
#undef T
static const struct schema row_schema = SCHEMA("HistoryRow", row_fields, struct row_item);

struct history_request {
    int64_t limit;
    struct str cursor, tool, key, upstream, outcome;
    nanos window;
};
#define T struct history_request
#define FILTERS                                                                                                  \
    FIELD(T, key, STR, NULL, "..64", 0, "Only calls of the key with this id."),                                  \
        FIELD(T, upstream, STR, NULL, "..64", 0, "Only calls that this upstream answered."),                     \
        FIELD(T, outcome, STR, NULL, "..32", 0, "Only this outcome; failed: everything but ok.")
#define PAGE                                                                                                     \
    FIELD(T, limit, INT, "100", "1..1000", 0, "Items of one page."),                                             \
        FIELD(T, cursor, STR, NULL, "..1024", 0, "next_cursor of the page before.")
static const struct field history_query_fields[] = {
    PAGE, FIELD(T, tool, STR, NULL, "..200", 0, "Only calls of this tool."), FILTERS,
    FIELD(T, window, DURATION, "30d", "1s..3650d", 0, "How far back."),
};
static const struct field tool_history_fields[] = {
    PAGE, FILTERS, FIELD(T, window, DURATION, "30d", "1s..3650d", 0, "How far back."),
};
#undef T
static const struct schema history_query_schema = SCHEMA("HistoryQuery", history_query_fields,
                                                         struct history_request);
static const struct schema tool_history_schema = SCHEMA("ToolHistoryQuery", tool_history_fields,
                                                        struct history_request);

static err_t need_history(struct rest *r, struct history **out) {
    *out = control_history(r->control);
    return *out ? OK
                : ERR(UNAVAILABLE,
                      "this process keeps no history: it runs without a data directory");
}

/* Who is no admin asks for himself, whatever he asks for. */
static err_t check_key(struct rest *r, struct str *key) {
    if (r->who->grants.admin)
        return OK;
    if (key->n && !str_eq(*key, r->who->id))
        return ERR(DENIED, "this key sees its own calls only");
    *key = r->who->id;
    return OK;
}

static struct str bound(struct rest *r) {
    return arena_fmt(r->arena, "history\x1f%s\x1f%.*s", r->route->path, STR(r->who->id));
}

static err_t open_cursor(struct rest *r, struct str text, int64_t *out) {
    SCOPED(buf_done) struct buf plain = { 0 };
    *out = 0;
    if (!text.n)
        return OK;
    if (crypto_open(&control_gateway(r->control)->ring, bound(r), text, &plain) ||
        !str_to_i64(buf_view(&plain), out))
        return rest_refuse(r, REFUSAL_UNPROCESSABLE,
                           "cursor is not one of this list; start again without one");
    return OK;
}

static void put_cursor(struct rest *r, int64_t cursor) {
    SCOPED(buf_done) struct buf sealed = { 0 };
    struct str plain = arena_fmt(r->arena, "%lld", (long long)cursor);
    crypto_seal(&control_gateway(r->control)->ring, bound(r), plain, &sealed);
    jw_put_string(&r->w, "next_cursor", buf_view(&sealed));
}

static double milliseconds(nanos n) {
    nanos micros = n / NANOS_US; /* whole ones: three digits are enough */
    return (double)micros / 1000.0;
}

static void write_row(struct rest *r, const struct history_row *row) {
    const struct row_item item = {
        .id = row->id, .at = item_time(r, row->at), .request_id = row->request_id, .key_id = row->key_id,
        .key = row->key_name, .method = row->method, .tool = row->tool, .upstream = row->upstream,
        .outcome = row->outcome, .error_code = row->error_code, .duration_ms = milliseconds(row->duration),
        .request_bytes = row->request_bytes, .response_bytes = row->response_bytes, .trace_id = row->trace_id,
        .arguments = row->arguments, .result = row->result,
    };
    field_write(row_fields, ARRAY_SIZE(row_fields), &item, &r->w);
}

static err_t show_history(struct rest *r, struct str tool) {
    const struct history_request *q = r->query;
    struct history_filter filter = { .tenant = r->who->tenant, .tool = tool, .key = q->key, .upstream = q->upstream,
                                     .outcome = q->outcome, .from = clock_wall() - q->window };
    struct history *h;
    struct history_row *all;
    int64_t cursor, next;
    size_t n;
    TRY(need_history(r, &h));
    TRY(check_key(r, &filter.key));
    TRY(open_cursor(r, q->cursor, &cursor));
    TRY(history_query(r->task, h, r->arena, &filter, cursor, (size_t)q->limit, &all, &n, &next));
    jw_object(&r->w);
    jw_key(&r->w, S("items"));
    jw_array(&r->w);
    for (size_t i = 0; i < n; i++)
        write_row(r, &all[i]);
    jw_array_end(&r->w);
    if (next)
        put_cursor(r, next);
    jw_object_end(&r->w);
    return OK;
}

static err_t history_list(struct rest *r) {
    return show_history(r, ((const struct history_request *)r->query)->tool);
}

static err_t tool_history(struct rest *r) {
    return show_history(r, r->params[0]);
}

/* ---- figures ------------------------------------------------------------------------------- */

/* Of enum history_group. */
static const char *const groups[] = { "all", "tool", "key", "upstream", NULL };

struct stats_request {
    int group;
    nanos window;
    int64_t limit;
    struct str tool, key, upstream;
};
#define T struct stats_request
static const struct field stats_query_fields[] = {
    FIELD_CHOICE(T, group, groups, "tool", 0, "What each item is of."),
    FIELD(T, window, DURATION, "24h", "1s..3650d", 0, "How far back."),
    FIELD(T, limit, INT, "100", "1..1000", 0, "The busiest so many."),
    FIELD(T, tool, STR, NULL, "..200", 0, "Only calls of this tool."),
    FIELD(T, key, STR, NULL, "..64", 0, "Only calls of the key with this id."),
    FIELD(T, upstream, STR, NULL, "..64", 0, "Only calls that this upstream answered."),
};
#undef T
static const struct schema stats_query = SCHEMA("StatsQuery", stats_query_fields,
                                                struct stats_request);

struct stat_item {
    struct str name, last;
    int64_t calls, errors;
    double error_rate, p50_ms, p95_ms, p99_ms, longest_ms;
};
#define T struct stat_item
static const struct field stat_fields[] = {
    FIELD(T, name, STR, NULL, NULL, 0, "The tool, key id or upstream; empty for all."),
    FIELD(T, calls, INT, NULL, NULL, 0, "Calls that ended."),
    FIELD(T, errors, INT, NULL, NULL, 0, "Those that failed; tools that say so included."),
    FIELD(T, error_rate, DOUBLE, NULL, NULL, 0, "Their share, 0 to 1."),
    FIELD(T, p50_ms, DOUBLE, NULL, NULL, 0, "Half of the calls took at most this."),
    FIELD(T, p95_ms, DOUBLE, NULL, NULL, 0, "19 of 20 took at most this."),
    FIELD(T, p99_ms, DOUBLE, NULL, NULL, 0, "99 of 100 took at most this."),
    FIELD(T, longest_ms, DOUBLE, NULL, NULL, 0, "The longest one."),
    FIELD(T, last, STR, NULL, NULL, 0, "When the last one ended."),
};
#undef T

struct stats {
    nanos window;
    int64_t dropped;
    struct stat_item total;
    struct item_list items;
};
#define T struct stats
static const struct field stats_fields[] = {
    FIELD(T, window, DURATION, NULL, NULL, 0, "How far back the figures go."),
    FIELD_NEST(T, total, OBJECT, stat_fields, struct stat_item, 0, "Over all of them."),
    FIELD_NEST(T, items, LIST, stat_fields, struct stat_item, 0, "Busiest first."),
    FIELD(T, dropped, INT, NULL, NULL, 0, "Calls that are missing since the start, because there were too many to keep."),
};
#undef T
static const struct schema stats_schema = SCHEMA("Stats", stats_fields, struct stats);

static struct stat_item stat_of(struct rest *r, const struct history_stat *s) {
    return (struct stat_item){
        .name = s->name, .last = item_time(r, s->last), .calls = s->calls, .errors = s->errors,
        .error_rate = s->error_rate, .p50_ms = milliseconds(s->p50), .p95_ms = milliseconds(s->p95),
        .p99_ms = milliseconds(s->p99), .longest_ms = milliseconds(s->longest),
    };
}

static err_t stats_show(struct rest *r) {
    const struct stats_request *q = r->query;
    struct history_filter filter = { .tenant = r->who->tenant, .tool = q->tool, .key = q->key, .upstream = q->upstream,
                                     .from = clock_wall() - q->window };
    struct history *h;
    struct history_stat *all, *one;
    size_t n, ones;
    TRY(need_history(r, &h));
    TRY(check_key(r, &filter.key));
    TRY(history_stats(r->task, h, r->arena, &filter, HISTORY_ALL, 1, &one, &ones));
    TRY(history_stats(r->task, h, r->arena, &filter, (enum history_group)q->group, (size_t)q->limit,
                      &all, &n));
    struct stat_item *items = ARENA_ARRAY(r->arena, struct stat_item, n + 1);
    for (size_t i = 0; i < n; i++)
        items[i] = stat_of(r, &all[i]);
    struct stats out = {
        .window = q->window, .items = { items, n }, .dropped = (int64_t)history_dropped(h),
    };
    if (ones)
        out.total = stat_of(r, one);
    field_write(stats_fields, ARRAY_SIZE(stats_fields), &out, &r->w);
    return OK;
}

static const struct route rows[] = {
    ROUTE(GET, "/api/v1/history", KEY, history_list, "What was called, newest first; of other keys for admins only.",
          .query = &history_query_schema, .result = &row_schema, .flags = ROUTE_LIST),
    ROUTE(GET, "/api/v1/tools/{name}/history", KEY, tool_history, "The same for one tool.", .query = &tool_history_schema,
          .result = &row_schema, .flags = ROUTE_LIST),
    ROUTE(GET, "/api/v1/stats", KEY, stats_show, "Counts, error rate and durations by tool, key or upstream.",
          .query = &stats_query, .result = &stats_schema),
    ROUTE(GET, "/api/v1/tools/stats", KEY, stats_show, "The same path under tools.", .query = &stats_query,
          .result = &stats_schema),
};
const struct route_table history_routes = { "history", rows, ARRAY_SIZE(rows) };
