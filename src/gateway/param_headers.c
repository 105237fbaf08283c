/* param_headers.c - see param_headers.h. The catalogue keeps, for each tool, the list of
 * its annotations: [{"header":"Region","path":["where","region"],"type":"string"}, …]. */
#include "gateway/param_headers.h"
#include "base/mem.h"
#include "gateway/param_schema.h"
#include "mcp/header_value.h"
#include <stdlib.h>

/* The argument that an annotation speaks of, raw; p NULL when absent or null. */
static struct str argument_of(json annotation, struct str arguments) {
    struct str at = arguments;
    for (struct json_iter it = json_iter(json_get(annotation, S("path"))); at.p && json_next(&it);)
        at = json_raw_get(at, json_text(it.value));
    return at.p && str_eq(at, S("null")) ? (struct str){ 0 } : at;
}

/* What the header says for it (P-075). */
static struct str text_of(struct arena *a, struct str raw) {
    return raw.p[0] == '"' ? json_unquote(a, raw) : raw;
}

struct str param_headers_write(struct arena *a, json header_params, struct str arguments) {
    SCOPED(buf_done) struct buf lines = { 0 };
    for (struct json_iter it = json_iter(header_params); json_next(&it);) {
        struct str raw = argument_of(it.value, arguments);
        if (!raw.p)
            continue;
        struct str text = text_of(a, raw);
        char *value = arena_alloc(a, text.n * 2 + 32);
        size_t n = header_value_write(value, text);
        buf_fmt(&lines, "mcp-param-%.*s: ", STR(json_get_text(it.value, S("header"))));
        buf_put(&lines, value, n);
        buf_str(&lines, S("\r\n"));
    }
    return lines.n ? arena_dup(a, buf_view(&lines)) : (struct str){ 0 };
}

/* strtod also takes spaces, hexadecimal and words. */
static bool decimal(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!memchr("0123456789+-.eE", s.p[i], 15))
            return false;
    return s.n > 0;
}

static bool same_number(struct str a, struct str b) {
    char x[40], y[40], *end_x, *end_y;
    if (a.n >= sizeof x || b.n >= sizeof y || !decimal(a) || !decimal(b))
        return false;
    memcpy(x, a.p, a.n);
    memcpy(y, b.p, b.n);
    x[a.n] = y[b.n] = '\0';
    double left = strtod(x, &end_x), right = strtod(y, &end_y);
    return !*end_x && !*end_y && left == right;
}

static bool matches(struct exchange *x, json annotation, struct str header, struct str raw) {
    struct str value;
    if (!header_value_read(x->arena, header, &value))
        return false;
    struct str text = text_of(x->arena, raw);
    bool integer = str_eq(json_get_text(annotation, S("type")), S("integer"));
    return str_eq(value, text) || (integer && same_number(value, text));
}

bool param_headers_match(struct exchange *x, json header_params) {
    for (struct json_iter it = json_iter(header_params); json_next(&it);) {
        struct str raw = argument_of(it.value, x->in.arguments);
        if (!raw.p) /* no header is expected then (P-076) */
            continue;
        struct str name = json_get_text(it.value, S("header"));
        struct str header = http_find(x->head, arena_fmt(x->arena, "mcp-param-%.*s", STR(name)));
        if (header.p && matches(x, it.value, header, raw))
            continue;
        answer_error(x, 0, RPC_HEADER_MISMATCH, (struct str){ 0 },
                     "Header mismatch: Mcp-Param-%.*s %s", STR(name),
                     header.p ? "differs from the argument" : "is missing");
        return false;
    }
    return true;
}

/* ---- listed anew (P-079) ----------------------------------------------------------- */

enum { PAGES_MOST = 100 };

static err_t read_tool(struct arena *a, struct str raw, json *out) {
    json tool = NULL;
    TRY(json_parse(a, arena_dup(a, raw), (struct json_limits){ .depth = 100 }, &tool));
    return param_schema_read(a, json_get(tool, S("inputSchema")), out);
}

/* Raw item of that name; p NULL: not on this page. */
static struct str find_tool(struct arena *a, struct str result, struct str tool) {
    for (struct json_members m = json_elements(json_raw_get(result, S("tools")));
         json_element(&m);) {
        struct str name = json_raw_get(m.value, S("name"));
        if (name.n > 1 && name.p[0] == '"' && str_eq(json_unquote(a, name), tool))
            return m.value;
    }
    return (struct str){ 0 };
}

err_t tool_header_params(struct task *t, struct upstream *u, struct str tool, struct arena *a,
                         json *out) {
    SCOPED(buf_done) struct buf params = { 0 };
    SCOPED(buf_done) struct buf result = { 0 };
    for (int page = 0; page < PAGES_MOST; page++) {
        buf_clear(&result);
        TRY(upstream_ask(t, u, METHOD_TOOLS_LIST, buf_view(&params), &result));
        struct str raw = find_tool(a, buf_view(&result), tool);
        if (raw.p)
            return read_tool(a, raw, out);
        struct str cursor = json_raw_get(buf_view(&result), S("nextCursor"));
        if (!cursor.p || cursor.p[0] != '"')
            break;
        buf_clear(&params);
        buf_fmt(&params, "{\"cursor\":%.*s}", STR(cursor));
    }
    return ERR(UPSTREAM,
               "upstream %.*s refused the headers of a call and lists no tool %.*s any more",
               STR(u->conf->name), STR(tool));
}
