/* sqlite_db.c - see sqlite_db.h. */
#include "store/sqlite_db.h"
#include "base/mem.h"
#include "store/migrate.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define APPLICATION_ID 0x47737061 /* "Gspa", in the file's head: it is one of ours */
enum { STATEMENTS_KEPT = 128 };

struct prepared {
    sqlite3_stmt *statement;
    char sql[];
};

/* ---- errors ------------------------------------------------------------------------ */

/*                  primary code       kind          what to do */
#define FAILURES(X)                                                                                     \
    X(SQLITE_FULL, UNAVAILABLE, "the disk is full: free some space; nothing was changed")               \
    X(SQLITE_IOERR, UNAVAILABLE, "reading or writing failed: see to the disk; nothing was changed")     \
    X(SQLITE_BUSY, UNAVAILABLE, "another process holds it: stop that one or try again")                 \
    X(SQLITE_LOCKED, UNAVAILABLE, "it is in use: try again")                                            \
    X(SQLITE_NOMEM, UNAVAILABLE, "there is no memory for it")                                           \
    X(SQLITE_CONSTRAINT, CONFLICT, "it would break a rule of the table")                                \
    X(SQLITE_TOOBIG, TOO_LARGE, "a value is too large")                                                 \
    X(SQLITE_CORRUPT, INVALID, "the file is damaged: restore a backup (gatespan restore)")              \
    X(SQLITE_NOTADB, INVALID, "the file is no database of Gatespan: restore a backup (gatespan restore)")   \
    X(SQLITE_READONLY, DENIED, "it cannot be written: see to the rights of the file and its folder")    \
    X(SQLITE_CANTOPEN, DENIED, "it cannot be opened: see to the folder, its rights and free descriptors") \
    X(SQLITE_PERM, DENIED, "it may not be opened: see to the rights of the file")

static const char *remedy_of(int primary, enum err_kind *kind) {
    switch (primary) {
#define X(code, kind_, text) \
    case code: \
        *kind = ERR_##kind_; \
        return text;
        FAILURES(X)
#undef X
    default: *kind = ERR_INTERNAL; return "unexpected";
    }
}

/* What the system said about the log (or journal), where writing fails first; 0: nothing. */
static int last_errno(struct db *db) {
    int number = 0;
    sqlite3_file *log = NULL;
    if (db->handle)
        sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (log && log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &number);
    return number;
}

err_t db_error(struct db *db, int code, const char *what) {
    enum err_kind kind;
    int number = last_errno(db);
    bool full = number == ENOSPC || number == EDQUOT || number == EFBIG; /* some are IOERR only */
    const char *remedy = remedy_of(
        (code & 0xff) == SQLITE_IOERR && full ? SQLITE_FULL : code & 0xff, &kind);
    return err_new(kind, "store: %s: %s: %s (SQLite: %s)", what, db->path, remedy,
                   db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code));
}

/* ---- opening ----------------------------------------------------------------------- */

/* SQLite gives its log files the mode of the database, so that is made first, for us alone. */
static err_t make_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "store: making %s", path);
    close(fd);
    return OK;
}

/* FULL: a commit's log is on the disk before the commit is acknowledged. NORMAL would lose the
 * last ones when the power goes; group commit makes FULL cheap enough. */
static const char common_pragmas[] =
    "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON;"
    "PRAGMA temp_store = MEMORY;";
static const char writer_pragmas[] =
    "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;";

static err_t prepare_connection(struct db *db, enum db_mode mode, nanos busy) {
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, (int)(busy / NANOS_MS));
    TRY(db_exec(db, common_pragmas, "opening"));
    return mode == DB_READ ? OK : db_exec(db, writer_pragmas, "opening");
}

