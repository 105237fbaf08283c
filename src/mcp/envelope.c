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

/* ---- faults ------------------------------------------------------------------------ */

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

/* ---- the known members ------------------------------------------------------------- */

enum object { IN_TOP, IN_PARAMS, IN_META };

/* What a value is, as bits: a row accepts a set of them. */
enum {
    STRING = 1 << 0,
    OBJECT = 1 << 1,
    INTEGER = 1 << 2,
    NIL = 1 << 3,    /* null; where it is accepted the member stays absent */
    OTHER = 1 << 4,  /* an array, a boolean, a number with fraction or exponent */
    INSIDE = 1 << 5, /* what is kept is between the quotes */
    TEXT = STRING | INSIDE,
    TOKEN = STRING | INTEGER,
    ANY = STRING | OBJECT | INTEGER | NIL | OTHER,
};

#define MCP "io.modelcontextprotocol/"

/* The first byte stands beside its key because only a constant can be a case label. A
 * protocolVersion of another type is no fault here: P-072 wants other answers first. */
#define MEMBERS(X)                                                                                 \
    /* in     member             key                     accepts     kept as              fault */ \
    X(TOP,    JSONRPC,     'j', "jsonrpc",               TEXT,       version,             VERSION) \
    X(TOP,    ID,          'i', "id",                    TOKEN|NIL,  id,                  ID)      \
    X(TOP,    METHOD,      'm', "method",                TEXT,       method,              METHOD)  \
    X(TOP,    PARAMS,      'p', "params",                OBJECT|NIL, params,              PARAMS)  \
    X(TOP,    RESULT,      'r', "result",                OBJECT,     result,              SHAPE)   \
    X(TOP,    ERROR,       'e', "error",                 OBJECT,     error,               SHAPE)   \
    X(PARAMS, NAME,        'n', "name",                  TEXT,       name,                MEMBER)  \
    X(PARAMS, URI,         'u', "uri",                   TEXT,       uri,                 MEMBER)  \
    X(PARAMS, TASK_ID,     't', "taskId",                TEXT,       task_id,             MEMBER)  \
    X(PARAMS, ARGUMENTS,   'a', "arguments",             OBJECT|NIL, arguments,           MEMBER)  \
    X(PARAMS, CURSOR,      'c', "cursor",                STRING|NIL, cursor,              MEMBER)  \
    X(PARAMS, RESPONSES,   'i', "inputResponses",        OBJECT|NIL, input_responses,     MEMBER)  \
    X(PARAMS, STATE,       'r', "requestState",          STRING|NIL, request_state,       MEMBER)  \
    X(PARAMS, META,        '_', "_meta",                 OBJECT,     meta,                META)    \
    X(META,   PROGRESS,    'p', "progressToken",         TOKEN|NIL,  progress_token,      MEMBER)  \
    X(META,   REVISION,    'i', MCP "protocolVersion",   TEXT,       protocol_version,    NONE)    \
    X(META,   CLIENT_CAPS, 'i', MCP "clientCapabilities", OBJECT,     client_capabilities, MEMBER) \
    X(META,   CLIENT_INFO, 'i', MCP "clientInfo",        OBJECT,     client_info,         MEMBER)  \
    X(META,   LOG_LEVEL,   'i', MCP "logLevel",          ANY,        log_level,           MEMBER)  \
    X(META,   LISTEN_ID,   'i', MCP "subscriptionId",    TOKEN,      subscription_id,     MEMBER)  \
    X(META,   TRACEPARENT, 't', "traceparent",           TEXT,       traceparent,         MEMBER)  \
    X(META,   TRACESTATE,  't', "tracestate",            TEXT,       tracestate,          MEMBER)  \
    X(META,   BAGGAGE,     'b', "baggage",               TEXT,       baggage,             MEMBER)

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

enum { KEY_LONGEST = sizeof(MCP "clientCapabilities") - 1, UNKNOWN_MOST = 64 };

/* Tells the known keys of one object apart, and is small enough for a jump table; where it
 * does not, the compiler sees the same case twice. */
#define KEY_CASE(object, n, first) ((unsigned)(object) << 6 | (((unsigned)(n) + (first)) & 63))

