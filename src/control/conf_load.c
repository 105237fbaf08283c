/* conf_load.c - see conf_load.h. */
#include "control/conf_load.h"
#include "base/mem.h"
#include "control/conf_env.h"
#include "control/conf_path.h"
#include "servers/planned.h"
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

/* ---- ${input:…} (DESIGN decision 14) ----------------------------------------------- */

static json described(json root, struct str id) {
    for (struct json_iter it = json_iter(json_get(root, S("inputs"))); json_next(&it);)
        if (str_eq(json_get_text(it.value, S("id")), id))
            return it.value;
    return NULL;
}

static void variable_name(struct str id, char out[128]) {
    size_t n = (size_t)snprintf(out, 128, "GATESPAN_INPUT_");
    for (size_t i = 0; i < id.n && n < 127; i++) {
        char c = id.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        out[n++] = letter ? (char)(c & ~32) : (c >= '0' && c <= '9') ? c : '_';
    }
    out[n] = '\0';
}

static bool read_line(bool hidden, char *out, size_t size) {
    struct termios before, quiet;
    bool changed = hidden && tcgetattr(STDIN_FILENO, &before) == 0;
    if (changed) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    bool ok = fgets(out, (int)size, stdin) != NULL;
    if (changed) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    out[strcspn(out, "\r\n")] = '\0';
    return ok;
}

static err_t ask_input(void *arg, json root, struct str id, struct arena *a, struct str *out) {
    char name[128], answer[1024];
    variable_name(id, name);
    const char *given = getenv(name);
    if (given) {
        *out = arena_dup(a, str_of(given));
        return OK;
    }
    json input = described(root, id);
    struct str fallback = json_get_text(input, S("default"));
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) {
        bool hidden = false;
        json_is_bool(json_get(input, S("password")), &hidden);
        fprintf(stderr, "%.*s (%.*s): ", STR(json_get_text(input, S("description"))), STR(id));
        if (read_line(hidden, answer, sizeof answer) && answer[0]) {
            *out = arena_dup(a, str_of(answer));
            return OK;
        }
    }
    if (fallback.n) {
        *out = fallback;
        return OK;
    }
    return ERR(INVALID, "input \"%.*s\" is needed: set %s", STR(id), name);
}

/* ---- layers ------------------------------------------------------------------------ */

static void put_list(struct conf_tree *t, struct str source, struct str path,
                     const struct str_list *list, struct arena *a) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    jw_array(&w);
    for (size_t i = 0; i < list->n; i++)
        jw_string(&w, list->items[i]);
    jw_array_end(&w);
    conf_tree_put_text(t, CONF_COMMAND, source, path, buf_view(&text));
}

static void put_set(struct conf_tree *t, struct str setting, struct arena *a) {
    struct str value = setting, path = str_trim(str_cut(&value, '='));
    struct str source = arena_fmt(a, "--set %.*s", STR(str_head(path, 100)));
    if (value.p)
        conf_tree_put_text(t, CONF_COMMAND, source, path, value);
    else
        conf_tree_complain(t, conf_tree_mark(t, CONF_COMMAND, source), S(""),
                           S("has no value: write --set PATH=VALUE"), false);
}

static void put_command(struct conf_tree *t, const struct conf_overrides *o, struct arena *a) {
    for (size_t i = 0; i < o->set.n; i++)
        put_set(t, o->set.items[i], a);
    if (o->listen.n)
        put_list(t, S("--listen"), S("listen"), &o->listen, a);
    if (o->workers.n)
        conf_tree_put_text(t, CONF_COMMAND, S("--workers"), S("workers"), o->workers);
}

/* What did not expand in a part that is not built is no reason not to start. */
static bool is_later(struct str path) {
    struct conf_spot spot = { 0 };
    for (size_t n = 1; n <= path.n; n++) {
        if (n < path.n && path.p[n] != '.')
            continue;
        spot = conf_path_find(gateway_fields, gateway_field_count, NULL, str_head(path, n));
        if (spot.row && (spot.row->flags & FIELD_LATER))
            return true;
    }
    return false;
}

static void take_file_problems(struct conf_tree *t, struct conf_file *file) {
    struct field_problems *from = conf_file_problems(file), *to = conf_tree_problems(t);
    to->errors += from->errors;
    for (size_t i = 0; i < from->n && to->n < ARRAY_SIZE(to->items); i++) {
        struct field_problem *p = &to->items[to->n++];
        *p = from->items[i];
        p->parent = NULL;
        if (p->warning || !is_later(p->path))
            continue;
        p->warning = true;
        to->errors--;
    }
}

/* ---- one role ---------------------------------------------------------------------- */

/* Loopback, on the port that `mcp.servers` gives the server, else on its usual one. */
static struct str role_address(const struct gateway_conf *c, struct str name, struct arena *a) {
    const struct mcp_server_conf *all = c->mcp.servers.items;
    unsigned port = planned_port(name);
    for (size_t i = 0; i < c->mcp.servers.n; i++)
        if (str_eq(all[i].name, name) && all[i].port)
            port = (unsigned)all[i].port;
    return arena_fmt(a, "127.0.0.1:%u", port ? port : 8000);
}

/* A role alone: that server and nothing else, under its own tool names, with the options that
 * the configuration gives it. */
