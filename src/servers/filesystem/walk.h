/* walk.h - every entry below a directory, bounded, in the order of names, without recursion.
 *
 * Symbolic links are entries and never followed. A directory comes before what is in it; it
 * is opened when the entry after it is asked for, unless walk_skip was called. Directories
 * that cannot be opened are counted and passed over. A walk may be left and taken up again.
 *
 * Memory   the names of the directories on the way; one descriptor for each
 * Waits    blocks the thread
 */
#pragma once
#include "servers/filesystem/fs.h"

enum { WALK_DEPTH = 200 };

struct walk_entry {
    struct str rest;  /* clean, from the root on; until the next call; NUL-terminated */
    const char *name; /* its end */
    int dir;          /* descriptor of its directory */
    unsigned depth;   /* 1 for what is in the start itself */
    mode_t type;      /* S_IFMT bits */
};

struct walk_level {
    int fd;
    char *names;      /* each its d_type, the name, NUL */
    uint32_t *order;  /* where each begins, in the order of names */
    size_t n, next;
    size_t path;      /* length of the path of this directory */
};

struct walk {
    const struct fs *fs;
    size_t scanned, most;     /* entries; more end the walk */
    unsigned depth, max_depth;
    bool too_many, too_deep;  /* why something is missing */
    size_t unreadable;
    bool everything;          /* hidden names and temporary files too */
    bool clean;               /* removes temporary files that nobody writes any more */
    bool enter;               /* the entry handed out last is a directory to go into */
    char *path;
    size_t path_n;
    int start;                /* descriptor until it is read; then -1 */
    struct walk_level levels[WALK_DEPTH + 1];
    /* Each directory, open, before it is read. May be NULL. */
    void (*on_open)(void *arg, int dir, struct str rest);
    void *arg;
};

/* Takes the descriptor, of the directory with the path `rest`. */
struct walk *walk_new(const struct fs *fs, int dir, struct str rest, size_t most,
                      unsigned max_depth);
void walk_free(struct walk *w);
bool walk_next(struct walk *w, struct walk_entry *out);
/* Does not go into the directory handed out last. */
static inline void walk_skip(struct walk *w) {
    w->enter = false;
}
static inline void walk_scope(struct walk **w) {
    walk_free(*w);
}

/* One directory's names, sorted; at most `most`; our temporary ones only with `temps`. False with
 * errno when it cannot be read. */
bool level_read(struct walk_level *l, int fd, size_t most, bool hidden, bool temps, bool *too_many);
void level_done(struct walk_level *l);
const char *level_name(const struct walk_level *l, size_t i, unsigned char *type);
mode_t type_of(unsigned char d_type, int dir, const char *name);
