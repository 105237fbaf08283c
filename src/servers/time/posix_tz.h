/* posix_tz.h - the rule by which a zone goes on after its last known change.
 *
 * The TZ string of POSIX.1-2017 §8.3 with the extensions of RFC 9636 §3.3.1 (hours of a
 * change from -167 to 167), as it stands in the footer of a TZif file:
 * "CET-1CEST,M3.5.0,M10.5.0/3". Its signs are the other way round: west is positive.
 *
 * Threads  constant once read
 */
#pragma once
#include "base/str.h"

/* A stretch of time in which a zone's clocks kept one offset: start <= t < end. */
struct zone_period {
    int64_t start, end; /* INT64_MIN and INT64_MAX: open */
    int offset;         /* seconds east of Greenwich */
    bool dst;
    struct str abbreviation; /* borrowed from its zone */
};

enum tz_day_kind { TZ_JULIAN, TZ_DAY_OF_YEAR, TZ_WEEKDAY };
struct tz_day {
    enum tz_day_kind kind;
    int day;         /* Jn: 1..365, never 29 February; n: 0..365; Mm.w.d: weekday, 0 Sunday */
    int month, week; /* Mm.w.d; week 5 is the last one */
    int time;        /* seconds after local midnight */
};

#define TZ_NAME 16
struct tz_clock {
    char name[TZ_NAME];
    int offset; /* seconds east */
};

struct posix_tz {
    struct tz_clock standard, dst;
    bool has_dst;
    struct tz_day begin, end; /* of daylight saving time */
};

bool posix_tz_read(struct str text, struct posix_tz *out);

/* The period of an instant. Periods next to each other may be alike (a zone that keeps
 * daylight saving time all year). */
void posix_tz_at(const struct posix_tz *tz, int64_t seconds, struct zone_period *out);
