/* conf.c - see conf.h: the rows. */
#include "gateway/conf.h"
#include "base/crypto.h"
#include "base/mem.h"

/* Files of our own say what they mean; CLOSED by default (DESIGN rule 2). */

static const char *const kind_words[] = { "auto", "stdio", "http", "builtin", "api", NULL };
static const char *const share_words[] = { "auto", "tenant", "principal", "session", NULL };
static const char *const task_words[] = { "wait", "refuse", NULL };
static const char *const question_words[] = { "carry", "refuse", NULL };
static const char *const anonymous_words[] = { "no", "loopback", NULL };
static const char *const level_words[] = { "debug", "info", "warn", "error", "off", NULL };
static const char *const compression_words[] = { "none", "gzip", NULL };
static const char *const format_words[] = { "auto", "text", "json", NULL };

#define T struct tls_client_options
static const struct field tls_client_fields[] = {
    FIELD(T, ca_file, STR, NULL, NULL, 0, "PEM file of certificates to trust; empty: the system's."),
    FIELD(T, cert_file, STR, NULL, NULL, 0, "PEM file of our own certificate, for servers that ask for one."),
    FIELD(T, key_file, STR, NULL, NULL, 0, "PEM file of its private key."),
    FIELD(T, server_name, STR, NULL, "..253", 0, "Name to ask for and verify; empty: the host of the URL."),
    FIELD(T, insecure, BOOL, "false", NULL, 0, "Do not verify the server's certificate. For experiments only."),
    FIELD(T, allow_tls_1_2, BOOL, "false", NULL, 0, "Accept TLS 1.2 beside 1.3."),
};
#undef T

static const char *const http_methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE", NULL };

#define T struct http_tool_conf
static const struct field http_tool_fields[] = {
    FIELD(T, name, STR, NULL, "1..64", FIELD_REQUIRED, "The tool's name."),
    FIELD(T, title, STR, NULL, "..200", 0, "For people."),
    FIELD(T, description, STR, NULL, "..4096", 0, "What it does, for models."),
    FIELD_CHOICE(T, method, http_methods, "GET", 0, "Method of its requests."),
    FIELD(T, path, STR, NULL, "1..4096", FIELD_REQUIRED, "Path below the API's URL, with {argument} in path and query."),
    FIELD(T, input_schema, JSON, NULL, NULL, 0, "JSON Schema of its arguments; absent: those of the path, as texts."),
};
#undef T

#define T struct api_conf
static const struct field api_fields[] = {
    FIELD(T, url, STR, NULL, "..4096", 0, "URL of the API: the one host that is asked; redirects are not followed."),
    FIELD(T, openapi, JSON, NULL, NULL, 0, "Document of OpenAPI 3.0 or 3.1: each operation becomes a tool."),
    FIELD(T, include, STRS, NULL, NULL, 0, "Globs over the document's operations; empty: all."),
    FIELD_NEST(T, tools, LIST, http_tool_fields, struct http_tool_conf, 0, "Operations beside the document's."),
    FIELD(T, allow_link_local, BOOL, "false", NULL, 0, "Also connect to link-local addresses, where clouds keep credentials."),
};
#undef T

