/* upstream_http.c - Streamable HTTP upstreams, both eras (PROTOCOL §5.3, §5.4).
 *
 * The head of every request is a prefix prepared once plus a few lines. Towards legacy
 * servers a session per share (DESIGN decision 3) is opened by the home worker, single
 * file, and remembered by each worker's side; a 404 means that it died and the request
 * was not processed: it is opened anew and the call sent once more (P-441). */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/subscribe.h"
#include "gateway/upstream.h"
#include "gateway/upstream_hear.h"
#include "mcp/header_value.h"
#include "net/http_url.h"

enum {
    SESSIONS_KEPT = 16384,
    HEAD_ROOM = 2048,
    SCAN_WHOLE = 64 * 1024,
    ERROR_BODY = 64 * 1024,
    RESUMES = 5,        /* failures in a row until a lost stream is given up */
    SEND_ONLY = 1 << 8, /* a flag: do not wait for the head */
};
#define LEVEL_PATIENCE (5 * NANOS_SEC)
#define PAUSE_LEAST (100 * NANOS_MS) /* before a lost stream is asked for again */
#define PAUSE_MOST (30 * NANOS_SEC)
#define RELIST (60 * NANOS_SEC) /* where the upstream offers no stream of changes */

struct session { /* an upstream's session for one share */
    uint64_t share;
    struct str id; /* empty: the server keeps none */
    bool busy;     /* home worker: being opened, or told a level */
    unsigned verbosity; /* of log messages: what it was told; 0: nothing */
    bool dropped;  /* home worker: in no table any more, the last user frees it */
    unsigned users; /* home worker: tasks that wait with it in hand */
    nanos used;    /* home worker: when somebody asked last */
};

struct changes { /* a stream on which the server tells of them */
    struct http_reply reply;
    struct sse_parser sse;
    bool open;
};

struct http_link {
    struct http_url url;
    struct tls_context *tls;
    struct buf prefix;     /* "POST /mcp HTTP/1.1\r\nhost: …" up to and with static headers */
    struct buf get_prefix; /* the same for the GET stream */
    struct idmap sessions; /* home worker: struct session by share */
    struct hearings *hearings;
    struct changes changes; /* home worker: of the lists; stays open while they are read */
    struct task *listener; /* home worker, modern: reads updates of watched URIs */
    bool listen_again;     /* ends only to begin with other URIs */
};

static struct http_link *link_of(struct upstream *u) {
    return u->impl;
}

/* ---- pools ------------------------------------------------------------------------- */

static struct http_pool *pool_new(struct upstream *u, struct worker *w) {
    struct http_link *link = link_of(u);
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
        side->pool = pool_new(u, w);
    return side->pool;
}

static void write_prefix(struct upstream *u, struct buf *out, const char *method,
                         const char *accept) {
    const struct http_link *link = link_of(u);
    buf_fmt(out,
            "%s %.*s HTTP/1.1\r\nhost: %.*s\r\nuser-agent: gatespan/" GATESPAN_VERSION
            "\r\naccept: %s\r\n",
            method, STR(link->url.target), STR(link->url.authority), accept);
    for (size_t i = 0; i < u->conf->headers.n; i++)
        buf_fmt(out, "%.*s: %.*s\r\n", STR(u->conf->headers.items[i].name),
                STR(u->conf->headers.items[i].value));
}

