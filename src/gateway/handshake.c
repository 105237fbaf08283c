/* handshake.c - the messages that open a relation with an upstream, and what they tell.
 * Declared in upstream.h. The gateway's own requests to modern upstreams offer nothing to be
 * asked, but show apps, so that these are listed; a legacy session declares what its callers
 * can be asked (P-431). */
#include "gateway/upstream.h"
#include "mcp/question.h"

static const char identity[] =
    "{\"name\":\"gatespan\",\"title\":\"Gatespan\",\"version\":\"" GATESPAN_VERSION "\"}";

void modern_meta(struct buf *out, enum revision r) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "io.modelcontextprotocol/protocolVersion", revision_text(r));
    jw_put_raw(&w, "io.modelcontextprotocol/clientInfo", str_of(identity));
    jw_key(&w, S("io.modelcontextprotocol/clientCapabilities"));
    asks_write(out, SHOWS_APPS, r);
    jw_object_end(&w);
}

static void open_request(struct jw *w, const char *id_text, const char *method) {
    jw_object(w);
    jw_put_string(w, "jsonrpc", S("2.0"));
    jw_put_raw(w, "id", str_of(id_text));
    jw_put_string(w, "method", str_of(method));
    jw_key(w, S("params"));
    jw_object(w);
}

static void close_request(struct jw *w) {
    jw_object_end(w);
    jw_object_end(w);
}

void handshake_discover(struct buf *out, const char *id_text) {
    struct jw w = jw_init(out);
    struct buf meta = { 0 };
    modern_meta(&meta, LATEST_MODERN);
    open_request(&w, id_text, "server/discover");
    jw_put_raw(&w, "_meta", buf_view(&meta));
    close_request(&w);
    buf_done(&meta);
}

void handshake_initialize(struct buf *out, const char *id_text, enum revision offer,
                          unsigned asks) {
    struct jw w = jw_init(out);
    open_request(&w, id_text, "initialize");
    jw_put_string(&w, "protocolVersion", revision_text(offer));
    jw_key(&w, S("capabilities"));
    asks_write(out, asks, offer);
    w.comma = true;
    jw_put_raw(&w, "clientInfo", str_of(identity));
    close_request(&w);
}

struct str handshake_initialized(void) {
    return S("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
}

void handshake_set_level(struct buf *out, const char *id_text, unsigned verbosity) {
    struct jw w = jw_init(out);
    open_request(&w, id_text, "logging/setLevel");
    jw_put_string(&w, "level", log_level_name(LOG_LEVELS - (int)verbosity));
    close_request(&w);
}

static struct str text_member(struct arena *a, struct str object, const char *key) {
    struct str raw = json_raw_get(object, str_of(key));
    if (!raw.p || raw.p[0] != '"')
        return (struct str){ 0 };
    return arena_dup(a, json_unquote(a, raw));
}

static struct str raw_member(struct arena *a, struct str object, const char *key) {
    struct str raw = json_raw_get(object, str_of(key));
    return raw.p ? arena_dup(a, raw) : raw;
}

/* The newest modern revision that both sides know; REV_NONE when there is none. */
static enum revision mutual_modern(struct str versions) {
    enum revision best = REV_NONE;
    struct json_members m = json_elements(versions);
    while (json_element(&m)) {
        if (m.value.n < 2)
            continue;
        enum revision r = revision_parse(str_from(m.value.p + 1, m.value.n - 2));
        if (r != REV_NONE && revision_era(r) == ERA_MODERN && r > best)
            best = r;
    }
    return best;
}

bool handshake_is_discovery(struct str result) {
    struct str versions = json_raw_get(result, S("supportedVersions"));
    return versions.p && versions.p[0] == '[';
}

err_t handshake_read_discover(struct arena *a, struct str result, struct upstream_info *out) {
    struct str versions = json_raw_get(result, S("supportedVersions"));
    enum revision r = mutual_modern(versions);
    if (r == REV_NONE)
        return ERR(UPSTREAM, "server/discover lists no revision that we speak: %.*s",
                   (int)(versions.n < 80 ? versions.n : 80), versions.p ? versions.p : "");
    *out = (struct upstream_info){
        .revision = r,
        .has = capabilities_read(json_raw_get(result, S("capabilities")), r),
        .instructions = text_member(a, result, "instructions"),
    };
    struct str meta = json_raw_get(result, S("_meta"));
    struct str info = meta.p ? json_raw_get(meta, S("io.modelcontextprotocol/serverInfo")) : meta;
    /* older drafts had it in the body (P-047, P-707) */
    out->server_info = info.p ? arena_dup(a, info) : raw_member(a, result, "serverInfo");
    return OK;
}

err_t handshake_read_initialize(struct arena *a, struct str result, struct upstream_info *out) {
    struct str version = text_member(a, result, "protocolVersion");
    enum revision r = revision_parse(version);
    if (r == REV_NONE || revision_era(r) != ERA_LEGACY)
        return ERR(UPSTREAM,
                   "initialize was answered with protocol version \"%.*s\", which we do not speak",
                   (int)(version.n < 40 ? version.n : 40), version.p ? version.p : "");
    *out = (struct upstream_info){
        .revision = r,
        .has = capabilities_read(json_raw_get(result, S("capabilities")), r),
        .instructions = text_member(a, result, "instructions"),
        .server_info = raw_member(a, result, "serverInfo"),
    };
    return OK;
}

bool handshake_is_modern_error(struct str error, enum revision *out_mutual) {
    int64_t code = 0;
    struct str raw = json_raw_get(error, S("code"));
    if (!raw.p || !str_to_i64(raw, &code))
        return false;
    *out_mutual = REV_NONE;
    if (code == RPC_UNSUPPORTED_VERSION) {
        struct str data = json_raw_get(error, S("data"));
        if (data.p)
            *out_mutual = mutual_modern(json_raw_get(data, S("supported")));
    }
    return code == RPC_UNSUPPORTED_VERSION || code == RPC_HEADER_MISMATCH ||
           code == RPC_MISSING_CAPABILITY;
}
