/* input_required.c - see input_required.h. */
#include "gateway/input_required.h"
#include "base/mem.h"
#include "gateway/relay.h"
#include "mcp/question.h"
#include "mcp/response.h"

/* ---- what the upstream asks --------------------------------------------------------- */

/* With nothing to be asked, a modern client can only be told to call again: that is short, so easy
 * to tell. */
static bool may_be_one(const struct exchange *x, struct str result) {
    return x->era == ERA_LEGACY ||
           (!result_is_plainly_complete(result) &&
            ((x->asks & ASK_ALL) || result_may_say(result, S("input_required"))));
}

bool input_is_required(const struct exchange *x, struct str result) {
    return input_may_be_required(x->method) && may_be_one(x, result) &&
           result_is_of_type(result, S("\"input_required\""));
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

err_t input_required_keep(struct exchange *x, struct str result, struct inputs *in) {
    struct str requests, state;
    TRY(read_inputs(x, result, &requests, &state));
    in->requests = requests.p ? arena_dup(x->arena, requests) : requests;
    in->state = state.p ? arena_dup(x->arena, state) : state;
    return OK;
}

/* ---- what the client is asked ------------------------------------------------------- */

struct jw input_required_begin(struct buf *b) {
    struct jw w = jw_init(b);
    jw_object(&w);
    jw_put_string(&w, "resultType", S("input_required"));
    return w;
}

void input_required_answer(struct exchange *x, struct jw *w, const struct request_state *s,
                           struct str meta) {
    SCOPED(buf_done) struct buf sealed = { 0 };
    request_state_seal(x, s, &sealed);
    jw_put_string(w, "requestState", buf_view(&sealed));
    if (meta.p)
        jw_put_raw(w, "_meta", meta);
    jw_object_end(w);
    struct str result = buf_view(w->out);
    x->outcome = "input_required";
    answer_result(x, &result, 1);
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

err_t input_required_pass(struct exchange *x, struct str result) {
    struct str requests, state;
    SCOPED(buf_done) struct buf b = { 0 };
    TRY(read_inputs(x, result, &requests, &state));
    struct jw w = input_required_begin(&b);
    if (requests.p)
        TRY(put_requests(x, &w, requests));
    const struct request_state s = { .kind = STATE_PASSED, .inner = state };
    input_required_answer(x, &w, &s, json_raw_get(result, S("_meta")));
    return OK;
}

/* ---- web pages to be opened first (P-438) ------------------------------------------- */

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
    struct jw w = input_required_begin(&b);
    put_addresses(x, &w, elicitations);
    input_required_answer(x, &w, &(struct request_state){ .kind = STATE_AGAIN }, (struct str){ 0 });
}

bool input_required_for_addresses(struct exchange *x, struct str error) {
    struct str data = json_raw_get(error, S("data"));
    struct str elicitations = json_raw_get(data, S("elicitations"));
    struct json_members first = json_elements(elicitations);
    if (x->era == ERA_LEGACY || error_code(error) != RPC_URL_ELICITATION || !elicitations.p ||
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

/* ---- what the client brings back ---------------------------------------------------- */

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
    x->inner_state = inner;
    if (!upstream_is_legacy(x->upstream))
        return true;
    request_state_refuse_old(x);
    return false;
}

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
bool input_take(struct exchange *x) {
    if (x->era == ERA_LEGACY || !input_may_be_required(x->method))
        return true;
    if (x->in.request_state.p)
        return go_on(x);
    struct str responses = x->in.input_responses;
    if (!responses.p || !upstream_is_legacy(x->upstream) || responses.p[0] == '{')
        return true;
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "inputResponses must be an object");
    return false;
}
