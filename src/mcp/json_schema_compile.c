/* json_schema_compile.c - from a document to nodes and rules (json_schema_private.h).
 *
 * Two passes: the first finds resources and anchors, the second makes a node of every
 * schema that can be reached. A node is entered in the table before its rules are made, so
 * that schemas may refer to themselves. */
#include "mcp/json_schema_private.h"

struct compiler {
    struct json_schema *schema;
    unsigned depth;
};

enum { MAX_PATTERN = 4096, COMPILE_DEPTH = 200 };

static err_t compile_node(struct compiler *c, json at, const struct resource *home,
                          const struct node **out);

/* ---- patterns ------------------------------------------------------------------------ */

/* ECMA-262 asks for no anchoring and for Unicode; \d, \w and \b mean ASCII in both. */
static err_t compile_pattern(struct compiler *c, struct str text, pcre2_code **out) {
    struct json_schema *s = c->schema;
    int code = 0;
    PCRE2_SIZE at = 0;
    if (text.n > MAX_PATTERN)
        return ERR(INVALID, "a pattern has more than %d bytes", MAX_PATTERN);
    pcre2_code *made = pcre2_compile((PCRE2_SPTR)text.p, text.n,
                                     PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX |
                                         PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C |
                                         PCRE2_ALLOW_EMPTY_CLASS,
                                     &code, &at, NULL);
    if (!made) {
        char why[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return ERR(INVALID, "the pattern is not valid at character %zu: %s", (size_t)at, why);
    }
    s->patterns = mem_grow(s->patterns, (s->pattern_count + 1) * sizeof(pcre2_code *));
    s->patterns[s->pattern_count++] = made;
    *out = made;
    return OK;
}

/* ---- rules --------------------------------------------------------------------------- */

static err_t compile_list(struct compiler *c, struct rule *r, const struct resource *home) {
    size_t n = json_count(r->value), i = 0;
    r->nodes = ARENA_ARRAY(&c->schema->arena, const struct node *, n + 1);
    r->names = ARENA_ARRAY(&c->schema->arena, struct str, n + 1);
    r->n = n;
    for (struct json_iter it = json_iter(r->value); json_next(&it); i++) {
        r->names[i] = it.key;
        TRY_WRAP(compile_node(c, it.value, home, &r->nodes[i]), "%.*s", STR(str_head(it.key, 60)));
    }
    return OK;
}

enum { FEW_NAMES = 8 };

static void index_names(struct compiler *c, struct rule *r) {
    if (r->n <= FEW_NAMES)
        return;
    struct json_schema *s = c->schema;
    r->by_name = ARENA_NEW(&s->arena, struct map);
    s->indexes = mem_grow(s->indexes, (s->index_count + 1) * sizeof(struct map *));
    s->indexes[s->index_count++] = r->by_name;
    for (size_t i = 0; i < r->n; i++)
        map_put(r->by_name, r->names[i], (void *)(uintptr_t)r->nodes[i]);
}

static err_t compile_patterns(struct compiler *c, struct rule *r) {
    r->patterns = ARENA_ARRAY(&c->schema->arena, pcre2_code *, r->n + 1);
    for (size_t i = 0; i < r->n; i++)
        TRY(compile_pattern(c, r->names[i], &r->patterns[i]));
    return OK;
}

static err_t compile_reference(struct compiler *c, struct rule *r, const struct resource *home) {
    json target = NULL;
    const struct resource *there = NULL;
    struct str dynamic;
    TRY(schema_look_up(c->schema, home, json_text(r->value), &target, &there, &dynamic));
    if (strcmp(r->keyword, "$dynamicRef") == 0)
        r->anchor = dynamic;
    return compile_node(c, target, there, &r->node);
}

static err_t compile_inside(struct compiler *c, const struct keyword *k, struct rule *r,
                            const struct resource *home) {
    switch (k->shape) {
    case SHAPE_SCHEMA: return compile_node(c, r->value, home, &r->node);
    case SHAPE_SCHEMAS:
    case SHAPE_MAP:
        TRY(compile_list(c, r, home));
        index_names(c, r);
        return OK;
    case SHAPE_PATTERNS:
        TRY(compile_list(c, r, home));
        return compile_patterns(c, r);
    case SHAPE_VALUE: break;
    }
    if (strcmp(k->name, "$ref") == 0 || strcmp(k->name, "$dynamicRef") == 0)
        return compile_reference(c, r, home);
    if (strcmp(k->name, "pattern") == 0) {
        r->patterns = ARENA_ARRAY(&c->schema->arena, pcre2_code *, 1);
        return compile_pattern(c, json_text(r->value), &r->patterns[0]);
    }
    return OK;
}

static err_t check_value(const struct keyword *k, json value) {
    enum json_type t = json_type(value);
    if (k->types && !(k->types & 1u << t))
        return ERR(INVALID, "must not be %s", json_type_name(t));
    if (k->shape == SHAPE_SCHEMAS && (t != JSON_ARRAY || !json_count(value)))
        return ERR(INVALID, "must be an array with at least one schema");
    if ((k->shape == SHAPE_MAP || k->shape == SHAPE_PATTERNS) && t != JSON_OBJECT)
        return ERR(INVALID, "must be an object of schemas");
    if (str_starts(str_of(k->name), S("m")) && k->types == 1u << JSON_NUMBER && k->validation &&
        strstr("maxLength minLength maxItems minItems maxContains minContains maxProperties "
               "minProperties",
               k->name)) {
        double n = -1;
        if (!number_is_integer(value) || !json_is_double(value, &n) || n < 0)
            return ERR(INVALID, "must be a whole number, 0 or more");
    }
    return OK;
}

static err_t compile_rule(struct compiler *c, const struct keyword *k, json value,
                          struct node *node) {
    struct rule *r = &node->rules[node->n];
    TRY(check_value(k, value));
    *r = (struct rule){ .check = k->check, .keyword = k->name, .value = value, .parent = node };
    TRY(compile_inside(c, k, r, node->resource));
    if (k->check)
        node->n++;
    return OK;
}

/* In the order of the table. Keywords beside it are annotations: ignored. */
static err_t compile_rules(struct compiler *c, struct node *node) {
    node->rules = ARENA_ARRAY(&c->schema->arena, struct rule, json_count(node->at) + 1);
    for (size_t i = 0; i < schema_keyword_count; i++) {
        const struct keyword *k = &schema_keywords[i];
        json value = json_get(node->at, str_of(k->name));
        if (!value || (k->validation && !node->resource->validates))
            continue;
        TRY_WRAP(compile_rule(c, k, value, node), "%s", k->name);
        if (strncmp(k->name, "unevaluated", 11) == 0)
            node->asks_seen = c->schema->asks_seen = true;
    }
    return OK;
}

static err_t make_node(struct compiler *c, json at, const struct resource *home,
                       const struct node **out) {
    struct json_schema *s = c->schema;
    bool yes = false;
    if (json_type(at) != JSON_OBJECT && !json_is_bool(at, &yes))
        return ERR(INVALID, "a schema is an object or a boolean, not %s",
                   json_type_name(json_type(at)));
    struct node *node = ARENA_NEW(&s->arena, struct node);
    const struct resource *own = idmap_get(&s->homes, (uintptr_t)at);
    *node = (struct node){ .never = json_type(at) == JSON_BOOL && !yes,
                           .resource = own ? own : home,
                           .at = at };
    idmap_put(&s->nodes, (uintptr_t)at, node);
    *out = node;
    return compile_rules(c, node);
}

static err_t compile_node(struct compiler *c, json at, const struct resource *home,
                          const struct node **out) {
    *out = idmap_get(&c->schema->nodes, (uintptr_t)at);
    if (*out)
        return OK;
    if (c->depth == COMPILE_DEPTH)
        return ERR(INVALID, "schemas are nested more than %d deep", COMPILE_DEPTH);
    c->depth++;
    err_t e = make_node(c, at, home, out);
    c->depth--;
    return e;
}

/* ---- documents ----------------------------------------------------------------------- */

/* A meta-schema of somebody's own may leave the validation vocabulary out (Core §8.1.2). */
static bool has_validation(struct json_schema *s, json root) {
    struct str uri = { 0 }, fragment;
    if (!json_is_string(json_get(root, S("$schema")), &uri))
        return true;
    const struct resource *meta = map_get(&s->resources, uri_without_fragment(uri, &fragment));
    json vocabulary = meta ? json_get(meta->root, S("$vocabulary")) : NULL;
    return !vocabulary ||
           json_get(vocabulary, S("https://json-schema.org/draft/2020-12/vocab/validation")) !=
               NULL;
}

static err_t add_document(struct json_schema *s, struct str uri, struct str text,
                          struct json_limits limits, struct resource **out) {
    json root = NULL;
    struct str id = { 0 }, fragment;
    struct str from = arena_dup(&s->arena, uri); /* it goes by both names */
    TRY(json_parse(&s->arena, text, limits, &root));
    if (json_is_string(json_get(root, S("$id")), &id))
        uri = uri_resolve(&s->arena, uri, uri_without_fragment(id, &fragment));
    struct resource *r = schema_resource(s, uri, root);
    map_put(&s->resources, from, r);
    if (out)
        *out = r;
    return schema_collect(s, root, r);
}

static err_t add_sources(struct json_schema *s, const struct json_schema_options *o,
                         struct json_limits limits) {
    TRY(add_document(s, S(META_URI), str_of(json_schema_meta), (struct json_limits){ 0 }, NULL));
    s->node_count = 0; /* only strangers' schemas count */
    for (size_t i = 0; i < o->source_count; i++)
        TRY_WRAP(add_document(s, o->sources[i].uri, o->sources[i].text, limits, NULL), "%.*s",
                 STR(o->sources[i].uri));
    return OK;
}

/* Keywords of other drafts mean other things: better not to judge by them. */
static err_t check_dialect(struct json_schema *s, json root, bool *out_other) {
    struct str uri = { 0 }, fragment;
    if (!json_is_string(json_get(root, S("$schema")), &uri) ||
        map_get(&s->resources, uri_without_fragment(uri, &fragment)))
        return OK;
    if (out_other)
        *out_other = true;
    return ERR(INVALID, "$schema: %.*s is not a dialect known here; 2020-12 is",
               STR(str_head(uri, 200)));
}

static err_t compile(struct json_schema *s, struct str text, const struct json_schema_options *o) {
    struct json_limits limits = { .bytes = o->max_bytes ? o->max_bytes : 256 * 1024, .depth = 64 };
    struct compiler c = { .schema = s };
    struct resource *root = NULL;
    TRY(add_sources(s, o, limits));
    TRY(add_document(s, S("schema:"), text, limits, &root));
    TRY(check_dialect(s, root->root, o->out_other_dialect));
    for (size_t i = 0; i < s->resource_count; i++)
        s->all_resources[i]->validates = has_validation(s, s->all_resources[i]->root);
    return compile_node(&c, root->root, root, &s->root);
}

err_t json_schema_compile(struct str text, const struct json_schema_options *options,
                          struct json_schema **out) {
    static const struct json_schema_options none = { 0 };
    const struct json_schema_options *o = options ? options : &none;
    struct json_schema *s = NEW(struct json_schema);
    arena_init(&s->arena, NULL, 0);
    s->match = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(s->match, 100000);
    pcre2_set_heap_limit(s->match, 1024);
    s->max_nodes = o->max_nodes ? o->max_nodes : 10000;
    s->max_steps = o->max_steps ? o->max_steps : 1000000;
    err_t e = compile(s, text, o);
    if (!e) {
        *out = s;
        return OK;
    }
    struct err saved = *e;
    json_schema_free(s);
    return err_again(&saved);
}

void json_schema_free(struct json_schema *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->pattern_count; i++)
        pcre2_code_free(s->patterns[i]);
    free(s->patterns);
    for (size_t i = 0; i < s->resource_count; i++) {
        map_done(&s->all_resources[i]->anchors);
        map_done(&s->all_resources[i]->dynamic);
    }
    for (size_t i = 0; i < s->index_count; i++)
        map_done(s->indexes[i]);
    free(s->indexes);
    pcre2_match_context_free(s->match);
    map_done(&s->resources);
    idmap_done(&s->nodes);
    idmap_done(&s->homes);
    arena_done(&s->arena);
    free(s);
}
