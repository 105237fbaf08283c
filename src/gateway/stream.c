/* stream.c - see stream.h. A stream remembers the digests of the lists that its client
 * could have seen, so a new snapshot that changes nothing for it says nothing. */
#include "gateway/stream.h"
#include "base/mem.h"
#include "gateway/metrics.h"

#define KEEP_ALIVE (15 * NANOS_SEC)

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
    struct http_request *request;
    struct timer keep_alive;
    uint64_t number;               /* of this worker, for its session */
    uint64_t principal;
    char session[SESSION_ID];      /* legacy; all zero for a listen */
    struct str listen_id;          /* raw id of the listen request, in the request's arena */
    bool wants[CHANGES];
    uint64_t seen[CHANGES];
};

/* ---- life ---------------------------------------------------------------------------------- */

static void unlink_stream(struct push_stream *p) {
    struct gateway_worker *gw = p->gw;
    *p->back = p->next;
    if (p->next)
        p->next->back = p->back;
    gw->stream_count--;
    metric_add(METRIC_SERIES(&metric_streams_open), -1);
    timer_unset(gw->worker, &p->keep_alive);
    if (!p->listen_id.p)
        session_clear_stream(gw->gateway->sessions, str_from(p->session, SESSION_ID), p->number);
    free(p);
}

static struct push_stream *of_request(const struct http_request *r, struct gateway_worker *gw) {
    for (struct push_stream *p = gw->streams; p; p = p->next)
        if (p->request == r)
            return p;
    return NULL;
}

static void on_gone(struct http_request *r) {
    struct push_stream *p = of_request(r, gateway_here(r->worker));
    if (p)
        unlink_stream(p);
}

static void on_keep_alive(struct worker *w, struct timer *t) {
    struct push_stream *p = (struct push_stream *)((char *)t - offsetof(struct push_stream, keep_alive));
    struct str comment = S(": keep-alive\n\n");
    timer_set(w, t, w->now + KEEP_ALIVE);
    http_stream_push(p->request, &comment, 1); /* may end the stream */
    worker_run_ready(w);
}

struct push_stream *stream_over_http(struct gateway_worker *gw, struct http_request *r) {
    struct push_stream *p = NEW(struct push_stream);
    *p = (struct push_stream){ .gw = gw, .request = r, .number = ++gw->next_stream, .keep_alive.fire = on_keep_alive };
    p->next = gw->streams;
    p->back = &gw->streams;
    if (p->next)
        p->next->back = &p->next;
    gw->streams = p;
    gw->stream_count++;
    metric_add(METRIC_SERIES(&metric_streams_open), 1);
    timer_set(gw->worker, &p->keep_alive, gw->worker->now + KEEP_ALIVE);
    http_stream_detach(r, on_gone);
    return p;
}

/* ---- what changed ------------------------------------------------------------------------------ */

static void digests(const struct catalogue *c, uint64_t out[CHANGES]) {
    out[CHANGE_TOOLS] = c->kind_digest[ITEM_TOOL];
    out[CHANGE_PROMPTS] = c->kind_digest[ITEM_PROMPT];
    out[CHANGE_RESOURCES] = c->kind_digest[ITEM_RESOURCE] ^ (c->kind_digest[ITEM_TEMPLATE] * 31);
}

static void push_message(struct push_stream *p, const struct buf *message) {
    struct str event[] = { S(SSE_BEFORE), buf_view(message), S(SSE_AFTER) };
    http_stream_push(p->request, event, ARRAY_SIZE(event));
}

static void write_change(struct push_stream *p, enum change what, struct buf *b) {
    buf_fmt(b, "{\"jsonrpc\":\"2.0\",\"method\":\"%.*s\"", STR(method_name(changes[what].notification)));
    if (p->listen_id.p) /* P-112 */
        buf_fmt(b, ",\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":%.*s}}", STR(p->listen_id));
    buf_char(b, '}');
}

static void tell(struct push_stream *p, const uint64_t now[CHANGES]) {
    SCOPED(buf_done) struct buf all = { 0 };
    for (int i = 0; i < CHANGES; i++) {
        if (!p->wants[i] || p->seen[i] == now[i])
            continue;
        p->seen[i] = now[i];
        if (all.n)
            buf_str(&all, S(SSE_AFTER SSE_BEFORE));
        write_change(p, (enum change)i, &all);
    }
    if (all.n)
        push_message(p, &all);
}

