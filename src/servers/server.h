/* server.h - what a built-in MCP server is: a constant vtable and its tools.
 *
 * A built-in server runs in process, on the worker and task of its caller, behind the
 * same upstream interface as a server on the wire: it is probed, listed, named, filtered
 * and limited like any other. Its state opens once in a process. See docs/design for how
 * to add one: a folder, a vtable, one line in builtin.c.
 *
 * Threads  tools are called on any worker at once; state guards itself
 */
#pragma once
#include "base/field.h"
#include "run/task.h"

/* What a tool is given beside its arguments. */
struct call_ctx {
    struct task *task;
    struct arena *arena;   /* of the round: results may point into it */
    struct str principal;  /* who calls, for servers that keep things per caller */
    struct str tenant;
    nanos wall;            /* wall-clock time of the call: tests own it */
    struct call_sink *sink; /* NULL: nobody listens */
};
/* To the caller while the tool runs; dropped where the caller asked for none (P-241, P-232). */
struct call_sink {
    void (*progress)(struct call_sink *s, double progress, double total, struct str message);
    void (*log)(struct call_sink *s, int level, struct str logger, struct str data_json);
};

/* What a tool answers. Zeroed before the call. */
struct tool_result {
    struct buf structured; /* one JSON object: becomes structuredContent and a text block (P-195) */
    struct buf text;       /* a text block; used when structured is empty, or instead of its copy */
    struct buf content;    /* further raw content blocks, comma separated, without brackets */
    bool is_error;         /* it failed: text says why, so that the model can mend it (P-025) */
};

/* Fills *result. A returned error is shown as isError with its text, INTERNAL ones are
 * logged and shown as "internal error". `args` is the struct that the rows describe. */
typedef err_t tool_fn(struct call_ctx *c, void *self, const void *args, struct tool_result *result);

enum tool_hints {
    TOOL_READ_ONLY = 1 << 0,
    TOOL_DESTRUCTIVE = 1 << 1,
    TOOL_IDEMPOTENT = 1 << 2,
    TOOL_OPEN_WORLD = 1 << 3,
};

struct tool {
    const char *name, *title, *description;
    const struct field *args;
    size_t arg_count, args_size;
    const struct field *result; /* rows of the structured result, for outputSchema; NULL: none */
    size_t result_count;
    unsigned hints;
    tool_fn *run;
};

#define TOOL(name_, title_, args_, args_type, result_, fn, hints_, description_)                   \
    {                                                                                              \
        .name = name_, .title = title_, .description = description_, .args = args_,                \
        .arg_count = ARRAY_SIZE(args_), .args_size = sizeof(args_type), .result = result_,         \
        .result_count = ARRAY_SIZE(result_), .hints = hints_, .run = fn                            \
    }

struct server_ops {
    const char *name;    /* "time": the upstream's name when none is configured */
    const char *title, *summary;
    const char *instructions; /* for the model; may be NULL */
    const struct field *options;
    size_t option_count, options_size;
    const struct tool *tools;
    size_t tool_count;
    err_t (*open)(const void *conf, void **out_self); /* NULL: stateless */
    void (*close)(void *self);
};

/* All of them; NULL when there is none of that name. */
extern const struct server_ops *const builtin_servers[];
extern const size_t builtin_count;
const struct server_ops *builtin_find(struct str name);

/* Answers as revision 2025-11-25 has them, as raw objects. server_list appends a tools/list
 * result with all tools; server_call a tools/call result for the tool `name` with raw
 * `arguments` (p NULL: absent), or an error object (unknown tool, -32602) and sets *failed.
 * Arguments are validated against the rows: problems become an isError result that names
 * each of them (P-200). */
void server_list(const struct server_ops *ops, struct buf *out);
void server_call(const struct server_ops *ops, void *self, struct call_ctx *c, struct str name,
                 struct str arguments, struct buf *out, bool *failed);
