#include "base/mem.h"
#include "gateway/metrics.h"
#include "gateway/replay.h"
#include "net/sse.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const uint64_t key[2] = { 0x1111, 0x2222 };
static const char alice[SESSION_ID + 1] = "alicealicealicealicealicealiceal";
static const char bob[SESSION_ID + 1] = "bobbobbobbobbobbobbobbobbobbobbo";
static const struct replay_limits roomy = { .bytes = 1 << 20, .events = 1000, .session_bytes = 1 << 20,
                                            .session_events = 1000, .keep = 100 };

static struct replays *with(struct replay_limits limits) {
    struct replays *all = replays_new(3, key);
    replays_configure(all, limits);
    return all;
}

static void say(struct replay *r, const char *text) {
    struct str piece = str_of(text);
    replay_say(r, &piece, 1);
    replays_trim(r->all, r);
}

/* The texts of the events behind `after`, joined. */
static struct str said_after(struct replay *r, uint64_t after, struct buf *out) {
    SCOPED(buf_done) struct buf stream = { 0 };
    struct sse_parser p = { 0 };
    struct sse_event e;
    err_t failed = OK;
    replay_read(r, after, SIZE_MAX, &stream);
    struct str in = buf_view(&stream);
    buf_clear(out);
    while (sse_next(&p, &in, &e, &failed))
        buf_str(out, e.data);
    assert_null(failed);
    sse_done(&p);
    return buf_view(out);
}

static err_t come_back(struct replays *all, const char *session, struct str id, struct replay **out,
                       uint64_t *after) {
    struct event_id read;
    TRY(event_id_read(key, session, id, &read));
    *after = read.n;
    return replay_find(all, session, &read, out);
}

#define assert_texts(r, after, want)                                                               \
    do {                                                                                           \
        SCOPED(buf_done) struct buf b_ = { 0 };                                                    \
        struct str got_ = said_after(r, after, &b_);                                               \
        assert_int_equal(got_.n, strlen(want));                                                    \
        assert_memory_equal(got_.p, want, got_.n);                                                 \
    } while (0)

static void what_followed_an_id_is_read_again_and_nothing_else(void **state) {
    struct replays *all = with(roomy);
    struct replay *r = replay_open(all, alice, REPLAY_CALL),
                  *other = replay_open(all, alice, REPLAY_CALL);
    static const char *const texts[] = { "a", "b", "c" };
    static const char *const rest[] = { "abc", "bc", "c", "" };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        say(r, texts[i]);
        say(other, "never");
    }
    for (uint64_t n = 0; n <= 3; n++) {
        char id[EVENT_ID];
        struct replay *found = NULL;
        uint64_t after = 99;
        assert_null(come_back(all, alice, str_from(id, replay_id(r, n, id)), &found, &after));
        assert_ptr_equal(found, r);
        assert_int_equal(after, n);
        assert_texts(found, after, rest[n]);
    }
    replays_free(all);
}

static void an_event_is_one_line_with_its_id(void **state) {
    struct replays *all = with(roomy);
    struct replay *r = replay_open(all, alice, REPLAY_CALL);
    struct str pieces[] = { S("{\"a\""), S(":1}") };
    char id[EVENT_ID], want[200];
    size_t n = replay_id(r, 1, id);
    struct str event = replay_say(r, pieces, 2);
    int size = snprintf(want, sizeof want, "id: %.*s\nevent: message\ndata: {\"a\":1}\n\n", (int)n,
                        id);
    assert_int_equal(event.n, size);
    assert_memory_equal(event.p, want, (size_t)size);
    replays_free(all);
}

static void priming_is_an_id_and_a_pause_without_text(void **state) {
    struct replays *all = with(roomy);
    struct replay *r = replay_open(all, alice, REPLAY_CALL);
    SCOPED(buf_done) struct buf b = { 0 };
    char id[EVENT_ID], want[200];
    replay_prime(r, 0, 1500, &b);
    snprintf(want, sizeof want, "retry: 1500\nid: %.*s\ndata: \n\n", (int)replay_id(r, 0, id), id);
    assert_int_equal(b.n, strlen(want));
    assert_memory_equal(b.p, want, b.n);
    replays_free(all);
}

