/* question.c - see question.h. */
#include "mcp/question.h"
#include "base/json.h"
#include "base/mem.h"
#include "mcp/translate.h"

enum { KEY_LENGTH = 64 };

/* ---- capabilities ------------------------------------------------------------------ */

static bool declared(struct str raw) {
    return raw.n && raw.p[0] == '{';
}

static bool says(struct str object, struct str member) {
    return declared(json_raw_get(object, member));
}

/* Before 2025-11-25 context and forms needed no word of their own. */
static unsigned read_sampling(struct str raw, enum revision from) {
    if (!declared(raw))
        return 0;
    if (from < R11)
        return ASK_SAMPLING | ASK_SAMPLING_CONTEXT;
    return ASK_SAMPLING | (says(raw, S("tools")) ? ASK_SAMPLING_TOOLS : 0) |
           (says(raw, S("context")) ? ASK_SAMPLING_CONTEXT : 0);
}

static unsigned read_elicitation(struct str raw, enum revision from) {
    if (!declared(raw) || from < R06)
        return 0;
    bool url = from >= R11 && says(raw, S("url"));
    return (url ? ASK_URL : 0) | (!url || says(raw, S("form")) ? ASK_FORM : 0);
}

/* Other extensions are not promised to anybody (P-308). Sessions have no word for extensions in
 * their schema, but clients that show apps declare them all the same. */
static unsigned read_extensions(struct str raw) {
    struct str apps = declared(raw) ? json_raw_get(raw, S(APPS_EXTENSION)) : (struct str){ 0 };
    struct str types = declared(apps) ? json_raw_get(apps, S("mimeTypes")) : (struct str){ 0 };
    if (!types.n || types.p[0] != '[')
        return 0;
    for (struct json_members m = json_elements(types); json_element(&m);)
        if (str_eq(m.value, S("\"" APPS_TYPE "\"")))
            return SHOWS_APPS;
    return 0;
}

static unsigned read_roots(struct str roots, enum revision from) {
    if (!declared(roots))
        return 0;
    bool tells = from < R26 && str_eq(json_raw_get(roots, S("listChanged")), S("true"));
    return tells ? ASK_ROOTS | TELLS_ROOTS : ASK_ROOTS;
}

unsigned asks_read(struct str capabilities, enum revision from) {
    if (capabilities.n <= 2)
        return 0;
    return read_roots(json_raw_get(capabilities, S("roots")), from) |
           read_sampling(json_raw_get(capabilities, S("sampling")), from) |
           read_elicitation(json_raw_get(capabilities, S("elicitation")), from) |
           read_extensions(json_raw_get(capabilities, S("extensions")));
}

bool tasks_declared(struct str capabilities) {
    struct str extensions = json_raw_get(capabilities, S("extensions"));
    return declared(extensions) && says(extensions, S(TASKS_EXTENSION));
}

static void put_flags(struct jw *w, const char *name, const char *first, bool has_first,
                      const char *second, bool has_second) {
    jw_key(w, str_of(name));
    jw_object(w);
    if (has_first)
        jw_put_raw(w, first, S("{}"));
    if (has_second)
        jw_put_raw(w, second, S("{}"));
    jw_object_end(w);
}

void asks_write(struct buf *out, unsigned asks, enum revision to) {
    struct jw w = jw_init(out);
    jw_object(&w);
    if (asks & ASK_ROOTS)
        jw_put_raw(&w, "roots",
                   asks & TELLS_ROOTS && to < R26 ? S("{\"listChanged\":true}") : S("{}"));
    if (asks & ASK_SAMPLING)
        put_flags(&w, "sampling", "tools", to >= R11 && asks & ASK_SAMPLING_TOOLS, "context",
                  to >= R11 && asks & ASK_SAMPLING_CONTEXT);
    if (to == R06 && asks & ASK_FORM)
        jw_put_raw(&w, "elicitation", S("{}"));
    if (to >= R11 && asks & (ASK_FORM | ASK_URL))
        put_flags(&w, "elicitation", "form", asks & ASK_FORM, "url", asks & ASK_URL);
    if ((to >= R11 && asks & SHOWS_APPS) || (to >= R26 && asks & TAKES_TASK)) {
        jw_key(&w, S("extensions"));
        jw_object(&w);
        if (asks & SHOWS_APPS)
            jw_put_raw(&w, APPS_EXTENSION, S("{\"mimeTypes\":[\"" APPS_TYPE "\"]}"));
        if (to >= R26 && asks & TAKES_TASK)
            jw_put_raw(&w, TASKS_EXTENSION, S("{}"));
        jw_object_end(&w);
    }
    jw_object_end(&w);
}

/* ---- questions --------------------------------------------------------------------- */

static bool is_url(struct str params) {
    return str_eq(json_raw_get(params, S("mode")), S("\"url\""));
}

