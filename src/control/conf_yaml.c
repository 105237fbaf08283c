/* conf_yaml.c - YAML to JSON text, event by event.
 *
 * libyaml does the syntax; the meaning of plain scalars is YAML 1.2's core schema (§10.3.2),
 * so `yes` and `no` are texts. An alias copies the JSON text, and the places, of what its
 * anchor wrote; so the limit on the text bounds what aliases can do. */
#include "base/map.h"
#include "base/mem.h"
#include "control/conf_text.h"
#include <inttypes.h>
#include <yaml.h>

struct frame {
    bool object, at_value; /* at_value: the key is written, its value comes */
    bool filled;
    unsigned height; /* of the highest container inside, plus one */
    struct map keys; /* to the place where each stands */
    struct conf_pos *key;
    struct anchor *anchor;
};

struct anchor {
    bool complete;
    unsigned height;
    size_t text, text_end, place, place_end;
};

struct yaml {
    struct arena *a;
    struct conf_text *out;
    yaml_parser_t parser;
    yaml_event_t event;
    struct map anchors;
    unsigned depth, documents;
    struct frame frames[CONF_DEPTH];
};

static struct conf_pos pos_of(yaml_mark_t mark) {
    return (struct conf_pos){ (uint32_t)mark.line + 1, (uint32_t)mark.column + 1 };
}

static struct conf_pos here(const struct yaml *y) {
    return pos_of(y->event.start_mark);
}

static struct frame *top(struct yaml *y) {
    return y->depth ? &y->frames[y->depth - 1] : NULL;
}

