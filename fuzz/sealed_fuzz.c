/* Texts that clients send back: sealed values, base64, hex; and the small readers of str.h and
 * clock.h that take one value each. What decodes must encode to the very same text. */
#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include <assert.h>

static const struct seal_ring ring = { .count = 1, .keys = { { .id = 1, .key = { 1 } } } };

static void check_base64(struct str text) {
    SCOPED(buf_done) struct buf bytes = { 0 };
    SCOPED(buf_done) struct buf again = { 0 };
    if (base64_get(text, &bytes)) {
        base64_put(&again, bytes.p, bytes.n);
        assert(str_eq(buf_view(&again), text));
    }
    buf_clear(&bytes);
    buf_clear(&again);
    if (base64url_get(text, &bytes)) {
        base64url_put(&again, bytes.p, bytes.n);
        assert(str_eq(buf_view(&again), text));
    }
}

static void check_sealing(struct str text) {
    SCOPED(buf_done) struct buf sealed = { 0 };
    SCOPED(buf_done) struct buf plain = { 0 };
    assert(crypto_open(&ring, S("b"), text, &plain) && plain.n == 0);
    crypto_seal(&ring, text, text, &sealed);
    assert(!crypto_open(&ring, text, buf_view(&sealed), &plain));
    assert(str_eq(buf_view(&plain), text));
}

static void check_duration(struct str text) {
    char out[CLOCK_TEXT];
    nanos d, again;
    if (!clock_parse_duration(text, &d))
        return;
    assert(clock_parse_duration(clock_format_duration(d, out), &again) && d == again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = str_from((const char *)data, size), rest = text;
    struct str first = str_cut(&rest, '\n');
    uint8_t bytes[8];
    check_base64(text);
    check_sealing(text);
    check_duration(text);
    hex_get(text, bytes, sizeof bytes);
    if (size < 4096)
        str_glob(first, rest);
    str_distance(first, rest, 3);
    return 0;
}
