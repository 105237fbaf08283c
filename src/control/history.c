/* history.c - see history.h: reading. Rows come in by history_drain.c. One statement serves
 * all filters: empty ones are switched off by their own bind. There is no index but the row id:
 * each would cost every call, and a scan of a million rows takes a fraction of a second on the
 * blocking pool. */
#include "base/mem.h"
#include "control/history_private.h"

struct history *history_new(struct store *store, const struct seal_ring *ring) {
    struct history *h = NEW(struct history);
    h->store = store;
    h->ring = ring;
    return h;
}

void history_free(struct history *h) {
    free(h);
}

uint64_t history_dropped(const struct history *h) {
    return __atomic_load_n(&h->dropped, __ATOMIC_RELAXED);
}

uint64_t history_rows(const struct history *h) {
    return __atomic_load_n(&h->rows, __ATOMIC_RELAXED);
}

/* ---- filters ----------------------------------------------------------------------- */

#define WHERE                                                                                        \
    " WHERE tenant_id = ?1 AND at >= ?2 AND at < ?3 AND (?4 = '' OR tool = ?4)"                        \
    " AND (?5 = '' OR key_id = ?5) AND (?6 = '' OR upstream = ?6)"                                     \
    " AND (?7 = '' OR outcome = ?7 OR (?7 = 'failed' AND outcome <> 'ok'))"
enum { FILTER_BINDS = 7 };

static void bind_filter(const struct history_filter *f, struct store_value binds[FILTER_BINDS]) {
    binds[0] = store_text(f->tenant.n ? f->tenant : S("default"));
    binds[1] = store_int(f->from);
    binds[2] = store_int(f->to ? f->to : INT64_MAX);
    binds[3] = store_text(f->tool);
    binds[4] = store_text(f->key);
    binds[5] = store_text(f->upstream);
    binds[6] = store_text(f->outcome);
}

/* ---- rows -------------------------------------------------------------------------- */

struct str history_payload_row(struct arena *a, struct str request_id, nanos at) {
    return arena_fmt(a, "%.*s\x1f%lld", STR(request_id), (long long)at);
}

/* Arguments and result, parted by a zero byte, which JSON text never holds. */
static void take_payload(const struct history *h, struct arena *a, struct str sealed,
                         struct history_row *row) {
    SCOPED(buf_done) struct buf plain = { 0 };
    const struct store_place at = { "history", "payload_sealed", row->tenant,
                                    history_payload_row(a, row->request_id, row->at) };
    if (!sealed.n || store_unseal(h->ring, &at, sealed, &plain))
        return; /* of another master key: the row itself still tells its story */
    struct str rest = arena_dup(a, buf_view(&plain));
    row->arguments = str_cut(&rest, '\0');
    row->result = rest.p ? rest : S("");
}

static struct history_row take_row(const struct history *h, struct arena *a,
                                   const struct store_value *c) {
    struct history_row row = {
        .id = c[0].integer, .at = c[1].integer, .request_id = c[2].text, .key_id = c[3].text,
        .key_name = c[4].text, .tenant = c[5].text, .method = c[6].text, .tool = c[7].text,
        .upstream = c[8].text, .outcome = c[9].text, .error_code = c[10].integer,
        .duration = c[11].integer, .request_bytes = c[12].integer, .response_bytes = c[13].integer,
        .trace_id = c[14].text, .arguments = S(""), .result = S(""),
    };
    take_payload(h, a, c[15].text, &row);
    return row;
}

static int newest_first(const void *a, const void *b) {
    const struct history_row *x = a, *y = b;
    return x->at != y->at ? (x->at < y->at) - (x->at > y->at) : (x->id < y->id) - (x->id > y->id);
}

err_t history_query(struct task *t, struct history *h, struct arena *a,
                    const struct history_filter *f, int64_t cursor, size_t limit,
                    struct history_row **out, size_t *out_n, int64_t *out_cursor) {
    struct store_value binds[FILTER_BINDS + 2];
    struct store_rows rows;
    size_t most = limit && limit < HISTORY_PAGE ? limit : HISTORY_PAGE;
    bind_filter(f, binds);
    binds[FILTER_BINDS] = store_int(cursor > 0 ? cursor : INT64_MAX);
    binds[FILTER_BINDS + 1] = store_int((int64_t)most + 1);
    TRY(store_read(t, h->store, a, &(struct store_statement){
        "SELECT id, at, request_id, key_id, key_name, tenant_id, method, tool, upstream, outcome, error_code,"
        " duration, request_bytes, response_bytes, trace_id, payload_sealed FROM history" WHERE
        " AND id < ?8 ORDER BY id DESC LIMIT ?9", binds, ARRAY_SIZE(binds) }, &rows));
    size_t n = rows.rows < most ? rows.rows : most;
    struct history_row *all = ARENA_ARRAY(a, struct history_row, n + 1);
    for (size_t i = 0; i < n; i++)
        all[i] = take_row(h, a, store_cell(&rows, i, 0));
    *out = all;
    *out_n = n;
    *out_cursor = rows.rows > most ? all[n - 1].id : 0;
    qsort(all, n, sizeof *all, newest_first); /* each worker's calls came in one go */
    return OK;
}

/* ---- figures ----------------------------------------------------------------------- */

/* Nearest rank: the smallest duration that at least p percent of the calls did not exceed. */
#define STATS(group)                                                                                   \
    "WITH ranked AS (SELECT " group " AS name, duration, at, outcome <> 'ok' AS failed,"                  \
    " row_number() OVER (PARTITION BY " group " ORDER BY duration) AS rank,"                             \
    " count(*) OVER (PARTITION BY " group ") AS n FROM history" WHERE ")"                                \
    " SELECT name, n, sum(failed), min(CASE WHEN rank * 100 >= n * 50 THEN duration END),"               \
    " min(CASE WHEN rank * 100 >= n * 95 THEN duration END),"                                            \
    " min(CASE WHEN rank * 100 >= n * 99 THEN duration END), max(duration), max(at)"                     \
    " FROM ranked GROUP BY name ORDER BY n DESC, name LIMIT ?8"

static const char *const stats_sql[] = {
    [HISTORY_ALL] = STATS("''"),
    [HISTORY_BY_TOOL] = STATS("tool"),
    [HISTORY_BY_KEY] = STATS("key_id"),
    [HISTORY_BY_UPSTREAM] = STATS("upstream"),
};

err_t history_stats(struct task *t, struct history *h, struct arena *a,
                    const struct history_filter *f, enum history_group group, size_t limit,
                    struct history_stat **out, size_t *out_n) {
    struct store_value binds[FILTER_BINDS + 1];
    struct store_rows rows;
    bind_filter(f, binds);
    binds[FILTER_BINDS] = store_int(limit && limit < HISTORY_PAGE ? (int64_t)limit : HISTORY_PAGE);
    TRY(store_read(t, h->store, a,
                   &(struct store_statement){ stats_sql[group], binds, ARRAY_SIZE(binds) }, &rows));
    struct history_stat *all = ARENA_ARRAY(a, struct history_stat, rows.rows + 1);
    for (size_t i = 0; i < rows.rows; i++) {
        const struct store_value *c = store_cell(&rows, i, 0);
        all[i] = (struct history_stat){
            .name = c[0].text, .calls = c[1].integer, .errors = c[2].integer,
            .error_rate = (double)c[2].integer / (double)c[1].integer, .p50 = c[3].integer,
            .p95 = c[4].integer, .p99 = c[5].integer, .longest = c[6].integer, .last = c[7].integer,
        };
    }
    *out = all;
    *out_n = rows.rows;
    return OK;
}
