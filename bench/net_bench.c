/* net_bench.c - the HTTP server and client of src/net alone, one worker each, for callgrind.
 *
 * usage: bench-net serve PORT REQUESTS [CERTIFICATE KEY]     answers small calls, ends after so many
 *        bench-net call PORT REQUESTS [AUTHORITY]            makes small calls, one after the other
 *
 * User instructions per request are the difference of two runs of different lengths:
 *   valgrind --tool=callgrind bench-net serve 9000 2000 & bench-net call 9000 2000 */
#include "base/mem.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include <stdio.h>

static const char request_head[] =
    "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:8000\r\nuser-agent: node\r\nconnection: keep-alive\r\n"
    "authorization: Bearer gs_0123456789abcdef_0123456789abcdef0123456789abcdef\r\n"
    "accept: application/json, text/event-stream\r\n"
    "accept-encoding: gzip, deflate\r\naccept-language: *\r\n"
    "content-type: application/json\r\nmcp-protocol-version: 2025-11-25\r\n"
    "mcp-session-id: 0123456789abcdef0123456789abcdef\r\n";
static const char message[] =
    "{\"jsonrpc\":\"2.0\",\"id\":1234,\"method\":\"tools/call\","
    "\"params\":{\"name\":\"time__get_current_time\",\"arguments\":{\"zone\":\"Europe/Berlin\","
    "\"text\":\"0123456789012345678901234567890123456789012345678901234\"},"
    "\"_meta\":{\"progressToken\":1234}}}";

struct bench {
    struct http_service service;
    struct http_server *server;
    struct http_pool *pool;
    bool serving;
    unsigned port, left;
    struct tls_context *tls;
};

static int admit(struct http_request *r, size_t *max_body) {
    return 0;
}

static void serve(struct task *t, struct http_request *r) {
    struct bench *b = r->service->arg;
    struct str pieces[] = { str_head(r->body, 40), str_skip(r->body, 40) };
    http_respond(t, r, &(struct http_answer){ .status = 200, .type = S("application/json"), .pieces = pieces,
                                              .piece_count = ARRAY_SIZE(pieces) });
    if (--b->left == 0)
        workers_stop(r->worker->all);
}

static err_t call_once(struct task *t, struct http_pool *pool, struct str request) {
    SCOPED(http_reply_done) struct http_reply r = { 0 };
    struct str body;
    TRY(http_call(t, pool, &request, 1, 0, &r));
    return http_reply_body(t, &r, 1 << 20, &body);
}

static void call(struct task *t, void *arg) {
    struct bench *b = arg;
    SCOPED(buf_done) struct buf request = { 0 };
    buf_fmt(&request, "%scontent-length: %zu\r\n\r\n%s", request_head, sizeof message - 1, message);
    err_t e = OK;
    while (!e && b->left--)
        e = call_once(t, b->pool, buf_view(&request));
    if (e)
        fprintf(stderr, "%s\n", e->text);
    workers_stop(task_worker(t)->all);
}

static err_t listen_on(struct worker *w, struct bench *b) {
    char text[32];
    struct listen_addr addr;
    const struct http_server_conf conf = {
        .head = { .head = 16384, .target = 2048, .fields = 100 }, .max_body = 1 << 20, .max_pipelined = 65536,
        .max_conns = 1000, .head_timeout = 60 * NANOS_SEC, .body_timeout = 60 * NANOS_SEC,
        .idle_timeout = 60 * NANOS_SEC, .send_timeout = 60 * NANOS_SEC,
        .tls = b->tls,
    };
    snprintf(text, sizeof text, "127.0.0.1:%u", b->port);
    TRY(listen_parse(str_of(text), &addr));
    b->service = (struct http_service){ .admit = admit, .serve = serve, .arg = b };
    b->server = http_server_new(w, &conf, &b->service);
    return http_server_listen(b->server, &addr);
}

static err_t on_start(struct worker *w, void *arg) {
    struct bench *b = arg;
    net_start(w, 1 << 30);
    if (b->serving)
        return listen_on(w, b);
    b->pool = http_pool_new(
        w,
        &(struct http_target){ .host = S("127.0.0.1"), .port = (uint16_t)b->port, .tls = b->tls });
    return task_spawn(w, call, b) ? OK : ERR(UNAVAILABLE, "no task");
}

static void on_stop(struct worker *w, void *arg) {
    struct bench *b = arg;
    if (b->server)
        http_server_close(b->server);
    http_pool_free(b->pool);
    net_stop(w);
}

static err_t open_tls(struct bench *b, int argc, char **argv) {
    if (b->serving && argc == 6)
        return tls_server_new(
            &(struct tls_conf){ .cert_file = str_of(argv[4]), .key_file = str_of(argv[5]) }, NULL,
            &b->tls);
    if (!b->serving && argc == 5)
        return tls_client_new(&(struct tls_conf){ .ca_file = str_of(argv[4]) }, &b->tls);
    return argc == 4 ? OK : ERR(INVALID, "usage: see the head of net_bench.c");
}

int main(int argc, char **argv) {
    struct bench b = { 0 };
    struct workers *all = NULL;
    if (argc < 4)
        return 2;
    b.serving = argv[1][0] == 's';
    b.port = (unsigned)atoi(argv[2]);
    b.left = (unsigned)atoi(argv[3]);
    err_t e = open_tls(&b, argc, argv);
    if (!e)
        e = workers_start(0, (struct worker_limits){ 0 },
                          (struct worker_hooks){ on_start, on_stop, &b }, &all);
    if (e) {
        fprintf(stderr, "%s\n", e->text);
        return 1;
    }
    workers_run(all);
    workers_free(all);
    http_server_free(b.server);
    tls_context_unref(b.tls);
    return 0;
}
