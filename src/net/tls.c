/* tls.c - see tls.h.
 *
 * The descriptor is reached through a BIO of our own: send with MSG_NOSIGNAL, since a
 * write to a closed socket must not raise SIGPIPE, and nothing of BIO_s_socket's state.
 * Sessions are kept by clients alone, in tickets (RFC 5077, RFC 8446 §4.6.1): no cache is
 * shared between workers. A ticket is good for a context that asks clients for the same
 * certificates; who was let in under other rules is asked again. */
#include "net/tls.h"
#include "base/file.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PEM_LIMIT = 4 * 1024 * 1024, /* a bundle of all public authorities has 0.3 MiB */
    NAME_MAX_BYTES = 256,
    TICKET_SECONDS = 2 * 60 * 60,
    TICKET_NAME = 16,
    TICKET_IV = 16,
};

/* What a key of the seal ring becomes here. */
struct ticket_key {
    uint8_t name[TICKET_NAME];
    uint8_t cipher[SHA256_SIZE], mac[SHA256_SIZE];
};

struct tls_context {
    unsigned refs; /* atomic */
    SSL_CTX *ssl;
    bool client, insecure, http2;
    char server_name[NAME_MAX_BYTES];
    time_t expiry;
    size_t ticket_key_count;
    struct ticket_key ticket_keys[4]; /* the first makes tickets, all open them */
    EVP_CIPHER *ticket_cipher;
};

struct tls {
    SSL *ssl;
    struct tls_context *context;
    int fd;
    int problem; /* errno of the last failing recv or send */
    bool eof, failed;
    char *error;
};

/* ---- problems ---------------------------------------------------------------------- */

static const char *library_reason(void) {
    unsigned long code = ERR_get_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return text ? text : "unknown reason";
}

/* A primitive that fails with valid arguments: memory, or a broken installation. */
static void must(bool ok, const char *what) {
    if (ok)
        return;
    dprintf(STDERR_FILENO, "gatespan: %s failed: %s\n", what, library_reason());
    abort();
}

/* ---- files ------------------------------------------------------------------------- */

static void wiped(struct buf *b) {
    if (b->p)
        crypto_wipe(b->p, b->cap);
    buf_done(b);
}

static err_t read_pem(struct str file, struct buf *text, BIO **out) {
    bool missing = false;
    err_t e = file_read(file, PEM_LIMIT, text, &missing);
    if (e)
        return ERR(INVALID, "%s", e->text);
    if (missing)
        return ERR(INVALID, "%.*s does not exist", STR(file));
    must((*out = BIO_new_mem_buf(text->n ? text->p : "", (int)text->n)) != NULL, "BIO_new_mem_buf");
    return OK;
}

static void bio_scope(BIO **bio) {
    BIO_free(*bio);
}

static void x509_scope(X509 **cert) {
    X509_free(*cert);
}

static void key_scope(EVP_PKEY **key) {
    EVP_PKEY_free(*key);
}

/* The next certificate. End of file: OK and NULL. */
static err_t next_cert(BIO *pem, struct str file, X509 **out) {
    *out = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
    unsigned long code = ERR_peek_last_error();
    bool end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (*out || end) {
        ERR_clear_error();
        return OK;
    }
    return ERR(INVALID, "%.*s: broken certificate: %s", STR(file), library_reason());
}

static time_t end_of(const X509 *cert) {
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) ? timegm(&tm) : 0;
}

/* The certificate of the holder first, then those that lead to its authority. */
static err_t load_chain(struct tls_context *c, struct str file) {
    SCOPED(buf_done) struct buf text = { 0 };
    SCOPED(bio_scope) BIO *pem = NULL;
    SCOPED(x509_scope) X509 *leaf = NULL;
    TRY(read_pem(file, &text, &pem));
    TRY(next_cert(pem, file, &leaf));
    if (!leaf)
        return ERR(INVALID, "%.*s holds no PEM certificate", STR(file));
    if (SSL_CTX_use_certificate(c->ssl, leaf) != 1)
        return ERR(INVALID, "%.*s: certificate refused: %s", STR(file), library_reason());
    c->expiry = end_of(leaf);
    for (X509 *next = NULL;;) {
        TRY(next_cert(pem, file, &next));
        if (!next)
            return OK;
        if (SSL_CTX_add0_chain_cert(c->ssl, next) == 1)
            continue;
        X509_free(next);
        return ERR(INVALID, "%.*s: certificate of the chain refused: %s", STR(file),
                   library_reason());
    }
}

/* Asked for the password of an encrypted key; a daemon has nobody to ask. */
static int no_password(char *buf, int size, int writing, void *asked) {
    *(bool *)asked = true;
    return -1;
}

