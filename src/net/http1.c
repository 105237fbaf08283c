/* http1.c - see http1.h. One pass over a head, from left to right, 16 bytes at a time.
 *
 * Each verdict depends only on the bytes before the place where it falls, so a verdict
 * other than MORE stays the same however much text follows. struct http_head is large:
 * only what a caller may look at is written. */
#include "net/http1.h"
#include "net/http1_names.h"

#define MAX_METHOD 32
#define MAX_LENGTH (INT64_C(1) << 53) /* what every JSON and script peer can count to */

struct scan {
    struct run_text text;
    const char *p; /* between the steps; inside one it is a local */
    struct http_head *head;
    const struct http_limits *limits;
    struct str authority; /* of an absolute-form target */
    const char *why;
};

static enum http_verdict refuse(struct scan *s, enum http_verdict v, const char *why) {
    s->why = why;
    return v;
}

static enum http_verdict bad(struct scan *s, const char *why) {
    return refuse(s, HTTP_BAD, why);
}

/* Two of these would let two readers of one message see different things. */
#define ONE(name) (UINT64_C(1) << HTTP_##name)
static const uint64_t only_once = ONE(HOST) | ONE(CONTENT_LENGTH) | ONE(TRANSFER_ENCODING) |
                                  ONE(CONTENT_TYPE) | ONE(AUTHORIZATION) | ONE(ORIGIN) |
                                  ONE(MCP_SESSION_ID) | ONE(MCP_PROTOCOL_VERSION) |
                                  ONE(MCP_METHOD) | ONE(MCP_NAME);

static enum http_verdict note_repeated(struct scan *s, unsigned id) {
    if (id < 32)
        s->head->repeated_low |= 1u << id;
    else
        s->head->repeated_high |= 1u << (id - 32);
    return only_once >> id & 1 ? bad(s, "header repeated that may come only once") : HTTP_OK;
}

/* Lines */

#define STEP(call)                                                                                 \
    do {                                                                                           \
        enum http_verdict v_ = (call);                                                             \
        if (v_ != HTTP_OK)                                                                         \
            return v_;                                                                             \
    } while (0)

static enum http_verdict line_end(struct scan *s, const char *p) {
    if (at_crlf(p, s->text))
        return HTTP_OK;
    if (p == s->text.end || (*p == '\r' && p + 1 == s->text.end))
        return HTTP_MORE;
    return bad(s, *p == '\r' ? "bare CR" : *p == '\n' ? "bare LF" : "control byte");
}

/* A name that nobody here reads, or none at all. */
static inline enum http_verdict other_name(struct scan *s, const char *name, size_t *n) {
    const char *p = skip_token(name, s->text);
    *n = (size_t)(p - name);
    if (p == s->text.end)
        return HTTP_MORE;
    if (*p == ':' && p != name)
        return HTTP_OK;
    bool blank = *p == ' ' || *p == '\t';
    return bad(s, !blank      ? "malformed header name"
                  : p == name ? "folded header line"
                              : "space before the colon of a header");
}

/* field-value of RFC 9112 §5 at *at: what is between colon and line end without blanks
 * around. *at moves to the next line. */
static inline enum http_verdict field_value(struct scan *s, const char **at, struct str *out) {
    const char *p = *at, *end = skip_printable(p, s->text);
    if (__builtin_expect(!at_crlf(end, s->text), 0)) {
        end = skip_text(end, s->text);
        STEP(line_end(s, end));
    }
    *at = end + 2;
    if (*p == ' ')
        p++;
    *out = str_from(p, (size_t)(end - p));
    if ((uint8_t)*p <= ' ' || (uint8_t)end[-1] <= ' ') /* or empty: *p is the CR */
        *out = str_trim(*out);
    return HTTP_OK;
}

static enum http_verdict field_lines(struct scan *s) {
    struct http_head *h = s->head;
    unsigned limit = s->limits->fields < HTTP_MAX_FIELDS ? s->limits->fields : HTTP_MAX_FIELDS;
    struct http_field *f = h->fields, *last = f + limit;
    const char *p = s->p;
    for (;; f++) {
        size_t n;
        unsigned row;
        bool known = known_name(p, s->text, &n, &row);
        if (!known && p < s->text.end && *p == '\r')
            break;
        if (!known)
            STEP(other_name(s, p, &n));
        if (f == last)
            return refuse(s, HTTP_TOO_LARGE, "too many headers");
        f->name = str_from(p, n);
        p += n + 1;
        STEP(field_value(s, &p, &f->value));
        if (known && !h->known[row - 1].p)
            h->known[row - 1] = f->value;
        else if (known)
            STEP(note_repeated(s, row - 1));
    }
    h->field_count = (unsigned)(f - h->fields);
    s->p = p + 2;
    return line_end(s, p);
}

