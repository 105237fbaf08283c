/* otlp_spans.c - see otlp_encode.h: spans, resources, the request around them, its answer. */
#include "obs/otlp_encode.h"
#include "obs/proto.h"
#include <endian.h>

/* Field numbers of opentelemetry/proto: trace, common, resource and collector, version 1. */
enum { SPAN_TRACE_ID = 1, SPAN_ID, SPAN_PARENT = 4, SPAN_NAME, SPAN_KIND, SPAN_START, SPAN_END, SPAN_ATTRIBUTES,
       SPAN_STATUS = 15, SPAN_FLAGS = 16 };
enum { STATUS_CODE = 3, STATUS_ERROR = 2 };
enum { SCOPE_OF = 1, SCOPE_ITEMS = 2, SCOPE_NAME = 1, SCOPE_VERSION = 2 };
enum { RESOURCE_OF = 1, RESOURCE_SCOPES = 2, RESOURCE_ATTRIBUTES = 1, REQUEST_RESOURCES = 1 };
enum { KEY = 1, VALUE = 2, TEXT = 1, NUMBER = 3 };
enum { FLAG_SAMPLED = 1, FLAG_KNOWS_REMOTE = 0x100, FLAG_REMOTE = 0x200 };

/* ---- attributes -------------------------------------------------------------------- */

/* Never cut inside a character: collectors refuse what is not UTF-8. */
static struct str shortened(struct str s) {
    if (s.n <= ATTRIBUTE_MAX)
        return s;
    size_t n = ATTRIBUTE_MAX;
    while (n && ((uint8_t)s.p[n] & 0xc0) == 0x80)
        n--;
    return str_head(s, n);
}

/* One to five bytes; a length below 128 is one. */
static inline char *add_varint(char *to, size_t n) {
    for (; n >= 0x80; n >>= 7)
        *to++ = (char)(n | 0x80);
    *to++ = (char)n;
    return to;
}

static inline char *add_bytes(char *to, unsigned field, struct str s) {
    *to++ = (char)(field << 3 | 2);
    return mempcpy(add_varint(to, s.n), s.p, s.n);
}

/* Two dozen of these make a call's spans: written through a pointer, after one look at the room.
 * Fields are below 16, so that their tags are one byte. */
static void put_text(struct buf *b, unsigned field, struct str key, struct str text) {
    text = shortened(text);
    size_t value = 1 + proto_varint_size(text.n) + text.n;
    size_t pair = 1 + proto_varint_size(key.n) + key.n + 1 + proto_varint_size(value) + value;
    buf_reserve(b, pair + 8);
    char *to = b->p + b->n;
    *to++ = (char)(field << 3 | 2);
    to = add_bytes(add_varint(to, pair), KEY, key);
    *to++ = (char)(VALUE << 3 | 2);
    to = add_bytes(add_varint(to, value), TEXT, text);
    b->n = (size_t)(to - b->p);
}

static void put_number(struct buf *b, unsigned field, struct str key, int64_t number) {
    size_t pair = proto_begin(b, field);
    proto_bytes(b, KEY, key);
    proto_head(b, VALUE, 1 + proto_varint_size((uint64_t)number));
    proto_uint(b, NUMBER, (uint64_t)number);
    proto_end(b, pair);
}

/* Texts from outside that are not UTF-8 would spoil the whole request. */
static bool is_ascii(struct str s) {
    uint64_t high = 0, eight;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        memcpy(&eight, s.p + i, 8);
        high |= eight;
    }
    for (; i < s.n; i++)
        high |= (uint8_t)s.p[i];
    return !(high & UINT64_C(0x8080808080808080));
}

static bool sendable(struct str s) {
    return s.n && (is_ascii(s) || json_is_utf8(s));
}

static void put_attributes(struct buf *b, const struct attribute *a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!a[i].text.p)
            put_number(b, SPAN_ATTRIBUTES, a[i].key, a[i].number);
        else if (sendable(a[i].text))
            put_text(b, SPAN_ATTRIBUTES, a[i].key, a[i].text);
    }
}

/* ---- spans ------------------------------------------------------------------------- */

static void put_name(struct buf *b, const struct span_common *c) {
    struct str target = sendable(c->target) ? shortened(c->target) : S("");
    proto_head(b, SPAN_NAME, c->name.n + target.n + (target.n > 0));
    buf_str(b, c->name);
    if (target.n)
        buf_char(b, ' ');
    buf_str(b, target);
}

void otlp_put_common(struct buf *b, const struct span_common *c) {
    put_name(b, c);
    proto_uint(b, SPAN_KIND, c->kind);
    put_attributes(b, c->attributes, c->count);
}

