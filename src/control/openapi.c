/* openapi.c - the route tables as an OpenAPI 3.1 document. Nothing in it is written by hand
 * but its frame: a row that changes changes the document. */
#include "base/mem.h"
#include "control/routes.h"
#include "mcp/revision.h"

/* ---- schemas ----------------------------------------------------------------------- */

/* An object schema with the members that only the route's author knows. */
static void put_schema(struct jw *w, const struct schema *s) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw inner = jw_init(&b);
    field_schema(s->fields, *s->count, &inner);
    if (s->more && b.n) {
        b.n--; /* its closing brace */
        buf_char(&b, ',');
        buf_str(&b, str_of(s->more));
        buf_char(&b, '}');
    }
    jw_raw(w, buf_view(&b));
}

static void put_ref(struct jw *w, const char *name) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_fmt(&b, "{\"$ref\":\"#/components/schemas/%s\"}", name);
    jw_raw(w, buf_view(&b));
}

static void put_list(struct jw *w, const struct schema *s) {
    jw_object(w);
    jw_put_string(w, "type", S("object"));
    jw_key(w, S("properties"));
    jw_object(w);
    jw_key(w, S("items"));
    jw_object(w);
    jw_put_string(w, "type", S("array"));
    jw_key(w, S("items"));
    put_ref(w, s->name);
    jw_object_end(w);
    jw_put_raw(w, "next_cursor",
               S("{\"type\":\"string\",\"description\":\"Where the next page begins; absent on the "
                 "last.\"}"));
    jw_object_end(w);
    jw_put_raw(w, "required", S("[\"items\"]"));
    jw_put_bool(w, "additionalProperties", false);
    jw_object_end(w);
}

static bool named_before(const struct schema *s, size_t table, size_t row) {
    for (size_t i = 0; i <= table; i++)
        for (size_t k = 0; k < (i < table ? route_tables[i]->count : row); k++) {
            const struct route *r = &route_tables[i]->routes[k];
            if (r->body == s || r->result == s)
                return true;
        }
    return false;
}

static void put_component(struct jw *w, const struct schema *s) {
    jw_key(w, str_of(s->name));
    put_schema(w, s);
}

static void put_components(struct jw *w) {
    for (size_t i = 0; i < route_table_count; i++)
        for (size_t k = 0; k < route_tables[i]->count; k++) {
            const struct route *r = &route_tables[i]->routes[k];
            if (r->body && !named_before(r->body, i, k))
                put_component(w, r->body);
            if (r->result && r->result != r->body && !named_before(r->result, i, k))
                put_component(w, r->result);
        }
}

/* ---- errors ------------------------------------------------------------------------ */

static void put_error_schema(struct jw *w) {
    jw_key(w, S("Error"));
    jw_object(w);
    jw_put_string(w, "type", S("object"));
    jw_key(w, S("properties"));
    jw_object(w);
    jw_key(w, S("error"));
    jw_object(w);
    jw_put_string(w, "type", S("string"));
    jw_put_string(w, "description",
                  S("What it is, for programs; each has a section in the reference."));
    jw_key(w, S("examples"));
    jw_array(w);
    for (size_t i = 0; i < REFUSAL_COUNT; i++)
        jw_string(w, str_of(refusal_rows[i].word));
    jw_array_end(w);
    jw_object_end(w);
    jw_put_raw(
        w, "message",
        S("{\"type\":\"string\",\"description\":\"What, where, and what to do, for people.\"}"));
    jw_put_raw(w, "details",
               S("{\"type\":\"object\",\"description\":\"Of bodies: problems, an array of path and "
                 "message.\"}"));
    jw_put_raw(w, "timestamp", S("{\"type\":\"string\",\"format\":\"date-time\"}"));
    jw_object_end(w);
    jw_put_raw(w, "required", S("[\"error\",\"message\"]"));
    jw_object_end(w);
    jw_put_raw(w, "Problem",
               S("{\"allOf\":[{\"$ref\":\"#/components/schemas/"
                 "Error\"},{\"type\":\"object\",\"properties\":{"
                 "\"type\":{\"type\":\"string\"},\"title\":{\"type\":\"string\"},\"status\":{"
                 "\"type\":\"integer\"},"
                 "\"detail\":{\"type\":\"string\"},\"instance\":{\"type\":\"string\"}}}]}"));
}

