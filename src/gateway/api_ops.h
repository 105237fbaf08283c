/* api_ops.h - HTTP operations as tools: from `api:` of an upstream, an OpenAPI document or rows of
 * its own, to tools with JSON Schemas, and from a tool's arguments to a request.
 *
 * One operation of OpenAPI is one tool, named by its operationId. Parameters in path, query and
 * header and the JSON body become arguments; what no parameter takes goes into the query (GET,
 * HEAD, DELETE) or is a member of the JSON body. References inside the document are resolved,
 * others are refused; nothing is fetched.
 *
 * Source   OpenAPI 3.0 and 3.1, "Parameter Object": style simple in path and header, all styles
 *          in the query. Schemas of 3.0 become those of 3.1 (nullable, exclusive bounds)
 * Threads  compiled operations are constant
 * Memory   everything in the arena given; schemas are freed by api_done
 * Waits    never
 */
#pragma once
#include "gateway/conf.h"
#include "net/http_url.h"

/* How arrays and objects stand in a query; PLAIN: arrays repeat the name, objects are JSON. */
enum api_style {
    API_PLAIN,
    API_EXPLODED,
    API_COMMAS,
    API_SPACES,
    API_PIPES,
    API_DEEP,
    API_AS_JSON
};

enum api_in { API_PATH, API_QUERY, API_HEADER, API_BODY };

struct api_param {
    struct str argument; /* of the tool */
    struct str name;     /* in the request */
    enum api_in in;
    enum api_style style;
    bool required;
};

struct json_schema;
struct api_op {
    struct str name, title, description, method;
    struct str path;   /* template; the query that is always sent stands in it */
    struct api_param *params;
    size_t param_count;
    bool rest_in_body; /* arguments that no parameter takes: else in the query */
    struct str input;  /* raw JSON Schema */
    struct json_schema *schema;
};

struct api {
    struct http_url base;
    struct str base_path; /* without a slash at its end */
    struct api_op *ops;
    size_t n;
    struct str listing;   /* tools/list result, raw */
};

/* INVALID unless it is a document of a version that is read. */
err_t api_check_version(json document);

/* INVALID with what is wrong and where. */
err_t api_compile(struct arena *a, const struct api_conf *conf, struct api *out);
void api_done(struct api *api);
const struct api_op *api_find(const struct api *api, struct str name);

struct api_request {
    struct buf target;  /* path and query */
    struct buf headers; /* ready lines */
    struct buf body;    /* JSON; has_body tells an empty one from none */
    bool has_body;
};
/* INVALID names the argument. */
err_t api_request_make(struct arena *a, const struct api *api, const struct api_op *op,
                       json arguments, struct api_request *out);
void api_request_done(struct api_request *r);
