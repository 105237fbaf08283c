/* forward.c - exchanges that an upstream answers: find it, put its names into the
 * request, send, bridge what comes back.
 *
 * Bytes are spliced: the client's params travel as they are, but for the name or URI,
 * and `_meta` where an era or a token must change (P-402, P-431, P-610, P-611). */
#include "gateway/forward.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/call_record.h"
#include "gateway/exchange.h"
#include "gateway/metrics.h"
#include "gateway/param_headers.h"
#include "gateway/park.h"
#include "gateway/question.h"
#include "gateway/relay.h"
#include "gateway/request_state.h"
#include "gateway/task_methods.h"
#include "gateway/tool_check.h"
#include "mcp/question.h"
#include "mcp/task.h"

#define GATHER (10 * NANOS_MS)
enum { EDITS = 6, PIECES = 2 * EDITS + 8 };

struct edit { /* replaces a slice of the client's message */
    struct str old, with;
};

/* The upstream's message: edits of params in the order of their places. */
struct outgoing {
    struct edit edits[EDITS];
    size_t edit_count;
    struct str pieces[PIECES];
    size_t n;
    struct buf text; /* of replacements */
};

static void outgoing_done(struct outgoing *o) {
    buf_done(&o->text);
}

/* ---- route ------------------------------------------------------------------------- */

/* The catalogue's name for what a profile renamed. */
static struct str unrenamed(const struct exchange *x, struct str name) {
    if (!x->profile)
        return name;
    for (size_t i = 0; i < x->profile->rename.n; i++)
        if (str_eq(x->profile->rename.items[i].value, name))
            return x->profile->rename.items[i].name;
    for (size_t i = 0; i < x->profile->rename.n; i++)
        if (str_eq(x->profile->rename.items[i].name, name))
            return (struct str){ 0 }; /* goes by its new name only */
    return name;
}

static struct str wanted_name(struct exchange *x, struct str raw, bool escaped) {
    if (!escaped)
        return raw;
    return json_unquote(x->arena, arena_fmt(x->arena, "\"%.*s\"", STR(raw)));
}

static bool refuse_unknown(struct exchange *x, const char *what, struct str name) {
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "Unknown %s: %.*s", what,
                 (int)(name.n < 200 ? name.n : 200), name.p ? name.p : "");
    return false;
}

static bool take_entry(struct exchange *x, const struct entry *e) {
    x->entry = e;
    x->upstream = x->snapshot->upstreams[e->upstream];
    x->target = e->name;
    return true;
}

static bool route_by_name(struct exchange *x, enum item_kind kind, const char *what,
                          struct str name) {
    struct str known = unrenamed(x, name);
    const struct entry *e = known.p ? catalogue_find(x->snapshot->catalogue, kind, known) : NULL;
    if (!e || !access_has(x->view->access, e->index))
        return refuse_unknown(x, what, name);
    return take_entry(x, e);
}

static bool refuse_resource(struct exchange *x, struct str uri) {
    SCOPED(buf_done) struct buf data = { 0 };
    struct jw w = jw_init(&data);
    jw_object(&w);
    jw_put_string(&w, "uri", uri);
    jw_object_end(&w);
    bool reads = x->method != METHOD_COMPLETE; /* else it is a wrong parameter (P-211, P-222) */
    int code = reads && x->era == ERA_LEGACY ? RPC_RESOURCE_NOT_FOUND : RPC_INVALID_PARAMS;
    answer_error(x, 0, code, buf_view(&data), "Resource not found: %.*s",
                 (int)(uri.n < 200 ? uri.n : 200), uri.p);
    return false;
}

/* A template that may be used opens its expansions, but for those that are denied by themselves. */
static bool may_read(const struct exchange *x, const struct resource_route *route, struct str uri) {
    const struct access *a = x->view->access;
    if (!route->entry)
        return access_allows_uri(a, route->upstream, uri);
    return access_has(a, route->entry->index) && !access_denies_uri(a, uri);
}

bool forward_find_resource(struct exchange *x, struct str uri) {
    struct resource_route route;
    if (!catalogue_route_uri(x->snapshot->catalogue, x->snapshot->sources,
                             x->snapshot->upstream_count, x->arena, uri, &route) ||
        !may_read(x, &route, uri))
        return false;
    x->entry = route.entry;
    x->upstream = x->snapshot->upstreams[route.upstream];
    x->target = route.original;
    return true;
}

static bool route_by_uri(struct exchange *x, struct str uri) {
    return forward_find_resource(x, uri) || refuse_resource(x, uri);
}

/* completion/complete names a prompt or a resource in `ref` (P-629). */
static bool route_completion(struct exchange *x, struct str *out_old) {
    struct str ref = json_raw_get(x->in.params, S("ref"));
    struct str type = ref.p ? json_raw_get(ref, S("type")) : ref;
    bool prompt = type.p && str_eq(type, S("\"ref/prompt\""));
    struct str raw = ref.p ? json_raw_get(ref, prompt ? S("name") : S("uri")) : ref;
    if (!raw.p || raw.p[0] != '"')
        return refuse_unknown(x, "completion reference", ref);
    *out_old = str_from(raw.p + 1, raw.n - 2);
    struct str name = json_unquote(x->arena, raw);
    if (prompt)
        return route_by_name(x, ITEM_PROMPT, "prompt", name);
    const struct entry *e = catalogue_find(x->snapshot->catalogue, ITEM_TEMPLATE, name);
    if (e && access_has(x->view->access, e->index))
        return take_entry(x, e);
    return route_by_uri(x, name);
}

static bool route(struct exchange *x, struct str *out_old) {
    *out_old = x->in.name;
    if (x->method == METHOD_COMPLETE)
        return route_completion(x, out_old);
    if (!x->in.name.p) {
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "params.%s must be a string",
                     x->method == METHOD_RESOURCES_READ ? "uri" : "name");
        return false;
    }
    struct str name = wanted_name(x, x->in.name, x->in.name_escaped);
    switch (x->method) {
    case METHOD_TOOLS_CALL: return route_by_name(x, ITEM_TOOL, "tool", name);
    case METHOD_PROMPTS_GET: return route_by_name(x, ITEM_PROMPT, "prompt", name);
    default: return route_by_uri(x, name);
    }
}

/* ---- the upstream's message -------------------------------------------------------- */

static void add_edit(struct outgoing *o, struct str old, struct str with) {
    size_t at = o->edit_count++;
    while (at && o->edits[at - 1].old.p > old.p) {
        o->edits[at] = o->edits[at - 1];
        at--;
    }
    o->edits[at] = (struct edit){ old, with };
}

