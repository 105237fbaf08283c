#include "servers/time/zone.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/servers/samples.h"

static void check_instant(const struct zone *z, const struct str columns[4]) {
    struct zone_period p;
    int64_t at = sample_number(columns[1]);
    zone_at(z, at, &p);
    if (p.offset != sample_number(columns[2]) || !str_eq(p.abbreviation, columns[3]))
        fail_msg("%.*s at %" PRId64 ": %d %.*s, Python says %.*s %.*s", STR(zone_name(z)), at,
                 p.offset, STR(p.abbreviation), STR(columns[2]), STR(columns[3]));
    if (at < p.start || at >= p.end)
        fail_msg("%.*s: %" PRId64 " is not in its period", STR(zone_name(z)), at);
}

static void offsets_are_those_that_python_finds(void **state) {
    for (size_t i = 0; i < ARRAY_SIZE(sample_trees); i++)
        assert_true(samples_each(sample_trees[i], "instants.tsv", check_instant) > 2000);
}

static void periods_follow_each_other(void **state) {
    struct zone *z = sample_zone("slim", S("America/New_York"));
    struct zone_period p, next;
    size_t n = 0;
    zone_at(z, -62135596800, &p);
    assert_true(p.start == INT64_MIN);
    assert_true(str_eq(p.abbreviation, S("LMT")));
    for (; p.end < 4102444800; p = next, n++) {
        zone_at(z, p.end, &next);
        assert_true(next.start == p.end && next.end > next.start);
    }
    assert_true(n > 300);
    zone_free(z);
}

static void utc_and_offsets_need_no_file(void **state) {
    SCOPED(arena_scope) struct arena a;
    arena_init(&a, NULL, 0);
    struct zone_period p;
    zone_at(zone_utc, 0, &p);
    assert_int_equal(p.offset, 0);
    assert_true(p.start == INT64_MIN && p.end == INT64_MAX);
    const struct zone *z = zone_fixed(&a, -12600);
    zone_at(z, 0, &p);
    assert_int_equal(p.offset, -12600);
    assert_true(str_eq(zone_name(z), S("-03:30")));
}

/* ---- files made by hand ------------------------------------------------------------ */

static void put32(struct buf *b, uint32_t n) {
    n = __builtin_bswap32(n);
    buf_put(b, &n, 4);
}

static void put64(struct buf *b, uint64_t n) {
    n = __builtin_bswap64(n);
    buf_put(b, &n, 8);
}

struct recipe {
    char version;
    uint32_t leap;
    size_t times;
    int64_t at[3];
    uint8_t index[3];
    int32_t offset; /* of type 1; type 0 is 0 */
    uint8_t dst, name;
    const char *footer; /* with its line ends; NULL: none */
};
#define GOOD { .version = '2', .times = 2, .at = { 0, 100 }, .index = { 1, 0 }, .offset = 3600, .name = 4, .footer = "\n\n" }

static void put_block(struct buf *b, const struct recipe *r, bool wide, char version) {
    buf_str(b, S("TZif"));
    buf_char(b, version);
    for (int i = 0; i < 15; i++)
        buf_char(b, 0);
    uint32_t counts[] = { 0, 0, r->leap, (uint32_t)r->times, 2, 8 };
    for (size_t i = 0; i < 6; i++)
        put32(b, counts[i]);
    for (size_t i = 0; i < r->times; i++)
        wide ? put64(b, (uint64_t)r->at[i]) : put32(b, (uint32_t)r->at[i]);
    buf_put(b, r->index, r->times);
    put32(b, 0);
    buf_put(b, "\0\0", 2);
    put32(b, (uint32_t)r->offset);
    buf_char(b, (char)r->dst);
    buf_char(b, (char)r->name);
    buf_put(b, "STD\0SUM\0", 8);
    for (uint32_t i = 0; i < r->leap * (wide ? 12 : 8); i++)
        buf_char(b, 0);
}

static void put_file(struct buf *b, const struct recipe *r) {
    put_block(b, r, false, r->version);
    if (r->version)
        put_block(b, r, true, r->version);
    if (r->footer)
        buf_str(b, str_of(r->footer));
}

