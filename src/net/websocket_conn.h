/* websocket_conn.h - what http_server.c tells a WebSocket; nobody else sees it. */
#pragma once
#include "net/http_conn.h"
#include "net/websocket.h"

size_t websocket_on_data(struct http_conn *hc, struct str data);
void websocket_on_timer(struct http_conn *hc);
