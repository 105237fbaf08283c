#include "net/http_url.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void parses(const char *text, bool secure, const char *host, int port, const char *authority,
                   const char *target) {
    struct http_url u;
    err_t e = http_url_parse(str_of(text), &u);
    if (e)
        fail_msg("%s: %s", text, e->text);
    if (u.secure != secure || u.port != port || !str_eq(u.host, str_of(host)) ||
        !str_eq(u.authority, str_of(authority)) || !str_eq(u.target, str_of(target)))
        fail_msg("%s: %.*s %d %.*s %.*s", text, STR(u.host), u.port, STR(u.authority),
                 STR(u.target));
}

/* RFC 3986 §3, RFC 9110 §4.2 */
static void a_url_is_cut_into_its_parts(void **state) {
    parses("http://example.com", false, "example.com", 80, "example.com", "/");
    parses("https://example.com/mcp", true, "example.com", 443, "example.com", "/mcp");
    parses("HTTPS://example.com:8443/a/b?c=d", true, "example.com", 8443, "example.com:8443",
           "/a/b?c=d");
    parses("http://127.0.0.1:9000/", false, "127.0.0.1", 9000, "127.0.0.1:9000", "/");
    parses("http://[::1]:9000/mcp", false, "::1", 9000, "[::1]:9000", "/mcp");
    parses("http://[fe80::1]", false, "fe80::1", 80, "[fe80::1]", "/");
    parses("http://h/@a:b", false, "h", 80, "h", "/@a:b");
}

static void what_is_no_url_of_a_server_is_refused(void **state) {
    static const char *const bad[] = {
        "", "example.com", "ftp://example.com", "http:/example.com", "http://", "http:///x", "http://:80", "http://h:0", "http://h:65536",
        "http://h:8x", "http://h:80:90", "http://[::1", "http://[]", "http://[::1]80", "http://user@h/", "http://u:p@h/", "http://h/#f",
        "http://h/a b", "http://h/\xc3\xa9", "http://h/\r\nx: y", "http://h?q=1",
    };
    struct http_url u;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        err_t e = http_url_parse(str_of(bad[i]), &u);
        if (!e)
            fail_msg("%s", bad[i]);
        assert_int_equal(e->kind, ERR_INVALID);
    }
}

/* It may hold an expanded secret. */
static void messages_do_not_quote_the_url(void **state) {
    static const char *const bad[] = { "secret", "http://secret@h/", "http://h?secret",
                                       "http://h/ secret", "http://h:secret/" };
    struct http_url u;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_null(strstr(http_url_parse(str_of(bad[i]), &u)->text, "secret"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_is_cut_into_its_parts),
        cmocka_unit_test(what_is_no_url_of_a_server_is_refused),
        cmocka_unit_test(messages_do_not_quote_the_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
