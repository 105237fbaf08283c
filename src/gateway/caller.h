/* caller.h - what an upstream learns of who calls: not who he is, but what it must know.
 *
 * Which session or child serves him (DESIGN decision 3), what he can be asked in the middle of
 * a call, and how much of the log he wants to hear.
 *
 * Needs   x->upstream; caller_asks is x->asks from its call on
 * Waits   never
 */
#pragma once
#include "gateway/exchange.h"

/* The bits of mcp/question.h that this upstream may use in this call. */
unsigned caller_asks(const struct exchange *x);
/* Which session or child of an upstream of that revision serves callers of these `asks`; 0: the
 * one that all share. */
uint64_t caller_share(const struct exchange *x, enum revision to, unsigned asks);
/* upstream_request.caller: who is asked what does not come on the stream of its call; 0: nobody. */
uint64_t caller_to_ask(const struct exchange *x);

/* The lowest level that this client asked for, per request (modern) or per session (P-231, P-232):
 * x->log_level. False: x was answered, it is no level. */
bool caller_set_log_level(struct exchange *x);
/* What a legacy upstream is told of it (upstream_request.verbosity). */
unsigned caller_verbosity(const struct exchange *x);
