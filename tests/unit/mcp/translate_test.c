#include "base/mem.h"
#include "mcp/translate.h"
#include "mcp/uri.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct translate_extras extras = { .server_info = S_INIT("{\"name\":\"g\"}"),
                                                .ttl_ms = 0 };
static const struct uri_map files = { .upstream = S_INIT("files"), .rewrite = true };

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

static void result(enum method m, enum revision from, enum revision to, const struct uri_map *uris,
                   const char *in, const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    translate_result(&out, m, quoted(&a, in), from, to, &extras, uris);
    same(&out, quoted(&a, expected));
}

static void item(enum method list, enum revision to, const char *in, const char *renamed,
                 const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    translate_item(&out, list, quoted(&a, in), to, str_of(renamed));
    same(&out, quoted(&a, expected));
}

static void error(enum method m, enum revision from, enum revision to, const char *in,
                  const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    translate_error(&out, m, quoted(&a, in), from, to, S("shown:x"));
    same(&out, quoted(&a, expected));
}

/* ---- when -------------------------------------------------------------------------- */

static void the_same_revision_needs_no_translation(void **state) {
    for (int m = 0; m < METHOD_COUNT; m++)
        for (int r = R24; r < REVISIONS; r++)
            assert_false(translate_needed(m, r, r));
}

static void an_older_upstream_of_the_same_era_needs_none_either(void **state) {
    assert_false(translate_needed(METHOD_TOOLS_CALL, R24, R11));
    assert_true(translate_needed(METHOD_TOOLS_CALL, R11, R24));
    assert_true(translate_needed(METHOD_RESOURCES_READ, R11, R06));
    assert_false(translate_needed(METHOD_COMPLETE, R11, R24));
    assert_true(translate_needed(METHOD_COMPLETE, R26, R24));
    assert_true(translate_needed(METHOD_COMPLETE, R24, R26));
}

/* P-221 */
static void an_older_server_knows_no_context_of_completions(void **state) {
    for (int r = R24; r < REVISIONS; r++) {
        assert_int_equal(translate_has_param(METHOD_COMPLETE, S("context"), r), r >= R06);
        assert_true(translate_has_param(METHOD_COMPLETE, S("argument"), r));
        assert_true(translate_has_param(METHOD_COMPLETE, S("x-unknown"), r));
        assert_true(translate_has_param(METHOD_TOOLS_CALL, S("context"), r));
    }
}

/* ---- up (P-440) -------------------------------------------------------------------- */

static void a_legacy_result_becomes_a_complete_modern_one(void **state) {
    result(METHOD_TOOLS_CALL, R11, R26, NULL,
           "{'content':[{'type':'text','text':'x'}],'isError':false}",
           "{'content':[{'type':'text','text':'x'}],'isError':false,'resultType':'complete',"
           "'_meta':{'io.modelcontextprotocol/serverInfo':{'name':'g'}}}");
    result(METHOD_COMPLETE, R24, R26, NULL, "{}",
           "{'resultType':'complete','_meta':{'io.modelcontextprotocol/serverInfo':{'name':'g'}}}");
}

/* P-086, P-630 */
static void six_results_get_cache_hints(void **state) {
    result(METHOD_RESOURCES_READ, R11, R26, NULL, "{'contents':[],'_meta':{'a':1}}",
           "{'contents':[],'_meta':{'a':1,'io.modelcontextprotocol/serverInfo':{'name':'g'}},"
           "'resultType':'complete','ttlMs':0,'cacheScope':'private'}");
    SCOPED(buf_done) struct buf out = { 0 };
    struct translate_extras shared = { .ttl_ms = 60000, .cache_public = true };
    translate_result(&out, METHOD_RESOURCES_READ, S("{\"contents\":[]}"), R11, R26, &shared, NULL);
    same(&out, S("{\"contents\":[],\"resultType\":\"complete\",\"ttlMs\":60000,\"cacheScope\":"
                 "\"public\"}"));
    buf_clear(&out);
    shared.ttl_ms = -1;
    translate_result(&out, METHOD_RESOURCES_READ, S("{\"contents\":[]}"), R11, R26, &shared, NULL);
    same(&out, S("{\"contents\":[],\"resultType\":\"complete\"}"));
    buf_clear(&out);
    translate_result(&out, METHOD_COMPLETE, S("{}"), R11, R26, NULL, NULL);
    same(&out, S("{\"resultType\":\"complete\"}"));
}

