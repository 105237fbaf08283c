/* envelope_test.c - every test runs once for each engine that the processor has. */

#include "mcp/envelope.h"
#include "tests/unit/corpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct envelope_limits no_limits;

/* ---- an exact copy on the heap, so that a sanitizer sees a read beyond either end -- */

static char *exact;
static struct str copy_of(struct str text) {
    free(exact);
    exact = malloc(text.n ? text.n : 1);
    assert_non_null(exact);
    if (text.n)
        memcpy(exact, text.p, text.n);
    return str_from(exact, text.n);
}

static enum envelope_fault scan(const char *text, struct envelope *e) {
    return envelope_scan(copy_of(str_of(text)), no_limits, e);
}

static enum envelope_fault fault_of(const char *text) {
    struct envelope e;
    return scan(text, &e);
}

static enum envelope_fault check_str(struct str text) {
    return envelope_check_json(copy_of(text), no_limits);
}

static struct envelope scanned(const char *text) {
    struct envelope e;
    enum envelope_fault f = scan(text, &e);
    if (f != ENVELOPE_NONE)
        fail_msg("%s: %s", text, envelope_fault_text(f));
    return e;
}

static void assert_str(struct str s, const char *expected) {
    if (!s.p)
        fail_msg("absent, not %s", expected);
    if (!str_eq(s, str_of(expected)))
        fail_msg("%.*s, not %s", STR(s), expected);
}

static void assert_fault(const char *text, enum envelope_fault expected) {
    enum envelope_fault f = fault_of(text);
    if (f != expected)
        fail_msg("%s: \"%s\", not \"%s\"", text, envelope_fault_text(f),
                 envelope_fault_text(expected));
}

static void assert_check(struct str text, enum envelope_fault expected) {
    enum envelope_fault f = check_str(text);
    if (f != expected)
        fail_msg("%.*s: \"%s\", not \"%s\"", STR(text), envelope_fault_text(f),
                 envelope_fault_text(expected));
}

/* Members of params, of _meta, of the envelope. */
#define CALL(params) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{" params "}}"
#define META(members) CALL("\"_meta\":{" members "}")
#define WITH(members) "{\"jsonrpc\":\"2.0\"," members "}"
#define MCP "io.modelcontextprotocol/"

/* ---- kinds ------------------------------------------------------------------------- */

static void p001_a_request_is_taken_apart(void **state) {
    struct envelope e = scanned(
        " {\"jsonrpc\": \"2.0\", \"id\": 7, \"method\": \"tools/call\",\n"
        "\"params\": {\"name\": \"a\", \"arguments\": {\"x\": [1]} } }\t\r\n");
    assert_int_equal(e.kind, ENVELOPE_REQUEST);
    assert_str(e.id, "7");
    assert_str(e.method, "tools/call");
    assert_str(e.params, "{\"name\": \"a\", \"arguments\": {\"x\": [1]} }");
    assert_str(e.name, "a");
    assert_str(e.arguments, "{\"x\": [1]}");
    assert_int_equal(*e.text.p, '{');
    assert_int_equal(e.text.p[e.text.n - 1], '}');
    assert_null(e.meta.p);
    assert_null(e.result.p);
}

static void p001_another_version_is_refused_and_keeps_the_id(void **state) {
    static const char *const texts[] = {
        "{\"id\":1,\"method\":\"m\"}",
        "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"m\"}",
        "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"m\"}",
        "{\"jsonrpc\":null,\"id\":1,\"method\":\"m\"}",
        "{\"jsonrpc\":\"2.0 \",\"id\":1,\"method\":\"m\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct envelope e;
        assert_int_equal(scan(texts[i], &e), ENVELOPE_VERSION);
        assert_str(e.id, "1");
    }
}

static void p002_ids_keep_type_and_spelling(void **state) {
    static const char *const ids[] = {
        "0", "-1", "1790000000000", "9223372036854775807", "123456789012345678901234567890",
        "-0", "\"1\"", "\"\"", "\"a\\u0062\"", "\"\xe4\xb8\xad\"",
    };
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        char text[200];
        snprintf(text, sizeof text, WITH("\"id\":%s,\"method\":\"m\""), ids[i]);
        assert_str(scanned(text).id, ids[i]);
        snprintf(text, sizeof text, WITH("\"method\":\"m\",\"id\":%s"), ids[i]);
        assert_str(scanned(text).id, ids[i]);
    }
}

static void p002_what_is_no_string_and_no_integer_is_no_id(void **state) {
    static const char *const ids[] = { "null", "1.0", "1e3", "1E3", "-1.5", "{}", "[1]", "true" };
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        char text[200];
        struct envelope e;
        snprintf(text, sizeof text, WITH("\"id\":%s,\"method\":\"m\""), ids[i]);
        assert_fault(text, ENVELOPE_ID);
        scan(text, &e);
        assert_null(e.id.p);
        assert_int_equal(e.kind, ENVELOPE_REQUEST);
    }
}

static void p004_an_answer_has_either_result_or_error(void **state) {
    struct envelope e = scanned(WITH("\"id\":1,\"result\":{\"a\":1.50}"));
    assert_int_equal(e.kind, ENVELOPE_RESULT);
    assert_str(e.result, "{\"a\":1.50}");
    e = scanned("{\"error\":{\"code\":-1,\"message\":\"\"},\"id\":\"x\",\"jsonrpc\":\"2.0\"}");
    assert_int_equal(e.kind, ENVELOPE_ERROR);
    assert_str(e.error, "{\"code\":-1,\"message\":\"\"}");
    assert_str(e.id, "\"x\"");

    assert_fault(WITH("\"id\":1,\"result\":{},\"error\":{}"), ENVELOPE_SHAPE);
    assert_fault(WITH("\"id\":1,\"result\":{},\"error\":null"), ENVELOPE_SHAPE);
    assert_fault(WITH("\"id\":1,\"result\":[]"), ENVELOPE_SHAPE);
    assert_fault(WITH("\"id\":1,\"result\":null"), ENVELOPE_SHAPE);
    assert_fault(WITH("\"id\":1,\"error\":\"x\""), ENVELOPE_SHAPE);
    assert_fault(WITH("\"result\":{}"), ENVELOPE_SHAPE);
    assert_fault(WITH("\"id\":null,\"result\":{}"), ENVELOPE_ID);
    assert_fault(WITH("\"id\":1"), ENVELOPE_SHAPE);
    assert_fault(WITH("\"id\":1,\"method\":\"m\",\"result\":{}"), ENVELOPE_SHAPE);
    assert_fault(WITH("\"id\":1,\"method\":\"m\",\"error\":{}"), ENVELOPE_SHAPE);
}

