/* edit, move, copy, delete, search; files as resources. */
#include "filesystem_fixture.h"

/* ---- edit -------------------------------------------------------------------------- */

static void an_edit_replaces_and_shows_the_difference(void **state) {
    put_file(at("root/a"), "one\ntwo\nthree\nfour\n");
    json answer = call("edit",
                       "{'path':'root/a','edits':[{'old_text':'two\\nthree','new_text':'2\\n3'},"
                       "{'old_text':'four\\n','new_text':''}]}");
    assert_string_equal(
        text_of(answer),
        "--- a/root/a\n+++ b/root/a\n@@ -1,4 +1,3 @@\n one\n-two\n-three\n-four\n+2\n+3\n");
    json r = json_get(answer, S("structuredContent"));
    assert_int_equal(INT_OF(r, "replacements"), 2);
    assert_int_equal(INT_OF(r, "removed"), 3);
    assert_true(IS_TRUE(r, "written"));
    assert_string_equal(get_file(at("root/a")), "one\n2\n3\n");
}

static void a_dry_run_changes_nothing(void **state) {
    put_file(at("root/a"), "x\n");
    json r = result_of(
        "edit", "{'path':'root/a','edits':[{'old_text':'x','new_text':'y'}],'dry_run':true}");
    assert_false(IS_TRUE(r, "written"));
    assert_non_null(strstr(member(r, "diff"), "-x\n+y\n"));
    assert_string_equal(get_file(at("root/a")), "x\n");
}

static void edits_are_made_all_or_none(void **state) {
    put_file(at("root/a"), "x y y");
    assert_error("edit",
                 "{'path':'root/"
                 "a','edits':[{'old_text':'x','new_text':'z'},{'old_text':'none','new_text':''}]}",
                 "edits[1].old_text: is not in the file");
    assert_error("edit", "{'path':'root/a','edits':[{'old_text':'y','new_text':'z'}]}",
                 "is there 2 times");
    assert_error("edit", "{'path':'root/a','edits':[]}", "edits: 1 to");
    assert_error("edit", "{'path':'root/none','edits':[{'old_text':'y','new_text':'z'}]}",
                 "does not exist");
    assert_string_equal(get_file(at("root/a")), "x y y");
    result_of("edit",
              "{'path':'root/a','edits':[{'old_text':'y','new_text':'z','replace_all':true}]}");
    assert_string_equal(get_file(at("root/a")), "x z z");
}

static void lines_with_carriage_returns_are_met(void **state) {
    put_file(at("root/a"), "one\r\ntwo\r\n");
    result_of("edit", "{'path':'root/a','edits':[{'old_text':'one\\ntwo','new_text':'1\\n2'}]}");
    assert_string_equal(get_file(at("root/a")), "1\r\n2\r\n");
}

/* ---- move, copy, delete -------------------------------------------------------------- */

static void things_are_moved_and_nothing_is_lost(void **state) {
    put_file(at("root/a"), "A");
    put_file(at("root/b"), "B");
    mkdir(at("root/dir"), 0755);
    assert_error("move", "{'source':'root/a','destination':'root/b'}", "exists already");
    assert_error("move", "{'source':'root/none','destination':'root/c'}", "does not exist");
    assert_error("move", "{'source':'root/dir','destination':'root/dir/in'}", "lies in it");
    assert_error("move", "{'source':'root','destination':'root/c'}", "root itself");
    result_of("move", "{'source':'root/a','destination':'root/dir/a'}");
    assert_string_equal(get_file(at("root/dir/a")), "A");
    assert_null(get_file(at("root/a")));
    json r = result_of("move", "{'source':'root/dir/a','destination':'root/b','overwrite':true}");
    assert_true(IS_TRUE(r, "replaced"));
    assert_string_equal(get_file(at("root/b")), "A");
}

