/* translate.c - see translate.h.
 *
 * A walk over raw text by shapes: `nests` says which member of a shape holds another shape
 * or a URI, the rows of rev_*.c say which members exist. Objects on the way are written
 * anew from the raw text of their members; whatever the rows do not reach is copied. */
#include "mcp/translate.h"
#include "base/json.h"
#include "base/mem.h"
#include "mcp/question.h"
#include "mcp/shape.h"
#include "mcp/uri.h"

struct walk {
    struct buf *out;
    enum revision to;
    bool drop; /* `to` may lack members; else only URIs change */
    const struct uri_map *uris;
};

/* What a member holds; members that are not listed are copied. */
static const struct nest {
    enum shape in;
    struct str member;
    enum shape of; /* NONE: a URI */
} nests[] = {
    { SHAPE_TOOL, S_INIT("_meta"), SHAPE_TOOL_META },
    { SHAPE_TOOL_META, S_INIT("ui"), SHAPE_UI_META },
    { SHAPE_TOOL_META, S_INIT("ui/resourceUri"), SHAPE_NONE }, /* as MCP Apps spelled it first */
    { SHAPE_UI_META, S_INIT("resourceUri"), SHAPE_NONE },
    { SHAPE_PROMPT, S_INIT("arguments"), SHAPE_PROMPT_ARGUMENT },
    { SHAPE_RESOURCE, S_INIT("uri"), SHAPE_NONE },
    { SHAPE_RESOURCE, S_INIT("annotations"), SHAPE_ANNOTATIONS },
    { SHAPE_TEMPLATE, S_INIT("uriTemplate"), SHAPE_NONE },
    { SHAPE_TEMPLATE, S_INIT("annotations"), SHAPE_ANNOTATIONS },
    { SHAPE_MESSAGE, S_INIT("content"), SHAPE_CONTENT },
    { SHAPE_SAMPLING_MESSAGE, S_INIT("content"), SHAPE_CONTENT },
    { SHAPE_CONTENT, S_INIT("content"), SHAPE_CONTENT }, /* tool_result */
    { SHAPE_CONTENT, S_INIT("uri"), SHAPE_NONE }, /* resource_link */
    { SHAPE_CONTENT, S_INIT("resource"), SHAPE_CONTENTS },
    { SHAPE_CONTENT, S_INIT("annotations"), SHAPE_ANNOTATIONS },
    { SHAPE_CONTENTS, S_INIT("uri"), SHAPE_NONE },
    { SHAPE_NOTIFICATION, S_INIT("uri"), SHAPE_NONE }, /* resources/updated */
    { SHAPE_NOTIFICATION, S_INIT("_meta"), SHAPE_NOTIFICATION_META },
    { SHAPE_PROGRESS, S_INIT("_meta"), SHAPE_NOTIFICATION_META },
};

/* The member of a method's result that has a shape of its own. */
static const struct body {
    struct str member;
    enum shape shape;
} bodies[METHOD_COUNT] = {
    [METHOD_TOOLS_CALL] = { S_INIT("content"), SHAPE_CONTENT },
    [METHOD_PROMPTS_GET] = { S_INIT("messages"), SHAPE_MESSAGE },
    [METHOD_RESOURCES_READ] = { S_INIT("contents"), SHAPE_CONTENTS },
    [METHOD_TOOLS_LIST] = { S_INIT("tools"), SHAPE_TOOL },
    [METHOD_PROMPTS_LIST] = { S_INIT("prompts"), SHAPE_PROMPT },
    [METHOD_RESOURCES_LIST] = { S_INIT("resources"), SHAPE_RESOURCE },
    [METHOD_TEMPLATES_LIST] = { S_INIT("resourceTemplates"), SHAPE_TEMPLATE },
};

bool translate_needed(enum method method, enum revision from, enum revision to) {
    if (from == to)
        return false;
    if (revision_era(from) != revision_era(to))
        return true;
    return to < from && bodies[method].shape != SHAPE_NONE;
}

bool translate_has_param(enum method method, struct str member, enum revision to) {
    return method != METHOD_COMPLETE || shape_has(SHAPE_COMPLETION, member, to);
}

/* ---- the walk ---------------------------------------------------------------------- */

/* The inside of a raw string; empty for anything else. */
static struct str inside(struct str raw) {
    return raw.n >= 2 && raw.p[0] == '"' ? str_from(raw.p + 1, raw.n - 2) : S("");
}

