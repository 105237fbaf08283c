/* outgoing.h - the message that goes upstream, made of the one that came from the client.
 *
 * Bytes are spliced: params travel as they are, but for what is another thing upstream:
 *
 *   the name or URI           as the upstream itself calls it
 *   _meta                     our progress token, the next span of the trace, and what the
 *                             upstream's era requires there (P-402, P-431, P-610, P-611)
 *   inputResponses,           what the client brought back goes on to a modern upstream only, with
 *   requestState              the upstream's own state in place of ours (P-461)
 *   of completion/complete    what the upstream's revision does not know stays out (P-221)
 *   task                      counts between us and a legacy upstream only (P-291, P-446)
 *
 * Memory   pieces point into the client's message, the exchange's arena and the struct itself
 * Waits    never
 */
#pragma once
#include "gateway/question.h"

enum { OUTGOING_EDITS = 6, OUTGOING_PIECES = 2 * OUTGOING_EDITS + 8 };

struct outgoing {
    size_t n, edit_count;
    struct buf text;                    /* of the new _meta */
    struct str pieces[OUTGOING_PIECES]; /* n of them: the message */
    struct edit {
        struct str old, with; /* `old` is a slice of the client's params */
    } edits[OUTGOING_EDITS];  /* in the order of their places */
};

static inline void outgoing_init(struct outgoing *o) {
    o->n = o->edit_count = 0;
    o->text = (struct buf){ 0 };
}
static inline void outgoing_done(struct outgoing *o) {
    buf_done(&o->text);
}

/* x's message for an upstream of revision `to`, as request r. The upstream's name goes in place of
 * the slice `old_name`, what the round before left in `in` (P-097) to the end of params. */
void outgoing_write(struct outgoing *o, struct exchange *x, enum revision to,
                    const struct upstream_request *r, struct str old_name, const struct inputs *in);
/* The traceparent of the hop upstream (P-281); empty: there is none. */
struct str outgoing_traceparent(struct exchange *x);
