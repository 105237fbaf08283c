/* rest_http_tools.c - HTTP operations and OpenAPI documents registered as tools: each registration
 * is a server of the registry whose config has `api`, so it is shown, changed and watched there. */
#include "base/mem.h"
#include "control/rest_items.h"
#include "gateway/api_ops.h"
#include "net/http_url.h"

static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE", NULL };

struct new_tool {
    struct str name, title, description, url;
    int method;
    json input_schema, openapi;
    struct str_list include, tags;
    struct pair_list headers;
    nanos timeout;
    bool allow_link_local;
};
#define T struct new_tool
static const struct field new_tool_fields[] = {
    FIELD(T, name, STR, NULL, "1..32", FIELD_REQUIRED, "The tool's name; of a document the prefix of its tools."),
    FIELD(T, url, STR, NULL, "..4096", 0, "Of one operation: URL with {argument} in path and query; of a document: its base, absent: its first server."),
    FIELD_CHOICE(T, method, methods, "GET", 0, "Of one operation."),
    FIELD(T, title, STR, NULL, "..200", 0, "Of one operation, for people."),
    FIELD(T, description, STR, NULL, "..4096", 0, "Of one operation: what it does, for models."),
    FIELD(T, input_schema, JSON, NULL, NULL, 0, "Of one operation: JSON Schema of its arguments; absent: the texts of the URL."),
    FIELD(T, openapi, JSON, NULL, NULL, 0, "A document of OpenAPI 3.0 or 3.1: each operation becomes a tool."),
    FIELD(T, include, STRS, NULL, "..1000", 0, "Of a document: globs over operations; empty: all."),
    FIELD(T, headers, PAIRS, NULL, "..64", FIELD_PRIVATE, "Sent with every request, such as Authorization."),
    FIELD(T, timeout, DURATION, "30s", "1ms..1h", 0, "Longest wait for one answer."),
    FIELD(T, tags, STRS, NULL, "..32", 0, "Words to find the tools by."),
    FIELD(T, allow_link_local, BOOL, "false", NULL, 0, "Also connect to link-local addresses, where clouds keep credentials."),
};
#undef T
const struct schema new_tool_schema = SCHEMA(
    "NewTool", new_tool_fields, struct new_tool,
    .more = "\"allOf\":[{\"properties\":{\"openapi\":{\"type\":\"object\"},\"input_schema\":{"
            "\"type\":[\"object\",\"boolean\"]}}}]");

/* ---- from a registration to a server's config --------------------------------------------- */

/* "https://host/v1/x" to "https://host" and "/v1/x". */
static void split_url(struct str url, struct str *base, struct str *path) {
    ptrdiff_t scheme = str_find(url, S("://"));
    size_t at = scheme < 0 ? 0 : (size_t)scheme + 3;
    while (at < url.n && url.p[at] != '/' && url.p[at] != '?')
        at++;
    *base = str_head(url, at);
    *path = str_skip(url, at);
}

static void put_operation(struct jw *w, struct arena *a, const struct new_tool *t,
                          struct str path) {
    jw_key(w, S("tools"));
    jw_array(w);
    jw_object(w);
    jw_put_string(w, "name", t->name);
    jw_put_string(w, "method", str_of(methods[t->method]));
    jw_put_string(w, "path", path.n && path.p[0] == '/' ? path : arena_fmt(a, "/%.*s", STR(path)));
    if (t->title.n)
        jw_put_string(w, "title", t->title);
    if (t->description.n)
        jw_put_string(w, "description", t->description);
    if (t->input_schema)
        jw_put_value(w, "input_schema", t->input_schema);
    jw_object_end(w);
    jw_array_end(w);
}

static void put_strs(struct jw *w, const char *key, const struct str_list *list) {
    if (!list->n)
        return;
    jw_key(w, str_of(key));
    jw_array(w);
    for (size_t i = 0; i < list->n; i++)
        jw_string(w, list->items[i]);
    jw_array_end(w);
}

/* The first server's URL with the defaults of its variables (OpenAPI 3.1 §4.8.5); p == NULL when a
 * variable has none. */
