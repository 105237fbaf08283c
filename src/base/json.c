/* json.c - documents of json.h over yyjson; the writer and the cursor are in json_text.c.
 *
 * The only file that knows yyjson. The text is copied into the arena and parsed in place;
 * yyjson's table of values is made in scratch memory, because it is guessed too large and
 * grows by copying, and moves into the arena in its exact size: 16 bytes for each value, in
 * document order, containers holding relative offsets, so that it can move.
 *
 * yyjson checks grammar, UTF-8 and surrogates. Depth and duplicate keys are checked here,
 * in one walk over the table. */
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include <stdio.h>
#include <yyjson.h>

#define DEFAULT_BYTES ((size_t)64 << 20)
#define DEFAULT_DEPTH 64
#define FEW_MEMBERS 16 /* up to here comparing each with each beats hashing */

static yyjson_val *val(json v) {
    return (yyjson_val *)(uintptr_t)v;
}

static json json_of(yyjson_val *v) {
    return (json)v;
}

static struct str text_of(yyjson_val *v) {
    return str_from(v->uni.str, unsafe_yyjson_get_len(v));
}

/* ---- parsing ------------------------------------------------------------------- */

struct parse {
    struct str text;  /* as given; the copy is changed by unescaping */
    const char *copy; /* same offsets */
    unsigned depth;
    yyjson_val **ends; /* end of each open container */
    yyjson_val *end;
};

static void *scratch_alloc(void *ctx, size_t n) {
    return mem_alloc(n);
}

static void *scratch_grow(void *ctx, void *p, size_t old, size_t n) {
    return mem_grow(p, n);
}

static void scratch_free(void *ctx, void *p) {
    free(p);
}

static err_t problem_at(const struct parse *p, size_t at, const char *what) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < p->text.n; i++) {
        unsigned char c = (unsigned char)p->text.p[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xc0) != 0x80) {
            column++;
        }
    }
    return ERR(INVALID, "line %zu column %zu: %s", line, column, what);
}

/* Containers carry no offset, so the place is looked for again. */
static err_t too_deep(const struct parse *p) {
    size_t at = 0, open = 0;
    for (bool quoted = false; at < p->text.n; at++) {
        char c = p->text.p[at];
        if (c == '"')
            quoted = !quoted;
        else if (quoted)
            at += c == '\\';
        else if (c == '}' || c == ']')
            open--;
        else if ((c == '{' || c == '[') && ++open > p->depth)
            break;
    }
    char what[64];
    snprintf(what, sizeof(what), "nested deeper than %u levels", p->depth);
    return problem_at(p, at, what);
}

static err_t duplicate(const struct parse *p, yyjson_val *key) {
    SCOPED(buf_done) struct buf what = { 0 };
    buf_str(&what, S("duplicate key \""));
    json_escape(&what, str_head(text_of(key), 100));
    buf_char(&what, '"');
    return problem_at(p, (size_t)(key->uni.str - p->copy) - 1, buf_text(&what));
}

static bool same_key(yyjson_val *a, yyjson_val *b) {
    return str_eq(text_of(a), text_of(b)); /* tags differ where one was spelled with escapes */
}

static err_t check_few_keys(const struct parse *p, yyjson_val *object) {
    yyjson_val *keys[FEW_MEMBERS];
    size_t n = 0;
    for (struct json_iter it = json_iter(json_of(object)); json_next(&it); n++) {
        keys[n] = val(it.value) - 1;
        for (size_t i = 0; i < n; i++)
            if (same_key(keys[i], keys[n]))
                return duplicate(p, keys[n]);
    }
    return OK;
}

static err_t check_keys(const struct parse *p, yyjson_val *object) {
    if (unsafe_yyjson_get_len(object) <= FEW_MEMBERS)
        return check_few_keys(p, object);
    SCOPED(map_done) struct map seen = { 0 };
    for (struct json_iter it = json_iter(json_of(object)); json_next(&it);)
        if (map_put(&seen, it.key, object))
            return duplicate(p, val(it.value) - 1);
    return OK;
}

static err_t check_values(const struct parse *p, yyjson_val *root) {
    size_t open = 0;
    for (yyjson_val *v = root; v < p->end; v++) {
        while (open && v >= p->ends[open - 1])
            open--;
        if (!unsafe_yyjson_is_ctn(v))
            continue;
        if (open == p->depth)
            return too_deep(p);
        p->ends[open++] = unsafe_yyjson_get_next(v);
        if (unsafe_yyjson_get_type(v) == YYJSON_TYPE_OBJ)
            TRY(check_keys(p, v));
    }
    return OK;
}

static char *padded_copy(struct arena *a, struct str text) {
    char *copy = arena_alloc(a, text.n + YYJSON_PADDING_SIZE);
    memcpy(copy, text.p, text.n);
    memset(copy + text.n, 0, YYJSON_PADDING_SIZE);
    return copy;
}

static void doc_scope(yyjson_doc **doc) {
    yyjson_doc_free(*doc);
}

