/* question_fuzz.c - a byte chooses the revision, the rest is a server's question, a client's
 * answer or capabilities. Any bytes must be survived; from JSON objects come JSON objects, and
 * what is written as capabilities reads the same. */
#include "base/json.h"
#include "base/mem.h"
#include "mcp/question.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_object(struct str text) {
    SCOPED(arena_scope) struct arena a = { 0 };
    json v = NULL;
    return !json_parse(&a, text, (struct json_limits){ .depth = 200 }, &v) &&
           json_type(v) == JSON_OBJECT;
}

/* Our own members can repeat ones that are spelled with escapes. */
static bool is_whole(struct str text) {
    SCOPED(arena_scope) struct arena a = { 0 };
    json v = NULL;
    err_t e = json_parse(&a, text, (struct json_limits){ .depth = 300 }, &v);
    return !e || strstr(e->text, "duplicate key");
}

static void ask(struct str in, enum method m, enum revision to, unsigned asks, bool good) {
    SCOPED(buf_done) struct buf out = { 0 };
    const struct question_look look = { .asks = asks, .upstream = S("up \" name"),
                                        .elicitation_id = S("e") };
    question_needs(m, in);
    question_write(&out, m, in, to, &look);
    assert(!good || is_whole(buf_view(&out)));
}

static void answer(struct str in, enum method m, enum revision to, bool good) {
    SCOPED(buf_done) struct buf out = { 0 };
    answer_fits(m, in);
    answer_write(&out, in, to);
    assert(!good || is_whole(buf_view(&out)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum method methods[] = { METHOD_ELICITATION, METHOD_SAMPLING, METHOD_ROOTS_LIST };
    if (size < 1)
        return 0;
    enum revision to = data[0] % REVISIONS;
    struct str in = str_from((const char *)data + 1, size - 1);
    bool good = is_object(in);
    unsigned asks = asks_read(in, to);
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        ask(in, methods[i], to, asks, good);
        ask(in, methods[i], to, ASK_ALL, good);
        answer(in, methods[i], to, good);
    }
    SCOPED(buf_done) struct buf out = { 0 };
    asks_write(&out, asks, R26);
    assert(to != R26 || asks_read(buf_view(&out), R26) == asks);
    return 0;
}
