#include "base/mem.h"
#include "mcp/uri.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct uri_map map = { .upstream = S_INIT("files"), .rewrite = true };

static void shows(const char *uri, const char *expected) {
    SCOPED(buf_done) struct buf shown = { 0 };
    uri_show(&shown, &map, str_of(uri));
    if (!str_eq(buf_view(&shown), str_of(expected)))
        fail_msg("%s became %s instead of %s", uri, buf_text(&shown), expected);
}

/* P-635, P-637 */
static void the_upstream_comes_first_and_the_rest_stays_readable(void **state) {
    shows("file:///etc/hosts", "gatespan+file://files//etc/hosts");
    shows("memo://insights", "gatespan+memo://files/insights");
    shows("urn:isbn:0451450523", "gatespan+urn:files/isbn:0451450523");
    shows("readme.md", "gatespan://files/readme.md");
    shows("", "gatespan://files/");
    shows("gatespan+file://files//x", "gatespan+gatespan+file://files/files//x");
}

static void ui_and_skill_keep_their_schemes(void **state) {
    shows("ui://chart/main", "ui://files/chart/main");
    shows("skill://writing/SKILL.md", "skill://files/writing/SKILL.md");
    shows("ui:odd", "gatespan+ui:files/odd");
}

static void web_addresses_stay(void **state) {
    shows("https://example.com/a?b#c", "https://example.com/a?b#c");
    shows("HTTP://example.com", "HTTP://example.com");
}

static void template_expressions_stay_intact(void **state) {
    shows("file:///{+path}", "gatespan+file://files//{+path}");
    shows("db://{table}/{id}{?limit,offset}", "gatespan+db://files/{table}/{id}{?limit,offset}");
    shows("{+uri}", "gatespan://files/{+uri}");
    shows("{scheme}://x", "gatespan://files/{scheme}://x");
}

static void nothing_changes_where_rewriting_is_off(void **state) {
    SCOPED(buf_done) struct buf shown = { 0 };
    struct uri_map off = { .upstream = S("files") };
    uri_show(&shown, &off, S("file:///a"));
    uri_show(&shown, NULL, S("|b:c"));
    assert_true(str_eq(buf_view(&shown), S("file:///a|b:c")));
}

/* P-637: without state, for every input */
static void restore_inverts_show(void **state) {
    static const char *const uris[] = {
        "", "a", ":", "//", "a:", "a:/", "a://", "a:///", "file:///etc/hosts", "urn:x:y", "ui://", "ui:/x", "ui:x", "UI://A/B",
        "skill://a/SKILL.md", "gatespan:x", "gatespan://x/y", "gatespan+a:b", "gatespan+://x", "1a://x", "+:x", "a+b.c-d://e?f#g",
        "{+uri}", "x:{+path}", "x://{host}{/path*}", "\x01\xff", "name with spaces", "mailto:a@b",
    };
    for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
        SCOPED(buf_done) struct buf shown = { 0 };
        SCOPED(buf_done) struct buf original = { 0 };
        struct str upstream = { 0 };
        uri_show(&shown, &map, str_of(uris[i]));
        if (!uri_restore(buf_view(&shown), &upstream, &original) ||
            !str_eq(upstream, map.upstream) || !str_eq(buf_view(&original), str_of(uris[i])))
            fail_msg("\"%s\" became \"%s\" became \"%s\"", uris[i], buf_text(&shown),
                     buf_text(&original));
    }
}

static void native_uris_name_nobody(void **state) {
    static const char *const uris[] = {
        "", "file:///a", "https://files/a", "ui://", "ui://x", "ui:///x", "gatespan://", "gatespan://x", "gatespan:x/y",
        "gatespan+file://", "gatespan+file:x", "gatespan+file://a.b/c", "gatespan+:x/y", "ui://a%20/b",
    };
    SCOPED(buf_done) struct buf original = { 0 };
    struct str upstream;
    for (size_t i = 0; i < ARRAY_SIZE(uris); i++)
        if (uri_restore(str_of(uris[i]), &upstream, &original))
            fail_msg("%s", uris[i]);
    assert_int_equal(original.n, 0);
}

static void matches(const char *uri_template, const char *uri, bool expected) {
    if (uri_template_matches(str_of(uri_template), str_of(uri)) != expected)
        fail_msg("%s %s %s", uri_template, expected ? "does not match" : "matches", uri);
}

