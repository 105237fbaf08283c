/* upstream_stdio.c - MCP servers as child processes under the warden (PROTOCOL §5.1).
 *
 * A link is one child for one share value. That of share 0 is the keeper's; those of other
 * shares are started by the first call that needs one and end when they are idle. Everything
 * here runs on the upstream's home worker, but for begin, next and end, which run where the
 * caller is and reach the home worker by mail.
 *
 * Probing sends server/discover first (P-058). Some older servers exit over a method they do
 * not know, or answer nothing at all any more: they are started anew and asked with
 * initialize, and what was found out is remembered for restarts (P-060). A slow starter that
 * answers server/discover while initialize is under way is modern all the same. */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/stdio_call.h"

enum {
    PRIVATE_MAX = 64,   /* children of other shares than 0 */
    LINE_SHOWN = 120,   /* of a line that is no message, in the log, */
    JUNK_LINES = 3,     /* and so many of them in JUNK_PERIOD */
    PROBES_TO_START = 20, /* patience with initialize, in probe timeouts: programs may load for long */
};
#define IDLE_END (600 * NANOS_SEC)
#define SETTLE (100 * NANOS_MS)    /* changes come in bursts: one listing for all */
#define JUNK_PERIOD (10 * NANOS_SEC)

enum link_state { LINK_OPENING, LINK_READY, LINK_OVER };

struct stdio_link {
    unsigned refs;             /* the host's, the child's, the opener's */
    struct stdio_host *host;
    uint64_t share;
    enum link_state state;
    bool modern;               /* never sent a response (P-122) */
    bool changed, listening;   /* share 0: lists are new; asked for such news */
    struct stdio_child *child; /* NULL: not started yet, or gone */
    struct task *opener;       /* other shares: while opening */
    struct err why;            /* it is over */
    struct idmap calls;        /* struct stdio_call by id: in flight */
    struct stdio_call *first, **last; /* in line until it is ready */
    size_t in_line;            /* their bytes */
    struct stdio_flood junk;
    nanos used;
    struct timer idle;
    struct stdio_link *next, **back; /* of all */
};

struct stdio_host {
    struct upstream *upstream;
    struct stdio_link *main;   /* share 0 */
    struct idmap links;        /* other shares */
    struct stdio_link *all;    /* every link there is, ending ones too */
    struct event news;         /* for the keeper */
    bool open;                 /* between start and stop */
    bool known;                /* era is that of the last handshake */
    enum era era;
    struct err refusal;        /* why the last child of another share did not start, */
    nanos refused_until;       /* and until when no other is tried */
};

#define link_of_timer(t) ((struct stdio_link *)((char *)(t)-offsetof(struct stdio_link, idle)))
#define call_of_mail(m, member) ((struct stdio_call *)((char *)(m)-offsetof(struct stdio_call, member)))

static struct stdio_host *host_of(struct upstream *u) {
    return u->impl;
}

static struct str name_of(const struct stdio_link *l) {
    return l->host->upstream->conf->name;
}

static struct worker *home_of(struct upstream *u) {
    return workers_at(u->all, u->home);
}

/* ---- links ---------------------------------------------------------------------------- */

static struct stdio_link *link_new(struct stdio_host *host, uint64_t share) {
    struct stdio_link *l = NEW(struct stdio_link);
    l->refs = 1;
    l->host = host;
    l->share = share;
    l->last = &l->first;
    l->next = host->all;
    l->back = &host->all;
    if (l->next)
        l->next->back = &l->next;
    host->all = l;
    upstream_ref(host->upstream);
    return l;
}

static void link_unref(struct stdio_link *l) {
    if (!l || --l->refs)
        return;
    struct stdio_host *host = l->host;
    *l->back = l->next;
    if (l->next)
        l->next->back = l->back;
    event_set(&host->news); /* stop counts them */
    free(l);
    upstream_unref(host->upstream);
}

static struct stdio_call *take_waiting(struct stdio_link *l) {
    struct stdio_call *c = l->first;
    l->first = c->next;
    if (!l->first)
        l->last = &l->first;
    l->in_line -= c->message->n;
    c->link = NULL;
    return c;
}

