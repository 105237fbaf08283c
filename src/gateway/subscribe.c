/* subscribe.c - see subscribe.h. */
#include "gateway/subscribe.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/route.h"

struct watched {
    struct upstream *upstream; /* a reference */
    size_t refs;               /* under its lock, as */
    bool begun, asking;        /* the upstream was told; somebody is telling it */
    struct str uri, shown;     /* behind this struct */
    char text[];
};

static bool is_legacy(const struct upstream *u) {
    int r = atomic_load(&((struct upstream *)u)->revision);
    return r != REV_NONE && revision_era((enum revision)r) == ERA_LEGACY;
}

/* ---- an upstream's table ----------------------------------------------------------- */

static struct watched *watched_new(struct upstream *u, struct str uri, struct str shown) {
    struct watched *w = mem_alloc(sizeof *w + uri.n + shown.n);
    *w = (struct watched){ .upstream = upstream_ref(u) };
    w->uri = str_from(w->text, uri.n);
    w->shown = str_from(w->text + uri.n, shown.n);
    memcpy(w->text, uri.p, uri.n);
    memcpy(w->text + uri.n, shown.p, shown.n);
    return w;
}

static void watched_free(struct watched *w) {
    upstream_unref(w->upstream);
    free(w);
}

/* One more wants it. */
static struct watched *watched_take(struct upstream *u, struct str uri, struct str shown) {
    pthread_mutex_lock(&u->lock);
    struct watched *w = map_get(&u->watched, uri);
    if (!w) {
        w = watched_new(u, uri, shown);
        map_put(&u->watched, w->uri, w);
        metric_add(METRIC_SERIES(&metric_watched, u->conf->name), 1);
    }
    w->refs++;
    pthread_mutex_unlock(&u->lock);
    return w;
}

/* True: nobody wants it any more, and it is the caller's. */
static bool watched_drop(struct watched *w) {
    struct upstream *u = w->upstream;
    pthread_mutex_lock(&u->lock);
    bool last = --w->refs == 0;
    if (last)
        map_del(&u->watched, w->uri);
    pthread_mutex_unlock(&u->lock);
    if (last)
        metric_add(METRIC_SERIES(&metric_watched, u->conf->name), -1);
    return last;
}

size_t watched_write(struct upstream *u, struct buf *out) {
    struct jw w = jw_init(out);
    struct str uri;
    void *value;
    jw_array(&w);
    pthread_mutex_lock(&u->lock);
    size_t n = u->watched.count;
    for (size_t i = 0; map_next(&u->watched, &i, &uri, &value);)
        jw_string(&w, uri);
    pthread_mutex_unlock(&u->lock);
    jw_array_end(&w);
    return n;
}

/* Each holds a reference to its upstream, so the table is empty by then. */
void watched_forget(struct upstream *u) {
    map_done(&u->watched);
}

/* ---- towards the upstream ---------------------------------------------------------- */

static err_t ask_upstream(struct task *t, struct upstream *u, enum method method, struct str uri) {
    SCOPED(buf_done) struct buf params = { 0 };
    SCOPED(buf_done) struct buf result = { 0 };
    struct jw w = jw_init(&params);
    jw_object(&w);
    jw_put_string(&w, "uri", uri);
    jw_object_end(&w);
    return upstream_ask(t, u, method, buf_view(&params), &result);
}

struct set_order {
    struct mail mail;
    struct upstream *upstream;
};

static void on_set_changed(struct worker *w, struct mail *m) {
    struct set_order *o = (struct set_order *)m;
    if (o->upstream->ops->watch_uris)
        o->upstream->ops->watch_uris(o->upstream);
    upstream_unref(o->upstream);
    free(o);
    worker_run_ready(w);
}

/* Modern: its filter cannot be edited, so it is listened to anew (P-409). */
static void set_changed(struct upstream *u) {
    struct set_order *o = NEW(struct set_order);
    *o = (struct set_order){ .mail.deliver = on_set_changed, .upstream = upstream_ref(u) };
    if (worker_post(workers_at(u->all, u->home), &o->mail))
        return;
    upstream_unref(u);
    free(o);
}

static err_t begin_watching(struct task *t, struct upstream *u, struct str uri) {
    if (u->conf->type == UPSTREAM_BUILTIN)
        return OK;
    if (is_legacy(u))
        return ask_upstream(t, u, METHOD_RESOURCES_SUBSCRIBE, uri);
    set_changed(u);
    return OK;
}

static void end_watching(struct task *t, void *arg) {
    struct watched *w = arg;
    struct upstream *u = w->upstream;
    err_t e = OK;
    if (u->conf->type != UPSTREAM_BUILTIN && is_legacy(u))
        e = ask_upstream(t, u, METHOD_RESOURCES_UNSUBSCRIBE, w->uri);
    else
        set_changed(u);
    if (e)
        log_debug("unsubscribe failed", F("upstream", u->conf->name), F("error", e->text));
    watched_free(w);
}

