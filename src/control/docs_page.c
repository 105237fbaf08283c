/* docs_page.c - /docs and /openapi.json: the route tables for people and for programs. The
 * page is whole in itself, without scripts; its policy allows its own style and nothing else. */
#include "base/mem.h"
#include "control/rest.h"
#include "control/rest_routes.h"
#include "control/routes.h"
#include <pthread.h>

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;margin:0 "
    "auto;max-width:60rem;padding:1rem;color:#1a1a1a;background:#fff}"
    "h1,h2,h3{line-height:1.2}h3{margin:2rem 0 .3rem}code,pre{font:13px/1.5 "
    "ui-monospace,monospace;background:#f2f2f0;"
    "border-radius:4px;padding:.1em "
    ".3em}pre{padding:.6em;overflow:auto}b.m{display:inline-block;min-width:4.5em;"
    "color:#0a5}table{border-collapse:collapse;width:100%;margin:.4rem "
    "0}td,th{text-align:left;vertical-align:top;"
    "padding:.25rem .6rem .25rem 0;border-bottom:1px solid #ddd}small{color:#666}nav "
    "a{margin-right:1em}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}code,pre{background:#"
    "262626}"
    "td,th{border-color:#333}a{color:#8bf}b.m{color:#4d9}}";

/* ---- HTML -------------------------------------------------------------------------- */

static void text(struct buf *b, struct str s) {
    for (size_t i = 0; i < s.n; i++)
        switch (s.p[i]) {
        case '<': buf_str(b, S("&lt;")); break;
        case '>': buf_str(b, S("&gt;")); break;
        case '&': buf_str(b, S("&amp;")); break;
        case '"': buf_str(b, S("&quot;")); break;
        default: buf_char(b, s.p[i]);
        }
}

static void element(struct buf *b, const char *name, struct str inside) {
    buf_fmt(b, "<%s>", name);
    text(b, inside);
    buf_fmt(b, "</%s>", name);
}

/* Help of the tables marks code with backquotes. */
static void prose(struct buf *b, struct str s) {
    bool code = false;
    while (s.p) {
        struct str piece = str_cut(&s, '`');
        if (code)
            element(b, "code", piece);
        else
            text(b, piece);
        code = !code;
    }
}

static bool is_nested(const struct field *row) {
    return row->fields != NULL;
}

static void rows(struct buf *b, struct arena *a, const char *before, const struct field *fields,
                 size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct field *row = &fields[i];
        if (row->flags & FIELD_HIDDEN)
            continue;
        buf_str(b, S("<tr><td>"));
        element(b, "code", arena_fmt(a, "%s%s", before, row->name));
        buf_str(b, S("<td>"));
        text(b, field_allowed(row, a));
        buf_str(b, row->flags & FIELD_REQUIRED ? S("<br><small>required</small><td>") : S("<td>"));
        prose(b, str_of(row->help));
        const char *step = row->type == FIELD_MAP    ? ".NAME."
                           : row->type == FIELD_LIST ? "[]."
                                                     : ".";
        if (is_nested(row))
            rows(b, a, arena_text(a, arena_fmt(a, "%s%s%s", before, row->name, step)), row->fields,
                 row->count);
    }
}

static void table(struct buf *b, const char *title, const struct schema *s) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    if (!s)
        return;
    element(b, "h4", str_of(title));
    buf_str(b, S("<table><tr><th>Name<th>Value<th>Meaning"));
    rows(b, &a, "", s->fields, *s->count);
    buf_str(b, S("</table>"));
}

static const char *const needs[] = {
    [NEED_NOBODY] = "no key needed", [NEED_KEY] = "any key", [NEED_ADMIN] = "an admin key",
};

static void operation(struct buf *b, const struct route *r) {
    buf_str(b, S("<h3><b class=m>"));
    text(b, str_of(r->methods));
    buf_str(b, S("</b> "));
    element(b, "code", str_of(r->path));
    buf_str(b, S("</h3><p>"));
    prose(b, str_of(r->help));
    buf_fmt(b, " <small>%s; %d on success%s%s</small>", needs[r->need], r->status ? r->status : 200,
            r->flags & ROUTE_IF_MATCH ? "; needs If-Match" : "",
            r->deprecated ? "; deprecated" : "");
    table(b, "Query", r->query);
    table(b, r->flags & ROUTE_MERGE ? "Body (merge patch)" : "Body", r->body);
    if (r->example) {
        buf_str(b, S("<pre>"));
        text(b, str_of(r->example));
        buf_str(b, S("</pre>"));
    }
    table(b, r->flags & ROUTE_LIST ? "Each of items" : "Result", r->result);
}

static void errors(struct buf *b) {
    buf_str(b, S("<h2 id=errors>Errors</h2><table><tr><th>Code<th>Status<th>Meaning"));
    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        const struct refusal_row *row = &refusal_rows[i];
        buf_fmt(b, "<tr id=\"%s\"><td><code>%s</code><td>%d<td>", row->word, row->word,
                row->status);
        prose(b, str_of(row->meaning));
    }
    buf_str(b, S("</table>"));
}

void docs_page_write(struct buf *b) {
    buf_str(b, S("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
                 "content=\"width=device-width\"><title>Gatespan API</title><style>"));
    buf_str(b, str_of(style));
    buf_str(
        b, S("</style><h1>Gatespan " GATESPAN_VERSION " API</h1><p>For programs: <a "
             "href=\"openapi.json\">openapi.json</a>. Send <code>Authorization: Bearer gs_…</code> "
             "with every request that needs a key.<nav>"));
    for (size_t i = 0; i < route_table_count; i++)
        buf_fmt(b, "<a href=\"#t-%s\">%s</a>", route_tables[i]->title, route_tables[i]->title);
    buf_str(b, S("<a href=\"#errors\">errors</a></nav>"));
    for (size_t i = 0; i < route_table_count; i++) {
        buf_fmt(b, "<h2 id=\"t-%s\">%s</h2>", route_tables[i]->title, route_tables[i]->title);
        for (size_t k = 0; k < route_tables[i]->count; k++)
            operation(b, &route_tables[i]->routes[k]);
    }
    errors(b);
    buf_str(b, S("</html>"));
}

/* ---- made once --------------------------------------------------------------------- */

static struct { struct buf openapi, docs, policy; } made;

/* CSP 3 §2.3.1: the style is allowed by its hash. */
static void make_policy(void) {
    uint8_t digest[SHA256_SIZE];
    crypto_sha256(str_of(style), digest);
    buf_str(&made.policy, S("default-src 'none'; style-src 'sha256-"));
    base64_put(&made.policy, digest, sizeof digest);
    buf_str(&made.policy, S("'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
}

static void make(void) {
    openapi_write(&made.openapi);
    docs_page_write(&made.docs);
    make_policy();
}

static void make_once(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make);
}

static err_t openapi_show(struct rest *r) {
    make_once();
    buf_str(&r->out, buf_view(&made.openapi));
    return OK;
}

static err_t docs_show(struct rest *r) {
    make_once();
    buf_str(&r->out, buf_view(&made.docs));
    r->policy = buf_view(&made.policy);
    return OK;
}

static const struct route reference_rows[] = {
    ROUTE(GET, "/openapi.json", NOBODY, openapi_show, "This API as an OpenAPI 3.1 document."),
    ROUTE(GET, "/docs", NOBODY, docs_show, "This API as a page to read.", .media = "text/html; charset=utf-8"),
};
const struct route_table reference_routes = { "reference", reference_rows,
                                              ARRAY_SIZE(reference_rows) };
