/* part.c - what one upstream offers (catalogue.h): read page by page, kept on disk.
 *
 * Items come from outside: each is parsed for itself, and one that breaks the protocol is
 * left out, so that a strict client does not refuse a whole list because of it. */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/catalogue.h"
#include "gateway/param_schema.h"

enum { ITEM_DEPTH = 100, FILE_DEPTH = 128, NAME_BYTES = 2048 };

static const struct kind_row {
    enum method list;
    struct str member, name;
} kinds[ITEM_KINDS] = {
    [ITEM_TOOL] = { METHOD_TOOLS_LIST, S_INIT("tools"), S_INIT("name") },
    [ITEM_PROMPT] = { METHOD_PROMPTS_LIST, S_INIT("prompts"), S_INIT("name") },
    [ITEM_RESOURCE] = { METHOD_RESOURCES_LIST, S_INIT("resources"), S_INIT("uri") },
    [ITEM_TEMPLATE] = { METHOD_TEMPLATES_LIST, S_INIT("resourceTemplates"), S_INIT("uriTemplate") },
};

struct part *part_new(struct str upstream) {
    struct part *p = NEW(struct part);
    p->refs = 1;
    p->revision = REV_NONE;
    p->upstream = arena_dup(&p->arena, upstream);
    return p;
}

struct part *part_ref(struct part *p) {
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
    return p;
}

void part_unref(struct part *p) {
    if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
        return;
    arena_done(&p->arena);
    free(p);
}

/* ---- items ------------------------------------------------------------------------- */

static bool hint(json item, struct str name) {
    bool value = false;
    json_is_bool(json_get(json_get(item, S("annotations")), name), &value);
    return value;
}

/* Few servers with apps declare them, since nothing asks them to: their tools say it. */
static bool is_app(json item) {
    json meta = json_get(item, S("_meta"));
    struct str uri;
    return json_is_string(json_get(json_get(meta, S("ui")), S("resourceUri")), &uri) ||
           json_is_string(json_get(meta, S("ui/resourceUri")), &uri);
}

static enum task_support task_support_of(json item) {
    struct str word = json_get_text(json_get(item, S("execution")), S("taskSupport"));
    return str_eq(word, S("required"))   ? TASK_REQUIRED
           : str_eq(word, S("optional")) ? TASK_OPTIONAL
                                         : TASK_FORBIDDEN;
}

static err_t check_tool(struct part *p, struct part_item *item) {
    json schema = json_get(item->value, S("inputSchema"));
    if (json_type(schema) != JSON_OBJECT || !str_eq(json_get_text(schema, S("type")), S("object")))
        return ERR(INVALID, "inputSchema is not a schema of type \"object\" (P-190)");
    item->safe_to_repeat = hint(item->value, S("readOnlyHint")) ||
                           hint(item->value, S("idempotentHint"));
    p->has.apps |= is_app(item->value);
    item->task_support = task_support_of(item->value);
    return param_schema_read(&p->arena, schema, &item->header_params);
}

static err_t check_resource(enum item_kind kind, struct part_item *item) {
    struct str label;
    if (!json_is_string(json_get(item->value, S("name")), &label))
        return ERR(INVALID, "name is missing");
    if (kind == ITEM_TEMPLATE && !uri_template_valid(item->name))
        return ERR(INVALID, "uriTemplate is no RFC 6570 template");
    return OK;
}

static err_t read_item(struct part *p, enum item_kind kind, struct str raw,
                       struct part_item *item) {
    *item = (struct part_item){ .raw = arena_dup(&p->arena, raw), .safe_to_repeat = true };
    TRY(json_parse(&p->arena, item->raw, (struct json_limits){ .depth = ITEM_DEPTH },
                   &item->value));
    const struct kind_row *row = &kinds[kind];
    if (!json_is_string(json_get(item->value, row->name), &item->name) || !item->name.n)
        return ERR(INVALID, "%.*s is missing", STR(row->name));
    if (item->name.n > NAME_BYTES)
        return ERR(INVALID, "%.*s is longer than %d bytes", STR(row->name), NAME_BYTES);
    if (kind == ITEM_TOOL)
        return check_tool(p, item);
    return kind == ITEM_PROMPT ? OK : check_resource(kind, item);
}

/* Grows when the count is a power of two; the old array stays in the arena, which at most
 * doubles it. */
static struct part_item *new_item(struct part *p, enum item_kind kind) {
    size_t n = p->counts[kind];
    if (!(n & (n - 1))) {
        struct part_item *more = arena_alloc(&p->arena, sizeof *more * (n ? 2 * n : 1));
        if (n)
            memcpy(more, p->items[kind], sizeof *more * n);
        p->items[kind] = more;
    }
    return &p->items[kind][n];
}

static void add_item(struct part *p, enum item_kind kind, struct str raw) {
    struct part_item *item = new_item(p, kind);
    err_t e = read_item(p, kind, raw, item);
    if (!e)
        p->counts[kind]++;
    else
        log_warn("item left out", F("upstream", p->upstream),
                 F("list", method_name(kinds[kind].list)), F("item", str_head(item->name, 200)),
                 F("error", e->text));
}

