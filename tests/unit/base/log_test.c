#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static nanos wall_now;
static nanos test_wall(void) {
    return wall_now;
}

static int ends[2]; /* a pipe: what is logged comes out of ends[0] */
static struct buf seen;

static int tear_down(void **state) {
    close(ends[0]);
    close(ends[1]);
    buf_done(&seen);
    log_use_request(S(""));
    return 0;
}

static void use(bool json, unsigned burst) {
    log_setup((struct log_conf){ .level = LOG_INFO, .json = json, .fd = ends[1], .burst = burst,
                                 .wall = test_wall });
}

/* All that was written since the last call. */
static const char *written(void) {
    buf_clear(&seen);
    for (;;) {
        buf_reserve(&seen, 65536);
        ssize_t n = read(ends[0], seen.p + seen.n, 65536);
        if (n <= 0)
            return buf_text(&seen);
        seen.n += (size_t)n;
    }
}

/* Each test starts in a second of its own, after the notes on what earlier ones lost. */
static int set_up(void **state) {
    wall_now = (wall_now ? wall_now : 1785240000000000000) + 10 * NANOS_SEC;
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    use(true, 0);
    log_info("begin");
    written();
    return 0;
}

static size_t count_of(const char *text, const char *part) {
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
        n++;
    return n;
}

static void json_lines_have_time_level_event_and_fields(void **state) {
    use(true, 0);
    wall_now = 1785240000123000000;
    const char *none = NULL;
    log_use_request(S("r-1"));
    log_warn("upstream failed", F("upstream", "files"), F("after", 12), F("ratio", 0.5),
             F("final", (bool)true), F("none", none), F("name", S("a\"b\n")));
    assert_string_equal(written(),
                        "{\"time\":\"2026-07-28T12:00:00.123Z\",\"level\":\"warn\","
                        "\"event\":\"upstream failed\",\"request\":\"r-1\",\"upstream\":\"files\","
                        "\"after\":12,\"ratio\":0.5,\"final\":true,\"none\":\"\","
                        "\"name\":\"a\\\"b\\n\"}\n");
}

static void readable_lines_quote_only_where_needed(void **state) {
    use(false, 0);
    wall_now = 1785240000123000000;
    log_info("server ready", F("url", "http://127.0.0.1:8000/mcp"), F("why", "two words"),
             F("empty", ""), F("equal", "a=b"), F("count", -3));
    assert_string_equal(written(), "2026-07-28T12:00:00.123Z INFO  server ready "
                                   "url=http://127.0.0.1:8000/mcp why=\"two words\" empty=\"\" "
                                   "equal=\"a=b\" count=-3\n");
}

static void color_is_only_there_when_asked_for(void **state) {
    use(false, 0);
    log_error("x");
    assert_null(strchr(written(), '\033'));
    log_setup((struct log_conf){ .color = true, .fd = ends[1], .wall = test_wall });
    log_error("x", F("k", 1));
    assert_non_null(strstr(written(), "\033[1;31mERROR \033[0mx"));
}

