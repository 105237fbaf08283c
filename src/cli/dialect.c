/* dialect.c - see dialect.h. */
#include "cli/dialect.h"
#include "base/mem.h"
#include "gateway/conf.h"
#include "mcp/names.h"

const char *const dialect_words[] = {
    "claude-desktop", "cursor", "vscode", "windsurf", "generic", "server.json", NULL,
};

struct str dialect_url_key(enum dialect d) {
    return d == DIALECT_WINDSURF ? S("serverUrl") : S("url");
}

struct str dialect_section(enum dialect d) {
    return d == DIALECT_VSCODE ? S("servers") : S("mcpServers");
}

/* ---- which one ------------------------------------------------------------------------ */

static bool any_has(json servers, struct str key) {
    for (struct json_iter it = json_iter(servers); json_next(&it);)
        if (json_get(it.value, key))
            return true;
    return false;
}

static json vscode_section(json root) {
    json own = json_get(root, S("servers"));
    return json_type(own) == JSON_OBJECT ? own : json_get(json_get(root, S("mcp")), S("servers"));
}

enum dialect dialect_of(struct str path, json root) {
    json servers = json_get(root, S("mcpServers"));
    json entry = json_get(root, S("server")) ? json_get(root, S("server")) : root;
    if (json_get(entry, S("packages")) || json_get(entry, S("remotes")))
        return DIALECT_SERVER_JSON;
    if (!servers)
        return json_type(vscode_section(root)) == JSON_OBJECT ? DIALECT_VSCODE : DIALECTS;
    if (any_has(servers, S("serverUrl")) || str_find(path, S("windsurf")) >= 0)
        return DIALECT_WINDSURF;
    if (str_find(path, S("claude_desktop")) >= 0)
        return DIALECT_CLAUDE_DESKTOP;
    return str_find(path, S(".cursor")) >= 0 ? DIALECT_CURSOR : DIALECT_GENERIC;
}

/* ---- reading -------------------------------------------------------------------------- */

/* "My server!" becomes "My-server". */
static struct str valid_name(struct arena *a, struct str name) {
    char *out = arena_text(a, str_head(name, 128));
    size_t n = 0;
    for (size_t i = 0; i < name.n && n < 32; i++) {
        char ch = name.p[i];
        bool good = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                    (ch >= '0' && ch <= '9');
        if (!good)
            ch = ch == '_' ? '_' : '-';
        if (!good && (n == 0 || out[n - 1] == ch))
            continue;
        out[n++] = ch;
    }
    while (n && (out[n - 1] == '_' || out[n - 1] == '-'))
        n--;
    return str_from(out, n);
}

static void note(struct buf *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct buf *notes, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (notes->n)
        buf_str(notes, S("; "));
    buf_vfmt(notes, format, args);
    va_end(args);
}

/* Members that mean the same to a gateway, and how it calls them. */
static const struct {
    const char *theirs, *ours;
    enum json_type type;
} shared_keys[] = {
    { "command", "command", JSON_STRING }, { "args", "args", JSON_ARRAY },
    { "env", "env", JSON_OBJECT },         { "cwd", "cwd", JSON_STRING },
    { "url", "url", JSON_STRING },         { "serverUrl", "url", JSON_STRING },
    { "httpUrl", "url", JSON_STRING }, { "headers", "headers", JSON_OBJECT },
};

static const char *ours_for(struct str key, json value) {
    for (size_t i = 0; i < ARRAY_SIZE(shared_keys); i++)
        if (str_eq(key, str_of(shared_keys[i].theirs)) && json_type(value) == shared_keys[i].type)
            return shared_keys[i].ours;
    return NULL;
}

static bool is_on(json v) {
    bool on = false;
    json_is_bool(v, &on);
    return on;
}

struct reading {
    struct arena *arena;
    enum dialect dialect;
    struct buf spec, kept, notes;
    bool has_kept, builtin, has_url;
};

/* Harmless words of clients are kept without a note. */
static bool is_quiet(struct str key) {
    static const char *const words[] = { "type", "transport", "disabled", "autoApprove", "alwaysAllow",
                                         "gallery", "description" };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_eq(key, str_of(words[i])))
            return true;
    return false;
}