static void good_hints_of_the_upstream_stay_bad_ones_go(void **state) {
    result(METHOD_RESOURCES_READ, R26, R26, &files,
           "{'contents':[],'resultType':'complete','ttlMs':5,'cacheScope':'public','_meta':{'io."
           "modelcontextprotocol/serverInfo':{'name':'u'}}}",
           "{'contents':[],'resultType':'complete','ttlMs':5,'cacheScope':'public','_meta':{'io."
           "modelcontextprotocol/serverInfo':{'name':'u'}}}");
    result(METHOD_RESOURCES_READ, R26, R26, &files,
           "{'resultType':'complete','ttlMs':-5,'cacheScope':'all','_meta':{}}",
           "{'resultType':'complete','_meta':{'io.modelcontextprotocol/"
           "serverInfo':{'name':'g'}},'ttlMs':0,'cacheScope':'private'}");
}

/* A legacy server cannot mean resultType. */
static void a_legacy_result_type_is_replaced(void **state) {
    result(METHOD_COMPLETE, R11, R26, NULL,
           "{'resultType':'input_required','_meta':{'io.modelcontextprotocol/serverInfo':{}}}",
           "{'_meta':{'io.modelcontextprotocol/serverInfo':{}},'resultType':'complete'}");
}

/* P-086, P-096 */
static void input_required_stays_as_it_is(void **state) {
    result(METHOD_TOOLS_CALL, R26, R26, &files,
           "{'resultType':'input_required','requestState':'s'}",
           "{'resultType':'input_required','requestState':'s'}");
}

static void related_task_goes_on_the_way_up(void **state) {
    result(METHOD_TOOLS_CALL, R11, R26, NULL,
           "{'content':[{'type':'text','text':''}],'_meta':{'io.modelcontextprotocol/"
           "related-task':{'taskId':'t'},'x/y':1}}",
           "{'content':[{'type':'text','text':''}],'_meta':{'x/y':1,'io.modelcontextprotocol/"
           "serverInfo':{'name':'g'}},"
           "'resultType':'complete'}");
}

/* ---- down (P-415) ------------------------------------------------------------------ */

static void modern_members_go_on_the_way_down(void **state) {
    for (int to = R24; to <= R11; to++)
        result(METHOD_RESOURCES_READ, R26, to, NULL,
               "{'resultType':'complete','contents':[],'ttlMs':1,'cacheScope':'private',"
               "'_meta':{'io.modelcontextprotocol/serverInfo':{'name':'u'}}}",
               "{'contents':[]}");
    result(METHOD_COMPLETE, R26, R11, NULL,
           "{'_meta':{'io.modelcontextprotocol/serverInfo':1,'a':2},'completion':{'values':[]}}",
           "{'_meta':{'a':2},'completion':{'values':[]}}");
    result(METHOD_COMPLETE, R26, R11, NULL, "{'_meta':{}}", "{'_meta':{}}");
}

/* P-011, P-013 */
static void unknown_members_and_spellings_survive(void **state) {
    result(METHOD_TOOLS_CALL, R26, R24, NULL,
           "{'content':[{'type':'text','text':'\\u00e9 "
           "\\'','later':[1.0,1e2]}],'x-own':{'a':1.50},'big':12345678901234567890}",
           "{'content':[{'type':'text','text':'\\u00e9 "
           "\\'','later':[1.0,1e2]}],'x-own':{'a':1.50},'big':12345678901234567890}");
    result(METHOD_TOOLS_CALL, R11, R24, NULL, "{'content':[{'type':'hologram','data':1}]}",
           "{'content':[{'type':'hologram','data':1}]}");
}

