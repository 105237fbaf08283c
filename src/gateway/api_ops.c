/* api_ops.c - see api_ops.h. */
#include "gateway/api_ops.h"
#include "base/log.h"
#include "base/mem.h"
#include "mcp/json_schema.h"
#include "net/http1.h"

enum { MOST_OPS = 1000, MOST_PARAMS = 64, DEPTH = 48, NODES = 8000 };

struct compile {
    struct arena *arena;
    const struct api_conf *conf;
    json document;
    struct api *api;
    size_t nodes; /* written for one schema: references may multiply */
};

/* ---- references ------------------------------------------------------------------------ */

/* "#/components/schemas/Pet" (RFC 6901 in a fragment); NULL: leads nowhere, or outside. */
static json resolve(json document, struct arena *a, struct str ref) {
    if (!str_starts(ref, S("#/")))
        return NULL;
    struct str rest = str_skip(ref, 2);
    json at = document;
    while (rest.p && at) {
        struct str step = str_cut(&rest, '/');
        char *text = arena_alloc(a, step.n + 1);
        size_t n = 0;
        for (size_t i = 0; i < step.n; i++) {
            bool escaped = step.p[i] == '~' && i + 1 < step.n;
            text[n++] = !escaped ? step.p[i] : step.p[i + 1] == '1' ? '/' : '~';
            i += escaped;
        }
        at = json_get(at, str_from(text, n));
    }
    return at;
}

/* What stands there, or what it points to. */
static json followed(const struct compile *c, json v) {
    for (int i = 0; i < 8; i++) {
        json ref = json_get(v, S("$ref"));
        if (!ref)
            return v;
        v = resolve(c->document, c->arena, json_text(ref));
    }
    return NULL;
}

/* A parameter, body or path that is needed, not only described. */
static err_t must_follow(const struct compile *c, json v, json *out) {
    *out = followed(c, v);
    if (v && !*out)
        return ERR(INVALID,
                   "$ref %.*s leads nowhere in this document; other files are not fetched: bundle "
                   "them into one",
                   STR(str_head(json_get_text(v, S("$ref")), 200)));
    return OK;
}

struct open_ref { /* references that are being written out */
    const struct open_ref *up;
    json target;
};

static bool is_open(const struct open_ref *refs, json target) {
    for (; refs; refs = refs->up)
        if (refs->target == target)
            return true;
    return false;
}

static bool is_one_of(struct str key, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(key, str_of(words[i])))
            return true;
    return false;
}

/* Keywords of OpenAPI that are none of JSON Schema. */
static const char *const openapi_words[] = { "discriminator", "xml", "example", "externalDocs",
                                             "nullable" };
/* Their members are schemas under names of the author's. */
static const char *const map_words[] = { "properties", "patternProperties", "$defs", "definitions",
                                         "dependentSchemas" };
/* What they hold is no schema. */
static const char *const data_words[] = { "enum", "const", "default", "examples", "required" };
#define IS(words, key) is_one_of(key, words, ARRAY_SIZE(words))

static bool is_true(json v) {
    bool value = false;
    return json_is_bool(v, &value) && value;
}

/* OpenAPI 3.0 is of JSON Schema's draft 4 in these: a bound is exclusive by a word beside it, and
 * null is allowed by another. False: the member is as it is. */
static bool put_as_draft_4(struct jw *w, json schema, struct str key, json v) {
    bool flag, nullable = is_true(json_get(schema, S("nullable")));
    if (json_is_bool(v, &flag) &&
        (str_eq(key, S("exclusiveMinimum")) || str_eq(key, S("required")) ||
         str_eq(key, S("exclusiveMaximum"))))
        return true; /* said at the bound; `required` is the parameter's, a frequent mistake */
    if (str_eq(key, S("minimum")) && is_true(json_get(schema, S("exclusiveMinimum"))))
        jw_put_value(w, "exclusiveMinimum", v);
    else if (str_eq(key, S("maximum")) && is_true(json_get(schema, S("exclusiveMaximum"))))
        jw_put_value(w, "exclusiveMaximum", v);
    else if (nullable && str_eq(key, S("type")) && json_type(v) == JSON_STRING) {
        jw_key(w, key);
        jw_array(w);
        jw_value(w, v);
        jw_string(w, S("null"));
        jw_array_end(w);
    } else if (nullable && str_eq(key, S("enum"))) {
        jw_key(w, key);
        jw_array(w);
        for (struct json_iter it = json_iter(v); json_next(&it);)
            if (json_type(it.value) != JSON_NULL)
                jw_value(w, it.value);
        jw_raw(w, S("null"));
        jw_array_end(w);
    } else
        return false;
    return true;
}

