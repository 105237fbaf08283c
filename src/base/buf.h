/* buf.h - a growing run of bytes that its holder owns.
 *
 * Zero-initialised is empty: `SCOPED(buf_done) struct buf b = { 0 };`. Always has one
 * spare byte, so buf_text can terminate it. A limit, where one is wanted, is checked by
 * the caller before it adds.
 *
 * Threads  one owner, no locks
 * Errors   none (mem.h)
 */
#pragma once
#include "base/str.h"
#include <stdarg.h>

struct buf {
    char *p;
    size_t n, cap;
};

void buf_done(struct buf *b);              /* frees, leaves it empty and usable */
void buf_reserve(struct buf *b, size_t n); /* room for n more bytes */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_fmt(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vfmt(struct buf *b, const char *format, va_list args);
void buf_u64(struct buf *b, uint64_t n); /* decimal */
void buf_consume(struct buf *b, size_t n); /* drops the first n bytes */
const char *buf_text(struct buf *b);     /* NUL-terminated view until the next change */

static inline void buf_str(struct buf *b, struct str s) {
    buf_put(b, s.p, s.n);
}

static inline void buf_char(struct buf *b, char c) {
    if (b->cap - b->n < 2)
        buf_reserve(b, 1);
    b->p[b->n++] = c;
}

static inline void buf_clear(struct buf *b) {
    b->n = 0;
}

/* Borrowed until the next change. */
static inline struct str buf_view(const struct buf *b) {
    return (struct str){ b->p, b->n };
}

/* Moves the bytes out; the caller frees .p with free(). */
static inline struct str buf_take(struct buf *b) {
    struct str s = { b->p, b->n };
    *b = (struct buf){ 0 };
    return s;
}
