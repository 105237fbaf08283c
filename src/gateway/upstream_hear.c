/* upstream_hear.c - see upstream_hear.h. */
#include "gateway/upstream_hear.h"
#include "base/log.h"
#include "base/mem.h"
#include "mcp/question.h"

enum {
    HEARD_MAX = 1024 * 1024, /* bytes that wait for one call; more log messages are dropped, */
    QUESTIONS_MAX = 1000,    /* and more questions refused; limits.questions is lower */
    REOPENINGS = 5,          /* failures in a row until a stream is given up */
};
#define OPEN_PATIENCE (1 * NANOS_SEC)  /* a call waits for the stream: some servers send no head */
#define HEAD_PATIENCE (30 * NANOS_SEC) /* before there is something to say */
#define LINGER (30 * NANOS_SEC)
#define LATE (2 * NANOS_SEC) /* log messages may come that long after their call */

struct said { /* one message for one call */
    struct mail mail;
    struct said *next;
    struct http_flight *flight; /* a reference */
    struct envelope envelope;   /* of text */
    size_t n;
    char text[];
};

struct http_flight {
    atomic_int refs;
    atomic_uint questions; /* given and not answered */
    struct upstream *upstream;
    struct worker *worker;
    uint64_t id, caller, owner, share; /* owner: whose key; caller: which legacy client */
    unsigned asks;
    bool logs;
    struct hearing *hearing;
    uint64_t turn;                    /* when it was last spoken to; under the lock */
    struct http_flight *next, **back; /* of the hearing, under the lock */
    /* the call's worker */
    struct upstream_call *call; /* NULL: ended */
    struct said *first, **last, *current;
    struct said *given; /* questions that the client has not answered */
    size_t queued;
    struct str session; /* in text */
    char text[UPSTREAM_SESSION];
};

struct hearing { /* one session; lives while it has calls or a reader */
    struct hearings *all;
    uint64_t share;
    struct http_flight *flights, **last;
    bool open;           /* the stream is */
    bool tried;          /* home worker: it did not open at once, so nobody waits for it again */
    nanos quiet;         /* when the last call left, */
    uint64_t left;       /* whose that was */
    uint64_t turns;
    struct task *reader; /* home worker */
    struct buf session;  /* that it reads */
};

struct hearings {
    struct upstream *upstream;
    pthread_mutex_t lock;   /* the table, flights, `open`, `quiet`, `session` */
    struct idmap by_share;
    atomic_bool used, deaf; /* a call wanted it; the server offers no such streams */
    unsigned readers;       /* home worker */
};

