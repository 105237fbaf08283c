/* bridge_fuzz.c - random sequences of messages on both faces of the gateway, checked against a
 * model of what may be sent when (bridge.h).
 *
 * Each byte of the input picks a step, the next ones its arguments: a client opens a session,
 * calls, answers, cancels, brings a requestState back, lags or leaves; an upstream answers, asks,
 * tells of progress, talks nonsense or breaks off; time passes. Clients are channels
 * (gateway/channel.h) on two workers; upstreams, one of each revision, are a vtable here. There
 * is one thread, which turns the workers by hand, and the clock is the script's, so an input
 * always does the same. After each input every request must have been answered, and nothing may
 * be parked, open, watched or running. */
#include "base/log.h"
#include "bridge.h"
#include "gateway/channel.h"
#include "gateway/metrics.h"
#include "gateway/park.h"
#include "net/conn.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { WORKERS = 2, UPSTREAMS = 6, CLIENTS = 6, WILD = 5, REPLY = 2048 };

/* ---- the clock (-Wl,--wrap) -------------------------------------------------------- */

static nanos now = 1000 * NANOS_SEC;
nanos __wrap_clock_mono(void);
nanos __wrap_clock_wall(void);

nanos __wrap_clock_mono(void) {
    return now;
}

nanos __wrap_clock_wall(void) {
    return now;
}

/* ---- the script -------------------------------------------------------------------- */

static struct { const uint8_t *at, *end; } script;

static unsigned byte(void) {
    return script.at < script.end ? *script.at++ : 0;
}

/* ---- workers ----------------------------------------------------------------------- */

static struct workers *all;
static struct gateway *gateway;

static void turn(unsigned times) {
    while (times--)
        for (unsigned i = 0; i <= WORKERS; i++)
            worker_turn(workers_at(all, i));
}

/* More than the hops of any message: asker, home and back, then the next waiting one. */
static void settle(void) {
    turn(12);
}

static void pass_time(nanos duration) {
    now += duration;
    trace("milliseconds pass:", (int)(duration / NANOS_MS), S(""));
    settle();
}

/* ---- clients ----------------------------------------------------------------------- */

static const struct principal principals[] = {
    { .id = S_INIT("wild"), .name = S_INIT("wild"), .tenant = S_INIT("default"), .digest = 0 },
    { .id = S_INIT("ann"), .name = S_INIT("ann"), .tenant = S_INIT("default"), .digest = 1 },
    { .id = S_INIT("bob"), .name = S_INIT("bob"), .tenant = S_INIT("default"), .digest = 2 },
};

struct client {
    struct channel channel;
    int index;
    bool alive, gone, lags;
    struct gate writers;
    struct event room;
} clients[CLIENTS];

static const struct principal *who_is(int client) {
    return &principals[client == WILD ? 0 : client == 4 ? 2 : 1];
}

static err_t client_send_now(struct task *t, struct client *c, const struct str *pieces, size_t n) {
    SCOPED(buf_done) struct buf text = { 0 };
    while (c->lags && !c->gone)
        TRY(event_wait(t, &c->room));
    if (c->gone)
        return ERR(CLOSED, "the client is gone");
    for (size_t i = 0; i < n; i++)
        buf_str(&text, pieces[i]);
    model_client_hears(c->index, who_is(c->index), buf_view(&text));
    return OK;
}

static err_t client_send(struct task *t, void *self, const struct str *pieces, size_t n) {
    struct client *c = self;
    TRY(gate_enter(t, &c->writers));
    err_t e = client_send_now(t, c, pieces, n);
    gate_leave(&c->writers);
    return e;
}

static bool client_push(void *self, struct str text) {
    struct client *c = self;
    if (c->gone)
        return false;
    model_client_hears(c->index, who_is(c->index), text);
    return true;
}

static void client_over(void *self) {
    struct client *c = self;
    c->alive = !c->gone;
}

static void client_leaves(void *self) {
    struct client *c = self;
    if (!c->alive || c->gone)
        return;
    c->gone = true;
    trace("client leaves", c->index, S(""));
    channel_end(&c->channel);
    channel_cancel(&c->channel);
    event_set(&c->room);
    c->alive = c->channel.calls != NULL;
    for (int i = 0; i < model.request_count; i++) /* nobody is there to be answered */
        if (model.requests[i].client == c->index)
            model.requests[i].open = false;
}

