/* upstream_http.c - Streamable HTTP upstreams, both eras (PROTOCOL §5.3, §5.4): the vtable, and a
 * call from its request to the last event of its answer.
 *
 *   http_link.h        where the server is, how a request is written
 *   http_handshake.h   what it speaks
 *   http_session.h     sessions with a legacy one
 *   http_changes.h     what it tells of its lists and resources
 *   upstream_hear.h    what a legacy one says beside the answers
 */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/http_changes.h"
#include "gateway/http_handshake.h"
#include "gateway/http_session.h"
#include "gateway/upstream_hear.h"

enum {
    SCAN_WHOLE = 64 * 1024,
    RESUMES = 5, /* failures in a row until a lost stream is given up */
};

/* ---- life --------------------------------------------------------------------------- */

static err_t http_start(struct task *t, struct upstream *u) {
    return u->impl ? OK : http_link_new(u);
}

static err_t http_probe(struct task *t, struct upstream *u) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, u->conf->timeout);
    bool modern = false;
    TRY(http_discover(t, u, &modern));
    if (modern)
        return OK;
    struct str id;
    TRY_WRAP(http_initialize(t, u, upstream_declares(u, 0, 0), &u->info_arena, &u->info, &id),
             "initialize");
    http_session_put(t, u, id);
    return OK;
}

static void http_stop(struct task *t, struct upstream *u) {
    if (!http_link(u))
        return;
    http_changes_stop(u);
    hearings_stop(http_link(u)->hearings);
    http_sessions_end(t, u, u->stopping || task_cancelled(t));
}

static void http_side_close(struct worker *w, struct upstream *u) {
    struct upstream_side *side = upstream_side(u, w);
    http_sessions_forget(&side->sessions);
    http_pool_free(side->pool);
    side->pool = NULL;
}

/* The last reference is gone: nobody reads the link any more. */
static void http_free(struct upstream *u) {
    struct http_link *link = http_link(u);
    if (!link)
        return;
    http_sessions_forget(&link->sessions); /* calls may have opened some after the end */
    for (unsigned i = 0; i <= workers_count(u->all); i++)
        http_sessions_forget(&u->sides[i].sessions);
    http_link_free(link);
}

/* ---- sending ------------------------------------------------------------------------ */

static struct http_post call_post(const struct upstream_call *c, enum revision revision) {
    const struct upstream_request *r = c->request;
    return (struct http_post){
        .revision = revision, .session = c->session, .method = r->method, .name = r->name,
        .param_headers = r->param_headers, .traceparent = r->traceparent,
    };
}

/* The worker's own memory of it may go while the call waits. */
static err_t copy_session(struct task *t, struct upstream_call *c, struct str stale) {
    struct str id;
    struct http_session_order order = {
        .upstream = c->upstream, .share = c->request->share, .asks = c->request->asks,
        .verbosity = c->request->verbosity, .stale = stale,
    };
    TRY(http_session_for(t, &order, &id));
    if (id.n)
        memcpy(c->session_text, id.p, id.n);
    c->session = str_from(c->session_text, id.n);
    return OK;
}

static err_t send_call(struct task *t, struct upstream_call *c, struct str stale) {
    struct upstream *u = c->upstream;
    enum revision revision = upstream_revision(u);
    if (upstream_is_legacy(u)) {
        TRY(copy_session(t, c, stale));
        c->headless = hear_begin(t, http_link(u)->hearings, c);
    }
    /* who gives up has to hear which task it was */
    c->headless |= c->request->takes_task && c->request->method == METHOD_TOOLS_CALL;
    struct http_post p = call_post(c, revision);
    unsigned flags = (c->request->safe ? HTTP_SAFE : 0) | (c->headless ? HTTP_SEND_ONLY : 0);
    err_t e = http_post(t, u, &p, c->request->message, c->request->pieces, flags, &c->reply);
    /* without a word so far the server may be at work: it is to hear that nobody waits */
    c->began |= e && (e->kind == ERR_CANCELLED || e->kind == ERR_TIMEOUT);
    return e;
}

/* P-441 */
static err_t send_on_new_session(struct task *t, struct upstream_call *c) {
    SCOPED(buf_done) struct buf stale = { 0 };
    buf_str(&stale, c->session);
    c->retried = true;
    http_reply_done(&c->reply);
    return send_call(t, c, buf_view(&stale));
}

