/* bridge_model.c - see bridge.h: what may be said when, as PROTOCOL §8 has it. */
#include "bridge.h"
#include <stdio.h>
#include <stdlib.h>

struct model model;

void trace(const char *what, int who, struct str text) {
    if (getenv("BRIDGE_TRACE"))
        fprintf(stderr, "%s %d: %.*s\n", what, who, STR(text));
}

/* ---- marks ------------------------------------------------------------------------- */

static bool number_after(struct str text, struct str word, int *out) {
    ptrdiff_t at = str_find(text, word);
    if (at < 0)
        return false;
    struct str rest = str_skip(text, (size_t)at + word.n);
    *out = 0;
    for (size_t i = 0; i < rest.n && i < 6 && rest.p[i] >= '0' && rest.p[i] <= '9'; i++)
        *out = *out * 10 + rest.p[i] - '0';
    return true;
}

static struct asked *asked_of(struct str text, int *call, int *question) {
    ptrdiff_t at = str_find(text, S("<"));
    if (at < 0)
        return NULL;
    text = str_skip(text, (size_t)at);
    assert(number_after(text, S("<"), call) && number_after(text, S(":"), question));
    assert(*call < model.call_count && *question < (int)model.calls[*call].n);
    return &model.calls[*call].asked[*question];
}

/* ---- look-ups ---------------------------------------------------------------------- */

int model_open_request(unsigned n, int client) {
    int found[REQUESTS], count = 0;
    for (int i = 0; i < model.request_count; i++)
        if (model.requests[i].open && model.requests[i].client == client)
            found[count++] = i;
    return count ? found[n % (unsigned)count] : NOBODY;
}

int model_open_call(unsigned n) {
    int found[CALLS], count = 0;
    for (int i = 0; i < model.call_count; i++)
        if (model.calls[i].open)
            found[count++] = i;
    return count ? found[n % (unsigned)count] : NOBODY;
}

unsigned model_count_open(enum request_kind kind) {
    unsigned n = 0;
    for (int i = 0; i < model.request_count; i++)
        n += model.requests[i].open && !model.requests[i].cancelled &&
             model.requests[i].kind == kind;
    return n;
}

static struct request *request_of(struct str raw_id) {
    uint64_t id = 0;
    bool ours = str_to_u64(raw_id, &id) && id && id <= (uint64_t)model.request_count;
    return ours ? &model.requests[id - 1] : NULL;
}

static bool some_request(int client, int run, bool (*is)(const struct request *)) {
    for (int i = 0; i < model.request_count; i++) {
        const struct request *r = &model.requests[i];
        if (r->open && !r->cancelled && r->client == client && (run == NOBODY || r->run == run) &&
            is(r))
            return true;
    }
    return false;
}

static bool is_call(const struct request *r) {
    return r->kind == IS_CALL;
}

static bool is_listen(const struct request *r) {
    return r->kind == IS_LISTEN;
}

static bool is_logged(const struct request *r) {
    return r->kind == IS_CALL && (revision_era(r->revision) == ERA_LEGACY || r->wants_logs);
}

/* ---- answers to clients ------------------------------------------------------------ */

static void note_question(struct state *s, struct str key, struct str value,
                          const struct request *r) {
    struct str raw = json_raw_get(value, S("method")), params = json_raw_get(value, S("params"));
    enum method method = method_parse(str_from(raw.p + 1, raw.n - 2));
    unsigned needs = question_needs(method, params);
    assert(needs && !(needs & ~r->asks)); /* P-045, P-436 */
    if (s->n == ASKED)
        return;
    size_t used = s->n ? (size_t)(s->keys[s->n - 1].p + s->keys[s->n - 1].n - s->text_of_keys) : 0;
    if (used + key.n > sizeof s->text_of_keys)
        return;
    memcpy(s->text_of_keys + used, key.p, key.n);
    s->keys[s->n] = str_from(s->text_of_keys + used, key.n);
    s->methods[s->n] = method;
    s->call[s->n] = NOBODY;
    struct asked *a = asked_of(params, &s->call[s->n], &s->question[s->n]);
    assert(!a || model.calls[s->call[s->n]].run == r->run); /* nobody else's */
    s->addresses = key.p[0] == 'u';
    s->n++;
}