static inline uint64_t word8(const char *p) {
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

static inline uint32_t word4(const char *p) {
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* memcmp for a length known when compiled, in words that may overlap: gcc 12 would call the
 * library, which costs more than all else that is done with a key. */
static inline __attribute__((always_inline)) bool same(const char *a, const char *b, size_t n) {
    if (n < 4)
        return memcmp(a, b, n) == 0;
    if (n < 8)
        return ((word4(a) ^ word4(b)) | (word4(a + n - 4) ^ word4(b + n - 4))) == 0;
    uint64_t differs = word8(a + n - 8) ^ word8(b + n - 8);
#pragma GCC unroll 8
    for (size_t i = 0; i + 8 < n; i += 8)
        differs |= word8(a + i) ^ word8(b + i);
    return differs == 0;
}

static inline __attribute__((always_inline)) enum member known(enum object in, struct str key) {
    switch (KEY_CASE(in, key.n, (uint8_t)*key.p)) {
#define X(object, member, first, text, ...)                                                    \
    case KEY_CASE(IN_##object, sizeof(text) - 1, first):                                       \
        return key.n == sizeof(text) - 1 && same(key.p, text, sizeof(text) - 1) ? M_##member    \
                                                                               : M_OTHER;
        MEMBERS(X)
#undef X
    default:
        return M_OTHER;
    }
}

/* ---- tokens ------------------------------------------------------------------------ */

struct scan {
    struct lex lex;
    unsigned word, words;    /* the next of lex.tokens, and how many are valid */
    const uint8_t *plain_at; /* strings from here on, as far as the words go, have no escapes */
    const uint8_t *end;
    struct envelope *out;
    unsigned limit;
    unsigned faults; /* 1u << ENVELOPE_… */
    uint32_t seen;   /* 1u << M_… */
    unsigned unknown_count;
    uint64_t levels[DEPTH_MOST / 64]; /* see struct levels */
    uint64_t unknown[UNKNOWN_MOST];   /* hashes of keys that no row has */
};

/* The word in work: it stays in registers, so it is no part of struct scan. */
struct cursor {
    const uint8_t *base; /* of the 64 bytes */
    uint64_t bits;       /* tokens not yet taken */
};

/* What comes after the last token; no token begins with its byte. Two, because the byte after
 * a token may be looked at. */
static const uint8_t no_token[2];

/* The next words: what lies 64 bytes before the first one's, or NULL when there are none. */
static __attribute__((noinline)) const uint8_t *refill(struct scan *s) {
    struct lex *l = &s->lex;
    s->word = 0;
    s->words = l->ended ? 0 : l->run(l);
    s->plain_at = l->backslashes ? s->end : l->text + l->batch_at;
    return s->words ? l->text + l->batch_at - LEX_BLOCK : NULL;
}

static inline const uint8_t *next(struct scan *s, struct cursor *c) {
    while (c->bits == 0) {
        if (s->word == s->words && !(c->base = refill(s)))
            return no_token;
        c->bits = s->lex.tokens[s->word++];
        c->base += LEX_BLOCK;
    }
    const uint8_t *p = c->base + (unsigned)__builtin_ctzll(c->bits);
    c->bits &= c->bits - 1;
    return p;
}

static void fault(struct scan *s, enum envelope_fault f) {
    s->faults |= 1u << f;
}

static const uint8_t *stop(struct scan *s, enum envelope_fault f) {
    fault(s, f);
    return NULL;
}

/* Of a string that the words reach beyond. */
static inline bool has_escape(const struct scan *s, struct str t) {
    return (const uint8_t *)t.p < s->plain_at && memchr(t.p, '\\', t.n);
}

/* ---- values ------------------------------------------------------------------------ */

static inline uint64_t little_word8(const uint8_t *p) {
    uint64_t w = word8((const char *)p);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

static inline bool is_digit(uint8_t c) {
    return (uint8_t)(c - '0') < 10;
}

/* Past the digits at p: eight at a time, of which the first other byte is found by the bit
 * that adding 0x76 gives to everything from ten up. */
static inline const uint8_t *skip_digits(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 8; p += 8) {
        uint64_t v = little_word8(p) ^ 0x3030303030303030;
        uint64_t other = ((v + 0x7676767676767676) | v) & 0x8080808080808080;
        if (other)
            return p + __builtin_ctzll(other) / 8;
    }
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* The same when there must be one, else NULL. */
static inline const uint8_t *digits(const uint8_t *p, const uint8_t *end) {
    const uint8_t *to = skip_digits(p, end);
    return to > p ? to : NULL;
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

/* The end of the number or literal at p, or NULL. What follows is for the caller to judge:
 * it is the next byte, never the next token. */
static inline const uint8_t *scalar_end(const uint8_t *p, const uint8_t *end) {
    if (is_digit(*p) || *p == '-')
        return number_end(p, end);
    if (*p == 't')
        return literal_end(p, end, S("true"));
    if (*p == 'f')
        return literal_end(p, end, S("false"));
    return *p == 'n' ? literal_end(p, end, S("null")) : NULL;
}

/* By the first byte; numbers have no entry. */
static const uint8_t kinds[256] = {
    ['"'] = STRING, ['{'] = OBJECT, ['['] = OTHER, ['t'] = OTHER, ['f'] = OTHER, ['n'] = NIL,
};

/* Of the valid value from..to, in a text that goes on until `end`. */
static unsigned value_kind(const uint8_t *from, const uint8_t *to, const uint8_t *end) {
    if (kinds[*from])
        return kinds[*from];
    return skip_digits(from + (*from == '-'), end) == to ? INTEGER : OTHER;
}

/* ---- keys -------------------------------------------------------------------------- */

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
    plain_byte(k, (0xf0u << (3 - rest) & 0xff) | c >> 6 * rest);
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
    *k = (struct plain_key){ .hash = hash_start(in) };
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
static __attribute__((noinline)) void note_unknown(struct scan *s, uint64_t hash) {
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

static __attribute__((noinline)) enum member identify_escaped(struct scan *s, enum object in,
                                                              struct str raw) {
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

/* ---- the walk ---------------------------------------------------------------------- */

static inline void slot(struct scan *s, enum member m, const uint8_t *from, const uint8_t *to) {
    struct str v = { (const char *)from, (size_t)(to - from) };
    memcpy((char *)s->out + rows[m].offset, &v, sizeof v);
}

static __attribute__((noinline)) void keep_other(struct scan *s, enum member m, const uint8_t *from,
                                                 const uint8_t *to) {
    unsigned kind = value_kind(from, to, s->end);
    if (!(rows[m].accepts & kind))
        fault(s, rows[m].fault);
    else if (kind != NIL)
        slot(s, m, from, to);
}

/* The value of a member that has a row: a string or object at once, the rest aside. */
static inline void keep(struct scan *s, enum member m, const uint8_t *from, const uint8_t *to) {
    unsigned accepts = rows[m].accepts, inside = accepts / INSIDE;
    if (accepts & kinds[*from] & (STRING | OBJECT))
        slot(s, m, from + inside, to - inside);
    else
        keep_other(s, m, from, to);
}

/* Which of the open levels are objects: the lowest bit is the innermost. Whenever a word is
 * full it moves to the scan. */
struct levels {
    uint64_t word;
    unsigned depth;
};

static inline void push(struct scan *s, struct levels *l, bool object) {
    if (l->depth % 64 == 0)
        s->levels[l->depth / 64] = l->word;
    l->depth++;
    l->word = l->word << 1 | object;
}

static inline void pop(struct scan *s, struct levels *l) {
    l->depth--;
    l->word >>= 1;
    if (l->depth % 64 == 0)
        l->word = s->levels[l->depth / 64];
}

/* What must follow the value that ends at `to`, if only after white space. */
static inline const uint8_t *after_value(struct scan *s, struct cursor *c, const uint8_t *to) {
    return *to > ' ' ? to : next(s, c);
}

/* Likewise after the closing quote of a key. */
static inline bool colon_after(struct scan *s, struct cursor *c, const uint8_t *quote) {
    return *after_value(s, c, quote + 1) == ':';
}

/* Any object or array that is not looked into, from its opening bracket to past its closing
 * one, at `depth` already. Labels are the states of RFC 8259 §4 and §5. A string without an
 * end is refused with what follows: no state takes no_token. */
static const uint8_t *container(struct scan *s, struct cursor *cursor, const uint8_t *p,
                                unsigned depth) {
    struct cursor c = *cursor;
    struct levels l = { 0, depth };
    const uint8_t *to;
    bool object;

open:
    if (l.depth == s->limit)
        return stop(s, ENVELOPE_DEPTH);
    object = *p == '{';
    push(s, &l, object);
    p = next(s, &c);
    if (*p == (object ? '}' : ']'))
        goto close;
    if (!object)
        goto value;
key:
    if (*p != '"' || !colon_after(s, &c, next(s, &c)))
        return stop(s, ENVELOPE_SYNTAX);
    p = next(s, &c);
value:
    if (*p == '"')
        to = next(s, &c) + 1;
    else if (*p == '{' || *p == '[')
        goto open;
    else
        to = scalar_end(p, s->end);
    if (!to)
        return stop(s, ENVELOPE_SYNTAX);
after:
    p = after_value(s, &c, to);
    if (*p == ',') {
        p = next(s, &c);
        if (object)
            goto key;
        goto value;
    }
    if (*p != (object ? '}' : ']'))
        return stop(s, ENVELOPE_SYNTAX);
close:
    to = p + 1;
    pop(s, &l);
    object = l.word & 1;
    if (l.depth > depth && to != s->end)
        goto after;
    *cursor = c;
    return l.depth > depth ? stop(s, ENVELOPE_SYNTAX) : to;
}

/* The end of the value at p, which lies in `depth` containers. */
static inline const uint8_t *value_end(struct scan *s, struct cursor *c, const uint8_t *p,
                                       unsigned depth) {
    const uint8_t *to = NULL;
    if (*p == '{' || *p == '[') {
        struct cursor copy = *c; /* so that *c can stay in registers */
        to = container(s, &copy, p, depth);
        *c = copy;
        return to;
    }
    if (*p != '"')
        to = scalar_end(p, s->end);
    else if ((p = next(s, c)) != no_token)
        to = p + 1;
    return to ? to : stop(s, ENVELOPE_SYNTAX);
}

/* Most messages begin with these 17 bytes: then the first member is known without its tokens,
 * which are all in the first word. The depth limit is never 0. */
static inline bool usual_start(struct scan *s, struct cursor *c) {
    static const char usual[] = "{\"jsonrpc\":\"2.0\",";
    const char *text = (const char *)s->lex.text;
    if (s->lex.n < sizeof usual || !same(text, usual, sizeof usual - 1))
        return false;
    c->bits &= ~0ull << (sizeof usual - 1);
    s->seen = 1u << M_JSONRPC;
    s->out->version = (struct str){ text + 12, 3 };
    return true;
}

/* The envelope with its params and their _meta, from its opening brace: `outer` has where the
 * open ones began. */
static const uint8_t *message(struct scan *s, struct cursor *cursor, const uint8_t *p) {
    static const enum member member_of[] = { [IN_PARAMS] = M_PARAMS, [IN_META] = M_META };
    struct cursor c = *cursor; /* in registers */
    const uint8_t *outer[3], *to;
    enum object in = IN_TOP;
    enum member m;

    if (usual_start(s, &c)) {
        p = next(s, &c);
        goto key;
    }
open:
    outer[in] = p;
    if (in == s->limit)
        return stop(s, ENVELOPE_DEPTH);
    p = next(s, &c);
    if (*p == '}')
        goto close;
key:
    to = *p == '"' ? next(s, &c) : no_token;
    if (to == no_token)
        return stop(s, ENVELOPE_SYNTAX);
    m = identify(s, in, (struct str){ (const char *)p + 1, (size_t)(to - p) - 1 });
    if (!colon_after(s, &c, to))
        return stop(s, ENVELOPE_SYNTAX);
    p = next(s, &c);
    if (*p == '{' && (m == M_PARAMS || m == M_META)) {
        in++;
        goto open;
    }
    to = value_end(s, &c, p, in + 1);
    if (!to)
        return NULL;
    if (m != M_OTHER)
        keep(s, m, p, to);
after:
    if (to == s->end)
        return stop(s, ENVELOPE_SYNTAX);
    p = after_value(s, &c, to);
    if (*p == ',') {
        p = next(s, &c);
        goto key;
    }
    if (*p != '}')
        return stop(s, ENVELOPE_SYNTAX);
close:
    to = p + 1;
    if (in == IN_TOP)
        return to;
    keep(s, member_of[in], outer[in], to);
    in--;
    goto after;
}

/* ---- verdict ----------------------------------------------------------------------- */

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

static __attribute__((noinline)) bool escaped_starts(struct str raw, struct str prefix) {
    struct plain_key k;
    plain_key(&k, IN_TOP, raw);
    return str_starts((struct str){ k.text, k.n < KEY_LONGEST ? k.n : KEY_LONGEST }, prefix);
}

/* However it is spelled: an escaped method is for the caller to refuse, or to take. */
static inline bool method_starts(const struct envelope *e, struct str prefix) {
    return e->methods_escaped ? escaped_starts(e->method, prefix) : str_starts(e->method, prefix);
}

/* The member that the method goes by, so that what is permitted is what is done: a read that
 * also carries a `name` is still a read of its `uri`. */
static void pick_name(struct scan *s) {
    struct envelope *e = s->out;
    if (method_starts(e, S("resources/")))
        e->name = e->uri;
    else if (method_starts(e, S("tasks/")))
        e->name = e->task_id;
    else if (!e->name.p)
        e->name = e->uri.p ? e->uri : e->task_id;
    e->name_escaped = e->name.p && has_escape(s, e->name);
}

static void judge(struct scan *s) {
    if (!str_eq(s->out->version, S("2.0")))
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
    if (to == s->end)
        s->faults |= s->lex.faults;
    else if (to)
        fault(s, ENVELOPE_SYNTAX);
    return s->faults ? (enum envelope_fault)__builtin_ctz(s->faults) : ENVELOPE_NONE;
}

/* The row of protocolVersion has NONE for its fault. In what is no JSON no id is certain. */
static enum envelope_fault message_verdict(struct scan *s, const uint8_t *to) {
    const unsigned version = 1u << ENVELOPE_NONE;
    s->out->version_not_string = s->faults & version;
    s->faults &= ~version;
    enum envelope_fault f = verdict(s, to);
    if (f != ENVELOPE_NONE && f <= ENVELOPE_DEPTH)
        s->out->id = (struct str){ 0 };
    return f;
}

/* ---- public ------------------------------------------------------------------------ */

/* A size that the compiler does not know: for this one gcc 12 would make `rep stos`, which
 * takes twice as long as the library. */
static void clear(struct envelope *e) {
    size_t n = sizeof *e;
    __asm__("" : "+r"(n));
    memset(e, 0, n);
}

/* The big arrays stay as they are: levels and unknown are written before they are read. */
static void start(struct scan *s, struct str text, struct envelope_limits limits,
                  struct envelope *out) {
    unsigned limit = limits.depth ? limits.depth : DEPTH_DEFAULT;
    lex_init(&s->lex, (const uint8_t *)text.p, text.n);
    s->end = s->lex.text + text.n;
    s->out = out;
    s->word = s->words = s->faults = s->seen = s->unknown_count = 0;
    s->limit = limit < DEPTH_MOST ? limit : DEPTH_MOST;
}

/* The walk over the whole text. What opens with a bracket must end with its partner, so that
 * within it the byte after a string, number or literal may be read. */
static const uint8_t *walk(struct scan *s, bool as_message) {
    struct cursor c = { 0 };
    const uint8_t *p = next(s, &c);
    if ((*p == '{' || *p == '[') && s->end[-1] != *p + 2)
        return stop(s, ENVELOPE_SYNTAX);
    return *p == '{' && as_message ? message(s, &c, p) : value_end(s, &c, p, 0);
}

static bool empty_array(struct str text) {
    return lex_trim((struct str){ text.p + 1, text.n - 2 }).n == 0;
}

enum envelope_fault envelope_scan(struct str text, struct envelope_limits limits,
                                  struct envelope *out) {
    struct scan s;
    text = lex_trim(text);
    clear(out);
    out->text = text;
    if (text.n == 0)
        return ENVELOPE_SYNTAX;
    start(&s, text, limits, out);
    const uint8_t *to = walk(&s, true);
    if (*text.p == '[')
        out->kind = ENVELOPE_BATCH;
    if (to && *text.p == '{')
        judge(&s);
    else if (to && *text.p != '[')
        fault(&s, ENVELOPE_NOT_OBJECT);
    else if (to && empty_array(text))
        fault(&s, ENVELOPE_EMPTY_BATCH);
    return message_verdict(&s, to);
}

enum envelope_fault envelope_check_json(struct str text, struct envelope_limits limits) {
    struct scan s;
    text = lex_trim(text);
    if (text.n == 0)
        return ENVELOPE_SYNTAX;
    start(&s, text, limits, NULL);
    return verdict(&s, walk(&s, false));
}
