/* civil.h - the calendar that people use, and instants.
 *
 * The proleptic Gregorian calendar of ISO 8601, years 0001 to 9999. A civil time says what
 * a wall clock shows, nowhere in particular; an instant is a point in time. "Local seconds"
 * are a civil time counted as if its clock stood in Greenwich: instant = local seconds -
 * offset of the zone. POSIX time: each day has 86,400 seconds.
 *
 * Algorithms of H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
 *
 * Threads  values, no state
 */
#pragma once
#include "base/clock.h"

struct civil {
    int year;
    int month, day;           /* from 1 */
    int hour, minute, second; /* hour 24 may stand for the end of a day */
    int nano;
};

struct instant {
    int64_t seconds; /* since 1970-01-01T00:00:00Z, negative before */
    int nano;        /* 0..999999999, on top of seconds */
};

#define SECONDS_PER_DAY 86400
#define NANOS_PER_SECOND 1000000000
#define CIVIL_MIN ((int64_t)-62135596800) /* 0001-01-01T00:00:00 in local seconds */
#define CIVIL_MAX ((int64_t)253402300799) /* 9999-12-31T23:59:59 */

static inline bool civil_in_range(int64_t local_seconds) {
    return local_seconds >= CIVIL_MIN && local_seconds <= CIVIL_MAX;
}

bool civil_is_leap(int64_t year);
int civil_month_days(int64_t year, int month);

/* Days since 1970-01-01 of any date, and back. */
int64_t civil_days(int64_t year, int month, int day);
int64_t civil_local(const struct civil *c); /* local seconds */
struct civil civil_of(int64_t local_seconds, int nano); /* of any in range */

/* The date moved by months, its day cut to the length of the month; *clamped says whether
 * it was. False when the year leaves the range. */
bool civil_add_months(struct civil *c, int64_t months, bool *clamped);

int civil_weekday(int64_t days); /* 0 Monday … 6 Sunday */
const char *civil_weekday_name(int64_t days);

static inline int64_t floor_div(int64_t n, int64_t by) {
    return n / by - (n % by < 0);
}

struct instant instant_of(nanos wall);
int instant_cmp(struct instant a, struct instant b); /* <0, 0, >0 */
