/* connect.c - `gatespan connect`: MCP over standard input and output for clients that speak
 * nothing else, carried over HTTP to a gateway. Here is the loop; see connect.h. */
#include "cli/connect.h"
#include "base/mem.h"
#include "mcp/revision.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

enum { READ_STEP = 64 * 1024, PIPE_STEP = 4096 /* what POLLOUT promises of a pipe */ };
#define END_MOST (5 * NANOS_SEC)

static const struct cli_option options[] = {
    CLIENT_OPTIONS,
    { "wait", "DURATION", NULL, false, "how long a gateway that is away is waited for; default 30s" },
};

static volatile sig_atomic_t stopped_by;
static CURLM *to_wake;

static void on_signal(int number) {
    stopped_by = number;
    sym_curl_multi_wakeup(to_wake); /* a write to a descriptor */
}

/* ---- towards the client --------------------------------------------------------------- */

/* Line ends between tokens become spaces; inside strings JSON does not allow them (P-120). */
void connect_say(struct bridge *b, struct str message) {
    size_t from = b->out.n;
    buf_str(&b->out, message);
    for (size_t i = from; i < b->out.n; i++)
        if (b->out.p[i] == '\n' || b->out.p[i] == '\r')
            b->out.p[i] = ' ';
    buf_char(&b->out, '\n');
}

static void refuse(struct bridge *b, struct str id, int code, struct str text) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct jw w = jw_init(&out);
    jw_object(&w);
    jw_put_string(&w, "jsonrpc", S("2.0"));
    jw_put_raw(&w, "id", id.n ? id : S("null"));
    jw_key(&w, S("error"));
    jw_object(&w);
    jw_put_int(&w, "code", code);
    jw_put_string(&w, "message", text);
    jw_object_end(&w);
    jw_object_end(&w);
    connect_say(b, buf_view(&out));
}

void connect_refuse(struct bridge *b, const struct hop *h, int code, const char *format, ...) {
    SCOPED(buf_done) struct buf text = { 0 };
    va_list args;
    if (h->kind != HOP_REQUEST || h->cancelled)
        return;
    va_start(args, format);
    buf_vfmt(&text, format, args);
    va_end(args);
    if (!h->batch) {
        refuse(b, h->head.id, code, buf_view(&text));
        return;
    }
    for (struct json_members m = json_elements(h->head.text); json_element(&m);) {
        struct str id = json_raw_get(m.value, S("id"));
        if (id.n && json_raw_get(m.value, S("method")).n)
            refuse(b, id, code, buf_view(&text));
    }
}

static bool is_ready(int fd, short events) {
    struct pollfd p = { .fd = fd, .events = events };
    return poll(&p, 1, 0) > 0;
}

static void write_out(struct bridge *b) {
    while (b->out_sent < b->out.n && !b->out_broken && is_ready(STDOUT_FILENO, POLLOUT)) {
        size_t n = b->out.n - b->out_sent;
        ssize_t did = write(STDOUT_FILENO, b->out.p + b->out_sent, n < PIPE_STEP ? n : PIPE_STEP);
        if (did < 0 && errno != EINTR && errno != EAGAIN)
            b->out_broken = true; /* nobody reads any more */
        b->out_sent += did > 0 ? (size_t)did : 0;
    }
    if (b->out_sent == b->out.n)
        buf_clear(&b->out);
    else if (b->out_sent < CONNECT_UNSENT)
        return;
    else
        buf_consume(&b->out, b->out_sent);
    b->out_sent = 0;
}

/* ---- from the client ------------------------------------------------------------------ */

static struct hop *find_request(struct bridge *b, struct str id) {
    for (struct hop *h = b->hops; h; h = h->next)
        if (h->kind == HOP_REQUEST && str_eq(h->head.id, id))
            return h;
    return NULL;
}

/* P-123, P-165: a modern request is cancelled by ending its stream; a legacy one by a message,
 * and what it still says is not waited for. True when nothing is to be sent. */
static bool cancel(struct bridge *b, struct hop *notice) {
    struct hop *target = find_request(b, json_raw_get(notice->head.params, S("requestId")));
    bool modern = target && target->modern;
    if (!str_eq(notice->head.method, S("notifications/cancelled")))
        return false;
    if (modern)
        hop_end(target);
    else if (target && !target->initialize)
        notice->for_call = target;
    return !target || modern;
}

