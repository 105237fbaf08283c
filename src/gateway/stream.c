/* stream.c - see stream.h. A stream remembers the digests of the lists that its client
 * could have seen, so a new snapshot that changes nothing for it says nothing. */
#include "gateway/stream.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/resume.h"
#include "gateway/subscribe.h"
#include "gateway/task_watch.h"

enum change { CHANGE_TOOLS, CHANGE_PROMPTS, CHANGE_RESOURCES, CHANGES };

static const struct {
    const char *member; /* of a listen filter */
    enum method notification;
} changes[CHANGES] = {
    [CHANGE_TOOLS] = { "toolsListChanged", METHOD_N_TOOLS_CHANGED },
    [CHANGE_PROMPTS] = { "promptsListChanged", METHOD_N_PROMPTS_CHANGED },
    [CHANGE_RESOURCES] = { "resourcesListChanged", METHOD_N_RESOURCES_CHANGED },
};

struct push_stream {
    struct push_stream *next, **back;
    struct gateway_worker *gw;
    const struct push_ops *ops;
    void *self;                    /* the carrier: a request, a face */
    struct timer keep_alive;
    uint64_t number;               /* of no other stream, for its session */
    uint64_t principal;
    struct str who;                /* id of its key; ours to free. Empty: no key was needed */
    unsigned who_index;
    char session[SESSION_ID];      /* legacy; all zero for a listen */
    struct str listen_id;          /* raw id of the listen request; ours to free */
    bool open;                     /* somebody reads it */
    bool wants[CHANGES];
    uint64_t seen[CHANGES];
    struct watched_list watches; /* of a listen; a session's are in gateway->subscribers */
    struct task_watch *tasks;    /* of a listen; NULL: none */
};

/* ---- life -------------------------------------------------------------------------- */

static void set_open(struct push_stream *p, bool open) {
    if (p->open != open)
        metric_add(METRIC_SERIES(&metric_streams_open), open ? 1 : -1);
    p->open = open;
}

static void unlink_stream(struct push_stream *p) {
    struct gateway_worker *gw = p->gw;
    *p->back = p->next;
    if (p->next)
        p->next->back = p->back;
    if (gw->told_next == p)
        gw->told_next = p->next;
    gw->stream_count--;
    set_open(p, false);
    timer_unset(gw->worker, &p->keep_alive);
    if (!p->listen_id.p)
        session_clear_stream(gw->gateway->sessions, str_from(p->session, SESSION_ID), p->number,
                             gw->worker->now);
    watched_release(gw->worker, &p->watches);
    task_watch_end(p->tasks);
    free((char *)p->listen_id.p);
    free((char *)p->who.p);
    free(p);
}

void stream_gone(struct gateway_worker *gw, const void *self) {
    for (struct push_stream *p = gw->streams, *next; p; p = next) {
        next = p->next;
        if (p->self == self)
            unlink_stream(p);
    }
}

static void on_keep_alive(struct worker *w, struct timer *t) {
    struct push_stream *p = (struct push_stream *)((char *)t -
                                                   offsetof(struct push_stream, keep_alive));
    timer_set(w, t, w->now + KEEP_ALIVE);
    p->ops->keep_alive(p->self); /* may end the stream */
    worker_run_ready(w);
}

struct push_stream *stream_new(struct gateway_worker *gw, const struct push_ops *ops, void *self) {
    struct push_stream *p = NEW(struct push_stream);
    *p = (struct push_stream){
        .gw = gw, .ops = ops, .self = self, .number = ++gw->next_stream << 8 | gw->worker->index,
        .keep_alive.fire = on_keep_alive,
    };
    p->next = gw->streams;
    p->back = &gw->streams;
    if (p->next)
        p->next->back = &p->next;
    gw->streams = p;
    gw->stream_count++;
    set_open(p, true);
    if (ops->keep_alive)
        timer_set(gw->worker, &p->keep_alive, gw->worker->now + KEEP_ALIVE);
    return p;
}

/* ---- over HTTP --------------------------------------------------------------------- */

