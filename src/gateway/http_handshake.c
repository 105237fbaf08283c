/* http_handshake.c - see http_handshake.h. */
#include "gateway/http_handshake.h"
#include "base/mem.h"

enum { ANSWER_MOST = 4 * 1024 * 1024 };

/* ---- one answer --------------------------------------------------------------------- */

static bool is_response(const struct envelope *m) {
    return m->kind == ENVELOPE_RESULT || m->kind == ENVELOPE_ERROR;
}

static enum envelope_fault scan(const struct buf *text, struct envelope *out) {
    return envelope_scan(buf_view(text), (struct envelope_limits){ 0 }, out);
}

static err_t read_body(struct task *t, struct http_reply *r, struct buf *text) {
    struct str body;
    TRY(http_reply_body(t, r, ANSWER_MOST, &body));
    buf_str(text, body);
    return OK;
}

/* The first event that is a response. */
static err_t read_event(struct task *t, struct http_reply *r, struct buf *text) {
    SCOPED(sse_done) struct sse_parser sse = { 0 };
    struct sse_event event;
    struct envelope m;
    err_t e = OK;
    for (;;) {
        struct str bytes;
        TRY(http_reply_next(t, r, &bytes));
        if (!bytes.n)
            return ERR(UPSTREAM, "the event stream ended without an answer");
        while (sse_next(&sse, &bytes, &event, &e)) {
            buf_clear(text);
            buf_str(text, event.data);
            if (scan(text, &m) == ENVELOPE_NONE && is_response(&m))
                return OK;
        }
        TRY(e);
    }
}

static err_t no_message(int status, const struct buf *text, enum envelope_fault f) {
    if (str_starts(str_trim(buf_view(text)), S("<")))
        return ERR(UPSTREAM,
                   "it answers with a web page (HTTP %d): is the path of its `url` right? "
                   "Many servers are at /mcp",
                   status);
    return ERR(UPSTREAM, "the answer (HTTP %d) is no JSON-RPC message: %s", status,
               envelope_fault_text(f));
}

err_t http_read_response(struct task *t, struct http_reply *r, struct str id, struct buf *text,
                         struct envelope *out) {
    TRY(r->event_stream ? read_event(t, r, text) : read_body(t, r, text));
    enum envelope_fault f = scan(text, out);
    if (f)
        return no_message(r->status, text, f);
    if (!is_response(out))
        return ERR(UPSTREAM, "the answer (HTTP %d) is no JSON-RPC response", r->status);
    if (out->kind == ENVELOPE_RESULT && !str_eq(out->id, id))
        return ERR(UPSTREAM, "the answer carries another id than the request");
    return OK;
}

/* ---- handshakes --------------------------------------------------------------------- */

err_t http_discover(struct task *t, struct upstream *u, bool *out_modern) {
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    SCOPED(buf_done) struct buf message = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    handshake_discover(&message, "1");
    struct http_post p = { .revision = LATEST_MODERN, .method = METHOD_DISCOVER };
    TRY(http_post_text(t, u, &p, buf_view(&message), &r));
    int status = r.status;
    if (status == 401 || status == 403 || status >= 500)
        return http_refused(status);
    struct envelope answer;
    if (http_read_response(t, &r, S("1"), &text, &answer))
        /* not a modern server: try initialize */
        return task_cancelled(t) ? ERR(CANCELLED, "stopped") : OK;
    if (answer.kind == ENVELOPE_RESULT && status == 200 && handshake_is_discovery(answer.result)) {
        *out_modern = true;
        return handshake_read_discover(&u->info_arena, answer.result, &u->info);
    }
    enum revision mutual;
    if (answer.kind == ENVELOPE_ERROR && handshake_is_modern_error(answer.error, &mutual))
        return ERR(UPSTREAM, "it speaks a modern revision, but none that we do: %.*s",
                   (int)(answer.error.n < 160 ? answer.error.n : 160), answer.error.p);
    return OK;
}

/* initialize, then the initialized notification (P-030, P-033). */
err_t http_initialize(struct task *t, struct upstream *u, unsigned asks, struct arena *a,
                      struct upstream_info *info, struct str *out_id) {
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    SCOPED(buf_done) struct buf message = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    handshake_initialize(&message, "1", LATEST_LEGACY, asks);
    struct http_post first = { .revision = REV_NONE };
    TRY(http_post_text(t, u, &first, buf_view(&message), &r));
    SCOPED(buf_done) struct buf session = { 0 };
    buf_str(&session, r.head->known[HTTP_MCP_SESSION_ID]);
    if (session.n > UPSTREAM_SESSION)
        return ERR(UPSTREAM, "its session id is longer than %d bytes", UPSTREAM_SESSION);
    if (r.status != 200)
        return http_refused(r.status);
    struct envelope answer;
    TRY(http_read_response(t, &r, S("1"), &text, &answer));
    if (answer.kind == ENVELOPE_ERROR)
        return ERR(UPSTREAM, "initialize: %.*s", (int)(answer.error.n < 200 ? answer.error.n : 200),
                   answer.error.p);
    TRY(handshake_read_initialize(a, answer.result, info));
    http_reply_done(&r);
    struct http_post second = { .revision = info->revision, .session = buf_view(&session) };
    TRY(http_post_text(t, u, &second, handshake_initialized(), &r));
    if (r.status / 100 != 2)
        return http_refused(r.status);
    *out_id = arena_dup(a, buf_view(&session));
    return OK;
}
