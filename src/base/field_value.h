/* field_value.h - single values of field.h, between text and C; only for field*.c.
 *
 * `value` points at the member itself. A scalar is every type but STRS, PAIRS, OBJECT, MAP,
 * LIST and JSON. */
#pragma once
#include "base/field.h"

size_t field_size(const struct field *row);
bool field_is_scalar(const struct field *row);
bool field_is_text(const struct field *row); /* STR, SECRET, TIME */

bool field_same_member(const struct field *a, const struct field *b);
/* hidden, and a row before has the same member */
bool field_is_alias(const struct field *rows, size_t i);

/* From and to the spelling in a file; text in `a`. Parsing looks at form, not at range. */
bool field_parse(const struct field *row, struct str text, void *value, struct arena *a);
struct str field_spell(const struct field *row, const void *value, struct arena *a);

/* A JSON value of the type that the row wants, or (lenient) its spelling. */
bool field_from_json(const struct field *row, json v, bool lenient, void *value, struct arena *a);

/* Length or number of entries where the type has no order of its own. */
bool field_in_range(const struct field *row, const void *value);

/* The bytes before and after "..", empty where open. */
void field_range(const struct field *row, struct str *low, struct str *high);
