/* iso8601.h - dates, times and durations as text: ISO 8601-1:2019 and its profile RFC 3339.
 *
 * Read are the extended and the basic form of calendar dates (2026-07-28, 20260728), of
 * times (14:30, 14:30:05.25, 1430) and of offsets (Z, +02:00, +0200, +02), "T" or one space
 * between date and time, up to nine decimals after "." or ",", the end of a day as 24:00.
 * Not read: week dates, ordinal dates, years of other than four digits, fractions of
 * minutes or hours in a time of day.
 *
 * Errors  INVALID, in words for whoever wrote the text
 */
#pragma once
#include "base/err.h"
#include "servers/time/civil.h"

struct iso_time {
    struct civil at;
    bool has_date;    /* false: a time of day only, the date in `at` is all zero */
    bool has_offset;
    bool leap_second; /* second was 60; 59 stands in `at` (RFC 3339 §5.7) */
    int offset;       /* seconds east of Greenwich */
};
err_t iso_read_time(struct str text, struct iso_time *out);

/* "+02:00", "Z" and the like, nothing else: false when it is none. */
bool iso_read_offset(struct str text, int *out_seconds);

/* A duration in the units in which it was given. A calendar unit is as long as the calendar
 * says at the place where it is added. */
struct span {
    bool negative;
    int64_t years, months, weeks, days;
    int64_t hours, minutes, seconds;
    int nano;
};
/* P1Y2M10DT2H30M, P2W, -PT1.5H; weeks may stand with other units (ISO 8601-2), a fraction
 * only in the last unit and only in hours, minutes or seconds. */
err_t iso_read_duration(struct str text, struct span *out);

#define ISO_TEXT 128
/* 2026-07-28T14:30:05.25+02:00, decimals in groups of three and only if there are any. An
 * offset with seconds, as they were before standard time, is written with them (+00:09:21):
 * ISO 8601 and RFC 3339 have no spelling for it, and cutting them would tell another time. */
struct str iso_write_time(const struct civil *c, int offset, char out[ISO_TEXT]);
struct str iso_write_utc(const struct civil *c, char out[ISO_TEXT]); /* with "Z" */
struct str iso_write_offset(int offset, char out[ISO_TEXT]); /* "+02:00"; zero is "+00:00" */
struct str iso_write_duration(const struct span *d, char out[ISO_TEXT]);
