/* samples.h - the zones and questions under tests/corpus/zoneinfo (tools/zone-samples). */
#pragma once
#include "base/mem.h"
#include "servers/time/zone.h"
#include "tests/unit/corpus.h"

static const char *const sample_trees[] = { "slim", "fat" };

static inline struct zone *sample_zone(const char *tree, struct str name) {
    struct buf path = { 0 }, bytes = { 0 };
    struct zone *z = NULL;
    buf_fmt(&path, "%s/zoneinfo/%s/%.*s", CORPUS_DIR, tree, STR(name));
    corpus_read(buf_text(&path), &bytes);
    err_t e = zone_new(name, buf_view(&bytes), &z);
    if (e)
        fail_msg("%s", e->text);
    buf_done(&path);
    buf_done(&bytes);
    return z;
}

/* Calls fn with the columns of each row and the row's zone; rows of a zone stand together. */
typedef void sample_fn(const struct zone *z, const struct str columns[4]);

static inline size_t samples_each(const char *tree, const char *table, sample_fn *fn) {
    struct buf path = { 0 }, text = { 0 };
    struct zone *z = NULL;
    size_t n = 0;
    buf_fmt(&path, "%s/zoneinfo/%s", CORPUS_DIR, table);
    corpus_read(buf_text(&path), &text);
    struct str rest = buf_view(&text);
    for (struct str line = str_cut(&rest, '\n'); line.n; line = str_cut(&rest, '\n'), n++) {
        struct str columns[4];
        for (size_t i = 0; i < 4; i++)
            columns[i] = str_cut(&line, '\t');
        if (!z || !str_eq(zone_name(z), columns[0])) {
            zone_free(z);
            z = sample_zone(tree, columns[0]);
        }
        fn(z, columns);
    }
    zone_free(z);
    buf_done(&path);
    buf_done(&text);
    return n;
}

static inline int64_t sample_number(struct str column) {
    int64_t n = 0;
    if (!str_to_i64(column, &n))
        fail_msg("no number: %.*s", STR(column));
    return n;
}
