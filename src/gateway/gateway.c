/* gateway.c - see gateway.h. */
#include "gateway/gateway.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/limit.h"
#include "gateway/metrics.h"
#include "gateway/park.h"
#include "gateway/resume.h"
#include "gateway/stream.h"
#include "gateway/subscribe.h"
#include "gateway/tasks.h"
#include "gateway/tool_check.h"

/* ---- snapshots --------------------------------------------------------------------- */

void snapshot_free(void *snapshot) {
    struct snapshot *s = snapshot;
    catalogue_free(s->catalogue);
    for (size_t i = 0; i < s->upstream_count; i++)
        upstream_unref(s->upstreams[i]);
    held_conf_unref(s->held);
    struct arena a = s->arena; /* the snapshot itself lies in it */
    arena_done(&a);
}

bool snapshot_profile(const struct snapshot *s, struct str name, const struct profile_conf **out) {
    *out = NULL;
    if (!name.n)
        return true;
    const struct profile_conf *profiles = s->conf->profiles.items;
    for (size_t i = 0; i < s->conf->profiles.n; i++)
        if (str_eq(profiles[i].name, name))
            *out = &profiles[i];
    return *out != NULL;
}

static bool is_granted(const struct str_list *names, struct str name) {
    for (size_t i = 0; i < names->n; i++)
        if (str_eq(names->items[i], name))
            return true;
    return names->n == 0;
}

bool snapshot_profile_for(const struct snapshot *s, const struct principal *who, struct str name,
                          const struct profile_conf **out) {
    return snapshot_profile(s, name, out) && is_granted(&who->grants.profiles, name);
}

static void keys_free(void *index) {
    key_index_free(index);
}

/* ---- the process ------------------------------------------------------------------- */

static void on_session_ended(void *gateway, const struct session_view *session, bool gone) {
    stream_end_session(gateway, session);
    if (gone)
        resume_end_session(gateway, session);
}

struct gateway *gateway_new(struct workers *all, struct seal_ring ring, struct shared *shared,
                            struct session_limits limits) {
    struct gateway *g = NEW(struct gateway);
    gateway_metrics_register();
    g->all = all;
    g->ring = ring;
    g->snapshots = publication_new(all, snapshot_free);
    g->keys = publication_new(all, keys_free);
    g->shared = shared;
    g->sessions = sessions_new(limits, shared);
    sessions_on_ended(g->sessions, on_session_ended, g);
    g->limits = limits_new();
    g->parking = parking_new();
    g->tasks = tasks_new();
    g->subscribers = subscribers_new();
    crypto_random(&g->node, sizeof g->node);
    crypto_random(g->event_key, sizeof g->event_key);
    g->workers = NEW_ARRAY(struct gateway_worker *, workers_count(all) + 1);
    g->started = clock_mono();
    gateway_read_clock(g);
    return g;
}

void gateway_read_clock(struct gateway *g) {
    __atomic_store_n(&g->wall_offset, clock_wall() - clock_mono(), __ATOMIC_RELAXED);
}

void gateway_free(struct gateway *g) {
    if (!g)
        return;
    publication_free(g->snapshots);
    publication_free(g->keys);
    sessions_free(g->sessions);
    limits_free(g->limits);
    parking_free(g->parking);
    tasks_free(g->tasks);
    subscribers_free(g->subscribers);
    free(g->workers);
    crypto_wipe(&g->ring, sizeof g->ring);
    free(g);
}

void gateway_worker_start(struct gateway *g, struct worker *w) {
    struct gateway_worker *gw = NEW(struct gateway_worker);
    gw->gateway = g;
    gw->worker = w;
    gw->keys = key_cache_new(4096);
    gw->resume = resume_new(gw);
    g->workers[w->index] = gw;
    w->slots[WORKER_GATEWAY] = gw;
}

/* ---- what depends on one catalogue ------------------------------------------------- */

static void view_free(struct view *v) {
    if (v)
        free(v->access);
    free(v);
}

static void forget_views(struct gateway_worker *gw) {
    uint64_t key;
    void *value;
    for (size_t i = 0; idmap_next(&gw->views, &i, &key, &value);)
        view_free(value);
    idmap_done(&gw->views);
    struct str name;
    for (size_t i = 0; map_next(&gw->pages, &i, &name, &value);)
        free(value);
    map_done(&gw->pages);
    gw->page_bytes = 0;
    tool_checks_free(TAKE(gw->tool_checks), gw->tool_series_count);
    free(gw->tool_series);
    gw->tool_series = NULL;
    gw->tool_series_count = 0;
}

