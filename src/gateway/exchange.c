/* exchange.c - see exchange.h: the steps that every exchange takes, and its account. */
#include "gateway/exchange.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/call_record.h"
#include "gateway/limit.h"
#include "gateway/metrics.h"
#include "gateway/stream.h"
#include "gateway/subscribe.h"
#include "gateway/task_methods.h"
#include "mcp/header_value.h"
#include "mcp/uri.h"
#include <stdio.h>

/* ---- answering --------------------------------------------------------------------- */

enum { RESULT_PIECES = 12 };

/* Once, and before the answer leaves: what a client has seen answered is in the history, even
 * when we are killed the moment after. */
static void record(struct exchange *x) {
    if (x->recorded)
        return;
    x->recorded = true;
    x->took = worker_tick(x->gw->worker) - x->began;
    call_record_write(x, x->took);
}

void answer_send(struct exchange *x, int status, const struct str *pieces, size_t n) {
    x->answered = true;
    if (x->back) /* else nobody runs it: a face's own refusal, or a round run for its asker */
        record(x);
    x->face->answer(x, status, pieces, n);
}

void answer_result(struct exchange *x, const struct str *result, size_t n) {
    struct str pieces[RESULT_PIECES + 4] = { S("{\"jsonrpc\":\"2.0\",\"id\":"), x->in.id,
                                             S(",\"result\":") };
    size_t used = 3;
    for (size_t i = 0; i < n && i < RESULT_PIECES; i++)
        pieces[used++] = result[i];
    pieces[used++] = S("}");
    if (!x->outcome)
        x->outcome = "ok";
    call_record_answer(x, result, n, x->outcome[0] != 'o');
    answer_send(x, ANSWER_OK, pieces, used);
}

int answer_status(const struct exchange *x, int code) {
    if (code == RPC_PARSE || code == RPC_INVALID_REQUEST)
        return 400;
    if (x->era == ERA_LEGACY)
        return 200;
    switch (code) {
    case RPC_METHOD_NOT_FOUND: return 404;
    case RPC_HEADER_MISMATCH:
    case RPC_MISSING_CAPABILITY:
    case RPC_UNSUPPORTED_VERSION: return 400;
    default: return 200;
    }
}

static const char *outcome_of(int code) {
    switch (code) {
    case RPC_METHOD_NOT_FOUND: return "method_not_found";
    case RPC_INVALID_PARAMS: return "invalid_params";
    case RPC_INTERNAL: return "internal";
    case RPC_PARSE:
    case RPC_INVALID_REQUEST: return "invalid_request";
    default: return "error";
    }
}

static void put_members(struct jw *w, struct str object, struct str except) {
    for (struct json_members m = json_members(object); json_member(&m);)
        if (!str_eq(m.key, except)) {
            jw_key(w, m.key);
            jw_raw(w, m.value);
        }
}

/* The request id, which every log line of this request carries, goes into our own member. */
static void put_data(struct jw *w, struct str data) {
    struct str id = log_request(), own = data.n ? json_raw_get(data, S("gatespan")) : data;
    if (!id.n && !data.n)
        return;
    jw_key(w, S("data"));
    jw_object(w);
    put_members(w, data, S("gatespan"));
    jw_key(w, S("gatespan"));
    jw_object(w);
    put_members(w, own, S("requestId"));
    if (id.n)
        jw_put_string(w, "requestId", id);
    jw_object_end(w);
    jw_object_end(w);
}

void answer_error(struct exchange *x, int status, int code, struct str data, const char *format,
                  ...) {
    struct buf b = { 0 };
    va_list args;
    va_start(args, format);
    struct str text = arena_vfmt(x->arena, format, args);
    va_end(args);
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    if (x->in.id.p)
        jw_put_raw(&w, "id", x->in.id);
    else if (x->era == ERA_LEGACY && x->revision < R11) /* P-007 */
        jw_put_raw(&w, "id", S("null"));
    jw_key(&w, S("error"));
    jw_object(&w);
    jw_put_int(&w, "code", code);
    jw_put_string(&w, "message", text);
    put_data(&w, data);
    jw_object_end(&w);
    jw_object_end(&w);
    x->rpc_code = code;
    if (!x->outcome)
        x->outcome = outcome_of(code);
    struct str piece = buf_view(&b);
    call_record_answer(x, &piece, 1, true);
    answer_send(x, status ? status : answer_status(x, code), &piece, 1);
    buf_done(&b);
}

void answer_error_object(struct exchange *x, int status, struct str error) {
    struct str pieces[] = { S("{\"jsonrpc\":\"2.0\",\"id\":"), x->in.id, S(",\"error\":"), error,
                            S("}") };
    call_record_answer(x, pieces, ARRAY_SIZE(pieces), true);
    answer_send(x, status, pieces, ARRAY_SIZE(pieces));
}