static void p005_a_notification_is_known_as_one_even_when_it_is_wrong(void **state) {
    struct envelope e = scanned(WITH("\"method\":\"notifications/initialized\""));
    assert_int_equal(e.kind, ENVELOPE_NOTIFICATION);
    assert_null(e.id.p);
    assert_int_equal(scan(WITH("\"method\":\"n\",\"params\":[]"), &e), ENVELOPE_PARAMS);
    assert_int_equal(e.kind, ENVELOPE_NOTIFICATION);
    assert_int_equal(scan(WITH("\"method\":\"\""), &e), ENVELOPE_METHOD);
    assert_int_equal(e.kind, ENVELOPE_NOTIFICATION);
}

static void p001_a_method_is_a_string_with_something_in_it(void **state) {
    assert_fault(WITH("\"id\":1,\"method\":\"\""), ENVELOPE_METHOD);
    assert_fault(WITH("\"id\":1,\"method\":null"), ENVELOPE_METHOD);
    assert_fault(WITH("\"id\":1,\"method\":7"), ENVELOPE_METHOD);
    assert_fault(WITH("\"id\":1,\"method\":{}"), ENVELOPE_METHOD);
}

static void p006_params_are_an_object(void **state) {
    assert_fault(WITH("\"id\":1,\"method\":\"m\",\"params\":[]"), ENVELOPE_PARAMS);
    assert_fault(WITH("\"id\":1,\"method\":\"m\",\"params\":\"\""), ENVELOPE_PARAMS);
    assert_fault(WITH("\"id\":1,\"method\":\"m\",\"params\":0"), ENVELOPE_PARAMS);
    assert_int_equal(envelope_fault_code(ENVELOPE_PARAMS), -32602);
    assert_null(scanned(WITH("\"id\":1,\"method\":\"m\",\"params\":null")).params.p);
    assert_str(scanned(WITH("\"id\":1,\"method\":\"m\",\"params\":{}")).params, "{}");
    assert_str(scanned(WITH("\"id\":1,\"method\":\"m\",\"params\":{ }")).params, "{ }");
}

static void p007_an_error_may_lack_its_id(void **state) {
    struct envelope e = scanned(WITH("\"error\":{\"code\":-32700}"));
    assert_int_equal(e.kind, ENVELOPE_ERROR);
    assert_null(e.id.p);
    e = scanned(WITH("\"id\":null,\"error\":{\"code\":-32700}"));
    assert_int_equal(e.kind, ENVELOPE_ERROR);
    assert_null(e.id.p);
    assert_fault(WITH("\"id\":1.5,\"error\":{}"), ENVELOPE_ID);
}

static void p008_a_batch_is_checked_but_not_looked_into(void **state) {
    assert_int_equal(scanned("[{\"jsonrpc\":\"1.0\"},1]").kind, ENVELOPE_BATCH);
    assert_int_equal(scanned(" [ [ ] ] ").kind, ENVELOPE_BATCH);
    assert_fault("[]", ENVELOPE_EMPTY_BATCH);
    assert_fault(" [ \n ] ", ENVELOPE_EMPTY_BATCH);
    assert_fault("[1,]", ENVELOPE_SYNTAX);
    assert_fault("[{\"a\":1}", ENVELOPE_SYNTAX);
    assert_fault("[\"\xff\"]", ENVELOPE_UTF8);
}

static void p001_other_values_are_no_message(void **state) {
    static const char *const texts[] = { "1", "\"x\"", "null", "true", "-0.5e1" };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_fault(texts[i], ENVELOPE_NOT_OBJECT);
    assert_fault("{}", ENVELOPE_VERSION);
    assert_fault("", ENVELOPE_SYNTAX);
    assert_fault(" \n", ENVELOPE_SYNTAX);
    assert_fault("nul", ENVELOPE_SYNTAX);
}

/* ---- params ------------------------------------------------------------------------ */

static void p011_unknown_members_are_kept_and_do_not_matter(void **state) {
    struct envelope e = scanned(
        "{\"x\":[{}],\"jsonrpc\":\"2.0\",\"id\":1,\"i\":0,\"method\":\"m\",\"params\":"
        "{\"nam\":0,\"names\":1,\"_meta\":{\"name\":2,\"a\":{}},\"z\":null}}");
    assert_str(e.params, "{\"nam\":0,\"names\":1,\"_meta\":{\"name\":2,\"a\":{}},\"z\":null}");
    assert_str(e.meta, "{\"name\":2,\"a\":{}}");
    assert_null(e.name.p);
}

static void keys_that_begin_like_known_ones_are_unknown(void **state) {
    static const char *const keys[] = { "id", "error", "method", "params", "jsonrpc", "result" };
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        for (int more = 1; more <= 130; more++) {
            char text[400];
            snprintf(text, sizeof text, WITH("\"%s%0*d\":[],\"id\":1,\"method\":\"m\""), keys[i],
                     more, 0);
            assert_fault(text, ENVELOPE_NONE);
        }
    }
}

static void p013_values_keep_their_spelling(void **state) {
    struct envelope e = scanned(
        CALL("\"arguments\":{\"a\":1.0,\"b\":1e2,\"c\":10000000000000000001,"
             "\"d\": -0.0 }"));
    assert_str(e.arguments, "{\"a\":1.0,\"b\":1e2,\"c\":10000000000000000001,\"d\": -0.0 }");
}