/* HTTP-version of RFC 9112 §2.3, at p */
static inline enum http_verdict version(struct scan *s, const char *p) {
    size_t n = (size_t)(s->text.end - p);
    if (n >= 8 && memcmp(p, "HTTP/1.1", 8) == 0) {
        s->head->minor_1 = true;
        return HTTP_OK;
    }
    if (memcmp(p, "HTTP/", n < 5 ? n : 5) != 0)
        return bad(s, "no HTTP version where one belongs");
    if (n < 8)
        return HTTP_MORE;
    if ((uint8_t)(p[5] - '0') > 9 || p[6] != '.' || (uint8_t)(p[7] - '0') > 9)
        return bad(s, "malformed HTTP version");
    if (p[5] != '1' || p[7] != '0')
        return refuse(s, HTTP_VERSION, "HTTP version other than 1.0 and 1.1");
    s->head->minor_1 = false;
    return HTTP_OK;
}

/* Splits scheme "://" authority path of RFC 9112 §3.2.2. Where there is no path, the last
 * slash before the authority serves as the "/" that stands for it. */
static enum http_verdict absolute_form(struct scan *s) {
    struct str rest = s->head->path;
    if (str_eq_nocase(str_head(rest, 7), S("http://")))
        rest = str_skip(rest, 7);
    else if (str_eq_nocase(str_head(rest, 8), S("https://")))
        rest = str_skip(rest, 8);
    else
        return bad(s, "target is neither a path nor an http URL");
    ptrdiff_t slash = str_find_char(rest, '/');
    s->authority = slash < 0 ? rest : str_head(rest, (size_t)slash);
    s->head->path = slash < 0 ? str_from(rest.p - 1, 1) : str_skip(rest, (size_t)slash);
    return HTTP_OK;
}

static inline enum http_verdict target_form(struct scan *s) {
    const struct http_head *h = s->head;
    if (h->target.p[0] == '/')
        return HTTP_OK;
    if (str_eq(h->method, S("CONNECT")))
        return bad(s, "CONNECT is not served");
    if (!str_eq(h->target, S("*")))
        return absolute_form(s);
    return str_eq(h->method, S("OPTIONS")) ? HTTP_OK : bad(s, "target * is for OPTIONS only");
}

/* request-target of RFC 9112 §3.2; *at moves behind it. */
static inline enum http_verdict target(struct scan *s, const char **at) {
    struct http_head *h = s->head;
    const char *start = *at, *p = skip_path(start, s->text);
    h->path = str_from(start, (size_t)(p - start));
    if (p < s->text.end && *p == '?') {
        h->query.p = p + 1;
        while (p < s->text.end && *p == '?')
            p = skip_path(p + 1, s->text);
        h->query.n = (size_t)(p - h->query.p);
    }
    if ((size_t)(p - start) > s->limits->target)
        return refuse(s, HTTP_URI_LONG, "request target too long");
    if (p == s->text.end)
        return HTTP_MORE;
    if (*p != ' ' || p == start)
        return bad(s, "byte in the request target that does not belong there");
    h->target = str_from(start, (size_t)(p - start));
    *at = p + 1;
    return target_form(s);
}

/* Some clients send line ends after a body that nothing counts (RFC 9112 §2.2). */
static inline const char *skip_blank_lines(const char *p, const char *end) {
    for (unsigned i = 0; i < 2 && p < end && *p == '\r'; i++)
        p += end - p == 1 ? 1 : p[1] == '\n' ? 2 : 0;
    return p;
}

/* request-line of RFC 9112 §3 */
static inline enum http_verdict request_line(struct scan *s) {
    const char *method = skip_blank_lines(s->p, s->text.end), *p = skip_token(method, s->text);
    if (p - method > MAX_METHOD)
        return bad(s, "method too long");
    if (p == s->text.end)
        return HTTP_MORE;
    if (*p != ' ' || p == method)
        return bad(s, "malformed request line");
    s->head->method = str_from(method, (size_t)(p - method));
    p++;
    STEP(target(s, &p));
    STEP(version(s, p));
    s->p = p + 10;
    return line_end(s, p + 8);
}

