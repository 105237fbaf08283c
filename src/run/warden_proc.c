/* warden_proc.c - see warden_process.h. Descendants are found by reading /proc, which
 * needs no privilege; their owner by a mark that they cannot lose by accident. */
#include "run/warden_process.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int proc_fd = -1;

bool proc_open(void) {
    proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return proc_fd >= 0;
}

void proc_each(proc_fn *fn, void *arg) {
    static _Alignas(struct dirent64) char entries[16 * 1024];
    ssize_t n;
    if (proc_fd < 0 || lseek(proc_fd, 0, SEEK_SET) < 0)
        return;
    while ((n = getdents64(proc_fd, entries, sizeof(entries))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *d = (const struct dirent64 *)(entries + at);
            at += d->d_reclen;
            if (isdigit((unsigned char)d->d_name[0]))
                fn((pid_t)strtol(d->d_name, NULL, 10), arg);
        }
    }
}

/* Bit 62, the marking process (pid_max is at most 2^22), the low half of the id. */
uint64_t proc_mark(uint64_t id) {
    return (1ull << 62) | ((uint64_t)getpid() & 0x3fffff) << 32 | (id & 0xffffffff);
}

uint64_t proc_mark_of(pid_t pid) {
    struct rlimit r;
    bool marked = prlimit(pid, RLIMIT_RTTIME, NULL, &r) == 0 && r.rlim_cur >> 54 == 1u << 8;
    return marked ? r.rlim_cur : 0;
}

/* Field 4 of /proc/PID/stat; the name in field 2 may hold anything, so from its end on. */
static pid_t parent_of(pid_t pid) {
    char path[32], text[512];
    snprintf(path, sizeof(path), "%d/stat", pid);
    int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *name_end = strrchr(text, ')'); /* ") S 42": state, then the parent */
    return name_end && strlen(name_end) > 4 ? (pid_t)strtol(name_end + 4, NULL, 10) : 0;
}

static void kill_child(pid_t pid, void *self) {
    if (parent_of(pid) == *(const pid_t *)self)
        kill(pid, SIGKILL);
}

void proc_kill_children(void) {
    pid_t self = getpid();
    proc_each(kill_child, &self);
}

/* A process that ignores SIGKILL for long hangs in the kernel: look less often then.
 * Without /proc nobody can be found; the parent-death signal has to do. */
void proc_end_all(void) {
    for (int pause = 1;; pause = pause < 500 ? pause * 2 : 500) {
        proc_kill_children();
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            pause = 1;
        if ((pid < 0 && errno == ECHILD) || proc_fd < 0)
            return;
        poll(NULL, 0, pause);
    }
}
