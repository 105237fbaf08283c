/* server.c - what all built-in servers share: their tools/list, made once from the rows and
 * kept for good, and tools/call around one function of theirs. */
#include "servers/server.h"
#include "base/log.h"
#include "base/mem.h"
#include "mcp/revision.h"

/* Arguments are read whole into an arena: bounded here, whoever calls. */
static const struct json_limits argument_limits = { .bytes = 16 << 20, .depth = 32 };

const struct tool *server_tool(const struct server_ops *ops, size_t i) {
    const struct tool_table *const *t = ops->tables;
    if (i < ops->tool_count)
        return &ops->tools[i];
    for (i -= ops->tool_count; t && *t; i -= (*t++)->count)
        if (i < (*t)->count)
            return &(*t)->tools[i];
    return NULL;
}

/* ---- tools/list ------------------------------------------------------------------ */

static void put_hints(const struct tool *tool, struct jw *w) {
    jw_object(w);
    jw_put_string(w, "title", str_of(tool->title));
    jw_put_bool(w, "readOnlyHint", tool->hints & TOOL_READ_ONLY);
    jw_put_bool(w, "destructiveHint", tool->hints & TOOL_DESTRUCTIVE);
    jw_put_bool(w, "idempotentHint", tool->hints & TOOL_IDEMPOTENT);
    jw_put_bool(w, "openWorldHint", tool->hints & TOOL_OPEN_WORLD);
    jw_object_end(w);
}

static void put_tool(const struct tool *tool, struct jw *w) {
    jw_object(w);
    jw_put_string(w, "name", str_of(tool->name));
    jw_put_string(w, "title", str_of(tool->title));
    jw_put_string(w, "description", str_of(tool->description));
    jw_key(w, S("inputSchema"));
    if (tool->schema)
        jw_raw(w, str_of(tool->schema));
    else
        field_schema(tool->args, tool->arg_count, w);
    if (tool->result) {
        jw_key(w, S("outputSchema"));
        field_schema(tool->result, tool->result_count, w);
    }
    if (tool->task)
        jw_put_raw(w, "execution",
                   tool->task == TOOL_NEEDS_TASK ? S("{\"taskSupport\":\"required\"}")
                                                 : S("{\"taskSupport\":\"optional\"}"));
    jw_key(w, S("annotations"));
    put_hints(tool, w);
    jw_object_end(w);
}

static bool offers(const struct server_ops *ops, void *self, const struct tool *tool) {
    return !ops->offers || ops->offers(self, tool);
}

static void put_tools(const struct server_ops *ops, void *self, struct buf *out) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_key(&w, S("tools"));
    jw_array(&w);
    const struct tool *tool;
    for (size_t i = 0; (tool = server_tool(ops, i)); i++)
        if (offers(ops, self, tool))
            put_tool(tool, &w);
    jw_array_end(&w);
    jw_object_end(&w);
}

/* Rows are constant, so a list of all tools never changes once made. Listings only join, at the head,
 * and stay: readers need no lock. */
struct listing {
    const struct server_ops *ops;
    struct buf text;
    struct listing *next;
};
static struct listing *listings;

static struct listing *listing_find(struct listing *from, const struct server_ops *ops) {
    while (from && from->ops != ops)
        from = from->next;
    return from;
}

static struct listing *listing_make(const struct server_ops *ops, struct listing *head) {
    struct listing *made = NEW(struct listing);
    made->ops = ops;
    put_tools(ops, NULL, &made->text);
    do {
        struct listing *other = listing_find(head, ops);
        if (other) { /* another worker was quicker */
            buf_done(&made->text);
            free(made);
            return other;
        }
        made->next = head;
    } while (!__atomic_compare_exchange_n(&listings, &head, made, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    return made;
}

void server_list(const struct server_ops *ops, void *self, struct buf *out) {
    if (ops->offers) {
        put_tools(ops, self, out);
        return;
    }
    struct listing *head = __atomic_load_n(&listings, __ATOMIC_ACQUIRE);
    struct listing *found = listing_find(head, ops);
    if (!found)
        found = listing_make(ops, head);
    buf_str(out, buf_view(&found->text));
}

/* ---- tools/call ------------------------------------------------------------------ */

static void put_unknown_tool(struct str name, struct buf *out) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_int(&w, "code", RPC_INVALID_PARAMS);
    jw_key(&w, S("message"));
    buf_str(out, S("\"Unknown tool: "));
    json_escape(out, name);
    buf_char(out, '"');
    jw_object_end(&w);
}

static void put_text(struct str text, struct buf *out) {
    buf_str(out, S("{\"type\":\"text\",\"text\":\""));
    json_escape(out, text);
    buf_str(out, S("\"}"));
}

/* structuredContent comes with its text for clients that know no other (P-195). */
static void put_result(const struct tool_result *r, struct buf *out) {
    struct str text = r->text.n ? buf_view(&r->text) : buf_view(&r->structured);
    buf_reserve(out, 2 * text.n + r->structured.n + r->content.n + 128);
    buf_str(out, S("{\"content\":["));
    if (text.n)
        put_text(text, out);
    if (r->content.n) {
        buf_str(out, text.n ? S(",") : S(""));
        buf_str(out, buf_view(&r->content));
    }
    buf_char(out, ']');
    if (r->structured.n) {
        buf_str(out, S(",\"structuredContent\":"));
        buf_str(out, buf_view(&r->structured));
    }
    buf_str(out, r->is_error ? S(",\"isError\":true}") : S("}"));
}

static void put_rpc_error(const struct tool_result *r, struct buf *out) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_int(&w, "code", r->rpc_code);
    jw_put_string(&w, "message", buf_view(&r->text));
    if (r->structured.n)
        jw_put_raw(&w, "data", buf_view(&r->structured));
    jw_object_end(&w);
}

