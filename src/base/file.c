/* file.c - see file.h. */
#include "base/file.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_STEP = 16 * 1024 };

static err_t read_all(int fd, size_t limit, struct buf *out, const char *name) {
    for (;;) {
        buf_reserve(out, READ_STEP);
        ssize_t n = read(fd, out->p + out->n, READ_STEP);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(errno, "reading %s", name);
        if (n == 0)
            return OK;
        out->n += (size_t)n;
        if (out->n > limit)
            return ERR(TOO_LARGE, "%s is larger than %zu bytes", name, limit);
    }
}

err_t file_read(struct str path, size_t limit, struct buf *out, bool *missing) {
    SCOPED(buf_done) struct buf name = { 0 };
    buf_str(&name, path);
    int fd = open(buf_text(&name), O_RDONLY | O_CLOEXEC);
    *missing = fd < 0 && errno == ENOENT;
    if (fd < 0)
        return *missing ? OK : err_errno(errno, "reading %s", buf_text(&name));
    err_t e = read_all(fd, limit, out, buf_text(&name));
    close(fd);
    return e;
}

static err_t write_all(int fd, struct str s, const char *name) {
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno != EINTR)
            return err_errno(errno, "writing %s", name);
        s = str_skip(s, n > 0 ? (size_t)n : 0);
    }
    return fsync(fd) < 0 ? err_errno(errno, "syncing %s", name) : OK;
}

static void sync_folder(char *name) {
    char *slash = strrchr(name, '/');
    if (!slash)
        return;
    slash[slash == name] = '\0';
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

static err_t write_new(const char *next, struct str text) {
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "writing %s", next);
    err_t e = write_all(fd, text, next);
    close(fd);
    return e;
}

err_t file_write(struct str path, struct str text) {
    SCOPED(buf_done) struct buf name = { 0 };
    SCOPED(buf_done) struct buf next = { 0 };
    buf_str(&name, path);
    buf_fmt(&next, "%.*s.new", STR(path));
    err_t e = write_new(buf_text(&next), text);
    if (!e && rename(buf_text(&next), buf_text(&name)) < 0)
        e = err_errno(errno, "renaming %s to %s", buf_text(&next), buf_text(&name));
    if (e) {
        unlink(buf_text(&next));
        return e;
    }
    sync_folder((char *)buf_text(&name));
    return OK;
}

err_t folder_make(struct str path) {
    SCOPED(buf_done) struct buf name = { 0 };
    buf_str(&name, path);
    char *at = (char *)buf_text(&name);
    for (at++; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        if (mkdir(name.p, 0700) < 0 && errno != EEXIST)
            return err_errno(errno, "making the folder %s", name.p);
    }
    return mkdir(name.p, 0700) < 0 && errno != EEXIST
               ? err_errno(errno, "making the folder %s", name.p)
               : OK;
}
