/* metrics.c - see metrics.h. */
#include "gateway/metrics.h"
#include "net/metrics.h"
#include "run/metrics.h"

#define X(variable, kind_, name_, help_, ...)                                                      \
    struct metric_def metric_##variable = {                                                        \
        .name = name_, .help = help_, .kind = METRIC_##kind_, .labels = { __VA_ARGS__ }            \
    };
GATEWAY_METRICS(X)
#undef X

void gateway_metrics_register(void) {
    run_metrics_register();
    net_metrics_register();
#define X(variable, ...) metric_register(&metric_##variable, 1);
    GATEWAY_METRICS(X)
#undef X
}
