/* pattern.c - see pattern.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "servers/filesystem/pattern.h"
#include "base/mem.h"
#include "servers/filesystem/path.h"
#include <pcre2.h>

enum { STEPS = 100000, DEPTH = 1000, HEAP_KIB = 16 * 1024, BRACES = 8 };

struct pattern {
    const char *what;
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    bool whole_path; /* a glob with "/" */
};

/* ---- globs ------------------------------------------------------------------------- */

static void put_literal(struct buf *out, char c) {
    if (strchr("\\^$.|?*+()[]{}#-", c) && c)
        buf_char(out, '\\');
    buf_char(out, c);
}

/* [a-z], [!a-z], []a]; never "/". */
static err_t put_class(struct str glob, size_t *at, struct buf *out) {
    size_t i = *at + 1, first;
    buf_str(out, S("(?!/)["));
    if (i < glob.n && (glob.p[i] == '!' || glob.p[i] == '^')) {
        buf_char(out, '^');
        i++;
    }
    for (first = i; i < glob.n && (glob.p[i] != ']' || i == first); i++) {
        if (strchr("\\^[]&~|", glob.p[i]))
            buf_char(out, '\\');
        buf_char(out, glob.p[i]);
    }
    if (i >= glob.n)
        return ERR(INVALID, "a [ is not closed");
    buf_char(out, ']');
    *at = i;
    return OK;
}

static void put_stars(struct str glob, size_t *at, struct buf *out) {
    size_t n = 1;
    while (*at + n < glob.n && glob.p[*at + n] == '*')
        n++;
    bool slash = *at + n < glob.n && glob.p[*at + n] == '/';
    bool begins = *at == 0 || glob.p[*at - 1] == '/';
    *at += n - 1;
    if (n == 1) {
        buf_str(out, S("[^/]*"));
    } else if (slash && begins) {
        buf_str(out, S("(?:.*/)?"));
        ++*at;
    } else {
        buf_str(out, S(".*"));
    }
}

err_t glob_to_regex(struct str glob, struct buf *out) {
    int braces = 0;
    buf_str(out, S("\\A(?:"));
    for (size_t i = 0; i < glob.n; i++) {
        char c = glob.p[i];
        if (c == '*')
            put_stars(glob, &i, out);
        else if (c == '?')
            buf_str(out, S("[^/]"));
        else if (c == '[')
            TRY(put_class(glob, &i, out));
        else if (c == '{' && ++braces > BRACES)
            return ERR(INVALID, "has more than %d braces inside each other", BRACES);
        else if (c == '{')
            buf_str(out, S("(?:"));
        else if (c == '}' && braces && braces--)
            buf_char(out, ')');
        else if (c == ',' && braces)
            buf_char(out, '|');
        else if (c == '\\' && i + 1 < glob.n)
            put_literal(out, glob.p[++i]);
        else
            put_literal(out, c);
    }
    buf_str(out, S(")\\z"));
    return braces ? ERR(INVALID, "a { is not closed") : OK;
}

/* ---- compiling --------------------------------------------------------------------- */

static uint32_t flags_of(enum pattern_kind kind, bool nocase) {
    static const uint32_t flags[] = {
        [PATTERN_TEXT] = PCRE2_LITERAL, [PATTERN_REGEX] = PCRE2_NEVER_BACKSLASH_C,
        [PATTERN_GLOB] = PCRE2_NEVER_BACKSLASH_C | PCRE2_DOTALL,
    };
    return flags[kind] | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_USE_OFFSET_LIMIT |
           (nocase ? PCRE2_CASELESS : 0);
}

static err_t compile(struct pattern *p, struct str text, uint32_t flags) {
    int why;
    PCRE2_SIZE at;
    PCRE2_UCHAR message[120];
    p->code = pcre2_compile((PCRE2_SPTR)text.p, text.n, flags, &why, &at, NULL);
    if (p->code)
        return OK;
    pcre2_get_error_message(why, message, sizeof message);
    return ERR(INVALID, "%s: is no valid pattern at character %zu: %s", p->what, (size_t)at,
               (char *)message);
}

static err_t prepare(struct pattern *p, enum pattern_kind kind, struct str text, bool nocase) {
    SCOPED(buf_done) struct buf regex = { 0 };
    if (!text.n || text.n > PATTERN_BYTES)
        return ERR(INVALID, "%s: has %zu bytes, 1 to %d are allowed", p->what, text.n,
                   PATTERN_BYTES);
    if (kind == PATTERN_GLOB) {
        TRY_WRAP(glob_to_regex(text, &regex), "%s", p->what);
        text = buf_view(&regex);
    }
    TRY(compile(p, text, flags_of(kind, nocase)));
    p->data = pcre2_match_data_create(1, NULL);
    p->context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(p->context, STEPS);
    pcre2_set_depth_limit(p->context, DEPTH);
    pcre2_set_heap_limit(p->context, HEAP_KIB);
    return OK;
}

err_t pattern_new(const char *what, enum pattern_kind kind, struct str text, bool nocase,
                  struct pattern **out) {
    SCOPED(pattern_scope) struct pattern *p = NEW(struct pattern);
    p->what = what;
    p->whole_path = text.n && memchr(text.p, '/', text.n);
    TRY(prepare(p, kind, text, nocase));
    *out = TAKE(p);
    return OK;
}

void pattern_free(struct pattern *p) {
    if (!p)
        return;
    pcre2_code_free(p->code);
    pcre2_match_data_free(p->data);
    pcre2_match_context_free(p->context);
    free(p);
}

/* ---- matching ---------------------------------------------------------------------- */

err_t pattern_find(struct pattern *p, struct str subject, size_t from, size_t last, bool *found,
                   size_t *start, size_t *end) {
    pcre2_set_offset_limit(p->context, last);
    int n = pcre2_match(p->code, (PCRE2_SPTR)(subject.p ? subject.p : ""), subject.n, from, 0,
                        p->data, p->context);
    *found = n >= 0;
    if (n < 0 && n != PCRE2_ERROR_NOMATCH)
        return ERR(INVALID, "%s: takes too many steps on this text; make it simpler", p->what);
    if (n >= 0) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(p->data);
        *start = at[0];
        *end = at[1] > at[0] ? at[1] : at[0]; /* \K can turn them around */
    }
    return OK;
}

bool pattern_matches_path(struct pattern *p, struct str path) {
    bool found;
    size_t start, end;
    struct str subject = p->whole_path ? path : path_leaf(path);
    return !pattern_find(p, subject, 0, 0, &found, &start, &end) && found;
}
