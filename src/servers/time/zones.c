/* zones.c - see zones.h. A hash table of chains that only grow at their heads: an entry is
 * published whole, by one atomic store, so readers need no lock. */
#include "servers/time/zones.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "servers/time/iso8601.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS 256 /* for 600 zones at most */

struct entry {
    struct zone *zone;
    struct entry *next;
};

struct zones {
    char *folder;
    struct entry *buckets[BUCKETS];
    struct zone_names *names; /* NULL until asked for */
    pthread_mutex_t adding;
};

struct zones *zones_new(struct str folder) {
    struct zones *zones = NEW(struct zones);
    zones->folder = mem_text(folder.p, folder.n);
    pthread_mutex_init(&zones->adding, NULL);
    return zones;
}

static void free_chain(struct entry *e) {
    while (e) {
        struct entry *next = e->next;
        zone_free(e->zone);
        free(e);
        e = next;
    }
}

void zones_free(struct zones *zones) {
    if (!zones)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        free_chain(zones->buckets[i]);
    zone_names_free(zones->names);
    pthread_mutex_destroy(&zones->adding);
    free(zones->folder);
    free(zones);
}

static struct entry **bucket_of(struct zones *zones, struct str name) {
    return &zones->buckets[hash_str(name) % BUCKETS];
}

static const struct zone *find(struct zones *zones, struct str name) {
    struct entry *e = __atomic_load_n(bucket_of(zones, name), __ATOMIC_ACQUIRE);
    for (; e; e = e->next)
        if (str_eq(zone_name(e->zone), name))
            return e->zone;
    return NULL;
}

/* Keeps the zone, or the one that another thread was quicker to read. */
static const struct zone *keep(struct zones *zones, struct zone *made) {
    struct str name = zone_name(made);
    pthread_mutex_lock(&zones->adding);
    const struct zone *kept = find(zones, name);
    if (!kept) {
        struct entry **bucket = bucket_of(zones, name);
        struct entry *e = NEW(struct entry);
        *e = (struct entry){ .zone = made, .next = *bucket };
        __atomic_store_n(bucket, e, __ATOMIC_RELEASE);
        kept = made;
    }
    pthread_mutex_unlock(&zones->adding);
    if (kept != made)
        zone_free(made);
    return kept;
}

/* ---- on the blocking pool ---------------------------------------------------------- */

static void fd_scope(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

/* NOT_FOUND when there is no such file. A name is safe, so it stays below the folder. */
static err_t read_file(const char *folder, struct str name, struct buf *out) {
    char path[2048];
    struct stat st;
    if ((size_t)snprintf(path, sizeof path, "%s/%.*s", folder, STR(name)) >= sizeof path)
        return ERR(NOT_FOUND, "the path of %.*s is too long", STR(name));
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOTDIR)
        return ERR(NOT_FOUND, "%s is no file", path);
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_errno(errno, "opening %s", path);
    if (!S_ISREG(st.st_mode))
        return ERR(NOT_FOUND, "%s is no file", path);
    if ((size_t)st.st_size > ZONE_FILE_MAX)
        return ERR(UNAVAILABLE, "%s is too large for a time zone", path);
    buf_reserve(out, (size_t)st.st_size);
    ssize_t n = read(fd, out->p, (size_t)st.st_size);
    if (n < 0)
        return err_errno(errno, "reading %s", path);
    out->n = (size_t)n;
    return OK;
}

static err_t load(struct zones *zones, struct str name, const struct zone **out) {
    SCOPED(buf_done) struct buf bytes = { 0 };
    struct zone *made = NULL;
    *out = find(zones, name);
    if (*out)
        return OK;
    TRY(read_file(zones->folder, name, &bytes));
    TRY(zone_new(name, buf_view(&bytes), &made));
    *out = keep(zones, made);
    return OK;
}

static const struct zone_names *known_names(struct zones *zones) {
    return __atomic_load_n(&zones->names, __ATOMIC_ACQUIRE);
}

