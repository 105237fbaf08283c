/* environment.c - see otlp.h. The names are OpenTelemetry's: "Environment Variable
 * Specification" and "OTLP Exporter Configuration" of version 1.40. */
#include "net/http1.h"
#include "net/http_url.h"
#include "obs/otlp.h"
#include <stdio.h>
#include <stdlib.h>

static struct str variable(const char *name) {
    const char *value = getenv(name);
    return value ? str_trim(str_of(value)) : S("");
}

static bool is_set(const char *name, struct str *out) {
    *out = variable(name);
    return out->n > 0;
}

static void take(const char *name, struct str *member, struct arena *a) {
    struct str value;
    if (is_set(name, &value))
        *member = arena_dup(a, value);
}

/* ---- lists ------------------------------------------------------------------------- */

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Values are percent-encoded, as in W3C Baggage. */
static struct str percent_decoded(struct str s, struct arena *a) {
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool coded = s.p[i] == '%' && i + 2 < s.n && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0;
        out[n++] = coded ? (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2])) : s.p[i];
        i += coded ? 2 : 0;
    }
    return str_from(out, n);
}

static struct pair *pair_of(struct pair_list *list, struct str name) {
    for (size_t i = 0; i < list->n; i++)
        if (str_eq_nocase(list->items[i].name, name))
            return &list->items[i];
    return &list->items[list->n++];
}

/* name=value,… over the pairs that are there. */
static err_t take_pairs(const char *variable_name, struct pair_list *list, struct arena *a) {
    struct str rest;
    if (!is_set(variable_name, &rest))
        return OK;
    size_t most = list->n + 1;
    for (size_t i = 0; i < rest.n; i++)
        most += rest.p[i] == ',';
    struct pair_list all = { ARENA_ARRAY(a, struct pair, most), list->n };
    for (size_t i = 0; i < list->n; i++)
        all.items[i] = list->items[i];
    while (rest.p) {
        struct str value = str_cut(&rest, ','), name = str_trim(str_cut(&value, '='));
        if (!name.n && !value.p)
            continue;
        if (!name.n || !value.p)
            return ERR(INVALID, "%s: a list of NAME=VALUE,… is needed", variable_name);
        name = percent_decoded(name, a);
        *pair_of(&all, name) = (struct pair){ name, percent_decoded(str_trim(value), a) };
    }
    *list = all;
    return OK;
}

/* ---- numbers and words ------------------------------------------------------------- */

static err_t take_millis(const char *name, nanos *member) {
    struct str value;
    uint64_t n;
    if (!is_set(name, &value))
        return OK;
    if (!str_to_u64(value, &n) || n == 0 || n > 3600000)
        return ERR(INVALID, "%s: milliseconds from 1 to 3600000 are needed", name);
    *member = (nanos)n * NANOS_MS;
    return OK;
}

static err_t take_exporter(const char *name, bool *member) {
    struct str value;
    if (!is_set(name, &value))
        return OK;
    if (!str_eq(value, S("otlp")) && !str_eq(value, S("none")))
        return ERR(INVALID, "%s: otlp or none is needed", name);
    *member = str_eq(value, S("otlp"));
    return OK;
}

static err_t take_protocol(const char *name) {
    struct str value;
    if (is_set(name, &value) && !str_eq(value, S("http/protobuf")))
        return ERR(INVALID, "%s: http/protobuf is what there is", name);
    return OK;
}

static err_t take_compression(struct otlp_conf *c) {
    struct str value;
    if (!is_set("OTEL_EXPORTER_OTLP_COMPRESSION", &value))
        return OK;
    if (!str_eq(value, S("gzip")) && !str_eq(value, S("none")))
        return ERR(INVALID, "OTEL_EXPORTER_OTLP_COMPRESSION: gzip or none is needed");
    c->compression = str_eq(value, S("gzip")) ? OTLP_GZIP : OTLP_PLAIN;
    return OK;
}

static err_t take_ratio(double *out) {
    struct str value;
    char text[32], *end;
    *out = 1;
    if (!is_set("OTEL_TRACES_SAMPLER_ARG", &value))
        return OK;
    snprintf(text, sizeof text, "%.*s", STR(str_head(value, sizeof text - 1)));
    *out = strtod(text, &end);
    if (*end || !(*out >= 0 && *out <= 1))
        return ERR(INVALID, "OTEL_TRACES_SAMPLER_ARG: a number from 0 to 1 is needed");
    return OK;
}

