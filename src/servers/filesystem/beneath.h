/* beneath.h - everything that opens, by openat2 with RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
 * and, unless symbolic links are followed, RESOLVE_NO_SYMLINKS (openat2(2)).
 *
 * A place is resolved once, by the kernel, from the root's descriptor; from then on only
 * descriptors are used. So nothing that others rename, link or replace meanwhile leads out.
 * A directory that somebody moves out of the root while it is open stays open: who can do
 * that can write there anyway.
 *
 * Waits    blocks the thread: for the blocking pool
 * Errors   begin with `what`, the argument's name
 */
#pragma once
#include "servers/filesystem/fs.h"

/* Plain openat2 below `dir`; -1 and errno. */
int beneath_open(const struct fs *fs, int dir, const char *rest, int flags);

/* The kernel can confine, /proc is there: OK or why not. */
err_t beneath_check(int root);

err_t beneath_error(int number, const char *what, struct str shown);

/* A descriptor of the directory, for reading it. */
err_t beneath_dir(const struct fs *fs, const char *what, const struct fs_place *p, int *out);
/* Of whatever is there, without following a link at the end: O_PATH. */
err_t beneath_look(const struct fs *fs, const char *what, const struct fs_place *p, int *out,
                   struct stat *st);
/* A regular file for reading, type and hard links checked before it is opened: no FIFO, device
 * or socket is ever touched. */
err_t beneath_file(const struct fs *fs, const char *what, const struct fs_place *p, int *out,
                   struct stat *st);
/* The same for one name in a directory that is open; -1 and errno (EINVAL: no regular file,
 * EMLINK: hard links). Follows no link. */
int beneath_child(const struct fs *fs, int dir, const char *name, struct stat *st);
/* The directory that holds the place, and its name in there. INVALID for a root itself. With
 * `make`, missing directories are made. */
err_t beneath_parent(const struct fs *fs, struct arena *a, const char *what,
                     const struct fs_place *p, bool make, int *out, const char **leaf);
/* mkdir -p below the root; how many were made. */
err_t beneath_make(const struct fs *fs, struct arena *a, const char *what, const struct fs_place *p,
                   int *out, int *made);
