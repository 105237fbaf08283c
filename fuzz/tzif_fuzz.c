/* tzif_fuzz.c - any bytes as the file of a time zone, or as a TZ string: what is accepted
 * answers for every instant with a period that holds it, and for every local time. */
#include "base/mem.h"
#include "servers/time/local.h"
#include <assert.h>

static const int64_t instants[] = {
    CIVIL_MIN, -5000000000, -1, 0, 1, 1774747800, 1792886400, 2147483648, 4102444800, CIVIL_MAX,
};

static void check_local(const struct zone *z, int64_t local) {
    struct civil c = civil_of(local, 1), shown;
    struct local_notes notes = { 0 };
    struct instant at;
    struct zone_period p;
    if (local_instant(z, &c, LOCAL_COMPATIBLE, &at, &notes) || local_civil(z, at, &shown, &p))
        return;
    assert(notes.gap || civil_local(&shown) == local);
}

static void check_zone(const struct zone *z) {
    for (size_t i = 0; i < ARRAY_SIZE(instants); i++) {
        struct zone_period p;
        zone_at(z, instants[i], &p);
        assert(p.start <= instants[i] && instants[i] < p.end);
        assert(p.offset > -25 * 3600 - 3600 && p.offset < 26 * 3600);
        check_local(z, instants[i]);
    }
}

static void check_rule(struct str text) {
    struct posix_tz tz;
    if (!posix_tz_read(text, &tz))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(instants); i++) {
        struct zone_period p;
        posix_tz_at(&tz, instants[i], &p);
        assert(p.start <= instants[i] && instants[i] < p.end && p.abbreviation.n >= 3);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str bytes = str_from((const char *)data, size);
    struct zone *z = NULL;
    if (!zone_new(S("Fuzz/Zone"), bytes, &z))
        check_zone(z);
    zone_free(z);
    check_rule(bytes);
    return 0;
}