static void note_state(const struct request *r, struct str result) {
    struct run *run = &model.runs[r->run];
    struct state *s = &run->states[run->state_count++ % STATES];
    struct str text = json_raw_get(result, S("requestState"));
    *s = (struct state){ 0 };
    assert(text.n > 2 && text.n < sizeof s->text);
    memcpy(s->text, text.p, text.n);
    struct json_members m = json_members(json_raw_get(result, S("inputRequests")));
    while (json_member(&m))
        note_question(s, m.key, m.value, r);
}

static void check_result(const struct request *r, struct str result) {
    struct str type = json_raw_get(result, S("resultType"));
    int run;
    assert(!number_after(result, S("run="), &run) || run == r->run); /* nobody else's answer */
    if (revision_era(r->revision) == ERA_LEGACY) { /* P-412; from a legacy upstream it is nothing */
        assert(!str_eq(type, S("\"input_required\"")) || !model.runs[r->run].modern);
        return;
    }
    if (str_eq(type, S("\"input_required\""))) {
        assert(r->kind == IS_CALL);
        note_state(r, result);
        return;
    }
    assert(type.p || model.runs[r->run].modern); /* P-085: left out, it means complete */
}

/* What it was asked and has not answered is off before the call's own answer; a slow one is not
 * waited for. */
static void check_withdrawn(int client, int run) {
    for (int i = 0; i < model.call_count; i++)
        for (unsigned k = 0; model.calls[i].run == run && k < model.calls[i].n; k++)
            assert(model.calls[i].asked[k].client != client || !model.calls[i].asked[k].open);
}

static void hear_answer(int client, const struct envelope *m) {
    struct request *r = request_of(m->id);
    assert(r && r->client == client);
    assert(r->open);       /* exactly once */
    assert(!r->cancelled); /* P-123, P-243 */
    r->open = false;
    if (m->kind == ENVELOPE_RESULT)
        check_result(r, m->result);
    if (r->kind == IS_INITIALIZE)
        model.clients[client].opened = m->kind == ENVELOPE_RESULT;
    if (r->kind == IS_CALL && !model.clients[client].lagged)
        check_withdrawn(client, r->run);
}

/* ---- questions to clients ---------------------------------------------------------- */

static void hear_question(int client, const struct envelope *m) {
    int call, question;
    struct asked *a = asked_of(m->params, &call, &question);
    assert(a && a->client == NOBODY); /* asked once */
    enum method method = method_parse(m->method);
    unsigned needs = question_needs(method, m->params);
    assert(model.clients[client].opened); /* a modern client is never asked so (P-430) */
    assert(method == a->method && method_exists(method, model.clients[client].revision));
    assert(needs && !(needs & ~model.clients[client].asks)); /* P-181 */
    assert(some_request(client, model.calls[call].run, is_call)); /* while its call is in flight */
    assert(!a->on_wire || model.calls[call].open);
    a->client = client;
    a->open = true;
    assert(str_to_u64(m->id, &a->client_id));
}

static struct asked *question_of(int client, struct str raw_id) {
    uint64_t id = 0;
    str_to_u64(raw_id, &id);
    for (int i = 0; i < model.call_count; i++)
        for (unsigned k = 0; k < model.calls[i].n; k++) {
            struct asked *a = &model.calls[i].asked[k];
            if (a->client == client && a->client_id == id)
                return a;
        }
    return NULL;
}

/* ---- notifications to clients ------------------------------------------------------ */

static void hear_progress(int client, struct str params) {
    struct request *r = request_of(json_raw_get(params, S("progressToken")));
    assert(r && r->client == client && r->wants_progress);
    assert(r->open && !r->cancelled); /* P-240 */
}