/* status-line of RFC 9112 §4; the space before an empty reason may be missing, as it is
 * in the answers of real servers. */
static inline enum http_verdict status_line(struct scan *s) {
    const char *p = s->p;
    STEP(version(s, p));
    if (s->text.end - p < 13)
        return HTTP_MORE;
    unsigned a = (uint8_t)(p[9] - '0'), b = (uint8_t)(p[10] - '0'), c = (uint8_t)(p[11] - '0');
    if (p[8] != ' ' || a < 1 || a > 5 || b > 9 || c > 9 || (p[12] != ' ' && p[12] != '\r'))
        return bad(s, "malformed status line");
    s->head->status = (int)(a * 100 + b * 10 + c);
    p = skip_text(p + 12, s->text);
    s->p = p + 2;
    return line_end(s, p);
}

/* What the headers mean */

static bool content_length(struct str digits, int64_t *out) {
    int64_t n = 0;
    if (digits.n == 0 || digits.n > 16)
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        unsigned digit = (uint8_t)(digits.p[i] - '0');
        if (digit > 9)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return n <= MAX_LENGTH;
}

/* Message body length of RFC 9112 §6, what both kinds of message share. */
static inline enum http_verdict framing(struct scan *s) {
    struct http_head *h = s->head;
    struct str length = h->known[HTTP_CONTENT_LENGTH], coding = h->known[HTTP_TRANSFER_ENCODING];
    if (length.p && coding.p)
        return bad(s, "both Content-Length and Transfer-Encoding");
    if (length.p && !content_length(length, &h->content_length))
        return bad(s, "odd Content-Length");
    if (!coding.p)
        return HTTP_OK;
    if (!h->minor_1)
        return bad(s, "Transfer-Encoding with HTTP/1.0");
    if (!str_eq_nocase(coding, S("chunked")))
        return bad(s, "transfer coding other than chunked"); /* where the body ends, nobody knows */
    h->chunked = true;
    return HTTP_OK;
}

static void connection_options(struct str list, bool *close, bool *keep, bool *upgrade) {
    while (list.p) {
        struct str option = str_trim(str_cut(&list, ','));
        *close |= str_eq_nocase(option, S("close"));
        *keep |= str_eq_nocase(option, S("keep-alive"));
        *upgrade |= str_eq_nocase(option, S("upgrade"));
    }
}

/* Connection of RFC 9110 §7.6.1; as it may come several times, all of them count. */
static inline void connection(struct http_head *h) {
    bool close = false, keep = h->minor_1, upgrade = false;
    if (h->repeated_low >> HTTP_CONNECTION & 1) {
        for (unsigned i = 0; i < h->field_count; i++)
            if (str_eq_nocase(h->fields[i].name, S("connection")))
                connection_options(h->fields[i].value, &close, &keep, &upgrade);
    } else if (str_eq(h->known[HTTP_CONNECTION], S("keep-alive")))
        keep = true; /* what nearly everybody who says something says */
    else if (h->known[HTTP_CONNECTION].p)
        connection_options(h->known[HTTP_CONNECTION], &close, &keep, &upgrade);
    h->keep_alive = keep && !close;
    h->upgrade = upgrade && h->minor_1;
}

/* host [ ":" port ] of RFC 9112 §3.2, IPv6 in brackets */
static bool host_is_sound(struct run_text t, struct str host) {
    const char *p = host.p, *end = p + host.n;
    if (host.n && *p == '[') {
        while (++p < end && ((uint8_t)(*p - '0') < 10 || (uint8_t)((*p | 0x20) - 'a') < 6 ||
                             *p == ':' || *p == '.'))
            ;
        if (p == end || *p != ']' || p - host.p < 3)
            return false;
        p++;
    } else
        p = skip_host(p, t);
    if (p == host.p)
        return false;
    if (p < end && *p == ':') {
        const char *port = ++p;
        while (p < end && (uint8_t)(*p - '0') < 10)
            p++;
        if (p - port > 5)
            return false;
    }
    return p == end;
}

/* Host of RFC 9112 §3.2. An absolute-form target must say the same as Host: replacing
 * one by the other, as §3.2.2 wants, would hide that somebody tells two stories. */