#define T struct upstream_conf
const struct field upstream_fields[] = {
    FIELD_CHOICE(T, type, kind_words, "auto", 0, "Transport; auto: by which of command, url, builtin and api is given."),
    FIELD(T, enabled, BOOL, "true", NULL, 0, "false keeps the entry but does not start it."),
    FIELD(T, required, BOOL, "false", NULL, 0, "/ready waits for this upstream."),
    FIELD(T, command, STR, NULL, "1..4096", 0, "Program of a stdio server, looked up in PATH."),
    FIELD(T, args, STRS, NULL, NULL, FIELD_PRIVATE, "Its arguments; never shown, as some programs take secrets there."),
    FIELD(T, env, PAIRS, NULL, NULL, FIELD_PRIVATE, "Environment variables it gets beside PATH, HOME, USER, LANG, LC_ALL, TZ and TMPDIR."),
    FIELD(T, inherit_env, STRS, NULL, NULL, 0, "Names of further variables taken over from the gateway's environment."),
    FIELD(T, cwd, STR, NULL, "..4096", 0, "Its working directory, below the data directory unless it begins with /; empty: the data directory."),
    FIELD(T, memory, BYTES, "0", "0..1TiB", 0, "Memory it and its children may use; 0: no limit."),
    FIELD(T, processes, INT, "0", "0..100000", 0, "Processes it may have; 0: no limit."),
    FIELD(T, stop_grace, DURATION, "3s", "0s..5m", 0, "Time between closing its input, SIGTERM and SIGKILL."),
    FIELD(T, url, STR, NULL, "1..4096", 0, "Address of a Streamable HTTP server."),
    FIELD(T, headers, PAIRS, NULL, NULL, FIELD_PRIVATE, "Headers sent with every request, such as Authorization."),
    FIELD_NEST(T, tls, OBJECT, tls_client_fields, struct tls_client_options, 0, "TLS towards an https URL."),
    FIELD(T, connect_timeout, DURATION, "5s", "1ms..5m", 0, "Longest wait for a connection."),
    FIELD(T, idle_timeout, DURATION, "60s", "1s..1h", 0, "Idle connections are closed after this."),
    FIELD(T, max_connections, INT, "256", "1..65535", 0, "Connections of one worker; more calls wait in line."),
    FIELD(T, builtin, STR, NULL, "1..32", 0, "Name of a server inside this program."),
    FIELD(T, options, JSON, NULL, NULL, FIELD_PRIVATE, "Options of the built-in server."),
    FIELD_NEST(T, api, OBJECT, api_fields, struct api_conf, 0, "An HTTP API whose operations are tools."),
    FIELD_CHOICE(T, share, share_words, "auto", 0, "Who shares one session or child process; auto: tenant for stdio, principal for http."),
    FIELD_CHOICE(T, questions, question_words, "carry", 0, "What it asks in mid-call (sampling, roots, elicitation): carry it to the client that called, or refuse."),
    FIELD_CHOICE(T, tasks, task_words, "wait", 0, "A call that must be a task while its client takes none: wait for it within the call, or refuse."),
    FIELD(T, prefix, BOOL, "true", NULL, 0, "Show its tools and prompts as NAME__tool."),
    FIELD(T, rewrite_uris, BOOL, "true", NULL, 0, "Show its resource URIs with its name in them, so that servers do not collide."),
    FIELD(T, timeout, DURATION, "30s", "1ms..1h", 0, "Longest wait for one answer."),
    FIELD(T, probe_timeout, DURATION, "3s", "10ms..1m", 0, "Silence after server/discover that means an older server (stdio)."),
    FIELD(T, concurrency, INT, "0", "0..100000", 0, "Calls in flight, shared out to the workers; more wait in line; 0: no limit."),
    FIELD(T, max_answer, BYTES, "16MiB", "1KiB..1GiB", 0, "Largest answer accepted."),
    FIELD(T, allow, STRS, NULL, NULL, 0, "Globs over its own names: only these tools and prompts are shown."),
    FIELD(T, deny, STRS, NULL, NULL, 0, "Globs over its own names: these are never shown."),
    FIELD(T, tags, STRS, NULL, "..32", 0, "Words to find its tools by in the REST API, beside the tags that tools carry themselves."),
    FIELD(T, restart_backoff, DURATION, "500ms", "10ms..1h", 0, "Pause before the first restart; doubles with each failure."),
    FIELD(T, restart_backoff_max, DURATION, "30s", "10ms..1h", 0, "Longest pause between restarts."),
    FIELD(T, restart_limit, INT, "0", "0..1000000", 0, "Failures in a row after which it is given up; 0: never."),
    FIELD_AS("x-import", T, x_import, JSON, NULL, NULL, 0, "What the file of a desktop client said beside, kept by gatespan import; gatespan export gives it back."),
};
const size_t upstream_field_count = ARRAY_SIZE(upstream_fields);
#undef T

