/* line.h - a client on a connection of its own that carries messages both ways: WebSocket on
 * /mcp, and HTTP+SSE of revision 2024-11-05 (P-130..P-133), whose messages come as POSTs.
 *
 * Framing of the WebSocket: one JSON-RPC message is one text message; the subprotocol is
 * "mcp". Both carry what standard input and output do (channel.h): one legacy session, modern
 * requests beside it. The session is bound to its key and profile and ends with its connection;
 * so do its calls.
 *
 * Threads  each belongs to the worker on which it was opened; messages may come on any
 */
#pragma once
#include "gateway/gateway.h"

/* GET /mcp and /mcp/{profile} with Upgrade: websocket. The caller has admitted it. */
void line_serve_websocket(struct task *t, struct http_request *r);
/* GET /sse, /sse/{profile}: the stream; its first event names where messages are posted to. */
void line_serve_sse(struct task *t, struct http_request *r);
/* Before the worker stops: each line ends once what is in flight on it is answered. */
void lines_drain(struct gateway_worker *gw);
/* POST /messages?sessionId=… */
void line_serve_message(struct task *t, struct http_request *r);
