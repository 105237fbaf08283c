/* key.h - keys, who they stand for, and what those may do.
 *
 * A key looks like gs_<id>_<secret>: id 12 base32 characters, secret 160 bits. Stored is
 * HMAC-SHA-256(server key, whole key), never the key (DESIGN decision 7). All keys are
 * an immutable index that workers read; a change makes a new index.
 *
 * Threads  an index: any; a cache: one worker
 */
#pragma once
#include "base/arena.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/field.h"

/* What a principal may see and call. Empty lists allow all; deny wins (globs over shown names). */
struct grants {
    struct str_list profiles; /* which /mcp/<profile>; empty: every one */
    struct str_list allow, deny;
    bool admin;               /* may use the administration surface too */
    struct rate rate;         /* tokens per second over all calls; 0: none */
    double burst;
};

struct principal {
    struct str id;     /* key id; "anonymous" when nobody had to say who he is */
    struct str name;   /* as configured: "ci", "admin" */
    struct str tenant; /* "default" until tenants exist */
    struct grants grants;
    uint64_t digest;   /* of tenant and id: for cache keys and share classes */
    uint64_t rights;   /* of what the grants let it see and call: for what is compiled from them */
    unsigned index;    /* position in its index: for per-worker tables */
    nanos *used;       /* monotonic, when it was last used; any worker; NULL: nobody asks */
};

/* On every request: writes at most every ten seconds, so that workers do not fight for it. */
static inline void principal_touch(const struct principal *p, nanos now) {
    if (p->used && now - __atomic_load_n(p->used, __ATOMIC_RELAXED) > 10 * NANOS_SEC)
        __atomic_store_n(p->used, now, __ATOMIC_RELAXED);
}

struct key_record {
    struct principal principal;
    uint8_t hmac[SHA256_SIZE];
    nanos created; /* wall clock, as all here */
    nanos expires; /* not accepted from then on; 0: never */
    nanos revoked; /* 0: it is not */
};
static inline bool key_usable(const struct key_record *r, nanos wall) {
    return !r->revoked && (!r->expires || wall < r->expires);
}

struct key_index; /* immutable */
struct key_index *key_index_new(const struct key_record *records, size_t n,
                                const uint8_t hmac_key[SHA256_SIZE],
                                bool anonymous); /* copies all */
void key_index_free(struct key_index *k);
size_t key_index_count(const struct key_index *k);
const struct principal *key_index_at(const struct key_index *k, size_t i);
/* Who has that id now, NULL when nobody has; `hint` is where he was (principal.index). */
const struct principal *key_index_find(const struct key_index *k, struct str id, unsigned hint);
/* The anonymous principal, or NULL when a key is required. */
const struct principal *key_index_anonymous(const struct key_index *k);

/* A worker's memo of keys that were verified against one index: hash and compare, no HMAC. */
struct key_cache;
struct key_cache *key_cache_new(size_t entries);
void key_cache_free(struct key_cache *c);
/* Who the key stands for; NULL when it is none of ours. The principal lives as long as the
 * index. Takes constant time in the secret. */
const struct principal *key_verify(struct key_cache *c, const struct key_index *k, struct str key);
/* The token of an Authorization header, empty when it is not "Bearer …". */
struct str key_bearer(struct str authorization);

/* ---- making and keeping ------------------------------------------------------------ */

/* A new key as text (KEY_TEXT bytes with NUL) and its record's id and hmac. */
#define KEY_TEXT 64
void key_make(const uint8_t hmac_key[SHA256_SIZE], char text[KEY_TEXT], struct key_record *out,
              struct arena *a);
/* A record for a key that somebody chose (GATESPAN_ADMIN_KEY, `secret:` in the file). At least
 * 16 bytes; gs_ keys and others are both accepted. */
err_t key_adopt(const uint8_t hmac_key[SHA256_SIZE], struct str text, struct key_record *out,
                struct arena *a);

/* A record as JSON, with its HMAC: for the store, never for people. */
void key_record_write(struct jw *w, const struct key_record *r);
err_t key_record_read(struct arena *a, json document, struct key_record *out);

/* keys.json, where older versions kept keys in the data directory: read whole, written atomically (temporary file, fsync,
 * rename), mode 0600. A missing file is an empty list. */
err_t key_file_read(struct arena *a, struct str path, struct key_record **out, size_t *out_n);
err_t key_file_write(struct str path, const struct key_record *records, size_t n);

/* The master key of the data directory: 32 random bytes in `path`, made at the first start
 * with mode 0600 (DESIGN decision 13). */
err_t master_key_load(struct str path, uint8_t out[SHA256_SIZE], bool *made);
