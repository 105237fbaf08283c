/* journal.c - see journal.h.
 *
 * Positions count bytes since the file was made and never fall; a position's place in the ring
 * is its rest by the size. The writer owns head and oldest, the reader tail. Records are aligned
 * to 8; what is left at the end of the ring is skipped with a pad. The writer moves `oldest`
 * before it overwrites, so the reader can tell, after it copied, what of that was still whole
 * (a seqlock: Lameter, "Effective synchronization on Linux/NUMA systems", 2005). */
#include "store/journal.h"
#include "base/crypto.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAD UINT32_MAX
enum { HEADER = 4096, RECORD = 16 };
static const char magic[8] = "GSJRNL1\n";

struct record { /* before its data; a pad is the first two members alone */
    uint32_t length; /* of the data; PAD: skip `crc` bytes */
    uint32_t crc;    /* of sequence and data, with zeros up to a multiple of 8 */
    uint64_t sequence;
};

struct header {
    char magic[8];
    uint64_t id, size;
    char fill[40];
    struct { /* a cache line of its own for each side */
        uint64_t head, oldest, sequence, dropped;
        char fill[32];
    } writer;
    struct {
        uint64_t tail, sequence; /* sequence: of the last record before tail */
        char fill[48];
    } reader;
};
_Static_assert(sizeof(struct header) == 192 && sizeof(struct record) == RECORD, "the file's form");

struct journal {
    struct header *shared;
    uint8_t *ring;
    size_t size;
    uint64_t head, sequence; /* the writer's own copies */
    uint64_t tail;           /* the reader's, as last seen by the writer */
    uint64_t oldest;
    uint8_t *begun;
    size_t pad;
    char *path;
};

static size_t padded(size_t n) {
    return (n + 7) & ~(size_t)7;
}

/* ---- checksum ---------------------------------------------------------------------- */

static uint32_t crc_table[256];

static __attribute__((constructor)) void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? (c >> 1) ^ 0x82f63b78 : c >> 1;
        crc_table[i] = c;
    }
}

static uint32_t crc_plain(uint32_t crc, const uint8_t *p, size_t n) {
    while (n--)
        crc = crc_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
    return crc;
}

