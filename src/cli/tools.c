/* tools.c - `gatespan tools`: the tools of a running gateway. */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/output.h"

static const struct cli_option options[] = {
    CLIENT_OPTIONS,
    OUTPUT_OPTION,
    { "upstream", "NAME", NULL, false, "only those of this upstream" },
    { "read-only", NULL, NULL, false, "only those that say that they change nothing" },
    { "schema", NULL, NULL, false, "show what each takes: its arguments with their types" },
};

/* ---- which ones -------------------- */

static bool is_wanted(struct cli *c, json tool) {
    struct str name = json_get_text(tool, S("name")), upstream = cli_get(c, "upstream");
    bool matches = !c->word_count, harmless = false;
    for (size_t i = 0; i < c->word_count; i++)
        matches = matches || str_glob(c->words[i], name);
    json_is_bool(json_get(json_get(tool, S("annotations")), S("readOnlyHint")), &harmless);
    struct str prefix = arena_fmt(&c->arena, "%.*s__", STR(upstream));
    return matches && (!upstream.p || str_starts(name, prefix)) &&
           (!cli_has(c, "read-only") || harmless);
}

static json choose(struct cli *c, const struct tool_list *tools) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_array(&w);
    for (size_t i = 0; i < tools->n; i++)
        if (is_wanted(c, tools->items[i]))
            jw_value(&w, tools->items[i]);
    jw_array_end(&w);
    return output_document(&c->arena, &b);
}

/* ---- as a table -------------------- */

static struct str first_line(struct str text) {
    text = str_trim(text);
    struct str line = str_cut(&text, '\n');
    return line.n && line.p[line.n - 1] == '\r' ? str_head(line, line.n - 1) : line;
}

static void print_names(const struct cli *c, json tools) {
    static const struct column columns[] = { { NULL, "name" }, { NULL, "description" } };
    SCOPED(arena_scope) struct arena a;
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    arena_init(&a, NULL, 0);
    jw_array(&w);
    for (struct json_iter it = json_iter(tools); json_next(&it);) {
        jw_object(&w);
        jw_put_string(&w, "name", json_get_text(it.value, S("name")));
        jw_put_string(&w, "description", first_line(json_get_text(it.value, S("description"))));
        jw_object_end(&w);
    }
    jw_array_end(&w);
    output_list(c, output_document(&a, &b), columns, ARRAY_SIZE(columns));
}

/* ---- what they take -------------------- */

static bool is_required(json schema, struct str name) {
    for (struct json_iter it = json_iter(json_get(schema, S("required"))); json_next(&it);)
        if (str_eq(json_text(it.value), name))
            return true;
    return false;
}

static void write_arguments(struct jw *w, json schema) {
    jw_array(w);
    for (struct json_iter it = json_iter(json_get(schema, S("properties"))); json_next(&it);) {
        jw_object(w);
        jw_put_string(w, "name", it.key);
        jw_put_value(w, "type", json_get(it.value, S("type")));
        jw_put_string(w, "needed", is_required(schema, it.key) ? S("needed") : S(""));
        if (json_get(it.value, S("default")))
            jw_put_value(w, "default", json_get(it.value, S("default")));
        if (json_get(it.value, S("enum")))
            jw_put_value(w, "values", json_get(it.value, S("enum")));
        jw_put_string(w, "meaning", first_line(json_get_text(it.value, S("description"))));
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void print_schema(const struct cli *c, json tool) {
    static const struct column columns[] = {
        { "ARGUMENT", "name" }, { "TYPE", "type" }, { "", "needed" }, { "DEFAULT", "default" },
        { "VALUES", "values" }, { "MEANING", "meaning" },
    };
    SCOPED(arena_scope) struct arena a;
    SCOPED(buf_done) struct buf b = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&b);
    arena_init(&a, NULL, 0);
    write_arguments(&w, json_get(tool, S("inputSchema")));
    output_clean(&text, first_line(json_get_text(tool, S("description"))));
    printf("%.*s\n", STR(json_get_text(tool, S("name"))));
    if (text.n)
        printf("%s\n", buf_text(&text));
    output_list(c, output_document(&a, &b), columns, ARRAY_SIZE(columns));
}

static void show(struct cli *c, json tools) {
    bool schema = cli_has(c, "schema");
    size_t n = 0;
    if (output_format(c) != FORMAT_TABLE)
        output_value(c, tools, output_format(c));
    else if (!schema)
        print_names(c, tools);
    for (struct json_iter it = json_iter(tools);
         schema && output_format(c) == FORMAT_TABLE && json_next(&it);) {
        fputs(n++ ? "\n" : "", stdout);
        print_schema(c, it.value);
    }
}

/* A name without a star is meant to be there. */
static int check_found(struct cli *c, const struct tool_list *all, json chosen) {
    if (json_count(chosen))
        return 0;
    for (size_t i = 0; i < c->word_count; i++)
        if (str_find_char(c->words[i], '*') < 0 && str_find_char(c->words[i], '?') < 0)
            return client_no_tool(all, c->words[i]);
    cli_note(c, all->n ? "no tool matches" : "no tools for this key");
    return 0;
}

static int run(struct cli *c) {
    struct mcp_client m;
    struct tool_list tools;
    int code = client_open(c, &m);
    if (!code)
        code = client_tools(&m, &tools);
    if (code)
        return code;
    json chosen = choose(c, &tools);
    code = check_found(c, &tools, chosen);
    if (!code)
        show(c, chosen);
    return code;
}

static const struct cli_example examples[] = {
    { "gatespan tools 'time__*'", "those whose names match" },
    { "gatespan tools --schema time__convert_time", "what one tool takes" },
    { "gatespan tools -o json", "whole definitions" },
};

const struct command command_tools = {
    .name = "tools", .words = "[PATTERN…]", .summary = "list the tools of a running gateway, or show what they take",
    .options = options, .option_count = ARRAY_SIZE(options), .most_words = CLI_VALUES, .run = run,
    .examples = examples, .example_count = ARRAY_SIZE(examples),
};
