/* history_drain.c - from the workers' journals into the store, and out of it when it is old.
 *
 * A task of the control worker takes what is unread in batches, each with the journal's
 * position in the same transaction: a batch that was committed but not yet released when the
 * process died is skipped by the next start, so every call is one row, exactly. */
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/history_private.h"
#include "control/private.h"
#include "gateway/call_record.h"
#include "store/journal.h"
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#define SOON (200 * NANOS_MS)  /* while there is something */
#define LATER (500 * NANOS_MS)
#define BACKOFF (5 * NANOS_SEC)
#define HOUSEKEEPING (60 * NANOS_SEC)
enum {
    BATCH_BYTES = 256 * 1024,
    BATCH_ROWS = 500,
    BINDS = 15,
    FORGET_ROWS = 5000,
    CACHED_FILE = 1 << 30
};

struct history_drain {
    struct control *control;
    struct history *history;
    struct journal **journals; /* by worker index */
    unsigned count;
    struct timer timer, cleaning;
    bool running, cleaning_runs, failing;
    double tokens;             /* rows that may go now */
    nanos refilled;
    uint64_t reported;         /* dropped records that the log has told of */
    nanos started;             /* wall clock */
    bool leftover;             /* a file of a former run is still to be taken over */
};

/* ---- records to rows --------------------------------------------------------------- */

struct batch {
    struct arena arena;
    struct store_statement *statements;
    size_t n;
    uint64_t last; /* sequence of the last record */
};

static struct store_value payload_of(const struct history *h, struct arena *a,
                                     const struct call_record *r) {
    if (!r->arguments.n && !r->result.n)
        return store_null();
    SCOPED(buf_done) struct buf plain = { 0 };
    SCOPED(buf_done) struct buf sealed = { 0 };
    const struct store_place at = { "history", "payload_sealed", r->tenant,
                                    history_payload_row(a, r->request_id, r->at) };
    buf_str(&plain, r->arguments);
    buf_char(&plain, '\0');
    buf_str(&plain, r->result);
    store_seal(h->ring, &at, buf_view(&plain), &sealed);
    crypto_wipe(plain.p, plain.n);
    return store_blob(arena_dup(a, buf_view(&sealed)));
}

/* Names come from clients: what is no UTF-8 would be no TEXT. */
static struct store_value text_of(struct arena *a, struct str s) {
    if (json_is_utf8(s))
        return store_text(s);
    char *clean = arena_text(a, s);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)clean[i] >= 0x80)
            clean[i] = '?';
    return store_text(str_from(clean, s.n));
}

static void add_row(struct batch *b, const struct history *h, const struct call_record *r) {
    struct arena *a = &b->arena;
    struct store_value *v = ARENA_ARRAY(a, struct store_value, BINDS), *at = v;
    *at++ = text_of(a, r->tenant);
    *at++ = store_int(r->at);
    *at++ = text_of(a, r->tool);
    *at++ = text_of(a, r->key_id);
    *at++ = text_of(a, r->upstream);
    *at++ = text_of(a, r->outcome);
    *at++ = text_of(a, r->key_name);
    *at++ = store_text(method_name(r->method));
    *at++ = store_int(r->error_code);
    *at++ = store_int(r->duration);
    *at++ = store_int((int64_t)r->request_bytes);
    *at++ = store_int((int64_t)r->response_bytes);
    *at++ = text_of(a, r->request_id);
    *at++ = text_of(a, r->trace_id);
    *at++ = payload_of(h, a, r);
    b->statements[b->n++] = (struct store_statement){
        "INSERT INTO history (tenant_id, at, tool, key_id, upstream, outcome, key_name, method, error_code,"
        " duration, request_bytes, response_bytes, request_id, trace_id, payload_sealed)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)", v, BINDS, NULL };
}

static void add_position(struct batch *b, uint64_t file) {
    struct store_value *v = ARENA_ARRAY(&b->arena, struct store_value, 3);
    v[0] = store_int((int64_t)file);
    v[1] = store_int((int64_t)b->last);
    v[2] = store_int(clock_wall());
    b->statements[b->n++] = (struct store_statement){
        "INSERT INTO journal VALUES ('default', ?1, ?2, ?3) ON CONFLICT DO UPDATE"
        " SET sequence = excluded.sequence, updated = excluded.updated", v, 3, NULL };
}

