/* shared.c - see shared.h: the calls of whichever backend it is, and the limits of all. */
#include "store/shared.h"
#include <assert.h>

static err_t check_key(struct str key) {
    assert(key.n > 0);
    return key.n <= SHARED_KEY_BYTES
               ? OK
               : ERR(TOO_LARGE, "shared state: a key of %zu bytes; at most %d are taken", key.n,
                     SHARED_KEY_BYTES);
}

static err_t check_value(struct str key, struct str value) {
    TRY(check_key(key));
    return value.n <= SHARED_VALUE_BYTES
               ? OK
               : ERR(TOO_LARGE, "shared state: %.*s has %zu bytes; at most %d are taken", STR(key),
                     value.n, SHARED_VALUE_BYTES);
}

err_t shared_open(const struct shared_conf *conf, struct shared **out) {
    return memory_shared.open(conf, out);
}

void shared_close(struct shared *s) {
    if (s)
        s->ops->close(s);
}

void shared_configure(struct shared *s, const struct shared_conf *conf) {
    s->ops->configure(s, conf);
}

err_t shared_get(struct task *t, struct shared *s, struct arena *a, struct str key,
                 struct shared_value *out) {
    TRY(check_key(key));
    return s->ops->get(t, s, a, key, false, out);
}

err_t shared_take(struct task *t, struct shared *s, struct arena *a, struct str key,
                  struct shared_value *out) {
    TRY(check_key(key));
    return s->ops->get(t, s, a, key, true, out);
}

err_t shared_put(struct task *t, struct shared *s, struct str key, struct str value, nanos ttl) {
    assert(ttl > 0);
    TRY(check_value(key, value));
    return s->ops->put(t, s, key, NULL, value, ttl);
}

err_t shared_swap(struct task *t, struct shared *s, struct str key, uint64_t version,
                  struct str value, nanos ttl) {
    assert(ttl > 0);
    TRY(check_value(key, value));
    return s->ops->put(t, s, key, &version, value, ttl);
}

err_t shared_touch(struct task *t, struct shared *s, struct str key, nanos ttl, bool *out_there) {
    assert(ttl > 0);
    TRY(check_key(key));
    bool there;
    return s->ops->touch(t, s, key, ttl, out_there ? out_there : &there);
}

err_t shared_remove(struct task *t, struct shared *s, struct str key, bool *out_there) {
    TRY(check_key(key));
    bool there;
    return s->ops->remove(t, s, key, out_there ? out_there : &there);
}

err_t shared_count(struct task *t, struct shared *s, struct str key, int64_t by, int64_t limit,
                   nanos ttl, struct shared_count *out) {
    assert(ttl > 0);
    TRY(check_key(key));
    return s->ops->count(t, s, key, by, limit, ttl, out);
}

err_t shared_subscribe(struct task *t, struct shared *s, struct str channel, shared_notice_fn *fn,
                       void *self, struct shared_subscription **out) {
    TRY(check_key(channel));
    return s->ops->subscribe(t, s, channel, fn, self, out);
}

void shared_unsubscribe(struct shared_subscription *subscription) {
    if (subscription)
        subscription->shared->ops->unsubscribe(subscription->shared, subscription);
}

err_t shared_publish(struct task *t, struct shared *s, struct str channel, struct str message) {
    TRY(check_value(channel, message));
    return s->ops->publish(t, s, channel, message);
}

void shared_tend(struct shared *s) {
    if (s->ops->tend)
        s->ops->tend(s);
}

struct shared_stats shared_stats(struct shared *s) {
    return s->ops->stats(s);
}