static void on_gone(struct http_request *r) {
    stream_gone(gateway_here(r->worker), r);
}

static bool http_message(void *request, struct str text) {
    struct str event[] = { S(SSE_BEFORE), text, S(SSE_AFTER) };
    return http_stream_push(request, event, ARRAY_SIZE(event));
}

static void http_keep_alive(void *request) {
    struct str comment = S(": keep-alive\n\n");
    http_stream_push(request, &comment, 1);
}

static void http_close(void *request) {
    http_stream_close(request);
}

static const struct push_ops http_push = {
    .message = http_message, .keep_alive = http_keep_alive, .close = http_close,
};

struct push_stream *stream_over_http(struct gateway_worker *gw, struct http_request *r) {
    struct push_stream *p = stream_new(gw, &http_push, r);
    http_stream_detach(r, on_gone);
    return p;
}

/* ---- a GET stream, which its client may come back to --------------------------------- */

static bool lasting_message(void *s, struct str text) {
    resumable_push(s, text);
    return true;
}

static void lasting_keep_alive(void *s) {
    resumable_keep_alive(s);
}

static void lasting_close(void *s) {
    resumable_close(s);
}

static const struct push_ops lasting_push = {
    .message = lasting_message, .keep_alive = lasting_keep_alive, .close = lasting_close,
};

static void on_get_gone(struct http_request *r) {
    for (struct push_stream *p = gateway_here(r->worker)->streams; p; p = p->next)
        if (p->ops == &lasting_push && resumable_lost(p->self, r))
            return;
}

static void on_read(void *stream, bool somebody) {
    struct push_stream *p = stream;
    struct sessions *all = p->gw->gateway->sessions;
    struct str id = str_from(p->session, SESSION_ID);
    set_open(p, somebody);
    if (somebody)
        session_set_stream(all, id, (int)p->gw->worker->index, p->number);
    else
        session_lose_stream(all, id, p->number, p->gw->worker->now);
}

static void on_lapsed(void *stream) {
    struct push_stream *p = stream;
    struct resumable *s = p->self;
    unlink_stream(p);
    resumable_release(s);
}

static const struct resumable_owner get_owner = { .read = on_read, .lapsed = on_lapsed };

/* ---- what changed ------------------------------------------------------------------ */

static void digests(const struct catalogue *c, uint64_t out[CHANGES]) {
    out[CHANGE_TOOLS] = c->kind_digest[ITEM_TOOL];
    out[CHANGE_PROMPTS] = c->kind_digest[ITEM_PROMPT];
    out[CHANGE_RESOURCES] = c->kind_digest[ITEM_RESOURCE] ^ (c->kind_digest[ITEM_TEMPLATE] * 31);
}

void stream_push(struct push_stream *p, struct str text) {
    p->ops->message(p->self, text);
}

static bool push_message(struct push_stream *p, const struct buf *message) {
    return p->ops->message(p->self, buf_view(message));
}

static void write_change(struct push_stream *p, enum change what, struct buf *b) {
    buf_fmt(b, "{\"jsonrpc\":\"2.0\",\"method\":\"%.*s\"",
            STR(method_name(changes[what].notification)));
    if (p->listen_id.p) /* P-112 */
        buf_fmt(b, ",\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":%.*s}}",
                STR(p->listen_id));
    buf_char(b, '}');
}

static void tell(struct push_stream *p, const uint64_t now[CHANGES]) {
    for (int i = 0; i < CHANGES; i++) {
        if (!p->wants[i] || p->seen[i] == now[i])
            continue;
        p->seen[i] = now[i];
        SCOPED(buf_done) struct buf b = { 0 };
        write_change(p, (enum change)i, &b);
        if (!push_message(p, &b))
            return;
    }
}

void streams_tell_changes(struct gateway_worker *gw) {
    if (!gw)
        return;
    const struct snapshot *s = snapshot_peek(gw->worker, gw->gateway->snapshots);
    if (!s)
        return;
    uint64_t now[CHANGES];
    digests(s->catalogue, now);
    for (struct push_stream *p = gw->streams; p; p = gw->told_next) {
        gw->told_next = p->next;
        tell(p, now);
    }
}

