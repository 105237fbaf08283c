/* rest_tools.c - the catalogue's tools over REST: list, search, show, execute.
 *
 * What a caller sees and may call is the access set of MCP (gateway_view), and a call takes the
 * very steps of MCP (exchange.h): this file is only another face of them. */
#include "base/log.h"
#include "base/mem.h"
#include "control/private.h"
#include "control/rest.h"
#include "control/rest_items.h"
#include "control/rest_routes.h"
#include "gateway/exchange.h"

/* ---- what a tool looks like ---------------------------------------------------------- */

struct tool_item {
    struct str name, title, description, upstream, state;
    struct str_list tags;
    bool safe_to_repeat;
    json input_schema, output_schema, annotations, meta;
};
#define T struct tool_item
static const struct field tool_fields[] = {
    FIELD(T, name, STR, NULL, NULL, 0, "The name that clients call."),
    FIELD(T, title, STR, NULL, NULL, 0, "For people."),
    FIELD(T, description, STR, NULL, NULL, 0, "What it does."),
    FIELD(T, upstream, STR, NULL, NULL, 0, "Whose tool it is."),
    FIELD(T, state, STR, NULL, NULL, 0, "State of that upstream: starting, ready, failed or stopped."),
    FIELD(T, tags, STRS, NULL, NULL, 0, "Of the upstream's option tags and of the tool's _meta."),
    FIELD(T, safe_to_repeat, BOOL, NULL, NULL, 0, "It says that it only reads, or may be repeated."),
    FIELD(T, input_schema, JSON, NULL, NULL, 0, "JSON Schema of its arguments; in lists with schemas=true."),
    FIELD(T, output_schema, JSON, NULL, NULL, 0, "JSON Schema of its structured result."),
    FIELD(T, annotations, JSON, NULL, NULL, 0, "Hints of the tool, as its server gives them."),
    FIELD(T, meta, JSON, NULL, NULL, 0, "Its _meta, as its server gives it."),
};
#undef T
static const struct schema tool_schema = SCHEMA("Tool", tool_fields, struct tool_item);

static void add_tags(struct str_list *list, size_t room, json tags) {
    for (struct json_iter it = json_iter(tags); json_next(&it) && list->n < room;)
        if (json_type(it.value) == JSON_STRING)
            list->items[list->n++] = json_text(it.value);
}

/* Servers have no one place for tags: ours, the plain one and those of FastMCP. */
static struct str_list tags_of(struct arena *a, const struct str_list *own, json meta) {
    enum { ROOM = 64 };
    struct str_list list = { .items = ARENA_ARRAY(a, struct str, ROOM) };
    for (size_t i = 0; i < own->n && i < ROOM; i++)
        list.items[list.n++] = own->items[i];
    add_tags(&list, ROOM, json_get(meta, S("gatespan/tags")));
    add_tags(&list, ROOM, json_get(meta, S("tags")));
    add_tags(&list, ROOM, json_get(json_get(meta, S("fastmcp")), S("tags")));
    add_tags(&list, ROOM, json_get(json_get(meta, S("_fastmcp")), S("tags")));
    return list;
}

static struct tool_item tool_of(struct rest *r, const struct entry *e, struct str name) {
    struct upstream *u = r->visit->snapshot->upstreams[e->upstream];
    json raw = NULL;
    err_t broken = json_parse(r->arena, e->raw, (struct json_limits){ 0 }, &raw);
    json annotations = broken ? NULL : json_get(raw, S("annotations"));
    struct str title = json_get_text(raw, S("title"));
    return (struct tool_item){
        .name = name, .title = title.n ? title : json_get_text(annotations, S("title")),
        .description = json_get_text(raw, S("description")), .upstream = u->conf->name,
        .state = str_of(upstream_state_word(atomic_load(&u->state))), .safe_to_repeat = e->safe_to_repeat,
        .tags = tags_of(r->arena, &u->conf->tags, json_get(raw, S("_meta"))),
        .input_schema = json_get(raw, S("inputSchema")), .output_schema = json_get(raw, S("outputSchema")),
        .annotations = annotations, .meta = json_get(raw, S("_meta")),
    };
}

