/* upstream.c - see upstream.h. Life, state and the three words of a call. */
#include "gateway/upstream.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/subscribe.h"
#include "mcp/question.h"
#include <stdio.h>

const char *upstream_state_word(enum upstream_state s) {
    static const char *const words[] = { "starting", "ready", "failed", "stopped" };
    return words[s];
}

/* ---- life -------------------------------------------------------------------------- */

static const struct upstream_ops *ops_of(const struct upstream_conf *c) {
    switch (c->type) {
    case UPSTREAM_STDIO: return &upstream_stdio;
    case UPSTREAM_HTTP: return &upstream_http;
    case UPSTREAM_API: return &upstream_api;
    default: return &upstream_builtin;
    }
}

/* A copy whose strings live with the upstream: snapshots come and go, this stays. */
static struct upstream_conf *copy_conf(struct arena *a, const struct upstream_conf *c) {
    struct buf text = { 0 };
    struct jw w = jw_init(&text);
    upstream_conf_write(c, &w);
    struct upstream_conf *own = upstream_conf_read(a, buf_view(&text));
    buf_done(&text);
    return own;
}

void upstream_conf_digest(const struct upstream_conf *c, uint8_t out[SHA256_SIZE]) {
    struct buf text = { 0 };
    struct jw w = jw_init(&text);
    upstream_conf_write(c, &w);
    crypto_sha256(buf_view(&text), out);
    crypto_wipe(text.p, text.n);
    buf_done(&text);
}

struct upstream *upstream_new(const struct upstream_conf *conf, struct workers *all,
                              struct warden *warden, struct str data_dir) {
    struct upstream *u = NEW(struct upstream);
    arena_init(&u->arena, NULL, 0);
    arena_init(&u->info_arena, NULL, 0);
    atomic_init(&u->refs, 1);
    atomic_init(&u->state, UP_STARTING);
    atomic_init(&u->revision, REV_NONE);
    pthread_mutex_init(&u->lock, NULL);
    u->conf = copy_conf(&u->arena, conf);
    upstream_conf_digest(conf, u->digest);
    u->ops = ops_of(conf);
    u->all = all;
    u->warden = warden;
    u->data_dir = arena_dup(&u->arena, data_dir);
    u->home = (unsigned)(hash_str(conf->name) % workers_count(all));
    u->sides = NEW_ARRAY(struct upstream_side, workers_count(all) + 1);
    unsigned share = conf->concurrency
                         ? (unsigned)((conf->concurrency - 1) / workers_count(all) + 1)
                         : 0;
    for (unsigned i = 0; i <= workers_count(all); i++)
        u->sides[i].gate = (struct gate){ .limit = share, .max_waiting = 10000 };
    return u;
}

struct upstream *upstream_ref(struct upstream *u) {
    atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
    return u;
}

void upstream_unref(struct upstream *u) {
    if (!u || atomic_fetch_sub(&u->refs, 1) != 1)
        return;
    if (u->ops->free)
        u->ops->free(u);
    watched_forget(u);
    idmap_done(&u->tasks);
    part_unref(u->part);
    arena_done(&u->arena);
    arena_done(&u->info_arena);
    pthread_mutex_destroy(&u->lock);
    free(u->sides);
    free(u);
}

/* ---- tasks ------------------------------------------------------------------------- */

void upstream_tasks_add(struct upstream *u, uint64_t share, int more) {
    pthread_mutex_lock(&u->lock);
    size_t now = (size_t)idmap_get(&u->tasks, share) + (size_t)more;
    if (now)
        idmap_put(&u->tasks, share, (void *)now);
    else
        idmap_del(&u->tasks, share);
    pthread_mutex_unlock(&u->lock);
}

bool upstream_has_tasks(struct upstream *u, uint64_t share) {
    pthread_mutex_lock(&u->lock);
    bool has = idmap_get(&u->tasks, share);
    pthread_mutex_unlock(&u->lock);
    return has;
}

