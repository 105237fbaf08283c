/* session.c - see session.h. Ids carry no meaning but their shard, which is a hash of
 * them; 24 random bytes as base64url are the 32 characters of an id. */
#include "mcp/session.h"
#include "base/crypto.h"
#include "base/map.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdatomic.h>

enum { SHARDS = 64, CLIENT_TEXT = 64 };

struct session {
    struct session_view view;
    nanos used;
    char client[CLIENT_TEXT];
};

struct shard {
    pthread_mutex_t lock;
    struct map map;
};

struct sessions {
    struct shard shards[SHARDS];
    pthread_mutex_t lock; /* limits and counts */
    struct session_limits limits;
    atomic_llong idle;    /* of limits, read without the lock */
    size_t count;
    struct idmap per_principal; /* count + 1 as a pointer's value */
};

struct sessions *sessions_new(struct session_limits limits) {
    struct sessions *s = NEW(struct sessions);
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_init(&s->shards[i].lock, NULL);
    pthread_mutex_init(&s->lock, NULL);
    s->limits = limits;
    atomic_init(&s->idle, limits.idle);
    return s;
}

void sessions_free(struct sessions *s) {
    if (!s)
        return;
    for (int i = 0; i < SHARDS; i++) {
        struct str key;
        void *value;
        for (size_t at = 0; map_next(&s->shards[i].map, &at, &key, &value);)
            free(value);
        map_done(&s->shards[i].map);
        pthread_mutex_destroy(&s->shards[i].lock);
    }
    idmap_done(&s->per_principal);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void sessions_configure(struct sessions *s, struct session_limits limits) {
    pthread_mutex_lock(&s->lock);
    s->limits = limits;
    atomic_store(&s->idle, limits.idle);
    pthread_mutex_unlock(&s->lock);
}

size_t sessions_count(struct sessions *s) {
    pthread_mutex_lock(&s->lock);
    size_t n = s->count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- counts ------------------------------------------------------------------------ */

static err_t count_in(struct sessions *s, uint64_t principal) {
    pthread_mutex_lock(&s->lock);
    size_t own = (size_t)idmap_get(&s->per_principal, principal);
    bool full = s->count >= s->limits.all, own_full = own >= s->limits.per_principal;
    if (!full && !own_full) {
        s->count++;
        idmap_put(&s->per_principal, principal, (void *)(own + 1));
    }
    pthread_mutex_unlock(&s->lock);
    if (full)
        return ERR(LIMITED, "The gateway holds as many sessions as `limits: sessions` allows");
    return own_full ? ERR(LIMITED,
                          "This key holds as many sessions as `limits: sessions_per_key` allows")
                    : OK;
}

static void count_out(struct sessions *s, uint64_t principal) {
    pthread_mutex_lock(&s->lock);
    size_t own = (size_t)idmap_get(&s->per_principal, principal);
    s->count--;
    if (own > 1)
        idmap_put(&s->per_principal, principal, (void *)(own - 1));
    else
        idmap_del(&s->per_principal, principal);
    pthread_mutex_unlock(&s->lock);
}

/* ---- look-ups ---------------------------------------------------------------------- */

static struct shard *lock_shard(struct sessions *s, struct str id) {
    /* ids are random */
    struct shard *shard = &s->shards[id.n ? (unsigned char)id.p[id.n - 1] % SHARDS : 0];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

err_t session_open(struct sessions *s, enum revision revision, uint64_t principal, uint64_t profile,
                   struct str client, nanos now, struct session_view *out) {
    TRY(count_in(s, principal));
    struct session *n = NEW(struct session);
    uint8_t random[SESSION_ID * 3 / 4];
    crypto_random(random, sizeof random);
    SCOPED(buf_done) struct buf id = { 0 };
    base64url_put(&id, random, sizeof random);
    memcpy(n->view.id, id.p, SESSION_ID);
    n->view.revision = revision;
    n->view.log_level = -1;
    n->view.principal = principal;
    n->view.profile = profile;
    n->view.in_table = true;
    n->view.stream_worker = -1;
    n->used = now;
    if (client.n)
        memcpy(n->client, client.p, client.n < CLIENT_TEXT ? client.n : CLIENT_TEXT);
    struct str key = str_from(n->view.id, SESSION_ID);
    *out = n->view;
    struct shard *shard = lock_shard(s, key);
    map_put(&shard->map, key, n);
    pthread_mutex_unlock(&shard->lock);
    return OK;
}

static bool is_idle(const struct session *n, nanos before) {
    return n->used < before && n->view.stream_worker < 0;
}

bool session_find(struct sessions *s, struct str id, uint64_t principal, uint64_t profile,
                  nanos now, struct session_view *out) {
    nanos before = now - atomic_load_explicit(&s->idle, memory_order_relaxed);
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    bool ours = n && n->view.principal == principal && n->view.profile == profile &&
                !is_idle(n, before);
    if (ours) {
        n->used = now;
        *out = n->view;
    }
    pthread_mutex_unlock(&shard->lock);
    return ours;
}

bool session_set_initialized(struct sessions *s, struct str id) {
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    if (n)
        n->view.initialized = true;
    pthread_mutex_unlock(&shard->lock);
    return n;
}

bool session_lives(struct sessions *s, struct str id) {
    struct shard *shard = lock_shard(s, id);
    bool lives = map_get(&shard->map, id);
    pthread_mutex_unlock(&shard->lock);
    return lives;
}

bool session_set_asks(struct sessions *s, struct str id, unsigned asks) {
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    if (n)
        n->view.asks = asks;
    pthread_mutex_unlock(&shard->lock);
    return n;
}

bool session_set_level(struct sessions *s, struct str id, int level) {
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    if (n)
        n->view.log_level = level;
    pthread_mutex_unlock(&shard->lock);
    return n;
}

bool session_set_stream(struct sessions *s, struct str id, int worker, uint64_t stream) {
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    if (n) {
        n->view.stream_worker = worker;
        n->view.stream = stream;
    }
    pthread_mutex_unlock(&shard->lock);
    return n;
}

void session_clear_stream(struct sessions *s, struct str id, uint64_t stream, nanos now) {
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    if (n && n->view.stream == stream) {
        n->view.stream_worker = -1;
        n->used = now;
    }
    pthread_mutex_unlock(&shard->lock);
}

bool session_close(struct sessions *s, struct str id, uint64_t principal) {
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    bool ours = n && n->view.principal == principal;
    if (ours)
        map_del(&shard->map, id);
    pthread_mutex_unlock(&shard->lock);
    if (!ours)
        return false;
    count_out(s, principal);
    free(n);
    return true;
}

/* ---- expiry ------------------------------------------------------------------------ */

/* Takes out one idle session of a shard; NULL when there is none left. */
static struct session *take_idle(struct shard *shard, nanos before) {
    struct session *found = NULL;
    struct str key;
    void *value;
    pthread_mutex_lock(&shard->lock);
    for (size_t at = 0; !found && map_next(&shard->map, &at, &key, &value);) {
        struct session *n = value;
        if (is_idle(n, before))
            found = n;
    }
    if (found)
        map_del(&shard->map, str_from(found->view.id, SESSION_ID));
    pthread_mutex_unlock(&shard->lock);
    return found;
}

size_t sessions_expire(struct sessions *s, nanos now) {
    size_t n = 0;
    for (int i = 0; i < SHARDS; i++) {
        struct session *idle;
        while ((idle = take_idle(&s->shards[i], now - atomic_load(&s->idle)))) {
            count_out(s, idle->view.principal);
            free(idle);
            n++;
        }
    }
    return n;
}
