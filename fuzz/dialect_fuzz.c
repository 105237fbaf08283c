/* dialect_fuzz.c - any JSON as the file of a desktop client: refused, or upstreams with valid
 * names that every dialect can be written from. */
#include "base/mem.h"
#include "cli/dialect.h"
#include "mcp/names.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json upstreams_of(struct arena *a, const struct entries *e) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct jw w = jw_init(&b);
    json out = NULL;
    jw_object(&w);
    for (size_t i = 0; i < e->n; i++) {
        assert(name_valid_upstream(e->items[i].name));
        jw_key(&w, arena_fmt(a, "%zu", i)); /* names may collide: the caller's business */
        jw_value(&w, e->items[i].spec);
    }
    jw_object_end(&w);
    assert(!json_parse(a, arena_dup(a, buf_view(&b)), (struct json_limits){ 0 }, &out));
    return out;
}

static void write_all(struct arena *a, const struct entries *e) {
    json upstreams = upstreams_of(a, e);
    for (int d = 0; d < DIALECT_SERVER_JSON; d++) {
        SCOPED(buf_done) struct buf b = { 0 };
        SCOPED(buf_done) struct buf notes = { 0 };
        struct jw w = jw_init(&b);
        dialect_write(a, (enum dialect)d, upstreams, e->inputs, NULL, &w, &notes);
        assert(b.n && b.p[0] == '{' && b.p[b.n - 1] == '}');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SCOPED(arena_scope) struct arena a;
    json root = NULL;
    struct entries e;
    arena_init(&a, NULL, 0);
    if (json_parse(&a, arena_dup(&a, str_from((const char *)data, size)), (struct json_limits){ 0 },
                   &root))
        return 0;
    enum dialect d = dialect_of(S("mcp.json"), root);
    if (d != DIALECTS && !dialect_read(&a, d, root, &e))
        write_all(&a, &e);
    return 0;
}