static void write_update(const struct push_stream *p, struct str shown, struct buf *b) {
    struct jw w = jw_init(b);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    jw_put_string(&w, "method", method_name(METHOD_N_RESOURCE_UPDATED));
    jw_key(&w, S("params"));
    jw_object(&w);
    jw_put_string(&w, "uri", shown);
    if (p->listen_id.p) { /* P-112 */
        jw_key(&w, S("_meta"));
        jw_object(&w);
        jw_put_raw(&w, "io.modelcontextprotocol/subscriptionId", p->listen_id);
        jw_object_end(&w);
    }
    jw_object_end(&w);
    jw_object_end(&w);
}

/* P-622 */
static bool watches(const struct push_stream *p, struct str shown) {
    if (p->listen_id.p)
        return watched_has(&p->watches, shown);
    return subscribers_want(p->gw->gateway->subscribers, p->session, shown);
}

void streams_tell_update(struct gateway_worker *gw, struct str shown) {
    for (struct push_stream *p = gw ? gw->streams : NULL; p; p = gw->told_next) {
        gw->told_next = p->next;
        if (!watches(p, shown))
            continue;
        SCOPED(buf_done) struct buf b = { 0 };
        write_update(p, shown, &b);
        push_message(p, &b);
    }
}

void streams_tell_session(struct gateway_worker *gw, const char session[SESSION_ID],
                          uint64_t principal, struct str text) {
    for (struct push_stream *p = gw->streams; p; p = gw->told_next) {
        gw->told_next = p->next;
        if (!p->listen_id.p && p->principal == principal &&
            memcmp(p->session, session, SESSION_ID) == 0)
            stream_push(p, text);
    }
}

void streams_look_at_task(struct gateway_worker *gw, struct str shown) {
    for (const struct push_stream *p = gw->streams; p; p = p->next)
        if (p->tasks)
            task_watch_look(p->tasks, shown);
}

/* ---- opening ----------------------------------------------------------------------- */

/* Who is in no index, as on stdio, cannot be revoked. */
static void set_owner(struct push_stream *p, const struct principal *who) {
    const struct key_index *keys = snapshot_peek(p->gw->worker, p->gw->gateway->keys);
    p->principal = who->digest;
    p->who_index = who->index;
    if (keys && key_index_find(keys, who->id, who->index))
        p->who = str_from(mem_text(who->id.p, who->id.n), who->id.n);
}

void stream_open_all(struct push_stream *p, const struct snapshot *s, const struct principal *who,
                     const char session[SESSION_ID]) {
    memcpy(p->session, session, SESSION_ID);
    set_owner(p, who);
    for (int i = 0; i < CHANGES; i++)
        p->wants[i] = true;
    digests(s->catalogue, p->seen);
}

static struct push_stream *stream_over_get(struct exchange *x, struct http_request *r) {
    struct push_stream *p = stream_new(x->gw, &lasting_push, NULL);
    p->self = resumable_open(x, REPLAY_SESSION, r, &get_owner, p);
    if (!p->self) {
        p->ops = &http_push;
        p->self = r;
    }
    http_stream_detach(r, p->self == r ? on_gone : on_get_gone);
    return p;
}

void stream_open_get(struct exchange *x, struct http_request *r) {
    stream_end_session(x->gw->gateway, &x->session); /* the newest wins */
    struct push_stream *p = stream_over_get(x, r);
    stream_open_all(p, x->snapshot, x->who, x->session.id);
    session_set_stream(x->gw->gateway->sessions, str_from(p->session, SESSION_ID),
                       (int)x->gw->worker->index, p->number);
    struct str hello = S(": stream open\n\n");
    http_stream_push(r, &hello, 1);
    if (p->ops == &lasting_push)
        resumable_prime(p->self);
    session_tell_stream(x->task, x->gw->gateway->sessions, str_from(x->session.id, SESSION_ID));
}

