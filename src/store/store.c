/* store.c - see store.h: the calls of whichever backend it is, and sealed columns. */
#include "store/store.h"
#include "base/mem.h"

err_t store_open(const struct store_conf *conf, struct store **out) {
    return sqlite_store.open(conf, out);
}

void store_close(struct store *s) {
    if (s)
        s->ops->close(s);
}

err_t store_read(struct task *t, struct store *s, struct arena *a,
                 const struct store_statement *statement, struct store_rows *out) {
    return s->ops->read(t, s, a, statement, out);
}

err_t store_write(struct task *t, struct store *s, const struct store_statement *statements,
                  size_t n, int64_t *out_changes) {
    return s->ops->write(t, s, statements, n, out_changes);
}

err_t store_backup(struct task *t, struct store *s, struct str path) {
    return s->ops->backup(t, s, path);
}

err_t store_replace(struct task *t, struct store *s, struct str path) {
    return s->ops->replace(t, s, path);
}

err_t store_check(struct task *t, struct store *s) {
    return s->ops->check(t, s);
}

struct store_stats store_stats(struct store *s) {
    return s->ops->stats(s);
}

/* ---- sealed columns ---------------------------------------------------------------- */

/* 0x1f parts them: no name of ours has it. */
static void bind_place(const struct store_place *at, struct buf *out) {
    buf_fmt(out, "%s\x1f%s\x1f%.*s\x1f%.*s", at->table, at->column, STR(at->tenant), STR(at->row));
}

void store_seal(const struct seal_ring *ring, const struct store_place *at, struct str plain,
                struct buf *out) {
    SCOPED(buf_done) struct buf bound = { 0 };
    bind_place(at, &bound);
    crypto_seal(ring, buf_view(&bound), plain, out);
}

err_t store_unseal(const struct seal_ring *ring, const struct store_place *at, struct str sealed,
                   struct buf *out) {
    SCOPED(buf_done) struct buf bound = { 0 };
    bind_place(at, &bound);
    if (crypto_open(ring, buf_view(&bound), sealed, out))
        return ERR(
            INVALID,
            "store: %s.%s of %.*s cannot be unsealed: it was changed, or sealed with another "
            "master key; bring back the master.key that belongs to this database",
            at->table, at->column, STR(at->row));
    return OK;
}