static void keep(struct reading *r, struct jw *kept, struct str key, json value) {
    struct str type = json_text(value);
    jw_key(kept, key);
    jw_value(kept, value);
    r->has_kept = true;
    if (!is_quiet(key))
        note(&r->notes, "kept aside: %.*s", STR(key));
    if ((str_eq(key, S("type")) || str_eq(key, S("transport"))) &&
        (str_eq(type, S("sse")) || str_eq(type, S("ws"))))
        note(&r->notes, "transport %.*s is tried as Streamable HTTP", STR(type));
}

static void read_member(struct reading *r, struct jw *spec, struct jw *kept, struct str key,
                        json value) {
    const char *ours = ours_for(key, value);
    bool is_extra = str_eq(key, S("x-gatespan"));
    /* VS Code's word for every url: written again by itself */
    bool implied = r->dialect == DIALECT_VSCODE && r->has_url && str_eq(key, S("type")) &&
                   str_eq(json_text(value), S("http"));
    if (is_extra || implied || (r->builtin && ours))
        return;
    if (ours)
        jw_put_value(spec, ours, value);
    else if (str_eq(key, S("disabled")) && is_on(value))
        jw_put_bool(spec, "enabled", false);
    else
        keep(r, kept, key, value);
}

static void read_extra(struct reading *r, struct jw *spec, json extra) {
    for (struct json_iter it = json_iter(extra); json_next(&it);) {
        jw_key(spec, it.key);
        jw_value(spec, it.value);
    }
}

static void put_kept(struct reading *r, struct jw *spec, struct str name, struct str original) {
    bool renamed = !str_eq(name, original);
    if (renamed)
        note(&r->notes, "was called \"%.*s\"", STR(original));
    if (!r->has_kept && !renamed)
        return;
    jw_key(spec, S("x-import"));
    jw_object(spec);
    jw_put_string(spec, "from", str_of(dialect_words[r->dialect]));
    if (renamed)
        jw_put_string(spec, "name", original);
    if (r->has_kept)
        jw_put_raw(spec, "keys", buf_view(&r->kept));
    jw_object_end(spec);
}

static err_t document(struct arena *a, const struct buf *text, json *out) {
    return json_parse(a, arena_dup(a, buf_view(text)), (struct json_limits){ 0 }, out);
}

static void reading_done(struct reading *r) {
    buf_done(&r->spec);
    buf_done(&r->kept);
    buf_done(&r->notes);
}

static err_t finish(struct reading *r, struct str original, struct entry *out) {
    TRY_WRAP(document(r->arena, &r->spec, &out->spec), "server \"%.*s\"", STR(original));
    out->notes = arena_dup(r->arena, buf_view(&r->notes));
    return OK;
}

static err_t name_of(struct arena *a, struct str original, struct str *out) {
    *out = valid_name(a, original);
    return name_valid_upstream(*out)
               ? OK
               : ERR(INVALID, "server \"%.*s\": no valid name can be made of this; rename it",
                     STR(original));
}

static err_t read_server(struct arena *a, enum dialect d, struct str original, json server,
                         struct entry *out) {
    SCOPED(reading_done) struct reading r = { .arena = a, .dialect = d };
    struct jw spec = jw_init(&r.spec), kept = jw_init(&r.kept);
    json extra = json_get(server, S("x-gatespan"));
    TRY(name_of(a, original, &out->name));
    if (json_type(server) != JSON_OBJECT)
        return ERR(INVALID, "server \"%.*s\": an object is expected", STR(original));
    r.builtin = json_get(extra, S("builtin")) != NULL;
    r.has_url = json_get(server, S("url")) != NULL;
    jw_object(&spec);
    jw_object(&kept);
    for (struct json_iter it = json_iter(server); json_next(&it);)
        read_member(&r, &spec, &kept, it.key, it.value);
    jw_object_end(&kept);
    read_extra(&r, &spec, extra);
    put_kept(&r, &spec, out->name, original);
    jw_object_end(&spec);
    return finish(&r, original, out);
}

/* ---- server.json ---------------------------------------------------------------------- */

/* Newer files have camelCase, older ones snake_case. */
static json either(json v, struct str camel, struct str snake) {
    json found = json_get(v, camel);
    return found ? found : json_get(v, snake);
}

