/* reload.c - a new configuration while running: on SIGHUP and when the file changes, whole
 * or not at all; what is wrong is logged and the running configuration stays. */
#include "base/log.h"
#include "base/mem.h"
#include "control/metrics.h"
#include "control/private.h"
#include <stdio.h>
#include <sys/stat.h>

#define SETTLE (200 * NANOS_MS)

/* ---- what may not change ----------------------------------------------------------- */

struct changes {
    struct arena *a;
    struct str restart; /* options that cannot change while running, "listen, workers" */
};

static void note_restart(void *arg, struct str path, const struct field *row, const void *was,
                         const void *is) {
    struct changes *c = arg;
    if (row->flags & FIELD_RESTART)
        c->restart = arena_fmt(c->a, "%.*s%s%.*s", STR(c->restart), c->restart.n ? ", " : "",
                               STR(path));
}

static void each_change(const struct gateway_conf *was, const struct gateway_conf *is,
                        struct arena *a, field_changed *tell, void *arg) {
    field_diff(gateway_fields, gateway_field_count, was, is, S(""), a, tell, arg);
}

static err_t check_restart(const struct gateway_conf *now, const struct gateway_conf *next) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct changes c = { .a = &a };
    each_change(now, next, &a, note_restart, &c);
    if (!now->tls.cert_file.n != !next->tls.cert_file.n)
        c.restart = arena_fmt(&a, "%.*s%stls (on or off)", STR(c.restart), c.restart.n ? ", " : "");
    if (c.restart.n)
        return ERR(CONFLICT,
                   "%.*s cannot change while running: restart the gateway, or take the change back",
                   STR(c.restart));
    return OK;
}

/* ---- what changed ------------------------------------------------------------------- */

/* Desktop clients' sections are told as the upstreams that they become. */
static void log_change(void *arg, struct str path, const struct field *row, const void *was,
                       const void *is) {
    struct arena *a = arg;
    if (row->flags & FIELD_HIDDEN)
        return;
    if (row->type == FIELD_MAP)
        log_info("configuration changed", F("option", path), F("change", is ? "added" : "removed"));
    else
        log_info("configuration changed", F("option", path), F("old", field_show(row, was, a)),
                 F("new", field_show(row, is, a)));
}

static void log_changes(const struct gateway_conf *was, const struct gateway_conf *is) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    each_change(was, is, &a, log_change, &a);
}

/* ---- to the workers ---------------------------------------------------------------- */

struct server_order {
    struct mail mail;
    struct control *control;
    struct http_server_conf conf; /* holds a reference on its TLS context */
    size_t buffers;
};

static void on_server_order(struct worker *w, struct mail *m) {
    struct server_order *o = (struct server_order *)m;
    struct http_server *server = o->control->servers[w->index];
    net_limit(w, o->buffers);
    if (server) /* else it opens later, with what runs then */
        http_server_configure(server, &o->conf);
    tls_context_unref(o->conf.tls);
    free(o);
}

static void configure_servers(struct control *c, const struct gateway_conf *conf) {
    for (unsigned i = 0; i < workers_count(c->all); i++) {
        struct server_order *o = NEW(struct server_order);
        o->mail.deliver = on_server_order;
        o->control = c;
        o->buffers = buffers_of(conf);
        server_conf_of(c, conf, &o->conf);
        if (o->conf.tls)
            tls_context_ref(o->conf.tls);
        worker_post(workers_at(c->all, i), &o->mail); /* control mail is never refused */
    }
}

/* ---- the change itself ------------------------------------------------------------- */

static void configure_log(struct control *c, const struct gateway_conf *conf) {
    log_setup(log_conf_of(conf));
    atomic_store(&c->log_requests, conf->log.requests);
}

static err_t apply(struct control *c, struct held_conf *next) {
    struct key_index *keys = NULL;
    struct tls_context *tls = NULL;
    struct held_conf *merged = NULL;
    TRY(check_restart(c->file->conf, next->conf));
    TRY(tls_of(c, next->conf, &tls));
    err_t e = registry_merge(NULL, c, next, &merged);
    if (!e)
        e = keys_build(c, next->conf, &keys);
    if (e) {
        struct err saved = *e;
        tls_context_unref(tls);
        held_conf_unref(merged);
        return err_again(&saved);
    }
    log_changes(c->file->conf, next->conf);
    held_conf_unref(c->file);
    c->file = held_conf_ref(next);
    tls_context_unref(c->tls);
    c->tls = tls;
    held_conf_unref(c->held);
    c->held = merged;
    configure_log(c, next->conf);
    sessions_configure(c->gateway->sessions, session_limits_of(next->conf));
    struct shared_conf shared = shared_conf_of(next->conf);
    shared_configure(c->shared, &shared);
    connections_bound(c, next->conf);
    configure_servers(c, next->conf);
    upstreams_apply(c, merged->conf);
    /* keys first: a view of the new snapshot is compiled from the new grants only */
    e = gateway_publish_keys(NULL, c->gateway, keys);
    snapshot_publish(c);
    return e;
}

static void log_lines(struct str text, bool problem) {
    while (text.p) {
        struct str line = str_cut(&text, '\n');
        if (line.n && problem)
            log_error("configuration", F("problem", line));
        else if (line.n)
            log_warn("configuration", F("note", line));
    }
}

