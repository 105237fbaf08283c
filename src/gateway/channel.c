/* channel.c - see channel.h. */
#include "gateway/channel.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/batch.h"
#include "gateway/era.h"
#include "gateway/forward.h"
#include "gateway/question.h"
#include "gateway/subscribe.h"
#include "net/conn.h"

struct channel_call { /* one message and what becomes of it */
    struct exchange x;
    struct channel *channel;
    struct channel_call *next, **back; /* in flight */
    struct pin *pin, *keys_pin;
    struct buf text; /* counted among the buffers, like the body of a request */
    struct arena arena;
    char storage[2048];
};

/* ---- towards the client -------------------- */

static err_t face_notify(struct exchange *x, const struct str *pieces, size_t n) {
    struct channel *ch = x->face_self;
    return x->cancelled ? OK : ch->ops->send(x->task, ch->self, pieces, n);
}

/* After a cancellation nothing more is said about its request (P-123). */
static void face_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    struct channel *ch = x->face_self;
    err_t e = x->cancelled ? OK : ch->ops->send(x->task, ch->self, pieces, n);
    if (e)
        log_debug("answer not delivered", F("error", e->text));
}

static struct push_stream *face_open_stream(struct exchange *x) {
    struct channel *ch = x->face_self;
    return x->cancelled ? NULL : stream_new(ch->gw, &ch->ops->push, ch->self);
}

static const struct face_ops channel_face = {
    .notify = face_notify, .answer = face_answer, .open_stream = face_open_stream,
};

/* ---- calls -------------------- */

static const struct principal *who_is_it(const struct channel *ch, struct pin **pin) {
    void *keys = NULL;
    *pin = NULL;
    if (ch->who)
        return ch->who;
    *pin = snapshot_pin(ch->gw->worker, ch->gw->gateway->keys, &keys);
    return keys ? key_index_find(keys, ch->who_id, ch->who_index) : NULL;
}

struct channel_call *channel_call_new(struct channel *ch, struct task *t, struct str text) {
    struct pin *keys_pin;
    const struct principal *who = who_is_it(ch, &keys_pin);
    if (!who) {
        snapshot_unpin(ch->gw->worker, keys_pin);
        return NULL;
    }
    struct channel_call *c = mem_alloc(sizeof *c);
    void *snapshot = NULL;
    arena_init(&c->arena, c->storage, sizeof c->storage);
    c->channel = ch;
    c->text = (struct buf){ 0 };
    net_buf_put(ch->gw->worker, &c->text, text);
    c->keys_pin = keys_pin;
    c->pin = snapshot_pin(ch->gw->worker, ch->gw->gateway->snapshots, &snapshot);
    c->x = (struct exchange){
        .face = &channel_face, .face_self = ch, .gw = ch->gw, .task = t, .arena = &c->arena,
        .snapshot = snapshot, .who = who, .profile_name = ch->profile,
        .in.text = buf_view(&c->text),
        .era = ERA_LEGACY, .revision = ch->opened ? ch->session.revision : REV_NONE,
        .can_stream = true, .began = ch->gw->worker->now,
    };
    return c;
}

void channel_call_free(struct channel_call *c) {
    snapshot_unpin(c->channel->gw->worker, c->pin);
    snapshot_unpin(c->channel->gw->worker, c->keys_pin);
    net_buf_done(c->channel->gw->worker, &c->text);
    arena_done(&c->arena);
    free(c);
}

static void enter(struct channel_call *c) {
    struct channel *ch = c->channel;
    c->next = ch->calls;
    c->back = &ch->calls;
    if (c->next)
        c->next->back = &c->next;
    ch->calls = c;
    ch->call_count++;
}

static void leave(struct channel_call *c) {
    struct channel *ch = c->channel;
    *c->back = c->next;
    if (c->next)
        c->next->back = c->back;
    channel_call_free(c);
    if (--ch->call_count)
        return;
    event_set(&ch->idle);
    if (ch->ending && ch->ops->over)
        ch->ops->over(ch->self);
}

static void run_batch(struct channel_call *c);

