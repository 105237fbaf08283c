/* Parts, merging, routing, access and pages. */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/catalogue.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Quotes in texts are single ones, for the eye. */
static struct str quoted(struct arena *a, const char *text) {
    char *copy = arena_text(a, str_of(text));
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return str_of(copy);
}

static void part_scope(struct part **p) {
    part_unref(*p);
}
static void catalogue_scope(struct catalogue **c) {
    catalogue_free(*c);
}

static struct str add(struct part *p, enum method list, const char *text) {
    struct str cursor = { 0 };
    struct arena a = { 0 };
    err_t e = part_add_page(p, list, quoted(&a, text), &cursor);
    if (e)
        fail_msg("%s: %s", text, e->text);
    cursor = cursor.p ? arena_dup(&p->arena, cursor) : cursor;
    arena_done(&a);
    return cursor;
}

#define TOOL(name) "{'name':'" name "','inputSchema':{'type':'object'}}"

/* ---- parts ------------------------------------------------------------------------- */

static void items_are_kept_as_they_were_spelled(void **state) {
    SCOPED(part_scope) struct part *p = part_new(S("u"));
    struct str cursor = add(p, METHOD_TOOLS_LIST,
                            "{'tools':[ {'name' : '\\u0061', "
                            "'inputSchema':{'type':'object'},'x':1.50} ],'nextCursor':'n\\u0031'}");
    assert_int_equal(p->counts[ITEM_TOOL], 1);
    assert_string_equal(
        arena_text(&p->arena, p->items[ITEM_TOOL][0].raw),
        "{\"name\" : \"\\u0061\", \"inputSchema\":{\"type\":\"object\"},\"x\":1.50}");
    assert_true(str_eq(p->items[ITEM_TOOL][0].name, S("a")));
    assert_true(str_eq(cursor, S("\"n\\u0031\"")));
}

/* P-090 */
static void a_null_cursor_is_the_end_and_an_empty_one_is_not(void **state) {
    SCOPED(part_scope) struct part *p = part_new(S("u"));
    assert_null(add(p, METHOD_TOOLS_LIST, "{'tools':[],'nextCursor':null}").p);
    assert_null(add(p, METHOD_TOOLS_LIST, "{'tools':[]}").p);
    assert_null(add(p, METHOD_TOOLS_LIST, "{'tools':[],'nextCursor':7}").p);
    assert_true(str_eq(add(p, METHOD_TOOLS_LIST, "{'tools':[],'nextCursor':''}"), S("\"\"")));
}

/* P-078, P-190, P-210: the others stay */
static void items_that_break_the_protocol_are_left_out(void **state) {
    SCOPED(part_scope) struct part *p = part_new(S("u"));
    add(p, METHOD_TOOLS_LIST,
        "{'tools':[7,null,[],{},{'name':'no "
        "schema'},{'name':7,'inputSchema':{'type':'object'}},{'name':'','inputSchema':{'type':'"
        "object'}},"
        "{'name':'a','inputSchema':{}},{'name':'b','inputSchema':[]},{'name':'c','inputSchema':{'"
        "type':'object'},'name':'d'},"
        "{'name':'e','inputSchema':{'type':'object','properties':{'x':{'type':'number','x-mcp-"
        "header':'X'}}}}," TOOL("good") "]}");
    assert_int_equal(p->counts[ITEM_TOOL], 1);
    assert_true(str_eq(p->items[ITEM_TOOL][0].name, S("good")));
    add(p, METHOD_PROMPTS_LIST, "{'prompts':[{'description':'x'},{'name':'p'}]}");
    assert_int_equal(p->counts[ITEM_PROMPT], 1);
    add(p, METHOD_RESOURCES_LIST,
        "{'resources':[{'name':'x'},{'uri':'a:b'},{'uri':'a:b','name':'n'}]}");
    assert_int_equal(p->counts[ITEM_RESOURCE], 1);
    add(p, METHOD_TEMPLATES_LIST,
        "{'resourceTemplates':[{'uriTemplate':'a:{','name':'n'},{'uriTemplate':'a:{b}','name':'n'}]"
        "}");
    assert_int_equal(p->counts[ITEM_TEMPLATE], 1);
}

