/* map.h - hash table from bytes to pointers.
 *
 * Open addressing with linear probing and backward-shift deletion; keys are hashed with
 * SipHash-1-3 under a key made at process start, so an attacker cannot pick collisions.
 * Keys are borrowed: the value usually holds them. Values are never NULL. Iteration order
 * is unspecified.
 *
 * Threads  one owner, or read-only by many after it was built
 */
#pragma once
#include "base/str.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t count, mask; /* mask is capacity - 1, 0 while nothing was put */
};

void map_done(struct map *m); /* frees the table, not the values */
void *map_get(const struct map *m, struct str key);
/* Returns the value that was there before, or NULL. The key must live as long as the entry. */
void *map_put(struct map *m, struct str key, void *value);
void *map_del(struct map *m, struct str key); /* the value that was there, or NULL */

/* for (size_t i = 0; map_next(m, &i, &key, &value);) ...  key and value may be NULL */
bool map_next(const struct map *m, size_t *at, struct str *key, void **value);

/* The same for 64-bit keys (request ids). */
struct idmap_slot;
struct idmap {
    struct idmap_slot *slots;
    size_t count, mask;
};
void idmap_done(struct idmap *m);
void *idmap_get(const struct idmap *m, uint64_t key);
void *idmap_put(struct idmap *m, uint64_t key, void *value);
void *idmap_del(struct idmap *m, uint64_t key);
bool idmap_next(const struct idmap *m, size_t *at, uint64_t *key, void **value);

/* SipHash-1-3 with the process key, or with a key of the caller's where the result must be
 * the same in another process. */
uint64_t hash_bytes(const void *p, size_t n);
uint64_t hash_keyed(const uint64_t key[2], const void *p, size_t n);
static inline uint64_t hash_str(struct str s) {
    return hash_bytes(s.p, s.n);
}