static void take_line(struct bridge *b, struct str line) {
    struct envelope e;
    enum envelope_fault fault = envelope_scan(line, (struct envelope_limits){ 0 }, &e);
    if (fault != ENVELOPE_NONE) {
        refuse(b, e.id, envelope_fault_code(fault), str_of(envelope_fault_text(fault)));
        return;
    }
    bool asks = e.kind == ENVELOPE_REQUEST || e.kind == ENVELOPE_BATCH;
    bool answers = e.kind == ENVELOPE_RESULT || e.kind == ENVELOPE_ERROR;
    if (answers && !b->session.version.n)
        return; /* P-122: nobody asked */
    struct buf text = { 0 };
    buf_str(&text, line);
    struct hop *h = hop_new(b, asks ? HOP_REQUEST : HOP_NOTICE, &text);
    h->listen = h->modern && str_eq(h->head.method, S("subscriptions/listen"));
    session_sent(b, h);
    if (!asks && cancel(b, h))
        hop_end(h);
}

static void take_lines(struct bridge *b) {
    size_t from = 0;
    while (!b->barrier && b->hop_count < CONNECT_HOPS) {
        struct str rest = str_skip(buf_view(&b->in), from);
        ptrdiff_t end = str_find_char(str_skip(rest, b->in_scanned), '\n');
        bool last = end < 0 && b->in_ended && rest.n;
        if (end < 0 && !last) {
            b->in_scanned = rest.n;
            break;
        }
        size_t n = last ? rest.n : b->in_scanned + (size_t)end;
        struct str line = str_trim(str_head(rest, n));
        line.n -= str_ends(line, S("\r"));
        if (line.n && !b->skipping)
            take_line(b, line);
        b->skipping = false;
        b->in_scanned = 0;
        from += last ? n : n + 1;
    }
    buf_consume(&b->in, from);
    if (b->in.n <= CONNECT_MESSAGE || b->in_scanned < b->in.n)
        return;
    if (!b->skipping)
        refuse(b, S(""), RPC_INVALID_REQUEST, S("a message is larger than 64 MiB"));
    b->skipping = true;
    buf_clear(&b->in);
    b->in_scanned = 0;
}

/* What is not taken yet waits in the pipe, and its writer with it. */
static bool may_read(const struct bridge *b) {
    return !b->in_ended && !b->barrier && b->hop_count < CONNECT_HOPS &&
           b->out.n - b->out_sent < CONNECT_UNSENT;
}

static void read_in(struct bridge *b) {
    while (may_read(b) && is_ready(STDIN_FILENO, POLLIN)) {
        buf_reserve(&b->in, READ_STEP);
        ssize_t n = read(STDIN_FILENO, b->in.p + b->in.n, READ_STEP);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        b->in_ended = n <= 0;
        b->in.n += n > 0 ? (size_t)n : 0;
        take_lines(b);
    }
    take_lines(b);
}

/* ---- the loop ------------------------------------------------------------------------- */

static bool may_start(const struct bridge *b, const struct hop *h, nanos now) {
    bool legacy = !h->modern && (h->kind == HOP_REQUEST || h->kind == HOP_NOTICE);
    return !h->curl && h->due <= now && !(legacy && b->session.lost);
}

static void start_due(struct bridge *b, nanos now) {
    for (struct hop *h = b->hops, *next; h; h = next) {
        next = h->next;
        if (h->cancelled)
            hop_end(h);
        else if (may_start(b, h, now))
            hop_start(h);
    }
}

static void unpause(struct bridge *b) {
    bool room = b->out.n - b->out_sent < CONNECT_UNSENT / 2;
    for (struct hop *h = b->hops; room && h; h = h->next)
        if (h->paused && h->curl) {
            h->paused = false;
            sym_curl_easy_pause(h->curl, CURLPAUSE_CONT);
            room = b->out.n - b->out_sent < CONNECT_UNSENT / 2;
        }
}

static void collect(struct bridge *b) {
    int left = 0;
    CURLMsg *m;
    while ((m = sym_curl_multi_info_read(b->multi, &left))) {
        struct hop *h = NULL;
        sym_curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &h);
        hop_finished(h, m->data.result);
    }
}

