/* metrics.h - what the data plane counts, one row each (OpenTelemetry's MCP conventions
 * name the durations; dots are underscores as Prometheus wants them). */
#pragma once
#include "base/metric.h"

/* X(variable, kind, name, help, labels…) */
#define GATEWAY_METRICS(X)                                                                               \
    X(operation_duration, HISTOGRAM, "mcp_server_operation_duration_seconds",                              \
      "Time from a request's head to its answer, by method, tool, upstream and outcome.",                  \
      "mcp_method_name", "gen_ai_tool_name", "upstream", "outcome")                                        \
    X(client_duration, HISTOGRAM, "mcp_client_operation_duration_seconds",                                 \
      "Time an upstream took to answer, by upstream and outcome.", "upstream", "outcome")                  \
    X(lines_open, GAUGE, "gatespan_lines_open", "WebSocket and HTTP+SSE connections of clients.", NULL)     \
    X(in_flight, GAUGE, "gatespan_exchanges_in_flight", "Requests that wait for their answer.", NULL)      \
    X(streams_open, GAUGE, "gatespan_streams_open", "GET streams and subscriptions that are open.", NULL)  \
    X(replay_streams, GAUGE, "gatespan_replay_streams", "Streams that a legacy client can come back to, open ones too.", NULL) \
    X(replay_events, GAUGE, "gatespan_replay_events", "Events kept for clients that come back.", NULL)     \
    X(replay_bytes, GAUGE, "gatespan_replay_bytes", "Bytes of these events.", NULL)                        \
    X(replay_evicted, COUNTER, "gatespan_replay_evicted_total", "Events let go of before their time, for a limit.", NULL) \
    X(resumptions, COUNTER, "gatespan_resumptions_total", "Streams that clients came back to, by how it went: resumed, expired, foreign.", \
      "how")                                                                                               \
    X(readers_open, GAUGE, "gatespan_resumed_streams_open", "Streams that were resumed and are open.", NULL) \
    X(polls, COUNTER, "gatespan_stream_polls_total", "Streams of calls that were closed so that their client comes back for the rest.", NULL) \
    X(refusals, COUNTER, "gatespan_refusals_total", "Requests refused before they were an exchange, by reason.", \
      "reason")                                                                                            \
    X(upstream_ready, GAUGE, "gatespan_upstream_ready", "1 while the upstream is ready.", "upstream")        \
    X(upstream_failures, COUNTER, "gatespan_upstream_failures_total", "Times the upstream was lost or did not start.", \
      "upstream")                                                                                          \
    X(limited, COUNTER, "gatespan_limited_total", "Calls refused by a rate limit, by key.", "key")        \
    X(questions, COUNTER, "gatespan_questions_total", "What upstreams asked clients in mid-call, by upstream and method.", \
      "upstream", "mcp_method_name")                                                                       \
    X(questions_open, GAUGE, "gatespan_questions_open", "Questions that legacy clients have not answered.", NULL) \
    X(parked, GAUGE, "gatespan_parked", "Calls that wait for the answers of a modern client.", NULL)        \
    X(parked_ended, COUNTER, "gatespan_parked_ended_total", "Waits that ended, by upstream and how: resumed, expired, stopped.", \
      "upstream", "how")                                                                                   \
    X(client_tasks, GAUGE, "gatespan_client_tasks", "Tasks of clients that are kept.", NULL)                              \
    X(client_task_runs, GAUGE, "gatespan_client_task_runs", "Tasks that the gateway works on in the background: calls, questions, watches.", NULL) \
    X(client_task_bytes, GAUGE, "gatespan_client_task_bytes", "Results of tasks that the gateway keeps.", NULL)           \
    X(watched, GAUGE, "gatespan_watched_resources", "Resources that somebody subscribed to, by upstream.", "upstream") \
    X(stdio_children, GAUGE, "gatespan_stdio_children", "Child processes running, by upstream.", "upstream") \
    X(stdio_starts, COUNTER, "gatespan_stdio_starts_total", "Child processes started, restarts included, by upstream.", \
      "upstream")                                                                                          \
    X(upstream_in_flight, GAUGE, "gatespan_upstream_in_flight", "Calls that the upstream works on.", "upstream") \
    X(upstream_waiting, GAUGE, "gatespan_upstream_waiting",                                                \
      "Calls that wait in line for the upstream's bound on calls in flight.", "upstream")                  \
    X(stdio_queued, GAUGE, "gatespan_stdio_queued_bytes",                                                  \
      "Bytes that wait for a child to read its input, by upstream.", "upstream")

#define X(variable, kind, name, help, ...) extern struct metric_def metric_##variable;
GATEWAY_METRICS(X)
#undef X

/* Makes all of them known: they are listed before anything was counted. */
void gateway_metrics_register(void);
