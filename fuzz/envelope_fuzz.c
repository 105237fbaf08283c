/* envelope_fuzz.c - every engine must say the same of every text, and json_parse, which
 * stands on other code, must agree on what JSON is. */

#include "base/json.h"
#include "mcp/envelope.h"

#include <stddef.h>
#include <stdlib.h>

#define MUST(claim)                                                                            \
    do {                                                                                       \
        if (!(claim))                                                                          \
            abort();                                                                           \
    } while (0)

static const struct envelope_limits limits = { .depth = 64 };

struct verdicts {
    enum envelope_fault scan, answer, check;
    struct envelope message, result;
};

static struct verdicts verdicts_of(const char *engine, struct str text) {
    struct verdicts v;
    MUST(envelope_use_engine(engine));
    memset(&v, 0, sizeof v);
    v.scan = envelope_scan(text, limits, &v.message);
    v.check = envelope_check_json(text, limits);
    v.answer = envelope_scan_answer(text, S("1"), 0, limits, &v.result);
    return v;
}

static void same_envelope(const struct envelope *a, const struct envelope *b) {
    MUST(a->kind == b->kind);
    MUST(memcmp(&a->text, &b->text,
                offsetof(struct envelope, name_escaped) - offsetof(struct envelope, text)) == 0);
    MUST(a->name_escaped == b->name_escaped);
    MUST(memcmp(&a->uri, &b->uri,
                offsetof(struct envelope, version_not_string) - offsetof(struct envelope, uri)) ==
         0);
    MUST(a->version_not_string == b->version_not_string);
    MUST(a->methods_escaped == b->methods_escaped);
    MUST(memcmp(&a->result, &b->result, 2 * sizeof a->result) == 0);
}

static void engines_agree(struct str text) {
    static const char *const others[] = { "sse2", "avx2" };
    struct verdicts plain = verdicts_of("plain", text);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (!envelope_use_engine(others[i]))
            continue;
        struct verdicts v = verdicts_of(others[i], text);
        MUST(v.scan == plain.scan && v.check == plain.check && v.answer == plain.answer);
        same_envelope(&v.message, &plain.message);
        same_envelope(&v.result, &plain.result);
    }
}

/* The one rule of json_parse that check_json has not: keys are unique in every object. */
static void parser_agrees(struct str text) {
    struct arena a = { 0 };
    json v = NULL;
    err_t e = json_parse(&a, text, (struct json_limits){ .depth = limits.depth }, &v);
    enum envelope_fault f = envelope_check_json(text, limits);
    if (!e)
        MUST(f == ENVELOPE_NONE);
    else if (f == ENVELOPE_NONE)
        MUST(strstr(e->text, "duplicate key"));
    arena_done(&a);
}

static void must_be_json(struct str slice) {
    if (slice.p)
        MUST(envelope_check_json(slice, limits) == ENVELOPE_NONE);
}

static void slices_are_values(struct str text) {
    struct envelope e;
    if (envelope_scan(text, limits, &e) != ENVELOPE_NONE)
        return;
    must_be_json(e.text);
    must_be_json(e.id);
    must_be_json(e.params);
    must_be_json(e.arguments);
    must_be_json(e.cursor);
    must_be_json(e.meta);
    must_be_json(e.progress_token);
    must_be_json(e.client_capabilities);
    must_be_json(e.client_info);
    must_be_json(e.log_level);
    must_be_json(e.subscription_id);
    must_be_json(e.result);
    must_be_json(e.error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* An exact copy on the heap: a read beyond either end is seen. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char *copy = memcpy(malloc(n ? n : 1), data, n);
    struct str text = { copy, n };
    engines_agree(text);
    parser_agrees(text);
    slices_are_values(text);
    free(copy);
    return 0;
}
