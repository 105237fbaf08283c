/* conf_path.c - see conf_path.h. */
#include "control/conf_path.h"
#include "base/mem.h"

bool conf_path_next(struct str *rest, struct str *name) {
    struct str s = *rest;
    if (!s.n)
        return false;
    *rest = (struct str){ 0 };
    bool quoted = s.p[0] == '"';
    ptrdiff_t end = quoted ? str_find_char(str_skip(s, 1), '"') : str_find_char(s, '.');
    if (quoted && end < 0)
        return false;
    *name = quoted ? str_from(s.p + 1, (size_t)end) : end < 0 ? s : str_head(s, (size_t)end);
    struct str after = str_skip(s, quoted ? (size_t)end + 2 : name->n);
    if (!name->n || (after.n && (after.p[0] != '.' || after.n == 1)))
        return false;
    *rest = after.n ? str_skip(after, 1) : S("");
    return true;
}

static const void *named(const struct field *row, const void *in, struct str name) {
    const struct item_list *list = in ? (const void *)((const char *)in + row->offset) : NULL;
    for (size_t i = 0; list && i < list->n; i++) {
        const void *item = (const char *)list->items + i * row->size;
        if (str_eq(*(const struct str *)item, name))
            return item;
    }
    return NULL;
}

static const void *member(const void *in, const struct field *row) {
    return in ? (const char *)in + row->offset : NULL;
}

struct conf_spot conf_path_find(const struct field *rows, size_t n, const void *conf,
                                struct str path) {
    struct conf_spot spot = { 0 };
    struct str name;
    if (!conf_path_next(&path, &name))
        return spot;
    spot.row = field_find(rows, n, name);
    spot.in = conf;
    if (!spot.row || !path.n)
        return path.p ? spot : (struct conf_spot){ 0 };
    if (spot.row->type == FIELD_OBJECT)
        return conf_path_find(spot.row->fields, spot.row->count, member(conf, spot.row), path);
    if (spot.row->type != FIELD_MAP) {
        spot.inside = true;
        return spot;
    }
    if (!conf_path_next(&path, &name))
        return (struct conf_spot){ 0 };
    const void *item = named(spot.row, conf, name);
    if (path.n)
        return conf_path_find(spot.row->fields, spot.row->count, item, path);
    spot.item = item;
    spot.in = item ? conf : NULL;
    spot.inside = true;
    return spot;
}

json conf_path_get(json root, struct str path) {
    struct str name;
    while (root && path.n) {
        if (!conf_path_next(&path, &name))
            return NULL;
        root = json_get(root, name);
    }
    return root;
}

/* ---- all options --------------------------------------------------------------------- */

static size_t count(const struct field *rows, size_t n) {
    size_t total = n;
    for (size_t i = 0; i < n; i++)
        if (rows[i].type == FIELD_OBJECT)
            total += count(rows[i].fields, rows[i].count);
    return total;
}

static void collect(struct conf_options *all, const struct field *rows, size_t n, struct str above,
                    struct arena *a) {
    for (size_t i = 0; i < n; i++) {
        struct str path = arena_fmt(a, "%.*s%s%s", STR(above), above.n ? "." : "", rows[i].name);
        all->items[all->n++] = (struct conf_option){ path, field_env(path, a), &rows[i] };
        if (rows[i].type == FIELD_OBJECT)
            collect(all, rows[i].fields, rows[i].count, path, a);
    }
}

struct conf_options conf_options(const struct field *rows, size_t n, struct arena *a) {
    struct conf_options all = { .items = ARENA_ARRAY(a, struct conf_option, count(rows, n)) };
    collect(&all, rows, n, S(""), a);
    return all;
}
