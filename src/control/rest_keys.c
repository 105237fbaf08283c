/* rest_keys.c - keys of clients over REST. The text of a key is in one answer only, that of the
 * request that made it; a revocation is answered when no worker knows the key any more. */
#include "base/mem.h"
#include "control/json_patch.h"
#include "control/private.h"
#include "control/rest.h"
#include "control/rest_items.h"
#include "control/rest_routes.h"
#include <stdio.h>
#include <time.h>

/* ---- rows ------------------------------------------------------------------------------ */

/* What may be said of a key. */
struct key_grants {
    struct str name;
    bool admin;
    struct str_list profiles, allow, deny;
    struct rate rate;
    int64_t burst;
    struct str expires;
};
#define T struct key_grants
static const struct field grants_fields[] = {
    FIELD(T, name, STR, NULL, "1..64", FIELD_REQUIRED, "For people, logs and metrics."),
    FIELD(T, admin, BOOL, "false", NULL, 0, "May use the administration surface too."),
    FIELD(T, profiles, STRS, NULL, "..100", 0, "Profiles it may use; empty: every one."),
    FIELD(T, allow, STRS, NULL, "..1000", 0, "Globs over shown names it may see and call; empty: all."),
    FIELD(T, deny, STRS, NULL, "..1000", 0, "Globs over shown names it may not."),
    FIELD(T, rate, RATE, "off", NULL, 0, "Calls it may make, such as 100/s or 6000/m."),
    FIELD(T, burst, INT, "0", "0..1000000", 0, "Calls it may make at once; 0: one second's worth."),
    FIELD(T, expires, TIME, NULL, NULL, 0, "Not accepted from then on; absent: never."),
};
#undef T
static const struct schema grants_schema = SCHEMA("KeyGrants", grants_fields, struct key_grants);

static const char *const states[] = { "active", "revoked", "expired", NULL };

struct key_item {
    struct str id, source, created, revoked, last_used, key;
    int state;
    struct key_grants grants;
};
/* What a key may do, the same in every answer. */
#define GRANT_ROWS \
    FIELD_AS("admin", T, grants.admin, BOOL, NULL, NULL, 0, "May use the administration surface too."), \
    FIELD_AS("profiles", T, grants.profiles, STRS, NULL, NULL, 0, "Profiles it may use; empty: every one."), \
    FIELD_AS("allow", T, grants.allow, STRS, NULL, NULL, 0, "Globs over shown names it may see and call; empty: all."), \
    FIELD_AS("deny", T, grants.deny, STRS, NULL, NULL, 0, "Globs over shown names it may not."), \
    FIELD_AS("rate", T, grants.rate, RATE, NULL, NULL, 0, "Calls it may make."), \
    FIELD_AS("burst", T, grants.burst, INT, NULL, NULL, 0, "Calls it may make at once."), \
    FIELD_AS("expires", T, grants.expires, STR, NULL, NULL, 0, "Not accepted from then on; empty: never."), \
    FIELD(T, created, STR, NULL, NULL, 0, "When it was made.")
#define T struct key_item
static const struct field item_fields[] = {
    FIELD(T, id, STR, NULL, NULL, 0, "What stands behind gs_ in the key."),
    FIELD_AS("name", T, grants.name, STR, NULL, NULL, 0, "For people, logs and metrics."),
    FIELD_CHOICE(T, state, states, NULL, 0, "Whether it is accepted."),
    FIELD(T, source, STR, NULL, NULL, 0, "registry (may be changed here), or file."),
    GRANT_ROWS,
    FIELD(T, revoked, STR, NULL, NULL, 0, "When it was revoked; empty: it is not."),
    FIELD(T, last_used, STR, NULL, NULL, 0, "To about a minute; empty: never, or not known."),
};
static const struct field made_fields[] = {
    FIELD(T, id, STR, NULL, NULL, 0, "What stands behind gs_ in the key."),
    FIELD(T, key, STR, NULL, NULL, 0, "The key itself, in this answer only."),
    FIELD_AS("name", T, grants.name, STR, NULL, NULL, 0, "For people, logs and metrics."),
    GRANT_ROWS,
};
#undef T
static const struct schema key_schema = SCHEMA("Key", item_fields, struct key_item);
static const struct schema made_schema = SCHEMA("NewKey", made_fields, struct key_item);

