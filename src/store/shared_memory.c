/* shared_memory.c - shared.h in the memory of this process: tables sharded by a hash of the
 * key, each under a lock that is held for one look-up or copy.
 *
 * Expired entries are not there for any call; shared_tend frees them, and so does a write into
 * a shard that has doubled since it was last looked through, so that no use outgrows the care.
 * Versions come from one counter: none repeats, also when a key is removed and made again. */
#include "base/map.h"
#include "base/mem.h"
#include "store/shared.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    SHARDS = 64,
    SLOT = 64,       /* what the table and malloc cost around an entry, about */
    FIRST_SWEEP = 64 /* entries of a shard before a write looks through it */
};

struct entry {
    nanos expires;
    uint64_t version; /* 0: a counter */
    int64_t total;    /* of a counter */
    uint32_t key_size, value_size;
    char bytes[]; /* key, value */
};

struct shard {
    pthread_mutex_t lock;
    struct map map;
    size_t sweep_at; /* entries */
};

struct subscriber {
    struct shared_subscription base;
    struct subscriber *next;
    shared_notice_fn *fn;
    void *self;
    size_t channel_size;
    char channel[];
};

struct memory {
    struct shared base;
    struct shard shards[SHARDS];
    nanos (*clock)(void);
    atomic_size_t bytes, limit, entries;
    atomic_ullong version;
    pthread_rwlock_t listening; /* held for reading while subscribers are called */
    struct subscriber *subscribers;
};

static struct memory *memory_of(struct shared *s) {
    return (struct memory *)s;
}

/* ---- entries ------------------------------------------------------------------------ */

static struct str key_of(const struct entry *e) {
    return str_from(e->bytes, e->key_size);
}

static size_t cost_of(size_t key, size_t value) {
    return sizeof(struct entry) + key + value + SLOT;
}

static nanos after(nanos now, nanos ttl) {
    return ttl < NANOS_NEVER - now ? now + ttl : NANOS_NEVER;
}

static struct entry *entry_new(struct str key, struct str value, nanos expires) {
    struct entry *e = mem_alloc(sizeof *e + key.n + value.n);
    *e = (struct entry){ .expires = expires,
                         .key_size = (uint32_t)key.n,
                         .value_size = (uint32_t)value.n };
    memcpy(e->bytes, key.p, key.n);
    if (value.n)
        memcpy(e->bytes + key.n, value.p, value.n);
    return e;
}

/* The table holds it no longer. */
static void entry_drop(struct memory *m, struct entry *e) {
    if (!e)
        return;
    atomic_fetch_sub(&m->bytes, cost_of(e->key_size, e->value_size));
    atomic_fetch_sub(&m->entries, 1);
    free(e);
}

/* The key lies in the value: the old one goes first. */
static void shard_put(struct memory *m, struct shard *shard, struct entry *e) {
    entry_drop(m, map_del(&shard->map, key_of(e)));
    atomic_fetch_add(&m->bytes, cost_of(e->key_size, e->value_size));
    atomic_fetch_add(&m->entries, 1);
    map_put(&shard->map, key_of(e), e);
}

/* Deleting while walking would skip or repeat entries: those found are collected first. */
static void sweep(struct memory *m, struct shard *shard, nanos now) {
    SCOPED(mem_scope) struct entry **expired = NEW_ARRAY(struct entry *, shard->map.count + 1);
    size_t n = 0;
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&shard->map, &at, &key, &value);)
        if (((struct entry *)value)->expires <= now)
            expired[n++] = value;
    for (size_t i = 0; i < n; i++)
        entry_drop(m, map_del(&shard->map, key_of(expired[i])));
    if (!shard->map.count)
        map_done(&shard->map);
    shard->sweep_at = shard->map.count * 2 + FIRST_SWEEP;
}

