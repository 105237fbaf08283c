/* http_link.h - one Streamable HTTP server as this process reaches it: where it is, each worker's
 * connections to it, and how a request is written (PROTOCOL §5.3, §5.4).
 *
 * The head of every request is a prefix that was prepared once, plus a few lines.
 *
 * Threads  made once by the home worker, then read by all; what says so belongs to the home worker
 * Memory   u->impl from the first start until the upstream is freed
 */
#pragma once
#include "gateway/upstream.h"
#include "net/http_url.h"

struct changes { /* a stream on which the server tells of them, see http_changes.h */
    struct http_reply reply;
    struct sse_parser sse;
    bool open;
};

struct http_link {
    struct http_url url;
    struct tls_context *tls;
    struct buf prefix;         /* "POST /mcp HTTP/1.1\r\nhost: …" up to and with static headers */
    struct buf get_prefix;     /* the same for the GET stream */
    struct idmap sessions;     /* home worker: see http_session.h */
    struct hearings *hearings; /* see upstream_hear.h */
    struct changes changes;    /* home worker: of the lists; stays open while they are read */
    struct task *listener;     /* home worker, modern: reads updates of watched URIs */
    bool listen_again;         /* ends only to begin with other URIs */
};

/* NULL before the first start. */
static inline struct http_link *http_link(const struct upstream *u) {
    return u->impl;
}
err_t http_link_new(struct upstream *u); /* sets u->impl */
void http_link_free(struct http_link *link);

/* Connections beside those of the calls; the caller frees. */
struct http_pool *http_link_pool(struct upstream *u, struct worker *w);
/* The first lines of a request: request line, host, static headers. */
void http_link_prefix(struct upstream *u, struct buf *out, const char *method, const char *accept);

struct http_post { /* what one POST needs beside its body */
    enum revision revision; /* REV_NONE: not known yet */
    struct str session;
    enum method method; /* modern: Mcp-Method */
    struct str name, param_headers, traceparent;
};

enum { HTTP_SEND_ONLY = 1 << 8 }; /* a flag beside those of http_call: do not wait for the head */

/* Sends one message and waits for the head of the answer. UNAVAILABLE: not sent. */
err_t http_post(struct task *t, struct upstream *u, const struct http_post *p,
                const struct str *message, size_t pieces, unsigned flags, struct http_reply *out);
/* The same for one text that may be sent twice. */
err_t http_post_text(struct task *t, struct upstream *u, const struct http_post *p,
                     struct str message, struct http_reply *out);
/* Opens or resumes (last_id not empty) a stream of a legacy session. */
err_t http_get_stream(struct task *t, struct upstream *u, struct str session, struct str last_id,
                      struct http_reply *out);
/* A lost stream may be asked for again after that long: what the server wants, or a second;
 * longer with each failure. */
nanos http_stream_pause(const struct sse_parser *p, unsigned failures);
/* Sends a message that is no call, in its own time. */
void http_tell(struct worker *w, struct upstream *u, struct str session, struct str message);
/* What a status says that no answer comes with. */
err_t http_refused(int status);
