/* conf.h - the configuration as structs, and its rows.
 *
 * Every option of the file, the environment and the command line is one row here
 * (conf.c); reading, checking, defaults, help and the reference page come from it.
 *
 * Memory  everything lives in the arena it was read into, for the life of its snapshot
 */
#pragma once
#include "base/field.h"
#include "obs/otlp.h"

enum upstream_kind { UPSTREAM_AUTO, UPSTREAM_STDIO, UPSTREAM_HTTP, UPSTREAM_BUILTIN, UPSTREAM_API };
enum questions { QUESTIONS_CARRY, QUESTIONS_REFUSE };
enum task_calls { TASKS_WAIT, TASKS_REFUSE };
enum share { SHARE_AUTO, SHARE_TENANT, SHARE_PRINCIPAL, SHARE_SESSION };

struct tls_client_options {
    struct str ca_file, cert_file, key_file, server_name;
    bool insecure, allow_tls_1_2;
};

/* One HTTP operation as a tool. */
struct http_tool_conf {
    struct str name, title, description;
    int method;              /* GET, POST, PUT, PATCH, DELETE */
    struct str path;         /* below the API's URL, with {argument} in path and query */
    json input_schema;       /* NULL: the arguments of the path, as texts */
};

/* An HTTP API whose operations are tools: see api_ops.h. */
struct api_conf {
    struct str url;          /* of the API: the one host that is ever asked */
    json openapi;            /* a document; NULL: the tools alone */
    struct str_list include; /* globs over its operations; empty: all */
    struct item_list tools;  /* struct http_tool_conf */
    bool allow_link_local;
};

struct upstream_conf {
    struct str name;
    int type; /* enum upstream_kind; AUTO: by which of command, url, builtin is there */
    bool enabled, required;
    /* stdio */
    struct str command, cwd;
    struct str_list args;
    struct pair_list env;
    struct str_list inherit_env; /* names taken over from ours beside PATH, HOME, LANG, … */
    int64_t memory, processes;
    nanos stop_grace;
    /* http */
    struct str url;
    struct pair_list headers; /* values may be secrets: never printed */
    struct tls_client_options tls;
    nanos connect_timeout, idle_timeout;
    int64_t max_connections; /* of one worker */
    /* in process */
    struct str builtin;
    json options;            /* for the built-in server's own rows */
    struct api_conf api;     /* url empty: none */
    /* all */
    int share;               /* enum share; AUTO: tenant for stdio, principal for http */
    int questions;           /* enum questions: what it asks in mid-call */
    int tasks;               /* enum task_calls: of clients without tasks, where a tool wants one */
    bool prefix;             /* names as NAME__tool */
    bool rewrite_uris;
    nanos timeout;           /* longest wait for one answer */
    nanos probe_timeout;     /* silence that means "legacy" on stdio (P-058) */
    int64_t concurrency;     /* calls in flight; more wait; 0: no bound */
    int64_t max_answer;      /* bytes of one answer */
    struct str_list allow, deny; /* globs over its own tool, prompt names */
    struct str_list tags;    /* of its tools, beside what their _meta says */
    nanos restart_backoff, restart_backoff_max;
    int64_t restart_limit;   /* failures in a row before it is given up; 0: never */
    json x_import;           /* means nothing to a gateway: see gatespan import */
    struct str source;       /* file it comes from, for messages */
};

struct profile_conf {
    struct str name;
    struct str_list upstreams; /* empty: all */
    struct str_list allow, deny; /* globs over shown names */
    struct pair_list rename;   /* shown name -> name in this profile */
    struct str instructions;
    bool check_arguments;      /* against inputSchema, before the upstream sees them */
    int check_results;         /* enum check_results: against outputSchema */
};
enum check_results { CHECK_OFF, CHECK_WARN, CHECK_REFUSE };

struct key_conf {
    struct str name;
    struct str secret;
    bool admin;
    struct str_list profiles, allow, deny;
    struct rate rate;
    int64_t burst;
};

