/* control.c - see control.h: start, listeners, drain, end. */
#include "base/log.h"
#include "base/mem.h"
#include "control/private.h"
#include "control/routes.h"
#include "gateway/face_stdio.h"
#include "gateway/line.h"
#include "gateway/metrics.h"
#include "gateway/park.h"
#include "gateway/stream.h"
#include "gateway/subscribe.h"
#include "gateway/tasks.h"
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define HOUSEKEEPING (10 * NANOS_SEC)
#define OPENING_STEP (20 * NANOS_MS)
enum {
    OTHER_DESCRIPTORS = 1000, /* wanted beside those of clients */
    LEAST_CONNECTIONS = 16,
};

const struct gateway_conf *control_conf(const struct control *c) {
    return c->held->conf;
}

struct gateway *control_gateway(struct control *c) {
    return c->gateway;
}

struct registry *control_registry(struct control *c) {
    return c->registry;
}

const struct key_store *control_keys(struct control *c) {
    return c->registry ? &c->key_store : NULL;
}

struct history *control_history(struct control *c) {
    return c->history;
}

/* ---- from configuration to layers below -------------------------------------------- */

struct log_conf log_conf_of(const struct gateway_conf *conf) {
    bool terminal = isatty(STDERR_FILENO);
    return (struct log_conf){
        .level = (enum log_level)conf->log.level,
        .json = conf->log.format == 2 || (conf->log.format == 0 && !terminal),
        .color = terminal && !getenv("NO_COLOR"),
        .fd = STDERR_FILENO,
        .burst = 100,
    };
}

struct shared_conf shared_conf_of(const struct gateway_conf *conf) {
    return (struct shared_conf){ .bytes = (size_t)conf->limits.shared };
}

struct session_limits session_limits_of(const struct gateway_conf *conf) {
    return (struct session_limits){
        .all = (size_t)conf->limits.sessions, .per_principal = (size_t)conf->limits.sessions_per_key,
        .idle = conf->limits.session_idle,
    };
}

err_t tls_of(const struct control *c, const struct gateway_conf *conf, struct tls_context **out) {
    *out = NULL;
    if (!conf->tls.cert_file.n)
        return OK;
    struct tls_conf tls = {
        .cert_file = conf->tls.cert_file, .key_file = conf->tls.key_file, .ca_file = conf->tls.client_ca_file,
        .verify_client = conf->tls.require_client_cert, .allow_1_2 = conf->tls.allow_tls_1_2,
        .http2 = conf->limits.http2_streams > 0,
    };
    return tls_server_new(&tls, &c->tickets, out);
}

static unsigned worker_count(const struct gateway_conf *conf) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return conf->workers ? (unsigned)conf->workers : cores > 0 ? (unsigned)cores : 1;
}

size_t buffers_of(const struct gateway_conf *conf) {
    int64_t share = conf->limits.buffers / worker_count(conf);
    return (size_t)(share > conf->limits.body ? share : conf->limits.body);
}

void server_conf_of(struct control *c, const struct gateway_conf *conf,
                    struct http_server_conf *out) {
    const struct limits_conf *l = &conf->limits;
    *out = (struct http_server_conf){
        .head = { .head = (size_t)l->head, .target = (size_t)l->target, .fields = (unsigned)l->headers },
        .max_body = (size_t)l->body, .max_pipelined = 64 * 1024,
        .max_streams = (unsigned)l->http2_streams,
        .max_conns = c->connections, .conns = &c->open_connections,
        .head_timeout = l->head_timeout, .body_timeout = l->body_timeout, .idle_timeout = l->idle_timeout,
        .send_timeout = l->send_timeout, .tls = c->tls,
    };
}

/* Of so many descriptors: some are for upstreams and files, else the last client would take
 * what a call of the first one needs. */
static unsigned connections_within(rlim_t descriptors) {
    rlim_t kept = descriptors / 4 + 64;
    if (kept > OTHER_DESCRIPTORS)
        kept = OTHER_DESCRIPTORS;
    return (unsigned)(descriptors > kept + LEAST_CONNECTIONS ? descriptors - kept
                                                             : LEAST_CONNECTIONS);
}