/* ---- between the store and JSON ---------------------------------------------------------- */

static struct key_grants grants_of(struct rest *r, const struct principal *p, nanos expires) {
    const struct grants *g = &p->grants;
    return (struct key_grants){
        .name = p->name, .admin = g->admin, .profiles = g->profiles, .allow = g->allow, .deny = g->deny,
        .rate = g->rate, .burst = (int64_t)g->burst, .expires = item_time(r, expires),
    };
}

static struct key_item item_of(struct rest *r, const struct key_record *k) {
    return (struct key_item){
        .id = k->principal.id, .source = S("registry"), .created = item_time(r, k->created),
        .revoked = item_time(r, k->revoked), .grants = grants_of(r, &k->principal, k->expires),
        .state = k->revoked ? 1 : key_usable(k, clock_wall()) ? 0 : 2,
    };
}

/* RFC 3339, whose form the row has checked; INVALID for a day that there is not. */
static err_t read_time(struct str text, nanos *out) {
    struct tm tm = { 0 };
    char copy[40] = "", sign = '+', *zone;
    int hours = 0, minutes = 0;
    *out = 0;
    if (!text.n)
        return OK;
    memcpy(copy, text.p, text.n < sizeof copy - 1 ? text.n : sizeof copy - 1);
    if (sscanf(copy, "%4d-%2d-%2d%*c%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec) != 6)
        return ERR(INVALID, "expires: must be a date and time such as 2026-07-28T12:00:00Z");
    zone = strpbrk(copy + 19, "+-");
    if (zone && sscanf(zone, "%c%2d:%2d", &sign, &hours, &minutes) != 3)
        return ERR(INVALID, "expires: the offset must be Z or such as +02:00");
    tm.tm_year -= 1900;
    tm.tm_mon--;
    struct tm given = tm;
    time_t at = timegm(&tm);
    if (given.tm_year > 300)
        return ERR(INVALID, "expires: must be before the year 2201");
    if (tm.tm_mday != given.tm_mday || tm.tm_mon != given.tm_mon)
        return ERR(INVALID, "expires: there is no such day");
    int offset = (hours * 60 + minutes) * 60;
    *out = (nanos)(at - (sign == '-' ? -offset : offset)) * NANOS_SEC;
    return OK;
}

static bool has_profile(const struct rest *r, struct str name) {
    const struct profile_conf *ignored;
    return snapshot_profile(r->visit->snapshot, name, &ignored);
}

/* What rows cannot say. */
static err_t take_grants(struct rest *r, const struct key_grants *g, struct key_record *out) {
    nanos expires;
    err_t e = read_time(g->expires, &expires);
    if (e)
        return rest_refuse(r, REFUSAL_UNPROCESSABLE, "%s", e->text);
    if (expires && expires <= clock_wall())
        return rest_refuse(r, REFUSAL_UNPROCESSABLE, "expires: must be in the future");
    for (size_t i = 0; i < g->profiles.n; i++)
        if (!has_profile(r, g->profiles.items[i]))
            return rest_refuse(r, REFUSAL_UNPROCESSABLE, "profiles[%zu]: there is no such profile",
                               i);
    out->principal.name = g->name;
    out->principal.grants = (struct grants){
        .profiles = g->profiles, .allow = g->allow, .deny = g->deny, .admin = g->admin, .rate = g->rate,
        .burst = g->burst ? (double)g->burst : g->rate.per_second,
    };
    out->expires = expires;
    return OK;
}

static err_t need_store(struct rest *r, const struct key_store **out) {
    *out = control_keys(r->control);
    return *out ? OK
                : ERR(UNAVAILABLE, "this process keeps no keys: it runs without a data directory");
}

/* ---- those of the file --------------------------------------------------------------------- */

static int by_id(const void *x, const void *y) {
    return str_cmp(((const struct key_item *)x)->id, ((const struct key_item *)y)->id);
}

static bool is_listed(const struct key_item *items, size_t n, struct str id) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(items[i].id, id))
            return true;
    return false;
}

