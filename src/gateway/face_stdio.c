/* face_stdio.c - see face_stdio.h. One task reads; what is no request, or is refused, it
 * answers itself, so the order of initialize and what follows it is the client's. */
#include "gateway/face_stdio.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/era.h"
#include "gateway/exchange.h"
#include "gateway/line_pipe.h"
#include "gateway/question.h"
#include "gateway/stream.h"

#define LAST_WORDS (500 * NANOS_MS)
#define WIND_UP (2 * NANOS_SEC)

struct stdio_call { /* one message and what becomes of it */
    struct exchange x;
    struct stdio_face *face;
    struct stdio_call *next, **back; /* in flight */
    struct pin *pin;
    struct arena arena;
    char storage[2048];
};

struct stdio_face {
    struct gateway_worker *gw;
    struct stdio_options options;
    struct line_pipe pipe;
    struct stdio_call *calls;
    size_t call_count;
    struct event idle;           /* the last call has ended */
    bool opened;                 /* the legacy session */
    struct session_view session; /* in no table: nobody else may use it */
};

/* ---- towards the client -------------------- */

static err_t face_notify(struct exchange *x, const struct str *pieces, size_t n) {
    struct stdio_face *f = x->face_self;
    return x->cancelled ? OK : line_write(x->task, &f->pipe, pieces, n);
}

/* After a cancellation nothing more is said about its request (P-123). */
static void face_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    struct stdio_face *f = x->face_self;
    err_t e = x->cancelled ? OK : line_write(x->task, &f->pipe, pieces, n);
    if (e)
        log_debug("answer not delivered", F("error", e->text));
}

static bool push_message(void *self, struct str text) {
    struct stdio_face *f = self;
    line_push(&f->pipe, text);
    return true; /* the reader finds a broken pipe and lets go of every stream */
}

static void push_close(void *self) {
}

static const struct push_ops stdio_push = {
    .message = push_message, .close = push_close, .says_cancelled = true,
};

static struct push_stream *face_open_stream(struct exchange *x) {
    struct stdio_face *f = x->face_self;
    return x->cancelled ? NULL : stream_new(f->gw, &stdio_push, f);
}

static const struct face_ops stdio_face_ops = {
    .notify = face_notify, .answer = face_answer, .open_stream = face_open_stream,
};

/* ---- calls -------------------- */

static struct stdio_call *call_new(struct stdio_face *f, struct task *reader, struct str line) {
    struct stdio_call *c = mem_alloc(sizeof *c);
    void *snapshot = NULL;
    arena_init(&c->arena, c->storage, sizeof c->storage);
    c->face = f;
    c->pin = snapshot_pin(f->gw->worker, f->gw->gateway->snapshots, &snapshot);
    c->x = (struct exchange){
        .face = &stdio_face_ops, .face_self = f, .gw = f->gw, .task = reader, .arena = &c->arena,
        .snapshot = snapshot, .who = f->options.who, .in.text = arena_dup(&c->arena, line),
        .era = ERA_LEGACY, .revision = f->opened ? f->session.revision : REV_NONE,
        .can_stream = true, .began = f->gw->worker->now,
    };
    return c;
}

static void call_free(struct stdio_call *c) {
    snapshot_unpin(c->face->gw->worker, c->pin);
    arena_done(&c->arena);
    free(c);
}

static void enter(struct stdio_call *c) {
    struct stdio_face *f = c->face;
    c->next = f->calls;
    c->back = &f->calls;
    if (c->next)
        c->next->back = &c->next;
    f->calls = c;
    f->call_count++;
}

static void leave(struct stdio_call *c) {
    struct stdio_face *f = c->face;
    *c->back = c->next;
    if (c->next)
        c->next->back = c->back;
    if (--f->call_count == 0)
        event_set(&f->idle);
    call_free(c);
}

static void run_call(struct task *t, void *arg) {
    struct stdio_call *c = arg;
    c->x.task = t;
    exchange_run(&c->x);
    if (c->x.method == METHOD_SET_LEVEL)
        c->face->session.log_level = c->x.session.log_level;
    leave(c);
}

/* Takes the call over. */
static void start(struct stdio_call *c) {
    struct task *t = task_spawn(c->face->gw->worker, run_call, c);
    if (t) {
        c->x.task = t;
        enter(c);
        return;
    }
    answer_failure(&c->x, ERR(UNAVAILABLE, "Too many requests are in flight"));
    call_free(c);
}

/* ---- messages: each says whether a request goes on -------------------- */

static bool refuse(struct exchange *x, int code, const char *why) {
    answer_error(x, 0, code, (struct str){ 0 }, "%s", why);
    return false;
}

static bool room_for_one_more(struct stdio_call *c) {
    if (atomic_load(&c->face->gw->gateway->draining))
        answer_failure(&c->x, ERR(UNAVAILABLE, "The server is shutting down"));
    else if (c->face->call_count >= (size_t)c->x.snapshot->conf->limits.in_flight)
        answer_failure(&c->x, ERR(UNAVAILABLE, "Too many requests are in flight"));
    else
        return true;
    return false;
}

static void cancel_call(struct stdio_call *c) {
    c->x.cancelled = true;
    task_cancel(c->x.task);
}

