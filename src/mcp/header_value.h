/* header_value.h - text in Mcp-Name and Mcp-Param-* headers (P-073, P-074, P-075). */
#pragma once
#include "base/arena.h"

/* Writes the value as a header carries it: as is, or as =?base64?…?= where it must be.
 * Returns the bytes written: at most 2 * text.n + 24 (callers make room for that). */
size_t header_value_write(char *out, struct str text);
/* The text that a received value stands for, borrowed or in the arena; false when it is a
 * complete sentinel with bad padding or alphabet. */
bool header_value_read(struct arena *a, struct str value, struct str *out);
