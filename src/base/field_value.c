/* field_value.c - see field_value.h. */
#include "base/field_value.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* What of JSON a type reads besides what lenient reading allows. */
enum { BOOLS = 1, NUMBERS = 2, STRINGS = 4 };

static const struct kind {
    size_t size;
    unsigned reads; /* 0: no scalar */
} kinds[] = {
    [FIELD_BOOL] = { sizeof(bool), BOOLS },
    [FIELD_INT] = { sizeof(int64_t), NUMBERS },
    [FIELD_DOUBLE] = { sizeof(double), NUMBERS },
    [FIELD_STR] = { sizeof(struct str), STRINGS },
    [FIELD_SECRET] = { sizeof(struct str), STRINGS },
    [FIELD_DURATION] = { sizeof(nanos), STRINGS | NUMBERS },
    [FIELD_BYTES] = { sizeof(int64_t), STRINGS | NUMBERS },
    [FIELD_RATE] = { sizeof(struct rate), STRINGS },
    [FIELD_WORD] = { sizeof(int), STRINGS },
    [FIELD_STRS] = { sizeof(struct str_list), 0 },
    [FIELD_PAIRS] = { sizeof(struct pair_list), 0 },
    [FIELD_OBJECT] = { 0, 0 },
    [FIELD_MAP] = { sizeof(struct item_list), 0 },
    [FIELD_LIST] = { sizeof(struct item_list), 0 },
    [FIELD_JSON] = { sizeof(json), 0 },
    [FIELD_TIME] = { sizeof(struct str), STRINGS },
};

size_t field_size(const struct field *row) {
    return row->type == FIELD_OBJECT ? row->size : kinds[row->type].size;
}

bool field_is_scalar(const struct field *row) {
    return kinds[row->type].reads != 0;
}

bool field_is_text(const struct field *row) {
    return row->type == FIELD_STR || row->type == FIELD_SECRET || row->type == FIELD_TIME;
}

bool field_same_member(const struct field *a, const struct field *b) {
    return a->offset == b->offset && a->type == b->type;
}

bool field_is_alias(const struct field *rows, size_t i) {
    if (!(rows[i].flags & FIELD_HIDDEN))
        return false;
    for (size_t k = 0; k < i; k++)
        if (field_same_member(&rows[k], &rows[i]))
            return true;
    return false;
}

/* ---- from text ------------------------------------------------------------------ */

static bool parse_bool(struct str s, bool *out) {
    static const char *const words[] = { "true", "yes", "on", "1", "false", "no", "off", "0" };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_eq_nocase(s, str_of(words[i]))) {
            *out = i < ARRAY_SIZE(words) / 2;
            return true;
        }
    return false;
}

static bool parse_double(struct str s, double *out) {
    char text[64], *end;
    if (s.n == 0 || s.n >= sizeof(text) || s.p[0] == '+')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!memchr("0123456789+-.eE", s.p[i], 15))
            return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    double d = strtod(text, &end);
    if (*end || !isfinite(d))
        return false;
    *out = d;
    return true;
}

static bool seconds(double d, nanos *out) {
    if (!(d >= 0 && d < 9e9)) /* 285 years; INT64_MAX ns is 292 */
        return false;
    *out = (nanos)llround(d * (double)NANOS_SEC);
    return true;
}

static bool parse_duration(struct str s, nanos *out) {
    double d;
    return clock_parse_duration(s, out) || (parse_double(s, &d) && seconds(d, out));
}

static const struct byte_unit {
    const char *name;
    int64_t size;
} byte_units[] = {
    { "TiB", (int64_t)1 << 40 },
    { "GiB", 1 << 30 },
    { "MiB", 1 << 20 },
    { "KiB", 1 << 10 },
    { "TB", 1000000000000 },
    { "GB", 1000000000 },
    { "MB", 1000000 },
    { "kB", 1000 },
    { "KB", 1000 },
    { "B", 1 },
    { "", 1 },
};

static bool parse_bytes(struct str s, int64_t *out) {
    size_t digits = 0;
    int64_t n;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (!str_to_i64(str_head(s, digits), &n))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(byte_units); i++)
        if (str_eq(str_skip(s, digits), str_of(byte_units[i].name)))
            return !__builtin_mul_overflow(n, byte_units[i].size, out);
    return false;
}