void connections_bound(struct control *c, const struct gateway_conf *conf) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)conf->limits.connections + OTHER_DESCRIPTORS;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    c->connections = (unsigned)conf->limits.connections;
    unsigned fit = connections_within(limit.rlim_cur);
    if (limit.rlim_cur >= wanted || fit >= c->connections)
        return;
    c->connections = fit;
    log_warn("fewer file descriptors than limits.connections needs: more connections get 503",
             F("have", (int64_t)limit.rlim_cur), F("want", (int64_t)wanted),
             F("connections", (int64_t)fit),
             F("remedy", "raise LimitNOFILE (ulimit -n) and restart, or lower limits.connections"));
}

/* ---- opening ----------------------------------------------------------------------- */

static err_t read_conf(struct control *c) {
    SCOPED(buf_done) struct buf report = { 0 };
    c->file = held_conf_new();
    err_t e = conf_load(&c->file->arena, c->options.config, &c->options.overrides, &c->file->conf,
                        NULL, &report);
    c->held = held_conf_ref(c->file);
    if (report.n)
        fprintf(stderr, "%s", buf_text(&report));
    return e ? ERR(INVALID, "the configuration is not usable") : OK;
}

static err_t probe_addresses(struct control *c) {
    const struct str_list *listen = &c->held->conf->listen;
    for (size_t i = 0; i < listen->n; i++) {
        TRY(listen_parse(listen->items[i], &c->listen[i]));
        TRY(listen_probe(&c->listen[i]));
        char text[LISTEN_TEXT]; /* with the port that the kernel chose for 0 */
        c->listen[i].text = arena_dup(&c->arena, listen_text(&c->listen[i], text));
    }
    c->listen_count = listen->n;
    return OK;
}

static void copy_options(struct control *c, const struct control_options *o) {
    c->options = *o;
    c->options.config = arena_dup(&c->arena, o->config);
    c->options.admin_key = arena_dup(&c->arena, o->admin_key);
    c->data = arena_dup(&c->arena, o->data);
}

static err_t add_registry(struct control *c) {
    struct held_conf *merged;
    TRY(registry_merge(NULL, c, c->file, &merged));
    held_conf_unref(c->held);
    c->held = merged;
    return OK;
}

static err_t open_parts(struct control *c) {
    TRY(read_conf(c));
    log_setup(log_conf_of(c->held->conf));
    atomic_store(&c->log_requests, c->held->conf->log.requests);
    if (c->options.stdio) {
        data_none(c);
        return OK;
    }
    connections_bound(c, c->held->conf);
    TRY(probe_addresses(c));
    TRY(data_open(c));
    TRY(tls_of(c, c->held->conf, &c->tls));
    TRY(keys_load(c));
    return add_registry(c);
}

err_t control_open(const struct control_options *options, struct warden *warden,
                   struct control **out) {
    struct control *c = NEW(struct control);
    arena_init(&c->arena, NULL, 0);
    arena_init(&c->kept_arena, NULL, 0);
    c->lock_fd = -1;
    c->warden = warden;
    copy_options(c, options);
    err_t e = open_parts(c);
    if (!e) {
        *out = c;
        return OK;
    }
    struct err saved = *e;
    control_free(c);
    return err_again(&saved);
}

err_t control_open_offline(struct str data, struct str config, bool to_restore,
                           struct control **out) {
    struct control *c = NEW(struct control);
    arena_init(&c->arena, NULL, 0);
    arena_init(&c->kept_arena, NULL, 0);
    c->lock_fd = -1;
    copy_options(c, &(struct control_options){ .data = data, .config = config });
    err_t e = to_restore ? OK : data_exists(c);
    if (!e)
        e = to_restore ? data_open_to_restore(c) : data_open(c);
    if (!e) {
        *out = c;
        return OK;
    }
    struct err saved = *e;
    control_free(c);
    return err_again(&saved);
}

