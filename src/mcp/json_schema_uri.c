/* json_schema_uri.c - RFC 3986 §5.2: a reference against its base. Identifiers only: nothing
 * is decoded, compared otherwise than by bytes, or fetched. */
#include "mcp/json_schema_private.h"

struct parts {
    struct str scheme, authority, path, query; /* p NULL: absent */
};

struct str uri_without_fragment(struct str uri, struct str *fragment) {
    struct str rest = uri, head = str_cut(&rest, '#');
    *fragment = rest;
    return head;
}

static bool is_scheme(struct str s) {
    if (!s.n || !((s.p[0] | 32) >= 'a' && (s.p[0] | 32) <= 'z'))
        return false;
    for (size_t i = 1; i < s.n; i++) {
        char c = s.p[i], low = (char)(c | 32);
        if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && c != '+' && c != '-' &&
            c != '.')
            return false;
    }
    return true;
}

static struct parts split(struct str uri) {
    struct parts p = { 0 };
    ptrdiff_t colon = str_find_char(uri, ':');
    if (colon > 0 && is_scheme(str_head(uri, (size_t)colon))) {
        p.scheme = str_head(uri, (size_t)colon);
        uri = str_skip(uri, (size_t)colon + 1);
    }
    struct str rest = uri;
    uri = str_cut(&rest, '?');
    p.query = rest;
    if (str_starts(uri, S("//"))) {
        uri = str_skip(uri, 2);
        ptrdiff_t slash = str_find_char(uri, '/');
        size_t end = slash < 0 ? uri.n : (size_t)slash;
        p.authority = str_head(uri, end);
        uri = str_skip(uri, end);
    }
    p.path = uri;
    return p;
}

/* §5.2.3: beside the base's last segment. */
static struct str merge(struct arena *a, const struct parts *base, struct str path) {
    if (base->authority.p && !base->path.n)
        return arena_fmt(a, "/%.*s", STR(path));
    size_t dir = base->path.n;
    while (dir && base->path.p[dir - 1] != '/')
        dir--;
    return arena_fmt(a, "%.*s%.*s", (int)dir, base->path.p, STR(path));
}

/* §5.2.4 */
static struct str without_dots(struct arena *a, struct str path) {
    if (str_find(path, S("/.")) < 0 && !str_starts(path, S(".")))
        return path;
    char *out = arena_alloc(a, path.n + 1);
    size_t n = 0;
    bool rooted = str_starts(path, S("/"));
    struct str rest = rooted ? str_skip(path, 1) : path;
    while (rest.p) {
        struct str segment = str_cut(&rest, '/');
        bool up = str_eq(segment, S("..")), here = str_eq(segment, S("."));
        if (up) {
            while (n && out[n - 1] == '/')
                n--;
            while (n && out[n - 1] != '/')
                n--;
        } else if (!here) {
            memcpy(out + n, segment.p, segment.n);
            n += segment.n;
            if (rest.p)
                out[n++] = '/';
        }
    }
    return arena_fmt(a, "%s%.*s", rooted ? "/" : "", (int)n, out);
}

static struct str join(struct arena *a, const struct parts *p) {
    return arena_fmt(a, "%.*s%s%s%.*s%.*s%s%.*s", STR(p->scheme), p->scheme.p ? ":" : "",
                     p->authority.p ? "//" : "", STR(p->authority), STR(p->path),
                     p->query.p ? "?" : "", STR(p->query));
}

struct str uri_resolve(struct arena *a, struct str base_text, struct str reference) {
    struct parts base = split(base_text), r = split(reference);
    if (r.scheme.p) {
        r.path = without_dots(a, r.path);
        return join(a, &r);
    }
    r.scheme = base.scheme;
    if (r.authority.p) {
        r.path = without_dots(a, r.path);
        return join(a, &r);
    }
    r.authority = base.authority;
    if (!r.path.n) {
        r.path = base.path;
        if (!r.query.p)
            r.query = base.query;
    } else if (r.path.p[0] == '/') {
        r.path = without_dots(a, r.path);
    } else {
        r.path = without_dots(a, merge(a, &base, r.path));
    }
    return join(a, &r);
}
