/* What rows cannot say (conf_check.c) and desktop clients' files (conf_desktop.c). */
#include "base/mem.h"
#include "gateway/conf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct arena arena;
    struct gateway_conf conf;
    struct field_problems problems;
};

static void done(struct fixture *f) {
    arena_done(&f->arena);
}

/* Quotes are single ones, for the eye. */
static void load(struct fixture *f, const char *text) {
    char *copy = arena_text(&f->arena, str_of(text));
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json document = NULL;
    assert_null(json_parse(&f->arena, str_of(copy), (struct json_limits){ 0 }, &document));
    f->problems.arena = &f->arena;
    field_defaults(gateway_fields, gateway_field_count, &f->conf, &f->arena);
    field_read(gateway_fields, gateway_field_count, document, S(""), &f->conf, &f->arena,
               &f->problems);
    assert_int_equal(f->problems.errors, 0);
    conf_desktop(&f->conf, &f->arena, &f->problems);
    conf_check(&f->conf, document, &f->arena, &f->problems);
}

static void accepts(const char *text) {
    SCOPED(done) struct fixture f = { 0 };
    load(&f, text);
    if (f.problems.errors)
        fail_msg("%s: %.*s: %.*s", text, STR(f.problems.items[0].path),
                 STR(f.problems.items[0].message));
}

/* Exactly one error, there, saying that. */
static void refuses(const char *text, const char *path, const char *saying) {
    SCOPED(done) struct fixture f = { 0 };
    load(&f, text);
    if (f.problems.errors != 1 || !str_eq(f.problems.items[0].path, str_of(path)) ||
        str_find(f.problems.items[0].message, str_of(saying)) < 0)
        fail_msg("%s: %zu errors, %.*s: %.*s", text, f.problems.errors,
                 STR(f.problems.items[0].path), STR(f.problems.items[0].message));
}

static const struct upstream_conf *upstream(const struct fixture *f, const char *name) {
    const struct upstream_conf *u = f->conf.upstreams.items;
    for (size_t i = 0; i < f->conf.upstreams.n; i++)
        if (str_eq(u[i].name, str_of(name)))
            return &u[i];
    fail_msg("there is no %s", name);
    return NULL;
}

static void an_upstream_has_one_of_command_url_and_builtin(void **state) {
    accepts(
        "{'upstreams':{'a':{'command':'x'},'b':{'url':'http://h/mcp'},'c':{'builtin':'time'}}}");
    refuses("{'upstreams':{'a':{}}}", "upstreams.a", "needs one of");
    refuses("{'upstreams':{'a':{'command':'x','url':'http://h'}}}", "upstreams.a", "more than one");
    refuses("{'upstreams':{'a':{'type':'http','command':'x'}}}", "upstreams.a",
            "type does not fit");
    accepts("{'upstreams':{'a':{'type':'http','url':'http://h/'}}}");
}

static void automatic_values_are_resolved(void **state) {
    SCOPED(done) struct fixture f = { 0 };
    load(&f, "{'upstreams':{'a':{'command':'x'},'b':{'url':'http://h/mcp'},'c':{'url':'http://h/"
             "','share':'session'}}}");
    assert_int_equal(upstream(&f, "a")->type, UPSTREAM_STDIO);
    assert_int_equal(upstream(&f, "a")->share, SHARE_TENANT);
    assert_int_equal(upstream(&f, "b")->type, UPSTREAM_HTTP);
    assert_int_equal(upstream(&f, "b")->share, SHARE_PRINCIPAL);
    assert_int_equal(upstream(&f, "c")->share, SHARE_SESSION);
}

static void names_are_checked(void **state) {
    refuses("{'upstreams':{'a__b':{'command':'x'}}}", "upstreams.a__b", "1 to 32");
    refuses("{'upstreams':{'a.b':{'command':'x'}}}", "upstreams.a.b", "1 to 32");
    refuses("{'profiles':{'v1':{}}}", "profiles.v1", "not v1");
    refuses("{'profiles':{'a b':{}}}", "profiles.a b", "1 to 32");
}

static void builtin_servers_are_added_once(void **state) {
    SCOPED(done) struct fixture f = { 0 };
    load(&f, "{'builtins':['time'],'upstreams':{'x':{'command':'x'}}}");
    assert_int_equal(f.conf.upstreams.n, 2);
    assert_int_equal(upstream(&f, "time")->type, UPSTREAM_BUILTIN);
    assert_true(upstream(&f, "time")->enabled);
    SCOPED(done) struct fixture own = { 0 };
    load(&own, "{'builtins':['time'],'upstreams':{'time':{'builtin':'time','prefix':false}}}");
    assert_int_equal(own.conf.upstreams.n, 1);
    assert_false(upstream(&own, "time")->prefix);
    refuses("{'builtins':['tme']}", "upstreams.tme", "no such built-in server");
}

