/* question.c - see question.h. */
#include "gateway/question.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "mcp/question.h"

struct question {
    struct question *next; /* of the same exchange */
    struct exchange *x;
    uint64_t id;
    enum method method;
    struct str name;            /* raw: the upstream's id, or its key in inputRequests */
    struct upstream_call *call; /* who waits for the answer; NULL: it is kept */
    bool failed, open, withdrawn;
    struct str answer;          /* raw result or error object */
    struct str elicitation_id;  /* of url mode; else absent */
};

/* ---- the table --------------------------------------------------------------------- */

static struct question *question_new(struct exchange *x, enum method method, struct str name) {
    struct gateway_worker *gw = x->gw;
    struct question *q = ARENA_NEW(x->arena, struct question);
    *q = (struct question){ .next = x->questions, .x = x, .method = method };
    q->id = ++gw->next_question * (workers_count(gw->gateway->all) + 1) + gw->worker->index;
    q->name = arena_dup(x->arena, name);
    q->open = true;
    x->questions = q;
    x->open_questions++;
    idmap_put(&gw->questions, q->id, q);
    metric_add(METRIC_SERIES(&metric_questions_open), 1);
    return q;
}

/* Nobody waits for it any more. */
static void question_close(struct question *q) {
    if (!idmap_del(&q->x->gw->questions, q->id))
        return;
    q->open = false;
    q->x->open_questions--;
    metric_add(METRIC_SERIES(&metric_questions_open), -1);
}

/* ---- towards the client ------------------------------------------------------------ */

/* The same for the same question, and of no use to whoever gets to know it. */
static struct str elicitation_id(struct exchange *x, struct str params, uint64_t number) {
    struct str theirs = json_raw_get(params, S("elicitationId"));
    uint64_t hash = theirs.p ? hash_str(theirs) : number;
    return arena_fmt(x->arena, "%016llx-%.*s", (unsigned long long)hash,
                     STR(x->upstream->conf->name));
}

static err_t question_send(struct question *q, struct str params) {
    struct exchange *x = q->x;
    SCOPED(buf_done) struct buf text = { 0 };
    struct question_look look = { .asks = x->asks, .upstream = x->upstream->conf->name,
                                  .uris = &(struct uri_map){ .upstream = x->upstream->conf->name,
                                                       .rewrite = x->upstream->conf->rewrite_uris },
                                  .elicitation_id = elicitation_id(x, params, q->id),
                                  .key = q->call ? (struct str){ 0 } : q->name,
                                  .task = x->revision == R11 ? x->related_task : (struct str){ 0 } };
    if (question_needs(q->method, params) & ASK_URL)
        q->elicitation_id = look.elicitation_id;
    struct str id = arena_fmt(x->arena, "%llu", (unsigned long long)q->id);
    question_write(&text, q->method, params, x->revision, &look);
    metric_add(METRIC_SERIES(&metric_questions, x->upstream->conf->name, method_name(q->method)),
               1);
    struct str pieces[] = { S("{\"jsonrpc\":\"2.0\",\"id\":"), id, S(",\"method\":\""),
                            method_name(q->method), S("\",\"params\":"), buf_view(&text), S("}") };
    return x->face->notify(x, pieces, ARRAY_SIZE(pieces));
}

static void withdraw(struct question *q) {
    struct exchange *x = q->x;
    struct str text = arena_fmt(
        x->arena,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
        "{\"requestId\":%llu,\"reason\":\"the call that asked has ended\"}}",
        (unsigned long long)q->id);
    err_t e = x->face->notify(x, &text, 1);
    if (e)
        log_debug("question not withdrawn", F("error", e->text));
}

void questions_withdraw(struct exchange *x) {
    SCOPED(shield_scope) struct shield grace = task_shield(x->task, NANOS_SEC);
    struct question *all = x->questions;
    x->questions = NULL;
    for (struct question *q = all; q; q = q->next) { /* before anything waits: their call is gone */
        q->withdrawn = q->open && !x->answered && !x->cancelled;
        question_close(q);
    }
    for (struct question *q = all; q; q = q->next)
        if (q->withdrawn)
            withdraw(q);
}

