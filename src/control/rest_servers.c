/* rest_servers.c - upstream servers over REST: those of the file and those of the registry, with
 * what they do now. A change is checked as a whole, stored, and running when it is answered. */
#include "base/mem.h"
#include "control/private.h"
#include "control/rest_items.h"
#include "control/rest_routes.h"
#include "servers/server.h"

/* ---- what a server looks like ---------------------------------------------------------- */

struct live {
    struct str kind, state, revision, reason;
    int64_t failures, restarts, tools, prompts, resources, templates;
    bool last_known;
};
#define T struct live
static const struct field live_fields[] = {
    FIELD(T, kind, STR, NULL, NULL, 0, "stdio, http or builtin."),
    FIELD(T, state, STR, NULL, NULL, 0, "starting, ready (what it offers can be called), failed or stopped."),
    FIELD(T, revision, STR, NULL, NULL, 0, "Revision of the protocol that it speaks; empty before it answered."),
    FIELD(T, reason, STR, NULL, NULL, 0, "Why it is not ready: the last error."),
    FIELD(T, failures, INT, NULL, NULL, 0, "Failures in a row."),
    FIELD(T, restarts, INT, NULL, NULL, 0, "Times it was started again."),
    FIELD(T, tools, INT, NULL, NULL, 0, "Tools in its lists."),
    FIELD(T, prompts, INT, NULL, NULL, 0, "Prompts in its lists."),
    FIELD(T, resources, INT, NULL, NULL, 0, "Resources in its lists."),
    FIELD(T, templates, INT, NULL, NULL, 0, "Templates of resources in its lists."),
    FIELD(T, last_known, BOOL, NULL, NULL, 0, "The lists are those of an earlier run."),
};
#undef T

struct server_item {
    struct str name, source, created, updated;
    struct live live;
    json config;
};
#define T struct server_item
static const struct field server_fields[] = {
    FIELD(T, name, STR, NULL, NULL, 0, "Its name, which is the prefix of its tools."),
    FIELD(T, source, STR, NULL, NULL, 0, "registry (may be changed here), built in, or the configuration file that defines it."),
    FIELD_NEST(T, live, OBJECT, live_fields, struct live, 0, "What it does now."),
    FIELD(T, created, STR, NULL, NULL, 0, "When it came into the registry."),
    FIELD(T, updated, STR, NULL, NULL, 0, "When it was changed last."),
    FIELD(T, config, JSON, NULL, NULL, 0, "Its options; secrets read ***."),
};
#undef T
const struct schema server_schema = SCHEMA(
    "Server", server_fields, struct server_item,
    .more = "\"allOf\":[{\"properties\":{\"config\":{\"$ref\":\"#/components/schemas/"
            "ServerConfig\"}}}]");

static const struct schema config_schema = {
    .name = "ServerConfig", .fields = upstream_fields, .count = &upstream_field_count,
    .size = sizeof(struct upstream_conf),
};

/* ---- secrets ------------------------------------------------------------------------- */

static struct pair_list hidden(struct arena *a, struct pair_list pairs) {
    struct pair_list out = { .items = ARENA_ARRAY(a, struct pair, pairs.n), .n = pairs.n };
    for (size_t i = 0; i < pairs.n; i++)
        out.items[i] = (struct pair){ pairs.items[i].name, S("***") };
    return out;
}

/* Options of a built-in server by its own rows, which know what is secret. */
static json hidden_options(struct arena *a, const struct server_ops *ops, json options) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    struct field_problems problems = { .arena = a };
    json shown = NULL;
    void *values = arena_zero(a, ops->options_size + 1);
    field_defaults(ops->options, ops->option_count, values, a);
    field_read(ops->options, ops->option_count, options, S(""), values, a, &problems);
    if (problems.errors)
        return NULL;
    field_write(ops->options, ops->option_count, values, &w);
    return json_parse(a, arena_dup(a, buf_view(&text)), (struct json_limits){ 0 }, &shown) ? NULL
                                                                                           : shown;
}

static struct str shown(struct arena *a, const struct upstream_conf *conf) {
    SCOPED(buf_done) struct buf text = { 0 };
    struct jw w = jw_init(&text);
    struct upstream_conf c = *conf;
    const struct server_ops *ops = c.builtin.n ? builtin_find(c.builtin) : NULL;
    c.headers = hidden(a, c.headers);
    c.env = hidden(a, c.env);
    if (c.options)
        c.options = ops ? hidden_options(a, ops, c.options) : NULL;
    field_write(upstream_fields, upstream_field_count, &c, &w);
    return arena_dup(a, buf_view(&text));
}

static struct str show_config(struct arena *a, json document) {
    struct field_problems problems = { .arena = a };
    struct upstream_conf *c = ARENA_NEW(a, struct upstream_conf);
    field_defaults(upstream_fields, upstream_field_count, c, a);
    field_read(upstream_fields, upstream_field_count, document, S(""), c, a, &problems);
    return shown(a, c);
}