static void fail_calls(struct stdio_link *l) {
    uint64_t id;
    void *call;
    for (size_t i = 0; idmap_next(&l->calls, &i, &id, &call);) {
        struct stdio_call *c = call;
        c->link = NULL;
        stdio_call_fail(c, &l->why);
        stdio_call_unref(c);
    }
    idmap_done(&l->calls);
    while (l->first) {
        struct stdio_call *c = take_waiting(l);
        stdio_call_fail(c, &l->why);
        stdio_call_unref(c);
    }
}

/* Serves nobody from now on; its child ends in its own time. May free the link. */
static void link_over(struct stdio_link *l, const struct err *why) {
    if (l->state == LINK_OVER)
        return;
    l->state = LINK_OVER;
    l->why = *why;
    fail_calls(l);
    if (timer_is_set(&l->idle))
        timer_unset(home_of(l->host->upstream), &l->idle);
    if (l->child)
        stdio_child_close(l->child);
    event_set(&l->host->news);
    if (l != l->host->main && idmap_get(&l->host->links, l->share) == l) {
        idmap_del(&l->host->links, l->share);
        link_unref(l);
    }
}

static void on_lost(void *arg, const struct err *why) {
    struct stdio_link *l = arg;
    if (l->share)
        log_warn("child lost", F("upstream", name_of(l)), F("error", why->text));
    link_over(l, why);
}

static void on_gone(void *arg) {
    struct stdio_link *l = arg;
    l->child = NULL;
    link_unref(l);
}

static void take_line(void *arg, struct str line);

static err_t link_start(struct task *t, struct stdio_link *l) {
    static const struct stdio_child_hooks hooks = { take_line, on_lost, on_gone };
    TRY(stdio_child_start(t, l->host->upstream, &hooks, l, &l->child));
    l->refs++;
    if (l->state != LINK_OVER)
        return OK;
    stdio_child_close(l->child); /* stopped in the moment it came */
    return err_again(&l->why);
}

/* ---- sending -------------------------------------------------------------------------- */

static bool link_takes(struct stdio_link *l, struct stdio_out *message) {
    if (l->child && stdio_child_write(l->child, message))
        return true;
    free(message);
    return false;
}

/* Without an error: cleanup calls it too, while another error is on its way up. */
static void link_tell(struct stdio_link *l, struct str text) {
    if (!link_takes(l, stdio_out_new(&text, 1)))
        log_debug("message dropped", F("upstream", name_of(l)), F("text", str_head(text, LINE_SHOWN)));
}

static err_t link_write(struct stdio_link *l, struct stdio_out *message) {
    if (link_takes(l, message))
        return OK;
    return ERR(UNAVAILABLE, "does not read its input: %d MiB wait for it", STDIO_QUEUE >> 20);
}

static err_t link_say(struct stdio_link *l, struct str text) {
    return link_write(l, stdio_out_new(&text, 1));
}

static err_t send_call(struct stdio_link *l, struct stdio_call *c) {
    TRY(link_write(l, TAKE(c->message)));
    idmap_put(&l->calls, c->id, stdio_call_ref(c));
    c->link = l;
    l->used = worker_now(home_of(l->host->upstream));
    return OK;
}

static err_t wait_in_line(struct stdio_link *l, struct stdio_call *c) {
    if (l->in_line && l->in_line + c->message->n > STDIO_QUEUE)
        return ERR(UNAVAILABLE, "is starting, and too much waits for it");
    l->in_line += c->message->n;
    c->next = NULL;
    *l->last = stdio_call_ref(c);
    l->last = &c->next;
    c->link = l;
    return OK;
}

static void leave_line(struct stdio_link *l, struct stdio_call *c) {
    struct stdio_call **at = &l->first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (l->last == &c->next)
        l->last = at;
    l->in_line -= c->message->n;
}

static void on_idle(struct worker *w, struct timer *timer) {
    struct stdio_link *l = link_of_timer(timer);
    static const struct err idle = { ERR_UNAVAILABLE, "was idle" };
    if (!l->calls.count && w->now - l->used >= IDLE_END)
        link_over(l, &idle);
    else
        timer_set(w, timer, l->calls.count ? w->now + IDLE_END : l->used + IDLE_END);
}

