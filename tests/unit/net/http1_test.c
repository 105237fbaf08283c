/* Heads of requests and responses: what RFC 9112 says, and what is refused on purpose. */
#include "net/http1.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct http_limits limits = { .head = 8192, .target = 1024, .fields = 50 };
static struct http_head head;
static const char *why;

static char *exact; /* ends where the text ends, so that a sanitizer sees a read beyond it */

static struct str exact_copy(struct str text) {
    free(exact);
    exact = memcpy(malloc(text.n ? text.n : 1), text.p, text.n);
    return str_from(exact, text.n);
}

static enum http_verdict request_n(const char *p, size_t n) {
    memset(&head, 0xa5, sizeof head); /* the parser must not count on zeros */
    why = NULL;
    return http_parse_request(exact_copy(str_from(p, n)), &limits, &head, &why);
}

static enum http_verdict request(const char *text) {
    return request_n(text, strlen(text));
}

static enum http_verdict response(const char *text, bool to_head) {
    memset(&head, 0xa5, sizeof head);
    why = NULL;
    return http_parse_response(exact_copy(str_of(text)), &limits, to_head, &head, &why);
}

/* A request with these header lines, Host included already. */
static enum http_verdict with(const char *lines) {
    static char text[4096];
    snprintf(text, sizeof text, "POST /mcp HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    return request(text);
}

static enum http_verdict answer(const char *lines) {
    static char text[4096];
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n%s\r\n", lines);
    return response(text, false);
}

#define assert_str(s, text)                                                                        \
    do {                                                                                           \
        struct str s_ = (s);                                                                       \
        assert_non_null(s_.p);                                                                     \
        assert_int_equal(s_.n, strlen(text));                                                      \
        assert_memory_equal(s_.p, text, s_.n);                                                     \
    } while (0)
#define assert_refused(verdict, call)                                                              \
    do {                                                                                           \
        assert_int_equal(call, verdict);                                                           \
        assert_non_null(why);                                                                      \
    } while (0)
#define assert_bad(call) assert_refused(HTTP_BAD, call)

static const char typical[] =
    "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: python-httpx/0.28.1\r\n"
    "Accept: application/json, text/event-stream\r\nAuthorization: Bearer gs_1_abc\r\n"
    "Content-Type: application/json\r\nContent-Length: 148\r\n"
    "Mcp-Session-Id: 6f1c2d3e4b5a69788796a5b4c3d2e1f0\r\nMCP-Protocol-Version: 2025-11-25\r\n"
    "\r\n";

static void reads_a_typical_request(void **state) {
    assert_int_equal(request(typical), HTTP_OK);
    assert_str(head.method, "POST");
    assert_str(head.target, "/mcp");
    assert_str(head.path, "/mcp");
    assert_null(head.query.p);
    assert_true(head.minor_1 && head.keep_alive);
    assert_false(head.chunked || head.upgrade || head.expect_continue);
    assert_int_equal(head.content_length, 148);
    assert_int_equal(head.field_count, 8);
    assert_int_equal(head.bytes, sizeof typical - 1);
    assert_int_equal(head.repeated_low | head.repeated_high, 0);
    assert_str(head.known[HTTP_AUTHORIZATION], "Bearer gs_1_abc");
    assert_str(head.known[HTTP_MCP_PROTOCOL_VERSION], "2025-11-25");
    assert_str(head.known[HTTP_MCP_SESSION_ID], "6f1c2d3e4b5a69788796a5b4c3d2e1f0");
    assert_null(head.known[HTTP_ORIGIN].p);
    assert_str(head.fields[1].name, "User-Agent");
    assert_str(http_find(&head, S("user-AGENT")), "python-httpx/0.28.1");
    assert_null(http_find(&head, S("user-agen")).p);
}

static void every_prefix_of_a_good_head_wants_more(void **state) {
    for (size_t n = 0; n < sizeof typical - 1; n++)
        assert_int_equal(request_n(typical, n), HTTP_MORE);
}

static void what_follows_the_head_does_not_matter(void **state) {
    assert_int_equal(request("GET / HTTP/1.1\r\nHost: a\r\n\r\n\x01\n\nrubbish"), HTTP_OK);
    assert_int_equal(head.bytes, 27);
}

/* RFC 9110 §5.1: names have no case. Every row of HTTP_HEADERS must have its slot. */
static void finds_every_known_header_in_any_case(void **state) {
    static const char *const names[] = {
#define X(name, text) text,
        HTTP_HEADERS(X)
#undef X
    };
    for (unsigned id = 0; id < HTTP_HEADER_COUNT; id++)
        for (unsigned style = 0; style < 3; style++) {
            char text[256];
            size_t n = (size_t)snprintf(text, sizeof text, "HTTP/1.0 200 OK\r\n%s: 1\r\n\r\n",
                                        names[id]);
            for (size_t i = 17; style && i < n; i++)
                if (style == 1 || i % 2)
                    text[i] = (char)toupper((unsigned char)text[i]);
            enum http_verdict v = response(text, false);
            assert_int_equal(v, id == HTTP_TRANSFER_ENCODING ? HTTP_BAD : HTTP_OK);
            assert_str(head.known[id], "1");
        }
}

static void similar_names_are_not_known_ones(void **state) {
    assert_int_equal(with("Hosts: b\r\nXHost: b\r\nHos: b\r\nHozt: b\r\nContent_Length: 5\r\n"
                          "mcp-protocol-versiom: 1\r\nNcp-protocol-version: 1\r\n"
                          "access-control-request-header: 1\r\nA: 1\r\n"),
                     HTTP_OK);
    assert_int_equal(head.content_length, -1);
    assert_int_equal(head.field_count, 10);
    assert_null(head.known[HTTP_MCP_PROTOCOL_VERSION].p);
    assert_null(head.known[HTTP_ACRH].p);
}

static void takes_names_of_any_token_and_any_length(void **state) {
    assert_int_equal(with("!#$%&'*+-.^_`|~09azAZ: v\r\n"
                          "a-name-that-is-longer-than-any-of-the-names-that-somebody-reads: w\r\n"),
                     HTTP_OK);
    assert_str(head.fields[1].name, "!#$%&'*+-.^_`|~09azAZ");
    assert_str(head.fields[2].value, "w");
}

/* RFC 9112 §5: optional white space around the value is no part of it. */
static void trims_values(void **state) {
    assert_int_equal(with("A:b\r\nC: \t d e\t \r\nF:\r\nG:  \t\r\nContent-Length:\t7\t\r\n"),
                     HTTP_OK);
    assert_str(head.fields[1].value, "b");
    assert_str(head.fields[2].value, "d e");
    assert_str(head.fields[3].value, "");
    assert_str(head.fields[4].value, "");
    assert_int_equal(head.content_length, 7);
}

/* RFC 9110 §5.5: obs-text and HTAB may stand inside a value. */
static void takes_tabs_and_obs_text_inside_values(void **state) {
    assert_int_equal(with("A: b\tc\r\nD: \xc3\xa9t\xff\xc3\xa9 sixteen bytes and more \x80\r\n"),
                     HTTP_OK);
    assert_str(head.fields[1].value, "b\tc");
    assert_str(head.fields[2].value, "\xc3\xa9t\xff\xc3\xa9 sixteen bytes and more \x80");
}

/* RFC 9110 §5.5, §16.3.2: no other control byte, at any place of a block. */
static void refuses_control_bytes_in_values(void **state) {
    for (unsigned c = 0; c < 256; c++)
        for (size_t at = 0; at < 40; at++) {
            char text[] =
                "GET / HTTP/1.1\r\nHost: a\r\nA: 0123456789012345678901234567890123456789\r\n\r\n";
            text[28 + at] = (char)c;
            bool control = (c < 0x20 && c != '\t') || c == 0x7f;
            assert_int_equal(request_n(text, sizeof text - 1), control ? HTTP_BAD : HTTP_OK);
        }
}

static void refuses_bytes_in_names_that_are_no_token(void **state) {
    for (unsigned c = 0; c < 256; c++)
        for (size_t at = 0; at < 24; at++) {
            char text[] = "GET / HTTP/1.1\r\nHost: a\r\nmcp-protocol-version-abc: 1\r\n\r\n";
            text[25 + at] = (char)c;
            bool token = c && (isalnum((int)c) || strchr("!#$%&'*+-.^_`|~", (int)c)) && c < 0x80;
            bool ends = c == ':' && at > 0; /* a shorter name and a longer value */
            assert_int_equal(request_n(text, sizeof text - 1), token || ends ? HTTP_OK : HTTP_BAD);
        }
}

static void a_control_byte_that_folds_to_a_dash_is_no_dash(void **state) {
    assert_bad(with("mcp\rname: x\r\n"));
    assert_bad(with("mcp-name\x1a x\r\n"));
    assert_bad(with("Content\rLength: 5\r\n"));
}

/* RFC 9112 §5.1 and §5.2 */
static void refuses_space_before_colon_empty_names_and_folding(void **state) {
    assert_bad(with("Content-Length : 5\r\n"));
    assert_bad(with("X-Other\t: 5\r\n"));
    assert_bad(with(": 5\r\n"));
    assert_bad(with("A: b\r\n c\r\n"));
    assert_bad(with("A: b\r\n\tc\r\n"));
    assert_bad(with("no colon\r\n"));
    assert_bad(with("nocolon\r\n"));
    assert_bad(request("GET / HTTP/1.1\r\n Host: a\r\n\r\n"));
}

/* RFC 9112 §2.2 lets a recipient take a bare LF; this one does not. */
static void refuses_bare_cr_and_bare_lf(void **state) {
    assert_bad(with("A: b\nC: d\r\n"));
    assert_bad(with("A: b\rC: d\r\n"));
    assert_bad(with("A: b\r\r\n"));
    assert_bad(with("A: b\n"));
    assert_bad(request("GET / HTTP/1.1\nHost: a\n\n"));
    assert_bad(request("GET / HTTP/1.1\rHost: a\r\r"));
    assert_bad(request("GET / HTTP/1.1\r\nHost: a\r\n\rA"));
    assert_bad(request("GET / HTTP/1.1\r\nHost: a\r\n\n"));
    assert_bad(request("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

/* RFC 9112 §2.2: at least one empty line before the request line is ignored. */
static void skips_two_blank_lines_before_a_request_and_no_more(void **state) {
    assert_int_equal(request("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_OK);
    assert_int_equal(head.bytes, 31);
    assert_str(head.method, "GET");
    assert_int_equal(request("\r"), HTTP_MORE);
    assert_int_equal(request("\r\n\r"), HTTP_MORE);
    assert_bad(request("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_bad(request("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_bad(response("\r\nHTTP/1.1 200 OK\r\n\r\n", false));
}

static enum http_verdict line(const char *request_line) {
    static char text[4096];
    snprintf(text, sizeof text, "%s\r\nHost: a\r\n\r\n", request_line);
    return request(text);
}

/* RFC 9112 §3: three parts, one space between them. */
static void refuses_malformed_request_lines(void **state) {
    assert_bad(line("GET /"));
    assert_bad(line("GET  / HTTP/1.1"));
    assert_bad(line("GET /  HTTP/1.1"));
    assert_bad(line(" GET / HTTP/1.1"));
    assert_bad(line("GET\t/ HTTP/1.1"));
    assert_bad(line("GET / HTTP/1.1 "));
    assert_bad(line("GET / http/1.1"));
    assert_bad(line("GET / HTTP/1.1x"));
    assert_bad(line("GET / HTTP/11"));
    assert_bad(line("G@T / HTTP/1.1"));
    assert_bad(line("G\xc3\xa9T / HTTP/1.1"));
    assert_bad(line(""));
}

static void takes_methods_of_up_to_32_bytes_as_they_are(void **state) {
    assert_int_equal(line("get / HTTP/1.1"), HTTP_OK);
    assert_str(head.method, "get");
    assert_int_equal(line("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1"), HTTP_OK);
    assert_bad(line("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1"));
    assert_bad(request("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456"));
}

/* RFC 9110 §15.6.6 */
static void other_versions_get_505(void **state) {
    assert_refused(HTTP_VERSION, line("GET / HTTP/2.0"));
    assert_refused(HTTP_VERSION, line("GET / HTTP/1.2"));
    assert_refused(HTTP_VERSION, line("GET / HTTP/0.9"));
    assert_refused(HTTP_VERSION, line("OPTIONS * HTTP/3.0"));
    assert_refused(HTTP_VERSION, response("HTTP/2.0 200 OK\r\n\r\n", false));
    assert_int_equal(http_verdict_status(HTTP_VERSION), 505);
}

static void splits_path_and_query(void **state) {
    assert_int_equal(line("GET /a/b%20c?x=1&y=?z HTTP/1.1"), HTTP_OK);
    assert_str(head.target, "/a/b%20c?x=1&y=?z");
    assert_str(head.path, "/a/b%20c");
    assert_str(head.query, "x=1&y=?z");
    assert_int_equal(line("GET /? HTTP/1.1"), HTTP_OK);
    assert_str(head.path, "/");
    assert_str(head.query, "");
}

static void refuses_bytes_in_targets_that_urls_do_not_have(void **state) {
    for (unsigned c = 0; c < 256; c++)
        for (size_t at = 0; at < 36; at++) {
            char text[] = "GET /0123456789012345678901234567?90123456 HTTP/1.1\r\nHost: a\r\n\r\n";
            text[5 + at] = (char)c;
            bool good = c > ' ' && c < 0x7f && c != '#';
            assert_int_equal(request_n(text, sizeof text - 1), good ? HTTP_OK : HTTP_BAD);
        }
}

static void too_long_a_target_gets_414(void **state) {
    char text[1200] = "GET /", *p = text + 5;
    memset(p, 'a', 1023);
    strcpy(p + 1023, " HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(request(text), HTTP_OK);
    memset(p, 'a', 1024);
    p[1024] = '\0';
    assert_refused(HTTP_URI_LONG, request(text));
    assert_int_equal(http_verdict_status(HTTP_URI_LONG), 414);
}

/* RFC 9112 §3.2.2 */
static void reads_absolute_form(void **state) {
    assert_int_equal(request("GET http://Ex.org:80/a?b HTTP/1.1\r\nHost: ex.org:80\r\n\r\n"),
                     HTTP_OK);
    assert_str(head.path, "/a");
    assert_str(head.query, "b");
    assert_str(head.target, "http://Ex.org:80/a?b");
    assert_int_equal(request("GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_OK);
    assert_str(head.path, "/");
    assert_null(head.query.p);
    assert_int_equal(request("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP_OK);
    assert_str(head.path, "/");
    assert_str(head.query, "q");
    assert_int_equal(request("GET http://b/ HTTP/1.0\r\n\r\n"), HTTP_OK);
    assert_str(head.known[HTTP_HOST], "b");
}

static void refuses_absolute_form_that_disagrees_with_host(void **state) {
    assert_bad(request("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_bad(request("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_bad(request("GET http://a/ HTTP/1.1\r\n\r\n"));
    assert_bad(request("GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n"));
    assert_bad(request("GET http:/// HTTP/1.0\r\n\r\n"));
    assert_bad(request("GET http:// HTTP/1.0\r\n\r\n"));
}

/* RFC 9112 §3.2.3 and §3.2.4 */
static void refuses_connect_and_targets_of_other_forms(void **state) {
    assert_bad(line("CONNECT a:443 HTTP/1.1"));
    assert_bad(line("GET a:443 HTTP/1.1"));
    assert_bad(line("GET mcp HTTP/1.1"));
    assert_bad(line("GET ftp://a/ HTTP/1.1"));
    assert_bad(line("GET ?x HTTP/1.1"));
    assert_bad(line("GET * HTTP/1.1"));
    assert_bad(line("OPTIONS ** HTTP/1.1"));
    assert_int_equal(line("OPTIONS * HTTP/1.1"), HTTP_OK);
    assert_str(head.path, "*");
}

static enum http_verdict host(const char *value) {
    static char text[4096];
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", value);
    return request(text);
}

/* RFC 9112 §3.2, RFC 9110 §7.2 */
static void takes_hosts_that_exist(void **state) {
    static const char *const good[] = { "a", "example.org", "EXAMPLE.org:8000", "127.0.0.1:1", "[::1]",
                                        "[fe80::1]:443", "[::ffff:1.2.3.4]:80", "my_host-1.local.", "a:" };
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(host(good[i]), HTTP_OK);
        assert_str(head.known[HTTP_HOST], good[i]);
    }
}

static void refuses_missing_double_and_malformed_hosts(void **state) {
    static const char *const wrong[] = { "", " ", "a b", "a,b", "a/b", "u@a", "a:b", "a:80:80", "a:123456",
                                         "[::1", "[]", "[g]", "::1", "[::1]a", "a\\b", "a#b", "a%41",
                                         "a\xc3\xa9", ":80", "a;b", "a'", "a?b", "[::1%25eth0]" };
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_bad(host(wrong[i]));
    assert_bad(request("GET / HTTP/1.1\r\nA: b\r\n\r\n"));
    assert_bad(with("Host: a\r\n"));
    assert_bad(with("hOST: b\r\n"));
    assert_int_equal(request("GET / HTTP/1.0\r\n\r\n"), HTTP_OK);
    assert_null(head.known[HTTP_HOST].p);
}

/* RFC 9112 §6.3, item 5; RFC 9110 §8.6 */
static void takes_content_length_as_digits_up_to_2_to_the_53(void **state) {
    assert_int_equal(with(""), HTTP_OK);
    assert_int_equal(head.content_length, -1);
    assert_int_equal(with("Content-Length: 0\r\n"), HTTP_OK);
    assert_int_equal(head.content_length, 0);
    assert_int_equal(with("Content-Length: 9007199254740992\r\n"), HTTP_OK);
    assert_int_equal(head.content_length, INT64_C(1) << 53);
    static const char *const odd[] = { "", "+1", "-1", "1 2", "1,1", "0x10", "1.0", "1e3", "9007199254740993",
                                       "18446744073709551617", "00000000000000001", "\xb2", "5;" };
    for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
        char text[100];
        snprintf(text, sizeof text, "Content-Length: %s\r\n", odd[i]);
        assert_bad(with(text));
        assert_bad(answer(text));
    }
}

/* RFC 9112 §11.2: request smuggling */
static void refuses_two_lengths(void **state) {
    assert_bad(with("Content-Length: 5\r\nContent-Length: 5\r\n"));
    assert_bad(with("Content-Length: 5\r\ncontent-length: 6\r\n"));
    assert_bad(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"));
    assert_bad(with("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"));
    assert_bad(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"));
    assert_bad(with("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"));
    assert_bad(answer("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"));
    assert_bad(answer("Content-Length: 5\r\nContent-Length: 5\r\n"));
}

/* RFC 9112 §6.1 */
static void only_chunked_is_a_transfer_coding(void **state) {
    assert_int_equal(with("Transfer-Encoding: Chunked\r\n"), HTTP_OK);
    assert_true(head.chunked);
    assert_int_equal(head.content_length, -1);
    static const char *const other[] = { "gzip", "gzip, chunked", "chunked, chunked", "chunked, identity", "",
                                         "identity", "xchunked", "\"chunked\"", "chunked;q=1", "chunked," };
    for (unsigned i = 0; i < ARRAY_SIZE(other); i++) {
        char text[100];
        snprintf(text, sizeof text, "Transfer-Encoding: %s\r\n", other[i]);
        assert_bad(with(text));
    }
    assert_bad(with("Transfer-Encoding: \x0b\x63hunked\r\n"));
    assert_bad(request("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
    assert_bad(response("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false));
}

/* P-070, P-080: two values for one of these and two readers differ. */
static void refuses_repeated_headers_that_decide_something(void **state) {
    static const char *const once[] = { "Authorization", "Mcp-Session-Id", "Mcp-Method", "Mcp-Name", "Origin",
                                        "MCP-Protocol-Version", "Content-Type" };
    for (unsigned i = 0; i < ARRAY_SIZE(once); i++) {
        char text[200];
        snprintf(text, sizeof text, "%s: a\r\nB: c\r\n%s: a\r\n", once[i], once[i]);
        assert_bad(with(text));
    }
}

static void notes_other_repeated_headers_and_keeps_the_first(void **state) {
    assert_int_equal(
        with("traceparent: 1\r\nTraceparent: 2\r\nCookie: a\r\nCookie: b\r\nCookie: c\r\n"),
        HTTP_OK);
    assert_int_equal(head.repeated_low, UINT32_C(1) << HTTP_TRACEPARENT);
    assert_int_equal(head.repeated_high, UINT32_C(1) << (HTTP_COOKIE - 32));
    assert_str(head.known[HTTP_TRACEPARENT], "1");
    assert_str(head.known[HTTP_COOKIE], "a");
    assert_int_equal(head.field_count, 6);
}

/* RFC 9112 §9.3 */
static void keeps_the_connection_as_version_and_connection_say(void **state) {
    with("");
    assert_true(head.keep_alive);
    with("Connection: keep-alive\r\n");
    assert_true(head.keep_alive);
    with("Connection: Close\r\n");
    assert_false(head.keep_alive);
    with("Connection: keep-alive, , close\r\n");
    assert_false(head.keep_alive);
    with("Connection: closed\r\n");
    assert_true(head.keep_alive);
    with("Connection: te\r\nConnection: x,\tclose\r\n");
    assert_false(head.keep_alive);
    request("GET / HTTP/1.0\r\n\r\n");
    assert_false(head.keep_alive);
    request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_true(head.keep_alive);
}

/* RFC 9110 §7.8 and §10.1.1: HTTP/1.0 has neither. */
static void reads_upgrade_and_expect(void **state) {
    with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nExpect: 100-Continue\r\n");
    assert_true(head.upgrade && head.keep_alive && head.expect_continue);
    with("Upgrade: websocket\r\nExpect: 100\r\n");
    assert_false(head.upgrade || head.expect_continue);
    request("GET / HTTP/1.0\r\nConnection: upgrade\r\nExpect: 100-continue\r\n\r\n");
    assert_false(head.upgrade || head.expect_continue);
}

static void too_large_heads_get_431(void **state) {
    static char text[9000];
    size_t n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nA: ");
    memset(text + n, 'a', sizeof text - n);
    assert_int_equal(request_n(text, 8191), HTTP_MORE);
    assert_refused(HTTP_TOO_LARGE, request_n(text, 8192));
    assert_refused(HTTP_TOO_LARGE, request_n(text, sizeof text));
    memcpy(text + 8188, "\r\n\r\n", 4);
    assert_int_equal(request_n(text, sizeof text), HTTP_OK);
    assert_int_equal(head.bytes, 8192);
    memcpy(text + 8188, "a\r\n\r\n", 5);
    assert_refused(HTTP_TOO_LARGE, request_n(text, sizeof text));
    assert_int_equal(http_verdict_status(HTTP_TOO_LARGE), 431);
}

static void too_many_headers_get_431(void **state) {
    static char lines[1000];
    for (unsigned i = 0; i < 49; i++)
        strcat(lines, "A: b\r\n");
    assert_int_equal(with(lines), HTTP_OK);
    assert_int_equal(head.field_count, 50);
    strcat(lines, "A: b\r\n");
    assert_refused(HTTP_TOO_LARGE, with(lines));
}

static void a_caller_may_do_without_why(void **state) {
    assert_int_equal(http_parse_request(S("GET\n"), &limits, &head, NULL), HTTP_BAD);
}

static void reads_a_typical_response(void **state) {
    const char text[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 131\r\n"
        "Date: Sat, 21 Nov 2026 02:00:00 GMT\r\nConnection: keep-alive\r\n\r\n";
    assert_int_equal(response(text, false), HTTP_OK);
    assert_int_equal(head.status, 200);
    assert_int_equal(head.content_length, 131);
    assert_true(head.keep_alive && head.minor_1);
    assert_str(head.known[HTTP_DATE], "Sat, 21 Nov 2026 02:00:00 GMT");
    assert_null(head.method.p);
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(
            http_parse_response(exact_copy(str_from(text, n)), &limits, false, &head, &why),
            HTTP_MORE);
}

/* RFC 9112 §4 */
static void reads_status_lines_with_and_without_reason(void **state) {
    assert_int_equal(response("HTTP/1.1 404 Not \xc3\xa9 Found\t!\r\n\r\n", false), HTTP_OK);
    assert_int_equal(head.status, 404);
    assert_int_equal(response("HTTP/1.1 404 \r\n\r\n", false), HTTP_OK);
    assert_int_equal(response("HTTP/1.1 404\r\n\r\n", false), HTTP_OK);
    assert_int_equal(head.bytes, 16);
    static const char *const wrong[] = { "HTTP/1.1 99 OK", "HTTP/1.1 1000 OK", "HTTP/1.1 600 OK", "HTTP/1.1  200 OK",
                                         "HTTP/1.1 2x0 OK", "HTTP/1.1 20", "HTTP/1.1 -20 OK", "HTTP/1.1 200 O\x01K",
                                         "ICY 200 OK", "HTTP/1.1\t200 OK", "<html>", "HTTP/1.1 099 OK" };
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        char text[100];
        snprintf(text, sizeof text, "%s\r\n\r\n\r\n\r\n", wrong[i]);
        assert_bad(response(text, false));
    }
}

/* RFC 9112 §6.3, item 8 */
static void a_response_without_length_ends_with_its_connection(void **state) {
    assert_int_equal(answer("Connection: keep-alive\r\n"), HTTP_OK);
    assert_int_equal(head.content_length, -1);
    assert_false(head.chunked || head.keep_alive);
    assert_int_equal(answer("Transfer-Encoding: chunked\r\n"), HTTP_OK);
    assert_true(head.chunked && head.keep_alive);
}

/* RFC 9112 §6.3, item 1 */
static void some_responses_never_have_a_body(void **state) {
    static const char *const statuses[] = { "100", "101", "103", "204", "304" };
    for (unsigned i = 0; i < ARRAY_SIZE(statuses); i++) {
        char text[100];
        snprintf(text, sizeof text, "HTTP/1.1 %s X\r\n\r\n", statuses[i]);
        assert_int_equal(response(text, false), HTTP_OK);
        assert_int_equal(head.content_length, 0);
        assert_true(head.keep_alive);
    }
    assert_int_equal(response("HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", false), HTTP_OK);
    assert_int_equal(head.content_length, 0);
    assert_true(head.keep_alive);
    assert_int_equal(response("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", true),
                     HTTP_OK);
    assert_int_equal(head.content_length, 0);
    assert_false(head.chunked);
    assert_true(head.keep_alive);
}

/* RFC 9112 §6.1, RFC 9110 §8.6: a server must not send these; what follows cannot be told. */
static void a_204_that_announces_a_body_is_the_last_on_its_connection(void **state) {
    assert_int_equal(response("HTTP/1.1 204 X\r\nContent-Length: 9\r\n\r\n", false), HTTP_OK);
    assert_int_equal(head.content_length, 0);
    assert_false(head.keep_alive);
    assert_int_equal(response("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", false),
                     HTTP_OK);
    assert_false(head.chunked || head.keep_alive);
    assert_int_equal(response("HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", false), HTTP_OK);
    assert_true(head.keep_alive);
}

static void finds_tokens_in_lists(void **state) {
    assert_true(http_has_token(S("a, b ,C"), S("c")));
    assert_true(http_has_token(S("close"), S("close")));
    assert_false(http_has_token(S("closed, xclose"), S("close")));
    assert_false(http_has_token(S(""), S("close")));
    assert_false(http_has_token((struct str){ 0 }, S("close")));
}

static void knows_tokens(void **state) {
    assert_true(http_is_token(S("a!1")));
    assert_false(http_is_token(S("")));
    assert_false(http_is_token(S("a b")));
    assert_false(http_is_token(S("a\xc3")));
    assert_false(http_is_token(S("a:")));
}

static int drop_copy(void **state) {
    free(exact);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_typical_request),
        cmocka_unit_test(every_prefix_of_a_good_head_wants_more),
        cmocka_unit_test(what_follows_the_head_does_not_matter),
        cmocka_unit_test(finds_every_known_header_in_any_case),
        cmocka_unit_test(similar_names_are_not_known_ones),
        cmocka_unit_test(takes_names_of_any_token_and_any_length),
        cmocka_unit_test(trims_values),
        cmocka_unit_test(takes_tabs_and_obs_text_inside_values),
        cmocka_unit_test(refuses_control_bytes_in_values),
        cmocka_unit_test(refuses_bytes_in_names_that_are_no_token),
        cmocka_unit_test(a_control_byte_that_folds_to_a_dash_is_no_dash),
        cmocka_unit_test(refuses_space_before_colon_empty_names_and_folding),
        cmocka_unit_test(refuses_bare_cr_and_bare_lf),
        cmocka_unit_test(skips_two_blank_lines_before_a_request_and_no_more),
        cmocka_unit_test(refuses_malformed_request_lines),
        cmocka_unit_test(takes_methods_of_up_to_32_bytes_as_they_are),
        cmocka_unit_test(other_versions_get_505),
        cmocka_unit_test(splits_path_and_query),
        cmocka_unit_test(refuses_bytes_in_targets_that_urls_do_not_have),
        cmocka_unit_test(too_long_a_target_gets_414),
        cmocka_unit_test(reads_absolute_form),
        cmocka_unit_test(refuses_absolute_form_that_disagrees_with_host),
        cmocka_unit_test(refuses_connect_and_targets_of_other_forms),
        cmocka_unit_test(takes_hosts_that_exist),
        cmocka_unit_test(refuses_missing_double_and_malformed_hosts),
        cmocka_unit_test(takes_content_length_as_digits_up_to_2_to_the_53),
        cmocka_unit_test(refuses_two_lengths),
        cmocka_unit_test(only_chunked_is_a_transfer_coding),
        cmocka_unit_test(refuses_repeated_headers_that_decide_something),
        cmocka_unit_test(notes_other_repeated_headers_and_keeps_the_first),
        cmocka_unit_test(keeps_the_connection_as_version_and_connection_say),
        cmocka_unit_test(reads_upgrade_and_expect),
        cmocka_unit_test(too_large_heads_get_431),
        cmocka_unit_test(too_many_headers_get_431),
        cmocka_unit_test(a_caller_may_do_without_why),
        cmocka_unit_test(reads_a_typical_response),
        cmocka_unit_test(reads_status_lines_with_and_without_reason),
        cmocka_unit_test(a_response_without_length_ends_with_its_connection),
        cmocka_unit_test(some_responses_never_have_a_body),
        cmocka_unit_test(a_204_that_announces_a_body_is_the_last_on_its_connection),
        cmocka_unit_test(finds_tokens_in_lists),
        cmocka_unit_test(knows_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, drop_copy);
}