/* P-195, P-479 */
static void structured_content_goes_where_it_cannot_be_taken(void **state) {
    static const char text[] = "{'content':[{'type':'text','text':'[1]'}],'structuredContent':[1]}";
    static const char without[] = "{'content':[{'type':'text','text':'[1]'}]}";
    result(METHOD_TOOLS_CALL, R26, R11, NULL, text, without);
    result(METHOD_TOOLS_CALL, R26, R06, NULL, text, without);
    result(METHOD_TOOLS_CALL, R26, R03, NULL, text, without);
    result(METHOD_TOOLS_CALL, R26, R11, NULL,
           "{'content':[{'type':'text','text':''}],'structuredContent':{'a':1}}",
           "{'content':[{'type':'text','text':''}],'structuredContent':{'a':1}}");
    result(METHOD_TOOLS_CALL, R11, R03, NULL,
           "{'content':[{'type':'text','text':''}],'structuredContent':{'a':1}}",
           "{'content':[{'type':'text','text':''}]}");
}

static void what_was_only_structured_stays_as_text(void **state) {
    result(METHOD_TOOLS_CALL, R26, R11, NULL, "{'structuredContent':[1,2],'content':[]}",
           "{'content':[{'type':'text','text':'[1,2]'}]}");
    result(METHOD_TOOLS_CALL, R06, R03, NULL, "{'structuredContent':{}}",
           "{'content':[{'type':'text','text':'{}'}]}");
    result(METHOD_TOOLS_CALL, R06, R03, NULL, "{}", "{'content':[]}"); /* P-193 */
}

static void content_that_is_not_there_yet_becomes_text(void **state) {
    result(METHOD_TOOLS_CALL, R11, R03, NULL,
           "{'content':[{'type':'resource_link','uri':'file:///"
           "a','name':'a','annotations':{'priority':1,'lastModified':'x'}},"
           "{'type':'audio','data':'AA==','mimeType':'audio/wav'}]}",
           "{'content':[{'type':'text','text':'a: file:///a','annotations':{'priority':1}},"
           "{'type':'audio','data':'AA==','mimeType':'audio/wav'}]}");
    result(
        METHOD_PROMPTS_GET, R06, R24, NULL,
        "{'messages':[{'role':'user','content':{'type':'audio','data':'AA==','mimeType':'audio/"
        "wav'}}]}",
        "{'messages':[{'role':'user','content':{'type':'text',"
        "'text':'[audio audio/wav left out: protocol version 2024-11-05 has no such content]'}}]}");
    result(METHOD_TOOLS_CALL, R06, R03, &files,
           "{'content':[{'type':'resource_link','uri':'a:b','name':'n','title':'t'}]}",
           "{'content':[{'type':'text','text':'t: gatespan+a:files/b'}]}");
}

static void nested_members_go_too(void **state) {
    result(METHOD_TOOLS_CALL, R11, R06, NULL,
           "{'content':[{'type':'resource_link','uri':'a:b','name':'n','icons':[]}]}",
           "{'content':[{'type':'resource_link','uri':'a:b','name':'n'}]}");
    result(METHOD_TOOLS_CALL, R11, R03, NULL,
           "{'content':[{'type':'resource','_meta':{},'resource':{'uri':'a:b','text':'','_meta':{'"
           "x':1}}}]}",
           "{'content':[{'type':'resource','resource':{'uri':'a:b','text':''}}]}");
    result(METHOD_RESOURCES_READ, R11, R03, NULL,
           "{'contents':[{'uri':'a:b','_meta':{},'text':'t'},{'uri':'a:c','blob':''}]}",
           "{'contents':[{'uri':'a:b','text':'t'},{'uri':'a:c','blob':''}]}");
}