static const struct channel_ops client_ops = {
    .send = client_send,
    .push = { .message = client_push, .close = client_leaves, .says_cancelled = true },
    .over = client_over,
};

/* Clients 0, 2 and 4 are on one worker, 1, 3 and 5 on the other. */
static void client_opens(int index) {
    struct client *c = &clients[index];
    *c = (struct client){ .index = index,
                          .alive = true,
                          .writers = { .limit = 1, .max_waiting = REQUESTS } };
    c->channel = (struct channel){ .gw = gateway->workers[index % WORKERS], .ops = &client_ops,
                                   .self = c, .who = who_is(index) };
    snprintf(c->channel.session.id, SESSION_ID, "session of client %d", index);
    memset(&model.clients[index], 0, sizeof model.clients[index]);
    for (int i = 0; i < model.call_count; i++)
        for (unsigned k = 0; k < model.calls[i].n; k++)
            model.calls[i].asked[k].open &= model.calls[i].asked[k].client != index;
}

static void client_says(int index, struct str text) {
    struct client *c = &clients[index];
    if (!c->alive)
        client_opens(index);
    if (c->gone)
        return;
    worker_turn(c->channel.gw->worker);
    trace("client says", index, text);
    if (!c->gone)
        channel_post(&c->channel, text);
}

/* ---- requests of clients ----------------------------------------------------------- */

static const struct {
    const char *legacy, *modern;
    unsigned asks; /* of a client that knows all of it */
} abilities[] = {
    { "{}", "{}", 0 },
    { "{\"roots\":{}}", "{\"roots\":{}}", ASK_ROOTS },
    { "{\"sampling\":{}}", "{\"sampling\":{}}", ASK_SAMPLING },
    { "{\"elicitation\":{}}", "{\"elicitation\":{\"form\":{}}}", ASK_FORM },
    { "{\"roots\":{},\"sampling\":{},\"elicitation\":{\"form\":{},\"url\":{}}}",
      "{\"roots\":{},\"sampling\":{},\"elicitation\":{\"form\":{},\"url\":{}}}", ASK_ALL },
};

/* The request's id, or 0 when the model is full. */
static int new_request(struct request r) {
    if (model.request_count == REQUESTS)
        return 0;
    model.requests[model.request_count] = r;
    model.requests[model.request_count].open = true;
    return ++model.request_count;
}

static void put_modern_meta(struct buf *b, const char *capabilities, int token, bool logs) {
    buf_fmt(b,
            "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\","
            "\"io.modelcontextprotocol/clientCapabilities\":%s",
            capabilities);
    if (token)
        buf_fmt(b, ",\"progressToken\":%d", token);
    if (logs)
        buf_str(b, S(",\"io.modelcontextprotocol/logLevel\":\"debug\""));
    buf_char(b, '}');
}

static int pick_client(void) {
    return (int)(byte() % WILD);
}

static void step_initialize(void) {
    int client = pick_client();
    unsigned b = byte(), able = b / 4 % ARRAY_SIZE(abilities);
    enum revision revision = (enum revision)(b % 4);
    unsigned asks = asks_read(str_of(abilities[able].legacy), revision);
    bool first = !clients[client].alive || !clients[client].channel.opened;
    int id = new_request((struct request){ .kind = IS_INITIALIZE, .client = client,
                                           .run = NOBODY, .revision = revision });
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text,
            "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"initialize\",\"params\":"
            "{\"protocolVersion\":\"%.*s\",\"capabilities\":%s,\"clientInfo\":{}}}",
            id, STR(revision_text(revision)), abilities[able].legacy);
    if (!id || clients[client].gone || !first) {
        model.request_count -= id != 0;
        return;
    }
    settle(); /* nothing else of this client decides what it is */
    client_says(client, buf_view(&text));
    model.clients[client].revision = revision;
    model.clients[client].asks = asks;
    settle();
}

