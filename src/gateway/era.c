/* era.c - see era.h. */
#include "gateway/era.h"
#include "base/mem.h"
#include "mcp/question.h"

bool era_offers_modern(const struct exchange *x) {
    return revision_era((enum revision)x->snapshot->conf->protocol.newest) == ERA_MODERN;
}

bool era_check_meta(struct exchange *x) {
    bool capabilities = x->in.client_capabilities.p && x->in.client_capabilities.p[0] == '{';
    if (x->in.protocol_version.p && (x->in.kind != ENVELOPE_REQUEST || capabilities))
        return true;
    answer_error(x, 400, RPC_INVALID_PARAMS, (struct str){ 0 },
                 "Invalid params: _meta needs "
                 "io.modelcontextprotocol/protocolVersion (a string) and "
                 "io.modelcontextprotocol/clientCapabilities (an object)");
    return false;
}

bool era_check_version(struct exchange *x) {
    x->revision = revision_parse(x->in.protocol_version);
    if (x->revision != REV_NONE && revision_era(x->revision) == ERA_MODERN)
        return true;
    SCOPED(buf_done) struct buf data = { 0 };
    struct jw w = jw_init(&data);
    jw_object(&w);
    jw_put_raw(&w, "supported", S("[\"2026-07-28\"]"));
    jw_put_raw(&w, "requested", arena_fmt(x->arena, "\"%.*s\"", STR(x->in.protocol_version)));
    jw_object_end(&w);
    answer_error(x, 400, RPC_UNSUPPORTED_VERSION, buf_view(&data), "Unsupported protocol version");
    return false;
}

bool era_negotiate(struct exchange *x) {
    struct str raw = x->in.params.p ? json_raw_get(x->in.params, S("protocolVersion"))
                                    : (struct str){ 0 };
    if (!raw.p || raw.p[0] != '"') {
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 },
                     "initialize needs params.protocolVersion");
        return false;
    }
    enum revision wanted = revision_parse(json_unquote(x->arena, raw));
    enum revision newest = (enum revision)x->snapshot->conf->protocol.newest;
    newest = newest < LATEST_LEGACY ? newest : LATEST_LEGACY;
    x->revision = wanted != REV_NONE && wanted <= newest ? wanted : newest;
    return true;
}

unsigned era_asks(const struct exchange *x) {
    return asks_read(json_raw_get(x->in.params, S("capabilities")), x->revision);
}
