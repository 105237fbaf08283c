/* task.c - see task.h. */
#include "mcp/task.h"
#include "base/mem.h"

static const struct str words[MCP_TASK_STATUSES] = {
    [MCP_TASK_WORKING] = S_INIT("working"),     [MCP_TASK_INPUT_REQUIRED] = S_INIT("input_required"),
    [MCP_TASK_COMPLETED] = S_INIT("completed"), [MCP_TASK_FAILED] = S_INIT("failed"),
    [MCP_TASK_CANCELLED] = S_INIT("cancelled"),
};

#define RELATED "io.modelcontextprotocol/related-task"

struct str mcp_task_status_word(enum mcp_task_status s) {
    return words[s];
}

/* ---- reading ----------------------------------------------------------------------- */

static bool is(struct str raw, char first) {
    return raw.n && raw.p[0] == first;
}

static bool read_status(struct str raw, enum mcp_task_status *out) {
    for (int s = 0; raw.n > 2 && s < MCP_TASK_STATUSES; s++)
        if (raw.p[0] == '"' && str_eq(words[s], str_from(raw.p + 1, raw.n - 2))) {
            *out = (enum mcp_task_status)s;
            return true;
        }
    return false;
}

/* -1 for null and for what is absent; other numbers than whole ones make no sense. */
static bool read_ms(struct str raw, int64_t *out) {
    *out = -1;
    if (!raw.p || str_eq(raw, S("null")))
        return true;
    return str_to_i64(raw, out) && *out >= 0;
}

static err_t misses(const char *member) {
    return ERR(UPSTREAM, "a task without a valid \"%s\"", member);
}

static err_t read_times(struct str raw, enum revision from, struct mcp_task *t) {
    bool modern = from >= R26;
    t->created = json_raw_get(raw, S("createdAt"));
    t->updated = json_raw_get(raw, S("lastUpdatedAt"));
    if (!is(t->created, '"'))
        return misses("createdAt");
    if (!is(t->updated, '"'))
        t->updated = t->created;
    if (!read_ms(json_raw_get(raw, modern ? S("ttlMs") : S("ttl")), &t->ttl))
        return misses(modern ? "ttlMs" : "ttl");
    if (!read_ms(json_raw_get(raw, modern ? S("pollIntervalMs") : S("pollInterval")), &t->poll))
        t->poll = -1;
    return OK;
}

static err_t read_outcome(struct str raw, struct mcp_task *t) {
    t->requests = json_raw_get(raw, S("inputRequests"));
    t->result = json_raw_get(raw, S("result"));
    t->error = json_raw_get(raw, S("error"));
    if (t->status == MCP_TASK_INPUT_REQUIRED && !is(t->requests, '{'))
        return misses("inputRequests");
    if (t->status == MCP_TASK_COMPLETED && !is(t->result, '{'))
        return misses("result");
    if (t->status == MCP_TASK_FAILED && !is(t->error, '{'))
        return misses("error");
    return OK;
}

err_t mcp_task_read(struct arena *a, struct str raw, enum revision from, struct mcp_task *out) {
    struct mcp_task t = { 0 };
    struct str id = json_raw_get(raw, S("taskId"));
    if (!is(id, '"') || id.n <= 2 || id.n > MCP_TASK_ID)
        return misses("taskId");
    t.id = json_unquote(a, id);
    if (!read_status(json_raw_get(raw, S("status")), &t.status))
        return misses("status");
    t.message = json_raw_get(raw, S("statusMessage"));
    if (!is(t.message, '"'))
        t.message = (struct str){ 0 };
    TRY(read_times(raw, from, &t));
    /* the answer that creates it has none of it yet (P-293) */
    if (from >= R26 && !str_eq(json_raw_get(raw, S("resultType")), S("\"task\"")))
        TRY(read_outcome(raw, &t));
    *out = t;
    return OK;
}

/* ---- writing ----------------------------------------------------------------------- */

static void put_ms(struct jw *w, const char *name, int64_t ms) {
    if (ms >= 0)
        jw_put_int(w, name, ms);
    else
        jw_put_raw(w, name, S("null"));
}

void mcp_task_write(struct jw *w, const struct mcp_task *t, enum revision to) {
    bool modern = to >= R26;
    jw_put_string(w, "taskId", t->id);
    jw_put_string(w, "status", words[t->status]);
    if (t->message.p)
        jw_put_raw(w, "statusMessage", t->message);
    jw_put_raw(w, "createdAt", t->created);
    jw_put_raw(w, "lastUpdatedAt", t->updated);
    put_ms(w, modern ? "ttlMs" : "ttl", t->ttl);
    if (t->poll >= 0)
        jw_put_int(w, modern ? "pollIntervalMs" : "pollInterval", t->poll);
}

static void put_members(struct jw *w, struct str object, struct str except) {
    for (struct json_members m = json_members(object); json_member(&m);)
        if (!str_eq(m.key, except)) { /* keys are raw already */
            buf_fmt(w->out, "%s\"%.*s\":%.*s", w->comma ? "," : "", STR(m.key), STR(m.value));
            w->comma = true;
        }
}

static void put_meta(struct jw *w, struct str meta, struct str id) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw inner = jw_init(&b);
    jw_object(&inner);
    put_members(&inner, meta, S(RELATED));
    if (id.n) {
        jw_key(&inner, S(RELATED));
        jw_object(&inner);
        jw_put_string(&inner, "taskId", id);
        jw_object_end(&inner);
    }
    jw_object_end(&inner);
    if (b.n > 2)
        jw_put_raw(w, "_meta", buf_view(&b));
}

void mcp_task_put_related(struct buf *out, struct str result, struct str id) {
    struct jw w = jw_init(out);
    jw_object(&w);
    put_members(&w, result, S("_meta"));
    put_meta(&w, json_raw_get(result, S("_meta")), id);
    jw_object_end(&w);
}

size_t mcp_task_unanswered(struct buf *out, struct str requests, struct str responses) {
    size_t n = 0;
    buf_char(out, '{');
    for (struct json_members m = json_members(requests); json_member(&m);)
        if (!json_raw_get(responses, m.key).p)
            buf_fmt(out, "%s\"%.*s\":%.*s", n++ ? "," : "", STR(m.key), STR(m.value));
    buf_char(out, '}');
    return n;
}
