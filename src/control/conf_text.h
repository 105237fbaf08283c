/* conf_text.h - what the readers of conf_file.h hand to each other: JSON text, and where each
 * of its values stood in the file; only for conf_*.c. */
#pragma once
#include "control/conf_file.h"

#define CONF_DEPTH 64
#define CONF_TEXT_LIMIT ((size_t)16 << 20)

struct conf_text {
    struct str path; /* for messages */
    struct buf json;
    struct conf_pos *places; /* of the values in document order, containers before content */
    size_t count, room;
};
void conf_text_done(struct conf_text *t);
void conf_text_place(struct conf_text *t, struct conf_pos at);
err_t conf_text_error(const struct conf_text *t, struct conf_pos at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

err_t conf_yaml_read(struct arena *a, struct str text, struct conf_text *out);
err_t conf_jsonc_read(struct arena *a, struct str text, struct conf_text *out);

/* Writes `root` with its strings expanded; problems go to `problems` with `indexes[i]` the
 * number, in document order, of the value that problem i is about. */
struct conf_unexpanded {
    struct field_problems *problems;
    size_t indexes[ARRAY_SIZE(((struct field_problems *)0)->items)];
};
err_t conf_expand_write(struct arena *a, json root, struct str path,
                        const struct conf_expand *expand, struct buf *out,
                        struct conf_unexpanded *missing);

/* The whole file; TOO_LARGE beyond the limit. */
err_t conf_read_file(const char *path, size_t limit, struct buf *out);
