#include "base/mem.h"
#include "mcp/session.h"
#include "store/shared.h"
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
    return sessions_new((struct session_limits){ .all = all, .per_principal = own, .idle = 100 },
                        NULL);
}

static err_t open_new(struct sessions *s, enum revision revision, uint64_t principal,
                      struct str client, nanos now, struct session_view *v) {
    const struct session_start start = { .revision = revision, .principal = principal,
                                         .profile = PROFILE, .client = client };
    return session_open(NULL, s, &start, now, v);
}

static struct str open_as(struct sessions *s, uint64_t principal, nanos now,
                          struct session_view *v) {
    assert_null(open_new(s, R06, principal, S("client"), now, v));
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
    assert_true(session_find(NULL, s, id, ALICE, PROFILE, 1, &found));
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
    assert_false(session_find(NULL, s, id, BOB, PROFILE, 1, &found));
    assert_false(session_find(NULL, s, id, ALICE, PROFILE + 1, 1, &found));
    assert_false(session_find(NULL, s, S("no such"), ALICE, PROFILE, 1, &found));
    assert_false(session_find(NULL, s, S(""), ALICE, PROFILE, 1, &found));
    assert_false(session_close(NULL, s, id, BOB));
    assert_true(session_find(NULL, s, id, ALICE, PROFILE, 1, &found));
}

/* P-147 */
static void a_closed_session_is_gone(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    assert_true(session_close(NULL, s, id, ALICE));
    assert_false(session_find(NULL, s, id, ALICE, PROFILE, 1, &found));
    assert_false(session_close(NULL, s, id, ALICE));
    assert_false(session_set_initialized(NULL, s, id));
    assert_false(session_set_level(NULL, s, id, 1));
    assert_false(session_set_stream(s, id, 0, 1));
    assert_int_equal(sessions_count(s), 0);
}

static void changes_are_seen_by_the_next_look(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    assert_true(session_set_initialized(NULL, s, id));
    assert_true(session_set_level(NULL, s, id, 2)); /* P-231 */
    assert_true(session_set_stream(s, id, 3, 44));
    assert_true(session_find(NULL, s, id, ALICE, PROFILE, 1, &found));
    assert_true(found.initialized);
    assert_int_equal(found.log_level, 2);
    assert_int_equal(found.stream_worker, 3);
    assert_int_equal(found.stream, 44);
}

static void a_session_idles_from_when_its_stream_is_lost_until_it_is_found_again(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    session_set_stream(s, id, 1, 7);
    session_lose_stream(s, id, 6, 0); /* of an older one */
    assert_true(session_find(NULL, s, id, ALICE, PROFILE, 1000, &found));
    session_lose_stream(s, id, 7, 2000);
    assert_true(session_find(NULL, s, id, ALICE, PROFILE, 2100, &found));
    assert_int_equal(found.stream_worker, 1); /* who closes the session ends it */
    session_set_stream(s, id, 1, 7);
    assert_true(session_find(NULL, s, id, ALICE, PROFILE, 9000, &found));
    session_lose_stream(s, id, 7, 9000);
    assert_false(session_find(NULL, s, id, ALICE, PROFILE, 9101, &found));
}

static void only_the_newest_stream_can_be_cleared(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    session_set_stream(s, id, 0, 1);
    session_set_stream(s, id, 1, 2);
    session_clear_stream(s, id, 1, 1);
    session_find(NULL, s, id, ALICE, PROFILE, 1, &found);
    assert_int_equal(found.stream_worker, 1);
    session_clear_stream(s, id, 2, 1);
    session_find(NULL, s, id, ALICE, PROFILE, 1, &found);
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
    err_t e = open_new(s, R06, ALICE, S(""), 0, &v);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_LIMITED);
    assert_non_null(strstr(e->text, "sessions_per_key"));
    open_as(s, BOB, 0, &v);
    e = open_new(s, R06, BOB, S(""), 0, &v);
    assert_non_null(e);
    assert_null(strstr(e->text, "sessions_per_key"));
    assert_true(session_close(NULL, s, str_from(id, SESSION_ID), ALICE));
    open_as(s, ALICE, 0, &v);
    assert_int_equal(sessions_count(s), 3);
}