/* An id of n bytes is n / 8 numbers, whose highest byte comes first. */
static inline char *add_id(char *to, unsigned field, const uint64_t *numbers, size_t n) {
    *to++ = (char)(field << 3 | 2);
    *to++ = (char)n;
    for (size_t i = 0; i < n / 8; i++) {
        uint64_t big = htobe64(numbers[i]);
        to = mempcpy(to, &big, sizeof big);
    }
    return to;
}

static inline char *add_fixed64(char *to, unsigned field, uint64_t n) {
    n = htole64(n);
    *to++ = (char)(field << 3 | 1);
    return mempcpy(to, &n, sizeof n);
}

static inline char *add_failed(char *to) {
    *to++ = (char)(SPAN_STATUS << 3 | 2);
    *to++ = 2;
    *to++ = STATUS_CODE << 3;
    *to++ = STATUS_ERROR;
    return to;
}

/* Ids, times and flags are of fixed size: they are written through a pointer, as the texts are. */
void otlp_put_span(struct buf *b, const struct span *s) {
    enum { FIXED = 128 };
    size_t begun = proto_begin(b, SCOPE_ITEMS);
    buf_reserve(b, s->common.n + FIXED);
    char *to = b->p + b->n;
    to = add_id(to, SPAN_TRACE_ID, s->trace->id, 16);
    to = add_id(to, SPAN_ID, &s->id, 8);
    if (s->parent)
        to = add_id(to, SPAN_PARENT, &s->parent, 8);
    to = mempcpy(to, s->common.p, s->common.n);
    to = add_fixed64(to, SPAN_START, (uint64_t)s->began);
    to = add_fixed64(to, SPAN_END, (uint64_t)(s->ended > s->began ? s->ended : s->began));
    if (s->failed)
        to = add_failed(to);
    b->n = (size_t)(to - b->p);
    put_attributes(b, s->attributes, s->count);
    proto_fixed32(b, SPAN_FLAGS,
                  FLAG_SAMPLED | FLAG_KNOWS_REMOTE | (s->remote_parent ? FLAG_REMOTE : 0));
    proto_end(b, begun);
}

/* ---- around them ------------------------------------------------------------------- */

void otlp_put_resource(struct buf *b, struct str service_name, const struct pair_list *more) {
    size_t begun = proto_begin(b, RESOURCE_OF);
    put_text(b, RESOURCE_ATTRIBUTES, S("service.name"), service_name);
    put_text(b, RESOURCE_ATTRIBUTES, S("service.version"), S(GATESPAN_VERSION));
    put_text(b, RESOURCE_ATTRIBUTES, S("telemetry.sdk.name"), S("gatespan"));
    put_text(b, RESOURCE_ATTRIBUTES, S("telemetry.sdk.language"), S("c"));
    put_text(b, RESOURCE_ATTRIBUTES, S("telemetry.sdk.version"), S(GATESPAN_VERSION));
    for (size_t i = 0; i < more->n; i++)
        if (!str_eq(more->items[i].name, S("service.name")) && sendable(more->items[i].name) &&
            json_is_utf8(more->items[i].value))
            put_text(b, RESOURCE_ATTRIBUTES, more->items[i].name, more->items[i].value);
    proto_end(b, begun);
}

void otlp_put_frame(struct buf *b, struct str resource, size_t body) {
    size_t resources = proto_begin(b, REQUEST_RESOURCES);
    buf_str(b, resource);
    size_t scopes = proto_begin(b, RESOURCE_SCOPES);
    size_t scope = proto_begin(b, SCOPE_OF);
    proto_bytes(b, SCOPE_NAME, S("gatespan"));
    proto_bytes(b, SCOPE_VERSION, S(GATESPAN_VERSION));
    proto_end(b, scope);
    proto_end_before(b, scopes, body);
    proto_end_before(b, resources, body);
}

/* { 1: partial_success { 1: rejected count, 2: message } } for both signals. */
bool otlp_read_rejected(struct str answer, int64_t *out_rejected, struct str *out_why) {
    struct proto_field outer, inner;
    *out_rejected = 0;
    *out_why = S("");
    while (proto_next(&answer, &outer)) {
        if (outer.number != 1)
            continue;
        struct str partial = outer.bytes;
        while (proto_next(&partial, &inner)) {
            if (inner.number == 1)
                *out_rejected = (int64_t)inner.value;
            if (inner.number == 2)
                *out_why = inner.bytes;
        }
        if (partial.n)
            return false;
    }
    return answer.n == 0 && *out_rejected >= 0;
}
