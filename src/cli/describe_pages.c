/* describe_pages.c - see describe.h: one function for each page. */
#include "base/err.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/describe.h"
#include "control/conf_env.h"
#include "control/metrics.h"
#include "control/routes.h"
#include "mcp/envelope.h"
#include "servers/server.h"
#include <assert.h>

/* ---- rows -------------------- */

static bool is_nested(const struct field *row) {
    return row->type == FIELD_OBJECT || row->type == FIELD_MAP || row->type == FIELD_LIST;
}

static struct str default_of(const struct field *row, struct arena *a) {
    if (row->flags & FIELD_REQUIRED)
        return S("required");
    return row->fallback ? arena_fmt(a, "`%s`", row->fallback) : S("");
}

/* Outside of maps every option has a variable; `path` ends with a dot, or is empty. */
static struct str variable_of(const char *path, const struct field *row, struct arena *a) {
    if (strstr(path, ".NAME.") || strstr(path, "[]"))
        return S("");
    struct str name = field_env(arena_fmt(a, "%s%s", path, row->name), a);
    return arena_fmt(a, "`%.*s`", STR(name));
}

static struct str notes_of(const struct field *row, struct arena *a) {
    const char *later = row->flags & FIELD_LATER ? " Not built yet: accepted with a warning." : "";
    const char *restart = row->flags & FIELD_RESTART ? " A change needs a restart." : "";
    return arena_fmt(a, "%s%s%s", row->help, later, restart);
}

enum depth { ONE_LEVEL, ALL_LEVELS };

static const char *step_of(const struct field *row) {
    return row->type == FIELD_MAP ? ".NAME." : row->type == FIELD_LIST ? "[]." : ".";
}

static void write_row(struct buf *b, struct arena *a, const char *path, const struct field *row) {
    PAGE_ROW(b, arena_fmt(a, "`%s%s`", path, row->name), field_allowed(row, a), default_of(row, a),
             notes_of(row, a));
}

static void write_rows(struct buf *b, struct arena *a, const char *path, const struct field *rows,
                       size_t n, enum depth depth) {
    for (size_t i = 0; i < n; i++) {
        if (rows[i].flags & FIELD_HIDDEN)
            continue;
        write_row(b, a, path, &rows[i]);
        if (depth == ONE_LEVEL || !is_nested(&rows[i]))
            continue;
        struct str below = arena_fmt(a, "%s%s%s", path, rows[i].name, step_of(&rows[i]));
        write_rows(b, a, arena_text(a, below), rows[i].fields, rows[i].count, depth);
    }
}

static void write_table(struct buf *b, struct arena *a, const char *path, const struct field *rows,
                        size_t n, enum depth depth) {
    page_table(b, "Name|Value|Default|Meaning");
    write_rows(b, a, path, rows, n, depth);
    buf_char(b, '\n');
}

/* ---- options -------------------- */

static void write_option_row(struct buf *b, struct arena *a, const char *path,
                             const struct field *row) {
    const char *later = row->flags & FIELD_LATER ? " Not built yet: accepted with a warning." : "";
    PAGE_ROW(b, arena_fmt(a, "`%s%s`", path, row->name), field_allowed(row, a), default_of(row, a),
             variable_of(path, row, a), row->flags & FIELD_RESTART ? S("restart") : S("reload"),
             arena_fmt(a, "%s%s", row->help, later));
}

static void write_level(struct buf *b, struct arena *a, const char *path, const struct field *rows,
                        size_t n) {
    page_table(b, "Name|Value|Default|Environment|Change|Meaning");
    for (size_t i = 0; i < n; i++)
        if (!(rows[i].flags & FIELD_HIDDEN))
            write_option_row(b, a, path, &rows[i]);
    buf_char(b, '\n');
    for (size_t i = 0; i < n; i++) {
        if (!is_nested(&rows[i]) || (rows[i].flags & FIELD_HIDDEN))
            continue;
        buf_fmt(b, "## %s%s\n\n%s\n\n", path, rows[i].name, rows[i].help);
        struct str below = arena_fmt(a, "%s%s%s", path, rows[i].name, step_of(&rows[i]));
        write_level(b, a, arena_text(a, below), rows[i].fields, rows[i].count);
    }
}