void control_free(struct control *c) {
    if (!c)
        return;
    if (c->tls)
        tls_context_unref(c->tls);
    held_conf_unref(c->held);
    held_conf_unref(c->file);
    history_free(c->history);
    registry_free(c->registry);
    store_close(c->store);
    if (c->lock_fd >= 0)
        close(c->lock_fd);
    crypto_wipe(c->master, sizeof c->master);
    crypto_wipe(c->hmac_key, sizeof c->hmac_key);
    crypto_wipe(&c->columns, sizeof c->columns);
    arena_done(&c->kept_arena);
    arena_done(&c->arena);
    free(c->upstreams);
    free(c->servers);
    free(c);
}

/* ---- workers ----------------------------------------------------------------------- */

static err_t start_worker(struct worker *w, void *arg) {
    struct control *c = arg;
    if (w->control)
        return OK;
    net_start(w, buffers_of(c->held->conf));
    return OK;
}

static void stop_worker(struct worker *w, void *arg) {
    struct control *c = arg;
    if (w->control) {
        timer_unset(w, &c->rebuild);
        timer_unset(w, &c->housekeeping);
        timer_unset(w, &c->key_expiry);
        history_stop(c);
        keys_flush_used(NULL, c);
        timer_unset(w, &c->drain_end);
        timer_unset(w, &c->opening);
        timer_unset(w, &c->face_wait);
        reload_stop(c);
        warden_stop(c->warden, 3 * NANOS_SEC); /* its polls are on this loop, which stops last */
        return;
    }
    pulse_stop(c, w);
    exporter_stop(c->exporter, w);
    for (size_t i = 0; i < c->upstream_count; i++)
        if (c->upstreams[i]->ops->side_close)
            c->upstreams[i]->ops->side_close(w, c->upstreams[i]);
    if (c->servers[w->index])
        http_server_close(c->servers[w->index]);
    face_stdio_close(w->index == 0 ? TAKE(c->face) : NULL);
    gateway_worker_stop(c->gateway, w);
}

/* ---- listening --------------------------------------------------------------------- */

/* A listener per worker and address; on its own thread. */
struct listen_order {
    struct mail mail;
    struct control *control;
    struct http_server_conf conf; /* holds a reference on its TLS context */
    bool failed;
};

/* Said when it is so on every worker: whoever waits for the line may connect. */
static void on_listening(struct worker *control, struct mail *m) {
    struct listen_order *o = (struct listen_order *)m;
    struct control *c = o->control;
    c->listening += !o->failed;
    free(o);
    if (c->listening < workers_count(c->all))
        return;
    for (size_t i = 0; i < c->listen_count; i++)
        log_info("listening", F("address", c->listen[i].text), F("tls", c->tls != NULL));
}

void worker_open(struct control *c, struct worker *w) {
    gateway_worker_start(c->gateway, w);
    gateway_here(w)->journal = history_journal(c, w->index);
    exporter_start(c->exporter, w);
    gateway_here(w)->tracer = exporter_tracer(c->exporter, w);
    pulse_start(c, w);
}

static void on_listen_order(struct worker *w, struct mail *m) {
    struct listen_order *o = (struct listen_order *)m;
    struct control *c = o->control;
    worker_open(c, w);
    c->servers[w->index] = http_server_new(w, &o->conf, &c->service);
    tls_context_unref(o->conf.tls);
    for (size_t i = 0; i < c->listen_count; i++) {
        err_t e = http_server_listen(c->servers[w->index], &c->listen[i]);
        if (!e)
            continue;
        log_error("cannot listen", F("address", c->listen[i].text), F("error", e->text));
        o->failed = true;
        workers_stop(c->all);
    }
    m->deliver = on_listening;
    if (!worker_post(c->worker, m))
        free(o);
}

static void open_listeners(struct control *c) {
    for (unsigned i = 0; i < workers_count(c->all); i++) {
        struct listen_order *o = NEW(struct listen_order);
        *o = (struct listen_order){ .mail.deliver = on_listen_order, .control = c };
        server_conf_of(c, c->held->conf, &o->conf);
        if (o->conf.tls)
            tls_context_ref(o->conf.tls);
        worker_post(workers_at(c->all, i), &o->mail);
    }
}

/* The first start knows no lists yet: it waits a moment for them, so that the first client
 * does not find an empty house. Later starts have the last known ones. */
