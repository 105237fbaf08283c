/* call.c - `gatespan call`: one tool call through a running gateway. The tool is looked up
 * first: its schema says what the arguments are and which of them go into headers (P-079). */
#include "base/mem.h"
#include "cli/call_args.h"
#include "cli/client.h"
#include "gateway/param_headers.h"
#include "gateway/param_schema.h"
#include <stdio.h>

static const struct cli_option options[] = {
    CLIENT_OPTIONS,
    { "output", "FORMAT", NULL, false, "text (default): what the tool says; json: its whole result" },
};

/* ---- finding the tool -------------------- */

static json closest(const struct tool_list *tools, struct str name) {
    json best = NULL;
    unsigned distance = 7;
    for (size_t i = 0; i < tools->n; i++) {
        struct str other = json_get_text(tools->items[i], S("name"));
        unsigned d = str_ends(other, name) ? 1 : str_distance(name, other, 6);
        if (d < distance) {
            distance = d;
            best = tools->items[i];
        }
    }
    return best;
}

static int find_tool(struct mcp_client *m, struct str name, json *out) {
    struct tool_list tools;
    int code = client_tools(m, &tools);
    if (code)
        return code;
    for (size_t i = 0; i < tools.n; i++)
        if (str_eq(json_get_text(tools.items[i], S("name")), name)) {
            *out = tools.items[i];
            return 0;
        }
    struct str other = json_get_text(closest(&tools, name), S("name"));
    return cli_fail(EXIT_USAGE, "there is no tool %.*s%s%.*s%s", STR(name),
                    other.n ? "; did you mean " : " (gatespan tools lists them)", STR(other),
                    other.n ? "?" : "");
}

/* ---- showing the result -------------------- */

static void print_text(FILE *out, struct str text) {
    fwrite(text.p, 1, text.n, out);
    if (!text.n || text.p[text.n - 1] != '\n')
        fputc('\n', out);
}

/* What is no text is named. */
static void print_block(FILE *out, json block) {
    struct str type = json_get_text(block, S("type"));
    json resource = json_get(block, S("resource"));
    json text = json_get(resource ? resource : block, S("text"));
    if (json_type(text) == JSON_STRING) {
        print_text(out, json_text(text));
        return;
    }
    struct str uri = json_get_text(resource ? resource : block, S("uri"));
    struct str mime = json_get_text(resource ? resource : block, S("mimeType"));
    fprintf(out, "[%.*s%s%.*s%s%.*s]\n", STR(type), mime.n ? " " : "", STR(mime), uri.n ? " " : "",
            STR(uri));
}

static void print_json(FILE *out, json v) {
    SCOPED(buf_done) struct buf b = { 0 };
    json_write(&b, v);
    print_text(out, buf_view(&b));
}

static int show(json result, bool as_json) {
    bool failed = false;
    json content = json_get(result, S("content")),
         structured = json_get(result, S("structuredContent"));
    json_is_bool(json_get(result, S("isError")), &failed);
    FILE *out = failed && !as_json ? stderr : stdout;
    if (as_json)
        print_json(out, result);
    else if (!json_count(content) && structured)
        print_json(out, structured);
    for (struct json_iter it = json_iter(as_json ? NULL : content); json_next(&it);)
        print_block(out, it.value);
    return failed ? EXIT_FAILURE_ : 0;
}

/* ---- the call -------------------- */

static struct str headers_for(struct arena *a, json schema, struct str arguments) {
    json annotated = NULL;
    if (param_schema_read(a, schema, &annotated)) /* no gateway shows such a tool (P-078) */
        return S("");
    return param_headers_write(a, annotated, arguments);
}

static int call(struct mcp_client *m, struct str name, json schema, struct str arguments,
                json *out) {
    SCOPED(buf_done) struct buf params = { 0 };
    struct jw w = jw_init(&params);
    jw_put_string(&w, "name", name);
    jw_put_raw(&w, "arguments", arguments);
    return client_ask(m, &(struct mcp_request){
        .method = "tools/call", .name = name, .params = buf_view(&params), .progress = true,
        .headers = headers_for(m->arena, schema, arguments) }, out);
}

static int run(struct cli *c) {
    struct str format = cli_get(c, "output"), name = c->words[0];
    bool as_json = str_eq(format, S("json"));
    SCOPED(buf_done) struct buf arguments = { 0 };
    struct mcp_client m;
    json tool = NULL, result = NULL;
    if (format.p && !as_json && !str_eq(format, S("text")))
        return cli_fail(EXIT_USAGE, "--output %.*s: one of text, json", STR(format));
    int code = client_open(c, &m);
    if (!code)
        code = find_tool(&m, name, &tool);
    if (code)
        return code;
    json schema = json_get(tool, S("inputSchema"));
    err_t e = call_args_read(&c->arena, schema, c->words + 1, c->word_count - 1, &arguments);
    if (e)
        return cli_fail(EXIT_USAGE, "%s", e->text);
    code = call(&m, name, schema, buf_view(&arguments), &result);
    return code ? code : show(result, as_json);
}

const struct command command_call = {
    .name = "call", .words = "NAME [KEY=VALUE… | JSON]", .summary = "call a tool of a running gateway",
    .options = options, .option_count = ARRAY_SIZE(options), .least_words = 1, .most_words = CLI_VALUES, .run = run,
};