unsigned question_needs(enum method method, struct str params) {
    switch (method) {
    case METHOD_ROOTS_LIST: return ASK_ROOTS;
    case METHOD_ELICITATION: return is_url(params) ? ASK_URL : ASK_FORM;
    case METHOD_SAMPLING:
        return ASK_SAMPLING | (json_raw_get(params, S("tools")).p ? ASK_SAMPLING_TOOLS : 0);
    default: return 0;
    }
}

/* The inside of a raw string; empty for anything else. */
static struct str inside(struct str raw) {
    return raw.n >= 2 && raw.p[0] == '"' ? str_from(raw.p + 1, raw.n - 2) : S("");
}

static void put_key(struct buf *out, struct str key) {
    if (out->n && out->p[out->n - 1] != '{')
        buf_char(out, ',');
    buf_char(out, '"');
    buf_str(out, key);
    buf_str(out, S("\":"));
}

static void put(struct buf *out, struct str key, struct str value) {
    put_key(out, key);
    buf_str(out, value);
}

/* Tokens and tasks of the upstream's leg mean nothing on the client's (P-447, P-611). */
static bool is_of_one_leg(struct str key) {
    return str_eq(key, S("progressToken")) || str_starts(key, S("io.modelcontextprotocol/"));
}

/* The upstream's own, and who it is. */
static void put_meta(struct buf *out, struct str meta, const struct question_look *look) {
    put_key(out, S("_meta"));
    buf_char(out, '{');
    for (struct json_members m = json_members(meta); json_member(&m);)
        if (!is_of_one_leg(m.key) && !str_eq(m.key, S("gatespan/upstream")) &&
            !str_eq(m.key, S("gatespan/key")))
            put(out, m.key, m.value);
    if (look->key.n) {
        put_key(out, S("gatespan/key"));
        buf_fmt(out, "\"%.*s\"", STR(look->key));
    }
    if (look->upstream.n) {
        struct jw w = jw_init(out);
        put_key(out, S("gatespan/upstream"));
        jw_string(&w, look->upstream);
    }
    if (look->task.n) {
        struct jw w = jw_init(out);
        put_key(out, S("io.modelcontextprotocol/related-task"));
        buf_str(out, S("{\"taskId\":"));
        jw_string(&w, look->task);
        buf_char(out, '}');
    }
    buf_char(out, '}');
}

/* People must see which server wants to know (P-274): the client names only the gateway. */
static void put_message(struct buf *out, struct str raw, const struct question_look *look) {
    put_key(out, S("message"));
    buf_char(out, '"');
    if (look->upstream.n) {
        buf_char(out, '[');
        json_escape(out, look->upstream);
        buf_str(out, S("] "));
    }
    buf_str(out, inside(raw));
    buf_char(out, '"');
}

/* Titled choices are oneOf since 2025-11-25, enum and enumNames before. */
static void put_old_choices(struct buf *out, struct str choices) {
    const struct {
        struct str member, from;
    } lists[] = { { S_INIT("enum"), S_INIT("const") }, { S_INIT("enumNames"), S_INIT("title") } };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        bool comma = false;
        put_key(out, lists[i].member);
        buf_char(out, '[');
        for (struct json_members m = json_elements(choices); json_element(&m); comma = true) {
            struct str value = json_raw_get(m.value, lists[i].from);
            buf_str(out, comma ? S(",") : S(""));
            buf_str(out, value.p ? value : S("\"\""));
        }
        buf_char(out, ']');
    }
}

/* Defaults were for booleans alone. */
static void put_old_property(struct buf *out, struct str property) {
    bool boolean = str_eq(json_raw_get(property, S("type")), S("\"boolean\""));
    buf_char(out, '{');
    for (struct json_members m = json_members(property); json_member(&m);) {
        if (str_eq(m.key, S("default")) && !boolean)
            continue;
        if (str_eq(m.key, S("oneOf")) && m.value.p[0] == '[')
            put_old_choices(out, m.value);
        else
            put(out, m.key, m.value);
    }
    buf_char(out, '}');
}

static void put_old_properties(struct buf *out, struct str properties) {
    buf_char(out, '{');
    for (struct json_members m = json_members(properties); json_member(&m);) {
        put_key(out, m.key);
        if (m.value.p[0] == '{')
            put_old_property(out, m.value);
        else
            buf_str(out, m.value);
    }
    buf_char(out, '}');
}

static void put_schema(struct buf *out, struct str schema, enum revision to) {
    put_key(out, S("requestedSchema"));
    if (to != R06 || !declared(schema)) {
        buf_str(out, schema);
        return;
    }
    buf_char(out, '{');
    for (struct json_members m = json_members(schema); json_member(&m);) {
        if (str_eq(m.key, S("$schema")))
            continue;
        put_key(out, m.key);
        if (str_eq(m.key, S("properties")) && declared(m.value))
            put_old_properties(out, m.value);
        else
            buf_str(out, m.value);
    }
    buf_char(out, '}');
}

