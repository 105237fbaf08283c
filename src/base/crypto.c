/* crypto.c - see crypto.h. Each thread keeps its algorithms and contexts; an HMAC under a
 * key it used lately only resets a context that was keyed then (0.6 µs, where rekeying takes
 * twice and the one-shot HMAC() four times as long). */
#include "base/crypto.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

/* A primitive that fails with valid arguments: memory, or a broken installation. */
static void must(bool ok, const char *what) {
    if (ok)
        return;
    char reason[160];
    ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
    dprintf(STDERR_FILENO, "gatespan: %s failed: %s\n", what, reason);
    abort();
}

/* ---- the state of a thread ------------------------------------------------------- */

#define MAC_MEMOS 4

struct mac_memo {
    uint8_t key[SHA256_SIZE];
    EVP_MAC_CTX *ctx; /* keyed; NULL: unused */
};

struct state {
    EVP_MD *sha256;
    EVP_MD_CTX *digest;
    EVP_MAC *hmac;
    struct mac_memo memos[MAC_MEMOS];
    unsigned next_memo;
    EVP_CIPHER *gcm;
    EVP_CIPHER_CTX *cipher;
};

static _Thread_local struct state *own_state;
static pthread_key_t state_key;
static pthread_once_t state_once = PTHREAD_ONCE_INIT;

static void state_free(void *p) {
    struct state *s = p;
    for (size_t i = 0; i < MAC_MEMOS; i++)
        EVP_MAC_CTX_free(s->memos[i].ctx);
    EVP_MAC_free(s->hmac);
    EVP_MD_CTX_free(s->digest);
    EVP_MD_free(s->sha256);
    EVP_CIPHER_CTX_free(s->cipher);
    EVP_CIPHER_free(s->gcm);
    crypto_wipe(s, sizeof *s);
    free(s);
    own_state = NULL;
}

static void state_key_make(void) {
    must(pthread_key_create(&state_key, state_free) == 0, "pthread_key_create");
}

static __attribute__((noinline)) struct state *state_new(void) {
    struct state *s = NEW(struct state);
    pthread_once(&state_once, state_key_make);
    must((s->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL)) != NULL, "fetching SHA-256");
    must((s->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL)) != NULL, "fetching HMAC");
    must((s->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL)) != NULL, "fetching AES-256-GCM");
    must((s->digest = EVP_MD_CTX_new()) != NULL, "EVP_MD_CTX_new");
    must((s->cipher = EVP_CIPHER_CTX_new()) != NULL, "EVP_CIPHER_CTX_new");
    must(EVP_DigestInit_ex2(s->digest, s->sha256, NULL), "SHA-256");
    pthread_setspecific(state_key, s);
    return own_state = s;
}

static inline struct state *state(void) {
    return own_state ? own_state : state_new();
}

/* ---- random, digest, MAC --------------------------------------------------------- */

void crypto_random(void *p, size_t n) {
    for (char *at = p; n;) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        must(got > 0, "getrandom");
        at += got;
        n -= (size_t)got;
    }
}

void crypto_sha256(struct str data, uint8_t out[SHA256_SIZE]) {
    EVP_MD_CTX *ctx = state()->digest;
    must(EVP_DigestInit_ex2(ctx, NULL, NULL) && EVP_DigestUpdate(ctx, data.p, data.n) &&
             EVP_DigestFinal_ex(ctx, out, NULL),
         "SHA-256");
}

struct sha256 *sha256_new(void) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    must(ctx && EVP_DigestInit_ex2(ctx, state()->sha256, NULL), "SHA-256");
    return (struct sha256 *)ctx;
}

void sha256_add(struct sha256 *s, const void *p, size_t n) {
    must(EVP_DigestUpdate((EVP_MD_CTX *)s, p, n), "SHA-256");
}

void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE]) {
    must(EVP_DigestFinal_ex((EVP_MD_CTX *)s, out, NULL), "SHA-256");
    EVP_MD_CTX_free((EVP_MD_CTX *)s);
}

void crypto_scrypt(struct str passphrase, const uint8_t salt[SCRYPT_SALT],
                   uint8_t out[SHA256_SIZE]) {
    must(EVP_PBE_scrypt(passphrase.p, passphrase.n, salt, SCRYPT_SALT, 1 << 15, 8, 1, 64 << 20, out,
                        SHA256_SIZE),
         "scrypt");
}

static EVP_MAC_CTX *mac_keyed(struct state *s, const uint8_t key[SHA256_SIZE]) {
    const OSSL_PARAM params[] = { OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 6),
                                  OSSL_PARAM_END };
    struct mac_memo *memo = &s->memos[s->next_memo++ % MAC_MEMOS];
    EVP_MAC_CTX_free(memo->ctx);
    must((memo->ctx = EVP_MAC_CTX_new(s->hmac)) != NULL, "EVP_MAC_CTX_new");
    must(EVP_MAC_init(memo->ctx, key, SHA256_SIZE, params), "HMAC");
    memcpy(memo->key, key, SHA256_SIZE);
    return memo->ctx;
}

