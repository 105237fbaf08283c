/* upstream_builtin.c - servers inside this program: the call runs in the caller's own
 * task, its answer is one more message (DESIGN decision 10). Where the caller wants to hear
 * of progress it runs in a task beside, which leaves its notifications in a queue. */
#include "base/mem.h"
#include "gateway/subscribe.h"
#include "gateway/upstream.h"
#include "servers/server.h"

/* ---- life -------------------------------------------------------------------------- */

/* Read once, whatever number of starts: options live as long as the upstream. */
static err_t read_options(struct upstream *u, const struct server_ops *ops) {
    struct field_problems problems = { .arena = &u->arena, .lenient = true };
    if (u->impl)
        return OK;
    void *conf = arena_zero(&u->arena, ops->options_size ? ops->options_size : 1);
    field_defaults(ops->options, ops->option_count, conf, &u->arena);
    if (u->conf->options)
        field_read(ops->options, ops->option_count, u->conf->options, S("options"), conf, &u->arena,
                   &problems);
    TRY(field_problems_err(&problems));
    u->impl = conf;
    return OK;
}

static err_t builtin_start(struct task *t, struct upstream *u) {
    if (u->builtin)
        return OK;
    const struct server_ops *ops = builtin_find(u->conf->builtin);
    if (!ops)
        return ERR(NOT_FOUND, "there is no built-in server \"%.*s\"", STR(u->conf->builtin));
    TRY(read_options(u, ops));
    struct server_env env = { .name = u->conf->name, .data_dir = u->data_dir };
    if (ops->open)
        TRY_WRAP(ops->open(u->impl, &env, &u->builtin_self), "opening");
    u->builtin = ops;
    return OK;
}

static bool has_tasks(const struct server_ops *ops) {
    const struct tool *tool;
    for (size_t i = 0; (tool = server_tool(ops, i)); i++)
        if (tool->task)
            return true;
    return false;
}

static err_t builtin_probe(struct task *t, struct upstream *u) {
    SCOPED(buf_done) struct buf info = { 0 };
    const struct server_resources *resources = server_resources(u->builtin, u->builtin_self);
    struct jw w = jw_init(&info);
    jw_object(&w);
    jw_put_string(&w, "name", str_of(u->builtin->name));
    jw_put_string(&w, "title", str_of(u->builtin->title));
    jw_put_string(&w, "version", S(GATESPAN_VERSION));
    jw_object_end(&w);
    u->info = (struct upstream_info){
        /* their results have its shape: most clients take it as is; who asks, asks as R26 does */
        .revision = u->builtin->asks ? LATEST_MODERN : LATEST_LEGACY,
        .has = { .tools = true, .prompts = u->builtin->prompts != NULL, .logging = u->builtin->logs, .resources = resources != NULL, .list_changed = u->builtin->watch != NULL,
                 .subscribe = resources && u->builtin->watch,
                 .completions = resources && resources->complete,
                 .tasks = u->builtin->asks && has_tasks(u->builtin) },
        .server_info = arena_dup(&u->info_arena, buf_view(&info)),
        .instructions = u->builtin->instructions ? str_of(u->builtin->instructions) : S(""),
    };
    return OK;
}

struct watcher {
    struct server_watcher base;
    struct upstream *upstream;
};

static void on_updated(struct server_watcher *w, struct str uri) {
    struct upstream *u = ((struct watcher *)w)->upstream;
    if (uri.n)
        watched_updated(u, uri);
    else
        watched_updated_all(u);
}

static err_t builtin_watch(struct task *t, struct upstream *u) {
    struct watcher watcher = { .base.updated = on_updated, .upstream = u };
    if (u->builtin->watch)
        return u->builtin->watch(t, u->builtin_self, &watcher.base);
    struct event never = { 0 };
    return event_wait(t, &never);
}

static void builtin_stop(struct task *t, struct upstream *u) {
}

static void builtin_free(struct upstream *u) {
    if (u->builtin && u->builtin->close)
        u->builtin->close(u->builtin_self);
}

/* ---- one answer -------------------------------------------------------------------- */

/* The raw params of the message, joined in the arena. */
static struct str params_of(struct arena *a, const struct upstream_request *r) {
    SCOPED(buf_done) struct buf text = { 0 };
    for (size_t i = 0; i < r->pieces; i++)
        buf_str(&text, r->message[i]);
    return json_raw_get(arena_dup(a, buf_view(&text)), S("params"));
}