static void put_error(struct jw *w, const char *status, struct str description) {
    jw_key(w, str_of(status));
    jw_object(w);
    jw_put_string(w, "description", description);
    jw_put_raw(w, "content",
               S("{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}},"
                 "\"application/problem+json\":{\"schema\":{\"$ref\":\"#/components/schemas/"
                 "Problem\"}}}"));
    jw_object_end(w);
}

static bool can_be(const struct route *r, enum refusal_code code) {
    bool writes = r->body || (r->flags & (ROUTE_IF_MATCH | ROUTE_IF_MATCH_MAY));
    switch (code) {
    case REFUSAL_INVALID: return true;
    case REFUSAL_UNAUTHENTICATED: return r->need != NEED_NOBODY;
    case REFUSAL_DENIED: return r->need == NEED_ADMIN;
    case REFUSAL_NOT_FOUND: return strchr(r->path, '{') != NULL;
    case REFUSAL_ACCEPT: return !r->media;
    case REFUSAL_CONFLICT:
    case REFUSAL_UNPROCESSABLE: return writes;
    case REFUSAL_TOO_LARGE:
    case REFUSAL_MEDIA_TYPE: return r->body != NULL;
    case REFUSAL_PRECONDITION_FAILED: return r->flags & (ROUTE_IF_MATCH | ROUTE_IF_MATCH_MAY);
    case REFUSAL_PRECONDITION_REQUIRED: return r->flags & ROUTE_IF_MATCH;
    case REFUSAL_LIMITED: return r->flags & ROUTE_WAITS;
    case REFUSAL_UPSTREAM:
    case REFUSAL_TIMEOUT: return r->flags & ROUTE_WAITS;
    case REFUSAL_UNAVAILABLE: return true;
    default: return false;
    }
}

static void put_errors(struct jw *w, const struct route *r) {
    for (size_t i = 0; i < REFUSAL_COUNT; i++)
        if (can_be(r, (enum refusal_code)i) && !(refusal_rows[i].status == 503 && r->result &&
                                                 strcmp(r->result->name, "Health") == 0)) {
            char status[8] = { (char)('0' + refusal_rows[i].status / 100),
                               (char)('0' + refusal_rows[i].status / 10 % 10),
                               (char)('0' + refusal_rows[i].status % 10) };
            put_error(w, status, str_of(refusal_rows[i].meaning));
        }
    put_error(w, "default", S("Any other refusal."));
}

/* ---- operations -------------------------------------------------------------------- */

static void put_row_schema(struct jw *w, const struct field *row) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw inner = jw_init(&b);
    field_schema(row, 1, &inner);
    /* {"type":"object","properties":{"NAME":SCHEMA},… */
    struct str properties = json_raw_get(buf_view(&b), S("properties"));
    jw_raw(w, json_raw_get(properties, str_of(row->name)));
}

static void put_query(struct jw *w, const struct schema *s) {
    for (size_t i = 0; s && i < *s->count; i++) {
        const struct field *row = &s->fields[i];
        if (row->flags & FIELD_HIDDEN)
            continue;
        jw_object(w);
        jw_put_string(w, "name", str_of(row->name));
        jw_put_string(w, "in", S("query"));
        jw_put_string(w, "description", str_of(row->help));
        if (row->flags & FIELD_REQUIRED)
            jw_put_bool(w, "required", true);
        if (row->type == FIELD_STRS)
            jw_put_bool(w, "explode", false);
        jw_key(w, S("schema"));
        put_row_schema(w, row);
        jw_object_end(w);
    }
}

static void put_path_params(struct jw *w, const char *path) {
    for (const char *at = path; (at = strchr(at, '{')); at++) {
        struct str name = str_from(at + 1, strcspn(at + 1, "}"));
        jw_object(w);
        jw_put_string(w, "name", name);
        jw_put_string(w, "in", S("path"));
        jw_put_bool(w, "required", true);
        jw_put_raw(w, "schema", S("{\"type\":\"string\",\"minLength\":1}"));
        jw_object_end(w);
    }
}

static void put_header(struct jw *w, const char *name, bool required, struct str schema,
                       struct str description) {
    jw_object(w);
    jw_put_string(w, "name", str_of(name));
    jw_put_string(w, "in", S("header"));
    if (required)
        jw_put_bool(w, "required", true);
    jw_put_string(w, "description", description);
    jw_put_raw(w, "schema", schema);
    jw_object_end(w);
}