/* P-036, P-123: an initialize cannot be cancelled; an unknown id is no error. */
static void take_cancelled(struct stdio_face *f, const struct exchange *x) {
    struct str id = x->in.params.p ? json_raw_get(x->in.params, S("requestId")) : (struct str){ 0 };
    if (!id.p)
        return;
    for (struct stdio_call *c = f->calls; c; c = c->next)
        if (str_eq(c->x.in.id, id) && c->x.method != METHOD_INITIALIZE)
            cancel_call(c);
    stream_cancel(f->gw, f, id);
}

static bool take_notification(struct stdio_face *f, struct exchange *x) {
    if (x->method == METHOD_N_CANCELLED)
        take_cancelled(f, x);
    if (x->method == METHOD_N_INITIALIZED && x->era == ERA_LEGACY && f->opened &&
        !f->session.initialized) {
        f->session.initialized = true; /* from now on it hears of changes (P-033) */
        stream_open_all(stream_new(f->gw, &stdio_push, f), x->snapshot, x->who);
    }
    return false;
}

static bool take_modern(struct stdio_call *c) {
    struct exchange *x = &c->x;
    x->era = ERA_MODERN;
    x->revision = LATEST_MODERN;
    if (x->in.kind == ENVELOPE_NOTIFICATION)
        return take_notification(c->face, x);
    return era_check_meta(x) && era_check_version(x) && room_for_one_more(c);
}

static bool take_initialize(struct stdio_call *c) {
    struct stdio_face *f = c->face;
    if (f->opened)
        return refuse(&c->x, RPC_INVALID_REQUEST, "The session is initialized already");
    if (!era_negotiate(&c->x))
        return false;
    f->opened = true;
    f->session = (struct session_view){
        .asks = era_asks(&c->x), .revision = c->x.revision, .log_level = -1, .principal = c->x.who->digest, .stream_worker = -1,
    };
    return true;
}

static bool take_legacy(struct stdio_call *c) {
    struct exchange *x = &c->x;
    if (x->in.kind == ENVELOPE_NOTIFICATION)
        return take_notification(c->face, x);
    if (x->method == METHOD_INITIALIZE && !take_initialize(c))
        return false;
    if (!c->face->opened && x->method != METHOD_PING) /* P-034 */
        return refuse(x, RPC_INVALID_REQUEST,
                      "Initialize first, or send the _meta of revision 2026-07-28");
    if (!c->face->opened)
        x->revision = LATEST_LEGACY;
    x->session = c->face->session;
    return room_for_one_more(c);
}

static bool take_answer(struct stdio_face *f, struct exchange *x) {
    if (f->opened)
        question_take_answer(f->gw->gateway, &f->session, &x->in);
    return false;
}

static bool take_message(struct stdio_call *c) {
    struct exchange *x = &c->x;
    struct envelope_limits limits = { .depth = (unsigned)x->snapshot->conf->limits.json_depth };
    enum envelope_fault fault = envelope_scan(x->in.text, limits, &x->in);
    if (fault)
        return refuse(x, envelope_fault_code(fault), envelope_fault_text(fault));
    if (x->in.kind == ENVELOPE_BATCH)
        return refuse(x, RPC_INVALID_REQUEST, "Batches are not accepted");
    if (x->in.kind == ENVELOPE_RESULT || x->in.kind == ENVELOPE_ERROR)
        return take_answer(c->face, x);
    exchange_read_method(x);
    bool modern = era_offers_modern(x) &&
                  (x->in.protocol_version.p || x->in.version_not_string); /* P-057 */
    return modern ? take_modern(c) : take_legacy(c);
}

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
    struct stdio_call *c = call_new(f, t, line);
    if (take_message(c))
        start(c);
    else
        call_free(c);
}

static void serve_long_line(struct task *t, struct stdio_face *f, const struct err *why) {
    struct stdio_call *c = call_new(f, t, S(""));
    refuse(&c->x, RPC_INVALID_REQUEST, why->text);
    call_free(c);
}

static size_t longest_line(struct stdio_face *f) {
    const struct snapshot *s = snapshot_peek(f->gw->worker, f->gw->gateway->snapshots);
    return (size_t)s->conf->limits.body;
}

static void wait_idle(struct task *t, struct stdio_face *f, nanos most) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, most);
    while (f->calls && !event_wait(t, &f->idle))
        ;
}

/* P-124. A short while for what a script piped in just before its end; then what is left is
 * cancelled. Answers still go out, as long as somebody takes them. */
static void wind_up(struct task *t, struct stdio_face *f) {
    stream_gone(f->gw, f);
    if (!f->pipe.broken)
        wait_idle(t, f, LAST_WORDS);
    SCOPED(shield_scope) struct shield grace = task_shield(t, WIND_UP);
    for (struct stdio_call *c = f->calls; c; c = c->next)
        cancel_call(c);
    wait_idle(t, f, WIND_UP);
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
            serve_long_line(t, f, &why);
        } else {
            break;
        }
    }
    wind_up(t, f);
}

/* ---- life -------------------- */

struct stdio_face *face_stdio_open(struct gateway_worker *gw, const struct stdio_options *o) {
    struct stdio_face *f = NEW(struct stdio_face);
    f->gw = gw;
    f->options = *o;
    line_pipe_open(&f->pipe, gw->worker, o->in, o->out);
    if (!task_spawn(gw->worker, read_lines, f))
        o->on_end(o->arg);
    return f;
}

size_t face_stdio_busy(const struct stdio_face *f) {
    return f->call_count;
}

void face_stdio_close(struct stdio_face *f) {
    if (!f)
        return;
    line_pipe_close(&f->pipe);
    free(f);
}