static err_t load_key(struct tls_context *c, struct str file, struct str cert_file) {
    SCOPED(wiped) struct buf text = { 0 };
    SCOPED(bio_scope) BIO *pem = NULL;
    TRY(read_pem(file, &text, &pem));
    bool encrypted = false;
    SCOPED(key_scope) EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_password, &encrypted);
    if (encrypted && !key) {
        ERR_clear_error();
        return ERR(INVALID, "%.*s is encrypted; give a key without a password", STR(file));
    }
    if (!key) {
        ERR_clear_error();
        return ERR(INVALID, "%.*s holds no PEM private key", STR(file));
    }
    if (X509_check_private_key(SSL_CTX_get0_certificate(c->ssl), key) != 1) {
        ERR_clear_error();
        return ERR(INVALID, "%.*s is not the key of the certificate in %.*s", STR(file),
                   STR(cert_file));
    }
    if (SSL_CTX_use_PrivateKey(c->ssl, key) != 1)
        return ERR(INVALID, "%.*s: key refused: %s", STR(file), library_reason());
    return OK;
}

static err_t load_identity(struct tls_context *c, const struct tls_conf *conf) {
    if (!conf->cert_file.n)
        return ERR(INVALID, "%.*s: a key without a certificate", STR(conf->key_file));
    if (!conf->key_file.n)
        return ERR(INVALID, "%.*s: a certificate without a key", STR(conf->cert_file));
    TRY(load_chain(c, conf->cert_file));
    return load_key(c, conf->key_file, conf->cert_file);
}

static err_t trust_one(struct tls_context *c, X509 *cert, struct str file) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ssl), cert) != 1)
        return ERR(INVALID, "%.*s: authority refused: %s", STR(file), library_reason());
    if (!c->client && SSL_CTX_add_client_CA(c->ssl, cert) != 1)
        return ERR(INVALID, "%.*s: authority refused: %s", STR(file), library_reason());
    return OK;
}

/* `text` keeps the file, for who wants its digest. */
static err_t load_authorities(struct tls_context *c, struct str file, struct buf *text) {
    SCOPED(bio_scope) BIO *pem = NULL;
    TRY(read_pem(file, text, &pem));
    for (size_t n = 0;; n++) {
        SCOPED(x509_scope) X509 *cert = NULL;
        TRY(next_cert(pem, file, &cert));
        if (!cert)
            return n ? OK : ERR(INVALID, "%.*s holds no PEM certificate", STR(file));
        TRY(trust_one(c, cert, file));
    }
}

/* ---- tickets ----------------------------------------------------------------------- */

static void derive_ticket_keys(struct tls_context *c, const struct seal_ring *ring) {
    for (size_t i = 0; i < ring->count; i++) {
        struct ticket_key *k = &c->ticket_keys[c->ticket_key_count++];
        uint8_t name[SHA256_SIZE];
        crypto_derive(ring->keys[i].key, "tls ticket name", name);
        memcpy(k->name, name, sizeof k->name);
        crypto_derive(ring->keys[i].key, "tls ticket cipher", k->cipher);
        crypto_derive(ring->keys[i].key, "tls ticket mac", k->mac);
    }
}

static bool key_mac(EVP_MAC_CTX *mac, const struct ticket_key *k) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, (void *)k->mac, sizeof k->mac),
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 6),
        OSSL_PARAM_END,
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal_ticket(const struct tls_context *c, unsigned char *name, unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
    const struct ticket_key *k = &c->ticket_keys[0];
    memcpy(name, k->name, TICKET_NAME);
    crypto_random(iv, TICKET_IV);
    return EVP_EncryptInit_ex2(cipher, c->ticket_cipher, k->cipher, iv, NULL) && key_mac(mac, k)
               ? 1
               : -1;
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb says: 1 fine, 2 fine but to be renewed, 0 not
 * ours. In TLS 1.3 clients use a ticket once (RFC 8446 §C.4), so it is always renewed. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal) {
    const struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (seal)
        return seal_ticket(c, name, iv, cipher, mac);
    for (size_t i = 0; i < c->ticket_key_count; i++) {
        const struct ticket_key *k = &c->ticket_keys[i];
        if (memcmp(name, k->name, TICKET_NAME) != 0)
            continue;
        if (!EVP_DecryptInit_ex2(cipher, c->ticket_cipher, k->cipher, iv, NULL) || !key_mac(mac, k))
            return -1;
        return i == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
    }
    return 0;
}

static void set_tickets(struct tls_context *c, const struct seal_ring *ring) {
    if (!ring || !ring->count) {
        SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(c->ssl, 0);
        return;
    }
    derive_ticket_keys(c, ring);
    must((c->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL)) != NULL,
         "fetching AES-256-CBC");
    SSL_CTX_set_timeout(c->ssl, TICKET_SECONDS);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(c->ssl, on_ticket);
}

/* ---- contexts ---------------------------------------------------------------------- */