/* ---- which the caller sees ----------------------------------------------------------- */

struct shown {
    struct str name;
    const struct entry *entry;
};
struct shown_list {
    struct shown *items;
    size_t n;
};

static err_t find_profile(struct rest *r, struct str name, const struct profile_conf **out) {
    if (snapshot_profile_for(r->visit->snapshot, r->who, name, out))
        return OK;
    return name.n ? ERR(NOT_FOUND, "there is no profile \"%.*s\" for this key", STR(name))
                  : ERR(NOT_FOUND, "this key is for profiles; name one with ?profile=");
}

static int by_name(const void *x, const void *y) {
    return str_cmp(((const struct shown *)x)->name, ((const struct shown *)y)->name);
}

static struct shown_list list_shown(struct rest *r, const struct profile_conf *profile) {
    const struct snapshot *s = r->visit->snapshot;
    const struct catalogue *c = s->catalogue;
    struct view *view = gateway_view(gateway_here(r->request->worker), s, r->who, profile);
    struct shown_list list = { .items = ARENA_ARRAY(r->arena, struct shown,
                                                    c->counts[ITEM_TOOL] + 1) };
    for (size_t i = 0; i < c->counts[ITEM_TOOL]; i++) {
        const struct entry *e = &c->entries[ITEM_TOOL][i];
        struct str name = catalogue_name(profile, e);
        if (name.n && access_has(view->access, e->index))
            list.items[list.n++] = (struct shown){ name, e };
    }
    qsort(list.items, list.n, sizeof *list.items, by_name);
    return list;
}

/* ---- listing ------------------------------------------------------------------------- */

struct tools_query {
    struct page_query page;
    struct str q, upstream, tag, profile;
    bool schemas;
};
#define T struct tools_query
static const struct field tools_query_fields[] = {
    PAGE_ROWS(T),
    FIELD(T, q, STR, NULL, "..200", 0, "Words that all stand in name, title or description."),
    FIELD(T, upstream, STR, NULL, "..64", 0, "Only tools of this upstream."),
    FIELD(T, tag, STR, NULL, "..200", 0, "Only tools with this tag."),
    FIELD(T, profile, STR, NULL, "..64", 0, "The selection and names of a profile."),
    FIELD(T, schemas, BOOL, "false", NULL, 0, "With schemas, annotations and _meta."),
};
static const struct field search_query_fields[] = {
    PAGE_ROWS(T),
    FIELD(T, q, STR, NULL, "1..200", FIELD_REQUIRED, "Words that all stand in name, title or description."),
    FIELD(T, upstream, STR, NULL, "..64", 0, "Only tools of this upstream."),
    FIELD(T, tag, STR, NULL, "..200", 0, "Only tools with this tag."),
    FIELD(T, profile, STR, NULL, "..64", 0, "The selection and names of a profile."),
    FIELD(T, schemas, BOOL, "false", NULL, 0, "With schemas, annotations and _meta."),
};
#undef T
static const struct schema tools_query = SCHEMA("ToolsQuery", tools_query_fields,
                                                struct tools_query);
static const struct schema search_query = SCHEMA("ToolsSearch", search_query_fields,
                                                 struct tools_query);

static bool contains_nocase(struct str text, struct str word) {
    for (size_t i = 0; i + word.n <= text.n; i++)
        if (str_eq_nocase(str_from(text.p + i, word.n), word))
            return true;
    return word.n == 0;
}

static bool has_words(const struct tool_item *t, struct str words) {
    while (words.p) {
        struct str word = str_cut(&words, ' ');
        if (!contains_nocase(t->name, word) && !contains_nocase(t->title, word) &&
            !contains_nocase(t->description, word))
            return false;
    }
    return true;
}