/* ---- gathering ------------------------------------------------------------------------- */

static struct upstream *running(struct control *c, struct str name) {
    for (size_t i = 0; i < c->upstream_count; i++)
        if (str_eq(c->upstreams[i]->conf->name, name))
            return c->upstreams[i];
    return NULL;
}

static const struct live *live_of(struct arena *a, struct upstream *u) {
    char reason[256];
    struct live *l = ARENA_NEW(a, struct live);
    struct part *p = upstream_part(u);
    int revision = atomic_load(&u->revision);
    *l = (struct live){
        .kind = str_of(u->ops->kind), .state = str_of(upstream_state_word(upstream_state_served(u, reason))),
        .revision = revision == REV_NONE ? S("") : revision_text((enum revision)revision),
        .failures = atomic_load(&u->failures), .restarts = atomic_load(&u->restarts), .last_known = p && p->stale,
    };
    l->reason = arena_dup(a, str_of(reason));
    if (p) {
        l->tools = (int64_t)p->counts[ITEM_TOOL];
        l->prompts = (int64_t)p->counts[ITEM_PROMPT];
        l->resources = (int64_t)p->counts[ITEM_RESOURCE];
        l->templates = (int64_t)p->counts[ITEM_TEMPLATE];
    }
    part_unref(p);
    return l;
}

static void collect(struct control *c, struct item_array *out) {
    const struct upstream_conf *all = c->held->conf->upstreams.items;
    for (size_t i = 0; i < c->held->conf->upstreams.n; i++) {
        struct item *item = item_add(out, all[i].name);
        struct upstream *u = running(c, all[i].name);
        item->source = arena_dup(out->arena, all[i].source);
        item->config = shown(out->arena, &all[i]);
        item->live = u ? live_of(out->arena, u) : NULL;
    }
}

static void write_server(struct rest *r, const struct item *item) {
    struct server_item out = {
        .name = item->name, .source = item->source, .created = item_time(r, item->created),
        .updated = item_time(r, item->updated),
        .live = { .state = S("stopped"), .reason = S("it is not enabled, or not usable: the log says why") },
    };
    if (item->live)
        out.live = *(const struct live *)item->live;
    if (json_parse(r->arena, item->config, (struct json_limits){ 0 }, &out.config))
        out.config = NULL;
    field_write(server_fields, ARRAY_SIZE(server_fields), &out, &r->w);
}

const struct resource server_resource = {
    .kind = REGISTRY_SERVER, .word = "server", .path = "/api/v1/proxy/servers", .config = &config_schema,
    .collect = collect, .show_config = show_config, .write = write_server,
};

/* ---- waiting --------------------------------------------------------------------------- */

static const char *const wait_words[] = { "no", "ready", NULL };

struct wait_query {
    int wait;
    nanos timeout;
};
#define T struct wait_query
static const struct field wait_fields[] = {
    FIELD_CHOICE(T, wait, wait_words, "no", 0, "ready: answer when it is up, or has failed, or the timeout is over; live tells which."),
    FIELD(T, timeout, DURATION, "10s", "0s..5m", 0, "Longest wait for it."),
};
#undef T
const struct schema wait_query = SCHEMA("WaitQuery", wait_fields, struct wait_query);

struct looking {
    struct control *control;
    struct str name;
    struct upstream *found; /* a reference */
};

static err_t look(struct task *t, void *arg) {
    struct looking *l = arg;
    struct upstream *u = running(l->control, l->name);
    l->found = u ? upstream_ref(u) : NULL;
    return OK;
}

/* Polled: a state changes on the upstream's own worker, a few times in its life. */
static err_t wait_up(struct rest *r, struct upstream *u, nanos timeout) {
    nanos end = task_now(r->task) + timeout;
    while (atomic_load(&u->state) == UP_STARTING && task_now(r->task) < end)
        TRY(task_sleep(r->task, 20 * NANOS_MS));
    return OK;
}

/* Its lists come into the catalogue now, not with the next burst. */
static err_t publish_now(struct task *t, void *arg) {
    snapshot_publish(((struct looking *)arg)->control);
    return OK;
}

static err_t wait_as_asked(struct rest *r, struct str name) {
    const struct wait_query *q = r->query;
    struct looking l = { .control = r->control, .name = name };
    if (q->wait != 1)
        return OK;
    TRY(control_do(r, look, &l));
    err_t e = l.found ? wait_up(r, l.found, q->timeout) : OK;
    bool up = l.found && atomic_load(&l.found->state) == UP_READY;
    upstream_unref(l.found);
    TRY(e);
    if (up)
        TRY(control_do(r, publish_now, &l));
    return rest_settle(r);
}

/* What was written before the wait is written again. */
err_t server_answer(struct rest *r, struct str name) {
    struct item item;
    TRY(wait_as_asked(r, name));
    TRY(items_find(r, &server_resource, name, &item));
    buf_clear(&r->out);
    r->w = jw_init(&r->out);
    write_server(r, &item);
    return OK;
}

