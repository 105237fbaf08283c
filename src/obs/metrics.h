/* metrics.h - what the exporter counts of itself: rows as in gateway/metrics.h. */
#pragma once
#include "base/metric.h"

/* X(variable, kind, name, help, labels…) */
#define OBS_METRICS(X)                                                                             \
    X(otlp_spans, COUNTER, "gatespan_otlp_spans_total",                                            \
      "Spans recorded, by what became of them: exported, full (no room in the queue), failed (not " \
      "taken after all tries), rejected (by the collector).", "outcome")                           \
    X(otlp_waiting, GAUGE, "gatespan_otlp_spans_waiting", "Spans that wait for their export.", NULL) \
    X(otlp_requests, COUNTER, "gatespan_otlp_requests_total",                                      \
      "Requests to the collector, by signal and outcome: ok, retry, failed.", "signal", "outcome")

#define X(variable, ...) extern struct metric_def metric_##variable;
OBS_METRICS(X)
#undef X

void obs_metrics_register(void);