/* ---- items (P-415, P-190) ---------------------------------------------------------- */

static void tools_have_what_their_revision_knows(void **state) {
    static const char tool[] =
        "{'name':'t','title':'T','description':'d','inputSchema':{'type':'object','title':'kept'},"
        "'outputSchema':{'type':'object'},'annotations':{'readOnlyHint':true,'title':'A'},"
        "'icons':[],'execution':{'taskSupport':'optional'},'_meta':{'k':1},'own':1}";
    item(
        METHOD_TOOLS_LIST, R24, tool, "u__t",
        "{'name':'u__t','description':'d','inputSchema':{'type':'object','title':'kept'},'own':1}");
    item(METHOD_TOOLS_LIST, R03, tool, "u__t",
         "{'name':'u__t','description':'d','inputSchema':{'type':'object','title':'kept'},'"
         "annotations':{'readOnlyHint':true,'title':'A'},'own':1}");
    item(METHOD_TOOLS_LIST, R06, tool, "",
         "{'name':'t','title':'T','description':'d','inputSchema':{'type':'object','title':'kept'},"
         "'outputSchema':{'type':'object'},"
         "'annotations':{'readOnlyHint':true,'title':'A'},'_meta':{'k':1},'own':1}");
    item(METHOD_TOOLS_LIST, R11, tool, "", tool);
    item(METHOD_TOOLS_LIST, R26, tool, "",
         "{'name':'t','title':'T','description':'d','inputSchema':{'type':'object','title':'kept'},"
         "'outputSchema':{'type':'object'},"
         "'annotations':{'readOnlyHint':true,'title':'A'},'icons':[],'_meta':{'k':1},'own':1}");
}

static void output_schemas_of_other_roots_are_modern_only(void **state) {
    static const char tool[] = "{'name':'t','outputSchema':{'type':'array'}}";
    item(METHOD_TOOLS_LIST, R26, tool, "", tool);
    item(METHOD_TOOLS_LIST, R11, tool, "", "{'name':'t'}");
    item(METHOD_TOOLS_LIST, R11, "{'name':'t','outputSchema':{'anyOf':[]}}", "", "{'name':'t'}");
}

static void each_kind_has_its_own_name(void **state) {
    item(METHOD_RESOURCES_LIST, R24, "{'uri':'a:b','name':'n','title':'t','size':1}", "z:b",
         "{'uri':'z:b','name':'n','size':1}");
    item(METHOD_TEMPLATES_LIST, R06, "{'uriTemplate':'a:{b}','name':'n','icons':[]}", "z:{b}",
         "{'uriTemplate':'z:{b}','name':'n'}");
    item(METHOD_PROMPTS_LIST, R03,
         "{'name':'p','arguments':[{'name':'a','title':'t','required':true}]}", "u__p",
         "{'name':'u__p','arguments':[{'name':'a','required':true}]}");
    item(METHOD_TOOLS_LIST, R11, "{'name':'t','x':1}", "with \\ and \x01",
         "{'name':'with \\\\ and \\u0001','x':1}");
}

/* ---- URIs (P-636) ------------------------------------------------------------------ */

