/* catalogue.c - merging parts (catalogue.h): shown names, tables, order, collisions. */
#include "gateway/catalogue.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "mcp/names.h"

/* Merged instructions (P-628): one upstream's share, and all of it. */
enum { SECTION_BYTES = 4096, INSTRUCTIONS_BYTES = 16384 };

static const enum method list_of[ITEM_KINDS] = {
    [ITEM_TOOL] = METHOD_TOOLS_LIST,
    [ITEM_PROMPT] = METHOD_PROMPTS_LIST,
    [ITEM_RESOURCE] = METHOD_RESOURCES_LIST,
    [ITEM_TEMPLATE] = METHOD_TEMPLATES_LIST,
};

static bool by_name(enum item_kind kind) {
    return kind == ITEM_TOOL || kind == ITEM_PROMPT;
}

static bool in_globs(const struct str_list *globs, struct str name) {
    for (size_t i = 0; i < globs->n; i++)
        if (str_glob(globs->items[i], name))
            return true;
    return false;
}

/* ---- entries ----------------------------------------------------------------------- */

static bool offered(const struct upstream_conf *conf, enum item_kind kind, struct str name) {
    if (!by_name(kind))
        return true;
    return (!conf->allow.n || in_globs(&conf->allow, name)) && !in_globs(&conf->deny, name);
}

static struct uri_map uris_of(const struct upstream_conf *conf) {
    return (struct uri_map){ .upstream = conf->name, .rewrite = conf->rewrite_uris };
}

static struct str shown_of(struct catalogue *c, const struct upstream_conf *conf,
                           enum item_kind kind, struct str name) {
    if (by_name(kind))
        return name_show(&c->arena, conf->prefix ? conf->name : S(""), name);
    SCOPED(buf_done) struct buf shown = { 0 };
    struct uri_map map = uris_of(conf);
    uri_show(&shown, &map, name);
    return arena_dup(&c->arena, buf_view(&shown));
}

/* What a server says of a tool counts where it declares tasks at all (P-203, P-291); with the
 * extension it decides call by call (P-293). */
static enum task_support support_of(const struct catalogue_source *s, enum item_kind kind,
                                    const struct part_item *item) {
    if (kind != ITEM_TOOL || !s->part->has.tasks)
        return TASK_FORBIDDEN;
    bool says = s->conf->type == UPSTREAM_BUILTIN || revision_era(s->part->revision) == ERA_LEGACY;
    return says ? item->task_support : TASK_OPTIONAL;
}

/* Towards clients no tool requires a task, since we wait for it where they cannot (P-446), and
 * those of a server with the extension may be tasks (P-417). */
static struct str with_execution(struct catalogue *c, enum task_support support, struct str raw) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_char(&b, '{');
    for (struct json_members m = json_members(raw); json_member(&m);)
        if (!str_eq(m.key, S("execution")))
            buf_fmt(&b, "%s\"%.*s\":%.*s", b.n > 1 ? "," : "", STR(m.key), STR(m.value));
    if (support != TASK_FORBIDDEN) /* inputSchema is before it */
        buf_str(&b, S(",\"execution\":{\"taskSupport\":\"optional\"}"));
    buf_char(&b, '}');
    return arena_dup(&c->arena, buf_view(&b));
}

/* A tool may point at a resource of its server (P-305, P-636). */
static struct str raw_of(struct catalogue *c, const struct upstream_conf *conf, enum item_kind kind,
                         struct str raw) {
    if (kind != ITEM_TOOL || !conf->rewrite_uris || str_find(raw, S("resourceUri")) < 0)
        return raw;
    SCOPED(buf_done) struct buf b = { 0 };
    struct uri_map map = uris_of(conf);
    translate_item_uris(&b, list_of[kind], raw, &map);
    return arena_dup(&c->arena, buf_view(&b));
}

static uint64_t mix(uint64_t digest, const struct entry *e) {
    uint64_t words[] = { digest, hash_str(e->shown), hash_str(e->raw) };
    return hash_bytes(words, sizeof words);
}

