/* conn.c - see conn.h. A read goes into the worker's shared buffer unless the connection
 * already keeps the beginning of a message: then it goes behind that. What the owner
 * does not use is copied to the connection; a large message is lent instead of copied:
 * its memory changes hands and the worker takes another buffer. */
#include "net/conn.h"
#include "base/log.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum {
    READ_SIZE = 256 * 1024, /* one 64 KiB message with its head comes in one read (HOTPATH) */
    READ_SPARE = 64,        /* behind the buffer, for SIMD */
    LITTLE = 16 * 1024,     /* of a message whose rest is gathered: what comes first is copied */
    GROW_STEP = 16 * 1024,  /* least room to read into a connection's own buffer */
    SPARE_BLOCKS = 4,
    FLAT = 8 * 1024,        /* messages up to this are copied into one send */
    READS_PER_TURN = 8,
    PIECES = 16,
};

struct net_block {
    struct net_block *next;
    char *p;
    size_t cap;
    bool shared; /* READ_SIZE block that goes back to the worker */
};

struct net_worker {
    struct net_block *read;  /* what the next read goes into */
    struct net_block *spare;
    unsigned spares;
    size_t conns, buffered, limit;
    char flat[FLAT];
};

static struct net_worker *net_of(struct worker *w) {
    return w->slots[WORKER_NET];
}

/* ---- blocks ---------------------------------------------------------------------- */

static struct net_block *block_new(struct net_worker *net) {
    struct net_block *b = net->spare;
    if (b) {
        net->spare = b->next;
        net->spares--;
        return b;
    }
    b = NEW(struct net_block);
    *b = (struct net_block){ .p = mem_alloc(READ_SIZE + READ_SPARE),
                             .cap = READ_SIZE,
                             .shared = true };
    return b;
}

static void block_delete(struct net_block *b) {
    ASAN_UNPOISON_MEMORY_REGION(b->p, b->cap);
    free(b->p);
    free(b);
}

void net_block_free(struct worker *w, struct net_block *b) {
    if (!b)
        return;
    struct net_worker *net = net_of(w);
    net->buffered -= b->cap;
    if (!b->shared || net->spares == SPARE_BLOCKS) {
        block_delete(b);
        return;
    }
    b->next = net->spare;
    net->spare = b;
    net->spares++;
}

void net_start(struct worker *w, size_t buffer_limit) {
    struct net_worker *net = NEW(struct net_worker);
    net->limit = buffer_limit;
    net->read = block_new(net);
    w->slots[WORKER_NET] = net;
}

void net_limit(struct worker *w, size_t buffer_limit) {
    net_of(w)->limit = buffer_limit;
}

void net_stop(struct worker *w) {
    struct net_worker *net = net_of(w);
    if (!net)
        return;
    for (struct net_block *b = net->spare; b;) {
        struct net_block *next = b->next;
        block_delete(b);
        b = next;
    }
    block_delete(net->read);
    free(net);
    w->slots[WORKER_NET] = NULL;
}

struct net_stats net_stats(struct worker *w) {
    const struct net_worker *net = net_of(w);
    return (struct net_stats){ net->conns, net->buffered, net->limit };
}

bool net_may_buffer(struct worker *w, size_t more) {
    const struct net_worker *net = net_of(w);
    return net->buffered + more <= net->limit;
}

/* ---- counted buffers --------------------------------------------------------------- */

void net_buf_reserve(struct worker *w, struct buf *b, size_t n) {
    size_t before = b->cap;
    buf_reserve(b, n);
    net_of(w)->buffered += b->cap - before;
}

void net_buf_put(struct worker *w, struct buf *b, struct str bytes) {
    size_t before = b->cap;
    buf_str(b, bytes);
    net_of(w)->buffered += b->cap - before;
}

void net_buf_done(struct worker *w, struct buf *b) {
    net_of(w)->buffered -= b->cap;
    buf_done(b);
}

