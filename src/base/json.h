/* json.h - JSON documents in an arena, a writer, and a cursor over raw text.
 *
 * Three tools for three needs:
 *  - json_parse builds a whole document (yyjson) where content must be looked into.
 *    Numbers keep their spelling, keys their order, so writing a value back gives the
 *    same bytes but for white space and escapes that were not needed (P-011, P-013).
 *  - jw_* writes JSON text straight into a buf, adding commas and escaping.
 *  - json_members walks the members of an object in text that was already validated
 *    (by mcp/envelope or json_parse) and yields raw slices, so that a result can be
 *    spliced without a document.
 *
 * Threads  values belong to their arena
 * Limits   depth and size are given to json_parse; duplicate keys and lone surrogates
 *          are refused there (P-012)
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

typedef const struct json_value *json; /* NULL stands for "absent" in every function */

enum json_type {
    JSON_ABSENT,
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_limits {
    size_t bytes; /* 0: 64 MiB */
    unsigned depth; /* 0: 64 */
};

/* INVALID with "line L column C: what" when it is not JSON or beyond a limit. */
err_t json_parse(struct arena *a, struct str text, struct json_limits limits, json *out);

enum json_type json_type(json v);
const char *json_type_name(enum json_type t); /* "object", … */

json json_get(json object, struct str key); /* NULL when absent or not an object */
json json_at(json array, size_t i);         /* O(1) for uniform arrays, else O(n) */
size_t json_count(json v);                  /* members or elements, else 0 */
bool json_is_string(json v, struct str *out);
bool json_is_bool(json v, bool *out);
bool json_is_i64(json v, int64_t *out);     /* exact integer: 3, 3.0 and 3e0 count */
bool json_is_double(json v, double *out);
struct str json_text(json v);               /* a string, or the spelling of a number; else "" */
static inline struct str json_get_text(json object, struct str key) {
    return json_text(json_get(object, key));
}

/* for (struct json_iter it = json_iter(v); json_next(&it);) it.key (objects), it.value */
struct json_iter {
    struct str key;
    json value;
    json parent, at;
    size_t left;
};
struct json_iter json_iter(json v);
bool json_next(struct json_iter *it);

/* Equal as values: member order is free, numbers compare by value. */
bool json_equal(json a, json b);
/* Appends the compact text of v. */
void json_write(struct buf *out, json v);

/* ---- writer -------------------------------------------------------------------- */

/* jw_init, then begin/end, key and values in document order; commas come by themselves. */
struct jw {
    struct buf *out;
    bool comma; /* the next value or key needs one */
};
static inline struct jw jw_init(struct buf *out) {
    return (struct jw){ .out = out };
}
void jw_object(struct jw *w);
void jw_object_end(struct jw *w);
void jw_array(struct jw *w);
void jw_array_end(struct jw *w);
void jw_key(struct jw *w, struct str key);
void jw_string(struct jw *w, struct str s); /* invalid UTF-8 becomes U+FFFD */
void jw_int(struct jw *w, int64_t n);
/* Shortest that reads back; NaN and infinities become null. */
void jw_double(struct jw *w, double d);
void jw_bool(struct jw *w, bool b);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, struct str valid_json);
void jw_value(struct jw *w, json v);
/* key and value in one call */
void jw_put_string(struct jw *w, const char *key, struct str s);
void jw_put_int(struct jw *w, const char *key, int64_t n);
void jw_put_double(struct jw *w, const char *key, double d);
void jw_put_bool(struct jw *w, const char *key, bool b);
void jw_put_raw(struct jw *w, const char *key, struct str valid_json);
void jw_put_value(struct jw *w, const char *key, json v);
/* Only the escaped inside of a string, no quotes. */
void json_escape(struct buf *out, struct str s);
bool json_is_utf8(struct str s); /* jw_string would keep it as it is */

/* ---- cursor over validated text ------------------------------------------------- */

/* for (struct json_members m = json_members(object_text); json_member(&m);) m.key, m.value
 * The key is the raw text between its quotes (escapes not resolved), the value the raw
 * slice without white space around it; `from` and `to` are the offsets in the text that
 * deleting the member with its comma would remove. Text that is no object yields nothing. */
struct json_members {
    struct str text, key, value;
    size_t from, to;
    size_t at;
    bool first;
};
struct json_members json_members(struct str object_text);
bool json_member(struct json_members *m);
/* The raw value of one member, p == NULL when absent. */
struct str json_raw_get(struct str object_text, struct str key);
/* The same over the elements of an array: m.value only. */
bool json_element(struct json_members *m);
struct json_members json_elements(struct str array_text);
/* Resolves the escapes of raw string text (with its quotes) into the arena; borrowed as is when
 * it has none. */
struct str json_unquote(struct arena *a, struct str raw_string);
/* The same of what stands between the quotes. */
struct str json_unescape(struct arena *a, struct str inside);
