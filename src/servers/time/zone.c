/* zone.c - see zone.h. */
#include "servers/time/zone.h"
#include "base/mem.h"
#include "servers/time/iso8601.h"
#include <assert.h>

struct zone_type {
    int offset;
    bool dst;
    struct str abbreviation;
};

struct zone {
    struct str name;
    size_t changes;
    const int64_t *at;      /* ascending */
    const uint8_t *type_of; /* after change i */
    const struct zone_type *types; /* the first one holds before all changes */
    bool has_rule;          /* else the last type goes on */
    struct posix_tz rule;
};

/* ---- reading TZif ------------------------------------------------------------------ */

#define MAGIC S("TZif")
#define HEADER 44
#define TYPE 6 /* bytes of a local time type record */

struct counts { /* in the order of the header */
    uint32_t isut, isstd, leap, time, type, chars;
};

/* Data after one header; the second block of version 2 and above has 64-bit times. */
struct block {
    struct counts n;
    unsigned width; /* of a time */
    struct str times, indexes, types, chars;
};

static uint32_t be32(const char *p) {
    uint32_t n;
    memcpy(&n, p, sizeof n);
    return __builtin_bswap32(n);
}

static int64_t be_time(const char *p, unsigned width) {
    uint64_t n;
    if (width == 4)
        return (int32_t)be32(p);
    memcpy(&n, p, sizeof n);
    return (int64_t)__builtin_bswap64(n);
}

static bool take_bytes(struct str *in, uint64_t n, struct str *out) {
    if (in->n < n)
        return false;
    *out = str_head(*in, n);
    *in = str_skip(*in, n);
    return true;
}

static bool take_header(struct str *in, struct counts *out, char *version) {
    struct str head;
    if (!take_bytes(in, HEADER, &head) || !str_starts(head, MAGIC))
        return false;
    *version = head.p[4];
    uint32_t *counts[] = {
        &out->isut, &out->isstd, &out->leap, &out->time, &out->type, &out->chars
    };
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        *counts[i] = be32(head.p + 20 + 4 * i);
    return true;
}

static bool take_block(struct str *in, const struct counts *n, unsigned width, struct block *out) {
    struct str unused;
    *out = (struct block){ .n = *n, .width = width };
    return take_bytes(in, (uint64_t)n->time * width, &out->times) &&
           take_bytes(in, n->time, &out->indexes) &&
           take_bytes(in, (uint64_t)n->type * TYPE, &out->types) &&
           take_bytes(in, n->chars, &out->chars) &&
           take_bytes(in, (uint64_t)n->leap * (width + 4), &unused) &&
           take_bytes(in, n->isstd, &unused) && take_bytes(in, n->isut, &unused);
}

/* The block with the widest times, and the footer between its line ends. NULL when well. */
static const char *take_file(struct str in, struct block *out, struct str *footer) {
    static const char cut[] = "is no TZif file, or is cut short";
    struct counts n;
    char version;
    *footer = S("");
    if (!take_header(&in, &n, &version) || !take_block(&in, &n, 4, out))
        return cut;
    if (version == '\0')
        return NULL;
    if (!take_header(&in, &n, &version) || !take_block(&in, &n, 8, out))
        return cut;
    if (in.n < 2 || in.p[0] != '\n')
        return "has no footer";
    struct str rest = str_skip(in, 1);
    *footer = str_cut(&rest, '\n');
    return rest.p ? NULL : "has no footer";
}

static bool read_type(const struct block *b, size_t i, struct str chars, struct zone_type *out) {
    const char *record = b->types.p + i * TYPE;
    unsigned name = (unsigned char)record[5];
    if (name >= chars.n)
        return false;
    struct str tail = str_skip(chars, name);
    size_t length = strnlen(tail.p, tail.n);
    *out = (struct zone_type){
        .offset = (int32_t)be32(record), .dst = record[4] == 1, .abbreviation = str_head(tail, length),
    };
    /* RFC 9636 §3.2: 0 or 1; more than -25 hours and less than 26 */
    return (record[4] == 0 || record[4] == 1) && length < tail.n && out->offset > -25 * 3600 &&
           out->offset < 26 * 3600;
}

static bool read_types(const struct block *b, struct str chars, struct zone_type *types) {
    for (size_t i = 0; i < b->n.type; i++)
        if (!read_type(b, i, chars, &types[i]))
            return false;
    return true;
}

