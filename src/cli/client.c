/* client.c - see client.h. An answer is one JSON document or an event stream that ends with
 * it (P-141). */
#include "cli/client.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/libcurl.h"
#include "mcp/header_value.h"
#include "net/sse.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

enum { MAX_ANSWER = 64 * 1024 * 1024, MAX_PAGES = 1000, KEY_FILE_LIMIT = 64 * 1024 };

static volatile sig_atomic_t interrupted;

struct reply {
    struct mcp_client *client;
    CURL *curl;
    struct buf body;       /* of a document */
    struct sse_parser sse; /* of a stream */
    json answer;           /* the response message; NULL: none came */
    bool too_large, waiting_shown;
    nanos began;
    char error[CURL_ERROR_SIZE];
};

static void reply_done(struct reply *r) {
    buf_done(&r->body);
    sse_done(&r->sse);
}

bool client_interrupted(void) {
    return interrupted != 0;
}

/* ---- opening -------------------- */

static bool has_line_end(struct str s) {
    return str_find_char(s, '\r') >= 0 || str_find_char(s, '\n') >= 0;
}

int client_key(struct cli *c, struct str *out) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct str path = cli_get(c, "key-file"), key = cli_get(c, "key");
    bool missing = false;
    if (!key.n && path.n) {
        err_t e = file_read(path, KEY_FILE_LIMIT, &text, &missing);
        if (e || missing)
            return cli_fail(EXIT_CREDENTIALS, "the key file %.*s: %s", STR(path),
                            e ? e->text : "there is no such file");
        struct str rest = arena_dup(&c->arena, buf_view(&text));
        key = str_trim(str_cut(&rest, '\n'));
        key.n -= str_ends(key, S("\r"));
    }
    if (has_line_end(key))
        return cli_fail(EXIT_USAGE, "the key has a line end in it");
    *out = key;
    return 0;
}

static void interrupt(int number) {
    interrupted = 1;
}

int client_open(struct cli *c, struct mcp_client *out) {
    return client_open_at(c, cli_get(c, "url"), out);
}

/* An address alone, such as http://gateway:8000, means the /mcp there. */
static const char *path_of(struct str url) {
    struct str host = str_skip(url, (size_t)str_find(url, S("://")) + 3);
    return str_find_char(host, '/') < 0 && str_find_char(host, '?') < 0 ? "/mcp" : "";
}

int client_open_at(struct cli *c, struct str url, struct mcp_client *out) {
    *out = (struct mcp_client){
        .arena = &c->arena, .profile = cli_get(c, "profile"),
        .quiet = cli_has(c, "quiet"), .verbose = cli_has(c, "verbose"),
    };
    if (!url.n)
        url = S("http://127.0.0.1:8000/mcp");
    if (!str_starts(url, S("http://")) && !str_starts(url, S("https://")))
        return cli_fail(EXIT_USAGE, "--url %.*s: an http:// or https:// address is needed",
                        STR(url));
    int code = client_key(c, &out->key);
    if (code)
        return code;
    while (url.p[url.n - 1] == '/')
        url.n--;
    if (str_find(url, S("://")) < 0)
        return cli_fail(EXIT_USAGE, "--url %.*s: the host is missing", STR(url));
    const char *slash = out->profile.n ? "/" : "";
    struct str whole = arena_fmt(&c->arena, "%.*s%s%s%.*s", STR(url), path_of(url), slash,
                                 STR(out->profile));
    out->url = arena_text(&c->arena, whole);
    code = libcurl_open();
    if (!code)
        sigaction(SIGINT, &(struct sigaction){ .sa_handler = interrupt }, NULL);
    return code;
}

/* ---- the request -------------------- */

static void write_meta(struct jw *w, const struct mcp_client *m, const struct mcp_request *r) {
    jw_key(w, S("_meta"));
    jw_object(w);
    jw_put_string(w, "io.modelcontextprotocol/protocolVersion", S("2026-07-28"));
    jw_put_raw(w, "io.modelcontextprotocol/clientInfo",
               S("{\"name\":\"gatespan-cli\",\"version\":\"" GATESPAN_VERSION "\"}"));
    jw_put_raw(w, "io.modelcontextprotocol/clientCapabilities", S("{}"));
    if (r->progress)
        jw_put_int(w, "progressToken", (int64_t)m->last_id);
    jw_object_end(w);
}