static bool lists_are_known(const struct control *c) {
    for (size_t i = 0; i < c->upstream_count; i++) {
        struct part *p = upstream_part(c->upstreams[i]);
        bool known = p || atomic_load(&c->upstreams[i]->state) != UP_STARTING;
        part_unref(p);
        if (!known)
            return false;
    }
    return true;
}

void opening_look(struct control *c) {
    if (!timer_is_set(&c->opening) || !lists_are_known(c))
        return;
    timer_unset(c->worker, &c->opening);
    snapshot_publish(c);
    open_listeners(c);
}

static void on_opening(struct worker *w, struct timer *t) {
    struct control *c = (struct control *)((char *)t - offsetof(struct control, opening));
    if (worker_now(w) < c->open_at) { /* a reload may have taken out what was waited for */
        timer_set(w, t, worker_now(w) + OPENING_STEP);
        opening_look(c);
        return;
    }
    snapshot_publish(c);
    open_listeners(c);
}

static void wait_for_lists(struct control *c) {
    c->opening.fire = on_opening;
    c->open_at = worker_now(c->worker) + c->held->conf->limits.list_wait;
    nanos step = worker_now(c->worker) + OPENING_STEP;
    timer_set(c->worker, &c->opening, c->open_at < step ? c->open_at : step);
    opening_look(c);
}

/* ---- drain ------------------------------------------------------------------------- */

/* A worker's own; they all live as long as the control plane: a stop can come in between. */
struct drain_state {
    struct mail mail;
    struct timer timer;
    struct control *control;
    struct worker *worker;
};

static void on_drained(struct worker *control, struct mail *m) {
    struct control *c = ((struct drain_state *)m)->control;
    if (++c->drained == workers_count(c->all))
        workers_stop(c->all);
}

static bool is_busy(const struct control *c, const struct worker *w) {
    if (c->options.stdio)
        return c->face && face_stdio_busy(c->face);
    struct http_server *server = c->servers[w->index]; /* NULL: the end came before the opening */
    return server && http_server_busy(server);
}

static void check_drained(struct worker *w, struct timer *t) {
    struct drain_state *d = (struct drain_state *)((char *)t - offsetof(struct drain_state, timer));
    struct control *c = d->control;
    if (is_busy(c, w)) {
        timer_set(w, t, worker_now(w) + 20 * NANOS_MS);
        return;
    }
    exporter_flush(c->exporter, w); /* before the last mail: worker 0 still takes it */
    d->mail.deliver = on_drained;
    worker_post(c->worker, &d->mail);
}

static void on_drain_order(struct worker *w, struct mail *m) {
    struct drain_state *d = (struct drain_state *)m;
    exporter_closing(d->control->exporter, w);
    if (gateway_here(w)) { /* else the end came before the opening */
        streams_end(gateway_here(w));
        lines_drain(gateway_here(w));
        parked_end_all(gateway_here(w), true);
    }
    if (d->control->servers[w->index])
        http_server_drain(d->control->servers[w->index]);
    d->timer.fire = check_drained;
    timer_set(w, &d->timer, worker_now(w) + 20 * NANOS_MS);
    worker_run_ready(w);
}

static void on_drain_end(struct worker *w, struct timer *t) {
    struct control *c = (struct control *)((char *)t - offsetof(struct control, drain_end));
    log_warn("drain took too long; what is left is cut off");
    workers_stop(c->all);
}

/* A second signal does not wait. */
void drain_begin(struct control *c) {
    if (c->draining) {
        workers_stop(c->all);
        return;
    }
    c->draining = true;
    timer_unset(c->worker, &c->opening);
    atomic_store(&c->gateway->draining, true);
    log_info("draining", F("limit_s", c->held->conf->limits.drain / NANOS_SEC));
    c->drain_end.fire = on_drain_end;
    timer_set(c->worker, &c->drain_end, worker_now(c->worker) + c->held->conf->limits.drain);
    c->drains = NEW_ARRAY(struct drain_state, workers_count(c->all));
    for (unsigned i = 0; i < workers_count(c->all); i++) {
        struct drain_state *d = &c->drains[i];
        *d = (struct drain_state){ .mail.deliver = on_drain_order,
                                   .control = c,
                                   .worker = workers_at(c->all, i) };
        worker_post(d->worker, &d->mail);
    }
}