struct net_block *net_buf_hold(struct buf *b) {
    struct net_block *block = NEW(struct net_block);
    *block = (struct net_block){ .p = b->p, .cap = b->cap };
    *b = (struct buf){ 0 };
    return block;
}

/* ---- life ------------------------------------------------------------------------ */

static void on_poll(uv_poll_t *handle, int status, int events);

static void poll_update(struct conn *c) {
    if (c->closed || c->ended)
        return;
    bool write = c->writing || c->again || (c->connecting && !c->greeting);
    int events = (c->paused ? 0 : UV_READABLE) | (write ? UV_WRITABLE : 0);
    if (events)
        uv_poll_start(c->poll, events, on_poll);
    else
        uv_poll_stop(c->poll);
}

struct conn *conn_new(struct worker *w, int fd, struct tls_context *tls, struct str host,
                      bool connecting, const struct conn_ops *ops, void *owner) {
    uv_poll_t *poll = NEW(uv_poll_t);
    if (uv_poll_init(&w->loop, poll, fd)) {
        close(fd);
        free(poll);
        return NULL;
    }
    struct conn *c = NEW(struct conn);
    *c = (struct conn){
        .worker = w, .ops = ops, .owner = owner, .fd = fd, .connecting = connecting, .poll = poll,
    };
    poll->data = c;
    if (tls)
        c->tls = tls_open(tls, fd, host);
    net_of(w)->conns++;
    poll_update(c);
    return c;
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
    free(handle);
}

void conn_close(struct conn *c) {
    if (c->closed)
        return;
    c->closed = true;
    if (c->tls) {
        tls_shutdown(c->tls);
        tls_free(c->tls);
        c->tls = NULL;
    }
    net_buf_done(c->worker, &c->in);
    net_buf_done(c->worker, &c->out);
    net_of(c->worker)->conns--;
    event_set(&c->drained);
    uv_close((uv_handle_t *)c->poll, on_closed);
    close(c->fd); /* behind the last epoll_ctl: the number may be another worker's at once */
}

static void end(struct conn *c, err_t e) {
    if (c->ended || c->closed)
        return;
    c->ended = true;
    uv_poll_stop(c->poll);
    event_set(&c->drained);
    c->ops->on_end(c, e);
}

/* ---- writing --------------------------------------------------------------------- */

static ssize_t write_some(struct conn *c, const void *p, size_t n) {
    if (!c->tls) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
        return sent >= 0 ? sent : (errno == EAGAIN || errno == EINTR) ? TLS_WANT_WRITE : TLS_FAILED;
    }
    return tls_write(c->tls, p, n);
}

static const char *write_problem(const struct conn *c) {
    return c->tls ? tls_error(c->tls) : strerror(errno);
}

static void set_flag(struct conn *c, bool *flag, bool on) {
    if (*flag == on)
        return;
    *flag = on;
    poll_update(c);
}

static void say_finished(struct conn *c) {
    if (c->finished)
        return;
    c->finished = true;
    if (c->tls)
        tls_shutdown(c->tls);
    shutdown(c->fd, SHUT_WR);
}

static void drop_queue(struct conn *c) {
    net_buf_done(c->worker, &c->out);
    c->out_at = 0;
    set_flag(c, &c->writing, false);
}

/* The end is told at the next turn: our caller's owner may not expect it now. */
static err_t sending_failed(struct conn *c) {
    err_t e = ERR(CLOSED, "sending: %s", write_problem(c));
    c->failing = true;
    drop_queue(c);
    set_flag(c, &c->again, true);
    event_set(&c->drained);
    return e;
}

/* Sends what is queued. False: the connection failed. */
static bool flush_queue(struct conn *c) {
    while (c->out_at < c->out.n) {
        ssize_t sent = write_some(c, c->out.p + c->out_at, c->out.n - c->out_at);
        if (sent == TLS_FAILED || sent == 0)
            return false;
        if (sent < 0) {
            set_flag(c, &c->writing, sent == TLS_WANT_WRITE);
            return true;
        }
        c->out_at += (size_t)sent;
    }
    drop_queue(c);
    if (c->finishing)
        say_finished(c);
    return true;
}