#define T struct profile_conf
static const char *const check_words[] = { "off", "warn", "refuse", NULL };
const struct field profile_fields[] = {
    FIELD(T, upstreams, STRS, NULL, NULL, 0, "Upstreams in it, in this order; empty: all."),
    FIELD(T, allow, STRS, NULL, NULL, 0, "Globs over shown names: only these."),
    FIELD(T, deny, STRS, NULL, NULL, 0, "Globs over shown names: never these."),
    FIELD(T, rename, PAIRS, NULL, NULL, 0, "Shown name -> name in this profile."),
    FIELD(T, instructions, STR, NULL, "..16384", 0, "Instructions for models instead of the merged ones."),
    FIELD(T, check_arguments, BOOL, "false", NULL, 0, "Hold arguments of tools against their inputSchema before the upstream sees them."),
    FIELD_CHOICE(T, check_results, check_words, "off", 0, "Hold structured results against the tool's outputSchema: off, log a warning, or refuse."),
};
const size_t profile_field_count = ARRAY_SIZE(profile_fields);
#undef T

#define T struct key_conf
static const struct field key_fields[] = {
    FIELD(T, secret, SECRET, NULL, "16..512", FIELD_REQUIRED, "The key itself, best as ${NAME} or ${file:…}."),
    FIELD(T, admin, BOOL, "false", NULL, 0, "May use the administration surface too."),
    FIELD(T, profiles, STRS, NULL, NULL, 0, "Profiles it may use; empty: every one."),
    FIELD(T, allow, STRS, NULL, NULL, 0, "Globs over shown names it may see and call; empty: all."),
    FIELD(T, deny, STRS, NULL, NULL, 0, "Globs over shown names it may not."),
    FIELD(T, rate, RATE, "off", NULL, 0, "Calls it may make, such as 100/s or 6000/m."),
    FIELD(T, burst, INT, "0", "0..1000000", 0, "Calls it may make at once; 0: one second's worth."),
};
#undef T

#define T struct tls_server_options
static const struct field tls_server_fields[] = {
    FIELD(T, cert_file, STR, NULL, NULL, 0, "PEM file of the certificate chain; with key_file it makes every listen address https."),
    FIELD(T, key_file, STR, NULL, NULL, 0, "PEM file of the private key."),
    FIELD(T, client_ca_file, STR, NULL, NULL, 0, "PEM file of authorities whose client certificates are accepted."),
    FIELD(T, require_client_cert, BOOL, "false", NULL, 0, "Refuse clients without a certificate."),
    FIELD(T, allow_tls_1_2, BOOL, "false", NULL, 0, "Accept TLS 1.2 beside 1.3."),
};
#undef T

