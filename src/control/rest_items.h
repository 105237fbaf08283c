/* rest_items.h - what servers, profiles and tools of the registry have in common over REST:
 * list, show, add, replace, merge, remove. A resource says what an item looks like.
 *
 * An item of the configuration file is shown, never changed (DESIGN decision 14).
 */
#pragma once
#include "control/registry.h"
#include "control/rest.h"

/* One item as it is put together: what is running, and what is stored. */
struct item {
    struct str name;
    struct str source;         /* "registry", "built in", or the configuration file */
    struct str config;         /* JSON, secrets as "***" */
    int64_t version;           /* 0: not of the registry */
    nanos created, updated;
    const void *live;          /* the resource's own; NULL: not running */
};
struct item_array {
    struct item *items;
    size_t n, room;
    struct arena *arena;
};
struct item *item_add(struct item_array *all, struct str name);

struct resource {
    enum registry_kind kind;
    const char *word;          /* "server" */
    const char *path;          /* "/api/v1/proxy/servers" */
    const struct schema *config;
    /* Control worker: adds every item that runs or that the file defines. */
    void (*collect)(struct control *c, struct item_array *out);
    /* From a stored document to what may be shown (secrets as "***"). */
    struct str (*show_config)(struct arena *a, json document);
    void (*write)(struct rest *r, const struct item *item);
    /* What rows cannot say, before it is stored; may be NULL. */
    err_t (*check)(struct rest *r, struct str name, json config);
};

err_t items_list(struct rest *r, const struct resource *of, const struct page_query *q,
                 bool (*wants)(struct rest *r, const struct item *item));
/* NOT_FOUND when there is none. */
err_t items_find(struct rest *r, const struct resource *of, struct str name, struct item *out);
err_t items_show(struct rest *r, const struct resource *of);
err_t items_add(struct rest *r, const struct resource *of, struct str name, json config);
err_t items_replace(struct rest *r, const struct resource *of); /* PUT */
err_t items_merge(struct rest *r, const struct resource *of);   /* PATCH */
err_t items_remove(struct rest *r, const struct resource *of);
/* Times as items show them; empty for 0. */
struct str item_time(struct rest *r, nanos wall);

/* ---- servers, and what is one behind the scenes (rest_servers.c, rest_http_tools.c) -------- */

extern const struct resource server_resource;
extern const struct schema server_schema, wait_query, new_tool_schema;
/* Answers with the server after the wait that the query (wait_query) asks for. */
err_t server_answer(struct rest *r, struct str name);
err_t tools_add(struct rest *r);
err_t tools_remove(struct rest *r);