static const char *method_text(const char *method, const char *params) {
    static char text[400];
    snprintf(text, sizeof text, "{\"params\":{%s},\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}",
             params, method);
    return text;
}

static void the_method_says_which_member_names_its_object(void **state) {
    const char *all = "\"taskId\":\"t\",\"uri\":\"u\",\"name\":\"n\"";
    assert_str(scanned(method_text("tools/call", all)).name, "n");
    assert_str(scanned(method_text("prompts/get", all)).name, "n");
    assert_str(scanned(method_text("resources/read", all)).name, "u");
    assert_str(scanned(method_text("tasks/get", all)).name, "t");
    assert_str(scanned(method_text("notifications/resources/updated", "\"uri\":\"u\"")).name, "u");
    assert_str(scanned(method_text("notifications/tasks/status", "\"taskId\":\"t\"")).name, "t");
    assert_null(scanned(method_text("resources/read", "\"name\":\"n\"")).name.p);
    assert_null(scanned(method_text("tasks/get", "\"uri\":\"u\"")).name.p);
    assert_str(scanned(method_text("resources\\/read", all)).name, "u");
    assert_str(scanned(method_text("\\u0074asks\\/get", all)).name, "t");
    struct envelope e = scanned(method_text("tools/call", all));
    assert_str(e.uri, "u");
    assert_str(e.task_id, "t");
}

static void escapes_in_names_are_flagged(void **state) {
    assert_false(scanned(CALL("\"name\":\"a\",\"arguments\":{\"t\":\"\\n\"}")).name_escaped);
    assert_true(scanned(CALL("\"name\":\"\\u0061\"")).name_escaped);
    assert_str(scanned(CALL("\"name\":\"\\u0061\"")).name, "\\u0061");
    assert_true(scanned(WITH("\"id\":1,\"method\":\"tools\\/call\"")).methods_escaped);
    assert_false(scanned(WITH("\"id\":\"\\n\",\"method\":\"tools/call\"")).methods_escaped);
}

static void members_of_params_have_their_types(void **state) {
    static const char *const wrong[] = {
        CALL("\"name\":1"),       CALL("\"name\":null"),      CALL("\"uri\":{}"),
        CALL("\"taskId\":[]"),    CALL("\"arguments\":[]"),   CALL("\"arguments\":\"{}\""),
        CALL("\"cursor\":1"),     CALL("\"cursor\":{}"),      META("\"traceparent\":1"),
        META("\"tracestate\":[]"), META("\"baggage\":{}"),    META("\"progressToken\":1.5"),
        META("\"progressToken\":{}"), META("\"" MCP "clientCapabilities\":[]"),
        META("\"" MCP "clientInfo\":\"x\""), META("\"" MCP "subscriptionId\":null"),
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_fault(wrong[i], ENVELOPE_MEMBER);
    assert_fault(CALL("\"_meta\":[]"), ENVELOPE_META);
    assert_fault(CALL("\"_meta\":null"), ENVELOPE_META);
    assert_null(scanned(CALL("\"arguments\":null")).arguments.p);
}

static void p090_a_cursor_is_raw_and_null_is_none(void **state) {
    assert_str(scanned(CALL("\"cursor\":\"\"")).cursor, "\"\"");
    assert_str(scanned(CALL("\"cursor\":\"a\\n\"")).cursor, "\"a\\n\"");
    assert_null(scanned(CALL("\"cursor\":null")).cursor.p);
}

static void p040_the_members_of_meta_are_found(void **state) {
    struct envelope e = scanned(
        META("\"progressToken\":17,\"" MCP "protocolVersion\":\"2026-07-28\",\"" MCP
             "clientCapabilities\":{\"a\":{}},\"" MCP "clientInfo\":{\"name\":\"c\"},\"" MCP
             "logLevel\":\"info\",\"" MCP "subscriptionId\":\"s\",\"traceparent\":\"00-ab\","
             "\"tracestate\":\"k=v\",\"baggage\":\"b=c\""));
    assert_str(e.progress_token, "17");
    assert_str(e.protocol_version, "2026-07-28");
    assert_str(e.client_capabilities, "{\"a\":{}}");
    assert_str(e.client_info, "{\"name\":\"c\"}");
    assert_str(e.log_level, "\"info\"");
    assert_str(e.subscription_id, "\"s\"");
    assert_str(e.traceparent, "00-ab");
    assert_str(e.tracestate, "k=v");
    assert_str(e.baggage, "b=c");
    assert_false(e.version_not_string);
    assert_str(scanned(META("\"progressToken\":\"t\"")).progress_token, "\"t\"");
    assert_str(scanned(META("\"" MCP "logLevel\":5")).log_level, "5");
}

static void p041_a_version_that_is_no_string_is_flagged_only(void **state) {
    static const char *const values[] = { "1", "null", "{}", "[]", "true" };
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        char text[300];
        snprintf(text, sizeof text, META("\"" MCP "protocolVersion\":%s"), values[i]);
        struct envelope e = scanned(text);
        assert_true(e.version_not_string);
        assert_null(e.protocol_version.p);
    }
}

static void members_below_the_three_objects_mean_nothing(void **state) {
    struct envelope e = scanned(
        CALL("\"arguments\":{\"name\":\"x\",\"_meta\":{\"progressToken\":1},"
             "\"params\":{\"uri\":\"u\"},\"id\":5}"));
    assert_null(e.name.p);
    assert_null(e.meta.p);
    assert_null(e.progress_token.p);
    assert_str(e.id, "1");
}

/* ---- P-012: duplicates ------------------------------------------------------------- */

