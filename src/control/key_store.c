/* key_store.c - see key_store.h. */
#include "control/key_store.h"
#include "base/mem.h"

void key_doc_write(const struct key_record *r, struct buf *out) {
    struct jw w = jw_init(out);
    key_record_write(&w, r);
}

err_t key_doc_read(struct arena *a, struct str doc, struct key_record *out) {
    json document;
    TRY(json_parse(a, arena_dup(a, doc), (struct json_limits){ 0 }, &document));
    return key_record_read(a, document, out);
}

/* ---- reading ----------------------------------------------------------------------- */

static err_t take(struct arena *a, const struct registry_item *item, struct key_record *out) {
    TRY_WRAP(key_doc_read(a, item->doc, out), "key %.*s", STR(item->name));
    return OK;
}

err_t key_store_list(struct task *t, const struct key_store *ks, struct arena *a,
                     struct str after_id, size_t limit, struct key_record **out, size_t *out_n) {
    struct registry_item *items;
    size_t n;
    TRY(registry_list(t, ks->registry, REGISTRY_KEY, a, after_id, limit, &items, &n));
    struct key_record *records = ARENA_ARRAY(a, struct key_record, n + 1);
    for (size_t i = 0; i < n; i++)
        TRY(take(a, &items[i], &records[i]));
    *out = records;
    *out_n = n;
    return OK;
}

err_t key_store_get(struct task *t, const struct key_store *ks, struct arena *a, struct str id,
                    struct key_record *out, int64_t *out_version) {
    struct registry_item item;
    TRY(registry_get(t, ks->registry, REGISTRY_KEY, a, id, &item));
    if (out_version)
        *out_version = item.version;
    return take(a, &item, out);
}

err_t key_store_used(struct task *t, const struct key_store *ks, struct str id, nanos *out_wall) {
    SCOPED(arena_scope) struct arena a;
    struct store_rows rows;
    arena_init(&a, NULL, 0);
    const struct store_value bind = store_text(id);
    TRY(store_read(t, registry_store(ks->registry), &a, &(struct store_statement){
        "SELECT max(last_used) FROM key_use WHERE key_id = ?1", &bind, 1 }, &rows));
    *out_wall = rows.rows ? store_cell(&rows, 0, 0)->integer : 0;
    return OK;
}

/* ---- changing ---------------------------------------------------------------------- */

static struct registry_change change_of(const struct key_record *r, int64_t expected,
                                        struct buf *doc) {
    key_doc_write(r, doc);
    return (struct registry_change){ REGISTRY_KEY, r->principal.id, buf_view(doc), expected };
}

/* A fresh key with the rights of `like`. */
static void make_like(const struct key_store *ks, struct arena *a, const struct key_record *like,
                      char text[KEY_TEXT], struct key_record *out) {
    key_make(ks->hmac_key, text, out, a);
    struct str id = out->principal.id;
    out->principal = like->principal;
    out->principal.id = id;
    if (!out->principal.tenant.n)
        out->principal.tenant = S("default");
    out->expires = like->expires;
}

err_t key_store_make(struct task *t, const struct key_store *ks, struct arena *a,
                     const struct key_record *wanted, char text[KEY_TEXT], struct key_record *out) {
    SCOPED(buf_done) struct buf doc = { 0 };
    make_like(ks, a, wanted, text, out);
    struct registry_change c = change_of(out, REGISTRY_CREATE, &doc);
    TRY(registry_apply(t, ks->registry, &c, 1));
    return key_doc_read(a, c.doc, out); /* nothing of it is the caller's */
}

err_t key_store_change(struct task *t, const struct key_store *ks, const struct key_record *r,
                       int64_t expected_version, int64_t *out_version) {
    SCOPED(buf_done) struct buf doc = { 0 };
    struct registry_change c = change_of(r, expected_version, &doc);
    return registry_put(t, ks->registry, REGISTRY_KEY, c.name, c.doc, c.expected, out_version);
}

err_t key_store_rotate(struct task *t, const struct key_store *ks, struct arena *a, struct str id,
                       nanos overlap, char text[KEY_TEXT], struct key_record *out) {
    struct key_record old;
    int64_t version;
    TRY(key_store_get(t, ks, a, id, &old, &version));
    nanos now = clock_wall(), end = now + (overlap > 0 ? overlap : 0);
    if (!key_usable(&old, now))
        return ERR(CONFLICT, "key %.*s is revoked or expired already: make a new one", STR(id));
    SCOPED(buf_done) struct buf doc = { 0 };
    SCOPED(buf_done) struct buf old_doc = { 0 };
    make_like(ks, a, &old, text, out);
    if (!old.expires || end < old.expires)
        old.expires = end;
    const struct registry_change changes[] = { change_of(out, REGISTRY_CREATE, &doc),
                                               change_of(&old, version, &old_doc) };
    TRY(registry_apply(t, ks->registry, changes, 2));
    return key_doc_read(a, changes[0].doc, out);
}

err_t key_store_revoke(struct task *t, const struct key_store *ks, struct str id) {
    SCOPED(arena_scope) struct arena a;
    struct key_record r;
    int64_t version;
    arena_init(&a, NULL, 0);
    TRY(key_store_get(t, ks, &a, id, &r, &version));
    if (r.revoked)
        return OK;
    r.revoked = clock_wall();
    return key_store_change(t, ks, &r, version, NULL);
}

err_t key_store_forget(struct task *t, const struct key_store *ks, struct str id,
                       int64_t expected_version) {
    SCOPED(arena_scope) struct arena a;
    struct key_record r;
    arena_init(&a, NULL, 0);
    TRY(key_store_get(t, ks, &a, id, &r, NULL));
    if (key_usable(&r, clock_wall()))
        return ERR(CONFLICT, "key %.*s is in use: revoke it first", STR(id));
    return registry_remove(t, ks->registry, REGISTRY_KEY, id, expected_version);
}
