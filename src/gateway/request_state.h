/* request_state.h - the requestState of input_required, as clients carry it for us (P-099,
 * P-433, P-461).
 *
 * Sealed (AES-256-GCM, crypto.h) and bound to who may bring it back and to what: tenant,
 * principal, profile, method, name and arguments are authenticated with it, so a state that was
 * changed, stolen or brought with other arguments does not open.
 *
 * Three kinds: of a call that waits here (which worker, which number), of a modern upstream (its
 * own state inside), and of a call that was never begun upstream (P-438).
 *
 * Threads  any
 */
#pragma once
#include "gateway/exchange.h"

enum state_kind { STATE_PARKED = 1, STATE_PASSED, STATE_AGAIN };

struct request_state {
    enum state_kind kind;
    unsigned worker; /* PARKED: where it waits, */
    uint64_t number; /* under which number; a number is given out once */
    struct str inner; /* PASSED: the upstream's raw string; p NULL when it gave none */
};

/* Appends the sealed text, without quotes. It is good for limits.question_wait. */
void request_state_seal(struct exchange *x, const struct request_state *s, struct buf *out);
/* Opens that of x; strings go to its arena. False: x was answered with -32602. */
bool request_state_open(struct exchange *x, struct request_state *out);
/* -32602: it was good once (P-434). */
void request_state_refuse_old(struct exchange *x);
