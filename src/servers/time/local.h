/* local.h - what a wall clock shows, as an instant, and calendar arithmetic with it.
 *
 * Where clocks go forward, some local times do not exist (a gap); where they go back, some
 * exist twice (an overlap). What then holds is a choice, with the words and meanings of
 * ECMAScript's Temporal:
 *
 *   compatible  gap: later, overlap: earlier (RFC 5545 §3.3.5 does the same)
 *   earlier     gap: as far before the gap as asked for behind its start; overlap: the first
 *   later       gap: as far behind the gap; overlap: the second
 *   reject      neither: an error
 *
 * Adding goes by RFC 5545 §3.3.6 and Temporal: years and months, then weeks and days move the
 * date on the wall calendar, the time of day stays; the result becomes an instant by the
 * choice above; hours, minutes and seconds are then added as exact time. A duration without
 * calendar units never looks at the wall clock. 31 January and a month is the last day of
 * February, unless that is to be rejected.
 *
 * Errors  INVALID: rejected, or outside of the years 0001 to 9999
 */
#pragma once
#include "base/err.h"
#include "servers/time/civil.h"
#include "servers/time/iso8601.h"
#include "servers/time/zone.h"

enum local_choice { LOCAL_COMPATIBLE, LOCAL_EARLIER, LOCAL_LATER, LOCAL_REJECT };
extern const char *const local_choices[]; /* their words, NULL-terminated */

/* What was done to the time that was asked for. */
struct local_notes {
    bool gap, overlap; /* a choice was made */
    bool clamped;      /* the day was cut to the length of the month */
};

err_t local_instant(const struct zone *z, const struct civil *c, enum local_choice choice,
                    struct instant *out, struct local_notes *notes);

/* What the clock shows at an instant; *out_period (may be NULL) says by which offset. */
err_t local_civil(const struct zone *z, struct instant at, struct civil *out,
                  struct zone_period *out_period);

err_t local_add(const struct zone *z, struct instant from, const struct span *d,
                enum local_choice choice, bool reject_overflow, struct instant *out,
                struct local_notes *notes);

/* The calendar's years, months and days, then exact hours to seconds, that lead from the
 * earlier to the later of the two; negative when `end` is the earlier one. No weeks. */
err_t local_between(const struct zone *z, struct instant start, struct instant end,
                    struct span *out);

/* Hours, minutes, seconds only. */
struct span span_exact(struct instant start, struct instant end);
