/* upstream.c - a quick MCP echo server over Streamable HTTP, both eras: what all gateways stand in front of.
 *
 *   bench-upstream --port N [--tools N] [--work-ns N] [--id-last]
 *
 * /mcp     both eras: modern when the MCP-Protocol-Version header says 2026-07-28, legacy otherwise
 * /legacy  sessions only: anything but initialize without Mcp-Session-Id is refused with 400, as SDK servers do
 *
 * /v1/…   200 and nothing, for the spans that gateways export (OTLP)
 *
 * Tools: `echo` answers its argument `text` in JSON, `echo_sse` as a stream of one event,
 * `echo_busy` after --work-ns of computing, and with --tools more are listed (calling them echoes
 * too). --id-last puts the id behind the result, as the TypeScript SDK does. One thread, raw
 * epoll; the text is sent from where it was received. Ends on SIGTERM and with its parent. */
#include "kit.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MODERN "2026-07-28"
#define LEGACY "2025-11-25"
#define META_KEY "io.modelcontextprotocol/"
#define SERVER_INFO "{\"name\":\"bench-upstream\",\"version\":\"1.0.0\"}"

struct conn {
    int fd;
    bool close_after; /* the client asked for it */
    struct message in;
    struct bytes out; /* what the socket did not take yet */
};

/* What matters of one request. Spans are raw JSON out of the receive buffer. */
struct request {
    struct span path, session;
    struct span id, method, name, text, version;
    bool modern;
};

/* An answer: head and before, then text, then after. */
struct answer {
    struct bytes head, before, after;
    struct span text;
    int status;
    bool sse, new_session;
};

static struct {
    int64_t port, tools, work_ns;
    bool id_last;
} options = { .tools = 10, .work_ns = 10000 };

static struct answer answer; /* one at a time: its buffers are kept from call to call */
static uint64_t sessions;

/* ---- reading a request ------------------------------------------------------------- */

static bool quoted(struct span raw, const char *word) {
    size_t n = strlen(word);
    return raw.n == n + 2 && !memcmp(raw.p + 1, word, n);
}

static void read_arguments(struct json *j, struct request *r) {
    struct span key;
    if (!json_open(j))
        return;
    while (json_member(j, &key)) {
        struct span value = json_value(j);
        if (span_is(key, SPAN("text")))
            r->text = value;
    }
}

static void read_params(struct json *j, struct request *r) {
    struct span key;
    if (!json_open(j))
        return;
    while (json_member(j, &key)) {
        if (span_is(key, SPAN("arguments"))) {
            read_arguments(j, r);
            continue;
        }
        struct span value = json_value(j);
        if (span_is(key, SPAN("name")))
            r->name = value;
        else if (span_is(key, SPAN("protocolVersion")))
            r->version = value;
    }
}

static void read_body(struct span body, struct request *r) {
    struct json j = { body.p, body.p + body.n };
    struct span key;
    if (!json_open(&j))
        return;
    while (json_member(&j, &key)) {
        if (span_is(key, SPAN("params"))) {
            read_params(&j, r);
            continue;
        }
        struct span value = json_value(&j);
        if (span_is(key, SPAN("id")))
            r->id = value;
        else if (span_is(key, SPAN("method")))
            r->method = value;
    }
}

static void read_head(struct span head, struct request *r) {
    const char *path = memchr(head.p, ' ', head.n);
    const char *end = path ? memchr(path + 1, ' ', (size_t)(head.p + head.n - path - 1)) : NULL;
    if (end)
        r->path = (struct span){ path + 1, (size_t)(end - path - 1) };
    bool legacy_only = span_is(r->path, SPAN("/legacy"));
    r->modern = !legacy_only && span_is(header(head, SPAN("mcp-protocol-version")), SPAN(MODERN));
    if (!r->modern)
        r->session = header(head, SPAN("mcp-session-id"));
}

/* ---- making an answer -------------------------------------------------------------- */

static void answer_reset(int status) {
    answer.head.n = answer.before.n = answer.after.n = 0;
    answer.text = (struct span){ 0 };
    answer.status = status;
    answer.sse = answer.new_session = false;
}

