/* json_schema_fuzz.c - the first line is a schema, the rest an instance: compiling and
 * validating end, within their bounds, and say the same twice. */
#include "base/mem.h"
#include "mcp/json_schema.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int kind_of(const struct json_schema *s, json v) {
    err_t e = json_schema_validate(s, v);
    return e ? (int)e->kind : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str instance = str_from((const char *)data, size), schema = str_cut(&instance, '\n');
    struct json_schema_options o = { .max_bytes = 16 * 1024, .max_nodes = 500, .max_steps = 20000 };
    struct json_schema *s = NULL;
    SCOPED(arena_scope) struct arena a = { 0 };
    json v = NULL;
    if (json_schema_compile(schema, &o, &s))
        return 0;
    arena_init(&a, NULL, 0);
    if (!json_parse(&a, instance, (struct json_limits){ .bytes = 64 * 1024 }, &v)) {
        int first = kind_of(s, v);
        assert(first == -1 || first == ERR_INVALID || first == ERR_LIMITED);
        assert(kind_of(s, v) == first);
    }
    json_schema_free(s);
    return 0;
}