static EVP_MAC_CTX *mac_begin(struct state *s, const uint8_t key[SHA256_SIZE]) {
    for (size_t i = 0; i < MAC_MEMOS; i++) {
        struct mac_memo *memo = &s->memos[i];
        if (memo->ctx && memcmp(memo->key, key, SHA256_SIZE) == 0) {
            must(EVP_MAC_init(memo->ctx, NULL, 0, NULL), "HMAC");
            return memo->ctx;
        }
    }
    return mac_keyed(s, key);
}

void crypto_hmac(const uint8_t key[SHA256_SIZE], struct str data, uint8_t out[SHA256_SIZE]) {
    EVP_MAC_CTX *ctx = mac_begin(state(), key);
    must(EVP_MAC_update(ctx, (const uint8_t *)data.p, data.n) &&
             EVP_MAC_final(ctx, out, NULL, SHA256_SIZE),
         "HMAC");
}

/* One output block is all that 32 bytes take: T(1) = HMAC(PRK, info | 0x01), where
 * PRK = HMAC(salt, master) and the salt that is not given is 32 zeros (RFC 5869 §2.2, §2.3). */
void crypto_derive(const uint8_t master[SHA256_SIZE], const char *purpose,
                   uint8_t out[SHA256_SIZE]) {
    static const uint8_t no_salt[SHA256_SIZE];
    uint8_t prk[SHA256_SIZE];
    SCOPED(buf_done) struct buf info = { 0 };
    crypto_hmac(no_salt, str_from((const char *)master, SHA256_SIZE), prk);
    buf_str(&info, str_of(purpose));
    buf_char(&info, 1);
    crypto_hmac(prk, buf_view(&info), out);
    crypto_wipe(prk, sizeof prk);
}

bool crypto_equal(const void *a, const void *b, size_t n) {
    return CRYPTO_memcmp(a, b, n) == 0;
}

void crypto_wipe(void *p, size_t n) {
    OPENSSL_cleanse(p, n);
}

/* ---- sealing --------------------------------------------------------------------- */

/* version | key id | nonce | ciphertext | tag; the first two are authenticated as well. */
#define SEAL_VERSION 1
#define SEAL_HEAD 2
#define SEAL_NONCE 12
#define SEAL_TAG 16
#define SEAL_EXTRA (SEAL_HEAD + SEAL_NONCE + SEAL_TAG)

struct sealed {
    const uint8_t *head, *nonce, *tag;
    const uint8_t *in;
    uint8_t *out;
    size_t n; /* bytes of in and out */
};

/* Runs the cipher over head, bound and in; true unless OpenSSL refuses a tag. */
static bool gcm_run(const struct sealed *m, const uint8_t *key, struct str bound, bool encrypt) {
    struct state *s = state();
    EVP_CIPHER_CTX *ctx = s->cipher;
    int n;
    assert(m->n <= INT_MAX && bound.n <= INT_MAX);
    must(EVP_CipherInit_ex2(ctx, s->gcm, key, m->nonce, encrypt, NULL) &&
             EVP_CipherUpdate(ctx, NULL, &n, m->head, SEAL_HEAD) &&
             EVP_CipherUpdate(ctx, NULL, &n, (const uint8_t *)bound.p, (int)bound.n) &&
             EVP_CipherUpdate(ctx, m->out, &n, m->in, (int)m->n),
         "AES-256-GCM");
    if (!encrypt)
        must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, (void *)m->tag),
             "AES-256-GCM");
    return EVP_CipherFinal_ex(ctx, m->out + m->n, &n) == 1;
}

static uint8_t *grown(struct buf *b, size_t n) {
    buf_reserve(b, n);
    return (uint8_t *)b->p + b->n;
}

void crypto_seal(const struct seal_ring *ring, struct str bound, struct str plain,
                 struct buf *out) {
    assert(ring->count > 0 && ring->count <= ARRAY_SIZE(ring->keys));
    SCOPED(buf_done) struct buf raw = { 0 };
    uint8_t *p = grown(&raw, SEAL_EXTRA + plain.n);
    p[0] = SEAL_VERSION;
    p[1] = ring->keys[0].id;
    crypto_random(p + SEAL_HEAD, SEAL_NONCE);
    struct sealed m = { .head = p, .nonce = p + SEAL_HEAD, .n = plain.n };
    m.in = (const uint8_t *)plain.p;
    m.out = p + SEAL_HEAD + SEAL_NONCE;
    uint8_t *tag = m.out + plain.n;
    must(gcm_run(&m, ring->keys[0].key, bound, true), "AES-256-GCM");
    must(EVP_CIPHER_CTX_ctrl(state()->cipher, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, tag), "AES-256-GCM");
    base64url_put(out, p, SEAL_EXTRA + plain.n);
}

static const struct seal_key *ring_find(const struct seal_ring *ring, uint8_t id) {
    for (size_t i = 0; i < ring->count; i++)
        if (ring->keys[i].id == id)
            return &ring->keys[i];
    return NULL;
}

