/* import.c - `gatespan import`: servers from the files of desktop clients, or of the MCP registry,
 * into a configuration file. */
#include "cli/import.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/output.h"
#include "control/conf_file.h"
#include "gateway/conf.h"
#include <unistd.h>

enum { FILE_MOST = 4 * 1024 * 1024 };

static const struct cli_option options[] = {
    { "to", "FILE", NULL, false, "the configuration file to add them to; default gatespan.yaml; made when it is not there" },
    { "from", "DIALECT", NULL, false, "claude-desktop, cursor, vscode, windsurf, generic or server.json; default: by what is in the file", 0,
      dialect_words },
    { "secrets-to", "FILE", NULL, false, "move what looks like a secret into this environment file (NAME='value', mode 0600) and leave ${NAME}" },
    { "dry-run", NULL, NULL, false, "print the new file instead of writing it", 'n' },
    { "force", NULL, NULL, false, "replace upstreams that are there already and differ; write files anew where lines cannot be added", 'f' },
    OUTPUT_OPTION,
};

/* ---- reading -------------------------------------------------------------------------- */

static int read_text(struct cli *c, struct str path, struct str *out, bool *missing) {
    SCOPED(buf_done) struct buf text = { 0 };
    err_t e = file_read(str_eq(path, S("-")) ? S("/dev/stdin") : path, FILE_MOST, &text, missing);
    if (e)
        return cli_fail(EXIT_CONFIG, "%s", e->text);
    *out = arena_dup(&c->arena, buf_view(&text));
    return 0;
}

static enum dialect dialect_given(struct cli *c, struct str path, json root) {
    struct str word = cli_get(c, "from");
    for (int i = 0; dialect_words[i]; i++)
        if (str_eq(word, str_of(dialect_words[i])))
            return (enum dialect)i;
    return dialect_of(path, root);
}

static int read_source(struct cli *c, struct str path, enum dialect *d, struct entries *out) {
    struct conf_file *file = NULL;
    struct str text = { 0 };
    bool missing = false;
    int code = read_text(c, path, &text, &missing);
    if (code)
        return code;
    if (missing)
        return cli_fail(EXIT_CONFIG, "%.*s: there is no such file", STR(path));
    err_t e = conf_file_parse(&c->arena, path, text, &(struct conf_expand){ .raw = true }, &file);
    if (e)
        return cli_fail(EXIT_CONFIG, "%s", e->text);
    *d = dialect_given(c, path, conf_file_root(file));
    if (*d == DIALECTS)
        return cli_fail(EXIT_CONFIG,
                        "%.*s is no file of a client: it has neither mcpServers nor servers, "
                        "packages nor remotes",
                        STR(path));
    e = dialect_read(&c->arena, *d, conf_file_root(file), out);
    return e ? cli_fail(EXIT_CONFIG, "%.*s: %s", STR(path), e->text) : 0;
}

/* What a gateway would say to it, before anything is written. */
static int check(struct cli *c, struct str path, const struct entries *e) {
    for (size_t i = 0; i < e->n; i++) {
        struct upstream_conf conf = { 0 };
        struct field_problems problems = { .arena = &c->arena, .lenient = true };
        struct str at = arena_fmt(&c->arena, "server \"%.*s\"", STR(e->items[i].name));
        field_defaults(upstream_fields, upstream_field_count, &conf, &c->arena);
        field_read(upstream_fields, upstream_field_count, e->items[i].spec, at, &conf, &c->arena,
                   &problems);
        err_t wrong = field_problems_err(&problems);
        if (wrong)
            return cli_fail(EXIT_CONFIG, "%.*s: %s", STR(path), wrong->text);
        if (!conf.command.n && !conf.url.n && !conf.builtin.n)
            return cli_fail(EXIT_CONFIG, "%.*s: %.*s has neither a command nor a url", STR(path),
                            STR(at));
        for (size_t k = 0; k < i; k++)
            if (str_eq(e->items[k].name, e->items[i].name))
                return cli_fail(EXIT_CONFIG,
                                "%.*s: two servers would be called \"%.*s\"; rename one", STR(path),
                                STR(e->items[i].name));
    }
    return 0;
}

/* ---- writing -------------------------------------------------------------------------- */

/* The file itself where the name is a link to it. */
static struct str real_path(struct cli *c, struct str path) {
    SCOPED(mem_scope) char *real = realpath(arena_text(&c->arena, path), NULL);
    return real ? arena_dup(&c->arena, str_of(real)) : path;
}