/* Moves at most `most` records behind number `after` off *rest into the store. */
static err_t move_batch(struct task *t, struct history *h, uint64_t file, struct str *rest,
                        size_t most, uint64_t after, uint64_t *out_last, size_t *out_rows) {
    struct batch b = { .last = after };
    struct journal_entry e;
    struct call_record r;
    size_t records = 0;
    arena_init(&b.arena, NULL, 0);
    b.statements = ARENA_ARRAY(&b.arena, struct store_statement, most + 1);
    for (; records < most && journal_next(rest, &e); records++) {
        if (e.sequence > after && call_record_read(e.data, &r))
            add_row(&b, h, &r);
        b.last = e.sequence > b.last ? e.sequence : b.last;
    }
    *out_rows = b.n;
    *out_last = b.last;
    err_t failed = OK;
    if (b.n) {
        add_position(&b, file);
        failed = store_write(t, h->store, b.statements, b.n, NULL);
    }
    arena_done(&b.arena);
    if (!failed)
        __atomic_add_fetch(&h->rows, *out_rows, __ATOMIC_RELAXED);
    return failed;
}

/* ---- draining ---------------------------------------------------------------------- */

static void refill(struct history_drain *d, nanos now) {
    double per_second = d->control->held->conf->history.rate.per_second;
    double most = per_second > BATCH_ROWS ? per_second : BATCH_ROWS; /* a second's worth */
    d->tokens += per_second * (double)(now - d->refilled) / (double)NANOS_SEC;
    if (d->tokens > most)
        d->tokens = most;
    if (per_second <= 0)
        d->tokens = 1e9;
    d->refilled = now;
}

static size_t allowed(const struct history_drain *d) {
    return d->tokens < 1 ? 0 : d->tokens < BATCH_ROWS ? (size_t)d->tokens : BATCH_ROWS;
}

/* One journal, as far as the rate allows. */
static err_t drain_one(struct task *t, struct history_drain *d, struct journal *j) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct journal_mark mark;
    size_t most, rows;
    while ((most = allowed(d)) > 0 && journal_peek(j, BATCH_BYTES, &text, &mark)) {
        struct str rest = buf_view(&text);
        TRY(move_batch(t, d->history, journal_id(j), &rest, most, 0, &mark.sequence, &rows));
        mark.end -= rest.n;
        journal_release(j, mark);
        d->tokens -= (double)rows;
    }
    return OK;
}

static err_t drain_all(struct task *t, struct history_drain *d) {
    for (unsigned i = 0; i < d->count; i++)
        TRY(drain_one(t, d, d->journals[i]));
    return OK;
}

static uint64_t count_dropped(struct history_drain *d) {
    uint64_t dropped = 0;
    for (unsigned i = 0; i < d->count; i++)
        dropped += journal_dropped(d->journals[i]);
    __atomic_store_n(&d->history->dropped, dropped, __ATOMIC_RELAXED);
    return dropped;
}

static void report_dropped(struct history_drain *d) {
    uint64_t dropped = count_dropped(d);
    if (dropped == d->reported)
        return;
    log_warn("calls are missing in the history", F("dropped", (int64_t)(dropped - d->reported)),
             F("remedy", "raise history.rate or history.journal"));
    d->reported = dropped;
}

static void set_timer(struct history_drain *d, nanos wait) {
    timer_set(d->control->worker, &d->timer, worker_now(d->control->worker) + wait);
}

static void report_failure(struct history_drain *d, err_t e) {
    if (e && !d->failing)
        log_error("history waits in the journal: the store does not take it", F("error", e->text));
    if (!e && d->failing)
        log_info("history goes into the store again");
    d->failing = e != OK;
}

static void run_drain(struct task *t, void *arg) {
    struct history_drain *d = arg;
    refill(d, task_now(t));
    err_t e = drain_all(t, d);
    if (!e || e->kind != ERR_CANCELLED) /* the end of the process: control_free does the rest */
        report_failure(d, e);
    count_dropped(d);
    d->running = false;
    set_timer(d, e ? BACKOFF : SOON);
}