static bool has_tag(const struct tool_item *t, struct str tag) {
    for (size_t i = 0; i < t->tags.n; i++)
        if (str_eq(t->tags.items[i], tag))
            return true;
    return tag.n == 0;
}

static bool is_wanted(const struct tool_item *t, const struct tools_query *q) {
    return (!q->upstream.n || str_eq(q->upstream, t->upstream)) && has_tag(t, q->tag) &&
           (!q->q.n || has_words(t, q->q));
}

static void write_tool(struct rest *r, struct tool_item *t, bool schemas) {
    if (!schemas)
        t->input_schema = t->output_schema = t->annotations = t->meta = NULL;
    field_write(tool_fields, ARRAY_SIZE(tool_fields), t, &r->w);
}

static err_t tools_list(struct rest *r) {
    const struct tools_query *q = r->query;
    const struct profile_conf *profile;
    struct page page;
    TRY(find_profile(r, q->profile, &profile));
    struct shown_list all = list_shown(r, profile);
    TRY(page_begin(r, &q->page, &page));
    for (size_t i = 0; i < all.n && !page.more; i++) {
        if (page.after.p && str_cmp(all.items[i].name, page.after) <= 0)
            continue; /* before it is parsed */
        struct tool_item t = tool_of(r, all.items[i].entry, all.items[i].name);
        if (is_wanted(&t, q) && page_wants(&page, t.name))
            write_tool(r, &t, q->schemas);
    }
    page_end(&page);
    return OK;
}

struct profile_query {
    struct str profile;
};
static const struct field profile_query_fields[] = {
    FIELD(struct profile_query, profile, STR, NULL, "..64", 0, "The selection and names of a profile."),
};
static const struct schema profile_query = SCHEMA("ProfileQuery", profile_query_fields,
                                                  struct profile_query);

static err_t find_tool(struct rest *r, struct str profile_name, struct shown *out) {
    const struct profile_conf *profile;
    TRY(find_profile(r, profile_name, &profile));
    struct shown_list all = list_shown(r, profile);
    for (size_t i = 0; i < all.n; i++)
        if (str_eq(all.items[i].name, r->params[0])) {
            *out = all.items[i];
            return OK;
        }
    return ERR(NOT_FOUND, "there is no tool \"%.*s\" for this key; GET /api/v1/tools lists them",
               STR(str_head(r->params[0], 100)));
}

static err_t tools_show(struct rest *r) {
    const struct profile_query *q = r->query;
    struct shown found;
    TRY(find_tool(r, q->profile, &found));
    struct tool_item t = tool_of(r, found.entry, found.name);
    write_tool(r, &t, true);
    return OK;
}

/* ---- executing ----------------------------------------------------------------------- */

struct execute {
    json arguments;
    nanos timeout;
};
#define T struct execute
static const struct field execute_fields[] = {
    FIELD(T, arguments, JSON, NULL, NULL, 0, "Object that the tool's input schema describes; absent: {}."),
    FIELD(T, timeout, DURATION, "0s", "0s..1h", 0, "Longest wait; 0: the upstream's own."),
};
#undef T
static const struct schema execute_body = SCHEMA(
    "Execute", execute_fields, struct execute,
    .more = "\"allOf\":[{\"properties\":{\"arguments\":{\"type\":\"object\"}}}]");

struct executed {
    struct str request_id, upstream;
    bool is_error;
    int64_t duration_ms;
    json content, structured, meta;
};
#define T struct executed
static const struct field executed_fields[] = {
    FIELD(T, content, JSON, NULL, NULL, 0, "Blocks of the result, as MCP has them."),
    FIELD(T, structured, JSON, NULL, NULL, 0, "The structured result, where the tool has one."),
    FIELD(T, is_error, BOOL, NULL, NULL, 0, "The tool says that it failed; content says why."),
    FIELD(T, meta, JSON, NULL, NULL, 0, "_meta of the result."),
    FIELD(T, upstream, STR, NULL, NULL, 0, "Who answered."),
    FIELD(T, request_id, STR, NULL, NULL, 0, "Id of the call in log and history."),
    FIELD(T, duration_ms, INT, NULL, NULL, 0, "Time it took."),
};
#undef T
static const struct schema executed_schema = SCHEMA("Executed", executed_fields, struct executed);

