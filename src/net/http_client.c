/* http_client.c - see http_client.h. The reply is filled by the connection's callbacks
 * and read by the task that made the call; both run on the pool's worker. */
#include "net/http_client.h"
#include "base/mem.h"
#include "net/metrics.h"
#include "run/gate.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum {
    MAX_ADDRESSES = 8,
    KEPT_LIMIT = 256 * 1024,
    LARGE = 128 * 1024, /* a body beyond this is seldom there when its head is read */
};
#define ADDRESSES_FRESH (30 * NANOS_SEC)
#define ADDRESSES_DOUBTED (1 * NANOS_SEC) /* after a connect failed */

struct http_peer {
    struct http_peer *next, **back; /* in the idle list; NULL back: in use */
    struct http_pool *pool;
    struct conn *conn;
    struct http_reply *reply;
    struct timer timer;
    nanos until; /* when idling ends. The timer may be set for earlier: it then looks again */
    bool used;   /* has carried a call before */
    bool large;  /* and the last one had a large answer: the next one may, too */
};

/* A call that waits for the first addresses of its pool; on its task's stack. */
struct lookup_waiter {
    struct lookup_waiter *next;
    struct event done;
};

struct http_pool {
    struct worker *worker;
    struct http_target target;
    char host[256];
    struct sockaddr_storage addresses[MAX_ADDRESSES];
    unsigned address_count;
    nanos resolved_at;
    bool doubted;   /* a connect failed since then */
    bool resolving;
    struct lookup_waiter *waiters;
    struct err lookup_error;
    struct http_peer *idle;
    struct gate gate; /* calls that hold or want a connection */
    struct http_pool_stats stats;
    unsigned users; /* calls, connections and look-ups that still point here */
    bool freed;
    struct http_head scratch;
};

static size_t on_data(struct conn *c, struct str data);
static void on_end(struct conn *c, err_t e);
static void on_gathered(struct conn *c);
static const struct conn_ops client_ops = { .on_data = on_data,
                                            .on_end = on_end,
                                            .on_gathered = on_gathered };

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
        p->target.head = (struct http_limits){ .head = 64 * 1024,
                                               .target = 8192,
                                               .fields = HTTP_MAX_FIELDS };
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
    NET_ADD(pool_idle, -1);
}

static void peer_close(struct http_peer *peer) {
    struct http_pool *p = peer->pool;
    leave_idle(peer);
    timer_unset(p->worker, &peer->timer);
    conn_close(peer->conn);
    p->stats.open--;
    NET_ADD(pool_open, -1);
    p->users--;
    free(peer);
    pool_release(p);
}

/* The timer stays set while a call is made: a call in the usual course does not touch the
 * wheel. */
static void on_idle_timeout(struct worker *w, struct timer *t) {
    struct http_peer *peer = (struct http_peer *)((char *)t - offsetof(struct http_peer, timer));
    if (!peer->back)
        return;
    if (peer->until > w->now)
        timer_set(w, t, peer->until);
    else
        peer_close(peer);
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
    NET_ADD(pool_idle, 1);
    peer->until = p->worker->now + p->target.idle_timeout;
    if (!timer_is_set(&peer->timer))
        timer_set(p->worker, &peer->timer, peer->until);
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

/* RFC 3927, RFC 4291 §2.5.6, and where clouds that use neither put theirs. */
static bool is_metadata_v4(uint32_t a) {
    return a >> 16 == 0xa9fe || a == 0x646464c8 /* 100.100.100.200 */ ||
           a == 0xc00000c0 /* 192.0.0.192 */;
}

static bool is_metadata(const struct sockaddr *address) {
    static const uint8_t amazon[16] = { 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, 0x54 },
                         google[16] = { 0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54 },
                         nat64[12] = { 0x00, 0x64, 0xff, 0x9b }; /* RFC 6052: IPv4 behind it */
    if (address->sa_family == AF_INET)
        return is_metadata_v4(ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr));
    const uint8_t *b = ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)b) || memcmp(b, nat64, sizeof nat64) == 0)
        return is_metadata_v4((uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 |
                              b[15]);
    return IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)b) ||
           memcmp(b, amazon, sizeof amazon) == 0 || memcmp(b, google, sizeof google) == 0;
}

