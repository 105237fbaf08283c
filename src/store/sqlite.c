/* sqlite.c - the store on SQLite: see store.h and, for one connection, sqlite_db.h.
 *
 * Readers run on the blocking pool, each with a connection of the pool of connections; the
 * write-ahead log lets them go on while the writer writes. The writer is a thread of its own:
 * it takes all transactions that wait, runs them as savepoints of one, and commits once. */
#include "base/log.h"
#include "base/mem.h"
#include "run/task.h"
#include "store/sqlite_db.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READERS = 4, QUEUE = 1024, GROUP = 256, MAX_ROWS = 100000 };
#define QUEUE_BYTES (64u << 20)
#define BUSY (5 * NANOS_SEC)

/* A transaction that waits for the writer, on the stack of whoever asked. */
struct order {
    struct mail mail;               /* back to the worker of `task` */
    struct order *next;
    struct task *task;              /* NULL: a thread waits for `finished` */
    struct event done;
    pthread_cond_t finished;
    bool is_finished;
    const struct store_statement *statements;
    size_t n, bytes;
    const char *replace;            /* instead of statements: the whole content, from this file */
    int64_t changes;
    bool failed;
    struct err error;
};

struct sqlite {
    struct store store;
    char *path;
    bool read_only;
    nanos busy;
    size_t queue_limit, queue_bytes_limit;
    /* reading */
    pthread_mutex_t readers_lock;
    pthread_cond_t reader_free;
    struct db *readers, **idle;
    size_t reader_count, idle_count, max_rows;
    /* writing */
    struct db writer;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;           /* of all below */
    pthread_cond_t work;
    struct order *first, **last;
    size_t queued, queued_bytes;
    bool stop;
    uint64_t reads, writes, commits, failures; /* atomic */
};

static struct sqlite *self(struct store *s) {
    return (struct sqlite *)s;
}

static void count(uint64_t *what) {
    __atomic_add_fetch(what, 1, __ATOMIC_RELAXED);
}

/* ---- reading ----------------------------------------------------------------------- */

static void reader_give(struct sqlite *s, struct db *db) {
    pthread_mutex_lock(&s->readers_lock);
    s->idle[s->idle_count++] = db;
    pthread_cond_signal(&s->reader_free);
    pthread_mutex_unlock(&s->readers_lock);
}

static err_t reader_open(struct sqlite *s, struct db *db) {
    TRY(db_open(db, s->path, DB_READ, s->busy));
    db->max_rows = s->max_rows;
    return OK;
}

/* The one used last comes first, and a reader is opened when it is first used: most programs need
 * one of them, and none while they start. */
static err_t reader_take(struct sqlite *s, struct db **out) {
    pthread_mutex_lock(&s->readers_lock);
    while (!s->idle_count)
        pthread_cond_wait(&s->reader_free, &s->readers_lock);
    struct db *db = s->idle[--s->idle_count];
    pthread_mutex_unlock(&s->readers_lock);
    err_t e = db->handle ? OK : reader_open(s, db);
    if (e)
        reader_give(s, db);
    else
        *out = db;
    return e;
}

struct reading {
    struct sqlite *store;
    struct arena *arena;
    const struct store_statement *statement;
    struct store_rows *out;
};

static err_t read_now(void *arg, const bool *cancelled) {
    (void)cancelled;
    struct reading *r = arg;
    struct db *db = NULL;
    err_t e = reader_take(r->store, &db);
    if (!e) {
        e = db_query(db, r->arena, r->statement, r->out);
        reader_give(r->store, db);
    }
    count(e ? &r->store->failures : &r->store->reads);
    return e;
}

static err_t run_blocking(struct task *t, work_fn *fn, void *arg) {
    return t ? work_run(t, fn, arg) : fn(arg, NULL);
}

static err_t sqlite_read(struct task *t, struct store *store, struct arena *a,
                         const struct store_statement *statement, struct store_rows *out) {
    struct reading r = { self(store), a, statement, out };
    return run_blocking(t, read_now, &r);
}

/* ---- the writer's thread ----------------------------------------------------------- */

static void fail(struct order *o, err_t e) {
    o->failed = true;
    o->error = *e;
}

