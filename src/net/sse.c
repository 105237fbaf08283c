/* sse.c - see sse.h. "Interpreting an event stream" of WHATWG HTML §9.2.6, with lines that
 * arrive whole used where they lie. A data line that arrived in pieces, as every large
 * event does, hands its buffer over instead of being copied once more. */
#include "net/sse.h"
#include "base/arena.h"
#include "base/mem.h"

#define DEFAULT_LIMIT ((size_t)4 << 20)
#define KEEP_BUFFER ((size_t)16 << 10) /* larger ones are freed after their event */
#define MAX_ID ((size_t)4 << 10)
#define MAX_RETRY_DIGITS 9             /* eleven days in milliseconds */

void sse_done(struct sse_parser *p) {
    buf_done(&p->line);
    buf_done(&p->data);
    buf_done(&p->type);
    buf_done(&p->id);
    buf_done(&p->next_id);
}

static void forget(struct buf *b) {
    if (b->cap > KEEP_BUFFER)
        buf_done(b);
    else
        buf_clear(b);
}

static void set(struct buf *b, struct str value) {
    buf_clear(b);
    buf_str(b, value);
}

static void start_event(struct sse_parser *p) {
    forget(&p->data);
    forget(&p->type);
    p->data_from = 0;
    p->has_data = p->has_id = p->yielded = false;
}

void sse_resume(struct sse_parser *p) {
    start_event(p);
    forget(&p->line);
    p->began = p->skip_lf = false;
    p->bom = 0;
}

/* Drops a byte order mark; bytes that only began like one go to the first line. */
static void skip_bom(struct sse_parser *p, struct str *in) {
    static const char bom[] = "\xef\xbb\xbf";
    while (in->n && p->bom < 3 && in->p[0] == bom[p->bom]) {
        p->bom++;
        *in = str_skip(*in, 1);
    }
    p->began = in->n || p->bom == 3;
    if (p->began && p->bom < 3)
        buf_put(&p->line, bom, p->bom);
}

/* Offset of the first CR or LF, or s.n. Searching in growing steps keeps a stream that uses
 * one kind of line end from being searched for the other all the way, line after line. */
static size_t find_line_end(struct str s) {
    for (size_t from = 0, step = 256; from < s.n; from += step, step *= 2) {
        struct str part = str_head(str_skip(s, from), step);
        const char *lf = memchr(part.p, '\n', part.n);
        const char *cr = memchr(part.p, '\r', lf ? (size_t)(lf - part.p) : part.n);
        if (cr || lf)
            return (size_t)((cr ? cr : lf) - s.p);
    }
    return s.n;
}

/* One line without its end, from *in alone or with what came before. */
static bool take_line(struct sse_parser *p, struct str *in, struct str *line, err_t *out_err) {
    size_t n = find_line_end(*in), limit = p->limit ? p->limit : DEFAULT_LIMIT;
    size_t event = p->line.n + p->data.n - p->data_from + p->type.n;
    if (event + n > limit) {
        *out_err = ERR(TOO_LARGE, "event of a stream is larger than %zu bytes", limit);
        return false;
    }
    bool whole = n < in->n;
    *line = str_head(*in, n);
    if (p->line.n || !whole) {
        buf_str(&p->line, *line);
        *line = buf_view(&p->line);
    }
    if (whole)
        p->skip_lf = in->p[n] == '\r';
    *in = str_skip(*in, n + whole);
    return whole;
}

static void add_data(struct sse_parser *p, struct str line, struct str value) {
    if (p->has_data) {
        buf_char(&p->data, '\n');
        buf_str(&p->data, value);
    } else if (line.p == p->line.p) {
        struct buf spare = p->data;
        p->data = p->line;
        p->line = spare;
        p->data_from = (size_t)(value.p - line.p);
    } else
        set(&p->data, value);
    p->has_data = true;
}

static void set_retry(struct sse_parser *p, struct str digits) {
    uint64_t n;
    if (digits.n <= MAX_RETRY_DIGITS && str_to_u64(digits, &n)) {
        p->retry = (int64_t)n;
        p->has_retry = p->retry_news = true;
    }
}