/* The link is made once and lives as long as the upstream: other workers read it. */
static err_t http_start(struct task *t, struct upstream *u) {
    if (u->impl)
        return OK;
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
    link_of(u)->hearings = hearings_new(u);
    write_prefix(u, &link_of(u)->prefix, "POST", "application/json, text/event-stream");
    buf_str(&link_of(u)->prefix, S("content-type: application/json\r\n"));
    write_prefix(u, &link_of(u)->get_prefix, "GET", "text/event-stream");
    return OK;
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

struct post { /* what one POST needs beside its body */
    enum revision revision;
    struct str session;
    enum method method;
    struct str name, param_headers, traceparent;
};

static size_t post_head_size(const struct http_link *link, const struct post *p) {
    return link->prefix.n + p->session.n + p->name.n * 2 + p->param_headers.n + p->traceparent.n +
           320;
}

static void write_post_head(struct head *h, const struct http_link *link, const struct post *p,
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
    char digits[24];
    int n = 0;
    do
        digits[n++] = (char)('0' + length % 10);
    while (length /= 10);
    add(h, S("content-length: "));
    while (n)
        h->p[h->n++] = digits[--n];
    add(h, S("\r\n\r\n"));
}

static err_t send_all(struct task *t, struct upstream *u, const struct str *pieces, size_t n,
                      unsigned flags, struct http_reply *out) {
    struct http_pool *pool = pool_of(u, task_worker(t));
    if (!pool)
        return ERR(UNAVAILABLE, "it was removed");
    return flags & SEND_ONLY ? http_send(t, pool, pieces, n, flags, out)
                             : http_call(t, pool, pieces, n, flags, out);
}

/* Sends one message and waits for the head of the answer. */
static err_t post(struct task *t, struct upstream *u, const struct post *p,
                  const struct str *message, size_t pieces, unsigned flags,
                  struct http_reply *out) {
    struct http_link *link = link_of(u);
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

/* ---- sessions ---------------------------------------------------------------------- */

static err_t post_once(struct task *t, struct upstream *u, const struct post *p, struct str message,
                       struct http_reply *r) {
    return post(t, u, p, &message, 1, HTTP_SAFE, r);
}

/* The body of an answer to a handshake, JSON or the first response of an event stream,
 * with its slices copied to `text`. */
static err_t read_answer(struct task *t, struct http_reply *r, struct str id, struct buf *text,
                         struct envelope *out) {
    struct str body = { 0 };
    if (!r->event_stream) {
        TRY(http_reply_body(t, r, 4 * 1024 * 1024, &body));
        buf_str(text, body);
    } else {
        SCOPED(sse_done) struct sse_parser sse = { 0 };
        struct sse_event event;
        err_t e = OK;
        for (bool found = false; !found;) {
            TRY(http_reply_next(t, r, &body));
            if (!body.n)
                return ERR(UPSTREAM, "the event stream ended without an answer");
            while (!found && sse_next(&sse, &body, &event, &e)) {
                buf_clear(text);
                buf_str(text, event.data);
                found = envelope_scan(buf_view(text), (struct envelope_limits){ 0 }, out) ==
                            ENVELOPE_NONE &&
                        (out->kind == ENVELOPE_RESULT || out->kind == ENVELOPE_ERROR);
            }
            TRY(e);
        }
    }
    enum envelope_fault f = envelope_scan(buf_view(text), (struct envelope_limits){ 0 }, out);
    if (f)
        return ERR(UPSTREAM, "the answer (HTTP %d) is no JSON-RPC message: %s", r->status,
                   envelope_fault_text(f));
    if (out->kind != ENVELOPE_RESULT && out->kind != ENVELOPE_ERROR)
        return ERR(UPSTREAM, "the answer (HTTP %d) is no JSON-RPC response", r->status);
    if (out->kind == ENVELOPE_RESULT && !str_eq(out->id, id))
        return ERR(UPSTREAM, "the answer carries another id than the request");
    return OK;
}

static err_t refused(int status) {
    if (status == 401 || status == 403)
        return ERR(UPSTREAM,
                   "HTTP %d: it refuses our credentials; check `headers` of this upstream", status);
    if (status == 429 || status == 503)
        return ERR(UNAVAILABLE, "HTTP %d: it is overloaded", status);
    return ERR(UPSTREAM, "HTTP %d", status);
}

/* initialize, then the initialized notification (P-030, P-033). */
static err_t open_session(struct task *t, struct upstream *u, unsigned asks, struct arena *a,
                          struct upstream_info *info, struct str *out_id) {
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    SCOPED(buf_done) struct buf message = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    handshake_initialize(&message, "1", LATEST_LEGACY, asks);
    struct post first = { .revision = REV_NONE };
    TRY(post_once(t, u, &first, buf_view(&message), &r));
    SCOPED(buf_done) struct buf session = { 0 };
    buf_str(&session, r.head->known[HTTP_MCP_SESSION_ID]);
    if (session.n > UPSTREAM_SESSION)
        return ERR(UPSTREAM, "its session id is longer than %d bytes", UPSTREAM_SESSION);
    if (r.status != 200)
        return refused(r.status);
    struct envelope answer;
    TRY(read_answer(t, &r, S("1"), &text, &answer));
    if (answer.kind == ENVELOPE_ERROR)
        return ERR(UPSTREAM, "initialize: %.*s", (int)(answer.error.n < 200 ? answer.error.n : 200),
                   answer.error.p);
    TRY(handshake_read_initialize(a, answer.result, info));
    http_reply_done(&r);
    struct post second = { .revision = info->revision, .session = buf_view(&session) };
    TRY(post_once(t, u, &second, handshake_initialized(), &r));
    if (r.status / 100 != 2)
        return refused(r.status);
    *out_id = arena_dup(a, buf_view(&session));
    return OK;
}

/* It is in no table any more. */
static void session_drop(struct session *s) {
    if (!s)
        return;
    s->dropped = true;
    if (s->users)
        return;
    free((char *)s->id.p);
    free(s);
}

static void session_leave(struct session *s) {
    if (--s->users == 0 && s->dropped)
        session_drop(s);
}

static void forget_sessions(struct idmap *sessions) {
    uint64_t share;
    void *s;
    for (size_t i = 0; idmap_next(sessions, &i, &share, &s);)
        session_drop(s);
    idmap_done(sessions);
}

/* Shares come and go with clients: the one that was asked for longest ago makes room. */
static void forget_oldest(struct idmap *sessions) {
    const struct session *oldest = NULL;
    uint64_t share;
    void *s;
    for (size_t i = 0; idmap_next(sessions, &i, &share, &s);)
        if (!oldest || ((struct session *)s)->used < oldest->used)
            oldest = s;
    if (oldest)
        session_drop(idmap_del(sessions, oldest->share));
}

/* Home worker. */
static struct session *session_enter(struct idmap *sessions, uint64_t share, nanos now) {
    struct session *s = idmap_get(sessions, share);
    if (!s) {
        if (sessions->count >= SESSIONS_KEPT)
            forget_oldest(sessions);
        s = NEW(struct session);
        s->share = share;
        idmap_put(sessions, share, s);
    }
    s->used = now;
    s->users++;
    return s;
}

struct session_order { /* asked of the home worker */
    struct upstream *upstream;
    uint64_t share;
    unsigned asks;      /* what its callers can be asked */
    unsigned verbosity; /* at least */
    struct str stale;   /* the id that was refused; empty: any will do */
    struct buf id;      /* the answer */
};

static void run_restore(struct task *t, void *arg) {
    watched_restore(t, arg);
    upstream_unref(arg);
}

static void restore_later(struct task *t, struct upstream *u) {
    if (!task_spawn(task_worker(t), run_restore, upstream_ref(u)))
        upstream_unref(u);
}

/* A new session in place of what `s` has. */
static err_t renew(struct task *t, struct upstream *u, unsigned asks, struct session *s) {
    struct arena a;
    arena_init(&a, NULL, 0);
    struct upstream_info info;
    struct str id;
    s->busy = true;
    err_t e = open_session(t, u, upstream_declares(u, asks, s->share), &a, &info, &id);
    s->busy = false;
    if (!e) {
        free((char *)s->id.p);
        s->id = str_from(mem_text(id.p, id.n), id.n);
        s->verbosity = 0;
        hearings_anew(link_of(u)->hearings);
        if (!s->share)
            restore_later(t, u); /* what the old session had subscribed to is forgotten */
    }
    arena_done(&a);
    return e;
}

static err_t set_level(struct task *t, struct upstream *u, struct str session, unsigned verbosity) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, LEVEL_PATIENCE);
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    SCOPED(buf_done) struct buf message = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    struct upstream_request own = { 0 };
    struct envelope answer;
    upstream_next_id(u, task_worker(t), &own);
    handshake_set_level(&message, own.id_text, verbosity);
    struct post p = { .revision = (enum revision)atomic_load(&u->revision), .session = session };
    TRY(post_once(t, u, &p, buf_view(&message), &r));
    if (r.status != 200)
        return refused(r.status);
    TRY(read_answer(t, &r, str_of(own.id_text), &text, &answer));
    return answer.kind == ENVELOPE_RESULT ? OK
                                          : ERR(UPSTREAM, "%.*s", STR(str_head(answer.error, 200)));
}