/* ---- state ------------------------------------------------------------------------- */

enum upstream_state upstream_state(struct upstream *u, char reason[256]) {
    pthread_mutex_lock(&u->lock);
    memcpy(reason, u->reason, sizeof u->reason);
    pthread_mutex_unlock(&u->lock);
    return (enum upstream_state)atomic_load(&u->state);
}

enum upstream_state upstream_state_served(struct upstream *u, char reason[256]) {
    enum upstream_state state = upstream_state(u, reason);
    return state == UP_READY && !atomic_load(&u->served) ? UP_STARTING : state;
}

void upstream_served(struct upstream *u) {
    atomic_store(&u->served, true);
}

err_t upstream_unavailable(struct upstream *u) {
    char reason[256];
    enum upstream_state state = upstream_state(u, reason);
    return ERR(UNAVAILABLE, "upstream %.*s is %s%s%s", STR(u->conf->name),
               upstream_state_word(state), reason[0] ? ": " : "", reason);
}

void upstream_set_state(struct upstream *u, enum upstream_state state, const char *reason) {
    pthread_mutex_lock(&u->lock);
    snprintf(u->reason, sizeof u->reason, "%s", reason);
    pthread_mutex_unlock(&u->lock);
    if (atomic_load(&u->state) != UP_READY)
        atomic_store(&u->served, false); /* before it is ready: who sees that sees this too */
    enum upstream_state before = (enum upstream_state)atomic_exchange(&u->state, (int)state);
    if (before == state)
        return;
    if (before == UP_READY || state == UP_READY)
        metric_add(METRIC_SERIES(&metric_upstream_ready, u->conf->name),
                   state == UP_READY ? 1 : -1);
    if (u->on_change)
        u->on_change(u, u->on_change_arg);
}

struct part *upstream_part(struct upstream *u) {
    pthread_mutex_lock(&u->lock);
    struct part *p = u->part ? part_ref(u->part) : NULL;
    pthread_mutex_unlock(&u->lock);
    return p;
}

void upstream_set_part(struct upstream *u, struct part *p) {
    pthread_mutex_lock(&u->lock);
    struct part *before = u->part;
    u->part = p;
    pthread_mutex_unlock(&u->lock);
    part_unref(before);
}

/* ---- calls ------------------------------------------------------------------------- */

void upstream_next_id(struct upstream *u, struct worker *w, struct upstream_request *r) {
    uint64_t n = ++upstream_side(u, w)->next_id;
    r->id = n * (workers_count(u->all) + 1) + w->index;
    char *at = r->id_text + sizeof r->id_text - 1;
    *at = '\0';
    uint64_t left = r->id;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    memmove(r->id_text, at, (size_t)(r->id_text + sizeof r->id_text - at));
}

/* Calls inside and in line are counted; who does not wait is no part of the line. */
static err_t enter_side(struct task *t, struct upstream *u, struct upstream_side *side) {
    bool waits = side->gate.limit && side->gate.inside >= side->gate.limit;
    if (!side->in_flight) {
        side->in_flight = METRIC_SERIES(&metric_upstream_in_flight, u->conf->name);
        side->waiting = METRIC_SERIES(&metric_upstream_waiting, u->conf->name);
    }
    if (waits)
        metric_add(side->waiting, 1);
    err_t e = gate_enter(t, &side->gate);
    if (waits)
        metric_add(side->waiting, -1);
    if (e)
        return err_wrap(e, "upstream %.*s", STR(u->conf->name));
    metric_add(side->in_flight, 1);
    return OK;
}

static void leave_side(struct upstream_side *side) {
    gate_leave(&side->gate);
    metric_add(side->in_flight, -1);
}

