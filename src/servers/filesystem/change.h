/* change.h - one file about to get other content: found, checked, replaced whole.
 *
 * Changes of one name by this server come one after the other. When somebody else changes the
 * file between change_load and change_store, nothing is stored: CONFLICT.
 */
#pragma once
#include "servers/filesystem/fs.h"

struct change {
    struct str shown;
    int dir;          /* of the directory; -1 before */
    const char *leaf;
    bool exists;
    struct stat old;  /* when it exists */
    bool loaded;
    pthread_mutex_t *lock; /* held; NULL before */
};

/* Checks root, type and hard links. */
err_t change_begin(struct call_ctx *ctx, struct fs *fs, struct str path, bool parents,
                   struct change *c);
void change_done(struct change *c);
err_t change_load(struct fs *fs, struct change *c, struct buf *out);
err_t change_store(struct fs *fs, struct change *c, const struct str *parts, size_t n,
                   bool replace);