static void step_initialized(void) {
    int client = pick_client();
    if (!model.clients[client].opened)
        return;
    model.clients[client].initialized = true;
    client_says(client, S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"));
}

static struct upstream *upstreams[UPSTREAMS];
static const enum revision upstream_revisions[UPSTREAMS] = { R24, R03, R06, R11, R26, R26 };

/* One round of run: a request in the client's era. */
static void say_call(int client, int run_index, bool modern, unsigned flags, unsigned able,
                     struct str inputs) {
    struct run *run = &model.runs[run_index];
    bool token = flags & 1, logs = flags & 2;
    enum revision revision = modern ? R26 : model.clients[client].revision;
    unsigned asks = modern ? asks_read(str_of(abilities[able].modern), R26)
                           : model.clients[client].asks;
    int id = new_request((struct request){ .kind = IS_CALL, .client = client, .run = run_index,
                                           .revision = revision, .asks = asks,
                                           .wants_progress = token, .wants_logs = logs });
    SCOPED(buf_done) struct buf text = { 0 };
    if (!id || clients[client].gone) {
        model.request_count -= id != 0;
        return;
    }
    buf_fmt(&text,
            "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"%s\",\"params\":{\"name\":\"u%u__x\","
            "\"arguments\":{\"run=%d;\":\"1\"},",
            id, run->prompt ? "prompts/get" : "tools/call", run->upstream, run_index);
    if (modern)
        put_modern_meta(&text, abilities[able].modern, token ? id : 0, logs);
    else if (token)
        buf_fmt(&text, "\"_meta\":{\"progressToken\":%d}", id);
    else
        buf_str(&text, S("\"_meta\":{}"));
    buf_str(&text, inputs);
    buf_str(&text, S("}}"));
    run->allowed += !inputs.n || run->modern;
    client_says(client, buf_view(&text));
}

static void step_call(void) {
    int client = pick_client();
    unsigned b = byte(), flags = byte();
    bool modern = b & 1;
    if (model.run_count == REQUESTS)
        return;
    unsigned upstream = b / 2 % UPSTREAMS;
    model.runs[model.run_count] = (struct run){
        .upstream = upstream, .prompt = b & 128, .who = who_is(client),
        .modern = revision_era(upstream_revisions[upstream]) == ERA_MODERN };
    say_call(client, model.run_count++, modern || !model.clients[client].opened, flags,
             flags / 4 % ARRAY_SIZE(abilities), S(""));
}

static void step_other(void) {
    static const char *const methods[] = { "ping", "tools/list", "prompts/list", "nonsense",
                                           "resources/read" };
    int client = pick_client();
    unsigned b = byte();
    bool listen = b & 128, modern = b & 64 || listen || !model.clients[client].opened;
    SCOPED(buf_done) struct buf text = { 0 };
    if (clients[client].gone)
        return;
    int id = new_request((struct request){
        .kind = listen ? IS_LISTEN : IS_OTHER, .client = client, .run = NOBODY,
        .revision = modern ? R26 : model.clients[client].revision });
    if (!id)
        return;
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"%s\",\"params\":{", id,
            listen ? "subscriptions/listen" : methods[b % ARRAY_SIZE(methods)]);
    if (listen)
        buf_str(&text, S("\"notifications\":{\"toolsListChanged\":true},"));
    if (modern)
        put_modern_meta(&text, "{}", 0, false);
    buf_str(&text, S("}}"));
    client_says(client, buf_view(&text));
}

/* P-123: what was cancelled when all was quiet is never answered. */
static void step_cancel(void) {
    int client = pick_client(), at = model_open_request(byte(), client);
    if (at == NOBODY || clients[client].gone)
        return;
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text,
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
            "{\"requestId\":%d}}",
            at + 1);
    settle();
    struct request *r = &model.requests[at];
    if (r->open)
        r->cancelled = r->kind != IS_INITIALIZE;
    client_says(client, buf_view(&text));
}

static void step_lag(void) {
    struct client *c = &clients[pick_client()];
    worker_turn(c->channel.gw->worker);
    c->lags = !c->lags;
    model.clients[c->index].lagged = true;
    trace("client lags or catches up", c->index, S(""));
    event_set(&c->room);
}

static void step_leave(void) {
    struct client *c = &clients[byte() % CLIENTS];
    worker_turn(c->channel.gw->worker);
    client_leaves(c);
}

/* ---- answers of clients ------------------------------------------------------------ */

