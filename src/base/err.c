/* err.c - see err.h. Every text is built beside the slot first: its arguments may well be
 * the slot's present text. */
#include "base/err.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static _Thread_local struct err own_slot;
static _Thread_local struct err *task_slot; /* NULL: the thread's own */

struct kind_row {
    int status;
    bool retry;
    const char *word;
};

static const struct kind_row kinds[] = {
#define X(kind, status, retry, word) [ERR_##kind] = { status, retry, word },
    ERR_KINDS(X)
#undef X
};

struct errno_row {
    int number;
    enum err_kind kind;
};

static const struct errno_row by_errno[] = {
    { ENOENT, ERR_NOT_FOUND },         { ENXIO, ERR_NOT_FOUND },
    { EACCES, ERR_DENIED },            { EPERM, ERR_DENIED },
    { EROFS, ERR_DENIED },             { EINVAL, ERR_INVALID },
    { ENOTDIR, ERR_INVALID },          { EISDIR, ERR_INVALID },
    { ENAMETOOLONG, ERR_INVALID },     { ELOOP, ERR_INVALID },
    { EEXIST, ERR_CONFLICT },          { EADDRINUSE, ERR_CONFLICT },
    { ENOTEMPTY, ERR_CONFLICT },       { EBUSY, ERR_CONFLICT },
    { E2BIG, ERR_TOO_LARGE },          { EFBIG, ERR_TOO_LARGE },
    { EMSGSIZE, ERR_TOO_LARGE },       { ETIMEDOUT, ERR_TIMEOUT },
    { ECANCELED, ERR_CANCELLED },      { ECONNRESET, ERR_CLOSED },
    { ECONNABORTED, ERR_CLOSED },      { EPIPE, ERR_CLOSED },
    { ENOTCONN, ERR_CLOSED },          { ECONNREFUSED, ERR_UNAVAILABLE },
    { EHOSTUNREACH, ERR_UNAVAILABLE }, { ENETUNREACH, ERR_UNAVAILABLE },
    { ENETDOWN, ERR_UNAVAILABLE },     { EMFILE, ERR_UNAVAILABLE },
    { ENFILE, ERR_UNAVAILABLE },       { ENOMEM, ERR_UNAVAILABLE },
    { ENOBUFS, ERR_UNAVAILABLE },      { ENOSPC, ERR_UNAVAILABLE },
    { EDQUOT, ERR_UNAVAILABLE },       { EAGAIN, ERR_UNAVAILABLE },
};

static enum err_kind kind_of(int number) {
    for (size_t i = 0; i < ARRAY_SIZE(by_errno); i++)
        if (by_errno[i].number == number)
            return by_errno[i].kind;
    return ERR_INTERNAL;
}

/* A cut never leaves half a UTF-8 sequence behind. */
static size_t whole_sequences(const char *text, size_t n) {
    size_t start = n;
    while (start > 0 && n - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    unsigned char lead = start ? (unsigned char)text[start - 1] : 0;
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    return want > n - start + 1 ? start - 1 : n;
}

static err_t fill(enum err_kind kind, const char *text, int length) {
    struct err *slot = task_slot ? task_slot : &own_slot;
    size_t n = length < 0 ? 0 : (size_t)length;
    if (n >= ERR_TEXT)
        n = whole_sequences(text, ERR_TEXT - 1);
    slot->kind = kind;
    memcpy(slot->text, text, n);
    slot->text[n] = '\0';
    return slot;
}

err_t err_new(enum err_kind kind, const char *format, ...) {
    char text[ERR_TEXT];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fill(kind, text, n);
}

static err_t with_context(enum err_kind kind, const char *cause, const char *format, va_list args) {
    char context[ERR_TEXT], text[ERR_TEXT];
    vsnprintf(context, sizeof context, format, args);
    int n = snprintf(text, sizeof text, "%s: %s", context, cause);
    return fill(kind, text, n);
}

err_t err_errno(int number, const char *format, ...) {
    char unknown[32];
    const char *cause = strerrordesc_np(number);
    snprintf(unknown, sizeof unknown, "error %d", number);
    va_list args;
    va_start(args, format);
    err_t e = with_context(kind_of(number), cause ? cause : unknown, format, args);
    va_end(args);
    return e;
}

err_t err_wrap(err_t cause, const char *format, ...) {
    va_list args;
    va_start(args, format);
    err_t e = with_context(cause->kind, cause->text, format, args);
    va_end(args);
    return e;
}

err_t err_again(const struct err *saved) {
    return fill(saved->kind, saved->text, (int)strlen(saved->text));
}

int err_status(enum err_kind kind) {
    return kinds[kind].status;
}

bool err_retryable(enum err_kind kind) {
    return kinds[kind].retry;
}

const char *err_word(enum err_kind kind) {
    return kinds[kind].word;
}

void err_use_slot(struct err *slot) {
    task_slot = slot;
}
