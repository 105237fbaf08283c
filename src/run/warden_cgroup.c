/* warden_cgroup.c - see warden_cgroup.h. Files of the two cgroup versions as the kernel's
 * admin-guide/cgroup-v2 and cgroup-v1/{memory,pids} name them. */
#include "run/warden_cgroup.h"
#include "run/warden_process.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* --- small files --- */

static bool join(char out[CGROUP_PATH], const char *dir, const char *name) {
    int n = snprintf(out, CGROUP_PATH, "%s/%s", dir, name);
    return n > 0 && n < CGROUP_PATH;
}

static bool write_file(const char *dir, const char *name, const char *text) {
    char path[CGROUP_PATH];
    if (!join(path, dir, name))
        return false;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

static bool write_number(const char *dir, const char *name, int64_t number) {
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, number);
    return write_file(dir, name, text);
}

/* The file's beginning as text; empty when it cannot be read. */
static const char *read_file(const char *dir, const char *name, char *out, size_t size) {
    char path[CGROUP_PATH];
    int fd = join(path, dir, name) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? 0 : read(fd, out, size - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = 0;
    return out;
}

static bool has_word(const char *text, const char *word) {
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += n)
        if ((at == text || isspace((unsigned char)at[-1])) &&
            (!at[n] || isspace((unsigned char)at[n])))
            return true;
    return false;
}

static bool writable(const char *dir, const char *name) {
    char path[CGROUP_PATH];
    return join(path, dir, name) && access(path, W_OK) == 0;
}

/* --- what is ours --- */

static bool marked(const char *dir, const char *attribute) {
    char value[2];
    return getxattr(dir, attribute, value, sizeof(value)) == 1 && value[0] == '1';
}

/* Everything is writable for root, so root needs a sign that somebody meant it. */
static bool delegated(const char *dir, bool namespace_root) {
    char type[CGROUP_PATH];
    if (access(dir, W_OK) != 0 || !writable(dir, "cgroup.procs"))
        return false;
    if (geteuid() != 0 || marked(dir, "user.delegate") || marked(dir, "trusted.delegate"))
        return true;
    /* the root of the machine has no cgroup.type, that of a namespace has one */
    return namespace_root && join(type, dir, "cgroup.type") && access(type, F_OK) == 0;
}

static void signal_all(const char *dir, int signal) {
    char path[CGROUP_PATH], line[24];
    FILE *f = join(path, dir, "cgroup.procs") ? fopen(path, "re") : NULL;
    while (f && fgets(line, sizeof(line), f)) {
        pid_t pid = (pid_t)strtol(line, NULL, 10);
        if (pid > 1)
            kill(pid, signal);
    }
    if (f)
        fclose(f);
}

/* cgroup.kill is there from Linux 5.14 on and cannot be outrun by a fork bomb. */
static void kill_group(const char *dir) {
    if (!write_file(dir, "cgroup.kill", "1"))
        signal_all(dir, SIGKILL);
}

static bool each_entry(const char *dir, const char *prefix,
                       void (*fn)(const char *path, const char *name)) {
    DIR *d = opendir(dir);
    char path[CGROUP_PATH];
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.' &&
            strncmp(e->d_name, prefix, strlen(prefix)) == 0 && join(path, dir, e->d_name))
            fn(path, e->d_name);
    if (d)
        closedir(d);
    return d != NULL;
}

static void end_stale_child(const char *path, const char *name) {
    kill_group(path);
    rmdir(path); /* fails while they die; the start after this one removes it */
}

static void end_stale(const char *path, const char *name) {
    char process[32], comm[32];
    snprintf(process, sizeof(process), "/proc/%ld", strtol(name + strlen("gatespan-"), NULL, 10));
    if (has_word(read_file(process, "comm", comm, sizeof(comm)), "gatespan-keeper"))
        return; /* another gatespan, alive */
    each_entry(path, "", end_stale_child);
    rmdir(path);
}

/* --- controllers of version 2 --- */

static bool holds_only(const char *dir, pid_t a, pid_t b) {
    char text[64];
    char *at = text;
    read_file(dir, "cgroup.procs", text, sizeof(text));
    for (char *end;; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            return true;
        if (pid != a && pid != b)
            return false;
    }
}

/* A group that has controllers on for those below it may hold no process itself ("no
 * internal processes"): ours step aside, and where others are the controllers stay off. */
static bool step_aside(const char *base, pid_t main, pid_t self) {
    char aside[CGROUP_PATH];
    if (!holds_only(base, main, self) || !join(aside, base, "gatespan.main"))
        return false;
    mkdir(aside, 0755);
    return write_number(aside, "cgroup.procs", main) && write_number(aside, "cgroup.procs", self);
}

static bool is_on(const char *dir, const char *controller) {
    char text[256];
    return has_word(read_file(dir, "cgroup.subtree_control", text, sizeof(text)), controller);
}

static bool is_available(const char *dir, const char *controller) {
    char text[256];
    return has_word(read_file(dir, "cgroup.controllers", text, sizeof(text)), controller);
}

static void enable_controllers(struct cgroups *c, const char *base, pid_t main, pid_t self) {
    static const char *const wanted[] = { "memory", "pids" };
    bool aside = false;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        char word[16];
        snprintf(word, sizeof(word), "+%s", wanted[i]);
        if (!is_available(base, wanted[i]))
            continue;
        if (!is_on(base, wanted[i]) && (aside = aside || step_aside(base, main, self)))
            write_file(base, "cgroup.subtree_control", word);
        write_file(c->path[CGROUP_V2], "cgroup.subtree_control", word);
    }
    c->memory |= is_on(c->path[CGROUP_V2], "memory");
}

