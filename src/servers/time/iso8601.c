/* iso8601.c - see iso8601.h. */
#include "servers/time/iso8601.h"
#include <stdio.h>

#define LONGEST_TIME 64
#define LONGEST_DURATION 100
#define MOST_DIGITS 12 /* of one number of a duration: its seconds stay far from overflow */

/* ---- reading: a cursor over the text ----------------------------------------------- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char peek(const struct str *in, size_t at) {
    return at < in->n ? in->p[at] : '\0';
}

static bool take(struct str *in, const char *any_of) {
    char c = peek(in, 0);
    if (c == '\0' || !strchr(any_of, c))
        return false;
    *in = str_skip(*in, 1);
    return true;
}

/* Exactly n digits. */
static bool take_digits(struct str *in, size_t n, int *out) {
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(peek(in, i)))
            return false;
        value = value * 10 + (in->p[i] - '0');
    }
    *in = str_skip(*in, n);
    *out = value;
    return true;
}

/* One to nine decimals as nanoseconds (or billionths of any unit). */
static bool take_decimals(struct str *in, int *out) {
    int value = 0;
    size_t n = 0;
    for (; is_digit(peek(in, n)); n++) {
        if (n == 9)
            return false;
        value = value * 10 + (in->p[n] - '0');
    }
    for (size_t i = n; i < 9; i++)
        value *= 10;
    *in = str_skip(*in, n);
    *out = value;
    return n > 0;
}

/* ---- dates and times --------------------------------------------------------------- */

static err_t no_time(void) {
    return ERR(INVALID, "is not an ISO 8601 date and time such as 2026-07-28T14:30:00+02:00, "
                        "2026-07-28T14:30 or 2026-07-28");
}

/* YYYY-MM-DD or YYYYMMDD */
static bool take_date(struct str *in, struct civil *c) {
    if (!take_digits(in, 4, &c->year))
        return false;
    bool extended = take(in, "-");
    return take_digits(in, 2, &c->month) && take(in, "-") == extended &&
           take_digits(in, 2, &c->day);
}

/* hh:mm, hh:mm:ss, hh:mm:ss.f, or without colons */
static bool take_clock(struct str *in, struct civil *c) {
    if (!take_digits(in, 2, &c->hour))
        return false;
    bool extended = take(in, ":");
    if (!take_digits(in, 2, &c->minute))
        return false;
    if (extended ? !take(in, ":") : !is_digit(peek(in, 0)))
        return true;
    return take_digits(in, 2, &c->second) && (!take(in, ".,") || take_decimals(in, &c->nano));
}

/* Z, +hh, +hhmm, +hh:mm, and +hh:mm:ss as iso_write_time has it */
static bool take_offset(struct str *in, int *out) {
    int hours, minutes = 0, seconds = 0;
    if (take(in, "Zz")) {
        *out = 0;
        return true;
    }
    bool west = peek(in, 0) == '-';
    if (!take(in, "+-") || !take_digits(in, 2, &hours))
        return false;
    bool extended = take(in, ":");
    if ((extended || in->n) && !take_digits(in, 2, &minutes))
        return false;
    if (extended && take(in, ":") && !take_digits(in, 2, &seconds))
        return false;
    int offset = hours * 3600 + minutes * 60 + seconds;
    *out = west ? -offset : offset;
    return hours < 24 && minutes < 60 && seconds < 60;
}

static err_t check_date(const struct civil *c) {
    if (c->year == 0)
        return ERR(INVALID, "has the year 0000: years from 0001 to 9999 are known");
    if (c->month < 1 || c->month > 12)
        return ERR(INVALID, "has month %02d: months are 01 to 12", c->month);
    int last = civil_month_days(c->year, c->month);
    if (c->day < 1 || c->day > last)
        return ERR(INVALID, "has day %02d: %04d-%02d has days 01 to %02d", c->day, c->year,
                   c->month, last);
    return OK;
}