/* The first of a name keeps it (P-602). */
static void add_entry(struct catalogue *c, const struct catalogue_source *s, unsigned upstream,
                      enum item_kind kind, const struct part_item *item) {
    struct str shown = shown_of(c, s->conf, kind, item->name);
    struct entry *e = &c->entries[kind][c->counts[kind]];
    const struct entry *taken = map_get(&c->by_shown[kind], shown);
    if (taken) {
        log_warn("name taken: item left out", F("upstream", s->conf->name), F("item", item->name),
                 F("by", c->parts[taken->upstream]->upstream));
        return;
    }
    enum task_support support = support_of(s, kind, item);
    bool waits = support == TASK_REQUIRED && s->conf->tasks == TASKS_WAIT;
    struct str raw = item->raw;
    if (kind == ITEM_TOOL && (waits || support != item->task_support))
        raw = with_execution(c, support, raw);
    *e = (struct entry){
        .kind = kind, .upstream = upstream, .index = (unsigned)c->total, .metric = (uint32_t)c->total,
        .shown = shown, .name = item->name, .raw = raw_of(c, s->conf, kind, raw),
        .safe_to_repeat = item->safe_to_repeat, .task_support = support, .header_params = item->header_params,
    };
    map_put(&c->by_shown[kind], e->shown, e);
    c->kind_digest[kind] = mix(c->kind_digest[kind], e);
    c->counts[kind]++;
    c->total++;
}

static void add_kind(struct catalogue *c, const struct catalogue_source *sources, size_t n,
                     enum item_kind kind) {
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        most += sources[i].part ? sources[i].part->counts[kind] : 0;
    c->entries[kind] = ARENA_ARRAY(&c->arena, struct entry, most);
    c->first[kind] = ARENA_ARRAY(&c->arena, size_t, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct part *p = sources[i].part;
        c->first[kind][i] = c->counts[kind];
        for (size_t k = 0; p && k < p->counts[kind]; k++)
            if (offered(sources[i].conf, kind, p->items[kind][k].name))
                add_entry(c, &sources[i], (unsigned)i, kind, &p->items[kind][k]);
    }
    c->first[kind][n] = c->counts[kind];
}

/* ---- what is said of all ----------------------------------------------------------- */

/* Of all (P-625). What an unknown upstream will have is not known, so lists are declared:
 * they may be empty (P-180), and list_changed tells when they fill (P-621). */
static void add_capabilities(struct capabilities *all, const struct part *p) {
    static const struct capabilities unknown = { .tools = true,
                                                 .prompts = true,
                                                 .resources = true };
    const struct capabilities *has = p ? &p->has : &unknown;
    all->tools |= has->tools;
    all->prompts |= has->prompts;
    all->resources |= has->resources;
    all->completions |= has->completions;
    all->logging |= has->logging;
    all->subscribe |= has->subscribe;
    all->apps |= has->apps;
    all->tasks |= has->tasks;
    all->list_changed = true;
}

/* Cut between characters. */
static struct str head_utf8(struct str s, size_t n) {
    if (s.n <= n)
        return s;
    while (n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return str_head(s, n);
}

static void add_section(struct buf *b, const struct part *p) {
    if (!p->instructions.n || b->n >= INSTRUCTIONS_BYTES)
        return;
    struct str text = head_utf8(p->instructions, SECTION_BYTES);
    buf_fmt(b, "%s## %.*s\n\n(Written by the server \"%.*s\", not by this gateway.)\n\n",
            b->n ? "\n\n" : "", STR(p->upstream), STR(p->upstream));
    buf_str(b, text);
}

/* `access` NULL: of all. */
struct str catalogue_instructions(const struct catalogue *c, const struct access *access,
                                  struct arena *a, struct str own) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, own);
    for (size_t i = 0; i < c->part_count; i++)
        if (c->parts[i] && (!access || access_has_upstream(access, i)))
            add_section(&b, c->parts[i]);
    size_t cap = own.n > INSTRUCTIONS_BYTES ? own.n : INSTRUCTIONS_BYTES;
    return arena_dup(a, head_utf8(buf_view(&b), cap));
}

static struct str name_missing(struct catalogue *c, const struct catalogue_source *sources,
                               size_t n) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    size_t count = 0;
    jw_array(&w);
    for (size_t i = 0; i < n; i++)
        if (sources[i].missing) {
            jw_string(&w, sources[i].conf->name);
            count++;
        }
    jw_array_end(&w);
    return count ? arena_dup(&c->arena, buf_view(&b)) : (struct str){ 0 };
}

