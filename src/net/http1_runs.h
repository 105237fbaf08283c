/* http1_runs.h - runs of bytes of one class, 16 at a time; inside of http1.c.
 *
 * Each skip_ function returns the first byte at or after p that is outside its class, or
 * the end of the text: finding the end of a thing and checking what it is made of are one
 * step. Nothing behind the end is read.
 */
#pragma once
#include "base/str.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct run_text {
    const char *end;
    const char *wide; /* last place with 16 readable bytes, NULL when there is none */
};

typedef uint8_t block __attribute__((vector_size(16)));
typedef int8_t block_mask __attribute__((vector_size(16))); /* of a comparison: 0 or -1 */

static inline struct run_text run_text(struct str s) {
    return (struct run_text){ s.p + s.n, s.n < sizeof(block) ? NULL : s.p + s.n - sizeof(block) };
}

static inline unsigned mask_bits(block_mask m) {
#ifdef __SSE2__
    return (unsigned)_mm_movemask_epi8((__m128i)m);
#else
    unsigned bits = 0;
    for (unsigned i = 0; i < sizeof m; i++)
        bits |= (unsigned)(m[i] & 1) << i;
    return bits;
#endif
}

static __attribute__((noinline, cold)) block block_tail(const char *p, const char *end) {
    block b = { 0 };
    memcpy(&b, p, (size_t)(end - p));
    return b;
}

/* 16 bytes at p. Behind the end of the text come zeros, which end every run. */
static inline block block_load(const char *p, struct run_text t) {
    block b;
    if (__builtin_expect(p > t.wide, 0))
        return block_tail(p, t.end);
    memcpy(&b, p, sizeof b);
    return b;
}

static inline block_mask block_letters(block b) {
    return ((b | 0x20) - 'a') < 26;
}

/* tchar of RFC 9110 §5.6.2 */
static const bool token_byte[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true, ['#'] = true,
    ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true, ['+'] = true,
    ['-'] = true, ['.'] = true, ['^'] = true, ['_'] = true, ['`'] = true, ['|'] = true,
    ['~'] = true,
};

/* Names are letters and '-' nearly always; the table has the last word on the rest. */
static inline const char *skip_token(const char *p, struct run_text t) {
    for (;;) {
        block b = block_load(p, t);
        unsigned stop = mask_bits(block_letters(b) | (b == '-')) ^ 0xffff;
        if (!stop) {
            p += sizeof b;
            continue;
        }
        p += __builtin_ctz(stop);
        if (p == t.end || !token_byte[(uint8_t)*p])
            return p;
        p++;
    }
}

static inline bool at_crlf(const char *p, struct run_text t) {
    return t.end - p >= 2 && memcmp(p, "\r\n", 2) == 0;
}

/* Space to '~': behind the addition everything else is below '!', taken as signed. */
static inline const char *skip_printable(const char *p, struct run_text t) {
    for (;; p += sizeof(block)) {
        block b = block_load(p, t);
        unsigned stop = mask_bits((block_mask)(b + 1) < '!');
        if (stop)
            return p + __builtin_ctz(stop);
    }
}

/* What values and reason phrases are made of: HTAB and obs-text too (RFC 9110 §5.5). */
static inline const char *skip_text(const char *p, struct run_text t) {
    p = skip_printable(p, t);
    while (__builtin_expect(p < t.end && (*p == '\t' || (uint8_t)*p >= 0x80), 0))
        p = skip_printable(p + 1, t);
    return p;
}

/* Visible ASCII without '?' and '#'. */
static inline const char *skip_path(const char *p, struct run_text t) {
    for (;; p += sizeof(block)) {
        block b = block_load(p, t);
        unsigned stop = mask_bits(((b - '!') > '~' - '!') | (b == '?') | (b == '#'));
        if (stop)
            return p + __builtin_ctz(stop);
    }
}

/* Names of hosts and IPv4 addresses; less than the reg-name of RFC 3986 §3.2.2, since no
 * host anybody runs has one of "~!$&'()*+,;=%" in its name. */
static inline const char *skip_host(const char *p, struct run_text t) {
    for (;; p += sizeof(block)) {
        block b = block_load(p, t);
        block_mask other = (((b - '-') <= '9' - '-') & (b != '/')) | (b == '_');
        unsigned stop = mask_bits(block_letters(b) | other) ^ 0xffff;
        if (stop)
            return p + __builtin_ctz(stop);
    }
}
