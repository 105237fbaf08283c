/* stdio_child.c - see stdio_child.h. Pipes are polled, read and written by hand: so no more is
 * read than the limit allows, and a message mostly goes out in one write without a queue.
 *
 * A child that closes a pipe mostly ends in the same moment, and its exit status says more than
 * the closed pipe does: that is waited for a little before the pipe is named as the reason. */
#include "gateway/stdio_child.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    READ_AT_ONCE = 64 * 1024, /* what a pipe holds */
    STDERR_LINE = 4096,
    STDERR_PER_SECOND = 50,
    SAID = 200,               /* bytes of stderr in an error */
    DRAIN_READS = 64,         /* after the end: others may hold the pipe and go on writing */
};
#define DOUBT (250 * NANOS_MS)
#define KILL_GRACE NANOS_SEC

struct pipe_end { /* owned by the loop until its close callback */
    uv_poll_t poll;
    struct stdio_child *child;
    int fd;
};

struct stdio_child {
    struct upstream *upstream; /* a reference */
    struct worker *worker;
    struct stdio_child_hooks hooks;
    void *arg;
    struct child process;
    bool ended;        /* the process has */
    bool told;         /* on_lost was called, or the end was asked for */
    const char *doubt; /* why it may have ended */
    struct pipe_end *in, *out, *err;
    unsigned handles;  /* whose close callback has not run */
    struct timer timer;
    struct stdio_out *first, **last;
    size_t queued;
    struct buf lines;  /* what was read and is no whole line yet */
    size_t seen;       /* bytes of it without a line's end */
    struct stdio_flood flood;
    size_t said;
    bool cut;          /* the rest of a long line is thrown away */
    char saying[STDERR_LINE];
    char last_said[SAID + 1], telling[SAID + 1];
    metric_series children, queue;
};

#define child_of(timer_) ((struct stdio_child *)((char *)(timer_)-offsetof(struct stdio_child, timer)))

bool stdio_flood_admits(struct stdio_flood *f, nanos now, nanos period, unsigned most) {
    if (now - f->since >= period)
        *f = (struct stdio_flood){ .since = now };
    if (f->n == most) {
        f->left_out++;
        return false;
    }
    f->n++;
    return true;
}

/* ---- messages --------------------------------------------------------------------- */

static void spaces_for_breaks(char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] == '\n' || p[i] == '\r')
            p[i] = ' ';
}

struct stdio_out *stdio_out_new(const struct str *pieces, size_t n) {
    struct stdio_out *o = mem_alloc(sizeof *o + str_total(pieces, n) + 1);
    *o = (struct stdio_out){ 0 };
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n)
            memcpy(o->text + o->n, pieces[i].p, pieces[i].n);
        o->n += pieces[i].n;
    }
    spaces_for_breaks(o->text, o->n);
    o->text[o->n++] = '\n';
    return o;
}

/* ---- pipes ------------------------------------------------------------------------ */

static void free_when_gone(struct stdio_child *c) {
    if (!c->ended || c->handles)
        return;
    if (timer_is_set(&c->timer))
        timer_unset(c->worker, &c->timer);
    if (c->hooks.on_gone)
        c->hooks.on_gone(c->arg);
    metric_add(c->children, -1);
    upstream_unref(c->upstream);
    buf_done(&c->lines);
    free(c);
}

static void on_closed(uv_handle_t *handle) {
    struct pipe_end *p = handle->data;
    struct stdio_child *c = p->child;
    struct worker *w = c->worker;
    free(p);
    c->handles--;
    free_when_gone(c);
    worker_run_ready(w);
}

static void pipe_close(struct pipe_end **end) {
    struct pipe_end *p = TAKE(*end);
    if (!p)
        return;
    uv_close((uv_handle_t *)&p->poll, on_closed);
    close(p->fd);
}

static void drop_queue(struct stdio_child *c) {
    for (struct stdio_out *o; (o = c->first);) {
        c->first = o->next;
        free(o);
    }
    c->last = &c->first;
    metric_add(c->queue, -(int64_t)c->queued);
    c->queued = 0;
}

