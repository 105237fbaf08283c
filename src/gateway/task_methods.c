/* task_methods.c - see task_methods.h. */
#include "gateway/task_methods.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/forward.h"
#include "gateway/task_id.h"
#include "gateway/task_run.h"
#include "gateway/task_told.h"
#include "mcp/question.h"

enum { POLL_MS = 200 };               /* what we tell of tasks of our own */
#define FIRST_PAUSE (10 * NANOS_MS)   /* between questions for a task we wait for: doubled, */
#define LAST_PAUSE (1 * NANOS_SEC)    /* up to this or what its server says */
#define KEEP_ALIVE (5 * NANOS_SEC)    /* progress for who waits (P-418) */
#define EAR_WAIT (500 * NANOS_MS)     /* for the first question of a legacy task */

#define NEEDS_EXTENSION "{\"requiredCapabilities\":{\"extensions\":{\"" TASKS_EXTENSION "\":{}}}}"

static bool is_object(struct str raw) {
    return raw.n && raw.p[0] == '{';
}

static bool is_modern(enum revision r) {
    return revision_era(r) == ERA_MODERN;
}

static bool declares(const struct exchange *x) {
    return x->in.client_capabilities.n > 2 && tasks_declared(x->in.client_capabilities);
}

/* ---- a call that may be a task ----------------------------------------------------- */

static bool refuse(struct exchange *x, int code, const char *why) {
    answer_error(x, 0, code, (struct str){ 0 }, "%s", why);
    return false;
}

/* P-290, P-291: the member counts, as the gateway declares tasks whenever anyone behind it does. */
static bool admit_param(struct exchange *x) {
    struct str task = json_raw_get(x->in.params, S("task"));
    if (!task.p)
        return true;
    struct str ttl = is_object(task) ? json_raw_get(task, S("ttl")) : task;
    uint64_t ms;
    if (!is_object(task) || (ttl.p && !str_to_u64(ttl, &ms)))
        return refuse(x, RPC_INVALID_PARAMS,
                      "params.task must be an object with an optional ttl in milliseconds");
    if (x->entry->task_support == TASK_FORBIDDEN)
        return refuse(x, RPC_METHOD_NOT_FOUND,
                      "This tool does not run as a task: call it without params.task");
    if (!tasks_have_room(x)) {
        answer_failure(
            x, ERR(LIMITED, "as many tasks are kept as limits.tasks and tasks_per_key allow"));
        return false;
    }
    x->task_asked = task;
    x->takes_task = true;
    return true;
}

/* The tool runs as a task only, and its client takes none: P-291, P-296, P-446. Between modern peers
 * the upstream refuses by itself. */
static bool admit_required(struct exchange *x) {
    int to = atomic_load_explicit(&x->upstream->revision, memory_order_relaxed);
    if (to == REV_NONE || (is_modern((enum revision)to) && x->era == ERA_MODERN))
        return true;
    x->waits_for_task = x->upstream->conf->tasks == TASKS_WAIT;
    if (x->waits_for_task)
        return true;
    if (x->era == ERA_LEGACY)
        return refuse(x, RPC_METHOD_NOT_FOUND,
                      "This tool runs as a task only: call it with params.task");
    answer_error(x, 0, RPC_MISSING_CAPABILITY, S(NEEDS_EXTENSION),
                 "This tool runs as a task only: declare the extension " TASKS_EXTENSION);
    return false;
}

bool task_admit(struct exchange *x) {
    const struct entry *e = x->entry;
    if (!x->snapshot->catalogue->has.tasks || !e)
        return true;
    if (x->era == ERA_MODERN)
        x->takes_task = e->task_support != TASK_FORBIDDEN && declares(x) && tasks_have_room(x);
    else if (x->revision == R11 && !admit_param(x))
        return false;
    return x->takes_task || e->task_support != TASK_REQUIRED || admit_required(x);
}

static int64_t ttl_ms(const struct exchange *x) {
    int64_t most = x->snapshot->conf->limits.task_ttl / NANOS_MS;
    struct str raw = x->task_asked.p ? json_raw_get(x->task_asked, S("ttl")) : (struct str){ 0 };
    int64_t asked = most;
    if (raw.p)
        str_to_i64(raw, &asked);
    return asked < most ? asked : most;
}