static bool is(struct str raw, char first) {
    return raw.n && raw.p[0] == first;
}

static void put_key(struct buf *out, struct str key) {
    if (out->n && out->p[out->n - 1] != '{')
        buf_char(out, ',');
    buf_char(out, '"');
    buf_str(out, key);
    buf_str(out, S("\":"));
}

/* A string that is a URI, as clients see it; anything else is copied. */
static void put_uri(struct buf *out, const struct uri_map *uris, struct str raw) {
    if (!uris || !uris->rewrite || !is(raw, '"')) {
        buf_str(out, raw);
        return;
    }
    char room[512];
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, room, sizeof room);
    SCOPED(buf_done) struct buf shown = { 0 };
    uri_show(&shown, uris, json_unquote(&a, raw));
    struct jw w = jw_init(out);
    jw_string(&w, buf_view(&shown));
}

static const struct nest *nest_of(enum shape shape, struct str member) {
    for (size_t i = 0; i < ARRAY_SIZE(nests); i++)
        if (nests[i].in == shape && str_eq(nests[i].member, member))
            return &nests[i];
    return NULL;
}

static void put_value(const struct walk *w, enum shape shape, struct str raw);

/* outputSchema is there but `to` could not take what it promises (P-415, P-479). */
static bool schema_too_wide(const struct walk *w, enum shape shape, struct str key,
                            struct str value) {
    return shape == SHAPE_TOOL && w->drop && revision_data(w->to)->structured_objects &&
           str_eq(key, S("outputSchema")) &&
           !str_eq(json_raw_get(value, S("type")), S("\"object\""));
}

static void put_member(const struct walk *w, enum shape shape, struct str key, struct str value) {
    if ((w->drop && !shape_has(shape, key, w->to)) || schema_too_wide(w, shape, key, value))
        return;
    put_key(w->out, key);
    const struct nest *n = nest_of(shape, key);
    if (n && n->of == SHAPE_NONE)
        put_uri(w->out, w->uris, value);
    else if (n)
        put_value(w, n->of, value);
    else
        buf_str(w->out, value);
}

/* ---- kinds of content that `to` lacks (P-415) -------------------------------------- */

static void put_annotations(const struct walk *w, struct str block) {
    struct str annotations = json_raw_get(block, S("annotations"));
    if (annotations.p)
        put_member(w, SHAPE_CONTENT, S("annotations"), annotations);
}

static void put_link_text(const struct walk *w, struct str block) {
    struct str name = inside(json_raw_get(block, S("title"))), uri = json_raw_get(block, S("uri"));
    if (name.n == 0)
        name = inside(json_raw_get(block, S("name")));
    SCOPED(buf_done) struct buf shown = { 0 };
    put_uri(&shown, w->uris, uri.p ? uri : S("\"\""));
    buf_str(w->out, name);
    buf_str(w->out, name.n ? S(": ") : S(""));
    buf_str(w->out, inside(buf_view(&shown)));
}

static void put_note(const struct walk *w, struct str kind, struct str block) {
    struct str type = inside(json_raw_get(block, S("mimeType")));
    buf_char(w->out, '[');
    buf_str(w->out, kind);
    buf_str(w->out, type.n ? S(" ") : S(""));
    buf_str(w->out, type);
    buf_str(w->out, S(" left out: protocol version "));
    buf_str(w->out, revision_text(w->to));
    buf_str(w->out, S(" has no such content]"));
}

static void put_as_text(const struct walk *w, struct str kind, struct str block) {
    buf_str(w->out, S("{\"type\":\"text\",\"text\":\""));
    if (str_eq(kind, S("resource_link")))
        put_link_text(w, block);
    else
        put_note(w, kind, block);
    buf_char(w->out, '"');
    put_annotations(w, block);
    buf_char(w->out, '}');
}

static void put_object(const struct walk *w, enum shape shape, struct str raw) {
    if (shape == SHAPE_CONTENT && w->drop) {
        struct str kind = inside(json_raw_get(raw, S("type")));
        if (!shape_has(SHAPE_CONTENT_KIND, kind, w->to)) {
            put_as_text(w, kind, raw);
            return;
        }
    }
    buf_char(w->out, '{');
    for (struct json_members m = json_members(raw); json_member(&m);)
        put_member(w, shape, m.key, m.value);
    buf_char(w->out, '}');
}

