/* doctor_machine.c - what this machine gives a gateway (doctor.h). */
#include "base/mem.h"
#include "cli/doctor.h"
#include "cli/libcurl.h"
#include "control/libarchive.h"
#include "net/listener.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((uint64_t)1024 * 1024)

static const char *path_in(struct doctor *d, const char *name) {
    return arena_text(d->arena, arena_fmt(d->arena, "%.*s/%s", STR(d->data), name));
}

/* ---- data directory ------------------------------------------------------------------- */

static void check_lock(struct doctor *d) {
    int fd = open(path_in(d, "lock"), O_RDWR | O_CLOEXEC);
    d->running = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
    if (fd >= 0)
        close(fd);
    if (d->running)
        doctor_say(d, "data", FINDING_OK, NULL, "a gateway is running on %.*s", STR(d->data));
}

static void check_mode(struct doctor *d, const char *name, mode_t mode) {
    struct stat st;
    const char *path = *name ? path_in(d, name) : arena_text(d->arena, d->data);
    if (stat(path, &st) < 0)
        return;
    bool open = st.st_mode & 077, foreign = st.st_uid != geteuid() && geteuid() != 0;
    struct str remedy = foreign ? arena_fmt(d->arena, "run as its owner, or chown %s", path)
                                : arena_fmt(d->arena, "chmod %o %s", mode, path);
    if (open || foreign)
        doctor_say(d, "data", foreign ? FINDING_BROKEN : FINDING_WARNING,
                   arena_text(d->arena, remedy), "%s %s", path,
                   foreign ? "belongs to somebody else" : "can be read by others");
    else
        doctor_say(d, "data", FINDING_OK, NULL, "%s is ours alone", path);
}

static void check_space(struct doctor *d, const char *path) {
    struct statvfs v;
    if (statvfs(path, &v) < 0)
        return;
    uint64_t free = (uint64_t)v.f_bavail * v.f_frsize / MIB;
    enum finding_state state = free < 64     ? FINDING_BROKEN
                               : free < 1024 ? FINDING_WARNING
                                             : FINDING_OK;
    doctor_say(d, "data", state, state ? "make room on that file system" : NULL,
               "%llu MiB free on the file system of %s", (unsigned long long)free, path);
}

void doctor_data(struct doctor *d) {
    char *path = arena_text(d->arena, d->data);
    if (access(path, F_OK) == 0) {
        check_lock(d);
        check_mode(d, "", 0700);
        check_mode(d, "master.key", 0600);
        if (access(path, W_OK) < 0)
            doctor_say(d, "data", FINDING_BROKEN, "run as its owner, or choose another with --data",
                       "%s cannot be written", path);
        check_space(d, path);
        return;
    }
    for (char *slash = strrchr(path, '/'); slash && slash != path && access(path, F_OK);
         slash = strrchr(path, '/'))
        *slash = '\0';
    bool can = access(path, W_OK) == 0;
    doctor_say(d, "data", can ? FINDING_OK : FINDING_BROKEN,
               can ? NULL : "choose another with --data", "%.*s %s", STR(d->data),
               can ? "will be made by the first start" : "cannot be made");
    check_space(d, path);
}

/* ---- ports ---------------------------------------------------------------------------- */

void doctor_ports(struct doctor *d) {
    for (size_t i = 0; i < d->conf->listen.n; i++) {
        struct str text = d->conf->listen.items[i];
        struct listen_addr addr;
        err_t e = listen_parse(text, &addr);
        if (!e)
            e = listen_probe(&addr);
        if (e && d->running && e->kind == ERR_CONFLICT)
            doctor_say(d, "port", FINDING_OK, NULL,
                       "%.*s is taken, as it should be: a gateway is running", STR(text));
        else if (e)
            doctor_say(d, "port", FINDING_BROKEN,
                       "end what listens there (ss -ltnp shows it), or choose another with listen",
                       "%s", e->text);
        else
            doctor_say(d, "port", FINDING_OK, NULL, "%.*s is free", STR(text));
    }
}

/* ---- limits --------------------------------------------------------------------------- */

static uint64_t number_in(const char *path) {
    char text[64] = "";
    FILE *f = fopen(path, "r");
    bool ok = f && fgets(text, sizeof text, f);
    if (f)
        fclose(f);
    return ok ? strtoull(text, NULL, 10) : 0;
}

static void check_files(struct doctor *d) {
    struct rlimit r;
    uint64_t wanted = (uint64_t)d->conf->limits.connections + 1024;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return;
    struct str remedy = arena_fmt(
        d->arena, "raise it (ulimit -n %llu, LimitNOFILE= of systemd), or lower limits.connections",
        (unsigned long long)wanted);
    bool enough = r.rlim_max == RLIM_INFINITY || r.rlim_max >= wanted;
    doctor_say(d, "limits", enough ? FINDING_OK : FINDING_WARNING,
               enough ? NULL : arena_text(d->arena, remedy),
               "%llu files may be open, %lld connections are configured",
               (unsigned long long)r.rlim_max, (long long)d->conf->limits.connections);
}

