/* migrate.h - the schema, as numbered steps in one table (migrate.c).
 *
 * A step is never changed once it was released: a new one is added. All that are missing run
 * in one transaction at open, so a failure leaves the old schema. The version is the number of
 * the last step that ran, kept as `user_version`.
 */
#pragma once
#include <stddef.h>

struct migration {
    int number; /* 1, 2, 3, … */
    const char *name;
    const char *sql; /* statements with semicolons */
};
extern const struct migration migrations[];
extern const size_t migration_count; /* and the version of this program's schema */
