/* serve.c - `gatespan serve`: the gateway, or one role of it. */
#include "cli/cli.h"
#include "cli/conf_options.h"
#include "control/control.h"
#include "servers/server.h"
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const struct cli_option options[] = {
    { "config", "FILE", "GATESPAN_CONFIG", false, "YAML or JSON; files of desktop clients work as they are" },
    { "data", "DIR", "GATESPAN_DATA", false, "where keys and the last known catalogue live" },
    { "listen", "ADDR:PORT", NULL, true, "instead of the configuration's `listen`; may be repeated" },
    { "workers", "N", NULL, false, "worker threads; 0: one per processor" },
    { "set", "PATH=VALUE", NULL, true, "any option, such as limits.body=8MiB; over file and environment; may be repeated" },
    { "role", "ROLE", NULL, false, "gateway (default), or server:NAME for one built-in server alone" },
    { "stdio", NULL, NULL, false, "with --role server:NAME: speak MCP over standard input and output" },
};

static int read_role(struct cli *c, struct conf_overrides *o) {
    struct str role = cli_get(c, "role");
    if (!role.p || str_eq(role, S("gateway")))
        return 0;
    if (!str_starts(role, S("server:")))
        return cli_fail(EXIT_USAGE, "--role %.*s: roles are gateway and server:NAME", STR(role));
    struct str name = str_skip(role, 7);
    if (!builtin_find(name)) {
        cli_fail(EXIT_USAGE,
                 "--role %.*s: there is no such built-in server; there are:", STR(role));
        for (size_t i = 0; i < builtin_count; i++)
            fprintf(stderr, "  server:%-16s %s\n", builtin_servers[i]->name,
                    builtin_servers[i]->summary);
        return EXIT_USAGE;
    }
    o->role_builtin = name;
    return 0;
}

static int code_of(enum err_kind kind) {
    return kind == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILURE_;
}

static int serve_http(const struct control_options *options, struct warden *warden) {
    struct control *control = NULL;
    err_t e = control_open(options, warden, &control);
    if (!e)
        e = control_run(control);
    int code = 0;
    if (e)
        code = cli_fail(code_of(e->kind), "%s", e->text);
    control_free(control);
    return code;
}

/* Large messages come and go all the time: memory that glibc gives back to the kernel after
 * each has to be cleared and mapped again for the next (a fifth of a 1 MiB call, measured). */
static void keep_large_blocks(void) {
    mallopt(M_MMAP_THRESHOLD, 16 * 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 32 * 1024 * 1024);
}

static int run(struct cli *c) {
    struct control_options o = { .config = cli_get(c, "config"), .data = cli_data_dir(c) };
    const char *admin = getenv("GATESPAN_ADMIN_KEY");
    cli_overrides(c, &o.overrides);
    int code = read_role(c, &o.overrides);
    if (code)
        return code;
    if (cli_has(c, "stdio"))
        return cli_serve_stdio(c, &o.overrides);
    o.admin_key = admin ? str_of(admin) : S("");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file too large is an error of the write */
    keep_large_blocks();
    struct warden *warden = NULL;
    err_t e = warden_start(arena_text(&c->arena, o.data), &warden);
    if (e)
        return cli_fail(EXIT_FAILURE_, "%s", e->text);
    unsetenv("GATESPAN_ADMIN_KEY"); /* not for children to see */
    code = serve_http(&o, warden);
    warden_stop(warden, 3 * NANOS_SEC);
    warden_free(warden);
    return code;
}

const struct command command_serve = {
    .name = "serve", .words = "[OPTIONS]", .summary = "start the gateway", .options = options,
    .option_count = ARRAY_SIZE(options), .run = run,
};
