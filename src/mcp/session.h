/* session.h - sessions of legacy clients, readable from every worker (P-146..P-148).
 *
 * Sharded by id; a shard's lock is held for a look-up and a copy, never across a wait. An
 * ordinary call needs only the small view, so it runs where it arrives (DESIGN decision 2).
 * Ids are 192 random bits, base64url; they are names, not credentials: every look-up
 * compares the principal.
 *
 * Threads  any
 * Limits   in all and per principal; an idle session ends after a while
 */
#pragma once
#include "base/clock.h"
#include "base/err.h"
#include "mcp/revision.h"

struct sessions;

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
};

struct session_limits {
    size_t all, per_principal;
    nanos idle;
};

struct sessions *sessions_new(struct session_limits limits);
void sessions_free(struct sessions *s);
void sessions_configure(struct sessions *s, struct session_limits limits);

/* LIMITED beyond a bound; out->id is the new id. `client` is kept for people to see. */
err_t session_open(struct sessions *s, enum revision revision, uint64_t principal, uint64_t profile,
                   struct str client, nanos now, struct session_view *out);
/* False when there is none of that id for that principal and profile, or it was idle too
 * long. Counts as use. */
bool session_find(struct sessions *s, struct str id, uint64_t principal, uint64_t profile,
                  nanos now, struct session_view *out);
/* Each false when the session is gone. */
bool session_set_initialized(struct sessions *s, struct str id);
bool session_lives(struct sessions *s, struct str id);
bool session_set_asks(struct sessions *s, struct str id, unsigned asks);
bool session_set_level(struct sessions *s, struct str id, int level);
/* The newest GET stream wins; clear only if it is still the one: then idling begins. */
bool session_set_stream(struct sessions *s, struct str id, int worker, uint64_t stream);
void session_clear_stream(struct sessions *s, struct str id, uint64_t stream, nanos now);
bool session_close(struct sessions *s, struct str id, uint64_t principal);
/* Ends what was idle too long; sessions with a GET stream are in use. Returns how many. */
size_t sessions_expire(struct sessions *s, nanos now);
size_t sessions_count(struct sessions *s);
