/* describe_man.c - the manual pages as scdoc sources, from the same tables as everything else:
 * gatespan(1) has every command, gatespan.yaml(5) every option of the file. The build makes man
 * pages of them where scdoc is installed. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/describe.h"
#include "gateway/conf.h"

/* Every mark of scdoc, escaped; lines may begin with it. */
static void put_text(struct buf *b, const char *text) {
    for (; *text; text++) {
        if (strchr("\\*_#|[]<>.-~", *text))
            buf_char(b, '\\');
        buf_char(b, *text);
    }
}

static void put_str(struct buf *b, struct str s) {
    SCOPED(buf_done) struct buf text = { 0 };
    buf_str(&text, s);
    put_text(b, buf_text(&text));
}

static void put_title(struct buf *b, const char *name, int section) {
    buf_fmt(b, "%s(%d) \"gatespan " GATESPAN_VERSION "\" \"Gatespan\"\n\n", name, section);
}

/* ---- gatespan(1) --------------------------------------------------------------------- */

static void put_option(struct buf *b, const struct cli_option *o) {
    buf_char(b, '*');
    if (o->letter)
        buf_fmt(b, "\\-%c, ", o->letter);
    put_text(b, "--");
    put_text(b, o->name);
    buf_char(b, '*');
    if (o->value) {
        buf_char(b, ' ');
        put_text(b, o->value);
    }
    buf_str(b, S("\n\t"));
    put_text(b, o->help);
    if (o->env) {
        buf_str(b, S(" ("));
        put_text(b, o->env);
        buf_char(b, ')');
    }
    buf_str(b, o->many ? S("; may be repeated\n\n") : S("\n\n"));
}

static void put_examples(struct buf *b, const struct command *c) {
    for (size_t i = 0; i < c->example_count; i++) {
        put_text(b, c->examples[i].what);
        buf_fmt(b, ":\n\n```\n%s\n```\n\n", c->examples[i].line);
    }
}

static void put_command(struct buf *b, const char *path, const struct command *c) {
    if (*path) {
        buf_fmt(b, "## gatespan %s\n\n*gatespan %s* ", path, path);
        put_text(b, c->sub_count ? "COMMAND" : c->words);
        buf_str(b, S("\n\n"));
        put_text(b, c->summary);
        buf_str(b, S("\\.\n\n"));
        if (c->about) {
            put_text(b, c->about);
            buf_str(b, S("\n\n"));
        }
        for (size_t i = 0; i < c->option_count; i++)
            put_option(b, &c->options[i]);
        put_examples(b, c);
    }
    for (size_t i = 0; i < c->sub_count; i++) {
        char below[CLI_PATH];
        snprintf(below, sizeof below, "%s%s%s", path, *path ? " " : "", c->subs[i]->name);
        put_command(b, below, c->subs[i]);
    }
}

static void put_variables(struct buf *b, const struct command *c) {
    for (size_t i = 0; i < c->option_count; i++)
        if (c->options[i].env && str_find(buf_view(b), str_of(c->options[i].env)) < 0)
            buf_fmt(b, "%s\n", c->options[i].env);
    for (size_t i = 0; i < c->sub_count; i++)
        put_variables(b, c->subs[i]);
}

static void put_environment(struct buf *b) {
    SCOPED(buf_done) struct buf names = { 0 };
    put_variables(&names, &command_root);
    buf_str(b, S("# ENVIRONMENT\n\nEach of these stands in for the option of the same meaning: "));
    struct str rest = buf_view(&names);
    for (size_t n = 0; rest.n; n++) {
        buf_str(b, n ? S(", ") : S(""));
        put_str(b, str_cut(&rest, '\n'));
    }
    buf_str(b, S("\\.\n\n*NO\\_COLOR*\n\tno colours, whatever its value, unless *\\-\\-color* says "
                 "otherwise\n\n"));
}

static void put_exits(struct buf *b) {
    buf_str(b, S("# EXIT STATUS\n\n"));
    for (size_t i = 0; i < cli_exit_count; i++) {
        buf_fmt(b, "*%d*\n\t", cli_exits[i].code);
        put_text(b, cli_exits[i].meaning);
        buf_str(b, S("\n\n"));
    }
}

static void write_program(struct buf *b) {
    put_title(b, "gatespan", 1);
    buf_str(b, S("# NAME\n\ngatespan - "));
    put_text(b, command_root.summary);
    buf_str(b, S("\n\n# SYNOPSIS\n\n*gatespan* COMMAND \\[OPTIONS\\]\n\n# DESCRIPTION\n\n"
                 "Gatespan stands between AI clients and the MCP servers that they use, behind one "
                 "URL and one key\\.\n\n# COMMON OPTIONS\n\n"));
    for (size_t i = 0; i < cli_common_count; i++)
        put_option(b, &cli_common[i]);
    buf_str(b, S("# COMMANDS\n\n"));
    put_command(b, "", &command_root);
    put_environment(b);
    put_exits(b);
    buf_str(b, S("# SEE ALSO\n\n*gatespan\\.yaml*(5)\n"));
}

/* ---- gatespan.yaml(5) ---------------------------------------------------------------- */

static void put_row(struct buf *b, struct arena *a, const char *path, const struct field *row) {
    buf_char(b, '*');
    put_text(b, path);
    put_text(b, row->name);
    buf_str(b, S("*"));
    if (row->fallback) {
        buf_str(b, S(" (default "));
        put_text(b, row->fallback);
        buf_char(b, ')');
    }
    buf_str(b, S("\n\t"));
    put_text(b, row->help);
    buf_str(b, S(" "));
    put_str(b, field_allowed(row, a));
    buf_str(b, S("\\.\n\n"));
}

static void put_rows(struct buf *b, struct arena *a, const char *path, const struct field *rows,
                     size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct field *row = &rows[i];
        if (row->flags & FIELD_HIDDEN)
            continue;
        put_row(b, a, path, row);
        bool nested = row->type == FIELD_OBJECT || row->type == FIELD_MAP ||
                      row->type == FIELD_LIST;
        const char *step = row->type == FIELD_MAP    ? ".NAME."
                           : row->type == FIELD_LIST ? "[]."
                                                     : ".";
        if (nested)
            put_rows(b, a, arena_text(a, arena_fmt(a, "%s%s%s", path, row->name, step)),
                     row->fields, row->count);
    }
}

static void write_file_page(struct buf *b) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    put_title(b, "gatespan.yaml", 5);
    buf_str(b, S("# NAME\n\ngatespan.yaml - the configuration file of gatespan\n\n# DESCRIPTION\n\n"
                 "YAML or JSON\\. Values expand *${NAME}*, *${NAME:\\-default}* and "
                 "*${file:/path}*\\.\n\n# OPTIONS\n\n"));
    put_rows(b, &a, "", gateway_fields, gateway_field_count);
    buf_str(b, S("# SEE ALSO\n\n*gatespan*(1)\n"));
}

const struct reference_page manual_pages[] = {
    { "gatespan.1.scd", NULL, write_program },
    { "gatespan.yaml.5.scd", NULL, write_file_page },
};
const size_t manual_page_count = ARRAY_SIZE(manual_pages);