static void take_field(struct sse_parser *p, struct str line) {
    struct str value = line, name = str_cut(&value, ':');
    if (!value.p)
        value = str_skip(line, line.n);
    if (value.n && value.p[0] == ' ')
        value = str_skip(value, 1);
    if (str_eq(name, S("data")))
        add_data(p, line, value);
    else if (str_eq(name, S("event")))
        set(&p->type, value);
    else if (str_eq(name, S("retry")))
        set_retry(p, value);
    else if (str_eq(name, S("id")) && value.n <= MAX_ID && str_find_char(value, '\0') < 0) {
        set(&p->next_id, value);
        p->has_id = true;
    }
}

/* The blank line. An id counts from here on, with data or without. */
static bool dispatch(struct sse_parser *p, struct sse_event *event) {
    if (p->has_id)
        set(&p->id, buf_view(&p->next_id));
    struct str data = str_skip(buf_view(&p->data), p->data_from);
    if (data.n == 0) {
        start_event(p);
        return false;
    }
    *event = (struct sse_event){
        .type = p->type.n ? buf_view(&p->type) : S("message"),
        .data = data,
        .id = buf_view(&p->id),
        .retry = p->retry_news ? p->retry : -1,
        .has_id = p->has_id,
    };
    p->retry_news = false;
    p->yielded = true;
    return true;
}

bool sse_next(struct sse_parser *p, struct str *in, struct sse_event *event, err_t *out_err) {
    *out_err = OK;
    if (p->yielded)
        start_event(p);
    if (!p->began)
        skip_bom(p, in);
    while (in->n) {
        if (p->skip_lf && in->p[0] == '\n')
            *in = str_skip(*in, 1);
        p->skip_lf = false;
        struct str line;
        if (!take_line(p, in, &line, out_err))
            return false;
        bool complete = line.n == 0 && dispatch(p, event);
        if (line.n && line.p[0] != ':')
            take_field(p, line);
        forget(&p->line);
        if (complete)
            return true;
    }
    return false;
}

struct str sse_last_id(const struct sse_parser *p) {
    return buf_view(&p->id);
}

int64_t sse_last_retry(const struct sse_parser *p) {
    return p->has_retry ? p->retry : -1;
}

/* Appends "<prefix><line>\n" for each line of text, at least once. */
static void write_lines(struct buf *out, struct str prefix, struct str text) {
    for (bool more = true; more;) {
        size_t n = find_line_end(text);
        buf_str(out, prefix);
        buf_put(out, text.p, n);
        buf_char(out, '\n');
        more = n < text.n;
        bool crlf = more && text.p[n] == '\r' && n + 1 < text.n && text.p[n + 1] == '\n';
        text = str_skip(text, n + more + crlf);
    }
}

/* A value that cannot hold line ends ends at its first, so it cannot forge other fields. */
static void write_field(struct buf *out, struct str prefix, struct str value) {
    value = str_head(value, find_line_end(value));
    if (value.n)
        write_lines(out, prefix, value);
}

void sse_write(struct buf *out, struct str type, struct str id, struct str data) {
    write_field(out, S("event: "), type);
    write_field(out, S("id: "), id);
    write_lines(out, S("data: "), data);
    buf_char(out, '\n');
}

void sse_comment(struct buf *out, struct str text) {
    write_lines(out, S(": "), text);
    buf_char(out, '\n');
}

void sse_retry(struct buf *out, int64_t milliseconds) {
    buf_str(out, S("retry: "));
    buf_u64(out, milliseconds > 0 ? (uint64_t)milliseconds : 0);
    buf_char(out, '\n');
}

struct str sse_one_line(struct arena *a, struct str json) {
    if (!json.n || (!memchr(json.p, '\n', json.n) && !memchr(json.p, '\r', json.n)))
        return json;
    char *flat = arena_alloc(a, json.n);
    for (size_t i = 0; i < json.n; i++)
        flat[i] = json.p[i] == '\n' || json.p[i] == '\r' ? ' ' : json.p[i];
    return str_from(flat, json.n);
}
