/* main.c - picks a command (cli.h). */
#include "cli/cli.h"
#include <stdlib.h>
#include <unistd.h>

/* Children start in the data directory: its name must not depend on where one stands. */
static struct str absolute(struct cli *c, struct str path) {
    char *here = str_starts(path, S("/")) ? NULL : getcwd(NULL, 0);
    if (!here)
        return path;
    struct str whole = arena_fmt(&c->arena, "%s/%.*s", here, STR(path));
    free(here);
    return whole;
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

/* Full disks and closed pipes: what was printed must have arrived. */
static int finish_output(int code) {
    bool ok = fflush(stdout) == 0 && !ferror(stdout);
    return ok || code ? code : cli_fail(EXIT_FAILURE_, "writing the output failed");
}

static int run(struct cli *c, int argc, char **argv) {
    int code = cli_parse(c, &command_root, argc, argv);
    if (code || !c->help)
        return code ? code : c->command->run(c);
    cli_help(stdout, c);
    return 0;
}

int main(int argc, char **argv) {
    static struct cli c; /* large */
    arena_init(&c.arena, NULL, 0);
    int code = finish_output(run(&c, argc, argv));
    arena_done(&c.arena);
    return code;
}
