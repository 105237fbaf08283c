/* trace.h - where a request stands in a trace: W3C Trace Context, level 1
 * (https://www.w3.org/TR/trace-context/), and whether its spans are recorded.
 *
 * Threads  values; no state
 */
#pragma once
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum { TRACEPARENT = 55 };

struct trace {
    uint64_t id[2];  /* in the order of their text: id[0] holds the first 16 digits */
    uint64_t span;   /* ours; never 0 */
    uint64_t parent; /* 0: we begin the trace */
    bool on;         /* filled at all */
    bool sampled;    /* spans are recorded, here and behind us */
};

/* VERSION-TRACE-SPAN-FLAGS in lower case, ids not all zero; versions above 00 may have more
 * behind the flags. `out` is filled as the caller's: span is the caller's span. */
bool trace_parse(struct str traceparent, struct trace *out);
/* TRACEPARENT bytes, of the context in which `span` calls somebody. */
void trace_write(const struct trace *t, uint64_t span, char out[TRACEPARENT]);

struct sampling {
    double ratio;       /* of traces that begin here: 0..1 */
    bool follow_parent; /* who called us has decided already, where somebody did */
};
/* A context for a request that came with `traceparent` (may be empty or none); `random` are
 * three random numbers. By the trace id, so that everybody who samples so agrees. */
struct trace trace_begin(const struct sampling *how, struct str traceparent,
                         const uint64_t random[3]);
