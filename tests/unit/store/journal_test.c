/* The ring of records: what is in it, what is lost, and what a crash leaves. */
#include "../run/fixture.h"
#include "base/file.h"
#include "store/journal.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
    char folder[64], path[96];
    struct journal *journal;
};

static int set_up(void **state) {
    struct place *p = NEW(struct place);
    strcpy(p->folder, "/tmp/gatespan-journal-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof p->path, "%s/0.ring", p->folder);
    assert_null(journal_open(str_of(p->path), JOURNAL_LEAST, &p->journal));
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    struct place *p = *state;
    journal_close(p->journal);
    unlink(p->path);
    assert_int_equal(rmdir(p->folder), 0);
    free(p);
    return 0;
}

/* Record number i: its length and bytes follow from i. */
static size_t size_of(uint64_t i) {
    return (i * 37) % 400;
}

static void fill(uint8_t *p, uint64_t i) {
    for (size_t k = 0; k < size_of(i); k++)
        p[k] = (uint8_t)(i + k);
}

static void add(struct journal *j, uint64_t i) {
    fill(journal_begin(j, 1000), i);
    journal_commit(j, size_of(i));
}

static void assert_is(const struct journal_entry *e, uint64_t i) {
    uint8_t wanted[400];
    assert_int_equal(e->sequence, i);
    fill(wanted, i);
    assert_int_equal(e->data.n, size_of(i));
    assert_memory_equal(e->data.p, wanted, e->data.n);
}

/* Takes everything unread; the records must be numbered from `first`. How many there were. */
static uint64_t drain(struct journal *j, uint64_t first) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct journal_mark mark;
    uint64_t n = 0;
    while (journal_peek(j, 3000, &text, &mark)) {
        struct str rest = buf_view(&text);
        struct journal_entry e;
        while (journal_next(&rest, &e))
            assert_is(&e, first + n++);
        assert_int_equal(rest.n, 0);
        journal_release(j, mark);
    }
    return n;
}

static uint64_t recover(struct str text, uint64_t first) {
    SCOPED(buf_done) struct buf records = { 0 };
    uint64_t id, n = 0;
    assert_null(journal_recover(text, &records, &id));
    struct str rest = buf_view(&records);
    struct journal_entry e;
    while (journal_next(&rest, &e))
        assert_is(&e, first + n++);
    assert_int_equal(rest.n, 0);
    return n;
}

static void read_whole(const char *path, struct buf *out) {
    bool missing;
    buf_clear(out);
    assert_null(file_read(str_of(path), SIZE_MAX, out, &missing));
    assert_false(missing);
}

static void the_checksum_is_crc32c(void **state) {
    /* RFC 3720 §B.4 */
    uint8_t bytes[32];
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    assert_int_equal(crc32c(crc32c(0, bytes, 5), bytes + 5, 27), 0x46dd794e);
}

static void records_come_out_as_they_went_in(void **state) {
    struct place *p = *state;
    assert_false(journal_unread(p->journal));
    for (uint64_t i = 1; i <= 50; i++)
        add(p->journal, i);
    assert_true(journal_unread(p->journal));
    assert_int_equal(drain(p->journal, 1), 50);
    assert_false(journal_unread(p->journal));
}

/* Round the ring many times, in bites of different sizes. */
static void it_wraps_around(void **state) {
    struct place *p = *state;
    uint64_t written = 0, taken = 0;
    for (unsigned bite = 1; bite < 200; bite++) {
        for (unsigned i = 0; i < bite; i++)
            add(p->journal, ++written);
        taken += drain(p->journal, taken + 1);
        assert_int_equal(taken, written);
    }
    assert_int_equal(journal_dropped(p->journal), 0);
}

static void peeking_takes_nothing_until_released(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf text = { 0 };
    struct journal_mark mark;
    struct journal_entry e;
    add(p->journal, 1);
    add(p->journal, 2);
    for (int i = 0; i < 2; i++) {
        assert_true(journal_peek(p->journal, 1, &text, &mark)); /* one at least */
        struct str rest = buf_view(&text);
        assert_true(journal_next(&rest, &e));
        assert_is(&e, 1);
        assert_false(journal_next(&rest, &e));
    }
    journal_release(p->journal, mark);
    assert_int_equal(drain(p->journal, 2), 1);
}