#define T struct limits_conf
static const struct field limits_fields[] = {
    FIELD(T, connections, INT, "16000", "1..1000000", 0, "Client connections, as far as there are file descriptors; more get 503."),
    FIELD(T, http2_streams, INT, "100", "0..1000", 0, "Requests at once on one HTTP/2 connection; 0: HTTP/1.1 alone."),
    FIELD(T, in_flight, INT, "10000", "1..20000", 0, "Requests being worked on, shared out to the workers; more get 503."),
    FIELD(T, batch, INT, "100", "1..1000", 0, "Messages of one batch (revision 2025-03-26)."),
    FIELD(T, body, BYTES, "4MiB", "1KiB..1GiB", 0, "Largest request body; larger gets 413."),
    FIELD(T, head, BYTES, "16KiB", "1KiB..256KiB", 0, "Largest request head; larger gets 431."),
    FIELD(T, headers, INT, "100", "10..100", 0, "Headers of one request; more get 431."),
    FIELD(T, target, BYTES, "8KiB", "64B..64KiB", 0, "Longest request target; longer gets 414."),
    FIELD(T, json_depth, INT, "64", "8..1000", 0, "Deepest nesting of a message."),
    FIELD(T, buffers, BYTES, "512MiB", "1MiB..64GiB", 0, "Memory for message bodies, shared out to the workers (each at least for one body); beyond it large bodies get 503."),
    FIELD(T, sessions, INT, "100000", "1..10000000", 0, "Sessions of legacy clients; more get 429."),
    FIELD(T, sessions_per_key, INT, "20000", "1..10000000", 0, "The same for one key."),
    FIELD(T, streams_per_key, INT, "1000", "1..1000000", 0, "Open subscriptions of one key; more get 429."),
    FIELD(T, session_idle, DURATION, "1h", "1s..30d", 0, "Sessions end after this long without use."),
    FIELD(T, shared, BYTES, "64MiB", "1MiB..64GiB", 0, "Memory for expiring state that all workers see (records of sessions); beyond it new ones get 503."),
    FIELD(T, head_timeout, DURATION, "10s", "10ms..5m", 0, "Longest time for a head to arrive."),
    FIELD(T, body_timeout, DURATION, "30s", "10ms..1h", 0, "Longest time for a body to arrive."),
    FIELD(T, idle_timeout, DURATION, "75s", "1s..1h", 0, "Idle client connections are closed after this."),
    FIELD(T, send_timeout, DURATION, "30s", "10ms..1h", 0, "A client that takes none of its answer for this long is closed."),
    FIELD(T, drain, DURATION, "30s", "0s..1h", 0, "Longest graceful stop; then what is left is cut off."),
    FIELD(T, page, INT, "1000", "1..100000", 0, "Items of one list page."),
    FIELD(T, question_wait, DURATION, "10m", "1s..24h", 0, "How long an upstream's question in mid-call waits for the client's answer; then the call is cancelled."),
    FIELD(T, questions, INT, "16", "1..1000", 0, "Questions that one call may have open; more are refused to the upstream."),
    FIELD(T, rounds, INT, "16", "1..1000", 0, "Rounds of questions of one call; then it fails."),
    FIELD(T, parked, INT, "10000", "1..1000000", 0, "Calls that wait, without a connection, for a client's answers; with more, questions are refused."),
    FIELD(T, parked_per_key, INT, "1000", "1..1000000", 0, "The same for one key."),
    FIELD(T, subscriptions, INT, "100", "1..100000", 0, "Resources that one session or subscription may watch."),
    FIELD(T, resume_time, DURATION, "2m", "0s..24h", 0, "How long what was said on the stream of a legacy session is kept once nobody reads it, for a client that comes back with Last-Event-ID; 0: streams cannot be resumed."),
    FIELD(T, resume_bytes, BYTES, "64MiB", "64KiB..64GiB", 0, "Memory for that, shared out to the workers; beyond it the oldest events go."),
    FIELD(T, resume_events, INT, "100000", "16..100000000", 0, "Events kept, the same way."),
    FIELD(T, resume_session_bytes, BYTES, "4MiB", "1KiB..1GiB", 0, "The same for one session, on each worker."),
    FIELD(T, resume_session_events, INT, "1000", "1..1000000", 0, "The same for one session, on each worker."),
    FIELD(T, resume_retry, DURATION, "1s", "10ms..1m", 0, "What a client waits before it comes back to a stream (revision 2025-11-25)."),
    FIELD(T, stream_after, DURATION, "2s", "0s..1h", 0, "A call that takes longer is answered on a stream, which its client can come back to (revision 2025-11-25); 0: only when there is something to say before the answer."),
    FIELD(T, poll_after, DURATION, "0s", "0s..1h", 0, "The stream of a call is closed after this, and its client comes back for the rest (revision 2025-11-25); 0: never."),
    FIELD(T, tasks, INT, "10000", "1..1000000", 0, "Tasks that are kept for their clients; with more, calls run without one."),
    FIELD(T, tasks_per_key, INT, "1000", "1..1000000", 0, "The same for one key."),
    FIELD(T, task_bytes, BYTES, "64MiB", "64KiB..64GiB", 0, "Memory for results of tasks that the gateway itself keeps; beyond it such a task fails."),
    FIELD(T, task_ttl, DURATION, "1h", "1s..30d", 0, "Longest time for which a task is kept; what is asked of upstreams where a client names none."),
    FIELD(T, task_wait, DURATION, "10m", "1s..24h", 0, "Longest time for which a request waits for a task: tasks/result, and calls of clients that know no tasks."),
    FIELD(T, list_wait, DURATION, "2s", "0s..1m", 0, "How long the first start waits for upstreams before it serves what there is."),
};
#undef T

