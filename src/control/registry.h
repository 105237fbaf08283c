/* registry.h - what people manage while the gateway runs: upstream servers, profiles, keys and
 * tools, as named JSON documents in the store. The REST API and the command line are its
 * callers; the configuration file's own entries are not in it.
 *
 * A document is checked before it is kept and applied before the call returns: after
 * registry_put said OK the new upstream is started, after registry_remove of a key every
 * worker has acknowledged that it is gone (DESIGN decision 7). Changes are serial: two callers
 * never see half of each other's.
 *
 * Documents by kind (rows are the same as in the configuration file):
 *   SERVER   one member of `upstreams:`   name: the upstream's
 *   PROFILE  one member of `profiles:`    name: the profile's
 *   KEY      struct key_record, see key_store.h, which is the way to make one; name: the key's id
 *   TOOL     what POST /api/v1/tools takes; name: the tool's
 * All documents are sealed in the store: headers, environment and URLs may hold secrets.
 *
 * Threads  any worker's tasks; t == NULL only while no workers run (start, command line)
 * Memory   what comes out is in the arena given
 * Waits    whatever takes a task: for the disk, and for the workers
 */
#pragma once
#include "auth/key.h"
#include "store/store.h"

enum registry_kind {
    REGISTRY_SERVER,
    REGISTRY_PROFILE,
    REGISTRY_KEY,
    REGISTRY_TOOL,
    REGISTRY_KINDS
};
const char *registry_kind_word(enum registry_kind kind); /* "server", "profile", "key", "tool" */

struct registry_item {
    struct str name;
    struct str doc;           /* JSON text, unsealed: never logged, never sent as it is */
    int64_t version;          /* 1 at first; for If-Match */
    nanos created, updated;   /* wall clock */
};

struct registry;
struct registry_hooks {
    /* Says whether the change may be made; doc.p == NULL: the item goes. CONFLICT when the
     * configuration file owns the name (DESIGN decision 14). Runs at home, in a task. */
    err_t (*check)(struct task *t, void *arg, enum registry_kind kind, struct str name,
                   struct str doc);
    /* It is in the store now: make it so. */
    err_t (*changed)(struct task *t, void *arg, enum registry_kind kind, struct str name);
    void *arg;
};

struct worker;
/* `ring` seals; it must outlive the registry. Reads nothing. */
struct registry *registry_new(struct store *store, const struct seal_ring *ring);
void registry_free(struct registry *r);
/* Before the first task uses it: changes run on `home` (the control worker), one at a time. */
void registry_attach(struct registry *r, struct worker *home, struct registry_hooks hooks);
struct store *registry_store(struct registry *r);
const struct seal_ring *registry_ring(const struct registry *r);

enum { REGISTRY_PAGE = 1000, REGISTRY_DOC = 1024 * 1024 };
#define REGISTRY_CREATE ((int64_t)0)  /* expected version: it must not exist */
#define REGISTRY_ANY ((int64_t)-1)    /* whatever is there */

/* Items by name, after `after_name` (empty: from the start), at most `limit` (0 or more than
 * REGISTRY_PAGE: REGISTRY_PAGE). */
err_t registry_list(struct task *t, struct registry *r, enum registry_kind kind, struct arena *a,
                    struct str after_name, size_t limit, struct registry_item **out, size_t *out_n);
/* NOT_FOUND when there is none. */
err_t registry_get(struct task *t, struct registry *r, enum registry_kind kind, struct arena *a,
                   struct str name, struct registry_item *out);
/* Makes or changes. CONFLICT when the version is not the expected one, or the file owns the
 * name; INVALID with the problem when the document is not usable; NOT_FOUND when a version was
 * expected and there is no such item. *out_version may be NULL. */
err_t registry_put(struct task *t, struct registry *r, enum registry_kind kind, struct str name,
                   struct str doc, int64_t expected_version, int64_t *out_version);
err_t registry_remove(struct task *t, struct registry *r, enum registry_kind kind, struct str name,
                      int64_t expected_version);

/* One of several changes that are made together or not at all (rotating a key). */
struct registry_change {
    enum registry_kind kind;
    struct str name, doc;    /* doc.p == NULL: remove */
    int64_t expected;
};
err_t registry_apply(struct task *t, struct registry *r, const struct registry_change *changes,
                     size_t n);

/* Runs fn(arg) at home while nobody changes anything: what it reads is still so when it acts. */
err_t registry_alone(struct task *t, struct registry *r, err_t (*fn)(struct task *t, void *arg),
                     void *arg);

/* ---- Idempotency-Key --------------------------------------------------------------- */

struct idempotent {
    struct str tenant, key_id; /* who asks */
    struct str key;            /* the header's value; at most 255 bytes */
    struct str route;          /* "POST /api/v1/keys" */
    uint8_t digest[SHA256_SIZE]; /* of the request body */
};
struct idempotent_answer {
    int status;
    struct str type, body;
};
/* The first with this key: OK and !*replay: do the work, then call _finish, or _abandon when
 * nothing was done. A repetition: OK and *replay with the kept answer. CONFLICT while the first
 * is still at work (single flight) and when route or body differ from the first one's; the
 * texts tell which. What a crash left unfinished counts as not done. */
err_t idempotency_begin(struct task *t, struct registry *r, struct arena *a,
                        const struct idempotent *q, bool *replay, struct idempotent_answer *out);
/* Keeps the answer (sealed: it may carry a new key) for `ttl`. */
err_t idempotency_finish(struct task *t, struct registry *r, const struct idempotent *q,
                         const struct idempotent_answer *answer, nanos ttl);
err_t idempotency_abandon(struct task *t, struct registry *r, const struct idempotent *q);
/* Forgets what has expired, of each key all but the newest IDEMPOTENCY_MOST answers, and at the
 * start also what a crash left unfinished. */
enum { IDEMPOTENCY_MOST = 1000 };
err_t idempotency_expire(struct task *t, struct registry *r, bool unfinished);
