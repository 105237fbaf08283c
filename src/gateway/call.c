/* call.c - see call.h. */
#include "gateway/call.h"
#include "base/mem.h"
#include "gateway/bridge.h"
#include "gateway/input_required.h"
#include "gateway/park.h"
#include "gateway/task_methods.h"
#include "mcp/question.h"
#include "mcp/response.h"
#include "mcp/task.h"

#define GATHER (10 * NANOS_MS) /* questions that come together make one round (P-433) */

/* ---- what the answer is to its client ----------------------------------------------- */

enum fate {
    /* an error */
    FATE_ERROR,         /* for the client */
    FATE_STALE_HEADERS, /* the call was not begun: once, with the headers of today, it may be
                           repeated (P-079, P-416) */
    FATE_WANTS_TASK,    /* the upstream does it as a task only, and the legacy client asked for
                           none: so we take it (P-418) */
    /* a result */
    FATE_RESULT,        /* for the client */
    FATE_TASK,          /* a task has been made of the call (P-293, P-296) */
    FATE_ENDED,         /* complete, where the client wanted a task: one that has ended (P-417) */
    FATE_KEEP_INPUTS,   /* input_required, which a legacy client knows nothing of (P-403) */
    FATE_PASS_INPUTS,   /* input_required between modern peers (P-461) */
};

static bool headers_are_stale(const struct exchange *x, struct str error) {
    return x->method == METHOD_TOOLS_CALL && !x->listed_anew &&
           error_code(error) == RPC_HEADER_MISMATCH;
}

static bool wants_task(const struct exchange *x, struct str error) {
    if (x->era != ERA_LEGACY || x->method != METHOD_TOOLS_CALL || x->takes_task ||
        x->waits_for_task || x->upstream->conf->tasks == TASKS_REFUSE ||
        error_code(error) != RPC_MISSING_CAPABILITY)
        return false;
    struct str required = json_raw_get(json_raw_get(error, S("data")), S("requiredCapabilities"));
    return tasks_declared(required);
}

static enum fate fate_of_error(const struct exchange *x, struct str error, enum revision from) {
    if (revision_era(from) == ERA_LEGACY)
        return FATE_ERROR;
    if (headers_are_stale(x, error))
        return FATE_STALE_HEADERS;
    return wants_task(x, error) ? FATE_WANTS_TASK : FATE_ERROR;
}

/* Only who takes one may get a task; a modern upstream that makes one all the same is refused. */
static bool is_task(const struct exchange *x, struct str result, enum revision from) {
    struct str word = S("\"task\"");
    bool expected = x->takes_task || x->waits_for_task;
    if (x->method != METHOD_TOOLS_CALL || x->related_task.p)
        return false;
    if (from == R11)
        return expected && str_starts(json_raw_get(result, S("task")), S("{"));
    return revision_era(from) == ERA_MODERN && !result_is_plainly_complete(result) &&
           (expected || result_may_say(result, word)) && result_is_of_type(result, word);
}

static enum fate fate_of_result(const struct exchange *x, struct str result, enum revision from) {
    if (is_task(x, result, from))
        return FATE_TASK;
    if (revision_era(from) == ERA_MODERN && input_is_required(x, result))
        return x->era == ERA_LEGACY ? FATE_KEEP_INPUTS : FATE_PASS_INPUTS;
    return x->task_asked.p && result_is_complete(result) ? FATE_ENDED : FATE_RESULT;
}

static enum fate fate_of(const struct exchange *x, const struct envelope *m, enum revision from) {
    return m->kind == ENVELOPE_ERROR ? fate_of_error(x, m->error, from)
                                     : fate_of_result(x, m->result, from);
}

/* ---- the answer --------------------------------------------------------------------- */

/* For its client, or for us to wait for. */
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

/* The call is over: what was asked for its sake need not be answered, what was opened for it is
 * done with (P-407). Telling the client may wait, and then the slices of the answer go. */
static void end_questions(struct exchange *x, struct envelope *m) {
    m->result = arena_dup(x->arena, m->result);
    m->error = arena_dup(x->arena, m->error);
    if (x->questions)
        questions_withdraw(x);
    if (x->opened && !(m->kind == ENVELOPE_RESULT && input_is_required(x, m->result)))
        questions_complete(x);
}