static void uris_are_shown_where_they_stand_and_nowhere_else(void **state) {
    result(METHOD_TOOLS_CALL, R11, R11, &files,
           "{'content':[{'type':'resource_link','uri':'file:///"
           "a','name':'n'},{'type':'resource','resource':{'uri':'m:b','text':'file:///a'}},"
           "{'type':'text','text':'file:///a'}],'structuredContent':{'uri':'file:///"
           "a'},'uri':'file:///a'}",
           "{'content':[{'type':'resource_link','uri':'gatespan+file://files//a','name':'n'},"
           "{'type':'resource','resource':{'uri':'gatespan+m:files/b','text':'file:///a'}},"
           "{'type':'text','text':'file:///a'}],'structuredContent':{'uri':'file:///"
           "a'},'uri':'file:///a'}");
    result(METHOD_RESOURCES_READ, R06, R06, &files,
           "{'contents':[{'uri':'file:\\/\\/\\/\\u0061','text':''}]}",
           "{'contents':[{'uri':'gatespan+file://files//a','text':''}]}");
    result(METHOD_PROMPTS_GET, R06, R06, &files,
           "{'messages':[{'role':'user','content':{'type':'resource','resource':{'uri':'a:b'}}}]}",
           "{'messages':[{'role':'user','content':{'type':'resource','resource':{'uri':'gatespan+a:"
           "files/b'}}}]}");
    result(METHOD_RESOURCES_LIST, R06, R06, &files,
           "{'resources':[{'uri':'a:b','name':'n'}],'nextCursor':'c'}",
           "{'resources':[{'uri':'gatespan+a:files/b','name':'n'}],'nextCursor':'c'}");
}

static void tools_point_at_their_ui_under_its_shown_uri(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    translate_item_uris(
        &out, METHOD_TOOLS_LIST,
        quoted(&a,
               "{'name':'t','execution':{},'_meta':{'ui':{'resourceUri':'ui://x'},'uri':'a:b'}}"),
        &files);
    same(&out, quoted(&a, "{'name':'t','execution':{},'_meta':{'ui':{'resourceUri':'ui://files/"
                          "x'},'uri':'a:b'}}"));
}

/* ---- errors ------------------------------------------------------------------------ */

/* P-211, P-416, P-441 */
static void not_found_has_the_code_of_the_revision(void **state) {
    error(METHOD_RESOURCES_READ, R11, R26,
          "{'code':-32002,'message':'m','data':{'uri':'x','more':1}}",
          "{'code':-32602,'message':'m','data':{'uri':'shown:x','more':1}}");
    error(METHOD_RESOURCES_READ, R26, R11, "{'code':-32602,'message':'m','data':{'uri':'x'}}",
          "{'code':-32002,'message':'m','data':{'uri':'shown:x'}}");
    error(METHOD_RESOURCES_READ, R26, R24, "{'code':-32602,'message':'m'}",
          "{'code':-32002,'message':'m','data':{'uri':'shown:x'}}");
    error(METHOD_RESOURCES_READ, R26, R11, "{'code':-32602,'message':'m','data':{'cursor':1}}",
          "{'code':-32602,'message':'m','data':{'cursor':1}}");
    error(METHOD_RESOURCES_READ, R26, R26, "{'code':-32002,'message':'m'}",
          "{'code':-32602,'message':'m','data':{'uri':'shown:x'}}");
    error(METHOD_RESOURCES_READ, R11, R24, "{'code':-32002,'message':'m','data':{'uri':'x'}}",
          "{'code':-32002,'message':'m','data':{'uri':'shown:x'}}");
    error(METHOD_TOOLS_CALL, R26, R11, "{'code':-32602,'message':'Unknown tool'}",
          "{'code':-32602,'message':'Unknown tool'}");
}

/* P-020, P-441 */
static void private_codes_are_not_emitted_to_modern_clients(void **state) {
    error(METHOD_TOOLS_CALL, R11, R26, "{'code':-32000,'message':'m','data':[1]}",
          "{'code':-32603,'message':'m','data':{'gatespan':{'upstreamCode':-32000,'upstreamData':["
          "1]}}}");
    error(METHOD_TOOLS_CALL, R26, R26, "{'code':-32019,'message':'m'}",
          "{'code':-32603,'message':'m','data':{'gatespan':{'upstreamCode':-32019}}}");
    error(METHOD_TOOLS_CALL, R11, R26, "{'code':-32002,'message':'m'}",
          "{'code':-32603,'message':'m','data':{'gatespan':{'upstreamCode':-32002}}}");
    error(METHOD_TOOLS_CALL, R26, R26, "{'code':-32099,'message':'m'}", /* P-021 */
          "{'code':-32603,'message':'m','data':{'gatespan':{'upstreamCode':-32099}}}");
    error(METHOD_TOOLS_CALL, R11, R06, "{'code':-32000,'message':'m','data':[1]}",
          "{'code':-32000,'message':'m','data':[1]}");
}

