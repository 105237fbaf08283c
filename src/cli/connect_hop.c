/* connect_hop.c - one HTTP request of `gatespan connect` and what becomes of it (connect.h). */
#include "base/mem.h"
#include "cli/connect.h"
#include "mcp/header_value.h"
#include "mcp/revision.h"

#define BACKOFF_FIRST (100 * NANOS_MS)
#define BACKOFF_MOST (5 * NANOS_SEC)

/* ---- life ----------------------------------------------------------------------------- */

struct hop *hop_new(struct bridge *b, enum hop_kind kind, struct buf *message) {
    struct hop *h = NEW(struct hop);
    h->kind = kind;
    h->bridge = b;
    h->began = clock_mono();
    h->sse.limit = CONNECT_MESSAGE;
    if (message) {
        h->message = *message;
        *message = (struct buf){ 0 };
        buf_text(&h->message);
        envelope_scan(buf_view(&h->message), (struct envelope_limits){ 0 }, &h->head);
    }
    h->modern = h->head.protocol_version.p != NULL;
    h->batch = h->head.kind == ENVELOPE_BATCH;
    struct hop **end = &b->hops; /* started in the order in which they came */
    while (*end)
        end = &(*end)->next;
    *end = h;
    b->hop_count++;
    return h;
}

static void close_transfer(struct hop *h) {
    if (h->curl) {
        sym_curl_multi_remove_handle(h->bridge->multi, h->curl);
        sym_curl_easy_cleanup(h->curl);
    }
    sym_curl_slist_free_all(h->headers);
    h->curl = NULL;
    h->headers = NULL;
    h->paused = h->heard = h->too_large = h->answered = false;
    buf_clear(&h->body);
    sse_done(&h->sse);
    h->sse = (struct sse_parser){ .limit = CONNECT_MESSAGE };
}

void hop_again(struct hop *h, nanos due) {
    close_transfer(h);
    h->due = due;
}

static void forget(struct bridge *b, const struct hop *gone) {
    for (struct hop *h = b->hops; h; h = h->next)
        if (h->for_call == gone)
            h->for_call = NULL;
    if (b->barrier == gone)
        b->barrier = NULL;
}

void hop_end(struct hop *h) {
    struct bridge *b = h->bridge;
    struct hop **at = &b->hops;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    b->hop_count--;
    forget(b, h);
    close_transfer(h);
    buf_done(&h->body);
    buf_done(&h->message);
    buf_done(&h->resume);
    free(h);
}

/* ---- the request ---------------------------------------------------------------------- */

static void add_header(struct hop *h, struct arena *a, const char *name, struct str value) {
    struct str line = value.n ? arena_fmt(a, "%s: %.*s", name, STR(value))
                              : arena_fmt(a, "%s;", name); /* curl: an empty value */
    h->headers = sym_curl_slist_append(h->headers, arena_text(a, line));
}

static bool goes_by_name(struct str method) {
    enum method m = method_parse(method);
    return m == METHOD_TOOLS_CALL || m == METHOD_PROMPTS_GET || m == METHOD_RESOURCES_READ ||
           str_starts(method, S("tasks/"));
}

/* P-070: what the body says, once more for those who read headers alone. */
static void add_modern(struct hop *h, struct arena *a) {
    add_header(h, a, "MCP-Protocol-Version", h->head.protocol_version);
    if (h->head.method.p)
        add_header(h, a, "Mcp-Method", h->head.method);
    if (!h->head.name.p || !goes_by_name(h->head.method))
        return;
    struct str name = json_unescape(a, h->head.name);
    char *value = arena_alloc(a, 2 * name.n + 32);
    add_header(h, a, "Mcp-Name", str_from(value, header_value_write(value, name)));
    struct str lines = str_eq(h->head.method, S("tools/call"))
                           ? tools_headers(h->bridge, a, name, h->head.arguments)
                           : S("");
    while (lines.n) {
        struct str line = str_cut(&lines, '\n'), key = str_cut(&line, ':');
        if (key.n && line.n)
            add_header(h, a, arena_text(a, key), str_trim(str_head(line, line.n - 1)));
    }
}

