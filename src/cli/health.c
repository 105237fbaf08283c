/* health.c - `gatespan health`: is it well? For container health checks and scripts, where no other
 * client is at hand. Needs no key. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/libcurl.h"
#include "net/http_url.h"
#include <stdio.h>

static const struct cli_option options[] = {
    { "live", NULL, NULL, false, "ask whether the process answers, not whether it is ready" },
    { "timeout", "SECONDS", NULL, false, "longest wait; default 3" },
    { "cacert", "FILE", NULL, false, "PEM file of certificates to trust, for https" },
};

static size_t drop(char *p, size_t size, size_t n, void *arg) {
    return size * n;
}

/* The gateway's address, whatever path it was given with. */
static int url_of(struct cli *c, const char **out) {
    const char *given = getenv("GATESPAN_URL");
    struct str text = c->word_count     ? c->words[0]
                      : given && *given ? str_of(given)
                                        : S("http://127.0.0.1:8000");
    struct http_url url;
    err_t e = http_url_parse(text, &url);
    if (e)
        return cli_fail(EXIT_USAGE, "URL: %s", e->text);
    *out = arena_text(&c->arena,
                      arena_fmt(&c->arena, "%s://%.*s%s", url.secure ? "https" : "http",
                                STR(url.authority), cli_has(c, "live") ? "/health" : "/ready"));
    return 0;
}

static int ask(CURL *curl, struct cli *c, const char *url, long seconds) {
    long status = 0;
    char why[CURL_ERROR_SIZE] = "";
    struct str ca = cli_get(c, "cacert");
    sym_curl_easy_setopt(curl, CURLOPT_URL, url);
    sym_curl_easy_setopt(curl, CURLOPT_TIMEOUT, seconds);
    sym_curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    sym_curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* it is here, or nowhere */
    sym_curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    sym_curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    if (ca.n)
        sym_curl_easy_setopt(curl, CURLOPT_CAINFO, arena_text(&c->arena, ca));
    CURLcode code = sym_curl_easy_perform(curl);
    if (code != CURLE_OK)
        return cli_fail(EXIT_FAILURE_, "%s: %s", url, why[0] ? why : sym_curl_easy_strerror(code));
    sym_curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return cli_fail(EXIT_FAILURE_, "%s: not well: status %ld", url, status);
    return 0;
}

static int run(struct cli *c) {
    uint64_t seconds = 3;
    const char *url = NULL;
    struct str text = cli_get(c, "timeout");
    if (text.p && (!str_to_u64(text, &seconds) || seconds == 0 || seconds > 3600))
        return cli_fail(EXIT_USAGE, "--timeout %.*s: seconds from 1 to 3600 are needed", STR(text));
    int code = url_of(c, &url);
    if (!code)
        code = libcurl_open();
    if (code)
        return code;
    CURL *curl = sym_curl_easy_init();
    if (!curl)
        return cli_fail(EXIT_FAILURE_, "libcurl does not start");
    code = ask(curl, c, url, (long)seconds);
    sym_curl_easy_cleanup(curl);
    return code;
}

const struct command command_health = {
    .name = "health", .words = "[URL]", .summary = "exit with 0 when a gateway is ready, else with 1",
    .options = options, .option_count = ARRAY_SIZE(options), .most_words = 1, .run = run,
};