static bool is_write(struct str method) {
    return !str_eq(method, S("GET"));
}

static void put_headers(struct jw *w, const struct route *r, struct str method) {
    if (r->flags & (ROUTE_IF_MATCH | ROUTE_IF_MATCH_MAY))
        put_header(
            w, "If-Match", r->flags & ROUTE_IF_MATCH,
            S("{\"type\":\"string\",\"pattern\":\"^(\\\\*|[0-9]{1,18}|\\\"[0-9]{1,18}\\\")$\","
              "\"examples\":[\"*\"]}"),
            S("The ETag of the version to change, or * for any."));
    if (r->run && is_write(method))
        put_header(w, "Idempotency-Key", false,
                   S("{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9_.:-]{8,128}$\"}"),
                   S("Repeating the request with the same key gives the first answer again."));
}

static void put_parameters(struct jw *w, const struct route *r, struct str method) {
    jw_key(w, S("parameters"));
    jw_array(w);
    put_path_params(w, r->path);
    put_query(w, r->query);
    put_headers(w, r, method);
    jw_array_end(w);
}

/* RFC 7396: every member may come, and null takes back what need not be there. */
static void put_merge_schema(struct jw *w, const struct schema *s) {
    jw_object(w);
    jw_put_string(w, "type", S("object"));
    jw_put_string(w, "description",
                  S("Members to change; null takes one back to its default (RFC 7396)."));
    jw_key(w, S("properties"));
    jw_object(w);
    for (size_t i = 0; i < *s->count; i++) {
        SCOPED(buf_done) struct buf b = { 0 };
        if (s->fields[i].flags & FIELD_HIDDEN)
            continue;
        buf_fmt(&b, "{\"$ref\":\"#/components/schemas/%s/properties/%s\"}", s->name,
                s->fields[i].name);
        jw_key(w, str_of(s->fields[i].name));
        jw_object(w);
        jw_key(w, S("anyOf"));
        jw_array(w);
        jw_raw(w, buf_view(&b));
        if (!(s->fields[i].flags & FIELD_REQUIRED))
            jw_raw(w, S("{\"type\":\"null\"}"));
        jw_array_end(w);
        jw_object_end(w);
    }
    jw_object_end(w);
    jw_put_bool(w, "additionalProperties", false);
    jw_object_end(w);
}

/* A body that is taken as it comes. */
static void put_archive(struct jw *w) {
    jw_put_raw(w, "requestBody",
               S("{\"content\":{\"application/"
                 "x-tar\":{\"schema\":{\"type\":\"string\",\"format\":\"binary\"}}}}"));
}

static void put_body(struct jw *w, const struct route *r) {
    if (r->flags & ROUTE_ARCHIVE)
        put_archive(w);
    if (!r->body)
        return;
    jw_key(w, S("requestBody"));
    jw_object(w);
    jw_put_bool(w, "required", true);
    jw_key(w, S("content"));
    jw_object(w);
    jw_key(w, r->flags & ROUTE_MERGE ? S("application/merge-patch+json") : S("application/json"));
    jw_object(w);
    jw_key(w, S("schema"));
    if (r->flags & ROUTE_MERGE)
        put_merge_schema(w, r->body);
    else
        put_ref(w, r->body->name);
    if (r->example)
        jw_put_raw(w, "example", str_of(r->example));
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
}

static void put_content(struct jw *w, const struct route *r) {
    jw_key(w, S("content"));
    jw_object(w);
    jw_key(w, r->media ? str_of(r->media) : S("application/json"));
    jw_object(w);
    jw_key(w, S("schema"));
    if (!r->result)
        jw_raw(w, r->media ? S("{\"type\":\"string\"}") : S("{\"type\":\"object\"}"));
    else if (r->flags & ROUTE_LIST)
        put_list(w, r->result);
    else
        put_ref(w, r->result->name);
    jw_object_end(w);
    jw_object_end(w);
}

