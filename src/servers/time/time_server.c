/* time_server.c - see time_server.h. One section for each tool: its arguments, its result,
 * its function. */
#include "servers/time/time_server.h"
#include "base/log.h"
#include "base/mem.h"
#include "servers/time/moment.h"
#include <unistd.h>

/* ---- what tools have in common ----------------------------------------------------- */

#define ZONE_HELP "IANA time zone such as Europe/Paris, or an offset such as +05:30"
#define TIME_HELP                                                                                  \
    "ISO 8601: with offset (2026-07-28T14:30:00+02:00, …Z), or local to the zone "                 \
    "(2026-07-28T14:30, 2026-07-28, 14:30 for today); \"now\"; or \"@\" and Unix seconds"
#define CHOICE_ROW(of)                                                                             \
    FIELD_CHOICE(of, disambiguation, local_choices, "compatible", 0,                               \
                 "For a local time that does not exist or exists twice because clocks change: "    \
                 "compatible (after a gap, first of two), earlier, later, or reject it.")
/* Other servers call it timezone; accepted, not offered. */
#define ZONE_ALIAS(of, name) FIELD_AS(name, of, zone, STR, NULL, "..64", FIELD_HIDDEN, "")
#define UTC_ROW(of) FIELD(of, utc, STR, NULL, NULL, FIELD_REQUIRED, "The same instant in UTC, RFC 3339.")
#define UNIX_ROW(of)                                                                               \
    FIELD_AS("unix", of, unix_seconds, INT, NULL, NULL, FIELD_REQUIRED,                            \
             "The same instant in whole seconds since 1970-01-01T00:00:00Z.")
#define NOTES_ROW(of)                                                                              \
    FIELD(of, notes, STRS, NULL, "1..", 0, "What had to be decided about the arguments; absent if nothing.")

#define ANSWER(rows, value, result)                                                                \
    do {                                                                                           \
        struct jw w_ = jw_init(&(result)->structured);                                             \
        field_write(rows, ARRAY_SIZE(rows), value, &w_);                                           \
    } while (0)

/* Nothing to note is no list at all. */
static struct str_list notes_of(struct note_list *notes) {
    return (struct str_list){ notes->n ? notes->items : NULL, notes->n };
}

/* ---- get_current_time -------------------------------------------------------------- */

struct now_args {
    struct str zone;
};
static const struct field now_args[] = {
    FIELD(struct now_args, zone, STR, NULL, "..64", 0, ZONE_HELP "; UTC when absent."),
    ZONE_ALIAS(struct now_args, "timezone"),
};

struct now_result {
    struct moment_view here;
    struct str utc;
    int64_t unix_seconds;
};
static const struct field now_result[] = {
    MOMENT_ROWS(struct now_result, here),
    UTC_ROW(struct now_result),
    UNIX_ROW(struct now_result),
};

static err_t get_current_time(struct call_ctx *c, void *self, const void *given,
                              struct tool_result *result) {
    const struct now_args *args = given;
    struct moment now;
    nanos wall = c->wall - c->wall % NANOS_MS; /* finer is noise by the time it is read */
    struct now_result out = { .unix_seconds = floor_div(wall, NANOS_SEC) };
    TRY(moment_read(c, self, (struct time_arg){ "time", S("") },
                    (struct time_arg){ "zone", args->zone }, LOCAL_COMPATIBLE, &now));
    now.at = instant_of(wall);
    TRY(moment_show(c->arena, now.at, now.zone, &out.here));
    out.utc = now.zone == zone_utc ? out.here.time : moment_utc(c->arena, now.at);
    ANSWER(now_result, &out, result);
    return OK;
}

/* ---- convert_time ------------------------------------------------------------------ */

struct convert_args {
    struct str time, zone;
    struct str_list target_zones;
    int disambiguation;
};
static const struct field convert_args[] = {
    FIELD(struct convert_args, time, STR, "now", "..64", 0, "The time to convert. " TIME_HELP "."),
    FIELD(struct convert_args, zone, STR, NULL, "..64", 0,
          "Zone of a local time, and of the source in the result: " ZONE_HELP
          "; when absent the offset of time, else UTC."),
    FIELD(struct convert_args, target_zones, STRS, NULL, "1..50", FIELD_REQUIRED,
          "Zones to convert to: " ZONE_HELP "."),
    CHOICE_ROW(struct convert_args),
    ZONE_ALIAS(struct convert_args, "source_timezone"),
    ZONE_ALIAS(struct convert_args, "source_zone"),
    ZONE_ALIAS(struct convert_args, "timezone"),
};