struct str task_param(struct exchange *x) {
    if (x->task_asked.p)
        return x->task_asked;
    return arena_fmt(x->arena, "{\"ttl\":%lld}", (long long)ttl_ms(x));
}

/* ---- how one begins ---------------------------------------------------------------- */

static void put_server_info(const struct exchange *x, struct jw *w) {
    if (x->era == ERA_LEGACY)
        return;
    jw_key(w, S("_meta"));
    jw_object(w);
    jw_put_raw(w, "io.modelcontextprotocol/serverInfo", x->snapshot->server_info);
    jw_object_end(w);
}

/* Nested or flat: P-290, P-293. */
static void answer_created(struct exchange *x, const struct mcp_task *t) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    if (x->era == ERA_MODERN) {
        jw_put_string(&w, "resultType", S("task"));
    } else {
        jw_key(&w, S("task"));
        jw_object(&w);
    }
    mcp_task_write(&w, t, x->revision);
    if (x->era == ERA_LEGACY)
        jw_object_end(&w);
    put_server_info(x, &w);
    jw_object_end(&w);
    struct str piece = buf_view(&b);
    x->outcome = "task";
    answer_result(x, &piece, 1);
}

static struct str tool_of(struct exchange *x) {
    return x->entry ? x->entry->shown : x->in.name;
}

void task_answer_theirs(struct exchange *x, const struct upstream_request *r, struct mcp_task *t) {
    const struct task_id id = { .upstream = x->upstream->conf->name, .share = r->share,
                                .asks = r->asks, .tool = tool_of(x), .own = t->id };
    t->id = task_id_seal(x, &id);
    SCOPED(task_scope) struct kept_task *k = task_keep(x, t, t->id, &id);
    answer_created(x, t);
    if (task_cancelled(x->task)) { /* nobody heard of it */
        const struct task_ask ask = { .upstream = x->upstream, .id = id.own, .principal = x->who->id,
                                      .share = id.share, .asks = id.asks };
        task_ask_cancel(x->gw->worker, &ask);
    }
    if (k)
        task_catch_up(x->gw->gateway, k);
}

/* It exists before the client hears of it (P-297): the caller's reference. */
static err_t keep_ours(struct exchange *x, enum mcp_task_status status, struct mcp_task *t,
                       struct kept_task **out) {
    char text[CLOCK_TEXT];
    const struct task_id id = { .upstream = x->upstream->conf->name, .ours = true,
                                .tool = tool_of(x), .asks = x->asks };
    struct str now = clock_rfc3339(clock_wall(), text);
    *t = (struct mcp_task){ .status = status, .ttl = ttl_ms(x), .poll = POLL_MS };
    t->id = task_id_seal(x, &id);
    t->created = t->updated = arena_fmt(x->arena, "\"%.*s\"", STR(now));
    *out = task_keep(x, t, t->id, &id);
    return *out ? OK
                : ERR(LIMITED, "as many tasks are kept as limits.tasks and tasks_per_key allow");
}

err_t task_answer_ours(struct exchange *x, const struct inputs *in) {
    SCOPED(task_scope) struct kept_task *k = NULL;
    bool gathered = in && (in->responses.n || in->sent_state.p);
    struct mcp_task t;
    TRY(keep_ours(x, MCP_TASK_WORKING, &t, &k));
    tasks_lock(k->all);
    task_replace(&k->tool, x->target);
    task_replace(&k->arguments, x->in.arguments);
    task_replace(&k->state, gathered ? in->sent_state : x->inner_state);
    task_replace(&k->responses,
                 gathered && in->responses.n ? buf_view(&in->responses) : x->in.input_responses);
    tasks_unlock(k->all);
    if (!task_run_call(x->gw, k))
        return ERR(UNAVAILABLE, "too much is in flight to begin a task");
    answer_created(x, &t);
    return OK;
}

err_t task_answer_ended(struct exchange *x, struct str result) {
    SCOPED(task_scope) struct kept_task *k = NULL;
    struct mcp_task t;
    struct str kept = arena_dup(x->arena, result);
    TRY(keep_ours(x, MCP_TASK_WORKING, &t, &k));
    task_end(k, MCP_TASK_COMPLETED, kept, x->snapshot->conf->limits.task_bytes);
    task_copy(k, x->arena, &t);
    t.status = str_eq(json_raw_get(kept, S("isError")), S("true")) ? MCP_TASK_FAILED : t.status;
    answer_created(x, &t);
    return OK;
}

