/* move.c - move, copy, delete. Each works on the descriptors of the directories that hold its
 * names, found once. */
#include "base/mem.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/tools.h"
#include "servers/filesystem/walk.h"
#include "servers/filesystem/whole.h"
#include <errno.h>
#include <fcntl.h>

enum { COPY_BLOCK = 256 * 1024 };

/* A name in its directory. */
struct spot {
    struct fs_place place;
    struct str shown;
    int dir;
    const char *leaf;
    struct stat st;
    bool exists;
};

static void spot_done(struct spot *s) {
    fd_scope(&s->dir);
}

static err_t spot_find(struct call_ctx *c, struct fs *fs, const char *what, struct str path,
                       struct spot *s) {
    TRY(fs_locate(fs, c->arena, what, path, &s->place));
    s->shown = fs_shown(c->arena, &s->place);
    TRY(beneath_parent(fs, c->arena, what, &s->place, false, &s->dir, &s->leaf));
    s->exists = fstatat(s->dir, s->leaf, &s->st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!s->exists && errno != ENOENT)
        return beneath_error(errno, what, s->shown);
    return OK;
}

static err_t must_exist(const char *what, const struct spot *s) {
    return s->exists ? OK : ERR(NOT_FOUND, "%s: %.*s does not exist", what, STR(s->shown));
}

#define T struct pair_args
struct pair_args {
    struct str source, destination;
    bool overwrite, recursive;
};
static const struct field move_args[] = {
    FIELD(T, source, STR, NULL, "1..4000", FIELD_REQUIRED, "What to move. " PATH_HELP),
    FIELD(T, destination, STR, NULL, "1..4000", FIELD_REQUIRED, "Its new path, name included; its directory must exist."),
    FIELD(T, overwrite, BOOL, "false", NULL, 0, "Replace a file, or an empty directory, that is there."),
};
static const struct field copy_args[] = {
    FIELD(T, source, STR, NULL, "1..4000", FIELD_REQUIRED, "What to copy. " PATH_HELP),
    FIELD(T, destination, STR, NULL, "1..4000", FIELD_REQUIRED, "Path of the copy, name included; its directory must exist."),
    FIELD(T, overwrite, BOOL, "false", NULL, 0, "Replace a file that is there."),
    FIELD(T, recursive, BOOL, "false", NULL, 0, "Copy a directory with all that is in it."),
};
#undef T

static err_t find_pair(struct call_ctx *c, struct fs *fs, const struct pair_args *args,
                       struct spot *from, struct spot *to) {
    struct str rest;
    TRY(spot_find(c, fs, "source", args->source, from));
    TRY(must_exist("source", from));
    TRY(spot_find(c, fs, "destination", args->destination, to));
    TRY(fs_writable("destination", &to->place));
    if (to->exists && !args->overwrite)
        return ERR(CONFLICT, "destination: %.*s exists already (overwrite replaces it)",
                   STR(to->shown));
    bool inside = from->place.root == to->place.root &&
                  path_below(to->place.rest, from->place.rest, &rest);
    if (inside)
        return ERR(INVALID, "destination: %.*s is the source or lies in it", STR(to->shown));
    return OK;
}

/* ---- move -------------------------------------------------------------------------- */