void streams_tell_changes(struct gateway_worker *gw) {
    if (!gw)
        return;
    const struct snapshot *s = snapshot_peek(gw->worker, gw->gateway->snapshots);
    if (!s)
        return;
    uint64_t now[CHANGES];
    digests(s->catalogue, now);
    for (struct push_stream *p = gw->streams, *next; p; p = next) {
        next = p->next;
        tell(p, now);
    }
}

/* ---- opening ------------------------------------------------------------------------------------ */

void stream_open_get(struct push_stream *p, struct exchange *x) {
    stream_end_session(x->gw->gateway, &x->session); /* the newest wins */
    memcpy(p->session, x->session.id, SESSION_ID);
    p->principal = x->who->digest;
    for (int i = 0; i < CHANGES; i++)
        p->wants[i] = true;
    digests(x->snapshot->catalogue, p->seen);
    session_set_stream(x->gw->gateway->sessions, str_from(p->session, SESSION_ID), (int)x->gw->worker->index, p->number);
    struct str hello = S(": stream open\n\n");
    http_stream_push(p->request, &hello, 1);
}

static bool read_filter(struct exchange *x, bool wants[CHANGES]) {
    struct str filter = x->in.params.p ? json_raw_get(x->in.params, S("notifications")) : (struct str){ 0 };
    if (!filter.p || filter.p[0] != '{')
        return false;
    for (int i = 0; i < CHANGES; i++) {
        struct str flag = json_raw_get(filter, str_of(changes[i].member));
        wants[i] = flag.p && str_eq(flag, S("true"));
    }
    return true;
}

static void acknowledge(struct push_stream *p) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":"
                  "{\"notifications\":{"));
    for (int i = 0, n = 0; i < CHANGES; i++)
        if (p->wants[i])
            buf_fmt(&b, "%s\"%s\":true", n++ ? "," : "", changes[i].member);
    buf_fmt(&b, "},\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":%.*s}}}", STR(p->listen_id));
    push_message(p, &b);
}

static size_t streams_of(const struct gateway_worker *gw, uint64_t principal) {
    size_t n = 0;
    for (const struct push_stream *p = gw->streams; p; p = p->next)
        n += p->principal == principal;
    return n;
}

void method_listen(struct exchange *x) {
    bool wants[CHANGES];
    if (!read_filter(x, wants)) {
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "params.notifications must be an object");
        return;
    }
    if (!x->can_stream) {
        answer_error(x, 406, RPC_INVALID_REQUEST, (struct str){ 0 }, "Accept must allow text/event-stream");
        return;
    }
    size_t share = (size_t)x->snapshot->conf->limits.streams_per_key / workers_count(x->gw->gateway->all) + 1;
    if (streams_of(x->gw, x->who->digest) >= share) {
        answer_error(x, 429, RPC_INTERNAL, (struct str){ 0 }, "Too many streams of this key are open");
        return;
    }
    struct push_stream *p = x->face->open_stream(x);
    if (!p)
        return;
    memcpy(p->wants, wants, sizeof wants);
    p->principal = x->who->digest;
    p->listen_id = x->in.id;
    digests(x->snapshot->catalogue, p->seen);
    x->answered = true;
    x->outcome = "ok";
    acknowledge(p);
}

/* ---- ending --------------------------------------------------------------------------------------- */

static void end_stream(struct push_stream *p) {
    struct http_request *r = p->request;
    if (p->listen_id.p) {
        SCOPED(buf_done) struct buf b = { 0 };
        buf_fmt(&b, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{\"resultType\":\"complete\",\"_meta\":"
                    "{\"io.modelcontextprotocol/subscriptionId\":%.*s}}}", STR(p->listen_id), STR(p->listen_id));
        struct str event[] = { S(SSE_BEFORE), buf_view(&b), S(SSE_AFTER) };
        unlink_stream(p);
        if (!http_stream_push(r, event, ARRAY_SIZE(event)))
            return;
    } else {
        unlink_stream(p);
    }
    http_stream_close(r);
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
