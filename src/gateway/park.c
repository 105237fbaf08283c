/* park.c - see park.h. */
#include "gateway/park.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/input_required.h"
#include "gateway/metrics.h"
#include "mcp/question.h"
#include <assert.h>

struct open_question {
    struct open_question *next;
    enum method method;
    struct str key, id, params; /* raw, behind this struct */
    char text[];
};

struct parked {
    struct gateway_worker *gw;
    uint64_t number; /* while it waits */
    uint64_t principal;
    struct timer expiry;
    struct open_question *first, **last;
    unsigned count, asked, rounds;
    bool counted;
    struct upstream_request request;
    struct upstream_call call;
};
static_assert(sizeof(struct parked) <= PARKED_SIZE, "a parked call is small");

#define parked_of_timer(t) ((struct parked *)((char *)(t)-offsetof(struct parked, expiry)))

/* ---- counts ------------------------------------------------------------------------ */

struct parking {
    pthread_mutex_t lock;
    size_t count;
    struct idmap per_key; /* count as a pointer's value */
};

struct parking *parking_new(void) {
    struct parking *p = NEW(struct parking);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void parking_free(struct parking *p) {
    idmap_done(&p->per_key);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

size_t parking_count(struct parking *p) {
    pthread_mutex_lock(&p->lock);
    size_t n = p->count;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static bool count_in(struct parking *all, uint64_t key, const struct limits_conf *limits) {
    pthread_mutex_lock(&all->lock);
    size_t own = (size_t)idmap_get(&all->per_key, key);
    bool room = all->count < (size_t)limits->parked && own < (size_t)limits->parked_per_key;
    if (room) {
        all->count++;
        idmap_put(&all->per_key, key, (void *)(own + 1));
    }
    pthread_mutex_unlock(&all->lock);
    return room;
}

static void count_out(struct parking *all, uint64_t key) {
    pthread_mutex_lock(&all->lock);
    size_t own = (size_t)idmap_get(&all->per_key, key);
    all->count--;
    if (own > 1)
        idmap_put(&all->per_key, key, (void *)(own - 1));
    else
        idmap_del(&all->per_key, key);
    pthread_mutex_unlock(&all->lock);
}

/* ---- life -------------------------------------------------------------------------- */

struct parked *parked_new(struct exchange *x) {
    struct parked *p = NEW(struct parked);
    p->gw = x->gw;
    p->principal = x->who->digest;
    p->last = &p->first;
    return p;
}

struct upstream_request *parked_request(struct parked *p) {
    return &p->request;
}

struct upstream_call *parked_call(struct parked *p) {
    return &p->call;
}

static void drop_question(struct parked *p, struct open_question **at) {
    struct open_question *q = *at;
    *at = q->next;
    if (p->last == &q->next)
        p->last = at;
    p->count--;
    free(q);
}

static void refuse_open(struct parked *p) {
    while (p->first) {
        upstream_answer(&p->call, p->first->id, answer_refusal(p->first->method));
        drop_question(p, &p->first);
    }
}

void parked_free(struct parked *p) {
    if (!p)
        return;
    refuse_open(p);
    upstream_end(&p->call);
    if (p->counted)
        count_out(p->gw->gateway->parking, p->principal);
    free(p);
}

/* ---- questions --------------------------------------------------------------------- */

static bool has_room(struct parked *p, struct exchange *x) {
    const struct limits_conf *limits = &x->snapshot->conf->limits;
    if (p->count >= (unsigned)limits->questions || p->rounds >= (unsigned)limits->rounds)
        return false;
    if (!p->counted)
        p->counted = count_in(p->gw->gateway->parking, p->principal, limits);
    return p->counted;
}

static struct open_question *question_of_key(struct parked *p, struct str key) {
    struct open_question *q = p->first;
    while (q && !str_eq(q->key, key))
        q = q->next;
    return q;
}

/* In inputRequests: what the server behind another gateway called it, else "q<number>", which is
 * not used again within one call (P-096). */
static struct str key_of(struct parked *p, struct str params, char (*own)[16]) {
    struct str key = question_key(params);
    if (key.n && !question_of_key(p, key))
        return key;
    int n = snprintf(*own, sizeof *own, "q%u", p->asked);
    return str_from(*own, (size_t)n);
}

static void take(struct parked *p, enum method method, const struct envelope *m) {
    char own[16];
    p->asked++;
    struct str key = key_of(p, m->params, &own);
    struct open_question *q = mem_alloc(sizeof *q + key.n + m->id.n + m->params.n);
    *q = (struct open_question){ .method = method };
    q->key = str_from(q->text, key.n);
    q->id = str_from(q->text + key.n, m->id.n);
    q->params = str_from(q->id.p + m->id.n, m->params.n);
    memcpy(q->text, key.p, key.n);
    memcpy(q->text + key.n, m->id.p, m->id.n);
    if (m->params.n)
        memcpy(q->text + key.n + m->id.n, m->params.p, m->params.n);
    *p->last = q;
    p->last = &q->next;
    p->count++;
}

static void give_one(struct exchange *x, struct parked *p, struct str id, struct str answer) {
    SCOPED(buf_done) struct buf member = { 0 };
    buf_str(&member, S("\"result\":"));
    answer_write(&member, answer, upstream_revision(x->upstream));
    upstream_answer(&p->call, id, buf_view(&member));
}

/* The client's first round brought the answer: it has asked before, and knows the keys. */
static bool is_answered_already(struct parked *p, struct exchange *x, enum method method,
                                const struct envelope *m) {
    struct str key = question_key(m->params);
    if (!key.n || p->rounds || x->in.request_state.p || !x->in.input_responses.p)
        return false;
    struct str answer = json_raw_get(x->in.input_responses, key);
    if (!answer.p || !answer_fits(method, answer))
        return false;
    give_one(x, p, m->id, answer);
    return true;
}

void parked_take_question(struct parked *p, struct exchange *x, const struct envelope *m) {
    enum method method = method_parse(m->method);
    unsigned needs = question_needs(method, m->params);
    if (!needs || needs & ~x->asks || !has_room(p, x)) {
        log_info("question refused", F("upstream", x->upstream->conf->name),
                 F("method", m->method));
        upstream_answer(&p->call, m->id, answer_refusal(method));
        return;
    }
    if (is_answered_already(p, x, method, m))
        return;
    take(p, method, m);
    metric_add(METRIC_SERIES(&metric_questions, x->upstream->conf->name, method_name(method)), 1);
}

bool parked_asks(const struct parked *p) {
    return p->first;
}

/* ---- waiting ----------------------------------------------------------------------- */

static void ended(const struct parked *p, const char *how) {
    metric_add(METRIC_SERIES(&metric_parked), -1);
    metric_add(METRIC_SERIES(&metric_parked_ended, p->call.upstream->conf->name, str_of(how)), 1);
}

/* P-435, P-472: nobody came back. */
static void on_expiry(struct worker *w, struct timer *t) {
    struct parked *p = parked_of_timer(t);
    idmap_del(&p->gw->parked, p->number);
    ended(p, "expired");
    parked_free(p);
    worker_run_ready(w);
}

/* What the round's arena held is not needed again: the request was sent. */
static void forget_round(struct upstream_request *r) {
    r->name = r->arguments = r->principal = r->param_headers = r->traceparent = (struct str){ 0 };
    r->message = NULL;
    r->pieces = 0;
}

static void put_aside(struct parked *p, nanos longest) {
    struct gateway_worker *gw = p->gw;
    forget_round(&p->request);
    p->rounds++;
    p->number = ++gw->next_parked;
    p->expiry.fire = on_expiry;
    idmap_put(&gw->parked, p->number, p);
    timer_set(gw->worker, &p->expiry, gw->worker->now + longest);
    metric_add(METRIC_SERIES(&metric_parked), 1);
}

static void put_requests(struct jw *w, const struct parked *p, struct exchange *x) {
    struct question_look look = { .asks = x->asks, .upstream = x->upstream->conf->name,
                                  .uris = &(struct uri_map){ .upstream = x->upstream->conf->name,
                                                       .rewrite = x->upstream->conf->rewrite_uris } };
    jw_key(w, S("inputRequests"));
    jw_object(w);
    for (const struct open_question *q = p->first; q; q = q->next) {
        jw_key(w, q->key);
        jw_object(w);
        jw_put_string(w, "method", method_name(q->method));
        jw_key(w, S("params"));
        question_write(w->out, q->method, q->params, x->revision, &look);
        jw_object_end(w);
    }
    jw_object_end(w);
}

/* Found by its number before the answer leaves: the retry may come on another worker at once. */
void parked_wait(struct exchange *x) {
    struct parked *p = TAKE(x->parked);
    SCOPED(buf_done) struct buf b = { 0 };
    upstream_let_go(&p->call);
    put_aside(p, x->snapshot->conf->limits.question_wait);
    struct jw w = input_required_begin(&b);
    put_requests(&w, p, x);
    const struct request_state s = { .kind = STATE_PARKED, .worker = p->gw->worker->index,
                                     .number = p->number };
    input_required_answer(x, &w, &s,
                          arena_fmt(x->arena, "{\"io.modelcontextprotocol/serverInfo\":%.*s}",
                                    STR(x->snapshot->server_info)));
}

/* ---- going on ---------------------------------------------------------------------- */

struct parked *parked_find(struct gateway_worker *gw, uint64_t number) {
    struct parked *p = idmap_del(&gw->parked, number);
    if (!p)
        return NULL;
    timer_unset(gw->worker, &p->expiry);
    ended(p, "resumed");
    return p;
}

static struct str answer_to(const struct exchange *x, const struct open_question *q) {
    return json_raw_get(x->in.input_responses, q->key);
}

/* Before anything is given away: one that makes no sense spoils none of the others (P-100). */
static const struct open_question *misfit(const struct exchange *x, const struct parked *p) {
    for (const struct open_question *q = p->first; q; q = q->next) {
        struct str answer = answer_to(x, q);
        if (answer.p && !answer_fits(q->method, answer))
            return q;
    }
    return NULL;
}

/* A round's client says anew what it can be asked (P-045). */
static bool may_ask_again(const struct exchange *x, const struct open_question *q) {
    return !(question_needs(q->method, q->params) & ~x->asks);
}

static void give(struct exchange *x, struct parked *p) {
    for (struct open_question **at = &p->first; *at;) {
        struct open_question *q = *at;
        struct str answer = answer_to(x, q);
        if (!answer.p && may_ask_again(x, q)) {
            at = &q->next;
            continue;
        }
        if (answer.p)
            give_one(x, p, q->id, answer);
        else
            upstream_answer(&p->call, q->id, answer_refusal(q->method));
        drop_question(p, at);
    }
}

static void refuse_misfit(struct exchange *x, const struct open_question *q) {
    struct parked *p = TAKE(x->parked);
    p->rounds++;
    p->expiry.fire = on_expiry;
    idmap_put(&p->gw->parked, p->number, p); /* the same number: its requestState is good still */
    timer_set(p->gw->worker, &p->expiry,
              p->gw->worker->now + x->snapshot->conf->limits.question_wait);
    metric_add(METRIC_SERIES(&metric_parked), 1);
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 },
                 "inputResponses.%.*s is no answer to %.*s", STR(q->key),
                 STR(method_name(q->method)));
}

bool parked_give_answers(struct exchange *x) {
    struct parked *p = x->parked;
    const struct open_question *wrong = misfit(x, p);
    if (wrong) {
        refuse_misfit(x, wrong);
        return false;
    }
    give(x, p);
    return !p->first;
}

static void forget_questions(struct parked *p) {
    while (p->first)
        drop_question(p, &p->first);
    p->call.answered = true;
}

void parked_end_all(struct gateway_worker *gw, bool tell) {
    uint64_t number;
    void *value;
    for (size_t i = 0; idmap_next(&gw->parked, &i, &number, &value);) {
        struct parked *p = value;
        timer_unset(gw->worker, &p->expiry);
        ended(p, "stopped");
        if (!tell)
            forget_questions(p);
        parked_free(p);
    }
    idmap_done(&gw->parked);
}
