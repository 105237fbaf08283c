/* stdio_call.c - see stdio_call.h. */
#include "gateway/stdio_call.h"
#include "base/log.h"
#include "base/mem.h"

struct stdio_call *stdio_call_new(struct upstream *u, struct worker *caller, uint64_t id,
                                  uint64_t share, struct stdio_out *message) {
    struct stdio_call *c = NEW(struct stdio_call);
    atomic_init(&c->refs, 1);
    c->upstream = upstream_ref(u);
    c->caller = caller;
    c->id = id;
    c->share = share;
    c->message = message;
    c->last = &c->first;
    return c;
}

struct stdio_call *stdio_call_ref(struct stdio_call *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void stdio_call_unref(struct stdio_call *c) {
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    free(c->message);
    upstream_unref(c->upstream);
    free(c);
}

/* ---- the caller's side ------------------------------------------------------------ */

static void drop_news(struct stdio_call *c) {
    for (struct stdio_packet *p; (p = c->first);) {
        c->first = p->next;
        free(p);
    }
    c->last = &c->first;
    c->queued = 0;
}

void stdio_call_end(struct stdio_call *c) {
    c->ended = true;
    drop_news(c);
    free(TAKE(c->current));
}

static struct stdio_packet *take_first(struct stdio_call *c) {
    struct stdio_packet *p = c->first;
    c->first = p->next;
    if (!c->first)
        c->last = &c->first;
    c->queued -= p->n;
    return p;
}

err_t stdio_call_next(struct task *t, struct stdio_call *c, struct envelope *out) {
    free(TAKE(c->current));
    while (!c->first)
        TRY(event_wait(t, &c->news));
    struct stdio_packet *p = c->current = take_first(c);
    if (p->failed)
        return err_new(p->kind, "%.*s", (int)p->n, p->text);
    *out = p->envelope;
    return OK;
}

static bool is_droppable(const struct stdio_packet *p) {
    return !p->failed && p->envelope.kind == ENVELOPE_NOTIFICATION;
}

static void accept_packet(struct stdio_call *c, struct stdio_packet *p) {
    if (c->ended || (is_droppable(p) && c->queued + p->n > STDIO_NEWS)) {
        free(p);
        return;
    }
    p->next = NULL;
    *c->last = p;
    c->last = &p->next;
    c->queued += p->n;
    event_set(&c->news);
}

/* ---- from the home worker --------------------------------------------------------- */

struct stdio_packet *stdio_packet_new(struct str text) {
    struct stdio_packet *p = mem_alloc(sizeof *p + text.n);
    memset(p, 0, sizeof *p);
    memcpy(p->text, text.p, text.n);
    p->n = text.n;
    return p;
}

static void on_packet(struct worker *w, struct mail *m) {
    struct stdio_packet *p = (struct stdio_packet *)m;
    struct stdio_call *c = p->call;
    accept_packet(c, p);
    stdio_call_unref(c);
}

static bool post_packet(struct stdio_call *c, struct stdio_packet *p, size_t bytes) {
    p->mail = (struct mail){ .deliver = on_packet, .bytes = bytes };
    p->call = stdio_call_ref(c);
    if (worker_post(c->caller, &p->mail))
        return true;
    atomic_fetch_sub(&c->refs, 1); /* never the last: our caller holds one */
    return false;
}

void stdio_call_give(struct stdio_call *c, struct stdio_packet *p) {
    if (c->caller == worker_here()) {
        accept_packet(c, p);
        return;
    }
    if (post_packet(c, p, p->n + sizeof *p))
        return;
    if (!is_droppable(p)) {
        static const struct err full = { ERR_UNAVAILABLE,
                                         "its answer found too much in line for one worker" };
        stdio_call_fail(c, &full);
    }
    free(p);
}

void stdio_call_fail(struct stdio_call *c, const struct err *why) {
    struct stdio_packet *p = stdio_packet_new(str_of(why->text));
    p->failed = true;
    p->kind = why->kind;
    if (c->caller == worker_here())
        accept_packet(c, p);
    else if (!post_packet(c, p, 0)) /* control mail: refused only by a worker that has stopped */
        free(p);
}
