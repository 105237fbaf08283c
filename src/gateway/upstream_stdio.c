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
#include "gateway/stdio_link.h"
#include "gateway/subscribe.h"

enum {
    PRIVATE_MAX = 64,     /* children of other shares than 0 */
    PROBES_TO_START = 20, /* probe timeouts that initialize may take: programs load for long */
};
#define SETTLE (100 * NANOS_MS) /* changes come in bursts: one listing for all */

#define call_of_mail(m, member) \
    ((struct stdio_call *)((char *)(m)-offsetof(struct stdio_call, member)))

static struct stdio_host *host_of(struct upstream *u) {
    return u->impl;
}

/* ---- shaking hands ---------------------------------------------------------------- */

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
    TRY(stdio_link_say(s->link, buf_view(text)));
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
    if (m->kind == ENVELOPE_RESULT && !handshake_is_discovery(m->result))
        return OK;
    if (m->kind == ENVELOPE_RESULT) {
        TRY(handshake_read_discover(s->arena, m->result, s->info));
        *out_modern = true;
    } else if (handshake_is_modern_error(m->error, &mutual)) { /* P-043 */
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
    return stdio_link_say(s->link, handshake_initialized());
}

static err_t try_initialize(struct task *t, struct shake *s) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct upstream *u = s->link->host->upstream;
    nanos patience = PROBES_TO_START * u->conf->probe_timeout;
    upstream_next_id(u, task_worker(t), &s->initialize);
    handshake_initialize(&text, s->initialize.id_text, LATEST_LEGACY,
                         upstream_declares(u, s->link->asks, s->link->share));
    TRY(shake_ask(s, &s->initialize, &text));
    for (;;) {
        struct envelope m;
        bool modern = false;
        TRY_WRAP(shake_await(t, s, patience > u->conf->timeout ? patience : u->conf->timeout, &m),
                 "initialize");
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

/* ---- the keeper's child ----------------------------------------------------------- */

static void drop_main(struct stdio_host *host, const struct err *why) {
    struct stdio_link *l = host->main;
    if (!l)
        return;
    stdio_link_over(l, why);
    host->main = NULL;
    stdio_link_unref(l);
}

static err_t start_main(struct task *t, struct stdio_host *host) {
    static const struct err again = { ERR_UNAVAILABLE, "is started anew" };
    drop_main(host, &again);
    host->main = stdio_link_new(host, 0);
    return stdio_link_start(t, host->main);
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
    log_info("asking again without server/discover", F("upstream", u->conf->name),
             F("error", e->text));
    TRY(start_main(t, host));
    return shake_hands(t, host->main, false, &u->info_arena, &u->info);
}

/* Modern servers tell only who asked (P-110): before the lists are read, so that no change falls
 * in between. Its answer comes when the child ends, if ever. */
static err_t listen_for_changes(struct task *t, struct upstream *u, struct stdio_link *l) {
    if (!l->modern || !u->info.has.list_changed)
        return OK;
    struct upstream_request r = { 0 };
    upstream_next_id(u, task_worker(t), &r);
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text,
            "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"subscriptions/"
            "listen\",\"params\":{\"notifications\":"
            "{\"toolsListChanged\":true,\"promptsListChanged\":true,\"resourcesListChanged\":true},"
            "\"_meta\":",
            r.id_text);
    modern_meta(&text, u->info.revision);
    buf_str(&text, S("}}"));
    return stdio_link_say(l, buf_view(&text));
}

static err_t stdio_probe(struct task *t, struct upstream *u) {
    struct stdio_host *host = host_of(u);
    err_t e = probe(t, u);
    host->known = !e;
    if (e)
        return e;
    host->era = revision_era(u->info.revision);
    stdio_link_ready(host->main);
    return listen_for_changes(t, u, host->main);
}

static void listen_to_uris(struct upstream *u, struct stdio_link *l, struct str uris) {
    struct upstream_request r = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    upstream_next_id(u, stdio_home(u), &r);
    buf_fmt(&text,
            "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"subscriptions/listen\",\"params\":"
            "{\"notifications\":{\"resourceSubscriptions\":",
            r.id_text);
    buf_str(&text, uris);
    buf_str(&text, S("},\"_meta\":"));
    modern_meta(&text, u->info.revision);
    buf_str(&text, S("}}"));
    stdio_link_tell(l, buf_view(&text));
    l->uris_listen = r.id;
}

/* The new listen first: an update may come twice, but none is missed. */
static void stdio_watch_uris(struct upstream *u) {
    struct stdio_link *l = host_of(u) ? host_of(u)->main : NULL;
    SCOPED(buf_done) struct buf uris = { 0 };
    if (!l || l->state != LINK_READY)
        return; /* restored when it is */
    uint64_t before = l->uris_listen;
    l->uris_listen = 0;
    if (watched_write(u, &uris))
        listen_to_uris(u, l, buf_view(&uris));
    if (!before)
        return;
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text,
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
            "{\"requestId\":%llu}}",
            (unsigned long long)before);
    stdio_link_tell(l, buf_view(&text));
}

