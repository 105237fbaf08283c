/* task_run.c - see task_run.h. */
#include "gateway/task_run.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "mcp/question.h"

struct heard { /* one question of an ear */
    struct heard *next;
    enum method method;
    unsigned key; /* "q<key>" in inputRequests; not used again in the life of the ear (P-295) */
    size_t n;
    char id[];    /* raw */
};

struct task_run {
    struct kept_task *kept; /* a reference */
    struct gateway_worker *gw;
    struct task *fiber;
    struct limits_conf limits;
    /* an ear's */
    struct task_ask ask;    /* its id is the kept one's */
    struct upstream_request request;
    struct upstream_call call;
    struct buf message;
    struct heard *heard;
    unsigned asked;
};

/* ---- life -------------------------------------------------------------------------- */

/* False: one runs already, or the task is over. */
static bool claim(struct kept_task *k, struct task_run *r) {
    tasks_lock(k->all);
    bool free_to_run = !k->run && !k->dropped && !mcp_task_is_final(k->status);
    if (free_to_run)
        k->run = r;
    tasks_unlock(k->all);
    return free_to_run;
}

/* Answers that came before we had left would wait for good: *again. */
static void leave(struct task_run *r, bool *again) {
    struct kept_task *k = r->kept;
    tasks_lock(k->all);
    k->run = NULL;
    *again = k->ours && k->responses.p && k->status == MCP_TASK_WORKING;
    tasks_unlock(k->all);
    metric_add(METRIC_SERIES(&metric_client_task_runs), -1);
    buf_done(&r->message);
    free(r);
}

static void give_up(struct task_run *r) {
    struct kept_task *k = r->kept;
    bool again;
    leave(r, &again);
    task_unref(k);
}

static struct task_run *run_new(struct gateway_worker *gw, struct kept_task *k) {
    const struct snapshot *s = snapshot_peek(gw->worker, gw->gateway->snapshots);
    struct task_run *r = NEW(struct task_run);
    r->gw = gw;
    r->kept = k;
    r->limits = s->conf->limits;
    if (!claim(k, r)) {
        free(r);
        return NULL;
    }
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    metric_add(METRIC_SERIES(&metric_client_task_runs), 1);
    return r;
}

/* ---- a call of ours ---------------------------------------------------------------- */

static struct str copy_of(struct arena *a, struct str s) {
    return s.p ? arena_dup(a, s) : s;
}

/* What was kept of the call, as it is now. */
static void read_call(struct kept_task *k, struct arena *a, struct upstream_request *r,
                      struct str *state, struct str *responses) {
    tasks_lock(k->all);
    r->name = copy_of(a, k->tool);
    r->arguments = copy_of(a, k->arguments);
    r->principal = copy_of(a, k->principal);
    r->asks = k->asks;
    *state = copy_of(a, k->state);
    *responses = copy_of(a, k->responses);
    tasks_unlock(k->all);
}

static void write_call(struct buf *out, const struct upstream_request *r, struct str state,
                       struct str responses) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    jw_put_raw(&w, "id", str_of(r->id_text));
    jw_put_string(&w, "method", method_name(r->method));
    jw_key(&w, S("params"));
    jw_object(&w);
    jw_put_string(&w, "name", r->name);
    if (r->arguments.p)
        jw_put_raw(&w, "arguments", r->arguments);
    if (responses.p)
        jw_put_raw(&w, "inputResponses", responses);
    if (state.p)
        jw_put_raw(&w, "requestState", state);
    jw_object_end(&w);
    jw_object_end(&w);
}

/* The fiber ends here; answers begin another (P-292). */
static err_t open_questions(struct task_run *r, struct str result) {
    struct kept_task *k = r->kept;
    struct str requests = json_raw_get(result, S("inputRequests"));
    if (!requests.n || requests.p[0] != '{')
        return ERR(UPSTREAM, "it asks for input without saying for what");
    if (k->rounds++ >= (unsigned)r->limits.rounds)
        return ERR(UPSTREAM, "it asks for more than `limits: rounds` times");
    tasks_lock(k->all);
    if (!mcp_task_is_final(k->status)) {
        task_replace(&k->requests, requests);
        task_replace(&k->state, json_raw_get(result, S("requestState")));
        task_forget(&k->responses);
        task_set_status(k, MCP_TASK_INPUT_REQUIRED);
    }
    tasks_unlock(k->all);
    return OK;
}

