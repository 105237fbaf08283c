/* http1_names.h - finds the headers that somebody reads; inside of http1.c.
 *
 * A new row of HTTP_HEADERS needs a row of known_slots; http1_test.c notices a missing one.
 */
#pragma once
#include "net/http1.h"
#include "net/http1_runs.h"

/* Row 0 is nobody's: "" has no colon. */
static const union {
    char text[32];
    block blocks[2];
} known_names[HTTP_HEADER_COUNT + 1] = {
#define X(name, lower) [HTTP_##name + 1] = { lower ":" },
    HTTP_HEADERS(X)
#undef X
};

/* Length and first byte tell the known names apart. The factor 8 drops the bit that upper
 * and lower case differ in. Two names in one slot are a compiler error: try another 23. */
#define SLOT(n, first) (uint8_t)((n)*23 + (uint8_t)(first) * 8)
static const uint8_t known_slots[256] = {
#define AT(n, first, name) [SLOT(n, first)] = HTTP_##name + 1
    AT(4, 'h', HOST), AT(14, 'c', CONTENT_LENGTH), AT(17, 't', TRANSFER_ENCODING),
    AT(10, 'c', CONNECTION), AT(12, 'c', CONTENT_TYPE), AT(6, 'a', ACCEPT),
    AT(13, 'a', AUTHORIZATION), AT(6, 'o', ORIGIN), AT(6, 'e', EXPECT),
    AT(7, 'u', UPGRADE), AT(2, 't', TE), AT(4, 'd', DATE), AT(6, 's', SERVER),
    AT(14, 'm', MCP_SESSION_ID), AT(20, 'm', MCP_PROTOCOL_VERSION),
    AT(10, 'm', MCP_METHOD), AT(8, 'm', MCP_NAME), AT(13, 'l', LAST_EVENT_ID),
    AT(11, 't', TRACEPARENT), AT(10, 't', TRACESTATE), AT(7, 'b', BAGGAGE),
    AT(11, 'r', RETRY_AFTER), AT(16, 'w', WWW_AUTHENTICATE), AT(8, 'l', LOCATION),
    AT(13, 'i', IF_NONE_MATCH), AT(8, 'i', IF_MATCH), AT(4, 'e', ETAG),
    AT(15, 'a', ACCEPT_ENCODING), AT(16, 'c', CONTENT_ENCODING),
    AT(15, 'i', IDEMPOTENCY_KEY), AT(6, 'p', PREFER), AT(12, 'x', X_REQUEST_ID),
    AT(29, 'a', ACRM), AT(30, 'a', ACRH), AT(9, 'x', X_API_KEY),
    AT(6, 'c', COOKIE),
#undef AT
};

/* Bit i: byte i of b is byte i of the name, in either case. Only letters have a case, and
 * of what names are made of only they have bit 6, which a shift makes the bit of case. */
static inline unsigned same_bytes(block b, block name) {
    typedef uint16_t pairs __attribute__((vector_size(16)));
    block letter = (block)((pairs)name >> 1) & 0x20;
    return mask_bits((b | letter) == name);
}

static inline unsigned slot_row(size_t n, const char *name) {
    return known_slots[SLOT(n, *name)];
}

/* As known_name, with the colon behind the first 16 bytes. */
static inline bool known_long_name(block low, const char *p, struct run_text t, size_t *n,
                                   unsigned *row) {
    if (t.end - p <= 16)
        return false;
    block high = block_load(p + 16, t);
    size_t more = (size_t)__builtin_ctz(mask_bits(high == ':') | 1u << 16);
    *n = 16 + more;
    *row = slot_row(*n, p);
    return same_bytes(low, known_names[*row].blocks[0]) == 0xffff &&
           (size_t)__builtin_ctz(~same_bytes(high, known_names[*row].blocks[1])) > more;
}

/* True when a known name of n bytes and its colon stand at p, which vouches for each byte
 * of it. The row is its id + 1. */
static inline bool known_name(const char *p, struct run_text t, size_t *n, unsigned *row) {
    block low = block_load(p, t);
    unsigned colons = mask_bits(low == ':');
    if (!colons)
        return known_long_name(low, p, t, n, row);
    *n = (size_t)__builtin_ctz(colons);
    *row = slot_row(*n, p);
    return (size_t)__builtin_ctz(~same_bytes(low, known_names[*row].blocks[0])) > *n;
}