static void put_answer(struct buf *b, enum method method, int call, int question, unsigned how) {
    char mark[32];
    snprintf(mark, sizeof mark, "<%d:%d>", call, question);
    if (how % 8 == 7)
        buf_str(b, S("{\"nonsense\":[]}"));
    else if (method == METHOD_SAMPLING)
        buf_fmt(b,
                "{\"role\":\"assistant\",\"model\":\"m\",\"content\":{\"type\":\"text\","
                "\"text\":\"%s\"}}",
                mark);
    else if (method == METHOD_ROOTS_LIST)
        buf_fmt(b, "{\"roots\":[{\"uri\":\"file:///%s\"}]}", mark);
    else if (how % 8 == 6)
        buf_fmt(b, "{\"action\":\"decline\",\"_meta\":{\"m\":\"%s\"}}", mark);
    else
        buf_fmt(b, "{\"action\":\"accept\",\"content\":{\"m\":\"%s\"}}", mark);
}

/* A legacy client's: of a question of its own, open or not, or of somebody else's. */
static void step_answer(void) {
    int client = pick_client();
    unsigned n = byte(), how = byte();
    if (!model.call_count)
        return;
    int call = (int)(n % (unsigned)model.call_count);
    struct call *c = &model.calls[call];
    if (!c->n)
        return;
    int question = (int)(how / 16 % c->n);
    struct asked *a = &c->asked[question];
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%llu,", (unsigned long long)a->client_id);
    if (how % 8 == 5)
        buf_str(&text, S("\"error\":{\"code\":-1,\"message\":\"no\"}}"));
    else {
        buf_str(&text, S("\"result\":"));
        put_answer(&text, a->method, call, question, how);
        buf_char(&text, '}');
    }
    if (a->client == client && a->open) {
        a->answers_given++;
        a->open = false;
    }
    client_says(client, buf_view(&text));
}

static void put_inputs(struct buf *b, const struct run *run, const struct state *s, bool own,
                       unsigned how) {
    buf_str(b, S(",\"inputResponses\":{"));
    bool comma = false;
    for (size_t i = 0; i < s->n; i++) {
        if (how & 64 && i == how / 128)
            continue; /* one is left for later (P-100) */
        buf_fmt(b, "%s\"%.*s\":", comma ? "," : "", STR(s->keys[i]));
        put_answer(b, s->methods[i], s->call[i] == NOBODY ? 0 : s->call[i],
                   s->call[i] == NOBODY ? 99 : s->question[i], how);
        comma = true;
        if (own && s->call[i] != NOBODY)
            model.calls[s->call[i]].asked[s->question[i]].answers_given++;
    }
    buf_char(b, '}');
}

/* A modern client's next round, or what somebody makes of a state that is not his. */
static void step_retry(void) {
    int client = pick_client();
    unsigned b = byte(), how = byte(), able = byte() % ARRAY_SIZE(abilities);
    if (!model.run_count)
        return;
    int index = (int)(b % (unsigned)model.run_count);
    struct run *run = &model.runs[index];
    if (!run->state_count)
        return;
    unsigned known = run->state_count < STATES ? (unsigned)run->state_count : STATES;
    const struct state *s = &run->states[(run->state_count - 1 - how / 8 % known) % STATES];
    bool own = run->who == who_is(client);
    SCOPED(buf_done) struct buf inputs = { 0 };
    if (how % 4 != 3)
        put_inputs(&inputs, run, s, own, how);
    if (how % 8 != 4)
        buf_fmt(&inputs, ",\"requestState\":%s", s->text);
    run->allowed += s->addresses || how % 8 == 4; /* without a state it is a call of its own */
    say_call(client, index, true, how / 4, able, buf_view(&inputs));
}

/* Bytes of the script as a message of a client whom the model does not follow. */
static void step_wild(void) {
    size_t n = byte(), left = (size_t)(script.end - script.at);
    n = n < left ? n : left;
    client_says(WILD, str_from((const char *)script.at, n));
    script.at += n;
}

/* ---- upstreams --------------------------------------------------------------------- */

struct said {
    struct said *next;
    bool closes;
    size_t n;
    char text[];
};

/* What a kind of upstream keeps for a call, in upstream_call.stdio. */
struct stdio_call {
    int index; /* in the model */
    struct worker *worker;
    char id[24];
    struct said *first, **last, *current;
    struct event news;
};
static struct stdio_call *open_calls[CALLS];
static unsigned refuse_next; /* begins that fail */

static unsigned number_of(const struct upstream *u) {
    unsigned n = 0;
    while (upstreams[n] != u)
        n++;
    return n;
}