static struct str first_server(struct arena *a, json document) {
    json server = json_at(json_get(document, S("servers")), 0);
    struct str rest = json_get_text(server, S("url"));
    SCOPED(buf_done) struct buf b = { 0 };
    while (rest.n) {
        ptrdiff_t open = str_find_char(rest, '{');
        buf_str(&b, open < 0 ? rest : str_head(rest, (size_t)open));
        rest = open < 0 ? S("") : str_skip(rest, (size_t)open + 1);
        ptrdiff_t close = str_find_char(rest, '}');
        if (open < 0)
            break;
        json variable = close < 0 ? NULL
                                  : json_get(json_get(server, S("variables")),
                                             str_head(rest, (size_t)close));
        if (!json_get(variable, S("default")))
            return (struct str){ 0 };
        buf_str(&b, json_get_text(variable, S("default")));
        rest = str_skip(rest, (size_t)close + 1);
    }
    return arena_dup(a, buf_view(&b));
}

/* Without `url` the document says where its API is. */
static err_t find_base(struct rest *r, struct new_tool *t) {
    err_t e = api_check_version(t->openapi);
    if (e)
        return rest_refuse(r, REFUSAL_UNPROCESSABLE, "%s", e->text);
    if (t->url.n)
        return OK;
    t->url = first_server(r->arena, t->openapi);
    if (str_find(t->url, S("://")) >= 0)
        return OK;
    struct str said = json_get_text(json_at(json_get(t->openapi, S("servers")), 0), S("url"));
    return rest_refuse(r, REFUSAL_UNPROCESSABLE, "url is needed: the document %s%.*s%s",
                       said.n ? "only says \"" : "names no server", STR(str_head(said, 200)),
                       said.n ? "\", which is no whole address" : "");
}

static void put_api(struct jw *w, struct arena *a, const struct new_tool *t) {
    struct str base = t->url, path = S("");
    if (!t->openapi)
        split_url(t->url, &base, &path);
    jw_key(w, S("api"));
    jw_object(w);
    jw_put_string(w, "url", base);
    if (t->openapi)
        jw_put_value(w, "openapi", t->openapi);
    else
        put_operation(w, a, t, path);
    put_strs(w, "include", &t->include);
    if (t->allow_link_local)
        jw_put_bool(w, "allow_link_local", true);
    jw_object_end(w);
}

static err_t write_config(struct arena *a, const struct new_tool *t, json *out) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    char timeout[CLOCK_TEXT];
    jw_object(&w);
    put_api(&w, a, t);
    jw_put_bool(&w, "prefix", t->openapi != NULL);
    jw_put_string(&w, "timeout", clock_format_duration(t->timeout, timeout));
    put_strs(&w, "tags", &t->tags);
    jw_key(&w, S("headers"));
    jw_object(&w);
    for (size_t i = 0; i < t->headers.n; i++) {
        jw_key(&w, t->headers.items[i].name);
        jw_string(&w, t->headers.items[i].value);
    }
    jw_object_end(&w);
    jw_object_end(&w);
    return json_parse(a, arena_dup(a, buf_view(&b)), (struct json_limits){ 0 }, out);
}

/* ---- handlers ------------------------------------------------------------------------------- */

err_t tools_add(struct rest *r) {
    struct new_tool t = *(const struct new_tool *)r->body;
    json config;
    if (!t.openapi && !t.url.n)
        return rest_refuse(r, REFUSAL_UNPROCESSABLE, "url or openapi is needed");
    if (t.openapi)
        TRY(find_base(r, &t));
    TRY(write_config(r->arena, &t, &config));
    TRY(items_add(r, &server_resource, t.name, config));
    return server_answer(r, t.name);
}

static bool is_api(struct rest *r, const struct item *item) {
    json config = NULL;
    return !json_parse(r->arena, item->config, (struct json_limits){ 0 }, &config) &&
           json_get_text(json_get(config, S("api")), S("url")).n;
}

/* By the name of the registration; a tool of another server goes with that server. */
err_t tools_remove(struct rest *r) {
    struct item item;
    err_t e = items_find(r, &server_resource, r->params[0], &item);
    if (!e && is_api(r, &item))
        return items_remove(r, &server_resource);
    if (e && e->kind != ERR_NOT_FOUND)
        return e;
    const struct entry *entry = catalogue_find(r->visit->snapshot->catalogue, ITEM_TOOL,
                                               r->params[0]);
    if (!entry)
        return ERR(NOT_FOUND, "there is no tool \"%.*s\"", STR(str_head(r->params[0], 100)));
    struct str owner = r->visit->snapshot->upstreams[entry->upstream]->conf->name;
    return rest_refuse(r, REFUSAL_CONFLICT,
                       "tool %.*s is one of upstream %.*s: change or remove that at "
                       "/api/v1/proxy/servers/%.*s",
                       STR(r->params[0]), STR(owner), STR(owner));
}