static err_t check_clock(const struct civil *c) {
    bool end_of_day = c->hour == 24 && c->minute == 0 && c->second == 0 && c->nano == 0;
    if (c->hour > 23 && !end_of_day)
        return ERR(INVALID, "has hour %02d: hours are 00 to 23", c->hour);
    if (c->minute > 59)
        return ERR(INVALID, "has minute %02d: minutes are 00 to 59", c->minute);
    if (c->second > 60)
        return ERR(INVALID, "has second %02d: seconds are 00 to 59", c->second);
    return OK;
}

static bool starts_with_clock(const struct str *in) {
    char first = peek(in, 0);
    return first == 'T' || first == 't' || peek(in, 2) == ':';
}

static bool take_time(struct str *in, struct iso_time *out) {
    out->has_date = !starts_with_clock(in);
    if (out->has_date && !take_date(in, &out->at))
        return false;
    if (out->has_date && in->n == 0)
        return true;
    bool separated = take(in, out->has_date ? "Tt " : "Tt");
    if ((out->has_date && !separated) || !take_clock(in, &out->at))
        return false;
    out->has_offset = in->n > 0;
    return !out->has_offset || (take_offset(in, &out->offset) && in->n == 0);
}

err_t iso_read_time(struct str text, struct iso_time *out) {
    struct iso_time read = { 0 };
    if (text.n > LONGEST_TIME || !take_time(&text, &read))
        return no_time();
    if (read.has_date)
        TRY(check_date(&read.at));
    TRY(check_clock(&read.at));
    read.leap_second = read.at.second == 60;
    read.at.second -= read.leap_second;
    *out = read;
    return OK;
}

bool iso_read_offset(struct str text, int *out_seconds) {
    return take_offset(&text, out_seconds) && text.n == 0;
}

/* ---- durations --------------------------------------------------------------------- */

static const struct unit {
    char letter;
    bool clock;     /* behind the T */
    size_t member;
    int seconds;    /* of a unit that may have a fraction */
} units[] = {
    { 'Y', false, offsetof(struct span, years), 0 },
    { 'M', false, offsetof(struct span, months), 0 },
    { 'W', false, offsetof(struct span, weeks), 0 },
    { 'D', false, offsetof(struct span, days), 0 },
    { 'H', true, offsetof(struct span, hours), 3600 },
    { 'M', true, offsetof(struct span, minutes), 60 },
    { 'S', true, offsetof(struct span, seconds), 1 },
};

static err_t no_duration(void) {
    return ERR(INVALID, "is not an ISO 8601 duration such as P1Y2M10D, P2W, PT1H30M or -P3DT12H");
}

static bool take_number(struct str *in, int64_t *out) {
    size_t n = 0;
    while (is_digit(peek(in, n)))
        n++;
    bool fits = n <= MOST_DIGITS && str_to_i64(str_head(*in, n), out);
    *in = str_skip(*in, n);
    return fits;
}

/* The first unit from *next on with that letter; units come in order, each at most once. */
static const struct unit *take_unit(struct str *in, bool clock, size_t *next) {
    char letter = peek(in, 0) & ~0x20;
    for (size_t i = *next; i < ARRAY_SIZE(units); i++)
        if (units[i].letter == letter && units[i].clock == clock) {
            *next = i + 1;
            *in = str_skip(*in, 1);
            return &units[i];
        }
    return NULL;
}

/* A fraction of an hour or minute becomes seconds; it ends the duration. */
static err_t add_fraction(struct span *d, const struct unit *unit, int billionths,
                          struct str rest) {
    if (!unit->seconds)
        return ERR(INVALID, "has a fraction of a calendar unit: years, months, weeks and days "
                            "have no fixed length, use hours, minutes or seconds");
    if (rest.n)
        return no_duration();
    int64_t total = (int64_t)billionths * unit->seconds;
    d->seconds += total / NANOS_PER_SECOND;
    d->nano = (int)(total % NANOS_PER_SECOND);
    return OK;
}

