/* websocket.c - see websocket.h. wslay reads from the slice at hand and writes into `out`,
 * which goes to the connection in one send. */
#include "net/websocket.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/metrics.h"
#include "net/websocket_conn.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <wslay/wslay.h>

#define LAG ((size_t)256 * 1024)
#define PING_AFTER (30 * NANOS_SEC)
#define PATIENCE (20 * NANOS_SEC)
#define GOODBYE (2 * NANOS_SEC)

struct websocket {
    struct http_request *request;
    const struct websocket_ops *ops;
    void *owner;
    wslay_event_context_ptr wslay;
    size_t max_message;
    struct str in;      /* what wslay has not read yet */
    struct buf message; /* as far as it came */
    struct buf out;     /* frames on their way to the connection */
    uint8_t opcode;     /* of the frame that comes */
    bool asked;         /* with a ping, or goodbye: silence ends it */
    bool closing, inside, over;
};

static struct http_conn *conn_of(const struct websocket *ws) {
    return ws->request->conn;
}

/* ---- the end ----------------------------------------------------------------------- */

static void websocket_free(struct websocket *ws) {
    wslay_event_context_free(ws->wslay);
    net_buf_done(ws->request->worker, &ws->message);
    buf_done(&ws->out);
    free(ws);
}

/* The connection is gone, or is to go: told by http_server.c, once. */
static void on_request_gone(struct http_request *r) {
    struct websocket *ws = r->conn->websocket;
    if (!ws || ws->over)
        return;
    ws->over = true;
    ws->ops->on_gone(ws->owner);
    if (ws->inside)
        return; /* freed by whoever is inside */
    r->conn->websocket = NULL;
    websocket_free(ws);
}

/* Both have said goodbye, or one of them without the other. */
static void end(struct websocket *ws) {
    struct http_request *r = ws->request;
    on_request_gone(r);
    r->conn->close_after = true;
    r->detached = false;
    if (!r->task)
        http_request_finish(r);
}

/* ---- sending ----------------------------------------------------------------------- */

static ssize_t put_frame(wslay_event_context_ptr ctx, const uint8_t *data, size_t n, int flags,
                         void *arg) {
    struct websocket *ws = arg;
    buf_put(&ws->out, data, n);
    return (ssize_t)n;
}

static void flush(struct websocket *ws) {
    struct http_conn *hc = conn_of(ws);
    wslay_event_send(ws->wslay);
    struct str piece = buf_view(&ws->out);
    if (piece.n && hc->conn) {
        conn_send(hc->conn, &piece, 1); /* its failure comes as the connection's end */
        ws->request->sent += piece.n;
    }
    buf_done(&ws->out);
}

static bool queue(struct websocket *ws, const struct str *pieces, size_t n) {
    SCOPED(buf_done) struct buf text = { 0 };
    for (size_t i = 0; i < n; i++)
        buf_str(&text, pieces[i]);
    struct wslay_event_msg m = { WSLAY_TEXT_FRAME, (const uint8_t *)buf_text(&text), text.n };
    return wslay_event_queue_msg(ws->wslay, &m) == 0;
}

err_t websocket_send(struct task *t, struct websocket *ws, const struct str *pieces, size_t n) {
    struct http_conn *hc = conn_of(ws);
    if (ws->over || !hc->conn || !queue(ws, pieces, n))
        return ERR(CLOSED, "the client is gone");
    flush(ws);
    if (conn_queued(hc->conn) <= LAG)
        return OK;
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, hc->server->conf.send_timeout);
    return conn_drain(t, hc->conn, LAG / 2);
}

bool websocket_push(struct websocket *ws, struct str text) {
    struct http_conn *hc = conn_of(ws);
    if (ws->over || !hc->conn || !queue(ws, &text, 1))
        return !ws->over;
    flush(ws);
    if (conn_queued(hc->conn) <= LAG)
        return true;
    log_info("a WebSocket client lags; its line is ended");
    end(ws);
    return false;
}

void websocket_close(struct websocket *ws, unsigned code, const char *reason) {
    if (ws->closing || ws->over)
        return;
    ws->closing = ws->asked = true;
    wslay_event_queue_close(ws->wslay, (uint16_t)code, (const uint8_t *)reason, strlen(reason));
    flush(ws);
    http_conn_wait(conn_of(ws), GOODBYE);
}

/* ---- receiving --------------------------------------------------------------------- */

static ssize_t read_in(wslay_event_context_ptr ctx, uint8_t *to, size_t room, int flags,
                       void *arg) {
    struct websocket *ws = arg;
    size_t n = ws->in.n < room ? ws->in.n : room;
    if (!n) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, ws->in.p, n);
    ws->in = str_skip(ws->in, n);
    return (ssize_t)n;
}

static bool is_control(uint8_t opcode) {
    return opcode & 8;
}

static void on_frame(wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_start_arg *f, void *arg) {
    struct websocket *ws = arg;
    ws->opcode = f->opcode;
    if (is_control(f->opcode))
        return;
    if (f->opcode == WSLAY_BINARY_FRAME)
        websocket_close(ws, WSLAY_CODE_UNSUPPORTED_DATA, "messages are text");
    else if (f->payload_length > ws->max_message - ws->message.n)
        websocket_close(ws, WSLAY_CODE_MESSAGE_TOO_BIG, "larger than limits.body");
    else if (!net_may_buffer(ws->request->worker, (size_t)f->payload_length))
        websocket_close(ws, 1013, "no memory for another large message now");
}

static void on_chunk(wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_chunk_arg *c, void *arg) {
    struct websocket *ws = arg;
    if (!is_control(ws->opcode) && !ws->closing)
        net_buf_put(ws->request->worker, &ws->message,
                    str_from((const char *)c->data, c->data_length));
}