#ifdef __x86_64__
static __attribute__((target("sse4.2"))) uint32_t crc_sse(uint32_t crc, const uint8_t *p,
                                                          size_t n) {
    uint64_t wide = crc, word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (n--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}

static bool has_sse;
static __attribute__((constructor)) void look_at_processor(void) {
    has_sse = __builtin_cpu_supports("sse4.2");
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n) {
#ifdef __x86_64__
    if (has_sse)
        return ~crc_sse(~crc, p, n);
#endif
    return ~crc_plain(~crc, p, n);
}

#ifdef __x86_64__
/* Whole words only: three instructions for eight bytes. */
static __attribute__((target("sse4.2"))) uint32_t crc_words(uint64_t sequence, const uint8_t *p,
                                                            size_t n) {
    uint64_t crc = __builtin_ia32_crc32di(UINT32_MAX, sequence), word;
#pragma GCC unroll 8
    for (size_t i = 0; i < n; i += 8) {
        memcpy(&word, p + i, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    return ~(uint32_t)crc;
}
#endif

/* n is a multiple of 8. */
static uint32_t crc_of(uint64_t sequence, const uint8_t *data, size_t n) {
#ifdef __x86_64__
    if (has_sse)
        return crc_words(sequence, data, n);
#endif
    return crc32c(crc32c(0, &sequence, sizeof sequence), data, n);
}

/* ---- opening ----------------------------------------------------------------------- */

static err_t map_file(struct journal *j, size_t size) {
    int fd = open(j->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "making %s", j->path);
    int problem = posix_fallocate(fd, 0, (off_t)(HEADER + size));
    void *map = problem ? MAP_FAILED
                        : mmap(NULL, HEADER + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!problem && map == MAP_FAILED)
        problem = errno;
    close(fd);
    if (!problem) {
        madvise(map, HEADER + size, MADV_RANDOM); /* it is empty: reading ahead finds nothing */
        j->shared = map;
        j->ring = (uint8_t *)map + HEADER;
        return OK;
    }
    unlink(j->path);
    return err_errno(problem, "reserving %zu bytes for %s", HEADER + size, j->path);
}

err_t journal_open(struct str path, size_t size, struct journal **out) {
    assert(size >= JOURNAL_LEAST && (size & (size - 1)) == 0);
    struct journal *j = NEW(struct journal);
    j->path = mem_text(path.p, path.n);
    j->size = size;
    err_t e = map_file(j, size);
    if (e) {
        free(j->path);
        free(j);
        return e;
    }
    crypto_random(&j->shared->id, sizeof j->shared->id);
    j->shared->id &= INT64_MAX; /* SQL has no other integers */
    j->shared->size = size;
    memcpy(j->shared->magic, magic, sizeof magic);
    *out = j;
    return OK;
}

void journal_close(struct journal *j) {
    if (!j)
        return;
    if (j->shared->reader.tail == j->shared->writer.head)
        unlink(j->path);
    munmap(j->shared, HEADER + j->size);
    free(j->path);
    free(j);
}

uint64_t journal_id(const struct journal *j) {
    return j->shared->id;
}

uint64_t journal_dropped(const struct journal *j) {
    return __atomic_load_n(&j->shared->writer.dropped, __ATOMIC_RELAXED);
}

/* ---- writing ----------------------------------------------------------------------- */

/* Full: the oldest records go, read or not. */
static __attribute__((noinline)) void make_room(struct journal *j, uint64_t end) {
    j->tail = __atomic_load_n(&j->shared->reader.tail, __ATOMIC_ACQUIRE);
    if (j->oldest < j->tail)
        j->oldest = j->tail;
    while (end - j->oldest > j->size) {
        struct record r;
        memcpy(&r, j->ring + (j->oldest & (j->size - 1)), 8);
        j->oldest += r.length == PAD ? r.crc : RECORD + padded(r.length);
        if (r.length != PAD)
            __atomic_store_n(&j->shared->writer.dropped, j->shared->writer.dropped + 1,
                             __ATOMIC_RELAXED);
    }
    __atomic_store_n(&j->shared->writer.oldest, j->oldest, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* before anything is overwritten */
}

uint8_t *journal_begin(struct journal *j, size_t most) {
    assert(most <= j->size / 4);
    size_t at = j->head & (j->size - 1), need = RECORD + padded(most), left = j->size - at;
    j->pad = need > left ? left : 0;
    uint64_t end = j->head + j->pad + need, kept = j->tail > j->oldest ? j->tail : j->oldest;
    if (__builtin_expect(end - kept > j->size, 0))
        make_room(j, end);
    if (j->pad) {
        const uint32_t skip[2] = { PAD, (uint32_t)j->pad };
        memcpy(j->ring + at, skip, sizeof skip);
        at = 0;
    }
    j->begun = j->ring + at;
    return j->begun + RECORD;
}

void journal_commit(struct journal *j, size_t n) {
    uint8_t *data = j->begun + RECORD;
    struct record *r = (struct record *)j->begun;
    r->sequence = ++j->sequence;
    r->length = (uint32_t)n;
    if (n % 8)
        memset(data + n, 0, 8 - n % 8);
    r->crc = crc_of(r->sequence, data, padded(n));
    j->head += j->pad + RECORD + padded(n);
    j->shared->writer.sequence = j->sequence;
    __atomic_store_n(&j->shared->writer.head, j->head, __ATOMIC_RELEASE);
}

/* ---- reading ----------------------------------------------------------------------- */

static void copy_ring(const struct journal *j, uint64_t from, uint64_t to, struct buf *out) {
    size_t at = from & (j->size - 1), n = (size_t)(to - from);
    size_t first = n < j->size - at ? n : j->size - at;
    buf_put(out, j->ring + at, first);
    buf_put(out, j->ring, n - first);
}

/* As many as fit into `most` bytes, or the first one. */
static size_t whole_records(struct str text, size_t most, uint64_t *sequence) {
    struct str rest = text;
    struct journal_entry e;
    size_t end = 0;
    while (journal_next(&rest, &e)) {
        size_t now = text.n - rest.n;
        if (end && now > most)
            break;
        end = now;
        *sequence = e.sequence;
    }
    return end;
}

bool journal_peek(struct journal *j, size_t most, struct buf *out, struct journal_mark *mark) {
    uint64_t head = __atomic_load_n(&j->shared->writer.head, __ATOMIC_ACQUIRE);
    uint64_t tail = j->shared->reader.tail,
             oldest = __atomic_load_n(&j->shared->writer.oldest, __ATOMIC_ACQUIRE);
    uint64_t from = tail > oldest ? tail : oldest;
    buf_clear(out);
    if (from == head)
        return false;
    copy_ring(j, from, head, out);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    oldest = __atomic_load_n(&j->shared->writer.oldest, __ATOMIC_ACQUIRE);
    if (oldest > from) { /* overwritten while we copied */
        buf_consume(out, oldest < head ? (size_t)(oldest - from) : out->n);
        from = oldest < head ? oldest : head;
    }
    mark->sequence = j->shared->reader.sequence;
    size_t n = whole_records(buf_view(out), most, &mark->sequence);
    mark->end = from + n;
    out->n = n;
    return n > 0;
}

void journal_release(struct journal *j, struct journal_mark mark) {
    j->shared->reader.sequence = mark.sequence;
    __atomic_store_n(&j->shared->reader.tail, mark.end, __ATOMIC_RELEASE);
}

bool journal_unread(const struct journal *j) {
    return __atomic_load_n(&j->shared->writer.head, __ATOMIC_ACQUIRE) != j->shared->reader.tail;
}

uint64_t journal_behind(const struct journal *j) {
    uint64_t tail = __atomic_load_n(&j->shared->reader.tail, __ATOMIC_ACQUIRE);
    return __atomic_load_n(&j->shared->writer.head, __ATOMIC_ACQUIRE) - tail;
}

/* A pad before the record goes with it. */
bool journal_next(struct str *rest, struct journal_entry *out) {
    struct record r = { 0 };
    struct str s = *rest;
    while (s.n >= 8) {
        memcpy(&r, s.p, 8);
        if (r.length != PAD)
            break;
        if (r.crc < 8 || r.crc > s.n || r.crc % 8)
            return false;
        s = str_skip(s, r.crc);
    }
    if (s.n < RECORD)
        return false;
    memcpy(&r, s.p, RECORD);
    size_t n = padded(r.length);
    if (n > s.n - RECORD || crc_of(r.sequence, (const uint8_t *)s.p + RECORD, n) != r.crc)
        return false;
    *out = (struct journal_entry){ r.sequence, str_from(s.p + RECORD, r.length) };
    *rest = str_skip(s, RECORD + n);
    return true;
}

/* ---- after a crash ----------------------------------------------------------------- */

static bool is_power_of_two(uint64_t n) {
    return n && (n & (n - 1)) == 0;
}

/* The header's head may be older than the records when the machine crashed: the records
 * themselves say how far they go, each by its checksum and by its number, one after the other. */
static void take_consecutive(struct str ring, uint64_t read, struct buf *out) {
    struct journal_entry e;
    struct str rest = ring;
    uint64_t last = 0;
    while (journal_next(&rest, &e)) {
        if (e.sequence <= read || (last && e.sequence != last + 1))
            return; /* what a former round left there */
        last = e.sequence;
        buf_put(out, e.data.p - RECORD, RECORD + padded(e.data.n));
    }
}

err_t journal_recover(struct str text, struct buf *out, uint64_t *out_id) {
    struct header h;
    if (text.n < HEADER || memcmp(text.p, magic, sizeof magic) != 0)
        return ERR(INVALID, "this is no journal");
    memcpy(&h, text.p, sizeof h);
    if (!is_power_of_two(h.size) || h.size > ((uint64_t)1 << 40))
        return ERR(INVALID, "the journal's head is damaged");
    struct str ring = str_skip(text, HEADER);
    if (ring.n > h.size)
        ring.n = (size_t)h.size;
    uint64_t from = h.reader.tail > h.writer.oldest ? h.reader.tail : h.writer.oldest;
    size_t at = (size_t)(from & (h.size - 1));
    *out_id = h.id;
    SCOPED(buf_done) struct buf unrolled = { 0 };
    if (at < ring.n)
        buf_str(&unrolled, str_skip(ring, at));
    if (ring.n == h.size) /* cut short: nothing can follow the cut */
        buf_str(&unrolled, str_head(ring, at));
    take_consecutive(buf_view(&unrolled), h.reader.sequence, out);
    return OK;
}
