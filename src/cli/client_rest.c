/* client_rest.c - the REST API of a gateway, for commands (client.h). */
#include "base/mem.h"
#include "cli/client.h"
#include "cli/libcurl.h"
#include "net/sse.h"

enum { MAX_ANSWER = 64 * 1024 * 1024, MAX_PAGES = 1000, STEP_MS = 100 };

struct rest_reply {
    struct mcp_client *client;
    CURL *curl;
    struct buf body;
    struct sse_parser sse;
    bool (*take)(void *arg, struct str type, struct str data); /* NULL: a whole answer */
    void *arg;
    bool enough, heard;
    nanos began;
    char error[CURL_ERROR_SIZE];
};

static void rest_reply_done(struct rest_reply *r) {
    buf_done(&r->body);
    sse_done(&r->sse);
}

void client_escape(struct buf *b, struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-._~", c));
        if (plain)
            buf_char(b, c);
        else
            buf_fmt(b, "%%%02X", (uint8_t)c);
    }
}

/* The address without /mcp and the profile. */
static struct str origin_of(const struct mcp_client *m) {
    struct str url = str_of(m->url);
    ptrdiff_t host = str_find(url, S("://"));
    ptrdiff_t end = str_find(str_skip(url, (size_t)host + 3), S("/mcp"));
    return end < 0 ? url : str_head(url, (size_t)(host + 3 + end));
}

/* ---- the exchange --------------------------------------------------------------------- */

static long status_of(const struct rest_reply *r) {
    long status = 0;
    sym_curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static bool take_events(struct rest_reply *r, struct str in) {
    struct sse_event event;
    err_t e = OK;
    while (!r->enough && sse_next(&r->sse, &in, &event, &e))
        r->enough = !r->take(r->arg, event.type, event.data);
    return !e && !r->enough;
}

static size_t on_bytes(char *p, size_t size, size_t n, void *arg) {
    struct rest_reply *r = arg;
    r->heard = true;
    if (r->take && status_of(r) == 200)
        return take_events(r, str_from(p, n)) ? n : 0;
    if (r->body.n + n > MAX_ANSWER)
        return 0;
    buf_put(&r->body, p, n);
    return n;
}

static struct curl_slist *headers_of(const struct mcp_client *m, struct str body) {
    struct curl_slist *list = NULL;
    struct str key = arena_fmt(m->arena, "Authorization: Bearer %.*s", STR(m->key));
    if (m->key.n)
        list = sym_curl_slist_append(list, arena_text(m->arena, key));
    if (body.n)
        list = sym_curl_slist_append(list, "Content-Type: application/json");
    return sym_curl_slist_append(list, "Expect:");
}

/* Waits in short steps, so that a signal is seen. */
static CURLcode perform(struct rest_reply *r) {
    CURLM *multi = sym_curl_multi_init();
    CURLcode code = CURLE_ABORTED_BY_CALLBACK;
    int running = 1, left = 0;
    sym_curl_multi_add_handle(multi, r->curl);
    while (running && !client_interrupted()) {
        sym_curl_multi_perform(multi, &running);
        if (running)
            sym_curl_multi_poll(multi, NULL, 0, STEP_MS, NULL);
    }
    CURLMsg *end = running ? NULL : sym_curl_multi_info_read(multi, &left);
    if (end)
        code = end->data.result;
    sym_curl_multi_remove_handle(multi, r->curl);
    sym_curl_multi_cleanup(multi);
    return code;
}

static CURLcode transfer(struct rest_reply *r, const char *method, const char *url, struct str body,
                         struct curl_slist *headers) {
    CURL *curl = r->curl;
    r->began = clock_mono();
    sym_curl_easy_setopt(curl, CURLOPT_URL, url);
    sym_curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    sym_curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    sym_curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (body.n) {
        sym_curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.p);
        sym_curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    }
    sym_curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    sym_curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    sym_curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    sym_curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
    sym_curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, r->error);
    return perform(r);
}

/* ---- what came of it ------------------------------------------------------------------ */

static int fail_status(const struct rest_reply *r, long status, json answer) {
    struct str why = json_get_text(answer, S("message"));
    if (status == 401)
        return cli_fail(EXIT_CREDENTIALS, "%s; give one with GATESPAN_KEY or --key",
                        r->client->key.n ? "the gateway does not accept this key"
                                         : "the gateway wants a key");
    if (status == 403)
        return cli_fail(EXIT_CREDENTIALS, "refused: %.*s", STR(why));
    if (!answer)
        return cli_fail(EXIT_UPSTREAM, "%s answered with status %ld and no JSON; is it a gateway?",
                        r->client->url, status);
    if (status >= 500)
        return cli_fail(EXIT_UPSTREAM, "%.*s", STR(why));
    return cli_fail(status == 400 || status == 422 ? EXIT_USAGE : EXIT_FAILURE_, "%.*s", STR(why));
}

