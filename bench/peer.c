/* peer.c - see peer.h */
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MODERN "2026-07-28"
#define LEGACY "2025-11-25"
#define META_KEY "io.modelcontextprotocol/"

#define CAPABILITIES "{\"elicitation\":{\"form\":{}},\"sampling\":{},\"roots\":{}}"

enum { ID_DIGITS = 10 };

static uint64_t last_id = 1000000000; /* ten digits for as long as anyone measures */

void peer_parse(struct peer *p, char *text) {
    char *rest = text, *field[5];
    for (size_t i = 0; i < ARRAY_SIZE(field); i++)
        field[i] = strsep(&rest, ",");
    if (!field[4] || rest)
        die("--peer wants name,port,path,tool,pid");
    *p = (struct peer){ .name = field[0], .path = field[2], .tool = field[3] };
    p->port = (uint16_t)option_number("peer (port)", field[1], 1, 65535);
    p->pid = (pid_t)option_number("peer (pid)", field[4], 0, INT32_MAX);
}

/* ---- requests ---------------------------------------------------------------------- */

static void put_string(struct bytes *b, const char *s) {
    bytes_put(b, s, strlen(s));
}

static const struct span fillers[] = {
    /* two escapes in 44 bytes: like source code or JSON inside a string */
    [FILL_ESCAPED] = { " He said \\\"no\\\" to the man in an old red hat,", 44 },
    [FILL_PLAIN] = { " the quick brown fox jumps over a lazy dog,", 43 },
    /* two thirds of the bytes outside ASCII */
    [FILL_UTF8] = { " \xe5\xb7\xa5\xe5\x85\xb7\xe8\xb0\x83\xe7\x94\xa8 ok gate", 20 },
};

static void put_text(struct bytes *b, size_t n, enum filler filler) {
    struct span f = fillers[filler];
    for (; n >= f.n; n -= f.n)
        bytes_span(b, f);
    while (n--)
        bytes_text(b, "x"); /* never half an escape or half a character */
}

static void put_digits(struct bytes *b, size_t *out_at) {
    *out_at = b->n;
    bytes_number(b, last_id);
}

static bool calls_tool(const struct load *load) {
    return !load->ping && !load->list_tools;
}

static void put_params(struct bytes *b, const struct peer *p, size_t *out_text_at) {
    bytes_text(b, "{");
    if (p->load->modern) {
        bytes_text(b, "\"_meta\":{\"" META_KEY "protocolVersion\":\"" MODERN "\",\"" META_KEY
                      "clientInfo\":{\"name\":\"bench\","
                      "\"version\":\"1.0.0\"},\"" META_KEY "clientCapabilities\":");
        put_string(b, p->load->capable ? CAPABILITIES : "{}");
        bytes_text(b, "}");
    }
    if (calls_tool(p->load)) {
        put_string(b, p->load->modern ? ",\"name\":\"" : "\"name\":\"");
        put_string(b, p->tool);
        bytes_text(b, "\",\"arguments\":{\"text\":\"");
        put_digits(b, out_text_at);
        put_text(b, p->load->text_bytes - ID_DIGITS, p->load->filler);
        bytes_text(b, "\"}");
    }
    bytes_text(b, "}");
}

static void put_head(struct bytes *b, const struct peer *p, size_t body) {
    bytes_text(b, "POST ");
    put_string(b, p->path);
    bytes_text(b, " HTTP/1.1\r\nHost: 127.0.0.1:");
    bytes_number(b, p->port);
    bytes_text(b, "\r\nUser-Agent: bench-driver\r\nAuthorization: Bearer ");
    put_string(b, p->load->key);
    bytes_text(b, "\r\nContent-Type: application/json\r\nAccept: application/json, "
                  "text/event-stream\r\nContent-Length: ");
    bytes_number(b, body);
    bytes_text(b, "\r\n");
}

static void put_era(struct bytes *b, const struct peer *p, const char *method,
                    struct span session) {
    if (!p->load->modern) {
        bytes_text(b, "MCP-Protocol-Version: " LEGACY "\r\nMcp-Session-Id: ");
        bytes_span(b, session);
        bytes_text(b, "\r\n\r\n");
        return;
    }
    bytes_text(b, "MCP-Protocol-Version: " MODERN "\r\nMcp-Method: ");
    put_string(b, method);
    if (calls_tool(p->load)) {
        bytes_text(b, "\r\nMcp-Name: ");
        put_string(b, p->tool);
    }
    bytes_text(b, "\r\n\r\n");
}

