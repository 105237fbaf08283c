/* help.c - what --help prints (cli.h). */
#include "cli/cli.h"

enum { COLUMN = 27 };

void cli_option_text(char *out, size_t size, const struct cli_option *o) {
    char letter[6] = "";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(out, size, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
             o->value ? o->value : "");
}

static void print_options(FILE *out, const char *title, const struct cli_option *all, size_t n) {
    if (n)
        fprintf(out, "\n%s:\n", title);
    for (size_t i = 0; i < n; i++) {
        const struct cli_option *o = &all[i];
        char left[96];
        cli_option_text(left, sizeof left, o);
        int gap = (int)strlen(left) > COLUMN ? 0 : COLUMN;
        fprintf(out, "  %-*s%s %s%s%s%s\n", gap, left, gap ? "" : "\n                            ",
                o->help, o->env ? " (" : "", o->env ? o->env : "", o->env ? ")" : "");
    }
}

static void print_commands(FILE *out, const struct command *c) {
    if (c->sub_count)
        fputs("\ncommands:\n", out);
    for (size_t i = 0; i < c->sub_count; i++)
        fprintf(out, "  %-11s %s\n", c->subs[i]->name, c->subs[i]->summary);
}

static void print_examples(FILE *out, const struct command *c) {
    if (c->example_count)
        fputs("\nexamples:\n", out);
    for (size_t i = 0; i < c->example_count; i++)
        fprintf(out, "  %s\n      %s\n", c->examples[i].line, c->examples[i].what);
}

void cli_help(FILE *out, const struct cli *c) {
    const struct command *command = c->command;
    const char *space = c->path[0] ? " " : "";
    fprintf(out, "usage: gatespan%s%s %s\n\n%s.\n", space, c->path,
            command->sub_count ? "COMMAND [OPTIONS]" : command->words, command->summary);
    if (command->about)
        fprintf(out, "\n%s\n", command->about);
    print_commands(out, command);
    print_options(out, "options", command->options, command->option_count);
    print_options(out, "common options", cli_common, cli_common_count);
    print_examples(out, command);
    if (command->sub_count)
        fprintf(out, "\ngatespan%s%s COMMAND --help tells more.\n", space, c->path);
}
