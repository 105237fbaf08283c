/* http_conn.h - what http_server.c and http_answer.c share and nobody else sees. */
#pragma once
#include "net/http_server.h"

enum conn_state {
    AT_HEAD,   /* waiting for a head; `partial` when some of it is there */
    AT_BODY,   /* head admitted, body incomplete */
    AT_BUSY,   /* a request is in flight */
    AT_HTTP2,  /* its streams have states of their own (http2.h) */
    AT_WEBSOCKET, /* its request lives as long as the line (websocket.h) */
    AT_LINGER, /* answered and closing: what still comes is dropped */
};

struct http_conn {
    struct http_conn *next, **back;
    struct http_server *server;
    struct conn *conn; /* NULL once the peer is gone */
    struct http_request *request;
    struct timer timer;
    nanos until;       /* when patience ends; a timer that is set for earlier looks again */
    enum conn_state state;
    bool used;         /* has carried a request */
    bool surplus;      /* beyond the limit: to be told so, see on_accept */
    bool partial, close_after;
    bool large;        /* its last request had a large body: the next one may, too */
    size_t looked;     /* bytes of a partial head in which no more lines end */
    size_t lingered;
    struct http_chunks chunks;
    struct buf body;   /* of known length, or decoded chunks */
    struct sockaddr_storage peer;
    struct http2_conn *http2; /* NULL: HTTP/1 */
    struct websocket *websocket; /* the line that its request became */
    nanos idle_at;     /* HTTP/2: no stream until then ends it */
};

struct http_server {
    struct worker *worker;
    struct http_server_conf conf;
    struct http_service *service;
    struct listener *listeners[8];
    size_t listener_count;
    struct http_conn *conns;
    size_t count, busy;
    atomic_uint own_conns;      /* as conf.conns, where that is NULL */
    bool draining;
    struct http_conn nobody;    /* of requests whose connection went on without them */
    struct http_request *spare; /* by their `user` */
    size_t spares;
    nanos date_at;
    char date[40]; /* "date: Sat, 21 Nov 2026 02:00:00 GMT\r\n" */
    struct str date_line;
};

/* The client is gone or given up: what was begun is dropped, a task in flight is told. */
void http_conn_end(struct http_conn *hc);
/* The request was answered and nobody works on it: on to the next one. */
void http_request_finish(struct http_request *r);
/* The request was answered, its task goes on without the connection. */
void http_conn_leave(struct http_request *r);
/* For HTTP/2: a request from its head as HTTP/1.1 text, 0 or the status that refuses it; its task
 * (false: there are too many); its end without an answer. */
int http_request_parse(struct http_conn *hc, struct str text, struct http_request **out,
                       const char **why);
bool http_request_dispatch(struct http_request *r);
void http_request_free(struct http_request *r);
/* The connection: patience, its last bytes, its end. */
void http_conn_wait(struct http_conn *hc, nanos duration);
void http_conn_linger(struct http_conn *hc);
void http_conn_gone(struct http_conn *hc);
struct str http_date_line(struct http_server *s); /* "date: …\r\n" */
/* The body of a refusal below any route, in the shape of all others; how many bytes. */
enum { HTTP_ERROR_BODY = 512 };
size_t http_error_body(char *out, size_t size, struct str id, int status, const char *why);
/* Why a request is refused, for people. */
#define HTTP_WHY_SURPLUS "too many connections: limits.connections is the bound"
#define HTTP_WHY_BUSY "too many requests in flight: limits.in_flight is the bound"
#define HTTP_WHY_BODY "the body is larger than limits.body allows"
#define HTTP_WHY_MEMORY "no memory for another large body now: limits.buffers is the bound"
/* For a request that has no head which could be trusted: an answer and its close. */
void http_conn_answer_error(struct http_conn *hc, int status, const char *why);
