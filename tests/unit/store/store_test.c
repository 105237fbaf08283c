/* The store on SQLite, on real files. */
#include "../run/fixture.h"
#include "store/migrate.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a folder for each test --------------------------------------------------------- */

struct place {
    char folder[64], path[96], other[96];
    struct arena arena;
    struct store *store;
};

static int set_up(void **state) {
    struct place *p = NEW(struct place);
    strcpy(p->folder, "/tmp/gatespan-store-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/test.db", p->folder);
    snprintf(p->other, sizeof p->other, "%s/other.db", p->folder);
    arena_init(&p->arena, NULL, 0);
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    struct place *p = *state;
    char command[128];
    store_close(p->store);
    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    assert_int_equal(system(command), 0);
    arena_done(&p->arena);
    free(p);
    return 0;
}

static struct store_conf conf_of(const char *path) {
    return (struct store_conf){ .path = str_of(path), .busy = 100 * NANOS_MS };
}

static struct store *open_here(struct place *p) {
    struct store_conf conf = conf_of(p->path);
    assert_null(store_open(&conf, &p->store));
    return p->store;
}

/* The table key_use serves as an example: two texts and a number. */
static err_t put(struct task *t, struct store *s, const char *key, int64_t n) {
    const struct store_value binds[] = { store_text(str_of(key)), store_int(n) };
    return store_write(t, s, &(struct store_statement){
        "INSERT INTO key_use VALUES ('default', ?1, ?2)", binds, 2, NULL }, 1, NULL);
}

static int64_t number(struct place *p, struct store *s, const char *sql) {
    struct store_rows rows;
    assert_null(store_read(NULL, s, &p->arena, &(struct store_statement){ .sql = sql }, &rows));
    assert_int_equal(rows.rows, 1);
    return store_cell(&rows, 0, 0)->integer;
}

#define COUNT "SELECT count(*) FROM key_use"

/* Descriptors of this process on the database itself. */
static unsigned times_open(struct place *p) {
    unsigned n = 0;
    for (int fd = 0; fd < 1000; fd++) {
        char link[64], target[256];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, target, sizeof target - 1);
        n += size > 0 && str_eq(str_from(target, (size_t)size), str_of(p->path));
    }
    return n;
}

static void readers_are_opened_when_they_are_used(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    assert_int_equal(times_open(p), 1); /* who writes */
    assert_int_equal(number(p, s, COUNT), 0);
    assert_int_equal(number(p, s, COUNT), 0);
    assert_int_equal(times_open(p), 2);
}

static void a_reader_that_cannot_be_opened_is_tried_again(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    struct store_rows rows;
    assert_int_equal(rename(p->path, p->other), 0);
    const struct store_statement count = { .sql = COUNT };
    for (int i = 0; i < 9; i++) /* more often than there are readers: none is lost */
        assert_non_null(store_read(NULL, s, &p->arena, &count, &rows));
    assert_int_equal(rename(p->other, p->path), 0);
    assert_int_equal(number(p, s, COUNT), 0);
}

/* ---- values, transactions ----------------------------------------------------------- */

static void values_come_back_as_they_were_put(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    struct store_rows rows;
    const struct store_value binds[] = { store_int(INT64_MIN), store_real(0.5), store_text(S("tä\0xt")),
                                         store_blob(S("\0\1")), store_null(), store_text(S("")) };
    assert_null(store_read(
        NULL, s, &p->arena,
        &(struct store_statement){ "SELECT ?1, ?2, ?3, ?4, ?5, ?6", binds, 6, NULL }, &rows));
    assert_int_equal(rows.columns, 6);
    const struct store_value *row = store_cell(&rows, 0, 0);
    assert_true(row[0].type == STORE_INT && row[0].integer == INT64_MIN);
    assert_true(row[1].type == STORE_REAL && row[1].real == 0.5);
    assert_true(row[2].type == STORE_TEXT && str_eq(row[2].text, S("tä\0xt")));
    assert_true(row[3].type == STORE_BLOB && str_eq(row[3].text, S("\0\1")));
    assert_int_equal(row[4].type, STORE_NULL);
    assert_true(row[5].type == STORE_TEXT && row[5].text.n == 0);
}

static void a_failing_statement_takes_its_transaction_with_it(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    const struct store_statement both[] = {
        { "INSERT INTO key_use VALUES ('default', 'a', 1)", NULL, 0, NULL },
        { "INSERT INTO key_use VALUES ('default', NULL, 2)", NULL, 0, NULL },
    };
    assert_int_equal(kind_of(store_write(NULL, s, both, 2, NULL)), ERR_CONFLICT);
    assert_int_equal(number(p, s, COUNT), 0);
}

