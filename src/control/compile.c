/* compile.c - from configuration and live upstreams to the snapshot that workers read.
 * Upstreams whose specification did not change are kept as they are (DESIGN decision 8). */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/private.h"
#include "gateway/task_told.h"

enum { PART_LIMIT = 64 * 1024 * 1024 };
#define SETTLE (100 * NANOS_MS)

/* ---- upstreams --------------------------------------------------------------------- */

struct note {
    struct mail mail;
    struct control *control;
    struct upstream *upstream;
};

static struct str part_path(struct control *c, struct arena *a, struct str name) {
    return arena_fmt(a, "%.*s/catalogue/%.*s.json", STR(c->data), STR(name));
}

static err_t save_part(void *arg, const bool *cancelled) {
    struct note *n = arg;
    struct part *p = upstream_part(n->upstream);
    if (!p || p->stale || n->upstream->builtin) {
        part_unref(p);
        return OK;
    }
    struct arena a;
    arena_init(&a, NULL, 0);
    SCOPED(buf_done) struct buf text = { 0 };
    part_write(&text, p);
    err_t e = file_write(part_path(n->control, &a, n->upstream->conf->name), buf_view(&text));
    if (e)
        log_warn("catalogue not saved", F("upstream", n->upstream->conf->name),
                 F("error", e->text));
    arena_done(&a);
    part_unref(p);
    return OK;
}

static void run_save(struct task *t, void *arg) {
    struct note *n = arg;
    work_run(t, save_part, n);
    upstream_unref(n->upstream);
    free(n);
}

static void on_note(struct worker *w, struct mail *m) {
    struct note *n = (struct note *)m;
    snapshot_publish_soon(n->control);
    opening_look(n->control); /* a start waits for nothing else: not for a tick of the clock */
    if (atomic_load(&n->upstream->state) != UP_READY || !task_spawn(w, run_save, n)) {
        upstream_unref(n->upstream);
        free(n);
    }
    worker_run_ready(w);
}

/* Any worker: tells the control worker. */
static void on_updated(struct upstream *u, struct str shown, void *arg) {
    gateway_resource_updated(((struct control *)arg)->gateway, shown);
}

static void on_task(struct upstream *u, uint64_t share, struct str params, void *arg) {
    task_told(((struct control *)arg)->gateway, u, share, params);
}

static void on_change(struct upstream *u, void *arg) {
    struct control *c = arg;
    struct note *n = NEW(struct note);
    *n = (struct note){ .mail.deliver = on_note, .control = c, .upstream = upstream_ref(u) };
    if (worker_post(c->worker, &n->mail))
        return;
    upstream_unref(u);
    free(n);
}

static void load_last_known(struct control *c, struct upstream *u) {
    if (!c->data.n)
        return;
    struct arena a;
    arena_init(&a, NULL, 0);
    SCOPED(buf_done) struct buf text = { 0 };
    struct part *p = NULL;
    bool missing = true;
    err_t e = file_read(part_path(c, &a, u->conf->name), PART_LIMIT, &text, &missing);
    if (!e && !missing)
        e = part_read(buf_view(&text), &p);
    if (e)
        log_warn("last known catalogue is unreadable", F("upstream", u->conf->name),
                 F("error", e->text));
    else if (p)
        upstream_set_part(u, p);
    arena_done(&a);
}

/* One that was given up gets another try. */
static struct upstream *keep(struct upstream *u) {
    if (atomic_load(&u->state) == UP_FAILED)
        upstream_start(u);
    return u;
}

static struct upstream *start_new(struct control *c, const struct upstream_conf *conf) {
    struct upstream *u = upstream_new(conf, c->all, c->warden, c->data);
    u->on_change = on_change;
    u->on_updated = on_updated;
    u->on_task = on_task;
    u->on_change_arg = c;
    load_last_known(c, u);
    upstream_start(u);
    return u;
}