static err_t read_recipe(const struct recipe *r, struct zone **out) {
    SCOPED(buf_done) struct buf b = { 0 };
    put_file(&b, r);
    return zone_new(S("Test/Zone"), buf_view(&b), out);
}

static void version_1_has_32_bit_times(void **state) {
    struct recipe r = GOOD;
    struct zone *z;
    struct zone_period p;
    r.version = '\0';
    r.at[0] = -5;
    r.footer = NULL;
    assert_null(read_recipe(&r, &z));
    zone_at(z, -6, &p);
    assert_true(p.offset == 0 && str_eq(p.abbreviation, S("STD")));
    zone_at(z, -5, &p);
    assert_true(p.offset == 3600 && str_eq(p.abbreviation, S("SUM")) && p.start == -5 &&
                p.end == 100);
    zone_at(z, 100, &p);
    assert_true(p.offset == 0 && p.end == INT64_MAX);
    zone_free(z);
}

static void a_rule_takes_over_after_the_last_change(void **state) {
    struct recipe r = GOOD;
    struct zone *z;
    struct zone_period p;
    r.footer = "\nAAA0BBB,J2/0,J3/0\n";
    assert_null(read_recipe(&r, &z));
    zone_at(z, 50, &p);
    assert_int_equal(p.offset, 3600);
    zone_at(z, 86400, &p);
    assert_true(p.offset == 3600 && p.dst && str_eq(p.abbreviation, S("BBB")));
    zone_at(z, 100, &p);
    assert_true(p.start == 100 && p.end == 86400);
    zone_free(z);
}

#define BAD(member, value) ({ struct recipe r_ = GOOD; r_.member = value; r_; })

static void damaged_files_are_refused_with_their_name(void **state) {
    const struct recipe bad[] = {
        BAD(leap, 1), BAD(at[1], 0), BAD(at[1], -1), BAD(index[0], 2), BAD(dst, 2), BAD(name, 8),
        BAD(offset, -25 * 3600), BAD(offset, 26 * 3600), BAD(offset, INT32_MIN), BAD(footer, NULL),
        BAD(footer, "\n"), BAD(footer, "CET-1\n"), BAD(footer, "\nCET\n"), BAD(footer, "\nCET-1"),
    };
    struct recipe good = GOOD;
    struct zone *z;
    assert_null(read_recipe(&good, &z));
    zone_free(z);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        err_t e = read_recipe(&bad[i], &z);
        if (!e)
            fail_msg("took file %zu", i);
        assert_int_equal(e->kind, ERR_UNAVAILABLE);
        assert_true(str_find(str_of(e->text), S("Test/Zone")) >= 0);
    }
}

static void files_that_are_cut_short_are_refused(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct recipe r = GOOD;
    put_file(&b, &r);
    for (size_t n = 0; n < b.n; n++) {
        struct zone *z = NULL;
        char *exact = memcpy(malloc(n ? n : 1), b.p, n);
        if (!zone_new(S("Cut"), str_from(exact, n), &z))
            fail_msg("took %zu of %zu bytes", n, b.n);
        free(exact);
    }
}

static void any_changed_byte_is_refused_or_harmless(void **state) {
    SCOPED(buf_done) struct buf b = { 0 };
    struct recipe r = GOOD;
    put_file(&b, &r);
    for (size_t i = 0; i < b.n; i++) {
        for (int value = 0; value < 256; value += 17) {
            char before = b.p[i];
            struct zone *z = NULL;
            struct zone_period p;
            b.p[i] = (char)value;
            if (!zone_new(S("Changed"), buf_view(&b), &z)) {
                zone_at(z, 50, &p);
                assert_true(p.start <= 50 && p.end > 50);
            }
            zone_free(z);
            b.p[i] = before;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_those_that_python_finds),
        cmocka_unit_test(periods_follow_each_other),
        cmocka_unit_test(utc_and_offsets_need_no_file),
        cmocka_unit_test(version_1_has_32_bit_times),
        cmocka_unit_test(a_rule_takes_over_after_the_last_change),
        cmocka_unit_test(damaged_files_are_refused_with_their_name),
        cmocka_unit_test(files_that_are_cut_short_are_refused),
        cmocka_unit_test(any_changed_byte_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
