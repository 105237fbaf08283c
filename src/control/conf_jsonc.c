/* conf_jsonc.c - JSON with comments and trailing commas, as VS Code reads its files.
 *
 * Spaces take the place of what JSON does not have, one for each character, so that lines and
 * columns stay; then json_parse judges, and a scan of what is now valid JSON notes where values
 * start. */
#include "base/mem.h"
#include "control/conf_text.h"
#include <stdio.h>

/* ---- cleaning ---------------------------------------------------------------------- */

static struct conf_pos position_of(struct str text, size_t offset) {
    struct conf_pos at = { 1, 1 };
    for (size_t i = 0; i < offset && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '\n')
            at = (struct conf_pos){ at.line + 1, 1 };
        else
            at.column += (c & 0xc0) != 0x80;
    }
    return at;
}

/* Offset behind the string that opens at `at`. */
static size_t skip_string(struct str s, size_t at) {
    for (at++; at < s.n && s.p[at] != '"' && s.p[at] != '\n'; at++)
        at += s.p[at] == '\\';
    return at + 1 < s.n ? at + 1 : s.n;
}

/* Offset behind the comment at `at`, or `at` when there is none; 0 when it never ends. */
static size_t skip_comment(struct str s, size_t at) {
    struct str rest = str_skip(s, at);
    if (str_starts(rest, S("//"))) {
        while (at < s.n && s.p[at] != '\n' && s.p[at] != '\r')
            at++;
    } else if (str_starts(rest, S("/*"))) {
        ptrdiff_t end = str_find(str_skip(rest, 2), S("*/"));
        return end < 0 ? 0 : at + (size_t)end + 4;
    }
    return at;
}

static void put_blank(struct buf *out, struct str comment) {
    for (size_t i = 0; i < comment.n; i++) {
        unsigned char c = (unsigned char)comment.p[i];
        if ((c & 0xc0) != 0x80)
            buf_char(out, c == '\n' || c == '\r' ? (char)c : ' ');
    }
}

/* A comma is a trailing one when it follows a value and only white space and comments stand
 * before the bracket: [1,] but not [,]. */
struct comma {
    char last, before; /* last byte of substance; the one before the last comma, 0: none */
    size_t at;         /* of `last` in the output */
};

static void note(struct comma *c, struct buf *out, char byte) {
    bool closes = byte == '}' || byte == ']';
    if (closes && c->last == ',' && c->before && !memchr(",[{:", c->before, 4))
        out->p[c->at] = ' ';
    if (byte == ',')
        c->before = c->last;
    c->last = byte;
    c->at = out->n;
}

static err_t clean(struct str text, struct conf_text *t) {
    struct comma comma = { 0 };
    for (size_t at = 0, end; at < text.n; at = end) {
        end = skip_comment(text, at);
        if (end == 0 && text.p[at] == '/')
            return conf_text_error(t, position_of(text, at), "this comment is never closed");
        if (end > at) {
            put_blank(&t->json, str_from(text.p + at, end - at));
            continue;
        }
        if (!memchr(" \t\r\n", text.p[at], 4))
            note(&comma, &t->json, text.p[at]);
        end = text.p[at] == '"' ? skip_string(text, at) : at + 1;
        buf_put(&t->json, text.p + at, end - at);
    }
    return OK;
}

/* json_parse speaks of lines in words. */
static err_t check(struct arena *a, struct conf_text *t) {
    json v = NULL;
    struct json_limits limits = { .bytes = CONF_TEXT_LIMIT, .depth = CONF_DEPTH };
    err_t e = json_parse(a, buf_view(&t->json), limits, &v);
    if (!e)
        return OK;
    struct err copy = *e;
    struct conf_pos at = { 0 };
    int what = 0;
    sscanf(copy.text, "line %u column %u: %n", &at.line, &at.column, &what);
    return conf_text_error(t, at, "%s", copy.text + what);
}

/* ---- places ------------------------------------------------------------------------ */

struct scan {
    struct str text;
    size_t at;
    struct conf_pos pos, key; /* key.line == 0: no key waits for its value */
    struct conf_text *out;
};

static void advance(struct scan *s, size_t to) {
    for (; s->at < to; s->at++) {
        unsigned char c = (unsigned char)s->text.p[s->at];
        if (c == '\n')
            s->pos = (struct conf_pos){ s->pos.line + 1, 1 };
        else
            s->pos.column += (c & 0xc0) != 0x80;
    }
}

static bool is_key(const struct scan *s, size_t behind) {
    while (behind < s->text.n && memchr(" \t\r\n", s->text.p[behind], 4))
        behind++;
    return behind < s->text.n && s->text.p[behind] == ':';
}

static void scan_token(struct scan *s) {
    char c = s->text.p[s->at];
    size_t end = s->at + 1;
    if (c == '"') {
        end = skip_string(s->text, s->at);
        if (is_key(s, end)) {
            s->key = s->pos;
            advance(s, end);
            return;
        }
    } else if (c != '{' && c != '[') {
        while (end < s->text.n && !memchr(",]} \t\r\n", s->text.p[end], 7))
            end++;
    }
    bool at_key = (c == '{' || c == '[') && s->key.line;
    conf_text_place(s->out, at_key ? s->key : s->pos);
    s->key = (struct conf_pos){ 0 };
    advance(s, end);
}

static void find_places(struct conf_text *t) {
    struct scan s = { .text = buf_view(&t->json), .pos = { 1, 1 }, .out = t };
    while (s.at < s.text.n) {
        if (memchr(" \t\r\n,:]}", s.text.p[s.at], 8))
            advance(&s, s.at + 1);
        else
            scan_token(&s);
    }
}

err_t conf_jsonc_read(struct arena *a, struct str text, struct conf_text *out) {
    TRY(clean(text, out));
    SCOPED(arena_scope) struct arena scratch;
    arena_init(&scratch, NULL, 0);
    TRY(check(&scratch, out));
    find_places(out);
    return OK;
}
