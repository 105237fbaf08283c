/* routes.c - see routes.h: which tables there are, and what is decided from a head alone. */
#include "control/routes.h"
#include "base/mem.h"
#include "control/private.h"
#include "control/rest.h"
#include "control/rest_routes.h"
#include "gateway/face_http.h"
#include "gateway/face_method.h"
#include "gateway/line.h"

/* One method of MCP as a path: the body is its message or just its params. */
#define MCP_METHOD(method, id_, help_)                                                             \
    { .methods = "POST", .path = "/mcp/v1/" method, .need = NEED_KEY, .serve = face_method_serve,  \
      .id = id_, .help = help_ }

static const struct route mcp_rows[] = {
    { .methods = "POST GET DELETE", .path = "/mcp", .need = NEED_KEY, .style = REFUSE_RPC, .serve = face_http_serve,
      .id = "mcp", .help = "MCP over Streamable HTTP, every revision of the protocol." },
    { .methods = "POST GET DELETE", .path = "/mcp/{profile}", .need = NEED_KEY, .style = REFUSE_RPC,
      .serve = face_http_serve, .id = "mcp_profile", .help = "The same for one profile: a selection of the catalogue." },
    MCP_METHOD("initialize", "mcp_initialize", "Opens a session."),
    MCP_METHOD("tools/list", "mcp_tools_list", "Lists tools."),
    MCP_METHOD("tools/call", "mcp_tools_call", "Calls a tool."),
    MCP_METHOD("resources/list", "mcp_resources_list", "Lists resources."),
    MCP_METHOD("resources/read", "mcp_resources_read", "Reads a resource."),
    MCP_METHOD("prompts/list", "mcp_prompts_list", "Lists prompts."),
    MCP_METHOD("prompts/get", "mcp_prompts_get", "Fills a prompt in."),
    { .methods = "GET", .path = "/sse", .need = NEED_KEY, .serve = line_serve_sse, .id = "sse", .media = "text/event-stream",
      .help = "HTTP+SSE of revision 2024-11-05: the stream; its first event names where to post." },
    { .methods = "GET", .path = "/sse/{profile}", .need = NEED_KEY, .serve = line_serve_sse, .id = "sse_profile",
      .media = "text/event-stream", .help = "The same for one profile." },
    { .methods = "POST", .path = "/messages", .need = NEED_KEY, .serve = line_serve_message, .id = "messages",
      .help = "HTTP+SSE of revision 2024-11-05: a message; its answer comes on the stream." },
    { .methods = "POST", .path = "/messages/{profile}", .need = NEED_KEY, .serve = line_serve_message,
      .id = "messages_profile", .help = "The same for one profile." },
};
static const struct route_table mcp_routes = { "mcp", mcp_rows, ARRAY_SIZE(mcp_rows) };

const struct route_table *const route_tables[] = {
    &mcp_routes, &history_routes, &tool_routes, &server_routes, &profile_routes, &key_routes,
    &health_routes, &reference_routes, &backup_routes,
    &explain_routes, &log_routes,
};
const size_t route_table_count = ARRAY_SIZE(route_tables);

/* ---- from the head alone ------------------------------------------------------------ */

static struct control *control_of(const struct http_request *r) {
    return r->service->arg;
}

static bool mentions(struct str list, const char *word) {
    return str_find(list, str_of(word)) >= 0;
}

/* No header means everything. What answers with anything but JSON has one form only. */
static bool accepts_json(const struct http_request *r) {
    struct str accept = r->head->known[HTTP_ACCEPT];
    return !accept.p || mentions(accept, "*/*") || mentions(accept, "application/json") ||
           mentions(accept, "application/*") || mentions(accept, "application/problem+json");
}

static bool has_content(const struct http_request *r) {
    return r->head->content_length > 0 || r->head->chunked;
}

static bool is_media(const struct http_request *r, struct str want) {
    struct str type = r->head->known[HTTP_CONTENT_TYPE];
    return type.p && str_eq_nocase(str_trim(str_cut(&type, ';')), want);
}

static int check_head(struct http_request *r, const struct route *route, size_t max_body) {
    if (!route->media && !accepts_json(r))
        return visit_refuse(NULL, r, REFUSE_API, 406, "accept",
                            "Accept must allow application/json");
    if (r->head->content_length > (int64_t)max_body)
        return visit_refuse(NULL, r, REFUSE_API, 413, "too_large",
                            "The body is larger than limits.body allows (%zu bytes)", max_body);
    if (!route->body || !has_content(r) || is_media(r, S("application/json")))
        return 0;
    bool merge = route->flags & ROUTE_MERGE;
    if (merge && is_media(r, S("application/merge-patch+json")))
        return 0;
    return visit_refuse(NULL, r, REFUSE_API, 415, "media_type", "Content-Type must be %s",
                        merge ? "application/merge-patch+json or application/json"
                              : "application/json");
}

static int refuse_method(struct http_request *r, const struct route *some) {
    struct str allow = route_allow(route_tables, route_table_count, some->path, &r->arena);
    struct str text = arena_fmt(&r->arena, "This path takes %.*s", STR(allow));
    struct http_field field = { S("allow"), allow };
    return visit_refuse_with(NULL, r, &(struct refusal){
        .style = some->style, .status = 405, .word = S("method"), .message = text }, &field, 1);
}

static int answer_options(struct http_request *r, const struct route *some) {
    struct str allow = route_allow(route_tables, route_table_count, some->path, &r->arena);
    return visit_admit(r, control_gateway(control_of(r)), NEED_NOBODY, some->style, allow);
}

/* What calls of tools ask for; everything else may take its time. */
static const struct route_match at_mcp = { .route = &mcp_rows[0] };

static bool is_mcp(const struct http_head *h) {
    return h->path.n == 4 && memcmp(h->path.p, "/mcp", 4) == 0 &&
           (str_eq(h->method, S("POST")) || str_eq(h->method, S("GET")) ||
            str_eq(h->method, S("DELETE")));
}

static int admit_match(struct http_request *r, const struct route_match *m, size_t *max_body) {
    const struct route *route = m->route;
    int status = visit_admit(r, control_gateway(control_of(r)), route->need, route->style, S(""));
    struct visit *v = r->user;
    v->route = route; /* of refusals too: they are counted by it */
    if (status)
        return status;
    v->rest = m->params[0];
    v->more = m->params[1];
    *max_body = (size_t)v->snapshot->conf->limits.body;
    return route->run ? check_head(r, route, *max_body) : 0;
}

static int admit(struct http_request *r, size_t *max_body) {
    struct route_match m;
    struct str method = r->head->method;
    if (is_mcp(r->head))
        return admit_match(r, &at_mcp, max_body);
    switch (route_find(route_tables, route_table_count, r->head->path, method, &m)) {
    case ROUTE_NO_PATH:
        return visit_refuse(NULL, r, REFUSE_API, 404, "not_found", "There is nothing at this path");
    case ROUTE_NO_METHOD:
        return str_eq(method, S("OPTIONS")) ? answer_options(r, m.route)
                                            : refuse_method(r, m.route);
    default:
        return admit_match(r, &m, max_body);
    }
}

static void serve(struct task *t, struct http_request *r) {
    const struct visit *v = r->user;
    const struct route *route = v->route;
    if (route->run)
        rest_serve(t, r);
    else
        route->serve(t, r);
}

struct http_service routes_service(struct control *c) {
    return (struct http_service){
        .admit = admit, .serve = serve, .done = account_request, .release = visit_release, .arg = c
    };
}
