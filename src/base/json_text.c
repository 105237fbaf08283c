/* json_text.c - the writer and the cursor of json.h: JSON as text, without documents.
 *
 * The cursor trusts that its text was validated, but is safe on any bytes: it stops at
 * what it cannot read. */
#include "base/json.h"
#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* ---- writer -------------------------------------------------------------------- */

/* Length of the UTF-8 sequence at p, 0 when there is none (RFC 3629 §4: no overlong forms,
 * no surrogates, nothing above U+10FFFF). */
static size_t utf8_length(const unsigned char *p, size_t left) {
    static const struct {
        unsigned char first, last, low, high; /* of the lead byte, then of the second one */
        size_t n;
    } forms[] = {
        { 0x00, 0x7f, 0x00, 0xff, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (p[0] < forms[i].first || p[0] > forms[i].last)
            continue;
        size_t n = forms[i].n;
        if (n > left || (n > 1 && (p[1] < forms[i].low || p[1] > forms[i].high)))
            return 0;
        for (size_t k = 2; k < n; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return n;
    }
    return 0;
}

bool json_is_utf8(struct str s) {
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        size_t n = p[i] < 0x80 ? 1 : utf8_length(p + i, s.n - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static void put_escaped(struct buf *out, unsigned char c) {
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
    };
    char letter = c < 0x20 ? letters[c] : (char)c;
    if (c >= 0x80)
        buf_str(out, S(REPLACEMENT));
    else if (letter)
        buf_put(out, (char[]){ '\\', letter }, 2);
    else
        buf_fmt(out, "\\u%04x", c);
}

#define BLOCK sizeof(uint64_t)
#define EACH_BYTE(c) ((c) * UINT64_C(0x0101010101010101))

/* Less than a block, zeros behind it: two reads that overlap, none beyond the end. */
static uint64_t load_tail(const unsigned char *p, size_t n) {
    uint32_t low, high;
    if (n >= sizeof low) {
        memcpy(&low, p, sizeof low);
        memcpy(&high, p + n - sizeof high, sizeof high);
        return le32toh(low) | (uint64_t)le32toh(high) << (8 * (n - sizeof high));
    }
    return p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)p[n - 1] << (8 * (n - 1));
}

static uint64_t load_block(const unsigned char *p, size_t n) {
    uint64_t block;
    if (n < BLOCK)
        return load_tail(p, n);
    memcpy(&block, p, BLOCK);
    return le64toh(block);
}

/* Bytes before the first that needs an escape or a check: control characters, quotes,
 * backslashes, all that is not ASCII. A subtraction borrows into the top bit of the first such
 * byte (Mycroft's test for a zero byte); what it says of later ones is not used. */
static size_t plain_in_block(uint64_t x) {
    uint64_t quote = x ^ EACH_BYTE('"'), backslash = x ^ EACH_BYTE('\\');
    uint64_t borrow = (x - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) | (backslash - EACH_BYTE(1));
    uint64_t odd = (borrow | x) & EACH_BYTE(0x80);
    return odd ? (size_t)__builtin_ctzll(odd) / 8 : BLOCK;
}

/* One byte escaped, or a run of UTF-8 that is not ASCII; returns how many bytes of p it was. */
static size_t put_odd(struct buf *out, const unsigned char *p, size_t left) {
    size_t n = 0, one;
    while (n < left && p[n] >= 0x80 && (one = utf8_length(p + n, left - n)) > 0)
        n += one;
    if (n == 0) {
        put_escaped(out, *p);
        return 1;
    }
    buf_put(out, p, n);
    return n;
}

/* As far as the next byte that is neither plain nor a quote or backslash. Whole blocks are
 * written and only their plain part is counted, so a round needs room for a block, an escaped
 * quote and the spare byte. Returns how far it came. */
static size_t put_plain(struct buf *out, const unsigned char *p, size_t left) {
    buf_reserve(out, 2 * left + 2 * BLOCK);
    char *to = out->p + out->n;
    size_t i = 0;
    while (i < left) {
        uint64_t block = load_block(p + i, left - i);
        size_t n = plain_in_block(block);
        block = htole64(block);
        memcpy(to, &block, BLOCK);
        to += n;
        i += n;
        if (n == BLOCK || i == left)
            continue;
        if (p[i] != '"' && p[i] != '\\')
            break;
        *to++ = '\\';
        *to++ = (char)p[i++];
    }
    out->n = (size_t)(to - out->p);
    return i;
}

void json_escape(struct buf *out, struct str s) {
    enum { PIECE = 4096 }; /* bounds the room asked for at once */
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        size_t piece = s.n - i < PIECE ? s.n - i : PIECE;
        size_t n = put_plain(out, p + i, piece);
        i += n;
        if (n < piece)
            i += put_odd(out, p + i, s.n - i);
    }
}

static void put_comma(struct jw *w) {
    if (w->comma)
        buf_char(w->out, ',');
    w->comma = true;
}

static void open_with(struct jw *w, char c) {
    put_comma(w);
    buf_char(w->out, c);
    w->comma = false;
}

static void close_with(struct jw *w, char c) {
    buf_char(w->out, c);
    w->comma = true;
}

void jw_object(struct jw *w) {
    open_with(w, '{');
}

void jw_object_end(struct jw *w) {
    close_with(w, '}');
}

void jw_array(struct jw *w) {
    open_with(w, '[');
}

void jw_array_end(struct jw *w) {
    close_with(w, ']');
}

void jw_key(struct jw *w, struct str key) {
    jw_string(w, key);
    buf_char(w->out, ':');
    w->comma = false;
}

void jw_string(struct jw *w, struct str s) {
    put_comma(w);
    buf_char(w->out, '"');
    json_escape(w->out, s);
    buf_char(w->out, '"');
}

void jw_int(struct jw *w, int64_t n) {
    put_comma(w);
    if (n < 0)
        buf_char(w->out, '-');
    buf_u64(w->out, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

void jw_double(struct jw *w, double d) {
    if (!isfinite(d)) {
        jw_null(w);
        return;
    }
    char text[40];
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    jw_raw(w, str_from(text, (size_t)n));
}

void jw_bool(struct jw *w, bool b) {
    jw_raw(w, b ? S("true") : S("false"));
}

void jw_null(struct jw *w) {
    jw_raw(w, S("null"));
}

void jw_raw(struct jw *w, struct str valid_json) {
    put_comma(w);
    buf_str(w->out, valid_json);
}

void jw_value(struct jw *w, json v) {
    put_comma(w);
    json_write(w->out, v);
}

void jw_put_string(struct jw *w, const char *key, struct str s) {
    jw_key(w, str_of(key));
    jw_string(w, s);
}

void jw_put_int(struct jw *w, const char *key, int64_t n) {
    jw_key(w, str_of(key));
    jw_int(w, n);
}

void jw_put_double(struct jw *w, const char *key, double d) {
    jw_key(w, str_of(key));
    jw_double(w, d);
}

void jw_put_bool(struct jw *w, const char *key, bool b) {
    jw_key(w, str_of(key));
    jw_bool(w, b);
}

void jw_put_raw(struct jw *w, const char *key, struct str valid_json) {
    jw_key(w, str_of(key));
    jw_raw(w, valid_json);
}

void jw_put_value(struct jw *w, const char *key, json v) {
    jw_key(w, str_of(key));
    jw_value(w, v);
}

/* ---- cursor -------------------------------------------------------------------- */

static size_t skip_space(struct str s, size_t at) {
    while (at < s.n && (s.p[at] == ' ' || s.p[at] == '\n' || s.p[at] == '\r' || s.p[at] == '\t'))
        at++;
    return at;
}

static bool is_at(struct str s, size_t at, char c) {
    return at < s.n && s.p[at] == c;
}

/* From the opening quote to behind the closing one; 0 when it never closes. A quote closes
 * when an even number of backslashes stands before it. */
static size_t skip_string(struct str s, size_t at) {
    for (size_t from = at + 1; from < s.n;) {
        const char *quote = memchr(s.p + from, '"', s.n - from);
        if (!quote)
            return 0;
        size_t slashes = 0, q = (size_t)(quote - s.p);
        while (q - slashes > from && s.p[q - slashes - 1] == '\\')
            slashes++;
        from = q + 1;
        if (slashes % 2 == 0)
            return from;
    }
    return 0;
}

static size_t skip_container(struct str s, size_t at) {
    for (size_t open = 0; at < s.n;) {
        char c = s.p[at];
        if (c == '"') {
            at = skip_string(s, at);
            if (at == 0)
                return 0;
            continue;
        }
        at++;
        if (c == '{' || c == '[')
            open++;
        else if ((c == '}' || c == ']') && --open == 0)
            return at;
    }
    return 0;
}

static size_t skip_word(struct str s, size_t at) {
    size_t from = at;
    while (at < s.n && !memchr(",]} \t\r\n", s.p[at], 7))
        at++;
    return at > from ? at : 0;
}

/* Offset behind the value at `at`; 0 when it is broken. */
static size_t skip_value(struct str s, size_t at) {
    if (is_at(s, at, '"'))
        return skip_string(s, at);
    if (is_at(s, at, '{') || is_at(s, at, '['))
        return skip_container(s, at);
    return skip_word(s, at);
}

static struct json_members members_of(struct str text, char open) {
    size_t at = skip_space(text, 0);
    return (struct json_members){
        .text = text, .at = is_at(text, at, open) ? at + 1 : text.n, .first = true
    };
}

struct json_members json_members(struct str object_text) {
    return members_of(object_text, '{');
}

struct json_members json_elements(struct str array_text) {
    return members_of(array_text, '[');
}

/* Start of the next member or element; text.n when there is none. */
static size_t next_item(const struct json_members *m) {
    size_t at = skip_space(m->text, m->at);
    if (m->first)
        return at;
    return is_at(m->text, at, ',') ? skip_space(m->text, at + 1) : m->text.n;
}

static bool take_value(struct json_members *m, size_t start, size_t at) {
    size_t end = skip_value(m->text, at);
    if (end == 0)
        return false;
    size_t next = skip_space(m->text, end);
    m->value = str_from(m->text.p + at, end - at);
    m->from = m->first ? start : skip_space(m->text, m->at);
    m->to = m->first && is_at(m->text, next, ',') ? skip_space(m->text, next + 1) : end;
    m->first = false;
    m->at = end;
    return true;
}

bool json_member(struct json_members *m) {
    size_t start = next_item(m);
    size_t end = is_at(m->text, start, '"') ? skip_string(m->text, start) : 0;
    size_t colon = skip_space(m->text, end);
    if (end == 0 || !is_at(m->text, colon, ':'))
        return false;
    m->key = str_from(m->text.p + start + 1, end - start - 2);
    return take_value(m, start, skip_space(m->text, colon + 1));
}

bool json_element(struct json_members *m) {
    size_t start = next_item(m);
    return take_value(m, start, start);
}

/* ---- escapes ------------------------------------------------------------------- */

static int hex_value(char c) {
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The code unit of "\uXXXX" at `at`, or -1. */
static int32_t code_unit(struct str s, size_t at) {
    if (at + 6 > s.n || s.p[at] != '\\' || s.p[at + 1] != 'u')
        return -1;
    int32_t unit = 0;
    for (size_t i = at + 2; i < at + 6; i++) {
        int digit = hex_value(s.p[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static size_t put_utf8(char out[4], uint32_t c) {
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

struct piece {
    char bytes[4];
    size_t n, consumed;
};

static struct piece unescape_unicode(struct str s, size_t at) {
    struct piece piece = { .consumed = 6 };
    int32_t unit = code_unit(s, at);
    uint32_t c = unit < 0 ? 0xfffd : (uint32_t)unit;
    if (unit < 0)
        piece.consumed = 2;
    if (unit >= 0xd800 && unit < 0xe000) {
        int32_t low = unit < 0xdc00 ? code_unit(s, at + 6) : -1;
        bool pair = low >= 0xdc00 && low < 0xe000;
        c = pair ? 0x10000 + (((uint32_t)unit - 0xd800) << 10) + ((uint32_t)low - 0xdc00) : 0xfffd;
        piece.consumed = pair ? 12 : 6;
    }
    piece.n = put_utf8(piece.bytes, c);
    return piece;
}

/* One byte, or one escape, of the inside of a string. */
static struct piece unescape(struct str s, size_t at) {
    struct piece piece = { .bytes = { s.p[at] }, .n = 1, .consumed = 1 };
    if (s.p[at] != '\\' || at + 1 >= s.n)
        return piece;
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    char c = s.p[at + 1];
    if (c == 'u')
        return unescape_unicode(s, at);
    const char *known = c ? strchr(from, c) : NULL;
    piece.bytes[0] = known ? to[known - from] : c;
    piece.consumed = 2;
    return piece;
}

struct str json_unescape(struct arena *a, struct str inside) {
    if (inside.n == 0 || !memchr(inside.p, '\\', inside.n))
        return inside;
    char *out = arena_alloc(a, inside.n * 3 / 2); /* a broken \u may grow from 2 to 3 bytes */
    size_t n = 0;
    for (size_t at = 0; at < inside.n;) {
        struct piece piece = unescape(inside, at);
        memcpy(out + n, piece.bytes, piece.n);
        n += piece.n;
        at += piece.consumed;
    }
    return str_from(out, n);
}

struct str json_unquote(struct arena *a, struct str raw_string) {
    if (raw_string.n < 2 || raw_string.p[0] != '"')
        return S("");
    return json_unescape(a, str_from(raw_string.p + 1, raw_string.n - 2));
}

static bool raw_key_is(struct str raw, struct str key) {
    if (raw.n == 0 || !memchr(raw.p, '\\', raw.n))
        return str_eq(raw, key);
    for (size_t at = 0; at < raw.n;) {
        struct piece piece = unescape(raw, at);
        struct str bytes = str_from(piece.bytes, piece.n);
        if (!str_starts(key, bytes))
            return false;
        key = str_skip(key, piece.n);
        at += piece.consumed;
    }
    return str_empty(key);
}

struct str json_raw_get(struct str object_text, struct str key) {
    for (struct json_members m = json_members(object_text); json_member(&m);)
        if (raw_key_is(m.key, key))
            return m.value;
    return (struct str){ 0 };
}
