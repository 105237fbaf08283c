/* sse.h - Server-Sent Events, both directions (WHATWG HTML §9.2, P-154).
 *
 * The parser takes bytes as they come and yields whole events; the writer appends one
 * event to a buf. Limits bound one line and one event, since a stream has no length.
 *
 * Threads  one owner
 * Memory   an event's slices live until the next call on its parser
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct sse_event {
    struct str type; /* "message" when none was given */
    struct str data; /* lines joined by LF */
    struct str id;   /* last seen id, empty when none */
    int64_t retry;   /* milliseconds; newest since the event before, -1 when there was none */
    bool has_id;     /* this event carried an id field */
};

struct sse_parser {
    struct buf line, data, type, id, next_id;
    size_t limit;      /* bytes of one event; 0: 4 MiB */
    int64_t retry;
    bool began;        /* past a possible BOM */
    bool skip_lf;      /* the last line ended in CR */
    bool has_id, has_data;
    unsigned bom;
    size_t data_from;  /* where the event's data begins in `data` */
    bool has_retry;    /* `retry` was ever set */
    bool retry_news;   /* and since the last event */
    bool yielded;      /* an event was given out: its buffers are cleared at the next call */
};
void sse_done(struct sse_parser *p); /* frees; zero-initialised is the start */
/* Another stream goes on where this one was lost: half an event is dropped, id and retry stay. */
void sse_resume(struct sse_parser *p);

/* Consumes from *in until one event is complete: true and *event; or *in is empty:
 * false. Events with empty data are swallowed, but their id and retry are kept (P-154).
 * TOO_LARGE in *out_err beyond the limit; the parser is then useless. */
bool sse_next(struct sse_parser *p, struct str *in, struct sse_event *event, err_t *out_err);

/* What a lost stream is resumed with, events without data counted too (P-150, P-151): the
 * newest id, empty when none, until the next call; the newest retry, -1 when none. An id
 * longer than 4 KiB fits no Last-Event-ID header and is ignored. */
struct str sse_last_id(const struct sse_parser *p);
int64_t sse_last_retry(const struct sse_parser *p);

/* Appends an event. type and id may be empty (left out) and end at their first line end;
 * data may hold line ends, and empty data gives an empty data line (P-151). */
void sse_write(struct buf *out, struct str type, struct str id, struct str data);
/* The same framing around data that is already one line without CR or LF, in two
 * constant pieces, for writes that splice: SSE_BEFORE data SSE_AFTER. */
#define SSE_BEFORE "event: message\ndata: "
#define SSE_AFTER "\n\n"
void sse_comment(struct buf *out, struct str text);
/* A field of the event that is written next. */
void sse_retry(struct buf *out, int64_t milliseconds);

/* JSON may be printed over several lines; in an event that would end the data. Line ends of valid
 * JSON are white space between tokens: they become spaces, in a copy in the arena. */
struct arena;
struct str sse_one_line(struct arena *a, struct str json);