static void link_ready(struct stdio_link *l) {
    struct worker *w = home_of(l->host->upstream);
    l->state = LINK_READY;
    l->used = worker_now(w);
    if (l->share) {
        l->idle.fire = on_idle;
        timer_set(w, &l->idle, l->used + IDLE_END);
    }
    while (l->first) {
        struct stdio_call *c = take_waiting(l);
        err_t e = send_call(l, c);
        if (e)
            stdio_call_fail(c, e);
        stdio_call_unref(c);
    }
}

/* ---- what the server says --------------------------------------------------------------- */

struct flight { /* a call in flight under one of its ids; call NULL: none */
    uint64_t id;
    struct stdio_call *call;
};

static struct flight only_flight(const struct stdio_link *l) {
    struct flight f = { 0 };
    void *call = NULL;
    size_t at = 0;
    if (l->calls.count == 1 && idmap_next(&l->calls, &at, &f.id, &call))
        f.call = call;
    return f;
}

static struct flight flight_of(const struct stdio_link *l, struct str raw_id) {
    struct flight f = { 0 };
    if (raw_id.p && str_to_u64(raw_id, &f.id))
        f.call = idmap_get(&l->calls, f.id);
    return f;
}

/* Out of the table: its reference goes to the caller. */
static struct stdio_call *land(struct stdio_link *l, struct flight f) {
    idmap_del(&l->calls, f.id);
    f.call->link = NULL;
    return f.call;
}

static void take_answer(struct stdio_link *l, struct stdio_packet *p) {
    struct flight f = p->envelope.id.p ? flight_of(l, p->envelope.id) : only_flight(l); /* P-007 */
    if (!f.call) {
        log_debug("answer to nobody", F("upstream", name_of(l)), F("id", p->envelope.id));
        free(p); /* late, mostly (P-243) */
        return;
    }
    struct stdio_call *c = land(l, f);
    stdio_call_give(c, p);
    stdio_call_unref(c);
}

static void lists_changed(struct stdio_link *l) {
    if (l->share)
        return; /* what is listed comes from the keeper's child */
    l->changed = true;
    event_set(&l->host->news);
}

/* A log message names no request: it belongs to the only one in flight, or to nobody (P-443). */
static void take_notification(struct stdio_link *l, struct stdio_packet *p) {
    struct stdio_call *c = NULL;
    switch (method_parse(p->envelope.method)) {
    case METHOD_N_PROGRESS: c = flight_of(l, json_raw_get(p->envelope.params, S("progressToken"))).call; break;
    case METHOD_N_MESSAGE: c = only_flight(l).call; break;
    case METHOD_N_TOOLS_CHANGED:
    case METHOD_N_PROMPTS_CHANGED:
    case METHOD_N_RESOURCES_CHANGED: lists_changed(l); break;
    default: break;
    }
    if (c) {
        stdio_call_give(c, p);
        return;
    }
    log_debug("notification for nobody", F("upstream", name_of(l)), F("method", p->envelope.method));
    free(p);
}

static bool junk_is_news(struct stdio_link *l) {
    return stdio_flood_admits(&l->junk, worker_now(home_of(l->host->upstream)), JUNK_PERIOD, JUNK_LINES);
}

/* No capability was declared: "method not found" is the honest answer (P-432), {} to a ping
 * (P-245). */
static void answer_question(struct stdio_link *l, const struct envelope *m) {
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,", STR(m->id));
    if (str_eq(m->method, S("ping")))
        buf_str(&text, S("\"result\":{}}"));
    else
        buf_fmt(&text, "\"error\":{\"code\":-32601,\"message\":\"the client offers no %.*s\"}}",
                STR(str_head(m->method, m->methods_escaped ? 0 : 100)));
    link_tell(l, buf_view(&text));
}

static void take_question(struct stdio_link *l, struct stdio_packet *p) {
    if (!l->modern)
        answer_question(l, &p->envelope);
    else if (junk_is_news(l))
        log_warn("modern server asks on the wire", F("upstream", name_of(l)), F("method", p->envelope.method));
    free(p);
}

/* Half an answer ends its call, when it is clear whose it was; banners and the like are
 * skipped: many real servers print them (P-120). */
