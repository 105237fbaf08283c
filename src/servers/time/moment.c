/* moment.c - see moment.h. */
#include "servers/time/moment.h"

err_t argument_error(struct time_arg arg, err_t e) {
    struct str text = str_head(arg.text, 64);
    if (e->kind != ERR_INVALID)
        return e;
    return ERR(INVALID, "%s \"%.*s\" %s", arg.name, STR(text), e->text);
}

/* ---- reading ----------------------------------------------------------------------- */

static err_t read_zone(struct call_ctx *c, struct time_server *s, struct time_arg zone,
                       const struct zone **out) {
    TRY_WRAP(zones_get(c->task, s->zones, zone.text, c->arena, out), "%s", zone.name);
    return OK;
}

static const struct zone *zone_of_offset(struct arena *a, int offset) {
    return offset ? zone_fixed(a, offset) : zone_utc;
}

/* "@1785240000" or "@-1.5", as date(1) has it. */
static bool read_unix(struct str text, struct instant *out) {
    struct str digits = str_skip(text, 1), rest = digits;
    int64_t whole;
    int nano = 0, unit = NANOS_PER_SECOND / 10;
    digits = str_cut(&rest, '.');
    if (!str_to_i64(digits, &whole) || !civil_in_range(whole) ||
        (rest.p && (rest.n == 0 || rest.n > 9)))
        return false;
    for (size_t i = 0; i < rest.n; i++, unit /= 10) {
        if (rest.p[i] < '0' || rest.p[i] > '9')
            return false;
        nano += (rest.p[i] - '0') * unit;
    }
    bool back = nano && digits.p[0] == '-';
    *out = (struct instant){ whole - back, back ? NANOS_PER_SECOND - nano : nano };
    return out->seconds >= CIVIL_MIN;
}

static err_t no_unix(void) {
    return ERR(INVALID,
               "is not \"@\" and Unix seconds such as @1785240000.5 in the years 0001 to 9999");
}

/* A leap second is the last second of a month in UTC; it counts as the one after. */
static err_t skip_leap_second(struct instant *at) {
    int64_t next = at->seconds + 1;
    if (next % SECONDS_PER_DAY != 0 || civil_of(next, 0).day != 1)
        return ERR(
            INVALID,
            "has second 60, which only a leap second has: 23:59:60 UTC at the end of a month");
    at->seconds = next;
    return OK;
}

static err_t date_of_today(struct call_ctx *c, const struct zone *zone, struct civil *at) {
    struct civil today;
    TRY(local_civil(zone, instant_of(c->wall), &today, NULL));
    at->year = today.year;
    at->month = today.month;
    at->day = today.day;
    return OK;
}

/* m->zone is the clock of local times. */
static err_t resolve(struct call_ctx *c, struct iso_time *read, enum local_choice choice,
                     struct moment *m) {
    const struct zone *clock = read->has_offset ? zone_of_offset(c->arena, read->offset) : m->zone;
    if (!read->has_date)
        TRY(date_of_today(c, clock, &read->at));
    TRY(local_instant(clock, &read->at, choice, &m->at, &m->notes));
    m->leap_second = read->leap_second;
    if (read->leap_second)
        TRY(skip_leap_second(&m->at));
    return civil_in_range(m->at.seconds) ? OK
                                         : ERR(INVALID, "is outside of the years 0001 to 9999");
}

static err_t read_time(struct call_ctx *c, struct str text, bool zone_given,
                       enum local_choice choice, struct moment *m) {
    struct iso_time read;
    if (text.n == 0 || str_eq_nocase(text, S("now"))) {
        m->at = instant_of(c->wall);
        return OK;
    }
    if (text.p[0] == '@')
        return read_unix(text, &m->at) ? OK : no_unix();
    TRY(iso_read_time(text, &read));
    if (!zone_given && read.has_offset)
        m->zone = zone_of_offset(c->arena, read.offset);
    return resolve(c, &read, choice, m);
}

err_t moment_read(struct call_ctx *c, struct time_server *s, struct time_arg time,
                  struct time_arg zone, enum local_choice choice, struct moment *out) {
    struct moment m = { .zone = zone_utc };
    zone.text = str_trim(zone.text);
    bool zone_given = zone.text.n > 0;
    if (zone_given)
        TRY(read_zone(c, s, zone, &m.zone));
    err_t e = read_time(c, str_trim(time.text), zone_given, choice, &m);
    if (e)
        return argument_error(time, e);
    *out = m;
    return OK;
}

/* ---- showing ----------------------------------------------------------------------- */

err_t moment_show(struct arena *a, struct instant at, const struct zone *zone,
                  struct moment_view *out) {
    char text[ISO_TEXT];
    struct civil c;
    struct zone_period p;
    TRY(local_civil(zone, at, &c, &p));
    struct str time = zone == zone_utc ? iso_write_utc(&c, text)
                                       : iso_write_time(&c, p.offset, text);
    out->time = arena_dup(a, time);
    out->zone = zone_name(zone);
    out->offset = arena_dup(a, iso_write_offset(p.offset, text));
    out->abbreviation = p.abbreviation;
    out->weekday = str_of(civil_weekday_name(floor_div(at.seconds + p.offset, SECONDS_PER_DAY)));
    out->dst = p.dst;
    return OK;
}

struct str moment_utc(struct arena *a, struct instant at) {
    char text[ISO_TEXT];
    struct civil c = civil_of(at.seconds, at.nano);
    return arena_dup(a, iso_write_utc(&c, text));
}

/* ---- notes ------------------------------------------------------------------------- */

void moment_add_notes(struct arena *a, const struct moment *m, const char *argument,
                      struct note_list *out) {
    struct str zone = zone_name(m->zone);
    struct str *at = out->items + out->n;
    if (m->notes.gap)
        *at++ = arena_fmt(
            a,
            "%s: clocks in %.*s go forward over this local time, so it does not exist; "
            "moved by the length of the gap, disambiguation says which way",
            argument, STR(zone));
    if (m->notes.overlap)
        *at++ = arena_fmt(a,
                          "%s: clocks in %.*s go back over this local time, so it exists twice; "
                          "disambiguation says which one is taken",
                          argument, STR(zone));
    if (m->notes.clamped)
        *at++ = arena_fmt(a, "%s: the month is shorter, so the day was cut to its last one",
                          argument);
    if (m->leap_second)
        *at++ = arena_fmt(a, "%s: the leap second is counted as the second after it", argument);
    out->n = (size_t)(at - out->items);
}