static void close_input(struct stdio_child *c) {
    pipe_close(&c->in);
    drop_queue(c);
}

void stdio_child_abandon(struct stdio_child *c) {
    c->told = true;
    close_input(c);
    pipe_close(&c->out);
    pipe_close(&c->err);
}

/* ---- the end ---------------------------------------------------------------------- */

static void lose(struct stdio_child *c, const struct err *why) {
    if (!c->told) {
        c->told = true;
        c->hooks.on_lost(c->arg, why);
    }
    stdio_child_abandon(c);
    if (!c->ended)
        warden_end(c->upstream->warden, c->process.id, KILL_GRACE);
}

static struct err __attribute__((format(printf, 2, 3)))
reason(enum err_kind kind, const char *format, ...) {
    struct err e = { .kind = kind };
    va_list args;
    va_start(args, format);
    vsnprintf(e.text, sizeof e.text, format, args);
    va_end(args);
    return e;
}

static void on_doubt(struct worker *w, struct timer *timer) {
    struct stdio_child *c = child_of(timer);
    struct err why = reason(ERR_CLOSED, "closed its %s", c->doubt);
    lose(c, &why);
    worker_run_ready(w);
}

static void doubt(struct stdio_child *c, const char *pipe) {
    if (c->told || c->doubt || c->ended)
        return;
    c->doubt = pipe;
    c->timer.fire = on_doubt;
    timer_set(c->worker, &c->timer, worker_now(c->worker) + DOUBT);
}

static void on_grace(struct worker *w, struct timer *timer) {
    struct stdio_child *c = child_of(timer);
    warden_end(c->upstream->warden, c->process.id, KILL_GRACE);
}

void stdio_child_close(struct stdio_child *c) {
    if (c->told)
        return;
    c->told = true;
    close_input(c);
    c->timer.fire = on_grace;
    if (!c->ended)
        timer_set(c->worker, &c->timer, worker_now(c->worker) + c->upstream->conf->stop_grace);
}

static const char *limit_hint(const struct upstream_conf *conf) {
    return conf->memory || conf->processes ? " (did it pass its memory or processes limit?)" : "";
}

static struct err end_reason(const struct stdio_child *c, const struct child_end *end) {
    const char *said = c->telling[0] ? c->telling : c->last_said;
    const char *colon = said[0] ? ": " : "";
    if (end->warden_lost)
        return reason(ERR_CLOSED, "ended with the process that watches over children");
    if (!end->signalled)
        return reason(ERR_CLOSED, "exited with status %d%s%s", end->code, colon, said);
    const char *name = sigabbrev_np(end->code);
    return reason(ERR_CLOSED, "was ended by signal %s%s%s%s", name ? name : "?",
                  end->code == SIGKILL ? limit_hint(c->upstream->conf) : "", colon, said);
}

/* ---- reading ---------------------------------------------------------------------- */

static bool is_too_long(struct stdio_child *c, size_t n) {
    if (n <= (size_t)c->upstream->conf->max_answer)
        return false;
    struct err why = reason(ERR_TOO_LARGE,
                            "sent a line of more than %lld bytes; max_answer is the limit",
                            (long long)c->upstream->conf->max_answer);
    lose(c, &why);
    return true;
}

static void take_line(struct stdio_child *c, struct str line) {
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n && !is_too_long(c, line.n))
        c->hooks.on_line(c->arg, line);
}

static void take_lines(struct stdio_child *c) {
    const char *p = c->lines.p;
    size_t from = 0;
    for (char *end; !c->told && (end = memchr(p + c->seen, '\n', c->lines.n - c->seen));) {
        c->seen = (size_t)(end + 1 - p);
        take_line(c, str_from(p + from, c->seen - 1 - from));
        from = c->seen;
    }
    buf_consume(&c->lines, from);
    c->seen = c->lines.n;
    if (!c->told)
        is_too_long(c, c->lines.n);
    if (!c->told && c->lines.n)
        return;
    buf_done(&c->lines); /* an idle child holds no buffer */
    c->seen = 0;
}