static struct str escaped(struct exchange *x, struct str s) {
    SCOPED(buf_done) struct buf b = { 0 };
    json_escape(&b, s);
    return b.n == s.n ? s : arena_dup(x->arena, buf_view(&b));
}

static bool is_modern_key(struct str key) {
    return str_starts(key, S("io.modelcontextprotocol/"));
}

/* Another span of the same trace for the hop behind us (P-281). What is no traceparent goes no
 * further: nothing else is written into a header or between quotes. */
static struct str next_span(struct exchange *x, struct str traceparent) {
    struct trace t;
    if (!trace_parse(traceparent, &t))
        return (struct str){ 0 };
    char *own = arena_alloc(x->arena, TRACEPARENT);
    trace_write(&t, worker_random(x->gw->worker) | 1, own);
    return str_from(own, TRACEPARENT);
}

static struct str trace_of(struct exchange *x) {
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
        struct str key = wanted_name(x, m.key, m.key.n && memchr(m.key.p, '\\', m.key.n));
        bool ours = is_modern_key(key) || str_eq(key, S("progressToken")) ||
                    (r->traceparent.n && str_eq(key, S("traceparent")));
        if (ours)
            continue;
        put_quoted(b, (struct str){ 0 }, m.key);
        buf_char(b, ':');
        buf_str(b, m.value);
    }
}

/* The upstream's _meta: the client's, with our progress token, the next span, and what a
 * modern upstream requires. Keys are literals: this is on the way of every modern call. */
static void write_meta(struct exchange *x, struct buf *b, enum era to, enum revision revision,
                       const struct upstream_request *r) {
    bool streams = x->can_stream;
    buf_reserve(b, 512);
    buf_char(b, '{');
    put_foreign_meta(x, b, r);
    if (x->in.progress_token.p && streams)
        put_member(b, S("\"progressToken\":"), str_of(r->id_text));
    if (r->traceparent.n)
        put_quoted(b, S("\"traceparent\":"), r->traceparent);
    if (to == ERA_MODERN) {
        put_quoted(b, S("\"io.modelcontextprotocol/protocolVersion\":"), revision_text(revision));
        put_member(b, S("\"io.modelcontextprotocol/clientInfo\":"),
                   x->in.client_info.p ? x->in.client_info : x->snapshot->server_info);
        put_member(b, S("\"io.modelcontextprotocol/clientCapabilities\":"), S(""));
        if (r->asks || r->takes_task)
            asks_write(b, r->asks | (r->takes_task ? TAKES_TASK : 0), revision);
        else
            buf_str(b, S("{}"));
        if (x->log_level < LOG_LEVELS && streams)
            put_quoted(b, S("\"io.modelcontextprotocol/logLevel\":"), log_level_name(x->log_level));
    }
    buf_char(b, '}');
}

static bool meta_must_change(const struct exchange *x, enum era to,
                             const struct upstream_request *r) {
    return to == ERA_MODERN || x->era == ERA_MODERN || x->in.progress_token.p || r->traceparent.n;
}

static void edit_meta(struct exchange *x, struct outgoing *o, enum revision revision,
                      const struct upstream_request *r) {
    enum era to = revision_era(revision);
    if (!meta_must_change(x, to, r))
        return;
    if (x->in.meta.p) {
        write_meta(x, &o->text, to, revision, r);
        add_edit(o, x->in.meta, buf_view(&o->text));
        return;
    }
    if (to == ERA_LEGACY && !r->traceparent.n)
        return;
    buf_str(&o->text, S("\"_meta\":"));
    write_meta(x, &o->text, to, revision, r);
    struct json_members first = json_members(x->in.params);
    if (json_member(&first))
        buf_char(&o->text, ',');
    add_edit(o, str_from(x->in.params.p + 1, 0), buf_view(&o->text));
}

/* Takes a member of params out; another of that name may come in its place. */
static void drop_member(struct exchange *x, struct outgoing *o, struct str name) {
    for (struct json_members m = json_members(x->in.params); json_member(&m);)
        if (str_eq(m.key, name))
            add_edit(o, str_from(m.text.p + m.from, m.to - m.from), S(""));
}

/* What its revision does not know an upstream may take for a fault (P-221). */
static void edit_params(struct exchange *x, struct outgoing *o, enum revision to) {
    for (struct json_members m = json_members(x->in.params); json_member(&m);)
        if (!translate_has_param(x->method, m.key, to))
            drop_member(x, o, m.key);
}

/* What a client brought back goes on to a modern upstream, with the upstream's own state in place
 * of ours (P-461); to others it means nothing. */
static void edit_inputs(struct exchange *x, struct outgoing *o, enum era to) {
    bool pass = x->era == ERA_MODERN && to == ERA_MODERN;
    if (!pass)
        drop_member(x, o, S("inputResponses"));
    if (pass && x->inner_state.p)
        add_edit(o, x->in.request_state, x->inner_state);
    else
        drop_member(x, o, S("requestState"));
}

/* `task` counts between us and a legacy upstream where its tool takes one (P-291, P-446); a
 * client's own is no business of any other upstream. */
static void edit_task(struct exchange *x, struct outgoing *o, enum revision to) {
    bool wanted = (x->takes_task || x->waits_for_task) && to == R11;
    struct str old = json_raw_get(x->in.params, S("task"));
    struct str param = wanted ? task_param(x) : old;
    if (old.p && !wanted)
        drop_member(x, o, S("task"));
    else if (old.p && old.p != param.p)
        add_edit(o, old, param);
    else if (!old.p && wanted)
        add_edit(o, str_from(x->in.params.p + x->in.params.n - 1, 0),
                 arena_fmt(x->arena, ",\"task\":%.*s", STR(param)));
}

/* The answers and the state of the round before, at the end of params (P-097). */
static void add_inputs(struct exchange *x, struct outgoing *o, const struct inputs *in) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (in->responses.n)
        buf_fmt(&b, ",\"inputResponses\":%.*s", STR(buf_view(&in->responses)));
    if (in->state.p)
        buf_fmt(&b, ",\"requestState\":%.*s", STR(in->state));
    add_edit(o, str_from(x->in.params.p + x->in.params.n - 1, 0),
             arena_dup(x->arena, buf_view(&b)));
}

