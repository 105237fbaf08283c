/* http_changes.h - streams on which a Streamable HTTP server tells of changes.
 *
 *   legacy   of lists and of watched resources: the GET stream of the session that all share
 *   modern   of lists: a subscriptions/listen; of watched resources: one of its own, which ends
 *            and begins anew whenever the set of URIs is another (P-409)
 *
 * What changed while there was no stream was told to nobody: when one opens, lists are read again
 * (P-115) and watched resources count as new (P-410).
 *
 * Threads  home worker
 */
#pragma once
#include "gateway/http_link.h"

/* upstream_ops.watch and .watch_uris */
err_t http_watch(struct task *t, struct upstream *u);
void http_watch_uris(struct upstream *u);
/* Lets go of both. */
void http_changes_stop(struct upstream *u);
