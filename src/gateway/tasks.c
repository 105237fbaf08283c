/* tasks.c - see tasks.h. */
#include "gateway/tasks.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/task_run.h"
#include <assert.h>

enum { EARLY = 32, EARLY_BYTES = 4096 };
#define EARLY_TIME (5 * NANOS_SEC)

struct early { /* said of a task that was not kept then */
    struct str key, said; /* malloc'd */
    nanos at;
};

struct tasks {
    pthread_mutex_t lock;
    struct map by_id;         /* struct kept_task by shown id: one reference each */
    struct map by_key;        /* those of upstreams by their keys: borrowed */
    struct idmap per_key;     /* count as a pointer's value */
    struct early early[EARLY];
    size_t next_early;        /* in turn: the oldest goes */
    uint64_t last_number;
    size_t bytes;
};

struct tasks *tasks_new(void) {
    struct tasks *all = NEW(struct tasks);
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void tasks_lock(struct tasks *all) {
    pthread_mutex_lock(&all->lock);
}

void tasks_unlock(struct tasks *all) {
    pthread_mutex_unlock(&all->lock);
}

/* ---- life -------------------------------------------------------------------------- */

void task_forget(struct str *s) {
    free((char *)s->p);
    *s = (struct str){ 0 };
}

void task_replace(struct str *s, struct str with) {
    struct str fresh = with.p ? str_from(mem_copy(with.p, with.n), with.n) : with;
    task_forget(s);
    *s = fresh;
}

static void kept_free(struct kept_task *k) {
    struct str *owned[] = { &k->message, &k->requests, &k->result,   &k->error,
                            &k->state,   &k->responses, &k->principal,
                            &k->tool,    &k->arguments };
    for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
        task_forget(owned[i]);
    upstream_unref(k->upstream);
    free(k);
}

void task_unref(struct kept_task *k) {
    if (k && atomic_fetch_sub(&k->refs, 1) == 1)
        kept_free(k);
}

static struct kept_task *kept_ref(struct kept_task *k) {
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

static void count_key(struct tasks *all, uint64_t key, int more) {
    size_t now = (size_t)idmap_get(&all->per_key, key) + (size_t)more;
    if (now)
        idmap_put(&all->per_key, key, (void *)now);
    else
        idmap_del(&all->per_key, key);
}

/* Under the lock. Its upstream has nothing to do for it any more. */
static void uncount(struct kept_task *k) {
    if (k->counted)
        upstream_tasks_add(k->upstream, k->share, -1);
    k->counted = false;
}

/* Under the lock. The table's reference is the caller's then. */
static void drop(struct kept_task *k) {
    struct tasks *all = k->all;
    map_del(&all->by_id, k->shown);
    if (map_get(&all->by_key, k->key) == k)
        map_del(&all->by_key, k->key);
    uncount(k);
    count_key(all, k->owner, -1);
    all->bytes -= k->bytes;
    metric_add(METRIC_SERIES(&metric_client_tasks), -1);
    metric_add(METRIC_SERIES(&metric_client_task_bytes), -(int64_t)k->bytes);
    k->bytes = 0;
    k->dropped = true;
}

static void early_forget(struct early *e) {
    task_forget(&e->key);
    task_forget(&e->said);
}

void tasks_free(struct tasks *all) {
    struct str id;
    void *value;
    for (size_t i = 0; map_next(&all->by_id, &i, &id, &value);)
        task_unref(value);
    for (size_t i = 0; i < EARLY; i++)
        early_forget(&all->early[i]);
    map_done(&all->by_id);
    map_done(&all->by_key);
    idmap_done(&all->per_key);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* ---- keeping ----------------------------------------------------------------------- */

static bool has_room(struct tasks *all, const struct exchange *x) {
    const struct limits_conf *limits = &x->snapshot->conf->limits;
    return all->by_id.count < (size_t)limits->tasks &&
           (size_t)idmap_get(&all->per_key, x->who->digest) < (size_t)limits->tasks_per_key;
}

bool tasks_have_room(struct exchange *x) {
    struct tasks *all = x->gw->gateway->tasks;
    tasks_lock(all);
    bool room = has_room(all, x);
    tasks_unlock(all);
    return room;
}

static void copy_time(char to[CLOCK_TEXT + 2], struct str raw) {
    size_t n = raw.n < CLOCK_TEXT + 2 ? raw.n : 0;
    memcpy(to, n ? raw.p : "\"\"", n ? n : 2);
    to[n ? n : 2] = '\0';
}

static nanos lifetime(const struct exchange *x, int64_t ttl) {
    nanos most = x->snapshot->conf->limits.task_ttl;
    return ttl < 0 || ttl > most / NANOS_MS ? most : ttl * NANOS_MS;
}

struct key_head { /* of a key; the upstream's own id follows */
    uint64_t upstream; /* its address: it lives as long as the tasks of it */
    uint64_t share;
};

static void put_key(char *to, const struct upstream *u, uint64_t share, struct str own) {
    const struct key_head head = { (uintptr_t)u, share };
    memcpy(to, &head, sizeof head);
    if (own.n)
        memcpy(to + sizeof head, own.p, own.n);
}

static void keep_ids(struct kept_task *k, char *text, struct str shown, struct str own) {
    memcpy(text, shown.p, shown.n);
    put_key(text + shown.n, k->upstream, k->share, own);
    k->shown = str_from(text, shown.n);
    k->key = str_from(text + shown.n, sizeof(struct key_head) + own.n);
    k->own = str_skip(k->key, sizeof(struct key_head));
}

static struct kept_task *kept_new(struct exchange *x, const struct mcp_task *t, struct str shown,
                                  const struct task_id *id) {
    size_t texts = shown.n + sizeof(struct key_head) + id->own.n;
    struct kept_task *k = mem_zero(sizeof *k + texts);
    atomic_init(&k->refs, 2);
    k->all = x->gw->gateway->tasks;
    k->ours = id->ours;
    k->share = id->share;
    k->owner = x->who->digest;
    memcpy(k->session, x->session.id, SESSION_ID);
    k->by_session = str_eq(x->who->id, S("anonymous"));
    k->revision = x->revision;
    k->upstream = upstream_ref(x->upstream);
    k->asks = x->asks;
    k->expires = task_now(x->task) + lifetime(x, t->ttl);
    keep_ids(k, (char *)(k + 1), shown, id->own);
    k->status = t->status;
    k->ttl = t->ttl;
    k->poll = t->poll;
    task_replace(&k->message, t->message);
    task_replace(&k->principal, x->who->id);
    copy_time(k->created, t->created);
    copy_time(k->updated, t->updated);
    return k;
}

/* Under the lock. */
static void enter(struct tasks *all, struct kept_task *k) {
    k->number = ++all->last_number;
    map_put(&all->by_id, k->shown, k);
    count_key(all, k->owner, 1);
    metric_add(METRIC_SERIES(&metric_client_tasks), 1);
    if (k->ours)
        return;
    map_del(&all->by_key, k->key); /* the table keeps the first key that it is given */
    map_put(&all->by_key, k->key, k);
    k->counted = !mcp_task_is_final(k->status);
    if (k->counted)
        upstream_tasks_add(k->upstream, k->share, 1);
}

struct kept_task *task_keep(struct exchange *x, const struct mcp_task *t, struct str shown,
                            const struct task_id *id) {
    struct kept_task *k = kept_new(x, t, shown, id);
    struct tasks *all = k->all;
    tasks_lock(all);
    bool room = has_room(all, x);
    if (room)
        enter(all, k);
    tasks_unlock(all);
    if (room)
        return k;
    kept_free(k);
    return NULL;
}

struct kept_task *task_find(struct gateway *g, struct str shown, nanos now) {
    tasks_lock(g->tasks);
    struct kept_task *k = map_get(&g->tasks->by_id, shown);
    k = k && now < k->expires ? kept_ref(k) : NULL;
    tasks_unlock(g->tasks);
    return k;
}

/* ---- what its upstream says of it --------------------------------------------------- */

static struct early *early_of(struct tasks *all, struct str key) {
    for (size_t i = 0; i < EARLY; i++)
        if (all->early[i].key.p && str_eq(all->early[i].key, key))
            return &all->early[i];
    return NULL;
}

/* Under the lock. Of one task the newest counts. */
static void keep_early(struct tasks *all, struct str key, struct str said, nanos now) {
    struct early *e = early_of(all, key);
    if (said.n > EARLY_BYTES)
        return;
    if (!e)
        e = &all->early[all->next_early++ % EARLY];
    task_replace(&e->key, key);
    task_replace(&e->said, said);
    e->at = now;
}

struct kept_task *task_find_own(struct gateway *g, const struct upstream *u, uint64_t share,
                                struct str own, struct str said, nanos now) {
    char text[sizeof(struct key_head) + MCP_TASK_ID];
    assert(own.n <= MCP_TASK_ID);
    put_key(text, u, share, own);
    struct str key = str_from(text, sizeof(struct key_head) + own.n);
    tasks_lock(g->tasks);
    struct kept_task *k = map_get(&g->tasks->by_key, key);
    if (k)
        kept_ref(k);
    else
        keep_early(g->tasks, key, said, now);
    tasks_unlock(g->tasks);
    return k;
}

struct str task_take_said(struct kept_task *k, nanos now) {
    struct str said = { 0 };
    tasks_lock(k->all);
    struct early *e = early_of(k->all, k->key);
    if (e && now - e->at < EARLY_TIME)
        said = e->said;
    if (e && said.p)
        e->said = (struct str){ 0 };
    if (e)
        early_forget(e);
    tasks_unlock(k->all);
    return said;
}

/* ---- what is known ----------------------------------------------------------------- */

static struct str copy_of(struct arena *a, struct str s) {
    return s.p ? arena_dup(a, s) : s;
}

void task_copy(struct kept_task *k, struct arena *a, struct mcp_task *out) {
    tasks_lock(k->all);
    *out = (struct mcp_task){
        .id = k->shown, .status = k->status, .ttl = k->ttl, .poll = k->poll,
        .message = copy_of(a, k->message), .created = copy_of(a, str_of(k->created)),
        .updated = copy_of(a, str_of(k->updated)), .requests = copy_of(a, k->requests),
        .result = copy_of(a, k->result), .error = copy_of(a, k->error),
    };
    tasks_unlock(k->all);
}

bool task_note(struct kept_task *k, const struct mcp_task *now) {
    tasks_lock(k->all);
    bool open = !mcp_task_is_final(k->status) || now->status == k->status;
    if (open) {
        k->status = now->status;
        k->ttl = now->ttl;
        k->poll = now->poll;
        task_replace(&k->message, now->message);
        copy_time(k->updated, now->updated);
        if (mcp_task_is_final(k->status))
            uncount(k);
    }
    tasks_unlock(k->all);
    return open;
}

void task_set_status(struct kept_task *k, enum mcp_task_status status) {
    char text[CLOCK_TEXT];
    struct str now = clock_rfc3339(clock_wall(), text);
    k->status = status;
    snprintf(k->updated, sizeof k->updated, "\"%.*s\"", STR(now));
}

/* Under the lock. */
static bool count_bytes(struct kept_task *k, size_t n, int64_t most) {
    if (k->dropped || k->all->bytes + n > (size_t)most)
        return false;
    k->bytes += n;
    k->all->bytes += n;
    metric_add(METRIC_SERIES(&metric_client_task_bytes), (int64_t)n);
    return true;
}

bool task_end(struct kept_task *k, enum mcp_task_status status, struct str text, int64_t most) {
    tasks_lock(k->all);
    bool open = !mcp_task_is_final(k->status) || (!k->ours && !k->cancelled);
    if (open) {
        struct str full = S("{\"code\":-32603,\"message\":\"The results of tasks fill "
                            "limits.task_bytes, so this one was not kept\"}");
        bool fits = count_bytes(k, text.n, most);
        task_set_status(k, fits ? status : MCP_TASK_FAILED);
        k->cancelled = status == MCP_TASK_CANCELLED;
        task_forget(&k->requests);
        uncount(k);
        if (status == MCP_TASK_COMPLETED && fits)
            task_replace(&k->result, text);
        else if (status == MCP_TASK_FAILED || !fits)
            task_replace(&k->error, fits ? text : full);
    }
    tasks_unlock(k->all);
    return open;
}

/* ---- lists ------------------------------------------------------------------------- */

static bool may_list(const struct exchange *x, const struct kept_task *k) {
    return k->owner == x->who->digest && task_now(x->task) < k->expires &&
           (!k->by_session || memcmp(k->session, x->session.id, SESSION_ID) == 0);
}

static void insert_by_number(struct kept_task **out, size_t *n, size_t room, struct kept_task *k) {
    size_t at = *n;
    if (at == room && out[at - 1]->number < k->number)
        return;
    at = at == room ? at - 1 : at;
    for (; at && out[at - 1]->number > k->number; at--)
        out[at] = out[at - 1];
    out[at] = k;
    *n += *n < room;
}

/* The `limit` lowest numbers above `from`; one more would tell that there are others. */
uint64_t tasks_page(struct exchange *x, uint64_t from, size_t limit, struct kept_task **out,
                    size_t *n) {
    struct tasks *all = x->gw->gateway->tasks;
    size_t seen = 0;
    struct str id;
    void *value;
    *n = 0;
    tasks_lock(all);
    for (size_t i = 0; map_next(&all->by_id, &i, &id, &value);) {
        struct kept_task *k = value;
        if (k->number <= from || !may_list(x, k))
            continue;
        seen++;
        insert_by_number(out, n, limit, k);
    }
    for (size_t i = 0; i < *n; i++)
        kept_ref(out[i]);
    tasks_unlock(all);
    return seen > *n ? out[*n - 1]->number : 0;
}

/* ---- expiry ------------------------------------------------------------------------ */

enum { SWEPT = 128 };

/* An upstream that was removed is let go of. */
static bool is_over(struct kept_task *k, nanos now) {
    return now >= k->expires || atomic_load(&k->upstream->state) == UP_STOPPED;
}

/* Some at a time: the table changes under the walk. */
static size_t take_expired(struct tasks *all, nanos now, struct kept_task *out[SWEPT]) {
    size_t n = 0;
    struct str id;
    void *value;
    tasks_lock(all);
    for (size_t i = 0; n < SWEPT && map_next(&all->by_id, &i, &id, &value);)
        if (is_over(value, now))
            out[n++] = value;
    for (size_t i = 0; i < n; i++)
        drop(out[i]);
    tasks_unlock(all);
    return n;
}

void tasks_sweep(struct gateway *g, nanos now) {
    struct kept_task *expired[SWEPT];
    for (size_t n; (n = take_expired(g->tasks, now, expired));)
        for (size_t i = 0; i < n; i++) {
            task_run_stop(g, expired[i]);
            task_unref(expired[i]);
        }
}
