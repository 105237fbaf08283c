/* face_http.h - MCP over Streamable HTTP towards clients, both eras on one URL
 * (PROTOCOL §5.3, §5.4, §3.3). */
#pragma once
#include "gateway/gateway.h"

/* Serves /mcp and /mcp/<profile>; visit_admit has run, visit->rest is the profile's name. */
void face_http_serve(struct task *t, struct http_request *r);