static const struct rate_unit {
    char name;
    double seconds;
} rate_units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };

static bool parse_rate(struct str s, struct rate *out) {
    double count;
    if (str_eq(s, S("off"))) {
        out->per_second = 0;
        return true;
    }
    if (s.n < 3 || s.p[s.n - 2] != '/' || !parse_double(str_head(s, s.n - 2), &count) || count <= 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(rate_units); i++)
        if (s.p[s.n - 1] == rate_units[i].name) {
            out->per_second = count / rate_units[i].seconds;
            return true;
        }
    return false;
}

static bool parse_word(const struct field *row, struct str s, int *out) {
    for (int i = 0; row->words[i]; i++)
        if (str_eq(s, str_of(row->words[i]))) {
            *out = i;
            return true;
        }
    return false;
}

static int two_digits(const char *p) {
    return (p[0] - '0') * 10 + (p[1] - '0');
}

/* Each '0' of the pattern stands for a digit. */
static bool matches(struct str s, const char *pattern) {
    if (s.n != strlen(pattern))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        bool digit = s.p[i] >= '0' && s.p[i] <= '9';
        if (pattern[i] == '0' ? !digit : s.p[i] != pattern[i])
            return false;
    }
    return true;
}

/* "Z" or "+01:00", after a fraction of any length. */
static bool is_zone(struct str s) {
    if (s.n > 1 && s.p[0] == '.') {
        size_t digits = 1;
        while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
            digits++;
        if (digits == 1)
            return false;
        s = str_skip(s, digits);
    }
    if (str_eq_nocase(s, S("Z")))
        return true;
    return (matches(s, "+00:00") || matches(s, "-00:00")) && two_digits(s.p + 1) < 24 &&
           two_digits(s.p + 4) < 60;
}

/* RFC 3339 §5.6; whether the month has such a day is the reader's matter. */
static bool is_time(struct str s) {
    if (s.n < 20 || !matches(str_head(s, 10), "0000-00-00") || !strchr("Tt ", s.p[10]) ||
        !matches(str_from(s.p + 11, 8), "00:00:00"))
        return false;
    int month = two_digits(s.p + 5), day = two_digits(s.p + 8);
    return month >= 1 && month <= 12 && day >= 1 && day <= 31 && two_digits(s.p + 11) < 24 &&
           two_digits(s.p + 14) < 60 && two_digits(s.p + 17) <= 60 && is_zone(str_skip(s, 19));
}

bool field_parse(const struct field *row, struct str text, void *value, struct arena *a) {
    switch (row->type) {
    case FIELD_BOOL:
        return parse_bool(text, value);
    case FIELD_INT:
        return str_to_i64(text, value);
    case FIELD_DOUBLE:
        return parse_double(text, value);
    case FIELD_DURATION:
        return parse_duration(text, value);
    case FIELD_BYTES:
        return parse_bytes(text, value);
    case FIELD_RATE:
        return parse_rate(text, value);
    case FIELD_WORD:
        return parse_word(row, text, value);
    case FIELD_TIME:
        if (!is_time(text))
            return false;
        break;
    default:
        assert(field_is_text(row));
    }
    *(struct str *)value = arena_dup(a, text);
    return true;
}

/* ---- from JSON ------------------------------------------------------------------ */

static bool from_number(const struct field *row, json v, void *value) {
    double d;
    switch (row->type) {
    case FIELD_INT:
    case FIELD_BYTES:
        return json_is_i64(v, value) && (row->type == FIELD_INT || *(int64_t *)value >= 0);
    case FIELD_DOUBLE:
        return json_is_double(v, value);
    default:
        assert(row->type == FIELD_DURATION);
        return json_is_double(v, &d) && seconds(d, value);
    }
}

bool field_from_json(const struct field *row, json v, bool lenient, void *value, struct arena *a) {
    unsigned reads = kinds[row->type].reads;
    bool flag;
    if (json_is_bool(v, &flag) && (reads & BOOLS)) {
        *(bool *)value = flag;
        return true;
    }
    switch (json_type(v)) {
    case JSON_STRING:
        return (lenient || (reads & STRINGS)) && field_parse(row, json_text(v), value, a);
    case JSON_NUMBER:
        if (reads & NUMBERS)
            return from_number(row, v, value);
        return lenient && field_is_text(row) && field_parse(row, json_text(v), value, a);
    case JSON_BOOL:
        return lenient && field_is_text(row) &&
               field_parse(row, flag ? S("true") : S("false"), value, a);
    default:
        return false;
    }
}