/* Names of other systems. */
static void write_aliases(struct buf *b, struct arena *a) {
    buf_str(b, S("## Names of other systems\n\nVariables that are understood too; a `GATESPAN_` "
                 "variable wins over them, they win over the file.\n\n"));
    page_table(b, "Variable|Option|Meaning");
    for (size_t i = 0; i < conf_alias_count; i++) {
        const struct conf_alias *alias = &conf_aliases[i];
        const char *meaning = alias->meaning ? alias->meaning : "The same.";
        PAGE_ROW(b, arena_fmt(a, "`%s`", alias->variable), arena_fmt(a, "`%s`", alias->path),
                 str_of(meaning));
    }
}

static void write_options(struct buf *b) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    buf_str(b,
            S("What a configuration may say: in a file (YAML or JSON), in the environment, or "
              "on the command line as `--set NAME=VALUE`; each wins over those before it. What "
              "stands in a map (`NAME`) has no variable of its own: the map's takes JSON. Change "
              "says what a changed file does while the gateway runs: `reload` takes it over, "
              "`restart` refuses it until the gateway is restarted. The same as JSON Schema: "
              "[gatespan.schema.json](gatespan.schema.json).\n\n"));
    write_level(b, &a, "", gateway_fields, gateway_field_count);
    write_aliases(b, &a);
}

/* Indented by two, for people and for diffs. */
static void write_indented(struct buf *b, struct str text) {
    bool quoted = false, escaped = false;
    int depth = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool closes = !quoted && (c == '}' || c == ']'), opens = !quoted && (c == '{' || c == '[');
        bool empty = opens && i + 1 < text.n && (text.p[i + 1] == '}' || text.p[i + 1] == ']');
        bool was_empty = closes && i && (text.p[i - 1] == '{' || text.p[i - 1] == '[');
        if (closes && !was_empty)
            buf_fmt(b, "\n%*s", 2 * --depth, "");
        buf_char(b, c);
        if (opens && !empty)
            buf_fmt(b, "\n%*s", 2 * ++depth, "");
        if (!quoted && c == ',')
            buf_fmt(b, "\n%*s", 2 * depth, "");
        if (!quoted && c == ':')
            buf_char(b, ' ');
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    buf_char(b, '\n');
}

void describe_schema(struct buf *b) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    jw_object(&w);
    jw_put_string(&w, "$schema", S("https://json-schema.org/draft/2020-12/schema"));
    jw_put_string(&w, "title", S("Gatespan configuration"));
    jw_put_raw(&w, "type", S("[\"object\",\"null\"]"));
    field_schema_file(gateway_fields, gateway_field_count, &w);
    jw_object_end(&w);
    write_indented(b, buf_view(&text));
}

/* ---- metrics -------------------- */

static const char *const metric_kinds[] = {
    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram",
};

static int by_name(const void *x, const void *y) {
    return strcmp((*(const struct metric_def *const *)x)->name,
                  (*(const struct metric_def *const *)y)->name);
}

static void write_metric(struct buf *b, const struct metric_def *def) {
    SCOPED(buf_done) struct buf name = { 0 };
    SCOPED(buf_done) struct buf labels = { 0 };
    for (size_t i = 0; i < METRIC_LABELS && def->labels[i]; i++)
        buf_fmt(&labels, "%s`%s`", i ? ", " : "", def->labels[i]);
    buf_fmt(&name, "`%s`", def->name);
    PAGE_ROW(b, buf_view(&name), str_of(metric_kinds[def->kind]), buf_view(&labels),
             str_of(def->help));
}

static void write_metrics(struct buf *b) {
    enum { MOST = 1024 };
    SCOPED(mem_scope) const struct metric_def **all = NEW_ARRAY(const struct metric_def *, MOST);
    const struct metric_def *def;
    size_t n = 0;
    control_metrics_register();
    for (size_t at = 0; n < MOST && metric_next(&at, &def);)
        all[n++] = def;
    qsort(all, n, sizeof *all, by_name);
    buf_str(b, S("Served at `/metrics` in the text format of Prometheus. Durations are histograms "
                 "in seconds.\n\n"));
    page_table(b, "Name|Kind|Labels|Meaning");
    for (size_t i = 0; i < n; i++)
        write_metric(b, all[i]);
}

/* ---- routes -------------------- */

static const char *const needs[] = {
    [NEED_NOBODY] = "anybody", [NEED_KEY] = "any key", [NEED_ADMIN] = "an admin key",
};
static void write_schema_table(struct buf *b, struct arena *a, const char *title,
                               const struct schema *s) {
    if (!s)
        return;
    buf_fmt(b, "%s:\n\n", title);
    write_table(b, a, "", s->fields, *s->count, ALL_LEVELS);
}

