/* envelope_lex.h - finds the tokens of JSON text, 64 bytes at a time. Private to envelope*.c.
 *
 * A token is either quote of a string, the first byte of a number, a literal or rubbish, or
 * a brace, bracket, colon or comma outside strings, but for one that follows the end of a
 * key or value without a gap: whoever comes there looks at the next byte anyway. Each block
 * becomes one word with a bit set where a token starts: the masks of Langdale and Lemire,
 * "Parsing Gigabytes of JSON per Second" (VLDB Journal 28, 2019). What can be wrong inside a
 * string (UTF-8, control characters, escapes, surrogates) is settled here; what can be wrong
 * between tokens is the walker's business.
 *
 * One source, envelope_block.inc, is compiled once for each engine over that engine's
 * vocabulary of vectors. Every engine gives the same tokens and, at the end of the text,
 * the same faults.
 *
 * Memory   nothing is allocated and nothing outside the text is read: the last block is
 *          copied and filled up with spaces
 */
#pragma once
#include "mcp/envelope.h"

/* The white space of RFC 8259 §2. */
static inline bool lex_is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Without it at both ends. */
static inline struct str lex_trim(struct str t) {
    if (t.n > 0 && t.p[0] > ' ' && t.p[t.n - 1] > ' ')
        return t;
    while (t.n > 0 && lex_is_space(t.p[0]))
        t = (struct str){ t.p + 1, t.n - 1 };
    while (t.n > 0 && lex_is_space(t.p[t.n - 1]))
        t.n--;
    return t;
}

enum { LEX_BLOCK = 64, LEX_BATCH = 16 };

/* The masks of the last block, as far as the next one needs their last bit. */
struct lex_carry {
    uint64_t in_string; /* all ones while a string is open */
    uint64_t escaped;   /* 1: the first byte is escaped */
    uint64_t scalar;    /* of numbers and literals */
    uint64_t value;     /* of those, closing quotes, braces and brackets */
};

struct lex {
    const uint8_t *text;
    size_t n;
    unsigned (*run)(struct lex *l);
    size_t at;       /* what lies before is classified */
    size_t batch_at; /* where the words below begin */
    size_t low_due;  /* where the `u` of a low surrogate must be, 0: nowhere */
    struct lex_carry carry;
    uint64_t backslashes; /* not 0: this batch has some */
    uint64_t utf8;        /* not 0: a sequence is unfinished; the engine's own notation */
    unsigned faults;      /* 1u << ENVELOPE_… */
    bool ended;
    uint64_t tokens[LEX_BATCH];
};

/* Classifies the next blocks, from batch_at on: how many words are valid now, 0 at the end of
 * the text. Blocks before batch_at that no earlier word stands for lie inside of a string. */
typedef unsigned lex_fn(struct lex *l);

lex_fn lex_plain;
#ifdef __x86_64__
lex_fn lex_sse2, lex_avx2;
#endif

/* The one in use. */
lex_fn *lex_engine(void);

static inline void lex_init(struct lex *l, const uint8_t *text, size_t n) {
    l->text = text;
    l->n = n;
    l->run = lex_engine();
    l->at = l->batch_at = l->low_due = 0;
    l->carry = (struct lex_carry){ 0 };
    l->utf8 = l->faults = 0;
    l->ended = false;
}

/* The four hex digits at p, or -1. */
int lex_hex4(const uint8_t *p, const uint8_t *end);

/* The `\uXXXX` of one block, whose `u` are the bits of `mask`; at is the block's offset. */
void lex_unicode(struct lex *l, size_t at, uint64_t mask);
