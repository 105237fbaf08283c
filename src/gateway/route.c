/* route.c - see route.h. */
#include "gateway/route.h"
#include "base/mem.h"

static bool refuse_unknown(struct exchange *x, const char *what, struct str name) {
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "Unknown %s: %.*s", what,
                 STR(str_head(name, 200)));
    return false;
}

/* Is it a name of an upstream that this caller may use and whose lists nobody knows yet? */
static bool of_unreached(const struct exchange *x, unsigned upstream, struct str name) {
    const struct catalogue_source *s = &x->snapshot->sources[upstream];
    struct str own = s->conf->name;
    return s->missing && !s->part && s->conf->prefix && str_starts(name, own) &&
           str_starts(str_skip(name, own.n), S("__")) &&
           access_allows_uri(x->view->access, upstream, name);
}

/* What may well be there is not called unknown: clients would forget it for good. */
static bool refuse_absent(struct exchange *x, const char *what, struct str shown, struct str name) {
    for (unsigned i = 0; name.p && i < x->snapshot->upstream_count; i++) {
        if (!of_unreached(x, i, name))
            continue;
        x->upstream = x->snapshot->upstreams[i];
        answer_failure(x, ERR(UNAVAILABLE,
                              "upstream %.*s has not answered yet, so its %ss are not known; "
                              "the gateway's log says why",
                              STR(x->upstream->conf->name), what));
        return false;
    }
    return refuse_unknown(x, what, shown);
}

static bool take_entry(struct exchange *x, const struct entry *e) {
    x->entry = e;
    x->upstream = x->snapshot->upstreams[e->upstream];
    x->target = e->name;
    return true;
}

/* ---- by name ------------------------------------------------------------------------ */

/* The catalogue's name for what a profile renamed. */
static struct str unrenamed(const struct exchange *x, struct str name) {
    if (!x->profile)
        return name;
    for (size_t i = 0; i < x->profile->rename.n; i++)
        if (str_eq(x->profile->rename.items[i].value, name))
            return x->profile->rename.items[i].name;
    for (size_t i = 0; i < x->profile->rename.n; i++)
        if (str_eq(x->profile->rename.items[i].name, name))
            return (struct str){ 0 }; /* goes by its new name only */
    return name;
}

static bool route_by_name(struct exchange *x, enum item_kind kind, const char *what,
                          struct str name) {
    struct str known = unrenamed(x, name);
    const struct entry *e = known.p ? catalogue_find(x->snapshot->catalogue, kind, known) : NULL;
    if (!e || !access_has(x->view->access, e->index))
        return refuse_absent(x, what, name, known);
    return take_entry(x, e);
}

/* ---- by URI ------------------------------------------------------------------------- */

static bool refuse_resource(struct exchange *x, struct str uri) {
    SCOPED(buf_done) struct buf data = { 0 };
    struct jw w = jw_init(&data);
    jw_object(&w);
    jw_put_string(&w, "uri", uri);
    jw_object_end(&w);
    bool reads = x->method != METHOD_COMPLETE; /* else it is a wrong parameter (P-211, P-222) */
    int code = reads && x->era == ERA_LEGACY ? RPC_RESOURCE_NOT_FOUND : RPC_INVALID_PARAMS;
    answer_error(x, 0, code, buf_view(&data), "Resource not found: %.*s", STR(str_head(uri, 200)));
    return false;
}

/* A template that may be used opens its expansions, but for those that are denied by themselves. */
static bool may_read(const struct exchange *x, const struct resource_route *route, struct str uri) {
    const struct access *a = x->view->access;
    if (!route->entry)
        return access_allows_uri(a, route->upstream, uri);
    return access_has(a, route->entry->index) && !access_denies_uri(a, uri);
}

bool route_resource(struct exchange *x, struct str shown) {
    struct resource_route route;
    if (!catalogue_route_uri(x->snapshot->catalogue, x->snapshot->sources,
                             x->snapshot->upstream_count, x->arena, shown, &route) ||
        !may_read(x, &route, shown))
        return false;
    x->entry = route.entry;
    x->upstream = x->snapshot->upstreams[route.upstream];
    x->target = route.original;
    return true;
}

static bool route_by_uri(struct exchange *x, struct str uri) {
    return route_resource(x, uri) || refuse_resource(x, uri);
}

/* ---- the step ----------------------------------------------------------------------- */

/* completion/complete names a prompt or a resource in `ref` (P-629). */
static bool route_completion(struct exchange *x, struct str *out_name) {
    struct str ref = json_raw_get(x->in.params, S("ref"));
    struct str type = ref.p ? json_raw_get(ref, S("type")) : ref;
    bool prompt = type.p && str_eq(type, S("\"ref/prompt\""));
    struct str raw = ref.p ? json_raw_get(ref, prompt ? S("name") : S("uri")) : ref;
    if (!raw.p || raw.p[0] != '"')
        return refuse_unknown(x, "completion reference", ref);
    *out_name = str_from(raw.p + 1, raw.n - 2);
    struct str name = json_unquote(x->arena, raw);
    if (prompt)
        return route_by_name(x, ITEM_PROMPT, "prompt", name);
    const struct entry *e = catalogue_find(x->snapshot->catalogue, ITEM_TEMPLATE, name);
    if (e && access_has(x->view->access, e->index))
        return take_entry(x, e);
    return route_by_uri(x, name);
}

static bool refuse_nameless(struct exchange *x) {
    answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 }, "params.%s must be a string",
                 x->method == METHOD_RESOURCES_READ ? "uri" : "name");
    return false;
}

bool route_call(struct exchange *x, struct str *out_name) {
    *out_name = x->in.name;
    if (x->method == METHOD_COMPLETE)
        return route_completion(x, out_name);
    if (!x->in.name.p)
        return refuse_nameless(x);
    switch (x->method) {
    case METHOD_TOOLS_CALL: return route_by_name(x, ITEM_TOOL, "tool", exchange_name(x));
    case METHOD_PROMPTS_GET: return route_by_name(x, ITEM_PROMPT, "prompt", exchange_name(x));
    default: return route_by_uri(x, exchange_name(x));
    }
}