static enum http_verdict check_host(struct scan *s) {
    struct str *host = &s->head->known[HTTP_HOST];
    if (!host->p && s->head->minor_1)
        return bad(s, "no Host");
    if (!host->p)
        *host = s->authority;
    if (host->p && !host_is_sound(s->text, *host))
        return bad(s, "malformed Host");
    if (s->authority.p && !str_eq_nocase(s->authority, *host))
        return bad(s, "Host differs from the request target");
    return HTTP_OK;
}

/* Outside */

static struct scan scan_start(struct str text, const struct http_limits *limits,
                              struct http_head *h) {
#pragma GCC unroll 12
    for (unsigned i = 0; i < HTTP_HEADER_COUNT; i++)
        memset(&h->known[i], 0, sizeof h->known[i]);
    h->method = h->target = h->path = h->query = (struct str){ 0 };
    h->status = 0;
    h->minor_1 = h->keep_alive = h->chunked = h->upgrade = h->expect_continue = false;
    h->content_length = -1;
    h->repeated_low = h->repeated_high = h->field_count = 0;
    h->bytes = 0;
    text = str_head(text, limits->head);
    return (struct scan){ .text = run_text(text), .p = text.p, .head = h, .limits = limits };
}

static enum http_verdict scan_end(struct scan *s, enum http_verdict v, struct str text,
                                  const char **why) {
    if (v == HTTP_MORE && text.n >= s->limits->head)
        v = refuse(s, HTTP_TOO_LARGE, "head too large");
    if (v == HTTP_OK)
        s->head->bytes = (size_t)(s->p - text.p);
    else if (v != HTTP_MORE && why)
        *why = s->why;
    return v;
}

static inline enum http_verdict request(struct scan *s) {
    struct http_head *h = s->head;
    STEP(request_line(s));
    STEP(field_lines(s));
    STEP(check_host(s));
    STEP(framing(s));
    connection(h);
    h->expect_continue = h->known[HTTP_EXPECT].p && h->minor_1 &&
                         str_eq_nocase(h->known[HTTP_EXPECT], S("100-continue"));
    return HTTP_OK;
}

enum http_verdict http_parse_request(struct str text, const struct http_limits *limits,
                                     struct http_head *out, const char **why) {
    struct scan s = scan_start(text, limits, out);
    return scan_end(&s, request(&s), text, why);
}

/* RFC 9112 §6.3, items 1, 2 and 8. A 1xx or 204 that announces a body all the same leaves
 * no way to tell what follows it, so nothing may. */
static void response_body(struct http_head *h, bool to_head) {
    bool never = h->status < 200 || h->status == 204;
    if (never && (h->chunked || h->content_length > 0))
        h->keep_alive = false;
    if (never || to_head || h->status == 304) {
        h->chunked = false;
        h->content_length = 0;
    }
    if (!h->chunked && h->content_length < 0)
        h->keep_alive = false;
}

static inline enum http_verdict response(struct scan *s, bool to_head) {
    STEP(status_line(s));
    STEP(field_lines(s));
    STEP(framing(s));
    connection(s->head);
    response_body(s->head, to_head);
    return HTTP_OK;
}

enum http_verdict http_parse_response(struct str text, const struct http_limits *limits,
                                      bool to_head, struct http_head *out, const char **why) {
    struct scan s = scan_start(text, limits, out);
    return scan_end(&s, response(&s, to_head), text, why);
}

int http_verdict_status(enum http_verdict v) {
    static const int status[] = {
        [HTTP_OK] = 200,  [HTTP_MORE] = 408,    [HTTP_BAD] = 400,     [HTTP_TOO_LARGE] = 431,
        [HTTP_URI_LONG] = 414, [HTTP_VERSION] = 505,
    };
    return status[v];
}

struct str http_find(const struct http_head *h, struct str name) {
    for (unsigned i = 0; i < h->field_count; i++)
        if (str_eq_nocase(h->fields[i].name, name))
            return h->fields[i].value;
    return (struct str){ 0 };
}

bool http_has_token(struct str list, struct str token) {
    while (list.p)
        if (str_eq_nocase(str_trim(str_cut(&list, ',')), token))
            return true;
    return false;
}

bool http_is_token(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!token_byte[(uint8_t)s.p[i]])
            return false;
    return s.n > 0;
}