static void put_id(struct bytes *b, struct span id) {
    bytes_text(b, "\"jsonrpc\":\"2.0\",\"id\":");
    bytes_span(b, id.p ? id : SPAN("null"));
}

/* Opens the envelope: what follows is the value of `result`, raw. */
static void open_result(const struct request *r, int status) {
    answer_reset(status);
    bytes_text(&answer.before, "{");
    if (!options.id_last) {
        put_id(&answer.before, r->id);
        bytes_text(&answer.before, ",");
    }
    bytes_text(&answer.before, "\"result\":");
}

static void close_result(const struct request *r, struct bytes *b) {
    if (options.id_last) {
        bytes_text(b, ",");
        put_id(b, r->id);
    }
    bytes_text(b, "}");
}

static void answer_error(const struct request *r, int status, const char *code,
                         const char *message) {
    answer_reset(status);
    bytes_text(&answer.before, "{");
    put_id(&answer.before, r->id);
    bytes_text(&answer.before, ",\"error\":{\"code\":");
    bytes_put(&answer.before, code, strlen(code));
    bytes_text(&answer.before, ",\"message\":\"");
    bytes_put(&answer.before, message, strlen(message));
    bytes_text(&answer.before, "\"}}");
}

/* What a tool would do: keeps the load's core busy, so that no gateway has to wake it. */
static void work(void) {
    for (int64_t end = now_ns() + options.work_ns; now_ns() < end;)
        ;
}

static void answer_echo(const struct request *r) {
    if (quoted(r->name, "echo_busy"))
        work();
    open_result(r, 200);
    answer.sse = quoted(r->name, "echo_sse");
    bytes_text(&answer.before, "{\"content\":[{\"type\":\"text\",\"text\":");
    answer.text = r->text.p ? r->text : SPAN("\"\"");
    bytes_text(&answer.after, "}],\"isError\":false");
    if (r->modern)
        bytes_text(&answer.after, ",\"resultType\":\"complete\"");
    bytes_text(&answer.after, "}");
    close_result(r, &answer.after);
}

static void put_tool(struct bytes *b, int64_t index) {
    bytes_text(b, "{\"name\":\"echo");
    if (index == 1)
        bytes_text(b, "_sse");
    if (index == 2)
        bytes_text(b, "_busy");
    if (index > 2) {
        bytes_text(b, "_");
        bytes_number(b, (uint64_t)index);
    }
    bytes_text(b,
               "\",\"title\":\"Echo\",\"description\":\"Answers with the text that it was given, "
               "unchanged.\","
               "\"inputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\","
               "\"description\":\"What to answer.\"}},\"required\":[\"text\"]},"
               "\"annotations\":{\"readOnlyHint\":true,\"idempotentHint\":true}}");
}

static void put_cacheable(struct bytes *b) {
    bytes_text(b, ",\"resultType\":\"complete\",\"ttlMs\":3600000,\"cacheScope\":\"public\","
                  "\"_meta\":{\"" META_KEY "serverInfo\":" SERVER_INFO "}");
}

/* Made once: as a peer of its own this server is the cost of writing such a list and no more. */
static struct span tool_array(void) {
    static struct bytes made;
    for (int64_t i = 0; i < options.tools; i++) {
        bytes_put(&made, i ? "," : "[", 1);
        put_tool(&made, i);
    }
    bytes_text(&made, "]");
    return (struct span){ made.p, made.n };
}

static void answer_tools_list(const struct request *r) {
    static struct span tools;
    if (!tools.p)
        tools = tool_array();
    open_result(r, 200);
    bytes_text(&answer.before, "{\"tools\":");
    answer.text = tools;
    if (r->modern)
        put_cacheable(&answer.after);
    bytes_text(&answer.after, "}");
    close_result(r, &answer.after);
}

static void answer_discover(const struct request *r) {
    open_result(r, 200);
    bytes_text(&answer.before,
               "{\"supportedVersions\":[\"" MODERN "\"],\"capabilities\":{\"tools\":{}}");
    put_cacheable(&answer.before);
    bytes_text(&answer.before, "}");
    close_result(r, &answer.before);
}