static void copies_are_whole(void **state) {
    put_file(at("root/a"), "A");
    chmod(at("root/a"), 0600);
    result_of("copy", "{'source':'root/a','destination':'root/b'}");
    assert_string_equal(get_file(at("root/b")), "A");
    assert_error("copy", "{'source':'root/a','destination':'root/b'}", "exists already");
    result_of("write", "{'path':'root/d/e/f','content':'F','create_parents':true}");
    assert_int_equal(symlink("/etc/passwd", at("root/d/link")), 0);
    assert_int_equal(mkfifo(at("root/d/fifo"), 0600), 0);
    assert_error("copy", "{'source':'root/d','destination':'root/x'}", "recursive");
    assert_error("copy", "{'source':'root/d','destination':'root/d/x','recursive':true}",
                 "lies in it");
    json r = result_of("copy", "{'source':'root/d','destination':'root/x','recursive':true}");
    assert_int_equal(INT_OF(r, "files"), 1);
    assert_int_equal(INT_OF(r, "directories"), 2);
    assert_int_equal(INT_OF(r, "skipped"), 2);
    assert_string_equal(get_file(at("root/x/e/f")), "F");
}

static bool is_there(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static void a_directory_is_deleted_only_when_it_is_said(void **state) {
    result_of("write", "{'path':'root/d/e/f','content':'F','create_parents':true}");
    assert_int_equal(symlink(at("outside"), at("root/d/link")), 0);
    assert_error("delete", "{'path':'root/d'}", "is not empty");
    assert_error("delete", "{'path':'root'}", "root itself");
    assert_error("delete", "{'path':'root/none'}", "does not exist");
    assert_true(is_there(at("root/d/e/f")));
    json r = result_of("delete", "{'path':'root/d','recursive':true}");
    assert_int_equal(INT_OF(r, "removed"), 4);
    assert_false(is_there(at("root/d")));
    assert_string_equal(get_file(at("outside/secret")), SECRET);
}

static void a_tree_beyond_the_limit_stays_whole(void **state) {
    open_with(ALL ",'max_scan':100");
    mkdir(at("root/many"), 0755);
    for (int i = 0; i < 101; i++)
        put_file(at("root/many/%d", i), "");
    assert_error("delete", "{'path':'root/many','recursive':true}", "max_scan");
    assert_error("copy", "{'source':'root/many','destination':'root/x','recursive':true}",
                 "max_scan");
    assert_true(is_there(at("root/many/0")) && is_there(at("root/many/100")) &&
                !is_there(at("root/x")));
    json r = result_of("tree", "{'path':'root'}");
    assert_true(IS_TRUE(r, "truncated"));
    r = result_of("list_directory", "{'path':'root/many'}");
    assert_true(IS_TRUE(r, "truncated"));
    r = result_of("search", "{'pattern':'none'}");
    assert_string_equal(member(r, "stopped"), "entries");
}

static void what_is_nested_too_deeply_is_refused(void **state) {
    open_with(ALL ",'max_depth':3");
    result_of("create_directory", "{'path':'root/1/2/3/4/5'}");
    assert_error("delete", "{'path':'root/1','recursive':true}", "nested deeper");
    assert_error("copy", "{'source':'root/1','destination':'root/x','recursive':true}",
                 "max_depth");
    assert_true(IS_TRUE(result_of("tree", "{'path':'root','depth':100}"), "deeper"));
    assert_string_equal(member(result_of("search", "{'pattern':'none'}"), "stopped"), "depth");
}

/* ---- search ------------------------------------------------------------------------ */

static void grow(void) {
    result_of("write", "{'path':'root/src/a.c','content':'int main(void) {\\n  return "
                       "0;\\n}\\n','create_parents':true}");
    result_of("write",
              "{'path':'root/src/deep/b.c','content':'// Main\\nint x;\\n','create_parents':true}");
    result_of("write", "{'path':'root/node_modules/c.c','content':'main','create_parents':true}");
    put_file(at("root/README.md"), "nothing of that kind\n");
    put_bytes(at("root/bin"), "\0main", 5);
}

static const char *paths_of(json r) {
    SCOPED(buf_done) struct buf out = { 0 };
    json matches = json_get(r, S("matches"));
    for (size_t i = 0; i < json_count(matches); i++) {
        buf_fmt(&out, "%s%s", i ? " " : "", member(json_at(matches, i), "path"));
        if (json_get(json_at(matches, i), S("line")))
            buf_fmt(&out, ":%d", INT_OF(json_at(matches, i), "line"));
    }
    return arena_text(&arena, buf_view(&out));
}

static void names_are_found_by_globs(void **state) {
    grow();
    const char *wanted[][2] = {
        { "'pattern':'*.c'", "root/node_modules/c.c root/src/a.c root/src/deep/b.c" },
        { "'pattern':'*.c','exclude':['node_modules']", "root/src/a.c root/src/deep/b.c" },
        { "'pattern':'src/*.c'", "root/src/a.c" },
        { "'pattern':'src/**/*.c'", "root/src/a.c root/src/deep/b.c" },
        { "'pattern':'**/b.c'", "root/src/deep/b.c" },
        { "'pattern':'[ab].{c,h}'", "root/src/a.c root/src/deep/b.c" },
        { "'pattern':'[!a].c'", "root/node_modules/c.c root/src/deep/b.c" },
        { "'pattern':'readme*'", "" },
        { "'pattern':'readme*','ignore_case':true", "root/README.md" },
        { "'pattern':'*.c','path':'root/src'", "root/src/a.c root/src/deep/b.c" },
        { "'pattern':'*','type':'directory'", "root/node_modules root/src root/src/deep" },
        { "'pattern':'?in'", "root/bin" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        json r = result_of("search", arena_text(&arena, arena_fmt(&arena, "{%s}", wanted[i][0])));
        assert_string_equal(paths_of(r), wanted[i][1]);
        assert_true(IS_TRUE(r, "complete"));
    }
    assert_error("search", "{'pattern':'[a'}", "a [ is not closed");
    assert_error("search", "{'pattern':'{a'}", "a { is not closed");
    assert_error("search", "{}", "pattern: a glob of names, or content, is needed");
}

static void content_is_found_by_text_or_expression(void **state) {
    grow();
    json r = result_of("search", "{'content':'main','pattern':'*.c'}");
    assert_string_equal(paths_of(r), "root/node_modules/c.c:1 root/src/a.c:1");
    r = result_of("search", "{'content':'MAIN','ignore_case':true,'exclude':['node_modules']}");
    assert_string_equal(paths_of(r), "root/src/a.c:1 root/src/deep/b.c:1");
    assert_int_equal(INT_OF(r, "skipped"), 1);
    r = result_of("search", "{'content':'^\\\\s*return \\\\d','regex':true}");
    assert_string_equal(paths_of(r), "root/src/a.c:2");
    r = result_of("search", "{'content':'return','context':1,'path':'root/src/a.c'}");
    json m = json_at(json_get(r, S("matches")), 0);
    assert_string_equal(compact(json_get(m, S("before"))), "[\"int main(void) {\"]");
    assert_string_equal(compact(json_get(m, S("after"))), "[\"}\"]");
    assert_int_equal(INT_OF(m, "column"), 3);
    assert_string_equal(paths_of(result_of("search", "{'content':'(','path':'root/src'}")),
                        "root/src/a.c:1");
    assert_error("search", "{'content':'(','regex':true}", "content: is no valid pattern");
}

static void a_search_says_what_stopped_it(void **state) {
    for (int i = 0; i < 20; i++)
        put_file(at("root/f%02d", i), "word\nword\n");
    json r = result_of("search", "{'content':'word','limit':5}");
    assert_int_equal(json_count(json_get(r, S("matches"))), 5);
    assert_string_equal(member(r, "stopped"), "matches");
    open_with(ALL ",'max_search_bytes':'1KiB','max_search_file':'1KiB'");
    put_bytes(at("root/large"), at("%0*d", 1100, 1), 1100);
    for (int i = 20; i < 120; i++)
        put_file(at("root/f%02d", i), "another text of some length");
    r = result_of("search", "{'content':'none'}");
    assert_string_equal(member(r, "stopped"), "bytes");
    r = result_of("search", "{'content':'0','path':'root/large'}");
    assert_int_equal(INT_OF(r, "skipped"), 1);
    open_with(ALL ",'max_read':'1KiB'");
    r = result_of("search", "{'content':'o','limit':10000}");
    assert_string_equal(member(r, "stopped"), "answer");
}

static void an_expression_cannot_take_forever(void **state) {
    put_file(at("root/a"),
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!");
    assert_error("search", "{'content':'(a+)+$','regex':true}", "too many steps");
}

/* Cheap from each place of a line of a megabyte, but not from all of them: the clock ends it. */
static void a_long_line_is_no_way_around_the_clock(void **state) {
    SCOPED(buf_done) struct buf line = { 0 };
    for (int i = 0; i < 1000000; i++)
        buf_char(&line, 'a');
    put_bytes(at("root/a"), line.p, line.n);
    open_with(ALL ",'search_time':'50ms'");
    json r = result_of("search", "{'content':'(?:a|a){12}[^a]','regex':true}");
    assert_string_equal(member(r, "stopped"), "time");
    open_with(ALL);
    buf_str(&line, S("needle"));
    put_bytes(at("root/a"), line.p, line.n);
    r = result_of("search", "{'content':'ne{2}dle$','regex':true}");
    assert_int_equal(INT_OF(json_at(json_get(r, S("matches")), 0), "column"), 1000001);
    assert_error("search", "{'content':'a\\nb'}", "one by one");
}

/* ---- resources --------------------------------------------------------------------- */

static json resources(const char *cursor) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct call_ctx c = { .arena = &arena };
    bool failed;
    json v = NULL;
    server_resource_list(&filesystem_server, self, &c, str_of(cursor), &out, &failed);
    assert_false(failed);
    assert_null(
        json_parse(&arena, arena_dup(&arena, buf_view(&out)), (struct json_limits){ 0 }, &v));
    return v;
}

static void files_are_listed_as_resources(void **state) {
    put_file(at("root/a b.md"), "x");
    mkdir(at("root/d"), 0755);
    put_file(at("root/d/e"), "y");
    assert_int_equal(symlink("/etc/passwd", at("root/link")), 0);
    put_bytes(at("root/\xff"), "", 0);
    assert_string_equal(compact(json_get(resources(""), S("resources"))),
                        "[{\"uri\":\"file:///root/a%20b.md\",\"name\":\"a b.md\",\"title\":\"a "
                        "b.md\",\"mimeType\":\"text/markdown\"},"
                        "{\"uri\":\"file:///root/d/e\",\"name\":\"e\",\"title\":\"d/"
                        "e\",\"mimeType\":\"application/octet-stream\"}]");
    open_with(ALL ",'resources':1");
    assert_int_equal(json_count(json_get(resources(""), S("resources"))), 1);
    assert_null(json_get(resources(""), S("nextCursor")));
}

static void resources_come_in_pages(void **state) {
    open_with(ALL ",'resources':5500");
    for (int i = 0; i < 5600; i++)
        put_file(at("root/%04d", i), "");
    size_t n = 0;
    const char *cursor = "";
    for (int pages = 0; pages < 4; pages++) {
        json page = resources(cursor);
        n += json_count(json_get(page, S("resources")));
        if (!json_get(page, S("nextCursor")))
            break;
        cursor = member(page, "nextCursor");
    }
    assert_int_equal(n, 5500);
}

static const char *read_resource(const char *uri, bool *failed) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct call_ctx c = { .arena = &arena };
    server_resource_read(&filesystem_server, self, &c, str_of(uri), &out, failed);
    return arena_text(&arena, buf_view(&out));
}

static void a_resource_is_text_or_blob(void **state) {
    bool failed;
    put_file(at("root/a b.md"), "x");
    put_bytes(at("root/b"), "\xff", 1);
    assert_string_equal(read_resource("file:///root/a%20b.md", &failed),
                        "{\"contents\":[{\"uri\":\"file:///root/a%20b.md\",\"mimeType\":\"text/"
                        "markdown\",\"text\":\"x\"}]}");
    assert_non_null(strstr(read_resource("file:///root/b", &failed), "\"blob\":\"/w==\""));
    assert_false(failed);
    const char *missing[] = { "file:///root/none", "file:///root/%2e%2e/outside/secret", "https://root/b", "file:///root/b%2f",
                              "file:///etc/passwd", "file:///root/link" };
    assert_int_equal(symlink(at("outside/secret"), at("root/link")), 0);
    for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
        const char *answer = read_resource(missing[i], &failed);
        if (!failed || strstr(answer, SECRET))
            fail_msg("%s: %s", missing[i], answer);
    }
    assert_non_null(strstr(read_resource("file:///root/none", &failed), "-32002")); /* P-211 */
}

