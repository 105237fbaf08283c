/* param_headers.h - tool arguments mirrored in Mcp-Param-* headers (P-075..P-079, P-420,
 * P-450): written towards modern upstreams, compared where modern clients send them. */
#pragma once
#include "gateway/exchange.h"

/* "Mcp-Param-X: value\r\n" lines for the arguments that are there and not null. */
struct str param_headers_write(struct arena *a, json header_params, struct str arguments);
/* True when every annotated argument has its header and no header differs; else answers
 * -32020 and returns false. `header_params` may be NULL. */
bool param_headers_match(struct exchange *x, json header_params);
/* What the upstream lists for its tool now: x-mcp-header annotations as in param_schema.h.
 * UPSTREAM when it lists no such tool. Waits. */
struct upstream;
err_t tool_header_params(struct task *t, struct upstream *u, struct str tool, struct arena *a,
                         json *out);
