#include "base/mem.h"
#include "mcp/session.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ALICE = 1, BOB = 2, PROFILE = 7 };

static void sessions_scope(struct sessions **s) {
    sessions_free(*s);
}

static struct sessions *table(size_t all, size_t own) {
    return sessions_new((struct session_limits){ .all = all, .per_principal = own, .idle = 100 });
}

static struct str open_as(struct sessions *s, uint64_t principal, nanos now,
                          struct session_view *v) {
    assert_null(session_open(s, R06, principal, PROFILE, S("client"), now, v));
    return str_from(v->id, SESSION_ID);
}

/* P-146 */
static void ids_are_32_visible_characters_and_all_different(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(1000, 1000);
    struct session_view v, w;
    struct str id = open_as(s, ALICE, 0, &v);
    for (size_t i = 0; i < id.n; i++)
        assert_true(id.p[i] > ' ' && id.p[i] < 127);
    open_as(s, ALICE, 0, &w);
    assert_memory_not_equal(v.id, w.id, SESSION_ID);
    assert_int_equal(sessions_count(s), 2);
}

static void a_new_session_has_its_revision_and_no_more(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    assert_true(session_find(s, id, ALICE, PROFILE, 1, &found));
    assert_int_equal(found.revision, R06);
    assert_int_equal(found.log_level, -1);
    assert_false(found.initialized);
    assert_int_equal(found.stream_worker, -1);
}

/* P-148 */
static void only_its_principal_and_profile_find_a_session(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    assert_false(session_find(s, id, BOB, PROFILE, 1, &found));
    assert_false(session_find(s, id, ALICE, PROFILE + 1, 1, &found));
    assert_false(session_find(s, S("no such"), ALICE, PROFILE, 1, &found));
    assert_false(session_find(s, S(""), ALICE, PROFILE, 1, &found));
    assert_false(session_close(s, id, BOB));
    assert_true(session_find(s, id, ALICE, PROFILE, 1, &found));
}

/* P-147 */
static void a_closed_session_is_gone(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    assert_true(session_close(s, id, ALICE));
    assert_false(session_find(s, id, ALICE, PROFILE, 1, &found));
    assert_false(session_close(s, id, ALICE));
    assert_false(session_set_initialized(s, id));
    assert_false(session_set_level(s, id, 1));
    assert_false(session_set_stream(s, id, 0, 1));
    assert_int_equal(sessions_count(s), 0);
}

static void changes_are_seen_by_the_next_look(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    assert_true(session_set_initialized(s, id));
    assert_true(session_set_level(s, id, 2)); /* P-231 */
    assert_true(session_set_stream(s, id, 3, 44));
    assert_true(session_find(s, id, ALICE, PROFILE, 1, &found));
    assert_true(found.initialized);
    assert_int_equal(found.log_level, 2);
    assert_int_equal(found.stream_worker, 3);
    assert_int_equal(found.stream, 44);
}

static void only_the_newest_stream_can_be_cleared(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    session_set_stream(s, id, 0, 1);
    session_set_stream(s, id, 1, 2);
    session_clear_stream(s, id, 1, 1);
    session_find(s, id, ALICE, PROFILE, 1, &found);
    assert_int_equal(found.stream_worker, 1);
    session_clear_stream(s, id, 2, 1);
    session_find(s, id, ALICE, PROFILE, 1, &found);
    assert_int_equal(found.stream_worker, -1);
}

/* P-174 */
static void limits_hold_for_each_and_for_all(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(3, 2);
    struct session_view v;
    struct str first = S("");
    char id[SESSION_ID];
    first = open_as(s, ALICE, 0, &v);
    memcpy(id, first.p, SESSION_ID);
    open_as(s, ALICE, 0, &v);
    err_t e = session_open(s, R06, ALICE, PROFILE, S(""), 0, &v);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_LIMITED);
    assert_non_null(strstr(e->text, "sessions_per_key"));
    open_as(s, BOB, 0, &v);
    e = session_open(s, R06, BOB, PROFILE, S(""), 0, &v);
    assert_non_null(e);
    assert_null(strstr(e->text, "sessions_per_key"));
    assert_true(session_close(s, str_from(id, SESSION_ID), ALICE));
    open_as(s, ALICE, 0, &v);
    assert_int_equal(sessions_count(s), 3);
}