/* HTTP/2 will be a second entry, before this one. */
static const unsigned char protocols[] = "\x02h2\x08http/1.1";
enum { H2_BYTES = 3 };

/* A client that names protocols and none that is spoken here is told so (RFC 7301 §3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n,
                           const unsigned char *offered, unsigned int offered_n, void *arg) {
    const struct tls_context *c = arg;
    unsigned skip = c->http2 ? 0 : H2_BYTES;
    unsigned char *chosen = NULL;
    int found = SSL_select_next_proto(&chosen, n, protocols + skip, sizeof protocols - 1 - skip,
                                      offered, offered_n);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static struct tls_context *context_new(const struct tls_conf *conf, bool client) {
    struct tls_context *c = NEW(struct tls_context);
    c->refs = 1;
    c->client = client;
    must((c->ssl = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method())) != NULL,
         "SSL_CTX_new");
    SSL_CTX_set_app_data(c->ssl, c);
    SSL_CTX_set_min_proto_version(c->ssl, conf->allow_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION);
    must(SSL_CTX_set_cipher_list(c->ssl, "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK") == 1,
         "TLS 1.2 suites");
    SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
    /* One recv for a record instead of two: measured, 4 % less CPU for a small request, and
     * no memory when idle. */
    SSL_CTX_set_read_ahead(c->ssl, 1);
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    return c;
}

/* Two contexts share sessions when they ask clients for the same proof. */
static void set_session_scope(struct tls_context *c, const struct tls_conf *conf,
                              struct str authorities) {
    SCOPED(buf_done) struct buf what = { 0 };
    uint8_t digest[SHA256_SIZE];
    buf_fmt(&what, "gatespan %d ", conf->verify_client);
    buf_str(&what, authorities);
    crypto_sha256(buf_view(&what), digest);
    SSL_CTX_set_session_id_context(c->ssl, digest, sizeof digest);
}