static struct flight answer_meant(struct stdio_link *l, const struct envelope *m, enum envelope_fault fault,
                                  struct str line) {
    if (m->id.p && (m->version.p || m->result.p || m->error.p))
        return flight_of(l, m->id);
    bool broken = !m->id.p && envelope_fault_code(fault) == RPC_PARSE && line.p[0] == '{';
    if (broken && str_find(str_head(line, 4096), S("\"jsonrpc\"")) >= 0)
        return only_flight(l);
    return (struct flight){ 0 };
}

static void take_junk(struct stdio_link *l, const struct envelope *m, enum envelope_fault fault, struct str line) {
    if (junk_is_news(l))
        log_warn("server printed what is no message", F("upstream", name_of(l)),
                 F("why", envelope_fault_text(fault)), F("line", str_head(line, LINE_SHOWN)));
    struct flight f = answer_meant(l, m, fault, line);
    if (!f.call)
        return;
    struct stdio_call *c = land(l, f);
    stdio_call_fail(c, ERR(UPSTREAM, "its answer is no JSON-RPC response: %s", envelope_fault_text(fault)));
    stdio_call_unref(c);
}

static void take_message(struct stdio_link *l, struct str line, bool in_batch) {
    struct stdio_packet *p = stdio_packet_new(line);
    enum envelope_fault f = envelope_scan(str_from(p->text, p->n), (struct envelope_limits){ 0 }, &p->envelope);
    if (!f && in_batch && p->envelope.kind == ENVELOPE_BATCH)
        f = ENVELOPE_NOT_OBJECT;
    if (f) {
        take_junk(l, &p->envelope, f, line);
        free(p);
        return;
    }
    switch (p->envelope.kind) {
    case ENVELOPE_RESULT:
    case ENVELOPE_ERROR: take_answer(l, p); return;
    case ENVELOPE_NOTIFICATION: take_notification(l, p); return;
    case ENVELOPE_REQUEST: take_question(l, p); return;
    case ENVELOPE_BATCH: break; /* P-121 */
    }
    struct json_members m = json_elements(p->envelope.text);
    while (l->state != LINK_OVER && json_element(&m))
        take_message(l, m.value, true);
    free(p);
}

static void take_line(void *arg, struct str line) {
    take_message(arg, line, false);
}

/* ---- shaking hands ----------------------------------------------------------------------- */

struct shake {
    struct stdio_link *link;
    struct stdio_call *call;
    struct upstream_request discover, initialize; /* their ids */
    struct arena *arena;
    struct upstream_info *info;
};

static err_t shake_ask(struct shake *s, struct upstream_request *r, struct buf *text) {
    if (s->link->state == LINK_OVER)
        return err_again(&s->link->why);
    TRY(link_say(s->link, buf_view(text)));
    idmap_put(&s->link->calls, r->id, stdio_call_ref(s->call));
    return OK;
}

/* The next answer; notifications before it are nobody's. */
static err_t shake_await(struct task *t, struct shake *s, nanos patience, struct envelope *out) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, patience);
    do
        TRY(stdio_call_next(t, s->call, out));
    while (out->kind != ENVELOPE_RESULT && out->kind != ENVELOPE_ERROR);
    return OK;
}

/* Neither modern nor an error: it is a legacy server (P-058). */
static err_t judge_discovery(struct shake *s, const struct envelope *m, bool *out_modern) {
    enum revision mutual;
    if (m->kind == ENVELOPE_RESULT) {
        TRY(handshake_read_discover(s->arena, m->result, s->info));
        *out_modern = true;
    } else if (handshake_is_modern_error(m->error, &mutual)) { /* never initialize after it (P-043) */
        return ERR(UPSTREAM, "it speaks a modern revision, but none that we do: %.*s",
                   STR(str_head(m->error, 160)));
    }
    return OK;
}

static err_t try_discover(struct task *t, struct shake *s, bool *out_modern) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct upstream *u = s->link->host->upstream;
    upstream_next_id(u, task_worker(t), &s->discover);
    handshake_discover(&text, s->discover.id_text);
    TRY(shake_ask(s, &s->discover, &text));
    struct envelope m;
    err_t e = shake_await(t, s, u->conf->probe_timeout, &m);
    if (e)
        return e->kind == ERR_TIMEOUT ? OK : e;
    return judge_discovery(s, &m, out_modern);
}