static void add_address(struct http_pool *p, const struct sockaddr *address, socklen_t n) {
    if (p->target.no_link_local && is_metadata(address)) {
        p->lookup_error = *ERR(UNAVAILABLE,
                               "%s is a link-local or metadata address: allow_link_local is off",
                               p->host);
        return;
    }
    if (p->address_count < MAX_ADDRESSES)
        memcpy(&p->addresses[p->address_count++], address, n);
}

static bool numeric(struct http_pool *p) {
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(p->target.port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(p->target.port) };
    bool is_v4 = inet_pton(AF_INET, p->host, &v4.sin_addr) == 1;
    if (!is_v4 && inet_pton(AF_INET6, p->host, &v6.sin6_addr) != 1)
        return false;
    p->address_count = 0;
    if (is_v4)
        add_address(p, (struct sockaddr *)&v4, sizeof v4);
    else
        add_address(p, (struct sockaddr *)&v6, sizeof v6);
    return true;
}

static void take_addresses(struct http_pool *p, int status, const struct addrinfo *list) {
    if (status) {
        p->lookup_error = *ERR(UNAVAILABLE, "resolving %s: %s", p->host, uv_strerror(status));
        return; /* what was known stays */
    }
    p->address_count = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        add_address(p, a->ai_addr, a->ai_addrlen);
}

static void on_resolved(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list) {
    struct http_pool *p = lookup->data;
    struct worker *w = p->worker;
    take_addresses(p, status, list);
    uv_freeaddrinfo(list);
    free(lookup);
    p->resolving = p->doubted = false;
    p->resolved_at = worker_now(w);
    for (struct lookup_waiter *i = p->waiters; i; i = i->next)
        event_set(&i->done);
    p->users--;
    pool_release(p);
    worker_run_ready(w);
}

static void start_lookup(struct http_pool *p) {
    char service[8];
    snprintf(service, sizeof service, "%u", p->target.port);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG };
    uv_getaddrinfo_t *lookup = NEW(uv_getaddrinfo_t);
    lookup->data = p;
    p->resolving = true;
    p->users++;
    int problem = uv_getaddrinfo(&p->worker->loop, lookup, on_resolved, p->host, service, &hints);
    if (problem)
        on_resolved(lookup, problem, NULL);
}

static err_t await_lookup(struct task *t, struct http_pool *p) {
    struct lookup_waiter me = { .next = p->waiters };
    p->waiters = &me;
    err_t e = OK;
    while (p->resolving && !e)
        e = event_wait(t, &me.done);
    struct lookup_waiter **at = &p->waiters;
    while (*at != &me)
        at = &(*at)->next;
    *at = me.next;
    return e;
}

/* One look-up at a time, on libuv's pool: a call leaves it behind when its deadline passes.
 * Addresses that worked are used on while they are looked up again. */
static err_t resolve(struct task *t, struct http_pool *p) {
    nanos age = p->worker->now - p->resolved_at;
    if (p->address_count && age < (p->doubted ? ADDRESSES_DOUBTED : ADDRESSES_FRESH))
        return OK;
    if (!p->resolving && !numeric(p))
        start_lookup(p);
    if (p->resolving && (!p->address_count || p->doubted))
        TRY(await_lookup(t, p));
    return p->address_count ? OK : err_again(&p->lookup_error);
}

/* ---- connecting -------------------------------------------------------------------- */

static err_t open_socket(const struct sockaddr_storage *address, int *out) {
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR(UNAVAILABLE, "socket: %s", strerror(errno));
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socklen_t n = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                 : sizeof(struct sockaddr_in);
    if (connect(fd, (const struct sockaddr *)address, n) < 0 && errno != EINPROGRESS) {
        int problem = errno;
        close(fd);
        return ERR(UNAVAILABLE, "connect: %s", strerror(problem));
    }
    *out = fd;
    return OK;
}

