/* admit.h - what is decided from a request's head alone, before its body is read: is the
 * Host ours, may this web page ask, who is calling (DESIGN §5, P-072, P-170, P-171).
 *
 * Waits    never: it runs on the loop
 * Memory   struct visit lives in the request's arena; visit_release lets go of its pins
 */
#pragma once
#include "gateway/gateway.h"
#include "gateway/refusal.h"

enum need { NEED_NOBODY, NEED_KEY, NEED_ADMIN };

/* 0: go on, r->user is the struct visit. Else the status of the refusal that was sent.
 * OPTIONS preflights of allowed origins are answered here too (P-173); `allow` lists the
 * methods of the path, for them alone. */
int visit_admit(struct http_request *r, struct gateway *g, enum need need, enum refusal_style style,
                struct str allow);
void visit_release(struct http_request *r);

/* Sends a refusal in the given shape; usable from admit and from a task (t NULL in admit). */
int visit_refuse(struct task *t, struct http_request *r, enum refusal_style style, int status,
                 const char *word, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* The same with details and up to four more headers. */
int visit_refuse_with(struct task *t, struct http_request *r, const struct refusal *what,
                      const struct http_field *more, size_t n);

/* CORS answer headers for a visit with an allowed origin: 0 or more fields written. */
enum { CORS_FIELDS = 3 };
size_t visit_cors(const struct visit *v, struct http_field out[CORS_FIELDS]);
