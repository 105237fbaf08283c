/* resume.c - see resume.h. Reader and home know each other by worker and number alone, so
 * neither can hold a pointer to what the other has freed. */
#include "gateway/resume.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"

#define LOOK (250 * NANOS_MS)        /* after calls in flight */
#define HOME_WAIT (10 * NANOS_SEC)   /* for a worker that is alive but busy */
enum {
    PACKET = 64 * 1024, /* what a reader is given at once, or one event */
    BEHIND = 32,        /* events that a call may be ahead of its reader */
};

struct resumable {
    struct gateway_worker *gw;
    struct replay *replay;        /* NULL: the session has ended */
    struct http_request *request; /* on which it began; NULL: gone, or not any more */
    const struct resumable_owner *ops;
    void *owner;
    uint64_t reader;              /* who came back; 0: nobody */
    unsigned reader_worker;
    uint64_t at;                  /* the last event that the reader was given */
    bool waiting;                 /* the reader wants what follows */
    bool closing;                 /* the reader is to end now */
    bool held;                    /* by the caller */
    bool writing;                 /* a task, to `request` */
    bool primes, primed;
    nanos read_since;
    struct event room;            /* the reader wants more */
};

struct reader {
    struct reader *next, **back;
    struct gateway_worker *gw;
    struct http_request *request; /* NULL: not begun yet */
    uint64_t number, principal;
    uint64_t stream;
    unsigned home;
    struct packet *packet;        /* came and is not written yet */
    struct event news;
    struct timer keep_alive;
    bool writing, over;           /* over: ends once what it has is written */
};

struct resume {
    struct gateway_worker *gw;
    struct replays *replays;
    struct reader *readers;
    uint64_t next_reader;
    struct timer tick;
};

/* To the reader. */
struct packet {
    struct mail mail;
    uint64_t reader;
    bool refused, last; /* refused: the text says why */
    size_t n;
    char text[];
};

/* To the home. */
enum ask { ASK_FIRST, ASK_MORE, ASK_LEAVES };
struct order {
    struct mail mail;
    enum ask ask;
    char session[SESSION_ID];
    struct event_id id;
    uint64_t reader;
    unsigned worker;
};

static void post(struct gateway_worker *gw, unsigned worker, struct mail *m) {
    if (!worker_post(workers_at(gw->gateway->all, worker), m))
        free(m);
}

/* ---- packets ----------------------------------------------------------------------- */

static void on_packet(struct worker *w, struct mail *m);

static struct packet *packet_new(uint64_t reader, struct str text) {
    struct packet *p = mem_alloc(sizeof *p + text.n);
    memset(p, 0, sizeof *p);
    p->mail.deliver = on_packet;
    p->reader = reader;
    p->n = text.n;
    if (text.n)
        memcpy(p->text, text.p, text.n);
    return p;
}

static struct str text_of(const struct packet *p) {
    return str_from(p->text, p->n);
}

static void set_read(struct resumable *s, bool read) {
    nanos now = worker_now(s->gw->worker);
    s->read_since = now;
    replay_set_read(s->replay, read, now);
    if (s->ops)
        s->ops->read(s->owner, read);
    if (!read)
        resume_watch(s->gw);
}

/* The reader ends once it has written what it was given. */
static void dismiss(struct resumable *s) {
    if (!s->reader)
        return;
    struct packet *p = packet_new(s->reader, S(""));
    p->last = true;
    post(s->gw, s->reader_worker, &p->mail);
    s->reader = 0;
    s->waiting = s->closing = false;
    event_set(&s->room);
}

static bool has_news(const struct resumable *s) {
    return s->at < s->replay->last || s->replay->ended || s->closing;
}

static int64_t retry_of(struct resumable *s) {
    const struct snapshot *now = snapshot_peek(s->gw->worker, s->gw->gateway->snapshots);
    return now ? now->conf->limits.resume_retry / NANOS_MS : 1000;
}

/* `text` may have something already. */
static void give(struct resumable *s, struct buf *text) {
    bool hole = s->at < s->replay->gone; /* it was too slow: it hears so when it comes back */
    if (!hole)
        s->at = replay_read(s->replay, s->at, PACKET, text);
    struct packet *p = packet_new(s->reader, buf_view(text));
    p->last = hole || s->closing || (s->replay->ended && s->at == s->replay->last);
    p->mail.bytes = p->last ? 0 : sizeof *p + p->n;
    s->waiting = false;
    event_set(&s->room);
    bool last = p->last;
    if (last) {
        s->reader = 0;
        s->closing = false;
        set_read(s, false);
    }
    post(s->gw, s->reader_worker, &p->mail);
}

