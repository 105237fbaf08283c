/* private.h - the control plane's state, shared by the files of this folder only. */
#pragma once
#include "base/log.h"
#include "control/control.h"
#include "control/history.h"
#include "control/key_store.h"
#include "obs/exporter.h"
#include <stdatomic.h>

enum { MAX_LISTEN = 8 };

struct control {
    struct control_options options;
    struct arena arena;          /* options' texts, data directory */
    struct held_conf *file;      /* what the configuration file says */
    struct held_conf *held;      /* what runs: that, and the registry's servers and profiles */
    struct str data;
    int lock_fd;
    uint8_t master[SHA256_SIZE], hmac_key[SHA256_SIZE];
    struct seal_ring seal, tickets, columns;
    struct store *store;         /* NULL on stdio, and after data_open_to_restore perhaps */
    struct registry *registry;
    struct key_store key_store;
    struct history *history;
    struct arena kept_arena;
    struct key_record *kept;     /* usable keys of the registry */
    size_t kept_count;
    nanos used_flushed;          /* monotonic: what was used before is in the store */
    struct timer key_expiry;     /* when the next of them expires */
    struct warden *warden;
    struct workers *all;
    struct shared *shared;       /* expiring state: sessions */
    struct gateway *gateway;
    struct http_service service;
    struct http_server **servers; /* by worker index */
    struct listen_addr listen[MAX_LISTEN];
    size_t listen_count;
    unsigned connections;         /* most at once: limits.connections, as far as they have room */
    atomic_uint open_connections; /* of all workers */
    unsigned listening;          /* workers that do */
    struct tls_context *tls;
    struct upstream **upstreams;  /* in the order of the file */
    size_t upstream_count;
    uint64_t generation;
    struct timer rebuild, housekeeping, drain_end, opening;
    nanos open_at;                /* listeners open then at the latest */
    struct drain_state *drains;   /* one for each worker, from the first SIGTERM on */
    unsigned drained;             /* workers whose last connection is gone */
    bool draining;
    uv_signal_t signals[3];
    struct file_watch *watch;     /* of the configuration file (reload.c) */
    struct timer reload;          /* debounces its events */
    struct worker *worker;        /* the control worker */
    struct stdio_face *face;      /* options.stdio; worker 0's */
    struct timer face_wait;
    bool face_ordered;
    struct exporter *exporter;   /* NULL: nothing is exported */
    struct pulse *pulses;        /* by worker index */
    atomic_bool log_requests;
};

/* data.c: the data directory, its lock and master key. */
err_t data_open(struct control *c);
/* The same for a restore: c->store is NULL when what is there cannot be opened. */
err_t data_open_to_restore(struct control *c);
err_t data_exists(struct control *c); /* NOT_FOUND when there is none */
void data_none(struct control *c); /* keys of this process alone */
/* keys.c: keys of the data directory (made at the first start) and of the file. */
err_t keys_load(struct control *c);
err_t keys_build(struct control *c, const struct gateway_conf *conf, struct key_index **out);
err_t keys_check(struct control *c, struct str id, struct str doc); /* may it become so? */
void keys_serve(struct control *c); /* they expire in time from now on */
err_t keys_publish(struct task *t, struct control *c); /* as the registry has them now */
err_t keys_flush_used(struct task *t, struct control *c); /* when each was used last */
/* history_drain.c: from the workers' journals into the store. */
err_t history_open(struct control *c); /* the workers wait; after a crash also the last run's */
struct journal *history_journal(struct control *c, unsigned worker); /* NULL: there is no history */
void history_stop(struct control *c);  /* its timers */
void history_close(struct control *c); /* the workers have ended */
/* registry_apply.c: the registry's part in what runs. */
err_t registry_merge(struct task *t, struct control *c, struct held_conf *file,
                     struct held_conf **out);
err_t registry_reload(struct task *t, struct control *c); /* all of it may be new */
void registry_serve(struct control *c); /* changes from now on are checked and applied */
/* compile.c: configuration and upstreams to snapshots. */
void upstreams_apply(struct control *c, const struct gateway_conf *conf); /* starts, keeps, stops */
bool upstream_restart(struct control *c, struct str name); /* false: none of that name runs */
void snapshot_publish(struct control *c);
void snapshot_publish_soon(struct control *c); /* after the dust has settled */
/* Opens the listeners, unless they are, when every upstream has a list or has failed: after each
 * change of one. */
void opening_look(struct control *c);
/* stdio.c: after each snapshot: serves the client as soon as it makes sense. */
void stdio_published(struct control *c);
/* reload.c: signals and file changes. */
void reload_watch(struct control *c);
void reload_stop(struct control *c);
void reload_now(struct control *c);
/* stats.c: numbers of the process for /metrics. */
void stats_open(struct control *c);
void pulse_start(struct control *c, struct worker *w); /* on the worker's thread */
void pulse_stop(struct control *c, struct worker *w);
/* account.c: from the service, when a request is over. */
void account_request(struct http_request *r);
/* control.c */
struct log_conf log_conf_of(const struct gateway_conf *conf);
struct session_limits session_limits_of(const struct gateway_conf *conf);
struct shared_conf shared_conf_of(const struct gateway_conf *conf);
void worker_open(struct control *c, struct worker *w); /* a data worker's parts, on its thread */
void drain_begin(struct control *c);
size_t buffers_of(const struct gateway_conf *conf); /* of one worker */
void server_conf_of(struct control *c, const struct gateway_conf *conf,
                    struct http_server_conf *out);
/* Makes room for limits.connections among the descriptors, or lowers the bound and says so. */
void connections_bound(struct control *c, const struct gateway_conf *conf);
err_t tls_of(const struct control *c, const struct gateway_conf *conf, struct tls_context **out);
