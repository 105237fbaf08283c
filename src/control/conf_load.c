/* conf_load.c - see conf_load.h. */
#include "control/conf_load.h"
#include "base/mem.h"
#include "control/conf_file.h"
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

/* ---- reading ----------------------------------------------------------------------- */

static void apply(struct gateway_conf *c, const struct conf_overrides *o, struct arena *a) {
    if (!o)
        return;
    if (o->listen.n)
        c->listen = o->listen;
    if (o->workers >= 0)
        c->workers = o->workers;
    if (!o->role_builtin.n)
        return;
    /* a role alone: that server and nothing else, under its own tool names */
    struct upstream_conf *only = ARENA_NEW(a, struct upstream_conf);
    field_defaults(upstream_fields, upstream_field_count, only, a);
    only->name = only->builtin = o->role_builtin;
    only->prefix = only->rewrite_uris = false;
    only->required = true;
    c->builtins = (struct str_list){ 0 };
    c->upstreams = (struct item_list){ .items = only, .n = 1 };
    c->profiles = (struct item_list){ 0 };
}

/* Keys of other programs in a desktop client's file are none of our business. */
static json without_foreign_keys(struct arena *a, json root) {
    if (!conf_is_desktop(root))
        return root;
    struct buf text = { 0 };
    struct jw w = jw_init(&text);
    jw_object(&w);
    for (struct json_iter it = json_iter(root); json_next(&it);)
        if (field_find(gateway_fields, gateway_field_count, it.key)) {
            jw_key(&w, it.key);
            jw_value(&w, it.value);
        }
    jw_object_end(&w);
    json clean = root;
    err_t e = json_parse(a, arena_dup(a, buf_view(&text)), (struct json_limits){ 0 }, &clean);
    buf_done(&text);
    return e ? root : clean;
}

static void set_source(struct gateway_conf *c, struct str path) {
    struct upstream_conf *u = c->upstreams.items;
    for (size_t i = 0; i < c->upstreams.n; i++)
        if (!u[i].source.n)
            u[i].source = path;
}

static err_t read_document(struct arena *a, struct conf_file *file, struct gateway_conf *c,
                           const struct conf_overrides *overrides, struct buf *report) {
    struct field_problems none = { .arena = a },
                          *problems = file ? conf_file_problems(file) : &none;
    json root = file ? without_foreign_keys(a, conf_file_root(file)) : NULL;
    if (root && json_type(root) != JSON_NULL)
        field_read(gateway_fields, gateway_field_count, root, S(""), c, a, problems);
    conf_desktop(c, a, problems);
    if (file)
        set_source(c, conf_file_path(file));
    apply(c, overrides, a);
    conf_check(c, root, a, problems);
    if (file)
        conf_file_print(file, problems, report);
    return field_problems_err(problems);
}

err_t conf_load(struct arena *a, struct str path, const struct conf_overrides *overrides,
                struct gateway_conf **out, struct buf *report) {
    const struct conf_expand expand = { .input = ask_input };
    struct conf_file *file = NULL;
    struct gateway_conf *c = ARENA_NEW(a, struct gateway_conf);
    field_defaults(gateway_fields, gateway_field_count, c, a);
    if (path.n) {
        err_t e = conf_file_load(a, path, &expand, &file);
        if (e) {
            buf_fmt(report, "%s\n", e->text);
            return e;
        }
    }
    err_t e = read_document(a, file, c, overrides, report);
    if (e) {
        if (!report->n)
            buf_fmt(report, "%s\n", e->text);
        return e;
    }
    *out = c;
    return OK;
}
