/* methods.c - methods that the gateway answers itself, from the snapshot alone: nothing
 * here waits for an upstream (P-400, P-430, P-626). */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/exchange.h"

enum { PAGE_CACHE_BYTES = 4 * 1024 * 1024 };
#define LIST_TTL_MS 60000

/* What a modern result carries beside its content (P-046, P-085, P-086). */
static void put_modern(struct exchange *x, struct jw *w, int64_t ttl_ms) {
    if (x->era == ERA_LEGACY)
        return;
    jw_put_string(w, "resultType", S("complete"));
    if (ttl_ms >= 0) {
        jw_put_int(w, "ttlMs", ttl_ms);
        jw_put_string(w, "cacheScope", S("private")); /* filtered per caller (P-618) */
    }
}

static bool chooses_upstreams(const struct exchange *x) {
    return x->profile && x->profile->upstreams.n;
}

/* Raw JSON array of the upstreams that this caller's list lacks; empty: none. */
static struct str missing_for(struct exchange *x) {
    const struct snapshot *s = x->snapshot;
    if (!s->catalogue->missing.n || !chooses_upstreams(x))
        return s->catalogue->missing;
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    size_t count = 0;
    jw_array(&w);
    for (size_t i = 0; i < s->upstream_count; i++)
        if (s->sources[i].missing && access_has_upstream(x->view->access, i)) {
            jw_string(&w, s->sources[i].conf->name);
            count++;
        }
    jw_array_end(&w);
    return count ? arena_dup(x->arena, buf_view(&b)) : S("");
}

/* _meta: who answers (modern), and which upstreams are missing from a list (P-616). */
static void put_meta(struct exchange *x, struct jw *w, struct str missing) {
    if (x->era == ERA_LEGACY && !missing.n)
        return;
    jw_key(w, S("_meta"));
    jw_object(w);
    if (x->era == ERA_MODERN)
        jw_put_raw(w, "io.modelcontextprotocol/serverInfo", x->snapshot->server_info);
    if (missing.n)
        jw_put_raw(w, "gatespan/missingUpstreams", missing);
    jw_object_end(w);
}

static void send_object(struct exchange *x, struct buf *b) {
    struct str result = buf_view(b);
    answer_result(x, &result, 1);
}

/* ---- the handshakes ---------------------------------------------------------------- */

static struct str instructions_for(const struct exchange *x) {
    const struct snapshot *s = x->snapshot;
    if (x->profile && x->profile->instructions.n)
        return x->profile->instructions;
    if (!chooses_upstreams(x))
        return s->catalogue->instructions;
    return catalogue_instructions(s->catalogue, x->view->access, x->arena, s->conf->instructions);
}

static void put_instructions(struct exchange *x, struct jw *w) {
    struct str text = instructions_for(x);
    if (text.n)
        jw_put_string(w, "instructions", text);
}

static void put_capabilities(struct exchange *x, struct jw *w) {
    jw_key(w, S("capabilities"));
    capabilities_write(w->out, &x->snapshot->catalogue->has, x->revision);
    w->comma = true;
}

void method_initialize(struct exchange *x) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "protocolVersion", revision_text(x->revision));
    put_capabilities(x, &w);
    jw_key(&w, S("serverInfo"));
    translate_implementation(&b, x->snapshot->server_info, x->revision);
    w.comma = true;
    put_instructions(x, &w);
    jw_object_end(&w);
    send_object(x, &b);
}

void method_discover(struct exchange *x) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    put_modern(x, &w, LIST_TTL_MS);
    jw_put_raw(&w, "supportedVersions", S("[\"2026-07-28\"]"));
    put_capabilities(x, &w);
    put_instructions(x, &w);
    put_meta(x, &w, S(""));
    jw_object_end(&w);
    send_object(x, &b);
}

void method_ping(struct exchange *x) {
    struct str empty = S("{}");
    answer_result(x, &empty, 1);
}

void method_set_level(struct exchange *x) {
    struct str raw = json_raw_get(x->in.params, S("level"));
    int level = raw.p && raw.p[0] == '"' ? log_level_parse(json_unquote(x->arena, raw)) : -1;
    if (level < 0) {
        answer_error(
            x, 0, RPC_INVALID_PARAMS, (struct str){ 0 },
            "level must be one of debug, info, notice, warning, error, critical, alert, emergency");
        return;
    }
    x->session.log_level = level; /* the face's copy, where no table holds the session */
    session_set_level(x->task, x->gw->gateway->sessions, str_from(x->session.id, SESSION_ID),
                      level);
    method_ping(x);
}

/* ---- lists ------------------------------------------------------------------------- */

