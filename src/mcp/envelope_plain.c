/* envelope_plain.c - the engine for any processor: eight bytes to a word, see envelope_block.inc.
 *
 * Comparisons leave their answer in the top bit of each byte without carrying into the next
 * one (H. Warren, "Hacker's Delight", 2nd ed., §6-1); a multiplication gathers eight of them.
 */

#include "mcp/envelope_lex.h"

#define TARGET
#define INLINE static inline __attribute__((always_inline))
#define LEX lex_plain

#define EACH(byte) (0x0101010101010101 * (uint64_t)(byte))

struct block {
    uint64_t v[8];
};

INLINE struct block load(const uint8_t *p) {
    struct block b;
    memcpy(b.v, p, sizeof b.v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    for (int i = 0; i < 8; i++)
        b.v[i] = __builtin_bswap64(b.v[i]);
#endif
    return b;
}

INLINE uint64_t high(struct block b) {
    uint64_t m = 0;
    for (int i = 0; i < 8; i++)
        m |= (b.v[i] >> 7 & EACH(1)) * 0x0102040810204080 >> 56 << 8 * i;
    return m;
}

INLINE uint64_t upto(struct block b, uint8_t c) {
    for (int i = 0; i < 8; i++)
        b.v[i] = ~(((b.v[i] & EACH(0x7f)) + EACH(0x7f - c)) | b.v[i]);
    return high(b);
}

INLINE uint64_t from(struct block b, uint8_t c) {
    for (int i = 0; i < 8; i++)
        b.v[i] &= (b.v[i] & EACH(0x7f)) + EACH(0x100 - c);
    return high(b);
}

INLINE uint64_t eq(struct block b, uint8_t c) {
    for (int i = 0; i < 8; i++)
        b.v[i] ^= EACH(c);
    return upto(b, 0);
}

INLINE uint64_t alike(struct block b, uint8_t bit, uint8_t c) {
    for (int i = 0; i < 8; i++)
        b.v[i] |= EACH(bit);
    return eq(b, c);
}

/* `[` and `]` are `{` and `}` without the bit 0x20. */
INLINE uint64_t ops(struct block b) {
    return alike(b, 0x20, '{') | alike(b, 0x20, '}') | eq(b, ':') | eq(b, ',');
}

INLINE uint64_t inside(uint64_t m) {
    for (int shift = 1; shift < 64; shift *= 2)
        m ^= m << shift;
    return m;
}

#include "mcp/envelope_utf8.inc"

#include "mcp/envelope_block.inc"
