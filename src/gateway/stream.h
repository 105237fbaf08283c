/* stream.h - streams that outlive their task: GET streams of legacy sessions and
 * subscriptions/listen of modern clients. They carry list_changed (P-201, P-621) and cost
 * no stack; keep-alive comments go out every 15 s (P-116).
 *
 * Threads  each belongs to the worker on which it was opened
 */
#pragma once
#include "gateway/exchange.h"

struct push_stream;

/* What carries a stream. Called on the loop or in a task; none waits. */
struct push_ops {
    /* One JSON-RPC message. False: the stream is gone, and stream_gone was called. */
    bool (*message)(void *self, struct str text);
    /* Shows that the line is alive; may end the stream. NULL: nothing to show. */
    void (*keep_alive)(void *self);
    /* Ends it properly, after its last message; stream_gone is not called. */
    void (*close)(void *self);
    bool says_cancelled; /* an ended listen is cancelled before its result (P-114, stdio) */
};
struct push_stream *stream_new(struct gateway_worker *gw, const struct push_ops *ops, void *self);
/* The carrier is gone: forgets all its streams. */
void stream_gone(struct gateway_worker *gw, const void *self);
/* The client cancelled its listen: forgets it, without a word (P-123). False: no such. */
bool stream_cancel(struct gateway_worker *gw, const void *self, struct str listen_id);

/* A stream on an HTTP answer that was begun; the request is detached from its task. */
struct push_stream *stream_over_http(struct gateway_worker *gw, struct http_request *r);
/* False when the caller has as many streams open as limits.streams_per_key allows. */
bool stream_allowed(const struct exchange *x);
/* The request's answer, which was begun, becomes the GET stream of x's session; an older one of
 * the same session is ended. When its connection goes it is kept for a while (resume.h). */
void stream_open_get(struct exchange *x, struct http_request *r);
/* Makes it the way to a legacy client that has no other stream (stdio). */
void stream_open_all(struct push_stream *p, const struct snapshot *s, const struct principal *who,
                     const char session[SESSION_ID]);
/* Modern: the listen request x; acknowledges, then stays (P-110..P-117). */
void method_listen(struct exchange *x);
/* One JSON-RPC message; may be the end of the stream. */
void stream_push(struct push_stream *p, struct str text);
/* After a new snapshot: sends what changed since each stream last heard. */
void streams_tell_changes(struct gateway_worker *gw);
/* A resource is new: tells the streams whose clients watch it. */
void streams_tell_update(struct gateway_worker *gw, struct str shown);
/* To a legacy client, beside any of its requests: on what it reads here, if it does. */
void streams_tell_session(struct gateway_worker *gw, const char session[SESSION_ID],
                          uint64_t principal, struct str text);
/* A task has changed: listens that watch it tell how it stands. */
void streams_look_at_task(struct gateway_worker *gw, struct str shown);
/* After new keys: ends those of keys that are no more. */
void streams_end_revoked(struct gateway_worker *gw);
/* Ends every stream, listens with their result (P-114): drain. */
void streams_end(struct gateway_worker *gw);
/* Ends the GET stream of a session that was closed. Any worker. */
void stream_end_session(struct gateway *g, const struct session_view *session);
