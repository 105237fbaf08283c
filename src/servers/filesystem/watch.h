/* watch.h - notices of changes below the roots, by inotify.
 *
 * Directories are added while the files are listed (resources.c), by descriptor, so that no
 * link is followed. New and vanished names make the list stale; after a short pause, longer
 * where listing takes long, fs_watch_wait returns and the list is made again. When the queue
 * overflows the same happens; when there are more directories than may be watched, lists are
 * refreshed each minute.
 *
 * Threads  guarded; fs_watch_wait on one worker at a time
 */
#pragma once
#include "servers/filesystem/fs.h"

struct fs_watch *fs_watch_new(const struct fs *fs);
void fs_watch_free(struct fs_watch *w);

/* Around one listing of all roots; between them fs_watch_add for each directory. Those not added
 * again are watched no longer. */
void fs_watch_begin(struct fs_watch *w);
void fs_watch_add(struct fs_watch *w, size_t root, struct str rest, int dir);
/* The listing did not get everywhere. */
void fs_watch_cut(struct fs_watch *w);
void fs_watch_end(struct fs_watch *w, nanos took);

err_t fs_watch_wait(struct task *t, void *self, struct server_watcher *watcher);

extern const struct server_resources fs_resources;
