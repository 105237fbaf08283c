/* import_merge.c - adds to a configuration file what was imported (import.h).
 *
 * YAML keeps its comments and layout: what is new is inserted as lines into the sections it
 * belongs to, or appended as sections. Whether that came out right is not trusted but read: the
 * new text must give exactly the document that was meant. Where it does not (a section in flow
 * style, an upstream that is replaced), and for JSON, the whole file is written anew; comments
 * do not survive that, so it needs `force` where there are any. */
#include "base/mem.h"
#include "cli/import.h"
#include "cli/output.h"
#include "control/conf_file.h"

static const struct conf_expand as_written = { .raw = true };

/* ---- documents ------------------------------------------------------------------------ */

static err_t parse(struct merge *m, struct str text, json *out) {
    struct conf_file *file = NULL;
    TRY(conf_file_parse(m->arena, m->path, text, &as_written, &file));
    *out = conf_file_root(file);
    return OK;
}

/* `over` wins where both have a member. */
static void write_union(struct jw *w, json under, json over) {
    jw_object(w);
    for (struct json_iter it = json_iter(under); json_next(&it);) {
        json other = json_get(over, it.key);
        jw_key(w, it.key);
        jw_value(w, other ? other : it.value);
    }
    for (struct json_iter it = json_iter(over); json_next(&it);)
        if (!json_get(under, it.key)) {
            jw_key(w, it.key);
            jw_value(w, it.value);
        }
    jw_object_end(w);
}

static bool has_input(json inputs, struct str id) {
    for (struct json_iter it = json_iter(inputs); json_next(&it);)
        if (str_eq(json_get_text(it.value, S("id")), id))
            return true;
    return false;
}

static void write_inputs(struct jw *w, json old, json added) {
    jw_array(w);
    for (struct json_iter it = json_iter(old); json_next(&it);)
        jw_value(w, it.value);
    for (struct json_iter it = json_iter(added); json_next(&it);)
        if (!has_input(old, json_get_text(it.value, S("id"))))
            jw_value(w, it.value);
    jw_array_end(w);
}

static json entries_document(struct merge *m, const struct entries *e) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    for (size_t i = 0; i < e->n; i++) {
        jw_key(&w, e->items[i].name);
        jw_value(&w, e->items[i].spec);
    }
    jw_object_end(&w);
    return output_document(m->arena, &b);
}

static json rest_document(struct merge *m, enum dialect d, json rest) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    if (rest)
        jw_put_value(&w, dialect_words[d], rest);
    jw_object_end(&w);
    return output_document(m->arena, &b);
}

static void write_section(struct jw *w, const char *key, json old, json added) {
    if (!json_count(old) && !json_count(added))
        return;
    jw_key(w, str_of(key));
    if (strcmp(key, "inputs") == 0)
        write_inputs(w, old, added);
    else
        write_union(w, old, added);
}

static const char *const sections[] = { "upstreams", "inputs", "x-import" };

static json whole(struct merge *m, json const added[3]) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    jw_object(&w);
    for (struct json_iter it = json_iter(m->root); json_next(&it);) {
        size_t i = 0;
        while (i < 3 && !str_eq(it.key, str_of(sections[i])))
            i++;
        if (i < 3) {
            write_section(&w, sections[i], it.value, added[i]);
            continue;
        }
        jw_key(&w, it.key);
        jw_value(&w, it.value);
    }
    for (size_t i = 0; i < 3; i++)
        if (!json_get(m->root, str_of(sections[i])))
            write_section(&w, sections[i], NULL, added[i]);
    jw_object_end(&w);
    return output_document(m->arena, &b);
}

/* ---- YAML, line by line --------------------------------------------------------------- */

static size_t indent_of(struct str line) {
    size_t n = 0;
    while (n < line.n && line.p[n] == ' ')
        n++;
    return n;
}

static bool is_content(struct str line) {
    struct str text = str_trim(line);
    return text.n && text.p[0] != '#' && text.p[0] != '\r';
}

struct place {
    size_t at;     /* offset behind the section's last line */
    size_t indent; /* of its entries */
    bool found;
};

/* `key:` at the margin, and the lines below it that are its own. */
static struct place find_section(struct str text, const char *key) {
    struct place p = { .indent = 2 };
    struct str rest = text;
    size_t length = strlen(key);
    while (rest.p && rest.n) {
        struct str line = str_cut(&rest, '\n');
        size_t end = rest.p ? (size_t)(rest.p - text.p) : text.n;
        bool list = str_starts(line, S("- ")) || str_eq(line, S("-"));
        bool head = line.n && line.p[0] != ' ' && is_content(line) && !list;
        if (p.found && head)
            return p;
        if (p.found && is_content(line)) {
            if (p.at && p.indent == SIZE_MAX)
                p.indent = indent_of(line);
            p.at = end;
        }
        if (head && str_starts(line, str_of(key)) && line.n > length && line.p[length] == ':')
            p = (struct place){ .found = true, .at = end, .indent = SIZE_MAX };
    }
    return p;
}

