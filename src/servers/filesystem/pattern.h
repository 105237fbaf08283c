/* pattern.h - what a model searches for: a text, a regular expression, or a glob over paths.
 *
 * All three are compiled by PCRE2 and matched under limits, so no pattern takes forever.
 * Globs: `*` and `?` stay within a name, `**` goes over any number of directories, `[a-z]`,
 * `[!a-z]`, `{a,b}`. A glob without "/" is matched against the last name of a path, one with
 * "/" against the whole path below the directory where the search begins.
 *
 * Threads  one at a time: it holds the room for a match
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

enum pattern_kind { PATTERN_TEXT, PATTERN_REGEX, PATTERN_GLOB };
enum { PATTERN_BYTES = 2000 };

struct pattern;

/* INVALID with `what`, the place and what is wrong. */
err_t pattern_new(const char *what, enum pattern_kind kind, struct str text, bool nocase,
                  struct pattern **out);
void pattern_free(struct pattern *p);
static inline void pattern_scope(struct pattern **p) {
    pattern_free(*p);
}

/* The first match that begins from `from` to `last`: *start and *end. Bytes that are no UTF-8
 * match nothing. INVALID when it takes more steps from one place than are allowed; the steps of
 * all places add up, so whoever has to end in time asks for few at once. */
err_t pattern_find(struct pattern *p, struct str subject, size_t from, size_t last, bool *found,
                   size_t *start, size_t *end);
/* A glob over a clean path. */
bool pattern_matches_path(struct pattern *p, struct str path);

/* The regular expression that a glob means. INVALID: a bracket or brace is not closed. */
err_t glob_to_regex(struct str glob, struct buf *out);
