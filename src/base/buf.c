/* buf.c - see buf.h. */
#include "base/buf.h"
#include "base/mem.h"
#include <assert.h>
#include <stdio.h>

#define CAP_MIN 64

void buf_done(struct buf *b) {
    free(b->p);
    *b = (struct buf){ 0 };
}

void buf_reserve(struct buf *b, size_t n) {
    size_t need;
    if (__builtin_add_overflow(b->n, n, &need) || ++need == 0)
        need = SIZE_MAX; /* which mem_grow reports */
    if (need <= b->cap)
        return;
    size_t cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    if (cap < CAP_MIN)
        cap = CAP_MIN;
    if (cap < need)
        cap = need;
    b->p = mem_grow(b->p, cap);
    b->cap = cap;
}

void buf_put(struct buf *b, const void *p, size_t n) {
    if (n == 0)
        return;
    if (b->cap - b->n <= n)
        buf_reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_fmt(struct buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buf_vfmt(b, format, args);
    va_end(args);
}

void buf_vfmt(struct buf *b, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    buf_reserve(b, 0);
    size_t room = b->cap - b->n;
    int n = vsnprintf(b->p + b->n, room, format, args);
    assert(n >= 0);
    if ((size_t)n >= room) {
        buf_reserve(b, (size_t)n);
        vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
    }
    va_end(again);
    b->n += (size_t)n;
}

void buf_u64(struct buf *b, uint64_t n) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    buf_put(b, digits + at, sizeof digits - at);
}

void buf_consume(struct buf *b, size_t n) {
    assert(n <= b->n);
    b->n -= n;
    if (b->n && n)
        memmove(b->p, b->p + n, b->n);
}

const char *buf_text(struct buf *b) {
    buf_reserve(b, 0);
    b->p[b->n] = '\0';
    return b->p;
}
