/* Merge patches (RFC 7396) and secrets that come back as "***". */
#include "base/mem.h"
#include "control/json_patch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static json parse(struct arena *a, const char *text) {
    json v = NULL;
    if (!text)
        return NULL;
    assert_null(json_parse(a, str_of(text), (struct json_limits){ 0 }, &v));
    return v;
}

/* The cases of RFC 7396, appendix A. */
static void patches_as_the_rfc_says(void **state) {
    static const char *const cases[][3] = {
        { "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
        { "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
        { "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
        { "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
        { "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
        { "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
        { "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
        { "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]" },
        { "{\"a\":\"foo\"}", "null", "null" },
        { "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"" },
        { "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
        { "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
        { "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        SCOPED(arena_scope) struct arena a;
        SCOPED(buf_done) struct buf out = { 0 };
        arena_init(&a, NULL, 0);
        struct jw w = jw_init(&out);
        json_merge_write(&w, parse(&a, cases[i][0]), parse(&a, cases[i][1]));
        assert_string_equal(buf_text(&out), cases[i][2]);
    }
}

static void stars_keep_what_is_stored(void **state) {
    static const struct {
        const char *fresh, *stored, *out, *error;
    } cases[] = {
        { "{\"h\":{\"A\":\"***\",\"B\":\"new\"}}", "{\"h\":{\"A\":\"old\"}}",
          "{\"h\":{\"A\":\"old\",\"B\":\"new\"}}", NULL },
        { "{\"l\":[\"x\",\"***\"]}", "{\"l\":[\"a\",\"b\"]}", "{\"l\":[\"x\",\"b\"]}", NULL },
        { "{\"o\":\"***\"}", "{\"o\":{\"deep\":[1]}}", "{\"o\":{\"deep\":[1]}}", NULL },
        { "{\"t\":\"****\"}", NULL, "{\"t\":\"****\"}", NULL },
        { "{\"h\":{\"A\":\"***\"}}", "{\"h\":{}}", NULL, "h.A: ***" },
        { "{\"l\":[1,\"***\"]}", "{\"l\":[1]}", NULL, "l[1]: ***" },
        { "{\"h\":\"***\"}", NULL, NULL, "h: ***" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        SCOPED(arena_scope) struct arena a;
        SCOPED(buf_done) struct buf out = { 0 };
        arena_init(&a, NULL, 0);
        struct jw w = jw_init(&out);
        err_t e = json_restore_secrets(&w, parse(&a, cases[i].fresh), parse(&a, cases[i].stored));
        if (cases[i].error) {
            assert_non_null(e);
            assert_memory_equal(e->text, cases[i].error, strlen(cases[i].error));
        } else {
            assert_null(e);
            assert_string_equal(buf_text(&out), cases[i].out);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_as_the_rfc_says),
        cmocka_unit_test(stars_keep_what_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
