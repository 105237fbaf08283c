/* warden_wire.c - see warden_wire.h. */
#include "run/warden_wire.h"
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* The fixed part of a spawn message's body; strings follow. */
struct spawn_body {
    struct spawn_limits limits;
    uint32_t argc, env_count;
};

static bool has_nul(struct str s) {
    return s.n && memchr(s.p, 0, s.n);
}

static err_t put_text(struct buf *out, const char *what, struct str s) {
    if (has_nul(s))
        return ERR(INVALID, "%s holds a NUL byte", what);
    buf_str(out, s);
    buf_char(out, 0);
    return OK;
}

static err_t put_texts(struct buf *out, const char *what, const struct str *items, size_t n) {
    if (n > WIRE_STRINGS)
        return ERR(TOO_LARGE, "%zu %ss, at most %d are possible", n, what, WIRE_STRINGS);
    for (size_t i = 0; i < n; i++)
        TRY(put_text(out, what, items[i]));
    return OK;
}

static err_t put_body(struct buf *out, const struct spawn_request *r) {
    if (r->argc == 0 || str_empty(r->argv[0]))
        return ERR(INVALID, "no command given");
    TRY(put_text(out, "name", r->name));
    TRY(put_text(out, "working directory", r->cwd));
    TRY(put_texts(out, "argument", r->argv, r->argc));
    return put_texts(out, "environment variable", r->env, r->env_count);
}

err_t wire_put_spawn(struct buf *out, uint64_t id, const struct spawn_request *r) {
    size_t start = out->n;
    struct wire_head head = { .type = WIRE_SPAWN, .id = id };
    struct spawn_body fixed = { r->limits, (uint32_t)r->argc, (uint32_t)r->env_count };
    buf_put(out, &head, sizeof(head));
    buf_put(out, &fixed, sizeof(fixed));
    err_t e = put_body(out, r);
    if (!e && out->n - start > WIRE_MAX)
        e = ERR(TOO_LARGE, "arguments and environment are %zu bytes, at most %d are possible",
                out->n - start, WIRE_MAX);
    if (e) {
        out->n = start;
        return e;
    }
    head.size = (uint32_t)(out->n - start);
    memcpy(out->p + start, &head, sizeof(head));
    return OK;
}

/* The next NUL-terminated string of *rest, or NULL when there is none. */
static char *next_text(char **rest, const char *end) {
    char *text = *rest;
    char *nul = text < end ? memchr(text, 0, (size_t)(end - text)) : NULL;
    if (!nul)
        return NULL;
    *rest = nul + 1;
    return text;
}

static bool get_texts(char **rest, const char *end, char **out, uint32_t n) {
    if (n > WIRE_STRINGS)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!(out[i] = next_text(rest, end)))
            return false;
    out[n] = NULL;
    return true;
}

bool wire_get_spawn(struct wire_message *m, struct wire_spawn *out) {
    struct spawn_body fixed;
    size_t n = m->head.size - sizeof(m->head);
    if (m->head.type != WIRE_SPAWN || n < sizeof(fixed))
        return false;
    memcpy(&fixed, m->body, sizeof(fixed));
    char *rest = m->body + sizeof(fixed), *end = m->body + n;
    out->limits = fixed.limits;
    out->name = next_text(&rest, end);
    out->cwd = next_text(&rest, end);
    return out->name && out->cwd && fixed.argc > 0 &&
           get_texts(&rest, end, out->argv, fixed.argc) &&
           get_texts(&rest, end, out->env, fixed.env_count) && rest == end;
}

/* Room for the descriptors of one message, aligned as the kernel wants it. */
union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * WIRE_FDS)];
};

static int send_iov(int fd, struct iovec *iov, size_t parts, const int *fds, size_t fd_count) {
    union control control = { 0 };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = parts };
    if (fd_count) {
        assert(fd_count <= WIRE_FDS);
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        assert(c);
        *c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int) * fd_count),
                               .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int wire_send(int fd, const void *message, size_t n, const int *fds, size_t fd_count) {
    return send_iov(fd, &(struct iovec){ (void *)message, n }, 1, fds, fd_count);
}

int wire_say(int fd, struct wire_head head, struct str body) {
    body = str_head(body, 1024);
    head.size = (uint32_t)(sizeof(head) + body.n);
    struct iovec parts[] = { { &head, sizeof(head) }, { (void *)body.p, body.n } };
    return send_iov(fd, parts, 2, NULL, 0);
}

static void close_all(int fds[WIRE_FDS], size_t *fd_count) {
    for (size_t i = 0; i < *fd_count; i++) {
        close(fds[i]);
        fds[i] = -1;
    }
    *fd_count = 0;
}

static void take_fds(struct msghdr *m, int fds[WIRE_FDS], size_t *fd_count) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        assert(*fd_count + n <= WIRE_FDS); /* the room holds no more */
        memcpy(fds + *fd_count, CMSG_DATA(c), n * sizeof(int));
        *fd_count += n;
    }
}

int wire_receive(int fd, int flags, struct wire_message *m, int fds[WIRE_FDS], size_t *fd_count) {
    union control control;
    struct iovec iov = { m, sizeof(*m) };
    struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                        .msg_controllen = CMSG_LEN(sizeof(int) * WIRE_FDS) };
    ssize_t n;
    *fd_count = 0;
    fds[0] = fds[1] = fds[2] = -1;
    do
        n = recvmsg(fd, &h, flags | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? 0 : -errno;
    take_fds(&h, fds, fd_count);
    if (n == 0)
        return 0;
    if ((size_t)n < sizeof(m->head) || m->head.size != (size_t)n || (h.msg_flags & MSG_TRUNC)) {
        close_all(fds, fd_count);
        return -EBADMSG;
    }
    return 1;
}
