/* file.h - whole small files, read with a bound and written all or nothing.
 *
 * Waits    blocks the thread: for start, reload and the blocking pool
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* Appends the file. TOO_LARGE beyond `limit`. When it does not exist: OK and *missing. */
err_t file_read(struct str path, size_t limit, struct buf *out, bool *missing);
/* Temporary file beside it, fsync, rename, fsync of the folder: a crash leaves the old
 * content or the new. Mode 0600. */
err_t file_write(struct str path, struct str text);
/* The folder and those above it, 0700 where they are new. */
err_t folder_make(struct str path);