err_t crypto_open(const struct seal_ring *ring, struct str bound, struct str sealed,
                  struct buf *out) {
    SCOPED(buf_done) struct buf raw = { 0 };
    if (!base64url_get(sealed, &raw) || raw.n < SEAL_EXTRA || raw.n > INT_MAX)
        return ERR(INVALID, "no sealed value");
    const uint8_t *p = (const uint8_t *)raw.p;
    const struct seal_key *key = p[0] == SEAL_VERSION ? ring_find(ring, p[1]) : NULL;
    if (!key)
        return ERR(INVALID, "sealed in a way or under a key that is not known here");
    struct sealed m = { .head = p, .nonce = p + SEAL_HEAD, .tag = p + raw.n - SEAL_TAG };
    m.n = raw.n - SEAL_EXTRA;
    m.in = p + SEAL_HEAD + SEAL_NONCE;
    m.out = grown(out, m.n);
    if (!gcm_run(&m, key->key, bound, false)) {
        crypto_wipe(m.out, m.n);
        ERR_clear_error();
        return ERR(INVALID, "sealed value was changed or belongs to someone else");
    }
    out->n += m.n;
    return OK;
}

/* ---- base64 and hex -------------------------------------------------------------- */

static const char plain_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The value of a letter in the low six bits; above them the alphabets that have it. */
#define IN_PLAIN 0x40
#define IN_URL 0x80
static uint8_t letter_values[256];

__attribute__((constructor)) static void make_letter_values(void) {
    for (uint8_t i = 0; i < 64; i++) {
        letter_values[(uint8_t)plain_letters[i]] |= i | IN_PLAIN;
        letter_values[(uint8_t)url_letters[i]] |= i | IN_URL;
    }
}

/* Writes the letters of n bytes, without padding; returns behind them. */
static char *encode(char *to, const uint8_t *p, size_t n, const char *letters) {
    for (; n >= 3; p += 3, n -= 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *to++ = letters[v >> 18];
        *to++ = letters[v >> 12 & 63];
        *to++ = letters[v >> 6 & 63];
        *to++ = letters[v & 63];
    }
    if (n == 0)
        return to;
    uint32_t v = (uint32_t)p[0] << 16 | (n == 2 ? (uint32_t)p[1] << 8 : 0);
    *to++ = letters[v >> 18];
    *to++ = letters[v >> 12 & 63];
    if (n == 2)
        *to++ = letters[v >> 6 & 63];
    return to;
}

static bool decode(struct str text, uint8_t alphabet, struct buf *out) {
    if (text.n % 4 == 1)
        return false;
    const uint8_t *in = (const uint8_t *)text.p;
    uint8_t *to = grown(out, text.n / 4 * 3 + 2), known = alphabet;
    uint32_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t letter = letter_values[in[i]];
        known &= letter;
        v = v << 6 | (letter & 63);
        if (i % 4 == 3) {
            *to++ = (uint8_t)(v >> 16), *to++ = (uint8_t)(v >> 8), *to++ = (uint8_t)v;
        }
    }
    unsigned rest = text.n % 4; /* letters that make one byte and 4 bits, or two bytes and 2 bits */
    uint32_t spare = rest == 2 ? v & 15 : rest == 3 ? v & 3 : 0;
    if (known != alphabet || spare)
        return false;
    if (rest == 2)
        *to++ = (uint8_t)(v >> 4);
    if (rest == 3)
        *to++ = (uint8_t)(v >> 10), *to++ = (uint8_t)(v >> 2);
    out->n = (size_t)((char *)to - out->p);
    return true;
}

void base64url_put(struct buf *out, const void *p, size_t n) {
    char *to = (char *)grown(out, n / 3 * 4 + 4);
    out->n = (size_t)(encode(to, p, n, url_letters) - out->p);
}

bool base64url_get(struct str text, struct buf *out) {
    return decode(text, IN_URL, out);
}

void base64_put(struct buf *out, const void *p, size_t n) {
    char *to = encode((char *)grown(out, n / 3 * 4 + 4), p, n, plain_letters);
    for (size_t pad = (3 - n % 3) % 3; pad; pad--)
        *to++ = '=';
    out->n = (size_t)(to - out->p);
}

bool base64_get(struct str text, struct buf *out) {
    if (text.n % 4)
        return false;
    for (int pad = 0; pad < 2 && str_ends(text, S("=")); pad++)
        text.n--;
    return decode(text, IN_PLAIN, out);
}

void hex_put(struct buf *out, const void *p, size_t n) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = p;
    char *to = (char *)grown(out, 2 * n);
    for (size_t i = 0; i < n; i++) {
        *to++ = digits[in[i] >> 4];
        *to++ = digits[in[i] & 15];
    }
    out->n += 2 * n;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_get(struct str text, void *out, size_t n) {
    uint8_t *to = out;
    if (text.n != 2 * n)
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (hex_value(text.p[i]) < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(hex_value(text.p[2 * i]) << 4 | hex_value(text.p[2 * i + 1]));
    return true;
}
