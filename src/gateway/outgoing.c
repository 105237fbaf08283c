/* outgoing.c - see outgoing.h. On the way of every call: keys are literals, nothing is parsed that
 * the envelope's scan did not find already. */
#include "gateway/outgoing.h"
#include "base/mem.h"
#include "gateway/task_methods.h"
#include "mcp/question.h"

/* ---- edits -------------------------------------------------------------------------- */

static void add_edit(struct outgoing *o, struct str old, struct str with) {
    size_t at = o->edit_count++;
    while (at && o->edits[at - 1].old.p > old.p) {
        o->edits[at] = o->edits[at - 1];
        at--;
    }
    o->edits[at] = (struct edit){ old, with };
}

/* Behind the last member of params. */
static void add_at_end(struct exchange *x, struct outgoing *o, struct str members) {
    add_edit(o, str_from(x->in.params.p + x->in.params.n - 1, 0), members);
}

/* Takes a member of params out; another of that name may come in its place. */
static void drop_member(struct exchange *x, struct outgoing *o, struct str name) {
    for (struct json_members m = json_members(x->in.params); json_member(&m);)
        if (str_eq(m.key, name))
            add_edit(o, str_from(m.text.p + m.from, m.to - m.from), S(""));
}

static struct str escaped(struct exchange *x, struct str s) {
    SCOPED(buf_done) struct buf b = { 0 };
    json_escape(&b, s);
    return b.n == s.n ? s : arena_dup(x->arena, buf_view(&b));
}

/* ---- _meta -------------------------------------------------------------------------- */

/* Another span of the same trace for the hop behind us. What is no traceparent goes no further:
 * nothing else is written into a header or between quotes. */
static struct str next_span(struct exchange *x, struct str traceparent) {
    struct trace t;
    if (!trace_parse(traceparent, &t))
        return (struct str){ 0 };
    char *own = arena_alloc(x->arena, TRACEPARENT);
    trace_write(&t, worker_random(x->gw->worker) | 1, own);
    return str_from(own, TRACEPARENT);
}

struct str outgoing_traceparent(struct exchange *x) {
    if (x->trace.context.on)
        return exchange_trace_call(x);
    struct str own = x->in.traceparent;
    if (!own.p && x->head)
        own = x->head->known[HTTP_TRACEPARENT];
    return own.p ? next_span(x, own) : own;
}

/* One member; the key is raw, with its quotes and colon. */
static void put_member(struct buf *b, struct str key, struct str value) {
    if (b->n && b->p[b->n - 1] != '{')
        buf_char(b, ',');
    buf_str(b, key);
    buf_str(b, value);
}

static void put_quoted(struct buf *b, struct str key, struct str plain) {
    put_member(b, key, S("\""));
    buf_str(b, plain);
    buf_char(b, '"');
}

/* The client's own members, without those that belong to its era or to us. */
static void put_foreign_meta(struct exchange *x, struct buf *b, const struct upstream_request *r) {
    struct json_members m = json_members(x->in.meta);
    while (json_member(&m)) {
        struct str key = json_unescape(x->arena, m.key);
        bool ours = str_starts(key, S("io.modelcontextprotocol/")) ||
                    str_eq(key, S("progressToken")) ||
                    (r->traceparent.n && str_eq(key, S("traceparent")));
        if (ours)
            continue;
        put_quoted(b, (struct str){ 0 }, m.key);
        buf_char(b, ':');
        buf_str(b, m.value);
    }
}

/* What a modern upstream requires (P-040). */
static void put_modern_meta(struct exchange *x, struct buf *b, enum revision to,
                            const struct upstream_request *r) {
    put_quoted(b, S("\"io.modelcontextprotocol/protocolVersion\":"), revision_text(to));
    put_member(b, S("\"io.modelcontextprotocol/clientInfo\":"),
               x->in.client_info.p ? x->in.client_info : x->snapshot->server_info);
    put_member(b, S("\"io.modelcontextprotocol/clientCapabilities\":"), S(""));
    if (r->asks || r->takes_task)
        asks_write(b, r->asks | (r->takes_task ? TAKES_TASK : 0), to);
    else
        buf_str(b, S("{}"));
    if (x->log_level < LOG_LEVELS && x->can_stream)
        put_quoted(b, S("\"io.modelcontextprotocol/logLevel\":"), log_level_name(x->log_level));
}

static void write_meta(struct exchange *x, struct buf *b, enum revision to,
                       const struct upstream_request *r) {
    buf_reserve(b, 512);
    buf_char(b, '{');
    put_foreign_meta(x, b, r);
    if (x->in.progress_token.p && x->can_stream)
        put_member(b, S("\"progressToken\":"), str_of(r->id_text));
    if (r->traceparent.n)
        put_quoted(b, S("\"traceparent\":"), r->traceparent);
    if (revision_era(to) == ERA_MODERN)
        put_modern_meta(x, b, to, r);
    buf_char(b, '}');
}

