#include "base/crypto.h"
#include "base/mem.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_hex(const void *p, size_t n, const char *want) {
    SCOPED(buf_done) struct buf b = { 0 };
    hex_put(&b, p, n);
    assert_string_equal(buf_text(&b), want);
}

static void random_bytes_differ(void **state) {
    uint8_t a[300], b[300] = { 0 };
    crypto_random(a, sizeof a);
    assert_memory_not_equal(a, b, sizeof a);
    crypto_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void sha256_of_known_texts(void **state) {
    uint8_t out[SHA256_SIZE];
    crypto_sha256(S(""), out);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256((struct str){ NULL, 0 }, out);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256(S("abc"), out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* More keys than are remembered, in an order that hits and misses. */
static void hmac_agrees_with_the_one_shot_function(void **state) {
    for (unsigned i = 0; i < 200; i++) {
        uint8_t key[SHA256_SIZE] = { (uint8_t)(i * i % 7) }, got[SHA256_SIZE], want[SHA256_SIZE];
        char data[100];
        memset(data, (int)i, sizeof data);
        size_t n = i % sizeof data;
        crypto_hmac(key, str_from(data, n), got);
        HMAC(EVP_sha256(), key, sizeof key, (const uint8_t *)data, n, want, NULL);
        assert_memory_equal(got, want, sizeof want);
    }
}

static void derivation_is_hkdf_sha256_without_salt(void **state) {
    uint8_t master[SHA256_SIZE] = { 1, 2, 3 }, got[SHA256_SIZE], want[SHA256_SIZE],
            other[SHA256_SIZE];
    char purpose[] = "cursor";
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, "SHA256", 6),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, master, sizeof master),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, purpose, sizeof purpose - 1), OSSL_PARAM_END
    };
    assert_true(EVP_KDF_derive(ctx, want, sizeof want, params) > 0);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    crypto_derive(master, purpose, got);
    assert_memory_equal(got, want, sizeof want);
    crypto_derive(master, "request state", other);
    assert_memory_not_equal(other, got, sizeof got);
}

static void equality_and_wiping(void **state) {
    char a[] = "secret", b[] = "secret";
    assert_true(crypto_equal(a, b, 6));
    b[5] = 'T';
    assert_false(crypto_equal(a, b, 6));
    crypto_wipe(a, 6);
    assert_memory_equal(a, "\0\0\0\0\0\0", 6);
}

static const struct seal_ring ring = {
    .count = 2,
    .keys = { { .id = 7, .key = { 1 } }, { .id = 6, .key = { 2 } } },
};

static void what_is_sealed_opens_again(void **state) {
    static const char *const texts[] = { "", "x", "a cursor of some length, {\"at\":12}" };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        SCOPED(buf_done) struct buf sealed = { 0 };
        SCOPED(buf_done) struct buf plain = { 0 };
        crypto_seal(&ring, S("cursor:alice"), str_of(texts[i]), &sealed);
        buf_str(&plain, S("before "));
        assert_null(crypto_open(&ring, S("cursor:alice"), buf_view(&sealed), &plain));
        assert_string_equal(buf_text(&plain) + 7, texts[i]);
    }
}

static void sealed_values_hide_their_text_and_never_repeat(void **state) {
    SCOPED(buf_done) struct buf a = { 0 };
    SCOPED(buf_done) struct buf b = { 0 };
    SCOPED(buf_done) struct buf raw = { 0 };
    crypto_seal(&ring, S(""), S("visible?"), &a);
    crypto_seal(&ring, S(""), S("visible?"), &b);
    assert_false(str_eq(buf_view(&a), buf_view(&b)));
    assert_true(base64url_get(buf_view(&a), &raw));
    assert_int_equal(str_find(buf_view(&raw), S("visible?")), -1);
}

static void assert_refused(const struct seal_ring *r, const char *bound, struct str sealed) {
    SCOPED(buf_done) struct buf plain = { 0 };
    buf_str(&plain, S("kept"));
    err_t e = crypto_open(r, str_of(bound), sealed, &plain);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_INVALID);
    assert_string_equal(buf_text(&plain), "kept");
}

static void every_changed_letter_is_noticed(void **state) {
    SCOPED(buf_done) struct buf sealed = { 0 };
    crypto_seal(&ring, S("b"), S("some text"), &sealed);
    for (size_t i = 0; i < sealed.n; i++) {
        char was = sealed.p[i];
        sealed.p[i] = was == 'A' ? 'B' : 'A';
        assert_refused(&ring, "b", buf_view(&sealed));
        sealed.p[i] = was;
        assert_refused(&ring, "b", str_head(buf_view(&sealed), i));
    }
    assert_refused(&ring, "c", buf_view(&sealed));
    assert_refused(&ring, "", buf_view(&sealed));
    buf_char(&sealed, 'A');
    assert_refused(&ring, "b", buf_view(&sealed));
    assert_refused(&ring, "b", S("not base64url!"));
}

static void keys_rotate(void **state) {
    const struct seal_ring older = { .count = 1, .keys = { ring.keys[1] } };
    const struct seal_ring newer = { .count = 1, .keys = { ring.keys[0] } };
    const struct seal_ring forged = { .count = 1, .keys = { { .id = 6, .key = { 9 } } } };
    SCOPED(buf_done) struct buf sealed = { 0 };
    SCOPED(buf_done) struct buf plain = { 0 };
    crypto_seal(&older, S("b"), S("old"), &sealed);
    assert_null(crypto_open(&ring, S("b"), buf_view(&sealed), &plain));
    assert_string_equal(buf_text(&plain), "old");
    assert_refused(&newer, "b", buf_view(&sealed));
    assert_refused(&forged, "b", buf_view(&sealed));
}

