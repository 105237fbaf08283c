/* field.c - rows of field.h: defaults and reading. Single values are in field_value.c,
 * writing and describing in field_write.c. */
#include "base/field.h"
#include "base/field_value.h"
#include "base/mem.h"
#include <assert.h>

/* ---- finding rows ---------------------------------------------------------------- */

const struct field *field_find(const struct field *rows, size_t n, struct str name) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(str_of(rows[i].name), name))
            return &rows[i];
    return NULL;
}

const struct field *field_closest(const struct field *rows, size_t n, struct str name) {
    unsigned limit = name.n < 6 ? (unsigned)(name.n + 1) / 2 : 3;
    const struct field *best = NULL;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].flags & FIELD_HIDDEN)
            continue;
        unsigned d = str_distance(name, str_of(rows[i].name), limit);
        if (d > limit)
            continue;
        best = &rows[i];
        limit = d ? d - 1 : 0;
    }
    return best;
}

static void *member(void *out, const struct field *row) {
    return (char *)out + row->offset;
}

/* ---- defaults -------------------------------------------------------------------- */

void field_defaults(const struct field *rows, size_t n, void *out, struct arena *a) {
    for (size_t i = 0; i < n; i++) {
        const struct field *row = &rows[i];
        if (field_is_alias(rows, i))
            continue;
        memset(member(out, row), 0, field_size(row));
        if (row->type == FIELD_OBJECT)
            field_defaults(row->fields, row->count, member(out, row), a);
        if (!row->fallback)
            continue;
        err_t e = field_set(row, str_of(row->fallback), out, a);
        assert(!e && "default of a field row");
    }
}

/* ---- places and problems ---------------------------------------------------------- */

/* Where reading stands; spelled as a path only when there is a problem. */
struct place {
    const struct place *up;
    struct str name; /* name.p == NULL: element `index` */
    size_t index;
    json parent;
};

struct reader {
    struct arena *a;
    struct field_problems *problems;
    struct str path;
};

static bool is_simple_name(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c < 0x80)
            return false;
    }
    return s.n > 0;
}

void field_path_name(struct buf *path, struct str name) {
    if (path->n)
        buf_char(path, '.');
    bool simple = is_simple_name(name);
    buf_str(path, simple ? S("") : S("\""));
    json_escape(path, str_head(name, 200));
    buf_str(path, simple ? S("") : S("\""));
}

void field_path_index(struct buf *path, size_t index) {
    buf_fmt(path, "[%zu]", index);
}

static void put_path(struct buf *out, const struct place *at) {
    if (!at)
        return;
    put_path(out, at->up);
    if (at->name.p)
        field_path_name(out, at->name);
    else
        field_path_index(out, at->index);
}

static struct str path_of(const struct reader *r, const struct place *at) {
    SCOPED(buf_done) struct buf path = { 0 };
    buf_str(&path, r->path);
    put_path(&path, at);
    return arena_dup(r->problems->arena, buf_view(&path));
}

/* Beyond the room for problems they are only counted, so that a hostile document costs
 * nothing more: ask before making a message. */
static bool has_room(const struct reader *r, bool warning) {
    if (r->problems->n < ARRAY_SIZE(r->problems->items))
        return true;
    r->problems->errors += !warning;
    return false;
}

static void add_problem(const struct reader *r, const struct place *at, json v, bool warning,
                        struct str message) {
    struct field_problems *p = r->problems;
    p->errors += !warning;
    p->items[p->n++] = (struct field_problem){
        .path = path_of(r, at),
        .message = message,
        .at = v,
        .parent = at ? at->parent : NULL,
        .warning = warning,
    };
}

static void wrong_type(const struct reader *r, const struct place *at, json v, struct str want) {
    if (!has_room(r, false))
        return;
    const char *type = json_type_name(json_type(v));
    const char *article = json_type(v) == JSON_NULL ? "" : strchr("ao", type[0]) ? "an " : "a ";
    add_problem(r, at, v, false,
                arena_fmt(r->problems->arena, "must be %.*s, not %s%s", STR(want), article, type));
}

static bool wants_string(const struct reader *r, const struct field *row) {
    bool other = row->type == FIELD_BOOL || row->type == FIELD_INT || row->type == FIELD_DOUBLE;
    return field_is_scalar(row) && (r->problems->lenient || !other);
}

/* A small one of the same unit would be read. */
bool field_is_measure(const struct field *row, struct str text, struct arena *a) {
    struct str scratch[1];
    size_t digits = 0;
    if (row->type != FIELD_DURATION && row->type != FIELD_BYTES && row->type != FIELD_RATE)
        return false;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    return digits &&
           field_parse(row, arena_fmt(a, "1%.*s", STR(str_skip(text, digits))), scratch, a);
}