struct source {
    struct moment_view view;
};
static const struct field source_rows[] = {
    MOMENT_ROWS(struct source, view),
};
struct target {
    struct moment_view view;
    struct str difference;
};
static const struct field target_rows[] = {
    MOMENT_ROWS(struct target, view),
    FIELD(struct target, difference, STR, NULL, NULL, FIELD_REQUIRED,
          "How far this clock is ahead (+) or behind (-) the source's, such as +07:00."),
};
struct convert_result {
    struct source source;
    struct item_list targets;
    struct str utc;
    int64_t unix_seconds;
    struct str_list notes;
};
static const struct field convert_result[] = {
    FIELD_NEST(struct convert_result, source, OBJECT, source_rows, struct source, FIELD_REQUIRED,
               "The time in its own zone."),
    FIELD_NEST(struct convert_result, targets, LIST, target_rows, struct target, FIELD_REQUIRED,
               "The time in each target zone, in the order asked for."),
    UTC_ROW(struct convert_result),
    UNIX_ROW(struct convert_result),
    NOTES_ROW(struct convert_result),
};

static err_t convert_to(struct call_ctx *c, struct time_server *s, const struct moment *m,
                        struct time_arg name, struct target *out) {
    char text[ISO_TEXT];
    const struct zone *zone;
    struct zone_period here, there;
    TRY_WRAP(zones_get(c->task, s->zones, str_trim(name.text), c->arena, &zone), "%s", name.name);
    err_t e = moment_show(c->arena, m->at, zone, &out->view);
    if (e)
        return err_wrap(e, "the time");
    zone_at(m->zone, m->at.seconds, &here);
    zone_at(zone, m->at.seconds, &there);
    out->difference = arena_dup(c->arena, iso_write_offset(there.offset - here.offset, text));
    return OK;
}

static err_t convert_time(struct call_ctx *c, void *self, const void *given,
                          struct tool_result *result) {
    const struct convert_args *args = given;
    struct note_list notes = { 0 };
    struct moment m;
    TRY(moment_read(c, self, (struct time_arg){ "time", args->time },
                    (struct time_arg){ "zone", args->zone }, args->disambiguation, &m));
    size_t n = args->target_zones.n;
    struct target *targets = ARENA_ARRAY(c->arena, struct target, n);
    struct convert_result out = {
        .targets = { targets, n }, .utc = moment_utc(c->arena, m.at), .unix_seconds = m.at.seconds,
    };
    TRY_WRAP(moment_show(c->arena, m.at, m.zone, &out.source.view), "time");
    for (size_t i = 0; i < n; i++) {
        struct str name = arena_fmt(c->arena, "target_zones[%zu]", i);
        struct time_arg arg = { arena_text(c->arena, name), args->target_zones.items[i] };
        TRY(convert_to(c, self, &m, arg, &targets[i]));
    }
    moment_add_notes(c->arena, &m, "time", &notes);
    out.notes = notes_of(&notes);
    ANSWER(convert_result, &out, result);
    return OK;
}

/* ---- time_between ------------------------------------------------------------------ */

struct between_args {
    struct str start, end, zone, end_zone;
    int disambiguation;
};
static const struct field between_args[] = {
    FIELD(struct between_args, start, STR, NULL, "..64", FIELD_REQUIRED, "From when. " TIME_HELP "."),
    FIELD(struct between_args, end, STR, "now", "..64", 0, "Until when; may be before start. Spelled as start."),
    FIELD(struct between_args, zone, STR, NULL, "..64", 0,
          "Zone of local times and of the calendar in which years, months and days are counted: " ZONE_HELP
          "; when absent the offset of start, else UTC."),
    FIELD(struct between_args, end_zone, STR, NULL, "..64", 0, "Zone of end if it is another one, as for flights."),
    CHOICE_ROW(struct between_args),
    ZONE_ALIAS(struct between_args, "timezone"),
};