static err_t peer_new(struct http_pool *p, const struct sockaddr_storage *address,
                      struct http_reply *r, struct http_peer **out) {
    int fd = -1;
    TRY(open_socket(address, &fd));
    struct http_peer *peer = NEW(struct http_peer);
    *peer = (struct http_peer){ .pool = p, .reply = r, .timer.fire = on_idle_timeout };
    peer->conn = conn_new(p->worker, fd, p->target.tls, p->target.host, true, &client_ops, peer);
    if (!peer->conn) {
        free(peer);
        return ERR(UNAVAILABLE, "socket: the kernel cannot watch one more");
    }
    p->stats.open++;
    NET_ADD(pool_open, 1);
    p->stats.connects++;
    p->users++;
    *out = peer;
    return OK;
}

static err_t wait_connected(struct task *t, struct http_peer *peer, struct http_reply *r) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, peer->pool->target.connect_timeout);
    struct conn *c = peer->conn;
    while (c->connecting && !r->failed)
        TRY(event_wait(t, &c->drained));
    return r->failed ? err_again(&r->error) : OK;
}

static err_t connect_one(struct task *t, struct http_pool *p,
                         const struct sockaddr_storage *address, struct http_reply *r,
                         struct http_peer **out) {
    struct http_peer *peer = NULL;
    TRY(peer_new(p, address, r, &peer));
    err_t e = wait_connected(t, peer, r);
    if (!e) {
        *out = peer;
        return OK;
    }
    struct err saved = *e;
    peer_close(peer);
    r->failed = r->over = false;
    if (saved.kind == ERR_TIMEOUT && !task_cancelled(t) && task_now(t) < task_deadline(t))
        return ERR(UNAVAILABLE, "connect: timed out");
    return err_again(&saved);
}

static err_t connect_new(struct task *t, struct http_pool *p, struct http_reply *r,
                         struct http_peer **out) {
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
    NET_ADD(pool_failures, 1);
    p->doubted = true;
    return err_wrap(e, "%s:%u", p->host, p->target.port);
}

/* The caller is inside the gate, so an idle connection or room for a new one is there. */
static err_t acquire(struct task *t, struct http_pool *p, struct http_reply *r,
                     struct http_peer **out) {
    if (p->freed)
        return ERR(UNAVAILABLE, "%s:%u: the upstream was removed", p->host, p->target.port);
    if (!p->idle)
        return connect_new(t, p, r, out);
    *out = p->idle;
    leave_idle(*out);
    (*out)->reply = r;
    return OK;
}

/* ---- what comes back --------------------------------------------------------------- */

static void fail(struct http_reply *r, const struct err *why) {
    if (r->ended || r->failed)
        return;
    r->failed = true;
    r->error = *why;
    event_set(&r->ready);
}

/* The connection is over, and so is what it brought: is the answer complete? */
static void settle(struct http_reply *r) {
    bool until_close = r->has_head && r->left < 0 && !r->chunked;
    if (until_close && !r->cut) {
        r->ended = true;
        event_set(&r->ready);
        return;
    }
    fail(r, r->cut ? &r->error
                   : ERR(CLOSED, "the upstream closed the connection %s",
                         r->has_head ? "in the middle of its answer" : "without an answer"));
}

static void on_end(struct conn *c, err_t e) {
    struct http_peer *peer = c->owner;
    struct http_reply *r = peer->reply;
    if (!r) {
        peer_close(peer);
        return;
    }
    r->reusable = false;
    if (r->ended || r->failed)
        return;
    r->over = true;
    r->cut = e != OK;
    if (e)
        r->error = *e;
    bool unread = r->has_head || (r->apart && !r->looked);
    if (!unread || !conn_kept(c)) /* else who reads on, when all was read */
        settle(r);
}