struct base64_row {
    struct str bytes;
    const char *plain, *url;
};

/* RFC 4648 §10, and the letters in which the alphabets differ. */
static const struct base64_row base64s[] = {
    { S_INIT(""), "", "" },
    { S_INIT("f"), "Zg==", "Zg" },
    { S_INIT("fo"), "Zm8=", "Zm8" },
    { S_INIT("foo"), "Zm9v", "Zm9v" },
    { S_INIT("foob"), "Zm9vYg==", "Zm9vYg" },
    { S_INIT("fooba"), "Zm9vYmE=", "Zm9vYmE" },
    { S_INIT("foobar"), "Zm9vYmFy", "Zm9vYmFy" },
    { S_INIT("\xfb\xff\xfe"), "+//+", "-__-" },
};

static void base64_in_both_alphabets(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(base64s); i++) {
        SCOPED(buf_done) struct buf plain = { 0 };
        SCOPED(buf_done) struct buf url = { 0 };
        SCOPED(buf_done) struct buf back = { 0 };
        base64_put(&plain, base64s[i].bytes.p, base64s[i].bytes.n);
        base64url_put(&url, base64s[i].bytes.p, base64s[i].bytes.n);
        assert_string_equal(buf_text(&plain), base64s[i].plain);
        assert_string_equal(buf_text(&url), base64s[i].url);
        assert_true(base64_get(buf_view(&plain), &back));
        assert_true(base64url_get(buf_view(&url), &back));
        assert_int_equal(back.n, 2 * base64s[i].bytes.n);
        assert_true(str_eq(str_skip(buf_view(&back), back.n / 2), base64s[i].bytes));
    }
}

static void base64_decoders_are_strict(void **state) {
    const char *const bad[] = { "Z",    "Zg=",  "Zg",   "Zh==", "Zm9=", "Zm9v=", "Zg==Zg==", "=",
                                "====", "Z===", "Zm 9", "-__-", "Zm9\n", "Zg==\n", "Zé==" };
    const char *const bad_url[] = { "Z", "Zg==", "Zm8=", "Zh", "Zm9", "+//+", "Zm9v\n", "Zm9vY" };
    SCOPED(buf_done) struct buf out = { 0 };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (base64_get(str_of(bad[i]), &out))
            fail_msg("took \"%s\"", bad[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad_url); i++)
        if (base64url_get(str_of(bad_url[i]), &out))
            fail_msg("took \"%s\" as url", bad_url[i]);
    assert_int_equal(out.n, 0);
}

static void base64_of_all_bytes_round_trips(void **state) {
    uint8_t all[256];
    for (size_t i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    for (size_t n = 0; n <= 256; n++) {
        SCOPED(buf_done) struct buf text = { 0 };
        SCOPED(buf_done) struct buf back = { 0 };
        base64url_put(&text, all + 256 - n, n);
        assert_true(base64url_get(buf_view(&text), &back));
        assert_true(str_eq(buf_view(&back), str_from((char *)all + 256 - n, n)));
    }
}

static void hex_in_and_out(void **state) {
    uint8_t out[3] = { 9, 9, 9 };
    assert_hex("\x00\xab\xff", 3, "00abff");
    assert_true(hex_get(S("00aBFf"), out, 3));
    assert_memory_equal(out, "\x00\xab\xff", 3);
    const char *const bad[] = { "", "00abf", "00abff0", "00abffff", "00abfg", "00ab f", "0x00ab" };
    memset(out, 9, sizeof out);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(hex_get(str_of(bad[i]), out, 3));
    assert_memory_equal(out, "\x09\x09\x09", 3);
}

static void *use_everything(void *arg) {
    uint8_t key[SHA256_SIZE] = { 3 }, out[SHA256_SIZE];
    SCOPED(buf_done) struct buf sealed = { 0 };
    SCOPED(buf_done) struct buf plain = { 0 };
    for (uint8_t i = 0; i < 50; i++) {
        key[0] = i % 6;
        crypto_sha256(S("abc"), out);
        crypto_hmac(key, S("abc"), out);
        buf_clear(&sealed);
        crypto_seal(&ring, S("b"), S("text"), &sealed);
        if (crypto_open(&ring, S("b"), buf_view(&sealed), &plain))
            return NULL;
    }
    return arg;
}

/* Under the sanitizers also: nothing is left when a thread ends. */
static void threads_come_and_go(void **state) {
    for (int round = 0; round < 3; round++) {
        pthread_t threads[4];
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, use_everything, threads), 0);
        for (size_t i = 0; i < 4; i++) {
            void *done = NULL;
            pthread_join(threads[i], &done);
            assert_ptr_equal(done, threads);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(sha256_of_known_texts),
        cmocka_unit_test(hmac_agrees_with_the_one_shot_function),
        cmocka_unit_test(derivation_is_hkdf_sha256_without_salt),
        cmocka_unit_test(equality_and_wiping),
        cmocka_unit_test(what_is_sealed_opens_again),
        cmocka_unit_test(sealed_values_hide_their_text_and_never_repeat),
        cmocka_unit_test(every_changed_letter_is_noticed),
        cmocka_unit_test(keys_rotate),
        cmocka_unit_test(base64_in_both_alphabets),
        cmocka_unit_test(base64_decoders_are_strict),
        cmocka_unit_test(base64_of_all_bytes_round_trips),
        cmocka_unit_test(hex_in_and_out),
        cmocka_unit_test(threads_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