static void write_message(struct exchange *x, struct outgoing *o,
                          const struct upstream_request *r) {
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

/* ---- bridge ------------------------------------------------------------------------ */

static struct uri_map uris_of(const struct exchange *x) {
    return (struct uri_map){ .upstream = x->upstream->conf->name,
                             .rewrite = x->upstream->conf->rewrite_uris };
}

static bool upstream_has_resources(const struct exchange *x) {
    for (size_t i = 0; i < x->snapshot->upstream_count; i++) {
        const struct part *p = x->snapshot->sources[i].part;
        if (x->snapshot->upstreams[i] == x->upstream)
            return !p || p->has.resources;
    }
    return true;
}

/* P-085: absent means complete; what else we have no word for makes no sense. */
static bool is_complete(struct str result) {
    struct str type = json_raw_get(result, S("resultType"));
    return !type.p || str_eq(type, S("\"complete\""));
}

/* P-095 */
static bool takes_input(enum method m) {
    return m == METHOD_TOOLS_CALL || m == METHOD_PROMPTS_GET || m == METHOD_RESOURCES_READ;
}

static bool wants_input(const struct exchange *x, struct str result) {
    return takes_input(x->method) &&
           str_eq(json_raw_get(result, S("resultType")), S("\"input_required\""));
}

/* P-096 */
static err_t read_inputs(const struct exchange *x, struct str result, struct str *requests,
                         struct str *state) {
    *requests = json_raw_get(result, S("inputRequests"));
    *state = json_raw_get(result, S("requestState"));
    if ((requests->p && requests->p[0] != '{') || (state->p && state->p[0] != '"') ||
        (!requests->p && !state->p))
        return ERR(UPSTREAM, "upstream %.*s asks for input without saying for what",
                   STR(x->upstream->conf->name));
    return OK;
}

static err_t take_inputs(struct exchange *x, struct str result, struct inputs *in) {
    struct str requests, state;
    TRY(read_inputs(x, result, &requests, &state));
    in->requests = requests.p ? arena_dup(x->arena, requests) : requests;
    in->state = state.p ? arena_dup(x->arena, state) : state;
    return OK;
}

/* `"isError": true` stands in it, at whatever depth: walking each result would cost more than
 * all else that is done with it. */
static bool says_error(struct str result) {
    struct str key = S("\"isError\"");
    for (ptrdiff_t at; (at = str_find(result, key)) >= 0;) {
        result = str_skip(result, (size_t)at + key.n);
        struct str value = result;
        while (value.n && memchr(": \t\r\n", value.p[0], 5))
            value = str_skip(value, 1);
        if (str_starts(value, S("true")))
            return true;
    }
    return false;
}

/* The tool failed (P-025): a result for the client, a failure for who counts. Large results are
 * not looked through for a number. */
static bool is_tool_error(const struct exchange *x, struct str result) {
    return x->method == METHOD_TOOLS_CALL && result.n <= 64 * 1024 && says_error(result) &&
           str_eq(json_raw_get(result, S("isError")), S("true"));
}

/* One question of a modern upstream for a modern client: who asks, and URIs as it knows them. */
static err_t put_request(struct exchange *x, struct jw *w, struct str key, struct str request) {
    struct str raw = json_raw_get(request, S("method"));
    struct str params = json_raw_get(request, S("params"));
    enum method method = raw.n > 2 ? method_parse(str_from(raw.p + 1, raw.n - 2)) : METHOD_UNKNOWN;
    unsigned needs = question_needs(method, params);
    struct question_look look = { .asks = x->asks, .upstream = x->upstream->conf->name,
                                  .uris = &(struct uri_map){ .upstream = x->upstream->conf->name,
                                                       .rewrite = x->upstream->conf->rewrite_uris } };
    if (!needs || needs & ~x->asks) /* P-045 */
        return ERR(UPSTREAM, "upstream %.*s asks for %.*s, which was not offered to it",
                   STR(x->upstream->conf->name), STR(str_head(raw, 60)));
    buf_fmt(w->out,
            "%s\"%.*s\":{\"method\":%.*s,\"params\":", w->out->p[w->out->n - 1] == '{' ? "" : ",",
            STR(key), STR(raw));
    question_write(w->out, method, params, x->revision, &look);
    buf_char(w->out, '}');
    return OK;
}

static err_t put_requests(struct exchange *x, struct jw *w, struct str requests) {
    jw_key(w, S("inputRequests"));
    buf_char(w->out, '{');
    for (struct json_members m = json_members(requests); json_member(&m);)
        TRY(put_request(x, w, m.key, m.value));
    buf_char(w->out, '}');
    w->comma = true;
    return OK;
}

/* input_required between modern peers: the questions pass, the upstream's state is sealed into
 * one that only this caller can bring back, with this request (P-461). */
static err_t pass_inputs(struct exchange *x, struct str result) {
    struct str requests, state;
    SCOPED(buf_done) struct buf b = { 0 };
    SCOPED(buf_done) struct buf sealed = { 0 };
    TRY(read_inputs(x, result, &requests, &state));
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "resultType", S("input_required"));
    if (requests.p)
        TRY(put_requests(x, &w, requests));
    const struct request_state s = { .kind = STATE_PASSED, .inner = state };
    request_state_seal(x, &s, &sealed);
    jw_put_string(&w, "requestState", buf_view(&sealed));
    struct str meta = json_raw_get(result, S("_meta"));
    if (meta.p)
        jw_put_raw(&w, "_meta", meta);
    jw_object_end(&w);
    struct str piece = buf_view(&b);
    x->outcome = "input_required";
    answer_result(x, &piece, 1);
    return OK;
}

/* Nearly all results say so in their last member or their first: no more is looked for then. */
static bool plainly_complete(struct str result) {
    return str_ends(result, S("\"resultType\":\"complete\"}")) ||
           str_starts(result, S("{\"resultType\":\"complete\""));
}

/* Where a short result has its type. */
static bool says_at_an_end(struct str result, struct str word) {
    return str_find(str_head(result, 64), word) >= 0 ||
           (result.n > 64 && str_find(str_skip(result, result.n - 64), word) >= 0);
}

/* With nothing to be asked a client can only be told to call again: short, so easy to tell. */
static bool may_want_input(const struct exchange *x, struct str result) {
    return !plainly_complete(result) &&
           ((x->asks & ASK_ALL) || says_at_an_end(result, S("input_required")));
}

static bool has_result_type(struct str result) {
    return plainly_complete(result) || json_raw_get(result, S("resultType")).p;
}

