#include "servers/time/zones.h"
#include "tests/unit/run/fixture.h"
#include <pthread.h>

#define FOLDER S(CORPUS_DIR "/zoneinfo/slim")

static struct zones *zones;
static struct arena arena;

static int set_up(void **state) {
    zones = zones_new(FOLDER);
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    zones_free(zones);
    arena_done(&arena);
    return 0;
}

static const struct zone *get(const char *name) {
    const struct zone *z = NULL;
    err_t e = zones_get(NULL, zones, str_of(name), &arena, &z);
    if (e)
        fail_msg("%s: %s", name, e->text);
    return z;
}

static void a_zone_is_read_once(void **state) {
    const struct zone *z = get("Europe/Paris");
    assert_true(str_eq(zone_name(z), S("Europe/Paris")));
    assert_ptr_equal(get("Europe/Paris"), z);
    assert_ptr_equal(get("europe/PARIS"), z);
    assert_ptr_not_equal(get("Europe/London"), z);
}

static void utc_and_offsets_are_zones_too(void **state) {
    assert_ptr_equal(get("UTC"), zone_utc);
    assert_ptr_equal(get("Z"), zone_utc);
    assert_true(str_eq(zone_name(get("+0530")), S("+05:30")));
}

static void assert_refused(struct zones *of, const char *name, enum err_kind kind,
                           const char *why) {
    const struct zone *z = NULL;
    err_t e = zones_get(NULL, of, str_of(name), &arena, &z);
    if (!e)
        fail_msg("took %s", name);
    assert_int_equal(e->kind, kind);
    if (str_find(str_of(e->text), str_of(why)) < 0)
        fail_msg("%s: %s", name, e->text);
}

static void an_unknown_zone_gets_advice(void **state) {
    assert_refused(zones, "Europe/Pari", ERR_INVALID, "did you mean Europe/Paris?");
    assert_refused(zones, "Europe/Paris/Louvre", ERR_INVALID, "is no IANA time zone");
    assert_refused(zones, "Europe", ERR_INVALID, "is no IANA time zone");
    assert_refused(zones, "", ERR_INVALID, "is no IANA time zone");
    assert_refused(zones, "Mars/Olympus", ERR_INVALID, "list_time_zones");
    assert_refused(zones, "zone.tab", ERR_INVALID, "is no IANA time zone");
    assert_refused(zones, "../fat/Europe/Paris", ERR_INVALID, "did you mean Europe/Paris?");
    assert_refused(zones, "../instants.tsv", ERR_INVALID, "is no IANA time zone");
}

static void without_the_folder_utc_still_works(void **state) {
    struct zones *none = zones_new(S("/nonexistent/zoneinfo"));
    const struct zone *z;
    assert_null(zones_get(NULL, none, S("UTC"), &arena, &z));
    assert_null(zones_get(NULL, none, S("-03:00"), &arena, &z));
    assert_refused(none, "Europe/Paris", ERR_UNAVAILABLE, "install the package tzdata");
    const struct zone_names *names;
    assert_non_null(zones_names(NULL, none, &names));
    zones_free(none);
}

static void all_zones_of_a_page_come_at_once(void **state) {
    const struct zone_names *names;
    assert_null(zones_names(NULL, zones, &names));
    const struct zone_entry gone = { .name = S_INIT("Europe/Gone") };
    const struct zone_entry *page[] = { &names->items[0], &gone, &names->items[5] };
    const struct zone *found[3];
    assert_null(zones_get_all(NULL, zones, page, 3, found));
    assert_true(str_eq(zone_name(found[0]), names->items[0].name));
    assert_null(found[1]);
    assert_true(str_eq(zone_name(found[2]), names->items[5].name));
}

static void *get_everything(void *out) {
    const struct zone_names *names;
    struct arena own;
    arena_init(&own, NULL, 0);
    if (!zones_names(NULL, zones, &names))
        for (size_t i = 0; i < names->n; i++)
            if (zones_get(NULL, zones, names->items[i].name, &own, &((const struct zone **)out)[i]))
                break;
    arena_done(&own);
    return NULL;
}

static void threads_that_come_at_once_share_zones(void **state) {
    enum { THREADS = 4, ZONES = 30 };
    static const struct zone *got[THREADS][ZONES];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_everything, got[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t k = 0; k < ZONES; k++) {
        assert_non_null(got[0][k]);
        for (size_t i = 1; i < THREADS; i++)
            assert_ptr_equal(got[i][k], got[0][k]);
    }
}

static void get_as_a_task(struct task *t, void *arg) {
    const struct zone *z = NULL;
    const struct zone_names *names = NULL;
    assert_null(zones_get(t, zones, S("asia/tokyo"), &arena, &z));
    assert_true(str_eq(zone_name(z), S("Asia/Tokyo")));
    err_t e = zones_get(t, zones, S("Asia/Tokio"), &arena, &z);
    assert_non_null(e);
    assert_true(str_find(str_of(e->text), S("did you mean Asia/Tokyo?")) >= 0);
    assert_null(zones_names(t, zones, &names));
    assert_int_equal(names->n, 30);
    *(bool *)arg = true;
}

static void a_task_waits_while_the_pool_reads(void **state) {
    bool ran = false;
    run_script(0, get_as_a_task, &ran);
    assert_true(ran);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_zone_is_read_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(utc_and_offsets_are_zones_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_zone_gets_advice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_the_folder_utc_still_works, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_zones_of_a_page_come_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_task_waits_while_the_pool_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_that_come_at_once_share_zones, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
