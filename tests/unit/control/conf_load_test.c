/* conf_load_test.c - layers of a configuration: merging, places, variables, other names. */
#include "base/mem.h"
#include "control/conf_env.h"
#include "control/conf_load.h"
#include "control/conf_path.h"
#include "servers/planned.h"
#include "servers/server.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SECRET "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

static struct arena arena;
static char path[] = "conf_load_test.XXXXXX";
static const char *set[8]; /* variables of the running test */
static size_t set_count;

static int set_up(void **state) {
    extern char **environ;
    static char *nothing[] = { NULL };
    environ = nothing; /* the machine's own must not count */
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    while (set_count)
        unsetenv(set[--set_count]);
    arena_done(&arena);
    return 0;
}

static void variable(const char *name, const char *value) {
    setenv(name, value, 1);
    set[set_count++] = name;
}

struct loaded {
    struct gateway_conf *conf;
    struct conf_tree *tree;
    const char *report;
    err_t error;
};

static struct loaded load(const char *file, const struct conf_overrides *o) {
    struct loaded l = { 0 };
    SCOPED(buf_done) struct buf report = { 0 };
    int fd = file ? mkstemp(strcpy(path, "conf_load_test.XXXXXX")) : -1;
    if (file)
        assert_int_equal(write(fd, file, strlen(file)), strlen(file));
    l.error = conf_load(&arena, file ? str_of(path) : S(""), o, &l.conf, &l.tree, &report);
    if (file) {
        close(fd);
        unlink(path);
    }
    l.report = arena_text(&arena, buf_view(&report));
    return l;
}

static struct conf_overrides settings(const char *const *texts, size_t n) {
    struct str *items = ARENA_ARRAY(&arena, struct str, n);
    for (size_t i = 0; i < n; i++)
        items[i] = str_of(texts[i]);
    return (struct conf_overrides){ .set = { items, n } };
}
#define SET(...)                                                                                   \
    settings((const char *const[]){ __VA_ARGS__ },                                                 \
             sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static void assert_source(const struct loaded *l, const char *option, const char *want) {
    struct conf_origin from = conf_source(l->tree, str_of(option), &arena);
    struct str text = conf_origin_text(from, &arena);
    if (from.layer == CONF_FILE) /* the name is another each time */
        text = str_skip(text, from.source.n + 1);
    assert_string_equal(arena_text(&arena, text), want);
}

/* ---- rows -------------------------------------------------------------------------- */

static void check_rows(const struct field *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!rows[i].help || !str_ends(str_of(rows[i].help), S(".")))
            fail_msg("%s has no help that is a sentence", rows[i].name);
        if (rows[i].fields)
            check_rows(rows[i].fields, rows[i].count);
    }
}

static void every_row_has_help_and_a_variable_of_its_own(void **state) {
    struct conf_options all = conf_options(gateway_fields, gateway_field_count, &arena);
    check_rows(gateway_fields, gateway_field_count);
    assert_true(all.n > 60);
    for (size_t i = 0; i < all.n; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(all.items[i].variable, all.items[k].variable))
                fail_msg("%.*s and %.*s have one variable", STR(all.items[i].path),
                         STR(all.items[k].path));
}

static void every_name_of_other_systems_is_an_option(void **state) {
    for (size_t i = 0; i < conf_alias_count; i++)
        if (!conf_path_find(gateway_fields, gateway_field_count, NULL, str_of(conf_aliases[i].path))
                 .row)
            fail_msg("%s: there is no option %s", conf_aliases[i].variable, conf_aliases[i].path);
}

static void every_built_in_server_has_a_role_with_a_port(void **state) {
    for (size_t i = 0; i < builtin_count; i++)
        assert_true(planned_port(str_of(builtin_servers[i]->name)) != 0);
    assert_int_equal(planned_port(S("filesystem")), 8501);
    assert_int_equal(planned_port(S("quality")), 8510);
    assert_int_equal(planned_port(S("nothing")), 0);
}

/* ---- paths ------------------------------------------------------------------------- */

