/* tls_test.c - contexts and handshakes over a pair of sockets, without a loop. */
#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- contexts ---------------------------------------------------------------------- */

static struct tls_conf conf_of(const char *cert, const char *key) {
    return (struct tls_conf){ .cert_file = str_of(cert_path(cert)),
                              .key_file = str_of(cert_path(key)) };
}

static void server_refuses(struct tls_conf conf, const char *names, const char *says) {
    struct tls_context *c = NULL;
    err_t e = tls_server_new(&conf, NULL, &c);
    assert_int_equal(kind_of(e), ERR_INVALID);
    if (!strstr(e->text, names) || !strstr(e->text, says))
        fail_msg("\"%s\" does not name \"%s\" and say \"%s\"", e->text, names, says);
    assert_null(c);
}

static void broken_files_are_named_with_what_is_wrong(void **state) {
    server_refuses(conf_of("missing.crt", "server.key"), "missing.crt", "does not exist");
    server_refuses(conf_of("empty.crt", "server.key"), "empty.crt", "no PEM certificate");
    server_refuses(conf_of("broken.crt", "server.key"), "broken.crt", "broken certificate");
    server_refuses(conf_of("server.key", "server.key"), "server.key", "no PEM certificate");
    server_refuses(conf_of("server.crt", "missing.key"), "missing.key", "does not exist");
    server_refuses(conf_of("server.crt", "server.crt"), "server.crt", "no PEM private key");
    server_refuses(conf_of("server.crt", "encrypted.key"), "encrypted.key", "encrypted");
    server_refuses(conf_of("server.crt", "other.key"), "other.key", "not the key");
    server_refuses((struct tls_conf){ .cert_file = str_of(cert_path("server.crt")) }, "server.crt",
                   "without a key");
    server_refuses((struct tls_conf){ .key_file = str_of(cert_path("server.key")) }, "server.key",
                   "without a certificate");
    struct tls_conf conf = conf_of("server.crt", "server.key");
    conf.ca_file = str_of(cert_path("empty.crt"));
    server_refuses(conf, "empty.crt", "no PEM certificate");
    conf.ca_file = S("");
    conf.verify_client = true;
    server_refuses(conf, "client certificates", "authorities");
}

static void a_client_refuses_broken_files_too(void **state) {
    struct tls_context *c = NULL;
    struct tls_conf conf = { .ca_file = str_of(cert_path("missing.crt")) };
    assert_int_equal(kind_of(tls_client_new(&conf, &c)), ERR_INVALID);
    conf = conf_of("client.crt", "other.key");
    assert_int_equal(kind_of(tls_client_new(&conf, &c)), ERR_INVALID);
    char name[400];
    memset(name, 'a', sizeof name);
    conf = (struct tls_conf){ .server_name = str_from(name, sizeof name) };
    assert_int_equal(kind_of(tls_client_new(&conf, &c)), ERR_INVALID);
}

static void a_context_knows_when_its_certificate_ends(void **state) {
    struct tls_context *server = server_context(NULL, false), *client = client_context();
    time_t left = tls_context_expiry(server) - time(NULL);
    assert_in_range(left, 30 * 86400 - 7200, 30 * 86400);
    assert_int_equal(tls_context_expiry(client), 0);
    tls_context_unref(server);
    tls_context_unref(client);
}

/* ---- handshakes -------------------------------------------------------------------- */

/* One of our contexts at one end, OpenSSL by hand at the other. */
struct pair {
    int fds[2];
    struct tls *ours;
    SSL *theirs;
    char text[256];
};

static void pair_open(struct pair *p, struct tls_context *ours, SSL_CTX *theirs, const char *name) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds), 0);
    p->ours = tls_open(ours, p->fds[0], name ? str_of(name) : S(""));
    p->theirs = SSL_new(theirs);
    SSL_set_fd(p->theirs, p->fds[1]);
}

static void pair_close(struct pair *p) {
    tls_free(p->ours);
    SSL_free(p->theirs);
    close(p->fds[0]);
    close(p->fds[1]);
}