/* A line break in a value would be another header, or another request. */
static void headers_of_upstreams_cannot_change_the_message(void **state) {
    accepts("{'upstreams':{'a':{'url':'http://h/','headers':{'Authorization':'Bearer "
            "x','X-Own':'a\\tb'}}}}");
    refuses("{'upstreams':{'a':{'url':'http://h/','headers':{'X':'a\\r\\nHost: evil'}}}}",
            "upstreams.a.headers.X", "line break");
    refuses("{'upstreams':{'a':{'url':'http://h/','headers':{'X':'a\\u0000'}}}}",
            "upstreams.a.headers.X", "control byte");
    refuses("{'upstreams':{'a':{'url':'http://h/','headers':{'X: y':'a'}}}}",
            "upstreams.a.headers.X: y", "no header name");
    refuses("{'upstreams':{'a':{'url':'http://h/','headers':{'Transfer-Encoding':'chunked'}}}}",
            "upstreams.a.headers.Transfer-Encoding", "the gateway itself");
    refuses("{'upstreams':{'a':{'url':'http://h/','headers':{'mcp-session-id':'1'}}}}",
            "upstreams.a.headers.mcp-session-id", "the gateway itself");
}

static void urls_and_tls_files_are_checked(void **state) {
    refuses("{'upstreams':{'a':{'url':'h/mcp'}}}", "upstreams.a.url", "http://");
    refuses("{'upstreams':{'a':{'url':'https://h/','tls':{'cert_file':'c'}}}}", "upstreams.a",
            "go together");
    refuses("{'tls':{'key_file':'c'}}", "tls", "go together");
    accepts("{'tls':{'key_file':'k','cert_file':'c'}}");
}

static void profiles_and_keys_name_what_exists(void **state) {
    accepts("{'profiles':{'p':{'upstreams':['time']}},'keys':{'k':{'secret':'0123456789abcdef','"
            "profiles':['p','']}}}");
    refuses("{'profiles':{'p':{'upstreams':['time','x']}}}", "profiles.p.upstreams[1]",
            "no such upstream");
    refuses("{'keys':{'k':{'secret':'0123456789abcdef','profiles':['p']}}}", "keys.k.profiles[0]",
            "no such profile");
}

/* P-601 */
static void new_names_are_such_as_clients_take(void **state) {
    accepts("{'profiles':{'p':{'rename':{'time__a':'a','time__b':'b'}}}}");
    refuses("{'profiles':{'p':{'rename':{'time__a':'a b'}}}}", "profiles.p.rename.time__a",
            "1 to 64");
    refuses("{'profiles':{'p':{'rename':{'time__a':''}}}}", "profiles.p.rename.time__a", "1 to 64");
    refuses("{'profiles':{'p':{'rename':{'time__a':'n','time__b':'n'}}}}",
            "profiles.p.rename.time__b", "become the same");
}

static void listen_addresses_are_checked(void **state) {
    accepts("{'listen':['127.0.0.1:8000','[::1]:8000','8001']}");
    refuses("{'listen':['127.0.0.1']}", "listen", "HOST:PORT");
    refuses("{'listen':[]}", "listen", "one to eight");
}

static void offered_revisions_are_a_range(void **state) {
    accepts("{'protocol':{'oldest':'2025-06-18','newest':'2025-06-18'}}");
    refuses("{'protocol':{'oldest':'2026-07-28','newest':'2025-11-25'}}", "protocol.oldest",
            "after protocol.newest");
}

static void the_largest_body_fits_into_the_buffers(void **state) {
    accepts("{'limits':{'body':'8MiB','buffers':'8MiB'}}");
    refuses("{'limits':{'body':'9MiB','buffers':'8MiB'}}", "limits.body", "raise limits.buffers");
}

static void problems_are_counted_beyond_those_kept(void **state) {
    SCOPED(done) struct fixture f = { 0 };
    SCOPED(buf_done) struct buf b = { 0 };
    buf_str(&b, S("{'upstreams':{"));
    for (int i = 0; i < 40; i++)
        buf_fmt(&b, "%s'u%d':{}", i ? "," : "", i);
    buf_str(&b, S("}}"));
    load(&f, buf_text(&b));
    assert_int_equal(f.problems.errors, 40);
    assert_int_equal(f.problems.n, ARRAY_SIZE(f.problems.items));
}

/* ---- desktop clients' files -------------------------------------------------------- */

