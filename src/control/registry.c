/* registry.c - see registry.h. A change runs at home (the control worker), behind a gate of
 * one: check, write, apply. */
#include "control/registry.h"
#include "base/mem.h"
#include "run/gate.h"

#define TENANT S("default") /* of all, until tenants exist */
#define APPLY_GRACE (60 * NANOS_SEC)

struct registry {
    struct store *store;
    const struct seal_ring *ring;
    struct worker *home;
    struct registry_hooks hooks;
    struct gate gate;
};

const char *registry_kind_word(enum registry_kind kind) {
    static const char *const words[REGISTRY_KINDS] = { "server", "profile", "key", "tool" };
    return words[kind];
}

struct registry *registry_new(struct store *store, const struct seal_ring *ring) {
    struct registry *r = NEW(struct registry);
    *r = (struct registry){ .store = store,
                            .ring = ring,
                            .gate = { .limit = 1, .max_waiting = 1000 } };
    return r;
}

void registry_free(struct registry *r) {
    free(r);
}

void registry_attach(struct registry *r, struct worker *home, struct registry_hooks hooks) {
    r->home = home;
    r->hooks = hooks;
}

struct store *registry_store(struct registry *r) {
    return r->store;
}

const struct seal_ring *registry_ring(const struct registry *r) {
    return r->ring;
}

/* ---- reading ----------------------------------------------------------------------- */

static struct str row_key(struct arena *a, enum registry_kind kind, struct str name) {
    return arena_fmt(a, "%s\x1f%.*s", registry_kind_word(kind), STR(name));
}

/* Columns: name, doc_sealed, version, created, updated. */
static err_t take_item(const struct registry *r, enum registry_kind kind, struct arena *a,
                       const struct store_value *row, struct registry_item *out) {
    SCOPED(buf_done) struct buf doc = { 0 };
    const struct store_place at = { "registry", "doc_sealed", TENANT,
                                    row_key(a, kind, row[0].text) };
    err_t e = store_unseal(r->ring, &at, row[1].text, &doc);
    if (!e)
        *out = (struct registry_item){
            .name = row[0].text, .doc = arena_dup(a, buf_view(&doc)), .version = row[2].integer,
            .created = row[3].integer, .updated = row[4].integer,
        };
    crypto_wipe(doc.p, doc.n);
    return e;
}

err_t registry_list(struct task *t, struct registry *r, enum registry_kind kind, struct arena *a,
                    struct str after_name, size_t limit, struct registry_item **out,
                    size_t *out_n) {
    const struct store_value binds[] = {
        store_text(TENANT), store_text(str_of(registry_kind_word(kind))), store_text(after_name),
        store_int(limit && limit < REGISTRY_PAGE ? (int64_t)limit : REGISTRY_PAGE),
    };
    struct store_rows rows;
    TRY(store_read(t, r->store, a, &(struct store_statement){
        "SELECT name, doc_sealed, version, created, updated FROM registry"
        " WHERE tenant_id = ?1 AND kind = ?2 AND name > ?3 ORDER BY name LIMIT ?4", binds, 4 }, &rows));
    struct registry_item *items = ARENA_ARRAY(a, struct registry_item, rows.rows + 1);
    for (size_t i = 0; i < rows.rows; i++)
        TRY(take_item(r, kind, a, store_cell(&rows, i, 0), &items[i]));
    *out = items;
    *out_n = rows.rows;
    return OK;
}

err_t registry_get(struct task *t, struct registry *r, enum registry_kind kind, struct arena *a,
                   struct str name, struct registry_item *out) {
    const struct store_value binds[] = {
        store_text(TENANT), store_text(str_of(registry_kind_word(kind))), store_text(name) };
    struct store_rows rows;
    TRY(store_read(t, r->store, a, &(struct store_statement){
        "SELECT name, doc_sealed, version, created, updated FROM registry"
        " WHERE tenant_id = ?1 AND kind = ?2 AND name = ?3", binds, 3 }, &rows));
    if (!rows.rows)
        return ERR(NOT_FOUND, "there is no %s %.*s", registry_kind_word(kind),
                   STR(str_head(name, 128)));
    return take_item(r, kind, a, store_cell(&rows, 0, 0), out);
}

