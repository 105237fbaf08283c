/* key_store.h - keys of clients in the registry: made, listed, rotated, revoked. Only an HMAC of
 * a key is kept; its text is given out once, by the call that made it.
 *
 * Threads, waits  as registry.h
 */
#pragma once
#include "control/registry.h"

struct key_store {
    struct registry *registry;
    const uint8_t *hmac_key; /* SHA256_SIZE bytes, derived from the master key */
};

/* Makes a key with the name, tenant, grants and expires of `wanted` (the rest is ignored).
 * `text` gets the key itself (shown once), *out the record, in the arena. */
err_t key_store_make(struct task *t, const struct key_store *ks, struct arena *a,
                     const struct key_record *wanted, char text[KEY_TEXT], struct key_record *out);
/* Records by id, after `after_id`, at most `limit`; revoked and expired ones too. */
err_t key_store_list(struct task *t, const struct key_store *ks, struct arena *a,
                     struct str after_id, size_t limit, struct key_record **out, size_t *out_n);
err_t key_store_get(struct task *t, const struct key_store *ks, struct arena *a, struct str id,
                    struct key_record *out, int64_t *out_version);
/* A new key with the rights of an old one, which stays valid for `overlap` more. */
err_t key_store_rotate(struct task *t, const struct key_store *ks, struct arena *a, struct str id,
                       nanos overlap, char text[KEY_TEXT], struct key_record *out);
/* Gone on every worker when this returns. The record stays, marked, for the history's sake.
 * CONFLICT for the last admin key. Revoking twice is fine. */
err_t key_store_revoke(struct task *t, const struct key_store *ks, struct str id);
/* Name, grants or expiry of an existing key. */
err_t key_store_change(struct task *t, const struct key_store *ks, const struct key_record *r,
                       int64_t expected_version, int64_t *out_version);
/* Forgets a revoked or expired key altogether. */
err_t key_store_forget(struct task *t, const struct key_store *ks, struct str id,
                       int64_t expected_version);

/* A record as the registry's document, and back. */
void key_doc_write(const struct key_record *r, struct buf *out);
err_t key_doc_read(struct arena *a, struct str doc, struct key_record *out);

/* When keys were used last, by id (0: never or not known): kept to about a minute. */
err_t key_store_used(struct task *t, const struct key_store *ks, struct str id, nanos *out_wall);