static void a_reload_changes_the_limits(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(1, 1);
    struct session_view v;
    open_as(s, ALICE, 0, &v);
    assert_non_null(open_new(s, R06, ALICE, S(""), 0, &v));
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
    assert_true(session_find(NULL, s, str_from(used.id, SESSION_ID), ALICE, PROFILE, 60, &found));
    assert_int_equal(sessions_expire(NULL, s, 100), 0); /* not longer than idle */
    assert_false(session_find(NULL, s, str_from(idle.id, SESSION_ID), ALICE, PROFILE, 101, &found));
    assert_int_equal(sessions_expire(NULL, s, 101), 1);
    assert_false(session_find(NULL, s, str_from(idle.id, SESSION_ID), ALICE, PROFILE, 101, &found));
    assert_true(
        session_find(NULL, s, str_from(streaming.id, SESSION_ID), ALICE, PROFILE, 101, &found));
    assert_int_equal(sessions_count(s), 2);
}

static void a_session_idles_from_the_end_of_its_stream(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v, found;
    struct str id = open_as(s, ALICE, 0, &v);
    session_set_stream(s, id, 0, 1);
    session_clear_stream(s, id, 1, 1000);
    assert_int_equal(sessions_expire(NULL, s, 1100), 0);
    assert_true(session_find(NULL, s, id, ALICE, PROFILE, 1100, &found));
}

static void a_client_with_no_name_or_a_long_one_is_taken(void **state) {
    SCOPED(sessions_scope) struct sessions *s = table(10, 10);
    struct session_view v;
    char name[500];
    memset(name, 'n', sizeof name);
    assert_null(open_new(s, R11, ALICE, (struct str){ 0 }, 0, &v));
    assert_null(open_new(s, R11, ALICE, str_from(name, sizeof name), 0, &v));
}

