/* envelope_answer.c - see envelope.h: large answers, of which only the frame is read. */

#include "mcp/envelope_lex.h"

/* What of a large answer is not yet accounted for, and what was found around it. */
struct frame {
    struct str rest;
    struct str id;           /* the one that is expected */
    unsigned ids, versions; /* how often each was found */
    bool failed;
};

static bool eat(struct str *s, struct str word) {
    struct str t = *s;
    while (t.n > 0 && lex_is_space(*t.p))
        t = str_skip(t, 1);
    if (!str_starts(t, word))
        return false;
    *s = str_skip(t, word.n);
    return true;
}

static bool drop(struct str *s, struct str word) {
    struct str t = *s;
    while (t.n > 0 && lex_is_space(t.p[t.n - 1]))
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
    f->rest = lex_trim(f->rest);
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
    struct frame f = { .rest = lex_trim(text), .id = id };
    if (text.n <= whole || !cut_frame(&f))
        return scan_answer(text, id, limits, out);
    *out = (struct envelope){ .text = lex_trim(text), .id = id };
    out->kind = f.failed ? ENVELOPE_ERROR : ENVELOPE_RESULT;
    *(f.failed ? &out->error : &out->result) = f.rest;
    return ENVELOPE_NONE;
}
