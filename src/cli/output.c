/* output.c - see output.h. */
#include "cli/output.h"
#include "base/mem.h"
#include <yaml.h>

const char *const output_words[] = { "table", "json", "yaml", NULL };

enum cli_format output_format(const struct cli *c) {
    struct str word = cli_get(c, "output");
    for (int i = 0; output_words[i]; i++)
        if (str_eq(word, str_of(output_words[i])))
            return (enum cli_format)i;
    return FORMAT_TABLE;
}

json output_document(struct arena *a, const struct buf *text) {
    json v = NULL;
    err_t e = json_parse(a, arena_dup(a, buf_view(text)), (struct json_limits){ 0 }, &v);
    return e ? NULL : v;
}

/* ---- JSON ---------------------------------------------------------------------------- */

static void indent(struct buf *b, unsigned depth) {
    buf_fmt(b, "\n%*s", 2 * (int)depth, "");
}

static void put_json(struct buf *b, json v, unsigned depth) {
    bool object = json_type(v) == JSON_OBJECT;
    if (!json_count(v)) {
        json_write(b, v);
        return;
    }
    buf_char(b, object ? '{' : '[');
    bool first = true;
    for (struct json_iter it = json_iter(v); json_next(&it); first = false) {
        if (!first)
            buf_char(b, ',');
        indent(b, depth + 1);
        if (object) {
            struct jw w = jw_init(b);
            jw_string(&w, it.key);
            buf_str(b, S(": "));
        }
        put_json(b, it.value, depth + 1);
    }
    indent(b, depth);
    buf_char(b, object ? '}' : ']');
}

void output_indented(struct buf *b, json v) {
    put_json(b, v, 0);
}

/* ---- YAML ---------------------------------------------------------------------------- */

/* Plain text that a reader of YAML 1.1 or 1.2 may take for something else than text. */
static bool looks_typed(struct str s) {
    static const char *const words[] = { "null", "true", "false", "yes", "no",  "on",
                                         "off",  "y",    "n",     "~",   "<<",  "=" };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_eq_nocase(s, str_of(words[i])))
            return true;
    return !s.n || (s.p[0] >= '0' && s.p[0] <= '9') ||
           (s.n > 1 && strchr("+-.", s.p[0]) && strchr(".0123456789iInN", s.p[1]));
}

static void emit(yaml_emitter_t *out, yaml_event_t *event) {
    yaml_emitter_emit(out, event); /* fails for want of memory alone: what is given is valid */
}

static void emit_scalar(yaml_emitter_t *out, struct str s, yaml_scalar_style_t style) {
    yaml_event_t event;
    yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)(s.p ? s.p : ""),
                                 (int)s.n, 1, 1, style);
    emit(out, &event);
}

static void emit_string(yaml_emitter_t *out, struct str s) {
    bool lines = str_find_char(s, '\n') >= 0;
    emit_scalar(out, s,
                lines            ? YAML_LITERAL_SCALAR_STYLE
                : looks_typed(s) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
                                 : YAML_ANY_SCALAR_STYLE);
}

static void emit_value(yaml_emitter_t *out, json v);

static void emit_array(yaml_emitter_t *out, json v) {
    yaml_event_t event;
    yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);
    emit(out, &event);
    for (struct json_iter it = json_iter(v); json_next(&it);)
        emit_value(out, it.value);
    yaml_sequence_end_event_initialize(&event);
    emit(out, &event);
}

static void emit_object(yaml_emitter_t *out, json v) {
    yaml_event_t event;
    yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE);
    emit(out, &event);
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        emit_string(out, it.key);
        emit_value(out, it.value);
    }
    yaml_mapping_end_event_initialize(&event);
    emit(out, &event);
}

static void emit_value(yaml_emitter_t *out, json v) {
    SCOPED(buf_done) struct buf text = { 0 };
    switch (json_type(v)) {
    case JSON_STRING:
        emit_string(out, json_text(v));
        return;
    case JSON_ARRAY:
        emit_array(out, v);
        return;
    case JSON_OBJECT:
        emit_object(out, v);
        return;
    default:
        json_write(&text, v);
        emit_scalar(out, v ? buf_view(&text) : S("null"), YAML_PLAIN_SCALAR_STYLE);
    }
}

static int take_bytes(void *to, unsigned char *bytes, size_t n) {
    buf_put(to, bytes, n);
    return 1;
}

void output_yaml(struct buf *b, json v) {
    yaml_emitter_t out;
    yaml_event_t event;
    yaml_emitter_initialize(&out);
    yaml_emitter_set_output(&out, take_bytes, b);
    yaml_emitter_set_unicode(&out, 1);
    yaml_emitter_set_width(&out, -1);
    yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING);
    emit(&out, &event);
    yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1);
    emit(&out, &event);
    emit_value(&out, v);
    yaml_document_end_event_initialize(&event, 1);
    emit(&out, &event);
    yaml_stream_end_event_initialize(&event);
    emit(&out, &event);
    yaml_emitter_delete(&out);
}

/* ---- tables -------------------------------------------------------------------------- */

size_t output_width(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((uint8_t)s.p[i] & 0xc0) != 0x80;
    return n;
}

void output_clean(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        uint8_t ch = (uint8_t)s.p[i], next = i + 1 < s.n ? (uint8_t)s.p[i + 1] : 0;
        bool late = ch == 0xc2 && next >= 0x80 && next < 0xa0; /* C1 */
        i += late;
        buf_char(b, ch < ' ' || ch == 0x7f || late ? ' ' : (char)ch);
    }
}

