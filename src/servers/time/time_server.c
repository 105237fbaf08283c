/* time_server.c - see time_server.h. */
#include "servers/time/time_server.h"

/* ---- get_current_time -------------------------------------------------------------- */

struct now_result {
    struct str time;
    int64_t unix_seconds;
};

static const struct field now_rows[] = {
    FIELD(struct now_result, time, STR, NULL, NULL, FIELD_REQUIRED, "RFC 3339 date-time in UTC."),
    FIELD_AS("unix", struct now_result, unix_seconds, INT, NULL, NULL, FIELD_REQUIRED,
             "Seconds since 1970-01-01T00:00:00Z."),
};

static err_t get_current_time(struct call_ctx *c, void *self, const void *args,
                              struct tool_result *result) {
    char text[CLOCK_TEXT];
    struct now_result now = {
        .time = clock_rfc3339(c->wall, text),
        .unix_seconds = c->wall / NANOS_SEC,
    };
    struct jw w = jw_init(&result->structured);
    field_write(now_rows, ARRAY_SIZE(now_rows), &now, &w);
    return OK;
}

static const struct tool tools[] = {
    {
        .name = "get_current_time",
        .title = "Current time",
        .description = "Current date and time in UTC.",
        .result = now_rows,
        .result_count = ARRAY_SIZE(now_rows),
        .hints = TOOL_READ_ONLY | TOOL_IDEMPOTENT,
        .run = get_current_time,
    },
};

const struct server_ops time_server = {
    .name = "time",
    .title = "Time",
    .summary = "Clocks, time zones and calendar arithmetic",
    .tools = tools,
    .tool_count = ARRAY_SIZE(tools),
};