struct hearings *hearings_new(struct upstream *u) {
    struct hearings *all = NEW(struct hearings);
    all->upstream = u;
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void hearings_free(struct hearings *all) {
    if (!all)
        return;
    idmap_done(&all->by_share);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

void hearings_anew(struct hearings *all) {
    atomic_store(&all->deaf, false);
}

/* ---- flights ----------------------------------------------------------------------- */

static void flight_unref(struct http_flight *f) {
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    upstream_unref(f->upstream);
    free(f);
}

/* Under the lock. */
static void drop_unused(struct hearing *h) {
    if (h->flights || h->reader)
        return;
    idmap_del(&h->all->by_share, h->share);
    buf_done(&h->session);
    free(h);
}

static struct hearing *hearing_of(struct hearings *all, uint64_t share) {
    struct hearing *h = idmap_get(&all->by_share, share);
    if (h)
        return h;
    h = NEW(struct hearing);
    *h = (struct hearing){ .all = all, .share = share };
    h->last = &h->flights;
    idmap_put(&all->by_share, share, h);
    return h;
}

static struct http_flight *flight_new(struct upstream_call *c) {
    const struct upstream_request *r = c->request;
    struct http_flight *f = NEW(struct http_flight);
    atomic_init(&f->refs, 1);
    f->upstream = upstream_ref(c->upstream);
    f->worker = c->worker;
    f->id = r->id;
    f->caller = r->caller;
    f->owner = hash_str(r->principal);
    f->share = r->share;
    f->asks = r->asks;
    f->logs = r->wants_logs;
    f->call = c;
    f->last = &f->first;
    return f;
}

static void flight_enter(struct hearings *all, struct http_flight *f) {
    pthread_mutex_lock(&all->lock);
    struct hearing *h = f->hearing = hearing_of(all, f->share);
    f->turn = ++h->turns;
    f->back = h->last;
    *h->last = f;
    h->last = &f->next;
    pthread_mutex_unlock(&all->lock);
}

static void flight_leave(struct hearings *all, struct http_flight *f) {
    pthread_mutex_lock(&all->lock);
    struct hearing *h = f->hearing;
    *f->back = f->next;
    if (f->next)
        f->next->back = f->back;
    else
        h->last = f->back;
    h->quiet = f->worker->now;
    h->left = f->owner;
    drop_unused(h);
    pthread_mutex_unlock(&all->lock);
}

/* ---- refusing ---------------------------------------------------------------------- */

static void refuse(struct worker *w, struct upstream *u, struct str session,
                   const struct envelope *m, struct str member) {
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,", STR(m->id));
    buf_str(&text, member);
    buf_char(&text, '}');
    http_tell(w, u, session, buf_view(&text));
}

static void refuse_because(struct worker *w, struct upstream *u, struct str session,
                           const struct envelope *m, const char *why) {
    SCOPED(buf_done) struct buf member = { 0 };
    log_info("question refused", F("upstream", u->conf->name), F("method", m->method),
             F("reason", why));
    buf_fmt(&member, "\"error\":{\"code\":-32601,\"message\":\"%s\"}", why);
    refuse(w, u, session, m, buf_view(&member));
}

/* ---- the call's side --------------------------------------------------------------- */

static void said_drop(struct http_flight *f, struct said *s, bool tell) {
    if (tell && s->envelope.kind == ENVELOPE_REQUEST)
        refuse_because(f->worker, f->upstream, f->session, &s->envelope,
                       "the call that was in flight has ended");
    free(s);
}

static void accept_said(struct http_flight *f, struct said *s) {
    bool full = f->queued + s->n > HEARD_MAX;
    if (!f->call || full) {
        said_drop(f, s, true);
        return;
    }
    s->next = NULL;
    *f->last = s;
    f->last = &s->next;
    f->queued += s->n;
    http_reply_wake(&f->call->reply);
}

static void on_said(struct worker *w, struct mail *m) {
    struct said *s = (struct said *)m;
    struct http_flight *f = s->flight;
    accept_said(f, s);
    flight_unref(f);
    worker_run_ready(w);
}

bool hear_next(struct upstream_call *c, struct envelope *out) {
    struct http_flight *f = c->flight;
    c->reply.woken = false;
    free(TAKE(f->current));
    struct said *s = f->first;
    if (!s)
        return false;
    f->first = s->next;
    if (!f->first)
        f->last = &f->first;
    f->queued -= s->n;
    *out = s->envelope;
    if (out->kind == ENVELOPE_REQUEST) {
        s->next = f->given;
        f->given = s;
    } else {
        f->current = s;
    }
    return true;
}

void hear_answered(struct hearings *all, struct upstream_call *c, struct str message) {
    struct http_flight *f = c->flight;
    struct str id = f ? json_raw_get(message, S("id")) : (struct str){ 0 };
    struct said **at = f ? &f->given : NULL;
    while (at && *at && !str_eq((*at)->envelope.id, id))
        at = &(*at)->next;
    if (!at || !*at)
        return;
    struct said *s = *at;
    *at = s->next;
    free(s);
    atomic_fetch_sub(&f->questions, 1);
    pthread_mutex_lock(&all->lock);
    f->turn = ++f->hearing->turns;
    pthread_mutex_unlock(&all->lock);
}

/* ---- the home worker: who is meant ------------------------------------------------- */

static struct said *said_new(struct str text) {
    struct said *s = mem_alloc(sizeof *s + text.n);
    memset(s, 0, sizeof *s);
    memcpy(s->text, text.p, text.n);
    s->n = text.n;
    return s;
}

static void give(struct http_flight *f, struct said *s) {
    if (f->worker == worker_here()) {
        accept_said(f, s);
        flight_unref(f);
        return;
    }
    s->flight = f;
    s->mail = (struct mail){ .deliver = on_said, .bytes = sizeof *s + s->n };
    if (worker_post(f->worker, &s->mail))
        return;
    free(s);
    flight_unref(f);
}

/* Of one legacy client, to whom it is the same which of its calls is meant. */
static bool same_client(const struct http_flight *a, const struct http_flight *b) {
    return a->caller && a->caller == b->caller;
}

/* Servers work on what they are sent in its order (see stdio_link.c). */
static bool asks_sooner(const struct http_flight *a, const struct http_flight *b) {
    unsigned open_a = atomic_load(&a->questions), open_b = atomic_load(&b->questions);
    return !open_a != !open_b ? !open_a : a->turn < b->turn;
}

/* The one who can be asked; *several: there are some, and no telling. */
static struct http_flight *asked(const struct hearing *h, unsigned needs, bool *several) {
    struct http_flight *found = NULL;
    *several = false;
    for (struct http_flight *f = h->flights; f; f = f->next) {
        if (needs & ~f->asks)
            continue;
        if (found && !same_client(found, f)) {
            *several = true;
            return NULL;
        }
        if (!found || asks_sooner(f, found))
            found = f;
    }
    return found;
}

/* A log message says nothing of its call at all: all in flight must be of one client, and it may
 * not be a late one of a stranger (P-443). */
static struct http_flight *logged(const struct hearing *h, nanos now) {
    struct http_flight *first = h->flights;
    if (first && h->left && h->left != first->owner && now - h->quiet < LATE)
        return NULL;
    for (struct http_flight *f = first; f; f = f->next)
        if (f != first && !same_client(first, f))
            return NULL;
    return first && first->logs ? first : NULL;
}

static struct http_flight *by_token(const struct hearing *h, struct str raw) {
    uint64_t id = 0;
    if (!raw.p || !str_to_u64(raw, &id))
        return NULL;
    struct http_flight *f = h->flights;
    while (f && f->id != id)
        f = f->next;
    return f;
}

static struct http_flight *held(struct http_flight *f) {
    if (f)
        atomic_fetch_add(&f->refs, 1);
    return f;
}

/* A reference; NULL: nobody, and *why, or NULL where the client offers it not (*asks). */
static struct http_flight *find_asked(struct hearings *all, uint64_t share, unsigned needs,
                                      const char **why, unsigned *asks) {
    bool several = false;
    pthread_mutex_lock(&all->lock);
    const struct hearing *h = idmap_get(&all->by_share, share);
    struct http_flight *f = h ? asked(h, needs, &several) : NULL;
    *asks = h && h->flights ? h->flights->asks : 0; /* the same of all: share is a class */
    if (f && atomic_load(&f->questions) < QUESTIONS_MAX)
        atomic_fetch_add(&held(f)->questions, 1);
    else
        f = NULL;
    pthread_mutex_unlock(&all->lock);
    *why = several ? "several calls are in flight on this session and nothing says which of them "
                     "asks: ask on the stream of the call"
           : *asks ? NULL
                   : "no call is in flight whose client can be asked";
    return f;
}

static void take_question(struct worker *w, struct hearings *all, uint64_t share,
                          struct str session, struct said *s) {
    const struct envelope *m = &s->envelope;
    struct upstream *u = all->upstream;
    unsigned needs = question_needs(method_parse(m->method), m->params);
    upstream_asked(u, method_parse(m->method));
    const char *why = NULL;
    unsigned asks = 0;
    struct http_flight *f = needs ? find_asked(all, share, needs, &why, &asks) : NULL;
    if (f) {
        give(f, s);
        return;
    }
    if (why) {
        refuse_because(w, u, session, m, why);
    } else {
        SCOPED(buf_done) struct buf text = { 0 };
        refuse(w, u, session, m, question_refusal(&text, m, asks));
    }
    free(s);
}

/* What was put down to a call that is over may be of another one of its client: it is asked anew.
 * Not when the call was given up: then it was probably its own. */
static void pass_over(struct hearings *all, struct upstream_call *c, struct http_flight *f,
                      struct said *s) {
    bool stopped = c->let_go && c->answered; /* the worker takes no tasks any more */
    if (s->envelope.kind != ENVELOPE_REQUEST || stopped || !c->answered)
        said_drop(f, s, !stopped);
    else
        take_question(f->worker, all, f->share, f->session, s);
}

static void pass_over_all(struct hearings *all, struct upstream_call *c, struct http_flight *f,
                          struct said *list) {
    for (struct said *s = list, *next; s; s = next) {
        next = s->next;
        pass_over(all, c, f, s);
    }
}

void hear_end(struct hearings *all, struct upstream_call *c) {
    struct http_flight *f = TAKE(c->flight);
    if (!f)
        return;
    flight_leave(all, f);
    f->call = NULL;
    free(TAKE(f->current));
    pass_over_all(all, c, f, TAKE(f->given));
    pass_over_all(all, c, f, TAKE(f->first));
    flight_unref(f);
}

static void take_notification(struct hearing *h, struct said *s) {
    const struct envelope *m = &s->envelope;
    enum method method = method_parse(m->method);
    struct http_flight *f = NULL;
    if (method == METHOD_N_TASK_STATUS) {
        upstream_task_told(h->all->upstream, h->share, m->params);
        free(s);
        return;
    }
    pthread_mutex_lock(&h->all->lock);
    if (method == METHOD_N_MESSAGE)
        f = held(logged(h, worker_now(worker_here())));
    else if (method == METHOD_N_PROGRESS)
        f = held(by_token(h, json_raw_get(m->params, S("progressToken"))));
    pthread_mutex_unlock(&h->all->lock);
    if (f)
        give(f, s);
    else
        free(s);
}

static void take_message(struct worker *w, struct hearing *h, struct str data) {
    struct said *s = said_new(data);
    if (envelope_scan(str_from(s->text, s->n), (struct envelope_limits){ 0 }, &s->envelope))
        log_warn("upstream sent a broken event", F("upstream", h->all->upstream->conf->name));
    else if (s->envelope.kind == ENVELOPE_REQUEST)
        return take_question(w, h->all, h->share, buf_view(&h->session), s);
    else if (s->envelope.kind == ENVELOPE_NOTIFICATION)
        return take_notification(h, s);
    free(s);
}

/* ---- the home worker: reading ------------------------------------------------------ */

static bool is_quiet(struct hearing *h, nanos now) {
    if (upstream_has_tasks(h->all->upstream, h->share))
        return false;
    pthread_mutex_lock(&h->all->lock);
    bool quiet = !h->flights && now - h->quiet >= LINGER;
    pthread_mutex_unlock(&h->all->lock);
    return quiet;
}

static void set_open(struct hearing *h, bool open) {
    pthread_mutex_lock(&h->all->lock);
    h->open = open;
    pthread_mutex_unlock(&h->all->lock);
}

static err_t next_bytes(struct task *t, struct http_reply *r, struct str *out) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, LINGER);
    return http_reply_next(t, r, out);
}