/* ---- changing ---------------------------------------------------------------------- */

enum { CHANGES = 64, BINDS = 7, NAME_MAX_ = 128 };

struct changing {
    struct registry *registry;
    const struct registry_change *changes;
    size_t n;
    int64_t *out_version; /* of the last, when it was put; may be NULL */
};

static const char *stale_words(struct arena *a, const struct registry_change *c) {
    return arena_text(a,
                      arena_fmt(a, "%s %.*s is not at version %lld: somebody changed it meanwhile",
                                registry_kind_word(c->kind), STR(c->name), (long long)c->expected));
}

static struct store_statement put_statement(struct registry *r, struct arena *a,
                                            const struct registry_change *c) {
    SCOPED(buf_done) struct buf sealed = { 0 };
    const struct store_place at = { "registry", "doc_sealed", TENANT,
                                    row_key(a, c->kind, c->name) };
    store_seal(r->ring, &at, c->doc, &sealed);
    struct store_value *binds = ARENA_ARRAY(a, struct store_value, BINDS);
    binds[0] = store_text(TENANT);
    binds[1] = store_text(str_of(registry_kind_word(c->kind)));
    binds[2] = store_text(c->name);
    binds[3] = store_blob(arena_dup(a, buf_view(&sealed)));
    binds[4] = store_int(clock_wall());
    binds[5] = store_int(c->expected);
    const char *word = registry_kind_word(c->kind);
    if (c->expected == REGISTRY_CREATE)
        return (struct store_statement){
            "INSERT INTO registry VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT DO NOTHING", binds, 5,
            arena_text(a, arena_fmt(a, "there is a %s %.*s already", word, STR(c->name))) };
    if (c->expected == REGISTRY_ANY)
        return (struct store_statement){
            "INSERT INTO registry VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT DO UPDATE"
            " SET doc_sealed = excluded.doc_sealed, version = version + 1, updated = excluded.updated",
            binds, 5, NULL };
    return (struct store_statement){
        "UPDATE registry SET doc_sealed = ?4, version = version + 1, updated = ?5"
        " WHERE tenant_id = ?1 AND kind = ?2 AND name = ?3 AND version = ?6", binds, 6,
        stale_words(a, c) };
}

static struct store_statement remove_statement(struct arena *a, const struct registry_change *c) {
    struct store_value *binds = ARENA_ARRAY(a, struct store_value, BINDS);
    binds[0] = store_text(TENANT);
    binds[1] = store_text(str_of(registry_kind_word(c->kind)));
    binds[2] = store_text(c->name);
    binds[3] = store_int(c->expected);
    return (struct store_statement){
        "DELETE FROM registry WHERE tenant_id = ?1 AND kind = ?2 AND name = ?3 AND (?4 < 0 OR version = ?4)",
        binds, 4,
        stale_words(a, c) };
}

static err_t check_change(struct task *t, struct registry *r, const struct registry_change *c) {
    if (!c->name.n || c->name.n > NAME_MAX_)
        return ERR(INVALID, "the name of a %s has 1 to %d bytes", registry_kind_word(c->kind),
                   NAME_MAX_);
    if (c->doc.n > REGISTRY_DOC)
        return ERR(TOO_LARGE, "the document of a %s has at most %d bytes",
                   registry_kind_word(c->kind), REGISTRY_DOC);
    return r->hooks.check ? r->hooks.check(t, r->hooks.arg, c->kind, c->name, c->doc) : OK;
}

/* A version was expected of what is not there at all: that is another story than a conflict. */
static err_t check_there(struct task *t, struct registry *r, struct arena *a,
                         const struct registry_change *c) {
    struct registry_item item;
    bool must_exist = c->expected > 0 || !c->doc.p;
    return must_exist ? registry_get(t, r, c->kind, a, c->name, &item) : OK;
}

