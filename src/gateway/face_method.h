/* face_method.h - one MCP method for each path: POST /mcp/v1/tools/list and its like, for
 * programs that speak HTTP and JSON but no MCP.
 *
 * The body is a whole JSON-RPC message, answered whole, or just its params (nothing: {}),
 * answered with the bare result and HTTP's own status. With an Mcp-Session-Id it is that
 * session's; without, each request stands alone and cannot be asked questions. */
#pragma once
#include "gateway/gateway.h"

void face_method_serve(struct task *t, struct http_request *r);
