/* relay.c - see relay.h. */
#include "gateway/relay.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/call_record.h"
#include "gateway/forward.h"
#include "gateway/park.h"
#include "gateway/request_state.h"

struct relay_packet {
    struct mail mail;
    struct relay_packet *next;
    struct relay *relay; /* a reference */
    bool answer, last;
    int status, rpc_code;
    const char *outcome;
    size_t n;
    char text[];
};

struct relay {
    atomic_int refs;
    struct worker *asker, *home;
    uint64_t number;
    struct mail order, cancel; /* to home, each at most once */
    /* what the round needs there */
    struct str text, profile_name, request_id;
    struct principal who;
    struct arena arena; /* holds these */
    bool can_stream;
    /* the asker's */
    struct event news;
    struct relay_packet *first, **last;
    size_t queued;
    bool left;
    /* home's */
    struct task *task;
    struct exchange *x;
    bool cancelled, answered;
};

#define relay_of_mail(m, member) ((struct relay *)((char *)(m)-offsetof(struct relay, member)))

static struct relay *relay_ref(struct relay *r) {
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

static void relay_free(struct relay *r) {
    arena_done(&r->arena);
    free(r);
}

static void relay_unref(struct relay *r) {
    if (atomic_fetch_sub(&r->refs, 1) == 1)
        relay_free(r);
}

/* ---- home: towards the asker ------------------------------------------------------- */

static void accept_packet(struct relay *r, struct relay_packet *p) {
    bool drop = !p->answer && !p->last && r->queued + p->n > RELAY_NEWS;
    if (r->left || drop) {
        free(p);
        return;
    }
    *r->last = p;
    r->last = &p->next;
    r->queued += p->n;
    event_set(&r->news);
}

static void on_packet(struct worker *w, struct mail *m) {
    struct relay_packet *p = (struct relay_packet *)m;
    struct relay *r = p->relay;
    accept_packet(r, p);
    relay_unref(r);
    worker_run_ready(w);
}

static struct relay_packet *packet_new(const struct str *pieces, size_t n) {
    struct relay_packet *p = mem_alloc(sizeof *p + str_total(pieces, n));
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        memcpy(p->text + p->n, pieces[i].p, pieces[i].n);
        p->n += pieces[i].n;
    }
    return p;
}

/* Takes over a reference. Answers are control mail: only a worker that has stopped refuses them. */
static void packet_post(struct relay *r, struct relay_packet *p) {
    bool control = p->answer || p->last;
    p->relay = r;
    p->mail = (struct mail){ .deliver = on_packet, .bytes = control ? 0 : sizeof *p + p->n };
    if (worker_post(r->asker, &p->mail))
        return;
    relay_unref(r);
    free(p);
}

static void packet_send(struct relay *r, struct relay_packet *p) {
    packet_post(relay_ref(r), p);
}

static err_t relay_notify(struct exchange *x, const struct str *pieces, size_t n) {
    packet_send(x->face_self, packet_new(pieces, n));
    return OK;
}

static void relay_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    struct relay *r = x->face_self;
    struct relay_packet *p = packet_new(pieces, n);
    p->answer = true;
    p->status = status;
    p->rpc_code = x->rpc_code;
    p->outcome = x->outcome;
    packet_send(r, p);
}

static const struct face_ops relay_face = { .notify = relay_notify, .answer = relay_answer };

/* ---- home: the round --------------------------------------------------------------- */

static void serve(struct exchange *x, struct relay *r) {
    x->parked = parked_find(x->gw, r->number);
    if (!x->parked) {
        request_state_refuse_old(x);
        return;
    }
    x->upstream = upstream_ref(parked_call(x->parked)->upstream);
    forward_continue(x);
    upstream_unref(x->upstream);
}

/* The last packet; the round's reference goes with it. */
static void end_round(struct relay *r) {
    struct relay_packet *end = packet_new(NULL, 0);
    end->last = true;
    packet_post(r, end);
}