/* ---- by its id --------------------------------------------------------------------- */

struct handle {
    struct task_id id;
    struct str shown;
    struct kept_task *kept; /* a reference; NULL: not kept, or by another process */
    struct task_ask ask;
    enum revision from;     /* of its upstream */
};

static void handle_done(struct handle *h) {
    task_unref(h->kept);
}

static bool refuse_unknown(struct exchange *x) {
    return refuse(x, RPC_INVALID_PARAMS,
                  "Unknown task: it has expired, or there is none of that id for this caller");
}

static size_t find_upstream(const struct snapshot *s, struct str name) {
    size_t i = 0;
    while (i < s->upstream_count && !str_eq(s->upstreams[i]->conf->name, name))
        i++;
    return i;
}

/* Its tool may have been taken from this caller since (P-327). */
static bool is_allowed(const struct exchange *x, const struct handle *h, size_t upstream) {
    const struct entry *e = catalogue_find(x->snapshot->catalogue, ITEM_TOOL, h->id.tool);
    if (e && e->upstream == upstream)
        return access_has(x->view->access, e->index);
    return access_has_upstream(x->view->access, upstream);
}

/* P-296 */
static bool has_declared(struct exchange *x) {
    if (x->era == ERA_LEGACY || declares(x))
        return true;
    answer_error(x, 0, RPC_MISSING_CAPABILITY, S(NEEDS_EXTENSION),
                 "tasks/… needs the extension " TASKS_EXTENSION " in clientCapabilities");
    return false;
}

/* The upstream as it is now; one that never connected counts as modern, and is asked in vain. */
static enum revision revision_of(const struct upstream *u) {
    int r = atomic_load(&((struct upstream *)(uintptr_t)u)->revision);
    return r == REV_NONE ? LATEST_MODERN : (enum revision)r;
}

/* False: there is none, or not for this caller. Without a view who asks was looked at before. */
static bool find(struct exchange *x, struct str shown, struct handle *h) {
    if (!task_id_open(x, shown, &h->id))
        return false;
    size_t at = find_upstream(x->snapshot, h->id.upstream);
    if (at == x->snapshot->upstream_count || (x->view && !is_allowed(x, h, at)))
        return false;
    h->shown = shown;
    x->upstream = x->snapshot->upstreams[at];
    h->from = revision_of(x->upstream);
    h->ask = (struct task_ask){ .upstream = x->upstream, .id = h->id.own, .principal = x->who->id,
                                .share = h->id.share, .asks = h->id.asks };
    h->kept = task_find(x->gw->gateway, h->shown, task_now(x->task));
    return !h->id.ours || h->kept;
}

static bool open_handle(struct exchange *x, struct handle *h) {
    if (!has_declared(x))
        return false;
    if (!x->in.task_id.p)
        return refuse(x, RPC_INVALID_PARAMS, "params.taskId must be a string");
    return find(x, x->in.task_id, h) || refuse_unknown(x);
}

/* Its client said that it is over: then it is, whatever its upstream still does. */
static bool is_known_here(const struct handle *h) {
    if (h->id.ours || !h->kept)
        return h->id.ours;
    tasks_lock(h->kept->all);
    bool cancelled = h->kept->cancelled;
    tasks_unlock(h->kept->all);
    return cancelled;
}

/* As its upstream has it now; *refusal is the upstream's error instead. In the arena. */
static err_t read_state(struct task *t, struct arena *a, const struct handle *h,
                        struct mcp_task *out, struct str *refusal) {
    struct str said;
    bool failed = false;
    *refusal = (struct str){ 0 };
    if (is_known_here(h)) {
        task_copy(h->kept, a, out);
        return OK;
    }
    TRY(task_ask(t, a, &h->ask, METHOD_TASKS_GET, (struct str){ 0 }, &failed, &said));
    if (failed) {
        *refusal = said;
        return OK;
    }
    TRY_WRAP(mcp_task_read(a, said, h->from, out), "upstream %.*s",
             STR(h->ask.upstream->conf->name));
    out->id = h->shown;
    if (h->kept)
        task_note(h->kept, out);
    return OK;
}

