/* map.c - see map.h. An empty slot has a NULL value, so no entry may. Tables are at most
 * three quarters full: probes stay short and a search always meets an empty slot. */
#include "base/map.h"
#include "base/mem.h"
#include <assert.h>
#include <endian.h>
#include <sys/random.h>

#define CAPACITY_MIN 8

static uint64_t process_key[2];

/* Before main, so that hashing needs no check. */
__attribute__((constructor)) static void make_process_key(void) {
    if (getrandom(process_key, sizeof process_key, 0) != sizeof process_key)
        abort();
}

/* ---- SipHash-1-3 (J.-P. Aumasson, D. J. Bernstein, 2012) ------------------------- */

static uint64_t load64(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static uint64_t load32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static inline uint64_t rotl(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
    v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* The n % 8 bytes behind the last whole word, little end first, without a loop: overlapping
 * loads read the same byte twice rather than byte by byte. */
static inline uint64_t sip_tail(const unsigned char *p, size_t n) {
    size_t left = n & 7;
    if (left == 0)
        return 0;
    if (n > 8)
        return load64(p + n - 8) >> (64 - 8 * left);
    if (n >= 4)
        return load32(p) | load32(p + n - 4) << (8 * (n - 4));
    return p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)p[n - 1] << (8 * (n - 1));
}

static inline uint64_t siphash13(const uint64_t key[2], const unsigned char *p, size_t n) {
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                      key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573 };
    for (size_t at = 0; at + 8 <= n; at += 8)
        sip_word(v, load64(p + at));
    sip_word(v, (uint64_t)n << 56 | sip_tail(p, n));
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_keyed(const uint64_t key[2], const void *p, size_t n) {
    return siphash13(key, p, n);
}

uint64_t hash_bytes(const void *p, size_t n) {
    return siphash13(process_key, p, n);
}

/* ---- bytes to pointers ----------------------------------------------------------- */

struct map_slot {
    uint64_t hash;
    struct str key;
    void *value;
};

static size_t capacity(const void *slots, size_t mask) {
    return slots ? mask + 1 : 0;
}

static bool crowded(size_t count, size_t capacity) {
    return (count + 1) * 4 > capacity * 3;
}

/* True when an entry at `at` that belongs at `home` may move to the hole before it: its
 * home must not lie between the two, around the end of the table. */
static bool may_fill(size_t hole, size_t at, size_t home, size_t mask) {
    return ((at - home) & mask) >= ((at - hole) & mask);
}

/* The slot of the key, or the empty one where it would go. */
static struct map_slot *find(const struct map *m, uint64_t hash, struct str key) {
    size_t i = hash & m->mask;
    while (m->slots[i].value && (m->slots[i].hash != hash || !str_eq(m->slots[i].key, key)))
        i = (i + 1) & m->mask;
    return &m->slots[i];
}

static void map_grow(struct map *m) {
    struct map old = *m;
    size_t had = capacity(old.slots, old.mask), cap = had ? had * 2 : CAPACITY_MIN;
    m->slots = NEW_ARRAY(struct map_slot, cap);
    m->mask = cap - 1;
    for (size_t i = 0; i < had; i++)
        if (old.slots[i].value)
            *find(m, old.slots[i].hash, old.slots[i].key) = old.slots[i];
    free(old.slots);
}

void map_done(struct map *m) {
    free(m->slots);
    *m = (struct map){ 0 };
}

void *map_get(const struct map *m, struct str key) {
    return m->count ? find(m, hash_str(key), key)->value : NULL;
}

void *map_put(struct map *m, struct str key, void *value) {
    assert(value);
    if (crowded(m->count, capacity(m->slots, m->mask)))
        map_grow(m);
    uint64_t hash = hash_str(key);
    struct map_slot *slot = find(m, hash, key);
    void *before = slot->value;
    m->count += !before;
    *slot = (struct map_slot){ hash, key, value };
    return before;
}

void *map_del(struct map *m, struct str key) {
    struct map_slot *slot = m->count ? find(m, hash_str(key), key) : NULL;
    void *before = slot ? slot->value : NULL;
    if (!before)
        return NULL;
    size_t hole = (size_t)(slot - m->slots);
    for (size_t i = (hole + 1) & m->mask; m->slots[i].value; i = (i + 1) & m->mask) {
        if (may_fill(hole, i, m->slots[i].hash & m->mask, m->mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){ 0 };
    m->count--;
    return before;
}

bool map_next(const struct map *m, size_t *at, struct str *key, void **value) {
    size_t end = capacity(m->slots, m->mask);
    while (*at < end && !m->slots[*at].value)
        (*at)++;
    if (*at >= end)
        return false;
    const struct map_slot *slot = &m->slots[(*at)++];
    if (key)
        *key = slot->key;
    if (value)
        *value = slot->value;
    return true;
}

/* ---- numbers to pointers --------------------------------------------------------- */

struct idmap_slot {
    uint64_t key;
    void *value;
};

/* Multiply-shift under the process key: ids may be picked by a peer too. */
static size_t home_of(const struct idmap *m, uint64_t key) {
    uint64_t h = (key ^ process_key[0]) * (process_key[1] | 1);
    return (h ^ h >> 32) & m->mask;
}

static struct idmap_slot *id_find(const struct idmap *m, uint64_t key) {
    size_t i = home_of(m, key);
    while (m->slots[i].value && m->slots[i].key != key)
        i = (i + 1) & m->mask;
    return &m->slots[i];
}

static void idmap_grow(struct idmap *m) {
    struct idmap old = *m;
    size_t had = capacity(old.slots, old.mask), cap = had ? had * 2 : CAPACITY_MIN;
    m->slots = NEW_ARRAY(struct idmap_slot, cap);
    m->mask = cap - 1;
    for (size_t i = 0; i < had; i++)
        if (old.slots[i].value)
            *id_find(m, old.slots[i].key) = old.slots[i];
    free(old.slots);
}

void idmap_done(struct idmap *m) {
    free(m->slots);
    *m = (struct idmap){ 0 };
}

void *idmap_get(const struct idmap *m, uint64_t key) {
    return m->count ? id_find(m, key)->value : NULL;
}

void *idmap_put(struct idmap *m, uint64_t key, void *value) {
    assert(value);
    if (crowded(m->count, capacity(m->slots, m->mask)))
        idmap_grow(m);
    struct idmap_slot *slot = id_find(m, key);
    void *before = slot->value;
    m->count += !before;
    *slot = (struct idmap_slot){ key, value };
    return before;
}

void *idmap_del(struct idmap *m, uint64_t key) {
    struct idmap_slot *slot = m->count ? id_find(m, key) : NULL;
    void *before = slot ? slot->value : NULL;
    if (!before)
        return NULL;
    size_t hole = (size_t)(slot - m->slots);
    for (size_t i = (hole + 1) & m->mask; m->slots[i].value; i = (i + 1) & m->mask) {
        if (may_fill(hole, i, home_of(m, m->slots[i].key), m->mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct idmap_slot){ 0 };
    m->count--;
    return before;
}

bool idmap_next(const struct idmap *m, size_t *at, uint64_t *key, void **value) {
    size_t end = capacity(m->slots, m->mask);
    while (*at < end && !m->slots[*at].value)
        (*at)++;
    if (*at >= end)
        return false;
    const struct idmap_slot *slot = &m->slots[(*at)++];
    if (key)
        *key = slot->key;
    if (value)
        *value = slot->value;
    return true;
}