static err_t run_statements(struct db *db, struct order *o) {
    for (size_t i = 0; i < o->n; i++) {
        const struct store_statement *s = &o->statements[i];
        TRY(db_run(db, s, &o->changes));
        if (s->or_else && o->changes != 1)
            return ERR(CONFLICT, "%s", s->or_else);
    }
    return OK;
}

/* A savepoint of its own: its failure leaves the others' work alone. */
static void run_order(struct db *db, struct order *o) {
    err_t e = db_run(db, &(struct store_statement){ .sql = "SAVEPOINT one" }, &o->changes);
    if (!e)
        e = run_statements(db, o);
    if (e) {
        fail(o, e);
        sqlite3_exec(db->handle, "ROLLBACK TO one", NULL, NULL, NULL);
    }
    int64_t changes;
    e = db_run(db, &(struct store_statement){ .sql = "RELEASE one" }, &changes);
    if (e && !o->failed)
        fail(o, e);
}

static void fail_all(struct order *first, err_t e) {
    struct err saved = *e;
    for (struct order *o = first; o; o = o->next)
        if (!o->failed)
            fail(o, &saved);
}

/* A full disk may have rolled everything back already: then nothing of the group happened. */
static void run_group(struct sqlite *s, struct order *first) {
    struct db *db = &s->writer;
    int64_t changes;
    err_t e = db_run(db, &(struct store_statement){ .sql = "BEGIN IMMEDIATE" }, &changes);
    for (struct order *o = first; o && !e; o = o->next) {
        run_order(db, o);
        if (sqlite3_get_autocommit(db->handle))
            e = &o->error;
    }
    if (!e)
        e = db_run(db, &(struct store_statement){ .sql = "COMMIT" }, &changes);
    if (!e) {
        count(&s->commits);
        return;
    }
    fail_all(first, e);
    if (!sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

static err_t replace_content(struct sqlite *s, const char *path) {
    struct db from;
    TRY(db_open(&from, path, DB_WRITE, s->busy));
    err_t e = db_check_damage(&from);
    if (!e)
        e = db_migrate(&from);
    if (!e)
        e = db_copy(&s->writer, &from);
    struct err saved = e ? *e : (struct err){ 0 };
    db_close(&from);
    return e ? err_again(&saved) : OK;
}

static void on_answer(struct worker *w, struct mail *m) {
    (void)w;
    event_set(&((struct order *)m)->done);
}

/* The order is gone once its owner knows. */
static void answer(struct sqlite *s, struct order *o) {
    count(o->failed ? &s->failures : &s->writes);
    if (o->task) {
        o->mail.deliver = on_answer;
        worker_post(task_worker(o->task), &o->mail); /* its task waits, so its worker lives */
        return;
    }
    pthread_mutex_lock(&s->lock);
    o->is_finished = true;
    pthread_cond_signal(&o->finished);
    pthread_mutex_unlock(&s->lock);
}

/* As many as may share a commit; a replacement goes alone. */
static struct order *take_group(struct sqlite *s) {
    struct order *first = s->first, **end = &s->first;
    for (size_t n = 0; *end && n < GROUP && !((*end)->replace && n); n++) {
        s->queued--;
        s->queued_bytes -= (*end)->bytes;
        bool alone = (*end)->replace != NULL;
        end = &(*end)->next;
        if (alone)
            break;
    }
    s->first = *end;
    if (!s->first)
        s->last = &s->first;
    *end = NULL;
    return first;
}

static void run_taken(struct sqlite *s, struct order *first) {
    if (first->replace) {
        err_t e = replace_content(s, first->replace);
        if (e)
            fail(first, e);
    } else {
        run_group(s, first);
    }
    for (struct order *o = first, *next; o; o = next) {
        next = o->next;
        answer(s, o);
    }
}

static void *writer_main(void *arg) {
    struct sqlite *s = arg;
    pthread_setname_np(pthread_self(), "store");
    pthread_mutex_lock(&s->lock);
    while (s->first || !s->stop) {
        if (!s->first) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        struct order *first = take_group(s);
        pthread_mutex_unlock(&s->lock);
        run_taken(s, first);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- asking it --------------------------------------------------------------------- */

static size_t bytes_of(const struct store_statement *statements, size_t n) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < statements[i].n; k++)
            bytes += statements[i].binds[k].text.n + sizeof statements[i].binds[k];
    return bytes;
}

static err_t enqueue(struct sqlite *s, struct order *o) {
    pthread_mutex_lock(&s->lock);
    bool full = s->queued >= s->queue_limit ||
                (s->queued && s->queued_bytes + o->bytes > s->queue_bytes_limit);
    if (!full) {
        s->queued++;
        s->queued_bytes += o->bytes;
        *s->last = o;
        s->last = &o->next;
        pthread_cond_signal(&s->work);
    }
    size_t queued = s->queued;
    pthread_mutex_unlock(&s->lock);
    return full ? ERR(UNAVAILABLE,
                      "store: %zu changes wait for the disk already: try again in a second", queued)
                : OK;
}

static void wait_as_task(struct order *o) {
    SCOPED(shield_scope) struct shield until_done = task_shield(o->task, NANOS_NEVER);
    event_wait(o->task, &o->done);
}

static void wait_as_thread(struct sqlite *s, struct order *o) {
    pthread_mutex_lock(&s->lock);
    while (!o->is_finished)
        pthread_cond_wait(&o->finished, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static err_t carry_out(struct sqlite *s, struct order *o) {
    if (s->read_only)
        return ERR(DENIED, "store: %s was opened for reading only", s->path);
    if (o->task && task_cancelled(o->task))
        return ERR(CANCELLED, "cancelled before it was written");
    pthread_cond_init(&o->finished, NULL);
    err_t e = enqueue(s, o);
    if (!e && o->task)
        wait_as_task(o);
    else if (!e)
        wait_as_thread(s, o);
    pthread_cond_destroy(&o->finished);
    return e ? e : o->failed ? err_again(&o->error) : OK;
}

static err_t sqlite_write(struct task *t, struct store *store,
                          const struct store_statement *statements, size_t n,
                          int64_t *out_changes) {
    struct order o = {
        .task = t, .statements = statements, .n = n, .bytes = bytes_of(statements, n)
    };
    TRY(carry_out(self(store), &o));
    if (out_changes)
        *out_changes = o.changes;
    return OK;
}

static err_t sqlite_replace(struct task *t, struct store *store, struct str path) {
    SCOPED(buf_done) struct buf name = { 0 };
    buf_str(&name, path);
    struct order o = { .task = t, .replace = buf_text(&name) };
    return carry_out(self(store), &o);
}

/* ---- copies and checks ------------------------------------------------------------- */

struct copying {
    struct sqlite *store;
    const char *path;
};

/* One plain file: a reader of the copy needs no log beside it. */
static err_t copy_to(struct db *from, const char *path, nanos busy) {
    struct db to;
    TRY(db_open(&to, path, DB_CREATE, busy));
    err_t e = db_copy(&to, from);
    if (!e)
        e = db_exec(&to, "PRAGMA journal_mode = DELETE", "copying");
    struct err saved = e ? *e : (struct err){ 0 };
    db_close(&to);
    if (!e)
        return OK;
    unlink(path);
    return err_again(&saved);
}

static err_t sync_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int bad = fd < 0 || fsync(fd) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return bad ? err_errno(bad, "store: syncing %s", path) : OK;
}

static err_t backup_now(void *arg, const bool *cancelled) {
    (void)cancelled;
    struct copying *c = arg;
    if (access(c->path, F_OK) == 0)
        return ERR(CONFLICT, "store: %s is there already; a copy does not overwrite", c->path);
    struct db *from = NULL;
    TRY(reader_take(c->store, &from));
    err_t e = copy_to(from, c->path, c->store->busy);
    reader_give(c->store, from);
    return e ? e : sync_file(c->path);
}

static err_t sqlite_backup(struct task *t, struct store *store, struct str path) {
    SCOPED(buf_done) struct buf name = { 0 };
    buf_str(&name, path);
    struct copying c = { self(store), buf_text(&name) };
    return run_blocking(t, backup_now, &c);
}

static err_t check_now(void *arg, const bool *cancelled) {
    (void)cancelled;
    struct sqlite *s = arg;
    struct db *db = NULL;
    TRY(reader_take(s, &db));
    err_t e = db_check_damage(db);
    reader_give(s, db);
    return e;
}

static err_t sqlite_check(struct task *t, struct store *store) {
    return run_blocking(t, check_now, store);
}

static struct store_stats sqlite_stats(struct store *store) {
    struct sqlite *s = self(store);
    struct stat st;
    pthread_mutex_lock(&s->lock);
    size_t queued = s->queued;
    pthread_mutex_unlock(&s->lock);
    return (struct store_stats){
        .reads = __atomic_load_n(&s->reads, __ATOMIC_RELAXED),
        .writes = __atomic_load_n(&s->writes, __ATOMIC_RELAXED),
        .commits = __atomic_load_n(&s->commits, __ATOMIC_RELAXED),
        .failures = __atomic_load_n(&s->failures, __ATOMIC_RELAXED),
        .queued = queued,
        .bytes = stat(s->path, &st) == 0 ? (int64_t)st.st_size : 0,
    };
}

/* ---- opening ----------------------------------------------------------------------- */

static err_t open_writer(struct sqlite *s) {
    TRY(db_open(&s->writer, s->path, DB_CREATE, s->busy));
    TRY(db_check_version(&s->writer)); /* before anything is written to it */
    TRY(db_exec(&s->writer, "PRAGMA journal_mode = WAL", "opening"));
    return db_migrate(&s->writer);
}

/* Where nobody writes, the first must be there: what is wrong with the file is said now. */
static err_t make_readers(struct sqlite *s, const struct store_conf *conf) {
    s->reader_count = conf->readers ? conf->readers : READERS;
    s->readers = NEW_ARRAY(struct db, s->reader_count);
    s->idle = NEW_ARRAY(struct db *, s->reader_count);
    s->max_rows = conf->max_rows ? conf->max_rows : MAX_ROWS;
    for (size_t i = s->reader_count; i-- > 0;)
        s->idle[s->idle_count++] = &s->readers[i];
    if (!s->read_only)
        return OK;
    TRY(reader_open(s, &s->readers[0]));
    return db_check_version(&s->readers[0]);
}

/* Signals are for the control worker's thread. */
static err_t start_thread(struct sqlite *s) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int problem = pthread_create(&s->thread, NULL, writer_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->has_thread = problem == 0;
    return problem ? err_errno(problem, "store: starting the writer") : OK;
}

static err_t open_parts(struct sqlite *s, const struct store_conf *conf) {
    if (!s->read_only)
        TRY(open_writer(s));
    TRY(make_readers(s, conf));
    return s->read_only ? OK : start_thread(s);
}

static void sqlite_close(struct store *store) {
    struct sqlite *s = self(store);
    if (s->has_thread) {
        pthread_mutex_lock(&s->lock);
        s->stop = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    for (size_t i = 0; i < s->reader_count; i++)
        if (s->readers[i].handle)
            db_close(&s->readers[i]);
    if (s->writer.handle)
        db_close(&s->writer); /* last: it folds the log into the file */
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->readers_lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->reader_free);
    free(s->readers);
    free(s->idle);
    free(s->path);
    free(s);
}

static err_t sqlite_open(const struct store_conf *conf, struct store **out) {
    struct sqlite *s = NEW(struct sqlite);
    s->store.ops = &sqlite_store;
    s->path = mem_text(conf->path.p, conf->path.n);
    s->read_only = conf->read_only;
    s->busy = conf->busy ? conf->busy : BUSY;
    s->queue_limit = conf->queue ? conf->queue : QUEUE;
    s->queue_bytes_limit = conf->queue_bytes ? conf->queue_bytes : QUEUE_BYTES;
    s->last = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->readers_lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->reader_free, NULL);
    err_t e = open_parts(s, conf);
    if (!e) {
        *out = &s->store;
        return OK;
    }
    struct err saved = *e;
    sqlite_close(&s->store);
    return err_again(&saved);
}

err_t store_check_file(struct str path) {
    SCOPED(buf_done) struct buf name = { 0 };
    struct db db;
    buf_str(&name, path);
    TRY(db_open(&db, buf_text(&name), DB_READ, BUSY));
    err_t e = db_check_version(&db);
    if (!e)
        e = db_check_damage(&db);
    struct err saved = e ? *e : (struct err){ 0 };
    db_close(&db);
    return e ? err_again(&saved) : OK;
}

const struct store_ops sqlite_store = {
    .kind = "sqlite", .open = sqlite_open, .close = sqlite_close, .read = sqlite_read,
    .write = sqlite_write, .backup = sqlite_backup, .replace = sqlite_replace, .check = sqlite_check,
    .stats = sqlite_stats,
};