static void p012_a_key_twice_is_refused_in_the_three_objects(void **state) {
    static const char *const twice[] = {
        WITH("\"id\":1,\"method\":\"m\",\"id\":1"),
        WITH("\"id\":1,\"method\":\"m\",\"method\":\"n\""),
        WITH("\"id\":1,\"method\":\"m\",\"jsonrpc\":\"2.0\""),
        WITH("\"id\":1,\"method\":\"m\",\"params\":{},\"params\":{}"),
        WITH("\"x\":1,\"id\":1,\"method\":\"m\",\"x\":1"),
        CALL("\"name\":\"a\",\"name\":\"b\""),
        CALL("\"_meta\":{},\"_meta\":{}"),
        CALL("\"x\":1,\"_meta\":{},\"x\":1"),
        CALL("\"\":1,\"\":1"),
        META("\"progressToken\":1,\"progressToken\":2"),
        META("\"" MCP "clientInfo\":{},\"" MCP "clientInfo\":{}"),
        META("\"a/b\":1,\"a/b\":1"),
    };
    for (size_t i = 0; i < ARRAY_SIZE(twice); i++)
        assert_fault(twice[i], ENVELOPE_DUPLICATE);
}

static void p012_keys_are_compared_without_their_escapes(void **state) {
    static const char *const twice[] = {
        WITH("\"id\":1,\"method\":\"m\",\"\\u0069d\":1"),
        WITH("\"i\\u0064\":1,\"method\":\"m\",\"id\":1"),
        CALL("\"name\":\"a\",\"n\\u0061me\":\"b\""),
        CALL("\"a/b\":1,\"a\\/b\":1"),
        CALL("\"\\n\":1,\"\\u000a\":1"),
        CALL("\"\xc3\xa9\":1,\"\\u00E9\":1"),
        CALL("\"\xe4\xb8\xad\":1,\"\\u4e2d\":1"),
        CALL("\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\ude00\":1"),
        META("\"" MCP "clientInfo\":{},\"io.modelcontextprotocol\\/clientInfo\":{}"),
        CALL("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\":1,\"\\u0022\\u005C\\u002f\\u0008\\u000c\\u000A\\u000d\\u0009\":1"),
    };
    for (size_t i = 0; i < ARRAY_SIZE(twice); i++)
        assert_fault(twice[i], ENVELOPE_DUPLICATE);
    struct envelope e = scanned(
        "{\"jsonrpc\":\"2.0\",\"\\u0069d\":5,\"m\\u0065thod\":\"m\",\"par\\u0061ms\":"
        "{\"\\u005fmeta\":{\"progressT\\u006fken\":3}}}");
    assert_str(e.id, "5");
    assert_str(e.method, "m");
    assert_str(e.progress_token, "3");
}

static void p012_an_id_that_is_there_twice_is_not_echoed(void **state) {
    struct envelope e;
    assert_int_equal(scan(WITH("\"id\":1,\"method\":\"m\",\"id\":2"), &e), ENVELOPE_DUPLICATE);
    assert_null(e.id.p);
}

static void the_same_key_in_different_objects_is_no_duplicate(void **state) {
    assert_fault(WITH("\"x\":0,\"id\":1,\"method\":\"m\",\"params\":{\"x\":0,\"_meta\":{\"x\":0},"
                      "\"y\":{\"z\":0,\"z\":0}},\"y\":0"),
                 ENVELOPE_NONE);
    assert_fault(CALL("\"arguments\":{\"a\":1,\"a\":2}"), ENVELOPE_NONE);
    assert_fault(CALL("\"a\":1,\"A\":1,\"a \":1,\"\":1"), ENVELOPE_NONE);
}

static void crowd(unsigned n, unsigned same, struct buf *out) {
    buf_str(out, S("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{\"k\":0"));
    for (unsigned i = 1; i < n; i++)
        buf_fmt(out, ",\"k%u\":0", i == same ? 1 : i);
    buf_str(out, S("}}"));
}

static enum envelope_fault crowd_fault(unsigned n, unsigned same) {
    struct buf text = { 0 };
    struct envelope e;
    crowd(n, same, &text);
    enum envelope_fault f = envelope_scan(copy_of(buf_view(&text)), no_limits, &e);
    buf_done(&text);
    assert_str(e.id, "1");
    return f;
}

static void p012_unknown_members_have_a_bound(void **state) {
    assert_int_equal(crowd_fault(64, 0), ENVELOPE_NONE);
    assert_int_equal(crowd_fault(64, 63), ENVELOPE_DUPLICATE);
    assert_int_equal(crowd_fault(65, 0), ENVELOPE_CROWDED);
    assert_int_equal(crowd_fault(5000, 0), ENVELOPE_CROWDED);
}

/* ---- P-012: grammar ---------------------------------------------------------------- */