static void make_request(struct conn *c, struct span session) {
    const struct load *load = c->peer->load;
    const char *method = load->ping ? "ping" : load->list_tools ? "tools/list" : "tools/call";
    struct bytes body = { 0 };
    bytes_text(&body, "{\"jsonrpc\":\"2.0\",\"id\":");
    put_digits(&body, &c->id_at);
    bytes_text(&body, ",\"method\":\"");
    put_string(&body, method);
    bytes_text(&body, "\",\"params\":");
    put_params(&body, c->peer, &c->text_at);
    bytes_text(&body, "}");
    put_head(&c->request, c->peer, body.n);
    put_era(&c->request, c->peer, method, session);
    c->id_at += c->request.n;
    c->text_at += c->request.n;
    bytes_put(&c->request, body.p, body.n);
    bytes_free(&body);
}

/* ---- handshake, on a blocking socket ----------------------------------------------- */

static void exchange(struct conn *c, const struct bytes *request, int status) {
    for (size_t sent = 0; sent < request->n;) {
        ssize_t n = send(c->fd, request->p + sent, request->n - sent, MSG_NOSIGNAL);
        if (n < 0)
            die("%s: sending the handshake", c->peer->name);
        sent += (size_t)n;
    }
    enum reading got;
    while ((got = message_read(&c->in, c->fd)) == READ_MORE)
        ;
    if (got == READ_CLOSED || c->in.frame.status != status) {
        errno = 0;
        die("%s: handshake: expected %d, got: %.*s", c->peer->name, status,
            (int)(c->in.in.n < 600 ? c->in.in.n : 600), c->in.in.p);
    }
}

static void handshake_post(struct conn *c, struct span body, struct span session, int status) {
    struct bytes request = { 0 };
    put_head(&request, c->peer, body.n);
    if (session.n)
        put_era(&request, c->peer, "", session);
    else
        bytes_text(&request, "\r\n");
    bytes_span(&request, body);
    exchange(c, &request, status);
    bytes_free(&request);
}

#define INITIALIZE(capabilities)                                                                   \
    SPAN("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{"                  \
         "\"protocolVersion\":\"" LEGACY "\",\"capabilities\":" capabilities                       \
         ",\"clientInfo\":{\"name\":\"bench\",\"version\":\"1.0.0\"}}}")

/* The session id is written to *out. */
static void handshake(struct conn *c, struct bytes *out) {
    struct span body = c->peer->load->capable ? INITIALIZE(CAPABILITIES) : INITIALIZE("{}");
    handshake_post(c, body, (struct span){ 0 }, 200);
    struct span session = header(message_head(&c->in), SPAN("mcp-session-id"));
    if (!session.n)
        die("%s: initialize gave no Mcp-Session-Id", c->peer->name);
    out->n = 0;
    bytes_span(out, session);
    message_next(&c->in);
    session = (struct span){ out->p, out->n };
    handshake_post(c, SPAN("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"),
                   session, 202);
    message_next(&c->in);
}

static void watch(struct conn *c, uint32_t events, int operation) {
    if (c->events == events)
        return;
    struct epoll_event event = { .events = c->events = events, .data.ptr = c };
    if (epoll_ctl(c->peer->epoll, operation, c->fd, &event))
        die("epoll_ctl");
}

static void conn_open(struct conn *c, struct peer *p) {
    struct bytes session = { 0 };
    *c = (struct conn){ .peer = p, .fd = socket_connect(p->port) };
    if (c->fd < 0)
        die("%s: connecting to 127.0.0.1:%u", p->name, p->port);
    if (!p->load->modern)
        handshake(c, &session);
    make_request(c, (struct span){ session.p, session.n });
    bytes_free(&session);
    socket_unblock(c->fd);
    watch(c, EPOLLIN, EPOLL_CTL_ADD);
}

void peer_open(struct peer *p, const struct load *load, size_t connections) {
    p->load = load;
    p->count = connections;
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->conns = calloc(connections, sizeof *p->conns);
    if (!p->conns || p->epoll < 0)
        die("%s: opening", p->name);
    for (size_t i = 0; i < connections; i++)
        conn_open(&p->conns[i], p);
}

void peer_sessions(struct peer *p, size_t sessions) {
    struct bytes session = { 0 };
    struct conn c = { .peer = p, .fd = socket_connect(p->port) };
    if (c.fd < 0)
        die("%s: connecting to 127.0.0.1:%u", p->name, p->port);
    for (size_t i = 0; i < sessions; i++)
        handshake(&c, &session);
    bytes_free(&session);
    bytes_free(&c.in.in);
}

