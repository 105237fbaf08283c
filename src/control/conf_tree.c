/* conf_tree.c - see conf_tree.h. A value becomes a node with children only where a higher layer
 * reaches into it. The merged document is written as text and parsed again; as in conf_file.c,
 * numbering its values in document order gives every one its place. */
#include "control/conf_tree.h"
#include "base/mem.h"
#include "control/conf_path.h"
#include "control/conf_text.h"
#include "gateway/conf.h"
#include <assert.h>

struct source {
    enum conf_layer layer;
    struct str name;
    const struct conf_file *file; /* NULL: a variable or the command line */
};

struct node {
    struct str name;
    json value;
    bool open; /* an object: its members are the children */
    struct node *first, *last, *next;
    const struct source *from; /* NULL: nothing was put here yet */
};

struct placed {
    json value;
    const struct source *from;
    struct conf_pos at;
};

struct conf_tree {
    struct arena *a;
    struct node root;
    json document;
    const struct conf_file *file;
    struct source file_source;
    struct placed *values; /* by address, once finished */
    size_t count, room;
    struct {
        json value;
        struct source from;
    } marks[64];
    size_t mark_count;
    struct field_problems problems;
};

struct conf_tree *conf_tree_new(struct arena *a) {
    struct conf_tree *t = ARENA_NEW(a, struct conf_tree);
    t->a = a;
    t->problems = (struct field_problems){ .arena = a, .lenient = true };
    return t;
}

/* ---- putting ----------------------------------------------------------------------- */

static struct node *append(struct conf_tree *t, struct node *up, struct str name) {
    struct node *n = ARENA_NEW(t->a, struct node);
    n->name = name;
    if (up->last)
        up->last->next = n;
    else
        up->first = n;
    up->last = n;
    return n;
}

static struct node *child(const struct node *up, struct str name) {
    for (struct node *n = up->first; n; n = n->next)
        if (str_eq(n->name, name))
            return n;
    return NULL;
}

static void open_node(struct conf_tree *t, struct node *n) {
    if (n->open)
        return;
    n->open = true;
    n->first = n->last = NULL;
    for (struct json_iter it = json_iter(n->value); json_next(&it);) {
        struct node *member = append(t, n, it.key);
        member->value = it.value;
        member->from = n->from;
    }
}

static void put(struct conf_tree *t, struct node *n, json value, const struct source *from) {
    bool both = n->from && json_type(value) == JSON_OBJECT &&
                (n->open || json_type(n->value) == JSON_OBJECT);
    if (!both) {
        n->open = false;
        n->value = value;
        n->from = from;
        return;
    }
    open_node(t, n);
    for (struct json_iter it = json_iter(value); json_next(&it);) {
        struct node *member = child(n, it.key);
        put(t, member ? member : append(t, n, it.key), it.value, from);
    }
}

static bool is_ours(json root, struct str key) {
    return !conf_is_desktop(root) || field_find(gateway_fields, gateway_field_count, key);
}

void conf_tree_put_file(struct conf_tree *t, const struct conf_file *f) {
    json root = conf_file_root(f);
    t->file = f;
    t->file_source = (struct source){ CONF_FILE, conf_file_path(f), f };
    if (json_type(root) == JSON_NULL)
        return;
    put(t, &t->root, root, &t->file_source);
    if (!conf_is_desktop(root))
        return;
    t->root.open = true;
    for (struct json_iter it = json_iter(root); json_next(&it);)
        if (is_ours(root, it.key))
            put(t, append(t, &t->root, it.key), it.value, &t->file_source);
}

/* {"limits":{"body":VALUE}} for the path limits.body; false when it is no path. */
static bool write_nested(struct jw *w, struct str path, json value) {
    struct str name;
    if (path.p && !path.n) {
        jw_value(w, value);
        return true;
    }
    if (!conf_path_next(&path, &name))
        return false;
    jw_object(w);
    jw_key(w, name);
    bool ok = write_nested(w, path, value);
    jw_object_end(w);
    return ok;
}

void conf_tree_put(struct conf_tree *t, enum conf_layer layer, struct str source, struct str path,
                   json value) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    json nested = NULL;
    struct json_limits limits = { .bytes = CONF_TEXT_LIMIT, .depth = 2 * CONF_DEPTH };
    if (!write_nested(&w, path, value) ||
        json_parse(t->a, arena_dup(t->a, buf_view(&text)), limits, &nested)) {
        conf_tree_complain(t, conf_tree_mark(t, layer, source), S(""),
                           S("is no option: names with dots between, such as limits.body"), false);
        return;
    }
    bool is_object = t->root.open || json_type(t->root.value) == JSON_OBJECT;
    if (t->root.from && !is_object)
        return; /* a file that is a list or a text: refused when it is read */
    struct source *from = ARENA_NEW(t->a, struct source);
    *from = (struct source){ .layer = layer, .name = arena_dup(t->a, source) };
    put(t, &t->root, nested, from);
}