static void put_schema(struct compile *c, struct jw *w, json v, const struct open_ref *refs,
                       unsigned depth);

static void put_map(struct compile *c, struct jw *w, json map, const struct open_ref *refs,
                    unsigned depth) {
    jw_object(w);
    for (struct json_iter it = json_iter(map); json_next(&it);) {
        jw_key(w, it.key);
        put_schema(c, w, it.value, refs, depth);
    }
    jw_object_end(w);
}

static void put_keywords(struct compile *c, struct jw *w, json schema, const struct open_ref *refs,
                         unsigned depth) {
    jw_object(w);
    for (struct json_iter it = json_iter(schema); json_next(&it);) {
        if (IS(openapi_words, it.key) || put_as_draft_4(w, schema, it.key, it.value))
            continue;
        jw_key(w, it.key);
        if (IS(map_words, it.key) && json_type(it.value) == JSON_OBJECT)
            put_map(c, w, it.value, refs, depth);
        else if (IS(data_words, it.key)) {
            c->nodes += json_count(it.value);
            jw_value(w, it.value);
        } else
            put_schema(c, w, it.value, refs, depth);
    }
    jw_object_end(w);
}

/* A schema with its references written out; one that holds itself ends in {}. */
static void put_schema(struct compile *c, struct jw *w, json v, const struct open_ref *refs,
                       unsigned depth) {
    struct open_ref here = { refs, NULL };
    if (json_get(v, S("$ref"))) {
        v = here.target = followed(c, v);
        refs = is_open(refs, v) ? NULL : &here;
        v = refs ? v : NULL;
    }
    if (!v || depth > DEPTH || c->nodes++ > NODES) {
        jw_raw(w, S("{}"));
    } else if (json_type(v) == JSON_OBJECT) {
        put_keywords(c, w, v, refs, depth + 1);
    } else if (json_type(v) == JSON_ARRAY) {
        jw_array(w);
        for (struct json_iter it = json_iter(v); json_next(&it);)
            put_schema(c, w, it.value, refs, depth + 1);
        jw_array_end(w);
    } else
        jw_value(w, v);
}

/* ---- operations ------------------------------------------------------------------------ */

/* What clients take as a name (P-601): others become _. */
static struct str tool_name(struct arena *a, struct str from) {
    char *text = arena_alloc(a, from.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < from.n && n < 64; i++) {
        char ch = from.p[i];
        bool fine = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                    (ch >= '0' && ch <= '9') || ch == '-' || ch == '.';
        if (fine || (n && text[n - 1] != '_'))
            text[n++] = fine ? ch : '_';
    }
    while (n && text[n - 1] == '_')
        n--;
    return str_from(text, n);
}

static struct api_op *add_op(struct compile *c, struct str name) {
    struct api *api = c->api;
    struct api_op *op = &api->ops[api->n++];
    *op = (struct api_op){ .name = name,
                           .params = ARENA_ARRAY(c->arena, struct api_param, MOST_PARAMS) };
    return op;
}

static bool has_argument(const struct api_op *op, struct str name) {
    for (size_t i = 0; i < op->param_count; i++)
        if (str_eq(op->params[i].argument, name))
            return true;
    return false;
}

