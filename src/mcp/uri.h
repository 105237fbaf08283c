/* uri.h - resource URIs of several upstreams in one name space (P-635..P-638), and the
 * part of RFC 6570 that routing needs.
 *
 * Rewriting is reversible without state and readable: the upstream's name comes first,
 * behind a scheme that says whose the rest is; nothing is escaped, so what was valid stays
 * valid and template expressions stay intact.
 *
 *   of upstream NAME                       shown to clients
 *   scheme://rest                          gatespan+scheme://NAME/rest
 *   scheme:rest                            gatespan+scheme:NAME/rest
 *   rest without a scheme, {+uri}          gatespan://NAME/rest
 *   ui://rest, skill://rest                ui://NAME/rest, skill://NAME/rest   (P-637)
 *   https://…, http://…                    unchanged (P-637)
 *
 * So file:///etc/hosts is gatespan+file://NAME//etc/hosts. uri_restore inverts it for every
 * input, whatever its bytes.
 *
 * Threads  any; pure functions
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"

struct uri_map {
    struct str upstream; /* name, already restricted to [A-Za-z0-9_-] */
    bool rewrite;        /* false: URIs pass unchanged */
};

void uri_show(struct buf *out, const struct uri_map *map, struct str uri);
/* True when `shown` carries an upstream's name: *upstream is it, and the original is
 * appended to *original. False: a native URI. */
bool uri_restore(struct str shown, struct str *upstream, struct buf *original);

/* The URI as others may see it, in logs, traces and history: without user information, query and
 * fragment, which may hold passwords and tokens. A slice of it, or in the arena. */
struct str uri_public(struct arena *a, struct str uri);

/* RFC 6570 (all operators, explode and prefix modifiers) as a matcher: could `uri` be an
 * expansion? Values may hold any byte but / ? # where the operator would escape those:
 * clients do not always escape as the RFC says. Time is bounded by the product of the
 * lengths, which are at most URI_TEMPLATE_MAX and URI_MAX; longer ones match nothing. */
#define URI_MAX 8192
#define URI_TEMPLATE_MAX 2048
bool uri_template_matches(struct str uri_template, struct str uri);
/* Syntax check with a limit on expressions. Variable names may have '-', as some servers
 * spell them. */
#define URI_EXPRESSIONS_MAX 64
bool uri_template_valid(struct str uri_template);
