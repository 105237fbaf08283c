/* access.c - what one caller sees (catalogue.h): profile and grants compiled to bits. */
#include "base/mem.h"
#include "gateway/catalogue.h"

static const struct str *matching(const struct str_list *globs, struct str name) {
    for (size_t i = 0; i < globs->n; i++)
        if (str_glob(globs->items[i], name))
            return &globs->items[i];
    return NULL;
}

static bool in_globs(const struct str_list *globs, struct str name) {
    return matching(globs, name) != NULL;
}

static bool passes(const struct str_list *allow, const struct str_list *deny, struct str name) {
    return (!allow->n || in_globs(allow, name)) && !in_globs(deny, name);
}

bool access_in_profile(const struct profile_conf *profile, struct str upstream) {
    if (!profile || !profile->upstreams.n)
        return true;
    for (size_t i = 0; i < profile->upstreams.n; i++)
        if (str_eq(profile->upstreams.items[i], upstream))
            return true;
    return false;
}

static struct access_reason refused(const struct str_list *allow, const struct str_list *deny,
                                    enum access_step not_allowed, enum access_step denied,
                                    struct str name) {
    const struct str *glob = matching(deny, name);
    if (allow->n && !in_globs(allow, name))
        return (struct access_reason){ .step = not_allowed };
    return glob ? (struct access_reason){ denied, *glob } : (struct access_reason){ 0 };
}

struct access_reason access_decide(bool in_profile, const struct access_rules *r,
                                   struct str shown) {
    if (!in_profile)
        return (struct access_reason){ .step = ACCESS_OUTSIDE_PROFILE };
    struct access_reason why = refused(r->profile_allow, r->profile_deny, ACCESS_PROFILE_ALLOW,
                                       ACCESS_PROFILE_DENY, shown);
    return why.step ? why : refused(r->allow, r->deny, ACCESS_KEY_ALLOW, ACCESS_KEY_DENY, shown);
}

static void set(struct access *a, size_t bit) {
    a->words[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static void set_entries(struct access *a, const struct catalogue *c, enum item_kind kind) {
    const struct access_rules rules = { &a->profile_allow, &a->profile_deny, &a->allow, &a->deny };
    for (size_t i = 0; i < c->counts[kind]; i++) {
        const struct entry *e = &c->entries[kind][i];
        bool in_profile = access_has(a, (unsigned)(c->total + e->upstream));
        if (access_decide(in_profile, &rules, e->shown).step == ACCESS_SEEN)
            set(a, e->index);
    }
}

/* ---- the block: struct, words, slices of the globs, their bytes -------------------- */

static size_t bytes_of(const struct str_list *list) {
    size_t n = list->n * sizeof(struct str);
    for (size_t i = 0; i < list->n; i++)
        n += list->items[i].n;
    return n;
}

static struct str_list copy(const struct str_list *list, struct str **slices, char **bytes) {
    struct str_list own = { *slices, list->n };
    for (size_t i = 0; i < list->n; i++) {
        struct str s = list->items[i];
        if (s.n)
            memcpy(*bytes, s.p, s.n);
        own.items[i] = str_from(*bytes, s.n);
        *bytes += s.n;
    }
    *slices += list->n;
    return own;
}

struct access *access_compile(const struct catalogue *c, const struct catalogue_source *sources,
                              const struct profile_conf *profile, const struct str_list *allow,
                              const struct str_list *deny) {
    static const struct str_list none;
    const struct str_list *lists[] = { profile ? &profile->allow : &none, profile ? &profile->deny : &none,
                                       allow ? allow : &none, deny ? deny : &none };
    size_t words = (c->total + c->part_count) / 64 + 1, globs = 0,
           size = sizeof(struct access) + words * 8;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        size += bytes_of(lists[i]);
        globs += lists[i]->n;
    }
    struct access *a = mem_zero(size);
    struct str *slices = (struct str *)(a->words + words);
    char *bytes = (char *)(slices + globs);
    a->profile_allow = copy(lists[0], &slices, &bytes);
    a->profile_deny = copy(lists[1], &slices, &bytes);
    a->allow = copy(lists[2], &slices, &bytes);
    a->deny = copy(lists[3], &slices, &bytes);
    a->generation = c->generation;
    a->bits = c->total;
    for (size_t i = 0; i < c->part_count; i++)
        if (access_in_profile(profile, sources[i].conf->name))
            set(a, c->total + i);
    for (enum item_kind kind = ITEM_TOOL; kind < ITEM_KINDS; kind++)
        set_entries(a, c, kind);
    a->digest = hash_bytes(a->words, words * 8);
    return a;
}

bool access_denies_uri(const struct access *a, struct str shown) {
    return in_globs(&a->profile_deny, shown) || in_globs(&a->deny, shown);
}

bool access_allows_uri(const struct access *a, unsigned upstream, struct str shown) {
    return access_has_upstream(a, upstream) && passes(&a->profile_allow, &a->profile_deny, shown) &&
           passes(&a->allow, &a->deny, shown);
}
