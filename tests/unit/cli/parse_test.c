#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/field.h"
#include "cli/cli.h"
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static int nothing(struct cli *c) {
    return 0;
}

static const char *const forms[] = { "table", "json", NULL };
static const struct cli_option show_options[] = {
    { "output", "FORMAT", NULL, false, "form", 'o', forms },
    { "key", "KEY", "GATESPAN_TEST_KEY", false, "key", 'k' },
    { "allow", "GLOB", NULL, true, "globs", 0 },
    { "all", NULL, NULL, false, "everything", 'a' },
    { "wait", "DURATION", NULL, false, "how long", 0 },
};
static const struct command show = {
    .name = "show", .words = "NAME [MORE]", .summary = "show one", .options = show_options,
    .option_count = ARRAY_SIZE(show_options), .least_words = 1, .most_words = 2, .run = nothing,
};
static const struct command list = {
    .name = "list", .words = "", .summary = "list all", .run = nothing
};
static const struct command *const key_subs[] = { &show, &list };
static const struct command keys = {
    .name = "keys", .words = "", .summary = "keys", .subs = key_subs, .sub_count = 2
};
static const struct command *const root_subs[] = { &keys, &list };
static const struct command root = {
    .name = "gatespan", .words = "", .summary = "all", .subs = root_subs, .sub_count = 2
};

static struct cli c;

static int set_up(void **state) {
    memset(&c, 0, sizeof c);
    arena_init(&c.arena, NULL, 0);
    unsetenv("GATESPAN_TEST_KEY");
    return 0;
}

static int tear_down(void **state) {
    arena_done(&c.arena);
    return 0;
}

static int parse(int argc, const char **argv) {
    return cli_parse(&c, &root, argc, (char **)argv);
}

