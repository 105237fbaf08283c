/* call_record.c - see call_record.h. On the way of every call: about two hundred instructions,
 * a fixed head, then the texts one after the other. */
#include "gateway/call_record.h"
#include "mcp/uri.h"
#include "store/journal.h"

enum { TEXT_MOST = 512, VERSION = 1 };

enum {
#define X(name) TEXT_##name,
    CALL_TEXTS(X)
#undef X
    TEXTS
};

struct head {
    uint32_t version;
    int32_t error_code;
    int64_t at, duration;
    uint64_t request_bytes, response_bytes;
    uint32_t method, arguments, result; /* the latter two: lengths */
    uint16_t lengths[TEXT_arguments];
};

/* ---- reading ----------------------------------------------------------------------- */

bool call_record_read(struct str data, struct call_record *out) {
    struct head h;
    if (data.n < sizeof h)
        return false;
    memcpy(&h, data.p, sizeof h);
    if (h.version != VERSION || h.method >= METHOD_COUNT)
        return false;
    struct str texts[TEXTS], rest = str_skip(data, sizeof h);
    for (size_t i = 0; i < TEXTS; i++) {
        size_t n = i < TEXT_arguments ? h.lengths[i] : i == TEXT_result ? h.result : h.arguments;
        if (n > rest.n)
            return false;
        texts[i] = str_head(rest, n);
        rest = str_skip(rest, n);
    }
    *out = (struct call_record){
        .at = h.at, .duration = h.duration, .request_bytes = h.request_bytes,
        .response_bytes = h.response_bytes, .error_code = h.error_code, .method = (enum method)h.method,
#define X(name) .name = texts[TEXT_##name],
        CALL_TEXTS(X)
#undef X
    };
    return true;
}

/* ---- writing ----------------------------------------------------------------------- */

static bool is_kept(const struct exchange *x) {
    return x->method == METHOD_TOOLS_CALL || x->method == METHOD_RESOURCES_READ ||
           x->method == METHOD_PROMPTS_GET;
}

/* 00-<trace id>-<span id>-<flags> (W3C Trace Context §3.2). */
static struct str trace_of(const struct exchange *x) {
    struct str parent = x->in.traceparent;
    return parent.n >= 55 ? str_from(parent.p + 3, 32) : S("");
}

static struct str tool_of(const struct exchange *x) {
    /* without an entry nobody has it, or a template opened it: what was asked for */
    return uri_public(x->arena, x->entry ? x->entry->shown : x->in.name);
}

static size_t append(uint8_t *to, size_t at, struct str s, uint16_t *length) {
    size_t n = s.n < TEXT_MOST ? s.n : TEXT_MOST;
    *length = (uint16_t)n;
    if (n)
        memcpy(to + at, s.p, n);
    return at + n;
}

static size_t append_payload(uint8_t *to, size_t at, struct str s, size_t most, uint32_t *length) {
    size_t n = s.n < most ? s.n : most;
    *length = (uint32_t)n;
    if (n)
        memcpy(to + at, s.p, n);
    return at + n;
}

void call_record_write(struct exchange *x, nanos took) {
    struct journal *j = x->gw->journal;
    const struct history_conf *conf = &x->snapshot->conf->history;
    if (!j || !conf->enabled || !is_kept(x))
        return;
    const char *outcome = x->outcome ? x->outcome : "none";
    bool payload = conf->payloads == HISTORY_PAYLOADS_ALL ||
                   (conf->payloads == HISTORY_PAYLOADS_ERRORS && strcmp(outcome, "ok") != 0);
    size_t kept = payload ? (size_t)conf->payload_bytes : 0;
    uint8_t *p = journal_begin(j, sizeof(struct head) + (size_t)(TEXTS - 2) * TEXT_MOST + 2 * kept);
    struct head h = {
        .version = VERSION, .error_code = x->rpc_code, .method = x->method,
        .at = x->began + took + __atomic_load_n(&x->gw->gateway->wall_offset, __ATOMIC_RELAXED),
         .duration = took,
        .request_bytes = x->in.text.n, .response_bytes = x->answer_bytes,
    };
    size_t n = sizeof h;
    n = append(p, n, x->who->tenant, &h.lengths[TEXT_tenant]);
    n = append(p, n, x->who->id, &h.lengths[TEXT_key_id]);
    n = append(p, n, x->who->name, &h.lengths[TEXT_key_name]);
    n = append(p, n, tool_of(x), &h.lengths[TEXT_tool]);
    n = append(p, n, x->upstream ? x->upstream->conf->name : S(""), &h.lengths[TEXT_upstream]);
    n = append(p, n, str_of(outcome), &h.lengths[TEXT_outcome]);
    n = append(p, n, x->request_id, &h.lengths[TEXT_request_id]);
    n = append(p, n, trace_of(x), &h.lengths[TEXT_trace_id]);
    if (kept) {
        n = append_payload(p, n, x->in.arguments, kept, &h.arguments);
        n = append_payload(p, n, x->answer_kept, kept, &h.result);
    }
    memcpy(p, &h, sizeof h);
    journal_commit(j, n);
}

/* The pieces live only as long as the face sends them. */
static void keep_answer(struct exchange *x, const struct str *pieces, size_t n, size_t most) {
    size_t at = 0;
    char *copy = arena_alloc(x->arena, most);
    for (size_t i = 0; i < n && at < most; i++) {
        size_t some = pieces[i].n < most - at ? pieces[i].n : most - at;
        memcpy(copy + at, pieces[i].p, some);
        at += some;
    }
    x->answer_kept = str_from(copy, at);
}

void call_record_answer(struct exchange *x, const struct str *pieces, size_t n, bool failed) {
    if (!x->gw || !x->gw->journal || !is_kept(x)) /* gw NULL: units */
        return;
    x->answer_bytes = str_total(pieces, n);
    const struct history_conf *conf = &x->snapshot->conf->history;
    if (conf->payloads == HISTORY_PAYLOADS_ALL ||
        (conf->payloads == HISTORY_PAYLOADS_ERRORS && failed))
        keep_answer(x, pieces, n, (size_t)conf->payload_bytes);
}