static void control_characters_reach_no_terminal(void **state) {
    for (int json = 0; json < 2; json++) {
        use(json, 0);
        log_warn("odd\n\033[2J", F("v", S("a\033[31m\x7f\xc2\x9b"
                                          "b\xc2\xa0\xc3\xa9\xff\xc2"
                                          "A\x1f\r\n\0z")));
        const char *text = written();
        size_t n = seen.n;
        assert_non_null(strstr(text, "odd\\n\\u001"));
        assert_non_null(strstr(text, "[31m\\u007f\\u009bb\xc2\xa0\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd"
                                     "A\\u001"));
        for (size_t i = 0; i + 1 < n; i++)
            assert_true((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
        assert_int_equal(text[n - 1], '\n');
    }
}

static void assert_masked(const char *text, const char *want) {
    use(false, 0);
    log_warn("x", F("v", text));
    if (!strstr(written(), want))
        fail_msg("no %s in %s", want, buf_text(&seen));
}

/* P-172 */
static void keys_of_ours_are_masked(void **state) {
    assert_masked("gs_abc_s3cretS3cret", "v=gs_abc_***\n");
    assert_masked("Bearer gs_abc_s3_c-ret, more", "v=\"Bearer gs_abc_***, more\"\n");
    assert_masked("gs_a_one gs_b_two", "v=\"gs_a_*** gs_b_***\"\n");
    assert_masked("key=gs_a_x&b=1", "v=\"key=gs_a_***&b=1\"\n");
    assert_masked("Bearer%20gs_abc_0123456789abcdefghij", "v=Bearer%20gs_abc_***\n");
    assert_masked("gs_abc_\033[0m", "v=\"gs_abc_\\u001");
    assert_masked("settings_per_server", "v=settings_per_server\n");
    assert_masked("settings_x gs_a_x", "v=\"settings_x gs_a_***\"\n");
    assert_masked("gs_abc", "v=gs_abc\n");
}

static void a_key_at_the_cut_of_a_long_value_is_masked(void **state) {
    static char text[5000];
    memset(text, '.', sizeof text);
    memcpy(text + 4085, "gs_a_secretsecret", 17);
    text[4999] = '\0';
    assert_masked(text, "gs_a_***…\n");
    assert_null(strstr(buf_text(&seen), "secret"));
}

static void levels_below_the_threshold_are_not_printed(void **state) {
    use(true, 0);
    log_debug("quiet");
    assert_string_equal(written(), "");
    log_setup((struct log_conf){ .level = LOG_OFF, .fd = ends[1] });
    log_error("quiet");
    assert_string_equal(written(), "");
    log_setup((struct log_conf){ .level = LOG_DEBUG, .fd = ends[1] });
    log_debug("heard");
    assert_non_null(strstr(written(), "DEBUG heard"));
}

static void a_flood_of_one_event_is_cut_and_counted(void **state) {
    use(true, 3);
    for (int i = 0; i < 10; i++)
        log_warn("flood");
    log_warn("other event");
    const char *text = written();
    assert_int_equal(count_of(text, "\"flood\""), 3);
    assert_int_equal(count_of(text, "other event"), 1);
    wall_now += NANOS_SEC;
    log_info("third event");
    text = written();
    assert_int_equal(
        count_of(text, "\"event\":\"log lines left out\",\"of\":\"flood\",\"count\":7}"), 1);
    assert_int_equal(count_of(text, "third event"), 1);
    log_warn("flood");
    wall_now += NANOS_SEC;
    log_warn("flood");
    text = written();
    assert_int_equal(count_of(text, "\"flood\""), 2);
    assert_int_equal(count_of(text, "left out"), 0);
}

static void a_full_pipe_drops_whole_lines_and_counts_them(void **state) {
    use(true, 0);
    uint64_t before = log_dropped();
    while (log_dropped() < before + 3)
        log_info("filling", F("text", S("0123456789012345678901234567890123456789")));
    const char *text = written();
    struct str rest = buf_view(&seen);
    while (rest.n) {
        struct str line = str_cut(&rest, '\n');
        assert_true(str_ends(line, S("}")) && str_starts(line, S("{\"time")));
    }
    wall_now += NANOS_SEC;
    log_info("after");
    text = written();
    assert_non_null(strstr(text, "too slow\",\"count\":3}\n"));
    assert_int_equal(count_of(text, "\n"), 2);
}

static void half_a_line_is_ended_before_the_next(void **state) {
    use(true, 0);
    static struct log_field fields[40];
    static char text[4001];
    memset(text, 'x', 4000);
    text[4000] = '\0';
    for (size_t i = 0; i < 40; i++)
        fields[i] = F("v", text);
    log_event(LOG_INFO, "too long for a pipe", fields, 40);
    written();
    assert_true(seen.n > 4096 && seen.p[seen.n - 1] == 'x');
    log_info("next");
    assert_int_equal(written()[0], '\n');
    assert_int_equal(count_of(buf_text(&seen), "\n"), 2);
}

static void logging_keeps_errno(void **state) {
    use(true, 0);
    close(ends[0]);
    ends[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    log_setup((struct log_conf){ .level = LOG_INFO, .fd = -1 });
    errno = EPROTO;
    log_info("nowhere");
    assert_int_equal(errno, EPROTO);
}

static void *log_a_lot(void *arg) {
    log_use_request(str_of(arg));
    for (int i = 0; i < 100; i++)
        log_info("many threads", F("who", (const char *)arg));
    return NULL;
}

static void lines_of_many_threads_never_mix(void **state) {
    use(true, 0);
    static char *const names[] = { "a", "b", "c", "d" };
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, log_a_lot, names[i]);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    written();
    struct str rest = buf_view(&seen);
    size_t lines = 0;
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    while (rest.n) {
        json line = NULL;
        assert_null(json_parse(&a, str_cut(&rest, '\n'), (struct json_limits){ 0 }, &line));
        assert_true(str_eq(json_get_text(line, S("who")), json_get_text(line, S("request"))));
        lines++;
    }
    assert_int_equal(lines, 400);
}

static void a_tap_hears_more_than_the_log_and_never_waits(void **state) {
    SCOPED(buf_done) struct buf got = { 0 };
    use(false, 1);
    struct log_tap *tap = log_tap_new(LOG_DEBUG, 300);
    assert_non_null(tap);
    log_debug("detail", F("n", 1));
    log_info("plain");
    log_info("plain"); /* cut in the log, not here */
    assert_int_equal(log_tap_take(tap, &got), 0);
    const char *lines = buf_text(&got);
    assert_non_null(strstr(lines, "\"level\":\"debug\",\"event\":\"detail\",\"n\":1}\n"));
    assert_non_null(strstr(strstr(lines, "\"event\":\"plain\"") + 1, "\"event\":\"plain\""));
    assert_null(strstr(written(), "detail"));
    for (int i = 0; i < 10; i++)
        log_debug("detail", F("n", i));
    buf_clear(&got);
    assert_true(log_tap_take(tap, &got) > 0);
    assert_true(got.n <= 300);
    log_tap_free(tap);
    assert_int_equal(log_threshold(), LOG_INFO);
}

static void there_are_only_so_many_taps(void **state) {
    struct log_tap *all[LOG_TAPS];
    for (int i = 0; i < LOG_TAPS; i++)
        assert_non_null(all[i] = log_tap_new(LOG_ERROR, 100));
    assert_null(log_tap_new(LOG_ERROR, 100));
    for (int i = 0; i < LOG_TAPS; i++)
        log_tap_free(all[i]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_tap_hears_more_than_the_log_and_never_waits),
        TEST(there_are_only_so_many_taps),
        TEST(json_lines_have_time_level_event_and_fields),
        TEST(readable_lines_quote_only_where_needed),
        TEST(color_is_only_there_when_asked_for),
        TEST(control_characters_reach_no_terminal),
        TEST(keys_of_ours_are_masked),
        TEST(a_key_at_the_cut_of_a_long_value_is_masked),
        TEST(levels_below_the_threshold_are_not_printed),
        TEST(a_flood_of_one_event_is_cut_and_counted),
        TEST(a_full_pipe_drops_whole_lines_and_counts_them),
        TEST(half_a_line_is_ended_before_the_next),
        TEST(logging_keeps_errno),
        TEST(lines_of_many_threads_never_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
