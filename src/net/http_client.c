/* http_client.c - see http_client.h. The reply is filled by the connection's callbacks
 * and read by the task that made the call; both run on the pool's worker. */
#include "net/http_client.h"
#include "base/log.h"
#include "base/mem.h"
#include "run/gate.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum { MAX_ADDRESSES = 8, KEPT_LIMIT = 256 * 1024 };
#define ADDRESSES_FRESH (30 * NANOS_SEC)

struct http_peer {
    struct http_peer *next, **back; /* in the idle list */
    struct http_pool *pool;
    struct conn *conn;
    struct http_reply *reply;
    struct timer timer;
    bool used; /* has carried a call before */
};

struct http_pool {
    struct worker *worker;
    struct http_target target;
    char host[256];
    struct sockaddr_storage addresses[MAX_ADDRESSES];
    unsigned address_count;
    nanos resolved_at;
    struct http_peer *idle;
    struct gate gate; /* calls that hold or want a connection */
    struct http_pool_stats stats;
    unsigned users; /* calls and connections that still point here */
    bool freed;
    struct http_head scratch;
};

static size_t on_data(struct conn *c, struct str data);
static void on_end(struct conn *c, err_t e);
static const struct conn_ops client_ops = { .on_data = on_data, .on_end = on_end };

/* ---- the pool ---------------------------------------------------------------------- */

static unsigned or_default(unsigned n, unsigned fallback) {
    return n ? n : fallback;
}

struct http_pool *http_pool_new(struct worker *w, const struct http_target *target) {
    struct http_pool *p = NEW(struct http_pool);
    p->worker = w;
    p->target = *target;
    snprintf(p->host, sizeof p->host, "%.*s", STR(target->host));
    p->target.host = str_of(p->host);
    p->target.max_conns = or_default(target->max_conns, 256);
    p->gate = (struct gate){ .limit = p->target.max_conns,
                             .max_waiting = or_default(target->max_waiting, 1024) };
    if (!target->connect_timeout)
        p->target.connect_timeout = 5 * NANOS_SEC;
    if (!target->idle_timeout)
        p->target.idle_timeout = 60 * NANOS_SEC;
    if (!target->head.head)
        p->target.head = (struct http_limits){ .head = 64 * 1024, .target = 8192, .fields = HTTP_MAX_FIELDS };
    if (target->tls)
        tls_context_ref(target->tls);
    return p;
}

static void pool_release(struct http_pool *p) {
    if (!p->freed || p->users)
        return;
    if (p->target.tls)
        tls_context_unref(p->target.tls);
    free(p);
}

static void leave_idle(struct http_peer *peer) {
    if (!peer->back)
        return;
    *peer->back = peer->next;
    if (peer->next)
        peer->next->back = peer->back;
    peer->back = NULL;
    peer->pool->stats.idle--;
    timer_unset(peer->pool->worker, &peer->timer);
}

static void peer_close(struct http_peer *peer) {
    struct http_pool *p = peer->pool;
    leave_idle(peer);
    conn_close(peer->conn);
    p->stats.open--;
    p->users--;
    free(peer);
    pool_release(p);
}

static void on_idle_timeout(struct worker *w, struct timer *t) {
    peer_close((struct http_peer *)((char *)t - offsetof(struct http_peer, timer)));
}

static void peer_rest(struct http_peer *peer) {
    struct http_pool *p = peer->pool;
    peer->reply = NULL;
    peer->used = true;
    if (p->freed || peer->conn->ended) {
        peer_close(peer);
        return;
    }
    peer->next = p->idle;
    peer->back = &p->idle;
    if (p->idle)
        p->idle->back = &peer->next;
    p->idle = peer;
    p->stats.idle++;
    timer_set(p->worker, &peer->timer, p->worker->now + p->target.idle_timeout);
}

void http_pool_free(struct http_pool *p) {
    if (!p)
        return;
    p->freed = true;
    p->users++;
    while (p->idle)
        peer_close(p->idle);
    p->users--;
    pool_release(p);
}

struct http_pool_stats http_pool_stats(const struct http_pool *p) {
    struct http_pool_stats stats = p->stats;
    stats.waiting = p->gate.waiting;
    return stats;
}

/* ---- addresses --------------------------------------------------------------------- */

struct lookup {
    const char *host;
    uint16_t port;
    struct sockaddr_storage *out;
    unsigned count;
};