static void output_ended(struct stdio_child *c) {
    if (!c->told && c->lines.n)
        take_line(c, buf_view(&c->lines));
    buf_done(&c->lines);
    c->seen = 0;
    pipe_close(&c->out);
    doubt(c, "standard output");
}

/* False: no more for now. */
static bool read_output(struct stdio_child *c) {
    size_t room = (size_t)c->upstream->conf->max_answer + 2 - c->lines.n;
    if (room > READ_AT_ONCE)
        room = READ_AT_ONCE;
    buf_reserve(&c->lines, room);
    ssize_t n = read(c->out->fd, c->lines.p + c->lines.n, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (!c->lines.n)
            buf_done(&c->lines);
        return false;
    }
    if (n <= 0) {
        output_ended(c);
        return false;
    }
    if (!c->told)
        c->lines.n += (size_t)n;
    take_lines(c);
    return c->out != NULL;
}

static void on_output(uv_poll_t *poll, int status, int events) {
    struct stdio_child *c = ((struct pipe_end *)poll->data)->child;
    struct worker *w = c->worker;
    worker_now(w);
    read_output(c);
    worker_run_ready(w);
}

/* ---- stderr ----------------------------------------------------------------------- */

/* A stack trace ends with frames and versions; the line that names the error stands above. */
static bool tells(struct str line) {
    static const char *const words[] = { "rror:", "rror ",  "xception", "fatal",
                                         "panic", "annot ", "not found" };
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_find(line, str_of(words[i])) >= 0)
            return true;
    return false;
}

static void remember(char into[SAID + 1], struct str line) {
    struct str head = str_head(str_trim(line), SAID);
    memcpy(into, head.p, head.n);
    into[head.n] = '\0';
    for (size_t i = 0; i < head.n; i++)
        if ((unsigned char)into[i] < ' ' || into[i] == 0x7f)
            into[i] = ' ';
}

static void log_said(struct stdio_child *c, struct str line) {
    unsigned before = c->flood.left_out;
    if (!stdio_flood_admits(&c->flood, worker_now(c->worker), NANOS_SEC, STDERR_PER_SECOND))
        return;
    if (before && c->flood.n == 1)
        log_info("upstream stderr left out", F("upstream", c->upstream->conf->name),
                 F("lines", before));
    log_info("upstream stderr", F("upstream", c->upstream->conf->name), F("line", line));
}

static void said_line(struct stdio_child *c, struct str line) {
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (!str_trim(line).n)
        return;
    remember(c->last_said, line);
    if (tells(line))
        remember(c->telling, line);
    log_said(c, line);
}

static void take_said(struct stdio_child *c) {
    struct str rest = str_from(c->saying, c->said);
    for (char *end; (end = memchr(rest.p, '\n', rest.n));) {
        struct str line = str_from(rest.p, (size_t)(end - rest.p));
        if (!c->cut)
            said_line(c, line);
        c->cut = false;
        rest = str_skip(rest, line.n + 1);
    }
    if (rest.n == sizeof c->saying) { /* one long line: its head is enough */
        if (!c->cut)
            said_line(c, rest);
        c->cut = true;
        rest.n = 0;
    }
    memmove(c->saying, rest.p, rest.n);
    c->said = rest.n;
}

static bool read_errors(struct stdio_child *c) {
    ssize_t n = read(c->err->fd, c->saying + c->said, sizeof c->saying - c->said);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        if (c->said && !c->cut)
            said_line(c, str_from(c->saying, c->said));
        c->said = 0;
        pipe_close(&c->err);
        return false;
    }
    c->said += (size_t)n;
    take_said(c);
    return true;
}

