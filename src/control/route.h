/* route.h - one row of the HTTP surface: path, method, who may, what goes in, what comes out.
 *
 * From the row come matching, 404, 405 with Allow, HEAD, OPTIONS, parsing and checking of
 * query and body, the answer's status and headers, /openapi.json, /docs and the reference
 * pages. Each resource has a file with its rows (rest_*.c); routes.c lists the files.
 *
 * Threads  rows are constant
 */
#pragma once
#include "base/field.h"
#include "gateway/admit.h"

struct control;
struct rest;
typedef err_t rest_fn(struct rest *r);

/* Rows of one JSON object that goes in or out. A name makes it a component of the OpenAPI
 * document; `more` is raw members that its JSON Schema gets beside what rows can say. */
struct schema {
    const char *name;
    const struct field *fields;
    const size_t *count; /* rows of another file say theirs there */
    size_t size;
    const char *more;
};
#define SCHEMA(name_, rows, type, ...)                                                             \
    { .name = name_, .fields = rows, .count = (const size_t[]){ ARRAY_SIZE(rows) },                \
      .size = sizeof(type), ##__VA_ARGS__ }

enum route_flags {
    ROUTE_LIST = 1 << 0,     /* the result is {"items": […], "next_cursor": …} of the schema */
    ROUTE_IF_MATCH = 1 << 1, /* changes an item: If-Match is required (428, 412) */
    ROUTE_ETAG = 1 << 2,     /* the answer carries an ETag; If-None-Match may save it */
    ROUTE_MERGE = 1 << 3,    /* the body is a merge patch (RFC 7396): the handler reads it */
    ROUTE_IF_MATCH_MAY = 1 << 4, /* If-Match counts when it is there */
    ROUTE_ARCHIVE = 1 << 6,  /* the body is an archive: the row's own `serve` reads it */
    ROUTE_WAITS = 1 << 5,    /* may take long or fail behind us: 502, 504 */
};

enum { ROUTE_PARAMS = 2 };

struct route {
    const char *methods; /* one; /mcp alone has several, separated by space. GET serves HEAD too */
    const char *path;    /* a segment {name} takes any one segment */
    enum need need;
    const char *id;      /* operationId: the handler's name */
    rest_fn *run;
    const char *help;    /* one sentence */
    const struct schema *query, *body, *result; /* NULL: none */
    int status;          /* of success; 0: 200 */
    unsigned flags;      /* enum route_flags */
    const char *media;   /* of the answer; NULL: application/json */
    const char *example; /* body, raw JSON */
    enum refusal_style style;
    nanos deprecated, sunset; /* wall clock; 0: not */
    void (*serve)(struct task *t, struct http_request *r); /* instead of run: does all itself */
};
#define ROUTE(method_, path_, need_, run_, help_, ...)                                             \
    { .methods = #method_, .path = path_, .need = NEED_##need_, .id = #run_, .run = run_,          \
      .help = help_, ##__VA_ARGS__ }

struct route_table {
    const char *title; /* OpenAPI tag */
    const struct route *routes;
    size_t count;
};
#define ROUTE_TABLE(title_, rows)                                                                  \
    (struct route_table) {                                                                         \
        title_, rows, ARRAY_SIZE(rows)                                                             \
    }

/* ---- matching (route.c) ------------------------------------------------------------ */

struct route_match {
    const struct route *route;
    struct str params[ROUTE_PARAMS]; /* raw segments in the order of the path */
};
enum route_found { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };
/* The first path that fits counts, so literal ones stand before those with parameters. With
 * NO_METHOD (and for OPTIONS), *first is some row of that path. A slash at the end is equal
 * to none (DESIGN decision 16). */
enum route_found route_find(const struct route_table *const *tables, size_t n, struct str path,
                            struct str method, struct route_match *out);
/* "GET, HEAD, PUT, OPTIONS": what Allow says for a path of a row (RFC 9110 §10.2.1). */
struct str route_allow(const struct route_table *const *tables, size_t n, const char *path,
                       struct arena *a);
bool route_has_method(const struct route *r, struct str method);
/* Resolves %XX; false for broken escapes or text that is no UTF-8. */
bool percent_decode(struct str raw, bool plus_is_space, struct arena *a, struct str *out);

/* Reads a query into the rows; unknown and repeated names are problems, as are values out of
 * range. INVALID names the first; *measure (may be NULL): see field_is_measure. */
err_t query_read(const struct schema *s, struct str query, void *out, struct arena *a,
                 bool *measure);
