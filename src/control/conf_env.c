/* conf_env.c - see conf_env.h. */
#include "control/conf_env.h"
#include "control/conf_path.h"
#include "gateway/conf.h"
#include <stdlib.h>
#include <unistd.h>

#define PREFIX S("GATESPAN_")

static struct str variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? str_of(value) : (struct str){ 0 };
}

/* ---- names of other systems ---------------------------------------------------------- */

static struct str minutes(struct str text, struct arena *a) {
    return arena_fmt(a, "%.*sm", STR(text));
}

static struct str days(struct str text, struct arena *a) {
    return arena_fmt(a, "%.*sd", STR(text));
}

/* Python's words for levels. */
static struct str level(struct str text, struct arena *a) {
    static const struct {
        const char *theirs, *ours;
    } words[] = {
        { "debug", "debug" }, { "info", "info" }, { "warn", "warn" }, { "warning", "warn" },
        { "error", "error" }, { "critical", "error" }, { "fatal", "error" }, { "notset", "debug" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_eq_nocase(text, str_of(words[i].theirs)))
            return str_of(words[i].ours);
    return text;
}

static struct str debug(struct str text, struct arena *a) {
    static const char *const yes[] = { "true", "yes", "on", "1" };
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
        if (str_eq_nocase(text, str_of(yes[i])))
            return S("debug");
    return (struct str){ 0 };
}

/* Their API version 1.0.0 stands for whatever the program speaks. */
static struct str newest(struct str text, struct arena *a) {
    return str_eq(text, S("1.0.0")) ? (struct str){ 0 } : text;
}

/* HOST alone, or PORT alone: the other half is in `pairs`. */
static struct str address(struct str text, struct arena *a) {
    return (struct str){ 0 };
}

#define SECRET_PATH "security.secret_key"

const struct conf_alias conf_aliases[] = {
    { "META_MCP_HOST", "listen", "Address of the gateway, with META_MCP_PORT.", address },
    { "META_MCP_PORT", "listen", "Port of the gateway, with META_MCP_HOST.", address },
    { "META_MCP_DEBUG", "log.level", "true: debug.", debug },
    { "META_MCP_LOGGING_LEVEL", "log.level", "DEBUG, INFO, WARNING, ERROR or CRITICAL.", level },
    { "META_MCP_METRICS_ENABLED", "metrics.enabled" },
    { "META_MCP_SECRET_KEY", SECRET_PATH, "One option with MCP_SECRET_KEY and JWT_SECRET_KEY: different values are refused." },
    { "MCP_SECRET_KEY", SECRET_PATH },
    { "JWT_SECRET_KEY", SECRET_PATH },
    { "META_MCP_ALGORITHM", "security.algorithm" },
    { "META_MCP_ACCESS_TOKEN_EXPIRE_MINUTES", "security.access_token_lifetime", "In minutes.", minutes },
    { "META_MCP_DATABASE_URL", "store.url" },
    { "META_MCP_REDIS_URL", "shared.url" },
    { "META_MCP_CACHE_TTL", "cache.ttl", "In seconds." },
    { "MCP_SERVER_HOST", "models.listen", "Address of the role models, with MCP_SERVER_PORT.", address },
    { "MCP_SERVER_PORT", "models.listen", "Port of the role models, with MCP_SERVER_HOST.", address },
    { "MCP_PROTOCOL_VERSION", "protocol.newest", "1.0.0: every revision; a date: the newest to offer.", newest },
    { "MCP_ENABLE_TENANT_ISOLATION", "security.tenant_isolation" },
    { "BACKEND_API_URL", "security.introspection.url" },
    { "BACKEND_API_KEY", "security.introspection.key" },
    { "MAX_CONCURRENT_REQUESTS", "limits.in_flight" },
    { "MAX_CONTEXT_LENGTH", "models.max_context" },
    { "MAX_RESPONSE_TOKENS", "models.max_answer" },
    { "ENABLE_REQUEST_LOGGING", "log.requests" },
    { "ANONYMIZE_LOGS", "log.anonymize" },
    { "DATA_RETENTION_DAYS", "history.retention", "In days.", days },
};
const size_t conf_alias_count = ARRAY_SIZE(conf_aliases);

/* Two variables for one address. */
static const struct {
    const char *host, *port, *path, *default_port;
} pairs[] = {
    { "META_MCP_HOST", "META_MCP_PORT", "listen", "8000" },
    { "MCP_SERVER_HOST", "MCP_SERVER_PORT", "models.listen", "8001" },
};

static void put_address(struct conf_tree *t, size_t i, struct arena *a) {
    struct str host = variable(pairs[i].host), port = variable(pairs[i].port);
    if (!host.p && !port.p)
        return;
    struct str source = !port.p ? str_of(pairs[i].host)
                        : !host.p ? str_of(pairs[i].port)
                                  : arena_fmt(a, "%s and %s", pairs[i].host, pairs[i].port);
    bool v6 = str_find_char(host, ':') >= 0 && !str_starts(host, S("["));
    struct str text = arena_fmt(a, v6 ? "[%.*s]:%.*s" : "%.*s:%.*s",
                                STR(host.p ? host : S("127.0.0.1")),
                                STR(port.p ? port : str_of(pairs[i].default_port)));
    conf_tree_put_text(t, CONF_ALIAS, source, str_of(pairs[i].path), text);
}

static void put_alias(struct conf_tree *t, const struct conf_alias *alias, struct arena *a) {
    struct str text = variable(alias->variable);
    if (!text.p)
        return;
    struct str path = str_of(alias->path), source = str_of(alias->variable);
    if (!conf_path_find(gateway_fields, gateway_field_count, NULL, path).row) {
        conf_tree_complain(t, conf_tree_mark(t, CONF_ALIAS, source), S(""),
                           S("is accepted, but the part that it sets is not built yet"), true);
        return;
    }
    if (alias->spell)
        text = alias->spell(str_trim(text), a);
    if (text.p)
        conf_tree_put_text(t, CONF_ALIAS, source, path, text);
}

/* One option under three names: which one counts must not depend on an order. */
static void check_secrets(struct conf_tree *t, struct arena *a) {
    const char *first = NULL;
    for (size_t i = 0; i < conf_alias_count; i++) {
        const char *name = conf_aliases[i].variable;
        if (strcmp(conf_aliases[i].path, SECRET_PATH) != 0 || !variable(name).p)
            continue;
        if (first && !str_eq(variable(first), variable(name)))
            conf_tree_complain(
                t, conf_tree_mark(t, CONF_ALIAS, str_of(name)), S(SECRET_PATH),
                arena_fmt(a, "differs from %s, and both are names of this one option: set one",
                          first),
                false);
        first = first ? first : name;
    }
}

/* ---- our own -------------------------------------------------------------------------- */

static bool is_known(struct str name, const struct conf_options *all,
                     const struct str_list *known) {
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->items[i].variable, name))
            return true;
    for (size_t i = 0; i < known->n; i++)
        if (str_eq(known->items[i], name))
            return true;
    return str_starts(name, S("GATESPAN_INPUT_"));
}