static struct str cursor_of(struct arena *a, const struct upstream_request *r) {
    struct str params = params_of(a, r);
    struct str raw = params.p ? json_raw_get(params, S("cursor")) : params;
    return raw.p && raw.p[0] == '"' ? json_unquote(a, raw) : S("");
}

/* What the run before asked for, and what it knew (servers/ask.c). */
static void read_inputs(struct call_ctx *ctx, const struct upstream_request *r) {
    struct str params = params_of(ctx->arena, r);
    if (!params.p)
        return;
    struct str state = json_raw_get(params, S("requestState"));
    ctx->responses = json_raw_get(params, S("inputResponses"));
    if (state.p && state.p[0] == '"')
        ctx->state = json_unquote(ctx->arena, state);
}

/* P-085, and hints for caches: what a result of the newest revision has beside. */
static void make_modern(struct buf *result, enum method m) {
    bool cacheable = m != METHOD_TOOLS_CALL && m != METHOD_PROMPTS_GET && m != METHOD_COMPLETE;
    struct str rest = buf_view(result);
    if (rest.n < 3 || str_starts(rest, S("{\"resultType\"")))
        return;
    struct buf made = { 0 };
    buf_str(&made, S("{\"resultType\":\"complete\","));
    if (cacheable)
        buf_str(&made, S("\"ttlMs\":0,\"cacheScope\":\"private\","));
    buf_str(&made, str_skip(rest, 1));
    buf_done(result);
    *result = made;
}

static void answer(struct upstream_call *c, struct task *t, struct call_sink *sink, bool *failed) {
    struct upstream *u = c->upstream;
    const struct upstream_request *r = c->request;
    struct arena a;
    char room[2048];
    arena_init(&a, room, sizeof room);
    struct call_ctx ctx = {
        .task = t, .arena = &a, .principal = r->principal, .tenant = S("default"), .wall = clock_wall(), .sink = sink,
        .asks = r->asks, .let_go = r->let_go, .let_go_of = r->let_go_of,
        .takes_task = r->takes_task, .in_task = r->in_task,
    };
    if (u->builtin->asks)
        read_inputs(&ctx, r);
    *failed = false;
    switch (r->method) {
    case METHOD_TOOLS_LIST: server_list(u->builtin, u->builtin_self, &c->local); break;
    case METHOD_PROMPTS_LIST:
        server_prompt_list(u->builtin, u->builtin_self, &ctx, &c->local, failed);
        break;
    case METHOD_PROMPTS_GET:
        server_prompt_get(u->builtin, u->builtin_self, &ctx, r->name,
                          json_raw_get(params_of(&a, r), S("arguments")), &c->local, failed);
        break;
    case METHOD_RESOURCES_LIST:
        server_resource_list(u->builtin, u->builtin_self, &ctx, cursor_of(&a, r), &c->local,
                             failed);
        break;
    case METHOD_TEMPLATES_LIST:
        server_resource_templates(u->builtin, u->builtin_self, &ctx, &c->local, failed);
        break;
    case METHOD_RESOURCES_READ:
        server_resource_read(u->builtin, u->builtin_self, &ctx, r->name, &c->local, failed);
        break;
    case METHOD_COMPLETE:
        server_complete(u->builtin, u->builtin_self, &ctx, params_of(&a, r), &c->local, failed);
        break;
    default:
        server_call(u->builtin, u->builtin_self, &ctx, r->name, r->arguments, &c->local, failed);
    }
    if (u->builtin->asks && !*failed)
        make_modern(&c->local, r->method);
    call_ctx_done(&ctx);
    arena_done(&a);
}

static void give_answer(struct upstream_call *c, bool failed, struct envelope *out) {
    struct str text = buf_view(&c->local);
    *out = (struct envelope){ .kind = failed ? ENVELOPE_ERROR : ENVELOPE_RESULT, .text = text };
    if (failed)
        out->error = text;
    else
        out->result = text;
}

/* ---- with progress ----------------------------------------------------------------- */

enum { MOST_NOTES = 64 }; /* waiting for a slow client; newer ones replace the last */

struct note {
    enum method method;
    struct str params; /* malloc'd */
};

