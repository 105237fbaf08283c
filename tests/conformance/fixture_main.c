/* fixture_main.c - `fixture --listen ADDR:PORT [--era legacy|modern|both] [--data DIR]`: a gateway
 * process whose only server is the fixture, under its own names, for callers on this machine. */
#include "base/mem.h"
#include "control/control.h"
#include "fixture.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int usage(void) {
    fputs("usage: fixture --listen ADDR:PORT [--era legacy|modern|both] [--data DIR]\n", stderr);
    return 2;
}

static int serve(const struct control_options *o) {
    struct warden *warden = NULL;
    struct control *control = NULL;
    err_t e = warden_start(o->data.p, &warden);
    if (!e)
        e = control_open(o, warden, &control);
    if (!e)
        e = control_run(control);
    if (e)
        fprintf(stderr, "fixture: %s\n", e->text);
    control_free(control);
    if (warden) {
        warden_stop(warden, NANOS_SEC);
        warden_free(warden);
    }
    return e ? 1 : 0;
}

int main(int argc, char **argv) {
    static const struct option options[] = { { "listen", 1, NULL, 'l' },
                                             { "era", 1, NULL, 'e' }, { "data", 1, NULL, 'd' },
                                             { 0 } };
    /* the suite wants a tool that is a task only to be refused, where we would wait (P-446) */
    struct str set[] = { S("anonymous=loopback"), S("protocol.newest=2026-07-28"),
                         S("upstreams.conformance.builtin=conformance"),
                         S("upstreams.conformance.tasks=refuse") };
    struct str listen = S("127.0.0.1:8811");
    char made[] = "/tmp/fixture-XXXXXX";
    const char *data = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd')
            data = optarg;
        else if (c == 'l')
            listen = str_of(optarg);
        else if (c == 'e' && str_eq(str_of(optarg), S("legacy")))
            set[1] = S("protocol.newest=2025-11-25");
        else if (c == 'e' && str_eq(str_of(optarg), S("modern")))
            set[1] = S("protocol.oldest=2026-07-28");
        else if (c != 'e' || !str_eq(str_of(optarg), S("both")))
            return usage();
    }
    if (optind != argc)
        return usage();
    if (!data && !(data = mkdtemp(made))) {
        perror("fixture: a folder in /tmp");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    builtin_add(&fixture_server);
    /* one worker: what the fixture keeps needs no lock */
    struct control_options o = {
        .data = str_of(data), .admin_key = S(""),
        .overrides = { .listen = { &listen, 1 }, .set = { set, ARRAY_SIZE(set) },
                       .role_builtin = str_of(fixture_server.name), .one_worker = true },
    };
    return serve(&o);
}
