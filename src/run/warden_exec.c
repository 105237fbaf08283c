/* warden_exec.c - see warden_process.h. Runs in the forked child up to exec. Nothing of
 * the warden's stays: signals, descriptors, terminal, limits are a fresh process'. */
#include "run/warden_process.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FALLBACK_PATH "/usr/local/bin:/usr/bin:/bin"
#define STATUS_FD 3

/* The kernel's out-of-memory killer takes children before the gateway. */
#define CHILD_OOM_SCORE 500

_Noreturn static void give_up(int status, enum err_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

_Noreturn static void give_up(int status, enum err_kind kind, const char *format, ...) {
    struct exec_failure f = { .kind = kind };
    va_list args;
    va_start(args, format);
    vsnprintf(f.text, sizeof(f.text), format, args);
    va_end(args);
    ssize_t n = write(status, &f, offsetof(struct exec_failure, text) + strlen(f.text) + 1);
    _exit(n > 0 ? 127 : 126);
}

/* A process group of its own, without terminal; dies with the warden. */
static void own_session(const struct exec_plan *p) {
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != p->parent)
        _exit(126); /* the warden died before the line above */
}

/* glibc keeps the signals below SIGRTMIN for its threads and refuses to touch them; whoever
 * started us may have left them ignored. All zeros is SIG_DFL in the kernel's own struct. */
static void fresh_reserved_signals(void) {
    const char defaults[64] = { 0 };
    for (int s = 32; s < SIGRTMIN; s++)
        syscall(SYS_rt_sigaction, s, defaults, NULL, 8);
}

static void fresh_signals(void) {
    sigset_t none;
    for (int s = 1; s <= SIGRTMAX; s++)
        signal(s, SIG_DFL);
    fresh_reserved_signals();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* 0, 1, 2 are the pipes, 3 reports until exec. All others are close-on-exec anyway;
 * closing them here covers what a library may have opened without. */
static void only_pipes(struct exec_plan *p) {
    dup2(p->in, 0);
    dup2(p->out, 1);
    dup2(p->err, 2);
    if (p->status != STATUS_FD)
        dup3(p->status, STATUS_FD, O_CLOEXEC);
    p->status = STATUS_FD;
    close_range(STATUS_FD + 1, ~0u, 0);
}

static void set_limit(int resource, int64_t soft, int64_t hard) {
    struct rlimit r;
    getrlimit(resource, &r);
    if ((rlim_t)hard < r.rlim_max)
        r.rlim_max = (rlim_t)hard;
    r.rlim_cur = (rlim_t)soft < r.rlim_max ? (rlim_t)soft : r.rlim_max;
    setrlimit(resource, &r);
}

/* RLIMIT_DATA and not RLIMIT_AS: node reserves tens of gigabytes of address space and
 * touches none of it; what counts is writable memory. */
static void set_limits(const struct exec_plan *p) {
    const struct spawn_limits *l = &p->request->limits;
    setrlimit(RLIMIT_NOFILE, &p->setup->files);
    set_limit(RLIMIT_CORE, 0, 0);
    if (l->files > 0)
        set_limit(RLIMIT_NOFILE, l->files, l->files);
    if (l->cpu > 0)
        set_limit(RLIMIT_CPU, l->cpu, l->cpu + 1); /* SIGXCPU, a second later SIGKILL */
    if (l->memory > 0 && !p->setup->cgroups.memory)
        set_limit(RLIMIT_DATA, l->memory, l->memory);
    struct rlimit mark;
    getrlimit(RLIMIT_RTTIME, &mark);
    mark.rlim_cur = p->mark;
    setrlimit(RLIMIT_RTTIME, &mark); /* fails under a smaller hard limit: then unmarked */
}

static void raise_oom_score(void) {
    char text[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n > 0 && strtol(text, NULL, 10) < CHILD_OOM_SCORE) {
        n = snprintf(text, sizeof(text), "%d", CHILD_OOM_SCORE);
        if (pwrite(fd, text, (size_t)n, 0) < 0)
            errno = 0; /* then it is as likely to be ended as we are */
    }
    close(fd);
}

/* A relative directory is below the default one, an absolute one replaces it. */
static void enter_directory(const struct exec_plan *p) {
    const char *wanted = p->request->cwd, *dir = p->setup->cwd;
    bool failed = *wanted != '/' && chdir(dir) != 0;
    if (!failed && *wanted)
        failed = chdir(dir = wanted) != 0;
    if (!failed)
        return;
    enum err_kind kind = errno == EACCES ? ERR_DENIED : ERR_NOT_FOUND;
    give_up(p->status, kind, "working directory %s: %s", dir, strerror(errno));
}

static const char *search_path(char *const *env) {
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return FALLBACK_PATH;
}

/* Tries argv[0] in each directory; an empty one is the working directory (POSIX XBD 8.3).
 * Returns the errno that says most: EACCES counts more than a later ENOENT. */
static int search_and_exec(const char *path, char *const *argv, char *const *env) {
    static char file[4096]; /* PATH_MAX */
    int best = ENOENT;
    for (const char *at = path, *next; at; at = next) {
        size_t n = strcspn(at, ":");
        next = at[n] ? at + n + 1 : NULL;
        int length = snprintf(file, sizeof(file), "%.*s%s%s", (int)n, at, n ? "/" : "", argv[0]);
        if (length >= (int)sizeof(file))
            continue;
        execve(file, argv, env);
        if (errno == ENOENT && access(file, F_OK) == 0)
            return ELIBBAD;
        if (errno == EACCES)
            best = EACCES;
        else if (errno != ENOENT && errno != ENOTDIR)
            return errno;
    }
    return best;
}

static int exec_command(char *const *argv, char *const *env) {
    if (!strchr(argv[0], '/'))
        return search_and_exec(search_path(env), argv, env);
    execve(argv[0], argv, env);
    return errno == ENOENT && access(argv[0], F_OK) == 0 ? ELIBBAD : errno;
}

/* ELIBBAD stands for "the file is there, what its first line names is not". */
_Noreturn static void explain(int status, int number, const char *command, const char *path) {
    bool searched = !strchr(command, '/');
    char here[1024] = "";
    bool relative = !searched && *command != '/' && getcwd(here, sizeof(here));
    if (number == ENOENT || number == ENOTDIR)
        give_up(status, ERR_NOT_FOUND, "command \"%s\" not found%s%s", command,
                searched   ? ", PATH is "
                : relative ? " in cwd "
                           : "",
                searched ? path : here);
    if (number == ELIBBAD)
        give_up(status, ERR_NOT_FOUND, "the interpreter that command \"%s\" asks for is missing",
                command);
    if (number == EACCES || number == EPERM)
        give_up(status, ERR_DENIED, "command \"%s\" is not executable", command);
    if (number == ENOEXEC)
        give_up(status, ERR_INVALID, "command \"%s\" is no program: no #! line?", command);
    enum err_kind kind = number == ENOMEM || number == EAGAIN ? ERR_LIMITED : ERR_INVALID;
    give_up(status, kind, "command \"%s\": %s", command, strerror(number));
}

void exec_child(const struct exec_plan *given) {
    struct exec_plan p = *given;
    own_session(&p);
    fresh_signals();
    cgroup_enter(p.cgroup);
    raise_oom_score();
    only_pipes(&p);
    enter_directory(&p);
    set_limits(&p);
    int number = exec_command(p.request->argv, p.request->env);
    explain(p.status, number, p.request->argv[0], search_path(p.request->env));
}