/* Sends what is queued and tells those who wait for it. */
static void flush(struct conn *c) {
    bool had = conn_queued(c) > 0;
    if (!flush_queue(c)) {
        sending_failed(c);
        return;
    }
    event_set(&c->drained);
    if (had && !conn_queued(c) && c->ops->on_drained)
        c->ops->on_drained(c);
}

/* The part that was sent is dropped when it is the larger one, so a queue that never runs
 * empty stays in bounds. */
static void queue_from(struct conn *c, const struct str *pieces, size_t n, size_t total,
                       size_t skip) {
    if (c->out_at > c->out.n / 2) {
        buf_consume(&c->out, c->out_at);
        c->out_at = 0;
    }
    net_buf_reserve(c->worker, &c->out, total - skip);
    for (size_t i = 0; i < n; i++) {
        struct str rest = str_skip(pieces[i], skip);
        skip = skip > pieces[i].n ? skip - pieces[i].n : 0;
        buf_str(&c->out, rest);
    }
}

/* One sendmsg for plain sockets: large pieces are not copied. */
static ssize_t send_vector(struct conn *c, const struct str *pieces, size_t n) {
    struct iovec iov[PIECES];
    size_t count = 0;
    for (size_t i = 0; i < n && count < PIECES; i++)
        if (pieces[i].n)
            iov[count++] = (struct iovec){ (void *)pieces[i].p, pieces[i].n };
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
    ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    return sent >= 0 ? sent : (errno == EAGAIN || errno == EINTR) ? TLS_WANT_WRITE : TLS_FAILED;
}

static ssize_t send_flat(struct conn *c, const struct str *pieces, size_t n) {
    char *flat = net_of(c->worker)->flat;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n)
            memcpy(flat + used, pieces[i].p, pieces[i].n);
        used += pieces[i].n;
    }
    return write_some(c, flat, used);
}

err_t conn_send(struct conn *c, const struct str *pieces, size_t n) {
    if (c->closed || c->ended || c->failing || c->finishing)
        return ERR(CLOSED, "the connection is closed");
    size_t total = str_total(pieces, n);
    if (total == 0)
        return OK;
    if (conn_queued(c) || c->connecting) {
        queue_from(c, pieces, n, total, 0);
        return OK;
    }
    ssize_t sent = total <= FLAT ? send_flat(c, pieces, n) : c->tls ? 0 : send_vector(c, pieces, n);
    if (sent == TLS_FAILED)
        return sending_failed(c);
    if (sent >= 0 && (size_t)sent == total)
        return OK;
    queue_from(c, pieces, n, total, sent > 0 ? (size_t)sent : 0);
    if (sent == TLS_WANT_READ) /* a handshake that waits for its peer: reading goes on with it */
        return OK;
    return flush_queue(c) ? OK : sending_failed(c);
}

bool conn_unheard(const struct conn *c, size_t n) {
    int unacknowledged = 0;
    bool by_its_end = c->problem == 0 || c->problem == EPIPE; /* EPIPE: reset behind its end */
    if (c->closed || !c->ended || !by_its_end || ioctl(c->fd, SIOCOUTQ, &unacknowledged) < 0)
        return false;
    return (size_t)unacknowledged + conn_queued(c) >= n;
}

void conn_finish(struct conn *c) {
    if (c->closed || c->ended || c->finishing)
        return;
    c->finishing = true;
    if (!conn_queued(c))
        say_finished(c);
}

err_t conn_drain(struct task *t, struct conn *c, size_t left) {
    while (!c->closed && !c->ended && conn_queued(c) > left)
        TRY(event_wait(t, &c->drained));
    return c->closed || c->ended || c->failing ? ERR(CLOSED, "the connection is closed") : OK;
}