static bool read_changes(const struct block *b, int64_t *at) {
    for (size_t i = 0; i < b->n.time; i++) {
        at[i] = be_time(b->times.p + i * b->width, b->width);
        if ((i && at[i] <= at[i - 1]) || (unsigned char)b->indexes.p[i] >= b->n.type)
            return false;
    }
    return true;
}

/* Everything behind the struct itself, the most aligned first. */
static struct zone *allocate(const struct block *b, struct str name, char **out_rest) {
    size_t times = b->n.time * sizeof(int64_t), types = b->n.type * sizeof(struct zone_type);
    struct zone *z = mem_zero(sizeof *z + times + types + b->n.time + b->n.chars + name.n);
    char *at = (char *)(z + 1);
    z->at = (int64_t *)at;
    z->types = (struct zone_type *)(at + times);
    z->type_of = (uint8_t *)(at + times + types);
    *out_rest = at + times + types + b->n.time;
    return z;
}

static struct str put(char **at, struct str s) {
    struct str copy = { *at, s.n };
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

static const char *fill(struct zone *z, const struct block *b, struct str footer, char *rest,
                        struct str name) {
    z->changes = b->n.time;
    struct str chars = put(&rest, b->chars);
    z->name = put(&rest, name);
    if (b->n.time)
        memcpy((uint8_t *)z->type_of, b->indexes.p, b->n.time);
    if (!read_types(b, chars, (struct zone_type *)z->types))
        return "has a local time type out of bounds";
    if (!read_changes(b, (int64_t *)z->at))
        return "has changes out of order or of unknown type";
    z->has_rule = footer.n > 0;
    return !z->has_rule || posix_tz_read(footer, &z->rule) ? NULL
                                                           : "has a footer that is no TZ string";
}

err_t zone_new(struct str name, struct str tzif, struct zone **out) {
    struct block b;
    struct str footer;
    char *rest;
    const char *wrong = take_file(tzif, &b, &footer);
    if (!wrong && b.n.leap)
        wrong = "counts leap seconds, POSIX time does not";
    if (!wrong && (b.n.type == 0 || b.n.type > 256))
        wrong = "has no local time type, or too many";
    if (wrong)
        return ERR(UNAVAILABLE, "the file of time zone %.*s %s", STR(name), wrong);
    struct zone *z = allocate(&b, name, &rest);
    wrong = fill(z, &b, footer, rest, name);
    if (wrong) {
        zone_free(z);
        return ERR(UNAVAILABLE, "the file of time zone %.*s %s", STR(name), wrong);
    }
    *out = z;
    return OK;
}

void zone_free(struct zone *z) {
    free(z);
}

/* ---- zones without a file ---------------------------------------------------------- */

static const struct zone_type utc_type = { .abbreviation = S_INIT("UTC") };
static const struct zone utc = { .name = S_INIT("UTC"), .types = &utc_type };
const struct zone *const zone_utc = &utc;

const struct zone *zone_fixed(struct arena *a, int offset) {
    char text[ISO_TEXT];
    struct zone *z = ARENA_NEW(a, struct zone);
    struct zone_type *type = ARENA_NEW(a, struct zone_type);
    z->name = arena_dup(a, iso_write_offset(offset, text));
    *type = (struct zone_type){ .offset = offset, .abbreviation = z->name };
    z->types = type;
    return z;
}

/* ---- asking ------------------------------------------------------------------------ */

struct str zone_name(const struct zone *z) {
    return z->name;
}

/* How many changes have happened at that instant. */
static size_t changes_until(const struct zone *z, int64_t seconds) {
    size_t low = 0, high = z->changes;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (z->at[middle] <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void zone_at(const struct zone *z, int64_t seconds, struct zone_period *out) {
    size_t n = changes_until(z, seconds);
    int64_t start = n ? z->at[n - 1] : INT64_MIN;
    if (z->has_rule && n == z->changes) {
        posix_tz_at(&z->rule, seconds, out);
        if (out->start < start)
            out->start = start;
        return;
    }
    const struct zone_type *type = &z->types[n ? z->type_of[n - 1] : 0];
    *out = (struct zone_period){
        .start = start, .end = n < z->changes ? z->at[n] : INT64_MAX, .offset = type->offset,
        .dst = type->dst, .abbreviation = type->abbreviation,
    };
}
