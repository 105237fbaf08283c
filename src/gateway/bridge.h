/* bridge.h - what an upstream said, as this exchange's client may hear it: an answer, or a
 * notification in mid-call, in the client's revision and with the client's names.
 *
 * mcp/translate.h knows how two revisions differ; here is what depends on the exchange: whose
 * progress it is, which log level was wanted, what counts as a failure, where HTTP's status comes
 * from. What need not change passes byte for byte.
 *
 * Waits   bridge_notification, for a slow client
 */
#pragma once
#include "gateway/exchange.h"

/* Answer x with a result or an error object of an upstream of revision `from`. */
void bridge_result(struct exchange *x, struct str result, enum revision from);
void bridge_error(struct exchange *x, struct str error, enum revision from);
/* Progress, log messages and the state of the task asked for go on, as far as the client wanted
 * them; anything else is no business of the call r. */
err_t bridge_notification(struct exchange *x, const struct envelope *m,
                          const struct upstream_request *r);
