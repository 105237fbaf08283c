/* call_args.c - see call_args.h. */
#include "cli/call_args.h"
#include "base/mem.h"

/* The types that a schema allows, as bits of enum json_type; INTEGER is one more. */
enum { INTEGER = 1 << 16 };

static const struct {
    const char *name;
    unsigned bit;
    const char *wanted;
} types[] = {
    { "integer", INTEGER, "an integer" },
    { "number", 1 << JSON_NUMBER, "a number" },
    { "boolean", 1 << JSON_BOOL, "true or false" },
    { "null", 1 << JSON_NULL, "null" },
    { "array", 1 << JSON_ARRAY, "a JSON array, such as '[\"a\",\"b\"]'" },
    { "object", 1 << JSON_OBJECT, "a JSON object, such as '{\"a\":1}'" },
    { "string", 1 << JSON_STRING, "a text" },
};

static unsigned bit_of(struct str name) {
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (str_eq(str_of(types[i].name), name))
            return types[i].bit;
    return 0;
}

/* 0: it does not say. */
static unsigned types_of(json schema) {
    unsigned bits = 0;
    json type = json_get(schema, S("type"));
    if (json_type(type) == JSON_STRING)
        bits |= bit_of(json_text(type));
    for (struct json_iter it = json_iter(type); json_next(&it);)
        bits |= bit_of(json_text(it.value));
    if (bits)
        return bits;
    static const char *const choices[] = { "anyOf", "oneOf" };
    for (size_t i = 0; i < ARRAY_SIZE(choices); i++)
        for (struct json_iter it = json_iter(json_get(schema, str_of(choices[i]))); json_next(&it);)
            bits |= bit_of(json_get_text(it.value, S("type")));
    return bits;
}

/* ---- one value -------------------- */

static bool fits(unsigned allowed, json v) {
    int64_t whole;
    unsigned bit = 1u << json_type(v);
    if (json_type(v) == JSON_STRING)
        return false; /* "x" with its quotes is a text, quotes included */
    return !allowed || (allowed & bit) || ((allowed & INTEGER) && json_is_i64(v, &whole));
}

static struct str wanted(unsigned allowed, struct arena *a) {
    SCOPED(buf_done) struct buf b = { 0 };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (allowed & types[i].bit)
            buf_fmt(&b, "%s%s", b.n ? " or " : "", types[i].wanted);
    return arena_dup(a, buf_view(&b));
}

static err_t put_value(struct jw *w, struct arena *a, json schema, struct str key,
                       struct str text) {
    unsigned allowed = types_of(schema), text_bit = 1 << JSON_STRING;
    json v = NULL;
    bool parsed = allowed != text_bit &&
                  !json_parse(a, arena_dup(a, text), (struct json_limits){ 0 }, &v);
    if (!(parsed && fits(allowed, v)) && allowed && !(allowed & text_bit))
        return ERR(INVALID, "%.*s: %.*s is needed", STR(key), STR(wanted(allowed, a)));
    jw_key(w, key);
    if (parsed && fits(allowed, v))
        jw_value(w, v);
    else
        jw_string(w, text);
    return OK;
}

/* ---- all of them -------------------- */

static err_t check_known(json schema, struct str key, struct arena *a) {
    json properties = json_get(schema, S("properties"));
    bool open = true;
    json_is_bool(json_get(schema, S("additionalProperties")), &open);
    if (open || json_get(properties, key))
        return OK;
    struct str best = { 0 };
    unsigned distance = 4;
    for (struct json_iter it = json_iter(properties); json_next(&it);) {
        unsigned d = str_distance(key, it.key, 3);
        if (d < distance) {
            distance = d;
            best = it.key;
        }
    }
    return ERR(INVALID, "the tool has no argument %.*s%s%.*s%s", STR(key),
               best.p ? "; did you mean " : "", STR(best), best.p ? "?" : "");
}

static bool given_before(const struct str *words, size_t n, struct str key) {
    for (size_t i = 0; i < n; i++) {
        struct str rest = words[i];
        if (str_eq(str_cut(&rest, '='), key))
            return true;
    }
    return false;
}

static err_t put_pair(struct jw *w, struct arena *a, json schema, const struct str *words,
                      size_t i) {
    struct str text = words[i], key = str_cut(&text, '=');
    if (!text.p || !key.n)
        return ERR(INVALID, "%.*s: write key=value, or all arguments as one JSON object",
                   STR(words[i]));
    if (given_before(words, i, key))
        return ERR(INVALID, "%.*s is given twice", STR(key));
    TRY(check_known(schema, key, a));
    return put_value(w, a, json_get(json_get(schema, S("properties")), key), key, text);
}

static err_t read_object(struct arena *a, struct str text, struct buf *out) {
    json v = NULL;
    TRY_WRAP(json_parse(a, arena_dup(a, text), (struct json_limits){ 0 }, &v), "arguments");
    json_write(out, v);
    return OK;
}

err_t call_args_read(struct arena *a, json input_schema, const struct str *words, size_t n,
                     struct buf *out) {
    if (n == 1 && str_starts(str_trim(words[0]), S("{")))
        return read_object(a, words[0], out);
    struct jw w = jw_init(out);
    jw_object(&w);
    for (size_t i = 0; i < n; i++)
        TRY(put_pair(&w, a, input_schema, words, i));
    jw_object_end(&w);
    return OK;
}