static err_t judge_head(struct upstream_call *c) {
    c->streaming = c->reply.event_stream;
    if (c->reply.status == 202)
        return ERR(UPSTREAM, "it accepted the request without answering it (HTTP 202)");
    if (c->streaming && c->reply.status != 200)
        return http_refused(c->reply.status);
    return OK;
}

static err_t http_begin(struct task *t, struct upstream_call *c) {
    if (!c->upstream->impl || atomic_load(&c->upstream->revision) == REV_NONE)
        return ERR(UNAVAILABLE, "not connected yet");
    TRY(send_call(t, c, (struct str){ 0 }));
    if (c->reply.status == 404 && c->session.n)
        TRY(send_on_new_session(t, c));
    return c->headless ? OK : judge_head(c);
}

/* For calls whose server may ask before it begins to answer. Still headless afterwards: something
 * else came, or it was sent again. */
static err_t await_head(struct task *t, struct upstream_call *c) {
    bool can_send = c->request->message; /* not when it was parked meanwhile */
    if (!c->reply.pool) /* time was up while it was sent again */
        return can_send ? send_call(t, c, (struct str){ 0 }) : ERR(CLOSED, "its session has ended");
    err_t e = http_reply_head(t, &c->reply);
    if (e && e->kind == ERR_CLOSED && c->reply.retryable && can_send) {
        http_reply_done(&c->reply);
        return send_call(t, c, (struct str){ 0 });
    }
    TRY(e);
    if (!c->reply.status)
        return OK;
    if (c->reply.status == 404 && can_send && !c->retried)
        return send_on_new_session(t, c);
    c->headless = false;
    return judge_head(c);
}

/* ---- reading a stream --------------------------------------------------------------- */

/* True when the message is one that the caller wants. */
static bool take_event(struct upstream_call *c, struct str data, struct envelope *out) {
    if (envelope_scan(data, (struct envelope_limits){ 0 }, out) != ENVELOPE_NONE) {
        log_warn("upstream sent a broken event", F("upstream", c->upstream->conf->name));
        return false;
    }
    switch (out->kind) {
    case ENVELOPE_NOTIFICATION:
        return true;
    case ENVELOPE_RESULT:
    case ENVELOPE_ERROR:
        return !out->id.p || str_eq(out->id, str_of(c->request->id_text));
    case ENVELOPE_REQUEST:
        if (upstream_is_legacy(c->upstream))
            return upstream_asks_caller(c, out);
        log_warn("modern server asks on the wire", F("upstream", c->upstream->conf->name),
                 F("method", out->method)); /* P-164 */
        return false;
    case ENVELOPE_BATCH:
        return false;
    }
    return false;
}

/* Bytes behind an event lie where the next read of any connection may go. */
static void keep_rest(struct upstream_call *c) {
    struct buf fresh = { 0 };
    buf_str(&fresh, c->rest);
    buf_done(&c->kept);
    c->kept = fresh;
    c->rest = buf_view(&c->kept);
}

/* ---- streams that were lost (P-144, P-150, P-449) ---------------------------------- */

/* Fits a header as it is: what else a server sends is not given back to it. */
static bool is_resumable(const struct upstream_call *c) {
    struct str id = sse_last_id(&c->sse);
    for (size_t i = 0; i < id.n; i++)
        if ((unsigned char)id.p[i] < ' ' || id.p[i] == 0x7f)
            return false;
    return id.n && upstream_is_legacy(c->upstream);
}

/* The stream of a call goes on behind the newest event that came. The request itself is never
 * sent again: a tool runs once. What is not heard of at all is lost when the call's time is up. */
static err_t resume(struct task *t, struct upstream_call *c) {
    sse_resume(&c->sse);
    http_reply_done(&c->reply);
    for (unsigned failures = 0; failures < RESUMES; failures++) {
        TRY(task_sleep(t, http_stream_pause(&c->sse, failures)));
        err_t e = http_get_stream(t, c->upstream, c->session, sse_last_id(&c->sse), &c->reply);
        if (!e && c->reply.status == 200 && c->reply.event_stream)
            return OK;
        if (e && (e->kind == ERR_TIMEOUT || e->kind == ERR_CANCELLED))
            return e;
        int status = e ? 0 : c->reply.status;
        http_reply_done(&c->reply);
        if (status / 100 == 4 && status != 409 && status != 429)
            return ERR(CLOSED,
                       "the event stream ended without an answer and is not resumed: "
                       "HTTP %d",
                       status);
    }
    return ERR(CLOSED, "the event stream ended without an answer and could not be resumed");
}