static void run_round(struct task *t, void *arg) {
    struct relay *r = arg;
    SCOPED(arena_scope) struct arena a;
    struct gateway_worker *gw = gateway_here(r->home);
    void *snapshot = NULL;
    arena_init(&a, NULL, 0);
    struct pin *pin = snapshot_pin(r->home, gw->gateway->snapshots, &snapshot);
    struct exchange x = {
        .face = &relay_face, .face_self = r, .gw = gw, .task = t, .arena = &a, .snapshot = snapshot,
        .who = &r->who, .profile_name = r->profile_name, .request_id = r->request_id, .era = ERA_MODERN, .revision = LATEST_MODERN,
        .can_stream = r->can_stream, .began = task_now(t), .log_level = LOG_LEVELS,
    };
    r->task = t;
    r->x = &x;
    if (!envelope_scan(r->text, (struct envelope_limits){ .depth = 1024 }, &x.in)) {
        exchange_read_method(&x);
        serve(&x, r);
    }
    r->task = NULL;
    r->x = NULL;
    snapshot_unpin(r->home, pin);
    end_round(r);
}

static void on_order(struct worker *w, struct mail *m) {
    struct relay *r = relay_of_mail(m, order);
    if (!gateway_here(w) || !task_spawn(w, run_round, r))
        end_round(r); /* the call waits on; its requestState is good still */
    worker_run_ready(w);
}

/* P-165: the client closed the stream of this round. */
static void on_cancel(struct worker *w, struct mail *m) {
    struct relay *r = relay_of_mail(m, cancel);
    if (r->task) {
        r->x->cancelled = true;
        task_cancel(r->task);
    }
    relay_unref(r);
    worker_run_ready(w);
}

/* ---- the asker --------------------------------------------------------------------- */

static struct relay *relay_new(struct exchange *x, unsigned home, uint64_t number) {
    struct relay *r = NEW(struct relay);
    arena_init(&r->arena, NULL, 0);
    atomic_init(&r->refs, 2);
    r->asker = x->gw->worker;
    r->home = workers_at(x->gw->gateway->all, home);
    r->number = number;
    r->text = arena_dup(&r->arena, x->in.text);
    r->profile_name = arena_dup(&r->arena, x->profile_name);
    r->request_id = arena_dup(&r->arena, x->request_id);
    r->who = (struct principal){ .id = arena_dup(&r->arena, x->who->id),
                                 .name = arena_dup(&r->arena, x->who->name),
                                 .tenant = arena_dup(&r->arena, x->who->tenant),
                                 .digest = x->who->digest };
    r->can_stream = x->can_stream;
    r->last = &r->first;
    return r;
}

static struct relay_packet *take_first(struct relay *r) {
    struct relay_packet *p = r->first;
    r->first = p->next;
    if (!r->first)
        r->last = &r->first;
    r->queued -= p->n;
    return p;
}

static void hand_on_answer(struct exchange *x, const struct relay_packet *p) {
    struct str text = str_from(p->text, p->n);
    x->rpc_code = p->rpc_code;
    x->outcome = p->outcome;
    call_record_answer(x, &text, 1, p->rpc_code != 0);
    answer_send(x, p->status, &text, 1);
}

static err_t hand_on(struct exchange *x, const struct relay_packet *p) {
    struct str text = str_from(p->text, p->n);
    if (!p->answer)
        return x->face->notify(x, &text, 1);
    hand_on_answer(x, p);
    return OK;
}

static err_t pass_on(struct exchange *x, struct relay *r) {
    for (;;) {
        while (!r->first)
            TRY(event_wait(x->task, &r->news));
        SCOPED(mem_scope) struct relay_packet *p = take_first(r);
        if (p->last)
            return OK;
        TRY(hand_on(x, p));
    }
}

static void leave(struct relay *r, bool cancel) {
    r->left = true;
    while (r->first)
        free(take_first(r));
    r->cancel = (struct mail){ .deliver = on_cancel };
    if (!cancel || !worker_post(r->home, &r->cancel))
        relay_unref(r);
}

void relay_run(struct exchange *x, unsigned home, uint64_t number) {
    struct relay *r = relay_new(x, home, number);
    r->order = (struct mail){ .deliver = on_order };
    if (!worker_post(r->home, &r->order)) {
        relay_free(r); /* nobody else has seen it */
        answer_failure(x, ERR(UNAVAILABLE, "the worker that holds the call has stopped"));
        return;
    }
    err_t e = pass_on(x, r);
    struct err why = e ? *e : (struct err){ 0 };
    leave(r, e != OK);
    if (x->answered)
        return;
    if (x->cancelled || (e && why.kind == ERR_CANCELLED))
        x->outcome = "cancelled";
    else
        answer_failure(x, e ? err_again(&why)
                            : ERR(UNAVAILABLE, "too much is in flight to go on with the call"));
}
