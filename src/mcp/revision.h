/* revision.h - the dated revisions of MCP as data.
 *
 * One row per method and one table per revision (rev_*.c): what exists in which revision
 * is looked up, never written as a condition somewhere else. A new revision is a new
 * file and a new bit; older ones stay untouched. Names as in PROTOCOL.md §0.
 *
 * Threads  constant data
 */
#pragma once
#include "base/str.h"

enum revision { R24, R03, R06, R11, R26, REVISIONS, REV_NONE = -1 };
enum era { ERA_LEGACY, ERA_MODERN };

static inline enum era revision_era(enum revision r) {
    return r >= R26 ? ERA_MODERN : ERA_LEGACY;
}
/* "2025-06-18"; and back, REV_NONE for anything else. */
struct str revision_text(enum revision r);
enum revision revision_parse(struct str text);
#define LATEST_LEGACY R11
#define LATEST_MODERN R26

#define BIT(r) (1u << (r))
#define LEGACY_REVS (BIT(R24) | BIT(R03) | BIT(R06) | BIT(R11))
#define ALL_REVS (LEGACY_REVS | BIT(R26))

/* What a method is about: the capability that must be there for it (P-180, P-625). */
enum feature {
    FEATURE_NONE,
    FEATURE_TOOLS,
    FEATURE_PROMPTS,
    FEATURE_RESOURCES,
    FEATURE_COMPLETIONS,
    FEATURE_LOGGING,
    FEATURE_TASKS
};

#define METHODS(X)                                                                                     \
    /* id             wire name                    revisions    feature      note */                     \
    X(INITIALIZE, "initialize", LEGACY_REVS, NONE)                                                       \
    X(PING, "ping", LEGACY_REVS, NONE)                                                                   \
    X(DISCOVER, "server/discover", BIT(R26), NONE)                                                       \
    X(TOOLS_LIST, "tools/list", ALL_REVS, TOOLS)                                                         \
    X(TOOLS_CALL, "tools/call", ALL_REVS, TOOLS)                                                         \
    X(PROMPTS_LIST, "prompts/list", ALL_REVS, PROMPTS)                                                   \
    X(PROMPTS_GET, "prompts/get", ALL_REVS, PROMPTS)                                                     \
    X(RESOURCES_LIST, "resources/list", ALL_REVS, RESOURCES)                                             \
    X(TEMPLATES_LIST, "resources/templates/list", ALL_REVS, RESOURCES)                                   \
    X(RESOURCES_READ, "resources/read", ALL_REVS, RESOURCES)                                             \
    X(RESOURCES_SUBSCRIBE, "resources/subscribe", LEGACY_REVS, RESOURCES)                                \
    X(RESOURCES_UNSUBSCRIBE, "resources/unsubscribe", LEGACY_REVS, RESOURCES)                            \
    X(COMPLETE, "completion/complete", ALL_REVS, COMPLETIONS)                                            \
    X(SET_LEVEL, "logging/setLevel", LEGACY_REVS, LOGGING)                                               \
    X(LISTEN, "subscriptions/listen", BIT(R26), NONE)                                                    \
    /* notifications */                                                                                  \
    X(N_INITIALIZED, "notifications/initialized", LEGACY_REVS, NONE)                                     \
    X(N_CANCELLED, "notifications/cancelled", ALL_REVS, NONE)                                            \
    X(N_PROGRESS, "notifications/progress", ALL_REVS, NONE)                                              \
    X(N_MESSAGE, "notifications/message", ALL_REVS, NONE)                                                \
    X(N_TOOLS_CHANGED, "notifications/tools/list_changed", ALL_REVS, NONE)                               \
    X(N_PROMPTS_CHANGED, "notifications/prompts/list_changed", ALL_REVS, NONE)                           \
    X(N_RESOURCES_CHANGED, "notifications/resources/list_changed", ALL_REVS, NONE)                       \
    X(N_RESOURCE_UPDATED, "notifications/resources/updated", ALL_REVS, NONE)                             \
    X(N_ROOTS_CHANGED, "notifications/roots/list_changed", LEGACY_REVS, NONE)                            \
    X(N_ACKNOWLEDGED, "notifications/subscriptions/acknowledged", BIT(R26), NONE)                        \
    /* questions of servers */                                                                           \
    X(ROOTS_LIST, "roots/list", ALL_REVS, NONE)                                                          \
    X(SAMPLING, "sampling/createMessage", ALL_REVS, NONE)                                                \
    X(ELICITATION, "elicitation/create", BIT(R06) | BIT(R11) | BIT(R26), NONE)                           \
    /* tasks: core of R11, an extension of R26 */                                                        \
    X(TASKS_GET, "tasks/get", BIT(R11) | BIT(R26), TASKS)                                                \
    X(TASKS_RESULT, "tasks/result", BIT(R11), TASKS)                                                     \
    X(TASKS_LIST, "tasks/list", BIT(R11), TASKS)                                                         \
    X(TASKS_CANCEL, "tasks/cancel", BIT(R11) | BIT(R26), TASKS)                                          \
    X(TASKS_UPDATE, "tasks/update", BIT(R26), TASKS)                                                     \
    X(N_TASK_STATUS, "notifications/tasks/status", BIT(R11), NONE)                                       \
    X(N_TASK, "notifications/tasks", BIT(R26), NONE)

enum method {
    METHOD_UNKNOWN,
#define X(id, name, revs, feature) METHOD_##id,
    METHODS(X)
#undef X
    METHOD_COUNT
};

enum method method_parse(struct str name);
struct str method_name(enum method m);
bool method_exists(enum method m, enum revision r);
enum feature method_feature(enum method m);

/* The extension's name in capabilities (P-293). */
#define TASKS_EXTENSION "io.modelcontextprotocol/tasks"

/* Logging levels (P-230), lowest first; -1 for anything else. */
enum { LOG_LEVELS = 8 };
int log_level_parse(struct str name);
struct str log_level_name(int level); /* of a valid one */

/* JSON-RPC error codes by name (PROTOCOL §2). */
enum rpc_code {
    RPC_PARSE = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_METHOD_NOT_FOUND = -32601,
    RPC_INVALID_PARAMS = -32602,
    RPC_INTERNAL = -32603,
    RPC_RESOURCE_NOT_FOUND = -32002,      /* legacy only (P-211) */
    RPC_URL_ELICITATION = -32042,         /* R11 only */
    RPC_HEADER_MISMATCH = -32020,         /* R26 */
    RPC_MISSING_CAPABILITY = -32021,      /* R26 */
    RPC_UNSUPPORTED_VERSION = -32022,     /* R26 */
};