static bool has_unread(const struct history_drain *d) {
    for (unsigned i = 0; i < d->count; i++)
        if (journal_unread(d->journals[i]))
            return true;
    return false;
}

static void on_tick(struct worker *w, struct timer *timer) {
    struct history_drain *d = (struct history_drain *)((char *)timer -
                                                       offsetof(struct history_drain, timer));
    d->running = has_unread(d) && task_spawn(w, run_drain, d);
    if (!d->running)
        set_timer(d, LATER);
    worker_run_ready(w);
}

/* ---- forgetting -------------------------------------------------------------------- */

/* By the row id, in steps: no step looks at more than it deletes, or holds the writer long. */
static err_t forget(struct task *t, struct history *h, const struct history_conf *conf) {
    int64_t changes;
    do {
        const struct store_value binds[] = { store_int(clock_wall() - conf->retention),
                                             store_int(conf->max_rows), store_int(FORGET_ROWS) };
        TRY(store_write(t, h->store, &(struct store_statement){
            "DELETE FROM history WHERE id < (SELECT min(id) FROM history) + ?3 AND"
            " (at < ?1 OR id <= (SELECT max(id) FROM history) - ?2)", binds, 3, NULL }, 1, &changes));
    } while (changes == FORGET_ROWS);
    return OK;
}

/* Positions in files that are gone. Not while one of them is left: a second attempt at it would
 * begin anew, and double its calls. */
static err_t forget_positions(struct task *t, struct history_drain *d) {
    const struct store_value bind = store_int(d->started);
    return d->leftover ? OK
                       : store_write(t, d->history->store, &(struct store_statement){
                             "DELETE FROM journal WHERE updated < ?1", &bind, 1, NULL }, 1, NULL);
}

static void run_cleaning(struct task *t, void *arg) {
    struct history_drain *d = arg;
    struct control *c = d->control;
    err_t e = forget(t, d->history, &c->held->conf->history);
    if (!e)
        e = forget_positions(t, d);
    if (!e)
        e = idempotency_expire(t, c->registry, false);
    if (!e)
        e = keys_flush_used(t, c);
    if (e && e->kind != ERR_CANCELLED)
        log_warn("the store was not cleaned up", F("error", e->text));
    report_dropped(d);
    d->cleaning_runs = false;
}

static void on_cleaning(struct worker *w, struct timer *timer) {
    struct history_drain *d = (struct history_drain *)((char *)timer -
                                                       offsetof(struct history_drain, cleaning));
    if (!d->cleaning_runs)
        d->cleaning_runs = task_spawn(w, run_cleaning, d) != NULL;
    timer_set(w, timer, worker_now(w) + HOUSEKEEPING);
    worker_run_ready(w);
}

/* ---- after a crash ----------------------------------------------------------------- */

static err_t position_of(struct history *h, uint64_t file, uint64_t *out) {
    SCOPED(arena_scope) struct arena a;
    struct store_rows rows;
    const struct store_value bind = store_int((int64_t)file);
    arena_init(&a, NULL, 0);
    TRY(store_read(NULL, h->store, &a, &(struct store_statement){
        "SELECT sequence FROM journal WHERE file = ?1", &bind, 1, NULL }, &rows));
    *out = rows.rows ? (uint64_t)store_cell(&rows, 0, 0)->integer : 0;
    return OK;
}

static err_t take_over(struct history *h, struct str path, size_t *taken) {
    SCOPED(buf_done) struct buf text = { 0 };
    SCOPED(buf_done) struct buf records = { 0 };
    bool missing;
    uint64_t file, after;
    TRY(file_read(path, (size_t)CACHED_FILE + 4096, &text, &missing));
    TRY(journal_recover(buf_view(&text), &records, &file));
    TRY(position_of(h, file, &after));
    struct str rest = buf_view(&records);
    while (rest.n) {
        size_t rows, before = rest.n;
        TRY(move_batch(NULL, h, file, &rest, BATCH_ROWS, after, &after, &rows));
        *taken += rows;
        if (rest.n == before)
            break;
    }
    return OK;
}