static void a_result_without_its_list_is_an_error(void **state) {
    SCOPED(part_scope) struct part *p = part_new(S("u"));
    struct str cursor;
    assert_int_equal(part_add_page(p, METHOD_TOOLS_LIST, S("{\"prompts\":[]}"), &cursor)->kind,
                     ERR_UPSTREAM);
    assert_int_equal(part_add_page(p, METHOD_TOOLS_LIST, S("{\"tools\":{}}"), &cursor)->kind,
                     ERR_UPSTREAM);
    assert_non_null(part_add_page(p, METHOD_PING, S("{\"tools\":[]}"), &cursor));
}

/* P-645 */
static void hints_say_what_may_be_repeated(void **state) {
    SCOPED(part_scope) struct part *p = part_new(S("u"));
    add(p, METHOD_TOOLS_LIST,
        "{'tools':[" TOOL("plain") ",{'name':'r','inputSchema':{'type':'object'},'annotations':{'"
                                   "readOnlyHint':true}},"
                                   "{'name':'i','inputSchema':{'type':'object'},'annotations':{'"
                                   "idempotentHint':true}},"
                                   "{'name':'s','inputSchema':{'type':'object'},'annotations':{'"
                                   "readOnlyHint':'true'}}]}");
    assert_false(p->items[ITEM_TOOL][0].safe_to_repeat);
    assert_true(p->items[ITEM_TOOL][1].safe_to_repeat);
    assert_true(p->items[ITEM_TOOL][2].safe_to_repeat);
    assert_false(p->items[ITEM_TOOL][3].safe_to_repeat);
}

static struct part *rich_part(const char *upstream) {
    struct part *p = part_new(str_of(upstream));
    p->revision = R11;
    p->has = (struct capabilities){
        .tools = true, .prompts = true, .resources = true, .list_changed = true
    };
    p->instructions = S("Use \"it\".");
    p->server_info = S("{\"name\":\"s\"}");
    add(p, METHOD_TOOLS_LIST, "{'tools':[" TOOL("one") "," TOOL("two") "],'nextCursor':'x'}");
    add(p, METHOD_TOOLS_LIST, "{'tools':[" TOOL("three") "]}");
    add(p, METHOD_PROMPTS_LIST, "{'prompts':[{'name':'ask'}]}");
    add(p, METHOD_RESOURCES_LIST, "{'resources':[{'uri':'file:///a','name':'a'}]}");
    add(p, METHOD_TEMPLATES_LIST,
        "{'resourceTemplates':[{'uriTemplate':'file:///{name}.txt','name':'t'}]}");
    return p;
}

static void what_is_written_to_disk_reads_back_equal(void **state) {
    SCOPED(part_scope) struct part *p = rich_part("u");
    SCOPED(part_scope) struct part *back = NULL;
    SCOPED(buf_done) struct buf b = { 0 };
    part_write(&b, p);
    assert_null(part_read(buf_view(&b), &back));
    assert_true(part_equal(p, back));
    assert_true(back->stale);
    assert_false(p->stale);
}

static void a_broken_file_is_refused(void **state) {
    static const char *const bad[] = {
        "", "{", "[]", "{}", "{\"upstream\":7}", "{\"upstream\":\"u\"}", "{\"upstream\":\"u\",\"revision\":\"x\",\"tools\":[]}",
        "{\"upstream\":\"u\",\"revision\":\"2025-11-25\",\"tools\":[]}",
    };
    struct part *p = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (!part_read(str_of(bad[i]), &p))
            fail_msg("%s", bad[i]);
    assert_null(p);
}

static void every_difference_counts(void **state) {
    SCOPED(part_scope) struct part *p = rich_part("u");
    SCOPED(part_scope) struct part *q = rich_part("u");
    assert_true(part_equal(p, q));
    q->revision = R06;
    assert_false(part_equal(p, q));
    q->revision = R11;
    q->has.logging = true;
    assert_false(part_equal(p, q));
    q->has.logging = false;
    q->instructions = S("");
    assert_false(part_equal(p, q));
    q->instructions = p->instructions;
    assert_true(part_equal(p, q));
    add(q, METHOD_TOOLS_LIST, "{'tools':[" TOOL("four") "]}");
    assert_false(part_equal(p, q));
}

