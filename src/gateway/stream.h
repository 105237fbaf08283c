/* stream.h - streams that outlive their task: GET streams of legacy sessions and
 * subscriptions/listen of modern clients. They carry list_changed (P-201, P-621) and cost
 * no stack; keep-alive comments go out every 15 s (P-116).
 *
 * Threads  each belongs to the worker on which it was opened
 */
#pragma once
#include "gateway/exchange.h"

struct push_stream;

/* A stream on an HTTP answer that was begun; the request is detached from its task. */
struct push_stream *stream_over_http(struct gateway_worker *gw, struct http_request *r);
/* Makes it the GET stream of x's session; an older one of the same session is ended. */
void stream_open_get(struct push_stream *p, struct exchange *x);
/* Modern: the listen request x; acknowledges, then stays (P-110..P-117). */
void method_listen(struct exchange *x);
/* After a new snapshot: sends what changed since each stream last heard. */
void streams_tell_changes(struct gateway_worker *gw);
/* Ends every stream, listens with their result (P-114): drain. */
void streams_end(struct gateway_worker *gw);
/* Ends the GET stream of a session that was closed. Any worker. */
void stream_end_session(struct gateway *g, const struct session_view *session);
