/* task_watch.c - see task_watch.h. */
#include "gateway/task_watch.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/task_methods.h"

enum { LEAST_MS = 100, USUAL_MS = 500, AGAIN_MS = 5000, MOST_MS = 60000 };

struct watched_task {
    struct str id;
    uint64_t told; /* hash of what was told last */
    bool over;
};

struct task_watch {
    struct arena arena; /* holds what follows, but for this struct */
    struct gateway_worker *gw;
    struct principal who;
    struct str profile_name, listen_id;
    struct watched_task *tasks;
    size_t n;
    struct push_stream *stream; /* NULL: gone */
    struct task *fiber;         /* NULL: ended */
    struct event news;          /* look now */
};

static void watch_free(struct task_watch *w) {
    arena_done(&w->arena);
    free(w);
}

struct task_watch *task_watch_new(struct exchange *x, struct str ids) {
    size_t most = (size_t)x->snapshot->conf->limits.subscriptions;
    if (!ids.n || ids.p[0] != '[')
        return NULL;
    struct task_watch *w = NEW(struct task_watch);
    struct arena *a = &w->arena;
    w->gw = x->gw;
    w->tasks = ARENA_ARRAY(a, struct watched_task, most);
    for (struct json_members m = json_elements(ids); w->n < most && json_element(&m);) {
        struct str id = m.value.p[0] == '"' ? json_unquote(x->arena, m.value) : S("");
        if (id.n && task_is_known(x, id))
            w->tasks[w->n++].id = arena_dup(a, id);
    }
    w->who = (struct principal){ .id = arena_dup(a, x->who->id), .name = arena_dup(a, x->who->name),
                                 .tenant = arena_dup(a, x->who->tenant), .digest = x->who->digest };
    w->profile_name = arena_dup(a, x->profile_name);
    w->listen_id = arena_dup(a, x->in.id);
    if (w->n)
        return w;
    watch_free(w);
    return NULL;
}

void task_watch_put(const struct task_watch *w, struct buf *out) {
    struct jw j = jw_init(out);
    jw_array(&j);
    for (size_t i = 0; i < w->n; i++)
        jw_string(&j, w->tasks[i].id);
    jw_array_end(&j);
}

/* ---- looking ----------------------------------------------------------------------- */

static err_t write_push(struct exchange *x, const struct task_watch *w, struct watched_task *one,
                        struct buf *out, int64_t *poll) {
    struct jw j = jw_init(out);
    jw_object(&j);
    jw_put_string(&j, "jsonrpc", S("2.0"));
    jw_put_string(&j, "method", method_name(METHOD_N_TASK));
    jw_key(&j, S("params"));
    jw_object(&j);
    TRY(task_put_state(x, one->id, &j, &one->over, poll));
    jw_key(&j, S("_meta"));
    jw_object(&j);
    jw_put_raw(&j, "io.modelcontextprotocol/subscriptionId", w->listen_id);
    jw_object_end(&j);
    jw_object_end(&j);
    jw_object_end(&j);
    return OK;
}

/* One that cannot be looked at now is looked at again; one that is not there any more is over. */
static void look_at(struct exchange *x, struct task_watch *w, struct watched_task *one,
                    int64_t *pause) {
    SCOPED(buf_done) struct buf text = { 0 };
    int64_t poll = -1;
    err_t e = write_push(x, w, one, &text, &poll);
    if (e) {
        one->over = e->kind == ERR_NOT_FOUND;
        *pause = *pause < AGAIN_MS ? *pause : AGAIN_MS;
        log_debug("a task is not told of", F("error", e->text));
        return;
    }
    poll = poll < 0 ? USUAL_MS : poll < LEAST_MS ? LEAST_MS : poll;
    *pause = poll < *pause ? poll : *pause;
    uint64_t now = hash_str(buf_view(&text));
    if (now == one->told || !w->stream)
        return;
    one->told = now;
    stream_push(w->stream, buf_view(&text)); /* may be its end */
}

/* One round over all. False: none of them will change any more. */
static bool look(struct task *t, struct task_watch *w, int64_t *pause) {
    SCOPED(arena_scope) struct arena a = { 0 };
    void *snapshot = NULL;
    bool open = false;
    struct pin *pin = snapshot_pin(w->gw->worker, w->gw->gateway->snapshots, &snapshot);
    for (size_t i = 0; i < w->n && w->stream; i++) {
        struct exchange x = {
            .gw = w->gw, .task = t, .arena = &a, .snapshot = snapshot, .who = &w->who,
            .profile_name = w->profile_name, .era = ERA_MODERN, .revision = LATEST_MODERN,
            .method = METHOD_TASKS_GET, .began = task_now(t), .log_level = LOG_LEVELS,
        };
        if (!w->tasks[i].over)
            look_at(&x, w, &w->tasks[i], pause);
        open |= !w->tasks[i].over;
    }
    snapshot_unpin(w->gw->worker, pin);
    return open;
}

/* False: the stream is gone. */
static bool rest(struct task *t, struct task_watch *w, int64_t pause) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(t, pause * NANOS_MS);
    err_t e = event_wait(t, &w->news);
    return !e || e->kind == ERR_TIMEOUT;
}

static void run(struct task *t, void *arg) {
    struct task_watch *w = arg;
    int64_t pause = MOST_MS;
    while (w->stream && look(t, w, &pause) && rest(t, w, pause))
        pause = MOST_MS;
    metric_add(METRIC_SERIES(&metric_client_task_runs), -1);
    w->fiber = NULL;
    if (!w->stream)
        watch_free(w);
}

void task_watch_start(struct task_watch *w, struct push_stream *p) {
    w->stream = p;
    w->fiber = task_spawn(w->gw->worker, run, w);
    if (w->fiber)
        metric_add(METRIC_SERIES(&metric_client_task_runs), 1);
    else
        log_warn("no room to watch tasks", F("tasks", (int64_t)w->n));
}

void task_watch_look(struct task_watch *w, struct str id) {
    for (size_t i = 0; i < w->n; i++)
        if (str_eq(w->tasks[i].id, id))
            event_set(&w->news);
}

void task_watch_end(struct task_watch *w) {
    if (!w)
        return;
    w->stream = NULL;
    if (w->fiber)
        task_cancel(w->fiber);
    else
        watch_free(w);
}
