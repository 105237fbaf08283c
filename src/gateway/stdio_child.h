/* stdio_child.h - an MCP server as a child process: its three pipes, line by line.
 *
 * Knows processes, pipes and lines (P-120, P-124), nothing of JSON. Its end is told once, with
 * what is known of it: exit status or signal and the line of stderr that says most.
 *
 * Limits   a line may have max_answer bytes, nothing beyond is read; STDIO_QUEUE bytes wait for
 *          a child that does not read its input; a line of stderr is cut at 4 KiB and 50 of
 *          them are logged in a second
 * Threads  belongs to the upstream's home worker
 * Memory   frees itself after on_gone
 */
#pragma once
#include "gateway/upstream.h"

enum { STDIO_QUEUE = 16 * 1024 * 1024 };

/* A message on its way to a child. */
struct stdio_out {
    struct stdio_out *next;
    size_t n, at; /* at: bytes written */
    char text[];
};
/* One line of the pieces. Line breaks between JSON tokens become spaces: clients may send them
 * over HTTP, and inside strings JSON does not allow them. */
struct stdio_out *stdio_out_new(const struct str *pieces, size_t n);

struct stdio_child;
/* All on the loop, never from inside a function below but stdio_child_start. */
struct stdio_child_hooks {
    void (*on_line)(void *arg, struct str line);           /* without its end; borrowed */
    void (*on_lost)(void *arg, const struct err *why);     /* it ended unasked; no line follows */
    void (*on_gone)(void *arg);                            /* the last: all is gone */
};

/* NOT_FOUND, DENIED, LIMITED and the rest as warden_spawn; then no hook is called. */
err_t stdio_child_start(struct task *t, struct upstream *u, const struct stdio_child_hooks *hooks,
                        void *arg, struct stdio_child **out);
/* False: it does not read its input and too much waits already; `message` stays the caller's. */
bool stdio_child_write(struct stdio_child *c, struct stdio_out *message);
/* Closes its input; SIGTERM after the upstream's stop_grace, SIGKILL a second later. What it
 * still says is thrown away. Nothing happens when it was lost. */
void stdio_child_close(struct stdio_child *c);
/* Closes all pipes, whatever the process does. */
void stdio_child_abandon(struct stdio_child *c);

/* At most `most` in each `period`. */
struct stdio_flood {
    nanos since;
    unsigned n, left_out;
};
bool stdio_flood_admits(struct stdio_flood *f, nanos now, nanos period, unsigned most);