static void finish_call(struct channel_call *c) {
    if (c->x.in.kind == ENVELOPE_BATCH)
        run_batch(c);
    else
        exchange_run(&c->x);
    if (c->x.method == METHOD_SET_LEVEL)
        c->channel->session.log_level = c->x.session.log_level;
    leave(c);
}

void channel_call_run(struct channel_call *c, struct task *t) {
    c->x.task = t;
    enter(c);
    finish_call(c);
}

static void run_call(struct task *t, void *arg) {
    finish_call(arg);
}

void channel_call_start(struct channel_call *c) {
    struct task *t = task_spawn(c->channel->gw->worker, run_call, c);
    if (t) {
        c->x.task = t;
        enter(c);
        return;
    }
    answer_failure(&c->x, ERR(UNAVAILABLE, "Too many requests are in flight"));
    channel_call_free(c);
}

static void run_posted(struct task *t, void *arg) {
    struct channel_call *c = arg;
    bool goes_on = !c->channel->ending && channel_call_take(c);
    if (goes_on)
        finish_call(c);
    else
        leave(c);
}

bool channel_post(struct channel *ch, struct str text) {
    struct channel_call *c = channel_call_new(ch, NULL, text);
    if (!c)
        return false;
    c->x.task = task_spawn(ch->gw->worker, run_posted, c);
    bool ok = c->x.task != NULL;
    if (ok)
        enter(c);
    else
        channel_call_free(c);
    return ok;
}

/* ---- messages: each says whether a request goes on -------------------- */

static bool refuse(struct exchange *x, int code, const char *why) {
    answer_error(x, 0, code, (struct str){ 0 }, "%s", why);
    return false;
}

static bool room_for_one_more(struct channel_call *c) {
    if (atomic_load(&c->channel->gw->gateway->draining))
        answer_failure(&c->x, ERR(UNAVAILABLE, "The server is shutting down"));
    else if (c->channel->call_count >= (size_t)c->x.snapshot->conf->limits.in_flight)
        answer_failure(&c->x, ERR(UNAVAILABLE, "Too many requests are in flight"));
    else
        return true;
    return false;
}

static void cancel_call(struct channel_call *c) {
    c->x.cancelled = true;
    task_cancel(c->x.task);
}

/* P-036, P-123: an initialize cannot be cancelled; an unknown id is no error. */
static void take_cancelled(struct channel *ch, const struct exchange *x) {
    struct str id = x->in.params.p ? json_raw_get(x->in.params, S("requestId")) : (struct str){ 0 };
    if (!id.p)
        return;
    for (struct channel_call *c = ch->calls; c; c = c->next)
        if (&c->x != x && str_eq(c->x.in.id, id) && c->x.method != METHOD_INITIALIZE)
            cancel_call(c);
    stream_cancel(ch->gw, ch->self, id);
}

static bool take_notification(struct channel *ch, struct exchange *x) {
    if (x->method == METHOD_N_CANCELLED)
        take_cancelled(ch, x);
    if (x->method == METHOD_N_ROOTS_CHANGED && x->era == ERA_LEGACY && ch->opened) {
        x->session = ch->session;
        forward_roots_changed(x);
    }
    if (x->method == METHOD_N_INITIALIZED && x->era == ERA_LEGACY && ch->opened &&
        !ch->session.initialized) {
        ch->session.initialized = true; /* from now on it hears of changes (P-033) */
        stream_open_all(stream_new(ch->gw, &ch->ops->push, ch->self), x->snapshot, x->who,
                        ch->session.id);
    }
    return false;
}

static bool take_modern(struct channel_call *c) {
    struct exchange *x = &c->x;
    x->era = ERA_MODERN;
    x->revision = LATEST_MODERN;
    if (x->in.kind == ENVELOPE_NOTIFICATION)
        return take_notification(c->channel, x);
    return era_check_meta(x) && era_check_version(x) && room_for_one_more(c);
}