static void put_indented(struct buf *b, struct str yaml, size_t indent) {
    while (yaml.n) {
        struct str line = str_cut(&yaml, '\n');
        buf_fmt(b, "%*s%.*s\n", line.n ? (int)indent : 0, "", STR(line));
    }
}

static void add_section(struct merge *m, const char *key, json added) {
    SCOPED(buf_done) struct buf yaml = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    struct str text = m->result;
    struct place p = find_section(text, key);
    if (!p.found)
        p.at = text.n;
    output_yaml(&yaml, added);
    buf_str(&out, str_head(text, p.at));
    if (out.n && out.p[out.n - 1] != '\n')
        buf_char(&out, '\n');
    if (!p.found)
        buf_fmt(&out, "%s:\n", key);
    put_indented(&out, buf_view(&yaml), p.indent == SIZE_MAX ? 2 : p.indent);
    buf_str(&out, str_skip(text, p.at));
    m->result = arena_dup(m->arena, buf_view(&out));
}

static json only_new(struct merge *m, const char *key, json old, json added) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    bool list = strcmp(key, "inputs") == 0;
    (list ? jw_array : jw_object)(&w);
    for (struct json_iter it = json_iter(added); json_next(&it);) {
        bool there = list ? has_input(old, json_get_text(it.value, S("id")))
                          : json_get(old, it.key) != NULL;
        if (there)
            continue;
        if (!list)
            jw_key(&w, it.key);
        jw_value(&w, it.value);
    }
    (list ? jw_array_end : jw_object_end)(&w);
    return output_document(m->arena, &b);
}

static bool is_json(const struct merge *m) {
    struct str text = str_trim(m->text);
    while (text.n && strchr("\r\n", text.p[0]))
        text = str_trim(str_skip(text, 1));
    return text.n ? text.p[0] == '{' || text.p[0] == '/' : str_ends(m->path, S(".json"));
}

/* True when inserting lines gave the document that was meant. */
static bool insert(struct merge *m, json const added[3], json meant) {
    json got = NULL;
    m->result = m->text;
    for (size_t i = 0; i < 3; i++) {
        json fresh = only_new(m, sections[i], json_get(m->root, str_of(sections[i])), added[i]);
        if (json_count(fresh))
            add_section(m, sections[i], fresh);
    }
    return !parse(m, m->result, &got) && json_equal(got, meant);
}

/* ---- both ----------------------------------------------------------------------------- */

static bool has_comments(struct merge *m) {
    json strict = NULL;
    if (!m->text.n)
        return false;
    if (is_json(m))
        return json_parse(m->arena, arena_dup(m->arena, m->text), (struct json_limits){ 0 },
                          &strict) != OK;
    for (struct str rest = m->text; rest.n;)
        if (str_find_char(str_cut(&rest, '\n'), '#') >= 0)
            return true;
    return false;
}

static void rewrite(struct merge *m, json meant) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (is_json(m)) {
        output_indented(&b, meant);
        buf_char(&b, '\n');
    } else
        output_yaml(&b, meant);
    m->result = arena_dup(m->arena, buf_view(&b));
}

static void record(struct merge *m, const struct entry *e, const char *what) {
    size_t n = m->change_count;
    __auto_type all = (typeof(m->changes))arena_zero(m->arena, (n + 1) * sizeof *m->changes);
    if (n)
        memcpy(all, m->changes, n * sizeof *all);
    all[n].name = e->name;
    all[n].what = what;
    all[n].notes = e->notes;
    m->changes = all;
    m->change_count++;
}

static err_t compare(struct merge *m, const struct entry *e, size_t *replaced) {
    json old = json_get(json_get(m->root, S("upstreams")), e->name);
    bool same = old && json_equal(old, e->spec);
    if (old && !same && !m->force)
        return ERR(CONFLICT,
                   "upstream \"%.*s\" is in %.*s already and differs; --force replaces it",
                   STR(e->name), STR(m->path));
    *replaced += old && !same;
    m->written += !same;
    record(m, e, !old ? "added" : same ? "unchanged" : "replaced");
    return OK;
}

err_t merge_add(struct merge *m, enum dialect d, const struct entries *e) {
    json added[3] = { entries_document(m, e), e->inputs, rest_document(m, d, e->rest) };
    size_t replaced = 0;
    if (m->text.n && !m->root)
        TRY(parse(m, m->text, &m->root));
    for (size_t i = 0; i < e->n; i++)
        TRY(compare(m, &e->items[i], &replaced));
    json meant = whole(m, added);
    bool inserted = m->text.n && !is_json(m) && !replaced && insert(m, added, meant);
    if (!inserted && has_comments(m) && !m->force)
        return ERR(CONFLICT,
                   "%.*s cannot be added to without writing it anew, which loses its comments; "
                   "--force does that",
                   STR(m->path));
    if (!inserted)
        rewrite(m, meant);
    m->text = m->result; /* the next file is added to this */
    return parse(m, m->text, &m->root);
}
