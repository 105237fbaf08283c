/* conf_expand.c - ${…} in the strings of a document. A table holds what may stand before the
 * colon; a name without one is an environment variable or one of VS Code's words. */
#include "base/mem.h"
#include "control/conf_text.h"
#include <stdlib.h>

#define FILE_LIMIT ((size_t)1 << 20)

struct expansion {
    struct arena *a;
    json root;
    struct str file; /* the configuration file */
    const struct conf_expand *expand;
    struct conf_unexpanded *missing;
    struct buf *out;
    struct buf path;
    size_t index; /* of the value at hand */
    bool failed;  /* the string at hand has a problem */
};

/* One problem for each string is enough. */
static void problem(struct expansion *x, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void problem(struct expansion *x, const char *format, ...) {
    struct field_problems *p = x->missing->problems;
    if (x->failed)
        return;
    x->failed = true;
    p->errors++;
    if (p->n == ARRAY_SIZE(p->items))
        return;
    va_list args;
    va_start(args, format);
    x->missing->indexes[p->n] = x->index;
    p->items[p->n++] = (struct field_problem){
        .path = arena_dup(x->a, buf_view(&x->path)),
        .message = arena_vfmt(x->a, format, args),
    };
    va_end(args);
}

/* ---- sources ----------------------------------------------------------------------- */

static bool is_name(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i] | 0x20;
        if (!(c >= 'a' && c <= 'z') && s.p[i] != '_' && !(i && s.p[i] >= '0' && s.p[i] <= '9'))
            return false;
    }
    return s.n > 0;
}

static struct str environment(struct expansion *x, struct str name) {
    if (x->expand && x->expand->variable)
        return x->expand->variable(x->expand->arg, name);
    return str_of(getenv(arena_text(x->a, name)));
}

static struct str folder_of(struct str path) {
    size_t n = path.n;
    while (n && path.p[n - 1] != '/')
        n--;
    return n > 1 ? str_head(path, n - 1) : n ? S("/") : S(".");
}

/* The folder that VS Code has open: that of the file, or the one around .vscode. */
static struct str workspace(struct expansion *x) {
    struct str folder = folder_of(x->file);
    SCOPED(mem_scope) char *real = realpath(arena_text(x->a, folder), NULL);
    if (real)
        folder = arena_dup(x->a, str_of(real));
    return str_ends(folder, S("/.vscode")) ? folder_of(folder) : folder;
}

static struct str variable(struct expansion *x, struct str name) {
    struct str value = environment(x, name);
    if (value.p)
        return value;
    if (str_eq(name, S("userHome")))
        return environment(x, S("HOME"));
    if (str_eq(name, S("workspaceFolder")))
        return workspace(x);
    return str_eq(name, S("pathSeparator")) ? S("/") : (struct str){ 0 };
}

/* NAME or NAME:-text */
static struct str expand_variable(struct expansion *x, struct str body) {
    ptrdiff_t dash = str_find(body, S(":-"));
    struct str name = dash < 0 ? body : str_head(body, (size_t)dash);
    if (!is_name(name)) {
        problem(x, "what stands in ${…} is no name of a variable; write $$ for a dollar");
        return S("");
    }
    struct str value = variable(x, name);
    if (dash >= 0)
        return value.n ? value : str_skip(body, (size_t)dash + 2);
    if (!value.p)
        problem(x, "variable %.*s is not set; set it, or write ${%.*s:-…} with a default",
                STR(name), STR(name));
    return value;
}

static struct str expand_file(struct expansion *x, struct str body) {
    struct str path = body;
    SCOPED(buf_done) struct buf content = { 0 };
    if (!str_starts(body, S("/")))
        path = arena_fmt(x->a, "%.*s/%.*s", STR(folder_of(x->file)), STR(body));
    err_t e = conf_read_file(arena_text(x->a, path), FILE_LIMIT, &content);
    if (e) {
        problem(x, "cannot read %s", e->text);
        return S("");
    }
    struct str text = buf_view(&content);
    text.n -= str_ends(text, S("\n"));
    text.n -= text.n < content.n && str_ends(text, S("\r"));
    return arena_dup(x->a, text);
}

static struct str expand_input(struct expansion *x, struct str id) {
    struct str value = { 0 };
    err_t e = OK;
    if (x->expand && x->expand->input)
        e = x->expand->input(x->expand->arg, x->root, id, x->a, &value);
    else
        problem(x, "input \"%.*s\" cannot be asked for here", STR(str_head(id, 60)));
    if (e)
        problem(x, "%s", e->text);
    return value;
}

