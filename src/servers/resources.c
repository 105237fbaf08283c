/* resources.c - resources/… and completion/complete of built-in servers (server.h). */
#include "base/log.h"
#include "base/mem.h"
#include "mcp/revision.h"
#include "servers/server.h"

enum { MOST_VALUES = 100 }; /* of one completion (P-220) */

const struct server_resources *server_resources(const struct server_ops *ops, void *self) {
    return ops->resources ? ops->resources(self) : NULL;
}

static int code_of(err_t e) {
    switch (e->kind) {
    case ERR_NOT_FOUND: return RPC_RESOURCE_NOT_FOUND;
    case ERR_INVALID:
    case ERR_DENIED:
    case ERR_TOO_LARGE: return RPC_INVALID_PARAMS;
    default: return RPC_INTERNAL;
    }
}

/* The answer so far is dropped; INTERNAL ones are logged and not shown. */
static void put_error(err_t e, struct str uri, struct buf *out) {
    buf_clear(out);
    bool inside = e->kind == ERR_INTERNAL;
    if (inside)
        log_error("resource failed", F("uri", uri), F("error", e->text));
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_int(&w, "code", code_of(e));
    jw_put_string(&w, "message", inside ? S("internal error") : str_of(e->text));
    if (uri.n) {
        jw_key(&w, S("data"));
        jw_object(&w);
        jw_put_string(&w, "uri", uri);
        jw_object_end(&w);
    }
    jw_object_end(&w);
}

static struct jw begin(struct buf *out, const char *member) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_key(&w, str_of(member));
    jw_array(&w);
    return w;
}

static void finish(struct jw *w, struct buf *out, err_t e, struct str next, struct str uri,
                   bool *failed) {
    *failed = e != OK;
    if (e) {
        put_error(e, uri, out);
        return;
    }
    jw_array_end(w);
    if (next.n)
        jw_put_string(w, "nextCursor", next);
    jw_object_end(w);
}

static const struct server_resources none_at_all;

static const struct server_resources *of(const struct server_ops *ops, void *self) {
    const struct server_resources *r = server_resources(ops, self);
    return r ? r : &none_at_all;
}

void server_resource_list(const struct server_ops *ops, void *self, struct call_ctx *c,
                          struct str cursor, struct buf *out, bool *failed) {
    const struct server_resources *r = of(ops, self);
    struct str next = { 0 };
    struct jw w = begin(out, "resources");
    finish(&w, out, r->list ? r->list(c, self, cursor, &w, &next) : OK, next, S(""), failed);
}

void server_resource_templates(const struct server_ops *ops, void *self, struct call_ctx *c,
                               struct buf *out, bool *failed) {
    const struct server_resources *r = of(ops, self);
    struct jw w = begin(out, "resourceTemplates");
    finish(&w, out, r->templates ? r->templates(c, self, &w) : OK, S(""), S(""), failed);
}

void server_resource_read(const struct server_ops *ops, void *self, struct call_ctx *c,
                          struct str uri, struct buf *out, bool *failed) {
    const struct server_resources *r = of(ops, self);
    struct jw w = begin(out, "contents");
    err_t e = r->read ? r->read(c, self, uri, &w) : ERR(NOT_FOUND, "there are no resources here");
    finish(&w, out, e, S(""), uri, failed);
}

static struct str text_at(struct arena *a, struct str object, const char *key) {
    struct str raw = object.p ? json_raw_get(object, str_of(key)) : object;
    return raw.p && raw.p[0] == '"' ? json_unquote(a, raw) : S("");
}

static void put_values(struct jw *w, const struct str_list *values, size_t total) {
    jw_key(w, S("completion"));
    jw_object(w);
    jw_key(w, S("values"));
    jw_array(w);
    for (size_t i = 0; i < values->n && i < MOST_VALUES; i++)
        jw_string(w, values->items[i]);
    jw_array_end(w);
    jw_put_int(w, "total", (int64_t)total);
    jw_put_bool(w, "hasMore", total > values->n);
    jw_object_end(w);
}

void server_complete(const struct server_ops *ops, void *self, struct call_ctx *c,
                     struct str params, struct buf *out, bool *failed) {
    const struct server_resources *r = of(ops, self);
    struct str argument = json_raw_get(params, S("argument"));
    struct str context = json_raw_get(params, S("context"));
    struct server_completion ask = {
        .template = text_at(c->arena, json_raw_get(params, S("ref")), "uri"),
        .argument = text_at(c->arena, argument, "name"), .value = text_at(c->arena, argument, "value"),
        .context = context.p ? json_raw_get(context, S("arguments")) : context,
    };
    struct str_list values = { 0 };
    size_t total = 0;
    err_t e = r->complete ? r->complete(c, self, &ask, &values, &total) : OK;
    *failed = e != OK;
    if (e) {
        put_error(e, S(""), out);
        return;
    }
    struct jw w = jw_init(out);
    jw_object(&w);
    put_values(&w, &values, total);
    jw_object_end(&w);
}