static void answer_refusal_of_upstream(struct exchange *x, struct str error, enum revision from) {
    SCOPED(buf_done) struct buf b = { 0 };
    translate_error(&b, x->method, error, from, x->revision, S(""));
    struct str raw = json_raw_get(buf_view(&b), S("code"));
    int64_t code = RPC_INTERNAL;
    str_to_i64(raw, &code);
    x->rpc_code = (int)code;
    x->outcome = "upstream_error";
    x->answered = true;
    struct str pieces[] = { S("{\"jsonrpc\":\"2.0\",\"id\":"), x->in.id, S(",\"error\":"),
                            buf_view(&b), S("}") };
    x->face->answer(x, answer_status(x, x->rpc_code), pieces, ARRAY_SIZE(pieces));
}

static void settle(struct exchange *x, err_t e) {
    if (!e || x->answered)
        return;
    if (x->cancelled)
        x->outcome = "cancelled";
    else
        answer_failure(x, e);
}

/* ---- what a modern client finds in tasks/get --------------------------------------- */

static uint64_t caller_of(const struct exchange *x) {
    if (x->upstream->conf->type != UPSTREAM_STDIO)
        return 0;
    return x->who->digest ^ hash_bytes(x->session.id, SESSION_ID);
}

static void copy_requests(struct kept_task *k, struct arena *a, struct mcp_task *t) {
    tasks_lock(k->all);
    t->requests = k->requests.n > 2 ? arena_dup(a, k->requests) : (struct str){ 0 };
    tasks_unlock(k->all);
}

/* A legacy upstream tells its questions on a stream of their own: somebody must listen (P-446).
 * Where none is open (any more) the task works on. */
static err_t hear_questions(struct exchange *x, struct handle *h, struct mcp_task *t) {
    if (!h->kept)
        h->kept = task_keep(x, t, h->shown, &h->id);
    if (h->kept) {
        task_run_ear(x->gw, h->kept, &h->ask, caller_of(x));
        copy_requests(h->kept, x->arena, t);
    }
    nanos until = task_now(x->task) + EAR_WAIT;
    while (h->kept && !t->requests.p && task_now(x->task) < until) {
        TRY(task_sleep(x->task, FIRST_PAUSE));
        copy_requests(h->kept, x->arena, t);
    }
    if (!t->requests.p)
        t->status = MCP_TASK_WORKING;
    return OK;
}

/* P-446: the outcome inline; with a result it is completed, isError or not (P-295). */
static err_t fetch_outcome(struct exchange *x, const struct handle *h, struct mcp_task *t) {
    bool failed;
    struct str said;
    TRY(task_ask(x->task, x->arena, &h->ask, METHOD_TASKS_RESULT, (struct str){ 0 }, &failed,
                 &said));
    t->status = failed ? MCP_TASK_FAILED : MCP_TASK_COMPLETED;
    *(failed ? &t->error : &t->result) = said;
    return OK;
}

/* A legacy upstream's task with what a modern one would have said of it. */
static err_t complete_state(struct exchange *x, struct handle *h, struct mcp_task *t) {
    if (is_modern(h->from) || is_known_here(h))
        return OK;
    if (t->status == MCP_TASK_INPUT_REQUIRED)
        return hear_questions(x, h, t);
    if (t->status == MCP_TASK_COMPLETED || t->status == MCP_TASK_FAILED)
        return fetch_outcome(x, h, t);
    return OK;
}

/* Only what the client could be asked when it called (P-045). */
static void put_requests(struct exchange *x, const struct handle *h, struct jw *w,
                         struct str requests) {
    const struct question_look look = { .asks = h->id.asks, .upstream = x->upstream->conf->name,
                                        .uris = &(struct uri_map){ .upstream = x->upstream->conf->name,
                                                       .rewrite = x->upstream->conf->rewrite_uris } };
    jw_key(w, S("inputRequests"));
    buf_char(w->out, '{');
    for (struct json_members m = json_members(requests); json_member(&m);) {
        struct str raw = json_raw_get(m.value, S("method"));
        struct str params = json_raw_get(m.value, S("params"));
        enum method method = raw.n > 2 ? method_parse(str_from(raw.p + 1, raw.n - 2))
                                       : METHOD_UNKNOWN;
        unsigned needs = question_needs(method, params);
        if (!needs || needs & ~h->id.asks) {
            log_warn("a task asks for what was not offered", F("upstream", look.upstream),
                     F("asks", raw));
            continue;
        }
        buf_fmt(w->out, "%s\"%.*s\":{\"method\":%.*s,\"params\":",
                w->out->p[w->out->n - 1] == '{' ? "" : ",", STR(m.key), STR(raw));
        question_write(w->out, method, params, x->revision, &look);
        buf_char(w->out, '}');
    }
    buf_char(w->out, '}');
    w->comma = true;
}

