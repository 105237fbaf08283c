/* import.h - what the files of `gatespan import` share. */
#pragma once
#include "cli/dialect.h"

/* import_merge.c: the target as it will be. */
struct merge {
    struct arena *arena;
    struct str path, text;   /* the target; text empty: it is new */
    json root;               /* of `text`; NULL: new */
    bool force;
    struct str result;       /* its new text */
    struct {
        struct str name;
        const char *what;
        struct str notes;
    } * changes;
    size_t change_count;
    size_t written;          /* those that differ from what is there */
};
/* Adds the upstreams, inputs and the rest under the dialect's name. CONFLICT: an upstream of that
 * name is there and differs, or comments would be lost; `force` says that both may be. Call once
 * for each file. */
err_t merge_add(struct merge *m, enum dialect d, const struct entries *e);

/* import_secrets.c: what looks like a secret becomes ${NAME}, and a line of an environment file. */
struct secrets {
    struct arena *arena;
    struct buf lines;        /* NAME='value' */
    struct str taken;        /* what is in that file already */
    size_t n;
};
err_t secrets_move(struct secrets *s, struct entries *e);