/* An absent member asks for nothing (P-110); one of another type is a mistake that the client should
 * hear of, as it would wait for news that never come. */
static bool lists_texts(struct str raw) {
    if (raw.p && raw.p[0] != '[')
        return str_eq(raw, S("null"));
    for (struct json_members m = json_elements(raw); raw.p && json_element(&m);)
        if (m.value.p[0] != '"')
            return false;
    return true;
}

static bool read_filter(struct exchange *x, bool wants[CHANGES]) {
    struct str filter = x->in.params.p ? json_raw_get(x->in.params, S("notifications"))
                                       : (struct str){ 0 };
    if (!filter.p || filter.p[0] != '{')
        return false;
    for (int i = 0; i < CHANGES; i++) {
        struct str flag = json_raw_get(filter, str_of(changes[i].member));
        wants[i] = flag.p && str_eq(flag, S("true"));
        if (flag.p && !wants[i] && !str_eq(flag, S("false")) && !str_eq(flag, S("null")))
            return false;
    }
    return lists_texts(json_raw_get(filter, S("resourceSubscriptions"))) &&
           lists_texts(json_raw_get(filter, S("taskIds")));
}

static void put_watches(struct buf *b, const struct watched_list *list, int before) {
    struct jw w = jw_init(b);
    buf_str(b, before ? S(",\"resourceSubscriptions\":") : S("\"resourceSubscriptions\":"));
    jw_array(&w);
    for (size_t i = 0; i < list->n; i++)
        jw_string(&w, watched_shown(list->items[i]));
    jw_array_end(&w);
}

static void acknowledge(struct push_stream *p) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(
        &b,
        S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":"
          "{\"notifications\":{"));
    int n = 0;
    for (int i = 0; i < CHANGES; i++)
        if (p->wants[i])
            buf_fmt(&b, "%s\"%s\":true", n++ ? "," : "", changes[i].member);
    if (p->watches.n)
        put_watches(&b, &p->watches, n++);
    if (p->tasks) { /* P-298 */
        buf_str(&b, n ? S(",\"taskIds\":") : S("\"taskIds\":"));
        task_watch_put(p->tasks, &b);
    }
    buf_fmt(&b, "},\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":%.*s}}}",
            STR(p->listen_id));
    push_message(p, &b);
}

static size_t streams_of(const struct gateway_worker *gw, uint64_t principal) {
    size_t n = 0;
    for (const struct push_stream *p = gw->streams; p; p = p->next)
        n += p->principal == principal && (p->ops != &lasting_push || resumable_read_here(p->self));
    return n + resume_readers_of(gw, principal);
}

/* The bound is shared out to the workers. */
bool stream_allowed(const struct exchange *x) {
    size_t all = (size_t)x->snapshot->conf->limits.streams_per_key;
    size_t share = (all - 1) / workers_count(x->gw->gateway->all) + 1;
    return streams_of(x->gw, x->who->digest) < share;
}

/* Within the time in which an acknowledgement is due (P-620). */
static void watch_wanted(struct exchange *x, struct watched_list *out) {
    struct str filter = json_raw_get(x->in.params, S("notifications"));
    struct str uris = json_raw_get(filter, S("resourceSubscriptions"));
    if (!uris.n || uris.p[0] != '[')
        return;
    SCOPED(deadline_scope) struct deadline d = deadline_push(x->task, 2 * NANOS_SEC);
    subscribe_all(x, uris, out);
}