static void on_whole(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m,
                     void *arg) {
    struct websocket *ws = arg;
    if (is_control(m->opcode) || ws->closing || ws->over)
        return;
    bool ok = ws->ops->on_message(ws->owner, buf_view(&ws->message));
    net_buf_done(ws->request->worker, &ws->message);
    if (!ok)
        websocket_close(ws, WSLAY_CODE_POLICY_VIOLATION, "not accepted any more");
}

/* The close frames have crossed, or nothing can follow. */
static bool is_finished(struct websocket *ws) {
    return wslay_event_get_close_received(ws->wslay) || !wslay_event_get_read_enabled(ws->wslay);
}

size_t websocket_on_data(struct http_conn *hc, struct str data) {
    struct websocket *ws = hc->websocket;
    if (!ws)
        return data.n; /* its task is about to return */
    ws->in = data;
    ws->asked = ws->closing;
    if (!ws->closing)
        http_conn_wait(hc, PING_AFTER);
    ws->inside = true;
    int failed = wslay_event_recv(ws->wslay);
    ws->inside = false;
    if (ws->over) {
        hc->websocket = NULL;
        websocket_free(ws);
        return data.n;
    }
    if (failed)
        metric_add(METRIC_SERIES(&metric_broken, S("websocket")), 1);
    flush(ws);
    bool floods = conn_queued(hc->conn) > LAG; /* pongs that nobody takes */
    if (failed || floods || is_finished(ws))
        end(ws);
    return data.n;
}

void websocket_on_timer(struct http_conn *hc) {
    struct websocket *ws = hc->websocket;
    if (!ws)
        return;
    if (ws->asked) {
        end(ws);
        return;
    }
    struct wslay_event_msg ping = { WSLAY_PING, (const uint8_t *)"", 0 };
    wslay_event_queue_msg(ws->wslay, &ping);
    ws->asked = true;
    flush(ws);
    http_conn_wait(hc, PATIENCE);
}

/* ---- the handshake (RFC 6455 §4.2) ------------------------------------------------- */

bool websocket_asked(const struct http_head *h) {
    struct str upgrade = h->known[HTTP_UPGRADE];
    return h->upgrade && upgrade.p && http_has_token(upgrade, S("websocket"));
}

static void accept_of(struct str key, char out[32]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[128];
    int n = snprintf(text, sizeof text, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", STR(key));
    EVP_Digest(text, (size_t)n, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)out, digest, 20);
}

static err_t refuse(struct task *t, struct http_request *r, int status, const char *why) {
    struct str body = arena_fmt(&r->arena, "{\"error\":\"websocket\",\"message\":\"%s\"}", why);
    struct http_field version = { S("sec-websocket-version"), S("13") };
    TRY(http_respond(t, r, &(struct http_answer){
        .status = status, .type = S("application/json"), .fields = &version,
        .field_count = status == 426, .pieces = &body, .piece_count = 1 }));
    return ERR(INVALID, "%s", why);
}

static err_t check(struct task *t, struct http_request *r, struct str key) {
    if (r->stream)
        return refuse(t, r, 400, "a WebSocket needs HTTP/1.1");
    if (!str_eq(http_find(r->head, S("sec-websocket-version")), S("13")))
        return refuse(t, r, 426, "Sec-WebSocket-Version must be 13");
    if (key.n != 24 || !str_ends(key, S("==")))
        return refuse(t, r, 400, "Sec-WebSocket-Key must be 16 bytes in base64");
    return OK;
}

static struct websocket *websocket_new(struct http_request *r, size_t max_message,
                                       const struct websocket_ops *ops, void *owner) {
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = read_in, .send_callback = put_frame, .on_frame_recv_start_callback = on_frame,
        .on_frame_recv_chunk_callback = on_chunk, .on_msg_recv_callback = on_whole,
    };
    struct websocket *ws = NEW(struct websocket);
    *ws = (struct websocket){
        .request = r, .ops = ops, .owner = owner, .max_message = max_message
    };
    wslay_event_context_server_init(&ws->wslay, &callbacks, ws);
    wslay_event_config_set_no_buffering(ws->wslay, 1);
    return ws;
}

static err_t send_head(struct http_request *r, struct str key, struct str protocol) {
    char accept[32];
    struct str offered = http_find(r->head, S("sec-websocket-protocol"));
    bool chosen = protocol.n && offered.p && http_has_token(offered, protocol);
    accept_of(key, accept);
    struct str head = arena_fmt(
        &r->arena,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-accept: %s\r\nx-request-id: %.*s\r\n%s%.*s%s\r\n",
        accept, STR(r->id), chosen ? "sec-websocket-protocol: " : "", chosen ? (int)protocol.n : 0,
        protocol.p ? protocol.p : "", chosen ? "\r\n" : "");
    r->answered = true;
    r->status = 101;
    return conn_send(r->conn->conn, &head, 1);
}

err_t websocket_accept(struct task *t, struct http_request *r, struct str protocol,
                       size_t max_message, const struct websocket_ops *ops, void *owner,
                       struct websocket **out) {
    struct str key = http_find(r->head, S("sec-websocket-key"));
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    TRY(check(t, r, key));
    TRY(send_head(r, key, protocol));
    struct http_conn *hc = r->conn;
    hc->websocket = *out = websocket_new(r, max_message, ops, owner);
    hc->state = AT_WEBSOCKET;
    http_stream_detach(r, on_request_gone);
    http_conn_wait(hc, PING_AFTER);
    if (conn_kept(hc->conn) || hc->conn->paused)
        conn_resume(hc->conn);
    return OK;
}