static err_t add_param(struct compile *c, struct api_op *op, struct str name, enum api_in in,
                       bool required) {
    static const char *const places[] = { "path", "query", "header", "body" };
    if (op->param_count == MOST_PARAMS)
        return ERR(INVALID, "%.*s has more than %d parameters", STR(op->name), MOST_PARAMS);
    struct str argument = has_argument(op, name)
                              ? arena_fmt(c->arena, "%.*s_%s", STR(name), places[in])
                              : name;
    op->params[op->param_count++] = (struct api_param){ argument, name, in, API_PLAIN,
                                                        required };
    return OK;
}

static bool has_place(const struct api_op *op, struct str name, enum api_in in) {
    for (size_t i = 0; i < op->param_count; i++)
        if (op->params[i].in == in && str_eq(op->params[i].name, name))
            return true;
    return false;
}

/* "{id}" of the path are parameters, and so are "name={argument}" of the query. */
static err_t params_of_template(struct compile *c, struct api_op *op, struct str text,
                                enum api_in in) {
    while (text.n) {
        ptrdiff_t open = str_find_char(text, '{');
        if (open < 0)
            return OK;
        text = str_skip(text, (size_t)open + 1);
        ptrdiff_t close = str_find_char(text, '}');
        if (close <= 0)
            return ERR(INVALID, "%.*s: the template has a { without its }", STR(op->name));
        struct str name = str_head(text, (size_t)close);
        if (!has_place(op, name, in))
            TRY(add_param(c, op, name, in, in == API_PATH));
        text = str_skip(text, (size_t)close + 1);
    }
    return OK;
}

static err_t check_path(const struct api_op *op) {
    if (!op->path.n || op->path.p[0] != '/')
        return ERR(INVALID, "%.*s: path must begin with /", STR(op->name));
    for (size_t i = 0; i < op->path.n; i++)
        if (op->path.p[i] <= ' ' || op->path.p[i] >= 127 || op->path.p[i] == '#')
            return ERR(INVALID, "%.*s: path has a byte that no URL may have", STR(op->name));
    return OK;
}

static err_t finish_op(struct compile *c, struct api_op *op) {
    TRY(check_path(op));
    for (size_t i = 0; i + 1 < c->api->n; i++)
        if (str_eq(c->api->ops[i].name, op->name))
            return ERR(INVALID, "two operations are called %.*s", STR(op->name));
    TRY_WRAP(json_schema_compile(op->input, NULL, &op->schema), "%.*s: schema of its arguments",
             STR(op->name));
    return OK;
}

/* ---- rows of our own --------------------------------------------------------------------- */

/* Of http_tool_conf. */
static const char *const method_names[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };

static bool is_bodiless(struct str method) {
    return str_eq(method, S("GET")) || str_eq(method, S("DELETE"));
}

/* Without a schema every parameter of the template is a text. */
static struct str default_input(struct compile *c, const struct api_op *op) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "type", S("object"));
    jw_key(&w, S("properties"));
    jw_object(&w);
    for (size_t i = 0; i < op->param_count; i++) {
        jw_key(&w, op->params[i].argument);
        jw_raw(&w, S("{\"type\":[\"string\",\"number\",\"boolean\"]}"));
    }
    jw_object_end(&w);
    jw_key(&w, S("required"));
    jw_array(&w);
    for (size_t i = 0; i < op->param_count; i++)
        if (op->params[i].required)
            jw_string(&w, op->params[i].argument);
    jw_array_end(&w);
    jw_object_end(&w);
    return arena_dup(c->arena, buf_view(&b));
}

static err_t compile_row(struct compile *c, const struct http_tool_conf *t) {
    struct api_op *op = add_op(c, t->name);
    if (!str_eq(tool_name(c->arena, t->name), t->name))
        return ERR(INVALID, "%.*s: a name is 1 to 64 of A-Z a-z 0-9 - . and single _",
                   STR(t->name));
    op->title = t->title;
    op->description = t->description;
    op->method = str_of(method_names[t->method]);
    op->path = t->path;
    op->rest_in_body = !is_bodiless(op->method);
    ptrdiff_t query = str_find_char(t->path, '?');
    struct str path = query < 0 ? t->path : str_head(t->path, (size_t)query);
    TRY(params_of_template(c, op, path, API_PATH));
    if (query >= 0)
        TRY(params_of_template(c, op, str_skip(t->path, (size_t)query + 1), API_QUERY));
    SCOPED(buf_done) struct buf b = { 0 };
    if (t->input_schema)
        json_write(&b, t->input_schema);
    op->input = t->input_schema ? arena_dup(c->arena, buf_view(&b)) : default_input(c, op);
    return finish_op(c, op);
}