static const char *complete(const char *argument, const char *value, const char *context) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct call_ctx c = { .arena = &arena };
    bool failed;
    struct str params = arena_fmt(
        &arena,
        "{\"ref\":{\"type\":\"ref/resource\",\"uri\":\"file:///{root}/{+path}\"},"
        "\"argument\":{\"name\":\"%s\",\"value\":\"%s\"}%s}",
        argument, value, context);
    server_complete(&filesystem_server, self, &c, params, &out, &failed);
    assert_false(failed);
    return arena_text(&arena, buf_view(&out));
}

static void template_arguments_are_completed(void **state) {
    mkdir(at("root/docs"), 0755);
    put_file(at("root/docs/a.md"), "");
    put_file(at("root/do"), "");
    assert_string_equal(complete("root", "r", ""),
                        "{\"completion\":{\"values\":[\"root\"],\"total\":1,\"hasMore\":false}}");
    assert_string_equal(
        complete("path", "do", ",\"context\":{\"arguments\":{\"root\":\"root\"}}"),
        "{\"completion\":{\"values\":[\"do\",\"docs/\"],\"total\":2,\"hasMore\":false}}");
    assert_string_equal(
        complete("path", "docs/", ""),
        "{\"completion\":{\"values\":[\"docs/a.md\"],\"total\":1,\"hasMore\":false}}");
    assert_string_equal(complete("path", "../outside/", ""),
                        "{\"completion\":{\"values\":[],\"total\":0,\"hasMore\":false}}");
    assert_string_equal(complete("path", "d", ",\"context\":{\"arguments\":{\"root\":\"other\"}}"),
                        "{\"completion\":{\"values\":[],\"total\":0,\"hasMore\":false}}");
}

