/* conf_file_test.c - configuration files: YAML, JSON with comments, expansion, places. */
#include "base/mem.h"
#include "control/conf_tree.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena arena;

static struct str test_variable(void *arg, struct str name) {
    static const struct {
        struct str name, value;
    } variables[] = {
        { S_INIT("TOKEN"), S_INIT("hunter2") }, { S_INIT("PORT"), S_INIT("8080") },
        { S_INIT("EMPTY"), S_INIT("") },        { S_INIT("ODD"), S_INIT("a\"b\\c\n${TOKEN}") },
        { S_INIT("BYTES"), S_INIT("a\xff") },   { S_INIT("HOME"), S_INIT("/home/ada") },
    };
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        if (str_eq(variables[i].name, name))
            return variables[i].value;
    return (struct str){ 0 };
}

static err_t test_input(void *arg, json root, struct str id, struct arena *a, struct str *out) {
    json input = json_at(json_get(root, S("inputs")), 0);
    if (!str_eq(json_get_text(input, S("id")), id))
        return ERR(NOT_FOUND, "no input \"%.*s\" is described", STR(id));
    *out = S("answer");
    return OK;
}

static const struct conf_expand expand = { .variable = test_variable, .input = test_input };

static int set_up(void **state) {
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    arena_done(&arena);
    return 0;
}

static struct conf_file *parsed(const char *text) {
    struct conf_file *f = NULL;
    err_t e = conf_file_parse(&arena, S("c.conf"), str_of(text), &expand, &f);
    if (e)
        fail_msg("%s: %s", text, e->text);
    return f;
}

static void assert_json(const char *text, const char *want) {
    struct conf_file *f = parsed(text);
    SCOPED(buf_done) struct buf out = { 0 };
    json_write(&out, conf_file_root(f));
    assert_string_equal(buf_text(&out), want);
    assert_int_equal(conf_file_problems(f)->n, 0);
}

static void assert_refused(const char *text, const char *want) {
    struct conf_file *f = NULL;
    err_t e = conf_file_parse(&arena, S("c.conf"), str_of(text), &expand, &f);
    if (!e)
        fail_msg("accepted: %s", text);
    assert_int_equal(e->kind, ERR_INVALID);
    assert_string_equal(e->text, want);
    assert_null(f);
}

static void print(struct conf_file *f, struct buf *out) {
    struct conf_tree *t = conf_tree_new(&arena);
    conf_tree_put_file(t, f);
    *conf_tree_problems(t) = *conf_file_problems(f);
    assert_null(conf_tree_finish(t));
    conf_tree_print(t, out);
}

static void assert_printed(struct conf_file *f, const char *want) {
    SCOPED(buf_done) struct buf out = { 0 };
    print(f, &out);
    assert_string_equal(buf_text(&out), want);
}

static void assert_position(struct conf_file *f, json v, unsigned line, unsigned column) {
    assert_non_null(v);
    struct conf_pos at = conf_file_position(f, v);
    assert_int_equal(at.line, line);
    assert_int_equal(at.column, column);
}

/* ---- YAML -------------------------------------------------------------------------- */

static void yaml_becomes_json(void **state) {
    assert_json("a: 1\nb:\n  - x\n  - y: [1, {z: }]\n  -\n    - deep\nc: {}\nd: []\n",
                "{\"a\":1,\"b\":[\"x\",{\"y\":[1,{\"z\":null}]},[\"deep\"]],\"c\":{},\"d\":[]}");
    assert_json("- 1\n- two\n", "[1,\"two\"]");
    assert_json("plain", "\"plain\"");
    assert_json("a: |\n  one\n  two\nb: >-\n  one\n  two\n",
                "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\"}");
}

static void empty_files_are_null(void **state) {
    assert_json("", "null");
    assert_json("# nothing here\n", "null");
    assert_json("---\n...\n", "null");
    assert_position(parsed(""), conf_file_root(parsed("")), 0, 0);
}

