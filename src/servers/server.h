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
#include "mcp/revision.h"
#include "run/task.h"

/* What a tool is given beside its arguments. */
struct call_ctx {
    struct task *task;
    struct arena *arena;   /* of the round: results may point into it */
    struct str principal;  /* who calls, for servers that keep things per caller */
    struct str tenant;
    nanos wall;            /* wall-clock time of the call: tests own it */
    struct call_sink *sink; /* NULL: nobody listens */
    void (*let_go)(void *of); /* see call_let_go; may be NULL */
    void *let_go_of;
    /* of call_ask */
    bool takes_task;       /* the caller takes a task for an answer, see call_as_task */
    bool in_task;          /* this run is the work of one */
    unsigned asks;         /* what the caller can be asked (mcp/question.h) */
    struct str responses;  /* raw object: answers to what the run before asked; or absent */
    struct str state;      /* answers of the runs before that one, the same way */
    struct buf asked, known; /* members so far: questions open, answers used */
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
    bool as_task;          /* the work is to be done as a task: see call_as_task */
    int rpc_code;          /* not 0: a JSON-RPC error instead; structured is its data */
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

/* Whether calls of a tool may be tasks, as `execution.taskSupport` says (P-203). */
enum tool_task { TOOL_NO_TASK, TOOL_MAY_TASK, TOOL_NEEDS_TASK };

struct tool {
    const char *name, *title, *description;
    const struct field *args;
    size_t arg_count, args_size;
    const struct field *result; /* rows of the structured result, for outputSchema; NULL: none */
    size_t result_count;
    unsigned hints;
    tool_fn *run;
    /* A schema that rows cannot say, instead of args: listed as it is; `run` gets a
     * const struct str *, the raw arguments as they came (p NULL: none). */
    const char *schema;
    enum tool_task task; /* NEEDS: who takes none gets -32021 (P-296) */
};

#define TOOL(name_, title_, args_, args_type, result_, fn, hints_, description_)                   \
    {                                                                                              \
        .name = name_, .title = title_, .description = description_, .args = args_,                \
        .arg_count = ARRAY_SIZE(args_), .args_size = sizeof(args_type), .result = result_,         \
        .result_count = ARRAY_SIZE(result_), .hints = hints_, .run = fn                            \
    }

/* The tools of one file, where a server's are in several. */
struct tool_table {
    const struct tool *tools;
    size_t count;
};

/* What a server is opened with beside its options. */
struct server_env {
    struct str name;     /* of the upstream */
    struct str data_dir; /* absolute or relative to the working directory; may be empty */
};

/* What is asked for by completion/complete. */
struct server_completion {
    struct str template; /* uriTemplate */
    struct str argument, value;
    struct str context;  /* raw object of the arguments that are known, or empty */
};
/* Hears of changes while `watch` waits, on its task. */
struct server_watcher {
    /* Content of one resource; an empty uri: of any of them, notices were lost. Must not wait. */
    void (*updated)(struct server_watcher *w, struct str uri);
};

/* Things with a URI. Functions may wait; `w` is inside the array of the answer. NOT_FOUND
 * becomes "resource not found" (P-211). */
struct server_resources {
    /* A page; `cursor` is what *next was, empty at the start. *next stays empty at the end. */
    err_t (*list)(struct call_ctx *c, void *self, struct str cursor, struct jw *w,
                  struct str *next);
    err_t (*templates)(struct call_ctx *c, void *self, struct jw *w);
    err_t (*read)(struct call_ctx *c, void *self, struct str uri, struct jw *w);
    /* At most 100 values, in c->arena; *total says how many there would be. NULL: none. */
    err_t (*complete)(struct call_ctx *c, void *self, const struct server_completion *ask,
                      struct str_list *out, size_t *total);
};

/* Functions may wait. NOT_FOUND and INVALID become -32602 (P-221). */
struct server_prompts {
    /* `w` is inside the array of the list. */
    err_t (*list)(struct call_ctx *c, void *self, struct jw *w);
    /* `w` is inside the array "messages"; `arguments` raw, p NULL: none. May call_ask. */
    err_t (*get)(struct call_ctx *c, void *self, struct str name, struct str arguments,
                 struct jw *w);
};

struct server_ops {
    const char *name;    /* "time": the upstream's name when none is configured */
    const char *title, *summary;
    const char *instructions; /* for the model; may be NULL */
    const struct field *options;
    size_t option_count, options_size;
    const struct tool *tools;
    size_t tool_count;
    const struct tool_table *const *tables; /* NULL-terminated, instead of tools; or NULL */
    /* What rows cannot say about options: INVALID with the name of the option. May be NULL. */
    err_t (*check)(const void *conf);
    /* `conf` stays valid until close. NULL: stateless. */
    err_t (*open)(const void *conf, const struct server_env *env, void **out_self);
    void (*close)(void *self);
    /* Whether this one of the tools is there under the options given; NULL: all are. */
    bool (*offers)(void *self, const struct tool *tool);
    /* NULL: none, or what these options leave of them. */
    const struct server_resources *(*resources)(void *self);
    const struct server_prompts *prompts; /* NULL: none */
    bool asks; /* tools or prompts use call_ask */
    bool logs; /* tools use call_sink.log without being asked for progress */
    /* On the home worker: waits until a list is no longer what it was (OK), for an error or
     * for cancellation. NULL: lists never change. */
    err_t (*watch)(struct task *t, void *self, struct server_watcher *watcher);
};

/* All of them; NULL when there is none of that name. */
extern const struct server_ops *const builtin_servers[];
extern const size_t builtin_count;
const struct server_ops *builtin_find(struct str name);
/* One more, of a program that has a server of its own (tests/conformance); before anything else
 * starts. It is found by name, and listed nowhere. */
void builtin_add(const struct server_ops *ops);

/* Asks the caller (DESIGN decision 10), on the path of an upstream on the wire that asks: a modern
 * client gets input_required, a legacy one a request. True: *answer is its result, raw, that fits
 * the method. False: the question is noted; ask further ones whose answers do not depend on it,
 * then return OK. The function then runs again, from the start, once there are answers: before
 * call_ask it must do nothing that may not be done twice. `key` names the question in this call;
 * `params` is a raw object. Ask only what c->asks offers, and only where server_ops.asks is set. */
bool call_ask(struct call_ctx *c, const char *key, enum method method, struct str params,
              struct str *answer);
/* The rest takes long: true where it should go on as a task. Then the tool returns OK at once, the
 * caller gets the task, and the tool runs again in the background, from the start, with the same
 * answers, until it has its result; it may ask there, too. Before call_as_task it must do nothing
 * that may not be done twice. Only for tools with a `task`, of servers that ask. */
bool call_as_task(struct call_ctx *c, struct tool_result *result);
/* What there was to ask: appends the result input_required and returns true; for server_call and
 * its like. */
bool call_put_asked(struct call_ctx *c, struct buf *out);
void call_ctx_done(struct call_ctx *c);
/* This will take a while: a caller that can come back for the answer need not hold its connection
 * (P-151); nothing happens to others. */
void call_let_go(struct call_ctx *c);

/* The tool at position i of all, NULL behind the last. */
const struct tool *server_tool(const struct server_ops *ops, size_t i);

/* Answers as revision 2025-11-25 has them, as raw objects. server_list appends a tools/list
 * result with all tools; server_call a tools/call result for the tool `name` with raw
 * `arguments` (p NULL: absent), or an error object (unknown tool, -32602) and sets *failed.
 * Arguments are validated against the rows: problems become an isError result that names
 * each of them (P-200). */
void server_list(const struct server_ops *ops, void *self, struct buf *out);
void server_call(const struct server_ops *ops, void *self, struct call_ctx *c, struct str name,
                 struct str arguments, struct buf *out, bool *failed);

/* The same for resources: results, or error objects and *failed. */
const struct server_resources *server_resources(const struct server_ops *ops, void *self);
void server_resource_list(const struct server_ops *ops, void *self, struct call_ctx *c,
                          struct str cursor, struct buf *out, bool *failed);
void server_resource_templates(const struct server_ops *ops, void *self, struct call_ctx *c,
                               struct buf *out, bool *failed);
void server_resource_read(const struct server_ops *ops, void *self, struct call_ctx *c,
                          struct str uri, struct buf *out, bool *failed);
void server_prompt_list(const struct server_ops *ops, void *self, struct call_ctx *c,
                        struct buf *out, bool *failed);
void server_prompt_get(const struct server_ops *ops, void *self, struct call_ctx *c,
                       struct str name, struct str arguments, struct buf *out, bool *failed);
/* `params` as they came: ref, argument, context. */
void server_complete(const struct server_ops *ops, void *self, struct call_ctx *c,
                     struct str params, struct buf *out, bool *failed);
