/* conf_options.h - what commands that read a configuration have in common. */
#pragma once
#include "cli/cli.h"
#include "control/conf_load.h"

#define CONF_OPTIONS                                                                               \
    { "config", "FILE", "GATESPAN_CONFIG", false, "YAML or JSON; files of desktop clients work as they are" }, \
    { "set", "PATH=VALUE", NULL, true, "any option, such as limits.body=8MiB; over file and environment; may be repeated" }

/* --listen, --workers and --set, as far as the command has them, and the variables that are no
 * options of the configuration. */
void cli_overrides(struct cli *c, struct conf_overrides *out);
/* A usable configuration, or its problems on stderr and an exit code. Warnings go there too. */
int cli_conf(struct cli *c, struct str path, struct gateway_conf **out,
             struct conf_tree **out_tree);
/* serve_stdio.c: one built-in server on standard input and output. */
int cli_serve_stdio(struct cli *c, const struct conf_overrides *overrides);
