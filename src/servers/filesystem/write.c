/* write.c - write, append, create_directory. */
#include "base/map.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/change.h"
#include "servers/filesystem/text.h"
#include "servers/filesystem/tools.h"
#include "servers/filesystem/whole.h"
#include <errno.h>
#include <fcntl.h>

/* ---- what all changes of a file have in common (change.h) ---------------------------- */

static err_t check_old(const struct fs *fs, const struct change *c) {
    const struct stat *st = &c->old;
    if (S_ISDIR(st->st_mode))
        return ERR(INVALID, "path: %.*s is a directory", STR(c->shown));
    if (S_ISLNK(st->st_mode))
        return ERR(DENIED, "path: %.*s is a symbolic link: change what it points to",
                   STR(c->shown));
    if (!S_ISREG(st->st_mode))
        return ERR(INVALID, "path: %.*s is a %s, no file", STR(c->shown),
                   fs_type_word(st->st_mode));
    if (st->st_nlink > 1 && fs->options->hard_links != HARD_LINKS_ALLOW)
        return ERR(DENIED,
                   "path: %.*s has %lu hard links, and another may be outside of the root (option "
                   "hard_links)",
                   STR(c->shown), (unsigned long)st->st_nlink);
    return OK;
}

/* By the directory itself, so that two ways to it meet at the same lock. */
static pthread_mutex_t *lock_of(struct fs *fs, const struct change *c) {
    struct stat st = { 0 };
    fstat(c->dir, &st);
    uint64_t h = hash_str(str_of(c->leaf)) ^ hash_bytes(&st.st_ino, sizeof st.st_ino);
    return &fs->locks[h % FS_LOCKS];
}

err_t change_begin(struct call_ctx *ctx, struct fs *fs, struct str path, bool parents,
                   struct change *c) {
    struct fs_place place;
    TRY(fs_locate(fs, ctx->arena, "path", path, &place));
    TRY(fs_writable("path", &place));
    c->shown = fs_shown(ctx->arena, &place);
    TRY(beneath_parent(fs, ctx->arena, "path", &place, parents, &c->dir, &c->leaf));
    c->lock = lock_of(fs, c);
    pthread_mutex_lock(c->lock);
    c->exists = fstatat(c->dir, c->leaf, &c->old, AT_SYMLINK_NOFOLLOW) == 0;
    if (!c->exists && errno != ENOENT)
        return beneath_error(errno, "path", c->shown);
    return c->exists ? check_old(fs, c) : OK;
}

void change_done(struct change *c) {
    if (c->lock)
        pthread_mutex_unlock(c->lock);
    fd_scope(&c->dir);
}

err_t change_load(struct fs *fs, struct change *c, struct buf *out) {
    SCOPED(fd_scope) int fd = beneath_child(fs, c->dir, c->leaf, &c->old);
    if (fd < 0)
        return beneath_error(errno, "path", c->shown);
    c->loaded = true;
    return text_load(fd, "path", &c->old, fs->options->max_write, out);
}

static bool is_as_loaded(const struct change *c) {
    struct stat now;
    return fstatat(c->dir, c->leaf, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
           now.st_ino == c->old.st_ino && now.st_size == c->old.st_size &&
           now.st_mtim.tv_sec == c->old.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == c->old.st_mtim.tv_nsec;
}

err_t change_store(struct fs *fs, struct change *c, const struct str *parts, size_t n,
                   bool replace) {
    SCOPED(whole_scope) struct whole w = { .fd = -1 };
    int64_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += (int64_t)parts[i].n;
    if (size > fs->options->max_write)
        return ERR(TOO_LARGE,
                   "path: %.*s would have %lld bytes, at most %lld are allowed (option max_write)",
                   STR(c->shown), (long long)size, (long long)fs->options->max_write);
    TRY(whole_begin(&w, c->dir, "path", c->exists ? &c->old : NULL));
    for (size_t i = 0; i < n; i++)
        TRY(whole_write(&w, "path", parts[i]));
    if (c->loaded && !is_as_loaded(c))
        return ERR(CONFLICT, "path: %.*s was changed by somebody else meanwhile; read it again",
                   STR(c->shown));
    return whole_finish(&w, "path", c->leaf, replace);
}

/* ---- write ------------------------------------------------------------------------- */

#define T struct write_args
struct write_args {
    struct str path, content;
    bool overwrite, create_parents;
};
static const struct field write_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
    FIELD(T, content, STR, NULL, NULL, FIELD_REQUIRED, "The whole new text."),
    FIELD(T, overwrite, BOOL, "true", NULL, 0, "false: fail when the file exists already."),
    FIELD(T, create_parents, BOOL, "false", NULL, 0, "Make missing directories above it."),
};
#undef T

