/* str.h - a borrowed slice of bytes.
 *
 * Never assumed NUL-terminated, never owned: whoever holds the bytes says until
 * when they live. Comparison is by bytes; the _nocase functions fold ASCII only,
 * as HTTP header names do (RFC 9110 §5.1).
 *
 * Threads  values, no state
 * Memory   nothing is allocated here
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

/* A literal as a slice; S("x") is usable in initialisers of locals, S_INIT in static tables. */
#define S(lit) ((struct str){ (lit), sizeof(lit) - 1 })
#define S_INIT(lit) { (lit), sizeof(lit) - 1 }

/* Arguments for a "%.*s" conversion. */
#define STR(s) (int)(s).n, (s).p

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline struct str str_of(const char *c) {
    return (struct str){ c, c ? strlen(c) : 0 };
}

static inline struct str str_from(const char *p, size_t n) {
    return (struct str){ p, n };
}

static inline bool str_empty(struct str s) {
    return s.n == 0;
}

static inline bool str_eq(struct str a, struct str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(struct str s, struct str prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool str_ends(struct str s, struct str suffix) {
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* The part of s from offset `from` on, and at most n bytes of it; clamped to s. */
static inline struct str str_skip(struct str s, size_t from) {
    if (from > s.n)
        from = s.n;
    return (struct str){ from ? s.p + from : s.p, s.n - from }; /* p may be NULL (C17 §6.5.6) */
}

/* Bytes of all pieces together. */
static inline size_t str_total(const struct str *pieces, size_t n) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += pieces[i].n;
    return total;
}
static inline struct str str_head(struct str s, size_t n) {
    return (struct str){ s.p, n < s.n ? n : s.n };
}

bool str_eq_nocase(struct str a, struct str b);

/* Order by bytes, shorter first: <0, 0, >0. */
int str_cmp(struct str a, struct str b);

/* Offset of the first needle, or -1. */
ptrdiff_t str_find(struct str s, struct str needle);
ptrdiff_t str_find_char(struct str s, char c);

/* Without spaces and tabs at both ends (OWS of RFC 9110 §5.6.3). */
struct str str_trim(struct str s);

/* Cuts *rest at the first separator: returns what was before it and leaves what is
 * after it. When there is none, returns all and leaves an empty slice with p == NULL;
 * so `while (rest.p)` visits each piece, empty ones too. */
struct str str_cut(struct str *rest, char separator);

/* The whole of s is a decimal integer in range: true and *out. No sign for u64, no spaces. */
bool str_to_u64(struct str s, uint64_t *out);
bool str_to_i64(struct str s, int64_t *out);

/* Glob match of the whole of s: `*` any run, `?` one byte, everything else literal. Linear time. */
bool str_glob(struct str pattern, struct str s);

/* Levenshtein distance, at most `limit` + 1; inputs longer than 64 bytes count as `limit` + 1. */
unsigned str_distance(struct str a, struct str b, unsigned limit);
