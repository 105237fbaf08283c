/* http1.h - strict HTTP/1.1 heads and chunk framing (RFC 9112).
 *
 * Pure functions over bytes: no sockets, no allocation, no state but the caller's. What
 * other parsers tolerate is refused here, because a gateway that is lenient in front of
 * strict servers smuggles requests: bare CR or LF, folding, space before the colon,
 * control bytes, both lengths, repeated or odd lengths, missing or double Host, unknown
 * transfer codings, HTTP/1.0 with chunked, chunk extensions beyond a bound.
 *
 * Choices that the RFCs leave or that go beyond them: an absolute-form target must name
 * the host that Host names; CONNECT and authority-form are refused; a header that two
 * readers could understand differently (Host, Content-Length, Transfer-Encoding,
 * Content-Type, Authorization, Origin, Mcp-*, MCP-Protocol-Version) may come only once;
 * Transfer-Encoding is exactly "chunked"; lengths end at 2^53; a host is letters, digits,
 * ".-_" or an IPv6 address in brackets.
 *
 * A verdict other than MORE stays the same however much text follows. Each call begins at
 * the start: with a partial head, call again when a line feed came or the limit is reached.
 *
 * Threads  any
 * Memory   slices point into the text given
 * Source   RFC 9112 §3-§7, RFC 9110 §5; http1.c keeps below 400 lines of code (DESIGN §10)
 * Files    http1.c heads, http1_runs.h and http1_names.h its inner loops, http1_chunks.c
 */
#pragma once
#include "base/str.h"

/* Headers somebody reads, found in one pass; order of the enum is the order of `known`. */
#define HTTP_HEADERS(X)                                                                          \
    X(HOST, "host") X(CONTENT_LENGTH, "content-length") X(TRANSFER_ENCODING, "transfer-encoding")  \
    X(CONNECTION, "connection") X(CONTENT_TYPE, "content-type") X(ACCEPT, "accept")                \
    X(AUTHORIZATION, "authorization") X(ORIGIN, "origin") X(EXPECT, "expect")                      \
    X(UPGRADE, "upgrade") X(TE, "te") X(DATE, "date") X(SERVER, "server")                          \
    X(MCP_SESSION_ID, "mcp-session-id") X(MCP_PROTOCOL_VERSION, "mcp-protocol-version")            \
    X(MCP_METHOD, "mcp-method") X(MCP_NAME, "mcp-name") X(LAST_EVENT_ID, "last-event-id")          \
    X(TRACEPARENT, "traceparent") X(TRACESTATE, "tracestate") X(BAGGAGE, "baggage")                \
    X(RETRY_AFTER, "retry-after") X(WWW_AUTHENTICATE, "www-authenticate")                          \
    X(LOCATION, "location") X(IF_NONE_MATCH, "if-none-match") X(IF_MATCH, "if-match")              \
    X(ETAG, "etag") X(ACCEPT_ENCODING, "accept-encoding") X(CONTENT_ENCODING, "content-encoding")  \
    X(IDEMPOTENCY_KEY, "idempotency-key") X(PREFER, "prefer") X(X_REQUEST_ID, "x-request-id")      \
    X(ACRM, "access-control-request-method") X(ACRH, "access-control-request-headers")             \
    X(X_API_KEY, "x-api-key") X(COOKIE, "cookie")

enum http_header {
#define X(name, text) HTTP_##name,
    HTTP_HEADERS(X)
#undef X
    HTTP_HEADER_COUNT
};

struct http_field {
    struct str name, value; /* name as spelled; value without white space around it */
};

#define HTTP_MAX_FIELDS 100

struct http_head {
    /* request */
    struct str method, target; /* target as received: origin-form, absolute-form or "*" */
    struct str path, query;    /* of the target; query without '?'; p == NULL when absent;
                                * a path is never empty: "/" where an absolute-form has none */
    /* response */
    int status;
    /* both */
    bool minor_1;              /* HTTP/1.1, else 1.0 */
    bool keep_alive;           /* after Connection and version */
    bool chunked;
    bool upgrade;              /* Connection lists upgrade */
    bool expect_continue;
    int64_t content_length;    /* -1: none. A response without body has 0 and !chunked; one with
                                * -1 and !chunked ends with its connection */
    struct str
        known[HTTP_HEADER_COUNT]; /* p == NULL when absent; of a repeated list header the first;
                                          * HOST of an HTTP/1.0 request may be the target's */
    uint32_t repeated_low;     /* bit per header id 0..31 that came more than once */
    uint32_t repeated_high;
    size_t bytes;              /* of the whole head, blank line included */
    unsigned field_count;
    struct http_field fields[HTTP_MAX_FIELDS]; /* last: a copy takes only what is filled */
};

enum http_verdict {
    HTTP_OK,         /* head is complete */
    HTTP_MORE,       /* needs more bytes */
    HTTP_BAD,        /* 400 and close */
    HTTP_TOO_LARGE,  /* 431 */
    HTTP_URI_LONG,   /* 414 */
    HTTP_VERSION,    /* 505 */
};
int http_verdict_status(enum http_verdict v); /* MORE: 408, for a head that did not come in time */

struct http_limits {
    size_t head;   /* bytes of a whole head */
    size_t target; /* bytes of a request target */
    unsigned fields; /* at most HTTP_MAX_FIELDS */
};

/* Parses a head at the start of text. `*why` (may be NULL) names the rule broken.
 * Leading blank lines before a request are skipped, at most two (RFC 9112 §2.2). */
enum http_verdict http_parse_request(struct str text, const struct http_limits *limits,
                                     struct http_head *out, const char **why);
/* `to_head`: the request was HEAD; then and for 1xx, 204, 304 there is no body. */
enum http_verdict http_parse_response(struct str text, const struct http_limits *limits,
                                      bool to_head, struct http_head *out, const char **why);

/* Any header by name, first occurrence; p == NULL when absent. */
struct str http_find(const struct http_head *h, struct str name);
/* The list header's value contains the token (case-insensitive): "close" in Connection. */
bool http_has_token(struct str list, struct str token);
bool http_is_token(struct str s); /* RFC 9110 §5.6.2, non-empty */

/* Chunked transfer coding, incrementally. Zero-initialised is the start. */
struct http_chunks {
    uint64_t left;     /* bytes of the current chunk still to come */
    uint8_t state;
    uint16_t line;     /* bytes of the current size line, at most 256, or trailer line */
    uint16_t trailer;  /* bytes of all trailers, at most 8 KiB; they are checked and dropped */
    uint8_t digits;
};
/* Consumes from *in; *data is the piece of body at its front that was decoded (may be
 * empty). MORE: call again with what is left of *in and what arrives; OK: the body has
 * ended, *in is what follows it; BAD: broken framing. */
enum http_verdict http_chunks_next(struct http_chunks *c, struct str *in, struct str *data);
