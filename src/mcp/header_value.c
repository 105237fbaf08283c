/* header_value.c - see header_value.h. */
#include "mcp/header_value.h"
#include "base/crypto.h"

#define PREFIX "=?base64?"
#define SUFFIX "?="

static bool sentinel(struct str s) {
    return s.n >= sizeof PREFIX + sizeof SUFFIX - 2 && str_starts(s, S(PREFIX)) &&
           str_ends(s, S(SUFFIX));
}

static bool blank(char c) {
    return c == ' ' || c == '\t';
}

static bool must_encode(struct str s) {
    if (s.n && (blank(s.p[0]) || blank(s.p[s.n - 1])))
        return true;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || (unsigned char)s.p[i] > 126)
            return true;
    return str_starts(s, S(PREFIX)) && str_ends(s, S(SUFFIX));
}

size_t header_value_write(char *out, struct str text) {
    if (!must_encode(text)) {
        if (text.n)
            memcpy(out, text.p, text.n);
        return text.n;
    }
    struct buf b = { 0 };
    buf_str(&b, S(PREFIX));
    base64_put(&b, text.p, text.n);
    buf_str(&b, S(SUFFIX));
    size_t n = b.n;
    memcpy(out, b.p, n);
    buf_done(&b);
    return n;
}

bool header_value_read(struct arena *a, struct str value, struct str *out) {
    *out = value;
    if (!sentinel(value))
        return true;
    struct str inner = str_from(value.p + sizeof PREFIX - 1,
                                value.n - (sizeof PREFIX - 1) - (sizeof SUFFIX - 1));
    struct buf b = { 0 };
    bool ok = base64_get(inner, &b);
    if (ok)
        *out = arena_dup(a, buf_view(&b));
    buf_done(&b);
    return ok;
}
