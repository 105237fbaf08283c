/* dialect.h - the files that MCP clients keep their servers in, to Gatespan's upstreams and back.
 *
 *   claude-desktop, cursor, generic   {"mcpServers": {"NAME": {"command"…} or {"url"…}}}
 *   windsurf                          the same with `serverUrl`
 *   vscode                            {"servers": {…}, "inputs": […]}, or below `mcp` in settings.json
 *   server.json                       one entry of the MCP registry: packages and remotes
 *
 * Nothing is lost: what a gateway has no use for is kept in the upstream's `x-import` and comes
 * back when the upstream is exported to the same dialect; what a client has no word for travels
 * in `x-gatespan` and comes back when that file is imported.
 *
 * Threads  pure functions over documents that were not expanded: ${…} stay as they are
 */
#pragma once
#include "base/json.h"

enum dialect {
    DIALECT_CLAUDE_DESKTOP,
    DIALECT_CURSOR,
    DIALECT_VSCODE,
    DIALECT_WINDSURF,
    DIALECT_GENERIC,
    DIALECT_SERVER_JSON,
    DIALECTS
};
extern const char *const dialect_words[]; /* NULL-terminated, in this order */

/* By what is in the file, and by its path where that does not tell; DIALECTS: none of ours. */
enum dialect dialect_of(struct str path, json root);

struct entry {
    struct str name;     /* valid as an upstream's */
    json spec;           /* the upstream as Gatespan has it */
    struct str notes;    /* what a person should know, "; " between; may be empty */
};
struct entries {
    struct entry *items;
    size_t n;
    json inputs;         /* of VS Code, or NULL */
    json rest;           /* object: members of the file that are about no server; or NULL */
};
/* INVALID names the server that cannot be one. */
err_t dialect_read(struct arena *a, enum dialect d, json root, struct entries *out);

/* Appends the whole file of that dialect with these upstreams (object: name -> spec); notes name
 * what its readers will not understand. server.json is not written. */
void dialect_write(struct arena *a, enum dialect d, json upstreams, json inputs, json rest,
                   struct jw *w, struct buf *notes);
/* "serverUrl" for windsurf, else "url". */
struct str dialect_url_key(enum dialect d);
/* "servers" for vscode, else "mcpServers". */
struct str dialect_section(enum dialect d);