static void changed_and_foreign_ids_are_denied(void **state) {
    struct replays *all = with(roomy);
    struct replay *r = replay_open(all, alice, REPLAY_CALL), *found;
    char id[EVENT_ID];
    uint64_t after;
    say(r, "a");
    size_t n = replay_id(r, 1, id);
    assert_int_equal(come_back(all, bob, str_from(id, n), &found, &after)->kind, ERR_DENIED);
    for (size_t i = 0; i < n; i++) {
        char changed[EVENT_ID];
        memcpy(changed, id, n);
        for (const char *c = "019af-xG \"\n"; *c; c++) {
            changed[i] = *c;
            if (*c != id[i])
                assert_int_equal(come_back(all, alice, str_from(changed, n), &found, &after)->kind,
                                 ERR_DENIED);
        }
        assert_int_equal(come_back(all, alice, str_from(id, i), &found, &after)->kind, ERR_DENIED);
    }
    char long_id[EVENT_ID * 2];
    memset(long_id, '0', sizeof long_id);
    assert_non_null(come_back(all, alice, str_from(long_id, sizeof long_id), &found, &after));
    memcpy(long_id, "0", 1); /* another spelling of the same numbers */
    memcpy(long_id + 1, id, n);
    assert_int_equal(come_back(all, alice, str_from(long_id, n + 1), &found, &after)->kind,
                     ERR_DENIED);
    replays_free(all);
}

static void an_id_of_what_was_never_said_is_not_found(void **state) {
    struct replays *all = with(roomy);
    struct replay *r = replay_open(all, alice, REPLAY_CALL), *found;
    char id[EVENT_ID];
    uint64_t after;
    size_t n = replay_id(r, 7, id);
    assert_int_equal(come_back(all, alice, str_from(id, n), &found, &after)->kind, ERR_NOT_FOUND);
    replays_free(all);
}

static void beyond_a_bound_of_the_session_its_oldest_goes(void **state) {
    struct replay_limits two = roomy;
    two.session_events = 2;
    struct replays *all = with(two);
    struct replay *r = replay_open(all, alice, REPLAY_CALL),
                  *other = replay_open(all, bob, REPLAY_CALL);
    struct event_id id = { .worker = 3, .stream = r->number };
    struct replay *found;
    say(other, "x");
    say(r, "a");
    say(r, "b");
    assert_null(replay_find(all, alice, &id, &found));
    say(r, "c");
    assert_int_equal(replay_find(all, alice, &id, &found)->kind, ERR_NOT_FOUND);
    id.n = 1; /* has a: what follows is there */
    assert_null(replay_find(all, alice, &id, &found));
    assert_texts(found, 1, "bc");
    assert_texts(other, 0, "x");
    replays_free(all);
}

static void the_bound_of_the_worker_holds_over_all_sessions(void **state) {
    struct replay_limits three = roomy;
    three.events = 3;
    struct replays *all = with(three);
    struct replay *a = replay_open(all, alice, REPLAY_CALL),
                  *b = replay_open(all, bob, REPLAY_CALL);
    say(a, "1");
    say(b, "2");
    say(a, "3");
    say(b, "4");
    assert_int_equal(replays_stats(all).events, 3);
    assert_int_equal(a->gone, 1);
    assert_int_equal(b->gone, 0);
    replays_free(all);
}

static void bytes_are_bound_too_and_one_event_may_be_too_large_alone(void **state) {
    struct replay_limits small = roomy;
    small.session_bytes = 2000;
    struct replays *all = with(small);
    struct replay *r = replay_open(all, alice, REPLAY_CALL);
    char large[3000];
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = 0;
    say(r, "a");
    say(r, large);
    assert_int_equal(replays_stats(all).events, 0);
    assert_int_equal(replays_stats(all).bytes, 0);
    assert_int_equal(r->gone, 2);
    say(r, "b");
    assert_texts(r, 2, "b");
    replays_free(all);
}

static void on_emptied(struct replay *r) {
    *(int *)r->owner += 1;
    replay_free(r);
}

static void a_stream_that_ended_goes_with_the_last_of_its_events(void **state) {
    struct replay_limits two = roomy;
    two.events = 2;
    struct replays *all = with(two);
    struct replay *r = replay_open(all, alice, REPLAY_CALL),
                  *next = replay_open(all, bob, REPLAY_CALL);
    int emptied = 0;
    r->owner = &emptied;
    r->emptied = on_emptied;
    say(r, "a");
    say(r, "b");
    replay_end(r, 0);
    replay_set_read(r, false, 0);
    say(next, "c");
    assert_int_equal(emptied, 0);
    say(next, "d");
    assert_int_equal(emptied, 1);
    assert_int_equal(replays_stats(all).streams, 1);
    replays_free(all);
}

static void a_call_lapses_after_its_end_and_never_before(void **state) {
    struct replays *all = with(roomy);
    struct replay *r = replay_open(all, alice, REPLAY_CALL);
    replay_set_read(r, false, 0);
    assert_false(replays_any_lapse(all));
    replay_end(r, 1000);
    assert_true(replays_any_lapse(all));
    assert_null(replays_lapsed(all, 1099));
    assert_ptr_equal(replays_lapsed(all, 1100), r);
    replay_set_read(r, true, 1100); /* somebody came back in time */
    assert_null(replays_lapsed(all, 5000));
    replay_set_read(r, false, 6000);
    assert_null(replays_lapsed(all, 6099));
    assert_ptr_equal(replays_lapsed(all, 6100), r);
    replays_free(all);
}

