/* zones.h - the time zones of one zoneinfo folder, each read at its first use and kept.
 *
 * Threads  any; finding a zone that was used before takes no lock
 * Waits    at the first use of a zone or of the names: files are read on the blocking pool
 * Memory   zones and names live until zones_free; a folder's worth is 0.6 MiB
 */
#pragma once
#include "run/task.h"
#include "servers/time/zone.h"
#include "servers/time/zone_names.h"

struct zones;

/* The folder need not be there: then every zone but UTC is UNAVAILABLE. */
struct zones *zones_new(struct str folder);
void zones_free(struct zones *zones);

/* A zone by its IANA name (case does not count), "Z", or an offset such as "+05:30", which
 * is made in the arena. INVALID with what may have been meant. `t` may be NULL where no task
 * runs: then the thread blocks. */
err_t zones_get(struct task *t, struct zones *zones, struct str name, struct arena *a,
                const struct zone **out);

err_t zones_names(struct task *t, struct zones *zones, const struct zone_names **out);

/* Reads those not yet read, in one go; one that cannot be read is NULL. */
err_t zones_get_all(struct task *t, struct zones *zones, const struct zone_entry *const *entries,
                    size_t n, const struct zone **out);
