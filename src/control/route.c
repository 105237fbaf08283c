/* route.c - see route.h: finding the row of a path, reading a query. */
#include "control/route.h"
#include "base/mem.h"

/* ---- paths ------------------------------------------------------------------------- */

static struct str without_slash(struct str path) {
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

/* Segment by segment; an empty one fills no parameter. */
static bool fits(const char *pattern, struct str path, struct str params[ROUTE_PARAMS]) {
    size_t n = 0, at = 0;
    const char *p = pattern;
    memset(params, 0, ROUTE_PARAMS * sizeof *params);
    while (*p) {
        if (*p != '{') {
            if (at == path.n || path.p[at++] != *p++)
                return false;
            continue;
        }
        size_t from = at;
        while (at < path.n && path.p[at] != '/')
            at++;
        if (at == from || n == ROUTE_PARAMS)
            return false;
        params[n++] = str_from(path.p + from, at - from);
        while (*p++ != '}')
            ;
    }
    return at == path.n;
}

bool route_has_method(const struct route *r, struct str method) {
    struct str all = str_of(r->methods);
    while (all.p) {
        struct str one = str_cut(&all, ' ');
        if (str_eq(one, method) || (str_eq(method, S("HEAD")) && str_eq(one, S("GET")) && r->run))
            return true;
    }
    return false;
}

enum route_found route_find(const struct route_table *const *tables, size_t n, struct str path,
                            struct str method, struct route_match *out) {
    const struct route *first = NULL;
    struct str params[ROUTE_PARAMS];
    path = without_slash(path);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < tables[i]->count; k++) {
            const struct route *r = &tables[i]->routes[k];
            if (first ? strcmp(first->path, r->path) != 0 : !fits(r->path, path, params))
                continue;
            first = first ? first : r;
            *out = (struct route_match){ .route = r };
            memcpy(out->params, params, sizeof params);
            if (route_has_method(r, method))
                return ROUTE_FOUND;
        }
    return first ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}

static void allow_one(struct buf *b, struct str method) {
    buf_str(b, method);
    buf_str(b, S(", "));
}

struct str route_allow(const struct route_table *const *tables, size_t n, const char *path,
                       struct arena *a) {
    SCOPED(buf_done) struct buf b = { 0 };
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < tables[i]->count; k++) {
            const struct route *r = &tables[i]->routes[k];
            struct str all = str_of(r->methods);
            while (strcmp(r->path, path) == 0 && all.p) {
                struct str one = str_cut(&all, ' ');
                allow_one(&b, one);
                if (str_eq(one, S("GET")) && r->run)
                    allow_one(&b, S("HEAD"));
            }
        }
    buf_str(&b, S("OPTIONS"));
    return arena_dup(a, buf_view(&b));
}

/* ---- text of targets --------------------------------------------------------------- */

bool percent_decode(struct str raw, bool plus_is_space, struct arena *a, struct str *out) {
    char *text = arena_alloc(a, raw.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        unsigned char c = (unsigned char)raw.p[i];
        if (c == '%') {
            if (i + 2 >= raw.n || !hex_get(str_from(raw.p + i + 1, 2), &c, 1))
                return false;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        text[n++] = (char)c;
    }
    *out = str_from(text, n);
    return json_is_utf8(*out);
}

static err_t unknown_name(const struct schema *s, struct str name, struct arena *a) {
    const struct field *closest = s ? field_closest(s->fields, *s->count, name) : NULL;
    struct str known = S("");
    if (closest)
        return ERR(INVALID, "query parameter %.*s is unknown; did you mean %s?",
                   STR(str_head(name, 100)), closest->name);
    for (size_t i = 0; s && i < *s->count; i++)
        known = arena_fmt(a, "%.*s%s%s", STR(known), known.n ? ", " : "", s->fields[i].name);
    return known.n ? ERR(INVALID, "query parameter %.*s is unknown; known here: %.*s",
                         STR(str_head(name, 100)), STR(known))
                   : ERR(INVALID, "query parameter %.*s is unknown; there are none here",
                         STR(str_head(name, 100)));
}

/* Of a word for true there is one spelling in a URL. */
static bool is_other_bool(const struct field *row, struct str value) {
    return row->type == FIELD_BOOL && !str_eq(value, S("true")) && !str_eq(value, S("false"));
}

static err_t read_pair(const struct schema *s, struct str raw_name, struct str raw_value,
                       uint64_t *given, void *out, struct arena *a, bool *measure) {
    struct str name, value;
    if (!percent_decode(raw_name, true, a, &name) || !percent_decode(raw_value, true, a, &value))
        return ERR(INVALID, "the query has a broken escape or is no UTF-8");
    const struct field *row = s ? field_find(s->fields, *s->count, name) : NULL;
    if (!row)
        return unknown_name(s, name, a);
    uint64_t bit = (uint64_t)1 << (row - s->fields);
    if (*given & bit)
        return ERR(INVALID, "query parameter %s is given twice", row->name);
    *given |= bit;
    if (is_other_bool(row, value))
        return ERR(INVALID, "query parameter %s must be true or false", row->name);
    err_t e = field_set(row, value, out, a);
    if (e && measure)
        *measure = field_is_measure(row, value, a);
    return e ? err_wrap(e, "query parameter") : OK;
}

err_t query_read(const struct schema *s, struct str query, void *out, struct arena *a,
                 bool *measure) {
    uint64_t given = 0;
    struct str rest = query;
    if (s)
        field_defaults(s->fields, *s->count, out, a);
    while (query.n && rest.p) {
        struct str value = str_cut(&rest, '&'), name = str_cut(&value, '=');
        if (name.n || value.p)
            TRY(read_pair(s, name, value.p ? value : S(""), &given, out, a, measure));
    }
    for (size_t i = 0; s && i < *s->count; i++)
        if ((s->fields[i].flags & FIELD_REQUIRED) && !(given >> i & 1))
            return ERR(INVALID, "query parameter %s is missing: %.*s", s->fields[i].name,
                       STR(field_allowed(&s->fields[i], a)));
    return OK;
}
