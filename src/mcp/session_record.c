/* session_record.c - see session_record.h. Members that are not known are passed over; those
 * that are missing are as in a new session. */
#include "mcp/session_record.h"
#include "base/crypto.h"
#include "base/json.h"
#include "mcp/question.h"
#include <stdio.h>

enum { RECORD_BYTES = 4096, RECORD_DEPTH = 4, LEVELS = 8 };

static void put_digest(struct jw *w, const char *key, uint64_t digest) {
    char text[17];
    int n = snprintf(text, sizeof text, "%016llx", (unsigned long long)digest);
    jw_put_string(w, key, str_from(text, (size_t)n));
}

void session_record_write(const struct session_view *v, struct str client, struct buf *out) {
    struct jw w = jw_init(out);
    jw_object(&w);
    jw_put_string(&w, "revision", revision_text(v->revision));
    put_digest(&w, "principal", v->principal);
    put_digest(&w, "profile", v->profile);
    jw_put_int(&w, "asks", v->asks);
    jw_put_int(&w, "level", v->log_level);
    jw_put_bool(&w, "initialized", v->initialized);
    if (client.n)
        jw_put_string(&w, "client", client);
    jw_object_end(&w);
}

static bool read_digest(json record, struct str key, uint64_t *out) {
    uint8_t bytes[8];
    if (!hex_get(json_get_text(record, key), bytes, sizeof bytes))
        return false;
    *out = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        *out = *out << 8 | bytes[i];
    return true;
}

static int64_t read_number(json record, struct str key, int64_t least, int64_t most,
                           int64_t other) {
    int64_t n;
    return json_is_i64(json_get(record, key), &n) && n >= least && n <= most ? n : other;
}

bool session_record_read(struct arena *a, struct str record, struct session_view *out,
                         struct str *out_client) {
    json v;
    if (json_parse(a, record, (struct json_limits){ RECORD_BYTES, RECORD_DEPTH }, &v))
        return false;
    struct session_view found = { .in_table = true, .stream_worker = -1 };
    found.revision = revision_parse(json_get_text(v, S("revision")));
    if (found.revision == REV_NONE || revision_era(found.revision) != ERA_LEGACY ||
        !read_digest(v, S("principal"), &found.principal) ||
        !read_digest(v, S("profile"), &found.profile))
        return false;
    found.asks = (unsigned)read_number(v, S("asks"), 0, UINT32_MAX, 0) & DECLARED_ALL;
    found.log_level = (int)read_number(v, S("level"), -1, LEVELS - 1, -1);
    json_is_bool(json_get(v, S("initialized")), &found.initialized);
    *out_client = str_head(json_get_text(v, S("client")), SESSION_CLIENT);
    *out = found;
    return true;
}