void reload_now(struct control *c) {
    if (c->draining)
        return;
    struct held_conf *next = held_conf_new();
    SCOPED(buf_done) struct buf report = { 0 };
    err_t e = conf_load(&next->arena, c->options.config, &c->options.overrides, &next->conf, NULL,
                        &report);
    if (report.n)
        log_lines(buf_view(&report), e != OK);
    if (!e)
        e = apply(c, next);
    metric_add(METRIC_SERIES(&metric_reloads, e ? S("refused") : S("applied")), 1);
    metric_set(METRIC_SERIES(&metric_last_reload), !e);
    if (e)
        log_error("reload refused; the running configuration stays", F("error", e->text));
    else
        log_info("configuration reloaded", F("upstreams", (int64_t)c->upstream_count));
    held_conf_unref(next);
}

/* ---- when -------------------------------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int number) {
    struct control *c = handle->data;
    worker_tick(c->worker);
    if (number == SIGHUP)
        reload_now(c);
    else
        drain_begin(c);
    worker_run_ready(c->worker);
}

/* What the path leads to; editors replace files, so the same path is soon another one. */
struct file_identity {
    dev_t device;
    ino_t inode;
    struct timespec changed;
    bool there;
};

static struct file_identity identity_of(const char *path) {
    struct stat s;
    if (stat(path, &s))
        return (struct file_identity){ 0 };
    return (struct file_identity){ s.st_dev, s.st_ino, s.st_mtim, true };
}

/* Two watches: the file, wherever it really lies; and, where a link leads to it, the folder of
 * the link, which may come to lead somewhere else. Other folders are nobody's business: the
 * data folder may be the same, and it changes with every call. */
struct file_watch {
    struct control *control;
    const char *path, *folder;
    uv_fs_event_t file, link;
    struct file_identity seen;
    bool gone;    /* told that it is */
    int closing;  /* handles */
};

static void settle(struct file_watch *w) {
    timer_set(w->control->worker, &w->control->reload, worker_tick(w->control->worker) + SETTLE);
}

static void on_file_event(uv_fs_event_t *handle, const char *name, int events, int status) {
    if (status >= 0)
        settle(handle->data);
}

/* Something in the folder of the link: of ours only when it leads elsewhere now. */
static void on_link_event(uv_fs_event_t *handle, const char *name, int events, int status) {
    struct file_watch *w = handle->data;
    struct file_identity now = identity_of(w->path);
    if (status >= 0 && (now.device != w->seen.device || now.inode != w->seen.inode))
        settle(w);
}

/* Watches what the path leads to now; false when there is nothing, or it cannot be watched. */
static bool watch_again(struct file_watch *w) {
    uv_fs_event_stop(&w->file);
    w->seen = identity_of(w->path);
    int problem = uv_fs_event_start(&w->file, on_file_event, w->path, 0);
    if (problem && problem != UV_ENOENT)
        log_warn("the configuration file is not watched; send SIGHUP to reload",
                 F("error", uv_strerror(problem)));
    return !problem;
}

/* A file that is gone is looked for until it is there again: moving it away and writing a new one
 * is how some programs save. */
static void on_settled(struct worker *worker, struct timer *t) {
    struct control *c = (struct control *)((char *)t - offsetof(struct control, reload));
    struct file_watch *w = c->watch;
    bool there = watch_again(w) && w->seen.there;
    if (there)
        reload_now(c);
    else if (!w->gone)
        log_warn("the configuration file is gone; the running configuration stays",
                 F("file", c->options.config));
    if (!there && !w->seen.there)
        timer_set(worker, t, worker_tick(worker) + NANOS_SEC);
    w->gone = !there;
    worker_run_ready(worker);
}

static struct str base_name(struct str path) {
    size_t n = path.n;
    while (n && path.p[n - 1] != '/')
        n--;
    return str_skip(path, n);
}

static bool is_link(const char *path) {
    struct stat s;
    return lstat(path, &s) == 0 && S_ISLNK(s.st_mode);
}

static void watch_file(struct control *c) {
    struct str folder = c->options.config;
    folder.n -= base_name(folder).n;
    struct file_watch *w = c->watch = NEW(struct file_watch);
    w->control = c;
    w->path = arena_text(&c->arena, c->options.config);
    w->folder = folder.n ? arena_text(&c->arena, folder) : ".";
    uv_fs_event_init(&c->worker->loop, &w->file);
    uv_fs_event_init(&c->worker->loop, &w->link);
    w->file.data = w->link.data = w;
    watch_again(w);
    if (is_link(w->path))
        uv_fs_event_start(&w->link, on_link_event, w->folder, 0);
}

void reload_watch(struct control *c) {
    static const int numbers[] = { SIGHUP, SIGTERM, SIGINT };
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&c->worker->loop, &c->signals[i]);
        c->signals[i].data = c;
        uv_signal_start(&c->signals[i], on_signal, numbers[i]);
    }
    c->reload.fire = on_settled;
    if (c->options.config.n)
        watch_file(c);
}

static void on_watch_closed(uv_handle_t *handle) {
    struct file_watch *w = handle->data;
    if (++w->closing == 2)
        free(w);
}

void reload_stop(struct control *c) {
    for (size_t i = 0; i < ARRAY_SIZE(c->signals); i++)
        uv_close((uv_handle_t *)&c->signals[i], NULL);
    timer_unset(c->worker, &c->reload);
    if (!c->watch)
        return;
    uv_close((uv_handle_t *)&c->watch->file, on_watch_closed);
    uv_close((uv_handle_t *)&c->watch->link, on_watch_closed);
    c->watch = NULL;
    c->watch = NULL;
}
