/* key.c - see key.h: the index and its per-worker memo. Looking a key up by the id that it
 * carries tells nobody anything: the secret part alone is 160 bits and is compared, as an
 * HMAC, in constant time. */
#include "auth/key.h"
#include "base/map.h"
#include "base/mem.h"
#include <stdio.h>

struct key_index {
    struct arena arena;
    uint8_t hmac_key[SHA256_SIZE];
    uint64_t serial; /* of all indexes ever made: a memo of another one is worth nothing */
    struct principal *principals;
    uint8_t (*hmacs)[SHA256_SIZE];
    nanos *used;
    size_t n;
    struct map by_hmac; /* principal + 1 as a pointer's value, by the stored HMAC's bytes */
    struct principal anonymous;
    bool has_anonymous;
};

static uint64_t digest_of(struct str tenant, struct str id) {
    uint8_t sum[SHA256_SIZE];
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text, "%.*s\x1f%.*s", STR(tenant), STR(id));
    crypto_sha256(buf_view(&text), sum);
    uint64_t digest;
    memcpy(&digest, sum, sizeof digest);
    return digest | 1; /* 0 is the gateway itself */
}

static void put_list(struct buf *b, const struct str_list *list) {
    for (size_t i = 0; i < list->n; i++)
        buf_fmt(b, "%zu:%.*s", list->items[i].n, STR(list->items[i]));
    buf_char(b, '\n');
}

static uint64_t rights_of(const struct grants *g) {
    SCOPED(buf_done) struct buf text = { 0 };
    put_list(&text, &g->allow);
    put_list(&text, &g->deny);
    buf_fmt(&text, "%a %a", g->rate.per_second, g->burst);
    return hash_str(buf_view(&text));
}

static struct str_list copy_list(struct arena *a, const struct str_list *from) {
    struct str_list to = { .items = ARENA_ARRAY(a, struct str, from->n + 1), .n = from->n };
    for (size_t i = 0; i < from->n; i++)
        to.items[i] = arena_dup(a, from->items[i]);
    return to;
}

static void copy_principal(struct arena *a, struct principal *to, const struct principal *from,
                           unsigned index) {
    *to = (struct principal){
        .id = arena_dup(a, from->id), .name = arena_dup(a, from->name),
        .tenant = from->tenant.n ? arena_dup(a, from->tenant) : S("default"), .grants = from->grants, .index = index,
    };
    to->grants.profiles = copy_list(a, &from->grants.profiles);
    to->grants.allow = copy_list(a, &from->grants.allow);
    to->grants.deny = copy_list(a, &from->grants.deny);
    to->digest = digest_of(to->tenant, to->id);
    to->rights = rights_of(&to->grants);
}

struct key_index *key_index_new(const struct key_record *records, size_t n,
                                const uint8_t hmac_key[SHA256_SIZE], bool anonymous) {
    static uint64_t serials;
    struct key_index *k = NEW(struct key_index);
    arena_init(&k->arena, NULL, 0);
    memcpy(k->hmac_key, hmac_key, SHA256_SIZE);
    k->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
    k->principals = ARENA_ARRAY(&k->arena, struct principal, n + 1);
    k->hmacs = arena_alloc(&k->arena, (n + 1) * SHA256_SIZE);
    k->used = ARENA_ARRAY(&k->arena, nanos, n + 1);
    k->n = n;
    for (size_t i = 0; i < n; i++) {
        copy_principal(&k->arena, &k->principals[i], &records[i].principal, (unsigned)i);
        k->principals[i].used = &k->used[i];
        memcpy(k->hmacs[i], records[i].hmac, SHA256_SIZE);
        map_put(&k->by_hmac, str_from((const char *)k->hmacs[i], SHA256_SIZE), &k->principals[i]);
    }
    k->has_anonymous = anonymous;
    copy_principal(&k->arena, &k->anonymous,
                   &(struct principal){ .id = S("anonymous"), .name = S("anonymous") },
                   (unsigned)n);
    return k;
}

void key_index_free(struct key_index *k) {
    if (!k)
        return;
    map_done(&k->by_hmac);
    arena_done(&k->arena);
    crypto_wipe(k->hmac_key, sizeof k->hmac_key);
    free(k);
}

size_t key_index_count(const struct key_index *k) {
    return k->n;
}

const struct principal *key_index_at(const struct key_index *k, size_t i) {
    return &k->principals[i];
}

const struct principal *key_index_find(const struct key_index *k, struct str id, unsigned hint) {
    size_t n = key_index_count(k);
    if (k->has_anonymous && str_eq(k->anonymous.id, id))
        return &k->anonymous;
    if (hint < n && str_eq(k->principals[hint].id, id))
        return &k->principals[hint];
    for (size_t i = 0; i < n; i++)
        if (str_eq(k->principals[i].id, id))
            return &k->principals[i];
    return NULL;
}

const struct principal *key_index_anonymous(const struct key_index *k) {
    return k->has_anonymous ? &k->anonymous : NULL;
}

/* ---- verifying --------------------------------------------------------------------- */

enum { MEMO_KEY = 128 };

struct memo {
    uint64_t serial;
    const struct principal *who;
    uint32_t n;
    char key[MEMO_KEY];
};

struct key_cache {
    size_t mask;
    struct memo slots[];
};

struct key_cache *key_cache_new(size_t entries) {
    size_t n = 16;
    while (n < entries)
        n *= 2;
    struct key_cache *c = mem_zero(sizeof *c + n * sizeof c->slots[0]);
    c->mask = n - 1;
    return c;
}

void key_cache_free(struct key_cache *c) {
    if (!c)
        return;
    crypto_wipe(c->slots, (c->mask + 1) * sizeof c->slots[0]);
    free(c);
}

static const struct principal *verify_slowly(const struct key_index *k, struct str key) {
    uint8_t hmac[SHA256_SIZE];
    crypto_hmac(k->hmac_key, key, hmac);
    struct principal *who = map_get(&k->by_hmac, str_from((const char *)hmac, SHA256_SIZE));
    return who && crypto_equal(k->hmacs[who->index], hmac, SHA256_SIZE) ? who : NULL;
}

const struct principal *key_verify(struct key_cache *c, const struct key_index *k, struct str key) {
    if (!key.n || key.n > MEMO_KEY)
        return key.n ? verify_slowly(k, key) : NULL;
    struct memo *m = &c->slots[hash_str(key) & c->mask];
    if (m->serial == k->serial && m->n == key.n && crypto_equal(m->key, key.p, key.n))
        return m->who;
    const struct principal *who = verify_slowly(k, key);
    if (who) { /* strangers do not push friends out */
        *m = (struct memo){ .serial = k->serial, .who = who, .n = (uint32_t)key.n };
        memcpy(m->key, key.p, key.n);
    }
    return who;
}

struct str key_bearer(struct str authorization) {
    bool usual = str_starts(authorization, S("Bearer "));
    if (authorization.n < 8 || (!usual && !str_eq_nocase(str_head(authorization, 7), S("bearer "))))
        return (struct str){ 0 };
    return str_trim(str_skip(authorization, 7));
}
