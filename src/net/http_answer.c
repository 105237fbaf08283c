/* http_answer.c - see http_server.h: answers, whole and streamed. */
#include "base/log.h"
#include "base/mem.h"
#include "net/http2.h"
#include <stdio.h>
#include <time.h>

enum {
    LAG = 256 * 1024,  /* a stream's unsent bytes before the writer waits */
    REST = 64 * 1024,  /* a whole answer's unsent bytes that may outlive its task */
    HEAD_ROOM = 1536,  /* status line and headers of a common answer */
    FIXED_HEAD = 256,  /* of which the lines that are ours */
    PIECES = 12,       /* in one chunk, and of a common answer */
    CHUNK_LINE = 24,
};

const char *http_status_text(int status) {
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 499: return "Client Closed Request";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
    }
}

/* ---- heads ------------------------------------------------------------------------- */

static void write_date(struct http_server *s) {
    time_t wall = clock_wall() / NANOS_SEC;
    struct tm tm;
    gmtime_r(&wall, &tm);
    size_t n = strftime(s->date, sizeof s->date, "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    s->date_line = str_from(s->date, n);
    s->date_at = s->worker->now;
}

struct str http_date_line(struct http_server *s) {
    if (!s->date_line.n || s->worker->now - s->date_at >= NANOS_SEC / 2)
        write_date(s);
    return s->date_line;
}

/* Appends, where head_size has made sure of the room. */
static char *add(char *to, struct str s) {
    memcpy(to, s.p, s.n);
    return to + s.n;
}

static char *add_number(char *to, uint64_t n, unsigned base) {
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = "0123456789abcdef"[n % base];
    while (n /= base);
    return add(to, str_from(digits + at, sizeof digits - at));
}

static char *add_line(char *to, struct str name, struct str value) {
    to = add(to, name);
    to = add(to, S(": "));
    to = add(to, value);
    return add(to, S("\r\n"));
}

static char *add_status(char *to, int status) {
    if (status == 200)
        return add(to, S("HTTP/1.1 200 OK\r\n"));
    to = add(to, S("HTTP/1.1 "));
    to = add_number(to, (uint64_t)status, 10);
    to = add(to, S(" "));
    to = add(to, str_of(http_status_text(status)));
    return add(to, S("\r\n"));
}

static char *add_framing(char *to, const struct http_request *r, int status, int64_t length) {
    if (length >= 0 && status != 204 && status != 304) {
        to = add(to, S("content-length: "));
        to = add_number(to, (uint64_t)length, 10);
        to = add(to, S("\r\n"));
    } else if (length < 0 && r->head->minor_1) {
        to = add(to, S("transfer-encoding: chunked\r\n"));
    }
    if (r->conn->close_after)
        return add(to, S("connection: close\r\n"));
    return r->head->minor_1 ? to : add(to, S("connection: keep-alive\r\n"));
}

static size_t head_size(const struct http_answer *a) {
    size_t n = FIXED_HEAD + a->type.n;
    for (size_t i = 0; i < a->field_count; i++)
        n += a->fields[i].name.n + a->fields[i].value.n + 4;
    return n;
}

/* `length` < 0: of unknown length. */
static struct str write_head(struct http_request *r, const struct http_answer *a, int64_t length,
                             char *room) {
    char *to = add_status(room, a->status);
    to = add(to, http_date_line(r->conn->server));
    if (a->type.n)
        to = add_line(to, S("content-type"), a->type);
    for (size_t i = 0; i < a->field_count; i++)
        to = add_line(to, a->fields[i].name, a->fields[i].value);
    to = add_line(to, S("x-request-id"), r->id);
    to = add_framing(to, r, a->status, length);
    to = add(to, S("\r\n"));
    return str_from(room, (size_t)(to - room));
}

/* ---- whole answers ----------------------------------------------------------------- */

static void decide_close(struct http_request *r, bool wanted) {
    struct http_conn *hc = r->conn;
    hc->close_after |= wanted || !r->head->keep_alive || hc->server->draining;
}

static bool to_head(const struct http_request *r) {
    return str_eq(r->head->method, S("HEAD"));
}

static int64_t length_of(const struct http_answer *a) {
    int64_t length = 0;
    for (size_t i = 0; i < a->piece_count; i++)
        length += (int64_t)a->pieces[i].n;
    return length;
}

static err_t send_whole(struct http_request *r, const struct http_answer *a) {
    int64_t length = length_of(a);
    char room[HEAD_ROOM];
    struct str few[PIECES], *pieces = few;
    size_t size = head_size(a), n = 1;
    if (a->piece_count >= PIECES)
        pieces = arena_alloc(&r->arena, (a->piece_count + 1) * sizeof *pieces);
    pieces[0] = write_head(r, a, length, size <= sizeof room ? room : arena_alloc(&r->arena, size));
    if (length && !to_head(r) && a->status != 204 && a->status != 304) {
        memcpy(pieces + 1, a->pieces, a->piece_count * sizeof *pieces);
        n += a->piece_count;
    }
    r->answered = true;
    r->status = a->status;
    r->sent = pieces[0].n + (n > 1 ? (size_t)length : 0);
    return conn_send(r->conn->conn, pieces, n);
}

/* An answer can be given to who is there, and once: a second one would be taken for that
 * of the next request. */
static err_t may_answer(const struct http_request *r) {
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    return r->answered ? ERR(INTERNAL, "the request was answered already") : OK;
}

err_t http_respond(struct task *t, struct http_request *r, const struct http_answer *a) {
    if (r->stream)
        return http2_respond(t, r, a);
    TRY(may_answer(r));
    decide_close(r, a->close);
    TRY(send_whole(r, a));
    if (conn_queued(r->conn->conn) <= REST)
        return OK;
    SCOPED(shield_scope) struct shield shield = task_shield(t, r->conn->server->conf.send_timeout);
    return conn_drain(t, r->conn->conn, REST);
}

int http_refuse(struct http_request *r, const struct http_answer *a) {
    if (r->stream)
        return http2_refuse(r, a);
    bool body_follows = r->head->content_length > 0 || r->head->chunked;
    decide_close(r, a->close || body_follows);
    send_whole(r, a);
    return a->status;
}

/* The words are rows of gateway/refusal.h, whose shape this is. */
static const char *error_word(int status) {
    switch (status) {
    case 408: return "request_timeout";
    case 413: return "too_large";
    case 414: return "uri_too_long";
    case 431: return "head_too_large";
    case 503: return "overload";
    case 505: return "http_version";
    default: return "bad_request";
    }
}

size_t http_error_body(char *out, size_t size, struct str id, int status, const char *why) {
    char when[CLOCK_TEXT];
    struct str at = clock_rfc3339(clock_wall(), when);
    int n = snprintf(out, size,
                     "{\"error\":\"%s\",\"message\":\"%s\",\"details\":{\"requestId\":\"%.*s\"},"
                     "\"timestamp\":\"%.*s\"}",
                     error_word(status), why, STR(id), STR(at));
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

void http_conn_answer_error(struct http_conn *hc, int status, const char *why) {
    char body[HTTP_ERROR_BODY], head[512], id[40] = "";
    struct str request = hc->request ? hc->request->id : S("");
    if (hc->request) {
        snprintf(id, sizeof id, "x-request-id: %.*s\r\n", STR(hc->request->id));
        hc->request->status = status;
    }
    size_t n = http_error_body(body, sizeof body, request, status, why);
    struct str pieces[] = { S(""), str_from(body, n) };
    snprintf(head, sizeof head,
             "HTTP/1.1 %d %s\r\n%.*scontent-type: application/json\r\ncontent-length: %zu\r\n%s%s"
             "connection: close\r\n\r\n",
             status, http_status_text(status), STR(http_date_line(hc->server)), pieces[1].n, id,
             status == 503 ? "retry-after: 1\r\n" : "");
    pieces[0] = str_of(head);
    log_debug("request refused", F("status", status), F("why", why));
    hc->close_after = true;
    conn_send(hc->conn, pieces, ARRAY_SIZE(pieces));
}

/* ---- streams ----------------------------------------------------------------------- */

err_t http_stream_begin(struct task *t, struct http_request *r, const struct http_answer *a) {
    if (r->stream)
        return http2_stream_begin(r, a);
    TRY(may_answer(r));
    decide_close(r, a->close || !r->head->minor_1);
    struct str head = write_head(r, a, -1, arena_alloc(&r->arena, head_size(a)));
    r->answered = r->streaming = true;
    r->status = a->status;
    r->sent = head.n;
    return conn_send(r->conn->conn, &head, 1);
}

/* One chunk (RFC 9112 §7.1); nothing for no bytes, since that would be the last one. */
static err_t send_chunk(struct http_request *r, const struct str *pieces, size_t n) {
    char line[CHUNK_LINE];
    struct str all[PIECES + 2];
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += pieces[i].n;
        all[i + 1] = pieces[i];
    }
    if (total == 0 || to_head(r))
        return OK;
    r->sent += total;
    if (!r->head->minor_1)
        return conn_send(r->conn->conn, all + 1, n);
    all[0] = str_from(line, (size_t)(add(add_number(line, total, 16), S("\r\n")) - line));
    all[n + 1] = S("\r\n");
    return conn_send(r->conn->conn, all, n + 2);
}

static err_t send_chunks(struct http_request *r, const struct str *pieces, size_t n) {
    for (; n > PIECES; pieces += PIECES, n -= PIECES)
        TRY(send_chunk(r, pieces, PIECES));
    return send_chunk(r, pieces, n);
}

static err_t send_last_chunk(struct http_request *r) {
    struct str last = S("0\r\n\r\n");
    r->streaming = false;
    return r->head->minor_1 && !to_head(r) ? conn_send(r->conn->conn, &last, 1) : OK;
}

err_t http_stream_write(struct task *t, struct http_request *r, const struct str *pieces,
                        size_t n) {
    if (r->stream)
        return http2_stream_write(t, r, pieces, n);
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    TRY(send_chunks(r, pieces, n));
    if (conn_queued(r->conn->conn) <= LAG)
        return OK;
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, r->conn->server->conf.send_timeout);
    return conn_drain(t, r->conn->conn, LAG / 2);
}

