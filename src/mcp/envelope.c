/* envelope.c - see envelope.h: the walker over the tokens of envelope_lex.h.
 *
 * Three objects are read member by member (the envelope, params, params._meta; a table row
 * says what each known member must be); every other value is walked by `container`, a state
 * machine with one bit of stack for each level. A grammar fault ends the walk. Any other
 * fault is a bit in `faults`, so that an id at the end of the message is still found; the
 * lowest bit is the verdict. */

#include "mcp/envelope.h"

#include "mcp/envelope_lex.h"

enum { DEPTH_DEFAULT = 128, DEPTH_MOST = 1024 };

/* ---- faults --------------------------------------------------------------------------- */

static const struct {
    int code;
    const char *text;
} faults[] = {
#define X(name, code, text) [ENVELOPE_##name] = { code, text },
    ENVELOPE_FAULTS(X)
#undef X
};

int envelope_fault_code(enum envelope_fault f) {
    return faults[f].code;
}

const char *envelope_fault_text(enum envelope_fault f) {
    return faults[f].text;
}

/* ---- the known members ---------------------------------------------------------------- */

enum object { IN_ENVELOPE, IN_PARAMS, IN_META };

/* What a value is, as bits: a row accepts a set of them. */
enum {
    STRING = 1 << 0,
    OBJECT = 1 << 1,
    INTEGER = 1 << 2,
    NIL = 1 << 3,    /* null; where it is accepted the member stays absent */
    OTHER = 1 << 4,  /* an array, a boolean, a number with fraction or exponent */
    INSIDE = 1 << 5, /* what is kept is between the quotes */
    ANY = STRING | OBJECT | INTEGER | NIL | OTHER,
};

#define MCP "io.modelcontextprotocol/"

/* Length and first byte tell the known keys of one object apart. A protocolVersion of
 * another type is no fault here: P-072 wants other answers first. */
/* clang-format off */
#define MEMBERS(X)                                                                                     \
    /* object    member         key                       accepts                kept as       fault */ \
    X(ENVELOPE, JSONRPC,         'j', "jsonrpc",            STRING,                text,          VERSION) \
    X(ENVELOPE, ID,              'i', "id",                 STRING|INTEGER|NIL,    id,            ID)      \
    X(ENVELOPE, METHOD,          'm', "method",             STRING|INSIDE,         method,        METHOD)  \
    X(ENVELOPE, PARAMS,          'p', "params",             OBJECT|NIL,            params,        PARAMS)  \
    X(ENVELOPE, RESULT,          'r', "result",             OBJECT,                result,        SHAPE)   \
    X(ENVELOPE, ERROR,           'e', "error",              OBJECT,                error,         SHAPE)   \
    X(PARAMS,   NAME,            'n', "name",               STRING|INSIDE,         name,          MEMBER)  \
    X(PARAMS,   URI,             'u', "uri",                STRING|INSIDE,         uri,           MEMBER)  \
    X(PARAMS,   TASK_ID,         't', "taskId",             STRING|INSIDE,         task_id,       MEMBER)  \
    X(PARAMS,   ARGUMENTS,       'a', "arguments",          OBJECT|NIL,            arguments,     MEMBER)  \
    X(PARAMS,   CURSOR,          'c', "cursor",             STRING|NIL,            cursor,        MEMBER)  \
    X(PARAMS,   META,            '_', "_meta",              OBJECT,                meta,          META)    \
    X(META,     PROGRESS_TOKEN,  'p', "progressToken",      STRING|INTEGER|NIL,    progress_token, MEMBER) \
    X(META,     PROTOCOL_VERSION, 'i', MCP "protocolVersion", STRING|INSIDE,       protocol_version, NONE) \
    X(META,     CAPABILITIES,    'i', MCP "clientCapabilities", OBJECT,            client_capabilities, MEMBER) \
    X(META,     CLIENT_INFO,     'i', MCP "clientInfo",     OBJECT,                client_info,   MEMBER)  \
    X(META,     LOG_LEVEL,       'i', MCP "logLevel",       ANY,                   log_level,     MEMBER)  \
    X(META,     SUBSCRIPTION_ID, 'i', MCP "subscriptionId", STRING|INTEGER,        subscription_id, MEMBER) \
    X(META,     TRACEPARENT,     't', "traceparent",        STRING|INSIDE,         traceparent,   MEMBER)  \
    X(META,     TRACESTATE,      't', "tracestate",         STRING|INSIDE,         tracestate,    MEMBER)  \
    X(META,     BAGGAGE,         'b', "baggage",            STRING|INSIDE,         baggage,       MEMBER)