static err_t fake_begin(struct task *t, struct upstream_call *c) {
    const struct upstream_request *r = c->request;
    SCOPED(buf_done) struct buf text = { 0 };
    struct envelope m;
    if (refuse_next || model.call_count == CALLS) {
        refuse_next -= refuse_next > 0;
        return ERR(UNAVAILABLE, "refused by the script");
    }
    for (size_t i = 0; i < r->pieces; i++)
        buf_str(&text, r->message[i]);
    assert(envelope_scan(buf_view(&text), (struct envelope_limits){ 0 }, &m) == ENVELOPE_NONE);
    assert(m.kind == ENVELOPE_REQUEST && str_eq(m.id, str_of(r->id_text)));
    unsigned n = number_of(c->upstream);
    struct stdio_call *call = c->stdio = NEW(struct stdio_call);
    bool followed = r->principal.n && !str_eq(r->principal, principals[0].id);
    call->index = model_call_begins(n, upstream_revisions[n], followed, &m);
    memcpy(call->id, r->id_text, sizeof call->id);
    call->worker = c->worker;
    call->last = &call->first;
    open_calls[call->index] = call;
    return OK;
}

/* As upstream_http.c reads a stream of events. */
static bool is_wanted(struct upstream_call *c, struct said *s, struct envelope *out) {
    bool legacy = revision_era(upstream_revisions[number_of(c->upstream)]) == ERA_LEGACY;
    if (envelope_scan(str_from(s->text, s->n), (struct envelope_limits){ 0 }, out))
        return false;
    switch (out->kind) {
    case ENVELOPE_NOTIFICATION: return true;
    case ENVELOPE_REQUEST: return legacy && upstream_asks_caller(c, out);
    case ENVELOPE_BATCH: return false;
    default: return !out->id.p || str_eq(out->id, str_of(c->request->id_text));
    }
}

static err_t fake_next(struct task *t, struct upstream_call *c, struct envelope *out) {
    struct stdio_call *call = c->stdio;
    for (;;) {
        while (!call->first)
            TRY(event_wait(t, &call->news));
        free(call->current);
        struct said *s = call->current = call->first;
        call->first = s->next;
        if (!call->first)
            call->last = &call->first;
        if (s->closes)
            return ERR(CLOSED, "closed by the script");
        if (is_wanted(c, s, out))
            return OK;
    }
}

static void fake_say(struct upstream_call *c, struct str message) {
    model_upstream_hears(c->stdio->index, message);
}

static void fake_end(struct upstream_call *c, struct upstream *u) {
    struct stdio_call *call = TAKE(c->stdio);
    if (!call)
        return;
    model_call_ends(call->index);
    open_calls[call->index] = NULL;
    free(call->current);
    for (struct said *s = call->first, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    free(call);
}

static const struct upstream_ops fake_ops = {
    .kind = "fake", .begin = fake_begin, .next = fake_next, .say = fake_say, .end = fake_end,
};

static void upstream_says(int call, struct str text, bool closes) {
    struct worker *w = open_calls[call]->worker;
    worker_turn(w);
    struct stdio_call *c = open_calls[call];
    if (!c) /* it has just ended */
        return;
    trace(closes ? "upstream closes call" : "upstream says on call", call, text);
    struct said *s = mem_alloc(sizeof *s + text.n);
    *s = (struct said){ .closes = closes, .n = text.n };
    if (text.n)
        memcpy(s->text, text.p, text.n);
    *c->last = s;
    c->last = &s->next;
    event_set(&c->news);
}

static enum revision revision_of(int call) {
    return upstream_revisions[model.calls[call].upstream];
}

static void step_result(void) {
    static const char *const more[] = { "", ",\"isError\":true", ",\"structuredContent\":{\"a\":1}",
                                        ",\"_meta\":{\"x\":1}" };
    int call = model_open_call(byte());
    unsigned b = byte();
    SCOPED(buf_done) struct buf text = { 0 };
    if (call == NOBODY)
        return;
    bool modern = revision_era(revision_of(call)) == ERA_MODERN;
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{%s", open_calls[call]->id,
            modern && b % 16 ? "\"resultType\":\"complete\"," : "");
    buf_fmt(&text, "\"content\":[{\"type\":\"text\",\"text\":\"run=%d;\"}],\"messages\":[]%s}}",
            model.calls[call].run, more[b % ARRAY_SIZE(more)]);
    upstream_says(call, buf_view(&text), false);
}

static void step_error(void) {
    static const int codes[] = { -32603, -32602, -32601, -32042, -32020, -32021, -32022, 7 };
    int call = model_open_call(byte());
    unsigned b = byte();
    SCOPED(buf_done) struct buf text = { 0 };
    if (call == NOBODY)
        return;
    int code = codes[b % ARRAY_SIZE(codes)], run = model.calls[call].run;
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,\"message\":\"m\"",
            open_calls[call]->id, code);
    if (b & 8)
        buf_str(&text, S(",\"data\":{\"elicitations\":[{\"mode\":\"url\",\"message\":\"go\","
                         "\"url\":\"https://a.test/\",\"elicitationId\":\"e\"}]}"));
    buf_str(&text, S("}}"));
    if (code == -32020 && run != NOBODY && model.runs[run].modern)
        model.runs[run].allowed++; /* P-079: it says that it did not begin */
    upstream_says(call, buf_view(&text), false);
}