static void feed(struct resumable *s) {
    SCOPED(buf_done) struct buf text = { 0 };
    if (s->reader && s->waiting && has_news(s))
        give(s, &text);
}

/* ---- a stream ---------------------------------------------------------------------- */

static void forget(struct resumable *s) {
    dismiss(s);
    if (s->replay)
        replay_free(TAKE(s->replay));
    if (!s->held)
        free(s);
}

/* Beyond the bounds nothing of it was left. */
static void on_emptied(struct replay *r) {
    forget(r->owner);
}

static bool can_be_resumed(const struct exchange *x) {
    return x->era == ERA_LEGACY && x->revision >= R03 && x->session.in_table &&
           x->method != METHOD_INITIALIZE && x->snapshot->conf->limits.resume_time > 0;
}

/* The bounds of the process are shared out to the workers. */
static void read_limits(struct resume *all, const struct exchange *x) {
    const struct limits_conf *l = &x->snapshot->conf->limits;
    size_t workers = workers_count(all->gw->gateway->all);
    replays_configure(all->replays, (struct replay_limits){
        .bytes = (size_t)l->resume_bytes / workers, .events = (size_t)l->resume_events / workers,
        .session_bytes = (size_t)l->resume_session_bytes, .session_events = (size_t)l->resume_session_events,
        .keep = l->resume_time });
}

struct resumable *resumable_open(struct exchange *x, enum replay_kind kind, struct http_request *r,
                                 const struct resumable_owner *ops, void *owner) {
    if (!can_be_resumed(x))
        return NULL;
    struct resume *all = x->gw->resume;
    struct resumable *s = NEW(struct resumable);
    read_limits(all, x);
    *s = (struct resumable){ .gw = x->gw, .request = r, .ops = ops, .owner = owner, .held = true,
                             .primes = x->revision >= R11, .read_since = worker_now(x->gw->worker) };
    s->replay = replay_open(all->replays, x->session.id, kind);
    s->replay->owner = s;
    s->replay->emptied = on_emptied;
    return s;
}

/* What goes out before the first event: nothing, or the priming event. */
static struct str priming(struct resumable *s, struct buf *b) {
    if (s->primes && !s->primed)
        replay_prime(s->replay, 0, retry_of(s), b);
    s->primed = true;
    return buf_view(b);
}

bool resumable_read_here(const struct resumable *s) {
    return s->request && !s->request->gone;
}

/* The reader that came back meanwhile has the event, too: then this connection is of no use. */
static void write_own(struct task *t, struct resumable *s, struct str event) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct http_request *r = s->request;
    struct str pieces[] = { priming(s, &b), event };
    s->writing = true;
    err_t e = http_stream_write(t, r, pieces, ARRAY_SIZE(pieces));
    s->writing = false;
    if (!e && s->request == r)
        return;
    if (e && s->request == r)
        s->request = NULL;
    http_stream_abort(r);
}

/* Bounded: a client that does not read has to come back. */
static void wait_for_reader(struct task *t, struct resumable *s, size_t bytes) {
    const struct snapshot *now = snapshot_peek(s->gw->worker, s->gw->gateway->snapshots);
    nanos longest = now ? now->conf->limits.send_timeout : NANOS_SEC;
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, longest);
    while (s->reader && !s->waiting && s->replay &&
           (bytes >= PACKET || s->replay->last - s->at >= BEHIND))
        if (event_wait(t, &s->room))
            return;
}

void resumable_send(struct task *t, struct resumable *s, const struct str *pieces, size_t n) {
    if (s->reader)
        wait_for_reader(t, s, str_total(pieces, n));
    if (!s->replay)
        return;
    struct str event = replay_say(s->replay, pieces, n);
    if (resumable_read_here(s))
        write_own(t, s, event);
    else
        feed(s);
    if (s->replay)
        replays_trim(s->gw->resume->replays, s->replay);
}

static void push_own(struct resumable *s, struct str event) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct str pieces[] = { priming(s, &b), event };
    http_stream_push(s->request, pieces, ARRAY_SIZE(pieces)); /* may lose the client */
}

void resumable_push(struct resumable *s, struct str text) {
    if (!s->replay)
        return;
    struct str event = replay_say(s->replay, &text, 1);
    if (resumable_read_here(s))
        push_own(s, event);
    else
        feed(s);
    if (s->replay)
        replays_trim(s->gw->resume->replays, s->replay);
}