/* clang-format on */

enum member {
#define X(object, member, ...) M_##member,
    MEMBERS(X)
#undef X
    M_OTHER,
};

static const struct {
    uint8_t accepts, fault;
    uint16_t offset;
} rows[] = {
#define X(object, member, first, key, accepts, field, fault)                                   \
    [M_##member] = { accepts, ENVELOPE_##fault, offsetof(struct envelope, field) },
    MEMBERS(X)
#undef X
};

enum { KEY_LONGEST = sizeof(MCP "clientCapabilities") - 1, UNKNOWN_MOST = 128 };

#define KEY_CASE(object, n, first) ((unsigned)(object) << 16 | (unsigned)(n) << 8 | (first))

static enum member known(enum object in, struct str key) {
    if (key.n == 0 || key.n > KEY_LONGEST)
        return M_OTHER;
    switch (KEY_CASE(in, key.n, (uint8_t)*key.p)) {
#define X(object, member, first, text, ...)                                                    \
    case KEY_CASE(IN_##object, sizeof(text) - 1, first):                                       \
        return memcmp(key.p, text, sizeof(text) - 1) == 0 ? M_##member : M_OTHER;
        MEMBERS(X)
#undef X
    default:
        return M_OTHER;
    }
}

/* ---- tokens --------------------------------------------------------------------------- */

struct cursor {
    const uint8_t *base; /* of the word that bits came from */
    uint64_t bits;
    unsigned word, words;
};

struct scan {
    struct lex lex;
    struct cursor cursor;
    const uint8_t *end;
    struct envelope *out;
    unsigned depth, limit;
    unsigned faults; /* 1u << ENVELOPE_… */
    uint32_t seen;   /* 1u << M_… */
    unsigned unknown_count;
    uint64_t is_object[DEPTH_MOST / 64]; /* one bit for each open level */
    uint64_t unknown[UNKNOWN_MOST];      /* hashes of keys that no row has */
};

/* What comes after the last token; no token begins with it. */
static const uint8_t no_token[1];

static inline const uint8_t *next(struct lex *l, struct cursor *c) {
    while (c->bits == 0) {
        if (c->word == c->words) {
            c->word = 0;
            c->words = l->run(l);
            if (c->words == 0)
                return no_token;
        }
        c->bits = l->tokens[c->word++];
        c->base += LEX_BLOCK;
    }
    const uint8_t *p = c->base + __builtin_ctzll(c->bits);
    c->bits &= c->bits - 1;
    return p;
}

static inline const uint8_t *token(struct scan *s) {
    return next(&s->lex, &s->cursor);
}

static void fault(struct scan *s, enum envelope_fault f) {
    s->faults |= 1u << f;
}

static const uint8_t *stop(struct scan *s, enum envelope_fault f) {
    fault(s, f);
    return NULL;
}

/* Between its quotes; start is the opening one. */
static inline bool string(struct scan *s, const uint8_t *start, struct str *out) {
    if (*start != '"')
        return false;
    const uint8_t *close = token(s);
    if (close == no_token)
        return false;
    *out = (struct str){ (const char *)start + 1, (size_t)(close - start) - 1 };
    return true;
}

/* The lexer saw a whole batch: only where that has backslashes must the string be searched. */
static inline bool has_escape(const struct scan *s, struct str t) {
    const struct lex *l = &s->lex;
    if ((size_t)((const uint8_t *)t.p - l->text) >= l->batch_at && l->carry.backslashes == 0)
        return false;
    return memchr(t.p, '\\', t.n) != NULL;
}

/* ---- values --------------------------------------------------------------------------- */

static inline bool is_digit(uint8_t c) {
    return (uint8_t)(c - '0') < 10;
}

/* Past one or more digits, or NULL. */
static inline const uint8_t *digits(const uint8_t *p, const uint8_t *end) {
    const uint8_t *start = p;
    while (p < end && is_digit(*p))
        p++;
    return p > start ? p : NULL;
}

/* RFC 8259 §6: the end of the number at p, or NULL. */
static const uint8_t *number_end(const uint8_t *p, const uint8_t *end) {
    p += *p == '-';
    if (p < end && *p == '0')
        p++;
    else
        p = digits(p, end);
    if (p && p < end && *p == '.')
        p = digits(p + 1, end);
    if (p && p < end && (*p | 0x20) == 'e') {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        p = digits(p, end);
    }
    return p;
}

static inline const uint8_t *literal_end(const uint8_t *p, const uint8_t *end, struct str word) {
    bool same = (size_t)(end - p) >= word.n && memcmp(p, word.p, word.n) == 0;
    return same ? p + word.n : NULL;
}

/* The lexer gives no token for what follows without a gap, so `1x` must be caught here; what
 * gives one (`1"`, `1{`) is refused by the grammar. */
static inline bool ends_scalar(const uint8_t *p, const uint8_t *end) {
    return p == end || *p == ',' || *p == '}' || *p == ']' || *p <= ' ';
}

static inline const uint8_t *scalar_end(const uint8_t *p, const uint8_t *end) {
    const uint8_t *to = NULL;
    if (is_digit(*p) || *p == '-')
        to = number_end(p, end);
    else if (*p == 't')
        to = literal_end(p, end, S("true"));
    else if (*p == 'f')
        to = literal_end(p, end, S("false"));
    else if (*p == 'n')
        to = literal_end(p, end, S("null"));
    return to && ends_scalar(to, end) ? to : NULL;
}

/* Any object or array, from its opening bracket to past its closing one. Labels are the
 * states of RFC 8259 §4 and §5; the cursor lives in registers meanwhile. A string that has
 * no end needs no check: what follows it is no_token, which no state takes. */
static const uint8_t *container(struct scan *s, const uint8_t *p) {
    struct cursor c = s->cursor;
    const unsigned outside = s->depth;
    unsigned depth = outside;
    bool object;

open:
    if (depth == s->limit)
        return stop(s, ENVELOPE_DEPTH);
    object = *p == '{';
    uint64_t bit = 1ull << depth % 64, *word = &s->is_object[depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    depth++;
    p = next(&s->lex, &c);
    if (*p == (object ? '}' : ']'))
        goto close;
    if (!object)
        goto value;
key:
    if (*p != '"')
        return stop(s, ENVELOPE_SYNTAX);
    next(&s->lex, &c);
    if (*next(&s->lex, &c) != ':')
        return stop(s, ENVELOPE_SYNTAX);
    p = next(&s->lex, &c);
value:
    if (*p == '"')
        next(&s->lex, &c);
    else if (*p == '{' || *p == '[')
        goto open;
    else if (!scalar_end(p, s->end))
        return stop(s, ENVELOPE_SYNTAX);
after:
    p = next(&s->lex, &c);
    if (*p == ',') {
        p = next(&s->lex, &c);
        if (object)
            goto key;
        goto value;
    }
    if (*p != (object ? '}' : ']'))
        return stop(s, ENVELOPE_SYNTAX);
close:
    depth--;
    if (depth > outside) {
        object = s->is_object[(depth - 1) / 64] >> (depth - 1) % 64 & 1;
        goto after;
    }
    s->cursor = c;
    return p + 1;
}

static const uint8_t *value_end(struct scan *s, const uint8_t *p) {
    struct str inside;
    if (*p == '"')
        return string(s, p, &inside) ? p + inside.n + 2 : stop(s, ENVELOPE_SYNTAX);
    if (*p == '{' || *p == '[')
        return container(s, p);
    const uint8_t *to = scalar_end(p, s->end);
    return to ? to : stop(s, ENVELOPE_SYNTAX);
}

static unsigned number_kind(struct str v) {
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == '.' || (v.p[i] | 0x20) == 'e')
            return OTHER;
    return INTEGER;
}

static unsigned value_kind(struct str v) {
    switch (*v.p) {
    case '"':
        return STRING;
    case '{':
        return OBJECT;
    case 'n':
        return NIL;
    case '[':
    case 't':
    case 'f':
        return OTHER;
    default:
        return number_kind(v);
    }
}

/* ---- keys ----------------------------------------------------------------------------- */

/* FNV-1a (Fowler, Noll, Vo), 64 bits. Who makes two keys collide gets his own message refused. */
struct hash {
    uint64_t h;
};

static inline void hash_byte(struct hash *h, uint8_t c) {
    h->h = (h->h ^ c) * 0x100000001b3;
}

static struct hash hash_start(enum object in) {
    struct hash h = { 0xcbf29ce484222325 };
    hash_byte(&h, (uint8_t)in);
    return h;
}

/* A key without its escapes: all of it hashed, as much kept as a known key can have. */
struct plain_key {
    struct hash hash;
    size_t n;
    char text[KEY_LONGEST];
};

static void plain_byte(struct plain_key *k, unsigned c) {
    hash_byte(&k->hash, (uint8_t)c);
    if (k->n < sizeof k->text)
        k->text[k->n] = (char)c;
    k->n++;
}

static void plain_code_point(struct plain_key *k, unsigned c) {
    if (c < 0x80) {
        plain_byte(k, c);
        return;
    }
    int rest = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    plain_byte(k, (0xf00u >> rest & 0xff) | c >> 6 * rest);
    while (rest-- > 0)
        plain_byte(k, 0x80 | (c >> 6 * rest & 0x3f));
}

/* From the byte after the backslash to past the escape. A wrong one is already a fault, so
 * it may read as anything. */
static const uint8_t *plain_escape(struct plain_key *k, const uint8_t *p, const uint8_t *end) {
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    if (*p != 'u') {
        const char *at = memchr(from, *p, sizeof from - 1);
        plain_byte(k, at ? (uint8_t)to[at - from] : *p);
        return p + 1;
    }
    int unit = lex_hex4(p + 1, end);
    if (unit < 0)
        return end;
    int low = (unit & ~0x3ff) == 0xd800 && end - p > 7 ? lex_hex4(p + 7, end) : -1;
    if (low < 0) {
        plain_code_point(k, (unsigned)unit);
        return p + 5;
    }
    plain_code_point(k, 0x10000u + ((unsigned)(unit & 0x3ff) << 10) + (unsigned)(low & 0x3ff));
    return p + 11;
}

static void plain_key(struct plain_key *k, enum object in, struct str raw) {
    const uint8_t *p = (const uint8_t *)raw.p, *end = p + raw.n;
    k->hash = hash_start(in);
    k->n = 0;
    while (p < end) {
        if (*p == '\\' && end - p > 1)
            p = plain_escape(k, p + 1, end);
        else
            plain_byte(k, *p++);
    }
}

static uint64_t hash_key(enum object in, struct str key) {
    struct hash h = hash_start(in);
    for (size_t i = 0; i < key.n; i++)
        hash_byte(&h, (uint8_t)key.p[i]);
    return h.h;
}

/* The bound keeps the search linear. */
static void note_unknown(struct scan *s, uint64_t hash) {
    if (s->unknown_count == UNKNOWN_MOST) {
        fault(s, ENVELOPE_CROWDED);
        return;
    }
    for (unsigned i = 0; i < s->unknown_count; i++)
        if (s->unknown[i] == hash)
            fault(s, ENVELOPE_DUPLICATE);
    s->unknown[s->unknown_count++] = hash;
}

/* An id that is there twice is no id: readers differ on which one counts. */
static enum member note_known(struct scan *s, enum member m) {
    if (s->seen & 1u << m) {
        fault(s, ENVELOPE_DUPLICATE);
        if (m == M_ID)
            s->out->id = (struct str){ 0 };
        return M_OTHER;
    }
    s->seen |= 1u << m;
    return m;
}

static enum member identify_escaped(struct scan *s, enum object in, struct str raw) {
    struct plain_key k;
    plain_key(&k, in, raw);
    enum member m = k.n > KEY_LONGEST ? M_OTHER : known(in, (struct str){ k.text, k.n });
    if (m != M_OTHER)
        return note_known(s, m);
    note_unknown(s, k.hash.h);
    return M_OTHER;
}

/* Which row the key has; M_OTHER also for one that was there before. */
static inline enum member identify(struct scan *s, enum object in, struct str key) {
    if (has_escape(s, key))
        return identify_escaped(s, in, key);
    enum member m = known(in, key);
    if (m != M_OTHER)
        return note_known(s, m);
    note_unknown(s, hash_key(in, key));
    return M_OTHER;
}

/* ---- the three objects ---------------------------------------------------------------- */

static void keep(struct scan *s, enum member m, struct str v) {
    unsigned kind = value_kind(v);
    if (!(rows[m].accepts & kind)) {
        fault(s, rows[m].fault);
        return;
    }
    if (kind == NIL)
        return;
    if (m == M_JSONRPC) {
        if (!str_eq(v, S("\"2.0\"")))
            fault(s, ENVELOPE_VERSION);
        return;
    }
    if (rows[m].accepts & INSIDE)
        v = (struct str){ v.p + 1, v.n - 2 };
    memcpy((char *)s->out + rows[m].offset, &v, sizeof v);
}

static const uint8_t *members(struct scan *s, enum object in);

/* Recursion ends after three levels: only params and its _meta are read this way. */
static bool member(struct scan *s, enum object in, struct str key, const uint8_t *value) {
    enum member m = identify(s, in, key);
    const uint8_t *to;
    if (m == M_PARAMS && *value == '{')
        to = members(s, IN_PARAMS);
    else if (m == M_META && *value == '{')
        to = members(s, IN_META);
    else
        to = value_end(s, value);
    if (to && m != M_OTHER)
        keep(s, m, (struct str){ (const char *)value, (size_t)(to - value) });
    return to != NULL;
}

/* The object whose brace was the last token: past its closing brace, or NULL. */
static const uint8_t *members(struct scan *s, enum object in) {
    struct str key;
    if (s->depth++ == s->limit)
        return stop(s, ENVELOPE_DEPTH);
    const uint8_t *p = token(s);
    if (*p != '}') {
        for (;; p = token(s)) {
            if (!string(s, p, &key) || *token(s) != ':')
                return stop(s, ENVELOPE_SYNTAX);
            if (!member(s, in, key, token(s)))
                return NULL;
            p = token(s);
            if (*p == '}')
                break;
            if (*p != ',')
                return stop(s, ENVELOPE_SYNTAX);
        }
    }
    s->depth--;
    return p + 1;
}

/* ---- verdict -------------------------------------------------------------------------- */

static bool seen(const struct scan *s, enum member m) {
    return s->seen >> m & 1;
}

static void judge_call(struct scan *s) {
    struct envelope *e = s->out;
    e->kind = seen(s, M_ID) ? ENVELOPE_REQUEST : ENVELOPE_NOTIFICATION;
    if (seen(s, M_RESULT) || seen(s, M_ERROR))
        fault(s, ENVELOPE_SHAPE);
    if (seen(s, M_ID) && !e->id.p)
        fault(s, ENVELOPE_ID);
    if (e->method.n == 0)
        fault(s, ENVELOPE_METHOD);
    e->methods_escaped = e->method.p && has_escape(s, e->method);
}

static void judge_answer(struct scan *s) {
    struct envelope *e = s->out;
    bool failed = seen(s, M_ERROR), worked = seen(s, M_RESULT);
    e->kind = worked ? ENVELOPE_RESULT : failed ? ENVELOPE_ERROR : ENVELOPE_REQUEST;
    if (failed == worked)
        fault(s, ENVELOPE_SHAPE);
    if (worked && !e->id.p)
        fault(s, seen(s, M_ID) ? ENVELOPE_ID : ENVELOPE_SHAPE);
}

/* The member that the method goes by, so that what is permitted is what is done: a read that
 * also carries a `name` is still a read of its `uri`. */
static void pick_name(struct scan *s) {
    struct envelope *e = s->out;
    if (str_starts(e->method, S("resources/")))
        e->name = e->uri;
    else if (str_starts(e->method, S("tasks/")))
        e->name = e->task_id;
    else if (!e->name.p)
        e->name = e->uri.p ? e->uri : e->task_id;
    e->name_escaped = e->name.p && has_escape(s, e->name);
}

static void judge(struct scan *s) {
    if (!seen(s, M_JSONRPC))
        fault(s, ENVELOPE_VERSION);
    if (seen(s, M_METHOD))
        judge_call(s);
    else
        judge_answer(s);
    pick_name(s);
}

/* The lexer's faults count only now: after a grammar fault it may have taken text for
 * strings and strings for text. */
static enum envelope_fault verdict(struct scan *s, const uint8_t *to) {
    const unsigned version = 1u << ENVELOPE_NONE; /* the fault of protocolVersion's row */
    if (to && token(s) != no_token)
        fault(s, ENVELOPE_SYNTAX);
    else if (to)
        s->faults |= s->lex.carry.faults | (s->lex.carry.in_string ? 1u << ENVELOPE_SYNTAX : 0);
    s->out->version_not_string = s->faults & version;
    s->faults &= ~version;
    enum envelope_fault f = s->faults ? (enum envelope_fault)__builtin_ctz(s->faults) : 0;
    if (f != ENVELOPE_NONE && f <= ENVELOPE_DEPTH)
        s->out->id = (struct str){ 0 };
    return f;
}

/* ---- public --------------------------------------------------------------------------- */

static inline bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static struct str trim(struct str t) {
    while (t.n > 0 && is_space(t.p[0]))
        t = (struct str){ t.p + 1, t.n - 1 };
    while (t.n > 0 && is_space(t.p[t.n - 1]))
        t.n--;
    return t;
}

/* The big arrays stay as they are: is_object is written before it is read. */
static void start(struct scan *s, struct str text, struct envelope_limits limits,
                  struct envelope *out) {
    const uint8_t *p = (const uint8_t *)text.p;
    unsigned limit = limits.depth ? limits.depth : DEPTH_DEFAULT;
    lex_init(&s->lex, p, text.n);
    s->cursor = (struct cursor){ .base = p - LEX_BLOCK };
    s->end = p + text.n;
    s->out = out;
    s->depth = s->faults = s->seen = s->unknown_count = 0;
    s->limit = limit < DEPTH_MOST ? limit : DEPTH_MOST;
}

static bool empty_array(struct str text) {
    return trim((struct str){ text.p + 1, text.n - 2 }).n == 0;
}

enum envelope_fault envelope_scan(struct str text, struct envelope_limits limits,
                                  struct envelope *out) {
    struct scan s;
    text = trim(text);
    *out = (struct envelope){ .text = text };
    if (text.n == 0)
        return ENVELOPE_SYNTAX;
    start(&s, text, limits, out);
    const uint8_t *p = token(&s), *to;
    if (*p == '{') {
        to = members(&s, IN_ENVELOPE);
        if (to)
            judge(&s);
        return verdict(&s, to);
    }
    to = value_end(&s, p);
    out->kind = ENVELOPE_BATCH;
    if (*p != '[') {
        out->kind = ENVELOPE_REQUEST;
        fault(&s, ENVELOPE_NOT_OBJECT);
    } else if (to && empty_array(text)) {
        fault(&s, ENVELOPE_EMPTY_BATCH);
    }
    return verdict(&s, to);
}

/* ---- large answers -------------------------------------------------------------------- */

/* What of a large answer is not yet accounted for, and what was found around it. */
struct frame {
    struct str rest;
    struct str id;           /* the one that is expected */
    unsigned ids, versions; /* how often each was found */
    bool failed;
};

static bool eat(struct str *s, struct str word) {
    struct str t = *s;
    while (t.n > 0 && is_space(*t.p))
        t = str_skip(t, 1);
    if (!str_starts(t, word))
        return false;
    *s = str_skip(t, word.n);
    return true;
}

static bool drop(struct str *s, struct str word) {
    struct str t = *s;
    while (t.n > 0 && is_space(t.p[t.n - 1]))
        t.n--;
    if (!str_ends(t, word))
        return false;
    *s = str_head(t, t.n - word.n);
    return true;
}

static bool eat_member(struct str *s, struct str key, struct str value) {
    struct str t = *s;
    if (!eat(&t, key) || !eat(&t, S(":")) || !eat(&t, value) || !eat(&t, S(",")))
        return false;
    *s = t;
    return true;
}

static bool drop_member(struct str *s, struct str key, struct str value) {
    struct str t = *s;
    if (!drop(&t, value) || !drop(&t, S(":")) || !drop(&t, key) || !drop(&t, S(",")))
        return false;
    *s = t;
    return true;
}

typedef bool cut_fn(struct str *s, struct str key, struct str value);

static void cut_members(struct frame *f, cut_fn *cut) {
    for (;;) {
        if (cut(&f->rest, S("\"id\""), f->id))
            f->ids++;
        else if (cut(&f->rest, S("\"jsonrpc\""), S("\"2.0\"")))
            f->versions++;
        else
            return;
    }
}

/* Id and version once each, before or after the one other member; its value in rest. */
static bool cut_frame(struct frame *f) {
    if (!eat(&f->rest, S("{")) || !drop(&f->rest, S("}")))
        return false;
    cut_members(f, eat_member);
    cut_members(f, drop_member);
    f->failed = eat(&f->rest, S("\"error\""));
    if (!f->failed && !eat(&f->rest, S("\"result\"")))
        return false;
    if (!eat(&f->rest, S(":")) || f->ids != 1 || f->versions != 1)
        return false;
    f->rest = trim(f->rest);
    return f->rest.n >= 2 && f->rest.p[0] == '{' && f->rest.p[f->rest.n - 1] == '}';
}

static enum envelope_fault scan_answer(struct str text, struct str id,
                                       struct envelope_limits limits, struct envelope *out) {
    enum envelope_fault f = envelope_scan(text, limits, out);
    if (f != ENVELOPE_NONE)
        return f;
    bool ours = (out->kind == ENVELOPE_RESULT && str_eq(out->id, id)) ||
                (out->kind == ENVELOPE_ERROR && (!out->id.p || str_eq(out->id, id)));
    return ours ? ENVELOPE_NONE : ENVELOPE_SHAPE;
}

enum envelope_fault envelope_scan_answer(struct str text, struct str id, size_t whole,
                                         struct envelope_limits limits, struct envelope *out) {
    struct frame f = { .rest = trim(text), .id = id };
    if (text.n <= whole || !cut_frame(&f))
        return scan_answer(text, id, limits, out);
    *out = (struct envelope){ .text = trim(text), .id = id };
    out->kind = f.failed ? ENVELOPE_ERROR : ENVELOPE_RESULT;
    *(f.failed ? &out->error : &out->result) = f.rest;
    return ENVELOPE_NONE;
}

enum envelope_fault envelope_check_json(struct str text, struct envelope_limits limits) {
    struct scan s;
    struct envelope unused;
    text = trim(text);
    if (text.n == 0)
        return ENVELOPE_SYNTAX;
    start(&s, text, limits, &unused);
    return verdict(&s, value_end(&s, token(&s)));
}
