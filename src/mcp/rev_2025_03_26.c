/* rev_2025_03_26.c - what 2025-03-26 changed in the shapes of messages. */
#include "mcp/shape.h"

static const struct shape_change changes[] = {
    ADDED(TOOL, "annotations"),
    ADDED(CONTENT_KIND, "audio"),
    ADDED(PROGRESS, "message"),
    ADDED(CAPABILITIES, "completions"),
};

static const int codes[] = { RPC_RESOURCE_NOT_FOUND };

const struct revision_data rev_2025_03_26 = {
    .text = S_INIT("2025-03-26"),
    .changes = changes,
    .change_count = ARRAY_SIZE(changes),
    .codes = codes,
    .code_count = ARRAY_SIZE(codes),
};
