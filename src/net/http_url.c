/* http_url.c - see http_url.h. User information and fragments are refused: credentials do
 * not belong in URLs (P-172). Messages never quote the URL: it may hold an expanded secret. */
#include "net/http_url.h"

static bool plain(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 127)
            return false;
    return true;
}

static err_t parse_authority(struct str authority, struct http_url *out) {
    struct str host = authority, port = { 0 };
    if (str_starts(host, S("["))) {
        ptrdiff_t end = str_find_char(host, ']');
        if (end < 0)
            return ERR(INVALID, "the address in brackets does not end");
        port = str_skip(host, (size_t)end + 1);
        out->host = str_from(host.p + 1, (size_t)end - 1);
        if (port.n && !str_starts(port, S(":")))
            return ERR(INVALID, "a port is written as :8080");
        port = str_skip(port, 1);
    } else {
        out->host = str_cut(&host, ':');
        port = host;
    }
    uint64_t number = out->secure ? 443 : 80;
    if (port.n && (!str_to_u64(port, &number) || number == 0 || number > 65535))
        return ERR(INVALID, "the port is not between 1 and 65535");
    if (!out->host.n)
        return ERR(INVALID, "the host is missing");
    out->port = (uint16_t)number;
    out->authority = authority;
    return OK;
}

err_t http_url_parse(struct str url, struct http_url *out) {
    out->secure = str_eq_nocase(str_head(url, 8), S("https://"));
    if (!out->secure && !str_eq_nocase(str_head(url, 7), S("http://")))
        return ERR(INVALID, "this is not an http:// or https:// URL");
    struct str rest = str_skip(url, out->secure ? 8 : 7);
    if (!plain(url))
        return ERR(INVALID, "a URL has no spaces, control or non-ASCII bytes");
    if (str_find_char(rest, '#') >= 0)
        return ERR(INVALID, "the URL of a server has no fragment (#…)");
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    if (str_find_char(str_head(rest, n), '@') >= 0)
        return ERR(INVALID, "credentials do not belong in a URL; put them under `headers`");
    out->target = n < rest.n && rest.p[n] == '/' ? str_skip(rest, n) : S("/");
    if (n < rest.n && rest.p[n] == '?')
        return ERR(INVALID, "write a path before the query: /?…");
    return parse_authority(str_head(rest, n), out);
}
