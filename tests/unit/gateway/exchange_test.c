/* exchange_test.c - the account of an exchange and its answer, in their order. */
#include "../run/fixture.h"
#include "gateway/call_record.h"
#include "store/journal.h"
#include <stdio.h>
#include <unistd.h>

struct desk {
    struct worker worker;
    struct gateway gateway;
    struct gateway_worker gw;
    struct gateway_conf conf;
    struct snapshot snapshot;
    struct exchange x, *in_flight;
    struct arena arena;
    char path[64];
    unsigned answers, recorded; /* records in the journal when the last answer left */
};

static const struct principal who = { .id = S_INIT("k"),
                                      .name = S_INIT("k"),
                                      .tenant = S_INIT("default") };

static unsigned records(struct desk *d) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct journal_mark mark;
    struct journal_entry e;
    unsigned n = 0;
    if (!journal_peek(d->gw.journal, 1 << 16, &text, &mark))
        return 0;
    for (struct str rest = buf_view(&text); journal_next(&rest, &e);)
        n++;
    return n;
}

static void take_answer(struct exchange *x, int status, const struct str *pieces, size_t n) {
    struct desk *d = x->face_self;
    d->answers++;
    d->recorded = records(d);
}

static const struct face_ops face = { .answer = take_answer };

/* A call that exchange_run has begun. */
static void open_desk(struct desk *d) {
    *d = (struct desk){ 0 };
    arena_init(&d->arena, NULL, 0);
    d->conf.history.enabled = true;
    d->snapshot.conf = &d->conf;
    d->gw = (struct gateway_worker){ .gateway = &d->gateway, .worker = &d->worker };
    snprintf(d->path, sizeof d->path, "/tmp/exchange_test-%d.ring", (int)getpid());
    unlink(d->path);
    assert_null(journal_open(str_of(d->path), JOURNAL_LEAST, &d->gw.journal));
    d->x = (struct exchange){ .face = &face, .face_self = d, .gw = &d->gw, .arena = &d->arena,
                              .snapshot = &d->snapshot, .who = &who, .method = METHOD_TOOLS_CALL,
                              .revision = R11, .back = &d->in_flight };
    d->x.in.id = S("1");
}

static void close_desk(struct desk *d) {
    journal_close(d->gw.journal);
    unlink(d->path);
    arena_done(&d->arena);
}

static void a_result_leaves_after_its_record(void **state) {
    struct desk d;
    open_desk(&d);
    answer_result(&d.x, &S("{}"), 1);
    assert_int_equal(d.answers, 1);
    assert_int_equal(d.recorded, 1);
    close_desk(&d);
}

static void an_error_leaves_after_its_record(void **state) {
    struct desk d;
    open_desk(&d);
    answer_error(&d.x, 0, RPC_INVALID_PARAMS, S(""), "no");
    assert_int_equal(d.recorded, 1);
    close_desk(&d);
}

/* Its asker's exchange is the one that counts (relay.h). */
static void a_round_that_is_run_for_another_worker_leaves_no_record(void **state) {
    struct desk d;
    open_desk(&d);
    d.x.back = NULL;
    answer_result(&d.x, &S("{}"), 1);
    assert_int_equal(d.answers, 1);
    assert_int_equal(records(&d), 0);
    close_desk(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_leaves_after_its_record),
        cmocka_unit_test(an_error_leaves_after_its_record),
        cmocka_unit_test(a_round_that_is_run_for_another_worker_leaves_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
