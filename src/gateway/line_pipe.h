/* line_pipe.h - lines in and out over two descriptors: pipes, sockets, terminals or files
 * (P-120, P-127).
 *
 * Output lines are whole and in the order in which their writers came; raw line ends inside
 * a message become spaces, which JSON allows where they can stand.
 *
 * Threads  one worker; one reader, any number of writers
 * Limits   the caller bounds a line; writers wait while 1 MiB is unsent; what was pushed
 *          without waiting and not yet taken is at most 256 KiB, beyond it the pipe is broken
 */
#pragma once
#include "base/buf.h"
#include "run/gate.h"

struct line_pipe {
    struct worker *worker;
    int in, out;
    int in_flags, out_flags;        /* restored at the end: others may share the descriptions */
    uv_poll_t *in_poll, *out_poll;  /* NULL: always ready, as files are */
    struct buf got;                 /* read, from `from` on not yet taken */
    size_t from, scanned;
    bool skipping, ended;
    struct event readable;
    struct buf left;                /* not yet written, from `sent` on */
    size_t sent, pushed;
    bool broken;
    struct gate writers;
    struct event room;
};

/* The descriptors stay the caller's. */
void line_pipe_open(struct line_pipe *p, struct worker *w, int in, int out);
/* From the worker's stop hook or its loop: no task may be inside any more. */
void line_pipe_close(struct line_pipe *p);

/* The next line without its end, valid until the next call; a last line may lack its end.
 * TOO_LARGE once for each line longer than `limit`, which is skipped; CLOSED at the end. */
err_t line_read(struct task *t, struct line_pipe *p, size_t limit, struct str *out);
/* One line in pieces, without its end. CLOSED when nobody reads any more. */
err_t line_write(struct task *t, struct line_pipe *p, const struct str *pieces, size_t n);
/* The same from a loop callback: never waits. */
void line_push(struct line_pipe *p, struct str text);
/* Waits until all was written. */
err_t line_flush(struct task *t, struct line_pipe *p);