static struct str_list copy_list(struct arena *a, struct str_list list) {
    struct str_list out = { .items = ARENA_ARRAY(a, struct str, list.n), .n = list.n };
    for (size_t i = 0; i < list.n; i++)
        out.items[i] = arena_dup(a, list.items[i]);
    return out;
}

/* The index is a newer one after the next wait: everything is copied. */
static struct key_item file_item(struct rest *r, const struct principal *p) {
    struct key_item item = { .id = arena_dup(r->arena, p->id), .source = S("file"),
                             .grants = grants_of(r, p, 0) };
    item.grants.name = arena_dup(r->arena, p->name);
    item.grants.profiles = copy_list(r->arena, p->grants.profiles);
    item.grants.allow = copy_list(r->arena, p->grants.allow);
    item.grants.deny = copy_list(r->arena, p->grants.deny);
    return item;
}

/* Whoever is accepted and not in the registry is in the file. */
static const struct key_index *accepted(struct rest *r) {
    struct gateway *g = control_gateway(r->control);
    return snapshot_peek(r->request->worker, g->keys);
}

/* ---- listing ------------------------------------------------------------------------------- */

static err_t gather(struct rest *r, struct key_item **out, size_t *out_n) {
    const struct key_store *ks = control_keys(r->control);
    struct str after = S("");
    struct key_record *page;
    struct key_item *all = NULL;
    size_t n = 0, got = ks ? REGISTRY_PAGE : 0;
    while (got == REGISTRY_PAGE) {
        TRY(key_store_list(r->task, ks, r->arena, after, 0, &page, &got));
        struct key_item *more = ARENA_ARRAY(r->arena, struct key_item, n + got + 1);
        if (n)
            memcpy(more, all, n * sizeof *more);
        all = more;
        for (size_t i = 0; i < got; i++)
            all[n++] = item_of(r, &page[i]);
        if (got)
            after = page[got - 1].principal.id;
    }
    const struct key_index *index = accepted(r);
    size_t count = index ? key_index_count(index) : 0, kept = n;
    struct key_item *whole = ARENA_ARRAY(r->arena, struct key_item, n + count + 1);
    if (n)
        memcpy(whole, all, n * sizeof *whole);
    for (size_t i = 0; i < count; i++) {
        const struct principal *p = key_index_at(index, i);
        if (p != key_index_anonymous(index) && !is_listed(whole, kept, p->id))
            whole[n++] = file_item(r, p);
    }
    qsort(whole, n, sizeof *whole, by_id);
    *out = whole;
    *out_n = n;
    return OK;
}

static err_t add_use(struct rest *r, struct key_item *item) {
    nanos used = 0;
    if (control_keys(r->control))
        TRY(key_store_used(r->task, control_keys(r->control), item->id, &used));
    item->last_used = item_time(r, used);
    return OK;
}

struct keys_query {
    struct page_query page;
    int state;
};
static const char *const state_filter[] = { "any", "active", "revoked", "expired", NULL };
#define T struct keys_query
static const struct field keys_query_fields[] = {
    PAGE_ROWS(T),
    FIELD_CHOICE(T, state, state_filter, "any", 0, "Only keys in this state."),
};
#undef T
static const struct schema keys_query = SCHEMA("KeysQuery", keys_query_fields, struct keys_query);

static err_t keys_list(struct rest *r) {
    const struct keys_query *q = r->query;
    struct key_item *all;
    struct page page;
    size_t n;
    TRY(gather(r, &all, &n));
    TRY(page_begin(r, &q->page, &page));
    for (size_t i = 0; i < n; i++) {
        if ((q->state && all[i].state != q->state - 1) || !page_wants(&page, all[i].id))
            continue;
        TRY(add_use(r, &all[i]));
        field_write(item_fields, ARRAY_SIZE(item_fields), &all[i], &r->w);
    }
    page_end(&page);
    return OK;
}

static err_t keys_show(struct rest *r) {
    struct key_item *all;
    size_t n;
    struct key_record ignored;
    int64_t version;
    TRY(gather(r, &all, &n));
    for (size_t i = 0; i < n; i++) {
        if (!str_eq(all[i].id, r->params[0]))
            continue;
        TRY(add_use(r, &all[i]));
        if (control_keys(r->control) && !key_store_get(r->task, control_keys(r->control), r->arena,
                                                       all[i].id, &ignored, &version))
            rest_etag(r, version);
        field_write(item_fields, ARRAY_SIZE(item_fields), &all[i], &r->w);
        return OK;
    }
    return ERR(NOT_FOUND, "there is no key \"%.*s\"", STR(str_head(r->params[0], 100)));
}

