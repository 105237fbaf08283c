/* names.c - see names.h. The hash is of SHA-256, so that a name is the same in every
 * process and release. */
#include "mcp/names.h"
#include "base/buf.h"
#include "base/crypto.h"
#include "base/mem.h"

enum { HASH_DIGITS = 8, KEPT = NAME_MAX_SHOWN - 1 - HASH_DIGITS };

static bool alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool foreign(char c) {
    return !alphanumeric(c) && c != '_' && c != '.' && c != '-';
}

static void make_safe(struct buf *name) {
    for (size_t i = 0; i < name->n; i++)
        if (foreign(name->p[i]))
            name->p[i] = '_';
}

struct str name_show(struct arena *a, struct str prefix, struct str name) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, prefix);
    buf_str(&b, prefix.n ? S("__") : S(""));
    buf_str(&b, name);
    uint8_t digest[SHA256_SIZE];
    bool fits = b.n <= NAME_MAX_SHOWN;
    for (size_t i = 0; fits && i < b.n; i++)
        fits = !foreign(b.p[i]);
    if (fits)
        return arena_dup(a, buf_view(&b));
    crypto_sha256(buf_view(&b), digest);
    b.n = b.n < KEPT ? b.n : KEPT;
    make_safe(&b);
    buf_char(&b, '_');
    hex_put(&b, digest, HASH_DIGITS / 2);
    return arena_dup(a, buf_view(&b));
}

bool name_valid_upstream(struct str name) {
    if (name.n == 0 || name.n > 32 || name.p[0] == '_' || name.p[name.n - 1] == '_')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (!alphanumeric(name.p[i]) && name.p[i] != '_' && name.p[i] != '-')
            return false;
        if (name.p[i] == '_' && name.p[i + 1] == '_')
            return false;
    }
    return true;
}
