/* refusal.h - how the HTTP surface says no: one table of words, one shape of body.
 *
 *   {"error": "not_found", "message": "…", "details": {"requestId": "…"}, "timestamp": "…"}
 *
 * and the members of RFC 9457 beside them (type, title, status, detail, instance) when Accept
 * asks for application/problem+json. The JSON-RPC style is for what is refused on /mcp before
 * there is an exchange.
 *
 * Threads  any
 */
#pragma once
#include "net/http_server.h"

enum refusal_style { REFUSE_API, REFUSE_RPC }; /* the shape of an error's body */

/* The kinds of base/err.h have the same word here. X(NAME, status, word, title, meaning) */
#define REFUSALS(X)                                                                                \
    X(INVALID, 400, "invalid", "Not understood",                                                   \
      "The path, the query or the body is not what the route describes. `details.problems` names " \
      "each member with what is allowed.")                                                         \
    X(BAD_REQUEST, 400, "bad_request", "No valid HTTP",                                            \
      "The message breaks the rules of HTTP, as the text says; the connection is closed.")         \
    X(UNAUTHENTICATED, 401, "unauthenticated", "No key",                                           \
      "Nobody, or nobody we know, is asking. Send `Authorization: Bearer gs_…`.")                  \
    X(DENIED, 403, "denied", "Not allowed",                                                        \
      "Whoever asks may not do this: most routes need an admin key.")                              \
    X(HOST, 403, "host", "Host not served",                                                        \
      "The Host of the request is not served here; add it to the option `hosts` if it should be.") \
    X(ORIGIN, 403, "origin", "Origin not allowed",                                                 \
      "The web page that asks is not allowed to; add its Origin to `cors.origins` if it should be.") \
    X(NOT_FOUND, 404, "not_found", "Not found",                                                    \
      "There is nothing at this path or of this name, or nothing that the caller may see.")        \
    X(METHOD, 405, "method", "Method not allowed",                                                 \
      "The path exists, but not for this method; `Allow` lists those it has.")                     \
    X(ACCEPT, 406, "accept", "Not acceptable",                                                     \
      "`Accept` leaves out what the route answers with, mostly application/json.")                 \
    X(REQUEST_TIMEOUT, 408, "request_timeout", "Too slow",                                         \
      "The request took longer to arrive than `limits.head_timeout` or `limits.body_timeout`.")    \
    X(CONFLICT, 409, "conflict", "Conflict",                                                       \
      "It does not go with what is there: the name is taken, or a request with the same "          \
      "`Idempotency-Key` is still running.")                                                       \
    X(READ_ONLY, 409, "read_only", "Read-only",                                                    \
      "It is defined in the configuration file, which the message names; change it there.")        \
    X(PRECONDITION_FAILED, 412, "precondition_failed", "Changed meanwhile",                        \
      "`If-Match` names another version than the present one. Read it again, then decide.")        \
    X(TOO_LARGE, 413, "too_large", "Too large",                                                    \
      "The body is larger than `limits.body`, or an answer larger than its limit.")                \
    X(URI_TOO_LONG, 414, "uri_too_long", "URI too long",                                           \
      "The request target is longer than `limits.target`.")                                        \
    X(MEDIA_TYPE, 415, "media_type", "Media type",                                                 \
      "Bodies are application/json; those of PATCH may be application/merge-patch+json.")          \
    X(UNPROCESSABLE, 422, "unprocessable", "Not possible",                                         \
      "The body has the right form, but says something that cannot be done. "                      \
      "`details.problems` names each member.")                                                     \
    X(IDEMPOTENCY, 422, "idempotency_mismatch", "Another request had this key",                    \
      "The `Idempotency-Key` came before, with another request. Use a new one for a new request.") \
    X(PRECONDITION_REQUIRED, 428, "precondition_required", "If-Match needed",                      \
      "A change names the version that it changes: send the `ETag` of the item as `If-Match`, "    \
      "or `If-Match: *` to overwrite whatever is there.")                                          \
    X(LIMITED, 429, "limited", "Too many",                                                         \
      "A rate or count of the caller is used up; `Retry-After` says when it goes again.")          \
    X(HEAD_TOO_LARGE, 431, "head_too_large", "Head too large",                                     \
      "The head is larger than `limits.head`, or has more headers than `limits.headers`.")         \
    X(CANCELLED, 499, "cancelled", "Cancelled", "The caller gave up, or the program is ending.")   \
    X(INTERNAL, 500, "internal", "Mistake of the gateway",                                         \
      "A mistake of the program; the log has more under the request id.")                          \
    X(UPSTREAM, 502, "upstream", "Upstream failed",                                                \
      "An upstream answered with an error, or with something that is no valid answer.")            \
    X(CLOSED, 502, "closed", "Connection lost",                                                    \
      "The other side closed the connection in the middle.")                                       \
    X(UNAVAILABLE, 503, "unavailable", "Not available now",                                        \
      "What is needed is not up, or has no room now; `Retry-After` says when to try again.")       \
    X(STARTING, 503, "starting", "Starting", "The gateway has just been started.")                 \
    X(OVERLOAD, 503, "overload", "Overloaded", "Too many requests are in flight.")                 \
    X(TIMEOUT, 504, "timeout", "Timeout", "No answer came within the time allowed.")               \
    X(HTTP_VERSION, 505, "http_version", "HTTP version", "HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here.")

enum refusal_code {
#define X(name, status, word, title, meaning) REFUSAL_##name,
    REFUSALS(X)
#undef X
    REFUSAL_COUNT
};
struct refusal_row {
    int status;
    const char *word, *title, *meaning;
};
extern const struct refusal_row refusal_rows[REFUSAL_COUNT];
/* The code of a failure. */
enum refusal_code refusal_of(enum err_kind kind);

struct refusal {
    enum refusal_style style;
    int status;
    struct str word, message;
    struct str details; /* raw JSON object, to which requestId comes; may be empty */
};
/* Appends the body; returns its media type. */
struct str refusal_write(struct buf *b, const struct http_request *r, const struct refusal *what);