/* The face: one answer, kept until the exchange is over. */
struct rest_face {
    struct exchange x;
    struct buf answer;
};

static err_t face_notify(struct exchange *x, const struct str *pieces, size_t n) {
    return OK; /* can_stream is false: nobody asked */
}

static void face_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    struct rest_face *f = x->face_self;
    for (size_t i = 0; i < n; i++)
        buf_str(&f->answer, pieces[i]);
}

static struct push_stream *face_open_stream(struct exchange *x) {
    return NULL;
}

static const struct face_ops rest_face_ops = {
    .notify = face_notify, .answer = face_answer, .open_stream = face_open_stream,
};

static struct str message_of(struct rest *r, struct str arguments) {
    struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    jw_put_string(&w, "id", r->request->id);
    jw_put_string(&w, "method", S("tools/call"));
    jw_key(&w, S("params"));
    jw_object(&w);
    jw_put_string(&w, "name", r->params[0]);
    jw_put_raw(&w, "arguments", arguments.n ? arguments : S("{}"));
    jw_object_end(&w);
    jw_object_end(&w);
    struct str text = arena_dup(r->arena, buf_view(&b));
    buf_done(&b);
    return text;
}

static err_t begin_exchange(struct rest *r, struct rest_face *f, const struct profile_query *q) {
    struct exchange *x = &f->x;
    const struct gateway_conf *conf = r->visit->snapshot->conf;
    const struct profile_conf *profile;
    TRY(find_profile(r, q->profile, &profile));
    *x = (struct exchange){
        .face = &rest_face_ops, .face_self = f, .gw = gateway_here(r->request->worker), .task = r->task,
        .arena = r->arena, .snapshot = r->visit->snapshot, .who = r->who, .profile = profile,
        .profile_name = q->profile, .era = ERA_LEGACY, .revision = LATEST_LEGACY, .began = r->request->began,
        .request_id = r->request->id,
    };
    struct str text = message_of(r, json_raw_get(r->request->body, S("arguments")));
    enum envelope_fault fault = envelope_scan(
        text, (struct envelope_limits){ .depth = (unsigned)conf->limits.json_depth }, &x->in);
    if (fault)
        return ERR(INVALID, "arguments: %s", envelope_fault_text(fault));
    exchange_read_method(x);
    return OK;
}

/* ---- from what the exchange answered to HTTP ------------------------------------------ */

static enum refusal_code code_by_word(struct str word) {
    for (size_t i = 0; i < REFUSAL_COUNT; i++)
        if (str_eq(word, str_of(refusal_rows[i].word)))
            return (enum refusal_code)i;
    return REFUSAL_UPSTREAM;
}

/* Who was not found, who was refused: the words of exchange.c and of base/err.h. */
static enum refusal_code code_of(const struct exchange *x) {
    struct str outcome = str_of(x->outcome ? x->outcome : "internal");
    if (!x->entry && x->rpc_code == RPC_INVALID_PARAMS)
        return REFUSAL_NOT_FOUND;
    if (str_eq(outcome, S("method_not_found")))
        return REFUSAL_NOT_FOUND; /* nobody offers any tool */
    if (x->rpc_code == RPC_INVALID_PARAMS)
        return REFUSAL_UNPROCESSABLE;
    return code_by_word(outcome);
}

static err_t refuse_call(struct rest *r, const struct exchange *x, json error) {
    struct jw w = jw_init(&r->details);
    jw_object(&w);
    jw_put_int(&w, "code", x->rpc_code);
    if (x->upstream)
        jw_put_string(&w, "upstream", x->upstream->conf->name);
    if (json_get(error, S("data")))
        jw_put_value(&w, "data", json_get(error, S("data")));
    jw_object_end(&w);
    r->retry_after = x->retry_after;
    struct str text = json_get_text(error, S("message"));
    return rest_refuse(r, code_of(x), "%.*s", STR(str_head(text, 300)));
}

