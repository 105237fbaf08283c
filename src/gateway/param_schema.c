/* param_schema.c - see param_schema.h. Schemas are walked where schemas stand, so that an
 * argument or a default called "x-mcp-header" is not taken for an annotation. */
#include "gateway/param_schema.h"
#include "base/mem.h"
#include "net/http1.h"

#define ANNOTATION S("x-mcp-header")
enum { DEPTH_MAX = 64 };

struct walk {
    struct buf *out;
    struct jw w;
    struct str path[DEPTH_MAX];
    size_t depth; /* of path */
    struct str headers[PARAM_HEADERS_MAX];
    size_t count;
};

/* Where a schema holds schemas below which nothing may be annotated (JSON Schema 2020-12 §10). */
enum holds { ONE, MANY, BY_NAME };
static const struct keyword {
    struct str name;
    enum holds holds;
} keywords[] = {
    { S_INIT("items"), MANY },
    { S_INIT("prefixItems"), MANY },
    { S_INIT("additionalItems"), ONE },
    { S_INIT("unevaluatedItems"), ONE },
    { S_INIT("contains"), ONE },
    { S_INIT("additionalProperties"), ONE },
    { S_INIT("unevaluatedProperties"), ONE },
    { S_INIT("propertyNames"), ONE },
    { S_INIT("patternProperties"), BY_NAME },
    { S_INIT("dependentSchemas"), BY_NAME },
    { S_INIT("allOf"), MANY },
    { S_INIT("anyOf"), MANY },
    { S_INIT("oneOf"), MANY },
    { S_INIT("not"), ONE },
    { S_INIT("if"), ONE },
    { S_INIT("then"), ONE },
    { S_INIT("else"), ONE },
    { S_INIT("$defs"), BY_NAME },
    { S_INIT("definitions"), BY_NAME },
    { S_INIT("contentSchema"), ONE },
};

static err_t check_header(struct walk *walk, json annotation, struct str type, struct str *out) {
    if (!json_is_string(annotation, out) || !http_is_token(*out) || out->n > PARAM_HEADER_NAME_MAX)
        return ERR(INVALID, "x-mcp-header is no header name");
    if (!str_eq(type, S("string")) && !str_eq(type, S("integer")) && !str_eq(type, S("boolean")))
        return ERR(INVALID, "x-mcp-header \"%.*s\" is not on a string, integer or boolean",
                   STR(*out));
    for (size_t i = 0; i < walk->count; i++)
        if (str_eq_nocase(walk->headers[i], *out))
            return ERR(INVALID, "x-mcp-header \"%.*s\" is there twice", STR(*out));
    if (walk->count == PARAM_HEADERS_MAX)
        return ERR(INVALID, "more than %d x-mcp-header annotations", PARAM_HEADERS_MAX);
    return OK;
}

static err_t add(struct walk *walk, json schema, json annotation) {
    struct str type, header;
    if (!json_is_string(json_get(schema, S("type")), &type))
        type = S("");
    TRY(check_header(walk, annotation, type, &header));
    walk->headers[walk->count++] = header;
    struct jw *w = &walk->w;
    jw_object(w);
    jw_put_string(w, "header", header);
    jw_key(w, S("path"));
    jw_array(w);
    for (size_t i = 0; i < walk->depth; i++)
        jw_string(w, walk->path[i]);
    jw_array_end(w);
    jw_put_string(w, "type", type);
    jw_object_end(w);
    return OK;
}

static err_t none_below(json schema, unsigned depth);

static err_t none_in(json value, enum holds holds, unsigned depth) {
    bool list = json_type(value) == JSON_ARRAY ? holds == MANY : holds == BY_NAME;
    if (!list)
        return none_below(value, depth);
    for (struct json_iter it = json_iter(value); json_next(&it);)
        TRY(none_below(it.value, depth));
    return OK;
}

/* A schema that arguments do not reach by their names alone. */
static err_t none_below(json schema, unsigned depth) {
    if (json_type(schema) != JSON_OBJECT)
        return OK;
    if (depth > DEPTH_MAX)
        return ERR(INVALID, "the schema is nested too deep");
    if (json_get(schema, ANNOTATION))
        return ERR(INVALID,
                   "x-mcp-header stands where no argument is reached by `properties` alone");
    TRY(none_in(json_get(schema, S("properties")), BY_NAME, depth + 1));
    for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
        TRY(none_in(json_get(schema, keywords[i].name), keywords[i].holds, depth + 1));
    return OK;
}

static err_t read_schema(struct walk *walk, json schema) {
    json annotation = json_get(schema, ANNOTATION);
    if (annotation)
        TRY(add(walk, schema, annotation));
    for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
        TRY(none_in(json_get(schema, keywords[i].name), keywords[i].holds,
                    (unsigned)walk->depth + 1));
    if (walk->depth == DEPTH_MAX)
        return ERR(INVALID, "the schema is nested too deep");
    json properties = json_get(schema, S("properties"));
    if (json_type(properties) != JSON_OBJECT)
        return OK;
    for (struct json_iter it = json_iter(properties); json_next(&it);) {
        walk->path[walk->depth++] = it.key;
        TRY(read_schema(walk, it.value));
        walk->depth--;
    }
    return OK;
}

err_t param_schema_read(struct arena *a, json input_schema, json *out) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct walk *walk = ARENA_NEW(a, struct walk);
    walk->w = jw_init(&text);
    jw_array(&walk->w);
    TRY(read_schema(walk, input_schema));
    jw_array_end(&walk->w);
    *out = NULL;
    return walk->count ? json_parse(a, buf_view(&text), (struct json_limits){ 0 }, out) : OK;
}