static int save(struct cli *c, struct str path, struct str text) {
    err_t e = file_write(real_path(c, path), text);
    return e ? cli_fail(EXIT_FAILURE_, "%s", e->text) : 0;
}

static int save_secrets(struct cli *c, const struct secrets *s) {
    struct str path = cli_get(c, "secrets-to");
    if (!s->n)
        return 0;
    const char *line = s->taken.n && s->taken.p[s->taken.n - 1] != '\n' ? "\n" : "";
    struct str text = arena_fmt(&c->arena, "%.*s%s%.*s", STR(s->taken), line,
                                STR(buf_view(&s->lines)));
    int code = save(c, path, text);
    if (!code)
        cli_note(c, "%zu secrets are in %.*s; give them to the gateway in its environment", s->n,
                 STR(path));
    return code;
}

static void report(struct cli *c, const struct merge *m) {
    static const struct column columns[] = { { "UPSTREAM", "name" },
                                             { "", "what" },
                                             { "NOTES", "notes" } };
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_array(&w);
    for (size_t i = 0; i < m->change_count; i++) {
        jw_object(&w);
        jw_put_string(&w, "name", m->changes[i].name);
        jw_put_string(&w, "what", str_of(m->changes[i].what));
        jw_put_string(&w, "notes", m->changes[i].notes);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    output_list(c, output_document(&c->arena, &b), columns, ARRAY_SIZE(columns));
}

static int finish(struct cli *c, const struct merge *m, const struct secrets *s) {
    if (cli_has(c, "dry-run")) {
        fwrite(m->text.p, 1, m->text.n, stdout);
        for (size_t i = 0; i < m->change_count; i++)
            cli_note(c, "%.*s would be %s%s%.*s", STR(m->changes[i].name), m->changes[i].what,
                     m->changes[i].notes.n ? ": " : "", STR(m->changes[i].notes));
        return 0;
    }
    int code = save_secrets(c, s);
    if (!code && m->written)
        code = save(c, m->path, m->text);
    if (code)
        return code;
    report(c, m);
    cli_note(c, m->written ? "%.*s is written" : "%.*s has them all already", STR(m->path));
    return 0;
}

/* ---- the command ---------------------------------------------------------------------- */

static int add_file(struct cli *c, struct str path, struct merge *m, struct secrets *s) {
    struct entries e = { 0 };
    enum dialect d = DIALECTS;
    int code = read_source(c, path, &d, &e);
    if (!code)
        code = check(c, path, &e);
    if (code)
        return code;
    err_t wrong = cli_has(c, "secrets-to") ? secrets_move(s, &e) : OK;
    if (!wrong)
        wrong = merge_add(m, d, &e);
    if (!e.n)
        cli_note(c, "%.*s has no servers", STR(path));
    return wrong ? cli_fail(wrong->kind == ERR_CONFLICT ? EXIT_FAILURE_ : EXIT_CONFIG, "%s",
                            wrong->text)
                 : 0;
}

static void secrets_done(struct secrets *s) {
    buf_done(&s->lines);
}

static int run(struct cli *c) {
    struct merge m = { .arena = &c->arena, .path = cli_get(c, "to"), .force = cli_has(c, "force") };
    SCOPED(secrets_done) struct secrets s = { .arena = &c->arena };
    bool missing = false;
    if (!m.path.n)
        m.path = S("gatespan.yaml");
    int code = read_text(c, m.path, &m.text, &missing);
    if (!code && cli_has(c, "secrets-to"))
        code = read_text(c, cli_get(c, "secrets-to"), &s.taken, &missing);
    for (size_t i = 0; !code && i < c->word_count; i++)
        code = add_file(c, c->words[i], &m, &s);
    return code ? code : finish(c, &m, &s);
}

static const struct cli_example examples[] = {
    { "gatespan import ~/.config/Claude/claude_desktop_config.json", "into gatespan.yaml" },
    { "gatespan import .vscode/mcp.json ~/.cursor/mcp.json --to servers.yaml --secrets-to servers.env", "two files, secrets kept apart" },
    { "gatespan import server.json --dry-run", "look first" },
};

const struct command command_import = {
    .name = "import", .words = "FILE…", .summary = "take over servers from the files of desktop clients or the MCP registry",
    .about = "Nothing is replaced without --force, files are written whole or not at all. What a gateway has no use for "
             "is kept in x-import, so that gatespan export --config gives the same file again.",
    .options = options, .option_count = ARRAY_SIZE(options), .least_words = 1, .most_words = CLI_VALUES, .run = run,
    .examples = examples, .example_count = ARRAY_SIZE(examples),
};
