/* envelope_lex.h - finds the tokens of JSON text, 64 bytes at a time. Private to envelope*.c.
 *
 * A token is a brace, bracket, colon or comma outside strings, either quote of a string, or
 * the first byte of anything else (a number, a literal, rubbish). Each block becomes one
 * word with a bit set where a token starts: the masks of Langdale and Lemire, "Parsing
 * Gigabytes of JSON per Second" (VLDB Journal 28, 2019). What can be wrong inside a string
 * (UTF-8, control characters, escapes, surrogates) is settled here; what can be wrong
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

enum { LEX_BLOCK = 64, LEX_BATCH = 16 };

/* What one block tells the next. */
struct lex_carry {
    uint64_t in_string;   /* all ones while a string is open */
    uint64_t escaped;     /* 1: the first byte is escaped */
    uint64_t scalar;      /* 1: the last byte belonged to a number or literal */
    uint64_t utf8;        /* not 0: a sequence is unfinished; the engine's own notation */
    uint64_t backslashes; /* of this batch */
    unsigned faults;      /* 1u << ENVELOPE_… */
};

struct lex {
    const uint8_t *text;
    size_t n;
    unsigned (*run)(struct lex *l);
    size_t at;       /* what lies before is classified */
    size_t batch_at; /* where the words below begin */
    size_t low_due;  /* where the `u` of a low surrogate must be, 0: nowhere */
    struct lex_carry carry;
    uint64_t tokens[LEX_BATCH];
    bool ended;
};

/* Classifies the next blocks: how many words are valid now, 0 at the end of the text. */
typedef unsigned lex_fn(struct lex *l);

lex_fn lex_plain;
#ifdef __x86_64__
lex_fn lex_sse2, lex_avx2;
#endif

void lex_init(struct lex *l, const uint8_t *text, size_t n);

/* The four hex digits at p, or -1. */
int lex_hex4(const uint8_t *p, const uint8_t *end);

/* The `\uXXXX` of one block, whose `u` are the bits of `mask`; at is the block's offset. */
void lex_unicode(struct lex *l, struct lex_carry *c, size_t at, uint64_t mask);

/* The last block of the text, from `at` on, filled up with spaces. */
void lex_tail(const struct lex *l, size_t at, uint8_t block[static LEX_BLOCK]);