err_t upstream_begin(struct task *t, struct upstream *u, const struct upstream_request *r,
                     struct upstream_call *out) {
    memset(out, 0, offsetof(struct upstream_call, session_text));
    struct worker *w = task_worker(t);
    struct upstream_side *side = upstream_side(u, w);
    if (atomic_load_explicit(&u->state, memory_order_relaxed) == UP_STOPPED)
        return ERR(UNAVAILABLE, "upstream %.*s is stopped", STR(u->conf->name));
    TRY(enter_side(t, u, side));
    out->upstream = upstream_ref(u);
    out->request = r;
    out->worker = w;
    out->task = t;
    out->deadline = deadline_push(t, u->conf->timeout);
    err_t e = u->ops->begin(t, out);
    if (!e) {
        out->began = true;
        return OK;
    }
    struct err saved = *e;
    upstream_end(out);
    return err_wrap(err_again(&saved), "upstream %.*s", STR(u->conf->name));
}

err_t upstream_next(struct task *t, struct upstream_call *c, struct envelope *out) {
    err_t e = c->upstream->ops->next(t, c, out);
    if (e)
        return err_wrap(e, "upstream %.*s", STR(c->upstream->conf->name));
    if (out->kind == ENVELOPE_RESULT || out->kind == ENVELOPE_ERROR)
        c->answered = true;
    return OK;
}

void upstream_end(struct upstream_call *c) {
    struct upstream *u = c->upstream;
    if (!u)
        return;
    c->upstream = NULL;
    deadline_pop(&c->deadline);
    u->ops->end(c, u);
    if (!c->let_go)
        leave_side(upstream_side(u, c->worker));
    upstream_unref(u);
}

/* ---- questions in mid-call --------------------------------------------------------- */

void upstream_answer(struct upstream_call *c, struct str id, struct str member) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (!c->upstream || !c->upstream->ops->say)
        return;
    buf_fmt(&b, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,", STR(id));
    buf_str(&b, member);
    buf_char(&b, '}');
    c->upstream->ops->say(c, buf_view(&b));
}

/* The feature was declared, but not this mode of it, so the method is there (P-251, P-275). */
static bool is_other_mode(unsigned needs, unsigned asks) {
    unsigned elicitation = ASK_FORM | ASK_URL;
    return (needs & elicitation && asks & elicitation) ||
           (needs & ASK_SAMPLING_TOOLS && asks & ASK_SAMPLING);
}

struct str question_refusal(struct buf *out, const struct envelope *m, unsigned asks) {
    if (str_eq(m->method, S("ping")))
        return S("\"result\":{}");
    struct str method = str_head(m->method, m->methods_escaped ? 0 : 100);
    if (is_other_mode(question_needs(method_parse(m->method), m->params), asks))
        buf_fmt(
            out,
            "\"error\":{\"code\":-32602,\"message\":\"the client offers another mode of %.*s\"}",
            STR(method));
    else
        buf_fmt(out, "\"error\":{\"code\":-32601,\"message\":\"the client offers no %.*s\"}",
                STR(method));
    return buf_view(out);
}

struct telling {
    struct mail mail;
    struct upstream *upstream; /* a reference */
    uint64_t share;
    size_t n;
    char text[];
};

static void on_telling(struct worker *w, struct mail *m) {
    struct telling *o = (struct telling *)m;
    if (atomic_load(&o->upstream->state) == UP_READY)
        o->upstream->ops->tell(o->upstream, o->share, str_from(o->text, o->n));
    upstream_unref(o->upstream);
    free(o);
    worker_run_ready(w);
}

void upstream_tell(struct upstream *u, uint64_t share, struct str message) {
    if (!u->ops->tell)
        return;
    struct telling *o = mem_alloc(sizeof *o + message.n);
    *o = (struct telling){ .mail = { .deliver = on_telling, .bytes = sizeof *o + message.n },
                           .upstream = upstream_ref(u), .share = share, .n = message.n };
    memcpy(o->text, message.p, message.n);
    if (worker_post(workers_at(u->all, u->home), &o->mail))
        return;
    upstream_unref(u);
    free(o);
}