/* An object of the shape, or an array of such. */
static void put_value(const struct walk *w, enum shape shape, struct str raw) {
    if ((!w->drop && !w->uris) || (!is(raw, '{') && !is(raw, '['))) {
        buf_str(w->out, raw);
        return;
    }
    if (is(raw, '{')) {
        put_object(w, shape, raw);
        return;
    }
    bool comma = false;
    buf_char(w->out, '[');
    for (struct json_members m = json_elements(raw); json_element(&m); comma = true) {
        if (comma)
            buf_char(w->out, ',');
        if (is(m.value, '{'))
            put_object(w, shape, m.value);
        else
            buf_str(w->out, m.value);
    }
    buf_char(w->out, ']');
}

/* ---- results ----------------------------------------------------------------------- */

struct result {
    struct walk walk;
    enum method method;
    enum revision from;
    const struct translate_extras *extras;
    bool has_type, has_ttl, has_scope, has_meta, has_content, unfinished;
    struct str lost; /* structuredContent that `to` cannot take */
};

static bool cacheable(enum method m) {
    switch (m) {
    case METHOD_DISCOVER:
    case METHOD_TOOLS_LIST:
    case METHOD_PROMPTS_LIST:
    case METHOD_RESOURCES_LIST:
    case METHOD_TEMPLATES_LIST:
    case METHOD_RESOURCES_READ: return true;
    default: return false;
    }
}

static bool modern(enum revision r) {
    return revision_era(r) == ERA_MODERN;
}

static void put_server_info(struct result *r) {
    if (!modern(r->walk.to) || !r->extras->server_info.n)
        return;
    put_key(r->walk.out, S("io.modelcontextprotocol/serverInfo"));
    buf_str(r->walk.out, r->extras->server_info);
}

/* An upstream's serverInfo stays where both are modern; an emptied _meta is left out. */
static void put_result_meta(struct result *r, struct str meta) {
    struct buf *out = r->walk.out;
    size_t before = out->n;
    bool dropped = false, has_info = false;
    r->has_meta = true;
    put_key(out, S("_meta"));
    buf_char(out, '{');
    size_t empty = out->n;
    for (struct json_members m = json_members(meta); json_member(&m);) {
        if (!shape_has(SHAPE_RESULT_META, m.key, r->walk.to)) {
            dropped = true;
            continue;
        }
        has_info |= str_eq(m.key, S("io.modelcontextprotocol/serverInfo"));
        put_key(out, m.key);
        buf_str(out, m.value);
    }
    if (!has_info)
        put_server_info(r);
    if (dropped && out->n == empty)
        out->n = before;
    else
        buf_char(out, '}');
}

static bool is_ttl(struct str raw) {
    uint64_t ms;
    return str_to_u64(raw, &ms);
}

static bool is_scope(struct str raw) {
    return str_eq(raw, S("\"private\"")) || str_eq(raw, S("\"public\""));
}

/* Members of a modern result that a legacy upstream cannot have meant, and hints that make no
 * sense, are replaced by ours. */
static bool replaced(struct result *r, struct str key, struct str value) {
    if (!modern(r->walk.to))
        return false;
    if (str_eq(key, S("resultType"))) {
        r->has_type = modern(r->from);
        r->unfinished = r->has_type && !str_eq(value, S("\"complete\""));
        return !r->has_type;
    }
    if (str_eq(key, S("ttlMs")))
        return !(r->has_ttl = is_ttl(value)) && cacheable(r->method);
    if (str_eq(key, S("cacheScope")))
        return !(r->has_scope = is_scope(value)) && cacheable(r->method);
    return false;
}

static bool structured_lost(struct result *r, struct str key, struct str value) {
    if (r->method != METHOD_TOOLS_CALL || !str_eq(key, S("structuredContent")))
        return false;
    bool fits = !revision_data(r->walk.to)->structured_objects || is(value, '{');
    if (shape_has(SHAPE_RESULT, key, r->walk.to) && fits)
        return false;
    r->lost = value;
    return true;
}

static bool empty_array(struct str raw) {
    struct json_members m = json_elements(raw);
    return !is(raw, '[') || !json_element(&m);
}