static void *churn(void *arg) {
    struct sessions *s = arg;
    for (int i = 0; i < 2000; i++) {
        struct session_view v, found;
        if (open_new(s, R11, (uint64_t)i % 3, S("c"), i, &v))
            continue;
        struct str id = str_from(v.id, SESSION_ID);
        session_find(NULL, s, id, (uint64_t)i % 3, PROFILE, i, &found);
        session_set_level(NULL, s, id, 1);
        if (i % 5)
            session_close(NULL, s, id, (uint64_t)i % 3);
        else
            sessions_expire(NULL, s, i);
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
    sessions_expire(NULL, s, 1000000);
    assert_int_equal(sessions_count(s), 0);
}

/* ---- two nodes over one shared state ------------------------------------------------- */

enum { IDLE = 800 };

static nanos now_of_test;

static nanos test_clock(void) {
    return now_of_test;
}

struct nodes {
    struct shared *shared;
    struct sessions *a, *b;
};

static struct sessions *node(struct nodes *n, size_t all) {
    const struct session_limits limits = { .all = all, .per_principal = 10, .idle = IDLE };
    return sessions_new(limits, n->shared);
}

static struct nodes two_nodes(void) {
    struct nodes n = { 0 };
    now_of_test = 10000;
    assert_null(memory_shared.open(&(struct shared_conf){ .bytes = 1 << 20, .clock = test_clock },
                                   &n.shared));
    n.a = node(&n, 10);
    n.b = node(&n, 10);
    return n;
}

static void nodes_scope(struct nodes *n) {
    sessions_free(n->a);
    sessions_free(n->b);
    shared_close(n->shared);
}

static struct str open_at(struct sessions *s, struct session_view *v) {
    const struct session_start start = { .revision = R11, .principal = ALICE, .profile = PROFILE,
                                         .asks = 5, .client = S("an \"editor\"") };
    assert_null(session_open(NULL, s, &start, now_of_test, v));
    return str_from(v->id, SESSION_ID);
}

static bool finds(struct sessions *s, struct str id, struct session_view *v) {
    return session_find(NULL, s, id, ALICE, PROFILE, now_of_test, v);
}

static void another_node_finds_a_session_as_it_is(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    struct str id = open_at(n.a, &v);
    session_set_level(NULL, n.a, id, 3);
    assert_true(finds(n.b, id, &found));
    assert_memory_equal(found.id, v.id, SESSION_ID);
    assert_int_equal(found.revision, R11);
    assert_int_equal(found.principal, ALICE);
    assert_int_equal(found.asks, 5);
    assert_int_equal(found.log_level, 3);
    assert_false(found.initialized);
    assert_true(found.in_table);
    assert_int_equal(found.stream_worker, -1);
    assert_int_equal(sessions_count(n.b), 1);
}

/* P-148 */
static void another_principal_or_profile_finds_it_nowhere(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    struct str id = open_at(n.a, &v);
    assert_false(session_find(NULL, n.b, id, BOB, PROFILE, now_of_test, &found));
    assert_false(session_find(NULL, n.b, id, ALICE, PROFILE + 1, now_of_test, &found));
    assert_false(finds(n.b, S("sixteen bytes no"), &found));
    assert_true(finds(n.b, id, &found));
}

static void a_change_on_one_node_is_seen_on_the_other(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    struct str id = open_at(n.a, &v);
    assert_true(finds(n.b, id, &found));
    assert_true(session_set_initialized(NULL, n.a, id));
    assert_true(finds(n.b, id, &found));
    assert_true(found.initialized);
    assert_true(session_set_level(NULL, n.b, id, 6));
    assert_true(session_set_asks(NULL, n.b, id, 9));
    assert_true(finds(n.a, id, &found));
    assert_int_equal(found.log_level, 6);
    assert_int_equal(found.asks, 9);
    assert_true(found.initialized);
    assert_int_equal(sessions_count(n.a), 1);
    assert_int_equal(sessions_count(n.b), 1);
}

/* P-147 */
static void a_session_closed_on_one_node_is_gone_from_all(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    struct str id = open_at(n.a, &v);
    assert_true(finds(n.b, id, &found));
    assert_true(session_close(NULL, n.b, id, ALICE));
    assert_false(finds(n.a, id, &found));
    assert_false(finds(n.b, id, &found));
    assert_int_equal(sessions_count(n.a), 0);
    assert_int_equal(shared_stats(n.shared).entries, 0);
}

static void a_session_outlives_its_process(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    struct str id = open_at(n.a, &v);
    sessions_free(n.a);
    n.a = node(&n, 10);
    assert_int_equal(sessions_count(n.a), 0);
    assert_true(finds(n.a, id, &found));
}

static void use_on_one_node_keeps_it_for_the_other(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    struct str id = open_at(n.a, &v);
    assert_true(finds(n.b, id, &found));
    for (int i = 0; i < 10; i++) {
        now_of_test += IDLE / 2;
        assert_true(finds(n.a, id, &found));
        sessions_expire(NULL, n.b, now_of_test);
        shared_tend(n.shared);
    }
    assert_true(finds(n.b, id, &found));
}

static void idle_ends_it_everywhere_and_nothing_is_left(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    struct str id = open_at(n.a, &v);
    now_of_test += 50; /* used, but its record is not touched yet */
    assert_true(finds(n.a, id, &found));
    now_of_test += IDLE;
    assert_true(finds(n.a, id, &found)); /* to the very end */
    now_of_test += IDLE + 1;
    assert_false(finds(n.a, id, &found)); /* not longer, though the record is still there */
    assert_false(finds(n.b, id, &found));
    now_of_test += IDLE;
    sessions_expire(NULL, n.a, now_of_test);
    shared_tend(n.shared);
    assert_int_equal(sessions_count(n.a), 0);
    assert_int_equal(shared_stats(n.shared).entries, 0);
}

static void a_stream_keeps_the_record_alive(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    struct str id = open_at(n.a, &v);
    session_set_stream(n.a, id, 0, 1);
    for (int i = 0; i < 10; i++) {
        now_of_test += IDLE / 2;
        sessions_expire(NULL, n.a, now_of_test);
        shared_tend(n.shared);
    }
    assert_true(finds(n.b, id, &found));
}

static void count_ended(void *arg, const struct session_view *session, bool gone) {
    *(int *)arg += session->stream == 7 ? gone ? 100 : 1 : 0;
}

static void a_stream_ends_when_another_node_has_a_newer_one_or_the_end(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v, found;
    int ended = 0;
    sessions_on_ended(n.a, count_ended, &ended);
    struct str id = open_at(n.a, &v);
    session_set_stream(n.a, id, 0, 7);
    session_tell_stream(NULL, n.a, id); /* its own does not end it */
    assert_int_equal(ended, 0);
    assert_true(finds(n.b, id, &found));
    session_set_stream(n.b, id, 0, 8);
    session_tell_stream(NULL, n.b, id);
    assert_int_equal(ended, 1);
    assert_true(session_close(NULL, n.b, id, ALICE));
    assert_int_equal(ended, 101);
}

static void a_session_of_a_connection_stays_at_home(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    const struct session_start start = { .revision = R24, .principal = ALICE, .profile = PROFILE,
                                         .bound = true };
    struct session_view v, found;
    assert_null(session_open(NULL, n.a, &start, now_of_test, &v));
    struct str id = str_from(v.id, SESSION_ID);
    assert_int_equal(shared_stats(n.shared).entries, 0);
    assert_true(session_set_initialized(NULL, n.a, id));
    assert_false(finds(n.b, id, &found));
    assert_true(finds(n.a, id, &found));
    assert_int_equal(shared_stats(n.shared).entries, 0);
}

static void a_full_node_adopts_nothing(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    sessions_free(n.b);
    n.b = node(&n, 1);
    struct session_view v, found;
    open_at(n.b, &v);
    struct str id = open_at(n.a, &v);
    assert_false(finds(n.b, id, &found));
    assert_int_equal(sessions_count(n.b), 1);
    assert_true(finds(n.a, id, &found));
}

static void without_room_in_shared_state_nothing_is_opened(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view v;
    const struct session_start start = { .revision = R11, .principal = ALICE };
    shared_configure(n.shared, &(struct shared_conf){ .bytes = 10 });
    err_t e = session_open(NULL, n.a, &start, now_of_test, &v);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(e->text, "limits: shared"));
    assert_int_equal(sessions_count(n.a), 0);
}

