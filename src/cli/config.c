/* config.c - `gatespan config explain` and `gatespan config schema`. */
#include "base/mem.h"
#include "cli/conf_options.h"
#include "cli/describe.h"
#include "cli/output.h"
#include "control/conf_path.h"

static const struct cli_option options[] = {
    CONF_OPTIONS,
    { "all", NULL, NULL, false, "every option, not only those that are set" },
    OUTPUT_OPTION,
};

/* ---- one entry for each option ---------------------------------------------------------- */

struct entry {
    struct str path, variable; /* variable: of the row, or of the map that holds it */
    const struct field *row;
    const void *in;
    struct conf_origin from;
};

struct entries {
    struct cli *c;
    const struct conf_tree *tree;
    struct entry *items;
    size_t n, room;
    bool given_only;
};

static struct str path_below(struct entries *e, struct str path, struct str name) {
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, path);
    field_path_name(&b, name);
    return arena_dup(&e->c->arena, buf_view(&b));
}

static void add(struct entries *e, struct entry entry) {
    entry.from = conf_source(e->tree, entry.path, &e->c->arena);
    if (e->given_only && entry.from.layer == CONF_DEFAULT)
        return;
    if (e->n == e->room) {
        struct entry *old = e->items;
        e->room = e->room ? e->room * 2 : 64;
        e->items = ARENA_ARRAY(&e->c->arena, struct entry, e->room);
        if (e->n)
            memcpy(e->items, old, e->n * sizeof *old);
    }
    e->items[e->n++] = entry;
}

static void add_row(struct entries *e, const struct field *row, const void *in, struct str path,
                    struct str variable);

static void add_rows(struct entries *e, const struct field *rows, size_t n, const void *in,
                     struct str path, struct str variable) {
    for (size_t i = 0; i < n; i++)
        if (!(rows[i].flags & FIELD_HIDDEN))
            add_row(e, &rows[i], in, path_below(e, path, str_of(rows[i].name)), variable);
}

/* `variable` is empty outside of maps: there every row has its own. */
static void add_row(struct entries *e, const struct field *row, const void *in, struct str path,
                    struct str variable) {
    struct str own = variable.n ? variable : field_env(path, &e->c->arena);
    const void *value = (const char *)in + row->offset;
    const struct item_list *list = value;
    if (row->type == FIELD_OBJECT) {
        add_rows(e, row->fields, row->count, value, path, variable);
    } else if (row->type == FIELD_MAP && list->n) {
        for (size_t i = 0; i < list->n; i++) {
            const char *item = (const char *)list->items + i * row->size;
            add_rows(e, row->fields, row->count, item,
                     path_below(e, path, *(const struct str *)item), own);
        }
    } else {
        add(e, (struct entry){ .path = path, .variable = own, .row = row, .in = in });
    }
}

/* ---- printing ---------------------------------------------------------------------------- */

static void put_reload(const struct entry *e, struct jw *w) {
    jw_put_string(w, "change", e->row->flags & FIELD_RESTART ? S("restart") : S("reload"));
    if (e->row->flags & FIELD_LATER)
        jw_put_string(w, "note", S("not built yet: accepted with a warning"));
}

static void put_default(const struct field *row, struct jw *w) {
    if (row->flags & FIELD_REQUIRED)
        jw_put_string(w, "default", S("none: it is required"));
    else if (row->fallback)
        jw_put_string(w, "default", str_of(row->fallback));
}

/* `in_words`: the value as a line for people, else as JSON. */
static void write_entry(const struct entry *e, struct jw *w, struct arena *a, bool in_words) {
    struct str text = field_show(e->row, e->in, a);
    jw_object(w);
    jw_put_string(w, "option", e->path);
    jw_key(w, S("value"));
    if (in_words)
        jw_string(w, text.n ? text : S("\"\""));
    else
        field_write_value(e->row, e->in, w);
    jw_put_string(w, "source", conf_origin_text(e->from, a));
    jw_put_string(w, "allowed", field_allowed(e->row, a));
    put_default(e->row, w);
    jw_put_string(w, "variable", e->variable);
    put_reload(e, w);
    jw_put_string(w, "meaning", str_of(e->row->help));
    jw_object_end(w);
}

static void print(const struct entries *all, bool one) {
    static const struct column columns[] = { { "OPTION", "option" },
                                             { "VALUE", "value" },
                                             { "SOURCE", "source" } };
    static const struct column lines[] = {
        { "option", "option" }, { "value", "value" }, { "source", "source" }, { "allowed", "allowed" }, { "default", "default" },
        { "variable", "variable" }, { "change", "change" }, { "note", "note" }, { "meaning", "meaning" },
    };
    SCOPED(buf_done) struct buf b = { 0 };
    struct cli *c = all->c;
    struct jw w = jw_init(&b);
    bool in_words = output_format(c) == FORMAT_TABLE;
    if (!one)
        jw_array(&w);
    for (size_t i = 0; i < all->n; i++)
        write_entry(&all->items[i], &w, &c->arena, in_words);
    if (!one)
        jw_array_end(&w);
    json document = output_document(&c->arena, &b);
    if (one)
        output_object(c, document, lines, ARRAY_SIZE(lines));
    else
        output_list(c, document, columns, ARRAY_SIZE(columns));
}