static void put_result_member(struct result *r, struct str key, struct str value) {
    const struct body *body = &bodies[r->method];
    if (replaced(r, key, value) || structured_lost(r, key, value) ||
        !shape_has(SHAPE_RESULT, key, r->walk.to))
        return;
    if (str_eq(key, S("_meta")) && is(value, '{')) {
        put_result_meta(r, value);
        return;
    }
    if (r->method == METHOD_TOOLS_CALL && str_eq(key, S("content"))) {
        if (empty_array(value))
            return; /* put_missing writes it */
        r->has_content = true;
    }
    put_key(r->walk.out, key);
    if (body->shape != SHAPE_NONE && str_eq(key, body->member))
        put_value(&r->walk, body->shape, value);
    else
        buf_str(r->walk.out, value);
}

/* A tool's answer always has content; what its structured form lost is there as text. */
static void put_content(struct result *r) {
    struct buf *out = r->walk.out;
    put_key(out, S("content"));
    buf_char(out, '[');
    if (r->lost.p) {
        struct jw w = jw_init(out);
        buf_str(out, S("{\"type\":\"text\",\"text\":"));
        jw_string(&w, r->lost);
        buf_char(out, '}');
    }
    buf_char(out, ']');
}

static void put_missing(struct result *r) {
    struct buf *out = r->walk.out;
    if (r->unfinished)
        return;
    if (r->method == METHOD_TOOLS_CALL && !r->has_content)
        put_content(r);
    if (!modern(r->walk.to))
        return;
    if (!r->has_type) {
        put_key(out, S("resultType"));
        buf_str(out, S("\"complete\""));
    }
    if (cacheable(r->method) && r->extras->ttl_ms >= 0) {
        if (!r->has_ttl) {
            put_key(out, S("ttlMs"));
            buf_u64(out, (uint64_t)r->extras->ttl_ms);
        }
        if (!r->has_scope) {
            put_key(out, S("cacheScope"));
            buf_str(out, r->extras->cache_public ? S("\"public\"") : S("\"private\""));
        }
    }
    if (!r->has_meta && r->extras->server_info.n) {
        put_key(out, S("_meta"));
        buf_char(out, '{');
        put_server_info(r);
        buf_char(out, '}');
    }
}

/* Content only ever gained members; items of lists have lost some, too. */
static bool loses(enum method method, enum revision from, enum revision to) {
    return to < from || (to > from && cacheable(method) && method != METHOD_RESOURCES_READ);
}

void translate_result(struct buf *out, enum method method, struct str result, enum revision from,
                      enum revision to, const struct translate_extras *extras,
                      const struct uri_map *uris) {
    static const struct translate_extras none = { .ttl_ms = -1 };
    struct result r = {
        .walk = { .out = out, .to = to, .drop = loses(method, from, to), .uris = uris && uris->rewrite ? uris : NULL },
        .method = method, .from = from, .extras = extras ? extras : &none,
    };
    buf_reserve(out, result.n + 256);
    buf_char(out, '{');
    for (struct json_members m = json_members(result); json_member(&m);)
        put_result_member(&r, m.key, m.value);
    put_missing(&r);
    buf_char(out, '}');
}

/* ---- items of lists ---------------------------------------------------------------- */

static struct str name_of(enum method kind) {
    return kind == METHOD_RESOURCES_LIST   ? S("uri")
           : kind == METHOD_TEMPLATES_LIST ? S("uriTemplate")
                                           : S("name");
}

void translate_item(struct buf *out, enum method kind, struct str item, enum revision to,
                    struct str renamed) {
    struct walk w = { .out = out, .to = to, .drop = true };
    enum shape shape = bodies[kind].shape;
    struct str name = name_of(kind);
    buf_reserve(out, item.n + renamed.n + 16);
    buf_char(out, '{');
    for (struct json_members m = json_members(item); json_member(&m);) {
        if (!renamed.n || !str_eq(m.key, name)) {
            put_member(&w, shape, m.key, m.value);
            continue;
        }
        struct jw string = jw_init(out);
        put_key(out, m.key);
        jw_string(&string, renamed);
    }
    buf_char(out, '}');
}

void translate_item_uris(struct buf *out, enum method kind, struct str item,
                         const struct uri_map *uris) {
    struct walk w = { .out = out, .to = REVISIONS - 1, .uris = uris };
    put_object(&w, bodies[kind].shape, item);
}

/* ---- errors ------------------------------------------------------------------------ */

