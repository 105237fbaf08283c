/* forwarder.c - the floor: forwards framed HTTP messages over pooled connections and checks nothing.
 *
 *   bench-forwarder --port N --upstream N
 *
 * What a gateway costs that makes both TCP exchanges and does nothing else. It finds where each
 * message ends (Content-Length or chunks), so that upstream connections can be shared, and passes
 * every byte on unchanged as it comes. One thread, raw epoll, one read buffer for all
 * connections; a head that comes in pieces and bytes that the other side does not take yet are
 * all that is copied. Pipelined requests are not supported: they close the connection. */
#include "kit.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client's or an upstream's connection; `other` while a call is under way on both. */
struct conn {
    int fd;
    bool upstream, dead;
    uint32_t events; /* that epoll watches */
    struct conn *other;
    struct frame frame;  /* of the message that comes in here */
    struct bytes head;   /* of which only a part has come */
    struct bytes unsent; /* for this connection's peer */
    struct conn *next;   /* in the pool, or among the dead */
};

static struct { int64_t port, upstream; } options;

static char buffer[256 * 1024];
static int epoll;
static struct conn *pool; /* idle upstream connections, the last used first: its lines are warm */
static struct conn *dead; /* freed after the events at hand, which may still name them */

/* ---- connections ------------------------------------------------------------------- */

static struct conn *conn_new(int fd, bool upstream) {
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        die("no memory for a connection");
    *c = (struct conn){ .fd = fd, .upstream = upstream, .events = EPOLLIN };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl");
    return c;
}

static void watch(struct conn *c, uint32_t events) {
    if (c->events == events)
        return;
    struct epoll_event event = { .events = c->events = events, .data.ptr = c };
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event))
        die("epoll_ctl");
}

static void pool_remove(struct conn *c) {
    for (struct conn **at = &pool; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            return;
        }
}

static void conn_end(struct conn *c) {
    close(c->fd);
    bytes_free(&c->head);
    bytes_free(&c->unsent);
    *c = (struct conn){ .fd = -1, .dead = true, .next = dead };
    dead = c;
}

/* A call that loses one side loses the other: there is nobody to tell. */
static void conn_close(struct conn *c) {
    struct conn *other = c->other;
    if (c->upstream && !other)
        pool_remove(c);
    conn_end(c);
    if (other)
        conn_end(other);
}

static void bury(void) {
    while (dead) {
        struct conn *c = dead;
        dead = c->next;
        free(c);
    }
}

static struct conn *upstream_take(void) {
    struct conn *u = pool;
    if (u) {
        pool = u->next;
        return u;
    }
    int fd = socket_connect((uint16_t)options.upstream);
    if (fd < 0)
        return NULL;
    socket_unblock(fd);
    return conn_new(fd, true);
}

/* ---- forwarding -------------------------------------------------------------------- */

/* Sends p[0..n) to c; what does not fit waits there and nothing is read for it meanwhile. */
static bool pass_on(struct conn *c, const char *p, size_t n) {
    ssize_t sent = c->unsent.n ? 0 : send(c->fd, p, n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < 0)
        sent = 0;
    if ((size_t)sent < n) {
        bytes_put(&c->unsent, p + sent, n - (size_t)sent);
        watch(c, EPOLLOUT);
        watch(c->other, 0);
    }
    return true;
}

/* The answer has left: the upstream connection is free for anyone. */
static void finish(struct conn *u) {
    struct conn *client = u->other;
    client->other = u->other = NULL;
    u->frame = client->frame = (struct frame){ 0 };
    u->next = pool;
    pool = u;
}

/* Finds the head of the message in what has come; false while it is not complete. */
static bool take_head(struct conn *c, struct span *in) {
    if (c->head.n) {
        bytes_span(&c->head, *in);
        *in = (struct span){ c->head.p, c->head.n };
    }
    if (frame_head(&c->frame, in->p, in->n))
        return true;
    if (!c->head.n)
        bytes_span(&c->head, *in);
    return false;
}

/* Bytes of one message from c to its other side. False: close both. */
static bool forward(struct conn *c, struct span in) {
    size_t used = 0;
    if (!c->frame.head) {
        if (!take_head(c, &in))
            return true;
        used = c->frame.head;
    }
    used += frame_body(&c->frame, in.p + used, in.n - used);
    if (used < in.n)
        return false;
    if (!c->other && (c->other = upstream_take()))
        c->other->other = c;
    bool passed = c->other && pass_on(c->other, in.p, in.n);
    c->head.n = 0;
    if (passed && c->upstream && c->frame.done && !c->other->unsent.n)
        finish(c);
    return passed;
}

static void on_readable(struct conn *c) {
    bool stray = c->upstream ? !c->other : c->frame.done;
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0 || stray || !forward(c, (struct span){ buffer, (size_t)got }))
        conn_close(c);
}

static void on_writable(struct conn *c) {
    ssize_t sent = send(c->fd, c->unsent.p, c->unsent.n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return conn_close(c);
    if (sent > 0)
        bytes_drop(&c->unsent, (size_t)sent);
    if (c->unsent.n)
        return;
    struct conn *source = c->other;
    watch(c, EPOLLIN);
    watch(source, EPOLLIN);
    if (source->upstream && source->frame.done)
        finish(source);
}

static void on_event(struct conn *c, uint32_t events) {
    if (c->dead)
        return;
    if (events & (EPOLLERR | EPOLLHUP))
        conn_close(c);
    else if (events & EPOLLOUT)
        on_writable(c);
    else if (events & EPOLLIN)
        on_readable(c);
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            conn_new(fd, false);
        else if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
            return;
        else
            die("accepting a connection");
    }
}

static void run(void) {
    int listener = socket_listen((uint16_t)options.port);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct conn *self = conn_new(listener, false);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, ARRAY_SIZE(events), -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == self)
                accept_all(listener);
            else
                on_event(events[i].data.ptr, events[i].events);
        }
        bury();
    }
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        { "port", required_argument, NULL, 'p' },
        { "upstream", required_argument, NULL, 'u' },
        { 0 },
    };
    for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (o) {
        case 'p': options.port = option_number("port", optarg, 1, 65535); break;
        case 'u': options.upstream = option_number("upstream", optarg, 1, 65535); break;
        default: return 2;
        }
    }
    if (!options.port || !options.upstream)
        die("--port and --upstream are needed");
    signal(SIGPIPE, SIG_IGN);
    die_with_parent();
    run();
}