/* A file that is unreadable or that the store does not take stays, under a name of its own. */
static void take_over_file(struct history_drain *d, struct str path, size_t *taken) {
    SCOPED(buf_done) struct buf name = { 0 };
    buf_str(&name, path);
    err_t e = take_over(d->history, path, taken);
    if (!e) {
        unlink(buf_text(&name));
        return;
    }
    bool useless = e->kind == ERR_INVALID && str_find(str_of(e->text), S("store:")) < 0;
    log_error("calls of the last run are not in the history yet", F("journal", path),
              F("error", e->text),
              F("remedy", useless ? "none: the file was put aside" : "the next start tries again"));
    d->leftover |= !useless;
    if (!useless)
        return;
    SCOPED(buf_done) struct buf aside = { 0 };
    buf_fmt(&aside, "%.*s.damaged", STR(path));
    rename(buf_text(&name), buf_text(&aside));
}

static void recover(struct history_drain *d, struct str folder) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    size_t taken = 0;
    DIR *dir = opendir(arena_text(&a, folder));
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct str name = str_of(entry->d_name);
        if (str_ends(name, S(".ring")))
            take_over_file(d, arena_fmt(&a, "%.*s/%.*s", STR(folder), STR(name)), &taken);
    }
    if (dir)
        closedir(dir);
    if (taken)
        log_info("calls of the last run moved into the history", F("calls", (int64_t)taken));
}

/* ---- life -------------------------------------------------------------------------- */

static size_t ring_size(const struct history_conf *conf) {
    size_t size = JOURNAL_LEAST;
    while (size < (size_t)conf->journal)
        size *= 2;
    return size;
}

static err_t open_journals(struct control *c, struct history_drain *d, struct str folder) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    unsigned n = workers_count(c->all);
    d->journals = NEW_ARRAY(struct journal *, n);
    for (unsigned i = 0; i < n; i++) {
        struct str path = arena_fmt(&a, "%.*s/%lld-%u.ring", STR(folder), (long long)clock_wall(),
                                    i);
        TRY(journal_open(path, ring_size(&c->held->conf->history), &d->journals[i]));
        d->count++;
    }
    return OK;
}

err_t history_open(struct control *c) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    if (!c->store)
        return OK;
    struct history_drain *d = c->history->drain = NEW(struct history_drain);
    *d = (struct history_drain){ .control = c, .history = c->history, .timer.fire = on_tick,
                                 .cleaning.fire = on_cleaning, .started = clock_wall(), .refilled = worker_now(c->worker) };
    struct str folder = arena_fmt(&a, "%.*s/journal", STR(c->data));
    TRY(folder_make(folder));
    recover(d, folder);
    timer_set(c->worker, &d->cleaning, worker_now(c->worker) + NANOS_SEC);
    if (!c->held->conf->history.enabled)
        return OK;
    TRY_WRAP(open_journals(c, d, folder), "history (history.enabled: false does without)");
    set_timer(d, SOON);
    return OK;
}

struct journal *history_journal(struct control *c, unsigned worker) {
    struct history_drain *d = c->history ? c->history->drain : NULL;
    return d && worker < d->count ? d->journals[worker] : NULL;
}

void history_stop(struct control *c) {
    struct history_drain *d = c->history ? c->history->drain : NULL;
    if (!d)
        return;
    timer_unset(c->worker, &d->timer);
    timer_unset(c->worker, &d->cleaning);
}

/* The workers have ended: what is left goes now, or stays in its file for the next start. */
void history_close(struct control *c) {
    struct history_drain *d = c->history ? c->history->drain : NULL;
    if (!d)
        return;
    d->tokens = 1e9;
    err_t e = drain_all(NULL, d);
    if (e)
        log_error("history waits in the journal for the next start", F("error", e->text));
    report_dropped(d);
    for (unsigned i = 0; i < d->count; i++)
        journal_close(d->journals[i]);
    free(d->journals);
    free(d);
    c->history->drain = NULL;
}