static void write_success(struct buf *b, const struct route *r) {
    buf_fmt(b, "Who may: %s. Success: %d", needs[r->need], r->status ? r->status : 200);
    if (r->media)
        buf_fmt(b, " (%s)", r->media);
    buf_str(b, S("."));
    if (r->flags & ROUTE_IF_MATCH)
        buf_str(b, S(" `If-Match` is required."));
    if (r->flags & ROUTE_IF_MATCH_MAY)
        buf_str(b, S(" `If-Match` counts when it is sent."));
    if (r->deprecated)
        buf_str(b, S(" Deprecated."));
    buf_str(b, S("\n\n"));
}

static void write_route(struct buf *b, struct arena *a, const struct route *r) {
    buf_fmt(b, "### %s %s\n\n%s\n\n", r->methods, r->path, r->help);
    write_success(b, r);
    write_schema_table(b, a, "Query", r->query);
    write_schema_table(b, a, r->flags & ROUTE_MERGE ? "Body (merge patch)" : "Body", r->body);
    if (r->example)
        buf_fmt(b, "    %s\n\n", r->example);
    write_schema_table(b, a, r->flags & ROUTE_LIST ? "Each of `items`" : "Result", r->result);
}

static void write_routes(struct buf *b) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    buf_str(b,
            S("`OPTIONS` is answered everywhere (CORS), `HEAD` wherever `GET` is. A slash at the "
              "end makes "
              "no difference. Refusals are `{\"error\", \"message\", \"details\", \"timestamp\"}` "
              "([errors](errors.md)), on `/mcp` JSON-RPC errors. The same for "
              "programs: "
              "`/openapi.json`.\n\n"));
    page_table(b, "Path|Method|Who may|Meaning");
    for (size_t i = 0; i < route_table_count; i++)
        for (size_t k = 0; k < route_tables[i]->count; k++) {
            const struct route *r = &route_tables[i]->routes[k];
            PAGE_ROW(b, arena_fmt(&a, "`%s`", r->path), str_of(r->methods), str_of(needs[r->need]),
                     str_of(r->help));
        }
    for (size_t i = 0; i < route_table_count; i++) {
        buf_fmt(b, "\n## %s\n\n", route_tables[i]->title);
        for (size_t k = 0; k < route_tables[i]->count; k++)
            write_route(b, &a, &route_tables[i]->routes[k]);
    }
    while (b->n > 1 && b->p[b->n - 1] == '\n' && b->p[b->n - 2] == '\n')
        b->n--;
}

/* ---- commands -------------------- */

static void write_option(struct buf *b, struct arena *a, const struct cli_option *o) {
    char text[96];
    cli_option_text(text, sizeof text, o);
    PAGE_ROW(b, arena_fmt(a, "`%s`%s", text, o->many ? " (repeatable)" : ""),
             o->env ? arena_fmt(a, "`%s`", o->env) : S(""), str_of(o->help));
}

static void write_option_table(struct buf *b, struct arena *a, const struct cli_option *all,
                               size_t n) {
    if (!n)
        return;
    page_table(b, "Option|Environment|Meaning");
    for (size_t i = 0; i < n; i++)
        write_option(b, a, &all[i]);
    buf_char(b, '\n');
}

static void write_command(struct buf *b, struct arena *a, const char *path,
                          const struct command *c) {
    buf_fmt(b, "## gatespan %s\n\n    gatespan %s%s%s\n\n%s.\n\n", path, path,
            c->sub_count || *c->words ? " " : "", c->sub_count ? "COMMAND" : c->words, c->summary);
    if (c->about)
        buf_fmt(b, "%s\n\n", c->about);
    write_option_table(b, a, c->options, c->option_count);
    for (size_t i = 0; i < c->example_count; i++)
        buf_fmt(b, "`%s`: %s.\n\n", c->examples[i].line, c->examples[i].what);
    for (size_t i = 0; i < c->sub_count; i++) {
        struct str below = arena_fmt(a, "%s %s", path, c->subs[i]->name);
        write_command(b, a, arena_text(a, below), c->subs[i]);
    }
}

