/* uri.c - see uri.h.
 *
 * A template is matched as a non-deterministic automaton: a literal byte is a state, an
 * expression a state that stays while its alphabet allows. All states that can be active
 * are stepped at once for each byte of the URI, so no template makes it backtrack. */
#include "mcp/uri.h"
#include "base/mem.h"

#define OURS "gatespan"

/* ---- what others may see ----------------------------------------------------------- */

struct str uri_public(struct arena *a, struct str uri) {
    size_t n = 0;
    while (n < uri.n && uri.p[n] != '?' && uri.p[n] != '#')
        n++;
    struct str shown = str_head(uri, n);
    ptrdiff_t scheme = str_find(shown, S("://"));
    if (scheme < 0)
        return shown;
    struct str rest = str_skip(shown, (size_t)scheme + 3);
    ptrdiff_t slash = str_find_char(rest, '/');
    struct str authority = slash < 0 ? rest : str_head(rest, (size_t)slash);
    size_t behind = authority.n;
    while (behind && authority.p[behind - 1] != '@')
        behind--;
    return behind == 0 ? shown
                       : arena_fmt(a, "%.*s%.*s", STR(str_head(shown, (size_t)scheme + 3)),
                                   STR(str_skip(rest, behind)));
}

/* ---- rewriting --------------------------------------------------------------------- */

static bool letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

/* Length of the scheme in front of its colon (RFC 3986 §3.1); 0 when there is none. */
static size_t scheme_length(struct str uri) {
    size_t n = 0;
    while (n < uri.n &&
           (letter(uri.p[n]) || (n && (digit(uri.p[n]) || memchr("+-.", uri.p[n], 3)))))
        n++;
    return n < uri.n && uri.p[n] == ':' ? n : 0;
}

static bool web(struct str scheme) {
    return str_eq_nocase(scheme, S("http")) || str_eq_nocase(scheme, S("https"));
}

static bool keeps_scheme(struct str scheme) {
    return str_eq_nocase(scheme, S("ui")) || str_eq_nocase(scheme, S("skill"));
}

static void put_with_name(struct buf *out, struct str colon, struct str name, struct str rest) {
    buf_str(out, colon);
    buf_str(out, name);
    buf_char(out, '/');
    buf_str(out, rest);
}

void uri_show(struct buf *out, const struct uri_map *map, struct str uri) {
    struct str scheme = str_head(uri, scheme_length(uri));
    if (!map || !map->rewrite || web(scheme)) {
        buf_str(out, uri);
        return;
    }
    if (scheme.n == 0) {
        put_with_name(out, S(OURS "://"), map->upstream, uri);
        return;
    }
    struct str rest = str_skip(uri, scheme.n + 1);
    bool slashes = str_starts(rest, S("//"));
    if (!slashes || !keeps_scheme(scheme))
        buf_str(out, S(OURS "+"));
    buf_str(out, scheme);
    put_with_name(out, slashes ? S("://") : S(":"), map->upstream,
                  slashes ? str_skip(rest, 2) : rest);
}

static bool name_ok(struct str name) {
    for (size_t i = 0; i < name.n; i++)
        if (!letter(name.p[i]) && !digit(name.p[i]) && name.p[i] != '_' && name.p[i] != '-')
            return false;
    return name.n > 0;
}

bool uri_restore(struct str shown, struct str *upstream, struct buf *original) {
    struct str scheme = str_head(shown, scheme_length(shown));
    struct str rest = str_skip(shown, scheme.n + 1);
    bool slashes = str_starts(rest, S("//"));
    bool bare = str_eq_nocase(scheme, S(OURS));
    bool wrapped = scheme.n > sizeof OURS &&
                   str_eq_nocase(str_head(scheme, sizeof OURS), S(OURS "+"));
    if (wrapped)
        scheme = str_skip(scheme, sizeof OURS);
    if (!bare && !wrapped && !keeps_scheme(scheme))
        return false;
    if (!slashes && !wrapped)
        return false;
    struct str path = slashes ? str_skip(rest, 2) : rest;
    struct str name = str_cut(&path, '/');
    if (!path.p || !name_ok(name))
        return false;
    *upstream = name;
    if (!bare) {
        buf_str(original, scheme);
        buf_str(original, slashes ? S("://") : S(":"));
    }
    buf_str(original, path);
    return true;
}

/* ---- templates --------------------------------------------------------------------- */

/* One state of the automaton. */
struct state {
    char lead;        /* a byte that an expression begins with, or the literal byte; 0: none */
    uint8_t alphabet; /* of an expression; NONE: a literal */
};
enum { NONE, SIMPLE, PATH, QUERY, ANY }; /* alphabets, each larger than the one before */

static bool in_alphabet(uint8_t alphabet, char c) {
    switch (alphabet) {
    case SIMPLE: return c != '/' && c != '?' && c != '#';
    case PATH: return c != '?' && c != '#';
    case QUERY: return c != '#';
    case ANY: return true;
    default: return false;
    }
}

/* What an operator makes of each variable (RFC 6570 §3.2.2 to §3.2.9). */
static const struct operator{
    char sign, lead;
    uint8_t alphabet, exploded;
    bool each; /* every variable has its own lead; else one for all */
}
operators[] = {
    { 0, 0, SIMPLE, SIMPLE, false },   { '+', 0, ANY, ANY, false },
    { '#', '#', ANY, ANY, false },     { '.', '.', SIMPLE, SIMPLE, true },
    { '/', '/', SIMPLE, PATH, true },  { ';', ';', SIMPLE, SIMPLE, true },
    { '?', '?', QUERY, QUERY, false }, { '&', '&', QUERY, QUERY, false },
};

