/* mem.c - see mem.h. */
#include "base/mem.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void *must(void *p, size_t n) {
    if (!p) {
        dprintf(STDERR_FILENO, "gatespan: out of memory: %zu bytes were refused\n", n);
        abort();
    }
    return p;
}

/* Zero bytes ask for one: the C library may answer NULL for none. */
static size_t some(size_t n) {
    return n ? n : 1;
}

void *mem_alloc(size_t n) {
    return must(malloc(some(n)), n);
}

void *mem_zero(size_t n) {
    return must(calloc(1, some(n)), n);
}

void *mem_grow(void *p, size_t n) {
    return must(realloc(p, some(n)), n);
}

void *mem_copy(const void *p, size_t n) {
    void *copy = mem_alloc(n);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

char *mem_text(const char *p, size_t n) {
    char *text = mem_alloc(n + 1);
    if (n)
        memcpy(text, p, n);
    text[n] = '\0';
    return text;
}
