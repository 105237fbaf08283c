/* list.c - list_directory, stat, list_roots. */
#include "base/crypto.h"
#include "base/mem.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/tools.h"
#include "servers/filesystem/walk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>

/* ---- list_directory ---------------------------------------------------------------- */

static const char *const sort_words[] = { "name", "size", "modified", NULL };
enum { BY_NAME, BY_SIZE, BY_MODIFIED };

#define T struct list_args
struct list_args {
    struct str path, cursor;
    int sort;
    int64_t limit;
};
static const struct field list_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
    FIELD_CHOICE(T, sort, sort_words, "name", 0, "Order: name; size, largest first; modified, newest first."),
    FIELD(T, limit, INT, "200", "1..100000", 0, "Entries of one page; the server has a limit of its own."),
    FIELD(T, cursor, STR, NULL, "..1000", 0, "next_cursor of the page before, to read on after it."),
};
#undef T

#define T struct entry_view
struct entry_view {
    struct str name, type, modified;
    int64_t size;
    bool not_utf8;
    int64_t key; /* what it is sorted by */
};
static const struct field entry_rows[] = {
    FIELD(T, name, STR, NULL, NULL, FIELD_REQUIRED, ""),
    FIELD(T, type, STR, NULL, NULL, FIELD_REQUIRED, "file, directory, symlink, fifo, socket or device."),
    FIELD(T, size, INT, NULL, NULL, FIELD_REQUIRED, "Bytes of a file; 0 for others."),
    FIELD(T, modified, STR, NULL, NULL, FIELD_REQUIRED, "Last change, RFC 3339."),
    FIELD(T, not_utf8, BOOL, NULL, NULL, FIELD_REQUIRED, "The name is not UTF-8: shown with replacement characters, it cannot be used."),
};
#undef T

#define T struct list_result
struct list_result {
    struct str path;
    struct item_list entries;
    int64_t total;
    struct str next_cursor;
    bool truncated;
};
static const struct field list_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The directory."),
    FIELD_NEST(T, entries, LIST, entry_rows, struct entry_view, FIELD_REQUIRED, "What is in it, in the order asked for."),
    FIELD(T, total, INT, NULL, NULL, FIELD_REQUIRED, "How many entries it has in all."),
    FIELD(T, next_cursor, STR, NULL, "1..", 0, "Where the next page begins; absent on the last."),
    FIELD(T, truncated, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether it has more entries than the server looks at."),
};
#undef T

struct sorted {
    struct entry_view *items;
    size_t n;
};

static int by_key(const void *x, const void *y) {
    const struct entry_view *a = x, *b = y;
    if (a->key != b->key)
        return a->key > b->key ? -1 : 1;
    return str_cmp(a->name, b->name);
}

/* A position is the key and name of the last entry given: it holds when entries come and go. */
static struct str cursor_at(struct arena *a, const struct entry_view *last) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct str plain = arena_fmt(a, "%lld/%.*s", (long long)last->key, STR(last->name));
    base64url_put(&out, plain.p, plain.n);
    return arena_dup(a, buf_view(&out));
}

static err_t read_cursor(struct arena *a, struct str cursor, struct entry_view *out) {
    SCOPED(buf_done) struct buf plain = { 0 };
    bool good = base64url_get(cursor, &plain);
    struct str rest = good ? arena_dup(a, buf_view(&plain)) : S("");
    struct str key = str_cut(&rest, '/');
    if (!good || !rest.p || !str_to_i64(key, &out->key))
        return ERR(INVALID, "cursor: is not one of this tool");
    out->name = rest;
    return OK;
}