static void add_address(struct lookup *l, const struct sockaddr *address, socklen_t n) {
    if (l->count < MAX_ADDRESSES)
        memcpy(&l->out[l->count++], address, n);
}

static err_t look_up(void *arg, const bool *cancelled) {
    struct lookup *l = arg;
    char service[8];
    snprintf(service, sizeof service, "%u", l->port);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG };
    struct addrinfo *list = NULL;
    int problem = getaddrinfo(l->host, service, &hints, &list);
    if (problem)
        return ERR(UNAVAILABLE, "resolving %s: %s", l->host, gai_strerror(problem));
    for (struct addrinfo *a = list; a; a = a->ai_next)
        add_address(l, a->ai_addr, a->ai_addrlen);
    freeaddrinfo(list);
    return OK;
}

static bool numeric(struct lookup *l) {
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(l->port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(l->port) };
    if (inet_pton(AF_INET, l->host, &v4.sin_addr) == 1)
        add_address(l, (struct sockaddr *)&v4, sizeof v4);
    else if (inet_pton(AF_INET6, l->host, &v6.sin6_addr) == 1)
        add_address(l, (struct sockaddr *)&v6, sizeof v6);
    return l->count > 0;
}

static err_t resolve(struct task *t, struct http_pool *p) {
    if (p->address_count && p->worker->now - p->resolved_at < ADDRESSES_FRESH)
        return OK;
    struct sockaddr_storage found[MAX_ADDRESSES];
    struct lookup l = { .host = p->host, .port = p->target.port, .out = found };
    if (!numeric(&l))
        TRY(work_run(t, look_up, &l));
    memcpy(p->addresses, found, sizeof found);
    p->address_count = l.count;
    p->resolved_at = p->worker->now;
    return OK;
}

/* ---- connecting -------------------------------------------------------------------- */

static err_t open_socket(const struct sockaddr_storage *address, int *out) {
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR(UNAVAILABLE, "socket: %s", strerror(errno));
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socklen_t n = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (connect(fd, (const struct sockaddr *)address, n) < 0 && errno != EINPROGRESS) {
        int problem = errno;
        close(fd);
        return ERR(UNAVAILABLE, "connect: %s", strerror(problem));
    }
    *out = fd;
    return OK;
}

static err_t wait_connected(struct task *t, struct http_peer *peer, struct http_reply *r) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, peer->pool->target.connect_timeout);
    struct conn *c = peer->conn;
    while (c->connecting && !r->failed)
        TRY(event_wait(t, &c->drained));
    return r->failed ? err_again(&r->error) : OK;
}

static err_t connect_one(struct task *t, struct http_pool *p, const struct sockaddr_storage *address,
                         struct http_reply *r, struct http_peer **out) {
    int fd = -1;
    TRY(open_socket(address, &fd));
    struct http_peer *peer = NEW(struct http_peer);
    *peer = (struct http_peer){ .pool = p, .reply = r, .timer.fire = on_idle_timeout };
    peer->conn = conn_new(p->worker, fd, p->target.tls, p->target.host, true, &client_ops, peer);
    p->stats.open++;
    p->stats.connects++;
    p->users++;
    err_t e = wait_connected(t, peer, r);
    if (!e) {
        *out = peer;
        return OK;
    }
    struct err saved = *e;
    peer_close(peer);
    r->failed = false;
    if (saved.kind == ERR_TIMEOUT && !task_cancelled(t) && task_now(t) < task_deadline(t))
        return ERR(UNAVAILABLE, "connect: timed out");
    return err_again(&saved);
}

static err_t connect_new(struct task *t, struct http_pool *p, struct http_reply *r, struct http_peer **out) {
    TRY(resolve(t, p));
    err_t e = ERR(UNAVAILABLE, "%s has no address", p->host);
    for (unsigned i = 0; i < p->address_count; i++) {
        e = connect_one(t, p, &p->addresses[i], r, out);
        if (!e || e->kind != ERR_UNAVAILABLE)
            break;
    }
    if (!e)
        return OK;
    p->stats.failures++;
    p->address_count = 0; /* ask the resolver again next time */
    return err_wrap(e, "%s:%u", p->host, p->target.port);
}

