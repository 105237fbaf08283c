/* Queries and paths of strangers against rows. */
#include "base/mem.h"
#include "control/route.h"
#include <stdlib.h>

struct query {
    int64_t limit;
    nanos wait;
    struct str word;
    bool flag;
    struct str_list list;
};
#define T struct query
static const struct field fields[] = {
    FIELD(T, limit, INT, "100", "1..1000", 0, ""), FIELD(T, wait, DURATION, "1s", "0s..5m", 0, ""),
    FIELD(T, word, STR, NULL, "..8", 0, ""),       FIELD(T, flag, BOOL, NULL, NULL, 0, ""),
    FIELD(T, list, STRS, NULL, "..4", 0, ""),
};
#undef T
static const struct schema schema = SCHEMA("Query", fields, struct query);

static const struct route rows[] = {
    { .methods = "GET", .path = "/a/{x}/b/{y}" },
    { .methods = "GET", .path = "/a" },
};
static const struct route_table table = { "t", rows, ARRAY_SIZE(rows) };
static const struct route_table *const tables[] = { &table };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct str text = arena_dup(&a, (struct str){ (const char *)data, size }), out;
    struct query q;
    struct route_match m;
    bool measure = false;
    if (!query_read(&schema, text, &q, &a, &measure) &&
        (q.limit < 1 || q.limit > 1000 || q.list.n > 4))
        abort();
    if (percent_decode(text, false, &a, &out) && out.n > text.n)
        abort();
    if (route_find(tables, 1, text, S("GET"), &m) == ROUTE_FOUND && m.params[1].n > text.n)
        abort();
    return 0;
}