static void foreign_records_and_notices_do_no_harm(void **state) {
    static const char *const records[] = {
        "", "no JSON", "[]", "{}", "{\"revision\":\"2099-01-01\"}",
        "{\"revision\":\"2026-07-28\",\"principal\":\"0000000000000001\",\"profile\":\"0000000000000007\"}",
        "{\"revision\":\"2025-06-18\",\"principal\":\"1\",\"profile\":\"0000000000000007\"}",
        "{\"revision\":\"2025-06-18\",\"principal\":\"000000000000000x\",\"profile\":\"0000000000000007\"}",
    };
    static const char *const texts[] = { "", " ", "a b c", "0000000000000000 closed ",
                                         "0000000000000000 dance 0123456789abcdef0123456789abcdef" };
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    struct session_view found;
    struct str id = S("0123456789abcdef0123456789abcdef");
    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        assert_null(shared_put(NULL, n.shared, S("session/0123456789abcdef0123456789abcdef"),
                               str_of(records[i]), 10 * IDLE));
        assert_false(finds(n.a, id, &found));
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_null(shared_publish(NULL, n.shared, S("sessions"), str_of(texts[i])));
    assert_int_equal(sessions_count(n.a), 0);
    /* what a newer version would write: numbers out of range are as in a new session */
    assert_null(
        shared_put(NULL, n.shared, S("session/0123456789abcdef0123456789abcdef"),
                   S("{\"revision\":\"2025-06-18\",\"principal\":\"0000000000000001\","
                     "\"profile\":\"0000000000000007\",\"level\":99,\"asks\":-4,\"new\":[1]}"),
                   IDLE));
    assert_true(finds(n.a, id, &found));
    assert_int_equal(found.log_level, -1);
    assert_int_equal(found.asks, 0);
}