static err_t tell_complete(struct exchange *x, struct str id) {
    struct str text = arena_fmt(
        x->arena,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/elicitation/complete\",\"params\":"
        "{\"elicitationId\":\"%.*s\"}}",
        STR(id));
    return x->face->notify(x, &text, 1);
}

/* Of pages that this call never asked for nobody wants to know. */
err_t question_completed(struct exchange *x, struct str params) {
    struct str id = elicitation_id(x, params, 0);
    for (const struct question *q = x->questions; q; q = q->next)
        if (str_eq(q->elicitation_id, id))
            return tell_complete(x, id);
    return OK;
}

void questions_complete(struct exchange *x) {
    for (struct question *q = TAKE(x->opened); q; q = q->next) {
        err_t e = tell_complete(x, q->elicitation_id);
        if (e)
            log_debug("end of an elicitation not told", F("error", e->text));
    }
}

/* ---- answers ----------------------------------------------------------------------- */

/* On the loop: the exchange may be in the middle of waiting for something else. */
static void pass_back(struct question *q, bool failed, struct str answer) {
    SCOPED(buf_done) struct buf member = { 0 };
    buf_str(&member, failed ? S("\"error\":") : S("\"result\":"));
    if (failed)
        buf_str(&member, answer);
    else
        answer_write(&member, answer, upstream_revision(q->x->upstream));
    upstream_answer(q->call, q->name, buf_view(&member));
}

static void take(struct question *q, bool failed, struct str answer) {
    question_close(q);
    if (q->call) {
        pass_back(q, failed, answer);
        return;
    }
    q->failed = failed;
    q->answer = arena_dup(q->x->arena, answer);
    event_set(&q->x->answers);
}

struct answer {
    struct mail mail;
    char session[SESSION_ID];
    uint64_t id;
    bool failed;
    size_t n;
    char text[];
};

static void on_answer(struct worker *w, struct mail *m) {
    struct answer *a = (struct answer *)m;
    struct gateway_worker *gw = gateway_here(w);
    struct question *q = gw ? idmap_get(&gw->questions, a->id) : NULL;
    if (q && memcmp(q->x->session.id, a->session, SESSION_ID) == 0)
        take(q, a->failed, str_from(a->text, a->n));
    else
        log_debug("answer to no question", F("id", (int64_t)a->id));
    free(a);
    worker_run_ready(w);
}

void question_take_answer(struct gateway *g, const struct session_view *session,
                          const struct envelope *answer) {
    uint64_t id = 0;
    bool failed = answer->kind == ENVELOPE_ERROR;
    struct str body = failed ? answer->error : answer->result;
    unsigned workers = workers_count(g->all) + 1;
    if (!answer->id.p || !str_to_u64(answer->id, &id) || !id)
        return;
    struct answer *a = mem_alloc(sizeof *a + body.n);
    *a = (struct answer){ .mail = { .deliver = on_answer, .bytes = sizeof *a + body.n },
                          .id = id, .failed = failed, .n = body.n };
    memcpy(a->session, session->id, SESSION_ID);
    memcpy(a->text, body.p, body.n);
    bool ours = id % workers < workers - 1;
    if (!ours || !worker_post(workers_at(g->all, (unsigned)(id % workers)), &a->mail))
        free(a);
}

/* ---- a legacy upstream ------------------------------------------------------------- */

err_t question_pass_on(struct exchange *x, struct upstream_call *c, const struct envelope *m) {
    enum method method = method_parse(m->method);
    if (!(x->asks & ASK_ALL) || x->open_questions >= (size_t)x->snapshot->conf->limits.questions) {
        upstream_answer(c, m->id, answer_refusal(method));
        return OK;
    }
    struct question *q = question_new(x, method, m->id);
    q->call = c;
    upstream_patience(c, x->snapshot->conf->limits.question_wait);
    return question_send(q, m->params);
}

/* ---- a modern upstream ------------------------------------------------------------- */

static err_t check_request(struct exchange *x, struct str key, struct str method_raw,
                           enum method method, struct str params) {
    unsigned needs = question_needs(method, params);
    if (needs && !(needs & ~x->asks))
        return OK;
    return ERR(UPSTREAM, "upstream %.*s asks for %.*s (%.*s), which was not offered to it",
               STR(x->upstream->conf->name), STR(str_head(method_raw, 60)), STR(str_head(key, 60)));
}

