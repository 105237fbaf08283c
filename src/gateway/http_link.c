/* http_link.c - see http_link.h. */
#include "gateway/http_link.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/upstream_hear.h"
#include "mcp/header_value.h"

enum { HEAD_ROOM = 2048 };
#define PAUSE_LEAST (100 * NANOS_MS) /* before a lost stream is asked for again */
#define PAUSE_MOST (30 * NANOS_SEC)

/* ---- pools ------------------------------------------------------------------------- */

struct http_pool *http_link_pool(struct upstream *u, struct worker *w) {
    struct http_link *link = http_link(u);
    return http_pool_new(w, &(struct http_target){
        .host = link->url.host, .port = link->url.port, .tls = link->tls,
        .max_conns = (unsigned)u->conf->max_connections,
        .max_waiting = 20000, /* as many as requests can be in flight */
        .connect_timeout = u->conf->connect_timeout, .idle_timeout = u->conf->idle_timeout,
    });
}

static struct http_pool *pool_of(struct upstream *u, struct worker *w) {
    struct upstream_side *side = upstream_side(u, w);
    if (!side->pool && atomic_load(&u->state) == UP_STOPPED)
        return NULL; /* nobody would free another one */
    if (!side->pool)
        side->pool = http_link_pool(u, w);
    return side->pool;
}

void http_link_prefix(struct upstream *u, struct buf *out, const char *method, const char *accept) {
    const struct http_link *link = http_link(u);
    buf_fmt(out,
            "%s %.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: gatespan/" GATESPAN_VERSION
            "\r\naccept: %s\r\n",
            method, STR(link->url.target), STR(link->url.authority), accept);
    for (size_t i = 0; i < u->conf->headers.n; i++)
        buf_fmt(out, "%.*s: %.*s\r\n", STR(u->conf->headers.items[i].name),
                STR(u->conf->headers.items[i].value));
}

/* ---- life --------------------------------------------------------------------------- */

err_t http_link_new(struct upstream *u) {
    SCOPED(mem_scope) struct http_link *link = NEW(struct http_link);
    TRY(http_url_parse(u->conf->url, &link->url));
    if (link->url.secure) {
        struct tls_conf conf = {
            .cert_file = u->conf->tls.cert_file, .key_file = u->conf->tls.key_file,
            .ca_file = u->conf->tls.ca_file, .server_name = u->conf->tls.server_name,
            .allow_1_2 = u->conf->tls.allow_tls_1_2, .insecure = u->conf->tls.insecure,
        };
        TRY(tls_client_new(&conf, &link->tls));
    }
    u->impl = TAKE(link);
    http_link(u)->hearings = hearings_new(u);
    http_link_prefix(u, &http_link(u)->prefix, "POST", "application/json, text/event-stream");
    buf_str(&http_link(u)->prefix, S("content-type: application/json\r\n"));
    http_link_prefix(u, &http_link(u)->get_prefix, "GET", "text/event-stream");
    return OK;
}

void http_link_free(struct http_link *link) {
    hearings_free(link->hearings);
    if (link->tls)
        tls_context_unref(link->tls);
    buf_done(&link->prefix);
    buf_done(&link->get_prefix);
    free(link);
}

/* ---- sending ----------------------------------------------------------------------- */

struct head {
    char *p;
    size_t n;
};

static void add(struct head *h, struct str s) {
    if (s.n)
        memcpy(h->p + h->n, s.p, s.n);
    h->n += s.n;
}

static void add_line(struct head *h, struct str name, struct str value) {
    add(h, name);
    add(h, value);
    add(h, S("\r\n"));
}

static void add_number(struct head *h, size_t number) {
    char digits[24];
    int n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n)
        h->p[h->n++] = digits[--n];
}

static size_t post_head_size(const struct http_link *link, const struct http_post *p) {
    return link->prefix.n + p->session.n + p->name.n * 2 + p->param_headers.n + p->traceparent.n +
           320;
}

static void write_post_head(struct head *h, const struct http_link *link, const struct http_post *p,
                            size_t length) {
    add(h, buf_view(&link->prefix));
    if (p->revision >= R06) /* REV_NONE is less */
        add_line(h, S("mcp-protocol-version: "), revision_text(p->revision));
    if (p->session.n)
        add_line(h, S("mcp-session-id: "), p->session);
    if (p->revision >= R26 && p->method != METHOD_UNKNOWN) {
        add_line(h, S("mcp-method: "), method_name(p->method));
        if (p->name.p) {
            add(h, S("mcp-name: "));
            h->n += header_value_write(h->p + h->n, p->name);
            add(h, S("\r\n"));
        }
        add(h, p->param_headers);
    }
    if (p->traceparent.n)
        add_line(h, S("traceparent: "), p->traceparent);
    add(h, S("content-length: "));
    add_number(h, length);
    add(h, S("\r\n\r\n"));
}

