/* exporter.h - spans and metrics on their way to a collector: OTLP over HTTP, protobuf.
 *
 * Each worker has a tracer: spans are encoded into its buffer when they end. When enough have
 * gathered, or a second later, the buffer goes by mail to worker 0, whose one task sends what
 * came from all workers, and at its interval everything that is counted. A collector that is
 * away costs memory up to the queue's bound, never time: spans beyond are dropped and counted
 * (gatespan_otlp_spans_total).
 *
 * Threads  open, free: before and after the workers run. A tracer: its worker
 * Waits    the exporter's own task only
 */
#pragma once
#include "obs/otlp.h"
#include "obs/otlp_encode.h"
#include "run/worker.h"

struct exporter;
struct tracer;

/* NULL in *out when nothing is to be exported. INVALID: address, headers, certificate file. */
err_t exporter_open(const struct otlp_conf *conf, struct workers *all, struct exporter **out);
void exporter_free(struct exporter *e); /* NULL is fine */

/* On each worker, after net_start; on worker 0 it starts the task. */
void exporter_start(struct exporter *e, struct worker *w);
/* The end is near: from now on requests are sent once, and the stop waits for them. */
void exporter_closing(struct exporter *e, struct worker *w);
/* Sends what this worker has gathered now; before the worker stops. */
void exporter_flush(struct exporter *e, struct worker *w);
/* From the worker's stop hook. The task has ended by itself, as all tasks do, after a last try
 * of at most three seconds. */
void exporter_stop(struct exporter *e, struct worker *w);

/* The worker's tracer; NULL when no spans are exported. */
struct tracer *exporter_tracer(struct exporter *e, struct worker *w);
/* A context for a request that came with `traceparent`. */
struct trace tracer_begin(struct tracer *t, struct str traceparent);
uint64_t tracer_span_id(struct tracer *t);
/* The common part of spans that was kept under that key; p NULL: none is. The key is everything
 * that it depends on. */
enum { SPAN_KEY = 5 };
struct str tracer_common(const struct tracer *t, const uint64_t key[SPAN_KEY]);
/* Keeps it, in place of some other; takes the memory of `part`. */
struct str tracer_keep(struct tracer *t, const uint64_t key[SPAN_KEY], struct buf *part);
/* `began` and `ended` of the span are monotonic here. Drops it when the queue is full. */
void tracer_put(struct tracer *t, struct span *s);
