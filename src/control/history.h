/* history.h - what was called: one row for each finished tools/call, resources/read and
 * prompts/get, success and failure alike.
 *
 * The data plane appends a record to its worker's journal (store/journal.h), which survives
 * kill -9; the control worker moves records into the store in batches and forgets what is
 * older than `history.retention`. So a row shows up here within about half a second, and calls
 * never wait for the disk.
 *
 * Figures come from the rows, not from the metrics' histograms: those know neither key nor
 * time window, and are empty after a restart. The price is that calls beyond `history.rate`
 * for longer than the journal can hold are missing; `dropped` says how many.
 *
 * Threads  any worker's tasks; t == NULL only while no workers run
 * Memory   what comes out is in the arena given
 */
#pragma once
#include "store/store.h"

struct history;
/* Over a store alone: reading works anywhere, also on the command line. */
struct history *history_new(struct store *store, const struct seal_ring *ring);
void history_free(struct history *h);

struct history_filter { /* empty members say nothing */
    struct str tenant;       /* empty: "default" */
    struct str tool;         /* as shown to clients */
    struct str key;          /* id of the key */
    struct str upstream;
    struct str outcome;      /* "ok", "tool_error", "timeout", …; "failed": everything but ok */
    nanos from, to;          /* wall clock, from <= time < to; 0: open */
};

struct history_row {
    int64_t id;              /* grows with time */
    nanos at;                /* wall clock, when the answer left */
    struct str request_id, key_id, key_name, tenant;
    struct str method;       /* "tools/call" */
    struct str tool, upstream, outcome;
    int64_t error_code;      /* of JSON-RPC; 0: none */
    nanos duration;
    int64_t request_bytes, response_bytes;
    struct str trace_id;     /* 32 hex digits, or empty */
    struct str arguments, result; /* raw, cut to history.payload_bytes; empty: not kept */
};

enum { HISTORY_PAGE = 1000 };
/* Newest first. `cursor` 0: from the newest; else what *out_cursor said before (0: no more).
 * `limit` 0 or more than HISTORY_PAGE: HISTORY_PAGE. */
err_t history_query(struct task *t, struct history *h, struct arena *a,
                    const struct history_filter *filter, int64_t cursor, size_t limit,
                    struct history_row **out, size_t *out_n, int64_t *out_cursor);

enum history_group { HISTORY_ALL, HISTORY_BY_TOOL, HISTORY_BY_KEY, HISTORY_BY_UPSTREAM };
struct history_stat {
    struct str name;         /* of the group; empty for HISTORY_ALL */
    int64_t calls, errors;
    double error_rate;
    nanos p50, p95, p99, longest; /* nearest rank, exact */
    nanos last;              /* wall clock */
};
/* Busiest first, at most `limit` groups (0 or more than HISTORY_PAGE: HISTORY_PAGE). */
err_t history_stats(struct task *t, struct history *h, struct arena *a,
                    const struct history_filter *filter, enum history_group group, size_t limit,
                    struct history_stat **out, size_t *out_n);
/* Calls that are missing because the journal was full, since the start. */
uint64_t history_dropped(const struct history *h);
uint64_t history_rows(const struct history *h); /* that came in, since the start */