static err_t server_init(struct tls_context *c, const struct tls_conf *conf,
                         const struct seal_ring *ticket_keys) {
    SCOPED(buf_done) struct buf authorities = { 0 };
    TRY(load_identity(c, conf));
    if (conf->verify_client && !conf->ca_file.n)
        return ERR(
            INVALID,
            "client certificates are required, but no file of authorities for them is given");
    if (conf->ca_file.n) {
        TRY(load_authorities(c, conf->ca_file, &authorities));
        SSL_CTX_set_verify(
            c->ssl, SSL_VERIFY_PEER | (conf->verify_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
            NULL);
    }
    set_session_scope(c, conf, buf_view(&authorities));
    set_tickets(c, ticket_keys);
    c->http2 = conf->http2;
    SSL_CTX_set_alpn_select_cb(c->ssl, choose_protocol, c);
    return OK;
}

err_t tls_server_new(const struct tls_conf *conf, const struct seal_ring *ticket_keys,
                     struct tls_context **out) {
    struct tls_context *c = context_new(conf, false);
    err_t e = server_init(c, conf, ticket_keys);
    if (e) {
        tls_context_unref(c);
        return e;
    }
    *out = c;
    return OK;
}

static err_t client_init(struct tls_context *c, const struct tls_conf *conf) {
    SCOPED(buf_done) struct buf authorities = { 0 };
    if (conf->server_name.n >= sizeof c->server_name)
        return ERR(INVALID, "the name of the server is longer than %zu bytes",
                   sizeof c->server_name - 1);
    snprintf(c->server_name, sizeof c->server_name, "%.*s", STR(conf->server_name));
    if (conf->cert_file.n || conf->key_file.n)
        TRY(load_identity(c, conf));
    if (conf->ca_file.n)
        TRY(load_authorities(c, conf->ca_file, &authorities));
    else if (!conf->insecure && SSL_CTX_set_default_verify_paths(c->ssl) != 1)
        return ERR(INVALID, "the system's authorities: %s", library_reason());
    c->insecure = conf->insecure;
    SSL_CTX_set_verify(c->ssl, conf->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    must(SSL_CTX_set_alpn_protos(c->ssl, protocols + H2_BYTES, sizeof protocols - 1 - H2_BYTES) ==
             0,
         "ALPN");
    return OK;
}

err_t tls_client_new(const struct tls_conf *conf, struct tls_context **out) {
    struct tls_context *c = context_new(conf, true);
    err_t e = client_init(c, conf);
    if (e) {
        tls_context_unref(c);
        return e;
    }
    *out = c;
    return OK;
}

struct tls_context *tls_context_ref(struct tls_context *c) {
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void tls_context_unref(struct tls_context *c) {
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
        return;
    SSL_CTX_free(c->ssl);
    EVP_CIPHER_free(c->ticket_cipher);
    crypto_wipe(c->ticket_keys, sizeof c->ticket_keys);
    free(c);
}

time_t tls_context_expiry(const struct tls_context *c) {
    return c->expiry;
}

/* ---- the socket -------------------------------------------------------------------- */

static int socket_read(BIO *bio, char *p, int n) {
    struct tls *t = BIO_get_data(bio);
    ssize_t got = recv(t->fd, p, (size_t)n, 0);
    BIO_clear_retry_flags(bio);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    else if (got < 0)
        t->problem = errno;
    t->eof = got == 0;
    return (int)got;
}

static int socket_write(BIO *bio, const char *p, int n) {
    struct tls *t = BIO_get_data(bio);
    ssize_t sent = send(t->fd, p, (size_t)n, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    else if (sent < 0)
        t->problem = errno;
    return (int)sent;
}

static long socket_control(BIO *bio, int command, long number, void *pointer) {
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method;

static void make_socket_method(void) {
    must((socket_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket")) !=
             NULL,
         "BIO_meth_new");
    BIO_meth_set_read(socket_method, socket_read);
    BIO_meth_set_write(socket_method, socket_write);
    BIO_meth_set_ctrl(socket_method, socket_control);
}

static void attach_socket(struct tls *t) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_socket_method);
    BIO *bio = BIO_new(socket_method);
    must(bio != NULL, "BIO_new");
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
}

/* ---- connections ------------------------------------------------------------------- */

/* Names are announced and verified, addresses only verified (RFC 6066 §3). */
static void expect_server(struct tls *t, struct str host) {
    char name[NAME_MAX_BYTES];
    if (t->context->server_name[0])
        host = str_of(t->context->server_name);
    if (str_ends(host, S(".")))
        host.n--;
    assert(host.n > 0); /* else whose certificate is it? */
    snprintf(name, sizeof name, "%.*s", STR(host));
    X509_VERIFY_PARAM *verify = SSL_get0_param(t->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(verify, name) == 1)
        return;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    must(X509_VERIFY_PARAM_set1_host(verify, name, 0) == 1, "naming the server");
    SSL_set_tlsext_host_name(t->ssl, name);
}

struct tls *tls_open(struct tls_context *c, int fd, struct str host) {
    struct tls *t = NEW(struct tls);
    t->context = tls_context_ref(c);
    t->fd = fd;
    must((t->ssl = SSL_new(c->ssl)) != NULL, "SSL_new");
    attach_socket(t);
    if (c->client) {
        expect_server(t, host);
        SSL_set_connect_state(t->ssl);
    } else {
        SSL_set_accept_state(t->ssl);
    }
    return t;
}

void tls_free(struct tls *t) {
    if (!t)
        return;
    SSL_free(t->ssl);
    tls_context_unref(t->context);
    free(t->error);
    free(t);
}

static const char *failure(const struct tls *t) {
    long verdict = SSL_get_verify_result(t->ssl);
    if (verdict != X509_V_OK && !t->context->insecure)
        return X509_verify_cert_error_string(verdict);
    if (t->problem)
        return strerror(t->problem);
    if (t->eof && !ERR_peek_error())
        return SSL_is_init_finished(t->ssl) ? "closed without a goodbye"
                                            : "closed in the handshake";
    return library_reason();
}

static ssize_t fail(struct tls *t) {
    if (!t->failed) {
        const char *why = failure(t);
        t->error = mem_text(why, strlen(why));
    }
    t->failed = true;
    ERR_clear_error();
    return TLS_FAILED;
}

/* What an SSL_ function that returned `result` wants. */
static ssize_t outcome(struct tls *t, int result) {
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ: return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE: return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN: return 0;
    default: return fail(t);
    }
}

static int clamped(size_t n) {
    return n > INT_MAX ? INT_MAX : (int)n;
}

ssize_t tls_read(struct tls *t, void *p, size_t n) {
    if (t->failed)
        return TLS_FAILED;
    ERR_clear_error();
    int got = SSL_read(t->ssl, p, clamped(n));
    return got > 0 ? got : outcome(t, got);
}

ssize_t tls_write(struct tls *t, const void *p, size_t n) {
    if (t->failed)
        return TLS_FAILED;
    if (n == 0)
        return 0;
    ERR_clear_error();
    int sent = SSL_write(t->ssl, p, clamped(n));
    return sent > 0 ? sent : outcome(t, sent);
}

ssize_t tls_handshake(struct tls *t) {
    if (t->failed)
        return TLS_FAILED;
    ERR_clear_error();
    int done = SSL_do_handshake(t->ssl);
    return done == 1 ? 0 : outcome(t, done);
}

void tls_shutdown(struct tls *t) {
    if (t->failed || !SSL_is_init_finished(t->ssl) ||
        (SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN))
        return;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

const char *tls_error(const struct tls *t) {
    return t->error ? t->error : "no error";
}

bool tls_pending(const struct tls *t) {
    return SSL_has_pending(t->ssl) != 0;
}