static void write_body(struct buf *b, const struct mcp_client *m, const struct mcp_request *r) {
    struct jw w = jw_init(b);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    jw_put_int(&w, "id", (int64_t)m->last_id);
    jw_put_string(&w, "method", str_of(r->method));
    jw_key(&w, S("params"));
    jw_object(&w);
    buf_str(b, r->params);
    w.comma = r->params.n > 0;
    write_meta(&w, m, r);
    jw_object_end(&w);
    jw_object_end(&w);
}

static void add_header(struct arena *a, struct curl_slist **list, const char *name,
                       struct str value) {
    /* curl sends "Name;" as a header with an empty value, and drops "Name:" */
    struct str line = value.n ? arena_fmt(a, "%s: %.*s", name, STR(value))
                              : arena_fmt(a, "%s;", name);
    *list = sym_curl_slist_append(*list, arena_text(a, line));
}

static void add_lines(struct arena *a, struct curl_slist **list, struct str lines) {
    while (lines.n) {
        struct str line = str_cut(&lines, '\n'), name = str_cut(&line, ':');
        if (name.n && line.n)
            add_header(a, list, arena_text(a, name), str_trim(str_head(line, line.n - 1)));
    }
}

static struct curl_slist *headers_of(const struct mcp_client *m, const struct mcp_request *r) {
    struct curl_slist *list = NULL;
    add_header(m->arena, &list, "Content-Type", S("application/json"));
    add_header(m->arena, &list, "Accept", S("application/json, text/event-stream"));
    add_header(m->arena, &list, "MCP-Protocol-Version", S("2026-07-28"));
    add_header(m->arena, &list, "Mcp-Method", str_of(r->method));
    if (r->name.n) {
        char *value = arena_alloc(m->arena, 2 * r->name.n + 32);
        add_header(m->arena, &list, "Mcp-Name",
                   str_from(value, header_value_write(value, r->name)));
    }
    if (m->key.n)
        add_header(m->arena, &list, "Authorization",
                   arena_fmt(m->arena, "Bearer %.*s", STR(m->key)));
    add_lines(m->arena, &list, r->headers);
    return list;
}

/* ---- the answer -------------------- */

/* What was shown of the waiting makes room for what is printed next. */
static void clear_waiting(struct reply *r) {
    if (r->waiting_shown)
        fputs("\r\033[K", stderr);
    r->waiting_shown = false;
}