/* True: the caller is to tell the upstream, and reports how that ended. */
static bool may_ask(struct watched *w, bool *begun) {
    pthread_mutex_lock(&w->upstream->lock);
    *begun = w->begun;
    bool mine = !w->begun && !w->asking;
    w->asking |= mine;
    pthread_mutex_unlock(&w->upstream->lock);
    return mine;
}

static void asked(struct watched *w, bool begun) {
    pthread_mutex_lock(&w->upstream->lock);
    w->asking = false;
    w->begun = begun;
    pthread_mutex_unlock(&w->upstream->lock);
}

/* Who comes while the upstream is being told waits; when that fails he is the next to try. */
static err_t see_it_begun(struct task *t, struct watched *w) {
    bool begun = false;
    while (!may_ask(w, &begun)) {
        if (begun)
            return OK;
        TRY(task_sleep(t, 2 * NANOS_MS));
    }
    err_t e = begin_watching(t, w->upstream, w->uri);
    asked(w, !e);
    return e;
}

void watched_release(struct worker *w, struct watched_list *list) {
    for (size_t i = 0; i < list->n; i++)
        if (watched_drop(list->items[i]) && !task_spawn(w, end_watching, list->items[i]))
            watched_free(list->items[i]);
    free(list->items);
    *list = (struct watched_list){ 0 };
}

/* ---- lists ------------------------------------------------------------------------- */

bool watched_has(const struct watched_list *list, struct str shown) {
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(list->items[i]->shown, shown))
            return true;
    return false;
}

struct str watched_shown(const struct watched *w) {
    return w->shown;
}

static void list_add(struct watched_list *list, struct watched *w) {
    list->items = mem_grow(list->items, (list->n + 1) * sizeof *list->items);
    list->items[list->n++] = w;
}

static bool can_be_watched(struct exchange *x) {
    for (size_t i = 0; i < x->snapshot->upstream_count; i++) {
        const struct part *p = x->snapshot->sources[i].part;
        if (x->snapshot->upstreams[i] == x->upstream)
            return p && p->has.subscribe;
    }
    return false;
}

/* Watches what x->upstream and x->target are for a client that calls it `shown`. */
static err_t watch(struct exchange *x, struct str shown, struct watched **out) {
    if (!can_be_watched(x))
        return ERR(INVALID, "upstream %.*s offers no subscriptions", STR(x->upstream->conf->name));
    struct watched *w = watched_take(x->upstream, x->target, shown);
    err_t e = see_it_begun(x->task, w);
    if (!e) {
        *out = w;
        return OK;
    }
    struct err why = *e;
    if (watched_drop(w))
        watched_free(w);
    return err_again(&why);
}

void subscribe_all(struct exchange *x, struct str uris, struct watched_list *out) {
    int64_t room = x->snapshot->conf->limits.subscriptions;
    for (struct json_members m = json_elements(uris); room > 0 && json_element(&m); room--) {
        struct watched *w;
        struct str shown = m.value.p[0] == '"' ? json_unquote(x->arena, m.value) : S("");
        if (!shown.n || watched_has(out, shown) || !route_resource(x, shown))
            continue;
        err_t e = watch(x, shown, &w);
        if (e)
            log_info("resource not watched", F("uri", shown), F("error", e->text));
        else
            list_add(out, w);
    }
}

/* ---- legacy sessions --------------------------------------------------------------- */

struct subscriber {
    char session[SESSION_ID];
    bool in_table; /* else it lasts as long as its channel */
    struct watched_list list;
};

struct subscribers {
    pthread_mutex_t lock;
    struct map by_session;
};

