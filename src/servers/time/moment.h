/* moment.h - what a tool's time and zone arguments mean, and how a point in time is shown.
 *
 * A time is an instant (with offset or "Z", or "@" and Unix seconds), a local time of the
 * zone (date and time, a date for its midnight, or a time of day of today), or "now". The
 * zone is that of local times and of what is shown: an IANA name or an offset. Without one,
 * what the time says itself, else UTC.
 *
 * A leap second 23:59:60 UTC at the end of a month is counted as the second after it, as
 * POSIX time does; any other second 60 is refused (RFC 3339 §5.7, appendix D).
 */
#pragma once
#include "servers/server.h"
#include "servers/time/local.h"
#include "servers/time/zones.h"

struct time_server {
    struct zones *zones;
};

/* One argument: its name is in every error about it. */
struct time_arg {
    const char *name;
    struct str text;
};

struct moment {
    struct instant at;
    const struct zone *zone;
    struct local_notes notes;
    bool leap_second;
};
err_t moment_read(struct call_ctx *c, struct time_server *s, struct time_arg time,
                  struct time_arg zone, enum local_choice choice, struct moment *out);

/* "<name> "<text>" <what is wrong>" around an error of a reader. */
err_t argument_error(struct time_arg arg, err_t e);

/* A point in time as results show it; texts in the arena. */
struct moment_view {
    struct str time, zone, offset, abbreviation, weekday;
    bool dst;
};
err_t moment_show(struct arena *a, struct instant at, const struct zone *zone,
                  struct moment_view *out);
struct str moment_utc(struct arena *a, struct instant at);

/* What was done to arguments, in sentences; at most two more than are in it. */
#define MOMENT_NOTES 4
struct note_list {
    struct str items[2 * MOMENT_NOTES];
    size_t n;
};
void moment_add_notes(struct arena *a, const struct moment *m, const char *argument,
                      struct note_list *out);

/* The rows of a moment_view that is the member `m` of struct `of`. */
#define MOMENT_ROWS(of, m)                                                                         \
    FIELD_AS("time", of, m.time, STR, NULL, NULL, FIELD_REQUIRED,                                  \
             "Local date and time with offset, ISO 8601 (RFC 3339 but for offsets with seconds, "  \
             "as they were before standard time)."),                                               \
    FIELD_AS("zone", of, m.zone, STR, NULL, NULL, FIELD_REQUIRED, "IANA name or offset."),         \
    FIELD_AS("offset", of, m.offset, STR, NULL, NULL, FIELD_REQUIRED,                              \
             "Offset from UTC, such as +02:00."),                                                  \
    FIELD_AS("abbreviation", of, m.abbreviation, STR, NULL, NULL, FIELD_REQUIRED,                  \
             "What the zone's clock is called then, such as CEST."),                               \
    FIELD_AS("dst", of, m.dst, BOOL, NULL, NULL, FIELD_REQUIRED,                                   \
             "Whether daylight saving time is in force."),                                         \
    FIELD_AS("weekday", of, m.weekday, STR, NULL, NULL, FIELD_REQUIRED, "Such as Monday.")
