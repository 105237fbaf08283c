/* conf_file.c - see conf_file.h. The readers turn a file into JSON text and a list of places
 * in document order; expansion rewrites strings and keeps that order; so numbering the values
 * of the last document in the same order gives every value its place. */
#include "base/mem.h"
#include "control/conf_text.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define FILE_LIMIT ((size_t)4 << 20)
#define BOM S("\xEF\xBB\xBF")

struct placed {
    json value;
    struct conf_pos at;
};

struct conf_file {
    struct str path;
    json root;
    struct placed *values; /* by address */
    size_t count;
    struct field_problems problems;
};

/* ---- text ------------------------------------------------------------------------ */

void conf_text_done(struct conf_text *t) {
    buf_done(&t->json);
    free(t->places);
}

void conf_text_place(struct conf_text *t, struct conf_pos at) {
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        t->places = mem_grow(t->places, t->room * sizeof(*t->places));
    }
    t->places[t->count++] = at;
}

err_t conf_text_error(const struct conf_text *t, struct conf_pos at, const char *format, ...) {
    char what[ERR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return ERR(INVALID, "%.*s:%u:%u: %s", STR(t->path), at.line, at.column, what);
}

static void close_scope(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

err_t conf_read_file(const char *path, size_t limit, struct buf *out) {
    SCOPED(close_scope) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(errno, "%s", path);
    for (;;) {
        buf_reserve(out, 64 << 10);
        ssize_t n = read(fd, out->p + out->n, 64 << 10);
        if (n == 0)
            return OK;
        if (n < 0 && errno != EINTR)
            return err_errno(errno, "%s", path);
        out->n += n > 0 ? (size_t)n : 0;
        if (out->n > limit)
            return ERR(TOO_LARGE, "%s: larger than %zu KiB", path, limit >> 10);
    }
}

static bool looks_like_json(struct str text) {
    size_t i = 0;
    while (i < text.n && memchr(" \t\r\n", text.p[i], 4))
        i++;
    struct str start = str_skip(text, i);
    return str_starts(start, S("{")) || str_starts(start, S("//")) || str_starts(start, S("/*"));
}

/* ---- places ----------------------------------------------------------------------- */

static void number_values(struct conf_file *f, json v, const struct conf_text *t) {
    assert(f->count < t->count);
    f->values[f->count] = (struct placed){ v, t->places[f->count] };
    f->count++;
    for (struct json_iter it = json_iter(v); json_next(&it);)
        number_values(f, it.value, t);
}

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)((const struct placed *)a)->value;
    uintptr_t y = (uintptr_t)((const struct placed *)b)->value;
    return (x > y) - (x < y);
}

static void place_values(struct conf_file *f, struct arena *a, const struct conf_text *t,
                         const struct conf_unexpanded *missing) {
    f->values = ARENA_ARRAY(a, struct placed, t->count);
    number_values(f, f->root, t);
    assert(f->count == t->count);
    for (size_t i = 0; i < f->problems.n; i++)
        f->problems.items[i].at = f->values[missing->indexes[i]].value;
    qsort(f->values, f->count, sizeof(*f->values), by_address);
}

struct conf_pos conf_file_position(const struct conf_file *f, json value) {
    struct placed key = { .value = value };
    const struct placed *found = value ? bsearch(&key, f->values, f->count, sizeof(key), by_address)
                                       : NULL;
    return found ? found->at : (struct conf_pos){ 0 };
}

/* ---- loading ----------------------------------------------------------------------- */

static err_t parse_expanded(struct conf_file *f, struct arena *a, struct conf_text *t,
                            const struct conf_expand *expand, struct conf_unexpanded *missing) {
    struct json_limits limits = { .bytes = CONF_TEXT_LIMIT, .depth = CONF_DEPTH };
    TRY_WRAP(json_parse(a, buf_view(&t->json), limits, &f->root), "%.*s", STR(f->path));
    if ((expand && expand->raw) || str_find_char(buf_view(&t->json), '$') < 0)
        return OK;
    SCOPED(buf_done) struct buf text = { 0 };
    TRY(conf_expand_write(a, f->root, f->path, expand, &text, missing));
    TRY_WRAP(json_parse(a, buf_view(&text), limits, &f->root), "%.*s, expanded", STR(f->path));
    return OK;
}

err_t conf_file_parse(struct arena *a, struct str path, struct str text,
                      const struct conf_expand *expand, struct conf_file **out) {
    struct conf_file *f = ARENA_NEW(a, struct conf_file);
    f->path = arena_dup(a, path);
    f->problems = (struct field_problems){ .arena = a, .lenient = true };
    struct conf_unexpanded missing = { .problems = &f->problems };
    SCOPED(conf_text_done) struct conf_text t = { .path = f->path };

    if (text.n > FILE_LIMIT)
        return ERR(TOO_LARGE, "%.*s: larger than %zu KiB", STR(path), FILE_LIMIT >> 10);
    if (str_starts(text, BOM))
        text = str_skip(text, BOM.n);
    TRY(looks_like_json(text) ? conf_jsonc_read(a, text, &t) : conf_yaml_read(a, text, &t));
    TRY(parse_expanded(f, a, &t, expand, &missing));
    place_values(f, a, &t, &missing);
    *out = f;
    return OK;
}

err_t conf_file_load(struct arena *a, struct str path, const struct conf_expand *expand,
                     struct conf_file **out) {
    SCOPED(buf_done) struct buf text = { 0 };
    TRY(conf_read_file(arena_text(a, path), FILE_LIMIT, &text));
    return conf_file_parse(a, path, buf_view(&text), expand, out);
}

json conf_file_root(const struct conf_file *f) {
    return f->root;
}

struct str conf_file_path(const struct conf_file *f) {
    return f->path;
}

struct field_problems *conf_file_problems(struct conf_file *f) {
    return &f->problems;
}
