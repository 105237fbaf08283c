/* replay.h - what was said on the streams of legacy sessions, kept so that a client whose
 * connection was cut can come back for the rest with Last-Event-ID (P-150..P-152).
 *
 * A stream's events are numbered from 1; 0 is its priming event (P-151), which has no text.
 * An event's id names worker, stream and number, and a keyed hash binds these to the session:
 * an id that was changed, or of another session, is told from one that is too old. Beyond a
 * bound the oldest events go first; a client that needs one of them is refused.
 *
 * Threads  one worker's; `key` is the same for all
 * Time     passed in
 * Limits   bytes and events, of all streams of the worker and of one session among them; how
 *          long a stream is kept that nobody reads
 * Waits    never
 */
#pragma once
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "mcp/session.h"

struct replays;
struct replay_session;
struct said; /* one event */

struct replay_limits {
    size_t bytes, events;                 /* of the worker */
    size_t session_bytes, session_events; /* of one session on the worker */
    nanos keep;                           /* 0: nothing is kept */
};

enum replay_kind {
    REPLAY_CALL,    /* of a POST: can be resumed while its call runs, and a while after */
    REPLAY_SESSION, /* a GET stream: a while after its connection was lost */
};

struct replay {
    struct replays *all;
    struct replay_session *session;
    struct replay *next, **back;   /* of the session */
    struct replay *later, **since; /* lapsing, the soonest first */
    uint64_t number;               /* of no other stream of this worker */
    uint64_t last;                 /* number of the newest event */
    uint64_t gone;                 /* number of the newest event that was let go of */
    struct said *oldest, **newest;
    nanos lapses;
    enum replay_kind kind;
    bool ended;                    /* nothing more will be said */
    bool read;                     /* somebody does */
    void *owner;                   /* the caller's own */
    /* It has ended, nobody reads it and nothing of it is left: to be freed. May be NULL. */
    void (*emptied)(struct replay *r);
};

struct replays *replays_new(unsigned worker, const uint64_t key[2]);
void replays_free(struct replays *all); /* with all streams */
void replays_configure(struct replays *all, struct replay_limits limits);

/* Being read. */
struct replay *replay_open(struct replays *all, const char session[SESSION_ID],
                           enum replay_kind kind);
void replay_free(struct replay *r);

enum { EVENT_ID = 64 };
/* Writes the id of event n; how many bytes. */
size_t replay_id(const struct replay *r, uint64_t n, char out[EVENT_ID]);
/* One JSON-RPC message on one line, in pieces. The event as it stands on the stream, valid until
 * the next call of any of these. */
struct str replay_say(struct replay *r, const struct str *pieces, size_t n);
/* Lets go of what is beyond the limits, after it was said to whoever reads. */
void replays_trim(struct replays *all, struct replay *newest);
/* What primes a client for coming back (P-151): the id of event n, without a text. */
void replay_prime(const struct replay *r, uint64_t n, int64_t retry_ms, struct buf *out);

/* Nothing more will be said; whether somebody reads. Either may begin the time that is left. */
void replay_end(struct replay *r, nanos now);
void replay_set_read(struct replay *r, bool read, nanos now);
/* The one that nobody read for the longest, if that was too long; NULL: none. */
struct replay *replays_lapsed(struct replays *all, nanos now);
bool replays_any_lapse(const struct replays *all);

/* What an id says, whatever worker it is of. DENIED: it is none of this session. */
struct event_id {
    unsigned worker;
    uint64_t stream, n;
};
err_t event_id_read(const uint64_t key[2], const char session[SESSION_ID], struct str text,
                    struct event_id *out);
/* The stream that goes on behind this event. NOT_FOUND: it, or what followed, is kept no more. */
err_t replay_find(struct replays *all, const char session[SESSION_ID], const struct event_id *id,
                  struct replay **out);
/* Appends what was said behind `after`, at least one event if there is one, then while `most`
 * bytes are not reached; the number of the last one appended. */
uint64_t replay_read(const struct replay *r, uint64_t after, size_t most, struct buf *out);
/* NULL: none. */
struct replay *replay_numbered(struct replays *all, uint64_t number);
struct replay *replays_first(struct replays *all); /* any one; NULL: none */
/* Of a session, one after the other; NULL: (no more). */
struct replay *replay_of(struct replays *all, const char session[SESSION_ID]);

struct replay_stats {
    size_t streams, events, bytes;
};
struct replay_stats replays_stats(const struct replays *all);