static void translate_outcome(struct exchange *x, struct buf *out, struct str result,
                              enum revision from) {
    const struct uri_map map = { .upstream = x->upstream->conf->name,
                                 .rewrite = x->upstream->conf->rewrite_uris };
    const struct translate_extras none = { .ttl_ms = -1 };
    translate_result(out, METHOD_TOOLS_CALL, result, from, x->revision, &none, &map);
}

static void put_outcome(struct exchange *x, const struct handle *h, struct jw *w,
                        const struct mcp_task *t) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (t->status == MCP_TASK_INPUT_REQUIRED) {
        put_requests(x, h, w, t->requests);
    } else if (t->status == MCP_TASK_COMPLETED) {
        translate_outcome(x, &b, t->result, h->from);
        jw_put_raw(w, "result", buf_view(&b));
    } else if (t->status == MCP_TASK_FAILED) {
        translate_error(&b, METHOD_TOOLS_CALL, t->error, h->from, x->revision, S(""));
        jw_put_raw(w, "error", buf_view(&b));
    }
}

/* Towards a legacy client a failed tool is a failed task (P-292, P-417). */
static void as_legacy(struct mcp_task *t) {
    if (t->status == MCP_TASK_COMPLETED && t->result.p &&
        str_eq(json_raw_get(t->result, S("isError")), S("true")))
        t->status = MCP_TASK_FAILED;
}

static void answer_state(struct exchange *x, const struct handle *h, struct mcp_task *t) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    if (x->era == ERA_MODERN)
        jw_put_string(&w, "resultType", S("complete")); /* P-294, P-703 */
    else
        as_legacy(t);
    mcp_task_write(&w, t, x->revision);
    if (x->era == ERA_MODERN)
        put_outcome(x, h, &w, t);
    put_server_info(x, &w);
    jw_object_end(&w);
    struct str piece = buf_view(&b);
    answer_result(x, &piece, 1);
}

static err_t get(struct exchange *x, struct handle *h) {
    struct mcp_task t;
    struct str refusal;
    TRY(read_state(x->task, x->arena, h, &t, &refusal));
    if (refusal.p) {
        answer_refusal_of_upstream(x, refusal, h->from);
        return OK;
    }
    if (x->era == ERA_MODERN)
        TRY(complete_state(x, h, &t));
    answer_state(x, h, &t);
    return OK;
}

void method_task_get(struct exchange *x) {
    SCOPED(handle_done) struct handle h = { 0 };
    if (open_handle(x, &h))
        settle(x, get(x, &h));
}

bool task_is_known(struct exchange *x, struct str shown) {
    SCOPED(handle_done) struct handle h = { 0 };
    return declares(x) && find(x, shown, &h);
}

/* What tasks/get would tell: P-298, P-704. */
err_t task_put_state(struct exchange *x, struct str shown, struct jw *w, bool *final,
                     int64_t *poll) {
    SCOPED(handle_done) struct handle h = { 0 };
    struct mcp_task t;
    struct str refusal = { 0 };
    if (!find(x, shown, &h))
        return ERR(NOT_FOUND, "the task is not known any more");
    TRY(read_state(x->task, x->arena, &h, &t, &refusal));
    if (refusal.p)
        return ERR(NOT_FOUND, "its upstream does not know it any more");
    TRY(complete_state(x, &h, &t));
    mcp_task_write(w, &t, x->revision);
    put_outcome(x, &h, w, &t);
    *final = mcp_task_is_final(t.status);
    *poll = t.poll;
    return OK;
}

/* ---- waiting for the end ----------------------------------------------------------- */

struct wait {
    struct inputs in;
    struct buf asked; /* object whose keys were put to the client: once each (P-295) */
    nanos pause, told;
    bool failed;
    struct str out;
};

static void wait_done(struct wait *w) {
    inputs_done(&w->in);
    buf_done(&w->asked);
}

static void note_asked(struct wait *w, struct str requests) {
    for (struct json_members m = json_members(requests); json_member(&m);) {
        if (w->asked.n)
            w->asked.n--;
        buf_fmt(&w->asked, "%s\"%.*s\":1}",
                w->asked.n > 1 ? ","
                : w->asked.n   ? ""
                               : "{",
                STR(m.key));
    }
}