static struct shard *lock_shard(struct memory *m, struct str key) {
    struct shard *shard = &m->shards[hash_str(key) % SHARDS];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

static void unlock_shard(struct shard **shard) {
    pthread_mutex_unlock(&(*shard)->lock);
}

static struct entry *find(const struct shard *shard, struct str key, nanos now) {
    struct entry *e = map_get(&shard->map, key);
    return e && e->expires > now ? e : NULL;
}

static struct entry *find_value(const struct shard *shard, struct str key, nanos now) {
    struct entry *e = find(shard, key, now);
    return e && e->version ? e : NULL;
}

/* For one more of that cost in place of what is there. */
static err_t check_room(struct memory *m, struct shard *shard, struct str key, size_t cost,
                        nanos now) {
    if (shard->map.count >= shard->sweep_at)
        sweep(m, shard, now);
    struct entry *old = map_get(&shard->map, key);
    size_t freed = old ? cost_of(old->key_size, old->value_size) : 0;
    size_t limit = atomic_load(&m->limit);
    if (atomic_load(&m->bytes) + cost - freed <= limit)
        return OK;
    return ERR(UNAVAILABLE, "Shared state is full: `limits: shared` allows %zu bytes", limit);
}

/* ---- life --------------------------------------------------------------------------- */

static void memory_configure(struct shared *s, const struct shared_conf *conf) {
    atomic_store(&memory_of(s)->limit, conf->bytes);
}

static err_t memory_open(const struct shared_conf *conf, struct shared **out) {
    struct memory *m = NEW(struct memory);
    m->base.ops = &memory_shared;
    m->clock = conf->clock ? conf->clock : clock_mono;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&m->shards[i].lock, NULL);
        m->shards[i].sweep_at = FIRST_SWEEP;
    }
    pthread_rwlock_init(&m->listening, NULL);
    memory_configure(&m->base, conf);
    *out = &m->base;
    return OK;
}

static void memory_close(struct shared *s) {
    struct memory *m = memory_of(s);
    assert(!m->subscribers);
    for (int i = 0; i < SHARDS; i++) {
        struct str key;
        void *value;
        for (size_t at = 0; map_next(&m->shards[i].map, &at, &key, &value);)
            free(value);
        map_done(&m->shards[i].map);
        pthread_mutex_destroy(&m->shards[i].lock);
    }
    pthread_rwlock_destroy(&m->listening);
    free(m);
}

static void memory_tend(struct shared *s) {
    struct memory *m = memory_of(s);
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&m->shards[i].lock);
        sweep(m, &m->shards[i], m->clock());
        pthread_mutex_unlock(&m->shards[i].lock);
    }
}

static struct shared_stats memory_stats(struct shared *s) {
    struct memory *m = memory_of(s);
    return (struct shared_stats){ .entries = atomic_load(&m->entries),
                                  .bytes = atomic_load(&m->bytes),
                                  .bytes_limit = atomic_load(&m->limit) };
}

/* ---- calls -------------------------------------------------------------------------- */

static err_t memory_get(struct task *t, struct shared *s, struct arena *a, struct str key,
                        bool take, struct shared_value *out) {
    struct memory *m = memory_of(s);
    nanos now = m->clock();
    SCOPED(unlock_shard) struct shard *shard = lock_shard(m, key);
    struct entry *e = find_value(shard, key, now);
    *out = (struct shared_value){ 0 };
    if (!e)
        return OK;
    out->bytes = arena_dup(a, str_from(e->bytes + e->key_size, e->value_size));
    out->version = e->version;
    out->left = e->expires - now;
    if (take)
        entry_drop(m, map_del(&shard->map, key));
    return OK;
}

static err_t memory_put(struct task *t, struct shared *s, struct str key, const uint64_t *version,
                        struct str value, nanos ttl) {
    struct memory *m = memory_of(s);
    nanos now = m->clock();
    SCOPED(unlock_shard) struct shard *shard = lock_shard(m, key);
    struct entry *old = find_value(shard, key, now);
    if (version && *version != (old ? old->version : 0))
        return ERR(CONFLICT, "shared state: %.*s was changed meanwhile", STR(key));
    TRY(check_room(m, shard, key, cost_of(key.n, value.n), now));
    struct entry *e = entry_new(key, value, after(now, ttl));
    e->version = atomic_fetch_add(&m->version, 1) + 1;
    shard_put(m, shard, e);
    return OK;
}

