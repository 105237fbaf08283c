/* line_pipe.c - see line_pipe.h. libuv's streams were not taken: they refuse files, and a
 * poll armed only while somebody waits holds back a sender by itself. */
#include "gateway/line_pipe.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, ROOM = 1024 * 1024, MAX_PUSHED = 256 * 1024, KEEP = 1024 * 1024 };

/* ---- life -------------------- */

/* NULL where the kernel has nothing to poll: then it is always ready. */
static uv_poll_t *poll_of(struct line_pipe *p, int fd) {
    uv_poll_t *poll = NEW(uv_poll_t);
    if (uv_poll_init(&p->worker->loop, poll, fd)) {
        free(poll);
        return NULL;
    }
    poll->data = p;
    return poll;
}

void line_pipe_open(struct line_pipe *p, struct worker *w, int in, int out) {
    *p = (struct line_pipe){ .worker = w, .in = in, .out = out };
    p->in_flags = fcntl(in, F_GETFL);
    p->out_flags = fcntl(out, F_GETFL);
    p->in_poll = poll_of(p, in);
    p->out_poll = poll_of(p, out);
    p->writers = (struct gate){ .limit = 1, .max_waiting = 1000000 };
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

static void close_poll(uv_poll_t *poll, int fd, int flags) {
    if (poll)
        uv_close((uv_handle_t *)poll, on_closed);
    if (poll && flags >= 0)
        fcntl(fd, F_SETFL, flags); /* libuv made it non-blocking */
}

void line_pipe_close(struct line_pipe *p) {
    close_poll(TAKE(p->in_poll), p->in, p->in_flags);
    close_poll(TAKE(p->out_poll), p->out, p->out_flags);
    buf_done(&p->got);
    buf_done(&p->left);
}

/* ---- reading -------------------- */

static void on_readable(uv_poll_t *poll, int status, int events) {
    struct line_pipe *p = poll->data;
    uv_poll_stop(poll);
    worker_now(p->worker);
    event_set(&p->readable);
    worker_run_ready(p->worker);
}

/* What was taken goes; a long line's memory too. */
static void make_space(struct line_pipe *p) {
    if (p->from)
        buf_consume(&p->got, p->from);
    p->from = 0;
    if (!p->got.n && p->got.cap > KEEP)
        buf_done(&p->got);
    buf_reserve(&p->got, CHUNK);
}

static err_t wait_readable(struct task *t, struct line_pipe *p) {
    uv_poll_start(p->in_poll, UV_READABLE, on_readable);
    return event_wait(t, &p->readable);
}

/* Some more bytes, or the end. Others run first, so that what was read is worked on before
 * its sender's end of input is seen. */
static err_t fill(struct task *t, struct line_pipe *p) {
    make_space(p);
    TRY(task_yield(t));
    while (!p->broken) {
        ssize_t n = read(p->in, p->got.p + p->got.n, CHUNK);
        if (n > 0) {
            p->got.n += (size_t)n;
            return OK;
        }
        if (n == 0)
            break;
        if (errno == EAGAIN && p->in_poll)
            TRY(wait_readable(t, p));
        else if (errno != EINTR)
            break;
    }
    p->ended = true;
    return OK;
}

static bool refuse_long(struct line_pipe *p, size_t limit, err_t *out_err) {
    *out_err = ERR(TOO_LARGE, "A message is longer than %zu bytes", limit);
    return true;
}

/* No line end in sight. */
static bool take_rest(struct line_pipe *p, struct str rest, size_t limit, struct str *out,
                      err_t *out_err) {
    bool first = !p->skipping;
    p->scanned = rest.n;
    if (rest.n > limit || p->skipping) {
        buf_clear(&p->got);
        p->from = p->scanned = 0;
        p->skipping = true;
        return first && refuse_long(p, limit, out_err);
    }
    if (!p->ended || !rest.n)
        return false;
    p->from = p->got.n;
    p->scanned = 0;
    *out = rest;
    return true;
}

/* True: a line was taken, or refused. */
static bool take_line(struct line_pipe *p, size_t limit, struct str *out, err_t *out_err) {
    for (;;) {
        struct str rest = str_skip(buf_view(&p->got), p->from);
        struct str fresh = str_skip(rest, p->scanned);
        const char *end = fresh.n ? memchr(fresh.p, '\n', fresh.n) : NULL;
        if (!end)
            return take_rest(p, rest, limit, out, out_err);
        size_t n = (size_t)(end - rest.p);
        p->from += n + 1;
        p->scanned = 0;
        if (p->skipping) {
            p->skipping = false;
            continue;
        }
        *out = str_from(rest.p, n);
        return n <= limit || refuse_long(p, limit, out_err);
    }
}

err_t line_read(struct task *t, struct line_pipe *p, size_t limit, struct str *out) {
    err_t e = OK;
    while (!take_line(p, limit, out, &e)) {
        if (p->ended)
            return ERR(CLOSED, "end of input");
        TRY(fill(t, p));
    }
    return e;
}

/* ---- writing -------------------- */

static size_t unsent(const struct line_pipe *p) {
    return p->left.n - p->sent;
}

static void break_pipe(struct line_pipe *p) {
    p->broken = true;
    buf_clear(&p->left);
    p->sent = 0;
    event_set(&p->room);
    event_set(&p->readable);
}

static void on_writable(uv_poll_t *poll, int status, int events);

static void wait_writable(struct line_pipe *p) {
    uv_poll_start(p->out_poll, UV_WRITABLE, on_writable);
}

static void all_sent(struct line_pipe *p) {
    buf_clear(&p->left);
    if (p->left.cap > KEEP)
        buf_done(&p->left);
    p->sent = p->pushed = 0;
    if (p->out_poll)
        uv_poll_stop(p->out_poll);
}

/* Writes what the descriptor takes now. */
static void send_some(struct line_pipe *p) {
    while (unsent(p)) {
        ssize_t n = write(p->out, p->left.p + p->sent, unsent(p));
        if (n >= 0) {
            p->sent += (size_t)n;
        } else if (errno == EAGAIN && p->out_poll) {
            wait_writable(p);
            break;
        } else if (errno != EINTR) {
            break_pipe(p);
            return;
        }
    }
    if (!unsent(p))
        all_sent(p);
    if (unsent(p) <= ROOM)
        event_set(&p->room);
}

static void on_writable(uv_poll_t *poll, int status, int events) {
    struct line_pipe *p = poll->data;
    worker_now(p->worker);
    send_some(p);
    worker_run_ready(p->worker);
}

static void blank(char *text, size_t n, char what) {
    for (char *at; (at = memchr(text, what, n)); n -= (size_t)(at + 1 - text), text = at + 1)
        *at = ' ';
}

static void append(struct line_pipe *p, const struct str *pieces, size_t n) {
    size_t from = p->left.n;
    for (size_t i = 0; i < n; i++)
        buf_str(&p->left, pieces[i]);
    buf_char(&p->left, '\n');
    blank(p->left.p + from, p->left.n - from - 1, '\n');
    blank(p->left.p + from, p->left.n - from - 1, '\r');
    send_some(p);
}

static err_t wait_for_room(struct task *t, struct line_pipe *p, size_t most) {
    while (!p->broken && unsent(p) > most)
        TRY(event_wait(t, &p->room));
    return p->broken ? ERR(CLOSED, "nobody reads the output any more") : OK;
}

err_t line_write(struct task *t, struct line_pipe *p, const struct str *pieces, size_t n) {
    TRY(gate_enter(t, &p->writers));
    err_t e = wait_for_room(t, p, ROOM);
    if (!e)
        append(p, pieces, n);
    gate_leave(&p->writers);
    return e;
}

void line_push(struct line_pipe *p, struct str text) {
    if (p->broken)
        return;
    append(p, &text, 1);
    if (unsent(p))
        p->pushed += text.n + 1;
    if (p->pushed > MAX_PUSHED)
        break_pipe(p);
}

err_t line_flush(struct task *t, struct line_pipe *p) {
    TRY(gate_enter(t, &p->writers));
    err_t e = wait_for_room(t, p, 0);
    gate_leave(&p->writers);
    return e;
}
