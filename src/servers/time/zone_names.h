/* zone_names.h - which zones a zoneinfo folder has, and how people call them.
 *
 * The folder itself is the list: what is there can be used. Countries come from its zone.tab
 * and iso3166.tab, where it has them.
 *
 * Threads  immutable once read
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

struct zone_country {
    struct str code, name; /* "JP", "Japan" */
};
struct zone_entry {
    struct str name;                    /* "Asia/Tokyo" */
    const struct zone_country *country; /* NULL: of no one country, or an old name */
};
struct zone_names {
    struct arena arena;
    struct zone_entry *items; /* by name */
    size_t n;
    struct zone_country *countries;
    size_t country_count;
};

#define ZONE_NAMES_MAX 4096 /* real folders have 600 */

/* Blocks; NOT_FOUND when there is no such folder. */
err_t zone_names_read(struct str folder, struct zone_names **out);
void zone_names_free(struct zone_names *names);

/* True for names that can be a zone below the folder: letters, digits, "_", "-", "+" in parts
 * between slashes, so nothing leads out of it; and neither the copies in posix/ and right/
 * nor names that mean another zone on every machine. */
bool zone_name_is_plausible(struct str name);

/* The same name whatever its case, and with spaces for "_"; NULL when there is none. */
const struct zone_entry *zone_names_find(const struct zone_names *names, struct str name);

/* Up to three names that were probably meant ("Paris", "Europe/Pariss", "PST"), as text with
 * commas; empty when nothing comes close. */
struct str zone_names_suggest(const struct zone_names *names, struct str name, struct arena *a);

/* What zone is asked for; an empty member asks for nothing. Case does not count. */
struct zone_filter {
    struct str prefix;
    struct str region;  /* the first part of the name: "Europe" */
    struct str country; /* code or name */
    struct str search;  /* in name or name of the country */
};
bool zone_entry_matches(const struct zone_entry *e, const struct zone_filter *f);
