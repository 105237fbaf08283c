/* http_session.c - see http_session.h. */
#include "gateway/http_session.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/http_handshake.h"
#include "gateway/subscribe.h"
#include "gateway/upstream_hear.h"

#define LEVEL_PATIENCE (5 * NANOS_SEC)
enum { ERROR_BODY = 64 * 1024 };

struct http_session { /* an upstream's session for one share */
    uint64_t share;
    struct str id;      /* empty: the server keeps none */
    unsigned verbosity; /* of log messages: what it was told; 0: nothing */
    /* home worker */
    bool busy;          /* being opened, or told a level */
    bool dropped;       /* in no table any more, the last user frees it */
    unsigned users;     /* tasks that wait with it in hand */
    nanos used;         /* when somebody asked last */
};

/* ---- the table ---------------------------------------------------------------------- */

/* It is in no table any more. */
static void session_drop(struct http_session *s) {
    if (!s)
        return;
    s->dropped = true;
    if (s->users)
        return;
    free((char *)s->id.p);
    free(s);
}

static void session_leave(struct http_session *s) {
    if (--s->users == 0 && s->dropped)
        session_drop(s);
}

void http_sessions_forget(struct idmap *sessions) {
    uint64_t share;
    void *s;
    for (size_t i = 0; idmap_next(sessions, &i, &share, &s);)
        session_drop(s);
    idmap_done(sessions);
}

/* Shares come and go with clients: the one that was asked for longest ago makes room. */
static void forget_oldest(struct idmap *sessions) {
    const struct http_session *oldest = NULL;
    uint64_t share;
    void *s;
    for (size_t i = 0; idmap_next(sessions, &i, &share, &s);)
        if (!oldest || ((struct http_session *)s)->used < oldest->used)
            oldest = s;
    if (oldest)
        session_drop(idmap_del(sessions, oldest->share));
}

/* Home worker. */
static struct http_session *session_enter(struct idmap *sessions, uint64_t share, nanos now) {
    struct http_session *s = idmap_get(sessions, share);
    if (!s) {
        if (sessions->count >= SESSIONS_KEPT)
            forget_oldest(sessions);
        s = NEW(struct http_session);
        s->share = share;
        idmap_put(sessions, share, s);
    }
    s->used = now;
    s->users++;
    return s;
}

/* ---- a new one ---------------------------------------------------------------------- */

static void run_restore(struct task *t, void *arg) {
    watched_restore(t, arg);
    upstream_unref(arg);
}

static void restore_later(struct task *t, struct upstream *u) {
    if (!task_spawn(task_worker(t), run_restore, upstream_ref(u)))
        upstream_unref(u);
}

/* A new session in place of what `s` has. */
static err_t renew(struct task *t, struct upstream *u, unsigned asks, struct http_session *s) {
    struct arena a;
    arena_init(&a, NULL, 0);
    struct upstream_info info;
    struct str id;
    s->busy = true;
    err_t e = http_initialize(t, u, upstream_declares(u, asks, s->share), &a, &info, &id);
    s->busy = false;
    if (!e) {
        free((char *)s->id.p);
        s->id = str_from(mem_text(id.p, id.n), id.n);
        s->verbosity = 0;
        hearings_anew(http_link(u)->hearings);
        if (!s->share)
            restore_later(t, u); /* what the old session had subscribed to is forgotten */
    }
    arena_done(&a);
    return e;
}

static err_t set_level(struct task *t, struct upstream *u, struct str session, unsigned verbosity) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, LEVEL_PATIENCE);
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    SCOPED(buf_done) struct buf message = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    struct upstream_request own = { 0 };
    struct envelope answer;
    upstream_next_id(u, task_worker(t), &own);
    handshake_set_level(&message, own.id_text, verbosity);
    struct http_post p = { .revision = upstream_revision(u), .session = session };
    TRY(http_post_text(t, u, &p, buf_view(&message), &r));
    if (r.status != 200)
        return http_refused(r.status);
    TRY(http_read_response(t, &r, str_of(own.id_text), &text, &answer));
    return answer.kind == ENVELOPE_RESULT ? OK
                                          : ERR(UPSTREAM, "%.*s", STR(str_head(answer.error, 200)));
}

/* P-443. What cannot be told is told once only: no call fails or waits again for its log. */
static void tell_level(struct task *t, struct upstream *u, struct http_session *s,
                       unsigned verbosity) {
    if (verbosity <= s->verbosity || !atomic_load(&u->takes_levels))
        return;
    s->busy = true;
    err_t e = set_level(t, u, s->id, verbosity);
    s->busy = false;
    s->verbosity = verbosity;
    if (e)
        log_debug("upstream was not told a log level", F("upstream", u->conf->name),
                  F("error", e->text));
}

/* ---- the home worker ---------------------------------------------------------------- */