/* One line for each problem, so that the model can mend all of them at once (P-025). */
static void put_problems(const struct tool *tool, const struct field_problems *p,
                         struct buf *text) {
    buf_fmt(text, "Invalid arguments for %s:", tool->name);
    for (size_t i = 0; i < p->n; i++)
        if (!p->items[i].warning)
            buf_fmt(text, "\n%.*s %.*s",
                    STR(p->items[i].path.n ? p->items[i].path : S("arguments")),
                    STR(p->items[i].message));
    if (p->errors > p->n)
        buf_fmt(text, "\nand %zu more", p->errors - p->n);
}

static void put_failure(const struct tool *tool, err_t e, struct buf *text) {
    if (e->kind != ERR_INTERNAL) {
        buf_str(text, str_of(e->text));
        return;
    }
    log_error("tool failed", F("tool", tool->name), F("error", e->text));
    buf_str(text, S("internal error"));
}

static const struct tool *find_tool(const struct server_ops *ops, struct str name) {
    const struct tool *tool;
    for (size_t i = 0; (tool = server_tool(ops, i)); i++)
        if (str_eq(name, str_of(tool->name)))
            return tool;
    return NULL;
}

/* False when they are wrong: then the result says how (P-200). */
static bool read_arguments(const struct tool *tool, struct str text, struct arena *a, void *out,
                           struct tool_result *result) {
    json object = NULL;
    struct field_problems problems; /* its items are written before they are read */
    problems.arena = a;
    problems.lenient = false;
    problems.n = problems.errors = 0;
    field_defaults(tool->args, tool->arg_count, out, a);
    err_t e = text.n ? json_parse(a, text, argument_limits, &object) : OK;
    if (e) {
        buf_fmt(&result->text, "Invalid arguments for %s: %s", tool->name, e->text);
        return false;
    }
    field_read(tool->args, tool->arg_count, object, S(""), out, a, &problems);
    if (problems.errors)
        put_problems(tool, &problems, &result->text);
    return problems.errors == 0;
}

static void result_done(struct tool_result *r) {
    buf_done(&r->structured);
    buf_done(&r->text);
    buf_done(&r->content);
}

/* What a tool had written before it failed is not shown. */
static void result_fail(const struct tool *tool, err_t e, struct tool_result *r) {
    result_done(r);
    r->is_error = true;
    put_failure(tool, e, &r->text);
}

/* P-296 */
static bool lacks_task(const struct tool *tool, const struct call_ctx *c,
                       struct tool_result *result) {
    if (tool->task != TOOL_NEEDS_TASK || c->takes_task)
        return false;
    result->rpc_code = RPC_MISSING_CAPABILITY;
    buf_fmt(&result->text, "%s runs as a task only: declare the extension " TASKS_EXTENSION,
            tool->name);
    buf_str(&result->structured,
            S("{\"requiredCapabilities\":{\"extensions\":{\"" TASKS_EXTENSION "\":{}}}}"));
    return true;
}

/* False: the arguments are wrong, and the result says how. */
static bool run_tool(const struct tool *tool, void *self, struct call_ctx *c, struct str arguments,
                     struct tool_result *result) {
    void *args = &arguments;
    if (!tool->schema) {
        args = arena_zero(c->arena, tool->args_size);
        if (!read_arguments(tool, arguments, c->arena, args, result))
            return false;
    }
    err_t e = tool->run(c, self, args, result);
    if (e)
        result_fail(tool, e, result);
    return true;
}

void server_call(const struct server_ops *ops, void *self, struct call_ctx *c, struct str name,
                 struct str arguments, struct buf *out, bool *failed) {
    const struct tool *tool = find_tool(ops, name);
    *failed = !tool || !offers(ops, self, tool);
    if (*failed) {
        put_unknown_tool(name, out);
        return;
    }
    SCOPED(result_done) struct tool_result result = { 0 };
    buf_reserve(&result.structured, 512); /* most results fit: one allocation */
    if (!lacks_task(tool, c, &result) && !run_tool(tool, self, c, arguments, &result))
        result.is_error = true;
    *failed = result.rpc_code != 0;
    if (*failed)
        put_rpc_error(&result, out);
    else if (result.as_task && !result.is_error)
        buf_str(out, S("{\"resultType\":\"task\"}"));
    else if (result.is_error || !call_put_asked(c, out))
        put_result(&result, out);
}