err_t http_stream_end(struct task *t, struct http_request *r) {
    if (r->stream)
        return http2_stream_end(r);
    if (r->gone)
        return ERR(CLOSED, "the client is gone");
    return send_last_chunk(r);
}

void http_stream_detach(struct http_request *r, void (*on_gone)(struct http_request *r)) {
    r->detached = true;
    r->on_gone = on_gone;
}

/* While its task runs, a lost client is told when the task returns. */
bool http_stream_push(struct http_request *r, const struct str *pieces, size_t n) {
    if (r->stream)
        return http2_stream_push(r, pieces, n);
    if (r->gone)
        return true;
    if (!send_chunks(r, pieces, n) && conn_queued(r->conn->conn) <= LAG)
        return true;
    bool told_now = !r->task;
    http_conn_end(r->conn);
    return !told_now;
}

void http_stream_close(struct http_request *r) {
    r->pinned = true;
    if (!r->gone && r->stream)
        http2_stream_end(r);
    else if (!r->gone)
        send_last_chunk(r);
    r->pinned = r->detached = false;
    if (!r->task)
        http_request_finish(r);
}

void http_stream_borrow(struct task *t, struct http_request *r) {
    r->task = t;
}

bool http_stream_give_back(struct http_request *r, bool failed) {
    r->task = NULL;
    if (r->detached && !r->gone && !failed)
        return true;
    if (r->detached && !r->gone) {
        http_stream_abort(r);
        return false;
    }
    if (r->detached)
        r->on_gone(r);
    http_request_finish(r);
    return false;
}

void http_stream_abort(struct http_request *r) {
    if (r->gone)
        return;
    if (r->stream)
        http2_stream_abort(r);
    else
        http_conn_end(r->conn);
}

void http_stream_leave(struct http_request *r) {
    if (r->gone)
        return;
    if (r->stream)
        http2_stream_end(r);
    else if (!send_last_chunk(r))
        http_conn_leave(r);
    r->gone = true;
}
