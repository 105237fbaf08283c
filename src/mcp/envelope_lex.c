/* envelope_lex.c - see envelope_lex.h: what the engines share, and the choice of one. */

#include "mcp/envelope_lex.h"

#include <stdatomic.h>

struct engine {
    const char *name;
    lex_fn *run;
    bool (*runs_here)(void);
};

static bool always(void) {
    return true;
}

#ifdef __x86_64__
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") &&
           __builtin_cpu_supports("bmi");
}
#endif

/* Best first. AVX-512 was measured: no gain, and slower inside the gateway at 64 KiB. */
static const struct engine engines[] = {
#ifdef __x86_64__
    { "avx2", lex_avx2, has_avx2 },
    { "sse2", lex_sse2, always },
#endif
    { "plain", lex_plain, always },
};

/* Two threads that choose at once choose the same. */
static _Atomic(const struct engine *) chosen;

static const struct engine *choose(void) {
    const struct engine *e = engines;
    while (!e->runs_here())
        e++;
    atomic_store_explicit(&chosen, e, memory_order_relaxed);
    return e;
}

static const struct engine *engine(void) {
    const struct engine *e = atomic_load_explicit(&chosen, memory_order_relaxed);
    return e ? e : choose();
}

const char *envelope_engine(void) {
    return engine()->name;
}

bool envelope_use_engine(const char *name) {
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        if (strcmp(engines[i].name, name) == 0 && engines[i].runs_here()) {
            atomic_store_explicit(&chosen, &engines[i], memory_order_relaxed);
            return true;
        }
    }
    return false;
}

lex_fn *lex_engine(void) {
    return engine()->run;
}

/* Digit value + 1, so that 0 marks what is no digit. */
static const uint8_t hex_digit[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

int lex_hex4(const uint8_t *p, const uint8_t *end) {
    if (end - p < 4)
        return -1;
    int a = hex_digit[p[0]] - 1, b = hex_digit[p[1]] - 1;
    int c = hex_digit[p[2]] - 1, d = hex_digit[p[3]] - 1;
    return (a | b | c | d) < 0 ? -1 : a << 12 | b << 8 | c << 4 | d;
}

/* A high surrogate names the only place where a low one may stand: six bytes further. */
static void unicode(struct lex *l, size_t u) {
    const uint8_t *p = l->text + u, *end = l->text + l->n;
    int unit = lex_hex4(p + 1, end);
    bool low = (unit & ~0x3ff) == 0xdc00, high = (unit & ~0x3ff) == 0xd800;
    if (unit < 0)
        l->faults |= 1u << ENVELOPE_SYNTAX;
    if (low != (l->low_due == u))
        l->faults |= 1u << ENVELOPE_SURROGATE;
    if (!high)
        return;
    if (end - p > 6 && p[5] == '\\' && p[6] == 'u')
        l->low_due = u + 6;
    else
        l->faults |= 1u << ENVELOPE_SURROGATE;
}

void lex_unicode(struct lex *l, size_t at, uint64_t mask) {
    for (; mask; mask &= mask - 1)
        unicode(l, at + (size_t)__builtin_ctzll(mask));
}