static const struct field cors_fields[] = {
    FIELD(struct cors_conf, origins, STRS, NULL, NULL, 0, "Origins of web pages that may call, such as https://app.example.com, or *."),
};

static const struct field log_fields[] = {
    FIELD_CHOICE(struct log_options, level, level_words, "info", 0, "Lowest level that is written."),
    FIELD_CHOICE(struct log_options, format, format_words, "auto", 0, "auto: text on a terminal, else one JSON object a line."),
    FIELD(struct log_options, requests, BOOL, "false", NULL, 0, "A line for each HTTP request: method, path, status, bytes, time, key."),
    FIELD(struct log_options, anonymize, BOOL, "false", NULL, FIELD_LATER, "Write no names of keys and people, only digests of them."),
};

static const struct field metrics_fields[] = {
    FIELD(struct metrics_conf, enabled, BOOL, "true", NULL, 0, "Serve /metrics; false: 404."),
};

/* In the order of enum revision. */
static const char *const revision_words[] = { "2024-11-05", "2025-03-26", "2025-06-18",
                                              "2025-11-25", "2026-07-28", NULL };

static const struct field protocol_fields[] = {
    FIELD_CHOICE(struct protocol_conf, newest, revision_words, "2026-07-28", 0, "Newest revision of MCP that clients are offered."),
    FIELD_CHOICE(struct protocol_conf, oldest, revision_words, "2024-11-05", 0, "Oldest revision of MCP that clients are offered; 2026-07-28 serves no sessions at all."),
};

/* ---- parts that are not built yet ----------------------------------------------------- */

static const char *const algorithm_words[] = { "HS256", "HS384", "HS512", "RS256",
                                               "ES256", "EdDSA", NULL };

static const struct field introspection_fields[] = {
    FIELD(struct introspection_conf, url, STR, NULL, "..4096", FIELD_LATER, "Address of the host application, asked whose a token is."),
    FIELD(struct introspection_conf, key, SECRET, NULL, "..512", FIELD_LATER, "Key for asking it."),
};

#define T struct security_conf
static const struct field security_fields[] = {
    FIELD(T, secret_key, SECRET, NULL, "..1024", FIELD_LATER, "Signs the tokens that people sign in with; at least 16 characters, and no well-known placeholder."),
    FIELD_CHOICE(T, algorithm, algorithm_words, "HS256", FIELD_LATER, "How tokens are signed."),
    FIELD(T, access_token_lifetime, DURATION, "30m", "1m..30d", FIELD_LATER, "How long a token is good for."),
    FIELD(T, tenant_isolation, BOOL, "true", NULL, FIELD_LATER, "false: one tenant for all; refused where there are two."),
    FIELD_NEST(T, introspection, OBJECT, introspection_fields, struct introspection_conf, 0, "Tokens of a host application."),
};
#undef T

static const struct field store_fields[] = {
    FIELD(struct address_conf, url, SECRET, NULL, "..4096", FIELD_LATER, "PostgreSQL instead of the file in the data directory."),
};

static const struct field shared_fields[] = {
    FIELD(struct address_conf, url, SECRET, NULL, "..4096", FIELD_LATER, "Redis or Valkey for what the nodes of a cluster share."),
};

static const struct field cache_fields[] = {
    FIELD(struct cache_conf, ttl, DURATION, "0s", "0s..30d", FIELD_LATER, "How long answers of read-only tools are kept; 0s: not at all."),
};

#define T struct models_conf
static const struct field models_fields[] = {
    FIELD(T, listen, STR, "127.0.0.1:8001", "..300", FIELD_LATER | FIELD_RESTART, "Where the role models listens."),
    FIELD(T, max_context, INT, "0", "0..100000000", FIELD_LATER, "Longest context of a model in tokens; 0: the model's own."),
    FIELD(T, max_answer, INT, "0", "0..100000000", FIELD_LATER, "Longest answer of a model in tokens; 0: no limit."),
};
#undef T

/* ---- the schema of other gateways ------------------------------------------------------ */

