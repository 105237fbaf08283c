/* forward.h - what other files of the data plane use of forward.c. */
#pragma once
#include "gateway/exchange.h"

/* Goes on with the parked call x->parked, to which x brings the answers, up to an answer or
 * the next questions. */
void forward_continue(struct exchange *x);
