/* page.c - pages of lists (catalogue.h), filtered before they are cut (P-618).
 *
 * Positions count the entries of a kind in the order of the profile, seen or not, so that a
 * position means the same for every caller of one catalogue. */
#include "base/json.h"
#include "gateway/catalogue.h"

static const enum method list_of[ITEM_KINDS] = {
    [ITEM_TOOL] = METHOD_TOOLS_LIST,
    [ITEM_PROMPT] = METHOD_PROMPTS_LIST,
    [ITEM_RESOURCE] = METHOD_RESOURCES_LIST,
    [ITEM_TEMPLATE] = METHOD_TEMPLATES_LIST,
};

/* Entries of one upstream stand together; a profile orders upstreams (P-603). */
struct range {
    size_t from, to;
};

static bool named_before(const struct profile_conf *profile, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (str_eq(profile->upstreams.items[k], profile->upstreams.items[i]))
            return true;
    return false;
}

static struct range range_of(const struct catalogue *c, enum item_kind kind,
                             const struct profile_conf *profile, size_t i) {
    for (size_t u = 0; u < c->part_count && !named_before(profile, i); u++)
        if (c->parts[u] && str_eq(c->parts[u]->upstream, profile->upstreams.items[i]))
            return (struct range){ c->first[kind][u], c->first[kind][u + 1] };
    return (struct range){ 0 };
}

struct str catalogue_name(const struct profile_conf *profile, const struct entry *e) {
    if (!profile || (e->kind != ITEM_TOOL && e->kind != ITEM_PROMPT))
        return e->shown;
    const struct pair_list *rename = &profile->rename;
    for (size_t i = 0; i < rename->n; i++)
        if (str_eq(rename->items[i].value, e->shown))
            return str_eq(rename->items[i].name, e->shown) ? e->shown : (struct str){ 0 };
    for (size_t i = 0; i < rename->n; i++)
        if (str_eq(rename->items[i].name, e->shown))
            return rename->items[i].value;
    return e->shown;
}

struct page {
    struct buf *out;
    const struct catalogue *catalogue;
    enum item_kind kind;
    const struct access *access;
    const struct profile_conf *profile;
    enum revision to;
    size_t from, limit, at, written;
};

/* True when the page was full before all entries of the range were looked at: p->at is the
 * next one to show. */
static bool write_range(struct page *p, struct range r) {
    for (size_t i = r.from; i < r.to; i++, p->at++) {
        const struct entry *e = &p->catalogue->entries[p->kind][i];
        struct str name = catalogue_name(p->profile, e);
        if (p->at < p->from || !name.n || !access_has(p->access, e->index))
            continue;
        if (p->written == p->limit)
            return true;
        if (p->written++)
            buf_char(p->out, ',');
        translate_item(p->out, list_of[p->kind], e->raw, p->to, name);
    }
    return false;
}

size_t catalogue_write_page(struct buf *out, const struct catalogue *c, enum item_kind kind,
                            const struct access *access, const struct profile_conf *profile,
                            size_t from, size_t limit, enum revision to) {
    struct page p = { out, c, kind, access, profile, to, from, limit, 0, 0 };
    bool ordered = profile && profile->upstreams.n, full = false;
    buf_char(out, '[');
    if (!ordered)
        full = write_range(&p, (struct range){ 0, c->counts[kind] });
    for (size_t i = 0; ordered && !full && i < profile->upstreams.n; i++)
        full = write_range(&p, range_of(c, kind, profile, i));
    buf_char(out, ']');
    return full ? p.at : 0;
}