struct tls_server_options {
    struct str cert_file, key_file, client_ca_file;
    bool allow_tls_1_2, require_client_cert;
};

struct limits_conf {
    int64_t connections;        /* of the process */
    int64_t http2_streams;      /* of one connection; 0: HTTP/1.1 alone */
    int64_t in_flight;          /* exchanges of the process */
    int64_t body, head, headers, target; /* bytes, bytes, count, bytes of one request */
    int64_t json_depth;
    int64_t batch;              /* messages */
    int64_t buffers;            /* bytes of message buffers of the process */
    int64_t sessions, sessions_per_key;
    int64_t streams_per_key;    /* GET streams and listens */
    nanos session_idle;
    int64_t shared;             /* bytes of expiring state in memory (store/shared.h) */
    nanos head_timeout, body_timeout, idle_timeout, send_timeout;
    nanos drain;                /* longest graceful stop */
    int64_t page;               /* items of one list page */
    nanos question_wait;        /* for the answer of a client to an upstream's question */
    int64_t questions;          /* open at once in one call */
    int64_t rounds;             /* of questions in one call */
    int64_t subscriptions;      /* URIs of one session or listen */
    int64_t parked, parked_per_key; /* calls that wait for a modern client's answers */
    nanos resume_time;          /* how long streams are kept that nobody reads; 0: not at all */
    int64_t resume_bytes, resume_events; /* of the process */
    int64_t resume_session_bytes, resume_session_events; /* of one session, on each worker */
    nanos resume_retry;         /* what clients wait before they come back */
    nanos stream_after;         /* calls longer than this are answered on a stream; 0: none */
    nanos poll_after;           /* such streams are closed after this; 0: never */
    int64_t tasks, tasks_per_key; /* that are kept for tasks/list, and ours */
    int64_t task_bytes;         /* of results that are kept */
    nanos task_ttl;             /* longest that one is kept */
    nanos task_wait;            /* for a task, within a request */
    nanos list_wait;            /* how long the first list waits for upstreams that start */
};

struct cors_conf {
    struct str_list origins;    /* exact origins, or "*"; empty: same host only */
};

struct log_options {
    int level;  /* enum log_level */
    int format; /* 0 auto (text on a terminal, else json), 1 text, 2 json */
    bool requests; /* a line for each HTTP request */
    bool anonymize;
};

struct metrics_conf {
    bool enabled; /* /metrics is there */
};

struct protocol_conf {
    int newest, oldest; /* enum revision */
};

/* ---- options of parts that are not built yet: read, checked, and warned of ---- */

struct introspection_conf {
    struct str url, key;
};

struct encryption_conf {
    bool enabled;
    int algorithm;
};

struct security_conf {
    struct str secret_key;
    int algorithm;
    nanos access_token_lifetime;
    bool tenant_isolation;
    struct introspection_conf introspection;
};

struct address_conf { /* of a server that is not ours */
    struct str url;
};

struct cache_conf {
    nanos ttl;
};

struct models_conf {
    struct str listen;
    int64_t max_context, max_answer; /* tokens; 0: no bound */
};

/* ---- the schema of other gateways: mcp: servers: mesh: security: ---- */

struct mcp_server_conf {
    struct str name; /* of a built-in server */
    bool enabled;
    int64_t port;    /* of its role; 0: the usual one */
    struct str root_path;
    struct str_list allowed_operations;
    json connections, backends;
};

struct consul_conf {
    struct str host;
    int64_t port;
};

struct kong_conf {
    struct str admin_url;
};

struct mesh_conf {
    struct consul_conf consul;
    struct kong_conf kong;
};

struct mcp_authentication_conf {
    int type;
    struct str secret_key;
};

struct mcp_security_conf {
    struct mcp_authentication_conf authentication;
    struct encryption_conf encryption;
};

