#include "base/log.h"
#include "base/mem.h"
#include "servers/server.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a server that does what its argument says ------------------------------------- */

struct play_args {
    struct str act;
    int64_t times;
};
static const struct field play_args[] = {
    FIELD(struct play_args, act, STR, NULL, "1..20", FIELD_REQUIRED, "What to do."),
    FIELD(struct play_args, times, INT, "1", "1..9", 0, "How often."),
};
struct play_result {
    struct str did;
    int64_t times;
};
static const struct field play_result[] = {
    FIELD(struct play_result, did, STR, NULL, NULL, FIELD_REQUIRED, "What was done."),
    FIELD(struct play_result, times, INT, NULL, NULL, FIELD_REQUIRED, "How often."),
};

static void answer(const struct play_args *args, struct tool_result *result) {
    struct play_result out = { args->act, args->times };
    struct jw w = jw_init(&result->structured);
    field_write(play_result, ARRAY_SIZE(play_result), &out, &w);
}

static err_t play(struct call_ctx *c, void *self, const void *given, struct tool_result *result) {
    const struct play_args *args = given;
    if (!str_eq(args->act, S("text")))
        answer(args, result);
    if (str_eq(args->act, S("text")) || str_eq(args->act, S("both")))
        buf_str(&result->text, S("own \"words\""));
    if (str_eq(args->act, S("content")))
        buf_str(&result->content, S("{\"type\":\"text\",\"text\":\"more\"}"));
    if (str_eq(args->act, S("refuse")))
        return ERR(INVALID, "act \"refuse\" is refused");
    if (str_eq(args->act, S("break")))
        return ERR(INTERNAL, "secret table is gone");
    result->is_error = str_eq(args->act, S("both"));
    return OK;
}

static err_t nothing(struct call_ctx *c, void *self, const void *given,
                     struct tool_result *result) {
    return OK;
}

/* Two questions, one after the other. */
static err_t ask(struct call_ctx *c, void *self, const void *given, struct tool_result *result) {
    struct str first, second;
    if (call_ask(c, "a", METHOD_ROOTS_LIST, S("{}"), &first) &&
        call_ask(c, "b", METHOD_ROOTS_LIST, S("{}"), &second))
        buf_fmt(&result->text, "%.*s then %.*s", STR(first), STR(second));
    return OK;
}

static const struct tool tools[] = {
    TOOL("play", "Play", play_args, struct play_args, play_result, play, TOOL_DESTRUCTIVE | TOOL_OPEN_WORLD, "Plays."),
    { .name = "nothing", .title = "Nothing", .description = "Does nothing.", .run = nothing,
      .hints = TOOL_READ_ONLY | TOOL_IDEMPOTENT },
};
static const struct server_ops theatre = {
    .name = "theatre", .title = "Theatre", .tools = tools, .tool_count = ARRAY_SIZE(tools),
};

/* Runs twice where its caller takes a task. */
static err_t toil(struct call_ctx *c, void *self, const void *given, struct tool_result *result) {
    if (!call_as_task(c, result))
        buf_str(&result->text, S("done"));
    return OK;
}

static const struct tool toil_tool = {
    .name = "toil", .title = "Toil", .description = "Toils.", .run = toil, .schema = "{\"type\":\"object\"}", .task = TOOL_NEEDS_TASK,
};
static const struct server_ops toiler = {
    .name = "toiler", .title = "Toiler", .tools = &toil_tool, .tool_count = 1, .asks = true,
};

static const struct tool ask_tool = {
    .name = "ask", .title = "Ask", .description = "Asks.", .run = ask, .schema = "{\"type\":\"object\"}",
};
static const struct server_ops asker = {
    .name = "asker", .title = "Asker", .tools = &ask_tool, .tool_count = 1, .asks = true,
};

static char called[4096];

static const char *call(const char *name, const char *arguments, bool *failed) {
    struct arena a;
    struct buf out = { 0 };
    char room[1024];
    arena_init(&a, room, sizeof room);
    struct call_ctx c = { .arena = &a };
    server_call(&theatre, NULL, &c, str_of(name), str_of(arguments), &out, failed);
    assert_true(out.n < sizeof called);
    strcpy(called, buf_text(&out));
    json v;
    assert_null(json_parse(&a, buf_view(&out), (struct json_limits){ 0 }, &v));
    buf_done(&out);
    arena_done(&a);
    return called;
}

static void assert_call(const char *arguments, const char *want) {
    bool failed = true;
    assert_string_equal(call("play", arguments, &failed), want);
    assert_false(failed);
}

/* ---- calls ------------------------------------------------------------------------- */

/* P-193, P-195 */
static void a_result_is_structured_and_a_text_of_the_same(void **state) {
    assert_call("{\"act\":\"sing\"}", "{\"content\":[{\"type\":\"text\",\"text\":\"{\\\"did\\\":"
                                      "\\\"sing\\\",\\\"times\\\":1}\"}],"
                                      "\"structuredContent\":{\"did\":\"sing\",\"times\":1}}");
}

