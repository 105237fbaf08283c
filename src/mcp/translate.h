/* translate.h - results, catalogue items and errors from one revision to another.
 *
 * Down (modern upstream to legacy client, or newer legacy to older): P-415, P-416. Up
 * (legacy upstream to modern client): P-440, P-441. Works on raw, validated text: what
 * need not change is copied byte for byte, unknown members survive (P-011). Which members
 * exist in which revision are rows in rev_*.c.
 *
 * Threads  any; pure functions
 * Memory   output is appended to a buf
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "mcp/revision.h"

/* True when a result of `method` may have to change on its way: else it is spliced as is. */
bool translate_needed(enum method method, enum revision from, enum revision to);

/* False for a member of a request's params that servers of `to` do not know (P-221). */
bool translate_has_param(enum method method, struct str member, enum revision to);

/* How URIs of one upstream are shown (mcp/uri.h); NULL: not rewritten. */
struct uri_map;

/* What the client's revision requires beside the upstream's members (P-440, P-046, P-086). */
struct translate_extras {
    struct str server_info;  /* raw object for _meta of modern results; may be empty */
    int64_t ttl_ms;          /* for cacheable results that carry none; -1: leave out */
    bool cache_public;
};

/* Appends the result object as a client of `to` expects it. */
void translate_result(struct buf *out, enum method method, struct str result, enum revision from,
                      enum revision to, const struct translate_extras *extras,
                      const struct uri_map *uris);
/* One item of a list (tool, prompt, resource, template): members that `to` does not know
 * are dropped, nested ones too. `kind` is the list's method. `renamed` (may be empty)
 * replaces name, or uri / uriTemplate for resources. */
void translate_item(struct buf *out, enum method kind, struct str item, enum revision to,
                    struct str renamed);
/* The item with its URIs as clients see them (P-636), _meta.ui.resourceUri of tools too. */
void translate_item_uris(struct buf *out, enum method kind, struct str item,
                         const struct uri_map *uris);
/* Appends the error object (P-416, P-441); `uri` is what the client asked for in
 * resources/read, else empty. Codes that may not be emitted towards `to` (-32000..-32019,
 * P-020) become -32603 with the original under data. */
void translate_error(struct buf *out, enum method method, struct str error, enum revision from,
                     enum revision to, struct str uri);
/* serverInfo as `to` has it. */
void translate_implementation(struct buf *out, struct str info, enum revision to);
/* The messages of sampling/createMessage: content as `to` knows it, with the client's URIs (P-636).
 * Where a message has one block only, each of several goes in a message of its own (P-250). */
void translate_sampling(struct buf *out, struct str messages, enum revision to,
                        const struct uri_map *uris);
/* The content of its answer towards a server of `to`: texts of several blocks are joined for those
 * that take one. */
void translate_sampled(struct buf *out, struct str content, enum revision to);
/* A notification's params with another progress token and, where given, logger prefix
 * (P-640); members the revision lacks are dropped (progress message in R24). */
void translate_notification(struct buf *out, enum method method, struct str params,
                            enum revision to, struct str progress_token, struct str logger_prefix,
                            const struct uri_map *uris);
/* Merged server capabilities or one upstream's towards `to`: raw JSON object. */
struct capabilities {
    bool tools, prompts, resources, completions, logging, subscribe;
    bool apps;         /* tools that point at ui:// resources (P-305) */
    bool tasks;        /* tools/call as a task: core of R11, an extension of R26 (P-290, P-293) */
    bool list_changed; /* P-621: true whenever the gateway can reload */
};
void capabilities_write(struct buf *out, const struct capabilities *c, enum revision to);
/* R24 counts as having completions (P-182). */
struct capabilities capabilities_read(struct str raw, enum revision from);
