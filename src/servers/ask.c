/* ask.c - questions of built-in servers (server.h): a call whose tool asks ends with
 * input_required, as that of a modern upstream, and runs again with the answers. Those of earlier
 * runs travel in requestState, which the gateway seals on its way to a client. */
#include "base/mem.h"
#include "mcp/question.h"
#include "servers/server.h"

static struct str member(struct str object, const char *key) {
    bool is_object = object.p && object.n && object.p[0] == '{';
    return is_object ? json_raw_get(object, str_of(key)) : (struct str){ 0 };
}

static struct buf *next_member(struct buf *b, const char *key) {
    if (b->n)
        buf_char(b, ',');
    buf_fmt(b, "\"%s\":", key);
    return b;
}

/* An answer that makes no sense is none: the question is put again (P-100). */
static bool answered(const struct call_ctx *c, const char *key, enum method method,
                     struct str *out) {
    *out = member(c->responses, key);
    if (!out->p || out->p[0] != '{' || !answer_fits(method, *out))
        *out = member(c->state, key);
    return out->p != NULL;
}

bool call_ask(struct call_ctx *c, const char *key, enum method method, struct str params,
              struct str *answer) {
    if (answered(c, key, method, answer)) {
        buf_str(next_member(&c->known, key), *answer);
        return true;
    }
    buf_fmt(next_member(&c->asked, key), "{\"method\":\"%.*s\",\"params\":%.*s}",
            STR(method_name(method)), STR(params));
    return false;
}

bool call_as_task(struct call_ctx *c, struct tool_result *result) {
    result->as_task = c->takes_task && !c->in_task;
    return result->as_task;
}

bool call_put_asked(struct call_ctx *c, struct buf *out) {
    if (!c->asked.n)
        return false;
    SCOPED(buf_done) struct buf state = { 0 };
    buf_fmt(&state, "{%.*s}", STR(buf_view(&c->known)));
    buf_fmt(out, "{\"resultType\":\"input_required\",\"inputRequests\":{%.*s},\"requestState\":\"",
            STR(buf_view(&c->asked)));
    json_escape(out, buf_view(&state));
    buf_str(out, S("\"}"));
    return true;
}

void call_ctx_done(struct call_ctx *c) {
    buf_done(&c->asked);
    buf_done(&c->known);
}

void call_let_go(struct call_ctx *c) {
    if (c->let_go)
        c->let_go(c->let_go_of);
}