/* Both ends take turns. 0: both are done; TLS_FAILED: ours failed; 1: theirs did. */
static int shake(struct pair *p) {
    ssize_t ours = TLS_WANT_READ;
    int theirs = 0;
    for (int i = 0; i < 20 && (ours || theirs != 1); i++) {
        if (ours)
            ours = tls_handshake(p->ours);
        if (theirs != 1)
            theirs = SSL_do_handshake(p->theirs);
        bool broken = theirs < 1 && SSL_get_error(p->theirs, theirs) == SSL_ERROR_SSL;
        if (ours == TLS_FAILED || broken)
            return ours == TLS_FAILED ? TLS_FAILED : 1;
    }
    assert_true(ours == 0 && theirs == 1);
    return 0;
}

/* Our end answers what theirs says, so tickets arrive too. */
static void exchange(struct pair *p) {
    assert_int_equal(SSL_write(p->theirs, "ping", 4), 4);
    assert_int_equal(tls_read(p->ours, p->text, sizeof p->text), 4);
    assert_int_equal(tls_write(p->ours, "pong", 4), 4);
    assert_int_equal(SSL_read(p->theirs, p->text, sizeof p->text), 4);
    assert_memory_equal(p->text, "pong", 4);
}

static SSL_CTX *raw_accepting(const char *name) {
    SSL_CTX *c = raw_server(name);
    SSL_CTX_set_cipher_list(c, "ALL:@SECLEVEL=0");
    return c;
}

static void version_is(bool allow_1_2, int client_max, const char *expected) {
    struct tls_context *c = server_context(NULL, allow_1_2);
    SSL_CTX *raw = raw_client();
    struct pair p;
    SSL_CTX_set_max_proto_version(raw, client_max);
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    int result = shake(&p);
    if (expected) {
        assert_int_equal(result, 0);
        assert_string_equal(SSL_get_version(p.theirs), expected);
        exchange(&p);
    } else {
        assert_int_not_equal(result, 0);
    }
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
}

static void tls_1_3_is_the_rule_and_1_2_an_option(void **state) {
    version_is(false, TLS1_3_VERSION, "TLSv1.3");
    version_is(true, TLS1_3_VERSION, "TLSv1.3");
    version_is(true, TLS1_2_VERSION, "TLSv1.2");
    version_is(false, TLS1_2_VERSION, NULL);
    version_is(true, TLS1_1_VERSION, NULL);
}

static void tls_1_2_has_only_suites_with_aead_and_fresh_keys(void **state) {
    static const struct {
        const char *suites;
        bool taken;
    } offers[] = {
        { "ECDHE-ECDSA-AES128-GCM-SHA256", true },
        { "ECDHE-ECDSA-CHACHA20-POLY1305", true },
        { "ECDHE-ECDSA-AES128-SHA256", false },
        { "ECDHE-ECDSA-AES256-SHA", false },
        { "AES128-GCM-SHA256", false },
        { "DHE-RSA-AES128-GCM-SHA256", false },
    };
    struct tls_context *c = server_context(NULL, true);
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
        SSL_CTX *raw = raw_client();
        struct pair p;
        SSL_CTX_set_max_proto_version(raw, TLS1_2_VERSION);
        assert_int_equal(SSL_CTX_set_cipher_list(raw, offers[i].suites), 1);
        pair_open(&p, c, raw, NULL);
        SSL_set_connect_state(p.theirs);
        assert_int_equal(shake(&p) == 0, offers[i].taken);
        pair_close(&p);
        SSL_CTX_free(raw);
    }
    tls_context_unref(c);
}

static void a_client_is_not_allowed_to_renegotiate(void **state) {
    struct tls_context *c = server_context(NULL, true);
    SSL_CTX *raw = raw_client();
    struct pair p;
    SSL_CTX_set_max_proto_version(raw, TLS1_2_VERSION);
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    assert_int_equal(shake(&p), 0);
    assert_int_equal(SSL_renegotiate(p.theirs), 1);
    SSL_do_handshake(p.theirs);
    assert_int_equal(tls_read(p.ours, p.text, sizeof p.text), TLS_WANT_READ);
    assert_true(SSL_do_handshake(p.theirs) <= 0); /* "no renegotiation" */
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
}

