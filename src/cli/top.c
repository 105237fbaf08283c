/* top.c - `gatespan top`: what a gateway is doing now. Calls in flight and the figures of the last
 * minute by tool and by upstream, shown again every two seconds. */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/output.h"
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const struct cli_option options[] = {
    GATEWAY_OPTIONS,
    { "every", "DURATION", NULL, false, "time between two looks; default 2s" },
    { "window", "DURATION", NULL, false, "how far back the figures go; default 1m", 'w' },
    { "once", NULL, NULL, false, "look once and end" },
    OUTPUT_OPTION,
};

static int ask(struct cli *c, struct mcp_client *m, const char *group, json *out) {
    SCOPED(buf_done) struct buf path = { 0 };
    struct str window = cli_get(c, "window");
    buf_fmt(&path, "/api/v1/stats?group=%s&limit=15&window=", group);
    client_escape(&path, window.n ? window : S("1m"));
    return client_rest(m, "GET", buf_view(&path), S(""), out);
}

/* {"calls": […], "total": …, "tools": […], "upstreams": […]} */
static int look(struct cli *c, struct mcp_client *m, json *out) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    json calls = NULL, tools = NULL, upstreams = NULL;
    int code = client_rest(m, "GET", S("/api/v1/calls"), S(""), &calls);
    if (!code)
        code = ask(c, m, "tool", &tools);
    if (!code)
        code = ask(c, m, "upstream", &upstreams);
    if (code)
        return code;
    jw_object(&w);
    jw_put_value(&w, "window", json_get(tools, S("window")));
    jw_put_value(&w, "total", json_get(tools, S("total")));
    jw_put_value(&w, "calls", json_get(calls, S("items")));
    jw_put_value(&w, "tools", json_get(tools, S("items")));
    jw_put_value(&w, "upstreams", json_get(upstreams, S("items")));
    jw_object_end(&w);
    *out = output_document(&c->arena, &b);
    return 0;
}

static void show_figures(const struct cli *c, const char *head, json items) {
    const struct column columns[] = {
        { head, "name" }, { "CALLS", "calls" }, { "ERRORS", "errors" }, { "P50 ms", "p50_ms" }, { "P95 ms", "p95_ms" },
        { "P99 ms", "p99_ms" }, { "LONGEST ms", "longest_ms" },
    };
    if (json_count(items))
        putchar('\n');
    output_list(c, items, columns, ARRAY_SIZE(columns));
}

static void show(const struct cli *c, json now) {
    static const struct column calls[] = {
        { "IN FLIGHT", "tool" }, { "METHOD", "method" }, { "UPSTREAM", "upstream" }, { "KEY", "key" }, { "ms", "ms" },
        { "REQUEST", "request_id" },
    };
    json total = json_get(now, S("total"));
    printf("%zu in flight; in the last %.*s %.*s calls, %.*s failed, p50 %.*s ms, p99 %.*s ms\n",
           json_count(json_get(now, S("calls"))), STR(json_get_text(now, S("window"))),
           STR(json_get_text(total, S("calls"))), STR(json_get_text(total, S("errors"))),
           STR(json_get_text(total, S("p50_ms"))), STR(json_get_text(total, S("p99_ms"))));
    if (json_count(json_get(now, S("calls"))))
        putchar('\n');
    output_list(c, json_get(now, S("calls")), calls, ARRAY_SIZE(calls));
    show_figures(c, "TOOL", json_get(now, S("tools")));
    show_figures(c, "UPSTREAM", json_get(now, S("upstreams")));
}

/* ---- on a terminal ------------------------------------------------------------------- */

static struct winsize terminal(void) {
    struct winsize size = { 0 };
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
        size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
    return size;
}

/* From the top, over what is there, without a blank moment. What is wider than the terminal is
 * cut there (no wrapping meanwhile), what is longer too: nothing may scroll the head away. */
static void paint(struct str text) {
    size_t rows = terminal().ws_row;
    fputs("\033[?7l\033[H", stdout);
    for (size_t i = 0; i < rows && text.n; i++) {
        struct str line = str_cut(&text, '\n');
        bool more = i + 1 == rows && text.n;
        printf("%s%.*s\033[K", i ? "\r\n" : "", STR(more ? S("…") : line));
    }
    fputs("\033[J\033[?7h", stdout);
}

/* stdout is a variable in glibc, so what `show` prints can be looked at before it is painted. */
static void refresh(const struct cli *c, json now) {
    char *text = NULL;
    size_t n = 0;
    FILE *real = stdout, *memory = open_memstream(&text, &n);
    if (!memory) {
        show(c, now);
        return;
    }
    stdout = memory;
    show(c, now);
    stdout = real;
    fclose(memory);
    paint(str_from(text, n));
    free(text);
}

/* One line of JSON a look, so that a program can read them one by one. */
static void print(const struct cli *c, json now, bool once, bool refreshed) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (refreshed)
        refresh(c, now);
    else if (output_format(c) == FORMAT_TABLE)
        show(c, now);
    else if (once || output_format(c) == FORMAT_YAML)
        output_value(c, now, output_format(c));
    else {
        json_write(&b, now);
        printf("%s\n", buf_text(&b));
    }
    fflush(stdout);
}

/* A terminal that changes its size is painted anew at once. */
static void pause_for(int64_t wait) {
    struct winsize was = terminal();
    nanos end = clock_mono() + wait;
    while (clock_mono() < end && !client_interrupted()) {
        struct winsize is = terminal();
        if (is.ws_row != was.ws_row || is.ws_col != was.ws_col)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 50 * NANOS_MS }, NULL);
    }
}

static int run(struct cli *c) {
    struct mcp_client m;
    int64_t every = 0;
    bool once = cli_has(c, "once");
    bool refreshed = !once && output_format(c) == FORMAT_TABLE && isatty(STDOUT_FILENO);
    int code = client_open(c, &m);
    if (!code)
        code = cli_duration(c, "every", 2 * NANOS_SEC, &every);
    struct arena kept = c->arena; /* options' texts; what a look needs is freed after it */
    while (!code && !client_interrupted()) {
        json now = NULL;
        arena_init(&c->arena, NULL, 0);
        code = look(c, &m, &now);
        if (!code)
            print(c, now, once, refreshed);
        arena_done(&c->arena);
        c->arena = kept;
        if (code || once)
            return code;
        pause_for(every);
    }
    if (refreshed && !code)
        putchar('\n'); /* the prompt goes under what was painted */
    return code ? code : EXIT_INTERRUPTED;
}

static const struct cli_example examples[] = {
    { "gatespan top --once -o json", "for scripts" },
};

const struct command command_top = {
    .name = "top", .words = "[OPTIONS]", .summary = "show calls in flight and figures by tool and upstream",
    .about = "Needs an admin key.", .options = options, .option_count = ARRAY_SIZE(options), .run = run,
    .examples = examples, .example_count = ARRAY_SIZE(examples),
};
