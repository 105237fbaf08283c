/* json_schema_meta.c - the 2020-12 meta-schema in one document: a schema that says which
 * documents are schemas. The official one is spread over seven vocabularies; what it accepts
 * is the same. */
#include "mcp/json_schema_private.h"

#define SCHEMA "{\"$dynamicRef\":\"#meta\"}"
#define SCHEMAS "{\"type\":\"array\",\"minItems\":1,\"items\":" SCHEMA "}"
#define SCHEMA_MAP "{\"type\":\"object\",\"additionalProperties\":" SCHEMA "}"
#define COUNT "{\"type\":\"integer\",\"minimum\":0}"
#define NUMBER "{\"type\":\"number\"}"
#define STRING "{\"type\":\"string\"}"
#define BOOLEAN "{\"type\":\"boolean\"}"
#define NAMES "{\"type\":\"array\",\"uniqueItems\":true,\"items\":" STRING "}"
#define TYPE                                                                                       \
    "{\"enum\":[\"array\",\"boolean\",\"integer\",\"null\",\"number\",\"object\",\"string\"]}"
#define ANCHOR "{\"type\":\"string\",\"pattern\":\"^[A-Za-z_][-A-Za-z0-9._]*$\"}"

const char json_schema_meta[] =
    "{\"$schema\":\"" META_URI "\",\"$id\":\"" META_URI "\",\"$dynamicAnchor\":\"meta\","
    "\"title\":\"JSON Schema 2020-12\",\"type\":[\"object\",\"boolean\"],\"properties\":{"
    "\"$id\":{\"type\":\"string\",\"pattern\":\"^[^#]*#?$\"},\"$schema\":" STRING
    ",\"$ref\":" STRING ",\"$anchor\":" ANCHOR ",\"$dynamicAnchor\":" ANCHOR
    ",\"$dynamicRef\":" STRING
    ",\"$vocabulary\":{\"type\":\"object\",\"additionalProperties\":" BOOLEAN "}"
    ",\"$comment\":" STRING ",\"$defs\":" SCHEMA_MAP ",\"definitions\":" SCHEMA_MAP
    ",\"prefixItems\":" SCHEMAS ",\"items\":" SCHEMA ",\"contains\":" SCHEMA
    ",\"additionalProperties\":" SCHEMA ",\"properties\":" SCHEMA_MAP
    ",\"patternProperties\":" SCHEMA_MAP ",\"dependentSchemas\":" SCHEMA_MAP
    ",\"propertyNames\":" SCHEMA ",\"if\":" SCHEMA ",\"then\":" SCHEMA ",\"else\":" SCHEMA
    ",\"allOf\":" SCHEMAS ",\"anyOf\":" SCHEMAS ",\"oneOf\":" SCHEMAS ",\"not\":" SCHEMA
    ",\"unevaluatedItems\":" SCHEMA ",\"unevaluatedProperties\":" SCHEMA
    ",\"type\":{\"anyOf\":[" TYPE
    ",{\"type\":\"array\",\"minItems\":1,\"uniqueItems\":true,\"items\":" TYPE "}]}"
    ",\"const\":true,\"enum\":{\"type\":\"array\"}"
    ",\"multipleOf\":{\"type\":\"number\",\"exclusiveMinimum\":0},\"maximum\":" NUMBER
    ",\"exclusiveMaximum\":" NUMBER ",\"minimum\":" NUMBER ",\"exclusiveMinimum\":" NUMBER
    ",\"maxLength\":" COUNT ",\"minLength\":" COUNT ",\"pattern\":" STRING ",\"maxItems\":" COUNT
    ",\"minItems\":" COUNT ",\"uniqueItems\":" BOOLEAN ",\"maxContains\":" COUNT
    ",\"minContains\":" COUNT ",\"maxProperties\":" COUNT ",\"minProperties\":" COUNT
    ",\"required\":" NAMES
    ",\"dependentRequired\":{\"type\":\"object\",\"additionalProperties\":" NAMES
    "},\"title\":" STRING ",\"description\":" STRING ",\"default\":true,\"deprecated\":" BOOLEAN
    ",\"readOnly\":" BOOLEAN ",\"writeOnly\":" BOOLEAN ",\"examples\":{\"type\":\"array\"}"
    ",\"format\":" STRING ",\"contentEncoding\":" STRING ",\"contentMediaType\":" STRING
    ",\"contentSchema\":" SCHEMA "}}";