static void scalars_follow_the_core_schema(void **state) {
    static const char *const cases[][2] = {
        { "null", "null" }, { "~", "null" }, { "Null", "null" }, { "nULL", "\"nULL\"" },
        { "true", "true" }, { "FALSE", "false" }, { "tRUE", "\"tRUE\"" },
        { "yes", "\"yes\"" }, { "no", "\"no\"" }, { "on", "\"on\"" }, { "y", "\"y\"" },
        { "0", "0" }, { "-12", "-12" }, { "+12", "12" }, { "0x1F", "31" }, { "0o17", "15" }, { "-0x1", "\"-0x1\"" },
        { "1.50", "1.50" }, { ".5", "0.5" }, { "-.5e3", "-0.5e3" }, { "5.", "5" }, { "1e3", "1e3" }, { "1E-3", "1e-3" },
        { "12345678901234567890123", "12345678901234567890123" },
        { "0xffffffffffffffffff", "\"0xffffffffffffffffff\"" }, { "0x", "\"0x\"" }, { "0o8", "\"0o8\"" },
        { "1_000", "\"1_000\"" }, { "1.2.3", "\"1.2.3\"" }, { "2026-07-28", "\"2026-07-28\"" }, { "12:30", "\"12:30\"" },
        { "1e", "\"1e\"" }, { "-", "[null]" }, { "+", "\"+\"" }, { ".", "\".\"" }, { "e3", "\"e3\"" }, { "0b1", "\"0b1\"" },
        { "'1'", "\"1\"" }, { "\"true\"", "\"true\"" }, { "!!str 1", "\"1\"" }, { "! '1'", "\"1\"" }, { "''", "\"\"" },
        { "\"\\u00e9\\t\"", "\"\xc3\xa9\\t\"" }, { "30s", "\"30s\"" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_json(cases[i][0], cases[i][1]);
}

static void what_json_cannot_say_is_refused(void **state) {
    assert_refused("a: .inf", "c.conf:1:4: infinity and not-a-number cannot be used here");
    assert_refused("- 1\n- .NaN", "c.conf:2:3: infinity and not-a-number cannot be used here");
    assert_refused(
        "mode: 0644",
        "c.conf:1:7: a number with leading zeros: quote it if it is a text, else drop them");
    assert_refused("a: !thing 1", "c.conf:1:4: tags other than !!str cannot be used here");
    assert_refused("!!set {a: }", "c.conf:1:1: tags other than !!map cannot be used here");
    assert_json("!!map {a: !!seq [0.5]}", "{\"a\":[0.5]}");
}

static void keys_must_be_texts_given_once(void **state) {
    assert_refused("8080: x", "c.conf:1:1: a key must be a text: write \"8080\" in quotes");
    assert_refused("a:\n  true: x", "c.conf:2:3: a key must be a text: write \"true\" in quotes");
    assert_refused("? [a]\n: b", "c.conf:1:3: a key must be a text");
    assert_refused("? {a: b}\n: c", "c.conf:1:3: a key must be a text");
    assert_refused("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n",
                   "c.conf:5:3: key \"c\" stands at line 3 column 3 already");
    assert_refused("a: 1\n\"\\x61\": 2", "c.conf:2:1: key \"a\" stands at line 1 column 1 already");
    assert_refused("a: &x {b: 1}\nc:\n  <<: *x\n",
                   "c.conf:3:3: merge keys are not supported: write the members out");
    assert_json("'8080': x\n\"<<\": y\nyes: z\n", "{\"8080\":\"x\",\"<<\":\"y\",\"yes\":\"z\"}");
    assert_json("a: {k: 1}\nb: {k: 1}\n", "{\"a\":{\"k\":1},\"b\":{\"k\":1}}");
}

static void syntax_errors_name_line_and_column(void **state) {
    assert_refused("a: 1\nb: [1, 2\nc: 3\n",
                   "c.conf:3:2: did not find expected ',' or ']' (while parsing a flow "
                   "sequence that starts at line 2)");
    assert_refused(
        "a:\n\t- b\n",
        "c.conf:2:1: found character that cannot start any token (while scanning for the "
        "next token that starts at line 2)");
    assert_refused("a: 1\n---\nb: 2\n", "c.conf:2:1: a second document: one file holds one");
    struct conf_file *f = NULL;
    assert_non_null(conf_file_parse(&arena, S("c"), S("a: \xff"), NULL, &f));
    assert_non_null(conf_file_parse(&arena, S("c"), str_from("a: \0b", 5), NULL, &f));
}

static void anchors_are_copied(void **state) {
    assert_json("a: &x {k: [1, &y two]}\nb: *x\nc: [*y, *x]\n",
                "{\"a\":{\"k\":[1,\"two\"]},\"b\":{\"k\":[1,\"two\"]},\"c\":[\"two\",{\"k\":[1,"
                "\"two\"]}]}");
    assert_json("- &x 1\n- &x 2\n- *x\n", "[1,2,2]");
    assert_refused("a: *x", "c.conf:1:4: alias *x has no anchor before it");
    assert_refused("a: &x [1, *x]", "c.conf:1:11: alias *x stands inside its own anchor");
}

static void aliases_cannot_blow_up(void **state) {
    SCOPED(buf_done) struct buf text = { 0 };
    buf_str(&text, S("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"));
    for (int i = 1; i < 12; i++) {
        buf_fmt(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            buf_fmt(&text, "%s*a%d", k ? ", " : "", i - 1);
        buf_str(&text, S("]\n"));
    }
    struct conf_file *f = NULL;
    err_t e = conf_file_parse(&arena, S("c"), buf_view(&text), NULL, &f);
    assert_non_null(e);
    assert_non_null(strstr(e->text, "aliases make the document too large"));
}

static void depth_is_limited(void **state) {
    char text[200];
    struct conf_file *f = NULL;
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_non_null(parsed("x"));
    assert_null(conf_file_parse(&arena, S("c"), str_from(text + 1, 128), NULL, &f));
    err_t e = conf_file_parse(&arena, S("c"), str_from(text, 130), NULL, &f);
    assert_non_null(e);
    assert_string_equal(e->text, "c:1:65: nested deeper than 64 levels");
    SCOPED(buf_done) struct buf deep = { 0 };
    buf_str(
        &deep,
        S("- &a "
          "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n- "));
    buf_str(&deep, S("[[[[[[[[[[[[[[[[[[[[[[[[[[[*a]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"));
    e = conf_file_parse(&arena, S("c"), buf_view(&deep), NULL, &f);
    assert_non_null(e);
    assert_string_equal(e->text, "c:2:30: nested deeper than 64 levels");
}

static void big_files_are_refused(void **state) {
    struct str big = { arena_zero(&arena, 4194305), 4194305 };
    memset((char *)(uintptr_t)big.p, '#', big.n);
    struct conf_file *f = NULL;
    assert_null(conf_file_parse(&arena, S("c"), str_head(big, 4194304), NULL, &f));
    err_t e = conf_file_parse(&arena, S("c"), big, NULL, &f);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_TOO_LARGE);
}

/* ---- JSON -------------------------------------------------------------------------- */

static void json_may_have_comments_and_trailing_commas(void **state) {
    assert_json(
        "// head\n{\n  /* one */ \"a\": [1, 2, /* last */ ], // tail\n  \"b\": \"//no,]\",\n}\n",
        "{\"a\":[1,2],\"b\":\"//no,]\"}");
    assert_json("\xEF\xBB\xBF { \"a\": {\"b\":[],} } /**/", "{\"a\":{\"b\":[]}}");
    assert_json("{\"a\":\"x\\\"/*\",}", "{\"a\":\"x\\\"/*\"}");
    assert_json("{}//", "{}");
}

static void broken_json_names_line_and_column(void **state) {
    struct conf_file *f = NULL;
    static const char *const cases[][2] = {
        { "{,}", "c:1:2: " }, { "{\"a\":[,]}", "c:1:7: " }, { "{\"a\":1,,}", "c:1:8: " }, { "{\"a\":,}", "c:1:6: " },
        { "{\n/* open", "c:2:1: this comment is never closed" }, { "{\"a\" 1}", "c:1:6: " }, { "{\"a", "c:1:" },
        { "{\"a\":1,\n \"a\":2}", "c:2:2: duplicate key \"a\"" }, { "{} {}", "c:1:4: " }, { "{a: 1}", "c:1:2: " },
        { "{ / }", "c:1:3: " }, { "/* \xc3\xa9 */ {\"\xc3\xa9\": nul}", "c:1:15: " },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        err_t e = conf_file_parse(&arena, S("c"), str_of(cases[i][0]), NULL, &f);
        if (!e)
            fail_msg("accepted: %s", cases[i][0]);
        if (strncmp(e->text, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("%s gives %s", cases[i][0], e->text);
    }
}

/* ---- places ------------------------------------------------------------------------ */

static void values_know_their_place(void **state) {
    struct conf_file *f = parsed(
        "# c\nservers:\n  files:\n    port: 1\n    args: [-v, \"two\"]\n  list:\n    - name: x\n");
    json root = conf_file_root(f), servers = json_get(root, S("servers"));
    json files = json_get(servers, S("files"));
    assert_position(f, root, 2, 1);
    assert_position(f, servers, 2, 1);
    assert_position(f, files, 3, 3);
    assert_position(f, json_get(files, S("port")), 4, 11);
    assert_position(f, json_at(json_get(files, S("args")), 1), 5, 16);
    json item = json_at(json_get(servers, S("list")), 0);
    assert_position(f, item, 7, 7);
    assert_position(f, json_get(item, S("name")), 7, 13);
    assert_int_equal(conf_file_position(f, NULL).line, 0);
}

static void json_values_know_their_place(void **state) {
    struct conf_file *f = parsed(
        "{ // c\n  \"\xc3\xa9\": {\"k\" : -1,\n  \"l\":[ \"x\", {} ] }, \"t\":true }");
    json root = conf_file_root(f), inner = json_get(root, S("\xc3\xa9"));
    assert_position(f, root, 1, 1);
    assert_position(f, inner, 2, 3);
    assert_position(f, json_get(inner, S("k")), 2, 15);
    assert_position(f, json_get(inner, S("l")), 3, 3);
    assert_position(f, json_at(json_get(inner, S("l")), 0), 3, 9);
    assert_position(f, json_at(json_get(inner, S("l")), 1), 3, 14);
    assert_position(f, json_get(root, S("t")), 3, 26);
}

static void places_survive_expansion_and_aliases(void **state) {
    struct conf_file *f = parsed("a: &x [\"${TOKEN}\", 2]\nb: *x\nc: ${PORT}\n");
    json root = conf_file_root(f);
    assert_position(f, json_at(json_get(root, S("b")), 1), 1, 20);
    assert_position(f, json_get(root, S("c")), 3, 4);
    assert_true(str_eq(json_text(json_get(root, S("c"))), S("8080")));
}

struct conf {
    int64_t port;
    struct str token, name;
};
static const struct field rows[] = {
    FIELD(struct conf, port, INT, "1", "1..65535", 0, "Port."),
    FIELD(struct conf, token, SECRET, NULL, "..4", 0, "Token."),
    FIELD(struct conf, name, STR, NULL, NULL, FIELD_REQUIRED, "Name."),
};
struct outer {
    struct conf inner;
};
static const struct field outer_rows[] = {
    FIELD_NEST(struct outer, inner, OBJECT, rows, struct conf, 0, "Inner."),
};

static struct outer read_rows(struct conf_file *f) {
    struct outer out;
    field_defaults(outer_rows, 1, &out, &arena);
    field_read(outer_rows, 1, conf_file_root(f), S(""), &out, &arena, conf_file_problems(f));
    return out;
}

static void expanded_text_is_read_as_numbers(void **state) {
    struct conf_file *f = parsed("inner:\n  port: ${PORT}\n  name: n\n");
    assert_int_equal(read_rows(f).inner.port, 8080);
    assert_int_equal(conf_file_problems(f)->n, 0);
}

static void problems_print_where_they_are(void **state) {
    struct conf_file *f = parsed("inner:\n  token: ${TOKEN}\n  prot: 1\n  port: ${TOKEN}\n");
    read_rows(f);
    assert_printed(f, "c.conf:1:1: inner.name: is missing: a text\n"
                      "c.conf:2:10: inner.token: must be a text of at most 4 characters\n"
                      "c.conf:3:9: inner.prot: is unknown; did you mean \"port\"?\n"
                      "c.conf:4:9: inner.port: must be an integer from 1 to 65535\n");
}

static void a_value_is_complained_about_once(void **state) {
    struct conf_file *f = parsed("inner:\n  name: n\n  port: ${NOPE}\n");
    read_rows(f);
    assert_int_equal(conf_file_problems(f)->n, 2);
    assert_printed(f, "c.conf:3:9: inner.port: variable NOPE is not set; set it, or write "
                      "${NOPE:-…} with a default\n");
}

static void problems_without_room_are_counted(void **state) {
    SCOPED(buf_done) struct buf text = { 0 }, out = { 0 };
    for (int i = 0; i < 40; i++)
        buf_fmt(&text, "- ${NOPE%d}\n", i);
    struct conf_file *f = parsed(buf_text(&text));
    print(f, &out);
    assert_non_null(strstr(buf_text(&out), "c.conf:32:3: [31]: variable NOPE31 is not set"));
    assert_true(str_ends(buf_view(&out), S("\nand 8 more\n")));
}

/* ---- expansion --------------------------------------------------------------------- */

static void variables_expand_in_strings(void **state) {
    assert_json("a: ${TOKEN}\nb: x-${env:PORT}-${PORT}\nc: [\"${TOKEN}\"]\nTOKEN: 1\n",
                "{\"a\":\"hunter2\",\"b\":\"x-8080-8080\",\"c\":[\"hunter2\"],\"TOKEN\":1}");
    assert_json("{\"a\":\"${NOPE:-d "
                "e}\",\"b\":\"${EMPTY:-d}\",\"c\":\"${EMPTY}\",\"d\":\"${env:TOKEN:-d}\",\"e\":\"${"
                "NOPE:-}\"}",
                "{\"a\":\"d e\",\"b\":\"d\",\"c\":\"\",\"d\":\"hunter2\",\"e\":\"\"}");
}

static void dollars_can_be_written(void **state) {
    assert_json("a: $$TOKEN $${TOKEN} $5 $ $$\nb: '$'\n",
                "{\"a\":\"$TOKEN ${TOKEN} $5 $ $\",\"b\":\"$\"}");
}

static void expansion_is_not_repeated_and_stays_a_string(void **state) {
    assert_json("a: ${ODD}", "{\"a\":\"a\\\"b\\\\c\\n${TOKEN}\"}");
}

static void keys_do_not_expand(void **state) {
    assert_json("'${TOKEN}': 1", "{\"${TOKEN}\":1}");
}

static void inputs_are_asked_from_the_caller(void **state) {
    assert_json("{\"inputs\":[{\"id\":\"key\"}],\"k\":\"${input:key}!\"}",
                "{\"inputs\":[{\"id\":\"key\"}],\"k\":\"answer!\"}");
    assert_printed(parsed("{\"inputs\":[],\n\"k\":\"${input:key}\"}"),
                   "c.conf:2:5: k: no input \"key\" is described\n");
    struct conf_file *f = NULL;
    assert_null(conf_file_parse(&arena, S("c.conf"), S("k: ${input:key}"), NULL, &f));
    assert_printed(f, "c.conf:1:4: k: input \"key\" cannot be asked for here\n");
}

static void words_of_vs_code_are_known(void **state) {
    assert_json("a: ${userHome}${/}x${pathSeparator}", "{\"a\":\"/home/ada/x/\"}");
}

static void what_cannot_expand_is_a_problem(void **state) {
    assert_printed(parsed("a:\n  - b: x\n  - b.c: ${NOPE} and ${NOPE2}\n"),
                   "c.conf:3:10: a[1].\"b.c\": variable NOPE is not set; set it, or write "
                   "${NOPE:-…} with a default\n");
    assert_printed(parsed("a: ${TOKEN"),
                   "c.conf:1:4: a: \"${\" is never closed; write $$ for a dollar\n");
    assert_printed(parsed("a: '${A:-${TOKEN}}'"), "c.conf:1:4: a: ${…} cannot stand inside ${…}\n");
    assert_printed(parsed("a: ${vault:x}"),
                   "c.conf:1:4: a: ${vault:…} is not built yet; use ${file:…} or a variable\n");
    static const char *const odd[] = { "a: ${}", "a: ${1A}", "a: ${A B}", "a: ${command:x}",
                                       "a: ${:-x}" };
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
        assert_printed(
            parsed(odd[i]),
            "c.conf:1:4: a: what stands in ${…} is no name of a variable; write $$ for a dollar\n");
    assert_printed(parsed("a: ${BYTES}"),
                   "c.conf:1:4: a: expands to bytes that are no UTF-8 text\n");
    assert_true(str_eq(json_get_text(conf_file_root(parsed("a: ${NOPE}")), S("a")), S("${NOPE}")));
}

/* ---- files ------------------------------------------------------------------------- */

static char folder[64];

static struct str file_with(const char *name, struct str content) {
    struct str path = arena_fmt(&arena, "%s/%s", folder, name);
    FILE *f = fopen(arena_text(&arena, path), "w");
    assert_non_null(f);
    fwrite(content.p, 1, content.n, f);
    fclose(f);
    return path;
}

static int make_folder(void **state) {
    strcpy(folder, "/tmp/conf_file_test.XXXXXX");
    return set_up(state) || !mkdtemp(folder);
}

static int drop_folder(void **state) {
    static const char *const names[] = { "c.yaml", "secret", "big" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unlink(arena_text(&arena, arena_fmt(&arena, "%s/%s", folder, names[i])));
    rmdir(folder);
    return tear_down(state);
}

static void files_are_loaded_with_their_secrets(void **state) {
    file_with("secret", S("hunter2\n\n"));
    struct str path = file_with("c.yaml",
                                S("a: ${file:secret}\nb: ${file:nope}\nc: ${workspaceFolder}\n"));
    struct conf_file *f = NULL;
    assert_null(conf_file_load(&arena, path, &expand, &f));
    assert_true(str_eq(conf_file_path(f), path));
    json root = conf_file_root(f);
    assert_true(str_eq(json_get_text(root, S("a")), S("hunter2\n")));
    assert_true(str_eq(json_get_text(root, S("c")), str_of(folder)));
    struct str want = arena_fmt(
        &arena, "%.*s:2:4: b: cannot read %s/nope: No such file or directory\n", STR(path), folder);
    assert_printed(f, arena_text(&arena, want));
}

static void secrets_in_files_have_a_limit(void **state) {
    struct str big = { arena_zero(&arena, 1048577), 1048577 };
    memset((char *)(uintptr_t)big.p, 'x', big.n);
    file_with("big", big);
    struct conf_file *f = NULL;
    assert_null(conf_file_load(&arena, file_with("c.yaml", S("a: ${file:big}")), &expand, &f));
    assert_int_equal(conf_file_problems(f)->errors, 1);
    assert_true(str_find(conf_file_problems(f)->items[0].message, S("larger than 1024 KiB")) > 0);
}

static void missing_files_are_named(void **state) {
    struct conf_file *f = NULL;
    err_t e = conf_file_load(&arena, arena_fmt(&arena, "%s/none.yaml", folder), &expand, &f);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_NOT_FOUND);
    assert_non_null(strstr(e->text, "none.yaml: No such file"));
    assert_non_null(conf_file_load(&arena, str_of(folder), &expand, &f));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define F(name) cmocka_unit_test_setup_teardown(name, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        T(yaml_becomes_json),
        T(empty_files_are_null),
        T(scalars_follow_the_core_schema),
        T(what_json_cannot_say_is_refused),
        T(keys_must_be_texts_given_once),
        T(syntax_errors_name_line_and_column),
        T(anchors_are_copied),
        T(aliases_cannot_blow_up),
        T(depth_is_limited),
        T(big_files_are_refused),
        T(json_may_have_comments_and_trailing_commas),
        T(broken_json_names_line_and_column),
        T(values_know_their_place),
        T(json_values_know_their_place),
        T(places_survive_expansion_and_aliases),
        T(expanded_text_is_read_as_numbers),
        T(problems_print_where_they_are),
        T(a_value_is_complained_about_once),
        T(problems_without_room_are_counted),
        T(variables_expand_in_strings),
        T(dollars_can_be_written),
        T(expansion_is_not_repeated_and_stays_a_string),
        T(keys_do_not_expand),
        T(inputs_are_asked_from_the_caller),
        T(words_of_vs_code_are_known),
        T(what_cannot_expand_is_a_problem),
        F(files_are_loaded_with_their_secrets),
        F(secrets_in_files_have_a_limit),
        F(missing_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
