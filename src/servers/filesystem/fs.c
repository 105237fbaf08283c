/* fs.c - see fs.h: options, roots, places. */
#include "servers/filesystem/fs.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/watch.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- options ----------------------------------------------------------------------- */

static const char *const hard_link_words[] = { "refuse", "read", "allow", NULL };

#define T struct fs_root_conf
static const struct field root_rows[] = {
    FIELD(T, path, STR, NULL, "1..4000", FIELD_REQUIRED, "Directory that the name stands for."),
    FIELD(T, read_only, BOOL, "false", NULL, 0, "Nothing in it can be changed, whatever is allowed."),
};
#undef T

#define T struct fs_options
const struct field fs_option_rows[] = {
    FIELD(T, root_path, STR, NULL, "1..4000", 0,
          "Directory that tools may use, as a root named after its last part; without it and roots: the folder files in the data directory."),
    FIELD_NEST(T, roots, MAP, root_rows, struct fs_root_conf, 0, "Several directories, by the name that paths begin with."),
    FIELD(T, allowed_operations, STRS, "read,list,write", NULL, 0,
          "Which tools are there: words of read, list, write, delete, move, copy."),
    FIELD(T, max_read, BYTES, "1MiB", "1KiB..64MiB", 0, "Most text that one answer holds; longer is cut, and the answer says where."),
    FIELD(T, max_media, BYTES, "8MiB", "1KiB..64MiB", 0, "Largest file that read_media and a resource give."),
    FIELD(T, max_write, BYTES, "16MiB", "1KiB..1GiB", 0, "Largest file that write, append and edit leave behind."),
    FIELD(T, max_copy, BYTES, "1GiB", "1KiB..1TiB", 0, "Most bytes that one copy writes."),
    FIELD(T, max_entries, INT, "1000", "1..100000", 0, "Most entries of one page or tree."),
    FIELD(T, max_matches, INT, "500", "1..100000", 0, "Most matches of one search."),
    FIELD(T, max_scan, INT, "100000", "100..10000000", 0, "Most entries that one search, tree, copy or recursive delete looks at."),
    FIELD(T, max_depth, INT, "64", "1..200", 0, "Deepest nesting that these go down to."),
    FIELD(T, max_search_file, BYTES, "16MiB", "1KiB..1GiB", 0, "Larger files are not searched for content."),
    FIELD(T, max_search_bytes, BYTES, "1GiB", "1KiB..1TiB", 0, "Most content that one search reads."),
    FIELD(T, search_time, DURATION, "10s", "10ms..10m", 0, "Longest search, and longest listing of resources; what was found until then is the answer."),
    FIELD(T, follow_symlinks, BOOL, "false", NULL, 0, "Follow symbolic links that stay below their root. Never followed when a directory is walked."),
    FIELD(T, hidden_files, BOOL, "true", NULL, 0, "false: names that begin with a dot are neither shown nor reachable."),
    FIELD_CHOICE(T, hard_links, hard_link_words, "refuse", 0,
                 "Files with more than one hard link, as another may be outside: refuse them, read them, or allow changes too."),
    FIELD(T, resources, INT, "1000", "0..50000", 0, "Most files that are listed as resources; any can be read through the template. 0: no resources."),
    FIELD(T, watches, INT, "8192", "0..500000", 0, "Most directories watched for changes (inotify); beyond it lists are refreshed each minute. 0: none is watched."),
};
#undef T

static const struct {
    const char *word;
    unsigned bit;
} operations[] = {
    { "read", FS_READ },     { "write", FS_WRITE }, { "list", FS_LIST },
    { "delete", FS_DELETE }, { "move", FS_MOVE },   { "copy", FS_COPY },
};

static err_t read_operations(const struct str_list *words, unsigned *out) {
    *out = 0;
    for (size_t i = 0; i < words->n; i++) {
        size_t k = 0;
        while (k < ARRAY_SIZE(operations) && !str_eq(words->items[i], str_of(operations[k].word)))
            k++;
        if (k == ARRAY_SIZE(operations))
            return ERR(INVALID,
                       "options.allowed_operations[%zu] is none of read, list, write, delete, "
                       "move, copy",
                       i);
        *out |= operations[k].bit;
    }
    return OK;
}

static bool is_name(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_';
        if (!word && !(i && (c == '-' || c == '.')))
            return false;
    }
    return s.n >= 1 && s.n <= 64;
}