static void many_items_fit(void **state) {
    SCOPED(part_scope) struct part *p = part_new(S("u"));
    for (int i = 0; i < 1000; i++) {
        char text[100];
        snprintf(text, sizeof text, "{'prompts':[{'name':'p%d'}]}", i);
        add(p, METHOD_PROMPTS_LIST, text);
    }
    assert_int_equal(p->counts[ITEM_PROMPT], 1000);
    assert_true(str_eq(p->items[ITEM_PROMPT][0].name, S("p0")));
    assert_true(str_eq(p->items[ITEM_PROMPT][999].name, S("p999")));
}

/* ---- the catalogue ----------------------------------------------------------------- */

struct world {
    struct arena arena;
    struct upstream_conf confs[3];
    struct catalogue_source sources[3];
    struct catalogue *catalogue;
};

static void world_done(struct world *w) {
    for (int i = 0; i < 3; i++)
        part_unref(w->sources[i].part);
    catalogue_free(w->catalogue);
    arena_done(&w->arena);
}

/* Upstreams a and b offer the same; c is not known yet. */
static void world_init(struct world *w) {
    static const char *const names[] = { "a", "b", "c" };
    for (int i = 0; i < 3; i++) {
        w->confs[i] = (struct upstream_conf){ .name = str_of(names[i]),
                                              .prefix = true,
                                              .rewrite_uris = true };
        w->sources[i] = (struct catalogue_source){ &w->confs[i], i < 2 ? rich_part(names[i]) : NULL,
                                                   i == 2 };
    }
}

static void merge(struct world *w) {
    catalogue_free(w->catalogue);
    w->catalogue = catalogue_new(w->sources, 3, S("Own text."), 1);
}

static const struct entry *find(struct world *w, enum item_kind kind, const char *shown) {
    return catalogue_find(w->catalogue, kind, str_of(shown));
}

/* P-600, P-603 */
static void names_carry_their_upstream_in_the_order_of_the_file(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    static const char *const order[] = { "a__one", "a__two", "a__three",
                                         "b__one", "b__two", "b__three" };
    assert_int_equal(w.catalogue->counts[ITEM_TOOL], 6);
    for (size_t i = 0; i < 6; i++) {
        const struct entry *e = find(&w, ITEM_TOOL, order[i]);
        assert_ptr_equal(e, &w.catalogue->entries[ITEM_TOOL][i]);
        assert_int_equal(e->upstream, i / 3);
    }
    assert_true(str_eq(find(&w, ITEM_TOOL, "b__two")->name, S("two")));
    assert_non_null(find(&w, ITEM_PROMPT, "b__ask"));
    assert_non_null(find(&w, ITEM_RESOURCE, "gatespan+file://a//a"));
    assert_non_null(find(&w, ITEM_TEMPLATE, "gatespan+file://b//{name}.txt"));
    assert_null(find(&w, ITEM_TOOL, "one"));
    assert_null(find(&w, ITEM_TOOL, "a__ask"));
}

static void every_entry_has_its_own_bit(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    unsigned next = 0;
    for (int kind = 0; kind < ITEM_KINDS; kind++)
        for (size_t i = 0; i < w.catalogue->counts[kind]; i++)
            assert_int_equal(w.catalogue->entries[kind][i].index, next++);
    assert_int_equal(w.catalogue->total, next);
}

/* P-602 */
static void without_prefixes_the_first_keeps_the_name(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    w.confs[0].prefix = w.confs[1].prefix = false;
    w.confs[0].rewrite_uris = w.confs[1].rewrite_uris = false;
    merge(&w);
    assert_int_equal(w.catalogue->counts[ITEM_TOOL], 3);
    assert_int_equal(find(&w, ITEM_TOOL, "one")->upstream, 0);
    assert_int_equal(w.catalogue->counts[ITEM_RESOURCE], 1);
}

static void allow_and_deny_of_an_upstream_speak_of_its_own_tools_and_prompts(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    struct str allow[] = { S("t*"), S("ask") }, deny[] = { S("*ree") };
    w.confs[0].allow = (struct str_list){ allow, 2 };
    w.confs[0].deny = (struct str_list){ deny, 1 };
    merge(&w);
    assert_null(find(&w, ITEM_TOOL, "a__one"));
    assert_non_null(find(&w, ITEM_TOOL, "a__two"));
    assert_null(find(&w, ITEM_TOOL, "a__three"));
    assert_non_null(find(&w, ITEM_PROMPT, "a__ask"));
    assert_non_null(find(&w, ITEM_RESOURCE, "gatespan+file://a//a"));
    assert_non_null(find(&w, ITEM_TOOL, "b__one"));
}

