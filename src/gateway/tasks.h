/* tasks.h - the tasks that clients of this process were given (P-417, P-478).
 *
 * A task lives at its upstream; its id leads there by itself (task_id.h). What is kept here
 * beside it is for tasks/list, for the questions of a legacy upstream's task (task_run.h), and
 * for the tasks that the gateway runs on its own: those of built-in servers, and results that
 * came at once where a client wanted a task.
 *
 * An upstream that tells the status of a task by itself names it as it knows it; such a word may
 * come before the answer that made the task, and then waits for it a moment (task_told.h).
 *
 * Limits   limits.tasks, tasks_per_key; limits.task_bytes of results; each at most
 *          limits.task_ttl, or its own time to live
 * Threads  any; all contents are under one lock, held for look-ups and copies only
 * Memory   reference-counted (atomic)
 */
#pragma once
#include "gateway/task_id.h"
#include "mcp/task.h"

struct tasks;
struct task_run;

struct kept_task {
    atomic_int refs;
    struct tasks *all;
    uint64_t number;           /* counts up: the order of lists */
    uint64_t owner;            /* digest of the principal */
    uint64_t share;            /* of its session upstream */
    char session[SESSION_ID];  /* of the legacy client that made it; all zero: none */
    bool by_session;           /* only that session may list it: nobody said who he is */
    enum revision revision;    /* the client's */
    struct upstream *upstream; /* a reference */
    bool ours;                 /* the gateway runs it */
    nanos expires;             /* monotonic */
    struct str shown, own;     /* ids; copies behind the struct */
    struct str key;            /* upstream, session there and `own`: what that calls it, as bytes */
    /* under the lock */
    enum mcp_task_status status;
    struct str message;        /* raw, malloc'd; or absent */
    char created[CLOCK_TEXT + 2], updated[CLOCK_TEXT + 2]; /* raw strings */
    int64_t ttl, poll;
    bool cancelled;            /* the client said so: that is final, whatever its upstream says */
    struct str requests;       /* raw inputRequests that are open, malloc'd; or absent */
    struct str result, error;  /* ours, raw, malloc'd; or absent */
    size_t bytes;              /* of these, as counted */
    bool dropped;              /* no longer in the table */
    bool counted;              /* its upstream is at work on it, see upstream_tasks_add */
    struct task_run *run;      /* in the background now, see task_run.h; NULL: none */
    struct str principal;      /* id of its client, malloc'd */
    struct str tool;           /* ours: its upstream's name, malloc'd */
    struct str arguments;      /* ours: raw, malloc'd; or absent */
    struct str state;          /* ours: raw requestState of its last round, malloc'd */
    struct str responses;      /* ours: answers to its questions so far, malloc'd */
    unsigned asks, rounds;     /* ours: of its client; rounds of questions so far */
};

struct tasks *tasks_new(void);
void tasks_free(struct tasks *all);

/* One more is within the limits. */
bool tasks_have_room(struct exchange *x);
/* Keeps t, known to the client as `shown`: a reference of the caller's. NULL: there is no room. */
struct kept_task *task_keep(struct exchange *x, const struct mcp_task *t, struct str shown,
                            const struct task_id *id);
/* A reference, or NULL. */
struct kept_task *task_find(struct gateway *g, struct str shown, nanos now);
/* By what its upstream calls it on the session `share`. Where none is kept (yet), `said` is. */
struct kept_task *task_find_own(struct gateway *g, const struct upstream *u, uint64_t share,
                                struct str own, struct str said, nanos now);
/* What was said of k before it was kept; the caller's to free. Absent: nothing. */
struct str task_take_said(struct kept_task *k, nanos now);
void task_unref(struct kept_task *k);
static inline void task_scope(struct kept_task **k) {
    task_unref(*k);
}

void tasks_lock(struct tasks *all);
void tasks_unlock(struct tasks *all);

/* As it stands, copied to the arena; its id is the one that the client knows. */
void task_copy(struct kept_task *k, struct arena *a, struct mcp_task *out);
/* What its upstream says now. False: it had ended in another way, and stays so (P-292). */
bool task_note(struct kept_task *k, const struct mcp_task *now);
/* Ours, or cancelled by its client. False: it had ended before. `text` is the raw result or
 * error object; empty for CANCELLED. */
bool task_end(struct kept_task *k, enum mcp_task_status status, struct str text,
              int64_t most_bytes);
/* Ours, under the lock: another status from now on. */
void task_set_status(struct kept_task *k, enum mcp_task_status status);

/* Its strings, under the lock: another one, absent ones included; none. */
void task_replace(struct str *s, struct str with);
void task_forget(struct str *s);

/* The position behind the last one written, 0 at the end: at most `limit` tasks of x's caller
 * from position `from` on, as references. */
uint64_t tasks_page(struct exchange *x, uint64_t from, size_t limit, struct kept_task **out,
                    size_t *n);
/* Forgets what has expired; housekeeping. */
void tasks_sweep(struct gateway *g, nanos now);
