/* translate_fuzz.c - two bytes choose method and revisions, the rest is a result, an item, an
 * error or params. Any bytes must be survived, since long answers are trusted but for their
 * frame; from a JSON object always comes a JSON object. */
#include "base/json.h"
#include "base/mem.h"
#include "mcp/translate.h"
#include "mcp/uri.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct uri_map map = { .upstream = S_INIT("up"), .rewrite = true };
static const struct translate_extras extras = { .server_info = S_INIT("{\"name\":\"g\"}"),
                                                .ttl_ms = 7 };

static bool is_object(struct str text) {
    SCOPED(arena_scope) struct arena a = { 0 };
    json v = NULL;
    return !json_parse(&a, text, (struct json_limits){ .depth = 200 }, &v) &&
           json_type(v) == JSON_OBJECT;
}

/* Members that come from us can repeat ones spelled with escapes, which is none of JSON's
 * grammar; so duplicates do not count against the output. */
static bool is_whole(struct str text) {
    SCOPED(arena_scope) struct arena a = { 0 };
    json v = NULL;
    err_t e = json_parse(&a, text, (struct json_limits){ .depth = 300 }, &v);
    return !e || strstr(e->text, "duplicate key");
}

enum what { RESULT, RESULT_URIS, ITEM, ITEM_URIS, FAULT, NOTIFICATION, KINDS };

static void translate(struct buf *out, enum what what, enum method m, enum revision from,
                      enum revision to, struct str in) {
    switch (what) {
    case RESULT: translate_result(out, m, in, from, to, &extras, NULL); return;
    case RESULT_URIS: translate_result(out, m, in, from, to, NULL, &map); return;
    case ITEM: translate_item(out, m, in, to, S("new \" name")); return;
    case ITEM_URIS: translate_item_uris(out, m, in, &map); return;
    case FAULT: translate_error(out, m, in, from, to, S("a:b")); return;
    default: translate_notification(out, m, in, to, S("\"t\""), S("logger"), &map);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    enum method m = data[0] % METHOD_COUNT;
    enum revision from = data[1] % REVISIONS, to = data[1] / REVISIONS % REVISIONS;
    struct str in = str_from((const char *)data + 2, size - 2);
    bool good = is_object(in);
    for (int what = 0; what < KINDS; what++) {
        SCOPED(buf_done) struct buf out = { 0 };
        translate(&out, what, m, from, to, in);
        assert(!good || is_whole(buf_view(&out)));
    }
    SCOPED(buf_done) struct buf out = { 0 };
    struct capabilities c = capabilities_read(in, from);
    capabilities_write(&out, &c, to);
    assert(is_object(buf_view(&out)));
    return 0;
}
