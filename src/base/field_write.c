/* field_write.c - rows of field.h: writing values back, words for people. */
#include "base/field_value.h"
#include "base/mem.h"

#define HIDDEN_VALUE S("***")
enum { SHOWN = 200 };

static const void *member(const void *in, const struct field *row) {
    return (const char *)in + row->offset;
}

/* ---- values ---------------------------------------------------------------------- */

/* `plain`: secrets as they are. */
static void write_rows(const struct field *rows, size_t n, const void *in, struct jw *w,
                       bool plain);

static bool is_hidden(const struct field *row, bool plain) {
    return (row->flags & FIELD_PRIVATE) && !plain;
}

static void write_strs(const struct field *row, const struct str_list *list, struct jw *w,
                       bool plain) {
    jw_array(w);
    for (size_t i = 0; i < list->n; i++)
        jw_string(w, is_hidden(row, plain) ? HIDDEN_VALUE : list->items[i]);
    jw_array_end(w);
}

static void write_pairs(const struct field *row, const struct pair_list *list, struct jw *w,
                        bool plain) {
    jw_object(w);
    for (size_t i = 0; i < list->n; i++) {
        jw_key(w, list->items[i].name);
        jw_string(w, is_hidden(row, plain) ? HIDDEN_VALUE : list->items[i].value);
    }
    jw_object_end(w);
}

static void write_items(const struct field *row, const struct item_list *list, struct jw *w,
                        bool plain) {
    bool map = row->type == FIELD_MAP;
    (map ? jw_object : jw_array)(w);
    for (size_t i = 0; i < list->n; i++) {
        const void *item = (const char *)list->items + i * row->size;
        if (map)
            jw_key(w, *(const struct str *)item);
        write_rows(row->fields, row->count, item, w, plain);
    }
    (map ? jw_object_end : jw_array_end)(w);
}

static void write_spelled(const struct field *row, const void *value, struct jw *w) {
    SCOPED(arena_scope) struct arena a;
    char storage[128];
    arena_init(&a, storage, sizeof(storage));
    jw_string(w, field_spell(row, value, &a));
}

static void write_secret(struct str value, struct jw *w, bool plain) {
    jw_string(w, plain || !value.n ? value : HIDDEN_VALUE);
}

static void write_json(const struct field *row, json value, struct jw *w, bool plain) {
    if (value && is_hidden(row, plain))
        jw_string(w, HIDDEN_VALUE);
    else
        jw_value(w, value);
}

static void write_value(const struct field *row, const void *value, struct jw *w, bool plain) {
    switch (row->type) {
    case FIELD_BOOL:
        jw_bool(w, *(const bool *)value);
        return;
    case FIELD_INT:
        jw_int(w, *(const int64_t *)value);
        return;
    case FIELD_DOUBLE:
        jw_double(w, *(const double *)value);
        return;
    case FIELD_STR:
    case FIELD_TIME:
        jw_string(w, *(const struct str *)value);
        return;
    case FIELD_SECRET:
        write_secret(*(const struct str *)value, w, plain);
        return;
    case FIELD_STRS:
        write_strs(row, value, w, plain);
        return;
    case FIELD_PAIRS:
        write_pairs(row, value, w, plain);
        return;
    case FIELD_OBJECT:
        write_rows(row->fields, row->count, value, w, plain);
        return;
    case FIELD_MAP:
    case FIELD_LIST:
        write_items(row, value, w, plain);
        return;
    case FIELD_JSON:
        write_json(row, *(const json *)value, w, plain);
        return;
    default:
        write_spelled(row, value, w);
    }
}

static bool is_zero(const struct field *row, const void *value) {
    static const char zero[sizeof(struct str)];
    return field_is_text(row) ? ((const struct str *)value)->n == 0
                              : memcmp(value, zero, field_size(row)) == 0;
}

/* What was never given and has no default is left out: an absent document, and an empty
 * value that reading would refuse. */
static bool is_absent(const struct field *row, const void *value) {
    if (row->fallback || row->type == FIELD_OBJECT || !is_zero(row, value))
        return false;
    return row->type == FIELD_JSON || row->type == FIELD_TIME || !field_in_range(row, value);
}

/* Names of rows need no escapes. */
static void put_name(struct jw *w, struct str name) {
    buf_reserve(w->out, name.n + 4);
    char *at = w->out->p + w->out->n;
    if (w->comma)
        *at++ = ',';
    *at++ = '"';
    memcpy(at, name.p, name.n);
    at += name.n;
    *at++ = '"';
    *at++ = ':';
    w->out->n = (size_t)(at - w->out->p);
    w->comma = false;
}