static void read_type(struct http_reply *r, struct str type) {
    r->json = str_eq(type, S("application/json"));
    if (r->json)
        return;
    type = str_trim(str_cut(&type, ';'));
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

/* A partial head is parsed from its start: only when one more line of it is there. */
static bool worth_parsing(struct http_reply *r, struct str data) {
    struct str fresh = str_skip(data, r->looked);
    r->looked = data.n;
    return data.n >= r->pool->target.head.head || memchr(fresh.p, '\n', fresh.n);
}

/* Skips 1xx heads; returns the bytes of all heads read, 0 while incomplete. */
static size_t take_heads(struct http_reply *r, struct str data) {
    struct http_pool *p = r->pool;
    const char *why = "";
    for (size_t used = 0; worth_parsing(r, str_skip(data, used)); r->looked = 0) {
        enum http_verdict v = http_parse_response(str_skip(data, used), &p->target.head, false,
                                                  &p->scratch, &why);
        if (v == HTTP_MORE)
            return used;
        if (v == HTTP_OK && p->scratch.status == 101)
            why = "it switches protocols";
        if (v != HTTP_OK || p->scratch.status == 101) {
            fail(r, ERR(UPSTREAM, "the answer is not HTTP/1.1: %s", why));
            return data.n;
        }
        used += p->scratch.bytes;
        if (p->scratch.status >= 200) {
            take_head(r, &p->scratch);
            return used;
        }
        if (used == data.n)
            return used;
    }
    return 0;
}

/* Bytes that the task cannot look at now: it works on earlier ones, or waits for something
 * else, and fresh ones lie where the next read will go. */
static bool not_now(struct http_reply *r, struct conn *c) {
    return r->data.n || ((r->has_head || r->apart) && !r->ready.waiter && !conn_kept(c));
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
    if (r->ended) {
        r->reusable = false;
        return data.n;
    }
    if (not_now(r, c)) {
        if (data.n > KEPT_LIMIT)
            conn_pause(c);
        return 0;
    }
    size_t used = r->has_head ? 0 : take_heads(r, data);
    if (!r->has_head)
        return used;
    if (used)
        peer->large = r->left > LARGE;
    if (!r->ended && used < data.n)
        used += take_body(r, str_skip(data, used));
    if (r->ended && used < data.n)
        r->reusable = false;
    if (conn_kept(c)) { /* data and head stay where they are */
        net_block_free(c->worker, r->block);
        r->block = conn_hold(c);
    }
    r->taken = false;
    event_set(&r->ready);
    return used;
}

static void on_gathered(struct conn *c) {
    struct http_peer *peer = c->owner;
    peer->reply->left = 0;
    peer->reply->ended = true;
    event_set(&peer->reply->ready);
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
    net_buf_done(r->pool->worker, &r->body);
    if (!peer)
        return;
    r->peer = NULL;
    net_block_free(peer->pool->worker, r->block);
    r->block = NULL;
    bool in_step = r->ended && r->reusable && !r->failed && !conn_queued(peer->conn);
    if (in_step)
        peer_rest(peer);
    else
        peer_close(peer);
}

static err_t send_once(struct task *t, struct http_pool *p, const struct str *request,
                       size_t pieces, unsigned flags, struct http_reply *r) {
    struct http_peer *peer = NULL;
    TRY(acquire(t, p, r, &peer));
    assert(peer);
    r->peer = peer;
    peer->conn->little = peer->large;
    bool whole = conn_send(peer->conn, request, pieces) == OK;
    r->reused = peer->used;
    r->safe = !whole || (flags & HTTP_SAFE);
    r->sent = str_total(request, pieces);
    return OK; /* who refuses to read on may say why in its head */
}

/* Its connection was closed while it rested: what never left us whole, or never arrived, did
 * nothing. */
static bool may_repeat(const struct http_reply *r, err_t e) {
    return e && e->kind == ERR_CLOSED && r->peer && r->reused &&
           (r->safe || conn_unheard(r->peer->conn, r->sent));
}

static err_t try_call(struct task *t, struct http_pool *p, const struct str *request, size_t pieces,
                      unsigned flags, struct http_reply *r, bool *out_again) {
    TRY(send_once(t, p, request, pieces, flags, r));
    err_t e = wait_head(t, r);
    *out_again = may_repeat(r, e);
    return e;
}

static err_t enter_pool(struct task *t, struct http_pool *p) {
    p->users++;
    if (p->gate.inside < p->gate.limit)
        return gate_enter(t, &p->gate);
    NET_ADD(pool_waiting, 1);
    err_t e = gate_enter(t, &p->gate);
    NET_ADD(pool_waiting, -1);
    return e;
}

/* The pool may be gone then. */
static err_t not_entered(struct http_pool *p, err_t e) {
    e = err_wrap(e, "%s:%u", p->host, p->target.port);
    p->users--;
    pool_release(p);
    return e;
}

static err_t give_up(err_t e, struct http_reply *r) {
    struct err saved = *e;
    http_reply_done(r);
    return err_again(&saved);
}

err_t http_call(struct task *t, struct http_pool *p, const struct str *request, size_t pieces,
                unsigned flags, struct http_reply *out) {
    err_t e = enter_pool(t, p);
    if (e)
        return not_entered(p, e);
    bool again;
    do {
        again = false;
        *out = (struct http_reply){ .task = t, .pool = p };
        e = try_call(t, p, request, pieces, flags, out, &again);
        if (again)
            reply_drop(out);
    } while (again);
    return e ? give_up(e, out) : OK;
}

err_t http_send(struct task *t, struct http_pool *p, const struct str *request, size_t pieces,
                unsigned flags, struct http_reply *out) {
    err_t e = enter_pool(t, p);
    if (e)
        return not_entered(p, e);
    *out = (struct http_reply){ .task = t, .pool = p, .apart = true };
    e = send_once(t, p, request, pieces, flags, out);
    return e ? give_up(e, out) : OK;
}

err_t http_reply_head(struct task *t, struct http_reply *r) {
    for (;;) {
        if (r->has_head)
            return OK;
        if (r->failed) {
            r->retryable = may_repeat(r, &r->error);
            return err_again(&r->error);
        }
        conn_resume(r->peer->conn); /* what came while nobody waited */
        if (r->over && !r->has_head && !r->failed)
            settle(r);
        if (r->has_head || r->failed)
            continue;
        if (r->woken)
            return OK;
        TRY(event_wait(t, &r->ready));
    }
}

void http_reply_wake(struct http_reply *r) {
    r->woken = true;
    event_set(&r->ready);
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
        struct conn *c = r->peer->conn;
        conn_resume(c);
        if (r->over && !r->data.n && !conn_kept(c) && !r->ended)
            settle(r);
        if (r->data.n || r->ended || r->failed)
            continue;
        if (r->woken) {
            *out = (struct str){ 0 };
            return OK;
        }
        TRY(event_wait(t, &r->ready));
    }
}