static void a_tool_may_have_its_own_text_and_content(void **state) {
    assert_call("{\"act\":\"text\"}",
                "{\"content\":[{\"type\":\"text\",\"text\":\"own \\\"words\\\"\"}]}");
    assert_call("{\"act\":\"both\"}",
                "{\"content\":[{\"type\":\"text\",\"text\":\"own \\\"words\\\"\"}],"
                "\"structuredContent\":{\"did\":\"both\",\"times\":1},\"isError\":true}");
    assert_call("{\"act\":\"content\",\"times\":2}",
                "{\"content\":[{\"type\":\"text\",\"text\":\"{\\\"did\\\":\\\"content\\\","
                "\\\"times\\\":2}\"},"
                "{\"type\":\"text\",\"text\":\"more\"}],\"structuredContent\":{\"did\":\"content\","
                "\"times\":2}}");
}

/* P-025 */
static void a_failure_of_a_tool_is_a_result_that_says_why(void **state) {
    assert_call("{\"act\":\"refuse\"}", "{\"content\":[{\"type\":\"text\",\"text\":\"act "
                                        "\\\"refuse\\\" is refused\"}],\"isError\":true}");
}

static void an_internal_error_is_not_shown(void **state) {
    log_setup((struct log_conf){ .level = LOG_OFF });
    assert_call("{\"act\":\"break\"}",
                "{\"content\":[{\"type\":\"text\",\"text\":\"internal error\"}],\"isError\":true}");
}

static void assert_asked(const char *responses, const char *state, const char *want) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    bool failed = true;
    struct call_ctx c = { .arena = &a, .responses = str_of(responses), .state = str_of(state) };
    server_call(&asker, NULL, &c, S("ask"), S("{}"), &out, &failed);
    assert_string_equal(buf_text(&out), want);
    assert_false(failed);
    call_ctx_done(&c);
}

/* P-096, P-099, P-100: the answers of earlier runs come back in the state */
static void a_tool_that_asks_runs_again_with_all_answers(void **state) {
    const char *first = "{\"resultType\":\"input_required\",\"inputRequests\":{\"a\":{\"method\":"
                        "\"roots/list\",\"params\":{}}},\"requestState\":\"{}\"}";
    assert_asked("", "", first);
    assert_asked("null", "", first);
    assert_asked("{\"a\":7,\"x\":{\"roots\":[]}}", "", first);
    assert_asked("{\"a\":{\"roots\":[1]}}", "{}",
                 "{\"resultType\":\"input_required\",\"inputRequests\":{\"b\":{\"method\":"
                 "\"roots/list\",\"params\":{}}},"
                 "\"requestState\":\"{\\\"a\\\":{\\\"roots\\\":[1]}}\"}");
    assert_asked("{\"b\":{\"roots\":[2]}}", "{\"a\":{\"roots\":[1]}}",
                 "{\"content\":[{\"type\":\"text\",\"text\":\"{\\\"roots\\\":[1]} then "
                 "{\\\"roots\\\":[2]}\"}]}");
}

static void assert_toiled(struct call_ctx c, bool want_failed, const char *want) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    bool failed = !want_failed;
    c.arena = &a;
    server_call(&toiler, NULL, &c, S("toil"), S("{}"), &out, &failed);
    assert_non_null(strstr(buf_text(&out), want));
    assert_int_equal(failed, want_failed);
    call_ctx_done(&c);
}

/* P-203, P-293, P-296 */
static void a_tool_that_needs_a_task_gets_one_or_says_so(void **state) {
    SCOPED(buf_done) struct buf list = { 0 };
    server_list(&toiler, NULL, &list);
    assert_non_null(strstr(buf_text(&list), "\"execution\":{\"taskSupport\":\"required\"}"));
    assert_toiled((struct call_ctx){ 0 }, true, "{\"code\":-32021,");
    assert_toiled((struct call_ctx){ 0 }, true,
                  "{\"extensions\":{\"io.modelcontextprotocol/tasks\":{}}}");
    assert_toiled((struct call_ctx){ .takes_task = true }, false, "{\"resultType\":\"task\"}");
    assert_toiled((struct call_ctx){ .takes_task = true, .in_task = true }, false, "\"done\"");
}

/* P-200: all problems at once, each with its name */
static void wrong_arguments_are_all_named(void **state) {
    assert_call("{\"times\":10,\"actt\":1}",
                "{\"content\":[{\"type\":\"text\",\"text\":\"Invalid arguments for play:\\n"
                "times must be an integer from 1 to 9, not 10\\n"
                "actt is unknown; did you mean \\\"act\\\"?\\n"
                "act is missing: a text of 1 to 20 characters\"}],\"isError\":true}");
    assert_call("[]", "{\"content\":[{\"type\":\"text\",\"text\":\"Invalid arguments for play:\\n"
                      "arguments must be an object, not an array\"}],\"isError\":true}");
}

