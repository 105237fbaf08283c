/* otlp_metrics.c - see otlp_encode.h: everything on /metrics, as OTLP.
 *
 * Names become OpenTelemetry's: `_total` goes, a unit at the end becomes the unit, and what
 * follows a semantic convention gets its dots back. A collector that exposes them to
 * Prometheus makes the names of our own page of that again. Sums and histograms are
 * cumulative since the start of the process. */
#include "base/metric.h"
#include "obs/otlp_encode.h"
#include "obs/proto.h"

enum { SCOPE_METRICS = 2, METRIC_NAME = 1, METRIC_HELP = 2, METRIC_UNIT = 3, METRIC_IS_GAUGE = 5, METRIC_IS_SUM = 7,
       METRIC_IS_HISTOGRAM = 9 };
enum { POINTS = 1, TEMPORALITY = 2, MONOTONIC = 3, CUMULATIVE = 2 };
enum { POINT_START = 2, POINT_TIME = 3, POINT_VALUE = 4, POINT_ATTRIBUTES = 7 };
enum {
    HISTOGRAM_COUNT = 4,
    HISTOGRAM_SUM,
    HISTOGRAM_BUCKETS,
    HISTOGRAM_BOUNDS,
    HISTOGRAM_ATTRIBUTES = 9
};
enum { KEY = 1, VALUE = 2, TEXT = 1 };

/* What has dots in OpenTelemetry. */
static const struct {
    const char *ours, *theirs;
} conventions[] = {
    { "mcp_server_operation_duration", "mcp.server.operation.duration" },
    { "mcp_client_operation_duration", "mcp.client.operation.duration" },
    { "http_server_request_duration", "http.server.request.duration" },
    { "mcp_method_name", "mcp.method.name" },
    { "gen_ai_tool_name", "gen_ai.tool.name" },
    { "http_request_method", "http.request.method" },
    { "http_route", "http.route" },
    { "http_response_status_code", "http.response.status_code" },
};

static struct str convention(struct str name) {
    for (size_t i = 0; i < ARRAY_SIZE(conventions); i++)
        if (str_eq(name, str_of(conventions[i].ours)))
            return str_of(conventions[i].theirs);
    return name;
}

static bool strip(struct str *name, struct str end) {
    if (!str_ends(*name, end))
        return false;
    name->n -= end.n;
    return true;
}

static struct str unit_of(struct str *name) {
    strip(name, S("_total"));
    if (strip(name, S("_seconds")))
        return S("s");
    return strip(name, S("_bytes")) ? S("By") : S("");
}

/* A metric without series yet is left out: its head is written with its first point. */
struct encoder {
    struct metric_reader reader;
    struct buf *out;
    nanos start, now;
    const struct metric_def *open;
    size_t metric, data; /* begun */
};

static void begin_metric(struct encoder *e, const struct metric_def *def) {
    static const unsigned fields[] = { [METRIC_COUNTER] = METRIC_IS_SUM,
                                       [METRIC_GAUGE] = METRIC_IS_GAUGE,
                                       [METRIC_HISTOGRAM] = METRIC_IS_HISTOGRAM };
    struct str name = str_of(def->name), unit = unit_of(&name);
    e->open = def;
    e->metric = proto_begin(e->out, SCOPE_METRICS);
    proto_bytes(e->out, METRIC_NAME, convention(name));
    proto_bytes(e->out, METRIC_HELP, str_of(def->help));
    if (unit.n)
        proto_bytes(e->out, METRIC_UNIT, unit);
    e->data = proto_begin(e->out, fields[def->kind]);
}

static void end_metric(struct encoder *e) {
    if (!e->open)
        return;
    if (e->open->kind != METRIC_GAUGE)
        proto_uint(e->out, TEMPORALITY, CUMULATIVE);
    if (e->open->kind == METRIC_COUNTER)
        proto_bool(e->out, MONOTONIC, true);
    proto_end(e->out, e->data);
    proto_end(e->out, e->metric);
    e->open = NULL;
}

static void on_metric(struct metric_reader *r, const struct metric_def *def) {
    end_metric((struct encoder *)r);
}

/* Texts from outside that are not UTF-8 would spoil the whole request; as on the page. */
static void put_clean(struct buf *b, struct str s) {
    struct buf text = { 0 };
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] < 0x80)
            buf_char(&text, s.p[i]);
        else
            buf_str(&text, S("\xef\xbf\xbd"));
    proto_bytes(b, TEXT, buf_view(&text));
    buf_done(&text);
}

static void put_label(struct buf *b, unsigned field, const char *label, struct str value) {
    size_t pair = proto_begin(b, field);
    proto_bytes(b, KEY, convention(str_of(label)));
    size_t any = proto_begin(b, VALUE);
    if (json_is_utf8(value))
        proto_bytes(b, TEXT, value);
    else
        put_clean(b, value);
    proto_end(b, any);
    proto_end(b, pair);
}

static void put_labels(struct buf *b, unsigned field, const struct metric_def *def,
                       const struct metric_point *p) {
    for (size_t i = 0; i < METRIC_LABELS && def->labels[i]; i++)
        put_label(b, field, def->labels[i], p->values[i]);
}

static void put_histogram(struct buf *b, const struct metric_point *p) {
    proto_fixed64(b, HISTOGRAM_COUNT, (uint64_t)p->count);
    proto_double(b, HISTOGRAM_SUM, p->value);
    proto_packed64(b, HISTOGRAM_BUCKETS, p->buckets, p->bound_count + 1);
    proto_packed64(b, HISTOGRAM_BOUNDS, p->bounds, p->bound_count);
}

static void on_point(struct metric_reader *r, const struct metric_def *def,
                     const struct metric_point *p) {
    struct encoder *e = (struct encoder *)r;
    bool histogram = def->kind == METRIC_HISTOGRAM;
    if (e->open != def)
        begin_metric(e, def);
    size_t point = proto_begin(e->out, POINTS);
    put_labels(e->out, histogram ? HISTOGRAM_ATTRIBUTES : POINT_ATTRIBUTES, def, p);
    if (def->kind != METRIC_GAUGE)
        proto_fixed64(e->out, POINT_START, (uint64_t)e->start);
    proto_fixed64(e->out, POINT_TIME, (uint64_t)e->now);
    if (histogram)
        put_histogram(e->out, p);
    else
        proto_double(e->out, POINT_VALUE, p->value);
    proto_end(e->out, point);
}

void otlp_put_metrics(struct buf *b, nanos start, nanos now) {
    struct encoder e = { .reader = { on_metric, on_point }, .out = b, .start = start, .now = now };
    metric_read(&e.reader);
    end_metric(&e);
}
