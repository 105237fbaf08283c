/* str.c - see str.h. */
#include "base/str.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static unsigned char fold(char c) {
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : (unsigned char)c;
}

bool str_eq_nocase(struct str a, struct str b) {
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (fold(a.p[i]) != fold(b.p[i]))
            return false;
    return true;
}

int str_cmp(struct str a, struct str b) {
    size_t common = a.n < b.n ? a.n : b.n;
    int order = common ? memcmp(a.p, b.p, common) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

#ifdef __SSE2__
enum { NEEDLE_SHORT = 64 }; /* a long one might be compared in full at every place */

/* The first and the last byte of the needle, looked for at 16 places at once, tell nearly all
 * others apart (W. Mula, "SIMD-friendly algorithms for substring searching", 2016). memmem
 * spends 300 instructions on a text of 60 bytes before it looks. The last 16 places may have
 * been looked at before. */
static ptrdiff_t find_short(struct str s, struct str needle) {
    const __m128i first = _mm_set1_epi8(needle.p[0]);
    const __m128i last = _mm_set1_epi8(needle.p[needle.n - 1]);
    const size_t places = s.n - needle.n + 1;
    for (size_t at = 0; at < places; at += 16) {
        const char *p = s.p + (places - at < 16 ? places - 16 : at);
        __m128i a = _mm_cmpeq_epi8(first, _mm_loadu_si128((const void *)p));
        __m128i b = _mm_cmpeq_epi8(last, _mm_loadu_si128((const void *)(p + needle.n - 1)));
        unsigned both = (unsigned)_mm_movemask_epi8(_mm_and_si128(a, b));
        for (; both; both &= both - 1) {
            const char *hit = p + __builtin_ctz(both);
            if (memcmp(hit, needle.p, needle.n) == 0)
                return hit - s.p;
        }
    }
    return -1;
}
#endif

ptrdiff_t str_find(struct str s, struct str needle) {
    if (needle.n == 0)
        return 0;
    if (s.n < needle.n)
        return -1;
#ifdef __SSE2__
    if (needle.n <= NEEDLE_SHORT && s.n - needle.n >= 15)
        return find_short(s, needle);
#endif
    const char *hit = memmem(s.p, s.n, needle.p, needle.n);
    return hit ? hit - s.p : -1;
}

ptrdiff_t str_find_char(struct str s, char c) {
    const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;
    return hit ? hit - s.p : -1;
}

struct str str_trim(struct str s) {
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

struct str str_cut(struct str *rest, char separator) {
    struct str whole = *rest;
    ptrdiff_t at = str_find_char(whole, separator);
    if (at < 0) {
        *rest = (struct str){ NULL, 0 };
        return whole;
    }
    *rest = str_skip(whole, (size_t)at + 1);
    return str_head(whole, (size_t)at);
}

bool str_to_u64(struct str s, uint64_t *out) {
    uint64_t n = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *out = n;
    return true;
}

bool str_to_i64(struct str s, int64_t *out) {
    bool negative = s.n && s.p[0] == '-';
    uint64_t n, most = (uint64_t)INT64_MAX + negative;
    if (!str_to_u64(negative ? str_skip(s, 1) : s, &n) || n > most)
        return false;
    *out = negative ? (int64_t)-n : (int64_t)n;
    return true;
}

/* A run that fails only ever restarts at the newest `*`: earlier ones could give no match
 * that this one does not, so there are at most pattern.n * s.n steps. */
bool str_glob(struct str pattern, struct str s) {
    size_t p = 0, i = 0, star = SIZE_MAX, resume = 0;
    while (i < s.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            resume = i;
        } else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == s.p[i])) {
            p++, i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

#define DISTANCE_MAX 64

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* One row of the table of Wagner and Fischer (1974) at a time. */
unsigned str_distance(struct str a, struct str b, unsigned limit) {
    unsigned row[DISTANCE_MAX + 1];
    if (a.n > DISTANCE_MAX || b.n > DISTANCE_MAX)
        return limit + 1;
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned replace = diagonal + (a.p[i - 1] != b.p[j - 1]);
            diagonal = row[j];
            row[j] = least(replace, least(row[j], row[j - 1]) + 1);
        }
    }
    return least(row[b.n], limit + 1);
}
