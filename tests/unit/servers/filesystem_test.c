#include "filesystem_fixture.h"

/* ---- reading ----------------------------------------------------------------------- */

static void a_text_is_read_whole(void **state) {
    put_file(at("root/a.txt"), "one\ntwo\nthree\n");
    json answer = call("read_text", "{'path':'root/a.txt'}");
    json r = json_get(answer, S("structuredContent"));
    assert_string_equal(text_of(answer), "one\ntwo\nthree\n");
    assert_string_equal(member(r, "content"), "one\ntwo\nthree\n");
    assert_string_equal(member(r, "path"), "root/a.txt");
    assert_int_equal(INT_OF(r, "size"), 14);
    assert_int_equal(INT_OF(r, "total_lines"), 3);
    assert_false(IS_TRUE(r, "truncated"));
    assert_null(json_get(r, S("next_offset")));
}

static void parts_of_a_text_are_lines_or_bytes(void **state) {
    put_file(at("root/a"), "1\n2\n3\n4\n5");
    assert_string_equal(member(result_of("read_text", "{'path':'root/a','head':2}"), "content"),
                        "1\n2\n");
    assert_string_equal(member(result_of("read_text", "{'path':'root/a','tail':2}"), "content"),
                        "4\n5");
    assert_string_equal(member(result_of("read_text", "{'path':'root/a','tail':99}"), "content"),
                        "1\n2\n3\n4\n5");
    json r = result_of("read_text", "{'path':'root/a','first_line':2,'last_line':3}");
    assert_string_equal(member(r, "content"), "2\n3\n");
    assert_int_equal(INT_OF(r, "last_line"), 3);
    assert_int_equal(INT_OF(r, "next_offset"), 6);
    r = result_of("read_text", "{'path':'root/a','first_line':4}");
    assert_string_equal(member(r, "content"), "4\n5");
    assert_int_equal(INT_OF(r, "total_lines"), 5);
    assert_string_equal(
        member(result_of("read_text", "{'path':'root/a','offset':2,'length':3}"), "content"),
        "2\n3");
    assert_error("read_text", "{'path':'root/a','head':1,'tail':1}", "exclude each other");
    assert_error("read_text", "{'path':'root/a','first_line':9}", "only 5 lines");
    assert_error("read_text", "{'path':'root/a','first_line':3,'last_line':2}", "last_line");
}

static void a_long_text_comes_in_parts_that_make_the_whole(void **state) {
    SCOPED(buf_done) struct buf whole = { 0 };
    SCOPED(buf_done) struct buf seen = { 0 };
    open_with(ALL ",'max_read':'1KiB'");
    for (int i = 0; i < 400; i++)
        buf_fmt(&whole, "line %d h\xc3\xa4\n", i);
    put_bytes(at("root/long"), whole.p, whole.n);
    for (int offset = 0, i = 0; i < 20; i++) {
        char args[100];
        snprintf(args, sizeof args, "{'path':'root/long','offset':%d}", offset);
        json r = result_of("read_text", args);
        buf_str(&seen, json_get_text(r, S("content")));
        assert_true(json_get_text(r, S("content")).n <= 1024);
        if (!json_get(r, S("next_offset")))
            break;
        assert_true(IS_TRUE(r, "truncated"));
        offset = INT_OF(r, "next_offset");
    }
    assert_true(str_eq(buf_view(&seen), buf_view(&whole)));
    json r = result_of("read_text", "{'path':'root/long','tail':1000}");
    assert_true(IS_TRUE(r, "truncated"));
    assert_true(str_ends(json_get_text(r, S("content")), S("line 399 h\xc3\xa4\n")));
}

static void a_cut_never_splits_a_character(void **state) {
    put_file(at("root/u"), "\xc3\xa4\xc3\xb6\xc3\xbc");
    json r = result_of("read_text", "{'path':'root/u','offset':1,'length':4}");
    assert_string_equal(member(r, "content"), "\xc3\xb6");
    assert_int_equal(INT_OF(r, "offset"), 2);
    assert_int_equal(INT_OF(r, "next_offset"), 4);
}

static void what_is_no_utf8_is_said_so(void **state) {
    put_bytes(at("root/latin1"), "caf\xe9", 4);
    put_bytes(at("root/wide"),
              "\xff\xfe"
              "a\0",
              4);
    put_bytes(at("root/nul"), "a\0b", 3);
    assert_error("read_text", "{'path':'root/latin1'}", "not UTF-8 text");
    assert_error("read_text", "{'path':'root/wide'}", "UTF-16");
    assert_error("read_text", "{'path':'root/nul'}", "NUL bytes");
    put_file(at("root/empty"), "");
    assert_string_equal(member(result_of("read_text", "{'path':'root/empty'}"), "content"), "");
}

