/* uri.h - resource URIs of several upstreams in one name space (P-635..P-638), and the
 * part of RFC 6570 that routing needs.
 *
 * Rewriting is reversible without state: the upstream's name takes a fixed position.
 *   file:///a/b         ->  gs://NAME/file:///a/b  is NOT used; the scheme is kept readable:
 *   scheme:rest         ->  gatespan+scheme://NAME/rest-escaped   (default)
 *   ui://x, skill://x   ->  ui://NAME/x                           (scheme kept, P-637)
 *   https://…, http://… ->  unchanged (P-637)
 * The exact form is described in uri.c and docs/design; uri_restore inverts it for every
 * input, template expressions ({id}) stay intact.
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

/* RFC 6570 levels 1-3 (and explode) as a matcher: could `uri` be an expansion? */
bool uri_template_matches(struct str uri_template, struct str uri);
/* Syntax check with a limit on expressions. */
bool uri_template_valid(struct str uri_template);