static const struct operator* operator_of(char sign) {
    for (size_t i = 1; i < ARRAY_SIZE(operators); i++)
        if (operators[i].sign == sign)
            return &operators[i];
    return &operators[0];
}

static size_t add_expression(struct state *states, struct str inside) {
    const struct operator* op = operator_of(inside.n ? inside.p[0] : 0);
    size_t n = 0;
    for (struct str rest = op->sign ? str_skip(inside, 1) : inside; rest.p;) {
        struct str var = str_cut(&rest, ',');
        if (n == 0 || op->each)
            states[n++] = (struct state){ .lead = op->lead };
        uint8_t alphabet = str_ends(var, S("*")) ? op->exploded : op->alphabet;
        if (states[n - 1].alphabet < alphabet)
            states[n - 1].alphabet = alphabet;
    }
    return n;
}

/* Returns the number of states: never more than bytes in the template. */
static size_t compile(struct state *states, struct str t) {
    size_t n = 0;
    for (size_t i = 0; i < t.n; i++) {
        ptrdiff_t end = t.p[i] == '{' ? str_find_char(str_skip(t, i), '}') : -1;
        if (end < 2) {
            states[n++] = (struct state){ .lead = t.p[i] };
            continue;
        }
        n += add_expression(states + n, str_from(t.p + i + 1, (size_t)end - 1));
        i += (size_t)end;
    }
    return n;
}

/* `at[i]`: the match stands before state i; `in[i]`: inside expression i, its lead is read. */
struct run {
    const struct state *states;
    size_t n;
    bool *at, *in;
};

/* Expressions may be empty: what stands before one stands behind it too. */
static void settle(struct run *r) {
    for (size_t i = 0; i < r->n; i++) {
        if (!r->states[i].alphabet)
            continue;
        if (r->at[i] && !r->states[i].lead)
            r->in[i] = true;
        if (r->at[i] || r->in[i])
            r->at[i + 1] = true;
    }
}

static bool step(struct run *r, char c) {
    bool alive = false, arrived = false; /* arrived: at the next state, by this byte */
    for (size_t i = 0; i < r->n; i++) {
        const struct state *s = &r->states[i];
        bool at = r->at[i], in = r->in[i];
        r->at[i] = arrived;
        arrived = !s->alphabet && at && s->lead == c;
        r->in[i] = s->alphabet &&
                   ((in && in_alphabet(s->alphabet, c)) || (at && s->lead && s->lead == c));
        alive |= arrived || r->in[i];
    }
    r->at[r->n] = arrived;
    return alive;
}

static bool literal_start_differs(struct str t, struct str uri) {
    ptrdiff_t brace = str_find_char(t, '{');
    return !str_starts(uri, str_head(t, brace < 0 ? t.n : (size_t)brace));
}

bool uri_template_matches(struct str t, struct str uri) {
    if (t.n > URI_TEMPLATE_MAX || uri.n > URI_MAX || literal_start_differs(t, uri))
        return false;
    SCOPED(mem_scope) struct state *states = mem_alloc(sizeof *states * (t.n + 1));
    struct run r = { .states = states, .n = compile(states, t) };
    SCOPED(mem_scope) bool *flags = mem_zero(2 * (r.n + 1));
    r.at = flags;
    r.in = flags + r.n + 1;
    r.at[0] = true;
    settle(&r);
    for (size_t i = 0; i < uri.n; i++) {
        if (!step(&r, uri.p[i]))
            return false;
        settle(&r);
    }
    return r.at[r.n];
}

/* ---- syntax ------------------------------------------------------------------------ */

static bool name_byte(char c) {
    return letter(c) || digit(c) || c == '_' || c == '-' || c == '.' || c == '%';
}

/* varspec = varname [ "*" / ":" 1*4DIGIT ] */
static bool variable_valid(struct str var) {
    size_t n = 0;
    while (n < var.n && name_byte(var.p[n]))
        n++;
    struct str modifier = str_skip(var, n);
    if (n == 0 || modifier.n == 0 || str_eq(modifier, S("*")))
        return n > 0;
    uint64_t length;
    return modifier.p[0] == ':' && modifier.n <= 5 && str_to_u64(str_skip(modifier, 1), &length) &&
           length > 0;
}

static bool expression_valid(struct str inside) {
    struct str rest = inside.n && operator_of(inside.p[0])->sign ? str_skip(inside, 1) : inside;
    if (rest.n == 0)
        return false;
    while (rest.p)
        if (!variable_valid(str_cut(&rest, ',')))
            return false;
    return true;
}

bool uri_template_valid(struct str t) {
    if (t.n == 0 || t.n > URI_TEMPLATE_MAX)
        return false;
    size_t expressions = 0;
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] == '}' || (unsigned char)t.p[i] < ' ')
            return false;
        if (t.p[i] != '{')
            continue;
        ptrdiff_t end = str_find_char(str_skip(t, i), '}');
        if (end < 0 || ++expressions > URI_EXPRESSIONS_MAX ||
            !expression_valid(str_from(t.p + i + 1, (size_t)end - 1)))
            return false;
        i += (size_t)end;
    }
    return true;
}
