/* request_state.c - see request_state.h. */
#include "gateway/request_state.h"
#include "base/mem.h"

struct plain { /* followed by inner */
    uint64_t node, number;
    int64_t expires; /* wall clock */
    uint64_t upstream;
    uint32_t worker;
    uint8_t kind, has_inner, unused[2];
};

/* Known to every node that has the same keys: no hash of this process. */
static uint64_t name_digest(struct str name) {
    uint8_t sum[SHA256_SIZE];
    uint64_t digest;
    crypto_sha256(name, sum);
    memcpy(&digest, sum, sizeof digest);
    return digest;
}

/* White space between tokens is no difference. */
static void put_tokens(struct buf *out, struct str raw) {
    bool quoted = false;
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (!quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
            continue;
        buf_char(out, c);
        if (quoted && c == '\\' && i + 1 < raw.n)
            buf_char(out, raw.p[++i]);
        else if (c == '"')
            quoted = !quoted;
    }
}

static void put_bound(const struct exchange *x, struct buf *out) {
    const struct str parts[] = { S("input"), x->who->tenant, x->who->id, x->profile_name,
                                 method_name(x->method), x->in.name };
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        buf_str(out, parts[i]);
        buf_char(out, '\n');
    }
    put_tokens(out, x->in.arguments);
}

void request_state_seal(struct exchange *x, const struct request_state *s, struct buf *out) {
    SCOPED(buf_done) struct buf bound = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    const struct plain p = {
        .node = x->gw->gateway->node, .number = s->number, .upstream = name_digest(x->upstream->conf->name),
        .expires = clock_wall() + x->snapshot->conf->limits.question_wait, .worker = s->worker,
        .kind = (uint8_t)s->kind, .has_inner = s->inner.p != NULL,
    };
    put_bound(x, &bound);
    buf_put(&text, &p, sizeof p);
    buf_str(&text, s->inner);
    crypto_seal(&x->gw->gateway->ring, buf_view(&bound), buf_view(&text), out);
}

static bool refuse(struct exchange *x, const char *why) {
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "%s", why);
    return false;
}

void request_state_refuse_old(struct exchange *x) {
    refuse(x,
           "The call that this requestState belongs to has ended, or this round of it was answered "
           "already: call again without requestState if it may run once more");
}

/* A call that waits in another process, or waited in one that has ended, is lost (P-473). */
static bool is_old(const struct exchange *x, const struct plain *p) {
    return clock_wall() > p->expires || p->upstream != name_digest(x->upstream->conf->name) ||
           (p->kind == STATE_PARKED &&
            (p->node != x->gw->gateway->node || p->worker >= workers_count(x->gw->gateway->all)));
}

bool request_state_open(struct exchange *x, struct request_state *out) {
    SCOPED(buf_done) struct buf bound = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    struct plain p;
    put_bound(x, &bound);
    struct str sealed = json_unquote(x->arena, x->in.request_state);
    if (crypto_open(&x->gw->gateway->ring, buf_view(&bound), sealed, &text) || text.n < sizeof p)
        return refuse(x,
                      "requestState does not belong to this request: it must come back unchanged, "
                      "from the same caller, with the same arguments");
    memcpy(&p, text.p, sizeof p);
    if (is_old(x, &p)) {
        request_state_refuse_old(x);
        return false;
    }
    struct str inner = arena_dup(x->arena, str_skip(buf_view(&text), sizeof p));
    *out = (struct request_state){ .kind = (enum state_kind)p.kind, .worker = p.worker,
                                   .number = p.number,
                                   .inner = p.has_inner ? inner : (struct str){ 0 } };
    return true;
}