static void look_at(struct call_ctx *c, const struct walk_level *l, size_t i, int sort, bool full,
                    struct entry_view *out) {
    unsigned char d_type;
    struct stat st = { 0 };
    const char *name = level_name(l, i, &d_type);
    bool known = full && fstatat(l->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    *out = (struct entry_view){ .name = arena_dup(c->arena, str_of(name)) };
    mode_t type = known ? st.st_mode & S_IFMT : type_of(d_type, l->fd, name);
    out->type = str_of(fs_type_word(type));
    out->size = known && S_ISREG(st.st_mode) ? st.st_size : 0;
    out->modified = known ? fs_time(c->arena, st.st_mtim) : S("");
    out->not_utf8 = !json_is_utf8(out->name);
    if (sort == BY_SIZE)
        out->key = out->size;
    if (sort == BY_MODIFIED)
        out->key = (int64_t)st.st_mtim.tv_sec * NANOS_SEC + st.st_mtim.tv_nsec;
}

static err_t sort_all(struct call_ctx *c, const struct walk_level *l, int sort,
                      const bool *cancelled, struct sorted *out) {
    out->items = ARENA_ARRAY(c->arena, struct entry_view, l->n);
    for (; out->n < l->n; out->n++) {
        if (out->n % 256 == 0 && work_cancelled(cancelled))
            return ERR(CANCELLED, "path: listing was cancelled");
        look_at(c, l, out->n, sort, sort != BY_NAME, &out->items[out->n]);
    }
    qsort(out->items, out->n, sizeof *out->items, by_key);
    return OK;
}

static err_t take_page(struct call_ctx *c, const struct list_args *args, size_t most,
                       const struct walk_level *l, struct sorted *all, struct list_result *out) {
    struct entry_view after;
    size_t from = 0;
    if (args->cursor.n) {
        TRY(read_cursor(c->arena, args->cursor, &after));
        while (from < all->n && by_key(&all->items[from], &after) <= 0)
            from++;
    }
    size_t n = all->n - from < most ? all->n - from : most;
    for (size_t i = 0; args->sort == BY_NAME && i < n; i++) /* l and all have the same order */
        look_at(c, l, from + i, BY_NAME, true, &all->items[from + i]);
    if (n && from + n < all->n)
        out->next_cursor = cursor_at(c->arena, &all->items[from + n - 1]);
    out->entries = (struct item_list){ all->items + from, n };
    out->total = (int64_t)all->n;
    return OK;
}

static void put_lines(struct buf *out, const struct list_result *r) {
    const struct entry_view *e = r->entries.items;
    buf_fmt(out, "%.*s: %lld entries\n", STR(r->path), (long long)r->total);
    for (size_t i = 0; i < r->entries.n; i++) {
        bool dir = str_eq(e[i].type, S("directory")), file = str_eq(e[i].type, S("file"));
        if (file)
            buf_fmt(out, "%10lld  ", (long long)e[i].size);
        else
            buf_fmt(out, "%10s  ", dir ? "dir" : e[i].type.p);
        buf_fmt(out, "%.*s  ", STR(e[i].modified));
        buf_str(out, e[i].name);
        buf_str(out, dir ? S("/\n") : S("\n"));
    }
    if (r->next_cursor.n)
        buf_fmt(out, "more with cursor %.*s\n", STR(r->next_cursor));
}

static err_t list_level(struct call_ctx *c, struct fs *fs, const struct list_args *args, int fd,
                        const bool *cancelled, struct list_result *out) {
    struct sorted all = { 0 };
    SCOPED(level_done) struct walk_level l = { 0 };
    const struct fs_options *o = fs->options;
    int64_t most = args->limit < o->max_entries ? args->limit : o->max_entries;
    if (!level_read(&l, fd, (size_t)o->max_scan, o->hidden_files, false, &out->truncated))
        return beneath_error(errno, "path", out->path);
    TRY(sort_all(c, &l, args->sort, cancelled, &all));
    return take_page(c, args, (size_t)most, &l, &all, out);
}

static err_t list_directory_now(struct call_ctx *c, struct fs *fs, const void *given,
                                struct tool_result *result, const bool *cancelled) {
    const struct list_args *args = given;
    struct fs_place place;
    SCOPED(fd_scope) int fd = -1;
    TRY(fs_locate(fs, c->arena, "path", args->path, &place));
    struct list_result out = { .path = fs_shown(c->arena, &place) };
    TRY(beneath_dir(fs, "path", &place, &fd));
    TRY(list_level(c, fs, args, fd, cancelled, &out));
    put_lines(&result->text, &out);
    FS_ANSWER(list_result, &out, result);
    return OK;
}
static FS_TOOL(list_directory)
/* ---- stat -------------------------------------------------------------------------- */

#define T struct stat_args
    struct stat_args {
    struct str path;
};
static const struct field stat_args[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, PATH_HELP),
};
#undef T

#define T struct stat_result
struct stat_result {
    struct str path, uri, type, mime_type, permissions, modified, accessed, changed;
    int64_t size, links;
    bool writable;
};
static const struct field stat_result[] = {
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "What was asked for."),
    FIELD(T, uri, STR, NULL, NULL, FIELD_REQUIRED, "Its URI as a resource."),
    FIELD(T, type, STR, NULL, NULL, FIELD_REQUIRED, "file, directory, symlink, fifo, socket or device; a link is not followed."),
    FIELD(T, mime_type, STR, NULL, "1..", 0, "Of a file, by its name."),
    FIELD(T, size, INT, NULL, NULL, FIELD_REQUIRED, "Its bytes."),
    FIELD(T, permissions, STR, NULL, NULL, FIELD_REQUIRED, "Such as 0644."),
    FIELD(T, links, INT, NULL, NULL, FIELD_REQUIRED, "Number of hard links."),
    FIELD(T, modified, STR, NULL, NULL, FIELD_REQUIRED, "Last change of its content, RFC 3339."),
    FIELD(T, accessed, STR, NULL, NULL, FIELD_REQUIRED, "Last reading, as far as the file system keeps it."),
    FIELD(T, changed, STR, NULL, NULL, FIELD_REQUIRED, "Last change of its name, mode or owner."),
    FIELD(T, writable, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether its root and this server's options permit changes; the file system may still refuse."),
};
#undef T