/* P-443. What cannot be told is told once only: no call fails or waits again for its log. */
static void tell_level(struct task *t, struct upstream *u, struct session *s, unsigned verbosity) {
    if (verbosity <= s->verbosity || !atomic_load(&u->takes_levels))
        return;
    s->busy = true;
    err_t e = set_level(t, u, s->id, verbosity);
    s->busy = false;
    s->verbosity = verbosity;
    if (e)
        log_debug("upstream was not told a log level", F("upstream", u->conf->name),
                  F("error", e->text));
}

/* Home worker, single file for each share. The keeper may drop the session meanwhile. */
static err_t get_session(struct task *t, void *arg) {
    struct session_order *o = arg;
    struct session *s = session_enter(&link_of(o->upstream)->sessions, o->share, task_now(t));
    err_t e = OK;
    while (!e && s->busy)
        e = task_sleep(t, 2 * NANOS_MS);
    if (!e && (!s->id.p || (o->stale.p && str_eq(s->id, o->stale))))
        e = renew(t, o->upstream, o->asks, s);
    if (!e) {
        tell_level(t, o->upstream, s, o->verbosity);
        o->verbosity = s->verbosity;
        buf_str(&o->id, s->id);
    }
    session_leave(s);
    return e;
}

bool http_session_is(struct upstream *u, uint64_t share, struct str session) {
    const struct session *s = idmap_get(&link_of(u)->sessions, share);
    return s && str_eq(s->id, session);
}

static void side_forget(struct upstream_side *side, uint64_t share) {
    session_drop(idmap_del(&side->sessions, share));
}

static bool is_known(const struct session *s, const struct session_order *o) {
    return s && !(o->stale.p && str_eq(s->id, o->stale)) &&
           (o->verbosity <= s->verbosity || !atomic_load(&o->upstream->takes_levels));
}

static struct session *side_remember(struct upstream_side *side, const struct session_order *o) {
    side_forget(side, o->share);
    if (side->sessions.count >= SESSIONS_KEPT)
        forget_sessions(&side->sessions); /* the home worker knows them */
    struct session *s = NEW(struct session);
    s->share = o->share;
    s->verbosity = o->verbosity;
    s->id = str_from(mem_text(o->id.p, o->id.n), o->id.n);
    idmap_put(&side->sessions, o->share, s);
    return s;
}

