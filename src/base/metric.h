/* metric.h - counters, gauges and histograms, one shard for each thread.
 *
 * A metric is a row (metric_def); a series is a metric with label values. Looking a
 * series up takes a lock and is done once, when what it counts is made (an upstream, a
 * tool, a route); adding to it is one store into the thread's own shard, no atomic
 * read-modify-write, no sharing. A reader sums the shards.
 * Series of one metric are capped (metric_cap); beyond the cap look-ups return the
 * series whose label values all read "other" (DESIGN rule 4).
 *
 * Threads  any; a thread's shard is made at its first add and outlives it
 * Names    as Prometheus wants them; OpenTelemetry names where the MCP conventions
 *          have one, dots as underscores
 */
#pragma once
#include "base/buf.h"
#include "base/clock.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_LABELS 6
#define METRIC_BOUNDS 64 /* most of one histogram */

struct metric_def {
    const char *name, *help;
    enum metric_kind kind;
    const char *labels[METRIC_LABELS]; /* NULL-terminated when fewer */
    const double *bounds; /* histogram: ascending, in the metric's unit; NULL: latency seconds */
    size_t bound_count;
    /* filled at run time; start zeroed */
    struct metric_state *state;
    bool computed; /* by a collector */
};

/* Index of a series; 0 is never a valid one and adding to it does nothing. */
typedef uint32_t metric_series;

/* Makes rows known before their first series: pages and reference then list them. A row
 * that is only looked up is made known by that. */
void metric_register(struct metric_def *rows, size_t n);

/* One value for each label, in the row's order; missing ones are "". Values are cut at 256
 * bytes. Returns 0 when no cell is left. */
metric_series metric_find(struct metric_def *def, const struct str *values, size_t n);
#define METRIC_SERIES(def, ...)                                                                    \
    metric_find((def), (const struct str[]){ __VA_ARGS__ },                                        \
                sizeof((const struct str[]){ __VA_ARGS__ }) / sizeof(struct str))

void metric_add(metric_series s, int64_t n);       /* counter, or gauge up and down */
void metric_set(metric_series s, int64_t value);   /* gauge written by one thread only */
void metric_observe(metric_series s, nanos value); /* latency histogram */
void metric_observe_value(metric_series s, double value);

int64_t metric_value(metric_series s); /* sum over shards; count for a histogram; tests and stats */

void metric_cap(size_t series_per_metric); /* default 1000 */

/* Values that are computed when somebody reads. The rows are known like others; the callback
 * calls metric_sample for each of their values, all of one row before the next. */
struct metric_sink;
typedef void metric_collect_fn(struct metric_sink *out, void *arg);
void metric_collector(struct metric_def *rows, size_t n, metric_collect_fn *fn, void *arg);
/* A value for each label (NULL without labels); the cap holds here too: the rest is summed. */
void metric_sample(struct metric_sink *out, const struct metric_def *def, const struct str *values,
                   double value);
#define METRIC_SAMPLE(out, def, value, ...)                                                        \
    metric_sample((out), (def), (const struct str[METRIC_LABELS]){ __VA_ARGS__ }, (value))

/* Reading everything: one call of `metric` for each metric that is known, then one of `point`
 * for each of its series. Neither may look at metrics itself. */
struct metric_point {
    const struct str *values; /* of the labels, as many as the row has */
    double value;             /* counter, gauge; histogram: the sum */
    const double *bounds;     /* histogram */
    const int64_t *buckets;   /* histogram: bound_count + 1, not cumulated */
    size_t bound_count;
    int64_t count;            /* histogram: of all buckets */
};
struct metric_reader {
    void (*metric)(struct metric_reader *r, const struct metric_def *def);
    void (*point)(struct metric_reader *r, const struct metric_def *def,
                  const struct metric_point *p);
};
void metric_read(struct metric_reader *r);

/* Prometheus text format 0.0.4, all metrics, sorted by name. */
void metric_expose(struct buf *out);
/* Rows for the reference pages. */
bool metric_next(size_t *at, const struct metric_def **def); /* in the order they became known */