/* ---- ALPN -------------------------------------------------------------------------- */

static int alpn_with(struct tls_context *c, const unsigned char *offer, unsigned n,
                     char chosen[16]) {
    SSL_CTX *raw = raw_client();
    struct pair p;
    if (n)
        SSL_CTX_set_alpn_protos(raw, offer, n);
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    int result = shake(&p);
    const unsigned char *name = NULL;
    unsigned size = 0;
    SSL_get0_alpn_selected(p.theirs, &name, &size);
    snprintf(chosen, 16, "%.*s", (int)size, (const char *)name);
    pair_close(&p);
    SSL_CTX_free(raw);
    return result;
}

static void the_server_chooses_http_1_1(void **state) {
    struct tls_context *c = server_context(NULL, false);
    char chosen[16];
    assert_int_equal(alpn_with(c, (const unsigned char *)"\2h2\x08http/1.1", 12, chosen), 0);
    assert_string_equal(chosen, "http/1.1");
    assert_int_equal(alpn_with(c, NULL, 0, chosen), 0);
    assert_string_equal(chosen, "");
    assert_int_not_equal(alpn_with(c, (const unsigned char *)"\2h2", 3, chosen), 0);
    tls_context_unref(c);
}

static int take_first(SSL *ssl, const unsigned char **out, unsigned char *n,
                      const unsigned char *in, unsigned in_n, void *arg) {
    *n = in[0];
    *out = in + 1;
    return SSL_TLSEXT_ERR_OK;
}

static void our_client_offers_http_1_1_and_names_the_server(void **state) {
    struct tls_context *c = client_context();
    SSL_CTX *raw = raw_accepting("server");
    struct pair p;
    SSL_CTX_set_alpn_select_cb(raw, take_first, NULL);
    pair_open(&p, c, raw, "localhost");
    SSL_set_accept_state(p.theirs);
    assert_int_equal(shake(&p), 0);
    const unsigned char *name = NULL;
    unsigned size = 0;
    SSL_get0_alpn_selected(p.theirs, &name, &size);
    assert_int_equal(size, 8);
    assert_memory_equal(name, "http/1.1", 8);
    assert_string_equal(SSL_get_servername(p.theirs, TLSEXT_NAMETYPE_host_name), "localhost");
    pair_close(&p);
    pair_open(&p, c, raw, "127.0.0.1"); /* addresses are verified, not announced */
    SSL_set_accept_state(p.theirs);
    assert_int_equal(shake(&p), 0);
    assert_null(SSL_get_servername(p.theirs, TLSEXT_NAMETYPE_host_name));
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
}

/* ---- verification ------------------------------------------------------------------ */

static int verified(struct tls_conf conf, const char *certificate, const char *host,
                    char why[256]) {
    struct tls_context *c = NULL;
    SSL_CTX *raw = raw_accepting(certificate);
    struct pair p;
    assert_null(tls_client_new(&conf, &c));
    pair_open(&p, c, raw, host);
    SSL_set_accept_state(p.theirs);
    int result = shake(&p);
    snprintf(why, 256, "%s", tls_error(p.ours));
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
    return result;
}

static void a_client_verifies_chain_and_name(void **state) {
    struct tls_conf trusting = { .ca_file = str_of(cert_path("root.crt")) };
    char why[256];
    assert_int_equal(verified(trusting, "server", "localhost", why), 0);
    assert_int_equal(verified(trusting, "server", "localhost.", why), 0);
    assert_int_equal(verified(trusting, "server", "LOCALHOST", why), 0);
    assert_int_equal(verified(trusting, "server", "one.test.invalid", why), 0);
    assert_int_equal(verified(trusting, "server", "127.0.0.1", why), 0);
    assert_int_equal(verified(trusting, "server", "a.b.test.invalid", why), TLS_FAILED);
    assert_string_equal(why, "hostname mismatch");
    assert_int_equal(verified(trusting, "server", "127.0.0.2", why), TLS_FAILED);
    assert_string_equal(why, "IP address mismatch");
    assert_int_equal(verified(trusting, "expired", "localhost", why), TLS_FAILED);
    assert_string_equal(why, "certificate has expired");
    assert_int_equal(verified(trusting, "stranger", "localhost", why), TLS_FAILED);
    assert_non_null(strstr(why, "certificate"));
}

