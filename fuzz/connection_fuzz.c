/* connection_fuzz.c - bytes of a client against the server of net/, over a real socket: HTTP/1,
 * HTTP/2 from its preface on, and a WebSocket from its handshake on. The first byte picks
 * which; the second how large the pieces are. Whatever comes, the connection ends with the
 * client, and no buffer, task or timer of it stays. */
#include "base/mem.h"
#include "net/http_server.h"
#include "net/websocket.h"
#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct worker *w;
static struct http_server *server;
static struct listen_addr address;
static struct websocket *socket_line;

static const char upgrade[] =
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static bool echo_message(void *owner, struct str text) {
    return websocket_push(socket_line, text) && !str_starts(text, S("stop"));
}

static void line_is_gone(void *owner) {
    socket_line = NULL;
}

static const struct websocket_ops echo_ops = { .on_message = echo_message,
                                               .on_gone = line_is_gone };

static int admit(struct http_request *r, size_t *max_body) {
    *max_body = 64 * 1024;
    if (!str_eq(r->head->path, S("/refuse")))
        return 0;
    return http_refuse(r, &(struct http_answer){ .status = 403 });
}

static void serve(struct task *t, struct http_request *r) {
    err_t e = OK;
    if (websocket_asked(r->head) && !socket_line)
        e = websocket_accept(t, r, S("mcp"), 4096, &echo_ops, NULL, &socket_line);
    else
        e = http_respond(t, r, &(struct http_answer){ .status = 200, .type = S("text/plain"),
                                                      .pieces = &r->body, .piece_count = 1 });
    assert(!e || e->kind);
}

static struct http_service service = { .admit = admit, .serve = serve };

static void open_server(void) {
    struct workers *all = NULL;
    struct http_server_conf conf = {
        .head = { .head = 4096, .target = 1024, .fields = 32 }, .max_body = 64 * 1024,
        .max_pipelined = 16 * 1024, .max_conns = 10, .max_streams = 8,
        .head_timeout = 10 * NANOS_SEC, .body_timeout = 10 * NANOS_SEC,
        .idle_timeout = 10 * NANOS_SEC, .send_timeout = 10 * NANOS_SEC,
    };
    assert(
        !workers_start(0, (struct worker_limits){ .tasks = 64 }, (struct worker_hooks){ 0 }, &all));
    w = workers_control(all);
    net_start(w, (size_t)16 << 20);
    server = http_server_new(w, &conf, &service);
    assert(!listen_parse(S("127.0.0.1:0"), &address) && !listen_probe(&address));
    assert(!http_server_listen(server, &address));
}

static void turn(int milliseconds) {
    struct pollfd loop = { uv_backend_fd(&w->loop), POLLIN, 0 };
    poll(&loop, 1, milliseconds);
    uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void send_all(int fd, const void *p, size_t n, size_t piece) {
    const char *at = p;
    for (size_t sent = 0; sent < n;) {
        ssize_t some = send(fd, at + sent, n - sent < piece ? n - sent : piece,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (some <= 0)
            return;
        sent += (size_t)some;
        turn(0);
    }
}

/* libFuzzer's alarm clock interrupts whoever waits, on a busy machine also here. */
static int open_client(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *to = (const struct sockaddr *)&address.addr;
    assert(fd >= 0 && TEMP_FAILURE_RETRY(connect(fd, to, sizeof(struct sockaddr_in))) == 0);
    return fd;
}

/* One client after the other: its bytes, its end, and nothing of it is left. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!w)
        open_server();
    if (size < 2 || size > 64 * 1024)
        return 0;
    int fd = open_client();
    struct linger reset = { 1, 0 }; /* no port stays in TIME_WAIT */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    size_t piece = data[1] ? (size_t)data[1] * 4 : size;
    if (data[0] % 3 == 1)
        send_all(fd, preface, sizeof preface - 1, sizeof preface);
    if (data[0] % 3 == 2)
        send_all(fd, upgrade, sizeof upgrade - 1, sizeof upgrade);
    for (int i = 0; i < 3; i++)
        turn(0);
    send_all(fd, data + 2, size - 2, piece);
    for (int i = 0; i < 3; i++)
        turn(0);
    close(fd);
    for (int i = 0; (http_server_conns(server) || task_stats(w).running) && i < 2000; i++)
        turn(1);
    assert(http_server_conns(server) == 0 && http_server_busy(server) == 0);
    assert(task_stats(w).running == 0 && !socket_line);
    assert(net_stats(w).buffered == 0);
    return 0;
}
