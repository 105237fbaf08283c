/* upstream_hear.h - what legacy servers say on the GET stream of a session (P-432, P-443).
 *
 * Many servers put a question or a log message not on the stream of the call that it belongs
 * to but on the session's own. That stream is open, on the upstream's home worker, while calls
 * are in flight whose callers can be asked or want log messages. What comes goes to the one
 * call of the session that it can be meant for: the only one in flight, or the first of several
 * of one legacy client, who is the same to be asked whichever it is. A question that may be of
 * somebody else is refused with the reason; such a log message is dropped.
 *
 * It is open, too, from a call that may become a task until the server has no task to work on:
 * what becomes of them is told there (task_told.h).
 *
 * Limits   as many streams as half of `max_connections`; one ends LINGER after the last call and task
 * Threads  flights: that of their call; the table of them is under a lock
 */
#pragma once
#include "gateway/http_link.h"
#include "gateway/http_session.h"

struct hearings;    /* of one upstream */
struct http_flight; /* one call of it */

struct hearings *hearings_new(struct upstream *u);
void hearings_free(struct hearings *all); /* with the upstream: no call, no stream is left */
/* Home worker: there is a new session, and so another chance; none is read any more. */
void hearings_anew(struct hearings *all);
void hearings_stop(struct hearings *all);

/* c is about to be sent on c->session. Waits until the stream is open, a second at most. True:
 * messages may come from hear_next, and wake c->reply. Again for another session. */
bool hear_begin(struct task *t, struct hearings *all, struct upstream_call *c);
/* Something came: valid until the next call, or the end. */
bool hear_next(struct upstream_call *c, struct envelope *out);
/* The response goes to the server. */
void hear_answered(struct hearings *all, struct upstream_call *c, struct str message);
/* Gives what is not answered to another call of its client, or refuses it. */
void hear_end(struct hearings *all, struct upstream_call *c);