static bool meta_must_change(const struct exchange *x, enum era to,
                             const struct upstream_request *r) {
    return to == ERA_MODERN || x->era == ERA_MODERN || x->in.progress_token.p || r->traceparent.n;
}

/* The first member of params, where the client sent none. */
static void add_meta(struct exchange *x, struct outgoing *o, enum revision to,
                     const struct upstream_request *r) {
    buf_str(&o->text, S("\"_meta\":"));
    write_meta(x, &o->text, to, r);
    struct json_members first = json_members(x->in.params);
    if (json_member(&first))
        buf_char(&o->text, ',');
    add_edit(o, str_from(x->in.params.p + 1, 0), buf_view(&o->text));
}

static void edit_meta(struct exchange *x, struct outgoing *o, enum revision to,
                      const struct upstream_request *r) {
    if (!meta_must_change(x, revision_era(to), r))
        return;
    if (x->in.meta.p) {
        write_meta(x, &o->text, to, r);
        add_edit(o, x->in.meta, buf_view(&o->text));
    } else if (revision_era(to) == ERA_MODERN || r->traceparent.n) {
        add_meta(x, o, to, r);
    }
}

/* ---- other members ------------------------------------------------------------------ */

/* What its revision does not know an upstream may take for a fault (P-221). */
static void edit_params(struct exchange *x, struct outgoing *o, enum revision to) {
    for (struct json_members m = json_members(x->in.params); json_member(&m);)
        if (!translate_has_param(x->method, m.key, to))
            drop_member(x, o, m.key);
}

static void edit_inputs(struct exchange *x, struct outgoing *o, enum era to) {
    bool pass = x->era == ERA_MODERN && to == ERA_MODERN;
    if (!pass)
        drop_member(x, o, S("inputResponses"));
    if (pass && x->inner_state.p)
        add_edit(o, x->in.request_state, x->inner_state);
    else
        drop_member(x, o, S("requestState"));
}

static void add_inputs(struct exchange *x, struct outgoing *o, const struct inputs *in) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (in->responses.n)
        buf_fmt(&b, ",\"inputResponses\":%.*s", STR(buf_view(&in->responses)));
    if (in->state.p)
        buf_fmt(&b, ",\"requestState\":%.*s", STR(in->state));
    add_at_end(x, o, arena_dup(x->arena, buf_view(&b)));
}

/* Tools that know of tasks, and calls that may carry one for a revision that does not. */
static bool task_may_differ(const struct exchange *x, enum revision to) {
    return x->method == METHOD_TOOLS_CALL && x->entry &&
           (x->entry->task_support || (to == R11 && x->revision != R11));
}

static void edit_task(struct exchange *x, struct outgoing *o, enum revision to) {
    bool wanted = (x->takes_task || x->waits_for_task) && to == R11;
    struct str old = json_raw_get(x->in.params, S("task"));
    struct str param = wanted ? task_param(x) : old;
    if (old.p && !wanted)
        drop_member(x, o, S("task"));
    else if (old.p && old.p != param.p)
        add_edit(o, old, param);
    else if (!old.p && wanted)
        add_at_end(x, o, arena_fmt(x->arena, ",\"task\":%.*s", STR(param)));
}

/* ---- the message -------------------------------------------------------------------- */

static void write_pieces(struct exchange *x, struct outgoing *o, const struct upstream_request *r) {
    o->pieces[o->n++] = S("{\"jsonrpc\":\"2.0\",\"id\":");
    o->pieces[o->n++] = str_of(r->id_text);
    o->pieces[o->n++] = S(",\"method\":\"");
    o->pieces[o->n++] = method_name(x->method);
    o->pieces[o->n++] = S("\",\"params\":");
    const char *at = x->in.params.p;
    for (size_t i = 0; i < o->edit_count; i++) {
        o->pieces[o->n++] = str_from(at, (size_t)(o->edits[i].old.p - at));
        o->pieces[o->n++] = o->edits[i].with;
        at = o->edits[i].old.p + o->edits[i].old.n;
    }
    o->pieces[o->n++] = str_from(at, (size_t)(x->in.params.p + x->in.params.n - at));
    o->pieces[o->n++] = S("}");
}

void outgoing_write(struct outgoing *o, struct exchange *x, enum revision to,
                    const struct upstream_request *r, struct str old_name,
                    const struct inputs *in) {
    if (!str_eq(old_name, x->target))
        add_edit(o, old_name, escaped(x, x->target));
    edit_meta(x, o, to, r);
    if (x->in.request_state.p || x->in.input_responses.p)
        edit_inputs(x, o, revision_era(to));
    if (x->method == METHOD_COMPLETE)
        edit_params(x, o, to);
    if (task_may_differ(x, to))
        edit_task(x, o, to);
    if (in->state.p || in->responses.n)
        add_inputs(x, o, in);
    write_pieces(x, o, r);
}
