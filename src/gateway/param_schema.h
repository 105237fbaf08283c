/* param_schema.h - x-mcp-header annotations of a tool's inputSchema (P-077).
 *
 *   {"properties": {"where": {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}}}
 *   ->  [{"header":"Region","path":["where","region"],"type":"string"}]
 *
 * Valid are non-empty HTTP tokens, distinct without regard to case, on strings, integers
 * and booleans that are reached through `properties` alone.
 *
 * Threads  any; pure functions
 */
#pragma once
#include "base/json.h"

#define PARAM_HEADERS_MAX 64      /* of one tool */
#define PARAM_HEADER_NAME_MAX 128

/* *out is NULL when there is no annotation. INVALID says what is wrong with one. */
err_t param_schema_read(struct arena *a, json input_schema, json *out);
