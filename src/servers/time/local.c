/* local.c - see local.h. */
#include "servers/time/local.h"

const char *const local_choices[] = { "compatible", "earlier", "later", "reject", NULL };

/* No zone is, or was, further from Greenwich (zone.c refuses what is further than this). */
#define FARTHEST (26 * 3600)

static err_t check_range(struct instant at) {
    if (!civil_in_range(at.seconds))
        return ERR(INVALID, "is outside of the years 0001 to 9999");
    return OK;
}

/* ---- local time to instant --------------------------------------------------------- */

/* Instants at which the clock shows the local time: none in a gap, two in an overlap. In a
 * gap, both ways to count from it. */
struct fit {
    int64_t earlier, later;
    int times; /* that the local time exists */
};

/* A change that skips the local time; where another one brings it back, it is no gap. */
static void note_gap(struct fit *fit, int64_t local, const struct zone_period *before,
                     const struct zone_period *after) {
    int64_t late = local - before->offset, early = local - after->offset;
    if (fit->times == 0 && late >= after->start && early < after->start)
        *fit = (struct fit){ .earlier = early, .later = late };
}

/* Periods near the instant are asked one by one whether the local time lies in them: right
 * wherever changes lie close together too. */
static struct fit fit_local(const struct zone *z, int64_t local) {
    struct fit fit = { 0 };
    struct zone_period p, before = { 0 };
    for (int64_t t = local - FARTHEST; t <= local + FARTHEST; t = p.end) {
        zone_at(z, t, &p);
        int64_t at = local - p.offset;
        if (t != local - FARTHEST)
            note_gap(&fit, local, &before, &p);
        if (at >= p.start && at < p.end) {
            fit.earlier = fit.times++ ? fit.earlier : at;
            fit.later = at;
        }
        if (p.end == INT64_MAX)
            break;
        before = p;
    }
    return fit;
}

static err_t rejected(const struct zone *z, const struct civil *c, bool gap) {
    char text[ISO_TEXT];
    struct str clock = str_head(iso_write_time(c, 0, text), sizeof("2026-03-29T02:30:00") - 1);
    if (gap)
        return ERR(INVALID, "%.*s does not exist in %.*s: clocks go forward over it", STR(clock),
                   STR(zone_name(z)));
    return ERR(INVALID, "%.*s exists twice in %.*s: clocks go back over it", STR(clock),
               STR(zone_name(z)));
}

err_t local_instant(const struct zone *z, const struct civil *c, enum local_choice choice,
                    struct instant *out, struct local_notes *notes) {
    struct fit fit = fit_local(z, civil_local(c));
    bool gap = fit.times == 0, overlap = fit.times > 1;
    if (choice == LOCAL_REJECT && (gap || overlap))
        return rejected(z, c, gap);
    bool later = choice == LOCAL_LATER || (choice == LOCAL_COMPATIBLE && gap);
    struct instant at = { later ? fit.later : fit.earlier, c->nano };
    TRY(check_range(at));
    notes->gap |= gap;
    notes->overlap |= overlap;
    *out = at;
    return OK;
}

err_t local_civil(const struct zone *z, struct instant at, struct civil *out,
                  struct zone_period *out_period) {
    struct zone_period p;
    zone_at(z, at.seconds, &p);
    if (!civil_in_range(at.seconds + p.offset))
        return ERR(INVALID, "is outside of the years 0001 to 9999 in %.*s", STR(zone_name(z)));
    *out = civil_of(at.seconds + p.offset, at.nano);
    if (out_period)
        *out_period = p;
    return OK;
}

/* ---- arithmetic -------------------------------------------------------------------- */

static err_t too_far(void) {
    return ERR(INVALID, "leads outside of the years 0001 to 9999");
}

/* Twelve digits a unit (iso8601.c): nothing overflows. */
static err_t add_calendar(const struct zone *z, struct instant *at, const struct span *d,
                          enum local_choice choice, bool reject_overflow,
                          struct local_notes *notes) {
    struct civil c;
    bool clamped = false;
    int64_t sign = d->negative ? -1 : 1;
    TRY(local_civil(z, *at, &c, NULL));
    int asked = c.day;
    if (!civil_add_months(&c, sign * (d->years * 12 + d->months), &clamped))
        return too_far();
    if (clamped && reject_overflow)
        return ERR(INVALID, "leads to %04d-%02d-%02d, which does not exist", c.year, c.month,
                   asked);
    int64_t local = civil_local(&c) + sign * (d->weeks * 7 + d->days) * SECONDS_PER_DAY;
    if (!civil_in_range(local))
        return too_far();
    notes->clamped |= clamped;
    c = civil_of(local, c.nano);
    return local_instant(z, &c, choice, at, notes);
}

