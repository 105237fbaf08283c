/* kit.c - see kit.h */
#include "kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void die(const char *format, ...) {
    int error = errno;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    va_end(args);
    if (error)
        fprintf(stderr, ": %s", strerror(error));
    fputc('\n', stderr);
    exit(1);
}

void die_with_parent(void) {
    pid_t parent = getppid();
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent)
        die("cannot follow the parent's end");
}

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t option_number(const char *name, const char *text, int64_t min, int64_t max) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < min || value > max) {
        errno = 0;
        die("--%s %s: a number from %lld to %lld is needed", name, text, (long long)min,
            (long long)max);
    }
    return value;
}

/* ---- growing buffer ---------------------------------------------------------------- */

void bytes_reserve(struct bytes *b, size_t more) {
    if (b->cap - b->n >= more)
        return;
    size_t cap = b->cap ? b->cap : 1024;
    while (cap - b->n < more)
        cap *= 2;
    b->p = realloc(b->p, cap);
    if (!b->p)
        die("no memory for %zu bytes", cap);
    b->cap = cap;
}

void bytes_put(struct bytes *b, const char *p, size_t n) {
    bytes_reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void bytes_number(struct bytes *b, uint64_t number) {
    char digits[20], *p = digits + sizeof digits;
    do
        *--p = (char)('0' + number % 10);
    while (number /= 10);
    bytes_put(b, p, (size_t)(digits + sizeof digits - p));
}

void bytes_hex(struct bytes *b, uint64_t number) {
    char digits[16], *p = digits + sizeof digits;
    do
        *--p = "0123456789abcdef"[number & 15];
    while (number >>= 4);
    bytes_put(b, p, (size_t)(digits + sizeof digits - p));
}

void bytes_drop(struct bytes *b, size_t n) {
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void bytes_free(struct bytes *b) {
    free(b->p);
    *b = (struct bytes){ 0 };
}

/* ---- sockets ----------------------------------------------------------------------- */

static int tcp_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        die("socket");
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on))
        die("setsockopt");
    return fd;
}

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int socket_listen(uint16_t port) {
    int fd = tcp_socket();
    struct sockaddr_in address = loopback(port);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listening on 127.0.0.1:%u", port);
    socket_unblock(fd);
    return fd;
}

int socket_connect(uint16_t port) {
    int fd = tcp_socket();
    struct sockaddr_in address = loopback(port);
    if (!connect(fd, (struct sockaddr *)&address, sizeof address))
        return fd;
    close(fd);
    return -1;
}

void socket_unblock(int fd) {
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
        die("fcntl");
}

/* ---- HTTP/1.1 framing -------------------------------------------------------------- */

static bool same_name(const char *p, struct span name) {
    for (size_t i = 0; i < name.n; i++)
        if ((p[i] | 0x20) != name.p[i] && p[i] != name.p[i])
            return false;
    return true;
}

static struct span trimmed(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (p < end && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct span){ p, (size_t)(end - p) };
}

struct span header(struct span head, struct span name) {
    const char *end = head.p + head.n, *line = memchr(head.p, '\n', head.n);
    while (line && ++line < end && *line != '\r') {
        const char *stop = memchr(line, '\r', (size_t)(end - line));
        if (stop && (size_t)(stop - line) > name.n && line[name.n] == ':' && same_name(line, name))
            return trimmed(line + name.n + 1, stop);
        line = stop ? stop + 1 : NULL;
    }
    return (struct span){ 0 };
}

static uint64_t decimal(struct span s) {
    uint64_t value = 0;
    for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        value = value * 10 + (uint64_t)(s.p[i] - '0');
    return value;
}

/* RFC 9112 §6.3, as far as our peers go: no body with 1xx, 204, 304; a request without length
 * has none. */
static void frame_choose(struct frame *f, struct span head) {
    struct span length = header(head, SPAN("content-length"));
    if (f->status && (f->status < 200 || f->status == 204 || f->status == 304))
        f->done = true;
    else if (length.p)
        f->left = decimal(length), f->done = f->left == 0;
    else if (header(head, SPAN("transfer-encoding")).p)
        f->framing = BY_CHUNKS;
    else if (f->status)
        f->framing = BY_CLOSE;
    else
        f->done = true;
}

/* Bytes up to and with the blank line, 0 without one. From line to line by memchr: a third of
 * what memmem costs on a head. */
static size_t head_length(const char *p, size_t n) {
    const char *end = p + n, *line = p;
    while ((line = memchr(line, '\n', (size_t)(end - line)))) {
        line++;
        if (end - line >= 2 && line[0] == '\r' && line[1] == '\n')
            return (size_t)(line + 2 - p);
    }
    return 0;
}

bool frame_head(struct frame *f, const char *p, size_t n) {
    f->head = head_length(p, n);
    if (!f->head)
        return false;
    if (n > 12 && !memcmp(p, "HTTP/1.", 7))
        f->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    frame_choose(f, (struct span){ p, f->head });
    return true;
}

enum { CHUNK_SIZE, CHUNK_REST_OF_LINE, CHUNK_DATA, CHUNK_AFTER_DATA, CHUNK_TRAILER };

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of chunk framing, data excepted. chunk_any: a size line or a trailer line has
 * content. */