/* What stands in a file for a value that each user has of his own. */
static void put_reference(struct buf *b, struct str name) {
    buf_str(b, S("${"));
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (i == 0 && digit)
            buf_char(b, '_');
        buf_char(b, letter ? (char)(c & ~32) : digit ? c : '_');
    }
    buf_char(b, '}');
}

/* A value with {variables}; without one its default; without that a reference to a variable. */
static void put_value(struct buf *b, json input, struct str name) {
    struct str text = json_get_text(input, S("value")),
               fallback = json_get_text(input, S("default"));
    if (!text.n) {
        if (fallback.n)
            buf_str(b, fallback);
        else
            put_reference(b, name);
        return;
    }
    while (text.n) {
        ptrdiff_t from = str_find_char(text, '{'), to = str_find_char(text, '}');
        bool dollar = from > 0 && text.p[from - 1] == '$';
        if (from < 0 || to < from || dollar) {
            buf_str(b, text);
            return;
        }
        buf_str(b, str_head(text, (size_t)from));
        put_reference(b, str_from(text.p + from + 1, (size_t)(to - from) - 1));
        text = str_skip(text, (size_t)to + 1);
    }
}

static void put_inputs(struct jw *w, const char *key, json inputs) {
    if (!json_count(inputs))
        return;
    jw_key(w, str_of(key));
    jw_object(w);
    for (struct json_iter it = json_iter(inputs); json_next(&it);) {
        SCOPED(buf_done) struct buf text = { 0 };
        struct str name = json_get_text(it.value, S("name"));
        put_value(&text, it.value, name);
        jw_key(w, name);
        jw_string(w, buf_view(&text));
    }
    jw_object_end(w);
}

static void put_arguments(struct jw *w, json arguments) {
    for (struct json_iter it = json_iter(arguments); json_next(&it);) {
        SCOPED(buf_done) struct buf text = { 0 };
        struct str name = json_get_text(it.value, S("name"));
        bool named = str_eq(json_get_text(it.value, S("type")), S("named"));
        bool needed = is_on(either(it.value, S("isRequired"), S("is_required")));
        bool known = json_get(it.value, S("value")) || json_get(it.value, S("default"));
        struct str hint = either(it.value, S("valueHint"), S("value_hint"))
                              ? json_text(either(it.value, S("valueHint"), S("value_hint")))
                              : name;
        if (!needed && !known)
            continue;
        if (named)
            jw_string(w, name);
        if (named && str_eq(json_get_text(it.value, S("format")), S("boolean")))
            continue;
        put_value(&text, it.value, hint);
        jw_string(w, buf_view(&text));
    }
}

/* How a package of each registry is started without installing it. */
static const struct runner {
    const char *type, *program;
    const char *before[3];
    const char *joint; /* between identifier and version */
} runners[] = {
    { "npm", "npx", { "-y" }, "@" },
    { "pypi", "uvx", { NULL }, "==" },
    { "oci", "docker", { "run", "-i", "--rm" }, ":" },
    { "nuget", "dnx", { NULL }, "@" },
};

static const struct runner *runner_of(json package) {
    struct str type = json_text(either(package, S("registryType"), S("registry_type")));
    if (!type.n)
        type = json_get_text(package, S("registry_name"));
    for (size_t i = 0; i < ARRAY_SIZE(runners); i++)
        if (str_eq(type, str_of(runners[i].type)))
            return &runners[i];
    return NULL;
}

static void put_identifier(struct jw *w, const struct runner *r, json package) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct str name = json_get_text(package, S("identifier")),
               version = json_get_text(package, S("version"));
    bool tagged = str_eq(str_of(r->type), S("oci")) && str_find_char(name, ':') >= 0;
    buf_str(&text, name.n ? name : json_get_text(package, S("name")));
    if (version.n && !tagged)
        buf_fmt(&text, "%s%.*s", r->joint, STR(version));
    jw_string(w, buf_view(&text));
}

