/* crypto.h - the few primitives the gateway needs, over OpenSSL 3.
 *
 * Algorithms are fetched once per thread and contexts are copied, never fetched per
 * call: OpenSSL's one-shot HMAC alone costs a fifth of a proxied call (measured).
 *
 * Threads  any; state is per thread
 * Errors   only crypto_open can fail on input; a failing library aborts
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

void crypto_random(void *p, size_t n); /* from the kernel; for keys, ids, nonces */

#define SHA256_SIZE 32
void crypto_sha256(struct str data, uint8_t out[SHA256_SIZE]);
void crypto_hmac(const uint8_t key[SHA256_SIZE], struct str data, uint8_t out[SHA256_SIZE]);
/* HKDF-SHA-256 (RFC 5869) without salt: one key per purpose out of the master key. */
void crypto_derive(const uint8_t master[SHA256_SIZE], const char *purpose,
                   uint8_t out[SHA256_SIZE]);
/* Constant time in n. */
bool crypto_equal(const void *a, const void *b, size_t n);
void crypto_wipe(void *p, size_t n);

/* Keys that seal what clients carry for us (cursors, request state) and what is at rest.
 * A ring holds up to four; the first seals, all open. */
struct seal_key {
    uint8_t id;
    uint8_t key[SHA256_SIZE];
};
struct seal_ring {
    size_t count;
    struct seal_key keys[4];
};
/* Appends base64url(version, key id, nonce, AES-256-GCM(plain), tag); `bound` is
 * authenticated but not carried (kind, principal digest). */
void crypto_seal(const struct seal_ring *ring, struct str bound, struct str plain, struct buf *out);
/* Appends the plain text; INVALID when it is not ours, was changed, or is bound otherwise. */
err_t crypto_open(const struct seal_ring *ring, struct str bound, struct str sealed,
                  struct buf *out);

/* RFC 4648 without padding for url; with padding for the plain one. Decoders are strict:
 * false on any foreign byte, wrong padding or non-zero trailing bits. */
void base64url_put(struct buf *out, const void *p, size_t n);
bool base64url_get(struct str text, struct buf *out);
void base64_put(struct buf *out, const void *p, size_t n);
bool base64_get(struct str text, struct buf *out);
void hex_put(struct buf *out, const void *p, size_t n); /* lower case */
bool hex_get(struct str text, void *out, size_t n);     /* exactly n bytes, either case */

/* A key out of a passphrase: scrypt (RFC 7914), N 2^15, r 8, p 1, 32 MiB, about 0.1 s. */
#define SCRYPT_SALT 16
void crypto_scrypt(struct str passphrase, const uint8_t salt[SCRYPT_SALT],
                   uint8_t out[SHA256_SIZE]);

/* SHA-256 over pieces. */
struct sha256;
struct sha256 *sha256_new(void);
void sha256_add(struct sha256 *s, const void *p, size_t n);
void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE]); /* frees it */