static void grammar_faults_are_found(void **state) {
    static const char *const wrong[] = {
        "{\"a\",1}", "{\"a\"::1}", "{\"a\" :: 1}", "{\"a\":1:2}", "{\"a\":\"b\":1}", "[\"a\":1]", "[\"a\":]",
        "[\"a\" : ]", "[1,,2]", "[1 , , 2]", "[,1]", "[1,]", "[1 ,]", "{\"a\":1,}", "{,}", "{,\"a\":1}", "[1]]",
        "{}}", "{} {}", "[] 1", "{\"a\":{}", "{\"a\":[]", "[[]", "[1:2]", "{\"a\" \"b\"}", "[1\"a\"]", "[\"a\"1]",
        "[\"a\"\"b\"]", "[{}{}]", "[{}[]]", "[1{}]", "[1[]]", "[{}1]", "[}", "{]", "{\"a\":1]", "[1}", "{\"a\"}",
        "{\"a\":}", "{\"a\":,}", "{1:2}", "{a:1}", "{'a':1}", "['a']", "[\"a]", "[\"a\\\"]", "\"a", "\"", "\\",
        "[\\\"a\"]", "[\"a\"\\]", "[1 2]", "[true false]", "[nul]", "[nulll]", "[truex]", "[True]", "[NaN]",
        "[Infinity]", "[1]x", "x[1]", "/**/[1]", "[1]//", "\xef\xbb\xbf[1]", "[\xe4\xb8\xad]", ":", ",", "}",
        "]", "{", "[", "{\"a\":1,\"b\"}", "{\"a\":1 \"b\":2}", "[\"a\",\"b\"", "{\"a\":tru}",
        "{\"a\":\"b\",c}", "[\"a\"x]", "[1x]", "[-]", "[\f1]", "[1\v]",
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_check(str_of(wrong[i]), ENVELOPE_SYNTAX);
}

static void white_space_may_stand_between_all_tokens(void **state) {
    static const char *const right[] = {
        " [ ] ", "\t{\n}\r", "[ 1 , \"a\" , { } , [ ] , null ]", "{ \"a\" : \"b\" , \"c\" : 1 }",
        "[1 ,2]", "[\"a\" ,\"b\"]", "[[] ,[]]", "{\"a\" :1}", " 1 ", " \"a\" ", "\ntrue\n",
        "{\"a\":{\"b\":[{\"c\":[]}]}}", "[[[]],[{}],\"\",0]",
    };
    for (size_t i = 0; i < ARRAY_SIZE(right); i++)
        assert_check(str_of(right[i]), ENVELOPE_NONE);
}

static void numbers_are_spelled_as_json_has_them(void **state) {
    static const char *const right[] = {
        "0", "-0", "1", "10", "-12", "0.5", "1.25", "1e5", "1E5", "1e+5", "1e-5", "0e0", "1.5e300",
        "12345678", "123456789", "1234567890123456789012345678901234567890", "0.1234567890123456789",
    };
    static const char *const wrong[] = {
        "01", "-01", "00", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-", "--1", "1e5.5", "1.5.5", "0x10", "1_000",
        "1a", "12345678a", "123456789.", "1-", "1+1", "-a", "-.5", "1e-", "1E++2",
    };
    char text[100];
    for (size_t i = 0; i < ARRAY_SIZE(right); i++) {
        assert_check(str_of(right[i]), ENVELOPE_NONE);
        snprintf(text, sizeof text, "[%s,{\"a\":%s}]", right[i], right[i]);
        assert_check(str_of(text), ENVELOPE_NONE);
    }
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_check(str_of(wrong[i]), ENVELOPE_SYNTAX);
        snprintf(text, sizeof text, "[%s]", wrong[i]);
        assert_check(str_of(text), ENVELOPE_SYNTAX);
        snprintf(text, sizeof text, "{\"a\":%s }", wrong[i]);
        assert_check(str_of(text), ENVELOPE_SYNTAX);
    }
}

static void p012_every_beginning_of_a_message_is_refused(void **state) {
    const char *text = META(
        "\"a\":\"\\u4e2d\xe4\xb8\xad\",\"b\":[1.5e3,true,null,{\"c\":\"\\\"\"}]");
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (check_str(str_from(text, i)) == ENVELOPE_NONE)
            fail_msg("%.*s is accepted", (int)i, text);
    assert_int_equal(check_str(str_from(text, n)), ENVELOPE_NONE);
}

static struct str nested(unsigned depth, char open, char close) {
    static char text[8000];
    size_t n = 0;
    for (unsigned i = 0; i < depth; i++) {
        if (i && open == '{')
            n += (size_t)sprintf(text + n, "\"a\":");
        text[n++] = open;
    }
    for (unsigned i = 0; i < depth; i++)
        text[n++] = close;
    return str_from(text, n);
}

static void p012_depth_has_a_limit(void **state) {
    static const struct {
        unsigned limit, most;
    } cases[] = { { 0, 128 }, { 1, 1 }, { 64, 64 }, { 65, 65 }, { 1024, 1024 }, { 5000, 1024 } };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct envelope_limits limits = { cases[i].limit };
        unsigned most = cases[i].most;
        assert_int_equal(envelope_check_json(copy_of(nested(most, '[', ']')), limits),
                         ENVELOPE_NONE);
        assert_int_equal(envelope_check_json(copy_of(nested(most, '{', '}')), limits),
                         ENVELOPE_NONE);
        assert_int_equal(envelope_check_json(copy_of(nested(most + 1, '[', ']')), limits),
                         ENVELOPE_DEPTH);
        assert_int_equal(envelope_check_json(copy_of(nested(most + 1, '{', '}')), limits),
                         ENVELOPE_DEPTH);
    }
}

static void depth_counts_from_the_envelope(void **state) {
    struct envelope e;
    const char *text = META("\"a\":[{}]");
    assert_int_equal(envelope_scan(copy_of(str_of(text)), (struct envelope_limits){ 5 }, &e),
                     ENVELOPE_NONE);
    for (unsigned limit = 1; limit < 5; limit++) {
        assert_int_equal(
            envelope_scan(copy_of(str_of(text)), (struct envelope_limits){ limit }, &e),
            ENVELOPE_DEPTH);
        assert_null(e.id.p);
    }
}

/* Levels are remembered in words of 64 bits: both kinds, across their borders. */
static void brackets_pair_at_every_depth(void **state) {
    char text[2000];
    for (unsigned depth = 1; depth <= 200; depth++) {
        size_t n = 0;
        for (unsigned i = 0; i < depth; i++)
            n += (size_t)sprintf(text + n, "%s", i % 3 ? "[" : "{\"a\":");
        n += (size_t)sprintf(text + n, "0");
        size_t middle = n;
        for (unsigned i = depth; i-- > 0;)
            text[n++] = i % 3 ? ']' : '}';
        struct envelope_limits limits = { 200 };
        assert_int_equal(envelope_check_json(copy_of(str_from(text, n)), limits), ENVELOPE_NONE);
        for (size_t i = middle; i < n; i += 7) {
            text[i] ^= ']' ^ '}';
            assert_int_equal(envelope_check_json(copy_of(str_from(text, n)), limits),
                             ENVELOPE_SYNTAX);
            text[i] ^= ']' ^ '}';
        }
    }
}

/* ---- P-012: inside strings, at every place of a block ------------------------------ */

/* FAR: behind a batch of blocks (envelope_lex.h), where a string is read in another way. */
enum { PLACES = 140, RUN = 130, FAR = 1010 };

static char *put_run(char *p, unsigned n) {
    memset(p, 'x', n);
    return p + n;
}

