/* The contract of store/shared.h, held against every implementation: a new one is a row of
 * `implementations`, all tests run for each. Time passes where the row says how. */
#include "base/buf.h"
#include "base/mem.h"
#include "store/shared.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include <cmocka.h>

enum { BYTES = 4 << 20 };

/* ---- implementations ---------------------------------------------------------------- */

struct implementation {
    const char *name;
    err_t (*open)(size_t bytes, struct shared **out);
    void (*pass)(nanos duration);
};

static nanos now_of_test;

static nanos test_clock(void) {
    return now_of_test;
}

static err_t memory_open(size_t bytes, struct shared **out) {
    return memory_shared.open(&(struct shared_conf){ .bytes = bytes, .clock = test_clock }, out);
}

static void memory_pass(nanos duration) {
    now_of_test += duration;
}

static const struct implementation implementations[] = {
    { "memory", memory_open, memory_pass },
};

/* ---- a fresh one for each test ------------------------------------------------------ */

struct place {
    const struct implementation *how;
    struct shared *s;
    struct arena arena;
};

static int set_up(void **state) {
    struct place *p = NEW(struct place);
    p->how = *state;
    now_of_test = 1;
    arena_init(&p->arena, NULL, 0);
    assert_null(p->how->open(BYTES, &p->s));
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    struct place *p = *state;
    shared_close(p->s);
    arena_done(&p->arena);
    *state = (void *)p->how; /* for the next test of this implementation */
    free(p);
    return 0;
}

static void put(struct place *p, const char *key, const char *value, nanos ttl) {
    assert_null(shared_put(NULL, p->s, str_of(key), str_of(value), ttl));
}

static struct shared_value get(struct place *p, const char *key) {
    struct shared_value v;
    assert_null(shared_get(NULL, p->s, &p->arena, str_of(key), &v));
    return v;
}

static struct shared_count count(struct place *p, const char *key, int64_t by, int64_t limit) {
    struct shared_count c;
    assert_null(shared_count(NULL, p->s, str_of(key), by, limit, 10 * NANOS_SEC, &c));
    return c;
}

#define assert_value(v, text)                                              \
    do {                                                                   \
        assert_true((v).version != 0);                                     \
        assert_true(str_eq((v).bytes, S(text)));                           \
    } while (0)

/* ---- entries ------------------------------------------------------------------------ */

static void what_was_put_is_there_for_its_time(void **state) {
    struct place *p = *state;
    assert_int_equal(get(p, "kind/a").version, 0);
    put(p, "kind/a", "one", 10 * NANOS_SEC);
    struct shared_value v = get(p, "kind/a");
    assert_value(v, "one");
    assert_true(v.left > 0 && v.left <= 10 * NANOS_SEC);
    p->how->pass(9 * NANOS_SEC);
    assert_value(get(p, "kind/a"), "one");
    p->how->pass(NANOS_SEC);
    assert_int_equal(get(p, "kind/a").version, 0);
}

static void a_put_replaces_value_time_and_version(void **state) {
    struct place *p = *state;
    put(p, "k", "one", NANOS_SEC);
    uint64_t first = get(p, "k").version;
    put(p, "k", "another, longer", 5 * NANOS_SEC);
    p->how->pass(2 * NANOS_SEC);
    assert_value(get(p, "k"), "another, longer");
    assert_int_not_equal(get(p, "k").version, first);
    put(p, "k", "", 5 * NANOS_SEC); /* empty is there, unlike absent */
    assert_value(get(p, "k"), "");
}

static void keys_and_values_are_bytes(void **state) {
    struct place *p = *state;
    struct str key = S("k\0\xff\r\n 1"), other = S("k\0\xff\r\n 2"), value = S("\0\r\n\xc3$-1");
    assert_null(shared_put(NULL, p->s, key, value, NANOS_SEC));
    struct shared_value v;
    assert_null(shared_get(NULL, p->s, &p->arena, key, &v));
    assert_true(v.version && str_eq(v.bytes, value));
    assert_null(shared_get(NULL, p->s, &p->arena, other, &v));
    assert_int_equal(v.version, 0);
}

static void a_value_that_was_read_is_the_readers(void **state) {
    struct place *p = *state;
    put(p, "k", "one", NANOS_SEC);
    struct shared_value v = get(p, "k");
    put(p, "k", "two", NANOS_SEC);
    assert_value(v, "one");
}

static void a_taken_value_is_had_once(void **state) {
    struct place *p = *state;
    struct shared_value v;
    put(p, "code", "grant", NANOS_SEC);
    assert_null(shared_take(NULL, p->s, &p->arena, S("code"), &v));
    assert_value(v, "grant");
    assert_null(shared_take(NULL, p->s, &p->arena, S("code"), &v));
    assert_int_equal(v.version, 0);
    assert_int_equal(get(p, "code").version, 0);
}

