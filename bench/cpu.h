/* cpu.h - CPU time of a process and everything below it, in nanoseconds.
 *
 * The scheduler's own count (first field of /proc/PID/task/TID/schedstat): getrusage and
 * /proc/PID/stat count ticks of 10 ms, far too coarse for windows of 50 ms. A thread that
 * runs at the moment may be counted up to a tick behind, so let the process go to sleep first. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

/* Sum over all threads of the tree. Dies when the process does not exist. */
int64_t cpu_tree_ns(pid_t root);
