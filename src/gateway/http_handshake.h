/* http_handshake.h - how a Streamable HTTP server is met: its era, its revision, a session with it
 * (P-030, P-033, P-059).
 *
 * Waits   yes; the caller sets the deadline
 */
#pragma once
#include "gateway/http_link.h"

/* server/discover. *out_modern: it is a modern server, told into u->info. Left alone: it is none
 * that answers, so try initialize. */
err_t http_discover(struct task *t, struct upstream *u, bool *out_modern);
/* initialize and the notification behind it, as a client that can be asked `asks`. Empty *out_id:
 * the server keeps no session. Strings go to `a`. */
err_t http_initialize(struct task *t, struct upstream *u, unsigned asks, struct arena *a,
                      struct upstream_info *info, struct str *out_id);

/* The response to our request `id` in the answer r, JSON or the first of an event stream. Slices
 * of *out point into `text`. */
err_t http_read_response(struct task *t, struct http_reply *r, struct str id, struct buf *text,
                         struct envelope *out);