bool upstream_asks_caller(struct upstream_call *c, const struct envelope *m) {
    upstream_asked(c->upstream, method_parse(m->method));
    unsigned needs = question_needs(method_parse(m->method), m->params);
    if (needs && !(needs & ~c->request->asks))
        return true;
    SCOPED(buf_done) struct buf text = { 0 };
    upstream_answer(c, m->id, question_refusal(&text, m, c->request->asks));
    return false;
}

void upstream_patience(struct upstream_call *c, nanos longest) {
    deadline_pop(&c->deadline);
    c->deadline = deadline_push(c->task, longest);
}

void upstream_no_deadline(struct upstream_call *c) {
    deadline_pop(&c->deadline);
}

void upstream_let_go(struct upstream_call *c) {
    if (c->let_go)
        return;
    deadline_pop(&c->deadline);
    leave_side(upstream_side(c->upstream, c->worker));
    c->task = NULL;
    c->let_go = true;
}

err_t upstream_take_up(struct task *t, struct upstream_call *c) {
    TRY(enter_side(t, c->upstream, upstream_side(c->upstream, c->worker)));
    c->let_go = false;
    c->task = t;
    c->deadline = deadline_push(t, c->upstream->conf->timeout);
    return OK;
}

/* The keeper's session declares everything, so that nothing a server offers only to capable
 * clients is missing from its lists; so does a child that all share (P-431, P-437). */
unsigned upstream_declares(const struct upstream *u, unsigned asks, uint64_t share) {
    unsigned all = share ? asks : DECLARED_ALL;
    return u->conf->questions == QUESTIONS_REFUSE ? all & SHOWS_APPS : all;
}

/* ---- requests of our own ----------------------------------------------------------- */

static void write_request(struct buf *out, const struct upstream_request *r, struct str params,
                          enum revision rev) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    jw_put_raw(&w, "id", str_of(r->id_text));
    jw_put_string(&w, "method", method_name(r->method));
    if (params.n || revision_era(rev) == ERA_MODERN) {
        jw_key(&w, S("params"));
        jw_object(&w);
        struct json_members m = json_members(params);
        while (json_member(&m)) {
            buf_fmt(out, "%s\"%.*s\":%.*s", w.comma ? "," : "", STR(m.key), STR(m.value));
            w.comma = true;
        }
        if (revision_era(rev) == ERA_MODERN) {
            jw_key(&w, S("_meta"));
            modern_meta(out, rev);
            w.comma = true;
        }
        jw_object_end(&w);
    }
    jw_object_end(&w);
}

static err_t ask(struct task *t, struct upstream *u, const struct upstream_request *r,
                 struct buf *out) {
    SCOPED(upstream_end) struct upstream_call c = { 0 };
    err_t e = upstream_begin(t, u, r, &c);
    if (e || !c.upstream) /* there is one if there is no error, which gcc -fanalyzer cannot know */
        return e;
    struct envelope m;
    do
        TRY(upstream_next(t, &c, &m));
    while (m.kind != ENVELOPE_RESULT && m.kind != ENVELOPE_ERROR);
    if (m.kind == ENVELOPE_ERROR) {
        struct str text = json_raw_get(m.error, S("message"));
        return ERR(UPSTREAM, "%.*s: %.*s", STR(method_name(r->method)),
                   (int)(text.n < 200 ? text.n : 200), text.p ? text.p : "");
    }
    buf_str(out, m.result);
    return OK;
}

err_t upstream_ask(struct task *t, struct upstream *u, enum method method, struct str params,
                   struct buf *out) {
    struct upstream_request r = { .method = method, .safe = true };
    upstream_next_id(u, task_worker(t), &r);
    SCOPED(buf_done) struct buf text = { 0 };
    write_request(&text, &r, params, (enum revision)atomic_load(&u->revision));
    struct str message = buf_view(&text);
    r.message = &message;
    r.pieces = 1;
    return ask(t, u, &r, out);
}