static void when_full_the_oldest_go_and_are_counted(void **state) {
    struct place *p = *state;
    const uint64_t all = 5000;
    for (uint64_t i = 1; i <= all; i++)
        add(p->journal, i);
    uint64_t dropped = journal_dropped(p->journal);
    assert_true(dropped > 0);
    assert_int_equal(drain(p->journal, dropped + 1), all - dropped);
    for (uint64_t i = all + 1; i <= all + 20; i++)
        add(p->journal, i);
    assert_int_equal(drain(p->journal, all + 1), 20);
    assert_int_equal(journal_dropped(p->journal), dropped);
}

static void a_damaged_record_is_none(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf text = { 0 };
    struct journal_mark mark;
    struct journal_entry e;
    add(p->journal, 7);
    assert_true(journal_peek(p->journal, 1000, &text, &mark));
    for (size_t i = 0; i < text.n * 8; i++) {
        text.p[i / 8] ^= (char)(1 << i % 8);
        struct str rest = buf_view(&text);
        if (i >= 3) /* in the length these change only how much of the padding counts */
            assert_false(journal_next(&rest, &e));
        text.p[i / 8] ^= (char)(1 << i % 8);
    }
}

/* ---- after a crash ----------------------------------------------------------------- */

static void a_file_is_recovered_without_what_was_released(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf text = { 0 };
    for (uint64_t i = 1; i <= 30; i++)
        add(p->journal, i);
    drain(p->journal, 1);
    read_whole(p->path, &text);
    assert_int_equal(recover(buf_view(&text), 31), 0); /* read records are still in the ring */
    for (uint64_t i = 31; i <= 45; i++)
        add(p->journal, i);
    read_whole(p->path, &text);
    assert_int_equal(recover(buf_view(&text), 31), 15);
}

static void a_wrapped_file_is_recovered_whole(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf text = { 0 };
    uint64_t written = 0, taken = 0;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 150; i++)
            add(p->journal, ++written);
        read_whole(p->path, &text);
        assert_int_equal(recover(buf_view(&text), taken + 1), 150);
        taken += drain(p->journal, taken + 1);
    }
}

static void an_overrun_file_is_recovered_from_the_oldest(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf text = { 0 };
    for (uint64_t i = 1; i <= 3000; i++)
        add(p->journal, i);
    uint64_t dropped = journal_dropped(p->journal);
    read_whole(p->path, &text);
    assert_int_equal(recover(buf_view(&text), dropped + 1), 3000 - dropped);
}

/* At whatever byte the last record was cut: the ones before it are there, and nothing else. */
static void a_cut_in_the_last_record_loses_that_one_alone(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf text = { 0 };
    size_t end = 4096;
    for (uint64_t i = 1; i <= 11; i++) {
        add(p->journal, i);
        end += 16 + ((size_of(i) + 7) & ~(size_t)7);
    }
    const size_t start = end - 16 - ((size_of(11) + 7) & ~(size_t)7);
    read_whole(p->path, &text);
    for (size_t cut = start; cut <= end; cut++) {
        uint64_t whole = cut == end ? 11 : 10;
        assert_int_equal(recover(str_head(buf_view(&text), cut), 1), whole); /* the file ends */
        SCOPED(buf_done) struct buf torn = { 0 };                           /* or zeros follow */
        buf_str(&torn, buf_view(&text));
        bool changed = false;
        for (size_t i = cut; i < end; i++) {
            changed |= torn.p[i] != 0;
            torn.p[i] = 0;
        }
        assert_int_equal(recover(buf_view(&torn), 1), changed ? 10 : 11);
    }
}

/* The header was not written back, the records were: they speak for themselves. */
static void records_behind_an_old_head_are_found(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf before = { 0 };
    SCOPED(buf_done) struct buf after = { 0 };
    add(p->journal, 1);
    read_whole(p->path, &before);
    for (uint64_t i = 2; i <= 9; i++)
        add(p->journal, i);
    read_whole(p->path, &after);
    memcpy(after.p, before.p, 4096);
    assert_int_equal(recover(buf_view(&after), 1), 9);
}