static err_t check_roots(const struct fs_options *o) {
    const struct fs_root_conf *roots = o->roots.items;
    if (o->root_path.n && o->root_path.p[0] != '/')
        return ERR(INVALID, "root_path is not absolute");
    for (size_t i = 0; i < o->roots.n; i++) {
        if (!is_name(roots[i].name))
            return ERR(INVALID, "roots: a name is 1 to 64 of A-Z a-z 0-9 _ . -");
        if (roots[i].path.p[0] != '/')
            return ERR(INVALID, "roots.%.*s.path is not absolute", STR(roots[i].name));
    }
    return OK;
}

err_t fs_check(const void *conf) {
    const struct fs_options *o = conf;
    unsigned allowed;
    TRY(read_operations(&o->allowed_operations, &allowed));
    TRY(check_roots(o));
    if (o->follow_symlinks && !o->hidden_files)
        return ERR(INVALID,
                   "follow_symlinks needs hidden_files: a link could lead to a hidden file");
    return OK;
}

/* ---- roots ------------------------------------------------------------------------- */

/* `path` ends with a NUL. */
static struct str real_path(struct arena *a, struct str path) {
    SCOPED(mem_scope) char *real = realpath(path.p, NULL);
    return real ? str_of(arena_text(a, str_of(real))) : path;
}