static void temporary_files_of_killed_writers_are_removed(void **state) {
    const char *left = at("root/.gatespan-0123456789abcdef.tmp"),
               *tree = at("root/.gatespan-fedcba9876543210.tmp");
    put_file(left, "half");
    mkdir(tree, 0755);
    put_file(at("root/.gatespan-fedcba9876543210.tmp/x"), "half");
    put_file(at("root/.gatespan-notours.tmp"), "stays");
    assert_error("read_text", "{'path':'root/.gatespan-0123456789abcdef.tmp'}", "temporary file");
    assert_string_equal(paths_of(result_of("search", "{'pattern':'*.tmp'}")),
                        "root/.gatespan-notours.tmp");
    resources("");
    assert_false(is_there(left) || is_there(tree));
    assert_true(is_there(at("root/.gatespan-notours.tmp")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(an_edit_replaces_and_shows_the_difference),
        TEST(a_dry_run_changes_nothing),
        TEST(edits_are_made_all_or_none),
        TEST(lines_with_carriage_returns_are_met),
        TEST(things_are_moved_and_nothing_is_lost),
        TEST(copies_are_whole),
        TEST(a_directory_is_deleted_only_when_it_is_said),
        TEST(a_tree_beyond_the_limit_stays_whole),
        TEST(what_is_nested_too_deeply_is_refused),
        TEST(names_are_found_by_globs),
        TEST(content_is_found_by_text_or_expression),
        TEST(a_search_says_what_stopped_it),
        TEST(an_expression_cannot_take_forever),
        TEST(a_long_line_is_no_way_around_the_clock),
        TEST(files_are_listed_as_resources),
        TEST(resources_come_in_pages),
        TEST(a_resource_is_text_or_blob),
        TEST(template_arguments_are_completed),
        TEST(temporary_files_of_killed_writers_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