static const char *const authentication_words[] = { "jwt", "key", "none", NULL };
static const char *const encryption_words[] = { "AES-256-GCM", NULL };

#define T struct mcp_server_conf
static const struct field mcp_server_fields[] = {
    FIELD(T, enabled, BOOL, "true", NULL, 0, "Whether the built-in server of that name is on."),
    FIELD(T, port, INT, "0", "0..65535", 0, "Port of `serve --role server:NAME`; in one process everything listens on `listen`. 0: the usual one."),
    FIELD(T, root_path, STR, NULL, "..4096", 0, "The folder of the server filesystem."),
    FIELD(T, allowed_operations, STRS, NULL, "..64", 0, "What it may do: read, write, list, delete, move, copy."),
    FIELD(T, connections, JSON, NULL, NULL, FIELD_PRIVATE, "Databases of the server database."),
    FIELD(T, backends, JSON, NULL, NULL, FIELD_PRIVATE, "Stores of the server vectorstore."),
};
#undef T

static const struct field consul_fields[] = {
    FIELD(struct consul_conf, host, STR, NULL, "..253", 0, "Host of the Consul agent."),
    FIELD(struct consul_conf, port, INT, "8500", "1..65535", 0, "Its port."),
};

static const struct field kong_fields[] = {
    FIELD(struct kong_conf, admin_url, STR, NULL, "..4096", 0, "Address of Kong's admin API."),
};

static const struct field mesh_fields[] = {
    FIELD_NEST(struct mesh_conf, consul, OBJECT, consul_fields, struct consul_conf, FIELD_LATER, "Discovery by Consul."),
    FIELD_NEST(struct mesh_conf, kong, OBJECT, kong_fields, struct kong_conf, FIELD_LATER, "Registration with Kong."),
};

#define T struct mcp_authentication_conf
static const struct field mcp_authentication_fields[] = {
    FIELD_CHOICE(T, type, authentication_words, "jwt", 0, "How people prove who they are."),
    FIELD(T, secret_key, SECRET, NULL, "..1024", 0, "The same as security.secret_key."),
};
#undef T

static const struct field encryption_fields[] = {
    FIELD(struct encryption_conf, enabled, BOOL, "true", NULL, 0, "Secrets at rest are sealed always; false is accepted with a warning."),
    FIELD_CHOICE(struct encryption_conf, algorithm, encryption_words, "AES-256-GCM", 0, "The one there is."),
};

#define T struct mcp_security_conf
static const struct field mcp_security_fields[] = {
    FIELD_NEST(T, authentication, OBJECT, mcp_authentication_fields, struct mcp_authentication_conf, FIELD_LATER, "Tokens of people."),
    FIELD_NEST(T, encryption, OBJECT, encryption_fields, struct encryption_conf, 0, "Secrets at rest."),
};
#undef T

static const struct field mcp_fields[] = {
    FIELD_NEST(struct mcp_conf, servers, MAP, mcp_server_fields, struct mcp_server_conf, 0, "Built-in servers, by name."),
    FIELD_NEST(struct mcp_conf, mesh, OBJECT, mesh_fields, struct mesh_conf, 0, "Where services are found."),
    FIELD_NEST(struct mcp_conf, security, OBJECT, mcp_security_fields, struct mcp_security_conf, 0, "Authentication and encryption."),
};

static const char *const payload_words[] = { "off", "errors", "on", NULL };
#define T struct history_conf
static const struct field history_fields[] = {
    FIELD(T, enabled, BOOL, "true", NULL, FIELD_RESTART, "Keep a row for each finished call of a tool, resource or prompt."),
    FIELD(T, retention, DURATION, "30d", "1m..3650d", 0, "Rows older than this are forgotten."),
    FIELD(T, max_rows, INT, "1000000", "1000..1000000000", 0, "Most rows kept; the oldest go first."),
    FIELD(T, rate, RATE, "2000/s", NULL, 0, "Rows moved into the store per second; bursts wait in the journal, what exceeds both is counted as dropped. off: no bound."),
    FIELD_CHOICE(T, payloads, payload_words, "off", 0, "Keep arguments and results too: never, of calls that failed, always."),
    FIELD(T, payload_bytes, BYTES, "4KiB", "64B..64KiB", 0, "Of each at most so much."),
    FIELD(T, journal, BYTES, "4MiB", "1MiB..1GiB", FIELD_RESTART, "Size of each worker's journal, where calls wait for the store and survive a crash."),
};
#undef T

