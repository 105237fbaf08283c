/* main.c - picks a command and reads its options (cli.h). */
#include "base/field.h"
#include "base/mem.h"
#include "cli/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct command *const commands[] = {
    &command_serve, &command_check, &command_tools, &command_call, &command_version, &command_describe,
};
const size_t command_count = ARRAY_SIZE(commands);

int cli_fail(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("gatespan: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return code;
}

/* ---- options ----------------------------------------------------------------------- */

struct str cli_get(const struct cli *c, const char *option) {
    for (size_t i = c->value_count; i-- > 0;)
        if (strcmp(c->values[i].option->name, option) == 0)
            return c->values[i].value;
    for (size_t i = 0; i < c->command->option_count; i++) {
        const struct cli_option *o = &c->command->options[i];
        const char *set = strcmp(o->name, option) == 0 && o->env ? getenv(o->env) : NULL;
        if (set && *set)
            return str_of(set);
    }
    return (struct str){ 0 };
}

bool cli_has(const struct cli *c, const char *option) {
    return cli_get(c, option).p != NULL;
}

void cli_all(struct cli *c, const char *option, struct str_list *out) {
    *out = (struct str_list){ .items = ARENA_ARRAY(&c->arena, struct str, c->value_count + 1) };
    for (size_t i = 0; i < c->value_count; i++)
        if (strcmp(c->values[i].option->name, option) == 0)
            out->items[out->n++] = c->values[i].value;
}

/* Children start in the data directory: its name must not depend on where one stands. */
static struct str absolute(struct cli *c, struct str path) {
    SCOPED(mem_scope) char *here = str_starts(path, S("/")) ? NULL : getcwd(NULL, 0);
    if (!here)
        return path;
    return arena_fmt(&c->arena, "%s/%.*s", here, STR(path));
}

struct str cli_data_dir(struct cli *c) {
    struct str given = cli_get(c, "data");
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (given.n)
        return absolute(c, given);
    if (xdg && *xdg)
        return arena_fmt(&c->arena, "%s/gatespan", xdg);
    return arena_fmt(&c->arena, "%s/.local/share/gatespan", home && *home ? home : "/var/lib");
}

static const struct cli_option *find_option(const struct command *command, struct str name) {
    for (size_t i = 0; i < command->option_count; i++)
        if (str_eq(str_of(command->options[i].name), name))
            return &command->options[i];
    return NULL;
}

static const char *closest_option(const struct command *command, struct str name) {
    const char *best = NULL;
    unsigned distance = 3;
    for (size_t i = 0; i < command->option_count; i++) {
        unsigned d = str_distance(name, str_of(command->options[i].name), 3);
        if (d < distance) {
            distance = d;
            best = command->options[i].name;
        }
    }
    return best;
}

/* One --option at argv[*at]; 0 or an exit code. */
static int take_option(struct cli *c, int argc, char **argv, int *at) {
    struct str text = str_of(argv[*at] + 2), name = str_cut(&text, '=');
    const struct cli_option *o = find_option(c->command, name);
    if (!o) {
        const char *closest = closest_option(c->command, name);
        return cli_fail(EXIT_USAGE, "%s has no option --%.*s%s%s%s; see gatespan %s --help",
                        c->command->name, STR(name), closest ? "; did you mean --" : "",
                        closest ? closest : "", closest ? "?" : "", c->command->name);
    }
    struct str value = text;
    if (!o->value && text.p)
        return cli_fail(EXIT_USAGE, "--%s takes no value", o->name);
    if (o->value && !text.p) {
        if (*at + 1 == argc)
            return cli_fail(EXIT_USAGE, "--%s needs a value: %s", o->name, o->value);
        value = str_of(argv[++*at]);
    }
    if (!o->value)
        value = S("true");
    if (c->value_count == CLI_VALUES)
        return cli_fail(EXIT_USAGE, "more than %d options", CLI_VALUES);
    c->values[c->value_count].option = o;
    c->values[c->value_count++].value = value;
    return 0;
}

static int read_words(struct cli *c, int argc, char **argv) {
    bool options = true;
    for (int i = 2; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
            continue;
        }
        if (options && strncmp(argv[i], "--", 2) == 0) {
            int code = take_option(c, argc, argv, &i);
            if (code)
                return code;
            continue;
        }
        if (c->word_count == CLI_VALUES)
            return cli_fail(EXIT_USAGE, "more than %d arguments", CLI_VALUES);
        c->words[c->word_count++] = str_of(argv[i]);
    }
    if (c->word_count < c->command->least_words || c->word_count > c->command->most_words)
        return cli_fail(EXIT_USAGE, "usage: gatespan %s %s", c->command->name, c->command->words);
    return 0;
}

/* ---- help -------------------------------------------------------------------------- */

static void print_commands(FILE *out) {
    fputs("usage: gatespan COMMAND [OPTIONS]\n\n"
          "The one gateway through which every tool and every model is reached.\n\ncommands:\n",
          out);
    for (size_t i = 0; i < command_count; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\ngatespan COMMAND --help tells more.\n", out);
}

static void print_command(const struct command *c) {
    printf("usage: gatespan %s %s\n\n%s\n", c->name, c->words, c->summary);
    if (c->option_count)
        puts("\noptions:");
    for (size_t i = 0; i < c->option_count; i++) {
        const struct cli_option *o = &c->options[i];
        char left[64];
        snprintf(left, sizeof left, "--%s %s", o->name, o->value ? o->value : "");
        printf("  %-24s %s%s%s%s\n", left, o->help, o->env ? " (" : "", o->env ? o->env : "",
               o->env ? ")" : "");
    }
}

static const struct command *find_command(struct str name) {
    for (size_t i = 0; i < command_count; i++)
        if (str_eq(str_of(commands[i]->name), name))
            return commands[i];
    return NULL;
}

static bool asks_help(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return argc > 1 && strcmp(argv[1], "help") == 0;
}

static int no_command(int argc, char **argv) {
    if (argc > 1 && !asks_help(argc, argv)) {
        cli_fail(EXIT_USAGE, "there is no command \"%s\"", argv[1]);
        print_commands(stderr);
        return EXIT_USAGE;
    }
    print_commands(argc > 1 ? stdout : stderr);
    return argc > 1 ? 0 : EXIT_USAGE;
}

int main(int argc, char **argv) {
    struct cli c = { .command = argc > 1 ? find_command(str_of(argv[1])) : NULL };
    if (!c.command && argc > 1 && strcmp(argv[1], "--version") == 0)
        c.command = &command_version;
    if (!c.command)
        return no_command(argc, argv);
    if (asks_help(argc, argv)) {
        print_command(c.command);
        return 0;
    }
    arena_init(&c.arena, NULL, 0);
    int code = read_words(&c, argc, argv);
    if (!code)
        code = c.command->run(&c);
    arena_done(&c.arena);
    return code;
}
