/* envelope_plain.c - the engine for any processor: eight bytes to a word, see envelope_block.inc.
 *
 * Comparisons leave their answer in the top bit of each byte without carrying into the next
 * one (H. Warren, "Hacker's Delight", 2nd ed., §6-1); a multiplication gathers eight of them.
 */

#include "mcp/envelope_lex.h"

#define TARGET
#define INLINE static inline __attribute__((always_inline)) TARGET
#define HOLD(v) (void)(v)
#define LEX lex_plain

typedef uint64_t vec;

/* gcc -O2 keeps a short loop, and with it the block in memory. */
#define EACH_PART _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++)

struct block {
    vec v[8];
};

INLINE vec each(unsigned c) {
    return 0x0101010101010101 * (vec)c;
}

INLINE struct block load(const uint8_t *p) {
    struct block b;
    memcpy(b.v, p, sizeof b.v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    EACH_PART
    b.v[i] = __builtin_bswap64(b.v[i]);
#endif
    return b;
}

INLINE uint64_t high(struct block b) {
    uint64_t m = 0;
    EACH_PART
    m |= (b.v[i] >> 7 & each(1)) * 0x0102040810204080 >> 56 << 8 * i;
    return m;
}

/* Cheaper than `high`, and nearly always all that is asked. */
INLINE bool any_high(struct block b) {
    uint64_t m = 0;
    EACH_PART
    m |= b.v[i];
    return m & each(0x80);
}

/* Taking a space from what is below one borrows, at least from the top bit of its byte. Only
 * the lowest borrow is sure, which is enough for "any" (Warren, as above). */
INLINE bool any_odd(struct block b, vec space) {
    uint64_t m = 0;
    EACH_PART
    m |= b.v[i] | (b.v[i] - space);
    return m & each(0x80);
}

INLINE struct block either(struct block b, vec v) {
    EACH_PART
    b.v[i] |= v;
    return b;
}

INLINE uint64_t upto(struct block b, vec v) {
    EACH_PART
    b.v[i] = ~(((b.v[i] & each(0x7f)) + (each(0x7f) - v)) | b.v[i]);
    return high(b);
}

INLINE uint64_t from(struct block b, vec v) {
    EACH_PART
    b.v[i] &= (b.v[i] & each(0x7f)) + (each(0x80) - (v & each(0x7f)));
    return high(b);
}

INLINE uint64_t eq(struct block b, vec v) {
    EACH_PART
    b.v[i] ^= v;
    return upto(b, 0);
}

INLINE uint64_t ops(struct block b, struct block folded) {
    return eq(folded, each('{')) | eq(folded, each('}')) | eq(b, each(':')) | eq(b, each(','));
}

INLINE bool plain(struct block b, vec quote, vec backslash, vec control) {
    return (eq(b, quote) | eq(b, backslash) | upto(b, control)) == 0;
}

INLINE uint64_t escapable(struct block b) {
    return eq(b, each('"')) | eq(b, each('\\')) | eq(b, each('/')) | eq(b, each('f')) |
           eq(b, each('n')) | eq(either(b, each('b' ^ 'r')), each('r')) |
           eq(either(b, each('t' ^ 'u')), each('u'));
}

INLINE uint64_t inside(uint64_t m) {
    for (int shift = 1; shift < 64; shift *= 2)
        m ^= m << shift;
    return m;
}

#include "mcp/envelope_utf8.inc"

#include "mcp/envelope_block.inc"