err_t json_parse(struct arena *a, struct str text, struct json_limits limits, json *out) {
    struct parse p = { .text = text, .depth = limits.depth ? limits.depth : DEFAULT_DEPTH };
    if (text.n > (limits.bytes ? limits.bytes : DEFAULT_BYTES))
        return ERR(TOO_LARGE, "JSON text of %zu bytes is larger than allowed", text.n);
    if (text.n == 0)
        return problem_at(&p, 0, "empty text");

    static const yyjson_alc scratch = { scratch_alloc, scratch_grow, scratch_free, NULL };
    char *copy = padded_copy(a, text);
    yyjson_read_err e;
    SCOPED(doc_scope)
    yyjson_doc *doc = yyjson_read_opts(copy, text.n, YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW,
                                       &scratch, &e);
    if (!doc)
        return problem_at(&p, e.pos, e.msg);

    p.copy = copy;
    p.end = doc->root + doc->val_read;
    p.ends = arena_alloc(a, sizeof(yyjson_val *) * (p.depth < text.n ? p.depth : text.n));
    TRY(check_values(&p, doc->root));

    yyjson_val *values = arena_alloc(a, sizeof(yyjson_val) * doc->val_read);
    memcpy(values, doc->root, sizeof(yyjson_val) * doc->val_read);
    *out = json_of(values);
    return OK;
}

/* ---- looking ------------------------------------------------------------------- */

enum json_type json_type(json v) {
    static const enum json_type types[8] = {
        [YYJSON_TYPE_RAW] = JSON_NUMBER, [YYJSON_TYPE_NULL] = JSON_NULL,
        [YYJSON_TYPE_BOOL] = JSON_BOOL,  [YYJSON_TYPE_STR] = JSON_STRING,
        [YYJSON_TYPE_ARR] = JSON_ARRAY,  [YYJSON_TYPE_OBJ] = JSON_OBJECT,
    };
    return v ? types[unsafe_yyjson_get_type(val(v))] : JSON_ABSENT;
}

const char *json_type_name(enum json_type t) {
    static const char *const names[] = {
        [JSON_ABSENT] = "absent", [JSON_NULL] = "null",     [JSON_BOOL] = "boolean",
        [JSON_NUMBER] = "number", [JSON_STRING] = "string", [JSON_ARRAY] = "array",
        [JSON_OBJECT] = "object",
    };
    return names[t];
}

json json_get(json object, struct str key) {
    if (json_type(object) != JSON_OBJECT)
        return NULL;
    for (struct json_iter it = json_iter(object); json_next(&it);)
        if (str_eq(it.key, key))
            return it.value;
    return NULL;
}

json json_at(json array, size_t i) {
    return json_of(yyjson_arr_get(val(array), i));
}

size_t json_count(json v) {
    enum json_type t = json_type(v);
    return t == JSON_ARRAY || t == JSON_OBJECT ? unsafe_yyjson_get_len(val(v)) : 0;
}

bool json_is_string(json v, struct str *out) {
    if (json_type(v) != JSON_STRING)
        return false;
    *out = text_of(val(v));
    return true;
}

bool json_is_bool(json v, bool *out) {
    if (json_type(v) != JSON_BOOL)
        return false;
    *out = unsafe_yyjson_get_bool(val(v));
    return true;
}

struct str json_text(json v) {
    enum json_type t = json_type(v);
    return t == JSON_STRING || t == JSON_NUMBER ? text_of(val(v)) : S("");
}

struct json_iter json_iter(json v) {
    size_t n = json_count(v);
    return (struct json_iter){ .parent = v, .left = n, .at = n ? json_of(val(v) + 1) : NULL };
}

bool json_next(struct json_iter *it) {
    if (it->left == 0)
        return false;
    it->left--;
    yyjson_val *v = val(it->at);
    if (unsafe_yyjson_get_type(val(it->parent)) == YYJSON_TYPE_OBJ)
        it->key = text_of(v++);
    it->value = json_of(v);
    it->at = json_of(unsafe_yyjson_get_next(v));
    return true;
}

/* ---- numbers ------------------------------------------------------------------- */