static void keep_role(struct gateway_conf *c, const struct conf_overrides *o,
                      const struct conf_tree *t, struct arena *a) {
    struct upstream_conf *all = c->upstreams.items, *only = NULL;
    if (!o->role_builtin.n)
        return;
    for (size_t i = 0; i < c->upstreams.n; i++)
        if (str_eq(all[i].builtin, o->role_builtin))
            only = &all[i];
    if (!only) {
        only = ARENA_NEW(a, struct upstream_conf);
        field_defaults(upstream_fields, upstream_field_count, only, a);
        only->name = only->builtin = o->role_builtin;
    }
    only->prefix = only->rewrite_uris = false;
    only->required = only->enabled = true;
    c->builtins = (struct str_list){ 0 };
    c->upstreams = (struct item_list){ .items = only, .n = 1 };
    c->profiles = (struct item_list){ 0 };
    /* a file's `listen` is the gateway's, whose file it may be too */
    if (conf_tree_origin(t, json_get(conf_tree_root(t), S("listen"))).layer >= CONF_ENVIRONMENT)
        return;
    struct str *listen = ARENA_NEW(a, struct str);
    *listen = role_address(c, o->role_builtin, a);
    c->listen = (struct str_list){ listen, 1 };
}

/* ---- reading ----------------------------------------------------------------------- */

static void set_source(struct gateway_conf *c, const struct conf_tree *t, struct arena *a) {
    struct upstream_conf *u = c->upstreams.items;
    for (size_t i = 0; i < c->upstreams.n; i++) {
        struct str path = arena_fmt(a, "upstreams.%.*s", STR(u[i].name));
        if (!u[i].source.n)
            u[i].source = conf_source(t, path, a).source;
    }
}

/* OpenTelemetry's own variables, whose values have forms of their own. */
static void read_otel(struct gateway_conf *c, struct arena *a, struct field_problems *p) {
    err_t e = otlp_environment(&c->otlp, a);
    if (!e)
        return;
    p->errors++;
    if (p->n < ARRAY_SIZE(p->items))
        p->items[p->n++] = (struct field_problem){ .path = S("environment"),
                                                   .message = arena_dup(a, str_of(e->text)) };
}

static void read_tree(struct arena *a, struct conf_tree *t, struct gateway_conf *c,
                      const struct conf_overrides *o) {
    struct field_problems *problems = conf_tree_problems(t);
    json root = conf_tree_root(t);
    if (root && json_type(root) != JSON_NULL)
        field_read(gateway_fields, gateway_field_count, root, S(""), c, a, problems);
    conf_desktop(c, a, problems);
    conf_mcp(c, root, a, problems);
    set_source(c, t, a);
    keep_role(c, o, t, a);
    read_otel(c, a, problems);
    if (o->one_worker)
        c->workers = 1;
    conf_check(c, root, a, problems);
}

static err_t put_layers(struct arena *a, struct conf_tree *t, struct str path,
                        const struct conf_overrides *o) {
    const struct conf_expand expand = { .input = ask_input };
    struct conf_file *file = NULL;
    if (path.n) {
        TRY(conf_file_load(a, path, &expand, &file));
        conf_tree_put_file(t, file);
        take_file_problems(t, file);
    }
    conf_env_put(t, &o->variables, a);
    put_command(t, o, a);
    return conf_tree_finish(t);
}

err_t conf_load(struct arena *a, struct str path, const struct conf_overrides *overrides,
                struct gateway_conf **out, struct conf_tree **out_tree, struct buf *report) {
    static const struct conf_overrides nothing;
    const struct conf_overrides *o = overrides ? overrides : &nothing;
    struct conf_tree *t = conf_tree_new(a);
    struct gateway_conf *c = ARENA_NEW(a, struct gateway_conf);
    field_defaults(gateway_fields, gateway_field_count, c, a);
    err_t e = put_layers(a, t, path, o);
    if (out_tree)
        *out_tree = e ? NULL : t;
    if (e) {
        buf_fmt(report, "%s\n", e->text);
        return e;
    }
    read_tree(a, t, c, o);
    conf_tree_print(t, report);
    TRY(field_problems_err(conf_tree_problems(t)));
    *out = c;
    return OK;
}

/* ---- where a value comes from -------------------------------------------------------- */

/* The entry of a client's file whose name became that of the upstream. */
static json foreign_entry(json root, struct str name, struct arena *a) {
    const json sections[] = { json_get(root, S("mcpServers")), json_get(root, S("servers")),
                              json_get(json_get(root, S("mcp")), S("servers")) };
    for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
        for (struct json_iter it = json_iter(sections[i]); json_next(&it);)
            if (str_eq(conf_desktop_name(a, it.key), name))
                return it.value;
    return NULL;
}

struct conf_origin conf_source(const struct conf_tree *t, struct str path, struct arena *a) {
    struct str rest = path, section, name;
    json root = conf_tree_root(t), value = conf_path_get(root, path);
    if (str_eq(path, S("security.secret_key")) && !value)
        value = conf_path_get(root, S("mcp.security.authentication.secret_key"));
    if (!value && conf_path_next(&rest, &section) && str_eq(section, S("upstreams")) &&
        conf_path_next(&rest, &name)) {
        value = foreign_entry(root, name, a);
        if (value && rest.n)
            value = json_get(value, rest);
    }
    return json_type(value) == JSON_NULL ? (struct conf_origin){ 0 } : conf_tree_origin(t, value);
}
