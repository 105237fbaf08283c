/* tools.c - `gatespan tools`: the tools of a running gateway. */
#include "base/mem.h"
#include "cli/client.h"
#include <stdio.h>

static const struct cli_option options[] = {
    CLIENT_OPTIONS,
    { "output", "FORMAT", NULL, false, "table (default): names and first lines; json: whole definitions" },
};

static struct str first_line(struct str text) {
    text = str_trim(text);
    struct str line = str_cut(&text, '\n');
    return line.n && line.p[line.n - 1] == '\r' ? str_head(line, line.n - 1) : line;
}

static void print_table(const struct tool_list *tools) {
    int width = 0;
    for (size_t i = 0; i < tools->n; i++) {
        struct str name = json_get_text(tools->items[i], S("name"));
        if ((int)name.n > width)
            width = (int)name.n;
    }
    for (size_t i = 0; i < tools->n; i++) {
        struct str line = first_line(json_get_text(tools->items[i], S("description")));
        struct str name = json_get_text(tools->items[i], S("name"));
        printf("%-*.*s%s%.*s\n", line.n ? width : 0, STR(name), line.n ? "  " : "", STR(line));
    }
}

static void print_json(const struct tool_list *tools) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_array(&w);
    for (size_t i = 0; i < tools->n; i++)
        jw_value(&w, tools->items[i]);
    jw_array_end(&w);
    puts(buf_text(&b));
}

static int run(struct cli *c) {
    struct str format = cli_get(c, "output");
    bool as_json = str_eq(format, S("json"));
    struct mcp_client m;
    struct tool_list tools;
    if (format.p && !as_json && !str_eq(format, S("table")))
        return cli_fail(EXIT_USAGE, "--output %.*s: one of table, json", STR(format));
    int code = client_open(c, &m);
    if (!code)
        code = client_tools(&m, &tools);
    if (code)
        return code;
    (as_json ? print_json : print_table)(&tools);
    if (!tools.n)
        fputs("gatespan: no tools for this key\n", stderr);
    return 0;
}

const struct command command_tools = {
    .name = "tools", .words = "[OPTIONS]", .summary = "list the tools of a running gateway", .options = options,
    .option_count = ARRAY_SIZE(options), .run = run,
};