static void ordinary_codes_pass(void **state) {
    static const int codes[] = { -32700, -32600, -32601, -32602, -32603,    -1,
                                 0,      42,     -31999, -32100, 2147483647 };
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        for (int to = R24; to < REVISIONS; to++) {
            char text[100];
            snprintf(text, sizeof text, "{'code':%d,'message':'m \\'x\\'','data':'d'}", codes[i]);
            error(METHOD_TOOLS_CALL, R26, to, text, text);
        }
}

/* P-406, P-416 */
static void modern_codes_have_a_legacy_form(void **state) {
    error(METHOD_TOOLS_CALL, R26, R11,
          "{'code':-32021,'message':'m','data':{'requiredCapabilities':{'sampling':{}}}}",
          "{'code':-32600,'message':'m','data':{'requiredCapabilities':{'sampling':{}}}}");
    error(METHOD_TOOLS_CALL, R26, R26,
          "{'code':-32021,'message':'m','data':{'requiredCapabilities':{}}}",
          "{'code':-32021,'message':'m','data':{'requiredCapabilities':{}}}");
    /* P-437: and back, where a legacy server says it so */
    error(METHOD_TOOLS_CALL, R11, R26,
          "{'code':-32600,'message':'m','data':{'requiredCapabilities':{'sampling':{}}}}",
          "{'code':-32021,'message':'m','data':{'requiredCapabilities':{'sampling':{}}}}");
    error(METHOD_TOOLS_CALL, R11, R26,
          "{'code':-32600,'message':'m','data':{'requiredCapabilities':1}}",
          "{'code':-32600,'message':'m','data':{'requiredCapabilities':1}}");
    error(METHOD_TOOLS_CALL, R11, R06,
          "{'code':-32600,'message':'m','data':{'requiredCapabilities':{'sampling':{}}}}",
          "{'code':-32600,'message':'m','data':{'requiredCapabilities':{'sampling':{}}}}");
    for (int to = R24; to < REVISIONS; to++) {
        error(METHOD_TOOLS_CALL, R26, to, "{'code':-32020,'message':'m'}",
              "{'code':-32603,'message':'m','data':{'gatespan':{'upstreamCode':-32020}}}");
        error(METHOD_TOOLS_CALL, R26, to, "{'code':-32022,'message':'m','data':{'supported':[]}}",
              "{'code':-32603,'message':'m','data':{'gatespan':{'upstreamCode':-32022,'"
              "upstreamData':{'supported':[]}}}}");
    }
}

/* P-460, P-475 */
static void addresses_to_open_reach_clients_that_know_no_such_error(void **state) {
    static const char in[] = "{'code':-32042,'message':'Log "
                             "in:','data':{'elicitations':[{'mode':'url','url':'https://a/b'}]}}";
    error(METHOD_TOOLS_CALL, R11, R11, in, in);
    error(
        METHOD_TOOLS_CALL, R11, R06, in,
        "{'code':-32603,'message':'Log in: https://a/b','data':{'gatespan':{'upstreamCode':-32042,"
        "'upstreamData':{'elicitations':[{'mode':'url','url':'https://a/b'}]}}}}");
}

/* P-004 */
static void broken_errors_become_whole(void **state) {
    error(METHOD_TOOLS_CALL, R11, R06, "{}", "{'code':-32603,'message':''}");
    error(METHOD_TOOLS_CALL, R11, R06, "{'code':'x','message':7,'data':null}",
          "{'code':-32603,'message':'','data':null}");
    error(METHOD_TOOLS_CALL, R11, R06, "{'code':1.5}", "{'code':-32603,'message':''}");
}

/* ---- notifications ----------------------------------------------------------------- */