struct catalogue *catalogue_new(const struct catalogue_source *sources, size_t n,
                                struct str instructions, uint64_t generation) {
    struct catalogue *c = NEW(struct catalogue);
    c->generation = generation;
    c->part_count = n;
    c->parts = ARENA_ARRAY(&c->arena, struct part *, n);
    for (size_t i = 0; i < n; i++) {
        c->parts[i] = sources[i].part ? part_ref(sources[i].part) : NULL;
        add_capabilities(&c->has, sources[i].part);
    }
    for (enum item_kind kind = ITEM_TOOL; kind < ITEM_KINDS; kind++)
        add_kind(c, sources, n, kind);
    c->instructions = catalogue_instructions(c, NULL, &c->arena, instructions);
    c->missing = name_missing(c, sources, n);
    return c;
}

void catalogue_free(struct catalogue *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->part_count; i++)
        part_unref(c->parts[i]);
    for (enum item_kind kind = ITEM_TOOL; kind < ITEM_KINDS; kind++)
        map_done(&c->by_shown[kind]);
    arena_done(&c->arena);
    free(c);
}

/* ---- looking up -------------------------------------------------------------------- */

const struct entry *catalogue_find(const struct catalogue *c, enum item_kind kind,
                                   struct str shown) {
    return map_get(&c->by_shown[kind], shown);
}

static const struct entry *template_of(const struct catalogue *c, size_t from, size_t to,
                                       struct str uri) {
    for (size_t i = from; i < to; i++) {
        const struct entry *e = &c->entries[ITEM_TEMPLATE][i];
        if (uri_template_matches(e->name, uri))
            return e;
    }
    return NULL;
}

/* The upstream that the name in a rewritten URI means. */
static size_t owner_of(const struct catalogue_source *sources, size_t n, struct str name) {
    size_t i = 0;
    while (i < n && !(sources[i].conf->rewrite_uris && str_eq(sources[i].conf->name, name)))
        i++;
    return i < n && (!sources[i].part || sources[i].part->has.resources) ? i : n;
}

/* One resource has one spelling, or a denied one could be asked for by another: what uri_show
 * makes, with the scheme in small letters where nothing of the upstream's spells it otherwise. */
static bool is_our_spelling(struct str shown, struct str name, struct str original, bool listed) {
    SCOPED(buf_done) struct buf again = { 0 };
    uri_show(&again, &(struct uri_map){ .upstream = name, .rewrite = true }, original);
    for (size_t i = 0; !listed && i < shown.n && shown.p[i] != ':'; i++)
        if (shown.p[i] >= 'A' && shown.p[i] <= 'Z')
            return false;
    return str_eq(buf_view(&again), shown);
}

static bool route_rewritten(const struct catalogue *c, const struct catalogue_source *sources,
                            size_t n, struct arena *a, struct str shown,
                            struct resource_route *out) {
    SCOPED(buf_done) struct buf original = { 0 };
    struct str name;
    if (!uri_restore(shown, &name, &original))
        return false;
    size_t i = owner_of(sources, n, name);
    if (i == n)
        return false;
    const size_t *first = c->first[ITEM_TEMPLATE];
    const struct entry *e = template_of(c, first[i], first[i + 1], buf_view(&original));
    if (!is_our_spelling(shown, name, buf_view(&original), e != NULL))
        return false;
    *out = (struct resource_route){ (unsigned)i, arena_dup(a, buf_view(&original)), e };
    return true;
}

/* A template whose expansions clients see as they are. */
static bool route_native(const struct catalogue *c, struct str uri, struct resource_route *out) {
    for (size_t i = 0; i < c->counts[ITEM_TEMPLATE]; i++) {
        const struct entry *e = &c->entries[ITEM_TEMPLATE][i];
        if (!str_eq(e->shown, e->name) || !uri_template_matches(e->name, uri))
            continue;
        *out = (struct resource_route){ e->upstream, uri, e };
        return true;
    }
    return false;
}

bool catalogue_route_uri(const struct catalogue *c, const struct catalogue_source *sources,
                         size_t n, struct arena *a, struct str shown, struct resource_route *out) {
    const struct entry *e = catalogue_find(c, ITEM_RESOURCE, shown);
    if (e) {
        *out = (struct resource_route){ e->upstream, e->name, e };
        return true;
    }
    return route_rewritten(c, sources, n, a, shown, out) || route_native(c, shown, out);
}