static void put_package(struct jw *w, json package) {
    const struct runner *r = runner_of(package);
    json hint = either(package, S("runtimeHint"), S("runtime_hint"));
    json variables = either(package, S("environmentVariables"), S("environment_variables"));
    jw_put_string(w, "command", hint ? json_text(hint) : str_of(r->program));
    jw_key(w, S("args"));
    jw_array(w);
    for (size_t i = 0; i < ARRAY_SIZE(r->before) && r->before[i]; i++)
        jw_string(w, str_of(r->before[i]));
    if (str_eq(str_of(r->type), S("oci")))
        for (struct json_iter it = json_iter(variables); json_next(&it);) {
            jw_string(w, S("-e"));
            jw_string(w, json_get_text(it.value, S("name")));
        }
    put_arguments(w, either(package, S("runtimeArguments"), S("runtime_arguments")));
    put_identifier(w, r, package);
    put_arguments(w, either(package, S("packageArguments"), S("package_arguments")));
    jw_array_end(w);
    put_inputs(w, "env", variables);
}

static json first_package(json packages) {
    for (struct json_iter it = json_iter(packages); json_next(&it);)
        if (runner_of(it.value))
            return it.value;
    return NULL;
}

/* "io.github.user/weather" becomes "weather". */
static struct str last_part(struct str name) {
    for (size_t i = name.n; i-- > 0;)
        if (name.p[i] == '/')
            return str_skip(name, i + 1);
    return name;
}

/* The first package that can be started, else the first remote. */
static err_t read_registry(struct arena *a, json root, struct entries *out) {
    SCOPED(reading_done) struct reading r = { .arena = a, .dialect = DIALECT_SERVER_JSON };
    struct jw spec = jw_init(&r.spec);
    json server = json_get(root, S("server")) ? json_get(root, S("server")) : root;
    json package = first_package(json_get(server, S("packages")));
    json remote = json_at(json_get(server, S("remotes")), 0);
    struct str original = json_get_text(server, S("name"));
    out->items = ARENA_NEW(a, struct entry);
    TRY(name_of(a, last_part(original), &out->items->name));
    if (!package && !remote)
        return ERR(INVALID,
                   "%.*s: none of its packages can be started (npm, pypi, oci, nuget) and it has "
                   "no remote",
                   STR(original));
    jw_object(&spec);
    if (package)
        put_package(&spec, package);
    else {
        jw_put_string(&spec, "url", json_get_text(remote, S("url")));
        put_inputs(&spec, "headers", json_get(remote, S("headers")));
    }
    buf_str(&r.kept, S(""));
    json_write(&r.kept, root);
    r.has_kept = true;
    put_kept(&r, &spec, out->items->name, original);
    jw_object_end(&spec);
    out->n = 1;
    return finish(&r, original, out->items);
}

/* ---- whole files ---------------------------------------------------------------------- */

static err_t read_rest(struct arena *a, enum dialect d, json root, json servers, json *out) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    size_t n = 0;
    jw_object(&w);
    for (struct json_iter it = json_iter(root); json_next(&it);) {
        if (it.value == servers || str_eq(it.key, S("inputs")) || str_eq(it.key, S("mcp")))
            continue;
        jw_key(&w, it.key);
        jw_value(&w, it.value);
        n++;
    }
    jw_object_end(&w);
    return n ? document(a, &text, out) : OK;
}

err_t dialect_read(struct arena *a, enum dialect d, json root, struct entries *out) {
    *out = (struct entries){ 0 };
    if (d == DIALECT_SERVER_JSON)
        return read_registry(a, root, out);
    json servers = d == DIALECT_VSCODE ? vscode_section(root) : json_get(root, S("mcpServers"));
    json nested = json_get(json_get(root, S("mcp")), S("inputs"));
    if (json_type(servers) != JSON_OBJECT)
        return ERR(INVALID, "%.*s: an object is expected, name to server", STR(dialect_section(d)));
    out->items = ARENA_ARRAY(a, struct entry, json_count(servers) + 1);
    for (struct json_iter it = json_iter(servers); json_next(&it); out->n++)
        TRY(read_server(a, d, it.key, it.value, &out->items[out->n]));
    out->inputs = json_get(root, S("inputs")) ? json_get(root, S("inputs")) : nested;
    return read_rest(a, d, root, servers, &out->rest);
}

/* ---- writing -------------------------------------------------------------------------- */

static const char *const common_keys[] = { "command", "args", "env", "cwd", "url", "headers" };

