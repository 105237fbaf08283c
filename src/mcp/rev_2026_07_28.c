/* rev_2026_07_28.c - what 2026-07-28 changed in the shapes of messages. */
#include "mcp/shape.h"

static const struct shape_change changes[] = {
    REMOVED(TOOL, "execution"),
    ADDED(RESULT, "resultType"),
    ADDED(RESULT, "ttlMs"),
    ADDED(RESULT, "cacheScope"),
    ADDED(RESULT_META, "io.modelcontextprotocol/serverInfo"),
    REMOVED(RESULT_META, "io.modelcontextprotocol/related-task"),
    REMOVED(NOTIFICATION_META, "io.modelcontextprotocol/related-task"),
    ADDED(NOTIFICATION_META, "io.modelcontextprotocol/subscriptionId"),
};

static const int codes[] = { RPC_HEADER_MISMATCH, RPC_MISSING_CAPABILITY, RPC_UNSUPPORTED_VERSION };

const struct revision_data rev_2026_07_28 = {
    .text = S_INIT("2026-07-28"),
    .changes = changes,
    .change_count = ARRAY_SIZE(changes),
    .codes = codes,
    .code_count = ARRAY_SIZE(codes),
    .codes_reserved = true,
};