/* The session id for a share, from this worker's memory or the home worker. */
static err_t session_for(struct task *t, struct session_order *o, struct str *out) {
    struct upstream *u = o->upstream;
    struct upstream_side *side = upstream_side(u, task_worker(t));
    struct session *s = idmap_get(&side->sessions, o->share);
    if (!is_known(s, o)) {
        struct worker *home = workers_at(u->all, u->home);
        err_t e = task_worker(t) == home ? get_session(t, o) : task_on(t, home, get_session, o);
        if (!e)
            s = side_remember(side, o);
        buf_done(&o->id);
        TRY(e);
    }
    *out = s->id;
    return OK;
}

/* ---- probing (P-059) --------------------------------------------------------------- */

static err_t probe_modern(struct task *t, struct upstream *u, bool *out_modern) {
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    SCOPED(buf_done) struct buf message = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    handshake_discover(&message, "1");
    struct post p = { .revision = LATEST_MODERN, .method = METHOD_DISCOVER };
    TRY(post_once(t, u, &p, buf_view(&message), &r));
    int status = r.status;
    if (status == 401 || status == 403 || status >= 500)
        return refused(status);
    struct envelope answer;
    if (read_answer(t, &r, S("1"), &text, &answer))
        /* not a modern server: try initialize */
        return task_cancelled(t) ? ERR(CANCELLED, "stopped") : OK;
    if (answer.kind == ENVELOPE_RESULT && status == 200 && handshake_is_discovery(answer.result)) {
        *out_modern = true;
        return handshake_read_discover(&u->info_arena, answer.result, &u->info);
    }
    enum revision mutual;
    if (answer.kind == ENVELOPE_ERROR && handshake_is_modern_error(answer.error, &mutual))
        return ERR(UPSTREAM, "it speaks a modern revision, but none that we do: %.*s",
                   (int)(answer.error.n < 160 ? answer.error.n : 160), answer.error.p);
    return OK;
}

static err_t http_probe(struct task *t, struct upstream *u) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, u->conf->timeout);
    bool modern = false;
    TRY(probe_modern(t, u, &modern));
    if (modern)
        return OK;
    struct str id;
    TRY_WRAP(open_session(t, u, upstream_declares(u, 0, 0), &u->info_arena, &u->info, &id),
             "initialize");
    struct http_link *link = link_of(u);
    hearings_anew(link->hearings);
    struct session *s = NEW(struct session);
    s->id = str_from(mem_text(id.p, id.n), id.n);
    session_drop(idmap_put(&link->sessions, 0, s));
    side_forget(upstream_side(u, task_worker(t)), 0);
    return OK;
}

/* ---- calls ------------------------------------------------------------------------- */

static struct post call_post(const struct upstream_call *c, enum revision revision) {
    const struct upstream_request *r = c->request;
    return (struct post){
        .revision = revision, .session = c->session, .method = r->method, .name = r->name,
        .param_headers = r->param_headers, .traceparent = r->traceparent,
    };
}

static bool legacy(const struct upstream *u) {
    return revision_era((enum revision)atomic_load_explicit(&u->revision, memory_order_relaxed)) ==
           ERA_LEGACY;
}

/* The worker's own memory of it may go while the call waits. */
static err_t copy_session(struct task *t, struct upstream_call *c, struct str stale) {
    struct str id;
    struct session_order order = {
        .upstream = c->upstream, .share = c->request->share, .asks = c->request->asks,
        .verbosity = c->request->verbosity, .stale = stale,
    };
    TRY(session_for(t, &order, &id));
    if (id.n)
        memcpy(c->session_text, id.p, id.n);
    c->session = str_from(c->session_text, id.n);
    return OK;
}

static err_t send_call(struct task *t, struct upstream_call *c, struct str stale) {
    struct upstream *u = c->upstream;
    enum revision revision = (enum revision)atomic_load_explicit(&u->revision,
                                                                 memory_order_relaxed);
    if (legacy(u)) {
        TRY(copy_session(t, c, stale));
        c->headless = hear_begin(t, link_of(u)->hearings, c);
    }
    struct post p = call_post(c, revision);
    unsigned flags = (c->request->safe ? HTTP_SAFE : 0) | (c->headless ? SEND_ONLY : 0);
    return post(t, u, &p, c->request->message, c->request->pieces, flags, &c->reply);
}

/* P-441 */
static err_t send_on_new_session(struct task *t, struct upstream_call *c) {
    SCOPED(buf_done) struct buf stale = { 0 };
    buf_str(&stale, c->session);
    c->retried = true;
    http_reply_done(&c->reply);
    return send_call(t, c, buf_view(&stale));
}

static err_t judge_head(struct upstream_call *c) {
    c->streaming = c->reply.event_stream;
    if (c->reply.status == 202)
        return ERR(UPSTREAM, "it accepted the request without answering it (HTTP 202)");
    if (c->streaming && c->reply.status != 200)
        return refused(c->reply.status);
    return OK;
}