/* P-085: a server may leave it out, we may not. */
static struct str with_result_type(struct exchange *x, struct str result) {
    struct json_members m = json_members(result);
    bool more = json_member(&m);
    return arena_fmt(x->arena, "{\"resultType\":\"complete\"%s%.*s", more ? "," : "",
                     STR(str_skip(result, 1)));
}

/* P-293, P-296: only who takes one may get a task. */
static bool is_task(const struct exchange *x, struct str result, enum revision from) {
    struct str word = S("\"task\"");
    if (x->method != METHOD_TOOLS_CALL || x->related_task.p)
        return false;
    if (from == R11)
        return (x->takes_task || x->waits_for_task) && json_raw_get(result, S("task")).n &&
               json_raw_get(result, S("task")).p[0] == '{';
    bool likely = revision_era(from) == ERA_MODERN && !plainly_complete(result) &&
                  (x->takes_task || x->waits_for_task || says_at_an_end(result, word));
    return likely && str_eq(json_raw_get(result, S("resultType")), word);
}

/* What the upstream made of the call is a task: for its client, or for us to wait for. */
static err_t take_task(struct exchange *x, const struct upstream_request *r, struct str result,
                       enum revision from, const struct inputs *in) {
    struct str raw = from == R11 ? json_raw_get(result, S("task")) : result;
    struct mcp_task t;
    if (!x->takes_task && !x->waits_for_task)
        return ERR(UPSTREAM, "upstream %.*s made a task of a call whose client takes none",
                   STR(x->upstream->conf->name));
    if (x->takes_task && x->upstream->conf->type == UPSTREAM_BUILTIN)
        return task_answer_ours(x, in);
    TRY_WRAP(mcp_task_read(x->arena, arena_dup(x->arena, raw), from, &t), "upstream %.*s",
             STR(x->upstream->conf->name));
    /* ended before its modern client ever heard of it: the outcome itself is the answer */
    bool ended = x->era == ERA_MODERN && from == R11 && mcp_task_is_final(t.status);
    if (x->takes_task && !ended)
        task_answer_theirs(x, r, &t);
    else
        x->inner_task = t.id;
    return OK;
}

/* The outcome of a task is a tool's result that says which task it is of, to who knows tasks
 * (P-291, P-440). */
static void answer_outcome(struct exchange *x, struct str result) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (x->era == ERA_LEGACY && x->revision == R11) {
        mcp_task_put_related(&b, result, x->related_task);
        result = buf_view(&b);
    }
    answer_result(x, &result, 1);
}

static void bridge_result(struct exchange *x, struct str result, enum revision from) {
    enum method method = x->related_task.p ? METHOD_TOOLS_CALL : x->method;
    if (x->era == ERA_MODERN && revision_era(from) == ERA_MODERN && !has_result_type(result))
        result = with_result_type(x, result);
    if (revision_era(from) == ERA_MODERN && x->era == ERA_LEGACY && !is_complete(result)) {
        answer_failure(x,
                       ERR(UPSTREAM,
                           "upstream %.*s answered with resultType %.*s, which makes no sense here",
                           STR(x->upstream->conf->name),
                           STR(str_head(json_raw_get(result, S("resultType")), 60))));
        return;
    }
    if (is_tool_error(x, result))
        x->outcome = "tool_error";
    if (!tool_check_result(x, result))
        return;
    bool uris = x->upstream->conf->rewrite_uris && upstream_has_resources(x);
    if (!uris && !translate_needed(method, from, x->revision)) {
        if (x->related_task.p)
            answer_outcome(x, result);
        else
            answer_result(x, &result, 1);
        return;
    }
    SCOPED(buf_done) struct buf b = { 0 };
    struct uri_map map = uris_of(x);
    struct translate_extras extras = { .server_info = x->snapshot->server_info, .ttl_ms = 0 };
    translate_result(&b, method, result, from, x->revision, &extras, uris ? &map : NULL);
    struct str piece = buf_view(&b);
    if (x->related_task.p)
        answer_outcome(x, piece);
    else
        answer_result(x, &piece, 1);
}

static int code_of(struct str error) {
    struct str raw = json_raw_get(error, S("code"));
    int64_t code = RPC_INTERNAL;
    if (raw.p)
        str_to_i64(raw, &code);
    return (int)code;
}

/* What the upstream says of headers and versions is between it and us (P-416). */
static bool is_our_fault(int code) {
    return code == RPC_HEADER_MISMATCH || code == RPC_UNSUPPORTED_VERSION;
}

/* P-438: a legacy upstream wants addresses opened before it will begin. */
static void put_addresses(struct exchange *x, struct jw *w, struct str elicitations) {
    struct question_look look = { .asks = x->asks, .upstream = x->upstream->conf->name };
    unsigned n = 0;
    jw_key(w, S("inputRequests"));
    jw_object(w);
    for (struct json_members m = json_elements(elicitations); json_element(&m);) {
        jw_key(w, arena_fmt(x->arena, "u%u", ++n));
        jw_object(w);
        jw_put_string(w, "method", method_name(METHOD_ELICITATION));
        jw_key(w, S("params"));
        question_write(w->out, METHOD_ELICITATION, m.value, x->revision, &look);
        jw_object_end(w);
    }
    jw_object_end(w);
}

static void ask_for_addresses(struct exchange *x, struct str elicitations) {
    SCOPED(buf_done) struct buf b = { 0 };
    SCOPED(buf_done) struct buf sealed = { 0 };
    struct jw w = jw_init(&b);
    const struct request_state s = { .kind = STATE_AGAIN };
    jw_object(&w);
    jw_put_string(&w, "resultType", S("input_required"));
    put_addresses(x, &w, elicitations);
    request_state_seal(x, &s, &sealed);
    jw_put_string(&w, "requestState", buf_view(&sealed));
    jw_object_end(&w);
    struct str piece = buf_view(&b);
    x->outcome = "input_required";
    answer_result(x, &piece, 1);
}

static bool wants_addresses(struct exchange *x, struct str error) {
    struct str data = json_raw_get(error, S("data"));
    struct str elicitations = json_raw_get(data, S("elicitations"));
    struct json_members first = json_elements(elicitations);
    if (x->era == ERA_LEGACY || code_of(error) != RPC_URL_ELICITATION || !elicitations.p ||
        elicitations.p[0] != '[' || !json_element(&first))
        return false;
    if (x->asks & ASK_URL)
        ask_for_addresses(x, elicitations);
    else
        answer_error(x, 0, RPC_MISSING_CAPABILITY,
                     S("{\"requiredCapabilities\":{\"elicitation\":{\"url\":{}}}}"),
                     "The tool wants a web page opened first, and this client offers no "
                     "elicitation of URLs");
    return true;
}