void resumable_prime(struct resumable *s) {
    if (s->replay && s->primes && !s->primed && resumable_read_here(s))
        push_own(s, S(""));
}

void resumable_keep_alive(struct resumable *s) {
    struct str comment = S(": keep-alive\n\n");
    if (resumable_read_here(s) && !s->writing)
        http_stream_push(s->request, &comment, 1);
}

nanos resumable_read_for(const struct resumable *s) {
    bool read = s->replay && (resumable_read_here(s) || s->reader);
    return read ? worker_now(s->gw->worker) - s->read_since : 0;
}

bool resumable_poll(struct resumable *s) {
    if (!s->replay || !s->primed || !s->primes || s->writing)
        return false;
    if (resumable_read_here(s)) {
        http_stream_leave(TAKE(s->request));
        set_read(s, false);
    } else if (s->reader) {
        s->closing = true;
        feed(s);
    } else {
        return false;
    }
    metric_add(METRIC_SERIES(&metric_polls), 1);
    return true;
}

bool resumable_lost(struct resumable *s, const struct http_request *r) {
    if (!r || s->request != r)
        return false;
    s->request = NULL;
    if (!s->replay)
        return true;
    bool knows_an_id = s->replay->last || (s->primes && s->primed);
    set_read(s, false);
    if (!knows_an_id && s->ops)
        s->ops->lapsed(s->owner);
    return true;
}

void resumable_end(struct resumable *s) {
    if (!s->replay)
        return;
    replay_end(s->replay, worker_now(s->gw->worker));
    feed(s);
}

void resumable_release(struct resumable *s) {
    s->held = false;
    s->request = NULL;
    s->ops = NULL;
    if (!s->replay || !s->replay->ended)
        forget(s);
    else if (!s->reader)
        set_read(s, false);
}

void resumable_close(struct resumable *s) {
    struct http_request *r = TAKE(s->request);
    if (r)
        http_stream_close(r);
    resumable_release(s);
}

/* ---- the home's mail ---------------------------------------------------------------- */

static void refuse(struct gateway_worker *gw, const struct order *o, const char *why) {
    struct packet *p = packet_new(o->reader, str_of(why));
    p->refused = true;
    post(gw, o->worker, &p->mail);
}

/* The connection that read it before is of a client that has given it up. */
static void take_from_own(struct resumable *s) {
    struct http_request *r = TAKE(s->request);
    if (!r || s->writing) /* the writer sees that it is no longer wanted */
        return;
    if (s->replay->kind == REPLAY_SESSION)
        http_stream_close(r);
    else
        http_stream_leave(r);
}

/* Official clients know of a connection only the ids that came on it: each is primed with where it
 * stands, so that one that is cut before its first event is resumed, too. */
static void give_first(struct resumable *s) {
    SCOPED(buf_done) struct buf text = { 0 };
    if (s->primes)
        replay_prime(s->replay, s->at, retry_of(s), &text);
    if (has_news(s)) {
        give(s, &text);
        return;
    }
    struct packet *p = packet_new(s->reader, buf_view(&text));
    post(s->gw, s->reader_worker, &p->mail);
}

static void take_first(struct gateway_worker *gw, const struct order *o) {
    struct replay *r;
    err_t e = replay_find(gw->resume->replays, o->session, &o->id, &r);
    if (e) {
        refuse(gw, o, e->text);
        return;
    }
    struct resumable *s = r->owner;
    dismiss(s);
    take_from_own(s);
    s->primed = true; /* it knows an id */
    s->reader = o->reader;
    s->reader_worker = o->worker;
    s->at = o->id.n;
    set_read(s, true);
    give_first(s);
}

static struct resumable *read_by(struct gateway_worker *gw, const struct order *o) {
    struct replay *r = replay_numbered(gw->resume->replays, o->id.stream);
    struct resumable *s = r ? r->owner : NULL;
    return s && s->reader == o->reader && s->reader_worker == o->worker ? s : NULL;
}

static void take_order(struct gateway_worker *gw, const struct order *o) {
    struct resumable *s = o->ask == ASK_FIRST ? NULL : read_by(gw, o);
    if (o->ask == ASK_FIRST) {
        take_first(gw, o);
    } else if (s && o->ask == ASK_MORE) {
        s->waiting = true;
        event_set(&s->room);
        feed(s);
    } else if (s) {
        s->reader = 0;
        s->waiting = s->closing = false;
        event_set(&s->room);
        set_read(s, false);
    }
}