#define T struct move_result
struct move_result {
    struct str source, destination;
    bool replaced;
};
static const struct field move_result[] = {
    FIELD(T, source, STR, NULL, NULL, FIELD_REQUIRED, "Where it was."),
    FIELD(T, destination, STR, NULL, NULL, FIELD_REQUIRED, "Where it is."),
    FIELD(T, replaced, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether something was replaced."),
};
#undef T

static err_t move_now(struct call_ctx *c, struct fs *fs, const void *given,
                      struct tool_result *result, const bool *cancelled) {
    const struct pair_args *args = given;
    SCOPED(spot_done) struct spot from = { .dir = -1 };
    SCOPED(spot_done) struct spot to = { .dir = -1 };
    TRY(find_pair(c, fs, args, &from, &to));
    TRY(fs_writable("source", &from.place));
    int flags = args->overwrite ? 0 : RENAME_NOREPLACE;
    if (renameat2(from.dir, from.leaf, to.dir, to.leaf, (unsigned)flags) < 0) {
        if (errno == EXDEV)
            return ERR(INVALID, "destination: %.*s is on another file system: copy, then delete",
                       STR(to.shown));
        return beneath_error(errno, "destination", to.shown);
    }
    struct move_result out = { from.shown, to.shown, to.exists };
    FS_ANSWER(move_result, &out, result);
    return OK;
}
static FS_TOOL(move)
/* ---- copy -------------------------------------------------------------------------- */

#define T struct copy_result
    struct copy_result {
    struct str source, destination;
    int64_t files, directories, bytes, skipped;
};
static const struct field copy_result[] = {
    FIELD(T, source, STR, NULL, NULL, FIELD_REQUIRED, "What was copied."),
    FIELD(T, destination, STR, NULL, NULL, FIELD_REQUIRED, "Where the copy is."),
    FIELD(T, files, INT, NULL, NULL, FIELD_REQUIRED, "Files in it."),
    FIELD(T, directories, INT, NULL, NULL, FIELD_REQUIRED, "Directories in it."),
    FIELD(T, bytes, INT, NULL, NULL, FIELD_REQUIRED, "Bytes in it."),
    FIELD(T, skipped, INT, NULL, NULL, FIELD_REQUIRED, "Links, devices and what could not be read: left out."),
};
#undef T

struct copying {
    struct fs *fs;
    const bool *cancelled;
    struct copy_result *out;
};

/* copy_file_range shares blocks where the file system can; where it cannot copy at all, by hand. */
static ssize_t copy_some(int from, int to, struct buf *room, bool *by_hand) {
    ssize_t n = *by_hand ? -1 : copy_file_range(from, NULL, to, NULL, 8 << 20, 0);
    bool cannot = n < 0 &&
                  (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP);
    if (!*by_hand && !cannot)
        return n;
    *by_hand = true;
    buf_reserve(room, COPY_BLOCK);
    n = read(from, room->p, COPY_BLOCK);
    for (ssize_t at = 0, done; at < n; at += done)
        if ((done = write(to, room->p + at, (size_t)(n - at))) < 0)
            return -1;
    return n;
}

/* Before the first byte where sizes are known: a sparse file needs no room until it is copied. */
static err_t check_room(const struct copying *k, int64_t more) {
    int64_t most = k->fs->options->max_copy;
    return more <= most - k->out->bytes
               ? OK
               : ERR(TOO_LARGE, "source: has more than %lld bytes (option max_copy)",
                     (long long)most);
}

static err_t copy_bytes(struct copying *k, int from, int to) {
    SCOPED(buf_done) struct buf room = { 0 };
    bool by_hand = false;
    for (;;) {
        if (work_cancelled(k->cancelled))
            return ERR(CANCELLED, "source: copying was cancelled");
        ssize_t n = copy_some(from, to, &room, &by_hand);
        if (n < 0 && errno != EINTR)
            return beneath_error(errno, "destination", S("copying"));
        if (n == 0)
            return OK;
        k->out->bytes += n > 0 ? n : 0;
        TRY(check_room(k, 0)); /* it grew meanwhile */
    }
}

static err_t copy_file_to(struct copying *k, int from, int dir, const char *leaf,
                          const struct stat *st, bool replace) {
    SCOPED(whole_scope) struct whole w = { .fd = -1 };
    TRY(check_room(k, st->st_size));
    TRY(whole_begin(&w, dir, "destination", NULL));
    TRY(copy_bytes(k, from, w.fd));
    fchmod(w.fd, st->st_mode & 0777);
    TRY(whole_finish(&w, "destination", leaf, replace));
    k->out->files++;
    return OK;
}

static err_t copy_child(struct copying *k, int from, int to, const char *name, unsigned depth);

static err_t copy_inside(struct copying *k, int from, int to, unsigned depth) {
    SCOPED(level_done) struct walk_level l = { 0 };
    bool too_many = false;
    unsigned char type;
    if (depth == 0)
        return ERR(INVALID, "source: is nested too deeply (option max_depth)");
    if (!level_read(&l, from, (size_t)k->fs->options->max_scan, k->fs->options->hidden_files, false,
                    &too_many))
        return beneath_error(errno, "source", S("reading a directory"));
    for (size_t i = 0; i < l.n; i++)
        TRY(copy_child(k, from, to, level_name(&l, i, &type), depth));
    int64_t seen = k->out->files + k->out->directories + k->out->skipped;
    if (too_many || seen > k->fs->options->max_scan)
        return ERR(TOO_LARGE, "source: has more than %lld entries (option max_scan)",
                   (long long)k->fs->options->max_scan);
    return OK;
}

static err_t copy_directory(struct copying *k, int from, int to, const char *name, unsigned depth) {
    if (mkdirat(to, name, 0777) < 0)
        return beneath_error(errno, "destination", str_of(name));
    SCOPED(fd_scope) int made = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (made < 0)
        return beneath_error(errno, "destination", str_of(name));
    k->out->directories++;
    return copy_inside(k, from, made, depth - 1);
}

static err_t copy_child(struct copying *k, int from, int to, const char *name, unsigned depth) {
    struct stat st;
    SCOPED(fd_scope) int file = beneath_child(k->fs, from, name, &st);
    if (file >= 0)
        return copy_file_to(k, file, to, name, &st, false);
    SCOPED(fd_scope)
    int dir = errno == EISDIR ? openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                              : -1;
    if (dir >= 0)
        return copy_directory(k, dir, to, name, depth);
    k->out->skipped++;
    return OK;
}

/* Into a directory of a temporary name, which gets its own when all is there. */
static err_t copy_tree(struct copying *k, int from, const struct spot *to) {
    SCOPED(whole_scope) struct whole w = { .fd = -1 };
    if (to->exists)
        return ERR(CONFLICT, "destination: %.*s exists already; a directory replaces nothing",
                   STR(to->shown));
    TRY(whole_dir_begin(&w, to->dir, "destination"));
    TRY(copy_inside(k, from, w.fd, (unsigned)k->fs->options->max_depth));
    TRY(whole_finish(&w, "destination", to->leaf, false));
    k->out->directories++;
    return OK;
}

static err_t copy_any(struct copying *k, struct call_ctx *c, const struct pair_args *args,
                      const struct spot *from, const struct spot *to) {
    SCOPED(fd_scope) int fd = -1;
    struct stat st;
    if (S_ISDIR(from->st.st_mode)) {
        if (!args->recursive)
            return ERR(INVALID,
                       "source: %.*s is a directory: recursive copies it with all that is in it",
                       STR(from->shown));
        TRY(beneath_dir(k->fs, "source", &from->place, &fd));
        return copy_tree(k, fd, to);
    }
    TRY(beneath_file(k->fs, "source", &from->place, &fd, &st));
    if (to->exists && !S_ISREG(to->st.st_mode))
        return ERR(CONFLICT, "destination: %.*s is a %s", STR(to->shown),
                   fs_type_word(to->st.st_mode));
    return copy_file_to(k, fd, to->dir, to->leaf, &st, args->overwrite);
}

static err_t copy_now(struct call_ctx *c, struct fs *fs, const void *given,
                      struct tool_result *result, const bool *cancelled) {
    const struct pair_args *args = given;
    SCOPED(spot_done) struct spot from = { .dir = -1 };
    SCOPED(spot_done) struct spot to = { .dir = -1 };
    TRY(find_pair(c, fs, args, &from, &to));
    struct copy_result out = { .source = from.shown, .destination = to.shown };
    struct copying k = { fs, cancelled, &out };
    TRY(copy_any(&k, c, args, &from, &to));
    FS_ANSWER(copy_result, &out, result);
    return OK;
}
static FS_TOOL(copy)
/* ---- delete ------------------------------------------------------------------------ */

#define T struct delete_args
    struct delete_args {
    struct str path;
    bool recursive;
};
static const struct field delete_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
    FIELD(T, recursive, BOOL, "false", NULL, 0, "Delete a directory with all that is in it; without it only an empty one."),
};
#undef T