static const struct list_kind {
    enum item_kind kind;
    const char *member;
} list_kinds[METHOD_COUNT] = {
    [METHOD_TOOLS_LIST] = { ITEM_TOOL, "tools" },
    [METHOD_PROMPTS_LIST] = { ITEM_PROMPT, "prompts" },
    [METHOD_RESOURCES_LIST] = { ITEM_RESOURCE, "resources" },
    [METHOD_TEMPLATES_LIST] = { ITEM_TEMPLATE, "resourceTemplates" },
};

/* What a page was made from, and so what a cursor is good for (P-615): the caller's view
 * of one catalogue. */
struct page_key {
    uint64_t generation, access, profile;
    uint32_t from;
    uint8_t kind, revision, unused[2];
};

static struct page_key page_key(const struct exchange *x, size_t from) {
    struct page_key k;
    memset(&k, 0, sizeof k);
    k.generation = x->snapshot->catalogue->generation;
    k.access = x->view->access->digest;
    k.profile = x->profile ? hash_str(x->profile->name) : 0;
    k.kind = (uint8_t)list_kinds[x->method].kind;
    k.revision = (uint8_t)x->revision;
    k.from = (uint32_t)from;
    return k;
}

static struct str bound_to(struct page_key *k) {
    k->from = 0;
    return str_from((const char *)k, sizeof *k);
}

static bool read_cursor(struct exchange *x, size_t *out_from) {
    *out_from = 0;
    if (!x->in.cursor.p)
        return true;
    if (x->in.cursor.p[0] != '"')
        return false;
    struct str text = json_unquote(x->arena, x->in.cursor);
    SCOPED(buf_done) struct buf plain = { 0 };
    struct page_key k = page_key(x, 0);
    uint32_t from = 0;
    if (crypto_open(&x->gw->gateway->ring, bound_to(&k), text, &plain) || plain.n != sizeof from)
        return false;
    memcpy(&from, plain.p, sizeof from);
    *out_from = from;
    return true;
}

static void put_cursor(struct exchange *x, struct jw *w, size_t from) {
    SCOPED(buf_done) struct buf sealed = { 0 };
    struct page_key k = page_key(x, 0);
    uint32_t position = (uint32_t)from;
    crypto_seal(&x->gw->gateway->ring, bound_to(&k),
                str_from((const char *)&position, sizeof position), &sealed);
    jw_put_string(w, "nextCursor", buf_view(&sealed));
}

static void write_page(struct exchange *x, struct buf *b, size_t from) {
    const struct list_kind *list = &list_kinds[x->method];
    struct jw w = jw_init(b);
    jw_object(&w);
    struct str missing = missing_for(x);
    put_modern(x, &w, missing.n ? 1000 : LIST_TTL_MS);
    jw_key(&w, str_of(list->member));
    size_t next = catalogue_write_page(b, x->snapshot->catalogue, list->kind, x->view->access,
                                       x->profile, from, (size_t)x->snapshot->conf->limits.page,
                                       x->revision);
    w.comma = true;
    if (next)
        put_cursor(x, &w, next);
    put_meta(x, &w, missing);
    jw_object_end(&w);
}

/* A ready-made page of this worker; its key is stored in front of its text. */
struct page {
    size_t n;
    struct page_key key;
    char text[];
};

static struct page *page_make(struct exchange *x, const struct page_key *k, size_t from) {
    SCOPED(buf_done) struct buf b = { 0 };
    write_page(x, &b, from);
    struct page *p = mem_alloc(sizeof *p + b.n);
    p->n = b.n;
    p->key = *k;
    memcpy(p->text, b.p, b.n);
    return p;
}

/* conn_send takes or copies the bytes before anything waits, so the page needs no reference. */
static void send_page(struct exchange *x, size_t from) {
    struct gateway_worker *gw = x->gw;
    struct page_key k = page_key(x, from);
    struct page *p = map_get(&gw->pages, str_from((const char *)&k, sizeof k));
    SCOPED(mem_scope) struct page *passing = NULL;
    if (!p) {
        p = page_make(x, &k, from);
        if (gw->generation == x->snapshot->generation && gw->page_bytes < PAGE_CACHE_BYTES) {
            map_put(&gw->pages, str_from((const char *)&p->key, sizeof p->key), p);
            gw->page_bytes += sizeof *p + p->n;
        } else {
            passing = p;
        }
    }
    struct str result = str_from(p->text, p->n);
    answer_result(x, &result, 1);
}

void method_list(struct exchange *x) {
    size_t from = 0;
    if (read_cursor(x, &from))
        send_page(x, from);
    else
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 },
                     "The cursor is not valid for this list any more; start again without one");
}
