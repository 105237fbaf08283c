/* conf_mcp.c - `mcp: servers:` of other gateways as upstreams (conf.h). Their servers are our
 * built-in ones, so an entry only says which are on and with what options. */
#include "base/mem.h"
#include "gateway/conf.h"
#include "servers/planned.h"
#include "servers/server.h"

struct reading {
    struct gateway_conf *conf;
    json section; /* mcp.servers */
    struct arena *arena;
    struct field_problems *problems;
};

static void note(struct reading *r, struct str path, json at, struct str message, bool warning) {
    struct field_problems *p = r->problems;
    p->errors += !warning;
    if (p->n < ARRAY_SIZE(p->items))
        p->items[p->n++] = (struct field_problem){
            .path = path, .message = message, .at = at, .parent = r->section, .warning = warning
        };
}

static struct str path_of(struct reading *r, const struct mcp_server_conf *s, const char *member) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, S("mcp.servers"));
    field_path_name(&b, s->name);
    if (member)
        field_path_name(&b, str_of(member));
    return arena_dup(r->arena, buf_view(&b));
}

/* The members that are options of the server, as its own rows want them. */
static json options_of(struct reading *r, const struct mcp_server_conf *s,
                       const struct server_ops *ops, json entry) {
    static const char *const members[] = { "root_path", "allowed_operations", "connections",
                                           "backends" };
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    json options = NULL;
    size_t n = 0;
    jw_object(&w);
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json value = json_get(entry, str_of(members[i]));
        if (json_type(value) == JSON_ABSENT || json_type(value) == JSON_NULL)
            continue;
        if (!field_find(ops->options, ops->option_count, str_of(members[i]))) {
            note(r, path_of(r, s, members[i]), value, S("is no option of this server"), true);
            continue;
        }
        jw_put_value(&w, members[i], value);
        n++;
    }
    jw_object_end(&w);
    err_t e = json_parse(r->arena, buf_view(&text), (struct json_limits){ 0 }, &options);
    return e || !n ? NULL : options;
}

static bool is_taken(const struct gateway_conf *c, struct str name) {
    const struct upstream_conf *u = c->upstreams.items;
    for (size_t i = 0; i < c->upstreams.n; i++)
        if (str_eq(u[i].name, name))
            return true;
    return false;
}

static void add(struct reading *r, const struct mcp_server_conf *s, const struct server_ops *ops) {
    struct gateway_conf *c = r->conf;
    json entry = json_get(r->section, s->name);
    struct upstream_conf *all = ARENA_ARRAY(r->arena, struct upstream_conf, c->upstreams.n + 1);
    if (c->upstreams.n)
        memcpy(all, c->upstreams.items, c->upstreams.n * sizeof *all);
    struct upstream_conf *u = &all[c->upstreams.n];
    field_defaults(upstream_fields, upstream_field_count, u, r->arena);
    u->name = u->builtin = s->name;
    u->enabled = s->enabled;
    u->options = options_of(r, s, ops, entry);
    c->upstreams = (struct item_list){ .items = all, .n = c->upstreams.n + 1 };
}

static void take(struct reading *r, const struct mcp_server_conf *s) {
    json at = json_get(r->section, s->name);
    const struct server_ops *ops = builtin_find(s->name);
    if (!planned_port(s->name))
        note(r, path_of(r, s, NULL), at,
             arena_fmt(r->arena, "there is no such built-in server; there are: %.*s",
                       STR(planned_names(r->arena))),
             false);
    else if (is_taken(r->conf, s->name))
        note(r, path_of(r, s, NULL), at, S("is an upstream too: keep one of them"), false);
    else if (ops)
        add(r, s, ops);
    else if (s->enabled)
        note(r, path_of(r, s, NULL), at,
             S("is accepted, but this built-in server is not built yet"), true);
}

/* The two names of one secret. */
static void check_secret(struct reading *r, json document) {
    struct str ours = r->conf->security.secret_key;
    struct str theirs = r->conf->mcp.security.authentication.secret_key;
    json security = json_get(json_get(document, S("mcp")), S("security"));
    if (ours.n && theirs.n && !str_eq(ours, theirs))
        note(r, S("mcp.security.authentication.secret_key"),
             json_get(json_get(security, S("authentication")), S("secret_key")),
             S("differs from security.secret_key, which is the same option: set one"), false);
    if (!ours.n)
        r->conf->security.secret_key = theirs;
}

/* What the store keeps is sealed with AES-256-GCM whatever is said here. */
static void check_encryption(struct reading *r, json document) {
    json security = json_get(json_get(document, S("mcp")), S("security"));
    if (!r->conf->mcp.security.encryption.enabled)
        note(r, S("mcp.security.encryption.enabled"),
             json_get(json_get(security, S("encryption")), S("enabled")),
             S("cannot be switched off: secrets at rest are sealed always"), true);
}

void conf_mcp(struct gateway_conf *c, json document, struct arena *a,
              struct field_problems *problems) {
    json section = json_get(json_get(document, S("mcp")), S("servers"));
    struct reading r = { c, section, a, problems };
    const struct mcp_server_conf *all = c->mcp.servers.items;
    for (size_t i = 0; i < c->mcp.servers.n; i++)
        take(&r, &all[i]);
    check_secret(&r, document);
    check_encryption(&r, document);
}