static void bridge_error(struct exchange *x, struct str error, enum revision from) {
    if (revision_era(from) == ERA_LEGACY && wants_addresses(x, error))
        return;
    if (revision_era(from) == ERA_MODERN && is_our_fault(code_of(error))) {
        answer_failure(x, ERR(UPSTREAM, "upstream %.*s refused our request: %.*s",
                              STR(x->upstream->conf->name), STR(str_head(error, 200))));
        return;
    }
    SCOPED(buf_done) struct buf b = { 0 };
    struct str uri = x->method == METHOD_RESOURCES_READ
                         ? wanted_name(x, x->in.name, x->in.name_escaped)
                         : S("");
    translate_error(&b, x->method, error, from, x->revision, uri);
    x->rpc_code = code_of(buf_view(&b));
    x->outcome = "upstream_error";
    struct str pieces[] = { S("{\"jsonrpc\":\"2.0\",\"id\":"), x->in.id, S(",\"error\":"),
                            buf_view(&b), S("}") };
    call_record_answer(x, pieces, ARRAY_SIZE(pieces), true);
    /* our client's own request was in order, whatever the upstream says of it: SDKs end a legacy
     * session that meets a 400 */
    int status = x->era == ERA_LEGACY ? ANSWER_OK : answer_status(x, x->rpc_code);
    answer_send(x, status, pieces, ARRAY_SIZE(pieces));
}

static bool level_wanted(const struct exchange *x, struct str params) {
    struct str raw = json_raw_get(params, S("level"));
    if (!raw.p || raw.n < 2)
        return false;
    int level = log_level_parse(str_from(raw.p + 1, raw.n - 2));
    return level >= x->log_level;
}

/* Another round counts from its own start, but what a client is told must grow (P-240, P-413). */
static bool progress_grows(struct exchange *x, struct str params) {
    char text[32] = { 0 };
    struct str raw = json_raw_get(params, S("progress"));
    if (raw.n == 0 || raw.n >= sizeof text)
        return true;
    memcpy(text, raw.p, raw.n);
    double told = strtod(text, NULL);
    if (x->later_round && told <= x->progress)
        return false;
    x->progress = told > x->progress ? told : x->progress;
    return true;
}

/* P-290: on the stream of a tasks/result, for a client of the same revision. */
static err_t bridge_status(struct exchange *x, const struct envelope *m) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct mcp_task t;
    bool known = x->era == ERA_LEGACY && x->revision == R11 && x->related_task.n;
    if (!known || mcp_task_read(x->arena, m->params, R11, &t))
        return OK;
    t.id = x->related_task;
    struct jw w = jw_init(&b);
    jw_object(&w);
    mcp_task_write(&w, &t, R11);
    jw_object_end(&w);
    struct str pieces[] = { S("{\"jsonrpc\":\"2.0\",\"method\":\""), method_name(METHOD_N_TASK_STATUS),
                            S("\",\"params\":"), buf_view(&b), S("}") };
    return x->face->notify(x, pieces, ARRAY_SIZE(pieces));
}

/* Progress and log messages of this call go on; anything else is no business of its client. */
static err_t bridge_notification(struct exchange *x, const struct envelope *m,
                                 const struct upstream_request *r) {
    enum method method = method_parse(m->method);
    struct str token = { 0 }, prefix = { 0 };
    if (!x->can_stream)
        return OK;
    if (method == METHOD_N_PROGRESS) {
        if (!x->in.progress_token.p ||
            !str_eq(json_raw_get(m->params, S("progressToken")), str_of(r->id_text)) ||
            !progress_grows(x, m->params))
            return OK;
        token = x->in.progress_token;
    } else if (method == METHOD_N_MESSAGE) {
        if (!level_wanted(x, m->params))
            return OK;
        prefix = x->upstream->conf->name;
    } else if (str_eq(m->method, S("notifications/elicitation/complete"))) {
        return question_completed(x, m->params);
    } else if (method == METHOD_N_TASK_STATUS) {
        return bridge_status(x, m);
    } else {
        return OK;
    }
    SCOPED(buf_done) struct buf b = { 0 };
    struct uri_map map = uris_of(x);
    translate_notification(&b, method, m->params, x->revision, token, prefix, &map);
    struct str pieces[] = { S("{\"jsonrpc\":\"2.0\",\"method\":\""), method_name(method), S("\",\"params\":"),
                            buf_view(&b), S("}") };
    return x->face->notify(x, pieces, ARRAY_SIZE(pieces));
}

/* ---- the call ---------------------------------------------------------------------- */

/* Questions come in bunches: those of a moment make one round (P-433). ENVELOPE_BATCH stands for
 * silence. */
static err_t next_question(struct exchange *x, struct upstream_call *c, struct envelope *m) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(x->task, GATHER);
    err_t e = upstream_next(x->task, c, m);
    if (!e || e->kind != ERR_TIMEOUT)
        return e;
    *m = (struct envelope){ .kind = ENVELOPE_BATCH };
    return OK;
}

/* Between messages of the upstream: once its questions are answered it is in a hurry again. */
static nanos patience_of(const struct exchange *x) {
    return x->related_task.p ? x->snapshot->conf->limits.task_wait : x->upstream->conf->timeout;
}

static err_t next_message(struct exchange *x, struct upstream_call *c, struct envelope *m) {
    bool asked = x->open_questions;
    if (x->parked && parked_asks(x->parked))
        return next_question(x, c, m);
    err_t e = upstream_next(x->task, c, m);
    if (e && e->kind == ERR_TIMEOUT && x->open_questions)
        return ERR(TIMEOUT, "the client did not answer what upstream %.*s asks in time",
                   STR(x->upstream->conf->name));
    TRY(e);
    if (asked && !x->open_questions)
        upstream_patience(c, patience_of(x));
    return OK;
}

/* P-079, P-416: the call was not begun; once, with the headers of today, it may be repeated. */
static bool headers_are_stale(const struct exchange *x, struct str error, enum revision from) {
    return revision_era(from) == ERA_MODERN && x->method == METHOD_TOOLS_CALL && !x->listed_anew &&
           code_of(error) == RPC_HEADER_MISMATCH;
}