/* Single file for each share. The keeper may drop the session meanwhile. */
static err_t get_session(struct task *t, void *arg) {
    struct http_session_order *o = arg;
    struct http_session *s = session_enter(&http_link(o->upstream)->sessions, o->share,
                                           task_now(t));
    err_t e = OK;
    while (!e && s->busy)
        e = task_sleep(t, 2 * NANOS_MS);
    if (!e && (!s->id.p || (o->stale.p && str_eq(s->id, o->stale))))
        e = renew(t, o->upstream, o->asks, s);
    if (!e) {
        tell_level(t, o->upstream, s, o->verbosity);
        o->verbosity = s->verbosity;
        buf_str(&o->id, s->id);
    }
    session_leave(s);
    return e;
}

bool http_session_is(struct upstream *u, uint64_t share, struct str session) {
    const struct http_session *s = idmap_get(&http_link(u)->sessions, share);
    return s && str_eq(s->id, session);
}

/* ---- any worker --------------------------------------------------------------------- */

static void side_forget(struct upstream_side *side, uint64_t share) {
    session_drop(idmap_del(&side->sessions, share));
}

static bool is_known(const struct http_session *s, const struct http_session_order *o) {
    return s && !(o->stale.p && str_eq(s->id, o->stale)) &&
           (o->verbosity <= s->verbosity || !atomic_load(&o->upstream->takes_levels));
}

static struct http_session *side_remember(struct upstream_side *side,
                                          const struct http_session_order *o) {
    side_forget(side, o->share);
    if (side->sessions.count >= SESSIONS_KEPT)
        http_sessions_forget(&side->sessions); /* the home worker knows them */
    struct http_session *s = NEW(struct http_session);
    s->share = o->share;
    s->verbosity = o->verbosity;
    s->id = str_from(mem_text(o->id.p, o->id.n), o->id.n);
    idmap_put(&side->sessions, o->share, s);
    return s;
}

/* The session id for a share, from this worker's memory or the home worker. */
err_t http_session_for(struct task *t, struct http_session_order *o, struct str *out) {
    struct upstream *u = o->upstream;
    struct upstream_side *side = upstream_side(u, task_worker(t));
    struct http_session *s = idmap_get(&side->sessions, o->share);
    if (!is_known(s, o)) {
        struct worker *home = workers_at(u->all, u->home);
        err_t e = task_worker(t) == home ? get_session(t, o) : task_on(t, home, get_session, o);
        if (!e)
            s = side_remember(side, o);
        buf_done(&o->id);
        TRY(e);
    }
    *out = s->id;
    return OK;
}

void http_session_put(struct task *t, struct upstream *u, struct str id) {
    struct http_link *link = http_link(u);
    hearings_anew(link->hearings);
    struct http_session *s = NEW(struct http_session);
    s->id = str_from(mem_text(id.p, id.n), id.n);
    session_drop(idmap_put(&link->sessions, 0, s));
    side_forget(upstream_side(u, task_worker(t)), 0);
}

void http_session_tell(struct upstream *u, uint64_t share, struct str message) {
    const struct http_session *s = http_link(u) ? idmap_get(&http_link(u)->sessions, share) : NULL;
    if (s && s->id.p && upstream_is_legacy(u))
        http_tell(workers_at(u->all, u->home), u, s->id, message);
}

/* ---- the end ------------------------------------------------------------------------ */

static err_t delete_session(struct task *t, struct upstream *u, struct http_pool *pool,
                            struct str id) {
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    SCOPED(buf_done) struct buf head = { 0 };
    http_link_prefix(u, &head, "DELETE", "application/json, text/event-stream");
    if (u->info.revision >= R06)
        buf_fmt(&head, "mcp-protocol-version: %.*s\r\n", STR(revision_text(u->info.revision)));
    buf_fmt(&head, "mcp-session-id: %.*s\r\ncontent-length: 0\r\n\r\n", STR(id));
    struct str piece = buf_view(&head), body;
    TRY(http_call(t, pool, &piece, 1, HTTP_SAFE, &r));
    return http_reply_body(t, &r, ERROR_BODY, &body);
}

/* Hands the sessions back (P-037), as many as a moment allows; a server that is not there any more
 * forgets them by itself. Over connections of its own: those of the calls are being closed. */
static void end_sessions(struct task *t, struct upstream *u, struct idmap *sessions) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, NANOS_SEC);
    struct http_pool *pool = http_link_pool(u, task_worker(t));
    err_t e = OK;
    uint64_t share;
    void *s;
    for (size_t i = 0; !e && idmap_next(sessions, &i, &share, &s);)
        if (((struct http_session *)s)->id.n)
            e = delete_session(t, u, pool, ((struct http_session *)s)->id);
    if (e)
        log_debug("sessions not handed back", F("upstream", u->conf->name), F("error", e->text));
    http_pool_free(pool);
}

void http_sessions_end(struct task *t, struct upstream *u, bool hand_back) {
    struct idmap sessions = http_link(u)->sessions; /* calls may open others meanwhile */
    http_link(u)->sessions = (struct idmap){ 0 };
    if (hand_back && sessions.count)
        end_sessions(t, u, &sessions);
    http_sessions_forget(&sessions);
}
