/* http_changes.c - see http_changes.h. */
#include "gateway/http_changes.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/http_session.h"
#include "gateway/subscribe.h"

#define RELIST (60 * NANOS_SEC) /* where the upstream offers no stream of changes */

static void take_update(struct upstream *u, struct str params) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct str uri = json_raw_get(params, S("uri"));
    if (uri.n > 2 && uri.p[0] == '"')
        watched_updated(u, json_unquote(&a, uri));
}

/* From here on the server tells of the URIs; what it had to tell since the client subscribed, or
 * since the stream before this one, went to nobody (P-410). */
static bool uris_are_heard(const struct envelope *m) {
    return str_eq(m->method, S("notifications/subscriptions/acknowledged")) &&
           str_eq(json_raw_get(json_raw_get(m->params, S("_meta")),
                               S("io.modelcontextprotocol/subscriptionId")),
                  S("\"uris\""));
}

static bool says_changed(struct upstream *u, struct str data) {
    struct envelope m;
    if (envelope_scan(data, (struct envelope_limits){ 0 }, &m) != ENVELOPE_NONE)
        return false;
    if (uris_are_heard(&m))
        watched_updated_all(u);
    enum method method = method_parse(m.method);
    if (method == METHOD_N_RESOURCE_UPDATED)
        take_update(u, m.params);
    if (method == METHOD_N_TASK_STATUS)
        upstream_task_told(u, 0, m.params);
    return method == METHOD_N_TOOLS_CHANGED || method == METHOD_N_PROMPTS_CHANGED ||
           method == METHOD_N_RESOURCES_CHANGED;
}

static void changes_close(struct changes *c) {
    http_reply_done(&c->reply);
    sse_done(&c->sse);
    *c = (struct changes){ 0 };
}

/* Reads the stream until it names a change (OK) or ends (CLOSED). */
static err_t read_changes(struct task *t, struct upstream *u, struct changes *c) {
    struct sse_event event;
    for (bool changed = false; !changed;) {
        struct str bytes;
        err_t e = OK;
        TRY(http_reply_next(t, &c->reply, &bytes));
        if (!bytes.n)
            return ERR(CLOSED, "the stream of changes ended");
        while (sse_next(&c->sse, &bytes, &event, &e))
            changed |= says_changed(u, event.data);
        TRY(e);
    }
    return OK;
}

static err_t ask_for_changes(struct task *t, struct upstream *u, struct http_reply *r) {
    if (!upstream_is_legacy(u)) {
        SCOPED(buf_done) struct buf message = { 0 };
        buf_str(&message,
                S("{\"jsonrpc\":\"2.0\",\"id\":\"changes\",\"method\":\"subscriptions/"
                  "listen\",\"params\":"
                  "{\"notifications\":{\"toolsListChanged\":true,\"promptsListChanged\":true,"
                  "\"resourcesListChanged\":true},\"_meta\":"));
        modern_meta(&message, u->info.revision);
        buf_str(&message, S("}}"));
        struct http_post p = { .revision = u->info.revision, .method = METHOD_LISTEN };
        return http_post_text(t, u, &p, buf_view(&message), r);
    }
    struct str session;
    struct http_session_order order = { .upstream = u };
    TRY(http_session_for(t, &order, &session)); /* used before anything waits */
    return http_get_stream(t, u, session, S(""), r);
}

/* Without a stream of changes one lists once in a while. */
static err_t open_changes(struct task *t, struct upstream *u, struct changes *c) {
    TRY(ask_for_changes(t, u, &c->reply));
    c->open = c->reply.status == 200 && c->reply.event_stream;
    if (!c->open) {
        changes_close(c);
        return task_sleep(t, RELIST);
    }
    if (upstream_is_legacy(u))
        watched_updated_all(u); /* what changed while there was no stream? (P-410) */
    return OK;
}

/* OK: list again. Once when the stream is open, since what changed after the last list and before
 * that was told to nobody (P-115); then for each change, while the stream stays open. */
err_t http_watch(struct task *t, struct upstream *u) {
    if (!u->info.has.list_changed && !(upstream_is_legacy(u) && u->info.has.subscribe))
        return task_sleep(t, RELIST);
    struct changes *c = &http_link(u)->changes;
    err_t e = c->open ? read_changes(t, u, c) : open_changes(t, u, c);
    if (!e)
        return OK;
    struct err why = *e;
    changes_close(c);
    return why.kind == ERR_CLOSED ? task_sleep(t, NANOS_SEC) : err_again(&why);
}

/* ---- watched URIs of a modern server (P-409, P-410) --------------------------------- */

static err_t listen_to_uris(struct task *t, struct upstream *u, struct str uris) {
    SCOPED(changes_close) struct changes c = { 0 };
    SCOPED(buf_done) struct buf message = { 0 };
    buf_str(&message, S("{\"jsonrpc\":\"2.0\",\"id\":\"uris\",\"method\":\"subscriptions/listen\","
                        "\"params\":{\"notifications\":{\"resourceSubscriptions\":"));
    buf_str(&message, uris);
    buf_str(&message, S("},\"_meta\":"));
    modern_meta(&message, u->info.revision);
    buf_str(&message, S("}}"));
    struct http_post p = { .revision = u->info.revision, .method = METHOD_LISTEN };
    TRY(http_post_text(t, u, &p, buf_view(&message), &c.reply));
    if (c.reply.status != 200 || !c.reply.event_stream)
        return http_refused(c.reply.status);
    err_t e = OK;
    while (!e)
        e = read_changes(t, u, &c);
    return e;
}

static void spawn_listener(struct upstream *u);

static void run_listener(struct task *t, void *arg) {
    struct upstream *u = arg;
    struct http_link *link = http_link(u);
    while (!task_cancelled(t)) {
        SCOPED(buf_done) struct buf uris = { 0 };
        if (!watched_write(u, &uris))
            break;
        err_t e = listen_to_uris(t, u, buf_view(&uris));
        log_debug("updates are not heard", F("upstream", u->conf->name), F("error", e->text));
        if (task_sleep(t, NANOS_SEC))
            break;
    }
    link->listener = NULL;
    if (link->listen_again)
        spawn_listener(u);
    upstream_unref(u);
}

static void spawn_listener(struct upstream *u) {
    struct http_link *link = http_link(u);
    link->listen_again = false;
    link->listener = task_spawn(workers_at(u->all, u->home), run_listener, upstream_ref(u));
    if (!link->listener)
        upstream_unref(u);
}

void http_watch_uris(struct upstream *u) {
    struct http_link *link = http_link(u);
    if (!link || atomic_load(&u->state) == UP_STOPPED)
        return;
    if (!link->listener) {
        spawn_listener(u);
        return;
    }
    link->listen_again = true;
    task_cancel(link->listener);
}

void http_changes_stop(struct upstream *u) {
    struct http_link *link = http_link(u);
    link->listen_again = false;
    if (link->listener)
        task_cancel(link->listener);
    changes_close(&link->changes);
}