static void answer_initialize(const struct request *r) {
    open_result(r, 200);
    answer.new_session = true;
    bool known = quoted(r->version, "2024-11-05") || quoted(r->version, "2025-03-26") ||
                 quoted(r->version, "2025-06-18");
    bytes_text(&answer.before, "{\"protocolVersion\":");
    bytes_span(&answer.before, known ? r->version : SPAN("\"" LEGACY "\""));
    bytes_text(&answer.before, ",\"capabilities\":{\"tools\":{}},\"serverInfo\":" SERVER_INFO "}");
    close_result(r, &answer.before);
}

static void answer_ping(const struct request *r) {
    open_result(r, 200);
    bytes_text(&answer.before, "{}");
    close_result(r, &answer.before);
}

static const struct method {
    const char *name;
    void (*answer)(const struct request *r);
    bool modern, legacy;
} methods[] = {
    { "tools/call", answer_echo, true, true },
    { "tools/list", answer_tools_list, true, true },
    { "server/discover", answer_discover, true, false },
    { "initialize", answer_initialize, false, true },
    { "ping", answer_ping, false, true },
};

static void answer_request(const struct request *r) {
    if (!r->method.p)
        return answer_error(r, 400, "-32600", "a JSON-RPC request is needed");
    if (!r->id.p)
        return answer_reset(202); /* a notification */
    if (!r->modern && !r->session.n && !quoted(r->method, "initialize"))
        return answer_error(r, 400, "-32000", "Bad Request: no session id");
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (quoted(r->method, methods[i].name) &&
            (r->modern ? methods[i].modern : methods[i].legacy))
            return methods[i].answer(r);
    answer_error(r, r->modern ? 404 : 200, "-32601", "method not found");
}

/* ---- writing an answer ------------------------------------------------------------- */

static struct span status_line(int status) {
    switch (status) {
    case 200: return SPAN("HTTP/1.1 200 OK\r\n");
    case 202: return SPAN("HTTP/1.1 202 Accepted\r\n");
    case 404: return SPAN("HTTP/1.1 404 Not Found\r\n");
    case 405: return SPAN("HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n");
    default: return SPAN("HTTP/1.1 400 Bad Request\r\n");
    }
}

/* 128 bits wide as a real server's, and telling which session it is. */
static void put_session(struct bytes *h) {
    bytes_text(h, "Mcp-Session-Id: bench00000000000");
    bytes_number(h, 1000000000000000 + ++sessions);
    bytes_text(h, "\r\n");
}

/* One event in one chunk and the end of the stream, all in one write: see README. */
static void wrap_sse(size_t body) {
    static const char open[] = "event: message\ndata: ";
    bytes_text(&answer.head, "Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                             "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n");
    bytes_hex(&answer.head, body + sizeof open - 1 + 2);
    bytes_text(&answer.head, "\r\n");
    bytes_text(&answer.head, open);
    bytes_text(&answer.after, "\n\n\r\n0\r\n\r\n");
}

static void make_head(void) {
    struct bytes *h = &answer.head;
    size_t body = answer.before.n + answer.text.n + answer.after.n;
    bytes_span(h, status_line(answer.status));
    if (answer.new_session)
        put_session(h);
    if (answer.sse)
        return wrap_sse(body);
    if (body)
        bytes_text(h, "Content-Type: application/json\r\n");
    bytes_text(h, "Content-Length: ");
    bytes_number(h, body);
    bytes_text(h, "\r\n\r\n");
}

/* Sends what it can and keeps the rest. False when the client is gone. */
static bool flush(struct conn *c) {
    if (!c->out.n)
        return true;
    ssize_t sent = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);
    if (sent > 0)
        bytes_drop(&c->out, (size_t)sent);
    return sent >= 0 || errno == EAGAIN;
}

static void keep_rest(struct conn *c, const struct iovec *piece, size_t count, size_t sent) {
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < piece[i].iov_len ? sent : piece[i].iov_len;
        bytes_put(&c->out, (char *)piece[i].iov_base + skip, piece[i].iov_len - skip);
        sent -= skip;
    }
}

