/* tls.h - TLS over a non-blocking socket, both faces (OpenSSL 3).
 *
 * 1.3 by default, 1.2 where an option says so. A context is immutable and shared by all
 * workers; a reload makes a new one, connections keep theirs. Server contexts share
 * ticket keys through the ring given, so a session resumes on any worker and survives a
 * reload. Reading or writing drives the handshake; tls_handshake does it before either.
 *
 * Threads  a context: any; a connection: one worker
 * Errors   INVALID names the file and what is wrong with it
 */
#pragma once
#include "base/crypto.h"
#include <sys/types.h>
#include <time.h>

struct tls_context;
struct tls;

struct tls_conf {
    struct str cert_file, key_file; /* PEM; server: required; client: towards upstreams, optional */
    struct str ca_file;             /* who is trusted; empty: client: the system's authorities,
                                     * server: no client certificates */
    bool verify_client;             /* server: require a client certificate */
    bool allow_1_2;
    bool http2;                     /* server: offers h2 before http/1.1 (ALPN, RFC 7301) */
    bool insecure;                  /* client: no verification; logged as a warning by the caller */
    struct str server_name;         /* client: SNI and name to verify; empty: the host of the URL */
};

err_t tls_server_new(const struct tls_conf *conf, const struct seal_ring *ticket_keys,
                     struct tls_context **out);
err_t tls_client_new(const struct tls_conf *conf, struct tls_context **out);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c);
/* When the certificate ends, seconds since 1970; 0 when there is none. */
time_t tls_context_expiry(const struct tls_context *c);

/* Takes a reference on the context; `host` is used for SNI and verification by clients. */
struct tls *tls_open(struct tls_context *c, int fd, struct str host);
void tls_free(struct tls *t); /* does not close the descriptor */

enum { TLS_WANT_READ = -1, TLS_WANT_WRITE = -2, TLS_FAILED = -3 };
/* Bytes, 0 at a clean end, or one of the above. TLS_FAILED: tls_error says why. */
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
/* 0 when it is done, else one of the above. */
ssize_t tls_handshake(struct tls *t);
void tls_shutdown(struct tls *t); /* sends close_notify if it can at once */
const char *tls_error(const struct tls *t);
bool tls_pending(const struct tls *t); /* bytes wait inside: no event of the socket tells */