/* A question is withdrawn, or a listen ended. */
static void hear_cancelled(int client, struct str params) {
    struct str id = json_raw_get(params, S("requestId"));
    struct request *r = request_of(id);
    struct asked *a = question_of(client, id);
    /* its answer may have crossed with this, and a slow one may not have heard the question */
    assert(a || model.clients[client].lagged ||
           (r && r->client == client && r->kind == IS_LISTEN && r->open));
    if (a)
        a->open = false;
}

static void hear_news(int client, const struct envelope *m) {
    bool session = model.clients[client].opened && model.clients[client].initialized;
    switch (method_parse(m->method)) {
    case METHOD_N_PROGRESS: hear_progress(client, m->params); return;
    case METHOD_N_CANCELLED: hear_cancelled(client, m->params); return;
    case METHOD_N_MESSAGE: assert(some_request(client, NOBODY, is_logged)); return;
    case METHOD_N_ACKNOWLEDGED: assert(some_request(client, NOBODY, is_listen)); return;
    case METHOD_N_TOOLS_CHANGED:
    case METHOD_N_PROMPTS_CHANGED:
    case METHOD_N_RESOURCES_CHANGED:
        assert(session || some_request(client, NOBODY, is_listen));
        return;
    default:
        assert(str_eq(m->method, S("notifications/elicitation/complete")));
        assert(model.clients[client].opened && model.clients[client].revision == R11);
    }
}

void model_client_hears(int client, const struct principal *who, struct str text) {
    struct envelope m;
    trace("client hears", client, text);
    enum envelope_fault fault = envelope_scan(text, (struct envelope_limits){ .depth = 1024 }, &m);
    assert(fault == ENVELOPE_NONE && m.kind != ENVELOPE_BATCH);
    if (!who->digest)
        return;
    if (m.kind == ENVELOPE_REQUEST)
        hear_question(client, &m);
    else if (m.kind == ENVELOPE_NOTIFICATION)
        hear_news(client, &m);
    else
        hear_answer(client, &m);
}

/* ---- upstream ---------------------------------------------------------------------- */

/* P-432, P-435, P-472: no tool runs twice. What a client brings back with a state that is not of
 * a waiting call, and what a modern upstream asked for, may reach it again: it says so itself. */
static void count_begin(struct run *run, enum revision revision, const struct envelope *m) {
    bool next_round = m->input_responses.p || m->request_state.p;
    assert(!next_round || revision_era(revision) == ERA_MODERN); /* P-431: nothing of ours leaks */
    if (next_round)
        assert(run->asked);
    else
        assert(++run->begun <= run->allowed);
}

int model_call_begins(unsigned upstream, enum revision revision, bool followed,
                      const struct envelope *m) {
    trace("call begins upstream", model.call_count, m->text);
    assert(model.call_count < CALLS);
    int index = model.call_count++, run = NOBODY;
    if (followed && m->arguments.p) {
        assert(number_after(m->arguments, S("\"run="), &run) && run < model.run_count);
        assert(model.runs[run].upstream == upstream);
        count_begin(&model.runs[run], revision, m);
    }
    model.calls[index] = (struct call){ .run = run, .upstream = upstream, .open = true };
    return index;
}

/* Only answers to questions, each to the one that it belongs to, once. */
void model_upstream_hears(int call, struct str text) {
    struct call *c = &model.calls[call];
    struct envelope m;
    int of_call, of_question;
    trace("upstream hears on call", call, text);
    assert(envelope_scan(text, (struct envelope_limits){ 0 }, &m) == ENVELOPE_NONE);
    assert(m.kind == ENVELOPE_RESULT || m.kind == ENVELOPE_ERROR);
    assert(c->open);
    struct asked *a = NULL;
    for (unsigned i = 0; i < c->n; i++)
        if (c->asked[i].on_wire && str_eq(m.id, str_of(c->asked[i].id)))
            a = &c->asked[i];
    assert(a && a->on_wire && !a->delivered++);
    struct asked *meant = asked_of(text, &of_call, &of_question);
    assert(!meant || (meant == a && a->answers_given));
    a->open = false;
}

void model_call_ends(int call) {
    trace("call ends", call, S(""));
    assert(model.calls[call].open);
    model.calls[call].open = false;
}