static err_t write_changes(struct task *t, struct registry *r, struct arena *a,
                           const struct changing *w) {
    struct store_statement *statements = ARENA_ARRAY(a, struct store_statement, w->n);
    for (size_t i = 0; i < w->n; i++)
        statements[i] = w->changes[i].doc.p ? put_statement(r, a, &w->changes[i])
                                            : remove_statement(a, &w->changes[i]);
    return store_write(t, r->store, statements, w->n, NULL);
}

static err_t tell_version(struct task *t, struct registry *r, struct arena *a,
                          const struct changing *w) {
    struct registry_item item;
    const struct registry_change *last = &w->changes[w->n - 1];
    if (!w->out_version || !last->doc.p)
        return OK;
    TRY(registry_get(t, r, last->kind, a, last->name, &item));
    *w->out_version = item.version;
    return OK;
}

static err_t apply_changes(struct task *t, struct registry *r, struct arena *a,
                           const struct changing *w) {
    for (size_t i = 0; i < w->n; i++) {
        TRY(check_there(t, r, a, &w->changes[i]));
        TRY(check_change(t, r, &w->changes[i]));
    }
    /* from here on to its end: what is written is applied too */
    SCOPED(shield_scope) struct shield whole = { 0 };
    if (t)
        whole = task_shield(t, APPLY_GRACE);
    TRY(write_changes(t, r, a, w));
    for (size_t i = 0; i < w->n && r->hooks.changed; i++)
        TRY_WRAP(r->hooks.changed(t, r->hooks.arg, w->changes[i].kind, w->changes[i].name),
                 "it is kept, but not in effect yet");
    return tell_version(t, r, a, w);
}

static err_t change_at_home(struct task *t, void *arg) {
    const struct changing *w = arg;
    struct registry *r = w->registry;
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    if (t)
        TRY(gate_enter(t, &r->gate));
    err_t e = apply_changes(t, r, &a, w);
    if (t)
        gate_leave(&r->gate);
    return e;
}

static err_t change(struct task *t, const struct changing *w) {
    struct worker *home = w->registry->home;
    if (w->n > CHANGES)
        return ERR(INVALID, "at most %d changes at once", CHANGES);
    return t && home ? task_on(t, home, change_at_home, (void *)w) : change_at_home(t, (void *)w);
}

err_t registry_put(struct task *t, struct registry *r, enum registry_kind kind, struct str name,
                   struct str doc, int64_t expected_version, int64_t *out_version) {
    const struct registry_change c = { kind, name, doc.p ? doc : S(""), expected_version };
    return change(t, &(struct changing){ r, &c, 1, out_version });
}

err_t registry_remove(struct task *t, struct registry *r, enum registry_kind kind, struct str name,
                      int64_t expected_version) {
    const struct registry_change c = { .kind = kind, .name = name, .expected = expected_version };
    return change(t, &(struct changing){ r, &c, 1, NULL });
}

err_t registry_apply(struct task *t, struct registry *r, const struct registry_change *changes,
                     size_t n) {
    return n ? change(t, &(struct changing){ r, changes, n, NULL }) : OK;
}

/* ---- alone ------------------------------------------------------------------------- */

struct alone {
    struct registry *registry;
    err_t (*fn)(struct task *t, void *arg);
    void *arg;
};

static err_t run_alone(struct task *t, void *arg) {
    const struct alone *a = arg;
    if (t)
        TRY(gate_enter(t, &a->registry->gate));
    err_t e = a->fn(t, a->arg);
    if (t)
        gate_leave(&a->registry->gate);
    return e;
}

err_t registry_alone(struct task *t, struct registry *r, err_t (*fn)(struct task *t, void *arg),
                     void *arg) {
    struct alone a = { r, fn, arg };
    return t && r->home ? task_on(t, r->home, run_alone, &a) : run_alone(t, &a);
}