static void a_removed_entry_is_gone(void **state) {
    struct place *p = *state;
    bool there;
    put(p, "k", "one", NANOS_SEC);
    assert_null(shared_remove(NULL, p->s, S("k"), &there));
    assert_true(there);
    assert_int_equal(get(p, "k").version, 0);
    assert_null(shared_remove(NULL, p->s, S("k"), &there));
    assert_false(there);
    assert_null(shared_remove(NULL, p->s, S("k"), NULL));
    put(p, "k", "one", NANOS_SEC);
    p->how->pass(NANOS_SEC);
    assert_null(shared_remove(NULL, p->s, S("k"), &there));
    assert_false(there); /* it had expired */
}

static void a_touch_gives_new_time_and_nothing_else(void **state) {
    struct place *p = *state;
    bool there;
    put(p, "k", "one", 2 * NANOS_SEC);
    uint64_t version = get(p, "k").version;
    p->how->pass(NANOS_SEC);
    assert_null(shared_touch(NULL, p->s, S("k"), 5 * NANOS_SEC, &there));
    assert_true(there);
    p->how->pass(4 * NANOS_SEC);
    assert_value(get(p, "k"), "one");
    assert_int_equal(get(p, "k").version, version);
    p->how->pass(NANOS_SEC);
    assert_null(shared_touch(NULL, p->s, S("k"), NANOS_SEC, &there));
    assert_false(there); /* what is gone is not brought back */
    assert_null(shared_touch(NULL, p->s, S("k"), NANOS_SEC, NULL));
    assert_int_equal(get(p, "k").version, 0);
}

/* ---- compare and set ---------------------------------------------------------------- */

static err_t swap(struct place *p, uint64_t version, const char *value) {
    return shared_swap(NULL, p->s, S("k"), version, str_of(value), 10 * NANOS_SEC);
}

#define assert_conflict(call)                                              \
    do {                                                                   \
        err_t e_ = (call);                                                 \
        assert_non_null(e_);                                               \
        assert_int_equal(e_->kind, ERR_CONFLICT);                          \
    } while (0)

static void a_swap_under_the_version_that_was_read_holds(void **state) {
    struct place *p = *state;
    assert_conflict(swap(p, 1, "none")); /* there is none to replace */
    assert_null(swap(p, 0, "one"));
    assert_conflict(swap(p, 0, "two")); /* there is one */
    uint64_t first = get(p, "k").version;
    assert_null(swap(p, first, "two"));
    assert_conflict(swap(p, first, "three"));
    assert_value(get(p, "k"), "two");
}

static void an_expired_or_new_made_entry_has_another_version(void **state) {
    struct place *p = *state;
    assert_null(swap(p, 0, "one"));
    uint64_t first = get(p, "k").version;
    p->how->pass(10 * NANOS_SEC);
    assert_conflict(swap(p, first, "two"));
    assert_null(swap(p, 0, "one"));
    assert_int_not_equal(get(p, "k").version, first);
    assert_null(shared_remove(NULL, p->s, S("k"), NULL));
    assert_null(swap(p, 0, "one"));
    assert_conflict(swap(p, first, "two"));
}

/* ---- counters ----------------------------------------------------------------------- */

static void a_counter_adds_up_to_its_limit(void **state) {
    struct place *p = *state;
    struct shared_count c = count(p, "calls/a", 2, 3);
    assert_true(c.added);
    assert_int_equal(c.total, 2);
    assert_false(count(p, "calls/a", 2, 3).added);
    c = count(p, "calls/a", 1, 3);
    assert_true(c.added);
    assert_int_equal(c.total, 3);
    c = count(p, "calls/a", 1, 3);
    assert_false(c.added);
    assert_int_equal(c.total, 3);
    assert_true(count(p, "calls/b", 1, 3).added); /* another key's is its own */
}

static void a_counter_goes_down_even_beyond_its_limit(void **state) {
    struct place *p = *state;
    count(p, "c", 5, 10);
    struct shared_count c = count(p, "c", -1, 1); /* the limit was lowered meanwhile */
    assert_true(c.added);
    assert_int_equal(c.total, 4);
    assert_false(count(p, "c", INT64_MAX, INT64_MAX).added); /* no overflow */
}