/* --- the public part --- */

void cgroups_open_at(struct cgroups *c, enum cgroup_kind kind, const char *base, pid_t main,
                     pid_t self) {
    char name[32];
    each_entry(base, "gatespan-", end_stale);
    snprintf(name, sizeof(name), "gatespan-%d", self);
    if (!join(c->path[kind], base, name) || (mkdir(c->path[kind], 0755) != 0 && errno != EEXIST)) {
        c->path[kind][0] = 0;
        return;
    }
    if (kind == CGROUP_V2)
        enable_controllers(c, base, main, self);
    c->memory |= kind == CGROUP_MEMORY;
}

/* Where each hierarchy is mounted by systemd, by distributions and in containers. */
static const char *mount_of(const char *controllers, enum cgroup_kind *kind) {
    if (!*controllers) {
        *kind = CGROUP_V2;
        bool hybrid = access("/sys/fs/cgroup/unified", F_OK) == 0;
        return hybrid ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
    }
    if (strcmp(controllers, "memory") == 0) {
        *kind = CGROUP_MEMORY;
        return "/sys/fs/cgroup/memory";
    }
    *kind = CGROUP_PIDS;
    return strcmp(controllers, "pids") == 0 ? "/sys/fs/cgroup/pids" : NULL;
}

/* "4:memory:/a/b" -> the directory of that hierarchy in which we are. */
static void open_line(struct cgroups *c, char *line, pid_t main, pid_t self) {
    char dir[CGROUP_PATH];
    enum cgroup_kind kind;
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path || strstr(path, "/.."))
        return; /* outside of what our namespace shows */
    *path++ = 0;
    const char *mount = mount_of(controllers + 1, &kind);
    if (mount && join(dir, mount, path[1] ? path + 1 : ".") && delegated(dir, !path[1]))
        cgroups_open_at(c, kind, dir, main, self);
}

void cgroups_open(struct cgroups *c, pid_t main, pid_t self) {
    char line[CGROUP_PATH];
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof(line), f))
        open_line(c, line, main, self);
    if (f)
        fclose(f);
}

bool cgroups_used(const struct cgroups *c) {
    return c->path[CGROUP_V2][0] || c->path[CGROUP_MEMORY][0] || c->path[CGROUP_PIDS][0];
}

void cgroups_close(const struct cgroups *c) {
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        if (!c->path[kind][0])
            continue;
        each_entry(c->path[kind], "", end_stale_child);
        rmdir(c->path[kind]);
    }
}

static void child_name(char *out, size_t size, uint64_t id, const char *name) {
    snprintf(out, size, "%" PRIu64 "-%s", id, name);
    for (char *c = out; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
            *c = '_';
}

static bool child_path(const struct cgroup_child *child, int kind, char out[CGROUP_PATH]) {
    return child->in[kind] && join(out, child->home->path[kind], child->name);
}

/* The pids controller counts threads, users count processes: it gets room for threads and
 * stops an explosion; the exact count is the warden's (warden_child.c). */
static void set_limits(const char *dir, enum cgroup_kind kind, const struct spawn_limits *l) {
    if (l->memory > 0 && kind == CGROUP_V2) {
        write_number(dir, "memory.max", l->memory);
        write_number(dir, "memory.swap.max", 0);
        write_file(dir, "memory.oom.group", "1");
    }
    if (l->memory > 0 && kind == CGROUP_MEMORY) {
        write_number(dir, "memory.limit_in_bytes", l->memory);
        write_number(dir, "memory.memsw.limit_in_bytes", l->memory);
    }
    if (l->processes > 0 && kind != CGROUP_MEMORY)
        write_number(dir, "pids.max", 64 + 16 * l->processes);
}

void cgroup_make(const struct cgroups *c, uint64_t id, const char *name,
                 const struct spawn_limits *limits, struct cgroup_child *out) {
    char path[CGROUP_PATH];
    *out = (struct cgroup_child){ .home = c };
    child_name(out->name, sizeof(out->name), id, name);
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        out->in[kind] = c->path[kind][0] != 0;
        if (!child_path(out, kind, path))
            continue;
        out->in[kind] = mkdir(path, 0755) == 0;
        set_limits(path, (enum cgroup_kind)kind, limits);
    }
}

void cgroup_enter(const struct cgroup_child *child) {
    char path[CGROUP_PATH];
    for (int kind = 0; kind < CGROUP_KINDS; kind++)
        if (child_path(child, kind, path))
            write_file(path, "cgroup.procs", "0");
}

void cgroup_kill(const struct cgroup_child *child) {
    char path[CGROUP_PATH];
    for (int kind = 0; kind < CGROUP_KINDS; kind++)
        if (child_path(child, kind, path))
            kill_group(path);
}

bool cgroup_remove(const struct cgroup_child *child) {
    char path[CGROUP_PATH];
    bool gone = true;
    for (int kind = 0; kind < CGROUP_KINDS; kind++)
        if (child_path(child, kind, path) && rmdir(path) != 0 && errno == EBUSY)
            gone = false;
    return gone;
}