static bool take_initialize(struct channel_call *c) {
    struct channel *ch = c->channel;
    if (ch->opened)
        return refuse(&c->x, RPC_INVALID_REQUEST, "The session is initialized already");
    if (!era_negotiate(&c->x))
        return false;
    ch->opened = true;
    ch->session.asks = era_asks(&c->x);
    ch->session.revision = c->x.revision;
    ch->session.log_level = -1;
    ch->session.principal = c->x.who->digest;
    ch->session.stream_worker = -1;
    return true;
}

static bool take_legacy(struct channel_call *c) {
    struct exchange *x = &c->x;
    if (x->in.kind == ENVELOPE_NOTIFICATION)
        return take_notification(c->channel, x);
    if (x->method == METHOD_INITIALIZE && !take_initialize(c))
        return false;
    if (!c->channel->opened && x->method != METHOD_PING) /* P-034 */
        return refuse(x, RPC_INVALID_REQUEST,
                      "Initialize first, or send the _meta of revision 2026-07-28");
    if (!c->channel->opened)
        x->revision = LATEST_LEGACY;
    x->session = c->channel->session;
    return room_for_one_more(c);
}

static bool take_answer(struct channel *ch, struct exchange *x) {
    if (ch->opened)
        question_take_answer(ch->gw->gateway, &ch->session, &x->in);
    return false;
}

static void take_noted(void *self, struct exchange *x) {
    struct channel *ch = self;
    if (x->in.kind == ENVELOPE_NOTIFICATION)
        take_notification(ch, x);
    else
        take_answer(ch, x);
}

/* P-121 */
static bool take_batch(struct channel_call *c) {
    struct exchange *x = &c->x;
    x->in.id = (struct str){ 0 };
    if (!c->channel->opened || c->channel->session.revision != R03)
        return refuse(x, RPC_INVALID_REQUEST,
                      "Batches are accepted in sessions of revision 2025-03-26 alone");
    x->session = c->channel->session;
    return room_for_one_more(c);
}

static void run_batch(struct channel_call *c) {
    SCOPED(buf_done) struct buf answers = { 0 };
    err_t e = batch_run(&c->x, take_noted, c->channel, &answers);
    struct str piece = buf_view(&answers);
    if (e)
        refuse(&c->x, RPC_INVALID_REQUEST, e->text);
    else if (piece.n)
        face_answer(&c->x, 200, &piece, 1);
}

bool channel_call_take(struct channel_call *c) {
    struct exchange *x = &c->x;
    struct envelope_limits limits = { .depth = (unsigned)x->snapshot->conf->limits.json_depth };
    enum envelope_fault fault = envelope_scan(x->in.text, limits, &x->in);
    if (!snapshot_profile_for(x->snapshot, x->who, x->profile_name, &x->profile))
        return refuse(x, RPC_INVALID_REQUEST, "This profile is not there any more");
    if (fault)
        return refuse(x, envelope_fault_code(fault), envelope_fault_text(fault));
    if (x->in.kind == ENVELOPE_BATCH)
        return take_batch(c);
    if (x->in.kind == ENVELOPE_RESULT || x->in.kind == ENVELOPE_ERROR)
        return take_answer(c->channel, x);
    exchange_read_method(x);
    bool modern = era_offers_modern(x) &&
                  (x->in.protocol_version.p || x->in.version_not_string); /* P-057 */
    return modern ? take_modern(c) : take_legacy(c);
}

void channel_refuse(struct channel *ch, struct task *t, int code, const char *why) {
    struct channel_call *c = channel_call_new(ch, t, S(""));
    if (!c)
        return;
    refuse(&c->x, code, why);
    channel_call_free(c);
}

/* ---- the end -------------------- */

void channel_cancel(struct channel *ch) {
    for (struct channel_call *c = ch->calls; c; c = c->next)
        cancel_call(c);
}

void channel_end(struct channel *ch) {
    ch->ending = true;
    stream_gone(ch->gw, ch->self);
    subscribers_forget(ch->gw->gateway, ch->gw->worker, ch->session.id);
}

void channel_wait_idle(struct channel *ch, struct task *t, nanos most) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, most);
    while (ch->calls && !event_wait(t, &ch->idle))
        ;
}
