/* check.c - `gatespan check`: is this configuration usable? Starts nothing. */
#include "base/mem.h"
#include "cli/cli.h"
#include "control/conf_load.h"
#include <stdio.h>

static int run(struct cli *c) {
    SCOPED(buf_done) struct buf report = { 0 };
    struct gateway_conf *conf = NULL;
    err_t e = conf_load(&c->arena, c->words[0], NULL, &conf, &report);
    fputs(buf_text(&report), e ? stderr : stdout);
    if (e)
        return EXIT_CONFIG;
    printf("%.*s is valid: %zu upstreams, %zu profiles, %zu keys\n", STR(c->words[0]),
           conf->upstreams.n, conf->profiles.n, conf->keys.n);
    return 0;
}

const struct command command_check = {
    .name = "check", .words = "FILE", .summary = "check a configuration file without starting anything",
    .least_words = 1, .most_words = 1, .run = run,
};