static void chunk_byte(struct frame *f, char c) {
    switch (f->chunk) {
    case CHUNK_SIZE:
        if (hex_digit(c) >= 0) {
            f->left = f->left << 4 | (unsigned)hex_digit(c);
            return;
        }
        f->chunk = CHUNK_REST_OF_LINE;
        __attribute__((fallthrough)); /* the line may end right here */
    case CHUNK_REST_OF_LINE:
        if (c == '\n')
            f->chunk = f->left ? CHUNK_DATA : CHUNK_TRAILER, f->chunk_any = false;
        return;
    case CHUNK_AFTER_DATA:
        if (c == '\n')
            f->chunk = CHUNK_SIZE, f->left = 0;
        return;
    case CHUNK_TRAILER:
        if (c == '\n')
            f->done = !f->chunk_any, f->chunk_any = false;
        else if (c != '\r')
            f->chunk_any = true;
        return;
    }
}

static size_t frame_chunks(struct frame *f, const char *p, size_t n) {
    size_t i = 0;
    while (i < n && !f->done) {
        if (f->chunk != CHUNK_DATA) {
            chunk_byte(f, p[i++]);
            continue;
        }
        size_t take = f->left < n - i ? (size_t)f->left : n - i;
        i += take;
        f->left -= take;
        if (!f->left)
            f->chunk = CHUNK_AFTER_DATA;
    }
    return i;
}

size_t frame_body(struct frame *f, const char *p, size_t n) {
    if (f->done || f->framing == BY_CLOSE)
        return f->done ? 0 : n;
    if (f->framing == BY_CHUNKS)
        return frame_chunks(f, p, n);
    size_t take = f->left < n ? (size_t)f->left : n;
    f->left -= take;
    f->done = f->left == 0;
    return take;
}

size_t dechunk(char *p, size_t n) {
    size_t out = 0, i = 0;
    struct frame f = { .framing = BY_CHUNKS };
    while (i < n && !f.done) {
        if (f.chunk == CHUNK_DATA) {
            size_t take = f.left < n - i ? (size_t)f.left : n - i;
            memmove(p + out, p + i, take);
            out += take;
            i += frame_chunks(&f, p + i, take);
        } else {
            chunk_byte(&f, p[i++]);
        }
    }
    return out;
}

/* ---- a whole message --------------------------------------------------------------- */

static bool message_take(struct message *m) {
    if (!m->frame.head) {
        if (!frame_head(&m->frame, m->in.p, m->in.n))
            return false;
        m->size = m->frame.head;
    }
    m->size += frame_body(&m->frame, m->in.p + m->size, m->in.n - m->size);
    return m->frame.done;
}

enum reading message_read(struct message *m, int fd) {
    for (;;) {
        bool known = m->frame.head && m->frame.framing == BY_LENGTH;
        bytes_reserve(&m->in, known ? (size_t)m->frame.left + 1 : 8192);
        size_t room = m->in.cap - m->in.n;
        ssize_t got = recv(fd, m->in.p + m->in.n, room, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return READ_MORE;
        if (got <= 0) {
            m->frame.done = m->frame.head && m->frame.framing == BY_CLOSE;
            return m->frame.done ? READ_WHOLE : READ_CLOSED;
        }
        m->in.n += (size_t)got;
        if (message_take(m))
            return READ_WHOLE;
        if ((size_t)got < room)
            return READ_MORE;
    }
}

bool message_next(struct message *m) {
    bytes_drop(&m->in, m->size);
    m->frame = (struct frame){ 0 };
    m->size = 0;
    return m->in.n && message_take(m);
}

struct span message_body(struct message *m) {
    char *body = m->in.p + m->frame.head;
    size_t n = m->size - m->frame.head;
    return (struct span){ body, m->frame.framing == BY_CHUNKS ? dechunk(body, n) : n };
}

/* ---- JSON cursor ------------------------------------------------------------------- */

static void skip_space(struct json *j) {
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
        j->p++;
}

/* To the first byte after the string that starts here. A quote ends it unless an odd number of
 * backslashes stands before it: memchr is quicker than a loop over the bytes. */
static void skip_string(struct json *j) {
    const char *start = ++j->p;
    while (j->p < j->end) {
        const char *quote = memchr(j->p, '"', (size_t)(j->end - j->p));
        if (!quote)
            break;
        const char *b = quote;
        while (b > start && b[-1] == '\\')
            b--;
        j->p = quote + 1;
        if ((quote - b) % 2 == 0)
            return;
    }
    j->p = j->end;
}

static void skip_nested(struct json *j) {
    size_t depth = 0;
    while (j->p < j->end) {
        char c = *j->p;
        if (c == '"') {
            skip_string(j);
            continue;
        }
        j->p++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return;
    }
}

struct span json_value(struct json *j) {
    skip_space(j);
    const char *start = j->p;
    if (j->p < j->end && *j->p == '"')
        skip_string(j);
    else if (j->p < j->end && (*j->p == '{' || *j->p == '['))
        skip_nested(j);
    else
        while (j->p < j->end && !strchr(",]} \t\r\n", *j->p))
            j->p++;
    return (struct span){ start, (size_t)(j->p - start) };
}

bool json_open(struct json *j) {
    skip_space(j);
    if (j->p == j->end || (*j->p != '{' && *j->p != '['))
        return false;
    j->p++;
    return true;
}

bool json_element(struct json *j) {
    skip_space(j);
    if (j->p < j->end && *j->p == ',')
        j->p++;
    skip_space(j);
    if (j->p < j->end && *j->p != ']' && *j->p != '}')
        return true;
    j->p += j->p < j->end;
    return false;
}

bool json_member(struct json *j, struct span *out_key) {
    if (!json_element(j))
        return false;
    struct span key = json_value(j);
    if (key.n < 2)
        return false;
    skip_space(j);
    j->p += j->p < j->end; /* the colon */
    *out_key = (struct span){ key.p + 1, key.n - 2 };
    return true;
}
