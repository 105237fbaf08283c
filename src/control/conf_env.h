/* conf_env.h - the environment as a layer of the configuration: GATESPAN_… by the path of the
 * option, and under that the names that other systems use for the same things.
 *
 * An empty variable says nothing. Values are taken as they are: nothing in them expands.
 */
#pragma once
#include "control/conf_tree.h"

/* Puts both layers. `known` are GATESPAN_ names that are no options (those of commands); any
 * other that is unknown is a warning. */
void conf_env_put(struct conf_tree *t, const struct str_list *known, struct arena *a);

/* The names of other systems, for the reference. */
struct conf_alias {
    const char *variable;
    const char *path;    /* of the option */
    const char *meaning; /* where it differs from the option's; NULL: the same */
    struct str (*spell)(struct str text, struct arena *a); /* NULL: as it is */
};
extern const struct conf_alias conf_aliases[];
extern const size_t conf_alias_count;
