/* rest_items.c - see rest_items.h. */
#include "control/rest_items.h"
#include "base/mem.h"
#include "control/json_patch.h"
#include "control/private.h"

#define REGISTRY_SOURCE S("registry")

/* ---- gathering ----------------------------------------------------------------------- */

struct item *item_add(struct item_array *all, struct str name) {
    if (all->n == all->room) {
        size_t room = all->room * 2 + 16;
        struct item *more = ARENA_ARRAY(all->arena, struct item, room);
        if (all->n)
            memcpy(more, all->items, all->n * sizeof *more);
        all->items = more;
        all->room = room;
    }
    struct item *item = &all->items[all->n++];
    *item = (struct item){ .name = arena_dup(all->arena, name) };
    return item;
}

static struct item *find(const struct item_array *all, struct str name) {
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->items[i].name, name))
            return &all->items[i];
    return NULL;
}

struct gathering {
    const struct resource *of;
    struct control *control;
    struct item_array *all;
};

/* The asker waits meanwhile, so its arena is ours. */
static err_t collect_at_home(struct task *t, void *arg) {
    struct gathering *g = arg;
    g->of->collect(g->control, g->all);
    return OK;
}

/* What is stored but does not run is shown too: an item that the file's shadows is the file's. */
static err_t add_stored(struct rest *r, const struct resource *of, struct item_array *all,
                        const struct registry_item *stored) {
    struct item *item = find(all, stored->name);
    if (item && !str_eq(item->source, REGISTRY_SOURCE))
        return OK;
    json document = NULL;
    TRY(json_parse(r->arena, stored->doc, (struct json_limits){ 0 }, &document));
    if (!item)
        item = item_add(all, stored->name);
    item->source = REGISTRY_SOURCE;
    item->config = of->show_config(r->arena, document);
    item->version = stored->version;
    item->created = stored->created;
    item->updated = stored->updated;
    return OK;
}

static err_t gather_stored(struct rest *r, const struct resource *of, struct item_array *all) {
    struct registry *registry = control_registry(r->control);
    struct str after = S("");
    size_t n = registry ? REGISTRY_PAGE : 0;
    while (n == REGISTRY_PAGE) {
        struct registry_item *stored;
        TRY(registry_list(r->task, registry, of->kind, r->arena, after, 0, &stored, &n));
        for (size_t i = 0; i < n; i++)
            TRY(add_stored(r, of, all, &stored[i]));
        if (n)
            after = stored[n - 1].name;
    }
    return OK;
}

static int by_name(const void *x, const void *y) {
    return str_cmp(((const struct item *)x)->name, ((const struct item *)y)->name);
}

static err_t gather(struct rest *r, const struct resource *of, struct item_array *out) {
    *out = (struct item_array){ .arena = r->arena };
    struct gathering g = { of, r->control, out };
    TRY(control_do(r, collect_at_home, &g));
    TRY(gather_stored(r, of, out));
    if (out->n)
        qsort(out->items, out->n, sizeof *out->items, by_name);
    return OK;
}

err_t items_find(struct rest *r, const struct resource *of, struct str name, struct item *out) {
    struct item_array all;
    TRY(gather(r, of, &all));
    const struct item *item = find(&all, name);
    if (!item)
        return ERR(NOT_FOUND, "there is no %s \"%.*s\"", of->word, STR(str_head(name, 100)));
    *out = *item;
    return OK;
}

/* ---- showing ------------------------------------------------------------------------- */

struct str item_time(struct rest *r, nanos wall) {
    char text[CLOCK_TEXT];
    return wall ? arena_dup(r->arena, clock_rfc3339(wall, text)) : S("");
}

err_t items_list(struct rest *r, const struct resource *of, const struct page_query *q,
                 bool (*wants)(struct rest *r, const struct item *item)) {
    struct item_array all;
    struct page page;
    TRY(gather(r, of, &all));
    TRY(page_begin(r, q, &page));
    for (size_t i = 0; i < all.n; i++)
        if ((!wants || wants(r, &all.items[i])) && page_wants(&page, all.items[i].name))
            of->write(r, &all.items[i]);
    page_end(&page);
    return OK;
}

static void show(struct rest *r, const struct resource *of, const struct item *item) {
    if (item->version)
        rest_etag(r, item->version);
    of->write(r, item);
}

err_t items_show(struct rest *r, const struct resource *of) {
    struct item item;
    TRY(items_find(r, of, r->params[0], &item));
    show(r, of, &item);
    return OK;
}

static err_t show_again(struct rest *r, const struct resource *of, struct str name) {
    struct item item;
    TRY(items_find(r, of, name, &item));
    show(r, of, &item);
    return OK;
}

/* ---- changing ------------------------------------------------------------------------ */

static err_t need_registry(struct rest *r) {
    if (control_registry(r->control))
        return OK;
    return ERR(UNAVAILABLE, "this process keeps nothing: it runs without a data directory");
}