/* Numbers and booleans stand in the document as they are; a string may be a secret. */
static void wrong_value(const struct reader *r, const struct place *at, json v,
                        const struct field *row) {
    if (!has_room(r, false))
        return;
    struct arena *a = r->problems->arena;
    struct str allowed = field_allowed(row, a);
    if (json_type(v) == JSON_STRING && wants_string(r, row)) {
        add_problem(r, at, v, false, arena_fmt(a, "must be %.*s", STR(allowed)));
        r->problems->items[r->problems->n - 1].measure = field_is_measure(row, json_text(v), a);
    } else if (json_type(v) == JSON_NUMBER && field_is_scalar(row) && row->type != FIELD_SECRET)
        add_problem(
            r, at, v, false,
            arena_fmt(a, "must be %.*s, not %.*s", STR(allowed), STR(str_head(json_text(v), 40))));
    else
        wrong_type(r, at, v, allowed);
}

/* ---- reading --------------------------------------------------------------------- */

static void read_object(const struct reader *r, const struct field *rows, size_t n, json object,
                        void *out, const struct place *at);

static struct place element(const struct place *up, json parent, const struct json_iter *it,
                            size_t i) {
    return (struct place){
        .up = up,
        .name = json_type(parent) == JSON_OBJECT ? it->key : (struct str){ 0 },
        .index = i,
        .parent = parent,
    };
}

static void read_strs(const struct reader *r, json v, struct str_list *out,
                      const struct place *at) {
    struct str_list list = { .items = ARENA_ARRAY(r->a, struct str, json_count(v)) };
    size_t i = 0;
    for (struct json_iter it = json_iter(v); json_next(&it); i++) {
        static const struct field text = { .type = FIELD_STR };
        if (field_from_json(&text, it.value, r->problems->lenient, &list.items[list.n], r->a)) {
            list.n++;
            continue;
        }
        struct place here = element(at, v, &it, i);
        wrong_type(r, &here, it.value, S("a text"));
    }
    *out = list;
}

/* Values are texts, however they are spelled: PORT: 8080 in an environment is "8080". */
static void read_pairs(const struct reader *r, json v, struct pair_list *out,
                       const struct place *at) {
    struct pair_list list = { .items = ARENA_ARRAY(r->a, struct pair, json_count(v)) };
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        static const struct field text = { .type = FIELD_STR };
        struct pair *pair = &list.items[list.n];
        if (field_from_json(&text, it.value, true, &pair->value, r->a)) {
            pair->name = arena_dup(r->a, it.key);
            list.n++;
            continue;
        }
        struct place here = element(at, v, &it, 0);
        wrong_type(r, &here, it.value, S("a text"));
    }
    *out = list;
}

static void read_items(const struct reader *r, const struct field *row, json v,
                       struct item_list *out, const struct place *at) {
    struct item_list list = { .items = arena_zero(r->a, json_count(v) * row->size) };
    for (struct json_iter it = json_iter(v); json_next(&it); list.n++) {
        void *item = (char *)list.items + list.n * row->size;
        struct place here = element(at, v, &it, list.n);
        field_defaults(row->fields, row->count, item, r->a);
        if (row->type == FIELD_MAP)
            *(struct str *)item = arena_dup(r->a, it.key);
        read_object(r, row->fields, row->count, it.value, item, &here);
    }
    *out = list;
}

static enum json_type container_of(const struct field *row) {
    return row->type == FIELD_STRS || row->type == FIELD_LIST ? JSON_ARRAY : JSON_OBJECT;
}

static void read_container(const struct reader *r, const struct field *row, json v, void *value,
                           const struct place *at) {
    if (json_type(v) != container_of(row)) {
        wrong_value(r, at, v, row);
        return;
    }
    if (row->type == FIELD_OBJECT) {
        read_object(r, row->fields, row->count, v, value, at);
        return;
    }
    if (row->type == FIELD_STRS)
        read_strs(r, v, value, at);
    else if (row->type == FIELD_PAIRS)
        read_pairs(r, v, value, at);
    else
        read_items(r, row, v, value, at);
    if (!field_in_range(row, value) && has_room(r, false))
        add_problem(r, at, v, false,
                    arena_fmt(r->problems->arena, "must be %.*s, not one of %zu",
                              STR(field_allowed(row, r->problems->arena)), json_count(v)));
}

