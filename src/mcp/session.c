/* session.c - see session.h. Ids carry no meaning but their shard, which is a hash of
 * them; 24 random bytes as base64url are the 32 characters of an id.
 *
 * Shared state is reached with no lock held. So that of several changes at once the newest is
 * what stays there, whoever wrote a record looks again whether it was the newest. */
#include "mcp/session.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "mcp/session_record.h"
#include "store/shared.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { SHARDS = 64, CARE = 8 /* parts of `idle` between two signs of life of a record */ };

static const struct str notices = S_INIT("sessions");

struct session {
    struct session_view view;
    nanos used, kept; /* kept: when the record was last written or touched */
    uint32_t changes; /* of the view, since it is here */
    bool shared;      /* it has a record */
    bool stale;       /* another node changed the record */
    char client[SESSION_CLIENT];
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
    struct shared *shared;
    struct shared_subscription *subscription;
    char node[17];              /* says which notices are our own */
    session_ended_fn *on_ended;
    void *on_ended_arg;
};

static void on_notice(void *self, struct str message);

struct sessions *sessions_new(struct session_limits limits, struct shared *shared) {
    struct sessions *s = NEW(struct sessions);
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_init(&s->shards[i].lock, NULL);
    pthread_mutex_init(&s->lock, NULL);
    s->limits = limits;
    atomic_init(&s->idle, limits.idle);
    s->shared = shared;
    uint64_t node;
    crypto_random(&node, sizeof node);
    snprintf(s->node, sizeof s->node, "%016llx", (unsigned long long)node);
    err_t e = shared ? shared_subscribe(NULL, shared, notices, on_notice, s, &s->subscription) : OK;
    if (e) /* what other nodes change is then seen an eighth of `idle` later */
        log_warn("sessions hear nothing of other nodes", F("error", e->text));
    return s;
}

void sessions_on_ended(struct sessions *s, session_ended_fn *fn, void *arg) {
    s->on_ended = fn;
    s->on_ended_arg = arg;
}