static void arguments_that_are_no_json_are_refused(void **state) {
    bool failed;
    assert_non_null(strstr(call("play", "{\"act\":", &failed), "\"isError\":true"));
    assert_non_null(
        strstr(call("play", "{\"act\":\"a\",\"act\":\"b\"}", &failed), "\"isError\":true"));
    assert_false(failed);
}

/* P-192 */
static void absent_arguments_are_none(void **state) {
    bool failed = true;
    assert_string_equal(call("nothing", "", &failed), "{\"content\":[]}");
    assert_string_equal(call("nothing", "{}", &failed), "{\"content\":[]}");
    assert_string_equal(call("nothing", "null", &failed), "{\"content\":[]}");
    assert_false(failed);
}

static void an_unknown_tool_is_an_error_of_the_protocol(void **state) {
    bool failed = false;
    assert_string_equal(call("da\"nce", "{}", &failed),
                        "{\"code\":-32602,\"message\":\"Unknown tool: da\\\"nce\"}");
    assert_true(failed);
}

/* ---- lists ------------------------------------------------------------------------- */

/* P-190, P-197 */
static void a_list_has_schemas_and_annotations(void **state) {
    struct buf out = { 0 };
    server_list(&theatre, NULL, &out);
    assert_string_equal(
        buf_text(&out),
        "{\"tools\":[{\"name\":\"play\",\"title\":\"Play\",\"description\":\"Plays.\","
        "\"inputSchema\":"
        "{\"type\":\"object\",\"properties\":{\"act\":{\"type\":\"string\",\"description\":\"What "
        "to do.\","
        "\"minLength\":1,\"maxLength\":20},\"times\":{\"type\":\"integer\",\"description\":\"How "
        "often.\","
        "\"minimum\":1,\"maximum\":9,\"default\":1}},\"required\":[\"act\"],"
        "\"additionalProperties\":false},"
        "\"outputSchema\":{\"type\":\"object\",\"properties\":{\"did\":{\"type\":\"string\","
        "\"description\":"
        "\"What was done.\"},\"times\":{\"type\":\"integer\",\"description\":\"How "
        "often.\"}},\"required\":"
        "[\"did\",\"times\"],\"additionalProperties\":false},\"annotations\":{\"title\":\"Play\","
        "\"readOnlyHint\":false,\"destructiveHint\":true,\"idempotentHint\":false,"
        "\"openWorldHint\":true}},"
        "{\"name\":\"nothing\",\"title\":\"Nothing\",\"description\":\"Does "
        "nothing.\",\"inputSchema\":"
        "{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false},\"annotations\":"
        "{\"title\":\"Nothing\",\"readOnlyHint\":true,\"destructiveHint\":false,\"idempotentHint\":"
        "true,"
        "\"openWorldHint\":false}}]}");
    buf_done(&out);
}

static void *list(void *out) {
    for (size_t i = 0; i < builtin_count; i++)
        server_list(builtin_servers[i], NULL, out);
    return NULL;
}

static void threads_that_list_at_once_get_the_same(void **state) {
    enum { THREADS = 4 };
    struct buf out[THREADS] = { 0 };
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, list, &out[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < THREADS; i++) {
        assert_true(out[i].n > 0 && str_eq(buf_view(&out[i]), buf_view(&out[0])));
        if (i)
            buf_done(&out[i]);
    }
    buf_done(&out[0]);
}

/* What clients and the gateway rely on, of every server there is. */
static void every_builtin_server_is_complete(void **state) {
    for (size_t i = 0; i < builtin_count; i++) {
        const struct server_ops *ops = builtin_servers[i];
        assert_ptr_equal(builtin_find(str_of(ops->name)), ops);
        assert_non_null(ops->title);
        assert_non_null(ops->summary);
        const struct tool *t;
        assert_non_null(server_tool(ops, 0));
        for (size_t k = 0; (t = server_tool(ops, k)); k++) {
            assert_true(t->title && t->description && t->run && strlen(t->description) > 20);
            assert_true(strlen(ops->name) + 2 + strlen(t->name) <= 64); /* P-191 */
        }
    }
    assert_null(builtin_find(S("tim")));
    assert_null(builtin_find(S("")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_structured_and_a_text_of_the_same),
        cmocka_unit_test(a_tool_may_have_its_own_text_and_content),
        cmocka_unit_test(a_failure_of_a_tool_is_a_result_that_says_why),
        cmocka_unit_test(an_internal_error_is_not_shown),
        cmocka_unit_test(a_tool_that_asks_runs_again_with_all_answers),
        cmocka_unit_test(a_tool_that_needs_a_task_gets_one_or_says_so),
        cmocka_unit_test(wrong_arguments_are_all_named),
        cmocka_unit_test(arguments_that_are_no_json_are_refused),
        cmocka_unit_test(absent_arguments_are_none),
        cmocka_unit_test(an_unknown_tool_is_an_error_of_the_protocol),
        cmocka_unit_test(a_list_has_schemas_and_annotations),
        cmocka_unit_test(threads_that_list_at_once_get_the_same),
        cmocka_unit_test(every_builtin_server_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