/* P-180, P-621, P-625, P-626 */
static void capabilities_are_those_of_any_upstream(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    w.sources[0].part->has = (struct capabilities){ .tools = true };
    w.sources[1].part->has = (struct capabilities){ .logging = true, .completions = true };
    SCOPED(catalogue_scope) struct catalogue *two = catalogue_new(w.sources, 2, S(""), 1);
    assert_true(two->has.tools && two->has.logging && two->has.completions &&
                two->has.list_changed);
    assert_false(two->has.prompts || two->has.resources || two->has.subscribe);
    SCOPED(catalogue_scope) struct catalogue *three = catalogue_new(w.sources, 3, S(""), 1);
    assert_true(three->has.prompts && three->has.resources); /* c may have them */
}

/* P-616 */
static void who_does_not_answer_is_named(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    assert_true(str_eq(w.catalogue->missing, S("[\"c\"]")));
    SCOPED(catalogue_scope) struct catalogue *two = catalogue_new(w.sources, 2, S(""), 1);
    assert_int_equal(two->missing.n, 0);
}

/* P-628 */
static void instructions_say_who_wrote_them_and_are_capped(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    assert_true(str_starts(w.catalogue->instructions,
                           S("Own text.\n\n## a\n\n(Written by the server \"a\"")));
    assert_true(str_find(w.catalogue->instructions, S("## b")) > 0);
    SCOPED(buf_done) struct buf text = { 0 };
    for (int i = 0; i < 10000; i++)
        buf_str(&text, S("\xc3\xa9"));
    w.sources[0].part->instructions = buf_view(&text);
    merge(&w);
    assert_true(w.catalogue->instructions.n < 5000);
    assert_true(str_find(w.catalogue->instructions, S("## b")) > 0);
    assert_true(json_is_utf8(w.catalogue->instructions));
}

/* P-201, P-621 */
static void digests_change_with_their_lists_only(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    SCOPED(catalogue_scope) struct catalogue *before = TAKE(w.catalogue);
    merge(&w);
    for (int kind = 0; kind < ITEM_KINDS; kind++)
        assert_true(before->kind_digest[kind] == w.catalogue->kind_digest[kind]);
    add(w.sources[0].part, METHOD_PROMPTS_LIST, "{'prompts':[{'name':'more'}]}");
    merge(&w);
    assert_true(before->kind_digest[ITEM_TOOL] == w.catalogue->kind_digest[ITEM_TOOL]);
    assert_true(before->kind_digest[ITEM_PROMPT] != w.catalogue->kind_digest[ITEM_PROMPT]);
}

/* P-305, P-636 */
static void tools_point_at_the_shown_uri_of_their_ui(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    add(w.sources[0].part, METHOD_TOOLS_LIST,
        "{'tools':[{'name':'app','inputSchema':{'type':'object'},'_meta':{'ui':{'resourceUri':'ui:/"
        "/x/y'}}}]}");
    merge(&w);
    assert_true(str_find(find(&w, ITEM_TOOL, "a__app")->raw, S("\"ui://a/x/y\"")) > 0);
}

static void annotations_reach_the_entry(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    add(w.sources[0].part, METHOD_TOOLS_LIST,
        "{'tools':[{'name':'h','inputSchema':{'type':'object','properties':{'r':{'type':'string','"
        "x-mcp-header':'R'}}}}]}");
    merge(&w);
    assert_int_equal(json_count(find(&w, ITEM_TOOL, "a__h")->header_params), 1);
    assert_null(find(&w, ITEM_TOOL, "a__one")->header_params);
}

/* A catalogue outlives the sources it was made from. */
static void a_catalogue_holds_its_parts(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    part_unref(TAKE(w.sources[0].part));
    assert_true(str_eq(find(&w, ITEM_TOOL, "a__one")->name, S("one")));
}

/* ---- routing (P-635, P-637, P-638) ------------------------------------------------- */

