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
    int64_t retry;   /* milliseconds, -1 when the event had none */
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
};
void sse_done(struct sse_parser *p);

/* Consumes from *in until one event is complete: true and *event; or *in is empty:
 * false. Events with empty data are swallowed, but their id and retry are kept (P-154).
 * TOO_LARGE in *out_err beyond the limit; the parser is then useless. */
bool sse_next(struct sse_parser *p, struct str *in, struct sse_event *event, err_t *out_err);

/* Appends an event. type and id may be empty (left out); data may hold line ends. */
void sse_write(struct buf *out, struct str type, struct str id, struct str data);
/* The same framing around data that is already one line without CR or LF, in two
 * constant pieces, for writes that splice: SSE_BEFORE data SSE_AFTER. */
#define SSE_BEFORE "event: message\ndata: "
#define SSE_AFTER "\n\n"
void sse_comment(struct buf *out, struct str text);
void sse_retry(struct buf *out, int64_t milliseconds);