/* Each request in flight is a fiber, whose stack with its guard takes two maps. */
static void check_maps(struct doctor *d) {
    uint64_t maps = number_in("/proc/sys/vm/max_map_count"),
             wanted = 2 * (uint64_t)d->conf->limits.in_flight + 10000;
    bool enough = !maps || maps >= wanted;
    struct str remedy = arena_fmt(d->arena,
                                  "sysctl vm.max_map_count=%llu, or lower limits.in_flight",
                                  (unsigned long long)wanted);
    doctor_say(d, "limits", enough ? FINDING_OK : FINDING_WARNING,
               enough ? NULL : arena_text(d->arena, remedy),
               "%llu memory maps, %lld requests in flight are configured", (unsigned long long)maps,
               (long long)d->conf->limits.in_flight);
}

static void check_queue(struct doctor *d) {
    uint64_t most = number_in("/proc/sys/net/core/somaxconn");
    bool enough = most >= 1024;
    doctor_say(d, "limits", enough ? FINDING_OK : FINDING_WARNING,
               enough ? NULL : "sysctl net.core.somaxconn=4096",
               "%llu connections may wait to be accepted", (unsigned long long)most);
}

void doctor_limits(struct doctor *d) {
    check_files(d);
    check_maps(d);
    check_queue(d);
}

/* ---- sandbox -------------------------------------------------------------------------- */

/* In a child, as it cannot be undone. */
static bool can_unshare(int flags) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(flags) == 0 ? 0 : 1);
    int status = 1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int landlock_version(void) {
    long n = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
    return n < 0 ? 0 : (int)n;
}

static bool has_openat2(void) {
    struct {
        uint64_t flags, mode, resolve;
    } how = { .flags = O_PATH | O_CLOEXEC };
    long fd = syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof how);
    if (fd >= 0)
        close((int)fd);
    return fd >= 0;
}

/* Ours to divide: then memory and process limits of children are kept by the kernel. */
static bool has_delegated_cgroup(void) {
    char line[512], path[600] = "";
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/cgroup.subtree_control", line + 3);
        }
    if (f)
        fclose(f);
    return *path && access(path, W_OK) == 0;
}

void doctor_sandbox(struct doctor *d) {
    bool openat2 = has_openat2(), user = can_unshare(CLONE_NEWUSER),
         cgroup = has_delegated_cgroup();
    int landlock = landlock_version();
    doctor_say(
        d, "sandbox", openat2 ? FINDING_OK : FINDING_BROKEN,
        openat2 ? NULL : "use Linux 5.6 or newer, and a container profile that allows openat2",
        "openat2 is %s: it confines the built-in filesystem server", openat2 ? "there" : "missing");
    doctor_say(d, "sandbox", user ? FINDING_OK : FINDING_WARNING,
               user ? NULL
                    : "sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000; "
                      "in a container allow unshare",
               "user namespaces %s", user ? "can be made" : "cannot be made");
    doctor_say(d, "sandbox", landlock ? FINDING_OK : FINDING_WARNING,
               landlock ? NULL
                        : "use Linux 5.13 or newer with landlock in the lsm= list of the kernel",
               landlock ? "Landlock, version %d" : "no Landlock (%d)", landlock);
    doctor_say(d, "sandbox", cgroup ? FINDING_OK : FINDING_WARNING,
               cgroup ? NULL
                      : "under systemd: Delegate=yes; without it memory and process limits of "
                        "children are not kept",
               "a cgroup is %s", cgroup ? "delegated to us" : "not delegated to us");
}

/* ---- clock ---------------------------------------------------------------------------- */

void doctor_clock(struct doctor *d) {
    struct timex t = { 0 };
    const time_t built = 1785196800; /* 2026-07-28, the newest revision spoken */
    bool past = time(NULL) < built;
    int state = adjtimex(&t);
    bool unsynchronised = state == TIME_ERROR || (t.status & STA_UNSYNC);
    if (past)
        doctor_say(d, "clock", FINDING_BROKEN,
                   "set the clock; certificates and expiring keys depend on it",
                   "the clock is before 2026-07-28");
    else if (unsynchronised)
        doctor_say(d, "clock", FINDING_WARNING,
                   "run chrony or systemd-timesyncd, here or on the host",
                   "nothing keeps the clock right");
    else
        doctor_say(d, "clock", FINDING_OK, NULL, "the clock is kept right, error at most %ld ms",
                   t.maxerror / 1000);
}

/* ---- libraries ------------------------------------------------------------------------ */

static const char *curl_version_text(void) {
    return sym_curl_version_info(CURLVERSION_NOW)->version;
}

static const char *archive_version_text(void) {
    return sym_archive_version_string();
}

static const struct optional_library {
    struct lazy_library *library;
    const char *user; /* what needs it */
    const char *(*version)(void);
} optional_libraries[] = {
    { &libcurl_library, "asking a running gateway", curl_version_text },
    { &libarchive_library, "making or restoring a backup", archive_version_text },
};

void doctor_libraries(struct doctor *d) {
    for (size_t i = 0; i < ARRAY_SIZE(optional_libraries); i++) {
        const struct optional_library *l = &optional_libraries[i];
        struct str remedy = arena_fmt(d->arena, "apt install %s, or what has %s elsewhere",
                                      l->library->package, l->library->soname);
        err_t e = lazy_load(l->library, l->user);
        if (e)
            doctor_say(d, "libraries", FINDING_WARNING, arena_text(d->arena, remedy), "%s",
                       e->text);
        else
            doctor_say(d, "libraries", FINDING_OK, NULL, "%s %s is there, for %s",
                       l->library->soname, l->version(), l->user);
    }
}
