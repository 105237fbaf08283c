/* conf_tree.h - all layers of a configuration as one document, each value of which knows where
 * it comes from.
 *
 * Layers are put from lowest to highest. Objects are merged member by member; whatever else
 * stands in a higher layer takes the place of what a lower one has. null takes it away, so it
 * brings the default back.
 *
 * Memory   everything is in the arena given, or borrowed from the file
 * Order    new, put…, finish; then root, origin and print
 */
#pragma once
#include "control/conf_file.h"

enum conf_layer {
    CONF_DEFAULT,
    CONF_FILE,
    CONF_ALIAS, /* variables of the systems that this one replaces */
    CONF_ENVIRONMENT,
    CONF_COMMAND,
};

struct conf_origin {
    enum conf_layer layer;
    struct str source; /* "gatespan.yaml", "GATESPAN_LISTEN", "--listen"; empty: a default */
    struct conf_pos at; /* in a file */
};

struct conf_tree;

struct conf_tree *conf_tree_new(struct arena *a);
/* The file must outlive the tree. Of a desktop client's file only what is ours is taken. */
void conf_tree_put_file(struct conf_tree *t, const struct conf_file *f);
/* `value` at `path`, which is spelled as in messages: limits.body, upstreams."a b".url. */
void conf_tree_put(struct conf_tree *t, enum conf_layer layer, struct str source, struct str path,
                   json value);
/* The same with text as it stands in the environment or on the command line; what the option's
 * row cannot take is a problem. */
void conf_tree_put_text(struct conf_tree *t, enum conf_layer layer, struct str source,
                        struct str path, struct str text);
/* TOO_LARGE beyond the limits of conf_file.h. */
err_t conf_tree_finish(struct conf_tree *t);

json conf_tree_root(const struct conf_tree *t);
/* Of a value of the root document, of the file, or of conf_tree_mark; CONF_DEFAULT for others. */
struct conf_origin conf_tree_origin(const struct conf_tree *t, json value);
/* A value that only stands for a place, for problems of what is in no document. */
json conf_tree_mark(struct conf_tree *t, enum conf_layer layer, struct str source);

/* Problems so far: hand them on to field_read and conf_check. Lenient. */
struct field_problems *conf_tree_problems(struct conf_tree *t);
void conf_tree_complain(struct conf_tree *t, json at, struct str path, struct str message,
                        bool warning);
/* A problem as it is told. The file's come first and in its order; of several with one value
 * only the first is told. */
struct conf_told {
    struct conf_origin at;
    struct str path, message; /* path is empty where the problem has none */
    bool warning;
};
enum { CONF_TOLD = ARRAY_SIZE(((struct field_problems *)0)->items) };
/* How many; *out_more: errors for which there was no room. */
size_t conf_tree_told(const struct conf_tree *t, struct conf_told out[CONF_TOLD], size_t *out_more);
/* Appends "place: path: message" and a newline for each of them. */
void conf_tree_print(const struct conf_tree *t, struct buf *out);
/* "gatespan.yaml:3:5", "GATESPAN_LISTEN", "--listen", "default". */
struct str conf_origin_text(struct conf_origin o, struct arena *a);
