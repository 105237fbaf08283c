/* warden_process.h - the files of the warden's own processes among themselves.
 *
 * main ── keeper ── warden ── children
 *
 * Both are forked before main has threads and stay single-threaded. The keeper does
 * nothing but start a warden, end what a dead one left, and start the next. Neither
 * allocates: they work in static memory, so that they live on where malloc would not.
 * Why it is cut like this stands in docs/design (2026-11-21-warden.md).
 *
 * Threads  one each
 * Errors   -errno; nothing here uses the error slot
 */
#pragma once
#include "run/warden_cgroup.h"
#include "run/warden_wire.h"
#include <sys/resource.h>

#define WARDEN_MOST 1024 /* children that one warden can hold, whatever the option says */

/* What both were told at the start. */
struct warden_setup {
    char cwd[1024];         /* absolute; where children run by default */
    struct rlimit files;    /* RLIMIT_NOFILE as main was given it: what children inherit */
    struct cgroups cgroups;
};

/* Never return. `fd` is the process' end of its SEQPACKET pair. */
_Noreturn void keeper_run(int fd, struct warden_setup *setup);
_Noreturn void warden_run(int fd, const struct warden_setup *setup);

/* Names the process and leaves it with no descriptor but 0, 1 (both /dev/null), 2 and
 * *fd, no terminal, and nothing from a terminal or service manager that ends it. */
void process_settle(const char *name, int *fd);
/* A signalfd that reports SIGCHLD, which is blocked from now on; < 0: -errno. */
int process_watch_children(void);
void process_drain(int signal_fd);

/* --- warden_exec.c: from fork to exec --- */

struct exec_plan {
    const struct warden_setup *setup;
    const struct wire_spawn *request;
    const struct cgroup_child *cgroup;
    int in, out, err;  /* the child's ends */
    int status;        /* close-on-exec; what went wrong is written here */
    pid_t parent;
    uint64_t mark;
};
/* What a child writes to `status` before it gives up: at most PIPE_BUF, so whole. */
struct exec_failure {
    int32_t kind; /* enum err_kind */
    char text[ERR_TEXT];
};
_Noreturn void exec_child(const struct exec_plan *given);

/* --- warden_proc.c: who belongs to us --- */

/* Opens /proc for good, so that a lack of descriptors never blinds us. Once in each
 * process, after process_settle. */
bool proc_open(void);
typedef void proc_fn(pid_t pid, void *arg);
void proc_each(proc_fn *fn, void *arg);
/* The mark of a process is a soft RLIMIT_RTTIME of some 146,000 years plus a number:
 * inherited by all descendants, through setsid and double fork, and harmless. */
uint64_t proc_mark(uint64_t id); /* this process' mark for a child */
uint64_t proc_mark_of(pid_t pid); /* 0: unknown */
/* SIGKILL to every child of this process. */
void proc_kill_children(void);
/* The same until none is left; what loses its parent becomes ours (subreaper), so in
 * the end no descendant is left either. */
void proc_end_all(void);