err_t db_open(struct db *db, const char *path, enum db_mode mode, nanos busy) {
    *db = (struct db){ .path = mem_text(path, strlen(path)), .max_rows = SIZE_MAX };
    int flags = SQLITE_OPEN_NOMUTEX |
                (mode == DB_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    err_t e = mode == DB_CREATE ? make_file(path) : OK;
    if (!e) {
        int code = sqlite3_open_v2(path, &db->handle, flags, NULL);
        e = code == SQLITE_OK ? prepare_connection(db, mode, busy) : db_error(db, code, "opening");
    }
    if (!e)
        return OK;
    struct err saved = *e;
    db_close(db);
    return err_again(&saved);
}

void db_close(struct db *db) {
    struct str sql;
    void *value;
    for (size_t i = 0; map_next(&db->statements, &i, &sql, &value);) {
        sqlite3_finalize(((struct prepared *)value)->statement);
        free(value);
    }
    map_done(&db->statements);
    sqlite3_close(db->handle);
    free(db->path);
    *db = (struct db){ 0 };
}

/* ---- statements -------------------------------------------------------------------- */

err_t db_exec(struct db *db, const char *sql, const char *what) {
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? OK : db_error(db, code, what);
}

/* Kept prepared by its text, as long as there is room; else *once and to be finalized. */
static err_t prepare(struct db *db, const char *sql, sqlite3_stmt **out, bool *once) {
    bool again = db->last && strcmp(db->last->sql, sql) == 0;
    struct prepared *p = again ? db->last : map_get(&db->statements, str_of(sql));
    *once = !p && db->statements.count >= STATEMENTS_KEPT;
    if (p) {
        db->last = p;
        *out = p->statement;
        return OK;
    }
    int code = sqlite3_prepare_v3(db->handle, sql, -1, *once ? 0 : SQLITE_PREPARE_PERSISTENT, out,
                                  NULL);
    if (code != SQLITE_OK)
        return db_error(db, code, "preparing a statement");
    if (*once)
        return OK;
    size_t n = strlen(sql);
    p = mem_zero(sizeof *p + n + 1);
    p->statement = *out;
    memcpy(p->sql, sql, n);
    map_put(&db->statements, str_from(p->sql, n), p);
    return OK;
}

static int bind(sqlite3_stmt *s, int at, const struct store_value *v) {
    switch (v->type) {
    case STORE_INT: return sqlite3_bind_int64(s, at, v->integer);
    case STORE_REAL: return sqlite3_bind_double(s, at, v->real);
    case STORE_TEXT: return sqlite3_bind_text64(s, at, v->text.p, v->text.n, SQLITE_STATIC, SQLITE_UTF8);
    case STORE_BLOB: return sqlite3_bind_blob64(s, at, v->text.p, v->text.n, SQLITE_STATIC);
    default: return sqlite3_bind_null(s, at);
    }
}

static err_t begin(struct db *db, const struct store_statement *from, sqlite3_stmt **out,
                   bool *once) {
    TRY(prepare(db, from->sql, out, once));
    int code = SQLITE_OK;
    for (size_t i = 0; i < from->n && code == SQLITE_OK; i++)
        code = bind(*out, (int)i + 1, &from->binds[i]);
    return code == SQLITE_OK ? OK : db_error(db, code, "binding a value");
}

static void end(sqlite3_stmt *s, bool once) {
    if (once) {
        sqlite3_finalize(s);
        return;
    }
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
}

static struct store_value take_cell(sqlite3_stmt *s, int column, struct arena *a) {
    switch (sqlite3_column_type(s, column)) {
    case SQLITE_INTEGER: return store_int(sqlite3_column_int64(s, column));
    case SQLITE_FLOAT: return store_real(sqlite3_column_double(s, column));
    case SQLITE_NULL: return store_null();
    default: break;
    }
    bool text = sqlite3_column_type(s, column) == SQLITE_TEXT;
    const char *p = text ? (const char *)sqlite3_column_text(s, column)
                         : sqlite3_column_blob(s, column);
    struct str bytes = arena_dup(a, str_from(p, (size_t)sqlite3_column_bytes(s, column)));
    return text ? store_text(bytes) : store_blob(bytes);
}

/* Grows by doubling in the arena: what is left behind is at most as much again. */
static struct store_value *next_row(struct store_rows *out, size_t *room, struct arena *a) {
    if (out->rows == *room) {
        *room = *room ? *room * 2 : 8;
        struct store_value *more = ARENA_ARRAY(a, struct store_value, *room * out->columns);
        if (out->rows)
            memcpy(more, out->cells, out->rows * out->columns * sizeof *more);
        out->cells = more;
    }
    return &out->cells[out->rows++ * out->columns];
}

static err_t take_rows(struct db *db, sqlite3_stmt *s, struct arena *a, struct store_rows *out) {
    size_t room = 0;
    int code;
    *out = (struct store_rows){ .columns = (size_t)sqlite3_column_count(s) };
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        if (out->rows == db->max_rows)
            return ERR(TOO_LARGE, "store: an answer has more than %zu rows", db->max_rows);
        struct store_value *row = next_row(out, &room, a);
        for (size_t i = 0; i < out->columns; i++)
            row[i] = take_cell(s, (int)i, a);
    }
    return code == SQLITE_DONE ? OK : db_error(db, code, "reading");
}