static bool send_answer(struct conn *c) {
    make_head();
    struct iovec piece[] = {
        { answer.head.p, answer.head.n },
        { answer.before.p, answer.before.n },
        { (void *)answer.text.p, answer.text.n },
        { answer.after.p, answer.after.n },
    };
    size_t total = answer.head.n + answer.before.n + answer.text.n + answer.after.n;
    if (c->out.n || total <= 4096) { /* small: one send of one piece is the cheapest */
        keep_rest(c, piece, ARRAY_SIZE(piece), 0);
        return flush(c);
    }
    struct msghdr message = { .msg_iov = piece, .msg_iovlen = ARRAY_SIZE(piece) };
    ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    if ((size_t)sent != total)
        keep_rest(c, piece, ARRAY_SIZE(piece), sent < 0 ? 0 : (size_t)sent);
    return true;
}

/* ---- connections ------------------------------------------------------------------- */

static bool serve(struct conn *c) {
    struct request r = { 0 };
    struct span head = message_head(&c->in);
    read_head(head, &r);
    c->close_after = span_is(header(head, SPAN("connection")), SPAN("close"));
    bool post = !memcmp(head.p, "POST ", 5);
    if (post && r.path.n > 4 && !memcmp(r.path.p, "/v1/", 4)) {
        answer_reset(200);
    } else if (post) {
        read_body(message_body(&c->in), &r);
        answer_request(&r);
    } else {
        answer_reset(405); /* no GET stream, sessions are not kept: nothing to DELETE */
    }
    return send_answer(c);
}

static bool readable(struct conn *c) {
    enum reading got = message_read(&c->in, c->fd);
    while (got == READ_WHOLE) {
        if (!serve(c))
            return false;
        got = message_next(&c->in) ? READ_WHOLE : READ_MORE;
    }
    return got != READ_CLOSED;
}

static void close_conn(struct conn *c) {
    close(c->fd);
    bytes_free(&c->in.in);
    bytes_free(&c->out);
    free(c);
}

static void watch(int epoll, struct conn *c, uint32_t events, int operation) {
    struct epoll_event event = { .events = events, .data.ptr = c };
    if (epoll_ctl(epoll, operation, c->fd, &event))
        die("epoll_ctl");
}

/* While an answer waits for room nothing is read: a slow reader is bounded. */
static void on_event(int epoll, struct conn *c, uint32_t events) {
    bool waiting = c->out.n > 0;
    bool alive = !(events & (EPOLLERR | EPOLLHUP));
    if (alive)
        alive = waiting ? flush(c) : readable(c);
    if (!alive || (c->close_after && !c->out.n))
        return close_conn(c);
    if (waiting != (c->out.n > 0))
        watch(epoll, c, c->out.n ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void accept_all(int epoll, int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
            return;
        struct conn *c = fd < 0 ? NULL : calloc(1, sizeof *c);
        if (!c)
            die("accepting a connection");
        c->fd = fd;
        watch(epoll, c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void run(void) {
    int listener = socket_listen((uint16_t)options.port), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct conn self = { .fd = listener };
    watch(epoll, &self, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, ARRAY_SIZE(events), -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &self)
                accept_all(epoll, listener);
            else
                on_event(epoll, events[i].data.ptr, events[i].events);
        }
    }
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        { "port", required_argument, NULL, 'p' },
        { "tools", required_argument, NULL, 't' },
        { "work-ns", required_argument, NULL, 'w' },
        { "id-last", no_argument, NULL, 'l' },
        { 0 },
    };
    for (int o; (o = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (o) {
        case 'p': options.port = option_number("port", optarg, 1, 65535); break;
        case 't': options.tools = option_number("tools", optarg, 3, 1000); break;
        case 'w': options.work_ns = option_number("work-ns", optarg, 0, 1000000000); break;
        case 'l': options.id_last = true; break;
        default: return 2;
        }
    }
    if (!options.port)
        die("--port is needed");
    signal(SIGPIPE, SIG_IGN);
    die_with_parent();
    run();
}
