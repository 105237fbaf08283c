/* task_methods.h - tasks towards clients: how one begins, and the methods tasks/… (PROTOCOL §6.11).
 *
 * A client of 2025-11-25 asks for a task in its call and fetches the outcome by tasks/result; a
 * modern one declares the extension, and finds questions and outcome in tasks/get. Upstreams of
 * either kind stand behind either client; docs/design/protocol.md has the table.
 */
#pragma once
#include "gateway/question.h"
#include "gateway/task_ask.h"
#include "mcp/task.h"

/* A tools/call, routed: may it be, must it be a task? Sets what x has of it. False: x was
 * answered (P-291). */
bool task_admit(struct exchange *x);
/* The `task` member for a legacy upstream: raw object, in x's arena. */
struct str task_param(struct exchange *x);

/* The upstream made a task of x's call r: its client gets ours of it. */
void task_answer_theirs(struct exchange *x, const struct upstream_request *r, struct mcp_task *t);
/* A built-in server wants to go on in the background, after the rounds `in` (P-299). */
err_t task_answer_ours(struct exchange *x, const struct inputs *in);
/* The client wanted a task, the result is there already: one that has ended (P-417). */
err_t task_answer_ended(struct exchange *x, struct str result);

/* Polls the upstream's task `own` to its end, for a legacy client that waits in x; puts its
 * questions to it. The raw result or error is in x's arena. */
err_t task_wait(struct exchange *x, const struct task_ask *ask, bool *failed, struct str *out);

/* For pushes (task_watch.h): x's caller declared the extension and may look at it. */
bool task_is_known(struct exchange *x, struct str shown);
/* Its members, with all that tasks/get tells a modern client. x needs no message. May wait. */
err_t task_put_state(struct exchange *x, struct str shown, struct jw *w, bool *final,
                     int64_t *poll);

void method_task_get(struct exchange *x);
void method_task_result(struct exchange *x);
void method_task_list(struct exchange *x);
void method_task_cancel(struct exchange *x);
void method_task_update(struct exchange *x);
