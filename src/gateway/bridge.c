/* bridge.c - see bridge.h. */
#include "gateway/bridge.h"
#include "base/mem.h"
#include "gateway/input_required.h"
#include "gateway/task_told.h"
#include "gateway/tool_check.h"
#include "mcp/response.h"
#include "mcp/task.h"
#include <stdlib.h>

static struct uri_map uris_of(const struct exchange *x) {
    return (struct uri_map){ .upstream = x->upstream->conf->name,
                             .rewrite = x->upstream->conf->rewrite_uris };
}

/* ---- results ------------------------------------------------------------------------ */

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

/* P-085: a server may leave it out, we may not. */
static struct str with_result_type(struct exchange *x, struct str result) {
    struct json_members m = json_members(result);
    bool more = json_member(&m);
    return arena_fmt(x->arena, "{\"resultType\":\"complete\"%s%.*s", more ? "," : "",
                     STR(str_skip(result, 1)));
}

static bool upstream_has_resources(const struct exchange *x) {
    for (size_t i = 0; i < x->snapshot->upstream_count; i++) {
        const struct part *p = x->snapshot->sources[i].part;
        if (x->snapshot->upstreams[i] == x->upstream)
            return !p || p->has.resources;
    }
    return true;
}

/* The outcome of a task is a tool's result that says which task it is of, to who knows tasks
 * (P-291, P-440). */
static void answer(struct exchange *x, struct str result) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (x->related_task.p && x->era == ERA_LEGACY && x->revision == R11) {
        mcp_task_put_related(&b, result, x->related_task);
        result = buf_view(&b);
    }
    answer_result(x, &result, 1);
}

static void answer_translated(struct exchange *x, enum method method, struct str result,
                              enum revision from, const struct uri_map *uris) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct translate_extras extras = { .server_info = x->snapshot->server_info, .ttl_ms = 0 };
    translate_result(&b, method, result, from, x->revision, &extras, uris);
    answer(x, buf_view(&b));
}

static void refuse_type(struct exchange *x, struct str result) {
    answer_failure(x, ERR(UPSTREAM,
                          "upstream %.*s answered with resultType %.*s, which makes no sense here",
                          STR(x->upstream->conf->name),
                          STR(str_head(json_raw_get(result, S("resultType")), 60))));
}

void bridge_result(struct exchange *x, struct str result, enum revision from) {
    enum method method = x->related_task.p ? METHOD_TOOLS_CALL : x->method;
    bool modern = revision_era(from) == ERA_MODERN;
    if (modern && x->era == ERA_MODERN && !result_has_type(result))
        result = with_result_type(x, result);
    if (modern && x->era == ERA_LEGACY && !result_is_complete(result)) {
        refuse_type(x, result);
        return;
    }
    if (is_tool_error(x, result))
        x->outcome = "tool_error";
    if (!tool_check_result(x, result))
        return;
    struct uri_map map = uris_of(x);
    bool uris = map.rewrite && upstream_has_resources(x);
    if (uris || translate_needed(method, from, x->revision))
        answer_translated(x, method, result, from, uris ? &map : NULL);
    else
        answer(x, result);
}

/* ---- errors ------------------------------------------------------------------------- */

/* What the upstream says of headers and versions is between it and us (P-416). */
static bool is_our_fault(int code) {
    return code == RPC_HEADER_MISMATCH || code == RPC_UNSUPPORTED_VERSION;
}

/* Our client's own request was in order, whatever the upstream says of it: SDKs end a legacy
 * session that meets a 400. */
static int status_of(const struct exchange *x) {
    return x->era == ERA_LEGACY ? ANSWER_OK : answer_status(x, x->rpc_code);
}

void bridge_error(struct exchange *x, struct str error, enum revision from) {
    if (revision_era(from) == ERA_LEGACY && input_required_for_addresses(x, error))
        return;
    if (revision_era(from) == ERA_MODERN && is_our_fault(error_code(error))) {
        answer_failure(x, ERR(UPSTREAM, "upstream %.*s refused our request: %.*s",
                              STR(x->upstream->conf->name), STR(str_head(error, 200))));
        return;
    }
    SCOPED(buf_done) struct buf b = { 0 };
    struct str uri = x->method == METHOD_RESOURCES_READ ? exchange_name(x) : S("");
    translate_error(&b, x->method, error, from, x->revision, uri);
    x->rpc_code = error_code(buf_view(&b));
    x->outcome = "upstream_error";
    answer_error_object(x, status_of(x), buf_view(&b));
}

/* ---- in mid-call -------------------------------------------------------------------- */

static err_t notify(struct exchange *x, enum method method, struct str params) {
    struct str pieces[] = { S("{\"jsonrpc\":\"2.0\",\"method\":\""), method_name(method),
                            S("\",\"params\":"), params, S("}") };
    return x->face->notify(x, pieces, ARRAY_SIZE(pieces));
}

static err_t notify_translated(struct exchange *x, enum method method, struct str params,
                               struct str token, struct str prefix) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct uri_map map = uris_of(x);
    translate_notification(&b, method, params, x->revision, token, prefix, &map);
    return notify(x, method, buf_view(&b));
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

static err_t bridge_progress(struct exchange *x, struct str params,
                             const struct upstream_request *r) {
    struct str token = json_raw_get(params, S("progressToken"));
    if (!x->in.progress_token.p || !str_eq(token, str_of(r->id_text)) || !progress_grows(x, params))
        return OK;
    return notify_translated(x, METHOD_N_PROGRESS, params, x->in.progress_token, (struct str){ 0 });
}

/* P-231, P-640 */
static err_t bridge_log(struct exchange *x, struct str params) {
    struct str raw = json_raw_get(params, S("level"));
    if (!raw.p || raw.n < 2 || log_level_parse(str_from(raw.p + 1, raw.n - 2)) < x->log_level)
        return OK;
    return notify_translated(x, METHOD_N_MESSAGE, params, (struct str){ 0 },
                             x->upstream->conf->name);
}

err_t bridge_notification(struct exchange *x, const struct envelope *m,
                          const struct upstream_request *r) {
    if (method_parse(m->method) == METHOD_N_TASK_STATUS)
        return task_told_on_call(x, m, r);
    if (!x->can_stream)
        return OK;
    if (str_eq(m->method, S("notifications/elicitation/complete")))
        return question_completed(x, m->params);
    switch (method_parse(m->method)) {
    case METHOD_N_PROGRESS: return bridge_progress(x, m->params, r);
    case METHOD_N_MESSAGE: return bridge_log(x, m->params);
    default: return OK;
    }
}