static enum item_kind kind_of(enum method list) {
    enum item_kind kind = ITEM_TOOL;
    while (kind < ITEM_KINDS && kinds[kind].list != list)
        kind++;
    return kind;
}

/* null is an absent cursor (P-090); "" is one. */
static struct str cursor_of(const struct part *p, struct str result) {
    struct str raw = json_raw_get(result, S("nextCursor"));
    if (!raw.p || str_eq(raw, S("null")))
        return (struct str){ 0 };
    if (raw.p[0] == '"')
        return raw;
    log_warn("nextCursor is not a string: the list ends here", F("upstream", p->upstream));
    return (struct str){ 0 };
}

err_t part_add_page(struct part *p, enum method list, struct str result, struct str *cursor) {
    enum item_kind kind = kind_of(list);
    if (kind == ITEM_KINDS)
        return ERR(INTERNAL, "%.*s is no list", STR(method_name(list)));
    struct str items = json_raw_get(result, kinds[kind].member);
    if (!items.n || items.p[0] != '[')
        return ERR(UPSTREAM, "the result has no array \"%.*s\"", STR(kinds[kind].member));
    for (struct json_members m = json_elements(items); json_element(&m);)
        add_item(p, kind, m.value);
    *cursor = cursor_of(p, result);
    return OK;
}

/* ---- disk -------------------------------------------------------------------------- */

/* Flags of struct capabilities by the names they have in files. */
static const struct flag {
    const char *name;
    size_t at;
} flags[] = {
    { "tools", offsetof(struct capabilities, tools) },
    { "prompts", offsetof(struct capabilities, prompts) },
    { "resources", offsetof(struct capabilities, resources) },
    { "completions", offsetof(struct capabilities, completions) },
    { "logging", offsetof(struct capabilities, logging) },
    { "subscribe", offsetof(struct capabilities, subscribe) },
    { "apps", offsetof(struct capabilities, apps) },
    { "listChanged", offsetof(struct capabilities, list_changed) },
    { "tasks", offsetof(struct capabilities, tasks) },
};

static bool *flag_of(const struct capabilities *c, const struct flag *f) {
    return (bool *)((char *)(uintptr_t)c + f->at);
}

void part_write(struct buf *out, const struct part *p) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "upstream", p->upstream);
    jw_put_string(&w, "revision", revision_text(p->revision));
    jw_key(&w, S("has"));
    jw_object(&w);
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        jw_put_bool(&w, flags[i].name, *flag_of(&p->has, &flags[i]));
    jw_object_end(&w);
    jw_put_string(&w, "instructions", p->instructions);
    if (p->server_info.n)
        jw_put_raw(&w, "serverInfo", p->server_info);
    for (enum item_kind kind = ITEM_TOOL; kind < ITEM_KINDS; kind++) {
        jw_key(&w, kinds[kind].member);
        jw_array(&w);
        for (size_t i = 0; i < p->counts[kind]; i++)
            jw_raw(&w, p->items[kind][i].raw);
        jw_array_end(&w);
    }
    jw_object_end(&w);
}

static void part_scope(struct part **p) {
    part_unref(*p);
}

static err_t read_head(struct part *p, json file, struct str text) {
    p->revision = revision_parse(json_get_text(file, S("revision")));
    if (p->revision == REV_NONE)
        return ERR(INVALID, "the revision is unknown");
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        json_is_bool(json_get(json_get(file, S("has")), str_of(flags[i].name)),
                     flag_of(&p->has, &flags[i]));
    p->instructions = arena_dup(&p->arena, json_get_text(file, S("instructions")));
    struct str info = json_raw_get(text, S("serverInfo"));
    p->server_info = info.p ? arena_dup(&p->arena, info) : info;
    p->stale = true;
    return OK;
}

err_t part_read(struct str text, struct part **out) {
    SCOPED(arena_scope) struct arena a = { 0 };
    json file = NULL;
    struct str name, cursor;
    TRY(json_parse(&a, text, (struct json_limits){ .depth = FILE_DEPTH }, &file));
    if (!json_is_string(json_get(file, S("upstream")), &name))
        return ERR(INVALID, "not a part of a catalogue: member upstream is missing");
    SCOPED(part_scope) struct part *p = part_new(name);
    TRY(read_head(p, file, text));
    for (enum item_kind kind = ITEM_TOOL; kind < ITEM_KINDS; kind++)
        TRY(part_add_page(p, kinds[kind].list, text, &cursor));
    *out = TAKE(p);
    return OK;
}

static bool same_items(const struct part *a, const struct part *b, enum item_kind kind) {
    if (a->counts[kind] != b->counts[kind])
        return false;
    for (size_t i = 0; i < a->counts[kind]; i++)
        if (!str_eq(a->items[kind][i].raw, b->items[kind][i].raw))
            return false;
    return true;
}

bool part_equal(const struct part *a, const struct part *b) {
    if (!str_eq(a->upstream, b->upstream) || a->revision != b->revision ||
        !str_eq(a->instructions, b->instructions) || !str_eq(a->server_info, b->server_info))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (*flag_of(&a->has, &flags[i]) != *flag_of(&b->has, &flags[i]))
            return false;
    for (enum item_kind kind = ITEM_TOOL; kind < ITEM_KINDS; kind++)
        if (!same_items(a, b, kind))
            return false;
    return true;
}
