/* gateway.h - the data plane: what all exchanges share, and each worker's part of it.
 *
 * The control plane compiles a snapshot and publishes it; every request pins one from its
 * start to its end (DESIGN decisions 7 and 8). Credentials are published separately.
 *
 * Threads  struct gateway: set up before the workers run, then read by all; the rest as said
 */
#pragma once
#include "auth/key.h"
#include "base/metric.h"
#include "gateway/catalogue.h"
#include "gateway/upstream.h"
#include "mcp/session.h"
#include "net/http_server.h"
#include "run/snapshot.h"
#include "store/shared.h"

/* Everything a request reads, immutable, compiled by the control worker. */
struct snapshot {
    struct arena arena;               /* holds the arrays and the snapshot itself */
    struct held_conf *held;           /* a reference */
    struct gateway_conf *conf;        /* held->conf */
    struct upstream **upstreams;      /* by index; references */
    struct catalogue_source *sources; /* the same order */
    size_t upstream_count;
    struct catalogue *catalogue;
    struct str server_info;           /* raw Implementation object of the gateway */
    uint64_t generation;
    nanos made;
};
void snapshot_free(void *snapshot); /* struct snapshot * */
/* The profile of that name; the empty name is the whole catalogue: *out NULL. False: none. */
bool snapshot_profile(const struct snapshot *s, struct str name, const struct profile_conf **out);
/* The same for a caller: false also where he may not use it. */
bool snapshot_profile_for(const struct snapshot *s, const struct principal *who, struct str name,
                          const struct profile_conf **out);

struct gateway {
    struct workers *all;
    struct publication *snapshots; /* struct snapshot */
    struct publication *keys;      /* struct key_index */
    struct shared *shared;         /* expiring state, perhaps of all nodes; the control plane's */
    struct sessions *sessions;
    struct seal_ring ring;         /* cursors, request states */
    struct subscribers *subscribers; /* sessions that watch resources, see subscribe.h */
    struct parking *parking;       /* counts of calls that wait, see park.h */
    uint64_t event_key[2];         /* binds ids of events to their session, see replay.h */
    struct tasks *tasks;           /* that clients were given, see tasks.h */
    uint64_t node;                 /* this process among others with the same keys */
    struct limits_table *limits;
    atomic_bool draining, ready;
    struct gateway_worker **workers; /* by worker index */
    nanos started;
    nanos wall_offset; /* atomic: what makes wall clock of monotonic time */
};

struct gateway *gateway_new(struct workers *all, struct seal_ring ring, struct shared *shared,
                            struct session_limits limits);
void gateway_free(struct gateway *g);
/* From the workers' start and stop hooks. */
void gateway_worker_start(struct gateway *g, struct worker *w);
/* The wall clock may be set at any time: again and again. */
void gateway_read_clock(struct gateway *g);
void gateway_worker_stop(struct gateway *g, struct worker *w);
/* Control worker: publishes, then lets every worker tell its streams what changed (P-621). */
void gateway_publish(struct gateway *g, struct snapshot *s);
/* Any worker: tells every stream whose client watches it. */
void gateway_resource_updated(struct gateway *g, struct str shown);
err_t gateway_publish_keys(struct task *t, struct gateway *g, struct key_index *k);

/* What admit found out and serve uses; lives in the request's arena. */
struct visit {
    struct gateway *gateway;
    struct pin *snapshot_pin, *keys_pin;
    struct snapshot *snapshot;
    const struct principal *who; /* NULL on routes that ask for nobody */
    const void *route;
    struct str rest, more;       /* parameters of the route's path, raw; empty: none */
    struct str origin;           /* allowed Origin to answer with; empty: none */
};

/* One exchange in flight, for cancellation and numbers. */
struct exchange;

/* A caller's compiled view, kept per worker and recompiled when the catalogue is new. */
struct view {
    uint64_t key;              /* of principal, its rights and profile */
    struct access *access;
    struct limit *limit;       /* shared bucket; NULL: no rate */
    struct view *next;
};

struct push_stream;
struct page;
struct journal;
struct tracer;

struct gateway_worker {
    struct gateway *gateway;
    struct worker *worker;
    struct tracer *tracer;     /* NULL: calls are not traced */
    struct key_cache *keys;
    struct journal *journal;   /* of finished calls; NULL: no history. The control plane's */
    struct idmap views;        /* struct view by key */
    struct map pages;          /* ready-made list pages by their key bytes */
    size_t page_bytes;
    uint64_t generation;       /* of the catalogue that views and pages belong to */
    metric_series *tool_series; /* ok-outcome series by entry index */
    size_t tool_series_count;
    struct tool_check *tool_checks; /* compiled schemas by entry index; NULL: none yet */
    struct exchange *exchanges; /* in flight */
    size_t in_flight;
    struct idmap questions;   /* struct question by id: what clients were asked */
    uint64_t next_question;
    struct idmap parked;      /* struct parked by number: calls that wait for a modern client */
    uint64_t next_parked;
    struct push_stream *streams; /* GET streams and listens */
    struct resume *resume;      /* streams that clients can come back to, see resume.h */
    struct line *lines;         /* WebSockets and HTTP+SSE (line.h) */
    struct push_stream *told_next; /* a walk over them goes on here: a push may end several */
    size_t stream_count;
    uint64_t next_stream;
};
static inline struct gateway_worker *gateway_here(struct worker *w) {
    return w->slots[WORKER_GATEWAY];
}
/* This worker has its share of limits.in_flight. */
bool gateway_is_full(const struct gateway_worker *gw, const struct snapshot *s);
/* The caller's view, compiled on first use for this catalogue. */
struct view *gateway_view(struct gateway_worker *gw, const struct snapshot *s,
                          const struct principal *who, const struct profile_conf *profile);
