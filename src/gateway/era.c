/* era.c - see era.h. */
#include "gateway/era.h"
#include "base/mem.h"
#include "mcp/question.h"

bool era_offers_modern(const struct exchange *x) {
    return revision_era((enum revision)x->snapshot->conf->protocol.newest) == ERA_MODERN;
}

bool era_offers_legacy(const struct exchange *x) {
    return revision_era((enum revision)x->snapshot->conf->protocol.oldest) == ERA_LEGACY;
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

/* P-042, P-062; `requested` is raw JSON. */
static bool unsupported(struct exchange *x, struct str requested, const char *why) {
    SCOPED(buf_done) struct buf data = { 0 };
    struct jw w = jw_init(&data);
    jw_object(&w);
    jw_put_raw(&w, "supported", S("[\"2026-07-28\"]"));
    jw_put_raw(&w, "requested", requested);
    jw_object_end(&w);
    answer_error(x, 400, RPC_UNSUPPORTED_VERSION, buf_view(&data), "%s", why);
    return false;
}

bool era_check_version(struct exchange *x) {
    x->revision = revision_parse(x->in.protocol_version);
    if (x->revision != REV_NONE && revision_era(x->revision) == ERA_MODERN)
        return true;
    return unsupported(x, arena_fmt(x->arena, "\"%.*s\"", STR(x->in.protocol_version)),
                       "Unsupported protocol version");
}

bool era_negotiate(struct exchange *x) {
    struct str raw = x->in.params.p ? json_raw_get(x->in.params, S("protocolVersion"))
                                    : (struct str){ 0 };
    if (!raw.p || raw.p[0] != '"') {
        answer_error(x, 0, RPC_INVALID_PARAMS, (struct str){ 0 },
                     "initialize needs params.protocolVersion");
        return false;
    }
    if (!era_offers_legacy(x))
        return unsupported(x, raw,
                           "There is no initialize here: revision 2026-07-28 alone is spoken");
    enum revision wanted = revision_parse(json_unquote(x->arena, raw));
    const struct protocol_conf *offered = &x->snapshot->conf->protocol;
    enum revision newest = (enum revision)offered->newest;
    newest = newest < LATEST_LEGACY ? newest : LATEST_LEGACY;
    bool known = wanted != REV_NONE && (int)wanted >= offered->oldest && wanted <= newest;
    x->revision = known ? wanted : newest;
    return true;
}

unsigned era_asks(const struct exchange *x) {
    return asks_read(json_raw_get(x->in.params, S("capabilities")), x->revision);
}
