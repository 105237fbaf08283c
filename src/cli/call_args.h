/* call_args.h - arguments of a tool as a command line spells them.
 *
 *   count=3 deep=true names='["a","b"]' text=hello   or   '{"count": 3, …}'
 *
 * The tool's inputSchema says what a value is; where it does not say, what reads as a JSON
 * value other than a string is one, and everything else is text.
 */
#pragma once
#include "base/json.h"

/* Appends the object. INVALID names the argument and what it takes. */
err_t call_args_read(struct arena *a, json input_schema, const struct str *words, size_t n,
                     struct buf *out);
