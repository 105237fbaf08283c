/* tail.c - `gatespan tail`: the log of a running gateway, as it is written. */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/output.h"
#include <time.h>

static const char *const levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const forms[] = { "text", "json", NULL };

static const struct cli_option options[] = {
    GATEWAY_OPTIONS,
    { "level", "LEVEL", NULL, false, "debug, info (default), warn or error and above", 'l', levels },
    { "upstream", "NAME", NULL, false, "only lines about this upstream" },
    { "for", "KEY", NULL, false, "only lines about this key" },
    { "request", "ID", NULL, false, "only lines of the request with this id" },
    { "grep", "TEXT", NULL, false, "only lines that contain this text", 'g' },
    { "lines", "N", NULL, false, "end after so many lines", 'n' },
    { "output", "FORMAT", NULL, false, "text (default), or json: the lines as they are", 'o', forms },
};

struct tailing {
    const struct cli *cli;
    bool json, color;
    uint64_t left; /* lines to come; 0: no end */
    bool counted;
};

static const char *color_of(struct str level) {
    static const struct { const char *word, *color; } colors[] = {
        { "debug", "\033[36m" }, { "info", "\033[32m" }, { "warn", "\033[33m" }, { "error", "\033[1;31m" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(colors); i++)
        if (str_eq(level, str_of(colors[i].word)))
            return colors[i].color;
    return "";
}

static void print_field(struct buf *b, struct str key, json value, bool color) {
    buf_fmt(b, color ? " \033[2m%.*s=\033[0m" : " %.*s=", STR(key));
    if (json_type(value) == JSON_STRING && str_find_char(json_text(value), ' ') < 0)
        output_clean(b, json_text(value));
    else
        json_write(b, value);
}

static void print_text(const struct tailing *t, json line, struct buf *b) {
    struct str level = json_get_text(line, S("level"));
    output_clean(b, json_get_text(line, S("time")));
    buf_fmt(b, " %s%-5.*s%s ", t->color ? color_of(level) : "", STR(level),
            t->color ? "\033[0m" : "");
    output_clean(b, json_get_text(line, S("event")));
    for (struct json_iter it = json_iter(line); json_next(&it);)
        if (!str_eq(it.key, S("time")) && !str_eq(it.key, S("level")) &&
            !str_eq(it.key, S("event")))
            print_field(b, it.key, it.value, t->color);
}

static bool take(void *arg, struct str type, struct str data) {
    struct tailing *t = arg;
    SCOPED(arena_scope) struct arena a;
    SCOPED(buf_done) struct buf b = { 0 };
    json line = NULL;
    arena_init(&a, NULL, 0);
    if (json_parse(&a, arena_dup(&a, data), (struct json_limits){ 0 }, &line))
        return true;
    if (str_eq(type, S("lost"))) {
        cli_note(t->cli, "%.*s lines are left out: they came faster than they were read",
                 STR(json_get_text(line, S("lines"))));
        return true;
    }
    if (t->json)
        buf_str(&b, data);
    else
        print_text(t, line, &b);
    buf_char(&b, '\n');
    fwrite(b.p, 1, b.n, stdout);
    return fflush(stdout) == 0 && !(t->counted && --t->left == 0);
}

static struct str path_of(struct cli *c) {
    static const char *const filters[][2] = { { "level", "level" }, { "upstream", "upstream" }, { "for", "key" },
                                              { "request", "request" }, { "grep", "grep" } };
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, S("/api/v1/logs"));
    for (size_t i = 0, n = 0; i < ARRAY_SIZE(filters); i++) {
        struct str value = cli_get(c, filters[i][0]);
        if (!value.n)
            continue;
        buf_fmt(&b, "%c%s=", n++ ? '&' : '?', filters[i][1]);
        client_escape(&b, value);
    }
    return arena_dup(&c->arena, buf_view(&b));
}

enum { TRIES = 60 };

/* A gateway that restarts is followed again. */
static int follow(struct cli *c, struct mcp_client *m, struct tailing *t) {
    int code = client_follow(m, path_of(c), take, t);
    for (int i = 0; code == CLIENT_ENDED && i < TRIES && !ferror(stdout); i++) {
        if (i == 0)
            cli_note(c, "the gateway ended the log; trying again for a minute");
        m->patient = true;
        nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
        code = client_interrupted() ? EXIT_INTERRUPTED : client_follow(m, path_of(c), take, t);
    }
    return code == CLIENT_ENDED ? cli_fail(EXIT_UPSTREAM, "the gateway does not come back") : code;
}

static int run(struct cli *c) {
    struct mcp_client m;
    struct str lines = cli_get(c, "lines");
    struct tailing t = { .cli = c, .json = str_eq(cli_get(c, "output"), S("json")), .color = cli_color(c, stdout),
                         .counted = lines.p != NULL };
    if (lines.p && (!str_to_u64(lines, &t.left) || !t.left))
        return cli_fail(EXIT_USAGE, "--lines %.*s: a number from 1 on is needed", STR(lines));
    int code = client_open(c, &m);
    return code ? code : follow(c, &m, &t);
}

static const struct cli_example examples[] = {
    { "gatespan tail --level debug --upstream files", "everything about one upstream" },
    { "gatespan tail --request 01J… -o json", "one request, for a program" },
};

const struct command command_tail = {
    .name = "tail", .words = "[OPTIONS]", .summary = "follow the log of a running gateway",
    .about = "Needs an admin key. The level may be lower than the one that the gateway itself logs.",
    .options = options, .option_count = ARRAY_SIZE(options), .run = run, .examples = examples,
    .example_count = ARRAY_SIZE(examples),
};
