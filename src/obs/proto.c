/* proto.c - see proto.h. */
#include "obs/proto.h"
#include <assert.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { LENGTH = 4 }; /* bytes of a length that is filled in later: up to 256 MiB */

void proto_varint(struct buf *b, uint64_t n) {
    for (; n >= 0x80; n >>= 7)
        buf_char(b, (char)(n | 0x80));
    buf_char(b, (char)n);
}

size_t proto_varint_size(uint64_t n) {
    size_t size = 1;
    while (n >>= 7)
        size++;
    return size;
}

static void put_tag(struct buf *b, unsigned field, unsigned type) {
    if (field < 16)
        buf_char(b, (char)(field << 3 | type));
    else
        proto_varint(b, (uint64_t)field << 3 | type);
}

void proto_uint(struct buf *b, unsigned field, uint64_t n) {
    put_tag(b, field, VARINT);
    proto_varint(b, n);
}

void proto_bool(struct buf *b, unsigned field, bool on) {
    proto_uint(b, field, on);
}

static void put_little_endian(struct buf *b, uint64_t n, unsigned bytes) {
    char text[8];
    for (unsigned i = 0; i < bytes; i++)
        text[i] = (char)(n >> 8 * i);
    buf_put(b, text, bytes);
}

void proto_fixed32(struct buf *b, unsigned field, uint32_t n) {
    put_tag(b, field, FIXED32);
    put_little_endian(b, n, 4);
}

void proto_fixed64(struct buf *b, unsigned field, uint64_t n) {
    put_tag(b, field, FIXED64);
    put_little_endian(b, n, 8);
}

void proto_double(struct buf *b, unsigned field, double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    proto_fixed64(b, field, bits);
}

void proto_head(struct buf *b, unsigned field, size_t length) {
    put_tag(b, field, BYTES);
    proto_varint(b, length);
}

void proto_bytes(struct buf *b, unsigned field, struct str s) {
    proto_head(b, field, s.n);
    buf_str(b, s);
}

void proto_packed64(struct buf *b, unsigned field, const void *numbers, size_t n) {
    proto_head(b, field, 8 * n);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, (const char *)numbers + 8 * i, sizeof bits);
        put_little_endian(b, bits, 8);
    }
}

size_t proto_begin(struct buf *b, unsigned field) {
    put_tag(b, field, BYTES);
    buf_put(b, "\0\0\0\0", LENGTH);
    return b->n;
}

void proto_end(struct buf *b, size_t begun) {
    proto_end_before(b, begun, 0);
}

void proto_end_before(struct buf *b, size_t begun, size_t more) {
    uint64_t n = b->n - begun + more;
    assert(n < UINT64_C(1) << 7 * LENGTH);
    for (size_t i = 0; i < LENGTH; i++, n >>= 7)
        b->p[begun - LENGTH + i] = (char)((n & 0x7f) | (i + 1 < LENGTH ? 0x80 : 0));
}

/* ---- reading ----------------------------------------------------------------------- */

static bool take_varint(struct str *s, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; s->n && shift < 64; shift += 7) {
        uint8_t byte = (uint8_t)s->p[0];
        *s = str_skip(*s, 1);
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool take_fixed(struct str *s, unsigned bytes, uint64_t *out) {
    if (s->n < bytes)
        return false;
    *out = 0;
    for (unsigned i = 0; i < bytes; i++)
        *out |= (uint64_t)(uint8_t)s->p[i] << 8 * i;
    *s = str_skip(*s, bytes);
    return true;
}

static bool take_bytes(struct str *s, struct str *out) {
    uint64_t n;
    if (!take_varint(s, &n) || n > s->n)
        return false;
    *out = str_head(*s, (size_t)n);
    *s = str_skip(*s, (size_t)n);
    return true;
}

static bool take_field(struct str *s, struct proto_field *out) {
    uint64_t tag;
    if (!take_varint(s, &tag) || tag >> 3 == 0 || tag >> 32)
        return false;
    out->number = (unsigned)(tag >> 3);
    switch (tag & 7) {
    case VARINT: return take_varint(s, &out->value);
    case FIXED64: return take_fixed(s, 8, &out->value);
    case FIXED32: return take_fixed(s, 4, &out->value);
    case BYTES: return take_bytes(s, &out->bytes);
    default: return false;
    }
}

/* What is broken stays in *rest: it is not empty then. */
bool proto_next(struct str *rest, struct proto_field *out) {
    struct str s = *rest;
    *out = (struct proto_field){ 0 };
    if (!s.n || !take_field(&s, out))
        return false;
    *rest = s;
    return true;
}
