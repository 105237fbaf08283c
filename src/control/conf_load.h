/* conf_load.h - from a file to a checked configuration: file, dialects, rows, checks. */
#pragma once
#include "gateway/conf.h"

/* What the command line says over the file. Empty members say nothing. */
struct conf_overrides {
    struct str_list listen;
    int64_t workers; /* -1: not given */
    struct str role_builtin; /* --role server:NAME: that built-in server alone */
};

/* `path` empty: defaults alone. On INVALID, *report holds a line per problem ("file:line:
 * column: path: what"); warnings are in it on success too. VS Code's ${input:…} are asked
 * from the environment (GATESPAN_INPUT_NAME), on a terminal from its user. */
err_t conf_load(struct arena *a, struct str path, const struct conf_overrides *overrides,
                struct gateway_conf **out, struct buf *report);