/* ---- OpenAPI ------------------------------------------------------------------------------- */

/* OpenAPI 3.1 §4.8.12.2.1, and what frames a message. */
static bool is_own_header(struct str name) {
    static const char *const own[] = { "accept", "content-type", "authorization", "host", "content-length", "connection",
                                       "transfer-encoding", "upgrade", "te", "trailer", "expect", "cookie", "user-agent" };
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (str_eq_nocase(name, str_of(own[i])))
            return true;
    return !http_is_token(name);
}

static bool read_place(struct str word, enum api_in *out) {
    static const char *const words[] = { "path", "query", "header" };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_eq(word, str_of(words[i]))) {
            *out = (enum api_in)i;
            return true;
        }
    return false; /* cookies are the browser's */
}

/* OpenAPI 3.1 §4.8.12.2 "Parameter Object", `style` and `explode`. */
static enum api_style style_of(json p) {
    struct str style = json_get_text(p, S("style"));
    bool explode = !style.n || str_eq(style, S("form"));
    json_is_bool(json_get(p, S("explode")), &explode);
    if (json_get(p, S("content")))
        return API_AS_JSON;
    if (str_eq(style, S("deepObject")))
        return API_DEEP;
    if (explode)
        return API_EXPLODED;
    return str_eq(style, S("pipeDelimited"))    ? API_PIPES
           : str_eq(style, S("spaceDelimited")) ? API_SPACES
                                                : API_COMMAS;
}

/* Of the parameter itself, or of the one media type that its content has. */
static json schema_of(json p) {
    json schema = json_get(p, S("schema"));
    for (struct json_iter it = json_iter(json_get(p, S("content"))); !schema && json_next(&it);)
        schema = json_get(it.value, S("schema"));
    return schema;
}

struct described { /* what the input schema says of a parameter */
    json schema;
    struct str help;
};

/* Those of the operation stand over those of its path. */
static err_t add_params(struct compile *c, struct api_op *op, json list, struct described *what) {
    for (struct json_iter it = json_iter(list); json_next(&it);) {
        json p;
        TRY(must_follow(c, it.value, &p));
        struct str name = json_get_text(p, S("name"));
        enum api_in in;
        bool required = false, known = false;
        if (!name.n || !read_place(json_get_text(p, S("in")), &in) ||
            (in == API_HEADER && is_own_header(name)))
            continue;
        for (size_t i = 0; i < op->param_count; i++)
            known |= str_eq(op->params[i].name, name) && op->params[i].in == in;
        if (known)
            continue;
        json_is_bool(json_get(p, S("required")), &required);
        TRY(add_param(c, op, name, in, required || in == API_PATH));
        op->params[op->param_count - 1].style = style_of(p);
        what[op->param_count - 1] = (struct described){ schema_of(p),
                                                        json_get_text(p, S("description")) };
    }
    return OK;
}

static err_t add_body(struct compile *c, struct api_op *op, json body, struct described *what) {
    bool required = false;
    TRY(must_follow(c, body, &body));
    json content = json_get(body, S("content")), media = json_get(content, S("application/json"));
    for (struct json_iter it = json_iter(content); !media && json_next(&it);)
        if (str_ends(it.key, S("+json")))
            media = it.value;
    if (!media)
        return OK;
    json_is_bool(json_get(body, S("required")), &required);
    TRY(add_param(c, op, S("body"), API_BODY, required));
    what[op->param_count - 1] = (struct described){ json_get(media, S("schema")),
                                                    json_get_text(body, S("description")) };
    return OK;
}

