/* envelope_avx2.c - the engine for processors with AVX2 and PCLMUL: see envelope_block.inc. */

#ifdef __x86_64__
#include "mcp/envelope_lex.h"

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,pclmul,bmi")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define HOLD(v) __asm__("" : "+x"(v))
#define LEX lex_avx2

typedef __m256i vec;

struct block {
    vec lo, hi;
};

INLINE vec load32(const uint8_t *p) {
    return _mm256_loadu_si256((const vec *)(const void *)p);
}

INLINE struct block load(const uint8_t *p) {
    return (struct block){ load32(p), load32(p + 32) };
}

INLINE uint64_t gather(vec lo, vec hi) {
    return (uint32_t)_mm256_movemask_epi8(lo) | (uint64_t)(uint32_t)_mm256_movemask_epi8(hi) << 32;
}

/* Cheaper than `high`, and nearly always all that is asked. */
INLINE bool any_high(struct block b) {
    return _mm256_movemask_epi8(_mm256_or_si256(b.lo, b.hi)) != 0;
}

/* As signed numbers all of them are below a space. */
INLINE bool any_odd(struct block b, vec space) {
    vec odd = _mm256_or_si256(_mm256_cmpgt_epi8(space, b.lo), _mm256_cmpgt_epi8(space, b.hi));
    return _mm256_movemask_epi8(odd) != 0;
}

INLINE vec each(uint8_t c) {
    return _mm256_set1_epi8((char)c);
}

INLINE struct block either(struct block b, vec v) {
    return (struct block){ _mm256_or_si256(b.lo, v), _mm256_or_si256(b.hi, v) };
}

INLINE uint64_t eq(struct block b, vec v) {
    return gather(_mm256_cmpeq_epi8(b.lo, v), _mm256_cmpeq_epi8(b.hi, v));
}

INLINE uint64_t upto(struct block b, vec v) {
    return gather(_mm256_cmpeq_epi8(_mm256_min_epu8(b.lo, v), b.lo),
                  _mm256_cmpeq_epi8(_mm256_min_epu8(b.hi, v), b.hi));
}

/* The same 16 bytes in both lanes, as the shuffle wants its tables. */
#define TABLE(...) _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))

/* The low nibble picks the only character with that nibble which the byte can be: , : { }
 * once it is folded. It takes 0x0c and 0x1a for one too. */
INLINE uint64_t ops(struct block b, struct block folded) {
    const vec table = TABLE(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ':', '{', ',', '}', 0, 0);
    return gather(_mm256_cmpeq_epi8(folded.lo, _mm256_shuffle_epi8(table, b.lo)),
                  _mm256_cmpeq_epi8(folded.hi, _mm256_shuffle_epi8(table, b.hi)));
}

INLINE vec special32(vec v, vec quote, vec backslash, vec control) {
    vec strings = _mm256_or_si256(_mm256_cmpeq_epi8(v, quote), _mm256_cmpeq_epi8(v, backslash));
    return _mm256_or_si256(strings, _mm256_cmpeq_epi8(_mm256_min_epu8(v, control), v));
}

INLINE bool plain(struct block b, vec quote, vec backslash, vec control) {
    vec special = _mm256_or_si256(special32(b.lo, quote, backslash, control),
                                  special32(b.hi, quote, backslash, control));
    return _mm256_testz_si256(special, special);
}

INLINE vec upper_nibbles(vec v) {
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), each(0x0f));
}

/* The lower nibble says which upper ones make it a character that may be escaped. */
INLINE vec escapable32(vec v) {
    enum { X2 = 1, X5 = 2, X6 = 4, X7 = 8 };
    const vec upper = TABLE(0, 0, X2, 0, 0, X5, X6, X7, 0, 0, 0, 0, 0, 0, 0, 0);
    const vec lower = TABLE(0, 0, X2 | X6 | X7, 0, X7, X7, X6, 0, 0, 0, 0, 0, X5, 0, X6, X2);
    vec both = _mm256_and_si256(_mm256_shuffle_epi8(lower, v),
                                _mm256_shuffle_epi8(upper, upper_nibbles(v)));
    return _mm256_cmpgt_epi8(both, _mm256_setzero_si256());
}

INLINE uint64_t escapable(struct block b) {
    return gather(escapable32(b.lo), escapable32(b.hi));
}

/* A carry-less product with all ones is the running xor. */
INLINE uint64_t inside(uint64_t m) {
    __m128i v = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)m), _mm_set1_epi8(-1), 0);
    return (uint64_t)_mm_cvtsi128_si64(v);
}

