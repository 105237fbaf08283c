/* journal.h - records that leave a thread without a lock, an allocation or a system call, and
 * survive kill -9: a ring in a shared mapping of a file.
 *
 * One thread writes, one reads, and after a crash the next start reads the file. What
 * journal_commit returned from is in the kernel's page cache, so only a crash of the machine
 * itself can lose it. A record lies in one piece and is checked by CRC-32C and by its number;
 * whatever the writer was in the middle of when it was killed is not there. When the ring is
 * full the oldest unread records make room and are counted: the writer never waits.
 *
 *   uint8_t *p = journal_begin(j, most);  … write n <= most bytes …  journal_commit(j, n);
 *
 * Threads  begin, commit: the writer; peek, release: the reader; the rest: nobody else using it
 * Memory   the mapping; blocks are reserved on disk at open, so a full disk cannot kill us
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct journal;

#define JOURNAL_LEAST ((size_t)64 * 1024)

/* Makes a new file of `size` (a power of two, at least JOURNAL_LEAST) bytes of records. */
err_t journal_open(struct str path, size_t size, struct journal **out);
/* Unmaps; removes the file when everything in it was read. */
void journal_close(struct journal *j);
/* Random; tells files apart for ever. With a record's number it names the record. */
uint64_t journal_id(const struct journal *j);

/* Room for up to `most` bytes (at most a quarter of the ring). Nothing is there until commit. */
uint8_t *journal_begin(struct journal *j, size_t most);
void journal_commit(struct journal *j, size_t n);

struct journal_entry {
    uint64_t sequence; /* 1, 2, 3, … in one file */
    struct str data;
};
/* Copies what is unread, at most about `most` bytes but at least one record, into `out`, to be
 * walked with journal_next; *out_mark is for journal_release. False: nothing is unread. */
struct journal_mark {
    uint64_t end, sequence;
};
bool journal_peek(struct journal *j, size_t most, struct buf *out, struct journal_mark *out_mark);
/* Has been taken over: never to be seen again. */
void journal_release(struct journal *j, struct journal_mark mark);
/* Is there something to peek at? How many bytes? */
bool journal_unread(const struct journal *j);
uint64_t journal_behind(const struct journal *j); /* any thread */
/* Records that were lost because the ring was full. Any thread. */
uint64_t journal_dropped(const struct journal *j);

/* Cuts the next record off *rest. False at the end, and where what follows is no record. */
bool journal_next(struct str *rest, struct journal_entry *out);

/* Reads the unread records of a file that nobody has open, as of a crash: text is its whole
 * content, possibly cut short or damaged. Appends them to `out`, for journal_next.
 * INVALID when it is no journal. */
err_t journal_recover(struct str text, struct buf *out, uint64_t *out_id);

/* CRC-32C (Castagnoli; RFC 3720 §B.4), by the processor's own instruction where it has one. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
