/* builtin.c - the built-in servers, one line each. */
#include "servers/filesystem/filesystem_server.h"
#include "servers/server.h"
#include "servers/time/time_server.h"

const struct server_ops *const builtin_servers[] = {
    &filesystem_server,
    &time_server,
};
const size_t builtin_count = ARRAY_SIZE(builtin_servers);

static const struct server_ops *added;

void builtin_add(const struct server_ops *ops) {
    added = ops;
}

const struct server_ops *builtin_find(struct str name) {
    for (size_t i = 0; i < builtin_count; i++)
        if (str_eq(name, str_of(builtin_servers[i]->name)))
            return builtin_servers[i];
    return added && str_eq(name, str_of(added->name)) ? added : NULL;
}