static err_t http_begin(struct task *t, struct upstream_call *c) {
    if (!c->upstream->impl || atomic_load(&c->upstream->revision) == REV_NONE)
        return ERR(UNAVAILABLE, "not connected yet");
    TRY(send_call(t, c, (struct str){ 0 }));
    if (c->reply.status == 404 && c->session.n)
        TRY(send_on_new_session(t, c));
    return c->headless ? OK : judge_head(c);
}

/* For calls whose server may ask before it begins to answer. Still headless afterwards: something
 * else came, or it was sent again. */
static err_t await_head(struct task *t, struct upstream_call *c) {
    bool can_send = c->request->message; /* not when it was parked meanwhile */
    if (!c->reply.pool) /* time was up while it was sent again */
        return can_send ? send_call(t, c, (struct str){ 0 }) : ERR(CLOSED, "its session has ended");
    err_t e = http_reply_head(t, &c->reply);
    if (e && e->kind == ERR_CLOSED && c->reply.retryable && can_send) {
        http_reply_done(&c->reply);
        return send_call(t, c, (struct str){ 0 });
    }
    TRY(e);
    if (!c->reply.status)
        return OK;
    if (c->reply.status == 404 && can_send && !c->retried)
        return send_on_new_session(t, c);
    c->headless = false;
    return judge_head(c);
}

static err_t next_whole(struct task *t, struct upstream_call *c, struct envelope *out) {
    int status = c->reply.status;
    if (status >= 500 || status == 401 || status == 403 || status == 429)
        return refused(status);
    struct str body;
    TRY(http_reply_body(t, &c->reply, (size_t)c->upstream->conf->max_answer, &body));
    enum envelope_fault f = envelope_scan_answer(body, str_of(c->request->id_text), SCAN_WHOLE,
                                                 (struct envelope_limits){ 0 }, out);
    if (f && status != 200)
        return refused(status);
    return f ? ERR(UPSTREAM, "the answer is no JSON-RPC response to our request: %s",
                   envelope_fault_text(f))
             : OK;
}

/* A message beside the calls: an answer to a question, a cancellation. Sent on its own, by a
 * task of its own. */
struct side_post {
    struct upstream *upstream;
    struct buf message, session;
};

static void run_side_post(struct task *t, void *arg) {
    struct side_post *s = arg;
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, 5 * NANOS_SEC);
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    struct post p = { .revision = (enum revision)atomic_load(&s->upstream->revision),
                      .session = buf_view(&s->session) };
    err_t e = post_once(t, s->upstream, &p, buf_view(&s->message), &r);
    if (e)
        log_debug("upstream did not take a message", F("upstream", s->upstream->conf->name),
                  F("error", e->text));
    buf_done(&s->message);
    buf_done(&s->session);
    upstream_unref(s->upstream);
    free(s);
}

static struct side_post *side_post_new(struct upstream *u, struct str session) {
    struct side_post *s = NEW(struct side_post);
    s->upstream = upstream_ref(u);
    buf_str(&s->session, session);
    return s;
}

static void side_post_send(struct worker *w, struct side_post *s) {
    if (task_spawn(w, run_side_post, s))
        return;
    buf_done(&s->message);
    buf_done(&s->session);
    upstream_unref(s->upstream);
    free(s);
}

void http_tell(struct worker *w, struct upstream *u, struct str session, struct str message) {
    struct side_post *s = side_post_new(u, session);
    buf_str(&s->message, message);
    side_post_send(w, s);
}

static void http_say(struct upstream_call *c, struct str message) {
    hear_answered(link_of(c->upstream)->hearings, c, message);
    http_tell(c->worker, c->upstream, c->session, message);
}

static void http_tell_session(struct upstream *u, uint64_t share, struct str message) {
    const struct session *s = link_of(u) ? idmap_get(&link_of(u)->sessions, share) : NULL;
    if (s && s->id.p && legacy(u))
        http_tell(workers_at(u->all, u->home), u, s->id, message);
}

/* True when the message is one that the caller wants. */
static bool take_event(struct upstream_call *c, struct str data, struct envelope *out) {
    if (envelope_scan(data, (struct envelope_limits){ 0 }, out) != ENVELOPE_NONE) {
        log_warn("upstream sent a broken event", F("upstream", c->upstream->conf->name));
        return false;
    }
    switch (out->kind) {
    case ENVELOPE_NOTIFICATION:
        return true;
    case ENVELOPE_RESULT:
    case ENVELOPE_ERROR:
        return !out->id.p || str_eq(out->id, str_of(c->request->id_text));
    case ENVELOPE_REQUEST:
        if (legacy(c->upstream))
            return upstream_asks_caller(c, out);
        log_warn("modern server asks on the wire", F("upstream", c->upstream->conf->name),
                 F("method", out->method)); /* P-164 */
        return false;
    case ENVELOPE_BATCH:
        return false;
    }
    return false;
}

