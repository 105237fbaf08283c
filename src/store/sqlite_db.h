/* sqlite_db.h - one connection to an SQLite file: opening, pragmas, statements kept prepared,
 * errors in words. For sqlite.c only; store.h is the way in.
 *
 * Threads  one at a time for each connection
 * Waits    blocks
 */
#pragma once
#include "base/map.h"
#include "store/store.h"
#include <sqlite3.h>

enum db_mode { DB_READ, DB_WRITE, DB_CREATE };

struct db {
    sqlite3 *handle;
    char *path;
    struct map statements; /* struct prepared by its SQL */
    struct prepared *last; /* the one used before: batches repeat theirs */
    size_t max_rows;
};

err_t db_open(struct db *db, const char *path, enum db_mode mode, nanos busy);
void db_close(struct db *db);
/* The connection's last failure as an error: what was tried, which file, what to do. */
err_t db_error(struct db *db, int code, const char *what);
/* SQL without binds or rows; may hold several statements. */
err_t db_exec(struct db *db, const char *sql, const char *what);
err_t db_query(struct db *db, struct arena *a, const struct store_statement *statement,
               struct store_rows *out);
/* Changed rows in *out_changes. */
err_t db_run(struct db *db, const struct store_statement *statement, int64_t *out_changes);
err_t db_number(struct db *db, const char *sql, int64_t *out);
/* Is it ours, and not of a newer program? Then runs the missing steps of migrate.h. */
err_t db_check_version(struct db *db);
err_t db_migrate(struct db *db);
err_t db_check_damage(struct db *db);
/* Copies a whole database over another, in one transaction of the destination. */
err_t db_copy(struct db *to, struct db *from);
