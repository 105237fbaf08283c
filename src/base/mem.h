/* mem.h - allocation that does not fail.
 *
 * What users can make us allocate is bounded by options before it is allocated; so a
 * failing malloc is the machine's end, not a request's: these abort with one line on
 * stderr that names the size. SCOPED and TAKE are the cleanup words of the project.
 */
#pragma once
#include <stddef.h>
#include <stdlib.h>

void *mem_alloc(size_t n);              /* uninitialised */
void *mem_zero(size_t n);               /* zeroed */
void *mem_grow(void *p, size_t n);      /* realloc */
void *mem_copy(const void *p, size_t n);
char *mem_text(const char *p, size_t n); /* a NUL-terminated copy */

#define NEW(type) ((type *)mem_zero(sizeof(type)))
#define NEW_ARRAY(type, count) ((type *)mem_zero(sizeof(type) * (count)))

/* Runs fn on the address of the variable when it leaves scope. */
#define SCOPED(fn) __attribute__((cleanup(fn), unused))
/* Moves a pointer out of its variable: the scope then has nothing to free. */
#define TAKE(p) ({ __auto_type taken_ = (p); (p) = NULL; taken_; })

static inline void mem_scope(void *p) {
    free(*(void **)p);
}