/* The caller is inside the gate, so an idle connection or room for a new one is there. */
static err_t acquire(struct task *t, struct http_pool *p, struct http_reply *r, struct http_peer **out) {
    if (p->freed)
        return ERR(UNAVAILABLE, "%s:%u: the upstream was removed", p->host, p->target.port);
    if (!p->idle)
        return connect_new(t, p, r, out);
    *out = p->idle;
    leave_idle(*out);
    (*out)->reply = r;
    return OK;
}

/* ---- what comes back ---------------------------------------------------------------- */

static void fail(struct http_reply *r, const struct err *why) {
    if (r->ended || r->failed)
        return;
    r->failed = true;
    r->error = *why;
    event_set(&r->ready);
}

static void on_end(struct conn *c, err_t e) {
    struct http_peer *peer = c->owner;
    struct http_reply *r = peer->reply;
    if (!r) {
        peer_close(peer);
        return;
    }
    r->reusable = false;
    if (!e && r->has_head && r->left < 0 && !r->chunked) {
        r->ended = true;
        event_set(&r->ready);
        return;
    }
    fail(r, e ? e : ERR(CLOSED, "the upstream closed the connection %s",
                        r->has_head ? "in the middle of its answer" : "without an answer"));
}

static void read_type(struct http_reply *r, struct str type) {
    r->json = str_eq(type, S("application/json"));
    if (r->json)
        return;
    type = str_trim(str_head(type, (size_t)(str_find_char(type, ';') >= 0 ? str_find_char(type, ';') : (ptrdiff_t)type.n)));
    r->event_stream = str_eq_nocase(type, S("text/event-stream"));
    r->json = str_eq_nocase(type, S("application/json"));
}

static void take_head(struct http_reply *r, struct http_head *h) {
    r->head = h;
    r->status = h->status;
    r->has_head = true;
    r->chunked = h->chunked;
    r->left = h->content_length;
    r->reusable = h->keep_alive;
    r->ended = !h->chunked && h->content_length == 0;
    read_type(r, h->known[HTTP_CONTENT_TYPE]);
}

/* Decodes chunks in place, so that the pieces lie together. Returns what was used. */
static size_t take_chunks(struct http_reply *r, struct str data) {
    struct str in = data, piece;
    char *to = (char *)data.p;
    size_t n = 0;
    enum http_verdict v = HTTP_MORE;
    while (v == HTTP_MORE && in.n) {
        v = http_chunks_next(&r->chunks, &in, &piece);
        if (piece.n)
            memmove(to + n, piece.p, piece.n);
        n += piece.n;
    }
    r->data = str_from(to, n);
    r->ended = v == HTTP_OK;
    if (v == HTTP_BAD)
        fail(r, ERR(UPSTREAM, "broken chunk framing"));
    return data.n - in.n;
}

static size_t take_body(struct http_reply *r, struct str data) {
    if (r->chunked)
        return take_chunks(r, data);
    size_t n = r->left >= 0 && data.n > (size_t)r->left ? (size_t)r->left : data.n;
    r->data = str_from(data.p, n);
    if (r->left >= 0) {
        r->left -= (int64_t)n;
        r->ended = r->left == 0;
    }
    return n;
}

/* Skips 1xx heads; returns the bytes of all heads read, 0 while incomplete. */
static size_t take_heads(struct http_peer *peer, struct str data) {
    struct http_pool *p = peer->pool;
    struct http_reply *r = peer->reply;
    for (size_t used = 0;;) {
        const char *why = "";
        enum http_verdict v = http_parse_response(str_skip(data, used), &p->target.head, false, &p->scratch, &why);
        if (v == HTTP_MORE)
            return used;
        if (v != HTTP_OK) {
            fail(r, ERR(UPSTREAM, "the answer is not HTTP/1.1: %s", why));
            return data.n;
        }
        used += p->scratch.bytes;
        if (p->scratch.status >= 200) {
            take_head(r, &p->scratch);
            return used;
        }
        if (p->scratch.status == 101) {
            fail(r, ERR(UPSTREAM, "the answer switches protocols"));
            return data.n;
        }
    }
}