static void notification(enum method m, enum revision to, const char *token, const char *prefix,
                         const char *in, const char *expected) {
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    translate_notification(&out, m, in ? quoted(&a, in) : (struct str){ 0 }, to, quoted(&a, token),
                           str_of(prefix), &files);
    same(&out, quoted(&a, expected));
}

/* P-240, P-611 */
static void progress_carries_the_clients_token(void **state) {
    static const char in[] = "{'progressToken':17,'progress':1,'total':2,'message':'m'}";
    notification(METHOD_N_PROGRESS, R26, "'t'", "", in,
                 "{'progressToken':'t','progress':1,'total':2,'message':'m'}");
    notification(METHOD_N_PROGRESS, R24, "5", "", in, "{'progressToken':5,'progress':1,'total':2}");
    notification(METHOD_N_PROGRESS, R11, "", "", in, in);
}

/* P-640 */
static void log_messages_say_whose_they_are(void **state) {
    notification(METHOD_N_MESSAGE, R11, "", "files", "{'level':'info','data':{'logger':1}}",
                 "{'level':'info','data':{'logger':1},'logger':'files'}");
    notification(METHOD_N_MESSAGE, R11, "", "files", "{'level':'info','logger':'db','data':1}",
                 "{'level':'info','data':1,'logger':'files/db'}");
    notification(METHOD_N_MESSAGE, R11, "", "", "{'level':'info','logger':'db','data':1}",
                 "{'level':'info','logger':'db','data':1}");
}

static void other_notifications_keep_what_their_revision_knows(void **state) {
    notification(METHOD_N_RESOURCE_UPDATED, R11, "", "",
                 "{'uri':'a:b','_meta':{'io.modelcontextprotocol/subscriptionId':1,'x':2}}",
                 "{'uri':'gatespan+a:files/b','_meta':{'x':2}}");
    notification(METHOD_N_TOOLS_CHANGED, R11, "", "", NULL, "{}");
}

/* ---- capabilities ------------------------------------------------------------------ */

/* P-180, P-182, P-621 */
static void capabilities_are_written_for_their_revision(void **state) {
    struct capabilities all = { .tools = true, .prompts = true, .resources = true,
                                .completions = true, .logging = true, .subscribe = true,
                                .apps = true, .list_changed = true };
    struct capabilities none = { 0 }, apps = { .apps = true };
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    capabilities_write(&out, &all, R11);
    same(
        &out,
        quoted(&a,
               "{'tools':{'listChanged':true},'prompts':{'listChanged':true},"
               "'resources':{'subscribe':true,'listChanged':true},'logging':{},'completions':{}}"));
    buf_clear(&out);
    capabilities_write(&out, &all, R24);
    assert_int_equal(str_find(buf_view(&out), S("completions")), -1);
    buf_clear(&out);
    capabilities_write(&out, &none, R26);
    same(&out, S("{}"));
    buf_clear(&out);
    capabilities_write(&out, &apps, R26); /* P-627 */
    same(&out, S("{\"extensions\":{\"io.modelcontextprotocol/ui\":{}}}"));
    buf_clear(&out);
    capabilities_write(&out, &apps, R11); /* P-400 */
    same(&out, S("{}"));
}

/* P-290, P-293: core in one revision, an extension in the next, nothing before. */
static void tasks_are_declared_as_their_revision_does(void **state) {
    const struct capabilities tasks = { .tasks = true };
    SCOPED(arena_scope) struct arena a = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    capabilities_write(&out, &tasks, R11);
    same(&out, quoted(&a, "{'tasks':{'list':{},'cancel':{},'requests':{'tools':{'call':{}}}}}"));
    assert_true(capabilities_read(buf_view(&out), R11).tasks);
    assert_false(capabilities_read(buf_view(&out), R06).tasks);
    assert_false(capabilities_read(buf_view(&out), R26).tasks);
    buf_clear(&out);
    capabilities_write(&out, &tasks, R26);
    same(&out, quoted(&a, "{'extensions':{'io.modelcontextprotocol/tasks':{}}}"));
    assert_true(capabilities_read(buf_view(&out), R26).tasks);
    assert_false(capabilities_read(buf_view(&out), R11).tasks);
    buf_clear(&out);
    capabilities_write(&out, &tasks, R06);
    same(&out, S("{}"));
    assert_false(capabilities_read(S("{\"tasks\":{\"requests\":{}}}"), R11).tasks);
    assert_false(capabilities_read(S("{\"extensions\":[]}"), R26).tasks);
}