void gateway_worker_stop(struct gateway *g, struct worker *w) {
    struct gateway_worker *gw = gateway_here(w);
    if (!gw)
        return;
    forget_views(gw);
    key_cache_free(gw->keys);
    parked_end_all(gw, false);
    resume_free(gw->resume);
    idmap_done(&gw->questions);
    g->workers[w->index] = NULL;
    w->slots[WORKER_GATEWAY] = NULL;
    free(gw);
}

static struct view *view_new(struct gateway_worker *gw, const struct snapshot *s,
                             const struct principal *who, const struct profile_conf *profile,
                             uint64_t key) {
    struct view *v = NEW(struct view);
    v->key = key;
    v->access = access_compile(s->catalogue, s->sources, profile, &who->grants.allow,
                               &who->grants.deny);
    if (who->grants.rate.per_second > 0)
        v->limit = limits_find(gw->gateway->limits, who->digest, who->grants.rate.per_second,
                               who->grants.burst);
    view_free(idmap_put(&gw->views, key, v)); /* there is one only of an old catalogue */
    return v;
}

bool gateway_is_full(const struct gateway_worker *gw, const struct snapshot *s) {
    size_t all = (size_t)s->conf->limits.in_flight;
    return gw->in_flight >= (all - 1) / workers_count(gw->gateway->all) + 1;
}

struct view *gateway_view(struct gateway_worker *gw, const struct snapshot *s,
                          const struct principal *who, const struct profile_conf *profile) {
    if (gw->generation != s->generation) {
        if (gw->generation > s->generation) { /* an old request: it may not evict the new views */
            struct view *v = view_new(gw, s, who, profile,
                                      who->digest ^ who->rights ^ s->generation);
            return v;
        }
        forget_views(gw);
        gw->generation = s->generation;
        gw->tool_series_count = s->catalogue->total;
        gw->tool_series = NEW_ARRAY(metric_series, s->catalogue->total + 1);
    }
    uint64_t key = who->digest ^ who->rights ^ (profile ? hash_str(profile->name) : 0);
    struct view *v = idmap_get(&gw->views, key);
    return v ? v : view_new(gw, s, who, profile, key);
}

/* ---- publishing -------------------------------------------------------------------- */

static void tell_streams(struct worker *w, struct mail *m) {
    streams_tell_changes(gateway_here(w));
    free(m);
    worker_run_ready(w);
}

/* Mail keeps its order: every worker has what was published before it is told. */
static void tell_all(struct gateway *g, void (*deliver)(struct worker *w, struct mail *m)) {
    for (unsigned i = 0; i < workers_count(g->all); i++) {
        struct mail *m = NEW(struct mail);
        m->deliver = deliver;
        if (!worker_post(workers_at(g->all, i), m))
            free(m);
    }
}

void gateway_publish(struct gateway *g, struct snapshot *s) {
    publication_set(NULL, g->snapshots, s);
    tell_all(g, tell_streams);
}

struct update {
    struct mail mail;
    size_t n;
    char shown[];
};

static void tell_update(struct worker *w, struct mail *m) {
    struct update *u = (struct update *)m;
    streams_tell_update(gateway_here(w), str_from(u->shown, u->n));
    free(u);
    worker_run_ready(w);
}

void gateway_resource_updated(struct gateway *g, struct str shown) {
    for (unsigned i = 0; i < workers_count(g->all); i++) {
        struct update *u = mem_alloc(sizeof *u + shown.n);
        *u = (struct update){ .mail = { .deliver = tell_update, .bytes = sizeof *u + shown.n },
                              .n = shown.n };
        memcpy(u->shown, shown.p, shown.n);
        if (!worker_post(workers_at(g->all, i), &u->mail))
            free(u);
    }
}

static void end_revoked(struct worker *w, struct mail *m) {
    streams_end_revoked(gateway_here(w));
    free(m);
    worker_run_ready(w);
}

err_t gateway_publish_keys(struct task *t, struct gateway *g, struct key_index *k) {
    TRY(publication_set(t, g->keys, k));
    tell_all(g, end_revoked);
    return OK;
}