/* Until it is lost, or nobody needs it any more. */
static err_t read_stream(struct task *t, struct hearing *h, struct http_reply *r,
                         struct sse_parser *sse) {
    struct sse_event event;
    for (;;) {
        struct str bytes = { 0 };
        err_t e = next_bytes(t, r, &bytes);
        if (is_quiet(h, task_now(t)))
            return ERR(TIMEOUT, "no call needs it");
        if (e && e->kind == ERR_TIMEOUT)
            continue;
        TRY(e);
        if (!bytes.n)
            return ERR(CLOSED, "the server ended it");
        while (sse_next(sse, &bytes, &event, &e))
            take_message(task_worker(t), h, event.data);
        TRY(e);
    }
}

static err_t open_once(struct task *t, struct hearing *h, const struct sse_parser *sse,
                       struct http_reply *r) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, HEAD_PATIENCE);
    return http_get_stream(t, h->all->upstream, buf_view(&h->session), sse_last_id(sse), r);
}

/* The server offers no streams, as far as its present session tells. */
static void give_up(struct hearing *h) {
    if (http_session_is(h->all->upstream, h->share, buf_view(&h->session)))
        atomic_store(&h->all->deaf, true);
}

/* True: it was open, or might be another time. */
static bool listen_once(struct task *t, struct hearing *h, struct sse_parser *sse,
                        unsigned *failures) {
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    err_t e = open_once(t, h, sse, &r);
    /* P-141: it may offer none. 409: it has not noticed that the last one is gone */
    if (!e && r.status / 100 == 4 && r.status != 409 && r.status != 429) {
        give_up(h);
        return false;
    }
    if (!e && (r.status != 200 || !r.event_stream))
        e = ERR(UPSTREAM, "HTTP %d", r.status);
    if (!e) {
        *failures = 0;
        h->tried = false;
        set_open(h, true);
        e = read_stream(t, h, &r, sse);
        set_open(h, false);
    } else {
        h->tried = true;
    }
    log_debug("stream of a session ended", F("upstream", h->all->upstream->conf->name),
              F("error", e->text));
    return e->kind != ERR_TOO_LARGE;
}

