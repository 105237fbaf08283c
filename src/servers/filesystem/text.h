/* text.h - file content as text: is it, where lines begin, how it is read.
 *
 * Waits  text_load and text_read block the thread
 */
#pragma once
#include "servers/filesystem/fs.h"

/* NULL: it is UTF-8 without NUL bytes. Else what it looks like, for messages. */
const char *text_is_not(struct str s);

/* At most n bytes from `at` on, appended; stops at the end of the file. */
err_t text_read(int fd, const char *what, int64_t at, size_t n, struct buf *out);
/* The whole file, TOO_LARGE beyond `limit`. */
err_t text_load(int fd, const char *what, const struct stat *st, int64_t limit, struct buf *out);

/* The largest head of at most n bytes that ends between characters, and the tail. */
struct str text_head(struct str s, size_t n);
struct str text_from_character(struct str s);
int64_t text_lines(struct str s); /* a last line without end counts */
