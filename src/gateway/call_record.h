/* call_record.h - one finished call as a record of the journal (store/journal.h): what the
 * history keeps of it. Written by exchange.c's account, read by control/history_drain.c.
 */
#pragma once
#include "base/clock.h"
#include "gateway/exchange.h"

/* The texts of a record, in their order in it. */
#define CALL_TEXTS(X)                                                                              \
    X(tenant) X(key_id) X(key_name) X(tool) X(upstream) X(outcome) X(request_id) X(trace_id)       \
    X(arguments) X(result)

struct call_record {
    nanos at;       /* wall clock, when the answer was ready to leave */
    nanos duration;
    uint64_t request_bytes, response_bytes;
    int32_t error_code;
    enum method method;
#define X(name) struct str name;
    CALL_TEXTS(X)
#undef X
};

/* False when it is none: cut short, or of another version. Texts point into `data`. */
bool call_record_read(struct str data, struct call_record *out);

/* Appends the exchange to its worker's journal: no lock, no allocation. Only for methods that
 * the history keeps; nothing happens where there is no journal. */
void call_record_write(struct exchange *x, nanos took);
/* Of an answer on its way: its size, and a piece of it where payloads are kept. */
void call_record_answer(struct exchange *x, const struct str *pieces, size_t n, bool failed);