static void run_reader(struct task *t, void *arg) {
    struct hearing *h = arg;
    struct hearings *all = h->all;
    struct upstream *u = all->upstream;
    SCOPED(sse_done) struct sse_parser sse = { .limit = (size_t)u->conf->max_answer };
    unsigned failures = 0;
    while (listen_once(t, h, &sse, &failures) && !is_quiet(h, task_now(t)) &&
           failures++ < REOPENINGS && !task_sleep(t, http_stream_pause(&sse, failures - 1)))
        sse_resume(&sse);
    if (failures > REOPENINGS)
        give_up(h);
    pthread_mutex_lock(&all->lock);
    all->readers--;
    h->reader = NULL;
    drop_unused(h);
    pthread_mutex_unlock(&all->lock);
    upstream_unref(u);
}

void hearings_stop(struct hearings *all) {
    uint64_t share;
    void *value;
    pthread_mutex_lock(&all->lock);
    for (size_t i = 0; idmap_next(&all->by_share, &i, &share, &value);)
        if (((struct hearing *)value)->reader)
            task_cancel(((struct hearing *)value)->reader);
    pthread_mutex_unlock(&all->lock);
}

/* ---- the home worker: opening ------------------------------------------------------ */

struct open_order {
    struct hearing *hearing; /* lives: the call that waits is in it */
    struct str session;
};

