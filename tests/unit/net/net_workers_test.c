/* net_workers_test.c - server and client on two workers at once, over real loops: for the
 * thread sanitizer, and for what only shows when nobody turns the loop by hand. */
#include "fixture.h"

#include <stdio.h>

enum { WORKERS = 2, TASKS = 6, CALLS = 40 };

/* What the workers share; all else is in struct side. */
struct town {
    struct http_server_conf conf;
    struct http_service service;
    struct listen_addr addr;
    struct tls_context *server_tls, *client_tls;
    unsigned running; /* atomic: tasks that still call */
    unsigned good;    /* atomic: answers that were right */
    bool reload;
};

struct side {
    struct town *town;
    struct http_server *server;
    struct http_pool *pool;
};

static struct side *side_of(struct worker *w) {
    return w->slots[WORKER_TEST];
}

static int admit(struct http_request *r, size_t *max_body) {
    (void)r;
    (void)max_body;
    return 0;
}

/* The path says whether to answer whole or in pieces; a short sleep mixes the tasks. */
static void serve(struct task *t, struct http_request *r) {
    struct str body = r->body;
    if (worker_random(r->worker) % 8 == 0 && task_sleep(t, NANOS_MS))
        return;
    const struct http_answer a = {
        .status = 200, .type = S("text/plain"), .pieces = &body, .piece_count = 1
    };
    if (!str_eq(r->head->path, S("/stream"))) {
        http_respond(t, r, &a);
        return;
    }
    http_stream_begin(t, r, &(struct http_answer){ .status = 200 });
    for (struct str rest = body; rest.n; rest = str_skip(rest, 10000)) {
        struct str piece = str_head(rest, 10000);
        http_stream_write(t, r, &piece, 1);
    }
    http_stream_end(t, r);
}

static err_t call_once(struct task *t, struct side *side, unsigned seed) {
    static const size_t sizes[] = { 10, 3000, 9000, 70000, 400000 };
    size_t n = sizes[seed % ARRAY_SIZE(sizes)];
    SCOPED(buf_done) struct buf request = { 0 };
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    buf_fmt(&request, "POST /%s HTTP/1.1\r\nhost: town\r\ncontent-length: %zu\r\n\r\n",
            seed % 3 ? "whole" : "stream", n);
    fill(&request, n, seed);
    struct str piece = buf_view(&request), body;
    TRY(http_call(t, side->pool, &piece, 1, HTTP_SAFE, &r));
    TRY(http_reply_body(t, &r, 1 << 20, &body));
    if (r.status == 200 && filled(body, n, seed))
        __atomic_add_fetch(&side->town->good, 1, __ATOMIC_RELAXED);
    return OK;
}

static void caller(struct task *t, void *arg) {
    struct side *side = arg;
    for (unsigned i = 0; i < CALLS; i++) {
        err_t e = call_once(t, side, (unsigned)worker_random(task_worker(t)) % 1000);
        if (e)
            fprintf(stderr, "call: %s\n", e->text);
        if (side->town->reload && i % 10 == 5)
            http_server_configure(side->server, &side->town->conf);
    }
    if (__atomic_sub_fetch(&side->town->running, 1, __ATOMIC_ACQ_REL) == 0)
        workers_stop(task_worker(t)->all);
}

static err_t on_start(struct worker *w, void *arg) {
    struct town *town = arg;
    struct side *side = NEW(struct side);
    w->slots[WORKER_TEST] = side;
    side->town = town;
    net_start(w, BUFFERS);
    if (w->control)
        return OK;
    side->server = http_server_new(w, &town->conf, &town->service);
    TRY(http_server_listen(side->server, &town->addr));
    side->pool = http_pool_new(w, &(struct http_target){ .host = S("127.0.0.1"), .port = net_port(&town->addr),
                                                         .tls = town->client_tls, .max_conns = 4,
                                                         .connect_timeout = 60 * NANOS_SEC });
    for (int i = 0; i < TASKS; i++)
        assert_non_null(task_spawn(w, caller, side));
    return OK;
}

static void on_stop(struct worker *w, void *arg) {
    struct side *side = side_of(w);
    if (side->server) {
        http_server_drain(side->server);
        http_server_close(side->server);
    }
    http_pool_free(side->pool);
    assert_int_equal(net_stats(w).conns, 0);
    assert_int_equal(net_stats(w).buffered, 0);
    net_stop(w);
    http_server_free(side->server);
    free(side);
}

static void run_town(struct town *town) {
    struct workers *all = NULL;
    town->running = WORKERS * TASKS;
    town->service = (struct http_service){ .admit = admit, .serve = serve };
    town->conf = (struct http_server_conf){
        .head = { .head = 16 * 1024, .target = 2048, .fields = 64 }, .max_body = 1 << 20, .max_pipelined = 64 * 1024,
        .max_conns = 100, .head_timeout = 60 * NANOS_SEC, .body_timeout = 60 * NANOS_SEC,
        .idle_timeout = 60 * NANOS_SEC, .send_timeout = 60 * NANOS_SEC, .tls = town->server_tls,
    };
    assert_null(listen_parse(S("127.0.0.1:0"), &town->addr));
    assert_null(listen_probe(&town->addr));
    assert_null(workers_start(WORKERS, (struct worker_limits){ 0 },
                              (struct worker_hooks){ on_start, on_stop, town }, &all));
    workers_run(all);
    workers_free(all);
    assert_int_equal(town->good, WORKERS * TASKS * CALLS);
}

static void two_workers_serve_and_call_each_other(void **state) {
    struct town town = { 0 };
    run_town(&town);
}

static void the_same_over_tls_with_shared_contexts(void **state) {
    struct seal_ring ring = ring_of(1, 1);
    struct town town = { .server_tls = server_context(&ring, false),
                         .client_tls = client_context(),
                         .reload = true };
    run_town(&town);
    tls_context_unref(town.server_tls);
    tls_context_unref(town.client_tls);
}

static int make_certs(void **state) {
    certs_make();
    return 0;
}

static int remove_certs(void **state) {
    certs_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_workers_serve_and_call_each_other),
        cmocka_unit_test(the_same_over_tls_with_shared_contexts),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
