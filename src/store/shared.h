/* shared.h - expiring state that all workers see, and in a cluster all nodes: sessions today;
 * limits, denied tokens and caches by the same few words. Memory of this process now
 * (shared_memory.c); Redis or Valkey later, behind the same vtable.
 *
 *   TRY(shared_put(t, s, S("session/ab12"), record, NANOS_SEC * 3600));
 *   struct shared_value v;
 *   TRY(shared_get(t, s, a, S("session/ab12"), &v));
 *   if (v.version)
 *       use(v.bytes);
 *
 * Every entry has a time to live: nothing here is durable (that is store.h), and a process
 * that dies leaves nothing behind for ever. An entry that has expired is not there. Each call
 * is atomic, two calls are not: read, change and write is shared_swap under the version that
 * was read.
 *
 * Keys are "<kind>/<id>", the kind being its user's own word. What belongs to a tenant has the
 * tenant in its key, unless the id cannot be guessed and the value is held against the caller.
 * Values and messages are bytes; whoever reads them knows that another program version may
 * have written them. No secrets: a server outside may hold them.
 *
 * Threads  any, after shared_open; shared_close when nobody calls any more
 * Waits    whatever takes a task may wait for a server, at most until the task's deadline and
 *          never longer than shared_conf.patience. With t == NULL (start, tests) it blocks the
 *          calling thread. Memory never waits
 * Errors   TOO_LARGE    a key or value beyond the limits below
 *          UNAVAILABLE  no room, or the server is not reached: later
 *          TIMEOUT, CANCELLED  of the task. What changes may then have happened or not
 */
#pragma once
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"

struct task;
struct shared; /* opaque */

enum { SHARED_KEY_BYTES = 256, SHARED_VALUE_BYTES = 1 << 20 }; /* most of a key, a value */

struct shared_conf {
    size_t bytes;         /* most memory of all entries, with what they cost around */
    nanos patience;       /* longest wait for a server; 0: 2 s */
    nanos (*clock)(void); /* monotonic; NULL: clock_mono. Tests own it */
};

/* Blocks: before the workers start. */
err_t shared_open(const struct shared_conf *conf, struct shared **out);
void shared_close(struct shared *s); /* NULL is fine; subscriptions have ended before */
void shared_configure(struct shared *s, const struct shared_conf *conf); /* a reload */

/* ---- entries ------------------------------------------------------------------------ */

struct shared_value {
    struct str bytes; /* in the caller's arena */
    uint64_t version; /* changes with every write, never repeats for a key; 0: not there */
    nanos left;       /* until it expires */
};
/* OK with version 0 when there is none. */
err_t shared_get(struct task *t, struct shared *s, struct arena *a, struct str key,
                 struct shared_value *out);
/* Gets it and removes it: of several who try, one has it (codes that are good once). */
err_t shared_take(struct task *t, struct shared *s, struct arena *a, struct str key,
                  struct shared_value *out);
/* Whatever was there is replaced. `ttl` is above 0. */
err_t shared_put(struct task *t, struct shared *s, struct str key, struct str value, nanos ttl);
/* Only where the entry's version is still `version`; 0: only where there is none. CONFLICT
 * else, and nothing changed. */
err_t shared_swap(struct task *t, struct shared *s, struct str key, uint64_t version,
                  struct str value, nanos ttl);
/* A new time to live for what is there; its version stays. *out_there (may be NULL). */
err_t shared_touch(struct task *t, struct shared *s, struct str key, nanos ttl, bool *out_there);
/* Ends a counter too. OK also when there was none; *out_there (may be NULL). */
err_t shared_remove(struct task *t, struct shared *s, struct str key, bool *out_there);

/* ---- counters ----------------------------------------------------------------------- */

/* Adds `by`, which may be negative, unless the sum would be above `limit`. The first addition
 * makes the counter and begins its time to live; later ones do not move it: a window of fixed
 * length. A key names an entry or a counter, never both. */
struct shared_count {
    int64_t total; /* after the addition, or what refused it */
    nanos left;    /* until it begins again at 0 */
    bool added;
};
err_t shared_count(struct task *t, struct shared *s, struct str key, int64_t by, int64_t limit,
                   nanos ttl, struct shared_count *out);

/* ---- notices ------------------------------------------------------------------------ */

/* Called on whatever thread brings the message, the publisher's own too. Short, never waits,
 * and calls nothing of this header. */
typedef void shared_notice_fn(void *self, struct str message);
struct shared_subscription;

/* Every message of this very channel from now on, those of this process included. At most
 * once: what is published while a server is not reached is lost, so a notice only makes things
 * faster or fresher, and what must be right is read again. Of one publisher in its order. */
err_t shared_subscribe(struct task *t, struct shared *s, struct str channel, shared_notice_fn *fn,
                       void *self, struct shared_subscription **out);
/* After it returned, fn is not running and is not called again. NULL is fine. */
void shared_unsubscribe(struct shared_subscription *subscription);
err_t shared_publish(struct task *t, struct shared *s, struct str channel, struct str message);

/* ---- care --------------------------------------------------------------------------- */

/* Frees what has expired. Every few seconds; a server does that itself. */
void shared_tend(struct shared *s);

/* Numbers for /metrics; any thread. */
struct shared_stats {
    size_t entries; /* counters too; expired ones until they are freed */
    size_t bytes, bytes_limit;
};
struct shared_stats shared_stats(struct shared *s);

/* ---- for backends ------------------------------------------------------------------- */

struct shared_ops {
    const char *kind; /* "memory" */
    err_t (*open)(const struct shared_conf *conf, struct shared **out);
    void (*close)(struct shared *s);
    void (*configure)(struct shared *s, const struct shared_conf *conf);
    err_t (*get)(struct task *t, struct shared *s, struct arena *a, struct str key, bool take,
                 struct shared_value *out);
    /* version NULL: whatever is there. */
    err_t (*put)(struct task *t, struct shared *s, struct str key, const uint64_t *version,
                 struct str value, nanos ttl);
    err_t (*touch)(struct task *t, struct shared *s, struct str key, nanos ttl, bool *out_there);
    err_t (*remove)(struct task *t, struct shared *s, struct str key, bool *out_there);
    err_t (*count)(struct task *t, struct shared *s, struct str key, int64_t by, int64_t limit,
                   nanos ttl, struct shared_count *out);
    err_t (*subscribe)(struct task *t, struct shared *s, struct str channel, shared_notice_fn *fn,
                       void *self, struct shared_subscription **out);
    void (*unsubscribe)(struct shared *s, struct shared_subscription *subscription);
    err_t (*publish)(struct task *t, struct shared *s, struct str channel, struct str message);
    void (*tend)(struct shared *s); /* NULL: nothing to do */
    struct shared_stats (*stats)(struct shared *s);
};
struct shared { /* first member of every backend's own */
    const struct shared_ops *ops;
};
struct shared_subscription { /* the same */
    struct shared *shared;
};
extern const struct shared_ops memory_shared;
