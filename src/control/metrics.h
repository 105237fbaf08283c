/* metrics.h - what is known of the process and of requests as HTTP: rows as in
 * gateway/metrics.h. The computed ones are filled by stats.c when somebody reads. */
#pragma once
#include "base/metric.h"

/* X(variable, kind, name, help, labels…) */
#define CONTROL_METRICS(X)                                                                               \
    X(http_duration, HISTOGRAM, "http_server_request_duration_seconds",                                    \
      "Time from a request's head to the end of its answer, by method, route and status; status 0: the "   \
      "client left first.", "http_request_method", "http_route", "http_response_status_code")              \
    X(reloads, COUNTER, "gatespan_reloads_total", "Reloads of the configuration, by outcome: applied, "    \
      "refused.", "outcome")                                                                               \
    X(last_reload, GAUGE, "gatespan_last_reload_successful", "1 unless the last reload was refused.", NULL)

#define COMPUTED_METRICS(X)                                                                              \
    X(cpu, COUNTER, "process_cpu_seconds_total", "Processor time of the main process, user and system.", NULL) \
    X(resident, GAUGE, "process_resident_memory_bytes", "Resident memory of the main process.", NULL)      \
    X(virtual, GAUGE, "process_virtual_memory_bytes", "Address space of the main process.", NULL)          \
    X(open_fds, GAUGE, "process_open_fds", "Open file descriptors.", NULL)                                 \
    X(max_fds, GAUGE, "process_max_fds", "Most file descriptors.", NULL)                                   \
    X(start_time, GAUGE, "process_start_time_seconds", "Start of the process, seconds since 1970.", NULL)  \
    X(build_info, GAUGE, "gatespan_build_info", "1; what runs is in the labels.", "version", "compiler", "machine") \
    X(workers_running, GAUGE, "gatespan_workers", "Worker threads that serve clients.", NULL)              \
    X(uptime, GAUGE, "gatespan_uptime_seconds", "Time since the start.", NULL)                             \
    X(sessions, GAUGE, "gatespan_sessions", "Sessions of legacy clients.", NULL)                           \
    X(sessions_limit, GAUGE, "gatespan_sessions_limit", "Most sessions.", NULL)                            \
    X(shared_entries, GAUGE, "gatespan_shared_entries", "Entries of shared state: records of sessions.", NULL) \
    X(shared_bytes, GAUGE, "gatespan_shared_bytes", "Memory of shared state.", NULL)                       \
    X(shared_limit, GAUGE, "gatespan_shared_limit_bytes", "Most memory of shared state.", NULL)            \
    X(connections_limit, GAUGE, "gatespan_client_connections_limit", "Most connections of clients.", NULL) \
    X(snapshot_generation, GAUGE, "gatespan_snapshot_generation",                                          \
      "Number of the snapshot (configuration and catalogue) that is served.", NULL)                        \
    X(snapshot_age, GAUGE, "gatespan_snapshot_age_seconds", "Time since it was made.", NULL)               \
    X(catalogue_items, GAUGE, "gatespan_catalogue_items", "Tools, prompts, resources and templates that are " \
      "offered.", "kind")                                                                                  \
    X(upstream_states, GAUGE, "gatespan_upstream_state", "1 for the state in which the upstream is: starting, " \
      "ready, failed, stopped.", "upstream", "state")                                                      \
    X(upstream_restarts, COUNTER, "gatespan_upstream_restarts_total", "Times the upstream was started again.", \
      "upstream")                                                                                          \
    X(log_dropped, COUNTER, "gatespan_log_lines_dropped_total", "Log lines that a slow reader lost.", NULL) \
    X(log_left_out, COUNTER, "gatespan_log_lines_left_out_total", "Log lines that the limit on one event " \
      "left out.", NULL)                                                                                   \
    X(warden_children, GAUGE, "gatespan_warden_children", "Child processes that run.", NULL)               \
    X(warden_spawned, COUNTER, "gatespan_warden_spawned_total", "Child processes started.", NULL)          \
    X(warden_restarts, COUNTER, "gatespan_warden_restarts_total", "Restarts of the warden itself.", NULL)  \
    X(warden_cgroups, GAUGE, "gatespan_warden_cgroups", "1 when limits are kept by cgroups.", NULL)        \
    X(store_reads, COUNTER, "gatespan_store_reads_total", "Statements read from the store.", NULL)         \
    X(store_writes, COUNTER, "gatespan_store_writes_total", "Transactions written to the store.", NULL)    \
    X(store_commits, COUNTER, "gatespan_store_commits_total", "Groups of them that shared one fsync.", NULL) \
    X(store_failures, COUNTER, "gatespan_store_failures_total", "Reads and transactions that failed.", NULL) \
    X(store_queued, GAUGE, "gatespan_store_queued", "Transactions that wait for the writer.", NULL)        \
    X(store_bytes, GAUGE, "gatespan_store_bytes", "Size of the store's file, without its log.", NULL)      \
    X(history_rows, COUNTER, "gatespan_history_rows_total", "Calls that went into the history.", NULL)     \
    X(history_dropped, COUNTER, "gatespan_history_dropped_total",                                          \
      "Calls that are missing in the history: the journal was full.", NULL)

#define X(variable, ...) extern struct metric_def metric_##variable;
CONTROL_METRICS(X)
#undef X

/* Indexes of the computed rows, by their variable. */
enum {
#define X(variable, ...) STAT_##variable,
    COMPUTED_METRICS(X)
#undef X
        STAT_COUNT
};
extern struct metric_def computed_metrics[STAT_COUNT];

/* Makes all rows of all layers known: they are listed before anything was counted. */
void control_metrics_register(void);