static err_t take_answer(struct exchange *x, const struct upstream_request *r, struct envelope *m,
                         enum revision from, struct inputs *in) {
    if (x->questions || x->opened)
        end_questions(x, m);
    switch (fate_of(x, m, from)) {
    case FATE_ERROR: bridge_error(x, m->error, from); return OK;
    case FATE_STALE_HEADERS: in->stale_headers = x->listed_anew = true; return OK;
    case FATE_WANTS_TASK: in->wants_task = x->waits_for_task = true; return OK;
    case FATE_RESULT: bridge_result(x, m->result, from); return OK;
    case FATE_TASK: return take_task(x, r, m->result, from, in);
    case FATE_ENDED: return task_answer_ended(x, m->result);
    case FATE_KEEP_INPUTS: return input_required_keep(x, m->result, in);
    case FATE_PASS_INPUTS: return input_required_pass(x, m->result);
    }
    return OK;
}

/* ---- before the answer -------------------------------------------------------------- */

/* Between messages of the upstream: once its questions are answered it is in a hurry again. */
static nanos patience_of(const struct exchange *x) {
    return x->related_task.p ? x->snapshot->conf->limits.task_wait : x->upstream->conf->timeout;
}

/* ENVELOPE_BATCH stands for silence. */
static err_t next_question(struct exchange *x, struct upstream_call *c, struct envelope *m) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(x->task, GATHER);
    err_t e = upstream_next(x->task, c, m);
    if (!e || e->kind != ERR_TIMEOUT)
        return e;
    *m = (struct envelope){ .kind = ENVELOPE_BATCH };
    return OK;
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

static err_t take_question(struct exchange *x, struct upstream_call *c, const struct envelope *m) {
    if (!x->parked)
        return question_pass_on(x, c, m);
    parked_take_question(x->parked, x, m);
    return OK;
}

/* Up to the answer, or to silence after questions that a modern client must see first. */
static err_t hear_out(struct exchange *x, struct upstream_call *c, const struct upstream_request *r,
                      enum revision from, struct inputs *in) {
    struct envelope m;
    for (;;) {
        TRY(next_message(x, c, &m));
        switch (m.kind) {
        case ENVELOPE_NOTIFICATION: TRY(bridge_notification(x, &m, r)); break;
        case ENVELOPE_REQUEST: TRY(take_question(x, c, &m)); break;
        case ENVELOPE_BATCH: parked_wait(x); return OK;
        case ENVELOPE_RESULT:
        case ENVELOPE_ERROR:
            upstream_no_deadline(c);
            return take_answer(x, r, &m, from, in);
        }
    }
}

/* ---- the call ----------------------------------------------------------------------- */

static void parked_scope(struct exchange **x) {
    parked_free(TAKE((*x)->parked));
}

static err_t begin(struct exchange *x, const struct upstream_request *r, struct upstream_call *c) {
    TRY(upstream_begin(x->task, x->upstream, r, c));
    if (x->related_task.p)
        upstream_patience(c, patience_of(x));
    return OK;
}

/* What a legacy upstream asks of a modern client ends the round, not the call. */
static bool may_park(const struct exchange *x, enum revision to) {
    return x->asks & ASK_ALL && x->era == ERA_MODERN && revision_era(to) == ERA_LEGACY;
}

static err_t run_parkable(struct exchange *x, const struct upstream_request *r, enum revision to) {
    SCOPED(parked_scope) struct exchange *owner = x;
    owner->parked = parked_new(x);
    struct upstream_request *own = parked_request(x->parked);
    struct upstream_call *c = parked_call(x->parked);
    *own = *r;
    TRY(begin(x, own, c));
    return task_ask_forsake(x->task, c, hear_out(x, c, own, to, NULL));
}

err_t call_run(struct exchange *x, const struct upstream_request *r, enum revision to,
               struct inputs *in) {
    if (may_park(x, to))
        return run_parkable(x, r, to);
    SCOPED(upstream_end) struct upstream_call c = { 0 };
    TRY(begin(x, r, &c));
    return task_ask_forsake(x->task, &c, hear_out(x, &c, r, to, in));
}

err_t call_go_on(struct exchange *x) {
    SCOPED(parked_scope) struct exchange *owner = x;
    struct upstream_call *c = parked_call(owner->parked);
    if (!parked_give_answers(x)) {
        if (x->parked)
            parked_wait(x);
        return OK;
    }
    enum revision from;
    TRY(upstream_revision_now(x->upstream, &from));
    TRY(upstream_take_up(x->task, c));
    const struct upstream_request *r = parked_request(x->parked);
    x->waits_for_task = r->in_task;
    x->takes_task = r->takes_task && !r->in_task;
    if (r->method == METHOD_TASKS_RESULT) {
        x->related_task = S("");
        upstream_patience(c, patience_of(x));
    }
    return hear_out(x, c, r, from, NULL);
}
