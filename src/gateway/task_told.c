/* task_told.c - see task_told.h. */
#include "gateway/task_told.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/stream.h"

/* ---- to the owner ------------------------------------------------------------------ */

struct word {
    struct mail mail;
    char session[SESSION_ID];
    uint64_t owner;
    bool look; /* text is the id of a task to look at; else a message to a legacy client */
    size_t n;
    char text[];
};

static void on_word(struct worker *w, struct mail *m) {
    struct word *o = (struct word *)m;
    struct gateway_worker *gw = gateway_here(w);
    struct str text = str_from(o->text, o->n);
    if (gw && o->look)
        streams_look_at_task(gw, text);
    else if (gw)
        streams_tell_session(gw, o->session, o->owner, text);
    free(o);
    worker_run_ready(w);
}

/* Where its streams are open is known to their workers alone. */
static void tell_workers(struct gateway *g, const struct kept_task *k, bool look, struct str text) {
    for (unsigned i = 0; i < workers_count(g->all); i++) {
        struct word *o = mem_alloc(sizeof *o + text.n);
        *o = (struct word){ .mail = { .deliver = on_word, .bytes = sizeof *o + text.n },
                            .owner = k->owner, .look = look, .n = text.n };
        memcpy(o->session, k->session, SESSION_ID);
        memcpy(o->text, text.p, text.n);
        if (!worker_post(workers_at(g->all, i), &o->mail))
            free(o);
    }
}

static void write_status(struct buf *out, const struct mcp_task *t) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    jw_put_string(&w, "method", method_name(METHOD_N_TASK_STATUS));
    jw_key(&w, S("params"));
    jw_object(&w);
    mcp_task_write(&w, t, R11);
    jw_object_end(&w);
    jw_object_end(&w);
}

static void tell_owner(struct gateway *g, const struct kept_task *k, struct mcp_task *t) {
    SCOPED(buf_done) struct buf text = { 0 };
    if (k->revision != R11) {
        tell_workers(g, k, true, k->shown);
        return;
    }
    t->id = k->shown; /* P-612 */
    write_status(&text, t);
    tell_workers(g, k, false, buf_view(&text));
}

/* ---- from the upstream ------------------------------------------------------------- */

static bool read_status(struct arena *a, const struct upstream *u, struct str params,
                        struct mcp_task *out) {
    err_t e = mcp_task_read(a, params, R11, out);
    if (e)
        log_warn("upstream told a status that makes no sense", F("upstream", u->conf->name),
                 F("error", e->text));
    return !e;
}

static void take(struct gateway *g, struct kept_task *k, struct mcp_task *t) {
    if (task_note(k, t))
        tell_owner(g, k, t);
}

void task_told(struct gateway *g, struct upstream *u, uint64_t share, struct str params) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct mcp_task t;
    if (atomic_load(&u->revision) != R11 || !read_status(&a, u, params, &t))
        return;
    SCOPED(task_scope)
    struct kept_task *k = task_find_own(g, u, share, t.id, params, worker_here()->now);
    if (k)
        take(g, k, &t);
}

void task_catch_up(struct gateway *g, struct kept_task *k) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct mcp_task t;
    struct str said = task_take_said(k, worker_here()->now);
    if (said.p && read_status(&a, k->upstream, said, &t))
        take(g, k, &t);
    task_forget(&said);
}

err_t task_told_on_call(struct exchange *x, const struct envelope *m,
                        const struct upstream_request *r) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct mcp_task t;
    bool awaited = x->can_stream && x->era == ERA_LEGACY && x->revision == R11 &&
                   x->related_task.n && read_status(x->arena, x->upstream, m->params, &t) &&
                   str_eq(t.id, r->name);
    if (!awaited) {
        task_told(x->gw->gateway, x->upstream, r->share, m->params);
        return OK;
    }
    t.id = x->related_task;
    write_status(&text, &t);
    struct str piece = buf_view(&text);
    return x->face->notify(x, &piece, 1);
}