static void options_of_a_client_change_what_it_takes(void **state) {
    struct tls_conf insecure = { .insecure = true }, system = { 0 };
    struct tls_conf named = { .ca_file = str_of(cert_path("root.crt")),
                              .server_name = S("elsewhere.invalid") };
    char why[256];
    assert_int_equal(verified(insecure, "stranger", "whoever", why), 0);
    /* the system does not know our root */
    assert_int_equal(verified(system, "server", "localhost", why), TLS_FAILED);
    assert_int_equal(verified(named, "other", "localhost", why), 0);
    assert_int_equal(verified(named, "server", "localhost", why), TLS_FAILED);
}

/* The client presents `certificate` (NULL: none) to a server that wants one by the root. */
static int presents(const char *certificate, bool required, char why[256]) {
    struct tls_conf conf = conf_of("server.crt", "server.key");
    conf.ca_file = str_of(cert_path("root.crt"));
    conf.verify_client = required;
    struct tls_context *c = NULL;
    assert_null(tls_server_new(&conf, NULL, &c));
    SSL_CTX *raw = raw_client();
    char file[64];
    if (certificate) {
        snprintf(file, sizeof file, "%s.crt", certificate);
        SSL_CTX_use_certificate_file(raw, cert_path(file), SSL_FILETYPE_PEM);
        snprintf(file, sizeof file, "%s.key", certificate);
        SSL_CTX_use_PrivateKey_file(raw, cert_path(file), SSL_FILETYPE_PEM);
    }
    struct pair p;
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    int result = shake(&p);
    snprintf(why, 256, "%s", tls_error(p.ours));
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
    return result;
}

static void a_server_verifies_the_certificates_of_clients(void **state) {
    char why[256];
    assert_int_equal(presents("client", true, why), 0);
    assert_int_equal(presents("client", false, why), 0);
    assert_int_equal(presents(NULL, false, why), 0);
    assert_int_equal(presents(NULL, true, why), TLS_FAILED);
    assert_non_null(strstr(why, "did not return a certificate"));
    assert_int_equal(presents("stranger", false, why), TLS_FAILED);
    assert_int_equal(presents("stranger", true, why), TLS_FAILED);
    assert_non_null(strstr(why, "certificate"));
}

static void our_client_presents_its_certificate(void **state) {
    struct tls_conf conf = conf_of("client.crt", "client.key");
    conf.ca_file = str_of(cert_path("root.crt"));
    struct tls_context *c = NULL;
    assert_null(tls_client_new(&conf, &c));
    SSL_CTX *raw = raw_accepting("server");
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_load_verify_file(raw, cert_path("root.crt"));
    struct pair p;
    pair_open(&p, c, raw, "localhost");
    SSL_set_accept_state(p.theirs);
    assert_int_equal(shake(&p), 0);
    assert_non_null(SSL_get0_peer_certificate(p.theirs));
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
}

/* ---- resumption -------------------------------------------------------------------- */

static SSL_SESSION *newest; /* that the last connection left behind */

static void forget(void) {
    SSL_SESSION_free(newest);
    newest = NULL;
}

/* A handshake of `raw` with a context, with the session given; true when it resumed. */
static bool resumes(struct tls_context *c, SSL_CTX *raw, SSL_SESSION *session) {
    struct pair p;
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    SSL_SESSION *copy = session ? SSL_SESSION_dup(session) : NULL; /* OpenSSL uses one only once */
    SSL_set_session(p.theirs, copy);
    SSL_SESSION_free(copy);
    assert_int_equal(shake(&p), 0);
    exchange(&p);
    bool resumed = SSL_session_reused(p.theirs);
    forget();
    newest = SSL_get1_session(p.theirs);
    tls_shutdown(p.ours);
    assert_int_equal(SSL_read(p.theirs, p.text, sizeof p.text), 0);
    SSL_shutdown(p.theirs);
    pair_close(&p);
    return resumed;
}

