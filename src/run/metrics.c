/* metrics.c - see metrics.h. */
#include "run/metrics.h"
#include "run/private.h"

/* A timer may fire up to so much late by design (timer.h). */
#define TICK (2 * NANOS_MS)

#define X(variable, kind_, name_, help_)                                                           \
    struct metric_def metric_##variable = { .name = name_, .help = help_, .kind = METRIC_##kind_ };
RUN_METRICS(X)
#undef X

void run_metrics_register(void) {
#define X(variable, ...) metric_register(&metric_##variable, 1);
    RUN_METRICS(X)
#undef X
}

void worker_measure(struct worker *w, nanos late) {
    const struct mailbox *box = &w->private->box;
    struct task_stats tasks = task_stats(w);
    metric_set(METRIC_SERIES(&metric_tasks), (int64_t)tasks.running);
    metric_set(METRIC_SERIES(&metric_tasks_limit), (int64_t)tasks.limit);
    metric_set(METRIC_SERIES(&metric_mail_bytes),
               (int64_t)__atomic_load_n(&box->bytes, __ATOMIC_RELAXED));
    metric_set(METRIC_SERIES(&metric_mail_limit), (int64_t)box->bound);
    metric_observe(METRIC_SERIES(&metric_loop_lag), late > TICK ? late - TICK : 0);
}