static err_t give_answers(struct exchange *x, const struct handle *h, struct str responses) {
    bool failed;
    struct str said;
    if (h->id.ours) {
        task_run_answer(x->gw, h->kept, responses);
        return OK;
    }
    TRY(task_ask(x->task, x->arena, &h->ask, METHOD_TASKS_UPDATE, responses, &failed, &said));
    return failed ? ERR(UPSTREAM, "upstream %.*s did not take the answers: %.*s",
                        STR(x->upstream->conf->name), STR(str_head(said, 200)))
                  : OK;
}

static err_t ask_client(struct exchange *x, const struct handle *h, struct wait *w,
                        struct str requests) {
    SCOPED(buf_done) struct buf fresh = { 0 };
    if (!mcp_task_unanswered(&fresh, requests, buf_view(&w->asked)))
        return OK;
    w->in.requests = arena_dup(x->arena, buf_view(&fresh));
    note_asked(w, w->in.requests);
    w->pause = FIRST_PAUSE;
    TRY(question_gather(x, &w->in));
    return give_answers(x, h, buf_view(&w->in.responses));
}

/* So that a client which waits for nothing else does not give up. */
static err_t keep_alive(struct exchange *x, struct wait *w) {
    if (!x->in.progress_token.p || !x->can_stream || task_now(x->task) - w->told < KEEP_ALIVE)
        return OK;
    w->told = task_now(x->task);
    x->progress += 1;
    struct str text = arena_fmt(
        x->arena,
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":"
        "{\"progressToken\":%.*s,\"progress\":%.0f}}",
        STR(x->in.progress_token), x->progress);
    return x->face->notify(x, &text, 1);
}

static void take_end(struct exchange *x, struct wait *w, const struct mcp_task *t) {
    w->failed = t->status != MCP_TASK_COMPLETED;
    if (t->status == MCP_TASK_CANCELLED)
        w->out = S("{\"code\":-32603,\"message\":\"The task was cancelled\"}");
    else
        w->out = arena_dup(x->arena, w->failed ? t->error : t->result);
}

/* One look at it. */
static err_t look(struct exchange *x, struct handle *h, struct wait *w, nanos *pause) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct mcp_task t;
    struct str refusal;
    TRY(read_state(x->task, &a, h, &t, &refusal));
    if (refusal.p) {
        w->failed = true;
        w->out = arena_dup(x->arena, refusal);
    } else if (mcp_task_is_final(t.status)) {
        take_end(x, w, &t);
    } else if (t.status == MCP_TASK_INPUT_REQUIRED && t.requests.p) {
        TRY(ask_client(x, h, w, t.requests));
    } else {
        TRY(keep_alive(x, w));
    }
    nanos most = t.poll > 0 && t.poll < LAST_PAUSE / NANOS_MS ? t.poll * NANOS_MS : LAST_PAUSE;
    *pause = w->pause < most ? w->pause : most;
    return OK;
}

static err_t wait_end(struct exchange *x, struct handle *h, struct wait *w) {
    SCOPED(deadline_scope)
    struct deadline d = deadline_push(x->task, x->snapshot->conf->limits.task_wait);
    w->pause = FIRST_PAUSE;
    w->told = task_now(x->task);
    for (nanos pause;;) {
        TRY(look(x, h, w, &pause));
        if (w->out.p)
            return OK;
        TRY(task_sleep(x->task, pause));
        w->pause *= 2;
    }
}

err_t task_wait(struct exchange *x, const struct task_ask *ask, bool *failed, struct str *out) {
    SCOPED(wait_done) struct wait w = { 0 };
    struct handle h = { .ask = *ask, .from = revision_of(ask->upstream),
                        .id = { .own = ask->id, .asks = ask->asks, .share = ask->share } };
    TRY(wait_end(x, &h, &w));
    *failed = w.failed;
    *out = w.out;
    return OK;
}

static err_t result(struct exchange *x, struct handle *h) {
    SCOPED(wait_done) struct wait w = { 0 };
    x->asks = x->can_stream ? x->session.asks : 0;
    x->related_task = h->shown;
    if (!is_modern(h->from) && !is_known_here(h))
        return forward_task_outcome(x, &h->ask);
    TRY(wait_end(x, h, &w));
    forward_answer_outcome(x, w.failed, w.out, h->from);
    return OK;
}