static void add_legacy(struct hop *h, struct arena *a) {
    const struct session *s = &h->bridge->session;
    if (h->initialize || h->kind == HOP_OPEN)
        return;
    if (s->id.n)
        add_header(h, a, "Mcp-Session-Id", s->id);
    if (str_cmp(s->version, S("2025-06-18")) >= 0) /* P-149: not before */
        add_header(h, a, "MCP-Protocol-Version", s->version);
    if (h->resume.n)
        add_header(h, a, "Last-Event-ID", buf_view(&h->resume));
}

static bool posts(const struct hop *h) {
    return h->message.n && !h->resume.n;
}

static void add_headers(struct hop *h) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    if (posts(h))
        add_header(h, &a, "Content-Type", S("application/json"));
    add_header(h, &a, "Accept",
               posts(h) ? S("application/json, text/event-stream") : S("text/event-stream"));
    h->headers = sym_curl_slist_append(h->headers, "Expect:"); /* no waiting for 100 */
    if (h->bridge->key.n)
        add_header(h, &a, "Authorization", arena_fmt(&a, "Bearer %.*s", STR(h->bridge->key)));
    if (h->modern)
        add_modern(h, &a);
    else
        add_legacy(h, &a);
}

static size_t on_bytes(char *p, size_t size, size_t n, void *arg);
static size_t on_header(char *p, size_t size, size_t n, void *arg);

static void set_body(struct hop *h) {
    if (posts(h)) {
        sym_curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, h->message.p);
        sym_curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)h->message.n);
    } else if (h->kind == HOP_END)
        sym_curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, "DELETE");
}

void hop_start(struct hop *h) {
    CURL *curl = h->curl = sym_curl_easy_init();
    add_headers(h);
    set_body(h);
    sym_curl_easy_setopt(curl, CURLOPT_URL, h->bridge->url);
    sym_curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    sym_curl_easy_setopt(curl, CURLOPT_HTTPHEADER, h->headers);
    sym_curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    sym_curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    sym_curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    sym_curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    sym_curl_easy_setopt(curl, CURLOPT_WRITEDATA, h);
    sym_curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    sym_curl_easy_setopt(curl, CURLOPT_HEADERDATA, h);
    sym_curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, h->error);
    sym_curl_easy_setopt(curl, CURLOPT_PRIVATE, h);
    h->error[0] = '\0';
    h->tries++;
    sym_curl_multi_add_handle(h->bridge->multi, curl);
}

/* ---- messages of the answer ----------------------------------------------------------- */

static int error_code(struct str error) {
    int64_t code = 0;
    str_to_i64(json_raw_get(error, S("code")), &code);
    return (int)code;
}

/* P-079: headers did not match the tool's schema; ask for it and try once more. */
static bool wants_list(struct hop *h, const struct envelope *e) {
    return h->modern && !h->relisted && e->kind == ENVELOPE_ERROR &&
           str_eq(h->head.method, S("tools/call")) && error_code(e->error) == RPC_HEADER_MISMATCH;
}

static void list_tools(struct hop *call, struct str cursor) {
    struct bridge *b = call->bridge;
    struct buf text = { 0 };
    buf_fmt(&text,
            "{\"jsonrpc\":\"2.0\",\"id\":\"gatespan-%llu\",\"method\":\"tools/list\",\"params\":{",
            (unsigned long long)++b->own_ids);
    if (cursor.n)
        buf_fmt(&text, "\"cursor\":%.*s,", STR(cursor));
    buf_fmt(&text, "\"_meta\":%.*s}}", STR(call->head.meta));
    call->relisted = true;
    hop_new(b, HOP_LIST, &text)->for_call = call;
}

/* The call goes out again with what the list said; nobody waits for it when it was cancelled. */
static void list_finished(struct hop *list) {
    struct hop *call = list->for_call;
    if (call && list->cursor.n)
        list_tools(call, list->cursor);
    else if (call)
        call->due = 0;
    hop_end(list);
}

/* An error whose id did not survive (P-007) is still the answer to what was sent. */
static void say_error(struct hop *h, const struct envelope *e) {
    SCOPED(buf_done) struct buf text = { 0 };
    buf_fmt(&text, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"error\":%.*s}", STR(h->head.id),
            STR(e->error));
    connect_say(h->bridge, buf_view(&text));
}