static void put_property(struct compile *c, struct jw *w, const struct api_param *p,
                         const struct described *d) {
    jw_key(w, p->argument);
    c->nodes = 0;
    if (!d->help.n || json_get(followed(c, d->schema), S("description"))) {
        put_schema(c, w, d->schema, NULL, 0);
        return;
    }
    jw_object(w);
    jw_put_string(w, "description", d->help);
    jw_key(w, S("allOf"));
    jw_array(w);
    put_schema(c, w, d->schema, NULL, 0);
    jw_array_end(w);
    jw_object_end(w);
}

static struct str input_of(struct compile *c, const struct api_op *op,
                           const struct described *what) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_put_string(&w, "type", S("object"));
    jw_key(&w, S("properties"));
    jw_object(&w);
    for (size_t i = 0; i < op->param_count; i++)
        put_property(c, &w, &op->params[i], &what[i]);
    jw_object_end(&w);
    jw_key(&w, S("required"));
    jw_array(&w);
    for (size_t i = 0; i < op->param_count; i++)
        if (op->params[i].required)
            jw_string(&w, op->params[i].argument);
    jw_array_end(&w);
    jw_put_bool(&w, "additionalProperties", false);
    jw_object_end(&w);
    return arena_dup(c->arena, buf_view(&b));
}

static bool is_included(const struct compile *c, struct str name) {
    const struct str_list *globs = &c->conf->include;
    for (size_t i = 0; i < globs->n; i++)
        if (str_glob(globs->items[i], name))
            return true;
    return globs->n == 0;
}

/* A body in a form that we cannot make: the operation is left out. */
static bool has_other_body(const struct compile *c, json body) {
    json content = json_get(followed(c, body), S("content"));
    for (struct json_iter it = json_iter(content); json_next(&it);)
        if (str_eq(it.key, S("application/json")) || str_ends(it.key, S("+json")))
            return false;
    return json_count(content) > 0;
}

static err_t compile_operation(struct compile *c, struct str path, const char *method, json item,
                               json operation) {
    struct str id = json_get_text(operation, S("operationId"));
    struct str name = tool_name(c->arena,
                                id.n ? id : arena_fmt(c->arena, "%s_%.*s", method, STR(path)));
    json body = json_get(operation, S("requestBody"));
    if (!name.n || !is_included(c, name) || has_other_body(c, body))
        return OK;
    if (c->api->n == MOST_OPS)
        return ERR(INVALID, "the document has more than %d operations: choose some by include",
                   MOST_OPS);
    struct described *what = ARENA_ARRAY(c->arena, struct described, MOST_PARAMS);
    struct api_op *op = add_op(c, name);
    struct str summary = json_get_text(operation, S("summary")),
               text = json_get_text(operation, S("description"));
    op->title = summary;
    op->description = text.n ? text : summary;
    op->method = arena_fmt(c->arena, "%s", method);
    op->path = path;
    for (size_t i = 0; i < op->method.n; i++)
        ((char *)op->method.p)[i] &= ~0x20;
    TRY(add_params(c, op, json_get(operation, S("parameters")), what));
    TRY(add_params(c, op, json_get(item, S("parameters")), what));
    TRY(params_of_template(c, op, path, API_PATH));
    TRY(add_body(c, op, body, what));
    op->input = input_of(c, op, what);
    return finish_op(c, op);
}

err_t api_check_version(json document) {
    struct str version = json_get_text(document, S("openapi"));
    if (json_get(document, S("swagger")))
        return ERR(INVALID,
                   "openapi: this is Swagger 2.0, which is not read: convert it to OpenAPI "
                   "3, such as with swagger2openapi");
    if (str_starts(version, S("3.")))
        return OK;
    return ERR(INVALID,
               "openapi: must be a document of OpenAPI 3.0 or 3.1, a JSON object with its member "
               "\"openapi\"");
}

