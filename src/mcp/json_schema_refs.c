/* json_schema_refs.c - where $ref can lead (Core §8.2): resources by URI, anchors by name,
 * JSON pointers (RFC 6901) inside a resource. */
#include "mcp/json_schema_private.h"

struct resource *schema_resource(struct json_schema *s, struct str uri, json root) {
    struct resource *r = ARENA_NEW(&s->arena, struct resource);
    *r = (struct resource){ .uri = arena_dup(&s->arena, uri), .root = root, .validates = true };
    map_put(&s->resources, r->uri, r);
    struct resource **all = ARENA_ARRAY(&s->arena, struct resource *, s->resource_count + 1);
    if (s->resource_count)
        memcpy(all, s->all_resources, s->resource_count * sizeof(struct resource *));
    all[s->resource_count++] = r;
    s->all_resources = all;
    return r;
}

static const struct keyword *keyword_of(struct str name) {
    for (size_t i = 0; i < schema_keyword_count; i++)
        if (str_eq(str_of(schema_keywords[i].name), name))
            return &schema_keywords[i];
    return NULL;
}

static err_t collect_inside(struct json_schema *s, enum shape shape, json value,
                            struct resource *home) {
    if (shape == SHAPE_VALUE)
        return OK;
    if (shape == SHAPE_SCHEMA)
        return schema_collect(s, value, home);
    for (struct json_iter it = json_iter(value); json_next(&it);)
        TRY(schema_collect(s, it.value, home));
    return OK;
}

static void collect_anchors(json value, struct resource *home) {
    struct str name = { 0 };
    if (json_is_string(json_get(value, S("$anchor")), &name))
        map_put(&home->anchors, name, (void *)(uintptr_t)value);
    if (json_is_string(json_get(value, S("$dynamicAnchor")), &name)) {
        map_put(&home->anchors, name, (void *)(uintptr_t)value);
        map_put(&home->dynamic, name, (void *)(uintptr_t)value);
    }
}

err_t schema_collect(struct json_schema *s, json value, struct resource *home) {
    struct str id = { 0 }, fragment;
    if (json_type(value) != JSON_OBJECT)
        return OK;
    if (idmap_get(&s->homes, (uintptr_t)value))
        return OK;
    if (++s->node_count > s->max_nodes)
        return ERR(INVALID, "the schema has more than %zu subschemas", s->max_nodes);
    if (json_is_string(json_get(value, S("$id")), &id) && value != home->root)
        home = schema_resource(
            s, uri_resolve(&s->arena, home->uri, uri_without_fragment(id, &fragment)), value);
    idmap_put(&s->homes, (uintptr_t)value, home);
    collect_anchors(value, home);
    for (struct json_iter it = json_iter(value); json_next(&it);) {
        const struct keyword *k = keyword_of(it.key);
        if (k)
            TRY(collect_inside(s, k->shape, it.value, home));
    }
    return OK;
}

/* ---- looking up -------------------------------------------------------------------- */

static int hex(char c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* "%25" and the like (RFC 3986 §2.1); then "~1" and "~0" of one pointer segment. */
static struct str decoded(struct arena *a, struct str s) {
    char *out = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool coded = s.p[i] == '%' && i + 2 < s.n + 0 && hex(s.p[i + 1]) >= 0 &&
                     hex(s.p[i + 2]) >= 0;
        out[n++] = coded ? (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2])) : s.p[i];
        i += coded ? 2 : 0;
    }
    return str_from(out, n);
}

static struct str unescaped(struct arena *a, struct str segment) {
    char *out = arena_alloc(a, segment.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < segment.n; i++) {
        bool tilde = segment.p[i] == '~' && i + 1 < segment.n;
        out[n++] = !tilde ? segment.p[i] : segment.p[i + 1] == '1' ? '/' : '~';
        i += tilde;
    }
    return str_from(out, n);
}

static json follow(struct json_schema *s, json at, struct str pointer,
                   const struct resource **home) {
    struct str rest = str_skip(pointer, 1);
    while (at && rest.p) {
        struct str name = unescaped(&s->arena, str_cut(&rest, '/'));
        uint64_t index = 0;
        if (json_type(at) == JSON_ARRAY)
            at = str_to_u64(name, &index) && index < json_count(at) ? json_at(at, (size_t)index)
                                                                    : NULL;
        else
            at = json_get(at, name);
        const struct resource *other = at ? idmap_get(&s->homes, (uintptr_t)at) : NULL;
        if (other)
            *home = other;
    }
    return at;
}

err_t schema_look_up(struct json_schema *s, const struct resource *from, struct str reference,
                     json *out, const struct resource **out_home, struct str *out_dynamic) {
    struct str fragment;
    struct str uri = uri_resolve(&s->arena, from->uri, uri_without_fragment(reference, &fragment));
    const struct resource *r = map_get(&s->resources, uri);
    *out_dynamic = (struct str){ 0 };
    if (!r)
        return ERR(INVALID,
                   "the reference to %.*s leads to no schema that is here; nothing is fetched",
                   STR(str_head(uri, 200)));
    fragment = fragment.p ? decoded(&s->arena, fragment) : S("");
    json found = r->root;
    if (fragment.n && fragment.p[0] == '/')
        found = follow(s, found, fragment, &r);
    else if (fragment.n)
        found = map_get(&r->anchors, fragment);
    if (!found)
        return ERR(INVALID, "the reference to #%.*s leads nowhere", STR(str_head(fragment, 200)));
    if (fragment.n && map_get(&r->dynamic, fragment) == (const void *)found)
        *out_dynamic = fragment;
    *out = found;
    *out_home = r;
    return OK;
}