#define PARSE(...)                                                                                 \
    parse(sizeof((const char *[]){ "gatespan", ##__VA_ARGS__ }) / sizeof(char *),                  \
          (const char *[]){ "gatespan", ##__VA_ARGS__ })
#define assert_option(name, expected)                                                              \
    do {                                                                                           \
        struct str s_ = cli_get(&c, name);                                                         \
        assert_non_null(s_.p);                                                                     \
        assert_true(str_eq(s_, str_of(expected)));                                                 \
    } while (0)

static void words_lead_to_a_command_and_the_rest_is_its_own(void **state) {
    assert_int_equal(PARSE("keys", "show", "a", "b"), 0);
    assert_ptr_equal(c.command, &show);
    assert_string_equal(c.path, "keys show");
    assert_int_equal(c.word_count, 2);
    assert_true(str_eq(c.words[1], S("b")));
}

static void an_option_has_four_spellings(void **state) {
    static const char *const spellings[][2] = { { "--output", "json" }, { "--output=json", NULL },
                                                { "-o", "json" }, { "-ojson", NULL } };
    for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
        set_up(state);
        const char *argv[] = { "gatespan", "keys", "show", "a", spellings[i][0], spellings[i][1] };
        assert_int_equal(parse(spellings[i][1] ? 6 : 5, argv), 0);
        assert_option("output", "json");
        assert_int_equal(c.word_count, 1);
        tear_down(state);
    }
}

static void letters_of_switches_may_stand_together(void **state) {
    assert_int_equal(PARSE("keys", "show", "-qao", "json", "a"), 0);
    assert_true(cli_has(&c, "quiet"));
    assert_true(cli_has(&c, "all"));
    assert_option("output", "json");
}

static void common_options_may_stand_before_the_command(void **state) {
    assert_int_equal(PARSE("-q", "--color", "never", "list"), 0);
    assert_true(cli_has(&c, "quiet"));
    assert_option("color", "never");
}

static void two_dashes_end_the_options_and_one_is_a_word(void **state) {
    assert_int_equal(PARSE("keys", "show", "-", "--", "--all"), 0);
    assert_int_equal(c.word_count, 2);
    assert_false(cli_has(&c, "all"));
}

static void the_environment_stands_in_and_the_command_line_wins(void **state) {
    setenv("GATESPAN_TEST_KEY", "from the environment", 1);
    assert_int_equal(PARSE("keys", "show", "a"), 0);
    assert_option("key", "from the environment");
    tear_down(state);
    set_up(state);
    setenv("GATESPAN_TEST_KEY", "from the environment", 1);
    assert_int_equal(PARSE("keys", "show", "a", "--key", "given"), 0);
    assert_option("key", "given");
}

static void a_repeatable_option_keeps_all_in_order(void **state) {
    struct str_list all;
    assert_int_equal(PARSE("keys", "show", "a", "--allow", "x", "--allow=y"), 0);
    cli_all(&c, "allow", &all);
    assert_int_equal(all.n, 2);
    assert_true(str_eq(all.items[0], S("x")) && str_eq(all.items[1], S("y")));
}

static void help_wins_over_every_mistake(void **state) {
    assert_int_equal(PARSE("keys", "show", "--nonsense", "--help"), 0);
    assert_true(c.help);
    assert_ptr_equal(c.command, &show);
    set_up(state);
    assert_int_equal(PARSE("help", "keys"), 0);
    assert_true(c.help);
    assert_ptr_equal(c.command, &keys);
}

static void mistakes_are_usage_errors(void **state) {
    static const char *const wrong[][6] = {
        { "kyes" }, { "keys" }, { "keys", "shw" }, { "keys", "show" }, { "keys", "show", "a", "b", "c" },
        { "keys", "show", "a", "--outptu", "json" }, { "keys", "show", "a", "--output" }, { "keys", "show", "a", "-o" },
        { "keys", "show", "a", "-x" }, { "keys", "show", "a", "--output", "xml" }, { "keys", "show", "a", "--all=yes" },
        { "keys", "show", "a", "--=x" }, { "list", "--color", "blue" }, { "list", "word" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        const char *argv[8] = { "gatespan" };
        int n = 1;
        for (int k = 0; k < 6 && wrong[i][k]; k++)
            argv[n++] = wrong[i][k];
        set_up(state);
        assert_int_equal(parse(n, argv), EXIT_USAGE);
        tear_down(state);
    }
}

static void more_options_than_there_is_room_for_are_refused(void **state) {
    static const char *argv[2 * CLI_VALUES] = { "gatespan", "keys", "show", "a" };
    int n = 4;
    while (n < 2 * CLI_VALUES)
        argv[n++] = "-a";
    assert_int_equal(parse(n, argv), EXIT_USAGE);
}

static void durations_are_read_and_checked(void **state) {
    int64_t wait = 0;
    assert_int_equal(PARSE("keys", "show", "a", "--wait", "30s"), 0);
    assert_int_equal(cli_duration(&c, "wait", 1, &wait), 0);
    assert_int_equal(wait, INT64_C(30000000000));
    set_up(state);
    assert_int_equal(PARSE("keys", "show", "a", "--wait", "soon"), 0);
    assert_int_equal(cli_duration(&c, "wait", 1, &wait), EXIT_USAGE);
    set_up(state);
    assert_int_equal(PARSE("keys", "show", "a"), 0);
    assert_int_equal(cli_duration(&c, "wait", 7, &wait), 0);
    assert_int_equal(wait, 7);
}

static void colour_is_never_where_nobody_looks_and_where_it_is_not_wanted(void **state) {
    FILE *file = tmpfile();
    setenv("NO_COLOR", "1", 1);
    assert_int_equal(PARSE("list"), 0);
    assert_false(cli_color(&c, file));
    set_up(state);
    assert_int_equal(PARSE("list", "--color=always"), 0);
    assert_true(cli_color(&c, file));
    unsetenv("NO_COLOR");
    set_up(state);
    assert_int_equal(PARSE("list"), 0);
    assert_false(cli_color(&c, file));
    fclose(file);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(words_lead_to_a_command_and_the_rest_is_its_own),
        T(an_option_has_four_spellings),
        T(letters_of_switches_may_stand_together),
        T(common_options_may_stand_before_the_command),
        T(two_dashes_end_the_options_and_one_is_a_word),
        T(the_environment_stands_in_and_the_command_line_wins),
        T(a_repeatable_option_keeps_all_in_order),
        T(help_wins_over_every_mistake),
        T(mistakes_are_usage_errors),
        T(more_options_than_there_is_room_for_are_refused),
        T(durations_are_read_and_checked),
        T(colour_is_never_where_nobody_looks_and_where_it_is_not_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
