/* face_stdio.h - MCP over standard input and output towards one client (P-057, P-120..P-124).
 *
 * One legacy session at most, opened by the first initialize; requests in modern form are
 * served beside it, each by itself. Every request in flight is a task. When input ends,
 * what is in flight is cancelled, and `on_end` is called.
 *
 * Threads  the worker of `gw`
 */
#pragma once
#include "gateway/gateway.h"

struct stdio_options {
    int in, out;                 /* stay the caller's */
    const struct principal *who; /* outlives the face */
    void (*on_end)(void *arg);
    void *arg;
};

struct stdio_face;
struct stdio_face *face_stdio_open(struct gateway_worker *gw, const struct stdio_options *o);
/* Requests not answered yet. */
size_t face_stdio_busy(const struct stdio_face *f);
/* From the worker's stop hook, when its tasks have ended. */
void face_stdio_close(struct stdio_face *f);
