/* rev_2025_06_18.c - what 2025-06-18 changed in the shapes of messages. */
#include "mcp/shape.h"

static const struct shape_change changes[] = {
    ADDED(TOOL, "title"),
    ADDED(TOOL, "_meta"),
    ADDED(TOOL, "outputSchema"),
    ADDED(PROMPT, "title"),
    ADDED(PROMPT, "_meta"),
    ADDED(PROMPT_ARGUMENT, "title"),
    ADDED(RESOURCE, "title"),
    ADDED(RESOURCE, "_meta"),
    ADDED(TEMPLATE, "title"),
    ADDED(TEMPLATE, "_meta"),
    ADDED(CONTENT_KIND, "resource_link"),
    ADDED(CONTENT, "_meta"),
    ADDED(CONTENTS, "_meta"),
    ADDED(ANNOTATIONS, "lastModified"),
    ADDED(RESULT, "structuredContent"),
    ADDED(COMPLETION, "context"),
    ADDED(IMPLEMENTATION, "title"),
};

static const int codes[] = { RPC_RESOURCE_NOT_FOUND };

const struct revision_data rev_2025_06_18 = {
    .text = S_INIT("2025-06-18"),
    .changes = changes,
    .change_count = ARRAY_SIZE(changes),
    .codes = codes,
    .code_count = ARRAY_SIZE(codes),
    .structured_objects = true,
};