static void or_else_rolls_back_with_its_words(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    const struct store_statement both[] = {
        { "INSERT INTO key_use VALUES ('default', 'a', 1)", NULL, 0, NULL },
        { "UPDATE key_use SET last_used = 2 WHERE key_id = 'b'", NULL, 0, "b is not there" },
    };
    err_t e = store_write(NULL, s, both, 2, NULL);
    assert_int_equal(kind_of(e), ERR_CONFLICT);
    assert_string_equal(e->text, "b is not there");
    assert_int_equal(number(p, s, COUNT), 0);
}

static void too_many_rows_are_refused(void **state) {
    struct place *p = *state;
    struct store_conf conf = conf_of(p->path);
    struct store_rows rows;
    conf.max_rows = 2;
    assert_null(store_open(&conf, &p->store));
    assert_null(store_read(NULL, p->store, &p->arena,
                           &(struct store_statement){ .sql = "VALUES (1), (2)" }, &rows));
    assert_int_equal(rows.rows, 2);
    assert_int_equal(
        kind_of(store_read(NULL, p->store, &p->arena,
                           &(struct store_statement){ .sql = "VALUES (1), (2), (3)" }, &rows)),
        ERR_TOO_LARGE);
}

static void a_read_cannot_change_anything(void **state) {
    struct place *p = *state;
    struct store_rows rows;
    struct store *s = open_here(p);
    err_t e = store_read(NULL, s, &p->arena, &(struct store_statement){
        .sql = "INSERT INTO key_use VALUES ('default', 'a', 1)" }, &rows);
    assert_int_equal(kind_of(e), ERR_DENIED);
}

/* ---- group commit ------------------------------------------------------------------- */

enum { TASKS = 40, ROUNDS = 5 };

struct crowd {
    struct place *place;
    struct store *store;
    unsigned failed;
};

struct writer {
    struct crowd *crowd;
    int number;
};

static err_t write_rounds(struct task *t, void *arg) {
    struct writer *w = arg;
    for (int i = 0; i < ROUNDS; i++) {
        char key[32];
        snprintf(key, sizeof key, "%d-%d", w->number, w->number % 8 ? i : 0); /* some collide */
        if (put(t, w->crowd->store, key, i))
            w->crowd->failed++;
    }
    return OK;
}

static void many_tasks_write(struct task *t, void *arg) {
    struct crowd *crowd = arg;
    struct writer writers[TASKS];
    SCOPED(task_group_scope) struct task_group g;
    task_group_init(&g, t);
    for (int i = 0; i < TASKS; i++) {
        writers[i] = (struct writer){ crowd, i };
        assert_null(task_group_start(&g, write_rounds, &writers[i]));
    }
    assert_null(task_group_wait(&g));
}

static void waiting_writers_share_a_commit_and_one_failure_is_its_own(void **state) {
    struct place *p = *state;
    struct crowd crowd = { p, open_here(p), 0 };
    run_script(0, many_tasks_write, &crowd);
    struct store_stats stats = store_stats(crowd.store);
    const unsigned colliding = (TASKS / 8) * (ROUNDS - 1);
    assert_int_equal(crowd.failed, colliding);
    assert_int_equal(number(p, crowd.store, COUNT), TASKS * ROUNDS - colliding);
    assert_int_equal(stats.writes, TASKS * ROUNDS - colliding);
    assert_true(stats.commits < TASKS * ROUNDS / 2);
}