static err_t compile_document(struct compile *c) {
    static const char *const methods[] = { "get", "put", "post", "delete", "patch" };
    TRY(api_check_version(c->document));
    for (struct json_iter it = json_iter(json_get(c->document, S("paths"))); json_next(&it);) {
        json item;
        TRY_WRAP(must_follow(c, it.value, &item), "openapi: %.*s", STR(str_head(it.key, 100)));
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
            json operation = json_get(item, str_of(methods[i]));
            if (operation)
                TRY_WRAP(compile_operation(c, it.key, methods[i], item, operation),
                         "openapi: %s %.*s", methods[i], STR(str_head(it.key, 100)));
        }
    }
    return OK;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static struct str write_listing(struct compile *c) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    jw_key(&w, S("tools"));
    jw_array(&w);
    for (size_t i = 0; i < c->api->n; i++) {
        const struct api_op *op = &c->api->ops[i];
        bool reads = str_eq(op->method, S("GET"));
        jw_object(&w);
        jw_put_string(&w, "name", op->name);
        if (op->title.n)
            jw_put_string(&w, "title", op->title);
        if (op->description.n)
            jw_put_string(&w, "description", op->description);
        jw_put_raw(&w, "inputSchema", op->input);
        jw_key(&w, S("annotations")); /* RFC 9110 §9.2 */
        jw_object(&w);
        jw_put_bool(&w, "readOnlyHint", reads);
        jw_put_bool(&w, "destructiveHint", !reads && !str_eq(op->method, S("POST")));
        jw_put_bool(&w, "idempotentHint",
                    reads || str_eq(op->method, S("PUT")) || str_eq(op->method, S("DELETE")));
        jw_put_bool(&w, "openWorldHint", true);
        jw_object_end(&w);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_object_end(&w);
    return arena_dup(c->arena, buf_view(&b));
}

static err_t compile_all(struct compile *c) {
    const struct http_tool_conf *rows = c->conf->tools.items;
    TRY_WRAP(http_url_parse(c->conf->url, &c->api->base), "api.url");
    c->api->base_path = c->api->base.target;
    if (str_find_char(c->api->base_path, '?') >= 0)
        return ERR(INVALID, "api.url: must have no query");
    while (c->api->base_path.n && c->api->base_path.p[c->api->base_path.n - 1] == '/')
        c->api->base_path.n--;
    if (c->conf->openapi)
        TRY(compile_document(c));
    for (size_t i = 0; i < c->conf->tools.n; i++) {
        if (c->api->n == MOST_OPS)
            return ERR(INVALID, "more than %d tools", MOST_OPS);
        TRY(compile_row(c, &rows[i]));
    }
    if (!c->api->n)
        return ERR(INVALID, "api has no operation that could be a tool");
    c->api->listing = write_listing(c);
    return OK;
}

err_t api_compile(struct arena *a, const struct api_conf *conf, struct api *out) {
    *out = (struct api){ .ops = ARENA_ARRAY(a, struct api_op, MOST_OPS) };
    struct compile c = { .arena = a, .conf = conf, .document = conf->openapi, .api = out };
    err_t e = compile_all(&c);
    if (!e)
        return OK;
    struct err why = *e;
    api_done(out);
    return err_again(&why);
}

void api_done(struct api *api) {
    for (size_t i = 0; i < api->n; i++)
        json_schema_free(api->ops[i].schema);
    api->n = 0;
}

const struct api_op *api_find(const struct api *api, struct str name) {
    for (size_t i = 0; i < api->n; i++)
        if (str_eq(api->ops[i].name, name))
            return &api->ops[i];
    return NULL;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void put_escaped(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char ch = (unsigned char)s.p[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || ch == '-' || ch == '.' || ch == '_' || ch == '~';
        if (plain)
            buf_char(b, (char)ch);
        else
            buf_fmt(b, "%%%02X", ch);
    }
}

static struct str json_of(struct arena *a, json v) {
    SCOPED(buf_done) struct buf b = { 0 };
    json_write(&b, v);
    return arena_dup(a, buf_view(&b));
}

/* As a text: strings and numbers as spelled, the rest as JSON. */
static struct str text_of(struct arena *a, json v) {
    return json_type(v) == JSON_STRING || json_type(v) == JSON_NUMBER ? json_text(v)
                                                                      : json_of(a, v);
}

/* Style simple: elements with commas. */
static struct str simple_of(struct arena *a, json v) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (json_type(v) != JSON_ARRAY)
        return text_of(a, v);
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (b.n)
            buf_char(&b, ',');
        buf_str(&b, text_of(a, it.value));
    }
    return arena_dup(a, buf_view(&b));
}