static err_t ask_all(struct exchange *x, struct str requests) {
    int64_t room = x->snapshot->conf->limits.questions;
    for (struct json_members m = json_members(requests); json_member(&m); room--) {
        struct str raw = json_raw_get(m.value, S("method"));
        struct str params = json_raw_get(m.value, S("params"));
        enum method method = raw.n > 2 ? method_parse(str_from(raw.p + 1, raw.n - 2))
                                       : METHOD_UNKNOWN;
        if (!room)
            return ERR(UPSTREAM, "upstream %.*s asks more than `limits: questions` at once",
                       STR(x->upstream->conf->name));
        TRY(check_request(x, m.key, raw, method, params));
        TRY(question_send(question_new(x, method, m.key), params));
    }
    return OK;
}

static err_t await_answers(struct exchange *x) {
    nanos longest = x->snapshot->conf->limits.question_wait;
    SCOPED(deadline_scope) struct deadline d = deadline_push(x->task, longest);
    while (x->open_questions) {
        err_t e = event_wait(x->task, &x->answers);
        if (e && e->kind == ERR_TIMEOUT)
            return ERR(TIMEOUT, "the client did not answer what upstream %.*s asks within %d s",
                       STR(x->upstream->conf->name), (int)(longest / NANOS_SEC));
        TRY(e);
    }
    return OK;
}

/* P-404: MRTR knows no refusal of sampling or roots, so the call ends with the client's own. */
static err_t answer_with_refusal(struct exchange *x, const struct question *q) {
    x->outcome = "refused";
    answer_error_object(x, ANSWER_OK, q->answer);
    return ERR(DENIED, "the client refused %.*s", STR(method_name(q->method)));
}

static err_t put_response(struct exchange *x, const struct question *q, struct buf *out) {
    bool fits = !q->failed && answer_fits(q->method, q->answer);
    if (!fits && q->failed && q->method != METHOD_ELICITATION)
        return answer_with_refusal(x, q);
    if (!fits && q->method != METHOD_ELICITATION)
        return ERR(INVALID, "the client's answer to %.*s makes no sense",
                   STR(method_name(q->method)));
    buf_str(out, out->n > 1 ? S(",\"") : S("\""));
    buf_str(out, q->name);
    buf_str(out, S("\":"));
    if (fits)
        answer_write(out, q->answer, upstream_revision(x->upstream));
    else
        buf_str(out, S("{\"action\":\"cancel\"}"));
    return OK;
}

static void keep_opened(struct exchange *x, struct question *q) {
    if (!q->elicitation_id.p || !str_eq(json_raw_get(q->answer, S("action")), S("\"accept\"")))
        return;
    q->next = x->opened;
    x->opened = q;
}

static err_t put_responses(struct exchange *x, struct buf *out) {
    buf_clear(out);
    buf_char(out, '{');
    for (struct question *q = x->questions, *next; q; q = next) {
        next = q->next;
        TRY(put_response(x, q, out));
        keep_opened(x, q);
    }
    buf_char(out, '}');
    x->questions = NULL;
    return OK;
}

/* P-405: nothing is asked, it only wants to be called again. */
static err_t pause_for(struct exchange *x, struct inputs *in) {
    nanos most = 2 * NANOS_SEC, wait = 100 * NANOS_MS << (in->pauses < 5 ? in->pauses : 5);
    if (task_now(x->task) - x->began > x->snapshot->conf->limits.question_wait)
        return ERR(TIMEOUT, "upstream %.*s wants to be called again and again",
                   STR(x->upstream->conf->name));
    in->pauses++;
    buf_clear(&in->responses);
    return task_sleep(x->task, wait < most ? wait : most);
}

err_t question_gather(struct exchange *x, struct inputs *in) {
    if (!in->requests.p)
        return pause_for(x, in);
    if (in->rounds++ >= (unsigned)x->snapshot->conf->limits.rounds)
        return ERR(UPSTREAM, "upstream %.*s asks for more than `limits: rounds` times",
                   STR(x->upstream->conf->name));
    err_t e = ask_all(x, in->requests);
    if (!e)
        e = await_answers(x);
    if (!e)
        e = put_responses(x, &in->responses);
    if (!e)
        return OK;
    struct err why = *e;
    questions_withdraw(x);
    return err_again(&why);
}