static err_t send_all(struct task *t, struct upstream *u, const struct str *pieces, size_t n,
                      unsigned flags, struct http_reply *out) {
    struct http_pool *pool = pool_of(u, task_worker(t));
    if (!pool)
        return ERR(UNAVAILABLE, "it was removed");
    return flags & HTTP_SEND_ONLY ? http_send(t, pool, pieces, n, flags, out)
                                  : http_call(t, pool, pieces, n, flags, out);
}

err_t http_post(struct task *t, struct upstream *u, const struct http_post *p,
                const struct str *message, size_t pieces, unsigned flags, struct http_reply *out) {
    struct http_link *link = http_link(u);
    char room[HEAD_ROOM];
    size_t size = post_head_size(link, p), length = 0;
    SCOPED(mem_scope) char *large = size > sizeof room ? mem_alloc(size) : NULL;
    struct head head = { .p = large ? large : room };
    struct str all[20];
    size_t n = 1;
    for (size_t i = 0; i < pieces && n < ARRAY_SIZE(all); i++) {
        length += message[i].n;
        all[n++] = message[i];
    }
    write_post_head(&head, link, p, length);
    all[0] = str_from(head.p, head.n);
    return send_all(t, u, all, n, flags, out);
}

err_t http_post_text(struct task *t, struct upstream *u, const struct http_post *p,
                     struct str message, struct http_reply *r) {
    return http_post(t, u, p, &message, 1, HTTP_SAFE, r);
}

err_t http_get_stream(struct task *t, struct upstream *u, struct str session, struct str last_id,
                      struct http_reply *out) {
    enum revision revision = upstream_revision(u);
    SCOPED(buf_done) struct buf head = { 0 };
    buf_str(&head, buf_view(&http_link(u)->get_prefix));
    if (revision >= R06)
        buf_fmt(&head, "mcp-protocol-version: %.*s\r\n", STR(revision_text(revision)));
    if (session.n)
        buf_fmt(&head, "mcp-session-id: %.*s\r\n", STR(session));
    if (last_id.n)
        buf_fmt(&head, "last-event-id: %.*s\r\n", STR(last_id));
    buf_str(&head, S("\r\n"));
    struct str piece = buf_view(&head);
    return send_all(t, u, &piece, 1, HTTP_SAFE, out);
}

nanos http_stream_pause(const struct sse_parser *p, unsigned failures) {
    int64_t wanted = sse_last_retry(p);
    nanos pause = wanted >= 0 ? wanted * NANOS_MS : NANOS_SEC;
    if (pause < PAUSE_LEAST)
        pause = PAUSE_LEAST;
    pause <<= failures;
    return pause < PAUSE_MOST ? pause : PAUSE_MOST;
}

err_t http_refused(int status) {
    if (status == 401 || status == 403)
        return ERR(UPSTREAM,
                   "HTTP %d: it refuses our credentials; check `headers` of this upstream", status);
    if (status == 429 || status == 503)
        return ERR(UNAVAILABLE, "HTTP %d: it is overloaded", status);
    return ERR(UPSTREAM, "HTTP %d", status);
}

/* ---- beside the calls --------------------------------------------------------------- */

struct telling { /* an answer to a question, a cancellation: each sent by a task of its own */
    struct upstream *upstream; /* a reference */
    struct buf message, session;
};

static void telling_free(struct telling *s) {
    buf_done(&s->message);
    buf_done(&s->session);
    upstream_unref(s->upstream);
    free(s);
}

static void run_telling(struct task *t, void *arg) {
    struct telling *s = arg;
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, 5 * NANOS_SEC);
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    struct http_post p = { .revision = upstream_revision(s->upstream),
                           .session = buf_view(&s->session) };
    err_t e = http_post_text(t, s->upstream, &p, buf_view(&s->message), &r);
    if (e)
        log_debug("upstream did not take a message", F("upstream", s->upstream->conf->name),
                  F("error", e->text));
    telling_free(s);
}

void http_tell(struct worker *w, struct upstream *u, struct str session, struct str message) {
    struct telling *s = NEW(struct telling);
    s->upstream = upstream_ref(u);
    buf_str(&s->session, session);
    buf_str(&s->message, message);
    if (!task_spawn(w, run_telling, s))
        telling_free(s);
}