static bool routes(struct world *w, const char *uri, unsigned upstream, const char *original,
                   bool listed) {
    struct resource_route r;
    if (!catalogue_route_uri(w->catalogue, w->sources, 3, &w->arena, str_of(uri), &r))
        return false;
    if (r.upstream != upstream || !str_eq(r.original, str_of(original)) || !r.entry == listed)
        fail_msg("%s: %u %.*s", uri, r.upstream, STR(r.original));
    return true;
}

static void uris_find_their_upstream(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    assert_true(routes(&w, "gatespan+file://b//a", 1, "file:///a", true));
    /* by its template */
    assert_true(routes(&w, "gatespan+file://b//x.txt", 1, "file:///x.txt", true));
    assert_true(routes(&w, "gatespan+file://b//x.md", 1, "file:///x.md", false));  /* in no list */
    assert_true(routes(&w, "ui://a/chart", 0, "ui://chart", false));
    assert_true(routes(&w, "gatespan+x:c/y", 2, "x:y", false)); /* what c has is not known */
    assert_false(routes(&w, "gatespan+file://nobody//a", 0, "", false));
    assert_false(routes(&w, "file:///a", 0, "", false));
    assert_false(routes(&w, "https://example.com/", 0, "", false));
    assert_false(routes(&w, "", 0, "", false));
}

/* Else what a glob denies could be asked for by another name of the same. */
static void a_resource_has_one_spelling(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    static const char *const others[] = {
        "GATESPAN+file://b//x.md", "Gatespan+file://b//a", "gatespan+FILE://b//x.md",
        "gatespan://b/file:///a",  "UI://a/chart",         "gatespan+http://b/x.example",
    };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(routes(&w, others[i], 1, "", false));
}

static void native_uris_go_to_lists_and_templates_in_order(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    w.confs[0].rewrite_uris = w.confs[1].rewrite_uris = false;
    merge(&w);
    assert_true(routes(&w, "file:///a", 0, "file:///a", true));
    assert_true(routes(&w, "file:///x.txt", 0, "file:///x.txt", true));
    assert_false(routes(&w, "gatespan+file://a//a", 0, "", false)); /* a does not rewrite */
    assert_false(routes(&w, "file:///x.md", 0, "", false));
}

static void servers_without_resources_are_not_asked(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    w.sources[0].part->has.resources = false;
    merge(&w);
    assert_false(routes(&w, "gatespan+x://a/y", 0, "", false));
}

/* ---- access ------------------------------------------------------------------------ */

static struct access *compile(struct world *w, const struct profile_conf *profile,
                              const struct str_list *allow, const struct str_list *deny) {
    return access_compile(w->catalogue, w->sources, profile, allow, deny);
}

static bool sees(struct world *w, const struct access *a, enum item_kind kind, const char *shown) {
    return access_has(a, find(w, kind, shown)->index);
}

static void without_limits_everything_is_seen(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    SCOPED(mem_scope) struct access *a = compile(&w, NULL, NULL, NULL);
    for (unsigned i = 0; i < w.catalogue->total; i++)
        assert_true(access_has(a, i));
    assert_int_equal(a->generation, 1);
    assert_true(access_allows_uri(a, 2, S("gatespan+x:c/y")));
}

static void profile_and_key_both_have_a_say(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    struct str ups[] = { S("a") }, not_two[] = { S("*__two") }, tools[] = { S("a__t*"), S("b__*") };
    struct profile_conf profile = { .name = S("p"),
                                    .upstreams = { ups, 1 },
                                    .deny = { not_two, 1 } };
    struct str_list allow = { tools, 2 };
    SCOPED(mem_scope) struct access *a = compile(&w, &profile, &allow, NULL);
    assert_false(sees(&w, a, ITEM_TOOL, "a__one"));   /* key: not allowed */
    assert_false(sees(&w, a, ITEM_TOOL, "a__two"));   /* profile: denied */
    assert_true(sees(&w, a, ITEM_TOOL, "a__three"));
    assert_false(sees(&w, a, ITEM_TOOL, "b__one"));   /* profile: not its upstream */
    assert_false(sees(&w, a, ITEM_RESOURCE, "gatespan+file://a//a"));
    SCOPED(mem_scope)
    struct access *denied = compile(&w, NULL, NULL, &(struct str_list){ tools, 2 });
    assert_true(sees(&w, denied, ITEM_TOOL, "a__one"));
    assert_false(sees(&w, denied, ITEM_TOOL, "a__two"));
    assert_false(sees(&w, denied, ITEM_PROMPT, "b__ask"));
}