static err_t take_sampler(struct otlp_conf *c) {
    struct str name;
    if (!is_set("OTEL_TRACES_SAMPLER", &name))
        return OK;
    bool follow = str_starts(name, S("parentbased_"));
    struct str how = follow ? str_skip(name, 12) : name;
    double ratio = 1;
    if (str_eq(how, S("always_off")))
        ratio = 0;
    else if (str_eq(how, S("traceidratio")))
        TRY(take_ratio(&ratio));
    else if (!str_eq(how, S("always_on")))
        return ERR(INVALID, "OTEL_TRACES_SAMPLER: always_on, always_off, traceidratio, or one of "
                            "these behind parentbased_ is needed");
    c->sample = ratio;
    c->follow_parent = follow;
    return OK;
}

/* service.name may stand among the attributes; a name of its own goes over it. */
static void take_service(struct otlp_conf *c, struct arena *a) {
    for (size_t i = 0; i < c->resource.n; i++)
        if (str_eq(c->resource.items[i].name, S("service.name")))
            c->service_name = c->resource.items[i].value;
    take("OTEL_SERVICE_NAME", &c->service_name, a);
}

err_t otlp_environment(struct otlp_conf *c, struct arena *a) {
    if (str_eq_nocase(variable("OTEL_SDK_DISABLED"), S("true")))
        c->traces = c->metrics = false;
    take("OTEL_EXPORTER_OTLP_ENDPOINT", &c->endpoint, a);
    take("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &c->traces_endpoint, a);
    take("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &c->metrics_endpoint, a);
    take("OTEL_EXPORTER_OTLP_CERTIFICATE", &c->ca_file, a);
    TRY(take_protocol("OTEL_EXPORTER_OTLP_PROTOCOL"));
    TRY(take_pairs("OTEL_EXPORTER_OTLP_HEADERS", &c->headers, a));
    TRY(take_millis("OTEL_EXPORTER_OTLP_TIMEOUT", &c->timeout));
    TRY(take_millis("OTEL_METRIC_EXPORT_INTERVAL", &c->interval));
    TRY(take_compression(c));
    TRY(take_exporter("OTEL_TRACES_EXPORTER", &c->traces));
    TRY(take_exporter("OTEL_METRICS_EXPORTER", &c->metrics));
    TRY(take_sampler(c));
    TRY(take_pairs("OTEL_RESOURCE_ATTRIBUTES", &c->resource, a));
    take_service(c, a);
    return OK;
}

/* ---- what it comes to -------------------------------------------------------------- */

static struct str url_of(const struct otlp_conf *c, struct str own, const char *path,
                         struct arena *a) {
    struct str base = c->endpoint;
    if (own.n || !base.n)
        return own;
    while (base.n && base.p[base.n - 1] == '/')
        base.n--;
    return arena_fmt(a, "%.*s%s", STR(base), path);
}

struct str otlp_url(const struct otlp_conf *c, bool traces, struct arena *a) {
    return traces ? url_of(c, c->traces_endpoint, "/v1/traces", a)
                  : url_of(c, c->metrics_endpoint, "/v1/metrics", a);
}

bool otlp_wanted(const struct otlp_conf *c) {
    return (c->traces && (c->endpoint.n || c->traces_endpoint.n)) ||
           (c->metrics && (c->endpoint.n || c->metrics_endpoint.n));
}

static bool clean_value(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (((uint8_t)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 127)
            return false;
    return true;
}

static const char *const own_headers[] = { "host", "content-length", "content-type", "content-encoding",
                                           "transfer-encoding", "connection", "user-agent" };

static err_t check_headers(const struct otlp_conf *c) {
    for (size_t i = 0; i < c->headers.n; i++) {
        const struct pair *p = &c->headers.items[i];
        if (!http_is_token(p->name))
            return ERR(INVALID, "a name of `headers` is no header name");
        if (!clean_value(p->value))
            return ERR(INVALID, "%.*s has a line break or another control byte", STR(p->name));
        for (size_t k = 0; k < ARRAY_SIZE(own_headers); k++)
            if (str_eq_nocase(p->name, str_of(own_headers[k])))
                return ERR(INVALID, "%.*s is written by the gateway itself", STR(p->name));
    }
    return OK;
}

err_t otlp_check(const struct otlp_conf *c, struct arena *a, const char **out_option) {
    struct http_url url;
    for (int traces = 0; traces < 2; traces++) {
        struct str text = otlp_url(c, traces, a),
                   own = traces ? c->traces_endpoint : c->metrics_endpoint;
        *out_option = !own.n ? "endpoint" : traces ? "traces_endpoint" : "metrics_endpoint";
        if (text.n)
            TRY(http_url_parse(text, &url));
    }
    *out_option = "headers";
    return check_headers(c);
}
