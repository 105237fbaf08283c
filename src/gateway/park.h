/* park.h - a call that waits, without a task, for a modern client's answers (P-432 to P-436).
 *
 * A legacy upstream asks in the middle of a call; its modern client can only be told in an
 * answer. So the round ends with input_required, and the call stays open beside its upstream
 * connection: this struct, at most PARKED_SIZE, and the text of its questions. The client's
 * next request brings the answers and continues the very same call; who never comes back
 * lets it expire, which refuses the questions and cancels upstream. No tool runs twice.
 *
 * Limits   limits.parked of the process, limits.parked_per_key; beyond them questions are
 *          refused to the upstream. limits.question_wait is the time to live
 * Threads  belongs to the worker on which the call was begun; others reach it by relay.h
 */
#pragma once
#include "gateway/exchange.h"

enum { PARKED_SIZE = 3 * 1024 };

struct parked;

/* A call of x that may be parked: begin it with the two structs inside. */
struct parked *parked_new(struct exchange *x);
/* Ends the call and frees. NULL is fine. */
void parked_free(struct parked *p);
struct upstream_request *parked_request(struct parked *p);
struct upstream_call *parked_call(struct parked *p);

/* Takes a question of the upstream, or refuses it there. */
void parked_take_question(struct parked *p, struct exchange *x, const struct envelope *m);
/* Questions that wait for answers. */
bool parked_asks(const struct parked *p);
/* Answers x with input_required; from now on the call waits. Takes x->parked. */
void parked_wait(struct exchange *x);

/* The call of that number on this worker, which waits no more; NULL: there is none. */
struct parked *parked_find(struct gateway_worker *gw, uint64_t number);
/* Gives the answers of x (x->parked is the call) to the upstream. True: all its questions are
 * answered, go on reading. False: x was answered, and the call waits again (P-100). */
bool parked_give_answers(struct exchange *x);

/* Ends every call that waits: drain. The upstreams are told, unless the worker has stopped. */
void parked_end_all(struct gateway_worker *gw, bool tell);

/* Counts for the limits, of the whole process. */
struct parking *parking_new(void);
void parking_free(struct parking *p);
size_t parking_count(struct parking *p);
