/* rev_2025_11_25.c - what 2025-11-25 changed in the shapes of messages. */
#include "mcp/shape.h"

static const struct shape_change changes[] = {
    ADDED(TOOL, "icons"),
    ADDED(TOOL, "execution"),
    ADDED(PROMPT, "icons"),
    ADDED(RESOURCE, "icons"),
    ADDED(TEMPLATE, "icons"),
    ADDED(CONTENT, "icons"),
    ADDED(SAMPLING_MESSAGE, "_meta"),
    ADDED(IMPLEMENTATION, "icons"),
    ADDED(IMPLEMENTATION, "description"),
    ADDED(IMPLEMENTATION, "websiteUrl"),
    ADDED(RESULT_META, "io.modelcontextprotocol/related-task"),
    ADDED(NOTIFICATION_META, "io.modelcontextprotocol/related-task"),
};

static const int codes[] = { RPC_RESOURCE_NOT_FOUND, RPC_URL_ELICITATION };

const struct revision_data rev_2025_11_25 = {
    .text = S_INIT("2025-11-25"),
    .changes = changes,
    .change_count = ARRAY_SIZE(changes),
    .codes = codes,
    .code_count = ARRAY_SIZE(codes),
    .structured_objects = true,
};