/* libyaml calls a quoted scalar plain when it is tagged with a lone "!". */
static bool is_plain(const struct yaml *y) {
    return y->event.data.scalar.plain_implicit &&
           y->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* ---- plain scalars ----------------------------------------------------------------- */

static bool is_one_of(struct str s, const char *const *words) {
    for (; *words; words++)
        if (str_eq(s, str_of(*words)))
            return true;
    return false;
}

static size_t digits(struct str s, size_t at) {
    size_t n = 0;
    while (at + n < s.n && s.p[at + n] >= '0' && s.p[at + n] <= '9')
        n++;
    return n;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?  in its parts */
struct number {
    bool minus;
    struct str whole, fraction, exponent; /* digits; exponent with its sign */
};

static bool split_number(struct str s, struct number *n) {
    size_t at = s.n && (s.p[0] == '-' || s.p[0] == '+');
    n->minus = at && s.p[0] == '-';
    n->whole = str_from(s.p + at, digits(s, at));
    at += n->whole.n;
    n->fraction = n->exponent = S("");
    if (at < s.n && s.p[at] == '.') {
        n->fraction = str_from(s.p + at + 1, digits(s, at + 1));
        at += 1 + n->fraction.n;
    }
    if (n->whole.n + n->fraction.n == 0)
        return false;
    if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
        size_t sign = at + 1 < s.n && (s.p[at + 1] == '-' || s.p[at + 1] == '+');
        size_t n_digits = digits(s, at + 1 + sign);
        n->exponent = str_from(s.p + at + 1, sign + n_digits);
        at += 1 + sign + n_digits;
        if (n_digits == 0)
            return false;
    }
    return at == s.n;
}

static void put_number(struct buf *out, const struct number *n) {
    buf_str(out, n->minus ? S("-") : S(""));
    buf_str(out, n->whole.n ? n->whole : S("0"));
    if (n->fraction.n) {
        buf_char(out, '.');
        buf_str(out, n->fraction);
    }
    if (n->exponent.n) {
        buf_char(out, 'e');
        buf_str(out, n->exponent);
    }
}

static int digit_value(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 16;
}

/* 0o7 and 0x1F; false when it is none, or beyond 64 bits. */
static bool based_number(struct str s, uint64_t *out) {
    unsigned base = str_starts(s, S("0x")) ? 16 : str_starts(s, S("0o")) ? 8 : 0;
    uint64_t n = 0;
    if (base == 0 || s.n < 3)
        return false;
    for (size_t i = 2; i < s.n; i++) {
        unsigned digit = (unsigned)digit_value(s.p[i]);
        if (digit >= base || __builtin_mul_overflow(n, base, &n) ||
            __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *out = n;
    return true;
}

static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
static const char *const trues[] = { "true", "True", "TRUE", NULL };
static const char *const falses[] = { "false", "False", "FALSE", NULL };
static const char *const no_json[] = {
    ".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf", "+.INF", "-.inf",
    "-.Inf", "-.INF", ".nan", ".NaN",  ".NAN",  NULL,
};

/* Appends the JSON of a plain scalar that is no text; *out_text when it is text. */
static err_t put_plain(const struct yaml *y, struct str s, struct buf *out, bool *out_text) {
    struct number n;
    uint64_t based;
    *out_text = false;
    if (is_one_of(s, no_json))
        return conf_text_error(y->out, here(y), "infinity and not-a-number cannot be used here");
    if (is_one_of(s, nulls))
        buf_str(out, S("null"));
    else if (is_one_of(s, trues))
        buf_str(out, S("true"));
    else if (is_one_of(s, falses))
        buf_str(out, S("false"));
    else if (based_number(s, &based))
        buf_u64(out, based);
    else if (!split_number(s, &n))
        *out_text = true;
    else if (n.whole.n > 1 && n.whole.p[0] == '0')
        return conf_text_error(
            y->out, here(y),
            "a number with leading zeros: quote it if it is a text, else drop them");
    else
        put_number(out, &n);
    return OK;
}

/* ---- values ------------------------------------------------------------------------ */

/* The comma before an element; members have theirs before the key. */
static void begin_value(struct yaml *y) {
    struct frame *f = top(y);
    if (f && !f->object && f->filled)
        buf_char(&y->out->json, ',');
    if (f)
        f->filled = true;
}

static void end_value(struct yaml *y, unsigned height) {
    struct frame *f = top(y);
    if (!f)
        return;
    f->at_value = false;
    if (f->height < height + 1)
        f->height = height + 1;
}

static struct anchor *drop_anchor(struct yaml *y, const yaml_char_t *name) {
    if (!name)
        return NULL;
    struct anchor *anchor = ARENA_NEW(y->a, struct anchor);
    anchor->text = y->out->json.n;
    anchor->place = y->out->count;
    map_put(&y->anchors, arena_dup(y->a, str_of((const char *)name)), anchor);
    return anchor;
}

static void fix_anchor(struct yaml *y, struct anchor *anchor, unsigned height) {
    if (!anchor)
        return;
    anchor->complete = true;
    anchor->height = height;
    anchor->text_end = y->out->json.n;
    anchor->place_end = y->out->count;
}

static err_t check_tag(const struct yaml *y, const yaml_char_t *tag, const char *name) {
    struct str given = str_of((const char *)tag);
    if (!tag || str_eq(given, S("!")))
        return OK;
    struct str core = S(YAML_STR_TAG);
    core.n -= strlen("str");
    if (str_starts(given, core) && str_eq(str_skip(given, core.n), str_of(name)))
        return OK;
    return conf_text_error(y->out, here(y), "tags other than !!%s cannot be used here", name);
}

static struct str scalar_text(const struct yaml *y) {
    return str_from((const char *)y->event.data.scalar.value, y->event.data.scalar.length);
}

static void put_string(struct yaml *y, struct str s) {
    struct jw w = jw_init(&y->out->json);
    jw_string(&w, s);
}

static err_t scalar(struct yaml *y) {
    TRY(check_tag(y, y->event.data.scalar.tag, "str"));
    begin_value(y);
    struct anchor *anchor = drop_anchor(y, y->event.data.scalar.anchor);
    conf_text_place(y->out, here(y));
    bool text = true;
    if (is_plain(y))
        TRY(put_plain(y, scalar_text(y), &y->out->json, &text));
    if (text)
        put_string(y, scalar_text(y));
    end_value(y, 0);
    fix_anchor(y, anchor, 0);
    return OK;
}

static err_t open_container(struct yaml *y, bool object) {
    const yaml_char_t *name = object ? y->event.data.mapping_start.anchor
                                     : y->event.data.sequence_start.anchor;
    const yaml_char_t *tag = object ? y->event.data.mapping_start.tag
                                    : y->event.data.sequence_start.tag;
    TRY(check_tag(y, tag, object ? "map" : "seq"));
    if (y->depth == CONF_DEPTH)
        return conf_text_error(y->out, here(y), "nested deeper than %u levels", CONF_DEPTH);
    begin_value(y);
    struct frame *up = top(y);
    struct frame *f = &y->frames[y->depth++];
    *f = (struct frame){ .object = object, .anchor = drop_anchor(y, name) };
    conf_text_place(y->out, up && up->object ? *up->key : here(y));
    buf_char(&y->out->json, object ? '{' : '[');
    return OK;
}

static err_t close_container(struct yaml *y) {
    struct frame *f = top(y);
    buf_char(&y->out->json, f->object ? '}' : ']');
    map_done(&f->keys);
    unsigned height = f->height ? f->height : 1;
    fix_anchor(y, f->anchor, height);
    y->depth--;
    end_value(y, height);
    return OK;
}

static err_t alias(struct yaml *y) {
    const char *name = (const char *)y->event.data.alias.anchor;
    const struct anchor *anchor = map_get(&y->anchors, str_of(name));
    if (!anchor)
        return conf_text_error(y->out, here(y), "alias *%.60s has no anchor before it", name);
    if (!anchor->complete)
        return conf_text_error(y->out, here(y), "alias *%.60s stands inside its own anchor", name);
    if (y->depth + anchor->height > CONF_DEPTH)
        return conf_text_error(y->out, here(y), "nested deeper than %u levels", CONF_DEPTH);
    size_t n = anchor->text_end - anchor->text;
    if (y->out->json.n + n > CONF_TEXT_LIMIT)
        return conf_text_error(y->out, here(y), "aliases make the document too large");
    begin_value(y);
    buf_reserve(&y->out->json, n);
    buf_put(&y->out->json, y->out->json.p + anchor->text, n);
    for (size_t i = anchor->place; i < anchor->place_end; i++)
        conf_text_place(y->out, y->out->places[i]);
    end_value(y, anchor->height);
    return OK;
}

/* ---- keys -------------------------------------------------------------------------- */

static err_t check_key(const struct yaml *y, struct str key) {
    SCOPED(buf_done) struct buf json = { 0 };
    bool text = true;
    if (!is_plain(y))
        return OK;
    if (str_eq(key, S("<<")))
        return conf_text_error(y->out, here(y),
                               "merge keys are not supported: write the members out");
    if (!put_plain(y, key, &json, &text) && text)
        return OK;
    return conf_text_error(y->out, here(y), "a key must be a text: write \"%.*s\" in quotes",
                           STR(str_head(key, 60)));
}

static err_t key(struct yaml *y, struct frame *f) {
    if (y->event.type != YAML_SCALAR_EVENT)
        return conf_text_error(y->out, here(y), "a key must be a text");
    struct str name = arena_dup(y->a, scalar_text(y));
    TRY(check_tag(y, y->event.data.scalar.tag, "str"));
    TRY(check_key(y, name));
    f->key = ARENA_NEW(y->a, struct conf_pos);
    *f->key = here(y);
    struct conf_pos *before = map_put(&f->keys, name, f->key);
    if (before)
        return conf_text_error(y->out, here(y), "key \"%.*s\" stands at line %u column %u already",
                               STR(str_head(name, 60)), before->line, before->column);
    if (f->filled)
        buf_char(&y->out->json, ',');
    put_string(y, name);
    buf_char(&y->out->json, ':');
    f->at_value = true;
    return OK;
}

/* ---- events ------------------------------------------------------------------------ */

static err_t syntax_error(struct yaml *y) {
    const yaml_parser_t *p = &y->parser;
    struct conf_pos at = pos_of(p->problem_mark);
    if (p->error == YAML_READER_ERROR)
        at = pos_of(p->mark);
    const char *problem = p->problem ? p->problem : "out of memory";
    if (!p->context)
        return conf_text_error(y->out, at, "%s", problem);
    return conf_text_error(y->out, at, "%s (%s that starts at line %zu)", problem, p->context,
                           p->context_mark.line + 1);
}

static err_t on_event(struct yaml *y) {
    struct frame *f = top(y);
    yaml_event_type_t type = y->event.type;
    if (type == YAML_DOCUMENT_START_EVENT && y->documents++)
        return conf_text_error(y->out, here(y), "a second document: one file holds one");
    if (f && f->object && !f->at_value && type != YAML_MAPPING_END_EVENT)
        return key(y, f);
    switch (type) {
    case YAML_SCALAR_EVENT:
        return scalar(y);
    case YAML_ALIAS_EVENT:
        return alias(y);
    case YAML_MAPPING_START_EVENT:
        return open_container(y, true);
    case YAML_SEQUENCE_START_EVENT:
        return open_container(y, false);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return close_container(y);
    default:
        return OK;
    }
}

static err_t read_events(struct yaml *y) {
    for (bool more = true; more;) {
        if (!yaml_parser_parse(&y->parser, &y->event))
            return syntax_error(y);
        err_t e = on_event(y);
        more = y->event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&y->event);
        if (e)
            return e;
        if (y->out->json.n > CONF_TEXT_LIMIT)
            return ERR(TOO_LARGE, "%.*s: larger than %zu KiB", STR(y->out->path),
                       CONF_TEXT_LIMIT >> 10);
    }
    return OK;
}

static void yaml_done(struct yaml *y) {
    for (unsigned i = 0; i < y->depth; i++)
        map_done(&y->frames[i].keys);
    map_done(&y->anchors);
    yaml_parser_delete(&y->parser);
}

static void yaml_scope(struct yaml **y) {
    yaml_done(*y);
}

err_t conf_yaml_read(struct arena *a, struct str text, struct conf_text *out) {
    SCOPED(arena_scope) struct arena scratch;
    arena_init(&scratch, NULL, 0);
    SCOPED(yaml_scope) struct yaml *y = ARENA_NEW(&scratch, struct yaml);
    y->a = &scratch;
    y->out = out;
    if (!yaml_parser_initialize(&y->parser))
        return ERR(INTERNAL, "no memory for a YAML parser");
    yaml_parser_set_encoding(&y->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&y->parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    TRY(read_events(y));
    if (out->count == 0) {
        conf_text_place(out, (struct conf_pos){ 1, 1 });
        buf_str(&out->json, S("null"));
    }
    return OK;
}