/* Else a URI made up by a client would reach an upstream outside of its profile. */
static void uris_in_no_list_obey_profile_and_globs(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    struct str ups[] = { S("a") }, globs[] = { S("gatespan+file://a//pub/*") };
    struct profile_conf profile = { .name = S("p"), .upstreams = { ups, 1 } };
    struct str_list list = { globs, 1 };
    SCOPED(mem_scope) struct access *a = compile(&w, &profile, NULL, NULL);
    assert_true(access_allows_uri(a, 0, S("gatespan+file://a//x")));
    assert_false(access_allows_uri(a, 1, S("gatespan+file://b//x")));
    SCOPED(mem_scope) struct access *allowed = compile(&w, NULL, &list, NULL);
    globs[0] = S("*"); /* the access has its own copy */
    assert_true(access_allows_uri(allowed, 0, S("gatespan+file://a//pub/x")));
    assert_false(access_allows_uri(allowed, 0, S("gatespan+file://a//x")));
    globs[0] = S("*//pub/*");
    SCOPED(mem_scope) struct access *denied = compile(&w, NULL, NULL, &list);
    assert_false(access_allows_uri(denied, 0, S("gatespan+file://a//pub/x")));
    assert_true(access_denies_uri(denied, S("gatespan+file://a//pub/x")));
    assert_false(access_denies_uri(denied, S("gatespan+file://a//x")));
    assert_true(access_allows_uri(denied, 0, S("gatespan+file://a//x")));
}

static void equal_views_have_equal_digests(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    struct str all[] = { S("*") }, one[] = { S("a__one") };
    struct str_list everything = { all, 1 }, single = { one, 1 };
    SCOPED(mem_scope) struct access *a = compile(&w, NULL, NULL, NULL);
    SCOPED(mem_scope) struct access *b = compile(&w, NULL, &everything, NULL);
    SCOPED(mem_scope) struct access *c = compile(&w, NULL, &single, NULL);
    assert_true(a->digest == b->digest);
    assert_true(a->digest != c->digest);
}

/* ---- pages ------------------------------------------------------------------------- */

/* The names of one page, by spaces. */
static size_t page(struct world *w, enum item_kind kind, const struct access *a,
                   const struct profile_conf *profile, size_t from, size_t limit,
                   const char *expected) {
    SCOPED(buf_done) struct buf b = { 0 };
    SCOPED(buf_done) struct buf names = { 0 };
    SCOPED(arena_scope) struct arena arena = { 0 };
    size_t next = catalogue_write_page(&b, w->catalogue, kind, a, profile, from, limit, R26);
    json items = NULL;
    assert_null(json_parse(&arena, buf_view(&b), (struct json_limits){ 0 }, &items));
    for (struct json_iter it = json_iter(items); json_next(&it);)
        buf_fmt(&names, "%s%.*s", names.n ? " " : "",
                STR(json_get_text(it.value, kind == ITEM_RESOURCE ? S("uri") : S("name"))));
    if (!str_eq(buf_view(&names), str_of(expected)))
        fail_msg("%s instead of %s", buf_text(&names), expected);
    return next;
}

/* P-615, P-618 */
static void pages_are_cut_after_they_were_filtered(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    struct str deny[] = { S("a__two"), S("b__three") };
    struct str_list list = { deny, 2 };
    SCOPED(mem_scope) struct access *a = compile(&w, NULL, NULL, &list);
    size_t next = page(&w, ITEM_TOOL, a, NULL, 0, 2, "a__one a__three");
    assert_true(next > 0);
    next = page(&w, ITEM_TOOL, a, NULL, next, 2, "b__one b__two"); /* no empty page follows */
    assert_int_equal(next, 0);
    assert_int_equal(page(&w, ITEM_TOOL, a, NULL, 0, 100, "a__one a__three b__one b__two"), 0);
    assert_int_equal(page(&w, ITEM_TOOL, a, NULL, 1000, 100, ""), 0);
    assert_int_equal(
        page(&w, ITEM_RESOURCE, a, NULL, 0, 10, "gatespan+file://a//a gatespan+file://b//a"), 0);
}

