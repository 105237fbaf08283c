/* idempotency.c - Idempotency-Key (registry.h). The first request of a key claims a row with
 * status 0; the primary key lets one only do so, on whatever worker. */
#include "base/mem.h"
#include "control/registry.h"

enum { KEY_LIMIT = 255 };
/* A claim whose owner never came back, although the process lives, ends some time. */
#define CLAIM_TTL (3600 * NANOS_SEC)

static struct str row_key(struct arena *a, const struct idempotent *r) {
    return arena_fmt(a, "%.*s\x1f%.*s", STR(r->key_id), STR(r->key));
}

static err_t claim(struct task *t, struct registry *r, const struct idempotent *q,
                   int64_t *claimed) {
    nanos now = clock_wall();
    const struct store_value gone[] = { store_text(q->tenant), store_text(q->key_id), store_text(q->key),
                                        store_int(now) };
    const struct store_value binds[] = {
        store_text(q->tenant), store_text(q->key_id), store_text(q->key), store_text(q->route),
        store_blob(str_from((const char *)q->digest, SHA256_SIZE)), store_int(now + CLAIM_TTL),
    };
    const struct store_statement statements[] = {
        { "DELETE FROM idempotency WHERE tenant_id = ?1 AND key_id = ?2 AND idempotency_key = ?3"
          " AND expires <= ?4", gone, 4, NULL },
        { "INSERT INTO idempotency VALUES (?1, ?2, ?3, ?4, ?5, 0, '', NULL, ?6) ON CONFLICT DO NOTHING",
          binds, 6, NULL },
    };
    return store_write(t, registry_store(r), statements, 2, claimed);
}

/* Columns: route, digest, status, type, body_sealed. */
static err_t replay_row(struct registry *r, struct arena *a, const struct idempotent *q,
                        const struct store_value *row, struct idempotent_answer *out) {
    if (!str_eq(row[0].text, q->route) ||
        !str_eq(row[1].text, str_from((const char *)q->digest, SHA256_SIZE)))
        return ERR(CONFLICT, "this Idempotency-Key was used for another request: take a new one");
    if (!row[2].integer)
        return ERR(CONFLICT,
                   "the first request with this Idempotency-Key is still being worked on: "
                   "try again in a second");
    SCOPED(buf_done) struct buf body = { 0 };
    const struct store_place at = { "idempotency", "body_sealed", q->tenant, row_key(a, q) };
    TRY(store_unseal(registry_ring(r), &at, row[4].text, &body));
    *out = (struct idempotent_answer){ (int)row[2].integer, row[3].text,
                                       arena_dup(a, buf_view(&body)) };
    crypto_wipe(body.p, body.n);
    return OK;
}

err_t idempotency_begin(struct task *t, struct registry *r, struct arena *a,
                        const struct idempotent *q, bool *replay, struct idempotent_answer *out) {
    int64_t claimed = 0;
    if (!q->key.n || q->key.n > KEY_LIMIT)
        return ERR(INVALID, "Idempotency-Key has 1 to %d bytes", KEY_LIMIT);
    TRY(claim(t, r, q, &claimed));
    *replay = !claimed;
    if (claimed)
        return OK;
    const struct store_value binds[] = { store_text(q->tenant), store_text(q->key_id),
                                         store_text(q->key) };
    struct store_rows rows;
    TRY(store_read(t, registry_store(r), a, &(struct store_statement){
        "SELECT route, digest, status, type, body_sealed FROM idempotency"
        " WHERE tenant_id = ?1 AND key_id = ?2 AND idempotency_key = ?3", binds, 3 }, &rows));
    if (rows.rows)
        return replay_row(r, a, q, store_cell(&rows, 0, 0), out);
    return ERR(CONFLICT,
               "the first request with this Idempotency-Key has just failed: send it again");
}

err_t idempotency_finish(struct task *t, struct registry *r, const struct idempotent *q,
                         const struct idempotent_answer *answer, nanos ttl) {
    SCOPED(arena_scope) struct arena a;
    SCOPED(buf_done) struct buf sealed = { 0 };
    arena_init(&a, NULL, 0);
    const struct store_place at = { "idempotency", "body_sealed", q->tenant, row_key(&a, q) };
    store_seal(registry_ring(r), &at, answer->body, &sealed);
    const struct store_value binds[] = {
        store_text(q->tenant), store_text(q->key_id), store_text(q->key), store_int(answer->status),
        store_text(answer->type), store_blob(buf_view(&sealed)), store_int(clock_wall() + ttl),
    };
    return store_write(t, registry_store(r), &(struct store_statement){
        "UPDATE idempotency SET status = ?4, type = ?5, body_sealed = ?6, expires = ?7"
        " WHERE tenant_id = ?1 AND key_id = ?2 AND idempotency_key = ?3", binds, 7, NULL }, 1, NULL);
}

err_t idempotency_abandon(struct task *t, struct registry *r, const struct idempotent *q) {
    const struct store_value binds[] = { store_text(q->tenant), store_text(q->key_id),
                                         store_text(q->key) };
    return store_write(t, registry_store(r), &(struct store_statement){
        "DELETE FROM idempotency WHERE tenant_id = ?1 AND key_id = ?2 AND idempotency_key = ?3"
        " AND status = 0", binds, 3, NULL }, 1, NULL);
}

err_t idempotency_expire(struct task *t, struct registry *r, bool unfinished) {
    const struct store_value binds[] = { store_int(clock_wall()), store_int(unfinished) };
    const struct store_value most[] = { store_int(IDEMPOTENCY_MOST) };
    const struct store_statement statements[] = {
        { "DELETE FROM idempotency WHERE expires <= ?1 OR (?2 AND status = 0)", binds, 2, NULL },
        { "DELETE FROM idempotency WHERE (tenant_id, key_id, idempotency_key) IN"
          " (SELECT tenant_id, key_id, idempotency_key FROM"
          " (SELECT *, row_number() OVER (PARTITION BY tenant_id, key_id ORDER BY expires DESC) AS place"
          " FROM idempotency WHERE status <> 0) WHERE place > ?1)", most, 1, NULL },
    };
    return store_write(t, registry_store(r), statements, ARRAY_SIZE(statements), NULL);
}
