/* clock.h - time in nanoseconds.
 *
 * `nanos` counts monotonic time when it is an instant and a length when it is a
 * duration; wall-clock instants are `nanos` since 1970 and say so in their name.
 * Code below the loops never asks for the time: it is passed in, so tests own it.
 */
#pragma once
#include "base/str.h"
#include <stdint.h>

typedef int64_t nanos;

#define NANOS_US ((nanos)1000)
#define NANOS_MS ((nanos)1000000)
#define NANOS_SEC ((nanos)1000000000)
#define NANOS_NEVER INT64_MAX

nanos clock_mono(void);
nanos clock_wall(void);

/* "2026-07-28T12:00:00.123Z" into out; returns the slice over it. */
#define CLOCK_TEXT 32
struct str clock_rfc3339(nanos wall, char out[CLOCK_TEXT]);

/* A duration as options spell it: "250us", "30s", "5m", "1h", "7d"; false when it is none. */
bool clock_parse_duration(struct str s, nanos *out);
/* The shortest exact spelling of a duration. */
struct str clock_format_duration(nanos d, char out[CLOCK_TEXT]);