/* P-091, P-603 */
static void a_profile_orders_its_upstreams(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    struct str ups[] = { S("b"), S("c"), S("a"), S("b") };
    struct profile_conf profile = { .name = S("p"), .upstreams = { ups, 4 } };
    SCOPED(mem_scope) struct access *a = compile(&w, &profile, NULL, NULL);
    size_t next = page(&w, ITEM_TOOL, a, &profile, 0, 4, "b__one b__two b__three a__one");
    assert_int_equal(page(&w, ITEM_TOOL, a, &profile, next, 4, "a__two a__three"), 0);
}

static void a_profile_renames_and_what_it_covers_is_not_shown_twice(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    merge(&w);
    struct pair pairs[] = { { S("a__one"), S("first") },
                            { S("a__two"), S("b__one") },
                            { S("a__three"), S("a__three") } };
    struct profile_conf profile = { .name = S("p"), .rename = { pairs, 3 } };
    SCOPED(mem_scope) struct access *a = compile(&w, &profile, NULL, NULL);
    page(&w, ITEM_TOOL, a, &profile, 0, 100, "first b__one a__three b__two b__three");
    page(&w, ITEM_PROMPT, a, &profile, 0, 100, "a__ask b__ask");
}

static void items_have_what_the_clients_revision_knows(void **state) {
    SCOPED(world_done) struct world w = { 0 };
    world_init(&w);
    add(w.sources[0].part, METHOD_PROMPTS_LIST, "{'prompts':[{'name':'t','title':'T'}]}");
    merge(&w);
    SCOPED(mem_scope) struct access *a = compile(&w, NULL, NULL, NULL);
    SCOPED(buf_done) struct buf b = { 0 };
    catalogue_write_page(&b, w.catalogue, ITEM_PROMPT, a, NULL, 0, 100, R03);
    assert_true(str_eq(buf_view(&b),
                       S("[{\"name\":\"a__ask\"},{\"name\":\"a__t\"},{\"name\":\"b__ask\"}]")));
}

int main(void) {
    log_setup((struct log_conf){ .level = LOG_OFF });
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_kept_as_they_were_spelled),
        cmocka_unit_test(a_null_cursor_is_the_end_and_an_empty_one_is_not),
        cmocka_unit_test(items_that_break_the_protocol_are_left_out),
        cmocka_unit_test(a_result_without_its_list_is_an_error),
        cmocka_unit_test(hints_say_what_may_be_repeated),
        cmocka_unit_test(what_is_written_to_disk_reads_back_equal),
        cmocka_unit_test(a_broken_file_is_refused),
        cmocka_unit_test(every_difference_counts),
        cmocka_unit_test(many_items_fit),
        cmocka_unit_test(names_carry_their_upstream_in_the_order_of_the_file),
        cmocka_unit_test(every_entry_has_its_own_bit),
        cmocka_unit_test(without_prefixes_the_first_keeps_the_name),
        cmocka_unit_test(allow_and_deny_of_an_upstream_speak_of_its_own_tools_and_prompts),
        cmocka_unit_test(capabilities_are_those_of_any_upstream),
        cmocka_unit_test(who_does_not_answer_is_named),
        cmocka_unit_test(instructions_say_who_wrote_them_and_are_capped),
        cmocka_unit_test(digests_change_with_their_lists_only),
        cmocka_unit_test(tools_point_at_the_shown_uri_of_their_ui),
        cmocka_unit_test(annotations_reach_the_entry),
        cmocka_unit_test(a_catalogue_holds_its_parts),
        cmocka_unit_test(uris_find_their_upstream),
        cmocka_unit_test(a_resource_has_one_spelling),
        cmocka_unit_test(native_uris_go_to_lists_and_templates_in_order),
        cmocka_unit_test(servers_without_resources_are_not_asked),
        cmocka_unit_test(without_limits_everything_is_seen),
        cmocka_unit_test(profile_and_key_both_have_a_say),
        cmocka_unit_test(uris_in_no_list_obey_profile_and_globs),
        cmocka_unit_test(equal_views_have_equal_digests),
        cmocka_unit_test(pages_are_cut_after_they_were_filtered),
        cmocka_unit_test(a_profile_orders_its_upstreams),
        cmocka_unit_test(a_profile_renames_and_what_it_covers_is_not_shown_twice),
        cmocka_unit_test(items_have_what_the_clients_revision_knows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