static struct upstream *keep_or_start(struct control *c, const struct upstream_conf *conf) {
    uint8_t digest[SHA256_SIZE];
    upstream_conf_digest(conf, digest);
    for (size_t i = 0; i < c->upstream_count; i++)
        if (c->upstreams[i] && memcmp(c->upstreams[i]->digest, digest, sizeof digest) == 0)
            return keep(TAKE(c->upstreams[i]));
    return start_new(c, conf);
}

struct farewell {
    struct mail mail;
    struct upstream *upstream;
};

static void on_farewell(struct worker *w, struct mail *m) {
    struct farewell *f = (struct farewell *)m;
    if (f->upstream->ops->side_close)
        f->upstream->ops->side_close(w, f->upstream);
    upstream_unref(f->upstream);
    free(f);
    worker_run_ready(w);
}

/* Each worker lets go of its side; calls in flight keep their own references. */
static void say_farewell(struct control *c, struct upstream *u) {
    upstream_stop(u);
    for (unsigned i = 0; i < workers_count(c->all); i++) {
        struct farewell *f = NEW(struct farewell);
        *f = (struct farewell){ .mail.deliver = on_farewell, .upstream = upstream_ref(u) };
        if (worker_post(workers_at(c->all, i), &f->mail))
            continue;
        upstream_unref(u);
        free(f);
    }
    upstream_unref(u);
}

void upstreams_apply(struct control *c, const struct gateway_conf *conf) {
    const struct upstream_conf *wanted = conf->upstreams.items;
    struct upstream **next = NEW_ARRAY(struct upstream *, conf->upstreams.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < conf->upstreams.n; i++)
        if (wanted[i].enabled)
            next[n++] = keep_or_start(c, &wanted[i]);
    for (size_t i = 0; i < c->upstream_count; i++)
        if (c->upstreams[i])
            say_farewell(c, c->upstreams[i]);
    free(c->upstreams);
    c->upstreams = next;
    c->upstream_count = n;
}

/* A new object in the place of the old one, which ends as after a change of the file. */
bool upstream_restart(struct control *c, struct str name) {
    for (size_t i = 0; i < c->upstream_count; i++) {
        struct upstream *old = c->upstreams[i];
        if (!str_eq(old->conf->name, name))
            continue;
        c->upstreams[i] = start_new(c, old->conf);
        atomic_store(&c->upstreams[i]->restarts, atomic_load(&old->restarts) + 1);
        say_farewell(c, old);
        snapshot_publish(c);
        return true;
    }
    return false;
}

/* ---- snapshots --------------------------------------------------------------------- */

static void fill_sources(struct control *c, struct snapshot *s) {
    s->upstreams = ARENA_ARRAY(&s->arena, struct upstream *, c->upstream_count + 1);
    s->sources = ARENA_ARRAY(&s->arena, struct catalogue_source, c->upstream_count + 1);
    s->upstream_count = c->upstream_count;
    for (size_t i = 0; i < c->upstream_count; i++) {
        struct upstream *u = c->upstreams[i];
        bool ready = atomic_load(&u->state) == UP_READY; /* first: then its part is there as well */
        s->upstreams[i] = upstream_ref(u);
        s->sources[i] = (struct catalogue_source){
            .conf = u->conf, .part = upstream_part(u), .missing = !ready };
    }
}

/* By what was published, not by what became of them since: who is told "ready" calls. */
static bool required_are_served(const struct snapshot *s) {
    for (size_t i = 0; i < s->upstream_count; i++)
        if (s->upstreams[i]->conf->required && s->sources[i].missing)
            return false;
    return true;
}

static void mark_served(const struct snapshot *s) {
    for (size_t i = 0; i < s->upstream_count; i++)
        if (!s->sources[i].missing)
            upstream_served(s->upstreams[i]);
}

