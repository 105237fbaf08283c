/* connect_session.c - the one legacy session of `gatespan connect`, and what it must remember
 * (connect.h). A session that the gateway no longer knows is opened again without the client's
 * noticing: initialize, initialized, log level and subscriptions as they were (P-146). */
#include "base/mem.h"
#include "cli/connect.h"
#include "gateway/param_headers.h"
#include "gateway/param_schema.h"
#include "mcp/revision.h"

enum { REOPEN_MOST = 3 };

/* ---- what is said again --------------------------------------------------------------- */

static void forget(struct session *s, struct str key) {
    for (struct kept **at = &s->kept; *at; at = &(*at)->next)
        if (str_eq((*at)->key, key)) {
            *at = (*at)->next;
            return;
        }
}

static void keep(struct bridge *b, struct str key, struct str text) {
    struct kept *k = ARENA_NEW(&b->arena, struct kept);
    forget(&b->session, key);
    *k = (struct kept){ b->session.kept, arena_dup(&b->arena, key), arena_dup(&b->arena, text) };
    b->session.kept = k;
}

/* ---- the way in ----------------------------------------------------------------------- */

void session_sent(struct bridge *b, struct hop *h) {
    struct session *s = &b->session;
    enum method m = method_parse(h->head.method);
    if (h->modern)
        return;
    if (m == METHOD_INITIALIZE) {
        h->initialize = true;
        buf_clear(&s->initialize);
        buf_str(&s->initialize, buf_view(&h->message));
        s->id = s->version = S("");
        s->kept = NULL;
        s->open = s->no_stream = false;
    }
    if (m == METHOD_INITIALIZE || m == METHOD_N_INITIALIZED)
        b->barrier = h;
    if (m == METHOD_SET_LEVEL)
        keep(b, S("level"), buf_view(&h->message));
    if (m == METHOD_RESOURCES_SUBSCRIBE)
        keep(b, h->head.uri, buf_view(&h->message));
    if (m == METHOD_RESOURCES_UNSUBSCRIBE)
        forget(s, h->head.uri);
}

static void take_session(struct bridge *b, struct hop *h, const struct envelope *answer) {
    struct session *s = &b->session;
    if (answer->kind != ENVELOPE_RESULT)
        return;
    s->id = h->session;
    s->version = arena_dup(
        &b->arena, json_unquote(&b->arena, json_raw_get(answer->result, S("protocolVersion"))));
}

void session_answered(struct bridge *b, struct hop *h, const struct envelope *answer) {
    if (h->initialize)
        take_session(b, h, answer);
    if (h->kind != HOP_OPEN || answer->kind != ENVELOPE_RESULT)
        return;
    struct str before = b->session.version;
    take_session(b, h, answer);
    if (!str_eq(before, b->session.version))
        connect_note(b,
                     "the gateway now speaks %.*s, the client has %.*s; start it again if it fails",
                     STR(b->session.version), STR(before));
    h->opens = true;
}

static void open_stream(struct bridge *b) {
    if (!b->session.no_stream && !b->closing)
        hop_new(b, HOP_STREAM, NULL);
}

/* ---- opening again -------------------------------------------------------------------- */

static struct hop *own(struct bridge *b, struct str text) {
    struct buf copy = { 0 };
    buf_str(&copy, text);
    return hop_new(b, HOP_OWN, &copy);
}

static void unpark(struct bridge *b) {
    for (struct hop *h = b->hops; h; h = h->next)
        if (!h->modern && !h->curl && h->due == NANOS_NEVER)
            h->due = 0;
}

static void refuse_parked(struct bridge *b) {
    for (struct hop *h = b->hops, *next; h; h = next) {
        next = h->next;
        if (h->modern || h->curl || h->due != NANOS_NEVER)
            continue;
        connect_refuse(b, h, RPC_INTERNAL,
                       "gatespan connect: the session ended and could not be opened again");
        hop_end(h);
    }
}

void session_noticed(struct bridge *b, struct hop *h) {
    struct session *s = &b->session;
    bool first = h->kind == HOP_NOTICE && str_eq(h->head.method, S("notifications/initialized"));
    if (!first && !h->opens)
        return;
    s->open = true;
    s->lost = false;
    open_stream(b);
    for (struct kept *k = h->opens ? s->kept : NULL; k; k = k->next)
        own(b, k->text);
    unpark(b);
}

static void end_streams(struct bridge *b) {
    for (struct hop *h = b->hops, *next; h; h = next) {
        next = h->next;
        if (h->kind == HOP_STREAM)
            hop_end(h);
    }
}

void session_lost(struct bridge *b, struct hop *h) {
    struct session *s = &b->session;
    bool stream = h->kind == HOP_STREAM;
    if (!stream) {
        buf_clear(&h->resume);
        hop_again(h, NANOS_NEVER);
    }
    if (!stream && ++h->reopened > REOPEN_MOST) {
        connect_refuse(b, h, RPC_INTERNAL,
                       "gatespan connect: the gateway ends every new session at once");
        hop_end(h);
        return;
    }
    if (s->lost || b->closing) {
        if (stream)
            hop_end(h);
        return;
    }
    connect_note(b, "the gateway does not know the session any more; opening a new one");
    s->lost = true;
    s->open = false;
    end_streams(b);
    struct buf text = { 0 };
    buf_str(&text, buf_view(&s->initialize));
    hop_new(b, HOP_OPEN, &text);
}

void session_opened(struct bridge *b, struct hop *open) {
    bool ok = open->opens;
    hop_end(open);
    if (ok) {
        own(b, S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"))->opens = true;
        return;
    }
    b->session.lost = false;
    b->session.id = S("");
    refuse_parked(b);
}

void session_end(struct bridge *b) {
    if (b->session.id.n)
        hop_new(b, HOP_END, NULL);
}

/* ---- arguments in headers ------------------------------------------------------------- */

struct tool_headers {
    struct tool_headers *next;
    struct str name, raw; /* raw: the schema it was read from */
    json annotated;
};

static struct tool_headers *find(struct bridge *b, struct str name) {
    for (struct tool_headers *t = b->tools; t; t = t->next)
        if (str_eq(t->name, name))
            return t;
    return NULL;
}

static void tool_seen(struct bridge *b, struct str name, struct str schema) {
    struct tool_headers *t = find(b, name);
    json parsed = NULL;
    if (t && str_eq(t->raw, schema))
        return;
    if (!t) {
        t = ARENA_NEW(&b->arena, struct tool_headers);
        t->name = arena_dup(&b->arena, name);
        t->next = b->tools;
        b->tools = t;
    }
    t->raw = arena_dup(&b->arena, schema);
    t->annotated = NULL;
    if (json_parse(&b->arena, t->raw, (struct json_limits){ 0 }, &parsed) ||
        param_schema_read(&b->arena, parsed, &t->annotated))
        t->annotated = NULL; /* P-078: such a tool is not called with headers */
}

void tools_seen(struct bridge *b, struct str result) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    for (struct json_members m = json_elements(json_raw_get(result, S("tools")));
         json_element(&m);) {
        struct str name = json_raw_get(m.value, S("name"));
        struct str schema = json_raw_get(m.value, S("inputSchema"));
        bool annotated = str_find(schema, S("x-mcp-header")) >= 0;
        name = name.n ? json_unquote(&a, name) : S("");
        if (annotated || find(b, name))
            tool_seen(b, name, schema);
    }
}

struct str tools_headers(struct bridge *b, struct arena *a, struct str name, struct str arguments) {
    struct tool_headers *t = find(b, name);
    return t && t->annotated && arguments.n ? param_headers_write(a, t->annotated, arguments)
                                            : S("");
}