static void what_is_no_journal_is_refused(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf text = { 0 };
    SCOPED(buf_done) struct buf out = { 0 };
    uint64_t id;
    assert_int_equal(kind_of(journal_recover(S("hello"), &out, &id)), ERR_INVALID);
    read_whole(p->path, &text);
    assert_int_equal(kind_of(journal_recover(str_head(buf_view(&text), 4095), &out, &id)),
                     ERR_INVALID);
    assert_null(journal_recover(str_head(buf_view(&text), 4096), &out, &id));
    memset(text.p + 16, 0x11, 8); /* the size */
    assert_int_equal(kind_of(journal_recover(buf_view(&text), &out, &id)), ERR_INVALID);
}

/* A child is killed while it writes: what it had told us of is there. */
static void a_killed_writer_loses_nothing_it_committed(void **state) {
    struct place *p = *state;
    SCOPED(buf_done) struct buf text = { 0 };
    for (int round = 0; round < 20; round++) {
        int ends[2];
        uint64_t told = 0, got;
        journal_close(p->journal);
        unlink(p->path);
        assert_null(journal_open(str_of(p->path), (size_t)16 << 20, &p->journal));
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            for (uint64_t i = 1;; i++) {
                add(p->journal, i);
                if (i % 16 == 0 && write(ends[1], &i, sizeof i) != sizeof i)
                    _exit(1);
            }
        }
        close(ends[1]);
        for (int i = 0; i <= round * 5; i++)
            assert_int_equal(read(ends[0], &told, sizeof told), sizeof told);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(ends[0], &got, sizeof got) == sizeof got)
            told = got;
        close(ends[0]);
        read_whole(p->path, &text);
        uint64_t found = recover(buf_view(&text), 1);
        assert_true(found >= told);
    }
    /* ours does not know what the child wrote: nothing unread, so its file goes */
    journal_close(p->journal);
    unlink(p->path);
    assert_null(journal_open(str_of(p->path), JOURNAL_LEAST, &p->journal));
}

/* ---- two threads, files ------------------------------------------------------------- */

enum { MANY = 200000 };

static void *write_many(void *arg) {
    struct journal *j = arg;
    for (uint64_t i = 1; i <= MANY; i++) {
        if (i % 64 == 0) /* never so fast that it laps the reader */
            while (journal_behind(j) > JOURNAL_LEAST / 2)
                sched_yield();
        add(j, i);
    }
    return NULL;
}

static void one_writes_while_another_reads(void **state) {
    struct place *p = *state;
    pthread_t writer;
    uint64_t taken = 0;
    assert_int_equal(pthread_create(&writer, NULL, write_many, p->journal), 0);
    while (taken < MANY) {
        uint64_t n = drain(p->journal, taken + 1);
        taken += n;
        if (!n)
            sched_yield();
    }
    pthread_join(writer, NULL);
    assert_int_equal(journal_dropped(p->journal), 0);
}

static void a_file_with_something_unread_stays(void **state) {
    struct place *p = *state;
    struct stat st;
    add(p->journal, 1);
    journal_close(TAKE(p->journal));
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    unlink(p->path);
    assert_null(journal_open(str_of(p->path), JOURNAL_LEAST, &p->journal));
    add(p->journal, 1);
    drain(p->journal, 1);
    journal_close(TAKE(p->journal));
    assert_int_equal(stat(p->path, &st), -1);
}

static void no_room_on_disk_is_an_error_and_no_signal(void **state) {
    struct place *p = *state;
    struct rlimit before, small;
    struct journal *other = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/1.ring", p->folder);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 64 * 1024;
    setrlimit(RLIMIT_FSIZE, &small);
    err_t e = journal_open(str_of(path), JOURNAL_LEAST, &other);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_non_null(e);
    assert_non_null(strstr(e->text, path));
    assert_int_equal(access(path, F_OK), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_crc32c),
        T(records_come_out_as_they_went_in),
        T(it_wraps_around),
        T(peeking_takes_nothing_until_released),
        T(when_full_the_oldest_go_and_are_counted),
        T(a_damaged_record_is_none),
        T(a_file_is_recovered_without_what_was_released),
        T(a_wrapped_file_is_recovered_whole),
        T(an_overrun_file_is_recovered_from_the_oldest),
        T(a_cut_in_the_last_record_loses_that_one_alone),
        T(records_behind_an_old_head_are_found),
        T(what_is_no_journal_is_refused),
        T(a_killed_writer_loses_nothing_it_committed),
        T(one_writes_while_another_reads),
        T(a_file_with_something_unread_stays),
        T(no_room_on_disk_is_an_error_and_no_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
