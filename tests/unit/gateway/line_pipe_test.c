#include "../run/fixture.h"
#include "gateway/line_pipe.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { LIMIT = 100 };

/* A pipe at each side of it; the test plays the program at the other ends. */
struct bench {
    struct line_pipe pipe;
    int to, from; /* what the test writes to and reads from */
    int in, out;
};

static void bench_open(struct bench *b, struct worker *w) {
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    b->in = in[0];
    b->to = in[1];
    b->from = out[0];
    b->out = out[1];
    fcntl(b->from, F_SETFL, O_NONBLOCK);
    line_pipe_open(&b->pipe, w, b->in, b->out);
}

static void bench_close(struct bench *b) {
    line_pipe_close(&b->pipe);
    int all[] = { b->in, b->to, b->from, b->out };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i] >= 0)
            close(all[i]);
}

static void feed(struct bench *b, const char *text) {
    assert_int_equal(write(b->to, text, strlen(text)), strlen(text));
}

static void feed_end(struct bench *b) {
    close(b->to);
    b->to = -1;
}

static void expect_line(struct task *t, struct bench *b, const char *text) {
    struct str line;
    assert_null(line_read(t, &b->pipe, LIMIT, &line));
    assert_int_equal(line.n, strlen(text));
    assert_memory_equal(line.p, text, line.n);
}

static void expect_error(struct task *t, struct bench *b, enum err_kind kind) {
    struct str line;
    assert_int_equal(kind_of(line_read(t, &b->pipe, LIMIT, &line)), (int)kind);
}

static void expect_output(struct bench *b, const char *text) {
    char got[256];
    ssize_t n = read(b->from, got, sizeof got);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, (size_t)n);
}