void answer_failure(struct exchange *x, err_t e) {
    struct err why = *e;
    SCOPED(buf_done) struct buf data = { 0 };
    struct jw w = jw_init(&data);
    jw_object(&w);
    jw_key(&w, S("gatespan"));
    jw_object(&w);
    jw_put_string(&w, "kind", str_of(err_word(why.kind)));
    if (x->upstream)
        jw_put_string(&w, "upstream", x->upstream->conf->name);
    jw_put_bool(&w, "retryable", err_retryable(why.kind));
    jw_object_end(&w);
    jw_object_end(&w);
    x->outcome = err_word(why.kind);
    log_warn("call failed", F("method", method_name(x->method)),
             F("target", uri_public(x->arena, x->target)), F("key", x->who->name),
             F("error", why.text));
    answer_error(x, 0, RPC_INTERNAL, buf_view(&data), "%s", why.text);
}

/* ---- steps ------------------------------------------------------------------------- */

static bool offered(const struct capabilities *has, enum feature f) {
    switch (f) {
    case FEATURE_TOOLS: return has->tools;
    case FEATURE_PROMPTS: return has->prompts;
    case FEATURE_RESOURCES: return has->resources;
    case FEATURE_COMPLETIONS: return has->completions;
    case FEATURE_LOGGING: return has->logging;
    case FEATURE_TASKS: return has->tasks;
    default: return true;
    }
}

/* Exists in this revision and somebody offers it (P-180, P-625). */
static bool step_known(struct exchange *x) {
    if (x->method != METHOD_UNKNOWN && method_exists(x->method, x->revision) &&
        offered(&x->snapshot->catalogue->has, method_feature(x->method)))
        return true;
    answer_error(x, 0, RPC_METHOD_NOT_FOUND, (struct str){ 0 }, "Method not found: %.*s",
                 (int)(x->in.method.n < 100 ? x->in.method.n : 100), x->in.method.p);
    return false;
}

/* Modern: Mcp-Name equals the body (P-071, P-074). */
static bool step_name_header(struct exchange *x) {
    if (x->era == ERA_LEGACY || !x->head)
        return true;
    switch (x->method) {
    case METHOD_TOOLS_CALL:
    case METHOD_PROMPTS_GET:
    case METHOD_RESOURCES_READ:
    case METHOD_TASKS_GET: /* P-298 */
    case METHOD_TASKS_UPDATE:
    case METHOD_TASKS_CANCEL: break;
    default: return true;
    }
    struct str header = x->head->known[HTTP_MCP_NAME], value;
    if (header.p && header_value_read(x->arena, header, &value) && str_eq(value, exchange_name(x)))
        return true;
    answer_error(x, 0, RPC_HEADER_MISMATCH, (struct str){ 0 }, "Header mismatch: Mcp-Name %s",
                 header.p ? "differs from the body" : "is missing");
    return false;
}

static void refuse_limited(struct exchange *x, nanos retry) {
    metric_add(METRIC_SERIES(&metric_limited, x->who->name), 1);
    x->outcome = "limited";
    x->retry_after = retry;
    SCOPED(buf_done) struct buf data = { 0 };
    buf_fmt(&data, "{\"gatespan\":{\"kind\":\"limited\",\"retryAfterMs\":%lld}}",
            (long long)((retry + NANOS_MS - 1) / NANOS_MS));
    answer_error(x, 429, RPC_INTERNAL, buf_view(&data), "Rate limit of key %.*s reached",
                 STR(x->who->name));
}

static bool step_limit(struct exchange *x) {
    nanos retry = 0;
    if (!x->view->limit || limit_take(x->view->limit, task_now(x->task), &retry))
        return true;
    refuse_limited(x, retry);
    return false;
}

typedef void method_fn(struct exchange *x);
static method_fn *const handlers[METHOD_COUNT] = {
    [METHOD_INITIALIZE] = method_initialize,
    [METHOD_PING] = method_ping,
    [METHOD_DISCOVER] = method_discover,
    [METHOD_TOOLS_LIST] = method_list,
    [METHOD_PROMPTS_LIST] = method_list,
    [METHOD_RESOURCES_LIST] = method_list,
    [METHOD_TEMPLATES_LIST] = method_list,
    [METHOD_SET_LEVEL] = method_set_level,
    [METHOD_LISTEN] = method_listen,
    [METHOD_TOOLS_CALL] = forward,
    [METHOD_PROMPTS_GET] = forward,
    [METHOD_RESOURCES_READ] = forward,
    [METHOD_COMPLETE] = forward,
    [METHOD_RESOURCES_SUBSCRIBE] = method_subscribe,
    [METHOD_RESOURCES_UNSUBSCRIBE] = method_unsubscribe,
    [METHOD_TASKS_GET] = method_task_get,
    [METHOD_TASKS_RESULT] = method_task_result,
    [METHOD_TASKS_LIST] = method_task_list,
    [METHOD_TASKS_CANCEL] = method_task_cancel,
    [METHOD_TASKS_UPDATE] = method_task_update,
};