/* ---- explain ------------------------------------------------------------------------------- */

/* The longest start of `key` that is an option, and what the next name may have meant. */
static int no_option(struct str key, struct arena *a) {
    const struct field *rows = gateway_fields;
    size_t n = gateway_field_count;
    struct str rest = key, name, before = S("");
    while (conf_path_next(&rest, &name)) {
        const struct field *row = field_find(rows, n, name);
        const struct field *near = row ? NULL : field_closest(rows, n, name);
        if (near)
            return cli_fail(EXIT_USAGE, "there is no option %.*s; did you mean %.*s%s?", STR(key),
                            STR(before), near->name);
        if (!row)
            return cli_fail(EXIT_USAGE,
                            "there is no option %.*s; gatespan config explain --all lists them",
                            STR(key));
        if (!row->fields)
            break;
        before = arena_fmt(a, "%.*s%.*s.", STR(before), STR(name));
        if (row->type == FIELD_MAP && conf_path_next(&rest, &name))
            before = arena_fmt(a, "%.*s%.*s.", STR(before), STR(name));
        rows = row->fields;
        n = row->count;
    }
    return cli_fail(EXIT_USAGE,
                    "%.*s is not set, or no option: names with dots between, such as limits.body",
                    STR(key));
}

/* Everything in a map is set by the variable of the map. */
static struct str map_variable(struct str key, struct arena *a) {
    struct str rest = key, name, path = S("");
    const struct field *rows = gateway_fields;
    size_t n = gateway_field_count;
    while (conf_path_next(&rest, &name)) {
        const struct field *row = field_find(rows, n, name);
        path = arena_fmt(a, "%.*s%s%.*s", STR(path), path.n ? "." : "", STR(name));
        if (!row || row->type != FIELD_OBJECT)
            return row && row->type == FIELD_MAP && rest.n ? field_env(path, a) : S("");
        rows = row->fields;
        n = row->count;
    }
    return S("");
}

static int collect(struct entries *all, const struct gateway_conf *conf, struct str key) {
    struct conf_spot spot = { 0 };
    if (!key.n) {
        add_rows(all, gateway_fields, gateway_field_count, conf, S(""), S(""));
        return 0;
    }
    spot = conf_path_find(gateway_fields, gateway_field_count, conf, key);
    if (!spot.row || !spot.in)
        return no_option(key, &all->c->arena);
    struct str variable = map_variable(key, &all->c->arena);
    if (spot.item)
        add_rows(all, spot.row->fields, spot.row->count, spot.item, key, variable);
    else
        add_row(all, spot.row, spot.in, key, variable);
    return 0;
}

static int run_explain(struct cli *c) {
    struct str key = c->word_count ? c->words[0] : S("");
    struct gateway_conf *conf = NULL;
    struct conf_tree *tree = NULL;
    int code = cli_conf(c, cli_get(c, "config"), &conf, &tree);
    struct entries all = { .c = c, .tree = tree, .given_only = !key.n && !cli_has(c, "all") };
    if (!code)
        code = collect(&all, conf, key);
    if (code)
        return code;
    print(&all, key.n && all.n == 1);
    if (!all.n)
        cli_note(c, "nothing is set: every option has its default (--all shows them)");
    return 0;
}

static int run_schema(struct cli *c) {
    SCOPED(buf_done) struct buf b = { 0 };
    describe_schema(&b);
    fputs(buf_text(&b), stdout);
    return 0;
}

static const struct cli_example examples[] = {
    { "gatespan config explain", "what is set, and by what" },
    { "gatespan config explain limits.body", "one option: value, source, range, variable" },
    { "gatespan config explain upstreams.files --config gatespan.yaml", "everything about one upstream" },
};

static const struct command explain = {
    .name = "explain", .words = "[OPTION]", .options = options, .option_count = ARRAY_SIZE(options), .most_words = 1,
    .summary = "say what is set to what, and by what: file, variable or command line", .run = run_explain,
    .about = "OPTION is a name with dots, such as limits.body, or a part of the configuration, such as limits. "
             "Without it: whatever is not left at its default. Secrets are shown as ***.",
    .examples = examples, .example_count = ARRAY_SIZE(examples),
};

static const struct command schema = {
    .name = "schema", .words = "", .run = run_schema,
    .summary = "print the JSON Schema of the configuration file, for editors",
};

static const struct command *const subs[] = { &explain, &schema };

const struct command command_config = {
    .name = "config", .words = "COMMAND", .subs = subs, .sub_count = ARRAY_SIZE(subs),
    .summary = "look into the configuration",
};