static err_t take_answer(struct task_run *r, const struct envelope *m) {
    int64_t most = r->limits.task_bytes;
    if (m->kind == ENVELOPE_ERROR)
        task_end(r->kept, MCP_TASK_FAILED, m->error, most);
    else if (str_eq(json_raw_get(m->result, S("resultType")), S("\"input_required\"")))
        return open_questions(r, m->result);
    else
        task_end(r->kept, MCP_TASK_COMPLETED, m->result, most);
    return OK;
}

static err_t call(struct task *t, struct task_run *r, struct arena *a) {
    struct upstream *u = r->kept->upstream;
    struct upstream_request q = { .method = METHOD_TOOLS_CALL,
                                  .takes_task = true,
                                  .in_task = true };
    struct str state, responses;
    SCOPED(buf_done) struct buf text = { 0 };
    read_call(r->kept, a, &q, &state, &responses);
    upstream_next_id(u, r->gw->worker, &q);
    write_call(&text, &q, state, responses);
    struct str message = buf_view(&text);
    q.message = &message;
    q.pieces = 1;
    SCOPED(upstream_end) struct upstream_call c = { 0 };
    struct envelope m = { 0 };
    TRY(upstream_begin(t, u, &q, &c));
    upstream_patience(&c, r->limits.task_ttl);
    do
        TRY(upstream_next(t, &c, &m));
    while (m.kind != ENVELOPE_RESULT && m.kind != ENVELOPE_ERROR);
    return take_answer(r, &m);
}

/* Nobody hears of it now: it is what tasks/get will tell. */
static void fail(struct task_run *r, err_t e) {
    SCOPED(buf_done) struct buf error = { 0 };
    struct jw w = jw_init(&error);
    jw_object(&w);
    jw_put_int(&w, "code", RPC_INTERNAL);
    jw_put_string(&w, "message", str_of(e->text));
    jw_object_end(&w);
    log_info("task failed", F("upstream", r->kept->upstream->conf->name), F("error", e->text));
    task_end(r->kept, MCP_TASK_FAILED, buf_view(&error), r->limits.task_bytes);
}

static void run_call(struct task *t, void *arg) {
    struct task_run *r = arg;
    SCOPED(arena_scope) struct arena a = { 0 };
    struct kept_task *k = r->kept;
    struct gateway_worker *gw = r->gw;
    bool again;
    err_t e = call(t, r, &a);
    if (e)
        fail(r, e);
    leave(r, &again);
    if (again && !task_run_call(gw, k))
        log_warn("no room to go on with a task", F("upstream", k->upstream->conf->name));
    task_unref(k);
}

bool task_run_call(struct gateway_worker *gw, struct kept_task *k) {
    struct task_run *r = run_new(gw, k);
    if (!r)
        return true; /* it is over, or on its way */
    r->fiber = task_spawn(gw->worker, run_call, r);
    if (r->fiber)
        return true;
    give_up(r);
    return false;
}

/* ---- an ear ------------------------------------------------------------------------ */

static void put_request(struct buf *out, unsigned key, const struct envelope *m) {
    buf_fmt(out, "\"q%u\":{\"method\":\"%.*s\",\"params\":", key, STR(m->method));
    buf_str(out, m->params.p ? m->params : S("{}"));
    buf_char(out, '}');
}

/* With the lock held by nobody: adds one to what tasks/get tells. */
static void tell(struct task_run *r, unsigned key, const struct envelope *m) {
    struct kept_task *k = r->kept;
    SCOPED(buf_done) struct buf all = { 0 };
    tasks_lock(k->all);
    buf_char(&all, '{');
    if (k->requests.n > 2)
        buf_fmt(&all, "%.*s,", (int)k->requests.n - 2, k->requests.p + 1);
    put_request(&all, key, m);
    buf_char(&all, '}');
    task_replace(&k->requests, buf_view(&all));
    tasks_unlock(k->all);
}