static void sessions_resume_across_contexts(bool v1_2) {
    struct seal_ring before = ring_of(1, 1), after = { .count = 2 }, much_later = ring_of(5, 1);
    after.keys[0] = ring_of(2, 1).keys[0]; /* a new key seals, the old one opens */
    after.keys[1] = before.keys[0];
    struct tls_context *first = server_context(&before, true),
                       *second = server_context(&before, true),
                       *rotated = server_context(&after, true),
                       *stranger = server_context(&much_later, true),
                       *without = server_context(NULL, true);
    SSL_CTX *raw = raw_client();
    if (v1_2)
        SSL_CTX_set_max_proto_version(raw, TLS1_2_VERSION);
    assert_false(resumes(first, raw, NULL));
    SSL_SESSION *session = TAKE(newest), *renewed;
    assert_true(resumes(second, raw, session));
    assert_true(resumes(first, raw, newest)); /* again and again: each leaves a ticket behind */
    assert_true(resumes(rotated, raw, session));
    renewed = TAKE(newest);
    assert_true(resumes(rotated, raw, renewed));
    assert_false(resumes(first, raw, renewed)); /* sealed with the new key */
    assert_false(resumes(stranger, raw, session));
    assert_false(resumes(without, raw, session));
    assert_false(SSL_SESSION_is_resumable(newest)); /* no keys, no tickets */
    SSL_SESSION_free(session);
    SSL_SESSION_free(renewed);
    forget();
    struct tls_context *all[] = { first, second, rotated, stranger, without };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        tls_context_unref(all[i]);
    SSL_CTX_free(raw);
}

static void sessions_resume_on_any_worker_and_after_a_reload(void **state) {
    sessions_resume_across_contexts(false);
    sessions_resume_across_contexts(true);
}

