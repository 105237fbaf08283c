/* upstream_keep.c - the keeper: one task per upstream, on its home worker, that starts
 * it, shakes hands, lists what it offers, waits for changes, and begins again with a
 * growing pause when it is lost. Nobody else waits for any of this. */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/subscribe.h"
#include "gateway/upstream.h"

enum { MAX_PAGES = 1000, MAX_ITEMS = 50000 };

static const struct {
    enum method list;
    enum item_kind kind;
} lists[] = {
    { METHOD_TOOLS_LIST, ITEM_TOOL },
    { METHOD_PROMPTS_LIST, ITEM_PROMPT },
    { METHOD_RESOURCES_LIST, ITEM_RESOURCE },
    { METHOD_TEMPLATES_LIST, ITEM_TEMPLATE },
};

static bool offers(const struct capabilities *has, enum method list) {
    switch (method_feature(list)) {
    case FEATURE_TOOLS: return has->tools;
    case FEATURE_PROMPTS: return has->prompts;
    default: return has->resources;
    }
}

/* All pages of one list (P-617: bounded, a cursor that came before ends it). */
static err_t read_list(struct task *t, struct upstream *u, struct part *p, enum method list,
                       enum item_kind kind) {
    SCOPED(idmap_done) struct idmap cursors = { 0 }; /* by their hashes */
    SCOPED(buf_done) struct buf result = { 0 };
    SCOPED(buf_done) struct buf params = { 0 };
    for (int page = 0; page < MAX_PAGES && p->counts[kind] < MAX_ITEMS; page++) {
        buf_clear(&result);
        TRY(upstream_ask(t, u, list, buf_view(&params), &result));
        struct str cursor = { 0 };
        TRY_WRAP(part_add_page(p, list, buf_view(&result), &cursor), "%.*s",
                 STR(method_name(list)));
        if (!cursor.p)
            return OK;
        if (idmap_put(&cursors, hash_str(cursor), p))
            return ERR(UPSTREAM, "%.*s repeats the cursor %.*s", STR(method_name(list)),
                       STR(str_head(cursor, 80)));
        buf_clear(&params);
        buf_fmt(&params, "{\"cursor\":%.*s}", STR(cursor));
    }
    log_warn("list cut", F("upstream", u->conf->name), F("list", method_name(list)),
             F("items", (int64_t)p->counts[kind]));
    return OK;
}

static void part_scope(struct part **p) {
    part_unref(*p);
}

/* Everything it offers becomes its new part; on_change tells the control worker. */
static err_t read_lists(struct task *t, struct upstream *u) {
    SCOPED(part_scope) struct part *p = part_new(u->conf->name);
    p->revision = u->info.revision;
    p->has = u->info.has;
    p->instructions = arena_dup(&p->arena, u->info.instructions);
    p->server_info = arena_dup(&p->arena, u->info.server_info);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        if (!offers(&u->info.has, lists[i].list))
            continue;
        err_t e = read_list(t, u, p, lists[i].list, lists[i].kind);
        /* a server with resources but no templates method is common: not a failure */
        if (e && lists[i].kind == ITEM_TEMPLATE && e->kind == ERR_UPSTREAM)
            continue;
        TRY(e);
    }
    struct part *known = upstream_part(u);
    bool same = known && part_equal(known, p);
    part_unref(known);
    if (!same)
        upstream_set_part(u, TAKE(p));
    bool was_ready = atomic_load(&u->state) == UP_READY;
    upstream_set_state(u, UP_READY, "");
    if (!same && was_ready && u->on_change)
        u->on_change(u, u->on_change_arg);
    return OK;
}

