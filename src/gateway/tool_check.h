/* tool_check.h - arguments and results of tools held against the schemas that their server
 * declared (P-196, P-200), where the caller's profile asks for it.
 *
 * A worker compiles a tool's schema at its first use, on the pool, and keeps it as long as
 * the catalogue. One of another dialect than 2020-12 holds nobody up: it is logged once, by its
 * name, and its tool is not checked (P-198). One that does not compile, since a reference leads
 * nowhere or out into the network, lets nothing through (P-199).
 */
#pragma once
#include "gateway/exchange.h"

/* False when they do not fit: then it answered, as a failure of the tool that names the place, so
 * that the model can mend it. May wait. */
bool tool_check_arguments(struct exchange *x);
/* False when the profile refuses results that break the declared schema and this one does: then
 * it answered. Never waits. */
bool tool_check_result(struct exchange *x, struct str result);

/* With the catalogue they belong to. */
void tool_checks_free(struct tool_check *all, size_t n);
