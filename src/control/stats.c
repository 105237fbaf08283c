/* stats.c - numbers of the process that nobody counts as they happen (computed when somebody
 * reads metrics), and those that each worker looks at once a second. */
#include "base/mem.h"
#include "control/metrics.h"
#include "control/private.h"
#include "net/conn.h"
#include "net/metrics.h"
#include "run/metrics.h"
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define STAT(variable) (&computed_metrics[STAT_##variable])
/* Without labels, so without an array of them in the frame for each sample. */
#define SAMPLE(variable, value) metric_sample(out, STAT(variable), NULL, (double)(value))

/* ---- the process ------------------------------------------------------------------- */

static double seconds(struct timeval t) {
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* Address space and resident pages: the first two numbers of /proc/self/statm. */
static void memory_numbers(struct metric_sink *out) {
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lu %lu", &size, &pages) != 2)
        size = pages = 0;
    if (f)
        fclose(f);
    double page = (double)sysconf(_SC_PAGESIZE);
    SAMPLE(resident, (double)pages * page);
    SAMPLE(virtual, (double)size * page);
}

/* Linux 6.2 and later say it as the folder's size; before that they are counted. */
static size_t count_descriptors(void) {
    struct stat s;
    size_t n = 0;
    if (stat("/proc/self/fd", &s) == 0 && s.st_size > 0)
        return (size_t)s.st_size;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* Field 22 of /proc/self/stat: ticks between boot and the start. The name in brackets may hold
 * spaces, so fields are counted behind its end. */
static double started_at(void) {
    char text[1024];
    unsigned long long ticks = 0;
    struct timespec up, wall;
    FILE *f = fopen("/proc/self/stat", "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at)
        ticks = strtoull(at + 1, NULL, 10);
    clock_gettime(CLOCK_BOOTTIME, &up);
    clock_gettime(CLOCK_REALTIME, &wall);
    return (double)(wall.tv_sec - up.tv_sec) + (double)(wall.tv_nsec - up.tv_nsec) / 1e9 +
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double start; /* read once: the same for every worker, whatever the clock does */

static void process_numbers(struct metric_sink *out) {
    struct rusage use;
    struct rlimit limit;
    getrusage(RUSAGE_SELF, &use);
    getrlimit(RLIMIT_NOFILE, &limit);
    SAMPLE(cpu, seconds(use.ru_utime) + seconds(use.ru_stime));
    memory_numbers(out);
    SAMPLE(open_fds, count_descriptors());
    SAMPLE(max_fds, limit.rlim_cur);
    SAMPLE(start_time, start);
}

static void build_numbers(struct metric_sink *out) {
    struct utsname machine;
    uname(&machine);
    METRIC_SAMPLE(out, STAT(build_info), 1, S(GATESPAN_VERSION), S(__VERSION__),
                  str_of(machine.machine));
}

/* ---- the gateway ------------------------------------------------------------------- */

static void warden_numbers(struct control *c, struct metric_sink *out) {
    struct warden_stats s = warden_stats(c->warden);
    SAMPLE(warden_children, s.children);
    SAMPLE(warden_spawned, s.spawned);
    SAMPLE(warden_restarts, s.restarts);
    SAMPLE(warden_cgroups, s.cgroups);
}

static void store_numbers(struct control *c, struct metric_sink *out) {
    struct store_stats s = store_stats(c->store);
    SAMPLE(store_reads, s.reads);
    SAMPLE(store_writes, s.writes);
    SAMPLE(store_commits, s.commits);
    SAMPLE(store_failures, s.failures);
    SAMPLE(store_queued, s.queued);
    SAMPLE(store_bytes, s.bytes);
    SAMPLE(history_rows, history_rows(c->history));
    SAMPLE(history_dropped, history_dropped(c->history));
}

static void upstream_numbers(const struct snapshot *s, struct metric_sink *out) {
    for (size_t i = 0; i < s->upstream_count; i++) {
        struct upstream *u = s->upstreams[i];
        int now = atomic_load(&u->state);
        for (int state = UP_STARTING; state <= UP_STOPPED; state++)
            METRIC_SAMPLE(out, STAT(upstream_states), state == now, u->conf->name,
                          str_of(upstream_state_word((enum upstream_state)state)));
    }
    for (size_t i = 0; i < s->upstream_count; i++)
        METRIC_SAMPLE(out, STAT(upstream_restarts), atomic_load(&s->upstreams[i]->restarts),
                      s->upstreams[i]->conf->name);
}

static void snapshot_numbers(const struct snapshot *s, struct worker *w, struct metric_sink *out) {
    static const char *const kinds[] = { [ITEM_TOOL] = "tool", [ITEM_PROMPT] = "prompt",
                                         [ITEM_RESOURCE] = "resource", [ITEM_TEMPLATE] = "template" };
    SAMPLE(snapshot_generation, s->generation);
    SAMPLE(snapshot_age, (double)(worker_now(w) - s->made) / (double)NANOS_SEC);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        METRIC_SAMPLE(out, STAT(catalogue_items), (double)s->catalogue->counts[i],
                      str_of(kinds[i]));
    SAMPLE(sessions_limit, s->conf->limits.sessions);
    SAMPLE(connections_limit, s->conf->limits.connections);
    upstream_numbers(s, out);
}

/* Runs on whichever worker serves /metrics or exports. */
static void collect(struct metric_sink *out, void *arg) {
    struct control *c = arg;
    struct worker *w = worker_here();
    void *snapshot = NULL;
    process_numbers(out);
    build_numbers(out);
    SAMPLE(workers_running, workers_count(c->all));
    SAMPLE(sessions, sessions_count(c->gateway->sessions));
    struct shared_stats shared = shared_stats(c->shared);
    SAMPLE(shared_entries, shared.entries);
    SAMPLE(shared_bytes, shared.bytes);
    SAMPLE(shared_limit, shared.bytes_limit);
    SAMPLE(uptime, (double)(clock_mono() - c->gateway->started) / (double)NANOS_SEC);
    SAMPLE(log_dropped, log_dropped());
    SAMPLE(log_left_out, log_left_out());
    struct pin *pin = w ? snapshot_pin(w, c->gateway->snapshots, &snapshot) : NULL;
    if (snapshot)
        snapshot_numbers(snapshot, w, out);
    if (pin)
        snapshot_unpin(w, pin);
    if (c->warden)
        warden_numbers(c, out);
    if (c->store)
        store_numbers(c, out);
}

/* ---- once a second ----------------------------------------------------------------- */

#define PULSE NANOS_SEC

struct pulse {
    struct timer timer;
};

static void on_pulse(struct worker *w, struct timer *t) {
    struct net_stats net = net_stats(w);
    nanos now = worker_tick(w);
    worker_measure(w, now - t->at);
    metric_set(METRIC_SERIES(&metric_buffer_bytes), (int64_t)net.buffered);
    metric_set(METRIC_SERIES(&metric_buffer_limit), (int64_t)net.buffer_limit);
    timer_set(w, t, now + PULSE);
}

void pulse_start(struct control *c, struct worker *w) {
    struct timer *t = &c->pulses[w->index].timer;
    t->fire = on_pulse;
    t->at = worker_now(w);
    on_pulse(w, t);
}

void pulse_stop(struct control *c, struct worker *w) {
    if (c->pulses)
        timer_unset(w, &c->pulses[w->index].timer);
}

void stats_open(struct control *c) {
    start = started_at();
    control_metrics_register();
    metric_set(METRIC_SERIES(&metric_last_reload), 1);
    metric_collector(computed_metrics, STAT_COUNT, collect, c);
    c->pulses = NEW_ARRAY(struct pulse, workers_count(c->all) + 1);
}