err_t db_query(struct db *db, struct arena *a, const struct store_statement *statement,
               struct store_rows *out) {
    sqlite3_stmt *s = NULL;
    bool once = false;
    err_t e = begin(db, statement, &s, &once);
    if (!e)
        e = take_rows(db, s, a, out);
    if (s)
        end(s, once);
    return e;
}

err_t db_run(struct db *db, const struct store_statement *statement, int64_t *out_changes) {
    sqlite3_stmt *s = NULL;
    bool once = false;
    err_t e = begin(db, statement, &s, &once);
    if (!e) {
        int code;
        while ((code = sqlite3_step(s)) == SQLITE_ROW)
            ;
        if (code != SQLITE_DONE)
            e = db_error(db, code, "writing");
        *out_changes = sqlite3_changes64(db->handle);
    }
    if (s)
        end(s, once);
    return e;
}

err_t db_number(struct db *db, const char *sql, int64_t *out) {
    struct arena a;
    struct store_rows rows = { 0 };
    arena_init(&a, NULL, 0);
    err_t e = db_query(db, &a, &(struct store_statement){ .sql = sql }, &rows);
    *out = !e && rows.rows ? store_cell(&rows, 0, 0)->integer : 0;
    arena_done(&a);
    return e;
}

/* ---- schema ------------------------------------------------------------------------ */

static err_t versions(struct db *db, int64_t *application, int64_t *version, int64_t *tables) {
    TRY(db_number(db, "PRAGMA application_id", application));
    TRY(db_number(db, "PRAGMA user_version", version));
    return db_number(db, "SELECT count(*) FROM sqlite_schema", tables);
}

err_t db_check_version(struct db *db) {
    int64_t application, version, tables;
    TRY(versions(db, &application, &version, &tables));
    if (application != APPLICATION_ID && (application || version || tables))
        return ERR(INVALID,
                   "store: %s is a database of another program; move it away or give "
                   "the gateway another data directory",
                   db->path);
    if (version > (int64_t)migration_count)
        return ERR(INVALID,
                   "store: %s was written by a newer Gatespan (schema %lld; this "
                   "program, " GATESPAN_VERSION
                   ", knows up to %zu): start the newer program, or restore a backup "
                   "made by this one; the file was not touched",
                   db->path, (long long)version, migration_count);
    return OK;
}

static err_t run_steps(struct db *db, int64_t version) {
    for (size_t i = (size_t)version; i < migration_count; i++)
        TRY_WRAP(db_exec(db, migrations[i].sql, "migrating"), "step %d (%s)", migrations[i].number,
                 migrations[i].name);
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %zu;",
             APPLICATION_ID, migration_count);
    TRY(db_exec(db, sql, "migrating"));
    return db_exec(db, "COMMIT", "migrating");
}

err_t db_migrate(struct db *db) {
    int64_t version;
    TRY(db_check_version(db));
    TRY(db_number(db, "PRAGMA user_version", &version));
    if (version == (int64_t)migration_count)
        return OK;
    TRY(db_exec(db, "BEGIN IMMEDIATE", "migrating"));
    err_t e = run_steps(db, version);
    if (e) {
        struct err saved = *e;
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
        return err_again(&saved);
    }
    return OK;
}

err_t db_check_damage(struct db *db) {
    struct arena a;
    struct store_rows rows = { 0 };
    arena_init(&a, NULL, 0);
    err_t e = db_query(db, &a, &(struct store_statement){ .sql = "PRAGMA integrity_check(1)" },
                       &rows);
    struct str first = !e && rows.rows ? store_cell(&rows, 0, 0)->text : S("no answer");
    if (!e && !str_eq(first, S("ok")))
        e = ERR(INVALID, "store: %s is damaged: %.*s; restore a backup (gatespan restore)",
                db->path, STR(str_head(first, 150)));
    arena_done(&a);
    return e;
}

/* All pages in one step: the source is read in one snapshot, whatever is written meanwhile. */
err_t db_copy(struct db *to, struct db *from) {
    sqlite3_backup *b = sqlite3_backup_init(to->handle, "main", from->handle, "main");
    if (!b)
        return db_error(to, sqlite3_errcode(to->handle), "copying");
    int step = sqlite3_backup_step(b, -1), code = sqlite3_backup_finish(b);
    if (step == SQLITE_DONE && code == SQLITE_OK)
        return OK;
    return db_error(to, code != SQLITE_OK ? code : step, "copying");
}
