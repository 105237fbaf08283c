/* relay.h - a round that arrives on one worker and is served on another (DESIGN decision 2).
 *
 * A parked call lives where it was begun. The worker to which the client's retry came sends
 * the message there by mail; a task there runs the round with a face that mails back what the
 * client is to hear. The first worker's task only hands that on, so the client's connection
 * and the call's stay where they are.
 *
 * Limits   RELAY_NEWS bytes of notifications wait for a slow client; more are dropped
 * Memory   reference-counted by the two sides
 */
#pragma once
#include "gateway/exchange.h"

enum { RELAY_NEWS = 1024 * 1024 };

/* Continues the call `number` of worker `home` with the answers in x, and answers x. */
void relay_run(struct exchange *x, unsigned home, uint64_t number);
