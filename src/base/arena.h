/* arena.h - memory that is freed in one stroke.
 *
 * A bump allocator over chunks; the first chunk may be storage of the owner so that a
 * small round of an exchange never calls malloc. Freed or reset as a whole; there is no
 * free for one piece. Whatever outlives the arena is copied out by its new owner.
 *
 * Threads  belongs to one task at a time, no locks
 * Errors   none (mem.h)
 */
#pragma once
#include "base/str.h"
#include <stdarg.h>

struct arena_chunk;

struct arena {
    char *at, *end;             /* free space of the current chunk */
    struct arena_chunk *chunks; /* newest first; not the owner's storage */
    char *first, *first_end;    /* owner's storage, may be NULL */
    size_t used;                /* bytes handed out, for limits and tests */
};

/* `storage` (may be NULL) is used first and stays the caller's. */
void arena_init(struct arena *a, void *storage, size_t size);
void arena_reset(struct arena *a); /* everything handed out is gone; keeps no chunk */
void arena_done(struct arena *a);

/* Aligned to 16. Zeroed: arena_zero only. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zero(struct arena *a, size_t n);

/* Copies; arena_text adds a NUL for C interfaces. */
struct str arena_dup(struct arena *a, struct str s);
char *arena_text(struct arena *a, struct str s);
struct str arena_fmt(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct str arena_vfmt(struct arena *a, const char *format, va_list args);

#define ARENA_NEW(a, type) ((type *)arena_zero((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_zero((a), sizeof(type) * (count)))

static inline void arena_scope(struct arena *a) {
    arena_done(a);
}