static err_t need_own(struct rest *r, const struct resource *of, const struct item *item) {
    if (str_eq(item->source, REGISTRY_SOURCE))
        return OK;
    if (str_eq(item->source, S("built in")))
        return rest_refuse(r, REFUSAL_READ_ONLY,
                           "%s %.*s is built in: leave it out of `builtins` in the "
                           "configuration file to change it",
                           of->word, STR(item->name));
    return rest_refuse(r, REFUSAL_READ_ONLY, "%s %.*s is defined in %.*s: change it there",
                       of->word, STR(item->name), STR(item->source));
}

/* By the rows: every problem, each with its path. */
static err_t check_rows(struct rest *r, const struct resource *of, json config) {
    const struct schema *s = of->config;
    struct field_problems problems = { .arena = r->arena };
    void *scratch = arena_zero(r->arena, s->size);
    field_defaults(s->fields, *s->count, scratch, r->arena);
    field_read(s->fields, *s->count, config, S(""), scratch, r->arena, &problems);
    return rest_problems(r, &problems);
}

/* What the registry finds is beyond what the schema says. */
static err_t put(struct rest *r, const struct resource *of, struct str name, struct str doc,
                 int64_t expected) {
    int64_t version = 0;
    err_t e = registry_put(r->task, control_registry(r->control), of->kind, name, doc, expected,
                           &version);
    if (e && e->kind == ERR_INVALID)
        r->code = REFUSAL_UNPROCESSABLE;
    if (e && e->kind == ERR_CONFLICT && expected > 0)
        r->code = REFUSAL_PRECONDITION_FAILED; /* between our look and the write */
    return e ? e : rest_settle(r);
}

static err_t store_config(struct rest *r, const struct resource *of, struct str name, json config,
                          json stored, int64_t expected) {
    SCOPED(buf_done) struct buf doc = { 0 };
    struct jw w = jw_init(&doc);
    TRY(check_rows(r, of, config));
    err_t e = json_restore_secrets(&w, config, stored);
    if (e)
        return rest_refuse(r, REFUSAL_UNPROCESSABLE, "%s", e->text);
    if (of->check)
        TRY(of->check(r, name, config));
    return put(r, of, name, buf_view(&doc), expected);
}

err_t items_add(struct rest *r, const struct resource *of, struct str name, json config) {
    struct item item;
    TRY(need_registry(r));
    err_t e = items_find(r, of, name, &item);
    if (!e)
        TRY(need_own(r, of, &item));
    else if (e->kind != ERR_NOT_FOUND)
        return e;
    TRY(store_config(r, of, name, config, NULL, REGISTRY_CREATE));
    r->location = arena_fmt(r->arena, "%s/%.*s", of->path, STR(name));
    return show_again(r, of, name);
}

/* The stored document of an item that may be changed, and the version to change. */
static err_t open_item(struct rest *r, const struct resource *of, json *document,
                       int64_t *expected) {
    struct registry_item stored;
    struct item item;
    TRY(need_registry(r));
    TRY(items_find(r, of, r->params[0], &item));
    TRY(need_own(r, of, &item));
    TRY(rest_precondition(r, item.version, expected));
    TRY(registry_get(r->task, control_registry(r->control), of->kind, r->arena, r->params[0],
                     &stored));
    return json_parse(r->arena, stored.doc, (struct json_limits){ 0 }, document);
}

err_t items_replace(struct rest *r, const struct resource *of) {
    json stored;
    int64_t expected;
    TRY(open_item(r, of, &stored, &expected));
    TRY(store_config(r, of, r->params[0], r->document, stored, expected));
    return show_again(r, of, r->params[0]);
}

err_t items_merge(struct rest *r, const struct resource *of) {
    json stored, merged;
    int64_t expected;
    TRY(open_item(r, of, &stored, &expected));
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    json_merge_write(&w, stored, r->document);
    TRY(json_parse(r->arena, arena_dup(r->arena, buf_view(&text)), (struct json_limits){ 0 },
                   &merged));
    TRY(store_config(r, of, r->params[0], merged, stored, expected));
    return show_again(r, of, r->params[0]);
}

err_t items_remove(struct rest *r, const struct resource *of) {
    struct item item;
    int64_t expected;
    TRY(need_registry(r));
    TRY(items_find(r, of, r->params[0], &item));
    TRY(need_own(r, of, &item));
    TRY(rest_precondition(r, item.version, &expected));
    err_t e = registry_remove(r->task, control_registry(r->control), of->kind, r->params[0],
                              expected);
    if (e && e->kind == ERR_INVALID) /* something else needs it */
        return rest_refuse(r, REFUSAL_CONFLICT, "%s %.*s is still needed: %s", of->word,
                           STR(r->params[0]),
                           arena_text(r->arena, arena_fmt(r->arena, "%s", e->text)));
    r->etag = S("");
    return e ? e : rest_settle(r);
}
