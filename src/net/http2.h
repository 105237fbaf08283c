/* http2.h - HTTP/2 connections of clients (RFC 9113): nghttp2 frames, our requests.
 *
 * A connection begins as HTTP/1 and becomes this one when its first bytes are the client's
 * preface, over TLS (ALPN h2) or plain (prior knowledge). Each stream is a struct
 * http_request like any other: its head is written down as an HTTP/1.1 head and read by the
 * same strict parser, so that one set of rules holds for both. http_server.h's functions
 * send answers here when a request has a stream.
 *
 * Abuse    streams, header bytes and fields, body bytes and their time are bounded as for
 *          HTTP/1. Frames that cause work and carry none (SETTINGS, PING, PRIORITY, empty
 *          DATA, RST_STREAM, CONTINUATION without end) spend a credit that grows with time
 *          and with what is transferred; who runs out of it gets ENHANCE_YOUR_CALM. A peer
 *          that leaves its window at zero is cut off after send_timeout.
 *
 * Threads  one worker
 * Source   RFC 9113, RFC 7541 by nghttp2
 */
#pragma once
#include "net/http_conn.h"

/* The bytes are the preface: whole (1), its beginning (0), or something else (-1). */
int http2_preface(struct str data);

/* hc->state becomes AT_HTTP2; its bytes go to http2_on_data from the preface on. */
void http2_open(struct http_conn *hc);
size_t http2_on_data(struct http_conn *hc, struct str data);
void http2_on_drained(struct http_conn *hc);
void http2_on_timer(struct http_conn *hc);
/* The peer is gone, hc->conn closed. Frees hc once no task works for it any more. */
void http2_end(struct http_conn *hc);
/* GOAWAY: streams in flight are answered, new ones refused. */
void http2_drain(struct http_conn *hc);
bool http2_idle(const struct http_conn *hc);
/* Cancels every task of it. */
void http2_cancel(struct http_conn *hc);

/* What http_server.h says, for requests with a stream. */
err_t http2_respond(struct task *t, struct http_request *r, const struct http_answer *a);
int http2_refuse(struct http_request *r, const struct http_answer *a);
err_t http2_stream_begin(struct http_request *r, const struct http_answer *a);
err_t http2_stream_write(struct task *t, struct http_request *r, const struct str *pieces,
                         size_t n);
err_t http2_stream_end(struct http_request *r);
bool http2_stream_push(struct http_request *r, const struct str *pieces, size_t n);
/* Resets it; true when the request is gone already. */
bool http2_stream_abort(struct http_request *r);
void http2_finish(struct http_request *r);
