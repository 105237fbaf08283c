/* face_stdio.c - see face_stdio.h. One task reads; what is no request, or is refused, it
 * answers itself, so the order of initialize and what follows it is the client's. */
#include "gateway/face_stdio.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/channel.h"
#include "gateway/line_pipe.h"

#define LAST_WORDS (500 * NANOS_MS)
#define WIND_UP (2 * NANOS_SEC)

struct stdio_face {
    struct channel channel; /* of a session in no table: nobody else may use it */
    struct stdio_options options;
    struct line_pipe pipe;
};

/* ---- towards the client -------------------- */

static err_t send_line(struct task *t, void *self, const struct str *pieces, size_t n) {
    struct stdio_face *f = self;
    return line_write(t, &f->pipe, pieces, n);
}

static bool push_message(void *self, struct str text) {
    struct stdio_face *f = self;
    line_push(&f->pipe, text);
    return true; /* the reader finds a broken pipe and lets go of every stream */
}

static void push_close(void *self) {
}

static const struct channel_ops stdio_ops = {
    .send = send_line,
    .push = { .message = push_message, .close = push_close, .says_cancelled = true },
};

/* ---- the reader -------------------- */

static bool is_blank(struct str line) {
    for (size_t i = 0; i < line.n; i++)
        if (!strchr(" \t\r", line.p[i]))
            return false;
    return true;
}

static void serve_line(struct task *t, struct stdio_face *f, struct str line) {
    if (is_blank(line))
        return;
    struct channel_call *c = channel_call_new(&f->channel, t, line);
    if (channel_call_take(c))
        channel_call_start(c);
    else
        channel_call_free(c);
}

static size_t longest_line(struct stdio_face *f) {
    struct gateway_worker *gw = f->channel.gw;
    const struct snapshot *s = snapshot_peek(gw->worker, gw->gateway->snapshots);
    return (size_t)s->conf->limits.body;
}

/* P-124. A short while for what a script piped in just before its end; then what is left is
 * cancelled. Answers still go out, as long as somebody takes them. */
static void wind_up(struct task *t, struct stdio_face *f) {
    channel_end(&f->channel);
    if (!f->pipe.broken)
        channel_wait_idle(&f->channel, t, LAST_WORDS);
    SCOPED(shield_scope) struct shield grace = task_shield(t, WIND_UP);
    channel_cancel(&f->channel);
    channel_wait_idle(&f->channel, t, WIND_UP);
    err_t e = line_flush(t, &f->pipe);
    if (e)
        log_debug("output not delivered", F("error", e->text));
    f->options.on_end(f->options.arg);
}

static void read_lines(struct task *t, void *arg) {
    struct stdio_face *f = arg;
    for (;;) {
        struct str line;
        err_t e = line_read(t, &f->pipe, longest_line(f), &line);
        if (!e) {
            serve_line(t, f, line);
        } else if (e->kind == ERR_TOO_LARGE) {
            struct err why = *e;
            channel_refuse(&f->channel, t, RPC_INVALID_REQUEST, why.text);
        } else {
            break;
        }
    }
    wind_up(t, f);
}

/* ---- life -------------------- */

struct stdio_face *face_stdio_open(struct gateway_worker *gw, const struct stdio_options *o) {
    struct stdio_face *f = NEW(struct stdio_face);
    f->channel = (struct channel){
        .gw = gw, .ops = &stdio_ops, .self = f, .who = o->who, .profile = S("")
    };
    f->options = *o;
    line_pipe_open(&f->pipe, gw->worker, o->in, o->out);
    if (!task_spawn(gw->worker, read_lines, f))
        o->on_end(o->arg);
    return f;
}

size_t face_stdio_busy(const struct stdio_face *f) {
    return f->channel.call_count;
}

void face_stdio_close(struct stdio_face *f) {
    if (!f)
        return;
    line_pipe_close(&f->pipe);
    free(f);
}
