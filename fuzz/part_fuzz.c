/* part_fuzz.c - a page of a list, or a catalogue file: what was taken in writes and reads back
 * equal, and merges into a catalogue whose entries are found by what they are shown as. */
#include "base/log.h"
#include "base/mem.h"
#include "gateway/catalogue.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_merge(struct part *p) {
    struct upstream_conf conf = { .name = S("up"), .prefix = true, .rewrite_uris = true };
    struct catalogue_source source = { &conf, p, false };
    struct catalogue *c = catalogue_new(&source, 1, S(""), 1);
    struct access *a = access_compile(c, &source, NULL, NULL, NULL);
    SCOPED(buf_done) struct buf out = { 0 };
    for (enum item_kind kind = ITEM_TOOL; kind < ITEM_KINDS; kind++) {
        for (size_t i = 0; i < c->counts[kind]; i++)
            assert(catalogue_find(c, kind, c->entries[kind][i].shown) == &c->entries[kind][i]);
        catalogue_write_page(&out, c, kind, a, NULL, 0, 10, R24);
    }
    free(a);
    catalogue_free(c);
}

static void check_disk(struct part *p) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct part *back = NULL;
    p->revision = R11;
    part_write(&text, p);
    assert(!part_read(buf_view(&text), &back));
    assert(part_equal(p, back));
    part_unref(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum method lists[] = { METHOD_TOOLS_LIST, METHOD_PROMPTS_LIST, METHOD_RESOURCES_LIST,
                                         METHOD_TEMPLATES_LIST };
    struct str text = str_from((const char *)data, size), cursor;
    struct part *p = part_new(S("up")), *file = NULL;
    log_setup((struct log_conf){ .level = LOG_OFF });
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        part_add_page(p, lists[i], text, &cursor);
    check_disk(p);
    check_merge(p);
    part_unref(p);
    if (!part_read(text, &file))
        check_disk(file);
    part_unref(file);
    return 0;
}
