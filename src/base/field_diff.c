/* field_diff.c - rows of field.h: in what two structs differ. */
#include "base/field_value.h"
#include "base/mem.h"

static const void *member(const void *in, const struct field *row) {
    return (const char *)in + row->offset;
}

/* ---- equality ---------------------------------------------------------------------- */

static bool same_strs(const struct str_list *a, const struct str_list *b) {
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (!str_eq(a->items[i], b->items[i]))
            return false;
    return a->n == b->n;
}

static bool same_pairs(const struct pair_list *a, const struct pair_list *b) {
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (!str_eq(a->items[i].name, b->items[i].name) ||
            !str_eq(a->items[i].value, b->items[i].value))
            return false;
    return a->n == b->n;
}

static bool same_rows(const struct field *rows, size_t n, const void *a, const void *b);

static const void *item_at(const struct field *row, const struct item_list *list, size_t i) {
    return (const char *)list->items + i * row->size;
}

static bool same_items(const struct field *row, const struct item_list *a,
                       const struct item_list *b) {
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (!same_rows(row->fields, row->count, item_at(row, a, i), item_at(row, b, i)))
            return false;
    return a->n == b->n;
}

static bool same_json(json a, json b) {
    return !a || !b ? a == b : json_equal(a, b);
}

static bool same_value(const struct field *row, const void *a, const void *b) {
    switch (row->type) {
    case FIELD_STRS:
        return same_strs(a, b);
    case FIELD_PAIRS:
        return same_pairs(a, b);
    case FIELD_OBJECT:
        return same_rows(row->fields, row->count, a, b);
    case FIELD_MAP:
    case FIELD_LIST:
        return same_items(row, a, b);
    case FIELD_JSON:
        return same_json(*(const json *)a, *(const json *)b);
    default:
        return field_is_text(row) ? str_eq(*(const struct str *)a, *(const struct str *)b)
                                  : memcmp(a, b, field_size(row)) == 0;
    }
}

static bool same_rows(const struct field *rows, size_t n, const void *a, const void *b) {
    for (size_t i = 0; i < n; i++)
        if (!same_value(&rows[i], member(a, &rows[i]), member(b, &rows[i])))
            return false;
    return true;
}

/* ---- telling ----------------------------------------------------------------------- */

struct differ {
    struct arena *a;
    field_changed *tell;
    void *arg;
};

static void diff_rows(const struct differ *d, const struct field *rows, size_t n, const void *was,
                      const void *is, struct str path);

static struct str below(const struct differ *d, struct str path, struct str name) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, path);
    field_path_name(&b, name);
    return arena_dup(d->a, buf_view(&b));
}

static const void *named(const struct field *row, const struct item_list *list, struct str name) {
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(*(const struct str *)item_at(row, list, i), name))
            return item_at(row, list, i);
    return NULL;
}

static void diff_map(const struct differ *d, const struct field *row, const struct item_list *was,
                     const struct item_list *is, struct str path) {
    for (size_t i = 0; i < was->n; i++) {
        const void *before = item_at(row, was, i);
        struct str name = *(const struct str *)before;
        const void *now = named(row, is, name);
        struct str here = below(d, path, name);
        if (now)
            diff_rows(d, row->fields, row->count, before, now, here);
        else
            d->tell(d->arg, here, row, before, NULL);
    }
    for (size_t i = 0; i < is->n; i++) {
        const void *now = item_at(row, is, i);
        if (!named(row, was, *(const struct str *)now))
            d->tell(d->arg, below(d, path, *(const struct str *)now), row, NULL, now);
    }
}

static void diff_rows(const struct differ *d, const struct field *rows, size_t n, const void *was,
                      const void *is, struct str path) {
    for (size_t i = 0; i < n; i++) {
        const struct field *row = &rows[i];
        if (field_is_alias(rows, i) || same_value(row, member(was, row), member(is, row)))
            continue;
        struct str here = below(d, path, str_of(row->name));
        if (row->type == FIELD_OBJECT)
            diff_rows(d, row->fields, row->count, member(was, row), member(is, row), here);
        else if (row->type == FIELD_MAP)
            diff_map(d, row, member(was, row), member(is, row), here);
        else
            d->tell(d->arg, here, row, was, is);
    }
}

void field_diff(const struct field *rows, size_t n, const void *was, const void *is,
                struct str path, struct arena *a, field_changed *tell, void *arg) {
    diff_rows(&(struct differ){ a, tell, arg }, rows, n, was, is, path);
}