struct error {
    int64_t code;
    struct str message, data; /* raw */
};

static struct error error_of(struct str raw) {
    struct error e = { .code = RPC_INTERNAL, .message = S("\"\"") };
    struct str code = json_raw_get(raw, S("code")), message = json_raw_get(raw, S("message"));
    if (code.p)
        str_to_i64(code, &e.code);
    if (is(message, '"'))
        e.message = message;
    e.data = json_raw_get(raw, S("data"));
    return e;
}

static bool lists_code(enum revision r, int64_t code) {
    const struct revision_data *d = revision_data(r);
    for (size_t i = 0; i < d->code_count; i++)
        if (d->codes[i] == code)
            return true;
    return false;
}

/* Some revision gives the code a meaning. */
static bool means_something(int64_t code) {
    for (int r = R24; r < REVISIONS; r++)
        if (lists_code((enum revision)r, code))
            return true;
    return false;
}

/* May be sent to `to` as it is. What went wrong between the gateway and its upstream
 * (headers, version) is no fault of the client's (P-416). */
static bool passes(int64_t code, enum revision to) {
    if (code < -32099 || code > -32000)
        return true;
    if (code == RPC_HEADER_MISMATCH || code == RPC_UNSUPPORTED_VERSION)
        return false;
    if (lists_code(to, code))
        return true;
    return !revision_data(to)->codes_reserved && !means_something(code);
}

/* resources/read was told that there is no such thing (P-211, P-416): the gateway's params
 * are well formed, so -32602 says so too unless its data speaks of something else. */
static bool not_found(const struct error *e, enum method method, enum revision from) {
    if (method != METHOD_RESOURCES_READ)
        return false;
    if (e->code == RPC_RESOURCE_NOT_FOUND)
        return true;
    return e->code == RPC_INVALID_PARAMS && modern(from) &&
           (!e->data.p || json_raw_get(e->data, S("uri")).p);
}

/* data with the URI that the client knows. */
static void put_data_uri(struct buf *out, struct str data, struct str uri) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "uri", uri);
    for (struct json_members m = json_members(data); json_member(&m);)
        if (!str_eq(m.key, S("uri"))) {
            put_key(out, m.key);
            buf_str(out, m.value);
        }
    buf_char(out, '}');
}

/* The original of a code that may not be shown, under our own key (P-024). */
static void put_original(struct buf *out, const struct error *e) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_key(&w, S("gatespan"));
    jw_object(&w);
    jw_put_int(&w, "upstreamCode", e->code);
    if (e->data.p)
        jw_put_raw(&w, "upstreamData", e->data);
    jw_object_end(&w);
    jw_object_end(&w);
}

/* The message; clients that know no -32042 get the addresses to open in words (P-460). */
static void put_message(struct buf *out, const struct error *e, bool addresses) {
    struct str message = inside(e->message);
    buf_char(out, '"');
    buf_str(out, message);
    for (struct json_members m = json_elements(json_raw_get(e->data, S("elicitations")));
         addresses && json_element(&m);) {
        struct str url = inside(json_raw_get(m.value, S("url")));
        if (url.n == 0)
            continue;
        buf_char(out, ' ');
        buf_str(out, url);
    }
    buf_char(out, '"');
}

static void put_error(struct buf *out, int64_t code, const struct error *e, bool addresses) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_int(&w, "code", code);
    put_key(out, S("message"));
    put_message(out, e, addresses);
}

/* P-437: what a server of 2026-07-28 would have said, as P-406 says it to legacy clients. */
static bool wants_capability(const struct error *e, enum revision from, enum revision to) {
    return !modern(from) && modern(to) && e->code == RPC_INVALID_REQUEST && is(e->data, '{') &&
           is(json_raw_get(e->data, S("requiredCapabilities")), '{');
}

