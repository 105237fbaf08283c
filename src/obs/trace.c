/* trace.c - see trace.h. */
#include "obs/trace.h"
#include <endian.h>
#include <string.h>

static int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `n` lower-case hexadecimal digits. */
static bool read_hex(const char *p, unsigned n, uint64_t *out) {
    *out = 0;
    for (unsigned i = 0; i < n; i++) {
        int digit = digit_of(p[i]);
        if (digit < 0)
            return false;
        *out = *out << 4 | (uint64_t)digit;
    }
    return true;
}

bool trace_parse(struct str s, struct trace *out) {
    uint64_t version, flags;
    struct trace t = { .on = true };
    if (s.n < TRACEPARENT || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-')
        return false;
    if (!read_hex(s.p, 2, &version) || !read_hex(s.p + 3, 16, &t.id[0]) ||
        !read_hex(s.p + 19, 16, &t.id[1]) || !read_hex(s.p + 36, 16, &t.span) ||
        !read_hex(s.p + 53, 2, &flags))
        return false;
    if (version == 0xff || (version == 0 && s.n != TRACEPARENT) ||
        (s.n > TRACEPARENT && s.p[TRACEPARENT] != '-'))
        return false;
    if ((t.id[0] | t.id[1]) == 0 || t.span == 0)
        return false;
    t.sampled = flags & 1;
    *out = t;
    return true;
}

/* Eight digits at once: each half byte gets a byte of its own, those above 9 become letters. */
static char *put_eight(char *to, uint64_t n) {
    n = (n & 0xffff) | (n & 0xffff0000) << 16;
    n = (n & 0x000000ff000000ff) | (n & 0x0000ff000000ff00) << 8;
    n = (n & 0x000f000f000f000f) | (n & 0x00f000f000f000f0) << 4;
    uint64_t letters = (n + 0x0606060606060606) >> 4 & 0x0101010101010101;
    n = htobe64(n + 0x3030303030303030 + letters * ('a' - '0' - 10));
    return mempcpy(to, &n, sizeof n);
}

static char *put_hex(char *to, uint64_t n) {
    return put_eight(put_eight(to, n >> 32), n & 0xffffffff);
}

void trace_write(const struct trace *t, uint64_t span, char out[TRACEPARENT]) {
    char *to = mempcpy(out, "00-", 3);
    to = put_hex(put_hex(to, t->id[0]), t->id[1]);
    *to++ = '-';
    to = put_hex(to, span);
    memcpy(to, t->sampled ? "-01" : "-00", 3);
}

/* As OpenTelemetry's TraceIdRatioBased does it: the low 63 bits of the id against the ratio. */
static bool within(double ratio, uint64_t id) {
    if (ratio >= 1)
        return true;
    return (double)(id >> 1) < ratio * 0x1p63;
}

struct trace trace_begin(const struct sampling *how, struct str traceparent,
                         const uint64_t random[3]) {
    struct trace t;
    if (traceparent.n && trace_parse(traceparent, &t)) {
        t.parent = t.span;
        if (!how->follow_parent)
            t.sampled = within(how->ratio, t.id[1]);
    } else {
        t = (struct trace){ .id = { random[0], random[1] | 1 }, .on = true };
        t.sampled = within(how->ratio, t.id[1]);
    }
    t.span = random[2] | 1;
    return t;
}
