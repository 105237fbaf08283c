/* call.c - `gatespan call`: one tool call through a running gateway. The tool is looked up
 * first: its schema says what the arguments are and which of them go into headers (P-079). */
#include "base/file.h"
#include "base/mem.h"
#include "cli/call_args.h"
#include "cli/client.h"
#include "cli/output.h"
#include "gateway/param_headers.h"
#include "gateway/param_schema.h"

enum { ARGUMENTS_LIMIT = 64 * 1024 * 1024 };

enum form { TEXT, STRUCTURED, WHOLE_JSON, WHOLE_YAML, TABLE /* as TEXT */ };
static const char *const forms[] = { "text", "structured", "json", "yaml", "table", NULL };

static const struct cli_option options[] = {
    CLIENT_OPTIONS,
    { "output", "FORMAT", NULL, false, "text (default): what the tool says; structured: its structured content; "
      "json, yaml: its whole result; table: as text", 'o', forms },
    { "timeout", "DURATION", NULL, false, "give the call up after so long, such as 30s; default: never", 't' },
};

/* ---- finding the tool -------------------- */

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
    return client_no_tool(&tools, name);
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

static enum form form_of(const struct cli *c) {
    struct str word = cli_get(c, "output");
    for (int i = 0; forms[i]; i++)
        if (str_eq(word, str_of(forms[i])))
            return (enum form)i;
    return TEXT;
}

static int show_structured(const struct cli *c, json structured) {
    if (!structured)
        return cli_fail(EXIT_FAILURE_,
                        "the tool gave no structured content; leave out -o structured");
    output_value(c, structured, FORMAT_JSON);
    return 0;
}

/* Structured content alone is shown when a tool says nothing else. */
static void show_text(const struct cli *c, json result, FILE *out) {
    json content = json_get(result, S("content")),
         structured = json_get(result, S("structuredContent"));
    if (!json_count(content) && structured)
        output_value(c, structured, FORMAT_JSON);
    for (struct json_iter it = json_iter(content); json_next(&it);)
        print_block(out, it.value);
}

static int show(const struct cli *c, json result) {
    enum form form = form_of(c);
    bool failed = false;
    json_is_bool(json_get(result, S("isError")), &failed);
    if (form == WHOLE_JSON || form == WHOLE_YAML)
        output_value(c, result, form == WHOLE_YAML ? FORMAT_YAML : FORMAT_JSON);
    else if (form == STRUCTURED && !failed)
        return show_structured(c, json_get(result, S("structuredContent")));
    else
        show_text(c, result, failed ? stderr : stdout);
    return failed ? EXIT_FAILURE_ : 0;
}

/* ---- arguments -------------------- */

/* `-` is standard input, `@FILE` a file: both hold one JSON object. */
static int read_source(struct cli *c, struct str word, struct str *out) {
    SCOPED(buf_done) struct buf text = { 0 };
    bool missing = false;
    struct str path = str_eq(word, S("-")) ? S("/dev/stdin") : str_skip(word, 1);
    err_t e = file_read(path, ARGUMENTS_LIMIT, &text, &missing);
    if (e || missing)
        return cli_fail(EXIT_USAGE, "arguments from %.*s: %s", STR(path),
                        e ? e->text : "there is no such file");
    *out = str_trim(arena_dup(&c->arena, buf_view(&text)));
    return out->n ? 0 : cli_fail(EXIT_USAGE, "arguments from %.*s: it is empty", STR(path));
}

static int read_arguments(struct cli *c, json schema, struct buf *out) {
    struct str *words = c->words + 1;
    if (c->word_count == 2 && (str_eq(words[0], S("-")) || str_starts(words[0], S("@")))) {
        int code = read_source(c, words[0], &words[0]);
        if (code)
            return code;
    }
    err_t e = call_args_read(&c->arena, schema, words, c->word_count - 1, out);
    return e ? cli_fail(EXIT_USAGE, "%s", e->text) : 0;
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
    struct str name = c->words[0];
    SCOPED(buf_done) struct buf arguments = { 0 };
    struct mcp_client m;
    json tool = NULL, result = NULL;
    int code = client_open(c, &m);
    if (!code)
        code = cli_duration(c, "timeout", 0, &m.timeout);
    if (!code)
        code = find_tool(&m, name, &tool);
    json schema = json_get(tool, S("inputSchema"));
    if (!code)
        code = read_arguments(c, schema, &arguments);
    if (!code)
        code = call(&m, name, schema, buf_view(&arguments), &result);
    return code ? code : show(c, result);
}

static const struct cli_example examples[] = {
    { "gatespan call time__get_current_time zone=Asia/Tokyo", "arguments as the tool's schema types them" },
    { "gatespan call time__convert_time '{\"time\": \"2026-07-28T12:00:00Z\", \"target_zones\": [\"Asia/Tokyo\"]}'",
      "all arguments as one JSON object; @FILE reads it from a file, - from standard input" },
};

const struct command command_call = {
    .name = "call", .words = "TOOL [KEY=VALUE… | JSON | @FILE | -]", .summary = "call a tool of a running gateway",
    .about = "Progress goes to standard error. Ctrl-C cancels the call and ends with 130.",
    .options = options, .option_count = ARRAY_SIZE(options), .least_words = 1, .most_words = CLI_VALUES, .run = run,
    .examples = examples, .example_count = ARRAY_SIZE(examples),
};
