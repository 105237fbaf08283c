/* listener.h - accepting sockets: one SO_REUSEPORT socket per worker and address.
 *
 * Before the first bind the port is probed without SO_REUSEPORT, so that a second start
 * gives one clear error instead of half the connections (DESIGN decision 15).
 */
#pragma once
#include "run/worker.h"
#include <netinet/in.h>

struct listen_addr {
    struct sockaddr_storage addr;
    socklen_t len;
    struct str text; /* "127.0.0.1:8000", borrowed */
};
/* "HOST:PORT", "[v6]:PORT", ":PORT" (all addresses) or "PORT" (loopback). INVALID names what is
 * wrong. */
err_t listen_parse(struct str text, struct listen_addr *out);
/* CONFLICT names the address when somebody listens there already. With port 0 the port
 * chosen by the kernel is written back into *addr. */
err_t listen_probe(struct listen_addr *addr);

/* "127.0.0.1:8000", "[::1]:8000": what is or will be bound. */
#define LISTEN_TEXT 64
struct str listen_text(const struct listen_addr *addr, char out[LISTEN_TEXT]);

struct listener;
/* A new connection; fd is non-blocking and close-on-exec, the callee owns it. */
typedef void accept_fn(struct worker *w, int fd, const struct sockaddr_storage *peer, void *arg);
err_t listener_new(struct worker *w, const struct listen_addr *addr, int backlog,
                   accept_fn *on_accept, void *arg, struct listener **out);
/* Takes what is in the accept queue, then closes. */
void listener_close(struct listener *l);
