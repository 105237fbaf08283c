/* whole.h - files that appear whole or not at all.
 *
 * A temporary file in the same directory is written, synced and renamed over the name, then
 * the directory is synced: whoever reads, and whoever finds the disk after a crash, sees the
 * old content or the new. The temporary file is locked (flock) while its writer lives, so a
 * later start knows which ones a killed process left behind, and removes them.
 *
 * Waits    blocks the thread
 */
#pragma once
#include "servers/filesystem/fs.h"

struct whole {
    int dir;           /* borrowed */
    int fd;            /* to write to; -1 when nothing is open */
    char name[PATH_TEMP];
};

/* `like` is the file that will be replaced (mode and, where permitted, owner are kept); NULL:
 * a new one. */
err_t whole_begin(struct whole *w, int dir, const char *what, const struct stat *like);
err_t whole_write(struct whole *w, const char *what, struct str bytes);
/* CONFLICT when `replace` is false and the name is taken. */
err_t whole_finish(struct whole *w, const char *what, const char *leaf, bool replace);
/* Removes what was not finished. */
void whole_scope(struct whole *w);

/* The same for a directory: made under a temporary name, renamed when it is complete. */
err_t whole_dir_begin(struct whole *w, int dir, const char *what);

/* A temporary name found in `dir`: removed when nobody holds it. */
void whole_clean(int dir, const char *name);
/* Removes a tree that nobody else knows of. Symbolic links are removed, never followed. */
int remove_tree(int dir, const char *name, unsigned depth, size_t *removed, const bool *cancelled);
