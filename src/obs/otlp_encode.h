/* otlp_encode.h - spans and metrics as OTLP messages (opentelemetry-proto 1.x), in protobuf.
 *
 * Each `put` appends one encoded field of the message around it, so pieces may be put
 * together in any order and at any time: a worker encodes a span when it ends, around what it
 * has encoded for all spans of a kind, and the exporter wraps what has gathered.
 *
 * Memory   the caller's buf; nothing is kept
 */
#pragma once
#include "base/clock.h"
#include "base/field.h"
#include "obs/trace.h"

enum span_kind { SPAN_SERVER = 2, SPAN_CLIENT = 3 };
enum { ATTRIBUTE_MAX = 1024 }; /* bytes of a value that are sent */

struct attribute { /* text, or a number when text.p is NULL; those of empty text are left out */
    struct str key;
    struct str text;
    int64_t number;
};

/* What the spans of many calls have in common: it is encoded once. */
struct span_common {
    enum span_kind kind;
    struct str name, target; /* "tools/call" and "search": the name is both, with a space */
    const struct attribute *attributes;
    size_t count;
};
void otlp_put_common(struct buf *b, const struct span_common *c);

struct span {
    const struct trace *trace;
    uint64_t id, parent;
    bool remote_parent;
    struct str common;       /* what otlp_put_common wrote */
    nanos began, ended;      /* wall clock */
    const struct attribute *attributes; /* of this call */
    size_t count;
    bool failed;
};

/* ScopeSpans.spans */
void otlp_put_span(struct buf *b, const struct span *s);
/* ScopeMetrics.metrics of everything that is counted. */
void otlp_put_metrics(struct buf *b, nanos start, nanos now);

/* What ResourceSpans and ResourceMetrics begin with: the resource. Text is UTF-8. */
void otlp_put_resource(struct buf *b, struct str service_name, const struct pair_list *more);
/* What stands before the spans or metrics of a whole request, which are `body` bytes: the
 * resource (from otlp_put_resource) and the frames around. */
void otlp_put_frame(struct buf *b, struct str resource, size_t body);

/* How many were rejected, of an answer 200 (Export…ServiceResponse); false: it makes no sense. */
bool otlp_read_rejected(struct str answer, int64_t *out_rejected, struct str *out_why);