static json member_of(json v, const char *path) {
    struct str rest = str_of(path);
    while (rest.p)
        v = json_get(v, str_cut(&rest, '.'));
    return v;
}

/* Lists of plain values read better without brackets and quotes. */
static void put_list(struct buf *b, json v) {
    size_t n = 0;
    for (struct json_iter it = json_iter(v); json_next(&it);) {
        buf_str(b, n++ ? S(", ") : S(""));
        if (json_text(it.value).n)
            output_clean(b, json_text(it.value));
        else
            json_write(b, it.value);
    }
}

static struct str cell_of(struct arena *a, json row, const struct column *column) {
    SCOPED(buf_done) struct buf b = { 0 };
    json v = member_of(row, column->member);
    bool yes = false;
    if (json_is_bool(v, &yes))
        return yes ? S("yes") : S("");
    if (!v || json_type(v) == JSON_NULL)
        return S("");
    if (json_type(v) == JSON_ARRAY)
        put_list(&b, v);
    else if (json_type(v) == JSON_OBJECT)
        json_write(&b, v);
    else
        output_clean(&b, json_text(v));
    return arena_dup(a, buf_view(&b));
}

struct grid {
    struct arena arena;
    struct str *cells; /* with the heads in row 0 */
    size_t *widths;
    bool *numbers;     /* to the right */
    size_t rows, columns;
};

static bool is_number(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("0123456789.-%", s.p[i]))
            return false;
    return true;
}

static void measure(struct grid *g, size_t column) {
    bool any = false, numbers = true;
    for (size_t row = 1; row < g->rows; row++) {
        struct str cell = g->cells[row * g->columns + column];
        size_t n = output_width(cell);
        any = any || n;
        numbers = numbers && is_number(cell);
        if (n > g->widths[column])
            g->widths[column] = n;
    }
    size_t head = output_width(g->cells[column]);
    g->numbers[column] = numbers;
    if (any && g->widths[column] < head)
        g->widths[column] = head;
}

static void fill(struct grid *g, json array, const struct column *columns) {
    size_t row = 1;
    for (size_t k = 0; k < g->columns; k++)
        g->cells[k] = str_of(columns[k].head);
    for (struct json_iter it = json_iter(array); json_next(&it); row++)
        for (size_t k = 0; k < g->columns; k++)
            g->cells[row * g->columns + k] = cell_of(&g->arena, it.value, &columns[k]);
    for (size_t k = 0; k < g->columns; k++)
        measure(g, k);
}

static void print_row(const struct grid *g, size_t row, bool bold) {
    size_t last = g->columns, pending = 0;
    while (last && !g->cells[row * g->columns + last - 1].n)
        last--;
    fputs(bold ? "\033[1m" : "", stdout);
    for (size_t k = 0; k < last; k++) {
        struct str cell = g->cells[row * g->columns + k];
        size_t gap = g->widths[k] > output_width(cell) ? g->widths[k] - output_width(cell) : 0;
        if (!g->widths[k])
            continue;
        size_t left = g->numbers[k] ? gap : 0;
        printf("%*s%.*s", (int)(pending + left), "", STR(cell));
        pending = 2 + gap - left;
    }
    fputs(bold ? "\033[0m\n" : "\n", stdout);
}

static void print_table(const struct cli *c, json array, const struct column *columns, size_t n) {
    struct grid g = { .columns = n, .rows = 1 + json_count(array) };
    if (g.rows == 1)
        return;
    arena_init(&g.arena, NULL, 0);
    g.cells = ARENA_ARRAY(&g.arena, struct str, g.rows * n);
    g.widths = ARENA_ARRAY(&g.arena, size_t, n);
    g.numbers = ARENA_ARRAY(&g.arena, bool, n);
    fill(&g, array, columns);
    for (size_t row = columns[0].head ? 0 : 1; row < g.rows; row++)
        print_row(&g, row, row == 0 && cli_color(c, stdout));
    arena_done(&g.arena);
}

/* ---- all forms ----------------------------------------------------------------------- */

void output_value(const struct cli *c, json v, enum cli_format format) {
    SCOPED(buf_done) struct buf b = { 0 };
    if (format == FORMAT_YAML)
        output_yaml(&b, v);
    else
        output_indented(&b, v);
    if (format != FORMAT_YAML)
        buf_char(&b, '\n');
    fwrite(b.p, 1, b.n, stdout);
}

void output_list(const struct cli *c, json array, const struct column *columns, size_t n) {
    enum cli_format format = output_format(c);
    if (format == FORMAT_TABLE)
        print_table(c, array, columns, n);
    else
        output_value(c, array, format);
}

void output_object(const struct cli *c, json object, const struct column *rows, size_t n) {
    enum cli_format format = output_format(c);
    SCOPED(arena_scope) struct arena a;
    size_t width = 0;
    arena_init(&a, NULL, 0);
    if (format != FORMAT_TABLE)
        output_value(c, object, format);
    for (size_t i = 0; i < n; i++)
        if (cell_of(&a, object, &rows[i]).n && strlen(rows[i].head) > width)
            width = strlen(rows[i].head);
    for (size_t i = 0; format == FORMAT_TABLE && i < n; i++) {
        struct str cell = cell_of(&a, object, &rows[i]);
        if (cell.n)
            printf("%-*s  %.*s\n", (int)width, rows[i].head, STR(cell));
    }
}