static int timeout_ms(const struct bridge *b, nanos now) {
    nanos next = now + 10 * NANOS_SEC;
    for (const struct hop *h = b->hops; h; h = h->next)
        if (!h->curl && h->due < next && may_start(b, h, h->due))
            next = h->due;
    return next <= now ? 0 : (int)((next - now) / NANOS_MS) + 1;
}

static void wait_more(struct bridge *b, bool read) {
    struct curl_waitfd fds[2];
    unsigned n = 0;
    if (read && may_read(b))
        fds[n++] = (struct curl_waitfd){ .fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN };
    if (b->out.n > b->out_sent)
        fds[n++] = (struct curl_waitfd){ .fd = STDOUT_FILENO, .events = CURL_WAIT_POLLOUT };
    sym_curl_multi_poll(b->multi, fds, n, timeout_ms(b, clock_mono()), NULL);
}

/* Streams are open as long as somebody listens: they keep nobody here. */
static bool is_outstanding(const struct bridge *b) {
    for (const struct hop *h = b->hops; h; h = h->next)
        if (h->kind != HOP_STREAM && !h->listen && !h->cancelled)
            return true;
    return b->out.n > b->out_sent || b->in.n;
}

static bool goes_on(const struct bridge *b) {
    return !b->stop && !stopped_by && !b->out_broken && (!b->in_ended || is_outstanding(b));
}

static void turn(struct bridge *b, bool read) {
    int running = 0;
    if (read)
        read_in(b);
    start_due(b, clock_mono());
    sym_curl_multi_perform(b->multi, &running);
    collect(b);
    write_out(b);
    unpause(b);
    read = read && !b->stop;
    bool work = b->hop_count || b->out.n || (read && !b->in_ended);
    if (work && (goes_on(b) || (b->closing && !b->out_broken && !stopped_by)))
        wait_more(b, read);
}

static void close_session(struct bridge *b) {
    nanos end = clock_mono() + END_MOST;
    b->closing = true;
    while (b->hops)
        hop_end(b->hops);
    session_end(b);
    stopped_by = 0;
    while ((b->hops || b->out.n > b->out_sent) && clock_mono() < end && !stopped_by &&
           !b->out_broken)
        turn(b, false);
    while (b->hops)
        hop_end(b->hops);
}

static int serve(struct bridge *b) {
    b->multi = to_wake = sym_curl_multi_init();
    sym_curl_multi_setopt(b->multi, CURLMOPT_MAXCONNECTS, 64L);
    struct sigaction stop = { .sa_handler = on_signal };
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    while (goes_on(b))
        turn(b, true);
    int code = stopped_by == SIGINT ? EXIT_INTERRUPTED : b->code;
    close_session(b);
    sym_curl_multi_cleanup(b->multi);
    return code;
}

static int run(struct cli *c) {
    struct mcp_client m;
    struct bridge b = { .cli = c };
    int code = client_open_at(c, c->word_count ? c->words[0] : cli_get(c, "url"), &m);
    if (!code)
        code = cli_duration(c, "wait", 30 * NANOS_SEC, &b.patience);
    if (code)
        return code;
    b.url = m.url;
    b.key = m.key;
    b.verbose = m.verbose;
    arena_init(&b.arena, NULL, 0);
    code = serve(&b);
    buf_done(&b.in);
    buf_done(&b.out);
    buf_done(&b.session.initialize);
    arena_done(&b.arena);
    return code;
}

static const struct cli_example examples[] = {
    { "{\"mcpServers\": {\"gatespan\": {\"command\": \"gatespan\", \"args\": [\"connect\"], \"env\": {\"GATESPAN_KEY\": \"gs_…\"}}}}",
      "in the file of a client that can only start programs; gatespan export writes this" },
};

const struct command command_connect = {
    .name = "connect", .words = "[URL]", .summary = "let a client that only speaks stdio use a running gateway",
    .about = "Carries MCP messages of every revision between standard input and output and the gateway. Ends when the "
             "input ends and everything was answered.",
    .options = options, .option_count = ARRAY_SIZE(options), .most_words = 1, .run = run, .examples = examples,
    .example_count = ARRAY_SIZE(examples),
};