static err_t keep_piece(struct http_reply *r, size_t limit, struct str piece) {
    struct worker *w = r->pool->worker;
    size_t left = r->left > 0 ? (size_t)r->left : 0;
    if (r->body.n + piece.n + left > limit)
        return ERR(TOO_LARGE, "the answer is larger than %zu bytes", limit);
    if (r->body.cap - r->body.n < piece.n + left && !net_may_buffer(w, piece.n + left))
        return ERR(TOO_LARGE, "no memory for another large answer now");
    if (!r->body.p)
        net_buf_reserve(w, &r->body, piece.n + left);
    net_buf_put(w, &r->body, piece);
    return OK;
}

/* So much is to come, and nothing of it is here: it can be read to where it stays. */
static bool may_gather(const struct http_reply *r, int64_t least) {
    return r->left >= least && !r->over && !r->failed && !conn_kept(r->peer->conn);
}

static err_t gather_rest(struct task *t, struct http_reply *r, size_t limit) {
    TRY(keep_piece(r, limit, r->data));
    drop_piece(r);
    conn_gather(r->peer->conn, &r->body, (size_t)r->left);
    conn_resume(r->peer->conn);
    while (!r->ended && !r->failed)
        TRY(event_wait(t, &r->ready));
    return r->failed ? err_again(&r->error) : OK;
}

err_t http_reply_body(struct task *t, struct http_reply *r, size_t limit, struct str *out) {
    struct str piece = { 0 };
    if (r->left > 0 && (uint64_t)r->left + r->data.n > limit)
        return ERR(TOO_LARGE, "the answer is larger than %zu bytes", limit);
    if (r->data.n || !may_gather(r, LARGE))
        TRY(http_reply_next(t, r, &piece));
    if (r->ended && piece.n <= limit) {
        *out = piece;
        return OK;
    }
    while (!r->ended || piece.n) {
        if (may_gather(r, 1)) {
            TRY(gather_rest(t, r, limit));
            break;
        }
        TRY(keep_piece(r, limit, piece));
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