#define IN_TASK(name)                                                                              \
    static void name##_body(struct task *t, void *arg);                                            \
    static void name(void **state) {                                                               \
        run_script(0, name##_body, NULL);                                                          \
    }                                                                                              \
    static void name##_body(struct task *t, void *arg)

/* ---- reading -------------------------------------------------------------------- */

static void feeds_later(struct task *t, void *arg) {
    feed(arg, "d\nlast");
    feed_end(arg);
}

IN_TASK(lines_come_whole_however_they_were_cut) {
    struct bench b;
    bench_open(&b, task_worker(t));
    feed(&b, "one\ntwo\r\n\nthir");
    expect_line(t, &b, "one");
    expect_line(t, &b, "two\r");
    expect_line(t, &b, "");
    task_spawn(task_worker(t), feeds_later, &b);
    expect_line(t, &b, "third");
    expect_line(t, &b, "last");
    expect_error(t, &b, ERR_CLOSED);
    expect_error(t, &b, ERR_CLOSED);
    bench_close(&b);
}

IN_TASK(a_long_line_is_refused_once_and_skipped) {
    struct bench b;
    char line[3 * LIMIT + 1];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    bench_open(&b, task_worker(t));
    feed(&b, line);
    expect_error(t, &b, ERR_TOO_LARGE);
    feed(&b, line);
    feed(&b, "\nnext\n");
    expect_line(t, &b, "next");
    feed(&b, line); /* whole at once this time */
    feed(&b, "\nafter\n");
    expect_error(t, &b, ERR_TOO_LARGE);
    expect_line(t, &b, "after");
    feed_end(&b);
    expect_error(t, &b, ERR_CLOSED);
    bench_close(&b);
}

IN_TASK(a_line_of_the_limit_passes) {
    struct bench b;
    char line[LIMIT + 1];
    memset(line, 'x', LIMIT);
    line[LIMIT] = '\0';
    bench_open(&b, task_worker(t));
    feed(&b, line);
    feed(&b, "\n");
    expect_line(t, &b, line);
    bench_close(&b);
}

IN_TASK(a_file_can_be_read_too) {
    FILE *f = tmpfile();
    fputs("one\ntwo", f);
    fflush(f);
    lseek(fileno(f), 0, SEEK_SET);
    struct bench b = { .in = -1, .to = -1, .from = -1, .out = -1 };
    line_pipe_open(&b.pipe, task_worker(t), fileno(f), STDOUT_FILENO);
    expect_line(t, &b, "one");
    expect_line(t, &b, "two");
    expect_error(t, &b, ERR_CLOSED);
    bench_close(&b);
    fclose(f);
}

/* ---- writing -------------------------------------------------------------------- */

IN_TASK(a_message_is_one_line_whatever_it_holds) {
    struct bench b;
    bench_open(&b, task_worker(t));
    struct str pieces[] = { S("{\"a\":\r\n"), S("1,\n\"b\":2}") };
    assert_null(line_write(t, &b.pipe, pieces, ARRAY_SIZE(pieces)));
    line_push(&b.pipe, S("pushed"));
    expect_output(&b, "{\"a\":  1, \"b\":2}\npushed\n");
    bench_close(&b);
}

struct writer {
    struct bench *bench;
    char what;
    size_t lines;
    struct event *done;
};

static void writes_long_lines(struct task *t, void *arg) {
    struct writer *w = arg;
    char *text = mem_alloc(50000); /* too much for a fiber's stack */
    memset(text, w->what, 50000);
    struct str pieces[] = { str_from(text, 20000), str_from(text, 30000) };
    for (size_t i = 0; i < w->lines; i++)
        assert_null(line_write(t, &w->bench->pipe, pieces, 2));
    free(text);
    event_set(w->done);
}

/* Reads everything and checks that each line is of one writer. */
static void drain_lines(struct task *t, struct bench *b, size_t lines) {
    char got[8192], last = '\n';
    while (lines) {
        ssize_t n = read(b->from, got, sizeof got);
        if (n <= 0) {
            assert_null(task_sleep(t, NANOS_MS));
            continue;
        }
        for (ssize_t i = 0; i < n; last = got[i++]) {
            lines -= got[i] == '\n';
            assert_true(got[i] == '\n' || last == '\n' || got[i] == last);
        }
    }
}

IN_TASK(writers_wait_for_a_slow_reader_and_never_mix) {
    struct bench b;
    bench_open(&b, task_worker(t));
    struct event done[2] = { 0 };
    struct writer writers[] = { { &b, 'a', 40, &done[0] }, { &b, 'b', 40, &done[1] } };
    task_spawn(task_worker(t), writes_long_lines, &writers[0]);
    task_spawn(task_worker(t), writes_long_lines, &writers[1]);
    assert_null(task_sleep(t, NANOS_MS));
    assert_true(b.pipe.left.n < 2 * 1024 * 1024); /* of the 4 MiB that want to go */
    drain_lines(t, &b, 80);
    assert_null(event_wait(t, &done[0]));
    assert_null(event_wait(t, &done[1]));
    assert_null(line_flush(t, &b.pipe));
    bench_close(&b);
}

IN_TASK(a_reader_that_went_ends_both_directions) {
    struct bench b;
    signal(SIGPIPE, SIG_IGN);
    bench_open(&b, task_worker(t));
    close(b.from);
    b.from = -1;
    struct str text = S("x");
    line_write(t, &b.pipe, &text, 1);
    assert_int_equal(kind_of(line_write(t, &b.pipe, &text, 1)), ERR_CLOSED);
    expect_error(t, &b, ERR_CLOSED);
    bench_close(&b);
}

IN_TASK(pushes_that_nobody_takes_break_the_pipe) {
    struct bench b;
    char text[1000];
    memset(text, 'x', sizeof text);
    bench_open(&b, task_worker(t));
    for (int i = 0; i < 2000 && !b.pipe.broken; i++)
        line_push(&b.pipe, str_from(text, sizeof text));
    assert_true(b.pipe.broken);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_whole_however_they_were_cut),
        cmocka_unit_test(a_long_line_is_refused_once_and_skipped),
        cmocka_unit_test(a_line_of_the_limit_passes),
        cmocka_unit_test(a_file_can_be_read_too),
        cmocka_unit_test(a_message_is_one_line_whatever_it_holds),
        cmocka_unit_test(writers_wait_for_a_slow_reader_and_never_mix),
        cmocka_unit_test(a_reader_that_went_ends_both_directions),
        cmocka_unit_test(pushes_that_nobody_takes_break_the_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
