/* field_schema.c - rows of field.h as JSON Schema 2020-12, in two dialects.
 *
 * Of bodies and arguments: what a program may send, strictly. Of a configuration file: reading
 * one is lenient ("8080" is a number too, null is absent, ${…} may stand in any text), so every
 * type allows several spellings. Bounds are keywords that look at one JSON type alone (minimum at
 * numbers, pattern at strings), so no alternatives have to be nested and editors keep
 * completing. */
#include "base/field_value.h"
#include "base/mem.h"

/* What a string must look like; a dollar is there to expand to something that does. */
#define OR_DOLLAR "|\\$"
#define DIGITS "^[-+]?[0-9]+$"
#define REAL "^[-+0-9.eE]+$"

struct form {
    const char *types, *pattern, *low, *high; /* NULL: no such keyword */
};

static const struct form file_forms[] = {
    [FIELD_BOOL] = { "[\"boolean\",\"string\",\"null\"]",
                     "^([Tt][Rr][Uu][Ee]|[Yy][Ee][Ss]|[Oo][Nn]|1|[Ff][Aa][Ll][Ss][Ee]|[Nn][Oo]|[Oo][Ff][Ff]|0)$" OR_DOLLAR },
    [FIELD_INT] = { "[\"integer\",\"string\",\"null\"]", DIGITS OR_DOLLAR, "minimum", "maximum" },
    [FIELD_DOUBLE] = { "[\"number\",\"string\",\"null\"]", REAL OR_DOLLAR, "minimum", "maximum" },
    [FIELD_STR] = { "[\"string\",\"number\",\"boolean\",\"null\"]" },
    [FIELD_SECRET] = { "[\"string\",\"number\",\"boolean\",\"null\"]" },
    [FIELD_DURATION] = { "[\"string\",\"number\",\"null\"]",
                         "^[0-9]+(d|h|m|s|ms|us|ns)$|" REAL OR_DOLLAR, "minimum", "maximum" },
    [FIELD_BYTES] = { "[\"string\",\"integer\",\"null\"]",
                      "^[0-9]+(TiB|GiB|MiB|KiB|TB|GB|MB|kB|KB|B)?$" OR_DOLLAR, "minimum",
                      "maximum" },
    [FIELD_RATE] = { "[\"string\",\"null\"]", "^off$|^[-+0-9.eE]+/[smhd]$" OR_DOLLAR },
    [FIELD_WORD] = { NULL },
    [FIELD_STRS] = { "[\"array\",\"null\"]", NULL, "minItems", "maxItems" },
    [FIELD_PAIRS] = { "[\"object\",\"null\"]", NULL, "minProperties", "maxProperties" },
    [FIELD_OBJECT] = { "[\"object\",\"null\"]" },
    [FIELD_MAP] = { "[\"object\",\"null\"]", NULL, "minProperties", "maxProperties" },
    [FIELD_LIST] = { "[\"array\",\"null\"]", NULL, "minItems", "maxItems" },
    [FIELD_JSON] = { NULL },
    [FIELD_TIME] = { "[\"string\",\"null\"]", "^[0-9]{4}-" OR_DOLLAR },
};

static const struct form body_forms[] = {
    [FIELD_BOOL] = { "\"boolean\"" },
    [FIELD_INT] = { "\"integer\"", NULL, "minimum", "maximum" },
    [FIELD_DOUBLE] = { "\"number\"", NULL, "minimum", "maximum" },
    [FIELD_STR] = { "\"string\"", NULL, "minLength", "maxLength" },
    [FIELD_SECRET] = { "\"string\"", NULL, "minLength", "maxLength" },
    [FIELD_DURATION] = { "[\"string\",\"number\"]", "^[0-9]{1,19}(ns|us|ms|s|m|h|d)?$", "minimum",
                         "maximum" },
    [FIELD_BYTES] = { "[\"string\",\"integer\"]",
                      "^[0-9]{1,19}(TiB|GiB|MiB|KiB|TB|GB|MB|kB|KB|B)?$", "minimum", "maximum" },
    [FIELD_RATE] = { "\"string\"",
                     "^(off|[0-9]{1,9}(\\.[0-9]{1,20})?(e[+-]?[0-9]{1,2})?/[smhd])$" },
    [FIELD_WORD] = { "\"string\"" },
    [FIELD_STRS] = { "\"array\"", NULL, "minItems", "maxItems" },
    [FIELD_PAIRS] = { "\"object\"", NULL, "minProperties", "maxProperties" },
    [FIELD_OBJECT] = { NULL }, /* its members say it */
    [FIELD_MAP] = { "\"object\"", NULL, "minProperties", "maxProperties" },
    [FIELD_LIST] = { "\"array\"", NULL, "minItems", "maxItems" },
    [FIELD_JSON] = { NULL },
    [FIELD_TIME] = { "\"string\"" },
};