#define T struct otlp_conf
static const struct field otlp_fields[] = {
    FIELD(T, endpoint, STR, NULL, "..4096", FIELD_RESTART, "Base URL of a collector that takes OTLP over HTTP, such as http://localhost:4318; empty: nothing is exported."),
    FIELD(T, traces_endpoint, STR, NULL, "..4096", FIELD_RESTART, "Whole URL for traces; empty: /v1/traces below the endpoint."),
    FIELD(T, metrics_endpoint, STR, NULL, "..4096", FIELD_RESTART, "Whole URL for metrics; empty: /v1/metrics below the endpoint."),
    FIELD(T, headers, PAIRS, NULL, NULL, FIELD_RESTART | FIELD_PRIVATE, "Headers sent with every export, such as Authorization."),
    FIELD(T, traces, BOOL, "true", NULL, FIELD_RESTART, "Export spans of calls."),
    FIELD(T, metrics, BOOL, "true", NULL, FIELD_RESTART, "Export what /metrics shows."),
    FIELD_CHOICE(T, compression, compression_words, "none", FIELD_RESTART, "Of what is sent."),
    FIELD(T, interval, DURATION, "60s", "100ms..1h", FIELD_RESTART, "Time between two exports of metrics."),
    FIELD(T, timeout, DURATION, "10s", "1ms..1h", FIELD_RESTART, "Longest time for one export."),
    FIELD(T, sample, DOUBLE, "1", "0..1", FIELD_RESTART, "Share of the traces that begin here and are recorded."),
    FIELD(T, follow_parent, BOOL, "true", NULL, FIELD_RESTART, "A caller that brings a trace decides whether it is recorded."),
    FIELD(T, queue, INT, "8192", "64..1000000", FIELD_RESTART, "Spans that may wait for their export; more are dropped and counted."),
    FIELD(T, service_name, STR, "gatespan", "1..255", FIELD_RESTART, "service.name of the resource."),
    FIELD(T, resource, PAIRS, NULL, NULL, FIELD_RESTART, "More attributes of the resource, such as deployment.environment.name."),
    FIELD(T, ca_file, STR, NULL, NULL, FIELD_RESTART, "PEM file of certificates to trust for https; empty: the system's."),
};
#undef T

