/* metrics.h - what sockets count: rows as in gateway/metrics.h. */
#pragma once
#include "base/metric.h"

/* X(variable, kind, name, help, labels…) */
#define NET_METRICS(X)                                                                             \
    X(client_conns, GAUGE, "gatespan_client_connections", "Connections of clients that are open.") \
    X(buffer_bytes, GAUGE, "gatespan_buffer_bytes", "Memory that holds messages.")                 \
    X(buffer_limit, GAUGE, "gatespan_buffer_limit_bytes", "Most of it; large bodies get 503 "      \
      "beyond.")                                                                                   \
    X(pool_open, GAUGE, "gatespan_pool_connections", "Connections to HTTP upstreams, idle ones "   \
      "included.")                                                                                 \
    X(pool_idle, GAUGE, "gatespan_pool_idle_connections", "Those of them that carry no call.")     \
    X(pool_waiting, GAUGE, "gatespan_pool_waiting", "Calls that wait for a connection.")           \
    X(pool_failures, COUNTER, "gatespan_pool_connect_failures_total", "Connects that failed.") \
    X(broken, COUNTER, "gatespan_broken_requests_total", "Requests refused before their head "     \
      "was complete: broken framing, too large, too slow, one connection too many.",               \
      "http_response_status_code")

#define X(variable, ...) extern struct metric_def metric_##variable;
NET_METRICS(X)
#undef X

void net_metrics_register(void);
/* For those without labels: their one series is found once per thread. */
#define NET_ADD(variable, n)                                                                       \
    do {                                                                                           \
        static _Thread_local metric_series series_;                                                \
        if (!series_)                                                                              \
            series_ = metric_find(&metric_##variable, NULL, 0);                                    \
        metric_add(series_, (n));                                                                  \
    } while (0)
