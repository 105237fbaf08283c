/* cli.h - the command line as tables: a command is one row, an option is one row. Parser, help,
 * completions, man pages and reference read them, so nothing about a command stands twice.
 *
 * Exit codes: 0, 1 failure, 2 usage, 3 configuration, 4 credentials, 5 upstream, 130 interrupted.
 *
 * Standard output carries what was asked for and nothing else; whatever is said beside it, notes
 * and progress too, goes to standard error.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include <stdio.h>

enum {
    EXIT_FAILURE_ = 1,
    EXIT_USAGE = 2,
    EXIT_CONFIG = 3,
    EXIT_CREDENTIALS = 4,
    EXIT_UPSTREAM = 5,
    EXIT_INTERRUPTED = 130
};

struct cli_exit {
    int code;
    const char *meaning;
};
extern const struct cli_exit cli_exits[];
extern const size_t cli_exit_count;

struct cli_option {
    const char *name;  /* "config": --config */
    const char *value; /* "FILE"; NULL: a switch. With FILE or DIR in it shells complete paths */
    const char *env;   /* variable that stands in for it; NULL: none */
    bool many;         /* may be given more than once */
    const char *help;
    char letter;       /* 'o': -o as well; 0: none */
    const char *const *choices; /* the values there are, NULL-terminated; NULL: any */
};

struct cli_example {
    const char *line, *what;
};

enum { CLI_VALUES = 256, CLI_PATH = 64 };

struct cli;
struct command {
    const char *name;
    const char *words; /* "NAME [KEY=VALUE…]", shown behind the name */
    const char *summary; /* one line, no full stop */
    const struct cli_option *options;
    size_t option_count;
    size_t least_words, most_words;
    int (*run)(struct cli *c);       /* NULL: `subs` are what there is */
    const struct command *const *subs;
    size_t sub_count;
    const char *about;               /* more than the summary says; NULL: nothing */
    const struct cli_example *examples;
    size_t example_count;
};
/* Every command; its subs are those of the program. */
extern const struct command command_root;
/* The options that every command has. */
extern const struct cli_option cli_common[];
extern const size_t cli_common_count;

struct cli {
    struct arena arena;
    const struct command *command;
    char path[CLI_PATH]; /* "keys make" */
    bool help;           /* is all that was asked for */
    struct {
        const struct cli_option *option;
        struct str value;
    } values[CLI_VALUES];
    size_t value_count;
    struct str words[CLI_VALUES]; /* what is no option */
    size_t word_count;
};

/* 0 or EXIT_USAGE, said on stderr. The arena must be ready; slices are of argv. */
int cli_parse(struct cli *c, const struct command *root, int argc, char **argv);
void cli_help(FILE *out, const struct cli *c);
/* "-o, --output FORMAT" into `out`. */
void cli_option_text(char *out, size_t size, const struct cli_option *o);

/* p == NULL when neither given nor in its environment variable. */
struct str cli_get(const struct cli *c, const char *option);
bool cli_has(const struct cli *c, const char *option);
struct str_list;
void cli_all(struct cli *c, const char *option, struct str_list *out);
/* A duration option, `fallback` when it is not there; 0 or EXIT_USAGE. */
int cli_duration(struct cli *c, const char *option, int64_t fallback, int64_t *out);

/* "gatespan: …" on stderr; returns `code`. */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for what went right or is only remarkable; silent with --quiet. */
void cli_note(const struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether to colour what goes there: --color, else NO_COLOR, else whether it is a terminal. */
bool cli_color(const struct cli *c, FILE *out);

/* The data directory: --data, GATESPAN_DATA, $XDG_DATA_HOME/gatespan, ~/.local/share/gatespan. */
struct str cli_data_dir(struct cli *c);
