/* json_fuzz.c - any bytes: json_parse must not break, and what it accepts must look the same
 * through the cursor over the text, and through writing and parsing again. */
#include "base/json.h"
#include "base/mem.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str trimmed(struct str s) {
    while (s.n && memchr(" \t\r\n", s.p[0], 4))
        s = str_skip(s, 1);
    while (s.n && memchr(" \t\r\n", s.p[s.n - 1], 4))
        s.n--;
    return s;
}

static struct str quoted(struct arena *a, struct str key) {
    return arena_fmt(a, "\"%.*s\"", STR(key));
}

static void check(struct arena *a, json v, struct str raw);

static void check_object(struct arena *a, json v, struct str raw) {
    struct json_members m = json_members(raw);
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        assert(json_member(&m));
        assert(str_eq(json_unquote(a, quoted(a, m.key)), it.key));
        assert(m.from < m.to && m.to <= raw.n);
        if (json_count(v) <= 32)
            assert(json_raw_get(raw, it.key).p == m.value.p);
        check(a, it.value, m.value);
    }
    assert(!json_member(&m));
}

static void check_array(struct arena *a, json v, struct str raw) {
    struct json_members m = json_elements(raw);
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        assert(json_element(&m));
        check(a, it.value, m.value);
    }
    assert(!json_element(&m));
}

static void check(struct arena *a, json v, struct str raw) {
    struct str s;
    int64_t i;
    double d;
    if (json_type(v) == JSON_OBJECT)
        check_object(a, v, raw);
    else if (json_type(v) == JSON_ARRAY)
        check_array(a, v, raw);
    else if (json_is_string(v, &s))
        assert(str_eq(s, json_unquote(a, raw)));
    else if (json_type(v) == JSON_NUMBER)
        assert(str_eq(json_text(v), raw));
    if (json_is_i64(v, &i) && json_is_double(v, &d))
        assert((double)i == d);
}

static void check_writing(struct arena *a, json v) {
    SCOPED(buf_done) struct buf out = { 0 };
    json again = NULL;
    json_write(&out, v);
    err_t e = json_parse(a, buf_view(&out), (struct json_limits){ 0 }, &again);
    assert(!e && json_equal(v, again) && json_equal(again, v));
}

/* The cursor's promise for text that nobody validated: it ends, inside the text. */
static void walk(struct arena *a, struct str text, int depth) {
    if (depth == 0)
        return;
    for (struct json_members m = json_members(text); json_member(&m);) {
        json_unquote(a, m.value);
        walk(a, m.value, depth - 1);
    }
    for (struct json_members m = json_elements(text); json_element(&m);)
        walk(a, m.value, depth - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct str text = str_from((const char *)data, size);
    json v = NULL;
    walk(&a, text, 4);
    if (!json_parse(&a, text, (struct json_limits){ 0 }, &v)) {
        check(&a, v, trimmed(text));
        check_writing(&a, v);
    }
    return 0;
}