/* The string in an array, after `before` bytes of x and before `behind` of them. */
static struct str placed(unsigned before, const char *inside, size_t n, unsigned behind) {
    static char text[FAR + PLACES + 200 + RUN];
    char *p = text;
    *p++ = '[';
    *p++ = '"';
    p = put_run(p, before);
    memcpy(p, inside, n);
    p = put_run(p + n, behind);
    *p++ = '"';
    *p++ = ']';
    return str_from(text, (size_t)(p - text));
}

static void everywhere(const char *inside, size_t n, enum envelope_fault expected) {
    for (unsigned before = 0; before < PLACES; before++)
        assert_check(placed(before, inside, n, before % 2 ? RUN : 0), expected);
    for (unsigned before = 0; before < PLACES; before++)
        assert_check(placed(before, inside, n, before % 2 ? 0 : RUN), expected);
    for (unsigned before = FAR; before < FAR + PLACES; before++)
        assert_check(placed(before, inside, n, before % 3 ? RUN : before % 2), expected);
}

static void p012_utf8_is_checked(void **state) {
    static const char *const right[] = {
        "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xe4\xb8\xad\xe6\x96\x87", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "a\xc3\xa9z\x7f",
        "\xe4\xb8\xad\xe6\x96\x87\xe4\xb8\xad\xe6\x96\x87\xe4\xb8\xad\xe6\x96\x87\xe4\xb8\xad\xe6\x96\x87",
    };
    static const char *const wrong[] = {
        "\x80", "\xbf", "\xc2", "\xc2z", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xe4\xb8",
        "\xe4\xb8z", "\xe4z", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
        "\xf0\x9f\x98", "\xf0\x9f\x98z", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xff",
        "\xfe", "\xc3\xa9\xa9", "\xe4\xb8\xad\xad", "\xf0\x9f\x98\x80\x80", "\xc3\xc3\xa9", "\xe4\xe4\xb8\xad",
    };
    for (size_t i = 0; i < ARRAY_SIZE(right); i++)
        everywhere(right[i], strlen(right[i]), ENVELOPE_NONE);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        everywhere(wrong[i], strlen(wrong[i]), ENVELOPE_UTF8);
}

static void escapes_are_those_of_json(void **state) {
    for (unsigned c = 0; c < 256; c++) {
        char escape[] = { '\\', (char)c, '0', '0', '0', '0' };
        bool known = c && strchr("\"\\/bfnrtu", (int)c);
        enum envelope_fault f = check_str(placed(c % PLACES, escape, sizeof escape, 0));
        if (known != (f == ENVELOPE_NONE))
            fail_msg("escape of byte %u: %s", c, envelope_fault_text(f));
    }
    static const char *const wrong[] = { "\\x",    "\\u",     "\\u1", "\\u123", "\\u123g",
                                         "\\uD83", "\\U0041", "\\ ",  "\\'" };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        everywhere(wrong[i], strlen(wrong[i]), ENVELOPE_SYNTAX);
    static const char *const right[] = { "\\\\",    "\\\"",       "\\\\\\\"", "\\\\\\\\",
                                         "\\u0000", "\\u4E2d\\/", "\\n\\t" };
    for (size_t i = 0; i < ARRAY_SIZE(right); i++)
        everywhere(right[i], strlen(right[i]), ENVELOPE_NONE);
}

static void runs_of_backslashes_end_a_string_by_their_parity(void **state) {
    char run[PLACES];
    memset(run, '\\', sizeof run);
    for (unsigned n = 1; n < 70; n++)
        everywhere(run, n, n % 2 ? ENVELOPE_SYNTAX : ENVELOPE_NONE);
}

static void p012_surrogates_come_in_pairs(void **state) {
    static const char *const right[] = { "\\ud83d\\ude00", "\\uD800\\uDC00",
                                         "\\udbff\\udfff\\ud83d\\ude00", "\\ud7ff\\ue000" };
    static const char *const lone[] = {
        "\\ud83d", "\\ude00", "\\ud83dx", "\\ud83d\\n", "\\ud83d\\u0041", "\\ud83d\\ud83d\\ude00", "\\ude00\\ud83d",
        "\\ud83dx\\ude00", "\\ud83d\\\\ude00", "\\ud83d\\ude00\\ude00",
    };
    for (size_t i = 0; i < ARRAY_SIZE(right); i++)
        everywhere(right[i], strlen(right[i]), ENVELOPE_NONE);
    for (size_t i = 0; i < ARRAY_SIZE(lone); i++)
        everywhere(lone[i], strlen(lone[i]), ENVELOPE_SURROGATE);
}

static void control_characters_are_refused_in_strings(void **state) {
    for (unsigned c = 0; c < 0x20; c++) {
        char byte = (char)c;
        everywhere(&byte, 1, ENVELOPE_SYNTAX);
    }
    everywhere("\x7f", 1, ENVELOPE_NONE);
}

static void control_characters_are_refused_between_tokens(void **state) {
    for (unsigned c = 0; c < 0x20; c++) {
        char text[] = { '[', '1', (char)c, ',', (char)c, '"', 'a', '"', (char)c, ']' };
        bool white = c == '\t' || c == '\n' || c == '\r';
        assert_check(str_from(text, sizeof text), white ? ENVELOPE_NONE : ENVELOPE_SYNTAX);
    }
}

/* They are found when all tokens are: a fault that ends the walk comes first, in any engine. */
static void depth_comes_before_control_characters(void **state) {
    for (unsigned c = 1; c < 0x20; c++) {
        char text[200];
        int n = snprintf(text, sizeof text, "[%c[[0]]]", (int)c);
        assert_int_equal(
            envelope_check_json(copy_of(str_from(text, (size_t)n)), (struct envelope_limits){ 2 }),
            ENVELOPE_DEPTH);
    }
}