void method_task_result(struct exchange *x) {
    SCOPED(handle_done) struct handle h = { 0 };
    if (open_handle(x, &h))
        forward_settle_outcome(x, result(x, &h));
}

/* ---- cancelling -------------------------------------------------------------------- */

static void answer_done(struct exchange *x) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "resultType", S("complete"));
    put_server_info(x, &w);
    jw_object_end(&w);
    struct str piece = buf_view(&b);
    answer_result(x, &piece, 1);
}

/* The upstream's word; its refusal of what has ended is none (P-446). */
static err_t cancel_theirs(struct exchange *x, const struct handle *h) {
    bool failed;
    struct str said;
    TRY(task_ask(x->task, x->arena, &h->ask, METHOD_TASKS_CANCEL, (struct str){ 0 }, &failed,
                 &said));
    if (failed)
        log_debug("upstream refused to cancel a task", F("upstream", x->upstream->conf->name),
                  F("error", said));
    return OK;
}

static void end_here(struct exchange *x, const struct handle *h) {
    if (!h->kept)
        return;
    task_end(h->kept, MCP_TASK_CANCELLED, (struct str){ 0 }, INT64_MAX);
    task_run_stop(x->gw->gateway, h->kept);
}

static bool refuse_ended(struct exchange *x, const struct mcp_task *t) {
    if (x->era == ERA_MODERN || !mcp_task_is_final(t->status))
        return false;
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 },
                 "The task has ended already: it is %.*s", STR(mcp_task_status_word(t->status)));
    return true;
}

/* A legacy client is told at once that it is cancelled, and is held to that (P-292): servers with
 * the extension may take their time (P-294). */
static err_t cancel(struct exchange *x, struct handle *h) {
    struct mcp_task t;
    struct str refusal;
    TRY(read_state(x->task, x->arena, h, &t, &refusal));
    if (refusal.p) {
        answer_refusal_of_upstream(x, refusal, h->from);
        return OK;
    }
    if (refuse_ended(x, &t))
        return OK;
    if (!mcp_task_is_final(t.status)) {
        if (!h->id.ours)
            TRY(cancel_theirs(x, h));
        if (h->id.ours || x->era == ERA_LEGACY)
            end_here(x, h);
        else if (h->kept)
            task_run_stop(x->gw->gateway, h->kept);
        t.status = MCP_TASK_CANCELLED;
    }
    if (x->era == ERA_MODERN)
        answer_done(x);
    else
        answer_state(x, h, &t);
    return OK;
}

void method_task_cancel(struct exchange *x) {
    SCOPED(handle_done) struct handle h = { 0 };
    if (open_handle(x, &h))
        settle(x, cancel(x, &h));
}

/* ---- answers to its questions ------------------------------------------------------ */

/* P-100: one that makes no sense spoils none of the others. */
static bool fits(struct exchange *x, struct str requests) {
    for (struct json_members m = json_members(requests); json_member(&m);) {
        struct str answer = json_raw_get(x->in.input_responses, m.key);
        struct str raw = json_raw_get(m.value, S("method"));
        enum method method = raw.n > 2 ? method_parse(str_from(raw.p + 1, raw.n - 2))
                                       : METHOD_UNKNOWN;
        if (!answer.p || answer_fits(method, answer))
            continue;
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 },
                     "inputResponses.%.*s is no answer to %.*s", STR(str_head(m.key, 100)),
                     STR(method_name(method)));
        return false;
    }
    return true;
}

static err_t update_theirs(struct exchange *x, const struct handle *h) {
    bool failed;
    struct str said;
    TRY(task_ask(x->task, x->arena, &h->ask, METHOD_TASKS_UPDATE, x->in.input_responses, &failed,
                 &said));
    if (failed)
        answer_refusal_of_upstream(x, said, h->from);
    else
        answer_done(x);
    return OK;
}

static err_t update(struct exchange *x, struct handle *h) {
    struct mcp_task t = { 0 };
    if (!h->id.ours && is_modern(h->from))
        return update_theirs(x, h);
    if (h->kept)
        copy_requests(h->kept, x->arena, &t);
    if (!fits(x, t.requests))
        return OK;
    if (h->kept)
        task_run_answer(x->gw, h->kept, x->in.input_responses);
    answer_done(x);
    return OK;
}