#define T struct write_result
struct write_result {
    struct str path;
    int64_t size;
    bool created;
};
static const struct field write_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The file."),
    FIELD(T, size, INT, NULL, NULL, FIELD_REQUIRED, "Its bytes now."),
    FIELD(T, created, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether it is new."),
};
#undef T

static err_t write_now(struct call_ctx *ctx, struct fs *fs, const void *given,
                       struct tool_result *result, const bool *cancelled) {
    const struct write_args *args = given;
    SCOPED(change_done) struct change c = { .dir = -1 };
    if ((int64_t)args->content.n > fs->options->max_write)
        return ERR(TOO_LARGE, "content: has %zu bytes, at most %lld are allowed (option max_write)",
                   args->content.n, (long long)fs->options->max_write);
    TRY(change_begin(ctx, fs, args->path, args->create_parents, &c));
    if (c.exists && !args->overwrite)
        return ERR(CONFLICT, "path: %.*s exists already", STR(c.shown));
    TRY(change_store(fs, &c, &args->content, 1, args->overwrite));
    struct write_result out = { c.shown, (int64_t)args->content.n, !c.exists };
    FS_ANSWER(write_result, &out, result);
    return OK;
}
static FS_TOOL(write)
/* ---- append ------------------------------------------------------------------------ */

#define T struct append_args
    struct append_args {
    struct str path, content;
    bool create;
};
static const struct field append_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
    FIELD(T, content, STR, NULL, NULL, FIELD_REQUIRED, "Text to add at the end; begin it with a line end where the file lacks one."),
    FIELD(T, create, BOOL, "true", NULL, 0, "Make the file when it does not exist."),
};
#undef T

static err_t append_now(struct call_ctx *ctx, struct fs *fs, const void *given,
                        struct tool_result *result, const bool *cancelled) {
    const struct append_args *args = given;
    SCOPED(change_done) struct change c = { .dir = -1 };
    SCOPED(buf_done) struct buf old = { 0 };
    TRY(change_begin(ctx, fs, args->path, false, &c));
    if (!c.exists && !args->create)
        return ERR(NOT_FOUND, "path: %.*s does not exist", STR(c.shown));
    if (c.exists)
        TRY(change_load(fs, &c, &old));
    const struct str parts[] = { buf_view(&old), args->content };
    TRY(change_store(fs, &c, parts, 2, c.exists));
    struct write_result out = { c.shown, (int64_t)(old.n + args->content.n), !c.exists };
    FS_ANSWER(write_result, &out, result);
    return OK;
}
static FS_TOOL(append)
/* ---- create_directory -------------------------------------------------------------- */

#define T struct create_directory_args
    struct create_directory_args {
    struct str path;
};
static const struct field create_directory_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
};
#undef T

#define T struct create_directory_result
struct create_directory_result {
    struct str path;
    int64_t created;
};
static const struct field create_directory_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The directory."),
    FIELD(T, created, INT, NULL, NULL, FIELD_REQUIRED, "How many directories were made, those above it included; 0 when it was there."),
};
#undef T

static err_t create_directory_now(struct call_ctx *ctx, struct fs *fs, const void *given,
                                  struct tool_result *result, const bool *cancelled) {
    const struct create_directory_args *args = given;
    SCOPED(fd_scope) int fd = -1;
    struct fs_place place;
    int made;
    TRY(fs_locate(fs, ctx->arena, "path", args->path, &place));
    TRY(fs_writable("path", &place));
    TRY(beneath_make(fs, ctx->arena, "path", &place, &fd, &made));
    struct create_directory_result out = { fs_shown(ctx->arena, &place), made };
    FS_ANSWER(create_directory_result, &out, result);
    return OK;
}
static FS_TOOL(create_directory)

    /* ---- rows -------------------------------------------------------------------------- */

static const struct tool tools[] = {
    TOOL("write", "Write a file", write_args, struct write_args, write_result, write_tool,
         TOOL_DESTRUCTIVE | TOOL_IDEMPOTENT,
         "Writes a text file whole: makes it, or replaces what was in it. Readers see the old content or "
         "the new, never a part. To change some places of a file use edit."),
    TOOL("append", "Append to a file", append_args, struct append_args, write_result, append_tool, 0,
         "Adds text at the end of a file and leaves what is in it; makes the file when there is none."),
    TOOL("create_directory", "Create a directory", create_directory_args, struct create_directory_args,
         create_directory_result, create_directory_tool, TOOL_IDEMPOTENT,
         "Makes a directory and those above it that are missing. One that exists already is no error."),
};
const struct tool_table fs_write_table = { tools, ARRAY_SIZE(tools) };
