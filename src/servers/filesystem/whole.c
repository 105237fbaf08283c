/* whole.c - see whole.h. */
#include "servers/filesystem/whole.h"
#include "base/crypto.h"
#include "servers/filesystem/beneath.h"
#include "servers/filesystem/walk.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

enum { TRIES = 8 };

static void new_name(struct whole *w) {
    uint64_t number;
    crypto_random(&number, sizeof number);
    path_temp_name(number, w->name);
}

/* The owner first: giving a file away clears set-id bits, which are not kept anyway. */
static void keep_mode(int fd, const struct stat *like) {
    bool foreign = like->st_uid != geteuid() || like->st_gid != getegid();
    if (foreign && fchown(fd, like->st_uid, like->st_gid) < 0 &&
        fchown(fd, (uid_t)-1, like->st_gid) < 0)
        errno = 0; /* not ours to give: it becomes the server's */
    fchmod(fd, like->st_mode & 0777);
}

err_t whole_begin(struct whole *w, int dir, const char *what, const struct stat *like) {
    *w = (struct whole){ .dir = dir, .fd = -1 };
    for (int i = 0; i < TRIES && w->fd < 0; i++) {
        new_name(w);
        w->fd = openat(dir, w->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno != EEXIST)
            return beneath_error(errno, what, S("a temporary file beside it"));
    }
    if (w->fd < 0)
        return ERR(UNAVAILABLE, "%s: no name for a temporary file is free", what);
    flock(w->fd, LOCK_EX | LOCK_NB);
    if (like)
        keep_mode(w->fd, like);
    return OK;
}

err_t whole_write(struct whole *w, const char *what, struct str bytes) {
    while (bytes.n) {
        ssize_t n = write(w->fd, bytes.p, bytes.n);
        if (n < 0 && errno != EINTR)
            return beneath_error(errno, what, S("writing"));
        bytes = str_skip(bytes, n > 0 ? (size_t)n : 0);
    }
    return OK;
}

static int sync_dir(int dir) {
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) < 0;
    if (fd >= 0)
        close(fd);
    return failed;
}

err_t whole_finish(struct whole *w, const char *what, const char *leaf, bool replace) {
    if (fsync(w->fd) < 0)
        return beneath_error(errno, what, S("syncing"));
    if (renameat2(w->dir, w->name, w->dir, leaf, replace ? 0 : RENAME_NOREPLACE) < 0)
        return beneath_error(errno, what, str_of(leaf));
    close(w->fd);
    w->fd = -1;
    sync_dir(w->dir); /* the rename stands; syncing its directory is for power cuts alone */
    return OK;
}

err_t whole_dir_begin(struct whole *w, int dir, const char *what) {
    *w = (struct whole){ .dir = dir, .fd = -1 };
    new_name(w);
    if (mkdirat(dir, w->name, 0777) < 0)
        return beneath_error(errno, what, S("a temporary directory beside it"));
    w->fd = openat(dir, w->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (w->fd < 0)
        return beneath_error(errno, what, S("a temporary directory beside it"));
    flock(w->fd, LOCK_EX | LOCK_NB);
    return OK;
}

void whole_scope(struct whole *w) {
    static const bool never;
    size_t removed;
    struct stat st;
    if (w->fd < 0)
        return;
    if (fstat(w->fd, &st) == 0 && S_ISDIR(st.st_mode))
        remove_tree(w->dir, w->name, WALK_DEPTH, &removed, &never);
    else
        unlinkat(w->dir, w->name, 0);
    close(w->fd);
    w->fd = -1;
}

void whole_clean(int dir, const char *name) {
    static const bool never;
    size_t removed = 0;
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        return;
    SCOPED(fd_scope) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        remove_tree(dir, name, WALK_DEPTH, &removed, &never);
}

/* ---- trees ------------------------------------------------------------------------- */

static int remove_inside(int fd, unsigned depth, size_t *removed, const bool *cancelled) {
    struct walk_level l = { 0 };
    bool too_many = false;
    unsigned char type;
    int why = 0;
    if (!level_read(&l, fd, SIZE_MAX, true, true, &too_many))
        return errno;
    for (size_t i = 0; i < l.n && !why; i++)
        why = remove_tree(fd, level_name(&l, i, &type), depth - 1, removed, cancelled);
    level_done(&l);
    return why;
}

int remove_tree(int dir, const char *name, unsigned depth, size_t *removed, const bool *cancelled) {
    if (work_cancelled(cancelled))
        return ECANCELED;
    if (unlinkat(dir, name, 0) == 0) {
        ++*removed;
        return 0;
    }
    if (errno != EISDIR && errno != EPERM)
        return errno;
    if (depth == 0)
        return ELOOP;
    SCOPED(fd_scope) int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int why = fd < 0 ? errno : remove_inside(fd, depth, removed, cancelled);
    if (!why && unlinkat(dir, name, AT_REMOVEDIR) < 0)
        why = errno;
    *removed += !why;
    return why;
}