static err_t open_root(struct fs *fs, struct str name, struct str path, bool read_only) {
    struct fs_root *r = &fs->roots[fs->root_count];
    *r = (struct fs_root){ .name = arena_dup(&fs->arena, name), .read_only = read_only, .fd = -1 };
    r->path = str_of(arena_text(&fs->arena, path));
    r->fd = open(r->path.p, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (r->fd < 0)
        return err_errno(errno, "root %.*s: %s", STR(name), r->path.p);
    fs->root_count++;
    r->real = real_path(&fs->arena, r->path);
    TRY_WRAP(beneath_check(r->fd), "root %.*s: %s", STR(name), r->path.p);
    return OK;
}

/* "/srv/My data" is the root My-data. */
static struct str name_after(struct arena *a, struct str path) {
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    char *name = arena_text(a, path_leaf(path));
    for (char *c = name; *c; c++)
        if (!is_name(str_from(c, 1)) && (c == name || (*c != '.' && *c != '-')))
            *c = c == name ? '_' : '-';
    return str_head(*name ? str_of(name) : S("root"), 64);
}

static err_t open_default(struct fs *fs, const struct server_env *env) {
    if (!env || !env->data_dir.n)
        return ERR(INVALID, "no directory to serve: set root_path or roots among the options");
    struct str folder = arena_fmt(&fs->arena, "%.*s/files", STR(env->data_dir));
    TRY(folder_make(folder));
    struct str whole = real_path(&fs->arena, str_of(arena_text(&fs->arena, folder)));
    return open_root(fs, S("files"), whole, false);
}

static err_t open_roots(struct fs *fs, const struct server_env *env) {
    const struct fs_options *o = fs->options;
    const struct fs_root_conf *more = o->roots.items;
    fs->roots = ARENA_ARRAY(&fs->arena, struct fs_root, o->roots.n + 1);
    if (o->root_path.n)
        TRY(open_root(fs, name_after(&fs->arena, o->root_path), o->root_path, false));
    for (size_t i = 0; i < o->roots.n; i++) {
        for (size_t k = 0; k < fs->root_count; k++)
            if (str_eq(fs->roots[k].name, more[i].name))
                return ERR(INVALID, "root_path and roots both give %.*s", STR(more[i].name));
        TRY(open_root(fs, more[i].name, more[i].path, more[i].read_only));
    }
    return fs->root_count ? OK : open_default(fs, env);
}

static err_t open_all(struct fs *fs, const struct server_env *env) {
    TRY(fs_check(fs->options));
    TRY(read_operations(&fs->options->allowed_operations, &fs->allowed));
    TRY(open_roots(fs, env));
    fs->watch = fs_watch_new(fs);
    return OK;
}

err_t fs_new(const struct fs_options *options, const struct server_env *env, struct fs **out) {
    struct fs *fs = NEW(struct fs);
    fs->options = options;
    arena_init(&fs->arena, NULL, 0);
    for (size_t i = 0; i < FS_LOCKS; i++)
        pthread_mutex_init(&fs->locks[i], NULL);
    err_t e = open_all(fs, env);
    if (!e) {
        *out = fs;
        return OK;
    }
    struct err saved = *e;
    fs_free(fs);
    return err_again(&saved);
}

void fs_free(struct fs *fs) {
    if (!fs)
        return;
    fs_watch_free(fs->watch);
    for (size_t i = 0; i < fs->root_count; i++)
        close(fs->roots[i].fd);
    for (size_t i = 0; i < FS_LOCKS; i++)
        pthread_mutex_destroy(&fs->locks[i]);
    arena_done(&fs->arena);
    free(fs);
}

/* ---- places ------------------------------------------------------------------------ */

static struct str root_names(const struct fs *fs, struct arena *a) {
    struct str list = S("");
    for (size_t i = 0; i < fs->root_count; i++)
        list = arena_fmt(a, "%.*s%s%.*s", STR(list), list.n ? ", " : "", STR(fs->roots[i].name));
    return list;
}

/* The root that lies deepest, where one is inside another. */
static const struct fs_root *root_above(const struct fs *fs, struct str path, struct str *rest) {
    const struct fs_root *found = NULL;
    size_t depth = 0;
    for (size_t i = 0; i < fs->root_count; i++) {
        const struct str tops[] = { fs->roots[i].path, fs->roots[i].real };
        struct str below;
        for (size_t k = 0; k < ARRAY_SIZE(tops); k++)
            if (tops[k].n > depth && path_below(path, tops[k], &below)) {
                depth = tops[k].n;
                found = &fs->roots[i];
                *rest = below;
            }
    }
    return found;
}

static const struct fs_root *root_named(const struct fs *fs, struct str path, struct str *rest) {
    while (str_starts(path, S("./")))
        path = str_skip(path, 2);
    for (size_t i = 0; i < fs->root_count; i++)
        if (path_below(path, fs->roots[i].name, rest))
            return &fs->roots[i];
    if (fs->root_count != 1)
        return NULL;
    *rest = path; /* the only one need not be named */
    return &fs->roots[0];
}

err_t fs_locate(const struct fs *fs, struct arena *a, const char *what, struct str path,
                struct fs_place *out) {
    struct str rest = S(""), plain;
    bool uri = path_from_uri(a, path, &plain);
    const struct fs_root *root = uri ? root_named(fs, plain, &rest)
                                 : path.n && path.p[0] == '/' ? root_above(fs, path, &rest)
                                                              : root_named(fs, path, &rest);
    if (!root)
        return ERR(DENIED, "%s: is below none of the roots; a path begins with one of: %.*s", what,
                   STR(root_names(fs, a)));
    TRY_WRAP(path_clean(a, rest, fs->options->hidden_files, &rest), "%s", what);
    *out = (struct fs_place){ root, rest };
    return OK;
}

struct str fs_shown(struct arena *a, const struct fs_place *p) {
    if (!p->rest.n)
        return p->root->name;
    return arena_fmt(a, "%.*s/%.*s", STR(p->root->name), STR(p->rest));
}

struct fs_place fs_child(struct arena *a, const struct fs_place *folder, struct str name) {
    struct str rest = arena_fmt(a, "%.*s%s%.*s", STR(folder->rest), folder->rest.n ? "/" : "",
                                STR(name));
    return (struct fs_place){ folder->root, str_from(arena_text(a, rest), rest.n) };
}

err_t fs_writable(const char *what, const struct fs_place *p) {
    if (p->root->read_only)
        return ERR(DENIED, "%s: the root %.*s is read-only", what, STR(p->root->name));
    return OK;
}

/* ---- words ------------------------------------------------------------------------- */

const char *fs_type_word(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "directory";
    case S_IFLNK: return "symlink";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    default: return "device";
    }
}

struct str fs_time(struct arena *a, struct timespec t) {
    struct tm tm;
    char text[64];
    if (!gmtime_r(&t.tv_sec, &tm))
        return S("");
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return arena_dup(a, str_from(text, n));
}

/* ---- the pool ---------------------------------------------------------------------- */

struct job {
    struct call_ctx *ctx;
    struct fs *fs;
    const void *args;
    struct tool_result *result;
    fs_body *body;
};

static err_t run_job(void *arg, const bool *cancelled) {
    struct job *j = arg;
    return j->body(j->ctx, j->fs, j->args, j->result, cancelled);
}

err_t fs_on_pool(struct call_ctx *c, void *self, const void *args, struct tool_result *result,
                 fs_body *body) {
    static const bool never;
    struct job j = { c, self, args, result, body };
    return c->task ? work_run(c->task, run_job, &j) : run_job(&j, &never);
}
