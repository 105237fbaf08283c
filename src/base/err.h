/* err.h - errors that carry their story.
 *
 * err_t is OK (NULL) on success, else it points at the one error slot of the running
 * task, or of the thread where no task runs: nothing is allocated, nothing is freed. A
 * new error overwrites the slot, so an error that must outlive the next failing call is
 * copied (`struct err copy = *e`). Add context going up; log once, at the edge.
 *
 * Threads  the slot belongs to whoever runs; switching tasks switches slots (run/task.c)
 */
#pragma once
#include "base/str.h"
#include <stdbool.h>

/*    kind         HTTP  retry   a short word for metrics and API bodies */
#define ERR_KINDS(X)                              \
    X(INVALID, 400, false, "invalid")             \
    X(UNAUTHENTICATED, 401, false, "unauthenticated") \
    X(DENIED, 403, false, "denied")               \
    X(NOT_FOUND, 404, false, "not_found")         \
    X(CONFLICT, 409, false, "conflict")           \
    X(TOO_LARGE, 413, false, "too_large")         \
    X(LIMITED, 429, true, "limited")              \
    X(INTERNAL, 500, false, "internal")           \
    X(UPSTREAM, 502, false, "upstream")           \
    X(UNAVAILABLE, 503, true, "unavailable")      \
    X(TIMEOUT, 504, true, "timeout")              \
    X(CANCELLED, 499, false, "cancelled")         \
    X(CLOSED, 502, true, "closed")

enum err_kind {
#define X(kind, status, retry, word) ERR_##kind,
    ERR_KINDS(X)
#undef X
};

#define ERR_TEXT 400

struct err {
    enum err_kind kind;
    char text[ERR_TEXT]; /* NUL-terminated; the newest context comes first, cut at the end */
};

typedef struct err *err_t;
#define OK ((err_t)NULL)

/* A new error in the current slot. */
err_t err_new(enum err_kind kind, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));
#define ERR(kind, ...) err_new(ERR_##kind, __VA_ARGS__)
/* An error from errno: "<context>: No such file or directory", kind by errno. */
err_t err_errno(int number, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));
/* Puts "<context>: " in front; same kind. */
err_t err_wrap(err_t e, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));
/* Brings an error saved elsewhere into the current slot. */
err_t err_again(const struct err *saved) __attribute__((returns_nonnull));

int err_status(enum err_kind kind);          /* HTTP status */
bool err_retryable(enum err_kind kind);
const char *err_word(enum err_kind kind);

/* The slot that err_new writes; NULL restores the thread's own. Only run/ calls this. */
void err_use_slot(struct err *slot);

#define TRY(call)                                                                                  \
    do {                                                                                           \
        err_t e_ = (call);                                                                         \
        if (e_)                                                                                    \
            return e_;                                                                             \
    } while (0)
#define TRY_WRAP(call, ...)                                                                        \
    do {                                                                                           \
        err_t e_ = (call);                                                                         \
        if (e_)                                                                                    \
            return err_wrap(e_, __VA_ARGS__);                                                      \
    } while (0)
