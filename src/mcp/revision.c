/* revision.c - see revision.h and shape.h. Tables are walked, not hashed: lengths differ
 * nearly everywhere, so a look-up compares the bytes of one or two rows. */
#include "mcp/shape.h"
#include <assert.h>

static const struct revision_data *const revisions[REVISIONS] = {
    [R24] = &rev_2024_11_05, [R03] = &rev_2025_03_26, [R06] = &rev_2025_06_18,
    [R11] = &rev_2025_11_25, [R26] = &rev_2026_07_28,
};

const struct revision_data *revision_data(enum revision r) {
    assert(r >= R24 && r < REVISIONS);
    return revisions[r];
}

struct str revision_text(enum revision r) {
    return r >= R24 && r < REVISIONS ? revisions[r]->text : S("");
}

enum revision revision_parse(struct str text) {
    for (int r = R24; r < REVISIONS; r++)
        if (str_eq(revisions[r]->text, text))
            return (enum revision)r;
    return REV_NONE;
}

/* ---- members ----------------------------------------------------------------------- */

static const struct shape_change *change_of(const struct revision_data *d, enum shape shape,
                                            struct str member) {
    for (size_t i = 0; i < d->change_count; i++)
        if (d->changes[i].shape == shape && str_eq(d->changes[i].member, member))
            return &d->changes[i];
    return NULL;
}

/* The newest change up to `r` decides; without one, a later addition says it is not there yet. */
bool shape_has(enum shape shape, struct str member, enum revision r) {
    const struct shape_change *c;
    for (int at = r; at >= R24; at--)
        if ((c = change_of(revisions[at], shape, member)))
            return !c->removed;
    for (int at = r + 1; at < REVISIONS; at++)
        if ((c = change_of(revisions[at], shape, member)))
            return c->removed;
    return true;
}

/* ---- methods ----------------------------------------------------------------------- */

static const struct row {
    struct str name;
    unsigned revisions;
    enum feature feature;
} rows[METHOD_COUNT] = {
#define X(id, name_, revs, feature_) [METHOD_##id] = { S_INIT(name_), revs, FEATURE_##feature_ },
    METHODS(X)
#undef X
};

enum method method_parse(struct str name) {
    for (int m = METHOD_UNKNOWN + 1; m < METHOD_COUNT; m++)
        if (str_eq(rows[m].name, name))
            return (enum method)m;
    return METHOD_UNKNOWN;
}

struct str method_name(enum method m) {
    return m > METHOD_UNKNOWN && m < METHOD_COUNT ? rows[m].name : S("unknown");
}

bool method_exists(enum method m, enum revision r) {
    return m > METHOD_UNKNOWN && m < METHOD_COUNT && r >= R24 && r < REVISIONS &&
           rows[m].revisions & BIT(r);
}

enum feature method_feature(enum method m) {
    return m > METHOD_UNKNOWN && m < METHOD_COUNT ? rows[m].feature : FEATURE_NONE;
}

/* ---- log levels -------------------------------------------------------------------- */

static const struct str levels[] = {
    S_INIT("debug"), S_INIT("info"),     S_INIT("notice"), S_INIT("warning"),
    S_INIT("error"), S_INIT("critical"), S_INIT("alert"),  S_INIT("emergency"),
};

int log_level_parse(struct str name) {
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        if (str_eq(levels[i], name))
            return (int)i;
    return -1;
}

struct str log_level_name(int level) {
    assert(level >= 0 && (size_t)level < ARRAY_SIZE(levels));
    return levels[level];
}