static void keep_closer(struct str name, struct str candidate, struct str *best, unsigned *limit) {
    unsigned d = str_distance(name, candidate, *limit);
    if (d >= *limit)
        return;
    *best = candidate;
    *limit = d;
}

static struct str closest(struct str name, const struct conf_options *all,
                          const struct str_list *known) {
    struct str best = { 0 };
    unsigned limit = 4;
    for (size_t i = 0; i < all->n; i++)
        keep_closer(name, all->items[i].variable, &best, &limit);
    for (size_t i = 0; i < known->n; i++)
        keep_closer(name, known->items[i], &best, &limit);
    return best;
}

static void warn_unknown(struct conf_tree *t, const struct conf_options *all,
                         const struct str_list *known, struct arena *a) {
    for (char **e = environ; e && *e; e++) {
        struct str rest = str_of(*e), name = str_cut(&rest, '=');
        if (!str_starts(name, PREFIX) || !rest.n || is_known(name, all, known))
            continue;
        struct str near = closest(name, all, known);
        struct str hint = near.p ? arena_fmt(a, "did you mean %.*s?", STR(near))
                                 : S("gatespan config explain --all lists the names");
        conf_tree_complain(t, conf_tree_mark(t, CONF_ENVIRONMENT, name), S(""),
                           arena_fmt(a, "no option has this name; %.*s", STR(hint)), true);
    }
}

void conf_env_put(struct conf_tree *t, const struct str_list *known, struct arena *a) {
    struct conf_options all = conf_options(gateway_fields, gateway_field_count, a);
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        put_address(t, i, a);
    for (size_t i = 0; i < conf_alias_count; i++)
        put_alias(t, &conf_aliases[i], a);
    check_secrets(t, a);
    /* rows come before those inside them, so GATESPAN_LIMITS_BODY wins over GATESPAN_LIMITS */
    for (size_t i = 0; i < all.n; i++) {
        struct str text = variable(all.items[i].variable.p);
        if (text.p)
            conf_tree_put_text(t, CONF_ENVIRONMENT, all.items[i].variable, all.items[i].path, text);
    }
    warn_unknown(t, &all, known, a);
}
