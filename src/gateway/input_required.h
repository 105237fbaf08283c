/* input_required.h - results that want something of the client first (MRTR, PROTOCOL §6.4), and
 * the round in which it brings that back.
 *
 * A modern server ends a round with input_required: questions, a state of its own, or both.
 *
 *   modern client    the questions pass; the server's state travels sealed in one of ours, which
 *                    only this caller can bring back, with this request (P-461)
 *   legacy client    the questions are kept in `struct inputs` for question_gather, and the call
 *                    is made again with the answers (P-403)
 *
 * Modern clients also get one from us: for a call that waits here (park.h), and where a legacy
 * server wants web pages opened before it begins (P-438).
 *
 * Waits   only where the client's next round goes on with a call that waits (relay.h)
 */
#pragma once
#include "gateway/question.h"
#include "gateway/request_state.h"

/* Methods that it may answer (P-095). */
static inline bool input_may_be_required(enum method m) {
    return m == METHOD_TOOLS_CALL || m == METHOD_PROMPTS_GET || m == METHOD_RESOURCES_READ;
}
/* A modern upstream's result is one. */
bool input_is_required(const struct exchange *x, struct str result);

/* For a legacy client: what the result asks, into x's arena. */
err_t input_required_keep(struct exchange *x, struct str result, struct inputs *in);
/* For a modern client: answers x with it. */
err_t input_required_pass(struct exchange *x, struct str result);
/* A legacy upstream's error that wants addresses opened, for a modern client. True: x was
 * answered. */
bool input_required_for_addresses(struct exchange *x, struct str error);

/* One of ours, in three steps: the head, the member inputRequests by the caller, then the state
 * that brings the answers back and `meta` (raw; absent: none), with which x is answered. */
struct jw input_required_begin(struct buf *b);
void input_required_answer(struct exchange *x, struct jw *w, const struct request_state *s,
                           struct str meta);

/* What the client brought with its request, if anything. True: call the upstream, with what is in
 * x. False: x was answered, perhaps by the call that waited here. */
bool input_take(struct exchange *x);