/* One tool call in a task of its own. */
struct builtin_run {
    struct call_sink sink; /* first: callbacks get it */
    struct upstream_call *call;
    struct task_group group;
    struct event event;
    struct note notes[MOST_NOTES];
    size_t n;
    struct buf given; /* params of the notification handed out last */
    bool done, failed;
};

static void add_note(struct builtin_run *run, enum method method, struct buf *params) {
    if (run->n == MOST_NOTES)
        free((void *)(uintptr_t)run->notes[--run->n].params.p);
    run->notes[run->n++] = (struct note){ method, buf_take(params) };
    event_set(&run->event);
}

static void on_progress(struct call_sink *s, double progress, double total, struct str message) {
    struct builtin_run *run = (struct builtin_run *)s;
    struct buf params = { 0 };
    struct jw w = jw_init(&params);
    jw_object(&w);
    jw_put_raw(&w, "progressToken", str_of(run->call->request->id_text));
    jw_put_double(&w, "progress", progress);
    if (total > 0)
        jw_put_double(&w, "total", total);
    if (message.n)
        jw_put_string(&w, "message", message);
    jw_object_end(&w);
    add_note(run, METHOD_N_PROGRESS, &params);
}

static void on_log(struct call_sink *s, int level, struct str logger, struct str data_json) {
    struct buf params = { 0 };
    struct jw w = jw_init(&params);
    jw_object(&w);
    jw_put_string(&w, "level", log_level_name(level));
    jw_put_string(&w, "logger", logger);
    jw_put_raw(&w, "data", data_json);
    jw_object_end(&w);
    add_note((struct builtin_run *)s, METHOD_N_MESSAGE, &params);
}

static err_t run_answer(struct task *t, void *arg) {
    struct builtin_run *run = arg;
    answer(run->call, t, &run->sink, &run->failed);
    run->done = true;
    event_set(&run->event);
    return OK;
}

static err_t begin_run(struct task *t, struct upstream_call *c) {
    struct builtin_run *run = NEW(struct builtin_run);
    run->sink = (struct call_sink){ .progress = on_progress, .log = on_log };
    run->call = c;
    c->run = run;
    task_group_init(&run->group, t);
    return task_group_start(&run->group, run_answer, run);
}

static void give_note(struct builtin_run *run, struct envelope *out) {
    struct note first = run->notes[0];
    memmove(run->notes, run->notes + 1, --run->n * sizeof *run->notes);
    buf_done(&run->given);
    buf_str(&run->given, first.params);
    free((void *)(uintptr_t)first.params.p);
    *out = (struct envelope){ .kind = ENVELOPE_NOTIFICATION, .method = method_name(first.method),
                              .params = buf_view(&run->given) };
}

static err_t next_of_run(struct task *t, struct builtin_run *run, struct envelope *out) {
    while (!run->n && !run->done)
        TRY(event_wait(t, &run->event));
    if (run->n)
        give_note(run, out);
    else
        give_answer(run->call, run->failed, out);
    return OK;
}

static void end_run(struct builtin_run *run) {
    if (!run)
        return;
    task_group_scope(&run->group);
    while (run->n)
        free((void *)(uintptr_t)run->notes[--run->n].params.p);
    buf_done(&run->given);
    free(run);
}

/* ---- the three words --------------------------------------------------------------- */

static err_t builtin_begin(struct task *t, struct upstream_call *c) {
    if (!c->upstream->builtin)
        return ERR(UNAVAILABLE, "not started yet");
    bool logs = c->upstream->builtin->logs && c->request->wants_logs;
    return c->request->wants_notes || logs ? begin_run(t, c) : OK;
}

static err_t builtin_next(struct task *t, struct upstream_call *c, struct envelope *out) {
    if (c->run)
        return next_of_run(t, c->run, out);
    bool failed;
    answer(c, t, NULL, &failed);
    give_answer(c, failed, out);
    return OK;
}

static void builtin_end(struct upstream_call *c, struct upstream *u) {
    end_run(TAKE(c->run));
    buf_done(&c->local);
}

const struct upstream_ops upstream_builtin = {
    .kind = "builtin",
    .start = builtin_start,
    .probe = builtin_probe,
    .watch = builtin_watch,
    .stop = builtin_stop,
    .begin = builtin_begin,
    .next = builtin_next,
    .end = builtin_end,
    .free = builtin_free,
};
