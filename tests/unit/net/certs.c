/* certs.c - certificates for the tests, see fixture.h. */
#include "fixture.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static char folder[64];

const char *cert_path(const char *name) {
    static char path[64][256];
    static unsigned next;
    char *p = path[next++ % 64];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

static void extend(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

/* Signed by `by`, or by itself; `names` is a subjectAltName, NULL for an authority. */
static struct identity make(const char *name, const char *names, const struct identity *by,
                            long days) {
    static long serial;
    struct identity me = { EVP_EC_gen("P-256"), X509_new() };
    X509_set_version(me.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(me.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(me.cert), -7200);
    X509_gmtime_adj(X509_getm_notAfter(me.cert), days * 86400 - 3600);
    X509_set_pubkey(me.cert, me.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(me.cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509 *issuer = by ? by->cert : me.cert;
    X509_set_issuer_name(me.cert, X509_get_subject_name(issuer));
    extend(me.cert, issuer, NID_basic_constraints,
           names ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (names)
        extend(me.cert, issuer, NID_subject_alt_name, names);
    assert_true(X509_sign(me.cert, by ? by->key : me.key, EVP_sha256()) > 0);
    return me;
}

static void write_text(const char *name, const char *text) {
    FILE *f = fopen(cert_path(name), "w");
    fputs(text, f);
    fclose(f);
}

static void write_identity(const char *name, const struct identity *me,
                           const struct identity *chain) {
    char file[64];
    snprintf(file, sizeof file, "%s.crt", name);
    FILE *f = fopen(cert_path(file), "w");
    PEM_write_X509(f, me->cert);
    if (chain)
        PEM_write_X509(f, chain->cert);
    fclose(f);
    snprintf(file, sizeof file, "%s.key", name);
    f = fopen(cert_path(file), "w");
    PEM_write_PrivateKey(f, me->key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

static void write_encrypted(const struct identity *me) {
    FILE *f = fopen(cert_path("encrypted.key"), "w");
    PEM_write_PrivateKey(f, me->key, EVP_aes_256_cbc(), (const unsigned char *)"secret", 6, NULL,
                         NULL);
    fclose(f);
}

static void forget(struct identity *me) {
    EVP_PKEY_free(me->key);
    X509_free(me->cert);
}

void certs_make(void) {
    snprintf(folder, sizeof folder, "/tmp/gatespan-certs-XXXXXX");
    assert_non_null(mkdtemp(folder));
    struct identity root = make("test root", NULL, NULL, 30),
                    other_root = make("other root", NULL, NULL, 30);
    struct identity middle = make("test middle", NULL, &root, 30);
    struct identity server = make("server", "DNS:localhost,DNS:*.test.invalid,IP:127.0.0.1",
                                  &middle, 30);
    struct identity other = make("other", "DNS:elsewhere.invalid", &middle, 30);
    struct identity client = make("client", "email:client@test.invalid", &root, 30);
    struct identity stranger = make("stranger", "DNS:localhost,IP:127.0.0.1", &other_root, 30);
    struct identity expired = make("expired", "DNS:localhost,IP:127.0.0.1", &root, 0);
    write_identity("root", &root, NULL);
    write_identity("other-root", &other_root, NULL);
    write_identity("server", &server, &middle);
    write_identity("other", &other, &middle);
    write_identity("client", &client, NULL);
    write_identity("stranger", &stranger, NULL);
    write_identity("expired", &expired, NULL);
    write_encrypted(&server);
    write_text("empty.crt", "");
    write_text("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    struct identity *all[] = { &root,  &other_root, &middle,   &server,
                               &other, &client,     &stranger, &expired };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        forget(all[i]);
}

void certs_remove(void) {
    static const char *const files[] = { "root",   "other-root", "server", "other",
                                         "client", "stranger",   "expired" };
    char file[64];
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        snprintf(file, sizeof file, "%s.crt", files[i]);
        unlink(cert_path(file));
        snprintf(file, sizeof file, "%s.key", files[i]);
        unlink(cert_path(file));
    }
    unlink(cert_path("encrypted.key"));
    unlink(cert_path("empty.crt"));
    unlink(cert_path("broken.crt"));
    rmdir(folder);
}

struct seal_ring ring_of(unsigned first, unsigned count) {
    struct seal_ring ring = { .count = count };
    for (unsigned i = 0; i < count; i++) {
        ring.keys[i].id = (uint8_t)(first + i);
        memset(ring.keys[i].key, (int)(first + i), SHA256_SIZE);
    }
    return ring;
}

struct tls_context *server_context(const struct seal_ring *ring, bool allow_1_2) {
    struct tls_context *c = NULL;
    struct tls_conf conf = { .cert_file = str_of(cert_path("server.crt")),
                             .key_file = str_of(cert_path("server.key")), .allow_1_2 = allow_1_2 };
    assert_null(tls_server_new(&conf, ring, &c));
    return c;
}

struct tls_context *client_context(void) {
    struct tls_context *c = NULL;
    struct tls_conf conf = { .ca_file = str_of(cert_path("root.crt")) };
    assert_null(tls_client_new(&conf, &c));
    return c;
}

SSL_CTX *raw_client(void) {
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(c, cert_path("root.crt")), 1);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT);
    return c;
}

SSL_CTX *raw_server(const char *name) {
    char file[64];
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    snprintf(file, sizeof file, "%s.crt", name);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(c, cert_path(file)), 1);
    snprintf(file, sizeof file, "%s.key", name);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(c, cert_path(file), SSL_FILETYPE_PEM), 1);
    return c;
}