/* What stands deeper than rows go: JSON when it is some, else a text. */
static void loose_json(struct conf_tree *t, const struct conf_spot *spot, struct str text,
                       struct jw *w) {
    json v = NULL;
    bool free = spot->row &&
                (spot->row->type == FIELD_JSON || spot->item || spot->row->type == FIELD_MAP);
    if (free && !json_parse(t->a, text, (struct json_limits){ 0 }, &v))
        jw_value(w, v);
    else
        jw_string(w, text);
}

void conf_tree_put_text(struct conf_tree *t, enum conf_layer layer, struct str source,
                        struct str path, struct str text) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    struct conf_spot spot = conf_path_find(gateway_fields, gateway_field_count, NULL, path);
    json value = NULL;
    err_t e = OK;
    if (!spot.row || spot.inside)
        loose_json(t, &spot, text, &w);
    else
        e = field_text_json(spot.row, text, t->a, &w);
    if (!e)
        e = json_parse(t->a, arena_dup(t->a, buf_view(&b)), (struct json_limits){ 0 }, &value);
    if (e)
        conf_tree_complain(t, conf_tree_mark(t, layer, source), path,
                           arena_fmt(t->a, "%s", e->text), false);
    else
        conf_tree_put(t, layer, source, path, value);
}

/* ---- the document ------------------------------------------------------------------- */

static void place(struct conf_tree *t, const struct source *from, json value) {
    if (t->count == t->room) {
        struct placed *old = t->values;
        t->room = t->room ? t->room * 2 : 256;
        t->values = ARENA_ARRAY(t->a, struct placed, t->room);
        if (t->count)
            memcpy(t->values, old, t->count * sizeof *old);
    }
    struct conf_pos at = { 0 };
    if (from && from->file)
        at = conf_file_position(from->file, value);
    t->values[t->count++] = (struct placed){ .from = from, .at = at };
}

static void write_value(struct conf_tree *t, json v, const struct source *from, struct jw *w) {
    bool object = json_type(v) == JSON_OBJECT;
    place(t, from, v);
    if (!object && json_type(v) != JSON_ARRAY) {
        jw_value(w, v);
        return;
    }
    (object ? jw_object : jw_array)(w);
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        if (object)
            jw_key(w, it.key);
        write_value(t, it.value, from, w);
    }
    (object ? jw_object_end : jw_array_end)(w);
}

static void write_node(struct conf_tree *t, const struct node *n, struct jw *w) {
    if (!n->open) {
        write_value(t, n->value, n->from, w);
        return;
    }
    place(t, n->from, n->value);
    jw_object(w);
    for (const struct node *m = n->first; m; m = m->next) {
        jw_key(w, m->name);
        write_node(t, m, w);
    }
    jw_object_end(w);
}

static void number(struct conf_tree *t, json v, size_t *i) {
    assert(*i < t->count);
    t->values[(*i)++].value = v;
    for (struct json_iter it = json_iter(v); json_next(&it);)
        number(t, it.value, i);
}

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)((const struct placed *)a)->value;
    uintptr_t y = (uintptr_t)((const struct placed *)b)->value;
    return (x > y) - (x < y);
}

err_t conf_tree_finish(struct conf_tree *t) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    struct json_limits limits = { .bytes = CONF_TEXT_LIMIT, .depth = 2 * CONF_DEPTH };
    size_t i = 0;
    if (!t->root.from)
        return OK;
    write_node(t, &t->root, &w);
    TRY_WRAP(json_parse(t->a, buf_view(&text), limits, &t->document), "the whole configuration");
    number(t, t->document, &i);
    assert(i == t->count);
    qsort(t->values, t->count, sizeof *t->values, by_address);
    return OK;
}

json conf_tree_root(const struct conf_tree *t) {
    return t->document;
}

/* ---- places ------------------------------------------------------------------------- */

static struct conf_origin origin(const struct source *from, struct conf_pos at) {
    return from ? (struct conf_origin){ from->layer, from->name, at } : (struct conf_origin){ 0 };
}

