/* walk.c - see walk.h. */
#include "servers/filesystem/walk.h"
#include "base/mem.h"
#include "servers/filesystem/whole.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

/* ---- one directory ----------------------------------------------------------------- */

struct reading {
    struct buf names, order;
};

static void add_name(struct reading *r, const struct dirent *e) {
    uint32_t at = (uint32_t)r->names.n;
    size_t n = strlen(e->d_name);
    unsigned char type = e->d_type;
    buf_put(&r->names, &type, 1); /* in front of its name */
    buf_put(&r->names, e->d_name, n + 1);
    buf_put(&r->order, &at, sizeof at);
}

static int by_name(const void *x, const void *y, void *names) {
    return strcmp((char *)names + *(const uint32_t *)x + 1,
                  (char *)names + *(const uint32_t *)y + 1);
}

static bool is_shown(const char *name, bool hidden, bool temps) {
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    if (path_is_temp(str_of(name)))
        return temps;
    return hidden || name[0] != '.';
}

bool level_read(struct walk_level *l, int fd, size_t most, bool hidden, bool temps,
                bool *too_many) {
    struct reading r = { 0 };
    int own = dup(fd);
    DIR *d = own < 0 ? NULL : fdopendir(own);
    if (!d) {
        if (own >= 0)
            close(own);
        return false;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (!is_shown(e->d_name, hidden, temps))
            continue;
        if (r.order.n / sizeof(uint32_t) == most || r.names.n > 1u << 30) {
            *too_many = true;
            break;
        }
        add_name(&r, e);
    }
    closedir(d);
    *l = (struct walk_level){ .fd = fd, .n = r.order.n / sizeof(uint32_t) };
    l->names = (char *)(uintptr_t)buf_take(&r.names).p;
    l->order = (uint32_t *)(uintptr_t)buf_take(&r.order).p;
    if (l->n)
        qsort_r(l->order, l->n, sizeof *l->order, by_name, l->names);
    return true;
}

void level_done(struct walk_level *l) {
    free(l->names);
    free(l->order);
    l->names = NULL;
    l->order = NULL;
}

const char *level_name(const struct walk_level *l, size_t i, unsigned char *type) {
    const char *entry = l->names + l->order[i];
    *type = (unsigned char)*entry;
    return entry + 1;
}

/* File systems need not say the type in the directory; then it is asked for. */
mode_t type_of(unsigned char d_type, int dir, const char *name) {
    struct stat st;
    if (d_type != DT_UNKNOWN)
        return DTTOIF(d_type);
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & S_IFMT : S_IFREG;
}

/* ---- all of them ------------------------------------------------------------------- */

static void push(struct walk *w, int fd) {
    struct walk_level *l = &w->levels[w->depth];
    if (w->on_open)
        w->on_open(w->arg, fd, str_from(w->path, w->path_n));
    if (!level_read(l, fd, w->most - w->scanned, w->everything || w->fs->options->hidden_files,
                    w->everything || w->clean, &w->too_many)) {
        w->unreadable++;
        close(fd);
        return;
    }
    l->path = w->path_n;
    w->depth++;
}

static void pop(struct walk *w) {
    struct walk_level *l = &w->levels[--w->depth];
    close(l->fd);
    level_done(l);
}

struct walk *walk_new(const struct fs *fs, int dir, struct str rest, size_t most,
                      unsigned max_depth) {
    struct walk *w = NEW(struct walk);
    w->fs = fs;
    w->most = most;
    w->max_depth = max_depth < WALK_DEPTH ? max_depth : WALK_DEPTH;
    w->path = mem_alloc(rest.n + 1 + (PATH_NAME + 1) * (WALK_DEPTH + 2));
    if (rest.n)
        memcpy(w->path, rest.p, rest.n);
    w->path_n = rest.n;
    w->start = dir;
    return w;
}

/* What on_open needs is set after walk_new, so the start is read at the first walk_next. */
static void begin(struct walk *w) {
    int dir = w->start;
    w->start = -1;
    push(w, dir);
}

void walk_free(struct walk *w) {
    if (!w)
        return;
    if (w->start >= 0)
        close(w->start);
    while (w->depth)
        pop(w);
    free(w->path);
    free(w);
}

static void enter(struct walk *w) {
    struct walk_level *l = &w->levels[w->depth - 1];
    unsigned char type;
    const char *name = level_name(l, l->next - 1, &type);
    w->enter = false;
    if (w->depth >= w->max_depth) {
        w->too_deep = true;
        return;
    }
    int fd = openat(l->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        w->unreadable++;
    else
        push(w, fd);
}

static void give(struct walk *w, struct walk_level *l, struct walk_entry *out) {
    unsigned char type;
    const char *name = level_name(l, l->next++, &type);
    size_t n = strlen(name);
    w->path_n = l->path;
    if (w->path_n)
        w->path[w->path_n++] = '/';
    memcpy(w->path + w->path_n, name, n + 1);
    const char *end = w->path + w->path_n;
    w->path_n += n;
    *out = (struct walk_entry){ str_from(w->path, w->path_n), end, l->fd, w->depth,
                                type_of(type, l->fd, name) };
}

bool walk_next(struct walk *w, struct walk_entry *out) {
    if (w->start >= 0)
        begin(w);
    if (w->enter)
        enter(w);
    while (w->depth && w->levels[w->depth - 1].next == w->levels[w->depth - 1].n)
        pop(w);
    if (!w->depth)
        return false;
    if (w->scanned == w->most) {
        w->too_many = true;
        return false;
    }
    give(w, &w->levels[w->depth - 1], out);
    if (w->clean && path_is_temp(str_of(out->name))) {
        whole_clean(out->dir, out->name);
        return walk_next(w, out);
    }
    w->scanned++;
    w->enter = S_ISDIR(out->type);
    return true;
}