/* ---- of both ------------------------------------------------------------------------ */

/* A size or a duration: a number, or a text with a unit. */
static bool is_measure(const struct field *row) {
    return row->type == FIELD_DURATION || row->type == FIELD_BYTES;
}

/* A bound as the number that stands in a document: seconds, bytes. */
static struct str bound(const struct field *row, struct str text, struct arena *a) {
    struct field bare = { .type = row->type };
    int64_t n = 0;
    if (!is_measure(row))
        return text;
    field_parse(&bare, text, &n, a);
    return row->type == FIELD_BYTES ? arena_fmt(a, "%lld", (long long)n)
                                    : arena_fmt(a, "%.9g", (double)n / (double)NANOS_SEC);
}

static void put_bounds(const struct field *row, const struct form *form, struct str low,
                       struct jw *w, struct arena *a) {
    struct str high = S("");
    if (!form->low)
        return;
    if (row->range)
        field_range(row, &low, &high);
    if (low.n)
        jw_put_raw(w, form->low, bound(row, low, a));
    if (high.n)
        jw_put_raw(w, form->high, bound(row, high, a));
}

static void put_words(const struct field *row, bool or_null, struct jw *w) {
    jw_key(w, S("enum"));
    jw_array(w);
    for (size_t i = 0; row->words[i]; i++)
        jw_string(w, str_of(row->words[i]));
    if (or_null)
        jw_null(w);
    jw_array_end(w);
}

/* Their bounds are words to a schema, at best. */
static bool told_in_words(const struct field *row) {
    return is_measure(row) || row->type == FIELD_RATE;
}

static void put_default(const struct field *row, struct jw *w, struct arena *a) {
    struct field here = *row;
    here.offset = 0;
    if (!row->fallback || row->type == FIELD_SECRET)
        return;
    void *value = arena_zero(a, field_size(row));
    if (field_set(&here, str_of(row->fallback), value, a))
        return;
    jw_key(w, S("default"));
    field_write_value(&here, value, w);
}

static void put_required(const struct field *rows, size_t n, unsigned without, struct jw *w) {
    size_t listed = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(rows[i].flags & FIELD_REQUIRED) || rows[i].flags & without)
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

/* ---- bodies and arguments ------------------------------------------------------------ */

static void describe(const struct field *row, struct jw *w, struct arena *a) {
    struct str help = str_of(row->help);
    if (told_in_words(row)) {
        struct str stem = str_ends(help, S(".")) ? str_head(help, help.n - 1) : help;
        help = arena_fmt(a, "%.*s (%.*s).", STR(stem), STR(field_allowed(row, a)));
    }
    if (help.n)
        jw_put_string(w, "description", help);
}

static void body_inside(const struct field *row, struct jw *w) {
    switch (row->type) {
    case FIELD_WORD: put_words(row, false, w); return;
    case FIELD_STRS: jw_put_raw(w, "items", S("{\"type\":\"string\"}")); return;
    case FIELD_PAIRS:
        jw_put_raw(w, "additionalProperties", S("{\"type\":[\"string\",\"number\",\"boolean\"]}"));
        return;
    case FIELD_MAP:
    case FIELD_LIST:
        jw_key(w, row->type == FIELD_MAP ? S("additionalProperties") : S("items"));
        field_schema(row->fields, row->count, w);
        return;
    case FIELD_TIME: jw_put_string(w, "format", S("date-time")); return;
    case FIELD_SECRET: jw_put_bool(w, "writeOnly", true); return;
    default: return;
    }
}

static void body_members(const struct field *rows, size_t n, struct jw *w, struct arena *a);

static void body_row(const struct field *row, struct jw *w, struct arena *a) {
    const struct form *form = &body_forms[row->type];
    jw_object(w);
    if (row->type == FIELD_OBJECT)
        body_members(row->fields, row->count, w, a);
    else if (form->types)
        jw_put_raw(w, "type", str_of(form->types));
    describe(row, w, a);
    if (form->pattern)
        jw_put_string(w, "pattern", str_of(form->pattern));
    put_bounds(row, form, is_measure(row) ? S("0") : S(""), w, a);
    body_inside(row, w);
    put_default(row, w, a);
    jw_object_end(w);
}