static int fail_transport(const struct rest_reply *r, CURLcode code) {
    if (client_interrupted())
        return cli_fail(EXIT_INTERRUPTED, "interrupted");
    if (code == CURLE_URL_MALFORMAT)
        return cli_fail(EXIT_USAGE, "--url %s is no address", r->client->url);
    return cli_fail(EXIT_UPSTREAM, "cannot reach %s: %s; is the gateway running (gatespan serve)?",
                    r->client->url, r->error[0] ? r->error : sym_curl_easy_strerror(code));
}

static int finish(struct rest_reply *r, CURLcode code, json *out) {
    long status = status_of(r);
    *out = NULL;
    if (code != CURLE_OK && r->client->silent)
        return EXIT_UPSTREAM;
    if (code != CURLE_OK)
        return fail_transport(r, code);
    if (r->body.n && json_parse(r->client->arena, arena_dup(r->client->arena, buf_view(&r->body)),
                                (struct json_limits){ 0 }, out))
        *out = NULL;
    if (status / 100 != 2 && r->client->silent)
        return EXIT_UPSTREAM;
    return status / 100 == 2 ? 0 : fail_status(r, status, *out);
}

static void tell(const struct rest_reply *r, const char *method, const char *url) {
    if (r->client->verbose)
        fprintf(stderr, "gatespan: %s %s: status %ld, %.1f ms\n", method, url, status_of(r),
                (double)(clock_mono() - r->began) / (double)NANOS_MS);
}

int client_rest(struct mcp_client *m, const char *method, struct str path, struct str body,
                json *out) {
    SCOPED(rest_reply_done) struct rest_reply r = { .client = m, .curl = sym_curl_easy_init() };
    struct str whole = arena_fmt(m->arena, "%.*s%.*s", STR(origin_of(m)), STR(path));
    const char *url = arena_text(m->arena, whole);
    struct curl_slist *headers = headers_of(m, body);
    int code = finish(&r, transfer(&r, method, url, body, headers), out);
    tell(&r, method, url);
    sym_curl_slist_free_all(headers);
    sym_curl_easy_cleanup(r.curl);
    return code;
}

int client_rest_all(struct mcp_client *m, struct str path, json *out_array) {
    SCOPED(buf_done) struct buf all = { 0 };
    struct jw w = jw_init(&all);
    struct str cursor = S("");
    const char *sign = str_find_char(path, '?') < 0 ? "?" : "&";
    jw_array(&w);
    for (int page = 0; page < MAX_PAGES && cursor.p; page++) {
        SCOPED(buf_done) struct buf url = { 0 };
        json answer = NULL;
        buf_fmt(&url, "%.*s%slimit=1000%s", STR(path), sign, cursor.n ? "&cursor=" : "");
        client_escape(&url, cursor);
        int code = client_rest(m, "GET", buf_view(&url), S(""), &answer);
        if (code)
            return code;
        for (struct json_iter it = json_iter(json_get(answer, S("items"))); json_next(&it);)
            jw_value(&w, it.value);
        cursor = json_get_text(answer, S("next_cursor"));
        if (!cursor.n)
            cursor.p = NULL;
    }
    jw_array_end(&w);
    return json_parse(m->arena, arena_dup(m->arena, buf_view(&all)), (struct json_limits){ 0 },
                      out_array)
               ? cli_fail(EXIT_UPSTREAM, "the list of the gateway is no JSON")
               : 0;
}

int client_follow(struct mcp_client *m, struct str path,
                  bool (*take)(void *arg, struct str type, struct str data), void *arg) {
    SCOPED(rest_reply_done)
    struct rest_reply r = { .client = m, .curl = sym_curl_easy_init(), .take = take, .arg = arg };
    struct str whole = arena_fmt(m->arena, "%.*s%.*s", STR(origin_of(m)), STR(path));
    const char *url = arena_text(m->arena, whole);
    struct curl_slist *headers = headers_of(m, S(""));
    json ignored = NULL;
    CURLcode code = transfer(&r, "GET", url, S(""), headers);
    tell(&r, "GET", url);
    bool opened = status_of(&r) == 200;
    int result = client_interrupted() ? EXIT_INTERRUPTED
                 : r.enough           ? 0
                 : opened || (m->patient && code != CURLE_OK) ? CLIENT_ENDED
                                                              : finish(&r, code, &ignored);
    sym_curl_slist_free_all(headers);
    sym_curl_easy_cleanup(r.curl);
    return result;
}