static void put_success(struct jw *w, const struct route *r, int status) {
    char text[8] = { (char)('0' + status / 100), (char)('0' + status / 10 % 10),
                     (char)('0' + status % 10) };
    jw_key(w, str_of(text));
    jw_object(w);
    jw_put_string(w, "description", str_of(http_status_text(status)));
    jw_put_raw(w, "headers",
               r->flags & (ROUTE_ETAG | ROUTE_IF_MATCH)
                   ? S("{\"ETag\":{\"schema\":{\"type\":\"string\"}},\"X-Request-Id\":{\"schema\":{"
                       "\"type\":\"string\"}}}")
                   : S("{\"X-Request-Id\":{\"schema\":{\"type\":\"string\"}}}"));
    if (status != 204)
        put_content(w, r);
    jw_object_end(w);
}

static bool is_health(const struct route *r) {
    return r->result && strcmp(r->result->name, "Health") == 0;
}

static void put_responses(struct jw *w, const struct route *r) {
    jw_key(w, S("responses"));
    jw_object(w);
    put_success(w, r, r->status ? r->status : 200);
    if (is_health(r))
        put_success(w, r, 503); /* it says so in the same shape */
    put_errors(w, r);
    jw_object_end(w);
}

static void put_operation(struct jw *w, const struct route_table *table, const struct route *r,
                          struct str method) {
    char lower[16] = { 0 };
    SCOPED(buf_done) struct buf id = { 0 };
    for (size_t i = 0; i < method.n && i < sizeof lower - 1; i++)
        lower[i] = (char)(method.p[i] | 0x20);
    jw_key(w, str_of(lower));
    jw_object(w);
    buf_fmt(&id, "%s_%s", lower, r->path[1] ? r->path + 1 : "root");
    for (size_t i = 0; i < id.n; i++)
        if (strchr("/{}.-", id.p[i]))
            id.p[i] = '_';
    jw_put_string(w, "operationId", buf_view(&id));
    jw_put_string(w, "summary", str_of(r->help));
    jw_key(w, S("tags"));
    jw_array(w);
    jw_string(w, str_of(table->title));
    jw_array_end(w);
    if (r->deprecated)
        jw_put_bool(w, "deprecated", true);
    jw_put_raw(w, "security",
               r->need == NEED_NOBODY ? S("[]") : S("[{\"key\":[]},{\"header\":[]}]"));
    put_parameters(w, r, method);
    put_body(w, r);
    put_responses(w, r);
    jw_object_end(w);
}

/* /mcp speaks JSON-RPC: its messages are described by the protocol, not here. What streams under
 * /api is. */
static bool is_described(const struct route *r) {
    return r->run || strncmp(r->path, "/api/", 5) == 0;
}

static bool path_before(const struct route_table *table, size_t row) {
    for (size_t k = 0; k < row; k++)
        if (strcmp(table->routes[k].path, table->routes[row].path) == 0)
            return true;
    return false;
}

/* Rows of one path stand in one table. */
static void put_path(struct jw *w, const struct route_table *table, size_t row) {
    const char *path = table->routes[row].path;
    jw_key(w, str_of(path));
    jw_object(w);
    for (size_t k = row; k < table->count; k++)
        if (strcmp(table->routes[k].path, path) == 0)
            put_operation(w, table, &table->routes[k], str_of(table->routes[k].methods));
    jw_object_end(w);
}

void openapi_write(struct buf *out) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "openapi", S("3.1.0"));
    jw_put_raw(
        &w, "info",
        S("{\"title\":\"Gatespan\",\"version\":\"" GATESPAN_VERSION "\",\"summary\":"
          "\"Administration and tools of one MCP gateway.\",\"license\":{\"name\":\"Apache-2.0\","
          "\"identifier\":\"Apache-2.0\"}}"));
    jw_put_raw(&w, "servers", S("[{\"url\":\"/\"}]"));
    jw_key(&w, S("paths"));
    jw_object(&w);
    for (size_t i = 0; i < route_table_count; i++)
        for (size_t k = 0; k < route_tables[i]->count; k++)
            if (is_described(&route_tables[i]->routes[k]) && !path_before(route_tables[i], k))
                put_path(&w, route_tables[i], k);
    jw_object_end(&w);
    jw_key(&w, S("components"));
    jw_object(&w);
    jw_key(&w, S("schemas"));
    jw_object(&w);
    put_components(&w);
    put_error_schema(&w);
    jw_object_end(&w);
    jw_put_raw(&w, "securitySchemes",
               S("{\"key\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"A key of the "
                 "gateway: gs_…\"},"
                 "\"header\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-API-Key\"}}"));
    jw_object_end(&w);
    jw_object_end(&w);
}