static void on_errors(uv_poll_t *poll, int status, int events) {
    struct stdio_child *c = ((struct pipe_end *)poll->data)->child;
    worker_now(c->worker);
    read_errors(c);
}

/* What it said before it ended: an answer, perhaps, and the reason. */
static void drain(struct stdio_child *c) {
    for (int i = 0; i < DRAIN_READS && c->out && !c->told && read_output(c); i++)
        ;
    if (c->out && !c->told)
        output_ended(c);
    for (int i = 0; i < DRAIN_READS && c->err && read_errors(c); i++)
        ;
}

static void on_end(struct worker *w, const struct child_end *end, void *arg) {
    struct stdio_child *c = arg;
    c->ended = true;
    if (timer_is_set(&c->timer))
        timer_unset(w, &c->timer);
    drain(c);
    struct err why = end_reason(c, end);
    log_info("child ended", F("name", c->upstream->conf->name), F("pid", c->process.pid),
             F("how", why.text));
    lose(c, &why);
    free_when_gone(c);
}

/* ---- writing ---------------------------------------------------------------------- */

static void on_input(uv_poll_t *poll, int status, int events);

static void wait_writable(struct stdio_child *c, bool wait) {
    if (wait)
        uv_poll_start(&c->in->poll, UV_WRITABLE, on_input);
    else
        uv_poll_stop(&c->in->poll);
}