static void media_come_with_their_type(void **state) {
    put_bytes(at("root/p.bin"), "\x89PNG\r\n\x1a\nrest", 12);
    json block = json_at(json_get(call("read_media", "{'path':'root/p.bin'}"), S("content")), 1);
    assert_string_equal(member(block, "type"), "image");
    assert_string_equal(member(block, "mimeType"), "image/png");
    assert_string_equal(member(block, "data"), "iVBORw0KGgpyZXN0");
    put_file(at("root/s.mp3"), "ID3x");
    block = json_at(json_get(call("read_media", "{'path':'root/s.mp3'}"), S("content")), 1);
    assert_string_equal(member(block, "type"), "audio");
    put_file(at("root/x y.zip"), "PK");
    block = json_at(json_get(call("read_media", "{'path':'root/x y.zip'}"), S("content")), 1);
    assert_string_equal(
        compact(json_get(block, S("resource"))),
        "{\"uri\":\"file:///root/x%20y.zip\",\"mimeType\":\"application/zip\",\"blob\":\"UEs=\"}");
    open_with(ALL ",'max_media':'1KiB'");
    assert_int_equal(truncate(at("root/x y.zip"), 1025), 0);
    assert_error("read_media", "{'path':'root/x y.zip'}", "more than the 1024");
}

static void many_files_do_not_disturb_each_other(void **state) {
    put_file(at("root/a"), "A");
    put_file(at("root/b"), "B");
    json r = result_of("read_many", "{'paths':['root/a','root/none','root/b']}");
    json files = json_get(r, S("files"));
    assert_int_equal(INT_OF(r, "failed"), 1);
    assert_string_equal(member(json_at(files, 0), "content"), "A");
    assert_string_equal(member(json_at(files, 1), "error"), "path: root/none does not exist");
    assert_string_equal(member(json_at(files, 2), "content"), "B");
}

/* ---- writing ----------------------------------------------------------------------- */

