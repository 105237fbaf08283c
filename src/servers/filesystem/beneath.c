/* beneath.c - see beneath.h. */
#include "servers/filesystem/beneath.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES = 128 }; /* EAGAIN: somebody renames while ".." of a link is followed */

static int open_how(int dir, const char *rest, int flags, uint64_t resolve) {
    struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .resolve = resolve };
    int fd = -1;
    for (int i = 0; i < TRIES; i++) {
        fd = (int)syscall(SYS_openat2, dir, *rest ? rest : ".", &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd;
}

int beneath_open(const struct fs *fs, int dir, const char *rest, int flags) {
    uint64_t links = fs->options->follow_symlinks ? 0 : RESOLVE_NO_SYMLINKS;
    return open_how(dir, rest, flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | links);
}

/* The very inode behind an O_PATH descriptor, opened for reading. */
static int reopen(int path, int flags) {
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", path);
    return open(name, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

err_t beneath_check(int root) {
    SCOPED(fd_scope)
    int fd = open_how(root, ".", O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return ERR(UNAVAILABLE,
                   "this kernel or its seccomp filter refuses openat2 (%s), without which nothing "
                   "keeps a path below its root: Linux 5.6 or newer is needed",
                   strerrorname_np(errno));
    if (fd < 0)
        return err_errno(errno, "openat2");
    SCOPED(fd_scope) int again = reopen(fd, O_RDONLY | O_DIRECTORY);
    if (again < 0 && errno != EACCES)
        return ERR(UNAVAILABLE, "/proc is not mounted: files are opened through /proc/self/fd");
    return OK;
}

err_t beneath_error(int number, const char *what, struct str shown) {
    switch (number) {
    case ENOENT: return ERR(NOT_FOUND, "%s: %.*s does not exist", what, STR(shown));
    case EXDEV: return ERR(DENIED, "%s: %.*s leads out of its root", what, STR(shown));
    case ELOOP:
        return ERR(DENIED,
                   "%s: %.*s is or passes a symbolic link, which is not followed (option "
                   "follow_symlinks)",
                   what, STR(shown));
    case ENOTDIR: return ERR(INVALID, "%s: %.*s passes through or is no directory", what, STR(shown));
    case EISDIR: return ERR(INVALID, "%s: %.*s is a directory", what, STR(shown));
    case EEXIST: return ERR(CONFLICT, "%s: %.*s exists already", what, STR(shown));
    case ENOTEMPTY: return ERR(CONFLICT, "%s: %.*s is not empty", what, STR(shown));
    case EACCES:
    case EPERM: return ERR(DENIED, "%s: %.*s: the file system does not permit it", what, STR(shown));
    case EROFS: return ERR(DENIED, "%s: %.*s is on a read-only file system", what, STR(shown));
    case ENAMETOOLONG: return ERR(INVALID, "%s: %.*s is too long", what, STR(str_head(shown, 100)));
    case EFBIG: return ERR(TOO_LARGE, "%s: %.*s becomes larger than a file may be here", what, STR(shown));
    case ENOSPC:
    case EDQUOT: return ERR(UNAVAILABLE, "%s: %.*s: no space is left", what, STR(shown));
    case EMFILE:
    case ENFILE: return ERR(UNAVAILABLE, "%s: %.*s: too many files are open", what, STR(shown));
    default:
        return ERR(UNAVAILABLE, "%s: %.*s: %s", what, STR(shown), strerrordesc_np(number));
    }
}

/* For messages only: errors have room for it. */
static err_t fail(int number, const char *what, const struct fs_place *p) {
    char text[260];
    int n = snprintf(text, sizeof text, "%.*s%s%.*s", STR(p->root->name), p->rest.n ? "/" : "",
                     STR(p->rest));
    size_t most = sizeof text - 1;
    return beneath_error(number, what, str_from(text, (size_t)n < most ? (size_t)n : most));
}

err_t beneath_dir(const struct fs *fs, const char *what, const struct fs_place *p, int *out) {
    *out = beneath_open(fs, p->root->fd, p->rest.p, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    return *out < 0 ? fail(errno, what, p) : OK;
}

/* O_NOFOLLOW gives the link itself; RESOLVE_NO_SYMLINKS would refuse it, so the name at the
 * end is opened from its directory. */
static int look(const struct fs *fs, const struct fs_place *p, struct stat *st) {
    struct str parent = path_parent(p->rest);
    if (!p->rest.n) {
        int root = beneath_open(fs, p->root->fd, ".", O_PATH | O_DIRECTORY);
        return root >= 0 && fstat(root, st) == 0 ? root : -1;
    }
    SCOPED(mem_scope) char *folder = mem_text(parent.p, parent.n);
    SCOPED(fd_scope) int dir = beneath_open(fs, p->root->fd, folder, O_PATH | O_DIRECTORY);
    if (dir < 0)
        return -1;
    int fd = open_how(dir, path_leaf(p->rest).p, O_PATH | O_NOFOLLOW,
                      RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    if (fd >= 0 && fstat(fd, st) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

err_t beneath_look(const struct fs *fs, const char *what, const struct fs_place *p, int *out,
                   struct stat *st) {
    *out = look(fs, p, st);
    return *out < 0 ? fail(errno, what, p) : OK;
}

/* 0, or the errno-like reason why it is not read. */
static int refused(const struct fs *fs, const struct stat *st) {
    if (S_ISDIR(st->st_mode))
        return EISDIR;
    if (S_ISLNK(st->st_mode))
        return ELOOP;
    if (!S_ISREG(st->st_mode))
        return EINVAL;
    return st->st_nlink > 1 && fs->options->hard_links == HARD_LINKS_REFUSE ? EMLINK : 0;
}

static err_t say_refused(int why, const char *what, const struct fs_place *p,
                         const struct stat *st) {
    if (why == EINVAL)
        return ERR(INVALID, "%s: %.*s/%.*s is a %s, no file to read", what, STR(p->root->name),
                   STR(p->rest), fs_type_word(st->st_mode));
    if (why == EMLINK)
        return ERR(
            DENIED,
            "%s: %.*s/%.*s has %lu hard links, and another may be outside of the root (option "
            "hard_links)",
            what, STR(p->root->name), STR(p->rest), (unsigned long)st->st_nlink);
    return fail(why, what, p);
}

err_t beneath_file(const struct fs *fs, const char *what, const struct fs_place *p, int *out,
                   struct stat *st) {
    SCOPED(fd_scope) int path = beneath_open(fs, p->root->fd, p->rest.p, O_PATH);
    if (path < 0 || fstat(path, st) < 0)
        return fail(errno, what, p);
    int why = refused(fs, st);
    if (why)
        return say_refused(why, what, p, st);
    *out = reopen(path, O_RDONLY);
    return *out < 0 ? fail(errno, what, p) : OK;
}

int beneath_child(const struct fs *fs, int dir, const char *name, struct stat *st) {
    SCOPED(fd_scope)
    int path = open_how(dir, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    if (path < 0 || fstat(path, st) < 0)
        return -1;
    int why = refused(fs, st);
    if (!why)
        return reopen(path, O_RDONLY);
    errno = why;
    return -1;
}

/* ---- for writing ------------------------------------------------------------------- */

/* One directory deeper, made if it is missing. */
static int step(const struct fs *fs, int dir, const char *name, bool make, int *made) {
    int next = beneath_open(fs, dir, name, O_PATH | O_DIRECTORY);
    if (next >= 0 || errno != ENOENT || !make)
        return next;
    if (mkdirat(dir, name, 0777) == 0)
        (*made)++;
    else if (errno != EEXIST)
        return -1;
    return beneath_open(fs, dir, name, O_PATH | O_DIRECTORY);
}

static int make_all(const struct fs *fs, struct arena *a, const struct fs_place *p, int *made) {
    int dir = beneath_open(fs, p->root->fd, ".", O_PATH | O_DIRECTORY);
    struct str rest = p->rest.n ? p->rest : (struct str){ 0 };
    while (dir >= 0 && rest.p) {
        struct str name = str_cut(&rest, '/');
        int next = step(fs, dir, arena_text(a, name), true, made);
        int why = errno;
        close(dir);
        errno = why;
        dir = next;
    }
    return dir;
}

err_t beneath_make(const struct fs *fs, struct arena *a, const char *what, const struct fs_place *p,
                   int *out, int *made) {
    *made = 0;
    *out = make_all(fs, a, p, made);
    return *out < 0 ? fail(errno, what, p) : OK;
}

err_t beneath_parent(const struct fs *fs, struct arena *a, const char *what,
                     const struct fs_place *p, bool make, int *out, const char **leaf) {
    if (!p->rest.n)
        return ERR(INVALID, "%s: %.*s is a root itself", what, STR(p->root->name));
    int made = 0; /* the caller does not ask */
    struct fs_place above = { p->root, arena_dup(a, path_parent(p->rest)) };
    above.rest.p = arena_text(a, above.rest);
    *leaf = arena_text(a, path_leaf(p->rest));
    *out = make ? make_all(fs, a, &above, &made)
                : beneath_open(fs, p->root->fd, above.rest.p, O_PATH | O_DIRECTORY);
    if (*out < 0 && errno == ENOENT && !make)
        return ERR(NOT_FOUND, "%s: the directory %.*s/%.*s does not exist", what,
                   STR(p->root->name), STR(above.rest));
    return *out < 0 ? fail(errno, what, &above) : OK;
}