static void a_counters_window_begins_with_its_first_addition(void **state) {
    struct place *p = *state;
    count(p, "c", 1, 2);
    p->how->pass(6 * NANOS_SEC);
    struct shared_count c = count(p, "c", 1, 2);
    assert_true(c.left > 0 && c.left <= 4 * NANOS_SEC);
    p->how->pass(4 * NANOS_SEC);
    c = count(p, "c", 1, 2);
    assert_true(c.added);
    assert_int_equal(c.total, 1);
    assert_null(shared_remove(NULL, p->s, S("c"), NULL));
    assert_int_equal(count(p, "c", 2, 2).total, 2);
}

static void a_refused_first_addition_makes_no_counter(void **state) {
    struct place *p = *state;
    assert_false(count(p, "c", 3, 2).added);
    assert_int_equal(shared_stats(p->s).entries, 0);
}

/* ---- notices ------------------------------------------------------------------------ */

struct heard {
    int messages;
    char last[32];
};

static void hear(void *self, struct str message) {
    struct heard *h = self;
    h->messages++;
    snprintf(h->last, sizeof h->last, "%.*s", STR(message));
}

static struct shared_subscription *subscribe(struct place *p, const char *channel,
                                             struct heard *h) {
    struct shared_subscription *one = NULL;
    assert_null(shared_subscribe(NULL, p->s, str_of(channel), hear, h, &one));
    return one;
}

static void a_notice_reaches_all_who_listen_to_its_channel(void **state) {
    struct place *p = *state;
    struct heard a = { 0 }, b = { 0 }, other = { 0 };
    struct shared_subscription *one = subscribe(p, "sessions", &a);
    struct shared_subscription *two = subscribe(p, "sessions", &b);
    struct shared_subscription *three = subscribe(p, "session", &other);
    assert_null(shared_publish(NULL, p->s, S("sessions"), S("first")));
    assert_null(shared_publish(NULL, p->s, S("sessions"), S("second")));
    assert_null(shared_publish(NULL, p->s, S("nobody"), S("third")));
    assert_int_equal(a.messages, 2);
    assert_int_equal(b.messages, 2);
    assert_string_equal(a.last, "second"); /* in order */
    assert_int_equal(other.messages, 0);
    shared_unsubscribe(one);
    assert_null(shared_publish(NULL, p->s, S("sessions"), S("fourth")));
    assert_int_equal(a.messages, 2);
    assert_string_equal(b.last, "fourth");
    shared_unsubscribe(two);
    shared_unsubscribe(three);
    shared_unsubscribe(NULL);
}

/* ---- limits ------------------------------------------------------------------------- */

static void keys_and_values_beyond_their_limits_are_refused(void **state) {
    struct place *p = *state;
    char key[SHARED_KEY_BYTES + 1];
    memset(key, 'k', sizeof key);
    err_t e = shared_put(NULL, p->s, str_from(key, sizeof key), S(""), NANOS_SEC);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_TOO_LARGE);
    assert_null(shared_put(NULL, p->s, str_from(key, SHARED_KEY_BYTES), S(""), NANOS_SEC));
    SCOPED(mem_scope) char *value = mem_zero(SHARED_VALUE_BYTES + 1);
    e = shared_put(NULL, p->s, S("k"), str_from(value, SHARED_VALUE_BYTES + 1), NANOS_SEC);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_TOO_LARGE);
    assert_null(shared_put(NULL, p->s, S("k"), str_from(value, SHARED_VALUE_BYTES), NANOS_SEC));
    assert_int_equal(get(p, "k").bytes.n, SHARED_VALUE_BYTES);
}

/* Fills it with entries of 100 kB that live for `ttl`; returns the refusal. */
static err_t fill(struct place *p, nanos ttl) {
    SCOPED(mem_scope) char *value = mem_zero(100000);
    err_t e = OK;
    for (int i = 0; !e && i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "fill/%d", i);
        e = shared_put(NULL, p->s, str_of(key), str_from(value, 100000), ttl);
    }
    return e;
}

static void what_is_full_refuses_and_keeps_what_it_has(void **state) {
    struct place *p = *state;
    put(p, "old", "one", 100 * NANOS_SEC);
    err_t e = fill(p, 10 * NANOS_SEC);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_UNAVAILABLE);
    assert_true(shared_stats(p->s).bytes <= BYTES);
    assert_value(get(p, "old"), "one");
    put(p, "old", "two", 100 * NANOS_SEC); /* takes no more room */
    p->how->pass(10 * NANOS_SEC);
    shared_tend(p->s);
    assert_int_equal(shared_stats(p->s).entries, 1);
    assert_value(get(p, "old"), "two");
    assert_non_null(fill(p, NANOS_SEC));
}

