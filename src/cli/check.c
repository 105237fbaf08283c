/* check.c - `gatespan check`: is this configuration usable? Starts nothing. */
#include "cli/conf_options.h"
#include <stdio.h>

static const struct cli_option options[] = {
    CONF_OPTIONS,
    { "listen", "ADDR:PORT", NULL, true, "as of serve" },
    { "workers", "N", NULL, false, "as of serve" },
};

static int run(struct cli *c) {
    struct str path = c->word_count ? c->words[0] : cli_get(c, "config");
    struct gateway_conf *conf = NULL;
    int code = cli_conf(c, path, &conf, NULL);
    if (code)
        return code;
    struct str what = path.n ? path : S("the configuration");
    printf("%.*s is valid: %zu upstreams, %zu profiles, %zu keys\n", STR(what), conf->upstreams.n,
           conf->profiles.n, conf->keys.n);
    return 0;
}

const struct command command_check = {
    .name = "check", .words = "[FILE]", .options = options, .option_count = ARRAY_SIZE(options),
    .summary = "check a configuration, environment and command line included, without starting anything",
    .most_words = 1, .run = run,
};
