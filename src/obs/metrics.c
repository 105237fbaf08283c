/* metrics.c - see metrics.h. */
#include "obs/metrics.h"

#define X(variable, kind_, name_, help_, ...)                                                      \
    struct metric_def metric_##variable = {                                                        \
        .name = name_, .help = help_, .kind = METRIC_##kind_, .labels = { __VA_ARGS__ }            \
    };
OBS_METRICS(X)
#undef X

void obs_metrics_register(void) {
#define X(variable, ...) metric_register(&metric_##variable, 1);
    OBS_METRICS(X)
#undef X
}
