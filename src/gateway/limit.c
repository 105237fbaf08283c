/* limit.c - see limit.h. */
#include "gateway/limit.h"
#include "base/map.h"
#include "base/mem.h"
#include <pthread.h>

/* Sums of an instant and two of these cannot overflow. */
#define LONGEST ((double)((nanos)1 << 60))

static nanos clamped(double ns) {
    return ns < 1 ? 1 : ns > LONGEST ? (nanos)LONGEST : (nanos)ns;
}

void limit_configure(struct limit *l, double per_second, double burst) {
    nanos gap = per_second > 0 ? clamped((double)NANOS_SEC / per_second) : 0;
    atomic_store(&l->gap, gap);
    atomic_store(&l->burst, clamped((double)gap * (burst >= 1 ? burst : 1)));
}

bool limit_take(struct limit *l, nanos now, nanos *retry) {
    nanos gap = atomic_load_explicit(&l->gap, memory_order_relaxed);
    if (!gap)
        return true;
    nanos burst = atomic_load_explicit(&l->burst, memory_order_relaxed);
    nanos next = atomic_load_explicit(&l->next, memory_order_relaxed);
    for (;;) {
        nanos after = (next > now ? next : now) + gap;
        if (after - now > burst) {
            *retry = after - now - burst;
            return false;
        }
        if (atomic_compare_exchange_weak(&l->next, &next, after))
            return true;
    }
}

struct limits_table {
    pthread_mutex_t lock;
    struct idmap map;
};

struct limits_table *limits_new(void) {
    struct limits_table *t = NEW(struct limits_table);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void limits_free(struct limits_table *t) {
    if (!t)
        return;
    uint64_t key;
    void *value;
    for (size_t i = 0; idmap_next(&t->map, &i, &key, &value);)
        free(value);
    idmap_done(&t->map);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

struct limit *limits_find(struct limits_table *t, uint64_t digest, double per_second,
                          double burst) {
    pthread_mutex_lock(&t->lock);
    struct limit *l = idmap_get(&t->map, digest);
    if (!l) {
        l = NEW(struct limit);
        idmap_put(&t->map, digest, l);
    }
    pthread_mutex_unlock(&t->lock);
    limit_configure(l, per_second, burst);
    return l;
}