static size_t count_open(const struct task_run *r) {
    size_t n = 0;
    for (const struct heard *h = r->heard; h; h = h->next)
        n++;
    return n;
}

static void hear(struct task_run *r, const struct envelope *m) {
    enum method method = method_parse(m->method);
    unsigned needs = question_needs(method, m->params);
    if (!needs || needs & ~r->ask.asks || count_open(r) >= (size_t)r->limits.questions) {
        upstream_answer(&r->call, m->id, answer_refusal(method));
        return;
    }
    struct heard *h = mem_alloc(sizeof *h + m->id.n);
    *h = (struct heard){ .next = r->heard, .method = method, .key = ++r->asked, .n = m->id.n };
    memcpy(h->id, m->id.p, m->id.n);
    r->heard = h;
    metric_add(METRIC_SERIES(&metric_questions, r->kept->upstream->conf->name, method_name(method)),
               1);
    tell(r, h->key, m);
}

static err_t hear_all(struct task *t, struct task_run *r) {
    struct upstream_request *q = &r->request;
    struct envelope m = { 0 };
    upstream_next_id(r->kept->upstream, r->gw->worker, q);
    task_ask_write(&r->message, &r->ask, q, (struct str){ 0 });
    struct str message = buf_view(&r->message);
    q->message = &message;
    q->pieces = 1;
    TRY(upstream_begin(t, r->kept->upstream, q, &r->call));
    upstream_let_go(&r->call); /* it waits for people: no place in the line of calls */
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, r->limits.question_wait);
    for (;;) {
        TRY(upstream_next(t, &r->call, &m));
        if (m.kind == ENVELOPE_REQUEST)
            hear(r, &m);
        else if (m.kind == ENVELOPE_NOTIFICATION && method_parse(m.method) == METHOD_N_TASK_STATUS)
            upstream_task_told(r->kept->upstream, r->ask.share, m.params);
        else if (m.kind == ENVELOPE_RESULT || m.kind == ENVELOPE_ERROR)
            return OK; /* tasks/get will fetch it */
    }
}

/* P-435 */
static void refuse_open(struct task_run *r) {
    for (struct heard *h = r->heard, *next; h; h = next) {
        next = h->next;
        upstream_answer(&r->call, str_from(h->id, h->n), answer_refusal(h->method));
        free(h);
    }
    r->heard = NULL;
    tasks_lock(r->kept->all);
    task_forget(&r->kept->requests);
    tasks_unlock(r->kept->all);
}

static void run_ear(struct task *t, void *arg) {
    struct task_run *r = arg;
    err_t e = hear_all(t, r);
    if (e)
        log_debug("questions of a task are not heard any more",
                  F("upstream", r->kept->upstream->conf->name), F("error", e->text));
    refuse_open(r);
    upstream_end(&r->call);
    give_up(r);
}

void task_run_ear(struct gateway_worker *gw, struct kept_task *k, const struct task_ask *ask,
                  uint64_t caller) {
    struct task_run *r = run_new(gw, k);
    if (!r)
        return;
    r->ask = *ask;
    r->ask.upstream = k->upstream;
    r->ask.id = k->own;
    r->ask.principal = k->principal;
    r->request = (struct upstream_request){
        .method = METHOD_TASKS_RESULT, .name = k->own, .principal = k->principal,
        .share = ask->share, .asks = ask->asks, .caller = caller, .takes_task = true, .safe = true,
    };
    r->fiber = task_spawn(gw->worker, run_ear, r);
    if (!r->fiber)
        give_up(r);
}

/* ---- reached from elsewhere -------------------------------------------------------- */

struct order {
    struct mail mail;
    struct kept_task *kept; /* a reference */
    size_t n;
    char responses[];       /* none: stop */
};

