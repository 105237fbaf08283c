/* era.h - what both faces check alike before an exchange runs (PROTOCOL §3). Each function
 * answers what is wrong and then returns false. */
#pragma once
#include "gateway/exchange.h"

/* False where protocol.newest is a legacy revision: modern requests are then read as legacy ones,
 * and refused as a server of that time would, so that clients fall back (P-059). */
bool era_offers_modern(const struct exchange *x);
/* False where protocol.oldest is the modern one: there are no sessions then (P-056, P-062). */
bool era_offers_legacy(const struct exchange *x);
/* Modern: what params._meta must hold (P-040, P-041). */
bool era_check_meta(struct exchange *x);
/* Modern: the version is one of ours; sets x->revision (P-042). */
bool era_check_version(struct exchange *x);
/* initialize: sets x->revision to what this session speaks (P-031). */
bool era_negotiate(struct exchange *x);
/* initialize: what the client can be asked from now on (P-402). */
unsigned era_asks(const struct exchange *x);
