/* forward.c - see forward.h. */
#include "gateway/forward.h"
#include "base/mem.h"
#include "gateway/bridge.h"
#include "gateway/call.h"
#include "gateway/caller.h"
#include "gateway/input_required.h"
#include "gateway/metrics.h"
#include "gateway/outgoing.h"
#include "gateway/param_headers.h"
#include "gateway/park.h"
#include "gateway/route.h"
#include "gateway/task_methods.h"
#include "gateway/tool_check.h"
#include "mcp/question.h"

/* ---- one round ---------------------------------------------------------------------- */

static void let_go(void *exchange) {
    struct exchange *x = exchange;
    x->face->let_go(x);
}

static struct upstream_request request_of(struct exchange *x, enum revision to) {
    return (struct upstream_request){
        .method = x->method, .name = x->method == METHOD_COMPLETE ? (struct str){ 0 } : x->target,
        .arguments = x->in.arguments, .principal = x->who->id,
        .share = caller_share(x, to, x->asks), .asks = x->asks, .caller = caller_to_ask(x),
        .safe = x->method != METHOD_TOOLS_CALL || (x->entry && x->entry->safe_to_repeat),
        .takes_task = x->takes_task || x->waits_for_task, .in_task = x->waits_for_task,
        .traceparent = outgoing_traceparent(x),
        .wants_notes = x->can_stream && x->in.progress_token.p,
        .wants_logs = x->can_stream && x->log_level < LOG_LEVELS, .verbosity = caller_verbosity(x),
        .let_go = x->era == ERA_LEGACY && x->face->let_go ? let_go : NULL, .let_go_of = x,
    };
}

/* Arguments that a modern upstream wants in headers too (P-420). */
static struct str param_headers_of(struct exchange *x, enum revision to) {
    json headers = x->listed_anew ? x->header_params : x->entry ? x->entry->header_params : NULL;
    if (revision_era(to) == ERA_LEGACY || !headers)
        return (struct str){ 0 };
    return param_headers_write(x->arena, headers, x->in.arguments);
}

/* What the round before asked has gone into this one's message; its answers and its state may yet
 * be what a task is made with. */
static void begin_round(struct inputs *in) {
    *in = (struct inputs){ .responses = in->responses, .rounds = in->rounds,
                           .pauses = in->pauses, .sent_state = in->state };
}

/* One request to the upstream; `in` has what the round before left, and what this one leaves. */
static err_t call_round(struct exchange *x, enum revision to, struct str old_name,
                        struct inputs *in) {
    SCOPED(outgoing_done) struct outgoing out;
    outgoing_init(&out);
    struct upstream_request r = request_of(x, to);
    upstream_next_id(x->upstream, x->gw->worker, &r);
    outgoing_write(&out, x, to, &r, old_name, in);
    r.param_headers = param_headers_of(x, to);
    r.message = out.pieces;
    r.pieces = out.n;
    begin_round(in);
    return call_run(x, &r, to, in);
}

/* ---- the call as a task of its upstream, for a client that takes none (P-418, P-446) - */

static struct task_ask ask_of(const struct exchange *x, enum revision to) {
    return (struct task_ask){ .upstream = x->upstream, .id = x->inner_task, .principal = x->who->id,
                              .share = caller_share(x, to, x->asks), .asks = x->asks };
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
    TRY(upstream_revision_now(x->upstream, &to));
    struct upstream_request r = {
        .method = METHOD_TASKS_RESULT, .name = ask->id, .principal = x->who->id,
        .share = ask->share, .asks = ask->asks, .caller = caller_to_ask(x), .takes_task = true,
        .safe = true, .wants_logs = x->can_stream && x->log_level < LOG_LEVELS,
    };
    SCOPED(buf_done) struct buf text = { 0 };
    SCOPED(inputs_done) struct inputs none = { 0 };
    upstream_next_id(x->upstream, x->gw->worker, &r);
    task_ask_write(&text, ask, &r, (struct str){ 0 });
    struct str message = buf_view(&text);
    r.message = &message;
    r.pieces = 1;
    return call_run(x, &r, to, &none);
}

