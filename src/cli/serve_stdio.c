/* serve_stdio.c - `gatespan serve --role server:NAME --stdio`: one built-in server for the
 * program that started us. Standard output carries messages only; the log goes to stderr. */
#include "cli/cli.h"
#include "cli/conf_options.h"
#include "control/control.h"
#include <signal.h>

static int serve(const struct control_options *options) {
    struct control *control = NULL;
    err_t e = control_open(options, NULL, &control);
    if (!e)
        e = control_run(control);
    int code = e ? cli_fail(e->kind == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILURE_, "%s", e->text)
                 : 0;
    control_free(control);
    return code;
}

int cli_serve_stdio(struct cli *c, const struct conf_overrides *overrides) {
    if (!overrides->role_builtin.n)
        return cli_fail(EXIT_USAGE, "--stdio needs --role server:NAME");
    if (cli_has(c, "listen"))
        return cli_fail(EXIT_USAGE, "--stdio listens nowhere: leave out --listen");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file too large is an error of the write */
    struct control_options o = { .config = cli_get(c, "config"), .stdio = true, .quiet = true };
    o.overrides = *overrides;
    o.overrides.one_worker = true;
    return serve(&o);
}
