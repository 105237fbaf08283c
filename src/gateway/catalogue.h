/* catalogue.h - what the upstreams offer, merged, named, compiled.
 *
 * Each upstream delivers a part: its own lists as raw JSON items. The control worker
 * merges all parts into one immutable catalogue: shown names and URIs, look-up tables,
 * order (P-603), collisions, profiles. Data-plane code only looks up.
 *
 * Threads  parts and catalogues are immutable once built; any worker reads
 * Memory   parts are reference-counted (atomic); a catalogue owns an arena and its parts
 */
#pragma once
#include "base/map.h"
#include "gateway/conf.h"
#include "mcp/translate.h"
#include "mcp/uri.h"

enum item_kind { ITEM_TOOL, ITEM_PROMPT, ITEM_RESOURCE, ITEM_TEMPLATE, ITEM_KINDS };

/* Whether a tool's calls may be tasks (P-203). */
enum task_support { TASK_FORBIDDEN, TASK_OPTIONAL, TASK_REQUIRED };

struct part_item {
    struct str raw;       /* the item as its server spelled it */
    struct str name;      /* unescaped; for resources the URI, for templates the uriTemplate */
    bool safe_to_repeat;  /* readOnlyHint or idempotentHint (P-645) */
    enum task_support task_support; /* tools: as `execution` says */
    json value;           /* parsed raw */
    json header_params;   /* tools: see entry */
};

struct part {
    int refs;
    struct arena arena;
    struct str upstream;
    enum revision revision;   /* its own */
    struct capabilities has;
    struct str instructions, server_info;
    struct part_item *items[ITEM_KINDS];
    size_t counts[ITEM_KINDS];
    bool stale;               /* read from disk, not from the live server */
};
struct part *part_new(struct str upstream);
struct part *part_ref(struct part *p);
void part_unref(struct part *p);
/* Adds the items of one list result (raw object) of a method such as METHOD_TOOLS_LIST;
 * items that break the protocol (no name, no inputSchema, invalid x-mcp-header P-078) are
 * left out, each with a warning in the log. *cursor is the raw nextCursor, p NULL at the end. */
err_t part_add_page(struct part *p, enum method list, struct str result, struct str *cursor);
/* The last known catalogue on disk: whole parts as JSON. */
void part_write(struct buf *out, const struct part *p);
err_t part_read(struct str text, struct part **out);
bool part_equal(const struct part *a, const struct part *b);

struct entry {
    enum item_kind kind;
    unsigned upstream;        /* index in the snapshot's upstreams */
    unsigned index;           /* position in the catalogue: bit in access sets */
    struct str shown;         /* name or URI that clients use */
    struct str name;          /* what the upstream calls it */
    struct str raw;           /* its item */
    bool safe_to_repeat;
    enum task_support task_support; /* tools: what its upstream takes; clients see no REQUIRED */
    json header_params;       /* tools: annotations as in param_schema.h; NULL: none */
    uint32_t metric;          /* series slots of the data plane, by index */
};

struct catalogue {
    struct arena arena;
    uint64_t generation;
    struct entry *entries[ITEM_KINDS]; /* in list order */
    size_t counts[ITEM_KINDS];
    size_t *first[ITEM_KINDS]; /* by upstream index, part_count + 1: where its entries begin */
    size_t total;             /* entries of all kinds: bits of an access set */
    struct map by_shown[ITEM_KINDS]; /* struct entry * */
    struct capabilities has;  /* of all (P-625) */
    struct str instructions;  /* merged, capped (P-628) */
    struct str missing;       /* raw array of names of upstreams that do not answer; or empty */
    struct part **parts;      /* by upstream index; NULL where nothing is known */
    size_t part_count;
    uint64_t kind_digest[ITEM_KINDS]; /* of the shown lists: equal means no list_changed */
};

/* One per configured upstream, in the order of the file; part NULL when nothing is known. */
struct catalogue_source {
    const struct upstream_conf *conf;
    struct part *part;
    bool missing; /* not answering now (part may still be the last known) */
};
struct catalogue *catalogue_new(const struct catalogue_source *sources, size_t n,
                                struct str instructions, uint64_t generation);
