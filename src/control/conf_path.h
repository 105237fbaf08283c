/* conf_path.h - options by path: "limits.body", "upstreams.files.timeout", names with dots or
 * spaces in quotes. */
#pragma once
#include "base/field.h"

/* Cuts the first name off; false at the end or where a quote or dot is out of place (then
 * rest->p is NULL). */
bool conf_path_next(struct str *rest, struct str *name);

struct conf_spot {
    const struct field *row; /* NULL: there is no such option */
    const void *in;          /* the struct that holds it; NULL: no such item in a map */
    const void *item;        /* of a MAP: the path ends at one item, here it is */
    bool inside;             /* the path goes on into the value of row, which has no rows */
};
/* `conf` may be NULL where only the row matters. */
struct conf_spot conf_path_find(const struct field *rows, size_t n, const void *conf,
                                struct str path);
json conf_path_get(json root, struct str path); /* NULL when it is not there */

/* Every row that has an environment variable of its own, in the order of the rows. */
struct conf_option {
    struct str path, variable;
    const struct field *row;
};
struct conf_options {
    struct conf_option *items;
    size_t n;
};
struct conf_options conf_options(const struct field *rows, size_t n, struct arena *a);