/* ---- running ----------------------------------------------------------------------- */

static void on_rebuild(struct worker *w, struct timer *t) {
    snapshot_publish((struct control *)((char *)t - offsetof(struct control, rebuild)));
}

/* After a burst, when nothing is in flight, memory that malloc holds goes back to the kernel. */
static void give_memory_back(void) {
    if (metric_value(METRIC_SERIES(&metric_in_flight)) == 0)
        malloc_trim(0);
}

static void tend_shared(struct task *t, void *arg) {
    struct control *c = arg;
    sessions_expire(t, c->gateway->sessions, task_now(t));
    shared_tend(c->shared);
}

static void on_housekeeping(struct worker *w, struct timer *t) {
    struct control *c = (struct control *)((char *)t - offsetof(struct control, housekeeping));
    task_spawn(w, tend_shared, c); /* with none to spare, the next time */
    subscribers_sweep(c->gateway, w);
    tasks_sweep(c->gateway, worker_now(w));
    gateway_read_clock(c->gateway);
    give_memory_back();
    timer_set(w, t, worker_now(w) + HOUSEKEEPING);
}

static err_t publish_first(struct control *c) {
    struct key_index *keys = NULL;
    TRY(keys_build(c, c->held->conf, &keys));
    err_t e = history_open(c);
    if (e) {
        key_index_free(keys);
        return e;
    }
    registry_serve(c);
    keys_serve(c);
    upstreams_apply(c, c->held->conf);
    snapshot_publish(c);
    return gateway_publish_keys(NULL, c->gateway, keys);
}

static void begin_timers(struct control *c) {
    c->rebuild.fire = on_rebuild;
    c->housekeeping.fire = on_housekeeping;
    timer_set(c->worker, &c->housekeeping, worker_now(c->worker) + HOUSEKEEPING);
}

static err_t serve(struct control *c) {
    c->worker = workers_control(c->all);
    struct shared_conf shared = shared_conf_of(c->held->conf);
    TRY(shared_open(&shared, &c->shared));
    c->gateway = gateway_new(c->all, c->seal, c->shared, session_limits_of(c->held->conf));
    c->servers = NEW_ARRAY(struct http_server *, workers_count(c->all) + 1);
    c->service = routes_service(c);
    if (c->warden)
        TRY(warden_attach(c->warden, c->all));
    begin_timers(c);
    stats_open(c);
    TRY(exporter_open(&c->held->conf->otlp, c->all, &c->exporter));
    reload_watch(c);
    TRY(publish_first(c));
    if (!c->options.stdio)
        wait_for_lists(c);
    workers_run(c->all);
    return OK;
}

static void close_all(struct control *c) {
    for (unsigned i = 0; c->servers && i < workers_count(c->all); i++)
        if (c->servers[i])
            http_server_free(c->servers[i]);
    for (size_t i = 0; i < c->upstream_count; i++)
        upstream_unref(c->upstreams[i]);
    c->upstream_count = 0;
    exporter_free(TAKE(c->exporter));
    gateway_free(c->gateway);
    shared_close(TAKE(c->shared));
    for (unsigned i = 0; i < workers_count(c->all); i++)
        /* the last handles gave their buffers back as the loops ended */
        net_stop(workers_at(c->all, i));
    history_close(c);
    workers_free(c->all);
    free(c->drains);
    free(TAKE(c->pulses));
}

err_t control_run(struct control *c) {
    const struct worker_hooks hooks = { .on_start = start_worker,
                                        .on_stop = stop_worker,
                                        .arg = c };
    TRY(workers_start(worker_count(c->held->conf), (struct worker_limits){ 0 }, hooks, &c->all));
    err_t e = serve(c);
    struct err saved = e ? *e : (struct err){ 0 };
    if (e) { /* what the workers let go of when they stop is still there */
        workers_stop(c->all);
        workers_run(c->all);
    }
    close_all(c);
    return e ? err_again(&saved) : OK;
}