static err_t serve_until_lost(struct task *t, struct upstream *u, unsigned *streak) {
    TRY(u->ops->start(t, u));
    arena_reset(&u->info_arena);
    TRY(u->ops->probe(t, u));
    atomic_store(&u->revision, (int)u->info.revision);
    atomic_store(&u->takes_levels,
                 u->info.has.logging && revision_era(u->info.revision) == ERA_LEGACY);
    log_info("upstream connected", F("upstream", u->conf->name), F("kind", u->ops->kind),
             F("revision", revision_text(u->info.revision)));
    TRY(read_lists(t, u));
    watched_restore(t, u);
    for (;;) {
        *streak = 0;
        TRY(u->ops->watch(t, u));
        TRY(read_lists(t, u));
    }
}

static nanos pause_after(struct upstream *u, struct worker *w, unsigned streak) {
    nanos pause = u->conf->restart_backoff;
    for (unsigned i = 1; i < streak && pause < u->conf->restart_backoff_max; i++)
        pause *= 2;
    if (pause > u->conf->restart_backoff_max)
        pause = u->conf->restart_backoff_max;
    return pause / 2 + (nanos)(worker_random(w) % (uint64_t)(pause / 2 + 1));
}

static bool gives_up(struct upstream *u, unsigned streak) {
    return u->conf->restart_limit && streak >= (unsigned)u->conf->restart_limit;
}

static void report_loss(struct upstream *u, const struct err *why, unsigned streak, bool final) {
    char reason[256];
    snprintf(reason, sizeof reason, "%.200s%s", why->text,
             final ? " (given up; reload to try again)" : "");
    log_warn("upstream failed", F("upstream", u->conf->name), F("error", why->text),
             F("failures", streak), F("given_up", final));
    atomic_fetch_add(&u->failures, 1);
    metric_add(METRIC_SERIES(&metric_upstream_failures, u->conf->name), 1);
    upstream_set_state(u, UP_FAILED, reason);
}

static void stop_kind(struct task *t, struct upstream *u) {
    SCOPED(shield_scope) struct shield shield = task_shield(t, u->conf->stop_grace + 2 * NANOS_SEC);
    u->ops->stop(t, u);
}

static void keep(struct task *t, void *arg) {
    struct upstream *u = arg;
    u->keeper = t;
    for (unsigned streak = 0; !u->stopping;) {
        err_t e = serve_until_lost(t, u, &streak);
        struct err why = *e;
        stop_kind(t, u);
        if (u->stopping || why.kind == ERR_CANCELLED)
            break;
        streak++;
        report_loss(u, &why, streak, gives_up(u, streak));
        if (gives_up(u, streak) || task_sleep(t, pause_after(u, task_worker(t), streak)))
            break;
        atomic_fetch_add(&u->restarts, 1);
    }
    u->keeper = NULL;
    upstream_unref(u);
}

/* ---- from other threads ------------------------------------------------------------ */

struct order { /* start or stop, as mail to the home worker */
    struct mail mail;
    struct upstream *upstream;
};

static void on_start(struct worker *w, struct mail *m) {
    struct order *o = (struct order *)m;
    struct upstream *u = o->upstream; /* the reference goes to the keeper */
    free(o);
    if (u->stopping || u->keeper || !task_spawn(w, keep, u))
        upstream_unref(u);
    worker_run_ready(w);
}

static void on_stop(struct worker *w, struct mail *m) {
    struct order *o = (struct order *)m;
    o->upstream->stopping = true;
    if (o->upstream->keeper)
        task_cancel(o->upstream->keeper);
    upstream_unref(o->upstream);
    free(o);
    worker_run_ready(w);
}

static void send_order(struct upstream *u, void (*deliver)(struct worker *, struct mail *)) {
    struct order *o = NEW(struct order);
    *o = (struct order){ .mail.deliver = deliver, .upstream = upstream_ref(u) };
    if (worker_post(workers_at(u->all, u->home), &o->mail))
        return;
    upstream_unref(u);
    free(o);
}

void upstream_start(struct upstream *u) {
    send_order(u, on_start);
}

void upstream_stop(struct upstream *u) {
    upstream_set_state(u, UP_STOPPED, "stopped");
    send_order(u, on_stop);
}