static void show_waiting(struct reply *r, nanos now) {
    nanos waited = now - r->began;
    if (waited < NANOS_SEC || r->client->quiet || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\rwaiting for an answer, %d s\033[K", (int)(waited / NANOS_SEC));
    r->waiting_shown = true;
}

static void show_progress(struct reply *r, json params) {
    if (r->client->quiet)
        return;
    clear_waiting(r);

    struct str done = json_get_text(params, S("progress")), all = json_get_text(params, S("total"));
    struct str text = json_get_text(params, S("message"));
    fprintf(stderr, "progress %.*s%s%.*s%s%.*s\n", STR(done), all.n ? "/" : "", STR(all),
            text.n ? ": " : "", STR(text));
}

static void take_message(struct reply *r, struct str text) {
    json message = NULL;
    if (json_parse(r->client->arena, arena_dup(r->client->arena, text), (struct json_limits){ 0 },
                   &message))
        return;
    if (str_eq(json_get_text(message, S("method")), S("notifications/progress")))
        show_progress(r, json_get(message, S("params")));
    else if (json_get(message, S("result")) || json_get(message, S("error")))
        r->answer = message;
}

static bool is_stream(struct reply *r) {
    const char *type = NULL;
    sym_curl_easy_getinfo(r->curl, CURLINFO_CONTENT_TYPE, &type);
    return type && strncmp(type, "text/event-stream", 17) == 0;
}

static bool take_events(struct reply *r, struct str in) {
    struct sse_event event;
    err_t e = OK;
    while (sse_next(&r->sse, &in, &event, &e))
        take_message(r, event.data);
    return !e;
}

static size_t on_bytes(char *p, size_t size, size_t n, void *arg) {
    struct reply *r = arg;
    bool stream = is_stream(r);
    bool ok = stream ? take_events(r, str_from(p, n)) : r->body.n + n <= MAX_ANSWER;
    r->too_large = !ok;
    if (ok && !stream)
        buf_put(&r->body, p, n);
    return ok ? n : 0;
}

/* ---- what went wrong -------------------- */

static int fail_transport(const struct reply *r, CURLcode code) {
    if (interrupted)
        return cli_fail(EXIT_INTERRUPTED, "interrupted; the request is given up");
    if (code == CURLE_OPERATION_TIMEDOUT && r->client->timeout &&
        clock_mono() - r->began >= r->client->timeout / 10 * 9) /* curl counts milliseconds */
        return cli_fail(EXIT_UPSTREAM, "no answer within the --timeout; the request is given up");
    if (code == CURLE_URL_MALFORMAT)
        return cli_fail(EXIT_USAGE, "--url %s is no address", r->client->url);
    if (r->too_large)
        return cli_fail(EXIT_UPSTREAM, "the answer of %s is larger than 64 MiB", r->client->url);
    return cli_fail(EXIT_UPSTREAM, "cannot reach %s: %s; is the gateway running (gatespan serve)?",
                    r->client->url, r->error[0] ? r->error : sym_curl_easy_strerror(code));
}

/* The text of a JSON-RPC error, or of the REST shape. */
static struct str message_of(json answer) {
    struct str text = json_get_text(json_get(answer, S("error")), S("message"));
    return text.n ? text : json_get_text(answer, S("message"));
}

static int fail_status(const struct reply *r, long status) {
    struct str why = message_of(r->answer);
    if (status == 401)
        return cli_fail(EXIT_CREDENTIALS, "%s; give one with GATESPAN_KEY or --key",
                        r->client->key.n ? "the gateway does not accept this key"
                                         : "the gateway wants a key");
    if (status == 403)
        return cli_fail(EXIT_CREDENTIALS, "refused: %.*s", STR(why));
    if (status == 404 && r->client->profile.n)
        return cli_fail(EXIT_USAGE, "--profile %.*s: %.*s", STR(r->client->profile), STR(why));
    if (!why.n)
        return cli_fail(EXIT_UPSTREAM, "%s answered with status %ld and no MCP message",
                        r->client->url, status);
    return cli_fail(EXIT_UPSTREAM, "%.*s", STR(why));
}

static int finish(struct reply *r, CURLcode code, json *out_result) {
    long status = 0;
    if (code != CURLE_OK)
        return fail_transport(r, code);
    if (r->body.n && json_parse(r->client->arena, arena_dup(r->client->arena, buf_view(&r->body)),
                                (struct json_limits){ 0 }, &r->answer))
        r->answer = NULL;
    sym_curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    *out_result = json_get(r->answer, S("result"));
    return *out_result && status == 200 ? 0 : fail_status(r, status);
}

/* Waits in short steps, so that a signal is seen. */
static CURLcode perform(struct reply *r) {
    CURLM *multi = sym_curl_multi_init();
    CURLcode code = CURLE_ABORTED_BY_CALLBACK;
    int running = 1, left = 0;
    sym_curl_multi_add_handle(multi, r->curl);
    while (running && !interrupted) {
        sym_curl_multi_perform(multi, &running);
        if (running)
            sym_curl_multi_poll(multi, NULL, 0, 100, NULL);
        show_waiting(r, clock_mono());
    }
    CURLMsg *end = running ? NULL : sym_curl_multi_info_read(multi, &left);
    if (end)
        code = end->data.result;
    sym_curl_multi_remove_handle(multi, r->curl);
    sym_curl_multi_cleanup(multi);
    clear_waiting(r);
    return code;
}

static void tell(const struct reply *r, const struct mcp_request *request) {
    long status = 0;
    if (!r->client->verbose)
        return;
    sym_curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    fprintf(stderr, "gatespan: POST %s %s%s%.*s: status %ld, %.1f ms\n", r->client->url,
            request->method, request->name.n ? " " : "", STR(request->name), status,
            (double)(clock_mono() - r->began) / (double)NANOS_MS);
}

int client_ask(struct mcp_client *m, const struct mcp_request *request, json *out_result) {
    SCOPED(reply_done) struct reply r = { .client = m, .sse.limit = MAX_ANSWER,
                                          .began = clock_mono() };
    SCOPED(buf_done) struct buf body = { 0 };
    m->last_id++;
    write_body(&body, m, request);
    struct curl_slist *headers = headers_of(m, request);
    CURL *curl = r.curl = sym_curl_easy_init();
    sym_curl_easy_setopt(curl, CURLOPT_URL, m->url);
    sym_curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    sym_curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    sym_curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.p);
    sym_curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    sym_curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    sym_curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(m->timeout / NANOS_MS));
    sym_curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    sym_curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    sym_curl_easy_setopt(curl, CURLOPT_WRITEDATA, &r);
    sym_curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, r.error);
    int code = finish(&r, perform(&r), out_result);
    tell(&r, request);
    sym_curl_slist_free_all(headers);
    sym_curl_easy_cleanup(curl);
    return code;
}