static void body_members(const struct field *rows, size_t n, struct jw *w, struct arena *a) {
    jw_put_string(w, "type", S("object"));
    jw_key(w, S("properties"));
    jw_object(w);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].flags & FIELD_HIDDEN)
            continue;
        jw_key(w, str_of(rows[i].name));
        body_row(&rows[i], w, a);
    }
    jw_object_end(w);
    put_required(rows, n, FIELD_HIDDEN, w);
    jw_put_bool(w, "additionalProperties", false);
}

void field_schema(const struct field *rows, size_t n, struct jw *w) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    jw_object(w);
    body_members(rows, n, w, &a);
    jw_object_end(w);
}

/* ---- configuration files ------------------------------------------------------------- */

/* Lengths are patterns: what expands is as long as it will be. */
static struct str pattern(const struct field *row, struct arena *a) {
    struct str low = S("0"), high = S("");
    if (!field_is_text(row) || row->type == FIELD_TIME || !row->range)
        return str_of(file_forms[row->type].pattern);
    field_range(row, &low, &high);
    return arena_fmt(a, "^[\\s\\S]{%.*s,%.*s}$" OR_DOLLAR, STR(low.n ? low : S("0")), STR(high));
}

static void put_words_or_dollar(const struct field *row, struct jw *w) {
    jw_key(w, S("anyOf"));
    jw_array(w);
    jw_object(w);
    put_words(row, true, w);
    jw_object_end(w);
    jw_raw(w, S("{\"type\":\"string\",\"pattern\":\"\\\\$\"}"));
    jw_array_end(w);
}

static void explain(const struct field *row, struct str path, struct jw *w, struct arena *a) {
    struct str help = str_of(row->help);
    if (told_in_words(row))
        help = arena_fmt(a, "%.*s Allowed: %.*s.", STR(help), STR(field_allowed(row, a)));
    if (row->flags & FIELD_LATER)
        help = arena_fmt(a, "%.*s Not built yet: accepted with a warning.", STR(help));
    if (row->flags & FIELD_RESTART)
        help = arena_fmt(a, "%.*s A change needs a restart.", STR(help));
    if (path.n)
        help = arena_fmt(a, "%.*s Environment: %.*s", STR(help), STR(field_env(path, a)));
    jw_put_string(w, "description", help);
}

static void file_members(const struct field *rows, size_t n, struct str path, bool named,
                         struct jw *w, struct arena *a);

static void file_item(const struct field *row, struct jw *w, struct arena *a) {
    jw_object(w);
    jw_put_raw(w, "type", S("[\"object\",\"null\"]"));
    file_members(row->fields, row->count, S(""), false, w, a);
    jw_object_end(w);
}

static void file_inside(const struct field *row, struct str path, struct jw *w, struct arena *a) {
    switch (row->type) {
    case FIELD_WORD: put_words_or_dollar(row, w); return;
    case FIELD_STRS:
        jw_put_raw(w, "items", S("{\"type\":[\"string\",\"number\",\"boolean\"]}"));
        return;
    case FIELD_PAIRS:
        jw_put_raw(w, "additionalProperties", S("{\"type\":[\"string\",\"number\",\"boolean\"]}"));
        return;
    case FIELD_MAP:
    case FIELD_LIST:
        jw_key(w, row->type == FIELD_MAP ? S("additionalProperties") : S("items"));
        file_item(row, w, a);
        return;
    case FIELD_OBJECT: file_members(row->fields, row->count, path, path.n > 0, w, a); return;
    default: return;
    }
}

/* `path` is empty in maps and lists: nothing there has a variable of its own. */
static void file_row(const struct field *row, struct str path, struct jw *w, struct arena *a) {
    const struct form *form = &file_forms[row->type];
    struct str text = pattern(row, a);
    jw_object(w);
    if (form->types)
        jw_put_raw(w, "type", str_of(form->types));
    explain(row, path, w, a);
    if (text.n)
        jw_put_string(w, "pattern", text);
    put_bounds(row, form, S(""), w, a);
    file_inside(row, path, w, a);
    put_default(row, w, a);
    jw_object_end(w);
}

static void file_members(const struct field *rows, size_t n, struct str path, bool named,
                         struct jw *w, struct arena *a) {
    jw_key(w, S("properties"));
    jw_object(w);
    for (size_t i = 0; i < n; i++) {
        jw_key(w, str_of(rows[i].name));
        struct str below = !named   ? S("")
                           : path.n ? arena_fmt(a, "%.*s.%s", STR(path), rows[i].name)
                                    : str_of(rows[i].name);
        file_row(&rows[i], below, w, a);
    }
    jw_object_end(w);
    put_required(rows, n, 0, w);
    jw_put_bool(w, "additionalProperties", false);
}

void field_schema_file(const struct field *rows, size_t n, struct jw *w) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    file_members(rows, n, S(""), true, w, &a);
}
