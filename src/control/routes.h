/* routes.h - the whole HTTP surface: the tables of all resources, and the service over them. */
#pragma once
#include "control/route.h"

extern const struct route_table *const route_tables[];
extern const size_t route_table_count;

/* The service of every listener; arg is the control. */
struct http_service routes_service(struct control *c);

/* Appends the OpenAPI 3.1 document, or the page that /docs shows (openapi.c, docs_page.c). */
void openapi_write(struct buf *out);
void docs_page_write(struct buf *b);
