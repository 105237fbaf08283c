/* store.h - durable rows behind one vtable: SQLite now (sqlite.c), PostgreSQL later.
 *
 * Calls are whole (DESIGN decision 12): a statement or a transaction with its binds goes in,
 * rows in the caller's arena come out; nobody steps through a cursor while others wait.
 *
 *   struct store_rows rows;
 *   const struct store_value binds[] = { store_text(tenant), store_int(after) };
 *   TRY(store_read(t, s, a, &(struct store_statement){ SQL, binds, 2 }, &rows));
 *   for (size_t i = 0; i < rows.rows; i++)
 *       use(store_cell(&rows, i, 0)->text);
 *
 * SQL is the common subset of both databases with ?1, ?2 for binds. Every table has
 * tenant_id; columns that hold secrets are sealed before they get here (store_seal).
 *
 * Acknowledged means on disk: store_write returns OK only after the transaction's fsync.
 * One writer thread takes everything that waits into one commit (group commit), so a
 * hundred writers cost one fsync; each writer's statements are a savepoint of their own, so
 * that the failure of one leaves the others' alone.
 *
 * Threads  any, after store_open; store_close when nobody calls any more
 * Waits    whatever takes a task. With t == NULL (start, command line) it runs on, or blocks,
 *          the calling thread
 * Errors   what, which file, what to do. A failed call changed nothing.
 *            UNAVAILABLE  the queue is full, the disk is full, another process holds it: later
 *            CONFLICT     a constraint (unique, foreign key) was violated
 *            INVALID      a newer schema, or a damaged or foreign file
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/err.h"

struct task;
struct store; /* opaque */

enum store_type { STORE_NULL, STORE_INT, STORE_REAL, STORE_TEXT, STORE_BLOB };

struct store_value {
    enum store_type type;
    int64_t integer;
    double real;
    struct str text; /* TEXT and BLOB */
};
static inline struct store_value store_null(void) {
    return (struct store_value){ 0 };
}
static inline struct store_value store_int(int64_t n) {
    return (struct store_value){ .type = STORE_INT, .integer = n };
}
static inline struct store_value store_real(double d) {
    return (struct store_value){ .type = STORE_REAL, .real = d };
}
static inline struct store_value store_text(struct str s) {
    return (struct store_value){ .type = STORE_TEXT, .text = s.p ? s : S("") };
}
static inline struct store_value store_blob(struct str s) {
    return (struct store_value){ .type = STORE_BLOB, .text = s.p ? s : S("") };
}

/* One statement and what stands for ?1, ?2 … All borrowed until the call returns. */
struct store_statement {
    const char *sql;
    const struct store_value *binds;
    size_t n;
    /* In a transaction: roll all of it back with CONFLICT `or_else` unless this statement
     * changed exactly one row ("UPDATE … WHERE version = ?"). NULL: any number is fine. */
    const char *or_else;
};

struct store_rows {
    struct store_value *cells; /* row by row; texts in the arena */
    size_t rows, columns;
};
static inline const struct store_value *store_cell(const struct store_rows *r, size_t row,
                                                   size_t column) {
    return &r->cells[row * r->columns + column];
}

struct store_conf {
    struct str path;      /* file of SQLite; made with mode 0600 when it is not there */
    size_t readers;       /* connections for reading, opened when needed; 0: 4 */
    size_t queue;         /* transactions that may wait for the writer; 0: 1024 */
    size_t queue_bytes;   /* their texts; 0: 64 MiB */
    size_t max_rows;      /* of one answer; more is TOO_LARGE; 0: 100,000 */
    nanos busy;           /* how long another process's lock is waited for; 0: 5 s */
    bool read_only;       /* for looking at a database that another process has open */
};

/* Opens or makes the database and brings its schema to this program's version (migrate.h).
 * A database of a newer program is refused untouched. Blocks: before the workers start. */
err_t store_open(const struct store_conf *conf, struct store **out);
void store_close(struct store *s); /* waits for the writer; NULL is fine */

/* One statement that changes nothing. It sees everything acknowledged before. */
err_t store_read(struct task *t, struct store *s, struct arena *a,
                 const struct store_statement *statement, struct store_rows *out);

/* One transaction: all statements or none; OK only once durable. *out_changes (may be NULL)
 * is the number of rows that the last statement changed. Not interrupted once it waits for
 * the writer, so that an error always means "did not happen"; the queue is bounded. */
err_t store_write(struct task *t, struct store *s, const struct store_statement *statements,
                  size_t n, int64_t *out_changes);

/* A consistent copy of everything acknowledged, while others go on reading and writing, as one
 * file (mode 0600) that store_open takes. `path` must not exist. */
err_t store_backup(struct task *t, struct store *s, struct str path);
/* Replaces the whole content by that of the file, atomically: a crash leaves the old content
 * or the new. The file is checked and migrated (as a copy) first; when it is not good, nothing
 * changes. Others go on reading the old content until it is done. */
err_t store_replace(struct task *t, struct store *s, struct str path);
/* Looks through the whole database for damage; INVALID with the first finding. */
err_t store_check(struct task *t, struct store *s);
/* The same for a file that is not open; also refuses one that a newer program made. */
err_t store_check_file(struct str path);

/* Numbers for /metrics; any thread. */
struct store_stats {
    uint64_t reads, writes, commits, failures; /* commits: groups that reached the disk */
    size_t queued;
    int64_t bytes; /* of the database, without its log */
};
struct store_stats store_stats(struct store *s);

/* ---- sealed columns (DESIGN decision 13) -------------------------------------------- */

/* Where a sealed value lives: it opens nowhere else. */
struct store_place {
    const char *table, *column;
    struct str tenant, row;
};
/* Appends the value for a BLOB column: AES-256-GCM under the ring's first key; key id inside. */
void store_seal(const struct seal_ring *ring, const struct store_place *at, struct str plain,
                struct buf *out);
/* Appends the plain text; INVALID, naming table, column and row, when it is not ours, was
 * changed or moved, or was sealed by a key that the ring does not hold. */
err_t store_unseal(const struct seal_ring *ring, const struct store_place *at, struct str sealed,
                   struct buf *out);

/* ---- for backends ------------------------------------------------------------------ */

struct store_ops {
    const char *kind; /* "sqlite" */
    err_t (*open)(const struct store_conf *conf, struct store **out);
    void (*close)(struct store *s);
    err_t (*read)(struct task *t, struct store *s, struct arena *a,
                  const struct store_statement *statement, struct store_rows *out);
    err_t (*write)(struct task *t, struct store *s, const struct store_statement *statements,
                   size_t n, int64_t *out_changes);
    err_t (*backup)(struct task *t, struct store *s, struct str path);
    err_t (*replace)(struct task *t, struct store *s, struct str path);
    err_t (*check)(struct task *t, struct store *s);
    struct store_stats (*stats)(struct store *s);
};
struct store { /* first member of every backend's own */
    const struct store_ops *ops;
};
extern const struct store_ops sqlite_store;