static void write_commands(struct buf *b) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    buf_str(b, S("Every command takes these too:\n\n"));
    write_option_table(b, &a, cli_common, cli_common_count);
    for (size_t i = 0; i < command_root.sub_count; i++)
        write_command(b, &a, command_root.subs[i]->name, command_root.subs[i]);
    buf_str(b, S("## Exit codes\n\n"));
    page_table(b, "Code|Meaning");
    for (size_t i = 0; i < cli_exit_count; i++)
        PAGE_ROW(b, arena_fmt(&a, "%d", cli_exits[i].code), str_of(cli_exits[i].meaning));
}

/* ---- errors -------------------- */

static const char *const error_meanings[] = {
    [ERR_INVALID] = "What was sent or configured is not understood or out of range.",
    [ERR_UNAUTHENTICATED] = "Nobody, or nobody we know, is asking: a key is missing or wrong.",
    [ERR_DENIED] = "Whoever asks may not do this.",
    [ERR_NOT_FOUND] = "There is nothing of that name, or nothing that the caller may see.",
    [ERR_CONFLICT] = "It does not go with what is there: a port in use, a change that needs a restart.",
    [ERR_TOO_LARGE] = "A message, line or answer is larger than its limit.",
    [ERR_LIMITED] = "A rate or count of the caller is used up; later it goes again.",
    [ERR_INTERNAL] = "A mistake of the program; the log has more.",
    [ERR_UPSTREAM] = "An upstream answered with something that is no valid answer.",
    [ERR_UNAVAILABLE] = "What is needed is not up, or has no room now.",
    [ERR_TIMEOUT] = "No answer came within the time allowed.",
    [ERR_CANCELLED] = "The caller gave up, or the program is ending.",
    [ERR_CLOSED] = "The other side closed the connection in the middle.",
};

static const struct {
    enum rpc_code code;
    const char *meaning;
} rpc_codes[] = {
    { RPC_PARSE, "The message is no valid JSON, or beyond a limit." },
    { RPC_INVALID_REQUEST,
      "The message is no valid JSON-RPC message, or not possible in this state." },
    { RPC_METHOD_NOT_FOUND,
      "There is no such method in this revision, or nothing behind the gateway offers it." },
    { RPC_INVALID_PARAMS,
      "Parameters are missing or wrong; the tool, prompt or cursor is unknown." },
    { RPC_INTERNAL,
      "A failure of the gateway or an upstream; `data.gatespan` has `kind`, one of the above, "
      "`upstream` and `retryable`." },
    { RPC_RESOURCE_NOT_FOUND, "There is no such resource (revisions before 2026-07-28)." },
    { RPC_HEADER_MISMATCH, "A header is missing or differs from the body (2026-07-28)." },
    { RPC_MISSING_CAPABILITY,
      "The request needs a capability that the client did not declare (2026-07-28)." },
    { RPC_UNSUPPORTED_VERSION, "The version is none of `data.supported` (2026-07-28)." },
};

static void write_error_kinds(struct buf *b, struct arena *a) {
    static_assert(ARRAY_SIZE(error_meanings) == ERR_CLOSED + 1, "a meaning for each kind");
    buf_str(b, S("## Kinds\n\nIn logs, metrics, REST bodies (`error`) and JSON-RPC errors "
                 "(`data.gatespan.kind`).\n\n"));
    page_table(b, "Kind|HTTP status|May be tried again|Meaning");
    for (size_t i = 0; i < ARRAY_SIZE(error_meanings); i++) {
        enum err_kind kind = (enum err_kind)i;
        PAGE_ROW(b, arena_fmt(a, "`%s`", err_word(kind)), arena_fmt(a, "%d", err_status(kind)),
                 err_retryable(kind) ? S("yes") : S("no"), str_of(error_meanings[i]));
    }
}

/* A section for each, so that a link can name it. */
static void write_refusals(struct buf *b) {
    buf_str(b, S("## Codes of the HTTP surface\n\nThe member `error` of a refusal. With `Accept: "
                 "application/problem+json` the members of RFC 9457 come beside it.\n"));
    for (size_t i = 0; i < REFUSAL_COUNT; i++)
        buf_fmt(b, "\n### %s\n\nStatus %d: %s. %s\n", refusal_rows[i].word, refusal_rows[i].status,
                refusal_rows[i].title, refusal_rows[i].meaning);
    buf_char(b, '\n');
}

