/* warden_cgroup.h - a control group for each child, where the system lets us.
 *
 * Only a group that was delegated to us is used: the one we run in, when it is owned by
 * our user and that is not root, or marked `user.delegate` / `trusted.delegate` as
 * systemd does for Delegate=yes, or the root of a cgroup namespace. Version 2 gives
 * ending, memory and processes; version 1 memory and processes. Where there is none,
 * everything works without: see spawn_limits in warden.h.
 *
 *   <ours>/gatespan.main                  main, keeper and warden, when controllers are on
 *   <ours>/gatespan-<keeper>/<id>-<name>  one child with all that it starts
 *
 * Threads  one
 * Errors   silent: what a group cannot do is done without it
 */
#pragma once
#include "run/warden.h"

#define CGROUP_PATH 512

enum cgroup_kind { CGROUP_V2, CGROUP_MEMORY, CGROUP_PIDS, CGROUP_KINDS };

/* The hierarchies that we may use. */
struct cgroups {
    char path[CGROUP_KINDS][CGROUP_PATH]; /* <ours>/gatespan-<keeper>; empty: not there */
    bool memory;                          /* that controller is on, so it is what limits */
};
/* A child's groups: the same name in each hierarchy. */
struct cgroup_child {
    const struct cgroups *home;
    char name[48];
    bool in[CGROUP_KINDS];
};

/* Finds what is delegated and makes our group there, for keeper `self` and its parent
 * `main`; ends what an earlier, killed run left. */
void cgroups_open(struct cgroups *c, pid_t main, pid_t self);
/* The same below a directory of one hierarchy, delegated or not; tests use it. */
void cgroups_open_at(struct cgroups *c, enum cgroup_kind kind, const char *base, pid_t main,
                     pid_t self);
bool cgroups_used(const struct cgroups *c);
void cgroups_close(const struct cgroups *c);

/* Makes the groups of a child and sets its limits. */
void cgroup_make(const struct cgroups *c, uint64_t id, const char *name,
                 const struct spawn_limits *limits, struct cgroup_child *out);
/* Moves the calling process in; after fork, before exec. */
void cgroup_enter(const struct cgroup_child *child);
/* SIGKILL to all in it. */
void cgroup_kill(const struct cgroup_child *child);
/* True when it is gone, or never was; false while a process is left in it. */
bool cgroup_remove(const struct cgroup_child *child);
