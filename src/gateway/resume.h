/* resume.h - streams of legacy sessions that outlive their connection (P-144, P-150..P-152).
 *
 * A stream stays on the worker where it was begun, its home, and what is said on it is kept
 * (replay.h). At first the connection of its POST or GET reads it there. A client that comes
 * back with Last-Event-ID, on whatever worker, becomes its reader: that worker asks the home by
 * mail for what was missed, then for what comes, one packet at a time, so that a slow client
 * makes nobody hold more for it than the buffer does. The newest reader wins.
 *
 * Costs nothing until a stream is begun; one timer of a worker looks after calls that take
 * long and after streams that nobody reads.
 *
 * Threads  each function on the worker of its stream, or of the request that it serves
 */
#pragma once
#include "gateway/exchange.h"
#include "gateway/replay.h"

#define KEEP_ALIVE (15 * NANOS_SEC) /* between comments that show that a stream is there (P-116) */

struct resume;    /* a worker's part */
struct resumable; /* one stream, at home */
struct reader;    /* who came back, on the worker of the connection */

struct resume *resume_new(struct gateway_worker *gw);
void resume_free(struct resume *all);
/* From now on exchanges in flight hear face_ops.still_working now and then. */
void resume_watch(struct gateway_worker *gw);

/* ---- a stream at home -------------------- */

/* What a GET stream wants to know of its readers; none of them waits. */
struct resumable_owner {
    void (*read)(void *owner, bool somebody);
    void (*lapsed)(void *owner); /* nobody came back in time: releases it */
};

/* The stream that x's client reads on the request r, whose answer was begun. NULL: it cannot be
 * resumed. The caller releases it; `owner` may be NULL. */
struct resumable *resumable_open(struct exchange *x, enum replay_kind kind, struct http_request *r,
                                 const struct resumable_owner *ops, void *owner);
/* One message of a call. Waits for a slow client; a lost one is no error. */
void resumable_send(struct task *t, struct resumable *s, const struct str *pieces, size_t n);
/* The same without waiting, from the loop. */
void resumable_push(struct resumable *s, struct str text);
/* The priming event (P-151), where its client knows of these and has not seen it. */
void resumable_prime(struct resumable *s);
void resumable_keep_alive(struct resumable *s);
/* The connection ends, the client comes back for the rest (P-151). False: not with this one. */
bool resumable_poll(struct resumable *s);
bool resumable_read_here(const struct resumable *s); /* on the connection on which it began */
/* For how long its present connection has read it; 0: nobody does. */
nanos resumable_read_for(const struct resumable *s);
/* r is gone. False: it was another's, or is not read by this stream any more. */
bool resumable_lost(struct resumable *s, const struct http_request *r);
/* Everything was said: it is kept for a while. Who came back is ended; the call's own request is
 * the caller's to end. */
void resumable_end(struct resumable *s);
/* Ends a GET stream and whoever reads it, and releases it. */
void resumable_close(struct resumable *s);
/* The caller lets go of it. Unless it has ended in the proper way, nobody can come back. */
void resumable_release(struct resumable *s);
/* The session was closed: on every worker its calls are cancelled and its streams end. */
void resume_end_session(struct gateway *g, const struct session_view *session);

/* ---- coming back -------------------- */

/* Asks the home of the stream that Last-Event-ID names. DENIED, NOT_FOUND: answer 400 (P-152).
 * OK: begin the answer, then resume_go_on; or reader_free. */
err_t resume_ask(struct exchange *x, struct str last_event_id, struct reader **out);
/* Writes what was missed; then ends the stream with its last message, or detaches the request. */
void resume_go_on(struct task *t, struct reader *rd, struct http_request *r);
void reader_free(struct reader *rd);
/* Streams that a principal resumed on this worker. */
size_t resume_readers_of(const struct gateway_worker *gw, uint64_t principal);
