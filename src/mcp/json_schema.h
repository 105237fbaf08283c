/* json_schema.h - JSON Schema 2020-12, compiled once and then asked many times.
 *
 * Arguments are held against a tool's inputSchema before they reach an upstream, structured
 * results against its outputSchema (P-190 and following). A schema comes from a stranger:
 * nothing is fetched, and size, nesting, patterns and the work of one validation are
 * bounded. `$ref` reaches the schema itself, the sources given, and the 2020-12
 * meta-schema. `format` is an annotation, as the specification has it by default.
 *
 * Source   JSON Schema 2020-12, Core and Validation; keywords in the order of their chapters
 * Threads  a compiled schema is constant: any thread
 * Memory   owns copies of everything, freed by json_schema_free
 * Waits    never
 */
#pragma once
#include "base/json.h"

struct json_schema;

/* A document that `$ref` may name by its URI. */
struct json_schema_source {
    struct str uri, text;
};

struct json_schema_options {
    const struct json_schema_source *sources;
    size_t source_count;
    size_t max_bytes;   /* of the schema; 0: 256 KiB */
    unsigned max_nodes; /* subschemas; 0: 10,000 */
    uint64_t max_steps; /* of one validation; 0: 1,000,000: about 20 ms */
    bool *out_other_dialect; /* may be NULL; set when that is what is wrong with it */
};

/* INVALID when the text is no JSON, its `$schema` names another dialect, a keyword has the wrong
 * type, a pattern does not compile or a reference leads nowhere; the message names the place as a
 * JSON pointer. */
err_t json_schema_compile(struct str text, const struct json_schema_options *options,
                          struct json_schema **out);
void json_schema_free(struct json_schema *s);

/* OK, or INVALID with the first reason: "/address/zip: must match ^[0-9]{5}$". Text of the
 * instance is not quoted: it may be a secret. LIMITED when it would take more than max_steps. */
err_t json_schema_validate(const struct json_schema *s, json instance);
