/* rev_2024_11_05.c - the first dated revision: what later ones change is said there. */
#include "mcp/shape.h"

static const int codes[] = { RPC_RESOURCE_NOT_FOUND };

const struct revision_data rev_2024_11_05 = {
    .text = S_INIT("2024-11-05"),
    .codes = codes,
    .code_count = ARRAY_SIZE(codes),
};
