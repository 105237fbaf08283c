/* http_session.h - sessions with a legacy Streamable HTTP server, one for each share (DESIGN
 * decision 3).
 *
 * The home worker opens them, single file for each share, and knows the log level that each was
 * told; every worker's side remembers the ids. A server that knows an id no more answers 404 and
 * has not processed the request: the id is stale, and another session is opened (P-441).
 *
 * Limits   SESSIONS_KEPT on each worker; the home worker forgets the longest unused
 * Threads  as said at each
 */
#pragma once
#include "gateway/http_link.h"

enum { SESSIONS_KEPT = 16384 };

struct http_session_order {
    struct upstream *upstream;
    uint64_t share;
    unsigned asks;      /* what its callers can be asked */
    unsigned verbosity; /* at least */
    struct str stale;   /* the id that was refused; empty: any will do */
    struct buf id;      /* the home worker's answer */
};
/* The session's id, from this worker's memory or the home worker's. Valid until the task waits. */
err_t http_session_for(struct task *t, struct http_session_order *o, struct str *out);

/* Home worker: the session of share 0, which probing opened. */
void http_session_put(struct task *t, struct upstream *u, struct str id);
/* Home worker: that is the session of `share` now; a call may have been sent on an older one. */
bool http_session_is(struct upstream *u, uint64_t share, struct str session);
/* Home worker: a notification for whoever uses that share, if there is a session. */
void http_session_tell(struct upstream *u, uint64_t share, struct str message);

/* Home worker: forgets all, after handing them back to the server (P-037) where that is wanted. */
void http_sessions_end(struct task *t, struct upstream *u, bool hand_back);
/* The same for any table of them, a worker's side too; never waits. */
void http_sessions_forget(struct idmap *sessions);
