/* rest_profiles.c - profiles over REST: selections of the catalogue with an endpoint of their
 * own, from the file and from the registry. */
#include "base/mem.h"
#include "control/private.h"
#include "control/rest_items.h"
#include "control/rest_routes.h"

struct profile_item {
    struct str name, source, endpoint, created, updated;
    json config;
};
#define T struct profile_item
static const struct field profile_item_fields[] = {
    FIELD(T, name, STR, NULL, NULL, 0, "Its name."),
    FIELD(T, source, STR, NULL, NULL, 0, "registry (may be changed here), or the configuration file that defines it."),
    FIELD(T, endpoint, STR, NULL, NULL, 0, "Path that serves it over MCP."),
    FIELD(T, created, STR, NULL, NULL, 0, "When it came into the registry."),
    FIELD(T, updated, STR, NULL, NULL, 0, "When it was changed last."),
    FIELD(T, config, JSON, NULL, NULL, 0, "Its options."),
};
#undef T
static const struct schema profile_schema = SCHEMA(
    "Profile", profile_item_fields, struct profile_item,
    .more = "\"allOf\":[{\"properties\":{\"config\":{\"$ref\":\"#/components/schemas/"
            "ProfileConfig\"}}}]");
static const struct schema config_schema = {
    .name = "ProfileConfig", .fields = profile_fields, .count = &profile_field_count,
    .size = sizeof(struct profile_conf),
};

static struct str shown(struct arena *a, const struct profile_conf *conf) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    field_write(profile_fields, profile_field_count, conf, &w);
    return arena_dup(a, buf_view(&text));
}

static struct str show_config(struct arena *a, json document) {
    struct field_problems problems = { .arena = a };
    struct profile_conf *c = ARENA_NEW(a, struct profile_conf);
    field_defaults(profile_fields, profile_field_count, c, a);
    field_read(profile_fields, profile_field_count, document, S(""), c, a, &problems);
    return shown(a, c);
}

static bool is_of_file(const struct control *c, struct str name) {
    const struct profile_conf *all = c->file->conf->profiles.items;
    for (size_t i = 0; i < c->file->conf->profiles.n; i++)
        if (str_eq(all[i].name, name))
            return true;
    return false;
}

static void collect(struct control *c, struct item_array *out) {
    const struct profile_conf *all = c->held->conf->profiles.items;
    for (size_t i = 0; i < c->held->conf->profiles.n; i++) {
        struct item *item = item_add(out, all[i].name);
        item->source = is_of_file(c, all[i].name) ? c->options.config : S("registry");
        item->config = shown(out->arena, &all[i]);
    }
}

static void write_profile(struct rest *r, const struct item *item) {
    struct profile_item out = {
        .name = item->name, .source = item->source, .endpoint = arena_fmt(r->arena, "/mcp/%.*s", STR(item->name)),
        .created = item_time(r, item->created), .updated = item_time(r, item->updated),
    };
    if (json_parse(r->arena, item->config, (struct json_limits){ 0 }, &out.config))
        out.config = NULL;
    field_write(profile_item_fields, ARRAY_SIZE(profile_item_fields), &out, &r->w);
}

static const struct resource profiles = {
    .kind = REGISTRY_PROFILE, .word = "profile", .path = "/api/v1/profiles", .config = &config_schema,
    .collect = collect, .show_config = show_config, .write = write_profile,
};

struct profiles_query {
    struct page_query page;
};
static const struct field profiles_query_fields[] = { PAGE_ROWS(struct profiles_query) };
static const struct schema profiles_query = SCHEMA("ProfilesQuery", profiles_query_fields,
                                                   struct profiles_query);

struct new_profile {
    struct str name;
    json config;
};
#define T struct new_profile
static const struct field new_profile_fields[] = {
    FIELD(T, name, STR, NULL, "1..32", FIELD_REQUIRED, "A-Z a-z 0-9 _ -, and not v1."),
    FIELD(T, config, JSON, NULL, NULL, FIELD_REQUIRED, "Its options: ProfileConfig, the rows of `profiles.NAME` in the configuration file."),
};
#undef T
static const struct schema new_profile = SCHEMA(
    "NewProfile", new_profile_fields, struct new_profile,
    .more = "\"allOf\":[{\"properties\":{\"config\":{\"$ref\":\"#/components/schemas/"
            "ProfileConfig\"}}}]");

static err_t profiles_list(struct rest *r) {
    return items_list(r, &profiles, &((const struct profiles_query *)r->query)->page, NULL);
}

static err_t profiles_show(struct rest *r) {
    return items_show(r, &profiles);
}

static err_t profiles_add(struct rest *r) {
    const struct new_profile *body = r->body;
    return items_add(r, &profiles, body->name, body->config);
}

static err_t profiles_replace(struct rest *r) {
    return items_replace(r, &profiles);
}

static err_t profiles_merge(struct rest *r) {
    return items_merge(r, &profiles);
}

static err_t profiles_remove(struct rest *r) {
    return items_remove(r, &profiles);
}

#define ONE "/api/v1/profiles/{name}"
static const struct route rows[] = {
    ROUTE(GET, "/api/v1/profiles", ADMIN, profiles_list, "Profiles: selections of the catalogue.", .query = &profiles_query,
          .result = &profile_schema, .flags = ROUTE_LIST),
    ROUTE(POST, "/api/v1/profiles", ADMIN, profiles_add, "Adds a profile; /mcp/NAME serves it when it is answered.",
          .body = &new_profile, .result = &profile_schema, .status = 201, .flags = ROUTE_ETAG,
          .example = "{\"name\":\"clock\",\"config\":{\"upstreams\":[\"time\"]}}"),
    ROUTE(GET, ONE, ADMIN, profiles_show, "One profile.", .result = &profile_schema, .flags = ROUTE_ETAG),
    ROUTE(PUT, ONE, ADMIN, profiles_replace, "Replaces the options of a profile.", .body = &config_schema,
          .result = &profile_schema, .flags = ROUTE_IF_MATCH | ROUTE_ETAG, .example = "{\"upstreams\":[\"time\"]}"),
    ROUTE(PATCH, ONE, ADMIN, profiles_merge, "Changes some options of a profile.", .body = &config_schema,
          .result = &profile_schema, .flags = ROUTE_IF_MATCH | ROUTE_ETAG | ROUTE_MERGE, .example = "{\"deny\":[\"*__delete*\"]}"),
    ROUTE(DELETE, ONE, ADMIN, profiles_remove, "Removes a profile.", .status = 204, .flags = ROUTE_IF_MATCH_MAY),
};
#undef ONE
const struct route_table profile_routes = { "profiles", rows, ARRAY_SIZE(rows) };
