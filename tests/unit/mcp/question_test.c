#include "base/mem.h"
#include "mcp/question.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Quotes in rows are single ones, for the eye. */
static struct str quoted(struct arena *a, const char *text) {
    char *copy = arena_text(a, str_of(text));
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return str_of(copy);
}

static void same(struct buf *got, struct str expected) {
    if (!str_eq(buf_view(got), expected))
        fail_msg("\n  %s\ninstead of\n  %.*s", buf_text(got), STR(expected));
}

static unsigned asks(enum revision from, const char *capabilities) {
    SCOPED(arena_scope) struct arena a = { 0 };
    return asks_read(quoted(&a, capabilities), from);
}

static void written(unsigned asks, enum revision to, const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    asks_write(&out, asks, to);
    same(&out, quoted(&a, expected));
}

static const struct question_look look = {
    .asks = ASK_ALL, .upstream = S_INIT("files"), .elicitation_id = S_INIT("e1"),
};

static void question(enum method m, enum revision to, const char *in, const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    question_write(&out, m, quoted(&a, in), to, &look);
    same(&out, quoted(&a, expected));
}

static void answer(enum revision to, const char *in, const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    answer_write(&out, quoted(&a, in), to);
    same(&out, quoted(&a, expected));
}

static bool fits(enum method m, const char *in) {
    SCOPED(arena_scope) struct arena a = { 0 };
    return answer_fits(m, quoted(&a, in));
}

/* ---- capabilities ------------------------------------------------------------------ */

/* P-103, P-181 */
static void capabilities_are_read_as_their_revision_means_them(void **state) {
    assert_int_equal(asks(R26, "{}"), 0);
    assert_int_equal(asks(R11, "{'roots':{'listChanged':true}}"), ASK_ROOTS | TELLS_ROOTS);
    assert_int_equal(asks(R11, "{'roots':{'listChanged':'yes'}}"), ASK_ROOTS);
    assert_int_equal(asks(R26, "{'roots':{'listChanged':true}}"), ASK_ROOTS); /* P-478 */
    assert_int_equal(asks(R24, "{'sampling':{},'elicitation':{}}"),
                     ASK_SAMPLING | ASK_SAMPLING_CONTEXT);
    assert_int_equal(asks(R26, "{'sampling':{}}"), ASK_SAMPLING);
    assert_int_equal(asks(R11, "{'sampling':{'tools':{},'context':{}}}"),
                     ASK_SAMPLING | ASK_SAMPLING_TOOLS | ASK_SAMPLING_CONTEXT);
    assert_int_equal(asks(R06, "{'elicitation':{'url':{}}}"), ASK_FORM);
    assert_int_equal(asks(R11, "{'elicitation':{}}"), ASK_FORM);
    assert_int_equal(asks(R11, "{'elicitation':{'url':{}}}"), ASK_URL);
    assert_int_equal(asks(R26, "{'elicitation':{'url':{},'form':{}}}"), ASK_URL | ASK_FORM);
}

static void what_is_no_object_declares_nothing(void **state) {
    assert_int_equal(asks(R26, "{'roots':null,'sampling':false,'elicitation':'yes'}"), 0);
    assert_int_equal(asks(R26, ""), 0);
    assert_int_equal(asks(R26, "[{'roots':{}}]"), 0);
}

/* P-402 */
static void capabilities_are_written_for_the_upstreams_revision(void **state) {
    written(0, R26, "{}");
    written(ASK_ROOTS | TELLS_ROOTS, R11, "{'roots':{'listChanged':true}}");
    written(ASK_ROOTS | TELLS_ROOTS, R26, "{'roots':{}}");
    written(ASK_ALL, R24, "{'roots':{},'sampling':{}}");
    written(ASK_ALL, R06, "{'roots':{},'sampling':{},'elicitation':{}}");
    written(ASK_URL, R06, "{}");
    written(ASK_ALL, R26,
            "{'roots':{},'sampling':{'tools':{},'context':{}},'elicitation':{'form':{},'url':{}}}");
    written(ASK_FORM | ASK_SAMPLING, R11, "{'sampling':{},'elicitation':{'form':{}}}");
    for (enum revision r = R11; r <= R26; r++) /* P-305 */
        written(SHOWS_APPS, r,
                "{'extensions':{'io.modelcontextprotocol/ui':"
                "{'mimeTypes':['text/html;profile=mcp-app']}}}");
    written(SHOWS_APPS, R06, "{}");
}