static err_t stdio_watch(struct task *t, struct upstream *u) {
    struct stdio_host *host = host_of(u);
    struct stdio_link *l = host->main;
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
        stdio_link_over(l, &stopped);
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

/* ---- children of other shares ----------------------------------------------------- */

static err_t open_private(struct task *t, struct stdio_link *l) {
    struct upstream *u = l->host->upstream;
    enum revision revision = (enum revision)atomic_load(&u->revision);
    TRY(stdio_link_start(t, l));
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
        log_warn("child did not start", F("upstream", stdio_link_name(l)), F("error", why->text));
        host->refusal = *why;
        host->refused_until = now + host->upstream->conf->restart_backoff;
    }
    stdio_link_over(l, why);
}

static void run_opener(struct task *t, void *arg) {
    struct stdio_link *l = arg;
    err_t e = open_private(t, l);
    l->opener = NULL;
    if (e) {
        struct err why = *e;
        refuse_private(l, &why, task_now(t));
    } else {
        stdio_link_ready(l);
    }
    stdio_link_unref(l);
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
        return ERR(UNAVAILABLE, "%d callers have a child of their own and all are busy",
                   PRIVATE_MAX);
    stdio_link_over(oldest, &room);
    return OK;
}

static err_t add_private(struct stdio_host *host, uint64_t share, unsigned asks,
                         struct stdio_link **out) {
    struct worker *w = stdio_home(host->upstream);
    if (worker_now(w) < host->refused_until)
        return ERR(UNAVAILABLE, "%s", host->refusal.text);
    if (host->links.count >= PRIVATE_MAX)
        TRY(make_room(host));
    struct stdio_link *l = stdio_link_new(host, share);
    l->asks = asks;
    l->opener = task_spawn(w, run_opener, l);
    if (!l->opener) {
        stdio_link_unref(l);
        return ERR(UNAVAILABLE, "too many tasks are running to start a child");
    }
    l->refs++;
    idmap_put(&host->links, share, l);
    *out = l;
    return OK;
}

/* ---- calls ------------------------------------------------------------------------ */

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
        TRY(add_private(host, c->share, c->asks, &l));
    return stdio_link_take(l, c);
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
    stdio_link_forget(c);
    stdio_call_unref(c);
}

static err_t stdio_begin(struct task *t, struct upstream_call *call) {
    struct upstream *u = call->upstream;
    const struct upstream_request *r = call->request;
    struct stdio_out *message = stdio_out_new(r->message, r->pieces);
    struct stdio_call *c = call->stdio = stdio_call_new(u, call->worker, r->id, r->share, message);
    c->asks = r->asks;
    c->verbosity = r->verbosity;
    c->caller_key = r->caller;
    if (call->worker == stdio_home(u))
        return place(c);
    stdio_call_ref(c);
    c->start = (struct mail){ .deliver = on_start, .bytes = message->n + sizeof *c };
    if (worker_post(stdio_home(u), &c->start))
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
    if (call->began && !call->answered && call->worker == stdio_home(u)) {
        stdio_link_forget(c);
    } else if (call->began && !call->answered) {
        stdio_call_ref(c);
        c->end = (struct mail){ .deliver = on_end };
        if (!worker_post(stdio_home(u), &c->end))
            stdio_call_unref(c);
    }
    stdio_call_unref(c);
}

struct said { /* a message for the child that has the call */
    struct mail mail;
    struct stdio_call *call; /* a reference */
    size_t n;
    char text[];
};

/* A call that has ended may owe an answer still: the server waits for it. */
static struct stdio_link *link_to_tell(const struct stdio_call *c) {
    struct stdio_host *host = host_of(c->upstream);
    struct stdio_link *l = c->link;
    if (!l && host && host->open)
        l = c->share ? idmap_get(&host->links, c->share) : host->main;
    return l && l->state == LINK_READY ? l : NULL;
}

static void on_said(struct worker *w, struct mail *m) {
    struct said *s = (struct said *)m;
    struct stdio_call *c = s->call;
    struct stdio_link *l = link_to_tell(c);
    if (c->questions)
        c->questions--;
    if (l) {
        c->turn = ++l->sent;
        stdio_link_tell(l, str_from(s->text, s->n));
    }
    stdio_call_unref(c);
    free(s);
}

static void stdio_say(struct upstream_call *call, struct str text) {
    struct said *s = mem_alloc(sizeof *s + text.n);
    *s = (struct said){ .mail.deliver = on_said, .mail.bytes = sizeof *s + text.n, .n = text.n };
    s->call = stdio_call_ref(call->stdio);
    memcpy(s->text, text.p, text.n);
    struct worker *home = stdio_home(call->upstream);
    if (call->worker == home) {
        on_said(home, &s->mail);
    } else if (!worker_post(home, &s->mail)) {
        stdio_call_unref(s->call);
        free(s);
    }
}

static void stdio_tell(struct upstream *u, uint64_t share, struct str text) {
    struct stdio_host *host = host_of(u);
    struct stdio_link *l = !host ? NULL : share ? idmap_get(&host->links, share) : host->main;
    if (l && l->state == LINK_READY && !l->modern)
        stdio_link_tell(l, text);
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
    .say = stdio_say,
    .tell = stdio_tell,
    .watch_uris = stdio_watch_uris,
    .free = stdio_free,
};