static const enum method questions[] = { METHOD_ELICITATION, METHOD_ELICITATION, METHOD_SAMPLING,
                                         METHOD_ROOTS_LIST };

static void put_question(struct buf *b, int call, unsigned question, unsigned kind) {
    static const char *const params[] = {
        "\"message\":\"m\",\"requestedSchema\":{\"type\":\"object\",\"properties\":{}}",
        "\"mode\":\"url\",\"message\":\"m\",\"url\":\"https://a.test/\",\"elicitationId\":\"e\"",
        "\"messages\":[{\"role\":\"user\",\"content\":{\"type\":\"text\"}}],\"maxTokens\":9",
        "\"x\":1",
    };
    buf_fmt(b, "\"method\":\"%.*s\",\"params\":{%s,\"_meta\":{\"m\":\"<%d:%u>\"}}",
            STR(method_name(questions[kind])), params[kind], call, question);
}

static struct asked *new_question(int call, unsigned kind, bool on_wire) {
    struct call *c = &model.calls[call];
    struct asked *a = &c->asked[c->n];
    *a = (struct asked){ .method = questions[kind], .on_wire = on_wire, .client = NOBODY };
    snprintf(a->id, sizeof a->id, c->n % 2 ? "\"q%u\"" : "7%u", c->n);
    c->n++;
    return a;
}

static void step_question(void) {
    int call = model_open_call(byte());
    unsigned kind = byte() % 5;
    SCOPED(buf_done) struct buf text = { 0 };
    if (call == NOBODY || model.calls[call].n == ASKED)
        return;
    struct call *c = &model.calls[call];
    if (kind == 4)
        kind = 0;
    if (revision_era(revision_of(call)) == ERA_MODERN) /* P-164: must not, and is passed over */
        c->asked[c->n].method = METHOD_UNKNOWN;
    struct asked *a = new_question(call, kind, true);
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%s,", a->id);
    put_question(&text, call, c->n - 1, kind);
    buf_char(&text, '}');
    upstream_says(call, buf_view(&text), false);
}

static void step_input_required(void) {
    int call = model_open_call(byte());
    unsigned b = byte(), n = b % 4;
    SCOPED(buf_done) struct buf text = { 0 };
    if (call == NOBODY)
        return;
    struct call *c = &model.calls[call];
    buf_fmt(&text,
            "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"resultType\":\"input_required\","
            "\"requestState\":\"inner <%d>\"",
            open_calls[call]->id, call);
    buf_str(&text, n ? S(",\"inputRequests\":{") : S(""));
    for (unsigned i = 0; i < n && c->n < ASKED; i++) {
        new_question(call, (b / 4 + i) % 4, false);
        buf_fmt(&text, "%s\"k%u\":{", i ? "," : "", i);
        put_question(&text, call, c->n - 1, (b / 4 + i) % 4);
        buf_char(&text, '}');
    }
    buf_str(&text, n ? S("}}}") : S("}}"));
    if (c->run != NOBODY)
        model.runs[c->run].asked = true;
    upstream_says(call, buf_view(&text), false);
}

static void step_news(void) {
    int call = model_open_call(byte());
    unsigned b = byte();
    SCOPED(buf_done) struct buf text = { 0 };
    if (call == NOBODY)
        return;
    if (b % 4 == 0)
        buf_str(&text, S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":"
                         "{\"level\":\"error\",\"data\":\"d\"}}"));
    else if (b % 4 == 1)
        buf_str(&text, S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}"));
    else
        buf_fmt(&text,
                "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":"
                "{\"progressToken\":%s,\"progress\":%u}}",
                open_calls[call]->id, b);
    upstream_says(call, buf_view(&text), false);
}

