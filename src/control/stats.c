/* stats.c - numbers of the process that nobody counts as they happen: read when /metrics is. */
#include "base/metric.h"
#include "control/private.h"
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static double seconds(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* Resident bytes, from the second number of /proc/self/statm. */
static double resident(void) {
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void process_numbers(struct buf *out) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    metric_sample(out, "process_cpu_seconds_total",
                  "Processor time of the main process, user and system.", METRIC_COUNTER,
                  seconds(use.ru_utime) + seconds(use.ru_stime));
    metric_sample(out, "process_resident_memory_bytes", "Resident memory of the main process.",
                  METRIC_GAUGE, resident());
}

static void warden_numbers(struct control *c, struct buf *out) {
    struct warden_stats s = warden_stats(c->warden);
    metric_sample(out, "gatespan_warden_children", "Child processes that run.", METRIC_GAUGE,
                  s.children);
    metric_sample(out, "gatespan_warden_spawned_total", "Child processes started.", METRIC_COUNTER,
                  s.spawned);
    metric_sample(out, "gatespan_warden_restarts_total", "Restarts of the warden itself.",
                  METRIC_COUNTER, s.restarts);
    metric_sample(out, "gatespan_warden_cgroups", "1 when limits are kept by cgroups.",
                  METRIC_GAUGE, s.cgroups);
}

/* Runs on whichever worker serves /metrics. */
static void collect(struct buf *out, void *arg) {
    struct control *c = arg;
    process_numbers(out);
    metric_sample(out, "gatespan_sessions", "Sessions of legacy clients.", METRIC_GAUGE,
                  (double)sessions_count(c->gateway->sessions));
    metric_sample(out, "gatespan_uptime_seconds", "Time since the start.", METRIC_GAUGE,
                  (double)(clock_mono() - c->gateway->started) / (double)NANOS_SEC);
    if (c->warden)
        warden_numbers(c, out);
}

void stats_open(struct control *c) {
    metric_collector(collect, c);
}