void snapshot_publish(struct control *c) {
    timer_unset(c->worker, &c->rebuild);
    struct arena a;
    arena_init(&a, NULL, 0);
    struct snapshot *s = ARENA_NEW(&a, struct snapshot);
    s->held = held_conf_ref(c->held);
    s->conf = c->held->conf;
    s->arena = a;
    s->server_info = S(
        "{\"name\":\"gatespan\",\"title\":\"Gatespan\",\"version\":\"" GATESPAN_VERSION "\"}");
    fill_sources(c, s);
    s->generation = ++c->generation;
    s->made = worker_now(c->worker);
    s->catalogue = catalogue_new(s->sources, s->upstream_count, s->conf->instructions,
                                 s->generation);
    for (size_t i = 0; i < s->upstream_count; i++)
        part_unref(s->sources[i].part); /* the catalogue holds its own reference */
    log_debug("snapshot published", F("generation", (int64_t)s->generation),
              F("tools", (int64_t)s->catalogue->counts[ITEM_TOOL]),
              F("prompts", (int64_t)s->catalogue->counts[ITEM_PROMPT]),
              F("resources", (int64_t)s->catalogue->counts[ITEM_RESOURCE]));
    bool ready = required_are_served(s);
    gateway_publish(c->gateway, s);
    mark_served(s);
    atomic_store(&c->gateway->ready, ready);
    stdio_published(c);
}

void snapshot_publish_soon(struct control *c) {
    if (!timer_is_set(&c->rebuild))
        timer_set(c->worker, &c->rebuild, worker_now(c->worker) + SETTLE);
}

/* ---- health ------------------------------------------------------------------------ */

static void write_upstream(struct jw *w, struct upstream *u) {
    char reason[256];
    enum upstream_state state = upstream_state_served(u, reason);
    int revision = atomic_load(&u->revision);
    struct part *p = upstream_part(u);
    jw_object(w);
    jw_put_string(w, "name", u->conf->name);
    jw_put_string(w, "kind", str_of(u->ops->kind));
    jw_put_string(w, "state", str_of(upstream_state_word(state)));
    jw_put_bool(w, "required", u->conf->required);
    if (revision != REV_NONE)
        jw_put_string(w, "revision", revision_text((enum revision)revision));
    if (reason[0])
        jw_put_string(w, "reason", str_of(reason));
    jw_put_int(w, "failures", atomic_load(&u->failures));
    jw_put_int(w, "restarts", atomic_load(&u->restarts));
    jw_put_int(w, "tools", p ? (int64_t)p->counts[ITEM_TOOL] : 0);
    jw_put_int(w, "prompts", p ? (int64_t)p->counts[ITEM_PROMPT] : 0);
    jw_put_int(w, "resources", p ? (int64_t)p->counts[ITEM_RESOURCE] : 0);
    jw_put_int(w, "templates", p ? (int64_t)p->counts[ITEM_TEMPLATE] : 0);
    jw_put_bool(w, "lastKnown", p && p->stale);
    jw_object_end(w);
    part_unref(p);
}

static bool everything_up(const struct snapshot *s) {
    char reason[256];
    for (size_t i = 0; i < s->upstream_count; i++)
        if (upstream_state_served(s->upstreams[i], reason) != UP_READY)
            return false;
    return true;
}

bool control_health(struct control *c, const struct snapshot *s, struct buf *out, bool detailed) {
    bool ready = atomic_load(&c->gateway->ready) && !atomic_load(&c->gateway->draining);
    const char *status = !ready ? "not_ready" : everything_up(s) ? "ok" : "degraded";
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "status", str_of(status));
    jw_put_string(&w, "version", S(GATESPAN_VERSION));
    if (detailed) {
        jw_put_int(&w, "uptimeSeconds", (clock_mono() - c->gateway->started) / NANOS_SEC);
        jw_put_int(&w, "sessions", (int64_t)sessions_count(c->gateway->sessions));
        jw_key(&w, S("upstreams"));
        jw_array(&w);
        for (size_t i = 0; i < s->upstream_count; i++)
            write_upstream(&w, s->upstreams[i]);
        jw_array_end(&w);
    }
    jw_object_end(&w);
    return ready;
}
