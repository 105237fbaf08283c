/* question.h - what an upstream asks a legacy client in the middle of a call (P-403, P-460).
 *
 * A question goes to the client as a request with an id of ours, on the stream of the call it
 * belongs to. The answer may come on any worker; it finds its question by the id, which names
 * the worker, and by the session. From a legacy upstream questions and answers pass through
 * while the call goes on; those of a modern one (input_required) are gathered, and the call
 * is made again with the answers.
 *
 * Limits   limits.questions open in one call, limits.question_wait for an answer
 * Threads  a question belongs to the worker of its exchange
 * Memory   the round's arena; an exchange drops its questions before it ends
 */
#pragma once
#include "gateway/exchange.h"

/* input_required of a modern upstream, and the way back. */
struct inputs {
    struct str requests;     /* raw object, or absent */
    struct str state;        /* raw string, or absent */
    struct buf responses;    /* object of answers for the retry */
    struct str sent_state;   /* that the retry was sent with */
    unsigned rounds, pauses; /* so far: with questions, without */
    bool wants_task;         /* the upstream does it as a task only (P-418) */
    bool stale_headers;      /* the upstream knows other x-mcp-header annotations than we do */
};
static inline void inputs_done(struct inputs *in) {
    if (in->responses.p)
        buf_done(&in->responses);
}

/* Puts the question m of the legacy upstream behind c, or refuses it there. */
err_t question_pass_on(struct exchange *x, struct upstream_call *c, const struct envelope *m);
/* Asks all of in->requests at once and waits for the answers; without any it pauses. An error
 * without x->answered is for the caller to answer. */
err_t question_gather(struct exchange *x, struct inputs *in);
/* The call is over: the client need not answer what is still open. */
void questions_withdraw(struct exchange *x);
/* The call that had web pages opened is about to be answered (P-407). */
void questions_complete(struct exchange *x);
/* The upstream says the same of one page, under its own name for it (P-272). */
err_t question_completed(struct exchange *x, struct str params);
/* A response of a legacy client, to whatever it was asked; any worker. Answers to questions
 * that nobody asked are ignored. */
void question_take_answer(struct gateway *g, const struct session_view *session,
                          const struct envelope *answer);
