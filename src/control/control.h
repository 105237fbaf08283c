/* control.h - the control plane of one process: configuration and upstreams to snapshots,
 * keys, reload, drain. Runs on the control worker; the data plane never waits for it.
 *
 * Life     control_open (single-threaded) → workers_start with control_hooks → control_run
 * Errors   of the start are returned; later ones are logged and the running state stays
 */
#pragma once
#include "control/conf_load.h"
#include "gateway/gateway.h"

struct control;
struct registry;
struct key_store;
struct history;

struct control_options {
    struct str config;  /* file; empty: none */
    struct str data;    /* directory; made when it is not there */
    struct conf_overrides overrides;
    struct str admin_key; /* first admin key; empty: one is made at the first start */
    bool quiet;           /* no start-up text on stdout */
    bool stdio;           /* one client on standard input and output: no listeners, no keys, no
                           * data directory, no warden */
};

/* Reads the configuration, takes the lock of the data directory, loads or makes its keys,
 * probes the listen addresses. Prints the first start's text. */
err_t control_open(const struct control_options *options, struct warden *warden,
                   struct control **out);
/* Starts workers and listeners, serves until SIGTERM or SIGINT, drains, stops. */
err_t control_run(struct control *c);
void control_free(struct control *c);
/* The data directory alone, for commands while no gateway runs on it: store, registry and keys
 * are open, nothing else is. CONFLICT when a gateway holds its lock; NOT_FOUND when there is
 * none. `config` is only remembered. `to_restore`: one that is not there is made, and a store that
 * cannot be opened is no failure, since control_restore replaces it. */
err_t control_open_offline(struct str data, struct str config, bool to_restore,
                           struct control **out);

/* Without a running gateway: makes an admin key in the data directory; `alone` revokes the other
 * ones. CONFLICT while a gateway uses it, NOT_FOUND when it is none. */
err_t control_recover(struct str data, bool alone, char text[KEY_TEXT], size_t *out_revoked);

const struct gateway_conf *control_conf(const struct control *c);

/* ---- for the routes (http.c) ------------------------------------------------------- */

struct gateway *control_gateway(struct control *c);
/* What people manage while it runs; NULL in a process without a data directory (stdio). */
struct registry *control_registry(struct control *c);
const struct key_store *control_keys(struct control *c);
struct history *control_history(struct control *c);
/* Writes what is up and what is not: {"status":…,"upstreams":[…]}; true when ready. */
bool control_health(struct control *c, const struct snapshot *s, struct buf *out, bool detailed);
