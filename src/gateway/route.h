/* route.h - which upstream a request is for, and what it calls the thing there.
 *
 * A client names a tool, a prompt or a URI as its profile's catalogue shows it. What its key may
 * not use does not exist for it: the answer is the same as for a name that nobody offers.
 *
 * Sets    x->entry (NULL for a URI that no list has), x->upstream, x->target
 * Waits   never
 */
#pragma once
#include "gateway/exchange.h"

/* The step `route` of a method that goes upstream. *out_name is the slice of the client's message
 * in whose place the upstream's own name goes. False: x was answered. */
bool route_call(struct exchange *x, struct str *out_name);
/* The resource that the caller calls `shown`, if it may be read. False: x was not answered. */
bool route_resource(struct exchange *x, struct str shown);
