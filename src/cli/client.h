/* client.h - asks a running gateway: requests of revision 2026-07-28 over HTTP (libcurl),
 * one at a time. What goes wrong is said on stderr, with the exit code as result.
 *
 * Memory  results live in the command's arena
 * Waits   blocks the thread until the answer is there
 */
#pragma once
#include "base/clock.h"
#include "base/json.h"
#include "cli/cli.h"

/* The first rows of a command that asks a gateway. */
#define GATEWAY_OPTIONS                                                                            \
    { "url", "URL", "GATESPAN_URL", false, "the gateway; default http://127.0.0.1:8000/mcp", 'u' }, \
    { "key", "KEY", "GATESPAN_KEY", false, "key of the gateway; better given in the environment", 'k' }, \
    { "key-file", "FILE", "GATESPAN_KEY_FILE", false, "file whose first line is the key" },        \
    { "verbose", NULL, NULL, false, "tell on standard error what is asked and how it went", 'v' }
#define CLIENT_OPTIONS                                                                             \
    GATEWAY_OPTIONS,                                                                               \
    { "profile", "NAME", NULL, false, "ask /mcp/NAME instead of the whole catalogue", 'p' }

struct mcp_client {
    struct arena *arena;
    const char *url; /* profile included */
    struct str key, profile;
    uint64_t last_id;
    bool verbose, quiet;
    bool silent;   /* client_rest: failures are the caller's to tell */
    bool patient;  /* client_follow: somebody was there before */
    nanos timeout; /* of one request; 0: none */
};

struct mcp_request {
    const char *method;
    struct str name;    /* for the Mcp-Name header; empty where the method has none */
    struct str params;  /* members of params beside _meta: raw, without braces */
    struct str headers; /* more "Name: value\r\n" lines */
    bool progress;      /* asked for, and shown on stderr */
};

/* 0 or an exit code. From the first request on SIGINT does not end the process: the request is
 * given up, which cancels it, and EXIT_INTERRUPTED comes back. */
int client_open(struct cli *c, struct mcp_client *out);
int client_open_at(struct cli *c, struct str url, struct mcp_client *out); /* instead of --url */
/* The key that --key or --key-file give; empty: none. 0 or an exit code. */
int client_key(struct cli *c, struct str *out);
int client_ask(struct mcp_client *m, const struct mcp_request *r, json *out_result);

struct tool_list {
    json *items;
    size_t n;
};
/* All pages. Upstreams that are missing in it are named on stderr. */
int client_tools(struct mcp_client *m, struct tool_list *out);
/* Says that there is none of that name, and which is closest; EXIT_USAGE. */
int client_no_tool(const struct tool_list *tools, struct str name);

/* ---- the REST API --------------------------------------------------------------------- */

/* 0 or an exit code. `path` begins with a slash ("/api/v1/keys?limit=10") and goes to the
 * gateway of --url; `body` is JSON text, or empty. *out is NULL where the answer has no JSON. */
int client_rest(struct mcp_client *m, const char *method, struct str path, struct str body,
                json *out);
/* All items of a list with pages, as one array. */
int client_rest_all(struct mcp_client *m, struct str path, json *out_array);
/* Follows an event stream until it ends, `take` says false, or SIGINT: EXIT_INTERRUPTED without
 * a word. CLIENT_ENDED when it ended or broke, with m->patient also when nobody is there, so
 * that it can be tried again. */
enum { CLIENT_ENDED = -1 };
int client_follow(struct mcp_client *m, struct str path,
                  bool (*take)(void *arg, struct str type, struct str data), void *arg);
bool client_interrupted(void);
/* Appends %XX for whatever cannot stand in a query. */
void client_escape(struct buf *b, struct str text);
