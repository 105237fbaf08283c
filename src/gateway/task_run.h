/* task_run.h - what the gateway does for a task in the background, in a fiber of its own.
 *
 * Two kinds. A call: a task of ours is a tools/call that goes on after its client was
 * answered; where it asks (input_required), the fiber ends until there are answers. An ear: a
 * legacy upstream tells the questions of its task only on the stream of a tasks/result, which
 * is held open here so that a modern client finds them in tasks/get (P-446).
 *
 * Limits   limits.task_ttl for a call, limits.question_wait for an ear, limits.rounds
 * Threads  a run belongs to the worker on which it was started; others reach it by mail
 */
#pragma once
#include "gateway/task_ask.h"
#include "gateway/tasks.h"

/* Goes on with a task of ours. False: the worker has its fill. */
bool task_run_call(struct gateway_worker *gw, struct kept_task *k);
/* Hears the questions of k, unless somebody does already. `caller` as in upstream_request. */
void task_run_ear(struct gateway_worker *gw, struct kept_task *k, const struct task_ask *ask,
                  uint64_t caller);
/* Answers (raw inputResponses) to open questions of k; what nobody asked is ignored. */
void task_run_answer(struct gateway_worker *gw, struct kept_task *k, struct str responses);
/* The task is over: ends what runs for it. Any worker. */
void task_run_stop(struct gateway *g, struct kept_task *k);