static void put_elicitation(struct buf *out, struct str key, struct str value, enum revision to,
                            const struct question_look *look) {
    if (str_eq(key, S("message")))
        put_message(out, value, look);
    else if (str_eq(key, S("requestedSchema")))
        put_schema(out, value, to);
    else if (!str_eq(key, S("elicitationId")) && (to >= R11 || !str_eq(key, S("mode"))))
        put(out, key, value);
}

static void put_sampling(struct buf *out, struct str key, struct str value, enum revision to,
                         const struct question_look *look) {
    bool tools = str_eq(key, S("tools")) || str_eq(key, S("toolChoice"));
    bool context = str_eq(key, S("includeContext"));
    if ((tools && !(look->asks & ASK_SAMPLING_TOOLS)) ||
        (context && !(look->asks & ASK_SAMPLING_CONTEXT)))
        return;
    put_key(out, key);
    if (str_eq(key, S("messages")) && value.p[0] == '[')
        translate_sampling(out, value, to, look->uris);
    else
        buf_str(out, value);
}

/* Letters that need no escape, and none of the names that we make up ourselves (gateway/park.c). */
static bool is_key(struct str key) {
    bool other = false;
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
        if (!letter && (c < '0' || c > '9') && c != '.')
            return false;
        other |= letter && (i || c != 'q');
    }
    return other && key.n <= KEY_LENGTH;
}

struct str question_key(struct str params) {
    struct str meta = params.n && params.p[0] == '{' ? json_raw_get(params, S("_meta"))
                                                     : (struct str){ 0 };
    struct str key = meta.n && meta.p[0] == '{' ? inside(json_raw_get(meta, S("gatespan/key")))
                                                : (struct str){ 0 };
    return is_key(key) ? key : (struct str){ 0 };
}

void question_write(struct buf *out, enum method method, struct str params, enum revision to,
                    const struct question_look *look) {
    struct str meta = S("{}");
    bool url = method == METHOD_ELICITATION && is_url(params);
    buf_reserve(out, params.n + 128);
    buf_char(out, '{');
    for (struct json_members m = json_members(params); json_member(&m);) {
        if (str_eq(m.key, S("_meta")))
            meta = m.value;
        else if (str_eq(m.key, S("task"))) /* P-447 */
            continue;
        else if (method == METHOD_ELICITATION)
            put_elicitation(out, m.key, m.value, to, look);
        else if (method == METHOD_SAMPLING)
            put_sampling(out, m.key, m.value, to, look);
        else
            put(out, m.key, m.value);
    }
    if (url && to == R11) {
        struct jw w = jw_init(out);
        put_key(out, S("elicitationId"));
        jw_string(&w, look->elicitation_id);
    }
    put_meta(out, meta, look);
    buf_char(out, '}');
}

/* ---- answers ----------------------------------------------------------------------- */

static bool action_fits(struct str action) {
    return str_eq(action, S("\"accept\"")) || str_eq(action, S("\"decline\"")) ||
           str_eq(action, S("\"cancel\""));
}

bool answer_fits(enum method method, struct str result) {
    if (!declared(result))
        return false;
    struct str content = json_raw_get(result, S("content"));
    switch (method) {
    case METHOD_ROOTS_LIST: return json_raw_get(result, S("roots")).n && json_raw_get(result, S("roots")).p[0] == '[';
    case METHOD_ELICITATION: return action_fits(json_raw_get(result, S("action"))) && (!content.p || declared(content));
    case METHOD_SAMPLING: return json_raw_get(result, S("role")).p && json_raw_get(result, S("model")).p && content.p;
    default: return false;
    }
}

void answer_write(struct buf *out, struct str result, enum revision to) {
    bool sampled = json_raw_get(result, S("role")).p; /* else content is that of a form */
    buf_reserve(out, result.n + 2);
    buf_char(out, '{');
    for (struct json_members m = json_members(result); json_member(&m);) {
        if (str_eq(m.key, S("resultType")))
            continue;
        put_key(out, m.key);
        if (to < R11 && sampled && str_eq(m.key, S("content")))
            translate_sampled(out, m.value, to);
        else
            buf_str(out, m.value);
    }
    buf_char(out, '}');
}

struct str answer_refusal(enum method method) {
    switch (method) {
    case METHOD_ELICITATION: return S("\"result\":{\"action\":\"cancel\"}");
    case METHOD_SAMPLING: return S("\"error\":{\"code\":-1,\"message\":\"Nobody answered the sampling request\"}");
    default: return S("\"error\":{\"code\":-32601,\"message\":\"The client offers no such request\"}");
    }
}