/* ---- reading --------------------------------------------------------------------- */

struct net_block *conn_hold(struct conn *c) {
    struct net_worker *net = net_of(c->worker);
    if (c->lent)
        return NULL;
    if (conn_kept(c)) {
        c->in_at = 0;
        return c->lent = net_buf_hold(&c->in);
    }
    c->lent = net->read;
    net->buffered += net->read->cap;
    net->read = block_new(net);
    return c->lent;
}

/* The part that was used goes when its room is wanted, not with each message: a client
 * that pipelines small ones would have the rest moved for each. */
static void compact(struct conn *c) {
    if (!c->in_at)
        return;
    buf_consume(&c->in, c->in_at);
    c->in_at = 0;
}

/* Keeps what the owner did not use; `data` lies in c->in, unless that was lent or was
 * empty before. */
static void keep_rest(struct conn *c, struct str data, size_t used) {
    struct str rest = str_skip(data, used);
    if (conn_kept(c))
        c->in_at += used;
    else if (rest.n)
        net_buf_put(c->worker, &c->in, rest);
    if (c->in.p && !conn_kept(c)) {
        net_buf_done(c->worker, &c->in);
        c->in_at = 0;
    }
}

static struct str kept(const struct conn *c) {
    return str_skip(buf_view(&c->in), c->in_at);
}

static void deliver(struct conn *c, struct str data) {
    c->lent = NULL;
    c->delivering = true;
    size_t used = c->ops->on_data(c, data);
    c->delivering = false;
    if (!c->closed)
        keep_rest(c, data, used);
    c->lent = NULL;
}

static ssize_t read_some(struct conn *c, void *p, size_t n) {
    if (c->tls)
        return tls_read(c->tls, p, n);
    ssize_t got = recv(c->fd, p, n, 0);
    return got >= 0 ? got : (errno == EAGAIN || errno == EINTR) ? TLS_WANT_READ : TLS_FAILED;
}

void conn_gather(struct conn *c, struct buf *b, size_t more) {
    assert(more && b->cap - b->n >= more && (c->delivering || !conn_kept(c)));
    c->gather = b;
    c->gather_left = more;
}

static void gathered(struct conn *c, size_t n) {
    c->gather->n += n;
    c->gather_left -= n;
    if (c->gather_left)
        return;
    c->gather = NULL;
    c->delivering = true;
    c->ops->on_gathered(c);
    c->delivering = false;
}

/* Where the next read goes: to where it was asked for, or behind what is kept, else into the
 * buffer of all. */
static char *read_room(struct conn *c, size_t *out_size) {
    struct net_worker *net = net_of(c->worker);
    if (c->gather) {
        *out_size = c->gather_left;
        return c->gather->p + c->gather->n;
    }
    if (!c->in.p) {
        ASAN_UNPOISON_MEMORY_REGION(net->read->p, READ_SIZE + READ_SPARE);
        *out_size = c->little ? LITTLE : READ_SIZE;
        return net->read->p;
    }
    compact(c);
    if (c->in.cap - c->in.n < GROW_STEP)
        net_buf_reserve(c->worker, &c->in, c->in.n < GROW_STEP ? GROW_STEP : c->in.n);
    *out_size = c->in.cap - c->in.n - 1;
    return c->in.p + c->in.n;
}

