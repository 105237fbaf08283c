/* Event streams: they say the same however they are cut, and what is written is read back. */
#include "base/buf.h"
#include "net/sse.h"
#include <assert.h>
#include <stdlib.h>

static void note_event(struct buf *said, const struct sse_event *e) {
    assert(e->data.n > 0 && e->type.n > 0 && e->retry >= -1);
    assert(!memchr(e->data.p, '\r', e->data.n));
    buf_fmt(said, "%zu %zu %zu %d %lld ", e->type.n, e->id.n, e->data.n, e->has_id,
            (long long)e->retry);
    buf_str(said, e->type);
    buf_str(said, e->id);
    buf_str(said, e->data);
}

/* Everything that text says, handed over in pieces that are gone at the next one. */
static void read_all(struct str text, size_t step, size_t limit, struct buf *said) {
    struct sse_parser p = { .limit = limit };
    err_t err = OK;
    for (size_t from = 0; !err && from < text.n; from += step) {
        struct str part = str_head(str_skip(text, from), step);
        char *piece = memcpy(malloc(part.n), part.p, part.n);
        struct str in = { piece, part.n };
        struct sse_event e;
        while (sse_next(&p, &in, &e, &err))
            note_event(said, &e);
        assert(err || in.n == 0);
        assert(p.line.n <= limit && p.data.n - p.data_from <= limit && p.type.n <= limit);
        free(piece);
    }
    buf_fmt(said, "%s %lld ", err ? "too large" : "", (long long)sse_last_retry(&p));
    buf_str(said, sse_last_id(&p));
    sse_done(&p);
}

static void fuzz_cuts(struct str text, size_t step, size_t limit) {
    struct buf whole = { 0 }, cut = { 0 };
    read_all(text, text.n + 1, limit, &whole);
    read_all(text, step, limit, &cut);
    assert(str_eq(buf_view(&whole), buf_view(&cut)));
    buf_done(&whole);
    buf_done(&cut);
}

/* Line ends of any kind come back as LF. */
static void with_lf(struct str text, struct buf *out) {
    for (size_t i = 0; i < text.n; i++) {
        bool crlf = text.p[i] == '\r' && i + 1 < text.n && text.p[i + 1] == '\n';
        if (!crlf)
            buf_char(out, text.p[i] == '\r' ? '\n' : text.p[i]);
    }
}

static void fuzz_writer(struct str text) {
    struct buf out = { 0 }, expected = { 0 };
    with_lf(text, &expected);
    sse_comment(&out, text);
    sse_retry(&out, (int64_t)text.n);
    sse_write(&out, S("t"), text, text);

    struct sse_parser p = { 0 };
    struct sse_event e;
    err_t err;
    struct str in = buf_view(&out);
    assert(sse_next(&p, &in, &e, &err) == (expected.n > 0));
    assert(!err && in.n == 0 && sse_last_retry(&p) == (int64_t)text.n);
    if (expected.n > 0)
        assert(str_eq(e.data, buf_view(&expected)) && str_eq(e.type, S("t")));
    sse_done(&p);
    buf_done(&out);
    buf_done(&expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    struct str text = { (const char *)data + 1, size - 1 };
    fuzz_cuts(text, 1 + data[0] % 16, data[0] & 0x80 ? 40 : 65536);
    fuzz_writer(text);
    return 0;
}