static err_t take_initialized(struct shake *s, const struct envelope *m) {
    if (m->kind == ENVELOPE_ERROR)
        return ERR(UPSTREAM, "initialize: %.*s", STR(str_head(m->error, 200)));
    TRY(handshake_read_initialize(s->arena, m->result, s->info));
    return link_say(s->link, handshake_initialized());
}

static err_t try_initialize(struct task *t, struct shake *s) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct upstream *u = s->link->host->upstream;
    nanos patience = PROBES_TO_START * u->conf->probe_timeout;
    upstream_next_id(u, task_worker(t), &s->initialize);
    handshake_initialize(&text, s->initialize.id_text, LATEST_LEGACY);
    TRY(shake_ask(s, &s->initialize, &text));
    for (;;) {
        struct envelope m;
        bool modern = false;
        TRY_WRAP(shake_await(t, s, patience > u->conf->timeout ? patience : u->conf->timeout, &m), "initialize");
        if (!s->discover.id || !str_eq(m.id, str_of(s->discover.id_text)))
            return take_initialized(s, &m);
        if (!judge_discovery(s, &m, &modern) && modern) /* late, but clear */
            return OK;
    }
}

static void shake_done(struct shake *s) {
    const uint64_t ids[] = { s->discover.id, s->initialize.id };
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
        if (ids[i] && idmap_get(&s->link->calls, ids[i]) == s->call)
            stdio_call_unref(idmap_del(&s->link->calls, ids[i]));
    stdio_call_end(s->call);
    stdio_call_unref(s->call);
}

static err_t shake_hands(struct task *t, struct stdio_link *l, bool discover, struct arena *a,
                         struct upstream_info *info) {
    struct upstream *u = l->host->upstream;
    SCOPED(shake_done) struct shake s = { .link = l, .arena = a, .info = info };
    s.call = stdio_call_new(u, task_worker(t), 0, 0, NULL);
    bool modern = false;
    if (discover)
        TRY(try_discover(t, &s, &modern));
    if (!modern)
        TRY(try_initialize(t, &s));
    l->modern = revision_era(info->revision) == ERA_MODERN;
    return OK;
}

/* ---- the keeper's child ------------------------------------------------------------------- */

static void drop_main(struct stdio_host *host, const struct err *why) {
    struct stdio_link *l = host->main;
    if (!l)
        return;
    link_over(l, why);
    host->main = NULL;
    link_unref(l);
}

static err_t start_main(struct task *t, struct stdio_host *host) {
    static const struct err again = { ERR_UNAVAILABLE, "is started anew" };
    drop_main(host, &again);
    host->main = link_new(host, 0);
    return link_start(t, host->main);
}

static err_t stdio_start(struct task *t, struct upstream *u) {
    if (!u->impl) {
        struct stdio_host *host = NEW(struct stdio_host);
        host->upstream = u;
        u->impl = host;
    }
    host_of(u)->open = true;
    return start_main(t, host_of(u));
}

/* It ended over server/discover, or fell silent for good. */
static bool discover_is_to_blame(struct task *t, const struct stdio_link *l, const struct err *e) {
    return !task_cancelled(t) && l->host->open && (l->state == LINK_OVER || e->kind == ERR_TIMEOUT);
}

static err_t probe(struct task *t, struct upstream *u) {
    struct stdio_host *host = host_of(u);
    bool discover = !host->known || host->era == ERA_MODERN;
    err_t e = shake_hands(t, host->main, discover, &u->info_arena, &u->info);
    if (!e || !discover || !discover_is_to_blame(t, host->main, e))
        return e;
    log_info("asking again without server/discover", F("upstream", u->conf->name), F("error", e->text));
    TRY(start_main(t, host));
    return shake_hands(t, host->main, false, &u->info_arena, &u->info);
}

static err_t stdio_probe(struct task *t, struct upstream *u) {
    struct stdio_host *host = host_of(u);
    err_t e = probe(t, u);
    host->known = !e;
    if (e)
        return e;
    host->era = revision_era(u->info.revision);
    link_ready(host->main);
    return OK;
}

