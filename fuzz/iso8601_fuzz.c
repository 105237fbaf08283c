/* iso8601_fuzz.c - any text: what the readers of dates, times and durations accept means the
 * same after it was written and read again. */
#include "servers/time/iso8601.h"
#include <assert.h>

static void check_time(struct str text) {
    char written[ISO_TEXT];
    struct iso_time t, again;
    if (iso_read_time(text, &t) || !t.has_date)
        return;
    assert(t.at.year >= 1 && t.at.year <= 9999 && t.at.second <= 59 &&
           t.at.nano < NANOS_PER_SECOND);
    if (t.at.hour == 24) { /* the only form that is not written */
        t.at = civil_of(civil_local(&t.at), 0);
        if (t.at.year > 9999)
            return;
    }
    assert(!iso_read_time(iso_write_time(&t.at, t.offset, written), &again));
    assert(civil_local(&again.at) == civil_local(&t.at) && again.at.nano == t.at.nano);
    assert(again.offset == t.offset);
    struct civil c = civil_of(civil_local(&t.at), t.at.nano);
    assert(c.year == t.at.year && c.month == t.at.month && c.day == t.at.day);
}

static int64_t seconds_of(const struct span *d) {
    return d->hours * 3600 + d->minutes * 60 + d->seconds;
}

static void check_duration(struct str text) {
    char written[ISO_TEXT];
    struct span d, again;
    if (iso_read_duration(text, &d))
        return;
    assert(!iso_read_duration(iso_write_duration(&d, written), &again));
    assert(again.years == d.years && again.months == d.months && again.weeks == d.weeks);
    assert(again.days == d.days && again.negative == d.negative && again.nano == d.nano);
    assert(seconds_of(&again) == seconds_of(&d));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = str_from((const char *)data, size);
    int offset;
    check_time(text);
    check_duration(text);
    if (iso_read_offset(text, &offset))
        assert(offset > -SECONDS_PER_DAY && offset < SECONDS_PER_DAY);
    return 0;
}
