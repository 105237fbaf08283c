/* text.c - see text.h. */
#include "servers/filesystem/text.h"
#include "servers/filesystem/beneath.h"
#include <errno.h>

const char *text_is_not(struct str s) {
    bool wide = s.n >= 2 && (memcmp(s.p, "\xff\xfe", 2) == 0 || memcmp(s.p, "\xfe\xff", 2) == 0);
    if (wide)
        return "UTF-16";
    if (s.n && memchr(s.p, '\0', s.n))
        return "binary data (it has NUL bytes)";
    return json_is_utf8(s) ? NULL : "binary data or text in another encoding";
}

err_t text_read(int fd, const char *what, int64_t at, size_t n, struct buf *out) {
    buf_reserve(out, n);
    while (n) {
        ssize_t got = pread(fd, out->p + out->n, n, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return beneath_error(errno, what, S("reading"));
        if (got == 0)
            break;
        out->n += (size_t)got;
        at += got;
        n -= (size_t)got;
    }
    return OK;
}

/* One byte more than it should have is asked for: it may have grown. */
err_t text_load(int fd, const char *what, const struct stat *st, int64_t limit, struct buf *out) {
    int64_t size = st->st_size > limit ? st->st_size : limit;
    if (st->st_size <= limit) {
        TRY(text_read(fd, what, 0, (size_t)st->st_size + 1, out));
        if ((int64_t)out->n > st->st_size)
            TRY(text_read(fd, what, (int64_t)out->n, (size_t)(limit + 1 - st->st_size), out));
        if ((int64_t)out->n <= limit)
            return OK;
    }
    return ERR(TOO_LARGE, "%s: has %lld bytes, more than the %lld that are taken", what,
               (long long)size, (long long)limit);
}

struct str text_head(struct str s, size_t n) {
    if (s.n <= n)
        return s;
    while (n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
        n--;
    return str_head(s, n);
}

struct str text_from_character(struct str s) {
    for (int i = 0; i < 3 && s.n && ((unsigned char)s.p[0] & 0xc0) == 0x80; i++)
        s = str_skip(s, 1);
    return s;
}

int64_t text_lines(struct str s) {
    int64_t n = 0;
    const char *end = s.p + s.n;
    for (const char *at = s.p; s.n && at < end; n++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        at = stop ? stop + 1 : end;
    }
    return n;
}
