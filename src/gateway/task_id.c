/* task_id.c - see task_id.h. */
#include "gateway/task_id.h"
#include "base/mem.h"

enum { PLAIN_MOST = 4096 };

struct plain { /* followed by the three names */
    uint64_t share;
    uint32_t asks;
    uint16_t upstream, tool; /* lengths */
    uint8_t ours, unused[7];
};

static void put_bound(const struct exchange *x, struct buf *out) {
    const struct str parts[] = { S("task"), x->who->tenant, x->who->id, x->profile_name };
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        buf_str(out, parts[i]);
        buf_char(out, '\n');
    }
}

struct str task_id_seal(struct exchange *x, const struct task_id *id) {
    SCOPED(buf_done) struct buf bound = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    SCOPED(buf_done) struct buf sealed = { 0 };
    const struct plain p = {
        .share = id->share, .asks = id->asks, .upstream = (uint16_t)id->upstream.n,
        .tool = (uint16_t)id->tool.n, .ours = id->ours,
    };
    put_bound(x, &bound);
    buf_put(&text, &p, sizeof p);
    buf_str(&text, id->upstream);
    buf_str(&text, id->tool);
    buf_str(&text, id->own);
    crypto_seal(&x->gw->gateway->ring, buf_view(&bound), buf_view(&text), &sealed);
    return arena_dup(x->arena, buf_view(&sealed));
}

static struct str take(struct str *rest, size_t n) {
    struct str head = str_head(*rest, n);
    *rest = str_skip(*rest, n);
    return head;
}

bool task_id_open(struct exchange *x, struct str shown, struct task_id *out) {
    SCOPED(buf_done) struct buf bound = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    struct plain p;
    put_bound(x, &bound);
    if (shown.n > 2 * PLAIN_MOST ||
        crypto_open(&x->gw->gateway->ring, buf_view(&bound), shown, &text) || text.n < sizeof p)
        return false;
    memcpy(&p, text.p, sizeof p);
    struct str rest = arena_dup(x->arena, str_skip(buf_view(&text), sizeof p));
    if (rest.n < (size_t)p.upstream + p.tool)
        return false;
    *out = (struct task_id){ .share = p.share, .asks = p.asks, .ours = p.ours };
    out->upstream = take(&rest, p.upstream);
    out->tool = take(&rest, p.tool);
    out->own = rest;
    return true;
}
