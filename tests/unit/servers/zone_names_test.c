#include "base/buf.h"
#include "base/mem.h"
#include "servers/time/zone_names.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct zone_names *names;

static int read_samples(void **state) {
    return zone_names_read(S(CORPUS_DIR "/zoneinfo/slim"), &names) ? -1 : 0;
}

static int free_samples(void **state) {
    zone_names_free(names);
    return 0;
}

static void the_folder_is_the_list(void **state) {
    assert_int_equal(names->n, 30);
    for (size_t i = 1; i < names->n; i++)
        assert_true(str_cmp(names->items[i - 1].name, names->items[i].name) < 0);
    assert_true(str_eq(names->items[0].name, S("Africa/Cairo")));
}

static void countries_come_from_the_tables(void **state) {
    const struct zone_entry *tokyo = zone_names_find(names, S("Asia/Tokyo"));
    assert_non_null(tokyo);
    assert_true(str_eq(tokyo->country->code, S("JP")));
    assert_true(str_eq(tokyo->country->name, S("Japan")));
    assert_null(zone_names_find(names, S("Etc/UTC"))->country);
}

static void names_are_found_whatever_their_case(void **state) {
    const struct zone_entry *e = zone_names_find(names, S("america/new york"));
    assert_non_null(e);
    assert_true(str_eq(e->name, S("America/New_York")));
    assert_null(zone_names_find(names, S("America/New")));
    assert_null(zone_names_find(names, S("")));
}

static void only_names_below_the_folder_are_plausible(void **state) {
    static const char *const good[] = { "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+12",
                                        "GB-Eire" };
    static const char *const bad[] = {
        "", "/etc/passwd", "../passwd", "Europe/../../passwd", "Europe//Paris", "Europe/", ".", "..",
        "Europe/Paris\n", "Europe\\Paris", "zone.tab", "Europe/Par is", "posix/Europe/Paris",
        "right/UTC", "localtime", "posixrules", "Factory",
        "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (!zone_name_is_plausible(str_of(good[i])))
            fail_msg("refused %s", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (zone_name_is_plausible(str_of(bad[i])))
            fail_msg("took %s", bad[i]);
    assert_false(zone_name_is_plausible((struct str){ "A\0B", 3 }));
}

struct suggestion {
    const char *asked, *want;
};
static const struct suggestion suggestions[] = {
    { "Paris", "Europe/Paris" },
    { "Europe/Pariss", "Europe/Paris" },
    { "amercia/new_york", "America/New_York" },
    { "New York", "America/New_York" },
    { "new york city", "America/New_York" },
    { "tokio", "Asia/Tokyo" },
    { "PST", "America/Los_Angeles" },
    { "Mars/Olympus_Mons", "" },
    { "x", "" },
    { "", "" },
};

static void a_wrong_name_gets_those_that_come_close(void **state) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < ARRAY_SIZE(suggestions); i++) {
        struct str got = zone_names_suggest(names, str_of(suggestions[i].asked), &a);
        if (!str_eq(got, str_of(suggestions[i].want)))
            fail_msg("%s: %.*s", suggestions[i].asked, STR(got));
    }
}

static size_t matching(struct zone_filter f) {
    size_t n = 0;
    for (size_t i = 0; i < names->n; i++)
        n += zone_entry_matches(&names->items[i], &f);
    return n;
}

static void filters_narrow_the_list(void **state) {
    assert_int_equal(matching((struct zone_filter){ 0 }), 30);
    assert_int_equal(matching((struct zone_filter){ .region = S("europe") }), 5);
    assert_int_equal(matching((struct zone_filter){ .region = S("Euro") }), 0);
    assert_int_equal(matching((struct zone_filter){ .prefix = S("pacific/k") }), 1);
    assert_int_equal(matching((struct zone_filter){ .country = S("us") }), 2);
    assert_int_equal(matching((struct zone_filter){ .country = S("Brazil") }), 1);
    assert_int_equal(matching((struct zone_filter){ .search = S("brazil") }), 1);
    assert_int_equal(matching((struct zone_filter){ .search = S("new york") }), 1);
    assert_int_equal(matching((struct zone_filter){ .search = S("don"), .region = S("Europe") }),
                     1);
}

/* ---- a folder of our own ----------------------------------------------------------- */

static char folder[64];

static void put_file(const char *name, const char *text) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void make_folder(const char *name) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void remove_all(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void what_is_no_zone_is_left_out(void **state) {
    struct zone_names *own;
    strcpy(folder, "/tmp/zone_names_test.XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_folder("Europe");
    make_folder("posix");
    make_folder("a");
    make_folder("a/b");
    make_folder("a/b/c");
    make_folder("a/b/c/d");
    put_file("Europe/Paris", "TZif");
    put_file("posix/UTC", "TZif");
    put_file("a/b/c/Deep", "TZif");
    put_file("a/b/c/d/Deeper", "TZif");
    put_file("UTC", "TZif");
    put_file("leapseconds", "no zone");
    put_file("localtime", "TZif");
    put_file("zone.tab", "# comment\nFR\t+48\tEurope/Paris\nXX\t\n\nFR\t+0\tEurope/Gone\nno tabs");
    put_file("iso3166.tab", "FR\tFrance\n\n#\nXX");
    assert_null(zone_names_read(str_of(folder), &own));
    assert_int_equal(own->n, 3);
    assert_true(str_eq(own->items[0].name, S("Europe/Paris")));
    assert_true(str_eq(own->items[0].country->name, S("France")));
    assert_true(str_eq(own->items[1].name, S("UTC")));
    assert_true(str_eq(own->items[2].name, S("a/b/c/Deep")));
    zone_names_free(own);
    remove_all();
}

static void a_folder_that_is_not_there_has_no_zones(void **state) {
    struct zone_names *none = NULL;
    err_t e = zone_names_read(S("/nonexistent/zoneinfo"), &none);
    assert_non_null(e);
    assert_int_equal(e->kind, ERR_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_folder_is_the_list),
        cmocka_unit_test(countries_come_from_the_tables),
        cmocka_unit_test(names_are_found_whatever_their_case),
        cmocka_unit_test(only_names_below_the_folder_are_plausible),
        cmocka_unit_test(a_wrong_name_gets_those_that_come_close),
        cmocka_unit_test(filters_narrow_the_list),
        cmocka_unit_test(what_is_no_zone_is_left_out),
        cmocka_unit_test(a_folder_that_is_not_there_has_no_zones),
    };
    return cmocka_run_group_tests(tests, read_samples, free_samples);
}