/* ---- account ----------------------------------------------------------------------- */

static metric_series series_of(struct exchange *x) {
    return METRIC_SERIES(&metric_operation_duration, method_name(x->method),
                         x->method == METHOD_TOOLS_CALL && x->entry ? x->entry->shown : S(""),
                         x->upstream ? x->upstream->conf->name : S(""),
                         str_of(x->outcome ? x->outcome : "none"));
}

/* Success of a known tool is one array look-up; everything else may take its time. */
static void account(struct exchange *x) {
    record(x);
    bool usual = x->method == METHOD_TOOLS_CALL && x->entry && x->rpc_code == 0 &&
                 x->entry->index < x->gw->tool_series_count &&
                 x->gw->generation == x->snapshot->generation && x->outcome && x->outcome[0] == 'o';
    if (!usual) {
        metric_observe(series_of(x), x->took);
    } else {
        metric_series *series = &x->gw->tool_series[x->entry->index];
        if (!*series)
            *series = series_of(x);
        metric_observe(*series, x->took);
    }
    log_debug("exchange", F("method", method_name(x->method)),
              F("target", uri_public(x->arena, x->entry ? x->entry->shown : x->target)),
              F("key", x->who->name), F("outcome", x->outcome ? x->outcome : "none"),
              F("ms", (double)x->took / (double)NANOS_MS));
}

static metric_series in_flight(void) {
    static _Thread_local metric_series series;
    if (!series)
        series = METRIC_SERIES(&metric_in_flight);
    return series;
}

static void enter(struct exchange *x) {
    struct gateway_worker *gw = x->gw;
    x->next = gw->exchanges;
    x->back = &gw->exchanges;
    if (x->next)
        x->next->back = &x->next;
    gw->exchanges = x;
    gw->in_flight++;
    metric_add(in_flight(), 1);
}

static void leave(struct exchange *x) {
    *x->back = x->next;
    if (x->next)
        x->next->back = x->back;
    x->gw->in_flight--;
    metric_add(in_flight(), -1);
}

/* route → authorize → limit → the method's own way */
static void run_steps(struct exchange *x) {
    if (!step_known(x) || !step_name_header(x))
        return;
    x->view = gateway_view(x->gw, x->snapshot, x->who, x->profile);
    if (!step_limit(x))
        return;
    if (handlers[x->method])
        handlers[x->method](x);
    else
        answer_error(x, 0, RPC_METHOD_NOT_FOUND, (struct str){ 0 }, "Method not found: %.*s",
                     STR(x->in.method));
}

void exchange_read_method(struct exchange *x) {
    if (x->in.methods_escaped)
        x->in.method = json_unescape(x->arena, x->in.method);
    x->method = x->in.method.p ? method_parse(x->in.method) : METHOD_UNKNOWN;
}

void exchange_run(struct exchange *x) {
    x->log_level = LOG_LEVELS;
    enter(x);
    if (x->gw->tracer)
        exchange_trace_begin(x);
    run_steps(x);
    leave(x);
    account(x);
    if (x->trace.context.sampled)
        exchange_trace_end(x);
}

/* ---- cancelling -------------------------------------------------------------------- */

struct cancel {
    struct mail mail;
    char session[SESSION_ID];
    size_t n;
    char id[];
};

static void on_cancel(struct worker *w, struct mail *m) {
    struct cancel *c = (struct cancel *)m;
    struct gateway_worker *gw = gateway_here(w);
    for (struct exchange *x = gw ? gw->exchanges : NULL; x; x = x->next)
        if (memcmp(x->session.id, c->session, SESSION_ID) == 0 &&
            str_eq(x->in.id, str_from(c->id, c->n)) && x->method != METHOD_INITIALIZE &&
            !x->answered) { /* an answer on its way is not torn */
            x->cancelled = true;
            task_cancel(x->task);
        }
    free(c);
    worker_run_ready(w);
}

void exchanges_end_session(struct gateway_worker *gw, const char session[SESSION_ID]) {
    for (struct exchange *x = gw->exchanges; x; x = x->next)
        if (memcmp(x->session.id, session, SESSION_ID) == 0 && !x->answered) {
            x->session_ended = true;
            task_cancel(x->task);
        }
}

void exchange_cancel_request(struct gateway *g, const struct session_view *session,
                             struct str raw_id) {
    for (unsigned i = 0; i < workers_count(g->all); i++) {
        struct cancel *c = malloc(sizeof *c + raw_id.n);
        if (!c)
            return;
        *c = (struct cancel){ .mail.deliver = on_cancel, .n = raw_id.n };
        memcpy(c->session, session->id, SESSION_ID);
        memcpy(c->id, raw_id.p, raw_id.n);
        if (!worker_post(workers_at(g->all, i), &c->mail))
            free(c);
    }
}
