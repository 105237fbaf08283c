/* forward.h - requests that an upstream answers: the way of a call, in steps.
 *
 *   route.h            which upstream, and what it calls the thing
 *   input_required.h   what the client brings back from a round before
 *   caller.h           for whom: session or child, what he can be asked
 *   outgoing.h         the message, spliced from the client's
 *   call.h             sent, heard out, the answer taken
 *   bridge.h           what comes back, as the client may hear it
 *
 * Most calls are one round. There are more where a legacy client is asked what a modern upstream
 * wants to know, where a tool's header annotations are new, and where a tool runs as a task only.
 *
 * `forward` itself is declared in exchange.h, beside the other methods.
 *
 * Waits   yes, but for forward_roots_changed
 */
#pragma once
#include "gateway/exchange.h"
#include "gateway/task_ask.h"

/* A legacy client's roots are new: told to the sessions and children that serve it, of legacy
 * upstreams that have asked for roots (P-260). */
void forward_roots_changed(struct exchange *x);
/* Goes on with the parked call x->parked, to which x brings the answers, up to an answer or
 * the next questions. */
void forward_continue(struct exchange *x);

/* Fetches the outcome of a task from the legacy upstream that has it, and answers x with it;
 * questions go the way of every call's. x->related_task is what the client calls it, empty where
 * it knows of none. */
err_t forward_task_outcome(struct exchange *x, const struct task_ask *ask);
/* Answers x with an outcome that is there: a raw result of tools/call, or an error. */
void forward_answer_outcome(struct exchange *x, bool failed, struct str raw, enum revision from);
/* The end of either: withdraws what is still asked, tells a failure. */
void forward_settle_outcome(struct exchange *x, err_t e);
