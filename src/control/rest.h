/* rest.h - what the handlers of the REST API are given, and how they answer.
 *
 * A handler is one function: it finds query and body read and checked by its row's schemas,
 * writes its result with r->w and returns OK, or returns an error, which becomes the refusal
 * of that kind. The frame (rest.c) does the rest: headers, ETag, Idempotency-Key, log.
 *
 * Threads  the request's worker; control_do reaches the control worker
 * Memory   the round's arena
 * Waits    yes
 */
#pragma once
#include "control/control.h"
#include "control/route.h"

struct rest {
    struct task *task;
    struct http_request *request;
    const struct visit *visit;
    const struct principal *who; /* NULL on open routes */
    struct control *control;
    const struct route *route;
    struct arena *arena;
    struct str params[ROUTE_PARAMS]; /* of the path, decoded */
    void *query, *body;              /* by the row's schemas; NULL where it has none */
    json document;                   /* the body as it came; NULL: none */
    /* the answer */
    struct jw w;
    struct buf out;
    int status;                      /* 0: the row's */
    struct str etag, location, media, policy;
    enum refusal_code code;          /* of an error; REFUSAL_COUNT: by its kind */
    struct buf details;              /* of an error: raw JSON object */
    nanos retry_after;
    bool replayed;                   /* the answer of an Idempotency-Key's first request */
};

/* Serves a request whose row has `run`; admit found it. */
void rest_serve(struct task *t, struct http_request *r);

/* An error of a code that err.h has no kind for. */
err_t rest_refuse(struct rest *r, enum refusal_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* INVALID or 422 with details.problems; OK when there is none. What JSON Schema can say is
 * 400; what it cannot (bounds of durations, what depends on what) is 422. */
err_t rest_problems(struct rest *r, const struct field_problems *problems);

/* Sets the ETag from a version and holds If-Match against it: 428 where the row requires it
 * and it is missing, 412 when it names another. *out_expected is the version to store over,
 * -1 for any. */
err_t rest_precondition(struct rest *r, int64_t version, int64_t *out_expected);
void rest_etag(struct rest *r, int64_t version);

/* ---- lists ------------------------------------------------------------------------- */

/* Rows that every list has, first in its query struct. */
struct page_query {
    int64_t limit;
    struct str cursor;
};
#define PAGE_ROWS(type)                                                                            \
    FIELD_AS("limit", type, page.limit, INT, "100", "1..1000", 0, "Items of one page."),           \
        FIELD_AS("cursor", type, page.cursor, STR, NULL, "..1024", 0,                              \
                 "next_cursor of the page before; it is good for this list and this caller alone.")

/* A list in the order of its keys: what was shown last is in the sealed cursor, so a page
 * neither repeats nor skips what stays in the list. */
struct page {
    struct rest *rest;
    size_t limit, shown;
    struct str after; /* keys up to this one were shown; p NULL: none */
    struct str last;
    bool more;
};
/* Begins {"items":[; INVALID for a cursor that is not of this list. */
err_t page_begin(struct rest *r, const struct page_query *q, struct page *out);
/* True: write this item now. Keys come in the order of str_cmp. */
bool page_wants(struct page *p, struct str key);
void page_end(struct page *p);

/* ---- the control worker -------------------------------------------------------------- */

/* Runs fn(arg) as a task of the control worker and waits for it: its state is read and changed
 * there alone. Changes go through the registry, which lets one in at a time. */
err_t control_do(struct rest *r, err_t (*fn)(struct task *t, void *arg), void *arg);
/* Waits until every worker serves what was published: who is answered then finds it anywhere. */
err_t rest_settle(struct rest *r);
