/* serve.c - `gatespan serve`: the gateway, or one role of it. */
#include "cli/cli.h"
#include "control/control.h"
#include "servers/server.h"
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const struct cli_option options[] = {
    { "config", "FILE", "GATESPAN_CONFIG", false, "YAML or JSON; files of desktop clients work as they are" },
    { "data", "DIR", "GATESPAN_DATA", false, "where keys and the last known catalogue live" },
    { "listen", "ADDR:PORT", NULL, true, "instead of the file's `listen`; may be repeated" },
    { "workers", "N", "GATESPAN_WORKERS", false, "worker threads; 0: one per processor" },
    { "role", "ROLE", NULL, false, "gateway (default), or server:NAME for one built-in server alone" },
    { "stdio", NULL, NULL, false, "with --role server:NAME: speak MCP over standard input and output" },
};

/* server:NAME and the port that DESIGN gives it. */
static const struct {
    const char *name;
    const char *listen;
} role_ports[] = {
    { "filesystem", "127.0.0.1:8501" },     { "database", "127.0.0.1:8502" },
    { "vectorstore", "127.0.0.1:8503" },    { "memory", "127.0.0.1:8504" },
    { "search", "127.0.0.1:8505" },         { "aiml", "127.0.0.1:8506" },
    { "sandbox", "127.0.0.1:8507" },        { "time", "127.0.0.1:8508" },
    { "classification", "127.0.0.1:8509" }, { "quality", "127.0.0.1:8510" },
};

static struct str port_of_role(struct str name) {
    for (size_t i = 0; i < ARRAY_SIZE(role_ports); i++)
        if (str_eq(str_of(role_ports[i].name), name))
            return str_of(role_ports[i].listen);
    return S("127.0.0.1:8000");
}

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
    if (!o->listen.n) {
        struct str *own = ARENA_NEW(&c->arena, struct str);
        *own = port_of_role(name);
        o->listen = (struct str_list){ own, 1 };
    }
    return 0;
}

static int read_overrides(struct cli *c, struct conf_overrides *o) {
    uint64_t workers = 0;
    struct str text = cli_get(c, "workers");
    o->workers = -1;
    cli_all(c, "listen", &o->listen);
    if (text.p && (!str_to_u64(text, &workers) || workers > 256))
        return cli_fail(EXIT_USAGE, "--workers %.*s: a number from 0 to 256 is needed", STR(text));
    if (text.p)
        o->workers = (int64_t)workers;
    return read_role(c, o);
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
    int code = read_overrides(c, &o.overrides);
    if (code)
        return code;
    if (cli_has(c, "stdio"))
        return cli_serve_stdio(c, o.overrides.role_builtin);
    o.admin_key = admin ? str_of(admin) : S("");
    signal(SIGPIPE, SIG_IGN);
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