/* Bytes behind an event lie where the next read of any connection may go. */
static void keep_rest(struct upstream_call *c) {
    struct buf fresh = { 0 };
    buf_str(&fresh, c->rest);
    buf_done(&c->kept);
    c->kept = fresh;
    c->rest = buf_view(&c->kept);
}

/* ---- streams that were lost (P-144, P-150, P-449) ---------------------------------- */

nanos http_stream_pause(const struct sse_parser *p, unsigned failures) {
    int64_t wanted = sse_last_retry(p);
    nanos pause = wanted >= 0 ? wanted * NANOS_MS : NANOS_SEC;
    if (pause < PAUSE_LEAST)
        pause = PAUSE_LEAST;
    pause <<= failures;
    return pause < PAUSE_MOST ? pause : PAUSE_MOST;
}

err_t http_get_stream(struct task *t, struct upstream *u, struct str session, struct str last_id,
                      struct http_reply *out) {
    enum revision revision = (enum revision)atomic_load(&u->revision);
    SCOPED(buf_done) struct buf head = { 0 };
    buf_str(&head, buf_view(&link_of(u)->get_prefix));
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

/* Fits a header as it is: what else a server sends is not given back to it. */
static bool is_resumable(const struct upstream_call *c) {
    struct str id = sse_last_id(&c->sse);
    for (size_t i = 0; i < id.n; i++)
        if ((unsigned char)id.p[i] < ' ' || id.p[i] == 0x7f)
            return false;
    return id.n && legacy(c->upstream);
}

/* The stream of a call goes on behind the newest event that came. The request itself is never
 * sent again: a tool runs once. What is not heard of at all is lost when the call's time is up. */
static err_t resume(struct task *t, struct upstream_call *c) {
    sse_resume(&c->sse);
    http_reply_done(&c->reply);
    for (unsigned failures = 0; failures < RESUMES; failures++) {
        TRY(task_sleep(t, http_stream_pause(&c->sse, failures)));
        err_t e = http_get_stream(t, c->upstream, c->session, sse_last_id(&c->sse), &c->reply);
        if (!e && c->reply.status == 200 && c->reply.event_stream)
            return OK;
        if (e && (e->kind == ERR_TIMEOUT || e->kind == ERR_CANCELLED))
            return e;
        int status = e ? 0 : c->reply.status;
        http_reply_done(&c->reply);
        if (status / 100 == 4 && status != 409 && status != 429)
            return ERR(CLOSED,
                       "the event stream ended without an answer and is not resumed: "
                       "HTTP %d",
                       status);
    }
    return ERR(CLOSED, "the event stream ended without an answer and could not be resumed");
}

static err_t lost(struct task *t, struct upstream_call *c, err_t e) {
    if (e && e->kind != ERR_CLOSED && e->kind != ERR_UNAVAILABLE)
        return e;
    bool polls = !e && sse_last_retry(&c->sse) >= 0; /* it closed as P-151 has it: so do we */
    if (is_resumable(c) && polls && c->request->let_go)
        c->request->let_go(c->request->let_go_of);
    if (is_resumable(c))
        return resume(t, c);
    return e ? e : ERR(CLOSED, "the event stream ended without an answer");
}

/* *got: an event was read. Else look around: something else may have come. */
static err_t next_event(struct task *t, struct upstream_call *c, struct envelope *out, bool *got) {
    struct sse_event event;
    c->sse.limit = (size_t)c->upstream->conf->max_answer;
    for (;;) {
        err_t e = OK;
        while (sse_next(&c->sse, &c->rest, &event, &e)) {
            if (!take_event(c, event.data, out))
                continue;
            if (c->rest.n)
                keep_rest(c);
            *got = true;
            return OK;
        }
        TRY(e);
        c->rest = (struct str){ 0 };
        if (!c->reply.pool) /* time was up while it was lost */
            return lost(t, c, OK);
        e = http_reply_next(t, &c->reply, &c->rest);
        if (e || !c->rest.n)
            return !e && c->reply.woken ? OK : lost(t, c, e);
    }
}

static err_t http_next(struct task *t, struct upstream_call *c, struct envelope *out) {
    for (bool got = false; !got;) {
        if (c->flight && hear_next(c, out))
            return OK;
        if (c->headless)
            TRY(await_head(t, c));
        if (c->headless)
            continue;
        if (!c->streaming)
            return next_whole(t, c, out);
        TRY(next_event(t, c, out, &got));
    }
    return OK;
}

/* Legacy servers take silence for patience: they are told (P-243); for modern ones the
 * closed connection says it (P-244). */
static void cancel_upstream(struct upstream_call *c, struct upstream *u) {
    if (!legacy(u) || c->request->method == METHOD_INITIALIZE)
        return;
    struct side_post *s = side_post_new(u, c->session);
    buf_fmt(&s->message,
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
            "{\"requestId\":%s,\"reason\":\"the caller gave up\"}}",
            c->request->id_text);
    side_post_send(c->worker, s);
}

static void http_end(struct upstream_call *c, struct upstream *u) {
    if (c->began && !c->answered)
        cancel_upstream(c, u);
    if (c->flight)
        hear_end(link_of(u)->hearings, c);
    http_reply_done(&c->reply);
    sse_done(&c->sse);
    if (c->kept.p)
        buf_done(&c->kept);
}

/* ---- changes ----------------------------------------------------------------------- */

static void take_update(struct upstream *u, struct str params) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct str uri = json_raw_get(params, S("uri"));
    if (uri.n > 2 && uri.p[0] == '"')
        watched_updated(u, json_unquote(&a, uri));
}