void translate_error(struct buf *out, enum method method, struct str error, enum revision from,
                     enum revision to, struct str uri) {
    struct error e = error_of(error);
    if (not_found(&e, method, from)) {
        put_error(out, modern(to) ? RPC_INVALID_PARAMS : RPC_RESOURCE_NOT_FOUND, &e, false);
        put_key(out, S("data"));
        put_data_uri(out, e.data, uri);
    } else if (wants_capability(&e, from, to)) {
        put_error(out, RPC_MISSING_CAPABILITY, &e, false);
        put_key(out, S("data"));
        buf_str(out, e.data);
    } else if (passes(e.code, to)) {
        put_error(out, e.code, &e, false);
        if (e.data.p) {
            put_key(out, S("data"));
            buf_str(out, e.data);
        }
    } else if (e.code == RPC_MISSING_CAPABILITY) { /* P-406 */
        put_error(out, RPC_INVALID_REQUEST, &e, false);
        put_key(out, S("data"));
        buf_str(out, e.data.p ? e.data : S("{}"));
    } else {
        put_error(out, RPC_INTERNAL, &e, e.code == RPC_URL_ELICITATION);
        put_key(out, S("data"));
        put_original(out, &e);
    }
    buf_char(out, '}');
}

/* ---- notifications ----------------------------------------------------------------- */

static void put_logger(struct buf *out, struct str prefix, struct str logger) {
    put_key(out, S("logger"));
    buf_char(out, '"');
    json_escape(out, prefix);
    if (inside(logger).n) {
        buf_char(out, '/');
        buf_str(out, inside(logger));
    }
    buf_char(out, '"');
}

void translate_notification(struct buf *out, enum method method, struct str params,
                            enum revision to, struct str progress_token, struct str logger_prefix,
                            const struct uri_map *uris) {
    struct walk w = {
        .out = out, .to = to, .drop = true, .uris = uris && uris->rewrite ? uris : NULL
    };
    enum shape shape = method == METHOD_N_PROGRESS ? SHAPE_PROGRESS : SHAPE_NOTIFICATION;
    bool prefix = method == METHOD_N_MESSAGE && logger_prefix.n;
    buf_reserve(out, params.n + 64);
    buf_char(out, '{');
    for (struct json_members m = json_members(params); json_member(&m);) {
        if (prefix && str_eq(m.key, S("logger")))
            continue;
        bool token = method == METHOD_N_PROGRESS && progress_token.n &&
                     str_eq(m.key, S("progressToken"));
        put_member(&w, shape, m.key, token ? progress_token : m.value);
    }
    if (prefix)
        put_logger(out, logger_prefix, json_raw_get(params, S("logger")));
    buf_char(out, '}');
}

/* ---- sampling ---------------------------------------------------------------------- */

/* The message with that block alone. */
static void put_block(const struct walk *w, struct str message, struct str block) {
    buf_char(w->out, '{');
    for (struct json_members m = json_members(message); json_member(&m);)
        put_member(w, SHAPE_SAMPLING_MESSAGE, m.key, str_eq(m.key, S("content")) ? block : m.value);
    buf_char(w->out, '}');
}

/* True when it wrote something: a message without blocks says nothing. */
static bool put_blocks(const struct walk *w, struct str message, struct str blocks) {
    bool comma = false;
    for (struct json_members m = json_elements(blocks); json_element(&m); comma = true) {
        buf_str(w->out, comma ? S(",") : S(""));
        put_block(w, message, m.value);
    }
    return comma;
}

void translate_sampling(struct buf *out, struct str messages, enum revision to,
                        const struct uri_map *uris) {
    struct walk w = {
        .out = out, .to = to, .drop = true, .uris = uris && uris->rewrite ? uris : NULL
    };
    bool comma = false;
    buf_char(out, '[');
    for (struct json_members m = json_elements(messages); json_element(&m);) {
        struct str content = json_raw_get(m.value, S("content"));
        size_t before = out->n;
        buf_str(out, comma ? S(",") : S(""));
        bool wrote = true;
        if (to < R11 && is(content, '['))
            wrote = put_blocks(&w, m.value, content);
        else
            put_value(&w, SHAPE_SAMPLING_MESSAGE, m.value);
        if (wrote)
            comma = true;
        else
            out->n = before;
    }
    buf_char(out, ']');
}

/* The insides of all texts, one in each line; false when there is none. */
static bool put_texts(struct buf *out, struct str blocks) {
    bool some = false;
    for (struct json_members m = json_elements(blocks); json_element(&m);) {
        struct str text = is(m.value, '{') ? json_raw_get(m.value, S("text")) : m.value;
        if (!is(m.value, '{') || !is(text, '"'))
            continue;
        buf_str(out, some ? S("\\n") : S("{\"type\":\"text\",\"text\":\""));
        buf_str(out, inside(text));
        some = true;
    }
    buf_str(out, some ? S("\"}") : S(""));
    return some;
}