static void a_reload_changes_the_limits(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(1, 1);
    struct session_view v;
    open_as(s, ALICE, 0, &v);
    assert_non_null(session_open(s, R06, ALICE, PROFILE, S(""), 0, &v));
    sessions_configure(s, (struct session_limits){ .all = 2, .per_principal = 2, .idle = 100 });
    open_as(s, ALICE, 0, &v);
}

static void idle_sessions_end_but_not_those_with_a_stream(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view idle, used, streaming, found;
    open_as(s, ALICE, 0, &idle);
    open_as(s, ALICE, 0, &used);
    open_as(s, ALICE, 0, &streaming);
    session_set_stream(s, str_from(streaming.id, SESSION_ID), 0, 1);
    assert_true(session_find(s, str_from(used.id, SESSION_ID), ALICE, PROFILE, 60, &found));
    assert_int_equal(sessions_expire(s, 100), 0); /* not longer than idle */
    assert_false(session_find(s, str_from(idle.id, SESSION_ID), ALICE, PROFILE, 101, &found));
    assert_int_equal(sessions_expire(s, 101), 1);
    assert_false(session_find(s, str_from(idle.id, SESSION_ID), ALICE, PROFILE, 101, &found));
    assert_true(session_find(s, str_from(streaming.id, SESSION_ID), ALICE, PROFILE, 101, &found));
    assert_int_equal(sessions_count(s), 2);
}

static void a_session_idles_from_the_end_of_its_stream(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    session_set_stream(s, id, 0, 1);
    session_clear_stream(s, id, 1, 1000);
    assert_int_equal(sessions_expire(s, 1100), 0);
    assert_true(session_find(s, id, ALICE, PROFILE, 1100, &found));
}

static void a_client_with_no_name_or_a_long_one_is_taken(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v;
    char name[500];
    memset(name, 'n', sizeof name);
    assert_null(session_open(s, R11, ALICE, PROFILE, (struct str){ 0 }, 0, &v));
    assert_null(session_open(s, R11, ALICE, PROFILE, str_from(name, sizeof name), 0, &v));
}

static void *churn(void *arg) {
    struct sessions *s = arg;
    for (int i = 0; i < 2000; i++) {
        struct session_view v, found;
        if (session_open(s, R11, (uint64_t)i % 3, PROFILE, S("c"), i, &v))
            continue;
        struct str id = str_from(v.id, SESSION_ID);
        session_find(s, id, (uint64_t)i % 3, PROFILE, i, &found);
        session_set_level(s, id, 1);
        if (i % 5)
            session_close(s, id, (uint64_t)i % 3);
        else
            sessions_expire(s, i);
    }
    return NULL;
}

static void threads_do_not_break_the_counts(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(1000, 1000);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, churn, s);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    sessions_expire(s, 1000000);
    assert_int_equal(sessions_count(s), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_32_visible_characters_and_all_different),
        cmocka_unit_test(a_new_session_has_its_revision_and_no_more),
        cmocka_unit_test(only_its_principal_and_profile_find_a_session),
        cmocka_unit_test(a_closed_session_is_gone),
        cmocka_unit_test(changes_are_seen_by_the_next_look),
        cmocka_unit_test(only_the_newest_stream_can_be_cleared),
        cmocka_unit_test(limits_hold_for_each_and_for_all),
        cmocka_unit_test(a_reload_changes_the_limits),
        cmocka_unit_test(idle_sessions_end_but_not_those_with_a_stream),
        cmocka_unit_test(a_session_idles_from_the_end_of_its_stream),
        cmocka_unit_test(a_client_with_no_name_or_a_long_one_is_taken),
        cmocka_unit_test(threads_do_not_break_the_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
