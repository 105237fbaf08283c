/* metrics.h - what workers and the blocking pool count: rows as in gateway/metrics.h. Those of
 * a worker are set by whoever calls worker_measure, once a second. */
#pragma once
#include "base/metric.h"

/* X(variable, kind, name, help) */
#define RUN_METRICS(X)                                                                             \
    X(work_waiting, GAUGE, "gatespan_work_waiting",                                                \
      "Pieces of blocking work that wait for a thread of the pool.")                               \
    X(work_running, GAUGE, "gatespan_work_running", "Those that a thread of the pool runs.")       \
    X(tasks, GAUGE, "gatespan_tasks", "Fibers in flight, each with a stack.")                      \
    X(tasks_limit, GAUGE, "gatespan_tasks_limit", "Most fibers; what needs one more gets 503.")    \
    X(mail_bytes, GAUGE, "gatespan_mail_bytes", "Bytes that wait in the mailboxes of workers.")    \
    X(mail_limit, GAUGE, "gatespan_mail_limit_bytes", "Most bytes there.")                         \
    X(loop_lag, HISTOGRAM, "gatespan_loop_lag_seconds",                                            \
      "How late the event loop of a worker served a timer, looked at once a second.")

#define X(variable, ...) extern struct metric_def metric_##variable;
RUN_METRICS(X)
#undef X

void run_metrics_register(void);
#define RUN_ADD(variable, n)                                                                       \
    do {                                                                                           \
        static _Thread_local metric_series series_;                                                \
        if (!series_)                                                                              \
            series_ = metric_find(&metric_##variable, NULL, 0);                                    \
        metric_add(series_, (n));                                                                  \
    } while (0)

/* On the worker's own thread: its tasks and mail as of now, and how late the caller's timer was. */
struct worker;
void worker_measure(struct worker *w, nanos late);
