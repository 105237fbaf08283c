/* listener.c - see listener.h. libuv 1.44 has no flag for SO_REUSEPORT, so the socket is
 * made and bound here and only watched by the loop; accept4 runs until EAGAIN. */
#include "net/listener.h"
#include "base/log.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64 };
#define REST (100 * NANOS_MS) /* of a listener that can take nobody */

struct listener {
    struct worker *worker;
    uv_poll_t poll;
    int fd, reserve; /* reserve: given up for one accept when descriptors run out; -1: none left */
    struct timer rest;
    accept_fn *on_accept;
    void *arg;
};

/* ---- addresses -------------------------------------------------------------------- */

static bool split(struct str text, struct str *host, struct str *port) {
    if (str_starts(text, S("["))) {
        ptrdiff_t close_at = str_find_char(text, ']');
        if (close_at < 0 || (size_t)close_at + 1 >= text.n || text.p[close_at + 1] != ':')
            return false;
        *host = str_from(text.p + 1, (size_t)close_at - 1);
        *port = str_skip(text, (size_t)close_at + 2);
        return true;
    }
    *host = str_cut(&text, ':');
    *port = text;
    if (!text.p) { /* a port alone listens on loopback */
        *port = *host;
        *host = S("127.0.0.1");
    }
    return str_find_char(*port, ':') < 0;
}

err_t listen_parse(struct str text, struct listen_addr *out) {
    struct str host, port;
    uint64_t number = 0;
    char name[256], service[8];
    if (!split(text, &host, &port) || !str_to_u64(port, &number) || number > 65535 ||
        host.n >= sizeof name)
        return ERR(INVALID, "listen address \"%.*s\": write HOST:PORT, such as 127.0.0.1:8000",
                   STR(text));
    snprintf(name, sizeof name, "%.*s", STR(host));
    snprintf(service, sizeof service, "%u", (unsigned)number);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int problem = getaddrinfo(host.n ? name : NULL, service, &hints, &list);
    if (problem)
        return ERR(INVALID, "listen address \"%.*s\": %s", STR(text), gai_strerror(problem));
    memcpy(&out->addr, list->ai_addr, list->ai_addrlen);
    out->len = list->ai_addrlen;
    out->text = text;
    freeaddrinfo(list);
    return OK;
}

static err_t bound_socket(const struct listen_addr *addr, bool shared, int *out) {
    int fd = socket(addr->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(errno, "listening on %.*s", STR(addr->text));
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&addr->addr, addr->len) < 0) {
        int problem = errno;
        close(fd);
        if (problem == EADDRINUSE)
            return ERR(CONFLICT,
                       "%.*s is in use by another program; stop it or choose another "
                       "address with --listen",
                       STR(addr->text));
        return err_errno(problem, "listening on %.*s", STR(addr->text));
    }
    *out = fd;
    return OK;
}

err_t listen_probe(struct listen_addr *addr) {
    int fd = -1;
    TRY(bound_socket(addr, false, &fd));
    /* bind alone does not collide with a listener that has SO_REUSEADDR; listen does */
    if (listen(fd, 1) < 0) {
        close(fd);
        return ERR(CONFLICT,
                   "%.*s is in use by another program; stop it or choose another "
                   "address with --listen",
                   STR(addr->text));
    }
    getsockname(fd, (struct sockaddr *)&addr->addr, &(socklen_t){ sizeof addr->addr });
    close(fd);
    return OK;
}

struct str listen_text(const struct listen_addr *addr, char out[LISTEN_TEXT]) {
    char host[48], port[8];
    if (getnameinfo((const struct sockaddr *)&addr->addr, addr->len, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        return addr->text;
    bool v6 = addr->addr.ss_family == AF_INET6;
    return str_from(out, (size_t)snprintf(out, LISTEN_TEXT, v6 ? "[%s]:%s" : "%s:%s", host, port));
}

/* ---- accepting -------------------------------------------------------------------- */

static int reserve_fd(void) {
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_readable(uv_poll_t *handle, int status, int events);

static void on_rested(struct worker *w, struct timer *t) {
    struct listener *l = (struct listener *)((char *)t - offsetof(struct listener, rest));
    if (l->reserve < 0)
        l->reserve = reserve_fd();
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

/* Out of descriptors: lets go of one caller, so that nobody waits for an answer that will
 * not come. Where not even that is possible the loop would spin: a rest instead. */
static void shed_one(struct listener *l) {
    if (l->reserve >= 0)
        close(l->reserve);
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    l->reserve = reserve_fd();
    log_error("out of file descriptors",
              F("remedy", "raise LimitNOFILE (ulimit -n), or lower limits.connections"));
    if (l->reserve >= 0)
        return;
    uv_poll_stop(&l->poll);
    timer_set(l->worker, &l->rest, worker_now(l->worker) + REST);
}

static bool exhausted(int problem) {
    return problem == EMFILE || problem == ENFILE || problem == ENOBUFS || problem == ENOMEM;
}

/* False when the queue is empty or cannot be read now. */
static bool accept_one(struct listener *l) {
    struct sockaddr_storage peer;
    socklen_t n = sizeof peer;
    int fd = accept4(l->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && exhausted(errno)) {
        shed_one(l);
        return false;
    }
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR;
    int on = 1;
    if (peer.ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    l->on_accept(l->worker, fd, &peer, l->arg);
    return true;
}

static void on_readable(uv_poll_t *handle, int status, int events) {
    struct listener *l = handle->data;
    worker_now(l->worker);
    for (int i = 0; i < ACCEPTS_PER_TURN && accept_one(l); i++)
        ;
    worker_run_ready(l->worker);
}

err_t listener_new(struct worker *w, const struct listen_addr *addr, int backlog,
                   accept_fn *on_accept, void *arg, struct listener **out) {
    int fd = -1;
    TRY(bound_socket(addr, true, &fd));
    if (listen(fd, backlog) < 0) {
        int problem = errno;
        close(fd);
        return err_errno(problem, "listening on %.*s", STR(addr->text));
    }
    struct listener *l = NEW(struct listener);
    *l = (struct listener){
        .worker = w, .fd = fd, .reserve = reserve_fd(), .on_accept = on_accept, .arg = arg, .rest.fire = on_rested,
    };
    int problem = uv_poll_init(&w->loop, &l->poll, fd);
    if (problem) {
        close(fd);
        close(l->reserve);
        free(l);
        return err_errno(-problem, "listening on %.*s", STR(addr->text));
    }
    l->poll.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_readable);
    *out = l;
    return OK;
}

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

void listener_close(struct listener *l) {
    if (!l)
        return;
    while (accept_one(l))
        ;
    timer_unset(l->worker, &l->rest);
    uv_poll_stop(&l->poll);
    close(l->fd);
    close(l->reserve);
    uv_close((uv_handle_t *)&l->poll, on_closed);
}
