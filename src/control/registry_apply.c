/* registry_apply.c - the registry's part in what runs: its servers and profiles are merged with
 * those of the configuration file, its keys with the file's keys; a change is checked before it
 * is kept (DESIGN decision 14: what the file says stays the file's). */
#include "base/log.h"
#include "base/mem.h"
#include "control/private.h"

#define SOURCE S("registry")

/* ---- one document ------------------------------------------------------------------ */

static err_t read_rows(struct arena *a, const struct field *rows, size_t n, struct str name,
                       struct str doc, void *out) {
    json document = NULL;
    struct field_problems problems = { .arena = a };
    TRY(json_parse(a, arena_dup(a, doc), (struct json_limits){ 0 }, &document));
    if (json_type(document) != JSON_OBJECT)
        return ERR(INVALID, "an object is expected, not %s", json_type_name(json_type(document)));
    field_defaults(rows, n, out, a);
    field_read(rows, n, document, S(""), out, a, &problems);
    *(struct str *)out = arena_dup(a, name); /* both structs start with it */
    return field_problems_err(&problems);
}

static err_t read_server(struct arena *a, struct str name, struct str doc,
                         struct upstream_conf *out) {
    TRY(read_rows(a, upstream_fields, upstream_field_count, name, doc, out));
    out->source = SOURCE;
    return OK;
}

static err_t read_profile(struct arena *a, struct str name, struct str doc,
                          struct profile_conf *out) {
    return read_rows(a, profile_fields, profile_field_count, name, doc, out);
}

/* ---- merging ----------------------------------------------------------------------- */

static const struct upstream_conf *find_server(const struct gateway_conf *conf, struct str name) {
    const struct upstream_conf *all = conf->upstreams.items;
    for (size_t i = 0; i < conf->upstreams.n; i++)
        if (str_eq(all[i].name, name))
            return &all[i];
    return NULL;
}

static const struct profile_conf *find_profile(const struct gateway_conf *conf, struct str name) {
    const struct profile_conf *all = conf->profiles.items;
    for (size_t i = 0; i < conf->profiles.n; i++)
        if (str_eq(all[i].name, name))
            return &all[i];
    return NULL;
}

static bool owned_by_file(const struct gateway_conf *file, enum registry_kind kind,
                          struct str name) {
    return kind == REGISTRY_SERVER ? find_server(file, name) != NULL
                                   : find_profile(file, name) != NULL;
}

struct merging {
    struct control *control;
    struct held_conf *held;  /* what comes out: a copy of the file's, with more items */
    enum registry_kind kind;
    void *own;               /* the items of this kind that we may append to, and their room */
    size_t room;
    bool careful;            /* check after each item */
    bool trying;             /* nothing is logged */
    size_t left_out;
    struct err first;        /* why the first one was left out */
    struct str changed, doc; /* a change that is tried; changed.p == NULL: none */
};

static struct item_list *list_of(struct merging *m) {
    return m->kind == REGISTRY_SERVER ? &m->held->conf->upstreams : &m->held->conf->profiles;
}

/* The file's array is not ours to append to; ours doubles. */
static void *append(struct merging *m, size_t size) {
    struct item_list *list = list_of(m);
    if (list->items != m->own || list->n == m->room) {
        m->room = list->n * 2 + 4;
        m->own = arena_zero(&m->held->arena, m->room * size);
        if (list->n)
            memcpy(m->own, list->items, list->n * size);
        list->items = m->own;
    }
    return (char *)m->own + size * list->n++;
}

/* The merged configuration as a whole, by the same checks as the file. Its built-in servers
 * have become upstreams already. */
static err_t check_all(struct held_conf *h) {
    struct field_problems problems = { .arena = &h->arena };
    struct str_list builtins = h->conf->builtins;
    h->conf->builtins = (struct str_list){ 0 };
    conf_check(h->conf, NULL, &h->arena, &problems);
    h->conf->builtins = builtins;
    return field_problems_err(&problems);
}

static err_t add_item(struct merging *m, struct str name, struct str doc) {
    struct item_list *list = list_of(m), before = *list;
    struct arena *a = &m->held->arena;
    err_t e = m->kind == REGISTRY_SERVER
                  ? read_server(a, name, doc, append(m, sizeof(struct upstream_conf)))
                  : read_profile(a, name, doc, append(m, sizeof(struct profile_conf)));
    if (!e && m->careful)
        e = check_all(m->held);
    if (e)
        *list = before;
    return e;
}

/* What is in the store but cannot run with this program or file is left out and named, so that
 * a start does not fail for it. */
static err_t merge_one(struct merging *m, const struct registry_item *item) {
    const char *word = registry_kind_word(m->kind);
    if (m->changed.p && str_eq(item->name, m->changed))
        return OK;
    if (owned_by_file(m->held->base->conf, m->kind, item->name)) {
        if (!m->trying)
            log_warn("the configuration file's entry stands before the registry's", F("kind", word),
                     F("name", item->name), F("remedy", "remove one of the two"));
        return OK;
    }
    err_t e = add_item(m, item->name, item->doc);
    if (e && !m->left_out++)
        m->first = *err_wrap(e, "%s %.*s", word, STR(item->name));
    if (e && !m->trying)
        log_error("left out: not usable", F("kind", word), F("name", item->name),
                  F("error", m->first.text));
    return OK;
}