static void what_expired_is_freed_without_care_when_much_is_written(void **state) {
    struct place *p = *state;
    for (int i = 0; i < 100000; i++) {
        char key[32];
        snprintf(key, sizeof key, "short/%d", i);
        put(p, key, "0123456789", NANOS_SEC);
        if (i % 1000 == 0)
            p->how->pass(NANOS_SEC);
    }
    p->how->pass(NANOS_SEC);
    shared_tend(p->s);
    assert_int_equal(shared_stats(p->s).entries, 0);
    assert_int_equal(shared_stats(p->s).bytes, 0);
}

static void a_reload_changes_how_much_there_may_be(void **state) {
    struct place *p = *state;
    put(p, "k", "one", NANOS_SEC);
    shared_configure(p->s, &(struct shared_conf){ .bytes = 10 });
    assert_non_null(shared_put(NULL, p->s, S("l"), S("two"), NANOS_SEC));
    assert_value(get(p, "k"), "one");
    shared_configure(p->s, &(struct shared_conf){ .bytes = BYTES });
    put(p, "l", "two", NANOS_SEC);
}

/* ---- threads ------------------------------------------------------------------------ */

enum { THREADS = 4, ROUNDS = 2000 };

struct crowd {
    struct place *place;
    atomic_int took, swapped;
};

static void add_one_by_swapping(struct crowd *c) {
    struct arena a;
    arena_init(&a, NULL, 0);
    struct shared_value v;
    char text[16];
    do {
        assert_null(shared_get(NULL, c->place->s, &a, S("sum"), &v));
        int old = 0;
        if (v.version)
            old = atoi(arena_dup(&a, v.bytes).p);
        snprintf(text, sizeof text, "%07d", old + 1);
    } while (shared_swap(NULL, c->place->s, S("sum"), v.version, str_from(text, 8), NANOS_SEC));
    if (shared_take(NULL, c->place->s, &a, S("once"), &v) == OK && v.version)
        atomic_fetch_add(&c->took, 1);
    arena_done(&a);
}

static void *crowd_main(void *arg) {
    struct crowd *c = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct shared_count n;
        assert_null(shared_count(NULL, c->place->s, S("count"), 1, INT64_MAX, NANOS_SEC, &n));
        assert_null(shared_publish(NULL, c->place->s, S("room"), S("x")));
        add_one_by_swapping(c);
    }
    return NULL;
}

static void count_message(void *self, struct str message) {
    atomic_fetch_add((atomic_int *)self, (int)message.n);
}

static void threads_lose_nothing_to_each_other(void **state) {
    struct place *p = *state;
    struct crowd c = { .place = p };
    atomic_int messages = 0;
    struct shared_subscription *one;
    assert_null(shared_subscribe(NULL, p->s, S("room"), count_message, &messages, &one));
    put(p, "once", "x", NANOS_SEC);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    shared_unsubscribe(one);
    assert_int_equal(count(p, "count", 0, INT64_MAX).total, THREADS * ROUNDS);
    assert_int_equal(atoi(get(p, "sum").bytes.p), THREADS * ROUNDS);
    assert_int_equal(atomic_load(&c.took), 1);
    assert_int_equal(atomic_load(&messages), THREADS * ROUNDS);
}

/* ---- all of them -------------------------------------------------------------------- */

#define CONTRACT(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    int failed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(implementations); i++) {
        struct CMUnitTest tests[] = {
            CONTRACT(what_was_put_is_there_for_its_time),
            CONTRACT(a_put_replaces_value_time_and_version),
            CONTRACT(keys_and_values_are_bytes),
            CONTRACT(a_value_that_was_read_is_the_readers),
            CONTRACT(a_taken_value_is_had_once),
            CONTRACT(a_removed_entry_is_gone),
            CONTRACT(a_touch_gives_new_time_and_nothing_else),
            CONTRACT(a_swap_under_the_version_that_was_read_holds),
            CONTRACT(an_expired_or_new_made_entry_has_another_version),
            CONTRACT(a_counter_adds_up_to_its_limit),
            CONTRACT(a_counter_goes_down_even_beyond_its_limit),
            CONTRACT(a_counters_window_begins_with_its_first_addition),
            CONTRACT(a_refused_first_addition_makes_no_counter),
            CONTRACT(a_notice_reaches_all_who_listen_to_its_channel),
            CONTRACT(keys_and_values_beyond_their_limits_are_refused),
            CONTRACT(what_is_full_refuses_and_keeps_what_it_has),
            CONTRACT(what_expired_is_freed_without_care_when_much_is_written),
            CONTRACT(a_reload_changes_how_much_there_may_be),
            CONTRACT(threads_lose_nothing_to_each_other),
        };
        for (size_t n = 0; n < ARRAY_SIZE(tests); n++)
            tests[n].initial_state = (void *)&implementations[i];
        failed += cmocka_run_group_tests_name(implementations[i].name, tests, NULL, NULL);
    }
    return failed;
}
