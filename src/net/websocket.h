/* websocket.h - the server's side of a WebSocket (RFC 6455): wslay frames, our connection.
 *
 * A request with an Upgrade becomes a line of text messages both ways; the request lives as
 * long as the line. Messages arrive whole, fragments joined, pings answered. A line that is
 * quiet is asked with a ping; one that does not answer, breaks a rule or lags is ended.
 *
 * Threads  one worker
 * Limits   a message is at most max_message bytes, counted as buffer memory; 256 KiB may be
 *          unsent before push gives up and send waits
 */
#pragma once
#include "net/http_server.h"

struct websocket;

struct websocket_ops {
    /* On the loop; text is valid until it returns. False ends the line (1008). */
    bool (*on_message)(void *owner, struct str text);
    /* Once, from the loop or from push: the line is gone when it returns. */
    void (*on_gone)(void *owner);
};

/* The head asks for one: `Connection: upgrade`, `Upgrade: websocket`. */
bool websocket_asked(const struct http_head *h);

/* Answers 101 and detaches the request from its task; or answers 400 or 426 and returns an error.
 * `protocol` (may be empty) is chosen when the client offers it. */
err_t websocket_accept(struct task *t, struct http_request *r, struct str protocol,
                       size_t max_message, const struct websocket_ops *ops, void *owner,
                       struct websocket **out);

/* One text message in pieces; waits while the peer lags. */
err_t websocket_send(struct task *t, struct websocket *ws, const struct str *pieces, size_t n);
/* The same without waiting; false: the peer lags or is gone, and on_gone was called. */
bool websocket_push(struct websocket *ws, struct str text);
/* Says goodbye; on_gone follows when the peer has answered or does not in time. */
void websocket_close(struct websocket *ws, unsigned code, const char *reason);