struct conf_origin conf_tree_origin(const struct conf_tree *t, json value) {
    struct placed key = { .value = value };
    if (!value)
        return (struct conf_origin){ 0 };
    const struct placed *found = t->count
                                     ? bsearch(&key, t->values, t->count, sizeof key, by_address)
                                     : NULL;
    if (found)
        return origin(found->from, found->at);
    for (size_t i = 0; i < t->mark_count; i++)
        if (t->marks[i].value == value)
            return origin(&t->marks[i].from, (struct conf_pos){ 0 });
    struct conf_pos at = t->file ? conf_file_position(t->file, value) : (struct conf_pos){ 0 };
    return at.line ? origin(&t->file_source, at) : (struct conf_origin){ 0 };
}

json conf_tree_mark(struct conf_tree *t, enum conf_layer layer, struct str source) {
    json v = NULL;
    if (t->mark_count == ARRAY_SIZE(t->marks) ||
        json_parse(t->a, S("null"), (struct json_limits){ 0 }, &v))
        return NULL;
    t->marks[t->mark_count].value = v;
    t->marks[t->mark_count++].from = (struct source){ layer, arena_dup(t->a, source), NULL };
    return v;
}

struct str conf_origin_text(struct conf_origin o, struct arena *a) {
    if (o.layer == CONF_DEFAULT)
        return S("default");
    if (!o.at.line)
        return o.source;
    return arena_fmt(a, "%.*s:%u:%u", STR(o.source), o.at.line, o.at.column);
}

/* ---- problems ----------------------------------------------------------------------- */

struct field_problems *conf_tree_problems(struct conf_tree *t) {
    return &t->problems;
}

void conf_tree_complain(struct conf_tree *t, json at, struct str path, struct str message,
                        bool warning) {
    struct field_problems *p = &t->problems;
    p->errors += !warning;
    if (p->n < ARRAY_SIZE(p->items))
        p->items[p->n++] = (struct field_problem){
            .path = path, .message = message, .at = at, .warning = warning
        };
}

/* A problem to be told, and its place among the others. */
struct line {
    struct conf_told told;
    size_t number;
};

static int by_place(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    const struct conf_origin *p = &x->told.at, *q = &y->told.at;
    if (p->layer != q->layer)
        return p->layer < q->layer ? -1 : 1;
    if (p->at.line != q->at.line)
        return p->at.line < q->at.line ? -1 : 1;
    if (p->at.column != q->at.column)
        return p->at.column < q->at.column ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* What did not expand is often out of range too: the same path in the file and in the merged
 * document. */
static bool told_before(const struct field_problems *p, size_t i) {
    const struct field_problem *it = &p->items[i];
    for (size_t k = 0; it->at && k < i; k++) {
        const struct field_problem *other = &p->items[k];
        bool same = other->at == it->at ||
                    (it->path.n && other->at && str_eq(other->path, it->path));
        if (same && other->warning == it->warning)
            return true;
    }
    return false;
}

static struct conf_told told_of(const struct conf_tree *t, const struct field_problem *p) {
    json where = p->at ? p->at : p->parent ? p->parent : t->document;
    return (struct conf_told){
        .at = conf_tree_origin(t, where), .path = p->path, .message = p->message, .warning = p->warning,
    };
}

size_t conf_tree_told(const struct conf_tree *t, struct conf_told out[CONF_TOLD],
                      size_t *out_more) {
    const struct field_problems *p = &t->problems;
    struct line lines[ARRAY_SIZE(p->items)];
    size_t n = 0, errors = 0;
    for (size_t i = 0; i < p->n; i++) {
        errors += !p->items[i].warning;
        if (told_before(p, i))
            continue;
        lines[n] = (struct line){ told_of(t, &p->items[i]), n };
        n++;
    }
    qsort(lines, n, sizeof *lines, by_place);
    for (size_t i = 0; i < n; i++)
        out[i] = lines[i].told;
    *out_more = p->errors > errors ? p->errors - errors : 0;
    return n;
}

static void print_line(const struct conf_told *told, struct buf *out) {
    if (told->at.layer != CONF_DEFAULT)
        buf_str(out, told->at.source);
    if (told->at.at.line)
        buf_fmt(out, ":%u:%u", told->at.at.line, told->at.at.column);
    if (told->at.layer != CONF_DEFAULT)
        buf_str(out, S(": "));
    buf_str(out, told->warning ? S("warning: ") : S(""));
    if (told->path.n)
        buf_fmt(out, "%.*s: ", STR(told->path));
    buf_str(out, told->message);
    buf_char(out, '\n');
}

void conf_tree_print(const struct conf_tree *t, struct buf *out) {
    struct conf_told told[CONF_TOLD];
    size_t more, n = conf_tree_told(t, told, &more);
    for (size_t i = 0; i < n; i++)
        print_line(&told[i], out);
    if (more)
        buf_fmt(out, "and %zu more\n", more);
}