/* Modern servers tell only who asked (P-110). Its answer comes when the child ends, if ever. */
static err_t listen_for_changes(struct task *t, struct upstream *u, struct stdio_link *l) {
    if (!l->modern || l->listening || !u->info.has.list_changed)
        return OK;
    l->listening = true;
    struct upstream_request r = { 0 };
    upstream_next_id(u, task_worker(t), &r);
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"subscriptions/listen\",\"params\":{\"notifications\":"
                   "{\"toolsListChanged\":true,\"promptsListChanged\":true,\"resourcesListChanged\":true},"
                   "\"_meta\":", r.id_text);
    modern_meta(&text, u->info.revision);
    buf_str(&text, S("}}"));
    return link_say(l, buf_view(&text));
}

static err_t stdio_watch(struct task *t, struct upstream *u) {
    struct stdio_host *host = host_of(u);
    struct stdio_link *l = host->main;
    TRY(listen_for_changes(t, u, l));
    while (l->state != LINK_OVER && !l->changed)
        TRY(event_wait(t, &host->news));
    if (l->state != LINK_OVER)
        TRY(task_sleep(t, SETTLE));
    if (l->state == LINK_OVER)
        return err_again(&l->why);
    l->changed = false;
    return OK;
}

static void stdio_stop(struct task *t, struct upstream *u) {
    static const struct err stopped = { ERR_UNAVAILABLE, "was stopped" };
    struct stdio_host *host = host_of(u);
    if (!host)
        return;
    host->open = false;
    for (struct stdio_link *l = host->all, *next; l; l = next) {
        next = l->next;
        if (l->opener)
            task_cancel(l->opener);
        link_over(l, &stopped);
    }
    drop_main(host, &stopped);
    while (host->all && !event_wait(t, &host->news))
        ;
    for (struct stdio_link *l = host->all; l; l = l->next) {
        log_error("child does not end", F("upstream", u->conf->name));
        if (l->child)
            stdio_child_abandon(l->child);
    }
}

/* ---- children of other shares --------------------------------------------------------------- */

static err_t open_private(struct task *t, struct stdio_link *l) {
    struct upstream *u = l->host->upstream;
    enum revision revision = (enum revision)atomic_load(&u->revision);
    TRY(link_start(t, l));
    l->modern = revision_era(revision) == ERA_MODERN;
    if (l->modern)
        return OK; /* every request says all there is to know (P-040) */
    SCOPED(arena_scope) struct arena a;
    struct upstream_info info;
    arena_init(&a, NULL, 0);
    TRY(shake_hands(t, l, false, &a, &info));
    if (info.revision != revision)
        return ERR(UPSTREAM, "it chose revision %.*s this time", STR(revision_text(info.revision)));
    return OK;
}

static void refuse_private(struct stdio_link *l, const struct err *why, nanos now) {
    struct stdio_host *host = l->host;
    if (host->open) {
        log_warn("child did not start", F("upstream", name_of(l)), F("error", why->text));
        host->refusal = *why;
        host->refused_until = now + host->upstream->conf->restart_backoff;
    }
    link_over(l, why);
}

static void run_opener(struct task *t, void *arg) {
    struct stdio_link *l = arg;
    err_t e = open_private(t, l);
    l->opener = NULL;
    if (e) {
        struct err why = *e;
        refuse_private(l, &why, task_now(t));
    } else {
        link_ready(l);
    }
    link_unref(l);
}

/* The one that was idle for longest goes. */
static err_t make_room(struct stdio_host *host) {
    static const struct err room = { ERR_UNAVAILABLE, "made room for another caller" };
    struct stdio_link *oldest = NULL;
    uint64_t share;
    void *link;
    for (size_t i = 0; idmap_next(&host->links, &i, &share, &link);) {
        struct stdio_link *l = link;
        if (l->state == LINK_READY && !l->calls.count && (!oldest || l->used < oldest->used))
            oldest = l;
    }
    if (!oldest)
        return ERR(UNAVAILABLE, "%d callers have a child of their own and all are busy", PRIVATE_MAX);
    link_over(oldest, &room);
    return OK;
}

static err_t add_private(struct stdio_host *host, uint64_t share, struct stdio_link **out) {
    struct worker *w = home_of(host->upstream);
    if (worker_now(w) < host->refused_until)
        return ERR(UNAVAILABLE, "%s", host->refusal.text);
    if (host->links.count >= PRIVATE_MAX)
        TRY(make_room(host));
    struct stdio_link *l = link_new(host, share);
    l->opener = task_spawn(w, run_opener, l);
    if (!l->opener) {
        link_unref(l);
        return ERR(UNAVAILABLE, "too many tasks are running to start a child");
    }
    l->refs++;
    idmap_put(&host->links, share, l);
    *out = l;
    return OK;
}