/* P-418: the upstream wants a task; the legacy client asked for none, so we take it. */
static bool wants_task(const struct exchange *x, struct str error, enum revision from) {
    if (revision_era(from) != ERA_MODERN || x->era != ERA_LEGACY ||
        x->method != METHOD_TOOLS_CALL || x->takes_task || x->waits_for_task ||
        x->upstream->conf->tasks == TASKS_REFUSE || code_of(error) != RPC_MISSING_CAPABILITY)
        return false;
    struct str required = json_raw_get(json_raw_get(error, S("data")), S("requiredCapabilities"));
    return tasks_declared(required);
}

static void keep_answer(struct exchange *x, struct envelope *m) {
    m->result = arena_dup(x->arena, m->result);
    m->error = arena_dup(x->arena, m->error);
}

/* Up to the answer, or to input_required, which is left in `in` for another round. */
static err_t read_answer(struct exchange *x, struct upstream_call *c,
                         const struct upstream_request *r, enum revision from, struct inputs *in) {
    struct envelope m;
    for (;;) {
        TRY(next_message(x, c, &m));
        if (m.kind == ENVELOPE_NOTIFICATION) {
            TRY(bridge_notification(x, &m, r));
            continue;
        }
        if (m.kind == ENVELOPE_REQUEST && x->parked) {
            parked_take_question(x->parked, x, &m);
            continue;
        }
        if (m.kind == ENVELOPE_REQUEST) {
            TRY(question_pass_on(x, c, &m));
            continue;
        }
        if (m.kind == ENVELOPE_BATCH) {
            parked_wait(x);
            return OK;
        }
        upstream_no_deadline(c);
        if (x->questions || x->opened) /* telling the client may wait, and then the slices go */
            keep_answer(x, &m);
        if (x->questions)
            questions_withdraw(x);
        if (x->opened && !(m.kind == ENVELOPE_RESULT && wants_input(x, m.result)))
            questions_complete(x);
        if (m.kind == ENVELOPE_ERROR && headers_are_stale(x, m.error, from))
            in->stale_headers = x->listed_anew = true;
        else if (m.kind == ENVELOPE_ERROR && wants_task(x, m.error, from))
            in->wants_task = x->waits_for_task = true;
        else if (m.kind == ENVELOPE_ERROR)
            bridge_error(x, m.error, from);
        else if (is_task(x, m.result, from))
            return take_task(x, r, m.result, from, in);
        else if (revision_era(from) == ERA_MODERN && x->era == ERA_LEGACY &&
                 wants_input(x, m.result))
            return take_inputs(x, m.result, in);
        else if (revision_era(from) == ERA_MODERN && may_want_input(x, m.result) &&
                 wants_input(x, m.result))
            return pass_inputs(x, m.result);
        else if (x->task_asked.p && is_complete(m.result))
            return task_answer_ended(x, m.result);
        else
            bridge_result(x, m.result, from);
        return OK;
    }
}

static uint64_t caller_of(const struct exchange *x) {
    return x->who->digest ^ hash_bytes(x->session.id, SESSION_ID);
}

/* For questions that do not come on the stream of their call. On a pipe all that one key has in
 * flight is of one caller; on a session, where a modern client has no name, only what a legacy
 * client has. */
static uint64_t caller_to_ask(const struct exchange *x) {
    bool pipe = x->upstream->conf->type == UPSTREAM_STDIO;
    return pipe || (x->asks && x->era == ERA_LEGACY) ? caller_of(x) : 0;
}

/* Sessions differ by what their callers can be asked (P-431), so that a server sees the truth. A
 * child that all share is one all the same: it declares everything, and refuses for who cannot
 * be asked (P-437). */
static uint64_t share_of(const struct exchange *x, enum revision to, unsigned asks) {
    uint64_t share = 0; /* one tenant until tenants exist */
    if (x->upstream->conf->share == SHARE_PRINCIPAL)
        share = x->who->digest;
    else if (x->upstream->conf->share == SHARE_SESSION)
        share = caller_of(x);
    bool one_child = !share && x->upstream->conf->type == UPSTREAM_STDIO;
    if (revision_era(to) == ERA_MODERN || one_child ||
        (!share && !(asks & ASK_ALL) && asks == upstream_declares(x->upstream, asks, 0)))
        return share;
    return share ^ (uint64_t)(asks + 1) * 0x9e3779b97f4a7c15u;
}

/* A legacy client is asked on the stream of its call, so there must be one; a modern one in the
 * answer, where its method allows that (P-095, P-436). Apps are shown whoever may be asked. */
static unsigned asks_of(const struct exchange *x) {
    bool legacy = x->era == ERA_LEGACY;
    unsigned all = legacy ? x->session.asks : asks_read(x->in.client_capabilities, x->revision);
    bool askable = x->upstream->conf->questions != QUESTIONS_REFUSE &&
                   (legacy ? x->can_stream : takes_input(x->method));
    return askable ? all : all & SHOWS_APPS;
}

static err_t revision_now(struct exchange *x, enum revision *out) {
    *out = (enum revision)atomic_load_explicit(&x->upstream->revision, memory_order_relaxed);
    if (*out != REV_NONE)
        return OK;
    char reason[256];
    enum upstream_state state = upstream_state(x->upstream, reason);
    return ERR(UNAVAILABLE, "upstream %.*s is %s%s%s", STR(x->upstream->conf->name),
               upstream_state_word(state), reason[0] ? ": " : "", reason);
}

static void parked_scope(struct exchange **x) {
    parked_free(TAKE((*x)->parked));
}

/* A modern client in front of a legacy upstream: what it asks ends the round, not the call. */
static err_t call_parkable(struct exchange *x, const struct upstream_request *r, enum revision to) {
    SCOPED(parked_scope) struct exchange *owner = x;
    owner->parked = parked_new(x);
    struct upstream_request *own = parked_request(x->parked);
    struct upstream_call *c = parked_call(x->parked);
    *own = *r;
    TRY(upstream_begin(x->task, x->upstream, own, c));
    if (x->related_task.p)
        upstream_patience(c, patience_of(x));
    return read_answer(x, c, own, to, NULL);
}

/* What a legacy upstream is told, whose session several callers may share: never less than those
 * get who name no level (P-231), and each is given only its own (P-443). */
static unsigned verbosity_of(const struct exchange *x) {
    bool asked = x->era == ERA_MODERN ? x->in.log_level.p != NULL : x->session.log_level >= 0;
    int usual = log_level_parse(S("warning"));
    if (!asked || !x->can_stream)
        return 0;
    return (unsigned)(LOG_LEVELS - (x->log_level < usual ? x->log_level : usual));
}