/* Bytes of the script, whole or as a result; nothing in them is a mark. */
static void step_nonsense(void) {
    int call = model_open_call(byte());
    size_t n = byte(), left = (size_t)(script.end - script.at);
    bool result = n & 1;
    n = n / 2 < left ? n / 2 : left;
    struct str bytes = str_from((const char *)script.at, n);
    script.at += n;
    if (call == NOBODY || str_find_char(bytes, '<') >= 0 || str_find(bytes, S("run=")) >= 0 ||
        str_find(bytes, S("method")) >= 0 || str_find(bytes, S("input")) >= 0 ||
        str_find(bytes, S("\\u")) >= 0)
        return;
    SCOPED(buf_done) struct buf text = { 0 };
    if (result)
        buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{%.*s}}", open_calls[call]->id,
                STR(bytes));
    else
        buf_str(&text, bytes);
    upstream_says(call, buf_view(&text), false);
}

static void step_close(void) {
    int call = model_open_call(byte());
    if (call != NOBODY)
        upstream_says(call, S(""), true);
}

static void step_refuse(void) {
    refuse_next = 1;
}

/* ---- time -------------------------------------------------------------------------- */

static void step_time(void) {
    static const nanos lengths[] = { 2 * NANOS_MS, 15 * NANOS_MS, 3 * NANOS_SEC, 31 * NANOS_SEC,
                                     601 * NANOS_SEC };
    pass_time(lengths[byte() % ARRAY_SIZE(lengths)]);
}

static void step_settle(void) {
    settle();
}

/* What a drain does to calls that wait. */
static void step_end_parked(void) {
    struct gateway_worker *gw = gateway->workers[byte() % WORKERS];
    worker_turn(gw->worker);
    parked_end_all(gw, true);
}

/* ---- the gateway ------------------------------------------------------------------- */

static struct upstream *upstream_make(unsigned n) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct upstream_conf conf = { 0 };
    field_defaults(upstream_fields, upstream_field_count, &conf, &a);
    conf.name = arena_fmt(&a, "u%u", n);
    conf.type = UPSTREAM_BUILTIN;
    struct upstream *u = upstream_new(&conf, all, NULL, S(""));
    u->ops = &fake_ops;
    atomic_store(&u->state, UP_READY);
    atomic_store(&u->revision, upstream_revisions[n]);
    return u;
}

static struct part *part_make(unsigned n) {
    struct part *p = part_new(upstreams[n]->conf->name);
    struct str cursor = { 0 };
    p->revision = upstream_revisions[n];
    p->has = (struct capabilities){ .tools = true, .prompts = true, .logging = true };
    err_t e = part_add_page(
        p, METHOD_TOOLS_LIST,
        S("{\"tools\":[{\"name\":\"x\",\"inputSchema\":{\"type\":\"object\"}}]}"), &cursor);
    assert(!e &&
           !part_add_page(p, METHOD_PROMPTS_LIST, S("{\"prompts\":[{\"name\":\"x\"}]}"), &cursor));
    return p;
}

static struct held_conf *conf_make(void) {
    struct held_conf *held = held_conf_new();
    held->conf = ARENA_NEW(&held->arena, struct gateway_conf);
    field_defaults(gateway_fields, gateway_field_count, held->conf, &held->arena);
    held->conf->limits.questions = 3;
    held->conf->limits.rounds = 4;
    held->conf->limits.parked = 5;
    held->conf->limits.parked_per_key = 3;
    return held;
}