static err_t stat_now(struct call_ctx *c, struct fs *fs, const void *given,
                      struct tool_result *result, const bool *cancelled) {
    const struct stat_args *args = given;
    struct fs_place place;
    struct stat st;
    char mode[8];
    SCOPED(fd_scope) int fd = -1;
    SCOPED(buf_done) struct buf uri = { 0 };
    TRY(fs_locate(fs, c->arena, "path", args->path, &place));
    TRY(beneath_look(fs, "path", &place, &fd, &st));
    path_put_uri(&uri, place.root->name, place.rest);
    snprintf(mode, sizeof mode, "%04o", st.st_mode & 07777);
    struct stat_result out = {
        .path = fs_shown(c->arena, &place), .uri = buf_view(&uri), .type = str_of(fs_type_word(st.st_mode)),
        .mime_type = S_ISREG(st.st_mode) ? path_mime(path_leaf(place.rest)) : S(""),
        .size = st.st_size, .links = (int64_t)st.st_nlink, .permissions = str_of(mode),
        .modified = fs_time(c->arena, st.st_mtim), .accessed = fs_time(c->arena, st.st_atim),
        .changed = fs_time(c->arena, st.st_ctim),
        .writable = !place.root->read_only && (fs->allowed & FS_WRITE),
    };
    FS_ANSWER(stat_result, &out, result);
    return OK;
}
static FS_TOOL(stat)
/* ---- list_roots -------------------------------------------------------------------- */

#define T struct root_view
    struct root_view {
    struct str name, path, uri;
    bool read_only;
    int64_t free_bytes, total_bytes;
};
static const struct field root_rows[] = {
    FIELD(T, name, STR, NULL, NULL, FIELD_REQUIRED, "What paths begin with."),
    FIELD(T, path, STR, NULL, NULL, FIELD_REQUIRED, "The directory; absolute paths below it are taken too."),
    FIELD(T, uri, STR, NULL, NULL, FIELD_REQUIRED, "Beginning of the URIs of its files."),
    FIELD(T, read_only, BOOL, NULL, NULL, FIELD_REQUIRED, "Whether nothing in it can be changed."),
    FIELD(T, free_bytes, INT, NULL, NULL, FIELD_REQUIRED, "Room left on its file system."),
    FIELD(T, total_bytes, INT, NULL, NULL, FIELD_REQUIRED, "Size of its file system."),
};
#undef T

#define T struct roots_result
struct roots_result {
    struct item_list roots;
    struct str_list operations;
};
static const struct field roots_result[] = {
    FIELD_NEST(T, roots, LIST, root_rows, struct root_view, FIELD_REQUIRED, "The directories that can be used."),
    FIELD(T, operations, STRS, NULL, NULL, FIELD_REQUIRED, "What may be done: words of read, list, write, delete, move, copy."),
};
#undef T

struct no_args {
    char none;
};
static const struct field no_args[] = {};

static err_t list_roots_now(struct call_ctx *c, struct fs *fs, const void *given,
                            struct tool_result *result, const bool *cancelled) {
    struct root_view *roots = ARENA_ARRAY(c->arena, struct root_view, fs->root_count);
    struct roots_result out = { { roots, fs->root_count }, fs->options->allowed_operations };
    for (size_t i = 0; i < fs->root_count; i++) {
        const struct fs_root *r = &fs->roots[i];
        SCOPED(buf_done) struct buf uri = { 0 };
        struct statvfs v = { 0 };
        fstatvfs(r->fd, &v);
        path_put_uri(&uri, r->name, S(""));
        roots[i] = (struct root_view){
            .name = r->name, .path = r->path, .uri = arena_dup(c->arena, buf_view(&uri)), .read_only = r->read_only,
            .free_bytes = (int64_t)(v.f_bavail * v.f_frsize), .total_bytes = (int64_t)(v.f_blocks * v.f_frsize),
        };
    }
    FS_ANSWER(roots_result, &out, result);
    return OK;
}
static FS_TOOL(list_roots)

    /* ---- rows -------------------------------------------------------------------------- */

static const struct tool tools[] = {
    TOOL("list_roots", "List roots", no_args, struct no_args, roots_result, list_roots_tool,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "The directories that this server may use, by the names that paths begin with, and what may be "
         "done in them. Call it first when it is not known which paths there are."),
    TOOL("list_directory", "List a directory", list_args, struct list_args, list_result, list_directory_tool,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Names, types, sizes and times of what is in one directory, sorted, in pages. For everything below "
         "it use tree, to find something use search."),
    TOOL("stat", "Look at a file or directory", stat_args, struct stat_args, stat_result, stat_tool,
         TOOL_READ_ONLY | TOOL_IDEMPOTENT,
         "Type, size, times and permissions of one file or directory, without reading it."),
};
const struct tool_table fs_list_table = { tools, ARRAY_SIZE(tools) };
