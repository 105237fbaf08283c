/* cpu.c - see cpu.h. The tree is walked anew each time through /proc/PID/task/TID/children:
 * a gateway may have started a child since. */
#include "cpu.h"

#include "kit.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEEPEST = 8 };

static int64_t tree(pid_t pid, int depth);

static int64_t children(pid_t pid, long thread, int depth) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%ld/children", (int)pid, thread);
    FILE *file = fopen(path, "re");
    int64_t sum = 0;
    int child;
    while (file && fscanf(file, "%d", &child) == 1)
        sum += tree(child, depth + 1);
    if (file)
        fclose(file);
    return sum;
}

static int64_t thread_ns(pid_t pid, long thread) {
    char path[64];
    long long ns = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%ld/schedstat", (int)pid, thread);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%lld", &ns) != 1)
        die("%s: no count; is CONFIG_SCHED_INFO off?", path);
    if (file)
        fclose(file);
    return ns; /* 0: the thread ended meanwhile */
}

static int64_t tree(pid_t pid, int depth) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = depth < DEEPEST ? opendir(path) : NULL;
    int64_t sum = 0;
    if (!tasks && depth == 0)
        die("process %d is gone", (int)pid);
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        long thread = strtol(entry->d_name, NULL, 10);
        if (thread)
            sum += thread_ns(pid, thread) + children(pid, thread, depth);
    }
    if (tasks)
        closedir(tasks);
    return sum;
}

int64_t cpu_tree_ns(pid_t root) {
    return tree(root, 0);
}