static void publish(void) {
    struct arena a = { 0 };
    struct snapshot *s = ARENA_NEW(&a, struct snapshot);
    s->held = conf_make();
    s->conf = s->held->conf;
    s->upstreams = ARENA_ARRAY(&a, struct upstream *, UPSTREAMS);
    s->sources = ARENA_ARRAY(&a, struct catalogue_source, UPSTREAMS);
    s->upstream_count = UPSTREAMS;
    for (unsigned i = 0; i < UPSTREAMS; i++) {
        s->upstreams[i] = upstream_ref(upstreams[i]);
        s->sources[i] = (struct catalogue_source){ .conf = upstreams[i]->conf,
                                                   .part = part_make(i) };
    }
    s->server_info = S("{\"name\":\"fuzz\",\"version\":\"1\"}");
    s->generation = 1;
    s->catalogue = catalogue_new(s->sources, UPSTREAMS, S(""), s->generation);
    for (unsigned i = 0; i < UPSTREAMS; i++)
        part_unref(s->sources[i].part);
    s->arena = a;
    gateway_publish(gateway, s);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    struct worker_limits limits = { .tasks = 500, .by_hand = true };
    struct seal_ring ring = { .count = 1, .keys = { { .id = 1, .key = "fuzz" } } };
    log_setup((struct log_conf){ .level = LOG_OFF, .fd = 2 });
    assert(!workers_start(WORKERS, limits, (struct worker_hooks){ 0 }, &all));
    gateway = gateway_new(all, ring, NULL, (struct session_limits){ 100, 100, NANOS_SEC });
    for (unsigned i = 0; i < WORKERS; i++) {
        net_start(workers_at(all, i), (size_t)1 << 24);
        gateway_worker_start(gateway, workers_at(all, i));
    }
    for (unsigned i = 0; i < UPSTREAMS; i++)
        upstreams[i] = upstream_make(i);
    publish();
    settle();
    return 0;
}

/* ---- the end ----------------------------------------------------------------------- */

static void check_nothing_left(void) {
    static struct metric_def *const gauges[] = { &metric_in_flight, &metric_streams_open,
                                                 &metric_questions_open, &metric_parked };
    for (size_t i = 0; i < ARRAY_SIZE(gauges); i++)
        assert(metric_value(metric_find(gauges[i], NULL, 0)) == 0);
    for (unsigned i = 0; i < UPSTREAMS; i++) {
        assert(atomic_load(&upstreams[i]->refs) == 2); /* ours and the snapshot's */
        struct str name = upstreams[i]->conf->name;
        assert(metric_value(METRIC_SERIES(&metric_upstream_in_flight, name)) == 0);
        assert(metric_value(METRIC_SERIES(&metric_upstream_waiting, name)) == 0);
        assert(metric_value(METRIC_SERIES(&metric_watched, name)) == 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = workers_at(all, i);
        const struct gateway_worker *gw = gateway->workers[i];
        assert(task_stats(w).running == 0 && w->timers.count == 0 && net_stats(w).buffered == 0);
        assert(!gw->exchanges && !gw->streams && !gw->questions.count && !gw->parked.count);
    }
    assert(parking_count(gateway->parking) == 0);
    for (int i = 0; i < model.call_count; i++)
        assert(!model.calls[i].open && !open_calls[i]);
}

/* Time alone must end everything: upstreams that never answer, clients that never do. */
static void finish(void) {
    for (int i = 0; i < CLIENTS; i++) {
        worker_turn(clients[i].channel.gw->worker);
        clients[i].lags = false;
        event_set(&clients[i].room);
    }
    settle();
    refuse_next = 0;
    for (int i = 0; i < 40 && (model_open_call(0) != NOBODY || i < 2); i++)
        pass_time(i % 2 ? 31 * NANOS_SEC : 601 * NANOS_SEC);
    assert(model_count_open(IS_CALL) + model_count_open(IS_OTHER) +
               model_count_open(IS_INITIALIZE) ==
           0);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_turn(workers_at(all, i));
        streams_end(gateway->workers[i]);
    }
    assert(model_count_open(IS_LISTEN) == 0);
    for (int i = 0; i < CLIENTS; i++) {
        worker_turn(clients[i].channel.gw->worker);
        client_leaves(&clients[i]);
    }
    settle();
    for (int i = 0; i < CLIENTS; i++)
        assert(!clients[i].alive);
}

static void (*const steps[])(void) = {
    step_initialize, step_initialized, step_call, step_call, step_call, step_answer, step_answer,
    step_retry, step_retry, step_cancel, step_other, step_lag, step_leave, step_wild,
    step_result, step_result, step_error, step_question, step_question, step_question,
    step_input_required, step_input_required, step_news, step_nonsense, step_close, step_refuse,
    step_time, step_time, step_settle, step_settle, step_end_parked,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 4096)
        return 0;
    script.at = data;
    script.end = data + size;
    memset(&model, 0, sizeof model);
    for (int i = 0; i < CLIENTS; i++)
        client_opens(i);
    while (script.at < script.end) {
        unsigned b = byte();
        steps[b % ARRAY_SIZE(steps)]();
        turn(b / 64);
    }
    finish();
    check_nothing_left();
    return 0;
}