/* ---- answers ----------------------------------------------------------------------- */

_Noreturn static void wrong(struct conn *c, const char *why) {
    const struct bytes *in = &c->in.in;
    errno = 0;
    die("%s: request %.*s: %s: %.*s", c->peer->name, ID_DIGITS, c->request.p + c->id_at, why,
        (int)(in->n < 800 ? in->n : 800), in->p ? in->p : "");
}

/* The raw `text` of result.content[0]; the cursor is at the value of `result`. */
static struct span first_text(struct json *j) {
    struct span key, text = { 0 };
    for (bool in = json_open(j); in && json_member(j, &key);) {
        if (!span_is(key, SPAN("content"))) {
            json_value(j);
            continue;
        }
        json_open(j);
        while (json_element(j))
            for (json_open(j); json_member(j, &key);) {
                struct span value = json_value(j);
                if (!text.p && span_is(key, SPAN("text")))
                    text = value;
            }
    }
    return text;
}

static int64_t count_tools(struct span result) {
    int64_t count = 0;
    const char *p = result.p, *end = result.p + result.n;
    while ((p = memmem(p, (size_t)(end - p), "\"inputSchema\"", 13)))
        p += 13, count++;
    return count;
}

/* Is this JSON text the right answer to c's call? NULL, or what is wrong with it. */
static const char *check(const struct conn *c, struct span text) {
    const struct load *load = c->peer->load;
    struct json j = { text.p, text.p + text.n };
    struct span key, id = { 0 }, echoed = { 0 };
    int64_t tools = 0;
    bool worked = false;
    for (bool in = json_open(&j); in && json_member(&j, &key);) {
        bool result = span_is(key, SPAN("result"));
        worked |= result;
        if (result && calls_tool(load))
            echoed = first_text(&j);
        else if (result)
            tools = count_tools(json_value(&j));
        else {
            struct span value = json_value(&j);
            if (span_is(key, SPAN("id")))
                id = value;
        }
    }
    if (!span_is(id, (struct span){ c->request.p + c->id_at, ID_DIGITS }))
        return "wrong id";
    if (load->ping)
        return worked ? NULL : "no result";
    if (load->list_tools)
        return tools == load->list_tools ? NULL : "wrong number of tools";
    struct span sent = { c->request.p + c->text_at - 1, load->text_bytes + 2 };
    return span_is(echoed, sent) ? NULL : "wrong text";
}

/* The response among the events of a stream: the first data line that answers. */
static const char *check_events(const struct conn *c, struct span body) {
    const char *why = "no event with an answer", *end = body.p + body.n;
    for (const char *line = body.p, *stop; line < end; line = stop + 1) {
        stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop)
            break;
        if (stop - line < 7 || memcmp(line, "data:", 5))
            continue;
        why = check(c, (struct span){ line + 5, (size_t)(stop - line - 5) });
        if (!why)
            return NULL;
    }
    return why;
}

static void verify(struct conn *c) {
    if (c->in.frame.status != 200)
        wrong(c, "not 200");
    struct span body = message_body(&c->in);
    const char *why = body.n && body.p[0] == '{' ? check(c, body) : check_events(c, body);
    if (why)
        wrong(c, why);
}

/* ---- calls ------------------------------------------------------------------------- */

static void send_rest(struct conn *c) {
    ssize_t sent = send(c->fd, c->request.p + c->sent, c->request.n - c->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        wrong(c, "sending");
    if (sent > 0)
        c->sent += (size_t)sent;
    watch(c, c->sent < c->request.n ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void write_digits(char *at, uint64_t number) {
    for (char *p = at + ID_DIGITS; p > at; number /= 10)
        *--p = (char)('0' + number % 10);
}

void conn_call(struct conn *c) {
    uint64_t id = ++last_id;
    write_digits(c->request.p + c->id_at, id);
    if (calls_tool(c->peer->load))
        write_digits(c->request.p + c->text_at, id);
    c->sent = 0;
    send_rest(c);
}

bool conn_event(struct conn *c, uint32_t events) {
    if (events & EPOLLOUT)
        send_rest(c);
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        return false;
    enum reading got = message_read(&c->in, c->fd);
    if (got == READ_CLOSED)
        wrong(c, "closed");
    if (got == READ_MORE)
        return false;
    verify(c);
    if (c->sent < c->request.n)
        wrong(c, "answered before it was asked");
    message_next(&c->in);
    return true;
}
