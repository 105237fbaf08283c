/* call.h - one call of an upstream on behalf of a client: sent, heard out, its answer taken.
 *
 * Whatever comes before the answer goes on to the client at once: notifications (bridge.h),
 * questions to a legacy client (question.h) and, where the client is modern and the upstream is
 * not, questions that end the round but not the call (park.h). What the answer is to its client
 * is told by `enum fate` in call.c: nearly always x is answered with it; else it is left in
 * `struct inputs` or in x->inner_task for forward.c to go on with.
 *
 * Waits   yes
 */
#pragma once
#include "gateway/question.h"

/* Sends r to x->upstream, which speaks `to`, and hears it out. */
err_t call_run(struct exchange *x, const struct upstream_request *r, enum revision to,
               struct inputs *in);
/* The same of the call x->parked, to which x brings answers: up to the upstream's, or to its next
 * questions. x->parked is gone afterwards. */
err_t call_go_on(struct exchange *x);