static void read_member(const struct reader *r, const struct field *row, json v, void *out,
                        const struct place *at) {
    union {
        bool b;
        int i;
        int64_t n;
        double d;
        struct rate rate;
        struct str s;
    } read = { 0 };
    if ((row->flags & FIELD_LATER) && has_room(r, true))
        add_problem(r, at, v, true, S("is accepted, but the part that it sets is not built yet"));
    if (row->type == FIELD_JSON)
        *(json *)member(out, row) = v;
    else if (!field_is_scalar(row))
        read_container(r, row, v, member(out, row), at);
    else if (field_from_json(row, v, r->problems->lenient, &read, r->a) &&
             field_in_range(row, &read))
        memcpy(member(out, row), &read, field_size(row));
    else
        wrong_value(r, at, v, row);
}

static void put_names(struct buf *out, const struct field *rows, size_t n) {
    for (size_t i = 0, listed = 0; i < n; i++)
        if (!(rows[i].flags & FIELD_HIDDEN))
            buf_fmt(out, "%s%s", listed++ ? ", " : "", rows[i].name);
}

static void unknown_member(const struct reader *r, const struct field *rows, size_t n, json v,
                           const struct place *at) {
    if (!has_room(r, false))
        return;
    const struct field *closest = field_closest(rows, n, at->name);
    SCOPED(buf_done) struct buf message = { 0 };
    if (closest) {
        buf_fmt(&message, "is unknown; did you mean \"%s\"?", closest->name);
    } else {
        buf_str(&message, S("is unknown; known here: "));
        put_names(&message, rows, n);
    }
    add_problem(r, at, v, false, arena_dup(r->problems->arena, buf_view(&message)));
}

/* The row that read the same member before, or NULL. `given` holds the rows seen, one bit each. */
static const struct field *given_before(const struct field *rows, size_t n, const uint64_t *given,
                                        const struct field *row) {
    for (size_t i = 0; i < n; i++)
        if ((given[i / 64] >> (i % 64) & 1) && field_same_member(&rows[i], row))
            return &rows[i];
    return NULL;
}

static void check_missing(const struct reader *r, const struct field *rows, size_t n,
                          const uint64_t *given, json object, const struct place *at) {
    for (size_t i = 0; i < n; i++) {
        if (!(rows[i].flags & FIELD_REQUIRED) || given_before(rows, n, given, &rows[i]) ||
            !has_room(r, false))
            continue;
        struct place here = { .up = at, .name = str_of(rows[i].name), .parent = object };
        struct arena *a = r->problems->arena;
        add_problem(r, &here, NULL, false,
                    arena_fmt(a, "is missing: %.*s", STR(field_allowed(&rows[i], a))));
    }
}

static void read_members(const struct reader *r, const struct field *rows, size_t n, json object,
                         void *out, const struct place *at) {
    uint64_t given[4] = { 0 };
    assert(n <= sizeof(given) * 8);
    for (struct json_iter it = json_iter(object); json_next(&it);) {
        const struct field *row = field_find(rows, n, it.key);
        struct place here = element(at, object, &it, 0);
        if (!row) {
            unknown_member(r, rows, n, it.value, &here);
            continue;
        }
        if (json_type(it.value) == JSON_NULL && row->type != FIELD_JSON)
            continue;
        const struct field *twin = given_before(rows, n, given, row);
        if (twin && has_room(r, false))
            add_problem(r, &here, it.value, false,
                        arena_fmt(r->problems->arena, "is the same as \"%s\", which is given too",
                                  twin->name));
        given[(row - rows) / 64] |= (uint64_t)1 << ((row - rows) % 64);
        read_member(r, row, it.value, out, &here);
    }
    check_missing(r, rows, n, given, object, at);
}

static void read_object(const struct reader *r, const struct field *rows, size_t n, json object,
                        void *out, const struct place *at) {
    enum json_type type = json_type(object);
    if (type == JSON_OBJECT || type == JSON_NULL || type == JSON_ABSENT)
        read_members(r, rows, n, object, out, at);
    else
        wrong_type(r, at, object, S("an object"));
}

void field_read(const struct field *rows, size_t n, json object, struct str path, void *out,
                struct arena *a, struct field_problems *problems) {
    struct reader r = { .a = a, .problems = problems, .path = path };
    read_object(&r, rows, n, object, out, NULL);
}

err_t field_problems_err(const struct field_problems *problems) {
    if (problems->errors == 0)
        return OK;
    for (size_t i = 0; i < problems->n; i++) {
        const struct field_problem *p = &problems->items[i];
        if (p->warning)
            continue;
        const char *colon = p->path.n ? ": " : "";
        if (problems->errors == 1)
            return ERR(INVALID, "%.*s%s%.*s", STR(p->path), colon, STR(p->message));
        return ERR(INVALID, "%.*s%s%.*s (and %zu more)", STR(p->path), colon, STR(p->message),
                   problems->errors - 1);
    }
    return ERR(INVALID, "%zu problems", problems->errors);
}