/* Who was let in without a certificate must not come back where one is required. */
static void a_session_does_not_resume_under_other_rules_for_clients(void **state) {
    struct seal_ring ring = ring_of(1, 1);
    struct tls_context *open = server_context(&ring, false), *strict = NULL, *same = NULL;
    struct tls_conf conf = conf_of("server.crt", "server.key");
    conf.ca_file = str_of(cert_path("root.crt"));
    conf.verify_client = true;
    assert_null(tls_server_new(&conf, &ring, &strict));
    assert_null(tls_server_new(&conf, &ring, &same));
    SSL_CTX *raw = raw_client();
    SSL_CTX_use_certificate_file(raw, cert_path("client.crt"), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(raw, cert_path("client.key"), SSL_FILETYPE_PEM);
    assert_false(resumes(open, raw, NULL));
    SSL_SESSION *session = TAKE(newest);
    assert_false(resumes(strict, raw, session));
    SSL_SESSION_free(session);
    session = TAKE(newest);
    assert_true(resumes(same, raw, session));
    SSL_SESSION_free(session);
    forget();
    tls_context_unref(open);
    tls_context_unref(strict);
    tls_context_unref(same);
    SSL_CTX_free(raw);
}

/* ---- reading and writing ----------------------------------------------------------- */

static void a_goodbye_is_a_clean_end_and_its_lack_a_failure(void **state) {
    struct tls_context *c = server_context(NULL, false);
    SSL_CTX *raw = raw_client();
    struct pair p;
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    assert_int_equal(shake(&p), 0);
    exchange(&p);
    SSL_shutdown(p.theirs);
    assert_int_equal(tls_read(p.ours, p.text, sizeof p.text), 0);
    pair_close(&p);
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    assert_int_equal(shake(&p), 0);
    exchange(&p);
    shutdown(p.fds[1], SHUT_WR);
    assert_int_equal(tls_read(p.ours, p.text, sizeof p.text), TLS_FAILED);
    assert_string_equal(tls_error(p.ours), "closed without a goodbye");
    assert_int_equal(tls_write(p.ours, "x", 1), TLS_FAILED);
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
}

static void garbage_in_place_of_a_handshake_fails_with_a_reason(void **state) {
    struct tls_context *c = server_context(NULL, false);
    SSL_CTX *raw = raw_client();
    struct pair p;
    pair_open(&p, c, raw, NULL);
    assert_int_equal(write(p.fds[1], "GET / HTTP/1.1\r\n\r\n", 18), 18);
    assert_int_equal(tls_read(p.ours, p.text, sizeof p.text), TLS_FAILED);
    assert_string_equal(tls_error(p.ours), "http request");
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
}

/* A write that the socket did not take goes on from other memory, with more behind it. */
static void a_write_goes_on_from_where_the_bytes_have_moved(void **state) {
    struct tls_context *c = server_context(NULL, false);
    SSL_CTX *raw = raw_client();
    struct pair p;
    SCOPED(buf_done) struct buf all = { 0 }, got = { 0 };
    fill(&all, 2 << 20, 1);
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    assert_int_equal(shake(&p), 0);
    static char chunk[32 * 1024];
    for (size_t sent = 0; got.n < all.n;) {
        SCOPED(mem_scope) char *moved = mem_copy(all.p + sent, all.n - sent);
        ssize_t n = tls_write(p.ours, moved, all.n - sent);
        assert_true(n >= 0 || n == TLS_WANT_WRITE);
        sent += n > 0 ? (size_t)n : 0;
        if (n >= 0 && sent < all.n)
            continue;
        for (int r; (r = SSL_read(p.theirs, chunk, sizeof chunk)) > 0;)
            buf_put(&got, chunk, (size_t)r);
    }
    assert_true(filled(buf_view(&got), all.n, 1));
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
}

static void what_does_not_fit_is_pending(void **state) {
    struct tls_context *c = server_context(NULL, false);
    SSL_CTX *raw = raw_client();
    struct pair p;
    pair_open(&p, c, raw, NULL);
    SSL_set_connect_state(p.theirs);
    assert_int_equal(shake(&p), 0);
    assert_int_equal(SSL_write(p.theirs, "0123456789", 10), 10);
    assert_int_equal(tls_read(p.ours, p.text, 4), 4);
    assert_true(tls_pending(p.ours));
    assert_int_equal(tls_read(p.ours, p.text, sizeof p.text), 6);
    assert_false(tls_pending(p.ours));
    pair_close(&p);
    tls_context_unref(c);
    SSL_CTX_free(raw);
}

static int make_certs(void **state) {
    certs_make();
    return 0;
}

static int remove_certs(void **state) {
    certs_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_are_named_with_what_is_wrong),
        cmocka_unit_test(a_client_refuses_broken_files_too),
        cmocka_unit_test(a_context_knows_when_its_certificate_ends),
        cmocka_unit_test(tls_1_3_is_the_rule_and_1_2_an_option),
        cmocka_unit_test(tls_1_2_has_only_suites_with_aead_and_fresh_keys),
        cmocka_unit_test(a_client_is_not_allowed_to_renegotiate),
        cmocka_unit_test(the_server_chooses_http_1_1),
        cmocka_unit_test(our_client_offers_http_1_1_and_names_the_server),
        cmocka_unit_test(a_client_verifies_chain_and_name),
        cmocka_unit_test(options_of_a_client_change_what_it_takes),
        cmocka_unit_test(a_server_verifies_the_certificates_of_clients),
        cmocka_unit_test(our_client_presents_its_certificate),
        cmocka_unit_test(sessions_resume_on_any_worker_and_after_a_reload),
        cmocka_unit_test(a_session_does_not_resume_under_other_rules_for_clients),
        cmocka_unit_test(a_goodbye_is_a_clean_end_and_its_lack_a_failure),
        cmocka_unit_test(garbage_in_place_of_a_handshake_fails_with_a_reason),
        cmocka_unit_test(a_write_goes_on_from_where_the_bytes_have_moved),
        cmocka_unit_test(what_does_not_fit_is_pending),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
