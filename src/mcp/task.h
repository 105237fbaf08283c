/* task.h - what a task is on the wire, in both of its forms.
 *
 * 2025-11-25 has tasks in its core: results are nested or flat, times to live are `ttl`, the
 * outcome is fetched by tasks/result (P-290 to P-292). 2026-07-28 has them as an extension:
 * always flat, `ttlMs`, questions and outcome inside the answer to tasks/get (P-293 to P-295).
 * Works on raw, validated text.
 *
 * (A fiber of run/task.h is something else; this one is always struct mcp_task.)
 *
 * Threads  any; pure functions
 * Memory   slices point into the text given or its arena; output is appended to a buf
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "mcp/revision.h"

enum mcp_task_status {
    MCP_TASK_WORKING,
    MCP_TASK_INPUT_REQUIRED,
    MCP_TASK_COMPLETED, /* from here on it changes no more */
    MCP_TASK_FAILED,
    MCP_TASK_CANCELLED,
    MCP_TASK_STATUSES
};
static inline bool mcp_task_is_final(enum mcp_task_status s) {
    return s >= MCP_TASK_COMPLETED;
}

enum { MCP_TASK_ID = 1024 }; /* longest id of a server that we take */

struct mcp_task {
    struct str id;               /* plain text */
    enum mcp_task_status status;
    struct str message;          /* raw string; absent: none */
    struct str created, updated; /* raw strings */
    int64_t ttl;                 /* milliseconds from `created`; -1: without end */
    int64_t poll;                /* milliseconds between questions for it; -1: not said */
    struct str requests, result, error; /* R26: raw objects, as the status has them */
};

/* From a result: flat, or the inside of R11's `task`. UPSTREAM when a required member is missing
 * or makes no sense. */
err_t mcp_task_read(struct arena *a, struct str raw, enum revision from, struct mcp_task *out);
/* Its members as `to` spells them, into an object that is open; those of the last line of the
 * struct are the caller's to write. */
void mcp_task_write(struct jw *w, const struct mcp_task *t, enum revision to);
struct str mcp_task_status_word(enum mcp_task_status s);

/* A result object with `_meta` naming the task that it is of, whatever it named before (P-291); an
 * empty id: it names none. */
void mcp_task_put_related(struct buf *out, struct str result, struct str id);
/* An inputRequests object without what inputResponses (raw, may be absent) answers; how many
 * are left (P-294). */
size_t mcp_task_unanswered(struct buf *out, struct str requests, struct str responses);
