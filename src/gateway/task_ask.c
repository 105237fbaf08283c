/* task_ask.c - see task_ask.h. */
#include "gateway/task_ask.h"
#include "base/log.h"
#include "base/mem.h"
#include "mcp/question.h"
#include "mcp/task.h"

/* A server of 2025-11-25 names a task at once, and is not to hear that the call is cancelled
 * (P-243). A modern one may be at work on an ordinary answer, and that is to end soon. */
#define LEGACY_NAMING (10 * NANOS_SEC)
#define MODERN_NAMING (5 * NANOS_SEC)

static void put_meta(struct jw *w, enum revision to, unsigned asks) {
    jw_key(w, S("_meta"));
    jw_object(w);
    jw_put_string(w, "io.modelcontextprotocol/protocolVersion", revision_text(to));
    jw_put_raw(w, "io.modelcontextprotocol/clientInfo",
               S("{\"name\":\"gatespan\",\"version\":\"" GATESPAN_VERSION "\"}"));
    jw_key(w, S("io.modelcontextprotocol/clientCapabilities"));
    asks_write(w->out, asks | TAKES_TASK, to);
    w->comma = true;
    jw_object_end(w);
}

void task_ask_write(struct buf *out, const struct task_ask *ask, const struct upstream_request *r,
                    struct str responses) {
    enum revision to = (enum revision)atomic_load(&ask->upstream->revision);
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    jw_put_raw(&w, "id", str_of(r->id_text));
    jw_put_string(&w, "method", method_name(r->method));
    jw_key(&w, S("params"));
    jw_object(&w);
    jw_put_string(&w, "taskId", ask->id);
    if (responses.p)
        jw_put_raw(&w, "inputResponses", responses);
    if (to != REV_NONE && revision_era(to) == ERA_MODERN)
        put_meta(&w, to, ask->asks);
    jw_object_end(&w);
    jw_object_end(&w);
}

/* What is asked meanwhile belongs to other calls: nobody is asked here. */
static err_t read_answer(struct task *t, struct upstream_call *c, struct envelope *m) {
    for (;;) {
        TRY(upstream_next(t, c, m));
        if (m->kind == ENVELOPE_REQUEST)
            upstream_answer(c, m->id, answer_refusal(method_parse(m->method)));
        else if (m->kind == ENVELOPE_NOTIFICATION &&
                 method_parse(m->method) == METHOD_N_TASK_STATUS)
            upstream_task_told(c->upstream, c->request->share, m->params);
        else if (m->kind == ENVELOPE_RESULT || m->kind == ENVELOPE_ERROR)
            return OK;
    }
}

err_t task_ask(struct task *t, struct arena *a, const struct task_ask *ask, enum method method,
               struct str responses, bool *failed, struct str *out) {
    enum revision to;
    TRY(upstream_revision_now(ask->upstream, &to));
    struct upstream_request r = {
        .method = method, .name = ask->id, .principal = ask->principal, .share = ask->share,
        .asks = ask->asks, .takes_task = true, .safe = true,
    };
    SCOPED(buf_done) struct buf text = { 0 };
    upstream_next_id(ask->upstream, task_worker(t), &r);
    task_ask_write(&text, ask, &r, responses);
    struct str message = buf_view(&text);
    r.message = &message;
    r.pieces = 1;
    SCOPED(upstream_end) struct upstream_call c = { 0 };
    struct envelope m = { 0 };
    TRY(upstream_begin(t, ask->upstream, &r, &c));
    TRY(read_answer(t, &c, &m));
    *failed = m.kind == ENVELOPE_ERROR;
    *out = arena_dup(a, *failed ? m.error : m.result);
    return OK;
}

/* ---- giving up --------------------------------------------------------------------- */

struct farewell {
    struct task_ask ask; /* upstream: a reference; texts: behind this struct */
    char text[];
};

static void run_farewell(struct task *t, void *arg) {
    struct farewell *f = arg;
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, 5 * NANOS_SEC);
    struct str said;
    bool failed;
    err_t e = task_ask(t, &a, &f->ask, METHOD_TASKS_CANCEL, (struct str){ 0 }, &failed, &said);
    if (e)
        log_debug("upstream did not take the cancellation of a task",
                  F("upstream", f->ask.upstream->conf->name), F("error", e->text));
    upstream_unref(f->ask.upstream);
    free(f);
}

void task_ask_cancel(struct worker *w, const struct task_ask *ask) {
    struct farewell *f = mem_alloc(sizeof *f + ask->id.n + ask->principal.n);
    f->ask = *ask;
    memcpy(f->text, ask->id.p, ask->id.n);
    if (ask->principal.n)
        memcpy(f->text + ask->id.n, ask->principal.p, ask->principal.n);
    f->ask.id = str_from(f->text, ask->id.n);
    f->ask.principal = str_from(f->text + ask->id.n, ask->principal.n);
    upstream_ref(ask->upstream);
    if (task_spawn(w, run_farewell, f))
        return;
    upstream_unref(ask->upstream);
    free(f);
}

/* ---- a task that has no name yet --------------------------------------------------- */

static bool may_become_task(const struct upstream_call *c, enum revision from) {
    const struct upstream_request *r = c->request;
    return c->began && !c->answered && r->takes_task && r->method == METHOD_TOOLS_CALL &&
           from >= R11 && c->upstream->conf->type != UPSTREAM_BUILTIN;
}

static void cancel_named(struct task *t, struct upstream_call *c, struct str result,
                         enum revision from) {
    SCOPED(arena_scope) struct arena a = { 0 };
    const struct upstream_request *r = c->request;
    struct str raw = from == R11 ? json_raw_get(result, S("task")) : result;
    bool made = from == R11 || str_eq(json_raw_get(result, S("resultType")), S("\"task\""));
    struct mcp_task made_task;
    if (!made || !raw.p || mcp_task_read(&a, raw, from, &made_task))
        return;
    const struct task_ask ask = { .upstream = c->upstream, .id = made_task.id,
                                  .principal = r->principal, .share = r->share, .asks = r->asks };
    task_ask_cancel(task_worker(t), &ask);
}

err_t task_ask_forsake(struct task *t, struct upstream_call *c, err_t e) {
    if (!e || e->kind != ERR_CANCELLED || !c->upstream)
        return e;
    enum revision from = upstream_revision(c->upstream);
    if (!may_become_task(c, from))
        return e;
    struct err why = *e;
    struct envelope m = { 0 };
    SCOPED(shield_scope)
    struct shield grace = task_shield(t, from == R11 ? LEGACY_NAMING : MODERN_NAMING);
    if (!read_answer(t, c, &m) && m.kind == ENVELOPE_RESULT)
        cancel_named(t, c, m.result, from);
    return err_again(&why);
}