static void *churn_of_two(void *arg) {
    struct nodes *n = arg;
    for (int i = 0; i < 1000; i++) {
        struct session_view v, found;
        const struct session_start start = { .revision = R11,
                                             .principal = ALICE,
                                             .profile = PROFILE };
        if (session_open(NULL, n->a, &start, now_of_test, &v))
            continue;
        struct str id = str_from(v.id, SESSION_ID);
        finds(n->b, id, &found);
        session_set_level(NULL, n->b, id, i % 8);
        finds(n->a, id, &found);
        sessions_expire(NULL, n->b, now_of_test);
        session_close(NULL, i % 2 ? n->a : n->b, id, ALICE);
    }
    return NULL;
}

static void threads_on_two_nodes_leave_nothing(void **state) {
    SCOPED(nodes_scope) struct nodes n = two_nodes();
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, churn_of_two, &n);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(sessions_count(n.a), 0);
    assert_int_equal(sessions_count(n.b), 0);
    assert_int_equal(shared_stats(n.shared).entries, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_32_visible_characters_and_all_different),
        cmocka_unit_test(a_new_session_has_its_revision_and_no_more),
        cmocka_unit_test(only_its_principal_and_profile_find_a_session),
        cmocka_unit_test(a_closed_session_is_gone),
        cmocka_unit_test(changes_are_seen_by_the_next_look),
        cmocka_unit_test(a_session_idles_from_when_its_stream_is_lost_until_it_is_found_again),
        cmocka_unit_test(only_the_newest_stream_can_be_cleared),
        cmocka_unit_test(limits_hold_for_each_and_for_all),
        cmocka_unit_test(a_reload_changes_the_limits),
        cmocka_unit_test(idle_sessions_end_but_not_those_with_a_stream),
        cmocka_unit_test(a_session_idles_from_the_end_of_its_stream),
        cmocka_unit_test(a_client_with_no_name_or_a_long_one_is_taken),
        cmocka_unit_test(threads_do_not_break_the_counts),
        cmocka_unit_test(another_node_finds_a_session_as_it_is),
        cmocka_unit_test(another_principal_or_profile_finds_it_nowhere),
        cmocka_unit_test(a_change_on_one_node_is_seen_on_the_other),
        cmocka_unit_test(a_session_closed_on_one_node_is_gone_from_all),
        cmocka_unit_test(a_session_outlives_its_process),
        cmocka_unit_test(use_on_one_node_keeps_it_for_the_other),
        cmocka_unit_test(idle_ends_it_everywhere_and_nothing_is_left),
        cmocka_unit_test(a_stream_keeps_the_record_alive),
        cmocka_unit_test(a_stream_ends_when_another_node_has_a_newer_one_or_the_end),
        cmocka_unit_test(a_session_of_a_connection_stays_at_home),
        cmocka_unit_test(a_full_node_adopts_nothing),
        cmocka_unit_test(without_room_in_shared_state_nothing_is_opened),
        cmocka_unit_test(foreign_records_and_notices_do_no_harm),
        cmocka_unit_test(threads_on_two_nodes_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
