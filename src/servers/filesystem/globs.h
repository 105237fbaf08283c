/* globs.h - several globs, any of which may match. */
#pragma once
#include "base/field.h"
#include "base/mem.h"
#include "servers/filesystem/pattern.h"

struct globs {
    struct pattern **items;
    size_t n;
};

static inline void globs_done(struct globs *g) {
    while (g->n)
        pattern_free(g->items[--g->n]);
    free(g->items);
    g->items = NULL;
}
static inline err_t globs_new(const char *what, const struct str_list *list, struct globs *out) {
    out->items = NEW_ARRAY(struct pattern *, list->n + 1);
    for (; out->n < list->n; out->n++)
        TRY(pattern_new(what, PATTERN_GLOB, list->items[out->n], false, &out->items[out->n]));
    return OK;
}
static inline bool globs_match(const struct globs *g, struct str path) {
    for (size_t i = 0; i < g->n; i++)
        if (pattern_matches_path(g->items[i], path))
            return true;
    return false;
}
