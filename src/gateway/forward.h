/* forward.h - what other files of the data plane use of forward.c. */
#pragma once
#include "gateway/exchange.h"

/* Goes on with the parked call x->parked, to which x brings the answers, up to an answer or
 * the next questions. */
/* Finds the resource that the caller calls `shown`, if it may be read: x->upstream, x->target. */
bool forward_find_resource(struct exchange *x, struct str shown);
void forward_continue(struct exchange *x);