#define T struct gateway_conf
const struct field gateway_fields[] = {
    FIELD(T, listen, STRS, "127.0.0.1:8000", NULL, FIELD_RESTART, "Addresses to listen on: HOST:PORT, [v6]:PORT or a port on loopback."),
    FIELD(T, workers, INT, "0", "0..256", FIELD_RESTART, "Worker threads; 0: one per processor."),
    FIELD_CHOICE(T, anonymous, anonymous_words, "no", 0, "Who may call without a key: nobody, or programs on this machine."),
    FIELD(T, hosts, STRS, NULL, NULL, 0, "Host names served beside the loopback ones."),
    FIELD_NEST(T, tls, OBJECT, tls_server_fields, struct tls_server_options, 0, "TLS towards clients."),
    FIELD_NEST(T, limits, OBJECT, limits_fields, struct limits_conf, 0, "Bounds on what clients can make us hold."),
    FIELD_NEST(T, cors, OBJECT, cors_fields, struct cors_conf, 0, "Browser clients."),
    FIELD_NEST(T, log, OBJECT, log_fields, struct log_options, 0, "What is logged, and how."),
    FIELD_NEST(T, history, OBJECT, history_fields, struct history_conf, 0, "What is remembered of calls, and for how long."),
    FIELD_NEST(T, otlp, OBJECT, otlp_fields, struct otlp_conf, FIELD_RESTART, "Export of traces and metrics to an OpenTelemetry collector."),
    FIELD(T, instructions, STR, NULL, "..16384", 0, "Text for models in front of the upstreams' own instructions."),
    FIELD(T, builtins, STRS, "time", NULL, 0, "Built-in servers that are on under their own names."),
    FIELD_NEST(T, upstreams, MAP, upstream_fields, struct upstream_conf, 0, "MCP servers behind the gateway, by name."),
    FIELD_NEST(T, profiles, MAP, profile_fields, struct profile_conf, 0, "Selections of the catalogue, served at /mcp/NAME."),
    FIELD_NEST(T, keys, MAP, key_fields, struct key_conf, 0, "Keys of clients, by name."),
    FIELD_NEST(T, metrics, OBJECT, metrics_fields, struct metrics_conf, 0, "Numbers for Prometheus."),
    FIELD_NEST(T, protocol, OBJECT, protocol_fields, struct protocol_conf, 0, "The Model Context Protocol towards clients."),
    FIELD_NEST(T, security, OBJECT, security_fields, struct security_conf, 0, "Who people are, and how they prove it."),
    FIELD_NEST(T, store, OBJECT, store_fields, struct address_conf, 0, "Where rows are kept."),
    FIELD_NEST(T, shared, OBJECT, shared_fields, struct address_conf, 0, "What the nodes of a cluster share."),
    FIELD_NEST(T, cache, OBJECT, cache_fields, struct cache_conf, 0, "Answers that are kept."),
    FIELD_NEST(T, models, OBJECT, models_fields, struct models_conf, 0, "Language models."),
    FIELD_NEST(T, mcp, OBJECT, mcp_fields, struct mcp_conf, 0, "The same things as the schema mcp: servers: mesh: security: of other gateways says them."),
    FIELD_AS("$schema", T, schema, STR, NULL, NULL, FIELD_HIDDEN, "Address of the schema that an editor checks the file with."),
    FIELD_AS("mcpServers", T, mcp_servers, JSON, NULL, NULL, FIELD_HIDDEN | FIELD_PRIVATE, "Servers as Claude Desktop and Cursor write them."),
    FIELD_AS("servers", T, servers, JSON, NULL, NULL, FIELD_HIDDEN | FIELD_PRIVATE, "Servers as VS Code writes them."),
    FIELD_AS("x-import", T, x_import, JSON, NULL, NULL, 0, "What files of desktop clients said about themselves, kept by gatespan import."),
    FIELD_AS("inputs", T, inputs, JSON, NULL, NULL, FIELD_HIDDEN | FIELD_PRIVATE, "What VS Code asks its user for."),
};
const size_t gateway_field_count = ARRAY_SIZE(gateway_fields);
#undef T

/* ---- holding ----------------------------------------------------------------------- */

struct held_conf *held_conf_new(void) {
    struct held_conf *h = NEW(struct held_conf);
    h->refs = 1;
    arena_init(&h->arena, NULL, 0);
    return h;
}

struct held_conf *held_conf_ref(struct held_conf *h) {
    h->refs++;
    return h;
}

void held_conf_unref(struct held_conf *h) {
    if (!h || --h->refs)
        return;
    held_conf_unref(h->base);
    arena_done(&h->arena);
    free(h);
}

/* ---- copies ------------------------------------------------------------------------ */

void upstream_conf_write(const struct upstream_conf *c, struct jw *w) {
    jw_object(w);
    jw_put_string(w, "name", c->name);
    jw_key(w, S("conf"));
    field_write_plain(upstream_fields, upstream_field_count, c, w);
    jw_object_end(w);
}

struct upstream_conf *upstream_conf_read(struct arena *a, struct str text) {
    json document = NULL;
    struct upstream_conf *c = ARENA_NEW(a, struct upstream_conf);
    struct field_problems problems = { .arena = a };
    field_defaults(upstream_fields, upstream_field_count, c, a);
    if (json_parse(a, arena_dup(a, text), (struct json_limits){ 0 }, &document))
        return c;
    field_read(upstream_fields, upstream_field_count, json_get(document, S("conf")), S(""), c, a,
               &problems);
    c->name = json_get_text(document, S("name"));
    return c;
}
