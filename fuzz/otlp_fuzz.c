/* What comes from outside here: a caller's traceparent, a collector's answer. */
#include "obs/otlp_encode.h"
#include <assert.h>
#include <stdlib.h>

static void check_trace(struct str text) {
    struct trace t;
    char again[TRACEPARENT];
    if (!trace_parse(text, &t))
        return;
    assert(t.span && (t.id[0] || t.id[1]));
    trace_write(&t, t.span, again);
    assert(str_eq(str_from(again + 2, 50), str_from(text.p + 2, 50))); /* but version and flags */
}

static void check_answer(struct str text) {
    int64_t rejected;
    struct str why;
    if (!otlp_read_rejected(text, &rejected, &why))
        return;
    assert(rejected >= 0);
    assert(!why.n || (why.p >= text.p && why.p + why.n <= text.p + text.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct str text = { (const char *)data, n };
    check_trace(text);
    check_answer(text);
    return 0;
}