void method_listen(struct exchange *x) {
    bool wants[CHANGES];
    if (!read_filter(x, wants)) {
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 },
                     "params.notifications must be an object of booleans and lists of texts");
        return;
    }
    if (!x->can_stream) {
        answer_error(x, 406, RPC_INVALID_REQUEST, (struct str){ 0 },
                     "Accept must allow text/event-stream");
        return;
    }
    if (!stream_allowed(x)) {
        answer_error(x, 429, RPC_INTERNAL, (struct str){ 0 },
                     "Too many streams of this key are open");
        return;
    }
    struct watched_list watched = { 0 };
    struct str filter = json_raw_get(x->in.params, S("notifications"));
    struct task_watch *tasks = task_watch_new(x, json_raw_get(filter, S("taskIds")));
    watch_wanted(x, &watched);
    struct push_stream *p = x->cancelled ? NULL : x->face->open_stream(x);
    if (!p) {
        watched_release(x->gw->worker, &watched);
        task_watch_end(tasks);
        return;
    }
    p->watches = watched;
    p->tasks = tasks;
    if (tasks)
        task_watch_start(tasks, p);
    memcpy(p->wants, wants, sizeof wants);
    set_owner(p, x->who);
    p->listen_id = str_from(mem_copy(x->in.id.p, x->in.id.n), x->in.id.n);
    digests(x->snapshot->catalogue, p->seen);
    x->answered = true;
    x->outcome = "ok";
    acknowledge(p);
}

/* ---- ending ------------------------------------------------------------------------ */

bool stream_cancel(struct gateway_worker *gw, const void *self, struct str listen_id) {
    for (struct push_stream *p = gw->streams; p; p = p->next)
        if (p->self == self && p->listen_id.p && str_eq(p->listen_id, listen_id)) {
            unlink_stream(p);
            return true;
        }
    return false;
}

static void write_cancelled(struct buf *b, struct str listen_id) {
    buf_fmt(b,
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"
            "cancelled\",\"params\":{\"requestId\":%.*s,"
            "\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":%.*s}}}",
            STR(listen_id), STR(listen_id));
}

static void write_end(struct buf *b, struct str listen_id) {
    buf_fmt(b,
            "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{\"resultType\":\"complete\",\"_meta\":"
            "{\"io.modelcontextprotocol/subscriptionId\":%.*s}}}",
            STR(listen_id), STR(listen_id));
}

/* Unlinked first: no failing push may find it again. */
static void end_stream(struct push_stream *p) {
    const struct push_ops *ops = p->ops;
    void *self = p->self;
    SCOPED(buf_done) struct buf cancelled = { 0 };
    SCOPED(buf_done) struct buf end = { 0 };
    if (p->listen_id.p && ops->says_cancelled)
        write_cancelled(&cancelled, p->listen_id);
    if (p->listen_id.p)
        write_end(&end, p->listen_id);
    unlink_stream(p);
    if (cancelled.n && !ops->message(self, buf_view(&cancelled)))
        return;
    if (end.n && !ops->message(self, buf_view(&end)))
        return;
    ops->close(self);
}

/* A push may end several streams, not only its own. */
void streams_end_revoked(struct gateway_worker *gw) {
    const struct key_index *keys = gw ? snapshot_peek(gw->worker, gw->gateway->keys) : NULL;
    for (struct push_stream *p = keys ? gw->streams : NULL; p; p = gw->told_next) {
        gw->told_next = p->next;
        if (p->who.n && !key_index_find(keys, p->who, p->who_index))
            end_stream(p);
    }
}

void streams_end(struct gateway_worker *gw) {
    while (gw && gw->streams)
        end_stream(gw->streams);
}

struct end_order {
    struct mail mail;
    char session[SESSION_ID];
    uint64_t number;
};

static void on_end_order(struct worker *w, struct mail *m) {
    struct end_order *o = (struct end_order *)m;
    struct gateway_worker *gw = gateway_here(w);
    for (struct push_stream *p = gw ? gw->streams : NULL; p; p = p->next)
        if (p->number == o->number && memcmp(p->session, o->session, SESSION_ID) == 0) {
            end_stream(p);
            break;
        }
    free(o);
    worker_run_ready(w);
}

void stream_end_session(struct gateway *g, const struct session_view *session) {
    if (session->stream_worker < 0)
        return;
    struct end_order *o = NEW(struct end_order);
    *o = (struct end_order){ .mail.deliver = on_end_order, .number = session->stream };
    memcpy(o->session, session->id, SESSION_ID);
    if (!worker_post(workers_at(g->all, (unsigned)session->stream_worker), &o->mail))
        free(o);
}