static bool answer_one(struct task_run *r, struct heard *h, struct str responses) {
    char key[16];
    int n = snprintf(key, sizeof key, "q%u", h->key);
    struct str answer = json_raw_get(responses, str_from(key, (size_t)n));
    if (!answer.p)
        return false;
    SCOPED(buf_done) struct buf member = { 0 };
    buf_str(&member, S("\"result\":"));
    answer_write(&member, answer, (enum revision)atomic_load(&r->kept->upstream->revision));
    upstream_answer(&r->call, str_from(h->id, h->n), buf_view(&member));
    return true;
}

static void give_answers(struct task_run *r, struct str responses) {
    for (struct heard **at = &r->heard; *at;) {
        struct heard *h = *at;
        if (!answer_one(r, h, responses)) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        free(h);
    }
}

/* The run belongs to this worker, so it stays while we look at it. */
static struct task_run *run_here(struct kept_task *k, const struct gateway_worker *gw) {
    tasks_lock(k->all);
    struct task_run *r = k->run && k->run->gw == gw && k->run->fiber ? k->run : NULL;
    tasks_unlock(k->all);
    return r;
}

static void on_order(struct worker *w, struct mail *m) {
    struct order *o = (struct order *)m;
    struct gateway_worker *gw = gateway_here(w);
    struct task_run *r = gw ? run_here(o->kept, gw) : NULL;
    if (r && o->n)
        give_answers(r, str_from(o->responses, o->n));
    else if (r)
        task_cancel(r->fiber);
    task_unref(o->kept);
    free(o);
    worker_run_ready(w);
}

static void send_order(struct gateway *g, struct kept_task *k, struct str responses) {
    tasks_lock(k->all);
    struct worker *to = k->run ? k->run->gw->worker : NULL;
    tasks_unlock(k->all);
    if (!to)
        return;
    struct order *o = mem_alloc(sizeof *o + responses.n);
    *o = (struct order){ .mail = { .deliver = on_order }, .kept = k, .n = responses.n };
    if (responses.n)
        memcpy(o->responses, responses.p, responses.n);
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    if (worker_post(to, &o->mail))
        return;
    task_unref(k);
    free(o);
}

void task_run_stop(struct gateway *g, struct kept_task *k) {
    send_order(g, k, (struct str){ 0 });
}

/* Under the lock: what is answered is asked no more; the answers join those of before. */
static bool take_responses(struct kept_task *k, struct str responses) {
    SCOPED(buf_done) struct buf left = { 0 };
    SCOPED(buf_done) struct buf said = { 0 };
    size_t n = mcp_task_unanswered(&left, k->requests, responses);
    buf_char(&said, '{');
    if (k->responses.n > 2)
        buf_fmt(&said, "%.*s", (int)k->responses.n - 2, k->responses.p + 1);
    for (struct json_members m = json_members(k->requests); json_member(&m);) {
        struct str answer = json_raw_get(responses, m.key);
        if (answer.p)
            buf_fmt(&said, "%s\"%.*s\":%.*s", said.n > 1 ? "," : "", STR(m.key), STR(answer));
    }
    buf_char(&said, '}');
    if (k->ours)
        task_replace(&k->responses, buf_view(&said));
    task_replace(&k->requests, buf_view(&left));
    return n == 0;
}

void task_run_answer(struct gateway_worker *gw, struct kept_task *k, struct str responses) {
    tasks_lock(k->all);
    bool asks = k->requests.n > 2 && !mcp_task_is_final(k->status);
    bool all = asks && take_responses(k, responses);
    if (all && k->ours)
        task_set_status(k, MCP_TASK_WORKING);
    tasks_unlock(k->all);
    if (!k->ours && asks)
        send_order(gw->gateway, k, responses);
    else if (all && !task_run_call(gw, k))
        task_end(
            k, MCP_TASK_FAILED,
            S("{\"code\":-32603,\"message\":\"Too much is in flight to go on with the task\"}"),
            1 << 20);
}