static err_t merge_kind(struct task *t, struct merging *m) {
    struct str after = S("");
    struct arena *a = &m->held->arena;
    for (;;) {
        struct registry_item *items;
        size_t n;
        TRY(registry_list(t, m->control->registry, m->kind, a, after, 0, &items, &n));
        for (size_t i = 0; i < n; i++)
            TRY(merge_one(m, &items[i]));
        if (n < REGISTRY_PAGE)
            return OK;
        after = items[n - 1].name;
    }
}

static bool alone(const struct control *c) { /* a role serves its one server only */
    return !c->registry || c->options.overrides.role_builtin.n;
}

static struct held_conf *copy_of(struct held_conf *file) {
    struct held_conf *h = held_conf_new();
    h->base = held_conf_ref(file);
    h->conf = ARENA_NEW(&h->arena, struct gateway_conf);
    *h->conf = *file->conf;
    return h;
}

/* Servers first: profiles name them. */
static err_t merge_all(struct task *t, struct merging *m) {
    const struct str changed = m->changed;
    const enum registry_kind kind = m->kind;
    for (m->kind = REGISTRY_SERVER; m->kind <= REGISTRY_PROFILE; m->kind++) {
        m->changed = m->kind == kind ? changed : (struct str){ 0 };
        m->own = NULL;
        m->room = 0;
        if (m->changed.p && m->doc.p)
            TRY(add_item(m, changed, m->doc));
        TRY(merge_kind(t, m));
    }
    return check_all(m->held);
}

static err_t merge_once(struct task *t, struct merging *m, struct held_conf *file,
                        struct held_conf **out) {
    m->held = copy_of(file);
    err_t e = merge_all(t, m);
    if (!e) {
        *out = m->held;
        return OK;
    }
    struct err saved = *e;
    held_conf_unref(m->held);
    return err_again(&saved);
}

/* Checked as a whole; item by item only to find out which one is to be left out. */
err_t registry_merge(struct task *t, struct control *c, struct held_conf *file,
                     struct held_conf **out) {
    if (alone(c)) {
        *out = held_conf_ref(file);
        return OK;
    }
    err_t e = merge_once(t, &(struct merging){ .control = c }, file, out);
    if (!e || e->kind != ERR_INVALID)
        return e;
    return merge_once(t, &(struct merging){ .control = c, .careful = true }, file, out);
}

/* ---- checking a change ------------------------------------------------------------- */

static err_t check_owner(struct control *c, enum registry_kind kind, struct str name) {
    const struct gateway_conf *file = c->file->conf;
    const struct upstream_conf *u = kind == REGISTRY_SERVER ? find_server(file, name) : NULL;
    if (u && str_eq(u->source, S("built in")))
        return ERR(CONFLICT,
                   "server %.*s is built in: leave it out of `builtins` or take another name",
                   STR(name));
    if (owned_by_file(file, kind, name))
        return ERR(CONFLICT, "%s %.*s is defined in %.*s: change it there",
                   registry_kind_word(kind), STR(name),
                   STR(u && u->source.n ? u->source : c->options.config));
    return OK;
}

/* The whole as it would be: a server that a profile names cannot go. */
static err_t check_merged(struct task *t, struct control *c, enum registry_kind kind,
                          struct str name, struct str doc) {
    struct held_conf *result;
    struct merging with = {
        .control = c, .kind = kind, .changed = name, .doc = doc, .trying = true
    };
    struct merging careful = with, without = { .control = c, .trying = true, .careful = true };
    careful.careful = true;
    TRY(check_owner(c, kind, name));
    if (!merge_once(t, &with, c->file, &result)) {
        held_conf_unref(result);
        return OK;
    }
    /* something was unusable already? then only what the change itself breaks counts */
    TRY(merge_once(t, &careful, c->file, &result));
    held_conf_unref(result);
    TRY(merge_once(t, &without, c->file, &result));
    held_conf_unref(result);
    return careful.left_out > without.left_out ? err_again(&careful.first) : OK;
}

static err_t check_change(struct task *t, void *arg, enum registry_kind kind, struct str name,
                          struct str doc) {
    struct control *c = arg;
    struct arena a;
    json ignored;
    err_t e = OK;
    arena_init(&a, NULL, 0);
    switch (kind) {
    case REGISTRY_SERVER:
    case REGISTRY_PROFILE:
        e = alone(c) ? ERR(CONFLICT, "this process serves one built-in server alone")
                     : check_merged(t, c, kind, name, doc);
        break;
    case REGISTRY_KEY: e = keys_check(c, name, doc); break;
    default:
        if (doc.p)
            e = json_parse(&a, doc, (struct json_limits){ 0 }, &ignored);
    }
    arena_done(&a);
    return e;
}

/* ---- making it so ------------------------------------------------------------------ */

/* A reload may come while the store is read: then once more, over the new file. */
err_t registry_reload(struct task *t, struct control *c) {
    struct held_conf *next = NULL, *file;
    do {
        held_conf_unref(next);
        file = c->file;
        TRY(registry_merge(t, c, file, &next));
    } while (file != c->file);
    held_conf_unref(c->held);
    c->held = next;
    upstreams_apply(c, next->conf);
    snapshot_publish(c);
    return OK;
}

static err_t changed(struct task *t, void *arg, enum registry_kind kind, struct str name) {
    struct control *c = arg;
    if (kind == REGISTRY_SERVER || kind == REGISTRY_PROFILE)
        return registry_reload(t, c);
    return kind == REGISTRY_KEY ? keys_publish(t, c) : OK;
}

void registry_serve(struct control *c) {
    if (c->registry)
        registry_attach(
            c->registry, c->worker,
            (struct registry_hooks){ .check = check_change, .changed = changed, .arg = c });
}