static err_t take_part(struct str *in, bool clock, size_t *next, struct span *d) {
    int64_t number;
    int billionths = 0;
    if (!take_number(in, &number))
        return no_duration();
    bool fraction = take(in, ".,");
    if (fraction && !take_decimals(in, &billionths))
        return no_duration();
    const struct unit *unit = take_unit(in, clock, next);
    if (!unit)
        return no_duration();
    *(int64_t *)((char *)d + unit->member) = number;
    return fraction ? add_fraction(d, unit, billionths, *in) : OK;
}

err_t iso_read_duration(struct str text, struct span *out) {
    struct span d = { .negative = peek(&text, 0) == '-' };
    size_t next = 0;
    bool clock = false;
    if (text.n > LONGEST_DURATION)
        return no_duration();
    take(&text, "+-");
    if (!take(&text, "Pp") || text.n == 0)
        return no_duration();
    while (text.n) {
        if (!clock)
            clock = take(&text, "Tt");
        TRY(take_part(&text, clock, &next, &d));
    }
    *out = d;
    return OK;
}

/* ---- writing ----------------------------------------------------------------------- */

static char *put_digits(char *at, unsigned n, unsigned width) {
    for (unsigned i = width; i-- > 0; n /= 10)
        at[i] = (char)('0' + n % 10);
    return at + width;
}

static char *put_after(char *at, char before, int n, unsigned width) {
    *at++ = before;
    return put_digits(at, (unsigned)n, width);
}

/* Three, six or nine decimals; none when there are none. */
static char *put_decimals(char *at, int nano) {
    if (nano == 0)
        return at;
    unsigned groups = nano % 1000 ? 3 : nano % 1000000 ? 2 : 1;
    int cut = groups == 3 ? nano : groups == 2 ? nano / 1000 : nano / 1000000;
    return put_after(at, '.', cut, groups * 3);
}

static char *put_offset(char *at, int offset) {
    int east = offset < 0 ? -offset : offset;
    at = put_after(at, offset < 0 ? '-' : '+', east / 3600, 2);
    at = put_after(at, ':', east / 60 % 60, 2);
    return east % 60 ? put_after(at, ':', east % 60, 2) : at;
}

static char *put_civil(char *at, const struct civil *c) {
    at = put_digits(at, (unsigned)c->year, 4);
    at = put_after(at, '-', c->month, 2);
    at = put_after(at, '-', c->day, 2);
    at = put_after(at, 'T', c->hour, 2);
    at = put_after(at, ':', c->minute, 2);
    at = put_after(at, ':', c->second, 2);
    return put_decimals(at, c->nano);
}

struct str iso_write_time(const struct civil *c, int offset, char out[ISO_TEXT]) {
    return str_from(out, (size_t)(put_offset(put_civil(out, c), offset) - out));
}

struct str iso_write_utc(const struct civil *c, char out[ISO_TEXT]) {
    char *at = put_civil(out, c);
    *at++ = 'Z';
    return str_from(out, (size_t)(at - out));
}

struct str iso_write_offset(int offset, char out[ISO_TEXT]) {
    return str_from(out, (size_t)(put_offset(out, offset) - out));
}

static char *put_part(char *at, int64_t n, char letter) {
    return n ? at + sprintf(at, "%lld%c", (long long)n, letter) : at;
}

struct str iso_write_duration(const struct span *d, char out[ISO_TEXT]) {
    char *at = out;
    if (d->negative)
        *at++ = '-';
    *at++ = 'P';
    char *empty = at;
    at = put_part(at, d->years, 'Y');
    at = put_part(at, d->months, 'M');
    at = put_part(at, d->weeks, 'W');
    at = put_part(at, d->days, 'D');
    if (d->hours || d->minutes || d->seconds || d->nano || at == empty)
        *at++ = 'T';
    at = put_part(at, d->hours, 'H');
    at = put_part(at, d->minutes, 'M');
    if (d->seconds || d->nano || at[-1] == 'T') {
        at += sprintf(at, "%lld", (long long)d->seconds);
        at = put_decimals(at, d->nano);
        *at++ = 'S';
    }
    return str_from(out, (size_t)(at - out));
}
