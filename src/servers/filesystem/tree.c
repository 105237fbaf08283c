/* tree.c - tree: what is below a directory, as one indented picture and as a list. */
#include "base/mem.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/globs.h"
#include "servers/filesystem/tools.h"
#include "servers/filesystem/walk.h"
#include <fcntl.h>

#define T struct tree_args
struct tree_args {
    struct str path;
    int64_t depth, limit;
    struct str_list exclude;
    bool directories_only;
};
static const struct field tree_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
    FIELD(T, depth, INT, "3", "1..200", 0, "How many levels down."),
    FIELD(T, limit, INT, "500", "1..100000", 0, "At most so many entries; the server has a limit of its own."),
    FIELD(T, exclude, STRS, NULL, "..50", 0, "Globs of names to leave out with all below them, such as node_modules or *.o."),
    FIELD(T, directories_only, BOOL, "false", NULL, 0, "Leave out files."),
};
#undef T

#define T struct tree_entry
struct tree_entry {
    struct str path, type;
    int64_t size;
};
static const struct field tree_entry_rows[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "Below the directory asked for."),
    FIELD(T, type, STR, NULL, NULL, FIELD_REQUIRED, "file, directory, symlink, fifo, socket or device."),
    FIELD(T, size, INT, NULL, NULL, FIELD_REQUIRED, "Bytes of a file; 0 for others."),
};
#undef T

#define T struct tree_result
struct tree_result {
    struct str path;
    struct item_list entries;
    bool truncated, deeper;
    int64_t unreadable;
};
static const struct field tree_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The directory."),
    FIELD_NEST(T, entries, LIST, tree_entry_rows, struct tree_entry, FIELD_REQUIRED, "What is below it, each directory before what is in it."),
    FIELD(T, truncated, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether there are more entries than the limit."),
    FIELD(T, deeper, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether something lies deeper than asked for."),
    FIELD(T, unreadable, INT, NULL, NULL, FIELD_REQUIRED, "Directories that could not be read."),
};
#undef T

static int64_t size_of(const struct walk_entry *e) {
    struct stat st;
    return S_ISREG(e->type) && fstatat(e->dir, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size
                                                                                       : 0;
}

static void add_entry(struct call_ctx *c, const struct walk_entry *e, struct str below,
                      struct tree_entry *out, struct buf *text) {
    *out = (struct tree_entry){ arena_dup(c->arena, below), str_of(fs_type_word(e->type)),
                                size_of(e) };
    buf_fmt(text, "%*s%s%s\n", (int)(2 * e->depth), "", e->name, S_ISDIR(e->type) ? "/" : "");
}

static err_t fill(struct call_ctx *c, const struct tree_args *args, struct walk *w, size_t top,
                  size_t most, const bool *cancelled, struct tree_result *out, struct buf *text) {
    SCOPED(globs_done) struct globs exclude = { 0 };
    struct walk_entry e;
    struct tree_entry *items = ARENA_ARRAY(c->arena, struct tree_entry, most);
    TRY(globs_new("exclude", &args->exclude, &exclude));
    out->entries.items = items;
    while (walk_next(w, &e)) {
        struct str below = str_skip(e.rest, top);
        if (work_cancelled(cancelled))
            return ERR(CANCELLED, "path: the tree was cancelled");
        if (globs_match(&exclude, below))
            walk_skip(w);
        else if (args->directories_only && !S_ISDIR(e.type))
            continue;
        else if (out->entries.n == most)
            return OK; /* truncated stays true */
        else
            add_entry(c, &e, below, &items[out->entries.n++], text);
    }
    out->truncated = w->too_many;
    return OK;
}

static err_t tree_now(struct call_ctx *c, struct fs *fs, const void *given,
                      struct tool_result *result, const bool *cancelled) {
    const struct tree_args *args = given;
    const struct fs_options *o = fs->options;
    struct fs_place place;
    int fd;
    size_t most = (size_t)(args->limit < o->max_entries ? args->limit : o->max_entries);
    unsigned depth = (unsigned)(args->depth < o->max_depth ? args->depth : o->max_depth);
    TRY(fs_locate(fs, c->arena, "path", args->path, &place));
    TRY(beneath_dir(fs, "path", &place, &fd));
    SCOPED(walk_scope) struct walk *w = walk_new(fs, fd, place.rest, (size_t)o->max_scan, depth);
    struct tree_result out = { .path = fs_shown(c->arena, &place), .truncated = true };
    buf_fmt(&result->text, "%.*s/\n", STR(out.path));
    TRY(fill(c, args, w, place.rest.n ? place.rest.n + 1 : 0, most, cancelled, &out,
             &result->text));
    out.deeper = w->too_deep;
    out.unreadable = (int64_t)w->unreadable;
    if (out.truncated)
        buf_str(&result->text, S("… and more: ask for a part of it, or exclude something\n"));
    FS_ANSWER(tree_result, &out, result);
    return OK;
}
static FS_TOOL(tree)

static const struct tool tools[] = {
    TOOL("tree", "Show a directory tree", tree_args, struct tree_args, tree_result, tree_tool,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Everything below a directory down to some depth, as an indented tree and as a list. Links are "
         "shown and not followed."),
};
const struct tool_table fs_tree_table = { tools, ARRAY_SIZE(tools) };