static void write_rows(const struct field *rows, size_t n, const void *in, struct jw *w,
                       bool plain) {
    jw_object(w);
    for (size_t i = 0; i < n; i++) {
        if (field_is_alias(rows, i) || is_absent(&rows[i], member(in, &rows[i])))
            continue;
        put_name(w, str_of(rows[i].name));
        write_value(&rows[i], member(in, &rows[i]), w, plain);
    }
    jw_object_end(w);
}

void field_write(const struct field *rows, size_t n, const void *in, struct jw *w) {
    write_rows(rows, n, in, w, false);
}

void field_write_plain(const struct field *rows, size_t n, const void *in, struct jw *w) {
    write_rows(rows, n, in, w, true);
}

/* The query of an address often holds a key. */
static struct str without_query(struct str text, struct arena *a) {
    ptrdiff_t query = str_find(text, S("://")) > 0 ? str_find_char(text, '?') : -1;
    return query < 0 ? text : arena_fmt(a, "%.*s?***", (int)query, text.p);
}

void field_write_value(const struct field *row, const void *in, struct jw *w) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    if (row->type == FIELD_STR)
        jw_string(w, without_query(*(const struct str *)member(in, row), &a));
    else
        write_value(row, member(in, row), w, false);
}

/* Without the start of a character that was cut off. */
static struct str str_whole(struct str s) {
    size_t n = s.n;
    while (n && ((unsigned char)s.p[n - 1] & 0xc0) == 0x80)
        n--;
    return n && (unsigned char)s.p[n - 1] >= 0xc0 ? str_head(s, n - 1) : s;
}

struct str field_show(const struct field *row, const void *in, struct arena *a) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    field_write_value(row, in, &w);
    struct str text = buf_view(&b);
    if (str_starts(text, S("\"")))
        text = json_unquote(a, text);
    if (text.n > SHOWN)
        text = arena_fmt(a, "%.*s…", STR(str_whole(str_head(text, SHOWN))));
    return arena_dup(a, text);
}

/* ---- words for people -------------------------------------------------------------- */

static struct str words_of(const struct field *row, struct arena *a) {
    SCOPED(buf_done) struct buf out = { 0 };
    buf_str(&out, S("one of "));
    for (size_t i = 0; row->words[i]; i++)
        buf_fmt(&out, "%s\"%s\"", i ? ", " : "", row->words[i]);
    return arena_dup(a, buf_view(&out));
}

/* Noun, the unit behind the bounds, and what stands there when there is no range. */
static const struct {
    const char *noun, *of, *unit, *open;
} phrases[] = {
    [FIELD_BOOL] = { "true or false", "", "", "" },
    [FIELD_INT] = { "an integer", "", "", "" },
    [FIELD_DOUBLE] = { "a number", "", "", "" },
    [FIELD_STR] = { "a text", "of ", " characters", "" },
    [FIELD_SECRET] = { "a text", "of ", " characters", "" },
    [FIELD_DURATION] = { "a duration", "", "", " such as 30s, 5m or 1h" },
    [FIELD_BYTES] = { "a size", "", "", " such as 64KiB or 4MiB" },
    [FIELD_RATE] = { "a rate", "", ", or \"off\"", " such as 100/s or 6000/m, or \"off\"" },
    [FIELD_WORD] = { "", "", "", "" },
    [FIELD_STRS] = { "an array of texts", "of ", " entries", "" },
    [FIELD_PAIRS] = { "an object of texts", "of ", " entries", "" },
    [FIELD_OBJECT] = { "an object", "", "", "" },
    [FIELD_MAP] = { "an object of objects, one for each name", "of ", " entries", "" },
    [FIELD_LIST] = { "an array of objects", "of ", " entries", "" },
    [FIELD_JSON] = { "any JSON value", "", "", "" },
    [FIELD_TIME] = { "a date and time", "", "", " such as 2026-07-28T12:00:00Z" },
};

struct str field_allowed(const struct field *row, struct arena *a) {
    const char *noun = phrases[row->type].noun, *unit = phrases[row->type].unit;
    const char *of = phrases[row->type].of;
    struct str low = S(""), high = S("");
    if (row->type == FIELD_WORD)
        return words_of(row, a);
    if (row->range)
        field_range(row, &low, &high);
    if (low.n && high.n)
        return arena_fmt(a, "%s %s%.*s to %.*s%s", noun, *of ? of : "from ", STR(low), STR(high),
                         unit);
    if (low.n)
        return arena_fmt(a, "%s %sat least %.*s%s", noun, *of ? of : "of ", STR(low), unit);
    if (high.n)
        return arena_fmt(a, "%s %sat most %.*s%s", noun, *of ? of : "of ", STR(high), unit);
    return arena_fmt(a, "%s%s", noun, phrases[row->type].open);
}
