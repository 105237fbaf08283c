/* task_id.h - the ids of tasks, as clients know them (P-613, P-297).
 *
 * Sealed (AES-256-GCM, crypto.h) and bound to tenant, principal and profile: which upstream has
 * the task, what it calls it, and on whose session there. So an id leads to its task on every
 * worker and after a restart, nobody else can use it, and none can be guessed.
 *
 * Threads  any
 */
#pragma once
#include "gateway/exchange.h"

struct task_id {
    struct str upstream;  /* configured name */
    uint64_t share;       /* of its session there */
    unsigned asks;        /* that the session declares */
    bool ours;            /* the gateway runs it: `own` means nothing */
    struct str tool;      /* as the client called it */
    struct str own;       /* the upstream's id */
};

/* Into x's arena. */
struct str task_id_seal(struct exchange *x, const struct task_id *id);
/* Strings go to x's arena. False: it is none of ours, or not this caller's. */
bool task_id_open(struct exchange *x, struct str shown, struct task_id *out);