/* From here on the server tells of the URIs; what it had to tell since the client subscribed, or
 * since the stream before this one, went to nobody (P-410). */
static bool uris_are_heard(const struct envelope *m) {
    return str_eq(m->method, S("notifications/subscriptions/acknowledged")) &&
           str_eq(json_raw_get(json_raw_get(m->params, S("_meta")),
                               S("io.modelcontextprotocol/subscriptionId")),
                  S("\"uris\""));
}

static bool says_changed(struct upstream *u, struct str data) {
    struct envelope m;
    if (envelope_scan(data, (struct envelope_limits){ 0 }, &m) != ENVELOPE_NONE)
        return false;
    if (uris_are_heard(&m))
        watched_updated_all(u);
    enum method method = method_parse(m.method);
    if (method == METHOD_N_RESOURCE_UPDATED)
        take_update(u, m.params);
    return method == METHOD_N_TOOLS_CHANGED || method == METHOD_N_PROMPTS_CHANGED ||
           method == METHOD_N_RESOURCES_CHANGED;
}

static void changes_close(struct changes *c) {
    http_reply_done(&c->reply);
    sse_done(&c->sse);
    *c = (struct changes){ 0 };
}

/* Reads the stream until it names a change (OK) or ends (CLOSED). */
static err_t read_changes(struct task *t, struct upstream *u, struct changes *c) {
    struct sse_event event;
    for (bool changed = false; !changed;) {
        struct str bytes;
        err_t e = OK;
        TRY(http_reply_next(t, &c->reply, &bytes));
        if (!bytes.n)
            return ERR(CLOSED, "the stream of changes ended");
        while (sse_next(&c->sse, &bytes, &event, &e))
            changed |= says_changed(u, event.data);
        TRY(e);
    }
    return OK;
}

static err_t ask_for_changes(struct task *t, struct upstream *u, struct http_reply *r) {
    if (!legacy(u)) {
        SCOPED(buf_done) struct buf message = { 0 };
        buf_str(&message,
                S("{\"jsonrpc\":\"2.0\",\"id\":\"changes\",\"method\":\"subscriptions/"
                  "listen\",\"params\":"
                  "{\"notifications\":{\"toolsListChanged\":true,\"promptsListChanged\":true,"
                  "\"resourcesListChanged\":true},\"_meta\":"));
        modern_meta(&message, u->info.revision);
        buf_str(&message, S("}}"));
        struct post p = { .revision = u->info.revision, .method = METHOD_LISTEN };
        return post_once(t, u, &p, buf_view(&message), r);
    }
    struct str session;
    struct session_order order = { .upstream = u };
    TRY(session_for(t, &order, &session)); /* used before anything waits */
    return http_get_stream(t, u, session, S(""), r);
}

/* Without a stream of changes one lists once in a while. */
static err_t open_changes(struct task *t, struct upstream *u, struct changes *c) {
    TRY(ask_for_changes(t, u, &c->reply));
    c->open = c->reply.status == 200 && c->reply.event_stream;
    if (!c->open) {
        changes_close(c);
        return task_sleep(t, RELIST);
    }
    if (legacy(u))
        watched_updated_all(u); /* what changed while there was no stream? (P-410) */
    return OK;
}

/* OK: list again. Once when the stream is open, since what changed after the last list and before
 * that was told to nobody (P-115); then for each change, while the stream stays open. */
static err_t http_watch(struct task *t, struct upstream *u) {
    if (!u->info.has.list_changed && !(legacy(u) && u->info.has.subscribe))
        return task_sleep(t, RELIST);
    struct changes *c = &link_of(u)->changes;
    err_t e = c->open ? read_changes(t, u, c) : open_changes(t, u, c);
    if (!e)
        return OK;
    struct err why = *e;
    changes_close(c);
    return why.kind == ERR_CLOSED ? task_sleep(t, NANOS_SEC) : err_again(&why);
}

/* ---- watched URIs of a modern server (P-409, P-410) --------------------------------- */

static err_t listen_to_uris(struct task *t, struct upstream *u, struct str uris) {
    SCOPED(changes_close) struct changes c = { 0 };
    SCOPED(buf_done) struct buf message = { 0 };
    buf_str(&message, S("{\"jsonrpc\":\"2.0\",\"id\":\"uris\",\"method\":\"subscriptions/listen\","
                        "\"params\":{\"notifications\":{\"resourceSubscriptions\":"));
    buf_str(&message, uris);
    buf_str(&message, S("},\"_meta\":"));
    modern_meta(&message, u->info.revision);
    buf_str(&message, S("}}"));
    struct post p = { .revision = u->info.revision, .method = METHOD_LISTEN };
    TRY(post_once(t, u, &p, buf_view(&message), &c.reply));
    if (c.reply.status != 200 || !c.reply.event_stream)
        return refused(c.reply.status);
    err_t e = OK;
    while (!e)
        e = read_changes(t, u, &c);
    return e;
}

