/* cli.h - the command line as tables: a command is one row, an option is one row; parser,
 * help and reference pages read them.
 *
 * Exit codes: 0, 1 failure, 2 usage, 3 configuration, 4 credentials, 5 upstream, 130 interrupted.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

enum {
    EXIT_FAILURE_ = 1,
    EXIT_USAGE = 2,
    EXIT_CONFIG = 3,
    EXIT_CREDENTIALS = 4,
    EXIT_UPSTREAM = 5
};

struct cli_option {
    const char *name;  /* "config": --config */
    const char *value; /* "FILE"; NULL: a switch */
    const char *env;   /* variable that stands in for it; NULL: none */
    bool many;         /* may be given more than once */
    const char *help;
};

enum { CLI_VALUES = 64 };

struct cli {
    struct arena arena;
    const struct command *command;
    struct {
        const struct cli_option *option;
        struct str value;
    } values[CLI_VALUES];
    size_t value_count;
    struct str words[CLI_VALUES]; /* what is no option */
    size_t word_count;
};

struct command {
    const char *name;
    const char *words; /* "NAME [KEY=VALUE…]", shown behind the name */
    const char *summary;
    const struct cli_option *options;
    size_t option_count;
    size_t least_words, most_words;
    int (*run)(struct cli *c);
};
extern const struct command *const commands[];
extern const size_t command_count;

/* p == NULL when neither given nor in its environment variable. */
struct str cli_get(const struct cli *c, const char *option);
bool cli_has(const struct cli *c, const char *option);
struct str_list;
void cli_all(struct cli *c, const char *option, struct str_list *out);
/* "gatespan: …" on stderr; returns `code`. */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The data directory: --data, GATESPAN_DATA, $XDG_DATA_HOME/gatespan, ~/.local/share/gatespan. */
struct str cli_data_dir(struct cli *c);
/* serve_stdio.c: one built-in server on standard input and output. */
int cli_serve_stdio(struct cli *c, struct str builtin);

extern const struct command command_serve, command_check, command_tools, command_call,
    command_version, command_describe;