/* A number by value, whatever its spelling: -0.120e3 is minus, "12", 10^1. */
struct decimal {
    bool negative, odd; /* odd: an exponent beyond all reason, equal only to its own spelling */
    struct str digits;  /* first to last digit that is not 0; may hold the point */
    size_t count;       /* of digits, without the point */
    int64_t power;
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static size_t decimal_mantissa(struct decimal *d, struct str s, size_t i) {
    size_t first = 0, last = 0, zeros = 0;
    bool point = false;
    for (; i < s.n && (is_digit(s.p[i]) || s.p[i] == '.'); i++) {
        if (s.p[i] == '.') {
            point = true;
            continue;
        }
        d->power -= point;
        zeros++;
        if (s.p[i] == '0')
            continue;
        d->count = d->count ? d->count + zeros : 1;
        first = d->count == 1 ? i : first;
        last = i + 1;
        zeros = 0;
    }
    d->power += (int64_t)zeros;
    d->digits = str_from(s.p + first, last - first);
    return i;
}

static void decimal_exponent(struct decimal *d, struct str s) {
    bool minus = str_starts(s, S("-"));
    int64_t n = 0;
    for (size_t i = minus || str_starts(s, S("+")); i < s.n; i++) {
        n = n * 10 + (s.p[i] - '0');
        if (n > INT64_MAX / 100) {
            d->odd = true;
            return;
        }
    }
    d->power += minus ? -n : n;
}

static struct decimal decimal_of(struct str s) {
    struct decimal d = { .negative = str_starts(s, S("-")) };
    size_t i = decimal_mantissa(&d, s, d.negative);
    if (d.count == 0)
        return (struct decimal){ 0 };
    if (i < s.n)
        decimal_exponent(&d, str_skip(s, i + 1));
    return d;
}

static bool number_equal(struct str a, struct str b) {
    struct decimal x = decimal_of(a), y = decimal_of(b);
    if (x.odd || y.odd)
        return str_eq(a, b);
    if (x.negative != y.negative || x.count != y.count || x.power != y.power)
        return false;
    for (size_t i = 0, j = 0; i < x.digits.n; i++, j++) {
        i += x.digits.p[i] == '.';
        j += y.digits.p[j] == '.';
        if (x.digits.p[i] != y.digits.p[j])
            return false;
    }
    return true;
}

bool json_is_i64(json v, int64_t *out) {
    if (json_type(v) != JSON_NUMBER)
        return false;
    struct decimal d = decimal_of(text_of(val(v)));
    if (d.odd || d.power < 0 || d.power > 18 || d.count + (size_t)d.power > 19)
        return false;
    uint64_t n = 0; /* 19 digits fit */
    for (size_t i = 0; i < d.digits.n; i++)
        if (d.digits.p[i] != '.')
            n = n * 10 + (uint64_t)(d.digits.p[i] - '0');
    for (int64_t i = 0; i < d.power; i++)
        n *= 10;
    if (n > (uint64_t)INT64_MAX + d.negative)
        return false;
    *out = d.negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

/* The spelling stands in the copy of the text, which ends in zero bytes, and is followed
 * there by something that ends a number. */
bool json_is_double(json v, double *out) {
    yyjson_val number;
    if (json_type(v) != JSON_NUMBER || !yyjson_read_number(val(v)->uni.str, &number, 0, NULL, NULL))
        return false;
    *out = yyjson_get_num(&number);
    return true;
}

/* ---- comparing and writing ------------------------------------------------------- */

static bool values_equal_in_order(json a, json b) {
    struct json_iter x = json_iter(a), y = json_iter(b);
    while (json_next(&x) && json_next(&y))
        if (!json_equal(x.value, y.value))
            return false;
    return true;
}

static bool same_order(json a, json b) {
    struct json_iter x = json_iter(a), y = json_iter(b);
    while (json_next(&x) && json_next(&y))
        if (!str_eq(x.key, y.key))
            return false;
    return true;
}

/* The same order is the common case and needs no table. */
static bool object_equal(json a, json b) {
    if (same_order(a, b))
        return values_equal_in_order(a, b);
    SCOPED(map_done) struct map members = { 0 };
    for (struct json_iter it = json_iter(b); json_next(&it);)
        map_put(&members, it.key, val(it.value));
    for (struct json_iter it = json_iter(a); json_next(&it);) {
        json other = map_get(&members, it.key);
        if (!other || !json_equal(it.value, other))
            return false;
    }
    return true;
}

bool json_equal(json a, json b) {
    if (json_type(a) != json_type(b) || json_count(a) != json_count(b))
        return false;
    switch (json_type(a)) {
    case JSON_BOOL:
        return val(a)->tag == val(b)->tag;
    case JSON_NUMBER:
        return number_equal(text_of(val(a)), text_of(val(b)));
    case JSON_STRING:
        return str_eq(text_of(val(a)), text_of(val(b)));
    case JSON_ARRAY:
        return values_equal_in_order(a, b);
    case JSON_OBJECT:
        return object_equal(a, b);
    default:
        return true;
    }
}

static void write_members(struct buf *out, json v) {
    struct jw w = jw_init(out);
    bool object = json_type(v) == JSON_OBJECT;
    buf_char(out, object ? '{' : '[');
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (object)
            jw_key(&w, it.key);
        jw_value(&w, it.value);
    }
    buf_char(out, object ? '}' : ']');
}

void json_write(struct buf *out, json v) {
    struct jw w = jw_init(out);
    switch (json_type(v)) {
    case JSON_BOOL:
        jw_bool(&w, unsafe_yyjson_get_bool(val(v)));
        return;
    case JSON_NUMBER:
        buf_str(out, text_of(val(v)));
        return;
    case JSON_STRING:
        jw_string(&w, text_of(val(v)));
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        write_members(out, v);
        return;
    default:
        jw_null(&w);
    }
}
