/* commands.c - every command of the program, in the order in which help lists them. */
#include "cli/cli.h"

extern const struct command command_serve, command_check, command_config, command_tools,
    command_call, command_completion, command_describe, command_version;

static const struct command *const all[] = {
    &command_serve, &command_check, &command_config, &command_tools, &command_call,
    &command_completion, &command_describe, &command_version,
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