static void servers_of_desktop_clients_become_upstreams(void **state) {
    SCOPED(done) struct fixture f = { 0 };
    load(&f,
         "{'mcpServers':{'My "
         "files!':{'command':'npx','args':['-y','server',7],'env':{'A':'b'},'cwd':'/tmp'},"
         "'remote':{'type':'http','url':'https://h/mcp','headers':{'Authorization':'Bearer x'}},"
         "'off':{'command':'x','disabled':true,'autoApprove':['a']}},"
         "'servers':{'code':{'type':'stdio','command':'y'}}}");
    assert_int_equal(f.problems.errors, 0);
    assert_int_equal(f.problems.n, 0);
    const struct upstream_conf *u = upstream(&f, "My-files");
    assert_true(str_eq(u->command, S("npx")));
    assert_int_equal(u->args.n, 3);
    assert_true(str_eq(u->args.items[2], S("7")));
    assert_true(str_eq(u->env.items[0].name, S("A")) && str_eq(u->env.items[0].value, S("b")));
    assert_true(str_eq(u->cwd, S("/tmp")));
    assert_true(u->prefix && u->enabled); /* defaults are there */
    assert_int_equal(upstream(&f, "remote")->type, UPSTREAM_HTTP);
    assert_int_equal(upstream(&f, "remote")->headers.n, 1);
    assert_false(upstream(&f, "off")->enabled);
    assert_int_equal(upstream(&f, "code")->type, UPSTREAM_STDIO);
}

static void keys_of_other_programs_are_warnings(void **state) {
    SCOPED(done) struct fixture f = { 0 };
    load(
        &f,
        "{'mcpServers':{'a':{'command':'x','colour':'red'},'b':{'url':'http://h/','type':'sse'}}}");
    assert_int_equal(f.problems.errors, 0);
    assert_int_equal(f.problems.n, 2);
    assert_true(f.problems.items[0].warning && f.problems.items[1].warning);
    assert_true(str_eq(f.problems.items[0].path, S("mcpServers.a.colour")));
}

static void two_servers_of_one_name_are_refused(void **state) {
    refuses("{'upstreams':{'a':{'command':'x'}},'mcpServers':{'a':{'command':'y'}}}",
            "mcpServers.a", "second server");
    refuses("{'mcpServers':{'a b':{'command':'x'},'a-b':{'command':'y'}}}", "mcpServers.a-b",
            "second server");
}

static void values_of_the_wrong_kind_do_not_break(void **state) {
    SCOPED(done) struct fixture f = { 0 };
    load(&f, "{'mcpServers':{'a':7,'b':{'command':['x'],'args':'y','env':[1],'disabled':'no'},'c':"
             "null},'servers':[{'command':'x'}]}");
    assert_true(f.problems.errors >= 3);
}

static json document(struct arena *a, const char *text) {
    char *copy = arena_text(a, str_of(text));
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    json v = NULL;
    assert_null(json_parse(a, str_of(copy), (struct json_limits){ 0 }, &v));
    return v;
}

static void a_desktop_file_is_told_from_ours(void **state) {
    SCOPED(arena_scope) struct arena a = { 0 };
    assert_true(conf_is_desktop(document(&a, "{'mcpServers':{},'theme':'dark'}")));
    assert_true(conf_is_desktop(document(&a, "{'servers':{},'inputs':[]}")));
    assert_false(conf_is_desktop(document(&a, "{'mcpServers':{},'listen':['8000']}")));
    assert_false(conf_is_desktop(document(&a, "{'upstreams':{}}")));
    assert_false(conf_is_desktop(document(&a, "[]")));
    assert_false(conf_is_desktop(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upstream_has_one_of_command_url_and_builtin),
        cmocka_unit_test(automatic_values_are_resolved),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(builtin_servers_are_added_once),
        cmocka_unit_test(headers_of_upstreams_cannot_change_the_message),
        cmocka_unit_test(urls_and_tls_files_are_checked),
        cmocka_unit_test(profiles_and_keys_name_what_exists),
        cmocka_unit_test(new_names_are_such_as_clients_take),
        cmocka_unit_test(listen_addresses_are_checked),
        cmocka_unit_test(offered_revisions_are_a_range),
        cmocka_unit_test(the_largest_body_fits_into_the_buffers),
        cmocka_unit_test(problems_are_counted_beyond_those_kept),
        cmocka_unit_test(servers_of_desktop_clients_become_upstreams),
        cmocka_unit_test(keys_of_other_programs_are_warnings),
        cmocka_unit_test(two_servers_of_one_name_are_refused),
        cmocka_unit_test(values_of_the_wrong_kind_do_not_break),
        cmocka_unit_test(a_desktop_file_is_told_from_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