static void let_go(void *exchange) {
    struct exchange *x = exchange;
    x->face->let_go(x);
}

/* One request to the upstream; `in` has what the round before left, and what this one leaves. */
static err_t call_round(struct exchange *x, enum revision to, struct str old_name,
                        struct inputs *in) {
    SCOPED(outgoing_done) struct outgoing out = { 0 };
    struct outgoing *o = &out;
    unsigned asks = x->asks;
    struct upstream_request r = {
        .method = x->method, .name = x->method == METHOD_COMPLETE ? (struct str){ 0 } : x->target,
        .arguments = x->in.arguments, .principal = x->who->id, .share = share_of(x, to, asks), .asks = asks, .caller = caller_to_ask(x),
        .safe = x->method != METHOD_TOOLS_CALL || (x->entry && x->entry->safe_to_repeat),
        .takes_task = x->takes_task || x->waits_for_task, .in_task = x->waits_for_task,
        .traceparent = trace_of(x), .wants_notes = x->can_stream && x->in.progress_token.p,
        .wants_logs = x->can_stream && x->log_level < LOG_LEVELS, .verbosity = verbosity_of(x),
        .let_go = x->era == ERA_LEGACY && x->face->let_go ? let_go : NULL, .let_go_of = x,
    };
    upstream_next_id(x->upstream, x->gw->worker, &r);
    if (!str_eq(old_name, x->target))
        add_edit(o, old_name, escaped(x, x->target));
    edit_meta(x, o, to, &r);
    if (x->in.request_state.p || x->in.input_responses.p)
        edit_inputs(x, o, revision_era(to));
    if (x->method == METHOD_COMPLETE)
        edit_params(x, o, to);
    bool tool = x->method == METHOD_TOOLS_CALL && x->entry;
    if (tool && (x->entry->task_support || (to == R11 && x->revision != R11)))
        edit_task(x, o, to);
    if (in->state.p || in->requests.p)
        add_inputs(x, o, in);
    write_message(x, o, &r);
    json headers = x->listed_anew ? x->header_params : x->entry ? x->entry->header_params : NULL;
    if (revision_era(to) == ERA_MODERN && headers)
        r.param_headers = param_headers_write(x->arena, headers, x->in.arguments);
    r.message = o->pieces;
    r.pieces = o->n;
    if (x->asks & ASK_ALL && x->era == ERA_MODERN && revision_era(to) == ERA_LEGACY)
        return call_parkable(x, &r, to);
    SCOPED(upstream_end) struct upstream_call c = { 0 };
    TRY(upstream_begin(x->task, x->upstream, &r, &c));
    const struct inputs before = *in; /* what a task is made with */
    *in = (struct inputs){ .responses = before.responses,
                           .rounds = before.rounds,
                           .pauses = before.pauses };
    in->sent_state = before.state;
    return read_answer(x, &c, &r, to, in);
}

/* ---- the call as a task of its upstream, for a client that takes none (P-418, P-446) - */

static struct task_ask ask_of(const struct exchange *x, enum revision to) {
    return (struct task_ask){ .upstream = x->upstream, .id = x->inner_task, .principal = x->who->id,
                              .share = share_of(x, to, x->asks), .asks = x->asks };
}

static err_t wait_for_task(struct exchange *x, enum revision to) {
    const struct task_ask ask = ask_of(x, to);
    bool failed;
    struct str raw;
    x->related_task = S(""); /* the client knows of none */
    if (to == R11)
        return forward_task_outcome(x, &ask);
    TRY(task_wait(x, &ask, &failed, &raw));
    forward_answer_outcome(x, failed, raw, to);
    return OK;
}

/* Who gave up, or was let down, leaves no task working behind. */
static err_t run_as_task(struct exchange *x, enum revision to) {
    err_t e = wait_for_task(x, to);
    if (!e)
        return OK;
    const struct task_ask ask = ask_of(x, to);
    struct err why = *e;
    task_ask_cancel(x->gw->worker, &ask);
    return err_again(&why);
}

err_t forward_task_outcome(struct exchange *x, const struct task_ask *ask) {
    enum revision to;
    TRY(revision_now(x, &to));
    struct upstream_request r = {
        .method = METHOD_TASKS_RESULT, .name = ask->id, .principal = x->who->id,
        .share = ask->share, .asks = ask->asks, .caller = caller_to_ask(x), .takes_task = true, .safe = true,
        .wants_logs = x->can_stream && x->log_level < LOG_LEVELS,
    };
    SCOPED(buf_done) struct buf text = { 0 };
    upstream_next_id(x->upstream, x->gw->worker, &r);
    task_ask_write(&text, ask, &r, (struct str){ 0 });
    struct str message = buf_view(&text);
    r.message = &message;
    r.pieces = 1;
    if (x->asks && x->era == ERA_MODERN)
        return call_parkable(x, &r, to);
    SCOPED(upstream_end) struct upstream_call c = { 0 };
    SCOPED(inputs_done) struct inputs none = { 0 };
    TRY(upstream_begin(x->task, x->upstream, &r, &c));
    upstream_patience(&c, patience_of(x));
    return read_answer(x, &c, &r, to, &none);
}

void forward_answer_outcome(struct exchange *x, bool failed, struct str raw, enum revision from) {
    if (failed)
        bridge_error(x, raw, from);
    else
        bridge_result(x, raw, from);
}

/* Rounds until there is an answer: a modern upstream may ask a legacy client (P-403). */
static err_t call_rounds(struct exchange *x, struct str old_name) {
    enum revision to;
    TRY(revision_now(x, &to));
    x->asks = asks_of(x);
    SCOPED(inputs_done) struct inputs in = { 0 };
    for (;;) {
        TRY(call_round(x, to, old_name, &in));
        if (x->inner_task.p)
            return run_as_task(x, to);
        if (in.wants_task) {
            in.wants_task = false;
            continue;
        }
        if (in.stale_headers) {
            TRY(tool_header_params(x->task, x->upstream, x->target, x->arena, &x->header_params));
            in.stale_headers = false;
            continue;
        }
        if (!in.requests.p && !in.state.p)
            return OK;
        TRY(question_gather(x, &in));
        x->later_round = true;
    }
}

static err_t call(struct exchange *x, struct str old_name) {
    err_t e = call_rounds(x, old_name);
    if (!x->questions)
        return e;
    struct err why = e ? *e : (struct err){ 0 };
    questions_withdraw(x);
    return e ? err_again(&why) : OK;
}