struct mcp_conf {
    struct item_list servers; /* struct mcp_server_conf */
    struct mesh_conf mesh;
    struct mcp_security_conf security;
};

enum { HISTORY_PAYLOADS_OFF, HISTORY_PAYLOADS_ERRORS, HISTORY_PAYLOADS_ALL };
struct history_conf {
    bool enabled;
    nanos retention;
    int64_t max_rows;
    struct rate rate;       /* rows a second into the store */
    int payloads;           /* HISTORY_PAYLOADS_… */
    int64_t payload_bytes;  /* of arguments, and of the result */
    int64_t journal;        /* bytes of each worker's ring */
};

struct gateway_conf {
    struct str_list listen;
    int64_t workers; /* 0: one per core */
    int anonymous;   /* 0 no, 1 loopback */
    struct str_list hosts; /* allowed Host names beside loopback ones and the listen addresses */
    struct tls_server_options tls;
    struct limits_conf limits;
    struct cors_conf cors;
    struct log_options log;
    struct history_conf history;
    struct otlp_conf otlp;
    struct str instructions;
    struct str_list builtins;   /* built-in servers that are upstreams of their own name */
    struct item_list upstreams; /* struct upstream_conf */
    struct item_list profiles;  /* struct profile_conf */
    struct item_list keys;      /* struct key_conf */
    struct metrics_conf metrics;
    struct protocol_conf protocol;
    struct security_conf security;
    struct address_conf store, shared;
    struct cache_conf cache;
    struct models_conf models;
    struct mcp_conf mcp; /* see conf_mcp */
    struct str schema;   /* "$schema", for editors */
    json x_import;              /* means nothing to a gateway: see gatespan import */
    json mcp_servers, servers, inputs; /* what desktop clients call these; see conf_desktop */
};

/* A configuration with the memory it lives in; the snapshots made from it hold references.
 * Control worker only. */
struct held_conf {
    int refs;
    struct arena arena;
    struct gateway_conf *conf;
    struct held_conf *base; /* a reference on what it borrows from; NULL: nothing */
};
struct held_conf *held_conf_new(void);
struct held_conf *held_conf_ref(struct held_conf *h);
void held_conf_unref(struct held_conf *h);

/* The rows of the whole file, for reading, schema and reference pages. */
extern const struct field gateway_fields[];
extern const size_t gateway_field_count;
extern const struct field upstream_fields[];
extern const size_t upstream_field_count;
extern const struct field profile_fields[];
extern const size_t profile_field_count;

/* One upstream's specification as JSON, secrets included (never logged), and back: for
 * copies that outlive their snapshot, and for the digest that tells a changed one. */
void upstream_conf_write(const struct upstream_conf *c, struct jw *w);
struct upstream_conf *upstream_conf_read(struct arena *a, struct str text);
void upstream_conf_digest(const struct upstream_conf *c, uint8_t out[32]);

/* Adds the servers of a desktop client's file: `mcpServers` (Claude, Cursor, …) or `servers`
 * (VS Code). Their keys are not ours, so unknown ones are warnings; names are made valid. */
void conf_desktop(struct gateway_conf *c, struct arena *a, struct field_problems *problems);
/* Adds the servers of `mcp.servers` as upstreams, and says which of them are not built. */
void conf_mcp(struct gateway_conf *c, json document, struct arena *a,
              struct field_problems *problems);

/* What a server's name there becomes here: "My server!" is "My-server". */
struct str conf_desktop_name(struct arena *a, struct str name);
/* The document is such a file and nothing else: its other keys are none of our business. */
bool conf_is_desktop(json document);

/* What rows cannot say: exactly one of command, url and builtin, names that are valid and
 * distinct, profiles that name upstreams that exist, TLS files in pairs, … One problem
 * per finding, with its path. Also resolves AUTO values. */
void conf_check(struct gateway_conf *g, json document, struct arena *a,
                struct field_problems *problems);