/* ---- to text -------------------------------------------------------------------- */

static struct str spell_bytes(int64_t n, struct arena *a) {
    const struct byte_unit *u = byte_units;
    while (n == 0 ? u->size != 1 : n % u->size != 0)
        u++;
    return arena_fmt(a, "%lld%s", (long long)(n / u->size), u->name);
}

/* The unit in which the count is whole, as it was when it was read. */
static struct str spell_rate(double per_second, struct arena *a) {
    if (per_second == 0)
        return S("off");
    for (size_t i = 0; i < ARRAY_SIZE(rate_units); i++) {
        double count = per_second * rate_units[i].seconds, whole = round(count);
        if (whole >= 1 && fabs(count - whole) < 1e-9 * count)
            return arena_fmt(a, "%.0f/%c", whole, rate_units[i].name);
    }
    return arena_fmt(a, "%.17g/s", per_second);
}

struct str field_spell(const struct field *row, const void *value, struct arena *a) {
    char text[CLOCK_TEXT];
    switch (row->type) {
    case FIELD_BOOL:
        return *(const bool *)value ? S("true") : S("false");
    case FIELD_INT:
        return arena_fmt(a, "%lld", (long long)*(const int64_t *)value);
    case FIELD_DOUBLE:
        return arena_fmt(a, "%.17g", *(const double *)value);
    case FIELD_DURATION:
        return arena_dup(a, clock_format_duration(*(const nanos *)value, text));
    case FIELD_BYTES:
        return spell_bytes(*(const int64_t *)value, a);
    case FIELD_RATE:
        return spell_rate(((const struct rate *)value)->per_second, a);
    case FIELD_WORD:
        return str_of(row->words[*(const int *)value]);
    default:
        assert(field_is_text(row));
        return *(const struct str *)value;
    }
}

/* ---- range ---------------------------------------------------------------------- */

struct measure {
    bool real;
    int64_t i;
    double d;
};

static int64_t characters(struct str s) {
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static struct measure measure(const struct field *row, const void *value) {
    switch (row->type) {
    case FIELD_INT:
    case FIELD_DURATION:
    case FIELD_BYTES:
        return (struct measure){ .i = *(const int64_t *)value };
    case FIELD_DOUBLE:
        return (struct measure){ .real = true, .d = *(const double *)value };
    case FIELD_RATE:
        return (struct measure){ .real = true, .d = ((const struct rate *)value)->per_second };
    case FIELD_STRS:
        return (struct measure){ .i = (int64_t)((const struct str_list *)value)->n };
    case FIELD_PAIRS:
        return (struct measure){ .i = (int64_t)((const struct pair_list *)value)->n };
    case FIELD_MAP:
    case FIELD_LIST:
        return (struct measure){ .i = (int64_t)((const struct item_list *)value)->n };
    default:
        assert(field_is_text(row));
        return (struct measure){ .i = characters(*(const struct str *)value) };
    }
}

static struct measure bound(const struct field *row, struct str text) {
    bool own = field_is_scalar(row) && !field_is_text(row);
    struct field bare = { .type = own ? row->type : FIELD_INT };
    union {
        int64_t i;
        double d;
        struct rate rate;
    } value;
    bool ok = field_parse(&bare, text, &value, NULL);
    assert(ok && "range of a field row");
    return measure(&bare, &value);
}

static bool above(struct measure a, struct measure b) {
    return a.real ? a.d > b.d : a.i > b.i;
}

void field_range(const struct field *row, struct str *low, struct str *high) {
    struct str range = str_of(row->range);
    ptrdiff_t dots = str_find(range, S(".."));
    assert(dots >= 0 && "range of a field row");
    *low = str_head(range, (size_t)dots);
    *high = str_skip(range, (size_t)dots + 2);
}

bool field_in_range(const struct field *row, const void *value) {
    if (!row->range)
        return true;
    struct str low, high;
    field_range(row, &low, &high);
    struct measure m = measure(row, value);
    if (row->type == FIELD_RATE && m.d == 0)
        return true; /* off */
    return (low.n == 0 || !above(bound(row, low), m)) &&
           (high.n == 0 || !above(m, bound(row, high)));
}
