/* otlp.h - what is exported, where to: the options, and OpenTelemetry's environment names.
 *
 * Memory   strings live in the configuration's arena
 */
#pragma once
#include "base/field.h"

struct otlp_conf {
    struct str endpoint;         /* base URL; /v1/traces and /v1/metrics are added; empty: off */
    struct str traces_endpoint, metrics_endpoint; /* whole URLs instead */
    struct pair_list headers;    /* secrets: never printed */
    bool traces, metrics;
    int compression;             /* enum otlp_compression */
    nanos interval;              /* between two exports of metrics */
    nanos timeout;               /* of one request */
    double sample;
    bool follow_parent;
    int64_t queue;               /* spans that wait, of the process */
    struct str service_name;
    struct pair_list resource;
    struct str ca_file;
};
enum otlp_compression { OTLP_PLAIN, OTLP_GZIP };

/* Something is exported. */
bool otlp_wanted(const struct otlp_conf *c);
/* The URL for /v1/traces or /v1/metrics. */
struct str otlp_url(const struct otlp_conf *c, bool traces, struct arena *a);

/* Puts OTEL_EXPORTER_OTLP_* and the other standard variables over what the file says; INVALID
 * names the variable and what it may be, never its value. */
err_t otlp_environment(struct otlp_conf *c, struct arena *a);
/* What rows cannot say: addresses and headers. `option` is the one to blame. */
err_t otlp_check(const struct otlp_conf *c, struct arena *a, const char **out_option);
