/* diff.h - what changed between two texts, as a unified diff (POSIX diff -u).
 *
 * E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), on lines, after equal
 * lines at both ends are set aside. Beyond a bound on the differences the middle counts as
 * replaced whole: still true, only longer.
 *
 * Threads  any; pure function
 */
#pragma once
#include "base/buf.h"

struct diff_counts {
    int64_t added, removed; /* lines */
};

/* Appends "--- a/NAME", "+++ b/NAME" and the hunks with three lines around; nothing when both are
 * equal. */
struct diff_counts diff_unified(struct buf *out, struct str name, struct str before,
                                struct str after);