/* The message after n bytes of string: keys and values lie across blocks and batches. */
static void members_are_found_wherever_they_lie(void **state) {
    static const char tail[] =
        "\",\"params\":{\"na\\u006de\":\"\xe4\xb8\xad\\n\",\"arguments\":{\"t\":[1,\"\\\\\"]},"
        "\"_meta\":{\"" MCP "protocolVersion\":\"2026-07-28\"}},\"id\":123456789,"
        "\"method\":\"tools/call\"}";
    for (size_t n = 0; n<1300; n += n> 130 && n < 880 ? 50 : 1) {
        struct buf text = { 0 };
        buf_str(&text, S("{\"jsonrpc\":\"2.0\",\"pad\":\""));
        for (size_t i = 0; i < n; i++)
            buf_char(&text, 'x');
        buf_str(&text, S(tail));
        struct envelope e;
        assert_int_equal(envelope_scan(copy_of(buf_view(&text)), no_limits, &e), ENVELOPE_NONE);
        buf_done(&text);
        assert_str(e.name, "\xe4\xb8\xad\\n");
        assert_true(e.name_escaped);
        assert_str(e.arguments, "{\"t\":[1,\"\\\\\"]}");
        assert_str(e.protocol_version, "2026-07-28");
        assert_str(e.id, "123456789");
        assert_str(e.method, "tools/call");
        assert_false(e.methods_escaped);
    }
}

/* ---- which fault ------------------------------------------------------------------- */

static void grammar_wins_over_meaning_and_takes_the_id(void **state) {
    struct envelope e;
    assert_int_equal(scan("{\"id\":1,\"id\":2,\"x\":tru}", &e), ENVELOPE_SYNTAX);
    assert_int_equal(scan(WITH("\"id\":1,\"method\":\"\xff\",\"params\":[]"), &e), ENVELOPE_UTF8);
    assert_null(e.id.p);
    assert_int_equal(scan(WITH("\"id\":1,\"method\":\"\\ud800\""), &e), ENVELOPE_SURROGATE);
    assert_null(e.id.p);
}

static void an_id_at_the_end_survives_faults_of_meaning(void **state) {
    static const char *const texts[] = {
        "{\"jsonrpc\":\"2.0\",\"params\":{\"name\":1},\"method\":\"m\",\"id\":9}",
        "{\"jsonrpc\":\"2.0\",\"params\":[],\"method\":\"m\",\"id\":9}",
        "{\"jsonrpc\":\"2.0\",\"a\":1,\"a\":1,\"method\":\"m\",\"id\":9}",
        "{\"method\":7,\"id\":9}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct envelope e;
        assert_int_not_equal(scan(texts[i], &e), ENVELOPE_NONE);
        assert_str(e.id, "9");
        assert_int_equal(e.kind, ENVELOPE_REQUEST);
    }
}

static void faults_have_codes_and_texts(void **state) {
    assert_int_equal(envelope_fault_code(ENVELOPE_SYNTAX), -32700);
    assert_int_equal(envelope_fault_code(ENVELOPE_DUPLICATE), -32600);
    assert_int_equal(envelope_fault_code(ENVELOPE_MEMBER), -32602);
    assert_string_equal(envelope_fault_text(ENVELOPE_UTF8), "not valid UTF-8");
}

/* ---- answers ----------------------------------------------------------------------- */

static enum envelope_fault answer(const char *text, const char *id, size_t whole,
                                  struct envelope *e) {
    return envelope_scan_answer(copy_of(str_of(text)), str_of(id), whole, no_limits, e);
}

static void an_answer_is_found_at_either_end(void **state) {
    static const char *const texts[] = {
        "{\"jsonrpc\":\"2.0\",\"id\":17,\"result\":{\"a\":[1]}}",
        "{\"id\":17,\"jsonrpc\":\"2.0\",\"result\":{\"a\":[1]}}",
        "{\"result\":{\"a\":[1]},\"jsonrpc\":\"2.0\",\"id\":17}",
        "{\"result\":{\"a\":[1]},\"id\":17,\"jsonrpc\":\"2.0\"}",
        "{\"jsonrpc\":\"2.0\",\"result\":{\"a\":[1]},\"id\":17}",
        " { \"jsonrpc\" : \"2.0\" , \"id\" : 17 , \"result\" : {\"a\":[1]} } \n",
        " { \"result\" : {\"a\":[1]} , \"jsonrpc\" : \"2.0\" , \"id\" : 17 } \n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        for (size_t whole = 0; whole <= 1000; whole += 1000) {
            struct envelope e;
            assert_int_equal(answer(texts[i], "17", whole, &e), ENVELOPE_NONE);
            assert_int_equal(e.kind, ENVELOPE_RESULT);
            assert_str(e.id, "17");
            assert_str(e.result, "{\"a\":[1]}");
            assert_null(e.error.p);
        }
    }
}

static void an_error_is_an_answer_too(void **state) {
    for (size_t whole = 0; whole <= 1000; whole += 1000) {
        struct envelope e;
        assert_int_equal(answer(WITH("\"id\":\"a\",\"error\":{\"code\":1}"), "\"a\"", whole, &e),
                         ENVELOPE_NONE);
        assert_int_equal(e.kind, ENVELOPE_ERROR);
        assert_str(e.error, "{\"code\":1}");
        assert_null(e.result.p);
        assert_int_equal(answer(WITH("\"id\":null,\"error\":{\"code\":1}"), "1", whole, &e),
                         ENVELOPE_NONE);
        assert_int_equal(e.kind, ENVELOPE_ERROR);
        assert_null(e.id.p);
    }
}

static void an_answer_to_another_question_is_refused(void **state) {
    static const char *const texts[] = {
        WITH("\"id\":1,\"result\":{}"), WITH("\"id\":177,\"result\":{}"), WITH("\"id\":7,\"result\":{}"),
        WITH("\"id\":\"17\",\"result\":{}"), "{\"result\":{},\"jsonrpc\":\"2.0\",\"id\":117}",
        WITH("\"id\":18,\"error\":{}"), WITH("\"id\":1,\"result\":{\"id\":17}"),
        "{\"jsonrpc\":\"2.0\",\"id\":17,\"method\":\"m\"}", "{\"jsonrpc\":\"2.0\",\"method\":\"m\"}", "[1]",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct envelope e;
        assert_int_equal(answer(texts[i], "17", 0, &e), ENVELOPE_SHAPE);
        assert_int_equal(answer(texts[i], "17", 1000, &e), ENVELOPE_SHAPE);
    }
}

