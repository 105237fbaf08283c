/* session.h - sessions of legacy clients, readable from every worker (P-146..P-148).
 *
 * Sharded by id; a shard's lock is held for a look-up and a copy, never across a wait. An
 * ordinary call needs only the small view, so it runs where it arrives (DESIGN decision 2).
 * Ids are 192 random bits, base64url; they are names, not credentials: every look-up
 * compares the principal.
 *
 * A session's record also lies in shared state (store/shared.h), under "session/<id>", so that
 * another node, or this one after a restart, finds it where shared state outlives the process.
 * This table is what calls read; the record is written when the session changes, kept alive
 * once in an eighth of `idle`, and read when the table does not know the id. Notices tell other
 * nodes to read anew. What a node cannot hand over (its GET stream, its subscriptions) stays
 * its own.
 *
 * Threads  any
 * Waits    what takes a task, for shared state; a find of a session that the table has, never
 *          but for that eighth
 * Limits   of this process: in all and per principal; an idle session ends after a while,
 *          one that moves between nodes up to an eighth earlier
 */
#pragma once
#include "base/clock.h"
#include "base/err.h"
#include "mcp/revision.h"

struct sessions;
struct shared;
struct task;

#define SESSION_ID 32 /* characters of an id */

struct session_view {
    char id[SESSION_ID];
    enum revision revision;
    int log_level;           /* lowest that the client wants; -1: warning and up (P-231) */
    uint64_t principal;      /* digest */
    uint64_t profile;        /* hash of the profile's name: a session stays on its endpoint */
    unsigned asks;           /* what its client can be asked (mcp/question.h) */
    bool initialized;        /* notifications/initialized came */
    bool in_table;           /* of a table; else it lasts as long as its channel */
    int stream_worker;       /* worker with its GET stream, -1: none */
    uint64_t stream;         /* which one */
    bool stream_lost;        /* its connection is; the client may come back to it */
};

struct session_limits {
    size_t all, per_principal;
    nanos idle;
};

/* `shared` outlives it; NULL: nobody else needs them (tests). */
struct sessions *sessions_new(struct session_limits limits, struct shared *shared);
void sessions_free(struct sessions *s);
void sessions_configure(struct sessions *s, struct session_limits limits);
/* Called, on any thread, with a session that another node closed (`gone`: its calls and streams
 * here have to end), or to which it gave a newer GET stream (the one here has to end). Before
 * the first session. */
typedef void session_ended_fn(void *arg, const struct session_view *session, bool gone);
void sessions_on_ended(struct sessions *s, session_ended_fn *fn, void *arg);

struct session_start {
    enum revision revision;
    uint64_t principal, profile;
    unsigned asks;
    struct str client; /* its name, for people to see */
    bool bound;        /* to one connection, with which it ends: no other node hears of it */
};
/* The hash of a profile's name; the same in every process. */
uint64_t session_profile(struct str name);
/* LIMITED beyond a bound, UNAVAILABLE without shared state; out->id is the new id. */
err_t session_open(struct task *t, struct sessions *s, const struct session_start *start, nanos now,
                   struct session_view *out);
/* False when there is none of that id for that principal and profile, or it was idle too
 * long. Counts as use. */
bool session_find(struct task *t, struct sessions *s, struct str id, uint64_t principal,
                  uint64_t profile, nanos now, struct session_view *out);
bool session_lives(struct sessions *s, struct str id);
/* Each false when the session is gone from this table. */
bool session_set_initialized(struct task *t, struct sessions *s, struct str id);
bool session_set_asks(struct task *t, struct sessions *s, struct str id, unsigned asks);
bool session_set_level(struct task *t, struct sessions *s, struct str id, int level);
bool session_close(struct task *t, struct sessions *s, struct str id, uint64_t principal);
/* The newest GET stream wins; clear only if it is still the one: then idling begins. */
bool session_set_stream(struct sessions *s, struct str id, int worker, uint64_t stream);
/* Its connection is lost: idling begins although the stream is there. */
void session_lose_stream(struct sessions *s, struct str id, uint64_t stream, nanos now);
void session_clear_stream(struct sessions *s, struct str id, uint64_t stream, nanos now);
/* After session_set_stream: other nodes end theirs. */
void session_tell_stream(struct task *t, struct sessions *s, struct str id);
/* Ends what was idle too long, every few seconds; sessions with a GET stream are in use.
 * Returns how many. */
size_t sessions_expire(struct task *t, struct sessions *s, nanos now);
size_t sessions_count(struct sessions *s);
