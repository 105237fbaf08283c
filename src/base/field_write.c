/* field_write.c - rows of field.h: writing values back, JSON Schema, words for people. */
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

/* ---- JSON Schema ------------------------------------------------------------------- */

/* Keywords of JSON Schema 2020-12 for the bounds; durations, sizes and rates are strings to
 * it, so their bounds stand in the description. */
static const struct {
    const char *type, *low, *high;
} schemas[] = {
    [FIELD_BOOL] = { "\"boolean\"", NULL, NULL },
    [FIELD_INT] = { "\"integer\"", "minimum", "maximum" },
    [FIELD_DOUBLE] = { "\"number\"", "minimum", "maximum" },
    [FIELD_STR] = { "\"string\"", "minLength", "maxLength" },
    [FIELD_SECRET] = { "\"string\"", "minLength", "maxLength" },
    [FIELD_DURATION] = { "[\"string\",\"number\"]", NULL, NULL },
    [FIELD_BYTES] = { "[\"string\",\"integer\"]", NULL, NULL },
    [FIELD_RATE] = { "\"string\"", NULL, NULL },
    [FIELD_WORD] = { "\"string\"", NULL, NULL },
    [FIELD_STRS] = { "\"array\"", "minItems", "maxItems" },
    [FIELD_PAIRS] = { "\"object\"", "minProperties", "maxProperties" },
    [FIELD_OBJECT] = { NULL, NULL, NULL },
    [FIELD_MAP] = { "\"object\"", "minProperties", "maxProperties" },
    [FIELD_LIST] = { "\"array\"", "minItems", "maxItems" },
    [FIELD_JSON] = { NULL, NULL, NULL },
    [FIELD_TIME] = { "\"string\"", NULL, NULL },
};

static void describe(const struct field *row, struct jw *w) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct str help = str_of(row->help);
    bool in_words = row->type == FIELD_DURATION || row->type == FIELD_BYTES ||
                    row->type == FIELD_RATE;
    if (in_words) {
        struct str stem = str_ends(help, S(".")) ? str_head(help, help.n - 1) : help;
        help = arena_fmt(&a, "%.*s (%.*s).", STR(stem), STR(field_allowed(row, &a)));
    }
    if (help.n)
        jw_put_string(w, "description", help);
}

/* What texts look like; numbers have bounds of their own beside it. */
static const char *const patterns[] = {
    [FIELD_DURATION] = "^[0-9]{1,19}(ns|us|ms|s|m|h|d)?$",
    [FIELD_BYTES] = "^[0-9]{1,19}(TiB|GiB|MiB|KiB|TB|GB|MB|kB|KB|B)?$",
    [FIELD_RATE] = "^(off|[0-9]{1,9}(\\.[0-9]{1,20})?(e[+-]?[0-9]{1,2})?/[smhd])$",
};

static void put_measure(const struct field *row, const char *key, struct str text, struct jw *w) {
    struct field bare = { .type = row->type };
    int64_t n = 0;
    if (!text.n || !field_parse(&bare, text, &n, NULL))
        return;
    if (row->type == FIELD_DURATION)
        jw_put_double(w, key, (double)n / (double)NANOS_SEC);
    else
        jw_put_int(w, key, n);
}

static void schema_measure(const struct field *row, struct jw *w) {
    struct str low = S("0"), high = S("");
    jw_put_string(w, "pattern", str_of(patterns[row->type]));
    if (row->type == FIELD_RATE)
        return;
    if (row->range)
        field_range(row, &low, &high);
    put_measure(row, "minimum", low, w);
    put_measure(row, "maximum", high, w);
}

static void schema_bounds(const struct field *row, struct jw *w) {
    struct str low, high;
    if (row->type < ARRAY_SIZE(patterns) && patterns[row->type])
        schema_measure(row, w);
    if (!row->range || !schemas[row->type].low)
        return;
    field_range(row, &low, &high);
    if (low.n)
        jw_put_raw(w, schemas[row->type].low, low);
    if (high.n)
        jw_put_raw(w, schemas[row->type].high, high);
}

static void schema_inside(const struct field *row, struct jw *w) {
    switch (row->type) {
    case FIELD_WORD:
        jw_key(w, S("enum"));
        jw_array(w);
        for (size_t i = 0; row->words[i]; i++)
            jw_string(w, str_of(row->words[i]));
        jw_array_end(w);
        return;
    case FIELD_STRS:
        jw_put_raw(w, "items", S("{\"type\":\"string\"}"));
        return;
    case FIELD_PAIRS:
        jw_put_raw(w, "additionalProperties", S("{\"type\":[\"string\",\"number\",\"boolean\"]}"));
        return;
    case FIELD_MAP:
    case FIELD_LIST:
        jw_key(w, row->type == FIELD_MAP ? S("additionalProperties") : S("items"));
        field_schema(row->fields, row->count, w);
        return;
    case FIELD_TIME:
        jw_put_string(w, "format", S("date-time"));
        return;
    case FIELD_SECRET:
        jw_put_bool(w, "writeOnly", true);
        return;
    default:
        return;
    }
}

static void schema_default(const struct field *row, struct jw *w) {
    if (!row->fallback || row->type == FIELD_SECRET)
        return;
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    void *value = arena_zero(&a, field_size(row));
    struct field here = *row;
    here.offset = 0;
    if (field_set(&here, str_of(row->fallback), value, &a))
        return;
    jw_key(w, S("default"));
    write_value(&here, value, w, false);
}

static void schema_members(const struct field *rows, size_t n, struct jw *w);

static void schema_of(const struct field *row, struct jw *w) {
    jw_object(w);
    if (row->type == FIELD_OBJECT)
        schema_members(row->fields, row->count, w);
    else if (schemas[row->type].type)
        jw_put_raw(w, "type", str_of(schemas[row->type].type));
    describe(row, w);
    schema_bounds(row, w);
    schema_inside(row, w);
    schema_default(row, w);
    jw_object_end(w);
}

static void schema_required(const struct field *rows, size_t n, struct jw *w) {
    size_t listed = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(rows[i].flags & FIELD_REQUIRED) || (rows[i].flags & FIELD_HIDDEN))
            continue;
        if (listed++ == 0) {
            jw_key(w, S("required"));
            jw_array(w);
        }
        jw_string(w, str_of(rows[i].name));
    }
    if (listed)
        jw_array_end(w);
}

static void schema_members(const struct field *rows, size_t n, struct jw *w) {
    jw_put_string(w, "type", S("object"));
    jw_key(w, S("properties"));
    jw_object(w);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].flags & FIELD_HIDDEN)
            continue;
        jw_key(w, str_of(rows[i].name));
        schema_of(&rows[i], w);
    }
    jw_object_end(w);
    schema_required(rows, n, w);
    jw_put_bool(w, "additionalProperties", false);
}

void field_schema(const struct field *rows, size_t n, struct jw *w) {
    jw_object(w);
    schema_members(rows, n, w);
    jw_object_end(w);
}