/* Style form, exploded: an array repeats its name. */
static void put_query(struct buf *b, struct arena *a, struct str name, json v, bool *first) {
    if (json_type(v) == JSON_ARRAY) {
        for (struct json_iter it = json_iter(v); json_next(&it);)
            if (json_type(it.value) != JSON_ARRAY)
                put_query(b, a, name, it.value, first);
        return;
    }
    buf_char(b, *first ? '?' : '&');
    *first = false;
    put_escaped(b, name);
    buf_char(b, '=');
    put_escaped(b, text_of(a, v));
}

/* The elements, or names and values in turn, behind one name. */
static void put_joined(struct buf *b, struct arena *a, const struct api_param *p, json v,
                       bool *first) {
    static const char *const separators[] = { [API_COMMAS] = ",", [API_SPACES] = "%20",
                                              [API_PIPES] = "%7C" };
    bool named = json_type(v) == JSON_OBJECT, more = false;
    buf_char(b, *first ? '?' : '&');
    *first = false;
    put_escaped(b, p->name);
    buf_char(b, '=');
    for (struct json_iter it = json_iter(v); json_next(&it); more = true) {
        if (more)
            buf_str(b, str_of(separators[p->style]));
        if (named) {
            put_escaped(b, it.key);
            buf_str(b, str_of(separators[p->style]));
        }
        put_escaped(b, text_of(a, it.value));
    }
}

static void put_query_param(struct buf *b, struct arena *a, const struct api_param *p, json v,
                            bool *first) {
    bool object = json_type(v) == JSON_OBJECT, many = object || json_type(v) == JSON_ARRAY;
    bool alone = p->style == API_PLAIN ||
                 (!object && (p->style == API_EXPLODED || p->style == API_DEEP));
    if (p->style == API_AS_JSON) {
        buf_char(b, *first ? '?' : '&');
        *first = false;
        put_escaped(b, p->name);
        buf_char(b, '=');
        put_escaped(b, json_of(a, v));
    } else if (!many || alone) {
        put_query(b, a, p->name, v, first);
    } else if (p->style == API_EXPLODED || p->style == API_DEEP) {
        for (struct json_iter it = json_iter(v); json_next(&it);)
            put_query(b, a,
                      p->style == API_DEEP ? arena_fmt(a, "%.*s[%.*s]", STR(p->name), STR(it.key))
                                           : it.key,
                      it.value, first);
    } else {
        put_joined(b, a, p, v, first);
    }
}

/* A value may fill a segment, never walk to another one. */
static err_t put_segment(struct buf *b, struct arena *a, struct str name, json v) {
    struct str text = simple_of(a, v);
    if (!v || !text.n || str_eq(text, S(".")) || str_eq(text, S("..")))
        return ERR(INVALID, "%.*s: cannot stand in a path", STR(name));
    put_escaped(b, text);
    return OK;
}

static struct str argument_of(const struct api_op *op, struct str name) {
    for (size_t i = 0; i < op->param_count; i++)
        if (op->params[i].in == API_PATH && str_eq(op->params[i].name, name))
            return op->params[i].argument;
    return name;
}

static err_t put_path(struct arena *a, const struct api_op *op, struct str text, json arguments,
                      struct buf *b) {
    while (text.n) {
        ptrdiff_t open = str_find_char(text, '{');
        if (open < 0) {
            buf_str(b, text);
            return OK;
        }
        buf_str(b, str_head(text, (size_t)open));
        text = str_skip(text, (size_t)open + 1);
        ptrdiff_t close = str_find_char(text, '}');
        struct str name = argument_of(op, str_head(text, (size_t)close));
        TRY(put_segment(b, a, name, json_get(arguments, name)));
        text = str_skip(text, (size_t)close + 1);
    }
    return OK;
}

