/* response.h - what a response says of itself, told without reading more of it than one must.
 *
 * Results of modern servers name their kind in `resultType`; absent means complete (P-085). Nearly
 * all have it as their last member or their first, and then nothing else is looked at.
 *
 * Threads  any; pure functions over validated text
 * Memory   nothing is allocated, slices point into the text given
 */
#pragma once
#include "base/json.h"
#include "mcp/revision.h"

/* It says so in its last member or its first. */
static inline bool result_is_plainly_complete(struct str result) {
    return str_ends(result, S("\"resultType\":\"complete\"}")) ||
           str_starts(result, S("{\"resultType\":\"complete\""));
}

static inline bool result_has_type(struct str result) {
    return result_is_plainly_complete(result) || json_raw_get(result, S("resultType")).p;
}

/* `quoted` is the word as it stands in the text. */
static inline bool result_is_of_type(struct str result, struct str quoted) {
    return str_eq(json_raw_get(result, S("resultType")), quoted);
}

/* What else we have no word for makes no sense. */
static inline bool result_is_complete(struct str result) {
    struct str type = json_raw_get(result, S("resultType"));
    return !type.p || str_eq(type, S("\"complete\""));
}

/* The word stands where a short result has its type. */
static inline bool result_may_say(struct str result, struct str word) {
    return str_find(str_head(result, 64), word) >= 0 ||
           (result.n > 64 && str_find(str_skip(result, result.n - 64), word) >= 0);
}

/* Of an error object; -32603 where it has none. */
static inline int error_code(struct str error) {
    struct str raw = json_raw_get(error, S("code"));
    int64_t code = RPC_INTERNAL;
    if (raw.p)
        str_to_i64(raw, &code);
    return (int)code;
}
