#include "base/map.h"
#include "base/mem.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { KEYS = 3000 };
static char names[KEYS][16];
static int values[KEYS];

static struct str name(size_t i) {
    snprintf(names[i], sizeof names[i], "key-%zu", i);
    return str_of(names[i]);
}

static void an_empty_map_has_nothing(void **state) {
    struct map m = { 0 };
    size_t at = 0;
    assert_null(map_get(&m, S("x")));
    assert_null(map_del(&m, S("x")));
    assert_false(map_next(&m, &at, NULL, NULL));
    map_done(&m);
}

static void put_answers_what_was_there(void **state) {
    SCOPED(map_done) struct map m = { 0 };
    assert_null(map_put(&m, S("a"), &values[0]));
    assert_ptr_equal(map_put(&m, S("a"), &values[1]), &values[0]);
    assert_ptr_equal(map_get(&m, S("a")), &values[1]);
    assert_int_equal(m.count, 1);
}

static void keys_are_bytes(void **state) {
    SCOPED(map_done) struct map m = { 0 };
    map_put(&m, S("a\0b"), &values[0]);
    map_put(&m, S("a\0c"), &values[1]);
    map_put(&m, S(""), &values[2]);
    assert_ptr_equal(map_get(&m, S("a\0b")), &values[0]);
    assert_ptr_equal(map_get(&m, S("a\0c")), &values[1]);
    assert_ptr_equal(map_get(&m, (struct str){ NULL, 0 }), &values[2]);
    assert_null(map_get(&m, S("a")));
}

/* A second bookkeeping in a plain array; deletion must never lose a probed-over entry. */
static void agrees_with_an_array_through_puts_and_deletes(void **state) {
    SCOPED(map_done) struct map m = { 0 };
    static bool present[KEYS];
    uint64_t random = 1;
    size_t count = 0;
    for (size_t step = 0; step < 60000; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t i = (random >> 33) % KEYS;
        void *want = present[i] ? &values[i] : NULL;
        bool put = (random >> 20) % 5 < (step / 10000 % 2 ? 1 : 3);
        void *was = put ? map_put(&m, name(i), &values[i]) : map_del(&m, name(i));
        assert_ptr_equal(was, want);
        count = count - present[i] + put;
        present[i] = put;
    }
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(&m, name(i)), present[i] ? &values[i] : NULL);
    assert_int_equal(m.count, count);
}

static void iteration_visits_each_entry_once(void **state) {
    SCOPED(map_done) struct map m = { 0 };
    for (size_t i = 0; i < 100; i++)
        map_put(&m, name(i), &values[i]);
    int seen[100] = { 0 };
    struct str key;
    void *value;
    for (size_t at = 0; map_next(&m, &at, &key, &value);) {
        size_t i = (size_t)((int *)value - values);
        assert_true(i < 100 && str_eq(key, name(i)));
        seen[i]++;
    }
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
}

static void idmap_agrees_with_an_array(void **state) {
    SCOPED(idmap_done) struct idmap m = { 0 };
    static bool present[KEYS];
    uint64_t random = 7;
    assert_null(idmap_get(&m, 0));
    assert_null(idmap_del(&m, 0));
    for (size_t step = 0; step < 60000; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t i = (random >> 33) % KEYS;
        uint64_t key = i << 40; /* differing in high bits only */
        bool put = (random >> 20) % 5 < (step / 10000 % 2 ? 1 : 3);
        void *was = put ? idmap_put(&m, key, &values[i]) : idmap_del(&m, key);
        assert_ptr_equal(was, present[i] ? &values[i] : NULL);
        present[i] = put;
    }
    size_t count = 0, seen = 0;
    for (size_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(idmap_get(&m, i << 40), present[i] ? &values[i] : NULL);
        count += present[i];
    }
    uint64_t key;
    void *value;
    for (size_t at = 0; idmap_next(&m, &at, &key, &value); seen++)
        assert_ptr_equal(value, &values[key >> 40]);
    assert_int_equal(seen, count);
    assert_int_equal(m.count, count);
}

static uint64_t openssl_siphash13(const uint64_t key[2], const void *p, size_t n) {
    unsigned c = 1, d = 3;
    size_t size = 8, got = 0;
    uint64_t out = 0;
    const OSSL_PARAM params[] = { OSSL_PARAM_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                  OSSL_PARAM_uint(OSSL_MAC_PARAM_C_ROUNDS, &c),
                                  OSSL_PARAM_uint(OSSL_MAC_PARAM_D_ROUNDS, &d), OSSL_PARAM_END };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    assert_true(EVP_MAC_init(ctx, (const unsigned char *)key, 16, params));
    assert_true(EVP_MAC_update(ctx, p, n));
    assert_true(EVP_MAC_final(ctx, (unsigned char *)&out, &got, sizeof out));
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return out;
}

static void hash_is_siphash_1_3_at_every_length(void **state) {
    const uint64_t key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
    for (size_t n = 0; n < 70; n++) {
        SCOPED(mem_scope) unsigned char *p = mem_alloc(n); /* exact: ASan sees over-reading */
        for (size_t i = 0; i < n; i++)
            p[i] = (unsigned char)(i * 37 + n);
        assert_true(hash_keyed(key, p, n) == openssl_siphash13(key, p, n));
    }
}

static void the_process_key_is_not_zero(void **state) {
    const uint64_t zero[2] = { 0, 0 };
    assert_true(hash_bytes("abc", 3) == hash_str(S("abc")));
    assert_true(hash_bytes("abc", 3) != hash_keyed(zero, "abc", 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(put_answers_what_was_there),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(agrees_with_an_array_through_puts_and_deletes),
        cmocka_unit_test(iteration_visits_each_entry_once),
        cmocka_unit_test(idmap_agrees_with_an_array),
        cmocka_unit_test(hash_is_siphash_1_3_at_every_length),
        cmocka_unit_test(the_process_key_is_not_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
