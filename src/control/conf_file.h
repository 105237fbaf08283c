/* conf_file.h - one configuration file as a JSON document that knows its lines.
 *
 * YAML 1.2 (core schema) or JSON as editors write it, with comments and trailing commas;
 * told apart by the start: a brace or a comment with slashes is JSON. Refused with line and
 * column: several documents, keys given twice, keys that are no strings, merge keys, tags of
 * applications, `.inf` and `.nan`, numbers with leading zeros (quote them), aliases that blow
 * the document up.
 *
 * String values expand, once:
 *
 *   ${NAME} ${env:NAME}       environment variable; unset is a problem
 *   ${NAME:-text}             `text` where it is unset or empty; ${env:NAME:-text} too
 *   ${file:/run/secrets/x}    content without one trailing newline; relative to this file
 *   ${input:id}               VS Code's inputs, answered by the caller
 *   ${userHome} ${workspaceFolder} ${pathSeparator}   VS Code's words for what is meant
 *   $$                        one dollar; a dollar before anything else is itself
 *
 * What does not expand is a problem and stays as it was written. No message ever holds
 * expanded text.
 *
 * Memory   everything is in the arena given
 * Waits    reads files; for start and reload, not for tasks
 * Limits   4 MiB of text, 16 MiB after aliases and expansion, 64 levels, 1 MiB for each ${file:…}
 */
#pragma once
#include "base/field.h"

struct conf_pos {
    uint32_t line, column; /* from 1, in characters; 0: unknown */
};

struct conf_expand {
    bool raw; /* nothing expands: values stay as they are written */
    /* The value of a variable, p == NULL when unset. NULL: the environment of the process. */
    struct str (*variable)(void *arg, struct str name);
    /* The answer to ${input:id}; `root` is the document before expansion, whose `inputs`
     * describe it. NULL: every input is a problem. */
    err_t (*input)(void *arg, json root, struct str id, struct arena *a, struct str *out);
    void *arg;
};

struct conf_file;

/* `expand` may be NULL. Errors read "file:line:column: what". */
err_t conf_file_load(struct arena *a, struct str path, const struct conf_expand *expand,
                     struct conf_file **out);
/* The same with text that is at hand; `path` is for messages and relative names. */
err_t conf_file_parse(struct arena *a, struct str path, struct str text,
                      const struct conf_expand *expand, struct conf_file **out);

json conf_file_root(const struct conf_file *f); /* null for an empty file */
struct str conf_file_path(const struct conf_file *f);

/* Problems so far, from expansion: hand them on to field_read, then print them all. Lenient,
 * since ${PORT} expands to text. */
struct field_problems *conf_file_problems(struct conf_file *f);

/* Where a value of the document stands; an object or array in an object stands at its key. */
struct conf_pos conf_file_position(const struct conf_file *f, json value);
