/* conf_load.h - from all layers to a checked configuration: defaults, file, environment, command
 * line; dialects, rows, checks. */
#pragma once
#include "control/conf_tree.h"
#include "gateway/conf.h"

/* What the command line says. Empty members say nothing. */
struct conf_overrides {
    struct str_list listen;   /* --listen */
    struct str workers;       /* --workers */
    struct str_list set;      /* --set PATH=VALUE */
    struct str role_builtin;  /* --role server:NAME: that built-in server alone */
    struct str_list variables; /* GATESPAN_ names that are options of commands */
    bool one_worker;          /* whatever else is said */
};

/* `path` empty: no file. On INVALID, *report holds a line per problem ("file:line:column: path:
 * what", "GATESPAN_LISTEN: listen: what"); warnings are in it on success too. VS Code's
 * ${input:…} are asked from the environment (GATESPAN_INPUT_NAME), on a terminal from its user.
 * `out_tree` may be NULL; it says where each value comes from, and is there on INVALID too, for
 * its problems, unless a file or variable could not be read at all (then NULL). */
err_t conf_load(struct arena *a, struct str path, const struct conf_overrides *overrides,
                struct gateway_conf **out, struct conf_tree **out_tree, struct buf *report);

/* Where the value of an option comes from; upstreams of a desktop client's file too. */
struct conf_origin conf_source(const struct conf_tree *t, struct str path, struct arena *a);
