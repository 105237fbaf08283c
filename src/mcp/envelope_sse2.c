/* envelope_sse2.c - the engine of every x86-64 processor: see envelope_block.inc. */

#ifdef __x86_64__
#include "mcp/envelope_lex.h"

#include <emmintrin.h>

#define TARGET
#define INLINE static inline __attribute__((always_inline))
#define LEX lex_sse2

struct block {
    __m128i v[4];
};

INLINE struct block load(const uint8_t *p) {
    const __m128i *v = (const __m128i *)(const void *)p;
    return (struct block){ { _mm_loadu_si128(v), _mm_loadu_si128(v + 1), _mm_loadu_si128(v + 2),
                             _mm_loadu_si128(v + 3) } };
}

INLINE uint64_t high(struct block b) {
    uint64_t m = 0;
    for (int i = 0; i < 4; i++)
        m |= (uint64_t)(uint32_t)_mm_movemask_epi8(b.v[i]) << 16 * i;
    return m;
}

INLINE struct block both(struct block b, __m128i bits) {
    for (int i = 0; i < 4; i++)
        b.v[i] = _mm_or_si128(b.v[i], bits);
    return b;
}

INLINE uint64_t eq(struct block b, uint8_t c) {
    for (int i = 0; i < 4; i++)
        b.v[i] = _mm_cmpeq_epi8(b.v[i], _mm_set1_epi8((char)c));
    return high(b);
}

INLINE uint64_t alike(struct block b, uint8_t bit, uint8_t c) {
    return eq(both(b, _mm_set1_epi8((char)bit)), c);
}

INLINE uint64_t upto(struct block b, uint8_t c) {
    for (int i = 0; i < 4; i++)
        b.v[i] = _mm_cmpeq_epi8(_mm_min_epu8(b.v[i], _mm_set1_epi8((char)c)), b.v[i]);
    return high(b);
}

INLINE uint64_t from(struct block b, uint8_t c) {
    for (int i = 0; i < 4; i++)
        b.v[i] = _mm_cmpeq_epi8(_mm_max_epu8(b.v[i], _mm_set1_epi8((char)c)), b.v[i]);
    return high(b);
}

/* `[` and `]` are `{` and `}` without the bit 0x20. */
INLINE uint64_t ops(struct block b) {
    for (int i = 0; i < 4; i++) {
        __m128i v = b.v[i], folded = _mm_or_si128(v, _mm_set1_epi8(0x20));
        __m128i braces = _mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')),
                                      _mm_cmpeq_epi8(folded, _mm_set1_epi8('}')));
        __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')),
                                     _mm_cmpeq_epi8(v, _mm_set1_epi8(',')));
        b.v[i] = _mm_or_si128(braces, marks);
    }
    return high(b);
}

INLINE uint64_t inside(uint64_t m) {
    for (int shift = 1; shift < 64; shift *= 2)
        m ^= m << shift;
    return m;
}

#include "mcp/envelope_utf8.inc"

#include "mcp/envelope_block.inc"
#endif
