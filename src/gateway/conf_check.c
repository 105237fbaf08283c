/* conf_check.c - what rows cannot say about a configuration (conf.h). Like those of rows,
 * messages never quote a value: it may be an expanded secret. */
#include "gateway/api_ops.h"
#include "gateway/conf.h"
#include "mcp/names.h"
#include "net/http1.h"
#include "net/http_url.h"
#include "net/listener.h"
#include "servers/server.h"

struct check {
    struct gateway_conf *conf;
    json document;
    struct arena *arena;
    struct field_problems *problems;
};

static void complain(struct check *c, struct str path, json at, struct str message) {
    struct field_problems *p = c->problems;
    p->errors++;
    if (p->n < ARRAY_SIZE(p->items))
        p->items[p->n++] = (struct field_problem){ .path = path, .message = message, .at = at };
}

static json find(struct check *c, const char *section, struct str name) {
    return json_get(json_get(c->document, str_of(section)), name);
}

/* ---- upstreams --------------------------------------------------------------------- */

static const char *names_a_kind(const struct upstream_conf *u) {
    int n = (u->command.n > 0) + (u->url.n > 0) + (u->builtin.n > 0) + (u->api.url.n > 0);
    if (n == 0)
        return "needs one of command (a program), url (a server's address), builtin or api";
    return n > 1 ? "has more than one of command, url, builtin and api; keep one" : NULL;
}

static int kind_of(const struct upstream_conf *u) {
    return u->command.n   ? UPSTREAM_STDIO
           : u->url.n     ? UPSTREAM_HTTP
           : u->api.url.n ? UPSTREAM_API
                          : UPSTREAM_BUILTIN;
}

static struct str known_builtins(struct arena *a) {
    struct str list = S("");
    for (size_t i = 0; i < builtin_count; i++)
        list = arena_fmt(a, "%.*s%s%s", STR(list), list.n ? ", " : "", builtin_servers[i]->name);
    return list;
}

/* What the gateway writes itself, or what would change how the message is framed. */
static const char *const own_headers[] = {
    "host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
    "trailer", "expect", "accept", "user-agent", "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name",
};