static void on_order(struct worker *w, struct mail *m) {
    struct gateway_worker *gw = gateway_here(w);
    if (gw)
        take_order(gw, (struct order *)m);
    free(m);
    worker_run_ready(w);
}

/* ---- the reader --------------------------------------------------------------------- */

static void say_home(struct reader *rd, enum ask ask, const char *session,
                     const struct event_id *id) {
    struct order *o = NEW(struct order);
    *o = (struct order){ .mail.deliver = on_order, .ask = ask, .reader = rd->number,
                         .worker = rd->gw->worker->index, .id.stream = rd->stream };
    if (session)
        memcpy(o->session, session, SESSION_ID);
    if (id)
        o->id = *id;
    post(rd->gw, rd->home, &o->mail);
}

static void on_keep_alive(struct worker *w, struct timer *t) {
    struct reader *rd = (struct reader *)((char *)t - offsetof(struct reader, keep_alive));
    struct str comment = S(": keep-alive\n\n");
    timer_set(w, t, w->now + KEEP_ALIVE);
    if (!rd->writing)
        http_stream_push(rd->request, &comment, 1); /* may end the reader */
    worker_run_ready(w);
}

static struct reader *reader_new(struct exchange *x, const struct event_id *id) {
    struct resume *all = x->gw->resume;
    struct reader *rd = NEW(struct reader);
    *rd = (struct reader){ .gw = x->gw, .number = ++all->next_reader, .home = id->worker,
                           .stream = id->stream, .principal = x->who->digest,
                           .keep_alive.fire = on_keep_alive, .next = all->readers, .back = &all->readers };
    if (rd->next)
        rd->next->back = &rd->next;
    all->readers = rd;
    metric_add(METRIC_SERIES(&metric_readers_open), 1);
    return rd;
}

static void forget_reader(struct reader *rd) {
    *rd->back = rd->next;
    if (rd->next)
        rd->next->back = rd->back;
    timer_unset(rd->gw->worker, &rd->keep_alive);
    metric_add(METRIC_SERIES(&metric_readers_open), -1);
    free(rd->packet);
    free(rd);
}

void reader_free(struct reader *rd) {
    say_home(rd, ASK_LEAVES, NULL, NULL);
    forget_reader(rd);
}

size_t resume_readers_of(const struct gateway_worker *gw, uint64_t principal) {
    size_t n = 0;
    for (const struct reader *rd = gw->resume->readers; rd; rd = rd->next)
        n += rd->principal == principal;
    return n;
}

static void on_reader_gone(struct http_request *r) {
    for (struct reader *rd = gateway_here(r->worker)->resume->readers; rd; rd = rd->next)
        if (rd->request == r) {
            reader_free(rd);
            return;
        }
}

/* True: there is more to come. */
static bool write_now(struct task *t, struct reader *rd, struct packet *p, err_t *out) {
    struct str text = text_of(p);
    *out = p->n ? http_stream_write(t, rd->request, &text, 1) : OK;
    bool last = p->last;
    free(p);
    return !*out && !last && !rd->over;
}

/* A task for each packet: an open stream has none, and a slow client is waited for. */
static void write_packet(struct task *t, void *arg) {
    struct reader *rd = arg;
    struct http_request *r = rd->request;
    err_t e;
    bool more = write_now(t, rd, TAKE(rd->packet), &e);
    rd->writing = false;
    bool done = !e && !more;
    if (done)
        http_stream_close(r);
    bool stays = http_stream_give_back(r, e != OK); /* else rd may be gone */
    if (done)
        reader_free(rd);
    else if (stays)
        say_home(rd, ASK_MORE, NULL, NULL);
}

static void end_reader(struct reader *rd) {
    http_stream_close(rd->request);
    reader_free(rd);
}

static void begin_writing(struct reader *rd) {
    struct task *t = task_spawn(rd->gw->worker, write_packet, rd);
    if (!t) { /* it comes back when there is less to do */
        end_reader(rd);
        return;
    }
    rd->writing = true;
    http_stream_borrow(t, rd->request);
}

static void take_packet(struct reader *rd, struct packet *p) {
    if (rd->writing || rd->packet) { /* of a home that does not wait for it any more */
        rd->over = true;
        free(p);
        return;
    }
    rd->packet = p;
    if (rd->request)
        begin_writing(rd);
    else
        event_set(&rd->news);
}

static void on_packet(struct worker *w, struct mail *m) {
    struct gateway_worker *gw = gateway_here(w);
    struct packet *p = (struct packet *)m;
    struct reader *rd = gw ? gw->resume->readers : NULL;
    while (rd && rd->number != p->reader)
        rd = rd->next;
    if (rd)
        take_packet(rd, p);
    else
        free(p);
    worker_run_ready(w);
}