static void *thread_writes(void *arg) {
    struct writer *w = arg;
    for (int i = 0; i < ROUNDS; i++) {
        char key[32];
        snprintf(key, sizeof key, "%d/%d", w->number, i);
        if (put(NULL, w->crowd->store, key, i))
            __atomic_add_fetch(&w->crowd->failed, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void threads_without_a_task_write_too(void **state) {
    struct place *p = *state;
    struct crowd crowd = { p, open_here(p), 0 };
    struct writer writers[8];
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        writers[i] = (struct writer){ &crowd, i };
        assert_int_equal(pthread_create(&threads[i], NULL, thread_writes, &writers[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.failed, 0);
    assert_int_equal(number(p, crowd.store, COUNT), 8 * ROUNDS);
}

struct outcome {
    struct store *store;
    int kind;
};

static void write_cancelled(struct task *t, void *arg) {
    struct outcome *o = arg;
    task_cancel(t);
    o->kind = kind_of(put(t, o->store, "never", 1));
}

static void a_cancelled_task_writes_nothing(void **state) {
    struct place *p = *state;
    struct outcome o = { open_here(p), KIND_OK };
    run_script(0, write_cancelled, &o);
    assert_int_equal(o.kind, ERR_CANCELLED);
    assert_int_equal(number(p, o.store, COUNT), 0);
}

struct pressure {
    struct store *store;
    bool stop;
};

static void *keeps_writing(void *arg) {
    struct pressure *p = arg;
    while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED))
        put(NULL, p->store, "pressed", 1);
    return NULL;
}

/* Another connection holds the write lock, and two threads do not cease to write: one is with the
 * writer, the other waits. Nobody says when just that is so, so it is tried until it was; a
 * try that got the queue's one place itself fails on the lock. */
static void a_full_queue_is_refused(void **state) {
    struct place *p = *state;
    struct store_conf conf = conf_of(p->path);
    sqlite3 *other;
    conf.queue = 1;
    conf.busy = 20 * NANOS_MS;
    assert_null(store_open(&conf, &p->store));
    assert_int_equal(sqlite3_open(p->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct pressure pressure = { .store = p->store };
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keeps_writing, &pressure), 0);
    bool refused = false;
    for (int tries = 0; tries < 1000 && !refused; tries++) {
        err_t e = put(NULL, p->store, "third", 1);
        assert_int_equal(kind_of(e), ERR_UNAVAILABLE);
        refused = strstr(e->text, "wait for the disk already") != NULL;
    }
    __atomic_store_n(&pressure.stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(refused);
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    assert_int_equal(number(p, p->store, COUNT), 0);
    assert_null(put(NULL, p->store, "afterwards", 1));
}

/* ---- durability, damage ------------------------------------------------------------- */

static void what_was_acknowledged_is_there_after_the_next_open(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    assert_null(put(NULL, s, "a", 7));
    store_close(p->store);
    s = open_here(p);
    assert_int_equal(number(p, s, "SELECT last_used FROM key_use"), 7);
}

static void the_file_is_for_its_owner_alone(void **state) {
    struct place *p = *state;
    struct stat st;
    char log[128];
    assert_null(put(NULL, open_here(p), "a", 1));
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(log, sizeof log, "%s-wal", p->path);
    assert_int_equal(stat(log, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* A limit on the file's size stands for a full disk: the write fails in the middle. */
static void a_full_disk_changes_nothing_and_can_be_freed(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    struct rlimit before, small;
    char *big = mem_zero(1 << 20);
    memset(big, 'x', (1 << 20) - 1);
    assert_null(put(NULL, s, "before", 1));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 256 * 1024;
    setrlimit(RLIMIT_FSIZE, &small);
    err_t e = put(NULL, s, big, 2);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(kind_of(e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e->text, "disk is full"));
    assert_non_null(strstr(e->text, p->path));
    assert_int_equal(number(p, s, COUNT), 1);
    assert_null(put(NULL, s, big, 2));
    assert_null(store_check(NULL, s));
    free(big);
}

static void damage_is_found(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    for (int i = 0; i < 2000; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%d", i);
        if (i % 100)
            continue;
        assert_null(put(NULL, s, key, i));
    }
    assert_null(store_check(NULL, s));
    store_close(TAKE(p->store));
    int fd = open(p->path, O_RDWR);
    for (off_t at = 4096 + 200; at < 6 * 4096; at += 4096)
        assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\xff\xff", 6, at), 6);
    for (off_t at = 4096; at < 6 * 4096; at += 4096)
        assert_int_equal(pwrite(fd, "\x77", 1, at), 1); /* no such kind of page */
    close(fd);
    err_t e = store_check_file(str_of(p->path));
    assert_int_equal(kind_of(e), ERR_INVALID);
    assert_non_null(strstr(e->text, "restore a backup"));
}

static void a_file_that_is_no_database_is_refused(void **state) {
    struct place *p = *state;
    FILE *f = fopen(p->path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is a letter\n", f);
    fclose(f);
    struct store_conf conf = conf_of(p->path);
    err_t e = store_open(&conf, &p->store);
    assert_int_equal(kind_of(e), ERR_INVALID);
    assert_non_null(strstr(e->text, "no database of Gatespan"));
}

static void run_sql(const char *path, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void another_programs_database_is_refused(void **state) {
    struct place *p = *state;
    struct store_conf conf = conf_of(p->path);
    run_sql(p->path, "CREATE TABLE mine (x)");
    err_t e = store_open(&conf, &p->store);
    assert_int_equal(kind_of(e), ERR_INVALID);
    assert_non_null(strstr(e->text, "another program"));
}

/* ---- migrations --------------------------------------------------------------------- */

static void steps_are_numbered_without_gaps(void **state) {
    for (size_t i = 0; i < migration_count; i++)
        assert_int_equal(migrations[i].number, i + 1);
}

/* A database as the program of that version left it, with a row in it. */
static void make_version(const char *path, size_t version) {
    char sql[128];
    for (size_t i = 0; i < version; i++)
        run_sql(path, migrations[i].sql);
    snprintf(sql, sizeof sql, "PRAGMA application_id = 0x47737061; PRAGMA user_version = %zu",
             version);
    run_sql(path, sql);
    if (version)
        run_sql(path, "INSERT INTO key_use VALUES ('default', 'old', 1)");
}

static void every_older_version_is_brought_up(void **state) {
    struct place *p = *state;
    for (size_t version = 0; version <= migration_count; version++) {
        unlink(p->path);
        make_version(p->path, version);
        struct store *s = open_here(p);
        assert_int_equal(number(p, s, "PRAGMA user_version"), migration_count);
        assert_int_equal(number(p, s, COUNT), version ? 1 : 0);
        store_close(TAKE(p->store));
    }
}

static void every_table_has_a_tenant(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    assert_true(number(p, s, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'") >= 4);
    assert_int_equal(
        number(p, s,
               "SELECT count(*) FROM sqlite_schema m WHERE type = 'table' AND NOT EXISTS"
               " (SELECT 1 FROM pragma_table_info(m.name) c WHERE c.name = 'tenant_id'"
               "  AND c.\"notnull\" = 1 AND c.type = 'TEXT')"),
        0);
}

static void a_newer_database_is_refused_untouched(void **state) {
    struct place *p = *state;
    struct store_conf conf = conf_of(p->path);
    char sql[64];
    make_version(p->path, migration_count);
    snprintf(sql, sizeof sql, "PRAGMA user_version = %zu", migration_count + 1);
    run_sql(p->path, sql);
    struct stat before, after;
    stat(p->path, &before);
    err_t e = store_open(&conf, &p->store);
    assert_int_equal(kind_of(e), ERR_INVALID);
    assert_non_null(strstr(e->text, "newer Gatespan"));
    stat(p->path, &after);
    assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    assert_int_equal(before.st_size, after.st_size);
}

/* A table of the same name is in the way of the last step: nothing of it stays. */
static void a_failing_step_leaves_the_old_schema(void **state) {
    struct place *p = *state;
    struct store_conf conf = conf_of(p->path);
    sqlite3 *db;
    sqlite3_stmt *version;
    make_version(p->path, 1);
    run_sql(p->path, "CREATE TABLE journal (x)");
    assert_non_null(store_open(&conf, &p->store));
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    sqlite3_prepare_v2(db,
                       "SELECT (SELECT user_version FROM pragma_user_version), count(*)"
                       " FROM sqlite_schema WHERE name = 'history'",
                       -1, &version, NULL);
    assert_int_equal(sqlite3_step(version), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(version, 0), 1);
    assert_int_equal(sqlite3_column_int(version, 1), 0);
    sqlite3_finalize(version);
    sqlite3_close(db);
}

/* ---- copies ------------------------------------------------------------------------- */

static void a_copy_made_under_load_is_whole(void **state) {
    struct place *p = *state;
    struct crowd crowd = { p, open_here(p), 0 };
    struct writer w = { &crowd, 1 };
    pthread_t thread;
    assert_null(put(NULL, crowd.store, "first", 1));
    pthread_create(&thread, NULL, thread_writes, &w);
    assert_null(store_backup(NULL, crowd.store, str_of(p->other)));
    pthread_join(thread, NULL);
    assert_null(store_check_file(str_of(p->other)));
    struct store *copy;
    struct store_conf conf = conf_of(p->other);
    assert_null(store_open(&conf, &copy));
    int64_t n = number(p, copy, COUNT);
    assert_true(n >= 1 && n <= ROUNDS + 1);
    store_close(copy);
    assert_int_equal(kind_of(store_backup(NULL, crowd.store, str_of(p->other))), ERR_CONFLICT);
}

static void replacing_swaps_everything(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    assert_null(put(NULL, s, "kept", 1));
    assert_null(store_backup(NULL, s, str_of(p->other)));
    assert_null(put(NULL, s, "later", 2));
    assert_null(store_replace(NULL, s, str_of(p->other)));
    assert_int_equal(number(p, s, COUNT), 1);
    assert_null(put(NULL, s, "after", 3));
    store_close(TAKE(p->store));
    assert_int_equal(number(p, open_here(p), COUNT), 2);
}

static void a_bad_copy_replaces_nothing(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    char sql[64];
    assert_null(put(NULL, s, "kept", 1));
    make_version(p->other, migration_count);
    snprintf(sql, sizeof sql, "PRAGMA user_version = %zu", migration_count + 1);
    run_sql(p->other, sql);
    assert_int_equal(kind_of(store_replace(NULL, s, str_of(p->other))), ERR_INVALID);
    assert_int_equal(number(p, s, "SELECT count(*) FROM key_use WHERE key_id = 'kept'"), 1);
}

static void an_older_copy_is_brought_up_first(void **state) {
    struct place *p = *state;
    struct store *s = open_here(p);
    make_version(p->other, 1);
    assert_null(store_replace(NULL, s, str_of(p->other)));
    assert_int_equal(number(p, s, "SELECT count(*) FROM history"), 0);
    assert_int_equal(number(p, s, "SELECT count(*) FROM key_use WHERE key_id = 'old'"), 1);
}

/* ---- sealing ------------------------------------------------------------------------ */

static void a_sealed_value_opens_in_its_place_only(void **state) {
    struct seal_ring ring = { .count = 1 };
    struct store_place at = { "registry", "doc_sealed", S("default"), S("a") };
    SCOPED(buf_done) struct buf sealed = { 0 };
    SCOPED(buf_done) struct buf plain = { 0 };
    crypto_random(ring.keys[0].key, SHA256_SIZE);
    store_seal(&ring, &at, S("secret"), &sealed);
    assert_true(str_find(buf_view(&sealed), S("secret")) < 0);
    assert_null(store_unseal(&ring, &at, buf_view(&sealed), &plain));
    assert_true(str_eq(buf_view(&plain), S("secret")));
    const struct store_place others[] = {
        { "history", "doc_sealed", S("default"), S("a") }, { "registry", "body_sealed", S("default"), S("a") },
        { "registry", "doc_sealed", S("other"), S("a") }, { "registry", "doc_sealed", S("default"), S("b") },
    };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_int_equal(kind_of(store_unseal(&ring, &others[i], buf_view(&sealed), &plain)),
                         ERR_INVALID);
    ring.keys[1] = ring.keys[0]; /* rotated: a new key seals, the old one still opens */
    ring.count = 2;
    ring.keys[0].id = 1;
    crypto_random(ring.keys[0].key, SHA256_SIZE);
    buf_clear(&plain);
    assert_null(store_unseal(&ring, &at, buf_view(&sealed), &plain));
    ring.count = 1;
    err_t e = store_unseal(&ring, &at, buf_view(&sealed), &plain);
    assert_int_equal(kind_of(e), ERR_INVALID);
    assert_non_null(strstr(e->text, "master.key"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(readers_are_opened_when_they_are_used),
        T(a_reader_that_cannot_be_opened_is_tried_again),
        T(values_come_back_as_they_were_put),
        T(a_failing_statement_takes_its_transaction_with_it),
        T(or_else_rolls_back_with_its_words),
        T(too_many_rows_are_refused),
        T(a_read_cannot_change_anything),
        T(waiting_writers_share_a_commit_and_one_failure_is_its_own),
        T(threads_without_a_task_write_too),
        T(a_cancelled_task_writes_nothing),
        T(a_full_queue_is_refused),
        T(what_was_acknowledged_is_there_after_the_next_open),
        T(the_file_is_for_its_owner_alone),
        T(a_full_disk_changes_nothing_and_can_be_freed),
        T(damage_is_found),
        T(a_file_that_is_no_database_is_refused),
        T(another_programs_database_is_refused),
        cmocka_unit_test(steps_are_numbered_without_gaps),
        T(every_older_version_is_brought_up),
        T(every_table_has_a_tenant),
        T(a_newer_database_is_refused_untouched),
        T(a_failing_step_leaves_the_old_schema),
        T(a_copy_made_under_load_is_whole),
        T(replacing_swaps_everything),
        T(a_bad_copy_replaces_nothing),
        T(an_older_copy_is_brought_up_first),
        cmocka_unit_test(a_sealed_value_opens_in_its_place_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