static const char *wrong_header(struct str name, struct str value) {
    if (!http_is_token(name))
        return "is no header name";
    for (size_t i = 0; i < value.n; i++)
        if (((unsigned char)value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 127)
            return "has a line break or another control byte in its value";
    for (size_t i = 0; i < ARRAY_SIZE(own_headers); i++)
        if (str_eq_nocase(name, str_of(own_headers[i])))
            return "is written by the gateway itself";
    return NULL;
}

static void check_headers(struct check *c, const struct upstream_conf *u, struct str path,
                          json at) {
    for (size_t i = 0; i < u->headers.n; i++) {
        struct str name = u->headers.items[i].name;
        const char *wrong = wrong_header(name, u->headers.items[i].value);
        if (wrong)
            complain(c, arena_fmt(c->arena, "%.*s.headers.%.*s", STR(path), STR(name)),
                     json_get(json_get(at, S("headers")), name), str_of(wrong));
    }
}

/* Options of `mcp.servers` are a copy (conf_mcp.c): problems go to where they stand. */
static void place_problems(struct check *c, const struct upstream_conf *u, struct str at,
                           size_t from) {
    json entry = json_get(find(c, "mcp", S("servers")), u->name);
    if (!entry || find(c, "upstreams", u->name))
        return;
    for (size_t i = from; i < c->problems->n; i++) {
        struct field_problem *p = &c->problems->items[i];
        struct str rest = str_skip(p->path, at.n), member = str_skip(rest, 1);
        for (size_t n = 0; n < member.n; n++)
            if (strchr(".[", member.p[n]))
                member = str_head(member, n);
        json value = json_get(entry, member);
        p->path = arena_fmt(c->arena, "mcp.servers.%.*s%.*s", STR(u->name), STR(rest));
        p->at = value ? value : entry;
    }
}

/* By the rows of the built-in server itself, so that they are refused before it opens. */
static void check_options(struct check *c, const struct upstream_conf *u, struct str path) {
    const struct server_ops *ops = u->builtin.n ? builtin_find(u->builtin) : NULL;
    if (!ops || !u->options)
        return;
    void *conf = arena_zero(c->arena, ops->options_size ? ops->options_size : 1);
    struct str at = arena_fmt(c->arena, "%.*s.options", STR(path));
    size_t before = c->problems->errors, first = c->problems->n;
    field_defaults(ops->options, ops->option_count, conf, c->arena);
    field_read(ops->options, ops->option_count, u->options, at, conf, c->arena, c->problems);
    bool readable = c->problems->errors == before;
    err_t e = readable && ops->check ? ops->check(conf) : OK;
    if (e)
        complain(c, at, u->options, arena_fmt(c->arena, "%s", e->text));
    place_problems(c, u, at, first);
}

static void check_api(struct check *c, const struct upstream_conf *u, struct str path, json at) {
    struct api api;
    if (u->type != UPSTREAM_API)
        return;
    err_t e = api_compile(c->arena, &u->api, &api);
    if (e)
        complain(c, arena_fmt(c->arena, "%.*s.api", STR(path)), json_get(at, S("api")),
                 arena_fmt(c->arena, "%s", e->text));
    else
        api_done(&api);
}

static void check_upstream(struct check *c, struct upstream_conf *u) {
    struct str path = arena_fmt(c->arena, "upstreams.%.*s", STR(u->name));
    json at = find(c, "upstreams", u->name);
    if (!name_valid_upstream(u->name))
        complain(c, path, at,
                 S("a name is 1 to 32 of A-Z a-z 0-9 _ -, without __ and without _ at an end"));
    const char *wrong = names_a_kind(u);
    if (wrong) {
        complain(c, path, at, str_of(wrong));
        return;
    }
    if (u->type != UPSTREAM_AUTO && u->type != kind_of(u))
        complain(c, path, at,
                 S("type does not fit: stdio goes with command, http with url, builtin with "
                   "builtin, api with api"));
    u->type = kind_of(u);
    if (u->share == SHARE_AUTO)
        u->share = u->type == UPSTREAM_HTTP ? SHARE_PRINCIPAL : SHARE_TENANT;
    struct http_url url;
    err_t e = u->url.n ? http_url_parse(u->url, &url) : OK;
    if (e)
        complain(c, arena_fmt(c->arena, "%.*s.url", STR(path)), json_get(at, S("url")),
                 arena_fmt(c->arena, "%s", e->text));
    if (u->builtin.n && !builtin_find(u->builtin))
        complain(c, path, at,
                 arena_fmt(c->arena, "there is no such built-in server; there are: %.*s",
                           STR(known_builtins(c->arena))));
    check_options(c, u, path);
    check_headers(c, u, path, at);
    check_api(c, u, path, at);
    if (!u->tls.cert_file.n != !u->tls.key_file.n)
        complain(c, path, at, S("tls: cert_file and key_file go together"));
}

/* Built-in servers that are on without an entry of their own. */
static void add_builtins(struct check *c) {
    struct gateway_conf *g = c->conf;
    struct upstream_conf *all = ARENA_ARRAY(c->arena, struct upstream_conf,
                                            g->builtins.n + g->upstreams.n);
    size_t n = 0;
    for (size_t i = 0; i < g->builtins.n; i++) {
        struct str name = g->builtins.items[i];
        bool taken = false;
        for (size_t k = 0; k < g->upstreams.n; k++)
            taken |= str_eq(((struct upstream_conf *)g->upstreams.items)[k].name, name);
        if (taken)
            continue;
        field_defaults(upstream_fields, upstream_field_count, &all[n], c->arena);
        all[n].name = all[n].builtin = name;
        all[n++].source = S("built in");
    }
    if (g->upstreams.n)
        memcpy(all + n, g->upstreams.items, g->upstreams.n * sizeof *all);
    g->upstreams = (struct item_list){ .items = all, .n = n + g->upstreams.n };
}

/* ---- the rest ---------------------------------------------------------------------- */

static bool has_upstream(const struct gateway_conf *g, struct str name) {
    for (size_t i = 0; i < g->upstreams.n; i++)
        if (str_eq(((struct upstream_conf *)g->upstreams.items)[i].name, name))
            return true;
    return false;
}

static void complain_item(struct check *c, struct str path, json at, const char *list, size_t i,
                          const char *message) {
    complain(c, arena_fmt(c->arena, "%.*s.%s[%zu]", STR(path), list, i),
             json_at(json_get(at, str_of(list)), i), str_of(message));
}

/* New names reach clients as they are, so they must be what any client takes (P-601). */
static void check_renames(struct check *c, const struct profile_conf *p, struct str path, json at) {
    for (size_t i = 0; i < p->rename.n; i++) {
        struct str old = p->rename.items[i].name, now = p->rename.items[i].value;
        const char *wrong = now.n && str_eq(name_show(c->arena, S(""), now), now)
                                ? NULL
                                : "a new name is 1 to 64 of A-Z a-z 0-9 _ . -";
        for (size_t k = 0; k < i; k++)
            if (str_eq(p->rename.items[k].value, now))
                wrong = "two names become the same";
        if (wrong)
            complain(c, arena_fmt(c->arena, "%.*s.rename.%.*s", STR(path), STR(old)),
                     json_get(json_get(at, S("rename")), old), str_of(wrong));
    }
}

static void check_profile(struct check *c, const struct profile_conf *p) {
    struct str path = arena_fmt(c->arena, "profiles.%.*s", STR(p->name));
    json at = find(c, "profiles", p->name);
    if (!name_valid_upstream(p->name) || str_eq(p->name, S("v1")))
        complain(c, path, at, S("a profile's name is 1 to 32 of A-Z a-z 0-9 _ -, and not v1"));
    for (size_t i = 0; i < p->upstreams.n; i++)
        if (!has_upstream(c->conf, p->upstreams.items[i]))
            complain_item(c, path, at, "upstreams", i, "there is no such upstream");
    check_renames(c, p, path, at);
}

static bool has_profile(const struct gateway_conf *g, struct str name) {
    for (size_t i = 0; i < g->profiles.n; i++)
        if (str_eq(((struct profile_conf *)g->profiles.items)[i].name, name))
            return true;
    return name.n == 0;
}

static void check_key(struct check *c, const struct key_conf *k) {
    for (size_t i = 0; i < k->profiles.n; i++)
        if (!has_profile(c->conf, k->profiles.items[i]))
            complain_item(c, arena_fmt(c->arena, "keys.%.*s", STR(k->name)),
                          find(c, "keys", k->name), "profiles", i, "there is no such profile");
}

static void check_listen(struct check *c) {
    struct listen_addr addr;
    for (size_t i = 0; i < c->conf->listen.n; i++) {
        err_t e = listen_parse(c->conf->listen.items[i], &addr);
        if (e)
            complain(c, S("listen"), json_get(c->document, S("listen")),
                     arena_fmt(c->arena, "%s", e->text));
    }
    if (c->conf->listen.n == 0 || c->conf->listen.n > 8)
        complain(c, S("listen"), json_get(c->document, S("listen")), S("one to eight addresses"));
    if (!c->conf->tls.cert_file.n != !c->conf->tls.key_file.n)
        complain(c, S("tls"), json_get(c->document, S("tls")),
                 S("cert_file and key_file go together"));
}

/* ---- the secret ---------------------------------------------------------------------- */

/* What example files have; compared without case and separators. */
static const char *const placeholders[] = {
    "changeme", "changethis", "changemeinproduction", "changethisinproduction", "yoursecretkey",
    "yoursecretkeyhere", "yoursecret", "yoursupersecretkey", "yourjwtsecret", "yourjwtsecretkey",
    "yourkeyhere", "secret", "secretkey", "supersecret", "supersecretkey", "mysecret",
    "mysecretkey", "jwtsecret", "jwtsecretkey", "password", "default", "test", "testsecret",
    "testsecretkey", "dev", "devsecret", "devsecretkey", "developmentsecretkey", "example", "replaceme", "placeholder", "todo", "xxx", "insecure",
};

static bool is_placeholder(struct str secret) {
    char bare[64];
    size_t n = 0;
    for (size_t i = 0; i < secret.n; i++) {
        char ch = secret.p[i];
        if (strchr("-_ .<>{}[]!*", ch))
            continue;
        if (n == sizeof bare)
            return false;
        bare[n++] = ch >= 'A' && ch <= 'Z' ? (char)(ch | 0x20) : ch;
    }
    for (size_t i = 0; i < ARRAY_SIZE(placeholders); i++)
        if (str_eq(str_from(bare, n), str_of(placeholders[i])))
            return true;
    return false;
}

static bool later_notice(const struct field_problem *p) {
    return p->warning && str_starts(p->message, S("is accepted"));
}

/* What did not expand has its problem, and would only get a second one. */
static bool is_told(const struct check *c, struct str path) {
    for (size_t i = 0; i < c->problems->n; i++)
        if (str_eq(c->problems->items[i].path, path) && !later_notice(&c->problems->items[i]))
            return true;
    return false;
}

static void check_secret(struct check *c) {
    struct str secret = c->conf->security.secret_key;
    json ours = find(c, "security", S("secret_key"));
    json theirs = json_get(json_get(find(c, "mcp", S("security")), S("authentication")),
                           S("secret_key"));
    struct str path = ours ? S("security.secret_key") : S("mcp.security.authentication.secret_key");
    if (!secret.n || is_told(c, path))
        return;
    if (is_placeholder(secret))
        complain(c, path, ours ? ours : theirs,
                 S("is a well-known placeholder, which anybody can guess; make one: openssl rand "
                   "-hex 32"));
    else if (secret.n < 16)
        complain(c, path, ours ? ours : theirs,
                 S("is too short to be a secret: 16 characters at least; make one: openssl rand "
                   "-hex 32"));
}

static void check_otlp(struct check *c) {
    const char *option = NULL;
    err_t e = otlp_check(&c->conf->otlp, c->arena, &option);
    if (e)
        complain(c, arena_fmt(c->arena, "otlp.%s", option), find(c, "otlp", str_of(option)),
                 arena_dup(c->arena, str_of(e->text)));
}

/* Such bodies would be refused with 503 for ever, as if there were hope. */
static void check_limits(struct check *c) {
    if (c->conf->limits.body > c->conf->limits.buffers)
        complain(c, S("limits.body"), find(c, "limits", S("body")),
                 S("is more than limits.buffers, so that the largest bodies would never be taken; "
                   "raise limits.buffers or lower limits.body"));
}

static void check_protocol(struct check *c) {
    if (c->conf->protocol.oldest > c->conf->protocol.newest)
        complain(c, S("protocol.oldest"), find(c, "protocol", S("oldest")),
                 S("is after protocol.newest, so that nothing would be served"));
}

void conf_check(struct gateway_conf *g, json document, struct arena *a,
                struct field_problems *problems) {
    struct check c = { g, document, a, problems };
    add_builtins(&c);
    struct upstream_conf *upstreams = g->upstreams.items;
    for (size_t i = 0; i < g->upstreams.n; i++)
        check_upstream(&c, &upstreams[i]);
    for (size_t i = 0; i < g->profiles.n; i++)
        check_profile(&c, &((struct profile_conf *)g->profiles.items)[i]);
    for (size_t i = 0; i < g->keys.n; i++)
        check_key(&c, &((struct key_conf *)g->keys.items)[i]);
    check_otlp(&c);
    check_listen(&c);
    check_limits(&c);
    check_protocol(&c);
    check_secret(&c);
}
