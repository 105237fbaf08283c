/* shape.h - which member of which message exists in which revision, as rows.
 *
 * Each rev_*.c tells what its revision changed against the one before: members and kinds
 * of content that came or went, and the error codes it has a meaning for. A member that no
 * row names is unknown and survives (P-011). For translate.c and revision.c only.
 *
 * Threads  constant data
 */
#pragma once
#include "mcp/revision.h"

enum shape {
    SHAPE_NONE,
    SHAPE_RESULT,
    SHAPE_RESULT_META,
    SHAPE_TOOL,
    SHAPE_TOOL_META,
    SHAPE_UI_META, /* P-305 */
    SHAPE_PROMPT,
    SHAPE_PROMPT_ARGUMENT,
    SHAPE_RESOURCE,
    SHAPE_TEMPLATE,
    SHAPE_MESSAGE,      /* of a prompt */
    SHAPE_SAMPLING_MESSAGE,
    SHAPE_IMPLEMENTATION, /* who a server is */
    SHAPE_CONTENT,      /* a content block of any kind */
    SHAPE_CONTENT_KIND, /* its members are values of `type` */
    SHAPE_CONTENTS,     /* what resources/read returns and embedded resources hold */
    SHAPE_ANNOTATIONS,
    SHAPE_PROGRESS,
    SHAPE_NOTIFICATION, /* params of any other one */
    SHAPE_NOTIFICATION_META,
    SHAPE_CAPABILITIES, /* of a server */
    SHAPE_COMPLETION,   /* params of completion/complete */
};

struct shape_change {
    enum shape shape;
    struct str member;
    bool removed; /* else added */
};
#define ADDED(shape_, member_) { .shape = SHAPE_##shape_, .member = S_INIT(member_) }
#define REMOVED(shape_, member_) { .shape = SHAPE_##shape_, .member = S_INIT(member_), .removed = true }

struct revision_data {
    struct str text;
    const struct shape_change *changes;
    size_t change_count;
    const int *codes; /* beside the five of JSON-RPC */
    size_t code_count;
    bool codes_reserved; /* no other code of -32099..-32000 may be emitted (P-020, P-021) */
    bool structured_objects; /* structuredContent and outputSchema are of objects only (P-195) */
};
extern const struct revision_data rev_2024_11_05, rev_2025_03_26, rev_2025_06_18, rev_2025_11_25,
    rev_2026_07_28;
const struct revision_data *revision_data(enum revision r);

/* False only for what some revision knows and `r` does not. */
bool shape_has(enum shape shape, struct str member, enum revision r);