static err_t lost(struct task *t, struct upstream_call *c, err_t e) {
    if (e && e->kind != ERR_CLOSED && e->kind != ERR_UNAVAILABLE)
        return e;
    bool polls = !e && sse_last_retry(&c->sse) >= 0; /* it closed as P-151 has it: so do we */
    if (is_resumable(c) && polls && c->request->let_go)
        c->request->let_go(c->request->let_go_of);
    if (is_resumable(c))
        return resume(t, c);
    return e ? e : ERR(CLOSED, "the event stream ended without an answer");
}

/* ---- the next message --------------------------------------------------------------- */

/* *got: an event was read. Else look around: something else may have come. */
static err_t next_event(struct task *t, struct upstream_call *c, struct envelope *out, bool *got) {
    struct sse_event event;
    c->sse.limit = (size_t)c->upstream->conf->max_answer;
    for (;;) {
        err_t e = OK;
        while (sse_next(&c->sse, &c->rest, &event, &e)) {
            if (!take_event(c, event.data, out))
                continue;
            if (c->rest.n)
                keep_rest(c);
            *got = true;
            return OK;
        }
        TRY(e);
        c->rest = (struct str){ 0 };
        if (!c->reply.pool) /* time was up while it was lost */
            return lost(t, c, OK);
        e = http_reply_next(t, &c->reply, &c->rest);
        if (e || !c->rest.n)
            return !e && c->reply.woken ? OK : lost(t, c, e);
    }
}

static err_t next_whole(struct task *t, struct upstream_call *c, struct envelope *out) {
    int status = c->reply.status;
    if (status >= 500 || status == 401 || status == 403 || status == 429)
        return http_refused(status);
    struct str body;
    TRY(http_reply_body(t, &c->reply, (size_t)c->upstream->conf->max_answer, &body));
    enum envelope_fault f = envelope_scan_answer(body, str_of(c->request->id_text), SCAN_WHOLE,
                                                 (struct envelope_limits){ 0 }, out);
    if (f && status != 200)
        return http_refused(status);
    return f ? ERR(UPSTREAM, "the answer is no JSON-RPC response to our request: %s",
                   envelope_fault_text(f))
             : OK;
}

static err_t http_next(struct task *t, struct upstream_call *c, struct envelope *out) {
    for (bool got = false; !got;) {
        if (c->flight && hear_next(c, out))
            return OK;
        if (c->headless)
            TRY(await_head(t, c));
        if (c->headless)
            continue;
        if (!c->streaming)
            return next_whole(t, c, out);
        TRY(next_event(t, c, out, &got));
    }
    return OK;
}

/* ---- beside and behind the answer --------------------------------------------------- */

static void http_say(struct upstream_call *c, struct str message) {
    hear_answered(http_link(c->upstream)->hearings, c, message);
    http_tell(c->worker, c->upstream, c->session, message);
}

/* Legacy servers take silence for patience: they are told (P-243); for modern ones the
 * closed connection says it (P-244). */
static void cancel_upstream(struct upstream_call *c, struct upstream *u) {
    if (!upstream_is_legacy(u) || c->request->method == METHOD_INITIALIZE)
        return;
    SCOPED(buf_done) struct buf message = { 0 };
    buf_fmt(&message,
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
            "{\"requestId\":%s,\"reason\":\"the caller gave up\"}}",
            c->request->id_text);
    http_tell(c->worker, u, c->session, buf_view(&message));
}

static void http_end(struct upstream_call *c, struct upstream *u) {
    if (c->began && !c->answered)
        cancel_upstream(c, u);
    if (c->flight)
        hear_end(http_link(u)->hearings, c);
    http_reply_done(&c->reply);
    sse_done(&c->sse);
    if (c->kept.p)
        buf_done(&c->kept);
}

const struct upstream_ops upstream_http = {
    .kind = "http",
    .start = http_start,
    .probe = http_probe,
    .watch = http_watch,
    .stop = http_stop,
    .begin = http_begin,
    .next = http_next,
    .end = http_end,
    .say = http_say,
    .tell = http_session_tell,
    .watch_uris = http_watch_uris,
    .side_close = http_side_close,
    .free = http_free,
};