static struct instant add_exact(struct instant at, int64_t seconds, int nano) {
    at.seconds += seconds;
    at.nano += nano;
    if (at.nano < 0 || at.nano >= NANOS_PER_SECOND) {
        int carry = at.nano < 0 ? -1 : 1;
        at.seconds += carry;
        at.nano -= carry * NANOS_PER_SECOND;
    }
    return at;
}

err_t local_add(const struct zone *z, struct instant from, const struct span *d,
                enum local_choice choice, bool reject_overflow, struct instant *out,
                struct local_notes *notes) {
    struct instant at = from;
    int64_t exact = d->hours * 3600 + d->minutes * 60 + d->seconds;
    if (d->years || d->months || d->weeks || d->days)
        TRY(add_calendar(z, &at, d, choice, reject_overflow, notes));
    at = d->negative ? add_exact(at, -exact, -d->nano) : add_exact(at, exact, d->nano);
    if (!civil_in_range(at.seconds))
        return too_far();
    *out = at;
    return OK;
}

static struct span exact_span(struct instant from, struct instant to) {
    struct instant rest = add_exact(to, -from.seconds, -from.nano);
    return (struct span){
        .hours = rest.seconds / 3600, .minutes = rest.seconds / 60 % 60,
        .seconds = rest.seconds % 60, .nano = rest.nano,
    };
}

struct span span_exact(struct instant start, struct instant end) {
    bool negative = instant_cmp(end, start) < 0;
    struct span d = negative ? exact_span(end, start) : exact_span(start, end);
    d.negative = negative;
    return d;
}

/* Moved by months and days at its time of day, it is not beyond `to`. */
static bool reaches(const struct zone *z, struct instant from, int64_t months, int64_t days,
                    struct instant to) {
    struct instant at;
    struct local_notes unused = { 0 };
    struct span d = { .months = months, .days = days };
    return !local_add(z, from, &d, LOCAL_COMPATIBLE, false, &at, &unused) &&
           instant_cmp(at, to) <= 0;
}

/* Whole months, then whole days, each guessed from the dates: at most one or two too many,
 * as the time of day says, and where a gap moves it. A month that is too short for the day
 * is not whole: 31 January to 29 February is 29 days, as Temporal and Java count. */
static err_t calendar_part(const struct zone *z, struct instant from, struct instant to,
                           struct span *out) {
    struct civil a, b;
    bool clamped;
    TRY(local_civil(z, from, &a, NULL));
    TRY(local_civil(z, to, &b, NULL));
    int64_t months = (b.year - a.year) * 12 + b.month - a.month - (b.day < a.day);
    while (months > 0 && !reaches(z, from, months, 0, to))
        months--;
    months = months > 0 ? months : 0; /* clocks that went back may show an earlier date */
    civil_add_months(&a, months, &clamped);
    int64_t days = civil_days(b.year, b.month, b.day) - civil_days(a.year, a.month, a.day);
    while (days > 0 && !reaches(z, from, months, days, to))
        days--;
    *out = (struct span){ .months = months, .days = days > 0 ? days : 0 };
    return OK;
}

static err_t forward(const struct zone *z, struct instant from, struct instant to,
                     struct span *out) {
    struct span whole;
    struct instant at;
    struct local_notes unused = { 0 };
    TRY(calendar_part(z, from, to, &whole));
    TRY(local_add(z, from, &whole, LOCAL_COMPATIBLE, false, &at, &unused));
    *out = exact_span(at, to);
    out->years = whole.months / 12;
    out->months = whole.months % 12;
    out->days = whole.days;
    return OK;
}

err_t local_between(const struct zone *z, struct instant start, struct instant end,
                    struct span *out) {
    bool negative = instant_cmp(end, start) < 0;
    TRY(negative ? forward(z, end, start, out) : forward(z, start, end, out));
    out->negative = negative;
    return OK;
}