/* ---- lists -------------------- */

static void add_tools(struct arena *a, struct tool_list *list, json page) {
    json *all = ARENA_ARRAY(a, json, list->n + json_count(page) + 1);
    if (list->n)
        memcpy(all, list->items, list->n * sizeof *all);
    list->items = all;
    for (struct json_iter it = json_iter(page); json_next(&it);)
        all[list->n++] = it.value;
}

static void name_missing(json result) {
    json missing = json_get(json_get(result, S("_meta")), S("gatespan/missingUpstreams"));
    SCOPED(buf_done) struct buf names = { 0 };
    for (struct json_iter it = json_iter(missing); json_next(&it);)
        buf_fmt(&names, "%s%.*s", names.n ? ", " : "", STR(json_text(it.value)));
    if (names.n)
        fprintf(stderr,
                "gatespan: not answering now: %.*s (gatespan doctor, or the gateway's log, says "
                "why)\n",
                STR(buf_view(&names)));
}

int client_tools(struct mcp_client *m, struct tool_list *out) {
    *out = (struct tool_list){ 0 };
    struct str params = S("");
    for (int page = 0; page < MAX_PAGES; page++) {
        json result = NULL;
        int code = client_ask(m, &(struct mcp_request){ .method = "tools/list", .params = params },
                              &result);
        if (code)
            return code;
        add_tools(m->arena, out, json_get(result, S("tools")));
        json cursor = json_get(result, S("nextCursor"));
        if (page == 0)
            name_missing(result);
        if (json_type(cursor) != JSON_STRING)
            return 0;
        SCOPED(buf_done) struct buf b = { 0 };
        buf_str(&b, S("\"cursor\":"));
        json_write(&b, cursor);
        params = arena_dup(m->arena, buf_view(&b));
    }
    return 0;
}

static struct str closest(const struct tool_list *tools, struct str name) {
    struct str best = { 0 };
    unsigned distance = 7;
    for (size_t i = 0; i < tools->n; i++) {
        struct str other = json_get_text(tools->items[i], S("name"));
        unsigned d = str_ends(other, name) ? 1 : str_distance(name, other, 6);
        if (d < distance) {
            distance = d;
            best = other;
        }
    }
    return best;
}

int client_no_tool(const struct tool_list *tools, struct str name) {
    struct str other = closest(tools, name);
    return cli_fail(EXIT_USAGE, "there is no tool %.*s%s%.*s%s", STR(name),
                    other.n ? "; did you mean " : " (gatespan tools lists them)", STR(other),
                    other.n ? "?" : "");
}