/* The lowest level that this client asked for: per request (modern) or session (P-231, P-232). */
static bool set_log_level(struct exchange *x) {
    if (x->era == ERA_LEGACY) {
        x->log_level = x->session.log_level >= 0 ? x->session.log_level
                                                 : log_level_parse(S("warning"));
        return true;
    }
    if (!x->in.log_level.p)
        return true;
    bool quoted = x->in.log_level.n > 2 && x->in.log_level.p[0] == '"';
    int level = quoted ? log_level_parse(str_from(x->in.log_level.p + 1, x->in.log_level.n - 2))
                       : -1;
    if (level < 0) {
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "logLevel is not a level: %.*s",
                     STR(x->in.log_level));
        return false;
    }
    x->log_level = level;
    return true;
}

static void account_upstream(struct exchange *x, err_t e, nanos took) {
    if (x->trace.client_span) {
        x->trace.received = worker_tick(x->gw->worker);
        x->trace.failure = e ? err_word(e->kind) : NULL;
    }
    metric_series *ok = &upstream_side(x->upstream, x->gw->worker)->ok_series;
    if (!e && !*ok)
        *ok = METRIC_SERIES(&metric_client_duration, x->upstream->conf->name, S("ok"));
    metric_observe(!e ? *ok
                      : METRIC_SERIES(&metric_client_duration, x->upstream->conf->name,
                                      str_of(err_word(e->kind))),
                   took);
}

/* The outcome of a call that may have answered already. */
static void settle(struct exchange *x, err_t e) {
    if (!e || x->answered)
        return;
    if (x->cancelled)
        x->outcome = "cancelled"; /* the client said so itself: no answer (P-243) */
    else if (x->session_ended)
        answer_failure(x, ERR(CANCELLED, "the session was closed while the call was running"));
    else
        answer_failure(x, e);
}

static err_t continue_call(struct exchange *x) {
    SCOPED(parked_scope) struct exchange *owner = x;
    struct upstream_call *c = parked_call(owner->parked);
    if (!parked_give_answers(x)) {
        if (x->parked)
            parked_wait(x);
        return OK;
    }
    enum revision from;
    TRY(revision_now(x, &from));
    TRY(upstream_take_up(x->task, c));
    const struct upstream_request *r = parked_request(x->parked);
    x->waits_for_task = r->in_task;
    x->takes_task = r->takes_task && !r->in_task;
    if (r->method == METHOD_TASKS_RESULT) {
        x->related_task = S("");
        upstream_patience(c, patience_of(x));
    }
    return read_answer(x, c, r, from, NULL);
}

void forward_settle_outcome(struct exchange *x, err_t e) {
    struct err why = e ? *e : (struct err){ 0 };
    if (x->questions)
        questions_withdraw(x);
    settle(x, e ? err_again(&why) : OK);
}

void forward_continue(struct exchange *x) {
    x->asks = asks_of(x);
    x->target = x->in.name;
    if (!set_log_level(x)) {
        parked_free(TAKE(x->parked));
        return;
    }
    enum revision to;
    err_t e = continue_call(x);
    if (!e && x->inner_task.p && !revision_now(x, &to))
        e = run_as_task(x, to);
    settle(x, e);
}

/* P-438: what the client was to open is open, or the call will not be. */
static bool opened_all(struct exchange *x) {
    for (struct json_members m = json_members(x->in.input_responses); json_member(&m);)
        if (!str_eq(json_raw_get(m.value, S("action")), S("\"accept\""))) {
            answer_failure(x, ERR(DENIED,
                                  "upstream %.*s wants a web page opened first, and that "
                                  "was declined",
                                  STR(x->upstream->conf->name)));
            return false;
        }
    return true;
}

/* To a legacy upstream, which it has become meanwhile, the retry would be a second run. */
static bool pass_state(struct exchange *x, struct str inner) {
    enum revision to = (enum revision)atomic_load_explicit(&x->upstream->revision,
                                                           memory_order_relaxed);
    x->inner_state = inner;
    if (to != REV_NONE && revision_era(to) == ERA_MODERN)
        return true;
    request_state_refuse_old(x);
    return false;
}

/* A modern client's next round. True: call the upstream, with what is in x. */
static bool go_on(struct exchange *x) {
    struct request_state s;
    if (!request_state_open(x, &s))
        return false;
    switch (s.kind) {
    case STATE_PARKED: relay_run(x, s.worker, s.number); return false;
    case STATE_PASSED: return pass_state(x, s.inner);
    default: return opened_all(x);
    }
}

/* Answers without a state continue nothing, since questions of ours never go without one: they are
 * for a modern upstream that gave none before there was a gateway. A legacy one begins a call, in
 * which they may fit (P-100, park.c). */
static bool inputs_make_sense(struct exchange *x) {
    if (x->era == ERA_LEGACY || !takes_input(x->method))
        return true;
    if (x->in.request_state.p)
        return go_on(x);
    enum revision to = (enum revision)atomic_load_explicit(&x->upstream->revision,
                                                           memory_order_relaxed);
    struct str responses = x->in.input_responses;
    if (!responses.p || revision_era(to) == ERA_MODERN || responses.p[0] == '{')
        return true;
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "inputResponses must be an object");
    return false;
}

void forward(struct exchange *x) {
    struct str old_name;
    if (!set_log_level(x) || !route(x, &old_name) || !inputs_make_sense(x))
        return;
    if (x->era == ERA_MODERN && x->entry && x->head &&
        !param_headers_match(x, x->entry->header_params))
        return;
    if (x->method == METHOD_TOOLS_CALL && !task_admit(x))
        return;
    if (!tool_check_arguments(x))
        return;
    nanos began = x->gw->worker->now;
    err_t e = call(x, old_name);
    account_upstream(x, e, x->gw->worker->now - began);
    settle(x, e);
}

void forward_roots_changed(struct exchange *x) {
    struct str text = S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/roots/list_changed\"}");
    unsigned asks = x->session.asks;
    for (size_t i = 0; asks & TELLS_ROOTS && i < x->snapshot->upstream_count; i++) {
        struct upstream *u = x->upstream = x->snapshot->upstreams[i];
        enum revision to = (enum revision)atomic_load(&u->revision);
        if (atomic_load(&u->asks_roots) && to != REV_NONE && revision_era(to) == ERA_LEGACY)
            upstream_tell(u, share_of(x, to, asks), text);
    }
    x->upstream = NULL;
}
