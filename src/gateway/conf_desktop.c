/* conf_desktop.c - the files that desktop clients keep their servers in (conf.h): the
 * `mcpServers` of Claude Desktop, Cursor, Windsurf and others, the `servers` of VS Code. */
#include "gateway/conf.h"
#include "mcp/names.h"

static void note(struct field_problems *p, struct str path, json at, struct str message,
                 bool warning) {
    if (!warning)
        p->errors++;
    if (p->n < ARRAY_SIZE(p->items))
        p->items[p->n++] = (struct field_problem){
            .path = path, .message = message, .at = at, .warning = warning
        };
}

bool conf_is_desktop(json document) {
    if (!json_get(document, S("mcpServers")) && !json_get(document, S("servers")))
        return false;
    for (struct json_iter it = json_iter(document); json_next(&it);) {
        const struct field *row = field_find(gateway_fields, gateway_field_count, it.key);
        if (row && !(row->flags & FIELD_HIDDEN))
            return false;
    }
    return true;
}

/* "My server!" becomes "My-server"; what has nothing usable stays and is refused later. */
struct str conf_desktop_name(struct arena *a, struct str name) {
    char *out = arena_text(a, name);
    size_t n = 0;
    for (size_t i = 0; i < name.n && n < 32; i++) {
        char ch = name.p[i];
        bool good = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                    (ch >= '0' && ch <= '9') || ch == '-';
        if (!good && ch != '_')
            ch = '-';
        if ((ch == '_' || ch == '-') && (n == 0 || out[n - 1] == ch))
            continue;
        out[n++] = ch;
    }
    while (n && (out[n - 1] == '_' || out[n - 1] == '-'))
        n--;
    return n ? str_from(out, n) : name;
}

static struct str_list strings(struct arena *a, json array) {
    struct str_list list = { .items = ARENA_ARRAY(a, struct str, json_count(array) + 1) };
    for (struct json_iter it = json_iter(array); json_next(&it);)
        list.items[list.n++] = json_text(it.value);
    return list;
}

static struct pair_list pairs(struct arena *a, json object) {
    struct pair_list list = { .items = ARENA_ARRAY(a, struct pair, json_count(object) + 1) };
    for (struct json_iter it = json_iter(object); json_next(&it);)
        list.items[list.n++] = (struct pair){ it.key, json_text(it.value) };
    return list;
}

struct reading {
    struct upstream_conf *to;
    struct arena *arena;
    struct field_problems *problems;
    struct str path;
};

typedef void take_fn(struct reading *r, json value);

static void take_command(struct reading *r, json v) {
    r->to->command = json_text(v);
}
static void take_args(struct reading *r, json v) {
    r->to->args = strings(r->arena, v);
}
static void take_env(struct reading *r, json v) {
    r->to->env = pairs(r->arena, v);
}
static void take_cwd(struct reading *r, json v) {
    r->to->cwd = json_text(v);
}
static void take_url(struct reading *r, json v) {
    r->to->url = json_text(v);
}
static void take_headers(struct reading *r, json v) {
    r->to->headers = pairs(r->arena, v);
}

static void take_disabled(struct reading *r, json v) {
    bool off = false;
    if (json_is_bool(v, &off))
        r->to->enabled = !off;
}

static void take_type(struct reading *r, json v) {
    struct str type = json_text(v);
    bool known = str_eq(type, S("stdio")) || str_eq(type, S("http")) ||
                 str_eq(type, S("streamable-http")) || str_eq(type, S("streamableHttp"));
    if (!known)
        note(r->problems, r->path, v,
             S("this transport is not spoken; it is tried as Streamable HTTP"), true);
}

static void take_nothing(struct reading *r, json v) {
}

/* Keys of all dialects in one table; the last ones steer the client alone. */
static const struct {
    const char *key;
    take_fn *take;
} keys[] = {
    { "command", take_command },
    { "args", take_args },
    { "env", take_env },
    { "cwd", take_cwd },
    { "url", take_url },
    { "serverUrl", take_url },
    { "httpUrl", take_url },
    { "headers", take_headers },
    { "type", take_type },
    { "transport", take_type },
    { "disabled", take_disabled },
    { "autoApprove", take_nothing },
    { "alwaysAllow", take_nothing },
    { "gallery", take_nothing },
    { "description", take_nothing },
};

static void read_member(struct reading *r, struct str key, json value) {
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (str_eq(str_of(keys[i].key), key)) {
            keys[i].take(r, value);
            return;
        }
    note(r->problems, arena_fmt(r->arena, "%.*s.%.*s", STR(r->path), STR(key)), value,
         S("this key of the client's file means nothing to a gateway"), true);
}

static void add_all(struct gateway_conf *c, json servers, const char *section, struct arena *a,
                    struct field_problems *problems) {
    size_t before = c->upstreams.n;
    struct upstream_conf *all = ARENA_ARRAY(a, struct upstream_conf,
                                            before + json_count(servers) + 1);
    if (before)
        memcpy(all, c->upstreams.items, before * sizeof *all);
    size_t n = before;
    for (struct json_iter it = json_iter(servers); json_next(&it); n++) {
        struct str name = conf_desktop_name(a, it.key);
        struct reading r = { &all[n], a, problems, arena_fmt(a, "%s.%.*s", section, STR(it.key)) };
        field_defaults(upstream_fields, upstream_field_count, &all[n], a);
        all[n].name = name;
        for (struct json_iter m = json_iter(it.value); json_next(&m);)
            read_member(&r, m.key, m.value);
        for (size_t k = 0; k < n; k++)
            if (str_eq(all[k].name, name))
                note(problems, r.path, it.value,
                     arena_fmt(a, "a second server is called \"%.*s\"", STR(name)), false);
    }
    c->upstreams = (struct item_list){ .items = all, .n = n };
}

void conf_desktop(struct gateway_conf *c, struct arena *a, struct field_problems *problems) {
    add_all(c, c->mcp_servers, "mcpServers", a, problems);
    add_all(c, c->servers, "servers", a, problems);
}
