/* prompts.c - prompts/… of built-in servers (server.h). */
#include "base/log.h"
#include "mcp/revision.h"
#include "servers/server.h"

static void put_error(err_t e, struct buf *out) {
    bool wrong = e->kind == ERR_NOT_FOUND || e->kind == ERR_INVALID;
    buf_clear(out);
    if (!wrong)
        log_error("prompt failed", F("error", e->text));
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_int(&w, "code", wrong ? RPC_INVALID_PARAMS : RPC_INTERNAL);
    jw_put_string(&w, "message", wrong ? str_of(e->text) : S("internal error"));
    jw_object_end(&w);
}

static struct jw begin(struct buf *out, const char *array) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_key(&w, str_of(array));
    jw_array(&w);
    return w;
}

static void finish(struct jw *w, struct buf *out, err_t e, bool *failed) {
    *failed = e != OK;
    if (e) {
        put_error(e, out);
        return;
    }
    jw_array_end(w);
    jw_object_end(w);
}

void server_prompt_list(const struct server_ops *ops, void *self, struct call_ctx *c,
                        struct buf *out, bool *failed) {
    struct jw w = begin(out, "prompts");
    finish(&w, out, ops->prompts ? ops->prompts->list(c, self, &w) : OK, failed);
}

void server_prompt_get(const struct server_ops *ops, void *self, struct call_ctx *c,
                       struct str name, struct str arguments, struct buf *out, bool *failed) {
    struct jw w = begin(out, "messages");
    err_t e = ops->prompts ? ops->prompts->get(c, self, name, arguments, &w)
                           : ERR(NOT_FOUND, "there are no prompts here");
    finish(&w, out, e, failed);
    if (e || !c->asked.n)
        return;
    buf_clear(out);
    call_put_asked(c, out);
}
