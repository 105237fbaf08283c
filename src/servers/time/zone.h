/* zone.h - one time zone: what its clocks showed and will show.
 *
 * Read from a TZif file (RFC 9636, versions 1 to 4, without leap seconds). Times before the
 * first known change are local mean time, as RFC 9636 §3.2 says; after the last one the
 * footer's rule holds.
 *
 * Threads  immutable once made
 * Errors   a damaged file is UNAVAILABLE, with the zone's name and what is wrong
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "servers/time/posix_tz.h"

struct zone;

#define ZONE_FILE_MAX ((size_t)64 * 1024) /* the largest real one has 4 KiB */
#define ZONE_NAME_MAX ((size_t)64)        /* the longest real one has 32 */

/* Both are copied; one allocation, free with free(). */
err_t zone_new(struct str name, struct str tzif, struct zone **out);
void zone_free(struct zone *z);

/* A clock that never changes, named by its offset ("+05:30"). */
const struct zone *zone_fixed(struct arena *a, int offset);
extern const struct zone *const zone_utc; /* named "UTC" */

struct str zone_name(const struct zone *z);

/* The period that holds an instant; any that civil.h knows. */
void zone_at(const struct zone *z, int64_t seconds, struct zone_period *out);