static err_t write_executed(struct rest *r, const struct exchange *x, json result) {
    struct executed out = {
        .content = json_get(result, S("content")), .structured = json_get(result, S("structuredContent")),
        .meta = json_get(result, S("_meta")), .request_id = r->request->id,
        .upstream = x->upstream ? x->upstream->conf->name : S(""),
        .duration_ms = (task_now(r->task) - r->request->began) / NANOS_MS,
    };
    json_is_bool(json_get(result, S("isError")), &out.is_error);
    field_write(executed_fields, ARRAY_SIZE(executed_fields), &out, &r->w);
    return OK;
}

static err_t run_exchange(struct rest *r, struct rest_face *f, nanos timeout) {
    struct exchange *x = &f->x;
    if (gateway_is_full(x->gw, x->snapshot))
        return rest_refuse(r, REFUSAL_OVERLOAD, "too many requests are in flight");
    SCOPED(deadline_scope)
    struct deadline d = deadline_push(r->task, timeout ? timeout : NANOS_SEC * 86400);
    exchange_run(x);
    if (!f->answer.n)
        return ERR(CANCELLED, "the call was cancelled");
    json message = NULL;
    size_t most = (size_t)-1;
    TRY_WRAP(json_parse(r->arena, buf_view(&f->answer),
                        (struct json_limits){ .bytes = most, .depth = 1000 }, &message),
             "the answer of upstream %.*s", STR(x->upstream ? x->upstream->conf->name : S("")));
    json result = json_get(message, S("result"));
    return result ? write_executed(r, x, result) : refuse_call(r, x, json_get(message, S("error")));
}

static err_t tools_execute(struct rest *r) {
    const struct execute *body = r->body;
    struct rest_face f = { 0 };
    enum json_type type = json_type(body->arguments);
    if (type != JSON_ABSENT && type != JSON_OBJECT)
        return ERR(INVALID, "arguments must be an object");
    TRY(begin_exchange(r, &f, r->query));
    err_t e = run_exchange(r, &f, body->timeout);
    buf_done(&f.answer);
    return e;
}

/* ---- rows ---------------------------------------------------------------------------- */

static const struct route rows[] = {
    ROUTE(GET, "/api/v1/tools", KEY, tools_list, "Tools that the caller may use, by name.", .query = &tools_query,
          .result = &tool_schema, .flags = ROUTE_LIST),
    ROUTE(POST, "/api/v1/tools", ADMIN, tools_add,
          "Registers an HTTP operation or an OpenAPI document: a server whose tools are its operations.",
          .query = &wait_query, .body = &new_tool_schema, .result = &server_schema, .status = 201, .flags = ROUTE_ETAG,
          .example = "{\"name\":\"health\",\"url\":\"http://127.0.0.1:8000/health\",\"description\":\"Asks whether the process answers.\"}"),
    ROUTE(GET, "/api/v1/tools/search", KEY, tools_list, "The same for words.", .query = &search_query,
          .result = &tool_schema, .flags = ROUTE_LIST),
    ROUTE(GET, "/api/v1/tools/{name}", KEY, tools_show, "One tool with its schemas.", .query = &profile_query,
          .result = &tool_schema),
    ROUTE(DELETE, "/api/v1/tools/{name}", ADMIN, tools_remove, "Removes what was registered under that name.", .status = 204,
          .flags = ROUTE_IF_MATCH_MAY),
    ROUTE(POST, "/api/v1/tools/{name}/execute", KEY, tools_execute, "Calls a tool and waits for its result.",
          .query = &profile_query, .body = &execute_body, .result = &executed_schema, .flags = ROUTE_WAITS,
          .example = "{\"arguments\":{\"timezone\":\"Europe/Paris\"}}"),
};
const struct route_table tool_routes = { "tools", rows, ARRAY_SIZE(rows) };