/* RFC 6570 §3.2 */
static void templates_match_their_expansions(void **state) {
    static const struct {
        const char *uri_template, *uri;
        bool matches;
    } rows[] = {
        { "a://b", "a://b", true },
        { "a://b", "a://bc", false },
        { "a://b", "a://", false },
        { "file:///logs/{date}.txt", "file:///logs/2026-01-02.txt", true },
        { "file:///logs/{date}.txt", "file:///logs/a/b.txt", false },
        { "file:///logs/{date}.txt", "file:///logs/a.txt.txt", true },
        { "file:///logs/{date}.txt", "file:///logs/a.md", false },
        { "file:///{+path}", "file:///a/b/c?d#e", true },
        { "x://{a}/{b}", "x://1/2", true },
        { "x://{a}/{b}", "x://1", false },
        { "x://{a}/{b}", "x://1/2/3", false },
        { "x://{a}-{b}", "x://1-2-3", true },
        { "x://{a}{b}", "x://anything", true },
        { "x://{a}", "x://caf\xc3\xa9 au lait", true },
        { "x://a{#part}", "x://a", true },
        { "x://a{#part}", "x://a#b/c", true },
        { "x://a{#part}", "x://ab", false },
        { "x://a{.kind}", "x://a.png", true },
        { "x://a{.kind}", "x://apng", false },
        { "x://a{/one}", "x://a/b", true },
        { "x://a{/one}", "x://a/b/c", false },
        { "x://a{/one,two}", "x://a/b/c", true },
        { "x://a{/one,two}", "x://a/b/c/d", false },
        { "x://a{/all*}", "x://a/b/c/d", true },
        { "x://a{;p,q}", "x://a;p=1;q=2", true },
        { "x://a{?p,q}", "x://a?p=1&q=2", true },
        { "x://a{?p,q}", "x://a", true },
        { "x://a{?p,q}", "x://a/b", false },
        { "x://a?r=1{&p}", "x://a?r=1&p=2", true },
        { "x://a{?p}{#f}", "x://a?p=1#top", true },
        { "x://{id:3}", "x://abc", true },
        { "x://{user-id}/y", "x://7/y", true },
        { "{+uri}", "anything:at/all", true },
        { "x://{}", "x://{}", true },
        { "x://{open", "x://{open", true },
        { "", "", true },
        { "", "x", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        matches(rows[i].uri_template, rows[i].uri, rows[i].matches);
}

static void beyond_the_limits_nothing_matches(void **state) {
    SCOPED(buf_done) struct buf uri = { 0 };
    SCOPED(buf_done) struct buf uri_template = { 0 };
    buf_str(&uri, S("x:"));
    while (uri.n < URI_MAX)
        buf_char(&uri, 'a');
    matches("x:{+a}", buf_text(&uri), true);
    buf_char(&uri, 'a');
    matches("x:{+a}", buf_text(&uri), false);
    while (uri_template.n < URI_TEMPLATE_MAX)
        buf_str(&uri_template, S("{a}"));
    matches(buf_text(&uri_template), "", false);
}

/* Would take ages by backtracking. */
static void many_expressions_take_no_exponential_time(void **state) {
    SCOPED(buf_done) struct buf uri_template = { 0 };
    SCOPED(buf_done) struct buf uri = { 0 };
    for (int i = 0; i < 60; i++)
        buf_str(&uri_template, S("{a}x"));
    for (int i = 0; i < 2000; i++)
        buf_char(&uri, 'x');
    buf_char(&uri, 'y');
    matches(buf_text(&uri_template), buf_text(&uri), false);
}

static void syntax_is_checked(void **state) {
    static const char *const good[] = {
        "a", "x://{a}", "x://{+a,b*}{/c:12}{?d}{&e}{#f}{.g}{;h}", "{user-id}", "{a.b}", "{a%20}"
    };
    static const char *const bad[] = { "", "{", "}", "x{", "{}", "{+}", "{a", "{a}}", "{a,}", "{,a}", "{=a}", "{a:0}", "{a:12345}",
                                       "{a:}", "{a**}", "{a b}", "{{a}}", "x\ny" };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (!uri_template_valid(str_of(good[i])))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (uri_template_valid(str_of(bad[i])))
            fail_msg("%s", bad[i]);
    SCOPED(buf_done) struct buf many = { 0 };
    for (int i = 0; i < URI_EXPRESSIONS_MAX; i++)
        buf_str(&many, S("{a}"));
    assert_true(uri_template_valid(buf_view(&many)));
    buf_str(&many, S("{a}"));
    assert_false(uri_template_valid(buf_view(&many)));
}

static void others_see_no_secrets_of_a_uri(void **state) {
    static const struct {
        struct str uri, shown;
    } cases[] = {
        { S("https://user:pass@example.com/x?key=1#f"), S("https://example.com/x") },
        { S("https://a@b:c@example.com"), S("https://example.com") },
        { S("file:///etc/hosts"), S("file:///etc/hosts") },
        { S("https://example.com/a@b"), S("https://example.com/a@b") },
        { S("mailto:a@b?c"), S("mailto:a@b") },
        { S("?"), S("") },
        { S(""), S("") },
    };
    struct arena a;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str shown = uri_public(&a, cases[i].uri);
        if (!str_eq(shown, cases[i].shown))
            fail_msg("%.*s", STR(shown));
    }
    arena_done(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_upstream_comes_first_and_the_rest_stays_readable),
        cmocka_unit_test(ui_and_skill_keep_their_schemes),
        cmocka_unit_test(web_addresses_stay),
        cmocka_unit_test(template_expressions_stay_intact),
        cmocka_unit_test(nothing_changes_where_rewriting_is_off),
        cmocka_unit_test(restore_inverts_show),
        cmocka_unit_test(native_uris_name_nobody),
        cmocka_unit_test(templates_match_their_expansions),
        cmocka_unit_test(beyond_the_limits_nothing_matches),
        cmocka_unit_test(many_expressions_take_no_exponential_time),
        cmocka_unit_test(syntax_is_checked),
        cmocka_unit_test(others_see_no_secrets_of_a_uri),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
