#include "mcp/revision.h"
#include "mcp/shape.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* P-031, P-042 */
static void revisions_go_by_their_dates(void **state) {
    static const char *const texts[REVISIONS] = { "2024-11-05", "2025-03-26", "2025-06-18",
                                                  "2025-11-25", "2026-07-28" };
    for (int r = R24; r < REVISIONS; r++) {
        assert_true(str_eq(revision_text(r), str_of(texts[r])));
        assert_int_equal(revision_parse(str_of(texts[r])), r);
    }
    assert_int_equal(revision_parse(S("2025-06-19")), REV_NONE);
    assert_int_equal(revision_parse(S("2025-06-18 ")), REV_NONE);
    assert_int_equal(revision_parse(S("")), REV_NONE);
    assert_int_equal(revision_parse((struct str){ 0 }), REV_NONE);
    assert_int_equal(revision_era(R11), ERA_LEGACY);
    assert_int_equal(revision_era(R26), ERA_MODERN);
}

static void every_method_is_found_by_its_name(void **state) {
    for (int m = METHOD_UNKNOWN + 1; m < METHOD_COUNT; m++)
        assert_int_equal(method_parse(method_name(m)), m);
    assert_int_equal(method_parse(S("tools/Call")), METHOD_UNKNOWN); /* P-070 */
    assert_int_equal(method_parse(S("tools/call ")), METHOD_UNKNOWN);
    assert_int_equal(method_parse(S("")), METHOD_UNKNOWN);
}

/* P-049 */
static void methods_exist_in_their_revisions(void **state) {
    assert_true(method_exists(METHOD_INITIALIZE, R11));
    assert_false(method_exists(METHOD_INITIALIZE, R26));
    assert_false(method_exists(METHOD_PING, R26));
    assert_false(method_exists(METHOD_SET_LEVEL, R26));
    assert_false(method_exists(METHOD_RESOURCES_SUBSCRIBE, R26));
    assert_true(method_exists(METHOD_DISCOVER, R26));
    assert_false(method_exists(METHOD_DISCOVER, R11));
    assert_false(method_exists(METHOD_ELICITATION, R03));
    assert_true(method_exists(METHOD_ELICITATION, R06));
    assert_true(method_exists(METHOD_TOOLS_CALL, R24));
    assert_false(method_exists(METHOD_UNKNOWN, R24));
    assert_false(method_exists(METHOD_TOOLS_CALL, REV_NONE));
}

/* P-180 */
static void methods_belong_to_features(void **state) {
    assert_int_equal(method_feature(METHOD_TEMPLATES_LIST), FEATURE_RESOURCES);
    assert_int_equal(method_feature(METHOD_COMPLETE), FEATURE_COMPLETIONS);
    assert_int_equal(method_feature(METHOD_PING), FEATURE_NONE);
}

/* P-230 */
static void log_levels_are_ordered(void **state) {
    assert_int_equal(log_level_parse(S("debug")), 0);
    assert_int_equal(log_level_parse(S("warning")), 3);
    assert_int_equal(log_level_parse(S("emergency")), 7);
    assert_int_equal(log_level_parse(S("warn")), -1);
    for (int level = 0; level < 8; level++)
        assert_int_equal(log_level_parse(log_level_name(level)), level);
}

/* PROTOCOL §0 */
static void members_exist_from_their_addition_to_their_removal(void **state) {
    static const struct {
        enum shape shape;
        const char *member;
        unsigned in;
    } rows[] = {
        { SHAPE_TOOL, "name", ALL_REVS },
        { SHAPE_TOOL, "annotations", ALL_REVS & ~BIT(R24) },
        { SHAPE_TOOL, "title", BIT(R06) | BIT(R11) | BIT(R26) },
        { SHAPE_TOOL, "outputSchema", BIT(R06) | BIT(R11) | BIT(R26) },
        { SHAPE_TOOL, "icons", BIT(R11) | BIT(R26) },
        { SHAPE_TOOL, "execution", BIT(R11) },
        { SHAPE_TOOL, "not known to anybody", ALL_REVS },
        { SHAPE_RESULT, "resultType", BIT(R26) },
        { SHAPE_RESULT_META, "io.modelcontextprotocol/related-task", BIT(R11) },
        { SHAPE_CONTENT_KIND, "audio", ALL_REVS & ~BIT(R24) },
        { SHAPE_CONTENT_KIND, "resource_link", BIT(R06) | BIT(R11) | BIT(R26) },
        { SHAPE_CAPABILITIES, "completions", ALL_REVS & ~BIT(R24) },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (int r = R24; r < REVISIONS; r++)
            if (shape_has(rows[i].shape, str_of(rows[i].member), r) != !!(rows[i].in & BIT(r)))
                fail_msg("%s in %.*s", rows[i].member, STR(revision_text(r)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revisions_go_by_their_dates),
        cmocka_unit_test(every_method_is_found_by_its_name),
        cmocka_unit_test(methods_exist_in_their_revisions),
        cmocka_unit_test(methods_belong_to_features),
        cmocka_unit_test(log_levels_are_ordered),
        cmocka_unit_test(members_exist_from_their_addition_to_their_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