static bool has_room(const struct hearings *all) {
    return (int64_t)all->readers < all->upstream->conf->max_connections / 2;
}

static void start_reader(struct worker *w, struct hearing *h, struct str session) {
    struct hearings *all = h->all;
    pthread_mutex_lock(&all->lock);
    buf_clear(&h->session);
    buf_str(&h->session, session);
    h->quiet = w->now;
    pthread_mutex_unlock(&all->lock);
    h->tried = false;
    h->reader = task_spawn(w, run_reader, h);
    if (!h->reader)
        return;
    all->readers++;
    upstream_ref(all->upstream);
}

static err_t open_stream(struct task *t, void *arg) {
    struct open_order *o = arg;
    struct hearing *h = o->hearing;
    nanos until = task_now(t) + OPEN_PATIENCE;
    if (!http_session_is(h->all->upstream, h->share, o->session))
        return OK; /* the call will be sent again on the new one */
    if (h->reader && !str_eq(buf_view(&h->session), o->session))
        task_cancel(h->reader); /* of a session that is no more */
    while (h->reader && !str_eq(buf_view(&h->session), o->session))
        TRY(task_sleep(t, 2 * NANOS_MS));
    if (!h->reader && has_room(h->all))
        start_reader(task_worker(t), h, o->session);
    while (h->reader && !h->open && !h->tried) {
        TRY(task_sleep(t, 2 * NANOS_MS));
        h->tried |= task_now(t) >= until;
    }
    return OK;
}

static bool is_open(struct hearings *all, const struct http_flight *f) {
    pthread_mutex_lock(&all->lock);
    bool open = f->hearing->open && str_eq(buf_view(&f->hearing->session), f->session);
    pthread_mutex_unlock(&all->lock);
    return open;
}

/* What goes wrong here shows when the call itself is sent. */
static void see_it_open(struct task *t, struct hearings *all, struct http_flight *f) {
    struct worker *home = workers_at(all->upstream->all, all->upstream->home);
    struct open_order order = { .hearing = f->hearing, .session = f->session };
    if (atomic_load(&all->deaf) || is_open(all, f))
        return;
    err_t e = task_worker(t) == home ? open_stream(t, &order)
                                     : task_on(t, home, open_stream, &order);
    if (e)
        log_debug("stream of a session is not open yet", F("upstream", all->upstream->conf->name),
                  F("error", e->text));
}

/* The server may tell of it later, beside any call (P-290). */
static bool may_be_task(const struct upstream_call *c) {
    return c->request->takes_task && c->request->method == METHOD_TOOLS_CALL &&
           atomic_load(&c->upstream->revision) == R11;
}

bool hear_begin(struct task *t, struct hearings *all, struct upstream_call *c) {
    const struct upstream_request *r = c->request;
    bool wants = (r->asks & ASK_ALL) || r->verbosity, tells = may_be_task(c);
    /* share 0: the keeper reads its stream; and a server without sessions has none to tell apart */
    if (!r->share || !c->session.n || atomic_load(&all->deaf) ||
        (!wants && !tells && !atomic_load(&all->used)))
        return false;
    if (wants)
        atomic_store(&all->used, true);
    if (!c->flight) {
        c->flight = flight_new(c);
        flight_enter(all, c->flight);
    }
    struct http_flight *f = c->flight;
    memcpy(f->text, c->session.p, c->session.n);
    f->session = str_from(f->text, c->session.n);
    if (wants || tells)
        see_it_open(t, all, f);
    return wants;
}