struct subscribers *subscribers_new(void) {
    struct subscribers *s = NEW(struct subscribers);
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void subscribers_free(struct subscribers *s) {
    struct str id;
    void *value;
    for (size_t i = 0; map_next(&s->by_session, &i, &id, &value);) {
        struct subscriber *one = value;
        for (size_t k = 0; k < one->list.n; k++)
            if (watched_drop(one->list.items[k]))
                watched_free(one->list.items[k]);
        free(one->list.items);
        free(one);
    }
    map_done(&s->by_session);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct str key_of(const char session[SESSION_ID]) {
    return str_from(session, SESSION_ID);
}

bool subscribers_want(struct subscribers *s, const char session[SESSION_ID], struct str shown) {
    pthread_mutex_lock(&s->lock);
    const struct subscriber *one = map_get(&s->by_session, key_of(session));
    bool wants = one && watched_has(&one->list, shown);
    pthread_mutex_unlock(&s->lock);
    return wants;
}

/* False: it has as many as it may. */
static bool remember(struct subscribers *s, const struct exchange *x, struct watched *w) {
    pthread_mutex_lock(&s->lock);
    struct subscriber *one = map_get(&s->by_session, key_of(x->session.id));
    if (!one) {
        one = NEW(struct subscriber);
        memcpy(one->session, x->session.id, SESSION_ID);
        one->in_table = x->session.in_table; /* it may have ended by now: then the sweep finds it */
        map_put(&s->by_session, key_of(one->session), one);
    }
    bool room = one->list.n < (size_t)x->snapshot->conf->limits.subscriptions;
    if (room)
        list_add(&one->list, w);
    pthread_mutex_unlock(&s->lock);
    return room;
}

static struct watched *forget_one(struct subscribers *s, const char session[SESSION_ID],
                                  struct str shown) {
    struct watched *found = NULL;
    pthread_mutex_lock(&s->lock);
    struct subscriber *one = map_get(&s->by_session, key_of(session));
    for (size_t i = 0; one && !found && i < one->list.n; i++)
        if (str_eq(one->list.items[i]->shown, shown)) {
            found = one->list.items[i];
            one->list.items[i] = one->list.items[--one->list.n];
        }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void subscribers_forget(struct gateway *g, struct worker *w, const char session[SESSION_ID]) {
    pthread_mutex_lock(&g->subscribers->lock);
    struct subscriber *one = map_del(&g->subscribers->by_session, key_of(session));
    pthread_mutex_unlock(&g->subscribers->lock);
    if (!one)
        return;
    watched_release(w, &one->list);
    free(one);
}

/* One at a time: the table changes under the walk. */
static bool next_ended(struct gateway *g, char out[SESSION_ID]) {
    struct subscribers *s = g->subscribers;
    struct str id;
    void *value;
    bool found = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; !found && map_next(&s->by_session, &i, &id, &value);)
        if (((struct subscriber *)value)->in_table && !session_lives(g->sessions, id)) {
            memcpy(out, id.p, SESSION_ID);
            found = true;
        }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void subscribers_sweep(struct gateway *g, struct worker *w) {
    char id[SESSION_ID];
    while (next_ended(g, id))
        subscribers_forget(g, w, id);
}

/* ---- methods ----------------------------------------------------------------------- */

static void answer_empty(struct exchange *x) {
    struct str empty = S("{}");
    answer_result(x, &empty, 1);
}

static bool read_uri(struct exchange *x, struct str *out) {
    struct str raw = x->in.params.p ? json_raw_get(x->in.params, S("uri")) : (struct str){ 0 };
    if (raw.n > 2 && raw.p[0] == '"') {
        *out = json_unquote(x->arena, raw);
        return true;
    }
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "params.uri must be a string");
    return false;
}

static void refuse(struct exchange *x, const char *why) {
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "%s", why);
}

void method_subscribe(struct exchange *x) {
    struct gateway *g = x->gw->gateway;
    struct watched *w;
    struct str uri;
    if (!read_uri(x, &uri))
        return;
    if (!route_resource(x, uri)) {
        answer_error(x, 0, RPC_RESOURCE_NOT_FOUND, (struct str){ 0 }, "Resource not found: %.*s",
                     STR(str_head(uri, 200)));
        return;
    }
    if (subscribers_want(g->subscribers, x->session.id, uri)) {
        answer_empty(x);
        return;
    }
    err_t e = watch(x, uri, &w);
    if (e) {
        struct err why = *e;
        refuse(x, why.text);
    } else if (!remember(g->subscribers, x, w)) {
        struct watched_list list = { 0 };
        list_add(&list, w);
        watched_release(x->gw->worker, &list);
        refuse(x, "This session has as many subscriptions as `limits: subscriptions` allows");
    } else {
        answer_empty(x);
    }
}

void method_unsubscribe(struct exchange *x) {
    struct str uri;
    if (!read_uri(x, &uri))
        return;
    struct watched *w = forget_one(x->gw->gateway->subscribers, x->session.id, uri);
    if (w) {
        struct watched_list list = { 0 };
        list_add(&list, w);
        watched_release(x->gw->worker, &list);
    }
    answer_empty(x);
}

/* ---- updates ----------------------------------------------------------------------- */

void watched_updated(struct upstream *u, struct str uri) {
    SCOPED(buf_done) struct buf shown = { 0 };
    pthread_mutex_lock(&u->lock);
    const struct watched *w = map_get(&u->watched, uri);
    if (w)
        buf_str(&shown, w->shown);
    pthread_mutex_unlock(&u->lock);
    if (shown.n && u->on_updated)
        u->on_updated(u, buf_view(&shown), u->on_change_arg);
}

static struct str uris_now(struct upstream *u, struct arena *a) {
    SCOPED(buf_done) struct buf b = { 0 };
    watched_write(u, &b);
    return arena_dup(a, buf_view(&b));
}

void watched_updated_all(struct upstream *u) {
    SCOPED(arena_scope) struct arena a = { 0 };
    for (struct json_members m = json_elements(uris_now(u, &a)); json_element(&m);)
        watched_updated(u, json_unquote(&a, m.value));
}

void watched_restore(struct task *t, struct upstream *u) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct str uris = uris_now(u, &a);
    if (uris.n <= 2)
        return;
    for (struct json_members m = json_elements(uris); json_element(&m);) {
        err_t e = is_legacy(u) ? begin_watching(t, u, json_unquote(&a, m.value)) : OK;
        if (e)
            log_warn("resource is not watched any more", F("upstream", u->conf->name),
                     F("uri", m.value), F("error", e->text));
    }
    if (!is_legacy(u) && u->ops->watch_uris)
        u->ops->watch_uris(u);
    watched_updated_all(u);
}
