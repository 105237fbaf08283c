/* import_secrets.c - see import.h. What looks like a secret: a value whose name says so, or one
 * that begins as the keys of well-known services do. */
#include "base/mem.h"
#include "cli/import.h"

static bool has_word(struct str name, const char *const *words, size_t n) {
    char lower[128];
    size_t length = name.n < sizeof lower ? name.n : sizeof lower;
    for (size_t i = 0; i < length; i++)
        lower[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 32) : name.p[i];
    for (size_t i = 0; i < n; i++)
        if (str_find(str_from(lower, length), str_of(words[i])) >= 0)
            return true;
    return false;
}

static bool is_secret_name(struct str name) {
    static const char *const words[] = {
        "key", "token", "secret", "passw", "credential", "authorization", "auth", "cookie", "dsn", "connection_string",
    };
    return has_word(name, words, ARRAY_SIZE(words));
}

static bool is_secret_value(struct str value) {
    static const char *const starts[] = { "sk-", "ghp_", "github_pat_", "gho_", "xoxb-", "xoxp-", "gs_", "glpat-",
                                          "AKIA", "AIza", "hf_", "npm_", "eyJ" };
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
        if (str_starts(value, str_of(starts[i])) && value.n >= 16)
            return true;
    return false;
}

static bool is_secret(struct str name, struct str value) {
    bool reference = str_find(value, S("${")) >= 0 || str_starts(value, S("/"));
    return value.n >= 6 && !reference && (is_secret_name(name) || is_secret_value(value));
}

/* ---- names and lines ------------------------------------------------------------------ */

static void put_upper(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (digit && !b->n)
            buf_char(b, '_');
        if (letter || digit)
            buf_char(b, letter ? (char)(c & ~32) : c);
        else if (b->n && b->p[b->n - 1] != '_')
            buf_char(b, '_');
    }
}

static bool is_taken(const struct secrets *s, struct str name) {
    SCOPED(buf_done) struct buf line = { 0 };
    SCOPED(buf_done) struct buf all = { 0 };
    buf_fmt(&line, "\n%.*s=", STR(name));
    buf_char(&all, '\n');
    buf_str(&all, s->taken);
    buf_char(&all, '\n');
    buf_str(&all, buf_view(&s->lines));
    return str_find(buf_view(&all), buf_view(&line)) >= 0;
}

/* Read by shells, systemd and docker alike. */
static void put_line(struct secrets *s, struct str name, struct str value) {
    bool single = str_find_char(value, '\'') < 0;
    buf_fmt(&s->lines, "%.*s=%c", STR(name), single ? '\'' : '"');
    for (size_t i = 0; i < value.n; i++) {
        if (!single && strchr("\\\"$`", value.p[i]))
            buf_char(&s->lines, '\\');
        buf_char(&s->lines, value.p[i]);
    }
    buf_str(&s->lines, single ? S("'\n") : S("\"\n"));
    s->n++;
}

/* The name itself where it is free, else with the upstream's in front. */
static struct str variable(struct secrets *s, struct str upstream, struct str name,
                           struct str value) {
    SCOPED(buf_done) struct buf b = { 0 };
    put_upper(&b, name);
    for (int i = 2; is_taken(s, buf_view(&b)); i++) {
        buf_clear(&b);
        put_upper(&b, upstream);
        buf_char(&b, '_');
        put_upper(&b, name);
        if (i > 2)
            buf_fmt(&b, "_%d", i);
    }
    struct str chosen = arena_dup(s->arena, buf_view(&b));
    put_line(s, chosen, value);
    return arena_fmt(s->arena, "${%.*s}", STR(chosen));
}

/* ---- the places ----------------------------------------------------------------------- */

static struct str scheme_of(struct str value) {
    ptrdiff_t space = str_find_char(value, ' ');
    return space > 0 ? str_head(value, (size_t)space + 1) : S("");
}

static void move_pairs(struct secrets *s, struct jw *w, struct str upstream, json pairs,
                       bool headers) {
    jw_object(w);
    for (struct json_iter it = json_iter(pairs); json_next(&it);) {
        struct str value = json_text(it.value), scheme = headers ? scheme_of(value) : S("");
        struct str name = headers ? arena_fmt(s->arena, "%.*s_%.*s", STR(upstream), STR(it.key))
                                  : it.key;
        jw_key(w, it.key);
        if (json_type(it.value) != JSON_STRING || !is_secret(it.key, value)) {
            jw_value(w, it.value);
            continue;
        }
        struct str moved = variable(s, upstream, name, str_skip(value, scheme.n));
        jw_string(w, arena_fmt(s->arena, "%.*s%.*s", STR(scheme), STR(moved)));
    }
    jw_object_end(w);
}

/* --token=VALUE, or --token followed by VALUE. */
static void move_arguments(struct secrets *s, struct jw *w, struct str upstream, json args) {
    struct str flag = S("");
    jw_array(w);
    for (struct json_iter it = json_iter(args); json_next(&it);) {
        struct str value = json_text(it.value), name = value;
        bool option = str_starts(value, S("-"));
        struct str inside = value;
        if (option)
            name = str_cut(&inside, '=');
        if (option && inside.p && is_secret(name, inside))
            jw_string(w, arena_fmt(s->arena, "%.*s=%.*s", STR(name),
                                   STR(variable(s, upstream, str_skip(name, 2), inside))));
        else if (!option && json_type(it.value) == JSON_STRING && is_secret(flag, value))
            jw_string(w,
                      variable(s, upstream, flag.n > 2 ? str_skip(flag, 2) : S("argument"), value));
        else
            jw_value(w, it.value);
        flag = option && !inside.p ? value : S("");
    }
    jw_array_end(w);
}

/* ?api_key=VALUE */
static void move_url(struct secrets *s, struct jw *w, struct str upstream, struct str url) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct str query = url, path = str_cut(&query, '?');
    buf_str(&b, path);
    for (bool first = true; query.p; first = false) {
        struct str value = str_cut(&query, '&'), name = str_cut(&value, '=');
        bool secret = value.p && is_secret(name, value);
        buf_char(&b, first ? '?' : '&');
        buf_str(&b, name);
        if (value.p)
            buf_char(&b, '=');
        buf_str(&b, secret ? variable(s, upstream, name, value) : value);
    }
    jw_string(w, buf_view(&b));
}

static err_t move_entry(struct secrets *s, struct entry *e) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    size_t before = s->n;
    jw_object(&w);
    for (struct json_iter it = json_iter(e->spec); json_next(&it);) {
        bool headers = str_eq(it.key, S("headers"));
        jw_key(&w, it.key);
        if (headers || str_eq(it.key, S("env")))
            move_pairs(s, &w, e->name, it.value, headers);
        else if (str_eq(it.key, S("args")))
            move_arguments(s, &w, e->name, it.value);
        else if (str_eq(it.key, S("url")))
            move_url(s, &w, e->name, json_text(it.value));
        else
            jw_value(&w, it.value);
    }
    jw_object_end(&w);
    if (s->n == before)
        return OK;
    const char *semi = e->notes.n ? "; " : "";
    e->notes = arena_fmt(s->arena, "%.*s%s%zu secret%s moved", STR(e->notes), semi, s->n - before,
                         s->n - before == 1 ? "" : "s");
    return json_parse(s->arena, arena_dup(s->arena, buf_view(&text)), (struct json_limits){ 0 },
                      &e->spec);
}

err_t secrets_move(struct secrets *s, struct entries *e) {
    for (size_t i = 0; i < e->n; i++)
        TRY(move_entry(s, &e->items[i]));
    return OK;
}
