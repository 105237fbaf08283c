/* envelope_sse2.c - the engine of every x86-64 processor: see envelope_block.inc. */

#ifdef __x86_64__
#include "mcp/envelope_lex.h"

#include <emmintrin.h>

#define TARGET
#define INLINE static inline __attribute__((always_inline)) TARGET
#define HOLD(v) __asm__("" : "+x"(v))
#define LEX lex_sse2

typedef __m128i vec;

/* gcc -O2 keeps a short loop, and with it the block in memory. */
#define EACH_PART _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)

struct block {
    vec v[4];
};

INLINE struct block load(const uint8_t *p) {
    const __m128i *v = (const __m128i *)(const void *)p;
    return (struct block){ { _mm_loadu_si128(v), _mm_loadu_si128(v + 1), _mm_loadu_si128(v + 2),
                             _mm_loadu_si128(v + 3) } };
}

INLINE uint64_t high(struct block b) {
    uint64_t m = 0;
    EACH_PART
    m |= (uint64_t)(uint32_t)_mm_movemask_epi8(b.v[i]) << 16 * i;
    return m;
}

/* Cheaper than `high`, and nearly always all that is asked. */
INLINE bool any_high(struct block b) {
    __m128i or01 = _mm_or_si128(b.v[0], b.v[1]), or23 = _mm_or_si128(b.v[2], b.v[3]);
    return _mm_movemask_epi8(_mm_or_si128(or01, or23)) != 0;
}

/* As signed numbers all of them are below a space. */
INLINE bool any_odd(struct block b, vec space) {
    vec odd = _mm_setzero_si128();
    EACH_PART
    odd = _mm_or_si128(odd, _mm_cmpgt_epi8(space, b.v[i]));
    return _mm_movemask_epi8(odd) != 0;
}

INLINE vec each(uint8_t c) {
    return _mm_set1_epi8((char)c);
}

INLINE struct block either(struct block b, vec v) {
    EACH_PART
    b.v[i] = _mm_or_si128(b.v[i], v);
    return b;
}

INLINE uint64_t eq(struct block b, vec v) {
    EACH_PART
    b.v[i] = _mm_cmpeq_epi8(b.v[i], v);
    return high(b);
}

INLINE uint64_t upto(struct block b, vec v) {
    EACH_PART
    b.v[i] = _mm_cmpeq_epi8(_mm_min_epu8(b.v[i], v), b.v[i]);
    return high(b);
}

INLINE uint64_t from(struct block b, vec v) {
    EACH_PART
    b.v[i] = _mm_cmpeq_epi8(_mm_max_epu8(b.v[i], v), b.v[i]);
    return high(b);
}

INLINE uint64_t ops(struct block b, struct block folded) {
    EACH_PART {
        vec braces = _mm_or_si128(_mm_cmpeq_epi8(folded.v[i], each('{')),
                                  _mm_cmpeq_epi8(folded.v[i], each('}')));
        vec marks = _mm_or_si128(_mm_cmpeq_epi8(b.v[i], each(':')),
                                 _mm_cmpeq_epi8(b.v[i], each(',')));
        b.v[i] = _mm_or_si128(braces, marks);
    }
    return high(b);
}

INLINE bool plain(struct block b, vec quote, vec backslash, vec control) {
    vec special = _mm_setzero_si128();
    EACH_PART {
        vec v = b.v[i];
        vec strings = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
        vec low = _mm_cmpeq_epi8(_mm_min_epu8(v, control), v);
        special = _mm_or_si128(special, _mm_or_si128(strings, low));
    }
    return _mm_movemask_epi8(special) == 0;
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
#endif
