/* OpenAPI documents and templates of strangers: compiled, then called with arguments of strangers.
 * Line 1 a template or a document, line 2 the arguments. Whatever comes out, the target stays one
 * line without spaces. */
#include "base/mem.h"
#include "gateway/api_ops.h"
#include <stdlib.h>

static void check_request(const struct api_request *q) {
    for (size_t i = 0; i < q->target.n; i++)
        if ((unsigned char)q->target.p[i] <= ' ' || (unsigned char)q->target.p[i] >= 127)
            abort();
    bool line_ended = true;
    for (size_t i = 0; i < q->headers.n; i++) {
        unsigned char c = (unsigned char)q->headers.p[i];
        if (c < ' ' && c != '\r' && c != '\n')
            abort();
        line_ended = c == '\n';
    }
    if (!line_ended)
        abort();
}

static void call(struct arena *a, const struct api *api, json arguments) {
    for (size_t i = 0; i < api->n && i < 20; i++) {
        struct api_request q = { 0 };
        if (!api_request_make(a, api, &api->ops[i], arguments, &q))
            check_request(&q);
        api_request_done(&q);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct str rest = { (const char *)data, size }, first = str_cut(&rest, '\n');
    struct http_tool_conf row = { .name = S("t"),
                                  .path = arena_dup(&a, first),
                                  .method = size & 1 };
    struct api_conf conf = { .url = S("http://h/b") };
    struct api api;
    json arguments = NULL;
    if (json_parse(&a, arena_dup(&a, first), (struct json_limits){ 0 }, &conf.openapi))
        conf.tools = (struct item_list){ &row, 1 };
    if (rest.p && json_parse(&a, arena_dup(&a, rest), (struct json_limits){ 0 }, &arguments))
        arguments = NULL;
    if (!api_compile(&a, &conf, &api)) {
        call(&a, &api, arguments);
        api_done(&api);
    }
    return 0;
}
