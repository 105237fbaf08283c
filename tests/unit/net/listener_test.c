/* listener_test.c - addresses, probing, accepting, running out of descriptors. */
#include "base/log.h"
#include "fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- addresses --------------------------------------------------------------------- */

static void parses_to(const char *text, const char *expected) {
    struct listen_addr addr;
    char room[LISTEN_TEXT];
    assert_null(listen_parse(str_of(text), &addr));
    struct str got = listen_text(&addr, room);
    if (!str_eq(got, str_of(expected)))
        fail_msg("%s gives %.*s", text, STR(got));
}

static void addresses_are_parsed(void **state) {
    parses_to("127.0.0.1:8000", "127.0.0.1:8000");
    parses_to("0.0.0.0:1", "0.0.0.0:1");
    parses_to("8000", "127.0.0.1:8000");
    parses_to("[::1]:65535", "[::1]:65535");
    parses_to("127.0.0.1:0", "127.0.0.1:0");
    struct listen_addr all;
    assert_null(listen_parse(S(":8000"), &all));
    assert_int_equal(net_port(&all), 8000);
}

static void bad_addresses_are_named(void **state) {
    static const char *const bad[] = { "",        "localhost", "127.0.0.1",     "127.0.0.1:",  "127.0.0.1:65536", "127.0.0.1:-1",
                                       "1:2:3:4", "[::1]",     "[::1:8000",     "[::1]8000",   "::1:8000",        "127.0.0.1:80x",
                                       "[]:80x",  "a b:80",    "no.invalid.:1" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct listen_addr addr;
        err_t e = listen_parse(str_of(bad[i]), &addr);
        if (!e)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(e->kind, ERR_INVALID);
        assert_non_null(strstr(e->text, bad[i]));
    }
}

static void probing_finds_who_listens_already(void **state) {
    struct listen_addr addr, same;
    int fd = upstream_open(&addr);
    char room[LISTEN_TEXT];
    struct str text = listen_text(&addr, room);
    assert_null(listen_parse(text, &same));
    err_t e = listen_probe(&same);
    assert_int_equal(kind_of(e), ERR_CONFLICT);
    assert_non_null(strstr(e->text, "in use"));
    close(fd);
    assert_null(listen_probe(&same));
}

/* ---- accepting --------------------------------------------------------------------- */

struct guests {
    unsigned count;
    int fds[200];
};

static void welcome(struct worker *w, int fd, const struct sockaddr_storage *peer, void *arg) {
    struct guests *g = arg;
    assert_int_equal(peer->ss_family, AF_INET);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    g->fds[g->count++] = fd;
}

static void see_off(struct guests *g) {
    while (g->count)
        close(g->fds[--g->count]);
}

static void open_door(struct net *n, struct listener **out, struct guests *g) {
    net_open(n);
    assert_null(listen_parse(S("127.0.0.1:0"), &n->addr));
    assert_null(listen_probe(&n->addr));
    assert_null(listener_new(n->w, &n->addr, 128, welcome, g, out));
}

static void two_listeners_share_an_address(void **state) {
    struct net n;
    struct guests a = { 0 }, b = { 0 };
    struct listener *first, *second;
    struct peer p[32];
    open_door(&n, &first, &a);
    assert_null(listener_new(n.w, &n.addr, 128, welcome, &b, &second));
    for (size_t i = 0; i < ARRAY_SIZE(p); i++)
        peer_connect(&p[i], &n, net_port(&n.addr));
    AWAIT(&n, a.count + b.count == ARRAY_SIZE(p));
    assert_true(a.count > 0 && b.count > 0);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++)
        peer_close(&p[i]);
    listener_close(first);
    listener_close(second);
    see_off(&a);
    see_off(&b);
    net_close(&n);
}

static void closing_takes_who_stands_in_line(void **state) {
    struct net n;
    struct guests g = { 0 };
    struct listener *l;
    struct peer p[100];
    open_door(&n, &l, &g);
    for (size_t i = 0; i < ARRAY_SIZE(p); i++)
        peer_connect(&p[i], &n, net_port(&n.addr));
    assert_int_equal(g.count, 0);
    listener_close(l);
    assert_int_equal(g.count, ARRAY_SIZE(p));
    for (size_t i = 0; i < ARRAY_SIZE(p); i++)
        peer_close(&p[i]);
    see_off(&g);
    net_close(&n);
}

/* ---- no descriptors left ----------------------------------------------------------- */

struct famine {
    struct rlimit before;
    int fds[300];
    unsigned count;
};

static void starve(struct famine *f) {
    /* what is said about it is expected */
    log_setup((struct log_conf){ .level = LOG_OFF, .fd = 2 });
    getrlimit(RLIMIT_NOFILE, &f->before);
    struct rlimit few = { 250, f->before.rlim_max };
    setrlimit(RLIMIT_NOFILE, &few);
    f->count = 0;
    for (int fd; (fd = dup(0)) >= 0;)
        f->fds[f->count++] = fd;
    assert_true(f->count > 10);
}

static void feed(struct famine *f, unsigned n) {
    while (n-- && f->count)
        close(f->fds[--f->count]);
    if (!f->count)
        setrlimit(RLIMIT_NOFILE, &f->before);
}

static void without_descriptors_a_caller_is_let_go(void **state) {
    struct net n;
    struct guests g = { 0 };
    struct listener *l;
    struct peer p;
    struct famine f;
    open_door(&n, &l, &g);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    starve(&f);
    p = (struct peer){ .net = &n, .fd = fd };
    assert_int_equal(connect(fd, (struct sockaddr *)&n.addr.addr, n.addr.len), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    peer_await_end(&p);
    assert_int_equal(g.count, 0);
    feed(&f, ~0u);
    peer_close(&p);
    peer_connect(&p, &n, net_port(&n.addr)); /* and afterwards all is well */
    AWAIT(&n, g.count == 1);
    peer_close(&p);
    listener_close(l);
    see_off(&g);
    net_close(&n);
}

static void without_any_descriptor_a_listener_rests(void **state) {
    struct net n;
    struct guests g = { 0 };
    struct listener *l;
    struct famine f;
    net_open(&n);
    assert_null(listen_parse(S("127.0.0.1:0"), &n.addr));
    assert_null(listen_probe(&n.addr));
    struct peer p = { .net = &n, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    starve(&f);
    feed(&f, 1); /* for the listener itself; none in reserve */
    assert_null(listener_new(n.w, &n.addr, 128, welcome, &g, &l));
    assert_int_equal(connect(p.fd, (struct sockaddr *)&n.addr.addr, n.addr.len), 0);
    AWAIT(&n, n.w->timers.count == 1);
    feed(&f, ~0u);
    net_settle(&n);
    assert_int_equal(g.count, 0);
    net_pass(&n, NANOS_SEC);
    struct peer q;
    peer_connect(&q, &n, net_port(&n.addr)); /* Valgrind has dropped the first one */
    AWAIT(&n, g.count > 0);
    peer_close(&q);
    peer_close(&p);
    listener_close(l);
    see_off(&g);
    net_close(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_parsed),
        cmocka_unit_test(bad_addresses_are_named),
        cmocka_unit_test(probing_finds_who_listens_already),
        cmocka_unit_test(two_listeners_share_an_address),
        cmocka_unit_test(closing_takes_who_stands_in_line),
        cmocka_unit_test(without_descriptors_a_caller_is_let_go),
        cmocka_unit_test(without_any_descriptor_a_listener_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
