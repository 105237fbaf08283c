/* export.c - `gatespan export`: what to paste into the file of a client, so that it uses this
 * gateway; or the upstreams of a configuration as the file of such a client. */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/dialect.h"
#include "cli/output.h"
#include "control/conf_file.h"
#include <unistd.h>

static const struct cli_option options[] = {
    { "url", "URL", "GATESPAN_URL", false, "the gateway; default http://127.0.0.1:8000/mcp", 'u' },
    { "key", "KEY", "GATESPAN_KEY", false, "key that the client shall use; without it a placeholder is written", 'k' },
    { "key-file", "FILE", "GATESPAN_KEY_FILE", false, "file whose first line is the key" },
    { "profile", "NAME", NULL, false, "the client shall use /mcp/NAME", 'p' },
    { "name", "NAME", NULL, false, "what the client shall call it; default gatespan" },
    { "stdio", NULL, NULL, false, "through gatespan connect, for clients that can only start programs; claude-desktop always" },
    { "config", "FILE", NULL, false, "the upstreams of this configuration instead, as the client would have them" },
};

/* ---- this gateway --------------------------------------------------------------------- */

/* What each client replaces by a value that is in no file. */
static struct str placeholder(enum dialect d) {
    switch (d) {
    case DIALECT_CURSOR:
    case DIALECT_WINDSURF:
        return S("${env:GATESPAN_KEY}");
    case DIALECT_VSCODE:
        return S("${input:gatespan-key}");
    default:
        return S("YOUR-KEY");
    }
}

static struct str own_path(struct cli *c) {
    char path[2048];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    return n > 0 && (size_t)n < sizeof path ? arena_dup(&c->arena, str_from(path, (size_t)n))
                                            : S("gatespan");
}

static void write_stdio(struct cli *c, struct jw *w, struct str url, struct str key) {
    jw_put_string(w, "command", own_path(c));
    jw_key(w, S("args"));
    jw_array(w);
    jw_string(w, S("connect"));
    jw_string(w, url);
    jw_array_end(w);
    jw_key(w, S("env"));
    jw_object(w);
    jw_put_string(w, "GATESPAN_KEY", key);
    jw_object_end(w);
}

static void write_http(struct cli *c, enum dialect d, struct jw *w, struct str url,
                       struct str key) {
    if (d == DIALECT_VSCODE || d == DIALECT_GENERIC)
        jw_put_string(w, "type", S("http"));
    jw_key(w, dialect_url_key(d));
    jw_string(w, url);
    jw_key(w, S("headers"));
    jw_object(w);
    jw_put_string(w, "Authorization", arena_fmt(&c->arena, "Bearer %.*s", STR(key)));
    jw_object_end(w);
}

static void write_snippet(struct cli *c, enum dialect d, struct str url, struct str key,
                          struct jw *w) {
    struct str name = cli_get(c, "name");
    bool stdio = cli_has(c, "stdio") || d == DIALECT_CLAUDE_DESKTOP;
    jw_object(w);
    if (!key.n && d == DIALECT_VSCODE)
        jw_put_raw(w, "inputs",
                   S("[{\"type\":\"promptString\",\"id\":\"gatespan-key\",\"description\":"
                     "\"Key of the Gatespan gateway\",\"password\":true}]"));
    jw_key(w, dialect_section(d));
    jw_object(w);
    jw_key(w, name.n ? name : S("gatespan"));
    jw_object(w);
    if (stdio && d == DIALECT_VSCODE)
        jw_put_string(w, "type", S("stdio"));
    if (stdio)
        write_stdio(c, w, url, key.n ? key : placeholder(d));
    else
        write_http(c, d, w, url, key.n ? key : placeholder(d));
    jw_object_end(w);
    jw_object_end(w);
    jw_object_end(w);
}

static int export_gateway(struct cli *c, enum dialect d, struct jw *w) {
    struct mcp_client m;
    int code = client_open(c, &m);
    if (code)
        return code;
    write_snippet(c, d, str_of(m.url), m.key, w);
    if (!m.key.n && str_eq(placeholder(d), S("YOUR-KEY")))
        cli_note(c, "put a key where it says YOUR-KEY, or give one with --key");
    return 0;
}

/* ---- upstreams of a configuration ----------------------------------------------------- */

static int export_upstreams(struct cli *c, enum dialect d, struct str path, struct jw *w) {
    struct conf_file *file = NULL;
    SCOPED(buf_done) struct buf notes = { 0 };
    err_t e = conf_file_load(&c->arena, path, &(struct conf_expand){ .raw = true }, &file);
    if (e)
        return cli_fail(EXIT_CONFIG, "%s", e->text);
    json root = conf_file_root(file), upstreams = json_get(root, S("upstreams"));
    if (json_type(upstreams) != JSON_OBJECT)
        return cli_fail(EXIT_CONFIG, "%.*s has no upstreams", STR(path));
    json kept = json_get(root, S("x-import")), rest = json_get(kept, str_of(dialect_words[d]));
    if (!rest && d != DIALECT_VSCODE)
        rest = json_get(kept, str_of(dialect_words[DIALECT_GENERIC]));
    dialect_write(&c->arena, d, upstreams, json_get(root, S("inputs")), rest, w, &notes);
    if (notes.n)
        cli_note(c, "%s", buf_text(&notes));
    return 0;
}

static int run(struct cli *c) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    int d = 0;
    while (d < DIALECT_SERVER_JSON && !str_eq(c->words[0], str_of(dialect_words[d])))
        d++;
    if (d == DIALECT_SERVER_JSON)
        return cli_fail(EXIT_USAGE,
                        "%.*s: one of claude-desktop, cursor, vscode, windsurf, generic",
                        STR(c->words[0]));
    int code = cli_has(c, "config") ? export_upstreams(c, (enum dialect)d, cli_get(c, "config"), &w)
                                    : export_gateway(c, (enum dialect)d, &w);
    if (!code)
        output_value(c, output_document(&c->arena, &b), FORMAT_JSON);
    return code;
}

static const struct cli_example examples[] = {
    { "gatespan export cursor", "for ~/.cursor/mcp.json; the key comes from GATESPAN_KEY there" },
    { "gatespan export claude-desktop --key gs_…", "starts gatespan connect, as that client only starts programs" },
    { "gatespan export vscode --config gatespan.yaml", "the configured upstreams, without the gateway" },
};

const struct command command_export = {
    .name = "export", .words = "claude-desktop|cursor|vscode|windsurf|generic", .summary = "print what to paste into a client's file",
    .options = options, .option_count = ARRAY_SIZE(options), .least_words = 1, .most_words = 1, .run = run,
    .examples = examples, .example_count = ARRAY_SIZE(examples),
};