/* P-305, P-308 */
static void apps_are_shown_by_who_takes_their_type(void **state) {
    static const char apps[] = "{'extensions':{'io.modelcontextprotocol/ui':{'mimeTypes':%s}}}";
    static const struct {
        const char *types;
        unsigned asks;
    } cases[] = {
        { "['text/html;profile=mcp-app']", SHOWS_APPS },
        { "['text/plain' , 'text/html;profile=mcp-app']", SHOWS_APPS },
        { "[]", 0 },
        { "['text/html']", 0 },
        { "[7,null,['text/html;profile=mcp-app']]", 0 },
        { "'text/html;profile=mcp-app'", 0 },
        { "{'a':'text/html;profile=mcp-app'}", 0 },
        { "null", 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[200];
        snprintf(text, sizeof text, apps, cases[i].types);
        assert_int_equal(asks(R26, text), cases[i].asks);
        assert_int_equal(asks(R11, text), cases[i].asks);
    }
    assert_int_equal(asks(R26, "{'extensions':{'com.example/ui':{'mimeTypes':['text/html']}}}"), 0);
    assert_int_equal(asks(R26, "{'extensions':['io.modelcontextprotocol/ui']}"), 0);
    assert_int_equal(asks(R26, "{'extensions':null}"), 0);
    assert_int_equal(asks(R26, "{'extensions':{'io.modelcontextprotocol/ui':{}}}"), 0);
}

static void what_is_written_reads_the_same(void **state) {
    for (unsigned bits = 0; bits <= ASK_ALL; bits++) {
        bool possible = bits & ASK_SAMPLING ||
                        !(bits & (ASK_SAMPLING_TOOLS | ASK_SAMPLING_CONTEXT));
        SCOPED(buf_done) struct buf out = { 0 };
        asks_write(&out, bits, R26);
        if (possible)
            assert_int_equal(asks_read(buf_view(&out), R26), bits);
    }
}

/* ---- questions --------------------------------------------------------------------- */

static void a_question_needs_what_it_uses(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    assert_int_equal(question_needs(METHOD_TOOLS_CALL, S("{}")), 0);
    assert_int_equal(question_needs(METHOD_ROOTS_LIST, S("")), ASK_ROOTS);
    assert_int_equal(question_needs(METHOD_ELICITATION, S("{}")), ASK_FORM);
    assert_int_equal(question_needs(METHOD_ELICITATION, quoted(&a, "{'mode':'url'}")), ASK_URL);
    assert_int_equal(question_needs(METHOD_SAMPLING, quoted(&a, "{'tools':[]}")),
                     ASK_SAMPLING | ASK_SAMPLING_TOOLS);
}

/* P-274, P-640 */
static void people_see_who_asks(void **state) {
    question(
        METHOD_ELICITATION, R26, "{'message':'Name?','requestedSchema':{}}",
        "{'message':'[files] Name?','requestedSchema':{},'_meta':{'gatespan/upstream':'files'}}");
    question(METHOD_SAMPLING, R26, "{'maxTokens':3,'_meta':{'x':1,'gatespan/upstream':'bank'}}",
             "{'maxTokens':3,'_meta':{'x':1,'gatespan/upstream':'files'}}");
}

/* P-447, P-611 */
static void what_belongs_to_one_leg_stays_there(void **state) {
    question(METHOD_ROOTS_LIST, R11, "{'task':{},'_meta':{'progressToken':7}}",
             "{'_meta':{'gatespan/upstream':'files'}}");
    question(METHOD_ROOTS_LIST, R11, "", "{'_meta':{'gatespan/upstream':'files'}}");
}

/* P-407, P-439 */
static void an_elicitation_id_is_ours_or_none(void **state) {
    question(METHOD_ELICITATION, R11,
             "{'mode':'url','url':'https://a.b','message':'','elicitationId':'theirs'}",
             "{'mode':'url','url':'https://a.b','message':'[files] ','elicitationId':'e1',"
             "'_meta':{'gatespan/upstream':'files'}}");
    question(METHOD_ELICITATION, R26, "{'mode':'url','url':'https://a.b','elicitationId':'theirs'}",
             "{'mode':'url','url':'https://a.b','_meta':{'gatespan/upstream':'files'}}");
}

/* P-270 */
static void titled_choices_reach_2025_06_18_as_names(void **state) {
    question(
        METHOD_ELICITATION, R06,
        "{'mode':'form','requestedSchema':{'type':'object','properties':{'n':{'type':'string',"
        "'oneOf':[{'const':'a','title':'A'},{'const':'b','title':'B'}]},'m':{'type':'number'}}}}",
        "{'requestedSchema':{'type':'object','properties':{'n':{'type':'string',"
        "'enum':['a','b'],'enumNames':['A','B']},'m':{'type':'number'}}},"
        "'_meta':{'gatespan/upstream':'files'}}");
}

/* P-250, P-251 */
static void sampling_is_cut_to_what_the_client_offers(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    const struct question_look plain = { .asks = ASK_SAMPLING };
    question_write(&out, METHOD_SAMPLING,
                   quoted(&a, "{'includeContext':'thisServer','toolChoice':{},'maxTokens':1}"), R26,
                   &plain);
    same(&out, quoted(&a, "{'maxTokens':1,'_meta':{}}"));
    question(METHOD_SAMPLING, R06,
             "{'messages':[{'role':'user','content':[{'type':'text','text':'x'}]},{'role':'user','"
             "content':{}}]}",
             "{'messages':[{'role':'user','content':{'type':'text','text':'x'}},{'role':'user','"
             "content':{}}],"
             "'_meta':{'gatespan/upstream':'files'}}");
}

/* P-250, P-415: each block in a message of its own; members and kinds that came later go. */
static void sampling_keeps_every_block_towards_older_clients(void **state) {
    question(METHOD_SAMPLING, R03,
             "{'messages':[{'role':'user','content':[{'type':'text','text':'x','_meta':{}},{'type':"
             "'audio','annotations':{'lastModified':'1','priority':1}}],'_meta':{}},"
             "{'role':'user','content':[]}]}",
             "{'messages':[{'role':'user','content':{'type':'text','text':'x'}},{'role':'user',"
             "'content':{'type':'audio','annotations':{'priority':1}}}],"
             "'_meta':{'gatespan/upstream':'files'}}");
    question(
        METHOD_SAMPLING, R24,
        "{'messages':[{'role':'user','content':{'type':'audio','mimeType':'audio/wav'}}]}",
        "{'messages':[{'role':'user','content':{'type':'text','text':'[audio audio/wav left out: "
        "protocol version 2024-11-05 has no such content]'}}],"
        "'_meta':{'gatespan/upstream':'files'}}");
    question(
        METHOD_SAMPLING, R11,
        "{'messages':[{'role':'user','content':[{'type':'text','text':'x'}],'_meta':{'a':1}}]}",
        "{'messages':[{'role':'user','content':[{'type':'text','text':'x'}],'_meta':{'a':1}}],"
        "'_meta':{'gatespan/upstream':'files'}}");
}

/* P-636 */
static void uris_in_a_prompt_are_those_of_the_client(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    const struct uri_map uris = { .upstream = S_INIT("files"), .rewrite = true };
    const struct question_look mapped = { .asks = ASK_ALL, .uris = &uris };
    question_write(&out, METHOD_SAMPLING,
                   quoted(&a,
                          "{'messages':[{'role':'user','content':[{'type':'tool_result','content':["
                          "{'type':'resource_link','uri':'file:///x'}]}]}]}"),
                   R11, &mapped);
    same(&out,
         quoted(&a, "{'messages':[{'role':'user','content':[{'type':'tool_result','content':["
                    "{'type':'resource_link','uri':'gatespan+file://files//x'}]}]}],'_meta':{}}"));
}

/* P-270 */
static void older_forms_have_defaults_for_booleans_alone(void **state) {
    question(METHOD_ELICITATION, R06,
             "{'message':'m','requestedSchema':{'$schema':'x','type':'object','properties':{"
             "'a':{'type':'string','default':'x'},'b':{'type':'boolean','default':true}}}}",
             "{'message':'[files] m','requestedSchema':{'type':'object','properties':{"
             "'a':{'type':'string'},'b':{'type':'boolean','default':true}}},"
             "'_meta':{'gatespan/upstream':'files'}}");
}

/* P-096: behind two gateways a modern client sees the keys of the server itself. */
static void the_key_of_a_question_travels_with_it(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    const struct question_look keyed = { .key = S_INIT("user_name") };
    question_write(&out, METHOD_ROOTS_LIST, quoted(&a, "{'_meta':{'gatespan/key':'old','x':1}}"),
                   R11, &keyed);
    same(&out, quoted(&a, "{'_meta':{'x':1,'gatespan/key':'user_name'}}"));
    assert_true(str_eq(question_key(buf_view(&out)), S("user_name")));
}

static bool has_key(const char *key) {
    SCOPED(arena_scope) struct arena a = { 0 };
    struct str params = arena_fmt(&a, "{'_meta':{'gatespan/key':%s}}", key);
    return question_key(quoted(&a, arena_text(&a, params))).n;
}

static void keys_that_could_be_ours_or_need_escapes_are_none(void **state) {
    assert_true(has_key("'a'") && has_key("'question-1.x'") && has_key("'q1a'"));
    assert_false(has_key("''") || has_key("'q1'") || has_key("'q'") || has_key("'12'"));
    assert_false(has_key("'a b'") || has_key("'a\\u0041'") || has_key("'\xc3\xa4'") ||
                 has_key("7"));
    assert_true(has_key("'a234567890123456789012345678901234567890123456789012345678901234'"));
    assert_false(has_key("'a2345678901234567890123456789012345678901234567890123456789012345'"));
    assert_false(question_key(S("")).n || question_key(S("{}")).n || question_key(S("[]")).n);
}

/* ---- answers ----------------------------------------------------------------------- */

/* P-100, P-271 */
static void answers_must_fit_their_question(void **state) {
    assert_true(fits(METHOD_ELICITATION, "{'action':'accept','content':{'a':1.5}}"));
    assert_true(fits(METHOD_ELICITATION, "{'action':'decline'}"));
    assert_false(fits(METHOD_ELICITATION, "{'action':'maybe'}"));
    assert_false(fits(METHOD_ELICITATION, "{'action':'accept','content':[]}"));
    assert_false(fits(METHOD_ELICITATION, "'accept'"));
    assert_true(fits(METHOD_ROOTS_LIST, "{'roots':[]}"));
    assert_false(fits(METHOD_ROOTS_LIST, "{'roots':{}}"));
    assert_true(fits(METHOD_SAMPLING, "{'role':'assistant','model':'m','content':[]}"));
    assert_false(fits(METHOD_SAMPLING, "{'role':'assistant','model':'m'}"));
    assert_false(fits(METHOD_TOOLS_CALL, "{}"));
}

static void answers_are_said_in_the_upstreams_revision(void **state) {
    answer(R26, "{'action':'accept','content':{'x':1e2}}",
           "{'action':'accept','content':{'x':1e2}}");
    answer(R06, "{'resultType':'complete','role':'a','content':[{'type':'text'}]}",
           "{'role':'a','content':{'type':'text'}}");
    answer(R06, "{'content':[{'a':1},{'b':2}]}", "{'content':[{'a':1},{'b':2}]}");
    answer(R11, "{'content':[{'a':1}]}", "{'content':[{'a':1}]}");
    answer(R06, "{'role':'a','content':[{'type':'text','text':'x'},{'type':'text','text':'y'}]}",
           "{'role':'a','content':{'type':'text','text':'x\\ny'}}");
    answer(R24, "{'role':'a','content':{'type':'text','text':'x','_meta':{}}}",
           "{'role':'a','content':{'type':'text','text':'x'}}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(capabilities_are_read_as_their_revision_means_them),
        cmocka_unit_test(what_is_no_object_declares_nothing),
        cmocka_unit_test(capabilities_are_written_for_the_upstreams_revision),
        cmocka_unit_test(apps_are_shown_by_who_takes_their_type),
        cmocka_unit_test(what_is_written_reads_the_same),
        cmocka_unit_test(a_question_needs_what_it_uses),
        cmocka_unit_test(people_see_who_asks),
        cmocka_unit_test(what_belongs_to_one_leg_stays_there),
        cmocka_unit_test(the_key_of_a_question_travels_with_it),
        cmocka_unit_test(keys_that_could_be_ours_or_need_escapes_are_none),
        cmocka_unit_test(an_elicitation_id_is_ours_or_none),
        cmocka_unit_test(titled_choices_reach_2025_06_18_as_names),
        cmocka_unit_test(sampling_is_cut_to_what_the_client_offers),
        cmocka_unit_test(sampling_keeps_every_block_towards_older_clients),
        cmocka_unit_test(uris_in_a_prompt_are_those_of_the_client),
        cmocka_unit_test(older_forms_have_defaults_for_booleans_alone),
        cmocka_unit_test(answers_must_fit_their_question),
        cmocka_unit_test(answers_are_said_in_the_upstreams_revision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