#define T struct delete_result
struct delete_result {
    struct str path, type;
    int64_t removed;
};
static const struct field delete_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "What was deleted."),
    FIELD(T, type, STR, NULL, NULL, FIELD_REQUIRED, "What it was: file, directory, symlink, fifo, socket or device."),
    FIELD(T, removed, INT, NULL, NULL, FIELD_REQUIRED, "Entries removed, itself included."),
};
#undef T

/* Counted before anything is touched: a tree beyond the limits stays whole. */
static err_t check_size(struct fs *fs, const struct spot *s, const bool *cancelled) {
    struct walk_entry e;
    int fd = openat(s->dir, s->leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return beneath_error(errno, "path", s->shown);
    SCOPED(walk_scope)
    struct walk *w = walk_new(fs, fd, S(""), (size_t)fs->options->max_scan,
                              (unsigned)fs->options->max_depth);
    w->everything = true;
    while (walk_next(w, &e))
        if (work_cancelled(cancelled))
            return ERR(CANCELLED, "path: deleting was cancelled");
    if (w->too_many || w->too_deep)
        return ERR(TOO_LARGE,
                   "path: %.*s has more entries than %lld or is nested deeper than %lld (options "
                   "max_scan, max_depth); delete parts of it first",
                   STR(s->shown), (long long)fs->options->max_scan,
                   (long long)fs->options->max_depth);
    return OK;
}

static err_t remove_it(struct fs *fs, const struct delete_args *args, const struct spot *s,
                       const bool *cancelled, int64_t *removed) {
    size_t n = 0;
    bool dir = S_ISDIR(s->st.st_mode);
    if (dir && args->recursive)
        TRY(check_size(fs, s, cancelled));
    int why = dir && args->recursive ? remove_tree(s->dir, s->leaf, WALK_DEPTH, &n, cancelled)
              : unlinkat(s->dir, s->leaf, dir ? AT_REMOVEDIR : 0) < 0 ? errno
                                                                      : 0;
    *removed = args->recursive && dir ? (int64_t)n : 1;
    if (why == ENOTEMPTY && !args->recursive)
        return ERR(CONFLICT, "path: %.*s is not empty: recursive deletes it with all that is in it",
                   STR(s->shown));
    if (why == ECANCELED)
        return ERR(CANCELLED, "path: deleting was cancelled after %zu entries", n);
    return why ? beneath_error(why, "path", s->shown) : OK;
}

static err_t delete_now(struct call_ctx *c, struct fs *fs, const void *given,
                        struct tool_result *result, const bool *cancelled) {
    const struct delete_args *args = given;
    SCOPED(spot_done) struct spot s = { .dir = -1 };
    struct delete_result out = { 0 };
    TRY(spot_find(c, fs, "path", args->path, &s));
    TRY(fs_writable("path", &s.place));
    TRY(must_exist("path", &s));
    TRY(remove_it(fs, args, &s, cancelled, &out.removed));
    out.path = s.shown;
    out.type = str_of(fs_type_word(s.st.st_mode));
    FS_ANSWER(delete_result, &out, result);
    return OK;
}
static FS_TOOL(delete)

    /* ---- rows -------------------------------------------------------------------------- */

static const struct tool tools[] = {
    TOOL("move", "Move or rename", move_args, struct pair_args, move_result, move_tool, TOOL_DESTRUCTIVE,
         "Moves or renames a file or directory, in one step. What is at the destination stays, unless "
         "overwrite is said."),
    TOOL("copy", "Copy", copy_args, struct pair_args, copy_result, copy_tool, TOOL_DESTRUCTIVE,
         "Copies a file, or with recursive a directory. The copy appears when it is complete. Links are not "
         "followed and left out."),
    TOOL("delete", "Delete", delete_args, struct delete_args, delete_result, delete_tool, TOOL_DESTRUCTIVE,
         "Deletes a file or an empty directory for good; with recursive a directory with all that is in it. "
         "A link is removed, not what it points to."),
};
const struct tool_table fs_move_table = { tools, ARRAY_SIZE(tools) };