static void capabilities_are_read(void **state) {
    struct capabilities c = capabilities_read(
        S("{\"tools\":{},\"resources\":{\"subscribe\":true},\"prompts\":null}"), R11);
    assert_true(c.tools && c.resources && c.subscribe);
    assert_false(c.prompts || c.completions || c.logging || c.list_changed);
    assert_true(capabilities_read(S("{}"), R24).completions); /* P-182 */
    assert_true(capabilities_read(S("{\"prompts\":{\"listChanged\":true}}"), R03).list_changed);
    assert_true(
        capabilities_read(S("{\"extensions\":{\"io.modelcontextprotocol/ui\":{}}}"), R11).apps);
    assert_false(capabilities_read(S("{\"extensions\":{\"x/y\":{}}}"), R26).apps);
    assert_false(capabilities_read(S("{\"extensions\":[]}"), R26).apps);
    assert_false(capabilities_read((struct str){ 0 }, R06).tools);
    assert_false(capabilities_read(S("[]"), R06).tools);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_revision_needs_no_translation),
        cmocka_unit_test(an_older_upstream_of_the_same_era_needs_none_either),
        cmocka_unit_test(an_older_server_knows_no_context_of_completions),
        cmocka_unit_test(a_legacy_result_becomes_a_complete_modern_one),
        cmocka_unit_test(six_results_get_cache_hints),
        cmocka_unit_test(good_hints_of_the_upstream_stay_bad_ones_go),
        cmocka_unit_test(a_legacy_result_type_is_replaced),
        cmocka_unit_test(input_required_stays_as_it_is),
        cmocka_unit_test(related_task_goes_on_the_way_up),
        cmocka_unit_test(modern_members_go_on_the_way_down),
        cmocka_unit_test(unknown_members_and_spellings_survive),
        cmocka_unit_test(structured_content_goes_where_it_cannot_be_taken),
        cmocka_unit_test(what_was_only_structured_stays_as_text),
        cmocka_unit_test(content_that_is_not_there_yet_becomes_text),
        cmocka_unit_test(nested_members_go_too),
        cmocka_unit_test(tools_have_what_their_revision_knows),
        cmocka_unit_test(output_schemas_of_other_roots_are_modern_only),
        cmocka_unit_test(each_kind_has_its_own_name),
        cmocka_unit_test(uris_are_shown_where_they_stand_and_nowhere_else),
        cmocka_unit_test(tools_point_at_their_ui_under_its_shown_uri),
        cmocka_unit_test(not_found_has_the_code_of_the_revision),
        cmocka_unit_test(private_codes_are_not_emitted_to_modern_clients),
        cmocka_unit_test(ordinary_codes_pass),
        cmocka_unit_test(modern_codes_have_a_legacy_form),
        cmocka_unit_test(addresses_to_open_reach_clients_that_know_no_such_error),
        cmocka_unit_test(broken_errors_become_whole),
        cmocka_unit_test(progress_carries_the_clients_token),
        cmocka_unit_test(log_messages_say_whose_they_are),
        cmocka_unit_test(other_notifications_keep_what_their_revision_knows),
        cmocka_unit_test(capabilities_are_written_for_their_revision),
        cmocka_unit_test(tasks_are_declared_as_their_revision_does),
        cmocka_unit_test(capabilities_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