void sessions_free(struct sessions *s) {
    if (!s)
        return;
    shared_unsubscribe(s->subscription);
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

uint64_t session_profile(struct str name) {
    static const uint64_t key[2] = { 0x6761746573706161, 0x6e2d70726f66696c };
    return hash_keyed(key, name.p, name.n);
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

/* ---- the table --------------------------------------------------------------------- */

static struct str id_of(const struct session *n) {
    return str_from(n->view.id, SESSION_ID);
}

static struct shard *lock_shard(struct sessions *s, struct str id) {
    /* ids are random */
    struct shard *shard = &s->shards[id.n ? (unsigned char)id.p[id.n - 1] % SHARDS : 0];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

static void unlock_shard(struct shard **shard) {
    pthread_mutex_unlock(&(*shard)->lock);
}

static bool is_idle(const struct session *n, nanos before) {
    return n->used < before && (n->view.stream_worker < 0 || n->view.stream_lost);
}

static void session_put(struct sessions *s, struct session *n) {
    SCOPED(unlock_shard) struct shard *shard = lock_shard(s, id_of(n));
    map_put(&shard->map, id_of(n), n);
}

/* Moves it out of the table; *out_view is what it was. */
static bool session_drop(struct sessions *s, struct str id, struct session_view *out_view) {
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_del(&shard->map, id);
    pthread_mutex_unlock(&shard->lock);
    if (!n)
        return false;
    *out_view = n->view;
    count_out(s, n->view.principal);
    free(n);
    return true;
}

/* ---- records ----------------------------------------------------------------------- */

struct record_key {
    char text[sizeof "session/" + SESSION_ID];
};

static struct str record_key(struct str id, struct record_key *k) {
    int n = snprintf(k->text, sizeof k->text, "session/%.*s", STR(id));
    return str_from(k->text, (size_t)n);
}

/* Longer than a session may idle: between two signs of life it does not go. */
static nanos record_life(struct sessions *s) {
    nanos idle = atomic_load(&s->idle);
    return idle + idle / CARE + 1;
}

static void notify(struct task *t, struct sessions *s, const char *word, struct str id) {
    char text[sizeof s->node + 16 + SESSION_ID];
    int n = snprintf(text, sizeof text, "%s %s %.*s", s->node, word, STR(id));
    err_t e = shared_publish(t, s->shared, notices, str_from(text, (size_t)n));
    if (e)
        log_debug("other nodes were not told of a session", F("error", e->text));
}

/* The session's record as it is now; false when there is nothing to write. */
static bool write_record(struct sessions *s, struct str id, struct buf *out,
                         uint32_t *out_changes) {
    SCOPED(unlock_shard) struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    if (!n || !n->shared)
        return false;
    buf_clear(out);
    session_record_write(&n->view, str_from(n->client, strnlen(n->client, SESSION_CLIENT)), out);
    *out_changes = n->changes;
    return true;
}

/* Until what was written is the newest. */
static err_t save(struct task *t, struct sessions *s, struct str id) {
    SCOPED(buf_done) struct buf record = { 0 };
    struct record_key key;
    uint32_t changes, written;
    if (!write_record(s, id, &record, &changes))
        return OK;
    do {
        written = changes;
        TRY(shared_put(t, s->shared, record_key(id, &key), buf_view(&record), record_life(s)));
    } while (write_record(s, id, &record, &changes) && changes != written);
    return OK;
}

/* A change that could not be saved holds here alone until the next one. */
static void save_change(struct task *t, struct sessions *s, struct str id) {
    err_t e = save(t, s, id);
    if (e)
        log_warn("a session's change is known to this node alone", F("error", e->text));
    else
        notify(t, s, "changed", id);
}

enum record { RECORD_GOOD, RECORD_NONE, RECORD_UNKNOWN /* shared state was not reached */ };

/* What shared state knows of an id. */
static enum record read_record(struct task *t, struct sessions *s, struct str id, nanos now,
                               struct session *out) {
    char storage[1024];
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, storage, sizeof storage);
    struct record_key key;
    struct shared_value v;
    struct str client;
    err_t e = shared_get(t, s->shared, &a, record_key(id, &key), &v);
    if (e)
        log_warn("a session could not be looked up", F("error", e->text));
    if (e)
        return RECORD_UNKNOWN;
    if (!v.version || !session_record_read(&a, v.bytes, &out->view, &client))
        return RECORD_NONE;
    memcpy(out->view.id, id.p, SESSION_ID);
    if (client.n)
        memcpy(out->client, client.p, client.n);
    nanos since = record_life(s) - v.left; /* the last sign of life */
    out->used = out->kept = since > 0 ? now - since : now;
    out->shared = true;
    return is_idle(out, now - atomic_load(&s->idle)) ? RECORD_NONE : RECORD_GOOD;
}

static void end_here(struct sessions *s, struct str id) {
    struct session_view gone;
    if (session_drop(s, id, &gone) && s->on_ended)
        s->on_ended(s->on_ended_arg, &gone, true);
}

/* Under the shard's lock; the table has it already: what changed elsewhere. */
static void refresh(struct session *n, const struct session *found) {
    n->view.revision = found->view.revision;
    n->view.asks = found->view.asks;
    n->view.log_level = found->view.log_level;
    n->view.initialized = found->view.initialized;
    n->used = found->used > n->used ? found->used : n->used;
    n->kept = found->kept;
    n->stale = false;
}

/* 0 also where there is none. */
static uint32_t changes_of(struct sessions *s, struct str id) {
    SCOPED(unlock_shard) struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    return n ? n->changes : 0;
}

/* Puts what was found into the table. What was changed here meanwhile is newer. */
static void take_in(struct sessions *s, const struct session *found, uint32_t changes) {
    if (count_in(s, found->view.principal))
        return; /* this node is full */
    struct shard *shard = lock_shard(s, id_of(found));
    struct session *n = map_get(&shard->map, id_of(found));
    if (!n) {
        n = mem_copy(found, sizeof *found);
        map_put(&shard->map, id_of(n), n);
        n = NULL;
    } else if (n->changes == changes) {
        refresh(n, found);
    }
    pthread_mutex_unlock(&shard->lock);
    if (n)
        count_out(s, found->view.principal);
}

/* A session that this table does not know, or not as it is now, comes from shared state. */
static void adopt(struct task *t, struct sessions *s, struct str id, nanos now) {
    struct session found = { 0 };
    uint32_t changes = changes_of(s, id);
    enum record record = read_record(t, s, id, now, &found);
    if (record == RECORD_GOOD)
        take_in(s, &found, changes);
    else if (record == RECORD_NONE)
        end_here(s, id);
}

/* A sign of life. False: the record is gone, so another node ended the session. */
static bool keep(struct task *t, struct sessions *s, struct str id) {
    struct record_key key;
    bool there = true;
    err_t e = shared_touch(t, s->shared, record_key(id, &key), record_life(s), &there);
    if (e)
        log_warn("a session was not kept alive for other nodes", F("error", e->text));
    if (!there)
        end_here(s, id);
    return there;
}

/* ---- opening and finding ------------------------------------------------------------ */

static struct session *session_new(const struct session_start *start, nanos now) {
    struct session *n = NEW(struct session);
    uint8_t random[SESSION_ID * 3 / 4];
    crypto_random(random, sizeof random);
    SCOPED(buf_done) struct buf id = { 0 };
    base64url_put(&id, random, sizeof random);
    n->view = (struct session_view){
        .revision = start->revision, .log_level = -1, .principal = start->principal,
        .profile = start->profile, .asks = start->asks, .in_table = true, .stream_worker = -1,
    };
    memcpy(n->view.id, id.p, SESSION_ID);
    n->used = n->kept = now;
    struct str client = str_head(start->client, SESSION_CLIENT);
    if (client.n)
        memcpy(n->client, client.p, client.n);
    return n;
}

err_t session_open(struct task *t, struct sessions *s, const struct session_start *start, nanos now,
                   struct session_view *out) {
    TRY(count_in(s, start->principal));
    struct session *n = session_new(start, now);
    n->shared = s->shared && !start->bound;
    struct session_view view = n->view, gone;
    session_put(s, n);
    err_t e = save(t, s, str_from(view.id, SESSION_ID));
    if (e) {
        session_drop(s, str_from(view.id, SESSION_ID), &gone);
        return err_wrap(e, "opening a session");
    }
    *out = view;
    return OK;
}

enum found { FOUND, NOT_HERE, NOT_THEIRS };

/* stale: what another node changed meanwhile is not waited for. *out_keep: it is time for a sign
 * of life. */
static enum found find_here(struct sessions *s, struct str id, uint64_t principal, uint64_t profile,
                            nanos now, bool stale, struct session_view *out, bool *out_keep) {
    nanos idle = atomic_load_explicit(&s->idle, memory_order_relaxed);
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    enum found found = !n || (n->stale && !stale) || is_idle(n, now - idle) ? NOT_HERE
                       : n->view.principal == principal && n->view.profile == profile ? FOUND
                                                                                      : NOT_THEIRS;
    if (found == FOUND) {
        n->used = now;
        *out = n->view;
        *out_keep = n->shared && now - n->kept > idle / CARE;
        if (*out_keep)
            n->kept = now;
    }
    pthread_mutex_unlock(&shard->lock);
    return found;
}

bool session_find(struct task *t, struct sessions *s, struct str id, uint64_t principal,
                  uint64_t profile, nanos now, struct session_view *out) {
    bool due = false;
    enum found found = find_here(s, id, principal, profile, now, false, out, &due);
    if (found == FOUND && !due)
        return true;
    if (found == NOT_HERE && s->shared && id.n == SESSION_ID) {
        adopt(t, s, id, now);
        found = find_here(s, id, principal, profile, now, true, out, &due);
    }
    return found == FOUND && (!due || keep(t, s, id));
}

bool session_lives(struct sessions *s, struct str id) {
    SCOPED(unlock_shard) struct shard *shard = lock_shard(s, id);
    return map_get(&shard->map, id);
}

/* ---- changes ------------------------------------------------------------------------ */

/* With the shard locked: the session, or NULL. */
static struct session *lock_session(struct sessions *s, struct str id, struct shard **out_shard) {
    *out_shard = lock_shard(s, id);
    return map_get(&(*out_shard)->map, id);
}

/* The end of a change to a member of n's view: unlocks, and writes the record. */
#define SET(t, s, id, member, to)                                                    \
    ({                                                                               \
        struct shard *shard_;                                                        \
        struct session *n_ = lock_session((s), (id), &shard_);                       \
        bool save_ = n_ && n_->shared && n_->view.member != (to);                    \
        if (n_) {                                                                    \
            n_->view.member = (to);                                                  \
            n_->changes++;                                                           \
        }                                                                            \
        pthread_mutex_unlock(&shard_->lock);                                         \
        if (save_)                                                                   \
            save_change((t), (s), (id));                                             \
        n_ != NULL;                                                                  \
    })

bool session_set_initialized(struct task *t, struct sessions *s, struct str id) {
    return SET(t, s, id, initialized, true);
}

bool session_set_asks(struct task *t, struct sessions *s, struct str id, unsigned asks) {
    return SET(t, s, id, asks, asks);
}

bool session_set_level(struct task *t, struct sessions *s, struct str id, int level) {
    return SET(t, s, id, log_level, level);
}

bool session_close(struct task *t, struct sessions *s, struct str id, uint64_t principal) {
    struct shard *shard;
    struct session *n = lock_session(s, id, &shard);
    bool ours = n && n->view.principal == principal;
    if (ours)
        map_del(&shard->map, id);
    pthread_mutex_unlock(&shard->lock);
    if (!ours)
        return false;
    count_out(s, principal);
    if (n->shared) {
        struct record_key key;
        err_t e = shared_remove(t, s->shared, record_key(id_of(n), &key), NULL);
        if (e)
            log_warn("a session ended on this node alone", F("error", e->text));
        notify(t, s, "closed", id_of(n));
    }
    free(n);
    return true;
}

/* ---- GET streams -------------------------------------------------------------------- */

bool session_set_stream(struct sessions *s, struct str id, int worker, uint64_t stream) {
    struct shard *shard;
    struct session *n = lock_session(s, id, &shard);
    if (n) {
        n->view.stream_worker = worker;
        n->view.stream = stream;
        n->view.stream_lost = false;
    }
    pthread_mutex_unlock(&shard->lock);
    return n;
}

void session_lose_stream(struct sessions *s, struct str id, uint64_t stream, nanos now) {
    struct shard *shard = lock_shard(s, id);
    struct session *n = map_get(&shard->map, id);
    if (n && n->view.stream == stream) {
        n->view.stream_lost = true;
        n->used = now;
    }
    pthread_mutex_unlock(&shard->lock);
}

void session_clear_stream(struct sessions *s, struct str id, uint64_t stream, nanos now) {
    struct shard *shard;
    struct session *n = lock_session(s, id, &shard);
    if (n && n->view.stream == stream) {
        n->view.stream_worker = -1;
        n->used = now;
    }
    pthread_mutex_unlock(&shard->lock);
}

void session_tell_stream(struct task *t, struct sessions *s, struct str id) {
    if (s->shared)
        notify(t, s, "stream", id);
}

/* ---- notices of other nodes --------------------------------------------------------- */

static void mark_stale(struct sessions *s, struct str id) {
    struct shard *shard;
    struct session *n = lock_session(s, id, &shard);
    if (n)
        n->stale = true;
    pthread_mutex_unlock(&shard->lock);
}

static bool view_of(struct sessions *s, struct str id, struct session_view *out) {
    struct shard *shard;
    struct session *n = lock_session(s, id, &shard);
    if (n)
        *out = n->view;
    pthread_mutex_unlock(&shard->lock);
    return n;
}

/* "<node> <word> <id>"; words of newer versions are passed over. */
static void on_notice(void *self, struct str message) {
    struct sessions *s = self;
    struct session_view view;
    struct str node = str_cut(&message, ' '), word = str_cut(&message, ' '), id = message;
    if (str_eq(node, str_of(s->node)) || id.n != SESSION_ID)
        return;
    if (str_eq(word, S("changed")))
        mark_stale(s, id);
    else if (str_eq(word, S("closed")))
        end_here(s, id);
    else if (str_eq(word, S("stream")) && view_of(s, id, &view) && s->on_ended)
        s->on_ended(s->on_ended_arg, &view, false);
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
        map_del(&shard->map, id_of(found));
    pthread_mutex_unlock(&shard->lock);
    return found;
}

/* A session with a GET stream whose record wants a sign of life. */
static bool take_due(struct shard *shard, nanos before, nanos now, char out_id[SESSION_ID]) {
    struct session *due = NULL;
    struct str key;
    void *value;
    pthread_mutex_lock(&shard->lock);
    for (size_t at = 0; !due && map_next(&shard->map, &at, &key, &value);) {
        struct session *n = value;
        if (n->shared && n->view.stream_worker >= 0 && n->kept < before)
            due = n;
    }
    if (due) {
        due->kept = now;
        memcpy(out_id, due->view.id, SESSION_ID);
    }
    pthread_mutex_unlock(&shard->lock);
    return due;
}

static size_t expire_shard(struct task *t, struct sessions *s, struct shard *shard, nanos now) {
    nanos limit = atomic_load(&s->idle);
    size_t n = 0;
    struct session *idle;
    while ((idle = take_idle(shard, now - limit))) {
        count_out(s, idle->view.principal);
        free(idle);
        n++;
    }
    char id[SESSION_ID];
    while (s->shared && take_due(shard, now - limit / CARE, now, id))
        keep(t, s, str_from(id, SESSION_ID));
    return n;
}

size_t sessions_expire(struct task *t, struct sessions *s, nanos now) {
    size_t n = 0;
    for (int i = 0; i < SHARDS; i++)
        n += expire_shard(t, s, &s->shards[i], now);
    return n;
}
