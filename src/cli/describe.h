/* describe.h - the reference pages, each made from the tables that the program itself runs on. */
#pragma once
#include "base/buf.h"

struct reference_page {
    const char *file, *title;
    void (*write)(struct buf *b); /* appends what stands below the title */
};
extern const struct reference_page reference_pages[];
extern const size_t reference_page_count;
/* describe_man.c: scdoc sources of the manual. */
extern const struct reference_page manual_pages[];
extern const size_t manual_page_count;

/* The JSON Schema of the configuration file, indented. */
void describe_schema(struct buf *b);

/* Markdown helpers. */
void page_row(struct buf *b, const struct str *cells, size_t n); /* of a table; cells are escaped */
#define PAGE_ROW(b, ...)                                                                           \
    page_row((b), (const struct str[]){ __VA_ARGS__ },                                             \
             sizeof((const struct str[]){ __VA_ARGS__ }) / sizeof(struct str))
/* The heads of a table's columns, separated by '|'. */
void page_table(struct buf *b, const char *heads);