void forward_answer_outcome(struct exchange *x, bool failed, struct str raw, enum revision from) {
    if (failed)
        bridge_error(x, raw, from);
    else
        bridge_result(x, raw, from);
}

/* ---- all rounds --------------------------------------------------------------------- */

/* The call was not begun: what it was sent with, answers of the client included, goes out again. */
static err_t prepare_same(struct exchange *x, struct inputs *in) {
    in->state = in->sent_state;
    if (!in->stale_headers)
        return OK;
    return tool_header_params(x->task, x->upstream, x->target, x->arena, &x->header_params);
}

/* True: another round, with what the one before left in x and `in`. */
static err_t prepare_next(struct exchange *x, struct inputs *in, bool *again) {
    *again = true;
    if (in->wants_task || in->stale_headers)
        return prepare_same(x, in);
    *again = in->requests.p || in->state.p;
    if (!*again)
        return OK;
    x->later_round = true;
    return question_gather(x, in);
}

/* Until there is an answer: a modern upstream may ask a legacy client (P-403). */
static err_t call_rounds(struct exchange *x, struct str old_name) {
    enum revision to;
    TRY(upstream_revision_now(x->upstream, &to));
    x->asks = caller_asks(x);
    SCOPED(inputs_done) struct inputs in = { 0 };
    for (bool again = true; again;) {
        TRY(call_round(x, to, old_name, &in));
        if (x->inner_task.p)
            return run_as_task(x, to);
        TRY(prepare_next(x, &in, &again));
    }
    return OK;
}

/* ---- the end ------------------------------------------------------------------------ */

static err_t withdraw_questions(struct exchange *x, err_t e) {
    if (!x->questions)
        return e;
    struct err why = e ? *e : (struct err){ 0 };
    questions_withdraw(x);
    return e ? err_again(&why) : OK;
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

void forward_settle_outcome(struct exchange *x, err_t e) {
    settle(x, withdraw_questions(x, e));
}

/* ---- the way ------------------------------------------------------------------------ */

/* What must be in order before anything is sent. False: x was answered. */
static bool admit(struct exchange *x) {
    if (x->era == ERA_MODERN && x->entry && x->head &&
        !param_headers_match(x, x->entry->header_params))
        return false;
    if (x->method == METHOD_TOOLS_CALL && !task_admit(x))
        return false;
    return tool_check_arguments(x);
}

void forward(struct exchange *x) {
    struct str old_name;
    if (!caller_set_log_level(x) || !route_call(x, &old_name) || !input_take(x) || !admit(x))
        return;
    nanos began = x->gw->worker->now;
    err_t e = withdraw_questions(x, call_rounds(x, old_name));
    account_upstream(x, e, x->gw->worker->now - began);
    settle(x, e);
}

void forward_continue(struct exchange *x) {
    x->asks = caller_asks(x);
    x->target = x->in.name;
    if (!caller_set_log_level(x)) {
        parked_free(TAKE(x->parked));
        return;
    }
    enum revision to;
    err_t e = call_go_on(x);
    if (!e && x->inner_task.p && !upstream_revision_now(x->upstream, &to))
        e = run_as_task(x, to);
    settle(x, e);
}

void forward_roots_changed(struct exchange *x) {
    struct str text = S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/roots/list_changed\"}");
    unsigned asks = x->session.asks;
    for (size_t i = 0; asks & TELLS_ROOTS && i < x->snapshot->upstream_count; i++) {
        struct upstream *u = x->upstream = x->snapshot->upstreams[i];
        enum revision to = upstream_revision(u);
        if (atomic_load(&u->asks_roots) && to != REV_NONE && revision_era(to) == ERA_LEGACY)
            upstream_tell(u, caller_share(x, to, asks), text);
    }
    x->upstream = NULL;
}