struct calendar {
    int64_t years, months, days, hours, minutes;
    double seconds;
};
static const struct field calendar_rows[] = {
    FIELD(struct calendar, years, INT, NULL, NULL, FIELD_REQUIRED, ""),
    FIELD(struct calendar, months, INT, NULL, NULL, FIELD_REQUIRED, ""),
    FIELD(struct calendar, days, INT, NULL, NULL, FIELD_REQUIRED, ""),
    FIELD(struct calendar, hours, INT, NULL, NULL, FIELD_REQUIRED, ""),
    FIELD(struct calendar, minutes, INT, NULL, NULL, FIELD_REQUIRED, ""),
    FIELD(struct calendar, seconds, DOUBLE, NULL, NULL, FIELD_REQUIRED, ""),
};
struct between_result {
    struct str start, end;
    double seconds;
    int64_t days;
    struct str duration, exact_duration, text;
    struct calendar calendar;
    bool negative;
    struct str_list notes;
};
static const struct field between_result[] = {
    FIELD(struct between_result, start, STR, NULL, NULL, FIELD_REQUIRED, "Start in its zone, ISO 8601."),
    FIELD(struct between_result, end, STR, NULL, NULL, FIELD_REQUIRED, "End in its zone, ISO 8601."),
    FIELD(struct between_result, seconds, DOUBLE, NULL, NULL, FIELD_REQUIRED,
          "Seconds that pass from start to end; negative when end is earlier."),
    FIELD(struct between_result, days, INT, NULL, NULL, FIELD_REQUIRED,
          "Date of end minus date of start on the zone's calendar, whatever the times of day."),
    FIELD(struct between_result, duration, STR, NULL, NULL, FIELD_REQUIRED,
          "ISO 8601 duration in calendar units, such as P1Y2M3DT4H."),
    FIELD(struct between_result, exact_duration, STR, NULL, NULL, FIELD_REQUIRED,
          "ISO 8601 duration in hours, minutes and seconds that pass, such as PT27H."),
    FIELD_NEST(struct between_result, calendar, OBJECT, calendar_rows, struct calendar, FIELD_REQUIRED,
               "What duration says, in numbers; counted from the earlier of the two, never negative."),
    FIELD(struct between_result, negative, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether end is before start."),
    FIELD(struct between_result, text, STR, NULL, NULL, FIELD_REQUIRED,
          "The duration in words, such as 1 year, 2 months and 3 days."),
    NOTES_ROW(struct between_result),
};

static double exact_seconds(struct instant a, struct instant b) {
    return (double)(b.seconds - a.seconds) + (double)(b.nano - a.nano) / NANOS_PER_SECOND;
}

/* One more part of the text; *comma is where the last one begins. */
static void put_part(struct buf *text, size_t *comma, double n, const char *unit) {
    struct jw w = jw_init(text);
    *comma = text->n;
    buf_str(text, text->n ? S(", ") : S(""));
    jw_double(&w, n);
    buf_fmt(text, n == 1 ? " %s" : " %ss", unit);
}

/* "1 year, 2 months and 3.5 seconds" */
static struct str calendar_words(struct arena *a, const struct calendar *c) {
    const struct {
        double n;
        const char *unit;
    } parts[] = {
        { (double)c->years, "year" }, { (double)c->months, "month" },   { (double)c->days, "day" },
        { (double)c->hours, "hour" }, { (double)c->minutes, "minute" }, { c->seconds, "second" },
    };
    SCOPED(buf_done) struct buf text = { 0 };
    size_t comma = 0;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (parts[i].n != 0 || (i == ARRAY_SIZE(parts) - 1 && text.n == 0))
            put_part(&text, &comma, parts[i].n, parts[i].unit);
    struct str all = buf_view(&text);
    if (comma == 0)
        return arena_dup(a, all);
    return arena_fmt(a, "%.*s and %.*s", STR(str_head(all, comma)), STR(str_skip(all, comma + 2)));
}

static err_t local_days(const struct zone *zone, struct instant start, struct instant end,
                        int64_t *out) {
    struct civil a, b;
    TRY(local_civil(zone, start, &a, NULL));
    TRY(local_civil(zone, end, &b, NULL));
    *out = civil_days(b.year, b.month, b.day) - civil_days(a.year, a.month, a.day);
    return OK;
}

static err_t measure(struct call_ctx *c, const struct moment *start, const struct moment *end,
                     struct between_result *out) {
    char text[ISO_TEXT];
    struct span whole, exact = span_exact(start->at, end->at);
    TRY(local_between(start->zone, start->at, end->at, &whole));
    TRY(local_days(start->zone, start->at, end->at, &out->days));
    out->seconds = exact_seconds(start->at, end->at);
    out->duration = arena_dup(c->arena, iso_write_duration(&whole, text));
    out->exact_duration = arena_dup(c->arena, iso_write_duration(&exact, text));
    out->negative = whole.negative;
    out->calendar = (struct calendar){
        .years = whole.years, .months = whole.months, .days = whole.days, .hours = whole.hours,
        .minutes = whole.minutes, .seconds = (double)whole.seconds + (double)whole.nano / NANOS_PER_SECOND,
    };
    out->text = calendar_words(c->arena, &out->calendar);
    return OK;
}

static err_t time_between(struct call_ctx *c, void *self, const void *given,
                          struct tool_result *result) {
    const struct between_args *args = given;
    struct time_arg zone = { "zone", args->zone };
    struct time_arg end_zone = args->end_zone.n ? (struct time_arg){ "end_zone", args->end_zone }
                                                : zone;
    struct moment start, end;
    struct moment_view from, to;
    struct note_list notes = { 0 };
    struct between_result out = { 0 };
    TRY(moment_read(c, self, (struct time_arg){ "start", args->start }, zone, args->disambiguation,
                    &start));
    TRY(moment_read(c, self, (struct time_arg){ "end", args->end }, end_zone, args->disambiguation,
                    &end));
    TRY_WRAP(moment_show(c->arena, start.at, start.zone, &from), "start");
    TRY_WRAP(moment_show(c->arena, end.at, end.zone, &to), "end");
    out.start = from.time;
    out.end = to.time;
    TRY(measure(c, &start, &end, &out));
    moment_add_notes(c->arena, &start, "start", &notes);
    moment_add_notes(c->arena, &end, "end", &notes);
    out.notes = notes_of(&notes);
    ANSWER(between_result, &out, result);
    return OK;
}

/* ---- add_duration ------------------------------------------------------------------ */

static const char *const overflow_words[] = { "constrain", "reject", NULL };
enum { OVERFLOW_CONSTRAIN, OVERFLOW_REJECT };

struct add_args {
    struct str time, duration, zone;
    int disambiguation, overflow;
};
static const struct field add_args[] = {
    FIELD(struct add_args, duration, STR, NULL, "..100", FIELD_REQUIRED,
          "ISO 8601 duration such as P1M, P2W, P1DT12H, PT90M; with a minus in front (-P3D) to go back."),
    FIELD(struct add_args, time, STR, "now", "..64", 0, "Where to start. " TIME_HELP "."),
    FIELD(struct add_args, zone, STR, NULL, "..64", 0,
          "Zone in whose calendar years, months, weeks and days are added: " ZONE_HELP
          "; when absent the offset of time, else UTC."),
    CHOICE_ROW(struct add_args),
    FIELD_CHOICE(struct add_args, overflow, overflow_words, "constrain", 0,
                 "For a day that the month does not have (31 January and P1M): constrain takes its last "
                 "day, reject refuses."),
    ZONE_ALIAS(struct add_args, "timezone"),
};

struct add_result {
    struct moment_view there;
    struct str utc, start;
    int64_t unix_seconds;
    struct str_list notes;
};
static const struct field add_result[] = {
    MOMENT_ROWS(struct add_result, there),
    UTC_ROW(struct add_result),
    UNIX_ROW(struct add_result),
    FIELD(struct add_result, start, STR, NULL, NULL, FIELD_REQUIRED, "The time that was added to, in the zone."),
    NOTES_ROW(struct add_result),
};

/* The moment moved; what was decided on the way is noted about the duration. */
static err_t move(const struct add_args *args, const struct moment *from, struct moment *to) {
    struct span d;
    struct time_arg arg = { "duration", args->duration };
    *to = (struct moment){ .zone = from->zone };
    err_t e = iso_read_duration(str_trim(args->duration), &d);
    if (!e)
        e = local_add(from->zone, from->at, &d, args->disambiguation,
                      args->overflow == OVERFLOW_REJECT, &to->at, &to->notes);
    return e ? argument_error(arg, e) : OK;
}

static err_t add_duration(struct call_ctx *c, void *self, const void *given,
                          struct tool_result *result) {
    const struct add_args *args = given;
    struct moment from, to;
    struct moment_view start;
    struct note_list notes = { 0 };
    struct add_result out = { 0 };
    TRY(moment_read(c, self, (struct time_arg){ "time", args->time },
                    (struct time_arg){ "zone", args->zone }, args->disambiguation, &from));
    TRY(move(args, &from, &to));
    TRY_WRAP(moment_show(c->arena, from.at, from.zone, &start), "time");
    TRY_WRAP(moment_show(c->arena, to.at, to.zone, &out.there), "the result");
    out.start = start.time;
    out.utc = moment_utc(c->arena, to.at);
    out.unix_seconds = to.at.seconds;
    moment_add_notes(c->arena, &from, "time", &notes);
    moment_add_notes(c->arena, &to, "duration", &notes);
    out.notes = notes_of(&notes);
    ANSWER(add_result, &out, result);
    return OK;
}

/* ---- list_time_zones --------------------------------------------------------------- */

struct list_args {
    struct zone_filter filter;
    bool offsets;
    int64_t limit, offset;
};
static const struct field list_args[] = {
    FIELD_AS("search", struct list_args, filter.search, STR, NULL, "..64", 0,
             "Part of a zone's name or of its country's English name: york, Brazil."),
    FIELD_AS("prefix", struct list_args, filter.prefix, STR, NULL, "..64", 0,
             "Beginning of the name: America/Argentina/."),
    FIELD_AS("region", struct list_args, filter.region, STR, NULL, "..64", 0,
             "First part of the name: Africa, America, Antarctica, Asia, Atlantic, Australia, Europe, "
             "Indian, Pacific, Etc."),
    FIELD_AS("country", struct list_args, filter.country, STR, NULL, "..64", 0,
             "ISO 3166 code or English name of a country: JP, Japan."),
    FIELD(struct list_args, offsets, BOOL, "false", NULL, 0, "Also say the present offset of each zone."),
    FIELD(struct list_args, limit, INT, "100", "1..1000", 0, "At most so many zones."),
    FIELD(struct list_args, offset, INT, "0", "0..10000", 0, "Leave out so many: next_offset of the page before."),
};

struct list_zone {
    struct str name, country, offset, abbreviation;
};
static const struct field list_zone_rows[] = {
    FIELD(struct list_zone, name, STR, NULL, NULL, FIELD_REQUIRED, "IANA name."),
    FIELD(struct list_zone, country, STR, NULL, "1..", 0, "ISO 3166 code; absent for old names and those of no country."),
    FIELD(struct list_zone, offset, STR, NULL, "1..", 0, "Offset from UTC now, when asked for."),
    FIELD(struct list_zone, abbreviation, STR, NULL, "1..", 0, "What its clock is called now, when asked for."),
};
struct list_result {
    struct item_list zones;
    int64_t total, next_offset;
};
static const struct field list_result[] = {
    FIELD_NEST(struct list_result, zones, LIST, list_zone_rows, struct list_zone, FIELD_REQUIRED,
               "Zones in order of their names."),
    FIELD(struct list_result, total, INT, NULL, NULL, FIELD_REQUIRED, "How many zones match in all."),
    FIELD(struct list_result, next_offset, INT, NULL, "1..", 0, "The offset of the next page; absent on the last one."),
};

static err_t fill_offsets(struct call_ctx *c, struct time_server *s,
                          const struct zone_entry *const *page, size_t n, struct list_zone *out) {
    char text[ISO_TEXT];
    struct zone_period now;
    const struct zone **zones = ARENA_ARRAY(c->arena, const struct zone *, n);
    TRY(zones_get_all(c->task, s->zones, page, n, zones));
    for (size_t i = 0; i < n; i++) {
        if (!zones[i])
            continue;
        zone_at(zones[i], floor_div(c->wall, NANOS_SEC), &now);
        out[i].offset = arena_dup(c->arena, iso_write_offset(now.offset, text));
        out[i].abbreviation = now.abbreviation;
    }
    return OK;
}

/* The entries of the page, and in out how many there are in all. */
static size_t pick(const struct zone_names *names, const struct list_args *args,
                   const struct zone_entry **page, struct list_result *out) {
    size_t n = 0;
    for (size_t i = 0; i < names->n; i++) {
        if (!zone_entry_matches(&names->items[i], &args->filter))
            continue;
        if (out->total++ >= args->offset && n < (size_t)args->limit)
            page[n++] = &names->items[i];
    }
    if (args->offset + (int64_t)n < out->total)
        out->next_offset = args->offset + (int64_t)n;
    return n;
}

static err_t list_time_zones(struct call_ctx *c, void *self, const void *given,
                             struct tool_result *result) {
    const struct list_args *args = given;
    struct time_server *s = self;
    const struct zone_names *names;
    struct list_result out = { 0 };
    TRY(zones_names(c->task, s->zones, &names));
    const struct zone_entry **page = ARENA_ARRAY(c->arena, const struct zone_entry *,
                                                 (size_t)args->limit);
    size_t n = pick(names, args, page, &out);
    struct list_zone *zones = ARENA_ARRAY(c->arena, struct list_zone, n);
    for (size_t i = 0; i < n; i++) {
        zones[i].name = page[i]->name;
        zones[i].country = page[i]->country ? page[i]->country->code : S("");
    }
    if (args->offsets)
        TRY(fill_offsets(c, s, page, n, zones));
    out.zones = (struct item_list){ zones, n };
    ANSWER(list_result, &out, result);
    return OK;
}

/* ---- the server -------------------------------------------------------------------- */

static const struct tool tools[] = {
    TOOL("get_current_time", "Current time", now_args, struct now_args, now_result, get_current_time,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Current date and time, in UTC or in one time zone, with weekday, offset and whether daylight "
         "saving time is in force. Call it whenever an answer depends on today's date or the present time."),
    TOOL("convert_time", "Convert time between zones", convert_args, struct convert_args, convert_result,
         convert_time, TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Shows one point in time on the clocks of other time zones, with the difference between them. "
         "Takes a time with offset, or a local time and its zone; past and future daylight saving rules "
         "of that date are used."),
    TOOL("time_between", "Time between two times", between_args, struct between_args, between_result,
         time_between, TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "How long it is from start to end: seconds that pass, days on the calendar, an ISO 8601 duration, "
         "years to seconds, and words. For ages, countdowns, deadlines and travel times; end may be now or "
         "before start."),
    TOOL("add_duration", "Add a duration to a time", add_args, struct add_args, add_result, add_duration,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "The time a duration after or before another one. Years, months, weeks and days keep the time of "
         "day of the zone's clock, also when daylight saving time begins or ends between; hours, minutes "
         "and seconds are exact."),
    TOOL("list_time_zones", "List time zones", list_args, struct list_args, list_result, list_time_zones,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Finds IANA time zone names by part of the name, by region or by country, in pages, if asked with "
         "their present offsets."),
};

struct time_conf {
    struct str zoneinfo;
};
static const struct field options[] = {
    FIELD(struct time_conf, zoneinfo, STR, "/usr/share/zoneinfo", "1..1024", FIELD_RESTART,
          "Folder with the compiled time zones of the IANA database (package tzdata)."),
};

/* Not fatal: UTC and offsets work without. */
static void warn_without_zones(struct str folder) {
    SCOPED(mem_scope) char *path = mem_text(folder.p, folder.n);
    if (access(path, R_OK | X_OK) != 0)
        log_warn("no time zone data", F("folder", path), F("remedy", "install the package tzdata"));
}

static err_t open_server(const void *conf, const struct server_env *env, void **out_self) {
    const struct time_conf *given = conf;
    struct time_server *s = NEW(struct time_server);
    s->zones = zones_new(given->zoneinfo);
    warn_without_zones(given->zoneinfo);
    *out_self = s;
    return OK;
}

static void close_server(void *self) {
    struct time_server *s = self;
    zones_free(s->zones);
    free(s);
}

const struct server_ops time_server = {
    .name = "time",
    .title = "Time",
    .summary = "Clocks, time zones and calendar arithmetic",
    .instructions = "Dates and times: what time it is, in any time zone; conversion between zones; time "
                    "between two moments; calendar arithmetic. Times are ISO 8601; zones are IANA names "
                    "such as America/New_York, found with list_time_zones; without a zone, UTC is meant.",
    .options = options,
    .option_count = ARRAY_SIZE(options),
    .options_size = sizeof(struct time_conf),
    .tools = tools,
    .tool_count = ARRAY_SIZE(tools),
    .open = open_server,
    .close = close_server,
};