static void paths_are_names_with_dots(void **state) {
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {
        { "a", "a|" },         { "a.b", "a|b|" },    { "a.\"b.c\".d", "a|b.c|d|" },
        { "\"a b\"", "a b|" }, { "a..b", NULL },     { "a.", NULL },
        { ".a", NULL },        { "a.\"b", NULL },    { "a.\"\"", NULL },
        { "\"a\"b", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        SCOPED(buf_done) struct buf out = { 0 };
        struct str rest = str_of(cases[i].text), name;
        while (conf_path_next(&rest, &name))
            buf_fmt(&out, "%.*s|", STR(name));
        if (!cases[i].want != !rest.p)
            fail_msg("%s", cases[i].text);
        if (cases[i].want)
            assert_string_equal(buf_text(&out), cases[i].want);
    }
}

/* ---- layers ------------------------------------------------------------------------ */

static void later_layers_win(void **state) {
    variable("MAX_CONCURRENT_REQUESTS", "2");
    variable("GATESPAN_LIMITS_PAGE", "22");
    variable("GATESPAN_LIMITS_SESSIONS", "222");
    struct conf_overrides o = SET("limits.sessions=2222");
    struct loaded l = load("limits:\n  in_flight: 1\n  page: 11\n  sessions: 111\n  headers: 50\n",
                           &o);
    assert_null(l.error);
    assert_int_equal(l.conf->limits.headers, 50);
    assert_int_equal(l.conf->limits.in_flight, 2);
    assert_int_equal(l.conf->limits.page, 22);
    assert_int_equal(l.conf->limits.sessions, 2222);
    assert_source(&l, "limits.headers", "5:12");
    assert_source(&l, "limits.in_flight", "MAX_CONCURRENT_REQUESTS");
    assert_source(&l, "limits.page", "GATESPAN_LIMITS_PAGE");
    assert_source(&l, "limits.sessions", "--set limits.sessions");
    assert_source(&l, "limits.body", "default");
    assert_source(&l, "limits", "1:1");
}

static void objects_are_merged_and_lists_replaced(void **state) {
    variable("GATESPAN_UPSTREAMS", "{\"a\":{\"timeout\":\"9s\",\"allow\":[\"z\"]},\"b\":{\"url\":"
                                   "\"http://b/\"}}");
    struct loaded l = load("upstreams:\n  a:\n    url: http://a/\n    allow: [x, y]\n", NULL);
    assert_null(l.error);
    const struct upstream_conf *u = l.conf->upstreams.items;
    assert_int_equal(l.conf->upstreams.n, 3); /* time too */
    assert_true(str_eq(u[1].name, S("a")) && str_eq(u[2].name, S("b")));
    assert_int_equal(u[1].timeout, 9 * NANOS_SEC);
    assert_int_equal(u[1].allow.n, 1);
    assert_source(&l, "upstreams.a.url", "3:10");
    assert_source(&l, "upstreams.a.allow", "GATESPAN_UPSTREAMS");
    assert_true(str_eq(u[2].source, S("GATESPAN_UPSTREAMS")));
}

static void null_and_a_whole_value_replace(void **state) {
    struct conf_overrides o = SET("limits={\"page\":null}", "upstreams.a=null", "tls=null");
    struct loaded l = load("limits: {page: 5, headers: 60}\nupstreams: {a: {url: 'http://a/'}}\n",
                           &o);
    assert_non_null(l.error); /* what is left of a is nothing */
    assert_non_null(strstr(l.report, "--set upstreams.a: upstreams.a: needs one of"));
    o = SET("limits.page=null");
    l = load("limits: {page: 5}\n", &o);
    assert_non_null(l.error); /* text, not JSON */
}

static void settings_reach_into_maps(void **state) {
    struct conf_overrides o = SET(
        "upstreams.a.url=http://a/", "upstreams.a.headers.X-Y=1=2", "upstreams.a.headers.\"A.B\"=c",
        "upstreams.b={\"command\":\"x\"}", "upstreams.a.tls.insecure=true");
    struct loaded l = load(NULL, &o);
    assert_null(l.error);
    const struct upstream_conf *u = l.conf->upstreams.items;
    assert_true(str_eq(u[1].headers.items[0].value, S("1=2")));
    assert_true(u[1].tls.insecure);
    assert_true(str_eq(u[2].command, S("x")));
    struct conf_spot spot = conf_path_find(gateway_fields, gateway_field_count, l.conf,
                                           S("upstreams.a.tls.insecure"));
    assert_true(spot.row && spot.in == &u[1].tls);
    spot = conf_path_find(gateway_fields, gateway_field_count, l.conf, S("upstreams.c.url"));
    assert_true(spot.row && !spot.in);
    spot = conf_path_find(gateway_fields, gateway_field_count, l.conf, S("upstreams.a"));
    assert_ptr_equal(spot.item, &u[1]);
}

static void a_file_that_is_no_object_is_refused_whatever_stands_above_it(void **state) {
    struct conf_overrides o = SET("workers=1");
    struct loaded l = load("- a\n", &o);
    assert_non_null(l.error);
    assert_non_null(strstr(l.report, ":1:1: must be an object, not an array"));
}

static void problems_of_all_layers_come_in_their_order(void **state) {
    variable("GATESPAN_WORKERS", "many");
    variable("GATESPAN_LIMIT_PAGE", "1");
    struct conf_overrides o = SET("log.level=loud", "nonsense");
    struct loaded l = load("limits:\n  page: 0\nhosts: ${NOT_SET}\n", &o);
    assert_non_null(l.error);
    const char *const want[] = {
        ":2:9: limits.page: must be", ":3:8: hosts: variable NOT_SET is not set",
        "GATESPAN_LIMIT_PAGE: warning: no option has this name; did you mean GATESPAN_LIMITS_PAGE?",
        "GATESPAN_WORKERS: workers: must be", "--set nonsense: has no value",
        "--set log.level: log.level: must be one of",
    };
    for (size_t i = 0; i < ARRAY_SIZE(want); i++)
        if (!strstr(l.report, want[i]))
            fail_msg("no \"%s\" in\n%s", want[i], l.report);
    assert_true(strstr(l.report, want[0]) < strstr(l.report, want[1]));
    assert_true(strstr(l.report, want[1]) < strstr(l.report, want[3]));
    assert_true(strstr(l.report, want[3]) < strstr(l.report, want[5]));
    assert_null(strstr(l.report, "loud"));
}

static void known_variables_of_commands_are_no_surprise(void **state) {
    struct str known[] = { S("GATESPAN_URL") };
    struct conf_overrides o = { .variables = { known, 1 } };
    variable("GATESPAN_URL", "x");
    variable("GATESPAN_INPUT_KEY", "x");
    variable("GATESPAN_EMPTY", "");
    struct loaded l = load(NULL, &o);
    assert_null(l.error);
    assert_string_equal(l.report, "");
}

/* ---- dialects ---------------------------------------------------------------------- */

static void foreign_keys_of_a_desktop_file_are_left_out_and_places_stay(void **state) {
    struct loaded l = load("{\"theme\": {\"a\": [1]},\n\"mcpServers\": {\"My server\": "
                           "{\"command\": \"x\",\n\"odd\": 1}}}",
                           NULL);
    assert_null(l.error);
    assert_non_null(strstr(l.report, ":3:8: warning: mcpServers.My server.odd: "));
    assert_source(&l, "upstreams.My-server.command", "2:41");
}

static void entries_of_the_other_schema_become_upstreams(void **state) {
    struct loaded l = load(
        "mcp:\n  servers:\n    time: {enabled: false, port: 9}\n"
        "    database: {connections: {a: {host: h}}}\n    memory: {enabled: false}\n",
        NULL);
    assert_null(l.error);
    const struct upstream_conf *u = l.conf->upstreams.items;
    assert_int_equal(l.conf->upstreams.n, 1);
    assert_true(str_eq(u->builtin, S("time")) && !u->enabled);
    assert_non_null(strstr(l.report, ":4:5: warning: mcp.servers.database: "));
    assert_null(strstr(l.report, "memory"));
}

static void their_options_are_those_of_the_built_in_server(void **state) {
    struct loaded l = load("mcp:\n  servers:\n    filesystem:\n      root_path: /tmp\n"
                           "      allowed_operations: [read]\n      backends: {}\n",
                           NULL);
    assert_null(l.error);
    const struct upstream_conf *u = l.conf->upstreams.items;
    assert_true(str_eq(json_get_text(u[1].options, S("root_path")), S("/tmp")));
    assert_int_equal(json_count(json_get(u[1].options, S("allowed_operations"))), 1);
    assert_null(json_get(u[1].options, S("backends")));
    assert_non_null(strstr(l.report, "filesystem.backends: is no option of this server"));
}

static void wrong_options_of_a_built_in_server_are_refused_where_they_stand(void **state) {
    struct loaded l = load("upstreams:\n  files:\n    builtin: filesystem\n    options:\n"
                           "      rot_path: /tmp\n",
                           NULL);
    assert_non_null(l.error);
    assert_non_null(
        strstr(l.report, ":5:17: upstreams.files.options.rot_path: is unknown; did you mean"));
}

static void problems_of_a_copy_are_told_where_its_original_stands(void **state) {
    struct loaded l = load("mcp:\n  servers:\n    filesystem:\n      root_path: /tmp\n"
                           "      allowed_operations: [reed]\n",
                           NULL);
    assert_non_null(l.error);
    assert_non_null(strstr(l.report, ":3:5: mcp.servers.filesystem: "));
    l = load("mcp:\n  servers:\n    filesystem:\n      root_path: [1]\n", NULL);
    assert_non_null(l.error);
    assert_non_null(strstr(l.report, ":4:7: mcp.servers.filesystem.root_path: "));
}

static void a_role_keeps_the_options_of_its_server(void **state) {
    const char *file =
        "listen: ['127.0.0.1:1']\nmcp: {servers: {filesystem: {root_path: /tmp, port: "
        "8599}}}\n";
    struct conf_overrides o = { .role_builtin = S("filesystem") };
    struct loaded l = load(file, &o);
    assert_null(l.error);
    const struct upstream_conf *u = l.conf->upstreams.items;
    assert_int_equal(l.conf->upstreams.n, 1);
    assert_true(str_eq(json_get_text(u->options, S("root_path")), S("/tmp")));
    assert_false(u->prefix);
    assert_true(str_eq(l.conf->listen.items[0], S("127.0.0.1:8599")));
    variable("GATESPAN_LISTEN", "127.0.0.1:7");
    l = load(file, &o);
    assert_true(str_eq(l.conf->listen.items[0], S("127.0.0.1:7")));
}

/* ---- the secret -------------------------------------------------------------------- */

static void different_secrets_under_names_of_one_option_are_refused(void **state) {
    variable("MCP_SECRET_KEY", SECRET);
    variable("JWT_SECRET_KEY", SECRET);
    assert_null(load(NULL, NULL).error);
    variable("META_MCP_SECRET_KEY", SECRET "x");
    struct loaded l = load(NULL, NULL);
    assert_non_null(l.error);
    assert_non_null(strstr(l.report, "differs from META_MCP_SECRET_KEY"));
    assert_null(strstr(l.report, SECRET));
}

static void placeholders_are_no_secrets(void **state) {
    static const char *const bad[] = { "change-me", "Change_Me!", "your-secret-key", "secret",
                                       "your-super-secret-key", "${x", "short" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        variable("JWT_SECRET_KEY", bad[i]);
        struct loaded l = load(NULL, NULL);
        if (!l.error)
            fail_msg("%s", bad[i]);
        set_count--;
    }
    variable("JWT_SECRET_KEY", "a secret that is long enough");
    assert_null(load(NULL, NULL).error);
}

static void what_does_not_expand_in_a_part_that_is_not_built_is_a_warning(void **state) {
    struct loaded l = load("mcp: {security: {authentication: {secret_key: '${NOT_SET}'}, "
                           "encryption: {enabled: false}}}\n",
                           NULL);
    assert_null(l.error);
    assert_non_null(strstr(l.report, "warning: mcp.security.authentication.secret_key: variable "
                                     "NOT_SET is not set"));
    assert_non_null(strstr(l.report, "mcp.security.encryption.enabled: cannot be switched off"));
    assert_null(strstr(l.report, "too short"));
    l = load("instructions: ${NOT_SET}\n", NULL);
    assert_non_null(l.error);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_row_has_help_and_a_variable_of_its_own),
        TEST(every_name_of_other_systems_is_an_option),
        TEST(every_built_in_server_has_a_role_with_a_port),
        TEST(paths_are_names_with_dots),
        TEST(later_layers_win),
        TEST(objects_are_merged_and_lists_replaced),
        TEST(null_and_a_whole_value_replace),
        TEST(settings_reach_into_maps),
        TEST(a_file_that_is_no_object_is_refused_whatever_stands_above_it),
        TEST(problems_of_all_layers_come_in_their_order),
        TEST(known_variables_of_commands_are_no_surprise),
        TEST(foreign_keys_of_a_desktop_file_are_left_out_and_places_stay),
        TEST(entries_of_the_other_schema_become_upstreams),
        TEST(their_options_are_those_of_the_built_in_server),
        TEST(wrong_options_of_a_built_in_server_are_refused_where_they_stand),
        TEST(problems_of_a_copy_are_told_where_its_original_stands),
        TEST(a_role_keeps_the_options_of_its_server),
        TEST(different_secrets_under_names_of_one_option_are_refused),
        TEST(placeholders_are_no_secrets),
        TEST(what_does_not_expand_in_a_part_that_is_not_built_is_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