static err_t memory_touch(struct task *t, struct shared *s, struct str key, nanos ttl,
                          bool *out_there) {
    struct memory *m = memory_of(s);
    nanos now = m->clock();
    SCOPED(unlock_shard) struct shard *shard = lock_shard(m, key);
    struct entry *e = find_value(shard, key, now);
    *out_there = e != NULL;
    if (e)
        e->expires = after(now, ttl);
    return OK;
}

static err_t memory_remove(struct task *t, struct shared *s, struct str key, bool *out_there) {
    struct memory *m = memory_of(s);
    SCOPED(unlock_shard) struct shard *shard = lock_shard(m, key);
    *out_there = find(shard, key, m->clock()) != NULL;
    entry_drop(m, map_del(&shard->map, key));
    return OK;
}

static bool is_beyond(int64_t total, int64_t by, int64_t limit) {
    int64_t sum;
    return __builtin_add_overflow(total, by, &sum) || (by > 0 && sum > limit);
}

static err_t memory_count(struct task *t, struct shared *s, struct str key, int64_t by,
                          int64_t limit, nanos ttl, struct shared_count *out) {
    struct memory *m = memory_of(s);
    nanos now = m->clock();
    SCOPED(unlock_shard) struct shard *shard = lock_shard(m, key);
    struct entry *e = find(shard, key, now);
    int64_t total = e && !e->version ? e->total : 0;
    *out = (struct shared_count){ .total = total, .left = e ? e->expires - now : ttl };
    if (is_beyond(total, by, limit))
        return OK;
    if (!e || e->version) {
        TRY(check_room(m, shard, key, cost_of(key.n, 0), now));
        e = entry_new(key, (struct str){ 0 }, after(now, ttl));
        shard_put(m, shard, e);
    }
    e->total = total + by;
    *out = (struct shared_count){ .total = e->total, .left = e->expires - now, .added = true };
    return OK;
}

/* ---- notices ------------------------------------------------------------------------ */

static err_t memory_subscribe(struct task *t, struct shared *s, struct str channel,
                              shared_notice_fn *fn, void *self, struct shared_subscription **out) {
    struct memory *m = memory_of(s);
    struct subscriber *n = mem_alloc(sizeof *n + channel.n);
    *n = (struct subscriber){ .base.shared = s, .fn = fn, .self = self, .channel_size = channel.n };
    memcpy(n->channel, channel.p, channel.n);
    pthread_rwlock_wrlock(&m->listening);
    n->next = m->subscribers;
    m->subscribers = n;
    pthread_rwlock_unlock(&m->listening);
    *out = &n->base;
    return OK;
}

static void memory_unsubscribe(struct shared *s, struct shared_subscription *subscription) {
    struct memory *m = memory_of(s);
    pthread_rwlock_wrlock(&m->listening);
    struct subscriber **at = &m->subscribers;
    while (*at && &(*at)->base != subscription)
        at = &(*at)->next;
    assert(*at);
    struct subscriber *gone = *at;
    *at = gone->next;
    pthread_rwlock_unlock(&m->listening);
    free(gone);
}

static err_t memory_publish(struct task *t, struct shared *s, struct str channel,
                            struct str message) {
    struct memory *m = memory_of(s);
    pthread_rwlock_rdlock(&m->listening);
    for (struct subscriber *n = m->subscribers; n; n = n->next)
        if (str_eq(str_from(n->channel, n->channel_size), channel))
            n->fn(n->self, message);
    pthread_rwlock_unlock(&m->listening);
    return OK;
}

const struct shared_ops memory_shared = {
    .kind = "memory",
    .open = memory_open,
    .close = memory_close,
    .configure = memory_configure,
    .get = memory_get,
    .put = memory_put,
    .touch = memory_touch,
    .remove = memory_remove,
    .count = memory_count,
    .subscribe = memory_subscribe,
    .unsubscribe = memory_unsubscribe,
    .publish = memory_publish,
    .tend = memory_tend,
    .stats = memory_stats,
};