static void take_answer(struct hop *h, const struct envelope *e, struct str text) {
    struct bridge *b = h->bridge;
    h->answered = true;
    if (h->modern && e->kind == ENVELOPE_RESULT && str_eq(h->head.method, S("tools/list")))
        tools_seen(b, e->result);
    struct str cursor = json_raw_get(e->result, S("nextCursor"));
    if (h->kind == HOP_LIST && cursor.n && cursor.p[0] == '"')
        h->cursor = arena_dup(&b->arena, cursor);
    if (h->kind != HOP_REQUEST) {
        session_answered(b, h, e);
        return;
    }
    if (wants_list(h, e))
        return; /* hop_finished goes on */
    h->told = true;
    session_answered(b, h, e);
    if (e->kind == ENVELOPE_ERROR && !e->id.p && h->head.id.p)
        say_error(h, e);
    else
        connect_say(b, text);
}

/* What a listen missed while its stream was away (P-115): said as if it had just changed. */
static void say_changed(struct hop *h) {
    static const struct { struct str asked; const char *method; } kinds[] = {
        { S_INIT("toolsListChanged"), "notifications/tools/list_changed" },
        { S_INIT("promptsListChanged"), "notifications/prompts/list_changed" },
        { S_INIT("resourcesListChanged"), "notifications/resources/list_changed" },
    };
    struct str wanted = json_raw_get(h->head.params, S("notifications"));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        SCOPED(buf_done) struct buf text = { 0 };
        if (!str_eq(json_raw_get(wanted, kinds[i].asked), S("true")))
            continue;
        buf_fmt(&text,
                "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"params\":{\"_meta\":{\"io."
                "modelcontextprotocol/subscriptionId\":%.*s}}}",
                kinds[i].method, STR(h->head.id));
        connect_say(h->bridge, buf_view(&text));
    }
}

static bool is_acknowledgement(struct hop *h, const struct envelope *e) {
    return h->listen && str_eq(e->method, S("notifications/subscriptions/acknowledged"));
}

static void take_message(struct hop *h, struct str text) {
    struct envelope e;
    bool valid = envelope_scan(text, (struct envelope_limits){ 0 }, &e) == ENVELOPE_NONE;
    if (!valid || h->cancelled) {
        if (!valid)
            connect_note(h->bridge,
                         "the gateway said something that is no MCP message; it is left out");
        return;
    }
    bool answer = e.kind == ENVELOPE_RESULT || e.kind == ENVELOPE_ERROR || e.kind == ENVELOPE_BATCH;
    bool ours = answer && (h->batch || str_eq(e.id, h->head.id) || !e.id.p);
    if (ours && h->head.id.p)
        take_answer(h, &e, text);
    else if (ours && h->batch) {
        h->answered = h->told = true;
        connect_say(h->bridge, text);
    } else if (is_acknowledgement(h, &e) && h->acknowledged)
        say_changed(h);
    else if (!answer || h->kind == HOP_STREAM)
        connect_say(h->bridge, text);
    h->acknowledged = h->acknowledged || is_acknowledgement(h, &e);
}

static void take_events(struct hop *h, struct str in) {
    struct sse_event event;
    err_t e = OK;
    while (sse_next(&h->sse, &in, &event, &e))
        take_message(h, event.data);
    h->too_large = e != OK;
    struct str id = sse_last_id(&h->sse);
    if (h->modern || !id.n)
        return;
    buf_clear(&h->resume); /* legacy streams can be taken up again */
    buf_str(&h->resume, id);
}

/* ---- callbacks of curl ---------------------------------------------------------------- */

