/* metrics.c - see metrics.h. */
#include "net/metrics.h"

#define X(variable, kind_, name_, help_, ...)                                                      \
    struct metric_def metric_##variable = {                                                        \
        .name = name_, .help = help_, .kind = METRIC_##kind_, .labels = { __VA_ARGS__ }            \
    };
NET_METRICS(X)
#undef X

void net_metrics_register(void) {
#define X(variable, ...) metric_register(&metric_##variable, 1);
    NET_METRICS(X)
#undef X
}
