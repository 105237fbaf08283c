/* warden.h - the process that owns all child processes.
 *
 * Forked by main() before any thread or socket exists. Asked over a SEQPACKET socket, it
 * spawns children (pipes handed over by SCM_RIGHTS, nothing else inherited), each in its
 * own session and process group, under limits, with a pidfd, and in a cgroup of its own
 * where one is delegated. When the main process ends in any way, kill -9 included, the
 * warden sees end of file, ends everything it spawned, grandchildren too (it is a child
 * subreaper and kills until no descendant is left), and exits. When the warden dies, the
 * kernel's parent-death signal ends its children; the next request starts a new one and
 * everything that ran is reported as gone (DESIGN §4, decision 11).
 *
 * Threads  requests from any worker; answers come to the worker that asked
 * Limits   256 children unless told otherwise; 64 KiB for one request
 *
 * Between main and warden stands the keeper, a process that starts the next warden when
 * one died and ends what it left (docs/design, 2026-11-21-warden.md).
 */
#pragma once
#include "run/task.h"
#include <signal.h>
#include <sys/types.h>

struct warden;

struct spawn_limits {
    int64_t memory;    /* bytes: of the child's cgroup, swap included; without one, of the
                        * writable memory of each process (RLIMIT_DATA); 0: none */
    int64_t processes; /* the child and all that it started, counted ten times a second;
                        * one more and all are killed; 0: none */
    int64_t files;     /* descriptors of each process; 0: as main was given them */
    int64_t cpu;       /* seconds of processor time of each process; 0: none */
};

struct spawn_request {
    struct str name;             /* for messages and the cgroup's name */
    const struct str *argv;      /* argv[0] is looked up in PATH of `env` */
    size_t argc;
    const struct str *env;       /* "NAME=value", the whole environment */
    size_t env_count;
    struct str cwd;              /* empty: the data directory given to warden_start */
    struct spawn_limits limits;
};

/* A child as its owner sees it. */
struct child {
    uint64_t id;    /* generation id, never reused */
    pid_t pid;
    int in, out, err; /* our ends, non-blocking, close-on-exec; the owner closes them */
};

struct child_end {
    uint64_t id;
    bool signalled; /* else exited */
    int code;       /* exit status or signal number */
    bool warden_lost; /* the warden died; the child was killed with it */
};
/* Called once for each child that was spawned, on the worker that asked for it. */
typedef void child_end_fn(struct worker *w, const struct child_end *end, void *arg);

/* Forks. Call from main() first of all, single-threaded. `cwd` is where children run by
 * default. The warden's own stderr stays. */
err_t warden_start(const char *cwd, struct warden **out);
/* Attaches to the workers once they exist: reads answers on the control worker. */
err_t warden_attach(struct warden *w, struct workers *all);
/* 256 until this is called; at most 1024. */
void warden_limit(struct warden *w, unsigned children);
/* Ends all children (SIGTERM to each group, then SIGKILL after `grace`) and the warden.
 * Blocks until none is left, 5 s beyond the grace at most. Call on the control worker when
 * no other uses the warden any more, at the latest in its on_stop. A worker that has
 * stopped hears no end. */
void warden_stop(struct warden *w, nanos grace);
void warden_free(struct warden *w);

/* Returns when exec has worked. NOT_FOUND when the command does not exist (names it and
 * PATH), DENIED when it is not executable, LIMITED beyond the number of children, TOO_LARGE
 * and INVALID for a request that cannot be carried, UNAVAILABLE when the warden died
 * meanwhile (retryable) or cannot be replaced. When the task is cancelled or its deadline
 * passes, a child that comes all the same is ended and on_end is not called. on_end is
 * never called before the caller had the chance to use *out, and always on the loop. */
err_t warden_spawn(struct task *t, struct warden *w, const struct spawn_request *request,
                   child_end_fn *on_end, void *arg, struct child *out);
/* To the child's whole process group; unknown or ended ids are ignored. */
void warden_signal(struct warden *w, uint64_t id, int signal);
/* SIGTERM now, SIGKILL to what is left of the group after `grace`. What a child started
 * ends with it in any case: SIGTERM when it exits, SIGKILL two seconds later. */
void warden_end(struct warden *w, uint64_t id, nanos grace);

struct warden_stats {
    pid_t pid;
    unsigned children, spawned, restarts; /* restarts: of the warden itself */
    bool cgroups; /* a delegated cgroup is in use */
};
struct warden_stats warden_stats(struct warden *w);