/* ---- making -------------------------------------------------------------------------------- */

static void write_made(struct rest *r, const struct key_record *k, char text[KEY_TEXT]) {
    struct key_item item = item_of(r, k);
    item.created = item_time(r, k->created ? k->created : clock_wall());
    item.key = arena_dup(r->arena, str_of(text));
    field_write(made_fields, ARRAY_SIZE(made_fields), &item, &r->w);
    crypto_wipe(text, KEY_TEXT);
    r->location = arena_fmt(r->arena, "/api/v1/keys/%.*s", STR(k->principal.id));
}

/* What the store finds wrong with a key is beyond what the schema says. */
static err_t told(struct rest *r, err_t e) {
    if (e && e->kind == ERR_INVALID)
        r->code = REFUSAL_UNPROCESSABLE;
    return e;
}

static err_t keys_make(struct rest *r) {
    const struct key_store *ks;
    struct key_record wanted = { 0 }, made;
    char text[KEY_TEXT];
    TRY(need_store(r, &ks));
    TRY(take_grants(r, r->body, &wanted));
    TRY(told(r, key_store_make(r->task, ks, r->arena, &wanted, text, &made)));
    write_made(r, &made, text);
    return OK;
}

/* A key of the registry that may be changed. */
static err_t open_key(struct rest *r, const struct key_store **ks, struct key_record *out,
                      int64_t *expected) {
    int64_t version;
    TRY(need_store(r, ks));
    err_t e = key_store_get(r->task, *ks, r->arena, r->params[0], out, &version);
    const struct key_index *index = accepted(r);
    for (size_t i = 0; e && e->kind == ERR_NOT_FOUND && index && i < key_index_count(index); i++)
        if (str_eq(key_index_at(index, i)->id, r->params[0]))
            return rest_refuse(r, REFUSAL_READ_ONLY, "key %.*s is defined in %.*s: change it there",
                               STR(r->params[0]), STR(r->control->options.config));
    TRY(e);
    return rest_precondition(r, version, expected);
}

static err_t store_grants(struct rest *r, const struct key_store *ks, struct key_record *k,
                          const struct key_grants *g, int64_t expected) {
    int64_t version = 0;
    if (k->revoked)
        return rest_refuse(r, REFUSAL_CONFLICT, "key %.*s is revoked: make a new one",
                           STR(k->principal.id));
    TRY(take_grants(r, g, k));
    err_t e = key_store_change(r->task, ks, k, expected, &version);
    if (e && e->kind == ERR_CONFLICT && str_find(str_of(e->text), S("meanwhile")) >= 0)
        r->code = REFUSAL_PRECONDITION_FAILED;
    TRY(told(r, e));
    TRY(rest_settle(r)); /* what was taken from the key is gone everywhere */
    rest_etag(r, version);
    struct key_item item = item_of(r, k);
    TRY(add_use(r, &item));
    field_write(item_fields, ARRAY_SIZE(item_fields), &item, &r->w);
    return OK;
}

static err_t keys_replace(struct rest *r) {
    const struct key_store *ks;
    struct key_record k;
    int64_t expected;
    TRY(open_key(r, &ks, &k, &expected));
    return store_grants(r, ks, &k, r->body, expected);
}

static err_t merged_grants(struct rest *r, const struct key_record *k, struct key_grants *out) {
    SCOPED(buf_done) struct buf now = { 0 };
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw before = jw_init(&now), w = jw_init(&text);
    struct field_problems problems = { .arena = r->arena };
    const struct key_grants g = grants_of(r, &k->principal, k->expires);
    json target, merged;
    field_write(grants_fields, ARRAY_SIZE(grants_fields), &g, &before);
    TRY(json_parse(r->arena, buf_view(&now), (struct json_limits){ 0 }, &target));
    json_merge_write(&w, target, r->document);
    TRY(json_parse(r->arena, arena_dup(r->arena, buf_view(&text)), (struct json_limits){ 0 },
                   &merged));
    field_defaults(grants_fields, ARRAY_SIZE(grants_fields), out, r->arena);
    field_read(grants_fields, ARRAY_SIZE(grants_fields), merged, S(""), out, r->arena, &problems);
    return rest_problems(r, &problems);
}

