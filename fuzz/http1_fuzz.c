/* Heads and chunks. The first byte chooses what the rest is; further bits of it make the
 * limits small or the cuts different. */
#include "base/buf.h"
#include "net/http1.h"
#include <assert.h>
#include <stdlib.h>

enum kind { REQUEST, RESPONSE, CHUNKS, KINDS };

static const struct http_limits wide = { .head = 16384, .target = 8192, .fields = HTTP_MAX_FIELDS };
static const struct http_limits narrow = { .head = 96, .target = 12, .fields = 3 };

static enum http_verdict parse(unsigned choice, struct str text, struct http_head *h) {
    const struct http_limits *limits = choice & 4 ? &narrow : &wide;
    const char *why = NULL;
    enum http_verdict v = choice % KINDS == REQUEST
                              ? http_parse_request(text, limits, h, &why)
                              : http_parse_response(text, limits, choice & 8, h, &why);
    assert((why != NULL) == (v != HTTP_OK && v != HTTP_MORE));
    assert(http_verdict_status(v) >= 200);
    return v;
}

static void inside(struct str s, struct str text) {
    assert(!s.p || (s.p >= text.p && s.p + s.n <= text.p + text.n));
}

/* What holds for a good head, checked the slow way. */
static void check_head(const struct http_head *h, struct str text, unsigned choice) {
    struct str head = str_head(text, h->bytes);
    assert(h->bytes <= text.n && str_ends(head, S("\r\n\r\n")));
    size_t lines = 0;
    for (size_t i = 0; i < head.n; i++) {
        assert(head.p[i] != '\0' && head.p[i] != 0x7f);
        assert((head.p[i] == '\n') == (i > 0 && head.p[i - 1] == '\r'));
        lines += head.p[i] == '\n';
    }
    assert(h->field_count <= (choice & 4 ? narrow.fields : wide.fields));
    assert(lines >= h->field_count + 2 && lines <= h->field_count + 4);
    for (unsigned i = 0; i < h->field_count; i++) {
        inside(h->fields[i].name, head);
        inside(h->fields[i].value, head);
        assert(http_is_token(h->fields[i].name));
        assert(str_eq(str_trim(h->fields[i].value), h->fields[i].value));
    }
}

static void check_known(const struct http_head *h) {
    static const struct str names[] = {
#define X(name, text) S_INIT(text),
        HTTP_HEADERS(X)
#undef X
    };
    for (unsigned id = 0; id < HTTP_HEADER_COUNT; id++) {
        struct str found = http_find(h, names[id]);
        if (id != HTTP_HOST || found.p)
            assert(found.p == h->known[id].p && found.n == h->known[id].n);
    }
}

static void check_meaning(const struct http_head *h, struct str text, unsigned choice) {
    assert(!(h->chunked && h->content_length >= 0));
    assert(h->content_length >= -1 && h->content_length <= INT64_C(1) << 53);
    assert(!h->chunked || h->minor_1);
    if (choice % KINDS != REQUEST) {
        assert(h->status >= 100 && h->status <= 599);
        assert(h->chunked || h->content_length >= 0 || !h->keep_alive);
        return;
    }
    assert(http_is_token(h->method) && h->target.n > 0 && h->path.n > 0);
    assert(h->path.p[0] == '/' || str_eq(h->path, S("*")));
    assert(h->known[HTTP_HOST].n > 0 || (!h->minor_1 && !h->known[HTTP_HOST].p));
    inside(h->method, text);
    inside(h->target, text);
    inside(h->path, h->target);
    inside(h->query, h->target);
}

/* A verdict other than MORE is final: it stays whatever follows, and before it was MORE. */
static void fuzz_head(unsigned choice, struct str text) {
    static struct http_head h;
    enum http_verdict whole = parse(choice, text, &h);
    if (whole == HTTP_OK) {
        check_head(&h, text, choice);
        check_known(&h);
        check_meaning(&h, text, choice);
    }
    size_t end = whole == HTTP_OK ? h.bytes : text.n;
    bool decided = false;
    /* each prefix lies at its end, beyond which nothing may be read */
    char *exact = malloc(text.n + 1);
    for (size_t n = 0; n < end && n < 1024; n++) {
        char *prefix = memcpy(exact + text.n + 1 - n, text.p, n);
        enum http_verdict v = parse(choice, str_from(prefix, n), &h);
        decided |= v != HTTP_MORE;
        assert(v == (decided ? whole : HTTP_MORE));
        assert(!decided || whole != HTTP_OK);
    }
    free(exact);
}

static enum http_verdict decode(struct str text, size_t step, struct buf *body, size_t *used) {
    struct http_chunks c = { 0 };
    enum http_verdict v = HTTP_MORE;
    for (*used = 0; v == HTTP_MORE && *used < text.n;) {
        struct str in = str_head(str_skip(text, *used), step), data, rest = in;
        while (v == HTTP_MORE && in.n) {
            v = http_chunks_next(&c, &in, &data);
            inside(data, rest);
            inside(in, rest);
            buf_str(body, data);
        }
        *used += rest.n - in.n;
    }
    return v;
}

/* Chunks mean the same however they are cut. */
static void fuzz_chunks(unsigned choice, struct str text) {
    struct buf whole = { 0 }, cut = { 0 };
    size_t whole_used, cut_used;
    enum http_verdict v = decode(text, SIZE_MAX, &whole, &whole_used);
    assert(decode(text, 1 + choice / KINDS % 7, &cut, &cut_used) == v);
    assert(cut_used == whole_used && str_eq(buf_view(&cut), buf_view(&whole)));
    assert(whole.n + 5 <= whole_used || v != HTTP_OK);
    buf_done(&whole);
    buf_done(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    struct str text = { (const char *)data + 1, size - 1 };
    if (data[0] % KINDS == CHUNKS)
        fuzz_chunks(data[0], text);
    else
        fuzz_head(data[0], text);
    return 0;
}