static err_t await_home(struct task *t, struct reader *rd) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, HOME_WAIT);
    TRY(event_wait(t, &rd->news));
    return rd->packet->refused ? ERR(NOT_FOUND, "%.*s", STR(text_of(rd->packet))) : OK;
}

static void count(const char *how) {
    metric_add(METRIC_SERIES(&metric_resumptions, str_of(how)), 1);
}

err_t resume_ask(struct exchange *x, struct str last_event_id, struct reader **out) {
    struct event_id id;
    err_t e = event_id_read(x->gw->gateway->event_key, x->session.id, last_event_id, &id);
    if (e || id.worker >= workers_count(x->gw->gateway->all)) {
        count("foreign");
        return e ? e : ERR(DENIED, "Last-Event-ID names no event of this session");
    }
    struct reader *rd = reader_new(x, &id);
    say_home(rd, ASK_FIRST, x->session.id, &id);
    e = await_home(x->task, rd);
    if (!e) {
        count("resumed");
        *out = rd;
        return OK;
    }
    struct err why = *e;
    if (why.kind == ERR_NOT_FOUND)
        count("expired");
    reader_free(rd);
    return err_again(&why);
}

void resume_go_on(struct task *t, struct reader *rd, struct http_request *r) {
    err_t e;
    rd->request = r;
    rd->writing = true;
    bool more = write_now(t, rd, TAKE(rd->packet), &e);
    rd->writing = false;
    if (!more) {
        if (!e)
            http_stream_end(t, r);
        reader_free(rd);
        return;
    }
    http_stream_detach(r, on_reader_gone);
    timer_set(rd->gw->worker, &rd->keep_alive, worker_now(rd->gw->worker) + KEEP_ALIVE);
    say_home(rd, ASK_MORE, NULL, NULL);
}

/* ---- time --------------------------------------------------------------------------- */

static void lapse(struct resumable *s) {
    if (s->ops)
        s->ops->lapsed(s->owner);
    else
        forget(s);
}

static void look_after(struct gateway_worker *gw) {
    struct replay *r;
    for (struct exchange *x = gw->exchanges; x; x = x->next)
        if (x->face->still_working && !x->answered)
            x->face->still_working(x);
    while ((r = replays_lapsed(gw->resume->replays, worker_now(gw->worker))))
        lapse(r->owner);
}

static void on_tick(struct worker *w, struct timer *t) {
    struct gateway_worker *gw = gateway_here(w);
    look_after(gw);
    if (gw->exchanges || replays_any_lapse(gw->resume->replays))
        timer_set(w, t, w->now + LOOK);
    worker_run_ready(w);
}

void resume_watch(struct gateway_worker *gw) {
    struct timer *t = &gw->resume->tick;
    if (!timer_is_set(t))
        timer_set(gw->worker, t, gw->worker->now + LOOK);
}

/* ---- the end of a session ------------------------------------------------------------ */

struct session_end {
    struct mail mail;
    char session[SESSION_ID];
};

static void on_session_end(struct worker *w, struct mail *m) {
    struct session_end *o = (struct session_end *)m;
    struct gateway_worker *gw = gateway_here(w);
    struct replay *r;
    if (gw)
        exchanges_end_session(gw, o->session);
    while (gw && (r = replay_of(gw->resume->replays, o->session)))
        forget(r->owner);
    free(o);
    worker_run_ready(w);
}

void resume_end_session(struct gateway *g, const struct session_view *session) {
    for (unsigned i = 0; i < workers_count(g->all); i++) {
        struct session_end *o = NEW(struct session_end);
        o->mail.deliver = on_session_end;
        memcpy(o->session, session->id, SESSION_ID);
        if (!worker_post(workers_at(g->all, i), &o->mail))
            free(o);
    }
}

/* ---- a worker's part ------------------------------------------------------------------ */

struct resume *resume_new(struct gateway_worker *gw) {
    struct resume *all = NEW(struct resume);
    all->gw = gw;
    all->replays = replays_new(gw->worker->index, gw->gateway->event_key);
    all->tick.fire = on_tick;
    return all;
}

void resume_free(struct resume *all) {
    struct replay *r;
    while ((r = replays_first(all->replays)))
        lapse(r->owner);
    while (all->readers)
        forget_reader(all->readers);
    timer_unset(all->gw->worker, &all->tick);
    replays_free(all->replays);
    free(all);
}