static void a_get_stream_lapses_once_nobody_reads_it(void **state) {
    struct replays *all = with(roomy);
    struct replay *a = replay_open(all, alice, REPLAY_SESSION),
                  *b = replay_open(all, bob, REPLAY_SESSION);
    replay_set_read(a, false, 0);
    replay_set_read(b, false, 50);
    assert_ptr_equal(replays_lapsed(all, 100), a);
    replay_free(a);
    assert_null(replays_lapsed(all, 149));
    assert_ptr_equal(replays_lapsed(all, 150), b);
    replays_free(all);
}

static void what_is_given_at_once_is_bound_but_at_least_one_event(void **state) {
    struct replays *all = with(roomy);
    struct replay *r = replay_open(all, alice, REPLAY_CALL);
    SCOPED(buf_done) struct buf b = { 0 };
    for (int i = 0; i < 10; i++)
        say(r, "0123456789");
    assert_int_equal(replay_read(r, 0, 1, &b), 1);
    size_t one = b.n;
    buf_clear(&b);
    assert_int_equal(replay_read(r, 1, 3 * one, &b), 4);
    assert_int_equal(b.n, 3 * one);
    buf_clear(&b);
    assert_int_equal(replay_read(r, 10, SIZE_MAX, &b), 10);
    assert_int_equal(b.n, 0);
    replays_free(all);
}

static void the_streams_of_a_session_are_found_until_they_are_freed(void **state) {
    struct replays *all = with(roomy);
    struct replay *a = replay_open(all, alice, REPLAY_CALL),
                  *b = replay_open(all, alice, REPLAY_SESSION);
    replay_open(all, bob, REPLAY_CALL);
    assert_true(replay_of(all, alice) == a || replay_of(all, alice) == b);
    replay_free(a);
    assert_ptr_equal(replay_of(all, alice), b);
    say(b, "x");
    replay_free(b);
    assert_null(replay_of(all, alice));
    assert_non_null(replay_of(all, bob));
    assert_int_equal(replays_stats(all).streams, 1);
    assert_int_equal(replays_stats(all).bytes, 0);
    replays_free(all);
}

/* Against a model: what a client misses is what it is given, or it is refused. */
static void no_order_of_events_loses_or_repeats_one(void **state) {
    struct replay_limits tight = { .bytes = 4000, .events = 20, .session_bytes = 3000,
                                   .session_events = 12, .keep = 100 };
    struct replays *all = with(tight);
    struct replay *streams[3] = { replay_open(all, alice, REPLAY_CALL), replay_open(all, alice, REPLAY_CALL),
                                  replay_open(all, bob, REPLAY_CALL) };
    char model[3][5000] = { { 0 } };
    uint64_t random = 1;
    for (int step = 0; step < 4000; step++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        unsigned which = (unsigned)(random >> 33) % 3;
        struct replay *r = streams[which];
        char text[2] = { (char)('a' + r->last % 26), 0 };
        if (r->last < sizeof model[0] - 1) {
            model[which][r->last] = text[0];
            say(r, text);
        }
        uint64_t after = (random >> 40) % (r->last + 1);
        struct event_id id = { .worker = 3, .stream = r->number, .n = after };
        struct replay *found = NULL;
        err_t e = replay_find(all, which < 2 ? alice : bob, &id, &found);
        assert_int_equal(e == NULL, after >= r->gone);
        if (!e)
            assert_texts(r, after, model[which] + after);
        assert_true(replays_stats(all).events <= 20 && replays_stats(all).bytes <= 4000);
    }
    replays_free(all);
}

int main(void) {
    gateway_metrics_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_followed_an_id_is_read_again_and_nothing_else),
        cmocka_unit_test(an_event_is_one_line_with_its_id),
        cmocka_unit_test(priming_is_an_id_and_a_pause_without_text),
        cmocka_unit_test(changed_and_foreign_ids_are_denied),
        cmocka_unit_test(an_id_of_what_was_never_said_is_not_found),
        cmocka_unit_test(beyond_a_bound_of_the_session_its_oldest_goes),
        cmocka_unit_test(the_bound_of_the_worker_holds_over_all_sessions),
        cmocka_unit_test(bytes_are_bound_too_and_one_event_may_be_too_large_alone),
        cmocka_unit_test(a_stream_that_ended_goes_with_the_last_of_its_events),
        cmocka_unit_test(a_call_lapses_after_its_end_and_never_before),
        cmocka_unit_test(a_get_stream_lapses_once_nobody_reads_it),
        cmocka_unit_test(what_is_given_at_once_is_bound_but_at_least_one_event),
        cmocka_unit_test(the_streams_of_a_session_are_found_until_they_are_freed),
        cmocka_unit_test(no_order_of_events_loses_or_repeats_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