static size_t on_data(struct conn *c, struct str data) {
    struct http_peer *peer = c->owner;
    struct http_reply *r = peer->reply;
    if (!r) { /* speaks without being asked: out of step, so not to be trusted with a call */
        peer_close(peer);
        return data.n;
    }
    if (r->failed)
        return data.n;
    if (r->data.n || (r->ended && r->has_head)) {
        if (r->ended)
            r->reusable = false;
        else if (data.n > KEPT_LIMIT)
            conn_pause(c);
        return 0;
    }
    size_t used = 0;
    if (!r->has_head) {
        used = take_heads(peer, data);
        if (!r->has_head)
            return used;
    }
    if (!r->ended && used < data.n)
        used += take_body(r, str_skip(data, used));
    if (r->ended && used < data.n)
        r->reusable = false;
    if (conn_kept(c))
        r->block = conn_hold(c);
    r->taken = false;
    event_set(&r->ready);
    return used;
}

/* ---- calls ------------------------------------------------------------------------- */

static err_t wait_head(struct task *t, struct http_reply *r) {
    while (!r->has_head && !r->failed)
        TRY(event_wait(t, &r->ready));
    return r->has_head ? OK : err_again(&r->error);
}

/* Lets go of the connection: to the pool when the answer was read to its end. */
static void reply_drop(struct http_reply *r) {
    struct http_peer *peer = r->peer;
    buf_done(&r->body);
    if (!peer)
        return;
    r->peer = NULL;
    net_block_free(peer->pool->worker, r->block);
    r->block = NULL;
    if (r->ended && r->reusable && !r->failed)
        peer_rest(peer);
    else
        peer_close(peer);
}

static err_t try_call(struct task *t, struct http_pool *p, const struct str *request, size_t pieces,
                      struct http_reply *r, bool *out_stale) {
    struct http_peer *peer = NULL;
    TRY(acquire(t, p, r, &peer));
    r->peer = peer;
    bool reused = peer->used;
    err_t e = conn_send(peer->conn, request, pieces);
    if (!e)
        e = wait_head(t, r);
    *out_stale = e && reused && e->kind == ERR_CLOSED;
    return e;
}

err_t http_call(struct task *t, struct http_pool *p, const struct str *request, size_t pieces,
                unsigned flags, struct http_reply *out) {
    p->users++;
    err_t e = gate_enter(t, &p->gate);
    if (e) {
        e = err_wrap(e, "%s:%u", p->host, p->target.port);
        p->users--;
        pool_release(p);
        return e;
    }
    for (bool stale = true, again = true; again;) {
        *out = (struct http_reply){ .task = t, .pool = p };
        e = try_call(t, p, request, pieces, out, &stale);
        again = e && stale && (flags & HTTP_SAFE);
        if (again)
            reply_drop(out);
    }
    if (!e)
        return OK;
    struct err saved = *e;
    http_reply_done(out);
    return err_again(&saved);
}

/* The last piece was used: its memory may go, the next may come. */
static void drop_piece(struct http_reply *r) {
    r->data = (struct str){ 0 };
    net_block_free(r->peer->pool->worker, r->block);
    r->block = NULL;
}

err_t http_reply_next(struct task *t, struct http_reply *r, struct str *out) {
    if (r->taken)
        drop_piece(r);
    for (;;) {
        if (r->data.n) {
            r->taken = true;
            *out = r->data;
            return OK;
        }
        if (r->failed)
            return err_again(&r->error);
        if (r->ended) {
            *out = (struct str){ 0 };
            return OK;
        }
        conn_resume(r->peer->conn);
        if (!r->data.n && !r->ended && !r->failed)
            TRY(event_wait(t, &r->ready));
    }
}

err_t http_reply_body(struct task *t, struct http_reply *r, size_t limit, struct str *out) {
    struct str piece;
    if (r->left > 0 && (uint64_t)r->left + r->data.n > limit)
        return ERR(TOO_LARGE, "the answer is larger than %zu bytes", limit);
    TRY(http_reply_next(t, r, &piece));
    if (r->ended) {
        *out = piece;
        return OK;
    }
    if (r->left > 0)
        buf_reserve(&r->body, (size_t)r->left + piece.n);
    while (piece.n) {
        if (r->body.n + piece.n > limit)
            return ERR(TOO_LARGE, "the answer is larger than %zu bytes", limit);
        buf_put(&r->body, piece.p, piece.n);
        TRY(http_reply_next(t, r, &piece));
    }
    *out = buf_view(&r->body);
    return OK;
}

void http_reply_done(struct http_reply *r) {
    struct http_pool *p = r->pool;
    if (!p)
        return;
    reply_drop(r);
    r->pool = NULL;
    gate_leave(&p->gate);
    p->users--;
    pool_release(p);
}