/* ---- calls ------------------------------------------------------------------------------- */

static err_t main_link(struct stdio_host *host, struct stdio_link **out) {
    struct stdio_link *l = host->main;
    if (!l || l->state == LINK_OPENING)
        return ERR(UNAVAILABLE, "is starting");
    if (l->state == LINK_OVER)
        return ERR(UNAVAILABLE, "%s", l->why.text);
    *out = l;
    return OK;
}

/* Home worker: sends, or puts in line for a child that starts. */
static err_t place(struct stdio_call *c) {
    struct stdio_host *host = host_of(c->upstream);
    if (!host || !host->open)
        return ERR(UNAVAILABLE, "is not running");
    struct stdio_link *l = c->share ? idmap_get(&host->links, c->share) : NULL;
    if (!c->share)
        TRY(main_link(host, &l));
    else if (!l)
        TRY(add_private(host, c->share, &l));
    return l->state == LINK_READY ? send_call(l, c) : wait_in_line(l, c);
}

/* Home worker: its caller gave up. */
static void forget(struct stdio_call *c) {
    struct stdio_link *l = c->link;
    if (!l)
        return;
    c->link = NULL;
    if (c->message) {
        leave_line(l, c);
    } else {
        SCOPED(buf_done) struct buf text = { 0 };
        idmap_del(&l->calls, c->id);
        buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
                       "{\"requestId\":%llu,\"reason\":\"the caller gave up\"}}", (unsigned long long)c->id);
        link_tell(l, buf_view(&text)); /* P-243 */
    }
    stdio_call_unref(c);
}

static void on_start(struct worker *w, struct mail *m) {
    struct stdio_call *c = call_of_mail(m, start);
    err_t e = place(c);
    if (e)
        stdio_call_fail(c, e);
    stdio_call_unref(c);
}

static void on_end(struct worker *w, struct mail *m) {
    struct stdio_call *c = call_of_mail(m, end);
    forget(c);
    stdio_call_unref(c);
}

static err_t stdio_begin(struct task *t, struct upstream_call *call) {
    struct upstream *u = call->upstream;
    const struct upstream_request *r = call->request;
    struct stdio_out *message = stdio_out_new(r->message, r->pieces);
    struct stdio_call *c = call->stdio = stdio_call_new(u, call->worker, r->id, r->share, message);
    if (call->worker == home_of(u))
        return place(c);
    stdio_call_ref(c);
    c->start = (struct mail){ .deliver = on_start, .bytes = message->n + sizeof *c };
    if (worker_post(home_of(u), &c->start))
        return OK;
    stdio_call_unref(c);
    return ERR(UNAVAILABLE, "too much waits for the worker that owns its pipes");
}

static err_t stdio_next(struct task *t, struct upstream_call *call, struct envelope *out) {
    return stdio_call_next(t, call->stdio, out);
}

static void stdio_end(struct upstream_call *call, struct upstream *u) {
    struct stdio_call *c = TAKE(call->stdio);
    if (!c)
        return;
    stdio_call_end(c);
    if (call->began && !call->answered && call->worker == home_of(u)) {
        forget(c);
    } else if (call->began && !call->answered) {
        stdio_call_ref(c);
        c->end = (struct mail){ .deliver = on_end };
        if (!worker_post(home_of(u), &c->end))
            stdio_call_unref(c);
    }
    stdio_call_unref(c);
}

/* Nobody is left: a link holds a reference. */
static void stdio_free(struct upstream *u) {
    struct stdio_host *host = host_of(u);
    if (host)
        idmap_done(&host->links);
    free(host);
}

const struct upstream_ops upstream_stdio = {
    .kind = "stdio",
    .start = stdio_start,
    .probe = stdio_probe,
    .watch = stdio_watch,
    .stop = stdio_stop,
    .begin = stdio_begin,
    .next = stdio_next,
    .end = stdio_end,
    .free = stdio_free,
};
