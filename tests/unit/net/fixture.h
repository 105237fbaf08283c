/* fixture.h - what the tests of src/net share: a worker whose loop the test turns, a clock
 * that the test moves, and raw peers on loopback sockets that say exactly what they are
 * told. Nothing sleeps for a fixed time: a test turns the loop until what it waits for has
 * come, and fails after a minute without it. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "net/conn.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/listener.h"
#include <cmocka.h>
#include <openssl/ssl.h>

/* ---- the world --------------------------------------------------------------------- */

struct net {
    struct worker *w;
    struct http_server *server;
    struct http_service service; /* its arg is the net */
    struct http_server_conf conf;
    struct listen_addr addr;
    void *arg;                   /* the test's own */
};

#define BUFFERS ((size_t)64 << 20)

/* A still worker, and a server configuration with limits that tests can reach. */
void net_open(struct net *n);
void net_listen(struct net *n); /* starts the server: n->service, n->conf */
/* Closes all, and checks that no connection and no counted byte of memory is left. */
void net_close(struct net *n);

void net_turn(struct net *n); /* once, with what has come by now */
void net_settle(struct net *n); /* until nothing happens any more */
void net_pass(struct net *n, nanos duration); /* moves the clock and fires what is due */
bool net_patient(bool start); /* false after a minute */

#define AWAIT(n, condition)                                                                        \
    do {                                                                                           \
        net_patient(true);                                                                         \
        while (!(condition)) {                                                                     \
            assert_true(net_patient(false));                                                       \
            net_turn(n);                                                                           \
        }                                                                                          \
    } while (0)

/* Runs fn as a task until it ends. */
void net_run(struct net *n, task_fn *fn, void *arg);

/* ---- peers ------------------------------------------------------------------------- */

struct peer {
    struct net *net;
    int fd;
    SSL *ssl;
    struct buf in;  /* received and not used yet */
    struct buf body; /* of the last answer */
    struct buf head;
    bool eof, reset;
};

uint16_t net_port(const struct listen_addr *addr);
void peer_connect(struct peer *p, struct net *n, uint16_t port);
/* Begins TLS on a connected peer; the handshake goes on with the first put or await. */
void peer_tls(struct peer *p, SSL_CTX *ctx, bool server, const char *name);
/* A loopback socket that listens; peers are accepted by hand. */
int upstream_open(struct listen_addr *addr);
void upstream_accept(struct peer *p, struct net *n, int listen_fd);

void peer_put(struct peer *p, struct str bytes);
void peer_say(struct peer *p, const char *text);
void peer_pull(struct peer *p); /* takes what has come */
void peer_await(struct peer *p, const char *text); /* until it was received */
void peer_await_end(struct peer *p);               /* until the other side closed */
bool peer_has(const struct peer *p, const char *text);
/* Reads one answer (or request) with a length or chunks: its head and body; returns the
 * status, 0 for a request. */
int peer_message(struct peer *p);
bool peer_head_has(const struct peer *p, const char *text);
void peer_finish(struct peer *p); /* shutdown of its sending side */
void peer_reset(struct peer *p);  /* closes with a reset */
void peer_close(struct peer *p);

/* `n` bytes that differ from place to place. */
void fill(struct buf *b, size_t n, unsigned seed);
bool filled(struct str s, size_t n, unsigned seed);

static inline bool buf_is(const struct buf *b, const char *text) {
    return str_eq(buf_view(b), str_of(text));
}
#define assert_body(p, text) assert_true(buf_is(&(p)->body, (text)))

/* The kind of e, or -1 for OK. */
static inline int kind_of(err_t e) {
    return e ? (int)e->kind : -1;
}
#define KIND_OK (-1)

/* ---- calls ------------------------------------------------------------------------- */

/* One http_call as a task of its own: what it sent and what came back. */
struct call {
    struct net *net;
    struct http_pool *pool;
    const char *request;
    unsigned flags;
    nanos timeout;        /* 0: none */
    bool stream;          /* reads pieces with http_reply_next, not the whole */
    size_t limit;         /* of the body; 0: 8 MiB */
    struct event go_on;
    bool hold;            /* waits for call_release between head and body */
    bool headed, done;
    int kind, status;
    struct err error;
    struct buf body;
    struct task *task;
};
void call_start(struct call *c, struct net *n, struct http_pool *pool, const char *request);
void call_release(struct call *c);
void call_finish(struct call *c); /* turns until it is done */
void call_free(struct call *c);

/* ---- certificates ------------------------------------------------------------------ */

/* A folder of PEM files, made once for a test program: two authorities, server
 * certificates for "localhost" and 127.0.0.1 by the first, a client's, and broken ones. */
const char *cert_path(const char *name);
void certs_make(void);
void certs_remove(void);
struct seal_ring ring_of(unsigned first, unsigned count);
/* A server's context over the first authority's certificate. */
struct tls_context *server_context(const struct seal_ring *ring, bool allow_1_2);
/* The same for our client face, trusting the first authority. */
struct tls_context *client_context(void);
/* A plain OpenSSL client that trusts the first authority. */
SSL_CTX *raw_client(void);
/* A plain OpenSSL server with a certificate of the given name ("server", "other"). */
SSL_CTX *raw_server(const char *name);
