/* uri_fuzz.c - the first line is a template, the rest a URI: showing and restoring gives the
 * URI back, templates without expressions match themselves alone, and nothing breaks. */
#include "base/mem.h"
#include "mcp/uri.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(struct str uri) {
    struct uri_map map = { .upstream = S("up-1"), .rewrite = true };
    SCOPED(buf_done) struct buf shown = { 0 };
    SCOPED(buf_done) struct buf original = { 0 };
    struct str upstream;
    uri_show(&shown, &map, uri);
    if (str_eq(buf_view(&shown), uri)) /* of the web */
        return;
    assert(uri_restore(buf_view(&shown), &upstream, &original));
    assert(str_eq(upstream, map.upstream) && str_eq(buf_view(&original), uri));
}

static void check_restore(struct str shown) {
    SCOPED(buf_done) struct buf original = { 0 };
    SCOPED(buf_done) struct buf again = { 0 };
    struct str upstream;
    if (!uri_restore(shown, &upstream, &original))
        assert(original.n == 0);
    else
        check_round_trip(buf_view(&original));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str uri = str_from((const char *)data, size);
    struct str uri_template = str_cut(&uri, '\n');
    check_round_trip(uri);
    check_restore(uri);
    check_round_trip(uri_template);
    bool valid = uri_template_valid(uri_template),
         matches = uri_template_matches(uri_template, uri);
    if (valid && str_find_char(uri_template, '{') < 0)
        assert(matches == str_eq(uri_template, uri));
    return 0;
}
