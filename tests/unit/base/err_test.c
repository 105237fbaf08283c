#include "base/err.h"
#include "base/mem.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_new_error_has_kind_and_text(void **state) {
    err_t e = ERR(NOT_FOUND, "no tool \"%s\"", "x");
    assert_int_equal(e->kind, ERR_NOT_FOUND);
    assert_string_equal(e->text, "no tool \"x\"");
}

static err_t leaf(void) {
    return ERR(TIMEOUT, "timed out");
}
static err_t middle(void) {
    TRY_WRAP(leaf(), "connect %s", "10.0.0.7:443");
    return OK;
}
static err_t top(void) {
    TRY(middle());
    return OK;
}

static void context_comes_first_and_the_kind_stays(void **state) {
    err_t e = err_wrap(top(), "syncing peer %s", "eu-1");
    assert_int_equal(e->kind, ERR_TIMEOUT);
    assert_string_equal(e->text, "syncing peer eu-1: connect 10.0.0.7:443: timed out");
}

static void an_error_may_be_made_out_of_the_present_one(void **state) {
    err_t e = ERR(CLOSED, "peer left");
    e = ERR(UPSTREAM, "call failed: %s", e->text);
    assert_int_equal(e->kind, ERR_UPSTREAM);
    assert_string_equal(e->text, "call failed: peer left");
    e = err_wrap(e, "again %s", e->text);
    assert_string_equal(e->text, "again call failed: peer left: call failed: peer left");
}

struct errno_row {
    int number;
    enum err_kind kind;
};

static void errno_tells_kind_and_cause(void **state) {
    static const struct errno_row rows[] = {
        { ENOENT, ERR_NOT_FOUND },   { EACCES, ERR_DENIED },
        { ECONNRESET, ERR_CLOSED },  { ECONNREFUSED, ERR_UNAVAILABLE },
        { ETIMEDOUT, ERR_TIMEOUT },  { EADDRINUSE, ERR_CONFLICT },
        { EMFILE, ERR_UNAVAILABLE }, { EBADF, ERR_INTERNAL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(err_errno(rows[i].number, "x")->kind, rows[i].kind);
    assert_string_equal(err_errno(ENOENT, "open %s", "a.json")->text,
                        "open a.json: No such file or directory");
    assert_string_equal(err_errno(9999, "x")->text, "x: error 9999");
}

static void a_long_text_is_cut_at_its_end(void **state) {
    char longer[2 * ERR_TEXT];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(strlen(ERR(INTERNAL, "%s", longer)->text), ERR_TEXT - 1);
    err_t e = err_wrap(ERR(INTERNAL, "%s", longer), "context");
    assert_int_equal(strlen(e->text), ERR_TEXT - 1);
    assert_memory_equal(e->text, "context: x", 10);
    longer[ERR_TEXT - 1] = '\0';
    assert_int_equal(strlen(ERR(INTERNAL, "%s", longer)->text), ERR_TEXT - 1);
}

static void a_cut_keeps_utf8_whole(void **state) {
    static const char *const letters[] = { "é", "日", "😀" };
    for (size_t k = 0; k < ARRAY_SIZE(letters); k++) {
        size_t width = strlen(letters[k]);
        for (size_t shift = 0; shift < width; shift++) {
            char longer[2 * ERR_TEXT] = "";
            memset(longer, 'x', shift);
            for (size_t at = shift; at + width < sizeof longer; at += width)
                memcpy(longer + at, letters[k], width + 1);
            size_t n = strlen(ERR(INTERNAL, "%s", longer)->text);
            assert_int_equal((n - shift) % width, 0);
            assert_true(n > ERR_TEXT - 1 - width);
        }
    }
}

static void a_task_slot_takes_over_until_it_is_given_back(void **state) {
    struct err slot;
    err_t own = ERR(INTERNAL, "own");
    err_use_slot(&slot);
    err_t in_task = ERR(DENIED, "task");
    assert_ptr_equal(in_task, &slot);
    assert_string_equal(own->text, "own");
    err_use_slot(NULL);
    assert_ptr_equal(ERR(INTERNAL, "back"), own);
    assert_string_equal(slot.text, "task");
}

static void a_saved_error_comes_back_into_the_slot(void **state) {
    struct err copy = *ERR(LIMITED, "slow down");
    ERR(INTERNAL, "something else");
    err_t e = err_again(&copy);
    assert_ptr_not_equal(e, &copy);
    assert_int_equal(e->kind, ERR_LIMITED);
    assert_string_equal(e->text, "slow down");
}

static void *fail_elsewhere(void *out) {
    *(err_t *)out = ERR(CLOSED, "other thread");
    return NULL;
}

static void threads_do_not_share_a_slot(void **state) {
    err_t mine = ERR(INVALID, "mine"), theirs = NULL;
    pthread_t thread;
    pthread_create(&thread, NULL, fail_elsewhere, &theirs);
    pthread_join(thread, NULL);
    assert_ptr_not_equal(mine, theirs);
    assert_string_equal(mine->text, "mine");
}

static void kinds_know_status_retry_and_word(void **state) {
    assert_int_equal(err_status(ERR_TOO_LARGE), 413);
    assert_int_equal(err_status(ERR_CANCELLED), 499);
    assert_true(err_retryable(ERR_UNAVAILABLE));
    assert_false(err_retryable(ERR_DENIED));
    assert_string_equal(err_word(ERR_NOT_FOUND), "not_found");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_error_has_kind_and_text),
        cmocka_unit_test(context_comes_first_and_the_kind_stays),
        cmocka_unit_test(an_error_may_be_made_out_of_the_present_one),
        cmocka_unit_test(errno_tells_kind_and_cause),
        cmocka_unit_test(a_long_text_is_cut_at_its_end),
        cmocka_unit_test(a_cut_keeps_utf8_whole),
        cmocka_unit_test(a_task_slot_takes_over_until_it_is_given_back),
        cmocka_unit_test(a_saved_error_comes_back_into_the_slot),
        cmocka_unit_test(threads_do_not_share_a_slot),
        cmocka_unit_test(kinds_know_status_retry_and_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
