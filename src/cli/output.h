/* output.h - results as people and as programs want them: every command that lists or shows
 * something builds one JSON value and hands it over; --output picks the form.
 *
 * Memory   nothing is kept
 */
#pragma once
#include "base/json.h"
#include "cli/cli.h"

enum cli_format { FORMAT_TABLE, FORMAT_JSON, FORMAT_YAML };

extern const char *const output_words[]; /* of enum cli_format */
/* The row of a command that lists or shows. */
#define OUTPUT_OPTION                                                                              \
    { "output", "FORMAT", NULL, false, "table (default), json or yaml", 'o', output_words }
enum cli_format output_format(const struct cli *c);

/* One column of a table: its head, and the member it shows, with dots for members of members. */
struct column {
    const char *head, *member;
};

/* JSON or YAML of the whole value, or a table of its elements. Empty columns are left out. */
void output_list(const struct cli *c, json array, const struct column *columns, size_t n);
/* The same for one object: the table has a line for each member. */
void output_object(const struct cli *c, json object, const struct column *rows, size_t n);
/* The value as --output json or yaml has it. */
void output_value(const struct cli *c, json v, enum cli_format format);

/* What was written with jw_…, as a document in the arena. */
json output_document(struct arena *a, const struct buf *text);
/* Indented by two, as people read it; no line end after it. */
void output_indented(struct buf *b, json v);
/* A YAML document, block style, with a line end after it. */
void output_yaml(struct buf *b, json v);
/* Columns that a text takes on a terminal: code points, roughly. */
size_t output_width(struct str s);
/* The same without control characters, which a terminal would obey. */
void output_clean(struct buf *b, struct str s);
