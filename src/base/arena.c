/* arena.c - see arena.h. Chunks double up to CHUNK_MAX; a piece that is large against them
 * gets a chunk to itself, so the free space of the current one is not thrown away. */
#include "base/arena.h"
#include "base/mem.h"
#include <assert.h>
#include <stdio.h>

#define ALIGN 16
#define CHUNK_MIN ((size_t)4096)
#define CHUNK_MAX ((size_t)64 * 1024)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    _Alignas(ALIGN) char bytes[];
};

static char *aligned(char *p) {
    return (char *)(((uintptr_t)p + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
}

static void use_first(struct arena *a) {
    a->at = a->first ? aligned(a->first) : NULL;
    a->end = a->first_end;
    if (a->at > a->end)
        a->at = a->end;
}

void arena_init(struct arena *a, void *storage, size_t size) {
    *a = (struct arena){ .first = storage, .first_end = storage ? (char *)storage + size : NULL };
    use_first(a);
}

void arena_reset(struct arena *a) {
    for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    a->chunks = NULL;
    a->used = 0;
    use_first(a);
}

void arena_done(struct arena *a) {
    arena_reset(a);
    *a = (struct arena){ 0 };
}

static struct arena_chunk *chunk_new(size_t size) {
    struct arena_chunk *c = mem_alloc(sizeof *c + size);
    *c = (struct arena_chunk){ .size = size };
    return c;
}

static size_t next_size(const struct arena *a) {
    size_t size = a->chunks ? a->chunks->size * 2 : CHUNK_MIN;
    return size > CHUNK_MAX ? CHUNK_MAX : size;
}

/* A large piece goes behind the current chunk, which stays the one that is filled. */
static void *alloc_alone(struct arena *a, size_t n) {
    struct arena_chunk *c = chunk_new(n);
    struct arena_chunk **link = a->chunks ? &a->chunks->next : &a->chunks;
    c->next = *link;
    *link = c;
    return c->bytes;
}

static void *alloc_slow(struct arena *a, size_t n) {
    if (n > CHUNK_MIN / 4 && n > next_size(a) / 4)
        return alloc_alone(a, n);
    struct arena_chunk *c = chunk_new(next_size(a));
    c->next = a->chunks;
    a->chunks = c;
    a->at = c->bytes + n;
    a->end = c->bytes + c->size;
    return c->bytes;
}

void *arena_alloc(struct arena *a, size_t n) {
    assert(n < PTRDIFF_MAX / 2);
    n = n ? (n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    a->used += n;
    if ((size_t)(a->end - a->at) < n)
        return alloc_slow(a, n);
    void *p = a->at;
    a->at += n;
    return p;
}

void *arena_zero(struct arena *a, size_t n) {
    return memset(arena_alloc(a, n), 0, n);
}

struct str arena_dup(struct arena *a, struct str s) {
    if (s.n == 0)
        return S("");
    return str_from(memcpy(arena_alloc(a, s.n), s.p, s.n), s.n);
}

char *arena_text(struct arena *a, struct str s) {
    char *text = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return text;
}

struct str arena_fmt(struct arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct str s = arena_vfmt(a, format, args);
    va_end(args);
    return s;
}

/* Formats into the free space first; most texts fit and are formatted once. */
struct str arena_vfmt(struct arena *a, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    char *place = a->at;
    int n = vsnprintf(place, (size_t)(a->end - place), format, args);
    assert(n >= 0);
    char *text = arena_alloc(a, (size_t)n + 1);
    if (text != place) /* it fits but for what alignment adds, or not at all */
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return str_from(text, (size_t)n);
}