static void what_has_no_plain_frame_is_scanned_wholly(void **state) {
    struct envelope e;
    assert_int_equal(answer("{\"jsonrpc\":\"2.0\",\"x\":0,\"id\":17,\"result\":{\"a\":1},\"y\":[]}",
                            "17", 0, &e),
                     ENVELOPE_NONE);
    assert_str(e.result, "{\"a\":1}");
    assert_int_equal(answer(WITH("\"id\":17,\"result\":{},\"id\":17"), "17", 0, &e),
                     ENVELOPE_DUPLICATE);
    assert_int_equal(answer("{\"id\":17,\"result\":{}}", "17", 0, &e), ENVELOPE_VERSION);
    assert_int_equal(answer(WITH("\"id\":17,\"result\":[]"), "17", 0, &e), ENVELOPE_SHAPE);
    assert_int_equal(answer(WITH("\"id\":17,\"result\":{"), "17", 0, &e), ENVELOPE_SYNTAX);
    assert_int_equal(answer("", "17", 0, &e), ENVELOPE_SYNTAX);
    assert_int_equal(answer("{", "17", 0, &e), ENVELOPE_SYNTAX);
    assert_int_equal(answer("{}", "17", 0, &e), ENVELOPE_VERSION);
}

static void only_large_answers_are_trusted(void **state) {
    struct envelope e;
    const char *wrong = WITH("\"id\":17,\"result\":{\"a\":\"\xff\"}");
    assert_int_equal(answer(wrong, "17", strlen(wrong), &e), ENVELOPE_UTF8);
    assert_int_equal(answer(wrong, "17", SIZE_MAX, &e), ENVELOPE_UTF8);
    assert_int_equal(answer(wrong, "17", strlen(wrong) - 1, &e), ENVELOPE_NONE);
    assert_str(e.result, "{\"a\":\"\xff\"}");
}

/* ---- corpus, engines --------------------------------------------------------------- */

/* Keys of any object are the document's business: of a message only three objects are checked. */
static void check_corpus_file(const char *name, struct str text, void *arg) {
    enum envelope_fault f = envelope_check_json(text, (struct envelope_limits){ 64 });
    bool duplicate = strstr(name, "duplicate");
    if (name[0] == 'y' && f != ENVELOPE_NONE)
        fail_msg("%s: %s", name, envelope_fault_text(f));
    if (name[0] == 'n' && !duplicate && f == ENVELOPE_NONE)
        fail_msg("%s is accepted", name);
    if (duplicate)
        assert_int_equal(f, ENVELOPE_NONE);
}

static void the_corpus_is_judged_right(void **state) {
    assert_true(corpus_each("json", check_corpus_file, NULL) >= 170);
}

static void engines_are_known_by_name(void **state) {
    const char *now = envelope_engine();
    assert_false(envelope_use_engine("abacus"));
    assert_string_equal(envelope_engine(), now);
    assert_true(envelope_use_engine(now));
}

#define T(f) cmocka_unit_test(f)
static const struct CMUnitTest tests[] = {
    T(p001_a_request_is_taken_apart),
    T(p001_another_version_is_refused_and_keeps_the_id),
    T(p002_ids_keep_type_and_spelling),
    T(p002_what_is_no_string_and_no_integer_is_no_id),
    T(p004_an_answer_has_either_result_or_error),
    T(p005_a_notification_is_known_as_one_even_when_it_is_wrong),
    T(p001_a_method_is_a_string_with_something_in_it),
    T(p006_params_are_an_object),
    T(p007_an_error_may_lack_its_id),
    T(p008_a_batch_is_checked_but_not_looked_into),
    T(p001_other_values_are_no_message),
    T(p011_unknown_members_are_kept_and_do_not_matter),
    T(keys_that_begin_like_known_ones_are_unknown),
    T(p013_values_keep_their_spelling),
    T(the_method_says_which_member_names_its_object),
    T(escapes_in_names_are_flagged),
    T(members_of_params_have_their_types),
    T(p090_a_cursor_is_raw_and_null_is_none),
    T(p040_the_members_of_meta_are_found),
    T(p041_a_version_that_is_no_string_is_flagged_only),
    T(members_below_the_three_objects_mean_nothing),
    T(p012_a_key_twice_is_refused_in_the_three_objects),
    T(p012_keys_are_compared_without_their_escapes),
    T(p012_an_id_that_is_there_twice_is_not_echoed),
    T(the_same_key_in_different_objects_is_no_duplicate),
    T(p012_unknown_members_have_a_bound),
    T(grammar_faults_are_found),
    T(white_space_may_stand_between_all_tokens),
    T(numbers_are_spelled_as_json_has_them),
    T(p012_every_beginning_of_a_message_is_refused),
    T(p012_depth_has_a_limit),
    T(depth_counts_from_the_envelope),
    T(brackets_pair_at_every_depth),
    T(p012_utf8_is_checked),
    T(escapes_are_those_of_json),
    T(runs_of_backslashes_end_a_string_by_their_parity),
    T(p012_surrogates_come_in_pairs),
    T(control_characters_are_refused_in_strings),
    T(control_characters_are_refused_between_tokens),
    T(depth_comes_before_control_characters),
    T(members_are_found_wherever_they_lie),
    T(grammar_wins_over_meaning_and_takes_the_id),
    T(an_id_at_the_end_survives_faults_of_meaning),
    T(faults_have_codes_and_texts),
    T(an_answer_is_found_at_either_end),
    T(an_error_is_an_answer_too),
    T(an_answer_to_another_question_is_refused),
    T(what_has_no_plain_frame_is_scanned_wholly),
    T(only_large_answers_are_trusted),
    T(the_corpus_is_judged_right),
    T(engines_are_known_by_name),
};

int main(void) {
    static const char *const engines[] = { "avx2", "sse2", "plain" };
    int failed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
        if (envelope_use_engine(engines[i]))
            failed += cmocka_run_group_tests_name(engines[i], tests, NULL, NULL);
    free(exact);
    return failed;
}