static struct str expand_vault(struct expansion *x, struct str body) {
    problem(x, "${vault:…} is not built yet; use ${file:…} or a variable");
    return S("");
}

static const struct source {
    struct str prefix;
    struct str (*expand)(struct expansion *x, struct str body);
} sources[] = {
    { S_INIT("env:"), expand_variable },
    { S_INIT("file:"), expand_file },
    { S_INIT("input:"), expand_input },
    { S_INIT("vault:"), expand_vault },
};

/* The body of ${body}. */
static struct str expand_body(struct expansion *x, struct str body) {
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
        if (str_starts(body, sources[i].prefix))
            return sources[i].expand(x, str_skip(body, sources[i].prefix.n));
    if (str_eq(body, S("/")))
        return S("/"); /* VS Code's short form of pathSeparator */
    return expand_variable(x, body);
}

/* ---- strings ----------------------------------------------------------------------- */

/* From the dollar at the start of `s`: appends what it stands for, returns what it took. */
static size_t expand_dollar(struct expansion *x, struct str s, struct buf *out) {
    if (str_starts(s, S("$$"))) {
        buf_char(out, '$');
        return 2;
    }
    if (!str_starts(s, S("${"))) {
        buf_char(out, '$');
        return 1;
    }
    ptrdiff_t end = str_find_char(s, '}');
    if (end < 0) {
        problem(x, "\"${\" is never closed; write $$ for a dollar");
        return s.n;
    }
    struct str body = str_from(s.p + 2, (size_t)end - 2);
    if (str_find(body, S("${")) >= 0)
        problem(x, "${…} cannot stand inside ${…}");
    else
        buf_str(out, expand_body(x, body));
    return (size_t)end + 1;
}

static void expand_string(struct expansion *x, struct str s, struct buf *out) {
    x->failed = false;
    while (s.n && !x->failed) {
        ptrdiff_t dollar = str_find_char(s, '$');
        size_t plain = dollar < 0 ? s.n : (size_t)dollar;
        buf_put(out, s.p, plain);
        s = str_skip(s, plain);
        if (s.n)
            s = str_skip(s, expand_dollar(x, s, out));
        if (out->n > CONF_TEXT_LIMIT)
            problem(x, "expands to more than %zu KiB", CONF_TEXT_LIMIT >> 10);
    }
    if (!x->failed && !json_is_utf8(buf_view(out)))
        problem(x, "expands to bytes that are no UTF-8 text");
}

static void write_string(struct expansion *x, struct str s, struct jw *w) {
    SCOPED(buf_done) struct buf text = { 0 };
    if (str_find_char(s, '$') < 0) {
        jw_string(w, s);
        return;
    }
    expand_string(x, s, &text);
    jw_string(w, x->failed ? s : buf_view(&text));
}

/* ---- documents --------------------------------------------------------------------- */

static void write_value(struct expansion *x, json v, struct jw *w);

static void write_members(struct expansion *x, json v, struct jw *w) {
    bool object = json_type(v) == JSON_OBJECT;
    size_t path = x->path.n, i = 0;
    for (struct json_iter it = json_iter(v); json_next(&it); i++) {
        if (object) {
            jw_key(w, it.key);
            field_path_name(&x->path, it.key);
        } else {
            field_path_index(&x->path, i);
        }
        write_value(x, it.value, w);
        x->path.n = path;
    }
}

/* Counts values as they are numbered when the document is parsed again. */
static void write_value(struct expansion *x, json v, struct jw *w) {
    enum json_type type = json_type(v);
    struct str s;
    if (type == JSON_OBJECT || type == JSON_ARRAY) {
        x->index++;
        (type == JSON_OBJECT ? jw_object : jw_array)(w);
        write_members(x, v, w);
        (type == JSON_OBJECT ? jw_object_end : jw_array_end)(w);
        return;
    }
    if (!json_is_string(v, &s))
        jw_value(w, v);
    else if (x->out->n > CONF_TEXT_LIMIT)
        jw_null(w); /* refused in the end */
    else
        write_string(x, s, w);
    x->index++;
}

err_t conf_expand_write(struct arena *a, json root, struct str path,
                        const struct conf_expand *expand, struct buf *out,
                        struct conf_unexpanded *missing) {
    struct expansion x = {
        .a = a, .root = root, .file = path, .expand = expand, .missing = missing, .out = out
    };
    struct jw w = jw_init(out);
    write_value(&x, root, &w);
    buf_done(&x.path);
    if (out->n > CONF_TEXT_LIMIT)
        return ERR(TOO_LARGE, "%.*s: larger than %zu KiB when expanded", STR(path),
                   CONF_TEXT_LIMIT >> 10);
    return OK;
}