/* "a={b}" of a template is left out when b is not given. */
static void put_template_query(struct arena *a, struct str query, json arguments, struct buf *b,
                               bool *first) {
    while (query.p) {
        struct str value = str_cut(&query, '&'), name = str_cut(&value, '=');
        bool is_argument = value.n > 2 && value.p[0] == '{' && value.p[value.n - 1] == '}';
        json v = is_argument ? json_get(arguments, str_from(value.p + 1, value.n - 2)) : NULL;
        if (v) {
            put_query(b, a, name, v, first);
        } else if (!is_argument && name.n) {
            buf_char(b, *first ? '?' : '&');
            *first = false;
            buf_fmt(b, "%.*s%s%.*s", STR(name), value.p ? "=" : "", STR(value));
        }
    }
}

static err_t put_header(struct buf *b, struct arena *a, const struct api_param *p, json v) {
    struct str text = simple_of(a, v);
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ' || text.p[i] == 127)
            return ERR(INVALID, "%.*s: has a byte that no header may have", STR(p->argument));
    buf_fmt(b, "%.*s: %.*s\r\n", STR(p->name), STR(text));
    return OK;
}

static const struct api_param *param_of(const struct api_op *op, struct str argument) {
    for (size_t i = 0; i < op->param_count; i++)
        if (str_eq(op->params[i].argument, argument))
            return &op->params[i];
    return NULL;
}

/* The query of the template has it. */
static bool in_template(struct str path, struct str argument, struct arena *a) {
    ptrdiff_t query = str_find_char(path, '?');
    return query >= 0 &&
           str_find(str_skip(path, (size_t)query), arena_fmt(a, "{%.*s}", STR(argument))) >= 0;
}

static err_t put_params(struct arena *a, const struct api_op *op, json arguments,
                        struct api_request *out, bool *first) {
    for (size_t i = 0; i < op->param_count; i++) {
        const struct api_param *p = &op->params[i];
        json v = json_get(arguments, p->argument);
        if (!v || json_type(v) == JSON_NULL)
            continue;
        if (p->in == API_QUERY && !in_template(op->path, p->argument, a))
            put_query_param(&out->target, a, p, v, first);
        if (p->in == API_HEADER)
            TRY(put_header(&out->headers, a, p, v));
        if (p->in == API_BODY) {
            json_write(&out->body, v);
            out->has_body = true;
        }
    }
    return OK;
}

/* Arguments that no parameter takes. */
static void put_rest(struct arena *a, const struct api_op *op, json arguments,
                     struct api_request *out, bool *first) {
    struct jw w = jw_init(&out->body);
    if (op->rest_in_body)
        jw_object(&w);
    for (struct json_iter it = json_iter(arguments); json_next(&it);) {
        if (param_of(op, it.key))
            continue;
        if (!op->rest_in_body)
            put_query(&out->target, a, it.key, it.value, first);
        else {
            jw_key(&w, it.key);
            jw_value(&w, it.value);
        }
    }
    if (!op->rest_in_body)
        return;
    jw_object_end(&w);
    out->has_body = true;
}

err_t api_request_make(struct arena *a, const struct api *api, const struct api_op *op,
                       json arguments, struct api_request *out) {
    ptrdiff_t query = str_find_char(op->path, '?');
    bool first = true;
    TRY(json_schema_validate(op->schema, arguments));
    buf_str(&out->target, api->base_path);
    TRY(put_path(a, op, query < 0 ? op->path : str_head(op->path, (size_t)query), arguments,
                 &out->target));
    if (query >= 0)
        put_template_query(a, str_skip(op->path, (size_t)query + 1), arguments, &out->target,
                           &first);
    TRY(put_params(a, op, arguments, out, &first));
    put_rest(a, op, arguments, out, &first);
    return OK;
}

void api_request_done(struct api_request *r) {
    buf_done(&r->target);
    buf_done(&r->headers);
    buf_done(&r->body);
}
