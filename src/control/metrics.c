/* metrics.c - see metrics.h. */
#include "control/metrics.h"
#include "gateway/metrics.h"
#include "obs/metrics.h"

#define X(variable, kind_, name_, help_, ...)                                                      \
    struct metric_def metric_##variable = {                                                        \
        .name = name_, .help = help_, .kind = METRIC_##kind_, .labels = { __VA_ARGS__ }            \
    };
CONTROL_METRICS(X)
#undef X

struct metric_def computed_metrics[STAT_COUNT] = {
#define X(variable, kind_, name_, help_, ...)                                                      \
    [STAT_##variable] = { .name = name_,                                                           \
                          .help = help_,                                                           \
                          .kind = METRIC_##kind_,                                                  \
                          .labels = { __VA_ARGS__ } },
    COMPUTED_METRICS(X)
#undef X
};

void control_metrics_register(void) {
    gateway_metrics_register();
    obs_metrics_register();
#define X(variable, ...) metric_register(&metric_##variable, 1);
    CONTROL_METRICS(X)
#undef X
    metric_register(computed_metrics, STAT_COUNT);
}
