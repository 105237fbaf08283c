/* What a task is on the wire: mcp/task.h. */
#include "base/mem.h"
#include "mcp/task.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LEGACY                                                                                     \
    "{\"taskId\":\"a\\/b\",\"status\":\"working\",\"statusMessage\":\"on it\",\"createdAt\":\"x\"," \
    "\"lastUpdatedAt\":\"y\",\"ttl\":60000,\"pollInterval\":20}"
#define MODERN(status, more)                                                                       \
    "{\"resultType\":\"complete\",\"taskId\":\"a\",\"status\":\"" status                           \
    "\",\"createdAt\":\"x\",\"lastUpdatedAt\":\"y\",\"ttlMs\":null" more "}"

static void same(const struct buf *out, const char *text) {
    assert_int_equal(out->n, strlen(text));
    assert_memory_equal(out->p, text, out->n);
}

/* P-417: the same task, spelled as the other revision has it. */
static void a_legacy_task_is_said_in_modern_words_and_back(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    struct mcp_task t;
    assert_null(mcp_task_read(&a, S(LEGACY), R11, &t));
    assert_true(str_eq(t.id, S("a/b")));
    assert_int_equal(t.ttl, 60000);
    struct jw w = jw_init(&out);
    jw_object(&w);
    mcp_task_write(&w, &t, R26);
    jw_object_end(&w);
    same(&out, "{\"taskId\":\"a/b\",\"status\":\"working\",\"statusMessage\":\"on "
               "it\",\"createdAt\":\"x\","
               "\"lastUpdatedAt\":\"y\",\"ttlMs\":60000,\"pollIntervalMs\":20}");
    assert_null(mcp_task_read(&a, S(MODERN("working", "")), R26, &t));
    assert_int_equal(t.ttl, -1);
    buf_clear(&out);
    w = jw_init(&out);
    jw_object(&w);
    mcp_task_write(&w, &t, R11);
    jw_object_end(&w);
    same(&out, "{\"taskId\":\"a\",\"status\":\"working\",\"createdAt\":\"x\",\"lastUpdatedAt\":"
               "\"y\",\"ttl\":null}");
}

/* P-294: each status has its member; the answer that creates a task has none. */
static void a_modern_status_has_its_outcome(void **state) {
    static const char *const whole[] = { MODERN("working", ""), MODERN("cancelled", ""),
                                         MODERN("input_required", ",\"inputRequests\":{}"),
                                         MODERN("completed", ",\"result\":{}"),
                                         MODERN("failed", ",\"error\":{}") };
    static const char *const half[] = { MODERN("input_required", ""), MODERN("completed", ""),
                                        MODERN("failed", ",\"error\":1"),
                                        MODERN("completed", ",\"result\":[]") };
    SCOPED(arena_scope) struct arena a = { 0 };
    struct mcp_task t;
    for (size_t i = 0; i < ARRAY_SIZE(whole); i++)
        assert_null(mcp_task_read(&a, str_of(whole[i]), R26, &t));
    for (size_t i = 0; i < ARRAY_SIZE(half); i++)
        assert_non_null(mcp_task_read(&a, str_of(half[i]), R26, &t));
    assert_null(
        mcp_task_read(&a,
                      S("{\"resultType\":\"task\",\"taskId\":\"a\",\"status\":\"completed\","
                        "\"createdAt\":\"x\",\"ttlMs\":1}"),
                      R26, &t));
}

static void what_is_no_task_is_refused(void **state) {
    static const char *const wrong[] = {
        "{}",
        "{\"taskId\":\"\",\"status\":\"working\",\"createdAt\":\"x\"}",
        "{\"taskId\":7,\"status\":\"working\",\"createdAt\":\"x\"}",
        "{\"taskId\":\"a\",\"status\":\"asleep\",\"createdAt\":\"x\"}",
        "{\"taskId\":\"a\",\"status\":1,\"createdAt\":\"x\"}",
        "{\"taskId\":\"a\",\"status\":\"working\"}",
        "{\"taskId\":\"a\",\"status\":\"working\",\"createdAt\":\"x\",\"ttl\":-1}",
        "{\"taskId\":\"a\",\"status\":\"working\",\"createdAt\":\"x\",\"ttl\":\"1\"}",
    };
    SCOPED(arena_scope) struct arena a = { 0 };
    struct mcp_task t;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_non_null(mcp_task_read(&a, str_of(wrong[i]), R11, &t));
    struct str id = arena_fmt(
        &a, "{\"taskId\":\"%0*d\",\"status\":\"working\",\"createdAt\":\"x\"}", MCP_TASK_ID, 0);
    assert_non_null(mcp_task_read(&a, id, R11, &t));
}

/* P-291 */
static void an_outcome_names_its_task_and_no_other(void **state) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct str result = S("{\"content\":[],\"_meta\":{\"k\":1,\"io.modelcontextprotocol/"
                          "related-task\":{\"taskId\":\"own\"}}}");
    mcp_task_put_related(&out, result, S("ours"));
    same(&out, "{\"content\":[],\"_meta\":{\"k\":1,\"io.modelcontextprotocol/"
               "related-task\":{\"taskId\":\"ours\"}}}");
    buf_clear(&out);
    mcp_task_put_related(&out, result, S(""));
    same(&out, "{\"content\":[],\"_meta\":{\"k\":1}}");
    buf_clear(&out);
    mcp_task_put_related(&out, S("{\"_meta\":{\"io.modelcontextprotocol/related-task\":{}}}"),
                         S(""));
    same(&out, "{}");
    buf_clear(&out);
    mcp_task_put_related(&out, S("{}"), S("t"));
    same(&out, "{\"_meta\":{\"io.modelcontextprotocol/related-task\":{\"taskId\":\"t\"}}}");
}

/* P-294: partial answers leave the rest. */
static void what_is_answered_is_asked_no_more(void **state) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct str requests = S("{\"a\":{\"method\":\"x\"},\"b\":{\"method\":\"y\"}}");
    assert_int_equal(mcp_task_unanswered(&out, requests, S("{\"a\":{},\"z\":{}}")), 1);
    same(&out, "{\"b\":{\"method\":\"y\"}}");
    buf_clear(&out);
    assert_int_equal(mcp_task_unanswered(&out, requests, (struct str){ 0 }), 2);
    same(&out, requests.p);
    buf_clear(&out);
    assert_int_equal(mcp_task_unanswered(&out, requests, S("{\"b\":1,\"a\":2}")), 0);
    same(&out, "{}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_legacy_task_is_said_in_modern_words_and_back),
        cmocka_unit_test(a_modern_status_has_its_outcome),
        cmocka_unit_test(what_is_no_task_is_refused),
        cmocka_unit_test(an_outcome_names_its_task_and_no_other),
        cmocka_unit_test(what_is_answered_is_asked_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
