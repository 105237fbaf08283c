/* batch.h - an array of messages at once, which revision 2025-03-26 has and no other
 * (P-008..P-010). It is taken apart: each request becomes an exchange of its own, they run at the
 * same time, and their answers go back as one array. What an exchange would say before its
 * answer is not carried: a client that wants progress or is asked questions sends single
 * requests.
 *
 * Threads  the worker of its face
 * Limits   limits.batch messages
 */
#pragma once
#include "gateway/exchange.h"

/* A notification or a response in it; the face does what it does with a single one. */
typedef void batch_note_fn(void *self, struct exchange *x);

/* `like` is the exchange the batch came in: its caller, session and revision hold for all. *out is
 * the array of answers, empty when nothing in it asks for one. INVALID: it is no batch. */
err_t batch_run(struct exchange *like, batch_note_fn *note, void *self, struct buf *out);
