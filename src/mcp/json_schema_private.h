/* json_schema_private.h - the compiled form, shared by the files of json_schema alone.
 *
 * A schema object becomes a node: a list of rules, one for each keyword that asserts or
 * applies something, in the order of the keyword table, so that those which look at what
 * others have evaluated come last. */
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/map.h"
#include "base/mem.h"
#include "mcp/json_schema.h"
#include <pcre2.h>

struct node;
struct rule;
struct run;

/* Which members or elements of one instance a schema has evaluated: for unevaluated…. */
struct seen {
    bool wanted;       /* somebody will ask */
    size_t n;          /* members or elements of the instance */
    uint64_t *bits;    /* NULL until the first is marked */
};

typedef bool check_fn(struct run *r, const struct rule *rule, json instance, struct seen *seen);

struct rule {
    check_fn *check;
    const char *keyword;
    json value;              /* of the keyword */
    const struct node *node; /* the subschema, where there is one */
    const struct node **nodes; /* of a list, or of a map with `names` */
    struct str *names;
    pcre2_code **patterns;
    struct map *by_name;     /* of names to nodes; NULL: few names */
    size_t n;
    const struct node *parent; /* for siblings */
    struct str anchor;       /* $dynamicRef that may be resolved anew */
};

/* A schema document or an embedded one with an $id of its own. */
struct resource {
    struct str uri;      /* absolute, without fragment */
    json root;
    struct map anchors, dynamic; /* name -> json */
    bool validates;      /* its meta-schema has the validation vocabulary */
};

struct node {
    bool never;          /* the schema `false` */
    bool asks_seen;      /* has unevaluatedProperties or unevaluatedItems */
    const struct resource *resource;
    json at;
    struct rule *rules;
    size_t n;
};

struct json_schema {
    struct arena arena;
    const struct node *root;
    struct map resources;   /* by uri */
    struct idmap nodes;     /* by address of their value */
    struct idmap homes;     /* value -> resource */
    pcre2_code **patterns;
    pcre2_match_context *match; /* with limits */
    struct map **indexes;
    struct resource **all_resources;
    size_t pattern_count, index_count, resource_count, node_count, max_nodes;
    bool asks_seen;         /* any node does: else nothing is marked */
    uint64_t max_steps;
};

/* What a keyword holds. */
enum shape {
    SHAPE_VALUE,    /* no schema inside */
    SHAPE_SCHEMA,
    SHAPE_SCHEMAS,  /* array of at least one */
    SHAPE_MAP,      /* object of name -> schema */
    SHAPE_PATTERNS, /* object of regular expression -> schema */
};

struct keyword {
    const char *name;
    enum shape shape;
    unsigned types;     /* of the value: 1 << enum json_type; 0: any */
    bool validation;    /* of the validation vocabulary */
    check_fn *check;    /* NULL: nothing to check by itself */
};
extern const struct keyword schema_keywords[];
extern const size_t schema_keyword_count;

/* json_schema_uri.c: reference resolution of RFC 3986 §5.2, in the arena. */
struct str uri_resolve(struct arena *a, struct str base, struct str reference);
/* Cuts off "#fragment"; *fragment is what stood behind the hash. */
struct str uri_without_fragment(struct str uri, struct str *fragment);

/* json_schema_refs.c: finds embedded resources and anchors; looks references up. */
err_t schema_collect(struct json_schema *s, json value, struct resource *home);
struct resource *schema_resource(struct json_schema *s, struct str uri, json root);
err_t schema_look_up(struct json_schema *s, const struct resource *from, struct str reference,
                     json *out, const struct resource **out_home, struct str *out_dynamic);

/* json_schema_number.c: exact where doubles are not. */
bool number_is_integer(json number);
bool number_is_multiple(json number, json of);
int number_compare(json a, json b);

/* The meta-schema, as one document (json_schema_meta.c). */
extern const char json_schema_meta[];
#define META_URI "https://json-schema.org/draft/2020-12/schema"
