/* commands.c - every command of the program, in the order in which help lists them. */
#include "cli/cli.h"

#define COMMANDS(X)                                                                                \
    X(serve)                                                                                       \
    X(check)                                                                                       \
    X(config)                                                                                      \
    X(doctor)                                                                                      \
    X(tools)                                                                                       \
    X(call)                                                                                        \
    X(health)                                                                                      \
    X(connect)                                                                                     \
    X(keys)                                                                                        \
    X(explain)                                                                                     \
    X(top)                                                                                         \
    X(tail)                                                                                        \
    X(import)                                                                                      \
    X(export)                                                                                      \
    X(backup)                                                                                      \
    X(restore)                                                                                     \
    X(completion)                                                                                  \
    X(describe)                                                                                    \
    X(version)

#define X(name) extern const struct command command_##name;
COMMANDS(X)
#undef X

static const struct command *const all[] = {
#define X(name) &command_##name,
    COMMANDS(X)
#undef X
};

static const struct cli_option options[] = {
    { "version", NULL, NULL, false, "the same as the command version", 'V' },
};

static int run(struct cli *c) {
    if (cli_has(c, "version"))
        return command_version.run(c);
    cli_help(stderr, c);
    return EXIT_USAGE;
}

const struct command command_root = {
    .name = "gatespan", .words = "COMMAND [OPTIONS]", .options = options, .option_count = ARRAY_SIZE(options),
    .summary = "the one gateway through which every tool and every model is reached",
    .subs = all, .sub_count = ARRAY_SIZE(all), .run = run,
};