static bool is_common(struct str key) {
    for (size_t i = 0; i < ARRAY_SIZE(common_keys); i++)
        if (str_eq(key, str_of(common_keys[i])))
            return true;
    return false;
}

static bool is_off(json spec) {
    bool on = true;
    json_is_bool(json_get(spec, S("enabled")), &on);
    return !on;
}

/* What only a gateway understands: its readers must not lose it. */
static void write_extra(struct jw *w, struct str name, json spec, struct buf *notes) {
    size_t n = 0;
    for (struct json_iter it = json_iter(spec); json_next(&it);) {
        bool known = is_common(it.key) || str_eq(it.key, S("x-import")) ||
                     (str_eq(it.key, S("enabled")) && is_off(spec));
        if (known)
            continue;
        if (n++ == 0) {
            jw_key(w, S("x-gatespan"));
            jw_object(w);
        }
        jw_key(w, it.key);
        jw_value(w, it.value);
    }
    if (n) {
        jw_object_end(w);
        note(notes, "%.*s: %zu options that only Gatespan understands are in x-gatespan", STR(name),
             n);
    }
}

/* A built-in server is started by the program it is built into. */
static void write_builtin(struct jw *w, struct str builtin) {
    SCOPED(buf_done) struct buf role = { 0 };
    buf_fmt(&role, "server:%.*s", STR(builtin));
    jw_put_string(w, "command", S("gatespan"));
    jw_key(w, S("args"));
    jw_array(w);
    jw_string(w, S("serve"));
    jw_string(w, S("--role"));
    jw_string(w, buf_view(&role));
    jw_string(w, S("--stdio"));
    jw_array_end(w);
}

/* A file that says nowhere whose it is may be of any client that keeps servers in mcpServers. */
static bool is_same_client(enum dialect d, json kept) {
    struct str from = json_get_text(kept, S("from"));
    return str_eq(from, str_of(dialect_words[d])) ||
           (d != DIALECT_VSCODE && str_eq(from, str_of(dialect_words[DIALECT_GENERIC])));
}

static void write_kept(struct jw *w, enum dialect d, json kept) {
    if (!is_same_client(d, kept))
        return;
    for (struct json_iter it = json_iter(json_get(kept, S("keys"))); json_next(&it);) {
        jw_key(w, it.key);
        jw_value(w, it.value);
    }
}

static void write_server(struct jw *w, enum dialect d, struct str name, json spec,
                         struct buf *notes) {
    json kept = json_get(spec, S("x-import")), url = json_get(spec, S("url"));
    json own_type = json_get(json_get(kept, S("keys")), S("type"));
    struct str builtin = json_get_text(spec, S("builtin")),
               original = json_get_text(kept, S("name"));
    bool same = is_same_client(d, kept);
    jw_key(w, original.n && same ? original : name);
    jw_object(w);
    if (url && d == DIALECT_VSCODE && !(same && own_type))
        jw_put_string(w, "type", S("http"));
    if (builtin.n)
        write_builtin(w, builtin);
    for (size_t i = 0; i < ARRAY_SIZE(common_keys); i++) {
        json value = json_get(spec, str_of(common_keys[i]));
        if (!value)
            continue;
        jw_key(w, value == url ? dialect_url_key(d) : str_of(common_keys[i]));
        jw_value(w, value);
    }
    if (is_off(spec))
        jw_put_bool(w, "disabled", true);
    write_kept(w, d, kept);
    write_extra(w, name, spec, notes);
    jw_object_end(w);
}

void dialect_write(struct arena *a, enum dialect d, json upstreams, json inputs, json rest,
                   struct jw *w, struct buf *notes) {
    jw_object(w);
    for (struct json_iter it = json_iter(rest); json_next(&it);) {
        jw_key(w, it.key);
        jw_value(w, it.value);
    }
    if (json_count(inputs) && d == DIALECT_VSCODE)
        jw_put_value(w, "inputs", inputs);
    else if (json_count(inputs))
        note(notes, "inputs are left out: only VS Code asks for them");
    jw_key(w, dialect_section(d));
    jw_object(w);
    for (struct json_iter it = json_iter(upstreams); json_next(&it);)
        write_server(w, d, it.key, it.value, notes);
    jw_object_end(w);
    jw_object_end(w);
}