/* ---- from text ------------------------------------------------------------------- */

static size_t pieces(struct str text) {
    size_t n = text.n > 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == ',';
    return n;
}

/* An array in JSON; [::1]:8000 is none. */
static bool is_array(struct str text) {
    return str_starts(text, S("[")) && str_ends(text, S("]"));
}

static void set_strs(struct str text, struct str_list *out, struct arena *a) {
    struct str rest = arena_dup(a, text);
    struct str_list list = { .items = ARENA_ARRAY(a, struct str, pieces(text)) };
    while (text.n && rest.p)
        list.items[list.n++] = str_trim(str_cut(&rest, ','));
    *out = list;
}

static bool set_pairs(struct str text, struct pair_list *out, struct arena *a) {
    struct str rest = arena_dup(a, text);
    struct pair_list list = { .items = ARENA_ARRAY(a, struct pair, pieces(text)) };
    while (text.n && rest.p) {
        struct str value = str_cut(&rest, ',');
        struct str name = str_cut(&value, '=');
        if (!value.p)
            return false;
        list.items[list.n++] = (struct pair){ str_trim(name), str_trim(value) };
    }
    *out = list;
    return true;
}

static err_t set_json(const struct field *row, struct str text, void *out, struct arena *a) {
    json v = NULL;
    TRY_WRAP(json_parse(a, text, (struct json_limits){ 0 }, &v), "%s", row->name);
    struct field_problems problems = { .arena = a, .lenient = true };
    struct reader r = { .a = a, .problems = &problems };
    struct place here = { .name = str_of(row->name) };
    read_member(&r, row, v, out, &here);
    return field_problems_err(&problems);
}

/* Scalars stay texts, which lenient reading takes for any of them. */
err_t field_text_json(const struct field *row, struct str text, struct arena *a, struct jw *w) {
    struct str trimmed = str_trim(text);
    struct str_list list;
    struct pair_list pairs;
    if (field_is_scalar(row)) {
        jw_string(w, field_is_text(row) ? text : trimmed);
    } else if (row->type == FIELD_STRS && !is_array(trimmed)) {
        set_strs(trimmed, &list, a);
        jw_array(w);
        for (size_t i = 0; i < list.n; i++)
            jw_string(w, list.items[i]);
        jw_array_end(w);
    } else if (row->type == FIELD_PAIRS && !str_starts(trimmed, S("{"))) {
        if (!set_pairs(trimmed, &pairs, a))
            return ERR(INVALID, "must be name=value, with commas between, or a JSON object");
        jw_object(w);
        for (size_t i = 0; i < pairs.n; i++)
            jw_put_string(w, arena_text(a, pairs.items[i].name), pairs.items[i].value);
        jw_object_end(w);
    } else {
        json v = NULL;
        TRY_WRAP(json_parse(a, trimmed, (struct json_limits){ 0 }, &v), "is no JSON");
        jw_value(w, v);
    }
    return OK;
}

struct str field_env(struct str path, struct arena *a) {
    char *name = arena_text(a, arena_fmt(a, "GATESPAN_%.*s", STR(path)));
    for (char *p = name; *p; p++)
        *p = *p >= 'a' && *p <= 'z'                               ? (char)(*p & ~32)
             : (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ? *p
                                                                    : '_';
    return str_of(name);
}

static err_t not_allowed(const struct field *row, struct arena *a) {
    return ERR(INVALID, "%s must be %.*s", row->name, STR(field_allowed(row, a)));
}

static err_t set_scalar(const struct field *row, struct str text, void *out, struct arena *a) {
    struct str scratch[1] = { 0 }; /* the largest scalar */
    if (!field_parse(row, text, scratch, a) || !field_in_range(row, scratch))
        return not_allowed(row, a);
    memcpy(member(out, row), scratch, field_size(row));
    return OK;
}

err_t field_set(const struct field *row, struct str text, void *out, struct arena *a) {
    struct str trimmed = str_trim(text);
    if (field_is_scalar(row))
        return set_scalar(row, text, out, a);
    if (row->type == FIELD_STRS && !is_array(trimmed))
        set_strs(trimmed, member(out, row), a);
    else if (row->type == FIELD_PAIRS && !str_starts(trimmed, S("{"))) {
        if (!set_pairs(trimmed, member(out, row), a))
            return not_allowed(row, a);
    } else {
        return set_json(row, trimmed, out, a);
    }
    return field_in_range(row, member(out, row)) ? OK : not_allowed(row, a);
}