static err_t load_names(struct zones *zones) {
    struct zone_names *made = NULL, *none = NULL;
    if (known_names(zones))
        return OK;
    TRY(zone_names_read(str_of(zones->folder), &made));
    if (!__atomic_compare_exchange_n(&zones->names, &none, made, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        zone_names_free(made);
    return OK;
}

/* The name as it is written, else as the list of names has it; suggestions otherwise. */
struct request {
    struct zones *zones;
    struct str name;
    const struct zone *zone;
    struct arena *arena; /* of the caller, who waits */
};

static err_t no_zones(const struct zones *zones) {
    return ERR(UNAVAILABLE,
               "no time zone data in %s: install the package tzdata, or point the option zoneinfo "
               "of the server to its folder; UTC and offsets such as +02:00 work without",
               zones->folder);
}

static err_t unknown(const struct request *r, const struct zone_names *names) {
    struct str meant = zone_names_suggest(names, r->name, r->arena);
    struct str asked = str_head(r->name, 64);
    if (meant.n)
        return ERR(INVALID, "\"%.*s\" is no IANA time zone; did you mean %.*s?", STR(asked),
                   STR(meant));
    return ERR(INVALID,
               "\"%.*s\" is no IANA time zone such as Europe/Paris; list_time_zones finds names",
               STR(asked));
}

static err_t get(void *arg, const bool *cancelled) {
    struct request *r = arg;
    if (zone_name_is_plausible(r->name)) {
        err_t e = load(r->zones, r->name, &r->zone);
        if (!e || e->kind != ERR_NOT_FOUND)
            return e;
    }
    if (load_names(r->zones))
        return no_zones(r->zones);
    const struct zone_names *names = known_names(r->zones);
    const struct zone_entry *found = zone_names_find(names, r->name);
    return found ? load(r->zones, found->name, &r->zone) : unknown(r, names);
}

static err_t get_names(void *arg, const bool *cancelled) {
    struct zones *zones = arg;
    return load_names(zones) ? no_zones(zones) : OK;
}

struct batch {
    struct zones *zones;
    const struct zone_entry *const *entries;
    size_t n;
    const struct zone **out;
};

static err_t get_batch(void *arg, const bool *cancelled) {
    struct batch *b = arg;
    for (size_t i = 0; i < b->n && !work_cancelled(cancelled); i++)
        if (load(b->zones, b->entries[i]->name, &b->out[i]))
            b->out[i] = NULL;
    return OK;
}

/* ---- public ------------------------------------------------------------------------ */

static err_t run(struct task *t, work_fn *fn, void *arg) {
    static const bool never;
    return t ? work_run(t, fn, arg) : fn(arg, &never);
}

static bool without_file(struct str name, struct arena *a, const struct zone **out) {
    int offset;
    bool utc = str_eq(name, S("UTC")) || str_eq_nocase(name, S("Z"));
    if (!utc && !iso_read_offset(name, &offset))
        return false;
    *out = utc ? zone_utc : zone_fixed(a, offset);
    return true;
}

err_t zones_get(struct task *t, struct zones *zones, struct str name, struct arena *a,
                const struct zone **out) {
    if (without_file(name, a, out))
        return OK;
    *out = find(zones, name);
    if (*out)
        return OK;
    struct request r = { .zones = zones, .name = name, .arena = a };
    TRY(run(t, get, &r));
    *out = r.zone;
    return OK;
}

err_t zones_names(struct task *t, struct zones *zones, const struct zone_names **out) {
    if (!known_names(zones))
        TRY(run(t, get_names, zones));
    *out = known_names(zones);
    return OK;
}

err_t zones_get_all(struct task *t, struct zones *zones, const struct zone_entry *const *entries,
                    size_t n, const struct zone **out) {
    bool missing = false;
    for (size_t i = 0; i < n; i++) {
        out[i] = find(zones, entries[i]->name);
        missing |= !out[i];
    }
    struct batch b = { .zones = zones, .entries = entries, .n = n, .out = out };
    return missing ? run(t, get_batch, &b) : OK;
}