static void write_errors(struct buf *b) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    write_refusals(b);
    write_error_kinds(b, &a);
    buf_str(b, S("\n## JSON-RPC codes\n\n"));
    page_table(b, "Code|Meaning");
    for (size_t i = 0; i < ARRAY_SIZE(rpc_codes); i++)
        PAGE_ROW(b, arena_fmt(&a, "%d", rpc_codes[i].code), str_of(rpc_codes[i].meaning));
    buf_str(b, S("\n## Messages that are refused\n\n"));
    page_table(b, "Code|Text");
    for (int f = ENVELOPE_NONE + 1; f <= ENVELOPE_MEMBER; f++)
        PAGE_ROW(b, arena_fmt(&a, "%d", envelope_fault_code((enum envelope_fault)f)),
                 str_of(envelope_fault_text((enum envelope_fault)f)));
}

/* ---- built-in servers -------------------- */

static const struct {
    unsigned bit;
    const char *word;
} hints[] = {
    { TOOL_READ_ONLY, "read-only" },
    { TOOL_DESTRUCTIVE, "destructive" },
    { TOOL_IDEMPOTENT, "idempotent" },
    { TOOL_OPEN_WORLD, "open world" },
};

static void write_titled(struct buf *b, struct arena *a, const char *title,
                         const struct field *rows, size_t n) {
    if (!n)
        return;
    buf_fmt(b, "%s:\n\n", title);
    write_table(b, a, "", rows, n, ALL_LEVELS);
}

static void write_tool(struct buf *b, struct arena *a, const struct tool *t) {
    buf_fmt(b, "### %s\n\n%s\n\n", t->name, t->description);
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
        if (t->hints & hints[i].bit)
            buf_fmt(b, "%s%s", n++ ? ", " : "Hints: ", hints[i].word);
    buf_str(b, n ? S(".\n\n") : S(""));
    write_titled(b, a, "Arguments", t->args, t->arg_count);
    write_titled(b, a, "Result", t->result, t->result_count);
}

static void write_servers(struct buf *b) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    buf_str(
        b,
        S("Inside the gateway their tools are called `NAME__tool`; alone (`gatespan serve --role "
          "server:NAME`) as they stand here.\n\n"));
    for (size_t i = 0; i < builtin_count; i++) {
        const struct server_ops *s = builtin_servers[i];
        buf_fmt(b, "## %s\n\n%s: %s\n\n", s->name, s->title, s->summary);
        write_titled(b, &a, "Options", s->options, s->option_count);
        const struct tool *t;
        for (size_t k = 0; (t = server_tool(s, k)); k++)
            write_tool(b, &a, t);
    }
}

/* ---- methods -------------------- */

static void write_methods(struct buf *b) {
    SCOPED(arena_scope) struct arena a;
    SCOPED(buf_done) struct buf heads = { 0 };
    arena_init(&a, NULL, 0);
    buf_str(&heads, S("Method"));
    for (int r = 0; r < REVISIONS; r++)
        buf_fmt(&heads, "|%.*s", STR(revision_text((enum revision)r)));
    buf_str(b, S("Which message exists in which revision of the protocol.\n\n"));
    page_table(b, buf_text(&heads));
    for (int m = METHOD_UNKNOWN + 1; m < METHOD_COUNT; m++) {
        struct str cells[1 + REVISIONS] = { arena_fmt(&a, "`%.*s`",
                                                      STR(method_name((enum method)m))) };
        for (int r = 0; r < REVISIONS; r++)
            cells[1 + r] = method_exists((enum method)m, (enum revision)r) ? S("yes") : S("");
        page_row(b, cells, 1 + REVISIONS);
    }
}

/* ---- all pages -------------------- */

static void write_index(struct buf *b) {
    for (size_t i = 1; i < reference_page_count; i++)
        buf_fmt(b, "- [%s](%s)\n", reference_pages[i].title, reference_pages[i].file);
}

const struct reference_page reference_pages[] = {
    { "README.md", "Reference", write_index },
    { "options.md", "Configuration options", write_options },
    { "commands.md", "Commands", write_commands },
    { "routes.md", "HTTP routes", write_routes },
    { "methods.md", "MCP methods by revision", write_methods },
    { "servers.md", "Built-in servers", write_servers },
    { "errors.md", "Errors", write_errors },
    { "metrics.md", "Metrics", write_metrics },
    { "gatespan.schema.json", "JSON Schema of the configuration", describe_schema },
};
const size_t reference_page_count = ARRAY_SIZE(reference_pages);
