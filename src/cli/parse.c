/* parse.c - reads a command line by its tables (cli.h). */
#include "base/clock.h"
#include "base/field.h"
#include "cli/cli.h"
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const color_words[] = { "auto", "always", "never", NULL };

const struct cli_option cli_common[] = {
    { "help", NULL, NULL, false, "say what the command does and takes", 'h' },
    { "quiet", NULL, NULL, false, "no notes and no progress on standard error", 'q' },
    { "color", "WHEN", NULL, false, "auto (default: on a terminal, unless NO_COLOR is set), always, never", 0, color_words },
};
const size_t cli_common_count = ARRAY_SIZE(cli_common);

const struct cli_exit cli_exits[] = {
    { 0, "success" },
    { EXIT_FAILURE_, "failure; of `call`: the tool says that it failed" },
    { EXIT_USAGE, "wrong usage" },
    { EXIT_CONFIG, "the configuration is not usable" },
    { EXIT_CREDENTIALS, "no key, or one that may not" },
    { EXIT_UPSTREAM, "the gateway or an upstream does not answer" },
    { EXIT_INTERRUPTED, "interrupted" },
};
const size_t cli_exit_count = ARRAY_SIZE(cli_exits);

/* ---- saying -------------------------------------------------------------------------- */

static void say(const char *format, va_list args) {
    fputs("gatespan: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int cli_fail(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return code;
}

void cli_note(const struct cli *c, const char *format, ...) {
    va_list args;
    if (cli_has(c, "quiet"))
        return;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

bool cli_color(const struct cli *c, FILE *out) {
    struct str when = cli_get(c, "color");
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    if (str_eq(when, S("always")) || str_eq(when, S("never")))
        return str_eq(when, S("always"));
    if ((none && *none) || (terminal && strcmp(terminal, "dumb") == 0))
        return false;
    return isatty(fileno(out)) == 1;
}

/* ---- values -------------------------------------------------------------------------- */

struct str cli_get(const struct cli *c, const char *option) {
    for (size_t i = c->value_count; i-- > 0;)
        if (strcmp(c->values[i].option->name, option) == 0)
            return c->values[i].value;
    for (size_t i = 0; c->command && i < c->command->option_count; i++) {
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

int cli_duration(struct cli *c, const char *option, int64_t fallback, int64_t *out) {
    struct str text = cli_get(c, option);
    *out = fallback;
    if (text.p && (!clock_parse_duration(text, out) || *out <= 0))
        return cli_fail(EXIT_USAGE, "--%s %.*s: a duration is needed, such as 30s or 5m", option,
                        STR(text));
    return 0;
}

/* ---- options ------------------------------------------------------------------------- */

/* By name, or by letter where `name` is empty. */
static const struct cli_option *find_in(const struct cli_option *all, size_t n, struct str name,
                                        char letter) {
    for (size_t i = 0; i < n; i++)
        if (name.n ? str_eq(str_of(all[i].name), name) : all[i].letter == letter)
            return &all[i];
    return NULL;
}

static const struct cli_option *find_option(const struct command *command, struct str name,
                                            char letter) {
    const struct cli_option *o = find_in(command->options, command->option_count, name, letter);
    return o ? o : find_in(cli_common, cli_common_count, name, letter);
}

static void closer(const char *name, struct str wanted, const char **best, unsigned *distance) {
    unsigned d = str_distance(wanted, str_of(name), 3);
    if (d < *distance) {
        *distance = d;
        *best = name;
    }
}

static const char *closest_option(const struct command *command, struct str name) {
    const char *best = NULL;
    unsigned distance = 3;
    for (size_t i = 0; i < command->option_count; i++)
        closer(command->options[i].name, name, &best, &distance);
    for (size_t i = 0; i < cli_common_count; i++)
        closer(cli_common[i].name, name, &best, &distance);
    return best;
}

static const char *space(const struct cli *c) {
    return c->path[0] ? " " : "";
}

static int unknown_option(const struct cli *c, struct str name) {
    const char *closest = closest_option(c->command, name);
    return cli_fail(EXIT_USAGE, "gatespan%s%s has no option --%.*s%s%s%s; see gatespan%s%s --help",
                    space(c), c->path, STR(name), closest ? "; did you mean --" : "",
                    closest ? closest : "", closest ? "?" : "", space(c), c->path);
}

static int check_choice(const struct cli_option *o, struct str value) {
    char all[256];
    size_t n = 0;
    for (const char *const *word = o->choices; word && *word; word++) {
        if (str_eq(str_of(*word), value))
            return 0;
        if (n < sizeof all)
            n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", *word);
    }
    return o->choices ? cli_fail(EXIT_USAGE, "--%s %.*s: one of %s", o->name, STR(value), all) : 0;
}

static int keep(struct cli *c, const struct cli_option *o, struct str value) {
    if (c->value_count == CLI_VALUES)
        return cli_fail(EXIT_USAGE, "more than %d options", CLI_VALUES);
    int code = check_choice(o, value);
    if (code)
        return code;
    c->values[c->value_count].option = o;
    c->values[c->value_count++].value = value;
    return 0;
}

/* --name, --name VALUE or --name=VALUE at argv[*at]. */
static int take_long(struct cli *c, int argc, char **argv, int *at) {
    struct str value = str_of(argv[*at] + 2), name = str_cut(&value, '=');
    const struct cli_option *o = name.n ? find_option(c->command, name, 0) : NULL;
    if (!o)
        return unknown_option(c, name);
    if (!o->value)
        return value.p ? cli_fail(EXIT_USAGE, "--%s takes no value", o->name)
                       : keep(c, o, S("true"));
    if (!value.p && *at + 1 == argc)
        return cli_fail(EXIT_USAGE, "--%s needs a value: %s", o->name, o->value);
    return keep(c, o, value.p ? value : str_of(argv[++*at]));
}

/* -qv, -o VALUE or -oVALUE at argv[*at]. */
static int take_short(struct cli *c, int argc, char **argv, int *at) {
    for (const char *p = argv[*at] + 1; *p; p++) {
        const struct cli_option *o = find_option(c->command, S(""), *p);
        if (!o)
            return cli_fail(EXIT_USAGE, "gatespan%s%s has no option -%c; see gatespan%s%s --help",
                            space(c), c->path, *p, space(c), c->path);
        if (o->value && !p[1] && *at + 1 == argc)
            return cli_fail(EXIT_USAGE, "-%c needs a value: %s", *p, o->value);
        if (o->value)
            return keep(c, o, str_of(p[1] ? p + 1 : argv[++*at]));
        int code = keep(c, o, S("true"));
        if (code)
            return code;
    }
    return 0;
}

/* ---- words --------------------------------------------------------------------------- */

static const struct command *find_sub(const struct command *command, struct str name) {
    for (size_t i = 0; i < command->sub_count; i++)
        if (str_eq(str_of(command->subs[i]->name), name))
            return command->subs[i];
    return NULL;
}

static int unknown_command(const struct cli *c, struct str name) {
    const char *closest = NULL;
    unsigned distance = 3;
    for (size_t i = 0; i < c->command->sub_count; i++)
        closer(c->command->subs[i]->name, name, &closest, &distance);
    return cli_fail(EXIT_USAGE,
                    "there is no command \"%s%s%.*s\"%s%s%s; gatespan%s%s --help lists them",
                    c->path, space(c), STR(name), closest ? "; did you mean " : "",
                    closest ? closest : "", closest ? "?" : "", space(c), c->path);
}

static int descend(struct cli *c, struct str name) {
    const struct command *sub = find_sub(c->command, name);
    if (!sub)
        return unknown_command(c, name);
    size_t n = strlen(c->path);
    snprintf(c->path + n, sizeof c->path - n, "%s%s", n ? " " : "", sub->name);
    c->command = sub;
    return 0;
}

static int take_word(struct cli *c, struct str word) {
    if (c->command->sub_count)
        return descend(c, word);
    if (c->word_count == CLI_VALUES)
        return cli_fail(EXIT_USAGE, "more than %d arguments", CLI_VALUES);
    c->words[c->word_count++] = word;
    return 0;
}

/* Help is an answer to everything, mistakes in the rest of the line too. */
static bool asks_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return argc > 1 && strcmp(argv[1], "help") == 0;
}

static int parse_help(struct cli *c, int argc, char **argv) {
    bool word = strcmp(argv[1], "help") == 0;
    c->help = true;
    for (int i = word ? 2 : 1; i < argc && c->command->sub_count; i++) {
        int code = argv[i][0] == '-' ? 0 : descend(c, str_of(argv[i]));
        if (code)
            return code;
    }
    return 0;
}

static int check_words(const struct cli *c) {
    const struct command *command = c->command;
    if (!command->run)
        return cli_fail(EXIT_USAGE, "gatespan%s%s needs a command; gatespan%s%s --help lists them",
                        space(c), c->path, space(c), c->path);
    if (c->word_count < command->least_words || c->word_count > command->most_words)
        return cli_fail(EXIT_USAGE, "usage: gatespan %s %s", c->path, command->words);
    return 0;
}

int cli_parse(struct cli *c, const struct command *root, int argc, char **argv) {
    bool options = true;
    int code = 0;
    c->command = root;
    if (asks_help(argc, argv))
        return parse_help(c, argc, argv);
    for (int i = 1; !code && i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && strncmp(argv[i], "--", 2) == 0)
            code = take_long(c, argc, argv, &i);
        else if (options && argv[i][0] == '-' && argv[i][1])
            code = take_short(c, argc, argv, &i);
        else
            code = take_word(c, str_of(argv[i]));
    }
    return code ? code : check_words(c);
}