static err_t keys_merge(struct rest *r) {
    const struct key_store *ks;
    struct key_record k;
    struct key_grants g;
    int64_t expected;
    TRY(open_key(r, &ks, &k, &expected));
    TRY(merged_grants(r, &k, &g));
    return store_grants(r, ks, &k, &g, expected);
}

struct rotate {
    nanos overlap;
};
static const struct field rotate_fields[] = {
    FIELD(struct rotate, overlap, DURATION, "1h", "0s..30d", 0, "How long the old key stays valid."),
};
static const struct schema rotate_schema = SCHEMA("Rotate", rotate_fields, struct rotate);

static err_t keys_rotate(struct rest *r) {
    const struct rotate *body = r->body;
    const struct key_store *ks;
    struct key_record old, made;
    int64_t expected;
    char text[KEY_TEXT];
    TRY(open_key(r, &ks, &old, &expected));
    TRY(key_store_rotate(r->task, ks, r->arena, r->params[0], body->overlap, text, &made));
    r->etag = S("");
    write_made(r, &made, text);
    return OK;
}

struct remove_query {
    bool forget;
};
static const struct field remove_fields[] = {
    FIELD(struct remove_query, forget, BOOL, "false", NULL, 0, "Of a revoked or expired key: remove its record too."),
};
static const struct schema remove_query = SCHEMA("RemoveKey", remove_fields, struct remove_query);

static err_t keys_revoke(struct rest *r) {
    const struct remove_query *q = r->query;
    const struct key_store *ks;
    struct key_record k;
    int64_t expected;
    TRY(open_key(r, &ks, &k, &expected));
    r->etag = S("");
    if (q->forget)
        return key_store_forget(r->task, ks, r->params[0], expected);
    return key_store_revoke(r->task, ks, r->params[0]);
}

#define ONE "/api/v1/keys/{id}"
static const struct route rows[] = {
    ROUTE(GET, "/api/v1/keys", ADMIN, keys_list, "Keys of clients, by id, without their secrets.", .query = &keys_query,
          .result = &key_schema, .flags = ROUTE_LIST),
    ROUTE(POST, "/api/v1/keys", ADMIN, keys_make, "Makes a key; its text is in this answer only.", .body = &grants_schema,
          .result = &made_schema, .status = 201, .example = "{\"name\":\"ci\",\"allow\":[\"time__*\"],\"rate\":\"100/s\"}"),
    ROUTE(GET, ONE, ADMIN, keys_show, "One key.", .result = &key_schema, .flags = ROUTE_ETAG),
    ROUTE(PUT, ONE, ADMIN, keys_replace, "Replaces name, grants and expiry of a key.", .body = &grants_schema,
          .result = &key_schema, .flags = ROUTE_IF_MATCH | ROUTE_ETAG, .example = "{\"name\":\"ci\",\"rate\":\"10/s\"}"),
    ROUTE(PATCH, ONE, ADMIN, keys_merge, "Changes some of them.", .body = &grants_schema, .result = &key_schema,
          .flags = ROUTE_IF_MATCH | ROUTE_ETAG | ROUTE_MERGE, .example = "{\"rate\":\"10/s\"}"),
    ROUTE(DELETE, ONE, ADMIN, keys_revoke, "Revokes a key: answered when no worker accepts it any more.",
          .query = &remove_query, .status = 204, .flags = ROUTE_IF_MATCH_MAY),
    ROUTE(POST, ONE "/rotate", ADMIN, keys_rotate, "A new key with the same rights; the old one stays valid for a while.",
          .body = &rotate_schema, .result = &made_schema, .status = 201, .flags = ROUTE_IF_MATCH_MAY, .example = "{\"overlap\":\"24h\"}"),
};
#undef ONE
const struct route_table key_routes = { "keys", rows, ARRAY_SIZE(rows) };