void method_task_update(struct exchange *x) {
    SCOPED(handle_done) struct handle h = { 0 };
    if (!open_handle(x, &h))
        return;
    if (x->in.input_responses.p)
        settle(x, update(x, &h));
    else
        refuse(x, RPC_INVALID_PARAMS, "params.inputResponses must be an object");
}

/* ---- lists ------------------------------------------------------------------------- */

enum { ASKED_ANEW = 32 }; /* tasks of one page that are asked for; others are told as last known */

static struct str bound_to(struct exchange *x) {
    return arena_fmt(x->arena, "tasks/list\n%.*s\n%.*s\n%.*s\n%.*s", STR(x->who->tenant),
                     STR(x->who->id), STR(x->profile_name), SESSION_ID, x->session.id);
}

static bool read_cursor(struct exchange *x, uint64_t *from) {
    *from = 0;
    if (!x->in.cursor.p)
        return true;
    SCOPED(buf_done) struct buf plain = { 0 };
    if (x->in.cursor.p[0] != '"' ||
        crypto_open(&x->gw->gateway->ring, bound_to(x), json_unquote(x->arena, x->in.cursor),
                    &plain) ||
        plain.n != sizeof *from)
        return refuse(x, RPC_INVALID_PARAMS, "The cursor is not one of this list");
    memcpy(from, plain.p, sizeof *from);
    return true;
}

static void put_cursor(struct exchange *x, struct jw *w, uint64_t next) {
    SCOPED(buf_done) struct buf sealed = { 0 };
    crypto_seal(&x->gw->gateway->ring, bound_to(x), str_from((const char *)&next, sizeof next),
                &sealed);
    jw_put_string(w, "nextCursor", buf_view(&sealed));
}

/* One that has not ended, as far as is known, may have by now. */
static void ask_anew(struct exchange *x, struct kept_task *k) {
    struct handle h = { .kept = k, .shown = k->shown };
    struct str refusal;
    struct mcp_task t;
    if (!task_id_open(x, k->shown, &h.id)) /* made on another endpoint: as last known */
        return;
    h.from = revision_of(k->upstream);
    h.ask = (struct task_ask){ .upstream = k->upstream, .id = h.id.own, .principal = x->who->id,
                               .share = h.id.share, .asks = h.id.asks };
    err_t e = read_state(x->task, x->arena, &h, &t, &refusal);
    if (e)
        log_debug("a task is listed as last known", F("upstream", k->upstream->conf->name),
                  F("error", e->text));
}

static void ask_all_anew(struct exchange *x, struct kept_task **list, size_t n) {
    SCOPED(deadline_scope) struct deadline d = deadline_push(x->task, 2 * NANOS_SEC);
    size_t asked = 0;
    for (size_t i = 0; i < n && asked < ASKED_ANEW; i++)
        if (!list[i]->ours && !mcp_task_is_final(list[i]->status)) {
            ask_anew(x, list[i]);
            asked++;
        }
}

static void put_tasks(struct exchange *x, struct jw *w, struct kept_task **list, size_t n) {
    jw_key(w, S("tasks"));
    jw_array(w);
    for (size_t i = 0; i < n; i++) {
        struct mcp_task t;
        task_copy(list[i], x->arena, &t);
        as_legacy(&t);
        jw_object(w);
        mcp_task_write(w, &t, x->revision);
        jw_object_end(w);
    }
    jw_array_end(w);
}

/* P-417, P-478: those that this client was given by this process. */
void method_task_list(struct exchange *x) {
    uint64_t from;
    size_t n = 0, limit = (size_t)x->snapshot->conf->limits.page;
    if (!read_cursor(x, &from))
        return;
    limit = limit < 1000 ? limit : 1000;
    struct kept_task **list = ARENA_ARRAY(x->arena, struct kept_task *, limit);
    SCOPED(buf_done) struct buf b = { 0 };
    uint64_t next = tasks_page(x, from, limit, list, &n);
    ask_all_anew(x, list, n);
    struct jw w = jw_init(&b);
    jw_object(&w);
    put_tasks(x, &w, list, n);
    if (next)
        put_cursor(x, &w, next);
    jw_object_end(&w);
    for (size_t i = 0; i < n; i++)
        task_unref(list[i]);
    struct str piece = buf_view(&b);
    answer_result(x, &piece, 1);
}