/* ---- handlers -------------------------------------------------------------------------- */

struct servers_query {
    struct page_query page;
    struct str state, source;
};
#define T struct servers_query
static const struct field servers_query_fields[] = {
    PAGE_ROWS(T),
    FIELD(T, state, STR, NULL, "..32", 0, "Only those in this state."),
    FIELD(T, source, STR, NULL, "..4096", 0, "Only those of this source."),
};
#undef T
static const struct schema servers_query = SCHEMA("ServersQuery", servers_query_fields,
                                                  struct servers_query);

static bool wants(struct rest *r, const struct item *item) {
    const struct servers_query *q = r->query;
    const struct live *l = item->live;
    return (!q->state.n || str_eq(q->state, l ? l->state : S("stopped"))) &&
           (!q->source.n || str_eq(q->source, item->source));
}

static err_t servers_list(struct rest *r) {
    return items_list(r, &server_resource, &((const struct servers_query *)r->query)->page, wants);
}

static err_t servers_show(struct rest *r) {
    return items_show(r, &server_resource);
}

struct new_server {
    struct str name;
    json config;
};
#define T struct new_server
static const struct field new_server_fields[] = {
    FIELD(T, name, STR, NULL, "1..32", FIELD_REQUIRED, "A-Z a-z 0-9 _ -, without __ and without _ at an end."),
    FIELD(T, config, JSON, NULL, NULL, FIELD_REQUIRED, "Its options: ServerConfig, the rows of `upstreams.NAME` in the configuration file."),
};
#undef T
static const struct schema new_server = SCHEMA(
    "NewServer", new_server_fields, struct new_server,
    .more = "\"allOf\":[{\"properties\":{\"config\":{\"$ref\":\"#/components/schemas/"
            "ServerConfig\"}}}]");

static err_t servers_add(struct rest *r) {
    const struct new_server *body = r->body;
    TRY(items_add(r, &server_resource, body->name, body->config));
    return server_answer(r, body->name);
}

static err_t servers_replace(struct rest *r) {
    TRY(items_replace(r, &server_resource));
    return server_answer(r, r->params[0]);
}

static err_t servers_merge(struct rest *r) {
    TRY(items_merge(r, &server_resource));
    return server_answer(r, r->params[0]);
}

static err_t servers_remove(struct rest *r) {
    return items_remove(r, &server_resource);
}

static err_t restart_at_home(struct task *t, void *arg) {
    struct looking *l = arg;
    return upstream_restart(l->control, l->name)
               ? OK
               : ERR(CONFLICT, "server %.*s is not running: it is not enabled", STR(l->name));
}

static err_t servers_restart(struct rest *r) {
    struct item item;
    struct looking l = { .control = r->control, .name = r->params[0] };
    TRY(items_find(r, &server_resource, r->params[0], &item));
    TRY(control_do(r, restart_at_home, &l));
    return server_answer(r, r->params[0]);
}

#define ONE "/api/v1/proxy/servers/{name}"
static const struct route rows[] = {
    ROUTE(GET, "/api/v1/proxy/servers", ADMIN, servers_list, "Upstream servers with what they do now.",
          .query = &servers_query, .result = &server_schema, .flags = ROUTE_LIST),
    ROUTE(POST, "/api/v1/proxy/servers", ADMIN, servers_add, "Adds a server: checked, stored and started when it is answered.",
          .query = &wait_query, .body = &new_server, .result = &server_schema, .status = 201, .flags = ROUTE_ETAG,
          .example = "{\"name\":\"clock\",\"config\":{\"builtin\":\"time\"}}"),
    ROUTE(GET, ONE, ADMIN, servers_show, "One server.", .result = &server_schema, .flags = ROUTE_ETAG),
    ROUTE(PUT, ONE, ADMIN, servers_replace, "Replaces the options of a server; *** keeps a stored secret.",
          .query = &wait_query, .body = &config_schema, .result = &server_schema, .flags = ROUTE_IF_MATCH | ROUTE_ETAG,
          .example = "{\"builtin\":\"time\",\"timeout\":\"5s\"}"),
    ROUTE(PATCH, ONE, ADMIN, servers_merge, "Changes some options of a server.", .query = &wait_query,
          .body = &config_schema, .result = &server_schema, .flags = ROUTE_IF_MATCH | ROUTE_ETAG | ROUTE_MERGE,
          .example = "{\"timeout\":\"5s\"}"),
    ROUTE(DELETE, ONE, ADMIN, servers_remove, "Removes a server and stops it.", .status = 204, .flags = ROUTE_IF_MATCH_MAY),
    ROUTE(POST, ONE "/restart", ADMIN, servers_restart, "Starts a server anew, whatever its state.",
          .query = &wait_query, .result = &server_schema),
};
#undef ONE
const struct route_table server_routes = { "servers", rows, ARRAY_SIZE(rows) };
