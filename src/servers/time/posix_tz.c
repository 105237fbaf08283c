/* posix_tz.c - see posix_tz.h. */
#include "servers/time/posix_tz.h"
#include "servers/time/civil.h"

/* ---- reading ----------------------------------------------------------------------- */

static char peek(const struct str *in) {
    return in->n ? in->p[0] : '\0';
}

static bool take(struct str *in, char c) {
    if (c == '\0' || peek(in) != c)
        return false;
    *in = str_skip(*in, 1);
    return true;
}

static bool take_number(struct str *in, int low, int high, int *out) {
    int value = 0;
    size_t n = 0;
    for (; n < in->n && n < 3 && in->p[n] >= '0' && in->p[n] <= '9'; n++)
        value = value * 10 + (in->p[n] - '0');
    *in = str_skip(*in, n);
    *out = value;
    return n > 0 && value >= low && value <= high;
}

static bool is_name_char(char c, bool quoted) {
    bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    return letter || (quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-'));
}

/* CET or <-03> */
static bool take_name(struct str *in, char out[TZ_NAME]) {
    bool quoted = take(in, '<');
    size_t n = 0;
    while (n < in->n && is_name_char(in->p[n], quoted))
        n++;
    if (n < 3 || n >= TZ_NAME)
        return false;
    memcpy(out, in->p, n);
    out[n] = '\0';
    *in = str_skip(*in, n);
    return !quoted || take(in, '>');
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct str *in, int most_hours, int *out) {
    int hours, minutes = 0, seconds = 0;
    bool negative = take(in, '-');
    if (!negative)
        take(in, '+');
    if (!take_number(in, 0, most_hours, &hours))
        return false;
    if (take(in, ':') && !take_number(in, 0, 59, &minutes))
        return false;
    if (take(in, ':') && !take_number(in, 0, 59, &seconds))
        return false;
    *out = hours * 3600 + minutes * 60 + seconds;
    if (negative)
        *out = -*out;
    return true;
}

static bool take_clock(struct str *in, struct tz_clock *out) {
    if (!take_name(in, out->name) || !take_time(in, 24, &out->offset))
        return false;
    out->offset = -out->offset;
    return true;
}

static bool take_day(struct str *in, struct tz_day *out) {
    if (take(in, 'M')) {
        out->kind = TZ_WEEKDAY;
        return take_number(in, 1, 12, &out->month) && take(in, '.') &&
               take_number(in, 1, 5, &out->week) && take(in, '.') &&
               take_number(in, 0, 6, &out->day);
    }
    bool julian = take(in, 'J');
    out->kind = julian ? TZ_JULIAN : TZ_DAY_OF_YEAR;
    return take_number(in, julian, 365, &out->day);
}

/* ,day[/time] */
static bool take_change(struct str *in, struct tz_day *out) {
    out->time = 2 * 3600;
    if (!take(in, ',') || !take_day(in, out))
        return false;
    return !take(in, '/') || take_time(in, 167, &out->time);
}

static bool take_dst(struct str *in, struct posix_tz *tz) {
    if (!take_name(in, tz->dst.name))
        return false;
    tz->dst.offset = tz->standard.offset + 3600;
    if (peek(in) != ',') {
        if (!take_time(in, 24, &tz->dst.offset))
            return false;
        tz->dst.offset = -tz->dst.offset;
    }
    return take_change(in, &tz->begin) && take_change(in, &tz->end);
}

bool posix_tz_read(struct str text, struct posix_tz *out) {
    struct posix_tz tz = { 0 };
    if (!take_clock(&text, &tz.standard))
        return false;
    tz.has_dst = text.n > 0;
    if (tz.has_dst && (!take_dst(&text, &tz) || text.n))
        return false;
    *out = tz;
    return true;
}

/* ---- evaluating -------------------------------------------------------------------- */

/* The first such weekday of the month, then whole weeks; week 5 goes back when it is none. */
static int64_t weekday_of_month(const struct tz_day *d, int64_t year) {
    int64_t first = civil_days(year, d->month, 1);
    int sunday_based = (civil_weekday(first) + 1) % 7;
    int day = (d->day - sunday_based + 7) % 7 + (d->week - 1) * 7;
    if (day >= civil_month_days(year, d->month))
        day -= 7;
    return first + day;
}

/* Local seconds of a change in that year, on the clock that it ends. */
static int64_t change_of(const struct tz_day *d, int64_t year) {
    int64_t days = civil_days(year, 1, 1);
    switch (d->kind) {
    case TZ_JULIAN:
        days += d->day - 1 + (d->day >= 60 && civil_is_leap(year));
        break;
    case TZ_DAY_OF_YEAR:
        days += d->day;
        break;
    case TZ_WEEKDAY:
        days = weekday_of_month(d, year);
        break;
    }
    return days * SECONDS_PER_DAY + d->time;
}

struct change {
    int64_t at;
    bool to_dst;
};

/* By time; where daylight saving time ends and begins again at once, it goes on. */
static void insert(struct change *list, size_t n, struct change c) {
    size_t i = n;
    while (i > 0 && (list[i - 1].at > c.at || (list[i - 1].at == c.at && list[i - 1].to_dst))) {
        list[i] = list[i - 1];
        i--;
    }
    list[i] = c;
}

static void fill(const struct posix_tz *tz, bool dst, int64_t start, int64_t end,
                 struct zone_period *out) {
    const struct tz_clock *clock = dst ? &tz->dst : &tz->standard;
    *out = (struct zone_period){
        .start = start, .end = end, .offset = clock->offset, .dst = dst,
        .abbreviation = str_of(clock->name),
    };
}

/* A change may lie up to a week outside of its day, so of its year: with two years on both
 * sides there is always one before and one after. */
void posix_tz_at(const struct posix_tz *tz, int64_t seconds, struct zone_period *out) {
    struct change list[10];
    size_t n = 0, i = 0;
    if (!tz->has_dst) {
        fill(tz, false, INT64_MIN, INT64_MAX, out);
        return;
    }
    int64_t year = civil_of(seconds + tz->standard.offset, 0).year;
    for (int64_t y = year - 2; y <= year + 2; y++) {
        insert(list, n++, (struct change){ change_of(&tz->begin, y) - tz->standard.offset, true });
        insert(list, n++, (struct change){ change_of(&tz->end, y) - tz->dst.offset, false });
    }
    while (i + 2 < n && list[i + 1].at <= seconds)
        i++;
    fill(tz, list[i].to_dst, list[i].at, list[i + 1].at, out);
}
