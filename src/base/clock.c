/* clock.c - see clock.h. */
#include "base/clock.h"
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static nanos read_clock(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (nanos)ts.tv_sec * NANOS_SEC + ts.tv_nsec;
}

nanos clock_mono(void) {
    return read_clock(CLOCK_MONOTONIC);
}

nanos clock_wall(void) {
    return read_clock(CLOCK_REALTIME);
}

struct date {
    unsigned year, month, day;
};

/* Days since 1970 to a proleptic Gregorian date: H. Hinnant, "chrono-Compatible Low-Level
 * Date Algorithms", civil_from_days. gmtime_r would take the C library's time zone lock.
 * `nanos` reaches from 1677 to 2262, so the year is never negative. */
static struct date civil_from_days(int64_t days) {
    unsigned shifted = (unsigned)(days + 719468); /* days since 0000-03-01 */
    unsigned era = shifted / 146097;
    unsigned doe = shifted % 146097;
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;
    return (struct date){ yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1 };
}

static char *put_digits(char *at, unsigned n, unsigned width, char after) {
    for (unsigned i = width; i-- > 0; n /= 10)
        at[i] = (char)('0' + n % 10);
    at[width] = after;
    return at + width + 1;
}

struct str clock_rfc3339(nanos wall, char out[CLOCK_TEXT]) {
    const int64_t day_ms = 86400 * 1000;
    int64_t ms = wall / NANOS_MS - (wall % NANOS_MS < 0);
    int64_t days = ms / day_ms - (ms % day_ms < 0);
    unsigned rest = (unsigned)(ms - days * day_ms);
    struct date date = civil_from_days(days);
    char *at = out;
    at = put_digits(at, date.year, 4, '-');
    at = put_digits(at, date.month, 2, '-');
    at = put_digits(at, date.day, 2, 'T');
    at = put_digits(at, rest / 3600000, 2, ':');
    at = put_digits(at, rest / 60000 % 60, 2, ':');
    at = put_digits(at, rest / 1000 % 60, 2, '.');
    at = put_digits(at, rest % 1000, 3, 'Z');
    return str_from(out, (size_t)(at - out));
}

struct unit {
    struct str name;
    nanos length;
};

/* Longest first: the first unit that divides a duration gives its shortest spelling. */
static const struct unit units[] = {
    { S_INIT("d"), 86400 * NANOS_SEC },
    { S_INIT("h"), 3600 * NANOS_SEC },
    { S_INIT("m"), 60 * NANOS_SEC },
    { S_INIT("s"), NANOS_SEC },
    { S_INIT("ms"), NANOS_MS },
    { S_INIT("us"), NANOS_US },
    { S_INIT("ns"), 1 },
};

bool clock_parse_duration(struct str s, nanos *out) {
    size_t digits = 0;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    int64_t n;
    if (!str_to_i64(str_head(s, digits), &n))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (str_eq(str_skip(s, digits), units[i].name))
            return !__builtin_mul_overflow(n, units[i].length, out);
    return false;
}

struct str clock_format_duration(nanos d, char out[CLOCK_TEXT]) {
    size_t i = 0;
    while (d && d % units[i].length)
        i++;
    const struct unit *u = d ? &units[i] : &units[3];
    int n = snprintf(out, CLOCK_TEXT, "%" PRId64 "%s", d / u->length, u->name.p);
    return str_from(out, (size_t)n);
}
