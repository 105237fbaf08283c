/* task_fuzz.c - a byte chooses the revision, the rest is a task of a server, or questions and
 * answers. Any bytes must be survived, since long answers are trusted but for their frame; from
 * JSON objects come JSON objects, and what was read and written reads the same again. */
#include "base/json.h"
#include "base/mem.h"
#include "mcp/task.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_object(struct str text) {
    SCOPED(arena_scope) struct arena a = { 0 };
    json v = NULL;
    return !json_parse(&a, text, (struct json_limits){ .depth = 200 }, &v) &&
           json_type(v) == JSON_OBJECT;
}

/* Our own members can repeat ones that are spelled with escapes. */
static bool is_whole(const struct buf *text) {
    SCOPED(arena_scope) struct arena a = { 0 };
    json v = NULL;
    err_t e = json_parse(&a, buf_view(text), (struct json_limits){ .depth = 300 }, &v);
    return !e || strstr(e->text, "duplicate key");
}

static void read_and_write(struct str in, enum revision from, enum revision to, bool good) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    struct mcp_task t, again;
    if (mcp_task_read(&a, in, from, &t))
        return;
    assert(t.id.n && t.id.n <= MCP_TASK_ID);
    struct jw w = jw_init(&out);
    jw_object(&w);
    if (to == R26)
        jw_put_string(&w, "resultType", S("task")); /* whose outcome is not written here */
    mcp_task_write(&w, &t, to);
    jw_object_end(&w);
    if (!good)
        return;
    assert(is_whole(&out));
    assert(!mcp_task_read(&a, buf_view(&out), to, &again));
    assert(again.status == t.status && again.ttl == t.ttl && again.poll == t.poll);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    enum revision from = data[0] & 1 ? R26 : R11;
    struct str in = str_from((const char *)data + 2, size - 2);
    bool good = is_object(in);
    read_and_write(in, from, R11, good);
    read_and_write(in, from, R26, good);
    SCOPED(buf_done) struct buf related = { 0 };
    mcp_task_put_related(&related, in, data[0] & 2 ? S("t \" d") : S(""));
    assert(!good || is_whole(&related));
    size_t cut = data[1] % (in.n + 1); /* two objects, where the bytes are such */
    struct str requests = str_head(in, cut), responses = str_skip(in, cut);
    SCOPED(buf_done) struct buf left = { 0 };
    mcp_task_unanswered(&left, requests, responses);
    assert(!is_object(requests) || (responses.n && !is_object(responses)) || is_whole(&left));
    return 0;
}