/* One read and its delivery: true when there may be more to read now. */
static bool read_once(struct conn *c) {
    size_t room;
    bool own = c->in.p != NULL, gathers = c->gather != NULL;
    char *into = read_room(c, &room);
    ssize_t got = read_some(c, into, room);
    if (got == TLS_WANT_READ)
        return false;
    if (got == TLS_WANT_WRITE) {
        set_flag(c, &c->again, true);
        return false;
    }
    if (got < 0)
        c->problem = c->tls ? EPROTO : errno;
    if (got <= 0 && c->failing)
        return false;
    if (got <= 0) {
        end(c, got == 0 ? OK : ERR(CLOSED, "receiving: %s", write_problem(c)));
        return false;
    }
    c->little = false;
    if (gathers) {
        gathered(c, (size_t)got);
    } else {
        if (own)
            c->in.n += (size_t)got;
        deliver(c, own ? kept(c) : str_from(into, (size_t)got));
    }
    return !c->closed && !c->ended && !c->paused &&
           (((size_t)got == room && !gathers) || (c->tls && tls_pending(c->tls)));
}

static void readable(struct conn *c) {
    bool more = true;
    set_flag(c, &c->again, false);
    for (int i = 0; i < READS_PER_TURN && more; i++) {
        more = read_once(c);
        worker_run_ready(c->worker); /* the shared buffer is reused by the next read */
    }
    if (c->closed || c->ended || c->failing || !c->tls)
        return;
    if (more) /* of which no event would tell */
        set_flag(c, &c->again, true);
    if (conn_queued(c) && !c->writing) /* the handshake is done, perhaps */
        flush(c);
}

/* One step towards a connection: TCP, then the handshake of a TLS client. */
static err_t connect_step(struct conn *c) {
    int problem = 0;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &(socklen_t){ sizeof problem });
    if (problem)
        return ERR(UNAVAILABLE, "connect: %s", strerror(problem));
    ssize_t shaken = c->tls ? tls_handshake(c->tls) : 0;
    if (shaken == TLS_FAILED)
        return ERR(UNAVAILABLE, "TLS: %s", tls_error(c->tls));
    c->greeting = c->tls != NULL;
    c->connecting = shaken != 0;
    c->writing = shaken == TLS_WANT_WRITE;
    poll_update(c);
    return OK;
}

static void connected(struct conn *c) {
    err_t e = connect_step(c);
    if (e)
        end(c, e);
    else if (!c->connecting)
        flush(c);
}

static err_t socket_problem(struct conn *c) {
    int problem = 0;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &(socklen_t){ sizeof problem });
    if (problem) /* else a read took it */
        c->problem = problem;
    const char *why = c->problem ? strerror(c->problem) : "closed by its peer";
    return c->connecting ? ERR(UNAVAILABLE, "connect: %s", why) : ERR(CLOSED, "socket: %s", why);
}

/* The socket failed. What came before it did, such as the reason of a server that does
 * not read on, is there to be read. */
static void broken(struct conn *c) {
    c->failing = true;
    if (!c->connecting && !c->paused)
        readable(c);
    if (!c->closed)
        end(c, socket_problem(c));
}

static void on_poll(uv_poll_t *handle, int status, int events) {
    struct conn *c = handle->data;
    struct worker *w = c->worker;
    worker_now(w);
    worker_take_mail(w); /* which may have closed c: then nothing below applies */
    if (c->closed)
        return;
    if (status < 0 || c->failing)
        broken(c);
    else if (c->connecting)
        connected(c);
    else if ((events & UV_WRITABLE) && c->writing)
        flush(c);
    if (!c->closed && !c->ended && !c->failing && !c->connecting && !c->paused &&
        ((events & UV_READABLE) || c->again))
        readable(c);
    worker_run_ready(w);
    ASAN_POISON_MEMORY_REGION(net_of(w)->read->p, READ_SIZE);
}

void conn_resume(struct conn *c) {
    if (c->closed || c->delivering)
        return;
    bool was = c->paused;
    c->paused = false;
    if (conn_kept(c))
        deliver(c, kept(c));
    if (!was || c->paused || c->closed || c->ended)
        return;
    c->again |= c->tls && tls_pending(c->tls);
    poll_update(c);
}

void conn_pause(struct conn *c) {
    if (c->paused || c->closed || c->ended)
        return;
    c->paused = true;
    poll_update(c);
}