static long status_of(const struct hop *h) {
    long status = 0;
    sym_curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static bool is_stream(const struct hop *h) {
    const char *type = NULL;
    sym_curl_easy_getinfo(h->curl, CURLINFO_CONTENT_TYPE, &type);
    return type && strncmp(type, "text/event-stream", 17) == 0;
}

static size_t on_bytes(char *p, size_t size, size_t n, void *arg) {
    struct hop *h = arg;
    struct bridge *b = h->bridge;
    if (b->out.n - b->out_sent > CONNECT_UNSENT) { /* the client reads slowly: so do we */
        h->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    h->heard = true;
    if (is_stream(h) && status_of(h) == 200)
        take_events(h, str_from(p, n));
    else if (h->body.n + n > CONNECT_MESSAGE)
        h->too_large = true;
    else
        buf_put(&h->body, p, n);
    return h->too_large ? 0 : n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
    struct hop *h = arg;
    struct str value = str_from(p, n), name = str_cut(&value, ':');
    uint64_t seconds = 0;
    while (value.n && strchr("\r\n", value.p[value.n - 1]))
        value.n--;
    value = str_trim(value);
    if (str_eq_nocase(name, S("Mcp-Session-Id")) && (h->initialize || h->kind == HOP_OPEN))
        h->session = arena_dup(&h->bridge->arena, value);
    if (str_eq_nocase(name, S("Retry-After")) && str_to_u64(value, &seconds) && seconds < 3600)
        h->retry_after = (long)seconds;
    return n;
}

/* ---- what became of it ---------------------------------------------------------------- */

static nanos backoff(const struct hop *h) {
    nanos wait = BACKOFF_FIRST;
    for (unsigned i = 1; i < h->tries && wait < BACKOFF_MOST; i++)
        wait *= 2;
    return wait < BACKOFF_MOST ? wait : BACKOFF_MOST;
}

/* Nothing was sent, or it may be sent twice (P-166). */
static bool is_safe(const struct hop *h) {
    static const char *const methods[] = {
        "server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list",
        "resources/read", "prompts/get", "completion/complete", "ping", "subscriptions/listen",
    };
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        if (str_eq(h->head.method, str_of(methods[i])))
            return true;
    return h->kind != HOP_REQUEST && h->kind != HOP_NOTICE;
}

static bool was_sent(CURLcode code) {
    return code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST &&
           code != CURLE_COULDNT_RESOLVE_PROXY && code != CURLE_SSL_CONNECT_ERROR;
}

static const char *why(const struct hop *h, CURLcode code) {
    return h->error[0] ? h->error : sym_curl_easy_strerror(code);
}

static void say_away(struct hop *h, const char *reason) {
    struct bridge *b = h->bridge;
    if (!b->away && !b->closing)
        connect_note(b, "cannot reach %s: %s; trying again for %d s", b->url, reason,
                     (int)(b->patience / NANOS_SEC));
    b->away = true;
}

static void give_up(struct hop *h, const char *reason) {
    struct bridge *b = h->bridge;
    if (h->kind == HOP_OPEN) {
        session_opened(b, h);
        return;
    }
    connect_refuse(b, h, RPC_INTERNAL, "gatespan connect: %s", reason);
    if (!b->reached && !h->cancelled) {
        cli_fail(EXIT_UPSTREAM, "%s", reason);
        b->code = EXIT_UPSTREAM;
    }
    hop_end(h);
}

static void lost_stream(struct hop *h) {
    nanos wait = sse_last_retry(&h->sse) >= 0 ? sse_last_retry(&h->sse) * NANOS_MS : backoff(h);
    if (h->kind == HOP_STREAM && wait < NANOS_SEC && sse_last_retry(&h->sse) < 0)
        wait = NANOS_SEC;
    if (h->heard)
        h->tries = 1;
    hop_again(h, clock_mono() + wait);
}

static void failed_transfer(struct hop *h, CURLcode code) {
    struct bridge *b = h->bridge;
    nanos now = clock_mono();
    char reason[CURL_ERROR_SIZE + 160];
    bool resumable = h->resume.n && !h->modern && b->session.open;
    bool again = !was_sent(code) || resumable || is_safe(h);
    if (h->too_large) {
        give_up(h, "an answer is larger than 64 MiB");
        return;
    }
    if (h->kind == HOP_END) {
        hop_end(h);
        return;
    }
    if (h->heard)
        h->began = now; /* patience counts from the last sign of life */
    if (again && (h->kind == HOP_STREAM || now - h->began < b->patience) && !b->closing) {
        say_away(h, why(h, code));
        lost_stream(h);
        return;
    }
    snprintf(
        reason, sizeof reason,
        was_sent(code)
            ? "the connection to %s was lost (%s); the request may have been carried out or not"
            : "cannot reach %s: %s; is the gateway running (gatespan serve)?",
        b->url, why(h, code));
    give_up(h, reason);
}

static void take_body(struct hop *h) {
    struct str text = str_trim(buf_view(&h->body));
    if (text.n && (text.p[0] == '{' || text.p[0] == '['))
        take_message(h, text);
}

static void refuse_credentials(struct hop *h, long status) {
    struct bridge *b = h->bridge;
    const char *what = status == 403 ? "the gateway refuses this key here"
                       : b->key.n
                           ? "the gateway does not accept this key; check GATESPAN_KEY or --key"
                           : "the gateway wants a key: set GATESPAN_KEY, or --key-file FILE";
    if (!h->told)
        connect_refuse(b, h, RPC_INVALID_REQUEST, "gatespan connect: %s", what);
    cli_fail(EXIT_CREDENTIALS, "%s (%s)", what, b->url);
    b->code = EXIT_CREDENTIALS;
    b->stop = b->stop || !b->reached;
    if (h->kind == HOP_OPEN)
        session_opened(b, h);
    else
        hop_end(h);
}

static void refused(struct hop *h, long status) {
    char reason[300];
    bool mcp = h->answered;
    if (status == 503 && !mcp && clock_mono() - h->began < h->bridge->patience) {
        nanos wait = h->retry_after ? h->retry_after * NANOS_SEC : backoff(h);
        say_away(h, "status 503");
        hop_again(h, clock_mono() + wait);
        return;
    }
    snprintf(reason, sizeof reason, "%s answered with status %ld%s", h->bridge->url, status,
             status == 404 ? ": is this the address of an MCP endpoint?" : "");
    give_up(h, reason);
}

/* The stream of the session ended: taken up again, unless there is none to have. */
static void ended_stream(struct hop *h, long status) {
    struct bridge *b = h->bridge;
    if (status == 404 && b->session.id.n) {
        session_lost(b, h);
        return;
    }
    if (status == 400 && h->resume.n) { /* too old to be resumed (P-152): a new one */
        buf_clear(&h->resume);
        hop_again(h, clock_mono());
        return;
    }
    if (status == 200 || status >= 500) {
        lost_stream(h);
        return;
    }
    b->session.no_stream = status == 405;
    hop_end(h);
}

/* Its stream ended without the answer. */
static void ended_early(struct hop *h) {
    if (h->listen || (h->resume.n && !h->modern))
        lost_stream(h);
    else
        give_up(h,
                "the gateway ended its answer early; the request may have been carried out or not");
}

static void answered_request(struct hop *h, long status) {
    struct bridge *b = h->bridge;
    if (h->answered && !h->told && !h->relisted && h->kind == HOP_REQUEST) {
        hop_again(h, NANOS_NEVER);
        list_tools(h, S(""));
    } else if (h->answered || h->cancelled)
        hop_end(h);
    else if (status == 200 && is_stream(h))
        ended_early(h);
    else if (status / 100 == 2)
        give_up(h, "the gateway gave no answer to a request");
    else
        refused(h, status);
    b->reached = b->reached || status / 100 == 2;
}

static void finished_notice(struct hop *h, long status) {
    bool ok = status / 100 == 2;
    if (h->kind == HOP_NOTICE && h->for_call)
        h->for_call->cancelled = true; /* the loop ends it */
    if (h->kind == HOP_NOTICE && !ok)
        connect_note(h->bridge, "the gateway refused %.*s with status %ld", STR(h->head.method),
                     status);
    if (ok)
        session_noticed(h->bridge, h);
    hop_end(h);
}

static void tell(const struct hop *h, long status) {
    if (h->bridge->verbose)
        fprintf(stderr, "gatespan: %s %.*s: status %ld, %.1f ms\n",
                posts(h)             ? "POST"
                : h->kind == HOP_END ? "DELETE"
                                     : "GET",
                STR(h->head.method), status, (double)(clock_mono() - h->began) / (double)NANOS_MS);
}

void hop_finished(struct hop *h, CURLcode code) {
    struct bridge *b = h->bridge;
    long status = status_of(h);
    if (code != CURLE_OK && !h->answered && !h->cancelled) {
        failed_transfer(h, code);
        return;
    }
    b->away = false;
    tell(h, status);
    bool needs_session = !h->modern && !h->initialize && h->kind != HOP_OPEN && h->kind != HOP_END;
    if (status == 404 && needs_session && b->session.id.n && !h->cancelled && h->kind != HOP_STREAM)
        session_lost(b, h);
    else if (status == 401 || (status == 403 && !buf_view(&h->body).n))
        refuse_credentials(h, status);
    else if (h->kind == HOP_STREAM)
        ended_stream(h, status);
    else if (h->kind == HOP_OPEN || h->kind == HOP_LIST || h->kind == HOP_REQUEST) {
        take_body(h);
        if (h->kind == HOP_OPEN)
            session_opened(b, h);
        else if (h->kind == HOP_LIST)
            list_finished(h);
        else
            answered_request(h, status);
    } else
        finished_notice(h, status);
}