void catalogue_free(struct catalogue *c);

struct access;
/* The merged instructions again, of the upstreams in `access` alone: for profiles that choose. */
struct str catalogue_instructions(const struct catalogue *c, const struct access *access,
                                  struct arena *a, struct str own);

/* By the name or URI a client used, among what the upstreams listed: one look-up. NULL: unknown. */
const struct entry *catalogue_find(const struct catalogue *c, enum item_kind kind,
                                   struct str shown);
struct resource_route {
    unsigned upstream;
    struct str original; /* in the arena given, or borrowed */
    const struct entry *entry; /* may be a template's; NULL: see access_allows_uri */
};
/* Whose the URI is: exact among the listed ones, else one that carries a known upstream's
 * name, else a template that matches, in list order (P-638). False: nobody's. */
bool catalogue_route_uri(const struct catalogue *c, const struct catalogue_source *sources,
                         size_t n, struct arena *a, struct str shown, struct resource_route *out);

/* ---- what one caller sees ---------------------------------------------------------- */

/* Compiled from profile and grants over one catalogue: a bit per entry. */
struct access {
    uint64_t generation; /* of the catalogue it was compiled for */
    uint64_t digest;     /* of the bits: key of ready-made pages (DESIGN decision 9) */
    size_t bits;         /* of entries; one for each upstream follows */
    struct str_list profile_allow, profile_deny, allow, deny; /* copies, for access_allows_uri */
    uint64_t words[];    /* malloc'd as one block with the copies */
};
static inline bool access_has(const struct access *a, unsigned index) {
    return a->words[index / 64] >> (index % 64) & 1;
}
/* The upstream is in the profile. */
static inline bool access_has_upstream(const struct access *a, size_t upstream) {
    return access_has(a, (unsigned)(a->bits + upstream));
}
/* A URI that carries the upstream's name but is in no list: links in answers lead there. The
 * upstream must be in the profile, the URI must pass the globs. */
bool access_allows_uri(const struct access *a, unsigned upstream, struct str shown);
/* A deny glob of the profile or the key names this very URI. */
bool access_denies_uri(const struct access *a, struct str shown);
/* Why somebody sees an entry of an upstream, or does not: the first step that says no. The bits
 * of access_compile come from this very function. */
enum access_step {
    ACCESS_SEEN,
    ACCESS_OUTSIDE_PROFILE, /* the profile does not have the upstream */
    ACCESS_PROFILE_ALLOW,   /* no allow glob of the profile matches */
    ACCESS_PROFILE_DENY,    /* a deny glob of the profile does */
    ACCESS_KEY_ALLOW,
    ACCESS_KEY_DENY
};
struct access_reason {
    enum access_step step;
    struct str glob; /* of the DENY steps: the one that matches */
};
struct access_rules { /* none may be NULL */
    const struct str_list *profile_allow, *profile_deny, *allow, *deny;
};
struct access_reason access_decide(bool in_profile, const struct access_rules *rules,
                                   struct str shown);
bool access_in_profile(const struct profile_conf *profile, struct str upstream); /* NULL: all are */
/* `profile`, `allow` and `deny` may be NULL. */
struct access *access_compile(const struct catalogue *c, const struct catalogue_source *sources,
                              const struct profile_conf *profile, const struct str_list *allow,
                              const struct str_list *deny);

/* An entry's name in a profile (NULL: none); empty when something else was renamed to it. */
struct str catalogue_name(const struct profile_conf *profile, const struct entry *e);

/* Writes one page of a list result's array member and nextCursor: entries of `kind` from
 * position `from` on that are in `access`, at most `limit`, as revision `to` has them,
 * under the profile's renames. Returns the position of the next page, 0 at the end. */
size_t catalogue_write_page(struct buf *out, const struct catalogue *c, enum item_kind kind,
                            const struct access *access, const struct profile_conf *profile,
                            size_t from, size_t limit, enum revision to);
