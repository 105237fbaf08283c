/* upstream_builtin.c - servers inside this program: the call runs in the caller's own
 * task, its answer is one more message (DESIGN decision 10). */
#include "base/mem.h"
#include "gateway/upstream.h"
#include "servers/server.h"

static err_t builtin_start(struct task *t, struct upstream *u) {
    if (u->builtin)
        return OK;
    const struct server_ops *ops = builtin_find(u->conf->builtin);
    if (!ops)
        return ERR(NOT_FOUND, "there is no built-in server \"%.*s\"", STR(u->conf->builtin));
    void *conf = arena_zero(&u->arena, ops->options_size ? ops->options_size : 1);
    struct field_problems problems = { .arena = &u->arena, .lenient = true };
    field_defaults(ops->options, ops->option_count, conf, &u->arena);
    if (u->conf->options)
        field_read(ops->options, ops->option_count, u->conf->options, S("options"), conf, &u->arena,
                   &problems);
    TRY(field_problems_err(&problems));
    if (ops->open)
        TRY_WRAP(ops->open(conf, &u->builtin_self), "opening");
    u->builtin = ops;
    return OK;
}

static err_t builtin_probe(struct task *t, struct upstream *u) {
    SCOPED(buf_done) struct buf info = { 0 };
    struct jw w = jw_init(&info);
    jw_object(&w);
    jw_put_string(&w, "name", str_of(u->builtin->name));
    jw_put_string(&w, "title", str_of(u->builtin->title));
    jw_put_string(&w, "version", S(GATESPAN_VERSION));
    jw_object_end(&w);
    u->info = (struct upstream_info){
        .revision = LATEST_LEGACY, /* their results have its shape: most clients take it as is */
        .has = { .tools = true },
        .server_info = arena_dup(&u->info_arena, buf_view(&info)),
        .instructions = u->builtin->instructions ? str_of(u->builtin->instructions) : S(""),
    };
    return OK;
}

/* Its lists never change while the program runs. */
static err_t builtin_watch(struct task *t, struct upstream *u) {
    struct event never = { 0 };
    return event_wait(t, &never);
}

static void builtin_stop(struct task *t, struct upstream *u) {
}

static err_t builtin_begin(struct task *t, struct upstream_call *c) {
    return c->upstream->builtin ? OK : ERR(UNAVAILABLE, "not started yet");
}

static err_t builtin_next(struct task *t, struct upstream_call *c, struct envelope *out) {
    struct upstream *u = c->upstream;
    struct arena a;
    char room[2048];
    arena_init(&a, room, sizeof room);
    bool failed = false;
    if (c->request->method == METHOD_TOOLS_LIST) {
        server_list(u->builtin, &c->local);
    } else {
        struct call_ctx ctx = {
            .task = t, .arena = &a, .principal = c->request->principal, .tenant = S("default"), .wall = clock_wall(),
        };
        server_call(u->builtin, u->builtin_self, &ctx, c->request->name, c->request->arguments,
                    &c->local, &failed);
    }
    arena_done(&a);
    struct str answer = buf_view(&c->local);
    *out = (struct envelope){ .kind = failed ? ENVELOPE_ERROR : ENVELOPE_RESULT, .text = answer };
    if (failed)
        out->error = answer;
    else
        out->result = answer;
    return OK;
}

static void builtin_end(struct upstream_call *c, struct upstream *u) {
    buf_done(&c->local);
}

static void builtin_free(struct upstream *u) {
    if (u->builtin && u->builtin->close)
        u->builtin->close(u->builtin_self);
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