/* OK: all is written. */
enum written { WROTE_ALL, WROTE_SOME, WRITE_BROKEN };
static enum written write_out(int fd, struct stdio_out *o) {
    while (o->at < o->n) {
        ssize_t n = write(fd, o->text + o->at, o->n - o->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? WROTE_SOME : WRITE_BROKEN;
        o->at += (size_t)n;
    }
    return WROTE_ALL;
}

static void input_broken(struct stdio_child *c) {
    close_input(c);
    doubt(c, "standard input");
}

static void on_input(uv_poll_t *poll, int status, int events) {
    struct stdio_child *c = ((struct pipe_end *)poll->data)->child;
    worker_now(c->worker);
    enum written how = WROTE_ALL;
    for (struct stdio_out *o; (o = c->first) && (how = write_out(c->in->fd, o)) == WROTE_ALL;) {
        c->first = o->next;
        if (!c->first)
            c->last = &c->first;
        c->queued -= o->n;
        metric_add(c->queue, -(int64_t)o->n);
        free(o);
    }
    if (how == WRITE_BROKEN)
        input_broken(c);
    else if (!c->first)
        wait_writable(c, false);
}

static void enqueue(struct stdio_child *c, struct stdio_out *o) {
    o->next = NULL;
    *c->last = o;
    c->last = &o->next;
    c->queued += o->n;
    metric_add(c->queue, (int64_t)o->n);
}

bool stdio_child_write(struct stdio_child *c, struct stdio_out *o) {
    if (c->queued && c->queued + o->n > STDIO_QUEUE)
        return false;
    enum written how = !c->in ? WROTE_ALL : c->first ? WROTE_SOME : write_out(c->in->fd, o);
    if (how == WROTE_SOME) {
        enqueue(c, o);
        if (c->first == o)
            wait_writable(c, true);
        return true;
    }
    free(o); /* written, or its end is near and whoever waits will be told */
    if (how == WRITE_BROKEN)
        input_broken(c);
    return true;
}

/* ---- starting --------------------------------------------------------------------- */

struct environment {
    struct arena *arena;
    struct str *items; /* "NAME=value" */
    size_t n;
};

static void set_variable(struct environment *e, struct str name, struct str value) {
    struct str item = arena_fmt(e->arena, "%.*s=%.*s", STR(name), STR(value));
    for (size_t i = 0; i < e->n; i++)
        if (str_starts(e->items[i], str_head(item, name.n + 1))) {
            e->items[i] = item;
            return;
        }
    e->items[e->n++] = item;
}

static void inherit(struct environment *e, struct str name) {
    const char *value = getenv(arena_text(e->arena, name));
    if (value)
        set_variable(e, name, str_of(value));
}

/* Ours is not theirs: it holds secrets (P-126). Only what programs need to run at all. */
static struct environment environment_of(const struct upstream_conf *conf, struct arena *a) {
    static const char *const always[] = {
        "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"
    };
    size_t most = ARRAY_SIZE(always) + conf->inherit_env.n + conf->env.n;
    struct environment e = { .arena = a, .items = ARENA_ARRAY(a, struct str, most) };
    set_variable(&e, S("PATH"), S("/usr/local/bin:/usr/bin:/bin"));
    for (size_t i = 0; i < ARRAY_SIZE(always); i++)
        inherit(&e, str_of(always[i]));
    for (size_t i = 0; i < conf->inherit_env.n; i++)
        inherit(&e, conf->inherit_env.items[i]);
    for (size_t i = 0; i < conf->env.n; i++)
        set_variable(&e, conf->env.items[i].name, conf->env.items[i].value);
    return e;
}

static err_t spawn(struct task *t, struct stdio_child *c) {
    struct upstream *u = c->upstream;
    const struct upstream_conf *conf = u->conf;
    if (!u->warden)
        return ERR(UNAVAILABLE, "child processes cannot be started here");
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct environment env = environment_of(conf, &a);
    struct str *argv = ARENA_ARRAY(&a, struct str, conf->args.n + 1);
    argv[0] = conf->command;
    for (size_t i = 0; i < conf->args.n; i++)
        argv[i + 1] = conf->args.items[i];
    struct spawn_request r = {
        .name = conf->name, .argv = argv, .argc = conf->args.n + 1, .env = env.items, .env_count = env.n,
        .cwd = conf->cwd.n ? conf->cwd : u->data_dir,
        .limits = { .memory = conf->memory, .processes = conf->processes },
    };
    return warden_spawn(t, u->warden, &r, on_end, c, &c->process);
}

static struct pipe_end *pipe_open(struct stdio_child *c, int fd, int *code) {
    struct pipe_end *p = NEW(struct pipe_end);
    if (!*code)
        *code = uv_poll_init(&c->worker->loop, &p->poll, fd);
    if (*code) {
        close(fd);
        free(p);
        return NULL;
    }
    p->poll.data = p;
    p->child = c;
    p->fd = fd;
    c->handles++;
    return p;
}

static err_t open_pipes(struct stdio_child *c) {
    int code = 0;
    c->in = pipe_open(c, c->process.in, &code);
    c->out = pipe_open(c, c->process.out, &code);
    c->err = pipe_open(c, c->process.err, &code);
    if (code)
        return ERR(UNAVAILABLE, "watching its pipes: %s", uv_strerror(code));
    uv_poll_start(&c->out->poll, UV_READABLE, on_output);
    uv_poll_start(&c->err->poll, UV_READABLE, on_errors);
    return OK;
}

static void find_series(struct stdio_child *c) {
    c->children = METRIC_SERIES(&metric_stdio_children, c->upstream->conf->name);
    c->queue = METRIC_SERIES(&metric_stdio_queued, c->upstream->conf->name);
    metric_add(c->children, 1);
    metric_add(METRIC_SERIES(&metric_stdio_starts, c->upstream->conf->name), 1);
}

err_t stdio_child_start(struct task *t, struct upstream *u, const struct stdio_child_hooks *hooks,
                        void *arg, struct stdio_child **out) {
    struct stdio_child *c = NEW(struct stdio_child);
    c->upstream = u;
    c->worker = task_worker(t);
    c->last = &c->first;
    err_t e = spawn(t, c);
    if (e) {
        free(c);
        return e;
    }
    upstream_ref(u);
    find_series(c);
    e = open_pipes(c);
    if (e) {
        struct err why = *e;
        c->told = true; /* nobody is told: it frees itself */
        lose(c, &why);
        return err_again(&why);
    }
    c->hooks = *hooks;
    c->arg = arg;
    *out = c;
    return OK;
}