static void spawn_listener(struct upstream *u);

static void run_listener(struct task *t, void *arg) {
    struct upstream *u = arg;
    struct http_link *link = link_of(u);
    while (!task_cancelled(t)) {
        SCOPED(buf_done) struct buf uris = { 0 };
        if (!watched_write(u, &uris))
            break;
        err_t e = listen_to_uris(t, u, buf_view(&uris));
        log_debug("updates are not heard", F("upstream", u->conf->name), F("error", e->text));
        if (task_sleep(t, NANOS_SEC))
            break;
    }
    link->listener = NULL;
    if (link->listen_again)
        spawn_listener(u);
    upstream_unref(u);
}

static void spawn_listener(struct upstream *u) {
    struct http_link *link = link_of(u);
    link->listen_again = false;
    link->listener = task_spawn(workers_at(u->all, u->home), run_listener, upstream_ref(u));
    if (!link->listener)
        upstream_unref(u);
}

static void http_watch_uris(struct upstream *u) {
    struct http_link *link = link_of(u);
    if (!link || atomic_load(&u->state) == UP_STOPPED)
        return;
    if (!link->listener) {
        spawn_listener(u);
        return;
    }
    link->listen_again = true;
    task_cancel(link->listener);
}

/* ---- the end ----------------------------------------------------------------------- */

static err_t delete_session(struct task *t, struct upstream *u, struct http_pool *pool,
                            struct str id) {
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    SCOPED(buf_done) struct buf head = { 0 };
    write_prefix(u, &head, "DELETE", "application/json, text/event-stream");
    if (u->info.revision >= R06)
        buf_fmt(&head, "mcp-protocol-version: %.*s\r\n", STR(revision_text(u->info.revision)));
    buf_fmt(&head, "mcp-session-id: %.*s\r\ncontent-length: 0\r\n\r\n", STR(id));
    struct str piece = buf_view(&head), body;
    TRY(http_call(t, pool, &piece, 1, HTTP_SAFE, &r));
    return http_reply_body(t, &r, ERROR_BODY, &body);
}

/* Hands the sessions back (P-037), as many as a moment allows; a server that is not there any more
 * forgets them by itself. Over connections of its own: those of the calls are being closed. */
static void end_sessions(struct task *t, struct upstream *u, struct idmap *sessions) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, NANOS_SEC);
    struct http_pool *pool = pool_new(u, task_worker(t));
    err_t e = OK;
    uint64_t share;
    void *s;
    for (size_t i = 0; !e && idmap_next(sessions, &i, &share, &s);)
        if (((struct session *)s)->id.n)
            e = delete_session(t, u, pool, ((struct session *)s)->id);
    if (e)
        log_debug("sessions not handed back", F("upstream", u->conf->name), F("error", e->text));
    http_pool_free(pool);
}

static void http_stop(struct task *t, struct upstream *u) {
    struct http_link *link = link_of(u);
    if (!link)
        return;
    link->listen_again = false;
    if (link->listener)
        task_cancel(link->listener);
    hearings_stop(link->hearings);
    changes_close(&link->changes);
    struct idmap sessions = link->sessions; /* calls may open others meanwhile */
    link->sessions = (struct idmap){ 0 };
    if ((u->stopping || task_cancelled(t)) && sessions.count)
        end_sessions(t, u, &sessions);
    forget_sessions(&sessions);
}

static void http_side_close(struct worker *w, struct upstream *u) {
    struct upstream_side *side = upstream_side(u, w);
    forget_sessions(&side->sessions);
    http_pool_free(side->pool);
    side->pool = NULL;
}

/* The last reference is gone: nobody reads the link any more. */
static void http_free(struct upstream *u) {
    struct http_link *link = link_of(u);
    if (!link)
        return;
    forget_sessions(&link->sessions); /* calls may have opened some after the end */
    for (unsigned i = 0; i <= workers_count(u->all); i++)
        forget_sessions(&u->sides[i].sessions);
    hearings_free(link->hearings);
    if (link->tls)
        tls_context_unref(link->tls);
    buf_done(&link->prefix);
    buf_done(&link->get_prefix);
    free(link);
}

const struct upstream_ops upstream_http = {
    .kind = "http",
    .start = http_start,
    .probe = http_probe,
    .watch = http_watch,
    .stop = http_stop,
    .begin = http_begin,
    .next = http_next,
    .end = http_end,
    .say = http_say,
    .tell = http_tell_session,
    .watch_uris = http_watch_uris,
    .side_close = http_side_close,
    .free = http_free,
};