void translate_sampled(struct buf *out, struct str content, enum revision to) {
    struct walk w = { .out = out, .to = to, .drop = true };
    struct json_members blocks = json_elements(content);
    if (to >= R11 || !is(content, '[') || !json_element(&blocks)) {
        put_value(&w, SHAPE_CONTENT, content);
        return;
    }
    struct str first = blocks.value;
    if (!json_element(&blocks) || !put_texts(out, content))
        put_value(&w, SHAPE_CONTENT, first);
}

void translate_implementation(struct buf *out, struct str info, enum revision to) {
    struct walk w = { .out = out, .to = to, .drop = true };
    put_value(&w, SHAPE_IMPLEMENTATION, info);
}

/* ---- capabilities ------------------------------------------------------------------ */

static void put_capability(struct jw *w, const char *name, bool list_changed, bool subscribe) {
    jw_key(w, str_of(name));
    jw_object(w);
    if (subscribe)
        jw_put_bool(w, "subscribe", true);
    if (list_changed)
        jw_put_bool(w, "listChanged", true);
    jw_object_end(w);
}

static void put_extensions(struct jw *w, const struct capabilities *c) {
    jw_key(w, S("extensions"));
    jw_object(w);
    if (c->apps)
        jw_put_raw(w, APPS_EXTENSION, S("{}"));
    if (c->tasks)
        jw_put_raw(w, TASKS_EXTENSION, S("{}"));
    jw_object_end(w);
}

void capabilities_write(struct buf *out, const struct capabilities *c, enum revision to) {
    struct jw w = jw_init(out);
    jw_object(&w);
    if (c->tools)
        put_capability(&w, "tools", c->list_changed, false);
    if (c->prompts)
        put_capability(&w, "prompts", c->list_changed, false);
    if (c->resources)
        put_capability(&w, "resources", c->list_changed, c->subscribe);
    if (c->logging)
        put_capability(&w, "logging", false, false);
    if (c->completions && shape_has(SHAPE_CAPABILITIES, S("completions"), to))
        put_capability(&w, "completions", false, false);
    if (c->tasks && to == R11)
        jw_put_raw(&w, "tasks",
                   S("{\"list\":{},\"cancel\":{},\"requests\":{\"tools\":{\"call\":{}}}}"));
    if ((c->apps || c->tasks) && to >= R26) /* P-293, P-400, P-627 */
        put_extensions(&w, c);
    jw_object_end(&w);
}

static bool declared(struct str raw) {
    return raw.p && !str_eq(raw, S("null")) && !str_eq(raw, S("false"));
}

static bool flag(struct str capability, struct str name) {
    return str_eq(json_raw_get(capability, name), S("true"));
}

static bool has_apps(struct str raw) {
    struct str extensions = json_raw_get(raw, S("extensions"));
    return is(extensions, '{') && declared(json_raw_get(extensions, S(APPS_EXTENSION)));
}

static struct str inner(struct str raw, const char *name) {
    return raw.n && raw.p[0] == '{' ? json_raw_get(raw, str_of(name)) : (struct str){ 0 };
}

static bool has_tasks(struct str raw, enum revision from) {
    if (from >= R26)
        return declared(inner(inner(raw, "extensions"), TASKS_EXTENSION));
    struct str requests = inner(inner(raw, "tasks"), "requests");
    return from == R11 && declared(inner(inner(requests, "tools"), "call"));
}

struct capabilities capabilities_read(struct str raw, enum revision from) {
    struct str tools = json_raw_get(raw, S("tools")), prompts = json_raw_get(raw, S("prompts"));
    struct str resources = json_raw_get(raw, S("resources"));
    return (struct capabilities){
        .tools = declared(tools),
        .prompts = declared(prompts),
        .resources = declared(resources),
        .logging = declared(json_raw_get(raw, S("logging"))),
        .completions = declared(json_raw_get(raw, S("completions"))) ||
                       !shape_has(SHAPE_CAPABILITIES, S("completions"), from),
        .subscribe = flag(resources, S("subscribe")),
        .apps = has_apps(raw),
        .tasks = has_tasks(raw, from),
        .list_changed = flag(tools, S("listChanged")) || flag(prompts, S("listChanged")) ||
                        flag(resources, S("listChanged")),
    };
}