static void a_file_is_written_and_replaced(void **state) {
    json r = result_of("write", "{'path':'root/new.txt','content':'first'}");
    assert_true(IS_TRUE(r, "created"));
    assert_string_equal(get_file(at("root/new.txt")), "first");
    chmod(at("root/new.txt"), 0640);
    r = result_of("write", "{'path':'root/new.txt','content':'second'}");
    assert_false(IS_TRUE(r, "created"));
    assert_string_equal(get_file(at("root/new.txt")), "second");
    struct stat st;
    assert_int_equal(stat(at("root/new.txt"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_error("write", "{'path':'root/new.txt','content':'x','overwrite':false}",
                 "exists already");
    assert_error("write", "{'path':'root/no/new.txt','content':'x'}", "root/no does not exist");
    result_of("write", "{'path':'root/no/such/new.txt','content':'x','create_parents':true}");
    assert_string_equal(get_file(at("root/no/such/new.txt")), "x");
    assert_error("write", "{'path':'root','content':'x'}", "root itself");
    assert_error("write", "{'path':'root/no','content':'x'}", "is a directory");
}

static void appending_leaves_what_is_there(void **state) {
    result_of("append", "{'path':'root/log','content':'a'}");
    json r = result_of("append", "{'path':'root/log','content':'b'}");
    assert_int_equal(INT_OF(r, "size"), 2);
    assert_string_equal(get_file(at("root/log")), "ab");
    assert_error("append", "{'path':'root/none','content':'x','create':false}", "does not exist");
}

static void a_write_has_a_limit(void **state) {
    open_with(ALL ",'max_write':'1KiB'");
    char big[1300] = "{'path':'root/big','content':'";
    memset(big + 30, 'x', 1100);
    strcpy(big + 1130, "'}");
    assert_error("write", big, "at most 1024");
    assert_null(get_file(at("root/big")));
    put_bytes(at("root/full"), big, 1024);
    assert_error("append", "{'path':'root/full','content':'x'}", "at most 1024");
}

/* Of a sparse file too: it takes no room until it is copied. */
static void a_copy_has_a_limit(void **state) {
    char bytes[700] = { 0 };
    open_with(ALL ",'max_copy':'1KiB'");
    result_of("create_directory", "{'path':'root/tree/b'}");
    put_bytes(at("root/tree/one"), bytes, sizeof bytes);
    assert_int_equal(
        INT_OF(result_of("copy", "{'source':'root/tree','destination':'root/t2','recursive':true}"),
               "bytes"),
        700);
    put_bytes(at("root/tree/b/two"), bytes, sizeof bytes);
    assert_error("copy", "{'source':'root/tree','destination':'root/t3','recursive':true}",
                 "max_copy");
    assert_int_equal(access(at("root/t3"), F_OK), -1);
    assert_int_equal(truncate(at("root/tree/one"), (off_t)1 << 40), 0);
    assert_error("copy", "{'source':'root/tree/one','destination':'root/one'}", "max_copy");
    assert_int_equal(access(at("root/one"), F_OK), -1);
}

static void directories_are_made(void **state) {
    assert_int_equal(INT_OF(result_of("create_directory", "{'path':'root/a/b/c'}"), "created"), 3);
    assert_int_equal(INT_OF(result_of("create_directory", "{'path':'root/a/b/c'}"), "created"), 0);
    put_file(at("root/f"), "");
    assert_error("create_directory", "{'path':'root/f'}", "no directory");
}

/* ---- listing ----------------------------------------------------------------------- */

static void a_directory_is_listed_in_pages(void **state) {
    SCOPED(buf_done) struct buf seen = { 0 };
    for (int i = 0; i < 7; i++)
        put_bytes(at("root/f%d", i), "xxxxxxx", (size_t)((i * 3) % 7));
    mkdir(at("root/dir"), 0755);
    char args[300] = "{'path':'root','limit':3}";
    for (int page = 0; page < 5; page++) {
        json r = result_of("list_directory", args);
        assert_int_equal(INT_OF(r, "total"), 8);
        for (size_t i = 0; i < json_count(json_get(r, S("entries"))); i++)
            buf_fmt(&seen, "%s ", member(json_at(json_get(r, S("entries")), i), "name"));
        if (!json_get(r, S("next_cursor")))
            break;
        snprintf(args, sizeof args, "{'path':'root','limit':3,'cursor':'%s'}",
                 member(r, "next_cursor"));
    }
    assert_string_equal(buf_text(&seen), "dir f0 f1 f2 f3 f4 f5 f6 ");
    json r = result_of("list_directory", "{'path':'root','sort':'size','limit':2}");
    json entries = json_get(r, S("entries"));
    assert_string_equal(member(json_at(entries, 0), "name"), "f2");
    assert_int_equal(INT_OF(json_at(entries, 0), "size"), 6);
    assert_string_equal(member(json_at(entries, 1), "name"), "f4");
    assert_error("list_directory", "{'path':'root','cursor':'!'}",
                 "cursor: is not one of this tool");
    assert_error("list_directory", "{'path':'root/f1'}", "no directory");
    assert_error("list_directory", "{'path':'root/none'}", "does not exist");
}

static void stat_tells_without_reading(void **state) {
    put_file(at("root/a.md"), "# x");
    json r = result_of("stat", "{'path':'root/a.md'}");
    assert_string_equal(member(r, "type"), "file");
    assert_string_equal(member(r, "mime_type"), "text/markdown");
    assert_string_equal(member(r, "uri"), "file:///root/a.md");
    assert_string_equal(member(r, "permissions"), "0644");
    assert_string_equal(member(result_of("stat", "{'path':'root'}"), "type"), "directory");
    assert_int_equal(symlink("/etc/passwd", at("root/link")), 0);
    assert_string_equal(member(result_of("stat", "{'path':'root/link'}"), "type"), "symlink");
}

static void roots_are_listed(void **state) {
    json r = result_of("list_roots", "{}");
    assert_string_equal(member(json_at(json_get(r, S("roots")), 0), "name"), "root");
    assert_int_equal(json_count(json_get(r, S("operations"))), 6);
}

static void a_tree_is_drawn(void **state) {
    result_of("write", "{'path':'root/a/b/c.txt','content':'xyz','create_parents':true}");
    result_of("write", "{'path':'root/skip/d','content':'','create_parents':true}");
    json answer = call("tree", "{'path':'root','depth':2,'exclude':['skip']}");
    assert_string_equal(text_of(answer), "root/\n  a/\n    b/\n");
    json r = json_get(answer, S("structuredContent"));
    assert_true(IS_TRUE(r, "deeper"));
    r = result_of("tree", "{'path':'root','exclude':['skip']}");
    assert_string_equal(compact(json_at(json_get(r, S("entries")), 2)),
                        "{\"path\":\"a/b/c.txt\",\"type\":\"file\",\"size\":3}");
    r = result_of("tree", "{'path':'root','limit':1}");
    assert_true(IS_TRUE(r, "truncated"));
    assert_int_equal(json_count(json_get(r, S("entries"))), 1);
}

/* ---- paths ------------------------------------------------------------------------- */

static void a_path_may_be_spelled_in_several_ways(void **state) {
    put_file(at("root/a b"), "x");
    const char *spellings[] = { "root/a b", "/root//a b", "a b",
                                "./a b",    "root/./a b", "file:///root/a%20b" };
    for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
        const char *path = i == 1 ? at("root//a b") : spellings[i];
        result_of("read_text", arena_text(&arena, arena_fmt(&arena, "{'path':'%s'}", path)));
    }
    assert_error("read_text", "{'path':'/etc/passwd'}", "below none of the roots");
    assert_error("read_text", "{'path':'root/../outside/secret'}", "\"..\" is not taken");
    assert_error("read_text", "{'path':'file:///root/%2e%2e/outside/secret'}",
                 "\"..\" is not taken");
    assert_error("read_text", "{'path':'root/a\\u0000b'}", "NUL");
}

/* ---- what is allowed --------------------------------------------------------------- */

static bool is_offered(const char *tool) {
    SCOPED(buf_done) struct buf out = { 0 };
    server_list(&filesystem_server, self, &out);
    struct str want = arena_fmt(&arena, "{\"name\":\"%s\",", tool);
    return str_find(buf_view(&out), want) >= 0;
}

static void operations_that_are_not_allowed_are_not_there(void **state) {
    open_with("'allowed_operations':['read','list']");
    assert_true(is_offered("read_text") && is_offered("tree") && is_offered("list_roots"));
    assert_false(is_offered("write") || is_offered("delete") || is_offered("move") ||
                 is_offered("copy"));
    SCOPED(buf_done) struct buf out = { 0 };
    struct call_ctx c = { .arena = &arena };
    bool failed = false;
    server_call(&filesystem_server, self, &c, S("write"),
                S("{\"path\":\"root/x\",\"content\":\"\"}"), &out, &failed);
    assert_true(failed);
    assert_null(get_file(at("root/x")));
    open_with("'allowed_operations':['list']");
    assert_error("search", "{'content':'x'}", "reading is not allowed");
    assert_null(filesystem_server.resources(self));
}

static void a_read_only_root_stays_as_it_is(void **state) {
    const char *path = at("root");
    put_file(at("root/a"), "x");
    reopen(arena_text(
        &arena,
        arena_fmt(&arena, "{'roots':{'root':{'path':'%s','read_only':true}}," ALL "}", path)));
    const char *calls[][2] = {
        { "write", "{'path':'root/a','content':''}" }, { "append", "{'path':'root/a','content':''}" },
        { "edit", "{'path':'root/a','edits':[{'old_text':'x','new_text':''}]}" },
        { "create_directory", "{'path':'root/d'}" }, { "delete", "{'path':'root/a'}" },
        { "move", "{'source':'root/a','destination':'root/b'}" },
        { "copy", "{'source':'root/a','destination':'root/b'}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        assert_error(calls[i][0], calls[i][1], "read-only");
    assert_string_equal(get_file(at("root/a")), "x");
}

static void wrong_options_are_refused_with_a_reason(void **state) {
    filesystem_server.close(self);
    self = NULL;
    const char *wrong[][2] = {
        { "{'allowed_operations':['fly']}", "allowed_operations[0]" },
        { "{'root_path':'relative'}", "not absolute" },
        { "{'root_path':'/does/not/exist'}", "No such file" },
        { "{'follow_symlinks':true,'hidden_files':false}", "hidden_files" },
        { "{'roots':{'a/b':{'path':'/tmp'}}}", "a name is" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        err_t e = try_open(wrong[i][0]);
        assert_non_null(e);
        if (!strstr(e->text, wrong[i][1]))
            fail_msg("%s", e->text);
    }
    assert_null(try_open("{}")); /* the folder of the data directory */
    result_of("write", "{'path':'files/a','content':'x'}");
    assert_string_equal(get_file(at("data/files/a")), "x");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_text_is_read_whole),
        TEST(parts_of_a_text_are_lines_or_bytes),
        TEST(a_long_text_comes_in_parts_that_make_the_whole),
        TEST(a_cut_never_splits_a_character),
        TEST(what_is_no_utf8_is_said_so),
        TEST(media_come_with_their_type),
        TEST(many_files_do_not_disturb_each_other),
        TEST(a_file_is_written_and_replaced),
        TEST(appending_leaves_what_is_there),
        TEST(a_write_has_a_limit),
        TEST(a_copy_has_a_limit),
        TEST(directories_are_made),
        TEST(a_directory_is_listed_in_pages),
        TEST(stat_tells_without_reading),
        TEST(roots_are_listed),
        TEST(a_tree_is_drawn),
        TEST(a_path_may_be_spelled_in_several_ways),
        TEST(operations_that_are_not_allowed_are_not_there),
        TEST(a_read_only_root_stays_as_it_is),
        TEST(wrong_options_are_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
