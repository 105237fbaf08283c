/* A journal's file as a crash, or a stranger, may have left it, and the records in it. */
#include "base/mem.h"
#include "gateway/call_record.h"
#include "store/journal.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void walk(struct str rest) {
    struct journal_entry e;
    struct call_record r;
    while (journal_next(&rest, &e))
        if (call_record_read(e.data, &r))
            assert(r.tenant.n + r.result.n <= e.data.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    SCOPED(buf_done) struct buf out = { 0 };
    struct str text = str_from((const char *)data, n);
    struct call_record r;
    uint64_t id;
    walk(text);
    call_record_read(text, &r);
    if (!journal_recover(text, &out, &id)) {
        walk(buf_view(&out));
        assert(out.n <= 2 * n + 64);
    }
    return 0;
}