/* ---- UTF-8: J. Keiser and D. Lemire, "Validating UTF-8 In Less Than One Instruction Per
 * Byte" (Software: Practice and Experience 51, 2021). Three look-ups, of the nibbles of the
 * byte before and of the upper nibble of this one, each name the errors still possible;
 * what all three name is one. ---- */

enum {
    TOO_SHORT = 1 << 0,  /* 11______ 0_______, 11______ 11______ */
    TOO_LONG = 1 << 1,   /* 0_______ 10______ */
    OVERLONG_3 = 1 << 2, /* 11100000 100_____ */
    TOO_LARGE = 1 << 3,  /* 11110100 101_____ and beyond */
    SURROGATE = 1 << 4,  /* 11101101 101_____ */
    OVERLONG_2 = 1 << 5, /* 1100000_ 10______ */
    OVERLONG_4 = 1 << 6, /* 11110000 1000____ */
    TOO_LARGE_8 = 1 << 6, /* 11110101 1000____ and beyond */
    TWO_CONTS = 1 << 7,  /* 10______ 10______ */
    ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTS,
    LARGE = ANY_LOW | TOO_LARGE | TOO_LARGE_8,
    CONT = TOO_LONG | OVERLONG_2 | TWO_CONTS,
};

#define B(bits) (char)(bits)

INLINE vec pair_errors(vec v, vec before) {
    const vec first_upper = TABLE(
        TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
        B(TWO_CONTS), B(TWO_CONTS), B(TWO_CONTS), B(TWO_CONTS), TOO_SHORT | OVERLONG_2, TOO_SHORT,
        TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | TOO_LARGE_8 | OVERLONG_4);
    const vec first_lower = TABLE(
        B(ANY_LOW | OVERLONG_2 | OVERLONG_3 | OVERLONG_4), B(ANY_LOW | OVERLONG_2), B(ANY_LOW),
        B(ANY_LOW), B(ANY_LOW | TOO_LARGE), B(LARGE), B(LARGE), B(LARGE), B(LARGE), B(LARGE),
        B(LARGE), B(LARGE), B(LARGE), B(LARGE | SURROGATE), B(LARGE), B(LARGE));
    const vec second_upper = TABLE(
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
        B(CONT | OVERLONG_3 | TOO_LARGE_8 | OVERLONG_4), B(CONT | OVERLONG_3 | TOO_LARGE),
        B(CONT | SURROGATE | TOO_LARGE), B(CONT | SURROGATE | TOO_LARGE), TOO_SHORT, TOO_SHORT,
        TOO_SHORT, TOO_SHORT);
    vec errors = _mm256_shuffle_epi8(first_upper, upper_nibbles(before));
    vec lower = _mm256_and_si256(before, _mm256_set1_epi8(0x0f));
    errors = _mm256_and_si256(errors, _mm256_shuffle_epi8(first_lower, lower));
    return _mm256_and_si256(errors, _mm256_shuffle_epi8(second_upper, upper_nibbles(v)));
}

/* Two continuations in a row are right exactly when a lead of three or four bytes stands
 * two or three bytes before. */
INLINE vec utf8_errors(vec v, vec previous) {
    vec across = _mm256_permute2x128_si256(previous, v, 0x21);
    vec back1 = _mm256_alignr_epi8(v, across, 15);
    vec back2 = _mm256_alignr_epi8(v, across, 14);
    vec back3 = _mm256_alignr_epi8(v, across, 13);
    vec third = _mm256_subs_epu8(back2, _mm256_set1_epi8(0xe0 - 0x80));
    vec fourth = _mm256_subs_epu8(back3, _mm256_set1_epi8(0xf0 - 0x80));
    vec due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(B(0x80)));
    return _mm256_xor_si256(due, pair_errors(v, back1));
}

/* Not 0 when the last bytes begin a sequence that they do not finish. */
INLINE uint64_t unfinished(vec v) {
    const vec most = _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                      -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                      B(0xf0 - 1), B(0xe0 - 1), B(0xc0 - 1));
    vec over = _mm256_subs_epu8(v, most);
    return !_mm256_testz_si256(over, over);
}

INLINE void utf8(struct lex *l, size_t at, struct block b) {
    vec previous = at ? load32(l->text + at - 32) : _mm256_setzero_si256();
    vec errors = _mm256_or_si256(utf8_errors(b.lo, previous), utf8_errors(b.hi, b.lo));
    if (!_mm256_testz_si256(errors, errors))
        l->faults |= 1u << ENVELOPE_UTF8;
    l->utf8 = unfinished(b.hi);
}

#include "mcp/envelope_block.inc"
#endif
